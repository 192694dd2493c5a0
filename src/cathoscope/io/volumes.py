"""Volumes that other programs reconstructed: TXM-Sandbox's aligned cube, a plain HDF5 volume, slices as images.

Schema
------
``voxels`` ((energy,) z, y, x), lazy, in the file's number type; coordinate ``energy`` in eV, ascending,
or scalar, where the file tells. What a value means (attenuation, grey level) is for the recipe to say.

Uncertainties
-------------
None are stored in the files.

Metadata
--------
Attributes ``format``, ``source``, ``remarks``, ``dataset`` (where in the file the volume is) and, where the file
states it with a unit and it is the same along all axes, ``pixel_size`` (um).

File structure
--------------
TXM-Sandbox: ``/registration_results/reg_results/registered_xanes3D`` float32 (energy, z, y, x), contiguous, made in
full size before it is filled; ``eng_list`` next to it, in keV or eV, where that was never filled also at
``/trial_registration/trial_reg_parameters/eng_list``.

Plain volume: one numeric dataset of 3 or 4 dims, wherever it is; of several the one that has a usual name
(``volume``, ``data``, ``reconstruction``, ``recon``, ``img``, ``exported_data``, ``VoxelData``, ``voxels``).
Energies from ``energy``, ``energies``, ``X_eng`` or ``eng_list`` next to it or at the root. Pixel size from attributes
or datasets ``pixel_size``, ``voxel_size``, ``element_size`` or ``Pixel Size`` with a unit in the text, in an attribute
``units`` or in the ending ``_um``, ``_nm``, ``_mm``.

Slices as images: a TIFF sequence such as TXM-Sandbox's ``recon_fly_scan_id_{id}_{slice:05d}.tiff``, see
`voxels_of_pages`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import xarray as xr

from cathoscope.core.errors import CathoscopeError, MeasurementError
from cathoscope.core.schema import SCHEMA, dataset, label
from cathoscope.core.units import parse
from cathoscope.io.hdf5_tree import Entry, attribute_of, entries_of, number_type, small_value, unit_of
from cathoscope.io.lazy import COPY_AGAIN, HDF5Array, hdf5_file, lazy
from cathoscope.io.repair import energy_in_ev, length_in_um

_CUBE = "registration_results/reg_results/registered_xanes3D"
_CUBE_ENERGIES = (
    "registration_results/reg_results/eng_list",
    "trial_registration/trial_reg_parameters/eng_list",
)

_USUAL_NAMES = ("volume", "data", "reconstruction", "recon", "img", "exported_data", "VoxelData", "voxels")
_ENERGY_NAMES = ("energy", "energies", "X_eng", "eng_list")
_PIXEL_SIZE_NAMES = tuple(
    "".join(parts)
    for parts in itertools.product(
        ("pixel_size", "voxel_size", "element_size", "Pixel Size"), ("", "_um", "_nm", "_mm")
    )
)
# Stacks of images that are no volume, by a part of their path in the file.
_OTHER_STACKS = {
    "detector": "detector frames of a scan; open the scan's master file (such as .nxs) instead",
    "img_tomo": "projections of an FXI scan",
    "img_xanes": "images of a 2D XANES scan, one per energy",
    "registered_xanes2D": "aligned images of a 2D XANES scan, one per energy",
}
_SCANS = {
    "exchange": "the group /exchange of Data Exchange",
    "image_key": "an image_key, as in NXtomo",
    "registered_xanes3D": "an aligned cube of TXM-Sandbox",
}
_SMALLEST_IMAGE = 8  # pixels along y and x; tables and colour channels are smaller
_MOST_NUMBERS = 100_000
_LARGEST_GAP_LIST = 10

Floats = npt.NDArray[np.float64]


def recognise_sandbox_cube(path: Path) -> str | None:
    """None if the content is TXM-Sandbox's aligned XANES cube, else why it is not."""
    if not h5py.is_hdf5(path):
        return "not an HDF5 file"
    with hdf5_file(path) as file:
        if isinstance(file.get(_CUBE), h5py.Dataset):
            return None
        return f"an HDF5 file, but without /{_CUBE}"


