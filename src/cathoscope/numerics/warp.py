"""Resampling a volume through any map of points, in one interpolation, a few rows at a time.

Cubic B-splines whose coefficients pass through the voxels (Unser, IEEE Signal Process. Mag. 16(6), 22, 1999). A map
says for points of the fixed volume where the same material lies in the moving one; maps are composed before anything
is interpolated, so that a chain of registrations blurs no more than one.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, spline_filter

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import SLAB_ROWS

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Order = Literal["cubic", "linear", "nearest"]

# A cubic coefficient depends on voxels this far away by less than 1e-7.
SPLINE_REACH = 14
_CHUNK = 1 << 17  # points interpolated at a time
_EDGE = 1e-6  # voxels; points this little outside are put on the rim


class PointMap(Protocol):
    """Where the material of the fixed volume lies in the moving one."""

    def to_moving(self, points: Float64Array) -> Float64Array:
        """Voxel positions (..., 3), (z, y, x), of the moving volume for those of the fixed one."""


class Lazy(Protocol):
    """A volume [z, y, x] that hands out rows: an array, a zarr array, a memory map."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along z, y, x."""

    def __getitem__(self, rows: slice) -> Any:
        """Those rows as something that `numpy.asarray` takes."""


def warp(
    moving: Lazy, through: PointMap, rows: slice, *, shape: tuple[int, int, int] | None = None, order: Order = "cubic"
) -> Float32Array:
    """Rows of the moving volume as they lie in the fixed one, float32 ``[z, y, x]``.

    Only the rows of ``moving`` that are needed are read. The work goes in the same units of ``SLAB_ROWS`` rows however
    the slabs are cut, so that slabs that start at their multiples have the bits of the whole.

    Parameters
    ----------
    moving
        Volume ``[z, y, x]``; NaN marks voxels without a value.
    through
        A `Registration`, a `Deformation` or a `Composed` map.
    rows
        Rows of the fixed volume.
    shape
        Of the fixed volume; that of ``moving`` if None.
    order
        ``cubic`` for values (prefiltered cubic B-spline), ``linear`` for shares and where no overshoot may occur,
        ``nearest`` for labels and masks.

    Returns
    -------
    Values; NaN outside the moving volume and where the nearest voxel of the moving volume is NaN.

    Raises
    ------
    MeasurementError
        If ``moving`` is not a volume, or the rows are not in the fixed volume.
    """
    full = tuple(moving.shape) if shape is None else shape
    if len(moving.shape) != 3 or len(full) != 3:
        raise MeasurementError("only volumes can be resampled", expected="[z, y, x]", found=f"shape {moving.shape}")
    start, stop, step = rows.indices(full[0])
    if step != 1 or (rows.stop is not None and rows.stop > full[0]) or start >= stop:
        raise MeasurementError(
            "these rows are not in the volume", expected=f"some of 0 to {full[0]}", found=f"{rows.start} to {rows.stop}"
        )
    result = np.empty((stop - start, full[1], full[2]), dtype=np.float32)
    first = start
    while first < stop:
        last = min((first // SLAB_ROWS + 1) * SLAB_ROWS, stop)
        result[first - start : last - start] = _unit(moving, through, range(first, last), full, order)
        first = last
    return result


def spline_coefficients(volume: NDArray[np.floating]) -> Float32Array:
    """Cubic B-spline coefficients of a volume without NaN, mirrored at its rim; float32, same shape."""
    return np.asarray(spline_filter(volume, order=3, output=np.float32, mode="mirror"), dtype=np.float32)


def into_coefficients(volume: Float32Array) -> Float32Array:
    """`spline_coefficients` in the place of the volume, which is overwritten and handed back."""
    spline_filter(volume, order=3, output=volume, mode="mirror")
    return volume


def sample(coefficients: Float32Array, points: Float64Array, gradient: Float32Array | None = None) -> Float32Array:
    """Cubic spline at ``points`` (n, 3), (z, y, x) in voxels; NaN outside.

    ``gradient`` (n, 3) receives the derivatives per voxel, if given; zero outside.
    """
    value = np.empty(len(points), dtype=np.float32)
    wanted = np.empty((0, 3), dtype=np.float32) if gradient is None else gradient
    cubic_sample(coefficients, np.ascontiguousarray(points, dtype=np.float64), value, wanted)
    return value


@njit(cache=True, nogil=True)
def cubic_sample(coefficients, points, value, gradient):  # type: ignore[no-untyped-def]
    """Value, and where ``gradient`` is not empty the derivatives, of a cubic B-spline at ``points`` (n, 3)."""
    index = np.empty((3, 4), np.int64)
    weight = np.empty((3, 4))
    slope = np.empty((3, 4))
    with_gradient = gradient.shape[0] > 0
    for n in range(points.shape[0]):
        value[n] = np.nan
        if with_gradient:
            gradient[n] = 0.0
        inside = True
        for axis in range(3):
            size = coefficients.shape[axis]
            p = points[n, axis]
            if not (-_EDGE <= p <= size - 1 + _EDGE):
                inside = False
                break
            base = min(max(int(np.floor(p)), 0), max(size - 2, 0))
            t = min(max(p - base, 0.0), 1.0)
            u = 1.0 - t
            weight[axis, 0] = u * u * u / 6.0
            weight[axis, 1] = 2.0 / 3.0 - t * t * (1.0 - 0.5 * t)
            weight[axis, 2] = 2.0 / 3.0 - u * u * (1.0 - 0.5 * u)
            weight[axis, 3] = t * t * t / 6.0
            slope[axis, 0] = -0.5 * u * u
            slope[axis, 1] = -2.0 * t + 1.5 * t * t
            slope[axis, 2] = 2.0 * u - 1.5 * u * u
            slope[axis, 3] = 0.5 * t * t
            for k in range(4):
                i = abs(base - 1 + k)
                if i >= size:
                    i = 2 * (size - 1) - i
                index[axis, k] = min(max(i, 0), size - 1)
        if not inside:
            continue
        total, along_z, along_y, along_x = 0.0, 0.0, 0.0, 0.0
        x0, x1, x2, x3 = index[2]
        for i in range(4):
            plane = coefficients[index[0, i]]
            value_y, slope_y, slope_x = 0.0, 0.0, 0.0
            for j in range(4):
                line = plane[index[1, j]]
                a, b, c, d = line[x0], line[x1], line[x2], line[x3]
                here = weight[2, 0] * a + weight[2, 1] * b + weight[2, 2] * c + weight[2, 3] * d
                value_y += weight[1, j] * here
                if with_gradient:
                    slope_y += slope[1, j] * here
                    slope_x += weight[1, j] * (slope[2, 0] * a + slope[2, 1] * b + slope[2, 2] * c + slope[2, 3] * d)
            total += weight[0, i] * value_y
            if with_gradient:
                along_z += slope[0, i] * value_y
                along_y += weight[0, i] * slope_y
                along_x += weight[0, i] * slope_x
        value[n] = total
        if with_gradient:
            gradient[n, 0], gradient[n, 1], gradient[n, 2] = along_z, along_y, along_x


@njit(cache=True, nogil=True)
def low_sample(volume, points, nearest, value):  # type: ignore[no-untyped-def]
    """Nearest voxel or linear interpolation at ``points`` (n, 3); NaN outside."""
    for n in range(points.shape[0]):
        value[n] = np.nan
        z, y, x = points[n]
        inside = -_EDGE <= z <= volume.shape[0] - 1 + _EDGE and -_EDGE <= y <= volume.shape[1] - 1 + _EDGE
        if not (inside and -_EDGE <= x <= volume.shape[2] - 1 + _EDGE):
            continue
        if nearest:
            value[n] = volume[int(np.floor(z + 0.5)), int(np.floor(y + 0.5)), int(np.floor(x + 0.5))]
            continue
        i = min(max(int(np.floor(z)), 0), max(volume.shape[0] - 2, 0))
        j = min(max(int(np.floor(y)), 0), max(volume.shape[1] - 2, 0))
        k = min(max(int(np.floor(x)), 0), max(volume.shape[2] - 2, 0))
        total = 0.0
        for di in range(2):
            for dj in range(2):
                for dk in range(2):
                    # a weight of zero must not meet a neighbour beyond the rim
                    w = (1.0 - abs(z - i - di)) * (1.0 - abs(y - j - dj)) * (1.0 - abs(x - k - dk))
                    if w > _EDGE:
                        total += w * volume[i + di, j + dj, k + dk]
        value[n] = total


def voxel_positions(rows: range, shape: tuple[int, ...]) -> Float64Array:
    """Positions (n, 3), (z, y, x), of all voxels of some rows."""
    z, y, x = np.meshgrid(
        np.arange(rows.start, rows.stop), np.arange(shape[1]), np.arange(shape[2]), indexing="ij", sparse=False
    )
    return np.stack([z.ravel(), y.ravel(), x.ravel()], axis=1).astype(np.float64)


def _unit(moving: Lazy, through: PointMap, rows: range, shape: tuple[int, ...], order: Order) -> Float32Array:
    """Rows within one unit of ``SLAB_ROWS``; what is read depends on the unit, not on the rows wanted."""
    first = rows.start // SLAB_ROWS * SLAB_ROWS
    whole = range(first, min(first + SLAB_ROWS, shape[0]))
    points = through.to_moving(voxel_positions(whole, shape))
    low, high = float(np.nanmin(points[:, 0])), float(np.nanmax(points[:, 0]))
    size = moving.shape[0]
    if high < 0 or low > size - 1:
        return np.full((len(rows), shape[1], shape[2]), np.nan, dtype=np.float32)
    reach = SPLINE_REACH if order == "cubic" else 1
    begin = max(int(np.floor(low)) - reach, 0)
    end = min(int(np.ceil(high)) + reach + 1, size)
    block = np.asarray(moving[begin:end])
    wanted = slice((rows.start - first) * shape[1] * shape[2], (rows.stop - first) * shape[1] * shape[2])
    here = points[wanted]
    # the block's own rim is no rim of the volume unless it is one
    here[(here[:, 0] > size - 1 + _EDGE) | (here[:, 0] < -_EDGE), 1] = np.nan
    here[:, 0] -= begin
    return _interpolated(block, here, order).reshape(len(rows), shape[1], shape[2])


def _interpolated(block: NDArray[Any], points: Float64Array, order: Order) -> Float32Array:
    value = np.empty(len(points), dtype=np.float32)
    if order != "cubic":
        low_sample(np.ascontiguousarray(block, dtype=np.float32), points, order == "nearest", value)
        return value
    bad = np.isnan(block)
    coefficients = spline_coefficients(_filled(block, bad) if bad.any() else block)
    for start in range(0, len(points), _CHUNK):
        part = slice(start, start + _CHUNK)
        value[part] = sample(coefficients, points[part])
    if bad.any():
        missing = np.empty(len(points), dtype=np.float32)
        low_sample(bad.astype(np.float32), points, True, missing)
        value[missing > 0] = np.nan
    return value


def _filled(block: NDArray[Any], bad: BoolArray) -> Float32Array:
    """Missing voxels replaced by the mean of the good ones around, so that they do not ring."""
    good = np.where(bad, 0.0, block).astype(np.float32)
    share = gaussian_filter((~bad).astype(np.float32), 2.0, mode="nearest")
    mean = gaussian_filter(good, 2.0, mode="nearest") / np.maximum(share, 1e-6)
    return np.where(bad, mean, good).astype(np.float32)
