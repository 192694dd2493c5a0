"""The balance of oxygen: charges, masses and occupancies; correlated errors; a probe that does not belong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.relate.oxygen import (
    Course,
    at_temperatures,
    balance_of,
    ideal_spinel_oxygen,
    lost_from_valence,
    moved,
    oxygen_from_charges,
    oxygen_per_metal,
    start_discrepancy,
    with_thermometer,
)

_PLACES = np.array([150.0, 200.0, 250.0])
_TRUE = np.array([0.1, 0.3, 0.5])
_ROD = {"Ni": 0.82, "Mn": 0.06, "Co": 0.12}


def _course(name: str = "one", **changes: object) -> Course:
    return replace(Course(name, _PLACES, _TRUE.copy(), np.full(3, 0.02), np.zeros((0, 3))), **changes)


def test_charges_and_valence_tell_the_same_oxygen() -> None:
    # LiNiO2 is neutral with Ni(3+), NiO2 with Ni(4+), and 2 e per oxygen that leaves
    assert oxygen_from_charges(lithium=1.0, nickel_valence=3.0, shares={"Ni": 1.0}) == 2.0
    assert oxygen_from_charges(lithium=0.0, nickel_valence=4.0, shares={"Ni": 1.0}) == 2.0
    before, after = (oxygen_from_charges(lithium=0.3, nickel_valence=v, shares=_ROD) for v in (3.5, 2.5))
    assert lost_from_valence(change=-1.0, nickel=0.82) == pytest.approx(before - after)
    with pytest.raises(MeasurementError, match="valence of Ti"):
        oxygen_from_charges(lithium=0.3, nickel_valence=3.0, shares={"Ni": 0.9, "Ti": 0.1})


def test_oxygen_per_metal_counts_the_atoms_of_the_cell() -> None:
    def found(structure: str, occupancy: float, antisite: float, *, exchanged: bool) -> float:
        return float(oxygen_per_metal(structure=structure, occupancy=occupancy, antisite=antisite, exchanged=exchanged))

    # R-3m has 3 lithium, 3 metal and 6 oxygen sites, Fd-3m 8, 16 and 32
    assert found("layered", 0.98, 0.05, exchanged=True) == pytest.approx(6 * 0.98 / 3)
    assert found("layered", 0.98, 0.05, exchanged=False) == pytest.approx(6 * 0.98 / (3 + 3 * 0.05))
    assert found("spinel", 0.9, 0.1, exchanged=False) == pytest.approx(32 * 0.9 / (16 + 8 * 0.1))
    assert found("spinel", 0.9, 0.1, exchanged=True) == pytest.approx(32 * 0.9 / 16)
    # LiMn2O4 has 2 oxygen per metal, and half a lithium
    assert ideal_spinel_oxygen(lithium=0.5) == pytest.approx(2.0)
    with pytest.raises(MeasurementError, match="structure"):
        found("rutile", 1.0, 0.0, exchanged=False)


def test_charges_before_heating_find_a_wrong_content_of_lithium() -> None:
    valence = Estimate((4 - 0.3 - 4 * 0.06 - 3 * 0.12) / 0.82, 0.02, 0.03)
    right = start_discrepancy(lithium=Estimate(0.3, 0.02), nickel_valence=valence, shares=_ROD)
    wrong = start_discrepancy(lithium=Estimate(0.1, 0.02), nickel_valence=valence, shares=_ROD)
    assert right.value == pytest.approx(0.0, abs=1e-12)
    assert wrong.value == pytest.approx(-0.1)
    assert abs(wrong.value) > 4 * wrong.total
    assert right.std == pytest.approx(0.5 * np.hypot(0.02, 0.82 * 0.02))


def test_two_independent_probes_give_the_weighted_mean() -> None:
    one, other = _course(std=np.full(3, 0.03)), _course("other", lost=_TRUE + 0.05, std=np.full(3, 0.04))
    found = balance_of([one, other])
    np.testing.assert_allclose(found.lost, _TRUE + 0.05 * 9 / 25)
    np.testing.assert_allclose(found.std, 0.03 * 0.04 / 0.05)
    assert found.chi2 == pytest.approx(3 * (0.05 / 0.05) ** 2)
    assert found.degrees == 3
    assert found.each[0].chi2 == pytest.approx(found.chi2)


def test_an_error_common_to_all_temperatures_is_one_error() -> None:
    offset = {"std": np.full(3, 1e-5), "common": np.full((1, 3), 0.05)}
    found = balance_of([_course(lost=_TRUE + 0.1, **offset), _course("exact", std=np.full(3, 1e-6))])
    # two standard deviations once, not three times
    assert found.chi2 == pytest.approx(4.0, rel=1e-3)
    factor = balance_of(
        [_course(lost=1.3 * _TRUE, std=np.full(3, 1e-5), factor_std=0.1), _course("b", std=np.full(3, 1e-6))]
    )
    assert factor.chi2 == pytest.approx(9.0, rel=1e-2)
    assert factor.each[0].factor == pytest.approx(1.3, rel=1e-4)
    assert factor.each[0].factor_std == pytest.approx(0.13, rel=1e-2)


def test_a_factor_does_not_draw_the_mean_below_both_values() -> None:
    """Peelle's puzzle: 1.5 and 1.0, 10 % each and 20 % in common, whose mean must lie between them."""
    one = Course("a", np.array([200.0]), np.array([1.5]), np.array([0.15]), np.zeros((0, 1)), 0.2)
    other = Course("b", np.array([200.0]), np.array([1.0]), np.array([0.1]), np.zeros((0, 1)), 0.2)
    assert 1.0 < balance_of([one, other]).lost[0] < 1.5


