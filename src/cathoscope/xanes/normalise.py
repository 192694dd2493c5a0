"""Normalisation of a bulk absorption spectrum to its edge step, and how its result responds to noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.edge import (
    DEFAULT_RESOLUTION,
    EdgeEnergy,
    SmoothedSpectrum,
    smoothed_spectrum,
    steepest_rise,
)

Array = NDArray[np.float64]

_SCALED_TOLERANCE = 1e-4
_LEAST_SIGNIFICANCE = 5.0
_RISE_BEFORE, _RISE_AFTER, _RISE_STEP = 30.0, 40.0, 0.1  # eV around the steepest rise


@dataclass(frozen=True)
class NormalisationWindows:
    """Energies of the pre-edge line and of the post-edge polynomial, eV from the edge, and the polynomial's degree."""

    pre_edge: tuple[float, float] = (-150.0, -30.0)
    post_edge: tuple[float, float] = (50.0, 300.0)
    post_edge_degree: int = 2


@dataclass(frozen=True)
class Polynomial:
    """Least-squares polynomial in energy minus E0; ``projection`` [power, point] gives its coefficients."""

    coefficients: Array
    projection: Array

    def values(self, distance: Array, order: int = 0) -> Array:
        """Polynomial, or its derivative of ``order``, at a distance from E0 in eV."""
        derivative = np.polynomial.polynomial.polyder(self.coefficients, order) if order else self.coefficients
        return np.asarray(np.polynomial.polynomial.polyval(distance, derivative))

    def response(self, distance: Array, weight: Array) -> Array:
        """Derivative of ``sum(weight * values(distance))`` with respect to the recorded absorption, [point]."""
        powers = np.vander(distance, self.coefficients.size, increasing=True)
        return np.asarray((weight @ powers) @ self.projection)


@dataclass(frozen=True)
class NormalisedSpectrum:
    """Spectrum between its pre-edge line and its post-edge polynomial; arrays [point], energies in eV.

    Attributes
    ----------
    smoothed
        The spectrum as recorded, at finite resolution.
    steepest_rise
        E0, where the edge step is taken.
    edge_step, edge_step_std
        Post-edge polynomial minus pre-edge line at E0.
    baseline_std
        Standard uncertainty of the pre-edge line at E0, over the edge step.
    normalised, normalised_std
        Absorption less pre-edge line, over the edge step; its uncertainty holds noise and normalisation.
    flattened
        The same, above E0 less the normalised polynomial's difference from one, up to the end of its window; from
        there on less that at the end.
    pre_edge_window, post_edge_window
        Windows used, eV; None for a spectrum scaled to its maximum.
    post_edge_degree
        Degree used.
    scaled_to_maximum
        Whether the spectrum came divided by its maximum, without a post-edge range, and is left as it is.
    remarks
        What differs from the defaults.
    baseline
        Pre-edge line.
    step_response
        Derivative of ``edge_step`` with respect to the recorded absorption, [point].
    """

    smoothed: SmoothedSpectrum
    steepest_rise: EdgeEnergy
    edge_step: float
    edge_step_std: float
    baseline_std: float
    normalised: Array
    normalised_std: Array
    flattened: Array
    pre_edge_window: tuple[float, float] | None
    post_edge_window: tuple[float, float] | None
    post_edge_degree: int
    scaled_to_maximum: bool
    remarks: tuple[str, ...]
    baseline: Polynomial
    step_response: Array

    @property
    def energy(self) -> Array:
        """Photon energy in eV, [point]."""
        return self.smoothed.energy

    @property
    def edge_energy(self) -> float:
        """E0 in eV."""
        return self.steepest_rise.energy

    @cached_property
    def rise(self) -> tuple[Array, Array]:
        """Energies (eV) in small steps from 30 eV below to 40 eV above E0, and `values` there, both [energy]."""
        low = max(float(self.energy[0]), self.edge_energy - _RISE_BEFORE)
        high = min(float(self.energy[-1]), self.edge_energy + _RISE_AFTER)
        grid = np.arange(low, high, _RISE_STEP)
        return grid, self.values(grid)

    def values(self, energy: ArrayLike, order: int = 0) -> Array:
        """Normalised spectrum (or its derivative of ``order``) at finite resolution, [energy]."""
        distance = np.atleast_1d(np.asarray(energy, dtype=np.float64)) - self.edge_energy
        return (self.smoothed.values(energy, order) - self.baseline.values(distance, order)) / self.edge_step

    def value_and_slope(self, energy: float) -> tuple[float, float]:
        """`values` at one energy, and their derivative."""
        distance = np.array([energy - self.edge_energy])
        value, slope = (
            (smoothed - float(self.baseline.values(distance, order)[0])) / self.edge_step
            for order, smoothed in enumerate(self.smoothed.value_of_orders(energy, 0, 1))
        )
        return value, slope

    def response(self, energy: Array, weight: Array) -> Array:
        """Derivative of ``sum(weight * values(energy))`` with respect to the recorded absorption, [point]."""
        spectrum = self.smoothed.response(energy, 0, weight) - self.baseline.response(energy - self.edge_energy, weight)
        return (spectrum - float(np.sum(weight * self.values(energy))) * self.step_response) / self.edge_step


