"""Volumes of other programs, taken over into a study as they are."""

from __future__ import annotations

import numpy as np
import xarray as xr

from cathoscope.core.parallel import Progress, Resources, row_slabs, run_slabs
from cathoscope.core.study import NewArray, Study, Work


def foreign_arrays(started: xr.Dataset) -> xr.Dataset:
    """The start arrays that come from files of other programs."""
    return started[[name for name, array in started.data_vars.items() if "files" in array.attrs]]


def take_over(
    study: Study, work: Work, measurement: str, array: xr.DataArray, *, resources: Resources, progress: Progress
) -> bool:
    """Write a lazy volume [..., z, y, x] into the study slab by slab; False if it is there already."""
    name, address = str(array.name), str(array.attrs["address"])
    if study.address(measurement, name) == address:
        return False
    dims = tuple(map(str, array.dims))
    work.prepare([NewArray(name, dims, array.shape, "float32", {"remarks": array.attrs["remarks"]})], array.coords)
    slabs = [
        (*leading, rows)
        for leading in np.ndindex(array.shape[:-3])
        for rows in row_slabs(array.sizes["z"], bytes_per_row=8.0 * array[..., 0, :, :].size, resources=resources)
    ]
    progress.start(f"{measurement}: {name}", len(slabs), "slabs")

    def copy(region: tuple[int | slice, ...]) -> None:
        """One region of the given array into the study."""
        work.store(name, region, np.asarray(array[region].values, dtype=np.float32))
        progress.advance()

    run_slabs(copy, slabs, threads=resources.threads)
    progress.finish()
    work.commit()
    return True
