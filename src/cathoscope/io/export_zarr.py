"""OME-Zarr 0.5: one multiscale image for each array, with levels of half the size.

File structure
--------------
``MEASUREMENT/ARRAY.ome.zarr``, a zarr v3 group whose attribute ``ome`` holds ``multiscales`` and ``omero``; arrays
``0``, ``1``, ... of the levels. Axes are a subset of t, c, z, y, x. The format knows no axis of temperature: it is the
axis ``t`` without a unit, one step for each temperature, and the temperatures are in the attribute ``cathoscope``.
Energies, or whatever else the array has beside its voxels, are channels, named in ``omero``. Positions are in
micrometers.

Level 0 is the array, bit for bit (true and false as 1 and 0). A voxel of level k is the mean of the finite ones among
the up to 8^k voxels it covers; of a mask, whether at least half of them are set; of other integers, which are labels
and flags, the first one.

Source: Next-generation file formats (NGFF) 0.5, https://ngff.openmicroscopy.org/0.5/.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from cathoscope import __version__
from cathoscope.core.parallel import SLAB_ROWS
from cathoscope.io.export_target import Output, Store
from cathoscope.io.export_volume import VOXEL, Block, Volume, channel_names

_MOST_LEVELS = 4  # 2 ** 3 = SLAB_ROWS: every slab makes its part of all levels by itself
_SMALLEST_LEVEL = 32  # voxels along the longest side; a smaller level is good for nothing
_FEWEST_LEVELS = 3
_TILE = 128
_SPACE_UNIT = "micrometer"
_METHODS = {"f": "mean", "b": "majority"}

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Level:
    """Size of a level, and how many voxels of level 0 one of its voxels covers along z, y and x."""

    shape: Shape
    factors: Shape


def levels_of(shape: Shape) -> list[Level]:
    """Levels of a volume: 3, or 4 while the longest side keeps 32 voxels. A side of one voxel is not halved.

    A side of odd length is rounded up: its last voxel covers one voxel less.
    """
    levels = [Level(shape, (1, 1, 1))]
    while len(levels) < _MOST_LEVELS:
        last = levels[-1]
        steps = [2 if length > 1 else 1 for length in last.shape]
        z, y, x = (-(-length // step) for length, step in zip(last.shape, steps, strict=True))
        fz, fy, fx = (factor * step for factor, step in zip(last.factors, steps, strict=True))
        if (z, y, x) == last.shape or (len(levels) >= _FEWEST_LEVELS and max(z, y, x) < _SMALLEST_LEVEL):
            break
        levels.append(Level((z, y, x), (fz, fy, fx)))
    return levels


def coarsened(values: NDArray[Any], levels: Sequence[Level], kind: str) -> list[NDArray[Any]]:
    """A block [channel, z, y, x] of level 0 at every level; see the module's first lines for the rule of each kind.

    The block begins at a multiple of ``SLAB_ROWS`` rows. ``kind`` is the numpy kind of the array in the study.
    """
    if kind not in _METHODS:
        return [values[:, :: level.factors[0], :: level.factors[1], :: level.factors[2]] for level in levels]
    found, sums, counts, last = [values], np.empty(0), np.empty(0), levels[0]
    for level in levels[1:]:
        steps = [new // old for new, old in zip(level.factors, last.factors, strict=True)]
        if last is levels[0]:
            finite = np.isfinite(values)
            sums = _block_sums(np.where(finite, values, 0), steps)
            counts = _block_sums(finite, steps)
        else:
            sums, counts = _block_sums(sums, steps), _block_sums(counts, steps)
        mean = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
        found.append((mean if kind == "f" else mean >= 0.5).astype(values.dtype))
        last = level
    return found


def _block_sums(values: NDArray[Any], steps: Sequence[int]) -> NDArray[np.float64]:
    """Sums of pairs along z, y and x where the step is 2; what has no partner at the end stays alone."""
    for axis, step in enumerate(steps, start=1):
        if step == 2:
            first, second = (values[(slice(None),) * axis + (slice(start, None, 2),)] for start in (0, 1))
            values = first.astype(np.float64)
            values[(slice(None),) * axis + (slice(second.shape[axis]),)] += second
    return values.astype(np.float64, copy=False)


def outputs(volumes: Sequence[Volume], folder: Path) -> list[Output]:
    """One OME-Zarr image for each volume."""
    return [
        Output(folder / volume.measurement / f"{volume.name}.ome.zarr", (volume,), None, partial(_opened, volume))
        for volume in volumes
    ]


@contextmanager
def _opened(volume: Volume, path: Path) -> Iterator[Store]:
    levels = levels_of(volume.shape)
    group = zarr.create_group(path)
    arrays = [_level_array(path / str(number), volume, level) for number, level in enumerate(levels)]
    window, lock = np.array([np.inf, -np.inf]), threading.Lock()

    def store(_: Volume, block: Block, values: NDArray[Any]) -> None:
        """One block at every level of resolution."""
        plain = values.astype(np.uint8) if values.dtype.kind == "b" else values
        for array, level, part in zip(arrays, levels, coarsened(plain, levels, volume.dtype.kind), strict=True):
            start, step = block.rows.start, level.factors[0]
            rows = slice(start // step, start // step + part.shape[1])
            array[volume.region(Block(block.temperature, block.channels, rows))] = volume.fitted(part)
        finite = plain[np.isfinite(plain)]
        if finite.size:
            with lock:
                window[:] = min(window[0], finite.min()), max(window[1], finite.max())

    yield store
    ome: Any = {"version": "0.5", "multiscales": [multiscale(volume, levels)], "omero": _omero(volume, window)}
    group.attrs.update({"ome": ome, "cathoscope": _words(volume)})


def _level_array(path: Path, volume: Volume, level: Level) -> zarr.Array[Any]:
    dtype = np.dtype(np.uint8) if volume.dtype.kind == "b" else volume.dtype
    leading = volume.full_shape[:-3]
    # Slabs of different threads must not share a chunk, at any level.
    rows = max(SLAB_ROWS // level.factors[0], 1)
    chunks = (*(1 for _ in leading), *(min(n, tile) for n, tile in zip(level.shape, (rows, _TILE, _TILE), strict=True)))
    return zarr.create_array(
        path,
        shape=(*leading, *level.shape),
        chunks=chunks,
        dtype=dtype,
        fill_value=np.nan if dtype.kind == "f" else 0,
        compressors=BloscCodec(cname="zstd", clevel=3, shuffle="shuffle", typesize=dtype.itemsize),
        dimension_names=[axis["name"] for axis in axes_of(volume)],
    )


def axes_of(volume: Volume) -> list[dict[str, str]]:
    """Axes as the format orders them: t, c, z, y, x, as far as the array has them."""
    unit = {} if volume.voxel_size is None else {"unit": _SPACE_UNIT}
    return [
        *([] if volume.temperatures is None else [{"name": "t", "type": "time"}]),
        *([] if volume.channel is None else [{"name": "c", "type": "channel"}]),
        *({"name": dim, "type": "space", **unit} for dim in VOXEL),
    ]


def multiscale(volume: Volume, levels: Sequence[Level]) -> dict[str, Any]:
    """The entry of ``multiscales``: where the centre of voxel 0 lies and how far voxels are apart, at every level."""
    size = volume.voxel_size or (1.0, 1.0, 1.0)
    first = [float(volume.position[dim][0]) if dim in volume.position else 0.0 for dim in VOXEL]
    leading = len(volume.full_shape) - 3
    method = _METHODS.get(volume.dtype.kind, "nearest")
    datasets = []
    for number, level in enumerate(levels):
        scale = [step * factor for step, factor in zip(size, level.factors, strict=True)]
        # The centre of a coarse voxel is that of the voxels it covers.
        shift = [at + (f - 1) / 2 * step for at, f, step in zip(first, level.factors, size, strict=True)]
        transforms = [
            {"type": "scale", "scale": [1.0] * leading + scale},
            {"type": "translation", "translation": [0.0] * leading + shift},
        ]
        datasets.append({"path": str(number), "coordinateTransformations": transforms})
    return {
        "name": volume.name,
        "axes": axes_of(volume),
        "datasets": datasets,
        "type": method,
        "metadata": {"description": f"{method} of blocks of voxels", "method": "cathoscope", "version": __version__},
    }


def _omero(volume: Volume, window: NDArray[np.float64]) -> dict[str, Any]:
    """How to show it: one grey channel at a time, from the smallest to the largest value."""
    low, high = (float(value) for value in window) if np.isfinite(window).all() else (0.0, 1.0)
    high = high if high > low else low + 1.0
    names = channel_names(volume)
    shown = {"color": "FFFFFF", "window": {"min": low, "max": high, "start": low, "end": high}}
    channels = [{"label": name, "active": number == 0, **shown} for number, name in enumerate(names)]
    return {"name": volume.name, "channels": channels, "rdefs": {"defaultT": 0, "defaultZ": volume.shape[0] // 2}}


def _words(volume: Volume) -> dict[str, Any]:
    """What the format has no place for."""
    words: dict[str, Any] = {"measurement": volume.measurement, "array": volume.name, **plain_words(volume)}
    if volume.temperatures is not None:
        words |= {"temperature": volume.temperatures.tolist(), "temperature_units": "degC"}
    if volume.channel is not None:
        words |= {"channel": volume.channel, "channel_values": volume.channels.tolist()}
    return words


def plain_words(volume: Volume) -> dict[str, Any]:
    """Attributes of a volume as JSON and HDF5 take them."""
    return {key: value.tolist() if hasattr(value, "tolist") else value for key, value in volume.attrs.items()}
