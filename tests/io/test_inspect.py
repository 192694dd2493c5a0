from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile

from cathoscope.core.schema import dataset, label
from cathoscope.io import READERS
from cathoscope.io.inspect import Description, describe, rows_of, size_text

Writer = Callable[..., Path]
MOST_MEMORY = 150_000  # kB
PEAK = """
import sys
from pathlib import Path
from cathoscope.io.inspect import describe
description = describe(Path(sys.argv[1]))
assert description.refused is None, description.refused
peak = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
sys.stdout.write(peak[0].split()[1])
"""


def row(description: Description, name: str) -> str:
    """What is said of ``name``, and below it."""
    names = [each for each, _ in description.rows]
    start = names.index(name)
    stop = next((k for k in range(start + 1, len(names)) if names[k]), len(names))
    return "; ".join(text for _, text in description.rows[start:stop])


# -- what is said -----------------------------------------------------------------------------------


def test_a_scan_in_words(write_hdf5: Writer, fxi_content: dict[str, Any]) -> None:
    path = write_hdf5(fxi_content)
    description = describe(path)
    assert (description.reader, description.refused) == ("fxi", None)
    assert description.size == path.stat().st_size
    counts = fxi_content["img_tomo"]
    assert "40 projection x 6 row x 8 column, uint16" in row(description, "counts")
    assert f"{counts[20, 3].min()} to {counts[20, 3].max()} in the middle row" in row(description, "counts")
    assert "5 flat x 6 row x 8 column" in row(description, "flat_counts")
    assert "4 dark x 6 row x 8 column" in row(description, "dark_counts")
    assert row(description, "energy") == "8350 eV"
    assert row(description, "angle").startswith("40 values, -90 to 89.7 deg, step 4.608 deg")
    assert row(description, "pixel size") == "0.02 um"
    assert row(description, "note") == "rod, 150 C"
    assert any(line.split()[:1] == ["/img_tomo"] and "(40, 6, 8) uint16" in line for line in description.tree)


def test_a_stack_of_energies_in_words(write_stxm: Writer) -> None:
    energies = np.array([700.0, 701.0, 703.0])
    path = write_stxm(energies, np.arange(45.0).reshape(3, 3, 5), incident=[(699, 9), (704, 9)])
    description = describe(path)
    assert row(description, "energy") == "3 values, 700 to 703 eV, steps 1 to 2, half of them below 1.5 eV"
    assert "20 to 24 in the middle row" in row(description, "image_counts")
    assert any("i0.xsp has other energies" in remark for remark in description.remarks)
    text = "\n".join(description.lines())
    assert "remarks:" in text
    assert "i0.xsp has other energies" in text


def test_bulk_spectra_in_words() -> None:
    energies = np.array([[8300.0, 8301, 8302], [8310, 8311, np.nan]])
    data = dataset(
        [
            label("scan_energy", energies, ("spectrum", "point")),
            label("absorption", energies / 1e4, ("spectrum", "point")),
        ],
        element="Ni",
        edge="K",
    ).assign_coords(spectrum=label("spectrum", np.array([1, 2]), ("spectrum",)))
    data["spectrum"].attrs["names"] = ["foil", "rod"]
    rows = dict(rows_of(data, []))
    assert rows["foil"] == "3 points, 8300 to 8302 eV"
    assert rows["rod"] == "2 points, 8310 to 8311 eV"
    assert (rows["element"], rows["edge"]) == ("Ni", "K")


def test_values_that_cannot_be_read_are_a_remark(write_stxm: Writer, tmp_path: Path) -> None:
    path = write_stxm(np.array([700.0, 701.0, 702.0]), np.ones((3, 3, 5)))
    (tmp_path / "scan_a001.xim").write_text("1.0\t2.0\n")
    description = describe(path)
    assert description.refused is None
    assert any("image_counts cannot be read" in remark and "scan_a001.xim" in remark for remark in description.remarks)


def test_the_largest_arrays_and_every_link_are_in_the_tree(tmp_path: Path) -> None:
    path = tmp_path / "crowd.h5"
    with h5py.File(path, "w") as file:
        for number in range(100):
            file[f"table_{number:03d}"] = np.zeros(number + 1)
        file["z_link"] = h5py.ExternalLink("elsewhere.h5", "/data")
    tree = describe(path).tree
    assert len(tree) == 21
    assert tree[-1] == "and 81 smaller ones"
    assert [line.split()[0] for line in tree[:-1]] == [f"/table_{k:03d}" for k in range(81, 100)] + ["/z_link"]
    assert tree[-2].endswith("-> elsewhere.h5:/data")


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1_043_312, "1.04 MB"), (4e9, "4 GB")]
)
def test_sizes(size: float, text: str) -> None:
    assert size_text(size) == text


# -- what is refused --------------------------------------------------------------------------------


def test_a_file_of_no_measurement_is_refused_with_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_text("# Beam time\n")
    description = describe(path)
    assert description.reader is None
    assert description.refused == "it is text for people (begins: # Beam time)"


def test_a_file_of_unknown_kind_is_refused_with_every_reader_s_reason(tmp_path: Path) -> None:
    path = tmp_path / "strange"
    path.write_bytes(bytes(range(256)) * 4)
    refused = describe(path).refused
    assert refused is not None
    for reader in READERS:
        assert f"{reader.name}: " in refused


