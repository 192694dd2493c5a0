"""Phases of an aligned and flattened FIB/SEM stack: oxide, pore, layer, outside; share of oxide in every voxel.

Grey values are 0 outside and 1 in oxide. A voxel that is oxide by the share f has the grey value

    I = f + (1 - f) V

V being that of what else is in it: the outside, a layer of decomposed electrolyte, or a pore through which its back is
seen (shine-through). Electrons look along +z, so the back of a pore is what later slices uncover: from the last slice
to the first, the depth d below every voxel at which oxide begins is known when it is needed, and

    V = pore + shine exp(-d / decay),        f = (I - V) / (1 - V)

is linear in I: noise does not bias it, partial volumes keep their sum. Depths are those of a
voxel's own column. The law is fitted to voxels in the middle of pores. Layers on the outer surface are found from
the mean profile across the outline, two steps blurred alike: outside, layer, oxide. A layer inside, thinner than a
pixel, cannot be told from oxide; it is a systematic error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import edt  # type: ignore[import-not-found, import-untyped, unused-ignore]
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter
from scipy.optimize import least_squares
from scipy.special import ndtr

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.volume.fibsem_outline import Outline

Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Float64Array = NDArray[np.float64]
OUTSIDE, OXIDE, PORE, LAYER = range(4)
"""What a voxel is, by the largest share."""

_SURE = 0.75  # of the contrast: brighter is oxide, whatever lies behind a pore
_MIDDLE = 2.0  # px from anything brighter: the middle of a pore
_DEPTHS = 24  # slices over which the back of pores is looked for
_LEAST = 60  # voxels of a depth
_NEAR, _REACH = 0.85, 2  # smoothed grey value and px: where anything dark is near
_FAR = 99.0  # px: from an outline that is not there
_THINNEST = 1.0  # px of a layer that can be told from blur
_LAW = 0.01  # of the contrast: what the law leaves out
_BRIGHTEST = 0.8  # of what shine-through may add up to
_SPREAD = 1.0  # px over which the middle of a void says what its edges are blurred with
_LITTLE = 0.01  # of a void around: none that could say anything
_WHITEST = 0.8  # of the contrast: a layer brighter than that is oxide at a rough surface


class ShineThrough(NamedTuple):
    """V = pore + shine exp(-d / decay): levels relative to the contrast, ``decay`` in slices; shine 0: none was found.

    ``depth`` [depth] (slices), ``level`` and ``voxels`` [depth] are what the law was fitted to; ``typical`` is
    the standard uncertainty of V in the mean pore.
    """

    pore: Estimate
    shine: Estimate
    decay: Estimate
    depth: Float64Array
    level: Float64Array
    voxels: Float64Array
    typical: float

    def at(self, depth: Float32Array) -> Float32Array:
        """V at depths (slices) of any shape."""
        seen = self.shine.value * np.exp(-depth / self.decay.value)
        return np.asarray(np.minimum(self.pore.value + seen, _BRIGHTEST), dtype=np.float32)


class OuterLayer(NamedTuple):
    """Layer between outline and oxide: grey value relative to the contrast, thickness (px; 0: none), blur (px), and how
    far (px) below the outline the outside ends: the oxide begins at ``place + thickness``.
    """

    level: float
    thickness: float
    blur: float
    place: float


@dataclass(frozen=True)
class Phases:
    """What every voxel is.

    Attributes
    ----------
    solid
        Share of oxide, with noise, so also below 0 and above 1; 0 outside, [z, y, x].
    kind
        `OUTSIDE`, `OXIDE`, `PORE` or `LAYER`, [z, y, x].
    shine, layer
        What was corrected.
    unseen
        Share of pore voxels whose back lies beyond the last slice.
    """

    solid: Float32Array
    kind: NDArray[np.uint8]
    shine: ShineThrough
    layer: OuterLayer
    unseen: float


def shine_through(volume: Float32Array, outlines: Sequence[Outline]) -> ShineThrough:
    """The law of shine-through of a stack [slice, row, column] of outside 0 and oxide 1.

    Parameters
    ----------
    outlines
        Of every slice, in the aligned stack: pores lie within.
    """
    ahead = np.full(volume.shape[1:], np.inf, dtype=np.float32)
    sums, counts, squares = np.zeros(_DEPTHS + 1), np.zeros(_DEPTHS + 1), np.zeros(_DEPTHS + 1)
    for n in range(len(volume) - 1, -1, -1):
        smooth = gaussian_filter(volume[n], 0.8)
        oxide = smooth > _SURE
        if outlines[n].whole and oxide.any():
            depth: Any = edt.edt(~oxide, black_border=False, parallel=1)
            middle = (depth > _MIDDLE) & (outlines[n].depth(*oxide.shape) > 2 * _REACH + 2) & np.isfinite(ahead)
            place = np.minimum(ahead[middle], _DEPTHS).astype(np.int64)
            grey = volume[n][middle].astype(np.float64)
            sums += np.bincount(place, grey, minlength=_DEPTHS + 1)
            squares += np.bincount(place, grey**2, minlength=_DEPTHS + 1)
            counts += np.bincount(place, minlength=_DEPTHS + 1)
        ahead = np.where(oxide, np.float32(1), ahead + np.float32(1)).astype(np.float32)
    return _fitted_law(sums, squares, counts)


def _fitted_law(sums: Float64Array, squares: Float64Array, counts: Float64Array) -> ShineThrough:
    """Three parameters from the mean grey value at every depth; pores of any depth alike if there are too few."""
    used = np.flatnonzero(counts >= _LEAST)
    used = used[(used >= 1) & (used < _DEPTHS)]
    mean = sums / np.maximum(counts, 1)
    if used.size < 4:
        alike = float(sums.sum() / counts.sum()) if counts.sum() >= _LEAST else 0.0
        nothing = np.zeros(0)
        return ShineThrough(Estimate(alike, 0.05), Estimate(0.0), Estimate(1.0), nothing, nothing, nothing, 0.05)
    variance = np.maximum(squares / np.maximum(counts, 1) - mean**2, 1e-6)
    # voxels of one pore are alike: as if each hundred were one
    error = np.sqrt(variance[used] / np.maximum(counts[used] / 100, 1) + _LAW**2)
    depth, level = used - 0.5, mean[used]

    def rest(p: Float64Array) -> Float64Array:
        """Of the fit, over the error."""
        return np.asarray((p[0] + p[1] * np.exp(-depth / p[2]) - level) / error)

    found = least_squares(rest, [max(level.min(), 0.0), 0.3, 6.0], bounds=([-0.1, 0.0, 0.5], [0.6, 0.9, 60.0]))
    covariance = np.linalg.pinv(found.jac.T @ found.jac) * max(1.0, 2 * found.cost / max(used.size - 3, 1))
    std = np.sqrt(np.diag(covariance))
    slope = np.average(found.jac * error[:, None], axis=0, weights=counts[used])
    typical = float(np.hypot(np.sqrt(slope @ covariance @ slope), _LAW))
    parts = [Estimate(float(value), float(s)) for value, s in zip(found.x, std, strict=True)]
    return ShineThrough(parts[0], parts[1], parts[2], np.asarray(depth), level, counts[used], typical)


def outer_layer(volume: Float32Array, outlines: Sequence[Outline], *, level: float) -> OuterLayer:
    """The layer on the outer surface, from the mean profile across the outline at ``level`` of the largest sections."""
    edges = np.arange(-8.0, 20.01, 0.5)
    size = max((float(one.radius.mean()) for one in outlines if one.whole), default=0.0)
    sums, counts, slant = np.zeros(edges.size - 1), np.zeros(edges.size - 1), []
    for image, outline in zip(volume, outlines, strict=True):
        if not outline.whole or outline.radius.mean() < 0.85 * size:
            continue
        slant.append(size / float(outline.radius.mean()))
        depth = outline.depth(*image.shape)
        near = (depth > edges[0]) & (depth < edges[-1])
        sums += np.histogram(depth[near], edges, weights=image[near])[0]
        counts += np.histogram(depth[near], edges)[0]
    if not counts.sum():
        return OuterLayer(0.0, 0.0, 1.0, 0.0)
    middle, profile = (edges[1:] + edges[:-1]) / 2, sums / np.maximum(counts, 1)

    def rest(p: Float64Array) -> Float64Array:
        """Of two steps: layer level, its thickness, blur, place, level of the porous inside and its slope."""
        inside = p[4] - p[0] + p[5] * np.maximum(middle - p[3] - p[1], 0)
        steps = p[0] * ndtr((middle - p[3]) / p[2]) + inside * ndtr((middle - p[3] - p[1]) / p[2])
        return np.asarray(steps - profile)

    one_step = least_squares(
        rest, [0.0, 0.0, 1.5, 0.0, 0.9, 0.0], bounds=([-1e-6, 0, 0.3, -4, 0.3, -0.1], [1e-6, 1e-6, 5, 4, 1.3, 0.1])
    )
    found = least_squares(
        rest, [0.4, 4.0, 1.5, 0.0, 0.9, 0.0], bounds=([0.05, 0.2, 0.3, -6, 0.3, -0.1], [0.85, 15, 5, 4, 1.3, 0.1])
    )
    height, thickness, blur, place = (float(value) for value in found.x[:4])
    clear = found.cost < 0.5 * one_step.cost and thickness > max(_THINNEST, 0.8 * blur)
    if clear and 0.5 * level < height < _WHITEST:
        # the largest sections, too, cut it aslant
        return OuterLayer(height, thickness / float(np.mean(slant)), blur, place)
    return OuterLayer(0.0, 0.0, float(one_step.x[2]), float(one_step.x[3]))


def phases(volume: Float32Array, outlines: Sequence[Outline], *, level: float = 0.25) -> Phases:
    """Phases of an aligned stack [slice, row, column] of outside 0 and oxide 1.

    Parameters
    ----------
    outlines
        Of every slice, at ``level``, in the aligned stack.

    Raises
    ------
    MeasurementError
        If volume and outlines do not belong together.
    """
    if volume.ndim != 3 or len(outlines) != len(volume):
        raise MeasurementError(
            "outlines and slices are not as many",
            expected=f"{len(volume)} outlines",
            found=str(len(outlines)),
            cure="outlines = [find_outline(image, level) for image in volume]",
        )
    law, layer = shine_through(volume, outlines), outer_layer(volume, outlines, level=level)
    solid = np.empty(volume.shape, dtype=np.float32)
    kind = np.empty(volume.shape, dtype=np.uint8)
    ahead = np.full(volume.shape[1:], np.inf, dtype=np.float32)
    largest = max((float(one.radius.mean()) for one in outlines if one.whole), default=0.0)
    unseen = pores = 0
    for n in range(len(volume) - 1, -1, -1):
        solid[n], kind[n] = _slice_phases(volume[n], outlines[n], ahead, (law, layer), largest)
        pore = kind[n] == PORE
        unseen, pores = unseen + int(np.count_nonzero(pore & ~np.isfinite(ahead))), pores + int(pore.sum())
        ahead = np.where(gaussian_filter(solid[n], 0.7) > 0.5, np.float32(1), ahead + np.float32(1))
    return Phases(solid, kind, law, layer, unseen / max(pores, 1))


def _slice_phases(
    image: Float32Array,
    outline: Outline,
    ahead: Float32Array,
    known: tuple[ShineThrough, OuterLayer],
    largest: float,
) -> tuple[Float32Array, NDArray[np.uint8]]:
    """Share of oxide and kind of the pixels of one slice; ``ahead``: slices to the next oxide behind each."""
    law, layer = known
    smooth = gaussian_filter(image, 0.8)
    other = np.full(image.shape, law.pore.value, dtype=np.float32)
    dark = binary_dilation(gaussian_filter(image, 1.0) < _NEAR, iterations=_REACH)
    behind = law.at(ahead - np.float32(0.5))
    other[dark] = _of_middles(image, behind, dark)[dark]
    depth = _depth(outline, image.shape, largest)
    margin = 2 * layer.blur + 1
    # where the body narrows, the layer is cut aslant
    slant = min(3.0, largest / max(float(outline.radius.mean()), 1.0)) if outline.whole else 1.0
    rim = depth < layer.place + layer.thickness * slant + margin
    other[rim] = layer.level if layer.thickness > 0 else 0.0
    solid = (image - other) / (1 - other)
    empty = rim & (smooth < layer.level) if layer.thickness > 0 else np.zeros(image.shape, dtype=bool)
    solid[empty | (depth < layer.place - margin)] = 0.0
    kind = np.full(image.shape, PORE, dtype=np.uint8)
    kind[gaussian_filter(solid, 0.7) > 0.5] = OXIDE
    if layer.thickness > 0:
        kind[rim & (kind == PORE) & (smooth > 0.5 * layer.level) & (depth > layer.place - margin)] = LAYER
    kind[(kind == PORE) & (depth <= 0)] = OUTSIDE
    return solid.astype(np.float32), kind


def _of_middles(image: Float32Array, behind: Float32Array, dark: BoolArray) -> Float32Array:
    """V of the nearest void, where a pixel is partly oxide.

    What is behind such a pixel is not what the blur mixes into it: the oxide itself goes on there. So V is the mean
    around it, weighted by how much more than half void there is, twice since the share of void follows from V.
    """
    other = behind
    for _ in range(2):
        void = np.clip(1 - 2 * gaussian_filter((image - other) / (1 - other), 0.5), 0, 1) * dark
        weight = gaussian_filter(void, _SPREAD)
        mean = gaussian_filter(void * behind, _SPREAD) / np.maximum(weight, _LITTLE)
        other = np.where(weight > _LITTLE, mean, behind)
    return np.asarray(other, dtype=np.float32)


def _depth(outline: Outline, shape: tuple[int, ...], largest: float) -> Float32Array:
    """Depth below the outline; a slice without a body, of a stack that shows outlines elsewhere, is all outside."""
    if outline.whole:
        return outline.depth(shape[0], shape[1])
    empty = largest > 0 and not outline.radius.any()
    return np.full(shape, -_FAR if empty else _FAR, dtype=np.float32)
