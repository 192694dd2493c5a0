"""Full-field transmission X-ray microscopes: one tomography scan at one energy per HDF5 file.

Two layouts: FXI (NSLS-II 18-ID, ``fly_scan_id_<id>.h5``) and APS Data Exchange, which may also hold
images of one view at many energies (APS 32-ID).

Schema
------
``counts`` (projection, row, column), ``flat_counts`` (flat, row, column), ``dark_counts``
(dark, row, column), all lazy, in the file's number type; coordinates ``angle`` (projection) in deg
and, where the file tells, the scalar ``energy`` in eV.

Images of one view at many energies: ``image_counts`` (energy, y, x) in place of ``counts``, ``flat_counts`` with one
flat for each energy in the same order, ``dark_counts``; coordinates ``energy`` in eV, ascending, and where the pixel
size is known ``y`` and ``x`` in um from the centre.

Uncertainties
-------------
None are stored in the files. Counting noise follows from the counts and the detector's gain.

Metadata
--------
Attributes ``format``, ``source``, ``remarks`` (what was noticed and repaired), ``pixel_size`` (um,
at the sample), and as the file has them ``scan_id``, ``uid``, ``note``, ``scan_time``,
``magnification``, stage positions ``x_ini y_ini z_ini r_ini`` (FXI), ``title``, ``sample_name``,
``start_date``, ``end_date`` (Data Exchange).

File structure
--------------
FXI: ``/img_tomo`` uint16 (older files int16) (projection, row, column); ``/img_bkg`` and
``/img_dark`` (n, row, column), where a file without them has their averages ``/img_bkg_avg`` and
``/img_dark_avg`` float32 (1, row, column); ``/angle`` in degrees, interpolated from motor time
stamps, sometimes a chunk longer or shorter than the projections; ``/X_eng`` in keV;
``/Magnification``, ``/Pixel Size`` as text ("20.1nm").

Data Exchange: ``/exchange/data``, ``data_white``, ``data_dark``, ``theta`` in degrees or radians,
``energy`` in keV or eV (or ``/measurement/instrument/monochromator/energy``); where that has many values and the
sample was not turned, ``data`` is (energy, y, x) and ``data_white`` has one flat for each energy;
pixel size in ``/measurement/instrument/detection_system/objective/resolution`` (um).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import xarray as xr

from cathoscope.core.errors import CathoscopeError, MeasurementError
from cathoscope.core.schema import SCHEMA, dataset, label
from cathoscope.core.units import parse
from cathoscope.io.hdf5_tree import small_value, unit_of
from cathoscope.io.lazy import HDF5Array, hdf5_file, lazy
from cathoscope.io.repair import (
    STATE_ANGLES,
    angles_in_degrees,
    angles_of_projections,
    energy_in_ev,
    even_angles,
    length_in_um,
)

_FXI_NAMES = ("img_tomo", "img_bkg", "img_dark", "img_bkg_avg", "img_dark_avg", "X_eng", "angle")
_FXI_ATTRIBUTES = {
    name: name.lower()
    for name in ("scan_id", "uid", "note", "scan_time", "Magnification", "x_ini", "y_ini", "z_ini", "r_ini")
}
_EXCHANGE_ATTRIBUTES = {
    "exchange/title": "title",
    "measurement/sample/name": "sample_name",
    "process/acquisition/start_date": "start_date",
    "process/acquisition/end_date": "end_date",
}
_EXCHANGE_ENERGIES = ("exchange/energy", "measurement/instrument/monochromator/energy")
_EXCHANGE_RESOLUTION = "measurement/instrument/detection_system/objective/resolution"

# At FXI one detector pixel is 6500 nm / magnification at the sample.
_FXI_DETECTOR_PIXEL_UM = 6.5
_SAME_PIXEL_SIZE = 0.01
_SAME_ENERGY = 1e-6
_MOST_ENERGIES = 100_000
_MOST_ANGLES = 1_000_000


@dataclass(frozen=True)
class _Layout:
    """Where a format keeps its arrays; several places mean the first that is there and not empty."""

    format: str
    counts: str
    flat_counts: tuple[str, ...]
    dark_counts: tuple[str, ...]
    angle: str
    attributes: Mapping[str, str]


_FXI = _Layout("fxi", "img_tomo", ("img_bkg", "img_bkg_avg"), ("img_dark", "img_dark_avg"), "angle", _FXI_ATTRIBUTES)
_EXCHANGE = _Layout(
    "data_exchange",
    "exchange/data",
    ("exchange/data_white",),
    ("exchange/data_dark",),
    "exchange/theta",
    _EXCHANGE_ATTRIBUTES,
)


@dataclass
class _Scan:
    """One open file while its description is being read."""

    path: Path
    file: h5py.File
    layout: _Layout
    remarks: list[str] = field(default_factory=list)

    def find(self, *names: str) -> h5py.Dataset | None:
        """The first of the datasets that exists and is not empty."""
        for name in names:
            found = self.file.get(name)
            if isinstance(found, h5py.Dataset) and found.size:
                return found
        return None

    def number(self, *names: str) -> tuple[float, str | None] | None:
        """The first of the datasets as a number with its unit; None if there is none that is one number."""
        found = self.find(*names)
        if found is None or found.size != 1 or found.dtype.kind not in "fiu":
            return None
        return float(np.asarray(found[()]).item()), unit_of(found)


def recognise_fxi(path: Path) -> str | None:
    """None if the content is an FXI scan, else why it is not."""
    if not h5py.is_hdf5(path):
        return "not an HDF5 file"
    with hdf5_file(path) as file:
        known = [name for name in _FXI_NAMES if name in file]
        if len(known) >= 2:
            return None
        return f"an HDF5 file, but without /img_tomo and /angle; it holds {_contents(file)}"


def recognise_data_exchange(path: Path) -> str | None:
    """None if the content is a Data Exchange scan, else why it is not."""
    if not h5py.is_hdf5(path):
        return "not an HDF5 file"
    with hdf5_file(path) as file:
        if isinstance(file.get("exchange"), h5py.Group):
            return None
        return f"an HDF5 file, but without the group /exchange; it holds {_contents(file)}"


def open_fxi(paths: Sequence[Path], angle_range: tuple[float, float] | None = None) -> xr.Dataset:
    """One FXI scan, ``paths[0]``, as a lazy Dataset (see the module's docstring).

    Raises
    ------
    MeasurementError
        If a dataset is missing, has another shape than the rest, or the angles cannot be repaired.
    """
    with hdf5_file(paths[0]) as file:
        scan = _Scan(paths[0], file, _FXI)
        return _open(scan, _energy(scan, "X_eng", unit="keV"), _fxi_pixel_size(scan), angle_range)


def open_data_exchange(paths: Sequence[Path], angle_range: tuple[float, float] | None = None) -> xr.Dataset:
    """One Data Exchange scan, ``paths[0]``, as a lazy Dataset (see the module's docstring).

    Raises
    ------
    MeasurementError
        If a dataset is missing, has another shape than the rest, or the angles cannot be repaired.
    """
    with hdf5_file(paths[0]) as file:
        scan = _Scan(paths[0], file, _EXCHANGE)
        resolution = scan.number(_EXCHANGE_RESOLUTION)
        pixel_size = None if resolution is None else length_in_um(resolution[0], resolution[1] or "um")
        energies = _energies_of_one_view(scan)
        if energies is not None:
            return _open_energies(scan, energies, pixel_size)
        return _open(scan, _energy(scan, *_EXCHANGE_ENERGIES, unit=None), pixel_size, angle_range)


def _open(
    scan: _Scan, energy: float | None, pixel_size: float | None, angle_range: tuple[float, float] | None
) -> xr.Dataset:
    layout = scan.layout
    arrays = [
        _stack(scan, "counts", (layout.counts,)),
        _stack(scan, "flat_counts", layout.flat_counts),
        _stack(scan, "dark_counts", layout.dark_counts),
    ]
    _check_frames(scan, arrays)
    angle = _angles(scan, arrays[0].sizes["projection"], angle_range)
    arrays[0] = arrays[0][: angle.size]
    data = dataset(arrays, **_attributes(scan, pixel_size), remarks=scan.remarks).assign_coords(
        angle=label("angle", angle, ("projection",))
    )
    return data if energy is None else data.assign_coords(energy=label("energy", np.float64(energy), ()))


def _attributes(scan: _Scan, pixel_size: float | None) -> dict[str, Any]:
    attributes: dict[str, Any] = {"format": scan.layout.format, "source": str(scan.path)}
    if pixel_size is not None:
        attributes["pixel_size"] = pixel_size
    for name, attribute in scan.layout.attributes.items():
        found = scan.find(name)
        value = None if found is None else small_value(found)
        if value is not None:
            attributes[attribute] = value
    return attributes


def _energies_of_one_view(scan: _Scan) -> npt.NDArray[np.float64] | None:
    """Energies in eV as stored, of images between which the sample was not turned; else None."""
    found, theta = scan.find(*_EXCHANGE_ENERGIES), scan.find(scan.layout.angle)
    if found is None or found.ndim != 1 or not 2 <= found.size <= _MOST_ENERGIES or found.dtype.kind not in "fiu":
        return None
    if theta is not None and (theta.size not in (1, found.size) or theta.dtype.kind not in "fiu"):
        return None
    if theta is not None and np.ptp(np.asarray(theta[()])) != 0:
        return None
    values = np.asarray(found[()], dtype=np.float64)
    if not (np.isfinite(values) & (values > 0)).all():
        raise _wrong_energies(scan, "numbers above zero", f"{values.min():g} to {values.max():g}")
    highest, remarks = energy_in_ev(float(values.max()), unit_of(found), found.name.rpartition("/")[2])
    scan.remarks += remarks
    return values if highest is None else values * (highest / values.max())


def _open_energies(scan: _Scan, energies: npt.NDArray[np.float64], pixel_size: float | None) -> xr.Dataset:
    layout = scan.layout
    images = _stack(scan, "image_counts", (layout.counts,))
    flats = _stack(scan, "flat_counts", layout.flat_counts)
    darks = _stack(scan, "dark_counts", layout.dark_counts)
    _check_frames(scan, [images, flats, darks])
    n_energies, *shape = images.shape
    if energies.size != n_energies or len(flats) != n_energies:
        raise _wrong_energies(
            scan,
            f"an energy and a flat for each of {n_energies} images",
            f"{energies.size} energies, {len(flats)} flats",
        )
    order = np.argsort(energies, kind="stable")
    energies = energies[order]
    repeated = np.flatnonzero(np.diff(energies) < _SAME_ENERGY * energies[1:])
    if repeated.size:
        raise _wrong_energies(scan, "energies that all differ", f"{energies[repeated[0]]:.10g} eV more than once")
    if (np.diff(order) < 0).any():
        scan.remarks.append("energies were not ascending; images and flats have been sorted by energy")
        images, flats = images[order], flats[order]
    data = dataset([images, flats, darks], **_attributes(scan, pixel_size), remarks=scan.remarks)
    coords = {"energy": label("energy", energies, ("energy",))}
    if pixel_size is not None:
        for dim, size in zip("yx", shape, strict=True):
            coords[dim] = label(dim, (np.arange(size) - (size - 1) / 2) * pixel_size, (dim,))
    return data.assign_coords(coords)


def _wrong_energies(scan: _Scan, expected: str, found: str) -> MeasurementError:
    return MeasurementError(
        "the energies do not belong to these images",
        where=scan.path,
        expected=expected,
        found=found,
        cure="correct the file from the beamline's log, or leave it out",
    )


def _stack(scan: _Scan, name: str, places: tuple[str, ...]) -> xr.DataArray:
    dims = SCHEMA[name].dims
    found = scan.find(*places)
    if found is None:
        raise MeasurementError(
            f"{' or '.join('/' + place for place in places)} is missing or empty",
            where=scan.path,
            expected=f"{SCHEMA[name].meaning.lower()}, shape ({', '.join(dims)})",
            found=_contents(scan.file),
            cure="copy the missing frames into the file from a scan with the same exposure, or leave the file out",
        )
    if found.ndim != len(dims) or found.dtype.kind not in "fiu":
        raise MeasurementError(
            f"{found.name} is not a stack of images",
            where=scan.path,
            expected=f"numbers of shape ({', '.join(dims)})",
            found=f"{found.dtype} of shape {found.shape}",
            cure="check that the file is a tomography scan at one energy",
        )
    if found.name.strip("/") != places[0]:
        scan.remarks.append(f"/{places[0]} is missing; {found.name} is used, {found.shape[0]} averaged frame(s)")
    return label(name, lazy(HDF5Array(scan.path, found.name, found.shape, found.dtype)), dims)


def _check_frames(scan: _Scan, arrays: list[xr.DataArray]) -> None:
    frame = arrays[0].shape[1:]
    for array in arrays[1:]:
        if array.shape[1:] != frame:
            raise MeasurementError(
                f"{array.name} and projections have images of different shape",
                where=scan.path,
                expected=f"{frame[0]} rows x {frame[1]} columns, as the projections",
                found=f"{array.shape[1]} rows x {array.shape[2]} columns",
                cure="use flats and darks taken with the projections' detector region and binning",
            )


def _angles(scan: _Scan, n_projections: int, angle_range: tuple[float, float] | None) -> npt.NDArray[np.float64]:
    found = scan.find(scan.layout.angle)
    if angle_range is not None:
        if found is not None:
            scan.remarks.append(f"/{scan.layout.angle} is replaced by the recipe's angle_range")
        return even_angles(angle_range, n_projections)
    if found is None or found.dtype.kind not in "fiu":
        raise MeasurementError(
            f"/{scan.layout.angle} is missing: the angles of the projections are not known",
            where=scan.path,
            expected=f"{n_projections} angles in /{scan.layout.angle}",
            found=_contents(scan.file),
            cure=STATE_ANGLES,
        )
    if found.size > _MOST_ANGLES:
        raise MeasurementError(
            "the angles do not belong to these projections",
            where=scan.path,
            expected=f"{n_projections} angles, one for each projection",
            found=f"/{scan.layout.angle} of shape {found.shape}",
            cure=f"if the stage turned evenly, {STATE_ANGLES}",
        )
    values, remarks = angles_in_degrees(np.ravel(found[()]).astype(np.float64), unit_of(found), scan.path)
    scan.remarks += remarks
    values, remarks = angles_of_projections(values, n_projections, scan.path)
    scan.remarks += remarks
    return values


def _energy(scan: _Scan, *names: str, unit: str | None) -> float | None:
    stored = scan.number(*names)
    if stored is None:
        return None
    energy, remarks = energy_in_ev(stored[0], stored[1] or unit, names[0].rpartition("/")[2])
    scan.remarks += remarks
    return energy


def _fxi_pixel_size(scan: _Scan) -> float | None:
    magnification = scan.number("Magnification")
    expected = None
    if magnification is not None and magnification[0] > 0:
        expected = _FXI_DETECTOR_PIXEL_UM / magnification[0]
    found = scan.find("Pixel Size")
    if found is None or found.size > 1:
        return expected
    text = str(small_value(found))
    try:
        stated = parse(text, "length")
    except CathoscopeError:
        scan.remarks.append(f"Pixel Size {text!r} is not understood; the magnification is used instead")
        return expected
    if expected is not None and abs(stated / expected - 1) > _SAME_PIXEL_SIZE:
        scan.remarks.append(
            f"Pixel Size says {stated:.4g} um, Magnification {expected:.4g} um without binning; the first is used"
        )
    return stated


def _contents(file: h5py.File) -> str:
    """Names of the datasets and groups, two levels deep, as one line."""
    names: list[str] = []
    for name in file:
        item = file.get(name)  # None behind a broken link
        children = list(item) if isinstance(item, h5py.Group) else []
        names += [f"/{name}/{child}" for child in children] or [f"/{name}"]
    shown = ", ".join(names[:20]) or "nothing"
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")
