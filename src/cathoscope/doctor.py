"""Is this machine fit: versions, threads, memory, disk, data, and a short experiment with known answers."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cathoscope.core.errors import CathoscopeError
from cathoscope.core.locking import exclusive
from cathoscope.core.parallel import Progress, Resources
from cathoscope.core.study import Study

if TYPE_CHECKING:
    from cathoscope.flow.compare import Comparison

State = Literal["ok", "attention", "failed"]

_ENOUGH_MEMORY = 4e9  # bytes; the default setting of a run is half of it
_ENOUGH_DISK = 10e9  # bytes; a medium study of two particles takes about as much
_EXTRAS = {"cluster": ("distributed", "run --cluster"), "images2d": ("pyFAI", "images of area detectors")}
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, in words, with what to do about it."""

    what: str
    state: State
    words: str
    cure: str = ""


def examine(folder: Path) -> Iterator[Finding]:
    """Everything but the experiment; ``folder`` is where studies are going to be kept."""
    checks: tuple[Callable[[Path], Finding], ...] = (
        _python,
        _packages,
        _extras,
        _threads,
        _memory,
        _disk,
        _lock,
        _kernels,
        _data,
    )
    for check in checks:
        try:
            yield check(folder)
        except (OSError, CathoscopeError) as error:
            yield Finding(check.__name__.strip("_"), "failed", str(error))


def _python(folder: Path) -> Finding:
    words = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.platform == "win32":
        return Finding("Python", "failed", words, "use the Windows Subsystem for Linux")
    return Finding("Python", "ok", words)


def _packages(folder: Path) -> Finding:
    """Versions against what the project asks for; of ``name>=version`` only, which is all it uses."""
    wanted = [text for text in importlib.metadata.requires("cathoscope") or [] if "extra ==" not in text]
    old, count = [], 0
    for text in wanted:
        name, _, least = text.partition(">=")
        least = least.split(";")[0].strip()
        try:
            version = importlib.metadata.version(name.strip())
        except importlib.metadata.PackageNotFoundError:
            old.append(f"{name.strip()} is missing")
            continue
        count += 1
        if _numbers(version) < _numbers(least):
            old.append(f"{name.strip()} is {version}, and {least} is needed")
    if old:
        return Finding("packages", "failed", "; ".join(old), "./run exec cathoscope doctor  sets the environment up")
    return Finding("packages", "ok", f"cathoscope {importlib.metadata.version('cathoscope')} and {count} it needs")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _extras(folder: Path) -> Finding:
    missing = [f"{name} ({use})" for name, (package, use) in _EXTRAS.items() if not _installed(package)]
    words = f"not installed: {', '.join(missing)}" if missing else "all installed"
    return Finding("extras", "ok", words, "only if you need it:  pip install cathoscope[NAME]" if missing else "")


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _threads(folder: Path) -> Finding:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_number("cpu.max")
    words = f"{allowed} of {os.cpu_count()} cores may be used"
    if quota is not None and quota < allowed:
        return Finding(
            "threads", "attention", f"{words}, with time for {quota:g}", f"run --threads {max(1, int(quota))}"
        )
    return Finding("threads", "ok", words)


def _memory(folder: Path) -> Finding:
    free, limit = _available_memory(), _cgroup_number("memory.max")
    usable = min(value for value in (free, limit, float("inf")) if value is not None)
    if usable == float("inf"):
        return Finding("memory", "attention", "how much is free cannot be told here", "set run --memory")
    words = f"{usable / 1e9:.1f} GB free"
    if usable < _ENOUGH_MEMORY:
        return Finding("memory", "attention", words, f"run --memory {max(0.5, usable / 2e9):.1f}GB")
    return Finding("memory", "ok", f"{words}; a run takes 2 GB unless told otherwise with --memory")


