"""Least squares against closed forms, and the words for its end."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import Dual, Graded, stacked, value_of
from cathoscope.powder.parameters import Parameter, Parameters, Values, search_of
from cathoscope.powder.refine import Fit, Residual, refined

Array = NDArray[np.float64]


def residual(observed: Array, made: Graded, std: float | Array = 1.0) -> list[Residual]:
    slope = made.slope if isinstance(made, Dual) else np.zeros((observed.size, 0))
    std = np.broadcast_to(std, observed.shape)
    return [Residual((observed - value_of(made)) / std, slope / std[:, None])]


def line(design: Array, observed: Array, std: Array, free: str, **numbers: Parameter) -> Fit:
    """The sum of the columns of a design, each times the number of its letter."""
    parameters = Parameters(numbers)

    def compare(values: Values) -> list[Residual]:
        made = sum(design[:, k] * values[name] for k, name in enumerate(numbers))
        return residual(observed, made, std)

    return refined(search_of(parameters, list(free)), compare)


X = np.linspace(-1, 1, 60)
DESIGN = np.stack([np.ones_like(X), X, X**2], axis=1)
STD = 0.1 + 0.05 * X**2
OBSERVED = DESIGN @ [3.0, -2.0, 0.5] + STD * np.random.default_rng(3).standard_normal(X.size)
ABC = {"a": Parameter(0.0), "b": Parameter(0.0), "c": Parameter(0.0)}


def near(found: Fit, expected: ArrayLike) -> bool:
    """Within a hundredth of the uncertainty, which is what an end of a search is."""
    return bool(np.all(np.abs(found.u - expected) <= 0.01 * np.sqrt(np.diag(found.covariance))))


def test_a_linear_problem_has_the_solution_and_covariance_of_linear_algebra() -> None:
    found = line(DESIGN, OBSERVED, STD, "abc", **ABC)
    weighted = DESIGN / STD[:, None]
    expected, *_ = np.linalg.lstsq(weighted, OBSERVED / STD, rcond=None)

    assert found.outcome == "converged"
    assert near(found, expected)
    assert found.covariance == pytest.approx(np.linalg.inv(weighted.T @ weighted), rel=1e-8)
    chi2 = np.sum((OBSERVED / STD - weighted @ expected) ** 2)
    assert found.chi2 == pytest.approx(chi2)
    assert found.gof == pytest.approx(np.sqrt(chi2 / (X.size - 3)))
    assert np.diag(found.correlations()) == pytest.approx(1.0)


def test_uncertainty_of_what_follows_is_by_its_derivatives() -> None:
    found = line(DESIGN, OBSERVED, STD, "abc", **ABC)
    values = found.values()
    place = np.array([1.0, 0.7, 0.49])
    quantity = values["a"] + 0.7 * values["b"] + 0.49 * values["c"]

    plain = np.sqrt(place @ found.covariance @ place)
    assert found.std_of(quantity, widened=False) == pytest.approx(plain)
    assert found.std_of(quantity) == pytest.approx(plain * max(found.gof, 1.0))
    assert found.std_of(5.0) == 0.0


def test_positive_numbers_have_uncertainties_of_themselves() -> None:
    """Refined as a logarithm or not, the linear problem has one answer."""
    plain = line(DESIGN, OBSERVED, STD, "abc", **ABC)
    positive = line(DESIGN, OBSERVED, STD, "abc", a=Parameter(1.0, positive=True), b=ABC["b"], c=ABC["c"])

    assert positive.outcome == "converged"
    assert positive.numbers()["a"] == pytest.approx(plain.numbers()["a"], abs=0.02 * plain.std("a"))
    assert positive.std("a") == pytest.approx(plain.std("a"), rel=1e-3)


def test_tied_numbers_are_solved_as_one() -> None:
    parameters = Parameters(ABC).tied_to("c", {"b": -0.25}, 0.1)
    search = search_of(parameters, ["a", "b"])

    def compare(values: Values) -> list[Residual]:
        return residual(OBSERVED, sum(DESIGN[:, k] * values[name] for k, name in enumerate("abc")), STD)

    found = refined(search, compare)
    design = np.stack([DESIGN[:, 0], DESIGN[:, 1] - 0.25 * DESIGN[:, 2]], axis=1) / STD[:, None]
    expected, *_ = np.linalg.lstsq(design, (OBSERVED - 0.1 * DESIGN[:, 2]) / STD, rcond=None)
    assert near(found, expected)
    b = np.sqrt(np.linalg.inv(design.T @ design)[1, 1])
    assert found.std("c", widened=False) == pytest.approx(0.25 * b)


def rosenbrock(values: Values) -> list[Residual]:
    x, y = values["x"], values["y"]
    return residual(np.zeros(2), stacked([10.0 * (y - x * x), x - 1.0]), 1e-3)


def test_a_curved_valley_is_followed_to_its_end() -> None:
    search = search_of(Parameters({"x": Parameter(-1.2), "y": Parameter(1.0)}), ["x", "y"])
    found = refined(search, rosenbrock)

    assert found.outcome == "converged"
    assert found.u == pytest.approx([1.0, 1.0], abs=1e-4)
    # the exact normal matrix at the solution: J = [[-20, 10], [1, 0]]
    jacobian = np.array([[-20.0, 10.0], [1.0, 0.0]])
    assert found.covariance == pytest.approx(1e-6 * np.linalg.inv(jacobian.T @ jacobian), rel=1e-3)


def test_too_few_steps_are_told_as_stalled() -> None:
    search = search_of(Parameters({"x": Parameter(-1.2), "y": Parameter(1.0)}), ["x", "y"])
    found = refined(search, rosenbrock, cycles=3)

    assert found.outcome == "stalled"
    assert found.cycles == 3
    assert "no end was found in 3 steps" in found.remarks


def test_the_sum_of_squares_never_rises() -> None:
    search = search_of(Parameters({"x": Parameter(-1.2), "y": Parameter(1.0)}), ["x", "y"])
    sums = [refined(search, rosenbrock, cycles=n).chi2 for n in range(1, 12)]

    assert np.all(np.diff(sums) <= 0)


def test_a_bound_that_binds_is_told() -> None:
    found = line(DESIGN, OBSERVED, STD, "abc", a=Parameter(0.0, high=2.0), b=ABC["b"], c=ABC["c"])
    weighted = DESIGN[:, 1:] / STD[:, None]
    expected, *_ = np.linalg.lstsq(weighted, (OBSERVED - 2.0) / STD, rcond=None)

    assert found.outcome == "bound"
    assert near(found, [2.0, *expected])
    assert found.remarks == ("a ends at its bound, 2",)


def test_a_bound_that_does_not_bind_is_left_again() -> None:
    found = line(DESIGN, OBSERVED, STD, "abc", a=Parameter(0.0, low=0.0), b=ABC["b"], c=ABC["c"])

    assert found.outcome == "converged"
    assert found.u[0] == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_many_bounds_at_once_end_where_nonnegative_least_squares_does(seed: int) -> None:
    """Overlapping bells of which half are not there; Lawson and Hanson's solution, in a few steps."""
    rng = np.random.default_rng(seed)
    x, places = np.linspace(0, 20, 200), np.arange(1, 20)
    design = np.exp(-0.5 * ((x[:, None] - places) / 0.8) ** 2)
    true = np.where(rng.uniform(size=places.size) < 0.5, 0.0, 5.0)
    observed = design @ true + rng.standard_normal(x.size)
    names = [f"n{k}" for k in range(places.size)]
    search = search_of(Parameters({name: Parameter(1.0, low=0.0) for name in names}), names)

    def compare(values: Values) -> list[Residual]:
        return residual(observed, sum(design[:, k] * values[name] for k, name in enumerate(names)))

    found = refined(search, compare)
    expected, _ = nnls(design, observed)
    assert found.outcome == "bound"
    assert found.cycles < 12
    np.testing.assert_array_equal(found.u == 0, expected == 0)
    assert near(found, expected)


