"""Results against their truth: bias, error and pull as defined, on studies whose answer is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.errors import StudyError
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study
from cathoscope.flow.compare import Comparison, compare

SHAPE = (2, 20, 70, 30)  # more than one chunk along every dim
DIMS = ("temperature", "z", "y", "x")
ENERGIES = np.array([8300.0, 8333.0, 8350.0])


def volume(name: str, values: Any, **words: Any) -> xr.DataArray:
    return label(name, values, DIMS, **words)


def rows(study: Study, result: Sequence[xr.DataArray], truth: Sequence[xr.DataArray]) -> dict[str, Comparison]:
    study.write("truth", "rod", dataset(truth))
    study.write("result", "rod", dataset(result), address="a1")
    return {row.array: row for row in compare(study)}


@pytest.fixture
def field() -> np.ndarray:
    return np.random.default_rng(7).normal(8350.0, 1.0, SHAPE)


def test_the_truth_is_without_error(study: Study, field: np.ndarray) -> None:
    mask = field > 8350.0
    arrays = [volume("edge_jump", field), volume("particle_mask", mask)]
    found = rows(study, arrays, [array.copy() for array in arrays])
    jump = found["edge_jump"]
    assert (jump.n, jump.bias, jump.rmse, jump.pull_mean, jump.note) == (field.size, 0.0, 0.0, None, "")
    assert jump.unit == "1/um"
    assert found["particle_mask"].bias == 0.0
    assert found["particle_mask"].rmse == 0.0
    assert found["particle_mask"].note == "Dice overlap 1.000"


def test_an_offset_is_a_bias_and_a_scatter_is_not(study: Study, field: np.ndarray) -> None:
    scatter = np.where(np.indices(SHAPE).sum(axis=0) % 2, 0.25, -0.25)  # as many up as down
    found = rows(
        study,
        [volume("edge_jump", field + 0.5), volume("white_line_energy", field + scatter)],
        [volume("edge_jump", field), volume("white_line_energy", field)],
    )
    assert found["edge_jump"].bias == pytest.approx(0.5, rel=1e-9)
    assert found["edge_jump"].rmse == pytest.approx(0.5, rel=1e-9)
    assert found["white_line_energy"].bias == pytest.approx(0.0, abs=1e-9)
    assert found["white_line_energy"].rmse == pytest.approx(0.25, rel=1e-9)


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_the_pull_of_an_honest_sigma_is_standard_normal(study: Study, field: np.ndarray, factor: float) -> None:
    rng = np.random.default_rng(11)
    sigma = rng.uniform(0.1, 3.0, SHAPE)
    result = field + sigma * rng.normal(size=SHAPE)
    stated = volume("edge_jump_std", factor * sigma, std_source="half-set")
    row = rows(study, [volume("edge_jump", result), stated], [volume("edge_jump", field)])["edge_jump"]
    assert row.pull_mean is not None
    assert row.pull_width is not None
    # Standard errors of mean and width of n normal numbers: 1 / sqrt(n) and 1 / sqrt(2 n); four of them.
    assert abs(row.pull_mean) < 4 / np.sqrt(field.size) / factor
    assert abs(row.pull_width * factor - 1.0) < 4 / np.sqrt(2 * field.size)
    assert row.rmse == pytest.approx(np.sqrt(np.mean((result - field) ** 2)), rel=1e-9)


def test_a_sigma_of_zero_makes_no_pull(study: Study, field: np.ndarray) -> None:
    sigma = np.zeros(SHAPE)
    sigma[0, 0, 0, :2] = 0.5
    result = [volume("edge_jump", field + 1.0), volume("edge_jump_std", sigma, std_source="half-set")]
    row = rows(study, result, [volume("edge_jump", field)])["edge_jump"]
    assert row.n == field.size
    assert row.pull_mean == pytest.approx(2.0, rel=1e-9)
    assert row.pull_width == pytest.approx(0.0, abs=1e-6)


def test_the_energy_of_a_bulk_spectrum_errs_by_its_calibration_too(study: Study) -> None:
    def number(name: str, value: float) -> xr.DataArray:
        source = {"std_source": "fit covariance"} if name.endswith("_std") else {}
        return label(name, np.array([value]), ("spectrum",), **source)

    stated = {"half_height_edge": 8344.3, "half_height_edge_std": 0.3, "energy_shift": 0.4, "energy_shift_std": 0.4}
    result = [number(name, value) for name, value in stated.items()]
    truth = [number("half_height_edge", 8343.3), number("energy_shift", 0.0)]
    found = rows(study, result, truth)
    assert found["half_height_edge"].pull_mean == pytest.approx(1.0 / 0.5)
    assert found["energy_shift"].pull_mean == pytest.approx(1.0)


def test_only_values_that_are_numbers_on_both_sides_count(study: Study, field: np.ndarray) -> None:
    result, truth = field + 1.0, field.copy()
    result[0, :10] = np.nan
    truth[:, 5:] = np.nan
    result[1, 0, 0, 0] = np.inf
    row = rows(study, [volume("edge_jump", result)], [volume("edge_jump", truth)])["edge_jump"]
    assert row.n == 5 * 70 * 30 - 1
    assert row.bias == pytest.approx(1.0, rel=1e-9)


def test_flagged_voxels_are_left_out_and_their_share_is_told(study: Study, field: np.ndarray) -> None:
    flag = np.zeros(SHAPE, np.int8)
    flag[:, :5] = 3
    result = np.where(flag == 0, field + 0.1, field + 100.0)
    found = rows(
        study,
        [volume("white_line_energy", result), volume("white_line_flag", flag)],
        [volume("white_line_energy", field), volume("white_line_flag", flag)],
    )
    assert list(found) == ["white_line_energy"]
    assert found["white_line_energy"].n == field.size * 3 // 4
    assert found["white_line_energy"].bias == pytest.approx(0.1, rel=1e-6)
    assert found["white_line_energy"].note == "25.0 % without a trusted value"


def test_numbers_of_grains_are_names_and_are_not_compared(study: Study, field: np.ndarray) -> None:
    true = (field > 8350.0).astype(np.int32)
    mapped = label("grain_label", 7 - true[0], DIMS[1:])  # other numbers, at one temperature
    found = rows(study, [volume("edge_jump", field), mapped], [volume("edge_jump", field), volume("grain_label", true)])
    assert list(found) == ["edge_jump"]


def test_nothing_in_common_is_said_and_is_valid_json(study: Study, field: np.ndarray) -> None:
    row = rows(study, [volume("edge_jump", np.full(SHAPE, np.nan))], [volume("edge_jump", field)])["edge_jump"]
    assert row.n == 0
    assert np.isnan(row.bias)
    assert row.note == "no value in common"
    assert json.loads(json.dumps(row.record()))["array"] == "edge_jump"


def test_a_mask_is_compared_by_volume_and_by_voxel(study: Study) -> None:
    truth, found = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    truth[:, :10] = True
    found[:, 5:18] = True
    row = rows(study, [volume("particle_mask", found)], [volume("particle_mask", truth)])["particle_mask"]
    assert row.bias == pytest.approx(0.3)  # 13 slices instead of 10
    assert row.rmse == pytest.approx(13 / 20)  # 5 missed and 8 too many
    assert row.note == f"Dice overlap {2 * 5 / 23:.3f}"


def test_an_empty_true_mask_has_no_relative_volume(study: Study) -> None:
    empty = volume("particle_mask", np.zeros(SHAPE, bool))
    row = rows(study, [empty.copy()], [empty])["particle_mask"]
    assert np.isnan(row.bias)
    assert row.rmse == 0.0


# -- geometry ------------------------------------------------------------------------------------


def per_energy(name: str, values: Any, energies: np.ndarray = ENERGIES, **words: Any) -> xr.DataArray:
    dims = ("energy", "projection")[: np.ndim(values)]
    return label(name, values, dims, coords={"energy": label("energy", energies, ("energy",))}, **words)


def test_numbers_per_scan_are_compared_too(study: Study) -> None:
    row = rows(
        study,
        [per_energy("rotation_axis", [1.0, 2.0, 4.0])],
        [per_energy("rotation_axis", [1.0, 2.0, 3.0])],
    )["rotation_axis"]
    assert (row.n, row.unit) == (3, "px")
    assert row.bias == pytest.approx(1 / 3)
    assert row.rmse == pytest.approx(np.sqrt(1 / 3))


def test_a_jitter_that_only_moves_the_object_is_no_error(study: Study) -> None:
    angle = np.stack([np.linspace(0, 180, 90)] * 3)
    theta = np.deg2rad(angle)
    jitter = np.random.default_rng(5).normal(0, 0.3, angle.shape)
    moved = jitter + 2.0 + 0.7 * np.cos(theta) - 1.3 * np.sin(theta)
    moved[0, 80:] = np.nan
    result = [per_energy("projection_shift", moved), per_energy("angle", angle)]
    truth = [per_energy("projection_shift", jitter), per_energy("angle", angle)]
    row = rows(study, result, truth)["projection_shift"]
    # Where projections are missing, constant, cosine and sine are fitted to others: those energies only nearly agree.
    assert row.n == 3 * 90 - 10
    assert abs(row.bias) < 0.02
    assert row.rmse < 0.03
    assert "removed" in row.note


def test_a_jitter_that_shakes_the_projections_is_an_error(study: Study) -> None:
    angle = np.linspace(0, 180, 90)[None].repeat(3, axis=0)
    shake = np.where(np.arange(90) % 2, 0.5, -0.5)[None].repeat(3, axis=0)
    result = [per_energy("projection_shift", shake), per_energy("angle", angle)]
    truth = [per_energy("projection_shift", 0 * shake), per_energy("angle", angle)]
    assert rows(study, result, truth)["projection_shift"].rmse == pytest.approx(0.5, rel=0.01)


def test_a_value_fixed_in_the_recipe_holds_for_every_projection(study: Study) -> None:
    drift = np.array([[0.9, 1.0, 1.1], [1.0, 1.0, 1.0], [1.0, 1.1, 1.2]])
    fixed = [
        per_energy("beam_intensity", np.ones(3)),
        per_energy("beam_intensity_std", np.zeros(3), std_source="stated"),
    ]
    row = rows(study, fixed, [per_energy("beam_intensity", drift)])["beam_intensity"]
    assert row.n == 9
    assert row.bias == pytest.approx(1.0 - drift.mean())


# -- scans that were not used --------------------------------------------------------------------


def test_scans_that_were_set_aside_are_left_out(study: Study) -> None:
    truth = per_energy("rotation_axis", [1.0, 2.0, 3.0])
    result = per_energy("rotation_axis", [1.5, 3.5], ENERGIES[[0, 2]] + 0.01)
    row = rows(study, [result], [truth])["rotation_axis"]
    assert (row.n, row.bias) == (2, pytest.approx(0.5))


def test_a_scan_that_the_truth_does_not_have(study: Study) -> None:
    truth = per_energy("rotation_axis", [1.0, 2.0, 3.0])
    with pytest.raises(StudyError, match="does not hold every energy") as caught:
        rows(study, [per_energy("rotation_axis", [1.0], np.array([8340.0]))], [truth])
    assert "8340" in str(caught.value.found)


def test_different_shapes(study: Study, field: np.ndarray) -> None:
    with pytest.raises(StudyError, match="edge_jump and its truth have different shapes") as caught:
        rows(study, [volume("edge_jump", field[:, :8])], [volume("edge_jump", field)])
    assert str(SHAPE) in str(caught.value.expected)
    assert caught.value.cure


def test_a_measured_study_has_no_truth(study: Study) -> None:
    study.write("result", "rod", dataset([per_energy("rotation_axis", [1.0, 2.0, 3.0])]), address="a1")
    with pytest.raises(StudyError, match="nothing to compare") as caught:
        compare(study)
    assert "no truth" in str(caught.value.found)


@pytest.mark.parametrize("other", [None, "gravel"])
def test_a_study_that_was_not_run_yet(study: Study, other: str | None) -> None:
    study.write("truth", "rod", dataset([per_energy("rotation_axis", [1.0, 2.0, 3.0])]))
    if other:
        study.write("result", other, dataset([per_energy("rotation_axis", [1.0, 2.0, 3.0])]), address="a1")
    with pytest.raises(StudyError, match="nothing to compare") as caught:
        compare(study)
    assert caught.value.found == "no results yet"
    assert "cathoscope run" in str(caught.value.cure)
