"""A mask of touching particles divided where they touch, by necks and by convexity.

The distance from the outline has a peak in every particle, and between two that touch it falls to the half width of
their neck. A rough outline has peaks and necks too; what tells it is the convex hull: two particles side by side fill
less of their common hull than each fills of its own, pieces of one do not. Before that, hollows are filled and gaps
left: from the middle of a hollow it is much the same way to the outside in half of all directions, from a gap between
particles it is short through their contacts and long through their middles.
"""

from __future__ import annotations

from typing import NamedTuple

import cc3d
import edt  # type: ignore[import-not-found]
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from skimage.segmentation import watershed

from cathoscope.volume.section_image import BoolArray, Float32Array, FloatArray, LabelArray

_SAME = 0.9  # neck over the smaller half width, from which there is no neck at all
_NECK = 0.6  # below it only convexity joins
_LOSS = 0.02  # by which a whole may fill less of its hull than its pieces fill of theirs
_GAIN = 0.03  # by which it fills more, to be one in spite of a neck
_RAYS = 64
_UNEVEN = 1.5  # median of the ways to the outside over the tenth of them that are shortest, from which a hole is a gap
_FARTHEST = 1000  # px, of a way to the outside
_OWNER = 0.85  # of a hole's rim that is one part's, from which the hole lies inside it


class _Part(NamedTuple):
    """Area in pixels and corners of the convex hull (row, column)."""

    area: float
    corners: FloatArray

    @property
    def fill(self) -> float:
        """Share of the hull that is the part."""
        return self.area / max(_hull_area(self.corners), 1.0)


def divided(mask: BoolArray) -> LabelArray:
    """Label of the particle at every pixel of a mask, 0 outside; holes that lie inside one particle are filled."""
    whole = _hollows_filled(mask)
    depth = np.asarray(edt.edt(whole, black_border=False), dtype=np.float32)
    found = watershed(-ndimage.gaussian_filter(depth, 1.0), mask=whole)  # type: ignore[no-untyped-call]
    basins = np.asarray(found, dtype=np.int32)
    if not basins.any():
        return basins
    labels = _joined_by_shape(_joined_by_necks(basins, depth), depth)
    return _filled(labels)


def _holes(mask: BoolArray) -> tuple[LabelArray, list[int]]:
    """Labels of what a mask does not hold, and the numbers of those that do not reach the border."""
    holes = np.asarray(cc3d.connected_components(~mask, connectivity=8), dtype=np.int32)
    border = np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]])
    return holes, np.setdiff1d(np.arange(1, int(holes.max()) + 1), border).tolist()


def _hollows_filled(mask: BoolArray) -> BoolArray:
    """The mask with the holes that lie in the middle of something round."""
    holes, inner = _holes(mask)
    boxes = ndimage.find_objects(holes)
    whole = mask.copy()
    for number in inner:
        box = boxes[number - 1]
        mine = holes[box] == number
        deepest = np.unravel_index(np.argmax(edt.edt(np.pad(mine, 1))), tuple(n + 2 for n in mine.shape))
        middle = (int(deepest[0]) - 1 + box[0].start, int(deepest[1]) - 1 + box[1].start)
        ways = _ways_out(holes, middle, number)
        if np.median(ways) < _UNEVEN * np.quantile(ways, 0.1):
            whole[box] |= mine
    return whole


def _ways_out(holes: LabelArray, middle: tuple[int, int], own: int) -> FloatArray:
    """Distances from a place to the next hole but its own, in all directions; the border of the image is one."""
    angle = 2 * np.pi * np.arange(_RAYS) / _RAYS
    longest = min(max(holes.shape), _FARTHEST)
    along = np.arange(longest)
    row, column = (
        np.rint(start + np.outer(part, along)).astype(np.int64)
        for start, part in zip(middle, (np.sin(angle), np.cos(angle)), strict=True)
    )
    there = (row >= 0) & (row < holes.shape[0]) & (column >= 0) & (column < holes.shape[1])
    seen = holes[row.clip(0, holes.shape[0] - 1), column.clip(0, holes.shape[1] - 1)]
    out = ~there | ((seen > 0) & (seen != own))
    return np.asarray(np.where(out.any(axis=1), out.argmax(axis=1), longest), dtype=np.float64)


def _joined_by_necks(basins: LabelArray, depth: Float32Array) -> LabelArray:
    """Basins whose border is as deep as the shallower of them are one; the shallowest are joined first."""
    count = int(basins.max()) + 1
    peak = np.asarray(ndimage.maximum(depth, basins, np.arange(count)), dtype=np.float64)
    around = _necks(basins, depth, count)
    parent = np.arange(count)
    for small in (np.argsort(peak[1:], kind="stable") + 1).tolist():
        if not around[small]:
            continue
        other, neck = max(around[small].items(), key=lambda item: item[1])
        if neck >= _SAME * min(peak[small], peak[other]):
            parent[small], peak[other] = other, max(peak[small], peak[other])
            _hand_over(small, other, around)
    return _renumbered(basins, parent)