def test_numbers_that_cannot_be_told_apart_are_singular() -> None:
    twice = np.stack([DESIGN[:, 0], DESIGN[:, 1], 2 * DESIGN[:, 1]], axis=1)
    found = line(twice, OBSERVED, STD, "abc", **ABC)

    assert found.outcome == "singular"
    assert found.remarks == ("the pattern does not determine b and c",)
    assert np.isinf(found.std("b"))
    assert np.isinf(found.std("c"))
    # what the pattern does determine keeps its uncertainty
    assert found.std("a", widened=False) == pytest.approx(
        np.sqrt(np.linalg.inv((DESIGN[:, :2] / STD[:, None]).T @ (DESIGN[:, :2] / STD[:, None]))[0, 0])
    )


def test_a_number_without_any_effect_is_singular() -> None:
    without = np.stack([DESIGN[:, 0], np.zeros_like(X), DESIGN[:, 2]], axis=1)
    found = line(without, OBSERVED, STD, "abc", **ABC)

    assert found.outcome == "singular"
    assert "the pattern does not determine b" in found.remarks


def peak(values: Values) -> list[Residual]:
    """A peak at x in a pattern that is below zero, the less the larger x is: it flees."""
    away = (X - values["x"]) * 8.0
    return residual(X - 1.5, np.exp(-away * away), 0.05)


