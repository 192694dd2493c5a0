"""Dark sheets in a grey volume: how sheet-like every voxel is, and the medial sheets of cracks with their area.

The volume is smoothed by a Gaussian of standard deviation sigma (one or several scales) and its Hessian H taken, in
physical lengths, so that voxels need not be cubes. A dark sheet has one large positive eigenvalue of sigma^2 H, across
the sheet. Eigenvalues are in closed form, plane after plane: memory is a few planes, whatever the size of the volume.

A sheet of width w, well below the smoothing s = sqrt(sigma^2 + blur^2), raises the eigenvalue to
sigma^2 contrast w / (sqrt(2 pi) s^3); noise of standard deviation n scatters it by about n sigma^2 times the norm of
the filter. The detection limit is stated in multiples of that scatter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.volume import sheetness_kernels as kernels
from cathoscope.volume.checks import checked_voxel
from cathoscope.volume.reach import beyond_reach

Float32Array = NDArray[np.float32]
FloatArray = NDArray[np.float64]
VoxelSize = tuple[float, float, float]

SCALES = (1.5, 3.0)
"""Standard deviations of the smoothing, in voxels (cube root of the voxel's volume): widths up to six voxels."""

_TRUNCATE = 3.5  # standard deviations at which the smoothing ends
_ALPHA = 0.5  # of the sheet measure: how unequal the two greatest eigenvalues must be
_BLOB = 0.5  # least over greatest eigenvalue from which on a dark spot is no sheet
_QUARTILE = 0.31864  # of |x|, x standard normal: a quarter of the voxels are closer to zero
_NOISE_PLANES, _NOISE_STEP = 24, 2  # planes, and steps along their edges, from which the noise is told
_SMALLEST_EDGE = 4
_FACE = 3  # voxels from a face of the grid
_NOISE_ROUNDS = 2
_SPARE = 0.75  # of the first noise: candidates are kept for a noise as low
_CLEAR = 4.0  # voxels from sheets where noise is told again
_LEAST_CLEAR = 0.002  # of the volume


class Detection(NamedTuple):
    """When a dark ridge is a crack.

    ``low`` and ``high`` are strengths in standard deviations of the noise of the filter: a sheet is made of all voxels
    above ``low`` that are connected to one above ``high``. ``smallest`` is the least number of points of a sheet.
    """

    low: float = 4.0
    high: float = 7.0
    smallest: int = 12


DETECTION = Detection()


@dataclass(frozen=True)
class Sheets:
    """Points on the medial sheets of cracks, each with the piece of sheet it stands for.

    Attributes
    ----------
    points
        (n, 3), um: z, y, x from the centre of the first voxel.
    normals
        (n, 3), unit vectors across the sheet, of either sign.
    areas
        (n,), um²: area of one side of the sheet that the point stands for.
    strength
        (n,), strength of the ridge in standard deviations of the noise of the filter.
    junction
        (n,), bool: the second eigenvalue is over half the first: several sheets meet, or the pore is a tube.
    label
        (n,), number of the connected sheet, from 0 on without gaps.
    shape, voxel_size
        Of the volume.
    noise
        Standard deviation of the grey values that was assumed or found.
    """

    points: FloatArray
    normals: FloatArray
    areas: FloatArray
    strength: FloatArray
    junction: NDArray[np.bool_]
    label: NDArray[np.int64]
    shape: tuple[int, int, int]
    voxel_size: VoxelSize
    noise: float

    @cached_property
    def voxels(self) -> NDArray[np.int64]:
        """Voxel (n, 3) that holds each point."""
        places = np.rint(self.points / np.asarray(self.voxel_size)).astype(np.int64)
        return np.asarray(np.clip(places, 0, np.asarray(self.shape) - 1), dtype=np.int64)

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """The volume's voxels that hold a point."""
        found = np.zeros(self.shape, dtype=bool)
        found[tuple(self.voxels.T)] = True
        return found

    def select(self, chosen: NDArray[np.bool_]) -> Sheets:
        """Only the points ``chosen`` (n,); sheets are numbered anew."""
        numbers = np.unique(self.label[chosen], return_inverse=True)[1].astype(np.int64)
        parts = (self.points, self.normals, self.areas, self.strength)
        points, normals, areas, strength = (part[chosen] for part in parts)
        rest = (self.shape, self.voxel_size, self.noise)
        return Sheets(points, normals, areas, strength, self.junction[chosen], numbers, *rest)


class _Scale(NamedTuple):
    """One smoothing: halves of the filters, factors of the differences, and their norms under white noise."""

    halves: tuple[Float32Array, Float32Array, Float32Array]
    law: Float32Array
    norms: FloatArray


def sheetness(
    grey: NDArray[Any],
    *,
    voxel_size: VoxelSize,
    scales: tuple[float, ...] = SCALES,
    contrast: float | None = None,
) -> Float32Array:
    """How much each voxel looks like the middle of a dark sheet, 0 to 1.

    S = exp(-(l2/l3)^2 / 2 a^2) (1 - exp(-|l|^2 / 2 c^2)) with the eigenvalues |l1| <= |l2| <= l3 of sigma^2 H, a = 1/2
    and c = ``contrast``; 0 where the greatest is not positive or l3 < c/4; the largest value of all scales. (Frangi et
    al., MICCAI 1998; Descoteaux et al., Med. Image Anal. 2008.)

    Parameters
    ----------
    grey
        [z, y, x], brighter is solid.
    voxel_size
        um, along z, y and x.
    scales
        Standard deviations of the smoothing, in voxels (cube root of the voxel's volume).
    contrast
        Strength at which a ridge counts as one, in grey values; five standard deviations of the filter's noise if not
        given.

    Raises
    ------
    MeasurementError
        If the volume has not three axes of at least 4 voxels, or holds values that are not finite; if voxel size or
        scales are impossible; if the contrast is neither given nor to be told because the volume has no noise.
    """
    volume = _require_volume(grey, voxel_size, scales)
    filters = [_scale(scale, voxel_size) for scale in scales]
    if contrast is None:
        noise = noise_of(volume, voxel_size=voxel_size, scale=scales[0])
        levels = [5 * noise * _scatter(one) for one in filters]
    else:
        levels = [contrast] * len(filters)
    result = np.zeros(volume.shape, dtype=np.float32)
    values = np.empty((3, *volume.shape[1:]), dtype=np.float32)
    for z, stacks in _stacks(volume, filters):
        for one, planes, level in zip(filters, stacks, levels, strict=True):
            kernels.eigen_plane(planes, one.law, values)
            kernels.sheetness_plane(values, np.float32(_ALPHA), np.float32(level), result[z])
    return result


def noise_of(
    grey: NDArray[Any],
    *,
    voxel_size: VoxelSize,
    scale: float = SCALES[0],
    within: NDArray[np.bool_] | None = None,
) -> float:
    """Standard deviation of white noise that scatters the second derivatives at ``scale`` as much as they do scatter.

    From the lower quartile of the mixed derivatives, which structures in less than half of the volume hardly move.
    ``within`` is where to look (bool), everywhere if not given.

    Raises
    ------
    MeasurementError
        As `sheetness`, or if there is no scatter or nowhere to look.
    """
    volume = _require_volume(grey, voxel_size, (scale,))
    one = _scale(scale, voxel_size)
    # at the faces of the grid the smoothed volume is its own mirror image, and derivatives across them are small
    margins = [min(one.halves[axis].size // 2, size // 4) for axis, size in enumerate(volume.shape)]
    levels, rows, columns = (np.arange(at, size - at) for at, size in zip(margins, volume.shape, strict=True))
    rows, columns = rows[::_NOISE_STEP], columns[::_NOISE_STEP]
    looked = np.ones(levels.size) if within is None else within[levels].sum(axis=(1, 2), dtype=np.float64)
    useful = levels[looked > 0.25 * looked.max()]
    ratios = [np.empty((3, 0), dtype=np.float32)]
    for z in useful[:: max(useful.size // _NOISE_PLANES, 1)]:
        values = np.empty((3, rows.size * columns.size), dtype=np.float32)
        kernels.mixed_differences(_three_planes(volume, one, int(z)), one.law, rows, columns, values)
        values = (np.abs(values) / one.norms[3:, None]).astype(np.float32)
        ratios.append(values if within is None else values[:, within[z][np.ix_(rows, columns)].ravel()])
    found = np.concatenate(ratios, axis=1)
    noise = float(np.quantile(found, 0.25)) / _QUARTILE if found.size else 0.0
    if not noise > 0:
        raise MeasurementError(
            "the noise of the volume cannot be told",
            expected="grey values that scatter, where to look",
            found="no voxel to look at" if not found.size else "a quarter or more of equal grey values",
            cure="state noise= (or contrast=), or pass within= the particle",
        )
    return noise


def find_sheets(
    grey: NDArray[Any],
    *,
    voxel_size: VoxelSize,
    within: NDArray[np.bool_] | None = None,
    scales: tuple[float, ...] = SCALES,
    noise: float | None = None,
    detection: Detection = DETECTION,
) -> Sheets:
    """Find the medial sheets of all cracks.

    The middle of a crack is where the derivative across it changes sign. It is sought between neighbours along the
    axis that is closest to the normal n; a sheet is met there once per line of the grid, so each crossing of axis i
    stands for the area h_j h_k / |n_i|, whatever the direction of the sheet and its place between the voxels. Where
    sheets meet, both greatest eigenvalues are large; such voxels are kept, so that sheets stay connected, and marked.

    Parameters
    ----------
    grey, voxel_size, scales
        As for `sheetness`.
    within
        Where cracks are sought (bool): the particle without its larger pores; everywhere if not given.
    noise
        Standard deviation of the grey values; if not given `noise_of`, told again twice away from the sheets found.
    detection
        Limits.

    Raises
    ------
    MeasurementError
        As `sheetness` and `noise_of`; if ``within`` has another shape; if limits are not 0 < low <= high.
    """
    volume = _require_volume(grey, voxel_size, scales)
    inside = _require_within(within, volume.shape)
    if not 0 < detection.low <= detection.high < np.inf:
        raise MeasurementError(
            "the detection limits contradict each other",
            expected="0 < low <= high",
            found=f"low {detection.low:g}, high {detection.high:g}",
            cure="Detection()",
        )
    if noise is not None and not 0 < noise < np.inf:
        raise MeasurementError("the noise must be positive", found=f"{noise:g}", cure="leave noise= out")
    filters = [_scale(scale, voxel_size) for scale in scales]
    if noise is not None:
        return _detected(_candidates(volume, filters, voxel_size, inside, detection.low * noise), noise, detection)
    noise = noise_of(volume, voxel_size=voxel_size, scale=scales[0], within=within)
    found = None
    for number in range(_NOISE_ROUNDS + 1):
        if found is None or detection.low * noise < found.limit:
            # one pass serves for the lower noise that is left away from the sheets
            found = _candidates(volume, filters, voxel_size, inside, _SPARE * detection.low * noise)
        sheets = _detected(found, noise, detection)
        clear = _clear_of(sheets, inside) if number < _NOISE_ROUNDS else np.zeros(0, dtype=bool)
        if np.count_nonzero(clear) < max(_LEAST_CLEAR * clear.size, 500):
            break
        noise = noise_of(volume, voxel_size=voxel_size, scale=scales[0], within=clear)
    return sheets


def _clear_of(sheets: Sheets, inside: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Voxels of the mask, away from its border and from the sheets."""
    free = ~sheets.mask if inside is None else inside & ~sheets.mask
    voxel = float(np.prod(sheets.voxel_size)) ** (1 / 3)
    return beyond_reach(free, _CLEAR * voxel, sheets.voxel_size)


class _Candidates(NamedTuple):
    """Voxels that may be in a sheet, in raster order, and what is known of each (n, 6), see `candidates_plane`.

    Their strength is in units of ``limit``, a grey value.
    """

    place: NDArray[np.int64]
    record: Float32Array
    limit: float
    shape: tuple[int, int, int]
    voxel_size: VoxelSize


def _detected(found: _Candidates, noise: float, detection: Detection) -> Sheets:
    """Sheets for a known noise."""
    limit = detection.low * noise
    able = found.record[:, 4] * found.limit >= limit
    index, record = found.place[able], found.record[able]
    record[:, 4] *= found.limit / limit
    parent = np.empty(index.size, dtype=np.int64)
    kernels.connect(index, found.shape, parent)
    strong = np.zeros(index.size, dtype=bool)
    strong[parent[record[:, 4] * detection.low >= detection.high * _faces(index, found.shape)]] = True
    kept = strong[parent]
    index, record, parent = index[kept], record[kept], parent[kept]
    return _sheets(_points(index, record, found.shape), parent, found, (noise, detection))


def _faces(index: NDArray[np.int64], shape: tuple[int, ...]) -> FloatArray:
    """Factor by which noise is larger at the faces of the grid, where the smoothing meets its own mirror image."""
    near = np.zeros(index.size, dtype=bool)
    for size, step in zip(shape, (shape[1] * shape[2], shape[2], 1), strict=True):
        place = index // step % size
        near |= (place <= _FACE) | (place >= size - 1 - _FACE)
    return np.where(near, np.sqrt(2), 1.0)


def _sheets(
    found: FloatArray, parent: NDArray[np.int64], field: _Candidates, limits: tuple[float, Detection]
) -> Sheets:
    """Points and areas in um, without sheets of too few points."""
    noise, detection = limits
    edges = np.asarray(field.voxel_size)
    numbers, label, counts = np.unique(parent[found[:, 8].astype(np.int64)], return_inverse=True, return_counts=True)
    kept = (counts >= detection.smallest)[label] if numbers.size else np.zeros(0, dtype=bool)
    normals = found[:, 3:6]
    axis = np.argmax(np.abs(normals), axis=1)
    areas = edges.prod() / (edges[axis] * np.abs(normals[np.arange(axis.size), axis]))
    sheets = Sheets(
        found[:, :3] * edges,
        normals.copy(),
        areas,
        found[:, 6] * detection.low,
        found[:, 7] > 0.5,
        label.astype(np.int64),
        field.shape,
        field.voxel_size,
        noise,
    )
    return sheets.select(kept)


def _points(index: NDArray[np.int64], record: Float32Array, shape: tuple[int, ...]) -> FloatArray:
    """Crossings of the medial sheets along all three axes, (n, 9)."""
    found = []
    for axis in range(3):
        buffer = np.empty((index.size, 9))
        found.append(buffer[: kernels.crossings(index, record, shape, axis, buffer)].copy())
    return np.concatenate(found)


def _candidates(
    volume: Float32Array,
    filters: list[_Scale],
    voxel_size: VoxelSize,
    inside: NDArray[np.bool_] | None,
    limit: float,
) -> _Candidates:
    """Voxels whose strength is over ``limit`` (grey value of white noise)."""
    plane = volume.shape[1:]
    everywhere = np.ones(plane, dtype=bool)
    values = np.empty((3, *plane), dtype=np.float32)
    strength, which = np.empty(plane, dtype=np.float32), np.empty(plane, dtype=np.uint8)
    law = np.stack([one.law for one in filters])
    slopes = law[:, :3] * np.asarray(voxel_size) / 2
    least = np.array([limit * _scatter(one) for one in filters])
    index, record = np.empty(volume[0].size, dtype=np.int64), np.empty((volume[0].size, 6), dtype=np.float32)
    indices, records = [], []
    for z, stacks in _stacks(volume, filters):
        for number, one in enumerate(filters):
            kernels.eigen_plane(stacks[number], one.law, values)
            kernels.strongest_plane(values, number, strength, which)
        here = everywhere if inside is None else inside[z]
        n = kernels.candidates_plane(stacks, (law, slopes), (strength, which, here), (least, _BLOB), (index, record))
        indices.append(index[:n] + z * volume[0].size)
        records.append(record[:n].copy())
    shape = volume.shape[0], plane[0], plane[1]
    return _Candidates(np.concatenate(indices), np.concatenate(records), limit, shape, voxel_size)


def _stacks(volume: Float32Array, filters: list[_Scale]) -> Iterator[tuple[int, Float32Array]]:
    """For every plane z the smoothed planes below, at and above it, [scale, 3, y + 2, x + 2]."""
    nz, ny, nx = volume.shape
    stacks = np.empty((len(filters), 3, ny + 2, nx + 2), dtype=np.float32)
    work = np.empty((ny, nx), dtype=np.float32)
    for stack, one in zip(stacks, filters, strict=True):
        kernels.smooth_plane(volume, 0, one.halves, work, stack[1])
        stack[0] = stack[1]
    for z in range(nz):
        for stack, one in zip(stacks, filters, strict=True):
            if z > 0:
                stack[:2] = stack[1:]
            if z + 1 < nz:
                kernels.smooth_plane(volume, z + 1, one.halves, work, stack[2])
        yield z, stacks


def _three_planes(volume: Float32Array, one: _Scale, z: int) -> Float32Array:
    """Smoothed planes below, at and above ``z``."""
    nz, ny, nx = volume.shape
    planes = np.empty((3, ny + 2, nx + 2), dtype=np.float32)
    work = np.empty((ny, nx), dtype=np.float32)
    for plane, at in zip(planes, (max(z - 1, 0), z, min(z + 1, nz - 1)), strict=True):
        kernels.smooth_plane(volume, at, one.halves, work, plane)
    return planes


def _scale(scale: float, voxel_size: VoxelSize) -> _Scale:
    """Filters of one scale (voxels), and their norms."""
    edges = np.asarray(voxel_size, dtype=np.float64)
    sigma = scale * float(edges.prod()) ** (1 / 3)
    halves, lines = [], []
    for edge in edges:
        reach = max(1, int(np.ceil(_TRUNCATE * sigma / edge)))
        half = np.exp(-0.5 * (np.arange(reach + 1) * edge / sigma) ** 2)
        half /= half[0] + 2 * half[1:].sum()
        halves.append(half)
        lines.append(np.concatenate([half[:0:-1], half]))
    squared = [float(np.sum(line**2)) for line in lines]
    once = [float(np.sum(np.convolve(line, [1, 0, -1]) ** 2)) for line in lines]
    twice = [float(np.sum(np.convolve(line, [1, -2, 1]) ** 2)) for line in lines]
    pairs = ((0, 1), (0, 2), (1, 2))
    law = np.array([(sigma / e) ** 2 for e in edges] + [sigma**2 / (4 * edges[i] * edges[j]) for i, j in pairs])
    whole = float(np.prod(squared))
    variances = [twice[i] / squared[i] * whole for i in range(3)]
    variances += [once[i] * once[j] / (squared[i] * squared[j]) * whole for i, j in pairs]
    z, y, x = (half.astype(np.float32) for half in halves)
    return _Scale((z, y, x), law.astype(np.float32), law * np.sqrt(variances))


def _scatter(one: _Scale) -> float:
    """Standard deviation of a second derivative, mean of three directions, under unit white noise."""
    return float(np.sqrt(np.mean(one.norms[:3] ** 2)))


def _require_volume(grey: NDArray[Any], voxel_size: VoxelSize, scales: tuple[float, ...]) -> Float32Array:
    """The volume as float32, if it is one."""
    volume = np.asarray(grey)
    if volume.ndim != 3 or min(volume.shape) < _SMALLEST_EDGE:
        raise MeasurementError(
            "this is not a volume",
            expected=f"three axes (z, y, x) of at least {_SMALLEST_EDGE} voxels",
            found=f"shape {volume.shape}",
            cure="stack the slices: np.stack(slices)",
        )
    checked_voxel(voxel_size)
    if not scales or not all(0.5 <= scale <= 50 for scale in scales):
        raise MeasurementError(
            "the scales of the sheet filter are out of range",
            expected="one or more numbers between 0.5 and 50 voxels",
            found=str(tuple(scales)),
            cure=f"scales={SCALES}",
        )
    volume = np.ascontiguousarray(volume, dtype=np.float32)
    # a sum is finite only if all values are; it needs no second array, as isfinite would
    if not np.isfinite(volume.sum(dtype=np.float64)):
        raise MeasurementError(
            "the volume holds values that are not finite",
            expected="numbers everywhere",
            found=f"{volume.size - int(np.isfinite(volume).sum())} voxels without",
            cure="np.nan_to_num(grey, nan=level of the surroundings)",
        )
    return volume


def _require_within(within: NDArray[np.bool_] | None, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """The mask, if it belongs to the volume and holds something."""
    if within is None:
        return None
    if within.shape != shape or within.dtype != np.bool_ or not within.any():
        raise MeasurementError(
            "the mask does not belong to the volume" if within.shape != shape else "the mask holds nothing",
            expected=f"bool of shape {shape}, true somewhere",
            found=f"{within.dtype} of shape {within.shape}, {int(within.sum())} voxels",
            cure="pass the particle of this volume as within=",
        )
    return within
