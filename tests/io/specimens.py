"""One tiny file of every format, in the layout of the instrument, independent of the package."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile

from tests.io.ole import write_ole
from tests.io.specimens_cycler import CYCLERS
from tests.io.specimens_impedance import IMPEDANCES
from tests.io.specimens_lab import LAB

Content = dict[str, Any]
N_ANGLES, N_ENERGIES, ROWS, COLUMNS = 7, 4, 3, 4
ENERGIES = np.linspace(8300.25, 8400.25, 9)
MU = np.linspace(0.2, 1.4, 9)
TIFF = {"photometric": "minisblack"}


@dataclass(frozen=True)
class Specimen:
    """How to write a file of a format into a folder; the first path is the one to open."""

    reader: str
    write: Callable[[Path], list[Path]]


def _frames(*shape: int) -> Any:
    return np.random.default_rng(shape).integers(90, 60_000, shape).astype(np.uint16)


def _hdf5(path: Path, content: Content, **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in content.items():
            if isinstance(value, h5py.ExternalLink):
                file[name] = value
            else:
                file.create_dataset(name, data=value, **(options if np.ndim(value) > 2 else {}))
    return path


def fxi(folder: Path) -> list[Path]:
    """NSLS-II FXI: a tomography scan."""
    content = {
        "img_tomo": _frames(N_ANGLES, ROWS, COLUMNS),
        "img_bkg": _frames(2, ROWS, COLUMNS),
        "img_dark": _frames(2, ROWS, COLUMNS),
        "angle": np.linspace(-90, 90, N_ANGLES),
        "X_eng": 8.35,
        "Magnification": 325.0,
        "Pixel Size": "20.0nm",
        "note": "rod, 150 C",
    }
    return [_hdf5(folder / "fly_scan_id_1.h5", content)]


def data_exchange(folder: Path) -> list[Path]:
    """APS Data Exchange: a tomography scan, compressed."""
    content = {
        "exchange/data": _frames(N_ANGLES, ROWS, COLUMNS),
        "exchange/data_white": _frames(2, ROWS, COLUMNS),
        "exchange/data_dark": _frames(2, ROWS, COLUMNS),
        "exchange/theta": np.linspace(0, 180, N_ANGLES),
        "measurement/instrument/monochromator/energy": np.array([8.35]),
        "measurement/sample/name": "rod",
    }
    return [_hdf5(folder / "exchange.h5", content, chunks=True, compression="gzip")]


def energy_scan(folder: Path) -> list[Path]:
    """APS 32-ID: one view at several energies, as Data Exchange."""
    content = {
        "exchange/data": _frames(N_ENERGIES, ROWS, COLUMNS),
        "exchange/data_white": _frames(N_ENERGIES, ROWS, COLUMNS),
        "exchange/data_dark": _frames(2, ROWS, COLUMNS),
        "exchange/energy": 8.333 + 0.002 * np.arange(N_ENERGIES),
        "measurement/instrument/detection_system/objective/resolution": 0.06,
        "process/acquisition/start_date": np.array([b"2026-02-01T10:00:00-0600"]),
    }
    return [_hdf5(folder / "energies.h5", content)]


_KEY = np.array([2, 1, *[0] * N_ANGLES, 3, 1])
_ENTRY: Content = {
    "entry/definition": "NXtomo",
    "entry/instrument/detector/image_key": _KEY,
    "entry/instrument/detector/x_pixel_size": 6.5e-6,
    "entry/sample/rotation_angle": np.linspace(0, 180, _KEY.size),
    "entry/sample/name": "rod",
}


def nxtomo(folder: Path) -> list[Path]:
    """NXtomo in one file."""
    content = _ENTRY | {"entry/instrument/detector/data": _frames(_KEY.size, ROWS, COLUMNS)}
    return [_hdf5(folder / "scan.nxs", content)]


def nxtomo_master(folder: Path) -> list[Path]:
    """NXtomo whose images are in another file."""
    master = _ENTRY | {"entry/instrument/detector/data": h5py.ExternalLink("frames.h5", "/images")}
    frames = _hdf5(folder / "frames.h5", {"images": _frames(_KEY.size, ROWS, COLUMNS)}, chunks=True)
    return [_hdf5(folder / "master.nxs", master), frames]


def sandbox_cube(folder: Path) -> list[Path]:
    """TXM-Sandbox: an aligned cube."""
    root = "registration_results/reg_results/"
    cube = np.random.default_rng(5).normal(size=(N_ENERGIES, 2, 8, 9)).astype(np.float32)
    content = {root + "registered_xanes3D": cube, root + "eng_list": 8.333 + 0.002 * np.arange(N_ENERGIES)}
    return [_hdf5(folder / "cube.h5", content)]


def hdf5_volume(folder: Path) -> list[Path]:
    """A plain volume with its pixel size."""
    path = _hdf5(folder / "volume.h5", {"volume": _frames(2, 8, 9), "energy": 8.35})
    with h5py.File(path, "a") as file:
        file["volume"].attrs["pixel_size_nm"] = 40.0
    return [path]


def xradia_streams(n_images: int, rows: int, columns: int) -> dict[str, bytes]:
    """Streams of a scan, or of one image."""
    images = _frames(n_images, rows, columns)
    streams = {f"ImageData1/Image{k + 1}": image.astype("<u2").tobytes() for k, image in enumerate(images)}
    numbers = {"ImageHeight": rows, "ImageWidth": columns, "DataType": 5, "NoOfImages": n_images}
    floats = {
        "Angles": np.linspace(-60, 60, n_images) if n_images > 1 else [0.0],
        "Energy": [8350.0] * n_images,
        "ExpTimes": [5.0] * n_images,
        "PixelSize": [0.03],
    }
    streams |= {f"ImageInfo/{name}": struct.pack("<i", value) for name, value in numbers.items()}
    streams |= {f"ImageInfo/{name}": np.array(values, "<f4").tobytes() for name, values in floats.items()}
    return streams | {"ImageInfo/Date": b"11/09/15 18:19:21\0\x51\xbe"}


def xradia_scan(folder: Path) -> list[Path]:
    """Zeiss/Xradia: a scan, its images in the mini stream."""
    return [write_ole(folder / "scan.txrm", xradia_streams(3, ROWS, COLUMNS))]


def xradia_image(folder: Path) -> list[Path]:
    """Zeiss/Xradia: one image in sectors of its own, and a reference."""
    streams = xradia_streams(1, 48, 45)
    streams |= {"ReferenceData/Image": streams["ImageData1/Image1"], "ReferenceData/DataType": struct.pack("<i", 5)}
    return [write_ole(folder / "rep01_20161456_ncm_08324.0_eV_001of003.xrm", streams)]


def _axis(name: str, points: Any) -> str:
    numbers = ", ".join(f"{value:.4f}" for value in points)
    return f'{name} = {{ Unit = "{"eV" if name == "StackAxis" else "um"}"; Points = ({len(points)}, {numbers}); }};'


def stxm(folder: Path) -> list[Path]:
    """ALS STXM: header, images, incident spectrum."""
    x, y = 0.25 * np.arange(COLUMNS), 0.25 * np.arange(ROWS)
    header = folder / "scan.hdr"
    header.write_text(
        'ScanDefinition = { Label = "scan.hdr"; Dwell = 0.5;\n'
        f" Regions = (1,\n{{ {_axis('PAxis', x)} {_axis('QAxis', y)} }});\n"
        f" {_axis('StackAxis', [700.0, 701.0])}\n}};\n"
        ' Time = "2007 December 14 18:52:00";\n'
    )
    images = [folder / f"scan_a{k:03d}.xim" for k in range(2)]
    for path, image in zip(images, _frames(2, ROWS, COLUMNS), strict=True):
        path.write_text("".join("\t".join(map(str, row)) + "\n" for row in image))
    spectrum = folder / "i0.xsp"
    spectrum.write_text("".join(f"{energy:.7E} {9e4:.7E}\n" for energy in (699, 700, 701, 702)))
    return [header, *images, spectrum]


def _rows(*columns: Any, separator: str = "  ") -> str:
    return "".join(separator.join(f"{value:.6g}" for value in row) + "\n" for row in zip(*columns, strict=True))


def xdi(folder: Path) -> list[Path]:
    """XDI with a foil."""
    path = folder / "scan.xdi"
    i0 = np.full(9, 1e5)
    names = "".join(f"# Column.{k + 1}: {name}\n" for k, name in enumerate(("energy eV", "i0", "itrans", "irefer")))
    fields = "# Element.symbol: Ni\n# Element.edge: K\n# Mono.d_spacing: 3.13555\n# ///\n# 25 C\n#---\n"
    rows = _rows(ENERGIES, i0, i0 * np.exp(-MU), i0 * np.exp(-2 * MU))
    path.write_text("# XDI/1.0 GSE/1.0\n" + names + fields + rows)
    return [path]


def _perl(values: Any) -> str:
    return "(" + ",".join(f"'{value:.6g}'" for value in values) + ")"


def _project() -> bytes:
    text = "# Athena project file -- Demeter version 0.9.26\n\n"
    for name, scale, tied in (("abcd", 1.0, "efgh"), ("efgh", 2.0, "abcd")):
        title = "rod" if name == "abcd" else "Ref rod"
        text += (
            f"$old_group = '{name}';\n@args = ('label','{title}','is_xmu',1,'bkg_e0','8333.5','bkg_z','Ni',"
            f"'referencegroup','{tied}');\n@x = {_perl(ENERGIES)};\n@y = {_perl(MU * scale)};\n[record]\n\n"
        )
    return (text + "@journal = ();\n\n1;\n").encode()


def athena(folder: Path) -> list[Path]:
    """Athena: a sample with its foil."""
    path = folder / "study.prj"
    path.write_bytes(_project())
    return [path]


def athena_gzip(folder: Path) -> list[Path]:
    """The same project, compressed."""
    path = folder / "compressed.prj"
    path.write_bytes(gzip.compress(_project(), mtime=0))
    return [path]


def columns(folder: Path) -> list[Path]:
    """An ASCII scan of an APS beamline."""
    path = folder / "scan.dat"
    names = ["Mono Energy (eV)", "Scaler preset", "I0", "It", "Iref"]
    head = "# APS/XSD/SPC 20-BM\n# Column Headings:\n#" + "".join(f"{name:<21}" for name in names) + "\n"
    rows = [ENERGIES, np.ones(9), np.full(9, 1e5), 1e5 * np.exp(-MU), 1e5 * np.exp(-2 * MU)]
    path.write_text(head + _rows(*rows, separator="\t"))
    return [path]


def csv_table(folder: Path) -> list[Path]:
    """A table with a line of names."""
    path = folder / "table.csv"
    path.write_text("energy,mu\n" + _rows(ENERGIES, MU, separator=","))
    return [path]


def json_table(folder: Path) -> list[Path]:
    """Two spectra as JSON, which no reader takes without a column map."""
    path = folder / "spectra.json"
    path.write_text(
        json.dumps({"energy": ENERGIES.tolist(), "mu": {"a": MU.tolist(), "b": (2 * MU).tolist()}, "volt": [3.0, 4.3]})
    )
    return [path]


def tiff(folder: Path) -> list[Path]:
    """A stack of pages."""
    path = folder / "stack.tif"
    tifffile.imwrite(path, _frames(3, 6, 8), **TIFF)
    return [path]


def fibsem_tiff(folder: Path) -> list[Path]:
    """A slice with the microscope's block of text."""
    lines = ("AP_IMAGE_PIXEL_SIZE", "Image Pixel Size = 13.5 nm", "AP_SLICE_NUMBER", "Slice Number = 4")
    lines += ("AP_SLICE_THICKNESS", "Slice Thickness = 19 nm", "SV_USER_TEXT", "User Text = cycle 4")
    path = folder / "slice_0004.tif"
    text = "".join(f"{line}\r\n" for line in lines) + "\0"
    tifffile.imwrite(path, _frames(6, 8), extratags=[(34118, 2, 0, text, True)], **TIFF)
    return [path]


