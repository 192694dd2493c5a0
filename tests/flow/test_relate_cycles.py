"""Cycled particles from arrays of a study to the sentence: does the surface explain the resistance?"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.schema import dataset, label
from cathoscope.flow.relate_sections import RelateSection
from cathoscope.flow.relations import Gathered, Member
from cathoscope.flow.steps.relate_cycles import CYCLES
from cathoscope.report import relate_cycles
from cathoscope.report.style import journal_style

_CYCLES = np.array([0.0, 5.0, 10.0, 20.0, 35.0, 45.0])
_GROWN = 1 + 9 * (_CYCLES / 45)  # of the surface
_SOLID = np.zeros((4, 8, 8))
_SOLID[:, 1:4, 1:7] = 1  # a piece of three quarters ...
_SOLID[:, 5:6, 1:7] = 1  # ... and one of a quarter


def _impedance(exponent: float) -> xr.Dataset:
    ohm = 1e8 * _GROWN**exponent
    coords = {"cycle": label("cycle", _CYCLES, ("cycle",))}
    return dataset(
        [
            label("transfer_resistance", ohm, ("cycle",), coords=coords),
            label("transfer_resistance_std", 0.003 * ohm, ("cycle",), coords=coords, std_source="fit covariance"),
            label("impedance_used", np.ones(6, bool), ("cycle",), coords=coords),
        ]
    )


def _series() -> xr.Dataset:
    cycle = np.arange(46.0)
    coords = {"cycle": label("cycle", cycle, ("cycle",))}
    porosity = 0.02 + 0.2 * (cycle / 45) ** 1.2
    return dataset(
        [
            label("porosity_trend", porosity, ("cycle",), coords=coords),
            label("porosity_trend_std", 0.01 * porosity, ("cycle",), coords=coords, std_source="scatter"),
        ]
    )


def _stack(cycle: float) -> xr.Dataset:
    """A slab whose surface has grown as it should."""
    coords = {name: label(name, 0.1 * np.arange(size), (name,)) for name, size in zip("zyx", (4, 8, 8), strict=True)}
    surface = np.interp(cycle, _CYCLES, _GROWN)
    numbers = {"wetted_surface": surface, "solid_surface": surface, "envelope_volume": 2.0}
    arrays = [label(name, np.float64(value), ()) for name, value in numbers.items()]
    arrays += [label(f"{name}_std", np.float64(0.02), (), std_source="stated") for name in numbers]
    return dataset([*arrays, label("solid_fraction", _SOLID, ("z", "y", "x"), coords=coords)])


def _cell() -> xr.Dataset:
    cycle = np.arange(1.0, 46.0)
    capacity = 3e-10 * (1 + 0.2 * np.minimum(cycle, 10) / 10 - 0.01 * np.maximum(cycle - 10, 0))
    coords = {"cycle": label("cycle", cycle, ("cycle",)), "record": label("record", np.array([1]), ("record",))}
    values = {"cell_capacity": capacity, "polarisation": np.full(45, 0.3), "cycle_current": np.full(45, 3e-10)}
    dims = ("record", "cycle")
    arrays = [label(name, one[None], dims, coords=coords) for name, one in values.items()]
    arrays.append(label("cell_capacity_std", 1e-3 * capacity[None], dims, coords=coords, std_source="stated"))
    return dataset([*arrays, label("cycle_used", np.ones((1, 45), bool), dims, coords=coords)])


def _found(**members: tuple[str, xr.Dataset]) -> tuple[xr.Dataset | None, list[str]]:
    given = tuple(
        Member(name.replace("_", "-"), "L-NMC", 1, technique, None, data) for name, (technique, data) in members.items()
    )
    gathered = Gathered(given, {}, RelateSection(), Resources(), Silent())
    return CYCLES.function(gathered), gathered.remarks


@cache
def _whole(exponent: float) -> tuple[xr.Dataset | None, list[str]]:
    return _found(
        spectra=("impedance", _impedance(exponent)),
        series=("fibsem-series", _series()),
        stack_000=("fibsem-stack", _stack(0.0)),
        stack_045=("fibsem-stack", _stack(45.0)),
        cell=("particle-cell", _cell()),
    )


def test_a_resistance_of_the_surface_is_explained_by_it() -> None:
    found, remarks = _whole(-1.0)
    assert found is not None
    assert float(found["resistance_exponent_low"][0]) < -1 < float(found["resistance_exponent_high"][0])
    assert float(found["resistance_exponent_direct"][0]) == pytest.approx(-1.0, abs=1e-6)
    assert float(found["resistance_explained"][0]) == pytest.approx(1.0, abs=1e-6)
    said = relate_cycles.sentences(found)
    assert "the surface explains the resistance" in said[0]
    assert "grew 10.0 times and R fell 10.0 times" in said[0]
    (head,) = relate_cycles.heads(found)
    assert "1 particle: the surface explains the resistance: it grew 10.0 times while R fell 10.0 times; 100 %" in head
    assert any("end of their names" in one for one in remarks)


def test_half_of_the_logarithm_is_told_as_half() -> None:
    found, _ = _whole(-2.0)
    assert found is not None
    assert float(found["resistance_explained"][0]) == pytest.approx(0.5, abs=1e-6)
    assert "explains the resistance in part" in relate_cycles.sentences(found)[0]


def test_isolated_oxide_is_over_the_capacity_lost() -> None:
    found, _ = _whole(-1.0)
    assert found is not None
    np.testing.assert_allclose(found["cycled_isolated"].values[0][[0, -1]], 0.25)
    # as much was isolated from the beginning: nothing of the loss after the peak comes from it
    assert float(found["fade_isolated"][0]) == pytest.approx(0.0, abs=1e-9)
    assert float(found["capacity_peak"][0]) == 10
    assert float(found["capacity_fade"][0]) == pytest.approx(0.35 / 1.2, abs=1e-6)
    with journal_style():
        panels = relate_cycles.panels(found)
    assert [one.key for one in panels] == ["cycles-law", "cycles-courses"]
    assert relate_cycles.tables(found)[0].words == ("explains",)


def test_slices_alone_give_no_verdict_and_say_why() -> None:
    found, remarks = _found(
        spectra=("impedance", _impedance(-1.0)),
        series=("fibsem-series", _series()),
        cell=("particle-cell", _cell()),
    )
    assert found is not None
    assert "cannot be told" in relate_cycles.sentences(found)[0]
    assert "how wide cracks are" in relate_cycles.sentences(found)[0]
    assert "how wide cracks are" in relate_cycles.heads(found)[0]
    assert any("no surface" in one for one in remarks)


def test_without_spectra_there_is_nothing_to_explain() -> None:
    assert _found(series=("fibsem-series", _series()))[0] is None
