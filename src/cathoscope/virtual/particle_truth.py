"""What an analysis of a heated particle should find: its material, and what the instrument could see of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core import schema
from cathoscope.core.parallel import SLAB_ROWS, Progress, Silent, run_slabs
from cathoscope.core.study import AT_INSTRUMENT, NewArray, Study, Work
from cathoscope.virtual.cracks import crack_opening
from cathoscope.virtual.heated import HeatedParticle, Voxels
from cathoscope.virtual.heating import HeatingLaw
from cathoscope.virtual.microscope import FINE, View, gaussian
from cathoscope.virtual.nickel import NODES, valence_from_white_line, white_line_grid, white_line_of_weights
from cathoscope.virtual.specimen import Grid
from cathoscope.virtual.truth import Windows

_VOXEL = ("z", "y", "x")
_MATERIAL = {
    "grain_label": "int32",
    "solid_fraction": "float32",
    "crack_fraction": "float32",
    "crack_opening": "float32",
    "spinel_fraction": "float32",
    "oxygen_loss": "float32",
    "white_line_energy": "float32",
    "valence": "float32",
    "envelope_mask": "bool",
    "particle_mask": "bool",
}
_SEEN = {"edge_jump": "float32", "white_line_energy": "float32", "valence": "float32", "particle_mask": "bool"}
Maps = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Seen:
    """How the truth of a measurement is taken: the detector's grid, blur, energies, and windows of the edge jump.

    ``resolution`` is the full width at half maximum of the blur, um; with ``keep_attenuation`` the attenuation at
    every energy is kept too, which is large. ``address`` tells truths taken in different ways apart.
    """

    grid: Grid
    resolution: float
    energies: NDArray[np.float64]
    windows: Windows
    keep_attenuation: bool
    address: str = "maps"


def bytes_of_truth(seen: Seen, temperatures: int) -> int:
    """Size of the maps on disk before compression, bytes."""
    per_voxel = sum(np.dtype(kind).itemsize for kind in (*_MATERIAL.values(), *_SEEN.values()))
    per_voxel += 4 * seen.energies.size * seen.keep_attenuation
    return int(temperatures * per_voxel * np.prod(seen.grid.shape))


def write_truth(
    study: Study,
    measurement: str,
    particle: HeatedParticle,
    law: HeatingLaw,
    seen: Seen,
    *,
    threads: int = 1,
    progress: Progress | None = None,
) -> None:
    """Write maps into ``truth/MEASUREMENT`` and ``truth/at_instrument/MEASUREMENT``, slab by slab.

    The former holds the material of each voxel of the detector's grid; the latter what a perfect analysis would find
    in noise-free images: attenuation of the blurred object, its edge jump, and the white line of the spectrum as it
    was scanned. Slabs that a stopped run of the same ``seen.address`` has finished are kept.
    """
    coords = _coordinates(particle, seen)
    count = len(particle.instants)
    works = {
        group: _prepare(Work(study, group, measurement, seen.address), names, (count, *seen.grid.shape), coords)
        for group, names in (("truth", _MATERIAL), (AT_INSTRUMENT, _SEEN))
    }
    if seen.keep_attenuation:
        shape = (count, seen.energies.size, *seen.grid.shape)
        attenuation = NewArray("attenuation", ("temperature", "energy", *_VOXEL), shape)
        works[AT_INSTRUMENT].prepare([attenuation], coords)
    slabs = [(t, start) for t in range(count) for start in range(0, seen.grid.rows, SLAB_ROWS)]
    progress = progress or Silent()
    progress.start("true maps", len(slabs), "slab")

    def work(job: tuple[int, int]) -> None:
        """Truth of one slab of a temperature, unless it is there."""
        t, rows = job[0], slice(job[1], min(job[1] + SLAB_ROWS, seen.grid.rows))
        slab = f"{t}-{rows.start}"
        if all(one.is_done(slab) for one in works.values()):
            progress.advance(1)
            return
        made = _maps(particle, law, seen, t, rows)
        for group, maps in zip(("truth", AT_INSTRUMENT), made, strict=True):
            for name, values in maps.items():
                region = (t, slice(None), rows) if name == "attenuation" else (t, rows)
                works[group].store(name, region, values)
            works[group].mark_done(slab)
        progress.advance(1)

    run_slabs(work, slabs, threads=threads)
    progress.finish()
    for done in works.values():
        done.commit()
    for group, names in (("truth", _MATERIAL), (AT_INSTRUMENT, _SEEN)):
        study.write(group, measurement, schema.dataset(_summaries(study, group, measurement, seen.grid, names)))


def _prepare(work: Work, names: dict[str, str], shape: tuple[int, ...], coords: dict[str, xr.DataArray]) -> Work:
    """The work with all its maps."""
    work.prepare([NewArray(name, ("temperature", *_VOXEL), shape, kind) for name, kind in names.items()], coords)
    return work


def _coordinates(particle: HeatedParticle, seen: Seen) -> dict[str, xr.DataArray]:
    values = {name: seen.grid.positions(count) for name, count in zip(_VOXEL, seen.grid.shape, strict=True)}
    values["temperature"] = np.array([instant.temperature for instant in particle.instants])
    values["energy"] = seen.energies
    return {name: schema.label(name, array, (name,)) for name, array in values.items()}


def _maps(particle: HeatedParticle, law: HeatingLaw, seen: Seen, t: int, rows: slice) -> tuple[Maps, Maps]:
    """Material of one slab of the detector's voxels, and what the instrument sees of it.

    The fine voxels of the slab and those above and below that blur brings in are evaluated once for both.
    """
    blur = gaussian(seen.resolution, particle.grid.pixel_size)
    halo = blur.size // 2
    first, last = FINE * rows.start - halo, FINE * rows.stop + halo
    there = slice(max(first, 0), min(last, particle.grid.rows))
    voxels = particle.voxels(t, there)
    components = particle.components_of(t, voxels)
    own = slice(FINE * rows.start - there.start, FINE * rows.stop - there.start)
    material = _material_maps(particle, law, t, voxels, own)
    material |= _coarse_maps(replace(particle, grid=seen.grid), t, rows, material["solid_fraction"] > 0)
    line = _white_line(binned(components[own]), particle, t)
    material |= _state_maps(line, material["particle_mask"])
    components = np.pad(components, ((there.start - first, last - there.stop), (0, 0), (0, 0), (0, 0)))
    return material, _seen_maps(particle, seen, t, blurred_and_binned(components, blur))


def _material_maps(particle: HeatedParticle, law: HeatingLaw, t: int, voxels: Voxels, own: slice) -> Maps:
    """Means over the detector's voxels of the fine rows ``own``; of what belongs to the oxide, means over the oxide."""
    oxide = voxels.on_grid(voxels.filled.fraction)[own]
    solid = binned(oxide)
    half = voxels.fields.shape[1] // 2
    fields = voxels.on_grid((voxels.fields[:, :half] + voxels.fields[:, half:]) / 2)[own]
    spinel, later = (binned(fields[..., i] * oxide) / np.maximum(solid, 1e-6) for i in range(2))
    loss = law.mass_loss(spinel, later, particle.instants[t].temperature)
    return {
        "solid_fraction": solid,
        "crack_fraction": binned(voxels.on_grid(voxels.filled.crack)[own]),
        "spinel_fraction": spinel,
        "oxygen_loss": np.where(solid > 0, loss, 0).astype(np.float32),
        "particle_mask": solid >= 0.5,
    }


