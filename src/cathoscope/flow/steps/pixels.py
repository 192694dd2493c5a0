"""The size of a detector pixel at the sample."""

from __future__ import annotations

import math

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
