"""Damaged files: what is done to a whole one, and the process that reads them one after the other.

As a program, ``python -m tests.io.fuzz`` takes lines of JSON, [reader, first, last, seed, folder], and reads the cases
first to last (excluded) in a process of their own, which it forks, so that the libraries are imported once. Its answer
is a line with the exit code of that process. What came of the cases stands as JSON in the folder's file ``result``, and
the number of the case at work in ``progress``, so that it is known which case ended the process.
"""

from __future__ import annotations

import gc
import json
import os
import re
import resource
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.io import open_raw
from cathoscope.io.inspect import describe
from cathoscope.io.spectra import ColumnMap
from cathoscope.io.spectra_columns import open_table
from cathoscope.io.volumes import voxels_of_pages
from tests.io.ole import write_ole
from tests.io.specimens import ROWS, SPECIMENS, TIFF, xradia_streams

# A case may take this much more memory than the process had, and this many seconds of CPU time.
MOST_MEMORY = 1 << 30
MOST_SECONDS = 10.0
_N_DAMAGES = 4
# Of so many turns four, one of each damage, are described as well.
_LOOK_EVERY = 40
Rng = np.random.Generator
Files = dict[Path, bytes]
# Which file is damaged, and what it then holds; from the whole files of a specimen.
Damage = Callable[[Rng, Files], tuple[Path, bytes]]
_HDF5 = ("fxi", "data_exchange", "energy_scan", "nxtomo", "nxtomo_master", "sandbox_cube", "hdf5_volume")
_XRADIA = ("xradia_scan", "xradia_image")
_TIFF = ("tiff", "tiff_zip", "tiff_sequence", "fibsem_tiff")
_BINARY = (b"\x1f\x8b", b"PK\x03\x04", b"BIO-LOGIC", b"NEWARE")
_WORDS = [
    *("", "nan", "inf", "-1", "0", "1e999", "1e308", "-1e308", "1e-320", "99999999999999999999999999", "1_000"),
    *("0x1F", "true", "null", "None", "''", '"', "[]", "{}", "[[", "((((", "}", "\u00b5", "\x00", "e", "1,5", "\\"),
    *("energy", "undef", "# XDI/1.0", "\n", "\r", "\t", "1e5 1e5", "9" * 400, "\ud7ff", "keV"),
]


def one_of(rng: Rng, files: Files) -> tuple[Path, bytes]:
    return list(files.items())[rng.integers(len(files))]


def cut(rng: Rng, files: Files) -> tuple[Path, bytes]:
    """The file ends early."""
    path, content = one_of(rng, files)
    return path, content[: rng.integers(len(content))]


def flip(rng: Rng, files: Files) -> tuple[Path, bytes]:
    """One to eight bytes anywhere are others."""
    path, whole = one_of(rng, files)
    content = np.frombuffer(whole, np.uint8).copy()
    content[rng.integers(content.size, size=rng.integers(1, 9))] = rng.integers(256)
    return path, content.tobytes()


def overwrite(rng: Rng, files: Files) -> tuple[Path, bytes]:
    """Two, four or eight bytes are a number that a size or an address may not be."""
    path, whole = one_of(rng, files)
    content = bytearray(whole)
    width = int(rng.choice([2, 4, 8]))
    number = int(rng.choice([0, 1, 2, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1]))
    place = int(rng.integers(max(1, len(content) - width)))
    place -= place % int(rng.choice([1, width]))
    content[place : place + width] = (number % 256**width).to_bytes(width, "little")
    return path, bytes(content)


def swap_in_hdf5(rng: Rng, files: Files) -> tuple[Path, bytes]:
    """A dataset, or an attribute, has another type or shape, or is something else."""
    path, content = one_of(rng, files)
    image = h5py.h5f.open_file_image(content, h5py.h5f.ACC_RDWR)  # in memory
    with h5py.File(image) as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        name = names[rng.integers(len(names))]
        shape, parent = file[name].shape, file[name].parent
        del file[name]
        other_hdf5(rng, parent, name.rpartition("/")[2], shape)
        file.flush()
        return path, image.get_file_image()


