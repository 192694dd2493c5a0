"""Thickness of digital sheets, balls and cylinders on both kinds of grid; brute force; known distributions."""

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.volume import thickness_kernels as kernels
from cathoscope.volume.minkowski_tables import STEPS
from cathoscope.volume.thickness import local_thickness, thickness_statistics
from tests.volume.shapes import FIBSEM, UNIT, cylinder, shell, slab, sphere

GRIDS = pytest.mark.parametrize("voxel", [UNIT, FIBSEM], ids=["isotropic", "fibsem"])


def edge_of(voxel):
    return float(np.prod(voxel) ** (1 / 3))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("width", [1, 2, 3, 7, 10])
def test_sheet_along_the_grid_is_exact(axis, width):
    mask = np.zeros((16, 16, 16), dtype=bool)
    np.moveaxis(mask, axis, 0)[3 : 3 + width] = True
    voxel = (0.3, 0.2, 0.1)
    found = local_thickness(mask, voxel_size=(voxel[axis],) * 3)
    assert np.allclose(found[mask], width * voxel[axis])
    assert not found[~mask].any()


@GRIDS
@pytest.mark.parametrize("radius", [5, 8, 12])
def test_balls(voxel, radius):
    h = edge_of(voxel)
    means = []
    for seed in range(3):
        shape = sphere(radius * h, voxel_size=voxel, seed=seed)
        found = thickness_statistics(local_thickness(shape.inside, voxel_size=voxel), voxel_size=voxel)
        means.append(found.mean.value / (2 * radius * h))
        assert abs(found.mean.value - 2 * radius * h) < 2 * found.mean.total
    assert np.mean(means) == pytest.approx(1, abs=0.02 if radius == 12 else 0.045)


@GRIDS
def test_sheets_of_random_orientation(voxel):
    """Half of them within the stated uncertainty, the mean within 0.3 voxels."""
    h, off, pulls = edge_of(voxel), [], []
    for seed in range(24):
        width = (2, 3, 4.5, 7)[seed % 4] * h
        shape = slab(width, shape=(26, 26, 26), voxel_size=voxel, seed=200 + seed)
        thickness = local_thickness(shape.inside, voxel_size=voxel)[5:-5, 5:-5, 5:-5]
        found = thickness_statistics(thickness, voxel_size=voxel).mean
        off.append((found.value - width) / h)
        pulls.append(off[-1] * h / found.total)
    assert abs(np.mean(off)) < 0.3
    assert np.std(off) < 0.5
    assert np.sum(np.abs(pulls) < 1) >= 11  # of 24; the 99 % range of 68 % starts at 11


@GRIDS
def test_long_cylinders(voxel):
    h = edge_of(voxel)
    for radius in (3, 5):
        shape = cylinder(radius * h, 24 * h, voxel_size=voxel, seed=radius)
        grids = [np.arange(n) * e - c for n, e, c in zip(shape.body.shape, voxel, shape.centre, strict=True)]
        z, y, x = np.ix_(*grids)
        along = z * shape.axis[0] + y * shape.axis[1] + x * shape.axis[2]
        found = local_thickness(shape.inside, voxel_size=voxel)
        middle = found[shape.inside & (np.abs(along) < 5 * h)]
        assert middle.mean() / h == pytest.approx(2 * radius, abs=0.35)


def test_covered_by_the_largest_ball_of_the_distance_map():
    """Against painting the ball of every voxel, ridge or not: equal but for tolerance and crest."""
    shape = shell(9, 4, seed=2)
    found = local_thickness(shape.inside, voxel_size=UNIT)
    z, y, x = np.nonzero(shape.inside)
    outside = np.argwhere(~shape.inside)
    radius = np.array([np.sqrt(((outside - p) ** 2).sum(axis=1).min()) for p in np.stack([z, y, x], axis=1)])
    brute = np.zeros(found.shape)
    places = np.stack(np.indices(found.shape), axis=-1)
    for p, r in zip(np.stack([z, y, x], axis=1), radius, strict=True):
        reach = tuple(slice(max(int(c - r), 0), int(c + r) + 2) for c in p)
        covered = ((places[reach] - p) ** 2).sum(axis=-1) < r**2
        brute[reach][covered] = np.maximum(brute[reach][covered], 2 * r)
    inside = shape.inside
    taken_off = brute[inside] - found[inside]
    mean = thickness_statistics(found, voxel_size=UNIT).mean
    assert abs(mean.value - 5) < 2 * mean.total
    assert taken_off.std() < 0.4
    assert 0 < taken_off.mean() < 1
    assert (found[inside] > 0).all()


