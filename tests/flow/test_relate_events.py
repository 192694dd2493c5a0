"""Events of members on one axis: which pairs are asked, what is not comparable, what the report says."""

from __future__ import annotations

from dataclasses import replace
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
from cathoscope.flow.steps.relate_conditions import conditions_of
from cathoscope.flow.steps.relate_events import EVENTS
from cathoscope.report import relate_events
from cathoscope.report.style import journal_style

_SAMPLES = {"rod": Sample("rod"), "gravel": Sample("gravel")}
_VACUUM = {"atmosphere": "vacuum", "rate": "1 K/min"}


def _label(name: str, values: Any, dims: tuple[str, ...], coords: dict[str, Any] | None = None) -> xr.DataArray:
    source = "scatter" if name.endswith("_std") else None
    return label(name, np.asarray(values, np.float64), dims, coords=coords, std_source=source)


def _member(name: str, technique: str, data: xr.Dataset, note: str = "", particle: int | None = None) -> Member:
    sample = name.split("-")[0]
    known = {"sample": sample, "technique": technique, "files": "x", "note": note}
    if technique == "diffraction":
        known |= {"instrument": "a.instprm", "phases": {"layered": "a.cif"}}
    return Member(name, sample, particle, technique, MeasurementSection.model_validate(known), data)


def _balance(sample: str, onset: float) -> Member:
    coords = {
        "record": label("record", np.array([1]), ("record",)),
        "loss_step": label("loss_step", np.array([1]), ("loss_step",)),
    }
    values = {
        "step_onset": [[onset]],
        "step_onset_std": [[0.3]],
        "step_steepest": [[onset + 9]],
        "step_steepest_std": [[0.5]],
    }
    arrays = [_label(name, one, ("record", "loss_step"), coords) for name, one in values.items()]
    arrays += [
        _label(name, [one], ("record",), coords) for name, one in (("heating_rate", 5.0), ("rapid_loss_onset", onset))
    ]
    return _member(f"{sample}-tga", "mass-loss", dataset(arrays), "5 C/min in oxygen")


def _patterns(sample: str, onset: float, end: float) -> Member:
    temperature = np.array([25.0, 120.0, 140.0, 150.0, 160.0, 180.0, 250.0])
    share = np.clip((temperature - onset) / (end - onset), 0.0, 1.0)[:, None]
    phase = label("phase", np.array([1]), ("phase",))
    phase.attrs["names"] = ["layered"]
    coords = {"temperature": label("temperature", temperature, ("temperature",)), "phase": phase}
    places = {"transition_onset": onset, "transition_end": end}
    arrays = [_label(name, [value], ("phase",), coords) for name, value in places.items()]
    arrays += [_label(f"{name}_low", [value - 2], ("phase",), coords) for name, value in places.items()]
    arrays += [_label(f"{name}_high", [value + 2], ("phase",), coords) for name, value in places.items()]
    dims = ("temperature", "phase")
    arrays += [
        _label("weight_fraction", 1 - share, dims, coords),
        _label("weight_fraction_std", 0.01 + 0 * share, dims, coords),
    ]
    return _member(f"{sample}-nomad", "diffraction", dataset(arrays))


def _particle(sample: str, number: int, line: list[float]) -> Member:
    coords = {"temperature": label("temperature", np.array([25.0, 150.0, 200.0, 250.0]), ("temperature",))}
    arrays = [
        _label("white_line_mean", line, ("temperature",), coords),
        _label("white_line_mean_std", [0.02] * 4, ("temperature",), coords),
    ]
    return _member(f"{sample}-{number}", "xanes-tomography", dataset(arrays), particle=number)


_ROD, _GRAVEL = [8350.45, 8348.52, 8348.16, 8347.82], [8350.44, 8349.56, 8348.21, 8347.82]


def _gathered(members: list[Member], **choices: Any) -> Gathered:
    return Gathered(tuple(members), _SAMPLES, RelateSection.model_validate(choices), Resources(), Silent())


def _found(members: list[Member], **choices: Any) -> tuple[xr.Dataset, list[str]]:
    gathered = _gathered(members, **choices)
    found = EVENTS.function(gathered)
    assert found is not None
    return found, gathered.remarks


def _verdicts(data: xr.Dataset) -> dict[tuple[str, str], str]:
    """By sample, probe and name of both events."""
    event, verdict = data["event"].attrs, data["event_verdict"]
    names = [" ".join(one) for one in zip(event["sample"], event["probe"], event["names"], strict=True)]
    ends = zip(data["event_first"].values, data["event_second"].values, strict=True)
    return {
        (names[first - 1], names[second - 1]): verdict.attrs["flag_meanings"][int(one)]
        for (first, second), one in zip(ends, verdict.values, strict=True)
    }


@pytest.fixture(scope="module")
def hou() -> list[Member]:
    rods = [_balance("rod", 217.0), _patterns("rod", 140.0, 155.0), _particle("rod", 1, _ROD)]
    return [*rods, _balance("gravel", 234.0), _patterns("gravel", 140.5, 190.0), _particle("gravel", 1, _GRAVEL)]


