"""From projections to volumes by the recipe's method, through the flow's own steps."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

from cathoscope.core.study import Study
from cathoscope.flow.graph import Context
from cathoscope.flow.sections import TomographySection
from cathoscope.flow.steps import coefficients, volumes
from cathoscope.flow.steps.aligned import scan_inputs
from cathoscope.flow.steps.coefficients import weights_at
from cathoscope.flow.steps.photon_noise import photon_noise_of_rows
from cathoscope.flow.steps.reconstruction import (
    depth_noise_from_volume_noise,
    reconstruction_of,
    slabs_within_memory,
)
from cathoscope.tomography.reconstruct import plan_reconstruction, reconstruct
from tests.flow.fabricated import PIXEL, Ball, knowing, result

BALL = Ball()
FEW = replace(BALL, n_projections=20, attenuation=(0.5, 0.9), photons=4000.0)
CHOICES = {"fbp": {}, "cgls": {"iterations": 10}, "tv": {"iterations": 12}}


def fresh(tmp_path: Path, name: str) -> Study:
    return Study.create(tmp_path / f"{name}.zarr")


def volumes_of(context: Context, study: Study) -> xr.DataArray:
    volumes.volumes(context)
    return result(context, study, ["attenuation"])["attenuation"]


def coefficients_of(context: Context, study: Study, survey: xr.Dataset | None = None) -> tuple[xr.Dataset, xr.Dataset]:
    """Survey and volumes of coefficients."""
    survey = coefficients.spectral_survey(context) if survey is None else survey
    context = knowing(context, survey)
    coefficients.coefficients(context)
    return survey, result(context, study, ["spectral_coefficient", "half_difference"])


@pytest.fixture(scope="module")
def of_the_ball(tmp_path_factory: pytest.TempPathFactory) -> tuple[xr.Dataset, xr.Dataset]:
    """Survey and coefficients by filtered back-projection."""
    study = fresh(tmp_path_factory.mktemp("ball"), "ball")
    return coefficients_of(BALL.context(study), study)


@pytest.mark.parametrize("method", ["fbp", "cgls", "tv"])
def test_slabs_and_threads_change_no_bit(tmp_path: Path, method: str) -> None:
    """Three slabs on three threads against one slab."""
    found = []
    for threads in (1, 3):
        study = fresh(tmp_path, str(threads))
        context = FEW.context(study, threads=threads, method=method, **CHOICES[method])
        slabs = slabs_within_memory(context, reconstruction_of(context), bytes_per_row=1.0)
        assert len(slabs) == threads
        found.append(volumes_of(context, study).values)
    np.testing.assert_array_equal(found[0], found[1])


def test_iterative_methods_are_nearer_the_truth_from_few_noisy_projections(tmp_path: Path) -> None:
    error = {}
    truth = FEW.inside() * FEW.attenuation[1]
    for method, choices in CHOICES.items():
        study = fresh(tmp_path, method)
        found = volumes_of(FEW.context(study, method=method, **choices), study)
        error[method] = float(np.sqrt(np.mean((found.values[0, 1] - truth) ** 2)))
        assert ("remarks" in found.attrs) == (method != "fbp")
    assert error["tv"] < 0.8 * error["fbp"]
    assert error["cgls"] < error["fbp"]


def test_total_variation_can_exclude_negative_attenuation_of_energies_only(tmp_path: Path) -> None:
    study = fresh(tmp_path, "positive")
    choices = {"method": "tv", "iterations": 5, "tv_strength": 0.2, "reconstruct": "energies"}
    assert volumes_of(FEW.context(study, **choices), study).min() < 0
    found = volumes_of(FEW.context(study, non_negative=True, **choices), study)
    assert found.min() >= 0
    with pytest.raises(ValidationError, match='reconstruct = "energies"'):
        FEW.context(study, non_negative=True, **(choices | {"reconstruct": "coefficients"}))


def test_coefficients_are_those_of_the_volumes_of_every_energy(
    tmp_path: Path, of_the_ball: tuple[xr.Dataset, xr.Dataset]
) -> None:
    """Also where energies come in two groups, and on three threads."""
    assert len(BALL.attenuation) > coefficients._AT_ONCE
    study = fresh(tmp_path, "energies")
    every = volumes_of(BALL.context(study), study).values[0]
    survey, found = of_the_ball
    weights, measured = weights_at(survey, (0,))
    assert measured.all()
    expected = np.tensordot(weights, every, axes=1)
    np.testing.assert_allclose(found["spectral_coefficient"].values[0], expected, atol=1e-3 * np.abs(expected).max())
    study = fresh(tmp_path, "threads")
    _, again = coefficients_of(BALL.context(study, threads=3), study, survey)
    xr.testing.assert_identical(again, found)


def test_half_sets_stay_those_of_filtered_back_projection(
    tmp_path: Path, of_the_ball: tuple[xr.Dataset, xr.Dataset]
) -> None:
    survey, filtered = of_the_ball
    study = fresh(tmp_path, "tv")
    _, regularised = coefficients_of(BALL.context(study, method="tv", iterations=6), study, survey)
    np.testing.assert_array_equal(filtered["half_difference"], regularised["half_difference"])
    attributes = regularised["spectral_coefficient"].attrs
    assert attributes["reconstruction"] == "total variation"
    assert "noise is that of filtered back-projection" in attributes["remarks"][0]
    # the last coefficient holds little but noise, and total variation takes it away
    of_noise = [one["spectral_coefficient"].values[0, -1].std() for one in (filtered, regularised)]
    assert of_noise[1] < 0.5 * of_noise[0]


def test_scans_with_angles_of_their_own_are_reconstructed_one_by_one(
    tmp_path: Path, of_the_ball: tuple[xr.Dataset, xr.Dataset]
) -> None:
    """Projections recorded in another order give the same volume, and every scan needs a plan of its own."""
    survey, expected = of_the_ball
    study = fresh(tmp_path, "own")
    context = BALL.context(study)
    for index, scan in context.raw.scans.items():
        turned = np.roll(np.arange(40), 3 * index[1])
        context.raw.scans[index] = scan.isel(projection=turned)
        for name in ("projection_shift", "vertical_shift"):
            context.data[name][index] = context.data[name][index].values[turned]
    context = knowing(context, survey)
    coefficients.coefficients(context)
    found = result(context, study, ["spectral_coefficient", "half_difference"])
    for name in found.data_vars:
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(found[name], expected[name], atol=1e-3 * scale, err_msg=str(name))


def test_drift_out_of_the_field_of_view_names_the_file(tmp_path: Path) -> None:
    study = fresh(tmp_path, "drift")
    still = (0.0, 0.0, 0.0)
    drifting = replace(BALL, drift=(*(still,) * 4, (0.0, 0.0, 3.0), *(still,) * 5))
    survey = coefficients.spectral_survey(drifting.context(study))
    share = survey["unseen_share"].values[0]
    assert share[4] == pytest.approx(3 / BALL.n_rows, abs=0.02)
    assert np.delete(share, 4).max() < 0.02
    (remark,) = survey["unseen_share"].attrs["remarks"]
    assert "scan_4.h5" in remark
    assert "scan_3.h5" not in remark


def test_neither_a_higher_magnification_nor_an_axis_off_the_middle_is_drift(tmp_path: Path) -> None:
    still = ((0.0, 0.0, 0.0),) * 10
    larger = replace(BALL, jitter=0.0, drift=still, magnification=tuple(1.0 + 0.01 * np.arange(10)))
    context = larger.context(fresh(tmp_path, "larger"))
    context.data["rotation_axis"] += 1.5
    survey = coefficients.spectral_survey(context)
    assert survey["unseen_share"].values[0, 0] == pytest.approx(1.5 / 32, abs=0.02)
    assert survey["unseen_share"].values[0, -1] > 0.05
    assert survey["unseen_share"].attrs["remarks"] == []


@pytest.mark.parametrize("gain", [1.0, 6.0])
def test_noise_is_compared_with_that_of_counted_photons(tmp_path: Path, gain: float) -> None:
    """A detector that counts six for every photon has 2.4 times the noise that its counts say."""
    noisy = replace(BALL, gain=gain, n_projections=60, photons=1000.0, attenuation=BALL.attenuation[3:8])
    survey = coefficients.spectral_survey(noisy.context(fresh(tmp_path, "gain")))
    remarks = survey["attenuation_std"].attrs["remarks"]
    if gain == 1.0:
        assert remarks == []
    else:
        assert "not that of photons alone" in remarks[0]
        ratio = float(remarks[0].split(" times ")[0].rpartition(" ")[2])
        assert ratio == pytest.approx(np.sqrt(gain), rel=0.15)


def test_photon_noise_of_a_scan_by_itself_and_in_a_series(tmp_path: Path) -> None:
    """Where nothing moves, aligning changes nothing, and nor does it change the noise."""
    still = replace(BALL, jitter=0.0, drift=((0.0, 0.0, 0.0),), attenuation=(1.0,))
    context = still.context(fresh(tmp_path, "still"))
    moving = scan_inputs(context, (0, 0))
    assert moving is not None
    plan = plan_reconstruction(moving.angle, BALL.n_columns)
    alone = replace(moving, motion=None)
    maps = [photon_noise_of_rows(plan, one, slice(8, 16)).full((8, 32, 32)) for one in (moving, alone)]
    np.testing.assert_allclose(maps[0], maps[1], rtol=1e-3)


def test_noise_of_the_depth_from_that_of_the_volume() -> None:
    """White noise of known size, reconstructed."""
    angle = np.arange(50) * 3.6
    plan = plan_reconstruction(angle, 48)
    noise = 0.02 * np.random.default_rng(3).standard_normal((8, 50, 48)).astype(np.float32)
    volume = reconstruct(plan, noise, 23.5, None, PIXEL)
    middle = volume[:, 12:36, 12:36].std(axis=(1, 2))
    found = depth_noise_from_volume_noise(plan=plan, noise_std=middle, pixel_size=PIXEL)
    assert found.mean() == pytest.approx(0.02, rel=0.04)


@pytest.mark.parametrize(
    "choices", [{"non_negative": True}, {"tv_strength": 1.0, "method": "cgls"}, {"iterations": 3}, {"method": "sirt"}]
)
def test_choices_of_another_method_are_mistakes(choices: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TomographySection.model_validate(choices)


_RUN = """
import sys
from pathlib import Path
import numpy as np
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study
from cathoscope.flow.steps import coefficients
from tests.flow.fabricated import Ball, knowing