def tiff_zip(folder: Path) -> list[Path]:
    """A compressed stack of pages."""
    path = folder / "compressed.tif"
    tifffile.imwrite(path, _frames(3, 6, 8), compression="zlib", **TIFF)
    return [path]


def tiff_sequence(folder: Path) -> list[Path]:
    """Slices of a reconstruction."""
    paths = [folder / f"recon_fly_scan_id_1_{k:05d}.tiff" for k in range(2)]
    for path, image in zip(paths, _frames(2, 6, 8), strict=True):
        tifffile.imwrite(path, image.astype(np.float32), **TIFF)
    return paths


def gsas_banks(folder: Path) -> list[Path]:
    """Mantid: two banks of time of flight as FXYE."""
    lines = ["Sample Run: 1", "# Temp (K) = 423.15"]
    for bank, first in ((1, 1500.0), (3, 2000.0)):
        edges = first * 1.001 ** np.arange(6)
        lines += [f"# bank at {bank}", f"BANK {bank} 6 6 SLOG {first:.1f} {edges[-1]:.1f} 0.001 0 FXYE"]
        lines += [f"{x:18.9f} {30 + k:18.9f} {5.5:18.9f}" for k, x in enumerate(edges)]
    return [_text(folder / "PG3_1.gsa", "\n".join([*lines, ""]))]


