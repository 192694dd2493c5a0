"""The size of a detector pixel at the sample, and the thickness of slices."""

from __future__ import annotations

import math

import numpy as np

from cathoscope.flow.raw import RawMeasurement


def pixel_size_of(raw: RawMeasurement) -> float:
    """Detector pixel at the sample in um: the recipe's word, else the files'.

    Where the magnification follows the energy it is the geometric mean of the smallest and the largest: the size at
    which volumes are made, magnification 1.
    """
    if raw.section.pixel_size:
        return float(raw.section.pixel_size)
    sizes = {float(scan.attrs["pixel_size"]) for scan in raw.scans.values() if "pixel_size" in scan.attrs}
    return sizes.pop() if len(sizes) == 1 else math.sqrt(min(sizes) * max(sizes))


def slice_thickness_of(raw: RawMeasurement) -> float | None:
    """Thickness of the slices of a stack in um: the recipe's word, else the files', else the step of their depths."""
    if raw.section.slices is not None and raw.section.slices.thickness is not None:
        return float(raw.section.slices.thickness)
    scan = raw.first
    if "thickness" in scan.attrs:
        return float(scan.attrs["thickness"])
    if "slice_depth" in scan.coords and scan.sizes["page"] > 1:
        step = float(np.median(np.abs(np.diff(scan["slice_depth"].values))))
        return step if step > 0 else None
    return None