def other_hdf5(rng: Rng, parent: h5py.Group, name: str, shape: tuple[int, ...]) -> None:
    """Something else in the place of a dataset of ``shape``."""
    kinds = ("?", "i1", ">i4", "u8", "<f2", ">f8", "g", "c16", "S5", "S70000", h5py.string_dtype(), h5py.ref_dtype)
    kinds += (np.dtype([("r", "f4"), ("i", "f4")]), h5py.vlen_dtype(np.int32), h5py.enum_dtype({"a": 1, "b": 2}))
    kinds += (np.dtype(("f4", (2, 2))), "V7")
    shapes: list[tuple[int, ...]] = [shape, (), (0,), (1,), (3,), shape[::-1], (*shape, 2), shape[1:], (2,) * 9]
    shapes += [(2**40,), (2**20, 2**20, 2**20), (1, 2**31, 2**31)]
    way = rng.integers(12)
    if way == 0:
        parent.create_group(name)
    elif way == 1:
        parent[name] = h5py.SoftLink(str(rng.choice(["/nowhere", name, ".", "/"])))
    elif way == 2:
        parent[name] = h5py.ExternalLink(str(rng.choice(["absent.h5", "/", "."])), "/x")
    elif way == 3:
        parent[name] = h5py.Empty("f4")
    elif way == 4:
        parent[name] = np.dtype("f4")
    elif way == 5:
        parent[name] = str(rng.choice(["", "text", "1e999 nm", "-5um", "nan nm", "\u00b5" * 300]))
    elif way == 6:
        values = rng.choice([np.nan, np.inf, -1.0, 0.0, 1e308, 1e-320, 8.35], size=min(9, max(1, sum(shape))))
        parent[name] = values if rng.random() < 0.5 else values[0]
    else:
        size = shapes[rng.integers(len(shapes))]
        chunks = tuple(min(n, 4) for n in size) if size and 0 not in size and rng.random() < 0.7 else None
        large = np.prod([float(n) for n in size]) > 1e5
        try:
            parent.create_dataset(name, size, kinds[rng.integers(len(kinds))], chunks=True if large else chunks)
        except (TypeError, ValueError, OSError, OverflowError):  # no such combination in HDF5
            parent[name] = 1


def swap_in_xradia(rng: Rng, files: Files) -> tuple[Path, bytes]:
    """A stream has other numbers, another length, or is absent."""
    (path,) = files
    streams = dict(_streams_of_image() if "eV" in path.name else _streams_of_scan())
    name = str(rng.choice(list(streams)))
    size = int(rng.integers(0, 40))
    dtype = str(rng.choice(["<f4", "<f8", "<i4", "<i8", "u1"]))
    values = rng.choice([np.nan, np.inf, -1.0, 0.0, 1e30, 1e-40, 5.0, 10.0, 3.0, 65536.0], size=size)
    with np.errstate(all="ignore"):
        streams[name] = values.astype(dtype).tobytes()
    if rng.random() < 0.2:
        del streams[name]
    write_ole(path, streams)
    return path, path.read_bytes()


@cache
def _streams_of_image() -> dict[str, bytes]:
    return xradia_streams(1, 48, 45)


@cache
def _streams_of_scan() -> dict[str, bytes]:
    return xradia_streams(3, ROWS, 4)


def swap_in_tiff(rng: Rng, files: Files) -> tuple[Path, bytes]:
    """The images have another type, shape or form."""
    kinds = ["?", "i1", "u1", ">u2", "i4", "u8", "f2", ">f4", "f8", "c8", "c16"]
    shapes = [(6, 8), (3, 6, 8), (1, 1), (2, 6, 8, 3), (1, 6, 8, 4), (2, 2, 6, 8), (1, 7), (7, 1)]
    (path, _), shape = one_of(rng, files), shapes[rng.integers(len(shapes))]
    image = rng.integers(0, 2, shape).astype(kinds[rng.integers(len(kinds))])
    form: dict[str, Any] = TIFF if shape[-1] > 4 or len(shape) < 3 else {"photometric": "rgb"}
    written = BytesIO()
    tifffile.imwrite(written, image, bigtiff=bool(rng.random() < 0.3), **form)
    return path, written.getvalue()


def swap_in_text(rng: Rng, files: Files) -> tuple[Path, bytes]:
    """Words and numbers are others, or in other places."""
    path, content = one_of(rng, files)
    if content.startswith(_BINARY):
        return overwrite(rng, files)
    encoding = _encoding(content)
    tokens = re.split(r"([\s,;=()'\"{}\[\]:]+)", content.decode(encoding))
    for _ in range(rng.integers(1, 4)):
        word = _WORDS[rng.integers(len(_WORDS))] if rng.random() < 0.7 else tokens[rng.integers(len(tokens))]
        tokens[rng.integers(len(tokens))] = word
    return path, "".join(tokens).encode(encoding, errors="replace")


def _encoding(content: bytes) -> str:
    if content.startswith(b"\xff\xfe"):
        return "utf-16"
    try:
        content.decode()
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _swap(specimen: str) -> Damage:
    if specimen in _HDF5:
        return swap_in_hdf5
    if specimen in _XRADIA:
        return swap_in_xradia
    return swap_in_tiff if specimen in _TIFF else swap_in_text


