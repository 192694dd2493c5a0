"""The furnace is on time: rates, holds and steps are those asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.programme import MINUTE, ROOM, Programme, ramp_programme, tomography_programme

SERIES = (25.0, 150.0, 200.0, 250.0)
RATES = st.floats(0.5, 30)
SETS_OF_TEMPERATURES = st.lists(st.integers(25, 400), min_size=1, max_size=5, unique=True).map(sorted)


@given(RATES, st.floats(30, 400))
def test_a_ramp_takes_its_range_over_its_rate(rate: float, end: float) -> None:
    ramp = ramp_programme(rate=rate, end=end)
    assert ramp.times[-1] == pytest.approx((end - ROOM) / rate * MINUTE)
    assert ramp.holds == ()
    middle = (ROOM + end) / 2
    assert float(ramp.temperature((middle - ROOM) / rate * MINUTE)) == pytest.approx(middle)


@given(SETS_OF_TEMPERATURES, RATES, st.floats(5, 120))
def test_a_heating_series_holds_every_temperature_as_long_as_asked(
    temperatures: list[int], rate: float, hold: float
) -> None:
    programme = tomography_programme(temperatures, rate=rate, hold=hold)
    ramps = (temperatures[-1] - ROOM) / rate
    assert programme.times[-1] == pytest.approx((ramps + hold * len(temperatures)) * MINUTE)
    assert len(programme.holds) == len(temperatures)
    for (begin, end), temperature in zip(programme.holds, temperatures, strict=True):
        assert end - begin == pytest.approx(hold * MINUTE)
        np.testing.assert_allclose(programme.temperature(np.linspace(begin, end, 5)), temperature)
    assert (np.diff(programme.times) > 0).all()
    assert (np.diff(programme.temperatures) >= 0).all()


def test_between_the_holds_the_temperature_rises_at_the_rate() -> None:
    programme = tomography_programme(SERIES, rate=10.0, hold=60.0)
    (_, left), (reached, _) = programme.holds[1:3]
    assert reached - left == pytest.approx(5 * MINUTE)
    assert float(programme.temperature((left + reached) / 2)) == pytest.approx(175)


@given(SETS_OF_TEMPERATURES, st.floats(0.5, 20), st.lists(st.floats(0, 1), max_size=4))
def test_steps_are_never_larger_than_asked_and_end_where_asked(
    temperatures: list[int], kelvin: float, moments: list[float]
) -> None:
    programme = tomography_programme(temperatures, rate=5.0, hold=30.0)
    wanted = [moment * programme.times[-1] for moment in moments]
    ends = programme.steps(kelvin=kelvin, must_hold=wanted)
    assert ends[0] == 0
    assert ends[-1] == programme.times[-1]
    assert (np.diff(ends) > 0).all()
    assert set(wanted) | set(programme.times) <= set(ends.tolist())
    reached = programme.temperature(ends)
    largest = np.where(reached[1:] > 100 + 1e-9, kelvin, 5 * kelvin)
    assert (np.diff(reached) <= largest * (1 + 1e-9)).all()


def test_steps_of_a_hold_grow_twofold() -> None:
    programme = tomography_programme([25.0], hold=60.0)
    lengths = np.diff(programme.steps(kelvin=4.0))
    np.testing.assert_allclose(lengths[1:-1] / lengths[:-2], 2)
    assert lengths[0] <= 10
    assert lengths[-1] <= 2 * lengths[-2]


def test_finer_steps_hold_more_of_them_in_ramps() -> None:
    ramp = ramp_programme(rate=1.0, end=300.0)
    coarse, fine = (ramp.steps(kelvin=kelvin) for kelvin in (4.0, 1.0))
    warm = [np.sum(ramp.temperature(ends) > 100.5) for ends in (coarse, fine)]
    assert warm[1] == pytest.approx(4 * warm[0], abs=4)


def test_a_series_may_begin_above_room_temperature() -> None:
    programme = tomography_programme([150.0], rate=10.0, hold=60.0)
    assert programme.holds == ((750.0, 4350.0),)
    assert programme == Programme((0.0, 750.0, 4350.0), (25.0, 150.0, 150.0), ((750.0, 4350.0),))


@pytest.mark.parametrize("temperatures", [(), (150.0, 25.0), (25.0, 150.0, 150.0), (20.0, 150.0)])
def test_temperatures_that_do_not_ascend_from_room_are_refused(temperatures: tuple[float, ...]) -> None:
    with pytest.raises(CathoscopeError, match="ascending") as caught:
        tomography_programme(temperatures)
    assert "25, 150" in str(caught.value.expected)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan")])
def test_rates_and_holds_must_be_positive(bad: float) -> None:
    with pytest.raises(CathoscopeError, match="rate"):
        tomography_programme(SERIES, rate=bad)
    with pytest.raises(CathoscopeError, match="hold"):
        tomography_programme(SERIES, hold=bad)
    with pytest.raises(CathoscopeError, match="rate") as caught:
        ramp_programme(rate=bad, end=300.0)
    assert caught.value.cure == "rate=10"


@pytest.mark.parametrize("end", [25.0, -10.0, float("nan")])
def test_a_ramp_that_does_not_heat_is_refused(end: float) -> None:
    with pytest.raises(CathoscopeError, match="must heat"):
        ramp_programme(rate=1.0, end=end)
