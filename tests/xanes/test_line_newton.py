"""Maxima of many curves at once, against roots of the slope of the same curves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from cathoscope.xanes import line_newton
from cathoscope.xanes.line_newton import (
    AMPLITUDE,
    CENTRE,
    CURVATURE,
    EDGE,
    JUMP,
    POSITION,
    SLOPE,
    WIDTH,
    bell,
    find_maxima,
    maximum_of,
    new_curves,
)

EDGE_WIDTH, START = 2.0, 0.12  # eV


def curves_of(centre, distance, width, jump, amplitude, slope):
    """A table of curves, one for each set of numbers, to be searched from where the fit begins."""
    rows = np.broadcast_arrays(centre, distance, width, jump, amplitude, slope)
    curves = new_curves(rows[0].size)
    curves[CENTRE], curves[WIDTH], curves[JUMP], curves[AMPLITUDE], curves[SLOPE] = (rows[k] for k in (0, 2, 3, 4, 5))
    curves[EDGE] = curves[CENTRE] - rows[1]
    curves[POSITION] = curves[CENTRE] + np.float32(START)
    return curves


def slope_of(energy, curve):
    """Derivative of straight line, arctangent edge (a Lorentzian) and Gaussian line, written out in full precision."""
    centre, edge, width, slope, jump, amplitude = (np.float64(curve[k]) for k in range(6))
    u = (energy - centre) / width
    rise = jump / (math.pi * EDGE_WIDTH) / (1.0 + ((energy - edge) / EDGE_WIDTH) ** 2)
    return slope + rise - amplitude * u / width * np.exp(-0.5 * u**2)


def maximum_by_bisection(curve):
    """Where the slope falls through zero within 1.5 widths of the line, and the slope's own slope there."""
    reach = 1.5 * float(curve[WIDTH])
    grid = float(curve[CENTRE]) + np.linspace(-reach, reach, 301)
    slope = slope_of(grid, curve)
    falls = np.flatnonzero((slope[:-1] > 0.0) & (slope[1:] <= 0.0))
    if falls.size == 0:
        return math.nan, math.nan
    place = brentq(slope_of, grid[falls[0]], grid[falls[0] + 1], args=(curve,), xtol=1e-12)
    return place, (slope_of(place + 1e-4, curve) - slope_of(place - 1e-4, curve)) / 2e-4


def searched(curves, *, compiled=True):
    """Position and curvature of every curve, ``[curve, 2]``."""
    find, read = (find_maxima, maximum_of) if compiled else (find_maxima.py_func, maximum_of.py_func)
    find(curves, EDGE_WIDTH)
    return np.array([read(curves, i) for i in range(curves.shape[1])])


@pytest.fixture
def usual():
    """Curves of all shapes that the stored steps hold, and lines from a third to one and a half times the jump."""
    rng = np.random.default_rng(71)
    jump = rng.uniform(0.3, 1.2, 150)
    return curves_of(
        rng.uniform(11.2, 22.7, 150),
        rng.uniform(4.5, 9.5, 150),
        rng.uniform(1.4, 3.8, 150),
        jump,
        jump * rng.uniform(0.33, 1.5, 150),
        jump * rng.uniform(-1e-3, 1e-3, 150),
    )


def test_a_maximum_is_where_the_slope_of_the_model_is_zero(usual) -> None:
    expected = np.array([maximum_by_bisection(curve) for curve in usual.T])
    assert np.isfinite(expected).all()
    found = searched(usual)
    np.testing.assert_allclose(found[:, 0], expected[:, 0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[:, 1], expected[:, 1], rtol=1e-4)


def test_as_python_it_finds_the_same(usual, monkeypatch) -> None:
    plain, compiled = usual[:, :20].copy(), usual[:, :20].copy()
    monkeypatch.setattr(line_newton, "bell", bell.py_func)
    by_python = searched(plain, compiled=False)
    monkeypatch.undo()
    # single precision at 20 eV: the compiled one joins a product and a sum into one rounding
    np.testing.assert_allclose(by_python[:, 0], searched(compiled)[:, 0], rtol=0, atol=4e-6)
    np.testing.assert_allclose(by_python[:, 1], compiled[CURVATURE], rtol=1e-5)


def test_a_curve_does_not_feel_the_others(usual) -> None:
    alone = np.concatenate([searched(usual[:, i : i + 1].copy()) for i in range(17)])
    np.testing.assert_array_equal(alone, searched(usual)[:17])


@pytest.mark.parametrize(
    ("amplitude", "slope"),
    [(0.0, 0.0), (0.0, 0.05), (0.1, 0.1), (0.5, 0.3), (0.5, -0.3)],
    ids=["edge alone", "edge on a slope", "weak line on a slope", "line on a steep rise", "line on a steep fall"],
)
@pytest.mark.parametrize("compiled", [True, False])
def test_a_curve_without_a_maximum_has_none(amplitude, slope, compiled, monkeypatch) -> None:
    if not compiled:
        monkeypatch.setattr(line_newton, "bell", bell.py_func)
    centre, distance, width = (x.ravel() for x in np.meshgrid([11.2, 17.0, 22.7], [4.5, 6.5, 9.5], [1.4, 2.6, 3.8]))
    curves = curves_of(centre, distance, width, 0.7, amplitude, slope)
    assert np.isnan([maximum_by_bisection(curve) for curve in curves.T]).all()
    with np.errstate(all="ignore"):  # a search that runs away overflows, which compiled code does not say
        assert np.isnan(searched(curves, compiled=compiled)).all()


def test_a_search_that_does_not_settle_has_found_nothing() -> None:
    """Lines so weak that about half of the curves have no maximum: none is reported that is not there."""
    rng = np.random.default_rng(72)
    centre, distance, width = (rng.uniform(*ends, 300) for ends in ((11.2, 22.7), (4.5, 9.5), (1.4, 3.8)))
    curves = curves_of(centre, distance, width, 0.7, rng.uniform(0.0, 0.03, 300), 0.0)
    expected, found = np.array([maximum_by_bisection(curve) for curve in curves.T]), searched(curves)
    there, seen = np.isfinite(expected[:, 0]), np.isfinite(found[:, 0])
    assert 0.2 < there.mean() < 0.8
    assert not np.any(seen & ~there)
    assert np.mean(there & ~seen) < 0.05  # hardly a maximum: the search is slow there
    np.testing.assert_allclose(found[seen, 0], expected[seen, 0], rtol=0, atol=1e-3)


def test_no_curves_flat_ones_and_nan_are_no_error() -> None:
    assert searched(new_curves(0)).shape == (0,)
    nothing = curves_of(np.array([15.0, np.nan]), 6.5, 2.6, 0.0, 0.0, 0.0)
    assert np.isnan(searched(nothing)).all()


@pytest.mark.parametrize("kernel", [bell, bell.py_func])
def test_the_bell_is_the_exponential_without_a_branch(kernel) -> None:
    places = np.linspace(-1.5, 1.5, 601).astype(np.float32)
    expected = np.array([math.exp(-0.5 * float(u) ** 2) for u in places])
    found = np.array([kernel(u) for u in places])
    assert np.abs(found - expected).max() < 4e-6
    np.testing.assert_array_equal(found, found[::-1])
    assert kernel(np.float32(0.0)) == 1.0
