"""Drift of the slices of a FIB/SEM stack, without the random walk and the tilt of chained registration.

A slice differs from the one before by drift and because the cut is deeper: inclined walls and the outline move.
Registration of each slice with the one before takes all of it for drift, and sums it up to a walk and to a tilt of the
whole stack. Two things are known that tell both apart, and are solved together for the positions x(n) of all slices
and for their heights h(n), which are uneven:

- the centre of the outline: where the body is round, it moves by drift only. It wanders with the shape of the body by
  as much as the outline's shape, m = 2 to 6, says (`fibsem_wander`), and may run along a line that is inclined as the
  ellipsoid is;
- walls within the outline: each moves at a speed that it keeps, to all sides alike, and that has no mean
  (`fibsem_walls`). Followed over many slices (`fibsem_tracks`), what bends the paths of all of them is drift, and what
  hastens each by its own speed is the height of the slice (`fibsem_bends`).

    minimise (c - x)ᵀ K⁻¹ (c - x) + (y - (x, h))ᵀ B (y - (x, h)) + (t - T x)ᵀ V⁻¹ (t - T x)
             + |Dx|² / (3 sigma)² + hᵀ P h

c are the centres, K the covariance of their wander, constant and trend; y and B are what the paths of walls say but for
a constant drift, t and V what the speeds of walls say of that (T: the trend of x); D takes differences; |Dx|² / (3
sigma)², much wider than the drift's own steps sigma, keeps slices that show nothing beside their neighbours; P says how
uneven slices may be. Before, and where too few walls can be followed, (u - Dx)ᵀ W (u - Dx) stands for the second and
third term: u and W are speeds of walls from slice to slice. The inverse of the curvature is the covariance of positions
and heights. The trend of x, the tilt, is known worst.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.ndimage import gaussian_filter, shift, spline_filter

from cathoscope.core.errors import MeasurementError
from cathoscope.volume.fibsem_bends import Bends, Settle, bends_of, uneven_steps
from cathoscope.volume.fibsem_outline import CentreMarks, Outline, centre_marks, find_outline
from cathoscope.volume.fibsem_tracks import HALF_WINDOW, wall_tracks
from cathoscope.volume.fibsem_walls import Pairs, Walls, patch_equations, patch_places, walls_information

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Images = Sequence[Float32Array] | Callable[[int], Float32Array]

_SMOOTHING = 1.5  # px, before gradients are taken
_LEAST_PATCH, _PATCHES = 24, 12  # px along the edges of a patch; patches along the field, at most
_MARGIN = 5.0  # px within the outline from which walls count
_PASSES = 2  # times that walls are measured, the second time in slices moved by what the first found
_CENTRE_NOISE = 0.03  # px
_FACES = 3.0  # patches that the same wall runs through
_WIDER = 3.0  # than the steps of the drift is the prior of the steps
_ENOUGH, _FARTHEST = 8, 5.0  # steps known from outlines; standard deviations of those that others may reach
_ANYWHERE = 1e3  # px, of the common position
_TOLD = 0.7  # of the uncertainty without walls: above, a thickness is not told


@dataclass(frozen=True)
class StackDrift:
    """Displacement of the content of every slice; the mean over the stack is 0.

    Attributes
    ----------
    shift
        (row, column), px, [slice, 2]: a feature at x in the aligned stack is at x + shift in the raw slice.
    std
        Standard uncertainty of ``shift``, px, [slice, 2].
    covariance
        Of ``shift``, px², [2, slice, slice], one matrix for rows, one for columns.
    tilt
        Standard uncertainty of the linear trend, px per slice, (row, column).
    marked
        Slices whose outline served as a mark, [slice].
    thickness, thickness_std
        Of the slices between neighbours, relative to their mean over the stack, with its standard uncertainty, [pair];
        NaN where walls do not tell it. Slow changes stay unseen.
    wander
        Of the outline's centre with the shape of the body, px rms; NaN without outlines.
    wall_speed, wall_memory
        s, px per slice, and the number of slices over which walls keep their speed; NaN without walls.
    """

    shift: Float64Array
    std: Float64Array
    covariance: Float64Array
    tilt: tuple[float, float]
    marked: BoolArray
    thickness: Float64Array
    thickness_std: Float64Array
    wander: float
    wall_speed: float
    wall_memory: float


def chained_shifts(images: Images, count: int) -> Float64Array:
    """Displacement (row, column; px) of ``count`` slices by cross-correlation of each with the one before, [slice, 2].

    Good to a few tenths of a pixel per pair: a start, and what `stack_drift` is compared with.
    """
    load = _loader(images)
    found = np.zeros((count, 2))
    image = load(0)
    previous = _transformed(image)
    for n in range(1, count):
        current = _transformed(load(n))
        found[n] = _peak_of(previous, current, image.shape)
        previous = current
    return np.cumsum(found, axis=0)


def stack_drift(images: Images, count: int, *, level: float = 0.25, depth: float | None = None) -> StackDrift:
    """Drift of all slices, solved together.

    Parameters
    ----------
    images
        The slices [row, column], or a function of their number; grey values comparable from slice to slice, outside
        0 and solid 1. Two of them are held at a time.
    count
        Number of slices, 3 or more.
    level
        Grey value of the outline: above the noise of the outside, below any layer on the particle.
    depth
        Nominal thickness of a slice, px. None: as if the body were a ball.

    Raises
    ------
    MeasurementError
        If there are fewer than 3 slices, or nothing in them has an edge.
    """
    load = _loader(images)
    if count < 3:
        raise MeasurementError(
            "too few slices to tell drift from inclined walls",
            expected="3 slices or more",
            found=str(count),
            cure="one slice needs no alignment: analyse it as a section",
        )
    outlines = [find_outline(load(n), level) for n in range(count)]
    marks = centre_marks(outlines, depth=depth)
    position = _start(load, marks)
    walls: Walls
    for _ in range(_PASSES):
        before = position
        walls = walls_information(_measured(load, position, outlines))
        if not walls.patches and not marks.used.any():
            raise _nothing_seen()
        found, covariance = _combined(position, _with_heights(_speeds_say(walls, before)), marks)
        position = found[:, :2]
    trend = _with_heights(_trend_says(walls, before))

    def settle(information: Float64Array, product: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Positions beside those by which slices are moved back, and heights, with all that is known of them."""
        together, unknown = _combined(position, _both(_bends_say(information, product, position), trend), marks)
        return together - _level(position), unknown

    bends = _bends(load, position, outlines, settle)
    if bends.tracks:
        found, covariance = settle(bends.information, bends.product)
        found = found + _level(position)
    return _as_drift(found, covariance, walls, marks, told=bends.tracks > 0)


