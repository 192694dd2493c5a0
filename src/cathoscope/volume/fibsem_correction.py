"""Grey values of FIB/SEM slices made comparable: levels of every slice, background, charging and curtains.

A raw slice is taken as

    I = O(y, x) + (S(y, x) - O(y, x)) (f (1 + q) (1 + c) + dark parts)

O and S are the planes of the outside and of the solid, fitted to each slice: gain, offset and background at once. q is
charging: solid is brighter beside voids, as a mixture of the void blurred by Gaussians and trailed along the scan line
to either side; the mixture is one of the whole stack, its strength one of every slice. c are curtains: streaks down the
image that begin below voids, an autoregressive process in every column, broken by voids, whose size and length come
from how residuals in solid are correlated down the image and not across it; estimated by a Kalman smoother, so that no
pore rings. What is darker than solid by more than curtains could be takes no part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import edt  # type: ignore[import-not-found, import-untyped, unused-ignore]
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter, gaussian_filter1d
from scipy.optimize import nnls

from cathoscope.core.errors import MeasurementError
from cathoscope.volume.fibsem_outline import Outline

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_OUTSIDE_MARGIN, _INSIDE_MARGIN = 8.0, 3.0  # px from the outline
_OPEN = 0.6  # of the contrast: darker is open to the beam (voids seen down to their back, layers)
# px from anything open at which solid is itself: nearer than the first, what a void dims counts as faint where noise
# dims it, too, so that the rest is too bright; the second is for slices with little solid as far as that
_AWAY, _LEAST_AWAY = 5.0, 2.5
_LEAST, _PLENTY = 300, 1500  # pixels of solid in a slice
_SPREADS, _TAILS = (3.0, 6.0), (8.0, 24.0)  # px, of charging
_FIELDS = len(_SPREADS) + 2 * len(_TAILS)
_FAINT = 3.0  # standard deviations below the solid in the smoothed slice: a crack
_FIRST_LAG, _LAST_LAG = 6, 40  # px down the image over which curtains are looked for
_ALIKE = 30.0  # pixels that charging and streaks make alike
_SLOW = 3.0  # slices over which the background is smoothed
_ACROSS = 0.8  # px over which curtains are as wide as the smoothing


class RoughLevels(NamedTuple):
    """Grey values of outside and solid of one slice, and of solid alone whether it was seen."""

    outside: float
    solid: float
    seen: bool


@dataclass(frozen=True)
class SliceLevels:
    """What a slice's grey values are made of.

    Attributes
    ----------
    outside, solid
        Planes: value at the middle, change over half of the rows, over half of the columns; grey values, [3].
    charge
        Strength of the charging relative to the mixture.
    std
        Standard uncertainty of the solid's value at the middle, relative to the contrast.
    noise
        Standard deviation of a pixel of solid, relative to the contrast.
    seen
        Whether the slice holds enough solid; if not, its levels are those of its neighbours.
    """

    outside: Float64Array
    solid: Float64Array
    charge: float
    std: float
    noise: float
    seen: bool


class Curtains(NamedTuple):
    """Standard deviation of the streaks relative to the solid, the length in which they fade (px), and the standard
    deviation of a pixel's noise; ``spread`` 0: none were found.
    """

    spread: float
    length: float
    noise: float


def rough_levels(image: NDArray[Any], *, before: RoughLevels | None = None) -> RoughLevels:
    """Two levels of one raw slice: darker and brighter class by repeated means; ``before`` if there is no solid."""
    smooth = gaussian_filter(np.asarray(image, dtype=np.float32), 1.0)
    low, high = np.quantile(smooth, [0.01, 0.995])
    split = (low + high) / 2 if before is None else (before.outside + before.solid) / 2
    for _ in range(12):
        upper = smooth > split
        if np.count_nonzero(upper) < _LEAST or upper.all():
            break
        split = float((smooth[upper].mean() + smooth[~upper].mean()) / 2)
    upper = smooth > split
    outside = float(np.median(smooth[smooth <= split])) if not upper.all() else float(low)
    if np.count_nonzero(upper) < _LEAST:
        return RoughLevels(outside, float(high) if before is None else before.solid, False)
    # the upper half of the bright class: partial volumes, layers and shine-through lie in the lower one
    bright = smooth[upper]
    return RoughLevels(outside, float(np.quantile(bright, 0.6)), True)


def normalised(image: NDArray[Any], levels: RoughLevels) -> Float32Array:
    """Outside 0, solid 1, by two levels."""
    contrast = max(levels.solid - levels.outside, 1e-9)
    return np.asarray((np.asarray(image, dtype=np.float32) - levels.outside) / contrast, dtype=np.float32)


def plane(coefficients: Float64Array, shape: tuple[int, ...]) -> Float32Array:
    """Values of a plane on a slice [row, column]."""
    down, across = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    c = coefficients.astype(np.float32)
    return np.asarray(c[0] + c[1] * down[:, None] + c[2] * across, dtype=np.float32)


def _design(select: BoolArray) -> Float64Array:
    """Columns 1, down, across of the pixels selected, [pixel, 3]."""
    rows, columns = np.nonzero(select)
    down, across = (2 * index / max(n - 1, 1) - 1 for index, n in zip((rows, columns), select.shape, strict=True))
    return np.stack([np.ones(rows.size), down, across], axis=1)


class _Parts(NamedTuple):
    """Of one slice: open to the beam, solid by itself, and outside."""

    open: BoolArray
    solid: BoolArray
    outside: BoolArray


def _parts(scene: Float32Array, outline: Outline, noise: float) -> _Parts:
    """Which pixels are what, in a slice of outside 0 and solid 1."""
    smooth = gaussian_filter(scene, 1.0)
    is_open = smooth < _OPEN
    faint = gaussian_filter(scene, 1.5) < 1 - max(_FAINT * noise / 5.3, 0.06)  # 5.3: the smoothing's gain
    is_solid = ~binary_dilation(faint, iterations=1)
    if is_open.any():
        distance: Any = edt.edt(~is_open, black_border=False, parallel=1)
        far = is_solid & (distance > _AWAY)
        is_solid = far if np.count_nonzero(far) > _PLENTY else is_solid & (distance > _LEAST_AWAY)
    if outline.whole:
        depth = outline.depth(*scene.shape)
        return _Parts(is_open, is_solid & (depth > _INSIDE_MARGIN), depth < -_OUTSIDE_MARGIN)
    return _Parts(is_open, is_solid, np.zeros_like(is_open))


def charge_fields(is_open: BoolArray) -> Float32Array:
    """What charging may be a mixture of, for one slice: [field, row, column], 1 at an edge of a wide void or below."""
    from scipy.signal import lfilter  # takes long to load

    fields = [2 * gaussian_filter(is_open.astype(np.float32), spread) for spread in _SPREADS]
    for tail in _TAILS:
        memory = float(np.exp(-1 / tail))
        for back in (False, True):
            start = fields[0][:, ::-1] if back else fields[0]
            trailed = lfilter([1 - memory], [1, -memory], start, axis=1)
            fields.append(trailed[:, ::-1] if back else trailed)
    return np.stack(fields).astype(np.float32)


def charging_mixture(scenes: list[tuple[Float32Array, Outline]], *, noise: float) -> Float64Array:
    """The mixture of `charge_fields`, none negative, [field], from some slices of outside 0 and solid 1."""
    square, right = np.zeros((_FIELDS, _FIELDS)), np.zeros(_FIELDS)
    total = 0.0
    for scene, outline in scenes:
        parts = _parts(scene, outline, noise)
        if np.count_nonzero(parts.solid) < _LEAST:
            continue
        fields = charge_fields(parts.open)[:, parts.solid].astype(np.float64).T
        level = _design(parts.solid)
        values = np.column_stack([scene[parts.solid].astype(np.float64), fields])
        values -= level @ np.linalg.lstsq(level, values, rcond=None)[0]
        square += values[:, 1:].T @ values[:, 1:]
        right += values[:, 1:].T @ values[:, 0]
        total += float(values[:, 0] @ values[:, 0])
    if not total:
        return np.zeros(right.size)
    # nnls of the normal equations: square = root' root
    root = np.linalg.cholesky(square + 1e-6 * np.trace(square) / right.size * np.eye(right.size)).T
    return np.asarray(nnls(root, np.linalg.solve(root.T, right))[0])


def fit_levels(
    image: NDArray[Any], outline: Outline, rough: RoughLevels, mixture: Float64Array, *, noise: float
) -> SliceLevels:
    """Planes of outside and solid of one raw slice, and the strength of its charging."""
    raw = np.asarray(image, dtype=np.float32)
    outside = np.array([rough.outside, 0.0, 0.0])
    solid = np.array([rough.solid, 0.0, 0.0])
    charge, std, spread, seen = 1.0, 0.02, noise, False
    for _ in range(2):
        scene = (raw - plane(outside, raw.shape)) / plane(solid - outside, raw.shape)
        parts = _parts(scene, outline, noise)
        if np.count_nonzero(parts.outside) > _LEAST:
            outside = np.linalg.lstsq(_design(parts.outside), raw[parts.outside].astype(np.float64), rcond=None)[0]
        if np.count_nonzero(parts.solid) < _LEAST:
            break
        seen = True
        charging = np.tensordot(mixture, charge_fields(parts.open)[:, parts.solid], axes=1) if mixture.any() else None
        design = _design(parts.solid)
        if charging is not None:
            design = np.column_stack([design, charging])
        values = raw[parts.solid] - outside[0]
        found, rest = _fitted(design, values.astype(np.float64), float(np.median(values)))
        solid = found[:3] + np.array([outside[0], 0.0, 0.0])
        contrast = max(float(found[0]), 1e-9)
        charge = float(np.clip(found[3] / contrast, 0.0, 4.0)) if charging is not None else 0.0
        spread = float(rest.std()) / contrast
        # streaks and patches of charging are correlated over hundreds of pixels
        std = spread * np.sqrt(np.linalg.inv(design.T @ design)[0, 0] * 2)
    return SliceLevels(outside, solid, charge, float(std), spread, seen)


def _fitted(design: Float64Array, values: Float64Array, contrast: float) -> tuple[Float64Array, Float64Array]:
    """Least squares, once more without what lies three and a half standard deviations away.

    A few pixels in the middle of the field do not tell its slope: slopes are expected within 0.1 of the contrast, and
    charging as strong as in the mean of the stack.
    """
    expected = np.array([contrast, 0.0, 0.0, contrast])[: design.shape[1]]
    wide = np.array([1.0, 0.1, 0.1, 0.5])[: design.shape[1]] * contrast
    kept = np.ones(values.size, dtype=bool)
    rest = values - design @ expected
    found = expected
    for _ in range(2):
        penalty = _ALIKE * max(float(rest[kept].var()), 1e-12) / wide**2
        normal = design[kept].T @ design[kept] + np.diag(penalty)
        found = np.linalg.solve(normal, design[kept].T @ values[kept] + penalty * expected)
        rest = values - design @ found
        kept = np.abs(rest) < 3.5 * rest[kept].std()
    return np.asarray(found), np.asarray(rest[kept])


def smoothed_levels(levels: list[SliceLevels]) -> list[SliceLevels]:
    """Levels in which the background changes slowly from slice to slice, and unseen solid is that of its neighbours."""
    seen = np.array([one.seen for one in levels], dtype=np.float64)
    if not seen.any():
        raise MeasurementError(
            "no slice holds enough solid to tell its grey value",
            expected=f"{_LEAST} pixels of solid, {_LEAST_AWAY:g} px from any pore, in one slice or more",
            found="none",
            cure="check that solid is bright; or bin the slices",
        )
    contrast = np.array([one.solid[0] - one.outside[0] for one in levels])
    slope = np.stack(
        [(one.solid[1:] - one.outside[1:]) / max(c, 1e-9) for one, c in zip(levels, contrast, strict=True)]
    )
    pixels = seen / np.array([max(one.std, 1e-4) for one in levels]) ** 2
    over = gaussian_filter1d(pixels[:, None] * slope, _SLOW, axis=0, mode="nearest")
    mean = over / np.maximum(gaussian_filter1d(pixels, _SLOW, mode="nearest"), 1e-30)[:, None]
    near = np.searchsorted(np.flatnonzero(seen), np.arange(seen.size)).clip(max=int(seen.sum()) - 1)
    result = []
    for n, one in enumerate(levels):
        other = levels[int(np.flatnonzero(seen)[near[n]])]
        c = contrast[n] if one.seen else float(other.solid[0] - other.outside[0])
        solid = one.outside + np.array([c, c * mean[n, 0], c * mean[n, 1]])
        result.append(replace(one, solid=solid))
    return result


def flattened(image: NDArray[Any], levels: SliceLevels) -> Float32Array:
    """A slice with outside 0 and solid 1 everywhere, charging and curtains still in it."""
    raw = np.asarray(image, dtype=np.float32)
    contrast = plane(levels.solid - levels.outside, raw.shape)
    if not np.all(contrast > 0):
        raise MeasurementError(
            "the background of a slice turns the contrast over",
            expected="solid brighter than the outside everywhere",
            found=f"planes {levels.solid.round(2)} and {levels.outside.round(2)}",
            cure="leave the slice out, or crop the field",
        )
    return np.asarray((raw - plane(levels.outside, raw.shape)) / contrast, dtype=np.float32)


def charging_of(scene: Float32Array, levels: SliceLevels, mixture: Float64Array) -> Float32Array:
    """q of one flattened slice [row, column]."""
    if not mixture.any() or levels.charge == 0:
        return np.zeros_like(scene)
    is_open = gaussian_filter(scene, 1.0) < _OPEN
    weight = (levels.charge * mixture).astype(np.float32)
    return np.asarray(np.tensordot(weight, charge_fields(is_open), axes=1), dtype=np.float32)


def curtain_statistics(scenes: list[tuple[Float32Array, Outline]], *, noise: float) -> Curtains:
    """Size and length of the curtains from some slices of solid 1: correlation down the image less that across it."""
    lags = np.arange(_FIRST_LAG, _LAST_LAG + 1)
    sums, counts, square, number = np.zeros((2, lags.size)), np.zeros((2, lags.size)), 0.0, 0
    for scene, outline in scenes:
        parts = _parts(scene, outline, noise)
        if np.count_nonzero(parts.solid) < _LEAST:
            continue
        rest = np.where(parts.solid, scene - scene[parts.solid].mean(), 0).astype(np.float64)
        square, number = square + float((rest**2).sum()), number + int(parts.solid.sum())
        for axis in range(2):
            values, mask = np.moveaxis(rest, axis, 0), np.moveaxis(parts.solid, axis, 0)
            for k, lag in enumerate(lags[lags < len(values)]):
                sums[axis, k] += float((values[lag:] * values[:-lag]).sum())
                counts[axis, k] += float(np.count_nonzero(mask[lag:] & mask[:-lag]))
    if not number:
        return Curtains(0.0, 1.0, noise)
    excess = sums[0] / np.maximum(counts[0], 1) - sums[1] / np.maximum(counts[1], 1)
    variance = square / number
    error = variance / np.sqrt(max(float(counts[0].mean()), 1.0))
    near = float(excess[:10].mean())
    if near < 4 * error / np.sqrt(10) or near <= 0:
        return Curtains(0.0, 1.0, float(np.sqrt(variance)))
    far = max(float(excess[-10:].mean()), 0.02 * near)
    length = float(np.clip((_LAST_LAG - _FIRST_LAG - 9) / max(np.log(near / far), 0.05), 10.0, 400.0))
    spread = float(np.sqrt(near * np.exp((_FIRST_LAG + 4.5) / length)))
    return Curtains(spread, length, float(np.sqrt(max(variance - spread**2, 0.1 * variance))))


def curtains_of(scene: Float32Array, curtains: Curtains) -> Float32Array:
    """c of one slice of solid 1, [row, column]: Kalman smoother down every column; 0 where no solid is."""
    if curtains.spread == 0:
        return np.zeros_like(scene)
    smooth = gaussian_filter(scene, 1.0)
    limit = 1 - max(_FAINT * np.hypot(curtains.spread, curtains.noise / 3.5), 0.1)
    dark = binary_dilation(smooth < limit, iterations=1)
    seen = (~dark).astype(np.float32)
    share = gaussian_filter1d(seen, _ACROSS, axis=1)
    rest = gaussian_filter1d(seen * (scene - 1), _ACROSS, axis=1) / np.maximum(share, 0.1)
    # a Gaussian of s px leaves 1 / (2 sqrt(pi) s) of the variance of white noise
    variance = curtains.noise**2 / (2 * np.sqrt(np.pi) * _ACROSS) / np.maximum(share, 0.1)
    observed = ~dark & (share > 0.3)
    fade = np.where(smooth < _OPEN, 0.0, np.exp(-1 / curtains.length))
    found = _smoothed_down(rest, np.where(observed, variance, np.inf), fade, curtains.spread**2)
    return np.asarray(np.where(smooth < _OPEN, np.float32(0), found), dtype=np.float32)


def _smoothed_down(values: Float32Array, variance: NDArray[Any], fade: Float64Array, power: float) -> Float32Array:
    """Rauch-Tung-Striebel smoother of x_n = fade_n x_(n-1) + noise of constant power, for every column at once."""
    rows, columns = values.shape
    mean, spread = np.zeros((rows, columns)), np.zeros((rows, columns))
    m, p = np.zeros(columns), np.full(columns, power)
    for n in range(rows):
        m, p = fade[n] * m, fade[n] ** 2 * p + (1 - fade[n] ** 2) * power
        gain = p / (p + variance[n])
        m, p = m + gain * (values[n] - m), p * (1 - gain)
        mean[n], spread[n] = m, p
    result = mean.copy()
    for n in range(rows - 2, -1, -1):
        predicted = fade[n + 1] ** 2 * spread[n] + (1 - fade[n + 1] ** 2) * power
        result[n] += spread[n] * fade[n + 1] / predicted * (result[n + 1] - fade[n + 1] * mean[n])
    return result.astype(np.float32)
