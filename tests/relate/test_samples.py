"""One sample against another: against closed forms, against scipy's tests, and over many draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cathoscope.core.schema import SCHEMA
from cathoscope.relate.multiple_tests import false_discovery, holm
from cathoscope.relate.sample_metrics import METRICS
from cathoscope.relate.samples import (
    ONE_SPREAD,
    REPLICATED,
    SINGLE,
    Reading,
    difference_of,
)

_FIRST, _SECOND = (5.1, 4.7, 5.6, 5.0), (4.1, 3.2, 4.4, 3.9)


def _units(values, std: float = 0.1, **causes: float) -> list[Reading]:
    return [Reading(value, std, causes, unit=f"particle {place}") for place, value in enumerate(values)]


def test_replicated_samples_agree_with_welch_as_another_program_has_it() -> None:
    told = difference_of(_units(_FIRST), _units(_SECOND))
    other = stats.ttest_ind(_FIRST, _SECOND, equal_var=False)
    assert told is not None
    assert told.scope == REPLICATED
    assert told.probability == pytest.approx(other.pvalue, rel=1e-9)
    assert told.freedom == pytest.approx(other.df, rel=1e-9)
    np.testing.assert_allclose(told.wide_interval, other.confidence_interval(0.95), rtol=1e-9)
    spread = np.sqrt(0.5 * (np.var(_FIRST, ddof=1) + np.var(_SECOND, ddof=1)))
    assert told.effect == pytest.approx((np.mean(_FIRST) - np.mean(_SECOND)) / spread * (1 - 3 / 23), rel=2e-3)


def test_what_both_samples_share_cancels_and_what_one_has_is_added_once() -> None:
    alone = difference_of(_units(_FIRST), _units(_SECOND))
    shared = difference_of(_units(_FIRST, foil=0.5), _units(_SECOND, foil=0.5))
    one = difference_of(_units(_FIRST, foil=0.5), _units(_SECOND))
    assert alone is not None
    assert shared is not None
    assert one is not None
    assert shared.std == pytest.approx(alone.std, rel=1e-12)
    assert shared.systematic == 0
    assert one.std == pytest.approx(np.hypot(alone.std, 0.5), rel=1e-12)
    assert shared.first_std == pytest.approx(np.hypot(alone.first_std, 0.5), rel=1e-12)


def test_one_unit_each_speaks_for_these_units_with_their_own_uncertainty() -> None:
    told = difference_of([Reading(8350.0, 0.03, {"foil": 0.2})], [Reading(8349.9, 0.04, {"foil": 0.2})])
    assert told is not None
    assert told.scope == SINGLE
    assert told.std == pytest.approx(0.05, rel=1e-12)
    assert told.effect == pytest.approx(2.0, rel=1e-9)
    assert told.probability == pytest.approx(2 * stats.norm.sf(2.0), rel=1e-9)


def test_uneven_ends_add_on_the_side_that_they_are_on() -> None:
    told = difference_of([Reading(10.0, 2.0, ends=(3.0, 1.0))], [Reading(5.0, 2.0, ends=(2.0, 4.0))])
    assert told is not None
    assert told.interval == pytest.approx((5.0 - 5.0, 5.0 + np.hypot(1.0, 2.0)), rel=1e-12)
    assert told.probability == pytest.approx(2 * stats.norm.sf(1.0), rel=1e-9)


def test_a_single_unit_is_taken_to_scatter_as_the_others_do() -> None:
    told = difference_of(_units(_FIRST), _units(_SECOND[:1]))
    assert told is not None
    assert told.scope == ONE_SPREAD
    expected = np.std(_FIRST, ddof=1) * np.sqrt(1 + 1 / 4)
    assert told.std == pytest.approx(expected, rel=1e-12)
    assert told.probability == pytest.approx(2 * stats.t.sf((np.mean(_FIRST) - 4.1) / expected, 3), rel=1e-9)


def test_one_unit_is_no_surer_than_its_own_measurement() -> None:
    told = difference_of(_units(_FIRST), _units(_SECOND[:1], std=3.0))
    assert told is not None
    assert told.std == pytest.approx(np.hypot(np.std(_FIRST, ddof=1) / 2, 3.0), rel=1e-12)


def test_repeated_readings_of_one_unit_are_one_unit() -> None:
    repeated = [Reading(5.0, 0.2, unit="a"), Reading(5.2, 0.2, unit="a")]
    told = difference_of(repeated, [Reading(5.0, 0.0001, unit="b")])
    assert told is not None
    assert told.scope == SINGLE
    assert told.std == pytest.approx(0.2 / np.sqrt(2), rel=1e-5)


def test_values_rounded_alike_are_not_taken_as_exact() -> None:
    told = difference_of(_units((22.55,) * 3, std=1.8), _units((22.38,) * 3, std=1.8))
    assert told is not None
    assert told.std == pytest.approx(1.8 * np.sqrt(2 / 3), rel=1e-12)
    assert difference_of(_units((22.55,) * 3, std=np.nan), _units((22.38,) * 3, std=np.nan)) is None


def test_nothing_is_said_of_what_has_no_value_or_no_uncertainty() -> None:
    assert difference_of([Reading(np.nan, 0.1)], [Reading(1.0, 0.1)]) is None
    assert difference_of([Reading(2.0, np.nan)], [Reading(1.0, 0.1)]) is None
    assert difference_of([], [Reading(1.0, 0.1)]) is None


@given(
    st.lists(st.floats(-100, 100), min_size=1, max_size=5),
    st.lists(st.floats(-100, 100), min_size=1, max_size=5),
    st.floats(-1000, 1000),
)
def test_samples_the_other_way_round_give_the_opposite(first: list[float], second: list[float], shift: float) -> None:
    there, back = difference_of(_units(first), _units(second)), difference_of(_units(second), _units(first))
    moved = difference_of(_units(np.add(first, shift)), _units(np.add(second, shift)))
    assert there is not None
    assert back is not None
    assert moved is not None
    assert there.value == pytest.approx(-back.value, abs=1e-9)
    assert there.probability == pytest.approx(back.probability, rel=1e-9, abs=1e-300)
    np.testing.assert_allclose(there.wide_interval, np.negative(back.wide_interval)[::-1], rtol=1e-9, atol=1e-9)
    assert moved.value == pytest.approx(there.value, abs=1e-6)


@pytest.mark.parametrize(("n", "m", "spreads"), [(3, 3, (1, 1)), (2, 6, (3, 1)), (3, 5, (2, 1)), (1, 4, (1, 1))])
def test_identical_samples_are_rarely_called_different(n: int, m: int, spreads: tuple[float, float]) -> None:
    """Of 600 pairs, chance puts at most 45 below 5 % in 99 % of all trials; two against six is Welch's worst case."""
    generator = np.random.default_rng(5)
    alarms = 0
    for _ in range(600):
        told = difference_of(
            _units(generator.normal(0, spreads[0], n), 0.05), _units(generator.normal(0, spreads[1], m), 0.05)
        )
        assert told is not None
        alarms += told.probability < 0.05
    assert alarms <= stats.binom.ppf(0.995, 600, 0.05)


def test_holm_by_its_definition() -> None:
    """Step down by hand: the smallest is held against 0.05 / 4, the next against 0.05 / 3."""
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, np.nan, 0.6]), [1.0, np.nan, 1.0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_share_of_false_discoveries_as_another_program_has_it(chances: list[float]) -> None:
    np.testing.assert_allclose(false_discovery(chances), stats.false_discovery_control(chances), atol=1e-12)
    assert (holm(chances) >= false_discovery(chances) - 1e-12).all()


def test_every_quantity_is_a_named_array_and_stands_once() -> None:
    names = [metric.array for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert metric.array in SCHEMA
        assert metric.needs.removeprefix("not ") in {"", *SCHEMA}
        assert metric.safer in {"", "higher", "lower"}