def open_sandbox_cube(paths: Sequence[Path], angle_range: tuple[float, float] | None = None) -> xr.Dataset:
    """The aligned cube of ``paths[0]`` as a lazy Dataset (see the module's docstring).

    Parameters
    ----------
    paths
        The file.
    angle_range
        Not used: a volume has no projections.

    Raises
    ------
    MeasurementError
        If the cube or its energies are missing, damaged, or do not belong together.
    """
    path = paths[0]
    with hdf5_file(path) as file:
        cube = file[_CUBE]
        entry = Entry(cube.name, cube.shape or (), number_type(cube), cube.chunks)
        if not _is_volume(entry) or len(entry.shape) != 4:
            raise _no_volume(path, f"{entry.name} is no stack of volumes", f"{entry.dtype} of shape {entry.shape}")
        _check_written(path, cube)
        energies, remarks = _cube_energies(path, file, entry.shape[0])
        data = _volume(path, entry, "sandbox_cube", remarks)
        remarks += _empty_energies(cube, energies)
        size, found = _pixel_size(file, cube)
    remarks += found
    return _with_energies(_with_pixel_size(data, size), energies)


def recognise_hdf5_volume(path: Path) -> str | None:
    """None if the content is an HDF5 file with a volume and no scan, else why it is not."""
    if not h5py.is_hdf5(path):
        return "not an HDF5 file"
    with hdf5_file(path) as file:
        entries = entries_of(file)
    for entry in entries:
        for part in entry.name.split("/"):
            if part in _SCANS:
                return f"no plain volume: it holds {_SCANS[part]}"
    stacks = [entry for entry in entries if _is_volume(entry)]
    reasons = [reason for stack in stacks if (reason := _other_stack(stack))]
    if reasons:
        return f"no plain volume: it holds {reasons[0]}"
    return None if stacks else f"an HDF5 file without a volume; {_largest(entries)}"


def open_hdf5_volume(paths: Sequence[Path], angle_range: tuple[float, float] | None = None) -> xr.Dataset:
    """The one volume of the HDF5 file ``paths[0]`` as a lazy Dataset (see the module's docstring).

    Parameters
    ----------
    paths
        The file.
    angle_range
        Not used: a volume has no projections.

    Raises
    ------
    MeasurementError
        If the file has no volume or several that could be meant, or the volume was never written.
    """
    path = paths[0]
    with hdf5_file(path) as file:
        remarks: list[str] = []
        entry = _only_volume(path, entries_of(file), remarks)
        stored = file[entry.name]
        _check_written(path, stored)
        energies = _energies_beside(path, stored, remarks)
        size, found = _pixel_size(file, stored)
        remarks += found
    if len(entry.shape) == 4 and energies is None:
        remarks.append("the first of four axes is taken as energy; the file does not give its values")
    return _with_energies(_with_pixel_size(_volume(path, entry, "hdf5_volume", remarks), size), energies)


def voxels_of_pages(pages: xr.Dataset, paths: Sequence[Path] = ()) -> xr.Dataset:
    """A stack of slices as a volume: page k becomes z = k, row y, column x.

    Parameters
    ----------
    pages
        As the TIFF reader gives it: ``pages`` (page, row, column).
    paths
        The files of a sequence with one slice each, in any order; without them the attribute ``files``, where there is
        one. The slice numbers in their names tell whether slices are missing; a remark says which.
    """
    spec = SCHEMA["voxels"]
    volume = pages.rename_dims(page="z", row="y", column="x").rename(pages="voxels")
    volume["voxels"].attrs.update(units=spec.unit, long_name=spec.meaning)
    remarks = list(pages.attrs.get("remarks", ()))
    paths = paths or [Path(file) for file in pages.attrs.get("files", ())]
    if len(paths) == volume.sizes["z"]:
        remarks += _gaps(slice_numbers(paths))
    return volume.assign_attrs(remarks=remarks)


