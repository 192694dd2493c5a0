"""Energy of the white-line maximum of every voxel, with its standard uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes import whiteline_kernels as kernels

PARAMETERS = ("offset", "slope", "jump", "amplitude", "edge_energy", "line_centre", "line_width")


class WhiteLineFlag(IntEnum):
    """Why a voxel has no trusted white line."""

    GOOD = 0
    NO_EDGE = 1
    """Edge and white line do not lower the misfit significantly, or the edge jump is not positive."""
    NO_MAXIMUM = 2
    """The fitted curve has no maximum near the white line."""
    NO_CONVERGENCE = 3
    AT_LIMIT = 4
    """A shape parameter, or the maximum, lies at the end of its allowed range."""
    NON_FINITE = 5
    """The spectrum holds NaN or infinity."""
    MIXED = 6
    """The model's maximum is not that of the spectrum itself: states of very different lines are mixed."""


@dataclass(frozen=True)
class WhiteLineOptions:
    """Shape, starting point and limits of the white-line model; energies and widths in eV.

    ``edge_width`` w is held fixed. ``edge_distance`` is the white-line centre minus the edge energy.
    ``minimum_significance`` is the square root of the misfit (chi squared) that edge and white line together
    must remove; the default 6 leaves about one spectrum of pure noise in a hundred thousand.
    The fit has converged when the next step would be shorter than ``tolerance`` standard uncertainties.
    """

    edge_width: float = 2.0
    start_edge_distance: float = 6.5
    start_line_width: float = 2.6
    edge_distance_limits: tuple[float, float] = (0.0, 20.0)
    line_width_limits: tuple[float, float] = (0.5, 8.0)
    minimum_significance: float = 6.0
    tolerance: float = 0.03
    maximum_iterations: int = 30


@dataclass(frozen=True)
class WhiteLineFit:
    """Result per spectrum; energies in eV.

    Attributes
    ----------
    white_line_energy
        Energy of the maximum of the fitted curve, [spectrum]; NaN where there is none.
    white_line_energy_std
        Its standard uncertainty, [spectrum].
    flag
        ``WhiteLineFlag`` as int8, [spectrum]. Energies of spectra that are not GOOD are kept where they exist.
    reduced_chi2
        Sum of squared weighted residuals over degrees of freedom, [spectrum]; without a stated noise the
        weights are one, so this is the residual variance.
    parameters
        [spectrum, parameter], ordered as ``parameter_names``.
    parameter_names
        Names of the columns of ``parameters``.
    """

    white_line_energy: NDArray[np.float64]
    white_line_energy_std: NDArray[np.float64]
    flag: NDArray[np.int8]
    reduced_chi2: NDArray[np.float64]
    parameters: NDArray[np.float64]
    parameter_names: tuple[str, ...]

    @property
    def good(self) -> NDArray[np.bool_]:
        """Spectra with a trusted white line, [spectrum]."""
        return np.equal(self.flag, WhiteLineFlag.GOOD)


def fit_white_line(
    *,
    spectra: ArrayLike,
    energy: ArrayLike,
    noise_std: ArrayLike | None = None,
    window: tuple[float, float] | None = None,
    options: WhiteLineOptions | None = None,
) -> WhiteLineFit:
    """White-line maximum of each spectrum by weighted least squares with an arctangent edge and a Gaussian line.

    ``mu(E) = offset + slope (E - E_mid) + jump (1/2 + arctan((E - E0) / w) / pi) + A exp(-(E - c)^2 / (2 s^2))``,
    E_mid the middle of the energies used. The four linear parameters are eliminated (variable projection, [1]_);
    E0, c and s are found by Levenberg-Marquardt steps. The reported energy is where mu(E) is highest, which the
    edge and the slope move away from c. Its uncertainty is the covariance of all seven parameters carried to the
    maximum. Spectra are fitted one by one, so a result does not depend on which others are in the batch.

    Parameters
    ----------
    spectra
        Attenuation or optical depth, [spectrum, energy], any unit.
    energy
        Photon energies in eV, strictly ascending, [energy].
    noise_std
        Standard deviation of the noise in the unit of ``spectra``, [energy] or [spectrum, energy]; noise is taken as
        independent between energies. Without it all energies weigh alike and the uncertainty of each spectrum
        is scaled by its own residual, which is itself uncertain by ``1 / sqrt(2 (n - 7))``, and comes out too small
        where the white line is noisier than the rest (by 12 % for 1.5 times the noise): ``noise_std_from_residuals``
        mends both.
    window
        Lowest and highest energy used, eV; all energies without it.
    options
        Shape, starting point and limits.

    Raises
    ------
    MeasurementError
        If shapes do not fit, energies do not ascend, noise is not positive or fewer than 9 energies remain.

    Notes
    -----
    Real white lines are not exactly Gaussian. Where the shape differs from the model the energy is biased, which
    ``white_line_energy_std`` does not contain; a reduced chi squared well above 1 shows it. A narrower window helps.

    References
    ----------
    .. [1] G. Golub, V. Pereyra, Inverse Problems 19 (2003) R1; L. Kaufman, BIT 15 (1975) 49 (the Jacobian used).
    """
    options = options or WhiteLineOptions()
    values, axis, weight = checked_spectra(spectra, energy, noise_std, window, minimum_count=9)
    middle = float(axis.mean())
    settings = _settings(axis - middle, options, noise_is_known=noise_std is not None)
    energies, stds, flags, chi2, parameters = kernels.fit_spectra(
        np.ascontiguousarray(values), axis - middle, weight, settings
    )
    parameters[:, 4:6] += middle
    return WhiteLineFit(energies + middle, stds, flags, chi2, parameters, PARAMETERS)


