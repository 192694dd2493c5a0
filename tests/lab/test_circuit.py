"""Circuits: their text, the impedance of their elements, and its derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError, RecipeError
from cathoscope.lab import circuit_kernels as kernels
from cathoscope.lab.circuit import (
    KINDS,
    Circuit,
    Element,
    Parallel,
    Series,
    impedance_and_slopes,
    impedance_of_circuit,
)
from cathoscope.lab.circuit_order import slow_last
from cathoscope.lab.circuit_text import parse_circuit

OMEGA = np.logspace(-2, 4, 7)
HERTZ = OMEGA / (2 * np.pi)
J = 1j * OMEGA
ALL = "L0-R0-p(R1-p(R2-Wo1,C2),CPE1)-Ws1-G1-W1"
VALUES = [1e-4, 2.0, 3.0, 5.0, 7.0, 0.4, 1e-3, 2e-2, 0.8, 4.0, 0.3, 6.0, 0.05, 1.5]


def test_texts_in_both_ways_are_the_same_circuit() -> None:
    r, q, w = Element("R", "R2"), Element("Q", "Q1"), Element("W", "W1")
    expected = Series((Element("R", "R1"), Parallel((q, Series((r, w))))))
    for text in ("R1(Q1(R2W1))", "R(Q[RW])", "R1-p(Q1, R2-W1)", " R1 - p( Q1 , R2 W1 ) "):
        assert parse_circuit(text).root == expected
    assert parse_circuit("p(R1,p(C1,R2))").root == parse_circuit("(R1C1R2)").root


def test_elements_without_a_number_get_free_ones() -> None:
    assert parse_circuit("R-R1-p(R,C)").names == ("R2", "R1", "R3", "C1")


def test_parameters_have_names_and_units() -> None:
    parameters = parse_circuit("R0-p(R1,CPE1)-Wo2").parameters
    assert [(each.name, each.unit) for each in parameters] == [
        ("R0", "ohm"),
        ("R1", "ohm"),
        ("CPE1.Q", "s^alpha/ohm"),
        ("CPE1.alpha", "1"),
        ("Wo2.R", "ohm"),
        ("Wo2.tau", "s"),
    ]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", 0),
        ("R0-", 3),
        ("R0--R1", 3),
        ("R0-p(R1)", 5),
        ("R0-p(R1,", 8),
        ("R0-p(R1,,C1)", 8),
        ("R0-X1", 3),
        ("R0)", 2),
        ("R0,R1", 2),
        ("R(RQ", 4),
        ("R(R,Q)", 3),
        ("R(R)", 2),
        ("R1-C1-R1", 6),
        ("__import__('os')", 0),
        ("(" * 20 + "R", 13),
    ],
)
def test_an_error_points_at_the_place(text: str, place: int) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_circuit(text)
    lines = str(caught.value).splitlines()
    shown = next(number for number, line in enumerate(lines) if "^" in line)
    assert lines[shown].index("^") - lines[shown - 1].index(text[:1] or " ", 10) == place or not text
    assert f"character {place + 1}:" in lines[shown]


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="RCLWQosGPEp()[]-,01 ", max_size=30))
def test_any_text_is_a_circuit_or_refused(text: str) -> None:
    try:
        circuit = parse_circuit(text)
    except RecipeError:
        return
    assert parse_circuit(circuit.text).root == circuit.root


def _closed(kind: str) -> tuple[list[float], np.ndarray]:
    s = np.sqrt(J * 0.3)
    forms = {
        "R": ([5.0], np.full(OMEGA.size, 5.0 + 0j)),
        "C": ([2e-3], 1 / (J * 2e-3)),
        "L": ([1e-3], J * 1e-3),
        "CPE": ([0.02, 0.8], 1 / (0.02 * J**0.8)),
        "Q": ([0.02, 0.8], 1 / (0.02 * J**0.8)),
        "W": ([3.0], 3.0 * (1 - 1j) / np.sqrt(OMEGA)),
        "Wo": ([4.0, 0.3], 4.0 / (s * np.tanh(s))),
        "Ws": ([4.0, 0.3], 4.0 * np.tanh(s) / s),
        "G": ([4.0, 0.3], 4.0 / np.sqrt(1 + J * 0.3)),
    }
    return forms[kind]


@pytest.mark.parametrize("kind", list(KINDS))
def test_elements_are_their_closed_forms(kind: str) -> None:
    values, expected = _closed(kind)
    found = impedance_of_circuit(parse_circuit(kind), frequency=HERTZ, values=values)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_nested_circuit_is_its_sums() -> None:
    v = dict(zip(parse_circuit(ALL).names, VALUES, strict=True))
    s, t = np.sqrt(J * v["Wo1.tau"]), np.sqrt(J * v["Ws1.tau"])
    inner = 1 / (J * v["C2"] + 1 / (v["R2"] + v["Wo1.R"] / (s * np.tanh(s))))
    outer = 1 / (v["CPE1.Q"] * J ** v["CPE1.alpha"] + 1 / (v["R1"] + inner))
    rest = v["Ws1.R"] * np.tanh(t) / t + v["G1.R"] / np.sqrt(1 + J * v["G1.tau"]) + v["W1"] * (1 - 1j) / np.sqrt(OMEGA)
    found = impedance_of_circuit(parse_circuit(ALL), frequency=HERTZ, values=v)
    np.testing.assert_allclose(found, J * v["L0"] + v["R0"] + outer + rest, rtol=1e-12)


def test_derivatives_are_differences() -> None:
    circuit, step = parse_circuit(ALL), 1e-5
    _, slopes = impedance_and_slopes(circuit, frequency=HERTZ, values=VALUES)
    for number in range(len(VALUES)):
        both = []
        for sign in (1, -1):
            moved = np.array(VALUES)
            moved[number] *= np.exp(sign * step)
            both.append(impedance_of_circuit(circuit, frequency=HERTZ, values=moved))
        difference = (both[0] - both[1]) / (2 * step)
        np.testing.assert_allclose(slopes[number], difference, rtol=1e-6, atol=1e-6 * np.abs(slopes[number]).max())


def test_short_diffusion_is_a_resistor_at_low_frequencies() -> None:
    z, slopes = impedance_and_slopes(parse_circuit("Ws1"), frequency=[1e-9], values=[4.0, 1e-3])
    assert z[0].real == pytest.approx(4.0, rel=1e-12)
    assert slopes[1, 0] == pytest.approx(-4.0 * 2j * np.pi * 1e-12 / 3, rel=1e-6)


def test_compiled_and_python_agree() -> None:
    circuit = parse_circuit("R0-p(R1,CPE1)-Ws1")
    values, omega = np.array([1.0, 5.0, 1e-3, 0.9, 2.0, 3.0]), OMEGA[:3].copy()
    measured = np.array([8.0 - 1j, 7.0 - 2j, 5.0 - 1j])
    data = (omega, measured, np.ones(3), np.ones(3))
    start, bounds, free = np.log(values), circuit.log_bounds, np.array([0, 1])
    compiled = kernels.search(circuit.program, start, bounds, data, free, 5)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_diffusion", "_element", "spectrum", "solve_positive", "sum_of_squares", "_trial", "_values"):
            patch.setattr(kernels, name, getattr(kernels, name).py_func)
        python = kernels.search.py_func(circuit.program, start, bounds, data, free, 5)
    np.testing.assert_allclose(compiled[0], python[0], rtol=1e-10)
    assert compiled[1] == pytest.approx(python[1], rel=1e-10)
    assert compiled[2:] == python[2:]


def test_a_matrix_that_is_not_positive_has_no_solution() -> None:
    assert not kernels.solve_positive(np.array([[1.0, 2.0], [2.0, 1.0]]), np.ones(2))[1]


def test_exchangeable_parts_stand_by_time_constant() -> None:
    circuit = parse_circuit("R0-p(R1,CPE1)-p(R2,CPE2)-p(R3,C3)")
    swapped = slow_last(circuit, np.array([1.0, 9.0, 1e-1, 0.9, 5.0, 1e-5, 0.8, 2.0, 1e-9]))
    assert swapped.tolist() == [1.0, 5.0, 1e-5, 0.8, 9.0, 1e-1, 0.9, 2.0, 1e-9]
    both = [np.array([1.0, 9.0, 1e-1, 0.9, 5.0, 1e-5, 0.8, 2.0, 1e-9]), swapped]
    z = [impedance_of_circuit(circuit, frequency=HERTZ, values=values) for values in both]
    np.testing.assert_allclose(z[0], z[1], rtol=1e-12)


@pytest.mark.parametrize(
    ("frequency", "values"),
    [([0.0], [1.0]), ([1.0], [-1.0]), ([1.0], [1.0, 2.0]), ([1.0], {"R2": 1.0}), ([np.nan], [1.0])],
)
def test_what_is_not_positive_or_missing_is_refused(frequency: list[float], values: object) -> None:
    with pytest.raises(MeasurementError):
        impedance_of_circuit(parse_circuit("R1"), frequency=frequency, values=values)  # type: ignore[arg-type]


def test_an_unknown_parameter_is_named() -> None:
    circuit: Circuit = parse_circuit("R0-C1")
    assert (circuit.number("C1"), str(circuit)) == (1, "R0-C1")
    with pytest.raises(MeasurementError, match="no parameter R7"):
        circuit.number("R7")
