r"""A circuit fitted to an impedance spectrum, with the uncertainty of every parameter, and told honestly.

:math:`\sum_k |Z_k - Z(w_k)|^2 / s_k^2` is made least over the logarithms of the parameters (Levenberg-Marquardt,
analytic derivatives, bounds) from several starts that the spectrum gives. Weights are stated: ``unit`` (s = 1),
``modulus`` (s = |Z_k|, the same relative error everywhere) or ``stated`` (given sigma). With the Jacobian J the
covariance of the logarithms is :math:`s^2 (J^T J)^{-1}`, s^2 the sum over its degrees of freedom; with stated sigma
it is :math:`(J^T J)^{-1}`.

References
----------
.. [1] E. Barsoukov, J. R. Macdonald (eds.), Impedance Spectroscopy, 2nd ed., Wiley 2005, chapter 3.
.. [2] J. J. More, Lect. Notes Math. 630 (1978) 105 (Levenberg-Marquardt).
.. [3] C. M. Hurvich, C.-L. Tsai, Biometrika 76 (1989) 297 (AICc).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.lab.circuit import Circuit, impedance_and_slopes, impedance_of_circuit
from cathoscope.lab.circuit_kernels import search, sum_of_squares
from cathoscope.lab.circuit_order import slow_last
from cathoscope.lab.circuit_start import count_processes, first_values
from cathoscope.lab.circuit_text import parse_circuit
from cathoscope.lab.impedance_spectrum import Array, ComplexArray, Spectrum, checked_spectrum
from cathoscope.lab.residual_tests import Runs, chance_of_neighbours, runs_of_signs
from cathoscope.numerics.estimate import Estimate

Weighting = Literal["unit", "modulus", "stated"]
Outcome = Literal["good", "systematic residuals", "not determined", "not at rest"]
Data = tuple[Array, ComplexArray, Array, Array]

_MOST_STEPS = 300
_SIMPLE, _CLOSE = 4, 0.02  # parameters of one process that one search finds, and the misfit that shows it has
_SHORT_SEARCHES, _FEW_STEPS, _LONG_SEARCHES = 48, 8, 6
_SINGULAR = 1e-13  # eigenvalue of the scaled normal matrix that is none
_UNDETERMINED = 0.5  # relative standard uncertainty from which on a parameter is none
_CORRELATED = 0.995
_RUN_AWAY = 100.0  # times the largest impedance
_EXACT = 1e-8  # residual over modulus that is none
_SYSTEMATIC = 0.001  # chance of such neighbours below which residuals are not random


@dataclass(frozen=True)
class Constraints:
    """What is known of parameters, by name: where to start, what they are, and between what they lie."""

    start: Mapping[str, float] = field(default_factory=dict)
    fixed: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class CircuitFit:
    """A circuit fitted to a spectrum.

    Attributes
    ----------
    circuit
        What was fitted.
    spectrum
        To which points, by falling frequency.
    weighting, data
        How points are weighted; angular frequency, impedance and the weights of both parts (1/ohm), [point].
    values
        Of the parameters, in their order.
    free
        Numbers of the parameters that were fitted.
    bounds
        Logarithms of the bounds, [2, parameter].
    sum_of_squares
        Weighted, of real and imaginary parts.
    steps, at_rest
        Of the search, and whether it came to rest.
    """

    circuit: Circuit
    spectrum: Spectrum
    weighting: Weighting
    data: Data
    values: Array
    free: NDArray[np.int64]
    bounds: Array
    sum_of_squares: float
    steps: int
    at_rest: bool

    @property
    def degrees_of_freedom(self) -> int:
        """Real and imaginary parts less fitted parameters."""
        return 2 * self.spectrum.frequency.size - self.free.size

    @property
    def reduced_square(self) -> float:
        """Sum of squares per degree of freedom: near 1 where sigma was stated rightly."""
        return self.sum_of_squares / self.degrees_of_freedom

    @cached_property
    def _slopes(self) -> tuple[ComplexArray, ComplexArray]:
        return impedance_and_slopes(self.circuit, frequency=self.spectrum.frequency, values=self.values)

    @property
    def fitted(self) -> ComplexArray:
        """Impedance of the circuit, ohm, [point]."""
        return self._slopes[0]

    def at(self, frequency: ArrayLike) -> ComplexArray:
        """Impedance of the circuit at other frequencies (Hz), ohm: for a smooth curve."""
        return impedance_of_circuit(self.circuit, frequency=frequency, values=self.values)

    @property
    def residual(self) -> ComplexArray:
        """Measured less fitted, over the measured modulus, [point]."""
        return (self.spectrum.impedance - self.fitted) / np.abs(self.spectrum.impedance)

    @cached_property
    def _is_free(self) -> NDArray[np.bool_]:
        mask = np.zeros(self.values.size, np.bool_)
        mask[self.free] = True
        return mask

    @cached_property
    def at_bound(self) -> NDArray[np.bool_]:
        """Whether a fitted parameter stands at one of its bounds, [parameter]."""
        logs = np.log(self.values)
        at = (logs <= self.bounds[0] + 1e-9) | (logs >= self.bounds[1] - 1e-9)
        return np.asarray(at & self._is_free)

    @cached_property
    def _jacobian(self) -> Array:
        """Weighted derivatives of real, then imaginary parts, [2 x point, parameter that moves]."""
        slopes = self._slopes[1][self._moving]
        return np.concatenate([slopes.real * self.data[2], slopes.imag * self.data[3]], axis=1).T

    @cached_property
    def _moving(self) -> NDArray[np.int64]:
        return self.free[~self.at_bound[self.free]]

    @cached_property
    def covariance(self) -> Array:
        """Of the logarithms of all parameters; zero for fixed ones, infinite on the diagonal where not determined."""
        size = self.values.size
        covariance = np.zeros((size, size))
        moving, jacobian = self._moving, self._jacobian
        if moving.size:
            length = np.maximum(np.linalg.norm(jacobian, axis=0), 1e-300)
            scaled = jacobian / length
            square, axes = np.linalg.eigh(scaled.T @ scaled)
            known = square > _SINGULAR * square[-1]
            part = (axes[:, known] / square[known]) @ axes[:, known].T
            lost = np.abs(axes[:, ~known]).max(axis=1, initial=0.0) > 1e-3
            part[lost, lost] = np.inf
            scale = 1.0 if self.weighting == "stated" else self.reduced_square
            covariance[np.ix_(moving, moving)] = scale * part / np.outer(length, length)
        return covariance

    @cached_property
    def relative_std(self) -> Array:
        """Standard uncertainty over value, that of the logarithm; NaN at a bound, 0 for fixed ones, [parameter]."""
        return np.where(self.at_bound, np.nan, np.sqrt(np.diag(self.covariance)))

    @property
    def std(self) -> Array:
        """Standard uncertainty in the unit of each parameter, [parameter]."""
        return self.values * self.relative_std

    @cached_property
    def correlation(self) -> Array:
        """Of the parameters; NaN where one was not fitted or not determined, [parameter, parameter]."""
        sigma = np.sqrt(np.diag(self.covariance))
        good = (sigma > 0) & np.isfinite(sigma)
        safe = np.where(good, sigma, 1.0)
        return np.where(np.outer(good, good), self.covariance / np.outer(safe, safe), np.nan)

    def estimate(self, name: str) -> Estimate:
        """A parameter with its standard uncertainty."""
        number = self.circuit.number(name)
        return Estimate(float(self.values[number]), float(self.std[number]))

    @cached_property
    def runs(self) -> tuple[Runs, Runs]:
        """Runs of signs of the residuals of the real and the imaginary part."""
        return runs_of_signs(self.residual.real), runs_of_signs(self.residual.imag)

    @cached_property
    def chance_of_residuals(self) -> float:
        """How likely neighbours of purely random residuals are as alike as these."""
        apart = self.spectrum.impedance - self.fitted
        if float(np.abs(self.residual).max()) < _EXACT:
            return 1.0
        basis = np.linalg.qr(self._jacobian)[0] if self._moving.size else np.empty((2 * apart.size, 0))
        return chance_of_neighbours(np.concatenate([apart.real * self.data[2], apart.imag * self.data[3]]), basis)

    def criterion(self, kind: Literal["aicc", "bic"] = "aicc") -> float:
        """Corrected Akaike or Bayes criterion: of circuits fitted to the same points the lowest is best."""
        total, count = 2 * self.spectrum.frequency.size, self.free.size + (self.weighting != "stated")
        tiny = 1e-30 * total
        square = max(self.sum_of_squares, tiny)
        misfit = square if self.weighting == "stated" else total * np.log(square / total)
        if kind == "bic":
            return float(misfit + count * np.log(total))
        rest = total - count - 1
        return float(misfit + 2.0 * count * (1.0 + (count + 1) / rest)) if rest > 0 else float("inf")

    @cached_property
    def remarks(self) -> tuple[str, ...]:
        """What a person should know before a number is believed."""
        return tuple(_remarks(self))

    @property
    def outcome(self) -> Outcome:
        """The fit in two words; `remarks` say why."""
        if not self.at_rest:
            return "not at rest"
        if self.at_bound.any() or not (self.relative_std[self.free] < _UNDETERMINED).all() or run_away(self).any():
            return "not determined"
        return "systematic residuals" if self.chance_of_residuals < _SYSTEMATIC else "good"


def fit_circuit(
    circuit: Circuit | str,
    *,
    frequency: ArrayLike,
    impedance: ArrayLike,
    weighting: Weighting = "modulus",
    sigma: ArrayLike | None = None,
    constraints: Constraints | None = None,
) -> CircuitFit:
    """The circuit with the parameters that fit a spectrum best.

    Parallel parts of the same make stand by rising time constant, unless constraints name a parameter.

    Parameters
    ----------
    circuit
        A circuit, or its text.
    frequency, impedance
        Hz and ohm (complex), [point].
    weighting
        See the module's text.
    sigma
        With ``stated``: standard uncertainty of both parts, or complex, of each, ohm, [point].
    constraints
        What is known of parameters.

    Raises
    ------
    MeasurementError
        If the spectrum has fewer points than the circuit needs or cannot be one, or constraints make no sense.
    """
    circuit = parse_circuit(circuit) if isinstance(circuit, str) else circuit
    constraints = constraints or Constraints()
    free, bounds, known = _prepared(circuit, constraints)
    spectrum = checked_spectrum(frequency, impedance, fewest=free.size // 2 + 1)
    data = (spectrum.omega, spectrum.impedance, *_weights(spectrum, weighting, sigma, frequency))
    logs, total, steps, rest = _searched(circuit, _starts(circuit, spectrum, known, bounds), bounds, data, free)
    if count_processes(circuit) > 1 and not (constraints.start or constraints.fixed or constraints.bounds):
        logs = np.log(slow_last(circuit, np.exp(logs)))
    return CircuitFit(circuit, spectrum, weighting, data, np.exp(logs), free, bounds, total, steps, rest)


def compare_circuits(
    circuits: Sequence[Circuit | str],
    *,
    frequency: ArrayLike,
    impedance: ArrayLike,
    weighting: Weighting = "modulus",
    sigma: ArrayLike | None = None,
) -> tuple[CircuitFit, ...]:
    """Every circuit fitted to the same points, the one of the lowest corrected Akaike criterion first."""
    fits = [
        fit_circuit(circuit, frequency=frequency, impedance=impedance, weighting=weighting, sigma=sigma)
        for circuit in circuits
    ]
    return tuple(sorted(fits, key=lambda fit: fit.criterion()))


def run_away(fit: CircuitFit) -> NDArray[np.bool_]:
    """Whether a fitted parameter in ohm is far above all that was measured, [parameter]."""
    ohms = np.array([parameter.unit == "ohm" for parameter in fit.circuit.parameters])
    far = fit.values > _RUN_AWAY * float(np.abs(fit.spectrum.impedance).max())
    return np.asarray(ohms & far & fit._is_free)


def _prepared(circuit: Circuit, constraints: Constraints) -> tuple[NDArray[np.int64], Array, dict[int, float]]:
    """Numbers of the free parameters, logarithms of the bounds, and values that are stated, by number."""
    bounds = circuit.log_bounds.copy()
    known = {circuit.number(name): value for name, value in {**constraints.start, **constraints.fixed}.items()}
    for name, (low, high) in constraints.bounds.items():
        if not 0 < low < high:
            raise MeasurementError(f"bounds of {name} are none", expected="0 < low < high", found=f"{low} to {high}")
        bounds[:, circuit.number(name)] = np.log([low, high])
    for number, value in known.items():
        if not (np.isfinite(value) and value > 0):
            raise MeasurementError(f"{circuit.names[number]} is to be positive", found=f"{value}")
    fixed = {circuit.number(name) for name in constraints.fixed}
    free = np.array([number for number in range(len(circuit.names)) if number not in fixed], dtype=np.int64)
    return free, bounds, known


def _weights(
    spectrum: Spectrum, weighting: Weighting, sigma: ArrayLike | None, frequency: ArrayLike
) -> tuple[Array, Array]:
    """One over the errors that are assumed of the real and imaginary parts, [point]."""
    if (weighting == "stated") != (sigma is not None):
        raise MeasurementError(
            "the weights are unclear", expected='sigma together with weighting "stated"', found=f'"{weighting}"'
        )
    if sigma is None:
        ones = np.ones(spectrum.frequency.size)
        weight = ones if weighting == "unit" else 1.0 / np.maximum(np.abs(spectrum.impedance), 1e-300)
        return weight, weight
    order = np.argsort(-np.asarray(frequency, dtype=np.float64), kind="stable")
    stated = np.broadcast_to(np.asarray(sigma), spectrum.frequency.shape)[order]
    real, imaginary = (stated.real, stated.imag) if np.iscomplexobj(stated) else (stated, stated)
    if not ((real > 0) & (imaginary > 0)).all():
        raise MeasurementError("stated uncertainties are not all positive", found=f"{min(real.min(), imaginary.min())}")
    return np.ascontiguousarray(1.0 / real), np.ascontiguousarray(1.0 / imaginary)


def _starts(circuit: Circuit, spectrum: Spectrum, known: Mapping[int, float], bounds: Array) -> Array:
    """Logarithms to start from, [start, parameter], what is known in its place."""
    starts = np.log(np.maximum(first_values(circuit, spectrum), 1e-300))
    inside = np.minimum(np.maximum(starts, bounds[0]), bounds[1])
    for number, value in known.items():
        inside[:, number] = np.log(value)
    return np.asarray(inside)


def _searched(
    circuit: Circuit, starts: Array, bounds: Array, data: Data, free: NDArray[np.int64]
) -> tuple[Array, float, int, bool]:
    """The best of searches from the most promising starts; of several processes short ones tell which these are."""
    program, scratch = circuit.program, (np.empty((free.size, free.size)), np.empty(free.size))
    sums = np.array([sum_of_squares(program, np.exp(start), data, free, *scratch) for start in starts])
    order = np.argsort(sums)
    if count_processes(circuit) < 2 and free.size <= _SIMPLE:
        found: tuple[Array, float, int, bool] = search(program, starts[order[0]], bounds, data, free, _MOST_STEPS)
        whole = float(np.sum((data[1].real * data[2]) ** 2 + (data[1].imag * data[3]) ** 2))
        if found[3] and found[1] < _CLOSE**2 * whole:
            return found
    few = order[:_SHORT_SEARCHES]
    short = list[Any](search(program, starts[number], bounds, data, free, _FEW_STEPS) for number in few)
    short.sort(key=lambda one: float(one[1]))
    begun = [one[0] for one in short[:_LONG_SEARCHES]]
    ended = [search(program, start, bounds, data, free, _MOST_STEPS) for start in begun]
    best: tuple[Array, float, int, bool] = min(ended, key=lambda one: float(one[1]))
    return best


def _remarks(fit: CircuitFit) -> list[str]:
    names, units = fit.circuit.names, [parameter.unit for parameter in fit.circuit.parameters]
    remarks = [] if fit.at_rest else [f"the search did not come to rest in {fit.steps} steps"]
    away = run_away(fit)
    for number in fit.free:
        value, error = f"{names[number]} = {fit.values[number]:.4g} {units[number]}", fit.relative_std[number]
        if away[number]:
            remarks.append(f"{value} is more than {_RUN_AWAY:g} times what was measured: it has run away")
        elif fit.at_bound[number]:
            remarks.append(f"{value} stands at its bound")
        elif not error < _UNDETERMINED:
            remarks.append(f"{value} is not determined: relative uncertainty {100 * error:.3g} %")
    remarks += [
        f"{names[i]} and {names[j]} go together (correlation {fit.correlation[i, j]:+.4f}): their errors are shared"
        for i in range(len(names))
        for j in range(i)
        if abs(fit.correlation[i, j]) > _CORRELATED
    ]
    if fit.chance_of_residuals < _SYSTEMATIC:
        size = 100.0 * float(np.median(np.abs(fit.residual)))
        remarks.append(f"residuals are not random: the circuit misses something (median {size:.2g} % of the modulus)")
    return remarks
