"""Arrays that a measurement starts from instead of raw files: from a study, or a volume of another program."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import xarray as xr

from cathoscope.core.errors import CathoscopeError, StudyError
from cathoscope.core.links import sampled_digest_of_file
from cathoscope.core.schema import label, require, spec_of
from cathoscope.core.study import Study
from cathoscope.flow.raw import find_files
from cathoscope.flow.recipe import Recipe
from cathoscope.flow.sections import MeasurementSection
from cathoscope.io import open_raw
from cathoscope.io.lazy import ConvertedArray, lazy
from cathoscope.io.volumes import voxels_of_pages

_VOLUME = ("z", "y", "x")


def open_start(recipe: Recipe, name: str) -> xr.Dataset:
    """The arrays a measurement starts from, each with its ``address``.

    A start array is a measurement's group in a study, ``start.attenuation = "old.zarr/result/rod"``, or a volume
    that another program reconstructed, one file or a pattern of slices: ``start.attenuation = "recon/*.tiff"``.

    Raises
    ------
    RecipeError
        If the group, the file or the array is not there or not as the schema states.
    """
    section = recipe.model.measurement[name]
    arrays: dict[str, xr.DataArray] = {}
    for key, place in section.start.items():
        path = ("measurement", name, "start", key)
        try:
            spec_of(key)
            if _is_in_a_study(recipe.data_folder / place):
                arrays |= _from_study(recipe.data_folder / place, key)
            else:
                arrays |= _from_volume(section, find_files(recipe, place, path), key)
            _require_energies(section, arrays[key])
        except StudyError as error:
            raise recipe.mistake(
                path,
                error.problem,
                expected=error.expected or 'a group of a study, such as "old.zarr/result/rod"',
                found=error.found or place,
                cure=error.cure,
            ) from None
        except CathoscopeError as error:
            if error.where:
                raise
            raise recipe.mistake(
                path, error.problem, expected=error.expected, found=error.found, cure=error.cure
            ) from None
    return xr.Dataset(arrays)


def _require_energies(section: MeasurementSection, array: xr.DataArray) -> None:
    """Refuse volumes without energies for a technique that follows the energy."""
    if section.technique.startswith("xanes") and set(_VOLUME) <= set(array.dims) and "energy" not in array.indexes:
        if "energy" not in spec_of(str(array.name)).dims:
            return
        raise StudyError(
            "the photon energies of the volumes are not known",
            expected="volumes at several energies, with these energies",
            found=f"{array.name} {tuple(array.sizes.values())} over {', '.join(map(str, array.dims))}",
            cure="store the energies (eV) beside the volumes, as  energy  in the HDF5 file",
        )


def _is_in_a_study(place: Path) -> bool:
    return any(part.endswith(".zarr") for part in place.parts) or place.parent.name in ("result", "truth")


def _from_study(place: Path, key: str) -> dict[str, xr.DataArray]:
    study, group, measurement = _split_place(place)
    names = [name for name in (key, f"{key}_std") if name in Study.open(study).arrays(group, measurement)]
    data = Study.open(study).read(group, measurement, names)
    require(data, key)
    for array in names:
        data[array].attrs["address"] = _start_address(study / group / measurement / array, data[array])
    return {array: data[array] for array in names}


def _split_place(place: Path) -> tuple[Path, str, str]:
    if len(place.parts) < 3 or place.parent.name not in ("result", "truth"):
        raise StudyError("this is not a measurement in a study")
    return place.parent.parent, place.parent.name, place.name


def _start_address(folder: Path, array: xr.DataArray) -> str:
    """The address the array was given when it was made, else a hash of it and of its coordinates."""
    if "address" in array.attrs:
        return str(array.attrs["address"])
    digest = hashlib.sha256()
    for name in (folder.name, *sorted(map(str, array.coords))):
        for file in sorted(file for file in (folder.parent / name).rglob("*") if file.is_file()):
            digest.update(f"{file.relative_to(folder.parent)} {sampled_digest_of_file(file)}\n".encode())
    return digest.hexdigest()[:20]


def _from_volume(section: MeasurementSection, paths: list[Path], key: str) -> dict[str, xr.DataArray]:
    """A foreign volume as array ``key``; its values are taken to be in the unit of the schema."""
    if len(paths) == 1 and paths[0].is_dir():
        raise StudyError("this is a folder", cure='name its files, such as "recon/*.tiff", or a group of a study')
    opened = open_raw(paths, reader=section.reader)
    if "pages" in opened.variables:
        opened = voxels_of_pages(opened, paths)
    if "voxels" not in opened.variables or not set(_VOLUME) <= set(spec_of(key).dims):
        raise StudyError(
            f"this cannot be {key}",
            expected="a volume, such as slices in TIFF or one HDF5 dataset" if "voxels" not in opened else "a volume",
            found=f"{opened.attrs.get('format', 'something else')} in {paths[0].name}",
            cure="name the raw files as files, or another start array",
        )
    size = section.pixel_size or opened.attrs.get("pixel_size")
    if not size:
        raise StudyError(
            "the size of a voxel is not known", expected="the edge of a voxel", cure='add  pixel_size = "20 nm"'
        )
    voxels = opened["voxels"]
    coords = {
        dim: label(dim, (np.arange(n) - (n - 1) / 2) * size, (dim,))
        for dim, n in voxels.sizes.items()
        if dim in _VOLUME
    }
    if "energy" in voxels.coords:
        coords["energy"] = voxels.coords["energy"]
    array = label(key, lazy(ConvertedArray(voxels, np.float32)), tuple(map(str, voxels.dims)), coords=coords)
    digests = "-".join(sampled_digest_of_file(path) for path in paths)
    array.attrs["address"] = hashlib.sha256(f"{key} {size} {digests}".encode()).hexdigest()[:20]
    array.attrs["files"] = [str(path) for path in paths]
    array.attrs["remarks"] = [f"started from {paths[0].name}", *opened.attrs.get("remarks", ())]
    return {key: array}
