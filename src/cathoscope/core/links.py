"""Links to the user's files: the study remembers which bytes it used and never copies them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_BLOCK = 4096
_SAMPLES = 64


@dataclass(frozen=True)
class FileLink:
    """A file of the user: path relative to the data folder, size, modification time and a hash.

    The hash samples the content, so that linking a terabyte takes seconds; ``digest_of_file`` reads all of it.
    """

    path: str
    size: int
    modified_ns: int
    sampled_hash: str

    def record(self) -> dict[str, Any]:
        """The link as JSON-ready values."""
        return asdict(self)


def link_file(path: Path, data_folder: Path) -> FileLink:
    """Link ``path``, written relative to ``data_folder`` so that both can move together.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    status = path.stat()
    relative = Path(os.path.relpath(path, data_folder)).as_posix()
    return FileLink(relative, status.st_size, status.st_mtime_ns, sampled_digest_of_file(path))


def sampled_digest_of_file(path: Path) -> str:
    """SHA-256 of the size and of evenly spread blocks (the first and the last among them)."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    last = max(size - _BLOCK, 0)
    with path.open("rb") as file:
        for position in sorted({last * i // (_SAMPLES - 1) for i in range(_SAMPLES)}):
            file.seek(position)
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()


def digest_of_file(path: Path) -> str:
    """SHA-256 of every byte."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