def _coarse_maps(particle: HeatedParticle, t: int, rows: slice, filled: NDArray[np.bool_]) -> Maps:
    """What is read at the middle of the detector's voxels, and not averaged; ``particle`` is on their grid."""
    voxels = particle.voxels(t, rows)
    openings = crack_opening(particle.grains, voxels.origin, particle.instants[t].narrowing_at(voxels.origin))
    inside = np.linalg.norm(voxels.origin, axis=1) < particle.grains.outer_radius(voxels.origin)
    return {
        "grain_label": np.where(filled, voxels.on_grid(voxels.filled.label, -1) + 1, 0).astype(np.int32),
        "crack_opening": voxels.on_grid(openings).astype(np.float32),
        "envelope_mask": voxels.on_grid(inside),
    }


def _seen_maps(particle: HeatedParticle, seen: Seen, t: int, components: NDArray[np.float32]) -> Maps:
    """What can be seen of ``components`` (z, y, x, component), blurred and on the detector's grid."""
    spectra = particle.weights(t, seen.energies)
    of_jump = (seen.windows.weights(seen.energies) @ spectra).astype(np.float32)
    jump = components @ of_jump
    # A voxel full of oxide has equal weights at begin and end, hence the sum over both of the mean node.
    full = particle.jump * particle.instants[t].density * float(of_jump.sum()) / NODES
    mask = jump >= full / 2
    maps: Maps = {"edge_jump": jump, "particle_mask": mask}
    maps |= _state_maps(_white_line(components, particle, t), mask)
    if seen.keep_attenuation:
        maps["attenuation"] = np.moveaxis(components @ spectra.astype(np.float32).T, -1, 0)
    return maps


def _state_maps(white_line: NDArray[np.float32], mask: NDArray[Any]) -> Maps:
    """White line and valence within ``mask``, NaN elsewhere."""
    line = np.where(mask, white_line, np.float32(np.nan))
    return {"white_line_energy": line, "valence": valence_from_white_line(line).astype(np.float32)}


def _white_line(components: NDArray[np.float32], particle: HeatedParticle, t: int) -> NDArray[np.float32]:
    """Energy (eV) of the largest attenuation of every voxel, as it was scanned; NaN without oxide."""
    energies = white_line_grid()
    found = white_line_of_weights(components, basis=particle.weights(t, energies), energies=energies)
    return np.asarray(found, dtype=np.float32)


