"""The report: one HTML page that needs nothing beside it, and its figures and numbers as files."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jinja2
import xarray as xr

from cathoscope.core.errors import StudyError
from cathoscope.core.study import Study, write_failure
from cathoscope.report.cells_tables import cell_tables
from cathoscope.report.dissolution import solution_tables
from cathoscope.report.figures import (
    comparison_panels,
    cycling_samples,
    diffraction_samples,
    lab_samples,
    panels_of,
    particle_cells,
)
from cathoscope.report.figures.slice_series import series_panel
from cathoscope.report.figures.state_curves import ParticleResult, samples_panel
from cathoscope.report.heating_tables import heating_tables
from cathoscope.report.impedance_tables import impedance_tables
from cathoscope.report.memory import drawn_within
from cathoscope.report.methods import Methods, methods_of
from cathoscope.report.numbers import Row, numbers_of, size_text, write_csv, write_json
from cathoscope.report.powder_tables import powder_tables
from cathoscope.report.relations import RelationPart, relation_parts
from cathoscope.report.story import Point, story_of
from cathoscope.report.style import FILE_FORMATS, Panel, figure_bytes, freeze_layout, journal_style
from cathoscope.report.summary import (
    MeasurementSummary,
    comparison_rows,
    measurement_names,
    number_rows,
    summary_of,
)
from cathoscope.report.tables import Table, arrays_in, tables_of
from cathoscope.report.white_line_tables import white_line_tables

MOST_BYTES = 5_000_000  # of the page, as long as its pictures can be read
ACROSS = "samples"  # first part of the names of figures that show several measurements
# figures of several measurements, by the array that each needs, in the order of the papers
_SIDE_BY_SIDE = {
    "white_line_mean": (samples_panel,),
    "diffraction_fit": (diffraction_samples.first_patterns_panel, diffraction_samples.series_panel),
    "porosity_trend": (series_panel,),
    "mass_left": (lab_samples.mass_samples_panel,),
    "heat_flow": (lab_samples.heat_samples_panel,),
    "net_absorbance": (lab_samples.light_samples_panel,),
    "metal_share": (lab_samples.dissolved_samples_panel,),
    "retention_mean": (cycling_samples.retention_samples_panel,),
    "cycle": (particle_cells.particle_cells_panel,),
}
_COMPARISON = "samples"  # the relation that stands before the figures
# Resolution of pixel images and the largest vector image kept as such; the first pair that keeps the page small wins.
# Below the last pair words in figures are hard to read, so pages of hundreds of figures are larger.
_QUALITIES = ((200, 90_000), (150, 60_000), (110, 40_000))


@dataclass(frozen=True)
class ReportFiles:
    """What `write_report` wrote."""

    page: Path
    folder: Path
    figures: tuple[Path, ...]
    numbers: tuple[Path, ...]


@dataclass(frozen=True)
class Across:
    """What shows several measurements side by side, and what is told of the whole study in words."""

    panels: tuple[Panel, ...] = ()
    relations: tuple[RelationPart, ...] = ()
    story: tuple[Point, ...] = ()
    methods: Methods = field(default_factory=lambda: Methods((), ()))

    @property
    def compared(self) -> RelationPart | None:
        """Sample against sample, where the study allows it."""
        return next((part for part in self.relations if part.name == _COMPARISON), None)

    @property
    def other_relations(self) -> tuple[RelationPart, ...]:
        """What else several measurements tell together."""
        return tuple(part for part in self.relations if part.name != _COMPARISON)

    @property
    def all_panels(self) -> tuple[Panel, ...]:
        """Every figure of several measurements."""
        return (*self.panels, *(panel for part in self.relations for panel in part.panels))

    @property
    def all_tables(self) -> tuple[Table, ...]:
        """Every table of several measurements."""
        return tuple(table for part in self.relations for table in part.tables)


@dataclass(frozen=True)
class Section:
    """One measurement on the page."""

    summary: MeasurementSummary
    anchor: str
    panels: tuple[Panel, ...]
    truth_panels: tuple[Panel, ...]
    tables: tuple[Table, ...]
    rows: tuple[Row, ...]

    @property
    def all_panels(self) -> tuple[Panel, ...]:
        """Every figure of the measurement."""
        return (*self.panels, *self.truth_panels)


def write_report(
    study: Study, output: Path, *, comparison: Sequence[Mapping[str, object]] = (), memory: float = 2e9
) -> ReportFiles:
    """Write the page ``output`` and the folder ``<stem>_files`` with every figure and number.

    Both are put in place only when they are complete, so a reader never meets half a report.

    Parameters
    ----------
    comparison
        Rows of `cathoscope compare`: measurement, array, unit, n, bias, rmse, pull_mean, pull_width, note.
    memory
        Bytes for the values of one figure while it is made; of larger volumes, pictures show every second voxel, or
        every third.

    Raises
    ------
    StudyError
        If the study cannot be read or the report cannot be written.
    """
    with drawn_within(memory):
        sections = [_section(study, name, index) for index, name in enumerate(measurement_names(study))]
        across = _with_words(study, across_measurements(study), sections)
    panels = [*across.all_panels, *(panel for section in sections for panel in section.all_panels)]
    vectors = {id(panel): figure_bytes(panel.figure, "svg") for panel in panels}
    page = _page_within_limit(study, (across, sections), vectors, output, comparison_rows(comparison))
    folder = output.with_name(f"{output.stem}_files")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.stem}-") as scratch:
            figures, tables = _write_folder(study, across, sections, vectors, Path(scratch) / "files")
            (Path(scratch) / "page.html").write_text(page, encoding="utf-8")
            _replace_folder(Path(scratch) / "files", folder, Path(scratch) / "old")
            os.replace(Path(scratch) / "page.html", output)
    except OSError as error:
        raise write_failure(output, error) from error
    files = tuple(folder / name for name in figures)
    numbers = tuple(folder / name for name in ("numbers.csv", "numbers.json", *tables))
    return ReportFiles(output, folder, files, numbers)


def _with_words(study: Study, across: Across, sections: Sequence[Section]) -> Across:
    """The summary and the methods in words."""
    summaries = [section.summary for section in sections]
    read = {summary.name: _read(study, "result", summary.name) for summary in summaries}
    results = {name: data for name, data in read.items() if data is not None}
    return replace(across, story=story_of(study, summaries, results, across.relations), methods=methods_of(study))


def _replace_folder(new: Path, target: Path, old: Path) -> None:
    if target.exists() and not (target / "numbers.csv").is_file():
        raise StudyError(
            "this folder was not written by a report",
            where=target,
            cure="choose another name for the report with --output",
        )
    if target.exists():
        os.replace(target, old)
    os.replace(new, target)
    shutil.rmtree(old, ignore_errors=True)


def _section(study: Study, name: str, index: int) -> Section:
    data = _read(study, "result", name)
    truth = study.truth(name) if _read(study, "truth", name) is not None else None
    numbers = numbers_of(study, name)
    tables = () if data is None else _tables(data)
    in_tables = arrays_in(tables)
    return Section(
        summary=summary_of(study, name, data),
        anchor=f"measurement-{index + 1}",
        panels=() if data is None else tuple(panels_of(data)),
        truth_panels=() if data is None or truth is None else tuple(comparison_panels(data, truth)),
        tables=tables,
        rows=tuple(number_rows(number for number in numbers if number.array not in in_tables)),
    )


def _tables(data: xr.Dataset) -> tuple[Table, ...]:
    """Every table that the arrays of a measurement allow."""
    made = (*white_line_tables(data), *tables_of(data), *powder_tables(data), *heating_tables(data))
    return (*made, *solution_tables(data), *cell_tables(data), *impedance_tables(data))


def across_measurements(study: Study) -> Across:
    """Figures that show several measurements side by side, and what they tell together."""
    results = []
    for name in measurement_names(study):
        data = _read(study, "result", name)
        if data is not None and any(key in data for key in _SIDE_BY_SIDE):
            raw = study.attributes("raw", name)
            results.append(ParticleResult(str(raw.get("sample", name)), str(raw.get("particle") or name), data))
    panels = []
    with journal_style():
        for key, makers in _SIDE_BY_SIDE.items():
            chosen = [each for each in results if key in each.data]
            made = [make(chosen) for make in makers] if len(chosen) > 1 else []
            panels += [panel for panel in made if panel is not None]
        relations = relation_parts(study)
    across = Across(tuple(panels), relations)
    for panel in across.all_panels:
        freeze_layout(panel.figure)
    return across


def _read(study: Study, group: str, name: str) -> xr.Dataset | None:
    return study.read(group, name) if name in study.measurements(group) and study.arrays(group, name) else None


def _write_folder(
    study: Study, across: Across, sections: Sequence[Section], vectors: Mapping[int, bytes], folder: Path
) -> tuple[list[str], list[str]]:
    """Write every figure, number and table; the names of the figures and of the tables."""
    folder.mkdir()
    numbers = numbers_of(study, *(section.summary.name for section in sections))
    with (folder / "numbers.csv").open("w", encoding="utf-8") as file:
        write_csv(numbers, file)
    with (folder / "numbers.json").open("w", encoding="utf-8") as file:
        write_json(numbers, file)
    names, tables = [], []
    stems = [(ACROSS, table) for table in across.all_tables]
    stems += [(file_stem(section.summary.name), table) for section in sections for table in section.tables]
    for stem, table in stems:
        tables.append(f"{stem}-{table.key}.csv")
        (folder / tables[-1]).write_text(table.csv(), encoding="utf-8")
    named = [(ACROSS, panel) for panel in across.all_panels]
    named += [(file_stem(section.summary.name), panel) for section in sections for panel in section.all_panels]
    for stem, panel in named:
        for file_format in FILE_FORMATS:
            names.append(f"{stem}-{panel.key}.{file_format}")
            vector = vectors[id(panel)] if file_format == "svg" else None
            (folder / names[-1]).write_bytes(vector or figure_bytes(panel.figure, file_format))
    return names, tables


def file_stem(name: str) -> str:
    """A measurement's name as part of a file name on any system; different names stay different."""
    stem = re.sub(r"[^\w.-]+", "_", name)
    return stem if stem == name else f"{stem}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _page_within_limit(
    study: Study,
    parts: tuple[Across, Sequence[Section]],
    vectors: Mapping[int, bytes],
    output: Path,
    comparison: Sequence[Mapping[str, str]],
) -> str:
    """The page at the best picture quality that keeps it below ``MOST_BYTES``, or else at the last."""
    across, sections = parts
    panels = [*across.all_panels, *(panel for section in sections for panel in section.all_panels)]
    page, dpi_before = "", 0
    for dpi, most_vector_bytes in _QUALITIES:
        if page and dpi != _QUALITIES[-1][0] and _is_hopeless(len(page.encode()), dpi / dpi_before):
            continue
        images = {
            id(panel): _inline_image(panel, vectors[id(panel)], dpi=dpi, most_vector_bytes=most_vector_bytes)
            for panel in panels
        }
        page, dpi_before = _render(study, parts, images, output, comparison), dpi
        if len(page.encode()) < MOST_BYTES:
            break
    return page


