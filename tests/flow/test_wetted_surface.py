"""Impedance related to the surface that another measurement has found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.errors import MeasurementError, RecipeError
from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study, Work
from cathoscope.flow.beside import in_order, read_beside
from cathoscope.flow.graph import Context
from cathoscope.flow.raw import RawMeasurement
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps.impedance import SURFACE, on_surface

SECTION = MeasurementSection.model_validate(
    {"sample": "s", "technique": "impedance", "files": ["x"], "impedance": {"surface_of": "volume"}}
)
RESISTANCE = np.array([8e6, 5e6])  # ohm
RT_OVER_F = 8.314462618 * 298.15 / 96485.33212  # V
RecipeWriter = Callable[..., Path]
RECIPE = """
[sample.s]
[measurement.spectra]
sample = "s"
technique = "impedance"
files = "x.csv"
impedance.surface_of = "{other}"
[measurement.volume]
sample = "s"
technique = "fibsem-stack"
files = "stack/*.tif"
[measurement.powder]
sample = "s"
technique = "xas"
files = "x.xdi"
"""


def volume(path: Path, surface: list[float]) -> Study:
    """A study with the surface of a particle at some temperatures."""
    study = Study.create(path)
    warm = label("temperature", 25.0 + 100 * np.arange(len(surface)), ("temperature",))
    names, sources = ("wetted_surface", "wetted_surface_std"), (None, "threshold")
    study.write(
        "result",
        "volume",
        dataset(
            label(name, np.array(surface) * part, ("temperature",), coords={"temperature": warm}, std_source=source)
            for name, part, source in zip(names, (1.0, 0.08), sources, strict=True)
        ),
    )
    return study


def related(study: Study) -> xr.Dataset:
    """What the step makes of two spectra."""
    cycle = label("cycle", np.array([0.0, 10.0]), ("cycle",))
    data = dataset(
        label(name, values, ("cycle",), coords={"cycle": cycle}, std_source=source)
        for name, values, source in (
            ("transfer_resistance", RESISTANCE, None),
            ("transfer_resistance_std", 0.01 * RESISTANCE, "fit covariance"),
        )
    )
    work, raw = Work(study, "result", "spectra", "address"), RawMeasurement("spectra", SECTION)
    beside = read_beside(study, SECTION)
    return on_surface(Context("spectra", raw, data, SECTION, study.path, SURFACE, work, Resources(), Silent(), beside))


def test_the_first_known_surface_is_that_of_every_cycle(tmp_path: Path) -> None:
    found = related(volume(tmp_path / "study.zarr", [np.nan, 250.0, 310.0]))
    assert found["electrode_area"].values.tolist() == [250.0, 250.0]
    assert found["electrode_area_std"].values == pytest.approx([20.0, 20.0])
    assert found["electrode_area_std"].attrs["std_source"] == "threshold"
    assert found["specific_resistance"].values == pytest.approx(RESISTANCE * 250e-8, rel=1e-12)
    assert found["specific_resistance_std"].values == pytest.approx(0.01 * RESISTANCE * 250e-8, rel=1e-9)
    assert found["specific_resistance_systematic"].values == pytest.approx(0.08 * RESISTANCE * 250e-8, rel=1e-9)
    assert found["exchange_current_density"].values == pytest.approx(RT_OVER_F / (RESISTANCE * 250e-8), rel=1e-6)


def test_without_a_surface_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="volume found no wetted surface"):
        related(volume(tmp_path / "nothing.zarr", [np.nan]))
    with pytest.raises(MeasurementError, match="the measurement volume has no wetted surface"):
        read_beside(Study.create(tmp_path / "empty.zarr"), SECTION)


def test_a_surface_whose_uncertainty_is_not_known_gives_none(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study.zarr")
    warm = label("temperature", np.array([25.0]), ("temperature",))
    surface = label("wetted_surface", np.array([250.0]), ("temperature",), coords={"temperature": warm})
    study.write("result", "volume", dataset([surface]))
    found = related(study)
    assert found["specific_resistance"].values == pytest.approx(RESISTANCE * 250e-8, rel=1e-12)
    assert np.isnan(found["electrode_area_std"]).all()
    assert np.isnan(found["specific_resistance_systematic"]).all()
    assert "volume does not say how sure its surface is" in found["electrode_area"].attrs["remarks"][0]


def test_results_of_an_earlier_run_are_not_used(tmp_path: Path) -> None:
    """Where the other measurement failed, what an older run left has another address than that of this run."""
    study = volume(tmp_path / "study.zarr", [250.0])
    names = ("wetted_surface", "wetted_surface_std")
    own = {name: study.address("volume", name) for name in names}
    assert set(read_beside(study, SECTION, own).data_vars) == set(names)
    with pytest.raises(MeasurementError, match="no results of this run"):
        read_beside(study, SECTION, dict.fromkeys(names, "another"))


def test_the_measurement_of_the_surface_comes_first(write_recipe: RecipeWriter) -> None:
    order = in_order(load_recipe(write_recipe(RECIPE.format(other="volume"))))
    assert order == ["volume", "spectra", "powder"]
    with pytest.raises(RecipeError, match="names no other measurement that can be used"):
        in_order(load_recipe(write_recipe(RECIPE.format(other="powder"))))
