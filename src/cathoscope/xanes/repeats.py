"""Repeated scans of one spectrum: their mean, points that one scan alone shows, and changes from scan to scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import median_filter
from scipy.special import chdtrc, chdtri, ndtr, ndtri, stdtr

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.edge import SmoothedSpectrum, middle_of_rise, smoothed_spectrum

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_GLITCH_LEVEL = 0.01
"""Probability that noise alone makes one glitch or more in a whole set of repeats."""
_HUBER_LIMIT = 2.0
"""Deviations beyond this many standard deviations lose weight; the mean of pure noise is 0.5 % less precise."""
_HUBER_ITERATIONS = 20
_SPREAD_LEVEL = 0.01
_TINY = np.finfo(np.float64).tiny
_NOISE_NEIGHBOURS = 101
_WHITE_LINE_REACH = 20.0  # eV above the steepest rise in which the white line lies
_WHITE_LINE_STEP = 0.1  # eV
_NARROWEST_WHITE_LINE = 1.0  # eV
_HALF_WIDTH = float(np.sqrt(2.0 * np.log(2.0)))  # of a bell at half height, in standard deviations
_FEWEST_POINTS = 12
_EDGE_REACH = 25.0  # eV around the middle of the rise in which its steepest point lies
_QUANTITIES = ("edge energy", "white-line height")
_UNITS = (" eV", "")


@dataclass(frozen=True)
class MergedRepeats:
    """Mean of repeats.

    Attributes
    ----------
    mean, mean_std
        [point]; NaN where no repeat has a value. The uncertainty is the internal one, times `spread_ratio` if the
        repeats differ by more than their noise.
    internal_std
        From the noise of the repeats, [point].
    external_std
        From their spread at each point, [point]; NaN where fewer than two are left.
    spread_ratio
        Spread over noise (Birge ratio), all points together; NaN if the noise was found from the spread.
    glitch
        Values set aside, [repeat, point].
    glitch_count
        Per repeat, [repeat].
    remarks
        Sentences on what was set aside and what limits the mean; empty if nothing does.
    """

    mean: Array
    mean_std: Array
    internal_std: Array
    external_std: Array
    spread_ratio: float
    glitch: Mask
    glitch_count: NDArray[np.int64]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Drift:
    """Change of one quantity with the number of the repeat.

    Attributes
    ----------
    quantity
        "edge energy" (eV) or "white-line height" (per edge step, as the spectra are).
    change, change_std
        Of each repeat against the mean of all, [repeat].
    slope, slope_std
        Per repeat.
    probability
        How often unchanging repeats show such a slope.
    significant
        Whether the probability is below the level asked for, shared between the quantities.
    departed
        Repeats, counted from 1, that differ from the first by more than noise, at the same level for all together.
    """

    quantity: str
    change: Array
    change_std: Array
    slope: float
    slope_std: float
    probability: float
    significant: bool
    departed: tuple[int, ...]


@dataclass(frozen=True)
class DriftOfRepeats:
    """Drifts of edge energy and white-line height, and sentences on those that are significant."""

    edge_energy: Drift
    white_line_height: Drift
    remarks: tuple[str, ...]


def merge_repeats(*, spectra: ArrayLike, std: ArrayLike | None = None) -> MergedRepeats:
    """Weighted mean of repeats on one energy grid that resists outliers.

    A value that differs from the mean of the other repeats at its energy is set aside as a glitch if noise makes one
    such in a hundred sets of repeats, the other repeats agree with each other, and there are three or more. The rest is
    averaged with inverse variances, reduced for deviations beyond 2 standard deviations (Huber [1]_).

    Parameters
    ----------
    spectra
        [repeat, point], at least two repeats; NaN where a repeat has no value.
    std
        Standard deviation of the noise, [point] or [repeat, point]. Without it the noise is the spread of the repeats,
        median of 101 points, and rates of false glitches hold approximately.

    Raises
    ------
    MeasurementError
        If there are fewer than two repeats, shapes do not fit, or the noise is not positive.

    References
    ----------
    .. [1] P. J. Huber, Ann. Math. Stat. 35 (1964) 73.
    """
    data, noise = _checked(spectra, std)
    if noise is None:
        noise = _noise_from_spread(data)
    present = np.isfinite(data)
    weight = np.where(present, noise**-2.0, 0.0)
    glitch = _glitches(data, weight)
    weight = np.where(glitch, 0.0, weight)
    mean = _huber_mean(data, weight)
    count, total = (weight > 0).sum(axis=0), weight.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        internal = np.where(count > 0, total**-0.5, np.nan)
        chi2 = np.sum(weight * (np.where(present, data, 0.0) - np.where(count > 0, mean, 0.0)) ** 2, axis=0)
        external = np.where(count > 1, internal * np.sqrt(chi2 / (count - 1)), np.nan)
    degrees = int((count - 1).clip(min=0).sum())
    ratio = float(np.sqrt(chi2.sum() / degrees)) if std is not None and degrees else np.nan
    spread_is_larger = bool(chdtrc(degrees, chi2.sum()) < _SPREAD_LEVEL) if ratio > 1 else False
    glitch_count = glitch.sum(axis=1)
    return MergedRepeats(
        mean=mean,
        mean_std=internal * (ratio if spread_is_larger else 1.0),
        internal_std=internal,
        external_std=external,
        spread_ratio=ratio,
        glitch=glitch,
        glitch_count=glitch_count,
        remarks=_remarks_on_mean(glitch_count, ratio if spread_is_larger else 1.0, int(np.sum(count == 0))),
    )


def drift_of_repeats(
    *, spectra: ArrayLike, energy: ArrayLike, std: ArrayLike | None = None, level: float = 0.01
) -> DriftOfRepeats:
    """Whether edge energy or white-line height change from repeat to repeat, as they do under beam damage.

    Every repeat minus the mean of all is a sum of four shapes by least squares: the slope of the mean (a shift of the
    edge), a bell at its white line (a change of height), the mean and a constant (gain and offset, not reported). Both
    changes are then regressed on the number of the repeat. The slope is tested against the noise or, if the
    changes scatter about the line by more than that, against this scatter with Student's t. Each of the two quantities
    is tested at half the level, so that unchanging repeats are called drifting in a share ``level`` of all cases.

    Parameters
    ----------
    spectra
        Normalised absorption, [repeat, point], at least three repeats on one energy grid, in the order of recording;
        points with NaN in any repeat are left out, and so should glitches be (`merge_repeats`).
    energy
        eV, ascending, [point].
    std
        Standard deviation of the noise, [point] or [repeat, point]; without it, from the spread of the repeats.
    level
        Share of false alarms.

    Raises
    ------
    MeasurementError
        If shapes do not fit, fewer than three repeats or 12 common points remain, energies do not ascend, fewer
        than three points lie within 20 eV above the edge, or the level is not between 0 and 1.
    """
    data, noise = _checked(spectra, std)
    axis = np.asarray(energy, dtype=np.float64)
    if axis.shape != data.shape[1:] or data.shape[0] < 3:
        raise MeasurementError(
            "a drift needs three repeats on one energy grid",
            expected="[3 or more, point], one energy per point",
            found=f"shapes {data.shape} and {axis.shape}",
        )
    if not 0 < level < 1:
        raise MeasurementError("the share of false alarms is a probability", expected="0 < level < 1", found=str(level))
    common = np.isfinite(data).all(axis=0) & np.isfinite(axis)
    data, axis = data[:, common], axis[common]
    if axis.size < _FEWEST_POINTS or np.any(np.diff(axis) <= 0):
        raise MeasurementError(
            "a drift needs points that all repeats have, by ascending energy",
            expected=f"{_FEWEST_POINTS} or more",
            found=f"{axis.size} in {'ascending' if np.all(np.diff(axis) > 0) else 'another'} order",
        )
    noise = _noise_from_spread(data) if noise is None else noise[:, common]
    change, change_std = _changes(data, axis, np.broadcast_to(noise, data.shape))
    drifts = [_drift(*row, level) for row in zip(_QUANTITIES, change.T, change_std.T, strict=True)]
    remarks = [_remark_on_drift(drift, unit) for drift, unit in zip(drifts, _UNITS, strict=True)]
    return DriftOfRepeats(drifts[0], drifts[1], tuple(text for text in remarks if text))


def _checked(spectra: ArrayLike, std: ArrayLike | None) -> tuple[Array, Array | None]:
    """Data [repeat, point] and noise [1 or repeat, point]."""
    data = np.asarray(spectra, dtype=np.float64)
    if data.ndim != 2 or data.shape[0] < 2:
        raise MeasurementError(
            "repeats of a spectrum are needed", expected="[2 or more, point]", found=f"shape {data.shape}"
        )
    if std is None:
        return data, None
    noise = np.atleast_2d(np.asarray(std, dtype=np.float64))
    if noise.shape not in ((1, data.shape[1]), data.shape):
        raise MeasurementError(
            "the noise does not match the spectra",
            expected=f"[{data.shape[1]}] or {data.shape}",
            found=str(noise.shape),
        )
    noise = np.broadcast_to(noise, data.shape)
    if not np.all((noise > 0) & np.isfinite(noise) | ~np.isfinite(data)):
        raise MeasurementError("the noise is not positive", expected="finite standard deviations above zero")
    return data, np.where(np.isfinite(data), noise, 1.0)


def _noise_from_spread(data: Array) -> Array:
    """Noise of single repeats from their sample variance, [1, point], a running median against glitches."""
    present = np.isfinite(data)
    degrees = present.sum(axis=0) - 1
    known = degrees > 0
    if not known.any():
        raise MeasurementError("the repeats have no point in common", cure="put them on one energy grid")
    values = np.where(present, data, np.nan)[:, known]
    variance = np.nanvar(values, axis=0, ddof=1) * degrees[known] / chdtri(degrees[known], 0.5)
    smooth = median_filter(variance, size=min(_NOISE_NEIGHBOURS, variance.size), mode="reflect")
    positions = np.arange(data.shape[1])
    noise = np.sqrt(np.interp(positions, positions[known], smooth))[np.newaxis]
    if not np.all(noise > 0):
        raise MeasurementError("the repeats are identical", cure="state the noise, or give the recorded repeats")
    return np.asarray(noise)


def _glitches(data: Array, weight: Array) -> Mask:
    """Values that alone disagree with the other repeats at their point, [repeat, point]."""
    count = (weight > 0).sum(axis=0)
    values = np.where(weight > 0, data, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        others = weight.sum(axis=0) - weight
        rest = (np.sum(weight * values, axis=0) - weight * values) / others
        deviation = np.abs(values - rest) / np.sqrt(1 / weight + 1 / others)
    deviation = np.where((weight > 0) & (count >= 3), deviation, 0.0)
    limit = -ndtri(0.5 * _GLITCH_LEVEL / max(int((weight > 0).sum()), 1))
    worst = np.argmax(deviation, axis=0)
    candidate = np.zeros(data.shape, dtype=bool)
    points = np.flatnonzero(deviation.max(axis=0) > limit)
    candidate[worst[points], points] = True
    kept = np.where(candidate, 0.0, weight)[:, points]
    own = values[:, points]
    mean = np.sum(kept * own, axis=0) / kept.sum(axis=0)
    disagreement = np.sum(kept * (own - mean) ** 2, axis=0)
    agree = chdtrc(count[points] - 2, disagreement) > _GLITCH_LEVEL
    candidate[:, points[~agree]] = False
    return candidate


def _huber_mean(data: Array, weight: Array) -> Array:
    """Weighted mean with Huber's weights, [point]; NaN where all weights are zero."""
    present = weight > 0
    values = np.where(present, data, 0.0)
    root = np.sqrt(weight)
    factor = np.ones_like(weight)
    mean = np.zeros(data.shape[1])
    for _ in range(_HUBER_ITERATIONS):
        # where no repeat has a value all weights are zero, and so is the mean until the end
        mean = np.sum(weight * factor * values, axis=0) / np.maximum(np.sum(weight * factor, axis=0), _TINY)
        factor = _HUBER_LIMIT / np.maximum(root * np.abs(values - mean), _HUBER_LIMIT)
    return np.where(present.any(axis=0), mean, np.nan)


