"""Tiles of a field put together: places from their overlaps, brightness evened out, one image without seams.

Every overlap gives the displacement of two tiles by phase correlation, sharpened on the correlation of the pixels
themselves. All displacements and the places that the stage stated are solved together by least squares with weights
that fall for what does not fit (Geman-McClure), so that an overlap without any features does not move a tile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft, ndimage

from cathoscope.core.errors import MeasurementError
from cathoscope.volume.section_image import Float32Array, FloatArray, checked_image, checked_pixel

ReadTile = Callable[[int], NDArray[Any]]

_FEWEST = 12  # px of an overlap along its shorter side
_STAGE = 8.0  # px, standard uncertainty of the stage, unless stated
_REACH = 4.0  # of the stage's uncertainties, that an overlap is searched through
_LEAST_CORRELATION = 0.25
_LIKE = 12.0  # pixels that show about one independent thing
_SURE = 3.0  # standard deviations of the correlation of what is not alike
_PEAKS = 8
_FLOOR = 0.03  # px, error of a displacement at best
_ROUNDS = 12


class Link(NamedTuple):
    """What the overlap of two tiles says: displacement of the second from the first (row, column; px), its standard
    uncertainty, correlation of the two, and the weight that it got among all."""

    first: int
    second: int
    shift: tuple[float, float]
    std: float
    correlation: float
    weight: float = 1.0


@dataclass(frozen=True)
class Placement:
    """Where tiles lie.

    Attributes
    ----------
    position
        Row and column of the first pixel of each tile, px, (tile, 2); their mean is that of the stated places.
    std
        Standard uncertainty along each axis, against the mean of all.
    links
        The overlaps used.
    stage_error
        Root mean square of position less stated place, px.
    """

    position: FloatArray
    std: FloatArray
    links: tuple[Link, ...]
    stage_error: float


def place_tiles(read: ReadTile, stated: ArrayLike, *, shape: tuple[int, int], stage_std: float = _STAGE) -> Placement:
    """Places of tiles from their overlaps.

    Parameters
    ----------
    read
        The image [row, column] of a tile, by its number; two are in memory at a time.
    stated
        Row and column (px) at which the stage was told to be for each tile, (tile, 2).
    shape
        Rows and columns of every tile.
    stage_std
        Standard uncertainty of the stage along each axis, px.

    Raises
    ------
    MeasurementError
        If places are not given for every tile, tiles do not overlap, or no overlap shows the same in both tiles.
    """
    nominal = np.asarray(stated, dtype=np.float64)
    if nominal.ndim != 2 or nominal.shape[1:] != (2,) or not np.isfinite(nominal).all():
        raise MeasurementError(
            "the places of the tiles are not known",
            expected="row and column of every tile",
            found=f"shape {nominal.shape}",
        )
    if len(nominal) == 1:
        return Placement(nominal, np.zeros((1, 2)), (), 0.0)
    pairs = _neighbours(nominal, shape)
    joined = _count_groups(len(nominal), pairs)
    if not pairs or joined > 1:
        raise MeasurementError(
            "the tiles do not overlap",
            expected=f"every tile shares {_FEWEST} pixels or more with a neighbour",
            found=f"{len(nominal)} tiles in {joined} groups apart",
            cure="check the size of the pixels against the places of the stage",
        )
    found = [_linked(read, pair, nominal, shape, stage_std) for pair in pairs]
    links = [link for link in found if link is not None]
    if not links:
        raise MeasurementError(
            "no overlap shows the same in both tiles",
            expected=f"a correlation of {_LEAST_CORRELATION} or more",
            found=f"none of {len(pairs)} overlaps",
            cure="check the places of the stage, their axes and signs, and the size of the pixels",
        )
    return _solved(nominal, links, stage_std)


def _neighbours(nominal: FloatArray, shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Pairs of tiles that overlap enough by their stated places; those that share an edge, not only a corner."""
    apart = np.abs(nominal[:, None] - nominal[None])
    shared = np.asarray(shape) - apart
    enough = (shared.min(axis=2) >= _FEWEST) & (shared.max(axis=2) >= 0.5 * min(shape))
    return [(int(a), int(b)) for a, b in zip(*np.nonzero(np.triu(enough, 1)), strict=True)]


def _count_groups(count: int, pairs: list[tuple[int, int]]) -> int:
    group = list(range(count))
    for a, b in pairs:
        old, new = group[b], group[a]
        group = [new if one == old else one for one in group]
    return len(set(group))


