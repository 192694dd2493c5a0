"""Pictures of particles: exact colours on cut faces, exact scale, the right way round, nothing outside."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.report import render as module
from cathoscope.report import render_kernels as kernels
from cathoscope.report.figures.reading import histogram, slabs
from cathoscope.report.memory import drawn_within
from cathoscope.report.render import FLAGGED_GREY, Cut, Picture, View, middle_of, render, stride_of, width_needed

COLOURS = mpl.colormaps["RdYlBu_r"]
LIMITS = (0.0, 1.0)
FRONT = View(0.0, 0.0)  # from +x: y to the right, z upwards


def grid(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    where = np.arange(n) - (n - 1) / 2
    z, y, x = np.meshgrid(where, where, where, indexing="ij")
    return z, y, x


def ball(n: int, radius: float) -> NDArray[np.bool_]:
    z, y, x = grid(n)
    return np.asarray(z**2 + y**2 + x**2 < radius**2)


def picture(values: Any, mask: Any, view: View, cut: str = "nothing", voxel: float = 0.5, **more: Any) -> Picture:
    volume = np.broadcast_to(np.asarray(values, np.float64), mask.shape)
    return render(volume, mask, voxel, colours=COLOURS, limits=LIMITS, view=view, cut=Cut(cut, **more))  # type: ignore[arg-type]


def is_colour(pixels: NDArray[np.float32], colour: Any) -> NDArray[np.bool_]:
    return np.asarray(np.abs(pixels - np.asarray(colour, np.float32)).max(axis=-1) < 1e-6)


def box(shape: tuple[int, int, int], corner: tuple[int, int, int], size: tuple[int, int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(shape, np.bool_)
    mask[tuple(slice(start, start + length) for start, length in zip(corner, size, strict=True))] = True
    return mask


@settings(max_examples=12, deadline=None)
@given(azimuth=st.floats(-180, 180), elevation=st.floats(-89, 89))
def test_the_outline_of_a_ball_is_a_disk_of_its_size_from_everywhere(azimuth: float, elevation: float) -> None:
    radius, voxel = 9.3, 0.25
    shown = picture(0.5, ball(24, radius), View(azimuth, elevation, width=6.0, pixels=40), voxel=voxel)
    found = float(np.sqrt(shown.pixels[..., 3].sum() / np.pi)) * shown.pixel_size
    assert abs(found / voxel - radius) < 0.25  # voxels; smoothing takes a little off a curved surface
    assert shown.width == pytest.approx(6.0)
    rows, columns = np.indices(shown.pixels.shape[:2])
    for place in (rows, columns):  # in the middle, to the half voxel by which the middle of an even grid is off
        assert abs(np.average(place, weights=shown.pixels[..., 3]) - 19.5) * shown.pixel_size < voxel


@settings(max_examples=20, deadline=None)
@given(azimuth=st.floats(-180, 180), elevation=st.floats(-89, 89))
def test_the_camera_is_a_right_handed_frame(azimuth: float, elevation: float) -> None:
    view = View(azimuth, elevation)
    right, up, towards = (np.array(part[::-1]) for part in (view.right, view.up, view.towards))  # x, y, z
    np.testing.assert_allclose(np.cross(right, up), towards, atol=1e-12)
    assert np.linalg.norm(right) == pytest.approx(1)
    assert up[2] >= 0


def test_a_bar_has_its_length_and_lies_where_the_camera_puts_it() -> None:
    mask = box((40, 40, 40), (18, 8, 18), (5, 20, 5))  # 20 voxels along y, from 8 to 28
    view = View(0.0, 0.0, width=20.0, pixels=80, centre=(20.0, 20.0, 20.0))
    opaque = picture(0.5, mask, view).pixels[..., 3]
    columns = opaque[38:42].mean(axis=0)
    assert columns.sum() * 0.25 == pytest.approx(20 * 0.5, abs=0.15)
    middle = np.average(np.arange(80) + 0.5, weights=columns) * 0.25 - 10  # um to the right of the centre
    assert middle == pytest.approx((17.5 - 20) * 0.5, abs=0.1)  # y grows to the right
    tall = box((40, 40, 40), (24, 18, 18), (10, 5, 5))
    rows = picture(0.5, tall, view).pixels[..., 3].sum(axis=1)
    above = 10 - np.average(np.arange(80) + 0.5, weights=rows) * 0.25
    assert above == pytest.approx((28.5 - 20) * 0.5, abs=0.1)  # z grows upwards


def test_a_half_cut_away_shows_the_section_voxel_by_voxel() -> None:
    rng = np.random.default_rng(3)
    n, per_voxel = 20, 4
    values, mask = rng.random((n, n, n)), ball(n, 8.2)
    mask[9, 10, 10] = False
    view = View(0.0, 0.0, width=n * 1.0, pixels=n * per_voxel, centre=(9.5, 9.5, 9.5))
    shown = picture(values, mask, view, "half", voxel=1.0, at=(10, 10, 10)).pixels
    # the centres of pixels, away from the lines along edges and the neighbours' share in an averaged pixel
    sample = shown.reshape(n, per_voxel, n, per_voxel, 4)[::-1, 1:3, :, 1:3]
    section = mask[:, :, 10]
    expected = COLOURS(values[:, :, 10]).astype(np.float32)
    inner = (
        section & np.roll(section, 1, 0) & np.roll(section, -1, 0) & np.roll(section, 1, 1) & np.roll(section, -1, 1)
    )
    assert inner.sum() > 120
    found = sample.transpose(0, 2, 1, 3, 4)[inner]
    np.testing.assert_allclose(found, np.broadcast_to(expected[inner][:, None, None], found.shape), atol=1e-6)
    pore = sample[9, :, 10]
    assert not is_colour(pore, COLOURS(values[9, 10, 10])).any()  # the voxel without particle is looked through
    assert pore[..., 3].min() == 1.0


def test_an_octant_shows_three_quarter_disks_of_exact_colour() -> None:
    radius, n = 13.4, 33
    view = View(45.0, float(np.degrees(np.arcsin(1 / np.sqrt(3)))), width=33.0, pixels=132, supersampling=1)
    shown = picture(0.8, ball(n, radius), view, "octant", voxel=1.0)
    exact = is_colour(shown.pixels, COLOURS(0.8))
    area = 3 * np.pi * radius**2 / 4 / np.sqrt(3)  # seen at the same slant
    lines = 3 * (radius * 2 / np.sqrt(6) * np.sqrt(2) * 0.5 + 2 * radius)  # at most one pixel each side is darkened
    assert area - 0.5 * lines < exact.sum() * shown.pixel_size**2 < 1.02 * area
    whole = picture(0.8, ball(n, radius), view, "nothing", voxel=1.0)
    assert not is_colour(whole.pixels, COLOURS(0.8)).any()  # the surface is always shaded
    np.testing.assert_array_equal(whole.pixels[..., 3] > 0, shown.pixels[..., 3] > 0)  # a ball's outline stays


@pytest.mark.parametrize(("kind", "count"), [("nothing", 0), ("octant", 3), ("quadrant", 2), ("half", 1)])
def test_a_cut_opens_its_faces_towards_the_viewer(kind: str, count: int) -> None:
    view = View(200.0, -20.0)
    sides = np.array(Cut(kind).sides(view))  # type: ignore[arg-type]
    assert np.count_nonzero(sides) == count
    assert (sides * np.array(view.towards) >= 0).all()


def test_the_cut_is_on_the_viewers_side_and_through_the_voxel_given() -> None:
    n = 24
    _, _, x = grid(n)
    values = (x + n / 2) / n
    for azimuth, plane in ((0.0, 7), (180.0, 16)):
        view = View(azimuth, 0.0, pixels=24, width=24.0)
        shown = picture(values, box((n, n, n), (2, 2, 2), (20, 20, 20)), view, "half", voxel=1.0, at=(12, 12, plane))
        assert is_colour(shown.pixels[10:14, 10:14], COLOURS(values[0, 0, plane])).all()


def test_what_has_no_value_is_grey_and_outside_is_transparent() -> None:
    mask = ball(20, 8.0)
    values = np.full(mask.shape, 0.3)
    values[:, :10] = np.nan
    view = View(0.0, 0.0, pixels=40, width=20.0, centre=(9.5, 9.5, 9.5))
    shown = picture(values, mask, view, "half", voxel=1.0).pixels
    assert is_colour(shown[20, 8:18], (FLAGGED_GREY, FLAGGED_GREY, FLAGGED_GREY, 1)).all()
    assert is_colour(shown[20, 22:32], COLOURS(0.3)).all()
    assert (shown[0] == 0).all()
    assert (shown[:, -1] == 0).all()
    grey = picture(np.nan, mask, view, voxel=1.0).pixels
    opaque = grey[..., 3] > 0
    np.testing.assert_allclose(grey[opaque][:, 0], grey[opaque][:, 2], atol=1e-6)


def test_partly_covered_pixels_keep_the_particles_colour() -> None:
    shown = picture(0.5, ball(20, 8.0), View(0.0, 0.0, pixels=30, supersampling=4)).pixels
    rim = (shown[..., 3] > 0) & (shown[..., 3] < 1)
    assert rim.sum() > 20
    inside = shown[shown[..., 3] == 1]
    # hue of the map's middle: the ratio of the channels does not change with the background or the coverage
    ratio = np.array(COLOURS(0.5)[:2])
    np.testing.assert_allclose(shown[rim][:, 0] / shown[rim][:, 1], ratio[0] / ratio[1], rtol=1e-3)
    np.testing.assert_allclose(inside[:, 0] / inside[:, 1], ratio[0] / ratio[1], rtol=1e-3)


def test_light_falls_from_the_upper_left_and_fades_with_distance() -> None:
    shown = picture(0.5, ball(32, 13.0), View(30.0, 20.0, pixels=60)).pixels
    brightness = np.where(shown[..., 3] == 1, shown[..., 0], 0)
    row, column = np.unravel_index(np.argmax(brightness), brightness.shape)
    assert row < 30
    assert column < 30
    row, column = np.unravel_index(np.argmin(np.where(shown[..., 3] == 1, brightness, 2)), brightness.shape)
    assert row > 30
    assert column > 30


def test_thin_cracks_stay_open_on_the_cut() -> None:
    mask = box((24, 24, 24), (2, 2, 2), (20, 20, 20))
    mask[:, 12, 4:] = False  # one voxel wide, filled in by smoothing
    view = View(0.0, 0.0, width=24.0, pixels=96, centre=(11.5, 11.5, 11.5))
    shown = picture(0.5, mask, view, "half", voxel=1.0, at=(12, 12, 14)).pixels
    crack, oxide = shown[40:56, 49:51], shown[40:56, 60:70]
    assert is_colour(oxide, COLOURS(0.5)).all()
    assert crack[..., :3].max() < 0.75 * oxide[..., :3].max()


def test_no_ray_steps_across_a_thin_sheet() -> None:
    mask = box((40, 40, 40), (4, 4, 19), (32, 32, 2))
    mask[4:8, 4:8, 36:40] = True  # out of sight, so that rays start far from the sheet
    view = View(20.0, 15.0, width=16.0, pixels=40, supersampling=1, centre=(19.5, 19.5, 19.5))
    assert (picture(0.5, mask, view, voxel=1.0).pixels[..., 3] == 1).all()


def test_rays_find_what_a_dense_search_finds() -> None:
    rng = np.random.default_rng(5)
    mask = ball(14, 5.2) & (rng.random((14, 14, 14)) > 0.1)
    view = View(25.0, 35.0, pixels=9, supersampling=1, width=14.0)
    cut = Cut("octant")
    middle = middle_of(mask)
    body = module.body_of(rng.random(mask.shape), mask)
    scene = module._scene(body, view, cut.sides(view), middle)
    first, right, down = (
        np.array(part) for part in module._rays(view, tuple(np.subtract(middle, body.origin)), 14 / 9)
    )
    reach = np.arange(-13, 13, 0.05)
    agreed = 0
    for row, column in np.ndindex(9, 9):
        start = first + row * down + column * right
        kind, t = kernels._first_hit(scene, tuple(start))
        points = start + reach[:, None] * np.array(scene.direction)
        removed = np.logical_and.reduce((points - scene.cut_at) * scene.cut_side > 0, axis=1)
        field = np.array([kernels._sample(scene.field, *point) for point in points])
        solid = np.array([kernels._is_solid(scene.solid, tuple(point)) for point in points])
        behind = np.maximum.accumulate(removed)
        hits = np.flatnonzero(
            np.where(behind, (solid & ((field >= 0.5) | (np.roll(removed, 1)))), field >= 0.5) & ~removed
        )
        if hits.size == 0 or kind == kernels.NOTHING:
            agreed += hits.size == 0 and kind == kernels.NOTHING
        else:
            agreed += abs(reach[hits[0]] - t) < 0.15
    assert agreed >= 0.97 * 81  # a step of one voxel may pass a corner


def test_compiled_and_interpreted_marching_agree() -> None:
    mask = ball(12, 4.6)
    values = np.random.default_rng(1).random(mask.shape)
    view, found = View(pixels=10, supersampling=1, width=12.0), []
    body = module.body_of(values, mask)
    scene = module._scene(body, view, Cut().sides(view), middle_of(mask))
    first, right, down = module._rays(view, tuple(np.subtract(middle_of(mask), body.origin)), 1.2)
    for march in (kernels.march, kernels.march.py_func):
        arrays = np.zeros((10, 10), np.int8), np.zeros((10, 10), np.float32), np.zeros((10, 10), np.float32)
        march(scene, first, right, down, *arrays)
        found.append(arrays)
    for compiled, interpreted in zip(*found, strict=True):
        np.testing.assert_allclose(compiled, interpreted, atol=1e-6)


def test_clear_blocks_hold_no_surface_within_their_clearance() -> None:
    mask = box((40, 30, 34), (12, 9, 14), (9, 5, 6))
    field = mask.astype(np.float32)
    clear = module._clearance(field)
    occupied = np.argwhere(mask)
    for place in np.random.default_rng(2).integers(0, (40, 30, 34), size=(200, 3)):
        steps = float(clear[tuple(place // kernels.BLOCK)])
        distance = np.abs(occupied - place).max(axis=1).min()
        assert steps <= max(distance - 1, 0)
    assert clear.max() > 8


def test_a_picture_is_sampled_where_memory_is_short() -> None:
    with drawn_within(1e8):
        assert stride_of((140, 140, 140)) == 2
        assert stride_of((130, 130, 130)) == 1
    assert stride_of((140, 140, 140)) == 1


def test_slabs_are_thinner_where_memory_is_short_and_hold_the_same() -> None:
    array = xr.DataArray(np.arange(2 * 20 * 30 * 40).reshape(2, 20, 30, 40), dims=("temperature", "z", "y", "x"))
    thick = [piece for (piece,) in slabs([array], temperature=1)]
    with drawn_within(3e5):
        thin = [piece for (piece,) in slabs([array], temperature=1)]
    assert [len(piece) for piece in thick] == [8, 8, 4]
    assert {len(piece) for piece in thin} == {2}
    np.testing.assert_array_equal(np.concatenate(thick), np.concatenate(thin))


def test_a_histogram_counts_the_same_with_few_bins_and_with_many(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).normal(8350.0, 0.3, 500)
    few = histogram([values[:100], values[100:]], step=0.02)
    monkeypatch.setattr("cathoscope.report.figures.reading._MOST_BINS", 1)
    many = histogram([values[:100], values[100:]], step=0.02)
    np.testing.assert_array_equal(few.counts, many.counts)
    np.testing.assert_array_equal(few.edges, many.edges)
    assert few.counts.tolist() == np.histogram(values, few.edges)[0].tolist()


def test_large_volumes_are_sampled_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    mask, view = ball(32, 13.0), View(pixels=48, width=20.0)
    full = picture(0.5, mask, view)
    assert full.stride == 1
    monkeypatch.setattr(module, "MOST_VOXELS", 16**3)
    sampled = picture(0.5, mask, view)
    assert sampled.stride == stride_of(mask.shape) == 2
    assert sampled.pixel_size == full.pixel_size
    difference = np.abs(full.pixels[..., 3] - sampled.pixels[..., 3]).sum()
    assert difference < 0.1 * full.pixels[..., 3].sum()


def test_the_width_chosen_holds_the_whole_particle() -> None:
    mask = box((30, 30, 30), (5, 10, 3), (18, 6, 20))
    for view in (View(20.0, 30.0, pixels=40), View(90.0, 0.0, pixels=40), View(0.0, 89.0, pixels=40)):
        alpha = picture(0.5, mask, view).pixels[..., 3]
        assert alpha.max() == 1
        assert alpha[[0, -1]].max() == alpha[:, [0, -1]].max() == 0
        assert width_needed(mask, 2.0, view) == pytest.approx(4 * width_needed(mask, 0.5, view))


def test_the_same_particle_gives_the_same_bits() -> None:
    values, mask = np.random.default_rng(0).random((16, 16, 16)), ball(16, 6.0)
    one, two = (picture(values, mask, View(pixels=20), "octant").pixels for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_what_cannot_be_drawn_is_said() -> None:
    with pytest.raises(MeasurementError, match="no particle"):
        picture(0.5, np.zeros((4, 4, 4), np.bool_), View(pixels=4))
    with pytest.raises(MeasurementError, match="cannot be drawn"):
        render(np.zeros((4, 4)), np.ones((4, 4), np.bool_), 1.0, colours=COLOURS, limits=LIMITS)
    with pytest.raises(MeasurementError, match="cannot be drawn"):
        render(np.zeros((4, 4, 5)), np.ones((4, 4, 4), np.bool_), 1.0, colours=COLOURS, limits=LIMITS)
