"""Everything geometric of one scan in one interpolation: drift, jitter, axis and magnification.

A scan of a series sees the specimen displaced, magnified and jittering. Its projections are read once, at the places
where a scan without any motion would have had its pixels, so nothing is interpolated twice. The interpolation is
separable, from 8 samples along the detector's rows and 16 along its columns, with the weights that make the smallest
mean squared error for images whose power falls as ``1 / (1 + (f / 0.1)^6)`` with the frequency f in cycles per pixel
(Wiener interpolation), summing to one. Measured over all fractions of a pixel, the largest error along rows and
columns is 1.5e-3 and 0.6e-3 up to 0.1 cycles per pixel, 6e-3 and 5e-3 up to 0.2 (a Kaiser-windowed sinc of 8 samples:
1e-2 already at 0.1). No interpolation keeps the highest frequencies half-way between samples; what is lost of the
noise is known exactly, see `row_noise_factor` and `column_noise_factor`, and is less than cubic splines lose.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError

FloatArray = NDArray[np.floating]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

_ROW_TAPS = 8
# The ramp filter weighs the highest frequencies most, and more samples along columns need no more rows.
_COLUMN_TAPS = 16
_CORNER, _FALL = 0.1, 6  # of the power that images are assumed to have, cycles per pixel and exponent
# A position is rounded to 1/8192 of a pixel at most, a hundredth of what geometry is known to.
_FRACTIONS = 4096


@dataclass(frozen=True)
class ScanMotion:
    """How one scan saw the specimen, against the reference of its series.

    A point (x, y, z) of the reference, px from the axis and from the middle row, is seen at the angle theta at
    column ``rotation_axis + projection_shift + M ((x + dx) cos(theta) + (y + dy) sin(theta))`` and
    row ``(n_rows - 1) / 2 + vertical_shift + M (z + dz)``.

    Attributes
    ----------
    rotation_axis
        Detector column of the axis in px, as magnified.
    magnification
        Relative to the reference, M.
    specimen_shift
        Displacement (dx, dy, dz) of the specimen on its stage in px of the reference.
    projection_shift, vertical_shift
        Jitter of each projection along the columns and rows in px of the detector, ``[projection]``.
    """

    rotation_axis: float
    magnification: float
    specimen_shift: tuple[float, float, float]
    projection_shift: FloatArray
    vertical_shift: FloatArray

    def __post_init__(self) -> None:
        finite = all(np.isfinite(getattr(self, field.name)).all() for field in fields(self))
        if not finite or self.magnification <= 0 or np.shape(self.projection_shift) != np.shape(self.vertical_shift):
            raise MeasurementError(
                "the motion of the scan is not usable",
                expected="finite numbers, a magnification above zero, as many horizontal as vertical shifts",
                found=f"axis {self.rotation_axis}, magnification {self.magnification}, "
                f"shifts {np.shape(self.projection_shift)} and {np.shape(self.vertical_shift)}",
                cure="fix the geometry of this scan in the recipe",
            )


def rows_needed(motion: ScanMotion, angle_deg: FloatArray, rows: slice, n_rows: int) -> slice:
    """Detector rows that the output rows ``rows`` are interpolated from, within the detector's ``n_rows``."""
    _check_angles(motion, angle_deg)
    position = row_positions(motion, rows, n_rows)
    reach = _ROW_TAPS // 2
    start = int(np.clip(np.floor(position.min()) - reach + 1, 0, n_rows - 1))
    stop = int(np.clip(np.floor(position.max()) + reach + 1, start + 1, n_rows))
    return slice(start, stop)


def row_positions(motion: ScanMotion, rows: slice, n_rows: int) -> Float64Array:
    """Detector row that each projection shows output row v at, px, ``[projection, row]``."""
    middle = 0.5 * (n_rows - 1)
    height = np.arange(rows.start, rows.stop) - middle + motion.specimen_shift[2]
    vertical = np.asarray(motion.vertical_shift, dtype=np.float64)
    return np.asarray(middle + vertical[:, None] + motion.magnification * height, dtype=np.float64)