def test_between_two_temperatures_a_course_may_pass_anywhere() -> None:
    found = at_temperatures(_course(std=np.zeros(3)), [150.0, 175.0, 200.0, 249.0, 251.0])
    np.testing.assert_allclose(found.lost[:4], [0.1, 0.2, 0.3, 0.496])
    np.testing.assert_allclose(found.std[:3], [0.0, 0.2 / np.sqrt(12), 0.0])
    assert np.isnan(found.lost[4])
    assert 0 < found.std[3] < 0.2 / np.sqrt(12)


def test_a_slower_ramp_is_the_same_course_at_lower_temperatures() -> None:
    fine = np.arange(100.0, 301.0)
    line = Course("balance", fine, 0.002 * (fine - 100), np.full(fine.size, 1e-4), np.zeros((0, fine.size)))
    found = moved(line, 10.0, 10.0)
    np.testing.assert_allclose(found.lost[:180], 0.002 * (fine[:180] + 10 - 100))
    wide = moved(line, 10.0, 30.0)
    np.testing.assert_allclose(wide.lost[:150], 0.002 * (fine[:150] + 20 - 100))
    # a rectangle 20 K wide, and a thermometer of 2 K
    np.testing.assert_allclose(wide.total_std[:150], np.hypot(1e-4, 0.04 / np.sqrt(12)), rtol=1e-6)
    np.testing.assert_allclose(with_thermometer(line, 2.0).total_std, np.hypot(1e-4, 0.004), rtol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(3)))
def test_the_order_of_probes_does_not_matter(order: list[int]) -> None:
    courses = [
        _course("a", lost=_TRUE + 0.01),
        _course("b", lost=1.1 * _TRUE, factor_std=0.1),
        _course("c", lost=np.array([np.nan, 0.28, 0.52])),
    ]
    first, again = balance_of(courses), balance_of([courses[k] for k in order])
    np.testing.assert_allclose(first.lost, again.lost, rtol=1e-7)
    assert first.chi2 == pytest.approx(again.chi2, rel=1e-6)
    assert first.degrees == 5


def _drawn(rng: np.random.Generator, name: str, factor: float = 1.0) -> Course:
    """One probe with errors of all three kinds."""
    std, offset, scale = {"balance": (1e-3, 5e-4, 0.01), "line": (0.012, 0.012, 0.1), "crystal": (0.02, 0.03, 0.02)}[
        name
    ]
    lost = factor * (1 + scale * rng.standard_normal()) * _TRUE
    lost = lost + std * rng.standard_normal(3) + offset * rng.standard_normal()
    return Course(name, _PLACES, lost, np.full(3, std), np.full((1, 3), offset), scale)


def test_probes_that_agree_are_seldom_said_to_contradict_and_a_wrong_scale_is_found() -> None:
    rng = np.random.default_rng(11)
    count, alarms, inside, named = 30, 0, 0, 0
    for _ in range(count):
        found = balance_of([_drawn(rng, name) for name in ("balance", "line", "crystal")])
        alarms += found.probability < 0.05
        inside += int(np.sum(np.abs(found.lost - _TRUE) < found.std))
        wrong = balance_of([_drawn(rng, "balance"), _drawn(rng, "line", 1.8), _drawn(rng, "crystal")])
        named += wrong.probability < 0.05 and max(wrong.each, key=lambda one: one.rest).name == "line"
    low, high = binom.interval(0.99, count, 0.05)
    assert low <= alarms <= high
    # three temperatures that share errors count as one
    low, high = binom.interval(0.99, count, 0.6827)
    assert low <= inside / 3 <= high
    assert named > 0.9 * count


def test_what_cannot_be_balanced_is_refused() -> None:
    with pytest.raises(MeasurementError, match="two probes"):
        balance_of([_course()])
    with pytest.raises(MeasurementError, match="other temperatures"):
        balance_of([_course(), _course("b", temperature=_PLACES + 1)])
    gap = np.array([0.1, np.nan, 0.5])
    with pytest.raises(MeasurementError, match="no probe"):
        balance_of([_course(lost=gap), _course("b", lost=gap)])
    with pytest.raises(MeasurementError, match="one value per temperature"):
        _course(lost=np.zeros(2))