def _remarks_on_mean(glitch_count: NDArray[np.int64], ratio: float, empty: int) -> tuple[str, ...]:
    texts = []
    if glitch_count.any():
        which = ", ".join(f"{count} in repeat {i + 1}" for i, count in enumerate(glitch_count) if count)
        texts.append(f"{glitch_count.sum()} points that only one repeat shows were set aside: {which}.")
    if ratio > 1:
        texts.append(
            f"The repeats differ by {ratio:.2f} times their noise; the uncertainty of the mean is enlarged by this."
        )
    if empty:
        texts.append(f"{empty} points have no value in any repeat.")
    return tuple(texts)


def _changes(data: Array, energy: Array, noise: Array) -> tuple[Array, Array]:
    """Shift of the edge (eV) and change of white-line height of each repeat against the mean, [repeat, quantity]."""
    weight = noise**-2.0
    mean = np.sum(weight * data, axis=0) / weight.sum(axis=0)
    shapes = _shapes(energy, mean, weight.sum(axis=0) ** -0.5)
    normal = np.einsum("rp,pi,pj->rij", weight, shapes, shapes)
    right = np.einsum("rp,pi->ri", weight * (data - mean), shapes)
    covariance = np.linalg.inv(normal)
    change = np.einsum("rij,rj->ri", covariance, right)
    return change[:, :2], np.sqrt(np.einsum("rii->ri", covariance))[:, :2]


