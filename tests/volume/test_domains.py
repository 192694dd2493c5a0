"""Balls in contact, boxes, ellipsoids of known axes, isolated grains, radial and random axes, a second algorithm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, label
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

from cathoscope.core.errors import MeasurementError
from cathoscope.virtual.cracks import solid as contents
from cathoscope.virtual.grains import draw_grains
from cathoscope.virtual.particle import ROD
from cathoscope.volume import domains as module
from cathoscope.volume import domains_kernels
from cathoscope.volume.domains import Domains, alignment_with_radius, crack_bounded_domains, domains_of_labels

CUBE = (1.0, 1.0, 1.0)
FIBSEM = (0.019, 0.0135, 0.0135)


def places(shape: tuple[int, int, int], edges: tuple[float, float, float]) -> np.ndarray:
    """Coordinates of the voxels' middles (um), [z, y, x, 3], from the middle of the array."""
    axes = [(np.arange(n) - (n - 1) / 2) * edge for n, edge in zip(shape, edges, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def rotation(seed: int) -> np.ndarray:
    """A rotation, every one equally likely."""
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))
    return q * np.sign(np.diag(r))


@pytest.mark.parametrize(("edges", "scale"), [(CUBE, 1.0), (FIBSEM, 0.015)])
def test_balls_that_overlap_are_domains_with_a_round_contact(edges: tuple[float, float, float], scale: float) -> None:
    axis = rotation(4)[0]
    radius, apart = 11 * scale, 17 * scale
    shape = tuple(int(48 * scale / edge) for edge in edges)
    grid = places(shape, edges)  # type: ignore[arg-type]
    solid = np.zeros(shape, dtype=bool)
    for side in (-0.5, 0.5):
        solid |= np.linalg.norm(grid - side * apart * axis, axis=-1) < radius
    found = crack_bounded_domains(solid, voxel_size=edges)
    assert found.volume.size == 2
    assert found.pairs.tolist() == [[1, 2]]
    # half a voxel off the neck the balls are a sixth larger across
    assert found.area[0] == pytest.approx(np.pi * (radius**2 - (apart / 2) ** 2), rel=0.15)
    height = radius - apart / 2
    one = 4 / 3 * np.pi * radius**3 - np.pi * height**2 * (3 * radius - height) / 3
    assert found.volume == pytest.approx(one, rel=0.02)
    between = found.centroid[1] - found.centroid[0]
    assert abs(between @ axis) == pytest.approx(np.linalg.norm(between), rel=2e-3)
    assert (found.coordination.tolist(), found.clusters, found.isolated.any()) == ([1, 1], 1, False)


@pytest.mark.parametrize("edges", [CUBE, FIBSEM])
def test_a_plane_contact_of_any_direction_has_its_true_area(edges: tuple[float, float, float]) -> None:
    radius = 14 * edges[2]
    shape = tuple(int(32 * edges[2] / edge) for edge in edges)
    grid = places(shape, edges)  # type: ignore[arg-type]
    ball = np.linalg.norm(grid, axis=-1) < radius
    found = []
    for seed in range(20):
        offset = np.random.default_rng(seed).uniform(-0.5, 0.5) * edges[2]
        labels = ball * (1 + (grid @ rotation(seed)[0] > offset))
        found.append(domains_of_labels(labels, voxel_size=edges).area[0] / (np.pi * (radius**2 - offset**2)))
    # a rim of 0.2 voxels is lost, where one of two voxels is outside
    assert np.mean(found) == pytest.approx(1 - 2 * 0.19 / 14, abs=0.008)
    assert np.std(found) < 0.02


def test_an_ellipsoid_has_its_half_axes_and_directions() -> None:
    turn, half = rotation(7), np.array([0.2, 0.13, 0.09])
    grid = places((30, 40, 40), FIBSEM) + 0.004
    labels = (np.linalg.norm(grid @ turn.T / half, axis=-1) < 1).astype(np.int32)
    found = domains_of_labels(labels, voxel_size=FIBSEM)
    assert found.half_axes[0] == pytest.approx(half, rel=0.01)
    assert np.abs(np.einsum("ij,ij->i", found.axes[0], turn)) == pytest.approx(1, abs=1e-3)
    assert found.volume[0] == pytest.approx(4 / 3 * np.pi * half.prod(), rel=0.01)
    middle = (np.array(labels.shape) - 1) / 2 * FIBSEM - 0.004
    assert found.centroid[0] == pytest.approx(middle, abs=5e-4)


