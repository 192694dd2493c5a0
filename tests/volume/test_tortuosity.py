"""Transport through volumes of known conductivity: laminates, dilute spheres, lattices, and a direct solver."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve

from cathoscope.core.errors import MeasurementError
from cathoscope.volume import multigrid, multigrid_kernels, tortuosity_kernels
from cathoscope.volume.tortuosity import Transport, effective_conductivity, tortuosity

CUBE = (0.1, 0.1, 0.1)
FIBSEM = (0.019, 0.0135, 0.0135)


def directly(field: np.ndarray, edges: tuple[float, float, float]) -> float:
    """D_eff along z by sparse elimination of the same equations, written down voxel by voxel in float64."""
    number = -np.ones(field.shape, dtype=int)
    number[field > 0] = np.arange(np.count_nonzero(field))
    n = number.max() + 1
    diagonal, right, rows, columns, values = np.zeros(n), np.zeros(n), [], [], []
    area = np.prod(edges) / np.array(edges)
    for place in np.argwhere(field > 0):
        i = number[tuple(place)]
        for axis in range(3):
            other = place.copy()
            other[axis] += 1
            if other[axis] < field.shape[axis] and number[tuple(other)] >= 0:
                a, b = field[tuple(place)], field[tuple(other)]
                g = 2 * a * b / (a + b) * area[axis] / edges[axis]
                j = number[tuple(other)]
                diagonal[[i, j]] += g
                rows += [i, j]
                columns += [j, i]
                values += [-g, -g]
        for end in (0, field.shape[0] - 1):
            if place[0] == end:
                g = 2 * field[tuple(place)] * area[0] / edges[0]
                diagonal[i] += g
                right[i] += g * (end == 0)
    # parts without electrode have any potential
    matrix = sp.csr_array((values, (rows, columns)), shape=(n, n)) + sp.diags_array(diagonal + 1e-12 * diagonal.max())
    potential = spsolve(matrix.tocsc(), right)
    first = number[0] >= 0
    flux = (2 * field[0][first] * area[0] / edges[0] * (1 - potential[number[0][first]])).sum()
    return flux * field.shape[0] * edges[0] / (area[0] * field[0].size)


def maze(n: int, seed: int, share: float = 0.45) -> np.ndarray:
    """A branched phase with thin walls and dead ends."""
    rng = np.random.default_rng(seed)
    rough = rng.standard_normal((n, n, n))
    for axis in range(3):
        rough = rough + np.roll(rough, 1, axis)
    return rough > np.quantile(rough, 1 - share)


@pytest.mark.parametrize("axis", [1, 2])
def test_a_laminate_conducts_like_layers_in_parallel_along_and_in_series_across(axis: int) -> None:
    layers = np.array([1.0, 0.2, 3.0, 0.7, 1.0, 0.05, 2.0, 1.5, 0.4])
    field = np.broadcast_to(layers[:, None, None], (9, 6, 8))
    along = effective_conductivity(field, voxel_size=FIBSEM, axis=axis)
    across = effective_conductivity(field, voxel_size=FIBSEM, axis=0)
    assert along.relative_conductivity.value == pytest.approx(layers.mean(), rel=2e-6)
    assert along.tortuosity.value == pytest.approx(1.0, rel=2e-6)
    assert across.relative_conductivity.value == pytest.approx(1 / (1 / layers).mean(), rel=1e-4)


def test_straight_channels_have_tortuosity_one_and_conduct_their_share() -> None:
    phase = np.zeros((12, 10, 11), dtype=bool)
    phase[:, 2:4, 3:9] = phase[:, 6, 1] = True
    found = tortuosity(phase, voxel_size=FIBSEM)
    assert found.tortuosity.value == pytest.approx(1.0, abs=1e-6)
    assert found.relative_conductivity.value == pytest.approx(13 / 110, rel=1e-6)
    assert (found.percolating, found.share) == (1.0, pytest.approx(13 / 110))


@pytest.mark.parametrize(("seed", "edges"), [(0, CUBE), (1, FIBSEM)])
def test_a_maze_has_the_conductivity_of_a_direct_solution(seed: int, edges: tuple[float, float, float]) -> None:
    phase = maze(13, seed)
    found = tortuosity(phase, voxel_size=edges, tolerance=1e-4)
    expected = directly(phase.astype(float), edges)
    assert found.relative_conductivity.value == pytest.approx(expected, rel=1e-4)
    assert found.tortuosity.value == pytest.approx(phase.mean() / expected, rel=1e-4)


def test_many_conductivities_agree_with_a_direct_solution_whatever_their_unit() -> None:
    rng = np.random.default_rng(5)
    field = 10 ** rng.uniform(-3, 1, (12, 11, 10)) * maze(12, 3, 0.8)[:, :11, :10]
    found = effective_conductivity(1e-9 * field, voxel_size=FIBSEM, tolerance=1e-3)
    assert found.relative_conductivity.value == pytest.approx(1e-9 * directly(field, FIBSEM), rel=1e-3)


def around_spheres(n: int, radius: float, lattice: str) -> np.ndarray:
    """Conducting share of voxels around balls in a cubic box, centred (``bcc``: and an eighth in every corner)."""
    offsets = (np.arange(3 * n) + 0.5) / 3 - n / 2
    axes = np.meshgrid(offsets, offsets, offsets, indexing="ij", sparse=True)
    inside = sum(one**2 for one in axes) < radius**2
    if lattice == "bcc":
        inside |= sum((np.abs(one) - n / 2) ** 2 for one in axes) < radius**2
    return 1 - inside.reshape(n, 3, n, 3, n, 3).mean(axis=(1, 3, 5))


def obstruction(field: np.ndarray) -> float:
    """1 - D_eff over what Maxwell (1873) has for insulating spheres in a conductor: D_eff = 2 phi / (3 - phi)."""
    found = effective_conductivity(field, voxel_size=CUBE).relative_conductivity.value
    return (1 - found) / (1 - 2 * field.mean() / (3 - field.mean()))


@pytest.mark.parametrize("lattice", ["cubic", "bcc"])
def test_lattices_of_insulating_spheres_obey_maxwell_as_voxels_become_small(lattice: str) -> None:
    # Maxwell holds for lattices to order share^(10/3). Steps of voxels obstruct too: by 0.6 / radius, by half of that
    # where conductivities are the shares of voxels; the limit follows from two sizes
    fine, coarse = (around_spheres(n, 7 * n / 32, lattice) for n in (32, 16))
    assert 2 * obstruction(fine) - obstruction(coarse) == pytest.approx(1, abs=0.01)
    assert 1 < obstruction((fine > 0.5).astype(float)) < 1.1


def test_what_flows_in_flows_out_and_the_spread_tells_the_error() -> None:
    phase = maze(24, 7, 0.4)
    exact = tortuosity(phase, voxel_size=CUBE, tolerance=2e-5)
    assert exact.flux_in == pytest.approx(1, abs=2e-5)
    assert exact.flux_out == pytest.approx(1, abs=2e-5)
    for tolerance in (1e-1, 1e-2, 1e-3):
        rough = tortuosity(phase, voxel_size=CUBE, tolerance=tolerance)
        assert rough.spread <= tolerance
        assert abs(rough.tortuosity.value - exact.tortuosity.value) <= rough.tortuosity.systematic + 2e-5


def test_dead_ends_and_closed_parts_carry_nothing() -> None:
    phase = np.zeros((10, 9, 9), dtype=bool)
    phase[:, 4, 4] = True
    alone = tortuosity(phase, voxel_size=CUBE)
    phase[3:6, 5:8, 4] = True  # dead end
    phase[1:9, 1:3, 1:3] = True  # closed
    found = tortuosity(phase, voxel_size=CUBE)
    # the channel is a little wider along the dead end: no more than half again on a third of its length
    assert 1 <= found.relative_conductivity.value / alone.relative_conductivity.value < 1.3
    assert found.percolating == pytest.approx(19 / 51)


def test_axes_are_what_they_say() -> None:
    phase = maze(14, 9)
    for axis, turned in ((1, phase.transpose(1, 0, 2)), (2, phase.transpose(2, 0, 1))):
        edges = (0.019, 0.0135, 0.016)
        order = (1, 0, 2) if axis == 1 else (2, 0, 1)
        first = tortuosity(phase, voxel_size=edges, axis=axis)
        second = tortuosity(turned, voxel_size=tuple(edges[k] for k in order), axis=0)  # type: ignore[arg-type]
        assert first.tortuosity.value == pytest.approx(second.tortuosity.value, rel=1e-6)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (np.zeros((4, 4, 4)), "is empty"),
        (np.full((4, 4, 4), np.nan), "cannot be"),
        (-np.ones((4, 4, 4)), "cannot be"),
        (np.ones((4, 4)), "no volume"),
        (np.repeat([1.0, 0.0, 1.0], 16).reshape(3, 4, 4), "no path"),
    ],
)
def test_what_cannot_conduct_is_answered(field: np.ndarray, words: str) -> None:
    with pytest.raises(MeasurementError, match=words):
        effective_conductivity(field, voxel_size=CUBE)


def test_a_tolerance_beyond_single_precision_is_refused() -> None:
    with pytest.raises(MeasurementError, match="not solved"):
        tortuosity(maze(13, 2), voxel_size=CUBE, tolerance=1e-12)


def test_axis_and_voxel_must_exist() -> None:
    with pytest.raises(MeasurementError, match="no such axis"):
        effective_conductivity(np.ones((4, 4, 4)), voxel_size=CUBE, axis=3)
    with pytest.raises(MeasurementError, match="size of the voxels"):
        effective_conductivity(np.ones((4, 4, 4)), voxel_size=(0.0, 1.0, 1.0))


def test_a_box_full_of_conductor_is_free_space() -> None:
    found = tortuosity(np.ones((5, 6, 7), dtype=bool), voxel_size=FIBSEM)
    assert isinstance(found, Transport)
    assert found.tortuosity.value == pytest.approx(1, abs=1e-6)


def as_python(module: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the kernels of a module as Python."""
    for name, one in vars(module).items():
        if hasattr(one, "py_func"):
            monkeypatch.setattr(module, name, one.py_func)


def test_kernels_do_the_same_as_python(monkeypatch: pytest.MonkeyPatch) -> None:
    phase = maze(6, 4, 0.6)
    compiled = tortuosity(phase, voxel_size=FIBSEM, tolerance=1e-4)
    monkeypatch.setattr(multigrid, "_FEWEST", 4)
    for module in (multigrid_kernels, tortuosity_kernels):
        as_python(module, monkeypatch)
    plain = tortuosity(phase, voxel_size=FIBSEM, tolerance=1e-4)
    assert plain.tortuosity.value == pytest.approx(compiled.tortuosity.value, rel=1e-4)
