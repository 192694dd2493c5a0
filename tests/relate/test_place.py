"""Distances in shapes whose distances are known; what depends on a place is found there, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.relate.distances import (
    CORE,
    CRACK,
    MIDDLE,
    PORE_CRACK,
    PORE_VOID,
    SURFACE,
    WAY,
    away_from_edges,
    distances,
    turn_from_radius,
)
from cathoscope.relate.place import of_particles, places_of, relations

_GRID = np.indices((40, 40, 40)) - 19.5
_RADIUS = np.linalg.norm(_GRID, axis=0)
_INSIDE = _RADIUS < 18.0


def _pores() -> np.ndarray:
    """A crack from the outside, one that is closed in, and a core."""
    kind = np.where(_RADIUS < 5.0, CORE, 0)
    flat = np.abs(_GRID[0]) < 1.0
    kind[flat & (_GRID[2] > 8.0) & _INSIDE] = CRACK
    kind[(np.abs(_GRID[0] - 9.5) < 0.6) & (np.abs(_GRID[1]) < 3) & (np.abs(_GRID[2]) < 3)] = CRACK
    return kind


def test_distances_are_those_of_the_shapes() -> None:
    found = dict(distances(_INSIDE, voxel=0.1, pore_kind=_pores()))
    np.testing.assert_allclose(found[SURFACE][_INSIDE], 0.1 * (18.0 - _RADIUS[_INSIDE]), atol=0.11)
    np.testing.assert_allclose(found[MIDDLE][_INSIDE], 0.1 * _RADIUS[_INSIDE], atol=1e-9)
    core = _INSIDE & (_RADIUS > 6.0)
    np.testing.assert_allclose(found[PORE_VOID][core], 0.1 * (_RADIUS[core] - 5.0), atol=0.11)
    above = (np.abs(_GRID[1]) < 1) & (_GRID[2] > 10) & (_GRID[2] < 13) & (_GRID[0] > 1) & (_GRID[0] < 8)
    # the closed crack at 9.5 does not count, whose distance would be smaller
    np.testing.assert_allclose(found[PORE_CRACK][above], 0.1 * (_GRID[0][above] - 1.0), atol=0.11)
    assert WAY not in found


def test_edges_are_left_out() -> None:
    kept = away_from_edges(_INSIDE, _pores())
    assert not kept[_RADIUS > 17.4].any()
    assert not kept[(_RADIUS < 6.0) & (_RADIUS > 5.0)].all()
    assert kept[(_RADIUS < 16.5) & (_RADIUS > 14.0) & (_GRID[2] < 0)].all()


def test_planes_along_the_radius_are_told_from_planes_across() -> None:
    along, across = np.array([[1.0, 0.0, 0.0]]), np.array([[0.0, 0.0, 1.0]])
    line = (np.abs(_GRID[0]) < 1) & (np.abs(_GRID[1]) < 1) & (_GRID[2] > 10) & _INSIDE
    grain = _INSIDE.astype(int)
    assert turn_from_radius(_INSIDE, grain, along)[line].min() > 0.99
    assert turn_from_radius(_INSIDE, grain, across)[line].max() < 0.01
    assert np.isnan(turn_from_radius(_INSIDE, 0 * grain, along)).all()


def test_a_dependence_is_found_where_it_is_and_without_the_noise() -> None:
    good = away_from_edges(_INSIDE, _pores()) & _INSIDE & (_pores() == 0)
    known = {name: one[good] for name, one in distances(_INSIDE, voxel=0.1, pore_kind=_pores())}
    places = places_of(good, known, across=20)
    assert places.edge == 2
    rng = np.random.default_rng(3)
    noise = 0.3
    truth = 0.5 * places.variables[PORE_CRACK] + 0.1 * rng.standard_normal(places.good.sum())
    found = relations(places, truth + noise * rng.standard_normal(truth.size), np.full(truth.size, noise))
    row = found.names.index(PORE_CRACK)
    reach = np.ptp(found.span[row])
    assert found.partial_effect[row] == pytest.approx(0.5 * reach, abs=4 * found.partial_effect_std[row])
    assert found.partial_probability[row] < 1e-6
    others = [k for k in range(len(found.names)) if k != row]
    pulls = found.partial_effect[others] / found.partial_effect_std[others]
    assert (np.abs(pulls[np.isfinite(pulls)]) < 4).all()
    clean = np.corrcoef(truth, places.variables[PORE_CRACK])[0, 1]
    assert found.true_correlation[row] == pytest.approx(clean, abs=0.02)
    assert abs(found.correlation[row]) < 0.95 * abs(clean)
    np.testing.assert_allclose(np.nanmean(found.curve[row]), (truth).mean(), atol=0.02)


def test_a_line_that_follows_another_variable_cannot_be_told() -> None:
    """In a full ball depth and distance to the middle are one."""
    good = away_from_edges(_INSIDE)
    places = places_of(good, {name: one[good] for name, one in distances(_INSIDE, voxel=0.1)}, across=16)
    y = np.random.default_rng(0).standard_normal(good.sum())
    found = relations(places, y, None)
    assert found.names == (SURFACE, MIDDLE)
    assert np.isfinite(found.partial_effect[0])
    assert np.isnan(found.partial_effect[1])
    assert np.isnan(found.true_correlation).all()


def test_particles_are_a_sample_of_all_and_one_speaks_for_itself() -> None:
    effect, std = np.array([[0.4, 0.0]]), np.array([[0.1, 0.1]])
    mean, error, p = of_particles(effect, std, np.array([[1e6, 1e6]]))
    np.testing.assert_allclose([mean, error], [effect[0], std[0]])
    np.testing.assert_allclose(p, [2 * 6.334e-5, 1.0], rtol=1e-3)  # twice the normal tail at 4, two tests
    apart = of_particles(np.array([[0.5], [-0.5], [0.1]]), np.full((3, 1), 0.01), np.full((3, 1), 1e6))
    assert apart[2][0] > 0.5  # they differ by far more than they are uncertain


def test_without_voxels_there_is_no_place() -> None:
    with pytest.raises(MeasurementError, match="no voxel"):
        places_of(np.zeros((4, 4, 4), bool), {SURFACE: np.zeros(0)})
