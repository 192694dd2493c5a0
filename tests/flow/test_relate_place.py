"""Chemistry against place from arrays of a study to the sentence: where oxygen leaves first."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.schema import dataset, label
from cathoscope.flow.relate_sections import RelateSection
from cathoscope.flow.relations import Gathered, Member
from cathoscope.flow.steps.relate_place import PLACE
from cathoscope.relate.distances import distance_below
from cathoscope.report import relate_place
from cathoscope.report.style import journal_style

_SIZE, _VOXEL = 16, 0.3
_GRID = np.indices((_SIZE,) * 3) - 7.5
_RADIUS = np.linalg.norm(_GRID, axis=0)
_DEPTH = distance_below(_RADIUS < 7.4, voxel=_VOXEL)
_MASK = (_RADIUS < 7.4) & (_RADIUS > 2.5)


def _particle(slope: float, seed: int, **more: np.ndarray) -> xr.Dataset:
    """Two temperatures of a hollow ball whose change is lower by ``slope`` (eV/um) nearer to the surface."""
    rng = np.random.default_rng(seed)
    first = 8350.0 + 0.2 * rng.standard_normal((_SIZE,) * 3)
    change = -1.0 + slope * _DEPTH + 0.2 * rng.standard_normal((_SIZE,) * 3)
    place = _VOXEL * (np.arange(_SIZE) - 7.5)
    coords = {name: label(name, place, (name,)) for name in "zyx"}
    coords["temperature"] = label("temperature", np.array([25.0, 150.0]), ("temperature",))
    coords["step"] = label("step", np.array([1]), ("step",))
    coords["step"].attrs["names"] = ["25 to 150 C"]
    space = ("temperature", "z", "y", "x")
    flag = np.where(_MASK, 0, 100)
    arrays = [
        label("white_line_energy", np.array([first, first + change]), space, coords=coords),
        label("white_line_energy_std", np.full((2, *first.shape), 0.1), space, coords=coords, std_source="half-set"),
        label("white_line_flag", np.array([flag, flag]), space, coords=coords),
        label("particle_mask", np.array([_MASK, _MASK]), space, coords=coords),
        label("white_line_difference", np.where(_MASK, change, np.nan)[None], ("step", "z", "y", "x"), coords=coords),
    ]
    arrays += [label(name, np.array([one, one]), space, coords=coords) for name, one in more.items()]
    return dataset(arrays)


def _found(*particles: tuple[str, xr.Dataset]) -> tuple[xr.Dataset | None, list[str]]:
    members = tuple(
        Member(f"{sample}-{k}", sample, k, "xanes-tomography", None, data)
        for k, (sample, data) in enumerate(particles, 1)
    )
    gathered = Gathered(members, {}, RelateSection(), Resources(), Silent())
    return PLACE.function(gathered), gathered.remarks


def test_oxygen_that_leaves_at_the_surface_is_told_so() -> None:
    found, remarks = _found(("gravel", _particle(0.3, 1)), ("rod", _particle(0.0, 2)))
    assert found is not None
    effect = float(found["place_first_effect"][0, 0])
    span = np.ptp(np.percentile(_DEPTH[_MASK & (_RADIUS < 6.4) & (_RADIUS > 3.5)], (10, 90)))
    assert effect == pytest.approx(0.3 * span, abs=4 * float(found["place_first_effect_std"][0, 0]))
    assert effect > 0.5 * 0.3 * span
    said = relate_place.sentences(found)
    assert "gravel" in said[0]
    assert "oxygen leaves first near the outer surface" in said[0]
    assert "p < 0.001" in said[0]
    heads = relate_place.heads(found)
    assert len(heads) == 2  # one for every sample
    assert heads[0] == said[0]
    assert "rod" in heads[1]
    assert "no place is sure to lose oxygen first: the clearest difference, with the distance" in heads[1]
    assert any("no morphology" in one for one in remarks)
    with journal_style():
        panels = relate_place.panels(found)
    assert [one.key for one in panels] == ["place-change", "place-states"]
    table = relate_place.tables(found)[0]
    assert len(table.names) == 2 * 3 * 3  # particles, maps, variables
    assert len(table.cells) == 2 * 3  # changes on the page
    assert found["place_true_correlation"].values[2].tolist() == pytest.approx([np.nan] * 3, nan_ok=True)


def test_particles_of_a_sample_are_taken_together() -> None:
    found, _ = _found(*(("gravel", _particle(0.3, seed)) for seed in (1, 2)))
    assert found is not None
    assert found["place_sample"].attrs["particles"] == [2]
    alone, _ = _found(("gravel", _particle(0.3, 1)))
    assert alone is not None
    # two particles say less of all others than one of itself
    assert float(found["place_first_probability"][0, 0]) > float(alone["place_first_probability"][0, 0])
    assert "of 2 particles" in relate_place.sentences(found)[0]


def test_cracks_and_ways_are_used_where_they_are_known() -> None:
    kind = np.zeros((_SIZE,) * 3, np.uint8)
    kind[(np.abs(_GRID[0]) < 1) & (_GRID[2] > 2) & _MASK] = 1
    found, remarks = _found(("gravel", _particle(0.3, 1, pore_kind=kind, envelope_mask=_RADIUS < 7.4)))
    assert found is not None
    assert "distance to a connected crack" in found["place"].attrs["names"]
    assert not any("no morphology" in one for one in remarks)


def test_grains_give_the_turn_of_their_axes() -> None:
    data = _particle(0.0, 1, grain_label=np.where(_GRID[2] > 0, 1, 2) * _MASK)
    axes = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    coords = {"grain": label("grain", np.array([1, 2]), ("grain",)), "axis": label("axis", np.arange(3), ("axis",))}
    found, remarks = _found(
        ("rod", dataset([*data.values(), label("grain_c_axis", axes, ("grain", "axis"), coords=coords)]))
    )
    assert found is not None
    assert "turn of c from the radius" in found["place"].attrs["names"]
    assert not any("orientations" in one for one in remarks)


def test_a_study_without_maps_has_no_place() -> None:
    assert _found(("rod", _particle(0.0, 1).drop_vars("white_line_flag")))[0] is None
