from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.tomography import project as module
from cathoscope.tomography.project import back_project, project, residual_rms
from cathoscope.tomography.reconstruct import BATCH, plan_reconstruction, reconstruct

ANGLE_DEG = np.arange(60) * 3.0


@settings(max_examples=6, deadline=None)
@given(n_columns=st.integers(20, 33), axis=st.floats(8, 22), seed=st.integers(0, 99))
def test_adjoint_of_back_projection(n_columns, axis, seed):
    rng = np.random.default_rng(seed)
    angle = rng.uniform(-90, 400, 25)
    plan, shift = plan_reconstruction(angle, n_columns), rng.normal(0, 2, 25)
    volume = rng.standard_normal((3, n_columns, n_columns)).astype(np.float32)
    sinogram = rng.standard_normal((3, 25, n_columns)).astype(np.float32)
    forward = project(plan, volume, axis, shift, 0.3).astype(np.float64)
    backward = back_project(plan, sinogram, axis, shift, 0.3).astype(np.float64)
    for row in range(3):
        difference = np.vdot(forward[row], sinogram[row]) - np.vdot(volume[row], backward[row])
        assert abs(difference) < 1e-6 * np.linalg.norm(forward[row]) * np.linalg.norm(sinogram[row])


@pytest.mark.parametrize("n_columns", [64, 65])
def test_gaussian_has_its_line_integrals(n_columns):
    rng = np.random.default_rng(n_columns)
    pixel, axis, width, centre = 0.1, 0.5 * n_columns + 1.3, 0.25, (0.5, -0.8)
    shift = rng.normal(0, 1, ANGLE_DEG.size)
    x = (np.arange(n_columns) - 0.5 * (n_columns - 1)) * pixel
    volume = np.exp(-((x - centre[0]) ** 2 + (x[:, None] - centre[1]) ** 2) / (2 * width**2))[None]
    found = project(plan_reconstruction(ANGLE_DEG, n_columns), 1.3 * volume, axis, shift, pixel)[0]
    angle = np.deg2rad(ANGLE_DEG)[:, None]
    distance = (np.arange(n_columns) - axis - shift[:, None]) * pixel
    distance = distance - centre[0] * np.cos(angle) - centre[1] * np.sin(angle)
    expected = 1.3 * width * np.sqrt(2 * np.pi) * np.exp(-(distance**2) / (2 * width**2))
    assert np.abs(found - expected).max() < 2e-3 * expected.max()
    assert residual_rms(expected[None], found[None])[0] < 3e-4 * expected.max()
    np.testing.assert_allclose(found.sum(axis=1), expected.sum(axis=1), rtol=1e-3)


def test_disk_has_its_chords():
    n_columns, radius, centre = 96, 25.0, (8.0, -5.0)
    fine = (np.arange(8 * n_columns) + 0.5) / 8 - 0.5 * n_columns
    inside = (fine - centre[0]) ** 2 + (fine[:, None] - centre[1]) ** 2 < radius**2
    volume = inside.reshape(n_columns, 8, n_columns, 8).mean(axis=(1, 3))[None]
    found = project(plan_reconstruction(ANGLE_DEG, n_columns), 0.04 * volume, 47.5, None, 1.0)[0]
    angle = np.deg2rad(ANGLE_DEG)[:, None]
    distance = np.arange(n_columns) - 47.5 - centre[0] * np.cos(angle) - centre[1] * np.sin(angle)
    chord = 0.04 * 2 * np.sqrt(np.maximum(radius**2 - distance**2, 0))
    # at the rim the chord is infinitely steep
    assert np.abs(found - chord)[np.abs(distance) < radius - 3].max() < 0.01 * chord.max()


def test_reconstruction_of_the_projection_is_the_image():
    n_columns = 64
    x = np.arange(n_columns) - 31.5
    volume = np.exp(-((x - 6) ** 2 + (x[:, None] + 4) ** 2) / (2 * 3.0**2))[None]
    angle = np.arange(150) * 1.2
    plan, shift = plan_reconstruction(angle, n_columns), np.sin(np.arange(150))
    back = reconstruct(plan, project(plan, volume, 30.2, shift, 0.05), 30.2, shift, 0.05)
    assert np.abs(back - volume)[0, 16:-16, 16:-16].max() < 0.005


def test_slices_do_not_depend_on_company_or_threads():
    volume = np.random.default_rng(3).standard_normal((2 * BATCH, 30, 30)).astype(np.float32)
    plan = plan_reconstruction(ANGLE_DEG, 30)
    whole = project(plan, volume, 14.7, None, 1.0)
    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(lambda rows: project(plan, rows, 14.7, None, 1.0), [volume[:BATCH], volume[BATCH:]]))
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    single = project(plan, volume[3:4], 14.7, None, 1.0)[0]
    assert np.abs(single - whole[3]).max() < 1e-5 * np.abs(single).max()


def test_kernels_compiled_equal_python(monkeypatch):
    volume = np.random.default_rng(8).standard_normal((3, 7, 7)).astype(np.float32)
    plan = plan_reconstruction(np.array([0.0, 40.0, 90.0]), 7)
    compiled = project(plan, volume, 3.2, None, 1.0)
    for name in ("_pack", "_scatter", "_spectrum"):
        monkeypatch.setattr(module, name, getattr(module, name).py_func)
    assert np.abs(project(plan, volume, 3.2, None, 1.0) - compiled).max() < 1e-5 * np.abs(compiled).max()


def test_what_cannot_be_projected_is_refused():
    plan = plan_reconstruction(ANGLE_DEG, 20)
    good = np.zeros((1, 20, 20))
    for volume, axis, shift, pixel in (
        (good[0], 9.5, None, 1.0),
        (good[:, :-1], 9.5, None, 1.0),
        (good * np.nan, 9.5, None, 1.0),
        (good, np.inf, None, 1.0),
        (good, 9.5, np.zeros(3), 1.0),
        (good, 9.5, None, -1.0),
    ):
        with pytest.raises(MeasurementError):
            project(plan, volume, axis, shift, pixel)
