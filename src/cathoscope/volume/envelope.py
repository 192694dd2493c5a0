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

from cathoscope.volume.envelope_kernels import (
    add_columns,
    layer_noise,
    mark_dark,
    meets,
    refine,
    sample_columns,
    surface_columns,
    tail_sums,
)
from cathoscope.volume.reach import within_reach
from cathoscope.volume.smoothing import smoothed

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
_BLOCK = 8
_ENOUGH = 100_000  # columns from which the blur is told
_RIM = np.arange(3.0, 6.6, 0.5)  # depths at which the porosity of the rim is taken
# How much too low surfaces bridged over cracks lie, in voxels per porosity of the rim, and how uncertain that is:
# cracks too shallow to be told from a dent dim the columns beside them, and the surface between follows these. Over
# virtual particles of 70 voxels (openings of 1.3 voxels, blur 1) 0.44 +- 0.06 in gravel (13, seeds 6000 to 6012;
# scatter 0.24), and next to nothing in rods, whose cracks go on below (10, seeds 7000 to 7009): between the two.
_BRIDGED, _BRIDGED_STD = 0.2, 0.25


class Envelope(NamedTuple):
    """The outer surface.

    ``depth`` is the signed distance from it, in voxels, positive inside, [z, y, x]; ``share`` how much of each voxel,
    blurred as the volume is, lies within it, [z, y, x]; ``blur`` the standard deviation of the blur, voxels; ``whole``
    the share of the surface without cracks; ``std`` and ``systematic`` the uncertainties of the mean depth, voxels.
    """

    depth: Float32Array
    share: Float32Array
    blur: float
    whole: float
    std: float
    systematic: float


class _Columns(NamedTuple):
    """Where columns start (n, 3), their direction in indices per voxel (n, 3), and the depth they start at (n,)."""

    start: Float64Array
    direction: Float64Array
    depth: Float64Array


class _Fine(NamedTuple):
    """The surface on the volume's grid [z, y, x]: its depth, share of each voxel within it, and room to work in."""

    depth: Float32Array
    share: Float32Array
    room: Float32Array


def fit_envelope(select: Float32Array, average: Float32Array, depth: Float32Array, voxel_size: VoxelSize) -> Envelope:
    """The outer surface that the grey values say.

    Parameters
    ----------
    select, average
        Two volumes of independent noise, see `solid_level.split_grey`, scaled so that void is 0 and solid 1, [z, y, x].
    depth
        Signed distance (um) from the surface of the closed mask, positive inside.
    """
    unit = float(np.prod(voxel_size)) ** (1 / 3)
    edges = np.asarray(voxel_size) / unit
    psi, blur = _halved(depth) / np.float32(unit), 1.1
    smooth = smoothed(select, 1 / edges, truncate=3)
    fine = _Fine(*(np.empty(select.shape, dtype=np.float32) for _ in range(3)))
    dark = np.empty(select.shape, dtype=bool)
    for number in range(_PASSES):
        psi = _smoothed_depth(psi, _BASE if number else _FIRST, edges)
        for step in range(3 if number else 2):
            _refined(psi, blur, edges, fine)
            columns = _columns(fine.depth, edges)
            if step < 2:
                _mark_dark(smooth, fine, edges, dark, first=number == 0)
                near = within_reach(dark, _NEAR, tuple(edges))
            whole = _whole(columns, near)
            shift = _fit(select, fine.share, columns, whole, blur)[0]
            if step or number == 0:
                # of the volume that nothing was selected in: columns without dark voxels are brighter by their noise
                blur = _widened(blur, average, fine.share, columns, whole)
            psi += _spread_out(shift, whole, columns.start, psi.shape, edges)
    return _settled(average, (psi, blur), fine, dark, edges)


