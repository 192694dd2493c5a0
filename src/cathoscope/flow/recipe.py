"""The user's recipe: samples, measurements and analysis choices, validated before anything runs."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Any, get_args

from pydantic import ValidationError

from cathoscope.core.errors import RecipeError
from cathoscope.core.relations import is_relation
from cathoscope.core.sample import Sample
from cathoscope.flow.diffraction_sections import BankSection, PowderPhaseSection
from cathoscope.flow.section import Section
from cathoscope.flow.sections import MeasurementSection, RecipeModel, SampleSection, SeriesEntry
from cathoscope.flow.toml_lines import KeyPath, line_of, lines_of_keys

DATA_VARIABLE = "CATHOSCOPE_DATA"


@dataclass(frozen=True)
class Recipe:
    """A validated recipe, with the file it came from so that later mistakes can name their line."""

    path: Path
    text: str
    model: RecipeModel
    data_folder: Path

    def samples(self) -> dict[str, Sample]:
        """The samples by name."""
        return {name: Sample(name, **section.model_dump()) for name, section in self.model.sample.items()}

    def mistake(self, path: KeyPath, problem: str, **words: str | None) -> RecipeError:
        """A mistake at the line that holds ``path``."""
        return RecipeError(problem, where=_where(self.path, self.text, path), **words)


class RecipeMistakes(RecipeError):
    """All mistakes of one recipe at once."""

    def __init__(self, mistakes: list[RecipeError]) -> None:
        self.mistakes = mistakes
        super().__init__("\n".join(map(str, mistakes)))


def load_recipe(path: Path, *, data: Path | None = None) -> Recipe:
    """Read and validate a recipe.

    The data folder is ``data`` if given, else the environment variable ``CATHOSCOPE_DATA``, else what
    the recipe says, relative to the recipe.

    Raises
    ------
    RecipeError
        Naming file, line, what was expected, what was found and what to type, for every mistake.
    """
    text = _read(path)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_mistake(path, text, error) from None
    try:
        model = RecipeModel.model_validate(values)
    except ValidationError as error:
        raise RecipeMistakes([_mistake(path, text, dict(entry)) for entry in error.errors()]) from None
    stated = data or os.environ.get(DATA_VARIABLE) or path.parent / model.study.data
    recipe = Recipe(path, text, model, Path(stated).resolve())
    _check_names(recipe)
    _check_samples(recipe)
    return recipe


def _read(path: Path) -> str:
    if path.is_dir():
        raise RecipeError("this is a directory", where=path, expected="a recipe, a TOML file")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(
            "there is no such recipe", where=path, cure=f"make one with: cathoscope new {path.name}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError("the recipe cannot be read", where=path, expected="UTF-8 text", found=str(error)) from None
    if not text.strip():
        raise RecipeError("the recipe is empty", where=path, cure="start from: cathoscope new study.toml")
    return text


# Names of measurements are names of folders of the study, and a recipe may come from anybody.
_FOLDER = re.compile(r"[^/\\\x00-\x1f.][^/\\\x00-\x1f]{0,99}")


def _check_names(recipe: Recipe) -> None:
    mistakes = []
    for name in recipe.model.measurement:
        if is_relation(name):
            problem = f"{name!r} is kept for what several measurements tell together"
            mistakes.append(recipe.mistake(("measurement", name), problem, cure="choose another name"))
        elif not _FOLDER.fullmatch(name):
            mistakes.append(
                recipe.mistake(
                    ("measurement", name),
                    "this is no name for a measurement, which becomes a folder of the study",
                    expected="up to 100 letters, digits, blanks and signs without / and \\, not beginning with a dot",
                    found=repr(name[:80]),
                )
            )
    if mistakes:
        raise RecipeMistakes(mistakes)


def _check_samples(recipe: Recipe) -> None:
    known = list(recipe.model.sample)
    mistakes = [
        recipe.mistake(
            ("measurement", name, "sample"),
            f"no sample is called {measurement.sample!r}",
            expected=" or ".join(known) or "a [sample.NAME] table",
            cure=_suggestion(measurement.sample, known) or f"add a table [sample.{measurement.sample}]",
        )
        for name, measurement in recipe.model.measurement.items()
        if measurement.sample not in known
    ]
    if mistakes:
        raise RecipeMistakes(mistakes)


def _where(path: Path, text: str, key: KeyPath) -> str:
    line = line_of(lines_of_keys(text), key)
    return f"{path.name}, line {line}" if line else path.name


def _suggestion(word: str, known: list[str]) -> str | None:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else None


def _syntax_mistake(path: Path, text: str, error: tomllib.TOMLDecodeError) -> RecipeError:
    message = str(error)
    line = re.search(r"line (\d+)", message)
    duplicate = re.search(r"Cannot declare \((.*)\) twice", message)
    if duplicate:
        key = ".".join(part.strip(" '") for part in duplicate.group(1).split(",") if part.strip())
        first = line_of(lines_of_keys(text), tuple(key.split(".")))
        return RecipeError(
            f"[{key}] is declared twice",
            where=f"{path.name}, line {line.group(1)}" if line else path.name,
            found=f"the first one on line {first}",
            cure="give one of them another name",
        )
    return RecipeError(
        f"this is not TOML: {message}",
        where=f"{path.name}, line {line.group(1)}" if line else path.name,
        cure='keys look like  name = "text"  or  name = 3.5, tables like  [measurement.rod]',
    )


def _mistake(path: Path, text: str, entry: dict[str, Any]) -> RecipeError:
    """A person's version of one pydantic error."""
    key: KeyPath = tuple(part for part in entry["loc"] if not _is_union_branch(part))
    where = _where(path, text, key)
    name = ".".join(map(str, key))
    found = repr(entry["input"])[:80]
    if entry["type"] == "extra_forbidden":
        known = _known_keys(key[:-1])
        return RecipeError(
            f"unknown key {key[-1]!r}" + (f" in [{'.'.join(map(str, key[:-1]))}]" if key[:-1] else ""),
            where=where,
            expected=" or ".join(known),
            found=str(key[-1]),
            cure=_suggestion(str(key[-1]), known),
        )
    if entry["type"] == "missing":
        cure = "add a table  [measurement.NAME]" if name == "measurement" else f"add a line  {key[-1]} = ..."
        return RecipeError(f"{name} is missing", where=where, expected=str(key[-1]), cure=cure)
    message = entry["msg"].removeprefix("Value error, ")
    meant = _other_choice(key, entry) if entry["type"] == "literal_error" else None
    return RecipeError(f"{name}: {message}" if name else message, where=where, found=found, cure=meant)