def _linked(
    read: ReadTile, pair: tuple[int, int], nominal: FloatArray, shape: tuple[int, int], stage_std: float
) -> Link | None:
    """Displacement of two tiles, None if their overlap does not tell it."""
    first, second = (checked_image(read(number)) for number in pair)
    offset = nominal[pair[1]] - nominal[pair[0]]
    whole = np.rint(offset).astype(np.int64)
    reach = int(np.ceil(_REACH * sqrt(2) * stage_std)) + 2
    # the overlap with room for the stage's error, so that what has moved out is still in the other one
    windows = [
        tuple(slice(max(0, s - reach), min(n, n + s + reach)) for s, n in zip(shift, shape, strict=True))
        for shift in (whole, -whole)
    ]
    a, b = first[windows[0]], second[windows[1]]
    start = np.array([w.start for w in windows[0]]) - np.array([w.start for w in windows[1]])
    rough = _phase_shift(a, b, (offset - start).astype(np.float64), reach, stage_std)
    fine, correlation, std = _sharpened(a, b, rough)
    alike = shared_parts(a, b, np.rint(fine).astype(np.int64))[0].size / _LIKE
    if correlation < _LEAST_CORRELATION or np.arctanh(min(correlation, 0.999)) * sqrt(max(alike - 3, 0.0)) < _SURE:
        return None
    shift = start + fine
    if np.abs(shift - offset).max() > reach:
        return None
    return Link(pair[0], pair[1], (float(shift[0]), float(shift[1])), std, correlation)


