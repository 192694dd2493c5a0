"""Paths of known length: free space, slits, mazes, around a ball, in balls and shells; two algorithms agree."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from cathoscope.core.errors import MeasurementError
from cathoscope.volume import geodesic, geodesic_kernels
from cathoscope.volume.geodesic import SURFACE_OFFSET, path_length, path_statistics, straight_distance

CUBE = (1.0, 1.0, 1.0)
FIBSEM = (0.019, 0.0135, 0.0135)


def from_centre(length: np.ndarray, edges: tuple[float, float, float]) -> np.ndarray:
    """Lengths to the middle of the source's voxels."""
    return length + SURFACE_OFFSET * np.mean(edges)


def centred(n: int, edges: tuple[float, float, float] = CUBE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates (um) from the middle of a cubic array."""
    axes = [(np.arange(n) - (n - 1) / 2) * edge for edge in edges]
    return tuple(np.meshgrid(*axes, indexing="ij"))  # type: ignore[return-value]


@pytest.mark.parametrize("edges", [CUBE, FIBSEM])
def test_in_free_space_the_path_is_the_distance(edges: tuple[float, float, float]) -> None:
    solid, source = np.ones((21, 24, 27), dtype=bool), np.zeros((21, 24, 27), dtype=bool)
    source[4, 15, 9] = True
    z, y, x = np.indices(solid.shape)
    expected = np.sqrt(
        sum((edge * (one - at)) ** 2 for edge, one, at in zip(edges, (z, y, x), (4, 15, 9), strict=True))
    )
    found = path_length(solid, source, voxel_size=edges)
    away = ~source
    assert found.dtype == np.float32
    assert from_centre(found, edges)[away] == pytest.approx(expected[away], rel=2e-6)
    assert found[4, 15, 9] == 0


def test_around_a_ball_the_path_is_tangent_arc_tangent() -> None:
    n, radius, away = 49, 11.0, 18
    z, y, x = centred(n)
    r = np.sqrt(z**2 + y**2 + x**2)
    solid, source = r > radius, np.zeros((n, n, n), dtype=bool)
    source[24, 24, 24 - away] = True
    found = from_centre(path_length(solid, source, voxel_size=CUBE), CUBE)
    angle = np.arccos(np.clip(-x / np.maximum(r, 1e-9), -1, 1))
    touched = np.arccos(radius / away) + np.arccos(np.clip(radius / np.maximum(r, radius), -1, 1))
    tangents = np.sqrt(away**2 - radius**2) + np.sqrt(np.maximum(r**2 - radius**2, 0))
    bent = tangents + radius * (angle - touched)
    straight = np.sqrt((x + away) ** 2 + y**2 + z**2)
    shadow = solid & (angle > touched)
    lit = solid & ~shadow & ~source
    assert found[lit] / straight[lit] == pytest.approx(1, abs=0.02)
    assert np.mean(found[lit] / straight[lit]) == pytest.approx(1, abs=1e-3)
    ratio = found[shadow] / bent[shadow]
    assert shadow.sum() > 20_000
    assert np.mean(ratio) == pytest.approx(1, abs=0.01)
    assert ratio.min() > 0.999
    # the ball of voxels is up to half a voxel larger than the ball
    assert np.quantile(ratio, 0.99) < 1.04


def test_through_a_slit_in_a_wall_the_path_bends_at_its_rim() -> None:
    solid, source = np.ones((5, 41, 41), dtype=bool), np.zeros((5, 41, 41), dtype=bool)
    solid[:, :, 20] = False
    solid[:, 10, 20] = True
    source[:, 30, 5] = True
    found = from_centre(path_length(solid, source, voxel_size=CUBE), CUBE)[2]
    y, x = np.indices(found.shape)
    beyond = (x > 22) & (y - 10 > (0.2 - 20 / 15) * (x - 20))  # what the source does not see through the slit
    exact = np.hypot(20, 15) + np.hypot(y - 10, x - 20)
    assert found[beyond] / exact[beyond] == pytest.approx(1, abs=0.02)
    assert np.mean(found[beyond] / exact[beyond]) == pytest.approx(1, abs=0.005)


def test_a_folded_channel_is_as_long_as_its_middle_line() -> None:
    solid, source = np.zeros((3, 9, 30), dtype=bool), np.zeros((3, 9, 30), dtype=bool)
    for k, row in enumerate(range(0, 9, 2)):
        solid[1, row, :] = True
        if row + 1 < 9:
            solid[1, row + 1, -1 if k % 2 == 0 else 0] = True
    source[1, 0, 0], solid[1, 0, 0] = True, False
    found = from_centre(path_length(solid, source, voxel_size=CUBE), CUBE)
    # five rows of 29 steps and four crossings of two steps; each of the eight corners is cut by a quarter at most
    assert 5 * 29 + 8 - 2 < found[1, 8, 29] <= 5 * 29 + 8


def test_a_thin_oblique_wall_does_not_leak() -> None:
    z, y, x = np.indices((20, 20, 20))
    wall = (z + y + x == 28) | (z + y + x == 29)  # closed for steps through faces
    source = np.zeros(wall.shape, dtype=bool)
    source[0, 0, 0] = True
    found = path_length(~wall, source, voxel_size=CUBE)
    assert np.all(np.isinf(found[z + y + x > 29]))
    assert np.all(np.isfinite(found[z + y + x < 28]))


def grid_paths(solid: np.ndarray, source: np.ndarray, edges: tuple[float, float, float]) -> np.ndarray:
    """Shortest paths along steps through faces, by another algorithm: never shorter than the true ones."""
    number = np.arange(solid.size).reshape(solid.shape)
    usable = solid | source
    rows, columns, values = [], [], []
    for axis in range(3):
        first = np.take(number, range(solid.shape[axis] - 1), axis=axis)
        second = np.take(number, range(1, solid.shape[axis]), axis=axis)
        open_step = usable.ravel()[first] & usable.ravel()[second]
        rows.append(first[open_step])
        columns.append(second[open_step])
        values.append(np.full(open_step.sum(), edges[axis]))
    graph = coo_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(solid.size, solid.size)
    )
    return dijkstra(graph.tocsr(), directed=False, indices=np.flatnonzero(source), min_only=True).reshape(solid.shape)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_in_rubble_the_path_lies_between_the_straight_line_and_the_path_along_faces(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source = np.zeros((18, 17, 19), dtype=bool)
    source[9, 8, 10] = source[2, 3, 3] = True
    solid = (rng.random(source.shape) < 0.7) & ~source
    found = from_centre(path_length(solid, source, voxel_size=FIBSEM), FIBSEM)
    along = grid_paths(solid, source, FIBSEM)
    assert np.array_equal(np.isfinite(found[solid]), np.isfinite(along[solid]))
    joined = solid & np.isfinite(along)
    places = np.argwhere(joined) * FIBSEM
    straight = np.min([np.linalg.norm(places - at * np.array(FIBSEM), axis=1) for at in np.argwhere(source)], axis=0)
    assert np.all(found[joined] <= along[joined] * (1 + 1e-5))
    assert np.all(found[joined] >= straight * (1 - 1e-5))
    assert np.mean(along[joined] / found[joined]) > 1.08


@pytest.mark.parametrize(("edges", "radius"), [(CUBE, 14.0), (FIBSEM, 0.19)])
def test_depth_in_a_ball_is_the_radius_less_the_distance_to_its_centre(
    edges: tuple[float, float, float], radius: float
) -> None:
    errors = []
    for seed in range(3):
        shift = np.random.default_rng(seed).uniform(-0.5, 0.5, 3) * edges
        z, y, x = (one + s for one, s in zip(centred(34, edges), shift, strict=True))
        r = np.sqrt(z**2 + y**2 + x**2)
        solid = r < radius
        length = path_length(solid, ~solid, voxel_size=edges)
        errors.append((length - (radius - r))[solid].mean() / np.mean(edges))
        found = path_statistics(length, solid, ~solid, voxel_size=edges)
        assert found.mean.value == pytest.approx(radius / 4, abs=2 * found.mean.systematic)
        assert found.longest.value == pytest.approx(radius, abs=3 * found.mean.systematic + 0.5 * max(edges))
        assert found.tortuosity == pytest.approx(1, abs=0.002)
        assert found.cut_off == 0
    assert abs(np.mean(errors)) < 0.1


def test_a_closed_void_is_in_the_way_and_a_closed_grain_is_cut_off() -> None:
    z, y, x = centred(32)
    solid = np.sqrt(z**2 + y**2 + x**2) < 14
    outside = ~solid
    flat = (np.abs(z) < 3) & (y**2 + x**2 < 100)  # a closed crack across the middle
    grain = (np.abs(z) < 1) & (np.abs(y) < 2) & (np.abs(x) < 2)
    whole = path_length(solid, outside, voxel_size=CUBE)
    inside = (solid & ~flat) | grain
    found = path_length(inside, outside, voxel_size=CUBE)
    numbers = path_statistics(found, inside, outside, voxel_size=CUBE)
    joined = inside & ~grain
    assert np.all(found[joined] >= whole[joined] - 1e-4)
    assert np.all(np.isinf(found[grain]))
    assert numbers.cut_off == pytest.approx(grain.sum() / inside.sum())
    assert numbers.tortuosity >= 1
    # an open crack brings the surface near
    assert (
        path_statistics(
            path_length(joined, outside | flat, voxel_size=CUBE), joined, outside | flat, voxel_size=CUBE
        ).mean.value
        < 0.8 * path_statistics(whole, solid, outside, voxel_size=CUBE).mean.value
    )


def as_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the kernels as Python."""
    for name in ("_anchor", "_beside", "_cell", "_longer", "_seen", "_wider"):
        monkeypatch.setattr(geodesic_kernels, name, getattr(geodesic_kernels, name).py_func)
    for name in ("lengths_of", "march", "path_sums", "seed_front"):
        monkeypatch.setattr(geodesic, name, getattr(geodesic_kernels, name).py_func)


def test_distances_within_the_box_of_a_mask_are_those_of_the_whole_volume() -> None:
    rng = np.random.default_rng(7)
    for low, high in (((3, 0, 5), (11, 9, 17)), ((0, 0, 0), (14, 20, 18)), ((6, 8, 9), (7, 9, 10))):
        mask = np.zeros((14, 20, 18), dtype=bool)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        mask[box] = rng.random(mask[box].shape) < 0.95
        nearest = distance_transform_edt(mask, sampling=FIBSEM)
        assert straight_distance(~mask, voxel_size=FIBSEM) == pytest.approx(nearest, rel=1e-6)


def test_volumes_longer_than_1024_voxels_use_wider_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    as_python(monkeypatch)
    solid, source = np.ones((1, 2, 1100), dtype=bool), np.zeros((1, 2, 1100), dtype=bool)
    source[0, 0, 0] = True
    found = path_length(solid, source, voxel_size=CUBE)
    assert found[0, 1, 1099] == pytest.approx(np.hypot(1099, 1) - SURFACE_OFFSET, rel=1e-6)


def test_kernels_do_the_same_as_python(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    solid, source = rng.random((6, 7, 8)) < 0.75, rng.random((6, 7, 8)) < 0.03
    compiled = path_length(solid, source, voxel_size=FIBSEM)
    numbers = path_statistics(compiled, solid, source, voxel_size=FIBSEM)
    reached = compiled[solid & ~source & np.isfinite(compiled)]
    assert numbers.mean.value == pytest.approx(reached.mean(dtype=float))
    assert numbers.cut_off == pytest.approx(1 - reached.size / np.count_nonzero(solid & ~source))
    as_python(monkeypatch)
    assert path_length(solid, source, voxel_size=FIBSEM) == pytest.approx(compiled, rel=1e-5)
    assert path_statistics(compiled, solid, source, voxel_size=FIBSEM).tortuosity == pytest.approx(numbers.tortuosity)


def test_what_has_no_surface_is_answered() -> None:
    solid, empty = np.ones((4, 4, 4), dtype=bool), np.zeros((4, 4, 4), dtype=bool)
    with pytest.raises(MeasurementError, match="'source' is empty"):
        path_length(solid, empty, voxel_size=CUBE)
    with pytest.raises(MeasurementError, match="'solid' is empty"):
        path_length(empty, solid, voxel_size=CUBE)
    with pytest.raises(MeasurementError, match="another shape"):
        path_length(solid, solid[:2], voxel_size=CUBE)
    with pytest.raises(MeasurementError, match="not made of 0 and 1"):
        path_length(np.full((4, 4, 4), 0.5), solid, voxel_size=CUBE)  # type: ignore[arg-type]
    with pytest.raises(MeasurementError, match="size of the voxels"):
        path_length(solid, solid, voxel_size=(1.0, np.nan, 1.0))
    apart = empty.copy()
    apart[0, 0, 0] = True
    core = empty.copy()
    core[3, 3, 3] = True
    with pytest.raises(MeasurementError, match="touches the solid"):
        path_length(core, apart, voxel_size=CUBE)
    with pytest.raises(MeasurementError, match="no voxel of the solid is joined"):
        path_statistics(np.full((4, 4, 4), np.inf), core, apart, voxel_size=CUBE)
