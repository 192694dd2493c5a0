"""All numbers of one particle, except tortuosity: CPU seconds and peak memory of the whole quantification.

    python -m benchmarks.morphology_whole       # a rod of 10 um in voxels of 30 nm: 333 across, a field of 359^3

The particle is made in a process of its own and handed over as a file; the measured process compiles on a small one
first. Exit code 1 if it takes more than 60 CPU seconds or 3 GB.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

MOST_SECONDS, MOST_GB = 60.0, 3.0
EDGE = 0.03  # um

_MAKE = """
import sys
from dataclasses import replace
import numpy as np
from scipy.ndimage import gaussian_filter
from cathoscope.virtual.cracks import solid
from cathoscope.virtual.grains import draw_grains
from cathoscope.virtual.particle import ROD
edge, across, target = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
size = int(1.08 * across)
grains = draw_grains(replace(ROD, diameter=across * edge, core_radius=0.25 * across * edge / 2), 1)
axis = (np.arange(size) - (size - 1) / 2) * edge
grey = np.empty((size,) * 3, np.float32)
for z in range(size):
    y, x = np.meshgrid(axis, axis, indexing="ij")
    points = np.stack([x, y, np.full_like(x, axis[z])], axis=-1)[None]
    grey[z] = solid(grains, points, edge).fraction[0]
rng = np.random.default_rng(0)
grey = gaussian_filter(grey, 1.0)
for z in range(size):
    grey[z] += 0.08 * rng.standard_normal((size, size), dtype=np.float32)
np.save(target, grey)
"""
# VmHWM of its own process: ru_maxrss would start at the peak of the parent.
_MEASURE = """
import sys, time
from pathlib import Path
import numpy as np
from cathoscope.volume.quantify import quantify
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1e6
voxel = (float(sys.argv[1]),) * 3
quantify(np.load(sys.argv[2]), voxel_size=voxel)
grey = np.load(sys.argv[3])
began = time.process_time()
found = quantify(grey, voxel_size=voxel, overwrite=True)
print(time.process_time() - began, peak(), found.porosity.grey.value, found.porosity.grey.total)
"""


def _run(script: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", script, *arguments], check=True, capture_output=True, text=True)
    return done.stdout


def main(arguments: list[str] | None = None) -> int:
    """Run it; 1 if it misses what it must hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--across", type=int, default=333, help="voxels along the diameter")
    across = parser.parse_args(arguments).across
    with tempfile.TemporaryDirectory() as folder:
        small, large = str(Path(folder) / "small.npy"), str(Path(folder) / "large.npy")
        _run(_MAKE, str(2 * EDGE), "60", small)
        _run(_MAKE, str(EDGE), str(across), large)
        seconds, gigabytes, porosity, std = (float(word) for word in _run(_MEASURE, str(EDGE), small, large).split())
    held = seconds <= MOST_SECONDS * (across / 333) ** 3 and gigabytes <= MOST_GB
    print(f"particle of {across} voxels across: {seconds:.1f} CPU s (at most {MOST_SECONDS:g} at 333), ", end="")
    print(f"{gigabytes:.2f} GB (at most {MOST_GB:g}); porosity {porosity:.4f} +- {std:.4f}")
    print("holds" if held else "MISSED")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