def test_two_sheets_have_their_volumes_apart():
    mask = np.zeros((40, 16, 16), dtype=bool)
    mask[4:6] = mask[20:30] = True
    found = thickness_statistics(local_thickness(mask, voxel_size=UNIT), voxel_size=UNIT, edges=[0, 1, 5, 20])
    assert found.mean.value == pytest.approx((2 * 2 + 10 * 10) / 12)
    assert found.share.tolist() == pytest.approx([0, 2 / 12, 10 / 12])
    assert found.quantiles == (2, 10, 10)
    # shares 1/6 of 2 and 5/6 of 10: half the mean difference over the mean
    assert found.gini == pytest.approx((1 / 6) * (5 / 6) * 8 / (104 / 12))


def test_even_thickness_has_no_unevenness():
    values = np.zeros((4, 4, 4))
    values[:2] = 3.5
    found = thickness_statistics(values, voxel_size=UNIT)
    assert found.gini == pytest.approx(0, abs=1e-12)
    assert found.share.sum() == 1
    assert found.edges[-1] >= 3.5
    exponential = np.random.default_rng(0).exponential(size=(40, 40, 40))
    assert thickness_statistics(exponential, voxel_size=UNIT).gini == pytest.approx(0.5, abs=0.01)


def test_moves_and_scales_with_the_mask():
    mask = slab(5, shape=(20, 20, 20), seed=3).inside
    found = local_thickness(mask, voxel_size=UNIT)
    assert np.allclose(local_thickness(mask, voxel_size=(0.5, 0.5, 0.5)), found / 2, atol=1e-5)
    assert np.allclose(local_thickness(mask.transpose(2, 0, 1), voxel_size=UNIT), found.transpose(2, 0, 1), atol=1e-5)
    assert np.allclose(local_thickness(mask[::-1], voxel_size=UNIT), found[::-1], atol=1e-5)


def test_kernels_compiled_or_not():
    distance = np.random.default_rng(1).random((4, 5, 6)).astype(np.float32) * 2
    distance[distance < 0.4] = 0
    lengths = np.linalg.norm(STEPS, axis=1)
    marks, found, painted = [], [], []
    for mark_ridge, describe_ridge, paint in (
        (kernels.mark_ridge, kernels.describe_ridge, kernels.paint),
        (kernels.mark_ridge.py_func, kernels.describe_ridge.py_func, kernels.paint.py_func),
    ):
        mark = np.empty(distance.shape, dtype=np.uint8)
        mark_ridge(distance, STEPS, lengths, 0.1, mark)
        places = np.argwhere(mark)
        rows = np.empty((len(places), 3))
        describe_ridge(distance, places, STEPS, lengths, rows)
        thickness = np.zeros(distance.shape, dtype=np.float32)
        paint(places, rows[:, 0], rows[:, 0].astype(np.float32), (1.0, 1.0, 1.0), thickness)
        marks.append(mark)
        found.append(rows)
        painted.append(thickness)
    assert marks[0].any()
    assert np.array_equal(*marks)
    assert np.allclose(*found)
    assert np.allclose(*painted)
    args = distance, (1, 2, 3), STEPS, lengths
    assert kernels._crest.py_func(*args) == pytest.approx(kernels._crest(*args))
    level = np.ones((3, 3, 3), dtype=np.float32)
    level[0] = 0.5
    level[2] = 0.4
    assert kernels._is_level.py_func(level, (1, 1, 1), STEPS) == kernels._is_level(level, (1, 1, 1), STEPS) == 0
    assert kernels._is_level.py_func(distance, (1, 2, 3), STEPS) == -1
    assert kernels._neighbour.py_func(level, -1, 0, 0) == -1
    assert kernels._neighbour.py_func(level, 1, 0, 0) == 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: local_thickness(np.zeros_like(m), voxel_size=UNIT), "empty"),
        (lambda m: local_thickness(np.ones_like(m), voxel_size=UNIT), "nothing lies outside"),
        (lambda m: local_thickness(m, voxel_size=(1.0, 1.0, np.nan)), "size of the voxels"),
        (lambda m: thickness_statistics(np.zeros(m.shape), voxel_size=UNIT), "no thickness"),
        (lambda m: thickness_statistics(-m.astype(float), voxel_size=UNIT), "no thickness"),
        (lambda m: thickness_statistics(m * np.nan, voxel_size=UNIT), "no thickness"),
        (lambda m: thickness_statistics(m.astype(float), voxel_size=UNIT, edges=[2, 1]), "edges"),
    ],
)
def test_bad_input_is_answered(call, words):
    mask = np.zeros((5, 5, 5), dtype=bool)
    mask[2, 2, 2] = True
    with pytest.raises(MeasurementError, match=words):
        call(mask)
