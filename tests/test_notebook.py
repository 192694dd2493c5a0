"""What a notebook sees: ``import cathoscope as cs``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cathoscope as cs
from cathoscope.core.errors import StudyError
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    made = Study.create(tmp_path / "heated.zarr")
    coords = {"temperature": label("temperature", np.array([25.0, 150.0]), ("temperature",))}
    mean = label("white_line_mean", np.array([8350.1, 8348.2]), ("temperature",), coords=coords)
    std = label("white_line_mean_std", np.array([0.1, 0.2]), ("temperature",), coords=coords, std_source="scatter")
    made.write_raw("rod-1", {"sample": "rod <a>", "particle": 1, "technique": "xanes-tomography"})
    made.write("result", "rod-1", dataset([mean, std]), address="a")
    made.write("truth", "rod-1", dataset([mean - 0.1]).map(lambda array: array.assign_attrs(mean.attrs)))
    return made


def test_results_are_xarray_with_units(study: Study) -> None:
    data = cs.open(study.path)["rod-1"]
    assert data.white_line_mean.sel(temperature=150).item() == 8348.2
    assert data.white_line_mean.attrs["units"] == "eV"


def test_a_measurement_that_is_not_there_is_named(study: Study) -> None:
    with pytest.raises(StudyError, match=r"rod-2(.|\n)*rod-1"):
        study["rod-2"]


def test_a_study_says_what_it_holds(study: Study) -> None:
    assert "2 x temperature 25 to 150 °C" in repr(study)
    page = study._repr_html_()
    assert "rod &lt;a&gt;, particle 1" in page
    assert "<a>" not in page


def test_numbers_are_a_table_with_places(study: Study) -> None:
    table = cs.numbers(study)
    row = table[(table["array"] == "white_line_mean") & (table["temperature"] == 150)].iloc[0]
    assert (row["value"], row["sigma"], row["unit"]) == (8348.2, 0.2, "eV")


def test_truth_is_a_table(study: Study) -> None:
    row = cs.compare(study).iloc[0]
    assert row["bias"] == pytest.approx(0.1)
    assert row["pull_mean"] == pytest.approx(0.75)


def test_figures_show_themselves_with_their_caption(study: Study) -> None:
    made = cs.figures(study, "rod-1")
    assert made
    for key, panel in made.items():
        assert panel.key == key
        assert panel.caption[:20] in panel._repr_html_()


def test_importing_loads_nothing_heavy() -> None:
    code = "import sys, cathoscope; print([name for name in ('numpy', 'xarray', 'pandas') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="opne"):
        cs.opne  # noqa: B018