def slice_numbers(paths: Sequence[Path]) -> list[int]:
    """The number that differs from name to name, ascending; empty where the names are not numbered so.

    ``recon_fly_scan_id_20171_00012.tiff`` of one scan is slice 12.
    """
    frames = {re.sub(r"\d+", "#", path.name) for path in paths}
    if len(frames) != 1 or len(paths) < 2:
        return []
    columns = list(zip(*([int(text) for text in re.findall(r"\d+", path.name)] for path in paths), strict=True))
    varying = [column for column in columns if len(set(column)) > 1]
    if len(varying) != 1 or len(set(varying[0])) != len(paths):
        return []
    return sorted(varying[0])


def _gaps(numbers: Sequence[int]) -> list[str]:
    """What to say of slice numbers that are not contiguous."""
    steps = np.diff(np.asarray(numbers, dtype=object)).tolist() if len(numbers) > 1 else []
    if not steps or max(steps) == 1:
        return []
    span = f"slices {numbers[0]} to {numbers[-1]}"
    if min(steps) == max(steps):
        return [f"{span} go in steps of {steps[0]}; z counts the slices that are there"]
    holes = [(low + 1, low + step - 1) for low, step in zip(numbers, steps, strict=False) if step > 1]
    named = [str(first) if first == last else f"{first}-{last}" for first, last in holes[:_LARGEST_GAP_LIST]]
    more = f" and {len(holes) - len(named)} more gaps" if len(holes) > len(named) else ""
    return [f"{span}: {', '.join(named)}{more} missing; z counts the slices that are there"]


def _is_volume(entry: Entry) -> bool:
    """Whether it could be a volume, or a stack of volumes."""
    return (
        entry.dtype is not None
        and entry.dtype.kind in "fiu"
        and len(entry.shape) in (3, 4)
        and min(entry.shape[-2:]) >= _SMALLEST_IMAGE
        and min(entry.shape[:-2]) >= 1
    )


def _volume(path: Path, entry: Entry, name: str, remarks: list[str]) -> xr.Dataset:
    array = lazy(HDF5Array(path, entry.name, entry.shape, np.dtype(entry.dtype)))
    voxels = label("voxels", array, SCHEMA["voxels"].dims[-len(entry.shape) :])
    return dataset([voxels], format=name, source=str(path), dataset=entry.name, remarks=remarks)


def _with_pixel_size(data: xr.Dataset, pixel_size: float | None) -> xr.Dataset:
    return data if pixel_size is None else data.assign_attrs(pixel_size=pixel_size)


def _with_energies(data: xr.Dataset, energies: Floats | None) -> xr.Dataset:
    """Coordinate ``energy``; where there are several they are put in ascending order."""
    if energies is None:
        return data
    if energies.ndim == 0:
        return data.assign_coords(energy=label("energy", energies, ()))
    order = np.argsort(energies, kind="stable")
    if (np.diff(order) < 0).any():
        data.attrs["remarks"].append("energies were not ascending and have been sorted")
        data = data.isel(energy=order)
    return data.assign_coords(energy=label("energy", energies[order], ("energy",)))


def _check_written(path: Path, stored: h5py.Dataset) -> None:
    """A volume made in full size whose writing never began reads as zeros."""
    if stored.is_virtual or stored.external:
        return
    if stored.id.get_storage_size() == 0:
        raise MeasurementError(
            f"{stored.name} was never written",
            where=path,
            expected=f"{stored.size} values",
            found="no stored bytes",
            cure="write the volume again with the program that made it",
        )


