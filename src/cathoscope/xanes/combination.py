"""A bulk spectrum as a sum of known spectra, with one shift of its energy axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, product

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq, minimize_scalar

from cathoscope.core.errors import MeasurementError

Array = NDArray[np.float64]

_MOST_REFERENCES = 8
_ILL_CONDITIONED = 30.0
_DEPENDENT = 1e7
_SHIFT_STEP = 0.5
"""eV; spectra vary over more than their natural width, so the misfit has one minimum within such a step."""

_SHIFT_PRECISION = 1e-7  # eV


@dataclass(frozen=True)
class CombinationOptions:
    """What a combination may do.

    ``non_negative`` excludes weights below zero, ``sum_to_one`` fixes their sum, ``max_energy_shift`` (eV) bounds the
    shift of the energy axis, 0 for none, and ``window`` (eV) limits the energies that are compared.
    """

    non_negative: bool = True
    sum_to_one: bool = False
    max_energy_shift: float = 0.0
    window: tuple[float, float] | None = None


@dataclass(frozen=True)
class CombinationFit:
    """Amounts of known spectra in one spectrum.

    Attributes
    ----------
    weight, weight_std
        Amounts and their standard uncertainty, [component]. A weight held at zero carries the uncertainty that it
        would have if it were free.
    fraction, fraction_std
        Weights divided by their sum, [component]; NaN if the sum is zero.
    energy_shift, energy_shift_std
        eV added to the recorded energies so that the spectrum matches the references; std 0 if no shift was allowed,
        NaN at the limit or if all weights are zero.
    covariance
        Of weights and shift, [component + 1, component + 1]; rows of what is held at a limit are zero.
    r_factor
        Sum of squared misfits over sum of squared data.
    reduced_chi2
        Sum of squared misfits over their variances (1 without stated noise), divided by points minus free parameters.
    condition_number
        Ratio of largest to smallest singular value of the weighted references, columns of unit length.
    correlation
        Between the weights, all of them free and their sum too, [component, component].
    fit, components
        The combination at the recorded energies, [point], and its parts, [component, point]; NaN where not compared.
    point_count
        Points compared.
    remarks
        Sentences on what limits the result; empty if nothing does.
    """

    weight: Array
    weight_std: Array
    fraction: Array
    fraction_std: Array
    energy_shift: float
    energy_shift_std: float
    covariance: Array
    r_factor: float
    reduced_chi2: float
    condition_number: float
    correlation: Array
    fit: Array
    components: Array
    point_count: int
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class _Problem:
    """Compared points: energies in eV, data and standard deviation, [point], and the references' spline."""

    energy: Array
    data: Array
    std: Array
    noise_is_known: bool
    spline: CubicSpline
    names: tuple[str, ...]
    options: CombinationOptions

    def design(self, shift: float, derivative: int = 0) -> Array:
        """References (or their slope) at the shifted energies over the noise, [point, component]."""
        return np.asarray(self.spline(self.energy + shift, derivative)) / self.std[:, np.newaxis]


def fit_combination(
    *,
    spectrum: ArrayLike,
    energy: ArrayLike,
    references: ArrayLike,
    reference_energy: ArrayLike | None = None,
    std: ArrayLike | None = None,
    names: Sequence[str] = (),
    options: CombinationOptions | None = None,
) -> CombinationFit:
    """Linear combination fit ``spectrum(E) = sum_k weight_k reference_k(E + energy_shift)`` by least squares.

    References are interpolated by cubic splines and taken as free of noise. Non-negative weights are found exactly,
    by solving every set of free weights, at each shift on the way to the smallest misfit. Uncertainties come from the
    covariance of what is free, shift included; without a stated noise they are scaled by the reduced chi squared. Only
    energies that stay within the references for every allowed shift are compared.

    Parameters
    ----------
    spectrum, energy
        [point], energy in eV, ascending; points with NaN are left out.
    references
        Known spectra, [component, reference point], at most 8.
    reference_energy
        eV, [reference point], ascending; that of the spectrum if left out.
    std
        Standard deviation of the noise, scalar or [point].
    names
        Of the references, for remarks.
    options
        `CombinationOptions`; weights not below zero and no shift if left out.

    Raises
    ------
    MeasurementError
        If shapes do not fit, energies do not ascend, references are not finite or linearly dependent, the noise is
        not positive, too few points remain, or the spectrum is zero.
    """
    options = options or CombinationOptions()
    problem, used = _problem(
        (spectrum, energy, std), (references, energy if reference_energy is None else reference_energy), names, options
    )
    condition_number, correlation = _collinearity(problem)
    shift = _best_shift(problem)
    weight, free = _weights(problem, problem.design(shift))
    return _result(problem, used, (weight, free, shift), (condition_number, correlation))


