"""Derivatives of formulas against complex steps, which need no difference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cathoscope.numerics.dual import Dual, chained, mapped, seeded, selected, slope_of, stacked, value_of

ONES = {
    "sqrt": np.sqrt,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "arcsin": np.arcsin,
    "arccos": np.arccos,
    "arctan": np.arctan,
    "square": np.square,
    "negative": np.negative,
    "reciprocal": np.reciprocal,
}
PAIRS = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "power": lambda a, b: a**3 + b**-1.5,
    "exponent": lambda a, b: np.power(a, b),
    "plain left": lambda a, b: 2 - a + 3 / b + np.array([1.0, 2.0]) * a,
}


def complex_slopes(formula, point: np.ndarray) -> np.ndarray:
    """Derivatives by an imaginary step too small to matter: exact to rounding."""
    step = 1e-30
    steps = [point + 1j * step * unit for unit in np.eye(point.size)]
    return np.stack([np.imag(formula(*at)) / step for at in steps], axis=-1)


@pytest.mark.parametrize("name", ONES)
@given(x=st.floats(0.05, 0.9))
def test_functions_of_one_argument(name: str, x: float) -> None:
    got = ONES[name](seeded([x])[0])
    assert got.value == pytest.approx(ONES[name](x), rel=1e-14)
    assert got.slope == pytest.approx(complex_slopes(lambda z: ONES[name](np.asarray(z)), np.array([x])), rel=1e-12)


@pytest.mark.parametrize("name", PAIRS)
@given(x=st.floats(0.1, 3), y=st.floats(0.1, 3))
def test_functions_of_two_arguments(name: str, x: float, y: float) -> None:
    got = PAIRS[name](*seeded([x, y]))
    expected = complex_slopes(PAIRS[name], np.array([x, y]))
    assert got.value == pytest.approx(np.real(PAIRS[name](np.array(x), np.array(y))), rel=1e-14)
    np.testing.assert_allclose(got.slope, expected, rtol=1e-12, atol=1e-13)


@given(st.floats(-3, 3).filter(lambda x: abs(x) > 1e-3), st.floats(0.1, 3))
def test_angle_of_a_point_and_absolute_values(x: float, y: float) -> None:
    at = seeded([x, y])
    angle = np.arctan2(at[0], at[1])
    np.testing.assert_allclose(angle.slope, np.array([y, -x]) / (x * x + y * y), rtol=1e-12)
    assert np.absolute(at[0]).slope.tolist() == [np.sign(x), 0]
    assert (np.degrees(np.radians(at[0])) - at[0]).slope == pytest.approx([0, 0], abs=1e-15)


def test_arrays_broadcast_as_they_do_without_derivatives() -> None:
    a, b = seeded([0.3, 0.7])
    d = np.linspace(1, 3, 5)
    law = lambda a, b: np.sqrt(a * d**2 + b)[:, None] * np.array([1.0, 2.0, 3.0])  # noqa: E731
    got = law(a, b)
    assert got.shape == (5, 3)
    np.testing.assert_allclose(got.slope, complex_slopes(law, np.array([0.3, 0.7])), rtol=1e-12)
    np.testing.assert_allclose(got.sum(axis=0).slope, got.slope.sum(axis=0))
    np.testing.assert_allclose(got[1:3, 0].value, law(0.3, 0.7)[1:3, 0])
    np.testing.assert_allclose(got[..., 0].slope, got.slope[:, 0])


def test_a_plain_array_on_the_left_is_no_array_of_objects() -> None:
    (a,) = seeded([2.0])
    got = np.arange(3.0) * a
    assert isinstance(got, Dual)
    assert got.slope.tolist() == [[0.0], [1.0], [2.0]]


def test_choice_and_stack_keep_each_its_derivatives() -> None:
    a, b = seeded([2.0, 5.0])
    d = np.array([1.0, 2.0, 3.0])
    got = selected(d > 1.5, a * d, b)
    assert got.value.tolist() == [5.0, 4.0, 6.0]
    assert got.slope.tolist() == [[0.0, 1.0], [2.0, 0.0], [3.0, 0.0]]
    both = stacked([a * d, d])
    assert both.shape == (3, 2)
    assert both.slope[:, 1].tolist() == [[0.0, 0.0]] * 3
    assert selected(d > 1.5, d, 0.0).tolist() == [0.0, 2.0, 3.0]
    assert stacked([d, d], axis=0).shape == (2, 3)


def test_known_partial_derivatives_are_chained() -> None:
    a, b = seeded([2.0, 5.0])
    got = chained(np.array([7.0, 8.0]), (np.array([1.0, 2.0]), a * b), (3.0, b), (9.0, 1.0))
    assert got.slope.tolist() == [[5.0, 2.0 + 3.0], [10.0, 4.0 + 3.0]]
    assert isinstance(chained(1.0, (2.0, 3.0)), np.ndarray)
    assert slope_of(1.0, 2).tolist() == [0.0, 0.0]
    assert value_of(a) == 2.0


def test_comparisons_give_truth_values() -> None:
    (a,) = seeded([2.0])
    assert (np.arange(4.0) * a > 3).tolist() == [False, False, True, True]


def test_what_has_no_rule_is_refused() -> None:
    (a,) = seeded([2.0])
    with pytest.raises(TypeError):
        np.arctanh(a)
    with pytest.raises(TypeError):
        np.add.reduce(a)


def test_matrices_map_values_and_derivatives_alike() -> None:
    matrix = np.arange(6.0).reshape(2, 3)
    x = seeded([1.0, -2.0, 3.0])

    assert np.array_equal(mapped(matrix, x).value, matrix @ [1.0, -2.0, 3.0])
    assert np.array_equal(mapped(matrix, x).slope, matrix)
    assert np.array_equal(mapped(matrix, [1.0, -2.0, 3.0]), matrix @ [1.0, -2.0, 3.0])
