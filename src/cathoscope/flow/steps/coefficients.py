"""Volumes of spectral coefficients: the energies of a temperature summed up to a few spectra before reconstruction.

Reconstruction is linear and all energies of a temperature share its geometry, so projecting the aligned sinograms
onto K spectra and reconstructing these is the same as reconstructing every energy and projecting the voxels. What is
left out lies below the noise.

Where the recipe asks for an iterative method, every coefficient is a volume of its own to it. The half-sets, and with
them the stated noise, stay those of filtered back-projection.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import SLAB_ROWS, run_slabs
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import NewArray
from cathoscope.flow.graph import Context, Step
from cathoscope.flow.raw import ScanIndex
from cathoscope.flow.steps.aligned import NEEDS, OF_SERIES, PlacedSinogram, ScanInputs, placed_sinogram, scan_inputs
from cathoscope.flow.steps.half_sets import matter_in, share_not_shared, some_in_matter, spread_of
from cathoscope.flow.steps.photon_noise import noise_over_photon_noise, noise_remarks, unseen_remarks, unseen_share_of
from cathoscope.flow.steps.projections import Floats, blocks_of, n_columns_of, n_rows_of
from cathoscope.flow.steps.reconstruction import Reconstruction, bytes_of_row, reconstruction_of, slabs_within_memory
from cathoscope.flow.steps.volumes import voxel_coords
from cathoscope.flow.steps.voxels import weights_at
from cathoscope.tomography.coefficients import SpectralBasis, accumulate, basis_from_samples
from cathoscope.xanes.line_tables import LineGrid, model_basis

_SURVEY_BLOCKS = 3  # of SLAB_ROWS rows each, around the middle of the detector
_BIN = 2  # voxels along each edge of a bin whose spectra show what rises above the noise
# Angles of two energies are the same if a voxel at the rim moves by less than this many pixels.
_SAME_ANGLE = 0.1

# Vectors of the white-line model that are kept beside what rises above the noise.
_MODEL_VECTORS = 12

# Energies summed up at once: every coefficient is then fetched from memory once for all of them.
_AT_ONCE = 8

Floats64 = NDArray[np.float64]
_VOXEL = ("z", "y", "x")


@dataclass(frozen=True)
class Survey:
    """Some rows of one scan, reconstructed: spectra of bins, their noise, and the noise of single voxels in matter.

    ``difference`` holds odd minus even projections of some voxels, nan outside matter. ``noise_ratio`` is the noise
    over the one that counted photons make, nan where it is not known. ``spread`` has the streaks of half-sets as well.
    """

    bins: NDArray[np.float32]
    difference: NDArray[np.float32]
    bin_noise: float
    spread: float
    noise: float
    noise_ratio: float
    unseen_share: float


def spectral_survey(context: Context) -> xr.Dataset:
    """Noise of every energy, and the spectra that rise above it, from some rows of every scan."""
    raw = context.raw
    rows = survey_rows(n_rows_of(raw.first))
    method = reconstruction_of(context)
    found: dict[ScanIndex, Survey] = {}
    context.progress.start(f"{context.name}: noise", len(raw.scans), "scans")

    def look(index: ScanIndex) -> None:
        """Samples and noise of one scan."""
        inputs = scan_inputs(context, index)
        if inputs is not None:
            found[index] = _survey_of(context, inputs, rows, method)
        context.progress.advance()

    run_slabs(look, sorted(raw.scans), threads=context.resources.threads)
    context.progress.finish()
    conditions = list(np.ndindex(raw.shape[:-1]))
    for condition in conditions:
        found.update(_with_own_noise(found, condition))
    bases = {condition: _basis(context, found, condition) for condition in conditions}
    return _survey_dataset(context, found, {at: basis for at, basis in bases.items() if basis is not None})


def survey_rows(n_rows: int) -> list[slice]:
    """Blocks of rows around the middle, where the particle is."""
    middle = n_rows // 2 // SLAB_ROWS * SLAB_ROWS
    start = max(middle - _SURVEY_BLOCKS // 2 * SLAB_ROWS, 0)
    return list(blocks_of(slice(start, min(start + _SURVEY_BLOCKS * SLAB_ROWS, n_rows)), SLAB_ROWS))


def _survey_of(context: Context, inputs: ScanInputs, blocks: list[slice], method: Reconstruction) -> Survey:
    full, difference, section = [], [], context.section.tomography
    for rows in blocks:
        odd, even = method.halves(inputs, placed_sinogram(inputs, rows, section))
        full.append(odd + even)
        difference.append(odd - even)
    volume, noise = np.concatenate(full), np.concatenate(difference)
    inside = matter_in(volume)
    middle, start = len(blocks) // 2, sum(block.stop - block.start for block in blocks[: len(blocks) // 2])
    seen = inside[start : start + len(full[middle])]
    plan = method.plan_of(inputs.angle.tobytes())
    return Survey(
        bins=_binned(volume).ravel(),
        difference=some_in_matter(noise, inside),
        bin_noise=spread_of(_binned(noise)),
        spread=spread_of(noise[inside]),
        noise=spread_of(noise[inside]),
        noise_ratio=noise_over_photon_noise(plan, inputs, blocks[middle], difference[middle], seen),
        unseen_share=unseen_share_of(inputs),
    )


def _binned(volume: Floats) -> Floats:
    """Means over bins of ``_BIN`` voxels along each edge; what is left over at the rims is dropped."""
    z, y, x = (size // _BIN for size in volume.shape)
    cut = volume[: z * _BIN, : y * _BIN, : x * _BIN].reshape(z, _BIN, y, _BIN, x, _BIN)
    return np.asarray(cut.mean(axis=(1, 3, 5), dtype=np.float32))


def _with_own_noise(found: dict[ScanIndex, Survey], condition: ScanIndex) -> dict[ScanIndex, Survey]:
    """Surveys of a condition whose noise leaves out what the half-sets of all its energies share.

    Noise of bins keeps it: it decides what of a spectrum is worth a coefficient, and streaks are not.
    """
    there = {index: survey for index, survey in sorted(found.items()) if index[:-1] == condition}
    share = share_not_shared([survey.difference for survey in there.values()])
    return {
        index: replace(survey, noise=survey.noise * own, noise_ratio=survey.noise_ratio * own)
        for (index, survey), own in zip(there.items(), share, strict=True)
    }


def _basis(context: Context, found: dict[ScanIndex, Survey], condition: ScanIndex) -> SpectralBasis | None:
    energy = np.asarray(context.raw.coords["energy"].values, dtype=np.float64)
    there = [e for e in range(energy.size) if (*condition, e) in found]
    if len(there) < 4:
        return None
    surveys = [found[(*condition, e)] for e in there]
    noise = np.array([survey.noise for survey in surveys])
    return basis_from_samples(
        np.stack([survey.bins for survey in surveys], axis=1),
        energy=energy[there],
        noise_std=noise,
        sample_noise=np.array([survey.bin_noise for survey in surveys]),
        always=_wanted_in_any_case(context, energy[there], noise),
        largest=context.section.tomography.coefficients,
    )


def _wanted_in_any_case(context: Context, energy: Floats64, noise: Floats64) -> Floats64:
    """Whitened spectra [energy, vector] that the fit of an edge and a white line needs, else a straight line."""
    grid = LineGrid(edge_energy=context.section.edge.edge_energy)
    try:
        return model_basis(energy=energy, noise_std=noise, n_components=min(_MODEL_VECTORS, energy.size), grid=grid)
    except MeasurementError:  # too few energies near an edge
        return np.stack([np.ones_like(energy), energy - energy.mean()], axis=1) / noise[:, None]


def _survey_dataset(
    context: Context, found: dict[ScanIndex, Survey], bases: dict[ScanIndex, SpectralBasis]
) -> xr.Dataset:
    raw = context.raw
    n_energies = raw.coords["energy"].size
    largest = max((basis.vectors.shape[1] for basis in bases.values()), default=1)
    vectors = np.full((*raw.shape[:-1], largest, n_energies), np.nan)
    rank = np.zeros(raw.shape[:-1], dtype=np.int16)
    for condition, basis in bases.items():
        measured = np.isin(raw.coords["energy"].values, basis.energy)
        vectors[condition][: basis.vectors.shape[1]] = 0.0
        vectors[condition][: basis.vectors.shape[1], measured] = basis.vectors.T
        rank[condition] = basis.rank_of_noise_floor
    std, spread, unseen = (np.full(raw.shape, np.nan) for _ in range(3))
    for index, survey in found.items():
        std[index], spread[index], unseen[index] = survey.noise, survey.spread, survey.unseen_share
    coords = raw.coords | {"coefficient": label("coefficient", np.arange(1, largest + 1), ("coefficient",))}
    conditions = raw.dims[:-1]
    noise = label("attenuation_std", std, raw.dims, coords=coords, std_source="half-set")
    share = label("unseen_share", unseen, raw.dims, coords=coords)
    noise.attrs["remarks"] = noise_remarks(np.array([survey.noise_ratio for survey in found.values()]))
    share.attrs["remarks"] = unseen_remarks(context, unseen)
    return dataset(
        [
            noise,
            label("half_set_spread", spread, raw.dims, coords=coords),
            share,
            label("spectral_vector", vectors, (*conditions, "coefficient", "energy"), coords=coords),
            label("spectral_rank", rank, conditions, coords=coords),
        ]
    )


def coefficients(context: Context) -> None:
    """Spectral coefficients of every voxel, and the difference of odd and even projections, slab by slab."""
    raw, work = context.raw, context.work
    method = reconstruction_of(context)
    _prepare(context, method)
    units = [(condition, rows) for condition in np.ndindex(raw.shape[:-1]) for rows in _slabs(context, method)]
    context.progress.start(f"{context.name}: reconstruction", len(units), "slabs")

    def one(unit: tuple[ScanIndex, slice]) -> None:
        """Coefficients of one slab, unless a killed run has made them."""
        condition, rows = unit
        key = "-".join(map(str, (*condition, rows.start, rows.stop)))
        if not work.is_done(key):
            total, difference = _reconstructed(context, condition, rows, method)
            work.store("spectral_coefficient", (*condition, slice(None), rows), total)
            work.store("half_difference", (*condition, slice(None), rows), difference)
            work.mark_done(key)
        context.progress.advance()

    run_slabs(one, units, threads=context.resources.threads)
    context.progress.finish()


def _prepare(context: Context, method: Reconstruction) -> None:
    raw = context.raw
    n_rows, n_columns = n_rows_of(raw.first), n_columns_of(raw.first)
    count = context.data.sizes["coefficient"]
    dims = (*raw.dims[:-1], "coefficient", *_VOXEL)
    shape = (*raw.shape[:-1], count, n_rows, n_columns, n_columns)
    coords = raw.coords | voxel_coords(raw) | {"coefficient": context.data["coefficient"]}
    arrays = [
        NewArray("spectral_coefficient", dims, shape, attrs=method.attributes()),
        NewArray("half_difference", dims, shape),
    ]
    context.work.prepare(arrays, coords)


def _slabs(context: Context, method: Reconstruction) -> list[slice]:
    """Slabs whose sinograms and volumes of coefficients fit the memory budget."""
    n_columns, count = n_columns_of(context.raw.first), context.data.sizes["coefficient"]
    # sums and the energies that go into them; both volumes of every coefficient, and those of the one being made
    bytes_per_row = (count + _AT_ONCE) * bytes_of_row(context) + 4.0 * (2 * count + 4) * n_columns**2
    return slabs_within_memory(context, method, bytes_per_row=bytes_per_row)


def _reconstructed(
    context: Context, condition: ScanIndex, rows: slice, method: Reconstruction
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Coefficients [coefficient, row, y, x] of a slab, and those of odd minus even projections."""
    weights, measured = weights_at(context.data, condition)
    inputs = {int(e): scan_inputs(context, (*condition, int(e))) for e in np.flatnonzero(measured)}
    scans = {e: one for e, one in inputs.items() if one is not None}
    n_columns = n_columns_of(context.raw.first)
    shape = (weights.shape[0], rows.stop - rows.start, n_columns, n_columns)
    total, difference = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    if not scans:
        total[:] = np.nan
    elif _share_angles(list(scans.values()), n_columns):
        first, axis = next(iter(scans.values())), 0.5 * (n_columns - 1)
        for k, sinogram in enumerate(_summed(context, scans, rows, weights)):
            placed = PlacedSinogram(sinogram, axis, None)
            total[k], difference[k] = _volumes_of(method, first, placed)
    else:  # every energy has its own plan: nothing can be summed up before reconstruction
        for e, one in scans.items():
            placed = placed_sinogram(one, rows, context.section.tomography)
            for sums, volume in zip((total, difference), _volumes_of(method, one, placed), strict=True):
                for k, weight in enumerate(weights[:, e]):
                    sums[k] += weight * volume
    return total, difference