def _problem(
    sample: tuple[ArrayLike, ArrayLike, ArrayLike | None],
    known: tuple[ArrayLike, ArrayLike],
    names: Sequence[str],
    options: CombinationOptions,
) -> tuple[_Problem, NDArray[np.bool_]]:
    """Checked arrays at the compared points, and which points these are."""
    data, axis = np.asarray(sample[0], dtype=np.float64), np.asarray(sample[1], dtype=np.float64)
    spectra, own_axis = np.asarray(known[0], dtype=np.float64), np.asarray(known[1], dtype=np.float64)
    if data.ndim != 1 or axis.shape != data.shape:
        raise MeasurementError(
            "spectrum and energies do not match", expected="one energy per point", found=f"{data.shape}, {axis.shape}"
        )
    _check_references(spectra, own_axis, names, options)
    usable = np.isfinite(data) & np.isfinite(axis)
    if np.any(np.diff(axis[usable]) <= 0):
        raise MeasurementError("the energies of the spectrum do not ascend", cure="sort its points by energy")
    low, high = options.window or (-np.inf, np.inf)
    reach = options.max_energy_shift
    used = usable & (axis >= max(low, own_axis[0] + reach)) & (axis <= min(high, own_axis[-1] - reach))
    if used.sum() <= len(spectra) + 1:
        raise MeasurementError(
            "too few points to compare with the references",
            expected=f"more than {len(spectra) + 1} within {own_axis[0]:.1f} to {own_axis[-1]:.1f} eV and the window",
            found=str(int(used.sum())),
        )
    if not np.any(data[used]):
        raise MeasurementError("the spectrum is zero at every energy", found="nothing to compare with the references")
    labels = tuple(names) or tuple(f"reference {k + 1}" for k in range(len(spectra)))
    noise = _noise(sample[2], data.shape, used)
    spline = CubicSpline(own_axis, spectra.T)
    return _Problem(axis[used], data[used], noise, sample[2] is not None, spline, labels, options), used


def _check_references(spectra: Array, axis: Array, names: Sequence[str], options: CombinationOptions) -> None:
    if spectra.ndim != 2 or axis.shape != spectra.shape[1:] or not 1 <= len(spectra) <= _MOST_REFERENCES:
        raise MeasurementError(
            "the references do not match their energies",
            expected=f"1 to {_MOST_REFERENCES} spectra, one energy per point",
            found=f"shapes {spectra.shape} and {axis.shape}",
        )
    if names and len(names) != len(spectra):
        raise MeasurementError("not one name per reference", expected=str(len(spectra)), found=str(len(names)))
    if not (np.isfinite(spectra).all() and np.isfinite(axis).all()):
        raise MeasurementError("a reference spectrum holds NaN or infinity")
    if axis.size < 4 or np.any(np.diff(axis) <= 0):
        raise MeasurementError("the energies of the references do not ascend", expected="4 or more, ascending")
    if not 0 <= options.max_energy_shift < np.inf:
        raise MeasurementError(
            "the largest energy shift is negative or infinite", found=f"{options.max_energy_shift} eV"
        )


def _noise(std: ArrayLike | None, shape: tuple[int, ...], used: NDArray[np.bool_]) -> Array:
    if std is None:
        return np.ones(int(used.sum()))
    given = np.asarray(std, dtype=np.float64)
    if given.shape not in ((), shape):
        raise MeasurementError("the noise does not match the spectrum", expected=str(shape), found=str(given.shape))
    noise = np.broadcast_to(given, shape)[used]
    if not np.all(np.isfinite(noise) & (noise > 0)):
        raise MeasurementError("the noise is not positive", expected="finite standard deviations above zero")
    return noise


