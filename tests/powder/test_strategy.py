"""One refinement from start to end, on small patterns that the model itself made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import value_of
from cathoscope.powder.crystallite import CrystalliteChoices, crystallite_of
from cathoscope.powder.model import calculated, model_of
from cathoscope.powder.start import parameters_of
from cathoscope.powder.strategy import Plan, Refinement, expected_std, names_of, refine
from cathoscope.powder.structure import cell_mass
from tests.powder.crystals import NMC, SPINEL
from tests.powder.patterns import POWGEN, pattern_on, recorded

X = np.geomspace(22600 * 1.15, 22600 * 2.6, 420)
LAYERED = crystallite_of(NMC, CrystalliteChoices(size="isotropic"))
CUBIC = crystallite_of(SPINEL, CrystalliteChoices(size="isotropic"))
TRUTH = {
    "NMC.a": 2.843,
    "NMC.c": 14.28,
    "NMC.size": 0.09,
    "NMC.Ni2.occupancy": 0.06,
    "NMC.Ni1.occupancy": 0.74,
    "NMC.Li1.occupancy": 0.44,
    "NMC.Li2.occupancy": 0.06,
    "spinel.a": 8.128,
    "spinel.size": 0.04,
    "powgen.NMC.scale": 3000.0,
    "powgen.spinel.scale": 250.0,
    "powgen.background.0": 150.0,
    "powgen.background.1": -30.0,
}
EXCHANGE = {
    "NMC.Ni1.occupancy": (0.80, {"NMC.Ni2.occupancy": -1.0}),
    "NMC.Li1.occupancy": (0.50, {"NMC.Ni2.occupancy": -1.0}),
    "NMC.Li2.occupancy": (0.0, {"NMC.Ni2.occupancy": 1.0}),
}
STAGES = (("*.scale", "*.background.*"), ("cells",), ("*.size",), ("NMC.Ni2.occupancy",))
PATTERN = recorded(pattern_on(POWGEN, X), [LAYERED, CUBIC], TRUTH, seed=5)


@pytest.fixture(scope="module")
def found() -> Refinement:
    return refine([PATTERN], [LAYERED, CUBIC], Plan(stages=STAGES, ties=EXCHANGE))


def test_a_refinement_in_stages_finds_what_made_the_pattern(found: Refinement) -> None:
    fit = found.fit
    assert fit.outcome == "converged"
    assert fit.gof == pytest.approx(1.0, abs=0.1)
    pulls = [(fit.numbers()[name] - TRUTH[name]) / fit.std(name) for name in fit.search.free if name in TRUTH]
    assert len(pulls) == 10
    assert np.abs(pulls).max() < 3.5
    assert fit.numbers()["NMC.Li1.occupancy"] == pytest.approx(0.5 - fit.numbers()["NMC.Ni2.occupancy"])


def test_shares_of_mass_are_those_of_the_cells(found: Refinement) -> None:
    share, std = found.fractions()
    weights = np.array([3000.0 * cell_mass(NMC), 250.0 * cell_mass(SPINEL)])
    assert share.sum() == pytest.approx(1.0)
    assert std[0] == pytest.approx(std[1])
    assert abs(share[1] - weights[1] / weights.sum()) < 3.5 * std[1]


def test_criterion_counts_points_and_free_numbers(found: Refinement) -> None:
    fit = found.fit
    assert found.bic == pytest.approx(fit.chi2 + len(fit.search.free) * np.log(X.size))
    (rwp,) = found.rwp
    made = value_of(calculated(found.model, 0, fit.numbers()))
    weight = 1 / PATTERN.std
    expected = np.linalg.norm((PATTERN.y - made) * weight) / np.linalg.norm(PATTERN.y * weight)
    assert rwp == pytest.approx(expected)


def test_weights_of_the_model_do_not_draw_a_background_down() -> None:
    """A flat pattern of 30 counts: weights of 1/counted find nearly one count less, those of the model do not."""
    flat = [recorded(pattern_on(POWGEN, X, terms=1), [], {"powgen.background.0": 30.0}, seed=seed) for seed in range(6)]
    means = {}
    for weights in ("model", "stated"):
        plan = Plan(stages=(("*.background.*",),), weights=weights)
        means[weights] = np.mean([refine([one], [], plan).fit.u[0] for one in flat])
    error = np.sqrt(30 / (6 * X.size))
    assert abs(means["model"] - 30) < 3.5 * error
    assert means["stated"] == pytest.approx(29, abs=0.35)


def test_expected_uncertainty_is_that_of_the_calculated_counts() -> None:
    """Whatever a unit of intensity is worth: four counts here."""
    pattern = recorded(pattern_on(POWGEN, X), [LAYERED], TRUTH, seed=1, counts=4.0)
    model = model_of([pattern], [LAYERED])
    values = {name: one.value for name, one in parameters_of(model).numbers.items()} | TRUTH
    made = value_of(calculated(model, 0, values))
    assert expected_std(model.patterns[0], made) == pytest.approx(np.sqrt(made / 4), rel=1e-6)


def test_groups_stand_for_the_numbers_of_all_phases(found: Refinement) -> None:
    model, parameters = found.model, found.parameters
    assert names_of(model, parameters, ["cells"]) == ("NMC.a", "NMC.c", "spinel.a")
    assert names_of(model, parameters, ["widths"]) == ("NMC.size", "spinel.size")
    assert names_of(model, parameters, ["positions"]) == ("NMC.O1.z", "spinel.O1.x")
    displacements = names_of(model, parameters, ["displacements"])
    assert "NMC.O1.u" in displacements
    assert len(displacements) == 12
    assert names_of(model, parameters, ["NMC.*.occupancy"]) == tuple(
        f"NMC.{site}.occupancy" for site in ("Ni2", "Mn1", "Co1", "O1")
    )


def test_scales_and_backgrounds_start_where_they_fit() -> None:
    """However far off: they are the solution of a linear problem."""
    start = {name: value for name, value in TRUTH.items() if "powgen" not in name}
    found = refine([PATTERN], [LAYERED, CUBIC], Plan(stages=(("*.scale", "*.background.*"),), start=start))
    assert found.fit.outcome == "converged"
    assert found.fit.cycles <= 2
    assert abs(found.fit.numbers()["powgen.NMC.scale"] - 3000.0) < 3.5 * found.fit.std("powgen.NMC.scale")


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (Plan(stages=(("*.sizes",),)), r"no number of the refinement is called \*.sizes"),
        (Plan(start={"NMC.b": 2.0}), "no number of the refinement is called NMC.b"),
        (Plan(ties={"NMC.b": (0.0, {})}), "no number of the refinement is called NMC.b"),
        (Plan(stages=()), "a refinement without stages"),
    ],
)
def test_mistakes_of_a_plan_are_named(plan: Plan, said: str) -> None:
    with pytest.raises(MeasurementError, match=said):
        refine([PATTERN], [LAYERED, CUBIC], plan)


def test_two_banks_share_a_structure(found: Refinement) -> None:
    """Each with its own scale, background and zero: cells are known better than from one."""
    shifted = replace(POWGEN, name="second", values={**POWGEN.values, "zero": POWGEN.values["zero"] + 3.0})
    truth = TRUTH | {f"second.{name[7:]}": value for name, value in TRUTH.items() if name.startswith("powgen")}
    second = recorded(pattern_on(shifted, X), [LAYERED, CUBIC], truth, seed=9)
    wrong = replace(second, bank=replace(shifted, values=POWGEN.values))  # the file states another zero
    stages = (*STAGES[:2], ("*.size", "second.zero"))
    both = refine([PATTERN, wrong], [LAYERED, CUBIC], Plan(stages=stages, ties=EXCHANGE))
    fit = both.fit
    assert fit.outcome == "converged"
    assert abs(fit.numbers()["second.zero"] + 5.5) < 3.5 * fit.std("second.zero")
    assert fit.std("NMC.a") < found.fit.std("NMC.a")
    assert abs(fit.numbers()["NMC.a"] - TRUTH["NMC.a"]) < 3.5 * fit.std("NMC.a")


def test_a_bank_may_have_a_cell_for_itself() -> None:
    """As two diffractometers at two temperatures: one structure, two cells."""
    warm = replace(POWGEN, name="warm")
    truth = TRUTH | {f"warm.{name[7:]}": value for name, value in TRUTH.items() if name.startswith("powgen")}
    second = recorded(pattern_on(warm, X), [LAYERED], truth | {"NMC.a": 2.848}, seed=9)
    first = recorded(pattern_on(POWGEN, X), [LAYERED], truth, seed=8)
    plan = Plan(stages=STAGES[:3], own=("warm.NMC.a",))
    fit = refine([first, second], [LAYERED], plan).fit
    assert abs(fit.numbers()["NMC.a"] - 2.843) < 3.5 * fit.std("NMC.a")
    assert abs(fit.numbers()["warm.NMC.a"] - 2.848) < 3.5 * fit.std("warm.NMC.a")
    with pytest.raises(MeasurementError, match=r"no bank can have warm\.NMC\.q for itself"):
        refine([first, second], [LAYERED], replace(plan, own=("warm.NMC.q",)))