def binned(fine: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means over the fine voxels of each voxel of the detector's grid; the first three axes are z, y, x."""
    z, y, x, *rest = fine.shape
    return np.asarray(fine.reshape(z // FINE, FINE, y // FINE, FINE, x // FINE, FINE, *rest).mean(axis=(1, 3, 5)))


def blurred_and_binned(fine: NDArray[np.float32], blur: NDArray[np.float64]) -> NDArray[np.float32]:
    """Means over the fine voxels of each voxel of the detector's grid, after a blur along z, y and x.

    ``fine`` (z, y, x, ...) must have half the length of ``blur`` more rows at both ends than are returned.
    """
    kernel, halo = np.convolve(blur, np.full(FINE, 1 / FINE)).astype(np.float32), blur.size // 2
    for axis in range(3):
        if axis > 0 and halo:
            fine = np.pad(fine, [(halo, halo) if axis == other else (0, 0) for other in range(fine.ndim)])
        count = fine.shape[axis] - 2 * halo
        parts = (fine[(slice(None),) * axis + (slice(k, k + count, FINE),)] for k in range(kernel.size))
        total = kernel[0] * next(parts)
        for weight, part in zip(kernel[1:], parts, strict=True):
            total += weight * part
        fine = total
    return fine


def _summaries(study: Study, group: str, measurement: str, grid: Grid, names: Iterable[str]) -> list[xr.DataArray]:
    """Means, widths and volumes of the maps of one group, per temperature."""
    data = study.read(group, measurement)
    coords = {"temperature": data["temperature"].values}
    white_line = [data["white_line_energy"][t].values for t in range(data.sizes["temperature"])]
    inside = [values[np.isfinite(values)].astype(np.float64) for values in white_line]
    numbers = {
        "white_line_mean": [values.mean() for values in inside],
        "white_line_width": [values.std() for values in inside],
    }
    if "solid_fraction" in names:
        envelopes = [data["envelope_mask"][t].values for t in range(len(inside))]
        solids = [float(data["solid_fraction"][t].values.sum(dtype=np.float64)) for t in range(len(inside))]
        counts = [int(envelope.sum()) for envelope in envelopes]
        numbers["envelope_volume"] = [count * grid.pixel_size**3 for count in counts]
        numbers["porosity"] = [1 - solid / count for solid, count in zip(solids, counts, strict=True)]
    return [schema.label(name, np.array(values), ("temperature",), coords=coords) for name, values in numbers.items()]


def instrument_arrays(
    particle: HeatedParticle, views: Sequence[Sequence[View]], bad_pixels: NDArray[np.bool_], energies: Sequence[float]
) -> list[xr.DataArray]:
    """What the instrument and the furnace did; ``views`` are by temperature, then energy.

    Energies are the recorded ones, under which the results are filed.
    """
    coords = {
        "temperature": np.array([instant.temperature for instant in particle.instants]),
        "energy": np.array(energies),
        "axis": np.arange(3),
    }
    condition = ("temperature", "energy")

    def of_views(read: Callable[[View], Any]) -> NDArray[Any]:
        """A property of every view, [temperature, energy]."""
        return np.array([[read(view) for view in series] for series in views])

    placements = [instant.placement for instant in particle.instants]
    offset = of_views(lambda view: view.energy - view.recorded_energy).mean(axis=1)
    arrays: list[tuple[str, Any, tuple[str, ...]]] = [
        ("rotation_axis", of_views(lambda view: view.scan.rotation_axis), condition),
        ("magnification", of_views(lambda view: view.magnification), condition),
        ("specimen_shift", of_views(lambda view: view.displacement), (*condition, "axis")),
        ("angle", of_views(lambda view: view.scan.angles), (*condition, "projection")),
        ("projection_shift", of_views(lambda view: view.scan.projection_shift), (*condition, "projection")),
        ("vertical_shift", of_views(lambda view: view.scan.row_shift), (*condition, "projection")),
        ("beam_intensity", of_views(lambda view: view.scan.beam), (*condition, "projection")),
        ("bad_pixel_mask", np.stack([bad_pixels] * len(views)), ("temperature", "row", "column")),
        ("energy_offset", offset, ("temperature",)),
        ("placement_shift", np.array([placement.shift for placement in placements]), ("temperature", "axis")),
        ("placement_rotation", np.array([placement.rotation for placement in placements]), ("temperature", "axis")),
    ]
    grains = {"grain": np.arange(1, particle.grains.count + 1), "axis": np.arange(3)}
    return [
        *(schema.label(name, values, dims, coords=coords) for name, values, dims in arrays),
        schema.label("grain_c_axis", particle.grains.c_axis, ("grain", "axis"), coords=grains),
        schema.label("grain_in_plane_axis", particle.grains.in_plane, ("grain", "axis"), coords=grains),
    ]