def _collinearity(problem: _Problem) -> tuple[float, Array]:
    """Condition number of the references of unit length, and correlation of their free weights."""
    design = problem.design(0.0)
    lengths = np.linalg.norm(design, axis=0)
    condition = float(np.linalg.cond(design / lengths)) if np.all(lengths > 0) else np.inf
    if not condition < _DEPENDENT:
        raise MeasurementError(
            "the references are linearly dependent",
            expected="spectra that no sum of the others gives",
            found=f"condition number {condition:.1g} of {', '.join(problem.names)}",
            cure="leave one reference out",
        )
    scaled = design / lengths
    covariance = np.linalg.inv(scaled.T @ scaled)
    std = np.sqrt(np.diag(covariance))
    return condition, covariance / np.outer(std, std)


def _best_shift(problem: _Problem) -> float:
    """Shift of least misfit: a grid finds the valley, the root of the misfit's derivative its bottom."""
    largest = problem.options.max_energy_shift
    if largest == 0:
        return 0.0

    def misfit_and_slope(shift: float) -> tuple[float, float]:
        """Weighted misfit at an energy shift and its derivative."""
        design = problem.design(shift)
        weight, _ = _weights(problem, design)
        misfit = problem.data / problem.std - design @ weight
        # at their optimum, free or bounded, the weights do not contribute to the derivative
        return float(misfit @ misfit), float(-misfit @ (problem.design(shift, derivative=1) @ weight))

    grid = np.linspace(-largest, largest, 2 * max(2, int(np.ceil(largest / _SHIFT_STEP))) + 1)
    rows = [misfit_and_slope(shift) for shift in grid]
    costs = np.array([cost for cost, _ in rows])
    if np.ptp(costs) == 0:
        return 0.0
    best = int(np.argmin(costs))
    towards = best + (1 if rows[best][1] < 0 else -1)
    if rows[best][1] == 0 or not 0 <= towards < grid.size:
        return float(grid[best])
    ends = sorted((float(grid[best]), float(grid[towards])))
    if rows[best][1] * rows[towards][1] < 0:
        return float(brentq(lambda shift: misfit_and_slope(shift)[1], *ends, xtol=_SHIFT_PRECISION))
    found = minimize_scalar(lambda shift: misfit_and_slope(shift)[0], bounds=ends, method="bounded")
    return float(found.x)


