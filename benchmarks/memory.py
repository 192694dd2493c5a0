"""Peak memory of every command against its setting: python -m benchmarks.memory [--study STUDY --recipe RECIPE].

Each command runs in a process of its own, which tells the most memory it ever held (VmHWM). What is set with
``--memory`` is for the values worked on; the interpreter, its libraries and compiled kernels take up to 0.5 GB more,
which is the bound that must hold. Without ``--study`` the commands run on a study of 512^3 voxels, 60 energies and 4
temperatures: 130 GB, stored as links to a few chunks (see `benchmarks.viewer`; 1.2 GB of disk), and its raw files, 240
scans of 720 projections that are sparse HDF5 files of one value. ``run`` takes hours and is measured with ``--run``;
its steps one by one with `benchmarks.memory_steps`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

BESIDES = 0.5e9  # bytes: interpreter, libraries, kernels
_CHILD = """
import sys
from pathlib import Path
from cathoscope import cli
told, sys.argv = sys.argv[1], ["cathoscope", *sys.argv[2:]]
try:
    cli.main()
finally:
    Path(told).write_text(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


@dataclass(frozen=True)
class Command:
    """Words of a command line, and whether ``--memory`` belongs to it."""

    name: str
    words: tuple[str, ...]
    limited: bool = True


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 1 if a command took more than it may."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", type=Path, help="a finished study")
    parser.add_argument("--recipe", type=Path, help="its recipe, for check and inspect")
    parser.add_argument("--memory", nargs="*", default=["1GB", "4GB"])
    parser.add_argument("--only", nargs="*", default=[], help="names of commands")
    parser.add_argument("--run", action="store_true", help="run the recipe too, into a new study")
    parser.add_argument("--array", default="white_line_energy", help="what is exported")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        study, recipe = options.study, options.recipe
        if study is None:
            study, recipe = _large(Path(scratch))
        commands = _commands(study, recipe, Path(scratch), options)
        chosen = [one for one in commands if not options.only or one.name in options.only]
        kept = [_holds(one, options.memory, Path(scratch)) for one in chosen]
        return 0 if all(kept) else 1


def _commands(study: Path, recipe: Path | None, scratch: Path, options: argparse.Namespace) -> Iterator[Command]:
    if recipe is not None:
        files = sorted((recipe.parent / "raw").rglob("*.h5"))[:4]
        yield Command("check", ("check", str(recipe)), limited=False)
        yield Command("inspect", ("inspect", *map(str, files)), limited=False)
        if options.run:
            yield Command("run", ("run", str(recipe), "--study", str(scratch / "new.zarr"), "--no-report"))
    if (study / "truth").is_dir() and any((study / "truth").glob("*/*")):
        yield Command("compare", ("compare", str(study)), limited=False)
    yield Command("report", ("report", str(study), "-o", str(scratch / "report.html")))
    for form in ("ome-zarr", "tiff", "hdf5"):
        where = ("-o", str(scratch / form), "--overwrite")
        yield Command(f"export-{form}", ("export", str(study), "--as", form, "--array", options.array, *where))


def _holds(command: Command, settings: Sequence[str], scratch: Path) -> bool:
    """Measure a command at every setting, print, and say whether all were kept."""
    kept = True
    for setting in settings if command.limited else settings[-1:]:
        words = [*command.words, *(("--memory", setting) if command.limited else ())]
        peak, seconds = _peak(words, scratch)
        allowed = (float(setting.removesuffix("GB")) * 1e9 if command.limited else 0.0) + BESIDES
        kept = kept and peak <= allowed
        of = f"--memory {setting}" if command.limited else "no setting"
        over = "" if peak <= allowed else f"  MORE than {allowed / 1e9:.1f} GB"
        print(f"{command.name:16} {of:14} {peak / 1e9:5.2f} GB {seconds:7.0f} s{over}", flush=True)
        for entry in scratch.glob("*"):  # what was exported takes place
            if entry.name in ("ome-zarr", "tiff", "hdf5", "report_files"):
                shutil.rmtree(entry)
    return kept


def _peak(words: Sequence[str], scratch: Path) -> tuple[float, float]:
    """Most memory of a command, bytes, and its time, s."""
    told, began = scratch / "peak", time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(told), *words], capture_output=True, text=True, env=environment
    )
    if done.returncode not in (0, 3):  # 3: check says that a measurement cannot be used
        raise RuntimeError(f"{' '.join(words)}: {done.stderr[-2000:]}")
    return 1024.0 * int(told.read_text()), time.perf_counter() - began


# -- a study of 130 GB that takes little disk


def _large(folder: Path) -> tuple[Path, Path]:
    """The study, and the recipe of its raw files."""
    from benchmarks.viewer import make_study

    study = folder / "large.zarr"
    make_study(study, 512)
    ball, truth = study / "result" / "ball", study / "truth" / "ball"
    for name in ("white_line_energy", "temperature", "z", "y", "x", "zarr.json"):
        _linked(ball / name, truth / name)
    for name in ("edge_jump", "white_line_energy_std"):  # figures and pulls need them; what they hold does not matter
        _linked(ball / "white_line_energy", ball / name)
    return study, _sparse_raw(folder)


def _linked(source: Path, target: Path) -> None:
    """The same files under another name; metadata, which are small, are copied."""
    copy = shutil.copytree if source.is_dir() else shutil.copy
    target.parent.mkdir(parents=True, exist_ok=True)
    copy(source, target, **({"copy_function": _link} if source.is_dir() else {}))


def _link(source: str, target: str) -> None:
    if source.endswith("zarr.json"):
        shutil.copy(source, target)
    else:
        os.link(source, target)


def _sparse_raw(folder: Path) -> Path:
    """240 scans in the layout of FXI whose images were never written: HDF5 gives their fill value."""
    import h5py
    import numpy as np

    lines = ['[sample.ball]\n[measurement.ball]\nsample = "ball"\ntechnique = "xanes-tomography"\n']
    number = 0
    for temperature in (25, 150, 200, 250):
        place = folder / "raw" / f"{temperature}"
        place.mkdir(parents=True)
        for energy in np.linspace(8.320, 8.380, 60):
            number += 1
            with h5py.File(place / f"fly_scan_id_{number:04d}.h5", "w") as file:
                for name, count, value in (("img_tomo", 720, 800), ("img_bkg", 20, 1000), ("img_dark", 20, 10)):
                    shape = (count, 512, 512)
                    file.create_dataset(name, shape, "uint16", chunks=(1, 512, 512), fillvalue=value)
                file["angle"] = np.linspace(0.0, 180.0, 720)
                file["X_eng"] = energy
                file["Pixel Size"] = "20 nm"
        lines.append(f'[[measurement.ball.series]]\ntemperature = "{temperature} C"\n')
        lines.append(f'files = "raw/{temperature}/*.h5"\n')
    recipe = folder / "large.toml"
    recipe.write_text("".join(lines), encoding="utf-8")
    return recipe


if __name__ == "__main__":
    sys.exit(main())