def normalise(
    *,
    energy: ArrayLike,
    absorption: ArrayLike,
    noise_std: ArrayLike | None = None,
    near: float | None = None,
    windows: NormalisationWindows | None = None,
    resolution: float = DEFAULT_RESOLUTION,
) -> NormalisedSpectrum:
    """Spectrum normalised to its edge step: ``(mu - pre) / (post(E0) - pre(E0))``.

    ``pre`` is a line and ``post`` a polynomial by least squares in their windows, in which every point counts for the
    energies nearest to it: the result does not depend on how densely parts of a window were recorded. Windows are cut
    to the data; a line needs 20 eV, a parabola 200 eV, a line above the edge 60 eV. E0 is the steepest rise.

    A spectrum whose maximum is one and that ends less than 50 eV above the edge was divided by its maximum: it
    is left as it is, and its half height is half its maximum.

    Parameters
    ----------
    energy, absorption
        Photon energy in eV, ascending, and absorption of any scale, [point]; NaN where padded.
    noise_std
        Standard deviation of the noise, one number or [point]; estimated from the spectrum without it.
    near
        Rough edge energy, eV; the largest rise without it.
    windows
        Windows and degree.
    resolution
        Width in eV at which the edge is looked at (`SmoothedSpectrum`).

    Raises
    ------
    MeasurementError
        If the data do not reach far enough to both sides of the edge, or the edge step is not positive or not five
        times its uncertainty; and as in `smoothed_spectrum` and `steepest_rise`.
    """
    smoothed = smoothed_spectrum(energy=energy, absorption=absorption, noise_std=noise_std, resolution=resolution)
    steepest = steepest_rise(spectrum=smoothed, near=near)
    edge = steepest.energy
    remarks = _remarks_on_steps(smoothed, edge)
    if is_scaled_to_maximum(energy=smoothed.energy, absorption=smoothed.absorption, edge_energy=edge):
        return _as_it_is(smoothed, steepest, remarks)
    pre, post, degrees, cut = _cut_windows(smoothed.energy, edge, windows or NormalisationWindows())
    baseline = _fit_polynomial(smoothed, edge, pre, degrees[0])
    above = _fit_polynomial(smoothed, edge, post, degrees[1])
    return _normalised(smoothed, steepest, (baseline, above), (pre, post), (*remarks, *cut))


def is_scaled_to_maximum(*, energy: ArrayLike, absorption: ArrayLike, edge_energy: float) -> bool:
    """Whether a spectrum was divided by its maximum: that is 1 within 1e-4, and it ends within 50 eV above the edge."""
    largest, last = float(np.max(np.asarray(absorption))), float(np.max(np.asarray(energy)))
    return abs(largest - 1.0) < _SCALED_TOLERANCE and last - edge_energy < NormalisationWindows().post_edge[0]


