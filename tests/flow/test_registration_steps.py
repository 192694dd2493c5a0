"""A particle that moved, and the change of its white line on the same material, with both known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study, Work
from cathoscope.flow.graph import Context
from cathoscope.flow.raw import RawMeasurement
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps import xanes
from cathoscope.flow.steps.differences import RowsAtHand, differences
from cathoscope.flow.steps.registration import first_with_particle, placement_of, registration
from cathoscope.flow.steps.voxels import OUTSIDE
from cathoscope.numerics.transform import Similarity

Floats = NDArray[np.float64]

EDGE, VOXEL = 26, 0.2  # voxels, um
VOLUME = ("temperature", "z", "y", "x")
MIDDLE = np.full(3, 0.5 * (EDGE - 1))
POINTS = np.stack(np.meshgrid(*[np.arange(EDGE, dtype=float)] * 3, indexing="ij"), axis=-1)
MOVED = Similarity(np.array([0.7, -1.2, 0.4]), np.array([1.5, -2.0, 3.0]), 1.0, MIDDLE)  # voxels and deg, (z, y, x)
BLOBS = np.random.default_rng(3).uniform(-7, 7, (40, 3))
CHANGE, NOISE, NOISE_OF_JUMP = 0.5, 0.2, 0.02  # eV, eV, 1/um


def jump_at(points: Floats) -> Floats:
    """Edge jump of a bumpy ball of bright and dark places, at points from its middle."""
    radius = np.linalg.norm(points, axis=-1)
    bumpy = 9.0 + 0.7 * np.sin(points[..., 0] / 2.5) + 0.6 * np.cos(points[..., 1] / 2.0 + 1.0)
    texture = sum((-1) ** k * np.exp(-np.sum((points - blob) ** 2, axis=-1) / 4.5) for k, blob in enumerate(BLOBS))
    return np.asarray((1.0 + 0.5 * texture) / (1.0 + np.exp((radius - bumpy) / 0.4)))


def line_at(points: Floats, temperature: int) -> Floats:
    """White line of the material: a gradient, and at the second temperature a change of the half with x > 0."""
    changed = CHANGE * (temperature > 0) / (1.0 + np.exp(-points[..., 2] / 0.5))
    return np.asarray(8348.0 + 0.05 * points[..., 0] + changed)


@pytest.fixture(scope="module")
def measured() -> xr.Dataset:
    """Jumps, masks and white lines: as it lay, moved, and a temperature that shows no particle."""
    rng = np.random.default_rng(5)
    material = [POINTS - MIDDLE, MOVED.inverse().to_moving(POINTS) - MIDDLE]
    jump = np.stack([*(jump_at(at) for at in material), np.zeros((EDGE,) * 3)])
    mask = jump > 0.5
    clean = np.stack([*(line_at(at, t) for t, at in enumerate(material)), np.full((EDGE,) * 3, 8348.0)])
    halves = np.where(mask, clean + np.sqrt(2) * NOISE * rng.standard_normal((2, *clean.shape)), np.nan)
    jump += NOISE_OF_JUMP * rng.standard_normal(jump.shape)
    coords = {"temperature": label("temperature", np.array([25.0, 150.0, 200.0]), ("temperature",))}
    coords |= {dim: label(dim, VOXEL * np.arange(EDGE), (dim,)) for dim in VOLUME[1:]}
    std = {"std_source": "half-set", "coords": coords}
    mean = np.array([8348.0, 8348.0 + 0.5 * CHANGE, np.nan])
    return dataset(
        [
            label("edge_jump", jump, VOLUME, coords=coords),
            label("edge_jump_std", np.full_like(jump, NOISE_OF_JUMP), VOLUME, **std),
            label("particle_mask", mask, VOLUME, coords=coords),
            label("white_line_energy", halves.mean(axis=0), VOLUME, coords=coords),
            label("white_line_energy_std", np.where(mask, NOISE, np.nan), VOLUME, **std),
            label("white_line_flag", np.where(mask, 0, OUTSIDE).astype(np.int8), VOLUME, coords=coords),
            label("white_line_half", halves, ("half", *VOLUME), coords=coords),
            label("white_line_mean", mean, ("temperature",), coords=coords),
            label("white_line_mean_std", np.array([0.03, 0.04, np.nan]), ("temperature",), **std),
        ]
    )


@pytest.fixture(scope="module")
def context(measured: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Context:
    folder = tmp_path_factory.mktemp("registration")
    section = MeasurementSection(
        sample="ball", technique="xanes-tomography", files=["x"], registration={"model": "rigid"}
    )
    raw = RawMeasurement("ball", section, ("temperature", "energy"), {}, {})
    work = Work(Study.create(folder / "study.zarr"), "result", "ball", "address")
    return Context("ball", raw, measured, section, folder, (), work, Resources(threads=1), Silent())


@pytest.fixture(scope="module")
def placed(context: Context) -> xr.Dataset:
    return registration(context)


def differences_in(context: Context, data: xr.Dataset, name: str) -> xr.Dataset:
    """What the step of differences puts into a study of its own."""
    study = Study.create(context.data_folder / f"{name}.zarr")
    work = Work(study, "result", "ball", "address")
    assert differences(replace(context, data=data, work=work)) is None
    work.commit()
    return study.read("result", "ball").load()


@pytest.fixture(scope="module")
def changed(context: Context, placed: xr.Dataset) -> xr.Dataset:
    return differences_in(context, context.data.merge(placed), "as placed")


# -- registration --------------------------------------------------------------------------------


def test_the_particle_is_found_where_it_was_put(placed: xr.Dataset) -> None:
    """In um and deg, (x, y, z), within what is stated."""
    for name, truth in {"shift": VOXEL * MOVED.shift[::-1], "rotation": MOVED.rotation_vector[::-1]}.items():
        found, std = (placed[f"placement_{name}{end}"].values[1] for end in ("", "_std"))
        assert np.abs((found - truth) / std).max() < 4
        assert np.abs(found - truth).max() < (0.02 * VOXEL if name == "shift" else 0.2)
    assert placed["registration_scale"].values[:2].tolist() == [1.0, 1.0]
    assert placed["registration_scale_std"].values[:2].tolist() == [0.0, 0.0]
    assert placed["registration_correlation"].values[1] > 0.9


def test_the_first_temperature_is_where_the_others_are_counted_from(placed: xr.Dataset) -> None:
    for name in ("placement_shift", "placement_rotation", "placement_shift_std", "registration_error"):
        assert not placed[name].values[0].any()
    assert placed["placement_shift"].attrs["reference"] == 0


def test_a_temperature_without_a_particle_has_no_place(placed: xr.Dataset) -> None:
    (remark,) = placed["placement_shift"].attrs["remarks"]
    assert remark == "200 C could not be registered and has no difference maps: it shows no particle"
    assert np.isnan(placed["placement_shift"].values[2]).all()


def test_the_place_that_is_stored_is_the_place_that_was_found(context: Context, placed: xr.Dataset) -> None:
    data = context.data.merge(placed)
    through = placement_of(data, 1)
    assert through is not None
    off = through.to_moving(POINTS) - MOVED.to_moving(POINTS)
    inside = data["particle_mask"].values[0]
    assert np.linalg.norm(off[inside], axis=-1).max() < 0.05
    assert placement_of(data, 2) is None


def test_a_series_is_counted_from_the_first_temperature_that_shows_the_particle(measured: xr.Dataset) -> None:
    mask = measured["particle_mask"]
    assert [first_with_particle(mask[at]) for at in (slice(0, 3), [2, 1], [2])] == [0, 1, None]


# -- differences ---------------------------------------------------------------------------------


def test_the_change_is_that_of_the_material(changed: xr.Dataset) -> None:
    """Unmoved, the gradient of the white line alone would feign a change."""
    truth = line_at(POINTS - MIDDLE, 1) - line_at(POINTS - MIDDLE, 0)
    found, std, significance = (
        changed[f"white_line_{name}"].values[0] for name in ("difference", "difference_std", "significance")
    )
    known = np.isfinite(found)
    assert known.sum() > 2000
    pull = (found - truth)[known] / std[known]
    assert abs(pull.mean()) < 0.1
    # the map of the second temperature is read between voxels, which averages noise that is stated as of one
    assert 0.7 < pull.std() < 1.0
    # without errors in common a voxel's own uncertainty is all there is
    np.testing.assert_allclose(significance[known], found[known] / std[known], rtol=1e-4)
    mean, mean_std = (float(changed[f"difference_mean{end}"][0]) for end in ("", "_std"))
    assert abs(mean - truth[known].mean()) < 4 * mean_std
    assert mean_std < 0.02
    width, width_std = (float(changed[f"difference_width{end}"][0]) for end in ("", "_std"))
    assert abs(width - truth[known].std()) < 4 * width_std


def test_means_are_compared_whatever_became_of_the_maps(changed: xr.Dataset) -> None:
    assert float(changed["white_line_shift"][0]) == pytest.approx(0.5 * CHANGE)
    assert float(changed["white_line_shift_std"][0]) == pytest.approx(0.05)
    assert changed["step"].attrs["names"] == ["25 to 150 C", "150 to 200 C"]


def test_a_step_without_a_place_has_no_map(changed: xr.Dataset) -> None:
    (remark,) = changed["white_line_shift"].attrs["remarks"]
    assert remark.startswith("no difference map of 150 to 200 C: one of the temperatures could not be registered")
    assert np.isnan(changed["white_line_difference"].values[1]).all()
    assert np.isnan(changed["changed_share"].values[1])


def test_an_error_in_common_makes_changes_less_significant(context: Context, placed: xr.Dataset) -> None:
    data = context.data.merge(placed)
    foil = label("energy_offset_std", np.array([0.3, 0.4, 0.3]), ("temperature",), std_source="fit covariance")
    found = differences_in(context, data.assign(energy_offset_std=foil), "with foil")
    difference, std, significance = (
        found[f"white_line_{name}"].values[0] for name in ("difference", "difference_std", "significance")
    )
    known = np.isfinite(difference)
    np.testing.assert_allclose(significance[known], difference[known] / np.hypot(std[known], 0.5), rtol=1e-4)
    assert float(found["difference_mean_std"][0]) == pytest.approx(0.5, rel=0.01)


def test_maps_of_energies_without_halves_tell_the_same_change(
    context: Context, placed: xr.Dataset, changed: xr.Dataset
) -> None:
    """Only what the noise does to the spread is then taken from the stated uncertainties."""
    data = context.data.drop_vars("white_line_half").merge(placed)
    found = differences_in(context, data, "without halves")
    np.testing.assert_allclose(
        found["white_line_difference"].values, changed["white_line_difference"].values, atol=1e-3
    )
    known = np.isfinite(found["white_line_difference"].values[0])
    std, with_halves = (one["white_line_difference_std"].values[0][known] for one in (found, changed))
    np.testing.assert_allclose(np.median(std), np.median(with_halves), rtol=0.05)
    assert float(found["difference_mean"][0]) == pytest.approx(float(changed["difference_mean"][0]), abs=1e-3)
    truth = (line_at(POINTS - MIDDLE, 1) - line_at(POINTS - MIDDLE, 0))[known]
    width, width_std = (float(found[f"difference_width{end}"][0]) for end in ("", "_std"))
    assert abs(width - truth.std()) < 4 * width_std
    assert float(found["changed_share"][0]) == pytest.approx(float(changed["changed_share"][0]), abs=0.005)


def test_maps_in_files_are_those_in_memory(
    context: Context, placed: xr.Dataset, changed: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cathoscope.flow.steps.differences._AT_HAND", 1e9)
    found = differences_in(context, context.data.merge(placed), "in files")
    xr.testing.assert_identical(found, changed)
    assert found["white_line_difference"].attrs["ancillary_variables"] == "white_line_difference_std"
    assert found["white_line_difference_std"].attrs["std_source"] == "fit covariance"


def test_rows_at_hand_are_those_that_are_stored() -> None:
    stored = np.arange(40.0, dtype=np.float32).reshape(20, 2)
    read: list[slice] = []

    def rows_of(rows: slice) -> NDArray[np.float32]:
        read.append(rows)
        return stored[rows]

    at_hand = RowsAtHand(rows_of, stored.shape)
    for rows in (slice(0, 3), slice(2, 7), slice(5, 12), slice(18, 20), slice(1, 4)):
        np.testing.assert_array_equal(at_hand[rows], stored[rows])
    assert [(rows.start, rows.stop) for rows in read] == [(0, 8), (8, 16), (18, 20), (1, 8)]


@pytest.mark.parametrize("reconstruct", ["energies", "coefficients"])
def test_two_temperatures_have_differences_however_they_are_reconstructed(reconstruct: str) -> None:
    series = [{"temperature": f"{t} C", "files": f"{t}/*.h5"} for t in (25, 150)]
    choices = {"reconstruct": "energies"} if reconstruct == "energies" else {}
    section = MeasurementSection(sample="a", technique="xanes-tomography", series=series, tomography=choices)
    (step,) = (one for one in xanes.steps(section) if one.name == "differences")
    assert "white_line_difference" in xanes.asked_for(section)
    assert ("white_line_half" in step.needs) == (reconstruct == "coefficients")
