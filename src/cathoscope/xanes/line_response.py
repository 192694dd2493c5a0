"""What a white-line fit makes of noise, for the shapes of the data themselves.

The standard uncertainty of a fit assumes that the model is right. Where real shapes differ from it, the same noise
moves the maximum by more or less than that, and on average not by zero. Both are found by adding noise of known
size to mean spectra of the data, and removed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import null_space

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.line_calibration import (
    CalibratedLines,
    LineCalibration,
    apply_calibration,
    combine_with_maximum,
    maximum_of_spectra,
    mixed_states,
)
from cathoscope.xanes.line_steps import fit_compressed
from cathoscope.xanes.line_tables import FitPlan
from cathoscope.xanes.whiteline import WhiteLineFlag

Float64Array = NDArray[np.float64]
Float32Array = NDArray[np.float32]

_GROUPS = 12
_FEWEST_IN_GROUP = 6
_DRAWS = 1500
_MAD_TO_STD = 1.4826
_FARTHEST = 5.0  # robust standard deviations beyond which an error is that of a failed fit
# Of the difference between fit and highest point; at 3 noise alone flags a fifth of noisy voxels.
_MIXED = 3.25


def calibrated_fit(
    plan: FitPlan, calibration: LineCalibration, z: ArrayLike, *, noise_scale: float = 1.0
) -> tuple[CalibratedLines, NDArray[np.int8]]:
    """White lines on the calibrated scale, the fit and the highest point of the spectrum combined, and their flags.

    Spectra whose highest point is not where the fit puts it are flagged as mixed; their energy is that of the fit.

    Parameters
    ----------
    z
        Coefficients, ``[spectrum, K]``.
    noise_scale
        Variance of their noise in units of the plan's.
    """
    fit = fit_compressed(plan, z, noise_scale=noise_scale)
    lines = apply_calibration(calibration, fit)
    highest = maximum_of_spectra(calibration.maximum, z, noise_scale=noise_scale)
    highest = replace(highest, std=np.hypot(highest.std, calibration.artefact_std))
    flag = fit.flag.copy()
    if calibration.order != "none":  # else fit and highest point differ for every spectrum alike
        flag[(flag == WhiteLineFlag.GOOD) & mixed_states(lines, highest, threshold=_MIXED)] = WhiteLineFlag.MIXED
    return combine_with_maximum(calibration, lines, highest), flag


def with_artefacts(
    plan: FitPlan, calibration: LineCalibration, halves: tuple[ArrayLike, ArrayLike], *, noise_scale: float = 1.0
) -> LineCalibration:
    """The calibration with the scatter of highest points that two halves of the data agree on.

    A reconstruction errs by more than its noise: rims ring, and energies are not quite in register. The few energies
    around the maximum feel that most. Where odd and even projections find the same difference between highest point
    and fit, it is no noise; its variance beyond the scatter of shapes is shared by the two.
    The middle of the distribution decides, so voxels of truly mixed states, being fewer, stay conspicuous.
    With fewer than 6 voxels that both halves know, or none at all, the calibration stays as it is.

    Parameters
    ----------
    halves
        Coefficients from odd and from even projections, ``[spectrum, K]``, of the same voxels.
    noise_scale
        Variance of the noise of a half in units of the plan's.

    Raises
    ------
    MeasurementError
        If shapes do not fit.
    """
    shapes = [np.shape(half) for half in halves]
    if shapes[0] != shapes[1]:
        raise MeasurementError(
            "the halves are not of the same voxels", expected=f"two of shape {shapes[0]}", found=f"{shapes[1]}"
        )
    odd, even = (_discrepancy(plan, calibration, z, noise_scale) for z in halves)
    both = np.isfinite(odd + even)
    if calibration.order == "none" or both.sum() < _FEWEST_IN_GROUP:
        return calibration
    common = (_robust_std((odd + even)[both]) ** 2 - _robust_std((odd - even)[both]) ** 2) / 4.0
    # which of the two errs cannot be told: half of it each
    each = max(common - calibration.tau**2, 0.0) / 2.0
    return replace(calibration, tau=float(np.sqrt(calibration.tau**2 + each)), artefact_std=float(np.sqrt(each)))


def shared_over_noise(odd: ArrayLike, even: ArrayLike, components: ArrayLike) -> float:
    """Variance that two halves share in directions without signal, over the variance of the noise of both together.

    The median of its principal directions counts, for rare spectra may fill one or two. Zero where there is no such
    direction, or no voxel.

    Parameters
    ----------
    odd, even
        Coefficients from either half of the projections, ``[voxel, K]``.
    components
        Orthonormal directions that hold the spectra, ``[K, component]``.
    """
    first, second = (np.asarray(half, dtype=np.float64) for half in (odd, even))
    filled = np.asarray(components, dtype=np.float64)
    empty = null_space(filled.T)
    known = np.isfinite(first + second).all(axis=1)
    if empty.shape[1] == 0 or not known.any():
        return 0.0
    first, second = first[known] @ empty, second[known] @ empty
    noise = float(np.mean((first - second) ** 2)) / 4.0
    product = first.T @ second / len(first)
    shared = float(np.median(np.linalg.eigvalsh(0.5 * (product + product.T))))
    return max(shared / noise, 0.0) if noise > 0 else 0.0


def _discrepancy(plan: FitPlan, calibration: LineCalibration, z: ArrayLike, noise_scale: float) -> Float64Array:
    fit = fit_compressed(plan, z, noise_scale=noise_scale)
    highest = maximum_of_spectra(calibration.maximum, z, noise_scale=noise_scale)
    difference = highest.energy - apply_calibration(calibration, fit).energy
    return np.where(fit.flag == WhiteLineFlag.GOOD, difference, np.nan)


def _robust_std(values: Float64Array) -> float:
    return _MAD_TO_STD * float(np.median(np.abs(values - np.median(values))))


@dataclass(frozen=True)
class LineResponse:
    """Error of calibrated fits on mean spectra of the data with noise added.

    Attributes
    ----------
    energy
        Mean calibrated energy of each group of spectra, eV, ascending, ``[group]``.
    bias, bias_std
        Mean of fit minus maximum of the noise-free spectrum, and its standard uncertainty, eV, ``[group]``.
    width
        Standard deviation of the error over the standard uncertainty of the fit, ``[group]``.
    rmse
        Root mean square error, eV, ``[group]``.
    failed
        Share of fits without a trusted value, ``[group]``.
    slope
        Of the mean fitted energy against the true one, from group to group; nan with fewer than three groups.
    """

    energy: Float64Array
    bias: Float64Array
    bias_std: Float64Array
    width: Float64Array
    rmse: Float64Array
    failed: Float64Array
    slope: float

    def corrected(self, energy: Float64Array, std: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Energies without the bias and standard uncertainties as wide as the errors are, eV."""
        bias = np.interp(energy, self.energy, self.bias)
        return energy - bias, std * np.interp(energy, self.energy, self.width)

    def with_width_of(self, other: LineResponse) -> LineResponse:
        """With the width of another response: of one to noise alone, where sigma holds more than simulated noise."""
        return replace(self, width=np.interp(self.energy, other.energy, other.width))