def test_boxes_count_contacts_clusters_and_what_lost_contact() -> None:
    labels = np.zeros((12, 12, 12), dtype=int)
    labels[2:5, 2:6, 2:6] = 1
    labels[5:8, 2:6, 2:6] = 2  # on 1
    labels[5:8, 6:9, 2:6] = 3  # beside 2
    labels[10, 10, 10] = 4  # alone
    labels[0, 0, 0] = 5  # cut by the end of the volume
    found = domains_of_labels(labels, voxel_size=(0.5, 0.2, 0.1))
    assert found.pairs.tolist() == [[1, 2], [2, 3]]
    assert found.area == pytest.approx([4 * 4 * 0.02, 3 * 4 * 0.05])
    assert found.coordination.tolist() == [1, 2, 1, 0, 0]
    assert found.contact_area == pytest.approx([0.32, 0.92, 0.6, 0, 0])
    assert found.isolated.tolist() == [False, False, False, True, False]
    assert found.clusters == 3


def polycrystal(n: int, seed: int, share_open: float) -> tuple[np.ndarray, np.ndarray]:
    """Voronoi grains, and a solid with sheets of two voxels open on some of their faces."""
    rng = np.random.default_rng(seed)
    seeds = rng.uniform(0, n, (25, 3))
    grid = np.stack(np.indices((n, n, n)), axis=-1).reshape(-1, 3)
    squared = ((grid[:, None] - seeds) ** 2).sum(axis=-1)
    order = np.argsort(squared, axis=1)[:, :2]
    first, second = order.T
    near, far = np.take_along_axis(squared, order, axis=1).T
    gap = (far - near) / 2 / np.linalg.norm(seeds[first] - seeds[second], axis=1)
    opened = np.triu(rng.random((25, 25)) < share_open)
    opened |= opened.T
    return first.reshape(n, n, n), ~((gap < 1.5) & opened[first, second]).reshape(n, n, n)


