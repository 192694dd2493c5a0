"""Flats of many energies together, against flats that are known without noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.tomography.flats import (
    FlatSeries,
    OpenBeam,
    deviation_of_flats,
    flat_offset_from_series,
    flat_series,
    open_beam_from_flats,
)

ENERGIES, FRAMES, ROWS, COLUMNS, PHOTONS = 24, 10, 40, 50, 2500.0
GOOD = np.ones((ROWS, COLUMNS), dtype=bool)
ROW, COLUMN = np.meshgrid(np.linspace(-1, 1, ROWS), np.linspace(-1, 1, COLUMNS), indexing="ij")
LEVEL = 1 + 0.3 * np.sin(np.arange(ENERGIES))
DETECTOR = (1 - 0.2 * (ROW**2 + COLUMN**2)) * (1 + 0.02 * np.random.default_rng(1).standard_normal(GOOD.shape))

Change = Callable[[int], np.ndarray]


def steady(energy: int) -> np.ndarray:
    """A beam of which only the level changes."""
    return np.ones(GOOD.shape)


def moving(energy: int) -> np.ndarray:
    """A hump that wanders across the detector, by 5 % of the beam."""
    return 1 + 0.05 * np.exp(-0.5 * ((COLUMN - 0.04 * (energy - 12)) / 0.3) ** 2)


def true_flats(change: Change) -> np.ndarray:
    return np.stack([PHOTONS * LEVEL[e] * DETECTOR * change(e) for e in range(ENERGIES)])


def recorded(true: np.ndarray, seed: int = 2, gain: float = 1.0) -> list[OpenBeam]:
    """Flats of every energy: frames whose level wavers by half a per cent, and darks of level 100."""
    rng = np.random.default_rng(seed)
    beams = []
    for flat in true:
        level = 1 + 0.005 * rng.standard_normal(FRAMES)[:, None, None]
        frames = gain * rng.poisson(flat * level) + 100.0
        beams.append(open_beam_from_flats(flat=frames, dark=np.full((2, *GOOD.shape), 100.0), good=GOOD))
    return beams


def series_of(beams: list[OpenBeam]) -> FlatSeries:
    level = np.array([float(np.median(beam.mean)) for beam in beams])
    frames = np.full(level.size, float(FRAMES))
    deviation = deviation_of_flats(np.stack([beam.unstruck for beam in beams]), level, frames, GOOD)
    flat = deviation.reshape(level.size, -1)
    noise = float(np.median([beam.noise for beam in beams]))
    return flat_series(products=flat @ flat.T, n_pixels=flat.shape[1], level=level, frames=frames, noise=noise)


def errors(beams: list[OpenBeam], true: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Error of the optical depth through the flats, before and after, [energy, row, column], without its mean."""
    raw = np.log(np.stack([beam.mean for beam in beams]) / true)
    return tuple(one - one.mean(axis=(1, 2), keepdims=True) for one in (raw, raw - offset))


@pytest.mark.parametrize("gain", [1.0, 0.3])
def test_of_a_steady_beam_the_noise_of_all_frames_together_is_left(gain: float) -> None:
    true = true_flats(steady)
    beams = recorded(true, gain=gain)
    series = series_of(beams)
    before, after = errors(beams, gain * true, flat_offset_from_series(series, beams, GOOD))
    assert series.noise == pytest.approx(gain, rel=0.03)
    assert series.changes == 0
    assert before.var() == pytest.approx(np.mean(1 / (FRAMES * true)), rel=0.02)
    assert after.var() == pytest.approx(np.mean(1 / (FRAMES * true.sum(axis=0))), rel=0.08)
    assert series.noise_share == pytest.approx(1 / ENERGIES)


def test_what_is_left_is_alike_at_all_energies_and_so_no_difference_between_them() -> None:
    true = true_flats(steady)
    beams = recorded(true)
    _, after = errors(beams, true, flat_offset_from_series(series_of(beams), beams, GOOD))
    assert (after - after.mean(axis=0)).var() < 0.02 * after.var()


def test_a_beam_that_moves_is_followed() -> None:
    true = true_flats(moving)
    beams = recorded(true)
    series = series_of(beams)
    before, after = errors(beams, true, flat_offset_from_series(series, beams, GOOD))
    assert 2 <= series.changes <= 8
    assert after.var() < 1.3 * series.noise_share * before.var()
    # of a mean over all energies the moving hump would have been left
    mean = true.sum(axis=0) / true.sum()
    unmoved = np.log(true / (true.sum(axis=(1, 2), keepdims=True) * mean))
    assert unmoved.var() > 2 * before.var()


def test_dust_at_one_energy_stays_and_a_stray_photon_in_one_frame_goes() -> None:
    true = true_flats(steady)
    true[7, 20, 30] *= 0.9
    beams = recorded(true)
    frames = np.random.default_rng(4).poisson(true[3], (FRAMES, *GOOD.shape)) + 0.0
    frames[2, 5, 6] += 8000.0
    beams[3] = open_beam_from_flats(flat=frames, dark=np.zeros((1, *GOOD.shape)), good=GOOD)
    before, after = errors(beams, true, flat_offset_from_series(series_of(beams), beams, GOOD))
    assert abs(after[7, 20, 30]) < 5 * before.std()
    assert before[3, 5, 6] > 0.2
    assert abs(after[3, 5, 6]) < 3 * np.sqrt(1 / ENERGIES) * np.median(np.abs(before))


def test_flats_that_all_energies_share_are_left_alone() -> None:
    one = recorded(true_flats(steady)[:1])[0]
    beams = [one] * ENERGIES
    offset = flat_offset_from_series(series_of(beams), beams, GOOD)
    np.testing.assert_allclose(offset, 0.0, atol=1e-6)


def test_flats_of_other_days_are_other_flats() -> None:
    """Every energy has a pattern of its own: nothing is shared, and nothing is lost."""
    rng = np.random.default_rng(5)
    true = true_flats(steady) * (1 + 0.05 * rng.standard_normal((ENERGIES, *GOOD.shape)))
    beams = recorded(true)
    series = series_of(beams)
    before, after = errors(beams, true, flat_offset_from_series(series, beams, GOOD))
    assert series.noise_share == 1.0
    assert after.var() == pytest.approx(before.var(), rel=0.02)


def test_bad_pixels_are_as_they_were() -> None:
    beams = recorded(true_flats(steady))
    series = series_of(beams)
    good = GOOD.copy()
    good[3, 4] = False
    offset = flat_offset_from_series(series, beams, good)
    assert (offset[:, 3, 4] == 0).all()
    assert (offset[:, 3, 5] != 0).all()


def test_the_noise_of_one_frame_is_not_known() -> None:
    flat = np.full((1, 4, 5), 100.0)
    assert np.isnan(open_beam_from_flats(flat=flat, dark=flat * 0, good=np.ones((4, 5), bool)).noise)
    assert np.isnan(open_beam_from_flats(flat=flat[[0, 0]], dark=flat * 0, good=np.zeros((4, 5), bool)).noise)


def test_flats_and_darks_of_different_detectors_are_refused() -> None:
    with pytest.raises(MeasurementError, match="do not fit"):
        open_beam_from_flats(flat=np.ones((3, 4, 5)), dark=np.ones((3, 4, 6)), good=np.ones((4, 5), bool))
