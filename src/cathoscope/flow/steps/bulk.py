"""Bulk spectra: calibration on a foil, edges and white line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import RAW, REFERENCES, Context, Step
from cathoscope.io import open_raw
from cathoscope.physics.edges import FOIL_ENERGY, elements_with_edge_within
from cathoscope.xanes.bulk import bulk_edges
from cathoscope.xanes.edge import FoilCalibration, calibration_shift_from_foil
from cathoscope.xanes.normalise import NormalisationWindows
from cathoscope.xanes.repeats import drift_of_repeats, merge_repeats

Floats = NDArray[np.float64]
_POINTS = ("spectrum", "point")
_SAME_ENERGY = 0.01  # eV
EDGES = ("half_height_edge", "derivative_edge", "integral_edge")


def names_of(data: xr.Dataset) -> list[str]:
    """Names of the spectra."""
    return [str(name) for name in data["spectrum"].attrs["names"]]


def calibration(context: Context) -> xr.Dataset:
    """Energies calibrated on the foil: that of the same scan, one measured apart, or the spectrum itself.

    Repeats are merged here if the recipe says so, because only calibrated energies are the same energies.
    """
    raw = context.raw.first
    energy, absorption = raw["scan_energy"].values, raw["absorption"].values
    found, remarks = _foil_calibrations(context, raw)
    shift = np.array([each.shift if each else 0.0 for each in found])
    # Without a foil the energies are those of the monochromator, and how far these are off nobody knows.
    std = np.array([each.shift_std if each else np.nan for each in found])
    energy = energy + shift[:, None]
    spectrum = raw["spectrum"]
    if context.section.xas.merge_repeats and len(energy) > 1:
        energy, absorption, said = _merged(energy, absorption)
        remarks += said
        spectrum = label("spectrum", np.array([1]), ("spectrum",))
        spectrum.attrs |= {"names": [f"mean of {len(shift)}"], "labels": {}}
        shift, std = shift.mean(keepdims=True), np.sqrt(np.mean(std**2, keepdims=True) / len(std))
    coords = {"spectrum": spectrum}
    shifts = label("energy_shift", shift, ("spectrum",), coords=coords)
    shifts.attrs |= {
        "remarks": [*context.raw.remarks, *remarks],
        "foil_maxima": [[each.first_maximum, *each.later_maxima] if each else None for each in found],
    }
    return dataset(
        [
            label("scan_energy", energy, _POINTS, coords=coords),
            label("absorption", absorption, _POINTS, coords=coords),
            shifts,
            label("energy_shift_std", std, ("spectrum",), coords=coords, std_source="fit covariance"),
        ]
    )


def _foil_calibrations(context: Context, raw: xr.Dataset) -> tuple[list[FoilCalibration | None], list[str]]:
    """Calibration of every spectrum, None where there is no foil, and remarks."""
    section, names = context.section.xas, names_of(raw)
    energy = raw["scan_energy"].values
    foil = raw.get("reference_absorption") if section.calibration in ("auto", "reference") else None
    curves = raw["absorption"].values if section.calibration == "self" else None if foil is None else foil.values
    apart = None if section.foil is None else calibration_of_foil(context, section.foil)
    found: list[FoilCalibration | None] = []
    remarks: list[str] = []
    for index, name in enumerate(names):
        calibrated = apart
        if calibrated is None and curves is not None and np.isfinite(curves[index]).any():
            try:
                before = None if foil is None else raw["absorption"].values[index]  # "self" has no foil
                calibrated = _calibrated(context, energy[index], curves[index], raw, before)
                remarks += [f"{name}: {remark}" for remark in calibrated.remarks]
            except MeasurementError as error:
                remarks.append(f"{name}: not calibrated: {error.problem}")
        found.append(calibrated)
    without = sum(each is None for each in found)
    if without:
        remarks.append(f"{without} of {len(names)} spectra are not calibrated on a foil: energies are as recorded")
    return found, remarks


def calibration_of_foil(context: Context, file: str) -> FoilCalibration:
    """Energy scale by the spectrum of a foil in a file of its own.

    Raises
    ------
    CathoscopeError
        If the file cannot be read or holds no bulk spectrum, or the spectrum cannot be calibrated.
    """
    foil = open_raw(context.data_folder / file)
    if "scan_energy" not in foil.variables:
        raise MeasurementError("the foil is no bulk spectrum", where=file, cure="name a file of a foil's spectrum")
    return _calibrated(context, foil["scan_energy"].values[0], foil["absorption"].values[0], foil)


def _calibrated(
    context: Context, energy: Floats, absorption: Floats, data: xr.Dataset, sample: Floats | None = None
) -> FoilCalibration:
    """Calibration on a foil, before which the light may have passed a ``sample``."""
    known = np.isfinite(energy) & np.isfinite(absorption)
    element = _element(context, data, energy[known])
    before = None if sample is None else sample[known]
    return calibration_shift_from_foil(
        energy=energy[known], absorption=absorption[known], element=element, sample=before
    )


def _element(context: Context, data: xr.Dataset, energy: Floats) -> str:
    """The absorbing element: the recipe's word, else the file's, else the only K edge within the energies."""
    stated = context.section.xas.element or data.attrs.get("element")
    if stated:
        return str(stated)
    within = elements_with_edge_within(lowest=float(energy.min()), highest=float(energy.max()))
    if len(within) == 1:
        return within[0]
    raise MeasurementError(
        "the absorbing element is not known",
        where=context.name,
        expected=" or ".join(FOIL_ENERGY),
        found=f"{' and '.join(within) or 'no K edge'} between {energy.min():g} and {energy.max():g} eV",
        cure='add  xas.element = "Ni"',
    )


def _merged(energy: Floats, absorption: Floats) -> tuple[Floats, Floats, list[str]]:
    """All spectra as one, on the energies of the first, and what they say about drift and glitches."""
    axis = energy[0][np.isfinite(energy[0])]
    low, high = (limit(energy, axis=1) for limit in (np.nanmin, np.nanmax))
    axis = axis[(axis >= low.max()) & (axis <= high.min())]
    rows = [(one[np.isfinite(one)], mu[np.isfinite(one)]) for one, mu in zip(energy, absorption, strict=True)]
    repeats = np.stack([np.interp(axis, one, mu) for one, mu in rows])
    merged = merge_repeats(spectra=repeats)
    remarks = list(merged.remarks)
    if any(one.shape != axis.shape or np.max(np.abs(one - axis)) > _SAME_ENERGY for one, _ in rows):
        remarks.append("the repeats were recorded at different energies: those of the first, the others interpolated")
    if len(repeats) > 2:
        curves = bulk_edges(energy=np.broadcast_to(axis, repeats.shape), absorption=repeats).normalised
        if np.isfinite(curves).all():
            remarks += drift_of_repeats(spectra=np.where(merged.glitch, np.nan, curves), energy=axis).remarks
    return axis[None], merged.mean[None], remarks


def edges(context: Context) -> xr.Dataset:
    """Edge step, the edge by three definitions and the white line of every spectrum."""
    data, section = context.data, context.section.xas
    found = bulk_edges(
        energy=data["scan_energy"].values,
        absorption=data["absorption"].values,
        windows=NormalisationWindows(pre_edge=section.pre_edge, post_edge=section.post_edge),
    )
    coords = {"spectrum": data["spectrum"]}
    numbers = {"edge_step": (found.edge_step, found.edge_step_std)}
    numbers |= {name: (getattr(found, name), getattr(found, f"{name}_std")) for name in EDGES}
    numbers["white_line_energy"] = found.white_line, found.white_line_std
    arrays = [label("normalised_absorption", found.normalised, _POINTS, coords=coords)]
    for name, (value, std) in numbers.items():
        arrays.append(label(name, value, ("spectrum",), coords=coords))
        arrays.append(label(f"{name}_std", std, ("spectrum",), coords=coords, std_source="fit covariance"))
    arrays[0].attrs["remarks"] = counted(found.remarks, names_of(data))
    return dataset(arrays)


def counted(remarks: Sequence[Sequence[str]], names: Sequence[str]) -> list[str]:
    """Each remark once, with the spectra it holds for."""
    of: dict[str, list[str]] = {}
    for name, said in zip(names, remarks, strict=True):
        for remark in said:
            of.setdefault(remark, []).append(name)
    return [f"{_some(holders, len(names))}: {remark}" for remark, holders in of.items()]


def _some(holders: Sequence[str], total: int) -> str:
    if len(holders) == total > 1:
        return f"all {total} spectra"
    return ", ".join(holders[:4]) + (f" and {len(holders) - 4} more" if len(holders) > 4 else "")


_CALIBRATION = ("scan_energy", "absorption", "energy_shift", "energy_shift_std")
NUMBERS = tuple(f"{name}{end}" for name in ("edge_step", *EDGES, "white_line_energy") for end in ("", "_std"))

EDGE_STEPS = (
    Step(
        "edges",
        edges,
        needs=("scan_energy", "absorption"),
        makes=("normalised_absorption", *NUMBERS),
        choices=("xas",),
    ),
)
STEPS = (
    Step("calibration", calibration, needs=(RAW,), optional=(REFERENCES,), makes=_CALIBRATION, choices=("xas",)),
    *EDGE_STEPS,
)
TARGETS = ("integral_edge",)
