"""Raw files of a measurement, opened by the readers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from cathoscope.core.errors import CathoscopeError, MeasurementError
from cathoscope.core.links import link_file
from cathoscope.core.schema import label
from cathoscope.flow.cell_sections import CELL_TECHNIQUES as _CELLS
from cathoscope.flow.raw import RawMeasurement, SetAside, arrange, files_of, link_references
from cathoscope.flow.recipe import Recipe
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps.bulk_opening import joined_spectra, open_spectra
from cathoscope.flow.steps.cell_records import arrange_cells, open_cell
from cathoscope.flow.steps.diffraction_files import PlacedError, arrange_patterns, require_pattern
from cathoscope.flow.steps.diffraction_plan import check_powder
from cathoscope.flow.steps.frames import arrange_frames
from cathoscope.flow.steps.lab_records import NEEDS as _LAB
from cathoscope.flow.steps.lab_records import arrange_records, require_record
from cathoscope.flow.steps.pixels import slice_thickness_of
from cathoscope.flow.steps.section_files import TECHNIQUES as _SECTIONS
from cathoscope.flow.steps.section_files import arrange_sections
from cathoscope.flow.steps.slice_morphology import arrange_slices
from cathoscope.io import open_raw
from cathoscope.io.quality import check_projections, drop_dead_frames
from cathoscope.io.repair import even_angles


def open_measurement(recipe: Recipe, name: str) -> RawMeasurement:
    """Open every file of a measurement, set aside what cannot be used, order the rest.

    Raises
    ------
    RecipeError
        If a file is missing or the pixel size is not known.
    MeasurementError
        If no file can be used.
    """
    section = recipe.model.measurement[name]
    raw = RawMeasurement(name, section)
    opened: list[tuple[float | None, xr.Dataset]] = []
    for entry, paths in files_of(recipe, name):
        groups = [[path] for path in paths] if section.technique in _FILE_BY_FILE else [paths]
        for group in groups:
            try:
                scan = _open_scan(section, group)
                links = [link_file(Path(path), recipe.data_folder) for path in scan.attrs.pop("files", group)]
                scan.attrs["place"] = len(opened) + len(raw.set_aside)
                scan.attrs["digest"] = "-".join(link.sampled_hash for link in links)
                opened.append((entry.temperature, scan))
                raw.links += links
            except MeasurementError as error:
                # the ending of a powder pattern tells its format
                most = _MOST_REASONS if section.technique in ("diffraction", *_CELLS) else None
                cure = f"; {error.cure}" if section.technique in (*_CELLS, *_LAB) and error.cure else ""
                raw.set_aside.append(SetAside(group[0].name, _one_line(error, most) + cure))
    if not opened and not section.start and (section.files or section.series):
        reasons = "\n            ".join(f"{item.file}: {item.reason}" for item in raw.set_aside)
        raise MeasurementError("no file can be used", where=name, found=reasons)
    link_references(raw, recipe)
    if section.technique == "xas":
        _join_spectra(raw, opened)
    elif section.technique == "diffraction":
        _arrange_powder(recipe, raw, opened)
    elif section.technique == "xanes-imaging":
        arrange_frames(raw, [scan for _, scan in opened])
    elif section.technique == "fibsem-series":
        arrange_slices(raw, [scan for _, scan in opened])
    elif section.technique in _CELLS:
        arrange_cells(recipe, raw, opened)
    elif section.technique in _LAB:
        arrange_records(recipe, raw, [scan for _, scan in opened])
    elif section.technique in _SECTIONS:
        arrange_sections(raw, [scan for _, scan in opened])
    else:
        arrange(raw, opened)
    _require_pixel_size(recipe, raw)
    if section.technique == "fibsem-stack":
        _require_thickness(recipe, raw)
    return raw


# Techniques of which every file is opened by itself; the files of the others make one measurement together.
_FILE_BY_FILE = (
    "xanes-tomography",
    "xanes-regions",
    "xanes-imaging",
    "xas",
    "fibsem-series",
    "diffraction",
    *_LAB,
    *_CELLS,
    *_SECTIONS,
)
_WITHOUT_PIXELS = ("spectromicroscopy", "xas", "diffraction")
_MOST_REASONS = 3  # of readers that do not recognise a file
_SLICES = ("fibsem-series", "fibsem-stack")  # pages of their files are slices


def _join_spectra(raw: RawMeasurement, opened: Sequence[tuple[float | None, xr.Dataset]]) -> None:
    if opened:
        joined = joined_spectra(opened)
        raw.scans[()] = joined
        raw.remarks.extend(joined.attrs["remarks"])


def _arrange_powder(recipe: Recipe, raw: RawMeasurement, opened: Sequence[tuple[float | None, xr.Dataset]]) -> None:
    """Patterns in order; what is wrong with phases, instruments and names of numbers is found here."""
    arrange_patterns(recipe, raw, opened)
    try:
        # the first temperature may be an empty one, and the others go on
        fullest = max(
            raw.scans.values(), key=lambda scan: int(np.isfinite(scan["diffraction_counts_std"].values).sum())
        )
        raw.remarks += check_powder(raw.section, recipe.data_folder, fullest).remarks
    except PlacedError as error:
        raise error.in_recipe(recipe, raw.name) from None


def _open_scan(section: MeasurementSection, paths: Sequence[Path]) -> xr.Dataset:
    if section.technique == "xas":
        return open_spectra(section, paths[0])
    if section.technique in _CELLS:
        return open_cell(section, paths[0])
    scan = open_raw(list(paths), reader=section.reader, angle_range=section.angle_range)
    if section.technique == "diffraction":
        return require_pattern(scan)
    if section.technique in _LAB:
        return require_record(scan, section.technique)
    if section.technique in (*_SLICES, *_SECTIONS):
        return _slices_of_pages(scan)
    if "pages" in scan.variables:
        scan = _projections_of_pages(scan, section)
    if section.rows is not None and "row" in scan.dims:
        scan = _crop(scan, section.rows)
    if section.technique in ("tomography", "xanes-tomography", "xanes-regions"):
        _require_projections(scan)
    if "flat_counts" in scan.variables:
        scan, dropped = drop_dead_frames(scan)
        scan.attrs["remarks"] = [*scan.attrs.get("remarks", ()), *dropped, *check_projections(scan)]
    return scan


# Fewer than this do not make a tomogram of anything, whatever their angles.
_FEWEST_PROJECTIONS = 20


def _require_projections(scan: xr.Dataset) -> None:
    """Refuse what cannot be reconstructed: no projections, too few, or no flats to divide by."""
    if "projection" not in scan.dims:
        raise MeasurementError(
            "the file holds no projections", where=scan.attrs["source"], found=str(scan.attrs.get("format", ""))
        )
    count, planned = scan.sizes["projection"], scan.attrs.get("planned_projections")
    if count < _FEWEST_PROJECTIONS:
        angles = scan["angle"].values
        room = f"; the header has room for {planned}" if planned and planned != count else ""
        raise MeasurementError(
            "too few projections for a reconstruction",
            where=scan.attrs["source"],
            expected=f"at least {_FEWEST_PROJECTIONS}, and about as many as the detector has columns",
            found=f"{count} from {angles.min():.1f} to {angles.max():.1f} deg{room}",
            cure="measure the scan again, or leave the file out",
        )
    if "counts" in scan.variables and "flat_counts" not in scan.variables:
        raise MeasurementError(
            "there are no flats: what the beam is without the sample is not known",
            where=scan.attrs["source"],
            cure="use a file with flats, or line integrals as a TIFF sequence",
        )


def _projections_of_pages(scan: xr.Dataset, section: MeasurementSection) -> xr.Dataset:
    """Pages of an image stack as projections; what they mean and at which angles is the recipe's word."""
    if section.content != "optical depth" or section.angle_range is None:
        raise MeasurementError(
            "an image stack does not say what its pages are",
            where=scan.attrs["source"],
            expected="line integrals (minus the logarithm of the transmission) at evenly spaced angles",
            found=f'content = "{section.content}", angle_range {"given" if section.angle_range else "not given"}',
            cure='add  content = "optical depth"  and  angle_range = [0, 180]',
        )
    angle = even_angles(section.angle_range, scan.sizes["page"])
    scan = scan.rename_dims(page="projection")
    return scan.assign_coords(angle=label("angle", angle, ("projection",)))


