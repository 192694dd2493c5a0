"""Pores, cracks, surfaces and paths of the particle in a volume, one temperature after the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import run_slabs
from cathoscope.core.schema import label
from cathoscope.core.study import NewArray
from cathoscope.flow.graph import Context, Step
from cathoscope.flow.raw import ScanIndex
from cathoscope.flow.sections import MeasurementSection
from cathoscope.numerics.estimate import Estimate
from cathoscope.volume.particle import outer_mask
from cathoscope.volume.quantify import (
    NUMBERS,
    PLAIN_NUMBERS,
    SHELLS,
    THRESHOLDS,
    Choices,
    Morphology,
    numbers_of,
    plain_numbers_of,
    quantify,
)
from cathoscope.volume.segment import grey_levels

Floats = NDArray[np.float64]

# Memory of one particle, measured: bytes for each voxel, and of the program itself.
_PER_VOXEL, _PROGRAM = 25.0, 4e8
_MAPS = {
    "solid_fraction": "float32",
    "envelope_mask": "bool",
    "pore_kind": "uint8",
    "crack_width": "float32",
    "path_length": "float32",
}
_KINDS = {"flag_values": [0, 1, 2, 3], "flag_meanings": "no_pore crack void hollow_core"}
_CURVES = {"porosity_curve": "threshold", "open_porosity_curve": "threshold", "shell_porosity": "shell"}
_NUMBERS = tuple(name + suffix for name in (*NUMBERS, "shell_porosity") for suffix in ("", "_std", "_systematic"))
MAKES = (*dict.fromkeys((*_MAPS, *_NUMBERS, *_CURVES, *PLAIN_NUMBERS)),)
GREY = ("attenuation", "edge_jump", "oxide_share")
"""Volumes in which oxide is bright; a step is given one of them."""
TARGETS = ("porosity",)
_LEFT = "slice_porosity_systematic"


def morphology(context: Context) -> None:
    """Maps and numbers of every temperature; one that cannot be measured stays empty, and is told."""
    volume = grey_volume(context.data)
    dims, shape = tuple(map(str, volume.dims[:-3])), volume.shape[:-3]
    _prepare(context, volume, dims, shape)
    conditions = list(np.ndindex(shape))
    choices = _choices(context, volume)
    context.progress.start(f"{context.name}: morphology", len(conditions), "volumes")

    def one(condition: ScanIndex) -> None:
        """One temperature, unless a killed run has finished it."""
        key = "-".join(map(str, ("volume", *condition)))
        if not context.work.is_done(key):
            try:
                found = quantify(
                    _grey(volume, condition), voxel_size=voxel_sizes(volume), choices=choices, overwrite=True
                )
                _store(context, condition, found)
                for remark in found.remarks:
                    context.progress.remark(f"{context.name}{_at(context, condition)}: {remark}")
            except MeasurementError as error:
                context.progress.remark(f"{context.name}{_at(context, condition)}: no morphology: {error}")
            context.work.mark_done(key)
        context.progress.advance()

    run_slabs(one, conditions, threads=_threads(context, volume))
    context.progress.finish()


def _threads(context: Context, volume: xr.DataArray) -> int:
    """Volumes at a time: as many as there are threads, or as memory allows."""
    needed = _PER_VOXEL * float(np.prod(volume.shape[-3:]))
    return max(1, min(context.resources.threads, int((context.resources.memory - _PROGRAM) / needed)))


def _prepare(context: Context, volume: xr.DataArray, dims: tuple[str, ...], shape: tuple[int, ...]) -> None:
    """Room for all arrays."""
    coords = {str(name): coord for name, coord in volume.coords.items()}
    coords["threshold"] = label("threshold", THRESHOLDS, ("threshold",))
    coords["shell"] = label("shell", 0.5 * (SHELLS[1:] + SHELLS[:-1]), ("shell",))
    new = []
    for name in context.makes:
        base = name.removesuffix("_std").removesuffix("_systematic")
        more = tuple(map(str, volume.dims[-3:])) if base in _MAPS else (_CURVES[base],) if base in _CURVES else ()
        size = tuple(int(volume.sizes[dim]) if dim in volume.sizes else coords[dim].size for dim in more)
        attrs: dict[str, object] = {"std_source": "fit covariance"} if name.endswith("_std") else {}
        if f"{name}_std" in context.makes:
            attrs["ancillary_variables"] = f"{name}_std {name}_systematic"
        attrs |= _KINDS if name == "pore_kind" else {}
        new.append(NewArray(name, (*dims, *more), (*shape, *size), _MAPS.get(name, "float64"), attrs=attrs))
    context.work.prepare(new, coords)


def grey_volume(data: xr.Dataset) -> xr.DataArray:
    """The volume in which oxide is bright, [(temperature,) z, y, x]."""
    return next(data[name] for name in GREY if name in data)


def _grey(volume: xr.DataArray, condition: ScanIndex) -> NDArray[np.float32]:
    """A copy: results are written over it."""
    return np.array(volume[condition].values, dtype=np.float32)


def _choices(context: Context, volume: xr.DataArray) -> Choices:
    """The recipe's; the temperatures of a series share the closing radius that suits the first one that has any."""
    section = context.section.morphology
    choices = (
        Choices() if section is None else Choices(section.closing_radius, section.crack_width, section.composition)
    )
    if choices.closing_radius is not None or volume.ndim == 3 or len(volume) < 2:
        return choices
    for index in range(len(volume)):
        grey = _grey(volume, (index,))
        try:
            mask = outer_mask(grey > grey_levels(grey).threshold, voxel_size=voxel_sizes(volume))
        except MeasurementError:  # told where this temperature is quantified
            continue
        return replace(choices, closing_radius=mask.closing_radius)
    return choices


