"""Crystals of a heated powder: composition closes, classes conserve, what is put in is what is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import CathoscopeError
from cathoscope.physics.species import atomic_mass
from cathoscope.virtual.diffraction_powder import (
    GRAVEL_CRYSTAL,
    ROD_CRYSTAL,
    Course,
    Local,
    crystals,
    distribution,
    layered_phase,
    local_states,
    scatter_of,
    spinel_phase,
    starting_phases,
)
from cathoscope.virtual.diffraction_structure import contents
from cathoscope.virtual.heating import HeatingLaw, State
from cathoscope.virtual.particle import GRAVEL, ROD

LAW = HeatingLaw()
METALS = ROD.core_composition


def local(temperature: float, spinel: float, later: float = 0.0, charge: float = 0.0, cells: int = 3) -> Local:
    return Local(temperature, *(np.full(cells, value) for value in (spinel, later, charge)))


def scattered(cells: int = 5000) -> Local:
    rng = np.random.default_rng(3)
    return Local(150.0, rng.beta(0.6, 0.8, cells), rng.beta(1, 5, cells), 0.4 * rng.standard_normal(cells))


def test_a_course_begins_at_its_start_and_ends_at_its_rise() -> None:
    course = Course(2.0, slope=1e-3, rise=0.5, middle=120.0, width=5.0)
    assert course(25.0) == 2.0
    assert course(250.0) == pytest.approx(2.0 + 0.225 + 0.5, abs=1e-7)
    assert course(120.0) == pytest.approx(2.0 + 0.095 + 0.25, abs=1e-7)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_classes_conserve_the_material_and_its_mean(classes: int, cells: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.uniform(0, 1, cells) * (rng.uniform(size=cells) > 0.3)
    weight[0] = 1.0
    lattice = np.stack([rng.normal(2.8, 0.01, cells), rng.normal(14.4, 0.05, cells)], axis=1)
    shares, means = distribution(weight, lattice, classes)
    assert len(shares) <= classes
    assert shares.min() > 0
    assert shares.sum() == pytest.approx(1.0, rel=1e-12)
    np.testing.assert_allclose(shares @ means, weight @ lattice / weight.sum(), rtol=1e-12)
    assert np.all(np.diff(means[:, 1]) >= 0)


def test_many_classes_keep_the_spread() -> None:
    rng = np.random.default_rng(1)
    lattice = np.stack([np.full(20_000, 2.8), rng.normal(14.4, 0.05, 20_000)], axis=1)
    shares, means = distribution(np.ones(20_000), lattice, 24)
    np.testing.assert_allclose(shares, 1 / 24, rtol=0.01)
    spread = np.sqrt(shares @ (means[:, 1] - 14.4) ** 2)
    assert spread == pytest.approx(0.05, rel=0.02)
    with pytest.raises(CathoscopeError, match="without material"):
        distribution(np.zeros(3), lattice[:3], 4)


def test_before_heating_there_is_one_phase_with_the_cells_of_the_law() -> None:
    made = crystals(local(25.0, 0.0), GRAVEL_CRYSTAL, LAW, GRAVEL.core_composition)
    assert made.portions[1] is None
    assert made.found["lattice_c"][0] == pytest.approx(14.44, abs=1e-12)
    assert made.found["weight_fraction"].tolist() == [1.0, 0.0]
    assert made.found["oxygen_occupancy"][0] == 1.0
    assert made.found["domain_aspect"][0] == 1.0
    assert all(np.isnan(values[1]) for name, values in made.found.items() if name != "weight_fraction")
    assert scatter_of(made.portions[0]) == pytest.approx((1.0, 0.0, 0.0))


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_oxygen_and_metal_close(share: float) -> None:
    """Oxygen per metal of both phases together is that of the mass law."""
    temperature, later = 180.0, 0.3
    made = crystals(local(temperature, share, later), ROD_CRYSTAL, LAW, METALS)
    atoms: dict[str, float] = {}
    for portion in made.portions:
        if portion:
            for species, count in contents(portion.phase).items():
                atoms[species] = atoms.get(species, 0.0) + portion.cells * count
    assert sum(atoms[metal] for metal in METALS) == pytest.approx(1.0, rel=1e-12)
    mass = 0.3 * atomic_mass(species="Li") + 2 * 15.999
    mass += sum(value * atomic_mass(species=metal) for metal, value in METALS.items())
    lost = float(LAW.mass_loss(share, share * later, temperature)) / 100 * mass / 15.999
    assert atoms["O"] == pytest.approx(2 - lost, rel=1e-12)
    assert atoms["Li"] == pytest.approx(0.3, rel=0.05)  # the spinel's site is not followed to the last atom


def test_nickel_and_lithium_change_places() -> None:
    few, many = (contents(layered_phase(METALS, (2.8, 14.4), lithium=0.3, antisite=m)) for m in (0.01, 0.08))
    assert few == pytest.approx(many, rel=1e-12)
    assert few["Ni"] == pytest.approx(3 * METALS["Ni"])
    spinel = contents(spinel_phase(METALS, 8.1, lithium=0.6, antisite=0.1))
    assert spinel["Li"] == pytest.approx(4.8)
    assert spinel["Ni"] == pytest.approx(16 * METALS["Ni"] + 0.8)
    assert spinel["O"] == 32


def test_weight_fractions_are_masses() -> None:
    made = crystals(local(150.0, 0.35), ROD_CRYSTAL, LAW, METALS)
    masses = []
    for portion in made.portions:
        assert portion is not None
        cell = sum(count * atomic_mass(species=species) for species, count in contents(portion.phase).items())
        masses.append(portion.cells * cell)
    np.testing.assert_allclose(made.found["weight_fraction"], np.array(masses) / sum(masses), rtol=1e-12)
    assert made.found["weight_fraction"][1] == pytest.approx(0.35, abs=0.01)


def test_homogeneous_phases_have_the_means_of_the_distribution() -> None:
    one, many = (crystals(scattered(), ROD_CRYSTAL, LAW, METALS, classes=classes) for classes in (1, 24))
    for name, values in one.found.items():
        np.testing.assert_allclose(values, many.found[name], rtol=1e-12)
    assert [len(portion.shares) for portion in one.portions if portion] == [1, 1]
    assert [len(portion.shares) for portion in many.portions if portion] == [24, 24]
    share, spread_a, spread_c = scatter_of(many.portions[0])
    assert share == pytest.approx(1 - scattered().spinel.mean(), rel=1e-12)
    assert 1e-4 < spread_a < 0.01 < spread_c < 0.1
    assert scatter_of(None)[0] == 0


def test_cells_follow_the_local_state() -> None:
    at = scattered()
    made = crystals(at, ROD_CRYSTAL, LAW, METALS)
    law, share = ROD_CRYSTAL, 1 - at.spinel
    c = law.c(150.0) + law.c_spinel * at.spinel + law.c_charge * at.charge
    assert made.found["lattice_c"][0] == pytest.approx(np.average(c, weights=share), rel=1e-12)
    a = law.spinel_a(150.0) + law.later_spinel * at.later - law.coherent * (1 - at.spinel)
    assert made.found["lattice_a"][1] == pytest.approx(np.average(a, weights=at.spinel), rel=1e-12)
    assert made.found["lattice_c"][1] == made.found["lattice_a"][1]


def test_charge_that_is_not_spread_evenly_is_told_apart_from_reduction() -> None:
    rng = np.random.default_rng(2)
    x1, x2, v, domains = (rng.uniform(size=50) for _ in range(4))
    domains -= domains.mean()
    line = LAW.charged_line + domains - LAW.line_of_spinel * x1 - LAW.line_of_later * x2 - v
    state = State(0.0, 120.0, x1, x2, v, line)

    def states() -> Iterator[State]:
        yield state

    (alone,) = local_states([states()], LAW)
    np.testing.assert_allclose(alone.charge, domains, atol=1e-12)
    (both,) = local_states([states(), states()], LAW)
    assert both.spinel.size == 100
    np.testing.assert_allclose(both.charge, np.tile(domains, 2), atol=1e-12)


def test_rod_and_gravel_differ_as_the_paper_says() -> None:
    rod, gravel = (
        [crystals(local(t, 0.0), law, LAW, METALS).found for t in (25.0, 138.0)]
        for law in (ROD_CRYSTAL, GRAVEL_CRYSTAL)
    )
    assert rod[0]["lattice_c"][0] < gravel[0]["lattice_c"][0] - 0.1
    growth = [series[1]["lattice_c"][0] / series[0]["lattice_c"][0] - 1 for series in (rod, gravel)]
    assert growth[0] > 3 * growth[1] > 0
    assert rod[1]["antisite"][0] > gravel[1]["antisite"][0]
    assert rod[1]["domain_aspect"][0] < rod[0]["domain_aspect"][0]  # rounder
    assert gravel[1]["domain_size"][0] > gravel[0]["domain_size"][0]


def test_the_starting_phases_are_not_the_truth() -> None:
    layered, spinel = starting_phases(METALS)
    for law in (ROD_CRYSTAL, GRAVEL_CRYSTAL):
        assert 1e-3 < abs(layered.cell[2] / law.c(25.0) - 1) < 0.01
    truth = layered_phase(METALS, (2.82, 14.3), lithium=0.3, antisite=0.035)
    assert [site.label for site in layered.sites] == [site.label for site in truth.sites]
    assert layered.sites[-1].position != truth.sites[-1].position
    assert replace(spinel, name="layered").cell[0] == 8.1
