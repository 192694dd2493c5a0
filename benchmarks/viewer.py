"""The viewer on a study of 512^3 voxels, 60 energies and 4 temperatures: time to a slice, and memory of the server.

    python -m benchmarks.viewer [--folder PLACE] [--size 512] [--keep]

The study is made first and deleted afterwards. It would take 130 GB; here chunks of all temperatures, of the three
blocks of energies and of eight neighbours along z are names of one file (about 1 GB), so values repeat, but every chunk
is read and decoded as if they did not. Files lie in the memory of the operating system, as those looked at before do.
The server runs in a process of its own. Must hold: a slice that was not read before in less than 100 ms (median), the
slices of two temperatures side by side too, and less than 500 MB of memory.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import zarr
from numcodecs import blosc

from cathoscope.core.schema import spec_of
from cathoscope.core.study import _CODEC, Study, chunk_shape

MOST_MILLISECONDS = 100.0
MOST_MEGABYTES = 500.0
N_ENERGIES, N_TEMPERATURES = 60, 4
_VOLUME = ("temperature", "z", "y", "x")
_CUBE = ("temperature", "energy", "z", "y", "x")
_PLACES = 9


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the study, measure, delete it; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--keep", action="store_true", help="leave the study, or use the one that was left")
    options = parser.parse_args(arguments)
    path = options.folder / f"viewer-{options.size}.zarr"
    try:
        if not path.exists():
            begun = time.perf_counter()
            make_study(path, options.size)
            seconds = time.perf_counter() - begun
            print(f"study of {options.size}^3 x {N_ENERGIES} x {N_TEMPERATURES} made in {seconds:.0f} s")
        with server_of(path) as (address, process):
            return measure(address, process, options.size)
    finally:
        if not options.keep:
            shutil.rmtree(path, ignore_errors=True)


# -- the study


def make_study(path: Path, n: int) -> None:
    """Maps and attenuation of a hollow ball with noise, in the layout of a study."""
    study = Study.create(path)
    study.write_raw("ball", {"sample": "ball", "technique": "xanes-tomography"})
    group = path / "result" / "ball"
    zarr.open_group(group, mode="a")
    where = (np.arange(n) - (n - 1) / 2) * 0.02
    coordinates = {"temperature": np.array([25.0, 150.0, 200.0, 250.0]), "z": where, "y": where, "x": where}
    coordinates["energy"] = np.linspace(8320.0, 8380.0, N_ENERGIES)
    for name, values in coordinates.items():
        _array(group, name, (name,), values.shape, "float64")[...] = values
    noise = (N_TEMPERATURES, N_ENERGIES)
    _array(group, "attenuation_std", _CUBE[:2], noise, "float64")[...] = np.full(noise, 0.003)
    shape = (N_TEMPERATURES, n, n, n)
    for name, dtype in (("white_line_energy", "float32"), ("particle_mask", "bool"), ("white_line_flag", "int8")):
        _array(group, name, _VOLUME, shape, dtype)
    _array(group, "attenuation", _CUBE, (N_TEMPERATURES, N_ENERGIES, n, n, n), "float32")
    _fill(group, n, coordinates["energy"])


def _array(group: Path, name: str, dims: tuple[str, ...], shape: tuple[int, ...], dtype: str) -> zarr.Array:
    attributes = {"units": spec_of(name).unit}
    if name == "white_line_flag":
        attributes |= {"flag_values": [0, 100], "flag_meanings": "good outside_particle"}
    return zarr.create_array(
        group / name,
        shape=shape,
        chunks=chunk_shape(dims, shape),
        dtype=dtype,
        fill_value=np.nan if dtype.startswith("f") else 0,
        compressors=_CODEC,
        dimension_names=dims,
        attributes=attributes,
    )


def _fill(group: Path, n: int, energy: np.ndarray) -> None:
    """Every eighth chunk along z of the first temperature and the first twenty energies; links for the others."""
    rng = np.random.default_rng(1)
    spectrum = 0.06 * (0.5 + np.arctan((energy[:20] - 8330.0) / 2) / np.pi)
    noise = rng.normal(0, 0.003, (7, 20, 8, 64, 64)).astype(np.float32)
    for place in itertools.product(range(0, -(-n // 8), 8), range(-(-n // 64)), range(-(-n // 64))):
        inside, line = _block(n, (min(place[0] + 4, n // 8 - 1), *place[1:]), rng)
        stack = [(z, *place[1:]) for z in range(place[0], min(place[0] + 8, -(-n // 8)))]
        maps = {
            "white_line_energy": np.where(inside, line, np.nan).astype(np.float32),
            "particle_mask": inside,
            "white_line_flag": np.where(inside, 0, 100).astype(np.int8),
        }
        for name, values in maps.items():
            _store(group / name, values, [(t, *one) for t in range(N_TEMPERATURES) for one in stack])
        value = spectrum[:, None, None, None].astype(np.float32) * inside + noise[sum(place) % 7]
        value = np.round(value * 2**13) / np.float32(2**13)  # a tenth of the noise: what a measurement means anyway
        places = list(itertools.product(range(N_TEMPERATURES), range(-(-N_ENERGIES // 20)), stack))
        _store(group / "attenuation", value.astype(np.float32), [(t, e, *one) for t, e, one in places])


def _block(n: int, place: tuple[int, int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Where the ball is in a block, and white lines."""
    axes = [np.arange(8) + 8 * place[0], np.arange(64) + 64 * place[1], np.arange(64) + 64 * place[2]]
    z, y, x = np.meshgrid(*((axis - (n - 1) / 2) / (n / 2) for axis in axes), indexing="ij")
    radius = np.sqrt(z**2 + y**2 + x**2)
    inside = (radius < 0.9) & (radius > 0.3)
    return inside, 8350 - 2 * radius + 0.5 * np.sin(20 * x) + rng.normal(0, 0.2, x.shape)