def _widened(blur: float, average: Float32Array, share: Float32Array, columns: _Columns, whole: BoolArray) -> float:
    """The blur that the tails say; of large surfaces some of the columns do."""
    step = max(1, len(whole) // _ENOUGH)
    some = _Columns(*(np.ascontiguousarray(part[::step]) for part in columns))
    return _wider(blur, _fit(average, share, some, whole[::step].copy(), blur)[1])


def _wider(blur: float, widening: float) -> float:
    """The blur after a correction, within what can be."""
    return float(np.clip(blur + widening, 0.3, 4.0))


def _settled(
    average: Float32Array, fitted: tuple[Float32Array, float], fine: _Fine, dark: BoolArray, edges: Float64Array
) -> Envelope:
    """The last mean shift, from the volume that nothing was selected in, and its uncertainties."""
    psi, blur = fitted
    _refined(psi, blur, edges, fine)
    columns = _columns(fine.depth, edges)
    whole, wider = (_whole(columns, within_reach(dark, reach, tuple(edges))) for reach in (_NEAR, _WIDER))
    blur = _widened(blur, average, fine.share, columns, whole)
    _refined(psi, blur, edges, fine)
    shift, widening = _fit(average, fine.share, columns, whole, blur)
    blur = _wider(blur, widening)
    mean, std = _mean_of_blocks(shift, whole, columns.start)
    other, other_std = _mean_of_blocks(shift, wider, columns.start)
    plateau = max((other - mean) ** 2 - std**2 - other_std**2, 0.0)
    rim = sample_columns(average, columns.start, columns.direction, _RIM - columns.depth[:, None])
    porosity = max(1 - float(rim.mean(dtype=np.float64)), 0.0)
    systematic = float(np.hypot(np.sqrt(plateau), _BRIDGED_STD * porosity))
    _refined(psi + np.float32(mean + _BRIDGED * porosity), blur, edges, fine)
    return Envelope(fine.depth, fine.share, blur, float(whole.mean()), std, systematic)


def _halved(field: Float32Array) -> Float32Array:
    """Means of 2 x 2 x 2 points; an odd end repeats its last point."""
    padded = np.pad(field, [(0, n % 2) for n in field.shape], mode="edge")
    z, y, x = (n // 2 for n in padded.shape)
    halved = np.zeros((z, y, x), dtype=np.float32)
    for corner in np.ndindex(2, 2, 2):
        halved += padded[tuple(slice(at, None, 2) for at in corner)]
    halved /= np.float32(8)
    return halved


def _refined(psi: Float32Array, blur: float, edges: Float64Array, fine: _Fine) -> None:
    """Depth on the volume's grid, linear between the points, and the blurred share of each voxel, to ``fine``."""
    refine(psi, fine.depth, fine.room)
    smoothed(fine.room, blur / edges, target=fine.share)


def _smoothed_depth(psi: Float32Array, width: float, edges: Float64Array) -> Float32Array:
    """A signed distance, smoothed over ``width`` voxels; beyond the faces it goes on as it does before them."""
    margin = min(round(1.5 * width) + 1, min(psi.shape) - 1)
    padded = np.pad(psi, margin, mode="reflect", reflect_type="odd")
    inner = tuple(slice(margin, n + margin) for n in psi.shape)
    return np.ascontiguousarray(smoothed(padded, width / (2 * edges), truncate=3)[inner])


def _mark_dark(smooth: Float32Array, fine: _Fine, edges: Float64Array, dark: BoolArray, *, first: bool) -> None:
    """Mark where the smoothed volume is darker than the uniform body.

    The noise of every layer of depth is that of what is brighter.
    """
    expected, least = smoothed(fine.share, 1 / edges, truncate=3, target=fine.room), _SEEN if first else _LATER
    sums = np.zeros((_LAYERS + 1, 2))
    layer_noise(smooth, expected, fine.depth, (least, _LAYER), sums)
    limit = _DARK * np.sqrt(sums[:, 1] / np.maximum(sums[:, 0], 1))
    limit[sums[:, 0] < 50] = np.inf
    mark_dark((smooth, expected), fine.depth, (least, _LAYER), limit, dark)


def _columns(depth: Float32Array, edges: Float64Array) -> _Columns:
    """Columns along the normals through all voxels near the surface; a face of the field cuts those there."""
    return _Columns(*surface_columns(depth, _BAND, edges))


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
