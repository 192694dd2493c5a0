from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual import microscope
from cathoscope.virtual.microscope import (
    Optics,
    Series,
    View,
    Window,
    blur_of,
    detect,
    detect_together,
    draw_views,
    gaussian,
    rows_needed,
)
from cathoscope.virtual.projector import project_rows
from cathoscope.virtual.specimen import Grid
from cathoscope.virtual.txm import Scan, TxmOptions

GRID = Grid(columns=40, rows=24, pixel_size=0.1)
FINE_EDGE = 0.05  # um
NO_BLUR = np.full(2, 0.5)
ANGLES = np.array([0.0, 31.0, 90.0, 152.0])
BLOB = np.array([0.35, -0.22, 0.13])  # um
WIDTH = 0.25  # um
DENSITY = 1.7  # 1/um at the middle
ALL_ROWS = Window(GRID, slice(0, GRID.rows), slice(0, 2 * GRID.rows))


def view_of(**changes: object) -> View:
    """A view of nothing but ideal turning, with ``changes`` to the view or its scan."""
    still = np.zeros(ANGLES.size)
    scan = Scan(ANGLES, (GRID.columns - 1) / 2, still, still, still + 1, np.ones(1))
    of_scan = {name: changes.pop(name) for name in list(changes) if hasattr(scan, name)}
    view = View(replace(scan, **of_scan), 8350.0, 8350.0, 1.0, (0.0, 0.0, 0.0))
    return replace(view, **changes)


def fine(count: int) -> NDArray[np.float64]:
    return (np.arange(2 * count) - (2 * count - 1) / 2) * FINE_EDGE


