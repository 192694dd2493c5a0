"""A study that is killed at random moments and resumed ends with the same bytes: python -m benchmarks.kills.

A run of a virtual study (``--recipe`` names another) is stopped with SIGKILL at moments drawn at random over its
length, resumed, killed again, and so on; whenever one comes to its end, every file below ``result/`` is compared with
those of a run that nothing disturbed.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from cathoscope.virtual.study import simulate_study

_SEED = 7


def main(arguments: list[str] | None = None) -> int:
    """Kill, resume, compare; 1 if a byte differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", type=Path, help="of a study to run; tiny virtual spheres if none is given")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=_SEED)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        recipe = options.recipe or simulate_study("spheres", size="tiny", seed=1, folder=folder / "raw")
        return 0 if _holds(recipe, folder, options.kills, np.random.default_rng(options.seed)) else 1


def _holds(recipe: Path, folder: Path, kills: int, rng: np.random.Generator) -> bool:
    alone, disturbed = folder / "alone.zarr", folder / "disturbed.zarr"
    _run(recipe, alone)  # compiles what is not compiled yet
    shutil.rmtree(alone)
    began = time.perf_counter()
    _run(recipe, alone)
    length = time.perf_counter() - began
    expected = _digests(alone / "result")
    print(f"undisturbed: {length:.1f} s, {len(expected)} files", flush=True)
    done, ends, wrong, moments = 0, 0, 0, []
    while done < kills:
        moment = rng.uniform(0, length)
        if _run(recipe, disturbed, kill_after=moment):
            ends += 1
            wrong += _differs(disturbed, expected)
            shutil.rmtree(disturbed)
        else:
            done += 1
            moments.append(f"{moment:.1f}")
    _run(recipe, disturbed)
    wrong += _differs(disturbed, expected)
    print(f"killed after {', '.join(moments)} s; {ends + 1} runs came to their end, {wrong} of them with other bytes")
    return wrong == 0


def _run(recipe: Path, study: Path, kill_after: float | None = None) -> bool:
    """Whether the run came to its end."""
    words = [sys.executable, "-m", "cathoscope", "run", "--no-report", str(recipe), "--study", str(study)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        _, errors = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return False
    if process.returncode != 0:
        raise RuntimeError(f"the run failed: {errors.decode(errors='replace')[-2000:]}")
    return True


def _differs(study: Path, expected: dict[str, str]) -> bool:
    found = _digests(study / "result")
    different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    for name in different[:10]:
        print(f"  other bytes: {name}", flush=True)
    return bool(different)


def _digests(folder: Path) -> dict[str, str]:
    """Every file below ``folder`` with a hash of its bytes."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


if __name__ == "__main__":
    sys.exit(main())
