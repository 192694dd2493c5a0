from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.io.repair import (
    angles_in_degrees,
    angles_of_projections,
    energy_in_ev,
    even_angles,
    length_in_um,
    plain,
)

FILE = Path("scan.h5")


@pytest.mark.parametrize("span", [140.0, 180.0, 360.0])
@pytest.mark.parametrize("unit", [None, "radians", "rad"])
def test_radians_become_the_degrees_they_were_made_from(span: float, unit: str | None) -> None:
    degrees = np.linspace(-span / 2, span / 2, 91)
    values, remarks = angles_in_degrees(np.deg2rad(degrees), unit, FILE)
    np.testing.assert_allclose(values, degrees, rtol=1e-14, atol=1e-12)
    assert len(remarks) == 1
    assert "radian" in remarks[0] or "rad," in remarks[0]


@pytest.mark.parametrize(("n", "span"), [(59, 3.0), (100, 6.5), (181, 180.0), (1, 0.0), (100, 0.0)])
def test_degrees_without_unit_stay(n: int, span: float) -> None:
    degrees = np.linspace(0, span, n)
    values, remarks = angles_in_degrees(degrees, None, FILE)
    np.testing.assert_array_equal(values, degrees)
    assert remarks == []


def test_a_stated_unit_is_believed() -> None:
    small = np.linspace(0, 3, 100)
    values, remarks = angles_in_degrees(small, "degrees", FILE)
    np.testing.assert_array_equal(values, small)
    assert remarks == []


def test_unknown_unit_and_nan_are_refused() -> None:
    with pytest.raises(MeasurementError, match="gon"):
        angles_in_degrees(np.arange(3.0), "gon", FILE)
    with pytest.raises(MeasurementError, match="1 of 3 angles"):
        angles_in_degrees(np.array([0, np.nan, 2]), None, FILE)


@settings(max_examples=40, deadline=None)
@given(
    n_projections=st.integers(30, 200),
    lost=st.integers(-3, 3),
    stopped=st.integers(0, 5),
    sign=st.sampled_from([1.0, -1.0]),
)
def test_usable_projections_are_those_with_an_angle_while_turning(
    n_projections: int, lost: int, stopped: int, sign: float
) -> None:
    # The stage turns for a while and then stands still to the end of the recorded angles.
    n_angles = n_projections + lost
    n_turning = n_angles - stopped
    recorded = sign * np.concatenate([np.arange(n_turning), np.full(stopped, n_turning - 1)]) * 0.5
    values, remarks = angles_of_projections(recorded, n_projections, FILE)
    expected = min(n_turning, n_projections)
    np.testing.assert_array_equal(values, recorded[:expected])
    assert bool(remarks) == (lost != 0 or expected < n_projections)


def test_a_slow_scan_is_not_taken_for_a_stopped_stage() -> None:
    fine = np.arange(1000) * 0.008
    values, remarks = angles_of_projections(fine, 1000, FILE)
    assert values.size == 1000
    assert remarks == []


def test_a_single_projection_has_its_angle() -> None:
    values, _ = angles_of_projections(np.array([12.0]), 1, FILE)
    np.testing.assert_array_equal(values, [12.0])


def test_too_many_lost_angles_and_a_stage_at_rest_are_refused() -> None:
    with pytest.raises(MeasurementError, match=r"100 angles, one for each projection"):
        angles_of_projections(np.arange(80.0), 100, FILE)
    with pytest.raises(MeasurementError, match="did not turn"):
        angles_of_projections(np.full(20, 3.0), 20, FILE)


def test_even_angles_include_both_ends() -> None:
    np.testing.assert_array_equal(even_angles((0, 180), 5), [0, 45, 90, 135, 180])


@settings(max_examples=50, deadline=None)
@given(ev=st.floats(150, 90_000))
def test_energy_is_the_same_from_ev_and_kev(ev: float) -> None:
    from_ev, _ = energy_in_ev(ev, "eV", "energy")
    from_kev, remarks = energy_in_ev(ev / 1e3, "keV", "energy")
    assert from_ev == ev
    assert from_kev == pytest.approx(ev, rel=1e-14)
    assert remarks == []


def test_a_guessed_or_wrong_energy_unit_is_said() -> None:
    assert energy_in_ev(8350.0, "keV", "X_eng") == (8350.0, ["X_eng 8350 read as eV (the file says keV)"])
    assert energy_in_ev(8.35, None, "energy") == (8350.0, ["energy 8.35 read as keV (the file gives no unit)"])


@pytest.mark.parametrize("value", [0.0, -8.35, np.nan, np.inf])
def test_no_energy_is_made_of_nonsense(value: float) -> None:
    energy, remarks = energy_in_ev(value, "keV", "X_eng")
    assert energy is None
    assert "X_eng" in remarks[0]


def test_lengths() -> None:
    assert length_in_um(20, "nm") == pytest.approx(0.02, rel=1e-15)
    assert length_in_um(1.5, "micron") == 1.5
    assert length_in_um(1.5, "pixel") is None
    assert length_in_um(-1, "um") is None
    assert length_in_um(np.nan, "um") is None


def test_plain_values_are_what_json_holds() -> None:
    assert plain(np.array([b" text "])) == "text"
    assert plain(np.array([1, 2])) == [1, 2]
    assert plain(np.float32(0.5)) == 0.5
    assert plain(np.bool_(True)) is True
    assert plain(2 + 1j) == "(2+1j)"
