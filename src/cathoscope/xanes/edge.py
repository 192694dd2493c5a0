"""Absorption edges at a finite energy resolution: noise of a spectrum, its steepest rise, calibration on a foil.

Everything here is linear in the recorded absorption up to the search for a root, so that uncertainties follow from the
noise of the points by exact first-order propagation, whatever the spacing of the energies.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property, lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import BSpline, CubicSpline

from cathoscope.core.errors import MeasurementError
from cathoscope.physics.edges import FOIL_ENERGY

Array = NDArray[np.float64]

DEFAULT_RESOLUTION = 0.9
"""Width s in eV at which edges are looked for: a full width at half maximum of 1.8 s = 1.6 eV, about the natural width
of the K levels of Mn to Ni (1.1 to 1.4 eV; Krause & Oliver, J. Phys. Chem. Ref. Data 8, 329, 1979)."""

_MINIMUM_POINTS = 12
# Nodes of the Gaussian in units of its standard deviation; far enough out that an offset has no second derivative.
_NODES = np.linspace(-7.0, 7.0, 29)
_WEIGHTS = np.exp(-0.5 * _NODES**2) / np.exp(-0.5 * _NODES**2).sum()
# A cardinal cubic spline falls to about a quarter from point to point.
_SPLINE_REACH = 12
_RISE_WIDTH = 20.0  # eV; an edge rises within it
_SEARCH_HALF_WIDTH = 25.0  # eV around the middle of that rise
_SEARCH_STEP = 0.1  # eV
_GAIN_HALF_WIDTH = 4.0  # eV
_LINEAR_STD = 0.1  # of the resolution; below it first-order propagation holds for the steepest rise
_RESAMPLED_HALF_WIDTH = 6.0  # eV
_RESAMPLINGS = 200
_NORMAL_QUARTILE = 0.67448975
_HIGHEST_WHITE_LINE = 2.5  # edge steps
_SMALL_DEPTH, _LARGEST_DEPTH = 1e-6, 3.0  # an edge step beyond is no optical depth


@dataclass(frozen=True)
class EdgeEnergy:
    """An energy in eV with its standard uncertainty (NaN where there is none) and what a reader should know."""

    energy: float
    std: float
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class SmoothedSpectrum:
    """Cubic spline through a spectrum, convolved with ``(3 - z^2) / 2 exp(-z^2 / 2) / sqrt(2 pi)``; arrays [point].

    z is the energy in units of ``resolution`` s. This kernel of fourth order leaves cubic shapes as they are, so that
    an edge moves by terms of s^4 only, where a Gaussian moves it by s^2 (0.2 eV for the foil of a metal).

    Attributes
    ----------
    energy
        eV, strictly ascending.
    absorption
        As recorded.
    noise_std
        Standard deviation of the independent noise of each point.
    resolution
        Width s of the kernel, eV.

    References
    ----------
    M. P. Wand, M. C. Jones, Kernel Smoothing (1995), section 2.8.
    """

    energy: Array
    absorption: Array
    noise_std: Array
    resolution: float

    @cached_property
    def _spline(self) -> CubicSpline:
        return CubicSpline(self.energy, self.absorption)

    def values(self, energy: ArrayLike, order: int = 0) -> Array:
        """Derivative of ``order`` 0 to 3 of the smoothed spectrum at ``energy`` (eV), [energy]."""
        at = np.atleast_1d(np.asarray(energy, dtype=np.float64))
        nodes = np.clip(at[:, np.newaxis] + self.resolution * _NODES, self.energy[0], self.energy[-1])
        values: Array = self._spline(nodes) @ _kernel(order)
        return values / self.resolution**order

    def value(self, energy: float, order: int = 0) -> float:
        """`values` at one energy."""
        return self.value_of_orders(energy, order)[0]

    def value_of_orders(self, energy: float, *orders: int) -> tuple[float, ...]:
        """`values` of several orders at one energy, for which the spline is evaluated once."""
        nodes = np.clip(energy + self.resolution * _NODES, self.energy[0], self.energy[-1])
        sampled = self._spline(nodes[np.newaxis])
        return tuple(float((sampled @ _kernel(order))[0] / self.resolution**order) for order in orders)

    def response(self, energy: ArrayLike, order: int = 0, weight: ArrayLike = 1.0) -> Array:
        """Derivative of ``sum(weight * values(energy, order))`` with respect to the recorded absorption, [point]."""
        at = np.atleast_1d(np.asarray(energy, dtype=np.float64))
        nodes = np.clip(at[:, np.newaxis] + self.resolution * _NODES, self.energy[0], self.energy[-1])
        first = max(int(np.searchsorted(self.energy, nodes.min())) - _SPLINE_REACH, 0)
        last = min(int(np.searchsorted(self.energy, nodes.max())) + _SPLINE_REACH, self.energy.size)
        axis = self.energy[first:last]
        knots = np.concatenate([axis[:1].repeat(4), axis[2:-2], axis[-1:].repeat(4)])  # not-a-knot, as the spline
        weights = np.broadcast_to(np.asarray(weight, dtype=np.float64), at.shape)[:, np.newaxis] * _kernel(order)
        onto_splines = BSpline.design_matrix(nodes.ravel(), knots, 3).T @ weights.ravel() / self.resolution**order
        response = np.zeros(self.energy.size)
        response[first:last] = np.linalg.solve(_splines_at_points(axis.tobytes(), knots.tobytes()).T, onto_splines)
        return response

    def std_of(self, response: Array) -> float:
        """Standard uncertainty of a quantity whose derivative with respect to the absorption is ``response``."""
        return float(np.sqrt(np.sum((response * self.noise_std) ** 2)))


@lru_cache(maxsize=64)
def _splines_at_points(axis: bytes, knots: bytes) -> Array:
    """Cubic B-splines, [point, spline]; scans of one sample have the same energies near the edge."""
    splines = BSpline.design_matrix(np.frombuffer(axis), np.frombuffer(knots), 3).toarray()
    splines.setflags(write=False)
    return np.asarray(splines)


@cache
def _kernel(order: int) -> Array:
    """Weights of the nodes at a resolution of one: the Gaussian times the Hermite polynomials of its derivatives."""
    coefficients = np.zeros(order + 3)
    coefficients[[order, order + 2]] = 1.0, -0.5
    return np.asarray(_WEIGHTS * np.polynomial.hermite_e.hermeval(_NODES, coefficients))


def smoothed_spectrum(
    *,
    energy: ArrayLike,
    absorption: ArrayLike,
    noise_std: ArrayLike | None = None,
    resolution: float = DEFAULT_RESOLUTION,
    sample: ArrayLike | None = None,
) -> SmoothedSpectrum:
    """Checked spectrum at a finite resolution; its noise is estimated from itself where it is not given.

    For that of a foil, ``sample`` is what the light passed before, see `noise_std_from_differences`. Points without a
    finite energy and absorption (the padding of a batch) are left out.

    Raises
    ------
    MeasurementError
        If shapes differ, fewer than 12 points are finite, energies do not ascend, or noise or resolution is not
        positive and finite.
    """
    axis, values = np.asarray(energy, dtype=np.float64), np.asarray(absorption, dtype=np.float64)
    if axis.ndim != 1 or axis.shape != values.shape:
        raise MeasurementError(
            "the spectrum does not match its energies", expected=f"{axis.shape}", found=f"{values.shape}"
        )
    use = np.isfinite(axis) & np.isfinite(values)
    axis, values = axis[use], values[use]
    if axis.size < _MINIMUM_POINTS:
        raise MeasurementError(
            "the spectrum has too few points",
            expected=f"at least {_MINIMUM_POINTS} with finite energy and absorption",
            found=str(axis.size),
        )
    backward = np.flatnonzero(np.diff(axis) <= 0)
    if backward.size:
        after, before = axis[backward[0] + 1], axis[backward[0]]
        raise MeasurementError(
            "the energies do not ascend", expected="each above the one before", found=f"{after:g} after {before:g} eV"
        )
    if noise_std is None:
        before = None if sample is None else np.asarray(sample, dtype=np.float64)[use]
        noise = noise_std_from_differences(energy=axis, absorption=values, sample=before)
    else:
        noise = _stated_noise(noise_std, use)
    if not 0 < resolution < np.inf:
        raise MeasurementError("the resolution is not positive", expected="a width in eV", found=f"{resolution:g}")
    return SmoothedSpectrum(axis, values, noise, float(resolution))


def _stated_noise(noise_std: ArrayLike, use: NDArray[np.bool_]) -> Array:
    stated = np.asarray(noise_std, dtype=np.float64)
    if stated.shape not in ((), use.shape):
        raise MeasurementError(
            "the noise does not match the spectrum", expected=f"one number or {use.shape}", found=f"{stated.shape}"
        )
    noise = np.broadcast_to(stated, use.shape)[use]
    if not np.all(np.isfinite(noise) & (noise > 0)):
        raise MeasurementError("the noise is not positive", expected="finite standard deviations above zero")
    return noise


def noise_std_from_differences(*, energy: ArrayLike, absorption: ArrayLike, sample: ArrayLike | None = None) -> Array:
    """Standard deviation of the noise of each point, from the spectrum itself, [point].

    ``r_i = sum_j w_ij mu_j`` over five neighbours, w the fourth divided difference for these (uneven) energies scaled
    to ``sum_j w_ij^2 = 1``: cubic shapes vanish and r_i has the variance of the noise. Below and above the edge, and
    10 eV before to 30 eV after the steepest rise left out, the standard deviation is the root mean square
    of r clipped at 2.5 times its normalised median, made consistent for Gaussian noise. Between, and at a white line
    above, the variance is linear in exp(mu), as it is for even noise, for photons behind the sample, and (where mu is
    small) for fluorescence photons. Behind a foil it is linear in exp(mu + ``sample``), as the light has passed both: a
    sample of the foil's metal absorbs some eV above the foil's edge, and there takes light that was there at that edge.

    Valid for independent noise; spectra that were interpolated or smoothed before appear less noisy than they are.
    Estimates from n points scatter by about ``0.9 n^-1/2``. At least one part in 1e9 of the range is returned.
    """
    axis, values = np.asarray(energy, dtype=np.float64), np.asarray(absorption, dtype=np.float64)
    residual = np.einsum("rj,rj->r", _difference_weights(axis), np.lib.stride_tricks.sliding_window_view(values, 5))
    middle = axis[2:-2]
    rise = middle_of_rise(energy=axis, absorption=values)
    below, above = middle < rise - 10.0, middle > rise + 30.0
    smallest = 1e-9 * float(np.ptp(values)) + np.finfo(np.float64).tiny
    if min(below.sum(), above.sum()) < _MINIMUM_POINTS:
        return np.full(axis.size, max(_robust_std(residual), smallest))
    depths = values + _depth_before(sample, values, (below, above))
    levels = np.array([np.median(depths[2:-2][side]) for side in (below, above)])
    variances = [max(_robust_std(residual[side]), smallest) ** 2 for side in (below, above)]
    step = levels[1] - levels[0]
    height = np.clip((depths - levels[0]) / step if step else np.zeros(axis.size), 0.0, _HIGHEST_WHITE_LINE)
    depth = min(max(step, _SMALL_DEPTH), _LARGEST_DEPTH)
    share = np.expm1(depth * height) / np.expm1(depth)
    return np.asarray(np.sqrt(np.maximum(variances[0] + share * (variances[1] - variances[0]), min(variances))))


def _depth_before(sample: ArrayLike | None, foil: Array, sides: tuple[NDArray[np.bool_], ...]) -> Array:
    """Optical depth of a sample before a foil; zero where there is none, or a signal that cannot be a depth."""
    if sample is None:
        return np.zeros(foil.size)
    depth = np.asarray(sample, dtype=np.float64)
    low, high = (np.median(depth[2:-2][side]) for side in sides)
    return depth if np.isfinite(depth).all() and 0 < high - low <= _LARGEST_DEPTH else np.zeros(foil.size)


def middle_of_rise(*, energy: ArrayLike, absorption: ArrayLike) -> float:
    """Energy (eV) in the middle of the 20 eV over which the absorption rises most: an edge, found despite glitches.

    The ends of the 20 eV are medians of 5 eV.
    """
    axis, values = np.asarray(energy, dtype=np.float64), np.asarray(absorption, dtype=np.float64)
    width = min(_RISE_WIDTH, 0.5 * float(axis[-1] - axis[0]))
    grid = np.arange(axis[0], axis[-1], 1.0)
    sampled = np.interp(grid, axis, values)
    padded = np.pad(sampled, 2, mode="edge")
    steady = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)
    centre = np.arange(axis[0] + width / 2, axis[-1] - width / 2, 1.0)
    rise = np.interp(centre + width / 2, grid, steady) - np.interp(centre - width / 2, grid, steady)
    # Where several centres see the whole edge, their middle is the edge.
    return float(np.mean(centre[rise >= rise.max() - 0.05 * abs(rise.max())]))


def steepest_rise(*, spectrum: SmoothedSpectrum, near: float | None = None) -> EdgeEnergy:
    """Energy at which the smoothed spectrum rises most steeply (maximum of its derivative), within 25 eV of the edge.

    The definition includes the resolution: the result is the derivative maximum of the convolved spectrum, which it
    finds without bias where steps are not longer than ``spectrum.resolution``; compare edges at one resolution only.
    Its standard uncertainty is ``std(mu'') / |mu'''|``.

    Parameters
    ----------
    spectrum
        The smoothed spectrum.
    near
        Rough energy of the edge, eV; the largest rise within 20 eV without it.

    Raises
    ------
    MeasurementError
        If no maximum of the derivative lies inside the energies.
    """
    grid = _search_grid(spectrum, near)
    slopes = spectrum.values(grid, 1)
    top = int(np.argmax(np.where(_stays_risen(spectrum, grid), slopes, -np.inf)))
    if top not in _prominent_maxima(slopes, 0.0):
        raise MeasurementError(
            "no edge was found in the spectrum",
            expected=f"a steepest rise between {grid[0]:.0f} and {grid[-1]:.0f} eV",
            found="none inside this range",
            cure="give the rough edge energy, or a spectrum that reaches further to both sides of the edge",
        )
    return derivative_maximum(spectrum=spectrum, start=float(grid[top]))


def derivative_maximum(*, spectrum: SmoothedSpectrum, start: float) -> EdgeEnergy:
    """Local maximum of the derivative next to ``start`` (eV, within 0.1 eV), by Newton steps on mu'' = 0.

    Where noise makes the first-order uncertainty larger than a tenth of the resolution, another maximum nearby may win:
    the uncertainty is then found by adding the noise 200 times more, and a remark says so. (From about the whole
    resolution on, the energy itself is biased towards the maxima that only noise makes.)

    Raises
    ------
    MeasurementError
        If there is no such maximum.
    """
    energy = start
    for _ in range(6):
        bent, bend = spectrum.value_of_orders(energy, 2, 3)
        if not bend < 0:
            raise MeasurementError("no edge was found in the spectrum", found=f"no steepest rise at {energy:.1f} eV")
        step = -bent / bend
        energy = float(np.clip(energy + step, start - 2 * _SEARCH_STEP, start + 2 * _SEARCH_STEP))
    std = spectrum.std_of(spectrum.response(energy, 2) / spectrum.value(energy, 3))
    if std < _LINEAR_STD * spectrum.resolution:
        return EdgeEnergy(energy, std)
    remark = f"noise blurs the steepest rise at a resolution of {spectrum.resolution:g} eV: choose a larger one"
    return EdgeEnergy(energy, max(std, _resampled_std(spectrum, energy)), (remark,))


def _resampled_std(spectrum: SmoothedSpectrum, energy: float) -> float:
    """Spread of the steepest rise when the noise is added once more: it may jump to another maximum nearby."""
    grid = energy + np.arange(-_RESAMPLED_HALF_WIDTH, _RESAMPLED_HALF_WIDTH, 0.1)
    grid = grid[(grid > spectrum.energy[0]) & (grid < spectrum.energy[-1])]
    responses = np.array([spectrum.response(at, 1) for at in grid])
    noise = np.random.default_rng(0).normal(size=(_RESAMPLINGS, spectrum.energy.size)) * spectrum.noise_std
    slopes = spectrum.values(grid, 1) + noise @ responses.T
    return float(np.std(grid[np.argmax(slopes, axis=1)]))


@dataclass(frozen=True)
class FoilCalibration:
    """Energy calibration on a metal foil; energies in eV.

    ``shift`` is to be added to recorded energies. ``first_maximum`` is as recorded; ``later_maxima`` are the distances
    of the second and third derivative maximum from it, NaN where there is none: they do not depend on the calibration,
    so foils of one element must agree in them.
    """

    shift: float
    shift_std: float
    first_maximum: float
    later_maxima: tuple[float, float]
    later_maxima_std: tuple[float, float]
    remarks: tuple[str, ...] = ()


def calibration_shift_from_foil(
    *,
    energy: ArrayLike,
    absorption: ArrayLike,
    element: str,
    noise_std: ArrayLike | None = None,
    resolution: float = DEFAULT_RESOLUTION,
    significance: float = 5.0,
    sample: ArrayLike | None = None,
) -> FoilCalibration:
    """Shift that puts the first derivative maximum of a metal foil at the tabulated K edge.

    ``shift = E_table - E_first``: E_first is the first local maximum of the derivative of the foil, at ``resolution``,
    that reaches a fifth of the largest derivative, stands out from the minimum beside it by ``significance``
    standard deviations of the derivative, and after which the absorption stays risen, as it does not after a glitch.
    (In metals a later maximum may be higher.) The uncertainty holds the noise of
    the spectrum, not that of the table, which moves all spectra alike.

    Parameters
    ----------
    energy, absorption
        Recorded energies (eV) and absorption of the foil, [point].
    element
        Symbol, one of ``physics.edges.FOIL_ENERGY``.
    noise_std
        Noise of the absorption, one number or [point]; estimated from the spectrum without it.
    resolution
        Width in eV of the kernel the foil is convolved with (`SmoothedSpectrum`).
    significance
        Least prominence of a maximum in standard deviations of the derivative.
    sample
        Absorption of a sample before the foil, in the same scan, [point]: it takes light, which makes noise.

    Raises
    ------
    MeasurementError
        If the element is not tabulated, or no significant derivative maximum lies within 25 eV of its edge.
    """
    if element not in FOIL_ENERGY:
        raise MeasurementError("no foil energy is tabulated", expected=", ".join(FOIL_ENERGY), found=element)
    spectrum = smoothed_spectrum(
        energy=energy, absorption=absorption, noise_std=noise_std, resolution=resolution, sample=sample
    )
    expected = FOIL_ENERGY[element]
    grid = _search_grid(spectrum, expected)
    slopes, risen = spectrum.values(grid, 1), _stays_risen(spectrum, grid)
    derivative_std = spectrum.std_of(spectrum.response(grid[int(np.argmax(slopes))], 1))
    peaks = _prominent_maxima(slopes, significance * derivative_std)
    peaks = peaks[risen[peaks]]
    high = peaks[slopes[peaks] > 0.2 * slopes[risen].max(initial=0.0)]
    if high.size == 0:
        raise MeasurementError(
            "the foil shows no edge",
            expected=f"a derivative maximum of {element} near {expected:g} eV",
            found=f"none between {grid[0]:.1f} and {grid[-1]:.1f} eV above {significance:g} times the noise",
        )
    first = derivative_maximum(spectrum=spectrum, start=float(grid[high[0]]))
    later = [derivative_maximum(spectrum=spectrum, start=float(grid[peak])) for peak in peaks[peaks > high[0]][:2]]
    later += [EdgeEnergy(np.nan, np.nan)] * (2 - len(later))
    remark = "fewer than three derivative maxima stand out from the noise: the calibration is not checked by them"
    return FoilCalibration(
        shift=expected - first.energy,
        shift_std=first.std,
        first_maximum=first.energy,
        later_maxima=(later[0].energy - first.energy, later[1].energy - first.energy),
        later_maxima_std=(float(np.hypot(later[0].std, first.std)), float(np.hypot(later[1].std, first.std))),
        remarks=(remark,) if np.isnan(later[1].energy) else (),
    )


def _search_grid(spectrum: SmoothedSpectrum, near: float | None) -> Array:
    middle = middle_of_rise(energy=spectrum.energy, absorption=spectrum.absorption) if near is None else near
    margin = 2.0 * spectrum.resolution
    low = max(float(spectrum.energy[0]) + margin, middle - _SEARCH_HALF_WIDTH)
    high = min(float(spectrum.energy[-1]) - margin, middle + _SEARCH_HALF_WIDTH)
    grid = np.arange(low, high, _SEARCH_STEP)
    if grid.size < 3:
        raise MeasurementError(
            "the energies do not hold the edge",
            expected=f"energies around {middle:.0f} eV",
            found=f"{spectrum.energy[0]:.1f} to {spectrum.energy[-1]:.1f} eV",
        )
    return grid


def _stays_risen(spectrum: SmoothedSpectrum, grid: Array) -> NDArray[np.bool_]:
    """Where 8 eV gain a tenth of what the whole range gains: at an edge, not at the flank of a glitch."""
    gain = spectrum.values(grid + _GAIN_HALF_WIDTH) - spectrum.values(grid - _GAIN_HALF_WIDTH)
    whole = float(np.diff(np.percentile(spectrum.values(grid), [5.0, 95.0]))[0])
    return np.asarray(gain > 0.1 * whole)


def _prominent_maxima(values: Array, prominence: float) -> NDArray[np.intp]:
    """Positions of local maxima from which one must go down by ``prominence`` to both sides before going higher."""
    maxima = 1 + np.flatnonzero((values[1:-1] > values[:-2]) & (values[1:-1] >= values[2:]))
    return maxima[[_prominence(values, int(top)) >= prominence for top in maxima]]


def _prominence(values: Array, top: int) -> float:
    sides = (values[top::-1], values[top:])
    lowest = []
    for side in sides:
        higher = np.flatnonzero(side > values[top])
        lowest.append(side[: higher[0] if higher.size else side.size].min())
    return float(values[top] - max(lowest))


def _difference_weights(energy: Array) -> Array:
    """Fourth divided differences, [point - 4, 5], each row with unit sum of squares."""
    window = np.lib.stride_tricks.sliding_window_view(energy, 5)
    distance = window[:, :, np.newaxis] - window[:, np.newaxis, :]
    distance[:, np.arange(5), np.arange(5)] = 1.0
    weights = 1.0 / np.prod(distance, axis=2)
    return np.asarray(weights / np.linalg.norm(weights, axis=1, keepdims=True))


def _robust_std(residual: Array) -> float:
    """Root mean square of ``residual`` clipped at 2.5 times its normalised median, consistent for Gaussian noise."""
    limit = 2.5 * float(np.median(np.abs(residual))) / _NORMAL_QUARTILE
    clipped_variance_of_normal = 0.97756
    return float(np.sqrt(np.mean(np.minimum(residual**2, limit**2)) / clipped_variance_of_normal))
