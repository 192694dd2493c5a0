"""``cathoscope inspect`` takes the same little memory for a file of any size."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").is_file(), reason="peak memory is read from /proc, which only Linux has"
)

MOST_MEMORY = 150_000  # kB
GIGABYTE = 1e9
# Without dask, an extra that xarray imports where it finds it.
COMMAND = """
import sys
sys.modules["dask"] = None
from pathlib import Path
from cathoscope.cli import app
try:
    app(["inspect", sys.argv[1]])
except SystemExit as end:
    code = end.code
peak = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
sys.stderr.write(f"{code or 0} {peak[0].split()[1]}")
"""


def unwritten(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: h5py.h5t.TypeID) -> None:
    """A dataset with its place in the file, of which nothing is on the disk."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    h5py.h5d.create(group.id, name.encode(), dtype, h5py.h5s.create_simple(shape), creation)


def fxi_scan(path: Path) -> str:
    """33 GB of projections."""
    with h5py.File(path, "w") as file:
        file.update({"img_bkg": np.ones((2, 2048, 2048), "u2"), "img_dark": np.ones((2, 2048, 2048), "u2")})
        file.update({"angle": np.linspace(0, 180, 4000), "X_eng": 8.35, "Magnification": 325.0})
        unwritten(file, "img_tomo", (4000, 2048, 2048), h5py.h5t.NATIVE_UINT16)
    return "4000 projection x 2048 row x 2048 column, uint16, 33.6 GB"


def master_and_images(path: Path) -> str:
    """17 GB of NXtomo frames in another file."""
    n_frames = 4100
    with h5py.File(path.with_name("frames.h5"), "w") as file:
        unwritten(file, "images", (n_frames, 2048, 1024), h5py.h5t.NATIVE_UINT16)
    with h5py.File(path, "w") as file:
        detector = file.create_group("entry/instrument/detector")
        detector["data"] = h5py.ExternalLink("frames.h5", "/images")
        detector["image_key"] = np.r_[[1] * 50, [2] * 50, [0] * (n_frames - 100)]
        file["entry/sample/rotation_angle"] = np.linspace(0, 180, n_frames)
    return "4000 projection x 2048 row x 1024 column"


def volume(path: Path) -> str:
    """32 GB of voxels."""
    with h5py.File(path, "w") as file:
        unwritten(file, "volume", (2000, 2000, 2000), h5py.h5t.NATIVE_FLOAT)
    return "2000 z x 2000 y x 2000 x, float32, 32 GB"


def one_chunk(path: Path) -> str:
    """600 MB of voxels that can only be read all at once."""
    with h5py.File(path, "w") as file:
        shape = (600, 1000, 1000)
        data = file.create_dataset("volume", shape, "u1", chunks=shape, compression="gzip", compression_opts=1)
        data.id.write_direct_chunk((0, 0, 0), gzip.compress(bytes(1000)))
    return "600 z x 1000 y x 1000 x"


def pages(path: Path) -> str:
    """5 GB of TIFF pages, each with a header."""
    tifffile.imwrite(path, shape=(2500, 1000, 1000), dtype="uint16", photometric="minisblack", bigtiff=True)
    return "2500 page x 1000 row x 1000 column"


def pages_behind_one_header(path: Path) -> str:
    """3.8 GB of pages as ImageJ writes them."""
    tifffile.imwrite(path, shape=(1900, 1000, 1000), dtype="uint16", imagej=True)
    return "1900 page x 1000 row x 1000 column"


def one_page(path: Path) -> str:
    """A TIFF image of 10 GB."""
    tifffile.imwrite(path, shape=(50_000, 100_000), dtype="uint16", photometric="minisblack", bigtiff=True)
    return "1 page x 50000 row x 100000 column"


LARGE = (fxi_scan, volume, pages, one_page)


def inspected(path: Path) -> tuple[int, int, str]:
    """Exit code, peak memory in kB and what was printed."""
    done = subprocess.run([sys.executable, "-c", COMMAND, path], capture_output=True, text=True, check=True)
    code, peak = done.stderr.splitlines()[-1].split()
    return int(code), int(peak), done.stdout


@pytest.mark.parametrize(
    "write", [*LARGE, pages_behind_one_header, master_and_images, one_chunk], ids=lambda write: write.__name__
)
def test_peak_memory_of_a_large_measurement(tmp_path: Path, write: Callable[[Path], str]) -> None:
    path = tmp_path / "large"
    text = write(path)
    try:
        assert write not in LARGE or path.stat().st_size > 4.9 * GIGABYTE
        code, peak, printed = inspected(path)
    finally:
        for file in tmp_path.iterdir():
            file.unlink()
    assert code == 0, printed
    assert text in printed
    assert peak < MOST_MEMORY


def table(path: Path) -> None:
    """12 MB of columns: 200 000 points."""
    rows = np.char.mod("%.6f", np.linspace(8000, 9000, 200_000))
    path.write_text("energy i0 it mu\n" + "".join(f"{row} 1000000.5 900000.25 0.123456\n" for row in rows))


def table_beyond_all_spectra(path: Path) -> None:
    """100 MB of columns."""
    path.write_text("energy mu\n" + "8333.000000 0.123456\n" * 4_800_000)


def project_that_unpacks(path: Path) -> None:
    """Some MB that become 600 MB."""
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"# Athena project file -- Demeter version 0.9.26\n")
        for _ in range(60):
            file.write(b"@x = ('8333');\n" * 700_000)


def lists(path: Path) -> None:
    """4 MB of JSON."""
    path.write_text(json.dumps({"energy": [8333.5] * 10_000, "mu": [[0.125] * 500] * 1200}))


def sparse(path: Path) -> None:
    """5 GB of nothing."""
    with path.open("wb") as file:
        file.truncate(5_000_000_000)


@pytest.mark.parametrize(
    "write",
    [table, table_beyond_all_spectra, project_that_unpacks, lists, sparse],
    ids=lambda write: write.__name__,
)
def test_peak_memory_of_a_large_text_or_none(tmp_path: Path, write: Callable[[Path], None]) -> None:
    path = tmp_path / "large"
    write(path)
    try:
        _, peak, printed = inspected(path)
    finally:
        path.unlink()
    assert "large" in printed
    assert peak < MOST_MEMORY
