"""Filtered back-projection by gridding in Fourier space, many slices at a time.

The filtered back-projection of a parallel-beam sinogram is a sum of plane waves: every
projection contributes its spectrum, times ``|frequency|``, along one line through the
origin (Natterer, *The Mathematics of Computerized Tomography*, 2001, ch. V). The sum is
evaluated as a non-uniform fast Fourier transform: samples are convolved onto an
oversampled grid with the exponential-of-semicircle window (Barnett, Magland and af
Klinteberg, SIAM J. Sci. Comput. 41, C479, 2019), transformed, and divided by the window's
transform. The convolution weights depend on the angles only and are planned once for all
slices, energies and temperatures; rotation axis and jitter are phases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.spread import robust_std_along

FloatArray = NDArray[np.floating]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Complex64Array = NDArray[np.complex64]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]

# Rows are always transformed this many at a time, so that a slice has the same bits
# whichever rows it is reconstructed with, as long as slabs start at multiples of BATCH.
BATCH = 8
_PAIRS = BATCH // 2

_OVERSAMPLING = 1.625
_KERNEL_WIDTH = 4
# 0.94 keeps the largest error at the rim of the image small for this width; 0.98 is usual for wider windows
_KERNEL_BETA = 0.94 * np.pi * _KERNEL_WIDTH * (1.0 - 0.5 / _OVERSAMPLING)
_LARGEST_WEIGHT = 2.0  # of one projection, in units of the median weight


@dataclass(frozen=True)
class Plan:
    """What all slices measured at the same angles share.

    Attributes
    ----------
    angle_deg
        Angles in deg, shape ``[projection]``.
    angle_weight
        Angle in rad that each projection stands for, shape ``[projection]``.
    n_columns, padded, grid
        Detector columns, columns after zero padding, and edge of the Fourier grid.
    frequency
        Frequencies 0 to 1/2 in cycles per pixel, shape ``[frequency]``.
    transfer
        Ramp filter, angular weight and half-pixel phase, shape ``[projection, frequency]``.
    cell, row_start, sample, weight
        Compressed rows of the convolution: grid cell ``cell[r]`` receives
        ``weight[k]`` times sample ``sample[k]`` for ``row_start[r] <= k < row_start[r + 1]``.
        Only samples of positive frequency are listed: the cell opposite the origin
        receives the samples of negative frequency with the same weights.
    row_split
        Where the samples of even projections begin in each compressed row, after those of odd ones, see
        `odd_projections`.
    window_inverse
        One over the window's transform along one axis of the image, shape ``[column]``.
    """

    angle_deg: Float64Array
    angle_weight: Float64Array
    n_columns: int
    padded: int
    grid: int
    frequency: Float64Array
    transfer: Complex64Array
    cell: Int32Array
    row_start: Int64Array
    row_split: Int64Array
    sample: Int32Array
    weight: Float32Array
    window_inverse: Float32Array


def plan_reconstruction(angle_deg: FloatArray, n_columns: int) -> Plan:
    """Plan the reconstruction of projections at ``angle_deg`` (deg, any order) with ``n_columns`` columns.

    The plan takes about 128 bytes per projection and column.

    Raises
    ------
    MeasurementError
        If there are fewer than two projections or columns, or an angle is not finite.
    """
    angle = np.array(angle_deg, dtype=np.float64)
    if angle.ndim != 1 or angle.size < 2 or n_columns < 2 or not np.isfinite(angle).all():
        raise MeasurementError(
            "the angles and columns do not make a tomogram",
            expected="at least 2 finite angles in deg and at least 2 columns",
            found=f"angles of shape {angle.shape}, {int(np.sum(~np.isfinite(angle)))} not finite, {n_columns} columns",
        )
    padded = 2 * scipy.fft.next_fast_len(n_columns)
    grid = 2 * scipy.fft.next_fast_len(int(np.ceil(0.5 * _OVERSAMPLING * n_columns)))
    grid = max(grid, 2 * _KERNEL_WIDTH)
    frequency = np.arange(padded // 2 + 1) / padded
    weight = angular_weights_from_angles(angle_deg=angle)
    cosine, sine = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    cell, row_start, row_split, sample, spread = _convolution(
        grid * np.outer(cosine, frequency),
        grid * np.outer(sine, frequency),
        grid,
        np.repeat(odd_projections(angle_deg=angle), frequency.size),
    )
    return Plan(
        angle_deg=angle,
        angle_weight=weight,
        n_columns=n_columns,
        padded=padded,
        grid=grid,
        frequency=frequency,
        transfer=_transfer(frequency, weight, cosine + sine, n_columns),
        cell=cell,
        row_start=row_start,
        row_split=row_split,
        sample=sample,
        weight=spread,
        window_inverse=_window_inverse(n_columns, grid),
    )


def reconstruct(
    plan: Plan,
    sinogram: FloatArray,
    rotation_axis: float,
    projection_shift: FloatArray | None,
    pixel_size: float,
) -> Float32Array:
    """Attenuation in 1/um, ``[row, y, x]`` float32, from optical depth ``[row, projection, column]``.

    A point (x, y) is looked up at column ``rotation_axis + projection_shift + (x cos + y sin) / pixel_size``;
    the axis is at x = y = 0, the centre of the ``n_columns`` x ``n_columns`` image. The filter is the
    band-limited ramp (Ramachandran and Lakshminarayanan, PNAS 68, 2236, 1971). The optical depth outside the
    detector is taken as zero, so values outside the circle that every projection sees are not attenuation.

    Parameters
    ----------
    plan
        From `plan_reconstruction`, for the angles of this sinogram.
    sinogram
        Optical depth, ``[row, projection, column]``.
    rotation_axis
        Detector column of the rotation axis in px.
    projection_shift
        Horizontal jitter of each projection in px, ``[projection]``, or None.
    pixel_size
        Edge of a detector pixel at the sample in um.

    Raises
    ------
    MeasurementError
        If shapes do not fit the plan or a value is not finite.
    """
    _check_input(plan, sinogram, rotation_axis, projection_shift, pixel_size)
    phase = _axis_phase(plan, rotation_axis, projection_shift)
    every = (plan.row_start[:-1], plan.row_start[1:])
    volume = np.empty((sinogram.shape[0], plan.n_columns, plan.n_columns), dtype=np.float32)
    for start in range(0, sinogram.shape[0], BATCH):
        samples = _samples_of_batch(plan, sinogram[start : start + BATCH], phase)
        _image_of_samples(plan, samples, every, 1.0 / pixel_size, volume[start : start + BATCH])
    return volume


def reconstruct_halves(
    plan: Plan,
    sinogram: FloatArray,
    rotation_axis: float,
    projection_shift: FloatArray | None,
    pixel_size: float,
) -> tuple[Float32Array, Float32Array]:
    """What the odd and the even projections contribute to the reconstruction, each ``[row, y, x]`` in 1/um.

    Their sum is the full reconstruction (that of `reconstruct` to rounding), with the angular weights of the full
    plan; each is about half of it. Their noise is independent, so their difference has the noise of their sum.
    Streaks from too few angles differ between the halves as well. See `odd_projections` for the split. Takes about
    1.4 times the CPU of `reconstruct`; parameters and errors as there.
    """
    _check_input(plan, sinogram, rotation_axis, projection_shift, pixel_size)
    phase = _axis_phase(plan, rotation_axis, projection_shift)
    shape = (sinogram.shape[0], plan.n_columns, plan.n_columns)
    odd, even = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
    for start in range(0, sinogram.shape[0], BATCH):
        samples = _samples_of_batch(plan, sinogram[start : start + BATCH], phase)
        for half, entries in (
            (odd, (plan.row_start[:-1], plan.row_split)),
            (even, (plan.row_split, plan.row_start[1:])),
        ):
            _image_of_samples(plan, samples, entries, 1.0 / pixel_size, half[start : start + BATCH])
    return odd, even


def odd_projections(*, angle_deg: FloatArray) -> NDArray[np.bool_]:
    """Which projections are the first, third, fifth in order of their angle modulo 180 deg, ``[projection]``."""
    order = np.argsort(np.mod(np.asarray(angle_deg, dtype=np.float64), 180.0), kind="stable")
    odd = np.zeros(order.size, dtype=np.bool_)
    odd[order[0::2]] = True
    return odd


def noise_std_from_half_sets(
    sinogram: FloatArray,
    angle_deg: FloatArray,
    rotation_axis: float,
    projection_shift: FloatArray | None,
    pixel_size: float,
) -> tuple[Float64Array, Float32Array]:
    """Noise of a reconstruction, from its odd and even projections reconstructed apart.

    The mean of the two halves is the full reconstruction and their noise is independent, so half their
    difference has the noise of the full reconstruction. Streaks from too few angles differ between the
    halves as well, so the estimate is an upper bound where angles are scarce.

    Returns
    -------
    noise_std
        Noise in 1/um of each row within the inscribed circle, ``[row]``: 1.4826 times the median absolute deviation.
    half_difference
        Half the difference of the two reconstructions in 1/um, ``[row, y, x]``, to be masked by the caller.

    Raises
    ------
    MeasurementError
        As `reconstruct`.
    """
    angle = np.asarray(angle_deg, dtype=np.float64)
    odd = odd_projections(angle_deg=angle)
    halves = []
    for chosen in (np.flatnonzero(odd), np.flatnonzero(~odd)):
        plan = plan_reconstruction(angle[chosen], sinogram.shape[2])
        shift = None if projection_shift is None else np.asarray(projection_shift)[chosen]
        halves.append(reconstruct(plan, sinogram[:, chosen], rotation_axis, shift, pixel_size))
    half_difference = (0.5 * (halves[0] - halves[1])).astype(np.float32)
    return noise_std_of_rows(difference=half_difference), half_difference


def noise_std_of_rows(*, difference: FloatArray) -> Float64Array:
    """Noise of a reconstruction, ``[row]``, from a volume ``[row, y, x]`` that has its noise but not the object.

    1.4826 times the median absolute deviation within the inscribed circle, in the unit of ``difference``.
    """
    values = difference[:, _inscribed_circle(difference.shape[2])].astype(np.float64)
    return np.asarray(robust_std_along(values - np.median(values, axis=1, keepdims=True), 1))


def angular_weights_from_angles(*, angle_deg: FloatArray) -> Float64Array:
    """Angle in rad that each projection stands for: half the way to both neighbours, modulo 180 deg.

    Projections at the same angle modulo 180 deg share its weight. No weight exceeds twice the median, so
    the projections at the rim of a missing wedge do not stand for the wedge; the weights of a scan with a
    wedge then sum to less than pi and the mean attenuation is low by the missing part. Angles in deg.
    """
    # angles a rounding error below 180 deg are the same direction as 0 deg
    wrapped = np.mod(np.round(np.mod(np.asarray(angle_deg, dtype=np.float64), 180.0), 6), 180.0)
    unique, member, count = np.unique(wrapped, return_inverse=True, return_counts=True)
    gap_after = np.diff(unique, append=unique[0] + 180.0)
    share = 0.5 * (gap_after + np.roll(gap_after, 1)) / count
    weight = np.asarray(share[member], dtype=np.float64)
    return np.deg2rad(np.minimum(weight, _LARGEST_WEIGHT * np.median(weight)))


def _check_input(
    plan: Plan, sinogram: FloatArray, rotation_axis: float, projection_shift: FloatArray | None, pixel_size: float
) -> None:
    expected = (plan.angle_deg.size, plan.n_columns)
    if sinogram.ndim != 3 or sinogram.shape[1:] != expected:
        raise MeasurementError(
            "the sinogram does not fit the planned angles and columns",
            expected=f"[row, projection, column] with {expected[0]} projections and {expected[1]} columns",
            found=f"shape {sinogram.shape}",
        )
    if projection_shift is not None and np.shape(projection_shift) != expected[:1]:
        raise MeasurementError(
            "the jitter does not fit the projections",
            expected=f"{expected[0]} shifts",
            found=f"shape {np.shape(projection_shift)}",
        )
    shift_finite = projection_shift is None or bool(np.isfinite(projection_shift).all())
    if not (np.isfinite(rotation_axis) and np.isfinite(pixel_size) and pixel_size > 0 and shift_finite):
        raise MeasurementError(
            "the geometry is not usable",
            expected="finite rotation axis and shifts in px, pixel size above zero in um",
            found=f"rotation axis {rotation_axis}, pixel size {pixel_size}, shifts finite: {shift_finite}",
        )


def _transfer(frequency: Float64Array, weight: Float64Array, direction: Float64Array, n_columns: int) -> Complex64Array:
    padded = 2 * (frequency.size - 1)
    lag = np.minimum(np.arange(padded), padded - np.arange(padded))
    odd = lag % 2 == 1
    ramp_kernel = np.zeros(padded)
    ramp_kernel[0] = 0.25
    ramp_kernel[odd] = -1.0 / (np.pi * lag[odd]) ** 2
    ramp = np.fft.rfft(ramp_kernel).real / padded
    # zero and the Nyquist frequency appear both as positive and as negative frequency
    ramp[[0, -1]] *= 0.5
    # The grid of an even image is centred between pixels. This half pixel belongs to the samples:
    # on the grid it would change sign for cells that wrap around.
    half_pixel = n_columns // 2 - 0.5 * (n_columns - 1)
    phase = np.exp(2j * np.pi * half_pixel * np.outer(direction, frequency))
    return np.asarray(weight[:, None] * ramp * phase, dtype=np.complex64)


def _window_inverse(n_columns: int, grid: int) -> Float32Array:
    node, node_weight = np.polynomial.legendre.leggauss(64)
    position = np.arange(n_columns) - n_columns // 2
    window = np.exp(_KERNEL_BETA * (np.sqrt(1.0 - node**2) - 1.0))
    wave = np.cos(np.pi * _KERNEL_WIDTH * np.outer(position, node) / grid)
    transform = 0.5 * _KERNEL_WIDTH * wave @ (node_weight * window)
    return (1.0 / transform).astype(np.float32)


def _convolution(
    column: Float64Array, line: Float64Array, grid: int, odd: NDArray[np.bool_]
) -> tuple[Int32Array, Int64Array, Int64Array, Int32Array, Float32Array]:
    """Compressed rows that carry samples at grid position (line, column) to cells ``line * grid + column``.

    In every row samples marked ``odd`` come first: starts of rows, starts of their even samples, samples, weights.
    """
    order = np.concatenate([np.flatnonzero(odd), np.flatnonzero(~odd)])
    count = np.zeros(grid * grid, dtype=np.int64)
    _count_samples(column.ravel()[odd], line.ravel()[odd], grid, count)
    odd_count = count.copy()
    _count_samples(column.ravel()[~odd], line.ravel()[~odd], grid, count)
    cell = np.flatnonzero(count)
    row_start = np.concatenate([[0], np.cumsum(count[cell])])
    next_entry = np.zeros(grid * grid, dtype=np.int64)
    next_entry[cell] = row_start[:-1]
    sample = np.empty(row_start[-1], dtype=np.int32)
    weight = np.empty(row_start[-1], dtype=np.float32)
    _fill_samples(column.ravel(), line.ravel(), order, grid, next_entry, (sample, weight))
    return cell.astype(np.int32), row_start, row_start[:-1] + odd_count[cell], sample, weight


def _axis_phase(plan: Plan, rotation_axis: float, projection_shift: FloatArray | None) -> Complex64Array:
    shift = np.zeros(1) if projection_shift is None else np.asarray(projection_shift, dtype=np.float64)
    column = rotation_axis + shift
    return np.asarray(np.exp(2j * np.pi * column[:, None] * plan.frequency), dtype=np.complex64)


def _samples_of_batch(plan: Plan, sinogram: FloatArray, phase: Complex64Array) -> Complex64Array:
    """Filtered spectra of at most `BATCH` rows, ``[projection, frequency, sign, pair]``."""
    n_rows, n_projections, size = sinogram.shape
    padded = np.zeros((_PAIRS, n_projections, plan.padded), dtype=np.complex64)
    padded[: (n_rows + 1) // 2, :, :size].real = sinogram[0::2]
    padded[: n_rows // 2, :, :size].imag = sinogram[1::2]
    spectrum = scipy.fft.fft(padded, axis=2, overwrite_x=True, workers=1)
    # every sum over columns appears at zero frequency, so looking there finds any value that is not finite
    if not np.isfinite(spectrum[:, :, 0]).all():
        raise MeasurementError(
            "the optical depth has values that are not finite",
            found=f"{int(np.sum(~np.isfinite(sinogram)))} values not finite or too large",
            cure="fill bad pixels and limit the transmission before taking the logarithm",
        )
    samples = np.empty((n_projections, plan.frequency.size, 2, _PAIRS), dtype=np.complex64)
    _filtered_samples(spectrum, plan.transfer, phase, samples)
    return samples


def _image_of_samples(
    plan: Plan, samples: Complex64Array, entries: tuple[Int64Array, Int64Array], scale: float, image_rows: Float32Array
) -> None:
    """Fill at most `BATCH` slices from the samples between the starts and stops ``entries`` of every cell."""
    size = plan.n_columns
    fourier = np.zeros((plan.grid, plan.grid, _PAIRS), dtype=np.complex64)
    _gather(
        fourier.view(np.float32).reshape(plan.grid, plan.grid, BATCH),
        samples.view(np.float32).reshape(-1, 2 * BATCH),
        plan.cell,
        entries,
        plan.sample,
        plan.weight,
    )
    kept = np.mod(np.arange(size) - size // 2, plan.grid)
    image = scipy.fft.ifft(fourier, axis=0, norm="forward", overwrite_x=True, workers=1)[kept]
    image = scipy.fft.ifft(image, axis=1, norm="forward", overwrite_x=True, workers=1)
    batch = np.empty((BATCH, size, size), dtype=np.float32)
    _unpack(image, plan.window_inverse, np.float32(scale), batch)
    image_rows[:] = batch[: image_rows.shape[0]]


def _inscribed_circle(size: int) -> NDArray[np.bool_]:
    position = np.arange(size) - 0.5 * (size - 1)
    return position[:, None] ** 2 + position**2 <= (0.5 * size) ** 2


@njit(cache=True, nogil=True)
def _count_samples(column, line, grid, count):  # type: ignore[no-untyped-def]
    for k in range(column.size):
        first_column = int(np.ceil(column[k] - 0.5 * _KERNEL_WIDTH))
        first_line = int(np.ceil(line[k] - 0.5 * _KERNEL_WIDTH))
        for i in range(_KERNEL_WIDTH):
            for j in range(_KERNEL_WIDTH):
                count[((first_line + i) % grid) * grid + (first_column + j) % grid] += 1


@njit(cache=True, nogil=True)
def _window(distance):  # type: ignore[no-untyped-def]
    x = distance * (2.0 / _KERNEL_WIDTH)
    return np.exp(_KERNEL_BETA * (np.sqrt(max(0.0, 1.0 - x * x)) - 1.0))


@njit(cache=True, nogil=True)
def _fill_samples(column, line, order, grid, next_entry, entries):  # type: ignore[no-untyped-def]
    sample, weight = entries
    for k in order:
        first_column = int(np.ceil(column[k] - 0.5 * _KERNEL_WIDTH))
        first_line = int(np.ceil(line[k] - 0.5 * _KERNEL_WIDTH))
        for i in range(_KERNEL_WIDTH):
            along_line = _window(first_line + i - line[k])
            for j in range(_KERNEL_WIDTH):
                cell = ((first_line + i) % grid) * grid + (first_column + j) % grid
                entry = next_entry[cell]
                sample[entry] = k
                weight[entry] = along_line * _window(first_column + j - column[k])
                next_entry[cell] = entry + 1


@njit(cache=True, nogil=True)
def _filtered_samples(spectrum, transfer, phase, samples):  # type: ignore[no-untyped-def]
    """Spectra ``[pair, projection, padded]`` to samples ``[projection, frequency, sign, pair]``."""
    n_pairs, n_projections, padded = spectrum.shape
    for p in range(n_projections):
        phase_row = phase[p % phase.shape[0]]
        for k in range(transfer.shape[1]):
            factor = transfer[p, k] * phase_row[k]
            opposite = (padded - k) % padded
            for pair in range(n_pairs):
                samples[p, k, 0, pair] = spectrum[pair, p, k] * factor
                samples[p, k, 1, pair] = spectrum[pair, p, opposite] * np.conj(factor)


# Contraction to fused multiply-add is allowed: it is the same on every thread and only reduces rounding.
@njit(cache=True, nogil=True, fastmath={"contract"})
def _gather(fourier, samples, cell, entries, sample, weight):  # type: ignore[no-untyped-def]
    """Add the convolved samples to the grid ``[line, column, values]``, values of both signs side by side."""
    first_entry, end_entry = entries
    grid, _, n_values = fourier.shape
    total = np.zeros(2 * n_values, dtype=np.float32)
    for r in range(cell.size):
        total[:] = 0.0
        start, stop = first_entry[r], end_entry[r]
        unrolled = start + 4 * ((stop - start) // 4)
        for k in range(start, unrolled, 4):
            s0, s1, s2, s3 = samples[sample[k]], samples[sample[k + 1]], samples[sample[k + 2]], samples[sample[k + 3]]
            w0, w1, w2, w3 = weight[k], weight[k + 1], weight[k + 2], weight[k + 3]
            for v in range(2 * n_values):
                total[v] += (w0 * s0[v] + w1 * s1[v]) + (w2 * s2[v] + w3 * s3[v])
        for k in range(unrolled, stop):
            for v in range(2 * n_values):
                total[v] += weight[k] * samples[sample[k], v]
        line, column = cell[r] // grid, cell[r] % grid
        for v in range(n_values):
            fourier[line, column, v] += total[v]
            fourier[(grid - line) % grid, (grid - column) % grid, v] += total[n_values + v]


@njit(cache=True, nogil=True)
def _unpack(image, window_inverse, scale, batch):  # type: ignore[no-untyped-def]
    """Image ``[y, wrapped x, pair]`` to slices ``[row, y, x]``, divided by the window's transform."""
    size, grid, n_pairs = image.shape
    for pair in range(n_pairs):
        for y in range(size):
            factor_y = scale * window_inverse[y]
            for x in range(size):
                value = image[y, (x - size // 2) % grid, pair] * (factor_y * window_inverse[x])
                batch[2 * pair, y, x] = value.real
                batch[2 * pair + 1, y, x] = value.imag
