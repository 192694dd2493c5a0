"""The list of readers, and the one function that opens a raw file, whatever its format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.io.composition_text import open_composition, recognise_composition
from cathoscope.io.cycler import CYCLING, IMPEDANCE
from cathoscope.io.cycler_mpr import open_mpr, recognise_mpr
from cathoscope.io.cycler_mpt import open_mpt, recognise_mpt
from cathoscope.io.cycler_neware import open_neware, recognise_neware
from cathoscope.io.cycler_table import open_cycler_table, recognise_cycler_table
from cathoscope.io.cycler_xlsx import open_xlsx, recognise_xlsx
from cathoscope.io.fibsem_tiff import open_fibsem_tiff, recognise_fibsem_tiff, recognise_plain_tiff
from cathoscope.io.gas_text import open_gas, recognise_gas
from cathoscope.io.impedance_text import open_impedance, recognise_impedance
from cathoscope.io.lazy import COPY_AGAIN, hdf5_file, hdf5_kept_open
from cathoscope.io.nexus import open_nxtomo, recognise_nxtomo
from cathoscope.io.optical_text import open_uv_vis, recognise_uv_vis
from cathoscope.io.powder_columns import open_powder_columns, recognise_powder_columns
from cathoscope.io.powder_gsas import open_gsas, recognise_gsas
from cathoscope.io.spectra_athena import open_athena, recognise_athena
from cathoscope.io.spectra_columns import open_columns, recognise_columns
from cathoscope.io.spectra_xdi import open_xdi, recognise_xdi
from cathoscope.io.stacks import open_tiff
from cathoscope.io.stxm import open_stxm, recognise_stxm
from cathoscope.io.thermal_text import open_thermal, recognise_thermal
from cathoscope.io.txm import open_data_exchange, open_fxi, recognise_data_exchange, recognise_fxi
from cathoscope.io.volumes import (
    open_hdf5_volume,
    open_sandbox_cube,
    recognise_hdf5_volume,
    recognise_sandbox_cube,
)
from cathoscope.io.xradia import open_xradia, recognise_xradia

AngleRange = tuple[float, float]
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class Reader:
    """One file format.

    Parameters
    ----------
    name
        As the recipe writes it.
    title
        As a person calls it.
    suffixes
        Usual endings of the file names; for display only, never used to recognise.
    gives
        Names of the arrays that a file may give; not every file has all.
    recognise
        None if the file's content is of this format, else why it is not.
    open
        Files and the recipe's angle range (deg) to a lazy Dataset.
    sequence
        Whether several files make one measurement.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    gives: tuple[str, ...]
    recognise: Callable[[Path], str | None]
    open: Callable[[Sequence[Path], AngleRange | None], xr.Dataset]
    sequence: bool = False


_SCAN = ("counts", "flat_counts", "dark_counts")
_SPECTRA = ("scan_energy", "absorption", "reference_absorption")
_POWDER = ("tof", "two_theta", "diffraction_counts", "diffraction_counts_std")
_CYCLING = (*CYCLING, "other_column")
_HEATING = ("elapsed_time", "sample_temperature", "sample_mass", "heat_flow")

