"""Circuits fitted: truth recovered with honest errors, doubts told, mistakes answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.lab.impedance_fit import Constraints, compare_circuits, fit_circuit
from tests.lab.spectra import FREQUENCY, arc, noisy

ONE_ARC = 10.0 + arc(FREQUENCY, 80.0, 1e-2, 0.85)
TRUE_Q = 1e-2**0.85 / 80.0
TWO_ARCS = 5.0 + arc(FREQUENCY, 30.0, 1e-4, 0.8) + arc(FREQUENCY, 60.0, 0.1, 0.9)


def test_a_clean_spectrum_gives_its_parameters() -> None:
    fit = fit_circuit("R0-p(R1,CPE1)", frequency=FREQUENCY, impedance=ONE_ARC)
    np.testing.assert_allclose(fit.values, [10.0, 80.0, TRUE_Q, 0.85], rtol=1e-7)
    assert fit.outcome == "good"


@settings(max_examples=40, deadline=None)
@given(st.floats(-4.0, 0.0), st.floats(-2.0, 5.0), st.floats(-2.0, 1.0), st.floats(0.6, 1.0))
def test_any_arc_within_the_frequencies_is_found(log_tau: float, log_r: float, log_ratio: float, alpha: float) -> None:
    tau, resistance = 10.0**log_tau, 10.0**log_r
    series = resistance * 10.0**log_ratio
    z = series + arc(FREQUENCY, resistance, tau, alpha)
    fit = fit_circuit("R0-p(R1,CPE1)", frequency=FREQUENCY, impedance=z)
    np.testing.assert_allclose(fit.values, [series, resistance, tau**alpha / resistance, alpha], rtol=1e-4)
    np.testing.assert_allclose(fit.at(FREQUENCY), fit.fitted, rtol=1e-12)


def test_pulls_are_those_of_honest_errors() -> None:
    pulls = []
    for seed in range(300):
        fit = fit_circuit("R0-p(R1,CPE1)", frequency=FREQUENCY, impedance=noisy(ONE_ARC, 0.005, seed))
        pulls.append((fit.values - [10.0, 80.0, TRUE_Q, 0.85]) / fit.std)
    assert np.abs(np.mean(pulls, axis=0)).max() < 3 / np.sqrt(300)
    assert np.abs(np.std(pulls, axis=0) - 1).max() < 3 / np.sqrt(600)


def test_stated_errors_are_used_as_they_are() -> None:
    z, sigma = noisy(ONE_ARC, 0.005, 1), 0.005 * np.abs(ONE_ARC)
    order = np.random.default_rng(0).permutation(z.size)
    stated = fit_circuit(
        "R0-p(R1,CPE1)", frequency=FREQUENCY[order], impedance=z[order], weighting="stated", sigma=sigma[order]
    )
    both = fit_circuit(
        "R0-p(R1,CPE1)", frequency=FREQUENCY, impedance=z, weighting="stated", sigma=2 * (sigma + 1j * sigma)
    )
    np.testing.assert_allclose(stated.values, both.values, rtol=1e-6)
    np.testing.assert_allclose(2 * stated.std, both.std, rtol=1e-4)
    assert 0.7 < stated.reduced_square < 1.3
    assert stated.criterion() == pytest.approx(stated.sum_of_squares + 8 * (1 + 5 / 115))


def test_arcs_stand_by_time_constant() -> None:
    fit = fit_circuit("R0-p(R1,CPE1)-p(R2,CPE2)", frequency=FREQUENCY, impedance=noisy(TWO_ARCS, 0.002, 3))
    assert fit.outcome == "good"
    for name, truth in {"R0": 5.0, "R1": 30.0, "R2": 60.0, "CPE1.alpha": 0.8, "CPE2.alpha": 0.9}.items():
        value, std, _ = fit.estimate(name)
        assert abs(value - truth) < 4 * std


def test_the_circuit_that_made_the_spectrum_is_chosen() -> None:
    texts = ["R0-p(R1,CPE1)", "R0-p(R1,CPE1)-p(R2,CPE2)", "R0-p(R1,C1)-p(R2,C2)"]
    fits = compare_circuits(texts, frequency=FREQUENCY, impedance=noisy(TWO_ARCS, 0.005, 4))
    assert fits[0].circuit.text == texts[1]
    assert fits[0].criterion("bic") < fits[1].criterion("bic") - 10
    assert all(fit.outcome != "good" for fit in fits[1:])
    assert any("misses something" in remark for remark in fits[-1].remarks)


def test_what_the_spectrum_cannot_tell_is_said() -> None:
    fit = fit_circuit("R0-R1-p(R2,CPE2)", frequency=FREQUENCY, impedance=noisy(ONE_ARC, 0.005, 5))
    assert fit.outcome == "not determined"
    assert np.isinf(fit.relative_std[:2]).all()
    assert np.isfinite(fit.relative_std[2:]).all()
    fixed = fit_circuit(
        "R0-R1-p(R2,CPE2)",
        frequency=FREQUENCY,
        impedance=noisy(ONE_ARC, 0.005, 5),
        constraints=Constraints(fixed={"R1": 4.0}),
    )
    assert fixed.outcome == "good"
    assert fixed.estimate("R1") == (4.0, 0.0, 0.0)
    assert fixed.values[0] == pytest.approx(6.0, rel=0.02)


def test_a_parameter_that_runs_away_is_told() -> None:
    capacitor = 10.0 + 1 / (2j * np.pi * FREQUENCY * 1e-3)
    fit = fit_circuit("R0-p(R1,C1)", frequency=FREQUENCY, impedance=noisy(capacitor, 0.005, 6))
    assert fit.outcome == "not determined"
    assert any(remark.startswith("R1 = ") for remark in fit.remarks)


def test_a_bound_that_holds_is_told() -> None:
    fit = fit_circuit(
        "R0-p(R1,CPE1)",
        frequency=FREQUENCY,
        impedance=ONE_ARC,
        constraints=Constraints(bounds={"R1": (1.0, 50.0)}),
    )
    assert fit.values[1] == pytest.approx(50.0)
    assert fit.at_bound.tolist() == [False, True, False, False]
    assert fit.outcome == "not determined"


def test_parameters_that_go_together_are_told() -> None:
    short = FREQUENCY > 20.0  # the arc is seen in part
    fit = fit_circuit("R0-p(R1,CPE1)", frequency=FREQUENCY[short], impedance=noisy(ONE_ARC, 0.002, 7)[short])
    assert np.nanmax(np.abs(fit.correlation - np.eye(4))) > 0.9
    wide = fit_circuit("R0-p(R1,CPE1)", frequency=FREQUENCY, impedance=noisy(ONE_ARC, 0.002, 7))
    assert fit.std[1] > 5 * wide.std[1]


def test_weights_matter_and_are_stated() -> None:
    z = noisy(ONE_ARC, 0.02, 8)
    unit, modulus = (
        fit_circuit("R0-p(R1,CPE1)", frequency=FREQUENCY, impedance=z, weighting=weighting)  # type: ignore[arg-type]
        for weighting in ("unit", "modulus")
    )
    assert unit.values[1] != pytest.approx(modulus.values[1], rel=1e-4)
    assert unit.std[0] > 2 * modulus.std[0]


@pytest.mark.parametrize(
    ("frequency", "impedance", "message"),
    [
        ([1.0], [1 + 1j], "too few points"),
        ([3.0, 2.0, -1.0], [1 + 0j] * 3, "1 of 3 frequencies are zero or below"),
        ([3.0, 2.0, 1.0], [1 + 0j, np.nan, 2], "no numbers"),
        ([3.0, 2.0], [1 + 0j] * 3, "two lengths"),
        (FREQUENCY, ONE_ARC.conjugate(), "the imaginary part is above zero"),
    ],
)
def test_what_is_no_spectrum_is_refused(frequency: list[float], impedance: list[complex], message: str) -> None:
    with pytest.raises(MeasurementError, match=message):
        fit_circuit("R0-p(R1,C1)", frequency=frequency, impedance=impedance)


@pytest.mark.parametrize(
    "constraints",
    [
        Constraints(start={"R9": 1.0}),
        Constraints(start={"R0": -1.0}),
        Constraints(bounds={"R0": (2.0, 1.0)}),
    ],
)
def test_constraints_without_sense_are_refused(constraints: Constraints) -> None:
    with pytest.raises(MeasurementError):
        fit_circuit("R0-p(R1,C1)", frequency=FREQUENCY, impedance=ONE_ARC, constraints=constraints)


def test_weights_without_sense_are_refused() -> None:
    for options in ({"weighting": "stated"}, {"sigma": 1.0}, {"weighting": "stated", "sigma": 0.0}):
        with pytest.raises(MeasurementError):
            fit_circuit("R0-p(R1,C1)", frequency=FREQUENCY, impedance=ONE_ARC, **options)  # type: ignore[arg-type]


# The documented fit of impedance.py 1.7.1 to its exampleData.csv, unweighted: value and standard error.
DOCUMENTED = {
    "R0": (1.652e-2, 1.5e-4),
    "R1": (8.677e-3, 1.91e-4),
    "C1": (3.321, 0.190),
    "R2": (5.39e-3, 2.1e-4),
    "Wo1.R": (6.31e-2, 1.9e-3),
    "Wo1.tau": (232.5, 16.2),
    "C2": (0.2195, 0.0175),
}
DOCUMENTED_START = (0.01, 0.01, 100.0, 0.01, 0.05, 100.0, 1.0)


def test_the_documented_fit_of_another_program_is_found(data_folder: Path) -> None:
    table = np.loadtxt(data_folder / "lab" / "eis-impedancepy" / "exampleData.csv", delimiter=",")
    table = table[table[:, 2] < 0]
    assert len(table) == 57
    points = {"frequency": table[:, 0], "impedance": table[:, 1] + 1j * table[:, 2]}
    circuit, start = "R0-p(R1,C1)-p(R2-Wo1,C2)", dict(zip(DOCUMENTED, DOCUMENTED_START, strict=True))
    fit = fit_circuit(circuit, **points, weighting="unit", constraints=Constraints(start=start))  # type: ignore[arg-type]
    assert fit.sum_of_squares <= 1.9428e-5  # that program stops at 1.9430e-5
    for name, (value, error) in DOCUMENTED.items():
        assert abs(fit.estimate(name).value - value) < 0.5 * error
    assert fit.outcome == "systematic residuals"
    own = fit_circuit(circuit, **points, weighting="unit")  # type: ignore[arg-type]
    np.testing.assert_allclose(own.values, fit.values, rtol=1e-4)


def test_a_lower_sum_that_means_nothing_is_told(data_folder: Path) -> None:
    table = np.loadtxt(data_folder / "lab" / "eis-impedancepy" / "exampleData.csv", delimiter=",")
    table = table[table[:, 2] < 0]
    start = dict(zip(DOCUMENTED, (0.0165, 0.0053, 0.22, 0.0091, 0.14, 1200.0, 2.8), strict=True))
    fit = fit_circuit(
        "R0-p(R1,C1)-p(R2-Wo1,C2)",
        frequency=table[:, 0],
        impedance=table[:, 1] + 1j * table[:, 2],
        weighting="unit",
        constraints=Constraints(start=start),
    )
    assert fit.sum_of_squares == pytest.approx(1.4031e-5, rel=1e-3)
    assert fit.outcome == "not determined"
    assert any(remark.startswith("Wo1.tau = ") for remark in fit.remarks)