def _no_volume(path: Path, problem: str, found: str) -> MeasurementError:
    return MeasurementError(
        problem,
        where=path,
        expected="numbers of shape (energy, z, y, x) or (z, y, x)",
        found=found,
        cure="check that the file is a reconstruction, or leave it out of the recipe",
    )


def _largest(entries: Sequence[Entry]) -> str:
    arrays = [entry for entry in entries if entry.link is None and entry.shape]
    if not arrays:
        return "it holds no array"
    largest = max(arrays, key=lambda entry: int(np.prod([float(length) for length in entry.shape])))
    return f"its largest array is {largest.name} {largest.shape}"


def _other_stack(stack: Entry) -> str | None:
    for part in stack.name.split("/"):
        if part in _OTHER_STACKS:
            return f"{stack.name}, {_OTHER_STACKS[part]}"
    return None


def _only_volume(path: Path, entries: Sequence[Entry], remarks: list[str]) -> Entry:
    # One volume may have several names, as in NeXus files; the first counts.
    named = {(entry.address, entry.link): entry for entry in reversed(entries) if _is_volume(entry)}
    stacks = list(reversed(named.values()))
    usual = [stack for stack in stacks if stack.name.rpartition("/")[2] in _USUAL_NAMES]
    chosen = stacks if len(stacks) == 1 else usual
    if len(chosen) == 1:
        others = [stack.name for stack in stacks if stack != chosen[0]]
        if others:
            remarks.append(f"{chosen[0].name} is taken as the volume; also there: {', '.join(others[:10])}")
        return chosen[0]
    if not stacks:
        raise _no_volume(path, "the file holds no volume", _largest(entries))
    listed = ", ".join(f"{stack.name} {stack.shape}" for stack in stacks[:10])
    more = f" and {len(stacks) - 10} more" if len(stacks) > 10 else ""
    raise MeasurementError(
        f"{len(stacks)} arrays could be the volume",
        where=path,
        expected="one array of 3 or 4 dims, or one with a usual name such as /volume or /data",
        found=listed + more,
        cure="copy the one you mean into a file of its own (h5copy), or rename it to /volume",
    )


def _numbers(item: Any) -> Floats | None:
    """A small numeric dataset as float64, else None."""
    if not isinstance(item, h5py.Dataset):
        return None
    dtype = number_type(item)
    if dtype is None or dtype.kind not in "fiu" or not 0 < (item.size or 0) <= _MOST_NUMBERS:
        return None
    return np.asarray(item[()], dtype=np.float64)


def _in_ev(name: str, values: Floats, unit: str | None) -> tuple[Floats | None, list[str]]:
    """Energies of a file in eV, one unit for all of them; None if one of them is no energy."""
    good = np.isfinite(values) & (values > 0)
    if not good.all():
        return None, [f"{int((~good).sum())} of {values.size} numbers in {name} are no energies; none is used"]
    largest = float(values.max())
    converted, remarks = energy_in_ev(largest, unit, name)
    return None if converted is None else values * (converted / largest), remarks


def _cube_energies(path: Path, file: h5py.File, n_energies: int) -> tuple[Floats, list[str]]:
    places = [(place, values) for place in _CUBE_ENERGIES if (values := _numbers(file.get(place))) is not None]
    if not places:
        raise MeasurementError(
            "the energies of the cube are missing",
            where=path,
            expected=f"{n_energies} energies in /{_CUBE_ENERGIES[0]}",
            found="no such dataset",
            cure="copy eng_list into the file, in keV or eV, one number for each volume",
        )
    filled = [place for place in places if (place[1] != 0).any()]
    name, values = (filled or places)[0]
    if values.shape != (n_energies,):
        raise MeasurementError(
            "the energies do not belong to these volumes",
            where=path,
            expected=f"{n_energies} energies, one for each volume",
            found=f"/{name} of shape {values.shape}",
            cure=COPY_AGAIN,
        )
    energies, remarks = _in_ev(f"/{name}", values, "keV" if values.max() <= 100 else "eV")
    if energies is None:
        raise MeasurementError(
            "the cube has no energies",
            where=path,
            expected=f"{n_energies} positive numbers in /{name}",
            found=remarks[0],
            cure="write the energies again, in keV or eV, in the order of the volumes",
        )
    if name != places[0][0]:
        remarks.append(f"/{places[0][0]} was never filled; the energies are those of /{name}")
    _check_unique(path, energies)
    return energies, remarks


