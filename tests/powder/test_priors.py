"""What is known before: it decides where patterns are silent, and weighs nothing where they are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cathoscope.powder.crystallite import CrystalliteChoices, crystallite_of
from cathoscope.powder.model import Pattern, model_of
from cathoscope.powder.parameters import Parameter, Parameters, search_of
from cathoscope.powder.presence import gain_at_end, gain_at_start, is_promising, linear_chi2, unit_peaks
from cathoscope.powder.priors import LITHIUM, Prior, known_of, tight_priors, usual_priors, zero_priors
from cathoscope.powder.refine import Residual, refined
from cathoscope.powder.start import parameters_of
from cathoscope.powder.strategy import Plan, refine
from tests.powder.crystals import NMC, SPINEL
from tests.powder.patterns import COPPER, POWGEN, pattern_on, recorded

X = np.geomspace(22600 * 1.35, 22600 * 2.6, 170)
LAYERED = crystallite_of(NMC, CrystalliteChoices(size="uniaxial", size_axis=(1, 1, 0), strain="isotropic"))
CUBIC = crystallite_of(SPINEL, CrystalliteChoices(size="isotropic"))
PLAN = Plan(stages=(("*.scale", "*.background.*"), ("cells",)), start={"NMC.size": 0.08, "spinel.size": 0.05})


def powder(spinel: float, seed: int = 3) -> Pattern:
    truth = {"NMC.size": 0.08, "NMC.size_axial": 0.08, "spinel.size": 0.05, "powgen.NMC.scale": 4000.0}
    truth |= {"powgen.spinel.scale": spinel, "powgen.background.0": 120.0}
    return recorded(pattern_on(POWGEN, X), [LAYERED, CUBIC], truth, seed=seed, counts=20.0)


def test_a_measurement_and_a_prior_are_two_measurements() -> None:
    """Means weighted by inverse variances, also of a logarithm; of what is not measured the prior is the answer."""
    parameters = Parameters({"a": Parameter(0.0), "s": Parameter(2.0, True), "b": Parameter(5.0)})
    known = known_of({"a": Prior(1.0, 0.5), "s": Prior(3.0, 0.2, True), "b": Prior(7.0, 2.0)}, ("a", "s", "b"))

    def compare(values: dict) -> list[Residual]:
        a, s = values["a"], np.log(values["s"])
        rows = [(2.0 - a) / 0.25, (np.log(4.0) - s) / 0.1]
        measured = Residual(np.array([float(one.value) for one in rows]), np.array([-one.slope for one in rows]))
        return [measured, known.residual(values)]

    fit = refined(search_of(parameters, ("a", "s", "b")), compare)
    weights = np.array([0.25, 0.5]) ** -2.0, np.array([0.1, 0.2]) ** -2.0
    assert fit.numbers()["a"] == pytest.approx(
        np.average([2.0, 1.0], weights=weights[0]), abs=0.005
    )  # a hundredth of sigma is an end
    assert np.log(fit.numbers()["s"]) == pytest.approx(np.average(np.log([4.0, 3.0]), weights=weights[1]), abs=0.002)
    assert fit.numbers()["b"] == pytest.approx(7.0, abs=0.02)
    assert fit.std("b", widened=False) == pytest.approx(2.0)
    # of b the prior tells all, of a and s a fifth
    assert known.share(fit) == pytest.approx(1.0 + 0.2 + 0.2)


def test_usual_priors_are_of_phases_around_their_files() -> None:
    found = usual_priors([LAYERED], {"NMC.size": 0.05, "NMC.a": 2.9}, own=("warm.NMC.c",))
    assert found["NMC.a"] == Prior(2.9, 0.01 * 2.84)
    assert found["warm.NMC.c"] == found["NMC.c"]
    assert found["NMC.size"] == Prior(0.05, 1.0, True)
    assert found["NMC.Li1.u"] == Prior(*LITHIUM)
    assert found["NMC.Ni1.u"] == Prior(0.005, 0.01)
    assert found["NMC.O1.occupancy"] == Prior(1.0, 0.2)
    assert "NMC.O1.z" not in found
    assert "NMC.size_lorentz" not in found


def test_zeros_are_near_those_of_files() -> None:
    tof, cw = pattern_on(POWGEN, X), pattern_on(COPPER, np.linspace(20, 80, 50))
    found = zero_priors([tof, cw])
    assert found["powgen.zero"] == Prior(-8.5, pytest.approx(1e-3 * np.median(X)))
    assert found["lab.zero"] == Prior(0.0, 0.1)


def test_what_is_guessed_is_known_less() -> None:
    numbers = {"NMC.a": Parameter(2.84), "NMC.size": Parameter(0.1, True), "NMC.O1.z": Parameter(0.236)}
    found = tight_priors(numbers, numbers, {"NMC.size"})
    assert found["NMC.a"].std == pytest.approx(0.002 * 2.84)
    assert (found["NMC.size"].std, found["NMC.size"].relative) == (pytest.approx(0.9), True)
    assert found["NMC.O1.z"].std == 0.005


def test_priors_weigh_nothing_where_a_pattern_tells() -> None:
    pattern = powder(500.0)
    plain = refine([pattern], [LAYERED, CUBIC], PLAN)
    drawn = refine([pattern], [LAYERED, CUBIC], replace(PLAN, priors=usual_priors([LAYERED, CUBIC])))
    for name in ("NMC.a", "NMC.c", "spinel.a"):
        assert abs(drawn.fit.numbers()[name] - plain.fit.numbers()[name]) < 0.05 * plain.fit.std(name)
        assert drawn.fit.std(name) == pytest.approx(plain.fit.std(name), rel=0.01)
    # the priors of cells that the pattern determines count for nothing in the criterion
    assert drawn.bic == pytest.approx(plain.bic, abs=1.0)


@pytest.mark.parametrize(("spinel", "there"), [(0.0, False), (60.0, True)])
def test_a_phase_is_looked_for_before_it_is_refined(spinel: float, there: bool) -> None:
    """What its amount gains, at the start and at the end without it, is what a fit of it gains."""
    pattern = powder(spinel)
    model = model_of([pattern], [LAYERED, CUBIC])
    scales = replace(PLAN, stages=PLAN.stages[:1], start={**(PLAN.start or {}), "NMC.size_axial": 0.08})
    without = refine([pattern], [LAYERED], replace(scales, start={"NMC.size": 0.08, "NMC.size_axial": 0.08}))
    both = refine([pattern], [LAYERED, CUBIC], scales)
    numbers = {name: one.value for name, one in parameters_of(model).starting(scales.start or {}).numbers.items()}
    peaks = unit_peaks(model, numbers)
    fitted = (without.fit.chi2 - both.fit.chi2) / max(without.fit.gof, 1.0) ** 2
    gains = gain_at_start(model, peaks, ["NMC"], "spinel"), gain_at_end(without, peaks, "spinel")
    assert [is_promising(gain, X.size, 1) for gain in gains] == [there, there]
    if there:
        assert gains[1] == pytest.approx(fitted, rel=0.1)
    assert linear_chi2(model, peaks, ["NMC", "spinel"]) <= linear_chi2(model, peaks, ["NMC"])


def test_only_free_numbers_have_priors() -> None:
    with pytest.raises(TypeError, match="only free numbers"):
        known_of({"a": Prior(1.0, 1.0)}, ("a",)).residual({"a": 1.0})
