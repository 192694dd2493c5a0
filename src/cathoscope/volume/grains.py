"""Grains of an etched cross section, from the dark grooves along their boundaries.

The largest eigenvalue of the Hessian of the smoothed image is large in the middle of a dark line. A watershed of it
gives far too many basins; neighbours are merged, those with the faintest line between them first, until the faintest
line left is a stated share of the strong ones. The mean along a whole boundary is what counts: noise that breaks a
groove in places does not join two grains, and single noisy pixels do not divide one.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any, NamedTuple

import cc3d
import edt  # type: ignore[import-not-found]
import fill_voids  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from cathoscope.core.errors import MeasurementError
from cathoscope.volume.section_image import (
    BoolArray,
    Float32Array,
    FloatArray,
    LabelArray,
    checked_image,
    checked_pixel,
    difference_noise,
    grey_levels,
    require_bright,
)

SHARES = (0.32, 0.4, 0.5)
"""Faintest boundary kept, of the strong ones: the middle one is used, the others tell how much that choice matters."""

_STRONG = 97.0  # percentile of the basins' borders that is a groove for certain
_SOLID = 0.4  # of the way from dark to oxide: above cracks, below grooves
_SCALES = (1.0, 1.4, 2.0, 2.8, 4.0)  # px, widths of grooves that are tried
_WIDER = 1.35  # smoothing over width of the grooves
_BRIGHTEST = 97.0  # percentile of the pixels that lie in grooves for certain
_CLOSING = 0.03  # of the root of the oxide's area: wider than cracks, narrower than what is round about the outline
_FEWEST = 64  # pixels of a particle
_NOISE_SIDE = 160  # px of the image of noise alone
_SURE = 99.0  # percentile of lines in noise alone


@dataclass(frozen=True)
class GrainMap:
    """Grains of one section.

    Attributes
    ----------
    labels
        Number of the grain at every pixel from 1, 0 outside, in cracks and in the hollow; [row, column].
    lower, upper
        The same with the first and last of `SHARES`.
    particle
        Inside the outer surface, cracks and hollow included.
    centre
        Its centroid: row, column, px.
    cut
        Whether the border of the image cuts the particle.
    line
        Strength of a dark line at every pixel, grey levels.
    threshold
        Least mean strength of a boundary.
    scale
        Smoothing, px.
    """

    labels: LabelArray
    lower: LabelArray
    upper: LabelArray
    particle: BoolArray
    centre: tuple[float, float]
    cut: bool
    line: Float32Array
    threshold: float
    scale: float


def find_grains(image: NDArray[Any], *, pixel: float, groove_width: float | None = None) -> GrainMap:
    """Grains of the largest particle of an etched section.

    Parameters
    ----------
    image
        Grey, [row, column], oxide bright, grooves and cracks dark, without a caption.
    pixel
        um.
    groove_width
        Standard deviation of a groove across, um; the scale at which lines stand out most, if not given.

    Raises
    ------
    MeasurementError
        If the image is blank, saturated, inverted, or shows no particle or no boundary.
    """
    grey, edge = checked_image(image), checked_pixel(pixel)
    levels = grey_levels(grey, blur=1.0)
    require_bright(grey, levels)
    smooth = ndimage.gaussian_filter(grey, 1.0)
    particle, solid, cut = _largest(smooth > levels.dark + _SOLID * (levels.solid - levels.dark))
    scale = _best_scale(grey, solid)
    if groove_width is not None:
        scale = _WIDER * float(np.clip(groove_width / edge, _SCALES[0], 4 * _SCALES[-1]))
    line = dark_lines(grey, scale)
    basins = _basins(line, solid)
    boundaries = _Boundaries(basins, line)
    strong = boundaries.percentile(_STRONG)
    noise = difference_noise(grey[_box(solid)]) * _lines_in_noise(scale)
    if not strong * SHARES[1] > noise:
        raise MeasurementError(
            "no boundaries of grains are seen",
            expected=f"grooves at least {noise / SHARES[1]:.3g} grey levels strong, to stand out from the noise",
            found=f"{strong:.3g}",
            cure="etch the section, or give the width of the grooves: groove_width",
        )
    maps = [boundaries.merged(share * strong) for share in SHARES]
    rows, columns = np.nonzero(particle)
    centre = (float(rows.mean()), float(columns.mean()))
    return GrainMap(maps[1], maps[0], maps[2], particle, centre, cut, line, SHARES[1] * strong, scale)


def dark_lines(image: Float32Array, scale: float) -> Float32Array:
    """Strength of dark lines: the larger eigenvalue of the Hessian at ``scale`` (px), times its square."""
    down, mixed, across = (ndimage.gaussian_filter(image, scale, order=order) for order in ((2, 0), (1, 1), (0, 2)))
    root = np.sqrt((down - across) ** 2 + 4 * mixed**2)
    return np.asarray(0.5 * (down + across + root) * scale**2, dtype=np.float32)


def _largest(bright: BoolArray) -> tuple[BoolArray, BoolArray, bool]:
    """The largest particle with what it encloses, its oxide, and whether the border cuts it."""
    # cracks may cut a particle into pieces, or reach its surface: closed over what is narrower than they are
    reach = max(2, round(_CLOSING * np.sqrt(bright.sum())))
    near = np.asarray(edt.edt(np.pad(~bright, reach, constant_values=True)) <= reach)
    closed = np.asarray(edt.edt(near) > reach)[reach:-reach, reach:-reach] | bright
    particle = np.asarray(fill_voids.fill(cc3d.largest_k(closed, k=1, connectivity=4) > 0), dtype=np.bool_)
    if (bright & particle).sum() < _FEWEST:
        raise MeasurementError(
            "there is no particle in the image", expected="a bright section", found=f"{int(bright.sum())} bright pixels"
        )
    frame = np.concatenate([particle[0], particle[-1], particle[:, 0], particle[:, -1]])
    return particle, bright & particle, bool(frame.any())


def _box(mask: BoolArray) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _best_scale(image: Float32Array, solid: BoolArray) -> float:
    """The scale at which lines stand out, from that at which they are strongest once noise is taken off.

    A line of Gaussian profile of standard deviation w has its largest eigenvalue times scale^1.5 at scale = w; a
    filter somewhat wider than the line breaks it less often.
    """
    inner = ndimage.binary_erosion(solid, iterations=4)
    if not inner.any():
        return _WIDER * _SCALES[0]
    noise, white = difference_noise(image[_box(solid)]), _white_noise()
    found = []
    for scale in _SCALES:
        seen, alone = (
            float(np.percentile(lines, _BRIGHTEST)) / np.sqrt(scale)
            for lines in (dark_lines(image, scale)[inner], noise * dark_lines(white, scale))
        )
        found.append(seen**2 - alone**2)
    return _WIDER * _SCALES[int(np.argmax(found))]


def _basins(line: Float32Array, mask: BoolArray) -> LabelArray:
    return np.asarray(watershed(line, mask=mask), dtype=np.int32)  # type: ignore[no-untyped-call]


def _white_noise() -> Float32Array:
    return np.random.default_rng(0).standard_normal((_NOISE_SIDE, _NOISE_SIDE)).astype(np.float32)


def _lines_in_noise(scale: float) -> float:
    """Mean strength that borders of basins in white noise of standard deviation 1 hardly exceed."""
    line = dark_lines(_white_noise(), scale)
    return _Boundaries(_basins(line, np.ones(line.shape, dtype=np.bool_)), line).percentile(_SURE)


class _Shared(NamedTuple):
    """Pairs of pixels on both sides of every border: sum and number of their strengths, by pair of basins."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    total: FloatArray
    number: NDArray[np.int64]


