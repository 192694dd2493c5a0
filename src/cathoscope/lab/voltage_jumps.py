r"""Steps of the voltage within one row at constant current, such as an electron beam makes.

In windows of w rows on either side the voltage is taken for a cubic in time and, from a row i on, a step that relaxes,

    V = c0 + c1 t + c2 t² + c3 t³ + A exp(-(t - i)/tau) [t >= i] + noise,

for w of 8 to 64 rows and tau of a quarter of w to infinity. The step is told by z = A / std A, where std A is at least
the scatter of A over the whole record, which holds noise that lasts; and it must be 3.5 times the noise, and 0.3 mV.
A window counts where the fit is good: its residuals are those of noise, or less than a tenth of A. Windows never reach
over a switch of the current or a change of the time between rows, so that neither switches nor steep ends of charge,
which a cubic follows in short windows only, pass for steps.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cathoscope.lab.half_cycles import noise_of, resolution_of, runs_of
from cathoscope.lab.record import Array, Record, Rows
from cathoscope.numerics.spread import robust_std

SURE = 6.5
"""z from which a step is told: above what corners of a curve that a cubic does not follow amount to beside noise."""

_WIDTHS = (8, 16, 32, 64)
_DECAYS = (0.25, 1.0, 4.0, np.inf)  # in widths
_LEAST = 3.5  # times the noise, the smallest step that is told
SMALLEST = 3e-4
"""Step, V, below which none is told: steps of this size are made by temperature and converters."""

_EVEN = 1.7  # times or parts of the one before: a time between rows that ends a stretch
_NOISY = 1.3  # residuals over noise that still are those of noise
_MISFIT = 0.1  # of the step
_AT_ONCE = 0.3  # of the step happens between two rows
_FAST = 8.0  # rows: a step that relaxes faster looks like a corner
_SURER = 1.3  # times, for those
_ENOUGH = 200  # rows
_APART = 8  # rows between two steps
_LEVEL = 0.02  # of the current: a change by more is a switch
_STEEP = 8.0  # times the noise of the current


class Step(NamedTuple):
    """First row after the step, its size, V, how sure it is, and the time constant with which it relaxes, in rows."""

    row: int
    size: float
    z: float
    decay: float


class _Best(NamedTuple):
    z: Array
    size: Array
    decay: Array


def steps_of(record: Record, rest_level: float, *, sure: float = SURE) -> tuple[tuple[Step, ...], float]:
    """Steps of the voltage in order of time, and the noise of the voltage, V, at least the step it is written in."""
    starts = stretches_of(record, rest_level)
    noise = max(noise_of(record.voltage), resolution_of(record.voltage), 1e-12)
    best = _best(record.voltage - record.voltage.mean(), starts, noise)
    rows = np.flatnonzero(np.abs(best.z) >= sure)
    kept: list[int] = []
    taken = np.zeros(record.time.size, dtype=np.bool_)
    for row in rows[np.argsort(-np.abs(best.z[rows]))]:
        if not taken[row]:
            kept.append(int(row))
            taken[max(row - _APART, 0) : row + _APART + 1] = True
    return tuple(
        Step(row, *(float(one[row]) for one in (best.size, best.z, best.decay))) for row in sorted(kept)
    ), noise


def stretches_of(record: Record, rest_level: float) -> Rows:
    """First rows of stretches of one current and one time between rows, and the number of rows."""
    current = record.current
    runs = runs_of(current, rest_level)
    jump = np.abs(np.diff(current))
    least = np.maximum(_LEVEL * np.maximum(np.abs(current[1:]), np.abs(current[:-1])), _STEEP * noise_of(current))
    switched = np.flatnonzero(jump > np.maximum(least, rest_level / 10)) + 1
    step = np.diff(record.time)
    uneven = np.flatnonzero((step[1:] > _EVEN * step[:-1]) | (_EVEN * step[1:] < step[:-1])) + 2
    return np.unique(np.concatenate([[0], runs.first, switched, uneven, [current.size]]))


def _best(voltage: Array, starts: Rows, noise: float) -> _Best:
    """The surest step at every row over all windows and decays."""
    size = voltage.size
    length = np.diff(starts)
    since = np.arange(size) - np.repeat(starts[:-1], length)
    left = np.repeat(starts[1:], length) - np.arange(size)
    at_once = np.diff(voltage, prepend=voltage[0])
    best = _Best(np.zeros(size), np.zeros(size), np.full(size, np.inf))
    for width in _WIDTHS:
        if 2 * width > size:
            break
        fits = (since >= width) & (left >= width)
        cubic, slope = _cubic(width)
        squares = _sums(voltage**2, np.ones(2 * width)) - sum(_sums(voltage, one) ** 2 for one in cubic)
        usual: Array = sum(one_slope * _sums(voltage, one) for one_slope, one in zip(slope, cubic, strict=True))
        for decay in _DECAYS:
            unit, norm, bent = _template(cubic, slope, width, decay * width)
            part = _sums(voltage, unit)
            height = part / norm
            spread = np.sqrt(np.maximum(squares - part**2, 0.0) / (2 * width - 5))
            good = fits & (spread <= np.maximum(_NOISY * noise, _MISFIT * np.abs(height)))
            stepped = at_once - (usual - height * bent)
            good &= stepped * np.sign(height) >= _AT_ONCE * np.abs(height)
            good &= np.abs(height) >= max(_LEAST * noise, SMALLEST)
            usual_part = _scatter(part[fits & (spread <= _NOISY * noise)])
            surer = _SURER if decay * width < _FAST else 1.0
            z = np.where(good, part / np.maximum(spread, max(noise, usual_part)) / surer, 0.0)
            better = np.abs(z) > np.abs(best.z)
            for old, new in zip(best, (z, height, np.full(size, decay * width)), strict=True):
                old[better] = new[better]
    return best


def _scatter(values: Array) -> float:
    """Standard deviation by the median, of enough values to tell; else nought."""
    return robust_std(values) if values.size >= _ENOUGH else 0.0


def _cubic(width: int) -> tuple[Array, Array]:
    """Orthonormal polynomials up to the third degree in a window, ``[degree, row]``, and their slopes in its middle."""
    t = (np.arange(2 * width) - width + 0.5) / width
    basis, upper = np.linalg.qr(np.stack([np.ones_like(t), t, t**2, t**3], axis=1))
    slope = np.linalg.solve(upper.T, np.array([0.0, 1.0 / width, 0.0, 0.0]))
    return basis.T, slope


def _template(cubic: Array, slope: Array, width: int, decay: float) -> tuple[Array, float, float]:
    """What of a relaxing step of 1 V no cubic follows: its direction and length; and the slope of the cubic of it."""
    t = np.arange(2 * width) - width
    step = np.where(t >= 0, np.exp(-np.maximum(t, 0) / decay), 0.0)
    followed = cubic @ step
    own = step - cubic.T @ followed
    norm = float(np.sqrt(own @ own))
    return own / norm, norm, float(slope @ followed)


def _sums(values: Array, weights: Array) -> Array:
    """Weighted sum over the window about every row: as many rows before it as from it on; 0 where none fits."""
    from scipy.signal import oaconvolve  # takes long to load

    found = np.zeros(values.size)
    half = weights.size // 2
    found[half : values.size - half + 1] = oaconvolve(values, weights[::-1], mode="valid")
    return found
