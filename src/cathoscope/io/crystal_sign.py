"""What tells a file of a crystal structure from others, without the library that reads it."""

from __future__ import annotations

from pathlib import Path


def recognise_cif(path: Path) -> str | None:
    """None if the file begins as a CIF does, with a comment or a block of data, else the reason why not."""
    try:
        with path.open("rb") as file:
            begin = file.read(4096).decode("utf-8-sig", errors="replace")
    except OSError as error:
        return str(error)
    lines = [line.strip() for line in begin.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found = bool(lines) and lines[0].lower().startswith("data_")
    return None if found or begin.startswith("#\\#CIF") else "no block data_ begins the file"
