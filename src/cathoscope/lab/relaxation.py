r"""Distribution of relaxation times of an impedance spectrum, with its peaks.

.. math:: Z(w) = R_\infty + jwL + \frac{1}{jwC} + \int \frac{\gamma(\ln\tau)}{1 + jw\tau}\, d\ln\tau

on a grid of ten time constants in a decade (the trapezoidal rule is exact to far below any noise there). Tikhonov's
penalty is on the curvature of the logarithm, so that gamma is never below zero and a sharp peak may stand on a
flat ground: :math:`\sum |Z - \hat Z|^2/s^2 + \lambda \int (d^2 \ln\gamma / d \ln\tau^2)^2\, d\ln\tau` is made least.
The usual penalty on the curvature of gamma itself splits the peak of a constant-phase arc into one with side lobes.
lambda follows from generalised cross-validation [1], or from the prediction of each of the real and the imaginary part
from the other alone [2], which fails where arcs are not closed within the frequencies.

A peak rises above the minima beside it by three standard uncertainties of its area, else it belongs to the peak beside
it. Its resistance is its part of the area: a sum of constant-phase arcs [4], one for each peak, is fitted to gamma,
which is then shared at every time constant as these arcs share their sum. Cut at the minima instead, a weak peak keeps
the tail of a strong one. Uncertainties are those of the posterior that the penalty makes, in its normal approximation
[3]; by how much the two ways to share differ is told as systematic. `arcs_of_peaks` fits arcs to the spectrum itself,
from these peaks: more exact where processes are such arcs.

References
----------
.. [1] G. H. Golub, M. Heath, G. Wahba, Technometrics 21 (1979) 215.
.. [2] M. Saccoccio, T. H. Wan, C. Chen, F. Ciucci, Electrochim. Acta 147 (2014) 470.
.. [3] F. Ciucci, C. Chen, Electrochim. Acta 167 (2015) 439.
.. [4] K. S. Cole, R. H. Cole, J. Chem. Phys. 9 (1941) 341.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import least_squares

from cathoscope.core.errors import MeasurementError
from cathoscope.lab.impedance_fit import CircuitFit, Constraints, Weighting, fit_circuit
from cathoscope.lab.impedance_spectrum import Array, ComplexArray, Spectrum, checked_spectrum
from cathoscope.numerics.estimate import Estimate

Choice = Literal["generalised", "parts"]

_FEWEST = 10  # points
_PER_DECADE, _BEYOND = 10, 0.5  # time constants; decades beyond the frequencies at either end
_LAMBDAS = np.geomspace(1e0, 1e-11, 23)  # relative to the misfit of a spectrum of size 1
_RISES = 5  # smaller lambdas that are tried after the error was least
_MOST_STEPS, _LONGEST_STEP, _REST = 60, 3.0, 1e-6
_LOWEST = -60.0  # logarithm of a value that is none
_SMALLEST_PEAK = 0.01  # of the whole area
_SURE = 3.0  # standard uncertainties that the area of a peak has at least
_ALPHA = 0.85  # of an arc, to begin with
_ALPHAS = 0.3, 0.99  # of the arcs that share gamma


class Peak(NamedTuple):
    """A process: its time constant (s) with the uncertainty of its decadic logarithm, and its resistance (ohm)."""

    time_constant: float
    log_std: float
    resistance: Estimate


@dataclass(frozen=True)
class Relaxation:
    """Distribution of relaxation times.

    Attributes
    ----------
    spectrum
        What it explains.
    time_constant
        s, rising, [time].
    density, density_std
        gamma and its uncertainty, ohm, [time]: resistance per unit of the natural logarithm.
    resistance, inductance, capacitance
        In series, ohm, H and F; the capacitance is infinite unless one is asked for.
    smoothness
        lambda.
    fitted
        ohm, [point].
    peaks
        Of at least 1 % of the whole area, by rising time constant.
    """

    spectrum: Spectrum
    time_constant: Array
    density: Array
    density_std: Array
    resistance: float
    inductance: float
    capacitance: float
    smoothness: float
    fitted: ComplexArray
    peaks: tuple[Peak, ...]

    @property
    def polarisation(self) -> float:
        """Area of the whole distribution, ohm."""
        return float(self.density.sum() * np.log(self.time_constant[1] / self.time_constant[0]))


def relaxation_times(
    *,
    frequency: ArrayLike,
    impedance: ArrayLike,
    weighting: Weighting = "modulus",
    smoothness: float | Choice = "generalised",
    capacitor: bool = False,
) -> Relaxation:
    """The distribution of relaxation times of a spectrum.

    Parameters
    ----------
    frequency, impedance
        Hz and ohm (complex), [point].
    weighting
        ``modulus``: the same relative error everywhere, or ``unit``: the same error.
    smoothness
        lambda, or how it is found: by ``generalised`` cross-validation, or between the ``parts``.
    capacitor
        Whether a capacitor in series takes what rises towards low frequencies: of an electrode that blocks.

    Raises
    ------
    MeasurementError
        If there are fewer than 10 points, the spectrum cannot be one, or is that of a resistor.
    """
    spectrum = checked_spectrum(frequency, impedance, fewest=_FEWEST)
    system = _system(spectrum, weighting, capacitor)
    if isinstance(smoothness, str):
        smoothness, logs = _cross_validated(system, smoothness)
    else:
        logs = system.first
        for one in _LAMBDAS[3.0 * smoothness < _LAMBDAS]:
            logs = _smoothest(system.rows, system.measured, one, logs, system.curvature)
        logs = _smoothest(system.rows, system.measured, smoothness, logs, system.curvature)
    values, times = np.exp(logs), system.time_constant.size
    covariance = _covariance(system, logs, smoothness)[:times, :times]
    return Relaxation(
        spectrum,
        system.time_constant,
        values[:times],
        values[:times] * np.sqrt(np.diag(covariance)),
        float(values[times]),
        float(values[times + 1]) / float(spectrum.omega[0]),
        float(1.0 / (spectrum.omega[-1] * values[times + 2])) if capacitor else float("inf"),
        float(smoothness),
        system.columns @ values,
        _peaks(system.time_constant, values[:times], covariance),
    )


def arcs_of_peaks(relaxation: Relaxation, *, weighting: Weighting = "modulus", inductor: bool = False) -> CircuitFit:
    """A resistor (and inductor) with one constant-phase arc for each peak, fitted to the spectrum from the peaks.

    Raises
    ------
    MeasurementError
        If there is no peak, or there are more parameters than numbers.
    """
    if not relaxation.peaks:
        raise MeasurementError("the distribution has no peak", expected="one process or more", found="none")
    start = {"R0": max(relaxation.resistance, 1e-6)} | ({"L0": max(relaxation.inductance, 1e-12)} if inductor else {})
    for number, peak in enumerate(relaxation.peaks, start=1):
        start |= {
            f"R{number}": peak.resistance.value,
            f"CPE{number}.alpha": _ALPHA,
            f"CPE{number}.Q": peak.time_constant**_ALPHA / peak.resistance.value,
        }
    text = "-".join(f"p(R{number},CPE{number})" for number in range(1, len(relaxation.peaks) + 1))
    return fit_circuit(
        ("L0-" if inductor else "") + f"R0-{text}",
        frequency=relaxation.spectrum.frequency,
        impedance=relaxation.spectrum.impedance,
        weighting=weighting,
        constraints=Constraints(start=start),
    )


class _System(NamedTuple):
    """The problem: columns [point, value] in ohm, weighted rows [2 x point, value] and measured values, the operator
    of the curvature [place, value], and logarithms to begin with. Values are the density, R, w_max L, 1/(w_min C)."""

    time_constant: Array
    columns: ComplexArray
    rows: Array
    measured: Array
    curvature: Array
    first: Array


def _system(spectrum: Spectrum, weighting: Weighting, capacitor: bool) -> _System:
    omega, z = spectrum.omega, spectrum.impedance
    size = float(np.ptp(z.real))
    if not size > 1e-9 * float(np.abs(z).max()):
        raise MeasurementError("the spectrum has no relaxation", expected="a real part that changes", found="none")
    beyond = _BEYOND * np.log(10.0)
    low, high = -np.log(omega[0]) - beyond, -np.log(omega[-1]) + beyond
    log_tau = np.linspace(low, high, int(np.ceil((high - low) / np.log(10.0) * _PER_DECADE)) + 1)
    step, times = log_tau[1] - log_tau[0], log_tau.size
    columns = np.empty((omega.size, times + (3 if capacitor else 2)), np.complex128)
    columns[:, :times] = step / (1.0 + 1j * omega[:, None] * np.exp(log_tau))
    columns[:, times], columns[:, times + 1] = 1.0, 1j * omega / omega[0]
    columns[:, times + 2 :] = -1j * omega[-1] / omega[:, None]
    weight = np.full(omega.size, 1.0 / size) if weighting == "unit" else 1.0 / np.abs(z)
    curvature = np.zeros((times - 2, columns.shape[1]))
    curvature[:, :times] = np.diff(np.eye(times), n=2, axis=0) / step**1.5
    first = np.full(columns.shape[1], np.log(size / (step * times)))
    first[times] = np.log(max(float(z.real.min()), 1e-3 * size))
    first[times + 1] = np.log(max(float(z[0].imag), 1e-3 * size))
    first[times + 2 :] = np.log(max(-float(z[-1].imag), 1e-3 * size))
    rows = np.concatenate([columns.real * weight[:, None], columns.imag * weight[:, None]])
    measured = np.concatenate([z.real * weight, z.imag * weight])
    return _System(np.exp(log_tau), columns, rows, measured, curvature, first)


def _cross_validated(system: _System, choice: Choice) -> tuple[float, Array]:
    """lambda of the least error of prediction, and the logarithms that it gives; from smooth to rough."""
    both, parts = system.first, (system.first, system.first)
    best, least, since = (float(_LAMBDAS[0]), both), np.inf, 0
    for one in _LAMBDAS:
        both = _smoothest(system.rows, system.measured, one, both, system.curvature)
        if choice == "generalised":
            error = _generalised_error(system, both, one)
        else:
            parts, error = _error_between_parts(system, parts, one)
        since += 1
        if error < least:
            best, least, since = (float(one), both), error, 0
        if since > _RISES:
            break
    return best


def _generalised_error(system: _System, logs: Array, smoothness: float) -> float:
    """Squared misfit over the square of the share of numbers that the distribution leaves free."""
    misfit = system.rows @ np.exp(logs) - system.measured
    used = float(np.sum(_posterior(system, logs, smoothness) * _data_normal(system, logs)))
    return float(misfit @ misfit) / max(1.0 - used / misfit.size, 1e-9) ** 2


def _error_between_parts(
    system: _System, before: tuple[Array, Array], smoothness: float
) -> tuple[tuple[Array, Array], float]:
    """Logarithms from the real part and from the imaginary part, and the error of predicting the other from each."""
    half = system.measured.size // 2
    sides = (slice(None, half), slice(half, None))
    real, imaginary = (
        _smoothest(system.rows[side], system.measured[side], smoothness, logs, system.curvature)
        for side, logs in zip(sides, before, strict=True)
    )
    by_real, by_imaginary = np.exp(real), np.exp(imaginary)
    times = system.time_constant.size
    by_real[times + 1 :], by_imaginary[times] = by_imaginary[times + 1 :], by_real[times]
    predicted = np.concatenate([system.rows[sides[0]] @ by_imaginary, system.rows[sides[1]] @ by_real])
    return (real, imaginary), float(np.sum((predicted - system.measured) ** 2))


def _smoothest(rows: Array, measured: Array, smoothness: float, logs: Array, curvature: Array) -> Array:
    """Logarithms of the values that make misfit and curvature least: Levenberg-Marquardt from ``logs``."""
    bend = smoothness * curvature.T @ curvature

    def total(at: Array) -> tuple[float, Array]:
        """Misfit and curvature at the logarithms ``at``, squared and added, and the differences of the points."""
        apart = rows @ np.exp(at) - measured
        return float(apart @ apart + at @ bend @ at), apart

    square, apart = total(logs)
    damping = 1e-3
    for _ in range(_MOST_STEPS):
        jacobian = rows * np.exp(logs)
        normal, score = jacobian.T @ jacobian + bend, jacobian.T @ apart + bend @ logs
        diagonal = np.diag(normal)
        while True:
            damped = normal + np.diag(damping * diagonal + 1e-9 * diagonal.mean())
            step = -cho_solve(cho_factor(damped, check_finite=False), score, check_finite=False)
            step *= min(1.0, _LONGEST_STEP / max(float(np.abs(step).max()), 1e-300))
            trial = np.maximum(logs + step, _LOWEST)
            other, other_apart = total(trial)
            if other <= square or damping > 1e8:
                break
            damping *= 4.0
        if other > square:
            break
        gain = square - other
        logs, square, apart, damping = trial, other, other_apart, max(damping * 0.1, 1e-9)
        if gain <= _REST * square:
            break
    return logs


def _data_normal(system: _System, logs: Array) -> Array:
    jacobian = system.rows * np.exp(logs)
    return np.asarray(jacobian.T @ jacobian)


def _posterior(system: _System, logs: Array, smoothness: float) -> Array:
    """Inverse of the normal matrix of data and penalty, [value, value]."""
    normal = _data_normal(system, logs) + smoothness * system.curvature.T @ system.curvature
    normal[np.diag_indices_from(normal)] += 1e-9 * np.diag(normal).mean()
    return np.asarray(cho_solve(cho_factor(normal), np.eye(logs.size)))


def _covariance(system: _System, logs: Array, smoothness: float) -> Array:
    """Of the logarithms, [value, value]."""
    inverse = _posterior(system, logs, smoothness)
    misfit = system.measured - system.rows @ np.exp(logs)
    used = float(np.sum(inverse * _data_normal(system, logs)))
    return np.asarray(inverse * float(misfit @ misfit) / max(misfit.size - used, 1.0))


def _told_apart(density: Array, covariance: Array) -> tuple[list[int], list[int]]:
    """Places of the maxima, and of the minima between them, of which each maximum surely rises above its neighbours."""
    inner = density[1:-1]
    tops = [int(top) for top in 1 + np.flatnonzero((inner > density[:-2]) & (inner >= density[2:]))]
    while True:
        valleys = [first + int(np.argmin(density[first:last])) for first, last in pairwise(tops)]
        if len(tops) < 2:
            return tops, valleys
        edges = [0, *valleys, density.size - 1]
        levels = [-np.inf, *density[valleys], -np.inf]
        sure = [
            _prominence(density, covariance, span, max(sides))
            for span, sides in zip(pairwise(edges), pairwise(levels), strict=True)
        ]
        least = int(np.argmin(sure))
        if sure[least] >= _SURE:
            return tops, valleys
        tops.pop(least)


def _prominence(density: Array, covariance: Array, span: tuple[int, int], level: float) -> float:
    """The area of a maximum above the higher minimum beside it, in units of its uncertainty."""
    above = np.zeros(density.size)
    above[span[0] : span[1] + 1] = np.maximum(density[span[0] : span[1] + 1] - level, 0.0)
    change = np.where(above > 0, density, 0.0)
    return float(above.sum() / np.sqrt(max(float(change @ covariance @ change), 1e-300)))


def _peaks(time_constant: Array, density: Array, covariance: Array) -> tuple[Peak, ...]:
    step, log_tau = float(np.log(time_constant[1] / time_constant[0])), np.log(time_constant)
    tops, valleys = _told_apart(density, covariance)
    if not tops:  # it rises to an end: the process is slower, or faster, than was measured
        return ()
    found = []
    edges = [0, *valleys, density.size]
    for top, part, (first, last) in zip(tops, _parts(log_tau, density, tops, valleys), pairwise(edges), strict=True):
        share = step * part * density
        area = float(share.sum())
        if area < _SMALLEST_PEAK * step * density.sum():
            continue
        cut = abs(area - step * float(density[first:last].sum()))
        before, at, after = np.log(density[top - 1 : top + 2])
        bend = 2.0 * at - before - after
        place = log_tau[top] + 0.5 * (after - before) / bend * step
        slope = np.zeros(density.size)
        slope[[top - 1, top + 1]] = -0.5 * step / bend, 0.5 * step / bend
        found.append(
            Peak(
                float(np.exp(place)),
                float(np.sqrt(slope @ covariance @ slope) / np.log(10.0)),
                Estimate(area, float(np.sqrt(share @ covariance @ share)), cut),
            )
        )
    return tuple(found)


def _parts(log_tau: Array, density: Array, tops: list[int], valleys: list[int]) -> Array:
    """What part of gamma belongs to each peak, [peak, time], of sum 1: arcs fitted to gamma share it as their sum.

    The place of an arc stays between the minima beside it. What rises again towards an end is no peak and not fitted.
    """
    count, within = len(tops), slice(int(np.argmin(density[: tops[0]])), tops[-1] + int(np.argmin(density[tops[-1] :])))
    if count == 1:
        return np.ones((1, density.size))
    largest, edges = float(density.max()), log_tau[[0, *valleys, -1]]
    start = np.stack([density[tops] / largest, log_tau[tops], np.full(count, _ALPHA)])
    lowest = np.stack([np.zeros(count), edges[:-1], np.full(count, _ALPHAS[0])])
    highest = np.stack([np.full(count, np.inf), edges[1:], np.full(count, _ALPHAS[1])])

    def apart(numbers: Array) -> Array:
        """How far the arcs are from gamma, relative to its largest value, [time]."""
        height, place, alpha = numbers.reshape(3, count)
        arcs = _arcs(log_tau[within], height=height, place=place, alpha=alpha)
        return np.asarray(arcs.sum(axis=0) - density[within] / largest)

    fit = least_squares(apart, start.ravel(), bounds=(lowest.ravel(), highest.ravel()))
    height, place, alpha = fit.x.reshape(3, count)
    arcs = np.maximum(_arcs(log_tau, height=height, place=place, alpha=alpha), 1e-300)
    return np.asarray(arcs / arcs.sum(axis=0))


def _arcs(log_tau: Array, *, height: Array, place: Array, alpha: Array) -> Array:
    """Densities of constant-phase arcs [arc, time] of the height 1 at their places times ``height``: with
    x = ln(tau/tau0) they are h (1 + cos(pi alpha)) / (cosh(alpha x) + cos(pi alpha)) [4]."""
    cosine = np.cos(np.pi * alpha)[:, None]
    bell = (1.0 + cosine) / (np.cosh(alpha[:, None] * (log_tau - place[:, None])) + cosine)
    return np.asarray(height[:, None] * bell)
