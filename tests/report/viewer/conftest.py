"""A small study whose every voxel is known, its server, and one browser for all tests."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study
from cathoscope.report.viewer.serve import Served, served
from cathoscope.xanes.voxel_fit import fitted_curve
from tests.report.viewer.chromium import Page, find_chromium

N = 20
STEP = 0.1  # um
ENERGY = np.linspace(8330.0, 8366.0, 37)
TEMPERATURE = np.array([25.0, 150.0])
PLACES = (np.arange(N) - (N - 1) / 2) * STEP
DIMS = ("temperature", "z", "y", "x")


def particle() -> np.ndarray:
    """A ball that does not fill the volume, [z, y, x]."""
    z, y, x = np.meshgrid(PLACES, PLACES, PLACES, indexing="ij")
    return np.asarray(z**2 + y**2 + x**2 < (0.42 * N * STEP) ** 2)


def white_lines() -> np.ndarray:
    """Rises by 0.1 eV per voxel along x and by 0.01 eV along z; 1 eV less at the second temperature."""
    first = 8350.0 + np.broadcast_to(PLACES / STEP * 0.1, (N, N, N)) + (PLACES / STEP * 0.01)[:, None, None]
    return np.where(particle(), np.stack([first, first - 1.0]), np.nan).astype(np.float32)


def spectra(line: np.ndarray) -> np.ndarray:
    """An edge and a line at every voxel of the particle, [temperature, energy, z, y, x]."""
    at = np.nan_to_num(line, nan=8350.0)[:, None]
    energy = ENERGY[:, None, None, None]
    edge = 0.5 + np.arctan((energy - at + 6.5) / 2.0) / np.pi
    shape = 0.01 + 0.06 * edge + 0.05 * np.exp(-0.5 * ((energy - at) / 2.6) ** 2)
    return np.where(particle(), shape, 0.0).astype(np.float32)


def xanes(shift: float = 0.0) -> xr.Dataset:
    """The results of a sample whose white lines are moved by ``shift`` eV."""
    coords = {"temperature": TEMPERATURE, "energy": ENERGY, "z": PLACES, "y": PLACES, "x": PLACES}
    line = white_lines() + np.float32(shift)
    flag = np.where(np.isfinite(line), 0, 100).astype(np.int8)
    flag[0, N // 2, N // 2, N // 2 + 3] = 2
    flags = label("white_line_flag", flag, DIMS, coords=coords)
    flags.attrs |= {"flag_values": [0, 2, 100], "flag_meanings": "good no_maximum outside_particle"}
    noise = np.full((2, ENERGY.size), 0.0005)
    return dataset(
        [
            label("white_line_energy", line, DIMS, coords=coords),
            label(
                "white_line_energy_std",
                np.where(np.isfinite(line), 0.05, np.nan),
                DIMS,
                coords=coords,
                std_source="counting",
            ),
            flags,
            label("particle_mask", np.stack([particle()] * 2), DIMS, coords=coords),
            label("attenuation", spectra(line), ("temperature", "energy", "z", "y", "x"), coords=coords),
            label("attenuation_std", noise, ("temperature", "energy"), coords=coords, std_source="half-set"),
            label("energy_offset", np.zeros(2), ("temperature",), coords=coords),
        ]
    )


def impedance() -> xr.Dataset:
    """A half circle."""
    turn = np.linspace(0, np.pi, 12)
    parts = [
        ("impedance_real", 100 + 50 * np.cos(turn)),
        ("impedance_imaginary", -50 * np.sin(turn)),
        ("frequency", turn + 1),
    ]
    dims, coords = ("cycle", "point"), {"cycle": np.array([2.0])}
    return dataset([label(name, values[None], dims, coords=coords) for name, values in parts])


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Two samples heated, and a cell of the first."""
    study = Study.create(tmp_path_factory.mktemp("viewer") / "balls.zarr")
    for name, shift in (("rod", 0.0), ("gravel", 0.5)):
        study.write_raw(name, {"sample": name, "technique": "xanes-tomography"})
        study.write("result", name, xanes(shift), address="a")
    study.write_raw("cell", {"sample": "rod", "technique": "impedance"})
    study.write("result", "cell", impedance(), address="b")
    return study


@contextmanager
def serving(study: Study, **options: object) -> Iterator[Served]:
    """A server of a study in a thread, for as long."""
    made = served(study, **{"host": "127.0.0.1", "port": 0, "fit": fitted_curve, **options})  # type: ignore[arg-type]
    thread = threading.Thread(target=made.run)
    thread.start()
    while not made.server.started:
        time.sleep(0.01)
    yield made
    made.server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def server(study: Study) -> Iterator[Served]:
    with serving(study) as made:
        yield made


Get = Callable[..., tuple[int, bytes, dict[str, str]]]


def get(address: str, path: str, *, method: str = "GET", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """Status, content and headers of an answer; underscores in names of headers stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(address + path, method=method, headers=named)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read(), {key.lower(): value for key, value in answer.headers.items()}
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), {key.lower(): value for key, value in error.headers.items()}


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if find_chromium() is None:
        pytest.skip("no Chromium was found: apt-get install chromium")
    try:
        made = Page(tmp_path_factory.mktemp("chromium"))
    except RuntimeError as error:
        pytest.skip(f"Chromium does not start here: {error}")
    yield made
    made.close()


@pytest.fixture
def folder_bytes() -> Callable[[Path], dict[str, bytes]]:
    """Content of every file below a folder."""

    def read(folder: Path) -> dict[str, bytes]:
        return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    return read
