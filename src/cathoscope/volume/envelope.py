"""The outer surface of a particle below the size of a voxel, where cracks that reach it do not pull it in.

A particle of 90 voxels across loses 0.6 % of its volume, ten times the error that porosity can bear, if its surface is
0.1 voxel too low. So the mask only starts: the surface is moved along its normals until the grey values outside of it,
its tail, are those of a blurred uniform body. The tail is what a crack inside changes least. Columns along the normal
that hold anything darker than the uniform body are left out, their surface is that of their neighbours: the surface is
smoothed and fitted again several times, which fills the dents that cracks leave. Cracks are looked for in one volume,
the surface's last mean shift is taken in another one, whose noise is independent. What the surface of the neighbours
is wrong by is in proportion to the porosity below the surface; its mean is made good, its scatter is in the systematic
uncertainty.

The surface is smooth over four voxels, so its depth is kept on a grid of half as many points along each axis.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cathoscope.volume import surface_band_kernels as kernels
from cathoscope.volume.envelope_kernels import add_columns, meets, sample_columns, tail_sums
from cathoscope.volume.reach import within_reach
from cathoscope.volume.smoothing import blocks_beside, filters_of, smoothed

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
VoxelSize = tuple[float, float, float]

# Lengths are in voxels: cube roots of the volume of one.
_STEPS = np.arange(-4.0, 0.01, 0.25)  # of the tail, from the surface, positive inward
_BAND = 0.9  # either side of the surface: voxels from which columns start
_FIRST, _BASE = 1.5, 4.0  # smoothing of the surface: of the mask's, and before every later fit
_LOCAL = 2.5  # smoothing of the shifts
_PASSES = 4
_DARK = 3.0  # standard deviations of the smoothed volume below the uniform body: a crack
_SHALLOWEST, _DEEPEST = 0.5, 6.5  # depths at which a column is searched for cracks
_NEAR, _WIDER = 1.0, 2.5  # voxels from anything dark that make a column cracked; the second for the plateau
_LAYER, _LAYERS = 0.5, 8  # layers of depth within which the noise of the residual is one, and how many; the last is all
# Depths from which the first pass, whose surface is still too uncertain, and the later ones look for cracks: nearer to
# the surface a valley that it has not followed is as dark as a crack.
_SEEN, _LATER = 2.5, 1.5
# Voxels below and above the surface up to which blocks are near it: what is dark that deep may yet be near a column,
# and the tail goes that high. Blocks are told with room to spare, so that a surface that moves stays in them.
_BELOW, _ABOVE, _SPARE = 12.0, 6.0, 3.0
_ACROSS = 3.0  # voxels: half of one, and by which the depth changes from a block's outermost points to its faces
_TRUNCATE = 4.0  # standard deviations at which the blur ends
_BLOCK = 8
_ENOUGH = 100_000  # columns from which the blur is told
_RIM = np.arange(3.0, 6.6, 0.5)  # depths at which the porosity of the rim is taken
# How much too low surfaces bridged over cracks lie, in voxels per porosity of the rim, and how uncertain that is:
# cracks too shallow to be told from a dent dim the columns beside them, and the surface between follows these. Over
# virtual particles of 70 voxels (openings of 1.3 voxels, blur 1) 0.44 +- 0.06 in gravel (13, seeds 6000 to 6012;
# scatter 0.24), and next to nothing in rods, whose cracks go on below (10, seeds 7000 to 7009): between the two.
_BRIDGED, _BRIDGED_STD = 0.2, 0.25


class Surface(NamedTuple):
    """A closed surface: maps on the grid of the volume are made when they are asked for.

    Attributes
    ----------
    coarse
        Signed distance from it (voxels), positive inside, at half as many points along each axis; linear between them.
    blur
        Standard deviation of the blur of the volume, voxels.
    edges
        Of a voxel (z, y, x), voxels.
    shape
        Of the volume.
    box
        The part of the volume that maps show; None: all.
    """

    coarse: Float32Array
    blur: float
    edges: Float64Array
    shape: tuple[int, int, int]
    box: tuple[slice, slice, slice] | None = None

    def depth(self) -> Float32Array:
        """Signed distance from the surface, voxels, positive inside, [z, y, x]."""
        depth = np.empty(self.shape, dtype=np.float32)
        kernels.depths(self.coarse, depth)
        return depth if self.box is None else depth[self.box].copy()

    def share(self) -> Float32Array:
        """How much of each voxel, blurred as the volume is, lies within the surface, 0 to 1, [z, y, x]."""
        share = np.empty(self.shape, dtype=np.float32)
        blocks = [-(-n // kernels.BLOCK) for n in self.shape]
        _share(self, share, np.full(blocks, kernels.NEAR, dtype=np.uint8))
        return share if self.box is None else share[self.box].copy()


class Envelope(NamedTuple):
    """The outer surface.

    ``whole`` is the share of it without cracks, ``std`` and ``systematic`` are the uncertainties of the mean depth,
    voxels.
    """

    surface: Surface
    whole: float
    std: float
    systematic: float


class _Columns(NamedTuple):
    """Where columns start (n, 3), their direction in indices per voxel (n, 3), and the depth they start at (n,)."""

    start: Float64Array
    direction: Float64Array
    depth: Float64Array


class _Band(NamedTuple):
    """The blocks of a volume near its surface, and what is kept of them.

    ``kind`` of the blocks; ``smooth``, the smoothed volume there, packed, and ``deep``, number and squares of what is
    brighter than the body in the blocks below; ``share`` of each voxel within the surface, ``filled`` for the kinds of
    blocks that it was last told for, and whether a voxel is ``dark``, [z, y, x].
    """

    kind: NDArray[np.uint8]
    smooth: Float32Array
    deep: Float64Array
    share: Float32Array
    filled: NDArray[np.uint8]
    dark: BoolArray


def halved(field: Float32Array) -> Float32Array:
    """Means of 2 x 2 x 2 points; an odd end repeats its last point."""
    found = np.empty([-(-n // 2) for n in field.shape], dtype=np.float32)
    kernels.halve(field, found)
    return found


def fit_envelope(select: Float32Array, average: Float32Array, start: Float32Array, voxel_size: VoxelSize) -> Envelope:
    """The outer surface that the grey values say.

    Parameters
    ----------
    select, average
        Two volumes of independent noise, see `solid_level.split_grey`, scaled so that void is 0 and solid 1, [z, y, x].
    start
        Signed distance (um) from the surface of the closed mask, positive inside, at half as many points: `halved`.
    """
    unit = float(np.prod(voxel_size)) ** (1 / 3)
    edges = np.asarray(voxel_size) / unit
    shape = select.shape[0], select.shape[1], select.shape[2]
    surface = Surface(start / np.float32(unit), 1.1, edges, shape)
    band = _band(surface, select, None)
    for number in range(_PASSES):
        surface = surface._replace(coarse=_smoothed_depth(surface.coarse, _BASE if number else _FIRST, edges))
        for step in range(3 if number else 2):
            band = _band(surface, select, band)
            _share(surface, band.share, band.filled)
            columns = _columns(surface, band)
            if step < 2:
                _mark_dark(surface, band, first=number == 0)
                near = within_reach(band.dark, _NEAR, tuple(edges))
            whole = _whole(columns, near)
            shift = _fit(select, band.share, columns, whole, surface.blur)[0]
            if step or number == 0:
                # of the volume that nothing was selected in: columns without dark voxels are brighter by their noise
                surface = _widened(surface, average, band.share, columns, whole)
            moved = surface.coarse + _spread_out(shift, whole, columns.start, surface.coarse.shape, edges)
            surface = surface._replace(coarse=moved)
    return _settled(average, select, surface, band)


def _widened(
    surface: Surface, average: Float32Array, share: Float32Array, columns: _Columns, whole: BoolArray
) -> Surface:
    """With the blur that the tails say; of large surfaces some of the columns do."""
    step = max(1, len(whole) // _ENOUGH)
    some = _Columns(*(np.ascontiguousarray(part[::step]) for part in columns))
    return _wider(surface, _fit(average, share, some, whole[::step].copy(), surface.blur)[1])


def _wider(surface: Surface, widening: float) -> Surface:
    """With the blur after a correction, within what can be."""
    return surface._replace(blur=float(np.clip(surface.blur + widening, 0.3, 4.0)))


def _settled(average: Float32Array, select: Float32Array, surface: Surface, band: _Band) -> Envelope:
    """The last mean shift, from the volume that nothing was selected in, and its uncertainties."""
    band = _band(surface, select, band)
    _share(surface, band.share, band.filled)
    columns = _columns(surface, band)
    whole, wider = (_whole(columns, within_reach(band.dark, far, tuple(surface.edges))) for far in (_NEAR, _WIDER))
    surface = _widened(surface, average, band.share, columns, whole)
    _share(surface, band.share, band.filled)
    shift, widening = _fit(average, band.share, columns, whole, surface.blur)
    mean, std = _mean_of_blocks(shift, whole, columns.start)
    other, other_std = _mean_of_blocks(shift, wider, columns.start)
    plateau = max((other - mean) ** 2 - std**2 - other_std**2, 0.0)
    rim = sample_columns(average, columns.start, columns.direction, _RIM - columns.depth[:, None])
    porosity = max(1 - float(rim.mean(dtype=np.float64)), 0.0)
    systematic = float(np.hypot(np.sqrt(plateau), _BRIDGED_STD * porosity))
    moved = surface.coarse + np.float32(mean + _BRIDGED * porosity)
    return Envelope(_wider(surface, widening)._replace(coarse=moved), float(whole.mean()), std, systematic)


def _kinds(surface: Surface, below: float, above: float) -> NDArray[np.uint8]:
    """Kinds of blocks: near the surface are those as deep, or as high, and all to which its blur spreads."""
    blurred = float(np.max(_TRUNCATE * surface.blur / surface.edges)) + _ACROSS
    kind = np.empty([-(-n // kernels.BLOCK) for n in surface.shape], dtype=np.uint8)
    kernels.kinds_of_blocks(surface.coarse, max(below, blurred), max(above, blurred), kind)
    return kind


def _band(surface: Surface, select: Float32Array, band: _Band | None) -> _Band:
    """The blocks near a surface; those known as long as they hold all that is asked for."""
    now = _kinds(surface, _BELOW, _ABOVE)
    if band is not None and bool(np.all((now == band.kind) | (band.kind == kernels.NEAR))):
        return band
    kind = _kinds(surface, _BELOW + _SPARE, _ABOVE + _SPARE)
    filters, used = filters_of(1.0, surface.edges, 3.0), (kind != kernels.OUTSIDE).astype(np.uint8)
    smooth = np.empty(kernels.BLOCK**3 * int(np.count_nonzero(kind == kernels.NEAR)), dtype=np.float32)
    deep = np.empty(2)
    blocks = used, blocks_beside(used, filters, plane=True)
    count = kernels.smooth_and_pack(select, kind, blocks, filters, smooth, deep)
    share = np.empty(surface.shape, dtype=np.float32) if band is None else band.share
    filled = np.full_like(kind, kernels.NEAR) if band is None else band.filled
    return _Band(kind, smooth[:count], deep, share, filled, np.zeros(surface.shape, dtype=bool))


def _share(surface: Surface, share: Float32Array, filled: NDArray[np.uint8]) -> None:
    """The blurred share of each voxel within the surface, to ``share``.

    ``filled`` are the kinds of blocks for which it was done before; those OUTSIDE or INSIDE that still are, are left.
    """
    kind = _kinds(surface, 0.0, 0.0)
    filters = filters_of(surface.blur, surface.edges, _TRUNCATE)
    blocks = kind, blocks_beside(kind, filters, plane=True), blocks_beside(kind, filters, plane=False), filled
    room = np.empty((kernels.SLAB + 2 * filters[0].size, *surface.shape[1:]), dtype=np.float32)
    kernels.shares_within(surface.coarse, blocks, filters, room, share)
    filled[:] = kind


def _smoothed_depth(psi: Float32Array, width: float, edges: Float64Array) -> Float32Array:
    """A signed distance, smoothed over ``width`` voxels; beyond the faces it goes on as it does before them."""
    margin = min(round(1.5 * width) + 1, min(psi.shape) - 1)
    padded = np.pad(psi, margin, mode="reflect", reflect_type="odd")
    inner = tuple(slice(margin, n + margin) for n in psi.shape)
    return np.ascontiguousarray(smoothed(padded, width / (2 * edges), truncate=3)[inner])


def _mark_dark(surface: Surface, band: _Band, *, first: bool) -> None:
    """Mark where the smoothed volume is darker than the uniform body.

    The noise of every layer of depth is that of what is brighter.
    """
    filters, layers = filters_of(1.0, surface.edges, 3.0), (_SEEN if first else _LATER, _LAYER)
    sums = np.zeros((_LAYERS + 1, 2))
    sums[-1] = band.deep
    residual = np.empty_like(band.smooth)
    near = surface.coarse, band.kind, blocks_beside(band.kind, filters, plane=True)
    kernels.residuals(band.smooth, band.share, near, filters, layers, residual, sums)
    limit = _DARK * np.sqrt(sums[:, 1] / np.maximum(sums[:, 0], 1))
    limit[sums[:, 0] < 50] = np.inf
    kernels.mark_dark(residual, near, layers, limit, band.dark)


def _columns(surface: Surface, band: _Band) -> _Columns:
    """Columns along the normals through all voxels near the surface; a face of the field cuts those there."""
    return _Columns(*kernels.surface_columns(surface.coarse, band.kind, surface.shape, _BAND, surface.edges))


def _whole(columns: _Columns, dark: BoolArray) -> BoolArray:
    """Columns (n,) that meet nothing dark."""
    steps = np.arange(_SHALLOWEST, _DEEPEST + 0.1, 1.0) - columns.depth[:, None]
    return ~np.asarray(meets(dark, columns.start, columns.direction, steps), dtype=np.bool_)


def _fit(
    grey: Float32Array, share: Float32Array, columns: _Columns, whole: BoolArray, blur: float
) -> tuple[Float64Array, float]:
    """Outward shift of the surface by every column (voxels), and mean widening of the blur by the ``whole`` ones.

    With the tail Phi(t / b) of a flat wall at depth t, the derivative by the shift is G(t) and by b it is -t G(t) / b,
    G the Gaussian of the blur b.
    """
    gauss = np.exp(-0.5 * (_STEPS / blur) ** 2) / (blur * np.sqrt(2 * np.pi))
    design = np.stack([gauss, -_STEPS / blur * gauss], axis=1)
    used = whole if whole.any() else np.ones_like(whole)
    shift, profile = np.empty(whole.size), np.empty(_STEPS.size)
    tail_sums(grey, share, tuple(columns), (_STEPS, gauss / (gauss @ gauss)), used, shift, profile)
    both = np.linalg.lstsq(design, profile / max(int(used.sum()), 1), rcond=None)[0]
    return shift, float(both[1])


def _spread_out(
    shift: Float64Array, whole: BoolArray, start: Float64Array, shape: tuple[int, ...], edges: Float64Array
) -> Float32Array:
    """Shift on the half grid: means over whole columns, nearer ones more; far from any, over a wider range."""
    sums, counts = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    add_columns(start, shift, whole, sums, counts)
    over, under = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    for field, columns in ((over, sums), (under, counts)):
        for width, weight in ((_LOCAL, 1.0), (2 * _LOCAL, 1e-4)):
            field += np.float32(weight) * smoothed(columns, width / (2 * edges), truncate=3)
    # a column counts in one of eight voxels of a point
    return np.asarray(over / np.maximum(under, 8e-9), dtype=np.float32)


def _mean_of_blocks(values: Float64Array, used: BoolArray, start: Float64Array) -> tuple[float, float]:
    """Mean of the values used, and its standard uncertainty from sums over blocks of 8 x 8 x 8 voxels."""
    if not used.any():
        used = np.ones_like(used)
    index = (start[used] // _BLOCK).astype(np.int64)
    size = index.max(axis=0) + 1
    block = (index[:, 0] * size[1] + index[:, 1]) * size[2] + index[:, 2]
    mean = float(values[used].mean())
    sums = np.bincount(block, values[used] - mean)
    return mean, float(np.sqrt(np.sum(sums**2)) / used.sum())
