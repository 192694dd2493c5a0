"""Changes of course along cycles: found where they are, not where they are not, with intervals that hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.optimize import least_squares

from cathoscope.core.errors import MeasurementError
from cathoscope.lab import regimes
from cathoscope.lab.regimes import regimes_of

Array = NDArray[np.float64]


def correlated(rng: np.random.Generator, count: int, scale: float, correlation: float) -> Array:
    noise = rng.normal(0.0, scale, count)
    for place in range(1, count):
        noise[place] = correlation * noise[place - 1] + np.sqrt(1 - correlation**2) * noise[place]
    return noise


def bent(x: Array, at: float, before: float, after: float) -> Array:
    return 1.0 + before * np.minimum(x - at, 0.0) + after * np.maximum(x - at, 0.0)


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (0.01, -0.004, "rise then fade"),
        (-0.001, -0.008, "knee"),
        (-0.01, -0.001, "easing"),
        (-0.01, 0.01, "fade then rise"),
    ],
)
def test_two_lines_are_found_with_their_slopes(before: float, after: float, kind: str) -> None:
    x = np.arange(1.0, 46.0)
    found = regimes_of(x, bent(x, 17.0, before, after) + np.random.default_rng(4).normal(0, 0.004, x.size))
    assert (found.verdict, found.kind) == ("change", kind)
    assert found.change is not None
    assert found.change.low < 17.0 < found.change.high
    assert abs(found.before.value - before) < 4 * found.before.std
    assert abs(found.after.value - after) < 4 * found.after.std
    assert found.bic["change"] < found.bic["linear"] - 6


def test_the_change_is_that_of_least_squares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were errors known to be independent, the likeliest place is that of a search by another method."""
    monkeypatch.setattr(regimes, "_CORRELATIONS", np.zeros(1))
    monkeypatch.setattr(regimes, "_WEIGHTS", np.zeros(1))
    x = np.arange(1.0, 61.0)
    y = bent(x, 24.0, 0.006, -0.004) + np.random.default_rng(9).normal(0, 0.002, x.size)
    found = regimes_of(x, y)

    def residual(p: Array) -> Array:
        return p[0] + p[1] * np.minimum(x - p[3], 0.0) + p[2] * np.maximum(x - p[3], 0.0) - y

    other = least_squares(residual, [1.0, 0.0, 0.0, 30.0], x_scale=[1, 0.01, 0.01, 10])
    assert found.change is not None
    assert found.change.value == pytest.approx(other.x[3], abs=0.02)
    spread = np.sqrt(np.diag(np.linalg.inv(other.jac.T @ other.jac))) * np.sqrt(2 * other.cost / (x.size - 4))
    assert found.before.value == pytest.approx(other.x[1], rel=1e-3)
    assert found.before.std == pytest.approx(spread[1], rel=0.02)
    assert found.after.std == pytest.approx(spread[2], rel=0.02)


def test_lines_and_curves_hold_no_change() -> None:
    x = np.arange(1.0, 101.0)
    rng = np.random.default_rng(0)
    for r in (0.0, 0.6):
        line = [regimes_of(x, 1 - 0.001 * x + correlated(rng, 100, 0.004, r)).verdict for _ in range(3)]
        assert line.count("one line") >= 2
    curve = regimes_of(x, 0.8 + 0.2 * np.exp(-x / 30) + rng.normal(0, 0.004, 100))
    assert curve.verdict == "smooth curve"
    assert curve.change is None
    assert curve.kind == ""


def test_correlated_errors_widen_the_interval_and_slopes() -> None:
    """The same lines under errors of one size, independent or not."""
    x = np.arange(1.0, 101.0)
    widths, spreads = [], []
    for r in (0.0, 0.8):
        rng = np.random.default_rng(3)
        found = [regimes_of(x, bent(x, 60.0, -0.0005, -0.006) + correlated(rng, 100, 0.004, r)) for _ in range(3)]
        widths.append(np.median([one.change.high - one.change.low for one in found if one.change is not None]))
        spreads.append(np.median([one.before.std for one in found]))
    assert widths[1] > 1.4 * widths[0]
    assert spreads[1] > 1.8 * spreads[0]


def test_coverage_of_the_change() -> None:
    """A small version of the benchmark: 24 series, intervals of 68 %; within the 99.9 % range."""
    x = np.arange(1.0, 31.0)
    held = 0
    for seed in range(24):
        y = bent(x, 11.0, 0.01, -0.005) + np.random.default_rng(seed).normal(0, 0.006, x.size)
        change = regimes_of(x, y, level=0.68).change
        held += change is not None and change.low <= 11.0 <= change.high
    assert 9 <= held <= 23


def test_a_change_beyond_the_series_is_not_bounded() -> None:
    """Too near the end to be told apart from a single odd value: the interval is open, or there is no change."""
    x = np.arange(1.0, 31.0)
    found = regimes_of(x, bent(x, 28.5, 0.0, -0.02) + np.random.default_rng(1).normal(0, 0.006, x.size))
    assert found.change is None or found.change.high > 29.0


def test_scale_and_unit_do_not_matter() -> None:
    x = np.arange(1.0, 41.0)
    y = bent(x, 15.0, 0.01, -0.004) + np.random.default_rng(2).normal(0, 0.004, x.size)
    one, other = regimes_of(x, y), regimes_of(10 * x + 5, 1e-9 * y)
    assert one.change is not None
    assert other.change is not None
    np.testing.assert_allclose(np.array(other.change), 10 * np.array(one.change) + 5, rtol=1e-6)
    assert other.before.value == pytest.approx(1e-10 * one.before.value, rel=1e-6)


@pytest.mark.parametrize(
    ("cycle", "value", "std"),
    [(np.arange(7), np.arange(7), 1.0), (np.zeros(10), np.arange(10), 1.0), (np.arange(10), np.arange(10), 0.0)],
)
def test_what_is_no_series_is_refused(cycle: Array, value: Array, std: float) -> None:
    with pytest.raises(MeasurementError, match="no course can be told"):
        regimes_of(cycle, value, std)


def test_cells_of_baumhoefer_have_a_knee(data_folder: Path) -> None:
    """Attia et al. show these cells for their knees; of eight, until half of the capacity, all fade faster later."""
    table = loadmat(data_folder / "lab" / "fade-48-cells-nmc" / "baumhofer.mat")["lifetime"][0, 0]
    places = []
    for name in table.dtype.names[8:16]:
        cell = table[name][0, 0]
        cycle, capacity = cell["cyc"].ravel().astype(float), cell["cap"].ravel().astype(float)
        good = np.isfinite(capacity) & (capacity > 0.5 * np.nanmax(capacity)) & (np.diff(cycle, append=1e9) > 0)
        found = regimes_of(cycle[good], capacity[good])
        assert found.kind == "knee", name
        assert found.change is not None
        places.append(found.change.value)
    assert 800 < min(places) < max(places) < 1500
