"""One image from tiles whose places are known: brightness evened out, overlaps blended.

Where two tiles show one place, their ratio is that of their gains and of the falling off towards the corners, which is
the same in all tiles. A slope that is the same in all tiles cannot be told from gains that rise from tile to tile; it
is taken to be small.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cathoscope.volume.mosaic import Placement, ReadTile, shared_parts
from cathoscope.volume.section_image import Float32Array, FloatArray, checked_image

_BAND = 256  # rows of the mosaic made at a time
# spread of logarithms: of gains, of a slope over a tile (which gains that rise from tile to tile imitate), of a bend
_GAIN_PRIOR, _SLOPE_PRIOR, _BEND_PRIOR = 0.1, 0.01, 0.3
_SAMPLES = 4000  # pixels of an overlap that tell the brightness


@dataclass(frozen=True)
class Shading:
    """Brightness of tiles: gain of each tile, mean 1, and ``bend``, the logarithm's coefficients of r, c, r², c², rc
    with r and c from -1 to 1 across a tile."""

    gain: FloatArray
    bend: FloatArray
    shape: tuple[int, int]

    def field(self) -> Float32Array:
        """Brightness over a tile, 1 on average."""
        r, c = (np.linspace(-1, 1, n) for n in self.shape)
        grid = np.exp(_terms(*np.meshgrid(r, c, indexing="ij")) @ self.bend)
        return np.asarray(grid / grid.mean(), dtype=np.float32)


def shading_of(read: ReadTile, placement: Placement, *, shape: tuple[int, int], seed: int = 0) -> Shading:
    """Gains of tiles and the falling off over a tile, from the ratios in the overlaps."""
    count = len(placement.position)
    rng = np.random.default_rng(seed)
    rows, values, weights = [], [], []
    for link in placement.links:
        shift = np.rint(placement.position[link.second] - placement.position[link.first]).astype(np.int64)
        parts = [ndimage.gaussian_filter(checked_image(read(n)), 2.0) for n in (link.first, link.second)]
        a, b = shared_parts(parts[0], parts[1], shift)
        chosen = rng.choice(a.size, min(a.size, _SAMPLES), replace=False)
        at = np.stack(np.unravel_index(chosen, a.shape), axis=1)
        here, there = at + np.maximum(shift, 0), at + np.maximum(-shift, 0)
        ratio = np.log(np.maximum(a.ravel()[chosen], 1e-6) / np.maximum(b.ravel()[chosen], 1e-6))
        middle = np.median(ratio)
        good = np.abs(ratio - middle) < 0.3
        row = np.zeros((int(good.sum()), count + 5))
        row[:, link.first], row[:, link.second] = 1, -1
        row[:, count:] = _terms(*_unit(here[good], shape)) - _terms(*_unit(there[good], shape))
        rows.append(row)
        values.append(ratio[good])
        weights.append(np.full(len(row), link.weight))
    prior = np.diag([1 / _GAIN_PRIOR**2] * count + [1 / _SLOPE_PRIOR**2] * 2 + [1 / _BEND_PRIOR**2] * 3)
    normal, right = prior, np.zeros(count + 5)
    for row, value, weight in zip(rows, values, weights, strict=True):
        # a pixel's ratio is good to some per cent, and neighbours are alike
        normal = normal + row.T @ (weight[:, None] * row) / (0.1**2 * 12)
        right = right + row.T @ (weight * value) / (0.1**2 * 12)
    solution = np.linalg.solve(normal, right)
    gain = np.exp(solution[:count])
    return Shading(np.asarray(gain / gain.mean()), np.asarray(solution[count:], dtype=np.float64), shape)


def _unit(places: NDArray[np.int64], shape: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """Rows and columns as numbers from -1 to 1."""
    row, column = (2 * places[:, k] / max(shape[k] - 1, 1) - 1 for k in (0, 1))
    return row, column


def _terms(r: FloatArray, c: FloatArray) -> FloatArray:
    return np.stack([r, c, r**2, c**2, r * c], axis=-1)


def mosaic_shape(placement: Placement, shape: tuple[int, int]) -> tuple[tuple[int, int], tuple[float, float]]:
    """Rows and columns of the mosaic, and the place (px) of its first pixel."""
    first = np.floor(placement.position.min(axis=0))
    last = np.ceil(placement.position.max(axis=0)) + np.asarray(shape)
    rows, columns = (last - first).astype(int).tolist()
    return (rows, columns), (float(first[0]), float(first[1]))


def blended(
    read: ReadTile, placement: Placement, shading: Shading, *, shape: tuple[int, int], band: int = _BAND
) -> Iterator[tuple[slice, Float32Array]]:
    """The mosaic in bands of rows, each with the rows it fills; NaN where there is no tile.

    Tiles are moved by fractions of a pixel with a cubic spline; in an overlap each counts by its distance from its own
    border. One band, and one tile at a time, are in memory.
    """
    (rows, columns), first = mosaic_shape(placement, shape)
    flat = shading.field()
    near = [np.minimum(np.arange(n) + 1, n - np.arange(n)) / (n / 2) for n in shape]
    feather = np.minimum.outer(near[0], near[1]).astype(np.float32) ** 2 + 1e-6
    for start in range(0, rows, band):
        stop = min(start + band, rows)
        total, weight = np.zeros((2, stop - start, columns), dtype=np.float32)
        for number, place in enumerate(placement.position - first):
            whole = np.floor(place).astype(np.int64)
            if whole[0] >= stop or whole[0] + shape[0] + 1 <= start:
                continue
            image = checked_image(read(number)) / (flat * np.float32(shading.gain[number]))
            moved = ndimage.shift(image, place - whole, order=3, mode="nearest")
            low, high = max(start, int(whole[0])), min(stop, int(whole[0]) + shape[0])
            left, right = max(0, int(whole[1])), min(columns, int(whole[1]) + shape[1])
            here = (slice(low - start, high - start), slice(left, right))
            there = (slice(low - whole[0], high - whole[0]), slice(left - whole[1], right - whole[1]))
            total[here] += moved[there] * feather[there]
            weight[here] += feather[there]
        with np.errstate(invalid="ignore"):
            yield slice(start, stop), np.where(weight > 0, total / weight, np.nan).astype(np.float32)