def test_a_number_that_runs_away_has_diverged() -> None:
    found = refined(search_of(Parameters({"x": Parameter(0.3)}), ["x"]), peak)

    assert found.outcome == "diverged"
    assert "x has run away to" in found.remarks[0]
    assert found.numbers()["x"] > 1.3


def test_a_step_into_nonsense_is_taken_back() -> None:
    """A model that is nowhere below zero: steps that overshoot are shortened, not taken."""

    def compare(values: Values) -> list[Residual]:
        x = values["x"]
        if float(value_of(x)) <= 0:
            raise MeasurementError("no such pattern")
        return residual(np.array([0.01]), np.sqrt(stacked([x])), 1e-3)

    found = refined(search_of(Parameters({"x": Parameter(4.0)}), ["x"]), compare)
    assert found.outcome == "converged"
    assert found.u[0] == pytest.approx(1e-4, rel=1e-2)


def test_a_start_that_cannot_be_calculated_is_refused() -> None:
    search = search_of(Parameters({"x": Parameter(0.0)}), ["x"])
    with pytest.raises(MeasurementError, match="cannot be calculated from the start"):
        refined(search, lambda values: residual(np.zeros(1), np.log(stacked([values["x"]]))))


def test_nothing_free_is_one_calculation() -> None:
    found = line(DESIGN, OBSERVED, STD, "", **ABC)

    assert found.outcome == "converged"
    assert found.chi2 == pytest.approx(np.sum((OBSERVED / STD) ** 2))
    assert found.covariance.shape == (0, 0)


def test_where_the_model_bends_more_than_its_slopes_tell_a_search_still_arrives() -> None:
    """Gauss and Newton's steps from near (0,) overshoot threefold there: half the second derivative of the sum of
    squares of u + 1 and -3 u^2 + u - 1 is 8, and their slopes tell 2. Such is a faint phase beside misfit peaks.
    Dennis and Schnabel, Numerical Methods for Unconstrained Optimization (1983), example 10.2.4.
    """

    def compare(values: Values) -> list[Residual]:
        u = values["u"]
        return residual(np.zeros(2), stacked([u + 1.0, u - 3.0 * u * u - 1.0]))

    found = refined(search_of(Parameters({"u": Parameter(0.3)}), ["u"]), compare, cycles=12)
    assert found.outcome == "converged"
    assert near(found, 0.0)
