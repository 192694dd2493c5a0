from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.io import READERS, open_raw

Writer = Callable[..., Path]
FRAMES = np.arange(40 * 6 * 8, dtype=np.uint16).reshape(40, 6, 8)


@pytest.fixture
def one_of_each(write_hdf5: Writer, write_stxm: Writer, fxi_content: Any, exchange_content: Any, tmp_path: Path) -> Any:
    tiff = tmp_path / "image.tif"
    tifffile.imwrite(tiff, np.zeros((4, 5), np.uint8))
    return {
        "fxi": write_hdf5(fxi_content, "fxi.h5"),
        "data_exchange": write_hdf5(exchange_content, "exchange.h5"),
        "stxm": write_stxm(np.array([700.0, 701.0]), np.ones((2, 3, 5))),
        "tiff": tiff,
    }


def test_every_format_is_recognised_by_its_reader_alone(one_of_each: dict[str, Path]) -> None:
    assert {reader.name for reader in READERS} == set(one_of_each)
    for name, path in one_of_each.items():
        assert [reader.name for reader in READERS if reader.recognise(path) is None] == [name]


def test_content_decides_not_the_ending(one_of_each: dict[str, Path], tmp_path: Path) -> None:
    for name in ("fxi", "data_exchange", "tiff"):
        foreign = shutil.copy(one_of_each[name], tmp_path / f"{name}.txt")
        assert open_raw(Path(foreign)).attrs["format"] == name


def test_a_named_reader_opens_its_format_and_no_other(one_of_each: dict[str, Path]) -> None:
    assert open_raw(one_of_each["fxi"], reader="fxi").attrs["format"] == "fxi"
    with pytest.raises(MeasurementError, match="no TIFF image stack"):
        open_raw(one_of_each["fxi"], reader="tiff")
    with pytest.raises(MeasurementError, match="fxi or data_exchange or stxm or tiff"):
        open_raw(one_of_each["fxi"], reader="nexus")


def test_several_files_need_a_reader_of_sequences(one_of_each: dict[str, Path]) -> None:
    with pytest.raises(MeasurementError, match="2 files are given where one makes a measurement"):
        open_raw([one_of_each["fxi"], one_of_each["data_exchange"]])
    with pytest.raises(MeasurementError, match=r"fxi.h5: a file of the sequence is of another format"):
        open_raw([one_of_each["tiff"], one_of_each["fxi"]])
    with pytest.raises(MeasurementError, match="no file is given"):
        open_raw([])


def test_a_file_nobody_may_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.h5"
    path.write_bytes(b"x")

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("not allowed")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(MeasurementError, match=r"secret.h5[\s\S]*not allowed"):
        open_raw(path)


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    with h5py.File(folder / "h5", "w") as file:
        file.update({"img_tomo": FRAMES, "img_bkg": FRAMES, "img_dark": FRAMES, "angle": np.arange(40.0)})
    tifffile.imwrite(folder / "tif", FRAMES, photometric="minisblack")
    tifffile.imwrite(folder / "zip", FRAMES, photometric="minisblack", compression="zlib")
    return folder


@pytest.mark.parametrize("kind", ["h5", "tif", "zip"])
@settings(max_examples=30, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_never_gives_other_values(
    tmp_path_factory: pytest.TempPathFactory, whole_files: Path, kind: str, share: float
) -> None:
    path = tmp_path_factory.mktemp("cut") / f"cut.{kind}"
    whole = (whole_files / kind).read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    kept = len(path.read_bytes()) / len(whole)
    if kind == "h5" or kept < 0.95:
        with pytest.raises(MeasurementError, match=rf"cut\.{kind}"):
            open_raw(path).load()
    else:  # perhaps only what no value depends on was lost, such as the end of a comment
        with suppress(MeasurementError):
            np.testing.assert_array_equal(open_raw(path)["pages"].values, FRAMES)


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_an_image_cut_anywhere_is_refused_or_loses_at_most_its_last_number(
    tmp_path_factory: pytest.TempPathFactory, share: float
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    whole = "".join("\t".join(f"{100 * row + column:.6f}" for column in range(5)) + "\n" for row in range(3))
    (folder / "s.hdr").write_text(
        "ScanDefinition = { StackAxis = { Points = (1, 700);}; Regions = (1, { PAxis = { Points = (5, 0, 1, 2, 3, 4);};"
        " QAxis = { Points = (3, 0, 1, 2);};});};"
    )
    n_kept = int(share * len(whole))
    (folder / "s_a000.xim").write_text(whole[:n_kept])
    expected = 100 * np.arange(3)[:, None] + np.arange(5)
    try:
        values = open_raw(folder / "s.hdr")["image_counts"].values[0]
    except MeasurementError:
        # Without the first digit of the last number one is missing.
        assert n_kept <= len(whole) - len("204.000000\n")
    else:
        assert n_kept > len(whole) - len("204.000000\n")
        np.testing.assert_array_equal(values.ravel()[:-1], expected.ravel()[:-1])


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_header_cut_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    folder = tmp_path_factory.mktemp("cut")
    whole = (
        'ScanDefinition = { Label = "s.hdr"; StackAxis = { Points = (1, 700);}; Regions = (1, { PAxis = { Points ='
        " (5, 0, 1, 2, 3, 4);}; QAxis = { Points = (3, 0, 1, 2);};});}"
    )
    (folder / "s.hdr").write_text(whole[: int(share * len(whole))])
    (folder / "s_a000.xim").write_text("1 2 3 4 5\n" * 3)
    with pytest.raises(MeasurementError, match=r"s.hdr"):
        open_raw(folder / "s.hdr")