def response_of_fit(
    plan: FitPlan, calibration: LineCalibration, z_bins: ArrayLike, *, noise_scale: float = 1.0, seed: int = 0
) -> LineResponse | None:
    """Simulate fits of the spectra of the data; None if there are too few.

    Bins are sorted by their fitted energy, the more precise, into groups of equal size; the mean of a group, nearly
    free of noise, is the spectrum that is fitted with noise of ``noise_scale`` (a variance) added.

    Parameters
    ----------
    z_bins
        Coefficients of binned voxels, ``[bin, K]``.
    noise_scale
        Variance of the noise of one voxel in units of the plan's.
    seed
        Of the simulated noise.
    """
    z = np.asarray(z_bins, dtype=np.float32)
    maximum = maximum_of_spectra(calibration.maximum, z)
    usable = np.isfinite(maximum.energy) & ~maximum.at_end
    if usable.sum() < 2 * _FEWEST_IN_GROUP:
        return None
    fitted = fit_compressed(plan, z).white_line_energy
    order = np.flatnonzero(usable)[np.argsort(fitted[usable], kind="stable")]
    groups = np.array_split(order, min(_GROUPS, order.size // _FEWEST_IN_GROUP))
    rng = np.random.default_rng(seed)
    found = [_group(plan, calibration, z[group].mean(axis=0), noise_scale, rng) for group in groups]
    good = [row for row in found if np.isfinite(row).all()]
    if not good:
        return None
    true, energy, bias, bias_std, width, rmse, failed = np.array(sorted(good, key=lambda row: row[1])).T
    slope = float(np.polyfit(true - true.mean(), true + bias, 1)[0]) if np.ptp(true) > 0.1 and true.size > 2 else np.nan
    return LineResponse(np.maximum.accumulate(energy), bias, bias_std, width, rmse, failed, slope)


def _group(
    plan: FitPlan, calibration: LineCalibration, spectrum: Float32Array, noise_scale: float, rng: np.random.Generator
) -> tuple[float, ...]:
    """True and mean fitted energy, bias and its uncertainty, width of the pull, rms error, and share of failures."""
    true = float(maximum_of_spectra(calibration.maximum, spectrum[None]).energy[0])
    noise = rng.standard_normal((_DRAWS, spectrum.size)).astype(np.float32)
    noisy = spectrum + np.float32(np.sqrt(noise_scale)) * noise
    lines, flag = calibrated_fit(plan, calibration, noisy, noise_scale=noise_scale)
    good = (flag == WhiteLineFlag.GOOD) & np.isfinite(lines.energy)
    if good.sum() < _DRAWS // 10:
        return (np.nan,) * 7
    error, std = lines.energy[good] - true, lines.std[good]
    # tails of failed fits are flagged or rare: the middle of the errors is what most voxels have
    middle = float(np.median(error))
    spread = _MAD_TO_STD * float(np.median(np.abs(error - middle)))
    # The errors are skew, and their skewness changes with the state. Without their mean the means of many voxels are
    # right, and the slope from state to state; without their median neither is.
    kept = np.clip(error, middle - _FARTHEST * spread, middle + _FARTHEST * spread)
    bias, bias_std = float(kept.mean()), float(kept.std() / np.sqrt(kept.size))
    pull = error / std
    width = _MAD_TO_STD * float(np.median(np.abs(pull - np.median(pull))))
    rmse = float(np.sqrt(np.mean(error**2)))
    return true, true + bias, bias, bias_std, width, rmse, 1.0 - float(good.mean())
