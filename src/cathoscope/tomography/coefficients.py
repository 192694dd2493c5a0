"""From sinograms of many energies to a few volumes: coefficients of the spectra that rise above the noise.

Reconstruction is linear and all energies share its geometry. So summing the aligned sinograms of E energies up to
K spectra and reconstructing those gives, to rounding, what reconstructing every energy and projecting the spectrum of
every voxel onto the same K spectra would give. The spectra are singular vectors of measured spectra in units of the
noise; what they leave out lies below the noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.noise_floor import noise_scale_of, separable_noise, singular_value_floor

FloatArray = NDArray[np.floating]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

_NEW_DIRECTION = 1e-6  # share of a wanted spectrum that must lie outside the basis to be worth a coefficient


@dataclass(frozen=True)
class SpectralBasis:
    """Spectra that voxels are summed up to.

    Attributes
    ----------
    energy
        Energies in eV, ``[energy]``.
    noise_std
        Noise of a voxel at each energy in the unit of the spectra; dividing by it whitens, ``[energy]``.
    vectors
        Orthonormal spectra in the whitened space, singular vectors first, ``[energy, K]``.
    rank_of_noise_floor
        How many singular values lie above the noise floor; K differs where spectra were asked for or K was limited.
    singular_value
        Singular values of the samples in units of their noise, descending, ``[component]``.
    noise_floor
        What the largest singular value of noise alone stays below in 999 of 1000 cases, once the components before
        it are taken out, ``[component]``.
    noise_scale
        Noise of the samples, from the bulk of the singular values, relative to the stated one. Above 1 it raises
        the floor; far from 1 the stated noise is wrong.
    """

    energy: Float64Array
    noise_std: Float64Array
    vectors: Float64Array
    rank_of_noise_floor: int
    singular_value: Float64Array
    noise_floor: Float64Array
    noise_scale: float


def basis_from_samples(
    samples: ArrayLike,
    *,
    energy: ArrayLike,
    noise_std: ArrayLike,
    sample_noise: ArrayLike,
    always: ArrayLike | None = None,
    largest: int | None = None,
) -> SpectralBasis:
    r"""Spectra above the noise in ``samples``, and those in ``always``.

    Samples are divided by their noise, the closest product of a factor per pixel and one per energy. For white noise
    of unit variance the largest singular value of an n x p matrix stays below the root of
    ``a^2 + a (1/sqrt(n - 1) + 1/sqrt(p))^(1/3) t``, ``a = sqrt(n - 1) + sqrt(p)``, with t the 99.9 % point of the
    Tracy-Widom law [1]_. Singular vectors above that are turned into the space whitened by ``noise_std``. Means over
    many voxels, as independent as possible, see spectra far below the noise of one: a spectrum is found if its rms
    in the samples, in units of their noise, exceeds about :math:`(p / n)^{1/4}`.

    Parameters
    ----------
    samples
        Spectra of binned projections or voxels, ``[pixel, energy]``. Those that are not finite are left out.
    energy, noise_std
        Energies in eV, and the noise of one voxel at each, ``[energy]``.
    sample_noise
        Standard deviation of the samples, ``[energy]`` or ``[pixel, energy]``.
    always
        Spectra in the whitened space (divided by ``noise_std``) that the basis must hold, ``[energy, m]``.
    largest
        Most vectors of the basis; the leading singular vectors are kept, and ``always`` in any case.

    Raises
    ------
    MeasurementError
        If shapes do not fit, noise is not positive, too few samples are finite, or nothing rises above the noise.

    References
    ----------
    .. [1] I. M. Johnstone, Ann. Stat. 29 (2001) 295.
    """
    data, std, noise = _checked(samples, energy, noise_std, sample_noise)
    pixel_factor, energy_factor = separable_noise(noise)
    # the triangular factor has the singular values and right vectors of the whole, to full precision
    triangle = np.linalg.qr(data / pixel_factor / energy_factor, mode="r")
    _, values, rows = np.linalg.svd(triangle, full_matrices=False)
    n, p = data.shape
    floor = singular_value_floor(n, p, values.size)
    scale = noise_scale_of(values, floor, n, p)
    above = values > floor * max(scale, 1.0)
    rank = int(above.size if above.all() else np.argmin(above))
    wanted = np.empty((std.size, 0)) if always is None else np.asarray(always, dtype=np.float64).reshape(std.size, -1)
    if rank == 0 and wanted.shape[1] == 0:
        raise MeasurementError(
            "no spectrum rises above the noise",
            expected=f"a singular value above {floor[0]:.3g}",
            found=f"{values[0]:.3g} times the noise",
            cure="check the noise and the samples, or switch spectral coefficients off",
        )
    singular = rows[:rank].T * (energy_factor / std)[:, None]
    return SpectralBasis(
        energy=np.array(energy, dtype=np.float64),
        noise_std=std,
        vectors=_orthonormal(singular, wanted, std.size if largest is None else largest),
        rank_of_noise_floor=rank,
        singular_value=values,
        noise_floor=floor,
        noise_scale=scale,
    )


def accumulate(coefficient_sinogram: Float32Array, sinogram: FloatArray, weights: FloatArray) -> None:
    """Add ``weights * sinogram`` to the sinograms of the coefficients, in place.

    Several energies in one call are faster, as every coefficient is then fetched from memory once for all of them.
    Energies are added one after the other, so that the result does not depend on how they are grouped.

    Parameters
    ----------
    coefficient_sinogram
        Sums so far, ``[K, row, projection, column]`` float32, contiguous.
    sinogram
        Aligned optical depth, ``[row, projection, column]`` of one energy or ``[energy, row, projection, column]``.
    weights
        Column(s) of `numerics.spectral.weights_of`, ``[K]`` or ``[K, energy]``.

    Raises
    ------
    MeasurementError
        If shapes do not fit or the sums are not contiguous float32.
    """
    n_coefficients, *shape = coefficient_sinogram.shape
    values = sinogram[None] if sinogram.ndim == len(shape) else sinogram
    factor = np.ascontiguousarray(np.reshape(weights, (len(weights), -1)), dtype=np.float32)
    if values.shape[1:] != tuple(shape) or factor.shape != (n_coefficients, values.shape[0]):
        raise MeasurementError(
            "the sinograms do not fit the coefficients",
            expected=f"{(values.shape[0], *shape)} and weights {(n_coefficients, values.shape[0])}",
            found=f"{values.shape} and weights {factor.shape}",
        )
    if coefficient_sinogram.dtype != np.float32 or not coefficient_sinogram.flags.c_contiguous:
        raise MeasurementError("the sums of the coefficients must be contiguous float32")
    _accumulate(
        coefficient_sinogram.reshape(n_coefficients, -1),
        np.ascontiguousarray(values, dtype=np.float32).reshape(values.shape[0], -1),
        factor,
    )


def _checked(
    samples: ArrayLike, energy: ArrayLike, noise_std: ArrayLike, sample_noise: ArrayLike
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Finite samples, noise per energy, and noise of the samples, [1 or pixel, energy], as float64."""
    data = np.asarray(samples, dtype=np.float64)
    std = np.array(noise_std, dtype=np.float64)
    noise = np.atleast_2d(np.asarray(sample_noise, dtype=np.float64))
    n_energies = np.size(energy)
    if data.ndim != 2 or {data.shape[1], std.size} != {n_energies} or noise.shape not in ((1, n_energies), data.shape):
        raise MeasurementError(
            "samples, energies and noise do not fit each other",
            expected=f"samples [pixel, {n_energies}], noise [{n_energies}] and [{n_energies}] or as the samples",
            found=f"samples {data.shape}, noise {std.shape} and {np.shape(sample_noise)}",
        )
    usable = np.isfinite(data).all(axis=1)
    noise = noise if noise.shape[0] == 1 else noise[usable]
    if usable.sum() < 3 or n_energies < 3:
        raise MeasurementError(
            "too few spectra for a basis",
            expected="3 finite samples and 3 energies",
            found=f"{int(usable.sum())} samples and {n_energies} energies",
        )
    if not (np.all(np.isfinite(std) & (std > 0)) and np.all(np.isfinite(noise) & (noise > 0))):
        raise MeasurementError("the noise is not positive", expected="finite standard deviations above zero")
    return data[usable], std, noise


