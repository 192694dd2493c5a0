"""Cores, voids and cracks told apart: analytic bodies, virtual particles, and what cannot be split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cathoscope.core.errors import MeasurementError
from cathoscope.virtual import cracks as virtual_cracks
from cathoscope.virtual.grains import draw_grains
from cathoscope.virtual.particle import L_NMC, ROD, radius_towards
from cathoscope.volume.pores import CORE, CRACK, VOID, split_pores
from tests.volume.shapes import FIBSEM, UNIT, add_noise

CUBE = 0.1


def grid(n, edges):
    """Coordinates z, y, x (um) of voxels from the middle of a cubic grid."""
    return np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * edge for edge in edges], indexing="ij")


def particle(n=48, edges=UNIT, core=0.0, voids=(), width=0.0):
    """A ball with a hollow core, ball-shaped voids (z, y, x, radius) and a crack of ``width`` through the middle."""
    z, y, x = grid(n, edges)
    r = np.sqrt(z**2 + y**2 + x**2)
    whole = r < 0.45 * n * min(edges)
    pore = r < core
    for a, b, c, radius in voids:
        pore |= (z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2 < radius**2
    crack = (np.abs(x + 0.3 * y) / np.hypot(1, 0.3) < width / 2) & ~pore
    return pore, crack & whole, whole


@pytest.mark.parametrize("edges", [UNIT, FIBSEM])
def test_core_void_and_crack_of_a_ball(edges):
    edge = min(edges)
    pore, crack, whole = particle(60, edges, core=9 * edge, voids=[(0, 17 * edge, 8 * edge, 5 * edge)], width=3 * edge)
    split = split_pores(pore | crack, whole, voxel_size=edges, crack_width=5 * edge)
    assert split.core is not None
    true_core = 4 / 3 * np.pi * (9 * edge) ** 3
    assert split.core.radius.value == pytest.approx(9 * edge, rel=0.03)
    assert abs(split.core.volume.value - true_core) < 2 * split.core.volume.total
    np.testing.assert_allclose(split.core.centre, 29.5 * np.array(edges), atol=0.3 * edge)
    assert split.core.profile_radius == pytest.approx(9 * edge, abs=2 * edge)
    assert split.void.value == pytest.approx(4 / 3 * np.pi * (5 * edge) ** 3, rel=0.2)
    right = np.mean(split.kind[crack] == CRACK), np.mean(split.kind[pore] >= VOID)
    assert np.mean(right) > 0.96
    assert min(right) > 0.94
    # every pore voxel has one kind, and volumes add up to the pores
    assert ((split.kind > 0) == (pore | crack)).all()
    total = split.core.volume.value + split.void.value + split.crack.value
    assert total == pytest.approx((pore | crack).sum() * np.prod(edges))


def test_a_void_beside_the_centre_is_no_core_and_a_crack_alone_no_void():
    pore, crack, whole = particle(40, voids=[(3.0, 4.0, -3.0, 6.0)], width=2.5)
    split = split_pores(pore | crack, whole, voxel_size=UNIT, crack_width=4.0)
    assert split.core is None
    assert np.mean(split.kind[pore] == VOID) > 0.98
    alone = split_pores(crack, whole, voxel_size=UNIT, crack_width=4.0)
    assert alone.core is None
    assert alone.void.value == 0
    assert alone.crack.value == crack.sum()


@pytest.mark.parametrize("width", [3, 4, 5, 6, 7])
def test_plates_up_to_the_crack_width_are_cracks(width):
    pore = np.zeros((24, 24, 24), dtype=bool)
    pore[8 : 8 + width, 4:20, 4:20] = True
    split = split_pores(pore, np.ones_like(pore), voxel_size=UNIT, crack_width=4.0)
    assert (split.kind[8 + width // 2, 12, 12] == CRACK) == (width <= 4)


def test_a_collapsing_core_has_its_volume_ratio():
    volumes = []
    for radius in (12.0, 11.0):
        z, y, x = grid(56, UNIT)
        r = np.sqrt(z**2 + y**2 + x**2)
        grey = gaussian_filter(((r > radius) & (r < 25)).astype(np.float32), 1.0)
        grey = add_noise(grey, 0.08, np.random.default_rng(1))
        pore = (gaussian_filter(grey, 0.7) < 0.5) & (r < 23)
        volumes.append(split_pores(pore, r < 25, voxel_size=UNIT, crack_width=4.0).core.volume)
    assert volumes[1].value / volumes[0].value == pytest.approx((11 / 12) ** 3, rel=0.015)
    for radius, volume in zip((12, 11), volumes, strict=True):
        assert volume.value == pytest.approx(4 / 3 * np.pi * radius**3, abs=2.5 * volume.total)


def drawn(design, seed, n=64):
    """A virtual particle: masks of what the microscope shows as pore and of the whole, and the truth of each voxel."""
    grains, voxel = draw_grains(design, seed), design.diameter * 1.1 / n
    z, y, x = grid(n, (voxel,) * 3)
    points = np.stack([x, y, z], axis=-1)
    truth = virtual_cracks.solid(grains, points, voxel)
    share = virtual_cracks.pore_share(grains, points, voxel)
    r = np.linalg.norm(points, axis=-1)
    whole = r <= radius_towards(grains.outer, points)
    hollow = whole & (grains.labels(points.reshape(-1, 3)).reshape(r.shape) < 0)
    grey = add_noise(gaussian_filter(truth.fraction, 0.7), 0.08, np.random.default_rng(seed))
    pore = (gaussian_filter(grey, 0.6) < 0.5) & (r < 0.9 * design.radius)
    bulky = pore & (hollow | (share > truth.crack))
    return pore, whole, bulky, pore & ~bulky & (truth.crack > 0), voxel


@pytest.mark.parametrize(
    ("design", "has_core"),
    [
        (replace(ROD, grain_size=1.5, crack_share=0.4, crack_opening=0.2, crack_spread=0.2), True),
        (replace(L_NMC, grain_size=1.5, crack_share=0.4, crack_share_surface=0.4, crack_opening=0.2, crack_spread=0.2),
         False),
    ],
)  # fmt: skip
def test_virtual_particles(design, has_core):
    pore, whole, bulky, crack, voxel = drawn(design, 0)
    split = split_pores(pore, whole, voxel_size=(voxel,) * 3, crack_width=3 * voxel)
    accuracy = 0.5 * (np.mean(split.kind[bulky] >= VOID) + np.mean(split.kind[crack] == CRACK))
    assert accuracy > 0.89
    assert (split.core is not None) == has_core
    if split.core is not None:
        assert split.core.radius.value == pytest.approx(design.core_radius, abs=0.5 * voxel)
        assert split.profile[: int(0.8 * design.core_radius / voxel)].min() > 0.95
        assert (split.kind == CORE).any()


def test_all_pore_touching_the_faces_is_answered():
    pore = np.ones((16, 16, 16), dtype=bool)
    split = split_pores(pore, pore, voxel_size=(CUBE,) * 3, crack_width=3 * CUBE)
    assert split.crack.value == 0
    assert (split.kind > 0).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pore": np.zeros((8, 8, 8), bool)}, "empty"),
        ({"particle": np.ones((8, 8, 4), bool)}, "another shape"),
        ({"crack_width": 1.0}, "out of range"),
        ({"crack_width": np.nan}, "out of range"),
        ({"voxel_size": (1.0, 1.0)}, "voxels cannot be"),
    ],
)
def test_what_cannot_be_is_answered(change, words):
    good = {"pore": np.eye(8, dtype=bool)[None].repeat(8, 0), "particle": np.ones((8, 8, 8), bool)}
    arguments = {**good, "voxel_size": UNIT, "crack_width": 3.0, **change}
    with pytest.raises(MeasurementError, match=words):
        split_pores(arguments.pop("pore"), arguments.pop("particle"), **arguments)