def _shapes(energy: Array, mean: Array, mean_std: Array) -> Array:
    """Shift, white line, gain and offset of a spectrum as columns, [point, 4]."""
    smooth = smoothed_spectrum(energy=energy, absorption=mean, noise_std=mean_std)
    start = middle_of_rise(energy=energy, absorption=mean)
    values, slopes = smooth.values(energy), smooth.values(energy, 1)
    rise = np.where(np.abs(energy - start) < _EDGE_REACH, slopes, -np.inf)
    edge = energy[np.argmax(rise)]
    near = np.flatnonzero((energy > edge) & (energy < edge + _WHITE_LINE_REACH))
    if near.size < 3:
        raise MeasurementError("too few points above the edge", expected="3 within 20 eV", found=str(near.size))
    top, width = _white_line(smooth, edge, float(min(edge + _WHITE_LINE_REACH, energy[-1])))
    bell = np.exp(-0.5 * ((energy - top) / width) ** 2)
    # absorption moved by +d is, to first order, lower by d times its slope
    return np.stack([-slopes, bell, values, np.ones_like(energy)], axis=1)


def _white_line(smooth: SmoothedSpectrum, edge: float, end: float) -> tuple[float, float]:
    """Energy of the highest point above the edge, and standard deviation of a bell there, eV.

    The bell falls to half its height over the lowest point that follows where the spectrum does so too.
    """
    grid = np.arange(edge, end, _WHITE_LINE_STEP)
    values = smooth.values(grid)
    highest = int(np.argmax(values))
    top, after = float(grid[highest]), values[highest:]
    fallen = np.flatnonzero(after <= 0.5 * (after[0] + after.min()))
    # without a maximum, from the steepest rise to the end is one standard deviation
    half_width = fallen[0] * _WHITE_LINE_STEP if fallen[0] else _HALF_WIDTH * (top - edge)
    return top, max(float(half_width) / _HALF_WIDTH, _NARROWEST_WHITE_LINE)


