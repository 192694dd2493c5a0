"""Frames of a full-field microscope, one file each, grouped by energy into scans of sample and reference frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.raw import RawMeasurement, SetAside
from cathoscope.io.lazy import JoinedFrames, lazy


def arrange_frames(raw: RawMeasurement, frames: Sequence[xr.Dataset]) -> None:
    """Place frames on the grid of energies; what has no energy, no partner or another shape is set aside.

    Raises
    ------
    MeasurementError
        If no energy has sample and reference frames.
    """
    if not frames:
        return
    shapes = Counter(frame["counts"].shape[1:] for frame in frames if "counts" in frame.variables)
    shape = max(shapes, key=shapes.__getitem__, default=())
    usable: dict[float, dict[str, list[xr.Dataset]]] = {}
    for frame in frames:
        problem = _problem(frame, shape)
        if problem:
            raw.set_aside.append(SetAside(_name(frame), problem))
        else:
            kinds = usable.setdefault(round(float(frame["energy"]), 3), {"sample": [], "reference": []})
            kinds[str(frame.attrs.get("frame_kind", "sample"))].append(frame)
    for energy in [energy for energy, kinds in usable.items() if not all(kinds.values())]:
        kinds = usable.pop(energy)
        absent = "reference" if kinds["sample"] else "sample"
        raw.set_aside += [
            SetAside(_name(frame), f"there is no {absent} frame at {energy:g} eV")
            for frame in (*kinds["sample"], *kinds["reference"])
        ]
    if not usable:
        raise MeasurementError(
            "no energy has frames with and without the sample",
            where=raw.name,
            expected="at every energy sample frames and reference frames (names with _ref_)",
            found="; ".join(f"{item.file}: {item.reason}" for item in raw.set_aside[:4]),
        )
    energies = sorted(usable)
    raw.dims = ("energy",)
    raw.coords["energy"] = label("energy", np.array(energies), ("energy",))
    for index, energy in enumerate(energies):
        raw.scans[(index,)] = _scan(usable[energy], energy)
    raw.remarks += _counted_remarks(frames)


def _problem(frame: xr.Dataset, shape: tuple[int, ...]) -> str | None:
    if "counts" not in frame.variables:
        return "it is no image of a full-field microscope"
    if "energy" not in frame.variables:
        return "it does not say its photon energy"
    if frame["counts"].shape[1:] != shape:
        return f"its image is {frame['counts'].shape[1:]}, that of the other frames {shape}"
    return None


def _name(frame: xr.Dataset) -> str:
    return Path(frame.attrs["source"]).name


def _scan(kinds: dict[str, list[xr.Dataset]], energy: float) -> xr.Dataset:
    first = kinds["sample"][0]
    arrays = [
        label(name, lazy(JoinedFrames([frame["counts"] for frame in kinds[kind]])), (dim, "row", "column"))
        for name, kind, dim in (("counts", "sample", "projection"), ("flat_counts", "reference", "flat"))
    ]
    attrs = {key: first.attrs[key] for key in ("format", "source", "pixel_size") if key in first.attrs}
    for name, kind in (("exposure_s", "sample"), ("flat_exposure_s", "reference")):
        stated = [frame.attrs.get("exposure_s") for frame in kinds[kind]]
        attrs[name] = None if None in stated else float(np.mean(np.asarray(stated, dtype=float)))
    attrs["digest"] = "-".join(str(frame.attrs["digest"]) for frame in (*kinds["sample"], *kinds["reference"]))
    return dataset(arrays, **attrs).assign_coords(energy=label("energy", np.float64(energy), ()))


def _counted_remarks(frames: Sequence[xr.Dataset]) -> list[str]:
    """Every remark once, with the number of files it holds for."""
    counts: dict[str, int] = {}
    for frame in frames:
        for remark in frame.attrs.get("remarks", ()):
            counts[remark] = counts.get(remark, 0) + 1
    return [f"{remark} ({count} of {len(frames)} files)" for remark, count in counts.items()]
