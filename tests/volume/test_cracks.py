"""Widths, areas and volumes of cracks against slabs, pairs of slabs, penny cracks and virtual particles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.virtual import cracks as virtual_cracks
from cathoscope.virtual.grains import draw_grains
from cathoscope.virtual.particle import ROD
from cathoscope.volume import cracks_kernels as kernels
from cathoscope.volume.cracks import CrackMap, Levels, crack_totals, crack_widths
from cathoscope.volume.sheetness import find_sheets
from tests.volume.shapes import FIBSEM, UNIT, add_noise, laminate, penny_crack, slab

LEVELS = Levels(1.0, 0.0)
NOISE = 0.08


def of_slab(width, seed, edges=UNIT, blur=1.0):
    """Crack map of a slab in a random direction, and its points far from the faces of the grid."""
    voxel = np.prod(edges) ** (1 / 3)
    body = slab(width * voxel, shape=(36, 36, 36), voxel_size=edges, seed=seed)
    # the same blur in um along all axes
    grey = gaussian_filter(1 - body.body, [blur * voxel / edge for edge in edges], mode="nearest")
    grey = add_noise(grey, NOISE, np.random.default_rng(seed))
    cracks = crack_widths(grey, find_sheets(grey, voxel_size=edges, noise=NOISE), levels=LEVELS, blur=blur)
    points = cracks.sheets.points / edges
    return cracks, (np.abs(points - 17.5) < 9.5).all(axis=1)


@pytest.mark.parametrize("edges", [UNIT, FIBSEM])
@pytest.mark.parametrize("width", [0.3, 1.0, 4.0])
def test_widths_of_slabs_in_random_directions_are_unbiased_and_scatter_as_stated(edges, width):
    voxel = np.prod(edges) ** (1 / 3)
    errors, spreads, opening = [], [], []
    for seed in range(4):
        cracks, chosen = of_slab(width, seed, edges)
        error = (cracks.width[chosen] / voxel - width) if chosen.any() else np.zeros(1)
        errors.append(error.mean())
        spreads.append(np.sqrt(np.mean((error * voxel / cracks.std[chosen]) ** 2)))
        opening.append(np.median(cracks.opening[chosen]) / voxel - width)
    assert abs(np.mean(errors)) < 0.02
    assert np.abs(errors).max() < 0.05
    assert np.mean(spreads) == pytest.approx(1, abs=0.15)
    assert np.abs(opening).max() < 0.06


def test_a_fifth_of_a_voxel_is_seen():
    found = [of_slab(0.2, seed) for seed in range(4)]
    width = np.concatenate([cracks.width[chosen] for cracks, chosen in found])
    assert width.mean() == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("period", [5.0, 7.0])
def test_neighbouring_cracks_are_counted_once(period):
    body = laminate(1.5, period, shape=(40, 40, 40), seed=3)
    grey = add_noise(gaussian_filter(1 - body.body, 1.0, mode="nearest"), 0.04, np.random.default_rng(0))
    cracks = crack_widths(grey, find_sheets(grey, voxel_size=UNIT, noise=0.04), levels=LEVELS)
    inner = (np.abs(cracks.sheets.points - 19.5) < 11).all(axis=1)
    assert np.average(cracks.width[inner], weights=cracks.sheets.areas[inner]) == pytest.approx(1.5, abs=0.05)
    swept = crack_totals(cracks).volume
    assert swept.value == pytest.approx(body.body.sum(), rel=0.03)


@pytest.mark.parametrize(("opening", "edges"), [(0.5, UNIT), (2.0, UNIT), (1.0, FIBSEM)])
def test_a_penny_crack_has_its_area_and_volume(opening, edges):
    voxel = np.prod(edges) ** (1 / 3)
    radius = 14 * voxel
    area, volume, middle = [], [], []
    for seed in range(3):
        body = penny_crack(radius, opening * voxel, voxel_size=edges, seed=seed)
        solid = np.pad(body.fraction, 4, constant_values=1)
        grey = gaussian_filter(solid, [voxel / edge for edge in edges])
        grey = add_noise(grey, NOISE, np.random.default_rng(seed))
        cracks = crack_widths(grey, find_sheets(grey, voxel_size=edges, noise=NOISE), levels=LEVELS)
        totals = crack_totals(cracks, particle_volume=Estimate(body.body.size * np.prod(edges)))
        area.append((totals.area.value / (np.pi * radius**2) - 1, totals.area.total / totals.area.value))
        volume.append((totals.volume.value / body.volume - 1, totals.volume.std / body.volume))
        assert totals.density is not None
        assert totals.density.value == pytest.approx(totals.area.value / (body.body.size * np.prod(edges)))
        # both faces of the crack: 2 pi a^2
        assert 2 * totals.area.value == pytest.approx(body.surface - 2 * np.pi * radius * opening * voxel, rel=0.09)
        middle.append(totals.openings[2] / (opening * voxel))
    assert abs(np.mean(area, axis=0)[0]) < 0.045
    # the rim of a faint crack is found where noise makes it darker
    assert abs(np.mean(volume, axis=0)[0]) < (0.03 if opening >= 1 else 0.05)
    # blur takes from the rim of a crack, of which this one has much
    assert np.mean(middle) == pytest.approx(0.97, abs=0.04)
    pulls = np.array(volume)[:, 0] / np.array(volume)[:, 1]
    assert np.abs(pulls).max() < 4


@pytest.fixture(scope="module")
def rod():
    """A part of a virtual rod particle with wide grains, and the cracks found in it."""
    voxel, corner, n = 0.03, np.array([2.1, -0.9, -0.9]), 56
    grains = draw_grains(replace(ROD, grain_size=0.8, crack_share=0.3, crack_share_surface=0.3), 1)
    axes = [start + (np.arange(n) + 0.5) * voxel for start in corner]
    x, y, z = (np.moveaxis(a, (0, 1, 2), (2, 1, 0)) for a in np.meshgrid(*axes, indexing="ij"))
    points = np.stack([x, y, z], axis=-1)
    truth = virtual_cracks.solid(grains, points, voxel)
    grey = add_noise(gaussian_filter(truth.fraction, 1.0), NOISE, np.random.default_rng(0))
    within = grains.labels(points.reshape(-1, 3)).reshape(truth.crack.shape) >= 0
    sheets = find_sheets(grey, voxel_size=(voxel,) * 3, within=within, noise=NOISE)
    cracks = crack_widths(grey, sheets, levels=LEVELS, barrier=~within)
    places = corner + (cracks.sheets.points[:, ::-1] / voxel + 0.5) * voxel
    return grains, truth, cracks, places, voxel


def away_from_edges(grains, cracks, places, voxel):
    """Points from which the same two grains are nearest in all directions along the sheet, and the true openings."""
    distance, pairs = virtual_cracks.nearest_boundary(grains, places)
    openings = virtual_cracks.pair_openings(grains, pairs, np.linalg.norm(places, axis=1))
    good = (openings > 0) & (distance < voxel)
    normals = cracks.sheets.normals[:, ::-1]
    first = np.cross(normals, np.eye(3)[np.argmin(np.abs(normals), axis=1)])
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    for angle in np.arange(6) * np.pi / 3:
        way = np.cos(angle) * first + np.sin(angle) * np.cross(normals, first)
        apart, other = virtual_cracks.nearest_boundary(grains, places + 6 * voxel * way)
        good &= (np.sort(other, axis=1) == np.sort(pairs, axis=1)).all(axis=1) & (apart < 1.5 * voxel)
    return good, openings


def test_openings_in_a_virtual_particle(rod):
    grains, truth, cracks, places, voxel = rod
    good, openings = away_from_edges(grains, cracks, places, voxel)
    assert good.sum() > 150
    error = (cracks.width - openings)[good] / voxel
    assert np.median(error) == pytest.approx(0, abs=0.05)
    assert np.median((cracks.opening - openings)[good]) / voxel == pytest.approx(0, abs=0.06)
    totals = crack_totals(cracks)
    true = truth.crack.sum() * voxel**3
    assert totals.volume.value == pytest.approx(true, rel=0.04)
    assert totals.sheet_volume.value == pytest.approx(true, rel=0.08)
    assert abs(totals.volume.value - true) < 2.5 * totals.volume.total


def test_an_error_of_the_solid_level_is_in_the_systematic_part(rod):
    cracks = rod[2]
    sheets = cracks.sheets
    grey = np.ones(sheets.shape, dtype=np.float32)
    flat = crack_widths(grey, sheets, levels=Levels(1.01, 0.0, solid_std=0.01))
    told = crack_widths(grey, sheets, levels=Levels(1.0, 0.0, solid_std=0.01))
    # nothing is missing, so all width found is the error of the level
    assert not len(told.width) or np.abs(told.width).max() == 0
    np.testing.assert_allclose(flat.width, flat.systematic, rtol=0.02)


def test_without_cracks_all_is_zero():
    grey = add_noise(np.ones((20, 20, 20), np.float32), 0.05, np.random.default_rng(0))
    sheets = find_sheets(grey, voxel_size=UNIT)
    cracks = crack_widths(grey, sheets, levels=LEVELS)
    totals = crack_totals(cracks, particle_volume=Estimate(8000.0))
    assert isinstance(cracks, CrackMap)
    assert totals.area == totals.volume == totals.density == Estimate(0.0)
    assert totals.points == totals.sheets == 0


def test_kernels_run_as_python_too():
    grey = 1 - np.exp(-0.5 * ((np.indices((12, 9, 9))[0] - 5.3) / 1.2) ** 2).astype(np.float32)
    edges, points = np.ones(3), np.array([[5.3, 4.0, 4.2], [5.3, 4.5, 4.0]])
    normals = np.array([[1.0, 0.0, 0.0], [0.99, 0.0, np.sqrt(1 - 0.99**2)]])
    barrier = np.zeros(grey.shape, dtype=bool)
    barrier[11] = True
    results = []
    for python in (False, True):
        names = ("widths", "noise_lengths", "link", "around", "sweep")
        widths, lengths, link, around, sweep = (
            getattr(kernels, name).py_func if python else getattr(kernels, name) for name in names
        )
        found, noise, sums = np.empty((2, 3)), np.empty(2), np.empty((2, 1))
        rays = (0.5, 1.5, kernels.HEXAGON, 3.0, 14, 4.0)
        widths((grey, barrier), (edges, points, normals), (1.0, 1.0), rays, found)
        lengths(edges, normals, 1.5, 0.5, kernels.PAIRS[:3], noise)
        head, after = np.empty(grey.shape, dtype=np.int32), np.empty(2, dtype=np.int32)
        voxels = np.rint(points).astype(np.int64)
        link(voxels, head, after)
        around((edges, points, normals), (head, after), np.ones((2, 1)), 2.0, sums)
        swept = np.zeros(grey.shape, dtype=bool)
        sweep(barrier, edges, points, np.array([2.0, 3.0]), swept)
        results.append((found, noise, sums, swept))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    assert results[0][0][0, 0] == pytest.approx(1.2 * np.sqrt(2 * np.pi), rel=0.02)
    assert (results[0][2] == 2).all()
    assert not results[0][3][11].any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"grey": np.ones((4, 4, 4))}, "another volume"),
        ({"barrier": np.ones((4, 4, 4), bool)}, "another volume"),
        ({"levels": Levels(0.0, 1.0)}, "brighter"),
        ({"blur": 0.0}, "out of range"),
        ({"widest": np.nan}, "out of range"),
    ],
)
def test_what_cannot_be_is_answered(change, words):
    grey = add_noise(np.ones((10, 10, 10), np.float32), 0.05, np.random.default_rng(0))
    arguments = {"grey": grey, "levels": LEVELS, **change}
    with pytest.raises(MeasurementError, match=words):
        crack_widths(arguments.pop("grey"), find_sheets(grey, voxel_size=UNIT), **arguments)
