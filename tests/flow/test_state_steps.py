"""State of charge, valence and groups of voxels, from white-line maps made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.errors import CathoscopeError, RecipeError
from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study, Work
from cathoscope.flow.graph import Context, build_graph
from cathoscope.flow.raw import RawMeasurement
from cathoscope.flow.recipe import RecipeMistakes, load_recipe
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps import TECHNIQUES
from cathoscope.flow.steps.clusters import clusters
from cathoscope.flow.steps.state_maps import mean_state, state_map
from cathoscope.flow.steps.voxels import OUTSIDE
from cathoscope.report.numbers import numbers_of

RecipeWriter = Callable[..., Path]

SHAPE = (24, 10, 10)
VOXELS = ("temperature", "z", "y", "x")
LOW, HIGH = 8347.0, 8350.5
END_POINTS = {"discharged": "8347 eV", "charged": "8350.5 eV", "discharged_std": "0.06 eV", "charged_std": "0.09 eV"}
VALENCE = np.array([2.0, 2.67, 3.0, 3.6])
STANDARDS = {f"standard {v:g}": (f"{8344.0 + 1.6 * v:.6f} eV", v) for v in VALENCE}
OF_STANDARDS = {"standards": STANDARDS, "standards_std": "0.15 eV"}
MEAN, MEAN_STD, WIDTH, WIDTH_STD = [8348.4, 8349.6], [0.03, 0.05], [0.5, 0.7], [0.02, 0.04]


def maps(energy: np.ndarray, *, std: float = 0.1, good: np.ndarray | None = None, **attrs: Any) -> xr.Dataset:
    """White line of two temperatures with its statistics; what is not good is outside the particle."""
    inside = np.ones(energy.shape, dtype=bool) if good is None else good
    coords = {"temperature": label("temperature", np.array([25.0, 150.0]), ("temperature",))}
    coords |= {dim: label(dim, 0.1 * np.arange(size), (dim,)) for dim, size in zip("zyx", SHAPE, strict=True)}
    line = label("white_line_energy", np.where(inside, energy, np.nan), VOXELS, coords=coords)
    line.attrs |= attrs
    of_temperature = {
        "white_line_mean": MEAN,
        "white_line_mean_std": MEAN_STD,
        "white_line_width": WIDTH,
        "white_line_width_std": WIDTH_STD,
        "independent_voxels": [900.0, 900.0],
    }
    numbers = [
        label(name, np.array(value), ("temperature",), coords=coords, std_source="scatter")
        for name, value in of_temperature.items()
    ]
    flag = np.where(inside, 0, OUTSIDE).astype(np.int8)
    return dataset(
        [
            line,
            label("white_line_energy_std", np.full(energy.shape, std), VOXELS, coords=coords, std_source="half-set"),
            label("white_line_flag", flag, VOXELS, coords=coords),
            *numbers,
        ]
    )


@pytest.fixture
def given(tmp_path: Path) -> Callable[..., Context]:
    """What a step is given, with the table ``state`` of the recipe."""

    def make(data: xr.Dataset, state: dict[str, Any] | None = None, *, rows: int = 100) -> Context:
        section = section_with(state or {})
        raw = RawMeasurement("ball", section, ("temperature", "energy"), {}, {})
        work = Work(Study.create(tmp_path / f"{rows}.zarr"), "result", "ball", "address")
        return Context("ball", raw, data, section, tmp_path, (), work, Resources(most_rows=rows), Silent())

    return make


def section_with(state: dict[str, Any]) -> MeasurementSection:
    return MeasurementSection(sample="ball", technique="xanes-tomography", files=["x"], state=state)


def written(context: Context, tmp_path: Path, rows: int = 100) -> xr.Dataset:
    context.work.commit()
    return Study.open(tmp_path / f"{rows}.zarr").read("result", "ball").load()


def energies(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(LOW + 0.1, HIGH - 0.1, (2, *SHAPE)).astype(np.float32)


# -- maps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "name", "zero", "slope"),
    [(END_POINTS, "state_of_charge", LOW, HIGH - LOW), (OF_STANDARDS, "valence", 8344.0, 1.6)],
)
def test_the_map_is_the_straight_line_through_the_scale(
    given: Callable[..., Context], tmp_path: Path, state: dict[str, Any], name: str, zero: float, slope: float
) -> None:
    energy = energies()
    good = np.random.default_rng(1).random(energy.shape) < 0.7
    context = given(maps(energy, std=0.07, good=good), state)
    state_map(context)
    found = written(context, tmp_path)
    expected = np.where(good, (energy.astype(float) - zero) / slope, np.nan)
    np.testing.assert_allclose(found[name], expected, atol=1e-6)
    np.testing.assert_allclose(found[f"{name}_std"], np.where(good, 0.07 / slope, np.nan), rtol=1e-6)
    assert found[name].dims == VOXELS
    np.testing.assert_allclose([found[name].attrs["zero"], found[name].attrs["slope"]], [zero, slope], rtol=1e-7)


def test_an_edge_that_falls_on_charging_gives_a_state_too(given: Callable[..., Context], tmp_path: Path) -> None:
    context = given(maps(energies()), {"discharged": "8350.5 eV", "charged": "8347 eV"})
    state_map(context)
    found = written(context, tmp_path)
    np.testing.assert_allclose(found["state_of_charge"], (HIGH - energies()) / (HIGH - LOW), atol=1e-6)
    assert (found["state_of_charge_std"] > 0).all()


def test_slabs_do_not_change_a_bit(given: Callable[..., Context], tmp_path: Path) -> None:
    data, results = maps(energies()), []
    for rows in (8, 100):
        context = given(data, END_POINTS, rows=rows)
        state_map(context)
        results.append(written(context, tmp_path, rows)["state_of_charge"].values)
    np.testing.assert_array_equal(*results)


# -- means ---------------------------------------------------------------------------------------


def test_the_mean_state_of_charge_scatters_as_it_says(given: Callable[..., Context]) -> None:
    """End points and mean white line drawn anew, a hundred thousand times."""
    found = mean_state(given(maps(energies()), END_POINTS))
    rng = np.random.default_rng(2)
    low, high = (rng.normal(at, std, 100_000) for at, std in ((LOW, 0.06), (HIGH, 0.09)))
    for t in range(2):
        draws = (rng.normal(MEAN[t], MEAN_STD[t], low.size) - low) / (high - low)
        assert float(found["state_of_charge_mean"][t]) == pytest.approx(draws.mean(), abs=0.001)
        assert float(found["state_of_charge_mean_std"][t]) == pytest.approx(draws.std(), rel=0.02)
        widths = rng.normal(WIDTH[t], WIDTH_STD[t], low.size) / (high - low)
        assert float(found["state_of_charge_width"][t]) == pytest.approx(widths.mean(), rel=0.002)
        assert float(found["state_of_charge_width_std"][t]) == pytest.approx(widths.std(), rel=0.02)


def test_the_mean_valence_scatters_as_it_says(given: Callable[..., Context]) -> None:
    """A line through standards drawn anew, by least squares of its own."""
    found = mean_state(given(maps(energies()), OF_STANDARDS))
    rng = np.random.default_rng(3)
    slope, zero = np.polyfit(VALENCE, rng.normal(8344.0 + 1.6 * VALENCE, 0.15, (40_000, 4)).T, 1)
    for t in range(2):
        draws = (rng.normal(MEAN[t], MEAN_STD[t], slope.size) - zero) / slope
        assert float(found["valence_mean"][t]) == pytest.approx(draws.mean(), abs=0.01)
        assert float(found["valence_mean_std"][t]) == pytest.approx(draws.std(), rel=0.04)
        assert float(found["valence_width"][t]) == pytest.approx(WIDTH[t] / 1.6, rel=1e-6)


def test_a_temperature_without_a_mean_has_no_state(given: Callable[..., Context]) -> None:
    data = maps(energies())
    data["white_line_mean"][1] = np.nan
    found = mean_state(given(data, END_POINTS))
    np.testing.assert_array_equal(np.isfinite(found["state_of_charge_mean"]), [True, False])


# -- remarks -------------------------------------------------------------------------------------


def test_voxels_beyond_the_end_points_are_kept_and_told(given: Callable[..., Context], tmp_path: Path) -> None:
    energy = energies()
    energy[1, 0, 0, :5], energy[1, 9, 1, :3] = LOW - 2.0, HIGH + 0.01
    context = given(maps(energy), END_POINTS, rows=8)
    state_map(context)
    found = mean_state(context)["state_of_charge_mean"]
    (remark,) = found.attrs["remarks"]
    assert "state of charge at 150 C: 5 voxels lie below and 3 above" in remark
    assert "(0.33 % of 2400); 5 of them significantly" in remark
    assert found.attrs["outside_share"] == [0.0, 8 / 2400]
    values = written(context, tmp_path, 8)["state_of_charge"]
    assert float(values.min()) == pytest.approx(-2.0 / 3.5, abs=1e-4)
    assert float(values.max()) > 1


def test_what_a_common_error_explains_is_not_significant(given: Callable[..., Context]) -> None:
    """The same voxels, 2 eV below, where the calibration of the map is only known to 1 eV."""
    energy = energies()
    energy[1, 0, 0, :5] = LOW - 2.0
    found = mean_state(given(maps(energy, systematic_std=[1.0, 1.0]), END_POINTS))["state_of_charge_mean"]
    (remark,) = found.attrs["remarks"]
    assert "0 of them significantly" in remark


def test_uncertainties_that_nobody_stated_are_told(given: Callable[..., Context]) -> None:
    state = {key: value for key, value in END_POINTS.items() if key != "charged_std"}
    found = mean_state(given(maps(energies()), state))["state_of_charge_mean"]
    (remark,) = found.attrs["remarks"]
    assert "no uncertainty of charged is stated" in remark
    assert mean_state(given(maps(energies()), END_POINTS))["state_of_charge_mean"].attrs["remarks"] == []


def test_standards_that_limit_the_line_are_told(given: Callable[..., Context]) -> None:
    two = {"standards": {"a": ("8347.2 eV", 2), "b": ("8349.6 eV", 3.5)}, "standards_std": "0.1 eV"}
    found = mean_state(given(maps(energies()), two))["valence_mean"]
    assert any("Two standards always lie on a line" in remark for remark in found.attrs["remarks"])


# -- groups --------------------------------------------------------------------------------------


def with_halves(data: xr.Dataset, noise: float, rng: np.random.Generator) -> xr.Dataset:
    """White noise on the map, as the mean of two halves shows it."""
    halves = data["white_line_energy"].values + np.sqrt(2) * noise * rng.standard_normal((2, 2, *SHAPE))
    half = label("white_line_half", halves, ("half", *VOXELS), coords=data.coords)
    return data.assign(white_line_half=half, white_line_energy=data["white_line_energy"].copy(data=halves.mean(axis=0)))


def two_phases() -> xr.Dataset:
    """30 % at 8348 and 70 % at 8349.2 eV, and one phase at 8349 eV at the second temperature."""
    rng = np.random.default_rng(4)
    energy = np.stack([np.where(rng.random(SHAPE) < 0.3, 8348.0, 8349.2), np.full(SHAPE, 8349.0)])
    # the noise is twice what is stated: only the halves know
    return with_halves(maps(energy + 0.1 * rng.standard_normal(energy.shape), std=0.15), 0.3, rng)


def test_groups_are_as_many_as_there_are_phases(given: Callable[..., Context]) -> None:
    data = two_phases()
    data["white_line_energy"].attrs["systematic_std"] = [0.05, 0.05]
    found = clusters(given(data))
    np.testing.assert_array_equal(found["cluster"], [1, 2])
    np.testing.assert_array_equal(np.isfinite(found["cluster_energy"]), [[True, True], [True, False]])
    for name, first in {"energy": [8348.0, 8349.2], "share": [0.3, 0.7], "width": [0.1, 0.1]}.items():
        array, std = found[f"cluster_{name}"].values, found[f"cluster_{name}_std"].values
        assert np.all(np.abs(array[0] - first) < 4 * std[0])
        assert np.all(std[0] < 0.1)
    assert float(found["cluster_energy"][1, 0]) == pytest.approx(8349.0, abs=0.05)
    assert float(found["cluster_share"][1, 0]) == pytest.approx(1.0)
    # the error that all voxels share is in the energy
    assert float(found["cluster_energy_std"].min()) > 0.05
    assert [int(np.argmin(each)) + 1 for each in found["cluster_energy"].attrs["information"]] == [2, 1]


def test_without_halves_the_stated_noise_is_believed(given: Callable[..., Context]) -> None:
    """It is half of the true one, so the groups look wider than they are."""
    found = clusters(given(two_phases().drop_vars("white_line_half")))
    assert float(found["cluster_width"][1, 0]) == pytest.approx(np.sqrt(0.1**2 + 0.3**2 - 0.15**2), rel=0.1)


def test_a_temperature_without_statistics_has_no_groups(given: Callable[..., Context]) -> None:
    data = two_phases()
    data["independent_voxels"][0] = np.nan
    data["white_line_flag"][1] = OUTSIDE
    found = clusters(given(data))
    assert found["cluster_energy"].shape == (2, 1)
    assert np.isnan(found["cluster_energy"]).all()


# -- in the flow ---------------------------------------------------------------------------------


def names_made(state: dict[str, Any]) -> set[str]:
    technique, section = TECHNIQUES["xanes-tomography"], section_with(state)
    there = ("white_line_energy", "white_line_energy_std", "white_line_flag", "white_line_half", "independent_voxels")
    wanted = {name for name in technique.asked_for(section) if name.startswith(("state", "valence"))}
    means = ("white_line_mean", "white_line_mean_std", "white_line_width", "white_line_width_std")
    given = dict.fromkeys((*there, *means), "address")
    choices = section.model_dump(mode="json")
    graph = build_graph(
        technique.steps_for(section), targets=(*technique.targets, *sorted(wanted)), given=given, choices=choices
    )
    return {name for node in graph.nodes for name in node.makes}


def test_only_a_scale_asks_for_the_state() -> None:
    groups = {f"cluster_{name}{std}" for name in ("energy", "width", "share") for std in ("", "_std")}
    assert names_made({}) == groups
    for state, name in ((END_POINTS, "state_of_charge"), (OF_STANDARDS, "valence")):
        expected = {f"{name}{part}{std}" for part in ("", "_mean", "_width") for std in ("", "_std")}
        assert names_made(state) == groups | expected


def test_a_scale_that_tells_nothing_is_refused_before_anything_runs() -> None:
    section = section_with(END_POINTS | {"charged_std": "0.9 eV"})
    with pytest.raises(CathoscopeError, match="hardly depends on the state of charge"):
        TECHNIQUES["xanes-tomography"].steps_for(section)


def test_means_and_groups_are_numbers_of_the_report(given: Callable[..., Context], tmp_path: Path) -> None:
    context = given(two_phases(), END_POINTS)
    context.work.store_dataset(xr.merge([mean_state(context), clusters(context)]))
    written(context, tmp_path)
    numbers = numbers_of(Study.open(tmp_path / "100.zarr"), "ball")
    said = {(number.array, *number.place.values()): number.value for number in numbers}
    assert said["state_of_charge_mean", 25.0] == pytest.approx((8348.4 - LOW) / 3.5)
    assert said["cluster_energy", 25.0, 2] == pytest.approx(8349.2, abs=0.1)
    assert all(number.sigma is not None for number in numbers)


# -- mistakes of the recipe ----------------------------------------------------------------------

RECIPE = """\
[sample.rod]
[measurement.rod]
sample = "rod"
technique = "xanes-tomography"
files = "scans/*.h5"