def _shared(labels: LabelArray, line: Float32Array) -> _Shared:
    keys, strengths = [], []
    size = int(labels.max()) + 1
    for one, other in ((np.s_[:-1, :], np.s_[1:, :]), (np.s_[:, :-1], np.s_[:, 1:])):
        a, b = labels[one], labels[other]
        border = (a != b) & (a > 0) & (b > 0)
        low, high = np.minimum(a, b)[border].astype(np.int64), np.maximum(a, b)[border]
        keys.append(low * size + high)
        strengths.append(np.maximum(line[one], line[other])[border])
    pairs, inverse = np.unique(np.concatenate(keys), return_inverse=True)
    total = np.bincount(inverse, np.concatenate(strengths), pairs.size).astype(np.float64)
    return _Shared(pairs // size, pairs % size, total, np.bincount(inverse, minlength=pairs.size))


class _Boundaries:
    """Basins and the borders between them; merging goes on from the faintest to the strongest."""

    def __init__(self, basins: LabelArray, line: Float32Array) -> None:
        self.basins = basins
        shared = _shared(basins, line)
        self.means = shared.total / np.maximum(shared.number, 1)
        self.parent = list(range(int(basins.max()) + 1))
        self.around: list[dict[int, list[float]]] = [{} for _ in self.parent]
        for a, b, total, count in zip(*(part.tolist() for part in shared), strict=True):
            self.around[a][b] = self.around[b][a] = [total, count]
        self.queue = list(zip(self.means.tolist(), shared.first.tolist(), shared.second.tolist(), strict=True))
        heapq.heapify(self.queue)

    def percentile(self, share: float) -> float:
        """Of the mean strengths of all borders."""
        return float(np.percentile(self.means, share)) if self.means.size else 0.0

    def merged(self, threshold: float) -> LabelArray:
        """Labels from 1 after joining over every border fainter than ``threshold``, which must not fall."""
        while self.queue and self.queue[0][0] <= threshold:
            mean, a, b = heapq.heappop(self.queue)
            border = self.around[a].get(b)
            if self.parent[a] == a and self.parent[b] == b and border and border[0] / border[1] == mean:
                self._join(*((a, b) if len(self.around[a]) >= len(self.around[b]) else (b, a)))
        roots = np.array([self._root(number) for number in range(len(self.parent))])
        _, numbers = np.unique(roots, return_inverse=True)
        return np.asarray(numbers[self.basins], dtype=np.int32)

    def _root(self, number: int) -> int:
        while self.parent[number] != number:
            self.parent[number] = self.parent[self.parent[number]]
            number = self.parent[number]
        return number

    def _join(self, kept: int, gone: int) -> None:
        """Give the borders of one basin to its neighbour."""
        self.parent[gone] = kept
        del self.around[kept][gone]
        for other, border in self.around[gone].items():
            if other == kept:
                continue
            del self.around[other][gone]
            if other in self.around[kept]:
                mine = self.around[kept][other]
                mine[0], mine[1] = mine[0] + border[0], mine[1] + border[1]
            else:
                self.around[kept][other] = self.around[other][kept] = border
            mine = self.around[kept][other]
            heapq.heappush(self.queue, (mine[0] / mine[1], min(kept, other), max(kept, other)))
        self.around[gone] = {}
