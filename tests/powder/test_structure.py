"""Cells, spacings and reflections of powders."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import gemmi
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.crystal import Phase, Site
from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import seeded, value_of
from cathoscope.powder.structure import (
    cell_mass,
    cell_rule,
    density,
    metric_from_cell,
    reciprocal_matrix,
    reflections_between,
    require_cell,
    shared_positions,
    spacing_from_metric,
    volume_from_cell,
)
from cathoscope.powder.symmetry import multiplicities, representatives, symmetry_of
from tests.powder.crystals import ANGLESITE, NMC, SPINEL

SETTINGS = [one.xhm() for one in gemmi.spacegroup_table()]
CELLS = {
    "P -1": (5.1, 6.2, 7.3, 80.0, 101.0, 94.0),
    "P 1 21/c 1": (5.1, 6.2, 7.3, 90.0, 101.0, 90.0),
    "R -3 m:H": (2.84, 2.84, 14.3, 90.0, 90.0, 120.0),
    "R -3 m:R": (5.04, 5.04, 5.04, 32.7, 32.7, 32.7),
    "F d -3 m:2": (8.12, 8.12, 8.12, 90.0, 90.0, 90.0),
    "I 41/a m d:2": (5.7, 5.7, 8.2, 90.0, 90.0, 90.0),
}


@pytest.mark.parametrize("name", [*SETTINGS[::9], "R -3 m:R", "P 1 1 21/b"])
def test_the_cell_of_every_setting_has_its_symmetry_and_no_parameter_less(name: str) -> None:
    symmetry = symmetry_of(name)
    rule = cell_rule(symmetry)
    free = [5.0 + 1.3 * n if one in "abc" else 81.0 + 2 * n for n, one in enumerate(rule.names)]
    metric = reciprocal_matrix(metric_from_cell(cell=rule.values(np.array(free))))
    rotations = symmetry.rotations.astype(float)
    directions = np.array([np.outer(one, two) + np.outer(two, one) for one, two in product(np.eye(3), repeat=2)])
    kept = np.mean([np.einsum("ij,njk,lk->nil", turn, directions, turn) for turn in rotations], axis=0)

    assert np.allclose(rotations @ metric @ rotations.transpose(0, 2, 1), metric, atol=1e-12)
    assert len(rule.names) == np.linalg.matrix_rank(kept.reshape(9, 9), tol=1e-9)


@pytest.mark.parametrize("name", CELLS)
def test_spacings_and_volume_are_those_of_gemmi(name: str) -> None:
    cell = gemmi.UnitCell(*CELLS[name])
    hkl = np.array(list(product(range(-3, 4), repeat=3)))
    hkl = hkl[np.any(hkl, axis=1)]
    spacing = value_of(spacing_from_metric(hkl=hkl, metric=metric_from_cell(cell=CELLS[name])))

    assert np.allclose(spacing, cell.calculate_d_array(hkl.astype(np.int32)), rtol=1e-12)
    assert value_of(volume_from_cell(cell=CELLS[name])) == pytest.approx(cell.volume, rel=1e-12)


@given(st.sampled_from(sorted(CELLS)), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_spacings_and_volumes_have_exact_derivatives(name: str, seed: int) -> None:
    rule = cell_rule(symmetry_of(name))
    free = rule.free(CELLS[name])
    hkl = np.random.default_rng(seed).integers(-5, 6, (4, 3)) * 2 + 1

    def both(point: object) -> object:
        cell = rule.values(point)
        return spacing_from_metric(hkl=hkl, metric=metric_from_cell(cell=cell)), volume_from_cell(cell=cell)

    graded = both(seeded(free))
    for number in range(free.size):
        step = 1e-5 * np.eye(free.size)[number]
        for one, above, below in zip(graded, both(free + step), both(free - step), strict=True):
            assert np.allclose(one.slope[..., number], (above - below) / 2e-5, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("phase", [NMC, SPINEL, ANGLESITE])
def test_a_phase_obeys_its_own_group(phase: Phase) -> None:
    require_cell(symmetry_of(phase.space_group), phase.cell)


@pytest.mark.parametrize(
    "cell",
    [
        (2.84, 2.85, 14.3, 90, 90, 120),
        (2.84, 2.84, 14.3, 90, 90, 90),
        (5.04, 5.04, 5.04, 32.7, 32.7, 32.7),
        (2.84, 2.84, 14.3),
    ],
)
def test_a_cell_against_its_group_is_refused(cell: tuple[float, ...]) -> None:
    with pytest.raises(MeasurementError, match="cell"):
        require_cell(symmetry_of("R -3 m:H"), cell)


def test_a_flat_cell_is_refused() -> None:
    with pytest.raises(MeasurementError, match="not a cell"):
        require_cell(symmetry_of("P -1"), (5, 5, 5, 120, 120, 120))


@pytest.mark.parametrize("name", ["P 1 21/c 1", "R -3 m:H", "R -3 m:R", "F d -3 m:2", "I 41/a m d:2"])
def test_no_reflection_is_lost_or_counted_twice(name: str) -> None:
    symmetry, cell = symmetry_of(name), CELLS[name]
    found = reflections_between(symmetry, cell, 1.1, 4.0)
    box = np.array(list(product(range(-14, 15), repeat=3)))
    box = box[np.any(box, axis=1)]
    spacing = value_of(spacing_from_metric(hkl=box, metric=metric_from_cell(cell=cell)))
    box = box[(spacing >= 1.1) & (spacing <= 4.0)]
    group = gemmi.find_spacegroup_by_name(name).operations()
    present = ~group.systematic_absences(box.astype(np.int32))
    d = value_of(spacing_from_metric(hkl=found.hkl, metric=metric_from_cell(cell=cell)))

    assert found.multiplicity.sum() == np.count_nonzero(present)
    assert {tuple(one) for one in representatives(symmetry, box[present])} == {tuple(one) for one in found.hkl}
    assert np.all(np.diff(d) < 1e-9)


def test_reflections_of_equal_spacing_stand_apart() -> None:
    found = reflections_between(symmetry_of(SPINEL.space_group), SPINEL.cell, 1.5, 1.6)

    assert found.hkl.tolist() == [[3, 3, 3], [5, 1, 1]]
    assert found.multiplicity.tolist() == [8, 24]


def test_reflections_and_multiplicities_are_those_of_gsas2(data_folder: Path) -> None:
    stored = np.load(data_folder / "diffraction" / "sim-nmc-spinel" / "gsas2_clean_pattern.npz")
    for phase, name in ((NMC, "R_NMC"), (SPINEL, "R_spinel")):
        table, symmetry = stored[name], symmetry_of(phase.space_group)
        hkl, d = table[:, :3].astype(int), table[:, 4]
        metric = metric_from_cell(cell=phase.cell)
        found = reflections_between(symmetry, phase.cell, d.min() - 1e-7, d.max() + 1e-7)

        assert np.array_equal(multiplicities(symmetry, hkl), table[:, 3])
        assert np.allclose(value_of(spacing_from_metric(hkl=hkl, metric=metric)), d, rtol=1e-12)
        assert sorted(map(tuple, found.hkl)) == sorted(map(tuple, representatives(symmetry, hkl)))


@pytest.mark.parametrize(("low", "high"), [(0.0, 2.0), (2.0, 1.0), (-1.0, 2.0)])
def test_an_empty_range_is_refused(low: float, high: float) -> None:
    with pytest.raises(MeasurementError, match="no range of spacings"):
        reflections_between(symmetry_of("P -1"), CELLS["P -1"], low, high)


def test_no_reflection_and_too_many_are_refused() -> None:
    with pytest.raises(MeasurementError, match="no reflection between"):
        reflections_between(symmetry_of("F d -3 m:2"), CELLS["F d -3 m:2"], 5.0, 9.0)
    with pytest.raises(MeasurementError, match="more than 1000 reflections"):
        reflections_between(symmetry_of("P -1"), CELLS["P -1"], 0.2, 9.0, limit=1000)


# CRC Handbook: densities at 20 C.
@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        (
            Phase("", "F m -3 m", (5.6402,) * 3 + (90,) * 3, (Site("", "Na", (0, 0, 0)), Site("", "Cl", (0.5,) * 3))),
            2.17,
        ),
        (Phase("", "F d -3 m:1", (5.4310,) * 3 + (90,) * 3, (Site("", "Si", (0, 0, 0)),)), 2.329),
        (ANGLESITE, 6.32),
    ],
)
def test_densities(phase: Phase, expected: float) -> None:
    assert density(phase) == pytest.approx(expected, rel=0.005)


def test_cell_masses_are_those_of_gsas2(data_folder: Path) -> None:
    stored = np.load(data_folder / "diffraction" / "sim-nmc-spinel" / "gsas2_clean_pattern.npz")["mass"]
    # GSAS-II has atomic weights of 1989: 6.941 for Li instead of 6.94, 58.70 for Ni instead of 58.693.
    assert [cell_mass(NMC), cell_mass(SPINEL)] == pytest.approx(stored, rel=6e-5)


def test_bonds_of_anglesite_are_those_published() -> None:
    cell = gemmi.UnitCell(*ANGLESITE.cell)
    operations = gemmi.find_spacegroup_by_name(ANGLESITE.space_group).operations()
    atoms = {site.label: gemmi.Fractional(*site.position) for site in ANGLESITE.sites}

    def neighbours(centre: str, within: float) -> list[float]:
        lengths = set()
        for label in ("O1", "O2", "O3"):
            for operation, *shift in product(operations, *[(-1, 0, 1)] * 3):
                image = gemmi.Fractional(*np.add(operation.apply_to_xyz(atoms[label].tolist()), shift))
                offset = cell.orthogonalize(image) - cell.orthogonalize(atoms[centre])
                if offset.length() < within:
                    lengths.add((label, *np.round(offset.tolist(), 5)))
        return [float(np.linalg.norm(one[1:])) for one in lengths]

    sulphate = neighbours("S1", 2.0)
    assert len(sulphate) == 4
    assert np.mean(sulphate) == pytest.approx(1.49, abs=0.015)
    assert np.ptp(sulphate) < 0.1
    assert np.mean(neighbours("Pb1", 3.35)) == pytest.approx(2.87, abs=0.03)


def test_mixed_sites_stand_together() -> None:
    assert shared_positions(symmetry_of(NMC.space_group), NMC.sites) == ((0, 1), (2, 3, 4, 5), (6,))
    elsewhere = (*NMC.sites, Site("Al", "Al", (1 / 3, 2 / 3, 2 / 3)), Site("V", "V", (2 / 3, 1 / 3, 0.333333 - 0.236)))
    assert shared_positions(symmetry_of(NMC.space_group), elsewhere) == ((0, 1), (2, 3, 4, 5, 7), (6, 8))
