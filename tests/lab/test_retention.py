"""Retention, cycles to a share, rates, slippage; replicates and their comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.io import loadmat

from cathoscope.core.errors import MeasurementError
from cathoscope.lab.replicates import compared, course_of, replicates_of
from cathoscope.lab.retention import cycle_at, rates_of, retention_of, slippage_of


def test_retention_and_its_uncertainty() -> None:
    found = retention_of([1, 2, 3], [200.0, 210.0, 105.0], [2.0, 2.1, 1.0], reference=2)
    np.testing.assert_allclose(found.value, [200 / 210, 1.0, 0.5])
    np.testing.assert_allclose(found.std, [200 / 210 * np.hypot(0.01, 0.01), 0.0, 0.5 * np.hypot(1 / 105, 0.01)])
    assert found.capacity == (210.0, 2.1, 0.0)
    reached = cycle_at(found, 0.75)
    assert reached is not None
    assert reached.value == pytest.approx(2.5)
    assert reached.std == pytest.approx(0.5 * found.std[2] / 0.5)
    assert cycle_at(found, 0.4) is None


@pytest.mark.parametrize("reference", [4, 1])
def test_a_reference_without_capacity_is_refused(reference: int) -> None:
    with pytest.raises(MeasurementError, match="cannot be the reference"):
        retention_of([1, 2, 3], [np.nan, 1.0, 1.0], reference=reference)


@given(st.floats(1e-12, 1e3), st.floats(0.01, 1.0))
def test_retention_knows_no_unit(scale: float, fade: float) -> None:
    cycle = np.arange(1, 20)
    capacity = 1 - fade * np.linspace(0, 1, 19) ** 2
    one, other = (retention_of(cycle, s * capacity, 0.01 * s, reference=1) for s in (1.0, scale))
    np.testing.assert_allclose(one.value, other.value)
    np.testing.assert_allclose(one.std, other.std)


def test_rates_and_what_is_recovered() -> None:
    current = np.repeat([0.1, 0.5, 2.0, 0.1], 5) * (1 + 0.01 * np.tile([0, 1, -1, 0, 1], 4))
    capacity = np.repeat([200.0, 180.0, 120.0, 190.0], 5)
    found = rates_of(np.arange(1, 21), current, capacity, one_c=1.0)
    assert [(one.first, one.last, one.cycles) for one in found] == [(1, 5, 5), (6, 10, 5), (11, 15, 5), (16, 20, 5)]
    np.testing.assert_allclose([one.rate for one in found], [0.1, 0.5, 2.0, 0.1], rtol=0.01)
    np.testing.assert_allclose([one.share for one in found], [1.0, 0.9, 0.6, 0.95])


def test_end_points_slip_by_what_leaks() -> None:
    """A leakage that takes 0.2 % of every charge, and fade of 0.1 %: both ends move as charges say."""
    rng = np.random.default_rng(0)
    charge = 1.0 - 0.001 * np.arange(60) + rng.normal(0, 1e-4, 60)
    discharge = 0.998 * charge + rng.normal(0, 1e-4, 60)
    found = slippage_of(charge, discharge)
    assert found.discharge_end[-1] == pytest.approx((charge - discharge).sum())
    assert found.charge_end[0] == charge[0]
    np.testing.assert_allclose(found.charge_end - found.discharge_end, discharge)
    assert abs(found.discharge_slip.value - 0.002 * charge[1:].mean()) < 4 * found.discharge_slip.std
    assert found.charge_slip.value == pytest.approx(found.discharge_slip.value + np.diff(discharge).mean())
    with pytest.raises(MeasurementError, match="every charge and discharge"):
        slippage_of([1.0, np.nan, 1.0, 1.0], [1.0] * 4)


def test_replicates_and_course_by_hand() -> None:
    found = replicates_of([85.0, 84.0, 86.0])
    assert (found.mean, found.spread, found.count) == (85.0, 1.0, 3)
    assert found.interval[1] - 85.0 == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)  # t(0.975, 2)
    along = course_of([[1.0, 85.0], [1.0, 84.0], [np.nan, 86.0]])
    assert along.count.tolist() == [2, 3]
    assert along.high[1] == pytest.approx(found.interval[1])
    assert along.spread[0] == 0.0
    assert np.isnan(course_of([[1.0, 2.0]]).spread).all()


def test_comparison_equals_scipy_and_the_tables_of_hedges() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, 5), rng.normal(1, 2, 8)
    found, welch = compared(a, b), stats.ttest_ind(a, b, equal_var=False)
    ends = welch.confidence_interval(0.95)
    np.testing.assert_allclose(
        (found.t, found.p, found.freedom, *found.interval),
        (welch.statistic, welch.pvalue, welch.df, ends.low, ends.high),
    )
    # J of 4 and of 11 degrees of freedom: 0.7979, 0.9300 (Hedges 1981, table 1)
    x, y = np.array([0.0, 1.0, 2.0]), np.array([3.0, 4.0, 5.0])
    assert compared(y, x).effect / 3.0 == pytest.approx(0.7979, abs=1e-4)
    assert compared(x, y).effect == -compared(y, x).effect
    np.testing.assert_allclose(
        compared(x, y).effect_interval, -np.array(compared(y, x).effect_interval)[::-1], rtol=1e-6
    )


def test_interval_of_the_effect_inverts_the_noncentral_distribution() -> None:
    """Its ends, put into the library's noncentral t, leave 2.5 % on either side."""
    x, y = np.array([85.0, 84.6, 85.5]), np.array([82.4, 82.0, 83.1])
    found = compared(x, y)
    pooled = np.sqrt((x.var(ddof=1) + y.var(ddof=1)) / 2)
    t = (x.mean() - y.mean()) / pooled * np.sqrt(1.5)
    low, high = (end * np.sqrt(1.5) for end in found.effect_interval)
    np.testing.assert_allclose((stats.nct.sf(t, 4, low), stats.nct.cdf(t, 4, high)), 0.025, rtol=1e-4)