def _remarks_on_steps(smoothed: SmoothedSpectrum, edge: float) -> tuple[str, ...]:
    near = np.abs(smoothed.energy[:-1] - edge) < 5.0
    longest = float(np.diff(smoothed.energy)[near].max()) if near.any() else np.inf
    if longest <= smoothed.resolution:
        return ()
    return (f"steps of {longest:.2g} eV at the edge are longer than the resolution of {smoothed.resolution:g} eV",)


def _cut_windows(
    energy: Array, edge: float, windows: NormalisationWindows
) -> tuple[tuple[float, float], tuple[float, float], tuple[int, int], list[str]]:
    """Windows in eV, degrees, and remarks on what the data did not allow."""
    before, after = edge - float(energy[0]), float(energy[-1]) - edge
    pre = (max(windows.pre_edge[0], -before), windows.pre_edge[1])
    if pre[1] - pre[0] < 20.0:
        pre = (pre[0], max(pre[1], -0.5 * before))
    post = (windows.post_edge[0], min(windows.post_edge[1], after))
    if post[1] - post[0] < 20.0:
        post = (min(post[0], 0.5 * after), post[1])
    if before < 15.0 or after < 25.0:
        raise MeasurementError(
            "the spectrum cannot be normalised",
            expected="data from 15 eV below to 25 eV above the edge",
            found=f"{before:.0f} eV below and {after:.0f} eV above {edge:.1f} eV",
        )
    degrees = (int(pre[1] - pre[0] >= 20.0), min(windows.post_edge_degree, _degree_for(post[1] - post[0])))
    remarks = [
        f"{name} window {used[0]:.0f} to {used[1]:.0f} eV instead of {wanted[0]:.0f} to {wanted[1]:.0f}"
        for name, used, wanted in (("pre-edge", pre, windows.pre_edge), ("post-edge", post, windows.post_edge))
        if max(abs(used[0] - wanted[0]), abs(used[1] - wanted[1])) > 10.0
    ]
    if degrees[0] == 0:
        remarks.append("pre-edge constant instead of a line")
    if degrees[1] < windows.post_edge_degree:
        remarks.append(f"post-edge polynomial of degree {degrees[1]} instead of {windows.post_edge_degree}")
    return (edge + pre[0], edge + pre[1]), (edge + post[0], edge + post[1]), degrees, remarks


def _degree_for(length: float) -> int:
    return 2 if length >= 200.0 else int(length >= 60.0)


def _fit_polynomial(smoothed: SmoothedSpectrum, edge: float, window: tuple[float, float], degree: int) -> Polynomial:
    """Least squares weighted with the part of the window that is nearest to each point."""
    axis = smoothed.energy
    borders = np.concatenate([axis[:1], 0.5 * (axis[1:] + axis[:-1]), axis[-1:]])
    width = np.diff(np.clip(borders, *window))
    if np.count_nonzero(width) < degree + 2:
        raise MeasurementError(
            "too few points to normalise the spectrum",
            expected=f"at least {degree + 2} points between {window[0]:.1f} and {window[1]:.1f} eV",
            found=str(np.count_nonzero(width)),
            cure="give other windows",
        )
    scale = max(abs(window[0] - edge), abs(window[1] - edge))
    root = np.sqrt(width)
    design = np.vander((axis - edge) / scale, degree + 1, increasing=True)
    projection = np.linalg.pinv(design * root[:, np.newaxis]) * root / scale ** np.arange(degree + 1)[:, np.newaxis]
    return Polynomial(projection @ smoothed.absorption, projection)


