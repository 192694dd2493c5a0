"""Quantities as people write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import CathoscopeError
from cathoscope.core.units import convert, parse


@pytest.mark.parametrize(
    ("text", "quantity", "value"),
    [
        ("8.333 keV", "energy", 8333.0),
        ("8333eV", "energy", 8333.0),
        ("8.333e3 eV", "energy", 8333.0),
        ("20 nm", "length", 0.02),
        (" 20 µm ", "length", 20.0),  # micro sign
        ("20 μm", "length", 20.0),  # Greek mu
        ("1.5 Å", "length", 1.5e-4),
        (".5 mm", "length", 500.0),
        ("180 deg", "angle", 180.0),
        ("3.141592653589793 rad", "angle", 180.0),
        ("1000 mrad", "angle", 180.0 / math.pi),
        ("4GB", "memory", 4e9),
        ("1 KiB", "memory", 1024.0),
        ("-10 C", "temperature", -10.0),
        ("0 K", "temperature", -273.15),
        ("423.15 K", "temperature", 150.0),
        ("+25 °C", "temperature", 25.0),
    ],
)
def test_a_number_with_its_unit(text: str, quantity: str, value: float) -> None:
    assert parse(text, quantity) == pytest.approx(value, rel=1e-14, abs=1e-12)


@given(st.floats(min_value=1e-6, max_value=1e9))
@settings(max_examples=50, deadline=None)
def test_prefixes_are_powers_of_ten(value: float) -> None:
    assert convert(value, "keV", "energy") == pytest.approx(1000 * convert(value, "eV", "energy"), rel=1e-14)
    assert convert(value, "nm", "length") == pytest.approx(convert(value, "mm", "length") / 1e6, rel=1e-14)
    assert convert(value, "K", "temperature") + 273.15 == pytest.approx(convert(value, "C", "temperature"), rel=1e-12)


@pytest.mark.parametrize("text", ["20", 20, 20.0, "nm", "", "20 20 nm", "twenty nm", None, "nan eV", "1e400nm2e"])
def test_what_is_not_a_number_with_a_unit_is_refused(text: object) -> None:
    with pytest.raises(CathoscopeError) as caught:
        parse(text, "length")  # type: ignore[arg-type]
    assert "20 nm" in str(caught.value)  # the form that is wanted


@pytest.mark.parametrize(
    ("text", "quantity", "known"),
    [("20 furlong", "length", "nm"), ("20 nm", "energy", "keV"), ("4 F", "temperature", "K"), ("4 Gb", "memory", "GB")],
)
def test_an_unknown_unit_lists_those_that_are_known(text: str, quantity: str, known: str) -> None:
    with pytest.raises(CathoscopeError, match=f"unknown unit of {quantity}") as caught:
        parse(text, quantity)
    assert caught.value.expected is not None
    assert known in caught.value.expected.split(" or ")
    assert caught.value.found == repr(text.split()[1])
    assert caught.value.cure is not None
