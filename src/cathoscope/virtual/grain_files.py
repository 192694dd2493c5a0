"""The grains of a virtual particle as another experiment would map them: labels as TIFF, directions as a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray


def grain_files(folder: Path, name: str) -> tuple[Path, Path]:
    """Where labels and directions of the particle ``name`` are."""
    return folder / f"{name}-grains.tif", folder / f"{name}-grains.csv"


def write_grain_files(folder: Path, name: str, labels: NDArray[np.int32], c_axes: NDArray[np.float64]) -> None:
    """Write ``labels`` [z, y, x], 0 outside, and ``c_axes`` (grain, 3), x, y, z, of the grains from 1 on."""
    volume, table = grain_files(folder, name)
    folder.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(volume, labels.astype(np.uint32), photometric="minisblack", compression="zlib")
    rows = (f"{number},{x:.6f},{y:.6f},{z:.6f}" for number, (x, y, z) in enumerate(c_axes, start=1))
    table.write_text("\n".join(["grain,x,y,z", *rows]) + "\n", encoding="utf-8", newline="\n")