def _slices_of_pages(scan: xr.Dataset) -> xr.Dataset:
    """Pages of an image stack, which are slices."""
    if "pages" not in scan.variables:
        raise MeasurementError(
            "the file holds no slices", where=scan.attrs["source"], found=str(scan.attrs.get("format", ""))
        )
    return scan


def _crop(scan: xr.Dataset, rows: tuple[int, int]) -> xr.Dataset:
    start, stop = rows
    if not 0 <= start < stop <= scan.sizes["row"]:
        raise MeasurementError(
            "the rows asked for are not on the detector",
            where=scan.attrs["source"],
            expected=f"0 <= first < last <= {scan.sizes['row']}",
            found=f"rows = [{start}, {stop}]",
        )
    cropped = scan.isel(row=slice(start, stop))
    # Where the middle of the whole detector lies among the rows that are left: z counts from there.
    cropped.attrs["middle_row"] = 0.5 * (scan.sizes["row"] - 1) - start
    return cropped


def _one_line(error: CathoscopeError, most: int | None = None) -> str:
    """Problem and what was found, of many lines the first ``most``."""
    lines = [" ".join(line.split()) for line in (error.found or "").splitlines()]
    more = len(lines[most:]) if most is not None else 0
    found = " ".join([*lines[:most], *([f"and {more} more"] if more else [])])
    return error.problem + (f" ({found})" if found else "")


def _require_pixel_size(recipe: Recipe, raw: RawMeasurement) -> None:
    if not raw.scans or raw.section.technique in (*_WITHOUT_PIXELS, *_LAB, *_CELLS):
        return
    if raw.section.pixel_size is None and "pixel_size" not in raw.first.attrs:
        raise recipe.mistake(
            ("measurement", raw.name),
            f"the pixel size of {raw.name} is neither in the files nor in the recipe",
            expected="the size of a detector pixel at the sample",
            cure='add a line such as  pixel_size = "20 nm"',
        )


def _require_thickness(recipe: Recipe, raw: RawMeasurement) -> None:
    if raw.scans and slice_thickness_of(raw) is None:
        raise recipe.mistake(
            ("measurement", raw.name),
            f"the thickness of the slices of {raw.name} is neither in the files nor in the recipe",
            expected="slice thickness or positions in the files' block of text, or a thickness in the recipe",
            found=f"{raw.first.sizes['page']} slices without, from {Path(raw.first.attrs['source']).name} on",
            cure='add a line such as  slices.thickness = "19 nm"',
        )
