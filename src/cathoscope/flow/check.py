"""Find every mistake before an hour is spent: open all files, look at a little of each, compute nothing."""

from __future__ import annotations

from dataclasses import dataclass

from cathoscope.core.errors import MeasurementError, RecipeError
from cathoscope.flow.raw import RawMeasurement, missing_scans
from cathoscope.flow.recipe import Recipe, RecipeMistakes
from cathoscope.flow.run import plan_measurement
from cathoscope.flow.steps import open_measurement


@dataclass(frozen=True)
class Finding:
    """What a check found out about one measurement."""

    measurement: str
    technique: str
    scans: str
    images: str
    problems: tuple[str, ...]
    remarks: tuple[str, ...]
    unusable: bool


def check_recipe(recipe: Recipe) -> list[Finding]:
    """Open every measurement and build its graph.

    Raises
    ------
    RecipeMistakes
        With all mistakes of the recipe, not only the first.
    """
    findings, mistakes = [], []
    for name in recipe.model.measurement:
        try:
            findings.append(_check_measurement(recipe, name))
        except RecipeError as error:
            mistakes.append(error)
    if mistakes:
        raise RecipeMistakes(mistakes)
    return findings


def _check_measurement(recipe: Recipe, name: str) -> Finding:
    technique = recipe.model.measurement[name].technique
    try:
        raw = open_measurement(recipe, name)
        plan_measurement(recipe, name, raw=raw)
    except MeasurementError as error:
        return Finding(name, technique, "0", "", (str(error),), (), unusable=True)
    problems = [f"set aside {item.file}: {item.reason}" for item in raw.set_aside] + list(missing_scans(raw))
    return Finding(
        name, technique, _scans(raw), _images(raw), tuple(problems), tuple(_grouped(raw.remarks)), unusable=False
    )


def _scans(raw: RawMeasurement) -> str:
    if not raw.scans:
        return "start array"
    grid = " x ".join(f"{raw.coords[dim].size} {dim}" for dim in raw.dims)
    return f"{len(raw.scans)} ({grid})" if grid else "1"


# Arrays whose sizes tell what a file holds.
_SHOWN = (
    "counts",
    "pages",
    "image_counts",
    "absorption",
    "diffraction_counts",
    "sample_mass",
    "heat_flow",
    "absorbance",
    "element_content",
    "cell_voltage",
    "frequency",
)


def _images(raw: RawMeasurement) -> str:
    if not raw.scans:
        return ""
    name = next((name for name in _SHOWN if name in raw.first.variables), None)
    if name is None:
        return ""
    return " x ".join(f"{size} {dim}" for dim, size in raw.first[name].sizes.items())


def _grouped(remarks: list[str]) -> list[str]:
    """Each remark once, with the number of files it is true of."""
    counts: dict[str, int] = {}
    for remark in remarks:
        text = remark.split(": ", 1)[-1]
        counts[text] = counts.get(text, 0) + 1
    return [text if count == 1 else f"{text} ({count} files)" for text, count in counts.items()]
