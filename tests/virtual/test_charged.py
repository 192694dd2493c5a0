"""The transport grid holds the particle, its nanodomains and a sampler that respects grain boundaries."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.charged import Sampler, TransportGrid, _sample, charged_particle, transport_grid
from cathoscope.virtual.grains import Grains, draw_grains
from cathoscope.virtual.heating import HeatingLaw
from cathoscope.virtual.particle import ParticleDesign
from cathoscope.virtual.specimen import Grid

LAW = HeatingLaw()
DESIGN = ParticleDesign("gravel", diameter=3.0, core_radius=0.6)


@pytest.fixture(scope="module")
def grains() -> Grains:
    return draw_grains(DESIGN, 7)


@pytest.fixture(scope="module")
def where(grains: Grains) -> TransportGrid:
    return transport_grid(grains, cells=20)


def sampler_of(labels: NDArray[np.int32], *fields: NDArray[np.float64]) -> Sampler:
    """Of fields (z, y, x) on a grid with cells of 0.5 um."""
    grid = Grid(labels.shape[2], labels.shape[0], 0.5)
    made = TransportGrid(grid, labels, int(labels.max()) + 1)
    return made.sampler(*(field[labels >= 0] for field in fields))


def places(count: int, reach: float, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(-reach, reach, (count, 3))


def labels_of(points: NDArray[np.float64], value: int) -> NDArray[np.int32]:
    return np.full(len(points), value, dtype=np.int32)


# -- the grid ------------------------------------------------------------------------------------


def test_every_cell_holds_the_grain_at_its_middle(grains: Grains, where: TransportGrid) -> None:
    rng = np.random.default_rng(2)
    index = rng.integers(0, 20, (200, 3))
    axis = where.grid.positions(20)
    points = np.stack([axis[index[:, 2]], axis[index[:, 1]], axis[index[:, 0]]], axis=1)
    np.testing.assert_array_equal(where.labels[tuple(index.T)], grains.labels(points))


def test_the_grid_holds_the_whole_particle_within_gas(where: TransportGrid) -> None:
    inside = where.labels >= 0
    for axis in range(3):
        ends = np.moveaxis(inside, axis, 0)[[0, -1]]
        assert not ends.any()
    volume = inside.sum() * where.grid.pixel_size**3
    assert volume == pytest.approx(DESIGN.envelope_volume - 4 / 3 * np.pi * 0.6**3, rel=0.03)


@pytest.mark.parametrize("cells", [10, 14])
def test_a_grid_too_coarse_for_the_grains_is_refused_with_a_number_that_works(grains: Grains, cells: int) -> None:
    with pytest.raises(CathoscopeError, match="too coarse") as caught:
        transport_grid(grains, cells=cells)
    proposed = int(str(caught.value.cure).split()[1])
    assert transport_grid(grains, cells=proposed).labels.shape == (proposed,) * 3


def test_gas_takes_the_value_of_the_nearest_cell(where: TransportGrid) -> None:
    inside = where.labels >= 0
    cells = np.random.default_rng(1).normal(size=inside.sum())
    volume = where.spread(cells)
    np.testing.assert_allclose(volume[inside], cells, rtol=1e-6)
    filled = np.argwhere(inside)
    for gas in np.argwhere(~inside)[::97]:
        squared = ((filled - gas) ** 2).sum(axis=1)
        nearest = cells[squared == squared.min()]
        assert np.abs(nearest - volume[tuple(gas)]).min() < 1e-6


# -- the sampler ---------------------------------------------------------------------------------


def test_a_linear_field_within_one_grain_is_met_exactly() -> None:
    labels = np.zeros((9, 9, 9), dtype=np.int32)
    axis = Grid(9, 9, 0.5).positions(9)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    sampler = sampler_of(labels, 1 + 2 * x - 3 * y + 0.5 * z, 7 - z)
    points = places(300, 1.99)
    for label in (0, -1):
        found = sampler.at(points, labels_of(points, label))
        assert found.shape == (300, 2)
        np.testing.assert_allclose(found[:, 0], 1 + points @ [2, -3, 0.5], atol=1e-5)
        np.testing.assert_allclose(found[:, 1], 7 - points[:, 2], atol=1e-5)


def halves() -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Grain 0 with the value 1 at x < 0, grain 1 with the value 5 beyond; no cell of grain 2 at all."""
    labels = np.zeros((8, 8, 8), dtype=np.int32)
    labels[..., 4:] = 1
    return labels, 1.0 + 4.0 * labels