def column_origins(motion: ScanMotion, angle_deg: FloatArray) -> Float64Array:
    """Detector column at which each projection shows the axis of the reference, px, ``[projection]``."""
    angle = np.deg2rad(np.asarray(angle_deg, dtype=np.float64))
    dx, dy, _ = motion.specimen_shift
    swing = motion.magnification * (dx * np.cos(angle) + dy * np.sin(angle))
    return np.asarray(motion.rotation_axis + motion.projection_shift + swing, dtype=np.float64)


def aligned_sinogram(
    depth: FloatArray, motion: ScanMotion, angle_deg: FloatArray, *, first_row: int, rows: slice, n_rows: int
) -> Float32Array:
    """Optical depth as a scan without motion would have seen it, ``[row, projection, column]`` float32.

    Column u shows ``u - (n_columns - 1) / 2`` px from the axis, which is exactly in the middle; row v shows
    ``v - (n_rows - 1) / 2`` px above the middle, both at magnification 1 and of the specimen where the reference has
    it. Places beyond the detector take the value of its rim; `share_outside` says how many there are. A row has
    the same bits whichever rows are read or asked for with it.

    Parameters
    ----------
    depth
        Optical depth ``[projection, row, column]`` of the detector rows from ``first_row`` on.
    motion, angle_deg
        Motion of the scan, and its angles in deg, ``[projection]``.
    first_row
        Detector row that ``depth`` begins with.
    rows
        Output rows; `rows_needed` says what they are read from.
    n_rows
        Rows of the whole detector.

    Raises
    ------
    MeasurementError
        If shapes do not fit, or ``depth`` lacks rows that are needed.
    """
    _check_angles(motion, angle_deg)
    needed = rows_needed(motion, angle_deg, rows, n_rows)
    if depth.ndim != 3 or depth.shape[0] != np.size(angle_deg):
        raise MeasurementError(
            "the projections do not fit the angles",
            expected=f"[projection, row, column] with {np.size(angle_deg)} projections",
            found=f"shape {depth.shape}",
        )
    if first_row > needed.start or first_row + depth.shape[1] < needed.stop:
        raise MeasurementError(
            "rows of the detector are missing",
            expected=f"rows {needed.start} to {needed.stop - 1}",
            found=f"rows {first_row} to {first_row + depth.shape[1] - 1}",
        )
    result = np.empty((rows.stop - rows.start, depth.shape[0], depth.shape[2]), dtype=np.float32)
    _resample(
        np.ascontiguousarray(depth, dtype=np.float32),
        (row_positions(motion, rows, n_rows), column_origins(motion, angle_deg), float(motion.magnification)),
        (_table(_ROW_TAPS), _table(_COLUMN_TAPS)),
        first_row,
        n_rows,
        result,
    )
    return result


def share_outside(motion: ScanMotion, angle_deg: FloatArray, *, rows: slice, n_rows: int, n_columns: int) -> float:
    """Share of the output pixels of ``rows`` whose place lies beyond the pixels of the detector, 0 to 1."""
    _check_angles(motion, angle_deg)
    row = row_positions(motion, rows, n_rows)
    offset = motion.magnification * (np.arange(n_columns) - 0.5 * (n_columns - 1))
    column = column_origins(motion, angle_deg)[:, None] + offset
    inside_rows = np.mean((row >= -0.5) & (row <= n_rows - 0.5), axis=1)
    inside_columns = np.mean((column >= -0.5) & (column <= n_columns - 0.5), axis=1)
    return float(1.0 - np.mean(inside_rows * inside_columns))