def gsas_standard(folder: Path) -> list[Path]:
    """GSAS: counts at a constant wavelength in fixed columns."""
    counts = "".join(f"{1 + k // 7:2d}{200 + k:6d}" for k in range(12))
    lines = ["lead sulphate", "BANK 1 12 2 CONST 1000.0 5.0 0 0 STD", counts[:80], counts[80:].ljust(80)]
    return [_text(folder / "sample.raw", "\r\n".join([*lines, ""]))]


def powder_tof(folder: Path) -> list[Path]:
    """Three columns over time of flight."""
    lines = ["# time of flight (us), intensity, sigma"]
    lines += [f"{1000 * 1.001**k:.6f} {20 + k} {4.5:.3f}" for k in range(8)]
    return [_text(folder / "pattern.xye", "\n".join([*lines, ""]))]


def powder_angles(folder: Path) -> list[Path]:
    """Two columns over two theta."""
    lines = ["# Temp (C) = 25", "# 2theta counts", *(f"{10 + 0.5 * k:.3f} {150 + k}" for k in range(9))]
    return [_text(folder / "pattern.xy", "\n".join([*lines, ""]))]


def _text(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


SPECIMENS = {
    "fxi": Specimen("fxi", fxi),
    "data_exchange": Specimen("data_exchange", data_exchange),
    "energy_scan": Specimen("data_exchange", energy_scan),
    "nxtomo": Specimen("nxtomo", nxtomo),
    "nxtomo_master": Specimen("nxtomo", nxtomo_master),
    "xradia_scan": Specimen("xradia", xradia_scan),
    "xradia_image": Specimen("xradia", xradia_image),
    "stxm": Specimen("stxm", stxm),
    "xdi": Specimen("xdi", xdi),
    "athena": Specimen("athena", athena),
    "athena_gzip": Specimen("athena", athena_gzip),
    "columns": Specimen("columns", columns),
    "csv_table": Specimen("columns", csv_table),
    "json_table": Specimen("table", json_table),
    "gsas_banks": Specimen("gsas", gsas_banks),
    "gsas_standard": Specimen("gsas", gsas_standard),
    "powder_tof": Specimen("powder_columns", powder_tof),
    "powder_angles": Specimen("powder_columns", powder_angles),
    "fibsem_tiff": Specimen("fibsem_tiff", fibsem_tiff),
    "tiff": Specimen("tiff", tiff),
    "tiff_zip": Specimen("tiff", tiff_zip),
    "tiff_sequence": Specimen("tiff", tiff_sequence),
    "sandbox_cube": Specimen("sandbox_cube", sandbox_cube),
    "hdf5_volume": Specimen("hdf5_volume", hdf5_volume),
}
SPECIMENS |= {
    write.__name__: Specimen(reader, write)
    for reader, writers in (LAB | CYCLERS | IMPEDANCES).items()
    for write in writers
}
