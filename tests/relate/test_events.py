"""Events on heating: laws of rates, brackets, sets that hold a difference, families of pairs."""

from __future__ import annotations

from math import exp, inf, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq

from cathoscope.core.errors import MeasurementError
from cathoscope.relate.events import (
    OFFSETS,
    Difference,
    Energy,
    Event,
    Verdict,
    bracket_of_change,
    difference_of,
    mean_of_particles,
    rate_from_hold,
    temperature_from_rate,
    verdicts_of,
    width_from_energy,
)
from cathoscope.relate.multiple_tests import holm

_GAS = 8.314462618
_ENERGY = Energy(100.0, 250.0)
_KNOWN = Energy(180.0, 180.0)


def _conversion(celsius: float, rate: float, energy: float, factor: float) -> float:
    """Of a first-order reaction on a ramp, integrated: ``factor`` in 1/min, ``rate`` in K/min, J/mol."""

    def speed(kelvin: float) -> float:
        return exp(factor - energy / _GAS / kelvin)

    done = quad(speed, 273.15, celsius + 273.15, epsrel=1e-10, limit=200)[0] / rate
    return -np.expm1(-done)


def _where(share: float, rate: float, energy: float = 180e3, factor: float = 47.0) -> float:
    return float(brentq(lambda t: _conversion(t, rate, energy, factor) - share, 50.0, 300.0))


def test_rates_move_the_steepest_place_as_an_integrated_reaction_says() -> None:
    # the steepest place of a first-order reaction is where 1 - 1/e are done, but for terms of order R T / E
    slow, fast = (_where(0.632, rate) for rate in (1.0, 5.0))
    moved = temperature_from_rate(rate=5.0, temperature=slow, reference_rate=1.0, activation_energy=180.0)
    assert moved == pytest.approx(fast, abs=0.1)


def test_five_times_faster_moves_an_event_by_what_the_design_says() -> None:
    energies = (1.6 * 96.485, 2.0 * 96.485)
    moved = [
        temperature_from_rate(rate=5.0, temperature=217.0, reference_rate=1.0, activation_energy=one) - 217.0
        for one in energies
    ]
    assert 16.0 < moved[1] < moved[0] < 21.0


@settings(max_examples=30, deadline=None)
@given(
    st.floats(0.05, 50.0), st.floats(0.05, 50.0), st.floats(60.0, 300.0), st.floats(60.0, 400.0)
)  # there and back again
def test_rates_are_undone(rate: float, other: float, temperature: float, energy: float) -> None:
    there = temperature_from_rate(rate=rate, temperature=temperature, reference_rate=other, activation_energy=energy)
    back = temperature_from_rate(rate=other, temperature=there, reference_rate=rate, activation_energy=energy)
    assert back == pytest.approx(temperature, abs=1e-6)
    kelvin, before = there + 273.15, temperature + 273.15
    law = 1e3 * energy / _GAS * (1 / kelvin - 1 / before) - 2 * log(kelvin / before) + log(rate / other)
    assert law == pytest.approx(0.0, abs=1e-8)


def test_a_hold_does_as_much_as_the_ramp_that_stands_for_it() -> None:
    rate = rate_from_hold(hold=3600.0, temperature=150.0, activation_energy=180.0)
    on_ramp = -np.log1p(-_conversion(150.0, rate, 180e3, 47.0))
    in_hold = 60.0 * exp(47.0 - 180e3 / _GAS / 423.15)
    assert on_ramp == pytest.approx(in_hold, rel=2.5 * _GAS * 423.15 / 180e3)


@pytest.mark.parametrize(("energy", "factor", "near"), [(180.0, 47.0, 0.2), (1800.0, 479.6, 0.03)])
def test_tangents_lie_above_five_per_cent_as_is_allowed_for(energy: float, factor: float, near: float) -> None:
    """The first-order law is that of an infinite energy: terms of order R T / E, some of them, are left out."""
    at = np.linspace(140.0, 200.0, 1200)
    speed = np.exp(factor - 1e3 * energy / _GAS / (at + 273.15)) / 5.0
    before = -np.log1p(-_conversion(140.0, 5.0, 1e3 * energy, factor))
    done = -np.expm1(-(before + np.concatenate([[0.0], np.cumsum(0.5 * (speed[1:] + speed[:-1]) * np.diff(at))])))
    slope = (1 - done) * speed
    steepest = int(np.argmax(slope))
    width = width_from_energy(temperature=float(at[steepest]), activation_energy=energy)
    tangent = at[steepest] - done[steepest] / slope[steepest]
    later = [(tangent - np.interp(0.05, done, at)) / width, (at[steepest] - np.interp(0.5, done, at)) / width]
    for found, name in zip(later, ("tangent", "steepest"), strict=True):
        assert OFFSETS[name][0] < found < OFFSETS[name][1]
        assert found == pytest.approx(0.5 * OFFSETS[name][1], rel=near)


