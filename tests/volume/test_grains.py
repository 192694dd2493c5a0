"""Grains of etched sections: drawn cells with known boundaries, rods along the radius and cells without direction."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.volume.grain_shape import (
    arrange_grains,
    arrangement_of,
    grain_table,
    mean_section_aspect,
    section_aspect,
)
from cathoscope.volume.grains import GrainMap, dark_lines, find_grains

SIDE, RADIUS, PIXEL = 220, 95, 0.03


def cells(kind: str, seed: int) -> np.ndarray:
    """Number of the cell from 1 at every pixel of a disk, 0 outside."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2.0
    radius, angle = np.hypot(y, x), np.arctan2(y, x)
    rng = np.random.default_rng(seed)
    if kind == "rod":
        # narrow sectors: long along the radius
        edges = np.linspace(-np.pi, np.pi, 37)[:-1] + rng.uniform(0, 0.05, 36)
        labels = 1 + np.searchsorted(edges, angle)
    else:
        points = rng.uniform(-RADIUS * 1.1, RADIUS * 1.1, (150, 2))
        _, nearest = cKDTree(points).query(np.stack([y.ravel(), x.ravel()], axis=1))
        labels = 1 + nearest.reshape(y.shape)
    return np.where((radius < RADIUS) & (radius > 30), labels, 0)


