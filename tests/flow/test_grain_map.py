"""Grains that another experiment has mapped come onto the voxels of the volumes, or it is said why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydantic
import pytest
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study, Work
from cathoscope.flow.graph import Context
from cathoscope.flow.sections import GrainsSection, MeasurementSection
from cathoscope.flow.steps.grain_map import asked_for, grain_map, steps
from cathoscope.virtual.grain_files import write_grain_files
from tests.mistakes.damaged import series_without_scans

GRAINS = GrainsSection(labels="rod-grains.tif", axes="rod-grains.csv")


def context(folder: Path, shape: tuple[int, int, int]) -> Context:
    """A particle of these voxels whose grains were mapped on 2 x 3 x 4."""
    write_grain_files(folder, "rod", np.ones((2, 3, 4), np.int32), np.array([[0.0, 0.0, 1.0]]))
    raw = series_without_scans({25: "foil"}, [25])
    section = raw.section.model_copy(update={"grains": GRAINS})
    coords = {dim: 0.1 * np.arange(size) for dim, size in zip("zyx", shape, strict=True)}
    mask = label("particle_mask", np.ones((1, *shape), bool), ("temperature", "z", "y", "x"), coords=coords)
    work = Work(Study.create(folder / "study.zarr"), "result", "rod", "address")
    makes = ("grain_label", "grain_c_axis")
    return Context("rod", raw, dataset([mask]), section, folder, makes, work, Resources(), Silent())


def test_labels_lie_on_the_voxels_of_the_particle(tmp_path: Path) -> None:
    here = context(tmp_path, (2, 3, 4))
    found = grain_map(here)
    assert found["grain_label"].shape == (2, 3, 4)
    xr.testing.assert_equal(found["grain_label"]["x"], here.data["x"])


def test_another_grid_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="not on the voxels") as error:
        grain_map(context(tmp_path, (2, 4, 4)))
    assert "2 x 4 x 4" in str(error.value.expected)
    assert error.value.found == "2 x 3 x 4"


def test_only_a_recipe_with_grains_has_this_step() -> None:
    alone = MeasurementSection(sample="rod", technique="xanes-tomography", files=["x"])
    mapped = MeasurementSection(sample="rod", technique="xanes-tomography", files=["x"], grains=GRAINS)
    assert steps(alone) == asked_for(alone) == ()
    assert [step.name for step in steps(mapped)] == ["grain map"]
    assert asked_for(mapped) == ("grain_c_axis",)
    with pytest.raises(pydantic.ValidationError, match="grains belongs to"):
        MeasurementSection(sample="rod", technique="tomography", files=["x"], grains=GRAINS)
