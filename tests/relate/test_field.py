"""How well a line through a field is known: against dense matrices, and against many fields of known covariance."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from cathoscope.core.errors import MeasurementError
from cathoscope.relate.field import Cells, Design, through_design

Array = NDArray[np.float64]

_INSIDE = np.linalg.norm(np.indices((11, 11, 11)) - 5.0, axis=0) < 5.4


def _distance() -> Array:
    at = np.argwhere(_INSIDE).astype(np.float64)
    return cdist(at, at)


def test_expected_covariance_of_residuals_is_that_of_the_projection() -> None:
    """M S M averaged over directions, by dense matrices; and the exact covariance of the coefficients."""
    cells, distance = Cells(_INSIDE), _distance()
    rng = np.random.default_rng(0)
    columns = np.column_stack([np.ones(cells.count), rng.normal(size=(cells.count, 2))])
    design = Design.of(cells, columns)
    inverse = np.linalg.pinv(columns)
    left = np.eye(cells.count) - columns @ inverse
    shell = np.rint(distance).astype(int)
    for k, covariance in (
        (0, np.eye(cells.count)),
        (2, np.exp(-distance / 2.0)),
        (6, np.exp(-((distance / 3.0) ** 2))),
    ):
        seen = left @ covariance @ left
        truth = [seen[shell == lag].mean() for lag in range(design.expected.shape[0])]
        np.testing.assert_allclose(design.expected[:, k], truth, atol=1e-10)
        exact = np.diag(inverse @ covariance @ inverse.T)
        np.testing.assert_allclose(design.spread[:, k], exact, rtol=1e-8)


def test_intervals_hold_the_slope_of_correlated_fields() -> None:
    """100 fields of correlation length 2 with noise: pulls of mean 0 and width 1 within four standard errors."""
    cells, distance = Cells(_INSIDE), _distance()
    at = np.argwhere(_INSIDE)
    depth = 5.4 - np.linalg.norm(at - 5.0, axis=1)
    root = np.linalg.cholesky(np.exp(-distance / 2.0) + 0.1 * np.eye(cells.count))
    rng = np.random.default_rng(5)
    design = Design.of(cells, np.column_stack([np.ones(cells.count), depth]))
    pulls = []
    for _ in range(100):
        line = through_design(design, 0.3 * depth + root @ rng.normal(size=cells.count))
        pulls.append((line.value[1] - 0.3) / line.std[1])
    assert abs(np.mean(pulls)) < 4 / np.sqrt(100)
    assert abs(np.std(pulls) - 1) < 4 / np.sqrt(200)
    independent = np.linalg.inv(design.columns.T @ design.columns)[1, 1] * (1.1)
    assert line.std[1] > 2 * np.sqrt(independent)  # voxels taken as independent would be far too sure


def test_white_noise_gives_the_textbook_uncertainty() -> None:
    cells = Cells(np.ones((9, 9, 9), bool))
    rng = np.random.default_rng(2)
    x = rng.normal(size=729)
    line = through_design(Design.of(cells, np.column_stack([np.ones(729), x])), 2.0 * x + rng.normal(size=729))
    centred = x - x.mean()
    assert line.std[1] == pytest.approx(1 / np.sqrt((centred**2).sum()), rel=0.12)
    assert line.freedom == pytest.approx(727, rel=0.25)


def test_values_without_scatter_are_refused() -> None:
    cells = Cells(np.ones((4, 4, 4), bool))
    with pytest.raises(MeasurementError, match="exactly"):
        through_design(Design.of(cells, np.column_stack([np.ones(64), np.arange(64.0)])), np.ones(64))
