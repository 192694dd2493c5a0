"""Backgrounds are Chebyshev polynomials on a scale."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.polynomial import chebyshev

from cathoscope.core.errors import MeasurementError
from cathoscope.powder.background import chebyshev_basis

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


def test_what_cannot_be_is_named() -> None:
    with pytest.raises(MeasurementError, match="no background can be made"):
        chebyshev_basis(x=X, count=0)
    with pytest.raises(MeasurementError, match="no background can be made"):
        chebyshev_basis(x=[3.0, 3.0], count=2)
    with pytest.raises(MeasurementError, match="log scale needs points above zero"):
        chebyshev_basis(x=[-1.0, 3.0], count=2, scale="log")