def test_coverage_of_intervals_of_three_cells() -> None:
    """A small version of the benchmark: 150 comparisons; 95 % within the 99.9 % range."""
    rng = np.random.default_rng(5)
    held = np.zeros(2)
    for _ in range(150):
        x, y = rng.normal(85.0, 0.5, 3), rng.normal(82.4, 0.5, 3)
        low, high = replicates_of(x).interval
        effect = compared(x, y).effect_interval
        held += [low < 85.0 < high, effect[0] < 5.2 < effect[1]]
    assert (held >= stats.binom.ppf(0.0005, 150, 0.95)).all()
    assert (held <= stats.binom.ppf(0.9995, 150, 0.95)).all()


def test_one_cell_or_cells_that_do_not_differ_say_nothing() -> None:
    with pytest.raises(MeasurementError, match="one cell says nothing"):
        replicates_of([1.0, np.nan])
    with pytest.raises(MeasurementError, match="do not differ at all"):
        compared([1.0, 1.0], [2.0, 2.0])


def test_forty_eight_cells_fade_to_80_percent_after_1143_cycles(data_folder: Path) -> None:
    """Baumhöfer 2014: linear interpolation of check-ups, first check-up 1; mean 1143, sd 101 over 48 cells."""
    table = loadmat(data_folder / "lab" / "fade-48-cells-nmc" / "baumhofer.mat")["lifetime"][0, 0]
    reached = []
    for name in table.dtype.names:
        cell = table[name][0, 0]
        cycle, capacity = cell["cyc"].ravel().astype(float), cell["cap"].ravel().astype(float)
        known = np.isfinite(capacity)
        unique = np.append(True, np.diff(cycle[known]) > 0)  # a check-up that was repeated counts once
        found = retention_of(cycle[known][unique], capacity[known][unique], reference=cycle[known][0])
        at = cycle_at(found, 0.8)
        assert at is not None
        reached.append(at.value)
    cells = replicates_of(reached)
    assert cells.count == 48
    assert round(cells.mean) == 1143
    assert round(cells.spread) == 101