READERS: tuple[Reader, ...] = (
    Reader("fxi", "NSLS-II FXI 18-ID tomography scan", (".h5",), _SCAN, recognise_fxi, open_fxi),
    Reader(
        "data_exchange",
        "APS Data Exchange, angles or energies",
        (".h5", ".hdf", ".hdf5"),
        (*_SCAN, "image_counts"),
        recognise_data_exchange,
        open_data_exchange,
    ),
    Reader("nxtomo", "NeXus NXtomo tomography scan", (".nxs", ".h5"), _SCAN, recognise_nxtomo, open_nxtomo),
    Reader(
        "xradia",
        "Zeiss/Xradia image or scan",
        (".xrm", ".txrm"),
        ("counts", "flat_counts"),
        recognise_xradia,
        open_xradia,
    ),
    Reader(
        "stxm",
        "ALS STXM image stack (header)",
        (".hdr",),
        ("image_counts", "incident_counts"),
        recognise_stxm,
        open_stxm,
    ),
    Reader("xdi", "XAS Data Interchange spectrum", (".xdi", ".nor", ".dat"), _SPECTRA, recognise_xdi, open_xdi),
    Reader("athena", "Athena project of spectra", (".prj",), _SPECTRA, recognise_athena, open_athena),
    Reader(
        "mpr",
        "Bio-Logic record, binary",
        (".mpr",),
        (*(name for name in _CYCLING if name != "cell_temperature"), *IMPEDANCE),
        recognise_mpr,
        open_mpr,
    ),
    Reader("mpt", "Bio-Logic record, text", (".mpt", ".txt"), (*_CYCLING, *IMPEDANCE), recognise_mpt, open_mpt),
    Reader("neware", "Neware record, binary", (".ndax", ".nda"), _CYCLING, recognise_neware, open_neware),
    Reader(
        "impedance",
        "impedance spectrum, text",
        (".dta", ".z", ".par", ".txt", ".csv"),
        (*IMPEDANCE, "elapsed_time", "cell_voltage", "cell_current", "other_column"),
        recognise_impedance,
        open_impedance,
    ),
    Reader(
        "cycler_table",
        "table of a battery cycler",
        (".csv", ".txt", ".bdf"),
        _CYCLING,
        recognise_cycler_table,
        open_cycler_table,
    ),
    Reader("cycler_xlsx", "workbook of a battery cycler", (".xlsx",), _CYCLING, recognise_xlsx, open_xlsx),
    Reader(
        "columns",
        "spectrum in columns",
        (".dat", ".txt", ".csv", ".tsv"),
        _SPECTRA,
        recognise_columns,
        open_columns,
    ),
    Reader(
        "gsas",
        "GSAS powder data",
        (".gsa", ".fxye", ".gss", ".raw"),
        _POWDER,
        recognise_gsas,
        open_gsas,
    ),
    Reader(
        "powder_columns",
        "powder pattern in columns",
        (".xye", ".xy", ".dat"),
        _POWDER,
        recognise_powder_columns,
        open_powder_columns,
    ),
    Reader("thermal", "balance or calorimeter as text", (".txt", ".csv"), _HEATING, recognise_thermal, open_thermal),
    Reader("gas", "mass spectrometer as text", (".asc", ".txt"), ("ion_time", "ion_signal"), recognise_gas, open_gas),
    Reader(
        "uv_vis",
        "UV-Vis spectra as text",
        (".txt", ".csv"),
        ("wavelength", "absorbance"),
        recognise_uv_vis,
        open_uv_vis,
    ),
    Reader(
        "icp",
        "contents of elements in solutions",
        (".csv",),
        ("element_content", "element_content_std"),
        recognise_composition,
        open_composition,
    ),
    Reader(
        "fibsem_tiff",
        "TIFF slices of a FIB/SEM",
        (".tif", ".tiff"),
        ("pages",),
        recognise_fibsem_tiff,
        open_fibsem_tiff,
        sequence=True,
    ),
    Reader("tiff", "TIFF image stack", (".tif", ".tiff"), ("pages",), recognise_plain_tiff, open_tiff, sequence=True),
    Reader(
        "sandbox_cube",
        "TXM-Sandbox aligned XANES cube",
        (".h5",),
        ("voxels",),
        recognise_sandbox_cube,
        open_sandbox_cube,
    ),
    # Last: what any program may have written.
    Reader(
        "hdf5_volume",
        "HDF5 file with one volume",
        (".h5", ".hdf5"),
        ("voxels",),
        recognise_hdf5_volume,
        open_hdf5_volume,
    ),
)


def open_raw(
    path: Path | Sequence[Path], *, reader: str | None = None, angle_range: AngleRange | None = None
) -> xr.Dataset:
    """A raw file, or the files of one measurement, as a labelled Dataset that reads only what is asked of it.

    The format is recognised by content, never by the file's ending. Arrays are named and have
    the units of ``core/schema.py``; ``attrs["remarks"]`` lists what was noticed and repaired.

    Parameters
    ----------
    path
        One file, or a sequence of files that make one measurement.
    reader
        Name of a reader (see `READERS`) to use instead of recognising.
    angle_range
        First and last angle of the projections in deg, both included, evenly spaced between; replaces
        the angles of a tomography file. Formats without projections ignore it.

    Raises
    ------
    MeasurementError
        If a file is missing, empty, a directory, damaged, of no known format, or lacks what its format promises.
    """
    paths = [path] if isinstance(path, Path) else list(path)
    if not paths:
        raise MeasurementError(
            "no file is given", expected="at least one file", found="none", cure="check the pattern in the recipe"
        )
    for each in paths:
        _check_is_file(each)
    with hdf5_kept_open():
        _check_hdf5_opens(paths[0])
        chosen = _recognised(paths[0]) if reader is None else _named(reader, paths[0])
        if len(paths) > 1:
            _check_sequence(chosen, paths)
        return chosen.open(paths, angle_range)


