from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import require
from cathoscope.io import open_raw
from cathoscope.io.stacks import natural_order

IMAGES = np.random.default_rng(3).integers(0, 60_000, (12, 6, 7)).astype(np.uint16)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bigtiff": True, "byteorder": ">"},
        {"byteorder": ">", "metadata": None},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True, "rowsperstrip": 2},
        {"imagej": True},
        {"tile": (16, 16)},
    ],
)
def test_pages_of_one_file(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "stack.dat"  # the ending says nothing
    tifffile.imwrite(path, IMAGES, photometric="minisblack", **options)
    data = open_raw(path)
    require(data, "pages")
    np.testing.assert_array_equal(data["pages"].values, IMAGES)
    np.testing.assert_array_equal(data["pages"][[7, 2], 3:5, 1].values, IMAGES[[7, 2], 3:5, 1])
    np.testing.assert_array_equal(data.isel(page=slice(3, 9, 2))["pages"][:, -1].values, IMAGES[3:9:2, -1])
    assert data["pages"].dtype == np.uint16
    assert data["pages"].values.dtype.isnative
    assert data.attrs["remarks"] == []


def test_a_sequence_is_sorted_naturally(tmp_path: Path) -> None:
    paths = [tmp_path / f"p_{k}.tif" for k in range(12)]
    for path, image in zip(paths, IMAGES, strict=True):
        tifffile.imwrite(path, image)
    data = open_raw(sorted(paths))  # alphabetical: p_10 before p_2
    np.testing.assert_array_equal(data["pages"].values, IMAGES)
    assert data.attrs["n_files"] == 12
    assert data.attrs["source"] == str(paths[0])


def test_natural_order_is_total_on_mixed_names() -> None:
    names = ["a10", "a2", "10a", "2", "b", "", "a2b1"]
    ordered = [str(path) for path in sorted(map(Path, names), key=natural_order)]
    assert ordered == [str(Path(name)) for name in ["2", "10a", "", "a2", "a2b1", "a10", "b"]]


def test_a_stack_of_files_with_several_pages(tmp_path: Path) -> None:
    paths = [tmp_path / f"{k}.tif" for k in range(3)]
    for k, path in enumerate(paths):
        tifffile.imwrite(path, IMAGES[4 * k : 4 * k + 4], compression="zlib", photometric="minisblack")
    np.testing.assert_array_equal(open_raw(paths)["pages"].values, IMAGES)


def test_images_behind_one_header(tmp_path: Path) -> None:
    path = tmp_path / "large_imagej.tif"
    with tifffile.TiffWriter(path, imagej=True) as writer:
        writer.write(IMAGES, photometric="minisblack", metadata={"axes": "ZYX"}, contiguous=True)
    truncated = tmp_path / "one_header.tif"
    tifffile.imwrite(truncated, IMAGES, photometric="minisblack", metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "t.tif", IMAGES, photometric="minisblack", truncate=True)
    with tifffile.TiffFile(tmp_path / "t.tif") as file:
        assert len(file.pages) == 1
    for name in ("large_imagej.tif", "one_header.tif", "t.tif"):
        np.testing.assert_array_equal(open_raw(tmp_path / name)["pages"][4:, 2].values, IMAGES[4:, 2])
    whole = (tmp_path / "t.tif").read_bytes()
    (tmp_path / "t.tif").write_bytes(whole[:-10])
    with pytest.raises(MeasurementError, match=r"t\.tif"):
        open_raw(tmp_path / "t.tif")


def test_a_preview_page_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "with_preview.tif"
    with tifffile.TiffWriter(path) as writer:
        for image in IMAGES[:3]:
            writer.write(image, metadata=None)
        writer.write(IMAGES[0, ::2, ::2], metadata=None)
    data = open_raw(path)
    np.testing.assert_array_equal(data["pages"].values, IMAGES[:3])
    assert data.attrs["remarks"] == ["with_preview.tif: 1 page(s) not uint16 of shape (6, 7) set aside"]


def test_only_the_rows_asked_for_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, IMAGES, photometric="minisblack")
    page = open_raw(path)["pages"]
    read = []
    fromfile = np.fromfile
    monkeypatch.setattr(np, "fromfile", lambda *args, **keys: read.append(keys["count"]) or fromfile(*args, **keys))
    np.testing.assert_array_equal(page[3:5, 2:4].values, IMAGES[3:5, 2:4])
    assert read == [2 * 7, 2 * 7]


def test_colour_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "colour.tif"
    tifffile.imwrite(path, np.zeros((4, 5, 3), np.uint8), photometric="rgb")
    with pytest.raises(MeasurementError, match="grey"):
        open_raw(path)


def test_images_of_another_shape_are_named(tmp_path: Path) -> None:
    paths = [tmp_path / "p_1.tif", tmp_path / "p_2.tif"]
    for path, image in zip(paths, (IMAGES[0], IMAGES[0, :5]), strict=True):
        tifffile.imwrite(path, image)
    with pytest.raises(MeasurementError, match=r"p_2.tif[\s\S]*\(6, 7\)[\s\S]*\(5, 7\)"):
        open_raw(paths)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_a_file_cut_after_it_was_opened_is_named(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, IMAGES, photometric="minisblack", **options)
    data = open_raw(path)
    assert data["pages"].shape == IMAGES.shape
    path.write_bytes(path.read_bytes()[:400])  # the images begin before and end behind
    with pytest.raises(MeasurementError, match=r"stack.tif"):
        data["pages"].load()
    path.unlink()
    with pytest.raises(MeasurementError, match=r"stack.tif"):
        data["pages"].load()


@pytest.mark.skipif(find_spec("imagecodecs") is not None, reason="imagecodecs is installed and undoes LZW")
def test_a_compression_nobody_can_undo_names_its_cure(tmp_path: Path) -> None:
    path = tmp_path / "lzw.tif"
    tifffile.imwrite(path, IMAGES[0], compression="zlib")
    with tifffile.TiffFile(path) as file:
        position = file.pages.first.tags["Compression"].valueoffset
    with path.open("r+b") as raw:
        raw.seek(position)
        raw.write(b"\5\0")  # LZW in the header
    data = open_raw(path)
    with pytest.raises(MeasurementError, match="pip install imagecodecs"):
        data["pages"].load()


def test_nanoporous_gold(data_folder: Path) -> None:
    paths = sorted((data_folder / "imaging/npg-nanotomo-tomo77/tiff_sequence").glob("*.tiff"))
    data = open_raw(paths)
    assert data["pages"].shape == (451, 79, 83)
    assert data["pages"].dtype == np.float32
    np.testing.assert_array_equal(
        data["pages"][[0, 200, 450]].values, [tifffile.imread(paths[k]) for k in (0, 200, 450)]
    )
    np.testing.assert_array_equal(data["pages"][::90, 40].values, [tifffile.imread(path)[40] for path in paths[::90]])


def test_what_tifffile_notices_is_a_remark_and_not_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "odd.tif"
    tifffile.imwrite(path, np.ones((4, 5), np.uint8), photometric="minisblack", resolution=(300, 300))
    with tifffile.TiffFile(path) as file:
        tag = file.pages.first.tags["XResolution"]
    content = bytearray(path.read_bytes())
    content[tag.offset + 8 : tag.offset + 12] = (2**31).to_bytes(4, "little")  # where its value lies
    path.write_bytes(bytes(content))
    (remark,) = open_raw(path).attrs["remarks"]
    assert remark.startswith("odd.tif: ")
    assert "invalid value offset 2147483648" in remark
    assert capfd.readouterr().err == ""