def _is_hopeless(size: int, finer: float) -> bool:
    """Whether a page of ``size`` bytes stays too large, even if its pictures shrink with their number of pixels."""
    return size * finer**2 > MOST_BYTES


def _inline_image(panel: Panel, vector: bytes, *, dpi: int, most_vector_bytes: int) -> str:
    """The figure as a data address: vector if that is small and all lines, else pixels."""
    if len(vector) <= most_vector_bytes and not any(axes.images for axes in panel.figure.axes):
        return f"data:image/svg+xml;base64,{base64.b64encode(vector).decode()}"
    pixels = figure_bytes(panel.figure, "webp", dpi=dpi)
    return f"data:image/webp;base64,{base64.b64encode(pixels).decode()}"


def _render(
    study: Study,
    parts: tuple[Across, Sequence[Section]],
    images: Mapping[int, str],
    output: Path,
    comparison: Sequence[Mapping[str, str]],
) -> str:
    across, sections = parts
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cathoscope.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    log = study.log()
    return environment.get_template("report.html").render(
        title=study.title,
        sections=sections,
        across=across,
        image_of=lambda panel: images[id(panel)],
        comparison=comparison,
        runs=[_run_words(record) for record in reversed(log)],
        last=log[-1] if log else {},
        last_steps=_step_rows(log[-1]) if log else [],
        warnings=_warnings(sections),
        aside=[(section.summary.name, *one) for section in sections for one in section.summary.set_aside],
        files_folder=f"{output.stem}_files",
    )


