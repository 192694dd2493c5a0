"""How close the analysis of a virtual heating study comes to its truth.

python -m benchmarks.xanes STUDY.zarr: geometry of the series, registration, white line of voxels (pulls), means and
spreads, and step shifts, each beside what the virtual instrument could see.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import xarray as xr

from cathoscope.core.study import Study


def without_unobservable(values: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Jitter [projection] without constant, cosine and sine: these move the axis or the object."""
    theta = np.deg2rad(angle)
    design = np.stack([np.ones_like(theta), np.cos(theta), np.sin(theta)], axis=1)
    return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]


def rms(values: np.ndarray) -> float:
    """Root mean square of the finite values."""
    finite = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(finite**2)))


def geometry(result: xr.Dataset, truth: xr.Dataset) -> list[str]:
    """Errors of axis, drift, jitter and magnification, one line for each temperature."""
    lines = []
    pixel = float(np.mean(np.diff(result["x"].values)))
    for at in range(result.sizes["temperature"]):
        found, true = result.isel(temperature=at), truth.isel(temperature=at)
        angle = true["angle"].values
        # the cosine and sine of jitter are displacements, its mean is part of the axis, and so for rows
        axis = found["rotation_axis"].values - true["rotation_axis"].values - true["projection_shift"].values.mean(1)
        shift = (found["specimen_shift"].values - true["specimen_shift"].values) / pixel
        for e in range(len(angle)):
            theta = np.deg2rad(angle[e])
            basis = np.stack([np.ones_like(theta), np.cos(theta), np.sin(theta)], axis=1)
            moved = np.linalg.lstsq(basis, true["projection_shift"].values[e], rcond=None)[0]
            shift[e, :2] -= moved[1:]
            axis[e] += true["projection_shift"].values[e].mean() - moved[0]
            shift[e, 2] -= true["vertical_shift"].values[e].mean()
        shift -= np.nanmean(shift, axis=0)
        jitter = [
            without_unobservable(found[name].values[e] - true[name].values[e], angle[e])
            for name in ("projection_shift",)
            for e in range(len(angle))
        ]
        vertical = found["vertical_shift"].values - true["vertical_shift"].values
        vertical -= vertical.mean(axis=1, keepdims=True)
        ratio = found["magnification"].values / true["magnification"].values
        lines.append(
            f"  {float(found['temperature']):5.0f} C: axis {axis.mean():+.3f} +- {axis.std():.3f} px"
            f" | shift rms x {rms(shift[:, 0]):.3f} y {rms(shift[:, 1]):.3f} z {rms(shift[:, 2]):.3f} px"
            f" | jitter {rms(np.array(jitter)):.3f}, vertical {rms(vertical):.3f} px"
            f" | magnification {rms(ratio / ratio.mean() - 1):.1e}"
        )
    return lines


def placement(result: xr.Dataset, truth: xr.Dataset) -> list[str]:
    """Errors of the registration between temperatures."""
    if "placement_shift" not in result:
        return []
    pixel = float(np.mean(np.diff(result["x"].values)))
    shift = (result["placement_shift"] - truth["placement_shift"]).values / pixel
    turn = (result["placement_rotation"] - truth["placement_rotation"]).values
    return [
        f"  {temperature:5.0f} C: error {np.array2string(s, precision=3)} voxel, {np.array2string(t, precision=3)} deg,"
        f" scale {scale:.4f}"
        for temperature, s, t, scale in zip(
            result["temperature"].values, shift, turn, result["registration_scale"].values, strict=True
        )
    ]


def voxels(result: xr.Dataset, truth: xr.Dataset) -> list[str]:
    """Pulls of voxels, means and spreads against what the instrument could see."""
    lines = []
    for at in range(result.sizes["temperature"]):
        found, true = result.isel(temperature=at), truth.isel(temperature=at)
        # sigma of a voxel does not hold the error of the foil, which all share: it is printed apart
        foil = float(found["energy_offset"] - true["energy_offset"]) if "energy_offset" in true else 0.0
        line, seen = found["white_line_energy"].values - foil, true["white_line_energy"].values
        flag, mask = found["white_line_flag"].values, true["particle_mask"].values
        good, mixed = (flag == 0) & mask, (flag == 6) & mask
        pull = (line - seen) / found["white_line_energy_std"].values
        middle = np.nanmedian(pull[good])
        sigma = np.nanmedian(found["white_line_energy_std"].values[good])
        robust = 1.4826 * np.nanmedian(np.abs(pull[good] - middle))
        lines.append(
            f"  {float(found['temperature']):5.0f} C: pull {np.nanmean(pull[good]):+.2f},"
            f" width {np.nanstd(pull[good]):.2f} (robust {robust:.2f}); sigma {sigma:.3f} eV;"
            f" not good {100 * (1 - good.sum() / mask.sum()):.1f} %, mixed {100 * mixed.sum() / mask.sum():.1f} %"
            f" (pull {np.nanmean(pull[mixed]):+.2f}, width {np.nanstd(pull[mixed]):.2f})"
            f" | mean {float(found['white_line_mean']) - float(true['white_line_mean']):+.3f}"
            f" +- {float(found['white_line_mean_std']):.3f} eV"
            f", of it the foil {foil:+.3f} eV"
            f" | width {float(found['white_line_width']):.3f} +- {float(found['white_line_width_std']):.3f},"
            f" true {float(true['white_line_width']):.3f}"
            f" ({100 * (float(found['white_line_width']) / float(true['white_line_width']) - 1):+.1f} %)"
        )
    return lines


def steps(result: xr.Dataset, truth: xr.Dataset) -> list[str]:
    """Change of the mean from temperature to temperature."""
    found, true = np.diff(result["white_line_mean"].values), np.diff(truth["white_line_mean"].values)
    return [
        f"  step {number + 1}: {one:+.3f} eV, true {other:+.3f}, error {one - other:+.3f}"
        for number, (one, other) in enumerate(zip(found, true, strict=True))
    ]


def main() -> None:
    """Print the comparison of every measurement that has a truth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("--truth", type=Path, help="study that holds the truth, if it is another one")
    arguments = parser.parse_args()
    study, true_study = Study.open(arguments.study), Study.open(arguments.truth or arguments.study)
    for name in study.measurements("result"):
        result = study.read("result", name)
        if "specimen_shift" not in result or name not in true_study.measurements("truth"):
            continue
        truth = true_study.truth(name)
        print(name)
        for title, part in (("geometry", geometry), ("registration", placement), ("voxels", voxels), ("steps", steps)):
            print(f" {title}")
            print("\n".join(part(result, truth)))


if __name__ == "__main__":
    main()
