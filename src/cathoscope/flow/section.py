"""What the tables of a recipe are made of."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from cathoscope.core.errors import CathoscopeError
from cathoscope.core.units import parse


class Section(BaseModel):
    """A table of the recipe: keys that nobody knows are mistakes, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def as_list(value: Any) -> Any:
    """One text as a list of one."""
    return [value] if isinstance(value, str) else value


def ascending(value: tuple[Any, Any]) -> tuple[Any, Any]:
    """Two values, the first the smaller one."""
    if not value[0] < value[1]:
        raise ValueError(f"the first must be below the second, and {value[0]:g} is not below {value[1]:g}")
    return value


_NAME = re.compile(r"[^\s.*?\[\]]+")
_RESERVED = "background"


def named(name: str) -> str:
    """A name of a phase, bank or effect, which becomes the first part of the names of its numbers."""
    if not _NAME.fullmatch(name) or name == _RESERVED:
        raise ValueError(f"a name without blanks, dots, * and ?, and not {_RESERVED!r} is needed, not {name!r}")
    return name


Files = Annotated[list[str], BeforeValidator(as_list), Field(min_length=1)]


def quantity(name: str) -> BeforeValidator:
    """A text with a unit becomes a number in the unit of its quantity."""

    def check(value: Any) -> float:
        """A text or number as the quantity in its unit, or what is wrong with it."""
        try:
            return parse(value, name)
        except CathoscopeError as error:
            expected = f" (expected {error.expected})" if error.expected else ""
            raise ValueError(f"{error.problem}{expected}") from None

    return BeforeValidator(check)


Temperature = Annotated[float, quantity("temperature"), Field(gt=-273.15)]
