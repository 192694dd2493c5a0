"""Small studies for the tests of exports: every kind of array, made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study

VOXEL = ("z", "y", "x")
TEMPERATURES = np.array([25.0, 180.0])
ENERGIES = np.array([8320.0, 8340.0, 8349.125, 8352.0, 8380.0])
SHAPE = (11, 12, 9)
PIXEL = 0.25


def voxel_coords(shape: tuple[int, int, int] = SHAPE, pixel: float = PIXEL) -> dict[str, np.ndarray]:
    return {dim: (np.arange(n) - 0.5 * (n - 1)) * pixel for dim, n in zip(VOXEL, shape, strict=True)}


def xanes_arrays(seed: int = 1, shape: tuple[int, int, int] = SHAPE) -> xr.Dataset:
    """A XANES tomography at two temperatures, with maps, mask, flags, labels, halves and a step."""
    rng = np.random.default_rng(seed)
    dims, n = ("temperature", *VOXEL), len(TEMPERATURES)
    coords = {"temperature": TEMPERATURES, "energy": ENERGIES, **voxel_coords(shape)}
    mask = rng.random((n, *shape)) < 0.4
    line = np.where(mask, 8350 + rng.standard_normal(mask.shape), np.nan).astype(np.float32)
    volume = rng.standard_normal((n, len(ENERGIES), *shape)).astype(np.float32)
    flag = np.where(mask, 0, 100).astype(np.int8)
    labels = rng.integers(0, 900, mask.shape).astype(np.int32)
    half = np.stack([line - 1, line + 1]).astype(np.float32)
    half_coords = {**coords, "half": np.array([0, 1]), "step": np.array([1])}
    return dataset(
        [
            label("attenuation", volume, ("temperature", "energy", *VOXEL), coords=coords),
            label("particle_mask", mask, dims, coords=coords),
            label("white_line_energy", line, dims, coords=coords),
            label("white_line_energy_std", np.abs(line) * 0 + 0.1, dims, coords=coords, std_source="fit covariance"),
            label("white_line_flag", flag, dims, coords=coords),
            label("grain_label", labels, dims, coords=coords),
            label("white_line_half", half, ("half", *dims), coords=half_coords),
            label("white_line_difference", line[1:] - line[:1], ("step", *VOXEL), coords=half_coords),
            label("white_line_mean", np.nanmean(line, axis=(1, 2, 3)), ("temperature",), coords=coords),
        ]
    )


def tomography_arrays(seed: int = 2, shape: tuple[int, int, int] = SHAPE) -> xr.Dataset:
    """One volume without temperature or energy, and a number."""
    volume = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return dataset(
        [
            label("attenuation", volume, VOXEL, coords=voxel_coords(shape)),
            label("rotation_axis", np.float64(4.2), ()),
        ]
    )


def coefficient_arrays(seed: int = 3, shape: tuple[int, int, int] = (8, 8, 8)) -> tuple[xr.Dataset, np.ndarray]:
    """Spectral coefficients at two temperatures, and the attenuation they stand for; one energy was not measured."""
    rng = np.random.default_rng(seed)
    n, k, e = len(TEMPERATURES), 3, len(ENERGIES)
    coords = {
        "temperature": TEMPERATURES,
        "energy": ENERGIES,
        "coefficient": np.arange(1, k + 1),
        **voxel_coords(shape),
    }
    vectors = np.stack([np.linalg.qr(rng.standard_normal((e, k)))[0].T for _ in range(n)])
    std = 0.05 + 0.1 * rng.random((n, e))
    std[1, 2] = vectors[1, :, 2] = np.nan
    vectors[0, 2] = 0.0  # a temperature with fewer coefficients
    values = rng.standard_normal((n, k, *shape)).astype(np.float32)
    values[0, 2] = 0.0
    data = dataset(
        [
            label("spectral_coefficient", values, ("temperature", "coefficient", *VOXEL), coords=coords),
            label("spectral_vector", vectors, ("temperature", "coefficient", "energy"), coords=coords),
            label("attenuation_std", std, ("temperature", "energy"), coords=coords, std_source="half-set"),
        ]
    )
    attenuation = np.full((n, e, *shape), np.nan)
    for t in range(n):
        for energy in range(e):
            if np.isfinite(std[t, energy]):
                attenuation[t, energy] = sum(values[t, i] * vectors[t, i, energy] * std[t, energy] for i in range(k))
    return data, attenuation


def every_kind(path: Path, **more: xr.Dataset) -> Study:
    """A study with maps and volumes of two temperatures, one plain volume, and spectral coefficients."""
    return study_of(path, rod=xanes_arrays(), tomo=tomography_arrays(), sums=coefficient_arrays()[0], **more)


def study_of(path: Path, **measurements: xr.Dataset) -> Study:
    """A study with these results."""
    study = Study.create(path)
    for name, data in measurements.items():
        study.write("result", name, data)
    return study
