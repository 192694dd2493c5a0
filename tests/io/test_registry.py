from __future__ import annotations

import shutil
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import require
from cathoscope.io import READERS, Reader, open_raw
from tests.io.specimens import SPECIMENS

FRAMES = np.arange(40 * 6 * 8, dtype=np.uint16).reshape(40, 6, 8)


@pytest.fixture(scope="module")
def one_of_each(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of every specimen, each in a folder of its own."""
    return {name: specimen.write(tmp_path_factory.mktemp(name))[0] for name, specimen in SPECIMENS.items()}


def specimens_of(reader: str) -> list[str]:
    return [name for name, specimen in SPECIMENS.items() if specimen.reader == reader]


def test_every_format_has_a_specimen() -> None:
    # A table needs a column map and is opened by the recipe alone.
    assert {specimen.reader for specimen in SPECIMENS.values()} == {reader.name for reader in READERS} | {"table"}


@pytest.mark.parametrize("name", SPECIMENS)
def test_every_format_is_recognised_by_its_reader_alone(one_of_each: dict[str, Path], name: str) -> None:
    wanted = {SPECIMENS[name].reader} - {"table"}
    assert {reader.name for reader in READERS if reader.recognise(one_of_each[name]) is None} == wanted


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_reader_gives_what_the_registry_says(one_of_each: dict[str, Path], reader: Reader) -> None:
    opened = [open_raw(one_of_each[name]) for name in specimens_of(reader.name)]
    assert {data.attrs["format"] for data in opened} == {reader.name}
    assert {name for data in opened for name in data.data_vars} == set(reader.gives)
    for data in opened:
        require(data, *map(str, data.variables))


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_reader_s_module_says_what_it_reads(reader: Reader) -> None:
    lines = (sys.modules[reader.open.__module__].__doc__ or "").splitlines()
    headings = [line for line, below in pairwise(lines) if line and below == "-" * len(line)]
    assert headings == ["Schema", "Uncertainties", "Metadata", "File structure"]
    starts = [lines.index(heading) for heading in headings]
    for start, stop in pairwise([*starts, len(lines)]):
        assert any(line.strip() for line in lines[start + 2 : stop])
    schema = " ".join(lines[starts[0] : starts[1]])
    assert all(f"``{name}``" in schema for name in reader.gives)


def test_content_decides_not_the_ending(one_of_each: dict[str, Path], tmp_path: Path) -> None:
    for name in ("fxi", "data_exchange", "tiff", "sandbox_cube", "xdi", "athena"):
        foreign = shutil.copy(one_of_each[name], tmp_path / f"{name}.bin")
        assert open_raw(Path(foreign)).attrs["format"] == name


def test_a_named_reader_opens_its_format_and_no_other(one_of_each: dict[str, Path]) -> None:
    assert open_raw(one_of_each["fxi"], reader="fxi").attrs["format"] == "fxi"
    with pytest.raises(MeasurementError, match="no TIFF image stack"):
        open_raw(one_of_each["fxi"], reader="tiff")
    with pytest.raises(MeasurementError, match=" or ".join(reader.name for reader in READERS)):
        open_raw(one_of_each["fxi"], reader="nexus")


def test_several_files_need_a_reader_of_sequences(one_of_each: dict[str, Path]) -> None:
    with pytest.raises(MeasurementError, match="2 files are given where one makes a measurement"):
        open_raw([one_of_each["fxi"], one_of_each["data_exchange"]])
    with pytest.raises(MeasurementError, match=r"fly_scan_id_1.h5: a file of the sequence is of another format"):
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