def _run_words(record: Mapping[str, Any]) -> dict[str, str]:
    measurements = record.get("measurements") or []
    done = sum(len(item.get("computed") or []) for item in measurements)
    kept = sum(len(item.get("cached") or []) for item in measurements)
    failed = [str(item.get("name")) for item in measurements if item.get("failure")]
    memory = record.get("memory_bytes")
    return {
        "when": str(record.get("when", "")),
        "seconds": f"{float(record.get('seconds') or 0):.1f} s",
        "threads": str(record.get("threads", "")),
        "memory": size_text(float(memory)) if memory else "",
        "steps": f"{done} computed, {kept} kept" + (f", failed: {', '.join(failed)}" if failed else ""),
    }


def _step_rows(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Measurement, step and time of the last run; steps that were kept cost nothing."""
    rows = []
    for item in record.get("measurements") or []:
        name = str(item.get("name", ""))
        seconds = item.get("seconds") or {}
        rows += [(name, str(step), f"{float(seconds[step]):.2f} s") for step in item.get("computed") or seconds]
        rows += [(name, str(step), "kept") for step in item.get("cached") or []]
    return rows


def _warnings(sections: Sequence[Section]) -> list[tuple[str, str]]:
    """Everything a reader should know before trusting a number."""
    found = []
    for section in sections:
        summary = section.summary
        found += [(summary.name, summary.failure)] if summary.failure else []
        found += [(summary.name, f"{len(summary.set_aside)} set aside")] if summary.set_aside else []
        found += [(summary.name, remark) for remark in summary.remarks]
    return found
