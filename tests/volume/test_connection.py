"""Pores that are open and closed by construction; channels of known width; wetted surfaces of known area."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_propagation, generate_binary_structure

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.volume import connection, connection_kernels
from cathoscope.volume.connection import (
    connection_curve,
    open_to_outside,
    percolation,
    percolation_diameter,
    through,
    wetted_surface,
)

CUBE = (1.0, 1.0, 1.0)
FIBSEM = (0.019, 0.0135, 0.0135)


def ball(n: int, radius: float) -> np.ndarray:
    """A ball in the middle of a cube of voxels."""
    axes = np.meshgrid(*[np.arange(n) - (n - 1) / 2] * 3, indexing="ij", sparse=True)
    return sum(one**2 for one in axes) < radius**2


def rubble(seed: int, share: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Random pores in a ball: mask of the pore and of the ball."""
    particle = ball(17, 7.3)
    return (np.random.default_rng(seed).random(particle.shape) < share) & particle, particle


@pytest.mark.parametrize("connectivity", [6, 26])
@pytest.mark.parametrize("seed", range(4))
def test_open_pores_are_those_a_flood_from_outside_reaches(seed: int, connectivity: int) -> None:
    pore, particle = rubble(seed, 0.3 if connectivity == 6 else 0.08)
    step = generate_binary_structure(3, 1 if connectivity == 6 else 3)
    flooded = binary_propagation(~particle, structure=step, mask=pore | ~particle) & particle
    found = open_to_outside(pore, particle, connectivity=connectivity)  # type: ignore[arg-type]
    assert np.array_equal(found, flooded)
    assert 0 < found.sum() < pore.sum()


@pytest.mark.parametrize("connectivity", [6, 26])
def test_the_curve_is_the_flood_at_every_threshold(connectivity: int) -> None:
    particle = ball(17, 7.3)
    grey = np.random.default_rng(3).random(particle.shape).astype(np.float32)
    thresholds = np.array([-1.0, 0.02, 0.05, 0.08, 0.12, 0.2, 0.3, 0.35, 0.5, 2.0])
    found = connection_curve(grey, particle, thresholds, connectivity=connectivity)  # type: ignore[arg-type]
    volume = particle.sum()
    for threshold, porosity, joined in zip(thresholds[1:], found.porosity[1:], found.open_porosity[1:], strict=True):
        pore = (grey < threshold) & particle
        assert porosity == pytest.approx(pore.sum() / volume)
        flooded = open_to_outside(pore, particle, connectivity=connectivity)  # type: ignore[arg-type]
        assert joined == pytest.approx(flooded.sum() / volume)
    assert (found.porosity[0], found.connected[0]) == (0, 1)
    assert (found.open_porosity[-1], found.connected[-1]) == (1, 1)
    assert np.all(np.diff(found.open_porosity) >= 0)


def test_a_value_equal_to_the_threshold_is_solid() -> None:
    particle = ball(7, 2.5)
    grey = np.where(particle, 0.5, 0.0).astype(np.float32)
    assert connection_curve(grey, particle, [0.5, 0.6]).porosity.tolist() == [0.0, 1.0]


def test_through_parts_reach_both_faces_of_one_axis_only() -> None:
    phase = np.zeros((8, 9, 10), dtype=bool)
    phase[:, 2, 3] = True  # z
    phase[4, 6, :] = True  # x
    phase[0:5, 8, 8] = True  # a dead end
    assert percolation(phase, axis=0) == pytest.approx(8 / 23)
    assert percolation(phase, axis=1) == 0
    assert percolation(phase, axis=2) == pytest.approx(10 / 23)
    assert np.argwhere(through(phase, axis=2))[:, :2].tolist() == [[4, 6]] * 10


def test_corners_connect_with_26_neighbours_only() -> None:
    phase = np.zeros((5, 5, 5), dtype=bool)
    phase[np.arange(5), np.arange(5), np.arange(5)] = True
    assert percolation(phase, axis=0, connectivity=6) == 0
    assert percolation(phase, axis=0, connectivity=26) == 1


