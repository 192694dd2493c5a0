"""Small studies made by hand: three spheres at two temperatures, a tomography, a scanned image stack."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study
from cathoscope.report.figures import PANELS, panels_without_layout
from cathoscope.report.style import Panel, journal_style

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
    spectra = np.stack([volume[t][:, mask[t]].mean(axis=1) for t in range(2)])
    spectrum = label("particle_spectrum", spectra, ("temperature", "energy"), coords=coords)
    spectrum.attrs["voxels"] = mask.sum(axis=(1, 2, 3)).tolist()
    return dataset(
        [
            *geometry_arrays(rng, {**condition, "energy": energies}, 60),
            label("attenuation", volume.astype(np.float32), ("temperature", "energy", *VOXEL), coords=coords),
            label("edge_jump", jump.astype(np.float32), dims, coords=coords),
            label("particle_mask", mask, dims, coords=coords),
            spectrum,
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


EDGES = ("half_height_edge", "derivative_edge", "integral_edge", "white_line_energy")


def bulk_result(n: int, seed: int = 4, n_points: int = 120, foil: bool = True) -> xr.Dataset:
    """``n`` edges, each 0.4 eV above the one before; the last has no white line, and the energies are padded."""
    rng = np.random.default_rng(seed)
    spectrum = label("spectrum", np.arange(1, n + 1), ("spectrum",))
    spectrum.attrs |= {"names": [f"charge <{i}>" for i in range(n)], "labels": {"voltage": [None, *np.arange(1.0, n)]}}
    coords = {"spectrum": spectrum}
    half = 8340.0 + 0.4 * np.arange(n)
    energy = np.tile(np.linspace(8240.0, 8500.0, n_points), (n, 1))
    curve = 1 / (1 + np.exp(-(energy - half[:, None]))) + 0.3 * np.exp(-(((energy - half[:, None] - 8) / 4) ** 2))
    energy[:, -3:] = curve[:, -3:] = np.nan
    values = dict(zip(EDGES, (half, half + 1.5, half + 0.7, half + 8), strict=True))
    values["white_line_energy"] = np.where(np.arange(n) == n - 1, np.nan, values["white_line_energy"])
    points = ("spectrum", "point")
    arrays = [
        label("scan_energy", energy, points, coords=coords),
        label("absorption", 3 * curve, points, coords=coords),
    ]
    arrays.append(label("normalised_absorption", curve, points, coords=coords))
    arrays[-1].attrs["remarks"] = [f"charge <{n - 1}>: white line: no edge"]
    values |= {"edge_step": np.full(n, 3.0), "energy_shift": np.full(n, 1.25 if foil else 0.0)}
    for name, value in values.items():
        std = np.where(np.isfinite(value), 0.02 + 0.01 * rng.random(n), np.nan)
        std = np.full(n, np.nan) if name == "energy_shift" and not foil else std
        arrays.append(label(name, value, ("spectrum",), coords=coords))
        arrays.append(label(f"{name}_std", std, ("spectrum",), coords=coords, std_source="fit covariance"))
    return dataset(arrays)


def with_valence(data: xr.Dataset) -> xr.Dataset:
    """Valence from the integral edge by the line through the first three spectra, 2, 3 and 4."""
    coords = {"spectrum": data["spectrum"]}
    edge = data["integral_edge"].values
    value = 2.0 + (edge - edge[0]) / 0.4
    array = label("valence", value, ("spectrum",), coords=coords)
    array.attrs |= {
        "remarks": ["integral edge: a remark on the line"],
        "edge": "integral_edge",
        "intercept": float(edge[0] - 0.8),
        "slope": 0.4,
        "slope_std": 0.02,
        "covariance": [[0.004, -0.001], [-0.001, 0.0004]],
        "scatter": 0.0,
        "standards": [1, 2, 3],
        "standard_valences": [2.0, 3.0, 4.0],
        "lower": (value - 0.3).tolist(),
        "upper": np.where(np.arange(value.size) == 1, np.inf, value + 0.4).tolist(),
        "extrapolated": (value > 4.0).tolist(),
        "left_out_error": [0.1, -0.2, 0.15],
    }
    std = label("valence_std", np.full(value.size, 0.15), ("spectrum",), coords=coords, std_source="fit covariance")
    return data.merge(dataset([array, std]))


def with_groups(data: xr.Dataset, against: dict[str, str] | None = None) -> xr.Dataset:
    """Every two spectra are a group of one composition and voltage; the first of a composition is its reference."""
    n = data.sizes["spectrum"] // 2
    labels = {
        "composition": [f"NMC{i // 2}" for i in range(n)],
        "voltage": ["4.3" if i % 2 else "N/A" for i in range(n)],
    }
    data = data.copy()
    data["spectrum"].attrs["labels"] = {
        "composition": np.repeat(labels["composition"], 2).tolist(),
        "voltage": [4.3 if i // 2 % 2 else "N/A" for i in range(2 * n)],
    }
    group = label("group", np.arange(1, n + 1), ("group",))
    names = [" ".join(key) for key in zip(*labels.values(), strict=True)]
    group.attrs |= {"names": names, "labels": labels, "count": [2] * n, "scatter": 0.3}
    mean = data["half_height_edge"].values.reshape(n, 2).mean(axis=1)
    nothing = np.full(n, np.nan)
    rises = (mean - np.repeat(mean[::2], 2), np.where(np.arange(n) % 2, 0.3, 0.0)) if against else (nothing, nothing)
    values = {"group_edge": (mean, np.full(n, 0.3 / np.sqrt(2))), "group_edge_rise": rises}
    arrays = []
    for name, (value, std) in values.items():
        arrays.append(label(name, value, ("group",), coords={"group": group}))
        arrays.append(label(f"{name}_std", std, ("group",), coords={"group": group}, std_source="scatter"))
    arrays[0].attrs["edge"] = "half_height_edge"
    arrays[2].attrs["against"] = against or {}
    return data.merge(dataset(arrays))


def with_combination(data: xr.Dataset, stored_fit: bool = True) -> xr.Dataset:
    """Two components in every spectrum; the fit leaves 0.01 everywhere."""
    n = data.sizes["spectrum"]
    component = label("component", np.array([1, 2]), ("component",))
    component.attrs["names"] = ["NiO", "LiNiO2 & <more>"]
    coords = {"spectrum": data["spectrum"], "component": component}
    dims = ("spectrum", "component")
    weight = np.stack([np.linspace(0.9, 0.1, n), np.linspace(0.1, 0.9, n)], axis=1)
    std = np.full((n, 2), 0.03)
    curve = data["normalised_absorption"].values
    found = dataset(
        [
            label("component_fraction", weight, dims, coords=coords),
            label("component_fraction_std", std, dims, coords=coords, std_source="fit covariance"),
            label("r_factor", np.linspace(1e-4, 1e-3, n), ("spectrum",), coords=coords),
        ]
    )
    if stored_fit:
        found["combination_fit"] = (("spectrum", "point"), curve - 0.01, {"of": "normalised_absorption"})
        found["component_curve"] = (("spectrum", "component", "point"), weight[:, :, None] * (curve - 0.01)[:, None])
    return data.merge(found)


def imaging_result(n: int = 48, pixel: float = 0.25) -> xr.Dataset:
    """Two energies, three particles, one of them without a mean jump and one cut by the border."""
    where = (np.arange(n) - (n - 1) / 2) * pixel
    y, x = np.meshgrid(where, where, indexing="ij")
    centres, radii = ((1.0, -1.5), (-2.5, 2.5), (-6.0, -3.0)), (2.0, 1.4, 1.0)
    labels = np.zeros((n, n), np.int32)
    for number, ((centre_y, centre_x), radius) in enumerate(zip(centres, radii, strict=True), start=1):
        labels[(y - centre_y) ** 2 + (x - centre_x) ** 2 < radius**2] = number
    jump = np.where(labels > 0, 0.5, 0.0)
    jump[0, 0] = np.nan
    depth = np.stack([np.full((n, n), 1.0), 1.0 + jump])
    number = label("particle", np.array([1, 2, 3]), ("particle",))
    coords = {"energy": np.array([8324.0, 8354.0]), "y": where, "x": where, "particle": number}
    area = np.array([np.count_nonzero(labels == each) * pixel**2 for each in (1, 2, 3)])
    columns = {
        "particle_area": area,
        "particle_diameter": np.sqrt(4 * area / np.pi),
        "particle_y": np.array([centre[0] for centre in centres]),
        "particle_x": np.array([centre[1] for centre in centres]),
        "particle_jump": np.array([0.5, np.nan, 0.25]),
    }
    image = ("y", "x")
    jumps = label("optical_depth_jump", jump.astype(np.float32), image, coords=coords)
    jumps.attrs |= {
        "definition": "mean of 8354.00 eV minus mean of 8324.00 eV",
        "element": "Ni",
        "remarks": ["-0.078 to +0.228 optical depth of the empty field taken from the edge jump"],
    }
    noise = np.full((n, n), 0.03, np.float32)
    return dataset(
        [
            label("optical_depth", depth.astype(np.float32), ("energy", *image), coords=coords),
            jumps,
            label("optical_depth_jump_std", noise, image, coords=coords, std_source="counting"),
            label("particle_mask", labels > 0, image, coords=coords),
            label("particle_label", labels, image, coords=coords),
            *(label(name, values, ("particle",), coords=coords) for name, values in columns.items()),
            label(
                "particle_jump_std", np.array([0.01, np.nan, 0.02]), ("particle",), coords=coords, std_source="scatter"
            ),
            label("particle_at_border", np.array([False, False, True]), ("particle",), coords=coords),
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


@pytest.fixture(scope="session")
def result_of() -> Callable[[str], xr.Dataset]:
    makers = {
        "tomography": lambda: tomography_result(n=24),
        "xanes-tomography": lambda: xanes_result(n=16),
        "spectromicroscopy": lambda: stack_result(n=16),
        "xas": lambda: with_combination(with_valence(bulk_result(4))),
        "xas, one": lambda: bulk_result(1),
        "xas, many": lambda: with_combination(with_valence(bulk_result(24))),
        "xas, no foil": lambda: bulk_result(3, foil=False),
        "xas, no fit": lambda: with_combination(bulk_result(1), stored_fit=False),
        "xas, groups": lambda: with_groups(bulk_result(8), {"voltage": "N/A"}),
        "xas, groups without reference": lambda: with_groups(bulk_result(8)),
        "xanes-imaging": imaging_result,
    }
    return lambda technique: makers[technique]()


@pytest.fixture(scope="session")
def comparison() -> tuple[dict[str, object], ...]:
    return COMPARISON


@pytest.fixture
def stack() -> xr.Dataset:
    return stack_result()


@pytest.fixture(autouse=True, scope="session")
def _small_renderings() -> Iterator[None]:
    """Cut-away views of forty pixels: what is tested here does not depend on their number."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cathoscope.report.figures.states._PIXELS", 40)
        yield


