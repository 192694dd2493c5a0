from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual import projector
from cathoscope.virtual.projector import project, project_rows

ANGLES = np.array([0.0, 13.0, 45.0, 90.0, 117.3, 135.0, 179.0, 250.0])


def positions(count: int) -> NDArray[np.float64]:
    return np.arange(count) - (count - 1) / 2


def fill_of_disc(n: int, radius: float, sub: int = 8) -> NDArray[np.float32]:
    """Part of each pixel that lies in a disc about the middle."""
    fine = (np.arange(n * sub) + 0.5) / sub - n / 2
    inside = fine[:, None] ** 2 + fine[None, :] ** 2 < radius**2
    return inside.reshape(n, sub, n, sub).mean(axis=(1, 3)).astype(np.float32)


def mean_chord(edges: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Chord of a disc averaged between neighbouring ``edges``."""
    t = np.clip(edges / radius, -1, 1)
    return np.diff(radius**2 * (t * np.sqrt(1 - t**2) + np.arcsin(t))) / np.diff(edges)


def shadow_of_square(angle: float, edges: NDArray[np.float64], centre: float) -> NDArray[np.float64]:
    """Shares of a unit square's shadow between ``edges``, by integrating its chord lengths numerically."""
    c, s = abs(np.cos(np.radians(angle))), abs(np.sin(np.radians(angle)))
    t = np.linspace(-1, 1, 400_001)
    wide, narrow = max(c, s), min(c, s)
    ramp = np.clip(((wide + narrow) / 2 - np.abs(t)) / max(narrow, 1e-12), 0, 1) / wide
    total = np.concatenate([[0.0], np.cumsum((ramp[1:] + ramp[:-1]) / 2 * np.diff(t))])
    return np.diff(np.interp(edges - centre, t, total))


def test_a_pixel_seen_straight_on_fills_one_bin() -> None:
    volume = np.zeros((5, 5, 1), dtype=np.float32)
    volume[3, 1] = 2.0
    sinogram = project(volume, np.array([0.0, 90.0, 180.0, 270.0]), 5)[:, :, 0]
    for row, column in zip(sinogram, (1, 3, 3, 1), strict=True):
        np.testing.assert_allclose(row, 2.0 * (np.arange(5) == column), atol=1e-6)


def test_a_pixel_seen_along_its_diagonal_throws_a_triangle() -> None:
    volume = np.zeros((5, 5, 1), dtype=np.float32)
    volume[2, 2] = 1.0
    row = project(volume, np.array([45.0]), 5)[0, :, 0]
    beside = (np.sqrt(0.5) - 0.5) ** 2  # the triangle's corner beyond half a bin
    np.testing.assert_allclose(row, [0, beside, 1 - 2 * beside, beside, 0], atol=1e-7)


@settings(max_examples=60, deadline=None)
@given(st.floats(-360, 720), st.integers(0, 8), st.integers(0, 8), st.integers(12, 15))
def test_the_shadow_of_any_pixel_at_any_angle_is_its_trapezoid(angle: float, x: int, y: int, columns: int) -> None:
    volume = np.zeros((9, 9, 1), dtype=np.float32)
    volume[y, x] = 1.0
    row = project(volume, np.array([angle]), columns)[0, :, 0]
    theta = np.radians(angle)
    centre = (columns - 1) / 2 + (x - 4) * np.cos(theta) + (y - 4) * np.sin(theta)
    expected = shadow_of_square(angle, np.arange(columns + 1) - 0.5, centre)
    np.testing.assert_allclose(row, expected, atol=1e-5)


def test_mass_is_conserved_at_every_angle() -> None:
    volume = np.random.default_rng(1).random((40, 40, 3)).astype(np.float32)
    sinogram = project(volume, np.linspace(0, 360, 97), 60).astype(np.float64)
    np.testing.assert_allclose(sinogram.sum(axis=1), np.tile(volume.sum(axis=(0, 1), dtype=float), (97, 1)), rtol=1e-6)


@pytest.mark.parametrize("volume_shape", [(60, 61), (55, 78), (80, 51)])
def test_the_centre_of_mass_goes_round_a_circle(volume_shape: tuple[int, int]) -> None:
    # A smooth blob: binning would move the centre of a single square by a part of a pixel.
    x, y = 3.3, -4.6
    along_x, along_y = positions(volume_shape[1]) - x, positions(volume_shape[0])[:, None] - y
    blob = np.exp(-(along_x**2 + along_y**2) / (2 * 3.0**2))
    sinogram = project(blob[:, :, None].astype(np.float32), ANGLES, 73)[:, :, 0].astype(np.float64)
    theta = np.radians(ANGLES)
    found = sinogram @ np.arange(73.0) / sinogram.sum(axis=1)
    np.testing.assert_allclose(found, 36 + x * np.cos(theta) + y * np.sin(theta), atol=1e-4)


def test_a_disc_has_its_chords_and_more_pixels_come_closer() -> None:
    errors = []
    for n in (32, 64, 128):
        radius = 0.38 * n
        sinogram = project(fill_of_disc(n, radius)[:, :, None], ANGLES, n)[:, :, 0]
        expected = mean_chord(np.arange(n + 1) - n / 2, radius)
        clear = np.abs(positions(n)) < 0.9 * radius  # at the rim a chord changes as fast as a pixel's shadow is wide
        errors.append(float(np.sqrt(((sinogram - expected)[:, clear] ** 2).mean()) / (2 * radius)))
    assert errors[2] < errors[1] / 1.8 < errors[0] / 1.8**2
    assert errors[2] < 1e-3


def test_an_ellipsoid_has_its_chords_row_by_row() -> None:
    n, a, b, c = 96, 40.0, 24.0, 30.0
    z = positions(64)
    grid = positions(n * 4) / 4
    slices = np.zeros((64, n, n, 1), dtype=np.float32)
    for row, height in enumerate(z):
        filled = (grid[None, :] / a) ** 2 + (grid[:, None] / b) ** 2 + (height / c) ** 2 < 1
        slices[row, :, :, 0] = filled.reshape(n, 4, n, 4).mean(axis=(1, 3))
    sinogram = np.zeros((ANGLES.size, 64, 1, n), dtype=np.float32)
    project_rows(slices, ANGLES, sinogram)
    theta = np.radians(ANGLES)[:, None, None]
    half_width = np.sqrt((a * np.cos(theta)) ** 2 + (b * np.sin(theta)) ** 2)
    inside = 1 - (grid / half_width) ** 2 - (z[:, None] / c) ** 2
    chord = 2 * a * b / half_width * np.sqrt(np.clip(inside, 0, None))
    expected = chord.reshape(*chord.shape[:2], n, 4).mean(axis=-1)
    clear = inside.reshape(*chord.shape[:2], n, 4).min(axis=-1) > 0.19  # nine tenths of the way to the rim
    error = np.abs(sinogram[:, :, 0] - expected)[clear] / (2 * b)
    assert error.max() < 0.01
    assert np.sqrt((error**2).mean()) < 0.002


def test_a_shift_of_the_object_shifts_its_projections() -> None:
    rng = np.random.default_rng(3)
    volume = np.zeros((40, 40, 2), dtype=np.float32)
    volume[10:25, 8:30] = rng.random((15, 22, 2))
    moved = np.roll(volume, (6, 5), axis=(0, 1))
    for angle, columns in ((0.0, 5), (90.0, 6), (180.0, -5)):
        before, after = (project(v, np.array([angle]), 60)[0] for v in (volume, moved))
        np.testing.assert_allclose(after, np.roll(before, columns, axis=0), atol=1e-5)
    steep = np.degrees(np.arctan2(4, 3))  # 3 and 4 pixels make 5 columns
    moved = np.roll(volume, (4, 3), axis=(0, 1))
    before, after = (project(v, np.array([steep]), 60)[0] for v in (volume, moved))
    np.testing.assert_allclose(after, np.roll(before, 5, axis=0), atol=1e-4)


def test_the_projection_is_linear_and_components_do_not_mix() -> None:
    rng = np.random.default_rng(4)
    volume = rng.random((20, 20, 5)).astype(np.float32)
    whole = project(volume, ANGLES, 30)
    for component in range(5):
        np.testing.assert_array_equal(
            project(volume[:, :, component : component + 1], ANGLES, 30)[:, :, 0], whole[..., component]
        )
    weights = rng.random(5)
    combined = project((volume @ weights)[:, :, None].astype(np.float32), ANGLES, 30)[:, :, 0]
    np.testing.assert_allclose(combined, whole @ weights, rtol=1e-5)


def test_rows_do_not_depend_on_their_company() -> None:
    slices = np.random.default_rng(5).random((7, 30, 30, 3)).astype(np.float32)
    slices[2:4] = 0
    together, alone = (np.zeros((ANGLES.size, 9, 3, 44), dtype=np.float32) for _ in range(2))
    project_rows(slices, ANGLES, together, first_row=1)
    for row in range(7):
        project_rows(slices[row : row + 1], ANGLES, alone, first_row=1 + row)
    np.testing.assert_array_equal(together, alone)
    assert not together[:, [0, 3, 4, 8]].any()
    assert together[:, 1].all(axis=1).any()


def test_what_falls_beside_the_detector_is_lost() -> None:
    volume = np.random.default_rng(6).random((40, 40, 1)).astype(np.float32)
    wide, narrow = project(volume, ANGLES, 60), project(volume, ANGLES, 20)
    np.testing.assert_allclose(narrow, wide[:, 20:40], atol=1e-5)


def test_compiled_and_interpreted_loops_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    slices = np.random.default_rng(7).random((2, 5, 50, 2)).astype(np.float32)
    slices[:, 2:4] = 0
    compiled, interpreted = (np.zeros((3, 2, 2, 30), dtype=np.float32) for _ in range(2))
    project_rows(slices, ANGLES[1:4], compiled)
    for name in ("_tail", "_gather", "_add", "_spread", "_collect"):
        monkeypatch.setattr(projector, name, getattr(projector, name).py_func)
    project_rows(slices, ANGLES[1:4], interpreted, kernel=projector._project.py_func)
    np.testing.assert_allclose(interpreted, compiled, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 2, 3, 12), (3, 2, 4, 12), (3, 1, 3, 12)])
def test_a_sinogram_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(CathoscopeError, match="does not belong"):
        project_rows(np.ones((2, 6, 6, 3), dtype=np.float32), ANGLES[:3], np.zeros(shape, dtype=np.float32))
