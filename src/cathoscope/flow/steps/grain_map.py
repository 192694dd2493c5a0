"""Grains that another experiment has mapped, on the voxels of the first temperature."""

from __future__ import annotations

import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset
from cathoscope.flow.graph import REFERENCES, Context, Step
from cathoscope.flow.sections import MeasurementSection
from cathoscope.io.grain_axes import read_grains

_VOXEL = ("z", "y", "x")


def grain_map(context: Context) -> xr.Dataset:
    """Labels and directions as the files have them, on the voxels of the particle's volumes."""
    stated = context.section.grains
    if stated is None:
        raise MeasurementError("no grains are named", cure="a table grains with labels and axes")
    labels = context.data_folder / stated.labels
    found = read_grains(labels, context.data_folder / stated.axes)
    mask = context.data["particle_mask"]
    shape = tuple(mask.sizes[dim] for dim in _VOXEL)
    if found["grain_label"].shape != shape:
        raise MeasurementError(
            "the labels of grains are not on the voxels of the volumes",
            where=labels,
            expected=f"{' x '.join(map(str, shape))} voxels (z, y, x), as the volumes of the first temperature",
            found=" x ".join(map(str, found["grain_label"].shape)),
            cure="register and resample the labels to a volume that was exported: cathoscope export STUDY --as tiff",
        )
    coords = {dim: mask[dim] for dim in _VOXEL}
    return dataset([found["grain_label"].assign_coords(coords), found["grain_c_axis"]])


_STEP = Step(
    "grain map",
    grain_map,
    needs=(REFERENCES, "particle_mask"),
    makes=("grain_label", "grain_c_axis"),
    choices=("grains",),
)


def steps(section: MeasurementSection) -> tuple[Step, ...]:
    """The step, where the recipe names grains."""
    return () if section.grains is None else (_STEP,)


def asked_for(section: MeasurementSection) -> tuple[str, ...]:
    """Its arrays, where the recipe names grains."""
    return () if section.grains is None else ("grain_c_axis",)
