"""A measurement's raw files, opened lazily and put in order; what cannot be used is set aside with its reason."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.core.links import FileLink, link_file
from cathoscope.core.schema import label
from cathoscope.flow.recipe import Recipe
from cathoscope.flow.sections import MeasurementSection, SeriesEntry

# Energies of two temperatures closer than this are one energy: monochromators return to a set
# energy within some 10 meV, and no scan steps finer than 100 meV.
_SAME_ENERGY = 0.05  # eV

ScanIndex = tuple[int, ...]


@dataclass(frozen=True)
class SetAside:
    """A file that is not used, and why."""

    file: str
    reason: str


def in_one_line(error: MeasurementError) -> str:
    """Why something is set aside, in one line, with what helps."""
    found = f" ({' '.join(error.found.split())})" if error.found else ""
    return f"{error.problem}{found}{f'; {error.cure}' if error.cure else ''}"


@dataclass
class RawMeasurement:
    """Scans in order, indexed along ``dims`` (temperature and energy, where the measurement scans them)."""

    name: str
    section: MeasurementSection
    dims: tuple[str, ...] = ()
    coords: dict[str, xr.DataArray] = field(default_factory=dict)
    scans: dict[ScanIndex, xr.Dataset] = field(default_factory=dict)
    links: list[FileLink] = field(default_factory=list)
    references: list[FileLink] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def shape(self) -> ScanIndex:
        """Number of scans along each dim."""
        return tuple(self.coords[dim].size for dim in self.dims)

    @property
    def fingerprint(self) -> str:
        """Hash of the content that is used and its place, wherever the files lie and whenever they were copied."""
        content = {
            "scans": {str(index): scan.attrs["digest"] for index, scan in self.scans.items()},
            "coords": {name: coord.values.tolist() for name, coord in self.coords.items()},
            "reading": self.section.model_dump(
                mode="json", include={"reader", "content", "angle_range", "rows", "pixel_size", "columns"}
            ),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]

    @property
    def first(self) -> xr.Dataset:
        """The first scan that can be used."""
        return self.scans[min(self.scans)]

    def put_aside(self, index: ScanIndex, reason: str) -> list[str]:
        """Leave out a scan found bad later on; its place stays empty. Returns its file, the reason and its digest."""
        scan = self.scans.pop(index)
        file = Path(scan.attrs["source"]).name
        self.set_aside.append(SetAside(file, reason))
        return [file, reason, str(scan.attrs["digest"])]

    def record(self) -> dict[str, Any]:
        """What the study remembers of the raw files."""
        return {
            "sample": self.section.sample,
            "particle": self.section.particle,
            "technique": self.section.technique,
            "note": self.section.note,
            "format": sorted({str(scan.attrs.get("format", "")) for scan in self.scans.values()}),
            "shape": {dim: int(size) for dim, size in self.first.sizes.items()} if self.scans else {},
            "scans": {name: coord.values.tolist() for name, coord in self.coords.items()},
            "files": [link.record() for link in (*self.links, *self.references)],
            "set_aside": [[item.file, item.reason] for item in self.set_aside],
            "remarks": self.remarks,
        }


def files_of(recipe: Recipe, name: str) -> list[tuple[SeriesEntry, list[Path]]]:
    """The files of every entry of a measurement's series.

    Raises
    ------
    RecipeError
        If a file or pattern matches nothing.
    """
    section = recipe.model.measurement[name]
    if section.start or not (section.files or section.series):
        return []
    entries = section.series or (SeriesEntry(files=section.files or []),)
    found = []
    for position, entry in enumerate(entries):
        key = ("measurement", name, "series", position, "files") if section.series else ("measurement", name, "files")
        paths = [path for pattern in entry.files for path in find_files(recipe, pattern, key)]
        found.append((entry, paths))
    return found


def find_files(recipe: Recipe, pattern: str, key: tuple[str | int, ...]) -> list[Path]:
    """Files that match ``pattern``, which is relative to the data folder or absolute, in alphabetical order.

    Raises
    ------
    RecipeError
        Naming the line of ``key`` if there are none.
    """
    literal = recipe.data_folder / pattern
    if literal.exists():
        return [literal]
    root = Path(Path(pattern).anchor) if Path(pattern).is_absolute() else recipe.data_folder
    try:
        matches = sorted(root.glob(str(literal.relative_to(root))))
    except ValueError as error:
        raise recipe.mistake(
            key, "this is not a pattern of files", expected='such as "scans/*.h5"', found=str(error)
        ) from None
    if not matches:
        raise recipe.mistake(
            key,
            "no such file",
            expected=str(literal),
            found=_what_is_there(literal),
            cure="correct the name, or say where the data are with --data FOLDER",
        )
    return matches


def _what_is_there(path: Path) -> str:
    folder = path.parent
    while not folder.is_dir():
        folder = folder.parent
    names = sorted(entry.name for entry in folder.iterdir())
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return f"in {folder}: {', '.join(names[:6]) or 'nothing'}{more}"


def arrange(raw: RawMeasurement, opened: Sequence[tuple[float | None, xr.Dataset]]) -> None:
    """Place opened scans on the grid of temperatures and energies.

    Two scans of one temperature with the same energy are a mistake of the measurement: the first is
    used, the second set aside.
    """
    if not opened:  # the measurement starts from an array
        return
    temperatures = sorted({temperature for temperature, _ in opened if temperature is not None})
    if temperatures:
        raw.dims += ("temperature",)
        raw.coords["temperature"] = label("temperature", np.array(temperatures), ("temperature",))
    by_energy = raw.section.technique in ("xanes-tomography", "xanes-regions")
    if by_energy:
        opened = _with_energy(raw, opened)
    grid = _energy_grid([_energy(scan) for _, scan in opened]) if by_energy else np.empty(0)
    if by_energy:
        raw.dims += ("energy",)
        raw.coords["energy"] = label("energy", grid, ("energy",))
    for temperature, scan in opened:
        index: ScanIndex = () if temperature is None else (temperatures.index(temperature),)
        if by_energy:
            index += (int(np.argmin(np.abs(grid - _energy(scan)))),)
        _place(raw, index, scan)


def _place(raw: RawMeasurement, index: ScanIndex, scan: xr.Dataset) -> None:
    file = Path(scan.attrs["source"]).name
    if index in raw.scans:
        other = Path(raw.scans[index].attrs["source"]).name
        energy = f" of {_energy(scan):.2f} eV" if "energy" in scan else ""
        raw.set_aside.append(SetAside(file, f"a second scan{energy} at this temperature; {other} is used"))
        return
    shape = {dim: scan.sizes[dim] for dim in ("row", "column") if dim in scan.sizes}
    if raw.scans and shape != (expected := {dim: raw.first.sizes[dim] for dim in shape}):
        raw.set_aside.append(SetAside(file, f"its images are {shape}, those of the other scans {expected}"))
        return
    raw.scans[index] = scan
    raw.remarks.extend(f"{file}: {remark}" for remark in scan.attrs.get("remarks", ()))


def missing_scans(raw: RawMeasurement) -> Iterator[str]:
    """What is absent from the grid, in words; one line for a condition of which nothing is there."""
    for condition in np.ndindex(raw.shape[:-1]) if raw.dims else ():
        last = range(raw.shape[-1])
        lost = [(*condition, i) for i in last if (*condition, i) not in raw.scans]
        if condition and len(lost) == len(last) > 1:
            at_none = f"at none of {len(last)} values of {raw.dims[-1]}"
            yield f"no usable scan at {_place_in_words(raw, condition)}, {at_none}"
        else:
            yield from (f"no usable scan at {_place_in_words(raw, index)}" for index in lost)


def _place_in_words(raw: RawMeasurement, index: tuple[int, ...]) -> str:
    return ", ".join(
        f"{dim} {raw.coords[dim].values[i]:g} {raw.coords[dim].attrs['units'].removeprefix('1')}".rstrip()
        for dim, i in zip(raw.dims, index, strict=False)
    )


def link_references(raw: RawMeasurement, recipe: Recipe) -> None:
    """Link the files that are read beside: spectra of components, library, foil; instruments and structures.

    Raises
    ------
    RecipeError
        If one of them is not there.
    """
    section = raw.section
    files: dict[tuple[str, ...], str] = {
        ("mixture", "references", name): file for name, file in section.mixture.references.items()
    }
    files |= {("xas", "foil"): section.xas.foil} if section.xas.foil else {}
    files |= {("series", str(i), "foil"): entry.foil for i, entry in enumerate(section.series) if entry.foil}
    files |= {("grains", key): getattr(section.grains, key) for key in ("labels", "axes") if section.grains}
    files |= {("combination", "library"): section.combination.library} if section.combination.library else {}
    files |= {("instrument", str(i)): file for i, file in enumerate(section.instrument)}
    files |= {("banks", str(i), "instrument"): bank.instrument for i, bank in enumerate(section.banks)}
    files |= {("phases", name, "file"): phase.file for name, phase in section.phases.items() if phase.file}
    for table in ("mass_loss", "calorimetry", "uv_vis"):
        stated = getattr(section, table)
        files |= {(table, key): getattr(stated, key) for key in ("blank", "gas") if getattr(stated, key, None)}
    for place, file in files.items():
        key = ("measurement", raw.name, *(int(part) if part.isdigit() else part for part in place))
        raw.references += [link_file(path, recipe.data_folder) for path in find_files(recipe, file, key)]


def _with_energy(
    raw: RawMeasurement, opened: Sequence[tuple[float | None, xr.Dataset]]
) -> list[tuple[float | None, xr.Dataset]]:
    """The scans that say their photon energy; the others are set aside."""
    usable = [(temperature, scan) for temperature, scan in opened if "energy" in scan.variables]
    if not usable:
        raise MeasurementError(
            "no scan says its photon energy",
            where=opened[0][1].attrs["source"],
            cure='a single scan is  technique = "tomography"',
        )
    raw.set_aside += [
        SetAside(Path(scan.attrs["source"]).name, "it does not say its photon energy")
        for _, scan in opened
        if "energy" not in scan.variables
    ]
    return usable


def _energy(scan: xr.Dataset) -> float:
    return float(scan["energy"])


def _energy_grid(energies: Sequence[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Sorted energies, those within the monochromator's reproducibility taken as one (their mean)."""
    ordered = np.sort(np.asarray(energies, dtype=float))
    groups = np.split(ordered, np.flatnonzero(np.diff(ordered) > _SAME_ENERGY) + 1)
    return np.array([group.mean() for group in groups])