def channel(width: float, axis: np.ndarray, shift: float, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A slab or cylinder of a width between two halves of a block, with its two ends."""
    grid = (np.stack(np.indices((27, 27, 27)), axis=-1) - 13.0) - shift * np.array([0.3, 0.5, 0.8])
    along = grid @ axis
    if kind == "slab":
        across = np.abs(grid @ np.cross(axis, [0.36, 0.48, 0.8]) / np.linalg.norm(np.cross(axis, [0.36, 0.48, 0.8])))
    else:
        across = np.sqrt(np.maximum((grid**2).sum(axis=-1) - along**2, 0))
    phase = (across < width / 2) | (np.abs(along) > 8)
    return phase, along < -8, along > 8


@pytest.mark.parametrize(("kind", "offset"), [("slab", 0.3), ("cylinder", -0.7)])
def test_the_largest_ball_through_a_channel_is_as_wide_as_the_channel(kind: str, offset: float) -> None:
    rng = np.random.default_rng(1)
    pulls, errors = [], []
    for _ in range(16):
        axis = rng.standard_normal(3)
        axis /= np.linalg.norm(axis)
        width = rng.uniform(4, 8)
        phase, start, end = channel(width, axis, rng.uniform(-0.5, 0.5), kind)
        found = percolation_diameter(phase, start, end, voxel_size=CUBE)
        errors.append(found.value - width)
        pulls.append((found.value - width) / found.total)
    assert np.mean(errors) == pytest.approx(offset, abs=0.15)
    assert np.std(errors) < 0.5
    assert np.mean(np.abs(pulls) < 2) > 0.9


def test_the_widest_of_several_ways_counts_at_its_narrowest() -> None:
    phase = np.zeros((15, 15, 40), dtype=bool)
    phase[1:14, 1:14, :10] = phase[1:14, 1:14, 30:] = True
    phase[2:5, 2:5, 10:30] = True  # 3 wide
    phase[6:13, 6:13, 10:20] = phase[7:12, 7:12, 20:30] = True  # 7, then 5 wide
    start, end = np.zeros_like(phase), np.zeros_like(phase)
    start[:, :, 0], end[:, :, -1] = True, True
    found = percolation_diameter(phase, start, end, voxel_size=(0.1, 0.1, 0.1))
    assert found.value == pytest.approx(0.5, abs=0.1 + 1e-6)
    phase[:, :, 25] = False
    assert percolation_diameter(phase, start, end, voxel_size=(0.1, 0.1, 0.1)).value == 0


def shell_with_hole(n: int, hole: float) -> tuple[np.ndarray, np.ndarray]:
    """Pore of a hollow ball (radii 9 and 15) with a straight hole to the outside, and a small closed void."""
    grid = np.stack(np.indices((n, n, n)), axis=-1) - (n - 1) / 2
    particle = np.linalg.norm(grid, axis=-1) < 15
    core = np.linalg.norm(grid, axis=-1) < 9
    pipe = (np.hypot(grid[..., 0], grid[..., 1]) < hole) & (grid[..., 2] > 0)
    closed = np.linalg.norm(grid - [0, 12, 0], axis=-1) < 2
    return (core | pipe | closed) & particle, particle


def test_the_wetted_surface_of_a_hollow_ball_with_a_hole() -> None:
    pore, particle = shell_with_hole(36, 3.0)
    found = wetted_surface(pore, particle, voxel_size=CUBE)
    cap = np.pi * 3**2
    assert found.envelope.value == pytest.approx(4 * np.pi * 15**2, rel=0.02)
    inner = 4 * np.pi * 9**2 - cap + 2 * np.pi * 3 * (np.sqrt(15**2 - 9) - np.sqrt(9**2 - 9))
    assert found.inner.value == pytest.approx(inner, rel=0.05)
    assert found.total.value == pytest.approx(4 * np.pi * 15**2 - cap + inner, rel=0.03)
    closed = pore.sum() - open_to_outside(pore, particle).sum()
    assert found.open_share == pytest.approx(1 - closed / pore.sum())


def test_a_face_that_cuts_a_particle_is_not_wetted_and_lets_nothing_in() -> None:
    """The upper half of the same ball: its closed void lies open at the cut, and so does the core."""
    pore, particle = shell_with_hole(36, 3.0)
    half = slice(18, None)
    found = wetted_surface(pore[half], particle[half], voxel_size=CUBE)
    whole = wetted_surface(pore, particle, voxel_size=CUBE)
    for cut, uncut in zip(found[:3], whole[:3], strict=True):
        assert cut.value == pytest.approx(uncut.value / 2, rel=0.02)
    plugged = pore[half] & (np.indices(pore[half].shape)[2] < 28)  # no hole: opened by the cut alone
    shut = wetted_surface(plugged, particle[half], voxel_size=CUBE)
    assert shut.open_share == 0
    assert shut.total == shut.envelope
    assert shut.envelope.value == pytest.approx(2 * np.pi * 15**2, rel=0.02)


def test_a_probe_larger_than_the_hole_stays_outside() -> None:
    pore, particle = shell_with_hole(36, 3.0)
    free, wide, small = (wetted_surface(pore, particle, voxel_size=CUBE, probe_diameter=d) for d in (0.0, 8.0, 4.0))
    assert wide.open_share < 0.05
    assert wide.total.value < 1.05 * free.envelope.value
    assert small.inner.value == pytest.approx(free.inner.value, rel=0.1)
    shares = [
        wetted_surface(pore, particle, voxel_size=CUBE, probe_diameter=d, surface=lambda m, v: Estimate(float(m.sum())))
        for d in (0.0, 2.0, 4.0, 5.0, 7.0)
    ]
    assert np.all(np.diff([one.open_share for one in shares]) < 0.01)
    assert shares[-1].open_share < 0.02


def test_surfaces_add_up_whatever_counts_them() -> None:
    pore, particle = rubble(5, 0.1)
    faces = lambda mask, edges: Estimate(  # noqa: E731
        float(sum(np.count_nonzero(np.diff(np.pad(mask, 1).astype(np.int8), axis=k)) for k in range(3)))
    )
    found = wetted_surface(pore, particle, voxel_size=FIBSEM, surface=faces)
    reached = open_to_outside(pore, particle)
    padded, solid = np.pad(reached, 1).astype(int), np.pad(particle & ~reached, 1).astype(int)
    touching = sum(np.count_nonzero(np.roll(padded, side, axis=k) & solid) for k in range(3) for side in (1, -1))
    assert found.inner.value == touching


def test_kernels_do_the_same_as_python(monkeypatch: pytest.MonkeyPatch) -> None:
    particle = ball(7, 3.2)
    grey = np.random.default_rng(4).random(particle.shape)
    levels = [0.1, 0.3, 0.6]
    phase, start, end = grey < 0.4, np.zeros(grey.shape, dtype=bool), np.zeros(grey.shape, dtype=bool)
    start[0], end[-1] = True, True
    curve = connection_curve(grey, particle, levels)
    width = percolation_diameter(phase, start, end, voxel_size=FIBSEM)
    pore, particle = (np.pad(one, 1) for one in (particle & phase, particle))
    joined = open_to_outside(pore, particle)
    for name in ("_enter", "_joined", "_root", "_unite", "_unite_around", "root_of"):
        monkeypatch.setattr(connection_kernels, name, getattr(connection_kernels, name).py_func)
    for name in ("levels_of", "sizes_over_levels", "first_connection", "mark_joined"):
        monkeypatch.setattr(connection, name, getattr(connection_kernels, name).py_func)
    assert np.array_equal(connection_curve(grey, particle[1:-1, 1:-1, 1:-1], levels).open_porosity, curve.open_porosity)
    assert percolation_diameter(phase, start, end, voxel_size=FIBSEM) == width
    assert np.array_equal(open_to_outside(pore, particle), joined)
    known = wetted_surface(pore, particle, voxel_size=FIBSEM, reached=joined)
    assert known == wetted_surface(pore, particle, voxel_size=FIBSEM)


def test_what_cannot_be_asked_is_answered() -> None:
    pore, particle = rubble(1)
    grey = np.zeros(pore.shape)
    everywhere = np.ones_like(pore)
    with pytest.raises(MeasurementError, match="outside the particle"):
        open_to_outside(everywhere, particle)
    with pytest.raises(MeasurementError, match="fills the whole volume"):
        open_to_outside(pore, everywhere)
    with pytest.raises(MeasurementError, match="'pore' is empty"):
        open_to_outside(~everywhere, particle)
    with pytest.raises(MeasurementError, match="no such connectivity"):
        open_to_outside(pore, particle, connectivity=18)  # type: ignore[arg-type]
    with pytest.raises(MeasurementError, match="do not rise"):
        connection_curve(grey, particle, [0.2, 0.1])
    with pytest.raises(MeasurementError, match="not finite"):
        connection_curve(np.full(grey.shape, np.nan), particle, [0.2])
    with pytest.raises(MeasurementError, match="no walls"):
        percolation_diameter(everywhere, everywhere, everywhere, voxel_size=CUBE)
    with pytest.raises(MeasurementError, match="no such probe"):
        wetted_surface(pore, particle, voxel_size=CUBE, probe_diameter=-1.0)
