"""Time and memory of the small virtual study: both of Hou's samples at four temperatures and 30 energies."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LONGEST = 120.0  # s, on two cores
MOST_MEMORY = 4e9  # bytes


def main() -> int:
    """Simulate it in a process of its own, twice: the first compiles the kernels."""
    program = [sys.executable, "-m", "cathoscope", "simulate", "hou", "--threads", "2"]
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            subprocess.run([*program, "-o", str(Path(folder) / "hou")], check=True, capture_output=True)
            seconds = time.perf_counter() - start
    memory = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    good = seconds < LONGEST and memory < MOST_MEMORY
    print(f"simulate hou --size small: {seconds:.0f} s (at most {LONGEST:.0f}), {memory / 1e9:.2f} GB (at most 4)")
    print("holds" if good else "MISSED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
