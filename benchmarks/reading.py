"""Reading 20 rows of a 1.4 GB projection file: memory and time of our reader against reading the stack first.

The file is real on disk; the peer is what a reader does that squeezes the dataset before it slices.
Each runs in a process of its own, so that the peak memory is that of the read alone.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

SHAPE = (360, 1024, 1950)  # uint16: 1.44 GB
ROWS = 20
MOST_MEMORY = 100.0  # MB above the process before the read

_OURS = """
from pathlib import Path
from cathoscope.io import open_raw
data = open_raw(Path(PATH))
def read():
    return data["counts"][:, 500:520].values
"""
_PEER = """
import h5py, numpy as np
def read():
    with h5py.File(PATH) as file:
        return np.squeeze(file["img_tomo"])[:, 500:520].copy()
"""
# ru_maxrss would start at the peak of the process that started this one, and hide what is below it.
_MEASURE = """
import time
from pathlib import Path
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1e3
before, began = peak(), time.process_time()
rows = read()
seconds = time.process_time() - began
print(peak() - before, seconds, int(rows.sum()))
"""


def _write(path: Path) -> None:
    rng = np.random.default_rng(1)
    with h5py.File(path, "w") as file:
        stack = file.create_dataset("img_tomo", SHAPE, "uint16")
        frame = rng.integers(0, 60000, SHAPE[1:], dtype=np.uint16)
        for number in range(SHAPE[0]):
            stack[number] = np.roll(frame, number, axis=1)
        file["img_bkg"] = frame[None]
        file["img_dark"] = np.zeros_like(frame)[None]
        file["angle"] = np.linspace(0.0, 180.0, SHAPE[0])
        file["X_eng"] = 8.35
        file["Magnification"] = 325.0


def _measure(code: str, path: Path) -> tuple[float, float, int]:
    script = f"PATH = {str(path)!r}\n" + code + _MEASURE
    output = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    return float(output[0]), float(output[1]), int(output[2])


def main() -> int:
    """Print the table; 1 if ours needs more memory than it may."""
    if not Path("/proc/self/status").exists():
        print("\nreading: skipped, peak memory is read from /proc, which only Linux has")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fly_scan_id_1.h5"
        _write(path)
        print(f"\nReading {ROWS} of {SHAPE[1]} rows of a {path.stat().st_size / 1e9:.2f} GB file")
        ours, peer = _measure(_OURS, path), _measure(_PEER, path)
    if ours[2] != peer[2]:
        print("the two readers disagree")
        return 1
    print(f"{'reader':34s}{'memory, MB':>12s}{'CPU, s':>10s}")
    print(f"{'cathoscope, rows only':34s}{ours[0]:12.0f}{ours[1]:10.2f}")
    print(f"{'whole stack, then rows':34s}{peer[0]:12.0f}{peer[1]:10.2f}")
    print(
        f"ratio: memory {peer[0] / ours[0]:.0f}x, CPU {peer[1] / ours[1]:.1f}x; must hold: below {MOST_MEMORY:.0f} MB"
    )
    return int(ours[0] > MOST_MEMORY)


if __name__ == "__main__":
    sys.exit(main())
