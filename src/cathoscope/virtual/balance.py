"""What a balance and a calorimeter record of a heated particle's oxide: weight and heat flow along a ramp.

The mass that is lost, and how far both reactions have gone, come from the transport of oxygen in the particle
(`heating.heat`). The balance adds the buoyancy of crucible and sample, which grows as the gas thins, a slow drift and
noise; the calorimeter the heat capacity, a bent baseline, the lag of its sensor and noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cathoscope.physics.kinetics import ZERO_CELSIUS
from cathoscope.virtual.heating import Track

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Balance:
    """A thermobalance.

    Attributes
    ----------
    buoyancy
        Weight that the cold gas carries, mg; what a hot gas no longer carries shows as a gain.
    drift
        Of the balance, mg per hour.
    noise
        Standard deviation of a point, mg.
    """

    buoyancy: float = 0.06
    drift: float = 0.004
    noise: float = 0.0015

    def weight(self, true: Array, time: Array, temperature: Array, rng: np.random.Generator) -> Array:
        """What it shows of masses (mg) at times (s) and temperatures (degC)."""
        cold = temperature[0] + ZERO_CELSIUS
        lift = self.buoyancy * (1.0 - cold / (temperature + ZERO_CELSIUS))
        return np.asarray(true + lift + self.drift * time / 3600.0 + self.noise * rng.standard_normal(true.size))


@dataclass(frozen=True)
class Calorimeter:
    """A heat-flow calorimeter; enthalpies in J per g of the charged oxide, positive if taken up.

    Attributes
    ----------
    spinel, later
        Enthalpy of the layered-to-spinel transition and of the later loss of oxygen, J/g.
    heat_capacity
        Of sample and crucible less that of the reference, J/(g K).
    bend
        Of the baseline, mW over 300 K squared.
    lag
        Time constant of the sensor, s.
    noise
        Standard deviation of a point, mW.
    """

    spinel: float = -110.0
    later: float = -60.0
    heat_capacity: float = 0.15
    bend: float = 0.15
    lag: float = 6.0
    noise: float = 0.004

    def heat_flow(self, track: Track, time: Array, mass: float, rng: np.random.Generator) -> Array:
        """Heat flow into ``mass`` (mg) at even times (s), mW."""
        temperature = np.interp(time, track.time, track.temperature)
        heat = self.spinel * track.spinel + self.later * track.later  # J/g
        flow = mass * _joined(track.time, heat).derivative()(time)  # mg J/(g s) is mW
        flow += mass * self.heat_capacity * np.gradient(temperature, time)
        flow += self.bend * ((temperature - temperature[0]) / 300.0) ** 2
        return lagged(flow, time, self.lag) + self.noise * rng.standard_normal(time.size)


def lagged(signal: Array, time: Array, lag: float) -> Array:
    """The signal as a sensor of first order shows it, for even times (s); it starts settled."""
    keep = float(np.exp(-(time[1] - time[0]) / lag))
    shown = np.empty_like(signal)
    shown[0] = signal[0]
    for k in range(1, signal.size):
        shown[k] = keep * shown[k - 1] + (1.0 - keep) * signal[k]
    return shown


def smoothed_mass(track: Track, time: Array) -> Array:
    """Per cent of the starting mass that is left at times (s): the track's steps joined without corners."""
    return np.asarray(100.0 - _joined(track.time, track.mass_loss)(time))


def _joined(time: Array, values: Array) -> Any:
    """A curve through the steps of a track, without corners in its slope, that rises where they rise.

    The slopes at the steps are those of the cubic spline, cut to three times the lesser of the two beside: Dougherty,
    Edelman and Hyman, Math. Comp. 52, 471 (1989), eq. 4.1. Where nothing is cut this is the spline. Slopes from two
    neighbours alone wave from step to step by a per cent, and the steepest tangent would be that of a wave.
    """
    from scipy.interpolate import CubicHermiteSpline, CubicSpline

    slope = CubicSpline(time, values)(time, 1)
    rises = np.diff(values) / np.diff(time)
    before, after = np.concatenate([rises[:1], rises]), np.concatenate([rises, rises[-1:]])
    reach = 3.0 * np.where(before * after > 0, np.minimum(np.abs(before), np.abs(after)), 0.0)
    sign = np.sign(before)
    return CubicHermiteSpline(time, values, sign * np.clip(sign * slope, 0.0, reach), extrapolate=True)


def rapid_loss_onset(temperature: Array, left: Array, *, after: float, baseline: tuple[float, float]) -> float:
    """Where the steepest tangent above ``after`` meets the line through the curve between ``baseline``; all in degC.

    On a curve without noise, (point,), fine and even in temperature.
    """
    slope = np.gradient(left, temperature)
    above = np.flatnonzero(temperature > after)
    steepest = int(above[np.argmin(slope[above])])
    inside = (temperature >= baseline[0]) & (temperature <= baseline[1])
    line = np.polyfit(temperature[inside], left[inside], 1)
    reached = left[steepest] - slope[steepest] * temperature[steepest]
    return float((line[1] - reached) / (slope[steepest] - line[0]))