@pytest.fixture(scope="module")
def drawn(result_of: Callable[[str], xr.Dataset]) -> Callable[[str], list[Panel]]:
    """Figures of a technique's whole result, before they are laid out; for reading only, as tests share them."""
    return functools.cache(lambda technique: panels_without_layout(result_of(technique)))


@contextmanager
def arrays_looked_up(data: xr.Dataset) -> Iterator[set[str]]:
    """Names of the arrays that are asked of any dataset meanwhile: all where one asks for their list."""
    names: set[str] = set()
    every = {str(name) for name in data.data_vars}
    # Sizes are those of the whole result without any array but the only one along a dimension.
    alone = {name for name in every if data.drop_vars(name).sizes != data.sizes}

    def watch(method: Callable[..., Any], seen: set[str] | None = None) -> Callable[..., Any]:
        def watched(self: xr.Dataset, *keys: Any) -> Any:
            wanted = [keys[0]] if seen is None and isinstance(keys[0], str) else keys[0] if seen is None else seen
            names.update(map(str, wanted))
            return method(self, *keys)

        return watched

    with pytest.MonkeyPatch.context() as patch:
        for name in ("__getitem__", "__contains__", "__getattr__"):
            patch.setattr(xr.Dataset, name, watch(getattr(xr.Dataset, name)))
        for name in ("__iter__", "__len__", "keys", "values", "items"):
            patch.setattr(xr.Dataset, name, watch(getattr(xr.Dataset, name), every))
        for name, seen in (("data_vars", every), ("sizes", alone), ("dims", alone)):
            patch.setattr(xr.Dataset, name, property(watch(getattr(xr.Dataset, name).fget, seen)))
        yield names


@pytest.fixture(scope="session")
def captions_without_an_array() -> Callable[[xr.Dataset], Iterator[tuple[str, str]]]:
    """Captions of a result's figures, whole and in the absence of each array, with its name.

    A figure that never asks for an array is the same without it, and is not made again.
    """

    def captions(data: xr.Dataset) -> Iterator[tuple[str, str]]:
        for make in PANELS:
            with journal_style(), arrays_looked_up(data) as names:
                panels = {"": make(data)}
            with journal_style():
                wanted = sorted(names & {str(name) for name in data.data_vars})
                panels |= {name: make(data.drop_vars(name)) for name in wanted}
            yield from ((name, panel.caption) for name, panel in panels.items() if panel is not None)

    return captions