def _normalised(
    smoothed: SmoothedSpectrum,
    steepest: EdgeEnergy,
    polynomials: tuple[Polynomial, Polynomial],
    windows: tuple[tuple[float, float], tuple[float, float]],
    remarks: tuple[str, ...],
) -> NormalisedSpectrum:
    baseline, above = polynomials
    distance = smoothed.energy - steepest.energy
    step = float(above.coefficients[0] - baseline.coefficients[0])
    if not step > 0:
        raise MeasurementError(
            "the edge step is not positive", expected="more absorption above the edge", found=f"{step:g}"
        )
    step_response = _step_response(smoothed, steepest.energy, baseline, above)
    step_std = smoothed.std_of(step_response)
    if step < _LEAST_SIGNIFICANCE * step_std:
        raise MeasurementError(
            "no edge stands out from the noise",
            expected=f"an edge step of {_LEAST_SIGNIFICANCE:g} standard uncertainties",
            found=f"{step:.3g} with an uncertainty of {step_std:.2g} at {steepest.energy:.1f} eV",
        )
    normalised = (smoothed.absorption - baseline.values(distance)) / step
    # beyond its window a polynomial is an extrapolation that soon leaves the spectrum: there the last value counts
    within = np.minimum(distance, windows[1][1] - steepest.energy)
    flattened = 1.0 + (smoothed.absorption - above.values(within)) / step
    return NormalisedSpectrum(
        smoothed=smoothed,
        steepest_rise=steepest,
        edge_step=step,
        edge_step_std=step_std,
        baseline_std=smoothed.std_of(baseline.projection[0]) / step,
        normalised=normalised,
        normalised_std=_normalised_std(smoothed, distance, normalised, baseline, step_response) / step,
        flattened=np.where(distance < 0, normalised, flattened),
        pre_edge_window=windows[0],
        post_edge_window=windows[1],
        post_edge_degree=above.coefficients.size - 1,
        scaled_to_maximum=False,
        remarks=remarks,
        baseline=baseline,
        step_response=step_response,
    )


def _as_it_is(smoothed: SmoothedSpectrum, steepest: EdgeEnergy, remarks: tuple[str, ...]) -> NormalisedSpectrum:
    """A spectrum scaled to its maximum: its step is that maximum, with the noise of that one point."""
    baseline = Polynomial(np.zeros(1), np.zeros((1, smoothed.energy.size)))
    step_response = np.zeros(smoothed.energy.size)
    step_response[int(np.argmax(smoothed.absorption))] = 1.0
    distance = smoothed.energy - steepest.energy
    remark = "scaled to its maximum, not to its edge step: not normalised, half height is half the maximum"
    return NormalisedSpectrum(
        smoothed=smoothed,
        steepest_rise=steepest,
        edge_step=1.0,
        edge_step_std=smoothed.std_of(step_response),
        baseline_std=0.0,
        normalised=smoothed.absorption,
        normalised_std=_normalised_std(smoothed, distance, smoothed.absorption, baseline, step_response),
        flattened=smoothed.absorption,
        pre_edge_window=None,
        post_edge_window=None,
        post_edge_degree=0,
        scaled_to_maximum=True,
        remarks=(*remarks, remark),
        baseline=baseline,
        step_response=step_response,
    )


def _step_response(smoothed: SmoothedSpectrum, edge: float, baseline: Polynomial, above: Polynomial) -> Array:
    """E0 moves with the noise too, which changes the step by the difference of the slopes above and below."""
    slopes = float((above.values(np.zeros(1), 1) - baseline.values(np.zeros(1), 1))[0])
    of_edge = -smoothed.response(edge, 2) / smoothed.value(edge, 3)
    return np.asarray(above.projection[0] - baseline.projection[0] + slopes * of_edge)


def _normalised_std(
    smoothed: SmoothedSpectrum, distance: Array, normalised: Array, baseline: Polynomial, step_response: Array
) -> Array:
    """Noise of each point and of what is subtracted and divided by, their correlation included, times the step."""
    factors = np.column_stack([np.vander(distance, baseline.coefficients.size, increasing=True), normalised])
    parameters = np.vstack([baseline.projection, step_response])
    variance = smoothed.noise_std**2
    covariance = (parameters * variance) @ parameters.T
    shared = np.einsum("np,pn->n", factors, parameters)
    total = variance * (1.0 - 2.0 * shared) + np.einsum("np,pq,nq->n", factors, covariance, factors)
    return np.asarray(np.sqrt(np.maximum(total, 0.0)))
