"""How the noise of a voxel depends on where it is: larger behind matter, smaller in thin places.

One energy tells it for all, the one with the most noise: near the white line most photons are missing. At other
energies the map is flatter, by less than the noise of what it is used for.
"""

from __future__ import annotations

import numpy as np

from cathoscope.core.parallel import run_slabs
from cathoscope.core.study import NewArray
from cathoscope.flow.graph import Context, Step
from cathoscope.flow.raw import ScanIndex
from cathoscope.flow.steps.aligned import NEEDS, OF_SERIES, ScanInputs, placed_sinogram, scan_inputs
from cathoscope.flow.steps.coefficients import matter_in, survey_rows
from cathoscope.flow.steps.photon_noise import noise_is_of_photons, photon_noise_of_rows
from cathoscope.flow.steps.projections import n_columns_of, n_rows_of
from cathoscope.flow.steps.reconstruction import Reconstruction, reconstruction_of, slabs_within_memory
from cathoscope.flow.steps.volumes import voxel_coords
from cathoscope.tomography.reconstruct import reconstruct

_UNKNOWN = "the noise of voxels is taken as the same everywhere: counts are not known, or the phase was retrieved"


def noise_factors(context: Context) -> None:
    """Noise of every voxel over the rms noise of matter in the middle of the detector, slab by slab.

    It multiplies noise that was found in that matter, such as ``attenuation_std``. 1 where counts are not known.
    """
    raw, work = context.raw, context.work
    method = reconstruction_of(context)
    chosen = {condition: _noisiest(context, condition) for condition in np.ndindex(raw.shape[:-1])}
    unit = {condition: _rms_in_matter(context, inputs, method) for condition, inputs in chosen.items() if inputs}
    n_rows, n_columns = n_rows_of(raw.first), n_columns_of(raw.first)
    attrs = {} if unit and all(value is not None for value in unit.values()) else {"remarks": [_UNKNOWN]}
    shape = (*raw.shape[:-1], n_rows, n_columns, n_columns)
    array = NewArray("noise_factor", (*raw.dims[:-1], "z", "y", "x"), shape, attrs=attrs)
    work.prepare([array], raw.coords | voxel_coords(raw))
    slabs = slabs_within_memory(context, method, bytes_per_row=4.0 * 4 * n_columns**2)
    units = [(condition, rows) for condition in chosen for rows in slabs]
    context.progress.start(f"{context.name}: noise map", len(units), "slabs")

    def one(at: tuple[ScanIndex, slice]) -> None:
        condition, rows = at
        key = "-".join(map(str, (*condition, rows.start, rows.stop)))
        if not work.is_done(key):
            inputs, rms = chosen[condition], unit.get(condition)
            factor = np.ones((rows.stop - rows.start, n_columns, n_columns), np.float32)
            if inputs is not None and rms is not None:
                plan = method.plan_of(inputs.angle.tobytes())
                factor = photon_noise_of_rows(plan, inputs, rows).full(factor.shape) / np.float32(rms)
            work.store("noise_factor", (*condition, rows), factor)
            work.mark_done(key)
        context.progress.advance()

    run_slabs(one, units, threads=context.resources.threads)
    context.progress.finish()


def _noisiest(context: Context, condition: ScanIndex) -> ScanInputs | None:
    """The scan of a temperature with the most noise; None if none is usable."""
    std = np.asarray(context.data["attenuation_std"][condition].values, dtype=np.float64)
    for e in np.argsort(-np.nan_to_num(std), kind="stable"):
        inputs = scan_inputs(context, (*condition, int(e))) if np.isfinite(std[e]) else None
        if inputs is not None:
            return inputs
    return None


def _rms_in_matter(context: Context, inputs: ScanInputs, method: Reconstruction) -> float | None:
    """Root mean square noise in 1/um of the matter in the rows of the survey, None where counts are not known."""
    if not noise_is_of_photons(inputs):
        return None
    plan, section, volume, photons = method.plan_of(inputs.angle.tobytes()), context.section.tomography, [], []
    for rows in survey_rows(n_rows_of(inputs.scan)):
        placed = placed_sinogram(inputs, rows, section)
        volume.append(reconstruct(plan, placed.values, placed.axis, placed.shift, inputs.pixel_size))
        photons.append(photon_noise_of_rows(plan, inputs, rows).full(volume[-1].shape))
    inside = matter_in(np.concatenate(volume))
    return float(np.sqrt(np.mean(np.concatenate(photons)[inside].astype(np.float64) ** 2)))


STEP = Step(
    "noise map",
    noise_factors,
    needs=(*NEEDS, "attenuation_std"),
    optional=OF_SERIES,
    makes=("noise_factor",),
    choices=("tomography",),
)