def test_frames_beside_a_scan_name_the_file_to_open(write_hdf5: Writer) -> None:
    path = write_hdf5({"entry/detector/detector": np.ones((20, 30, 40), "u2")})
    assert "open the scan's master file" in (describe(path).refused or "")
    table = write_hdf5({"table": np.ones((50, 2))}, "table.h5")
    assert "its largest array is /table (50, 2)" in (describe(table).refused or "")


def test_a_damaged_file_keeps_its_format_and_its_tree(write_hdf5: Writer, fxi_content: dict[str, Any]) -> None:
    fxi_content["img_bkg"] = fxi_content["img_bkg"][:, :5]
    description = describe(write_hdf5(fxi_content))
    assert description.reader == "fxi"
    assert "images of different shape" in (description.refused or "")
    assert len(description.tree) == len(fxi_content)
    cut = write_hdf5(fxi_content, "cut.h5")
    cut.write_bytes(cut.read_bytes()[:-50])
    assert "truncated" in (describe(cut).refused or "")
    assert describe(cut).tree == ()


def test_what_is_no_file(tmp_path: Path) -> None:
    assert "does not exist" in (describe(tmp_path / "absent.h5").refused or "")
    assert describe(tmp_path / "absent.h5").size is None
    assert "directory" in (describe(tmp_path).refused or "")
    (tmp_path / "empty").touch()
    assert "empty" in (describe(tmp_path / "empty").refused or "")


def test_a_reader_may_be_named(write_hdf5: Writer, fxi_content: dict[str, Any]) -> None:
    path = write_hdf5(fxi_content)
    assert describe(path, "fxi").refused is None
    assert "no TIFF image stack" in (describe(path, "tiff").refused or "")
    assert "no reader 'tif'" in (describe(path, "tif").refused or "")


# -- memory -----------------------------------------------------------------------------------------


def sparse_scan(path: Path) -> None:
    """4.2 GB of projections of which nothing is on the disk."""
    with h5py.File(path, "w") as file:
        file.update({"img_bkg": np.ones((2, 1024, 1024), "u2"), "img_dark": np.ones((2, 1024, 1024), "u2")})
        file.update({"angle": np.linspace(0, 180, 2000), "X_eng": 8.35, "Magnification": 325.0})
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple((2000, 1024, 1024))
        h5py.h5d.create(file.id, b"img_tomo", h5py.h5t.NATIVE_UINT16, space, creation)


def one_chunk(path: Path) -> None:
    """200 MB of projections that can only be read all at once."""
    with h5py.File(path, "w") as file:
        file.update({"exchange/data_white": np.ones((2, 1000, 1000), "u2"), "exchange/theta": np.linspace(0, 180, 100)})
        file["exchange/data_dark"] = file["exchange/data_white"]
        shape = (100, 1000, 1000)
        data = file.create_dataset("exchange/data", shape, "u2", chunks=shape, compression="gzip", compression_opts=1)
        data[0, 0] = 1


def sparse_tiff(path: Path) -> None:
    """1.5 GB of pages of which nothing is on the disk."""
    tifffile.imwrite(path, shape=(750, 1000, 1000), dtype="uint16", photometric="minisblack")


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from /proc")
@pytest.mark.parametrize("write", [sparse_scan, one_chunk, sparse_tiff])
def test_peak_memory_does_not_grow_with_the_file(tmp_path: Path, write: Callable[[Path], None]) -> None:
    path = tmp_path / "large"
    write(path)
    assert path.stat().st_size > 1.4e9 or write is one_chunk
    done = subprocess.run([sys.executable, "-c", PEAK, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < MOST_MEMORY


# -- measured data ----------------------------------------------------------------------------------


def test_every_imaging_file_is_described_or_refused_with_a_reason(data_folder: Path) -> None:
    for path in sorted((data_folder / "imaging").rglob("*")):
        is_one_of_many = path.suffix == ".xim" and not path.stem.endswith("000")
        if not path.is_file() or "tiff_sequence" in path.parts or is_one_of_many:
            continue
        description = describe(path)
        assert (description.refused is None) == bool(description.rows), path
        assert description.refused != "", path


def test_the_tooth_in_words(data_folder: Path) -> None:
    description = describe(data_folder / "imaging/tooth-dxchange/tooth.h5")
    assert row(description, "counts").startswith("181 projection x 2 row x 640 column, float32")
    assert row(description, "angle") == "181 values, 0 to 179.0055 deg, step 0.9945 deg"
    assert row(description, "sample name") == "Tooth"


def test_a_record_of_a_cell_in_words(tmp_path: Path) -> None:
    """Values with their units, and what to type in a recipe."""
    lines = ["time (s),voltage (V),current (mA)", *(f"{10 * k},{3 + 0.01 * k},{0.2}" for k in range(60))]
    (tmp_path / "cell.csv").write_text("\n".join([*lines, ""]))
    description = describe(tmp_path / "cell.csv")
    assert "3 to 3.59 V in all" in row(description, "cell_voltage")
    assert "0.0002 to 0.0002 A in all" in row(description, "cell_current")
    assert row(description, "use").startswith('technique = "cycling"')
