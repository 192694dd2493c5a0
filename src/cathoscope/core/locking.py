"""One run at a time on one study."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cathoscope.core.errors import StudyError


@contextmanager
def exclusive(file: Path, *, what: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``file``; the operating system drops it when the process dies.

    Raises
    ------
    StudyError
        If another process holds it, or the file cannot be made.
    """
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StudyError(
            "this study may not be written to", where=what, found=str(error), cure="choose another place with --study"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip()
            raise StudyError(
                "another run is working on this study",
                where=what,
                found=f"process {holder}" if holder else None,
                cure="wait for it, stop it, or use another study with --study",
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        os.close(descriptor)
