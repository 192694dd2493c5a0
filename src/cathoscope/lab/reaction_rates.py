"""Activation energies from records at several heating rates, and Avrami's law of a conversion in time.

Each method is a straight line whose slope carries the answer; its uncertainty is that of the scatter about the line, or
that of stated uncertainties where they are larger. Temperatures are in degC outside, in K in the laws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.physics.kinetics import GAS_CONSTANT, ZERO_CELSIUS

Floats = NDArray[np.float64]

_FEWEST = 3


@dataclass(frozen=True)
class Line:
    """A straight line y = intercept + slope x through points, with the covariance of both."""

    slope: Estimate
    intercept: Estimate
    covariance: float
    count: int


@dataclass(frozen=True)
class Activation:
    """Activation energy in kJ/mol and logarithm of the frequency factor in 1/min; NaN where a method gives none."""

    energy: Estimate
    log_frequency: Estimate
    count: int


def straight_line(x: ArrayLike, y: ArrayLike, y_std: ArrayLike | None = None) -> Line:
    """Least squares; with ``y_std`` weighted, and the uncertainties widened where the scatter is larger.

    Raises
    ------
    MeasurementError
        With fewer than 3 points, or points at one place.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.size < _FEWEST or np.ptp(x) == 0 or not (np.isfinite(x) & np.isfinite(y)).all():
        raise MeasurementError(
            "a line needs points",
            expected=f"{_FEWEST} or more different ones that are numbers",
            found=f"{x.size} points, {np.unique(x).size} different",
        )
    weight = np.ones_like(x) if y_std is None else 1.0 / np.asarray(y_std, dtype=np.float64) ** 2
    design = np.stack([np.ones_like(x), x - x.mean()], axis=1)
    inverse = np.linalg.inv((design * weight[:, None]).T @ design)
    (middle, slope) = inverse @ (design * weight[:, None]).T @ y
    residual = y - middle - slope * (x - x.mean())
    scatter = float(weight @ residual**2) / (x.size - 2)
    covariance = inverse * (scatter if y_std is None else max(scatter, 1.0))
    shift = np.array([[1.0, -x.mean()], [0.0, 1.0]])
    covariance = shift @ covariance @ shift.T
    std = np.sqrt(np.diag(covariance))
    return Line(
        Estimate(float(slope), float(std[1])),
        Estimate(float(middle - slope * x.mean()), float(std[0])),
        float(covariance[0, 1]),
        int(x.size),
    )


def kissinger(*, rates: ArrayLike, peaks: ArrayLike, peaks_std: ArrayLike | None = None) -> Activation:
    """Activation energy from peak temperatures (degC) at heating rates (K/min).

    ln(beta / Tp^2) = ln(A R / E) - E / (R Tp); Kissinger, Anal. Chem. 29 (1957) 1702. Exact for first-order reactions.
    """
    beta, kelvin = np.asarray(rates, dtype=np.float64), np.asarray(peaks, dtype=np.float64) + ZERO_CELSIUS
    inverse = 1000.0 / (GAS_CONSTANT * kelvin)  # mol/kJ
    rough = -np.polyfit(inverse, np.log(beta / kelvin**2), 1)[0] if beta.size > 1 else 0.0
    std = None
    if peaks_std is not None:
        # an error of a peak moves its place along the line and the ordinate at once
        std = np.abs(rough * inverse - 2.0) / kelvin * np.asarray(peaks_std, dtype=np.float64)
    line = straight_line(inverse, np.log(beta / kelvin**2), std)
    energy = -line.slope.value
    log_frequency = line.intercept.value + np.log(1000.0 * energy / GAS_CONSTANT)
    variance = line.intercept.std**2 + (line.slope.std / energy) ** 2 - 2.0 * line.covariance / energy
    return Activation(
        Estimate(energy, line.slope.std), Estimate(float(log_frequency), float(np.sqrt(max(variance, 0.0)))), line.count
    )


def temperatures_of_conversion(temperature: Floats, conversion: Floats, levels: ArrayLike) -> Floats:
    """Temperatures (degC) at which a rising conversion first reaches ``levels``; NaN where it does not."""
    top = np.maximum.accumulate(conversion)
    rising = np.concatenate([[True], np.diff(top) > 0])
    return np.asarray(
        np.interp(np.asarray(levels, dtype=np.float64), top[rising], temperature[rising], left=np.nan, right=np.nan)
    )


def isoconversional(
    *, rates: ArrayLike, temperatures: ArrayLike, exponent: float = 2.0, slope: float = 1.0
) -> tuple[Activation, ...]:
    """Activation energy for each conversion; ``temperatures`` (degC) [rate, conversion].

    ln(beta / T^exponent) = const - slope E / (R T): exponent 2, slope 1 is Kissinger, Akahira and Sunose; exponent
    1.92, slope 1.0008 is Starink's closer approximation (Thermochim. Acta 404 (2003) 163).
    """
    beta, kelvin = np.asarray(rates, dtype=np.float64), np.asarray(temperatures, dtype=np.float64) + ZERO_CELSIUS
    none = Estimate(float("nan"), float("nan"))
    found = []
    for column in kelvin.T:
        line = straight_line(1000.0 / (GAS_CONSTANT * column), np.log(beta / column**exponent))
        found.append(Activation(Estimate(-line.slope.value / slope, line.slope.std / slope), none, line.count))
    return tuple(found)


def friedman(*, speeds: ArrayLike, temperatures: ArrayLike) -> tuple[Activation, ...]:
    """Activation energy for each conversion from speeds (1/min) and temperatures (degC), [rate, conversion].

    ln(d alpha / dt) = ln(A f(alpha)) - E / (R T); Friedman, J. Polym. Sci. C 6 (1964) 183. No approximation of an
    integral. The second number is ln(A f(alpha)).
    """
    kelvin = np.asarray(temperatures, dtype=np.float64) + ZERO_CELSIUS
    logarithm = np.log(np.asarray(speeds, dtype=np.float64))
    found = []
    for column, speed in zip(kelvin.T, logarithm.T, strict=True):
        line = straight_line(1000.0 / (GAS_CONSTANT * column), speed)
        found.append(Activation(Estimate(-line.slope.value, line.slope.std), line.intercept, line.count))
    return tuple(found)


def avrami(*, time: ArrayLike, conversion: ArrayLike) -> tuple[Estimate, Estimate]:
    """Exponent n and rate k (1/s) of 1 - exp(-(k t)^n) for an isothermal conversion at times (s).

    ln(-ln(1 - alpha)) = n ln k + n ln t, between conversions of 5 % and 95 %; Avrami, J. Chem. Phys. 7 (1939) 1103.
    """
    t, alpha = np.asarray(time, dtype=np.float64), np.asarray(conversion, dtype=np.float64)
    inside = (alpha > 0.05) & (alpha < 0.95) & (t > 0)
    line = straight_line(np.log(t[inside]), np.log(-np.log1p(-alpha[inside])))
    n, at = line.slope.value, line.intercept.value / line.slope.value
    variance = line.intercept.std**2 + (at * line.slope.std) ** 2 - 2.0 * at * line.covariance
    return line.slope, Estimate(float(np.exp(at)), float(np.exp(at) * np.sqrt(max(variance, 0.0)) / abs(n)))
