"""The geometry of a series: what a killed run has solved is not solved again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import label
from cathoscope.core.study import Study
from cathoscope.flow.graph import Context
from cathoscope.flow.steps import series
from cathoscope.flow.steps.series import Outcome, note_from, outcome_from, solve
from tests.flow.fabricated import Ball

BALL = Ball(n_rows=24, n_columns=40, n_projections=48, attenuation=(0.5, 0.9, 0.8, 1e-9))


def context_in(study: Study) -> Context:
    """The last energy shows nothing."""
    given = BALL.context(study)
    axis = given.data["rotation_axis"]
    survey = label("survey_axis", axis.values, ("temperature", "energy"), coords=axis.coords)
    return replace(given, data=given.data.drop_vars("rotation_axis").assign(survey_axis=survey))


def test_a_solved_temperature_is_not_solved_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study.create(tmp_path / "study.zarr")
    first = solve(context_in(study))
    assert np.isfinite(first["rotation_axis"].values[0, :3]).all()
    assert np.isnan(first["rotation_axis"].values[0, 3])
    monkeypatch.setattr(series, "solve_series", pytest.fail)
    again = solve(context_in(study))
    xr.testing.assert_identical(again, first)


def test_a_temperature_that_failed_has_failed_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_args: object, **_choices: object) -> None:
        raise MeasurementError("nothing can be registered")

    study = Study.create(tmp_path / "study.zarr")
    monkeypatch.setattr(series, "solve_series", fails)
    for _ in range(2):
        with pytest.raises(MeasurementError, match="no scan fits into a series") as caught:
            solve(context_in(study))
        assert "nothing can be registered" in str(caught.value)
        monkeypatch.setattr(series, "solve_series", pytest.fail)


def test_a_note_without_geometry() -> None:
    outcome = Outcome([3, 7], None, "too few", {3: "out of place"}, {7: 0.25, 3: float("inf")})
    assert outcome_from(note_from(outcome)) == outcome


@pytest.mark.parametrize("binning", [1, 4, 16])
def test_bins_are_whole_however_little_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, binning: int
) -> None:
    context = context_in(Study.create(tmp_path / "study.zarr"))
    fine = series._binned_depth(context, (0, 1), 1)
    rows, columns = (size // binning for size in fine.shape[1:])
    cut = fine[:, : rows * binning, : columns * binning].astype(np.float64)
    expected = cut.reshape(-1, rows, binning, columns, binning).mean(axis=(2, 4))
    monkeypatch.setattr(series, "_READ_AT_ONCE", 1.0)
    np.testing.assert_allclose(series._binned_depth(context, (0, 1), binning), expected, atol=1e-5)