def _summed(
    context: Context, scans: dict[int, ScanInputs], rows: slice, weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Aligned sinograms of all energies, summed up to those of the coefficients [coefficient, row, angle, column]."""
    n_angles, n_columns = next(iter(scans.values())).angle.size, n_columns_of(context.raw.first)
    shape = (rows.stop - rows.start, n_angles, n_columns)
    sums = np.zeros((weights.shape[0], *shape), np.float32)
    energies = list(scans)
    values = np.empty((min(_AT_ONCE, len(energies)), *shape), np.float32)
    for start in range(0, len(energies), _AT_ONCE):
        group = energies[start : start + _AT_ONCE]
        for position, e in enumerate(group):
            values[position] = placed_sinogram(scans[e], rows, context.section.tomography).values
        accumulate(sums, values[: len(group)], weights[:, group])
    return sums


def _volumes_of(method: Reconstruction, inputs: ScanInputs, placed: PlacedSinogram) -> tuple[Floats, Floats]:
    """The volume by the recipe's method, and the difference of its halves by filtered back-projection."""
    odd, even = method.halves(inputs, placed)
    difference = odd - even
    return odd + even if method.is_linear else method.volume(inputs, placed, difference), difference


def _share_angles(scans: list[ScanInputs], n_columns: int) -> bool:
    """Whether all scans were taken at the same angles and their sinograms lie on one grid."""
    first, allowed = scans[0].angle, np.rad2deg(2 * _SAME_ANGLE / n_columns)
    return all(
        one.motion is not None and one.angle.shape == first.shape and np.abs(one.angle - first).max() < allowed
        for one in scans
    )


SURVEY_STEP = Step(
    "spectral survey",
    spectral_survey,
    needs=NEEDS,
    optional=OF_SERIES,
    makes=("attenuation_std", "half_set_spread", "unseen_share", "spectral_vector", "spectral_rank"),
    choices=("tomography",),
)
STEP = Step(
    "spectral coefficients",
    coefficients,
    needs=(*NEEDS, "attenuation_std", "spectral_vector"),
    optional=OF_SERIES,
    makes=("spectral_coefficient", "half_difference"),
    choices=("tomography",),
)
