"""TIFF stacks that Fiji opens as hyperstacks with the right voxel size, one file for each temperature.

File structure
--------------
``MEASUREMENT/ARRAY_NN_TEMPERATUREC.tif``, ``MEASUREMENT/ARRAY.tif`` without a temperature. Pages run over channels
(energies, halves, ...), then over z. Real numbers are float32; true and false are 1 and 0 in uint8; integers take the
smallest of uint8, uint16 and float32 that holds them. Voxel size and unit are ImageJ's, what was measured is in the
text ``Info``. A stack of more than 4 GB is beyond ImageJ's own format and becomes an OME-TIFF (BigTIFF), which Fiji
and napari also open.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import tifffile
from numpy.typing import NDArray

from cathoscope.core.parallel import Resources
from cathoscope.io.export_target import Output, Store, temperature_names
from cathoscope.io.export_volume import Block, Volume, blocks_of, channel_names

# Classic TIFF counts its bytes with 32 bits; the rest is for the table of every page.
_LARGEST_CLASSIC = 2**32 - 2**27


def outputs(volumes: Sequence[Volume], folder: Path, resources: Resources) -> list[Output]:
    """One TIFF for each temperature of each volume."""
    return [
        Output(
            folder / volume.measurement / f"{volume.name}{name}.tif",
            (volume,),
            temperature,
            partial(_opened, volume, temperature, resources),
        )
        for volume in volumes
        for temperature, name in enumerate(temperature_names(volume))
    ]


def stored_type(volume: Volume, temperature: int, resources: Resources) -> np.dtype[Any]:
    """The number type of the file; integers of more than 8 bits or with a sign are read once to see how large they are.

    Integers beyond 2^24 are rounded: a TIFF that ImageJ opens has no type for them.
    """
    if volume.dtype.kind == "f":
        return np.dtype(np.float32)
    if volume.dtype.kind == "b" or volume.dtype == np.uint8:
        return np.dtype(np.uint8)
    low, high = 0, 0
    for block in blocks_of(volume, temperature=temperature, resources=resources):
        values = volume.read(block)
        low, high = min(low, int(values.min())), max(high, int(values.max()))
    for candidate in (np.uint8, np.uint16):
        if low >= 0 and high <= np.iinfo(candidate).max:
            return np.dtype(candidate)
    return np.dtype(np.float32)


@contextmanager
def _opened(volume: Volume, temperature: int, resources: Resources, path: Path) -> Iterator[Store]:
    dtype = stored_type(volume, temperature, resources)
    stored, first_byte = _empty_file(volume, temperature, dtype, path)
    page_bytes = volume.shape[1] * volume.shape[2] * dtype.itemsize

    def store(_: Volume, block: Block, values: NDArray[Any]) -> None:
        """One block into the pages of its rows and channels."""
        with path.open("r+b") as file:
            for row in range(values.shape[1]):
                page = (block.rows.start + row) * volume.n_channels + block.channels.start
                file.seek(first_byte + page * page_bytes)
                file.write(np.ascontiguousarray(values[:, row], dtype=stored).tobytes())

    yield store


def _empty_file(volume: Volume, temperature: int, dtype: np.dtype[Any], path: Path) -> tuple[np.dtype[Any], int]:
    """Make the file with all its pages still empty; the type with its byte order, and where the first page begins."""
    shape = (volume.shape[0], volume.n_channels, *volume.shape[1:])
    n_bytes = int(np.prod([float(length) for length in shape])) * dtype.itemsize
    classic = n_bytes <= _LARGEST_CLASSIC
    size = volume.voxel_size
    resolution = (1.0, 1.0) if size is None else (1 / size[2], 1 / size[1])
    with tifffile.TiffWriter(path, imagej=classic, ome=not classic, bigtiff=not classic) as file:
        written = file.write(
            shape=shape,
            dtype=dtype.newbyteorder(file.tiff.byteorder),
            photometric="minisblack",
            resolution=resolution,
            resolutionunit="none",
            metadata=_imagej_words(volume, temperature) if classic else _ome_words(volume),
            contiguous=True,
            returnoffset=True,
        )
        byteorder = file.tiff.byteorder
    # Pages that are not compressed lie in one piece, so their place is known.
    place = cast(tuple[int, int], written)
    return dtype.newbyteorder(byteorder), place[0]


def _imagej_words(volume: Volume, temperature: int) -> dict[str, Any]:
    size = volume.voxel_size
    scale = {} if size is None else {"spacing": size[0], "unit": "um"}
    return {"axes": "ZCYX", "mode": "grayscale", "Info": _info(volume, temperature), **scale}


def _ome_words(volume: Volume) -> dict[str, Any]:
    size = volume.voxel_size
    scale = {} if size is None else dict(zip(("PhysicalSizeZ", "PhysicalSizeY", "PhysicalSizeX"), size, strict=True))
    units = {f"{key}Unit": "µm" for key in scale}
    return {"axes": "ZCYX", "Name": volume.name, "Channel": {"Name": channel_names(volume)}, **scale, **units}


def _info(volume: Volume, temperature: int) -> str:
    """What was measured, one statement a line; Fiji shows it under Image > Show Info."""
    lines = [
        f"measurement: {volume.measurement}",
        f"array: {volume.name}",
        *(f"{key}: {value}" for key, value in volume.attrs.items()),
    ]
    if volume.temperatures is not None:
        lines.append(f"temperature: {volume.temperatures[temperature]:.10g} degC")
    if volume.channel is not None:
        lines.append(f"channels: {', '.join(channel_names(volume))}")
    return "\n".join(lines)