def test_the_white_lines_of_hou_lie_between_their_temperatures() -> None:
    temperature, std = [25.0, 150.0, 200.0, 250.0], [0.02] * 4
    rod, gravel = [8350.45, 8348.52, 8348.16, 8347.82], [8350.44, 8349.56, 8348.21, 8347.82]
    assert bracket_of_change(temperature, rod, std, share=0.5)[:2] == (25.0, 150.0)
    assert bracket_of_change(temperature, gravel, std, share=0.5)[:2] == (150.0, 200.0)
    # a point too near to the level to be told apart stays inside
    assert bracket_of_change(temperature, gravel, [0.2] * 4, share=0.35)[:2] == (25.0, 200.0)
    assert bracket_of_change(temperature, rod, [1.0] * 4, share=0.5) is None
    assert bracket_of_change([25, 80, 120, 250], [0.0, 5.0, 1.0, 4.0], [0.01] * 4, share=0.5) is None


def test_brackets_that_touch_are_two_events_and_those_that_overlap_may_be_one() -> None:
    one, other = Event(25.0, 150.0, thermometer="furnace"), Event(150.0, 200.0, thermometer="furnace")
    apart = difference_of(other, one, _ENERGY)
    assert (apart.low, apart.high, apart.probability) == (0.0, 175.0, 0.0)
    assert difference_of(one, Event(25.0, 200.0, thermometer="furnace"), _ENERGY).probability == 1.0
    # with two thermometers the common temperature is none
    assert difference_of(
        other, Event(25.0, 150.0, thermometer="other", thermometer_std=2.0), _ENERGY
    ).probability == pytest.approx(0.5, abs=1e-6)
    assert difference_of(Event(200.0, inf), one, _ENERGY).high == inf


def test_two_measured_temperatures_give_the_usual_interval_and_probability() -> None:
    found = difference_of(Event(150, 150, 3.0, 3.0), Event(141.0, 141.0, 4.0, 4.0), _KNOWN)
    assert found.value == 9.0
    assert (found.low, found.high) == pytest.approx((9 - 1.959964 * 5, 9 + 1.959964 * 5), abs=1e-4)
    assert found.probability == pytest.approx(0.0718606, abs=1e-6)  # 2 Phi(-9 / 5)
    shared = difference_of(
        Event(150, 150, 3, 3, thermometer="a", thermometer_std=9),
        Event(141, 141, 4, 4, thermometer="a", thermometer_std=9),
        _KNOWN,
    )
    assert shared == found


def test_an_uncertain_energy_widens_what_is_taken_off() -> None:
    slow, fast = Event(140, 140, 1, 1, rates=(1.0, 1.0)), Event(153, 153, 1, 1, rates=(5.0, 5.0))
    upper, lower = (
        temperature_from_rate(rate=rate, temperature=146.5, reference_rate=5.0**0.5, activation_energy=180.0)
        for rate in (5.0, 1.0)
    )
    assert difference_of(fast, slow, _KNOWN).value == pytest.approx(13.0 - (upper - lower), abs=1e-9)
    measured = difference_of(fast, slow, Energy(180.0, 180.0, 20.0))
    stated = difference_of(fast, slow, _ENERGY)
    exact = difference_of(fast, slow, _KNOWN)
    assert measured.high - measured.low > exact.high - exact.low
    assert stated.low < exact.low
    assert stated.high > exact.high
    assert difference_of(slow, fast, _ENERGY).value == pytest.approx(-stated.value)
    with pytest.raises(MeasurementError, match="activation energy"):
        Energy(0.0, 100.0)


def test_holm_is_what_its_paper_says() -> None:
    # ordered 0.01, 0.02, 0.03: times 3, 2, 1, and never below the one before
    np.testing.assert_allclose(holm([0.03, np.nan, 0.01, 0.02]), [0.04, np.nan, 0.03, 0.04])
    assert holm([]).size == 0


def test_words_follow_from_interval_and_corrected_probability() -> None:
    near = Difference(1.0, -3.0, 5.0, (0.0, 0.0), 0.6)
    wide = Difference(1.0, -30.0, 50.0, (0.0, 0.0), 0.6)
    far = Difference(40.0, 30.0, 50.0, (0.0, 0.0), 1e-9)
    found, corrected = verdicts_of([near, wide, far, far], [True, True, True, False], margin=10.0)
    assert [one.words for one in found] == ["same", "not distinguishable", "different", "not comparable"]
    assert found[0] is Verdict.SAME
    assert corrected[2] == pytest.approx(3e-9)
    assert np.isnan(corrected[3])


def test_particles_scatter_beyond_their_own_uncertainty() -> None:
    mean, std = mean_of_particles([[1.0, 2.0], [2.0, 2.0], [3.0, 2.0]], np.full((3, 2), 0.3))
    np.testing.assert_allclose(mean, 2.0)
    np.testing.assert_allclose(std, [1 / np.sqrt(3), 0.3 / np.sqrt(3)])
