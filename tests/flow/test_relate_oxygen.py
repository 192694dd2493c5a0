"""The balance of oxygen of members: a world whose charges balance, and what is found of one that does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.sample import Sample
from cathoscope.core.schema import dataset, label
from cathoscope.flow.relate_sections import RelateSection
from cathoscope.flow.relations import Gathered, Member
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps.relate_oxygen import OXYGEN
from cathoscope.report import relate_oxygen
from cathoscope.report.style import journal_style

_SAMPLES = {"rod": Sample("rod", "Li0.3Ni0.82Mn0.06Co0.12O2"), "foil": Sample("foil", "Ni")}
_SLOPE, _ZERO = 1.77, 8344.33  # eV per valence, and at valence 0
_STATED = {"standards": {"NiO": ["8347.87 eV", 2], "LiNiO2": ["8349.64 eV", 3]}, "standards_std": "0.05 eV"}
_ALIKE = {name: {"atmosphere": "vacuum", "rate": "1 K/min"} for name in ("rod-tga", "rod-1", "rod-nomad")}
_TIMES = np.array([25.0, 120.0, 150.0, 200.0, 250.0])


def _lost(temperature: Any) -> np.ndarray:
    """True oxygen lost, in one wide step."""
    return 0.4 / (1 + np.exp(-(np.asarray(temperature, float) - 190.0) / 12.0))


def _array(name: str, values: Any, dims: tuple[str, ...], coords: dict[str, Any]) -> xr.DataArray:
    source = "scatter" if name.endswith("_std") else None
    return label(name, np.asarray(values, np.float64), dims, coords=coords, std_source=source)


def _member(name: str, technique: str, arrays: list[xr.DataArray], **stated: Any) -> Member:
    known = {"sample": "rod", "technique": technique, "files": "x"} | stated
    particle = 1 if name.endswith("-1") else None
    return Member(name, "rod", particle, technique, MeasurementSection.model_validate(known), dataset(arrays))


def _temperatures(values: Any) -> xr.DataArray:
    return label("temperature", np.asarray(values, np.float64), ("temperature",))


def _balance() -> Member:
    fine = np.arange(26.0, 320.0)
    coords = {"record": label("record", np.array([1]), ("record",)), "temperature": _temperatures(fine)}
    dims = ("record", "temperature")
    arrays = [
        _array("oxygen_content", 2 - _lost(fine)[None], dims, coords),
        _array("oxygen_content_std", np.full((1, fine.size), 3e-4), dims, coords),
        _array("heating_rate", [1.0], ("record",), coords),
    ]
    return _member("rod-tga", "mass-loss", arrays)


def _particle(slope: float = _SLOPE) -> Member:
    """White lines of nickel that takes up the charge of the oxygen that leaves."""
    at = np.array([25.0, 150.0, 200.0, 250.0])
    valence = (4 - 0.3 - 4 * 0.06 - 3 * 0.12 - 2 * _lost(at)) / 0.82
    coords = {"temperature": _temperatures(at)}
    arrays = [
        _array("white_line_mean", _ZERO + slope * valence, ("temperature",), coords),
        _array("white_line_mean_std", [0.02] * 4, ("temperature",), coords),
    ]
    return _member("rod-1", "xanes-tomography", arrays, particle=1)


def _patterns() -> Member:
    """A layered phase that stays and a spinel that has all of the missing oxygen, half of the metals in each."""
    phase = label("phase", np.array([1, 2]), ("phase",))
    phase.attrs |= {"names": ["layered", "spinel"], "space_groups": ["R -3 m:H", "F d -3 m:2"]}
    coords, dims = {"temperature": _temperatures(_TIMES), "phase": phase}, ("temperature", "phase")
    spinel = 2 - 2 * _lost(_TIMES)
    metal = 0.3 * 6.94 + 0.82 * 58.693 + 0.06 * 54.938 + 0.12 * 58.933
    mass = np.stack([np.full(_TIMES.size, metal + 2 * 15.999), metal + spinel * 15.999], axis=1)
    arrays = [
        _array("weight_fraction", mass / mass.sum(axis=1, keepdims=True), dims, coords),
        _array("weight_fraction_std", np.full(mass.shape, 0.005), dims, coords),
        # 4 g / (2 + m) oxygen per metal of a spinel whose tetrahedral sites hold m nickel
        _array("oxygen_occupancy", np.stack([np.ones(_TIMES.size), spinel * 2.1 / 4], axis=1), dims, coords),
        _array("oxygen_occupancy_std", np.full(mass.shape, 0.004), dims, coords),
        _array("antisite", np.stack([np.full(_TIMES.size, 0.03), np.full(_TIMES.size, 0.1)], axis=1), dims, coords),
    ]
    phases = {"layered": {"file": "a.cif", "exchange": ["Li1", "Ni1"]}, "spinel": "b.cif"}
    return _member("rod-nomad", "diffraction", arrays, instrument="a.instprm", phases=phases)


def _found(members: list[Member], **choices: Any) -> tuple[xr.Dataset | None, list[str]]:
    section = RelateSection.model_validate({"conditions": _ALIKE, "state": _STATED} | choices)
    gathered = Gathered(tuple(members), _SAMPLES, section, Resources(), Silent())
    return OXYGEN.function(gathered), gathered.remarks


@pytest.fixture(scope="module")
def neutral() -> xr.Dataset:
    found, _ = _found([_balance(), _particle(), _patterns()])
    assert found is not None
    return found


def _at(data: xr.Dataset, name: str, temperature: float, **where: int) -> float:
    row = int(np.flatnonzero(data["temperature"].values == temperature)[0])
    return float(data[name].isel(temperature=row, oxygen_sample=0, **where))


def test_three_probes_of_a_neutral_oxide_find_its_oxygen(neutral: xr.Dataset) -> None:
    assert neutral["oxygen_probe"].attrs["names"] == ["balance", "white line", "occupancies", "ideal spinel"]
    for probe, near in ((0, 1e-6), (1, 1e-3), (2, 2e-4)):  # the last two are relative to 25 degC
        for t in (150.0, 200.0, 250.0):
            assert _at(neutral, "oxygen_compared", t, oxygen_probe=probe) == pytest.approx(_lost(t), abs=near)
    assert _at(neutral, "oxygen_joint", 250.0) == pytest.approx(_lost(250.0), abs=1e-3)
    assert float(neutral["oxygen_chance"][0]) > 0.9
    assert float(neutral["oxygen_at_start"][0]) == pytest.approx(0.0, abs=1e-4)
    np.testing.assert_allclose(neutral["oxygen_factor"].values[0, :3], 1.0, atol=0.01)
    assert neutral["oxygen_in_joint"].values[0].tolist() == [True, True, True, False]
    words = " ".join(relate_oxygen.sentences(neutral))
    assert "balance, white line and occupancies agree on the oxygen lost" in words
    assert "as the formula has it" in words


def test_a_wrong_scale_is_found_and_named() -> None:
    found, _ = _found([_balance(), _particle(1.7 * _SLOPE), _patterns()])
    assert found is not None
    assert float(found["oxygen_chance"][0]) < 1e-6
    assert float(found["oxygen_factor"][0, 1]) == pytest.approx(1.7, abs=0.05)
    assert int(np.nanargmax(found["oxygen_rest"].values[0])) == 1
    words = " ".join(relate_oxygen.sentences(found))
    assert "contradict each other" in words
    assert "Without the white line the others agree" in words
    assert "do not belong together" in words
    assert "contradict each other" in relate_oxygen.heads(found)[0]


def test_without_a_scale_the_white_line_stays_out_and_it_is_said() -> None:
    found, remarks = _found([_balance(), _particle(), _patterns()], state={})
    assert found is not None
    assert "white line" not in found["oxygen_probe"].attrs["names"]
    assert any("no scale to valence" in one for one in remarks)
    assert np.isnan(float(found["oxygen_at_start"][0]))
    alone, remarks = _found([_balance(), _particle()], state={})
    assert alone is None
    assert any("nothing to balance" in one for one in remarks)


def test_other_conditions_are_said_and_rates_made_alike() -> None:
    faster = _ALIKE | {"rod-tga": {"atmosphere": "oxygen", "rate": "5 K/min"}}
    found, remarks = _found([_balance(), _patterns()], conditions=faster)
    assert found is not None
    assert any("other atmosphere: oxygen and vacuum" in one for one in remarks)
    # slower heating has lost more at the same temperature, by 9 to 24 K earlier
    moved, std = (_at(found, f"oxygen_compared{end}", 200.0, oxygen_probe=0) for end in ("", "_std"))
    assert _lost(209.0) < moved < _lost(225.0)
    assert std > (_lost(225.0) - _lost(209.0)) / 5


def test_figure_and_tables_show_every_probe(neutral: xr.Dataset) -> None:
    with journal_style():
        (panel,) = relate_oxygen.panels(neutral)
    labels = panel.figure.axes[0].get_legend_handles_labels()[1]
    assert sorted(labels) == sorted([*neutral["oxygen_probe"].attrs["names"], "all together"])
    lost, tests = relate_oxygen.tables(neutral)
    assert lost.names == ("rod, 150 °C", "rod, 200 °C", "rod, 250 °C")
    assert tests.words[-1] == "a model"
