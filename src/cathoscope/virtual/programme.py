"""What the furnace does: temperature against time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import CathoscopeError

ROOM = 25.0  # degC
MINUTE = 60.0  # s


@dataclass(frozen=True)
class Programme:
    """Straight lines between ``times`` (s, ascending from 0) and ``temperatures`` (degC) there.

    ``holds`` are the intervals (start, end) of constant temperature at which something is measured.
    """

    times: tuple[float, ...]
    temperatures: tuple[float, ...]
    holds: tuple[tuple[float, float], ...] = ()

    def temperature(self, time: ArrayLike) -> NDArray[np.float64]:
        """Temperature (degC) at ``time`` (s)."""
        return np.asarray(np.interp(np.asarray(time, dtype=np.float64), self.times, self.temperatures))

    def steps(self, *, kelvin: float, must_hold: Sequence[float] = ()) -> NDArray[np.float64]:
        """Ends of time steps (s), from 0: at most ``kelvin`` each in ramps, five times that below 100 degC, where
        nothing moves; in holds each twice as long as the one before, up to a twentieth of the hold. Every time of
        ``must_hold`` is the end of a step.
        """
        ends = {0.0, *self.times, *must_hold}
        for start, end in zip(self.times[:-1], self.times[1:], strict=True):
            if self._changes(start, end):
                ends |= set(self._ramp_ends(start, end, kelvin))
            else:
                longest = (end - start) / _STEPS_OF_HOLD if self.temperature(end) > _COLD else np.inf
                ends |= set(_hold_ends(start, end, longest))
        return np.array(sorted(time for time in ends if time <= self.times[-1]))

    def _changes(self, start: float, end: float) -> bool:
        return bool(self.temperature(start) != self.temperature(end))

    def _ramp_ends(self, start: float, end: float, kelvin: float) -> list[float]:
        first, last = (float(self.temperature(time)) for time in (start, end))
        cold = np.arange(first, min(_COLD, last), 5 * kelvin)
        warm = np.arange(max(first, _COLD), last, kelvin)
        reached = np.concatenate([cold, warm])
        return list(start + (reached - first) / (last - first) * (end - start))


def _hold_ends(start: float, end: float, longest: float) -> list[float]:
    """Steps that double in length until they are ``longest``."""
    lengths: list[float] = []
    reached = start
    while reached < end:
        lengths.append(min(_FIRST_OF_HOLD * 2.0 ** len(lengths), longest))
        reached += lengths[-1]
    return [float(time) for time in start + np.cumsum(lengths) if time < end]


_COLD = 100.0  # degC
_FIRST_OF_HOLD = 10.0  # s
_STEPS_OF_HOLD = 20  # at least


def tomography_programme(temperatures: Sequence[float], *, rate: float = 10.0, hold: float = 60.0) -> Programme:
    """Ramps of ``rate`` (degC/min) between holds of ``hold`` (min) at ascending ``temperatures`` (degC).

    Raises
    ------
    CathoscopeError
        If the temperatures do not ascend from room temperature, or rate or hold are not positive.
    """
    _require_positive(rate=rate, hold=hold)
    if not len(temperatures) or not np.all(np.diff([ROOM - 1e-9, *temperatures]) > 0):
        raise CathoscopeError(
            "a heating series needs ascending temperatures",
            expected=f"{ROOM:g} degC or more, for example 25, 150, 200, 250",
            found=", ".join(f"{value:g}" for value in temperatures) or "none",
        )
    times, path, holds = [0.0], [ROOM], []
    for temperature in temperatures:
        if temperature > path[-1]:
            times.append(times[-1] + (temperature - path[-1]) / rate * MINUTE)
            path.append(temperature)
        holds.append((times[-1], times[-1] + hold * MINUTE))
        times.append(holds[-1][1])
        path.append(temperature)
    return Programme(tuple(times), tuple(path), tuple(holds))


def ramp_programme(*, rate: float, end: float) -> Programme:
    """Heating from room temperature to ``end`` (degC) at ``rate`` (degC/min).

    Raises
    ------
    CathoscopeError
        If the rate is not positive or the end not above room temperature.
    """
    _require_positive(rate=rate)
    if not end > ROOM:
        raise CathoscopeError("a ramp must heat", expected=f"an end above {ROOM:g} degC", found=f"{end:g} degC")
    return Programme((0.0, (end - ROOM) / rate * MINUTE), (ROOM, end))


def _require_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise CathoscopeError(f"the {name} of a programme must be positive", found=f"{value:g}", cure=f"{name}=10")