def _store(array: Path, values: np.ndarray, places: Sequence[tuple[int, ...]]) -> None:
    """One chunk, under the first of its names and linked to the others."""
    packed = blosc.compress(np.ascontiguousarray(values).tobytes(), b"lz4", 5, 1, _CODEC.blocksize, 4)
    names = [array / "c" / "/".join(map(str, place)) for place in places]
    for name in names:
        name.parent.mkdir(parents=True, exist_ok=True)
    names[0].write_bytes(packed)
    for name in names[1:]:
        os.link(names[0], name)


# -- the server


@contextmanager
def server_of(path: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Address and process of a viewer."""
    command = [sys.executable, "-m", "cathoscope", "view", str(path), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[1], process
    finally:
        process.terminate()
        process.wait()


def megabytes(process: subprocess.Popen[str], kind: str = "VmRSS") -> float:
    """Memory of a process: now, or the most so far (VmHWM)."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(kind)) / 1024


def seconds_of(process: subprocess.Popen[str]) -> float:
    """Processor time that a process has used."""
    parts = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def ask(address: str, name: str, **query: object) -> tuple[float, bytes]:
    """Milliseconds and content of an answer."""
    text = "&".join(f"{key}={value}" for key, value in query.items())
    begun = time.perf_counter()
    with urllib.request.urlopen(f"{address}api/{name}?{text}", timeout=600) as answer:
        content = answer.read()
    return 1000 * (time.perf_counter() - begun), content


def measure(address: str, process: subprocess.Popen[str], n: int) -> int:
    """Print times and memory; 1 if a target is missed."""
    print(f"memory before the first question: {megabytes(process):.0f} MB")
    base = {"measurement": "result/ball"}
    print(f"what there is: {ask(address, 'study')[0]:.0f} ms")
    ask(address, "slice", **base, array="white_line_energy", axis="z", index=0)  # what is compiled once
    ask(address, "slice", **base, array="attenuation", axis="z", index=0)
    missed = False
    for array in ("white_line_energy", "attenuation"):
        for axis in "zyx":
            before = seconds_of(process)
            fresh, near = _slices(address, array, axis, n)
            words = f"{array}, across {axis}: not read before {fresh[0]:.0f} ms (slowest {fresh[1]:.0f})"
            used = 1000 * (seconds_of(process) - before) / _PLACES
            words += f", next slice {near[0]:.1f} ms (slowest {near[1]:.0f}), all four {used:.0f} ms of processor time"
            print(f"{words}, memory {megabytes(process):.0f} MB", flush=True)
            missed |= fresh[0] >= MOST_MILLISECONDS
        spread = ask(address, "spread", **base, array=array, energy=1)[0]
        print(f"{array}: range and histogram {spread:.0f} ms")
    voxel = [
        ask(address, "voxel", **base, array="attenuation", z=n // 2 + i, y=n // 3, x=n // 4)[0] for i in range(0, 40, 5)
    ]
    print(f"voxel with 60 energies: first {voxel[0]:.0f} ms, then {statistics.median(voxel[1:]):.0f} ms")
    _pictures(address, base)
    missed |= _two_sides(address, process, n) >= MOST_MILLISECONDS
    most = megabytes(process, "VmHWM")
    print(f"memory at most {most:.0f} MB")
    return 1 if missed or most >= MOST_MEGABYTES else 0


def _slices(address: str, array: str, axis: str, n: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Median and slowest time of slices whose blocks were not read before, and of the ones beside them."""
    block = {"z": 8, "y": 64, "x": 64}[axis]
    fresh, near = [], []
    for k, place in enumerate(np.linspace(block, n - block - 2, _PLACES).round().astype(int)):
        # another temperature and energy each time: nothing of it is kept
        query = {"measurement": "result/ball", "array": array, "temperature": k % 4, "energy": (7 * k + 1) % 60}
        start = int(place) // block * block
        fresh.append(ask(address, "slice", **query, axis=axis, index=start)[0])
        near += [ask(address, "slice", **query, axis=axis, index=start + i)[0] for i in (1, 2, 3)]
    return (statistics.median(fresh), max(fresh)), (statistics.median(near), max(near))


def _two_sides(address: str, process: subprocess.Popen[str], n: int) -> float:
    """Two temperatures side by side: both slices of a step, asked for at once as the page does; slowest median."""
    medians = []
    for axis in "zyx":
        before, times = seconds_of(process), dict[str, list[float]](fresh=[], near=[])
        block = {"z": 8, "y": 64, "x": 64}[axis]
        for k, place in enumerate(np.linspace(block, n - block - 2, _PLACES).round().astype(int)):
            for i in range(4):
                index = int(place) // block * block + i
                query = {"measurement": "result/ball", "array": "white_line_energy", "axis": axis, "index": index}
                begun = time.perf_counter()
                with ThreadPoolExecutor(2) as pool:
                    asked = [pool.submit(ask, address, "slice", **query, temperature=(k + side) % 4) for side in (0, 2)]
                    for one in asked:
                        one.result()
                times["near" if i else "fresh"].append(1000 * (time.perf_counter() - begun))
        fresh, near = (statistics.median(times[kind]) for kind in ("fresh", "near"))
        used = 1000 * (seconds_of(process) - before) / (4 * _PLACES)
        words = f"not read before {fresh:.0f} ms, next {near:.0f} ms, each {used:.0f} ms of processor time"
        print(f"two sides, both slices across {axis}: {words}, memory {megabytes(process):.0f} MB", flush=True)
        medians.append(fresh)
    look = {"measurement": "result/ball", "array": "white_line_energy", "low": 8347, "high": 8351, "map": "RdYlBu_r"}
    for side in (0, 2):
        ask(address, "picture", **look, pixels=400, temperature=side)
    turned = [
        sum(ask(address, "picture", **look, pixels=150, fine=0, azimuth=10 * k, temperature=t)[0] for t in (0, 2))
        for k in range(8)
    ]
    words = f"turning both {statistics.median(turned):.0f} ms, memory {megabytes(process):.0f} MB"
    print(f"two sides, pictures in space: {words}")
    return max(medians)


def _pictures(address: str, base: dict[str, str]) -> None:
    look = {"array": "white_line_energy", "low": 8347, "high": 8351, "map": "RdYlBu_r"}
    first = ask(address, "picture", **base, **look, pixels=400)[0]
    turned = [ask(address, "picture", **base, **look, pixels=150, fine=0, azimuth=10 * k)[0] for k in range(8)]
    fine = [ask(address, "picture", **base, **look, pixels=400, azimuth=10 * k)[0] for k in range(4)]
    words = f"turning {statistics.median(turned[1:]):.0f} ms, at rest {statistics.median(fine):.0f} ms"
    print(f"picture in space: first {first:.0f} ms, {words}")


if __name__ == "__main__":
    sys.exit(main())
