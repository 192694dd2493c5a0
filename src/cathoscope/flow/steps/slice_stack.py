"""A FIB/SEM stack: slices are aligned and corrected, and become one volume of the share of oxide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import RAW, Context, Step
from cathoscope.flow.steps.pixels import pixel_size_of, slice_thickness_of
from cathoscope.numerics.estimate import Estimate
from cathoscope.volume.fibsem import prepare_stack

_PER_VOXEL, _PROGRAM = 13.0, 4e8  # bytes: grey value, share of oxide, phase, and one more while slices are put in place
_SEEN = 2.0  # uncertainties: a porosity beyond them is that of pores which stand out
MAKES = ("oxide_share", "slice_porosity", "slice_porosity_std", "slice_porosity_systematic")


class _Frames(Sequence[NDArray[Any]]):
    """Slices of a lazy stack, read one at a time."""

    def __init__(self, pages: xr.DataArray) -> None:
        self._pages = pages

    def __len__(self) -> int:
        return int(self._pages.sizes["page"])

    def __getitem__(self, number: Any) -> Any:
        return np.asarray(self._pages.isel(page=number).values)


def stack(context: Context) -> xr.Dataset:
    """Share of oxide of every voxel, and the porosity of the sections together."""
    scan = context.raw.first
    thickness, pixel = slice_thickness_of(context.raw), pixel_size_of(context.raw)
    if thickness is None:  # `open_measurement` has refused it
        raise MeasurementError("the thickness of the slices is not known", where=context.name)
    voxel = (thickness, pixel, pixel)
    needed = _PROGRAM + _PER_VOXEL * float(np.prod(scan["pages"].shape))
    if needed > context.resources.memory:
        context.progress.remark(
            f"{context.name}: the whole stack is held and needs {needed / 1e9:.1f} GB, more than the "
            f"{context.resources.memory / 1e9:.1f} GB allowed; to stay within it, crop the slices to the particle"
        )
    found = prepare_stack(_Frames(scan["pages"]), voxel_size=voxel, progress=context.progress)
    remarks = [*found.remarks, *finer_pores(found.porosity, pixel)]
    for words in remarks:
        context.progress.remark(f"{context.name}: {words}")
    coords = {
        dim: label(dim, (np.arange(count) - (count - 1) / 2) * size, (dim,))
        for dim, count, size in zip("zyx", found.solid.shape, found.voxel_size, strict=True)
    }
    share = label("oxide_share", found.solid, ("z", "y", "x"), coords=coords)
    share.attrs["remarks"] = remarks
    value, _, systematic = found.porosity
    numbers = [
        label("slice_porosity", np.float64(value), ()),
        label("slice_porosity_std", np.float64(found.porosity.total), (), std_source="scatter"),
        label("slice_porosity_systematic", np.float64(systematic), ()),
    ]
    return dataset([share, *numbers])


def finer_pores(porosity: Estimate, pixel: float) -> list[str]:
    """What to say where no pore stands out: a web of pores finer than a pixel (um) darkens all oxide alike."""
    if porosity.value > _SEEN * porosity.total:
        return []
    size = f"{1000 * pixel:.3g} nm"
    return [
        f"no pores stand out: those finer than a pixel ({size}) would be taken for oxide, and are not in the porosity"
    ]


STEPS = (Step("stack", stack, needs=(RAW,), makes=MAKES, choices=("pixel_size", "slices")),)
TARGETS = ("oxide_share",)