def voxel_sizes(volume: xr.DataArray) -> tuple[float, float, float]:
    """Edges of a voxel, um, (z, y, x)."""
    z, y, x = (abs(float(volume[dim][1] - volume[dim][0])) for dim in ("z", "y", "x"))
    return z, y, x


def _store(context: Context, condition: ScanIndex, found: Morphology) -> None:
    """Everything of one temperature."""
    width = np.zeros(found.pore.shape, dtype=np.float32)
    if found.cracks is not None:
        width[tuple(found.cracks.sheets.voxels.T)] = found.cracks.opening
    maps = {
        "solid_fraction": found.solid_fraction,
        "envelope_mask": found.outer.particle,
        "pore_kind": np.zeros(found.pore.shape, dtype=np.uint8) if found.split is None else found.split.kind,
        "crack_width": width,
        "path_length": found.path,
        "porosity_curve": found.curve.porosity,
        "open_porosity_curve": found.curve.open_porosity,
    }
    values: dict[str, Floats] = {name: np.asarray(value) for name, value in plain_numbers_of(found).items()}
    for name, number in numbers_of(found).items():
        values |= _parts(name, [_with_corrections(context, number) if name == "porosity" else number], ())
    values |= _parts("shell_porosity", [shell.grey for shell in found.shells], (len(found.shells),))
    for name, value in (maps | values).items():
        if name in context.makes:
            context.work.store(name, condition, value)


def _with_corrections(context: Context, porosity: Estimate) -> Estimate:
    """With what the corrections of a FIB/SEM stack may have left, which its grey values do not show."""
    left = context.data.get(_LEFT)
    if left is None:
        return porosity
    return porosity._replace(systematic=float(np.hypot(porosity.systematic, float(left))))


def _parts(name: str, numbers: list[Estimate], shape: tuple[int, ...]) -> dict[str, Floats]:
    """Values, total uncertainties and their systematic parts."""
    columns = [(one.value, one.total, one.systematic) for one in numbers]
    table = np.array(columns, dtype=np.float64).T.reshape((3, *shape))
    return dict(zip((name, f"{name}_std", f"{name}_systematic"), table, strict=True))


def _at(context: Context, condition: ScanIndex) -> str:
    return f" at {float(context.data['temperature'][condition[0]]):g} C" if condition else ""


def steps_on(grey: str) -> tuple[Step, ...]:
    """The steps on a volume in which oxide is bright."""
    choices, optional = ("morphology",), (_LEFT,)
    one = Step("morphology", morphology, (grey,), MAKES, choices=choices, optional=optional, per_voxel=_PER_VOXEL)
    return (one,)


def asked_for(section: MeasurementSection) -> tuple[str, ...]:
    """What the recipe's table asks for."""
    return TARGETS if section.morphology is not None else ()
