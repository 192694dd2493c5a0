"""Small studies made by hand: three spheres at two temperatures, a tomography, a scanned image stack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study

VOXEL = ("z", "y", "x")
SPHERES = ((-0.35, -0.2, 0.0, 0.38, 8347.6), (0.4, -0.25, 0.1, 0.34, 8349.0), (0.05, 0.45, -0.05, 0.3, 8350.4))
TEMPERATURES = np.array([25.0, 180.0])
FLAGS = {"flag_values": [0, 1, 2, 3, 100], "flag_meanings": "good no_edge no_maximum no_convergence outside_particle"}


AXIS_METHODS = {"flag_values": [0, 1, -1], "flag_meanings": "centre_of_mass mirrored_projections none"}


def _grid(n: int, pixel: float) -> dict[str, np.ndarray]:
    where = (np.arange(n) - (n - 1) / 2) * pixel
    return {"z": where, "y": where, "x": where}


def geometry_arrays(
    rng: np.random.Generator, conditions: dict[str, np.ndarray], n_projections: int
) -> list[xr.DataArray]:
    """Rotation axis, jitter and beam of every scan."""
    dims, shape = tuple(conditions), tuple(len(values) for values in conditions.values())
    axis = 31.4 + 0.05 * rng.standard_normal(shape)
    method = np.zeros(shape, np.int8)
    method.flat[:1] = 1
    per_projection = (*dims, "projection")
    drift = 1 + 0.02 * np.sin(np.linspace(0, 6, n_projections)) + 0.002 * rng.standard_normal((*shape, n_projections))
    return [
        label("rotation_axis", axis, dims, coords=conditions),
        label("rotation_axis_std", np.full(shape, 0.04), dims, coords=conditions, std_source="fit covariance"),
        label("rotation_axis_check", axis + 0.1 * rng.standard_normal(shape), dims, coords=conditions),
        label("rotation_axis_method", method, dims, coords=conditions).assign_attrs(AXIS_METHODS),
        label(
            "projection_shift", 0.3 * rng.standard_normal((*shape, n_projections)), per_projection, coords=conditions
        ),
        label("beam_intensity", drift, per_projection, coords=conditions),
    ]


def tomography_result(seed: int = 1, n: int = 48) -> xr.Dataset:
    """A hollow ball, one scan."""
    rng = np.random.default_rng(seed)
    coords = _grid(n, 0.2)
    z, y, x = np.meshgrid(*coords.values(), indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2) / (0.1 * n)
    volume = np.where(radius < 0.8, 0.9, 0.0) * np.where(radius < 0.3, 0.2, 1.0) + 0.03 * rng.standard_normal(x.shape)
    mask = rng.random((n, n)) > 0.99
    return dataset(
        [
            *geometry_arrays(rng, {}, 120),
            label("bad_pixel_mask", mask, ("row", "column")),
            label("stripe_offset", np.where(rng.random((n, n)) > 0.97, 0.03, 0.0), ("row", "column")),
            label("attenuation", volume.astype(np.float32), VOXEL, coords=coords),
            label("attenuation_std", np.float32(0.03), (), std_source="half-set"),
        ]
    )


def sphere_truth(n: int, shift: float = -0.8) -> tuple[np.ndarray, np.ndarray]:
    """White-line energy [temperature, z, y, x], NaN outside, and its mask; heating lowers it by ``-shift``."""
    where = np.linspace(-1, 1, n)
    z, y, x = np.meshgrid(where, where, where, indexing="ij")
    energy = np.full((2, n, n, n), np.nan)
    for centre_x, centre_y, centre_z, radius, line in SPHERES:
        inside = (x - centre_x) ** 2 + (y - centre_y) ** 2 + (z - centre_z) ** 2 < radius**2
        energy[0, inside], energy[1, inside] = line, line + shift
    return energy, np.isfinite(energy)


def xanes_result(seed: int = 2, n: int = 32, sigma: float = 0.12) -> xr.Dataset:
    """Three spheres of different white lines at two temperatures."""
    rng = np.random.default_rng(seed)
    truth, mask = sphere_truth(n)
    energies = np.linspace(8310.0, 8380.0, 15)
    coords = {"temperature": TEMPERATURES, "energy": energies, **_grid(n, 0.25)}
    std = np.where(mask, sigma * (1 + 0.5 * rng.random(mask.shape)), np.nan)
    found = truth + std * rng.standard_normal(mask.shape)
    flag = np.where(mask, np.where(rng.random(mask.shape) < 0.03, 1 + rng.integers(0, 3, mask.shape), 0), 100)
    line = np.where(mask, truth, 8349.0)[:, None]
    at = energies[None, :, None, None, None]
    shape = 1 / (1 + np.exp(-(at - line + 6) / 2)) + 0.8 * np.exp(-(((at - line) / 3) ** 2))
    volume = np.where(mask[:, None], 0.2 + 0.6 * shape, 0.0) + 0.02 * rng.standard_normal(
        (2, len(energies), *mask.shape[1:])
    )
    dims, condition = ("temperature", *VOXEL), {"temperature": TEMPERATURES}
    good = np.where(flag == 0, found, np.nan)
    means = np.nanmean(good, axis=(1, 2, 3))
    flags = label("white_line_flag", flag.astype(np.int8), dims, coords=coords)
    flags.attrs |= FLAGS
    jump = np.where(mask, 0.6, 0.0) + 0.03 * rng.standard_normal(mask.shape)
    return dataset(
        [
            *geometry_arrays(rng, {**condition, "energy": energies}, 60),
            label("attenuation", volume.astype(np.float32), ("temperature", "energy", *VOXEL), coords=coords),
            label("edge_jump", jump.astype(np.float32), dims, coords=coords),
            label("particle_mask", mask, dims, coords=coords),
            label("white_line_energy", found.astype(np.float32), dims, coords=coords),
            label("white_line_energy_std", std.astype(np.float32), dims, coords=coords, std_source="fit covariance"),
            flags,
            label("white_line_mean", means, ("temperature",), coords=condition),
            label(
                "white_line_mean_std", [0.012, 0.034], ("temperature",), coords=condition, std_source="fit covariance"
            ),
            label("white_line_width", np.nanstd(good, axis=(1, 2, 3)), ("temperature",), coords=condition),
            label(
                "white_line_width_std", [0.02, 0.03], ("temperature",), coords=condition, std_source="fit covariance"
            ),
        ]
    )


def xanes_truth(n: int = 32) -> xr.Dataset:
    """The truth of `xanes_result`."""
    energy, mask = sphere_truth(n)
    dims = ("temperature", *VOXEL)
    coords = {"temperature": TEMPERATURES, **_grid(n, 0.25)}
    return dataset(
        [label("white_line_energy", energy, dims, coords=coords), label("particle_mask", mask, dims, coords=coords)]
    )


def stack_result(seed: int = 3, n: int = 40) -> xr.Dataset:
    """Two components in an image, with names."""
    rng = np.random.default_rng(seed)
    energies = np.linspace(700.0, 730.0, 31)
    component = xr.DataArray([1, 2], dims="component", attrs={"names": ["Fe(II)", "Fe(III) & <oxide>"]})
    spectra = np.stack([0.1 + np.exp(-(((energies - centre) / 2) ** 2)) for centre in (708.0, 710.5)])
    where = np.linspace(-1, 1, n)
    y, x = np.meshgrid(where, where, indexing="ij")
    weight = np.stack([np.exp(-((x + 0.4) ** 2 + y**2) * 4), 0.7 * np.exp(-((x - 0.4) ** 2 + (y - 0.2) ** 2) * 6)])
    depth = np.einsum("ce,cyx->eyx", spectra, weight) + 0.02 * rng.standard_normal((len(energies), n, n))
    coords = {
        "energy": energies,
        "y": where * 2,
        "x": where * 2,
        "component": component,
    }
    image = ("component", "y", "x")
    value = np.r_[60.0, 22.0, np.full(29, 1.0)]
    return dataset(
        [
            label("optical_depth", depth.astype(np.float32), ("energy", "y", "x"), coords=coords),
            label("singular_value", value, ("rank",)),
            label("noise_floor", np.full(31, 1.5), ("rank",)),
            label("component_spectrum", spectra, ("component", "energy"), coords=coords),
            label("component_weight", weight.astype(np.float32), image, coords=coords),
            label(
                "component_weight_std",
                np.full(weight.shape, 0.01, np.float32),
                image,
                coords=coords,
                std_source="fit covariance",
            ),
            label("mixture_residual", 0.02 + 0.002 * rng.random((n, n)), ("y", "x"), coords=coords),
        ]
    )


def raw_record(technique: str, **more: object) -> dict[str, object]:
    """What the study remembers of a measurement's files."""
    return {
        "sample": "NMC-811 <charged>",
        "technique": technique,
        "note": "first heating, <script>alert(1)</script>",
        "format": ["FXI NSLS-II 18-ID"],
        "shape": {"projection": 60, "row": 32, "column": 64},
        "scans": {"temperature": [25.0, 180.0]},
        "files": [{"path": "a.h5", "size": 1_400_000_000, "modified_ns": 1, "sampled_hash": "ab"}],
        "set_aside": [],
        "remarks": [],
        **more,
    }