[measurement.rod.state]
"""
CHARGED, DISCHARGED = 'charged = "8350.5 eV"\n', 'discharged = "8346.9 eV"\n'
TWO = 'standards = { NiO = ["8347 eV", 2], LiNiO2 = ["8349.5 eV", 3] }\n'


@pytest.mark.parametrize(
    ("lines", "says", "line"),
    [
        (CHARGED, "discharged and charged belong together", 7),
        (DISCHARGED + 'charged_std = "0.1 eV"\n', "discharged and charged belong together", 7),
        (DISCHARGED + CHARGED + TWO, "leave one of them out", 7),
        (DISCHARGED + DISCHARGED.replace("dis", ""), "must differ", 7),
        (TWO, "standards_std", 7),
        ('standards_std = "0.1 eV"\n', "two standards of different valence", 7),
        (TWO.replace("3]", "2]") + 'standards_std = "0.1 eV"\n', "two standards of different valence", 7),
        (DISCHARGED + "charged = 8350.5\n", "needs a number and a unit", 9),
        (DISCHARGED + CHARGED + 'charged_std = "-0.1 eV"\n', "greater than or equal to 0", 10),
        (DISCHARGED + CHARGED + 'chargd_std = "0.1 eV"\n', "unknown key 'chargd_std'", 10),
        ('standards_std = "0.1 eV"\n' + TWO.replace('"8347 eV"', "8347"), "needs a number and a unit", 9),
    ],
)
def test_a_mistake_names_its_line(write_recipe: RecipeWriter, lines: str, says: str, line: int) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(write_recipe(RECIPE + lines))
    assert isinstance(caught.value, RecipeMistakes)
    (mistake,) = caught.value.mistakes
    assert mistake.where == f"study.toml, line {line}"
    assert says in str(mistake)


def test_what_is_written_is_what_is_meant(write_recipe: RecipeWriter) -> None:
    both = [RECIPE + DISCHARGED + CHARGED, RECIPE + TWO + 'standards_std = "0.1 eV"\n', RECIPE]
    sections = [load_recipe(write_recipe(text)).model.measurement["rod"].state for text in both]
    assert [each.quantity for each in sections] == ["state_of_charge", "valence", None]
    assert (sections[0].discharged, sections[0].charged) == (8346.9, 8350.5)
    assert sections[1].standards == {"NiO": (8347.0, 2.0), "LiNiO2": (8349.5, 3.0)}
