"""Paths, transport and domains in a cracked particle on one core: CPU seconds and memory against scikit-image.

Geodesic depth, to open cracks and around closed ones, against MCP_Geometric (which reads oblique paths too long) from
the same starting voxels; the basins of the distance map against h_maxima and watershed; the tortuosity of a branched
phase. One run, each in a process of its own, whose peak memory beyond its input is the system's count (Linux).
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]

EDGE = 0.03  # um
REPEATS = 2  # the faster one counts
LEAST_GAIN = 8.0  # of the geodesic depth over scikit-image, to open cracks and around closed ones
MOST_SECONDS = 60.0  # for the tortuosity of 256^3


class Used(NamedTuple):
    """CPU seconds, peak memory beyond the input (MB) and a number to compare."""

    seconds: float
    memory: float
    number: float


def cracked_ball(n: int, cracks: int = 14, seed: int = 1, *, closed: bool = False) -> BoolArray:
    """Solid of a ball of 0.45 n voxels, cut by plane cracks of two voxels from its surface, or ``closed`` ones."""
    far, wide = (0.25, 0.12) if closed else (0.45, 0.3)
    rng = np.random.default_rng(seed)
    axis = (np.arange(n, dtype=np.float32) - (n - 1) / 2) / n
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij", sparse=True)
    solid = z**2 + y**2 + x**2 < 0.45**2
    for _ in range(cracks):
        normal, start = rng.standard_normal((2, 3)).astype(np.float32)
        normal /= np.linalg.norm(normal)
        start *= np.float32(far) / np.linalg.norm(start)
        away = normal[0] * (z - start[0]) + normal[1] * (y - start[1]) + normal[2] * (x - start[2])
        near = (z - start[0]) ** 2 + (y - start[1]) ** 2 + (x - start[2]) ** 2 < wide**2
        solid &= ~((np.abs(away) < 1 / n) & near)
    return solid


def branched(n: int, seed: int = 2) -> BoolArray:
    """Half of the voxels, joined by a Gaussian of 2.5 voxels."""
    from scipy.ndimage import gaussian_filter

    rough = gaussian_filter(np.random.default_rng(seed).standard_normal((n, n, n), dtype=np.float32), 2.5, mode="wrap")
    return rough > np.quantile(rough[::4, ::4, ::4], 0.55)


def _memory(kind: str) -> float:
    """Resident memory of this process in MB: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(kind))


def _measured(work: Callable[[], float]) -> Used:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak counts from here
    before, seconds, number = _memory("VmRSS"), np.inf, np.nan
    for _ in range(REPEATS):
        start = time.process_time()
        number = work()
        seconds = min(seconds, time.process_time() - start)
    return Used(seconds, _memory("VmHWM") - before, number)


def around_closed_cracks(n: int) -> tuple[BoolArray, BoolArray]:
    """Solid with closed cracks in the way of six voxels of ten, and the outside."""
    return cracked_ball(n, 28, closed=True), ~cracked_ball(n, 0)


def own_depth(n: int) -> Used:
    return _own_depth(cracked_ball(n), ~cracked_ball(n))


def own_depth_around(n: int) -> Used:
    return _own_depth(*around_closed_cracks(n))


def _own_depth(solid: BoolArray, outside: BoolArray) -> Used:
    from cathoscope.volume.geodesic import path_length

    for small, around in ((cracked_ball(24), ~cracked_ball(24)), around_closed_cracks(24)):
        path_length(small, around, voxel_size=(EDGE,) * 3)

    def work() -> float:
        lengths = path_length(solid, outside, voxel_size=(EDGE,) * 3)[solid]
        return float(lengths[np.isfinite(lengths)].mean())  # a piece may be cut off

    return _measured(work)


def peer_depth(n: int) -> Used:
    return _peer_depth(cracked_ball(n), ~cracked_ball(n))


def peer_depth_around(n: int) -> Used:
    return _peer_depth(*around_closed_cracks(n))


def _peer_depth(solid: BoolArray, outside: BoolArray) -> Used:
    from scipy.ndimage import binary_dilation
    from skimage.graph import MCP_Geometric

    first = binary_dilation(solid) & outside
    starts, cost = np.argwhere(first), np.where(solid | first, EDGE, -1.0)

    def work() -> float:
        lengths, _ = MCP_Geometric(cost).find_costs(starts)
        return float(lengths[solid][np.isfinite(lengths[solid])].mean())

    return _measured(work)


def own_transport(n: int) -> Used:
    from cathoscope.volume.tortuosity import tortuosity

    tortuosity(branched(16), voxel_size=(EDGE,) * 3)
    phase = branched(n)
    return _measured(lambda: tortuosity(phase, voxel_size=(EDGE,) * 3).tortuosity.value)


def own_domains(n: int) -> Used:
    from cathoscope.volume.domains import crack_bounded_domains

    crack_bounded_domains(cracked_ball(24), voxel_size=(EDGE,) * 3)
    solid = cracked_ball(n)
    return _measured(lambda: float(crack_bounded_domains(solid, voxel_size=(EDGE,) * 3).volume.size))


def peer_domains(n: int) -> Used:
    import edt
    from scipy.ndimage import label
    from skimage.morphology import h_maxima
    from skimage.segmentation import watershed

    solid = cracked_ball(n)

    def work() -> float:
        distance = edt.edt(solid, parallel=1)
        markers, _ = label(h_maxima(distance, 1.0))
        found = np.bincount(watershed(-distance, markers, mask=solid).ravel())
        return float(np.count_nonzero(found[1:] >= 27))

    return _measured(work)


def alone(name: str, work: Callable[[int], Used], n: int) -> Used:
    """The same in a process of its own, and a row of the table."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        used = pool.submit(work, n).result()
    print(f"{name:34s}{n:5d}{used.seconds:9.2f}{used.memory:9.0f}{used.number:12.5f}", flush=True)
    return used


def main() -> int:
    """0 if both targets are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="voxels along an edge (targets are for 256)")
    parser.add_argument("--large", action="store_true", help="the depth also for twice the size")
    arguments, _ = parser.parse_known_args()
    n = arguments.size
    print(f"{'':34s}{'n':>5s}{'CPU s':>9s}{'MB':>9s}{'number':>12s}")
    depth = alone("geodesic depth, mean in um", own_depth, n)
    if arguments.large:
        alone("geodesic depth, mean in um", own_depth, 2 * n)
    peer = alone("  scikit-image MCP_Geometric", peer_depth, n)
    around = alone("the same around closed cracks", own_depth_around, n)
    beside = alone("  scikit-image MCP_Geometric", peer_depth_around, n)
    domains = alone("domains", own_domains, n)
    other = alone("  scikit-image h_maxima, watershed", peer_domains, n)
    transport = alone("tortuosity", own_transport, n)
    gain, among = peer.seconds / depth.seconds, beside.seconds / around.seconds
    print(f"depth {gain:.1f} times as fast in {depth.memory / peer.memory:.2f} of the memory, ", end="")
    print(f"around closed cracks {among:.1f} times; ", end="")
    print(f"domains {other.seconds / domains.seconds:.1f} times as fast")
    kept = min(gain, among) >= LEAST_GAIN and transport.seconds <= MOST_SECONDS * (n / 256) ** 3
    print("targets met" if kept else f"TARGETS MISSED: {LEAST_GAIN} times, {MOST_SECONDS} CPU s")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