def adjusted_agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Share of voxels in the same place of a one-to-one pairing of labels, the largest overlaps first."""
    table = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(table, (first, second), 1)
    total = 0.0
    while table.max() > 0:
        i, j = np.unravel_index(np.argmax(table), table.shape)
        total += table[i, j]
        table[i], table[:, j] = 0, 0
    return total / first.size


def test_grains_with_all_boundaries_open_are_found_one_by_one() -> None:
    grain, solid = polycrystal(48, 1, 1.0)
    found = crack_bounded_domains(solid, voxel_size=CUBE)
    inside = found.labels > 0
    assert found.volume.size == pytest.approx(25, abs=3)
    assert adjusted_agreement(grain[inside], found.labels[inside]) > 0.97
    assert found.area.sum() < 0.02 * (48**2 * 6)  # nothing but rubbing corners


def test_domains_are_those_of_another_watershed() -> None:
    _, solid = polycrystal(48, 2, 0.8)
    found = crack_bounded_domains(solid, voxel_size=CUBE)
    distance = distance_transform_edt(solid)
    markers, _ = label(h_maxima(distance, 1.0))
    other = watershed(-distance, markers, mask=solid)
    assert found.volume.size == pytest.approx(markers.max(), abs=2)
    both = (found.labels > 0) & (other > 0)
    assert both.sum() > 0.99 * np.count_nonzero(solid)
    assert adjusted_agreement(other[both], found.labels[both]) > 0.93


def test_crack_voxels_divide_what_the_threshold_left_whole() -> None:
    solid = np.zeros((20, 20, 30), dtype=bool)
    solid[3:17, 3:17, 3:27] = True
    cracks = np.zeros_like(solid)
    cracks[:, :, 14] = True
    assert crack_bounded_domains(solid, voxel_size=CUBE).volume.size == 1
    found = crack_bounded_domains(solid, voxel_size=CUBE, cracks=cracks)
    assert sorted(found.volume) == [11 * 196, 12 * 196]
    assert found.isolated.all()


def placed(seed: int, direction: str, number: int = 60) -> Domains:
    """Domains known but for their axes: radial, tangential or random ones, scattered by 15 degrees."""
    rng = np.random.default_rng(seed)
    centre = rng.standard_normal((number, 3))
    radial = centre / np.linalg.norm(centre, axis=1, keepdims=True)
    axis = rng.standard_normal((number, 3))
    if direction == "tangential":
        axis -= np.einsum("ij,ij->i", axis, radial)[:, None] * radial
    elif direction == "radial":
        axis = radial + 0.15 * axis
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    none = np.zeros(number, dtype=bool)
    return Domains(
        labels=np.zeros((1, 1, 1), np.int32),
        voxel_size=CUBE,
        volume=np.ones(number),
        centroid=centre,
        half_axes=np.tile([2.0, 1.0, 1.0], (number, 1)),
        axes=np.repeat(axis[:, None], 3, axis=1),
        on_rim=none,
        pairs=np.empty((0, 2), np.int64),
        area=np.empty(0),
    )


def test_p2_of_random_axes_scatters_as_it_says() -> None:
    found = [alignment_with_radius(placed(seed, "random"), centre=(0, 0, 0)).p2 for seed in range(300)]
    pull = np.array([one.value / one.std for one in found])
    assert abs(pull.mean()) < 3 / np.sqrt(300)
    assert pull.std() == pytest.approx(1, abs=0.15)


def test_p2_is_one_for_radial_and_minus_a_half_for_tangential_axes() -> None:
    radial = alignment_with_radius(placed(1, "radial"), centre=(0, 0, 0))
    tangential = alignment_with_radius(placed(2, "tangential"), centre=(0, 0, 0))
    # two components of 0.15 across: <sin^2> near 2 * 0.15^2
    assert radial.p2.value == pytest.approx(1 - 1.5 * 2 * 0.15**2, abs=0.03)
    assert tangential.p2.value == pytest.approx(-0.5, abs=1e-9)
    assert radial.number == 60


def test_grains_of_a_virtual_rod_are_found_and_lie_along_the_radius() -> None:
    design = replace(ROD, grain_size=1.0, crack_share=1.0, crack_share_surface=1.0, crack_opening=0.18)
    voxel, n = 0.1, 102
    axis = (np.arange(n) - (n - 1) / 2) * voxel
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    content = contents(draw_grains(design, 5), np.stack([x, y, z], axis=-1), voxel)
    solid = content.fraction > 0.5
    grain = np.unique(np.where(solid, content.label + 1, 0), return_inverse=True)[1].reshape(solid.shape)
    centre = ((n - 1) / 2 * voxel,) * 3
    true = domains_of_labels(grain, voxel_size=(voxel,) * 3)
    found = crack_bounded_domains(solid, voxel_size=(voxel,) * 3)
    assert found.volume.size == pytest.approx(np.count_nonzero(true.volume > 27 * voxel**3), rel=0.03)
    expected, p2 = (alignment_with_radius(one, centre).p2 for one in (true, found))
    assert p2.value == pytest.approx(expected.value, abs=0.02)
    assert p2.value > 0.85
    assert np.mean(found.isolated) > 0.85


def test_round_and_cut_domains_have_no_long_axis() -> None:
    grid = places((20, 20, 20), CUBE)
    labels = (np.linalg.norm(grid, axis=-1) < 6).astype(int)
    with pytest.raises(MeasurementError, match="too few domains"):
        alignment_with_radius(domains_of_labels(labels, voxel_size=CUBE))


def test_kernels_do_the_same_as_python(monkeypatch: pytest.MonkeyPatch) -> None:
    _, solid = polycrystal(11, 3, 0.9)
    compiled = crack_bounded_domains(solid, voxel_size=FIBSEM, smallest=2)
    for name in ("root_of", "_numbered"):
        monkeypatch.setattr(domains_kernels, name, getattr(domains_kernels, name).py_func)
    for name in ("sorted_down", "watershed", "moments", "common_faces"):
        monkeypatch.setattr(module, name, getattr(domains_kernels, name).py_func)
    plain = crack_bounded_domains(solid, voxel_size=FIBSEM, smallest=2)
    assert np.array_equal(plain.labels, compiled.labels)
    assert np.array_equal(plain.pairs, compiled.pairs)
    assert plain.area == pytest.approx(compiled.area)
    assert plain.half_axes == pytest.approx(compiled.half_axes)


def test_what_cannot_be_divided_is_answered() -> None:
    solid = np.ones((5, 5, 5), dtype=bool)
    with pytest.raises(MeasurementError, match="fills the volume"):
        crack_bounded_domains(solid, voxel_size=CUBE)
    with pytest.raises(MeasurementError, match="is empty"):
        crack_bounded_domains(~solid, voxel_size=CUBE)
    solid[0] = False
    with pytest.raises(MeasurementError, match="no domain is large enough"):
        crack_bounded_domains(solid, voxel_size=CUBE, smallest=1000)
    with pytest.raises(MeasurementError, match="depth of maxima"):
        crack_bounded_domains(solid, voxel_size=CUBE, depth=0)
    with pytest.raises(MeasurementError, match="'solid without cracks' is empty"):
        crack_bounded_domains(solid, voxel_size=CUBE, cracks=solid)
    with pytest.raises(MeasurementError, match="labels cannot be used"):
        domains_of_labels(np.zeros((3, 3, 3), dtype=int), voxel_size=CUBE)
    with pytest.raises(MeasurementError, match="a label has no voxel"):
        domains_of_labels(2 * solid.astype(int), voxel_size=CUBE)