def test_grains_are_never_mixed() -> None:
    labels, field = halves()
    sampler = sampler_of(labels, field)
    points = places(500, 1.7)
    for grain, value in ((0, 1.0), (1, 5.0)):
        np.testing.assert_allclose(sampler.at(points, labels_of(points, grain)), value, rtol=1e-6)
    across = sampler.at(points, labels_of(points, -1))[:, 0]
    near = np.abs(points[:, 0]) < 0.25
    np.testing.assert_allclose(across[near], 3 + 8 * points[near, 0], atol=1e-5)


def test_a_grain_far_away_is_represented_by_its_mean() -> None:
    labels, _ = halves()
    field = np.random.default_rng(5).normal(size=labels.shape)
    sampler = sampler_of(labels, field)
    far = np.array([[1.5, 0.0, 0.0], [1.0, 1.0, -1.0]])
    np.testing.assert_allclose(sampler.at(far, labels_of(far, 0)), field[labels == 0].mean(), rtol=1e-5)


def test_a_grain_without_cells_takes_the_mean_of_the_particle() -> None:
    labels, _ = halves()
    field = np.random.default_rng(6).normal(size=labels.shape)
    sampler = TransportGrid(Grid(8, 8, 0.5), labels, 3).sampler(field.ravel())
    points = places(3, 1.0)
    np.testing.assert_allclose(sampler.at(points, labels_of(points, 2)), field.mean(), rtol=1e-4)


def test_values_lie_between_those_of_the_grain(where: TransportGrid, grains: Grains) -> None:
    inside = where.labels >= 0
    cells = np.random.default_rng(3).normal(size=inside.sum())
    points = places(2_000, 1.4, seed=8)
    label = grains.labels(points)
    found = where.sampler(cells).at(points, label)[:, 0]
    of_cell = where.labels[inside]
    for grain in np.unique(label[label >= 0])[::5]:
        own = cells[of_cell == grain]
        if own.size:
            assert found[label == grain].min() >= own.min() - 1e-5
            assert found[label == grain].max() <= own.max() + 1e-5


def test_the_compiled_kernel_does_what_is_written(where: TransportGrid, grains: Grains) -> None:
    inside = where.labels >= 0
    sampler = where.sampler(np.random.default_rng(3).normal(size=inside.sum()))
    points = places(60, 1.6, seed=9)
    label = grains.labels(points)
    assert (label < 0).any()
    out = np.empty((60, 1), dtype=np.float32)
    position = points / where.grid.pixel_size + 9.5
    _sample.py_func(out, position, label, where.labels, sampler.volume, sampler.means)
    np.testing.assert_allclose(out, sampler.at(points, label), rtol=1e-5, atol=1e-6)


# -- the charged particle ------------------------------------------------------------------------


def test_nanodomains_have_mean_zero_and_the_stated_spread(grains: Grains, where: TransportGrid) -> None:
    particle = charged_particle(grains, where, LAW, seed=(1, 2))
    assert particle.nanodomains.size == particle.medium.n_cells == (where.labels >= 0).sum()
    assert particle.nanodomains.mean() == pytest.approx(0, abs=1e-12)
    assert particle.nanodomains.std() == pytest.approx(LAW.line_spread, rel=1e-12)
    assert particle.nickel == DESIGN.core_composition["Ni"]


def test_cells_of_one_grain_are_alike_but_not_the_same(grains: Grains, where: TransportGrid) -> None:
    particle = charged_particle(grains, where, LAW, seed=(1, 2))
    of_cell = where.labels[where.labels >= 0]
    sizes = np.bincount(of_cell)
    means = np.bincount(of_cell, particle.nanodomains) / np.maximum(sizes, 1)
    within = np.mean((particle.nanodomains - means[of_cell]) ** 2)
    # 1 - 0.8² belongs to domains of 0.25 um, of which about 0.3 varies within grains of 0.5 um
    assert 0.07 < within / LAW.line_spread**2 < 0.14


def test_one_seed_makes_one_particle(grains: Grains, where: TransportGrid) -> None:
    first, again, other = (charged_particle(grains, where, LAW, seed=seed) for seed in ((1, 2), (1, 2), (1, 3)))
    np.testing.assert_array_equal(first.nanodomains, again.nanodomains)
    assert abs(np.corrcoef(first.nanodomains, other.nanodomains)[0, 1]) < 0.5


def test_a_closed_core_takes_its_own_surface_from_the_exchange(grains: Grains, where: TransportGrid) -> None:
    opened, closed = (
        charged_particle(grains, where, LAW, seed=(1,), closed_core=shut).medium for shut in (False, True)
    )
    assert opened.n_cells == closed.n_cells
    assert closed.surface_area == pytest.approx(4 * np.pi * 1.5**2, rel=0.05)
    assert opened.surface_area - closed.surface_area == pytest.approx(4 * np.pi * 0.6**2, rel=0.25)
