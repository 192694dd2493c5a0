from __future__ import annotations

import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imsave

from cathoscope.core.errors import MeasurementError
from cathoscope.io import READERS
from cathoscope.io.refused import why_refused, why_unclear

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)


@pytest.mark.parametrize(("ending", "words"), [("png", "PNG picture"), ("jpg", "JPEG picture")])
def test_pictures_tell_their_size(tmp_path: Path, ending: str, words: str) -> None:
    path = tmp_path / "sem.dat"
    imsave(path, np.random.default_rng(1).random((23, 41)), format=ending)
    reason = why_refused(path)
    assert reason is not None
    assert f"{words} of 41 x 23 pixels" in reason
    assert "rendered" in reason


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("paper", b"%PDF-1.7 ...", "PDF document"),
        ("a.txt", b"\x1f\x8b\x08\0", "gzip"),
        ("old", OLE + "WordDocument".encode("utf-16-le"), "Word document"),
        ("old.xls", OLE + "Workbook".encode("utf-16-le"), "Excel"),
        ("thumbs", OLE + "Catalog".encode("utf-16-le"), "not of an Xradia microscope"),
        ("a.parquet", b"PAR1\x15\x04", "Parquet table"),
        ("a.mat", b"MATLAB 5.0 MAT-file, Platform", "MATLAB file"),
        ("a.res", b"\0\1\0\0Standard Jet DB\0", "Arbin"),
        ("a.mps", b"EC-LAB SETTING FILE\r\n\r\nNumber of linked techniques : 1\r\n", "settings of EC-Lab"),
        ("README", b"Files of the beam time in May. Ask us.", "text for people"),
        ("PROVENANCE.md", b"# rod\n\n- source: here\n", "begins: # rod"),
        ("notes.txt", b"We heated it to 150 C.\nThen it broke.\n", "text for people"),
        ("study.toml", b'[measurement.rod]\nsample = "rod"\n', "cathoscope check study.toml"),
        ("other.toml", b"a = 1\n", "TOML"),
        ("fit.py", b"import numpy as np\n", "Python program"),
        ("fit", b"#!/usr/bin/env python3\nprint(1)\n", "program (/usr/bin/env python3)"),
        ("m.msk", b"  OO\n OOO\nOXXO\n", "mask drawn in text, 3 x 4"),
        ("e.txt", b"8.333\n8.334\n8.3355\n", "3 energies in keV, by their size (8.333 to 8.3355)"),
        ("e.txt", b"# eV\n700.0\n700.25\n", "2 energies in eV, by their size (700 to 700.25)"),
        ("n.txt", b"-1\n5\n", "one column of 2 numbers"),
        ("scan.txt", b";; 2D\nsete 8250\nmoveto x 1\ncollect a.xrm\ncollect b.xrm\n", "script of a scan"),
        ("ScanInfo.txt", b"VERSION 1\nENERGY 1\nTOMO 0\nMOSAIC 0\nFILES\na.xrm\n", "script of a scan"),
        ("SHA256SUMS", b"".join(b"%064x  file%d\n" % (k, k) for k in range(4)), "list of 4 files"),
        ("s.txt", b"[Image Info]\nModel : SNE\nDate : 2019\nMagnification : x500\n", "settings in sections"),
        ("x.svg", b'<?xml version="1.0"?>\n<svg xmlns="a">\n</svg>\n', "SVG"),
        ("p.html", b"<!DOCTYPE html>\n<p>a</p>", "HTML"),
        ("blank.txt", b"  \n\n", "nothing but blanks"),
    ],
)
def test_what_a_file_is_instead(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert words in (why_refused(path) or "")


@pytest.mark.parametrize(
    ("member", "words"),
    [("word/document.xml", "Word"), ("xl/workbook.xml", "Excel"), ("a.npy", "numpy"), ("a.dat", "ZIP archive")],
)
def test_containers_are_told_by_their_members(tmp_path: Path, member: str, words: str) -> None:
    path = tmp_path / "container"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, random.Random(1).randbytes(100))
    assert words in (why_refused(path) or "")


