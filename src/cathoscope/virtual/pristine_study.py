"""Nano-CT of particles before or after cycling: one energy, room temperature, composition that varies with radius."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from cathoscope.core import schema
from cathoscope.core.parallel import SLAB_ROWS, Progress, Resources, Silent, run_slabs
from cathoscope.core.study import AT_INSTRUMENT, NewArray, Study, Work
from cathoscope.physics.xray import (
    NICKEL_K_EDGE,
    attenuation_ratio_from_energy,
    nickel_edge_attenuation_from_formula,
)
from cathoscope.virtual.cracks import Solid, crack_opening, solid
from cathoscope.virtual.cycling import CycledParticle, cycle_particle
from cathoscope.virtual.data_exchange import DataExchangeLayout, ExchangeHeader
from cathoscope.virtual.grains import Grains
from cathoscope.virtual.microscope import FINE, Series, gaussian
from cathoscope.virtual.near import near_voxels
from cathoscope.virtual.particle_study import (
    Plan,
    draw_recordings,
    oxide_formula,
    require_resolution,
    require_within,
    with_particle,
)
from cathoscope.virtual.particle_truth import binned, blurred_and_binned
from cathoscope.virtual.recipe_outline import Simulated
from cathoscope.virtual.recording import Recording, announce, record
from cathoscope.virtual.specimen import Grid

ENERGY = 8400.0  # eV; above the Ni K edge, where these oxides stand out most
DENSITY = 4.7  # g/cm³
_RADII = np.linspace(0, 1.2, 241)
_VOXEL = ("z", "y", "x")
_MAPS = {
    "grain_label": "int32",
    "solid_fraction": "float32",
    "crack_opening": "float32",
    "envelope_mask": "bool",
    "particle_mask": "bool",
}


@dataclass(frozen=True)
class PristineParticle:
    """A particle at room temperature on a grid of voxels, at one energy: one component, its attenuation.

    ``cycled`` tells its boundaries after ``cycle`` cycles; without it they are those of the design.
    """

    grains: Grains
    grid: Grid
    cycled: CycledParticle | None = None
    cycle: int = 0

    @property
    def components(self) -> int:
        """The attenuation itself."""
        return 1

    def weights(self, temperature: int, energies: ArrayLike) -> NDArray[np.float64]:
        """One, whatever the energy: the attenuation is that at `ENERGY`."""
        return np.ones((np.size(energies), 1))

    def slices(self, temperature: int, rows: slice) -> NDArray[np.float32]:
        """Attenuation (1/um) in slices ``rows``, (z, y, x, 1)."""
        points, filled = self.voxels(rows)
        radius = np.linalg.norm(points, axis=-1)
        relative = radius / np.maximum(self.grains.outer_radius(points), 1e-9)
        attenuation = filled.fraction * np.interp(relative, _RADII, self._profile)
        return np.asarray(attenuation, dtype=np.float32)[..., None]

    def voxels(self, rows: slice) -> tuple[NDArray[np.float64], Solid]:
        """Middles (z, y, x, 3; um) of the voxels of slices ``rows``, and what fills them."""
        axis, heights = self.grid.positions(self.grid.columns), self.grid.positions(self.grid.rows)[rows]
        z, y, x = np.meshgrid(heights, axis, axis, indexing="ij")
        points = np.stack([x, y, z], axis=-1)
        if self.cycled is None:
            return points, solid(self.grains, points, self.grid.pixel_size)
        near = near_voxels(self.grains, points, self.grid.pixel_size)
        found = self.cycled.shares(near, self.cycle)
        shape = points.shape[:-1]
        return points, Solid(near.label.reshape(shape), found.solid.reshape(shape), found.crack.reshape(shape))

    @cached_property
    def _profile(self) -> NDArray[np.float64]:
        """Attenuation (1/um) of the oxide against radius over that of the surface."""
        shares = self.grains.design.composition(_RADII)
        return np.array([oxide_attenuation({metal: float(s[i]) for metal, s in shares.items()}) for i in range(241)])


def oxide_attenuation(metals: dict[str, float]) -> float:
    """Attenuation (1/um) of the lithiated oxide of these ``metals`` (shares) at `ENERGY`, fine structure left out."""
    background, jump = nickel_edge_attenuation_from_formula(formula={"Li": 1.0, **metals, "O": 2.0}, density=DENSITY)
    return float((background + jump) * attenuation_ratio_from_energy(energy=ENERGY, reference=NICKEL_K_EDGE))


def simulate_nano_ct(
    study: Study, plan: Plan, *, resources: Resources | None = None, progress: Progress | None = None
) -> list[Simulated]:
    """Write one Data Exchange file per particle into ``raw`` beside a study, and the truth into it.

    Raises
    ------
    CathoscopeError
        If the study does not fit on the disk, a particle leaves the field of view, or voxels are too coarse for it.
    StudyError
        If a place cannot be written.
    """
    resources, progress = resources or Resources(), progress or Silent()
    recordings = draw_recordings(plan, Series((ENERGY,), 1, plan.size.projections))
    for job, recording in recordings.items():
        require_resolution(plan, job[0])
        require_within(plan, plan.grains(job), 0.0, recording.options)
    maps = sum(np.dtype(kind).itemsize for kind in _MAPS.values()) + 4
    truth = len(plan.jobs) * maps * int(np.prod(plan.grid.shape))
    announce(study, sum(recording.bytes_on_disk for recording in recordings.values()) + truth, progress)
    return [_expose(study, plan, job, recordings[job], resources, progress) for job in plan.jobs]


def _expose(
    study: Study,
    plan: Plan,
    job: tuple[str, int],
    recording: Recording,
    resources: Resources,
    progress: Progress,
) -> Simulated:
    """Write the raw file and the truth of one particle."""
    cycle, grains = plan.preset.cycle, plan.grains(job)
    name = f"{job[0]}-{job[1]}" + (f"-ct-{cycle:03d}" if cycle else "")
    place = Path("raw") / name
    cycled = cycle_particle(grains, plan.preset.cycling[job[0]], cycles=cycle) if cycle else None
    specimen = PristineParticle(grains, plan.fine, cycled, cycle)
    title = f"virtual experiment {name}, seed {plan.seed}"
    header = ExchangeHeader(f"{name}.h5", ENERGY, plan.grid.pixel_size, job[0], title)
    layout = DataExchangeLayout((study.path.parent / place,), ((header,),))
    record(specimen, recording, layout, resources=resources, progress=progress)
    _write_truth(study, name, specimen, plan, resources, progress)
    scan = recording.views[0][0].scan
    bad = recording.detector.dead | recording.detector.hot
    arrays = [
        schema.label("rotation_axis", np.array(scan.rotation_axis), ()),
        schema.label("angle", scan.angles, ("projection",)),
        schema.label("projection_shift", scan.projection_shift, ("projection",)),
        schema.label("beam_intensity", scan.beam, ("projection",)),
        schema.label("bad_pixel_mask", bad, ("row", "column")),
    ]
    for group in ("truth", AT_INSTRUMENT):
        study.write(group, name, with_particle(schema.dataset(arrays if group == "truth" else []), job[1]))
    formula = oxide_formula(plan, job[0], 1.0)
    note = f"after {cycle} cycles" if cycle else ""
    return Simulated(name, job[0], formula, job[1], "tomography", f"{place.as_posix()}/*.h5", note=note)


def _write_truth(
    study: Study, name: str, specimen: PristineParticle, plan: Plan, resources: Resources, progress: Progress
) -> None:
    """Material of every voxel, and in ``truth/at_instrument`` the attenuation of the blurred particle."""
    grid, resolution = plan.grid, plan.experiment.optics.resolution
    values = {axis: grid.positions(count) for axis, count in zip(_VOXEL, grid.shape, strict=True)}
    coords: dict[str, xr.DataArray] = {axis: schema.label(axis, array, (axis,)) for axis, array in values.items()}
    material, seen = Work(study, "truth", name, "maps"), Work(study, AT_INSTRUMENT, name, "maps")
    # the openings that the design gives are not those of a particle that was cycled
    maps = {key: kind for key, kind in _MAPS.items() if key != "crack_opening" or specimen.cycled is None}
    material.prepare([NewArray(key, _VOXEL, grid.shape, kind) for key, kind in maps.items()], coords)
    seen.prepare([NewArray("attenuation", _VOXEL, grid.shape)], coords)
    starts = range(0, grid.rows, SLAB_ROWS)
    progress.start("true maps", len(starts), "slab")

    def work(start: int) -> None:
        """Truth of one slab."""
        rows = slice(start, min(start + SLAB_ROWS, grid.rows))
        for key, values in _material(specimen, grid, rows).items():
            material.store(key, (rows,), values)
        seen.store("attenuation", (rows,), _blurred(specimen, rows, resolution))
        progress.advance(1)

    run_slabs(work, list(starts), threads=resources.threads)
    progress.finish()
    material.commit()
    seen.commit()
    data = study.read("truth", name)
    inside = int(data["envelope_mask"].values.sum())
    oxide = float(data["solid_fraction"].values.sum(dtype=np.float64))
    numbers = {"envelope_volume": inside * grid.pixel_size**3, "porosity": 1 - oxide / inside}
    study.write("truth", name, schema.dataset(schema.label(key, np.array(v), ()) for key, v in numbers.items()))


def _material(specimen: PristineParticle, grid: Grid, rows: slice) -> dict[str, NDArray[np.generic]]:
    """Means over the detector's voxels of one slab."""
    _, fine = specimen.voxels(slice(FINE * rows.start, FINE * rows.stop))
    share = binned(fine.fraction)
    points, coarse = replace(specimen, grid=grid).voxels(rows)
    inside = np.linalg.norm(points, axis=-1) < specimen.grains.outer_radius(points)
    opening = {} if specimen.cycled else {"crack_opening": crack_opening(specimen.grains, points).astype(np.float32)}
    return {
        **opening,
        "grain_label": np.where(share > 0, coarse.label + 1, 0).astype(np.int32),
        "solid_fraction": share,
        "envelope_mask": inside,
        "particle_mask": share >= 0.5,
    }


def _blurred(specimen: PristineParticle, rows: slice, resolution: float) -> NDArray[np.float32]:
    """Attenuation (1/um) as the instrument's ``resolution`` (um) shows it."""
    blur = gaussian(resolution, specimen.grid.pixel_size)
    halo = blur.size // 2
    first, last = FINE * rows.start - halo, FINE * rows.stop + halo
    there = slice(max(first, 0), min(last, specimen.grid.rows))
    volume = np.pad(specimen.slices(0, there)[..., 0], ((there.start - first, last - there.stop), (0, 0), (0, 0)))
    return blurred_and_binned(volume, blur)
