"""A hollow ball at one temperature and nothing at the next: what is stored, what is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cathoscope.core.parallel import Resources
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study, Work
from cathoscope.flow.graph import Context
from cathoscope.flow.raw import RawMeasurement
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps import TECHNIQUES
from cathoscope.flow.steps.morphology import MAKES, morphology
from tests.flow.fabricated import Listening

EDGE, RADIUS, CORE = 0.05, 1.0, 0.4  # um


@pytest.fixture
def context(tmp_path: Path) -> Context:
    z, y, x = (np.indices((52, 52, 52)) - 25.6) * EDGE
    r = np.sqrt(x**2 + y**2 + z**2)
    oxide = np.clip((RADIUS - r) / EDGE + 0.5, 0, 1) - np.clip((CORE - r) / EDGE + 0.5, 0, 1)
    grey = 0.3 * (gaussian_filter(oxide, 1.0) + 0.04 * np.random.default_rng(2).standard_normal(r.shape))
    volumes = np.stack([grey, np.zeros_like(grey)]).astype(np.float32)
    coords = {dim: label(dim, EDGE * (np.arange(52) - 25.5), (dim,)) for dim in "zyx"}
    coords["temperature"] = label("temperature", np.array([25.0, 150.0]), ("temperature",))
    data = dataset([label("attenuation", volumes, ("temperature", "z", "y", "x"), coords=coords)])
    section = MeasurementSection(sample="s", technique="tomography", files=["x"], morphology={"crack_width": "0.2 um"})
    raw = RawMeasurement("ball", section, ("temperature",), {"temperature": data["temperature"]}, {})
    study = Study.create(tmp_path / "study.zarr")
    work = Work(study, "result", "ball", "address")
    return Context("ball", raw, data, section, tmp_path, MAKES, work, Resources(), Listening())


def test_what_is_found_is_stored_and_what_is_not_is_told(context: Context, tmp_path: Path) -> None:
    morphology(context)
    context.work.commit()
    data = Study.open(tmp_path / "study.zarr").read("result", "ball")
    assert set(MAKES) <= set(data.variables)
    truth = (CORE / RADIUS) ** 3
    assert float(data["porosity"][0]) == pytest.approx(truth, rel=0.03)
    assert float(data["porosity_std"][0]) >= float(data["porosity_systematic"][0]) >= 0
    assert float(data["core_volume"][0]) == pytest.approx(4 / 3 * np.pi * CORE**3, rel=0.03)
    assert float(data["shell_porosity"][0, 0]) == pytest.approx(1, abs=0.02)
    assert float(data["shell_porosity"][0, 7]) == pytest.approx(0, abs=0.02)
    assert data["porosity"].attrs["ancillary_variables"] == "porosity_std porosity_systematic"
    assert np.isnan(data["porosity"][1])
    (remark,) = [text for text in context.progress.remarks if "no morphology" in text]  # type: ignore[attr-defined]
    assert "150 C" in remark
    assert any("at 25 C: no crack" in text for text in context.progress.remarks)  # type: ignore[attr-defined]


def test_a_finished_volume_is_not_measured_again(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    morphology(context)
    monkeypatch.setattr("cathoscope.flow.steps.morphology.quantify", pytest.fail)
    again = replace(context, progress=Listening())
    morphology(again)


def test_the_table_asks_for_it_even_if_empty() -> None:
    technique = TECHNIQUES["tomography"]
    asked = MeasurementSection(sample="s", technique="tomography", files=["x"], morphology={})
    assert technique.asked_for(asked) == ("porosity",)
    assert technique.asked_for(MeasurementSection(sample="s", technique="tomography", files=["x"])) == ()


def test_what_the_corrections_of_a_stack_leave_goes_into_the_porosity(context: Context, tmp_path: Path) -> None:
    (step,) = [one for one in TECHNIQUES["fibsem-stack"].steps_for(context.section) if one.name == "morphology"]
    assert step.needs == ("oxide_share",)
    assert step.optional == ("slice_porosity_systematic",)
    share = context.data["attenuation"][0].drop_vars("temperature") / 0.3
    oxide = label("oxide_share", share.values, ("z", "y", "x"), coords=share.coords)
    left = label("slice_porosity_systematic", np.float64(0.02), ())
    step.function(replace(context, data=dataset([oxide, left])))
    context.work.commit()
    data = Study.open(tmp_path / "study.zarr").read("result", "ball")
    assert float(data["porosity_systematic"]) == pytest.approx(0.02, rel=0.1)
    assert float(data["porosity_std"]) >= float(data["porosity_systematic"])
    assert float(data["threshold_porosity_systematic"]) != pytest.approx(0.02, rel=0.1)