def row_noise_factor(fraction: FloatArray) -> Float64Array:
    """Variance of white noise after interpolation along rows, relative to before, at a fraction of a pixel.

    The sum of squares of the weights: 1 on a sample, 0.87 half-way.
    """
    weights = _kernel(np.mod(np.asarray(fraction, dtype=np.float64), 1.0), _ROW_TAPS)
    return np.asarray(np.sum(weights**2, axis=-1), dtype=np.float64)


def column_noise_factor(fraction: FloatArray) -> Float64Array:
    r"""Variance that white noise leaves in a filtered back-projection after interpolation along columns.

    Relative to no interpolation, at a fraction of a pixel: 1 on a sample, 0.86 half-way. With weights h and the
    autocorrelation of the band-limited ramp, :math:`12 \sum_{kl} h_k h_l r_{k-l}`, :math:`r_0 = 1/12` and
    :math:`r_m = (-1)^m / (2 \pi^2 m^2)`, the transform of the squared frequency.
    """
    weights = _kernel(np.mod(np.asarray(fraction, dtype=np.float64), 1.0), _COLUMN_TAPS)
    lag = np.subtract.outer(np.arange(_COLUMN_TAPS), np.arange(_COLUMN_TAPS))
    sign = np.where(lag % 2 == 0, 1.0, -1.0)
    correlation = np.where(lag == 0, 1.0 / 12.0, sign / (2.0 * np.pi**2 * np.maximum(lag**2, 1)))
    return np.asarray(12.0 * np.einsum("...k,kl,...l->...", weights, correlation, weights), dtype=np.float64)


def _check_angles(motion: ScanMotion, angle_deg: FloatArray) -> None:
    if np.shape(angle_deg) != np.shape(motion.projection_shift) or not np.isfinite(angle_deg).all():
        raise MeasurementError(
            "the angles do not fit the motion of the scan",
            expected=f"{np.size(motion.projection_shift)} finite angles in deg",
            found=f"shape {np.shape(angle_deg)}",
        )


