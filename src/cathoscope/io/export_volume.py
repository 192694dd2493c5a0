"""Arrays of a study that have voxels, in the one order in which every export reads them.

An array of the study may have a temperature and one more dim besides z, y and x: an energy, a half, a step, a
coefficient or a spectrum. That dim is called the channel here. Whatever the order on disk, a block is read as
[channel, z, y, x] of one temperature, so a writer knows four axes and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError, StudyError
from cathoscope.core.parallel import SLAB_ROWS, Resources, row_slabs
from cathoscope.core.schema import label, spec_of
from cathoscope.core.study import Study

DEFAULT_ARRAYS = ("white_line_energy", "white_line_energy_std", "edge_jump", "particle_mask", "attenuation")
VOXEL = ("z", "y", "x")
# Read, converted, halved and compressed, a value is in memory about this often at the same time.
_COPIES = 7
_ENERGIES_OF_A_CHUNK = 20
_OF_COEFFICIENTS = ("spectral_coefficient", "spectral_vector", "attenuation_std")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Block:
    """A part of a volume: one temperature, some channels, some rows."""

    temperature: int
    channels: slice
    rows: slice


@dataclass(frozen=True)
class Volume:
    """One array with voxels.

    ``channel`` is the name of the dim besides temperature, z, y and x, or None. ``temperatures`` (degC) is None for an
    array without that dim, and counts as one temperature when blocks are made. ``position`` holds the coordinates of
    z, y and x in um, as far as the study has them. ``read`` gives a block as [channel, z, y, x]. ``besides`` counts
    the values per voxel that reading needs in memory whatever the number of channels.
    """

    measurement: str
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, int, int]
    temperatures: Floats | None
    channel: str | None
    channels: NDArray[Any]
    position: Mapping[str, Floats]
    attrs: Mapping[str, Any]
    read: Callable[[Block], NDArray[Any]]
    measured: Callable[[int], NDArray[np.bool_]]
    besides: int = 0

    @property
    def n_temperatures(self) -> int:
        """How many temperatures there are, one if the array has no such dim."""
        return 1 if self.temperatures is None else len(self.temperatures)

    @property
    def n_channels(self) -> int:
        """How many channels there are, one if the array has no such dim."""
        return len(self.channels)

    @property
    def dims(self) -> tuple[str, ...]:
        """Dims in the order of an export."""
        return (
            *(() if self.temperatures is None else ("temperature",)),
            *(() if self.channel is None else (self.channel,)),
            *VOXEL,
        )

    @property
    def full_shape(self) -> tuple[int, ...]:
        """Lengths of ``dims``."""
        return (
            *(() if self.temperatures is None else (self.n_temperatures,)),
            *(() if self.channel is None else (self.n_channels,)),
            *self.shape,
        )

    def region(self, block: Block) -> tuple[int | slice, ...]:
        """Where a block lies in an array of ``full_shape``."""
        return (
            *(() if self.temperatures is None else (block.temperature,)),
            *(() if self.channel is None else (block.channels,)),
            block.rows,
        )

    def fitted(self, values: NDArray[Any]) -> NDArray[Any]:
        """A block as `region` takes it: without the channel if the array has none."""
        return values if self.channel is not None else values[0]

    def spacing(self, dim: str) -> float | None:
        """Distance of voxels along ``dim`` in um; of a single layer that of the other axes; None if unknown."""
        for name in (dim, *VOXEL):
            if len(where := self.position.get(name, np.empty(0))) > 1:
                return float((where[-1] - where[0]) / (len(where) - 1))
        return None

    @property
    def voxel_size(self) -> tuple[float, float, float] | None:
        """Size of a voxel along z, y and x in um, None if it is not known."""
        sizes = [self.spacing(dim) for dim in VOXEL]
        z, y, x = (size or 0.0 for size in sizes)
        return None if None in sizes else (z, y, x)


def blocks_of(volume: Volume, *, temperature: int | None, resources: Resources) -> list[Block]:
    """A volume, or one temperature of it, cut into blocks such that one for each thread fits into the memory.

    Blocks begin at multiples of ``SLAB_ROWS`` rows and are never thinner; where that is too much they hold fewer
    channels.
    """
    plane = volume.shape[1] * volume.shape[2] * volume.dtype.itemsize
    affordable = int(resources.memory / resources.threads / (SLAB_ROWS * plane) - 2 * volume.besides) // _COPIES
    count = min(max(affordable, 1), volume.n_channels)
    if _ENERGIES_OF_A_CHUNK < count < volume.n_channels:
        count -= count % _ENERGIES_OF_A_CHUNK
    rows = row_slabs(volume.shape[0], bytes_per_row=bytes_per_row(volume, count), resources=resources)
    return [
        Block(at, slice(start, min(start + count, volume.n_channels)), slab)
        for at in (range(volume.n_temperatures) if temperature is None else (temperature,))
        for slab in rows
        for start in range(0, volume.n_channels, count)
    ]


def bytes_per_row(volume: Volume, n_channels: int) -> float:
    """Memory that one row of a block takes."""
    planes = _COPIES * n_channels + 2 * volume.besides
    return float(planes * volume.shape[1] * volume.shape[2] * volume.dtype.itemsize)


def volumes_of(study: Study, measurement: str, names: Sequence[str] = (), *, expand: bool = False) -> list[Volume]:
    """The arrays ``names`` of a measurement, or those of `DEFAULT_ARRAYS` that are there.

    ``attenuation`` is summed up from the spectral coefficients where the study holds these instead: if it is named, or
    if ``expand`` is true.

    Raises
    ------
    CathoscopeError
        If a named array is not there or has no voxels; the message lists those that have.
    StudyError
        If the measurement holds no array with voxels.
    """
    stored = {name: _dims(study, measurement, name) for name in study.arrays("result", measurement)}
    there = [name for name, dims in stored.items() if set(VOXEL) <= set(dims)]
    if not there:
        raise StudyError(
            f"{measurement} holds no array with voxels (z, y, x)",
            where=study.path,
            found=", ".join(stored) or "nothing",
            cure="choose another measurement with --measurement, or run its recipe to the end",
        )
    summed = "attenuation" not in there and set(_OF_COEFFICIENTS) <= set(stored)
    able = [*there, *(["attenuation"] if summed else [])]
    for name in names:
        if name not in able:
            raise _not_there(study, measurement, name, able, known=name in stored)
    chosen = list(dict.fromkeys(names)) or [
        name for name in DEFAULT_ARRAYS if name in there or (expand and name in able)
    ]
    if not chosen:
        raise CathoscopeError(
            f"{measurement} holds none of the arrays that are exported unless others are named",
            where=study.path,
            expected=", ".join(DEFAULT_ARRAYS),
            found=", ".join(able),
            cure=f"--array {able[0]}",
        )
    return [
        _summed(study, measurement) if name == "attenuation" and summed else _stored(study, measurement, name)
        for name in chosen
    ]


def _not_there(study: Study, measurement: str, name: str, able: Sequence[str], *, known: bool) -> CathoscopeError:
    problem = f"{name} of {measurement} has no voxels (z, y, x)" if known else f"{measurement} has no array {name}"
    return CathoscopeError(problem, where=study.path, found=", ".join(able), cure=f"--array {able[0]}")


def _dims(study: Study, measurement: str, name: str) -> tuple[str, ...]:
    array = zarr.open_array(study.path / "result" / measurement / name, mode="r")
    return tuple(map(str, getattr(array.metadata, "dimension_names", None) or ()))


def _stored(study: Study, measurement: str, name: str) -> Volume:
    """An array as it lies in the study."""
    array = study.read("result", measurement, [name])[name]
    others = [str(dim) for dim in array.dims if dim not in ("temperature", *VOXEL)]
    if len(others) > 1:
        raise CathoscopeError(
            f"{name} of {measurement} has more dims than an export takes",
            where=study.path,
            expected="temperature, one other dim, z, y, x",
            found=", ".join(map(str, array.dims)),
            cure="name other arrays with --array",
        )
    channel = others[0] if others else None

    def read(block: Block) -> NDArray[Any]:
        """One block of the volume, channels first."""
        part = array.isel(z=block.rows)
        part = part.isel(temperature=block.temperature) if "temperature" in part.dims else part
        part = part.isel({channel: block.channels}) if channel else part
        values = np.asarray(part.transpose(*([channel] if channel else []), *VOXEL).values)
        return values if channel else values[None]

    found = Volume(
        measurement=measurement,
        name=name,
        dtype=array.dtype,
        shape=tuple(array.sizes[dim] for dim in VOXEL),  # type: ignore[arg-type]
        temperatures=_along(array, "temperature"),
        channel=channel,
        channels=_channels(array, channel),
        position={dim: where for dim in VOXEL if dim in array.coords and (where := _along(array, dim)) is not None},
        attrs=_words(array),
        read=read,
        measured=lambda _: np.ones(array.sizes[channel] if channel else 1, dtype=bool),
    )
    if channel == "energy" and "attenuation_std" in study.arrays("result", measurement):
        std = study.read("result", measurement, ["attenuation_std"])["attenuation_std"]
        if "energy" in std.dims:
            return replace(found, measured=lambda at: np.isfinite(_at(std, at)))
    return found


def _summed(study: Study, measurement: str) -> Volume:
    """The attenuation at every energy from spectral coefficients.

    attenuation[E] = sum over k of coefficient[k] vector[k, E] times attenuation_std[E]; NaN at an energy that was not
    measured at this temperature. What rose above the noise is all there; the noise of single energies is not.
    """
    source = _stored(study, measurement, "spectral_coefficient")
    parts = study.read("result", measurement, ["spectral_vector", "attenuation_std"])
    vectors, std = parts["spectral_vector"], parts["attenuation_std"]

    def measured(at: int) -> NDArray[np.bool_]:
        """Energies that were measured at a temperature."""
        return np.asarray(np.isfinite(_at(std, at)) & (np.nan_to_num(_at(vectors, at)) != 0).any(axis=0))

    def read(block: Block) -> NDArray[Any]:
        """One block of the volume, channels first."""
        at = block.temperature
        weights = np.where(measured(at), np.nan_to_num(_at(vectors, at)) * np.nan_to_num(_at(std, at)), np.nan)
        found = source.read(Block(at, slice(None), block.rows))
        total = np.empty((block.channels.stop - block.channels.start, *found.shape[1:]), dtype=np.float32)
        # One product of one size for each row: the last bit must not depend on how rows and energies are cut.
        for row in range(found.shape[1]):
            every = weights.astype(np.float32).T @ found[:, row].reshape(len(found), -1)
            total[:, row] = every.reshape(-1, *found.shape[2:])[block.channels]
        return total

    spec = spec_of("attenuation")
    words = label("attenuation", np.zeros((0, 0, 0), dtype=np.float32), VOXEL).attrs
    return replace(
        source,
        name=spec.name,
        dtype=np.dtype(np.float32),
        channel="energy",
        channels=np.asarray(vectors["energy"].values),
        attrs={**words, "summed_from": "spectral_coefficient"},
        read=read,
        measured=measured,
        besides=source.n_channels + -(-vectors.sizes["energy"] // SLAB_ROWS),
    )


def _at(array: xr.DataArray, temperature: int) -> Floats:
    part = array.isel(temperature=temperature) if "temperature" in array.dims else array
    return np.asarray(part.values, dtype=np.float64)


def _along(array: xr.DataArray, dim: str) -> Floats | None:
    """Coordinate of a dim, counted from 0 if the study has none; None if the array has no such dim."""
    if dim not in array.dims:
        return None
    return np.asarray(array[dim].values, dtype=np.float64)


def _channels(array: xr.DataArray, channel: str | None) -> NDArray[Any]:
    return np.zeros(1) if channel is None else np.asarray(array[channel].values)


def _words(array: xr.DataArray) -> dict[str, Any]:
    """Attributes a reader of the export wants, without those that only this program understands."""
    words = {str(key): value for key, value in array.attrs.items()}
    return {key: value for key, value in words.items() if key not in ("address", "ancillary_variables", "files")}


def channel_names(volume: Volume) -> list[str]:
    """What the channels are called: ``8350 eV``, ``half 0``, or the name of the array."""
    if volume.channel is None:
        return [volume.name]
    if volume.channel == "energy":
        return [f"{energy:.10g} eV" for energy in volume.channels]
    return [f"{volume.channel} {value}" for value in volume.channels]
