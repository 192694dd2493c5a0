"""Grey levels and thresholds: known peaks are found, and volumes that have none are answered clearly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cathoscope.core.errors import MeasurementError
from cathoscope.volume.segment import grey_levels, require_volume

SIZE = 48


def ball(radius=16.0, noise=0.08, levels=(0.0, 1.0), seed=0, blur=1.0, size=SIZE):
    """A blurred ball with noise, and its share of every voxel."""
    middle = np.array([0.2, -0.3, 0.1]) + (size - 1) / 2
    distance = np.linalg.norm(np.indices((size,) * 3).transpose(1, 2, 3, 0) - middle, axis=-1)
    share = gaussian_filter(np.clip(radius - distance + 0.5, 0, 1).astype(np.float32), blur)
    rng = np.random.default_rng(seed)
    grey = levels[0] + (levels[1] - levels[0]) * (share + noise * rng.standard_normal(share.shape))
    return grey.astype(np.float32)


@pytest.mark.parametrize("levels", [(0.0, 1.0), (-3.0, 40.0), (1000.0, 1250.0)])
@pytest.mark.parametrize("radius", [6.0, 16.0])
def test_peaks_threshold_and_noise_are_found(levels, radius):
    found = grey_levels(ball(radius, levels=levels))
    contrast = levels[1] - levels[0]
    relative = (np.array(found[:7]) - levels[0]) / contrast
    spreads = np.array([found.solid_spread, found.void_spread]) / contrast
    assert relative[0] == pytest.approx(1.0, abs=0.05 if radius < 10 else 0.012)
    assert relative[1] == pytest.approx(0.0, abs=0.004)
    assert spreads == pytest.approx(0.08, abs=0.02 if radius < 10 else 0.006)
    # a blurred wall crosses the middle
    assert (found.threshold - levels[0]) / contrast == pytest.approx(0.5, abs=0.06)
    assert found.low < found.threshold < found.high
    assert (found.low - levels[0]) / contrast < 0.5 < (found.high - levels[0]) / contrast


def test_band_moves_with_the_noise_and_levels_are_equivariant():
    quiet, loud = (grey_levels(ball(noise=noise)) for noise in (0.03, 0.12))
    assert loud.high - loud.low > 2 * (quiet.high - quiet.low)
    volume = ball()
    first, second = grey_levels(volume), grey_levels(3 * volume + 7)
    assert np.array(second[:2]) == pytest.approx(3 * np.array(first[:2]) + 7, abs=0.02)


def test_volume_without_noise():
    found = grey_levels(ball(noise=0.0))
    assert found.solid == pytest.approx(1.0, abs=0.02)
    assert found.void == pytest.approx(0.0, abs=0.02)
    assert found.threshold == pytest.approx(0.5, abs=0.06)


RNG = np.random.default_rng(0)
NOISE = (0.08 * RNG.standard_normal((24, 24, 24))).astype(np.float32)


@pytest.mark.parametrize(
    ("volume", "words"),
    [
        (np.zeros((8, 8, 8), np.float32), "constant"),
        (NOISE, "one grey peak"),
        (NOISE + 1, "one grey peak"),
        (1 - ball(), "inverted"),
        (np.minimum(ball(), np.float32(1.0)), "saturated"),
        (np.where(NOISE > 0.3, np.nan, NOISE).astype(np.float32), "no numbers"),
        (NOISE[0], "no volume"),
        (NOISE[:2], "no volume"),
    ],
)
def test_volumes_without_levels_are_answered(volume, words):
    with pytest.raises(MeasurementError, match=words):
        grey_levels(volume)


@pytest.mark.parametrize(
    "voxel_size", [(0.0, 0.1, 0.1), (30.0, 30.0, 0.03), (1e3, 1e3, 1e3), (0.1, 0.1, np.nan), (0.1, 0.1)]
)
def test_absurd_voxels_are_refused(voxel_size):
    with pytest.raises(MeasurementError, match="size of the voxels"):
        require_volume(NOISE, voxel_size)
