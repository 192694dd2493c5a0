"""What an analysis of a virtual study should find, under the names, dims and units of its results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core import schema
from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.specimen import Grid, SpheresSpecimen
from cathoscope.virtual.txm import Detector, Scan

_VOXEL = ("z", "y", "x")


@dataclass(frozen=True)
class Windows:
    """Energies (eV, both ends included) below and above the edge whose mean attenuations define the edge jump."""

    below: tuple[float, float]
    above: tuple[float, float]

    def weights(self, energies: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weights w such that sum(w * attenuation) is the mean in ``above`` minus the mean in ``below``.

        Raises
        ------
        CathoscopeError
            If a window holds none of ``energies``.
        """
        above = (energies >= self.above[0]) & (energies <= self.above[1])
        below = (energies >= self.below[0]) & (energies <= self.below[1])
        if not (above.any() and below.any()):
            raise CathoscopeError(
                "a window of the edge jump holds no energy",
                expected=f"energies within {energies.min():g} to {energies.max():g} eV",
                found=str(self),
            )
        return np.asarray(above / above.sum() - below / below.sum())


def volume_truth(
    specimen: SpheresSpecimen, grid: Grid, *, energies: NDArray[np.float64], windows: Windows, with_attenuation: bool
) -> list[xr.DataArray]:
    """Maps of what the specimen is made of, averaged over each voxel.

    ``attenuation`` (only ``with_attenuation``: it is large) and ``edge_jump``, by ``windows``, count the filled part
    of each voxel. ``particle_mask`` is true where at least half a voxel is filled; ``white_line_energy`` is that of
    the material there and NaN elsewhere; ``white_line_mean`` and ``white_line_width`` are its mean and standard
    deviation over the mask.
    """
    conditions = len(specimen.temperatures)
    kept_energies = len(energies) if with_attenuation else 0
    attenuation = np.zeros((conditions, kept_energies, *grid.shape), dtype=np.float32)
    jump = np.zeros((conditions, *grid.shape), dtype=np.float32)
    white_line = np.full((conditions, *grid.shape), np.nan, dtype=np.float32)
    weights = windows.weights(energies)
    for index, (block, filled) in enumerate(specimen.fractions(grid)):
        for condition in range(conditions):
            spectrum = specimen.spheres[index].spectra[condition]
            values = spectrum.attenuation(energies)
            jump[(condition, *block)] += filled * np.float32(weights @ values)
            white_line[(condition, *block)][filled >= 0.5] = spectrum.white_line_energy()
            for energy, volume in enumerate(attenuation[condition]):
                volume[block] += filled * np.float32(values[energy])
    coords = _coordinates(specimen, grid, energies)
    per_voxel = ("temperature", *_VOXEL)
    arrays = [
        schema.label("edge_jump", jump, per_voxel, coords=coords),
        schema.label("particle_mask", np.isfinite(white_line), per_voxel, coords=coords),
        schema.label("white_line_energy", white_line, per_voxel, coords=coords),
        *_white_line_statistics(white_line, coords),
    ]
    if with_attenuation:
        arrays.append(schema.label("attenuation", attenuation, ("temperature", "energy", *_VOXEL), coords=coords))
    return arrays


def _coordinates(
    specimen: SpheresSpecimen, grid: Grid, energies: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    axes = {name: grid.positions(count) for name, count in zip(_VOXEL, grid.shape, strict=True)}
    return {"temperature": np.array(specimen.temperatures), "energy": energies, **axes}


def _white_line_statistics(
    white_line: NDArray[np.float32], coords: dict[str, NDArray[np.float64]]
) -> list[xr.DataArray]:
    """Mean and standard deviation over the voxels of each temperature, in double precision."""
    inside = [volume[np.isfinite(volume)].astype(np.float64) for volume in white_line]
    statistics = (
        ("white_line_mean", np.array([values.mean() for values in inside])),
        ("white_line_width", np.array([values.std() for values in inside])),
    )
    return [schema.label(name, values, ("temperature",), coords=coords) for name, values in statistics]


def instrument_truth(
    scans: Sequence[Sequence[Scan]],
    detector: Detector,
    *,
    temperatures: Sequence[float],
    energies: NDArray[np.float64],
) -> list[xr.DataArray]:
    """What the instrument did; ``scans`` are by temperature, then energy."""
    coords = {"temperature": np.array(temperatures), "energy": energies}
    condition = ("temperature", "energy")
    axis = np.array([[scan.rotation_axis for scan in series] for series in scans])
    bad = np.stack([detector.dead | detector.hot] * len(scans))
    arrays = [
        schema.label("rotation_axis", axis, condition, coords=coords),
        schema.label("bad_pixel_mask", bad, ("temperature", "row", "column"), coords=coords),
    ]
    for name, attribute in (("angle", "angles"), ("projection_shift", "projection_shift"), ("beam_intensity", "beam")):
        values = np.array([[getattr(scan, attribute) for scan in series] for series in scans])
        arrays.append(schema.label(name, values, (*condition, "projection"), coords=coords))
    return arrays