def _weights(problem: _Problem, design: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Weights of least misfit for a design [point, component], and which of them are free.

    The constrained minimum is the free solution of its own free set, so the best admissible free solution is it.
    """
    normal, right = design.T @ design, design.T @ (problem.data / problem.std)
    count, sum_to_one = right.size, problem.options.sum_to_one
    free = np.ones(count, dtype=bool)
    unconstrained = _solve(normal, right, sum_to_one)
    if not problem.options.non_negative or np.all(unconstrained >= 0):
        return unconstrained, free
    best, least = np.zeros(count), np.inf
    # the first pattern, all free, has just been tried
    for pattern in islice(product((True, False), repeat=count), 1, None):
        kept = np.flatnonzero(pattern)
        if sum_to_one and kept.size == 0:
            continue
        trial = np.zeros(count)
        trial[kept] = _solve(normal[np.ix_(kept, kept)], right[kept], sum_to_one)
        if np.any(trial < 0):
            continue
        # measured from the unconstrained solution, the misfit loses no digits
        cost = float((trial - unconstrained) @ normal @ (trial - unconstrained))
        if cost < least:
            best, least, free = trial, cost, np.array(pattern)
    return best, free


def _solve(normal: Array, right: Array, sum_to_one: bool) -> Array:
    """Least squares from its normal equations, with a Lagrange multiplier if the weights have to sum to one."""
    if not sum_to_one:
        return np.asarray(np.linalg.solve(normal, right))
    bordered = _bordered(normal, np.ones(right.size))
    return np.asarray(np.linalg.solve(bordered, np.append(right, 1.0))[:-1])


def _bordered(normal: Array, border: Array) -> Array:
    bordered = np.zeros((border.size + 1, border.size + 1))
    bordered[:-1, :-1], bordered[:-1, -1], bordered[-1, :-1] = normal, border, border
    return bordered


def _covariance(jacobian: Array, free: NDArray[np.bool_], sum_to_one: bool) -> Array:
    """Covariance of weights and shift for unit noise, zero where not free."""
    kept = np.flatnonzero(free)
    reduced = jacobian[:, kept]
    # columns of unit length: weights and shift have different units
    lengths = np.linalg.norm(reduced, axis=0)
    normal = (reduced / lengths).T @ (reduced / lengths)
    if sum_to_one:
        of_sum = (kept < jacobian.shape[1] - 1) / lengths
        inverse = np.linalg.inv(_bordered(normal, of_sum))[:-1, :-1]
    else:
        inverse = np.linalg.inv(normal)
    covariance = np.zeros((free.size, free.size))
    covariance[np.ix_(kept, kept)] = inverse / np.outer(lengths, lengths)
    return covariance


def _result(
    problem: _Problem,
    used: NDArray[np.bool_],
    solution: tuple[Array, NDArray[np.bool_], float],
    collinearity: tuple[float, Array],
) -> CombinationFit:
    weight, free_weights, shift = solution
    largest, sum_to_one = problem.options.max_energy_shift, problem.options.sum_to_one
    at_limit = largest > 0 and abs(shift) >= largest * (1 - 1e-5)
    design = problem.design(shift)
    jacobian = np.column_stack([design, problem.design(shift, derivative=1) @ weight])
    shift_is_free = largest > 0 and not at_limit and bool(np.any(jacobian[:, -1]))
    free = np.append(free_weights, shift_is_free)
    misfit = problem.data / problem.std - design @ weight
    reduced_chi2 = float(misfit @ misfit) / (misfit.size - free.sum() + sum_to_one)
    scale = 1.0 if problem.noise_is_known else reduced_chi2
    covariance = scale * _covariance(jacobian, free, sum_to_one)
    as_if_free = scale * _covariance(jacobian, np.append(np.ones_like(free_weights), shift_is_free), sum_to_one)
    weight_std = np.sqrt(np.diag(np.where(np.diag(free), covariance, as_if_free))[:-1].clip(min=0))
    fraction, fraction_std = _fractions(weight, weight_std, covariance[:-1, :-1], free_weights)
    components = np.full((weight.size, used.size), np.nan)
    components[:, used] = (design * weight).T * problem.std
    return CombinationFit(
        weight=weight,
        weight_std=weight_std,
        fraction=fraction,
        fraction_std=fraction_std,
        energy_shift=shift,
        energy_shift_std=np.nan if largest > 0 and not shift_is_free else float(np.sqrt(covariance[-1, -1])),
        covariance=covariance,
        r_factor=float(np.sum((misfit * problem.std) ** 2) / np.sum(problem.data**2)),
        reduced_chi2=reduced_chi2,
        condition_number=collinearity[0],
        correlation=collinearity[1],
        fit=components.sum(axis=0),
        components=components,
        point_count=int(used.sum()),
        remarks=_remarks(problem, free_weights, at_limit, collinearity),
    )


def _fractions(weight: Array, weight_std: Array, covariance: Array, free: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Weights over their sum, and first-order uncertainties; one held at zero has that of its weight."""
    total = weight.sum()
    if not total > 0:
        return np.full_like(weight, np.nan), np.full_like(weight, np.nan)
    fraction = weight / total
    gradient = (np.eye(weight.size) - fraction[:, np.newaxis]) / total
    std = np.sqrt(np.einsum("ij,jk,ik->i", gradient, covariance, gradient).clip(min=0))
    return fraction, np.where(free, std, weight_std / total)


def _remarks(
    problem: _Problem, free: NDArray[np.bool_], at_limit: bool, collinearity: tuple[float, Array]
) -> tuple[str, ...]:
    condition_number, correlation = collinearity
    texts = []
    if condition_number > _ILL_CONDITIONED:
        upper = np.abs(np.triu(correlation, 1))
        first, second = np.unravel_index(int(np.argmax(upper)), upper.shape)
        texts.append(
            f"{problem.names[first]} and {problem.names[second]} are nearly alike here: their weights trade against "
            f"each other (correlation {correlation[first, second]:.3f}, condition number {condition_number:.0f}), and "
            "small errors of the references become large ones of the weights."
        )
    if not free.all():
        held = ", ".join(name for name, is_free in zip(problem.names, free, strict=True) if not is_free)
        texts.append(f"Held at zero: {held}.")
    if at_limit:
        texts.append(
            f"The energy shift ended at its limit of {problem.options.max_energy_shift:g} eV: calibrate the energies, "
            "or allow a larger shift."
        )
    return tuple(texts)
