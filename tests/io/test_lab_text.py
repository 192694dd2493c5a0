"""Text of balances, calorimeters, mass spectrometers, spectrophotometers and elemental analysis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.io import open_raw
from tests.io import specimens_lab as made


@pytest.mark.parametrize("write", [made.ta, made.mettler, made.netzsch, made.perkin, made.heating_columns])
def test_every_program_tells_the_same_mass_at_the_same_temperature(
    write: Callable[[Path], list[Path]], tmp_path: Path
) -> None:
    data = open_raw(write(tmp_path))
    n = len(made.MASSES)
    assert data.attrs["format"] == "thermal"
    np.testing.assert_allclose(data["sample_mass"].values[:n], made.MASSES, rtol=1e-6)
    np.testing.assert_allclose(data["sample_temperature"].values[:n], made.TEMPERATURES, rtol=1e-12)
    np.testing.assert_allclose(np.diff(data["elapsed_time"].values[:n]), 60.0, rtol=1e-9)


def test_exothermic_up_is_turned_over(tmp_path: Path) -> None:
    data = open_raw(made.ta_calorimeter(tmp_path))
    assert data["heat_flow"].values[0] == 10.0
    assert data.attrs["remarks"] == []
    assert data.attrs["sample_mass_stated"] == 9.0


def test_a_direction_that_is_not_stated_is_a_remark(tmp_path: Path) -> None:
    path = tmp_path / "dsc.csv"
    path.write_text("Time (s),Temperature (K),Heat Flow (W)\n" + "".join(f"{k},{300 + k},0.001\n" for k in range(9)))
    data = open_raw(path)
    assert data["heat_flow"].values[0] == pytest.approx(1.0)
    assert data["sample_temperature"].values[0] == pytest.approx(26.85)
    assert "endothermic is taken" in data.attrs["remarks"][0]


def test_a_cut_file_is_read_to_its_last_whole_row(tmp_path: Path) -> None:
    path = made.heating_columns(tmp_path)[0]
    path.write_text(path.read_text()[: path.read_text().rfind(",")])
    data = open_raw(path)
    assert data.sizes["point"] == len(made.MASSES) - 1
    assert "cut" in data.attrs["remarks"][0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("t (min);T (C);m (mg)\n0;50.026.184;45.793.053\n", "more than one decimal point"),
        ("t (min),T (C),m (stone)\n" + "1,2,3\n" * 9, "unit"),
        ("t (min),T (C),m (mg)\n" + "1,2,3\n" * 2, "2 rows of 3 numbers"),
        ("t (min),T (C),m (mg)\n" + "1,2,3\n" * 9 + "oops\n1,2,3\n", "line 11: oops"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "tga.csv"
    path.write_text(text)
    with pytest.raises(MeasurementError, match=r"tga\.csv") as error:
        open_raw(path)
    assert problem in str(error.value)


def test_ions_have_their_own_times(tmp_path: Path) -> None:
    data = open_raw(made.quadera(tmp_path))
    assert data["ion"].attrs["names"] == ["Water", "Oxygen"]
    np.testing.assert_allclose(data["ion_time"].values[1] - data["ion_time"].values[0], 2.0)
    np.testing.assert_allclose(data["ion_signal"].values[1], np.arange(1, 9) * 1e-13)
    assert data.attrs["unit"] == "mbar"


def test_absorbance_of_every_program(tmp_path: Path) -> None:
    one = open_raw(made.cary(tmp_path))
    assert one["spectrum"].attrs["names"] == ["sample1"]
    assert (np.diff(one["wavelength"].values[0]) > 0).all()
    np.testing.assert_allclose(one["absorbance"].values[0, -1], 0.0)
    two = open_raw(made.cary_pairs(tmp_path))
    assert two["spectrum"].attrs["names"] == ["rod", "gravel"]
    np.testing.assert_allclose(two["absorbance"].values[1, 0], 0.3)
    through = open_raw(made.lambda_transmission(tmp_path))
    np.testing.assert_allclose(through["absorbance"].values[0], np.arange(0.7, -0.05, -0.1), atol=1e-5)
    assert through["spectrum"].attrs["names"] == ["lambda"]
    counted = open_raw(made.avantes(tmp_path))
    np.testing.assert_allclose(counted["absorbance"].values[0], 1 - np.log10(np.arange(1, 1.75, 0.1)), atol=1e-12)


def test_fluorescence_is_no_absorbance(tmp_path: Path) -> None:
    path = tmp_path / "eclipse.csv"
    path.write_text("Blank,,\nWavelength (nm),Intensity (a.u.),\n" + "".join(f"{450 + k},{k},\n" for k in range(9)))
    with pytest.raises(MeasurementError, match="fluorescence"):
        open_raw(path)


def test_contents_of_elements_with_their_uncertainties(tmp_path: Path) -> None:
    data = open_raw(made.icp(tmp_path))
    assert data["specimen"].attrs["names"] == ["gravel", "rod"]
    assert data["element"].attrs["names"] == ["Ni", "Co", "Mn"]
    np.testing.assert_allclose(data["element_content"].values, [[48.7, 6.12, 5.4], [76.4, 10.85, np.nan]])
    np.testing.assert_allclose(data["element_content_std"].values[:, :2], [[0.5, 0.0612], [0.8, 0.217]])
    assert data.attrs["below_limit"] == ["Mn of rod (< 0.01 mg/L)"]


@pytest.mark.parametrize("entry", ["-3", "many"])
def test_a_content_that_cannot_be_is_named_with_its_line(entry: str, tmp_path: Path) -> None:
    path = tmp_path / "icp.csv"
    path.write_text(f"sample,Ni (mg/L),Co (mg/L)\nrod,1,2\ngravel,{entry},2\n")
    with pytest.raises(MeasurementError, match="line 3") as error:
        open_raw(path)
    assert repr(entry) in str(error.value)


def test_measured_files_of_balances_and_spectrophotometers(data_folder: Path) -> None:
    found = {path.name: open_raw(path) for path in sorted((data_folder / "lab").glob("tga-*/*.[ta][xs][tc]"))}
    oxide = found["mp2028_281122_LNO+C.txt"]
    mass = np.interp([100, 300, 600], oxide["sample_temperature"].values, oxide["sample_mass"].values)
    mass /= oxide["sample_mass"].values[0]
    np.testing.assert_allclose(100 * mass, [99.946, 99.835, 99.749], atol=0.002)  # as its description states
    assert found["TAInstruments.txt"].sizes["point"] == 15577
    assert found["20221128_134958_TGA_MS.asc"].sizes == {"ion": 7, "point": 1365}
    for name in ("sample_dsc_setaram.csv", "sample_tga_data.csv"):
        with pytest.raises(MeasurementError, match="more than one decimal point"):
            open_raw(data_folder / "lab" / "dsc-ta-setaram" / name)