context = Ball(n_rows=96, n_columns=96, n_projections=24, attenuation=(0.5, 1.0)).context(
    Study.create(Path(sys.argv[1])), memory=5.6e8
)
vectors = np.random.default_rng(1).standard_normal((1, 12, 2))
std = label("attenuation_std", np.ones((1, 2)), ("temperature", "energy"), std_source="half-set")
basis = label("spectral_vector", vectors, ("temperature", "coefficient", "energy"))
number = label("coefficient", np.arange(1, 13), ("coefficient",))
coefficients.coefficients(knowing(context, dataset([std, basis.assign_coords(coefficient=number)])))
# not getrusage: what that tells is at least the memory of the process that started this one
status = Path("/proc/self/status").read_text().split()
print(1024 * int(status[status.index("VmHWM:") + 1]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
def test_memory_stays_within_what_is_allowed(tmp_path: Path) -> None:
    """The volumes alone are 0.09 GB, more than the libraries leave."""
    root = Path(__file__).parents[2]
    peak = 0.0
    for name in ("kernels", "measured"):  # compiling, which the first may have to do, takes memory of its own
        run = [sys.executable, "-c", _RUN, str(tmp_path / f"{name}.zarr")]
        peak = float(subprocess.run(run, cwd=root, capture_output=True, check=True).stdout)
    assert peak < 5.6e8