def _check_is_file(path: Path) -> None:
    if path.is_dir():
        raise _directory(path)
    if not path.is_file():
        raise MeasurementError(
            "the file does not exist",
            where=path,
            expected="a file",
            found=f"no file of that name in {path.parent}" if path.parent.is_dir() else f"no directory {path.parent}",
            cure="check the name, and the folder that the recipe's paths start from",
        )
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise MeasurementError(
            "the file cannot be read",
            where=path,
            expected="permission to read",
            found=str(error),
            cure="ask the owner for permission, or copy the file",
        ) from error
    if empty:
        raise MeasurementError(
            "the file is empty",
            where=path,
            expected="a measurement",
            found="0 bytes",
            cure=COPY_AGAIN,
        )


def _directory(path: Path) -> MeasurementError:
    endings = Counter(entry.suffix for entry in path.iterdir() if entry.is_file())
    pattern = f"*{endings.most_common(1)[0][0]}" if endings else "*"
    return MeasurementError(
        "a directory stands where a file is wanted",
        where=path,
        expected="a file, or a pattern of files",
        found=f"a directory with {', '.join(f'{n} {ending}' for ending, n in endings.items()) or 'no'} files",
        cure=f'name the file, or for an image sequence write "{path / pattern}"',
    )


def _check_hdf5_opens(path: Path) -> None:
    with path.open("rb") as file:
        signed = file.read(len(_HDF5_SIGNATURE)) == _HDF5_SIGNATURE
    if signed or h5py.is_hdf5(path):
        with hdf5_file(path):
            pass


def _recognised(path: Path) -> Reader:
    of_ending: list[str] = []
    others: list[str] = []
    for reader in READERS:
        reason = reader.recognise(path)
        if reason is None:
            return reader
        (of_ending if path.suffix.lower() in reader.suffixes else others).append(f"{reader.name}: {reason}")
    reasons = [*of_ending, *others]  # those of files with this ending tell most
    raise MeasurementError(
        f"no reader recognises the file; tried {len(reasons)}",
        where=path,
        expected=" or ".join(reader.title for reader in READERS),
        found="\n            ".join(reasons),
        cure="check the name, or convert the data to Data Exchange HDF5 or TIFF",
    )


def _named(name: str, path: Path) -> Reader:
    for reader in READERS:
        if reader.name == name:
            reason = reader.recognise(path)
            if reason is None:
                return reader
            raise MeasurementError(
                f"the file is no {reader.title}",
                where=path,
                expected=f"a file for the reader {name!r}",
                found=reason,
                cure="leave out the reader, and the file is recognised by its content",
            )
    raise MeasurementError(
        f"there is no reader {name!r}",
        where=path,
        expected=" or ".join(reader.name for reader in READERS),
        found=name,
        cure="leave out the reader, and the file is recognised by its content",
    )


def _check_sequence(reader: Reader, paths: Sequence[Path]) -> None:
    if not reader.sequence:
        raise MeasurementError(
            f"{len(paths)} files are given where one makes a measurement",
            where=paths[0],
            expected=f"one {reader.title}",
            found=f"{len(paths)} files, up to {paths[-1].name}",
            cure="give each file its own measurement, or its own energy or temperature",
        )
    for path in paths[1:]:
        reason = reader.recognise(path)
        if reason is not None:
            raise MeasurementError(
                "a file of the sequence is of another format",
                where=path,
                expected=f"{reader.title}, as {paths[0].name}",
                found=reason,
                cure="narrow the pattern in the recipe to the images, or move the file away",
            )