def _nothing_seen() -> MeasurementError:
    """The error of a stack without edges."""
    return MeasurementError(
        "the slices show nothing that could be aligned",
        expected="edges of a particle or of its pores",
        found="grey values without gradients",
        cure="look at the raw slices: the stack may be empty or constant",
    )


def _loader(images: Images) -> Callable[[int], Float32Array]:
    """A function of the number of the slice."""
    return images if callable(images) else images.__getitem__


def _transformed(image: Float32Array) -> NDArray[np.complex64]:
    """Fourier transform of the smoothed image less its mean, faded towards the faces of the field."""
    smooth = gaussian_filter(image - image.mean(dtype=np.float64), _SMOOTHING).astype(np.float32)
    fade = [np.minimum(1, (np.minimum(np.arange(n), np.arange(n)[::-1]) + 1) / (0.08 * n)) for n in image.shape]
    smooth *= np.outer(*fade).astype(np.float32)
    return np.asarray(rfft2(smooth, [next_fast_len(n + n // 4) for n in image.shape]))


def _peak_of(
    first: NDArray[np.complex64], second: NDArray[np.complex64], shape: tuple[int, ...]
) -> tuple[float, float]:
    """Displacement of the second image from the first: maximum of the correlation, by parabolas through it."""
    size = [next_fast_len(n + n // 4) for n in shape]
    correlation = irfft2(np.conj(first) * second, size)
    top = np.unravel_index(int(np.argmax(correlation)), correlation.shape)
    result = []
    for axis in range(2):
        line = [float(correlation[tuple((top[k] + (k == axis) * s) % size[k] for k in range(2))]) for s in (-1, 0, 1)]
        bend = line[0] - 2 * line[1] + line[2]
        part = 0.5 * (line[0] - line[2]) / bend if bend < 0 else 0.0
        whole = top[axis] if top[axis] <= size[axis] // 2 else top[axis] - size[axis]
        result.append(float(whole + part))
    return result[0], result[1]


def _start(load: Callable[[int], Float32Array], marks: CentreMarks) -> Float64Array:
    """First positions [slice, 2]: steps of the centres where they count, else by correlation."""
    step = np.diff(chained_shifts(load, len(marks.used)), axis=0)
    sure = marks.used & (marks.doubt == 0)
    both = sure[1:] & sure[:-1]
    step[both] = np.diff(marks.centre, axis=0)[both]
    if np.count_nonzero(both) > _ENOUGH:  # slices that show little more than noise correlate anywhere
        spread = step[both].std(axis=0)
        step[~both] = np.where(np.abs(step[~both]) > _FARTHEST * spread, 0.0, step[~both])
    position = np.concatenate([np.zeros((1, 2)), np.cumsum(step, axis=0)])
    return np.asarray(position - position.mean(axis=0))


def _measured(load: Callable[[int], Float32Array], position: Float64Array, outlines: list[Outline]) -> Pairs:
    """What patches say of the displacements that remain after slices are moved back by their positions."""
    information, product = [], []
    previous, within = _placed(load(0), position[0]), _within(outlines[0], load(0).shape, position[0])
    patch = max(_LEAST_PATCH, min(previous.shape) // _PATCHES)
    for n in range(1, len(position)):
        image = load(n)
        current, inside = _placed(image, position[n]), _within(outlines[n], image.shape, position[n])
        matrix, vector = patch_equations(previous, current, np.minimum(within, inside), patch)
        information.append(matrix)
        product.append(vector)
        previous, within = current, inside
    return Pairs(np.stack(information, axis=1), np.stack(product, axis=1), patch_places(previous.shape, patch))


def _placed(image: Float32Array, moved: Float64Array) -> Float32Array:
    """The smoothed image, moved back."""
    smooth = gaussian_filter(image, _SMOOTHING, mode="nearest").astype(np.float32)
    return moved_back(smooth, moved)


def moved_back(image: Float32Array, moved: Float64Array) -> Float32Array:
    """The image [row, column] whose content is displaced by ``moved`` (px), by cubic splines; edges continue."""
    coefficients = spline_filter(image, order=3, output=np.float32, mode="nearest")
    return np.asarray(shift(coefficients, -moved, order=3, mode="nearest", prefilter=False), dtype=np.float32)


def _within(outline: Outline, shape: tuple[int, ...], moved: Float64Array, margin: float = _MARGIN) -> Float32Array:
    """1 well within the outline, once it is moved back; everywhere where the slice has no whole outline."""
    if not outline.whole:
        return np.ones(shape, dtype=np.float32)
    back = outline._replace(centre=(outline.centre[0] - moved[0], outline.centre[1] - moved[1]))
    return np.asarray(back.depth(shape[0], shape[1]) > margin, dtype=np.float32)


def _bends(
    load: Callable[[int], Float32Array], position: Float64Array, outlines: list[Outline], settle: Settle
) -> Bends:
    """What walls say that are followed through the slices with a whole outline, or through all if none has one."""
    whole = [n for n, one in enumerate(outlines) if one.whole] or [0, len(outlines) - 1]
    shape = load(0).shape

    def within(n: int) -> Float32Array:
        """Where windows may lie, so that the outline itself counts little."""
        return _within(outlines[n], shape, position[n], _MARGIN + HALF_WINDOW / 2)

    slices = range(whole[0], whole[-1] + 1)
    return bends_of(wall_tracks(lambda n: _placed(load(n), position[n]), within, slices), len(outlines), settle)


Said = tuple[Float64Array, Float64Array]
"""Information on the positions (row, column of the first slice, of the second, ...) and its product with them; with
``_with_heights``, on (row, column, height).
"""


def _speeds_say(walls: Walls, position: Float64Array) -> Said:
    """What speeds from slice to slice say, measured in slices at ``position``."""
    difference = np.kron(np.diff(np.eye(len(position)), axis=0), np.eye(2))
    steps = np.diff(position, axis=0).ravel()
    right = difference.T @ (walls.product + walls.information @ steps)
    return difference.T @ walls.information @ difference, np.asarray(right)


def _trend_says(walls: Walls, position: Float64Array) -> Said:
    """What speeds say of the trend alone."""
    count = len(position)
    if not walls.patches:
        return np.zeros((2 * count, 2 * count)), np.zeros(2 * count)
    place = np.arange(count) - (count - 1) / 2
    trend = np.kron(place / (place @ place), np.eye(2))
    summed = trend @ np.kron(np.tril(np.ones((count, count - 1)), -1), np.eye(2))
    covariance = np.linalg.inv(walls.information)
    steps = np.diff(position, axis=0).ravel() + covariance @ walls.product
    known = np.linalg.inv(_FACES * summed @ covariance @ summed.T)
    return np.asarray(trend.T @ known @ trend), np.asarray(trend.T @ known @ summed @ steps)


def _level(position: Float64Array) -> Float64Array:
    """Positions [slice, 2] with even heights, [slice, 3]."""
    return np.concatenate([position, np.zeros((len(position), 1))], axis=1)


def _bends_say(information: Float64Array, product: Float64Array, position: Float64Array) -> Said:
    """What bent paths say, measured in slices at ``position``."""
    return information, np.asarray(product + information @ _level(position).ravel())


def _with_heights(said: Said) -> Said:
    """Of sources that say nothing about heights."""
    count = len(said[1]) // 2
    at = np.flatnonzero(np.arange(3 * count) % 3 < 2)
    information, product = np.zeros((3 * count, 3 * count)), np.zeros(3 * count)
    information[np.ix_(at, at)], product[at] = said
    return information, product


def _both(first: Said, second: Said) -> Said:
    """Of two sources."""
    return first[0] + second[0], first[1] + second[1]


def _combined(position: Float64Array, walls: Said, marks: CentreMarks) -> tuple[Float64Array, Float64Array]:
    """Positions and heights [slice, 3] and their covariance [3 slices, 3 slices], alternating."""
    count = len(position)
    steps = np.diff(position, axis=0)
    normal, right = walls[0].copy(), walls[1].copy()
    sigma = _WIDER * max(float(np.median(np.abs(steps - np.median(steps, axis=0)))) / 0.6745, 0.05)
    difference = np.diff(np.eye(count), axis=0)
    smooth = difference.T @ difference / sigma**2 + np.eye(count) / _ANYWHERE**2
    for axis, prior in enumerate((smooth, smooth, uneven_steps(count))):
        normal[axis::3, axis::3] += prior
    if marks.used.any():
        index = np.flatnonzero(marks.used)
        inverse = np.linalg.inv(_wander(index, marks))
        for axis in range(2):
            at = 3 * index + axis
            normal[np.ix_(at, at)] += inverse
            right[at] += inverse @ marks.centre[index, axis]
    covariance = np.asarray(np.linalg.inv(normal), dtype=np.float64)
    found = (covariance @ right).reshape(count, 3)
    return found - found.mean(axis=0), covariance


def _wander(index: NDArray[np.int64], marks: CentreMarks) -> Float64Array:
    """Covariance of the centres [mark, mark], px², position of the whole stack unknown."""
    place = index - index.mean()
    line = marks.trend**2 * np.outer(place, place) + _ANYWHERE**2
    return np.asarray(marks.wander + line + np.diag(_CENTRE_NOISE**2 + marks.doubt[index] ** 2))


def _as_drift(
    found: Float64Array, covariance: Float64Array, walls: Walls, marks: CentreMarks, *, told: bool
) -> StackDrift:
    """Positions of mean 0 with their covariance, the uncertainty of their trend, and thickness if it was told."""
    count = len(found)
    centred = np.eye(count) - 1 / count
    matrices = np.stack([centred @ covariance[axis::3, axis::3] @ centred for axis in range(2)])
    place = np.arange(count) - (count - 1) / 2
    trend = place / (place @ place)
    tilt = [float(np.sqrt(trend @ matrix @ trend)) for matrix in matrices]
    thickness, unknown = _thickness(found[:, 2], covariance[2::3, 2::3])
    spread = np.diag(marks.wander)
    return StackDrift(
        shift=found[:, :2],
        std=np.sqrt(np.stack([np.diag(matrix) for matrix in matrices], axis=1)),
        covariance=matrices,
        tilt=(tilt[0], tilt[1]),
        marked=marks.used,
        thickness=thickness if told else np.full(count - 1, np.nan),
        thickness_std=unknown if told else np.full(count - 1, np.nan),
        wander=float(np.sqrt(spread.mean())) if marks.used.any() else float("nan"),
        wall_speed=walls.speed if walls.patches else float("nan"),
        wall_memory=-1 / float(np.log(walls.memory)) if walls.patches else float("nan"),
    )


def _thickness(height: Float64Array, covariance: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Relative thickness between neighbours and its standard uncertainty; NaN where the prior says all that is known.

    What walls say of a slice is what its uncertainty lacks of that without them.
    """
    difference = np.diff(np.eye(height.size), axis=0)
    prior = difference @ np.linalg.inv(uneven_steps(height.size)) @ difference.T
    std = np.sqrt(np.diag(difference @ covariance @ difference.T))
    known = std < _TOLD * np.sqrt(np.diag(prior))
    step = np.diff(height)
    step = step - (step[known].mean() if known.any() else 0.0)
    return np.where(known, 1 + step, np.nan), np.where(known, std, np.nan)