def _available_memory() -> float | None:
    """Bytes, of Linux; None elsewhere."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"MemAvailable:\s+(\d+) kB", text)
    return float(found.group(1)) * 1024 if found else None


def _cgroup_number(name: str) -> float | None:
    """A limit of the container: bytes, or cores; None if there is none."""
    try:
        words = (_CGROUP / name).read_text(encoding="ascii").split()
    except OSError:
        return None
    if not words or words[0] == "max":
        return None
    return float(words[0]) / (float(words[1]) if len(words) > 1 else 1.0)


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    words = f"{free / 1e9:.0f} GB free in {folder}"
    if free < _ENOUGH_DISK:
        return Finding("disk", "attention", words, "keep studies elsewhere:  run --study PLACE")
    return Finding("disk", "ok", words)


def _lock(folder: Path) -> Finding:
    """Two runs must not work on one study; some network disks know no locks."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        file = Path(scratch) / "lock"
        with exclusive(file, what=file):
            try:
                with exclusive(file, what=file):
                    return Finding(
                        "locks", "attention", "this disk does not lock files", "never start two runs on one study"
                    )
            except CathoscopeError:
                return Finding("locks", "ok", "two runs on one study are kept apart")


def _kernels(folder: Path) -> Finding:
    """Where kernels are kept after their first compilation."""
    import cathoscope

    place = Path(cathoscope.__file__).parent
    if os.access(place, os.W_OK) or os.environ.get("NUMBA_CACHE_DIR"):
        return Finding("kernels", "ok", "compiled once and kept")
    return Finding(
        "kernels",
        "attention",
        f"{place} is read-only: where no other place is found, every run compiles its kernels again",
        "set NUMBA_CACHE_DIR to a folder of yours",
    )


def _data(folder: Path) -> Finding:
    from cathoscope.flow.recipe import DATA_VARIABLE

    stated = os.environ.get(DATA_VARIABLE)
    if not stated:
        return Finding("data", "ok", f"{DATA_VARIABLE} is not set: recipes say where their files are")
    if Path(stated).is_dir():
        return Finding("data", "ok", f"recipes look for their files in {stated}")
    return Finding("data", "failed", f"{DATA_VARIABLE} is {stated}, which is no folder", f"unset {DATA_VARIABLE}")


@dataclass(frozen=True)
class _Answer:
    """What the analysis of the tiny virtual spheres must find, and how far off it may be."""

    array: str
    words: str
    most: float
    of: Literal["bias", "rmse"]


# Its voxels are 0.8 um: coarse enough to take seconds, and so these are bounds of the coarseness, not of noise.
_ANSWERS = (
    _Answer("rotation_axis", "rotation axis within 0.1 px", 0.1, "rmse"),
    _Answer("projection_shift", "jitter within 0.1 px", 0.1, "rmse"),
    _Answer("edge_jump", "edge jump within 0.001 per um", 0.001, "bias"),
    _Answer("particle_mask", "volume within 5 %", 0.05, "bias"),
    _Answer("white_line_mean", "white line within 0.1 eV", 0.1, "rmse"),
)


def experiment(folder: Path, *, resources: Resources, progress: Progress) -> Iterator[Finding]:
    """Simulate the tiny virtual spheres, analyse the raw files, and hold the numbers against the truth."""
    from cathoscope.flow.compare import compare
    from cathoscope.flow.recipe import load_recipe
    from cathoscope.flow.run import run
    from cathoscope.virtual.study import simulate_study

    with tempfile.TemporaryDirectory(dir=folder, prefix="doctor-") as scratch:
        began = time.perf_counter()
        recipe = simulate_study(
            "spheres", size="tiny", seed=1, folder=Path(scratch), resources=resources, progress=progress
        )
        outcome = run(load_recipe(recipe), Path(scratch) / "study.zarr", resources=resources, progress=progress)
        seconds = time.perf_counter() - began
        if outcome.failed:
            yield Finding("experiment", "failed", str(outcome.failed[0].failure))
            return
        rows = {row.array: row for row in compare(Study.open(Path(scratch) / "study.zarr"))}
    yield Finding("experiment", "ok", f"60 scans simulated and analysed in {seconds:.0f} s")
    yield from judged(rows)


def judged(rows: Mapping[str, Comparison]) -> Iterator[Finding]:
    """Whether results are as near to the truth as they are on a machine that works."""
    for answer in _ANSWERS:
        error = abs(rows[answer.array].bias if answer.of == "bias" else rows[answer.array].rmse)
        words = f"{answer.words}: off by {error:.2g}"
        yield Finding("answer", "ok" if error < answer.most else "failed", words)
