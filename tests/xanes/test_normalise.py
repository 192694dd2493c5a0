"""Normalisation to the edge step: closed forms, invariances, spectra scaled to their maximum, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.normalise import NormalisationWindows, is_scaled_to_maximum, normalise

Array = NDArray[np.float64]

EDGE = 8340.0
ENERGY = np.concatenate(
    [np.arange(8190.0, 8315.0, 5.0), np.arange(8315.0, 8385.0, 0.4), np.arange(8385.0, 8640.0, 3.0)]
)


def logistic(energy: Array) -> Array:
    """An edge that reaches its two levels to 1e-6 within 30 eV, so that lines through them are exact."""
    return 1.0 / (1.0 + np.exp(-(energy - EDGE) / 2.0))


def spectrum(energy: Array = ENERGY, step: float = 0.8) -> Array:
    """Step on a line, with a parabola above."""
    distance = energy - EDGE
    above = step + 2e-4 * distance - 5e-7 * distance**2
    return 0.3 - 4e-4 * distance + above * logistic(energy)


def test_the_edge_step_is_that_of_the_closed_form() -> None:
    found = normalise(energy=ENERGY, absorption=spectrum(), noise_std=1e-3)
    assert found.edge_energy == pytest.approx(EDGE, abs=0.01)
    assert found.edge_step == pytest.approx(0.8, abs=1e-5)
    assert not found.remarks


def test_flattened_is_zero_below_and_one_above() -> None:
    found = normalise(energy=ENERGY, absorption=spectrum(), noise_std=1e-3)
    np.testing.assert_allclose(found.flattened[ENERGY < EDGE - 30], 0.0, atol=1e-5)
    np.testing.assert_allclose(found.flattened[ENERGY > EDGE + 30], 1.0, atol=1e-5)
    assert np.ptp(found.normalised[ENERGY > EDGE + 30]) > 0.01


def test_beyond_the_post_edge_window_flattened_follows_the_spectrum() -> None:
    """There 1 + (mu - post) / step with post as at the end of the window: the polynomial is not extrapolated."""
    end, energy = 100.0, np.concatenate([ENERGY, np.arange(8640.0, 9340.0, 10.0)])
    distance = energy - EDGE
    # a parabola in the window; from its end on the spectrum is level, as those of real absorbers nearly are
    held = np.minimum(distance, end)
    values = 0.3 + (0.8 + 2e-3 * held - 1e-5 * held**2) * logistic(energy)
    windows = NormalisationWindows(post_edge=(30.0, end))
    found = normalise(energy=energy, absorption=values, noise_std=1e-3, windows=windows)
    assert found.post_edge_window is not None
    last = found.post_edge_window[1]
    beyond = energy > last
    inside = (energy >= found.post_edge_window[0]) & ~beyond
    line = np.polynomial.Polynomial.fit(
        energy[inside], values[inside], found.post_edge_degree, w=weights(energy, inside)
    )
    np.testing.assert_allclose(
        found.flattened[beyond], 1.0 + (values[beyond] - line(last)) / found.edge_step, atol=1e-3
    )
    # level absorption stays level, 700 eV further on too, where the polynomial itself is far away
    assert np.ptp(found.flattened[beyond]) < 1e-9
    assert np.abs(found.flattened[beyond] - 1.0).max() < 0.05
    assert abs(line(energy[-1]) - values[-1]) > 0.5


def weights(energy: Array, inside: NDArray[np.bool_]) -> Array:
    """Roots of the energies that are nearest to each point."""
    return np.asarray(np.sqrt(np.gradient(energy)[inside]))


@pytest.mark.parametrize(("scale", "offset", "slope", "shift"), [(3.0, 0.0, 0.0, 0.0), (1.0, 2.0, 1e-3, -7.3)])
def test_scale_line_and_shift_do_not_matter(scale: float, offset: float, slope: float, shift: float) -> None:
    values = spectrum() + np.random.default_rng(2).normal(0.0, 1e-3, ENERGY.size)
    plain = normalise(energy=ENERGY, absorption=values, noise_std=1e-3)
    changed = scale * values + offset + slope * (ENERGY - EDGE)
    other = normalise(energy=ENERGY + shift, absorption=changed, noise_std=scale * 1e-3)
    assert other.edge_energy - plain.edge_energy == pytest.approx(shift, abs=1e-4)
    assert other.edge_step == pytest.approx(scale * plain.edge_step, rel=1e-6)
    np.testing.assert_allclose(other.normalised, plain.normalised, atol=1e-6)


def test_denser_points_in_part_of_a_window_do_not_pull_the_line() -> None:
    """Each point counts for its energies: a shape that is no polynomial keeps its step, however it was recorded."""

    def wavy(energy: Array) -> Array:
        return spectrum(energy) + 0.02 * np.sin((energy - EDGE) / 25.0) * logistic(energy)

    even = np.arange(8190.0, 8640.0, 0.4)
    uneven = np.concatenate([np.arange(8190.0, 8440.0, 0.4), np.arange(8440.0, 8640.0, 2.0)])
    steps = [normalise(energy=one, absorption=wavy(one), noise_std=1e-3).edge_step for one in (even, uneven)]
    above = []
    for one in (even, uneven):
        inside = (one > EDGE + 50) & (one < EDGE + 300)
        above.append(np.polyfit(one[inside] - EDGE, wavy(one)[inside], 2)[-1])
    assert abs(steps[1] - steps[0]) < 0.1 * abs(above[1] - above[0])


def test_uncertainties_of_step_and_points_are_those_of_repeated_noise() -> None:
    noise = 3e-4 * (1.0 + logistic(ENERGY))
    repeats = []
    for seed in range(400):
        values = spectrum() + np.random.default_rng(seed).normal(0.0, noise)
        repeats.append(normalise(energy=ENERGY, absorption=values, noise_std=noise))
    assert np.std([one.edge_step for one in repeats]) == pytest.approx(repeats[0].edge_step_std, rel=0.12)
    spread = np.std([one.normalised for one in repeats], axis=0)
    stated = np.mean([one.normalised_std for one in repeats], axis=0)
    # E0 moves with the noise and so does the point of division, by a part of 1e-4: below the noise of any point.
    assert np.mean(spread / stated) == pytest.approx(1.0, abs=0.02)
    assert np.max(np.abs(spread / stated - 1.0)) < 0.2


def test_short_spectra_get_simpler_polynomials_and_say_so() -> None:
    short = ENERGY[(ENERGY > EDGE - 30) & (ENERGY < EDGE + 90)]
    found = normalise(energy=short, absorption=spectrum(short), noise_std=1e-3)
    assert found.post_edge_degree == 0
    assert "pre-edge constant instead of a line" in found.remarks
    assert any("post-edge window" in remark for remark in found.remarks)
    assert found.edge_step == pytest.approx(0.8, rel=0.05)


def test_stated_windows_are_used() -> None:
    windows = NormalisationWindows(pre_edge=(-100.0, -40.0), post_edge=(60.0, 200.0), post_edge_degree=1)
    found = normalise(energy=ENERGY, absorption=spectrum(), noise_std=1e-3, windows=windows)
    assert found.pre_edge_window == pytest.approx((EDGE - 100, EDGE - 40), abs=0.01)
    assert found.post_edge_window == pytest.approx((EDGE + 60, EDGE + 200), abs=0.01)
    assert found.post_edge_degree == 1


def test_spectra_scaled_to_their_maximum_are_recognised_and_left() -> None:
    axis = EDGE + np.arange(-16.0, 24.0, 0.4)
    values = logistic(axis) + 0.5 * np.exp(-0.5 * ((axis - EDGE - 6.0) / 2.5) ** 2)
    values /= values.max()
    found = normalise(energy=axis, absorption=values, noise_std=1e-3)
    assert found.scaled_to_maximum
    np.testing.assert_array_equal(found.normalised, values)
    assert "scaled to its maximum" in found.remarks[-1]


def test_other_spectra_are_not_taken_for_scaled_ones() -> None:
    values = spectrum()
    long_one, short_one = values / values.max(), values[ENERGY < EDGE + 45]
    assert not is_scaled_to_maximum(energy=ENERGY, absorption=long_one, edge_energy=EDGE)
    assert not is_scaled_to_maximum(energy=ENERGY[ENERGY < EDGE + 45], absorption=short_one, edge_energy=EDGE)
    assert not normalise(energy=ENERGY, absorption=long_one, noise_std=1e-3).scaled_to_maximum


def test_spectra_that_do_not_reach_far_enough_are_refused() -> None:
    for inside in (ENERGY > EDGE - 10, ENERGY < EDGE + 20):
        with pytest.raises(MeasurementError, match=r"cannot be normalised|no edge|do not hold"):
            normalise(energy=ENERGY[inside], absorption=spectrum()[inside], noise_std=1e-3, near=EDGE)


def test_noise_alone_has_no_edge() -> None:
    for seed in range(20):
        values = 1.0 + np.random.default_rng(seed).normal(0.0, 1e-2, ENERGY.size)
        with pytest.raises(MeasurementError, match="edge"):
            normalise(energy=ENERGY, absorption=values)


def test_too_few_points_in_a_window_are_refused() -> None:
    sparse = np.concatenate([ENERGY[ENERGY < EDGE + 45], [EDGE + 160, EDGE + 300]])
    with pytest.raises(MeasurementError, match="too few points to normalise"):
        normalise(energy=sparse, absorption=spectrum(sparse), noise_std=1e-3)
