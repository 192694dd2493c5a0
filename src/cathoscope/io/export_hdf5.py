"""HDF5: one file for each measurement, with arrays, units and coordinates.

File structure
--------------
``MEASUREMENT.h5``: every array as a dataset at the root, [(temperature,) (channel,) z, y, x], chunked and gzipped, with
the attributes ``units``, ``long_name`` and ``voxel_size_um`` (z, y, x). Coordinates are datasets of the same file with
their units, attached as dimension scales. A single temperature is a number beside the arrays and no dim, so that a
volume at one temperature has the shape other programs expect. True and false are 1 and 0.

It is a NeXus file too: ``entry`` (NXentry) holds for each array a group NXdata with ``signal``, ``axes`` and, where it
is known, ``ARRAY_errors``. These are links to the datasets at the root, so nothing is there twice.

A file with one array of the shape (energy, z, y, x) or (z, y, x) can be a ``start`` of a recipe.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cathoscope import __version__
from cathoscope.core.errors import CathoscopeError
from cathoscope.core.schema import SCHEMA
from cathoscope.io.export_target import Output, Store
from cathoscope.io.export_volume import Block, Volume
from cathoscope.io.export_zarr import plain_words

_CHUNK = (8, 64, 64)


def outputs(volumes: Sequence[Volume], folder: Path) -> list[Output]:
    """One file for each measurement."""
    found = []
    for measurement in dict.fromkeys(volume.measurement for volume in volumes):
        own = tuple(volume for volume in volumes if volume.measurement == measurement)
        found.append(Output(folder / f"{measurement}.h5", own, None, partial(_opened, own)))
    return found


@contextmanager
def _opened(volumes: Sequence[Volume], path: Path) -> Iterator[Store]:
    with h5py.File(path, "w") as file:
        file.attrs.update({"measurement": volumes[0].measurement, "written_by": f"cathoscope {__version__}"})
        shapes = {volume.name: _squeezed(volume) for volume in volumes}
        for shape in shapes.values():
            _dataset(file, shape)

        def store(volume: Volume, block: Block, values: NDArray[Any]) -> None:
            """One block into the dataset of its volume."""
            stored, shape = file[volume.name], shapes[volume.name]
            stored[shape.region(block)] = shape.fitted(values).astype(stored.dtype, copy=False)

        yield store
        _nexus(file, tuple(shapes.values()))


def _nexus(file: h5py.File, volumes: Sequence[Volume]) -> None:
    """What programs that know NeXus look for: which dataset is plotted over which coordinates."""
    entry = file.create_group("entry")
    file.attrs.update({"NX_class": "NXroot", "default": "entry"})
    entry.attrs.update({"NX_class": "NXentry", "default": volumes[0].name})
    for volume in volumes:
        group = entry.create_group(volume.name)
        axes = [dim if dim in file else "." for dim in volume.dims]
        group.attrs.update({"NX_class": "NXdata", "signal": volume.name, "axes": axes})
        for name in (volume.name, *(dim for dim in axes if dim != ".")):
            group[name] = file[name]
        for number, dim in enumerate(axes):
            if dim != ".":
                group.attrs[f"{dim}_indices"] = number
        if f"{volume.name}_std" in file:
            group[f"{volume.name}_errors"] = file[f"{volume.name}_std"]


def _squeezed(volume: Volume) -> Volume:
    """Without the dim of a single temperature."""
    if volume.temperatures is None or len(volume.temperatures) > 1:
        return volume
    return replace(volume, temperatures=None, attrs={**volume.attrs, "temperature_degC": float(volume.temperatures[0])})


def _dataset(file: h5py.File, volume: Volume) -> None:
    stored = file.create_dataset(
        volume.name,
        shape=volume.full_shape,
        dtype=np.uint8 if volume.dtype.kind == "b" else volume.dtype,
        chunks=(*(1 for _ in volume.full_shape[:-3]), *map(min, volume.shape, _CHUNK)),
        compression="gzip",
        compression_opts=1,
        shuffle=True,
    )
    stored.attrs.update({key: value for key, value in plain_words(volume).items() if value is not None})
    if volume.voxel_size is not None:
        stored.attrs["voxel_size_um"] = volume.voxel_size
    scales: dict[str, NDArray[Any] | None] = {"temperature": volume.temperatures, **volume.position}
    if volume.channel is not None:
        scales[volume.channel] = volume.channels
    for number, dim in enumerate(volume.dims):
        stored.dims[number].label = dim
        values = scales.get(dim)
        if values is not None:
            stored.dims[number].attach_scale(_scale(file, volume, dim, values))


def _scale(file: h5py.File, volume: Volume, dim: str, values: NDArray[Any]) -> h5py.Dataset:
    """The coordinate of a dim; all arrays of a measurement share it."""
    if dim in file:
        if not np.array_equal(file[dim][()], values):
            raise CathoscopeError(
                f"{volume.name} of {volume.measurement} has another {dim} than the arrays before it",
                expected=f"{file[dim].size} values",
                found=f"{values.size} values",
                cure="export it by itself, with --array, into another folder",
            )
        return file[dim]
    scale = file.create_dataset(dim, data=values)
    if dim in SCHEMA:
        scale.attrs.update({"units": SCHEMA[dim].unit, "long_name": SCHEMA[dim].meaning})
    scale.make_scale(dim)
    return scale