def log_record() -> dict[str, object]:
    """One run with one failed measurement."""
    names = ("heating", "ball", "toner")
    done = [
        {
            "name": name,
            "computed": ["attenuation"],
            "cached": ["rotation axis"],
            "set_aside": [],
            "missing": [],
            "seconds": {"attenuation": 12.5},
            "failure": None,
        }
        for name in names
    ]
    lost = {
        **done[0],
        "name": "broken",
        "computed": [],
        "cached": [],
        "seconds": {},
        "failure": "scan_7.h5: the file is cut short\n  expected:  a whole file\n  cure:  copy it again",
    }
    return {
        "when": "2026-11-20T12:00:00+00:00",
        "seconds": 42.1,
        "cathoscope": "0.1.0",
        "python": "3.11.2",
        "packages": {"numpy": "2.4.6", "scipy": "1.17"},
        "machine": "Linux x86_64",
        "threads": 2,
        "memory_bytes": 4_000_000_000,
        "recipe": '[study]\ntitle = "<script>alert(2)</script>"\n',
        "measurements": [*done, lost],
    }


COMPARISON = (
    {
        "measurement": "heating",
        "array": "white_line_energy",
        "unit": "eV",
        "n": 9000,
        "bias": -0.0123,
        "rmse": 0.151,
        "pull_mean": 0.01,
        "pull_width": 1.02,
        "note": "3.0 % without a trusted value",
    },
    {
        "measurement": "heating",
        "array": "particle_mask",
        "unit": "1",
        "n": 65536,
        "bias": 0.0,
        "rmse": 0.0,
        "pull_mean": None,
        "pull_width": None,
        "note": "Dice overlap 1.000",
    },
)


