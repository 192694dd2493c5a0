"""Damaged ZIP archives: one error, whatever is wrong with them."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cathoscope.io.archive import BrokenArchive, member, open_archive

CONTENT = bytes(range(256)) * 4
LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"
Change = Callable[[bytes], bytes]


def written(path: Path, change: Change = bytes, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """An archive with one member, changed."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("a.bin", CONTENT)
    path.write_bytes(change(path.read_bytes()))
    return path


def read(path: Path, name: str = "a.bin", most_bytes: int = 2000) -> bytes:
    with open_archive(path) as archive:
        return member(archive, name, most_bytes)


def stated(offset_in_local: int | None, offset_in_central: int | None, form: str, value: int) -> Change:
    """Another number in the header of the member, and in its entry of the directory."""

    def change(content: bytes) -> bytes:
        changed = bytearray(content)
        for mark, offset in ((LOCAL, offset_in_local), (CENTRAL, offset_in_central)):
            if offset is not None:
                struct.pack_into(form, changed, content.index(mark) + offset, value)
        return bytes(changed)

    return change


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_whole_archive_is_read(compression: int, tmp_path: Path) -> None:
    assert read(written(tmp_path / "a.zip", compression=compression)) == CONTENT


def test_an_archive_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.zip").read_bytes()
    for end in range(len(whole)):
        with pytest.raises(BrokenArchive):
            read(written(tmp_path / "a.zip", lambda content, end=end: content[:end]))  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (stated(8, 10, "<H", 99), "compression"),
        (stated(8, 10, "<H", zipfile.ZIP_BZIP2), "data stream"),
        (stated(8, 10, "<H", zipfile.ZIP_LZMA), ""),
        (stated(6, 8, "<H", 1), "encrypted"),
        (stated(6, 8, "<H", 1 << 5), "patch"),
        (stated(None, 6, "<H", 99), "version"),
        (stated(None, 16, "<I", 1), "CRC"),
        (stated(None, 42, "<I", 9), "magic number"),
        (stated(None, 24, "<I", 2001), "a.bin of 2001 bytes"),
        (lambda content: content.replace(LOCAL, b"PK__"), "magic number"),
        (lambda content: content[20:], ""),
        (lambda content: b"", "not a zip file"),
    ],
)
def test_damage_is_one_error_that_says_why(change: Change, why: str, tmp_path: Path) -> None:
    with pytest.raises(BrokenArchive, match=f"(?i){why}"):
        read(written(tmp_path / "a.zip", change))


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    change = stated(6, 8, "<H", 1 << 11)  # the name is UTF-8
    with pytest.raises(BrokenArchive, match="decode"):
        read(written(tmp_path / "a.zip", lambda content: change(content).replace(b"a.bin", b"\xff.bin")))


def test_a_member_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenArchive, match=r"the archive has no b\.bin"):
        read(written(tmp_path / "a.zip"), "b.bin")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenArchive, match="No such file"):
        read(tmp_path / "absent.zip")
