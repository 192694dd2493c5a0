"""One test per mistake that a raw file can hold: it is named, with what was expected, what was found and the cure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile

from cathoscope.core.errors import MeasurementError
from cathoscope.io import READERS, open_raw
from cathoscope.io.quality import check_projections, count_invalid

Content = dict[str, Any]


@pytest.fixture
def good() -> Content:
    """An FXI scan without a mistake: 90 projections of 6 x 8 pixels over 178 deg."""
    rng = np.random.default_rng(4)
    return {
        "img_tomo": rng.integers(500, 50_000, (90, 6, 8)).astype(np.uint16),
        "img_bkg": rng.integers(50_000, 60_000, (10, 6, 8)).astype(np.uint16),
        "img_dark": rng.integers(90, 110, (10, 6, 8)).astype(np.uint16),
        "angle": np.arange(90) * 2.0,
        "X_eng": 8.35,
    }


@pytest.fixture
def scan(tmp_path: Path) -> Callable[..., Path]:
    def write(content: Content, name: str = "fly_scan_id_1.h5") -> Path:
        with h5py.File(tmp_path / name, "w") as file:
            file.update(content)
        return tmp_path / name

    return write


def refusal(path: Path | Sequence[Path], action: Callable[..., Any] = open_raw, **options: Any) -> MeasurementError:
    """The error that ``action`` raises, checked for being complete."""
    with pytest.raises(MeasurementError) as caught:
        action(path, **options)
    error = caught.value
    for part in (error.where, error.expected, error.found, error.cure):
        assert part
        assert part in str(error)
    return error


def test_a_scan_without_mistake_is_accepted(scan: Callable[..., Path], good: Content) -> None:
    data = open_raw(scan(good))
    assert check_projections(data) == []
    assert data.attrs["remarks"] == []


def test_truncated_hdf5(scan: Callable[..., Path], good: Content) -> None:
    path = scan(good)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    error = refusal(path)
    assert error.where == str(path)
    assert error.expected == "a complete HDF5 file"
    assert "truncated" in str(error.found)
    assert "copy the file again" in str(error.cure)


def test_hdf5_with_a_damaged_chunk(scan: Callable[..., Path], good: Content, tmp_path: Path) -> None:
    path = tmp_path / "damaged.h5"
    with h5py.File(path, "w") as file:
        for name, value in good.items():
            options = {"chunks": (1, 6, 8), "fletcher32": True} if name == "img_tomo" else {}
            file.create_dataset(name, data=value, **options)
        chunk = file["img_tomo"].id.get_chunk_info(89)
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(b"\xff" * 8)
    data = open_raw(path)
    error = refusal(data, check_projections)
    assert error.where == str(path)


@pytest.mark.parametrize("name", ["img_tomo", "img_bkg", "img_dark"])
def test_missing_dataset(scan: Callable[..., Path], good: Content, name: str) -> None:
    del good[name]
    path = scan(good)
    error = refusal(path)
    assert error.where == str(path)
    assert f"/{name}" in error.problem
    assert "(" in str(error.expected)
    assert all(f"/{other}" in str(error.found) for other in good)


def test_missing_angles(scan: Callable[..., Path], good: Content) -> None:
    del good["angle"]
    path = scan(good)
    error = refusal(path)
    assert "/angle is missing" in error.problem
    assert error.expected == "90 angles in /angle"
    assert "angle_range = [0, 180]" in str(error.cure)
    np.testing.assert_array_equal(open_raw(path, angle_range=(0, 178))["angle"].values, np.arange(90) * 2.0)


def test_all_zero_flats(scan: Callable[..., Path], good: Content) -> None:
    good["img_bkg"][:] = 0
    path = scan(good)
    error = refusal(open_raw(path), check_projections)
    assert error.where == str(path)
    assert error.problem == "the flats are zero"
    assert "10 flats" in str(error.found)


@pytest.mark.parametrize("name", ["img_bkg", "img_dark"])
def test_flats_or_darks_of_another_shape(scan: Callable[..., Path], good: Content, name: str) -> None:
    good[name] = good[name][:, :, :7]
    error = refusal(scan(good))
    assert error.expected == "6 rows x 8 columns, as the projections"
    assert error.found == "6 rows x 7 columns"
    assert "binning" in str(error.cure)


def test_nan_pixels_are_counted_and_said(scan: Callable[..., Path], good: Content) -> None:
    counts = good["img_tomo"].astype(np.float32)
    counts[0, 0, :3] = np.nan
    data = open_raw(scan(good | {"img_tomo": counts}))
    assert check_projections(data) == ["3 of 144 looked-at pixels of the projections are NaN or infinite"]
    assert count_invalid(data["counts"].values, None) == (3, 0)


def test_saturated_pixels_are_counted_and_said(scan: Callable[..., Path], good: Content) -> None:
    good["img_bkg"][2:4, 1, 1] = 65_535
    data = open_raw(scan(good))
    assert check_projections(data) == ["2 of 480 looked-at pixels of the flats are saturated"]
    assert count_invalid(data["flat_counts"].values, None) == (0, 2)


def test_angles_of_another_length(scan: Callable[..., Path], good: Content) -> None:
    path = scan(good | {"angle": np.arange(60) * 3.0})
    error = refusal(path)
    assert error.expected == "90 angles, one for each projection"
    assert error.found == "60 angles"
    assert "angle_range" in str(error.cure)


def test_angles_a_chunk_too_long_are_repaired_and_said(scan: Callable[..., Path], good: Content) -> None:
    data = open_raw(scan(good | {"angle": np.arange(95) * 2.0}))
    assert data.sizes["projection"] == 90
    assert data.attrs["remarks"] == ["angle had 5 entries more than there are projections; the first 90 are used"]


def test_angles_in_radians_are_converted_and_said(scan: Callable[..., Path], good: Content) -> None:
    data = open_raw(scan(good | {"angle": np.deg2rad(good["angle"])}))
    np.testing.assert_allclose(data["angle"].values, good["angle"], rtol=1e-14)
    assert len(data.attrs["remarks"]) == 1
    assert "radians" in data.attrs["remarks"][0]


def test_angles_that_are_not_numbers(scan: Callable[..., Path], good: Content) -> None:
    good["angle"][5:7] = np.nan
    assert refusal(scan(good)).problem == "2 of 90 angles are not numbers"


def test_a_stage_that_did_not_turn(scan: Callable[..., Path], good: Content) -> None:
    error = refusal(scan(good | {"angle": np.full(90, 12.0)}))
    assert "12 deg" in error.problem


def test_energy_in_ev_instead_of_kev_is_converted_and_said(scan: Callable[..., Path], good: Content) -> None:
    data = open_raw(scan(good | {"X_eng": 8350.0}))
    assert float(data["energy"]) == 8350.0
    assert data.attrs["remarks"] == ["X_eng 8350 read as eV (the file says keV)"]


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.h5"
    path.touch()
    error = refusal(path)
    assert (error.problem, error.found) == ("the file is empty", "0 bytes")


def test_missing_file(tmp_path: Path) -> None:
    error = refusal(tmp_path / "absent.h5")
    assert error.found == f"no file of that name in {tmp_path}"
    error = refusal(tmp_path / "no" / "absent.h5")
    assert error.found == f"no directory {tmp_path / 'no'}"


def test_directory_where_a_file_is_wanted(tmp_path: Path) -> None:
    for k in range(3):
        (tmp_path / f"p_{k}.tif").touch()
    (tmp_path / "log.txt").touch()
    error = refusal(tmp_path)
    assert error.where == str(tmp_path)
    assert "3 .tif" in str(error.found)
    assert str(tmp_path / "*.tif") in str(error.cure)
    (tmp_path / "nothing").mkdir()
    assert "no files" in str(refusal(tmp_path / "nothing").found)


def test_wrong_extension_is_recognised_by_content(scan: Callable[..., Path], good: Content) -> None:
    data = open_raw(scan(good, "scan.tif"))
    assert data.attrs["format"] == "fxi"
    np.testing.assert_array_equal(data["counts"].values, good["img_tomo"])


@pytest.mark.parametrize("content", [b"energy,mu\n8300,0.1\n", bytes(4096), b"\xd0\xcf\x11\xe0" + bytes(600)])
def test_foreign_content_named_h5(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.h5"
    path.write_bytes(content)
    error = refusal(path)
    assert error.where == str(path)
    assert error.problem.endswith(f"tried {len(READERS)}")
    for reader in READERS:
        assert f"{reader.name}: " in str(error.found)
        assert reader.title in str(error.expected)


def test_hdf5_of_another_program(scan: Callable[..., Path]) -> None:
    error = refusal(scan({"entry/data": np.zeros((2, 3, 4))}))
    assert "/entry/data" in str(error.found)


def test_truncated_tiff(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.ones((5, 30, 40), np.float32), photometric="minisblack")
    path.write_bytes(path.read_bytes()[:9000])
    error = refusal(path)
    assert error.where == str(path)
    assert error.expected == "a complete TIFF file"


def test_a_foreign_image_in_a_sequence(tmp_path: Path) -> None:
    paths = [tmp_path / f"p_{k}.tif" for k in range(4)]
    for k, path in enumerate(paths):
        tifffile.imwrite(path, np.zeros((6, 8 if k != 2 else 9), np.uint16))
    error = refusal(paths)
    assert error.where == str(paths[2])
    assert error.expected == "uint16 of shape (6, 8), as in p_0.tif"
    assert error.found == "uint16 of shape (6, 9)"


@pytest.fixture
def stack(tmp_path: Path) -> Callable[[Sequence[float]], Path]:
    def write(energies: Sequence[float]) -> Path:
        listed = ", ".join(map(str, energies))
        path = tmp_path / "s.hdr"
        path.write_text(
            f"ScanDefinition = {{ StackAxis = {{ Points = ({len(energies)}, {listed});}};\n"
            " Regions = (1, { PAxis = { Points = (2, 0, 1);}; QAxis = { Points = (2, 0, 1);};});};\n"
        )
        for k in range(len(energies)):
            (tmp_path / f"s_a{k:03d}.xim").write_text(f"{k}\t{k}\n{k}\t{k}\n")
        return path

    return write


def test_stack_energies_descending_are_ordered_and_said(stack: Callable[..., Path]) -> None:
    data = open_raw(stack([720, 710, 700]))
    np.testing.assert_array_equal(data["energy"].values, [700, 710, 720])
    np.testing.assert_array_equal(data["image_counts"].values[:, 0, 0], [2, 1, 0])
    assert "sorted by energy" in data.attrs["remarks"][0]


def test_a_stack_energy_measured_twice(stack: Callable[..., Path]) -> None:
    path = stack([700, 710, 710])
    error = refusal(path)
    assert error.where == str(path)
    assert error.found == "710 eV in s_a001.xim and s_a002.xim"


def test_a_missing_image_is_set_aside_and_the_rest_used(stack: Callable[..., Path]) -> None:
    path = stack([700, 710, 720])
    (path.parent / "s_a001.xim").unlink()
    data = open_raw(path)
    np.testing.assert_array_equal(data["energy"].values, [700, 720])
    assert data.attrs["remarks"] == ["s_a001.xim (710 eV) is missing and is set aside"]


def test_a_header_without_images(stack: Callable[..., Path]) -> None:
    path = stack([700, 710])
    for image in path.parent.glob("*.xim"):
        image.unlink()
    error = refusal(path)
    assert "s_a000.xim" in str(error.expected)
    assert ".hdr" in str(error.cure)
