"""Where a curve reaches a level, against straight lines."""

from __future__ import annotations

import numpy as np
import pytest

from cathoscope.relate.equal_cycle import cycle_reaching

_CYCLES = np.arange(46.0)


def test_a_straight_curve_reaches_it_where_arithmetic_says() -> None:
    found = cycle_reaching(cycle=_CYCLES, curve=0.02 + 0.005 * _CYCLES, curve_std=0.006, level=0.17, level_std=0.008)
    assert found.cycle == pytest.approx(30.0)
    assert found.low == pytest.approx(30.0 - 0.01 / 0.005)
    assert found.high == pytest.approx(30.0 + 0.01 / 0.005)


def test_what_is_not_reached_has_no_cycle_and_an_open_end() -> None:
    found = cycle_reaching(cycle=_CYCLES, curve=0.02 + 0.001 * _CYCLES, curve_std=0.005, level=0.07, level_std=0.0)
    assert np.isnan(found.cycle)
    assert found.low == pytest.approx(45.0)
    assert found.high == np.inf
    assert np.isnan(cycle_reaching(cycle=[1.0], curve=[0.1], curve_std=0.01, level=0.1, level_std=0.0).cycle)


def test_a_level_below_the_first_point_is_reached_there() -> None:
    found = cycle_reaching(cycle=_CYCLES, curve=0.3 + 0.001 * _CYCLES, curve_std=0.005, level=0.1, level_std=0.0)
    assert (found.cycle, found.low, found.high) == (0.0, 0.0, 0.0)