def _phase_shift(
    a: Float32Array, b: Float32Array, expected: FloatArray, reach: int, stage_std: float
) -> NDArray[np.int64]:
    """Whole displacement s with a[r] = b[r - s], near the expected one: of the highest peaks of the phase correlation
    the likeliest, by the correlation of the pixels that overlap, their number, and the stage."""
    size = tuple(fft.next_fast_len(2 * max(m, n), real=True) for m, n in zip(a.shape, b.shape, strict=True))
    spectra = [fft.rfft2(_tapered(part), size) for part in (a, b)]
    cross = spectra[0] * np.conj(spectra[1])
    # whitened, but not what is noise alone
    peak = fft.irfft2(cross / (np.abs(cross) + 0.02 * np.abs(cross).max()), size)
    peak = ndimage.gaussian_filter(peak, 0.7, mode="wrap")
    near = np.zeros(size, dtype=np.bool_)
    rows, columns = (
        np.arange(round(middle) - reach, round(middle) + reach + 1) % n
        for middle, n in zip(expected.tolist(), size, strict=True)
    )
    near[np.ix_(rows, columns)] = True
    best, chosen = -np.inf, np.rint(expected).astype(np.int64)
    for _ in range(_PEAKS):
        at = np.unravel_index(int(np.argmax(np.where(near, peak, -np.inf))), size)
        shift = np.array([k if k < n // 2 else k - n for k, n in zip(at, size, strict=True)], dtype=np.int64)
        parts = shared_parts(a, b, shift)
        correlation = max(_correlation(*parts), 0.0)
        likely = -0.5 * parts[0].size / _LIKE * np.log(1 - min(correlation, 0.999) ** 2)
        likely -= float(((shift - expected) ** 2).sum()) / (4 * stage_std**2)
        if likely > best:
            best, chosen = likely, shift
        near[tuple(np.ix_(*(np.arange(k - 2, k + 3) % n for k, n in zip(at, size, strict=True))))] = False
        if not near.any():
            break
    return chosen


def _tapered(image: Float32Array) -> FloatArray:
    """Without its mean and its borders."""
    window = np.multiply.outer(*(np.hanning(n + 2)[1:-1] for n in image.shape))
    return np.asarray((image - image.mean()) * np.sqrt(window))


def shared_parts(a: Float32Array, b: Float32Array, shift: NDArray[np.int64]) -> tuple[Float32Array, Float32Array]:
    """The parts of two images that lie over each other, where b lies ``shift`` further than a."""
    here = tuple(slice(max(0, s), max(0, min(n, m + s))) for s, n, m in zip(shift, a.shape, b.shape, strict=True))
    there = tuple(slice(max(0, -s), max(0, min(m, n - s))) for s, n, m in zip(shift, a.shape, b.shape, strict=True))
    return a[here], b[there]


def _correlation(a: Float32Array, b: Float32Array) -> float:
    if min(a.shape, default=0) < _FEWEST // 2 or a.std() == 0 or b.std() == 0:
        return -1.0
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def _sharpened(a: Float32Array, b: Float32Array, shift: NDArray[np.int64]) -> tuple[FloatArray, float, float]:
    """Displacement to fractions of a pixel by least squares on slightly smoothed images, gain and offset free; the
    correlation there, and the standard uncertainty along an axis from what is left over."""
    smooth = [np.asarray(ndimage.gaussian_filter(part, 1.0), dtype=np.float64) for part in (a, b)]
    found = shift.astype(np.float64)
    correlation, std = -1.0, np.inf
    for _ in range(6):
        whole = np.rint(found).astype(np.int64)
        one, other = shared_parts(smooth[0], smooth[1], whole)  # type: ignore[arg-type]
        if min(one.shape, default=0) < _FEWEST // 2:
            break
        part = found - whole
        moved = ndimage.shift(other, part, order=3, mode="nearest")[3:-3, 3:-3]
        fixed = one[3:-3, 3:-3]
        gradients = [np.gradient(moved, axis=axis) for axis in (0, 1)]
        design = np.stack([-gradients[0], -gradients[1], moved, np.ones_like(moved)], axis=-1).reshape(-1, 4)
        inverse = np.linalg.pinv(design.T @ design)
        solution = inverse @ (design.T @ fixed.ravel())
        residual = fixed.ravel() - design @ solution
        # smoothing makes neighbours alike: one in 4 pi is independent
        scale = float(residual @ residual) / max(residual.size / (4 * np.pi) - 4, 1.0)
        gain = max(abs(float(solution[2])), 0.1)
        step = solution[:2] / gain
        correlation = _correlation(fixed.astype(np.float32), moved.astype(np.float32))
        std = sqrt(scale * float(inverse[0, 0] + inverse[1, 1]) / 2) / gain / sqrt(4 * np.pi) * 2
        found = found + np.clip(step, -1, 1)
        if np.abs(step).max() < 2e-3:
            break
    return found, correlation, sqrt(std**2 + _FLOOR**2)


def _solved(nominal: FloatArray, links: list[Link], stage_std: float) -> Placement:
    """Places by least squares over links and stated places, weights falling for what does not fit."""
    count = len(nominal)
    design = np.zeros((len(links) + count, count))
    for row, link in enumerate(links):
        design[row, [link.first, link.second]] = -1, 1
    design[len(links) :] = np.eye(count)
    wanted = np.concatenate([np.array([link.shift for link in links]), nominal])
    sigma = np.array([link.std for link in links] + [stage_std] * count)
    weight = np.ones(sigma.size)
    for _ in range(_ROUNDS):
        scaled = design * (np.sqrt(weight) / sigma)[:, None]
        normal = scaled.T @ scaled
        position = np.linalg.solve(normal, scaled.T @ (wanted * (np.sqrt(weight) / sigma)[:, None]))
        residual = np.sqrt(((wanted - design @ position) ** 2).sum(axis=1) / 2) / sigma
        # overlaps that agree within a few uncertainties, or half a pixel, keep their weight
        wide = np.maximum(3.0, 0.5 / sigma)
        weight[: len(links)] = (1 / (1 + (residual[: len(links)] / wide[: len(links)]) ** 2)) ** 2
    position += (nominal - position).mean(axis=0)
    centring = np.eye(count) - 1 / count
    covariance = centring @ np.linalg.inv(normal) @ centring.T
    kept = weight[: len(links)]
    freedom = max(float(kept.sum()) - (count - 1), 1.0)
    misfit = sqrt(max(float((kept * residual[: len(links)] ** 2).sum()) / freedom, 1.0))
    std = np.sqrt(np.diag(covariance)) * misfit
    used = tuple(link._replace(weight=float(one)) for link, one in zip(links, kept, strict=True))
    stage = float(np.sqrt(((position - nominal) ** 2).mean()))
    return Placement(position, np.stack([std, std], axis=1), used, stage)


def stated_in_pixels(stated: ArrayLike, *, pixel: float) -> FloatArray:
    """Stated places (y, x; um) as rows and columns (px), the smallest of each being 0."""
    places = np.asarray(stated, dtype=np.float64) / checked_pixel(pixel)
    return np.asarray(places - places.min(axis=0))