def test_samples_and_probes_are_told_apart_as_far_as_they_can_be(hou: list[Member]) -> None:
    conditions = dict.fromkeys(("rod-nomad", "gravel-nomad", "rod-1", "gravel-1"), _VACUUM)
    data, remarks = _found(hou, conditions=conditions)
    found = _verdicts(data)
    assert found["rod TGA rapid loss of mass, onset", "gravel TGA rapid loss of mass, onset"] == "different"
    assert found["rod diffraction layered phase, onset", "gravel diffraction layered phase, onset"] == "same"
    assert found["rod diffraction layered phase, end", "gravel diffraction layered phase, end"] == "different"
    assert found["rod XANES white line, onset", "gravel XANES white line, onset"] == "not distinguishable"
    assert found["rod XANES white line, middle", "gravel XANES white line, middle"] == "different"
    # oxygen holds back what vacuum lets go
    assert found["rod TGA rapid loss of mass, onset", "rod diffraction layered phase, onset"] == "not comparable"
    assert found["rod XANES white line, middle", "rod diffraction layered phase, middle"] == "not distinguishable"
    assert "white line of rod: one particle stands for the sample" in remarks
    assert any(one.startswith("diffraction, TGA: one specimen of each sample") for one in remarks) or any(
        one.startswith("TGA, diffraction: one specimen of each sample") for one in remarks
    )
    compared = data["event_corrected"].values
    assert np.isnan(compared[data["event_verdict"].values == 3]).all()
    words = " ".join(relate_events.sentences(data))
    assert "rod before gravel by 16.2 to 17.8 K (TGA: rapid loss of mass, onset)" in words
    assert "not comparable: other atmosphere: oxygen and vacuum" in words
    head = " ".join(relate_events.heads(data))
    assert "rod before gravel by at most 175 K (XANES: white line, middle)" in head
    assert "onset – " not in head
    for verdict in ("Two probes see one event", "Two events, not one"):
        assert (verdict in head) == (verdict in words)


def test_where_nothing_is_stated_probes_are_compared_and_it_is_said(hou: list[Member]) -> None:
    data, remarks = _found(hou)
    assert "not comparable" not in _verdicts(data).values()
    assert any("rate of heating of XANES, diffraction is not stated" in one for one in remarks)
    assert any("atmosphere of XANES, diffraction is not stated" in one for one in remarks)
    # any rate between 0.1 and 20 K/min: the shift between them is part of the interval
    pair = _pair(data, "rod TGA rapid loss of mass, onset", "rod diffraction layered phase, onset")
    stated, _ = _found(hou, conditions={"rod-nomad": {"rate": "5 K/min"}})
    known = _pair(stated, "rod TGA rapid loss of mass, onset", "rod diffraction layered phase, onset")
    assert pair[1] - pair[0] > known[1] - known[0] + 50


def _pair(data: xr.Dataset, first: str, second: str) -> tuple[float, float]:
    row = list(_verdicts(data)).index((first, second))
    return float(data["event_difference_low"][row]), float(data["event_difference_high"][row])


def test_other_states_of_charge_are_not_compared(hou: list[Member]) -> None:
    charge = {"rod-tga": {"charge": "4.5 V"}, "rod-nomad": {"charge": "70 % removed", "atmosphere": "oxygen"}}
    data, _ = _found(hou[:2], conditions=charge)
    assert set(_verdicts(data).values()) == {"not comparable"}
    assert "state of charge" in data["event_verdict"].attrs["reasons"][0]


def test_particles_of_a_sample_are_one_event(hou: list[Member]) -> None:
    three = [_particle("rod", number, [one + 0.1 * number for one in _ROD]) for number in (1, 2, 3)]
    data, remarks = _found([*three, hou[3]])
    assert list(data["event"].attrs["probe"]).count("XANES") == 2
    assert not any("one particle" in one for one in remarks)


def test_a_note_tells_rate_and_gas_and_the_recipe_overrules_it(hou: list[Member]) -> None:
    noted = conditions_of(_gathered(hou), hou[0])
    assert (noted.atmosphere, noted.rates) == ("oxygen", (5.0, 5.0))
    stated = conditions_of(_gathered(hou, conditions={"rod-tga": {"atmosphere": "Argon", "hold": "60 min"}}), hou[0])
    assert stated.atmosphere == "argon"
    assert 0.05 < stated.rates[0] < stated.rates[1] < 0.5
    assert noted.unlike(stated) == "other atmosphere: oxygen and argon"
    holds = replace(hou[2], section=hou[2].section.model_copy(update={"note": "holds of 60 min in argon"}))
    held = conditions_of(_gathered(hou), holds)
    assert held.atmosphere == "argon"
    assert held.rates == pytest.approx(stated.rates)


def test_axis_and_tables_hold_every_event_and_pair(hou: list[Member]) -> None:
    data, _ = _found(hou)
    with journal_style():
        (panel,) = relate_events.panels(data)
    (axes,) = panel.figure.axes
    labels = [one.get_text() for one in axes.get_yticklabels()]
    assert "TGA: rapid loss of mass, onset" in labels
    brackets = sorted((one.get_x(), one.get_x() + one.get_width()) for one in axes.patches)
    assert (25.0, 150.0) in brackets
    assert (150.0, 200.0) in brackets
    events, pairs = relate_events.tables(data)
    assert len(events.names) == data.sizes["event"]
    assert len(pairs.names) == data.sizes["event_pair"]
    assert "between 25 and 150 °C" in events.words
    assert EVENTS.function(_gathered(hou[:0])) is None