def fill_study(path: Path) -> Study:
    """The whole study: three techniques, truth for one, one failure."""
    study = Study.create(path)
    study.write_raw("heating", raw_record("xanes-tomography", set_aside=[["scan_3.h5", "all flats are zero"]]))
    study.write_raw("ball", raw_record("tomography", remarks=["angles were given in radians"]))
    study.write_raw("toner", raw_record("spectromicroscopy"))
    study.write("result", "heating", xanes_result(), address="a1")
    study.write("truth", "heating", xanes_truth())
    study.write("result", "ball", tomography_result(), address="b2")
    study.write("result", "toner", stack_result(), address="c3")
    study.append_log(log_record())
    return study


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return fill_study(tmp_path_factory.mktemp("study") / "spheres.zarr")


@pytest.fixture
def result_of() -> Callable[[str], xr.Dataset]:
    makers = {
        "tomography": lambda: tomography_result(n=24),
        "xanes-tomography": lambda: xanes_result(n=16),
        "spectromicroscopy": lambda: stack_result(n=16),
    }
    return lambda technique: makers[technique]()


@pytest.fixture(scope="session")
def comparison() -> tuple[dict[str, object], ...]:
    return COMPARISON


@pytest.fixture
def stack() -> xr.Dataset:
    return stack_result()
