"""Members of ZIP archives, which may be damaged: whatever the library says to damage is one error here."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from pathlib import Path

ZIP = b"PK\x03\x04"
# What `zipfile` raises where a file is no whole archive, and where sizes, places and names in it are none.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,  # compressed bytes that end early
    OSError,  # no compressed bytes (bz2), or the file cannot be read
    NotImplementedError,  # a compression, an encryption or a version that it does not know
    ValueError,  # a place that no file has; as UnicodeDecodeError, a name that is no text
    MemoryError,  # a member that is not compressed may state any size
)

_ENCRYPTED = 0x1  # bit of a member's flags


class BrokenArchive(Exception):
    """An archive, or a member of it, cannot be read; the text says why."""


def open_archive(path: Path) -> zipfile.ZipFile:
    """The archive, to be closed by the caller.

    Raises
    ------
    BrokenArchive
        If the file cannot be read or is no whole archive.
    """
    try:
        return zipfile.ZipFile(path)
    except _DAMAGE as error:
        raise BrokenArchive(_words(error)) from error


def member(archive: zipfile.ZipFile, name: str, most_bytes: int) -> bytes:
    """The content of a member.

    Raises
    ------
    BrokenArchive
        If there is no such member, it is damaged, or it states more than ``most_bytes``.
    """
    if name not in archive.namelist():
        raise BrokenArchive(f"the archive has no {name}")
    stated = archive.getinfo(name)
    if stated.file_size > most_bytes:
        raise BrokenArchive(f"{name} of {stated.file_size} bytes")
    if stated.flag_bits & _ENCRYPTED:
        raise BrokenArchive(f"{name} is encrypted")
    try:
        return archive.read(name)
    except _DAMAGE as error:
        raise BrokenArchive(_words(error)) from error


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
