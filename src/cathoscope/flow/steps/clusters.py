"""Groups of voxels of like white line at every temperature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import Context, Step
from cathoscope.flow.raw import ScanIndex
from cathoscope.flow.steps.statistics import map_at, systematic_errors
from cathoscope.xanes.heterogeneity import StoredMap, relative_noise
from cathoscope.xanes.rows import covariance_in
from cathoscope.xanes.state_map import Clusters, clusters_of_map

# An information criterion compares nothing with fewer voxels than a single group has parameters.
_FEWEST_INDEPENDENT = 3.0
_WORKING = 8.0  # bytes per voxel, measured, without the maps themselves


@dataclass(frozen=True)
class Groups:
    """Groups of one temperature, and the error that the energies of all have in common, eV."""

    found: Clusters
    systematic_std: float


def clusters(context: Context) -> xr.Dataset:
    """Energy, width and share of the groups of every temperature; their number by the information criterion.

    A temperature without statistics has no groups. Arrays are as long as the largest number of groups and end in NaN.
    """
    data = context.data
    conditions = list(np.ndindex(data["white_line_energy"].shape[:-3]))
    context.progress.start(f"{context.name}: clusters", len(conditions), "temperatures")
    groups: dict[ScanIndex, Groups] = {}
    for condition in conditions:
        found = _groups(context, condition)
        if found is not None:
            groups[condition] = found
        context.progress.advance()
    context.progress.finish()
    return _dataset(data, groups)


def _groups(context: Context, condition: ScanIndex) -> Groups | None:
    data = context.data
    independent = float(data["independent_voxels"][condition])
    if not np.isfinite(independent):
        return None
    try:
        measured = map_at(data, condition, context.resources.memory, beside=_WORKING)
    except MeasurementError:  # the statistics have said so
        return None
    found = clusters_of_map(
        measured, independent=max(independent, _FEWEST_INDEPENDENT), noise_scale=_noise_scale(measured)
    )
    common = sum(error.std**2 for error in systematic_errors(data, condition))
    return Groups(found, float(np.sqrt(common)))


def _noise_scale(measured: StoredMap) -> float:
    """Noise that the halves show over the stated one."""
    if measured.halves is None:
        return 1.0
    relative = relative_noise(measured)
    scale = float(np.sqrt(covariance_in(relative, relative, measured.good)))
    return scale if scale > 0 else 1.0


def _dataset(data: xr.Dataset, groups: Mapping[ScanIndex, Groups]) -> xr.Dataset:
    line = data["white_line_energy"]
    dims, shape = tuple(map(str, line.dims[:-3])), line.shape[:-3]
    count = max((one.found.mean.size for one in groups.values()), default=1)
    values = {name: np.full((*shape, count), np.nan) for name in _MADE}
    for condition, one in groups.items():
        found, size = one.found, one.found.mean.size
        numbers = {
            "cluster_energy": found.mean,
            "cluster_energy_std": np.hypot(found.mean_std, one.systematic_std),
            "cluster_width": found.width,
            "cluster_width_std": found.width_std,
            "cluster_share": found.share,
            "cluster_share_std": found.share_std,
        }
        for name, number in numbers.items():
            values[name][condition][:size] = number
    coords = {**line.coords, "cluster": label("cluster", np.arange(1, count + 1), ("cluster",))}
    arrays = [
        label(name, array, (*dims, "cluster"), coords=coords, std_source="scatter" if name.endswith("_std") else None)
        for name, array in values.items()
    ]
    arrays[0].attrs["information"] = [
        groups[condition].found.information.tolist() if condition in groups else [] for condition in np.ndindex(shape)
    ]
    return dataset(arrays)


_MADE = (
    "cluster_energy",
    "cluster_energy_std",
    "cluster_width",
    "cluster_width_std",
    "cluster_share",
    "cluster_share_std",
)


def steps(*, with_halves: bool) -> tuple[Step, ...]:
    """Groups, with the halves of the projections where these are there apart."""
    halves = ("white_line_half",) if with_halves else ()
    return (
        Step(
            "clusters",
            clusters,
            needs=("white_line_energy", "white_line_energy_std", "white_line_flag", "independent_voxels", *halves),
            optional=("energy_offset_std",),
            makes=_MADE,
            per_voxel=_WORKING,
        ),
    )


TARGETS = ("cluster_energy",)