def noise_std_from_residuals(
    *, spectra: ArrayLike, energy: ArrayLike, fit: WhiteLineFit, edge_width: float = 2.0
) -> NDArray[np.float64]:
    """Noise at each energy from the residuals of the good spectra of a first fit, [energy].

    For spectra whose noise is not known but alike: fit a sample without ``noise_std``, take the noise from here, fit
    all with it. Noise that differs between energies (more at the white line, where fewer photons come through) then
    gets its right weight, and the uncertainties lose the scatter of a noise taken from each spectrum alone.

    The median of the squared residuals over spectra is scaled to a variance for Gaussian noise and divided by
    one minus the leverage of that energy in the median spectrum's fit. Misfit of the line shape counts as noise.

    Parameters
    ----------
    spectra, energy
        As given to ``fit_white_line``, without a window; at least 30 good spectra.
    fit
        Its result.
    edge_width
        The fixed w of that fit, eV.

    Raises
    ------
    MeasurementError
        If fewer than 30 spectra are good.
    """
    if fit.good.sum() < 30:
        raise MeasurementError(
            "too few good spectra to find the noise", expected="at least 30", found=str(int(fit.good.sum()))
        )
    axis = np.asarray(energy, dtype=np.float64)
    relative = axis - axis.mean()
    parameters = fit.parameters[fit.good].copy()
    parameters[:, 4:6] -= axis.mean()
    residual = np.asarray(spectra)[fit.good] - white_line_curve(parameters, relative, edge_width)
    work = kernels.new_work(relative)
    middle = np.median(parameters, axis=0)
    kernels.fill_columns(work, (middle[4], middle[5], middle[6]), edge_width)
    orthonormal = np.linalg.qr(work.columns.T)[0]
    leverage = np.sum(orthonormal**2, axis=1)
    half_normal_median = 0.45493642
    variance: NDArray[np.float64] = np.median(residual**2, axis=0) / half_normal_median / (1.0 - leverage)
    return np.sqrt(variance)


def white_line_curve(
    parameters: NDArray[np.float64], energy: NDArray[np.float64], edge_width: float
) -> NDArray[np.float64]:
    """The fitted curve, [spectrum, energy], of ``fit_white_line``.

    ``parameters`` are ordered as ``PARAMETERS``; the slope counts from the mean of ``energy``, so give the fit's.
    """
    offset, slope, jump, amplitude, edge, centre, width = (column[:, np.newaxis] for column in parameters.T)
    step = 0.5 + np.arctan((energy - edge) / edge_width) / np.pi
    line = np.exp(-0.5 * ((energy - centre) / width) ** 2)
    curve: NDArray[np.float64] = offset + slope * (energy - energy.mean()) + jump * step + amplitude * line
    return curve


def checked_spectra(
    spectra: ArrayLike,
    energy: ArrayLike,
    noise_std: ArrayLike | None,
    window: tuple[float, float] | None,
    minimum_count: int,
) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]]:
    """Spectra (a view), energies and weights (one over noise, [1 or spectrum, energy]) inside the window, checked.

    Arguments and errors are those of ``fit_white_line``.
    """
    values = np.asarray(spectra)
    axis = np.asarray(energy, dtype=np.float64)
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    if values.ndim != 2 or axis.ndim != 1 or values.shape[1] != axis.size:
        raise MeasurementError(
            "spectra do not match the energies", expected=f"[spectrum, {axis.size}]", found=f"shape {values.shape}"
        )
    if not np.all(np.diff(axis) > 0):
        raise MeasurementError("energies do not ascend", expected="strictly ascending, finite energies in eV")
    noise = np.ones((1, axis.size)) if noise_std is None else np.atleast_2d(np.asarray(noise_std, dtype=np.float64))
    if noise.shape not in ((1, axis.size), values.shape):
        raise MeasurementError("the noise does not match the spectra", expected="[energy]", found=f"{noise.shape}")
    low, high = window or (axis[0], axis[-1])
    inside = (axis >= low) & (axis <= high)
    if inside.sum() < minimum_count:
        raise MeasurementError(
            "too few energies for the white line",
            expected=f"at least {minimum_count} energies between {low:g} and {high:g} eV",
            found=f"{inside.sum()}",
            cure="widen the window, in eV",
        )
    noise = noise[:, inside]
    if not (noise.shape[0] > 1 or np.all(np.isfinite(noise) & (noise > 0))):
        raise MeasurementError("the noise is not positive", expected="finite standard deviations above zero")
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(noise > 0, 1.0 / noise, np.nan)
    first = int(np.argmax(inside))
    return values[:, first : first + axis[inside].size], axis[inside], weight


