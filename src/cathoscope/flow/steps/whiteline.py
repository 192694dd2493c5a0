"""White-line energy of every voxel, from all projections and from either half of them."""

from __future__ import annotations

import numpy as np

from cathoscope.core.errors import MeasurementError
from cathoscope.core.study import NewArray
from cathoscope.flow.graph import Context, Step
from cathoscope.flow.raw import ScanIndex
from cathoscope.flow.steps.energy_scale import offset_at
from cathoscope.flow.steps.estimators import Estimator, estimator_of
from cathoscope.flow.steps.voxels import OUTSIDE, SPECTRA, Unit, Voxels
from cathoscope.xanes.whiteline import WhiteLineFlag

_MAPS = ("white_line_energy", "white_line_energy_std")


def white_line(context: Context) -> None:
    """White-line energy of every voxel of the particle, its uncertainty, and why there is none."""
    voxels = Voxels(context)
    estimators, remarks = _estimators(voxels)
    _prepare(voxels, list(estimators.values()), remarks)

    def fill(unit: Unit) -> None:
        """White lines of the voxels of one slab."""
        condition, rows = unit
        mask = np.asarray(context.data["particle_mask"][condition].isel(z=rows).values)
        energy, std = (np.full(mask.shape, np.nan, np.float32) for _ in _MAPS)
        flag = np.full(mask.shape, OUTSIDE, dtype=np.int8)
        halves = np.full((2, *mask.shape), np.nan, np.float32)
        estimator = estimators[condition]
        if mask.any() and estimator is not None:
            offset = offset_at(context.data, condition)
            lines = estimator.all_projections(rows, mask)
            energy[mask], std[mask], flag[mask] = lines.energy + offset, lines.std, lines.flag
            if voxels.has_halves:
                halves[:, mask] = estimator.halves(rows, mask) + offset
        maps: dict[str, np.ndarray] = {_MAPS[0]: energy, _MAPS[1]: std, "white_line_flag": flag}
        for name, values in maps.items():
            context.work.store(name, (*condition, rows), values)
        if voxels.has_halves:
            context.work.store("white_line_half", (slice(None), *condition, rows), halves)

    voxels.fill("white line", fill)


def _estimators(voxels: Voxels) -> tuple[dict[ScanIndex, Estimator | None], list[str]]:
    """The estimator of every temperature, None where there is nothing to estimate; and which have none against hope.

    Raises
    ------
    MeasurementError
        If no temperature has one, with the reason of the first.
    """
    found: dict[ScanIndex, Estimator | None] = {}
    failed: dict[ScanIndex, MeasurementError] = {}
    for condition in voxels.conditions:
        found[condition] = None
        if bool(voxels.context.data["particle_mask"][condition].any()):
            try:
                found[condition] = estimator_of(voxels, condition)
            except MeasurementError as error:
                failed[condition] = error
    if failed and all(one is None for one in found.values()):
        raise next(iter(failed.values()))
    remarks = []
    for condition, reason in failed.items():
        temperature = float(voxels.context.data["temperature"][condition[0]])
        remarks.append(f"{temperature:g} C has no white line: {reason.problem}")
    return found, remarks


def _prepare(voxels: Voxels, estimators: list[Estimator | None], remarks: list[str]) -> None:
    said = (remark for one in estimators if one is not None for remark in one.remarks)
    remarks = list(dict.fromkeys([*remarks, *said]))
    arrays = [
        voxels.new(
            "white_line_energy",
            ancillary_variables="white_line_energy_std white_line_flag",
            method=voxels.context.section.white_line.method,
            remarks=remarks,
            systematic_std=[0.0 if one is None else one.systematic_std for one in estimators],
        ),
        voxels.new(
            "white_line_energy_std",
            std_source="fit covariance",
            resolution_std=[0.0 if one is None else one.resolution_std for one in estimators],
            shared_noise=[0.0 if one is None else one.shared_noise for one in estimators],
        ),
        voxels.new(
            "white_line_flag",
            "int8",
            flag_values=[int(flag) for flag in WhiteLineFlag] + [OUTSIDE],
            flag_meanings=" ".join([*(flag.name.lower() for flag in WhiteLineFlag), "outside_particle"]),
        ),
    ]
    if voxels.has_halves:
        arrays.append(NewArray("white_line_half", ("half", *voxels.dims), (2, *voxels.shape)))
    voxels.context.work.prepare(arrays, voxels.source.coords)


def steps(*, with_halves: bool) -> tuple[Step, ...]:
    """The white line, also from the halves of the projections where these are there apart."""
    made = (*_MAPS, "white_line_flag", *(("white_line_half",) if with_halves else ()))
    return (
        Step(
            "white line",
            white_line,
            needs=(SPECTRA, "particle_mask"),
            optional=("energy_offset",),
            makes=made,
            choices=("white_line", "edge"),
        ),
    )
