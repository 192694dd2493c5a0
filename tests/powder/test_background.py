"""Backgrounds: polynomials, lines between knots, pairs of atoms, broad peaks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial import chebyshev

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import seeded
from cathoscope.powder.background import chebyshev_basis, debye_term, interpolation_basis, knots_between, pseudo_voigt
from tests.powder.shapes import pseudo_voigt as voigt_of_shapes

X = np.linspace(1000.0, 20_000.0, 57)
SCALES = {"linear": lambda x: x, "log": np.log, "inverse": lambda x: 1 / x}


@pytest.mark.parametrize("scale", SCALES)
def test_chebyshev_is_that_of_numpy(scale: str) -> None:
    u = SCALES[scale](X)
    u = 2 * (u - u[0]) / (u[-1] - u[0]) - 1
    basis = chebyshev_basis(x=X, count=6, scale=scale)
    coefficients = np.array([3.0, -1.0, 0.5, 0.2, -0.1, 0.05])
    np.testing.assert_allclose(basis @ coefficients, chebyshev.chebval(u, coefficients), atol=1e-10)


def test_chebyshev_outside_of_its_span_stays() -> None:
    basis = chebyshev_basis(x=[-5.0, 0.0, 1.0, 9.0], count=4, span=(0.0, 1.0))
    np.testing.assert_allclose(basis[0], basis[1])
    np.testing.assert_allclose(basis[3], 1)


@pytest.mark.parametrize("scale", SCALES)
@given(values=st.lists(st.floats(-100, 100), min_size=2, max_size=9))
def test_interpolation_is_that_of_numpy(scale: str, values: list[float]) -> None:
    knots = knots_between(low=2000.0, high=15_000.0, count=len(values), scale=scale)
    u, at = SCALES[scale](X), SCALES[scale](knots)
    order = np.argsort(at)
    expected = np.interp(u, at[order], np.array(values)[order])
    np.testing.assert_allclose(interpolation_basis(x=X, knots=knots, scale=scale) @ values, expected, atol=1e-9)


def test_interpolation_passes_through_its_knots() -> None:
    knots = np.array([1.0, 2.0, 5.0, 6.0])
    np.testing.assert_allclose(interpolation_basis(x=knots, knots=knots, scale="log"), np.eye(4), atol=1e-12)


def test_debye_term() -> None:
    d = np.array([1e6, 2.0])
    got = debye_term(d=d, distance=3.0, displacement=0.02)
    assert got[0] == pytest.approx(1)  # forward all pairs scatter in phase
    assert got[1] == pytest.approx(np.sin(3 * np.pi) / (3 * np.pi) * np.exp(-0.02 * np.pi**2), abs=1e-15)


def test_broad_peak_is_a_pseudo_voigt() -> None:
    x = np.linspace(-30, 40, 33)
    np.testing.assert_allclose(
        pseudo_voigt(x=x, position=4.0, sigma2=20.0, gamma=7.0), voigt_of_shapes(x - 4, 20.0, 7.0), rtol=1e-13
    )


def test_derivatives() -> None:
    start = np.array([3.0, 0.02, 5.0, 20.0, 7.0])
    x = np.linspace(0.5, 9, 21)

    def terms(p: object) -> object:
        debye = debye_term(d=x, distance=p[0], displacement=p[1])
        return debye + pseudo_voigt(x=x, position=p[2], sigma2=p[3], gamma=p[4])

    got = terms(seeded(start))
    np.testing.assert_allclose(got.value, terms(start), rtol=1e-14)
    for k, step in enumerate(1e-4 * start):
        h = step * np.eye(start.size)[k]
        near, far = (terms(start + j * h) - terms(start - j * h) for j in (1, 2))
        np.testing.assert_allclose(got.slope[:, k], (8 * near - far) / (12 * step), rtol=1e-7, atol=1e-10)


def test_what_cannot_be_is_named() -> None:
    with pytest.raises(MeasurementError, match="no background can be made"):
        chebyshev_basis(x=X, count=0)
    with pytest.raises(MeasurementError, match="no background can be made"):
        chebyshev_basis(x=[3.0, 3.0], count=2)
    with pytest.raises(MeasurementError, match="log scale needs points above zero"):
        chebyshev_basis(x=[-1.0, 3.0], count=2, scale="log")
    with pytest.raises(MeasurementError, match="knots of a background do not increase"):
        interpolation_basis(x=X, knots=[2.0, 2.0])
