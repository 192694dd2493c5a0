r"""Differential capacity dQ/dV of a half cycle, on a uniform grid of voltages.

Noise makes the voltage of a record go back and forth, so that Q is no function of V. Rows are therefore put in order of
their voltage: Q(V) is then the charge that passed below V, which only grows. It is smoothed with a Gaussian of the
standard deviation s, which is stated, and differentiated:

    f(V)   = sum_i q_i K(V - V_i),                 q_i: charge of row i, K: Gaussian of the width s
    std f  = c sigma_V (sum_i q_i² K'(V - V_i)²)^½, the noise sigma_V of the voltage carried over;
             c² = 2 s²/sigma_V² (1 - s/(s² + sigma_V²)^½) makes it exact to all orders where f is level
    bias   = f(s sqrt 2) - f(s) = s²/2 f'',        what the smoothing takes away, to first order

A maximum of f lies where f' = 0: its place has the standard uncertainty std f' / |f''|. The integral of f is the
charge. Noise is what differs from the curve smoothed over s; where it is the same in several rows it counts for more,
as their mean has less of an advantage.

References
----------
.. [1] V. Chernozhukov, I. Fernández-Val, A. Galichon, Biometrika 96 (2009) 559 (ordering as a way to monotonic curves).
.. [2] M. Dubarry, C. Truchot, B. Y. Liaw, J. Power Sources 219 (2012) 204 (what dQ/dV tells of a cell).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cathoscope.core.errors import MeasurementError
from cathoscope.lab.half_cycles import HalfCycles, noise_of, row_times, runs_of
from cathoscope.lab.record import SECONDS_PER_HOUR, Array, Record
from cathoscope.numerics.spread import robust_std_about_median

_STEPS = 8  # of the grid in one width of smoothing
_REACH = 5  # widths to which a Gaussian is followed
_SURE = 6.0  # standard uncertainties by which a peak rises above its surroundings: noise alone makes rises of 4
_FEWEST = 20  # rows


@dataclass(frozen=True, eq=False)
class Differential:
    """dQ/dV of one half cycle.

    Attributes
    ----------
    voltage
        Uniform grid, V, ``[point]``.
    value, std, bias
        dQ/dV, its standard uncertainty, and what smoothing took from it, Ah/V, ``[point]``.
    slope_std
        Standard uncertainty of its slope, Ah/V², ``[point]``.
    smoothing
        Standard deviation of the Gaussian, V.
    noise
        Standard deviation of the noise of the voltage, V, that has the effect of the noise found if it were
        independent from row to row.
    sign
        1 for a charge, -1 for a discharge; values are above zero for both.
    """

    voltage: Array
    value: Array
    std: Array
    bias: Array
    slope_std: Array
    smoothing: float
    noise: float
    sign: int


@dataclass(frozen=True)
class Peak:
    """A maximum of dQ/dV: place and its uncertainty, V; height, its uncertainty and prominence, Ah/V."""

    voltage: float
    voltage_std: float
    height: float
    height_std: float
    prominence: float


def differential_of(record: Record, halves: HalfCycles, number: int, *, smoothing: float = 0.005) -> Differential:
    """dQ/dV of half cycle ``number`` of a record, from its rows under current; ``smoothing`` in V.

    Raises
    ------
    MeasurementError
        If there is no such half cycle, or as `differential_of_rows`.
    """
    if not 0 <= number < halves.sign.size:
        raise MeasurementError(
            "there is no such half cycle", expected=f"0 to {halves.sign.size - 1}", found=str(number)
        )
    rows = slice(halves.first[number], halves.stop[number])
    time, current = record.time[rows], record.current[rows]
    runs = runs_of(current, halves.rest_level)
    flowing = np.repeat(runs.sign != 0, runs.stop - runs.first)
    charge = np.abs(current) * row_times(time, runs) / SECONDS_PER_HOUR
    found = differential_of_rows(record.voltage[rows][flowing], charge[flowing], smoothing=smoothing)
    return Differential(**{**vars(found), "sign": int(halves.sign[number])})


def differential_of_rows(voltage: Array, charge: Array, *, smoothing: float = 0.005) -> Differential:
    """dQ/dV from the voltage, V, and the charge, Ah, of rows in order of time, ``[row]``; ``smoothing`` in V.

    Raises
    ------
    MeasurementError
        If there are fewer than 20 rows, the smoothing is not positive, or it is as wide as the range of voltage.
    """
    span = float(np.ptp(voltage)) if voltage.size else 0.0
    if voltage.size < _FEWEST or not 0 < smoothing < span / 4:
        raise MeasurementError(
            "these rows give no dQ/dV",
            expected=f"{_FEWEST} rows or more, and a smoothing above 0 and below a quarter of the range of voltage",
            found=f"{voltage.size} rows over {1e3 * span:.3g} mV, smoothed over {1e3 * smoothing:.3g} mV",
        )
    noise = _noise_of(voltage, smoothing)
    step = smoothing / _STEPS
    count = int(np.ceil(span / step))
    edges = voltage.min() + step * np.arange(count + 1)
    middle = 0.5 * (edges[1:] + edges[:-1])
    below = _charge_below(voltage, charge, edges)
    density = np.diff(below) / step
    value = _smoothed(density, _STEPS)
    return Differential(
        voltage=middle,
        value=value,
        std=_carried(noise, smoothing)
        * np.sqrt(_squares(voltage, charge, edges, smoothing, 1))
        / _inside(count, _STEPS),
        bias=_smoothed(density, _STEPS * np.sqrt(2.0)) - value,
        slope_std=noise * np.sqrt(_squares(voltage, charge, edges, smoothing, 2)),
        smoothing=float(smoothing),
        noise=noise,
        sign=1,
    )


def _carried(noise: float, smoothing: float) -> float:
    """Noise, V, times what orders beyond the first take off."""
    relative = noise / smoothing
    if relative < 1e-3:
        return noise
    return float(noise * np.sqrt(2.0 * (1.0 - 1.0 / np.hypot(1.0, relative))) / relative)


def _noise_of(voltage: Array, smoothing: float) -> float:
    """Noise, V, by the scatter of means of a third of the rows in one width of smoothing about the smoothed curve.

    Of independent noise these means scatter by a factor that follows from both weights.
    """
    white = noise_of(voltage)
    width = smoothing * voltage.size / float(np.ptp(voltage))
    block = int(width / 3)
    if block < 2 or voltage.size < 8 * _REACH * width:
        return white
    kernel = _gaussian(width)
    kernel = -kernel
    kernel[kernel.size // 2] += 1.0
    weight = np.convolve(np.full(block, 1.0 / block), kernel)
    scatter = _convolved(voltage - voltage.mean(), weight, "valid")[::block]
    return max(white, robust_std_about_median(scatter) / float(np.sqrt(weight @ weight)))


def _charge_below(voltage: Array, charge: Array, edges: Array) -> Array:
    """Charge that passed below each edge; a row is spread evenly to the rows beside it in voltage."""
    order = np.argsort(voltage, kind="stable")
    ordered, passed = voltage[order], np.cumsum(charge[order])
    total = passed[-1]
    places, same = np.unique(ordered, return_index=True)
    until = np.append(passed[same[1:] - 1], total)  # charge up to and with each voltage
    own = np.diff(until, prepend=0.0)
    found = np.interp(edges, places, until - own / 2)
    found[0], found[-1] = 0.0, total
    return np.asarray(found)


def _smoothed(density: Array, width: float) -> Array:
    """Mean with the weights of a Gaussian of ``width`` steps; at the ends of what lies within."""
    return _convolved(density, _gaussian(width)) / _inside(density.size, width)


def _gaussian(width: float) -> Array:
    reach = int(np.ceil(_REACH * width))
    weight = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    return np.asarray(weight / weight.sum())


def _inside(count: int, width: float) -> Array:
    """Share of the Gaussian that lies within the range."""
    return _convolved(np.ones(count), _gaussian(width))


def _convolved(values: Array, weight: Array, mode: str = "same") -> Array:
    from scipy.signal import fftconvolve  # takes long to load

    return np.asarray(fftconvolve(values, weight, mode=mode))


def _squares(voltage: Array, charge: Array, edges: Array, width: float, order: int) -> Array:
    """Sum of (q K^(order))² at the middle of each bin; K is the Gaussian of ``width`` V."""
    step = edges[1] - edges[0]
    weight = np.histogram(voltage, edges, weights=charge**2)[0]
    reach = int(np.ceil(_REACH * width / step))
    z = np.arange(-reach, reach + 1) * step / width
    bell = np.exp(-0.5 * z**2) / (width * np.sqrt(2 * np.pi))
    shape = bell * (-z / width if order == 1 else (z**2 - 1) / width**2)
    return np.asarray(np.maximum(_convolved(weight, shape**2), 0.0))


def peaks_of(curve: Differential, *, sure: float = _SURE) -> tuple[Peak, ...]:
    """Maxima that rise above their surroundings by ``sure`` standard uncertainties, in order of voltage."""
    from scipy.signal import find_peaks  # takes long to load

    f, step = curve.value, curve.voltage[1] - curve.voltage[0]
    at, found = find_peaks(f, prominence=0.0)
    kept = []
    for place, prominence in zip(at, found["prominences"], strict=True):
        if prominence <= sure * curve.std[place]:
            continue
        bend = (f[place + 1] - 2 * f[place] + f[place - 1]) / step**2
        move = -(f[place + 1] - f[place - 1]) / (2 * step) / bend
        kept.append(
            Peak(
                float(curve.voltage[place] + move),
                float(curve.slope_std[place] / abs(bend)),
                float(f[place]),
                float(curve.std[place]),
                float(prominence),
            )
        )
    return tuple(kept)
