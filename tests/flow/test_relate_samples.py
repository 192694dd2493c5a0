"""Samples of a study against each other: what is matched with what, what cancels, what is said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.schema import dataset, label
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.relations import Gathered, Member
from cathoscope.flow.steps.relate_samples import relate_samples

_HEAD = '[sample.rod]\n[sample.gravel]\n[relate]\npairs = "{pairs}"\n'
_PARTICLE = """
[measurement.{sample}-{number}]
sample = "{sample}"
technique = "xanes-tomography"
particle = {number}
[[measurement.{sample}-{number}.series]]
temperature = "25 C"
files = "a"
foil = "{foil}.xdi"
[[measurement.{sample}-{number}.series]]
temperature = "150 C"
files = "b"
foil = "{foil}.xdi"
"""
_FOIL, _OWN = 0.6, 0.01


def _data(values: tuple[float, float], own: float = _OWN) -> xr.Dataset:
    coords = {"temperature": label("temperature", np.array([25.0, 150.0]), ("temperature",))}
    std = np.full(2, np.hypot(_FOIL, own))
    arrays = [
        label("white_line_mean", np.array(values), ("temperature",), coords=coords),
        label("white_line_mean_std", std, ("temperature",), coords=coords, std_source="scatter"),
        label("untrusted_share", np.array([0.0, 0.2]), ("temperature",), coords=coords),
    ]
    arrays[0].attrs["systematic_std"] = [[["foil", _FOIL]], [["foil", _FOIL]]]
    return dataset(arrays)


def _gathered(folder: Path, values: dict[str, list[tuple[float, float]]], foil: str = "foil") -> Gathered:
    text, members = _HEAD.format(pairs="all"), []
    for sample, particles in values.items():
        for number, _ in enumerate(particles, start=1):
            text += _PARTICLE.format(sample=sample, number=number, foil=foil.format(sample=sample))
    (folder / "study.toml").write_text(text, encoding="utf-8")
    recipe = load_recipe(folder / "study.toml")
    for name, section in recipe.model.measurement.items():
        data = _data(values[section.sample][section.particle - 1])
        members.append(Member(name, section.sample, section.particle, section.technique, section, data))
    return Gathered(tuple(members), recipe.samples(), recipe.model.relate, Resources(), Silent())


def test_one_foil_for_both_cancels_and_two_do_not(tmp_path: Path) -> None:
    values = {"rod": [(8350.0, 8348.5)], "gravel": [(8350.0, 8349.5)]}
    same = relate_samples(_gathered(tmp_path, values))
    other = relate_samples(_gathered(tmp_path, values, foil="{sample}"))
    assert same is not None
    assert other is not None
    np.testing.assert_allclose(same["comparison_difference"], [0.0, -1.0], atol=1e-9)
    np.testing.assert_allclose(same["comparison_difference_std"], _OWN * np.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(other["comparison_difference_std"], np.sqrt(2) * np.hypot(_FOIL, _OWN), rtol=1e-6)
    assert list(same["comparison_verdict"].values) == [0, 2]  # these particles differ, nothing is said of the samples
    assert list(other["comparison_verdict"].values) == [0, 0]
    assert "20% of the voxels" in same["comparison"].attrs["doubts"][1][0]
    assert "systematic" in other["comparison"].attrs["doubts"][0][-1]


def test_three_particles_of_each_speak_for_the_samples(tmp_path: Path) -> None:
    spread = (-0.02, 0.0, 0.02)
    values = {
        "rod": [(8350.0 + each, 8348.5 + each) for each in spread],
        "gravel": [(8350.0 - each, 8349.5 + each) for each in spread],
    }
    gathered = _gathered(tmp_path, values)
    found = relate_samples(gathered)
    assert found is not None
    assert gathered.remarks == []
    np.testing.assert_array_equal(found["comparison_first_count"], [3, 3])
    np.testing.assert_allclose(found["comparison_difference_std"], 0.02 * np.sqrt(2 / 3), rtol=1e-6)
    assert list(found["comparison_verdict"].values) == [0, 1]
    assert (found["comparison_corrected"] >= found["comparison_discovery"]).all()
    assert found["comparison"].attrs["names"][1] == "mean white line, 150 °C: rod − gravel"


def test_one_particle_each_is_said_to_be_that(tmp_path: Path) -> None:
    gathered = _gathered(tmp_path, {"rod": [(8350.0, 8348.5)], "gravel": [(8350.0, 8349.5)]})
    relate_samples(gathered)
    assert "2 of 2 comparisons rest on one particle of each sample" in gathered.remarks[0]


def _cycles(gathered: Gathered, reached: dict[str, tuple[float, ...]]) -> Gathered:
    """Particles that reach a porosity, each to 3 cycles below and openly above."""
    members = []
    for member in gathered.members:
        assert member.particle is not None
        value = reached[member.sample][member.particle - 1]
        numbers = {"": value, "_low": min(value, 45.0) - 3.0, "_high": np.inf}
        arrays = [label(f"cycle_of_porosity{name}", np.float64(number), ()) for name, number in numbers.items()]
        members.append(replace(member, data=dataset([*arrays, label("asked_porosity", np.float64(0.22), ())])))
    return replace(gathered, members=tuple(members))


def test_open_intervals_that_agree_by_chance_are_no_surer_than_their_closed_ends(tmp_path: Path) -> None:
    gathered = _gathered(tmp_path, {"rod": [(8350.0, 8348.5)] * 3, "gravel": [(8350.0, 8349.5)] * 3})
    found = relate_samples(_cycles(gathered, {"rod": (30.0, 30.01, 30.02), "gravel": (42.0, 42.01, 42.02)}))
    assert found is not None
    np.testing.assert_allclose(found["comparison_difference"], [-12.0])
    np.testing.assert_allclose(found["comparison_difference_std"], [3.0 * np.sqrt(2 / 3)], rtol=1e-6)


def test_a_mean_without_those_that_never_reach_it_is_not_compared(tmp_path: Path) -> None:
    gathered = _gathered(tmp_path, {"rod": [(8350.0, 8348.5)] * 3, "gravel": [(8350.0, 8349.5)] * 3})
    gathered = _cycles(gathered, {"rod": (30.0, 31.0, np.inf), "gravel": (41.0, 43.0, 42.0)})
    assert relate_samples(gathered) is None
    assert gathered.remarks == [
        "cycle of the porosity asked for: 1 of rod do not reach it in the series: the samples are not compared in it"
    ]


def test_a_single_sample_is_not_compared(tmp_path: Path) -> None:
    assert relate_samples(_gathered(tmp_path, {"rod": [(8350.0, 8348.5)]})) is None
