"""The recipe of files of many beamlines, run once from the files to the report, against what is known of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import Study
from cathoscope.flow.check import check_recipe
from cathoscope.flow.recipe import Recipe, load_recipe
from cathoscope.flow.run import MeasurementOutcome, RunOutcome, run
from cathoscope.physics.edges import FOIL_ENERGY
from cathoscope.report.page import write_report

RECIPE = Path(__file__).parents[2] / "recipes" / "real" / "readers.toml"
Results = Callable[[str], xr.Dataset]


@pytest.fixture(scope="module")
def recipe(data_folder: Path) -> Recipe:
    return load_recipe(RECIPE, data=data_folder)


@pytest.fixture(scope="module")
def outcome(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> RunOutcome:
    study = tmp_path_factory.mktemp("readers") / "readers.zarr"
    return run(recipe, study, resources=Resources(threads=2), progress=Silent())


@pytest.fixture(scope="module")
def result(outcome: RunOutcome) -> Results:
    return lambda name: Study.open(outcome.study).read("result", name)


def outcome_of(outcome: RunOutcome, name: str) -> MeasurementOutcome:
    return next(item for item in outcome.measurements if item.name == name)


def remarks(outcome: RunOutcome, name: str) -> list[str]:
    return list(Study.open(outcome.study).attributes("raw", name)["remarks"])


def by_name(data: xr.Dataset, array: str) -> dict[str, float]:
    return dict(zip(data["spectrum"].attrs["names"], data[array].values.tolist(), strict=True))


def test_only_the_interrupted_scan_gives_no_result(outcome: RunOutcome) -> None:
    assert [item.name for item in outcome.failed] == ["chip"]


def test_check_says_the_same_without_computing(recipe: Recipe) -> None:
    findings = {finding.measurement: finding for finding in check_recipe(recipe)}
    assert [name for name, finding in findings.items() if finding.unusable] == ["chip"]
    assert [name for name, finding in findings.items() if finding.problems] == ["nca", "chip"]


# -- images ------------------------------------------------------------------------------------------


def test_the_two_corrupt_frames_are_named_with_what_is_wrong(outcome: RunOutcome) -> None:
    set_aside = dict(outcome_of(outcome, "nca").set_aside)
    headers = [reason for file, reason in set_aside.items() if file.startswith("rep02_000072_ref_")]
    cut = [reason for file, reason in set_aside.items() if file.startswith("rep02_000182_ref_")]
    assert len(set_aside) == len(headers + cut) == 2
    assert "the file holds no image" in headers[0]
    assert "12288 of 2097152 bytes" in cut[0]


def test_the_particles_are_nickel_and_thicker_ones_have_more(result: Results) -> None:
    nca = result("nca")
    assert nca["optical_depth_jump"].attrs["element"] == "Ni"
    assert nca["energy"].values.tolist() == [8324.0, 8354.0]
    assert nca.sizes["particle"] >= 5
    assert (nca["particle_jump"] > 10 * nca["particle_jump_std"]).all()
    # Beer-Lambert: of particles of one material the wider is the thicker
    order = np.argsort(-nca["particle_diameter"].values)
    assert nca["particle_jump"].values[order[:2]].min() > nca["particle_jump"].values[order[2:]].max()


# -- bulk spectra ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("composition", "expected"), [("NMC622", 2.3), ("NMC721", 2.0)])
def test_the_nickel_edge_rises_on_charge_and_returns_on_discharge(
    result: Results, composition: str, expected: float
) -> None:
    groups = result("voltage")
    rises = dict(zip(groups["group"].attrs["names"], groups["group_edge_rise"].values.tolist(), strict=True))
    assert rises[f"{composition} 4.3"] == pytest.approx(expected, abs=0.2)
    assert abs(rises[f"{composition} 3.0"]) < 0.5
    assert rises[f"{composition} N/A"] == 0.0


def test_scaled_spectra_say_that_they_are(outcome: RunOutcome) -> None:
    assert any("all 16 spectra: scaled to its maximum" in remark for remark in remarks(outcome, "voltage"))


def test_three_foils_come_to_the_tabulated_energy(result: Results) -> None:
    foils = result("foils")
    np.testing.assert_allclose(foils["derivative_edge"], FOIL_ENERGY["Ni"], atol=1e-6)
    shift = foils["energy_shift"].values
    assert np.ptp(shift) < 0.4
    assert ((shift > 1.1) & (shift < 1.5)).all()


def test_their_later_maxima_agree(result: Results) -> None:
    """What the calibration does not touch: distances of the second and third derivative maximum from the first."""
    _, second, third = np.array(result("foils")["energy_shift"].attrs["foil_maxima"]).T
    np.testing.assert_allclose(second, 6.0, atol=0.3)
    assert np.ptp(second) < 0.3
    assert np.ptp(third) < 0.3


def test_manganese_oxides_are_ordered_by_the_integral_edge_only(result: Results, outcome: RunOutcome) -> None:
    manganese = result("manganese")
    standards = ("MnO", "Mn3O4  haussmanite", "Mn2O3", "MnO2  pyrolusite")
    integral, derivative = (
        [by_name(manganese, name)[standard] for standard in standards] for name in ("integral_edge", "derivative_edge")
    )
    assert (np.diff(integral) > 0).all()
    assert not (np.diff(derivative) > 0).all()
    assert manganese["valence"].attrs["slope"] == pytest.approx(3.6, abs=0.2)
    said = remarks(outcome, "manganese")
    assert any(text.startswith("derivative edge (not used): The edge is not monotonic") for text in said)
    assert not any(text.startswith("integral edge") and "not monotonic" in text for text in said)


def test_the_valence_of_the_manganese_standards_holds_the_stated_one(result: Results) -> None:
    """Their scatter about the line is part of the uncertainty."""
    manganese = result("manganese")
    stated = dict(zip(manganese["valence"].attrs["standards"], (2.0, 8 / 3, 3.0, 4.0), strict=True))
    expected = np.array([stated[number] for number in manganese["spectrum"].values])
    assert (np.abs(manganese["valence"] - expected) < 2 * manganese["valence_std"]).all()


def test_trivalent_nickel_lies_above_divalent_by_every_definition(result: Results) -> None:
    oxides = result("nickel-oxides")
    for name in ("half_height_edge", "derivative_edge", "integral_edge", "white_line_energy"):
        energies = by_name(oxides, name)
        assert energies["ref_LiNiO2"] > energies["ref_NiO"] + 1.0


def test_the_published_combination_is_found(result: Results, data_folder: Path) -> None:
    iron = result("iron")
    assert float(iron["r_factor"][0]) == pytest.approx(1.993e-4, rel=5e-3)
    table = np.genfromtxt(data_folder / "imaging/hxn-fe-xanes-lcf/xanes_fit_plot.csv", delimiter=",", names=True)
    names = iron["component"].attrs["names"]
    published = np.stack([table[f"{name}_y".replace("(", "").replace(")", "")] for name in names])
    curves = iron["component_curve"][0].values
    # The weight by which the published component has to be multiplied to be ours, where both have a value.
    both = np.isfinite(curves) & (np.abs(published) > 0)
    ratio = [curve[b] @ one[b] / (one[b] @ one[b]) for curve, one, b in zip(curves, published, both, strict=True)]
    weight, std = (iron[name][0].values for name in ("component_fraction", "component_fraction_std"))
    assert np.abs((np.array(ratio) - 1.0) * weight / std).max() < 0.5
    assert (weight > 5 * std).all()


# -- tomography --------------------------------------------------------------------------------------


def test_the_interrupted_scan_is_refused_with_the_true_reason(outcome: RunOutcome) -> None:
    reason = str(outcome_of(outcome, "chip").failure)
    assert "txrm_test_chip_tomo.txrm: too few projections for a reconstruction" in reason
    assert "7 from -45.0 to 45.0 deg" in reason
    assert "room for 61" in reason


def test_the_master_file_is_read_and_its_missing_links_are_named(result: Results, outcome: RunOutcome) -> None:
    volume = result("nxtomo")["attenuation"]
    assert volume.sizes == {"z": 22, "y": 26, "x": 26}
    assert np.isfinite(volume).all()
    said = "\n".join(remarks(outcome, "nxtomo"))
    for file in ("imaging", "pcompPanda"):
        assert f"k11-18014-{file}.h5 is not where the link says; k11-18014-{file}.h5 is used" in said
    for file in ("EtherCAT", "detectorPanda"):
        assert f"k11-18014-{file}.h5 is missing" in said


# -- report ------------------------------------------------------------------------------------------


def test_the_report_holds_every_measurement(outcome: RunOutcome, recipe: Recipe) -> None:
    files = write_report(Study.open(outcome.study), outcome.study.with_suffix(".html"))
    page = files.page.read_text(encoding="utf-8")
    for number, name in enumerate(recipe.model.measurement, start=1):
        section = page.split(f'<h2 id="measurement-{number}">')[1].split("<h2 ")[0]
        assert section.startswith(name)
        # what was refused has its reason instead of figures
        assert ("room for 61" in section) if name == "chip" else ("<figure" in section)
    assert all(file.stat().st_size > 0 for file in (*files.figures, *files.numbers))
