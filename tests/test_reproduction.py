"""The list of the papers' panels and numbers is complete in form, and the page is what it and the kept numbers say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.reproduction import SIZES, Found, files_of, load_panels, mean_of
from benchmarks.reproduction_page import page_of, verdict_of
from cathoscope.core.schema import SCHEMA

FIGURES = Path(__file__).resolve().parents[1] / "src" / "cathoscope" / "report" / "figures"
KINDS = ("data", "schematic", "photograph")
PLACE = re.compile(r"^[\w?*-]+: (\w+)(\[\w+=[^=,\]]+(, \w+=[^=,\]]+)*\])?$")


@pytest.fixture(scope="module")
def panels() -> dict[str, Any]:
    return load_panels()


def test_every_panel_says_what_it_is_and_where_ours_is(panels: dict[str, Any]) -> None:
    keys = {key for file in FIGURES.glob("*.py") for key in re.findall(r'Panel\(\s*"([^"]+)"', file.read_text("utf-8"))}
    assert len(keys) > 60
    for entry in panels["panel"]:
        assert entry["kind"] in KINDS, entry
        assert set(entry.get("figures", ())) <= keys, entry
        assert (entry["kind"] != "data") or bool(entry["figures"]) != ("missing" in entry), entry


@pytest.mark.parametrize(
    ("paper", "letters"),
    [
        ("hou", {"1": "abcdefg", "2": "abcdefghijkl", "3": "abcdefghi", "4": "abcdefghijkl", "5": "abcd"}),
        ("cadiou", {"1": "abcdefgh", "2": "abcdef", "3": "abcd", "4": "abc", "5": "abcd"}),
    ],
)
def test_no_panel_of_the_main_figures_is_left_out(panels: dict[str, Any], paper: str, letters: dict[str, str]) -> None:
    listed: list[str] = []
    for entry in panels["panel"]:
        if entry["paper"] == paper:
            for figure, first, last in re.findall(r"\b(\d)([a-l])(?:-([a-l]))?\b", entry["panel"]):
                listed += [f"{figure}{chr(code)}" for code in range(ord(first), ord(last or first) + 1)]
    assert sorted(listed) == sorted(figure + letter for figure, every in letters.items() for letter in every)


def test_every_number_can_be_looked_up_or_says_where_it_is_set(panels: dict[str, Any]) -> None:
    names = [entry["key"] for entry in panels["number"]]
    assert len(set(names)) == len(names)
    for entry in panels["number"]:
        assert {"paper", "place", "what", "printed"} <= set(entry), entry
        assert ("find" in entry) != ("setting" in entry), entry
        for which in ("find", "minus", "truth", "over"):
            if which in entry:
                match = PLACE.match(entry[which])
                assert match is not None, entry
                assert match[1] in SCHEMA, entry
        if "find" in entry:
            assert ({"value", "tolerance"} <= set(entry)) != (entry.get("expect") in ("> 0", "< 0")), entry


def test_the_numbers_that_the_papers_are_known_for_are_there(panels: dict[str, Any]) -> None:
    printed = " ".join(entry["printed"] for entry in panels["number"] if "find" in entry)
    for number in ("8347.8", "14.44", "140", "190", "155", "10 %", "217", "234", "8.30 : 1.04", "15.28 : 2.17"):
        assert number in printed
    for number in ("211.1", "199.4", "85.0", "82.4", "22 %", "12 %", "61 %", "30 %", "42 to 45", "70 %"):
        assert number in printed


@pytest.mark.parametrize("size", SIZES)
def test_the_page_is_what_the_generator_writes(panels: dict[str, Any], size: str) -> None:
    numbers, page = files_of(size)
    assert page.read_text("utf-8") == page_of(panels, json.loads(numbers.read_text("utf-8")))


def test_a_wrong_number_is_shown_as_failing() -> None:
    entry = {"value": 8347.8, "tolerance": 0.05}
    assert verdict_of(entry, {"ours": 8347.81, "truth": 8347.82, "pull": -0.4}) == ("holds", "holds")
    assert verdict_of(entry, {"ours": 8347.7, "truth": 8347.82, "pull": -4.0})[0] == "**fails**"
    assert verdict_of(entry, {"ours": 8348.0, "truth": 8348.0, "pull": 0.0})[1] == "**fails**"
    assert verdict_of(entry, {"ours": None, "truth": None}) == ("**not measured**", "not known")
    falls = {"expect": "< 0"}
    assert verdict_of(falls, {"ours": -1.0, "low": -2.0, "high": 0.1, "truth": -1.0, "pull": 0.0})[1] == "**not told**"
    assert verdict_of(falls, {"ours": -1.0, "low": -2.0, "high": -0.1, "truth": 1.0, "pull": 0.0})[1] == "**fails**"


def test_differences_and_factors_carry_the_uncertainty_of_the_right_side() -> None:
    assert Found(5.0, 3.0, 1.0).minus(Found(2.0, 1.0, 4.0)) == Found(3.0, 5.0, 2**0.5)
    assert Found(5.0, 3.0, 1.0).times(-2.0) == Found(-10.0, 2.0, 6.0)
    assert Found(5.0, 3.0, 1.0).sigma(truth=6.0) == 1.0


def test_the_mean_of_particles_keeps_what_their_method_shares() -> None:
    own, method = 0.4, 0.3
    four = [Found(value, (own**2 + method**2) ** 0.5, (own**2 + method**2) ** 0.5, method) for value in (1, 2, 3, 4)]
    mean = mean_of(four)
    assert (mean.value, mean.method) == (2.5, pytest.approx(method))
    assert mean.below == pytest.approx((own**2 / 4 + method**2) ** 0.5) == mean.above
