"""The calibrated fit and the highest point of a spectrum together, and what their disagreement says.

Both see the same noise, and neither uses all of it where real shapes are not the model's: their best linear
combination is more precise than either. How much noise moves each, and how alike, is found once for every state by
adding noise to mean spectra of the data. What a voxel's own noisy curvature says of its highest point would not do:
where noise makes a spectrum pointed, it is believed most.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.numerics.spread import robust_std_about_median
from cathoscope.xanes.line_calibration import (
    INTERPOLATION_STD,
    CalibratedLines,
    JointErrors,
    LineCalibration,
    SpectrumMaximum,
    apply_calibration,
    maximum_of_spectra,
)
from cathoscope.xanes.line_steps import fit_compressed
from cathoscope.xanes.line_tables import FitPlan
from cathoscope.xanes.whiteline import WhiteLineFlag

Float64Array = NDArray[np.float64]
Float32Array = NDArray[np.float32]

DRAWS = 1500
FEWEST_IN_GROUP = 6
_GROUPS = 12
_FARTHEST = 5.0  # robust standard deviations beyond which an error is that of a failed fit
_MIXED = 3.25  # of the difference between fit and highest point, in standard uncertainties


def calibrated_fit(
    plan: FitPlan, calibration: LineCalibration, z: ArrayLike, *, noise_scale: float = 1.0
) -> tuple[CalibratedLines, NDArray[np.int8]]:
    """White lines on the calibrated scale, the fit and the highest point of the spectrum combined, and their flags.

    Spectra whose highest point is not where the fit puts it are flagged as mixed. Without joint errors in the
    calibration the fit stands alone, and nothing is told to be mixed.

    Parameters
    ----------
    z
        Coefficients, ``[spectrum, K]``.
    noise_scale
        Variance of their noise in units of the plan's.
    """
    fit = fit_compressed(plan, z, noise_scale=noise_scale)
    lines = apply_calibration(calibration, fit)
    if calibration.joint is None or calibration.order == "none":
        return lines, fit.flag.copy()
    highest = maximum_of_spectra(calibration.maximum, z, noise_scale=noise_scale)
    flag = fit.flag.copy()
    flag[(flag == WhiteLineFlag.GOOD) & mixed_states(calibration, lines, highest)] = WhiteLineFlag.MIXED
    return combine_with_maximum(calibration, lines, highest), flag


def with_joint_errors(
    plan: FitPlan, calibration: LineCalibration, z_bins: ArrayLike, *, noise_scale: float = 1.0, seed: int = 0
) -> LineCalibration:
    """The calibration with the joint errors of fit and highest point; as it is if there are too few bins.

    Parameters
    ----------
    z_bins
        Coefficients of binned voxels, ``[bin, K]``.
    noise_scale
        Variance of the noise of one voxel in units of the plan's.
    seed
        Of the simulated noise.
    """
    rng = np.random.default_rng(seed)
    rows = [
        row
        for spectrum in spectra_of_states(plan, calibration, z_bins)
        if (row := _joint_of(plan, calibration, noisy_spectra(spectrum, noise_scale, rng), noise_scale)) is not None
    ]
    if not rows:
        return calibration
    energy, of_fit, of_maximum, correlation = np.array(sorted(rows)).T
    return replace(calibration, joint=JointErrors(energy, of_fit, of_maximum, correlation))


def spectra_of_states(plan: FitPlan, calibration: LineCalibration, z_bins: ArrayLike) -> Iterator[Float32Array]:
    """Mean spectra, nearly free of noise, of groups of bins with like fitted energy; none if there are too few bins.

    Bins are sorted by the fit, the more precise: groups of high and of low highest points may be of one state.
    """
    z = np.asarray(z_bins, dtype=np.float32)
    maximum = maximum_of_spectra(calibration.maximum, z)
    usable = np.isfinite(maximum.energy) & ~maximum.at_end
    if usable.sum() < 2 * FEWEST_IN_GROUP:
        return
    fitted = fit_compressed(plan, z).white_line_energy
    order = np.flatnonzero(usable)[np.argsort(fitted[usable], kind="stable")]
    for group in np.array_split(order, min(_GROUPS, order.size // FEWEST_IN_GROUP)):
        yield z[group].mean(axis=0)


def noisy_spectra(spectrum: Float32Array, noise_scale: float, rng: np.random.Generator) -> Float32Array:
    """One spectrum many times, each with other noise, ``[draw, K]``."""
    noise = rng.standard_normal((DRAWS, spectrum.size)).astype(np.float32)
    return np.asarray(spectrum + np.float32(np.sqrt(noise_scale)) * noise)


def without_failed(error: Float64Array) -> Float64Array:
    """Errors cut to five robust standard deviations: fits that failed are flagged or rare."""
    middle, reach = float(np.median(error)), _FARTHEST * robust_std_about_median(error)
    return np.clip(error, middle - reach, middle + reach)


def _joint_of(
    plan: FitPlan, calibration: LineCalibration, noisy: Float32Array, noise_scale: float
) -> tuple[float, ...] | None:
    """Energy, widths of the two errors in units of the stated one, and their correlation, for one spectrum."""
    fit = fit_compressed(plan, noisy, noise_scale=noise_scale)
    lines = apply_calibration(calibration, fit)
    highest = maximum_of_spectra(calibration.maximum, noisy, noise_scale=noise_scale)
    good = (fit.flag == WhiteLineFlag.GOOD) & np.isfinite(highest.energy) & np.isfinite(lines.energy)
    if good.sum() < DRAWS // 10:
        return None
    of_fit, of_maximum = without_failed(lines.energy[good]), without_failed(highest.energy[good])
    stated = float(np.median(lines.noise_std[good]))
    widths = float(of_fit.std()), float(of_maximum.std())
    if not min(*widths, stated) > 0.0:
        return None
    correlation = float(np.mean((of_fit - of_fit.mean()) * (of_maximum - of_maximum.mean()))) / (widths[0] * widths[1])
    return float(of_fit.mean()), widths[0] / stated, widths[1] / stated, correlation


def _moments(
    calibration: LineCalibration, joint: JointErrors, lines: CalibratedLines
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Variances of fit and highest point, scatter of shapes included, and their covariance, eV^2, ``[spectrum]``."""
    of_fit, of_maximum, correlation = (
        np.interp(lines.energy, joint.energy, values) for values in (joint.of_fit, joint.of_maximum, joint.correlation)
    )
    noise = lines.noise_std**2
    known = calibration.artefact_std**2 + INTERPOLATION_STD**2
    return (
        noise * of_fit**2 + calibration.tau**2,
        noise * of_maximum**2 + known,
        noise * of_fit * of_maximum * correlation,
    )


