"""Shares of oxide, crack and pore in a voxel keep the volumes, whatever the size of the voxel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual import cracks
from cathoscope.virtual.cracks import (
    _boundaries,
    _fill,
    _gradient,
    _overlap,
    _pair_openings,
    crack_opening,
    nearest_boundary,
    pair_openings,
    pore_share,
    solid,
)
from cathoscope.virtual.grains import Grains, draw_grains, embed, power
from cathoscope.virtual.particle import GRAVEL, H_NMC, L_NMC, ROD, ParticleDesign
from tests.virtual.stereology import isotropic_crossings

FloatArray = NDArray[np.float64]
BROKEN = {"crack_share": 0.5, "crack_share_surface": 0.5}
SMALL_ROD = replace(ROD, diameter=5.0, core_radius=1.0, aspect=3.0, **BROKEN)
SMALL_GRAVEL = replace(GRAVEL, diameter=5.0, core_radius=1.0, **BROKEN)
SMALL = {"rod": SMALL_ROD, "gravel": SMALL_GRAVEL}


def grid(grains: Grains, edge: float) -> FloatArray:
    """Centres (n, n, n, 3) of voxels around the whole particle."""
    count = 2 * int(np.ceil((grains.outer.highest + edge) / edge))
    axis = (np.arange(count) - (count - 1) / 2) * edge
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij")[::-1], axis=-1)


def shell_volume(design: ParticleDesign) -> float:
    return float(design.envelope_volume - 4 / 3 * np.pi * design.core_radius**3)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("opening", [0.01, 0.05])
def test_crack_volume_is_area_times_opening(name: str, opening: float) -> None:
    # two algorithms: distances in a formula of the tessellation, and labels along random lines
    design = replace(SMALL[name], crack_share=1.0, crack_share_surface=1.0, crack_opening=opening, crack_spread=0.0)
    grains = draw_grains(design, 4)
    edge = 0.05  # five times the thin crack
    crack = solid(grains, grid(grains, edge), edge).crack.astype(np.float64)
    fraction = crack.sum() * edge**3 / shell_volume(design)
    lines = isotropic_crossings(grains, lines=2000, seed=1)
    # sheets that meet share a part of their volume, of the second order in the opening
    shared = 0.5 * opening * lines.area_per_volume / 2
    assert fraction == pytest.approx(lines.area_per_volume * opening * (1 - shared), rel=0.03)
    assert lines.crack_volume_fraction(grains) == pytest.approx(lines.area_per_volume * opening)


@pytest.mark.parametrize("name", SMALL)
def test_crack_volume_does_not_depend_on_the_voxel(name: str) -> None:
    design = replace(SMALL[name], crack_opening=0.02, crack_spread=0.3)
    grains = draw_grains(design, 4)
    volumes = [
        solid(grains, grid(grains, edge), edge).crack.astype(np.float64).sum() * edge**3 for edge in (0.04, 0.08, 0.12)
    ]
    assert volumes[0] > 0.01 * shell_volume(design)
    assert volumes[1] == pytest.approx(volumes[0], rel=0.02)
    assert volumes[2] == pytest.approx(volumes[0], rel=0.04)


@pytest.mark.parametrize("name", SMALL)
def test_partial_volume_at_the_surfaces_keeps_the_volume(name: str) -> None:
    design = replace(SMALL[name], crack_share=0.0, crack_share_surface=0.0)
    grains = draw_grains(design, 4)
    edge = 0.1
    found = solid(grains, grid(grains, edge), edge)
    assert found.fraction.sum(dtype=np.float64) * edge**3 == pytest.approx(shell_volume(design), rel=5e-4)
    partial = (found.fraction > 0.01) & (found.fraction < 0.99)
    assert partial.mean() > 0.02
    np.testing.assert_array_equal(found.label >= 0, found.fraction > 0)
    np.testing.assert_array_equal(found.crack, 0)


@pytest.mark.parametrize("design", [L_NMC, H_NMC, replace(L_NMC, core_radius=1.0)], ids=["L", "H", "L with core"])
def test_porosity_is_the_stated_one(design: ParticleDesign) -> None:
    small = replace(design, diameter=5.0, pore_radius=1.9, porosity=0.04, core_radius=0.6 * design.core_radius)
    grains = draw_grains(small, 1)
    points = grid(grains, 0.06)
    points = points[np.linalg.norm(points, axis=-1) < 2.1]
    for voxel, tolerance in ((1e-4, 0.02), (0.06, 0.03)):
        share = pore_share(grains, points, voxel).astype(np.float64)
        assert share.sum() * 0.06**3 / small.envelope_volume == pytest.approx(0.04, rel=tolerance)
    r = np.linalg.norm(points, axis=-1)
    assert (share[r > 1.9 + 0.06] == 0).all()
    # rarer outward
    near, far = share[(r > small.core_radius + 0.1) & (r < 1.1)].mean(), share[(r > 1.4) & (r < 1.9)].mean()
    assert near > 1.5 * far


def test_a_web_has_more_surface_than_bulky_pores_of_the_same_volume() -> None:
    surfaces = []
    for shape in ("bulky", "spider-web"):
        grains = draw_grains(replace(H_NMC, pore_shape=shape, porosity=0.03, diameter=5.0, pore_radius=2.2), 1)
        plane = grid(grains, 0.03)[88:90]
        pore = pore_share(grains, plane, 1e-4) > 0.5
        surfaces.append(np.count_nonzero(np.diff(pore, axis=2)) / np.count_nonzero(pore))
    assert surfaces[1] > 3 * surfaces[0]


@pytest.mark.parametrize("name", SMALL)
def test_oxide_crack_and_pore_fill_the_envelope(name: str) -> None:
    design = replace(SMALL[name], porosity=0.02, pore_shape="bulky", pore_radius=1.8)
    grains, closed = (
        draw_grains(design, 4),
        draw_grains(replace(SMALL[name], crack_share=0.0, crack_share_surface=0), 4),
    )
    points = np.random.default_rng(1).uniform(-2.6, 2.6, (20_000, 3))
    found, empty = solid(grains, points, 0.08), solid(closed, points, 0.08)
    total = found.fraction + found.crack + pore_share(grains, points, 0.08)
    np.testing.assert_allclose(total, empty.fraction, atol=1e-6)
    np.testing.assert_array_equal(found.label, empty.label)
    assert min(found.fraction.min(), found.crack.min()) >= 0


@pytest.mark.parametrize(
    "design",
    [
        replace(SMALL_GRAVEL, crack_opening=0.01, crack_spread=0.0),
        replace(L_NMC, diameter=5.0, pore_radius=1.8, porosity=0.03),
        replace(H_NMC, diameter=5.0, pore_radius=2.0, porosity=0.01),
    ],
    ids=["cracks", "bulky pores", "web"],
)
def test_narrowing_multiplies_the_volumes_of_cracks_and_pores(design: ParticleDesign) -> None:
    grains = draw_grains(design, 4)
    points = grid(grains, 0.1)
    points = points[np.linalg.norm(points, axis=-1) < 2.4]
    volumes = []
    for narrowing in (1.0, 0.37, 0.0):
        found = solid(grains, points, 0.1, narrowing)
        varied = solid(grains, points, 0.1, np.full(len(points), narrowing))
        np.testing.assert_array_equal(found.fraction, varied.fraction)
        volumes.append(found.crack.sum(dtype=float) + pore_share(grains, points, 0.1, narrowing).sum(dtype=float))
    assert volumes[0] > 170
    assert volumes[1] == pytest.approx(0.37 * volumes[0], rel=0.04)
    assert volumes[2] == 0


def test_the_share_of_open_boundaries_is_linear_from_core_to_surface() -> None:
    grains = draw_grains(replace(SMALL_GRAVEL, crack_share=0.6, crack_share_surface=0.1), 3)
    first, second = np.random.default_rng(0).integers(0, 5000, (2, 40_000))
    pairs = np.stack([first, second + (second >= first)], axis=1)
    for radius, share in ((0.5, 0.6), (1.0, 0.6), (1.75, 0.35), (2.5, 0.1), (2.6, 0.1)):
        opening = pair_openings(grains, pairs, np.full(40_000, radius))
        assert np.mean(opening > 0) == pytest.approx(share, abs=4 * 0.5 / 200)
        np.testing.assert_array_equal(opening, pair_openings(grains, pairs[:, ::-1], np.full(40_000, radius)))
    opening = pair_openings(grains, pairs, np.full(40_000, 1.0))
    logs = np.log(opening[opening > 0])
    assert np.median(logs) == pytest.approx(np.log(0.06), abs=0.02)
    assert logs.std() == pytest.approx(0.4, rel=0.03)


@pytest.mark.parametrize("softness", [0.0, 0.9])
def test_the_gradient_of_a_difference_of_powers_is_that_of_finite_differences(softness: float) -> None:
    grains = draw_grains(replace(SMALL_ROD, core_radius=0.0, isotropic_radius=softness), 4)
    lookup, step = grains.lookup, 1e-5
    for point in np.random.default_rng(1).uniform(-1.5, 1.5, (40, 3)):
        moved = [point + sign * step * axis for axis in np.eye(3) for sign in (1, -1)]
        powers = [power(lookup, 7, e) - power(lookup, 3, e) for e in (embed(lookup, *at) for at in moved)]
        slope = (np.array(powers[0::2]) - powers[1::2]) / (2 * step)
        np.testing.assert_allclose(_gradient(lookup, 3, 7, *point), slope, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_distance_to_the_nearest_boundary_leads_to_it(name: str) -> None:
    grains = draw_grains(SMALL[name], 4)
    points = np.random.default_rng(2).uniform(-2.4, 2.4, (3000, 3))
    points = points[grains.labels(points) >= 0]
    distance, pairs = nearest_boundary(grains, points)
    near = np.isfinite(distance)
    assert near.mean() > 0.5
    # no point of the sphere of 0.98 of the distance lies in another grain, some of 1.05 do
    towards = np.random.default_rng(3).standard_normal((400, 3))
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    some = np.flatnonzero(near & (np.linalg.norm(points, axis=1) > 1.4) & (np.linalg.norm(points, axis=1) < 2.0))[:200]
    for factor, least, most in ((0.95, 0, 2), (1.15, 150, 200)):
        around = points[some, None] + factor * distance[some, None, None] * towards
        others = grains.labels(around)
        left = ((others != pairs[some, :1]) & (others >= 0)).any(axis=1).sum()
        assert least <= left <= most


def test_crack_opening_is_that_of_the_nearest_boundary() -> None:
    grains = draw_grains(SMALL_GRAVEL, 4)
    points = np.random.default_rng(2).uniform(-2.6, 2.6, (50, 200, 3))
    opening = crack_opening(grains, points)
    assert opening.shape == (50, 200)
    assert (opening[grains.labels(points) < 0] == 0).all()
    assert 0.1 < np.mean(opening > 0) < 0.5
    np.testing.assert_allclose(crack_opening(grains, points, 0.4), 0.4 * opening)
    closed = draw_grains(replace(SMALL_GRAVEL, crack_share=0.0, crack_share_surface=0.0), 4)
    np.testing.assert_array_equal(crack_opening(closed, points), 0)


@given(d=st.floats(0, 2), w=st.floats(0, 1), h=st.floats(1e-3, 1))
def test_overlap_is_a_share_that_vanishes_beyond_the_sheet(d: float, w: float, h: float) -> None:
    share = _overlap.py_func(d, w, h)
    assert share == pytest.approx(_overlap(d, w, h), abs=1e-12)
    assert 0 <= share <= min(1.0, w / h) + 1e-9
    if d >= (w + h) / 2:
        assert share == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("w", [0.02, 0.5])
def test_overlap_adds_up_to_the_opening(w: float) -> None:
    d = (np.arange(-20_000, 20_000) + 0.5) * 1e-4
    assert sum(_overlap(x, w, 0.1) for x in d) * 1e-4 == pytest.approx(w, rel=1e-3)


def test_results_do_not_depend_on_how_points_are_split() -> None:
    grains = draw_grains(replace(SMALL_ROD, porosity=0.02, pore_shape="spider-web", pore_radius=1.8), 4)
    points = np.random.default_rng(1).uniform(-2.6, 2.6, (4096, 3))
    near = np.random.default_rng(2).uniform(0, 1, 4096)
    whole = solid(grains, points, 0.1, near)
    parts = [solid(grains, p, 0.1, n) for p, n in zip(np.split(points, 64), np.split(near, 64), strict=True)]
    for name in ("label", "fraction", "crack"):
        np.testing.assert_array_equal(getattr(whole, name), np.concatenate([getattr(part, name) for part in parts]))
    assert whole.label.dtype == np.int32
    assert whole.fraction.dtype == whole.crack.dtype == np.float32


def test_the_kernels_run_as_python() -> None:
    for name in SMALL:
        grains = draw_grains(SMALL[name], 4)
        points = np.random.default_rng(1).uniform(-2.6, 2.6, (60, 3))
        compiled, plain = solid(grains, points, 0.1), solid(grains, points, 0.1, kernel=_fill.py_func)
        np.testing.assert_array_equal(compiled.label, plain.label)
        np.testing.assert_allclose(compiled.fraction, plain.fraction, atol=1e-6)
        distance, pairs = np.empty(60), np.empty((60, 2), dtype=np.int32)
        _boundaries.py_func((distance, pairs[:, 0], pairs[:, 1]), points, grains.lookup)
        near = distance <= grains.reach
        np.testing.assert_allclose(distance[near], nearest_boundary(grains, points)[0][near])
        openings = np.empty(60)
        _pair_openings.py_func(openings, cracks.crack_law(grains), pairs.astype(np.int64), np.full(60, 2.0))
        np.testing.assert_allclose(openings, pair_openings(grains, pairs, np.full(60, 2.0)))


def test_bad_voxels_and_narrowing_are_refused() -> None:
    grains = draw_grains(SMALL_GRAVEL, 4)
    points = np.zeros((2, 3))
    with pytest.raises(CathoscopeError, match="too coarse") as caught:
        solid(grains, points, 0.4)
    assert "grain_size=" in str(caught.value.cure)
    for voxel in (0.0, -0.1, float("nan")):
        with pytest.raises(CathoscopeError, match="voxel"):
            solid(grains, points, voxel)
    for narrowing in (-0.1, 1.2, float("nan")):
        with pytest.raises(CathoscopeError, match="narrowed"):
            solid(grains, points, 0.1, narrowing)


def test_a_web_wider_than_the_grains_is_refused() -> None:
    web = {"pore_shape": "spider-web", "porosity": 0.13, "pore_radius": 3.1}
    design = replace(GRAVEL, core_radius=0.0, grain_size=0.6, **web)
    with pytest.raises(CathoscopeError, match="wider than the grains") as caught:
        solid(draw_grains(design, 1), np.zeros((1, 3)), 0.05)
    assert "porosity=" in str(caught.value.cure)
