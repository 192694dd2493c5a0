"""Forward projection by gridding in Fourier space: the adjoint of the back-projection in `reconstruct`.

The spectrum of a parallel projection is the image's spectrum on a line through the origin (Natterer, *The
Mathematics of Computerized Tomography*, 2001, theorem II.1.1). The lines are read from an oversampled grid with the
convolution weights of the plan, transposed, so projection and back-projection are adjoint to rounding.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.tomography.reconstruct import BATCH, Plan, reconstruct

FloatArray = NDArray[np.floating]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Complex64Array = NDArray[np.complex64]

_PAIRS = BATCH // 2


def project(
    plan: Plan,
    volume: FloatArray,
    rotation_axis: float,
    projection_shift: FloatArray | None,
    pixel_size: float,
) -> Float32Array:
    r"""Optical depth ``[row, projection, column]`` float32 of attenuation in 1/um, ``[row, y, x]``.

    .. math:: p(c) = \Delta \sum_{x, y} \mu(x, y) \, \mathrm{sinc}\Bigl(
        c - c_0 - s_p - \frac{x \cos\theta + y \sin\theta}{\Delta}\Bigr)

    with the pixel size :math:`\Delta`, the axis :math:`c_0` and the jitter :math:`s_p`: line integrals through the
    band-limited image, in the geometry of `reconstruct`. What leaves the detector is lost.

    Parameters
    ----------
    plan
        From `plan_reconstruction`.
    volume
        Attenuation, ``[row, y, x]``, as wide as the detector.
    rotation_axis, projection_shift, pixel_size
        As in `reconstruct`: px, px, um.

    Raises
    ------
    MeasurementError
        If shapes do not fit the plan or a value is not finite.
    """
    check_volume(plan, volume)
    shift = np.zeros(1) if projection_shift is None else np.asarray(projection_shift, dtype=np.float64)
    _check_geometry(plan, rotation_axis, shift, pixel_size)
    # the conjugate of the factors of the back-projection
    phase = np.exp(-2j * np.pi * (rotation_axis + shift)[:, None] * plan.frequency)
    factor = (_half_pixel_phase(plan).conj() * phase).astype(np.complex64)
    n_rows = volume.shape[0]
    sinogram = np.empty((n_rows, plan.angle_deg.size, plan.n_columns), dtype=np.float32)
    for start in range(0, n_rows, BATCH):
        stop = min(start + BATCH, n_rows)
        rows = _project_batch(plan, volume[start:stop], factor)
        sinogram[start:stop] = np.float32(pixel_size) * rows[: stop - start]
    return sinogram


def back_project(
    plan: Plan, sinogram: FloatArray, rotation_axis: float, projection_shift: FloatArray | None, pixel_size: float
) -> Float32Array:
    """Adjoint of `project`: ``[row, y, x]`` float32 from ``[row, projection, column]``, without filter or weights.

    Raises
    ------
    MeasurementError
        As `reconstruct`.
    """
    unfiltered = replace(plan, transfer=_half_pixel_phase(plan).astype(np.complex64))
    return np.float32(pixel_size) * reconstruct(unfiltered, sinogram, rotation_axis, projection_shift, 1.0)


def residual_rms(sinogram: FloatArray, projected: FloatArray) -> Float64Array:
    """Root mean square over projections and columns of the optical depth a reconstruction leaves, ``[row]``.

    A reconstruction that explains the data up to their noise leaves the noise of the optical depth; far less means
    that noise was fitted, more that a part of the object was not.
    """
    difference = np.asarray(projected, dtype=np.float64) - sinogram
    return np.asarray(np.sqrt(np.mean(difference**2, axis=(1, 2))))


def check_volume(plan: Plan, volume: FloatArray) -> None:
    """Raise MeasurementError unless ``volume`` is ``[row, y, x]``, as wide as the plan's detector, and finite."""
    if volume.ndim != 3 or volume.shape[1:] != (plan.n_columns, plan.n_columns):
        raise MeasurementError(
            "the volume does not fit the planned columns",
            expected=f"[row, y, x] with {plan.n_columns} x {plan.n_columns} voxels in a row",
            found=f"shape {volume.shape}",
        )
    if not np.isfinite(volume).all():
        raise MeasurementError(
            "the volume has values that are not finite", found=f"{int(np.sum(~np.isfinite(volume)))} values"
        )


def _check_geometry(plan: Plan, rotation_axis: float, shift: Float64Array, pixel_size: float) -> None:
    fits = shift.shape in ((1,), plan.angle_deg.shape) and bool(np.isfinite(shift).all())
    if not (fits and np.isfinite(rotation_axis) and np.isfinite(pixel_size) and pixel_size > 0):
        raise MeasurementError(
            "the geometry is not usable",
            expected=f"finite axis, {plan.angle_deg.size} finite shifts in px, pixel size above zero in um",
            found=f"rotation axis {rotation_axis}, shifts of shape {shift.shape}, pixel size {pixel_size}",
        )


