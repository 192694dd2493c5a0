"""Slices of a FIB/SEM as the simulator and as microscopes' programs write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from cathoscope.core.errors import MeasurementError
from cathoscope.io import open_raw
from cathoscope.io.fibsem_tiff import recognise_fibsem_tiff, recognise_plain_tiff, slice_header, text_block
from cathoscope.virtual.fibsem_files import Header, write_image

SHAPE = (12, 15)


def image(number: int) -> np.ndarray[Any, Any]:
    return np.full(SHAPE, number, dtype=np.uint8)


def written(folder: Path, number: int, *, name: str | None = None, pixel: float = 0.0135, **more: Any) -> Path:
    path = folder / (name or f"cycle_{number:04d}.tif")
    header = Header(pixel, "L-NMC-1 series", slice_number=number, slice_z=0.019 * number, thickness=0.019, **more)
    write_image(path, image(number), header)
    return path


def with_text(path: Path, text: str, tag: int = 34118) -> Path:
    tifffile.imwrite(path, image(1), extratags=[(tag, 2, 0, text + "\0", True)])
    return path


def test_a_series_is_read_in_the_order_of_its_slices(tmp_path: Path) -> None:
    paths = [written(tmp_path, n, cycle=2.0 * n, stage=(1.5, -2.0)) for n in (3, 0, 11, 1, 2)]
    data = open_raw(paths)
    assert data.attrs["format"] == "fibsem_tiff"
    assert data["slice_number"].values.tolist() == [0, 1, 2, 3, 11]
    assert data["page_cycle"].values.tolist() == [0, 2, 4, 6, 22]
    np.testing.assert_allclose(data["slice_depth"].values, 0.019 * data["slice_number"].values)
    assert data.attrs["pixel_size"] == pytest.approx(0.0135)
    assert data.attrs["thickness"] == pytest.approx(0.019)
    assert data.attrs["stage"] == pytest.approx([1.5, -2.0])
    assert data["pages"][:, 0, 0].values.tolist() == [0, 1, 2, 3, 11]
    (remark,) = data.attrs["remarks"]
    assert "7 of 12 slices are missing: 4, 5, 6, 7, 8" in remark


def test_slices_whose_names_sort_otherwise_are_put_in_order(tmp_path: Path) -> None:
    paths = [written(tmp_path, n, name=name) for n, name in ((0, "b.tif"), (1, "a.tif"))]
    assert open_raw(paths)["pages"][:, 0, 0].values.tolist() == [0, 1]


def test_a_file_of_many_slices_is_a_stack_that_is_read_lazily(tmp_path: Path) -> None:
    header = Header(0.0135, "H-NMC-1 stack-035", thickness=0.02, cycle=35)
    write_image(tmp_path / "stack.tif", np.stack([image(n) for n in range(6)]), header)
    data = open_raw(tmp_path / "stack.tif")
    assert data["slice_number"].values.tolist() == list(range(6))
    np.testing.assert_allclose(data["slice_depth"].values, 0.02 * np.arange(6))
    assert set(data["page_cycle"].values) == {35.0}
    assert data["pages"][4].values.mean() == 4


FEI_TEXT = (
    "[User]\r\nUserText=after cycle 12\r\n[Stage]\r\nStageX=0.0025\r\nStageY=-1e-3\r\n"
    "[Scan]\r\nPixelWidth=1.35e-08\r\nPixelHeight=1.35e-08\r\n"
)


def test_the_other_makers_block_is_read_too(tmp_path: Path) -> None:
    path = with_text(tmp_path / "slice_007.tif", FEI_TEXT, tag=34682)
    header = slice_header(path)
    assert header.maker == "FEI"
    assert header.pixel_size == pytest.approx(0.0135)
    assert (header.slice_number, header.cycle) == (None, 12.0)
    assert open_raw(path)["slice_number"].values.tolist() == [7]
    assert header.stage == pytest.approx((2500.0, -1000.0))
    assert open_raw(path).attrs["pixel_size"] == pytest.approx(0.0135)


def test_real_zeiss_text_with_numbers_before_it_is_read(tmp_path: Path) -> None:
    text = "0\r\n13\r\n2.5\r\nDP_BEAM\r\nBeam = EBeam\r\nAP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 0.0135 µm\r\n"
    path = tmp_path / "scan7_12.tif"
    tifffile.imwrite(path, image(1), extratags=[(34118, 1, 0, text.encode("cp1252"), True)])
    header = slice_header(path)
    assert header.pixel_size == pytest.approx(0.0135)
    assert text_block(path).entries["dp_beam"] == ("EBeam", 5)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("value", "words"),
    [("abc nm", "is no length"), ("13.5 parsec", "is no length"), ("0 nm", "no size of a pixel")],
)
def test_a_pixel_size_that_is_none_names_file_and_line(tmp_path: Path, value: str, words: str) -> None:
    text = f"SV_IMAGE_NAME\r\nImage Name = x\r\nAP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = {value}\r\n"
    path = with_text(tmp_path / "a.tif", text)
    with pytest.raises(MeasurementError, match=words) as caught:
        open_raw(path)
    assert "a.tif, line 4" in str(caught.value)


def test_pixels_that_are_no_squares_and_numbers_that_are_none_are_told(tmp_path: Path) -> None:
    path = with_text(tmp_path / "a.tif", FEI_TEXT.replace("PixelHeight=1.35", "PixelHeight=1.9"), tag=34682)
    with pytest.raises(MeasurementError, match="no squares"):
        open_raw(path)
    path = with_text(tmp_path / "b.tif", "AP_SLICE_NUMBER\r\nSlice Number = two\r\n")
    with pytest.raises(MeasurementError, match="no number of a slice"):
        slice_header(path)


def test_a_slice_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    paths = [written(tmp_path, 0), written(tmp_path, 1), written(tmp_path, 1, name="cycle_0001b.tif")]
    with pytest.raises(MeasurementError, match="slice 1 is there twice") as caught:
        open_raw(paths)
    assert "cycle_0001b.tif" in str(caught.value)


def test_images_that_state_no_number_keep_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("a_1.tif", "b_1.tif"):
        write_image(tmp_path / name, image(ord(name[0])), Header(0.05, "a tile"))
    data = open_raw([tmp_path / "b_1.tif", tmp_path / "a_1.tif"])
    assert data["slice_number"].values.tolist() == [0, 1]
    assert data["pages"][:, 0, 0].values.tolist() == [ord("a"), ord("b")]


def test_slices_of_another_magnification_are_refused(tmp_path: Path) -> None:
    paths = [written(tmp_path, 0), written(tmp_path, 1, pixel=0.02)]
    with pytest.raises(MeasurementError, match="pixel sizes of the slices differ"):
        open_raw(paths)


def test_other_tiff_files_are_left_to_their_reader(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "plain.tif", image(1))
    assert "no block of text" in str(recognise_fibsem_tiff(tmp_path / "plain.tif"))
    assert open_raw(tmp_path / "plain.tif").attrs["format"] == "tiff"
    block = written(tmp_path, 0)
    assert "block of text" in str(recognise_plain_tiff(block))
    with pytest.raises(MeasurementError, match="no block of text"):
        slice_header(tmp_path / "plain.tif")
    (tmp_path / "text.tif").write_bytes(b"II*\0 and nothing more")
    assert recognise_fibsem_tiff(tmp_path / "text.tif") is not None
    (tmp_path / "note.txt").write_text("nothing")
    assert "not as a TIFF" in str(recognise_fibsem_tiff(tmp_path / "note.txt"))
