"""What a white-line fit makes of noise and of artefacts, for the shapes of the data themselves.

Where real shapes differ from the model, the same noise moves the maximum on average not by zero. That is found by
adding noise of known size to mean spectra of the data, and removed. What two halves of the data share is no noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import null_space

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.spread import robust_std_about_median
from cathoscope.xanes.line_calibration import LineCalibration, apply_calibration, maximum_of_spectra
from cathoscope.xanes.line_combination import (
    DRAWS,
    FEWEST_IN_GROUP,
    calibrated_fit,
    noisy_spectra,
    spectra_of_states,
    without_failed,
)
from cathoscope.xanes.line_steps import fit_compressed
from cathoscope.xanes.line_tables import FitPlan
from cathoscope.xanes.whiteline import WhiteLineFlag

Float64Array = NDArray[np.float64]
Float32Array = NDArray[np.float32]


def with_artefacts(
    plan: FitPlan, calibration: LineCalibration, halves: tuple[ArrayLike, ArrayLike], *, noise_scale: float = 1.0
) -> LineCalibration:
    """The calibration with the scatter of highest points that two halves of the data agree on.

    A reconstruction errs by more than its noise: rims ring, and energies are not quite in register. The few energies
    around the maximum feel that most. Where odd and even projections find the same difference between highest point
    and fit, it is no noise; its variance beyond the scatter of shapes is that of the highest point: the fit is the more
    efficient of the two, so that the difference tells nothing of its error (Hausman, Econometrica 46, 1251, 1978).
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
    if calibration.order == "none" or both.sum() < FEWEST_IN_GROUP:
        return calibration
    common = (robust_std_about_median((odd + even)[both]) ** 2 - robust_std_about_median((odd - even)[both]) ** 2) / 4.0
    return replace(calibration, artefact_std=float(np.sqrt(max(common - calibration.tau**2, 0.0))))


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


@dataclass(frozen=True)
class LineResponse:
    """Error of calibrated fits on mean spectra of the data with noise added.

    Attributes
    ----------
    energy
        Mean calibrated energy of each group of spectra, eV, ascending, ``[group]``.
    bias, bias_std
        Mean of fit minus maximum of the noise-free spectrum, and its standard uncertainty, eV, ``[group]``.
    """

    energy: Float64Array
    bias: Float64Array
    bias_std: Float64Array

    def corrected(self, energy: Float64Array) -> Float64Array:
        """Energies without the bias, eV."""
        return energy - np.interp(energy, self.energy, self.bias)


def response_of_fit(
    plan: FitPlan, calibration: LineCalibration, z_bins: ArrayLike, *, noise_scale: float = 1.0, seed: int = 0
) -> LineResponse | None:
    """Simulate fits of the spectra of the data; None if there are too few.

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
    found = [
        _bias_at(plan, calibration, spectrum, noise_scale, rng)
        for spectrum in spectra_of_states(plan, calibration, z_bins)
    ]
    good = [row for row in found if np.isfinite(row).all()]
    if not good:
        return None
    energy, bias, bias_std = np.array(sorted(good)).T
    return LineResponse(energy, bias, bias_std)


def _bias_at(
    plan: FitPlan, calibration: LineCalibration, spectrum: Float32Array, noise_scale: float, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Mean fitted energy of a spectrum with noise, its bias and the uncertainty of that, eV."""
    true = float(maximum_of_spectra(calibration.maximum, spectrum[None]).energy[0])
    lines, flag = calibrated_fit(plan, calibration, noisy_spectra(spectrum, noise_scale, rng), noise_scale=noise_scale)
    good = (flag == WhiteLineFlag.GOOD) & np.isfinite(lines.energy)
    if good.sum() < DRAWS // 10:
        return (np.nan,) * 3
    # The errors are skew, and their skewness changes with the state. Without their mean the means of many voxels are
    # right, and the slope from state to state; without their median neither is.
    error = without_failed(lines.energy[good] - true)
    bias = float(error.mean())
    return true + bias, bias, float(error.std() / np.sqrt(error.size))
