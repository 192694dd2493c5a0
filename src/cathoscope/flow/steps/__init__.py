"""The one place that imports techniques and readers: what each technique does, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from cathoscope.flow.steps import mixture, projections, spectra
from cathoscope.flow.steps.opening import open_measurement, open_start
from cathoscope.flow.steps.technique import Technique

TECHNIQUES: Mapping[str, Technique] = MappingProxyType(
    {
        "tomography": Technique(
            "Tomography", projections.STEPS, targets=projections.TARGETS, fixable=projections.FIXABLE
        ),
        "xanes-tomography": Technique(
            "XANES tomography",
            (*projections.STEPS, *spectra.STEPS),
            targets=(*projections.TARGETS, *spectra.TARGETS),
            fixable=projections.FIXABLE,
        ),
        "spectromicroscopy": Technique(
            "Spectromicroscopy", mixture.STEPS, targets=mixture.TARGETS, if_possible=mixture.IF_POSSIBLE
        ),
    }
)

__all__ = ["TECHNIQUES", "Technique", "open_measurement", "open_start"]
