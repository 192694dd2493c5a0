"""Nothing stale survives: what changed is computed again, what was set aside stays so, however a run ended."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study, Work
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.run import MeasurementOutcome, plan_measurement, run
from cathoscope.flow.steps import geometry
from cathoscope.flow.steps.starts import open_start

RecipeWriter = Callable[..., Path]
TWO = (8, 20)
FILE = "fly_scan_id_100{}.h5"

SCAN = """
[sample.spheres]
[measurement.spheres]
sample = "spheres"
technique = "tomography"
rows = [8, 16]
{choices}
"""


NO_OPEN_BEAM = """\
tomography = { normalise_beam = false }
edge = { pre_edge = ["8290 eV", "8340 eV"], post_edge = ["8345 eV", "8410 eV"] }
"""


def run_once(recipe: Path, study: Path, data: Path) -> MeasurementOutcome:
    """Run a recipe of one measurement."""
    loaded = load_recipe(recipe, data=data)
    return run(loaded, study, resources=Resources(threads=1), progress=Silent()).measurements[0]


@pytest.fixture
def two_temperatures(spheres: Path, tmp_path: Path) -> Path:
    """Two folders whose files have the same names: two scans each, at 25 C and at 150 C."""
    for folder in ("025C", "150C"):
        (tmp_path / folder).mkdir()
        scans = sorted((spheres / "raw" / f"spheres_{folder}").glob("*.h5"))
        for number in TWO:
            shutil.copy(scans[number], tmp_path / folder / f"scan_{number:03d}.h5")
    return tmp_path


def series(cold: str = "025C", hot: str = "150C", choices: str = "") -> str:
    entries = "".join(
        f'[[measurement.spheres.series]]\ntemperature = "{temperature} C"\nfiles = "{folder}/*.h5"\n'
        for temperature, folder in ((25, cold), (150, hot))
    )
    technique = SCAN.format(choices=choices).replace('"tomography"', '"xanes-tomography"')
    start = technique.index("[measurement.spheres]")
    return technique[:start] + technique[start:] + entries


def test_exchanged_temperatures_are_another_measurement(two_temperatures: Path, write_recipe: RecipeWriter) -> None:
    plans = [
        plan_measurement(load_recipe(write_recipe(series(*folders)), data=two_temperatures), "spheres")
        for folders in (("025C", "150C"), ("150C", "025C"))
    ]
    assert plans[0].raw.fingerprint != plans[1].raw.fingerprint


def test_a_set_aside_scan_does_not_take_its_namesake_with_it(
    two_temperatures: Path, write_recipe: RecipeWriter, tmp_path: Path
) -> None:
    no_object(two_temperatures / "150C" / "scan_008.h5")
    recipe = write_recipe(series(choices=NO_OPEN_BEAM))
    first = run_once(recipe, tmp_path / "study.zarr", two_temperatures)
    again = run_once(recipe, tmp_path / "study.zarr", two_temperatures)
    # the other scan of that temperature is alone then, and no series
    assert [name for name, _ in first.set_aside] == ["scan_008.h5", "scan_020.h5"]
    assert first.missing == ["no usable scan at temperature 150 degC, at none of 2 values of energy"]
    assert again.missing == first.missing


def no_object(path: Path) -> None:
    """Make projections brighter than the open beam, over angles of which no two mirror each other."""
    with h5py.File(path, "r+") as file:
        file["img_tomo"][...] = (1.05 * file["img_bkg"][0]).astype(np.uint16)
        file["angle"][...] = np.linspace(0.0, 30.0, file["angle"].size)


def test_a_temperature_without_a_usable_scan_leaves_the_other(
    two_temperatures: Path, write_recipe: RecipeWriter, tmp_path: Path
) -> None:
    for number in TWO:
        no_object(two_temperatures / "150C" / f"scan_{number:03d}.h5")
    recipe = write_recipe(series(choices=NO_OPEN_BEAM))
    outcome = run_once(recipe, tmp_path / "study.zarr", two_temperatures)
    assert len(outcome.set_aside) == 2
    # two energies are too few for an edge jump: that is what is said, and of this measurement only
    assert outcome.failure is not None
    assert "of each are needed" in outcome.failure


def test_unreadable_flats_cost_their_own_scan_only(
    two_temperatures: Path, write_recipe: RecipeWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cathoscope.flow.steps import projections

    original = projections.bad_pixels_from_flats
    calls = []

    def damaged(**stacks: np.ndarray) -> np.ndarray:
        calls.append(1)
        if len(calls) == 1:
            raise MeasurementError("the HDF5 file is truncated")
        return original(**stacks)

    monkeypatch.setattr(projections, "bad_pixels_from_flats", damaged)
    recipe = write_recipe(series())
    outcome = run_once(recipe, tmp_path / "study.zarr", two_temperatures)
    assert "bad pixels" in outcome.computed
    assert "spectral coefficients" in outcome.computed


# -- the rotation axis -----------------------------------------------------------------------------


@pytest.fixture
def scan_without_axis(spheres: Path, tmp_path: Path) -> Path:
    """A scan over 30 degrees of an object that no method finds the axis of."""
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(spheres / "raw" / "spheres_025C" / FILE.format(103), folder / "scan.h5")
    no_object(folder / "scan.h5")
    return folder


AXIS_FIXED = 'files = "scan.h5"\nfix = { rotation_axis = 19.5 }\ntomography = { normalise_beam = false }'


def test_a_fixed_axis_cures_a_scan_whose_axis_cannot_be_found(
    scan_without_axis: Path, write_recipe: RecipeWriter, tmp_path: Path
) -> None:
    lost = run_once(
        write_recipe(SCAN.format(choices=AXIS_FIXED.replace("fix = { rotation_axis = 19.5 }\n", ""))),
        tmp_path / "lost.zarr",
        scan_without_axis,
    )
    assert lost.failure is not None
    assert "fix rotation_axis" in lost.failure or "no rotation axis" in lost.failure
    outcome = run_once(write_recipe(SCAN.format(choices=AXIS_FIXED)), tmp_path / "study.zarr", scan_without_axis)
    assert outcome.failure is None
    assert outcome.set_aside == []
    data = Study.open(tmp_path / "study.zarr").read("result", "spheres")
    assert float(data["rotation_axis"]) == 19.5
    assert np.isfinite(data["attenuation"].values).all()


@pytest.mark.parametrize("reason", [None, "the object leaves the view"])
def test_an_estimate_that_distrusts_itself_is_not_used_alone(reason: str | None) -> None:
    only = geometry.AxisEstimate(20.0, 0.2, np.zeros(3), 0.1, 0.1, 0.1, reason)
    for pair in ((only, "no mirrored projections"), ("no mass", only)):
        if reason is None:
            assert geometry._choose_axis(*pair)[0] is only
        else:
            with pytest.raises(MeasurementError, match="leaves the view"):
                geometry._choose_axis(*pair)


def test_two_estimates_that_distrust_themselves_are_as_uncertain_as_they_differ() -> None:
    mass, mirror = (
        geometry.AxisEstimate(axis, 0.2, np.zeros(3), 0.1, 0.1, 0.1, "the object leaves the view")
        for axis in (20.0, 26.0)
    )
    chosen, other, std = geometry._choose_axis(mass, mirror)
    assert {chosen.axis, other} == {20.0, 26.0}
    assert std == pytest.approx(3.0)


# -- what an array is known by ---------------------------------------------------------------------


def test_a_kill_while_results_move_into_place_leaves_no_old_coordinates(
    spheres: Path, write_recipe: RecipeWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        pass

    file = f'files = "raw/spheres_025C/{FILE.format(103)}"'
    study = tmp_path / "study.zarr"
    run_once(write_recipe(SCAN.format(choices=f'{file}\npixel_size = "100 nm"')), study, spheres)
    changed = write_recipe(SCAN.format(choices=f'{file}\npixel_size = "200 nm"'))
    move = Work._replace

    def move_and_die(self: Work, entry: Path) -> None:
        move(self, entry)
        if entry.name == "attenuation":
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Work, "_replace", move_and_die)
        with pytest.raises(KilledError):
            run_once(changed, study, spheres)
    run_once(changed, study, spheres)
    fresh = tmp_path / "fresh.zarr"
    run_once(changed, fresh, spheres)
    for name in ("x", "z", "attenuation"):
        found, expected = (Study.open(place).read("result", "spheres")[name].values for place in (study, fresh))
        np.testing.assert_array_equal(found, expected)


def test_a_start_array_is_known_by_all_its_values_and_coordinates(write_recipe: RecipeWriter, tmp_path: Path) -> None:
    def address(value: float, first_energy: float) -> str:
        study = Study.create(tmp_path / "start.zarr")
        volume = np.zeros((2, 24, 70, 70), np.float32)
        volume[:, 20, 66, 66] = value
        coords = {"energy": first_energy + np.arange(2.0), **{dim: np.arange(float(n)) for dim, n in SIZES.items()}}
        attenuation = label("attenuation", volume, ("energy", *SIZES), coords=coords)
        study.write("truth", "rod", dataset([attenuation]))
        text = """
        [sample.rod]
        [measurement.rod]
        sample = "rod"
        technique = "xanes-tomography"
        start = { attenuation = "start.zarr/truth/rod" }
        """
        started = open_start(load_recipe(write_recipe(text), data=tmp_path), "rod")
        return str(started["attenuation"].attrs["address"])

    plain = address(1.0, 8300.0)
    assert address(1.0, 8300.0) == plain
    assert len({plain, address(7.0, 8300.0), address(1.0, 8305.0)}) == 3


SIZES = {"z": 24, "y": 70, "x": 70}