def _half_pixel_phase(plan: Plan) -> NDArray[np.complex128]:
    """Transfer of the plain adjoint: the half pixel of an even image, the end frequencies shared by both signs."""
    angle = np.deg2rad(plan.angle_deg)
    half_pixel = plan.n_columns // 2 - 0.5 * (plan.n_columns - 1)
    share = np.full(plan.frequency.size, 1.0 / plan.padded)
    share[[0, -1]] *= 0.5
    phase = np.exp(2j * np.pi * half_pixel * np.outer(np.cos(angle) + np.sin(angle), plan.frequency))
    return np.asarray(share * phase)


def _project_batch(plan: Plan, volume: FloatArray, factor: Complex64Array) -> Float32Array:
    size = plan.n_columns
    image = np.zeros((size, plan.grid, _PAIRS), dtype=np.complex64)
    _pack(np.ascontiguousarray(volume, dtype=np.float32), plan.window_inverse, image)
    fourier = np.zeros((plan.grid, plan.grid, _PAIRS), dtype=np.complex64)
    kept = np.mod(np.arange(size) - size // 2, plan.grid)
    fourier[kept] = scipy.fft.fft(image, axis=1, overwrite_x=True, workers=1)
    fourier = scipy.fft.fft(fourier, axis=0, overwrite_x=True, workers=1)
    n_projections, n_frequencies = factor.shape
    samples = np.zeros((n_projections, n_frequencies, 2, _PAIRS), dtype=np.complex64)
    _scatter(
        np.ascontiguousarray(fourier).view(np.float32).reshape(plan.grid, plan.grid, BATCH),
        samples.view(np.float32).reshape(n_projections * n_frequencies, 2 * BATCH),
        plan.cell,
        plan.row_start,
        plan.sample,
        plan.weight,
    )
    spectrum = np.zeros((_PAIRS, n_projections, plan.padded), dtype=np.complex64)
    _spectrum(samples, factor, spectrum)
    rows = scipy.fft.ifft(spectrum, axis=2, norm="forward", overwrite_x=True, workers=1)[:, :, :size]
    return np.stack([rows.real, rows.imag], axis=1).reshape(BATCH, n_projections, size)


@njit(cache=True, nogil=True)
def _pack(volume, window_inverse, image):  # type: ignore[no-untyped-def]
    """Slices ``[row, y, x]``, divided by the window's transform, to pairs ``[y, wrapped x, pair]``."""
    n_rows, size, _ = volume.shape
    grid = image.shape[1]
    for row in range(n_rows):
        pair = row // 2
        unit = np.complex64(1.0) if row % 2 == 0 else np.complex64(1j)
        for y in range(size):
            for x in range(size):
                value = volume[row, y, x] * (window_inverse[y] * window_inverse[x])
                image[y, (x - size // 2) % grid, pair] += unit * value


# Contraction to fused multiply-add is allowed: it is the same on every thread and only reduces rounding.
@njit(cache=True, nogil=True, fastmath={"contract"})
def _scatter(fourier, samples, cell, row_start, sample, weight):  # type: ignore[no-untyped-def]
    """Transpose of the gather of `reconstruct`: add the grid ``[line, column, values]`` to the samples."""
    grid, _, n_values = fourier.shape
    both = np.empty(2 * n_values, dtype=np.float32)
    for r in range(cell.size):
        line, column = cell[r] // grid, cell[r] % grid
        for v in range(n_values):
            both[v] = fourier[line, column, v]
            both[n_values + v] = fourier[(grid - line) % grid, (grid - column) % grid, v]
        for k in range(row_start[r], row_start[r + 1]):
            receiver = samples[sample[k]]
            for v in range(2 * n_values):
                receiver[v] += weight[k] * both[v]


@njit(cache=True, nogil=True)
def _spectrum(samples, factor, spectrum):  # type: ignore[no-untyped-def]
    """Samples ``[projection, frequency, sign, pair]`` to spectra ``[pair, projection, padded]``."""
    n_pairs, n_projections, padded = spectrum.shape
    for p in range(n_projections):
        for k in range(factor.shape[1]):
            opposite = (padded - k) % padded
            for pair in range(n_pairs):
                spectrum[pair, p, k] += samples[p, k, 0, pair] * factor[p, k]
                spectrum[pair, p, opposite] += samples[p, k, 1, pair] * np.conj(factor[p, k])
