"""Differential scanning calorimetry: baseline, peak, extrapolated onset and enthalpy of a heat effect.

Heat flow is positive where the sample takes heat up. The enthalpy is the integral over *time* of the heat flow above
the baseline (ASTM E793); the onset is where the tangent of the steepest flank meets the baseline (ISO 11357-1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.numerics.local_polynomial import LocalPolynomial, local_polynomial, noise_of

Floats = NDArray[np.float64]
Baseline = Literal["linear", "sigmoid"]

_REPETITIONS = 40
_POINTS = 8.0  # least half-width of windows in points
_WINDOW = 0.45  # half-width of windows over the width of the effect
_ORDER = 5  # of the local polynomials: flanks are not flattened
_PLACES = 401
_SETTLED = 1e-6
_MOST_PASSES = 30


@dataclass(frozen=True)
class HeatEffect:
    """One heat effect: temperatures in degC, enthalpy in J/g (positive: endothermic), heat flow in mW."""

    enthalpy: Estimate
    onset: Estimate
    peak: Estimate
    height: Estimate
    baseline: Floats


def heat_effect(
    time: ArrayLike,
    temperature: ArrayLike,
    heat_flow: ArrayLike,
    *,
    mass: float,
    limits: tuple[float, float],
    baseline: Baseline = "linear",
    seed: int = 0,
) -> HeatEffect:
    """The heat effect of a ramp between two temperatures (degC) at which there is none.

    Parameters
    ----------
    time, temperature, heat_flow
        s, degC and mW of the ramp, (point,), ascending temperature.
    mass
        Of the sample, mg.
    limits
        Where the baseline is left and met again.
    baseline
        A line, or what turns from one tangent's level to the other's as the reaction goes on.

    Raises
    ------
    MeasurementError
        If the limits hold too few points, lie outside, or the mass is not positive.
    """
    t, kelvin, flow = (np.asarray(one, dtype=np.float64) for one in (time, temperature, heat_flow))
    inside = np.flatnonzero((kelvin >= limits[0]) & (kelvin <= limits[1]))
    if inside.size < 20 or not mass > 0 or not kelvin[0] <= limits[0] < limits[1] <= kelvin[-1]:
        raise MeasurementError(
            "no heat effect can be measured",
            expected="20 points or more between limits within the record, and a mass above 0",
            found=f"{inside.size} points from {limits[0]:g} to {limits[1]:g} C, {mass:g} mg",
        )
    piece = slice(int(inside[0]), int(inside[-1]) + 1)
    t, kelvin, flow = t[piece], kelvin[piece], flow[piece]
    weights = _windows(t, kelvin, flow, limits, baseline)
    smooth = np.interp(kelvin, weights.places, weights.value @ flow)
    noise = noise_of(flow - smooth)
    numbers, base = _numbers(t, kelvin, flow, weights, mass, baseline)
    again, _ = _numbers(t, kelvin, smooth, weights, mass, baseline)
    drawn = noise.drawn(t.size, _REPETITIONS, np.random.default_rng(seed))
    repeated = np.stack(
        [_numbers(t, kelvin, smooth + drawn[:, k], weights, mass, baseline)[0] for k in range(_REPETITIONS)]
    )
    # noise makes the steepest flank steeper; smoothing once more does to the curve what it did
    numbers, std, shift = numbers - (repeated.mean(axis=0) - again), repeated.std(axis=0, ddof=1), abs(again - numbers)
    enthalpy, onset, peak, height = (Estimate(*map(float, one)) for one in zip(numbers, std, shift, strict=True))
    return HeatEffect(enthalpy, onset, peak, height, base)


def _windows(t: Floats, kelvin: Floats, flow: Floats, limits: tuple[float, float], kind: Baseline) -> LocalPolynomial:
    """Weights of windows about as wide as the effect is at half its height."""
    above = np.abs(flow - _baseline(t, flow, kind))
    high = np.flatnonzero(above >= 0.5 * np.quantile(above, 0.995))
    width = float(kelvin[high[-1]] - kelvin[high[0]])
    half_width = max(_POINTS * float(np.median(np.diff(kelvin))), _WINDOW * width)
    places = np.linspace(limits[0], limits[1], _PLACES)
    return local_polynomial(kelvin, places, half_width, order=_ORDER)


def _numbers(
    t: Floats, kelvin: Floats, flow: Floats, weights: LocalPolynomial, mass: float, kind: Baseline
) -> tuple[Floats, Floats]:
    """Enthalpy, onset, place and height of the peak, and the baseline."""
    base = _baseline(t, flow, kind)
    above = flow - base
    energy = float(np.trapezoid(above, t))  # mW s = mJ
    sign = 1.0 if energy >= 0 else -1.0
    smooth = sign * (weights.value @ above)
    slope = sign * (weights.slope @ above)
    top = int(np.argmax(smooth))
    flank = int(np.argmax(slope[: top + 1]))
    onset = weights.places[flank] - smooth[flank] / slope[flank] if slope[flank] > 0 else weights.places[0]
    peak, height = _highest(weights.places, smooth, top)
    return np.array([energy / mass, onset, peak, sign * height]), base


def _highest(x: Floats, y: Floats, k: int) -> tuple[float, float]:
    if not 0 < k < y.size - 1:
        return float(x[k]), float(y[k])
    bend = y[k + 1] - 2 * y[k] + y[k - 1]
    offset = 0.5 * (y[k - 1] - y[k + 1]) / bend if bend < 0 else 0.0
    return float(x[k] + offset * (x[1] - x[0])), float(y[k] - 0.25 * (y[k - 1] - y[k + 1]) * offset)


def _baseline(t: Floats, flow: Floats, kind: Baseline) -> Floats:
    """From the level at the begin to that at the end: along a line, or with the share of heat that has flowed."""
    ends = max(3, t.size // 40)
    first, last = float(flow[:ends].mean()), float(flow[-ends:].mean())
    begin, end = float(t[:ends].mean()), float(t[-ends:].mean())
    base: Floats = np.asarray(first + (last - first) * (t - begin) / (end - begin))
    if kind == "linear":
        return base
    steps = np.diff(t)
    for _ in range(_MOST_PASSES):
        above = flow - base
        heat = np.concatenate([[0.0], np.cumsum(0.5 * (above[1:] + above[:-1]) * steps)])
        if heat[-1] == 0:
            break
        moved = np.asarray(first + (last - first) * heat / heat[-1])
        settled = np.max(np.abs(moved - base)) <= _SETTLED * (abs(last - first) + 1e-300)
        base = moved
        if settled:
            break
    return base