def _orthonormal(singular: Float64Array, wanted: Float64Array, largest: int) -> Float64Array:
    """Orthonormal vectors: leading singular ones first, then what of the wanted ones they do not span."""
    basis = np.empty((singular.shape[0], 0))
    count = min(singular.shape[1], max(largest - wanted.shape[1], 0))
    for vector in (*singular.T[:count], *wanted.T):
        length = np.linalg.norm(vector)
        rest = vector - basis @ (basis.T @ vector)
        rest -= basis @ (basis.T @ rest)  # once more against rounding
        if np.linalg.norm(rest) > _NEW_DIRECTION * length:
            basis = np.column_stack([basis, rest / np.linalg.norm(rest)])
    return basis


# No contraction here: a sum must round the same whether four energies are added in one pass or in two.
@njit(cache=True, nogil=True)
def _accumulate(total, values, weights):  # type: ignore[no-untyped-def]
    """``total[k] += sum_e weights[k, e] values[e]`` by pieces that stay in the nearest cache."""
    piece = 1024
    n_energies, n_pixels = values.shape
    for start in range(0, n_pixels, piece):
        stop = min(start + piece, n_pixels)
        for k in range(total.shape[0]):
            target = total[k, start:stop]
            for e in range(0, n_energies - n_energies % 4, 4):
                a, b, c, d = values[e], values[e + 1], values[e + 2], values[e + 3]
                a, b, c, d = a[start:stop], b[start:stop], c[start:stop], d[start:stop]
                wa, wb, wc, wd = weights[k, e], weights[k, e + 1], weights[k, e + 2], weights[k, e + 3]
                for i in range(target.size):
                    target[i] = (((target[i] + wa * a[i]) + wb * b[i]) + wc * c[i]) + wd * d[i]
            for e in range(n_energies - n_energies % 4, n_energies):
                a, wa = values[e, start:stop], weights[k, e]
                for i in range(target.size):
                    target[i] += wa * a[i]