def read(specimen: str, paths: list[Path], place: float) -> None:
    """Open the files and read a part of every array, as a user of the package would; `place` as in `read_part`."""
    if specimen == "json_table":
        data = open_table(paths[0], ColumnMap(energy="energy", absorption="mu", labels=("volt",)))
    elif specimen == "tiff_sequence":
        data = voxels_of_pages(open_raw(paths, reader="tiff"), paths)
    else:
        data = open_raw(paths[0], reader=SPECIMENS[specimen].reader)
    read_part(data, place)


def read_part(data: xr.Dataset, place: float) -> None:
    """Two values along every axis of every array, from the beginning (``place`` 0) to the end (1)."""
    for array in data.variables.values():
        window = {dim: slice(start := int(place * max(n - 2, 0)), start + 2) for dim, n in array.sizes.items()}
        np.asarray(array.isel(window).values)


def check_case(specimen: str, paths: list[Path], turn: int) -> str:
    """What came of one case: "read", "refused", or what was wrong."""
    try:
        if turn % _LOOK_EVERY < _N_DAMAGES:
            "\n".join(describe(paths[0]).lines()).encode("utf-8")
        read(specimen, paths, place=(turn // _N_DAMAGES % 3) / 2)
    except MeasurementError as error:
        named = any(path.name in str(error) for path in paths)
        return "refused" if named else f"names no file: {error}"
    except Exception as error:  # what this is about: any other error is a mistake
        trace = traceback.extract_tb(error.__traceback__)[-6:]
        places = " ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in trace)
        return f"{type(error).__name__}: {str(error)[:200]} at {places}"
    return "read"


def run_cases(reader: str, cases: range, seed: int, folder: Path, progress: Path) -> dict[str, Any]:
    """Damage and read the specimens of a reader in turn; counts of what came of it, and every case that went wrong."""
    names = [name for name, specimen in SPECIMENS.items() if specimen.reader == reader]
    written = {name: SPECIMENS[name].write(_made(folder / name)) for name in names}
    files = {name: {path: path.read_bytes() for path in paths} for name, paths in written.items()}
    counts: Counter[str] = Counter()
    wrong = []
    with progress.open("r+b", buffering=0) as marker:
        for case in cases:
            marker.seek(0)
            marker.write(b"%9d" % case)
            turn, which = divmod(case, len(names))
            whole = files[names[which]]
            damage = (cut, flip, overwrite, _swap(names[which]))[turn % _N_DAMAGES]
            path, content = damage(np.random.default_rng([seed, case]), whole)
            _put(path, content, 2 * case)
            signal.setitimer(signal.ITIMER_VIRTUAL, MOST_SECONDS)
            outcome = check_case(names[which], list(whole), turn)
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            _put(path, whole[path], 2 * case + 1)
            counts[outcome if outcome in ("read", "refused") else "wrong"] += 1
            if outcome not in ("read", "refused"):
                wrong.append(f"case {case}, {names[which]}, {damage.__name__}: {outcome}")
    return {"counts": counts, "wrong": wrong}


def _put(path: Path, content: bytes, tick: int) -> None:
    """Write over a file, at a time of its own: the clock of a file system may stand still between two cases.

    To empty the file first would take the file system longer.
    """
    with path.open("r+b", buffering=0) as file:
        file.write(content)
        file.truncate()
    os.utime(path, ns=(tick * 1_000_000, tick * 1_000_000))


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _memory(name: str) -> int:
    """Bytes of this process, as the system counts them."""
    text = Path("/proc/self/status").read_text()
    return int(re.findall(rf"{name}:\s+(\d+)", text)[0]) * 1024


def read_apart(reader: str, first: int, last: int, seed: int, folder: Path) -> int:
    """`run_cases` in a process of its own, with limits; its exit code, negative for a signal."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        cpu = _cpu_seconds()
        signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
        limit = _memory("VmSize") + MOST_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        result = run_cases(reader, range(first, last), seed, folder / "files", folder / "progress")
        measured = {"peak": _memory("VmHWM"), "cpu": _cpu_seconds() - cpu}
        (folder / "result").write_text(json.dumps({**result, **measured}))
    except BaseException:
        (folder / "result").write_text(traceback.format_exc())
        os._exit(1)
    os._exit(0)


def _cpu_seconds() -> float:
    return sum(resource.getrusage(resource.RUSAGE_SELF)[:2])


def main() -> None:
    gc.freeze()  # what was imported stays, and need not be looked through again and again
    for line in sys.stdin:
        *cases, folder = json.loads(line)
        sys.stdout.write(f"{read_apart(*cases, Path(folder))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