def _check_unique(path: Path, energies: Floats) -> None:
    repeated = np.flatnonzero(np.diff(np.sort(energies)) <= 0)
    if repeated.size:
        raise MeasurementError(
            "an energy occurs twice in the stack",
            where=path,
            expected="energies that all differ",
            found=f"{np.sort(energies)[repeated[0]]:.10g} eV more than once",
            cure="merge the repeated volumes into one, or leave all but one out",
        )


def _energies_beside(path: Path, stored: h5py.Dataset, remarks: list[str]) -> Floats | None:
    """One energy for a volume, one per volume for a stack of them, or None."""
    wanted = {1} if stored.ndim == 3 else {stored.shape[0]}
    for group, name in itertools.product((stored.parent, stored.file), _ENERGY_NAMES):
        values = _numbers(group.get(name))
        if values is None or values.size not in wanted:
            continue
        energies, said = _in_ev(name, values.ravel(), unit_of(group[name]))
        remarks += said
        if energies is not None and energies.size > 1:
            _check_unique(path, energies)
        if energies is not None:
            return energies.reshape(()) if stored.ndim == 3 else energies
    return None


def _empty_energies(cube: h5py.Dataset, energies: Floats) -> list[str]:
    """Volumes that were never filled: nothing but zeros or NaN in the middle row of their middle slice."""
    if cube.chunks is not None:
        return []
    rows = cube[:, cube.shape[1] // 2, cube.shape[2] // 2, :]
    empty = ~(np.isfinite(rows) & (rows != 0)).any(axis=1)
    if not empty.any():
        return []
    named = ", ".join(f"{energy:.10g}" for energy in energies[empty][:10])
    return [f"{int(empty.sum())} of {energies.size} volumes are empty in their middle row: {named} eV"]


def _pixel_size(file: h5py.File, stored: h5py.Dataset) -> tuple[float | None, list[str]]:
    """Pixel size in um where the file states one for all axes, and remarks."""
    for holder, name in itertools.product((stored, stored.parent, file), _PIXEL_SIZE_NAMES):
        value, unit = _stated(holder, name)
        if value is None:
            continue
        sizes = [_length(item, unit) for item in (value if isinstance(value, list) else [value])]
        known = [size for size in sizes if size is not None]
        if not known or len(known) < len(sizes):
            return None, [f"{name} {value!r} gives no unit that is understood and is not used"]
        if max(known) - min(known) > 1e-3 * max(known):
            return None, [f"{name} differs between the axes ({', '.join(f'{size:.4g}' for size in known)} um)"]
        return known[0], []
    return None, []


def _stated(holder: h5py.Group | h5py.Dataset, name: str) -> tuple[Any, str | None]:
    """Value and unit of an attribute or a small dataset ``name``; the value is None if there is none."""
    ending = name.rpartition("_")[2]
    unit = ending if ending in ("um", "nm", "mm") else None
    value = attribute_of(holder, name)
    if value is not None:
        return value, unit or unit_of(holder)
    item = holder.get(name) if isinstance(holder, h5py.Group) else None
    if isinstance(item, h5py.Dataset) and (item.size or 0) <= 4:
        return small_value(item), unit or unit_of(item)
    return None, None


def _length(value: Any, unit: str | None) -> float | None:
    if isinstance(value, str):
        try:
            return parse(value, "length")
        except CathoscopeError:
            return None
    return None if unit is None or isinstance(value, bool) else length_in_um(float(value), unit)
