"""Sheets of known place, direction and area; junctions; noise; two algorithms agree."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cathoscope.core.errors import MeasurementError
from cathoscope.volume import sheetness_kernels as kernels
from cathoscope.volume.sheetness import Detection, find_sheets, noise_of, sheetness
from tests.volume.shapes import FIBSEM, UNIT, slab

AXES = ((0, 0, 1), (1, 1, 0), (1, 1, 1), (1.0, 0.3, 0.2))


def inside_ball(points, shape):
    """Points in a ball about the middle of the grid, and its radius."""
    middle = (np.array(shape.body.shape) - 1) / 2 * shape.voxel_size
    radius = 0.35 * min(np.array(shape.body.shape) * shape.voxel_size)
    return np.linalg.norm(points - middle, axis=1) < radius, middle, radius


def hessian_eigenvalues(grey, scale, edges):
    """Eigenvalues of scale^2 H by library routines, ascending, on the interior of the grid."""
    sigma = scale * np.prod(edges) ** (1 / 3)
    widths = [sigma / edge for edge in edges]
    smooth = gaussian_filter(grey.astype(float), widths, radius=[int(np.ceil(3.5 * width)) for width in widths])
    hessian = np.empty((*grey.shape, 3, 3))
    for i in range(3):
        ahead, behind = np.roll(smooth, -1, i), np.roll(smooth, 1, i)
        hessian[..., i, i] = (ahead + behind - 2 * smooth) / edges[i] ** 2
        for j in range(i):
            mixed = np.roll(ahead, -1, j) - np.roll(ahead, 1, j) - np.roll(behind, -1, j) + np.roll(behind, 1, j)
            hessian[..., i, j] = hessian[..., j, i] = mixed / (4 * edges[i] * edges[j])
    return sigma**2 * np.linalg.eigvalsh(hessian)[1:-1, 1:-1, 1:-1]


@pytest.mark.parametrize("edges", [UNIT, FIBSEM])
def test_sheetness_agrees_with_eigenvalues_from_a_library(edges):
    grey = np.random.default_rng(0).normal(size=(14, 15, 70)).astype(np.float32)
    low, middle, high = np.moveaxis(hessian_eigenvalues(grey, 1.5, edges), -1, 0)
    second, contrast = np.maximum(np.abs(low), np.abs(middle)), 0.05
    norm = low**2 + middle**2 + high**2
    expected = np.exp(-2 * (second / high) ** 2) * (1 - np.exp(-norm / (2 * contrast**2)))
    expected[(high <= second) | (high < contrast / 4)] = 0
    found = sheetness(grey, voxel_size=edges, scales=(1.5,), contrast=contrast)[1:-1, 1:-1, 1:-1]
    # at a jump of the definition either side may be right
    clear = (np.abs(high - second) > 1e-5) & (np.abs(high - contrast / 4) > 1e-5)
    np.testing.assert_allclose(found[clear], expected[clear], atol=2e-4)


def test_a_sheet_is_white_and_a_rod_and_a_ball_are_not():
    z, y, x = np.indices((33, 33, 33)) - 16.0
    bodies = {"sheet": np.abs(z), "rod": np.hypot(z, y), "ball": np.sqrt(z * z + y * y + x * x)}
    found = {}
    for name, distance in bodies.items():
        grey = 1 - np.exp(-0.5 * (distance / 1.5) ** 2)
        found[name] = float(sheetness(grey, voxel_size=UNIT, contrast=0.1)[16, 16, 16])
    assert found["sheet"] > 0.95
    assert found["rod"] < 0.2
    assert found["ball"] < 0.2
    assert sheetness(-grey, voxel_size=UNIT, contrast=0.1)[16, 16, 16] == 0


@pytest.mark.parametrize("edges", [UNIT, FIBSEM])
@pytest.mark.parametrize("width", [0.3, 1.0, 5.0])
def test_place_direction_and_area_of_a_slab_in_any_direction(edges, width):
    voxel = np.prod(edges) ** (1 / 3)
    ratios = []
    for seed, normal in enumerate(AXES):
        body = slab(width * voxel, shape=(44, 44, 44), voxel_size=edges, normal=normal, seed=seed).as_void()
        sheets = find_sheets(body.grey(noise=0.04, seed=seed), voxel_size=edges, noise=0.04)
        chosen, middle, radius = inside_ball(sheets.points, body)
        height = (sheets.points - body.centre) @ body.axis
        offset = (body.centre - middle) @ body.axis
        # the slab goes through a point that shapes calls its centre
        assert abs(height[chosen].mean()) < 0.1 * voxel
        angle = np.degrees(np.arccos(np.clip(np.abs(sheets.normals[chosen] @ body.axis), 0, 1)))
        assert np.sqrt(np.mean(angle**2)) < 4
        ratios.append(sheets.areas[chosen].sum() / (np.pi * (radius**2 - offset**2)))
        assert np.bincount(sheets.label[chosen]).max() == chosen.sum()
    assert np.mean(ratios) == pytest.approx(1, abs=0.015)
    assert ratios == pytest.approx([1] * 4, abs=0.04)


def test_noise_alone_holds_no_sheet_and_its_strength_is_found():
    found = []
    for seed in range(8):
        grey = 100 + 8 * np.random.default_rng(seed).standard_normal((40, 40, 40)).astype(np.float32)
        found.append([noise_of(grey, voxel_size=UNIT), noise_of(grey, voxel_size=FIBSEM, scale=1.2)])
        assert len(find_sheets(grey, voxel_size=UNIT).points) == 0
    # one volume of this size holds some thousand independent values, so a quartile scatters by five per cent
    assert np.mean(found, axis=0) == pytest.approx([8, 8], rel=0.04)
    assert np.std(found, axis=0).max() < 0.8


def test_sheets_that_meet_stay_connected():
    z, y, x = np.indices((40, 40, 40)) - 19.6
    grey = np.ones(z.shape)
    for angle in np.deg2rad([20, 140, 260]):
        along, across = y * np.cos(angle) + x * np.sin(angle), -y * np.sin(angle) + x * np.cos(angle)
        grey = np.minimum(grey, 1 - (along > 0) * np.clip(1 - np.abs(across), 0, 1))
    grey = gaussian_filter(grey, 1.0) + 0.03 * np.random.default_rng(1).standard_normal(z.shape)
    sheets = find_sheets(grey, voxel_size=UNIT, noise=0.03)
    assert np.bincount(sheets.label).max() / len(sheets.label) > 0.99
    distance = np.hypot(*(sheets.points[:, 1:] - 19.6).T)
    assert distance[sheets.junction].mean() < 4
    # some points of the sheets come as near as two voxels to the line where they meet, all along it
    for low in range(4, 36, 8):
        part = (sheets.points[:, 0] >= low) & (sheets.points[:, 0] < low + 8)
        assert distance[part].min() < 2


def test_a_weak_end_belongs_to_its_strong_sheet_but_stands_not_alone():
    body = slab(1.0, shape=(24, 40, 40), normal=(1, 0, 0), seed=2)
    share = np.linspace(0, 1, 40)[None, None, :] * body.body
    grey = gaussian_filter(1 - share, 1.0) + 0.05 * np.random.default_rng(4).standard_normal(share.shape)
    limits = Detection(low=4, high=38)
    whole = find_sheets(grey, voxel_size=UNIT, noise=0.05, detection=limits)
    weak = find_sheets(grey[:, :, :14], voxel_size=UNIT, noise=0.05, detection=limits)
    assert whole.points[:, 2].min() < 12
    assert len(weak.points) == 0
    chosen = whole.select(whole.points[:, 2] > 20)
    assert chosen.points[:, 2].min() > 20
    assert chosen.mask.sum() <= len(chosen.points)
    assert chosen.voxels.shape == (len(chosen.points), 3)


def test_sheets_are_sought_only_within_the_mask():
    body = slab(1.0, shape=(24, 24, 24), normal=(1, 0, 0), seed=1).as_void()
    within = np.zeros(body.body.shape, dtype=bool)
    within[:, :12] = True
    sheets = find_sheets(body.grey(noise=0.02), voxel_size=UNIT, noise=0.02, within=within)
    assert len(sheets.points)
    assert sheets.points[:, 1].max() <= 11


def test_kernels_run_as_python_too():
    rng = np.random.default_rng(5)
    grey = rng.normal(size=(5, 6, 7)).astype(np.float32)
    half = np.array([0.5, 0.2, 0.05], dtype=np.float32)
    smooth = np.zeros((2, 8, 9), dtype=np.float32)
    for run, target in zip((kernels.smooth_plane, kernels.smooth_plane.py_func), smooth, strict=True):
        run(grey, 1, (half, half, half), np.empty((6, 7), dtype=np.float32), target)
    np.testing.assert_allclose(smooth[0], smooth[1], rtol=1e-5)
    planes = rng.normal(size=(3, 8, 9)).astype(np.float32)
    law, values = np.full(6, 0.5, dtype=np.float32), np.empty((2, 3, 6, 7), dtype=np.float32)
    for run, target in zip((kernels.eigen_plane, kernels.eigen_plane.py_func), values, strict=True):
        run(planes, law, target)
    np.testing.assert_allclose(values[0], values[1], rtol=1e-5, atol=1e-6)
    measure, strength = np.zeros((2, 6, 7), dtype=np.float32), np.zeros((2, 6, 7), dtype=np.float32)
    which = np.zeros((2, 6, 7), dtype=np.uint8)
    found, differences = [], np.zeros((2, 3, 12), dtype=np.float32)
    for n, python in enumerate((False, True)):
        names = ("sheetness_plane", "strongest_plane", "candidates_plane", "mixed_differences", "crossings", "connect")
        sheet, strongest, candidates, mixed, cross, connect = (
            getattr(kernels, name).py_func if python else getattr(kernels, name) for name in names
        )
        sheet(values[0], 0.5, np.float32(0.1), measure[n])
        strongest(values[0], 0, strength[n], which[n])
        index, record = np.empty(42, dtype=np.int64), np.empty((42, 6), dtype=np.float32)
        choice = (strength[n], which[n], np.ones((6, 7), dtype=bool))
        laws = (law[None], np.ones((1, 3), dtype=np.float32))
        count = candidates(planes[None], laws, choice, (np.array([0.1]), 0.9), (index, record))
        points, parent = np.zeros((count, 9)), np.empty(count, dtype=np.int64)
        crossed = cross(index[:count], record[:count], (1, 6, 7), 2, points)
        connect(index[:count], (1, 6, 7), parent)
        found.append((index[:count].copy(), record[:count].copy(), points[:crossed].copy(), parent))
        mixed(planes, law, np.arange(0, 6, 2), np.arange(0, 7, 2), differences[n])
    np.testing.assert_allclose(measure[0], measure[1], atol=1e-5)
    np.testing.assert_allclose(differences[0], differences[1], rtol=1e-5)
    assert len(found[0][0]) > 3
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


GOOD = np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"grey": GOOD[0]}, "not a volume"),
        ({"grey": GOOD[:2]}, "not a volume"),
        ({"grey": np.where(GOOD > 2, np.nan, GOOD)}, "not finite"),
        ({"grey": np.ones((8, 8, 8))}, "noise of the volume"),
        ({"voxel_size": (1.0, 1.0, -1.0)}, "voxels cannot be"),
        ({"voxel_size": (1.0, 0.02, 0.02)}, "size of the voxels"),
        ({"scales": ()}, "scales"),
        ({"scales": (0.0,)}, "scales"),
        ({"within": np.ones((4, 8, 8), bool)}, "does not belong"),
        ({"within": np.zeros((8, 8, 8), bool)}, "holds nothing"),
        ({"detection": Detection(5, 4)}, "contradict"),
        ({"noise": -1.0}, "must be positive"),
    ],
)
def test_what_cannot_be_is_answered(change, words):
    arguments = {"grey": GOOD, "voxel_size": UNIT, **change}
    with pytest.raises(MeasurementError, match=words):
        find_sheets(arguments.pop("grey"), **arguments)
