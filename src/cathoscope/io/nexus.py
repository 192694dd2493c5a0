"""NXtomo (NeXus) tomography scans: one stack of frames, and a key that says what each frame is.

Schema
------
``counts`` (projection, row, column), ``flat_counts`` (flat, row, column), ``dark_counts`` (dark, row, column), all
lazy, in the file's number type: the frames of each kind, in the order they were taken. Coordinates ``angle``
(projection) in deg and, where the file tells, the scalar ``energy`` in eV.

Uncertainties
-------------
None are stored in the files. Counting noise follows from the counts and the detector's gain.

Metadata
--------
Attributes ``format``, ``source``, ``linked_files`` (other files that hold the frames, the key or the angles),
``remarks`` (what was noticed, set aside and missing), ``pixel_size`` (um, at the sample), and as the file has them
``title``, ``scan_id``, ``experiment``, ``sample_name``, ``start_date``, ``end_date``, ``exposure_s``,
``magnification``.

File structure
--------------
HDF5. An entry, or an entry within an entry, holds ``instrument/<detector>/data`` (frame, row, column) and
``instrument/<detector>/image_key`` (frame): 0 projection, 1 flat, 2 dark, 3 invalid; a negative
``image_key_control`` marks images for alignment. Angles are in ``sample/rotation_angle``, else in ``rotation_angle``
of an NXdata group, else on the first axis of the NXdata group named as the detector, one for each frame or one for
each projection. The energy is ``instrument/beam/incident_energy``, ``beam/incident_energy`` or ``energy`` of a
monochromator; the pixel size ``sample/x_pixel_size``, or the detector's ``x_pixel_size`` over ``magnification``.

A master file keeps arrays in other files by external links. They are looked for where the link says,
then by name beside the file with the link, then in the folders next to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.io.hdf5_links import (
    MasterFile,
    Place,
    absent_sources,
    groups_of,
    link_remarks,
)
from cathoscope.io.hdf5_tree import attribute_of, small_value, unit_of
from cathoscope.io.lazy import COPY_AGAIN, hdf5_file, indices_of, lazy
from cathoscope.io.repair import (
    STATE_ANGLES,
    angles_in_degrees,
    angles_of_projections,
    energy_in_ev,
    even_angles,
    length_in_um,
)

_KINDS = {"projection": (0, "counts"), "flat": (1, "flat_counts"), "dark": (2, "dark_counts")}
_INVALID = 3
_ENERGIES = ("instrument/beam/incident_energy", "beam/incident_energy", "instrument/monochromator/energy")
_ENERGY_UNITS = {"ev": "eV", "kev": "keV"}
_ATTRIBUTES = {
    "title": "title",
    "entry_identifier": "scan_id",
    "experiment_identifier": "experiment",
    "sample/name": "sample_name",
    "start_time": "start_date",
    "end_time": "end_date",
}
_MOST_FRAMES = 5_000_000
_SAME_PIXEL_SIZE = 0.01

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class FrameStack(BackendArray):
    """Some frames of one HDF5 stack as one array (frame, row, column); adjacent frames are read in one hyperslab.

    Parameters
    ----------
    path, name
        The file and the stack's path in it.
    frames
        Numbers of the frames in the stack, in the order of the result.
    shape, dtype
        Rows and columns of a frame, and the stack's number type.
    """

    def __init__(self, path: Path, name: str, frames: Integers, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
        self.path = path.absolute()
        self.name = name
        self.frames = frames
        self.shape = (frames.size, *shape)
        self.dtype = dtype.newbyteorder("=")

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read_block)

    def _read_block(self, key: tuple[Any, Any, Any]) -> npt.NDArray[Any]:
        frames = np.atleast_1d(self.frames[key[0]])
        rows, inner_rows = _covering(key[1], self.shape[1])
        columns, inner_columns = _covering(key[2], self.shape[2])
        block = np.empty((frames.size, rows.stop - rows.start, columns.stop - columns.start), self.dtype)
        if block.size:
            with hdf5_file(self.path) as file:
                stack = file[self.name]
                for start, stop in _adjacent(frames):
                    adjacent = slice(int(frames[start]), int(frames[stop - 1]) + 1)
                    stack.read_direct(block, (adjacent, rows, columns), np.s_[start:stop])
        block = block[:, :, inner_columns][:, inner_rows]
        return block[0] if np.ndim(self.frames[key[0]]) == 0 else block


def _covering(key: Any, size: int) -> tuple[slice, Any]:
    """The smallest slice of consecutive indices that holds ``key``, and ``key`` within it."""
    indices = indices_of(key, size)
    if indices.size == 0:
        return slice(0, 0), indices
    start = int(indices.min())
    whole = isinstance(key, slice) and key.step in (None, 1)
    return slice(start, int(indices.max()) + 1), slice(None) if whole else indices - start


def _adjacent(frames: Integers) -> Iterator[tuple[int, int]]:
    """First and one past the last position of every run of consecutive numbers."""
    breaks = np.flatnonzero(np.diff(frames) != 1) + 1
    return pairwise([0, *breaks.tolist(), frames.size])


@dataclass(frozen=True)
class _Entry:
    """A group that may be a tomography scan, and its detectors that have data and an image key."""

    name: str
    is_nxtomo: bool
    detectors: tuple[str, ...]


def _entries(file: h5py.File) -> list[_Entry]:
    """Entries, and entries within entries, that say NXtomo or have an instrument; those that say NXtomo first."""
    groups = list(groups_of(file))
    groups += [(f"{name}/{child}", inner) for name, group in groups for child, inner in groups_of(group)]
    entries = [_entry(name, group) for name, group in groups]
    return sorted((entry for entry in entries if entry.is_nxtomo or entry.detectors), key=lambda e: not e.is_nxtomo)


def _entry(name: str, group: h5py.Group) -> _Entry:
    definition = group.get("definition")
    is_nxtomo = isinstance(definition, h5py.Dataset) and small_value(definition) in ("NXtomo", ["NXtomo"])
    instrument = group.get("instrument")
    detectors = [
        f"/{name}/instrument/{child}"
        for child, detector in (groups_of(instrument) if isinstance(instrument, h5py.Group) else ())
        if detector.id.links.exists(b"image_key") and detector.id.links.exists(b"data")
    ]
    # NeXus calls the detector of a tomography scan by this name.
    return _Entry(f"/{name}", is_nxtomo, tuple(sorted(detectors, key=lambda path: not path.endswith("/detector"))))


def recognise_nxtomo(path: Path) -> str | None:
    """None if the content is an NXtomo scan, or has a detector with data and an image key; else why it is not."""
    if not h5py.is_hdf5(path):
        return "not an HDF5 file"
    try:
        with hdf5_file(path) as file:
            found = bool(_entries(file))
    except MeasurementError as error:
        return error.problem
    return None if found else "an HDF5 file, but no entry says NXtomo or has instrument/<detector>/image_key"


def open_nxtomo(paths: Sequence[Path], angle_range: tuple[float, float] | None = None) -> xr.Dataset:
    """One NXtomo scan, the master file ``paths[0]``, as a lazy Dataset (see the module's docstring).

    Raises
    ------
    MeasurementError
        If a file that holds frames, the key or the angles is missing, a kind of frame is missing, or shapes or
        angles do not fit one another.
    """
    master = MasterFile(paths[0].absolute())
    entry, stack = _stack(master)
    numbers = {dim: np.flatnonzero(stack.key == value) for dim, (value, _) in _KINDS.items()}
    _check_kinds(master, stack, numbers)
    angle = _angles(master, entry, stack, numbers["projection"], angle_range)
    numbers["projection"] = numbers["projection"][: angle.size]
    arrays = [
        label(
            name,
            lazy(FrameStack(stack.data.file, stack.data.name, numbers[dim], stack.shape, stack.dtype)),
            (dim, "row", "column"),
        )
        for dim, (_, name) in _KINDS.items()
    ]
    energy = _energy(master, entry)
    attributes = _attributes(master, entry, stack)
    remarks = [*master.remarks, *link_remarks(master)]
    data = dataset(arrays, format="nxtomo", source=str(paths[0]), **attributes, remarks=remarks).assign_coords(
        angle=label("angle", angle, ("projection",))
    )
    return data if energy is None else data.assign_coords(energy=label("energy", np.float64(energy), ()))


@dataclass(frozen=True)
class _Stack:
    """The frames of a detector and what each of them is."""

    detector: str
    data: Place
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    key: Integers


def _stack(master: MasterFile) -> tuple[_Entry, _Stack]:
    """The first detector that has a stack of images, with its entry."""
    with hdf5_file(master.path) as file:
        entries = _entries(file)
    reasons = []
    for entry in entries:
        for detector in entry.detectors:
            found = _stack_of_detector(master, detector)
            if isinstance(found, _Stack):
                others = [name for other in entries for name in other.detectors if name != detector]
                if others:
                    master.remarks.append(f"the images are those of {detector}; not used: {', '.join(others)}")
                return entry, found
            reasons.append(f"{detector}: {found}")
    missing = sorted(set(master.missing.values()))
    raise MeasurementError(
        f"the images are in a file that is missing: {', '.join(missing)}" if missing else "the scan has no images",
        where=master.path,
        expected="a detector with data (frame, row, column) and image_key, one entry for each frame",
        found="; ".join(reasons) or "no detector with data and image_key",
        cure="copy the missing file beside this one" if missing else COPY_AGAIN,
    )


def _stack_of_detector(master: MasterFile, detector: str) -> _Stack | str:
    """The stack of a detector, or why it has none."""
    data, key = (master.locate(f"{detector}/{name}") for name in ("data", "image_key"))
    if data is None or key is None:
        name = f"{detector}/{'data' if data is None else 'image_key'}"
        file = master.missing.get(name)
        return f"{name} leads nowhere" if file is None else f"{name} is in {file}, which is missing"
    with hdf5_file(data.file) as content:
        found = content[data.name]
        if not isinstance(found, h5py.Dataset) or found.ndim != 3 or found.dtype.kind not in "fiu":
            return f"data is {_described(found)}, no stack of images"
        shape, dtype = found.shape, found.dtype
        absent = absent_sources(found, data.file.parent)
    if absent:
        master.missing[f"{detector}/data"] = absent[0]
        return f"data is put together from {len(absent)} file(s) that are missing, the first {absent[0]}"
    if min(shape) < 1 or shape[1] * shape[2] < 2 or shape[0] > _MOST_FRAMES:
        return f"data has shape {shape}, no stack of images"
    values = _image_key(key, f"{detector}/image_key", shape[0])
    if isinstance(values, str):
        return values
    master.linked |= {data.file, key.file} - {master.path}
    return _Stack(detector, data, (shape[1], shape[2]), dtype, _without_alignment(master, detector, values))


def _image_key(place: Place, name: str, n_frames: int) -> Integers | str:
    """The image key, one entry for each frame, or why there is none."""
    with hdf5_file(place.file) as file:
        found = file[place.name]
        if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "iuf":
            return f"{name} is {_described(found)}, no list of numbers"
        if found.size != n_frames or max(found.shape, default=0) != n_frames:
            return f"{name} has shape {found.shape}, data {n_frames} frames"
        values = np.ravel(found[()])
    known = np.isin(values, [0, 1, 2, _INVALID])
    if not known.any():
        return f"{name} holds none of 0 (projection), 1 (flat), 2 (dark)"
    # What has an unknown key must not be cast to a known one.
    return np.where(known, values, -1).astype(np.int64)


def _without_alignment(master: MasterFile, detector: str, key: Integers) -> Integers:
    """``key`` with the images for alignment invalid; what is set aside is said in remarks."""
    place = master.locate(f"{detector}/image_key_control")
    aligning = np.zeros(key.size, dtype=bool)
    if place is not None:
        with hdf5_file(place.file) as file:
            found = file[place.name]
            if isinstance(found, h5py.Dataset) and found.dtype.kind in "if" and found.shape == key.shape:
                aligning = (found[()] < 0) & (key == 0)
    for which, why in (
        (aligning, "are for alignment (image_key_control)"),
        (key == _INVALID, "are invalid (image_key 3)"),
        (key < 0, "have an unknown image_key"),
    ):
        if which.any():
            master.remarks.append(f"{int(which.sum())} of {key.size} frames {why} and are set aside")
    return np.where(aligning, _INVALID, key)


def _described(found: Any) -> str:
    return f"{found.dtype} of shape {found.shape}" if isinstance(found, h5py.Dataset) else "a group"


def _check_kinds(master: MasterFile, stack: _Stack, numbers: dict[str, Integers]) -> None:
    for dim, (value, _) in _KINDS.items():
        if numbers[dim].size == 0:
            raise MeasurementError(
                f"the scan has no {dim} frames",
                where=master.path,
                expected=f"frames with image_key {value} in {stack.detector}",
                found=", ".join(f"{numbers[kind].size} {kind}" for kind in numbers),
                cure="copy the missing frames into the file from a scan with the same exposure, or leave the file out",
            )


def _angles(
    master: MasterFile, entry: _Entry, stack: _Stack, projections: Integers, angle_range: tuple[float, float] | None
) -> Floats:
    """Angles of the projections in degrees."""
    if angle_range is not None:
        if master.locate(f"{entry.name}/sample/rotation_angle") is not None:
            master.remarks.append("sample/rotation_angle is replaced by the recipe's angle_range")
        return even_angles(angle_range, projections.size)
    place = _place_of_angles(master, entry, stack)
    with hdf5_file(place.file) as file:
        found = file[place.name]
        if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "fiu":
            raise _no_angles(master, projections.size, f"{place.name} is {_described(found)}")
        if found.size not in (stack.key.size, projections.size) or max(found.shape, default=0) != found.size:
            raise _wrong_angles(master, stack, projections.size, f"{found.name} of shape {found.shape}")
        values, unit = np.ravel(found[()]).astype(np.float64), unit_of(found)
    if values.size == stack.key.size:
        values = values[projections]
    values, remarks = angles_in_degrees(values, unit, place.file)
    master.remarks += remarks
    values, remarks = angles_of_projections(values, projections.size, place.file)
    master.remarks += remarks
    step = float(np.median(np.abs(np.diff(values)))) if values.size > 1 else 0.0
    if abs(values[0]) > 0.5 * step:
        master.remarks.append(f"the first projection is at {values[0]:.6g} deg, not at 0; the angles are kept")
    return values


def _place_of_angles(master: MasterFile, entry: _Entry, stack: _Stack) -> Place:
    standard = f"{entry.name}/sample/rotation_angle"
    names = [standard, *_other_angles(master, entry, stack)]
    for name in names:
        place = master.locate(name)
        if place is not None:
            if name != standard:
                master.remarks.append(f"{standard} is not there; the angles are those of {name}")
            master.linked |= {place.file} - {master.path}
            return place
    missing = sorted({master.missing[name] for name in names if name in master.missing})
    found = f"{', '.join(missing)} is missing" if missing else f"none in {', '.join(names)}"
    raise _no_angles(master, int((stack.key == 0).sum()), found)


def _other_angles(master: MasterFile, entry: _Entry, stack: _Stack) -> list[str]:
    """Where else angles may be: NXdata groups of the entry, that of the detector first."""
    own = stack.detector.rpartition("/")[2]
    names = []
    with hdf5_file(master.path) as file:
        groups = sorted(groups_of(file[entry.name]), key=lambda item: item[0] != own)
        for name, group in groups:
            if attribute_of(group, "NX_class") != "NXdata":
                continue
            if group.id.links.exists(b"rotation_angle"):
                names.append(f"{entry.name}/{name}/rotation_angle")
            axes = attribute_of(group, "axes")
            first = axes[0] if isinstance(axes, list) and axes else axes
            if name in (own, "data") and isinstance(first, str) and first not in ("", "."):
                # What was demanded of a motor is in NAME_set, what it reached in NAME.
                names += [f"{entry.name}/{name}/{axis}" for axis in dict.fromkeys((first.removesuffix("_set"), first))]
    return names


def _no_angles(master: MasterFile, n_projections: int, found: str) -> MeasurementError:
    return MeasurementError(
        "the angles of the projections are not known",
        where=master.path,
        expected=f"sample/rotation_angle with an angle for each frame or each of {n_projections} projections",
        found=found,
        cure=f"copy a missing file beside this one, or {STATE_ANGLES}",
    )


def _wrong_angles(master: MasterFile, stack: _Stack, n_projections: int, found: str) -> MeasurementError:
    return MeasurementError(
        "the angles do not belong to these frames",
        where=master.path,
        expected=f"{stack.key.size} angles, one for each frame, or {n_projections}, one for each projection",
        found=found,
        cure=f"if the stage turned evenly, {STATE_ANGLES}",
    )


def _energy(master: MasterFile, entry: _Entry) -> float | None:
    names = [f"{entry.name}/{name}" for name in _ENERGIES]
    with hdf5_file(master.path) as file:
        names += [
            f"{entry.name}/instrument/{name}/energy"
            for name, group in groups_of(file[f"{entry.name}/instrument"])
            if attribute_of(group, "NX_class") == "NXmonochromator"
        ]
    for name in names:
        stored = master.number(name)
        if stored is None:
            continue
        unit = None if stored[1] is None else _ENERGY_UNITS.get(stored[1].lower(), "")
        if unit == "":
            master.remarks.append(f"{name} is in {stored[1]}, neither eV nor keV; it is not used")
            continue
        energy, remarks = energy_in_ev(stored[0], unit, name.rpartition("/")[2])
        master.remarks += remarks
        return energy
    return None


def _attributes(master: MasterFile, entry: _Entry, stack: _Stack) -> dict[str, Any]:
    """What the file says about the scan; an entry within an entry may leave it to the outer one."""
    attributes: dict[str, Any] = {"linked_files": sorted(str(file) for file in master.linked)}
    outer = entry.name.rpartition("/")[0]
    for name, attribute in _ATTRIBUTES.items():
        found = master.scalar(f"{entry.name}/{name}") or (master.scalar(f"{outer}/{name}") if outer else None)
        if found is not None:
            attributes[attribute] = found[0]
    for name, attribute in (("count_time", "exposure_s"), ("magnification", "magnification")):
        number = master.number(f"{stack.detector}/{name}")
        if number is not None:
            attributes[attribute] = number[0]
    pixel_size = _pixel_size(master, entry, stack, attributes.get("magnification"))
    return attributes if pixel_size is None else attributes | {"pixel_size": pixel_size}


def _pixel_size(master: MasterFile, entry: _Entry, stack: _Stack, magnification: float | None) -> float | None:
    at_sample = _length(master, f"{entry.name}/sample/x_pixel_size")
    if at_sample is not None:
        return at_sample
    columns, rows = (_length(master, f"{stack.detector}/{axis}_pixel_size") for axis in "xy")
    if columns is None:
        return None
    if rows is not None and abs(rows / columns - 1) > _SAME_PIXEL_SIZE:
        master.remarks.append(f"pixels are {columns:.4g} um wide and {rows:.4g} um high; the width is used")
    if magnification is None or not magnification > 0:
        master.remarks.append(f"x_pixel_size {columns:.4g} um has no magnification and is taken as at the sample")
        return columns
    return columns / magnification


def _length(master: MasterFile, name: str) -> float | None:
    """A length in um; None, with a remark, if its unit is not known."""
    stored = master.number(name)
    if stored is None:
        return None
    length = length_in_um(stored[0], stored[1] or "no unit")
    if length is None:
        master.remarks.append(f"{name} is {stored[0]:g} with unit {stored[1]!r}, no length; it is not used")
    return length