def _drift(quantity: str, change: Array, std: Array, level: float) -> Drift:
    """Weighted regression of changes on the number of the repeat."""
    number = np.arange(1, change.size + 1, dtype=np.float64)
    weight = std**-2.0
    centred = number - np.average(number, weights=weight)
    spread = np.sum(weight * centred**2)
    slope = float(np.sum(weight * centred * change) / spread)
    slope_std = float(spread**-0.5)
    misfit = change - np.average(change, weights=weight) - slope * centred
    chi2, degrees = float(np.sum(weight * misfit**2)), change.size - 2
    excess = np.sqrt(chi2 / degrees) if chdtrc(degrees, chi2) < _SPREAD_LEVEL else 1.0
    slope_std *= float(excess)
    ratio = abs(slope) / slope_std
    probability = 2 * float(stdtr(degrees, -ratio) if excess > 1 else ndtr(-ratio))
    from_first = np.abs(change[1:] - change[0]) / np.hypot(std[1:], std[0])
    limit = -ndtri(0.25 * level / (change.size - 1))
    departed = tuple(int(i) + 2 for i in np.flatnonzero(from_first > limit))
    return Drift(quantity, change, std, slope, slope_std, probability, probability < 0.5 * level, departed)


def _remark_on_drift(drift: Drift, unit: str) -> str:
    if not (drift.significant or drift.departed):
        return ""
    which = "no single repeat differs from the first by more than noise"
    if drift.departed:
        which = f"repeats {', '.join(map(str, drift.departed))} differ from the first by more than noise"
        largest = max(drift.departed, key=lambda number: abs(drift.change[number - 1] - drift.change[0]))
        which += f", repeat {largest} the most, by {drift.change[largest - 1] - drift.change[0]:+.3g}{unit}"
    total = drift.slope * (drift.change.size - 1)
    if not drift.significant:
        return f"The {drift.quantity} does not drift steadily, but {which}."
    return (
        f"The {drift.quantity} drifts by {drift.slope:+.3g} +- {drift.slope_std:.2g}{unit} per repeat, "
        f"{total:+.3g}{unit} from first to last (probability of chance {drift.probability:.1g}): {which}."
    )
