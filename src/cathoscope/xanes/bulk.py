"""Bulk absorption spectra: edge energies by three definitions and the white line, each with its uncertainty.

Uncertainties are first-order propagation of the noise of every point through smoothing and normalisation together, so
that what the two share is counted once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.edge import (
    DEFAULT_RESOLUTION,
    EdgeEnergy,
    FoilCalibration,
    SmoothedSpectrum,
    calibration_shift_from_foil,
    noise_std_from_differences,
)
from cathoscope.xanes.normalise import NormalisationWindows, NormalisedSpectrum, is_scaled_to_maximum, normalise
from cathoscope.xanes.whiteline import WhiteLineFlag, WhiteLineOptions, fit_white_line, white_line_curve

__all__ = [
    "BulkEdges",
    "EdgeEnergy",
    "FoilCalibration",
    "NormalisationWindows",
    "NormalisedSpectrum",
    "bulk_edges",
    "calibration_shift_from_foil",
    "derivative_edge",
    "half_height_edge",
    "integral_edge",
    "is_scaled_to_maximum",
    "noise_std_from_differences",
    "normalise",
    "white_line",
]

Array = NDArray[np.float64]

_INTEGRAL_POINTS = 129
_LINE_WITHIN = 30.0  # eV above the edge
_NO_LEVEL = "the rising edge does not reach {level:g} of the edge step"
# One spectrum has time to converge where a volume of voxels has not.
_FIT_OPTIONS = WhiteLineOptions(maximum_iterations=2000)
_EDGE_WIDTH = _FIT_OPTIONS.edge_width
_NO_WHITE_LINE = {
    WhiteLineFlag.NO_EDGE: "one line on the edge does not describe the spectrum",
    WhiteLineFlag.NO_MAXIMUM: "the spectrum has no maximum there",
}


def derivative_edge(*, normalised: NormalisedSpectrum) -> EdgeEnergy:
    """Energy (eV) of the steepest rise: maximum of dmu/dE at the resolution of the spectrum.

    Does not depend on the normalisation. See `steepest_rise` for bias and uncertainty.
    """
    return normalised.steepest_rise


def half_height_edge(*, normalised: NormalisedSpectrum, height: float = 0.5) -> EdgeEnergy:
    """Energy (eV) at which the normalised rising edge first reaches ``height``, at the resolution of the spectrum.

    ``std = std(mu_n(E)) / mu_n'(E)``, where mu_n holds the noise at the edge, of the pre-edge line and of the
    edge step. Where the edge is scaled to its maximum, ``height`` is a part of the maximum.
    """
    energy = _first_crossing(normalised, height)
    if energy is None:
        return EdgeEnergy(np.nan, np.nan, (_NO_LEVEL.format(level=height),))
    response = normalised.response(np.array([energy]), np.ones(1)) / float(normalised.values(energy, 1)[0])
    return EdgeEnergy(energy, normalised.smoothed.std_of(response))


def integral_edge(*, normalised: NormalisedSpectrum, levels: tuple[float, float] = (0.15, 1.0)) -> EdgeEnergy:
    """Mean energy (eV) of the rising edge between two levels, at the resolution of the spectrum.

    ``E = 1 / (mu2 - mu1) int_{mu1}^{mu2} E(mu) dmu``, which is, with M(E) the largest value up to E (so that the edge
    rises monotonically), ``E2 - 1 / (mu2 - mu1) int_{E1}^{E2} (M(E) - mu1) dE``, E1 and E2 being where the levels
    are first reached. To first order it depends on the spectrum between them only, not on E1 and E2.

    NaN with a remark where the edge does not reach mu2, and for spectra scaled to their maximum, of which the levels
    are not known.

    References
    ----------
    H. Dau, P. Liebisch, M. Haumann, Anal. Bioanal. Chem. 376 (2003) 562.
    """
    if normalised.scaled_to_maximum:
        remark = "no integral edge: the spectrum is scaled to its maximum, so the level of one edge step is not known"
        return EdgeEnergy(np.nan, np.nan, (remark,))
    low, high = (_first_crossing(normalised, level) for level in levels)
    if low is None or high is None or high <= low:
        return EdgeEnergy(np.nan, np.nan, (_NO_LEVEL.format(level=levels[1]),))
    grid = np.linspace(low, high, _INTEGRAL_POINTS)
    values = normalised.values(grid)
    largest = np.maximum.accumulate(values)
    highest_so_far = np.maximum.accumulate(np.where(values == largest, np.arange(grid.size), 0))
    weight = np.full(grid.size, grid[1] - grid[0])
    weight[[0, -1]] *= 0.5
    weight /= levels[1] - levels[0]
    energy = high - float(np.sum(weight * (largest - levels[0])))
    response = normalised.response(grid, np.bincount(highest_so_far, weight, grid.size).astype(np.float64))
    return EdgeEnergy(energy, normalised.smoothed.std_of(response))


def white_line(
    *, normalised: NormalisedSpectrum, window: tuple[float, float] = (-6.0, 8.0), width: float = 1.5
) -> EdgeEnergy:
    """Energy (eV) of the white-line maximum of the spectrum less its pre-edge line.

    The model of `fit_white_line` is fitted; because real lines are neither Gaussian nor alone, the reported energy is
    the maximum of the fitted curve plus its smoothed residual, ``m'(E) + (K * (mu - m))'(E) = 0``, K the kernel of
    `SmoothedSpectrum` of ``width`` eV. What smoothing would do to the line itself does not occur, only what it does to
    the small residual: of the misfit less than 1 meV is left for lines like those of oxides on an arctangent edge.
    The uncertainty propagates the noise through residual and fit together; it does not hold what is left of the misfit.

    Parameters
    ----------
    normalised
        Spectrum.
    window
        Energies of the fit, eV from the highest point of the smoothed spectrum within 30 eV above the edge.
    width
        Width of the kernel, eV.
    """
    grid, height = normalised.rise
    above = (grid >= normalised.edge_energy) & (grid < normalised.edge_energy + _LINE_WITHIN)
    top = float(grid[above][int(np.argmax(height[above]))])
    inside = (normalised.energy >= top + window[0]) & (normalised.energy <= top + window[1])
    axis, values = normalised.energy[inside], normalised.normalised[inside]
    noise = normalised.smoothed.noise_std[inside] / normalised.edge_step
    if axis.size < 12:
        return EdgeEnergy(np.nan, np.nan, ("white line: fewer than 12 points around it",))
    fit = fit_white_line(spectra=values[np.newaxis], energy=axis, noise_std=noise, options=_FIT_OPTIONS)
    flag = WhiteLineFlag(int(fit.flag[0]))
    if flag not in (WhiteLineFlag.GOOD, WhiteLineFlag.AT_LIMIT) or not np.isfinite(fit.white_line_energy[0]):
        return EdgeEnergy(np.nan, np.nan, (f"white line: {_NO_WHITE_LINE.get(flag, 'the fit does not converge')}",))
    residual = SmoothedSpectrum(axis, values - white_line_curve(fit.parameters, axis, _EDGE_WIDTH)[0], noise, width)
    return _maximum_with_residual(fit.parameters[0], residual, float(fit.white_line_energy[0]))


@dataclass(frozen=True)
class BulkEdges:
    """Results of several spectra, arrays [spectrum], energies in eV; NaN where a spectrum has none."""

    edge_step: Array
    edge_step_std: Array
    half_height_edge: Array
    half_height_edge_std: Array
    derivative_edge: Array
    derivative_edge_std: Array
    integral_edge: Array
    integral_edge_std: Array
    white_line: Array
    white_line_std: Array
    normalised: Array
    """Flattened normalised absorption, [spectrum, point], NaN as in the input."""
    remarks: tuple[tuple[str, ...], ...]
    """What a reader should know about each spectrum."""


def bulk_edges(
    *,
    energy: ArrayLike,
    absorption: ArrayLike,
    noise_std: ArrayLike | None = None,
    near: float | None = None,
    windows: NormalisationWindows | None = None,
    resolution: float = DEFAULT_RESOLUTION,
) -> BulkEdges:
    """Edge step, three edges and white line of every spectrum.

    A spectrum that cannot be used gives NaN and says why in its remarks; the others do not depend on it.

    Parameters
    ----------
    energy, absorption
        Energy (eV) and absorption, [spectrum, point], padded with NaN at the end.
    noise_std
        Standard deviation of the noise, one number or [spectrum, point]; estimated from each spectrum without it.
    near, windows, resolution
        As in `normalise`.

    Raises
    ------
    MeasurementError
        If the arrays do not have one two-dimensional shape, or the noise does not fit it.
    """
    axes, values = np.asarray(energy, dtype=np.float64), np.asarray(absorption, dtype=np.float64)
    if axes.ndim != 2 or axes.shape != values.shape:
        raise MeasurementError(
            "spectra do not match their energies",
            expected="both [spectrum, point]",
            found=f"energies {axes.shape}, absorption {values.shape}",
        )
    noises = [None] * len(axes) if noise_std is None else _noise_of_each(noise_std, axes.shape)
    numbers, curves = np.full((10, len(axes)), np.nan), np.full(axes.shape, np.nan)
    remarks: list[tuple[str, ...]] = []
    for index, (axis, value, noise) in enumerate(zip(axes, values, noises, strict=True)):
        try:
            normalised = normalise(
                energy=axis, absorption=value, noise_std=noise, near=near, windows=windows, resolution=resolution
            )
        except MeasurementError as error:
            remarks.append((str(error),))
            continue
        numbers[:, index], said = _numbers(normalised)
        curves[index, np.isfinite(axis) & np.isfinite(value)] = normalised.flattened
        remarks.append(said)
    results: list[Any] = [*numbers, curves, tuple(remarks)]
    return BulkEdges(*results)


def _noise_of_each(noise_std: ArrayLike, shape: tuple[int, ...]) -> Array:
    noise = np.asarray(noise_std, dtype=np.float64)
    if noise.shape not in ((), shape):
        raise MeasurementError(
            "the noise does not match the spectra", expected=f"one number or {shape}", found=f"{noise.shape}"
        )
    return np.broadcast_to(noise, shape)


def _numbers(normalised: NormalisedSpectrum) -> tuple[list[float], tuple[str, ...]]:
    """Step and energies, each followed by its uncertainty, in the order of `BulkEdges`; and all remarks."""
    found = [law(normalised=normalised) for law in (half_height_edge, derivative_edge, integral_edge, white_line)]
    numbers = [normalised.edge_step, normalised.edge_step_std]
    for edge in found:
        numbers += [edge.energy, edge.std]
    return numbers, (*normalised.remarks, *(remark for edge in found for remark in edge.remarks))


def _first_crossing(normalised: NormalisedSpectrum, level: float) -> float | None:
    grid, values = normalised.rise
    upward = np.flatnonzero((values[:-1] < level) & (values[1:] >= level))
    if upward.size == 0:
        return None
    first = int(upward[0])
    energy = float(np.interp(level, values[first : first + 2], grid[first : first + 2]))
    for _ in range(3):
        value, slope = normalised.value_and_slope(energy)
        step = (level - value) / slope
        energy = float(np.clip(energy + step, grid[first], grid[first + 1]))
    return energy


def _maximum_with_residual(parameters: Array, residual: SmoothedSpectrum, start: float) -> EdgeEnergy:
    """Maximum of the fitted curve plus smoothed residual near ``start`` (eV), by Newton steps."""
    energy = start
    for _ in range(4):
        curvature = float(np.diff(_model_slope(parameters, energy + np.array([-0.01, 0.01])))[0]) / 0.02
        first, second = residual.value_of_orders(energy, 1, 2)
        curvature += second
        slope = float(_model_slope(parameters, np.array([energy]))[0]) + first
        if not curvature < 0 or abs(energy - start) > residual.resolution:
            return EdgeEnergy(np.nan, np.nan, ("white line: the fitted line does not describe the spectrum",))
        energy -= slope / curvature
    response = residual.response(energy, 1)
    by_parameter, slope_by_parameter = _model_derivatives(parameters, residual.energy, energy)
    left = slope_by_parameter - by_parameter @ response
    of_parameters = np.linalg.pinv((by_parameter / residual.noise_std).T) / residual.noise_std
    return EdgeEnergy(energy, residual.std_of((response + left @ of_parameters) / curvature))


def _model_slope(parameters: Array, energy: Array) -> Array:
    """Derivative of `white_line_curve` with respect to energy, [energy]."""
    _, slope, jump, amplitude, edge, centre, width = parameters
    reduced = (energy - centre) / width
    rise = jump / (np.pi * _EDGE_WIDTH * (1.0 + ((energy - edge) / _EDGE_WIDTH) ** 2))
    return np.asarray(slope + rise - amplitude * reduced / width * np.exp(-0.5 * reduced**2))


def _model_derivatives(parameters: Array, axis: Array, energy: float) -> tuple[Array, Array]:
    """Derivatives of the curve, [parameter, energy], and of its slope at ``energy``, [parameter], to the parameters."""
    steps = np.diag(np.full(parameters.size, 1e-5))
    upper, lower = (white_line_curve(parameters + sign * steps, axis, _EDGE_WIDTH) for sign in (1, -1))
    at = np.array([energy])
    slopes = [_model_slope(parameters + step, at)[0] - _model_slope(parameters - step, at)[0] for step in steps]
    return (upper - lower) / 2e-5, np.array(slopes) / 2e-5
