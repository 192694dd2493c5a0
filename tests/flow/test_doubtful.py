"""Scans that do not fit the others are told from those that do, without files and without a solved series."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import xarray as xr
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.raw import RawMeasurement
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps.angle_grid import grid_of
from cathoscope.flow.steps.doubtful import (
    cut_short,
    energies_out_of_place,
    flats_of_another_day,
    require_open_beam,
)

# Two energies below the edge, nine across it, two above: the coarsest grid that is of use.
ENERGY = np.array([8300.0, 8320, 8336, 8341, 8345, 8347, 8348, 8349, 8351, 8353, 8363, 8380, 8400])
FULL = np.arange(60) * 3.0


def measurement(angles: list[list[np.ndarray]]) -> RawMeasurement:
    """Scans [temperature][energy] that were taken at some angles, named after their place."""
    section = MeasurementSection.model_validate({"sample": "s", "technique": "xanes-tomography", "files": "*.h5"})
    raw = RawMeasurement("m", section, dims=("temperature", "energy"))
    raw.coords["temperature"] = label("temperature", 25.0 + 100.0 * np.arange(len(angles)), ("temperature",))
    raw.coords["energy"] = label("energy", ENERGY[: len(angles[0])], ("energy",))
    for t, row in enumerate(angles):
        for e, angle in enumerate(row):
            scan = dataset([label("angle", angle, ("projection",))], source=f"/raw/{t}_{e}.h5", digest=f"{t}-{e}")
            raw.scans[t, e] = scan.assign_coords(angle=scan["angle"]) if "angle" not in scan.coords else scan
    return raw


@functools.cache
def complete(n_temperatures: int, n_energies: int = ENERGY.size) -> RawMeasurement:
    return measurement([[FULL] * n_energies] * n_temperatures)


# -- projections ---------------------------------------------------------------------------------


def test_scans_are_set_aside_by_what_the_others_of_their_temperature_have() -> None:
    raw = measurement([[FULL, FULL[::3], FULL[:45], FULL[:55], FULL[::2], FULL, FULL, FULL, FULL]])
    reasons, remarks = cut_short(raw)
    assert set(reasons) == {(0, 1), (0, 2)}
    assert "20 projections, the other scans 60" in reasons[0, 1]
    assert "135 deg, the other scans 180 deg" in reasons[0, 2]
    assert [remark.split(":")[0] for remark in remarks] == ["0_3.h5", "0_4.h5"]
    assert "55 projections over 165 deg" in remarks[0]
    assert "30 projections over 180 deg" in remarks[1]


def test_a_series_that_is_short_throughout_is_no_mistake_of_one_scan() -> None:
    assert cut_short(measurement([[FULL[:45]] * 5])) == ({}, [])


def test_projections_are_laid_where_their_angles_are() -> None:
    angles = [FULL, FULL[5:], FULL[1::3], np.append(FULL[::4] + 1.0, 200.0)]
    grid = grid_of(angles)
    for scan, angle in enumerate(angles):
        depth = np.broadcast_to(angle.astype(np.float32)[:, None, None], (angle.size, 2, 3))
        laid = grid.laid_on(scan, np.ascontiguousarray(depth))
        there = np.isfinite(grid.angle[scan])
        assert there.sum() == min(angle.size, (angle < 180).sum())
        np.testing.assert_array_equal(laid[there, 1, 2], grid.angle[scan, there].astype(np.float32))
        assert np.isnan(laid[~there]).all()
        np.testing.assert_allclose(grid.angle[scan, there], FULL[there], atol=1.5)


def test_as_many_projections_at_other_angles_stay_one_after_the_other() -> None:
    grid = grid_of([FULL, FULL + 0.7])
    np.testing.assert_array_equal(grid.angle, [FULL, FULL + 0.7])
    depth = np.ones((60, 2, 2), np.float32)
    assert grid.laid_on(1, depth) is depth


# -- flats ---------------------------------------------------------------------------------------


def beam_of(raw: RawMeasurement, factor: np.ndarray) -> xr.DataArray:
    rng = np.random.default_rng(5)
    scatter = 1 + 0.004 * rng.standard_normal((*raw.shape, 1)) + 0.002 * rng.standard_normal((*raw.shape, 60))
    return label("beam_intensity", factor[..., None] * scatter, (*raw.dims, "projection"), coords=raw.coords)


def test_beams_as_bright_as_the_flats_are_not_spoken_of() -> None:
    raw = complete(2)
    assert flats_of_another_day(raw, beam_of(raw, np.ones(raw.shape))) == []


@pytest.mark.parametrize("factor", [1.8, 1 / 1.8, 1.3])
def test_flats_of_another_day(factor: float) -> None:
    raw, factors = complete(2), np.ones((2, ENERGY.size))
    factors[1, [2, 7]] = factor
    (remark,) = flats_of_another_day(raw, beam_of(raw, factors))
    assert remark.startswith("1_2.h5, 1_7.h5: ")
    assert f"factor {max(factor, 1 / factor):.2g}" in remark


def test_flats_of_a_whole_temperature_are_one_remark() -> None:
    raw, factors = complete(3), np.ones((3, ENERGY.size))
    factors[1] = 0.5
    (remark,) = flats_of_another_day(raw, beam_of(raw, factors))
    assert remark.startswith("1_0.h5, 1_1.h5, 1_2.h5 and 10 more: ")


@settings(max_examples=30, deadline=None)
@given(st.floats(-0.5, 0.6))
def test_a_background_far_below_zero_is_refused(level: float) -> None:
    depth = np.full((40, 8, 24), level)
    depth[:, :, 8:16] += 1.0
    if level < -0.2:
        with pytest.raises(MeasurementError, match="flats of another day"):
            require_open_beam(depth)
    else:
        require_open_beam(depth)


# -- energies ------------------------------------------------------------------------------------


def absorption_of_edge(shift: float, size: float) -> np.ndarray:
    """An edge with its white line, moved by ``shift`` eV, on a falling background."""
    distance = ENERGY - 8344.0 - shift
    step = 0.5 + np.arctan(distance / 1.5) / np.pi
    line = 0.6 / (1 + ((distance - 5.0) / 3.5) ** 2)
    return size * (0.35 - 5e-4 * (ENERGY - 8300.0) + 0.65 * step + line)


def seen(raw: RawMeasurement, shifts: list[float], sizes: list[float], seed: int) -> dict[tuple[int, ...], float]:
    rng = np.random.default_rng(seed)
    rows = [absorption_of_edge(shift, size) for shift, size in zip(shifts, sizes, strict=True)]
    return {(t, e): value + 0.01 * rng.standard_normal() for t, row in enumerate(rows) for e, value in enumerate(row)}


def some(fewest: int, most: int) -> st.SearchStrategy[tuple[list[float], int]]:
    """Shifts of the edges of some temperatures, and a seed."""
    return st.tuples(st.lists(st.floats(-0.6, 0.6), min_size=fewest, max_size=most), st.integers(0, 99))


@settings(max_examples=40, deadline=None)
@given(some(1, 4))
def test_edges_that_move_with_temperature_are_no_energies_out_of_place(case: tuple[list[float], int]) -> None:
    shifts, seed = case
    raw, sizes = complete(len(shifts)), [1.0 - 0.05 * t for t in range(len(shifts))]
    assert energies_out_of_place(raw, seen(raw, shifts, sizes, seed), ENERGY) == []


@settings(max_examples=40, deadline=None)
@given(
    some(1, 1).flatmap(lambda case: st.tuples(st.just(case), st.sampled_from([(5, 1), (7, 2), (8, 3)])))
    | some(2, 4).flatmap(
        lambda case: st.tuples(st.just(case), st.sampled_from([(5, 1), (7, 2), (8, 3), (6, 11), (2, 8)]))
    )
)
@example((([-0.5], 0), (8, 3)))
def test_a_scan_at_another_energy_than_recorded_is_the_one_that_is_named(
    case: tuple[tuple[list[float], int], tuple[int, int]],
) -> None:
    """The scan that was recorded at one energy was taken at another, on the far side of the edge."""
    (shifts, seed), place = case
    raw, sizes = complete(len(shifts)), [1.0 - 0.05 * t for t in range(len(shifts))]
    absorption = seen(raw, shifts, sizes, seed)
    temperature, (taken, recorded) = seed % len(shifts), place
    absorption[temperature, recorded] = absorption[temperature, taken]
    (remark,) = energies_out_of_place(raw, absorption, ENERGY)
    assert remark.startswith(f"{temperature}_{recorded}.h5: ")
    shape = absorption_of_edge(0.0, 1.0)
    assert ("more" in remark) == (shape[taken] > shape[recorded])


def test_where_most_scans_seem_out_of_place_it_is_the_check_that_fails() -> None:
    raw = complete(1)
    rng = np.random.default_rng(2)
    assert energies_out_of_place(raw, {(0, e): float(rng.random()) for e in range(ENERGY.size)}, ENERGY) == []


def test_a_scan_missing_at_one_temperature_is_missing_at_all_in_the_comparison() -> None:
    raw = measurement([[FULL] * ENERGY.size] * 3)
    absorption = seen(raw, [0.0, 0.3, -0.3], [1.0, 1.0, 1.0], 3)
    for place in ((0, 8), (0, 9), (1, 4)):
        del raw.scans[place]
        del absorption[place]
    assert energies_out_of_place(raw, absorption, ENERGY) == []
