"""What chemistry feigns of motion: exact where it varies slowly, stated honestly where grains differ."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cathoscope.core.errors import MeasurementError
from cathoscope.tomography.series_chemistry import _feigned, _of_projections, _Volumes, chemistry_free
from cathoscope.tomography.series_common import CommonMotion

SIZE = 26
Z, Y, X = np.meshgrid(*[np.linspace(-1, 1, SIZE)] * 3, indexing="ij")
SLOPES = 4  # axis, x, y, z


def particle() -> np.ndarray:
    """A bumpy ball with a hole, beside the middle."""
    radius = np.sqrt((Z - 0.05) ** 2 + (Y + 0.04) ** 2 + X**2)
    bumpy = 0.62 + 0.06 * np.sin(7 * Y) + 0.05 * np.cos(8 * Z + 1)
    return np.asarray(1 / (1 + np.exp((radius - bumpy) / 0.05)) / (1 + np.exp((0.2 - radius) / 0.05)), dtype=np.float32)


def volumes(chemistry: np.ndarray, motion: np.ndarray) -> _Volumes:
    """A chemistry (over the mean image) and a motion of axis, x, y and z (voxel) beside it."""
    mean = particle()
    moved = np.sign(Y) * np.gradient(mean, axis=2)
    slope_z, slope_y, slope_x = np.gradient(mean)
    seen = chemistry * mean + motion[0] * moved - motion[1] * slope_x - motion[2] * slope_y - motion[3] * slope_z
    return _Volumes(mean, seen[None].astype(np.float32), moved.astype(np.float32))


def test_slow_chemistry_is_no_motion() -> None:
    motion = np.array([0.02, -0.03, 0.05, 0.01])
    found, std = _feigned(volumes(0.3 + 0.4 * X - 0.2 * Y * Z + 0.3 * Z**3, motion))
    np.testing.assert_allclose(found[0], motion, atol=3e-4)  # filter and slope change places but at the rim
    assert std.max() < 1e-3


def test_what_grains_feign_is_stated() -> None:
    """Grains with states of their own: errors over stated uncertainties, of all modes and many particles."""
    pulls = []
    for seed in range(8):
        grains = gaussian_filter(np.random.default_rng(seed).standard_normal((SIZE,) * 3), 1.0)
        found, std = _feigned(volumes(0.3 * grains / grains.std(), np.zeros(SLOPES)))
        pulls.append(found[0] / std[0])
    assert abs(np.mean(pulls)) < 0.5
    assert 0.7 < np.sqrt(np.mean(np.square(pulls))) < 1.4


def test_single_projections_move_by_what_their_chemistry_looks_like() -> None:
    """Constant, cosine and sine of the angle are not jitter."""
    angle = np.linspace(0, np.pi, 40)
    mean = np.tile(particle().sum(axis=0)[None], (40, 1, 1))
    slope_row, slope_column = np.gradient(mean, axis=(1, 2))
    jitter = 0.1 * np.cos(2 * angle)
    modes = np.stack([np.ones(40), np.cos(angle), np.sin(angle)], axis=1)
    jitter -= modes @ np.linalg.lstsq(modes, jitter, rcond=None)[0]
    moved = (jitter + modes @ [0.3, -0.2, 0.4])[:, None, None] * slope_column + 0.5 * slope_row
    column, row = _of_projections(mean, moved.astype(np.float32), angle)
    np.testing.assert_allclose(column, np.sum(jitter**2) / 37, rtol=1e-2)
    assert row < 0.1 * column


def test_two_scans_tell_no_chemistry() -> None:
    nothing = CommonMotion(np.zeros(8), np.zeros(8), np.ones(8), np.ones(8), 0.0, 0, 0.0, None)
    images = np.zeros((2, 8, SIZE, SIZE), dtype=np.float32)
    strength = np.array([[0.1], [-0.1]])
    assert chemistry_free(images, strength, np.linspace(0, 3, 8), (12.5, 12.5), nothing) is None
    more = np.linspace(-1, 1, 6)[:, None]
    assert chemistry_free(images, more, np.linspace(0, 3, 8), (12.5, 12.5), nothing) is None  # nothing is seen


def test_an_empty_view_is_refused() -> None:
    empty = np.zeros((SIZE,) * 3, dtype=np.float32)
    with pytest.raises(MeasurementError, match="without contrast"):
        _feigned(_Volumes(empty, empty[None], empty))
