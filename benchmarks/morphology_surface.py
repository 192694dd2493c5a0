"""Volume, surface, curvature and Euler number in one pass against scikit-image; the cost of local thickness.

A network of pores (smoothed noise at its 70 % level) of 256^3 voxels, and the same of 512^3. scikit-image needs a mesh
for the surface (marching_cubes, mesh_surface_area) and a pass for the Euler number (euler_number). Each action has a
process of its own, so that its memory is its own; what only compiles is done before on a small volume.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

LEAST_GAIN = 8.0  # times the CPU seconds of scikit-image
LARGEST_MEMORY = 0.3  # of scikit-image's
VOXEL = (0.03, 0.03, 0.03)
SMALL = 24


def network(size: int) -> NDArray[np.bool_]:
    """Pores of about six voxels, 30 % of the volume; from a block of 128 side by side, which needs little memory."""
    noise = np.random.default_rng(1).standard_normal((min(size, 128),) * 3, dtype=np.float32)
    smooth = gaussian_filter(noise, 2.0, mode="wrap")
    pores = np.tile(smooth > np.quantile(smooth, 0.7), (max(size // 128, 1),) * 3)
    pores[[0, -1]] = False
    return pores


def ours(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Surface (um2) and Euler number, with all else that comes along."""
    from cathoscope.volume.minkowski import functionals

    found = functionals(mask, voxel_size=VOXEL)
    return found.surface.value, found.euler


def scikit_image(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """The same two numbers."""
    from skimage.measure import euler_number, marching_cubes, mesh_surface_area

    vertices, faces, _, _ = marching_cubes(np.pad(mask, 1).astype(np.float32), 0.5, spacing=VOXEL)
    return float(mesh_surface_area(vertices, faces)), float(euler_number(mask, connectivity=3))


def thickness(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Mean local thickness (um) and Gini coefficient."""
    from cathoscope.volume.thickness import local_thickness, thickness_statistics

    found = thickness_statistics(local_thickness(mask, voxel_size=VOXEL), voxel_size=VOXEL)
    return found.mean.value, found.gini


def surface_over_thresholds(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Functionals at eleven thresholds of a grey volume: the surface and Euler number of the middle one."""
    from cathoscope.volume.minkowski import functionals_curve

    found = functionals_curve(mask.astype(np.float32), np.linspace(0.4, 0.6, 11), voxel_size=VOXEL)
    return float(found.surface[5]), float(found.euler[5])


def _peak() -> float:
    """Largest memory of this process so far, MB; that of ru_maxrss would start at the peak of its parent."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text(encoding="utf-8").split("VmHWM:")[1].split()[0]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _alone(action: Callable[..., Any], size: int, answer: Any) -> None:
    """Run in a process of its own: results, CPU seconds and memory beyond that of the mask and the libraries."""
    action(network(SMALL))
    mask = network(size)
    before, start = _peak(), time.process_time()
    found = action(mask)
    answer.put((found, time.process_time() - start, _peak() - before))


def measured(name: str, action: Callable[..., Any], size: int) -> tuple[tuple[float, float], float, float]:
    """One line of the table."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    child = context.Process(target=_alone, args=(action, size, answer))
    child.start()
    found, seconds, memory = answer.get()
    child.join()
    print(f"  {name:34s}{size:6d}^3{seconds:10.2f}{memory:10.0f}{found[0]:14.5g}{found[1]:12.5g}", flush=True)
    return found, seconds, memory


def _told(what: str, held: bool) -> bool:
    print(f"  {what}: {'holds' if held else 'MISSED'}")
    return held


def main() -> int:
    """Print the table; 1 if a target is missed."""
    print("\nSurface and Euler number of a network of pores, CPU seconds and additional memory")
    print(f"  {'':34s}{'voxels':>8s}{'CPU s':>10s}{'MB':>10s}{'first':>14s}{'second':>12s}")
    small, fast, lean = measured("one pass", ours, 256)
    peer, slow, fat = measured("scikit-image", scikit_image, 256)
    measured("one pass", ours, 512)
    measured("eleven thresholds", surface_over_thresholds, 256)
    measured("local thickness (um), Gini", thickness, 256)
    measured("local thickness (um), Gini", thickness, 512)
    held = _told(f"{LEAST_GAIN:g} x scikit-image ({slow / fast:.1f} x)", slow >= LEAST_GAIN * fast)
    held &= _told(f"below {LARGEST_MEMORY:.0%} of its memory", lean <= LARGEST_MEMORY * fat)
    return 0 if held & _told("the same Euler number", small[1] == peer[1]) else 1


if __name__ == "__main__":
    sys.exit(main())
