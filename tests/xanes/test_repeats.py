"""Means of repeats in closed form, glitches set aside, and changes found where there are some."""

from __future__ import annotations

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.repeats import drift_of_repeats, merge_repeats

ENERGY = np.arange(8310.0, 8400.0, 0.5)
NOISE = 0.01


def shape(shift: float = 0.0, height: float = 0.8) -> np.ndarray:
    """Arctangent edge at 8344 eV with a white line of standard deviation 2.6 eV."""
    axis = ENERGY - shift
    return 0.5 + np.arctan((axis - 8344.0) / 1.8) / np.pi + height * np.exp(-0.5 * ((axis - 8350.0) / 2.6) ** 2)


def repeats(count: int, seed: int = 0, noise: float = NOISE) -> np.ndarray:
    return shape() + np.random.default_rng(seed).normal(0, noise, (count, ENERGY.size))


def test_mean_of_mild_noise_is_the_inverse_variance_mean() -> None:
    std = np.array([0.01, 0.02, 0.05])[:, np.newaxis] * np.ones(ENERGY.size)
    # deviations within 1.5 standard deviations are not reduced
    data = shape() + std * np.random.default_rng(1).uniform(-1.2, 1.2, std.shape)
    merged = merge_repeats(spectra=data, std=std)
    weight = std**-2
    mean = np.sum(weight * data, axis=0) / weight.sum(axis=0)
    np.testing.assert_allclose(merged.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(merged.internal_std, weight.sum(axis=0) ** -0.5, rtol=1e-12)
    chi2 = np.sum(weight * (data - mean) ** 2, axis=0)
    np.testing.assert_allclose(merged.external_std, merged.internal_std * np.sqrt(chi2 / 2), rtol=1e-9)
    assert merged.spread_ratio == pytest.approx(np.sqrt(chi2.mean() / 2), rel=1e-9)
    np.testing.assert_array_equal(merged.mean_std, merged.internal_std)


def test_outlier_pulls_the_mean_by_no_more_than_two_standard_deviations() -> None:
    data = np.tile(shape(), (4, 1))
    data[2, 50] += 4 * NOISE
    merged = merge_repeats(spectra=data, std=np.full(ENERGY.size, NOISE))
    # Huber: three repeats at zero balance two standard deviations
    assert merged.mean[50] - shape()[50] == pytest.approx(2 * NOISE / 3, rel=1e-4)
    assert not merged.glitch.any()


@pytest.mark.parametrize("stated", [True, False])
def test_a_glitch_is_set_aside_and_the_rest_averaged(stated: bool) -> None:
    data = repeats(4)
    data[1, 40] += 20 * NOISE
    data[3, 90] -= 20 * NOISE
    merged = merge_repeats(spectra=data, std=np.full(ENERGY.size, NOISE) if stated else None)
    assert np.argwhere(merged.glitch).tolist() == [[1, 40], [3, 90]]
    assert merged.glitch_count.tolist() == [0, 1, 0, 1]
    assert merged.remarks[0].endswith("set aside: 1 in repeat 2, 1 in repeat 4.")
    left = np.delete(data[:, 40], 1)
    assert abs(merged.mean[40] - left.mean()) < 0.5 * NOISE
    assert merged.internal_std[40] == pytest.approx(merged.internal_std[41] * np.sqrt(4 / 3), rel=1e-2)


def test_two_repeats_cannot_tell_which_has_the_glitch() -> None:
    data = repeats(2)
    data[1, 40] += 50 * NOISE
    assert not merge_repeats(spectra=data, std=np.full(ENERGY.size, NOISE)).glitch.any()


def test_repeats_that_disagree_in_pairs_have_no_glitch_but_a_larger_uncertainty() -> None:
    data = repeats(4)
    data[2:] += 10 * NOISE
    merged = merge_repeats(spectra=data, std=np.full(ENERGY.size, NOISE))
    assert not merged.glitch.any()
    assert merged.spread_ratio > 5
    np.testing.assert_allclose(merged.mean_std, merged.internal_std * merged.spread_ratio)
    assert "times their noise" in merged.remarks[0]


def test_missing_values_take_no_part() -> None:
    data = repeats(3)
    data[0, 10], data[:, 20] = np.nan, np.nan
    merged = merge_repeats(spectra=data, std=np.full(ENERGY.size, NOISE))
    assert abs(merged.mean[10] - data[1:, 10].mean()) < 1e-12
    assert merged.internal_std[10] == pytest.approx(NOISE / np.sqrt(2))
    assert np.isnan([merged.mean[20], merged.mean_std[20], merged.external_std[20]]).all()
    assert merged.remarks == ("1 points have no value in any repeat.",)


@pytest.mark.parametrize(("shift", "height"), [(0.05, 0.0), (-0.05, 0.0), (0.0, 0.03), (0.0, -0.03)])
def test_drift_is_found_in_the_quantity_that_drifts_and_only_there(shift: float, height: float) -> None:
    noise = np.random.default_rng(7).normal(0, NOISE, (6, ENERGY.size))
    data = noise + [shape(shift * number, 0.8 + height * number) for number in range(6)]
    found = drift_of_repeats(spectra=data, energy=ENERGY, std=np.full(ENERGY.size, NOISE))
    drifting, steady = found.edge_energy, found.white_line_height
    true = shift
    if height:
        drifting, steady, true = steady, drifting, height
    assert drifting.significant
    assert abs(drifting.slope - true) < 4 * drifting.slope_std + 0.03 * abs(true)
    assert 6 in drifting.departed
    assert not steady.significant
    assert len(found.remarks) == 1
    assert found.remarks[0].startswith(f"The {drifting.quantity} drifts by {drifting.slope:+.3g}")


def test_one_repeat_that_departs_is_named_without_a_steady_drift() -> None:
    data = repeats(7, seed=3)
    data[3] += shape(0.3) - shape()
    found = drift_of_repeats(spectra=data, energy=ENERGY, std=np.full(ENERGY.size, NOISE)).edge_energy
    assert found.departed == (4,)
    assert not found.significant
    assert found.change[3] - np.delete(found.change, 3).mean() == pytest.approx(0.3, abs=0.03)


def test_gain_and_offset_are_no_drift() -> None:
    data = repeats(5, noise=1e-4) * np.linspace(1.0, 1.05, 5)[:, np.newaxis] + np.linspace(0, 0.1, 5)[:, np.newaxis]
    found = drift_of_repeats(spectra=data, energy=ENERGY, std=np.full(ENERGY.size, 1e-4))
    assert abs(found.edge_energy.slope) < 0.002
    assert abs(found.white_line_height.slope) < 0.002


@pytest.mark.parametrize(
    ("spectra", "std", "words"),
    [
        (shape(), None, "repeats of a spectrum are needed"),
        (shape()[np.newaxis], None, "repeats of a spectrum are needed"),
        (repeats(3), np.ones(4), "does not match"),
        (repeats(3), np.zeros(ENERGY.size), "not positive"),
        (np.tile(shape(), (3, 1)), None, "identical"),
        (np.where(np.arange(ENERGY.size) % 2 == np.arange(2)[:, np.newaxis], repeats(2), np.nan), None, "in common"),
    ],
)
def test_what_cannot_be_merged_is_refused(spectra: np.ndarray, std: np.ndarray | None, words: str) -> None:
    with pytest.raises(MeasurementError, match=words):
        merge_repeats(spectra=spectra, std=std)


@pytest.mark.parametrize(
    ("spectra", "energy", "level", "words"),
    [
        (repeats(2), ENERGY, 0.01, "three repeats"),
        (repeats(3), ENERGY[1:], 0.01, "three repeats"),
        (repeats(3), ENERGY[::-1], 0.01, "ascending energy"),
        (repeats(3)[:, :9], ENERGY[:9], 0.01, "ascending energy"),
        (repeats(3), ENERGY, 1.0, "is a probability"),
        (repeats(3)[:, :72], ENERGY[:72], 0.01, "too few points above the edge"),
    ],
)
def test_what_shows_no_drift_is_refused(spectra: np.ndarray, energy: np.ndarray, level: float, words: str) -> None:
    with pytest.raises(MeasurementError, match=words):
        drift_of_repeats(
            spectra=spectra,
            energy=energy,
            std=np.full(energy.size, NOISE) if energy.size == spectra.shape[1] else None,
            level=level,
        )
