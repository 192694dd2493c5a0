"""What a notebook or a script needs: ``import cathoscope as cs``, then ``study = cs.open("study.zarr")``.

Results are xarray objects in the units of the schema, read from disk when their values are asked for; nothing here
changes a study but `run`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from cathoscope.core.errors import StudyError
from cathoscope.core.parallel import Progress, Resources, Silent
from cathoscope.core.study import Study
from cathoscope.core.units import parse

if TYPE_CHECKING:
    from cathoscope.report.style import Panel

__all__ = ["compare", "figures", "numbers", "open", "report", "run"]


def open(path: str | PathLike[str]) -> Study:
    """Open a study: ``study["rod-1"]`` is a Dataset of results, ``study.truth("rod-1")`` of what is true.

    Raises
    ------
    StudyError
        If there is no study at ``path`` or a newer program wrote it.
    """
    return Study.open(Path(path))


def run(
    recipe: str | PathLike[str],
    *,
    study: str | PathLike[str] | None = None,
    threads: int | None = None,
    memory: str = "2GB",
    progress: Progress | None = None,
) -> Study:
    """Run a recipe as ``cathoscope run`` does and open its study; what an earlier run found is kept.

    Raises
    ------
    RecipeError
        If the recipe is wrong; the message names its line.
    StudyError
        If a measurement cannot be used, naming each with its reason; the study holds the others.
    """
    from cathoscope.flow.recipe import load_recipe
    from cathoscope.flow.run import run as run_recipe

    path = Path(recipe)
    place = Path(study) if study is not None else path.with_suffix(".zarr")
    resources = Resources(memory=parse(memory, "memory"))
    if threads is not None:
        resources = Resources(threads=threads, memory=resources.memory)
    outcome = run_recipe(load_recipe(path), place, resources=resources, progress=progress or Silent())
    if outcome.failed:
        reasons = "\n".join(f"{item.name}: {item.failure}" for item in outcome.failed)
        raise StudyError(f"not every measurement could be used:\n{reasons}", where=place)
    return Study.open(place)


def numbers(study: Study, measurements: Sequence[str] | None = None) -> pd.DataFrame:
    """Every number of the report: one row each, with sigma, unit, where sigma comes from and the result's address.

    Coordinates (temperature in degC, cycle, phase, ...) are columns of their own, empty where a number has none.
    """
    from cathoscope.report.numbers import numbers_of

    found = [number for name in measurements or study.measurements("result") for number in numbers_of(study, name)]
    rows = [{**asdict(number), "place": None, **number.place} for number in found]
    return pd.DataFrame(rows).drop(columns="place", errors="ignore")


def compare(study: Study) -> pd.DataFrame:
    """Results against truth, array by array, as ``cathoscope compare`` prints them; the pull should be 0 ± 1.

    Raises
    ------
    StudyError
        If the study was measured, not simulated, or has no results yet.
    """
    from cathoscope.flow.compare import compare as compare_study

    return pd.DataFrame([row.record() for row in compare_study(study)])


def figures(study: Study, measurement: str) -> dict[str, Panel]:
    """The report's figures of one measurement by name; a notebook shows a panel with its caption.

    Raises
    ------
    StudyError
        If the measurement has no results.
    """
    from cathoscope.report.figures import panels_of

    return {panel.key: panel for panel in panels_of(study[measurement])}


def report(study: Study, output: str | PathLike[str] | None = None) -> Path:
    """Write the report as ``cathoscope report`` does; its page.

    Raises
    ------
    StudyError
        If the page cannot be written.
    """
    from cathoscope.flow.compare import compare as compare_study
    from cathoscope.report.page import write_report

    rows = compare_study(study) if study.measurements("truth") else []
    page = Path(output) if output is not None else study.path.with_suffix(".html")
    return write_report(study, page, comparison=[row.record() for row in rows]).page
