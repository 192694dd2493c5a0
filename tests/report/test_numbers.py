"""Values as text keep what their uncertainty allows; numbers survive the way to CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.study import Study
from cathoscope.report.numbers import Number, format_value, numbers_of, write_csv, write_json
from cathoscope.report.summary import number_rows

VALUES = st.floats(-1e9, 1e9, allow_nan=False)
STDS = st.floats(1e-5, 1e6)
_BACK = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


def parse(text: str) -> tuple[float, float, str]:
    """Value, uncertainty and the digits of the uncertainty, read back from the text."""
    body, power = text, 0
    if text.startswith("("):
        body, tail = text[1:].split(") × 10")
        power = int(tail.split()[0].translate(_BACK))
    value, std = body.split(" ± ")
    digits = std.split()[0]
    return float(value.split()[0]) * 10.0**power, float(digits) * 10.0**power, digits


@given(value=VALUES, std=STDS)
@settings(max_examples=200, deadline=None)
def test_text_is_the_value_to_within_the_rounding_of_its_uncertainty(value: float, std: float) -> None:
    shown, shown_std, _ = parse(format_value(value, std, "eV"))
    # one digit of sigma is at worst 1.5 rounded: half a unit of 2..9, or a twentieth of 10..19
    assert abs(shown_std - std) <= 0.25 * std * (1 + 1e-9)
    assert abs(shown - value) <= 0.25 * std * (1 + 1e-9) + 1e-12 * abs(value)


@given(std=STDS)
@settings(max_examples=200, deadline=None)
def test_uncertainty_shows_two_digits_after_a_one_and_else_one(std: float) -> None:
    _, _, digits = parse(format_value(0.0, std, "eV"))
    significant = digits.replace(".", "").lstrip("0")
    if "." in digits:
        assert len(significant) == (2 if significant[0] == "1" or f"{std:.16e}"[0] == "1" else 1)
    else:
        assert set(significant[2:]) <= {"0"}


@given(value=VALUES, std=STDS)
@settings(max_examples=100, deadline=None)
def test_value_and_uncertainty_end_at_the_same_decimal(value: float, std: float) -> None:
    text = format_value(value, std, "eV").removeprefix("(").split(")")[0].removesuffix(" eV")
    left, right = text.split(" ± ")
    assert len(left.partition(".")[2]) == len(right.partition(".")[2])


@pytest.mark.parametrize(
    ("value", "std", "unit", "text"),
    [
        (8349.1234, 0.03, "eV", "8349.12 ± 0.03 eV"),
        (8349.1234, 0.0149, "eV", "8349.123 ± 0.015 eV"),
        (12345.0, 234.0, "px", "12300 ± 200 px"),
        (0.96, 0.096, "1", "0.96 ± 0.10"),
        (1.234e-7, 4e-9, "um", "(1.23 ± 0.04) × 10⁻⁷ µm"),
        (-0.004, 0.3, "degC", "0.0 ± 0.3 °C"),
        (296.5, 0.0, "px", "296.5 px (fixed)"),
        (296.5, None, "px", "296.5 px (no uncertainty)"),
        (296.5, math.nan, "px", "296.5 px (no uncertainty)"),
        (math.nan, 0.1, "px", "no value"),
    ],
)
def test_examples(value: float, std: float | None, unit: str, text: str) -> None:
    assert format_value(value, std, unit) == text


@given(value=VALUES, std=STDS)
@settings(max_examples=100, deadline=None)
def test_two_digits_of_sigma_are_two(value: float, std: float) -> None:
    shown, shown_std, digits = parse(format_value(value, std, "eV", digits=2))
    assert abs(shown_std - std) <= 0.05 * std * (1 + 1e-9)
    assert abs(shown - value) <= 0.05 * std * (1 + 1e-9) + 1e-12 * abs(value)
    if "." in digits:
        assert len(digits.replace(".", "").lstrip("0")) == 2


def test_csv_and_json_hold_the_stored_values_exactly(study: Study) -> None:
    numbers = numbers_of(study, "heating")
    table, text = io.StringIO(), io.StringIO()
    write_csv(numbers, table)
    write_json(numbers, text)
    rows = list(csv.DictReader(io.StringIO(table.getvalue())))
    stored = study.read("result", "heating")
    means = [row for row in rows if row["array"] == "white_line_mean"]
    assert [float(row["value"]) for row in means] == stored["white_line_mean"].values.tolist()
    assert [float(row["sigma"]) for row in means] == stored["white_line_mean_std"].values.tolist()
    assert [float(row["temperature"]) for row in means] == stored["temperature"].values.tolist()
    assert {row["unit"] for row in means} == {"eV"}
    assert {row["std_source"] for row in means} == {"fit covariance"}
    assert {row["address"] for row in means} == {"a1"}
    records = json.loads(text.getvalue())
    assert [record["value"] for record in records] == [float(row["value"]) for row in rows]


def test_images_are_not_numbers(study: Study) -> None:
    arrays = {number.array for number in numbers_of(study, "heating")}
    assert "rotation_axis" in arrays
    assert not arrays & {"attenuation", "white_line_energy", "particle_mask", "white_line_mean_std"}


def test_a_current_is_in_ampere_and_a_length_in_angstrom() -> None:
    def row(array: str) -> str:
        number = Number("cell", array, "A", {}, 2.0, 0.1, "", "")
        return number_rows([number])[0].value

    assert row("rate_current") == "2.00 ± 0.10 A"
    assert row("lattice_a") == "2.00 ± 0.10 Å"


def test_rows_have_short_places_and_no_source_without_a_value() -> None:
    numbers = [
        Number("rod", "shell_porosity", "1", {"shell": 0.15000000000000002}, 0.2, 0.01, "fit covariance", ""),
        Number("rod", "porosity_systematic", "1", {}, 0.0123456, None, "", ""),
        Number("rod", "crack_area", "um2", {}, math.nan, math.nan, "fit covariance", ""),
    ]
    rows = [(row.name, row.value, row.note) for row in number_rows(numbers)]
    assert rows[0] == ("shell porosity, shell 0.15", "0.200 ± 0.010", "fit covariance")
    assert rows[1] == ("porosity systematic", "0.012", "")
    assert rows[2] == ("crack area", "no value", "")
