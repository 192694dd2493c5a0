"""An ellipsoid with a hollow core and a hole beside it, that moves and shrinks, the core most; then nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter

from cathoscope.core.parallel import Resources
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study, Work
from cathoscope.flow.graph import Context
from cathoscope.flow.raw import RawMeasurement
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps import TECHNIQUES
from cathoscope.flow.steps.morphology import MAKES, morphology
from cathoscope.flow.steps.morphology_change import asked_for, changes, solid_change
from cathoscope.flow.steps.registration import registration_of_solid
from tests.flow.fabricated import Listening

EDGE, RADIUS, CORE, HOLE = 0.05, 0.85, 0.34, 0.17  # um
AXES = (1.12, 0.9, 1 / (1.12 * 0.9))  # semi-axes (x, y, z) over the radius: the volume is that of a ball
MOVED = (0.06, -0.04, 0.03)  # um, (x, y, z)
SMALLER, SMALL_CORE = 0.97, 0.17
SIZE = 48


def grey_volume(scale: float, core: float, moved: tuple[float, float, float], seed: int) -> np.ndarray:
    """Grey values [z, y, x] with blur and noise."""
    z, y, x = ((np.indices((SIZE,) * 3) - 23.6) * EDGE - np.array(moved[::-1])[:, None, None, None]) / scale
    edge = EDGE / scale

    def ball(radius: float, at: float = 0.0, axes: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> np.ndarray:
        place = [(x - at) / axes[0], y / axes[1], z / axes[2]]
        r = np.sqrt(sum(one**2 for one in place))
        slope = np.sqrt(sum((one / axis) ** 2 for one, axis in zip(place, axes, strict=True))) / np.maximum(r, 1e-9)
        return np.clip((radius - r) / (edge * slope) + 0.5, 0, 1)

    oxide = ball(RADIUS, axes=AXES) - ball(core) - ball(HOLE, 0.6)
    noise = 0.03 * np.random.default_rng(seed).standard_normal(x.shape)
    return np.asarray(0.3 * (gaussian_filter(oxide, 1.0) + noise))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """All that the steps make, one after the other."""
    folder = tmp_path_factory.mktemp("heated")
    states = [(1.0, CORE, (0.0, 0.0, 0.0), 1), (SMALLER, SMALL_CORE, MOVED, 2)]
    volumes = np.stack([*(grey_volume(*state) for state in states), np.zeros((SIZE,) * 3)]).astype(np.float32)
    coords = {dim: label(dim, EDGE * (np.arange(SIZE) - 23.5), (dim,)) for dim in "zyx"}
    coords["temperature"] = label("temperature", np.array([25.0, 150.0, 200.0]), ("temperature",))
    data = dataset([label("attenuation", volumes, ("temperature", "z", "y", "x"), coords=coords)])
    table = {"crack_width": "0.2 um", "magnification_std": 0.001}
    choices = {"morphology": table, "registration": {"model": "similarity"}}
    section = MeasurementSection(sample="s", technique="tomography", files=["x"], **choices)
    raw = RawMeasurement("ball", section, ("temperature",), {"temperature": data["temperature"]}, {})
    study = Study.create(folder / "study.zarr")

    def made(
        step: Callable[[Context], xr.Dataset | None], known: xr.Dataset, makes: tuple[str, ...] = ()
    ) -> xr.Dataset:
        work = Work(study, "result", "ball", step.__name__)
        context = Context("ball", raw, known, section, folder, makes, work, Resources(), Listening())
        result = step(context)
        if result is None:
            work.commit()
            result = study.read("result", "ball").load()
        return xr.merge([known, result], compat="override", join="left", combine_attrs="override")

    data = made(morphology, data, MAKES)
    for step in (registration_of_solid, changes, solid_change):
        data = made(step, data)
    return data


def test_the_relative_volume_is_that_of_the_balls(measured: xr.Dataset) -> None:
    change = measured["relative_volume"].values - 1
    std, systematic = (measured[f"relative_volume_{part}"].values for part in ("std", "systematic"))
    assert change[0] == std[0] == 0
    assert change[1] == pytest.approx(SMALLER**3 - 1, abs=min(3 * std[1], 0.004))
    assert std[1] >= systematic[1] >= 0.003 * SMALLER**3  # three times the magnification's
    parts = measured["relative_volume_error"]
    assert parts["error_source"].attrs["names"][-1] == "magnification"
    assert np.sqrt(np.sum(parts.values[1] ** 2)) == pytest.approx(systematic[1])
    assert measured["cancelled_volume_error"].values[1] > 0
    assert np.isnan(change[2])


def test_core_and_porosity_are_compared_with_the_first(measured: xr.Dataset) -> None:
    ratio = (SMALLER * SMALL_CORE / CORE) ** 3
    std = float(measured["relative_core_std"][1])
    assert float(measured["relative_core"][1]) == pytest.approx(ratio, abs=min(3 * std + 0.01, 0.03))
    porosities = [(core**3 + HOLE**3) / RADIUS**3 for core in (CORE, SMALL_CORE)]
    found = measured["porosity_change"].values
    assert found[0] == 0
    assert found[1] == pytest.approx(porosities[1] - porosities[0], abs=0.004)
    assert float(measured["porosity_change_std"][1]) < 0.25 * abs(found[1])
    assert np.isnan(found[2])


def test_the_registration_finds_motion_and_size(measured: xr.Dataset) -> None:
    shift = measured["placement_shift"].values
    np.testing.assert_allclose(shift[1], MOVED, atol=0.1 * EDGE)
    # an independent way to the relative volume
    assert float(measured["registration_scale"][1]) == pytest.approx(SMALLER, abs=0.003)
    assert np.isnan(shift[2]).all()


def test_only_the_core_changed_where_the_material_lay(measured: xr.Dataset) -> None:
    z, y, x = ((np.indices((SIZE,) * 3) - 23.6) * EDGE)[:]
    r = np.sqrt(x**2 + y**2 + z**2)
    change = measured["solid_change"].values
    assert np.isnan(change[[0, 2]]).all()
    shell = (r < CORE - 1.5 * EDGE) & (r > SMALL_CORE + 1.5 * EDGE)  # Phi(1.5) = 0.93 of either wall, at least
    beyond = (r > CORE + 3 * EDGE) & (r < 0.9 * RADIUS - 3 * EDGE)
    assert np.nanmean(change[1][shell]) == pytest.approx(0.9, abs=0.08)
    assert np.nanmean(change[1][beyond]) == pytest.approx(0.0, abs=0.02)


def test_changes_are_asked_for_where_there_are_several_temperatures() -> None:
    entries = [{"temperature": f"{t} C", "files": f"{t}/*.h5"} for t in (25, 150)]
    section = MeasurementSection(sample="s", technique="tomography", series=entries, morphology={})
    assert asked_for(section) == ("porosity", "relative_volume", "solid_change")
    assert asked_for(replace_series(section)) == ("porosity",)
    for technique in ("tomography", "xanes-tomography"):
        steps = [step.name for step in TECHNIQUES[technique].steps_for(section)]
        assert steps.count("registration") == 1
        assert {"change of morphology", "change of solid"} <= set(steps)


def replace_series(section: MeasurementSection) -> MeasurementSection:
    """The same with one temperature."""
    return section.model_copy(update={"series": section.series[:1]})