def _kernel(fraction: Float64Array, taps: int) -> Float64Array:
    r"""Weights of the samples from ``1 - taps / 2`` on for a place t, ``[..., tap]``.

    They minimise :math:`\int S(f)\,|\sum_k h_k e^{2 \pi i f (k - t)} - 1|^2 df` over frequencies up to 1/2 while they
    sum to one: a linear system of the autocorrelations of S, with a multiplier for the sum.
    """
    frequency = (np.arange(512) + 0.5) / 1024
    power = 1.0 / (1.0 + (frequency / _CORNER) ** _FALL)
    sample = np.arange(1 - taps // 2, taps // 2 + 1)
    system = np.ones((taps + 1, taps + 1))
    lag = sample[:, None] - sample
    system[:taps, :taps] = np.cos(2 * np.pi * lag[:, :, None] * frequency) @ power
    system[taps, taps] = 0.0
    inverse = np.linalg.inv(system)
    turn, place = 2 * np.pi * frequency, np.asarray(fraction)[..., None]
    # cos(turn (sample - place)) as a product of matrices
    right = np.cos(turn * place) @ (power[:, None] * np.cos(turn[:, None] * sample))
    right += np.sin(turn * place) @ (power[:, None] * np.sin(turn[:, None] * sample))
    weights = right @ inverse[:taps, :taps] + inverse[taps, :taps]
    # to ten digits, so that a place on a sample is exactly that sample
    return np.asarray(np.round(weights, 10), dtype=np.float64)


@cache
def _table(taps: int) -> Float32Array:
    """Weights at all fractions, ``[fraction, tap]``; shared by all threads, so never written to."""
    table = _kernel(np.arange(_FRACTIONS + 1) / _FRACTIONS, taps).astype(np.float32)
    table.flags.writeable = False
    return table


@njit(cache=True, nogil=True)
def _place(origin, step, size, table, base, weights):  # type: ignore[no-untyped-def]
    """First sample and weights ``[tap, place]`` for the places ``origin + i step`` on a line of ``size`` samples.

    Places so far out that they see the rim only are drawn nearer, where they still see the rim only.
    """
    taps = table.shape[1]
    for i in range(base.size):
        place = min(max(origin + i * step, -1.0 - taps // 2), size - 1.0 + taps // 2)
        sample = int(np.floor(place))
        entry = int((place - sample) * (table.shape[0] - 1) + 0.5)
        base[i] = sample + 1 - taps // 2
        for tap in range(taps):
            weights[tap, i] = table[entry, tap]


@njit(cache=True, nogil=True)
def _runs(base, end):  # type: ignore[no-untyped-def]
    """Ends of the runs of places over which neighbours are read from neighbours, and their number."""
    count = 0
    for i in range(1, base.size):
        if base[i] - base[i - 1] != 1:
            end[count] = i
            count += 1
    end[count] = base.size
    return count + 1


# Contraction to fused multiply-add is allowed: what is fused depends on the column only.
@njit(cache=True, nogil=True, fastmath={"contract"})
def _read_rows(projection, base, weights, first_row, n_rows, line):  # type: ignore[no-untyped-def]
    """Weighted sum of rows of a projection, the rim standing for what is beyond the detector."""
    line[:] = np.float32(0.0)
    for tap in range(0, weights.size, 4):
        row = base + tap - first_row
        last = n_rows - 1 - first_row
        a = projection[min(max(row, -first_row), last)]
        b = projection[min(max(row + 1, -first_row), last)]
        c = projection[min(max(row + 2, -first_row), last)]
        d = projection[min(max(row + 3, -first_row), last)]
        wa, wb, wc, wd = weights[tap], weights[tap + 1], weights[tap + 2], weights[tap + 3]
        for column in range(line.size):
            line[column] += (wa * a[column] + wb * b[column]) + (wc * c[column] + wd * d[column])


@njit(cache=True, nogil=True, fastmath={"contract"})
def _read_columns(line, base, ends, weights, result):  # type: ignore[no-untyped-def]
    """Weighted sums along a line, run by run."""
    start = 0
    for stop in ends:
        target = result[start:stop]
        target[:] = np.float32(0.0)
        for tap in range(0, weights.shape[0], 4):
            source = line[base[start] + tap :]
            a, b, c, d = weights[tap], weights[tap + 1], weights[tap + 2], weights[tap + 3]
            a, b, c, d = a[start:stop], b[start:stop], c[start:stop], d[start:stop]
            for i in range(target.size):
                target[i] += (a[i] * source[i] + b[i] * source[i + 1]) + (c[i] * source[i + 2] + d[i] * source[i + 3])
        start = stop


@njit(cache=True, nogil=True)
def _resample(depth, places, tables, first_row, n_rows, result):  # type: ignore[no-untyped-def]
    row_position, column_origin, magnification = places
    row_table, column_table = tables
    n_columns, margin = depth.shape[2], column_table.shape[1]
    line = np.empty(n_columns + 2 * margin, dtype=np.float32)
    middle = line[margin : margin + n_columns]
    base, weights = np.empty(n_columns, dtype=np.int64), np.empty((margin, n_columns), dtype=np.float32)
    end = np.empty(n_columns, dtype=np.int64)
    row_base, row_weights = np.empty(1, dtype=np.int64), np.empty((row_table.shape[1], 1), dtype=np.float32)
    for p in range(depth.shape[0]):
        origin = column_origin[p] - 0.5 * magnification * (n_columns - 1)
        _place(origin, magnification, n_columns, column_table, base, weights)
        base += margin
        ends = end[: _runs(base, end)]
        for v in range(result.shape[0]):
            _place(row_position[p, v], 0.0, n_rows, row_table, row_base, row_weights)
            _read_rows(depth[p], row_base[0], row_weights[:, 0], first_row, n_rows, middle)
            line[:margin] = middle[0]
            line[margin + n_columns :] = middle[n_columns - 1]
            _read_columns(line, base, ends, weights, result[v, p])