def test_an_image_names_its_header(tmp_path: Path) -> None:
    image = tmp_path / "scan_a007.xim"
    image.write_text("1.0\t2.0\n3.0\t4.0\n")
    assert "scan.hdr is not in the folder (no .hdr file)" in (why_refused(image) or "")
    (tmp_path / "other.hdr").write_text("ScanDefinition = {}")
    assert "(only other.hdr)" in (why_refused(image) or "")
    (tmp_path / "scan.hdr").write_text("ScanDefinition = {}")
    assert "give the stack's header scan.hdr" in (why_refused(image) or "")


def test_settings_name_their_picture(tmp_path: Path) -> None:
    settings_file = tmp_path / "sem 1.jpg.txt"
    settings_file.write_text("[Image Info]\nModel : SNE\nDate : 2019\n", encoding="utf-16")
    (tmp_path / "sem 1.jpg").write_bytes(b"\xff\xd8\xff")
    assert "settings with which sem 1.jpg was taken" in (why_refused(settings_file) or "")


@pytest.mark.parametrize(
    "content",
    [
        b"8.2000 0.0024\n8.2050 0.0019\n",
        b"# XDI/1.0\n# Element.symbol: Ni\n# energy xmu\n8300 0.1\n8301 0.2\n",
        b"energy,first,second\n8300,1.0,2.0\n8301,1.1,2.1\n",
        b'{"energy": [8300, 8301]}',
        b"# Athena project file -- Demeter\n$old_group = 'a';\n@x = ('8300','8301','8302','8303','8304','8305');\n",
        OLE + "ImageInfo".encode("utf-16-le"),
        b"\x93NUMPY\x01\0",
    ],
)
def test_what_may_be_a_measurement_is_not_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data"
    path.write_bytes(content)
    assert why_refused(path) is None


@settings(max_examples=200, deadline=None)
@given(
    content=st.binary(max_size=300), begin=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"PK\3\4", OLE])
)
def test_any_bytes_are_answered(tmp_path_factory: pytest.TempPathFactory, content: bytes, begin: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(begin + content)
    reason = why_refused(path)
    assert reason is None or reason.startswith("it is ")


def test_no_file_that_a_reader_opens_is_refused(data_folder: Path) -> None:
    files = [path for path in (data_folder / "imaging").rglob("*") if path.is_file() and path.suffix != ".xim"]
    files = [path for path in files if "tiff_sequence" not in path.parts]
    n_pictures = 0
    for path in files:
        reason = why_refused(path)
        n_pictures += "picture of" in (reason or "")
        if reason is not None:
            assert [reader.name for reader in READERS if _recognises(reader.recognise, path)] == [], path
    assert n_pictures == sum(path.suffix in (".jpg", ".png") for path in files)


def _recognises(recognise: object, path: Path) -> bool:
    try:
        return recognise(path) is None  # type: ignore[operator]
    except MeasurementError:
        return False


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "reduced.t",
            "700 0.1\n701.5 0.2\n",
            ["two columns", "2 rows from 700 to 701.5", 'references.NAME = "reduced.t"'],
        ),
        ("i0.xsp", "700 9\n701 8\n", ["incident intensity of an STXM stack"]),
        ("a.json", '{"e": [1, 2], "mu": {"a": [1], "b": [2]}}', ["e (list of 2 numbers)", "mu (2 x list of 1 number"]),
        ("b.json", '{"e": [1, 2', ["JSON, truncated or damaged"]),
        ("c.json", "[1, 2]", ["without keys"]),
    ],
)
def test_what_the_recipe_must_say(tmp_path: Path, name: str, content: str, words: list[str]) -> None:
    path = tmp_path / name
    path.write_text(content)
    reason = why_unclear(path)
    assert reason is not None
    assert [word for word in words if word not in reason] == []


@pytest.mark.parametrize("content", ["energy mu\n1 2\n", "1 2 3\n4 5 6\n", "\0\1", ""])
def test_nothing_is_said_of_other_content(tmp_path: Path, content: str) -> None:
    path = tmp_path / "data"
    path.write_text(content)
    assert why_unclear(path) is None
