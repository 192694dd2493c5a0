"""Shared fixtures: where the measured data are, and a small virtual study with its undisturbed result."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run, so that a failure is one for everybody; HYPOTHESIS_PROFILE=default looks for new ones.
settings.register_profile("seeded", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "seeded"))

DATA_VARIABLE = "CATHOSCOPE_DATA"
_BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared" / "data"


# What takes longest begins first, so that no worker is left with it when all others have finished.
_LONGEST = ("test_docs.py", "test_notebooks.py", "test_fuzz.py", "test_runs.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; all others stay in their order."""
    items.sort(key=lambda item: _LONGEST.index(item.path.name) if item.path.name in _LONGEST else len(_LONGEST))


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of measured data; a test that needs it is skipped where it is absent."""
    folder = Path(os.environ.get(DATA_VARIABLE, _BESIDE_THE_CHECKOUT))
    if not folder.is_dir():
        pytest.skip(f"measured data are not at {folder}; set {DATA_VARIABLE} to the folder that holds them")
    return folder


# Of the thirty scans of the virtual spheres: two below the edge, nine across it, two above.
SCANS = (0, 2, 5, 8, 12, 14, 15, 16, 18, 20, 25, 27, 29)
_FIRST_SCAN_ID = 100_101

RecipeWriter = Callable[..., Path]


def made_once(name: str, factory: pytest.TempPathFactory, make: Callable[[Path], None]) -> Path:
    """A folder that all workers of a session share, for reading only; the first that needs it makes it."""
    workers = "PYTEST_XDIST_WORKER" in os.environ
    base = factory.getbasetemp().parent if workers else factory.getbasetemp()
    folder, lock, done = base / name, base / f"{name}.lock", base / f"{name}.done"
    while not done.exists():
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            time.sleep(0.1)
            continue
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
        finally:
            lock.unlink()
    return folder


@pytest.fixture(scope="session")
def spheres(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny virtual experiment, for reading only."""
    from cathoscope.core.parallel import Resources
    from cathoscope.virtual.study import simulate_study

    def make(folder: Path) -> None:
        simulate_study("spheres", size="tiny", seed=20, folder=folder, resources=Resources(threads=2))

    return made_once("spheres", tmp_path_factory, make)


def scan_file(number: int) -> str:
    """Raw file of the virtual spheres at 25 C, relative to their folder."""
    return f"raw/spheres_025C/fly_scan_id_{_FIRST_SCAN_ID + number}.h5"


# The audit simulates thousands of spectra, and few tests are about it.
_NO_AUDIT = "[measurement.spheres.white_line]\naudit = false\n"


def xanes_recipe(scans: Sequence[int] = SCANS, choices: str = "", entry: str = "") -> str:
    """A recipe of some scans at 25 C; ``choices`` and ``entry`` are further lines of measurement and series."""
    files = ", ".join(f'"{scan_file(number)}"' for number in scans)
    return f"""\
[sample.spheres]

[measurement.spheres]
sample = "spheres"
technique = "xanes-tomography"
{choices}

[[measurement.spheres.series]]
temperature = "25 C"
files = [{files}]
{entry}
{_NO_AUDIT if "white_line" not in choices else ""}"""


@pytest.fixture
def write_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecipeWriter:
    """Writes a recipe into the test's own folder."""
    monkeypatch.delenv("CATHOSCOPE_DATA", raising=False)

    def write(text: str | None = None, *, name: str = "study", **options: object) -> Path:
        path = tmp_path / f"{name}.toml"
        path.write_text(xanes_recipe(**options) if text is None else text, encoding="utf-8")  # type: ignore[arg-type]
        return path

    return write


@pytest.fixture(scope="session")
def undisturbed(spheres: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Study of the recipe that `write_recipe` writes, run once from begin to end; copy it, do not change it."""
    from cathoscope.core.parallel import Resources, Silent
    from cathoscope.flow.recipe import load_recipe
    from cathoscope.flow.run import run

    def make(folder: Path) -> None:
        (folder / "study.toml").write_text(xanes_recipe(), encoding="utf-8")
        recipe = load_recipe(folder / "study.toml", data=spheres)
        run(recipe, folder / "study.zarr", resources=Resources(threads=1), progress=Silent())

    return made_once("undisturbed", tmp_path_factory, make) / "study.zarr"


@pytest.fixture(scope="session")
def result_bytes() -> Callable[[Path], dict[str, bytes]]:
    """Content of every file below ``result/`` of a study."""

    def read(study: Path) -> dict[str, bytes]:
        folder = study / "result"
        return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    return read
