"""What is found from several measurements together: when it is computed, kept, forgotten, and what it is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.errors import MeasurementError, RecipeError, StudyError
from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.relations import place_of
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.relations import Gathered, Relation, require_known, run_relations
from cathoscope.report.relations import relation_parts

_RECIPE = """
[sample.rod]
[sample.gravel]
[measurement.a]
sample = "rod"
technique = "tomography"
files = "a*.h5"
[measurement.b]
sample = "gravel"
technique = "tomography"
files = "b*.h5"
"""


def _mean(gathered: Gathered) -> xr.Dataset | None:
    members = list(gathered.having("white_line_mean"))
    if len(members) < 2:
        return None
    gathered.remark(f"{' and '.join(member.sample for member in members)} are compared")
    values = np.mean([member.data["white_line_mean"].values for member in members], axis=0)
    return dataset([label("white_line_mean", values, ("temperature",), coords=members[0].data.coords)])


def _fails(gathered: Gathered) -> xr.Dataset | None:
    raise MeasurementError("the samples were heated at other rates")


_MEAN = Relation("mean", "The mean", _mean, ("white_line_mean",))


def _study(folder: Path) -> Study:
    study = Study.create(folder / "study.zarr")
    for name, energy in (("a", 8350.0), ("b", 8348.0)):
        _write(study, name, energy)
    return study


def _write(study: Study, name: str, energy: float) -> None:
    coords = {"temperature": label("temperature", np.array([25.0, 150.0]), ("temperature",))}
    arrays = [
        label("white_line_mean", np.array([energy, energy - 1]), ("temperature",), coords=coords),
        label("white_line_mean_std", np.ones(2), ("temperature",), coords=coords, std_source="scatter"),
        label("white_line_width", np.ones(2), ("temperature",), coords=coords),
    ]
    study.write("result", name, dataset(arrays), address=f"{name}{energy}")


def _run(folder: Path, study: Study, *relations: Relation, extra: str = "") -> list:
    (folder / "study.toml").write_text(_RECIPE + extra, encoding="utf-8")
    recipe = load_recipe(folder / "study.toml")
    require_known(recipe, relations)
    return run_relations(recipe, study, relations, resources=Resources(), progress=Silent())


def test_a_relation_is_kept_until_one_of_its_inputs_changes(tmp_path: Path) -> None:
    study = _study(tmp_path)
    (first,) = _run(tmp_path, study, _MEAN)
    assert first.computed
    assert first.found
    np.testing.assert_allclose(study.read("result", place_of("mean"))["white_line_mean"], [8349.0, 8348.0])
    (second,) = _run(tmp_path, study, _MEAN)
    assert not second.computed
    assert second.remarks == first.remarks == ["rod and gravel are compared"]
    _write(study, "b", 8346.0)
    (third,) = _run(tmp_path, study, _MEAN)
    assert third.computed
    np.testing.assert_allclose(study.read("result", place_of("mean"))["white_line_mean"], [8348.0, 8347.0])


def test_a_relation_sees_what_it_uses_with_its_uncertainty_and_nothing_else(tmp_path: Path) -> None:
    seen = []

    def look(gathered: Gathered) -> None:
        seen.extend(sorted(map(str, gathered.members[0].data.data_vars)))

    (outcome,) = _run(tmp_path, _study(tmp_path), Relation("look", "Look", look, ("white_line_mean",)))
    assert seen == ["white_line_mean", "white_line_mean_std"]
    assert not outcome.found


def test_one_that_fails_is_told_and_leaves_nothing_from_before(tmp_path: Path) -> None:
    study = _study(tmp_path)
    _run(tmp_path, study, _MEAN)
    failing = Relation("mean", "The mean", _fails, ("white_line_mean",))
    failed, other = _run(tmp_path, study, failing, Relation("other", "Other", _mean, ("white_line_mean",)))
    assert "other rates" in str(failed.failure)
    assert other.found
    assert place_of("mean") not in study.measurements("result")


def test_what_is_left_out_and_what_is_no_longer_known_goes(tmp_path: Path) -> None:
    study = _study(tmp_path)
    _run(tmp_path, study, _MEAN)
    assert _run(tmp_path, study, _MEAN, extra='[relate]\nleave_out = ["mean"]\n') == []
    assert place_of("mean") not in study.measurements("result")
    _run(tmp_path, study, _MEAN)
    _run(tmp_path, study)
    assert study.measurements("result") == ["a", "b"]


def test_names_are_checked_at_their_line(tmp_path: Path) -> None:
    study = _study(tmp_path)
    with pytest.raises(RecipeError, match=r"line 13(.|\n)*mean"):
        _run(tmp_path, study, _MEAN, extra='[relate]\nleave_out = ["maen"]\n')
    extra = '[measurement.across-mean]\nsample = "rod"\ntechnique = "tomography"\nfiles = "c"\n'
    with pytest.raises(RecipeError, match="choose another name"):
        _run(tmp_path, study, _MEAN, extra=extra)


def test_the_report_of_results_that_another_version_made_says_so(tmp_path: Path) -> None:
    study = _study(tmp_path)
    lacking = label("white_line_mean", np.array([8350.0]), ("temperature",))
    study.write("result", place_of("cycles"), dataset([lacking]), address="old")
    with pytest.raises(StudyError, match="made by another version") as error:
        relation_parts(study)
    assert "run the recipe again" in str(error.value.cure)