def _necks(labels: LabelArray, depth: Float32Array, count: int) -> list[dict[int, float]]:
    """Of every label, its neighbours and the greatest depth on the line between them."""
    keys, widths = [], []
    for one, other in ((np.s_[:-1, :], np.s_[1:, :]), (np.s_[:, :-1], np.s_[:, 1:])):
        a, b = labels[one], labels[other]
        border = (a != b) & (a > 0) & (b > 0)
        keys.append(np.minimum(a, b)[border].astype(np.int64) * count + np.maximum(a, b)[border])
        widths.append(np.minimum(depth[one], depth[other])[border])
    pairs, inverse = np.unique(np.concatenate(keys), return_inverse=True)
    neck = np.zeros(pairs.size)
    np.maximum.at(neck, inverse, np.concatenate(widths))
    around: list[dict[int, float]] = [{} for _ in range(count)]
    for a, b, width in zip((pairs // count).tolist(), (pairs % count).tolist(), neck.tolist(), strict=True):
        around[a][b] = around[b][a] = width
    return around


def _hand_over(gone: int, kept: int, around: list[dict[int, float]]) -> None:
    """Give the neighbours of a part to the one that takes it up."""
    for third, width in around[gone].items():
        del around[third][gone]
        if third != kept:
            around[kept][third] = around[third][kept] = max(width, around[kept].get(third, 0.0))
    around[gone] = {}


def _renumbered(labels: LabelArray, parent: NDArray[np.intp]) -> LabelArray:
    """Labels from 1 after every one has become its parent, and this its own."""
    roots = parent.copy()
    while (roots != parent[roots]).any():
        roots = parent[roots]
    _, numbers = np.unique(roots, return_inverse=True)
    return np.asarray(numbers[labels], dtype=np.int32)


def _filled(labels: LabelArray) -> LabelArray:
    """Holes of which most of the rim is one particle's given to it."""
    holes, inner = _holes(labels > 0)
    rim = np.where(labels > 0, ndimage.grey_dilation(holes, size=3), 0)
    count = int(labels.max()) + 1
    pairs, numbers = np.unique(rim.astype(np.int64) * count + labels, return_counts=True)
    hole, part = pairs // count, pairs % count
    most, total = np.zeros((2, int(holes.max()) + 1), dtype=np.int64)
    np.maximum.at(most, hole, numbers)
    np.add.at(total, hole, numbers)
    given = np.zeros(most.size, dtype=np.int32)
    chosen = (numbers == most[hole]) & (most[hole] >= _OWNER * total[hole]) & np.isin(hole, inner)
    given[hole[chosen]] = part[chosen]
    return np.where(given[holes] > 0, given[holes], labels).astype(np.int32)


def _joined_by_shape(labels: LabelArray, depth: Float32Array) -> LabelArray:
    """Neighbours that are one particle by their common convex hull, the roundest whole first."""
    count = int(labels.max()) + 1
    parts, around = _parts(labels), _necks(labels, depth, count)
    peak = np.asarray(ndimage.maximum(depth, labels, np.arange(count)), dtype=np.float64)
    parent = np.arange(count)
    while True:
        best, chosen = 0.0, (0, 0)
        for a in range(1, count):
            for b, neck in around[a].items():
                whole = _union([parts[a], parts[b]])
                narrow = neck < _NECK * min(peak[a], peak[b])
                if a < b and whole.fill > best and _one(whole, [parts[a], parts[b]], narrow=narrow):
                    best, chosen = whole.fill, (a, b)
        if not best:
            return _renumbered(labels, parent)
        kept, gone = sorted(chosen, key=lambda part: -parts[part].area)
        parts[kept] = _union([parts[kept], parts[gone]])
        parent[gone], peak[kept] = kept, max(peak[kept], peak[gone])
        _hand_over(gone, kept, around)


def _one(whole: _Part, pieces: list[_Part], *, narrow: bool = False) -> bool:
    """Whether pieces are one particle: as convex together as they are apart, or more so if they hang by a neck."""
    apart = float(np.average([piece.fill for piece in pieces], weights=[piece.area for piece in pieces]))
    return whole.fill > apart + (_GAIN if narrow else -_LOSS)


def _parts(labels: LabelArray) -> list[_Part]:
    """Area and hull of every label; the first is that of nothing."""
    found = [_Part(0.0, np.zeros((0, 2)))]
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        mine = np.pad(labels[box] == number, 1)
        outline = mine & ~ndimage.binary_erosion(mine)
        middle = np.argwhere(outline) + np.array([box[0].start - 1, box[1].start - 1])
        # a pixel is a square: its corners belong to the hull
        corners = (middle[:, None] + [[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]]).reshape(-1, 2)
        found.append(_Part(float(mine.sum()), _hull(corners)))
    return found


def _union(parts: list[_Part]) -> _Part:
    return _Part(sum(part.area for part in parts), _hull(np.concatenate([part.corners for part in parts])))


def _hull(points: FloatArray) -> FloatArray:
    """Corners of the convex hull, in order."""
    if len(points) < 3:
        return points
    try:
        return np.asarray(points[ConvexHull(points).vertices], dtype=np.float64)
    except QhullError:
        return points


def _hull_area(corners: FloatArray) -> float:
    """Area of a convex polygon."""
    y, x = corners.T
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) if len(corners) > 2 else 0.0