def depth_of_blob(
    across: NDArray[np.float64], up: NDArray[np.float64], angles: NDArray[np.float64], centre: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Line integral of a Gaussian ball at places (um) of the specimen's plane, shape (angle, up, across)."""
    theta = np.radians(angles)[:, None, None]
    aside = across - (centre[0] * np.cos(theta) + centre[1] * np.sin(theta))
    squared = aside**2 + (up[:, None] - centre[2]) ** 2
    return DENSITY * np.sqrt(2 * np.pi) * WIDTH * np.exp(-squared / (2 * WIDTH**2))


def blob(angles: NDArray[np.float64] = ANGLES, rows: slice = slice(0, 48)) -> NDArray[np.float32]:
    """Line integrals of the blob as the projector would give them, in fine edges, one component."""
    depth = depth_of_blob(fine(GRID.columns), fine(GRID.rows)[rows], angles, BLOB)
    return (depth[:, :, None] / FINE_EDGE).astype(np.float32)


def binned(image: NDArray[np.float64]) -> NDArray[np.float64]:
    count, rows, columns = image.shape
    return image.reshape(count, rows // 2, 2, columns // 2, 2).mean(axis=(2, 4))


def seen(view: View, blur: NDArray[np.float64] = NO_BLUR, weight: float = 1.0) -> NDArray[np.float32]:
    return detect(blob(), np.array([weight]), view, ALL_ROWS, blur)


def test_with_everything_off_pixels_are_means_of_four_beer_lambert_pixels() -> None:
    expected = binned(np.exp(-depth_of_blob(fine(GRID.columns), fine(GRID.rows), ANGLES, BLOB)))
    np.testing.assert_allclose(seen(view_of()), expected, rtol=3e-6)
    assert expected.min() < 0.4


def test_components_add_up_with_their_weights_and_lengths() -> None:
    weights = np.array([0.3, 0.0, 1.1])
    components = np.random.default_rng(1).random((4, 48, 3, 80)).astype(np.float32)
    found = detect(components, weights, view_of(), ALL_ROWS, NO_BLUR)
    depth = FINE_EDGE * np.einsum("prkc,k->prc", components.astype(float), weights)
    np.testing.assert_allclose(found, binned(np.exp(-depth)), rtol=3e-6)


JITTER = np.array([0.0, 0.37, -1.2, 2.04])
VIEWS = {
    "displacement": view_of(displacement=(0.07, -0.16, 0.043)),
    "axis": view_of(rotation_axis=19.5 + 1.63),
    "jitter": view_of(projection_shift=JITTER, row_shift=-0.7 * JITTER),
    "larger": view_of(magnification=1.02),
    "smaller": view_of(magnification=0.97, rotation_axis=18.9),
    "all": view_of(
        displacement=(0.07, -0.16, 0.043),
        rotation_axis=20.3,
        projection_shift=JITTER,
        row_shift=JITTER / 3,
        magnification=0.985,
    ),
}


@pytest.mark.parametrize("name", VIEWS)
def test_the_specimen_is_seen_where_the_equations_of_the_module_say(name: str) -> None:
    view = VIEWS[name]
    pixel, scan, m = GRID.pixel_size, view.scan, view.magnification
    centre = np.array(BLOB) + view.displacement
    expected = []
    for angle, sideways, upwards in zip(ANGLES, scan.projection_shift, scan.row_shift, strict=True):
        columns = np.arange(80) / 2 - 0.25
        rows = np.arange(48) / 2 - 0.25
        across = (columns - scan.rotation_axis - sideways) / m * pixel
        up = (rows - (GRID.rows - 1) / 2 - upwards) / m * pixel
        expected.append(np.exp(-depth_of_blob(across, up, np.array([angle]), centre))[0])
    # Cubic convolution of a blob five samples wide: third order, some 1e-4.
    np.testing.assert_allclose(seen(view), binned(np.array(expected)), atol=5e-4)
    assert np.abs(seen(view) - seen(view_of())).max() > 0.02


def test_a_ball_has_its_closed_form_transmission() -> None:
    radius, mu, centre = 0.9, 0.8, np.array([0.12, -0.2, 0.05])
    view = view_of(displacement=(0.033, 0.021, -0.018), magnification=1.01)
    x, z = fine(GRID.columns), fine(GRID.rows)
    sub = (np.arange(4) - 1.5) / 4 * FINE_EDGE
    probes = [(a, b, c) for a in sub for b in sub for c in sub]
    filled = sum(
        (x[:, None] + b - centre[1]) ** 2 + (x + a - centre[0]) ** 2 + (z[:, None, None] + c - centre[2]) ** 2
        < radius**2
        for a, b, c in probes
    )
    components = np.zeros((ANGLES.size, 48, 1, 80), dtype=np.float32)
    project_rows((np.asarray(filled, dtype=np.float32) / len(probes))[..., None], ANGLES, components)
    found = detect(components, np.array([mu]), view, ALL_ROWS, NO_BLUR)
    theta = np.radians(ANGLES)[:, None, None]
    seen_at = centre + view.displacement
    n = 6
    columns = ((np.arange(40 * n) + 0.5) / n - 20) * GRID.pixel_size / view.magnification
    rows = ((np.arange(24 * n) + 0.5) / n - 12) * GRID.pixel_size / view.magnification
    aside = columns - seen_at[0] * np.cos(theta) - seen_at[1] * np.sin(theta)
    squared = aside**2 + (rows[:, None] - seen_at[2]) ** 2
    exact = np.exp(-2 * mu * np.sqrt(np.clip(radius**2 - squared, 0, None)))
    exact = exact.reshape(4, 24, n, 40, n).mean(axis=(2, 4))
    error = np.abs(found - exact)
    near_rim = np.abs(np.sqrt(squared) - radius).reshape(4, 24, n, 40, n).min(axis=(2, 4)) < 1.5 * GRID.pixel_size
    assert exact.min() < 0.25
    assert np.sqrt((error[~near_rim] ** 2).mean()) < 5e-4
    assert error[~near_rim].max() < 4e-3
    assert np.sqrt((error[near_rim] ** 2).mean()) < 0.02


def test_what_is_absorbed_does_not_depend_on_blur_and_grows_with_the_image() -> None:
    # Incident is transmitted and absorbed; blur only moves photons, a magnified image is m^2 times as large.
    absorbed = (1 - seen(view_of()).astype(float)).sum(axis=(1, 2))
    blurred = (1 - seen(view_of(), blur_of(Optics(resolution=0.15), GRID)).astype(float)).sum(axis=(1, 2))
    np.testing.assert_allclose(blurred, absorbed, rtol=1e-4)
    for m in (0.9, 1.05):
        larger = (1 - seen(view_of(magnification=m)).astype(float)).sum(axis=(1, 2))
        np.testing.assert_allclose(larger, m**2 * absorbed, rtol=1e-3)
    depth = depth_of_blob(fine(GRID.columns), fine(GRID.rows), ANGLES, BLOB)
    np.testing.assert_allclose(absorbed, (1 - np.exp(-depth)).sum(axis=(1, 2)) / 4, rtol=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.001, 20.0))
def test_the_blur_has_the_variance_of_its_width(fwhm: float) -> None:
    kernel = gaussian(fwhm, 1.0)
    place = np.arange(kernel.size) - kernel.size // 2
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    assert (kernel >= 0).all()
    np.testing.assert_allclose(kernel, kernel[::-1], rtol=1e-12)
    assert (kernel * place**2).sum() == pytest.approx(fwhm**2 / (8 * np.log(2)), rel=1e-3)


def test_a_wide_blur_is_a_gaussian_and_none_is_none() -> None:
    kernel = gaussian(40.0, 1.0)
    assert kernel[kernel.size // 2 + 20] / kernel.max() == pytest.approx(0.5, abs=0.001)
    np.testing.assert_array_equal(gaussian(0.0, 1.0), [1.0])
    np.testing.assert_array_equal(blur_of(Optics.ideal(), GRID), NO_BLUR)


def test_the_image_is_as_much_wider_as_the_resolution_says() -> None:
    resolution, up = 0.2, np.arange(GRID.rows)[:, None] * GRID.pixel_size
    across = np.arange(GRID.columns) * GRID.pixel_size

    def spread(blur: NDArray[np.float64], place: NDArray[np.float64]) -> float:
        absorbed = 1 - seen(view_of(), blur, weight=0.01)[1].astype(float)
        absorbed /= absorbed.sum()
        return float((absorbed * place**2).sum() - (absorbed * place).sum() ** 2)

    blur = blur_of(Optics(resolution=resolution), GRID)
    for place in (up, across):
        gained = spread(blur, place) - spread(NO_BLUR, place)
        assert gained == pytest.approx(resolution**2 / (8 * np.log(2)), rel=0.01)


@pytest.mark.parametrize("name", ["all", "jitter"])
def test_rows_in_slabs_are_the_rows_of_the_whole_to_the_bit(name: str) -> None:
    view, blur = VIEWS[name], blur_of(Optics(resolution=0.15), GRID)
    whole = seen(view, blur)
    for rows in (slice(0, 8), slice(8, 16), slice(13, 14), slice(16, 24)):
        stored = rows_needed((view,), GRID, rows, blur)
        part = blob(rows=stored)
        found = detect(part, np.ones(1), view, Window(GRID, rows, stored), blur)
        np.testing.assert_array_equal(found, whole[:, rows])


def test_views_seen_together_are_the_views_seen_alone_to_the_bit() -> None:
    rng, blur = np.random.default_rng(5), blur_of(Optics(resolution=0.1), GRID)
    components = rng.random((4, 48, 3, 80)).astype(np.float32)
    views, weights = tuple(VIEWS.values()), rng.random((len(VIEWS), 3))
    together = detect_together(components, weights, views, ALL_ROWS, blur)
    for found, view, weight in zip(together, views, weights, strict=True):
        np.testing.assert_array_equal(found, detect(components, weight, view, ALL_ROWS, blur))


def test_rows_that_are_seen_but_not_stored_are_refused() -> None:
    window = Window(GRID, slice(8, 16), slice(16, 32))
    with pytest.raises(CathoscopeError, match="not stored"):
        detect(blob(ANGLES, window.stored), np.ones(1), view_of(), window, NO_BLUR)


def test_the_fast_exponential_is_exact_to_single_precision() -> None:
    depth = np.linspace(-0.2, 12, 20_001).astype(np.float32)
    result = np.empty_like(depth)
    microscope._transmit(depth, result)
    np.testing.assert_allclose(result, np.exp(-depth.astype(float)), rtol=5e-6)
    opaque = np.array([60.0, 1e4, 1e30], dtype=np.float32)
    result = np.empty_like(opaque)
    microscope._transmit(opaque, result)
    assert (np.abs(result) < 1e-12).all()


def test_compiled_and_interpreted_loops_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = Grid(6, 4, 0.1)
    still = np.array([0.3, -2.2])
    scan = Scan(np.array([0.0, 50.0]), 2.7, still, still, still, still)
    view = View(scan, 8350.0, 8350.0, 0.9, (0.02, 0.0, 0.01))
    components = np.random.default_rng(3).random((2, 8, 2, 12)).astype(np.float32)
    arguments = (components, np.array([1.0, 0.5]), view, Window(grid, slice(1, 4), slice(0, 8)))
    blur = blur_of(Optics(resolution=0.05), grid)
    compiled = detect(*arguments, blur)
    for name in ("_cubic", "_map", "_transmit", "_combine", "_read_row", "_read_columns", "_bin"):
        monkeypatch.setattr(microscope, name, getattr(microscope, name).py_func)
    monkeypatch.setattr(microscope, "_detect", microscope._detect.py_func)
    interpreted = detect(*arguments, blur)
    np.testing.assert_allclose(interpreted, compiled, rtol=1e-5)


ENERGIES = tuple(np.linspace(8300, 8400, 41))


def draw(optics: Optics, options: TxmOptions | None = None, seed: int = 1, temperatures: int = 3) -> list[list[View]]:
    series = Series(ENERGIES, temperatures, 30)
    views = draw_views(GRID, series, optics, options or TxmOptions(), rng=np.random.default_rng(seed))
    return [list(row) for row in views]


def test_all_energies_of_a_temperature_share_the_stage_s_angles_and_others_do_not() -> None:
    views = draw(Optics(), TxmOptions(arc=177.0))
    for row in views:
        assert all(view.scan.angles is row[0].scan.angles for view in row)
        assert row[0].scan.angles[[0, -1]] == pytest.approx([0, 177], abs=0.1)
    assert not np.array_equal(views[0][0].scan.angles, views[1][0].scan.angles)
    assert not np.array_equal(views[0][0].scan.projection_shift, views[0][1].scan.projection_shift)


def test_views_of_ideal_optics_are_those_of_the_stage_alone() -> None:
    for row in draw(Optics.ideal()):
        for view in row:
            assert view.energy == view.recorded_energy
            assert (view.magnification, view.displacement) == (1.0, (0.0, 0.0, 0.0))
    for row in draw(Optics.ideal(), TxmOptions.ideal()):
        np.testing.assert_array_equal([view.shifts(GRID) for view in row], 0)


def test_every_effect_is_as_strong_as_asked() -> None:
    optics = Optics(magnification_slope=1e-4, drift=0.02, energy_offset=0.4, energy_drift=0.1, resolution=0)
    views = draw(optics, TxmOptions.ideal(), temperatures=60)
    offsets = np.array([[view.energy - view.recorded_energy for view in row] for row in views])
    assert np.ptp(offsets, axis=1).max() < 1e-9
    assert offsets.mean() == pytest.approx(0.4, abs=4 * 0.1 / np.sqrt(60))
    assert offsets[:, 0].std() == pytest.approx(0.1, rel=4 / np.sqrt(120))
    magnification = np.array([[view.magnification for view in row] for row in views])
    true = np.array([[view.energy for view in row] for row in views])
    np.testing.assert_allclose(magnification, 1 + 1e-4 * (true - 8350), atol=1e-12)
    walks = np.array([[view.displacement for view in row] for row in views])
    np.testing.assert_allclose(walks.mean(axis=1), 0, atol=1e-12)
    steps = np.diff(walks, axis=1)
    assert steps.std() == pytest.approx(0.02, rel=4 / np.sqrt(2 * steps.size))
    assert abs(np.corrcoef(steps[:, 1:].ravel(), steps[:, :-1].ravel())[0, 1]) < 4 / np.sqrt(steps.size)


def test_the_image_of_the_axis_is_magnified_about_the_middle_of_the_detector() -> None:
    options = replace(TxmOptions.ideal(), axis_offset=3.0)
    for row in draw(Optics(magnification_slope=1e-3), options):
        for view in row:
            assert view.scan.rotation_axis == pytest.approx(19.5 + 3.0 * view.magnification)


@pytest.mark.parametrize("name", ["resolution", "drift", "energy_drift"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_options_out_of_range_are_refused_with_one_that_is_not(name: str, value: float) -> None:
    with pytest.raises(CathoscopeError, match=f"{name}="):
        Optics(**{name: value})


def test_signed_options_may_be_negative_but_must_be_numbers() -> None:
    Optics(magnification_slope=-1e-4, energy_offset=-2.0)
    with pytest.raises(CathoscopeError, match="energy_offset"):
        Optics(energy_offset=float("nan"))


@pytest.mark.parametrize(
    ("series", "named"),
    [
        (((), 1, 9), "energies"),
        (((8300.0, -1.0), 1, 9), "energies"),
        (((float("nan"),), 1, 9), "energies"),
        (((8300.0,), 0, 9), "temperatures"),
        (((8300.0,), 1, 1), "projections"),
    ],
)
def test_an_impossible_series_is_refused(series: tuple[tuple[float, ...], int, int], named: str) -> None:
    with pytest.raises(CathoscopeError, match=named):
        Series(*series)
