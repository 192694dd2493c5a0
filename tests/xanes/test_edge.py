"""Noise, resolution, steepest rise and foil calibration: closed forms, invariances and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.edge import (
    SmoothedSpectrum,
    calibration_shift_from_foil,
    middle_of_rise,
    noise_std_from_differences,
    smoothed_spectrum,
    steepest_rise,
)

Array = NDArray[np.float64]

EDGE, WIDTH = 8340.0, 2.0
ENERGY = np.concatenate(
    [np.arange(8200.0, 8315.0, 5.0), np.arange(8315.0, 8380.0, 0.4), np.arange(8380.0, 8640.0, 3.0)]
)


def arctangent(energy: Array, edge: float = EDGE, width: float = WIDTH) -> Array:
    return 0.5 + np.arctan((energy - edge) / width) / np.pi


def foil(energy: Array, edge: float = 8331.7) -> Array:
    """Three rises, the second the steepest; the first derivative maximum is that of the first to 0.1 eV."""
    heights, places = (0.3, 0.5, 0.2), (0.0, 7.0, 14.0)
    return sum(h * arctangent(energy, edge + d, 1.2) for h, d in zip(heights, places, strict=True))


@given(coefficients=st.tuples(*[st.floats(-1.0, 1.0)] * 4), at=st.floats(8320.0, 8375.0))
@settings(max_examples=20, deadline=None)
def test_smoothing_leaves_cubic_shapes_as_they_are(coefficients: tuple[float, ...], at: float) -> None:
    cubic = np.polynomial.Polynomial(coefficients)
    reduced = (ENERGY - 8350.0) / 20.0
    spectrum = SmoothedSpectrum(ENERGY, cubic(reduced), np.ones(ENERGY.size), 0.9)
    for order in range(3):
        expected = cubic.deriv(order)((at - 8350.0) / 20.0) / 20.0**order
        assert spectrum.value(at, order) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_response_is_the_derivative_to_every_point(order: int) -> None:
    """By linearity the value is the sum of responses times absorption, for spectra of any shape."""
    values = np.random.default_rng(3).normal(size=ENERGY.size)
    spectrum = SmoothedSpectrum(ENERGY, values, np.ones(ENERGY.size), 0.9)
    for at in (8330.0, 8341.234):
        assert spectrum.response(at, order) @ values == pytest.approx(spectrum.value(at, order), abs=1e-6)


def test_response_to_several_energies_is_their_weighted_sum() -> None:
    spectrum = SmoothedSpectrum(ENERGY, arctangent(ENERGY), np.ones(ENERGY.size), 0.9)
    at, weight = np.array([8335.0, 8339.3, 8346.0]), np.array([0.5, -1.0, 2.0])
    separate = sum(w * spectrum.response(one) for one, w in zip(at, weight, strict=True))
    np.testing.assert_allclose(spectrum.response(at, 0, weight), separate, atol=1e-7)


def test_the_steepest_rise_of_a_symmetric_edge_is_its_middle() -> None:
    found = steepest_rise(spectrum=smoothed_spectrum(energy=ENERGY, absorption=arctangent(ENERGY), noise_std=1e-4))
    assert found.energy == pytest.approx(EDGE, abs=1e-3)


@given(shift=st.floats(-3.0, 3.0), scale=st.floats(0.01, 100.0))
@settings(max_examples=15, deadline=None)
def test_the_steepest_rise_moves_with_the_energies_and_not_with_the_scale(shift: float, scale: float) -> None:
    noise = np.random.default_rng(5).normal(0.0, 1e-3, ENERGY.size)
    values = arctangent(ENERGY) + noise
    plain = steepest_rise(spectrum=smoothed_spectrum(energy=ENERGY, absorption=values, noise_std=1e-3))
    moved = steepest_rise(
        spectrum=smoothed_spectrum(energy=ENERGY + shift, absorption=scale * values, noise_std=scale * 1e-3)
    )
    assert moved.energy - plain.energy == pytest.approx(shift, abs=1e-5)
    assert moved.std == pytest.approx(plain.std, rel=1e-4)


def test_noise_that_moves_the_steepest_rise_far_is_remarked_and_counted() -> None:
    values = arctangent(ENERGY) + np.random.default_rng(1).normal(0.0, 0.01, ENERGY.size)
    found = steepest_rise(spectrum=smoothed_spectrum(energy=ENERGY, absorption=values))
    assert found.std > 0.09
    assert any("choose a larger one" in remark for remark in found.remarks)


def test_a_glitch_is_not_the_edge() -> None:
    values = arctangent(ENERGY)
    for energy, height in ((8325.0, 0.8), (8352.0, -0.8)):
        values[np.argmin(np.abs(ENERGY - energy))] += height
    found = steepest_rise(spectrum=smoothed_spectrum(energy=ENERGY, absorption=values, noise_std=1e-3))
    assert found.energy == pytest.approx(EDGE, abs=0.05)
    assert middle_of_rise(energy=ENERGY, absorption=values) == pytest.approx(EDGE, abs=2.0)


def test_noise_is_found_beside_an_edge_on_uneven_energies() -> None:
    stds = []
    for seed in range(100):
        noise = np.random.default_rng(seed).normal(0.0, 2e-3, ENERGY.size)
        stds.append(noise_std_from_differences(energy=ENERGY, absorption=arctangent(ENERGY) + noise).mean())
    assert np.mean(stds) == pytest.approx(2e-3, rel=0.03)


def test_noise_of_a_cubic_vanishes() -> None:
    cubic = ((ENERGY - 8400.0) / 200.0) ** 3
    assert noise_std_from_differences(energy=ENERGY, absorption=cubic).max() < 1e-8


def test_the_first_maximum_of_a_foil_is_calibrated_not_the_steepest() -> None:
    found = calibration_shift_from_foil(energy=ENERGY, absorption=foil(ENERGY), element="Ni", noise_std=1e-4)
    assert found.first_maximum == pytest.approx(8331.7, abs=0.1)
    assert found.shift == pytest.approx(8333.0 - found.first_maximum)
    assert found.later_maxima == pytest.approx((7.0, 14.0), abs=0.15)
    assert not found.remarks


@pytest.mark.parametrize("height", [0.1, 0.5, -0.5])
def test_a_glitch_before_the_edge_of_a_foil_does_not_calibrate(height: float) -> None:
    clean, values = foil(ENERGY), foil(ENERGY)
    values[np.argmin(np.abs(ENERGY - 8320.0))] += height
    expected, found = (
        calibration_shift_from_foil(energy=ENERGY, absorption=one, element="Ni", noise_std=1e-4)
        for one in (clean, values)
    )
    assert found.shift == pytest.approx(expected.shift, abs=0.01)
    assert found.later_maxima == pytest.approx(expected.later_maxima, abs=0.02)


def test_a_foil_of_one_rise_says_that_it_is_not_checked() -> None:
    found = calibration_shift_from_foil(energy=ENERGY, absorption=arctangent(ENERGY), element="Ni", noise_std=1e-3)
    assert np.isnan(found.later_maxima).all()
    assert "not checked" in found.remarks[0]


@pytest.mark.parametrize(
    ("energy", "absorption", "options", "text"),
    [
        (ENERGY[:8], np.ones(8), {}, "too few points"),
        (ENERGY, np.full(ENERGY.size, np.nan), {}, "too few points"),
        (ENERGY[::-1], arctangent(ENERGY)[::-1], {}, "do not ascend"),
        (np.repeat(ENERGY, 2), np.repeat(arctangent(ENERGY), 2), {}, "do not ascend"),
        (ENERGY, np.ones(5), {}, "does not match its energies"),
        (ENERGY[:, None], np.ones((ENERGY.size, 1)), {}, "does not match its energies"),
        (ENERGY, np.ones(ENERGY.size), {"noise_std": np.ones(3)}, "noise does not match"),
        (ENERGY, np.ones(ENERGY.size), {"noise_std": 0.0}, "noise is not positive"),
        (ENERGY, np.ones(ENERGY.size), {"resolution": 0.0}, "resolution is not positive"),
    ],
)
def test_unusable_spectra_are_refused(energy: Array, absorption: Array, options: dict[str, object], text: str) -> None:
    with pytest.raises(MeasurementError, match=text):
        smoothed_spectrum(energy=energy, absorption=absorption, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [np.ones(ENERGY.size), -arctangent(ENERGY), 1e-3 * ENERGY])
def test_no_edge_is_found_where_there_is_none(values: Array) -> None:
    with pytest.raises(MeasurementError, match=r"no edge|no foil|shows no edge"):
        calibration_shift_from_foil(energy=ENERGY, absorption=values, element="Ni", noise_std=1e-3)


def test_a_constant_spectrum_has_no_steepest_rise() -> None:
    spectrum = smoothed_spectrum(energy=ENERGY, absorption=np.ones(ENERGY.size))
    with pytest.raises(MeasurementError, match="no edge was found"):
        steepest_rise(spectrum=spectrum)


def test_a_foil_of_another_element_or_energy_is_refused() -> None:
    with pytest.raises(MeasurementError, match="no foil energy is tabulated"):
        calibration_shift_from_foil(energy=ENERGY, absorption=foil(ENERGY), element="Xx")
    with pytest.raises(MeasurementError, match="do not hold the edge"):
        calibration_shift_from_foil(energy=ENERGY, absorption=foil(ENERGY), element="Mn")
