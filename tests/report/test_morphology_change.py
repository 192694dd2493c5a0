"""The figure of a heated particle's change: what it draws, and when there is nothing to draw."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.schema import dataset, label
from cathoscope.report.figures.morphology_change import change_panel
from cathoscope.report.summary import main_numbers


@pytest.fixture
def data() -> xr.Dataset:
    temperature = {"temperature": label("temperature", np.array([25.0, 150.0, 200.0]), ("temperature",))}
    numbers = {
        "relative_volume": ([1.0, 0.9, np.nan], [0.0, 0.01, np.nan], [0.0, 0.009, np.nan]),
        "relative_core": ([np.nan] * 3, [np.nan] * 3, [np.nan] * 3),
        "porosity_change": ([0.0, -0.08, np.nan], [0.0, 0.002, np.nan], [0.0, 0.001, np.nan]),
    }
    arrays = [
        label(
            name + part,
            np.array(values),
            ("temperature",),
            coords=temperature,
            std_source="fit covariance" if part == "_std" else None,
        )
        for name, parts in numbers.items()
        for part, values in zip(("", "_std", "_systematic"), parts, strict=True)
    ]
    axes = {dim: label(dim, 0.1 * np.arange(6), (dim,)) for dim in "zyx"}
    change = np.full((3, 6, 6, 6), np.nan, dtype=np.float32)
    change[1] = np.linspace(-1, 1, 6)
    arrays.append(label("solid_change", change, ("temperature", "z", "y", "x"), coords=temperature | axes))
    return dataset(arrays)


def test_numbers_and_the_temperature_that_changed_most_are_drawn(data: xr.Dataset) -> None:
    panel = change_panel(data)
    assert panel is not None
    volumes, porosity, image = panel.figure.axes[:3]
    assert len(volumes.containers) == 2  # the core is not there
    assert porosity.get_ylabel() == "change of porosity"
    assert image.get_title() == "150 °C less 25 °C"
    assert "registration" in panel.caption


def test_without_a_map_there_is_no_picture_of_it(data: xr.Dataset) -> None:
    panel = change_panel(data.drop_vars("solid_change"))
    assert panel is not None
    assert len(panel.figure.axes) == 2
    assert "registration" not in panel.caption


def test_a_single_temperature_has_no_change(data: xr.Dataset) -> None:
    assert change_panel(xr.Dataset()) is None
    nothing = data.copy()
    nothing["relative_volume_std"] = nothing["relative_volume_std"] * np.nan
    assert change_panel(nothing) is None


def test_the_first_temperature_is_not_told_as_a_number(data: xr.Dataset) -> None:
    told = data.assign(pore_kind=xr.DataArray(0))
    words = [row.name for row in main_numbers(told)]
    assert words == ["relative volume, 150 °C"]
