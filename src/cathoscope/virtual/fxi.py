"""Raw files as the beamline FXI, NSLS-II 18-ID, writes them: one HDF5 file per rotation scan."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from cathoscope.core.study import write_failure
from cathoscope.virtual.txm import Frames

_MAGNIFIED_PIXEL = 6500.0  # nm; size of the beamline's camera pixel at magnification 1
FIRST_SCAN_ID = 100_101
FIRST_SCAN_TIME = 1.7e9  # s since 1970
SECONDS_PER_SCAN = 600.0


@dataclass(frozen=True)
class ScanHeader:
    """What a file says about its scan; energy in eV, pixel size in um, time in seconds since 1970."""

    scan_id: int
    energy: float
    pixel_size: float
    uid: str
    time: float
    note: str

    @property
    def file_name(self) -> str:
        """Name of the file at the beamline."""
        return f"fly_scan_id_{self.scan_id}.h5"


@dataclass(frozen=True)
class ScanImages:
    """Counts of one scan: ``projections`` in blocks (which, counts), all of ``flats`` and ``darks``; angles in deg."""

    angles: NDArray[np.float64]
    projections: Iterable[tuple[slice, NDArray[np.uint16]]]
    flats: NDArray[np.uint16]
    darks: NDArray[np.uint16]


def write_scan(folder: Path, header: ScanHeader, images: ScanImages) -> Path:
    """Write one scan into ``folder`` and return its file, which is there whole or not at all.

    The same input gives the same bytes: no time of writing is kept.

    Raises
    ------
    StudyError
        If the place cannot be written or the disk is full.
    """
    path = folder / header.file_name
    unfinished = path.with_suffix(".h5.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_whole(unfinished, path, header, images)
    except OSError as error:
        raise write_failure(path, error) from error
    return path


def _write_whole(unfinished: Path, path: Path, header: ScanHeader, images: ScanImages) -> None:
    """Write to ``unfinished`` and give it its name when it is complete; remove it otherwise."""
    try:
        with h5py.File(unfinished, "w") as file:
            _write_images(file, images)
            _write_header(file, header)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _write_images(file: h5py.File, images: ScanImages) -> None:
    projections = _begin_images(file, Frames(images.angles, images.flats, images.darks))
    for block, counts in images.projections:
        projections[block] = counts


def _begin_images(file: h5py.File, frames: Frames) -> h5py.Dataset:
    """Write all but the projections; the array that they go into."""
    shape = (frames.angles.size, *frames.flats.shape[1:])
    projections = file.create_dataset("img_tomo", shape, dtype=np.uint16, track_times=False)
    for name, counts in (("img_bkg", frames.flats), ("img_dark", frames.darks)):
        file.create_dataset(name, data=counts, track_times=False)
        mean = counts.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)
        file.create_dataset(f"{name}_avg", data=mean, track_times=False)
    file.create_dataset("angle", data=frames.angles, track_times=False)
    return projections


def _write_header(file: h5py.File, header: ScanHeader) -> None:
    nanometres = header.pixel_size * 1e3
    entries = {
        "X_eng": header.energy / 1e3,
        "Magnification": _MAGNIFIED_PIXEL / nanometres,
        "Pixel Size": f"{nanometres:g}nm",
        "note": header.note,
        "uid": header.uid,
        "scan_id": header.scan_id,
        "scan_time": header.time,
        "x_ini": 0.0,
        "y_ini": 0.0,
        "z_ini": 0.0,
        "r_ini": 0.0,
    }
    for name, value in entries.items():
        file.create_dataset(name, data=value, track_times=False)


@dataclass(frozen=True)
class FxiLayout:
    """Files of a series: one folder and as many headers as energies for each temperature."""

    folders: tuple[Path, ...]
    headers: tuple[tuple[ScanHeader, ...], ...]

    def path(self, temperature: int, energy: int) -> Path:
        """File of one scan."""
        return self.folders[temperature] / self.headers[temperature][energy].file_name

    def begin(self, file: h5py.File, temperature: int, energy: int, frames: Frames) -> h5py.Dataset:
        """Write all of a scan but its projections; the array (projection, row, column) that they go into."""
        _write_header(file, self.headers[temperature][energy])
        return _begin_images(file, frames)

    def finished(self, temperature: int) -> bool:
        """Whether every file of a temperature is there and says what its header would."""
        headers = self.headers[temperature]
        return all(_says(self.path(temperature, energy), header) for energy, header in enumerate(headers))


def _says(path: Path, header: ScanHeader) -> bool:
    """Whether a file was written with this note and identifier."""
    try:
        with h5py.File(path) as file:
            return all(file[name].asstr()[()] == getattr(header, name) for name in ("note", "uid"))
    except (OSError, KeyError):
        return False


def draw_headers(
    energies: NDArray[np.float64],
    pixel_sizes: NDArray[np.float64],
    notes: Sequence[str],
    rng: np.random.Generator,
    first_scan_id: int = FIRST_SCAN_ID,
) -> tuple[tuple[ScanHeader, ...], ...]:
    """Headers of scans one after another in time; random numbers make the identifiers, so nothing depends on the clock.

    Parameters
    ----------
    energies, pixel_sizes
        What the files shall say, eV and um, shape (temperature, energy).
    notes
        One for each temperature.
    rng
        For the identifiers.
    first_scan_id
        Number of the first scan.
    """
    headers = [
        ScanHeader(
            scan_id=first_scan_id + number,
            energy=float(energies.flat[number]),
            pixel_size=float(pixel_sizes.flat[number]),
            uid=str(uuid.UUID(bytes=rng.bytes(16), version=4)),
            time=FIRST_SCAN_TIME + SECONDS_PER_SCAN * number,
            note=notes[number // energies.shape[1]],
        )
        for number in range(energies.size)
    ]
    return tuple(
        tuple(headers[start : start + energies.shape[1]]) for start in range(0, len(headers), energies.shape[1])
    )
