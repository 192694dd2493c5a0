"""Thickness of the slices of a stack from how much neighbours differ; missing and repeated slices; an even grid.

Neighbours differ the more the thicker the slice between them: D = <(I_n+1 - I_n)²> grows as t^a, a from D at one and
two slices (2 for blurred edges that hardly move, 1 for sharp ones). The content changes slowly along the stack, so D is
compared with its running median over the neighbours:

    t_n = (D_n / median of D near n)^(1/a)

is the thickness relative to that of its neighbours; what all of them have in common (the nominal thickness) cannot be
seen. D is taken in two interleaved halves of the image: what they share is thickness, what they do not is chance, and
t is drawn towards 1 by the share of chance in its variance. Slow changes of thickness, over more than the window, stay
unseen. Where walls were followed, what they say of the heights of slices (`fibsem_bends`) is known better and is taken
instead.

References
----------
.. [1] J. Sporring et al., in: Quantitative BioImaging (2014), thickness from image statistics. Here the isotropy of
   the structure is not needed, since only relative thickness is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, median_filter

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.spread import robust_std_about_median

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

_SMOOTHING = 1.5  # px
_WINDOW = 15  # pairs of the running median
_BLOCK = 16  # px of the interleaved halves
_FLOOR = 0.02  # of the thickness: no uncertainty is smaller
_REPEATED = 0.2  # of the neighbours' thickness: the same slice twice
_MISSING = 1.65  # times the neighbours' thickness: something was skipped
_CERTAIN, _ALONE = 7.0, 1.35  # standard deviations of the thickness; times both neighbours' thickness
_STEEPEST, _FLATTEST = 2.0, 0.5  # limits of the exponent


@dataclass(frozen=True)
class SliceThickness:
    """Thickness between neighbouring slices, relative to the nominal one.

    Attributes
    ----------
    relative
        Of each pair of neighbours, mean 1 without repeated and missing slices, [pair]; 0 for a repeated slice.
    std
        Standard uncertainty of ``relative``.
    spread
        Standard deviation of the true thickness, chance taken off.
    exponent
        a.
    repeated
        Slices that are a repetition of the one before.
    missing
        After which slice how many are missing.
    """

    relative: Float64Array
    std: float
    spread: float
    exponent: float
    repeated: tuple[int, ...]
    missing: tuple[tuple[int, int], ...]

    @property
    def position(self) -> Float64Array:
        """Place of every slice along the stack, in nominal thicknesses from the first, [slice]."""
        return np.concatenate([[0.0], np.cumsum(self.relative)])


def slice_thickness(
    images: Callable[[int], Float32Array], count: int, *, within: Callable[[int], Float32Array] | None = None
) -> SliceThickness:
    """Thickness of the slices of an aligned stack.

    Parameters
    ----------
    images
        Aligned and flattened slices [row, column] by number; three of them are held at a time.
    count
        Number of slices.
    within
        Weight of the pixels of a slice [row, column]: 1 inside the particle. None: everywhere.

    Raises
    ------
    MeasurementError
        If there are fewer than 8 slices, or they do not differ at all.
    """
    if count < 8:
        raise MeasurementError(
            "too few slices to compare their thickness",
            expected="8 slices or more",
            found=str(count),
            cure="thickness='nominal' takes what the microscope states",
        )
    one, two = _differences(images, count, within)
    total = one.mean(axis=1)
    if not np.any(total > 0):
        raise MeasurementError(
            "all slices are the same image",
            expected="slices that differ",
            found=f"{count} equal slices",
            cure="check the list of files",
        )
    sound = total > 0.02 * np.median(total[total > 0])
    ratio = float(np.median(two.mean(axis=1)[sound[:-1] & sound[1:]])) / float(np.median(total[sound]))
    exponent = float(np.clip(np.log2(max(ratio, 1.01)), _FLATTEST, _STEEPEST))
    halves = np.stack([_relative(one[:, k], exponent) for k in range(2)])
    found = _relative(total, exponent)
    repeated = found < _REPEATED
    missing = _skipped(found, halves)
    return _shrunk(found, halves, repeated, missing, exponent)


def by_walls(found: SliceThickness, thickness: Float64Array, std: Float64Array) -> SliceThickness:
    """The thickness that walls tell [pair], with its uncertainty, in the place of what differences told.

    NaN where they do not tell it: there, and where slices are repeated or missing, what was found stays.
    """
    told = np.isfinite(thickness)
    told[[n - 1 for n in found.repeated]] = False
    told[[n for n, _ in found.missing]] = False
    if not told.any():
        return found
    relative = np.where(told, thickness, found.relative)
    unknown = float(np.sqrt(np.mean(std[told] ** 2)))
    # what is found is drawn to the mean by as much as is not known
    spread = float(np.sqrt(np.var(thickness[told]) + unknown**2))
    return replace(found, relative=relative, std=unknown, spread=spread)


def _skipped(found: Float64Array, halves: Float64Array) -> NDArray[np.bool_]:
    """Pairs between which slices are missing: far apart, in both halves, by more than chance, and alone in it."""
    spread = robust_std_about_median(found)
    beside = np.maximum(np.append(found[1:], 0.0), np.insert(found[:-1], 0, 0.0))
    far = (found > _MISSING) & (halves.min(axis=0) > 0.8 * _MISSING)
    return np.asarray(far & (found > 1 + _CERTAIN * spread) & (found > _ALONE * beside))


def _differences(
    images: Callable[[int], Float32Array], count: int, within: Callable[[int], Float32Array] | None
) -> tuple[Float64Array, Float64Array]:
    """Mean squared difference of slices one and two apart, in two interleaved halves, [pair, 2] each."""
    one, two = np.zeros((count - 1, 2)), np.zeros((count - 2, 2))
    held: list[tuple[Float32Array, Float32Array]] = []
    for n in range(count):
        image = np.asarray(images(n), dtype=np.float32)
        weight = np.ones_like(image) if within is None else np.asarray(within(n), dtype=np.float32)
        held.append((gaussian_filter(image, _SMOOTHING, mode="nearest"), weight))
        for back, result in ((1, one), (2, two)):
            if n >= back:
                result[n - back] = _difference(held[-1 - back], held[-1])
        held = held[-2:]
    return one, two


def _difference(first: tuple[Float32Array, Float32Array], second: tuple[Float32Array, Float32Array]) -> Float64Array:
    """Mean squared difference of two weighted images in two halves of a chequerboard, [2]."""
    weight = first[1] * second[1]
    change = second[0] - first[0]
    total = float(weight.sum())
    if total < 1:
        return np.zeros(2)
    change = change - np.float32((weight * change).sum() / total)
    square = weight * change**2
    rows, columns = (np.arange(n) // _BLOCK for n in change.shape)
    board = (rows[:, None] + columns) % 2 == 0
    # over the mean area: a section that grows differs more because there is more of it
    return np.array([float(square[side].sum()) / max(float(weight[side].sum()), 1.0) for side in (board, ~board)])


def _relative(difference: Float64Array, exponent: float) -> Float64Array:
    """(D / running median)^(1/a), [pair]."""
    usual = median_filter(difference, min(_WINDOW, difference.size), mode="nearest")
    return np.asarray((difference / np.maximum(usual, 1e-12)) ** (1 / exponent))


def _shrunk(
    found: Float64Array,
    halves: Float64Array,
    repeated: NDArray[np.bool_],
    missing: NDArray[np.bool_],
    exponent: float,
) -> SliceThickness:
    """Thickness drawn towards 1 by the share of chance in its variance."""
    plain = ~repeated & ~missing & (found > 0)
    centred = np.clip(halves[:, plain], 0, 2.5)
    centred = centred - centred.mean(axis=1, keepdims=True)
    shared = max(float(np.mean(centred[0] * centred[1])), 0.0)
    values = found[plain] / found[plain].mean()
    total = max(float(np.var(values)), 1e-12)
    # content that both halves share (a wall that ends, an error of the drift) passes for thickness: it is taken to be
    # as much as what they do not share
    hidden = max(total - shared, 0.0)
    true = max(shared - hidden, 0.0)
    kept = true / (true + 2 * hidden + 1e-12)
    relative = np.ones(found.size)
    relative[plain] = 1 + kept * (values - 1)
    relative[repeated] = 0.0
    skipped = np.maximum(np.rint(found / found[plain].mean()), 2)
    relative[missing] = skipped[missing]
    return SliceThickness(
        relative,
        float(np.sqrt(2 * kept * hidden + _FLOOR**2)),
        float(np.sqrt(true)),
        exponent,
        tuple(int(n) + 1 for n in np.flatnonzero(repeated)),
        tuple((int(n), int(skipped[n]) - 1) for n in np.flatnonzero(missing)),
    )


def evened(volume: Float32Array, position: Float64Array) -> Float32Array:
    """A volume [slice, row, column] whose slices lie at ``position`` (nominal thicknesses), on an even grid.

    Linear between neighbours; of slices at one place the first counts. Noise of new slices halfway between old ones
    has half the variance.

    Raises
    ------
    MeasurementError
        If positions and slices are not as many, or positions fall.
    """
    place = np.asarray(position, dtype=np.float64)
    if place.shape != (len(volume),) or np.any(np.diff(place) < 0):
        raise MeasurementError(
            "the positions of the slices cannot be",
            expected=f"{len(volume)} numbers that do not fall",
            found=f"shape {place.shape}, smallest step {np.diff(place).min(initial=0.0):.3g}",
            cure="position = slice_thickness(...).position",
        )
    kept = np.concatenate([[True], np.diff(place) > 1e-9])
    index, place = np.flatnonzero(kept), place[kept]
    grid = np.arange(int(np.floor(place[-1] - place[0] + 1e-6)) + 1) + place[0]
    result = np.empty((grid.size, *volume.shape[1:]), dtype=np.float32)
    for n, z in enumerate(grid):
        upper = int(np.clip(np.searchsorted(place, z), 1, max(place.size - 1, 1))) if place.size > 1 else 0
        if place.size == 1:
            result[n] = volume[index[0]]
            continue
        part = np.float32((z - place[upper - 1]) / (place[upper] - place[upper - 1]))
        result[n] = (1 - part) * volume[index[upper - 1]] + part * volume[index[upper]]
    return result
