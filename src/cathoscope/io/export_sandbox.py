"""The HDF5 layout of TXM-Sandbox's three-dimensional XANES, so that its users can compare.

File structure
--------------
``MEASUREMENT_NN_TEMPERATUREC.h5``, one file for each temperature, as TXM-Sandbox keeps one file for each series:

- ``/registration_results/reg_results/registered_xanes3D`` float32 (energy, z, y, x), contiguous; ``eng_list`` (eV)
  beside it, and the same at ``/trial_registration/trial_reg_parameters`` and ``/processed_XANES3D/proc_parameters``.
- ``/processed_XANES3D/proc_spectrum/wl_pos_fit`` (z, y, x): our white-line energy in eV, NaN where there is none. Other
  maps lie beside it under our own names: its ``wl_fit_err`` is a misfit and not an uncertainty in eV, so
  ``white_line_energy_std`` keeps its name.
- ``/processed_XANES3D/gen_masks/NAME/NAME`` int8: masks.

The cube is always written: TXM-Sandbox opens nothing without it. An energy that was not measured at a temperature is
left out of its file. Spectral coefficients are summed up to attenuation.

Layout as in TXM-Sandbox 0.2.4, which reads the cube for its fits and lists ``proc_spectrum`` and ``gen_masks`` for
viewing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cathoscope import __version__
from cathoscope.core.errors import CathoscopeError
from cathoscope.io.export_target import Output, Store, temperature_names
from cathoscope.io.export_volume import Block, Volume
from cathoscope.io.export_zarr import plain_words

_CUBE = "registration_results/reg_results/registered_xanes3D"
_ENERGY_PLACES = (
    "registration_results/reg_results/eng_list",
    "trial_registration/trial_reg_parameters/eng_list",
    "processed_XANES3D/proc_parameters/eng_list",
)
_NAMES = {"white_line_energy": "wl_pos_fit"}


def outputs(volumes: Sequence[Volume], folder: Path) -> list[Output]:
    """One file for each temperature of each measurement.

    Raises
    ------
    CathoscopeError
        If a measurement has no attenuation at several energies.
    """
    found = []
    for measurement in dict.fromkeys(volume.measurement for volume in volumes):
        own = tuple(volume for volume in volumes if volume.measurement == measurement)
        cube = cube_of(own)
        maps = tuple(volume for volume in own if volume is not cube)
        for at, name in enumerate(temperature_names(cube)):
            target = folder / f"{measurement}{name}.h5"
            found.append(Output(target, (cube, *maps), at, partial(_opened, cube, maps, at)))
    return found


def cube_of(volumes: Sequence[Volume]) -> Volume:
    """The attenuation of a measurement at its energies.

    Raises
    ------
    CathoscopeError
        If there is none.
    """
    for volume in volumes:
        if volume.name == "attenuation" and volume.channel == "energy":
            return volume
    raise CathoscopeError(
        f"{volumes[0].measurement} has no attenuation at several energies",
        expected="a XANES tomography, which this layout is for",
        found=", ".join(volume.name for volume in volumes),
        cure="--as hdf5, or choose another measurement with --measurement",
    )


@contextmanager
def _opened(cube: Volume, maps: Sequence[Volume], at: int, path: Path) -> Iterator[Store]:
    measured = cube.measured(at)
    # Where the energies that were measured lie in the cube of this temperature.
    place = np.cumsum(measured) - 1
    with h5py.File(path, "w") as file:
        _prepare(file, cube, maps, at)

        def store(volume: Volume, block: Block, values: NDArray[Any]) -> None:
            """One block into the file; the cube itself is written with its energies."""
            if volume is not cube:
                stored = file[place_of(volume)]
                part = values.astype(stored.dtype, copy=False)
                if volume.channel is None:
                    stored[block.rows] = part[0]
                else:
                    stored[block.channels, block.rows] = part
                return
            for number, channel in enumerate(range(block.channels.start, block.channels.stop)):
                if measured[channel]:
                    file[_CUBE][int(place[channel]), block.rows] = values[number]

        yield store


def _prepare(file: h5py.File, cube: Volume, maps: Sequence[Volume], at: int) -> None:
    energies = np.asarray(cube.channels, dtype=np.float64)[cube.measured(at)]
    file.attrs.update({"measurement": cube.measurement, "written_by": f"cathoscope {__version__}"})
    if cube.temperatures is not None:
        file.attrs["temperature_degC"] = float(cube.temperatures[at])
    for place in _ENERGY_PLACES:
        file.create_dataset(place, data=energies).attrs["units"] = "eV"
    file["processed_XANES3D/proc_parameters/data_shape"] = np.array([energies.size, *cube.shape])
    _describe(file.create_dataset(_CUBE, shape=(energies.size, *cube.shape), dtype=np.float32), cube)
    for volume in maps:
        shape = volume.shape if volume.channel is None else (volume.n_channels, *volume.shape)
        dtype = np.int8 if volume.dtype.kind == "b" else volume.dtype
        _describe(file.create_dataset(place_of(volume), shape=shape, dtype=dtype, fillvalue=0), volume)


def place_of(volume: Volume) -> str:
    """Where a map or mask lies in the file."""
    if volume.dtype.kind == "b":
        return f"processed_XANES3D/gen_masks/{volume.name}/{volume.name}"
    return f"processed_XANES3D/proc_spectrum/{_NAMES.get(volume.name, volume.name)}"


def _describe(stored: h5py.Dataset, volume: Volume) -> None:
    stored.attrs.update({key: value for key, value in plain_words(volume).items() if value is not None})
    if volume.voxel_size is not None:
        stored.attrs["voxel_size_um"] = volume.voxel_size