@dataclass(frozen=True)
class WhiteLineStatistics:
    """Mean and spread of the white-line energy over voxels, eV."""

    mean: float
    mean_std: float
    width: float
    """Standard deviation of the true energies: observed variance minus mean squared uncertainty, not below zero."""
    width_std: float
    observed_width: float
    """Standard deviation as observed, noise included."""
    count: int


def white_line_statistics(
    *,
    white_line_energy: ArrayLike,
    white_line_energy_std: ArrayLike,
    good: ArrayLike,
    independent_fraction: float = 1.0,
) -> WhiteLineStatistics:
    """Mean and noise-free width of the white-line energy of the good voxels.

    ``width^2 = s^2 - mean(std^2)`` with s^2 the observed variance; the variance of s^2 follows from the fourth central
    moment. With u the standard deviation of width^2, ``width_std`` is the longer of the two ways to
    ``sqrt(width^2 +- u)`` (not below zero): u / (2 width) for a broad distribution, and near zero the width that noise
    could hide.

    Neighbouring voxels are correlated, in noise (through reconstruction and resolution) and in composition (through
    grains). ``mean_std`` and ``width_std`` therefore hold for ``independent_fraction`` times the number of voxels, for
    example voxels per resolution element inverted, ``(voxel / resolution)^3``; the default 1 treats all voxels as
    independent and so gives the smallest uncertainty possible.

    Parameters
    ----------
    white_line_energy, white_line_energy_std
        eV, any shape.
    good
        Boolean, same shape; voxels that count.
    independent_fraction
        Effective over actual number of voxels, above 0 and at most 1.

    Raises
    ------
    MeasurementError
        If fewer than 2 good voxels (or effective voxels) are left, or the fraction is out of range.
    """
    chosen = np.asarray(good, dtype=bool)
    energies = np.asarray(white_line_energy, dtype=np.float64)[chosen]
    stds = np.asarray(white_line_energy_std, dtype=np.float64)[chosen]
    effective = energies.size * independent_fraction
    if not 0 < independent_fraction <= 1 or effective < 2:
        raise MeasurementError(
            "too few independent voxels for a mean and a width",
            expected="at least 2 after multiplying with a fraction above 0 and at most 1",
            found=f"{energies.size} good voxels, independent fraction {independent_fraction:g}",
        )
    deviation = energies - energies.mean()
    variance = float(deviation @ deviation) / (energies.size - 1)
    fourth = float(np.mean(deviation**4))
    squared_width = variance - float(np.mean(stds**2))
    squared_width_std = np.sqrt(max(fourth - variance**2 * (effective - 3) / (effective - 1), 0.0) / effective)
    width = np.sqrt(max(squared_width, 0.0))
    higher, lower = np.sqrt(width**2 + squared_width_std), np.sqrt(max(width**2 - squared_width_std, 0.0))
    return WhiteLineStatistics(
        mean=float(energies.mean()),
        mean_std=float(np.sqrt(variance / effective)),
        width=float(width),
        width_std=float(max(higher - width, width - lower)),
        observed_width=float(np.sqrt(variance)),
        count=int(energies.size),
    )


def _settings(axis: NDArray[np.float64], options: WhiteLineOptions, *, noise_is_known: bool) -> kernels.Settings:
    return kernels.Settings(
        edge_width=options.edge_width,
        start_edge_distance=options.start_edge_distance,
        start_line_width=options.start_line_width,
        centre_limits=(float(axis[0]), float(axis[-1])),
        distance_limits=(float(options.edge_distance_limits[0]), float(options.edge_distance_limits[1])),
        width_limits=(float(options.line_width_limits[0]), float(options.line_width_limits[1])),
        significance=options.minimum_significance,
        tolerance=options.tolerance,
        iterations=options.maximum_iterations,
        noise_is_known=noise_is_known,
    )
