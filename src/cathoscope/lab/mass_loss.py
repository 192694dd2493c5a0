"""Thermogravimetry: buoyancy taken off, steps of mass loss with their onsets, and oxygen from mass.

Two onsets are told, each by its name, because they differ by tens of degrees: *extrapolated*, where the tangent of the
steepest loss meets the line through the quiet stretch before (ISO 11358-1), and *first deflection*, where the mass
leaves that line by more than the noise allows (ASTM E2550).

Uncertainties are those of the noise: it is drawn again, as strong and as correlated as it is, on the smoothed curve,
and the whole analysis repeated. Those of temperature and mass calibration are not in them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.numerics.local_polynomial import LocalPolynomial, Noise, local_polynomial, noise_of

Floats = NDArray[np.float64]

_REPETITIONS = 40
_SEEN = 8.0  # a step's rate rises out of the valleys beside it by so many standard deviations
_LEFT = 4.0  # and the mass at the first deflection out of the line before
_RISEN = 0.02  # share of the steepest rate at which a step begins and ends where no other one is near
_POINTS = 8.0  # least half-width of windows in points
_ORDER = 5  # of the local polynomials: slopes of narrow steps are not flattened
_WINDOW = 0.45  # half-width of the windows for tangents over the width of the step at half its rate
_TANGENTS = 31  # places at which tangents are laid
_BLOCKS = 25  # into which a quiet stretch is divided
_TRIALS = 3  # to find the noise that leaves the residuals seen
_MOST_CORRELATED = 0.9  # beyond, drift and noise cannot be told apart
_DEFLECTION = 2  # place of the first deflection among the numbers of a step
_EDGE = 5.0  # K at the ends of a ramp, where it sets in


@dataclass(frozen=True)
class MassLossChoices:
    """How a record is looked at.

    Attributes
    ----------
    smoothing, quiet
        Half-width of the windows, and length of the stretch before a step that is its baseline, K.
    smallest_step
        Per cent of the starting mass.
    baseline
        Temperatures (degC) between which the baseline of later steps lies; where stages overlap, the onset depends on
        it, and samples are compared on the same one. None finds the quietest stretch before each step.
    """

    smoothing: float = 6.0
    quiet: float = 25.0
    smallest_step: float = 0.3
    baseline: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class MassCurve:
    """A heating ramp.

    Attributes
    ----------
    temperature, mass
        degC and per cent of the starting mass, ascending temperature, (point,).
    places, smooth, rate
        Smoothed mass and its slope (per cent per K) at places, (place,).
    noise
        Of the mass, per cent.
    rate_std
        Standard uncertainty of the slopes.
    """

    temperature: Floats
    mass: Floats
    places: Floats
    smooth: Floats
    rate: Floats
    noise: Noise
    rate_std: Floats
    weights: LocalPolynomial = field(repr=False)


@dataclass(frozen=True)
class MassLossStep:
    """One step of mass loss: temperatures in degC, losses in per cent of the starting mass.

    ``line`` is the baseline before it: slope (per cent per K) and height at 0 degC.
    """

    begin: float
    end: float
    loss: Estimate
    onset: Estimate
    first_deflection: Estimate
    steepest: Estimate
    rate: Estimate
    line: tuple[float, float]


def heating_ramp(temperature: ArrayLike, *, least: float = 30.0) -> slice:
    """The longest stretch of a record in which the sample is heated without pause.

    Raises
    ------
    MeasurementError
        If no stretch heats by ``least`` K.
    """
    values = np.asarray(temperature, dtype=np.float64)
    top = np.maximum.accumulate(values)
    # heating has ended where the temperature stays below what was reached, by more than jitter
    jitter = 3.0 * float(np.median(np.abs(np.diff(values)))) + 0.5
    falls = np.flatnonzero(top - values > jitter)
    ends = [0, *(int(k) for k in falls[np.diff(falls, prepend=-2) > 1]), values.size]
    best = slice(0, 0)
    gain = 0.0
    for first, last in pairwise(ends):
        piece = values[first:last]
        high = first + int(np.argmax(piece))
        low = first + int(np.argmin(values[first : high + 1]))
        # a hold before the ramp jitters about its start
        low += int(np.flatnonzero(values[low : high + 1] <= values[low] + jitter)[-1])
        if values[high] - values[low] > gain:
            best, gain = slice(low, high + 1), float(values[high] - values[low])
    if gain < least:
        raise MeasurementError(
            "the record has no heating ramp",
            expected=f"a stretch that heats by {least:g} K or more",
            found=f"{gain:.1f} K at most",
            cure="give the record of a ramp, not that of a hold",
        )
    return best


def without_blank(temperature: Floats, mass: Floats, blank_temperature: Floats, blank_mass: Floats) -> Floats:
    """Mass less that of an empty crucible at the same temperatures (buoyancy and drag), both in mg.

    Raises
    ------
    MeasurementError
        If the blank does not span the record's temperatures.
    """
    order = np.argsort(blank_temperature, kind="stable")
    low, high = blank_temperature[order[0]], blank_temperature[order[-1]]
    if temperature.min() < low - _EDGE or temperature.max() > high + _EDGE:
        raise MeasurementError(
            "the blank does not span the record",
            expected=f"temperatures from {temperature.min():.0f} to {temperature.max():.0f} C",
            found=f"{low:.0f} to {high:.0f} C",
            cure="measure the blank with the programme of the sample",
        )
    drift = np.interp(temperature, blank_temperature[order], blank_mass[order] - blank_mass[order[0]])
    return np.asarray(mass - drift)


def mass_curve(
    temperature: ArrayLike, mass: ArrayLike, choices: MassLossChoices | None = None, *, start: float | None = None
) -> MassCurve:
    """A ramp in per cent of the starting mass (the mean of its first 5 K, or ``start`` in mg), smoothed.

    Raises
    ------
    MeasurementError
        If lengths differ, the starting mass is not positive, or points are too few for the smoothing.
    """
    choices = choices or MassLossChoices()
    t, m = np.asarray(temperature, dtype=np.float64), np.asarray(mass, dtype=np.float64)
    if t.shape != m.shape or t.ndim != 1:
        raise MeasurementError("temperature and mass differ in length", expected=str(t.shape), found=str(m.shape))
    order = np.argsort(t, kind="stable")
    t, m = t[order], m[order]
    whole = float(m[t <= t[0] + _EDGE].mean()) if start is None else start
    if not whole > 0:
        raise MeasurementError("the starting mass is not positive", expected="mg above 0", found=f"{whole:g}")
    percent = 100.0 * m / whole
    # records of few points are smoothed over so many of them
    half_width = max(choices.smoothing, _POINTS * float(np.median(np.diff(t))))
    places = np.arange(t[0], t[-1], half_width / 6.0)
    weights = local_polynomial(t, places, half_width, order=_ORDER)
    smooth = weights.value @ percent
    noise = _noise(weights, t, percent)
    return MassCurve(t, percent, places, smooth, weights.slope @ percent, noise, _rate_std(weights, noise, t), weights)


def _noise(weights: LocalPolynomial, t: Floats, percent: Floats) -> Noise:
    """Noise whose residuals of smoothing are as strong and as correlated as those of the record.

    Smoothing takes the slow part of correlated noise with it, so residuals alone show too little.
    """
    wanted = noise_of(percent - np.interp(t, weights.places, weights.value @ percent))
    found = wanted
    for _ in range(_TRIALS):
        drawn = found.drawn(t.size, 1, np.random.default_rng(0))[:, 0]
        seen = noise_of(drawn - np.interp(t, weights.places, weights.value @ drawn))
        if seen.std == 0:
            break
        correlation = float(np.clip(found.correlation + wanted.correlation - seen.correlation, 0.0, _MOST_CORRELATED))
        found = Noise(found.std * wanted.std / seen.std, correlation)
    return found


def _rate_std(weights: LocalPolynomial, noise: Noise, t: Floats) -> Floats:
    """Standard uncertainty of slopes: correlated noise counts as (1 + rho) / (1 - rho) times its variance."""
    squares = np.asarray(weights.slope.multiply(weights.slope).sum(axis=1)).ravel()
    longer = (1.0 + noise.correlation) / (1.0 - noise.correlation)
    return np.asarray(noise.std * np.sqrt(longer * squares))


def steps_of(curve: MassCurve, choices: MassLossChoices | None = None, *, seed: int = 0) -> tuple[MassLossStep, ...]:
    """Steps of mass loss, by rising temperature; none where nothing stands out.

    A step is a stretch in which mass is lost faster than before and after, by more than the noise. It counts if it
    loses the smallest step or more beyond what the quiet stretch before it, or the slower of its ends, loses meanwhile.
    """
    choices = choices or MassLossChoices()
    spans = _spans(curve)
    rng = np.random.default_rng(seed)
    found = []
    before = curve.places[0] + _EDGE
    for begin, top, end in spans:
        step = _measured(curve, choices, before, (begin, top, end), rng)
        if step is not None:
            found.append(step)
            before = step.steepest.value
    return tuple(found)


def _spans(curve: MassCurve) -> list[tuple[int, int, int]]:
    """Begin, steepest place and end of the stretches in which mass is lost faster than around them."""
    from scipy.signal import find_peaks

    loss = -curve.rate
    tops, found = find_peaks(loss, prominence=_SEEN * np.median(curve.rate_std), height=0.0)
    spans = []
    for number, top in enumerate(tops):
        low = 0 if number == 0 else tops[number - 1]
        high = loss.size if number == tops.size - 1 else tops[number + 1] + 1
        begin = _limit(loss, range(top, low - 1, -1), found["prominences"][number])
        end = _limit(loss, range(top, high), found["prominences"][number])
        spans.append((begin, int(top), end))
    return spans


def _limit(loss: Floats, way: range, prominence: float) -> int:
    """The first place on the way from a top at which next to nothing of it is left, or else the lowest."""
    values = loss[list(way)]
    base = values[0] - prominence
    gone = np.flatnonzero(values <= base + _RISEN * prominence)
    return way[int(gone[0])] if gone.size else way[int(np.argmin(values))]


def _measured(
    curve: MassCurve,
    choices: MassLossChoices,
    before: float,
    span: tuple[int, int, int],
    rng: np.random.Generator,
) -> MassLossStep | None:
    """Numbers of a step, less what noise adds to them; what smoothing does is systematic."""
    begin, _, end = span
    tangent = _around_steepest(curve, span)
    last = float(tangent.places[0])
    if choices.baseline is not None and choices.baseline[1] <= last:
        blocks = _blocks(curve, *choices.baseline, choices.baseline[1] - choices.baseline[0])
    else:
        blocks = _blocks(curve, before, last, min(choices.quiet, 0.5 * (last - before)))
    if blocks is None:
        return None
    numbers = _numbers(curve, curve.mass, span, blocks, tangent)
    drawn = curve.noise.drawn(curve.temperature.size, _REPETITIONS, rng)
    smoothed = np.interp(curve.temperature, curve.places, curve.smooth)
    repeated = [_numbers(curve, smoothed + drawn[:, k], span, blocks, tangent) for k in range(_REPETITIONS)]
    again = _numbers(curve, smoothed, span, blocks, tangent)
    table = np.stack(repeated)
    # noise makes the steepest steeper and the quietest quieter; smoothing once more does to the curve what it did
    drawn_off = table.mean(axis=0) - again
    drawn_off[_DEFLECTION] = 0.0  # it scatters to one side: its mean says nothing of where noise has moved it
    values, std, shift = numbers - drawn_off, table.std(axis=0, ddof=1), np.abs(again - numbers)
    loss, onset, deflection, steepest, rate = (
        Estimate(*map(float, one)) for one in zip(values, std, shift, strict=True)
    )
    # a stated baseline may be steep with another step's loss: then the step is one by what it loses beside its ends
    if max(loss.value, _loss_beside(curve, span)) < max(choices.smallest_step, _SEEN * loss.std):
        return None
    slope, level = map(float, _quiet_line(blocks, curve.mass).line)
    ends = float(curve.places[begin]), float(curve.places[end])
    return MassLossStep(*ends, loss, onset, deflection, steepest, rate, (slope, level))


def _loss_beside(curve: MassCurve, span: tuple[int, int, int]) -> float:
    """What is lost between begin and end beyond a loss as slow as at the slower of both."""
    begin, _, end = span
    slower = max(min(-curve.rate[begin], -curve.rate[end]), 0.0)
    return float(curve.smooth[begin] - curve.smooth[end] - slower * (curve.places[end] - curve.places[begin]))


def _around_steepest(curve: MassCurve, span: tuple[int, int, int]) -> LocalPolynomial:
    """Weights for the tangent: windows as wide as the step is, for which noise and flattening are both small."""
    begin, top, end = span
    loss = -curve.rate[begin : end + 1]
    low = loss < 0.5 * (loss.max() + float(np.quantile(loss, 0.1)))
    before, after = np.flatnonzero(low[: top - begin]), np.flatnonzero(low[top - begin :])
    first = before[-1] + 1 if before.size else 0
    last = top - begin + (after[0] if after.size else loss.size - (top - begin))
    width = float(curve.places[1] - curve.places[0]) * float(last - first)
    half_width = max(_WINDOW * width, _POINTS * float(np.median(np.diff(curve.temperature))))
    reach = 0.3 * width
    middle = float(curve.places[top])
    ends = max(middle - reach, float(curve.temperature[0])), min(middle + reach, float(curve.temperature[-1]))
    return local_polynomial(curve.temperature, np.linspace(*ends, _TANGENTS), half_width, order=_ORDER)


@dataclass(frozen=True, eq=False)
class _Blocks:
    """Means of the mass over stretches of temperature before a step, each with its uncertainty, (block,)."""

    edges: NDArray[np.int64]
    place: Floats
    std: Floats

    def means(self, mass: Floats) -> Floats:
        """Of a record."""
        return np.asarray(np.add.reduceat(mass, self.edges)[:-1] / np.diff(self.edges))


def _blocks(curve: MassCurve, before: float, last: float, width: float) -> _Blocks | None:
    """Blocks, of which a stretch of ``width`` has `_BLOCKS`; None without room."""
    size = max(width, 1e-6) / _BLOCKS
    number = int((last - before) / size + 1e-9)
    edges = np.unique(np.searchsorted(curve.temperature, before + size * np.arange(number + 1)))
    counts = np.diff(edges)
    if counts.size < _BLOCKS or counts.min() < 1:
        return None
    place = np.add.reduceat(curve.temperature, edges)[:-1]
    longer = (1.0 + curve.noise.correlation) / (1.0 - curve.noise.correlation)
    return _Blocks(edges, place / counts, curve.noise.std * np.sqrt(longer / counts) + 1e-12)


@dataclass(frozen=True, eq=False)
class _Quiet:
    """Slope and intercept of a line, where its stretch begins, its middle, and how sure slope and middle height are."""

    line: Floats
    first: float
    middle: float
    slope_std: float
    height_std: float

    def std(self, places: Floats) -> Floats:
        """Standard uncertainty of the line at places."""
        return np.asarray(np.hypot(self.height_std, self.slope_std * (places - self.middle)))


def _quiet_line(blocks: _Blocks, mass: Floats) -> _Quiet:
    """The line through the quietest stretch.

    Stretches that lose as little as the least one, as far as noise can tell, count as well: a choice of one would be
    drawn to where noise happens to look quietest.
    """
    ones = np.full(_BLOCKS, 1.0 / _BLOCKS)
    x, y = blocks.place - blocks.place.mean(), blocks.means(mass)
    mean_x, mean_y = np.correlate(x, ones, "valid"), np.correlate(y, ones, "valid")
    spread = np.correlate(x * x, ones, "valid") - mean_x**2
    slopes = (np.correlate(x * y, ones, "valid") - mean_x * mean_y) / spread
    levels = mean_y - slopes * (mean_x + blocks.place.mean())
    std = np.median(blocks.std) / np.sqrt(_BLOCKS * np.median(spread))
    weight = np.exp(-0.5 * ((slopes.max() - slopes) / std) ** 2)
    weight /= weight.sum()
    line = np.array([weight @ slopes, weight @ levels])
    height_std = float(np.median(blocks.std) / np.sqrt(_BLOCKS))
    middle = float(weight @ mean_x) + float(blocks.place.mean())
    return _Quiet(line, float(blocks.place[int(np.argmax(weight))]), middle, float(std), height_std)


def _numbers(
    curve: MassCurve,
    mass: Floats,
    span: tuple[int, int, int],
    blocks: _Blocks,
    tangent: LocalPolynomial,
) -> Floats:
    """Loss, extrapolated onset, first deflection, steepest place, and rate there, of one curve of masses."""
    begin, _, end = span
    smooth = curve.weights.value @ mass
    steepest, slope = _lowest(tangent.places, tangent.slope @ mass)
    value = float(np.interp(steepest, tangent.places, tangent.value @ mass))
    quiet = _quiet_line(blocks, mass)
    line = quiet.line
    onset = (value - slope * steepest - line[1]) / (line[0] - slope)
    lost = smooth[begin] - smooth[end] + line[0] * (curve.places[end] - curve.places[begin])
    return np.array([lost, onset, _deflection(curve, smooth, quiet, steepest), steepest, -slope])


def _lowest(x: Floats, y: Floats) -> tuple[float, float]:
    """Place and value of the lowest of a curve, by the parabola through its three lowest places."""
    k = int(np.clip(np.argmin(y), 1, y.size - 2)) if y.size > 2 else int(np.argmin(y))
    if not 0 < k < y.size - 1:
        return float(x[k]), float(y[k])
    step = float(x[1] - x[0])
    below, here, above = y[k - 1 : k + 2]
    bend = above - 2 * here + below
    offset = 0.0 if bend <= 0 else float(np.clip(0.5 * (below - above) / bend, -1, 1))
    return float(x[k]) + offset * step, float(here - 0.25 * (below - above) * offset)


def _deflection(curve: MassCurve, smooth: Floats, quiet: _Quiet, steepest: float) -> float:
    """Where the smoothed mass has left the line by more than noise, and does not come back before the steepest.

    What is allowed holds the noise of the mass and that of the line, which grows away from its stretch.
    """
    after, line = (curve.places >= quiet.first) & (curve.places <= steepest), quiet.line
    below = line[1] + line[0] * curve.places[after] - smooth[after]
    squares = np.asarray(curve.weights.value.multiply(curve.weights.value).sum(axis=1)).ravel()[after]
    longer = (1.0 + curve.noise.correlation) / (1.0 - curve.noise.correlation)
    allowed = _LEFT * np.hypot(curve.noise.std * np.sqrt(longer * squares), quiet.std(curve.places[after]))
    within = np.flatnonzero(below <= allowed)
    if not within.size or within[-1] + 1 >= below.size:
        return float(curve.places[after][0])
    k = int(within[-1])
    excess = (below - allowed)[k : k + 2]
    share = float(excess[0] / (excess[0] - excess[1]))
    return float(curve.places[after][k] + share * (curve.places[1] - curve.places[0]))


def oxygen_lost(
    *, loss: ArrayLike, loss_std: ArrayLike, formula_mass: float, formula_mass_std: float = 0.0
) -> Estimate:
    """Oxygen atoms lost per formula unit: loss / 100 * M / M(O), if oxygen is all that is lost.

    ``loss`` in per cent of the mass of the dry starting material, ``formula_mass`` M of that material in g/mol.
    """
    atoms = np.asarray(loss, dtype=np.float64) / 100.0 * formula_mass / OXYGEN_MASS
    relative = np.hypot(
        np.asarray(loss_std, dtype=np.float64) / np.asarray(loss, dtype=np.float64), formula_mass_std / formula_mass
    )
    return Estimate(float(atoms), float(np.abs(atoms) * relative))


OXYGEN_MASS = 15.999
"""Standard atomic weight of oxygen, g/mol; IUPAC 2021."""


def oxygen_limits(*, lithium: float) -> tuple[float, float]:
    """Oxygen atoms that Li_x M O2 loses to become spinel, and rock salt.

    All of it (Li_x M)_3 O4: 2 - 4 (1 + x) / 3; all of it (Li_x M) O: 2 - (1 + x). x = ``lithium`` per metal atom.
    """
    return 2.0 - 4.0 * (1.0 + lithium) / 3.0, 1.0 - lithium
