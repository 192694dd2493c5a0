"""Intensities without a structure: those of the structure that made the pattern come back, and its cell."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from cathoscope.core.crystal import Phase
from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import Dual, value_of
from cathoscope.powder.crystallite import Crystallite, CrystalliteChoices, crystallite_of, numbers_of
from cathoscope.powder.extracted import Extracted, extracted_of, table_of_extracted
from cathoscope.powder.extraction import extraction_of
from cathoscope.powder.model import Pattern, extractions_of, model_of, residuals_of
from cathoscope.powder.parameters import search_of
from cathoscope.powder.pawley import refined_squares, restraints_of
from cathoscope.powder.quantities import phase_quantities
from cathoscope.powder.scattering import neutron_scatterers
from cathoscope.powder.start import parameters_of
from cathoscope.powder.strategy import Plan, Refinement, refine
from cathoscope.powder.structure import Reflections, metric_from_cell, spacing_from_metric
from cathoscope.powder.structure_factor import squared_structure_factor, sum_plan
from tests.powder.crystals import NMC, SPINEL
from tests.powder.patterns import COPPER, POWGEN, pattern_on, recorded
from tests.powder.shapes import differences

SCALE = 4000.0
SIZED = CrystalliteChoices(size="isotropic")
X = np.geomspace(22600 * 0.65, 22600 * 2.7, 1500)
TRUTH = {
    "NMC.a": 2.842,
    "NMC.c": 14.29,
    "NMC.size": 0.08,
    "powgen.NMC.scale": SCALE,
    "powgen.background.0": 120.0,
}
STAGES = (("*.scale", "*.background.*"), ("cells",), ("NMC.size",))
WAYS = ("le-bail", "pawley")


def phase(way: str, crystal: Phase = NMC) -> Crystallite:
    return crystallite_of(crystal, replace(SIZED, intensities=way))


@pytest.fixture(scope="module")
def pattern() -> Pattern:
    return recorded(pattern_on(POWGEN, X), [crystallite_of(NMC, SIZED)], TRUTH, seed=3, counts=50.0)


@pytest.fixture(scope="module")
def found(pattern: Pattern) -> dict[str, Refinement]:
    return {way: refine([pattern], [phase(way)], Plan(stages=STAGES)) for way in ("structure", *WAYS)}


def expected_squares(one: Extracted, crystal: Phase = NMC) -> np.ndarray:
    """scale x |F|^2 of the structure at the reflections."""
    built = crystallite_of(crystal)
    values = {name: number.value for name, number in numbers_of(built).items()}
    plan = sum_plan(built.symmetry, crystal.sites, one.hkl)
    metric = metric_from_cell(cell=[2.842, 2.842, 14.29, 90, 90, 120])
    d = spacing_from_metric(hkl=one.hkl, metric=metric)
    scatterers = neutron_scatterers([site.species for site in crystal.sites])
    return SCALE * value_of(squared_structure_factor(plan, built.sites_from(values), scatterers, d, metric))


@pytest.mark.parametrize("way", WAYS)
def test_intensities_are_those_of_the_structure(found: dict[str, Refinement], way: str) -> None:
    one = extracted_of(found[way].model, found[way].fit, "NMC")
    assert found[way].fit.outcome == "converged"
    assert found[way].fit.gof == pytest.approx(1.0, abs=0.06)
    pulls = (one.squared - expected_squares(one)) / one.std
    alone = one.together == np.arange(one.squared.size)
    assert alone.sum() > 45
    assert abs(pulls[alone].mean()) < 0.4
    assert pulls[alone].std() == pytest.approx(1.0, abs=0.25)
    strong = alone & (one.squared > 20 * one.std)
    assert strong.sum() >= 10
    np.testing.assert_allclose(one.squared[strong], expected_squares(one)[strong], rtol=0.15)


@pytest.mark.parametrize("way", WAYS)
def test_reflections_at_one_place_share_what_they_add_up_to(found: dict[str, Refinement], way: str) -> None:
    """303 and 30-3 lie at one place and differ in nothing else; 20-13 and 300 at nearly one."""
    one = extracted_of(found[way].model, found[way].fit, "NMC")
    expected, sums = expected_squares(one), defaultdict(list)
    for k, first in enumerate(one.together):
        sums[first].append(k)
    shared = [group for group in sums.values() if len(group) > 1]
    assert len(shared) >= 3
    for group in shared:
        weight = one.multiplicity[group]
        assert np.ptp(one.squared[group]) == 0
        off = weight @ one.squared[group] - weight @ expected[group]
        assert abs(off) < 3.5 * weight.sum() * one.std[group[0]]


@pytest.mark.parametrize("way", WAYS)
def test_cells_and_sizes_are_those_of_the_structure(found: dict[str, Refinement], way: str) -> None:
    rietveld, other = found["structure"].fit, found[way].fit
    for name in ("NMC.a", "NMC.c", "NMC.size"):
        assert abs(other.numbers()[name] - rietveld.numbers()[name]) < other.std(name)
        assert abs(other.numbers()[name] - TRUTH[name]) < 3.5 * other.std(name)


def test_uncertainties_with_intensities_are_not_smaller_than_without(found: dict[str, Refinement]) -> None:
    for name in ("NMC.a", "NMC.c", "NMC.size"):
        assert found["pawley"].fit.std(name, widened=False) > found["le-bail"].fit.std(name, widened=False)


def test_nothing_is_said_of_sites_and_shares(found: dict[str, Refinement]) -> None:
    one = found["pawley"]
    quantities = phase_quantities(one.fit, one.model.phases[0])
    assert set(quantities) == {
        *(f"lattice_{name}" for name in ("a", "b", "c", "angle")),
        "cell_volume",
        "domain_size",
    }
    assert np.isnan(one.fractions()[0]).all()
    assert not any("Ni1" in name for name in one.fit.search.names)


def test_a_phase_without_atoms_beside_one_with_them(pattern: Pattern) -> None:
    """A spinel of which only the cell is known, and the layered oxide by its structure."""
    numbers = TRUTH | {"spinel.a": 8.12, "spinel.size": 0.05, "powgen.spinel.scale": 300.0}
    true = [crystallite_of(NMC, SIZED), crystallite_of(SPINEL, SIZED)]
    both = recorded(pattern_on(POWGEN, X), true, numbers, seed=4, counts=50.0)
    bare = phase("pawley", replace(SPINEL, sites=()))
    one = refine([both], [true[0], bare], Plan(stages=(*STAGES, ("spinel.size",)), start={"spinel.size": 0.04}))
    assert one.fit.outcome == "converged"
    assert one.fit.gof == pytest.approx(1.0, abs=0.06)
    for name in ("NMC.a", "NMC.c", "spinel.a", "powgen.NMC.scale"):
        assert abs(one.fit.numbers()[name] - numbers[name]) < 3.5 * one.fit.std(name)


def test_le_bail_and_pawley_at_a_constant_wavelength() -> None:
    """K-alpha 2 belongs to the same numbers."""
    x = np.linspace(17.0, 100.0, 2000)
    numbers = {"NMC.size": 0.08, "lab.NMC.scale": 0.05, "lab.background.0": 60.0}
    made = recorded(pattern_on(COPPER, x), [crystallite_of(NMC, SIZED)], numbers, seed=1, counts=20.0)
    for way in WAYS:
        one = refine([made], [phase(way)], Plan(stages=STAGES))
        assert one.fit.outcome == "converged"
        assert one.fit.gof == pytest.approx(1.0, abs=0.06)
        for name, true in (("NMC.a", NMC.cell[0]), ("NMC.c", NMC.cell[2])):
            assert abs(one.fit.numbers()[name] - true) < 3.5 * one.fit.std(name)
        table = extracted_of(one.model, one.fit, "NMC")
        strongest = table.hkl[np.argmax(table.squared * table.multiplicity / table.spacing**-2)].tolist()
        assert strongest in ([0, 0, 3], [1, 0, 4])


def test_derivatives_to_intensities(pattern: Pattern) -> None:
    model = model_of([pattern], [phase("pawley")])
    free = (*refined_squares(model)[:6], "NMC.a", "NMC.size")
    parameters = parameters_of(model)
    search = search_of(parameters, free)
    made = residuals_of(model, search.values(search.start))[0]
    for k in range(len(free)):
        step = (1e-6 if free[k] == "NMC.a" else 1e-4) * abs(search.start[k])

        def value(u: float, k: int = k) -> np.ndarray:
            moved = search.start.copy()
            moved[k] = u
            return -residuals_of(model, search.values(moved))[0].difference

        expected = differences(value, {"u": search.start[k]}, "u", step)
        np.testing.assert_allclose(made.jacobian[:, k], expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_only_neighbours_within_half_a_width_are_held_together(pattern: Pattern) -> None:
    model = model_of([pattern], [phase("pawley")])
    numbers = {name: one.value for name, one in parameters_of(model).numbers.items()}
    pairs = restraints_of(model, numbers)
    one = extractions_of(model, 0)["NMC"]
    place = {f"powgen.NMC.{name}": (at, w) for name, at, w in zip(one.names, one.place, one.width, strict=True)}
    for first, second in zip(pairs.first, pairs.second, strict=True):
        assert abs(place[first][0] - place[second][0]) < 0.55 * place[second][1]
    assert 0 < len(pairs.first) < len(one.numbers) / 3
    # equal numbers differ by nothing, and half of the mean is half of 1/sqrt 2
    residual = pairs.residual(numbers)
    np.testing.assert_allclose(residual.difference, 0)
    moved = pairs.residual(numbers | {pairs.first[0]: 1.5 * numbers[pairs.first[0]]})
    assert moved.difference[0] == pytest.approx(-0.5 / np.sqrt(2), rel=0.01)
    # where all of them are held, other numbers are free
    held = pairs.residual(numbers | {"NMC.a": Dual(2.84, np.ones(3))})
    np.testing.assert_array_equal(held.jacobian, np.zeros((len(pairs.first), 3)))


def test_reflections_in_excluded_parts_have_no_number(pattern: Pattern) -> None:
    outside = np.abs(pattern.x / 22600 - 2.026) > 0.05
    model = model_of([replace(pattern, used=outside)], [phase("pawley")])
    names = extractions_of(model, 0)["NMC"].names
    assert "F2.1,0,1" in names
    assert "F2.1,0,4" not in names
    hkl = Reflections(np.array([[1, 0, 4]]), np.array([6]))
    with pytest.raises(MeasurementError, match="no reflection lies on the points"):
        extraction_of("pawley", POWGEN, X[outside], hkl, np.array([2.026]))


def test_texture_and_extinction_ask_for_a_structure() -> None:
    for more in ({"march_axis": (0, 0, 1)}, {"harmonics": 2}, {"extinction": True}):
        with pytest.raises(MeasurementError, match="cannot tell texture or extinction"):
            crystallite_of(NMC, CrystalliteChoices(intensities="pawley", **more))


def test_a_table_of_what_was_extracted(found: dict[str, Refinement]) -> None:
    one = extracted_of(found["pawley"].model, found["pawley"].fit, "NMC")
    lines = table_of_extracted(one).splitlines()
    assert len(lines) == 1 + one.squared.size
    assert sum(line.endswith("*") for line in lines) == np.sum(one.together < np.arange(one.squared.size))
    with pytest.raises(MeasurementError, match="follow from its structure"):
        extracted_of(found["structure"].model, found["structure"].fit, "NMC")
