"""All particles of a field: told apart, numbered, and a table of them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import Context, Step
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps.morphology import grey_volume, voxel_sizes
from cathoscope.volume.particle import outer_mask
from cathoscope.volume.particles_3d import particle_table, separated
from cathoscope.volume.segment import grey_levels

_VOXEL = ("z", "y", "x")
_PER_VOXEL = 16.0  # bytes
TARGETS = ("particle_envelope_volume",)


def particles(context: Context) -> xr.Dataset:
    """Numbers of all particles, the largest being 1, and their sizes, shapes and places."""
    volume, section = grey_volume(context.data), context.section.morphology
    grey, sizes = np.asarray(volume.values, dtype=np.float32), voxel_sizes(volume)
    solid = grey > grey_levels(grey).threshold
    del grey
    radius = None if section is None else section.closing_radius
    if radius is None:
        radius = outer_mask(solid, voxel_size=sizes).closing_radius
    numbers = separated(solid, voxel_size=sizes, closing_radius=radius)
    found = particle_table(numbers, voxel_size=sizes)
    corner = [float(volume[dim][0]) - 0.5 * edge for dim, edge in zip(_VOXEL, sizes, strict=True)]
    place = found.position + np.array(corner)
    columns = {
        "particle_envelope_volume": found.volume,
        "equivalent_diameter": found.equivalent_diameter,
        "particle_sphericity": found.sphericity,
        "particle_elongation": found.elongation,
        "particle_at_border": found.cut,
        **{f"particle_{dim}": place[:, k] for k, dim in enumerate(_VOXEL)},
    }
    coords = {"particle": label("particle", np.arange(1, len(place) + 1), ("particle",))}
    cut = int(found.cut.sum())
    context.progress.remark(f"{context.name}: {len(place)} particles, {cut} of them cut by the border of the field")
    return dataset(
        [
            label("particle_number", numbers, _VOXEL, coords={dim: volume[dim] for dim in _VOXEL}),
            *(label(name, values, ("particle",), coords=coords) for name, values in columns.items()),
        ]
    )


_COLUMNS = ("envelope_volume", "sphericity", "elongation", "at_border", "z", "y", "x")
_MAKES = ("particle_number", "equivalent_diameter", *(f"particle_{name}" for name in _COLUMNS))


def steps_on(grey: str) -> tuple[Step, ...]:
    """The step on a volume in which oxide is bright."""
    return (Step("particles", particles, (grey,), _MAKES, choices=("morphology",), per_voxel=_PER_VOXEL),)


def asked_for(section: MeasurementSection) -> tuple[str, ...]:
    """What the recipe's table asks for."""
    return TARGETS if section.morphology is not None and section.morphology.all_particles else ()
