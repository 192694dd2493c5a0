"""Bulk K-edge absorption spectra in closed form, their recording with photon noise, and the exact edge energies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import brentq
from scipy.special import erf

from cathoscope.core.errors import CathoscopeError
from cathoscope.physics.edges import FOIL_ENERGY
from cathoscope.virtual.spectra import Line

Array = NDArray[np.float64]

_WAVENUMBER_SQUARED_PER_EV = 0.2624684  # 2 m_e / hbar^2, 1/(eV Å^2)
_DENSE_STEP = 0.01  # eV
_COMPLEX_STEP = 1e-30  # eV


@dataclass(frozen=True)
class FineStructure:
    """Oscillation above the edge from one shell of neighbours.

    chi(k) = amplitude sin(2 R k + phase) exp(-2 s^2 k^2) / k^2 (1 - exp(-((E - E0) / onset)^4)), zero below the edge
    energy E0; k = sqrt(2 m_e (E - E0)) / hbar in 1/Å, ``distance`` R and ``disorder`` s in Å, ``onset`` in eV.
    """

    amplitude: float = 0.8
    distance: float = 1.95
    phase: float = 0.6
    disorder: float = 0.08
    onset: float = 30.0


@dataclass(frozen=True)
class BulkSpectrum:
    """Absorption (optical depth) of a homogeneous bulk sample across one K edge.

    mu(E) = (E / E_edge)^-decay [background + step F(E)] + step [sum_i height_i exp(-(E - energy_i)^2 / (2 width_i^2))
    + chi(E)], with F an arctangent of half width ``edge_width`` or, with ``error_function``, a normal distribution of
    that standard deviation. Energies in eV; ``background`` and ``step`` without unit.
    """

    step: float
    background: float
    edge_energy: float
    edge_width: float
    lines: tuple[Line, ...] = ()
    fine_structure: FineStructure = FineStructure()
    error_function: bool = False
    decay: float = 2.8

    def __post_init__(self) -> None:
        widths = (self.edge_width, self.fine_structure.onset, *(line.width for line in self.lines))
        if not (self.step > 0 and self.edge_energy > 0 and min(widths) > 0):
            raise CathoscopeError("a bulk spectrum needs a positive step, edge energy and widths", found=str(self))

    def absorption(self, energy: ArrayLike) -> Array:
        """Optical depth at ``energy`` (eV), any shape."""
        return np.asarray(self._closed_form(np.asarray(energy, dtype=np.float64)), dtype=np.float64)

    def slope(self, energy: ArrayLike) -> Array:
        """Derivative of `absorption` in 1/eV, exact to rounding (complex step)."""
        shifted = np.asarray(energy, dtype=np.float64) + 1j * _COMPLEX_STEP
        return np.asarray(self._closed_form(shifted).imag / _COMPLEX_STEP, dtype=np.float64)

    def _closed_form(self, energy: NDArray[Any]) -> NDArray[Any]:
        reduced = (energy - self.edge_energy) / self.edge_width
        edge = 0.5 + (0.5 * erf(reduced / np.sqrt(2.0)) if self.error_function else np.arctan(reduced) / np.pi)
        decay = (energy / self.edge_energy) ** -self.decay
        lines = sum(line.height * np.exp(-0.5 * ((energy - line.energy) / line.width) ** 2) for line in self.lines)
        return np.asarray(decay * (self.background + self.step * edge) + self.step * (lines + self._chi(energy)))

    def _chi(self, energy: NDArray[Any]) -> NDArray[Any]:
        shape = self.fine_structure
        above = np.where(energy.real > self.edge_energy, energy - self.edge_energy, 1e-12)
        wavenumber = np.sqrt(_WAVENUMBER_SQUARED_PER_EV * above)
        wave = np.sin(2.0 * shape.distance * wavenumber + shape.phase)
        damping = np.exp(-2.0 * shape.disorder**2 * wavenumber**2) / wavenumber**2
        onset = -np.expm1(-((above / shape.onset) ** 4))
        return np.asarray(shape.amplitude * wave * damping * onset)


def oxide_spectrum(*, element: str = "Ni", edge_shift: float = 0.0, step: float = 1.0) -> BulkSpectrum:
    """Bulk spectrum as of a layered oxide: edge, pre-edge peak, white line, dip and oscillation.

    ``edge_shift`` (eV) moves edge and lines together, as a change of valence does to first order.
    """
    edge = FOIL_ENERGY[element] + 11.0 + edge_shift
    lines = (
        Line(0.75, edge + 6.3, 2.7),
        Line(0.03, edge - 10.5, 1.3),
        Line(-0.06, edge + 21.0, 5.5),
    )
    return BulkSpectrum(step, 0.6 * step, edge, 1.8, lines)


def foil_spectrum(*, element: str = "Ni", step: float = 1.2) -> BulkSpectrum:
    """Bulk spectrum like that of a metal foil: its steepest rise is the first, within 1 eV of the tabulated energy."""
    edge = FOIL_ENERGY[element]
    lines = (Line(0.34, edge + 2.6, 2.2), Line(0.22, edge + 8.4, 2.2), Line(0.16, edge + 15.0, 2.6))
    return BulkSpectrum(step, 0.5 * step, edge + 1.0, 1.9, lines, FineStructure(distance=2.3))


def bulk_energies(
    *, edge_energy: float, lowest: float = -150.0, highest: float = 300.0, fine_step: float = 0.4
) -> Array:
    """Energies of a scan in eV: 5 eV steps, ``fine_step`` from -25 to +45 eV, then 0.05 1/Å; limits from the edge."""
    coarse = np.arange(lowest, -25.0, 5.0)
    fine = np.arange(max(-25.0, lowest), min(45.0, highest), fine_step)
    first, last = np.sqrt(_WAVENUMBER_SQUARED_PER_EV * np.array([45.0, max(45.0, highest)]))
    far = np.arange(first, last, 0.05) ** 2 / _WAVENUMBER_SQUARED_PER_EV
    return edge_energy + np.concatenate([coarse, fine, far])


@dataclass(frozen=True)
class BulkScan:
    """One recorded scan, arrays [point]; energies in eV as the monochromator says, the rest without unit."""

    energy: Array
    absorption: Array
    absorption_std: Array
    """Standard deviation of the photon noise of ``absorption``, from the true spectrum."""
    reference_absorption: Array | None
    """Absorption of the foil behind the sample, in the same scan."""


@dataclass(frozen=True)
class Disturbance:
    """What goes wrong in a scan.

    ``glitch`` is added to the point nearest ``glitch_energy``, ``drift`` grows linearly over the scan to that value.
    ``energy_shift`` (eV) is the recorded minus the true energy.
    """

    energy_shift: float = 0.0
    glitch: float = 0.0
    glitch_energy: float = 0.0
    drift: float = 0.0


def record(
    *,
    spectrum: BulkSpectrum,
    energy: ArrayLike,
    incident: float,
    rng: np.random.Generator,
    foil: BulkSpectrum | None = None,
    disturbance: Disturbance | None = None,
) -> BulkScan:
    """Transmission scan with photon noise: ln(I0 / I1) of the sample and ln(I1 / I2) of the foil behind it.

    Parameters
    ----------
    spectrum, foil
        Sample, and foil behind it.
    energy
        True photon energies in eV, [point].
    incident
        Photons per point before the sample; all three intensities are Poisson distributed.
    rng
        Source of the noise.
    disturbance
        Energy shift, glitch and drift; none without it.
    """
    disturbance = disturbance or Disturbance()
    true_energy = np.asarray(energy, dtype=np.float64)
    depth = spectrum.absorption(true_energy)
    before = rng.poisson(incident, true_energy.size)
    behind = rng.poisson(incident * np.exp(-depth))
    after_foil = None if foil is None else rng.poisson(incident * np.exp(-depth - foil.absorption(true_energy)))
    if min(before.min(), behind.min(), 1 if after_foil is None else after_foil.min()) < 1:
        raise CathoscopeError(
            "no photons are left behind the sample", cure="more incident photons, or a thinner sample"
        )
    absorption = np.log(before / behind) + disturbance.drift * np.linspace(0.0, 1.0, true_energy.size)
    absorption[np.argmin(np.abs(true_energy - disturbance.glitch_energy))] += disturbance.glitch
    return BulkScan(
        energy=true_energy + disturbance.energy_shift,
        absorption=absorption,
        absorption_std=np.sqrt((1.0 + np.exp(depth)) / incident),
        reference_absorption=None if after_foil is None else np.log(behind / after_foil),
    )


@dataclass(frozen=True)
class BulkTruth:
    """Exact results of a noise-free spectrum, by brute force on a dense grid; energies in eV."""

    edge_step: float
    half_height_edge: float
    derivative_edge: float
    integral_edge: float
    white_line: float


def bulk_truth(
    *,
    spectrum: BulkSpectrum,
    lowest: float,
    highest: float,
    resolution: float = 0.9,
    windows: tuple[float, float, float, float] = (-150.0, -30.0, 50.0, 300.0),
) -> BulkTruth:
    """What each definition gives for the closed form between ``lowest`` and ``highest`` (eV), without noise.

    Edges are those of the spectrum convolved with the fourth-order kernel ``g - s^2 g'' / 2``, g a Gaussian of standard
    deviation s = ``resolution`` (eV), less a pre-edge line and divided by its distance from a post-edge parabola at the
    steepest point. ``windows`` (pre-edge, post-edge; eV from that point) are cut to the data and weighted evenly in
    energy. The white line is the root of the derivative of the closed form less the pre-edge line, without convolution.
    The grid has 0.01 eV steps.
    """
    energy = np.arange(lowest, highest, _DENSE_STEP)
    absorption = spectrum.absorption(energy)
    around = (lowest + 8 * resolution, highest - 8 * resolution)
    width = resolution / _DENSE_STEP
    smooth, curvature = (gaussian_filter1d(absorption, width, order=n, truncate=8.0, mode="nearest") for n in (0, 2))
    smooth = smooth - 0.5 * width**2 * curvature
    derivative = np.where((energy > around[0]) & (energy < around[1]), np.gradient(smooth, energy), -np.inf)
    steepest = _parabola_top(energy, derivative)
    pre, post = (
        np.polynomial.Polynomial.fit(energy[inside], absorption[inside], degree)
        for inside, degree in (
            ((energy >= steepest + windows[0]) & (energy <= steepest + windows[1]), 1),
            ((energy >= steepest + windows[2]) & (energy <= steepest + windows[3]), 2),
        )
    )
    step = float(post(steepest) - pre(steepest))
    near = np.abs(energy - steepest) < 60.0
    normalised = (smooth[near] - pre(energy[near])) / step
    return BulkTruth(
        edge_step=step,
        half_height_edge=_first_crossing(energy[near], normalised, 0.5),
        derivative_edge=steepest,
        integral_edge=_mean_energy_of_rise(energy[near], normalised, (0.15, 1.0)),
        white_line=_white_line(spectrum, pre.deriv(), steepest),
    )


def _white_line(spectrum: BulkSpectrum, baseline_slope: Callable[[float], float], steepest: float) -> float:
    def slope(energy: float) -> float:
        """Derivative of the spectrum without its baseline."""
        return float(spectrum.slope(energy)) - float(baseline_slope(energy))

    grid = steepest + np.arange(0.0, 25.0, 0.05)
    falling = np.flatnonzero([slope(energy) < 0 for energy in grid])
    if falling.size == 0 or falling[0] == 0:
        raise CathoscopeError("this spectrum has no white line", expected="a maximum within 25 eV above the edge")
    return float(brentq(slope, grid[falling[0] - 1], grid[falling[0]], xtol=1e-9))


def _parabola_top(x: Array, y: Array) -> float:
    top = int(np.argmax(y))
    left, middle, right = y[top - 1 : top + 2]
    return float(x[top] + 0.5 * (left - right) / (left - 2 * middle + right) * (x[1] - x[0]))


def _first_crossing(energy: Array, values: Array, level: float) -> float:
    after = int(np.argmax(values >= level))
    return float(np.interp(level, values[after - 1 : after + 1], energy[after - 1 : after + 1]))


def _mean_energy_of_rise(energy: Array, values: Array, levels: tuple[float, float]) -> float:
    """Mean over evenly spaced levels of the energy at which the spectrum first reaches them."""
    if values.max() < levels[1]:
        raise CathoscopeError("the rising edge does not reach the upper level", found=f"{values.max():.3f}")
    count = 20_000
    heights = levels[0] + (np.arange(count) + 0.5) / count * (levels[1] - levels[0])
    monotonic = np.maximum.accumulate(values)
    after = np.searchsorted(monotonic, heights)
    fraction = (heights - monotonic[after - 1]) / (monotonic[after] - monotonic[after - 1])
    return float(np.mean(energy[after - 1] + fraction * (energy[after] - energy[after - 1])))