def combine_with_maximum(
    calibration: LineCalibration, lines: CalibratedLines, maximum: SpectrumMaximum
) -> CalibratedLines:
    r"""Best linear combination of the calibrated fit and the highest point of each spectrum.

    The fit errs by its noise and by the scatter of shapes :math:`\tau`, the highest point by its noise, by artefacts
    and by 0.02 eV of interpolation; the noise is common to both as the joint errors of the calibration say, and
    scales with the uncertainty that the fit of the voxel states. The energy scale is the fit's alone: where it is less
    known, beyond the states of most bins, the highest point counts for more. Where that is not known, or without
    joint errors, the fit stands.
    """
    joint = calibration.joint
    if joint is None:
        return lines
    of_fit, of_maximum, both = _moments(calibration, joint, lines)
    # the interpolation between energies is in both: the scale was found with highest points
    scale = np.maximum(lines.systematic_std**2 - INTERPOLATION_STD**2, 0.0)
    excess = of_fit + scale - both
    with np.errstate(invalid="ignore", divide="ignore"):
        share = excess / (excess + of_maximum - both)
    usable = np.isfinite(share) & np.isfinite(maximum.energy)
    share = np.where(usable, np.clip(share, 0.0, 1.0), 0.0)
    energy = lines.energy + share * np.where(usable, maximum.energy - lines.energy, 0.0)
    variance = (1.0 - share) ** 2 * of_fit + share**2 * of_maximum + 2.0 * share * (1.0 - share) * both
    common = np.sqrt((1.0 - share) ** 2 * scale + np.minimum(lines.systematic_std, INTERPOLATION_STD) ** 2)
    return CalibratedLines(energy, np.sqrt(variance), lines.noise_std, common, lines.outside)


def mixed_states(
    calibration: LineCalibration, lines: CalibratedLines, maximum: SpectrumMaximum, *, threshold: float = _MIXED
) -> NDArray[np.bool_]:
    """Spectra whose calibrated fit and highest point differ by more than ``threshold`` standard uncertainties.

    A mixture of two states has no single white line: the fit gives something like their mean, the highest point the
    stronger one. ``lines`` is from `apply_calibration`, not combined. Without joint errors nothing is told to be mixed.
    """
    joint = calibration.joint
    if joint is None:
        return np.zeros(lines.energy.shape, dtype=bool)
    of_fit, of_maximum, both = _moments(calibration, joint, lines)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(maximum.energy - lines.energy) > threshold * np.sqrt(of_fit + of_maximum - 2.0 * both))
