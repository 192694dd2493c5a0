"""Kinetics of oxygen release from arrays of a study to the sentence."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.schema import dataset, label
from cathoscope.flow.relate_sections import ConditionsSection, RelateSection
from cathoscope.flow.relations import Gathered, Member
from cathoscope.flow.steps import relate_kinetics as step
from cathoscope.relate.release_fit import Choices
from cathoscope.relate.release_table import Ranges
from cathoscope.report import relate_kinetics as view
from cathoscope.report.style import journal_style

_SIZE, _VOXEL = 20, 0.3
_RADIUS = np.linalg.norm(np.indices((_SIZE,) * 3) - 9.5, axis=0)
_MASK = (_RADIUS < 9) & (_RADIUS > 3)
_TEMPERATURES = (25.0, 150.0, 200.0, 250.0)
_ROD = np.array([8350.4, 8348.5, 8348.15, 8347.8])
_GRAVEL = np.array([8350.4, 8349.5, 8348.2, 8347.8])


def _particle(mean: np.ndarray, contrast: float = 0.0) -> xr.Dataset:
    depth = 0.15 + 0.3 * np.arange(7)
    place = _VOXEL * (np.arange(_SIZE) - 9.5)
    coords = {name: label(name, place, (name,)) for name in "zyx"}
    coords["temperature"] = label("temperature", np.array(_TEMPERATURES), ("temperature",))
    coords["depth"] = label("depth", depth, ("depth",))
    profile = np.tile(mean[:, None], depth.size)
    profile[1] += contrast * (depth - depth.mean())
    profile[:, -1] = np.nan
    flat, shells = ("temperature",), ("temperature", "depth")
    return dataset(
        [
            label("white_line_mean", mean, flat, coords=coords),
            label("white_line_mean_std", np.full(4, 0.02), flat, coords=coords, std_source="scatter"),
            label("white_line_width", np.array([0.7, 0.3, 0.2, 0.2]), flat, coords=coords),
            label("correlation_length", np.full(4, 0.5), flat, coords=coords),
            label("white_line_profile", profile, shells, coords=coords),
            label("white_line_profile_std", np.full(profile.shape, 0.003), shells, coords=coords, std_source="scatter"),
            label("particle_mask", np.array([_MASK] * 4), ("temperature", "z", "y", "x"), coords=coords),
        ]
    )


def _gathered(*particles: tuple[str, xr.Dataset], choices: RelateSection | None = None) -> Gathered:
    members = tuple(
        Member(f"{sample}-{k}", sample, k, "xanes-tomography", None, data)
        for k, (sample, data) in enumerate(particles, 1)
    )
    return Gathered(members, {}, choices or RelateSection(), Resources(), Silent())


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit that takes a tenth of a second."""
    monkeypatch.setattr(step, "Choices", partial(Choices, points=250))
    monkeypatch.setattr(step, "Ranges", partial(Ranges, points=(12, 20, 2, 2)))


@pytest.mark.usefixtures("coarse")
def test_from_maps_to_sentences() -> None:
    gathered = _gathered(("rod", _particle(_ROD)), ("gravel", _particle(_GRAVEL, 0.1)))
    found = step.KINETICS.function(gathered)
    assert found is not None
    assert any("assumed" in one for one in gathered.remarks)
    assert float(found["release_time"].attrs["reference"]) == 150.0
    rod, gravel = found["release_time_wide_high"].values
    assert rod < gravel
    assert float(found["path_ratio_wide_low"][1]) > 1.0
    assert float(found["release_energy_wide_low"]) > 30.0
    assert found["left_out_line"].isnull().values[:, 0].all()
    assert (found["left_out_score_wide"].values[:, 2] < found["straight_score_wide"].values[:, 2]).all()
    said = view.sentences(found)
    assert said[0].startswith("Activation energy of the release of oxygen: above")
    assert "out of gravel is at least" in said[1]
    assert any("200 °C is predicted" in one for one in said)
    with journal_style():
        assert [one.key for one in view.panels(found)] == ["kinetics-profiles", "kinetics-energy", "kinetics-left-out"]
    samples, left_out, models = view.tables(found)
    assert np.isnan(samples.columns[0].values[0])  # of the rod only a limit is known
    assert "an upper limit" in samples.words[0]
    assert len(left_out.names) == 6
    assert len(models.names) == 3


@pytest.mark.usefixtures("coarse")
def test_particles_that_were_heated_otherwise_are_left_out_and_named() -> None:
    slow = RelateSection(conditions={"gravel-3": ConditionsSection.model_validate({"rate": "1 K/min"})})
    particles = ("gravel", _particle(_GRAVEL)), ("gravel", _particle(_GRAVEL)), ("gravel", _particle(_GRAVEL + 1.0))
    gathered = _gathered(*particles, choices=slow)
    found = step.KINETICS.function(gathered)
    assert found is not None
    assert any("gravel-3 was heated otherwise" in one for one in gathered.remarks)
    np.testing.assert_allclose(found["release_line"][0], _GRAVEL)
    assert view.sentences(found)
    assert found["path_ratio"].values == 1.0


def test_two_temperatures_tell_no_kinetics() -> None:
    two = _particle(_ROD).isel(temperature=slice(0, 2))
    assert step.KINETICS.function(_gathered(("rod", two))) is None


def test_a_sample_is_the_mean_of_its_particles() -> None:
    members = _gathered(("rod", _particle(_ROD)), ("rod", _particle(_ROD + 0.1, 0.2))).members
    both = step.heated_sample("rod", members)
    one = step.heated_sample("rod", members[:1])
    np.testing.assert_allclose(both.mean, _ROD + 0.05)
    # the scale of energy is common to them, their scatter comes on top
    np.testing.assert_allclose(both.mean_std, np.hypot(0.02, 0.1 / 2), rtol=1e-6)
    np.testing.assert_allclose(both.profile_std[:, :-1], one.profile_std[:, :-1] / np.sqrt(2))
    assert one.radius == pytest.approx(9 * _VOXEL, rel=0.01)
    assert 4 / 3 * np.pi * one.core**3 == pytest.approx((_RADIUS <= 3).sum() * _VOXEL**3)
    assert one.volume.sum() == pytest.approx(_MASK.sum() * _VOXEL**3)
    assert (one.volume[:-1] > one.volume[1:]).all()
