"""The size of a detector pixel at the sample."""

from __future__ import annotations

from cathoscope.flow.raw import RawMeasurement


def pixel_size_of(raw: RawMeasurement) -> float:
    """Detector pixel at the sample in um: the recipe's word, else the file's."""
    return float(raw.section.pixel_size or raw.first.attrs["pixel_size"])
