"""Errors say what was expected, what was found and what to type."""

from __future__ import annotations

from pathlib import Path

import pytest

from cathoscope.core.errors import (
    CathoscopeError,
    Interrupted,
    MeasurementError,
    RecipeError,
    SchemaError,
    StudyError,
)


def test_all_words_stand_on_lines_of_their_own_in_reading_order() -> None:
    error = CathoscopeError("no beam", where=Path("scan.h5"), expected="light", found="darkness", cure="open it")
    assert str(error).splitlines() == [
        "scan.h5: no beam",
        "  expected: light",
        "  found:    darkness",
        "  cure:     open it",
    ]


def test_words_that_are_not_given_are_left_out() -> None:
    assert str(CathoscopeError("no beam")) == "no beam"
    assert str(CathoscopeError("no beam", found="")) == "no beam\n  found:    "


@pytest.mark.parametrize("kind", [RecipeError, MeasurementError, StudyError, SchemaError, Interrupted])
def test_every_kind_is_caught_as_ours(kind: type[CathoscopeError]) -> None:
    with pytest.raises(CathoscopeError, match="what"):
        raise kind("what")


def test_exit_codes_tell_the_kinds_apart() -> None:
    kinds = (RecipeError, MeasurementError, StudyError, SchemaError, Interrupted)
    codes = [kind.exit_code for kind in kinds]
    assert len(set(codes)) == len(kinds)
    assert not {0, 1} & set(codes)
    # a mistake on the command line is the user's words, as one in the recipe is
    assert CathoscopeError.exit_code == RecipeError.exit_code == 2
    # 128 + SIGINT, the convention of every shell
    assert Interrupted.exit_code == 130
