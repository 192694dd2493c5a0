"""Sheet filter on one core, CPU seconds and peak memory: ours against scikit-image's Hessian and eigenvalues.

Each case runs in a process of its own, after a small run that compiles. The volume is noise around a solid level with
dark planes through it; all compute the sheet measure at one scale of 1.5 voxels. Also printed: ours at twice the edge,
and the whole way from the volume to the widths of its cracks (two scales).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

LEAST_RATIO = 10.0  # of CPU seconds
SIZE = 256

_VOLUME = """
import time
from pathlib import Path
import numpy as np
def volume(n):
    rng, grey, line = np.random.default_rng(0), np.empty((n, n, n), np.float32), np.arange(n)
    for z in range(n):
        place = (z + 0.3 * line[:, None] + 0.2 * line) % 37.0
        grey[z] = 1 - np.exp(-0.5 * ((place - 18.0) / 1.2) ** 2) + 0.08 * rng.standard_normal((n, n))
    return grey
"""
_OURS = """
from cathoscope.volume.sheetness import sheetness
def run(grey):
    return sheetness(grey, voxel_size=(1.0, 1.0, 1.0), scales=(1.5,), contrast=0.05)
"""
_PEER = """
from skimage.feature import hessian_matrix, hessian_matrix_eigvals
def run(grey):
    hessian = hessian_matrix(grey, sigma=1.5, order="rc", use_gaussian_derivatives=False)
    high, middle, low = 2.25 * hessian_matrix_eigvals(hessian)
    second = np.maximum(np.abs(low), np.abs(middle))
    norm = high**2 + middle**2 + low**2
    with np.errstate(divide="ignore", invalid="ignore"):
        measure = np.exp(-2 * (second / high) ** 2) * (1 - np.exp(-norm / (2 * 0.05**2)))
    return np.where(high > second, measure, 0)
"""
_WIDTHS = """
from cathoscope.volume.cracks import Levels, crack_totals, crack_widths
from cathoscope.volume.sheetness import find_sheets
def run(grey):
    sheets = find_sheets(grey, voxel_size=(1.0, 1.0, 1.0))
    return crack_totals(crack_widths(grey, sheets, levels=Levels(1.0, 0.0))).openings
"""
# ru_maxrss would start at the peak of the process that started this one, and hide what is below it.
_MEASURE = """
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1e3
run(volume(24))
grey = volume(SIZE)
before, began = peak(), time.process_time()
result = run(grey)
print(time.process_time() - began, peak() - before, float(np.mean(result)))
"""


def measured(name: str, code: str, size: int) -> tuple[float, float]:
    """CPU seconds and megabytes above the volume itself; prints them."""
    one_core = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    text = _VOLUME + code + _MEASURE.replace("SIZE", str(size))
    done = subprocess.run(
        [sys.executable, "-c", text], env={**os.environ, **one_core}, capture_output=True, text=True, check=True
    )
    seconds, memory, mean = map(float, done.stdout.split())
    print(f"  {name:42s}{size:5d}^3 {seconds:8.2f} CPU s {memory:8.0f} MB   mean {mean:.5f}", flush=True)
    return seconds, memory


def main(size: int = SIZE, *, larger: bool = True) -> int:
    """Print the table; 1 if ours is not ten times as fast."""
    ours = measured("sheetness", _OURS, size)
    peer = measured("scikit-image", _PEER, size)
    if larger:
        measured("sheetness", _OURS, 2 * size)
    measured("sheets, widths, totals of cracks", _WIDTHS, size)
    ratio = peer[0] / ours[0]
    print(f"  {ratio:.1f} times as fast (at least {LEAST_RATIO:g}), {peer[1] / max(ours[1], 1):.0f} times less memory")
    print("  " + ("holds" if ratio >= LEAST_RATIO else "MISSED"))
    return 0 if ratio >= LEAST_RATIO else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=SIZE, help="voxels along each edge")
    parser.add_argument("--no-larger", action="store_true", help="leave out the case of twice the edge")
    arguments = parser.parse_args()
    sys.exit(main(arguments.size, larger=not arguments.no_larger))
