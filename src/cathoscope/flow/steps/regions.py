"""Mean spectra of regions of a reconstructed volume, to be treated as bulk spectra."""

from __future__ import annotations

import numpy as np
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import row_slabs, run_slabs
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import Context, Step
from cathoscope.xanes.regions import Floats, Labels, shells_of_mask, sums_over_regions

# Mask, its distances in two precisions, and labels: what a voxel costs while shells are made.
_BYTES_PER_VOXEL = 24.0


def spectra_of_regions(context: Context) -> xr.Dataset:
    """Mean attenuation of every shell of the particles at every energy, one spectrum per shell and temperature."""
    volume, mask = context.data["attenuation"], context.data["particle_mask"]
    n_shells = context.section.regions.shells
    conditions = list(np.ndindex(mask.shape[:-3]))
    energy = np.asarray(volume["energy"].values, dtype=np.float64)
    spectra, names, temperatures, shells = [], [], [], []
    context.progress.start(f"{context.name}: regions", len(conditions) * energy.size, "images")
    for condition in conditions:
        labels, depth = _labels(context, mask[condition].values)
        spectra.append(_means(context, volume[condition], labels, n_shells))
        temperature = _temperature(mask, condition)
        for shell in range(n_shells):
            names.append(_name(temperature, shell, depth))
            temperatures.append(temperature)
            shells.append(shell + 1)
    context.progress.finish()
    curves = np.concatenate(spectra)
    spectrum = label("spectrum", np.arange(1, len(names) + 1), ("spectrum",))
    spectrum.attrs |= {"names": names, "labels": {"temperature": temperatures, "shell": shells}}
    coords = {"spectrum": spectrum}
    # A volume has no foil: its energies are those of the monochromator.
    shift, unknown = np.zeros(len(names)), np.full(len(names), np.nan)
    return dataset(
        [
            label("scan_energy", np.tile(energy, (len(names), 1)), ("spectrum", "point"), coords=coords),
            label("absorption", curves, ("spectrum", "point"), coords=coords),
            label("energy_shift", shift, ("spectrum",), coords=coords),
            label("energy_shift_std", unknown, ("spectrum",), coords=coords, std_source="fit covariance"),
        ]
    )


def _labels(context: Context, mask: np.ndarray) -> tuple[Labels, Floats]:
    n_shells = context.section.regions.shells
    needed = mask.size * (_BYTES_PER_VOXEL if n_shells > 1 else 2.0)
    if needed > context.resources.memory:
        raise MeasurementError(
            "shells of this volume do not fit into the memory allowed",
            where=context.name,
            expected=f"{needed / 1e9:.1f} GB",
            found=f"{context.resources.memory / 1e9:.1f} GB",
            cure=f"--memory {needed / 1e9:.1f}GB, or  regions.shells = 1",
        )
    z = context.data["attenuation"]["z"].values
    step = float(abs(z[1] - z[0])) if z.size > 1 else float(context.section.pixel_size or 1.0)
    return shells_of_mask(mask=mask, voxel_size=step, n_shells=n_shells)


def _means(context: Context, volume: xr.DataArray, labels: Labels, n_shells: int) -> Floats:
    """Mean of every shell at every energy, [shell, energy]; NaN at an energy that was set aside."""
    n_z, n_y, n_x = labels.shape
    slabs = row_slabs(n_z, bytes_per_row=24.0 * n_y * n_x, resources=context.resources)
    means = np.full((n_shells, volume.sizes["energy"]), np.nan)

    def fill(index: int) -> None:
        """Mean of every shell at one energy."""
        parts = [
            sums_over_regions(values=volume[index, rows].values, labels=labels[rows], n_regions=n_shells)
            for rows in slabs
        ]
        sums, counts = sum(part[0] for part in parts), sum(part[1] for part in parts)
        means[:, index] = np.divide(sums, counts, out=np.full(n_shells, np.nan), where=np.asarray(counts) > 0)
        context.progress.advance()

    run_slabs(fill, range(volume.sizes["energy"]), threads=context.resources.threads)
    return means


def _temperature(mask: xr.DataArray, condition: tuple[int, ...]) -> float | None:
    if "temperature" not in mask.dims:
        return None
    return float(mask["temperature"].values[condition[mask.dims.index("temperature")]])


def _name(temperature: float | None, shell: int, depth: Floats) -> str:
    where = "particles"
    if depth.size > 2:
        where = f"{depth[shell]:.2f} to {depth[shell + 1]:.2f} um below the surface"
    return where if temperature is None else f"{temperature:g} C, {where}"


STEPS = (
    Step(
        "spectra of regions",
        spectra_of_regions,
        needs=("attenuation", "particle_mask"),
        makes=("scan_energy", "absorption", "energy_shift", "energy_shift_std"),
        choices=("regions", "pixel_size"),
    ),
)