def _other_choice(key: KeyPath, entry: dict[str, Any]) -> str | None:
    """What may have been meant by a word that is none of those to choose from."""
    word, known = str(entry["input"]), re.findall(r"'([^']+)'", str(entry["ctx"]["expected"]))
    meant = _OTHER_NAMES.get(word.lower().replace("_", "-")) if key[-1] == "technique" else None
    return f"did you mean {meant}?" if meant in known else _suggestion(word, known)


def _is_union_branch(part: str | int) -> bool:
    return isinstance(part, str) and (part.startswith(("list[", "function-", "tuple[")) or part in ("float", "str"))


def _known_keys(path: KeyPath) -> list[str]:
    """Keys that the table at ``path`` may hold."""
    model: Any = RecipeModel
    parts = iter(path)
    for part in parts:
        if part in _TABLES_OF_TABLES:
            model = _TABLES_OF_TABLES[part]
            next(parts, None)  # the name that the user gave, or the place in the list
        else:
            model = _section_of(model.model_fields[part].annotation)
    return list(model.model_fields)


def _section_of(annotation: Any) -> Any:
    """The section that a field holds; a table that may be left out is annotated with None beside it."""
    return next((each for each in get_args(annotation) if isinstance(each, type) and each is not NoneType), annotation)


_OTHER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("eis", "peis", "geis", "impedance-spectroscopy"), "impedance"),
        **dict.fromkeys(("tga", "tg", "balance", "thermogravimetry"), "mass-loss"),
        **dict.fromkeys(("dsc", "dta", "calorimeter"), "calorimetry"),
        **dict.fromkeys(("icp", "icp-oes", "icp-ms"), "elements"),
        **dict.fromkeys(("uv", "uvvis", "absorbance"), "uv-vis"),
        **dict.fromkeys(("gcpl", "galvanostatic", "coin-cell", "cells", "cv"), "cycling"),
        **dict.fromkeys(("single-particle", "particle"), "particle-cell"),
        **dict.fromkeys(("xrd", "powder", "rietveld", "neutron", "npd"), "diffraction"),
        **dict.fromkeys(("xanes", "exafs", "bulk-xas"), "xas"),
        **dict.fromkeys(("txm", "nano-ct", "ct"), "tomography"),
        **dict.fromkeys(("stxm",), "spectromicroscopy"),
    }
)
"""What people call techniques, and their names here."""

_TABLES_OF_TABLES: Mapping[str | int, type[Section]] = MappingProxyType(
    {
        "sample": SampleSection,
        "measurement": MeasurementSection,
        "series": SeriesEntry,
        "phases": PowderPhaseSection,
        "banks": BankSection,
    }
)
