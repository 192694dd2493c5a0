"""Raw files in the Data Exchange layout of the Advanced Photon Source: one HDF5 file per rotation scan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from cathoscope.virtual.txm import Frames

# The nano-CT of the heating study: 710 projections over 177 degrees, 20 nm pixels.
NANO_CT_PROJECTIONS = 710
NANO_CT_ARC = 177.0  # degrees
NANO_CT_PIXEL = 0.02  # um

_DATE = "2023-11-14T22:13:20-05:00"  # the same in every file, so that a seed always gives the same bytes


@dataclass(frozen=True)
class ExchangeHeader:
    """What a file says about its scan; energy in eV, pixel size in um."""

    file_name: str
    energy: float
    pixel_size: float
    sample: str
    title: str


@dataclass(frozen=True)
class DataExchangeLayout:
    """Files of a series: one folder and as many headers as energies for each temperature."""

    folders: tuple[Path, ...]
    headers: tuple[tuple[ExchangeHeader, ...], ...]

    def path(self, temperature: int, energy: int) -> Path:
        """File of one scan."""
        return self.folders[temperature] / self.headers[temperature][energy].file_name

    def begin(self, file: h5py.File, temperature: int, energy: int, frames: Frames) -> h5py.Dataset:
        """Write all of a scan but its projections; the array (projection, row, column) that they go into."""
        _write_header(file, self.headers[temperature][energy])
        shape = (frames.angles.size, *frames.flats.shape[1:])
        projections = file.create_dataset("exchange/data", shape, dtype=np.uint16, track_times=False)
        projections.attrs["axes"], projections.attrs["units"] = "theta:y:x", "counts"
        for name, counts in (("data_white", frames.flats), ("data_dark", frames.darks)):
            _write(file, f"exchange/{name}", counts, "counts")
        _write(file, "exchange/theta", frames.angles, "degrees")
        return projections

    def finished(self, temperature: int) -> bool:
        """Never: the one file of a series is quickly made again."""
        return False


def _write_header(file: h5py.File, header: ExchangeHeader) -> None:
    _write(file, "implements", "exchange:measurement:process")
    _write(file, "exchange/title", header.title)
    _write(file, "measurement/sample/name", header.sample)
    _write(file, "measurement/instrument/monochromator/energy", header.energy / 1e3, "keV")
    _write(file, "measurement/instrument/detection_system/objective/resolution", header.pixel_size, "um")
    _write(file, "process/acquisition/start_date", _DATE)
    _write(file, "process/acquisition/end_date", _DATE)


def _write(file: h5py.File, name: str, value: object, units: str | None = None) -> None:
    array = file.create_dataset(name, data=value, track_times=False)
    if units is not None:
        array.attrs["units"] = units
