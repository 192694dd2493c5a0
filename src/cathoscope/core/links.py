"""Links to the user's files: the study remembers which bytes it used and never copies them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

_BLOCK = 4096
_SAMPLES = 64


@dataclass(frozen=True)
class FileLink:
    """A file of the user: path relative to the data folder, size, modification time and a hash.

    The hash samples the content, so that linking a terabyte takes seconds.
    ``file`` and ``stamp`` say where it lies on this machine and how the system told it from others when it was linked;
    they are not part of what the study remembers.
    """

    path: str
    size: int
    modified_ns: int
    sampled_hash: str
    file: Path | None = field(default=None, compare=False, repr=False)
    stamp: tuple[int, ...] = field(default=(), compare=False, repr=False)

    def record(self) -> dict[str, Any]:
        """The link as JSON-ready values."""
        return {name: getattr(self, name) for name in ("path", "size", "modified_ns", "sampled_hash")}

    def change(self) -> str | None:
        """What is there now in place of the file that was linked, in words; None if it is the same file still.

        A file that was written to is another one, even if the sampled bytes are the same: it may have been read
        meanwhile. One that was only renamed and back, or whose permissions changed, is the same.
        """
        if self.file is None:
            return None
        try:
            status = self.file.stat()
            if stamp_of(status) == self.stamp:
                return None
            digest = sampled_digest_of_file(self.file)
        except OSError as error:
            return f"it cannot be read any more ({error.strerror})"
        same = (status.st_size, status.st_mtime_ns, digest) == (self.size, self.modified_ns, self.sampled_hash)
        return None if same else words_of_file(status.st_size, status.st_mtime_ns, digest)


def link_file(path: Path, data_folder: Path) -> FileLink:
    """Link ``path``, written relative to ``data_folder`` so that both can move together.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    status = path.stat()
    relative = Path(os.path.relpath(path, data_folder)).as_posix()
    digest = sampled_digest_of_file(path)
    return FileLink(relative, status.st_size, status.st_mtime_ns, digest, path.absolute(), stamp_of(status))


def stamp_of(status: os.stat_result) -> tuple[int, ...]:
    """What differs if a file was written to or replaced: its number on the disk, size and times."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def words_of_file(size: int, modified_ns: int, digest: str) -> str:
    """What a person can tell two states of a file by."""
    when = datetime.fromtimestamp(modified_ns / 1e9).astimezone()
    return f"{size} bytes, written {when.isoformat(sep=' ', timespec='seconds')}, fingerprint {digest[:8]}"


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
