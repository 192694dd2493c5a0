"""How many spectra a stack of images holds, and how much of each known spectrum is in every pixel."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.noise_floor import noise_scale_of, separable_noise, singular_value_floor

Array = NDArray[np.float64]
Background = Literal["none", "constant", "linear"]

_MOST_COMPONENTS = 8
_ILL_CONDITIONED = 30.0


@dataclass(frozen=True)
class SingularSpectrum:
    """Singular values of the whitened stack, in units of the noise.

    Attributes
    ----------
    values
        Singular values, descending, [component].
    noise_floor
        What the largest singular value of noise alone stays below in 999 of 1000 cases, once the components
        before it are taken out, [component].
    spectra
        Orthogonal spectra in the unit of the data, unit length before the noise is put back, [component, energy].
    count
        Number of leading singular values above the floor.
    pixel_count
        Pixels used; those with NaN or infinity are left out.
    """

    values: Array
    noise_floor: Array
    spectra: Array
    count: int
    pixel_count: int


def singular_spectrum(*, optical_depth: ArrayLike, noise_std: ArrayLike | None = None) -> SingularSpectrum:
    """Singular values of a stack against those of noise.

    The data are divided by the noise. A noise that varies with pixel and energy is replaced by the closest product of
    a pixel factor and an energy factor (in the logarithm), since only such a division keeps the number of components.
    For white noise of unit variance the largest singular value of an n x p matrix is
    the root of ``a^2 + a (1/sqrt(n - 1) + 1/sqrt(p))^(1/3) t``, ``a = sqrt(n - 1) + sqrt(p)``, t following the
    Tracy-Widom law [1]_. Without a stated noise, one noise for all is found from the median of
    the values below the floor, which for noise lies at the median of the Marchenko-Pastur law [2]_.

    Noise that is correlated between pixels (aligned by interpolation, reconstructed) is not white: the floor is then
    too low and the count an upper bound. The mean is not subtracted, so a common background counts as a component.

    Parameters
    ----------
    optical_depth
        [pixel, energy].
    noise_std
        Standard deviation of the noise, [energy] or [pixel, energy].

    Raises
    ------
    MeasurementError
        If shapes do not fit, fewer than 3 usable pixels or energies remain, or noise is not positive.

    References
    ----------
    .. [1] I. M. Johnstone, Ann. Stat. 29 (2001) 295.
    .. [2] M. Gavish, D. L. Donoho, IEEE Trans. Inf. Theory 60 (2014) 5040.
    """
    data, noise = _checked(optical_depth, noise_std)
    usable = np.isfinite(data).all(axis=1)
    if usable.sum() < 3 or data.shape[1] < 3:
        raise MeasurementError(
            "too few spectra for a singular spectrum",
            expected="3 pixels without NaN and 3 energies",
            found=f"{usable.sum()} pixels and {data.shape[1]} energies",
        )
    pixel_noise, energy_noise = np.ones((1, 1)), np.ones(1)
    if noise is not None:
        pixel_noise, energy_noise = separable_noise(noise[usable if len(noise) > 1 else [0]])
    whitened = data[usable] / pixel_noise / energy_noise
    # the triangular factor has the singular values and right vectors of the whole, to full precision
    _, values, vectors = np.linalg.svd(np.linalg.qr(whitened, mode="r"), full_matrices=False)
    n, p = whitened.shape
    floor = singular_value_floor(n, p, values.size)
    if noise is None:
        scale = noise_scale_of(values, floor, n, p)
        values, energy_noise = values / scale, energy_noise * scale
    above = values > floor
    count = int(above.size if above.all() else np.argmin(above))
    return SingularSpectrum(values, floor, vectors * energy_noise, count, int(n))


@dataclass(frozen=True)
class MixtureFit:
    """Amounts of known spectra in every pixel.

    Attributes
    ----------
    weight, weight_std
        Amount and its standard uncertainty, [component, pixel]. A weight held at zero carries the uncertainty that it
        would have if it were free.
    background
        Coefficients of 1 and, if linear, of ``(E - E_mid) / half range``, [term, pixel].
    residual
        Root mean square of data minus fit, in the unit of the data, [pixel].
    reduced_chi2
        Sum of squared weighted residuals over energies minus free coefficients, [pixel].
    condition_number
        Ratio of largest to smallest singular value of the weighted spectra and background, columns of unit length.
    warnings
        Sentences on what limits the result; empty if nothing does.
    """

    weight: Array
    weight_std: Array
    background: Array
    residual: Array
    reduced_chi2: Array
    condition_number: float
    warnings: tuple[str, ...]


def fit_components(
    *,
    optical_depth: ArrayLike,
    references: ArrayLike,
    energy: ArrayLike | None = None,
    noise_std: ArrayLike | None = None,
    background: Background = "none",
    non_negative: bool = True,
) -> MixtureFit:
    """Each pixel as a sum of reference spectra and a background, by weighted least squares.

    Non-negative weights are found exactly: every set of free components is solved, and the best admissible one taken;
    the background is always free. Uncertainties come from the covariance of the free set.

    Parameters
    ----------
    optical_depth
        [pixel, energy]; pixels with NaN or infinity give NaN.
    references
        Known spectra, [component, energy], at most 8.
    energy
        eV, [energy]; needed for a linear background only.
    noise_std
        Standard deviation of the noise, [energy] or [pixel, energy]. Without it all energies weigh alike and the
        residual of each pixel sets the scale of its uncertainty.
    background
        "none", "constant" or "linear" in energy.
    non_negative
        Whether weights below zero are excluded. Weights near zero are then biased upwards, by up to 0.4 standard
        uncertainties.

    Raises
    ------
    MeasurementError
        If shapes do not fit, a reference is not finite, spectra are linearly dependent or too few energies remain.
    """
    data, noise = _checked(optical_depth, noise_std)
    design = _design(references, energy, background, data.shape[1])
    component_count = np.shape(references)[0]
    inverse_variance = np.ones((1, data.shape[1])) if noise is None else noise**-2.0
    condition_number = _condition_number(design, np.sqrt(inverse_variance).mean(axis=0))
    normal = np.einsum("pe,ei,ej->pij", inverse_variance, design, design, optimize=True)
    right = np.einsum("pe,ei->pi", data * inverse_variance, design, optimize=True)
    coefficients = _solve(normal, right)
    free = np.ones(coefficients.shape, dtype=bool)
    if non_negative:
        coefficients, free = _best_admissible(normal, right, coefficients, component_count)
    variance = _variances(normal, free)
    misfit = data - coefficients @ design.T
    reduced_chi2 = np.sum(misfit**2 * inverse_variance, axis=1) / (data.shape[1] - free.sum(axis=1))
    scale = reduced_chi2 if noise is None else np.where(np.isfinite(reduced_chi2), 1.0, np.nan)
    return MixtureFit(
        weight=coefficients[:, :component_count].T,
        weight_std=np.sqrt(variance[:, :component_count] * scale[:, np.newaxis]).T,
        background=coefficients[:, component_count:].T,
        residual=np.sqrt(np.mean(misfit**2, axis=1)),
        reduced_chi2=reduced_chi2,
        condition_number=condition_number,
        warnings=_warnings(condition_number, data),
    )


def _checked(optical_depth: ArrayLike, noise_std: ArrayLike | None) -> tuple[Array, Array | None]:
    """Data [pixel, energy] and noise [1 or pixel, energy] as float64."""
    data = np.asarray(optical_depth, dtype=np.float64)
    if data.ndim != 2:
        raise MeasurementError("a stack of spectra is needed", expected="[pixel, energy]", found=f"shape {data.shape}")
    if noise_std is None:
        return data, None
    noise = np.atleast_2d(np.asarray(noise_std, dtype=np.float64))
    if noise.shape not in ((1, data.shape[1]), data.shape):
        raise MeasurementError(
            "the noise does not match the spectra",
            expected=f"[{data.shape[1]}] or {data.shape}",
            found=f"shape {np.shape(noise_std)}",
        )
    needed = noise if noise.shape[0] == 1 else noise[np.isfinite(data).all(axis=1)]
    if not np.all(np.isfinite(needed) & (needed > 0)):
        raise MeasurementError("the noise is not positive", expected="finite standard deviations above zero")
    return data, np.where(noise > 0, noise, np.nan)


def _design(references: ArrayLike, energy: ArrayLike | None, background: Background, energy_count: int) -> Array:
    """Reference spectra and background as columns, [energy, coefficient]."""
    spectra = np.asarray(references, dtype=np.float64)
    if spectra.ndim != 2 or spectra.shape[1] != energy_count or not 1 <= spectra.shape[0] <= _MOST_COMPONENTS:
        raise MeasurementError(
            "the reference spectra do not match the stack",
            expected=f"1 to {_MOST_COMPONENTS} spectra of {energy_count} energies",
            found=f"shape {spectra.shape}",
        )
    if not np.isfinite(spectra).all():
        raise MeasurementError("a reference spectrum holds NaN or infinity")
    columns = [*spectra]
    if background in ("constant", "linear"):
        columns.append(np.ones(energy_count))
    if background == "linear":
        axis = np.asarray(energy, dtype=np.float64)
        if energy is None or axis.shape != (energy_count,):
            raise MeasurementError("a linear background needs the energies", expected=f"energy [{energy_count}]")
        columns.append((2 * axis - axis.max() - axis.min()) / np.ptp(axis))
    if len(columns) >= energy_count:
        raise MeasurementError("too few energies", expected=f"more than {len(columns)}", found=str(energy_count))
    return np.stack(columns, axis=1)


def _condition_number(design: Array, weight: Array) -> float:
    weighted = design * np.where(np.isfinite(weight), weight, 1.0)[:, np.newaxis]
    lengths = np.linalg.norm(weighted, axis=0)
    condition = float(np.linalg.cond(weighted / lengths)) if np.all(lengths > 0) else np.inf
    if not condition < 1e7:
        raise MeasurementError(
            "reference spectra and background are linearly dependent",
            expected="spectra that no sum of the others gives",
            found=f"condition number {condition:.1g}",
            cure="leave one reference out, or choose a simpler background",
        )
    return condition


def _warnings(condition_number: float, data: Array) -> tuple[str, ...]:
    texts = []
    if condition_number > _ILL_CONDITIONED:
        texts.append(
            f"The reference spectra are nearly alike (condition number {condition_number:.0f}): "
            "the weights trade against each other, and small errors of the references become large ones of the weights."
        )
    lost = int(np.sum(~np.isfinite(data).all(axis=1)))
    if lost:
        texts.append(f"{lost} of {data.shape[0]} pixels hold NaN or infinity and were left out.")
    return tuple(texts)


def _solve(normal: Array, right: Array) -> Array:
    """Coefficients [pixel, coefficient] of normal [1 or pixel, i, j] and right-hand sides [pixel, i]."""
    if normal.shape[0] == 1:
        return np.asarray(right @ np.linalg.inv(normal[0]), dtype=np.float64)
    return np.asarray(np.linalg.solve(normal, right[:, :, np.newaxis])[:, :, 0], dtype=np.float64)


def _best_admissible(
    normal: Array, right: Array, unconstrained: Array, component_count: int
) -> tuple[Array, NDArray[np.bool_]]:
    """Least squares with non-negative components: coefficients and which of them are free, [pixel, coefficient].

    The constrained minimum is the free solution of its own free set, so the best admissible free solution is it.
    Misfits are measured from the unconstrained solution, ``(x - x0)' N (x - x0)``, which loses no digits.
    """
    size = right.shape[1]
    coefficients, free = unconstrained.copy(), np.ones(right.shape, dtype=bool)
    pixels = np.flatnonzero(np.any(unconstrained[:, :component_count] < 0, axis=1))
    own = normal if normal.shape[0] == 1 else normal[pixels]
    best = np.full(pixels.size, np.inf)
    for pattern in product((True, False), repeat=component_count):
        kept = np.flatnonzero((*pattern, *(True,) * (size - component_count)))
        trial = np.zeros((pixels.size, size))
        trial[:, kept] = _solve(own[:, kept[:, np.newaxis], kept], right[pixels][:, kept])
        step = trial - unconstrained[pixels]
        cost = np.einsum("pi,pij,pj->p", step, np.broadcast_to(own, (pixels.size, size, size)), step)
        better = np.all(trial[:, :component_count] >= 0, axis=1) & (cost < best)
        best[better], coefficients[pixels[better]] = cost[better], trial[better]
        free[pixels[better], :component_count] = pattern
    return coefficients, free


def _variances(normal: Array, free: NDArray[np.bool_]) -> Array:
    """Variances for unit noise, [pixel, coefficient]: of the free set, and unconstrained for those held at zero."""
    variance: Array = np.broadcast_to(np.einsum("pii->pi", np.linalg.inv(normal)), free.shape).copy()
    for pattern in np.unique(free, axis=0):
        if pattern.all() or not pattern.any():
            continue
        kept = np.flatnonzero(pattern)
        pixels = np.flatnonzero(np.all(free == pattern, axis=1))
        own = normal if normal.shape[0] == 1 else normal[pixels]
        covariance = np.linalg.inv(own[:, kept[:, np.newaxis], kept])
        variance[np.ix_(pixels, kept)] = np.einsum("pii->pi", covariance)
    return variance
