"""Room for maps that are made and used a few rows at a time: in memory, or in a file where memory is short."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.study import write_failure


class Room(Protocol):
    """A map in single precision that is written and read by rows: an array, or a `FileRoom`."""

    def __getitem__(self, rows: slice, /) -> Any:
        """Rows along the first axis."""

    def __setitem__(self, rows: slice, values: Any, /) -> None:
        """Write rows along the first axis."""


@dataclass(frozen=True)
class FileRoom:
    """A map of a ``shape`` in a file, zero where nothing was written.

    Plain reads and writes, no memory map: pages of a map would count as memory that the process holds.
    """

    file: Path
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        try:
            with self.file.open("wb") as opened:
                opened.truncate(4 * math.prod(self.shape))
        except OSError as error:
            raise write_failure(self.file, error) from error

    def __getitem__(self, rows: slice, /) -> NDArray[np.float32]:
        """Rows along the first axis."""
        start, stop, _ = rows.indices(self.shape[0])
        plane = math.prod(self.shape[1:])
        values = np.fromfile(self.file, np.float32, max(stop - start, 0) * plane, offset=4 * start * plane)
        return values.reshape(-1, *self.shape[1:])

    def __setitem__(self, rows: slice, values: Any, /) -> None:
        """Write rows along the first axis."""
        start = rows.indices(self.shape[0])[0]
        try:
            with self.file.open("r+b") as opened:
                opened.seek(4 * start * math.prod(self.shape[1:]))
                opened.write(np.ascontiguousarray(values, dtype=np.float32).tobytes())
        except OSError as error:
            raise write_failure(self.file, error) from error