def etched(labels: np.ndarray, *, noise: float = 0.06, seed: int = 0) -> np.ndarray:
    """Grey image: grooves of 0.4 along borders between cells, grains of unlike brightness, resin around."""
    rng = np.random.default_rng(seed)
    border = np.zeros(labels.shape, dtype=bool)
    for axis in (0, 1):
        other = np.roll(labels, -1, axis)
        border |= (other != labels) & (other > 0) & (labels > 0)
    bright = np.concatenate([[0.25], 1 + 0.05 * rng.standard_normal(labels.max())])[labels]
    groove = ndimage.gaussian_filter(border.astype(float), 1.0)
    scene = ndimage.gaussian_filter(bright, 0.7) * (1 - 0.4 * np.clip(groove / 0.4, 0, 1) * (labels > 0))
    return np.clip(170 * (scene + noise * rng.standard_normal(labels.shape)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[np.ndarray, GrainMap]]:
    return {kind: (cells(kind, 3), find_grains(etched(cells(kind, 3)), pixel=PIXEL)) for kind in ("rod", "gravel")}


@pytest.mark.parametrize("kind", ["rod", "gravel"])
def test_grains_are_the_cells(found: dict[str, tuple[np.ndarray, GrainMap]], kind: str) -> None:
    truth, made = found[kind]
    sizes = np.bincount(truth.ravel())
    wanted = [number for number in np.flatnonzero(sizes >= 60) if number]
    matched = 0
    for number in wanted:
        mine = truth == number
        best = np.bincount(made.labels[mine]).argmax()
        matched += best > 0 and (mine & (made.labels == best)).sum() > 0.7 * (mine | (made.labels == best)).sum()
    assert matched >= 0.9 * len(wanted)
    assert not made.cut
    np.testing.assert_allclose(made.centre, (SIDE - 1) / 2, atol=1.0)


@pytest.mark.parametrize("kind", ["rod", "gravel"])
def test_alignment_and_aspect_are_those_of_the_cells(found: dict[str, tuple[np.ndarray, GrainMap]], kind: str) -> None:
    truth, made = found[kind]
    lie = arrange_grains(made, pixel=PIXEL)
    table = grain_table(truth.astype(np.int32), made.particle, centre=((SIDE - 1) / 2,) * 2, pixel=PIXEL)
    alignment = np.average(np.cos(2 * table.angle), weights=table.area)
    aspect = np.average(table.aspect, weights=table.area)
    assert lie.kind == kind
    # the scatter of the bootstrap is that of other sections; the error in one section is smaller
    assert abs(lie.alignment.value - alignment) < 2 * lie.alignment.total + 0.02
    assert abs(lie.aspect.value - aspect) < 2 * lie.aspect.total
    assert 0 < lie.aspect.std < 0.3 * lie.aspect.value


def test_shape_of_an_ellipse_is_its_own() -> None:
    y, x = np.mgrid[:121, :121] - 60.0
    turn = np.deg2rad(30.0)  # from x towards y
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    labels = ((along / 45) ** 2 + (across / 15) ** 2 < 1).astype(np.int32)
    # the centre of the particle lies along x: the angle to the radius is that of the axis
    table = grain_table(labels, labels > 0, centre=(60.0, -1000.0), pixel=0.1)
    assert table.area[0] == pytest.approx(np.pi * 45 * 15 * 0.01, rel=0.01)
    assert table.aspect[0] == pytest.approx(3.0, rel=0.01)
    assert np.rad2deg(table.direction[0]) == pytest.approx(30.0, abs=0.3)
    assert np.rad2deg(table.angle[0]) == pytest.approx(30.0, abs=0.3)
    assert (table.y[0], table.x[0]) == pytest.approx((6.0, 6.0), abs=1e-9)


def test_lines_of_gaussian_profile_have_their_known_strength() -> None:
    x = np.arange(80) - 40.0
    image = np.tile(-np.exp(-0.5 * (x / 2.0) ** 2), (80, 1)).astype(np.float32)
    strength = dark_lines(image, 2.0)[40, 40]
    # depth * scale² * width / (width² + scale²)^(3/2)
    assert strength == pytest.approx(4 * 2 / (4 + 4) ** 1.5, rel=0.02)


def test_sections_of_spheroids_have_their_closed_aspects() -> None:
    assert section_aspect(6.0, tilt=np.pi / 2) == pytest.approx(6.0)
    assert section_aspect(6.0, tilt=0.0) == pytest.approx(1.0)
    rng = np.random.default_rng(1)
    cosine = rng.uniform(0, 1, 200_000)
    height = np.sqrt(1 + (5.0**2 - 1) * cosine**2)  # chance of being hit goes with the height over the plane
    shown = [section_aspect(5.0, tilt=np.arccos(c)) for c in cosine[:20_000]]
    assert mean_section_aspect(5.0) == pytest.approx(np.average(shown, weights=height[:20_000]), rel=0.01)
    assert mean_section_aspect(1.0) == pytest.approx(1.0)
    assert 1.9 < mean_section_aspect(1e3) < 2.0
    with pytest.raises(MeasurementError, match="long spheroids"):
        mean_section_aspect(0.5)


def test_cells_of_random_points_have_the_stated_aspect() -> None:
    rng = np.random.default_rng(0)
    # a plane through cells of points in a box
    points = rng.uniform(0, 1, (4000, 3)) * [1, 1, 0.3]
    grid = np.linspace(0, 1, 400)
    places = np.stack(np.meshgrid(grid, grid, [0.15], indexing="ij"), axis=-1).reshape(-1, 3)
    labels = (1 + cKDTree(points).query(places)[1]).reshape(400, 400).astype(np.int32)
    table = grain_table(labels, np.ones((400, 400), bool), centre=(0.0, 0.0), pixel=1.0)
    inner = ~table.on_rim & (table.area > 100)
    assert np.average(table.aspect[inner], weights=table.area[inner]) == pytest.approx(1.55, abs=0.08)


def test_arrangement_needs_two_standard_uncertainties() -> None:
    assert arrangement_of(Estimate(0.9, 0.05), Estimate(4.0, 0.3)) == "rod"
    assert arrangement_of(Estimate(0.0, 0.05), Estimate(1.6, 0.1)) == "gravel"
    assert arrangement_of(Estimate(0.9, 0.25), Estimate(4.0, 0.3)) == "undecided"
    assert arrangement_of(Estimate(0.4, 0.02), Estimate(4.0, 0.3)) == "undecided"


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (np.full((64, 64), 7), "blank"),
        (np.zeros((64, 64, 3)), "no image"),
        (np.full((64, 64), np.nan), "no numbers"),
        (np.where(np.hypot(*(np.mgrid[:64, :64] - 32)) < 20, 255, 10 + np.arange(64) % 3), "saturated"),
        (200 - 0.5 * etched(cells("gravel", 1)), "inverted"),
        (np.random.default_rng(0).normal(100, 10, (64, 64)), "cannot be told apart"),
    ],
)
def test_bad_images_are_refused(image: np.ndarray, problem: str) -> None:
    with pytest.raises(MeasurementError, match=problem) as caught:
        find_grains(image, pixel=PIXEL)
    assert caught.value.expected


def test_a_section_without_grooves_and_absurd_pixels_are_refused() -> None:
    smooth = etched(np.minimum(cells("gravel", 1), 1))
    with pytest.raises(MeasurementError, match="no boundaries"):
        find_grains(smooth, pixel=PIXEL)
    with pytest.raises(MeasurementError, match="size of the pixels"):
        find_grains(etched(cells("gravel", 1)), pixel=-1.0)
