"""Scans of a series whose geometry is found one by one: those that do not fit the others are told all the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.study import Study
from cathoscope.flow.graph import Context
from cathoscope.flow.steps.geometry import STEPS, survey
from tests.flow.fabricated import PIXEL, Ball

BALL = Ball(n_rows=8, attenuation=(0.5, 0.5, 0.5, 0.6, 0.7, 0.8, 0.9, 0.9, 0.9, 0.9, 0.9), jitter=0.0)
SHORT, OTHER_FLATS, ELSEWHERE = 2, 4, 8


@pytest.fixture
def context(study: Study) -> Context:
    given = BALL.context(study, series=False, survey_rows=8)
    return replace(given, makes=STEPS[0].makes)


def surveyed(context: Context, changed: dict[int, xr.Dataset]) -> tuple[xr.Dataset, list[str]]:
    """What the step makes where some scans are others, and its remarks on scans that do not fit."""
    context.raw.scans.update({(0, e): scan for e, scan in changed.items()})
    found = survey(context)
    remarks = [remark for remark in found["angle"].attrs["remarks"] if remark.startswith("scan_")]
    return found, remarks


def test_scans_that_fit_are_not_spoken_of(context: Context) -> None:
    found, remarks = surveyed(context, {})
    assert remarks == []
    assert found["angle"].attrs["set_aside"] == []
    truth = [0.5 * (BALL.n_columns - 1)] * len(BALL.attenuation)
    pull = (found["rotation_axis"].values[0] - truth) / found["rotation_axis_std"].values[0]
    assert np.abs(pull).max() < 4
    assert (found["rotation_axis_std"] * PIXEL < 0.01).all()


def test_each_scan_that_does_not_fit_is_told(context: Context) -> None:
    scans = context.raw.scans
    flats = scans[0, OTHER_FLATS].assign(flat_counts=scans[0, OTHER_FLATS]["flat_counts"] / 1.8)
    elsewhere = scans[0, ELSEWHERE].assign(counts=scans[0, 0]["counts"])
    short = scans[0, SHORT].isel(projection=slice(0, 15))
    found, remarks = surveyed(context, {SHORT: short, OTHER_FLATS: flats, ELSEWHERE: elsewhere})
    ((file, reason, _),) = found["angle"].attrs["set_aside"]
    assert (file, reason.split(":")[0]) == (f"scan_{SHORT}.h5", "it has 15 projections, the other scans 40")
    assert np.flatnonzero(np.isnan(found["rotation_axis"].values[0])).tolist() == [SHORT]
    of_flats, of_energy = remarks
    assert of_flats.startswith(f"scan_{OTHER_FLATS}.h5: the flats differ")
    assert "factor 1.8" in of_flats
    assert of_energy.startswith(f"scan_{ELSEWHERE}.h5: it absorbs less")


def test_a_beam_that_the_recipe_fixes_is_not_compared(context: Context) -> None:
    flats = context.raw.scans[0, OTHER_FLATS]
    other = replace(context, makes=tuple(name for name in context.makes if name != "beam_intensity"))
    _, remarks = surveyed(other, {OTHER_FLATS: flats.assign(flat_counts=flats["flat_counts"] / 1.8)})
    assert remarks == []
