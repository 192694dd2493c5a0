"""XDI files: written here line by line, read back exactly; real files of libraries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import require
from cathoscope.io.spectra_columns import recognise_columns
from cathoscope.io.spectra_xdi import energy_from_bragg_angle, open_xdi, recognise_xdi

ENERGIES = np.linspace(8300.25, 8400.25, 9)
MU = np.linspace(0.2, 1.4, 9)
FIELDS = {
    "Element.symbol": "Ni",
    "Element.edge": "K",
    "Mono.d_spacing": "3.13555",
    "Sample.name": "NiO, 10 um",
    "Scan.start_time": "2026-01-01T10:00:00",
}


def write_xdi(folder: Path, columns: dict[str, np.ndarray], fields: dict[str, str] = FIELDS, end: str = "\n") -> Path:
    path = folder / "scan.xdi"
    titles = [f"# Column.{k + 1}: {name}" for k, name in enumerate(columns)]
    entries = [f"# {name}: {value}" for name, value in fields.items()]
    rows = ["  ".join(repr(float(value)) for value in row) for row in zip(*columns.values(), strict=True)]
    labels = "#  " + "  ".join(name.split()[0] for name in columns)
    lines = ["# XDI/1.0 GSE/1.0", *titles, *entries, "# ///", "# room temperature", "#-----", labels, *rows]
    path.write_text(end.join(lines) + end, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_transmission_with_a_foil(tmp_path: Path, end: str) -> None:
    i0 = np.full(9, 1e5)
    it, ir = i0 * np.exp(-MU), i0 * np.exp(-2 * MU)
    path = write_xdi(tmp_path, {"energy eV": ENERGIES, "i0": i0, "itrans": it, "irefer": ir}, end=end)
    assert recognise_xdi(path) is None
    assert recognise_columns(path) == "an XDI file"
    data = open_xdi([path])
    require(data, "scan_energy", "absorption", "reference_absorption", "spectrum")
    np.testing.assert_array_equal(data["scan_energy"].values[0], ENERGIES)
    np.testing.assert_array_equal(data["absorption"].values[0], np.log(i0 / it))
    np.testing.assert_array_equal(data["reference_absorption"].values[0], np.log(it / ir))
    assert data["spectrum"].attrs["names"] == ["NiO, 10 um"]
    assert (data.attrs["format"], data.attrs["element"], data.attrs["edge"]) == ("xdi", "Ni", "K")
    assert data.attrs["metadata"].items() >= FIELDS.items()
    assert data.attrs["metadata"]["comments"] == ["room temperature"]
    assert data.attrs["remarks"] == ["absorption is ln(i0 / itrans), that of the foil ln(itrans / irefer)"]


@pytest.mark.parametrize("name", ["mutrans", "mufluor", "normtrans", "normfluor"])
def test_absorption_as_it_stands(tmp_path: Path, name: str) -> None:
    data = open_xdi([write_xdi(tmp_path, {"energy eV": ENERGIES, name: MU, "i0": MU + 5})])
    np.testing.assert_array_equal(data["absorption"].values[0], MU)
    assert data.attrs["remarks"] == [f"absorption is {name}; the file also has i0"]


def test_fluorescence_in_kev(tmp_path: Path) -> None:
    columns = {"energy keV || 13IDA:E": ENERGIES / 1e3, "ifluor": MU * 7, "i0": np.full(9, 7.0)}
    data = open_xdi([write_xdi(tmp_path, columns)])
    np.testing.assert_allclose(data["scan_energy"].values[0], ENERGIES, rtol=1e-15)
    np.testing.assert_allclose(data["absorption"].values[0], MU, rtol=1e-15)
    assert data.attrs["remarks"] == ["absorption is ifluor / i0"]


@pytest.mark.parametrize(("unit", "factor"), [("degrees", 1.0), ("", 1.0), ("radians", np.pi / 180)])
def test_angles_become_energies(tmp_path: Path, unit: str, factor: float) -> None:
    angles = np.degrees(np.arcsin(12398.4198 / (2 * 3.13555 * ENERGIES)))
    data = open_xdi([write_xdi(tmp_path, {f"angle {unit}".strip(): angles * factor, "mutrans": MU})])
    np.testing.assert_allclose(data["scan_energy"].values[0], ENERGIES, rtol=1e-8)
    np.testing.assert_array_equal(data["absorption"].values[0], MU)
    first, second = data.attrs["remarks"]
    assert "Mono.d_spacing 3.13555" in first
    assert second == "absorption is mutrans; the file also has angle"


def test_a_scan_of_rising_angles_has_falling_energies(tmp_path: Path) -> None:
    angles = np.degrees(np.arcsin(12398.4198 / (2 * 3.13555 * ENERGIES)))[::-1]
    assert (np.diff(angles) > 0).all()
    data = open_xdi([write_xdi(tmp_path, {"angle degrees": angles, "mutrans": MU[::-1]})])
    np.testing.assert_allclose(data["scan_energy"].values[0], ENERGIES, rtol=1e-8)
    np.testing.assert_array_equal(data["absorption"].values[0], MU)
    assert data.attrs["remarks"][-1] == "the energies were descending and have been sorted"


def test_bragg_angle_of_a_known_line() -> None:
    """Cu K alpha 1 (8047.8 eV) on Si(111): 14.2 deg; back-reflection is the lowest energy; none beyond."""
    energies = energy_from_bragg_angle(angle=np.array([14.2217, 90.0, 0.0, 91.0]), d_spacing=3.13560)
    np.testing.assert_allclose(energies[:2], [8047.8, 12398.4198 / 6.2712], rtol=1e-4)
    assert np.isnan(energies[2:]).all()


def test_many_columns_are_many_spectra(tmp_path: Path) -> None:
    spectra = {name: MU * (k + 1) for k, name in enumerate(["LiFe(II)PO4", "Fe foil", "Pyrite"])}
    data = open_xdi([write_xdi(tmp_path, {"energy eV": ENERGIES, **spectra})])
    assert data["spectrum"].attrs["names"] == list(spectra)
    np.testing.assert_array_equal(data["absorption"].values, list(spectra.values()))
    np.testing.assert_array_equal(data["scan_energy"].values, [ENERGIES] * 3)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("# Mono.d_spacing: 3.13555\n", "", "spacing"),
        ("3.13555", "unknown", "spacing"),
        ("3.13555", "0", "spacing"),
        ("angle degrees", "angle steps", "unknown unit"),
        ("angle degrees", "k 1/A", "no energies"),
        ("mutrans", "i0", "no pair of detectors"),
    ],
)
def test_what_the_header_lacks_is_said(tmp_path: Path, old: str, new: str, problem: str) -> None:
    path = write_xdi(tmp_path, {"angle degrees": np.linspace(14, 13, 9), "mutrans": MU})
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(MeasurementError, match=problem) as error:
        open_xdi([path])
    assert str(path) in str(error.value)


def test_names_above_the_numbers_stand_in_for_the_header(tmp_path: Path) -> None:
    path = write_xdi(tmp_path, {"energy eV": ENERGIES, "mutrans": MU})
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "Column" not in line))
    data = open_xdi([path])
    np.testing.assert_array_equal(data["absorption"].values[0], MU)
    assert "the names are those of the line above" in data.attrs["remarks"][0]


def test_a_foil_that_the_header_denies_is_used_and_said(tmp_path: Path) -> None:
    columns = {"energy eV": ENERGIES, "i0": MU + 3, "itrans": MU + 2, "irefer": MU + 1}
    data = open_xdi([write_xdi(tmp_path, columns, {"Sample.reference": "none"})])
    np.testing.assert_array_equal(data["reference_absorption"].values[0], np.log((MU + 2) / (MU + 1)))
    assert "Sample.reference: none" in data.attrs["remarks"][-1]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 600), at=st.integers(0, 600), byte=st.integers(0, 255))
def test_damage_is_an_error_that_names_the_file(tmp_path: Path, cut: int, at: int, byte: int) -> None:
    content = bytearray(write_xdi(tmp_path, {"energy eV": ENERGIES, "mutrans": MU}).read_bytes())
    content[at % len(content)] = byte
    path = tmp_path / "damaged.xdi"
    path.write_bytes(content[: len(content) - cut])
    try:
        reason = recognise_xdi(path)
        data = open_xdi([path])
    except MeasurementError as error:
        refusal = str(error)
    else:
        assert reason is None or byte == content[at % len(content)]
        assert data["scan_energy"].shape == data["absorption"].shape
        return
    assert str(path) in refusal


def test_real_foil_has_its_edge_where_it_was_published(data_folder: Path) -> None:
    data = open_xdi([data_folder / "xas/xas-larch/ni_metal_rt.xdi"])
    energies, absorption = data["scan_energy"].values[0], data["absorption"].values[0]
    assert energies[np.argmax(np.gradient(absorption, energies))] == 8331.5
    assert data.attrs["element"] == "Ni"


def test_real_files_are_as_an_independent_parser_reads_them(data_folder: Path) -> None:
    files = sorted((data_folder / "xas/xas-xaslib").glob("*.xdi"))
    assert len(files) == 8
    for file in files:
        table = np.loadtxt(file)
        data = open_xdi([file])
        np.testing.assert_array_equal(data["scan_energy"].values[0], table[:, 0])
        np.testing.assert_allclose(data["absorption"].values[0], np.log(table[:, 1] / table[:, 2]), rtol=1e-12)
        assert ("reference_absorption" in data) == (table.shape[1] == 4)
        assert data.attrs["element"] == file.parent.parent.name or data.attrs["element"] in ("Ni", "Mn", "Co")


def test_the_reference_library_gives_a_spectrum_for_each_phase(data_folder: Path) -> None:
    file = data_folder / "imaging/hxn-fe-xanes-lcf/FeLibNov2021.nor"
    data = open_xdi([file])
    names = data["spectrum"].attrs["names"]
    assert (len(names), names[6], names[-1]) == (11, "LiFe(II)PO4", "Hematite_NP")
    np.testing.assert_array_equal(data["absorption"].values, np.loadtxt(file)[:, 1:].T)


def test_the_foil_denied_by_the_header_is_nickel(data_folder: Path) -> None:
    """Nickel metal rises steeply at 8333 eV, where its compounds have a weak pre-edge peak at most.

    The same foil in the same beamline's scans: the rises agree within two steps of 0.5 eV.
    """
    rises = []
    for name in ("Ni2O3", "NiOH2", "NiS"):
        data = open_xdi([data_folder / f"xas/xas-xaslib/{name}_rt_01.xdi"])
        energies = data["scan_energy"].values[0]
        near = (energies > 8328) & (energies < 8338)
        slopes = {key: np.gradient(data[key].values[0], energies) for key in ("reference_absorption", "absorption")}
        foil, sample = (slope[near] / slope.max() for slope in slopes.values())
        rises.append(energies[near][np.argmax(foil)])
        assert foil.max() > 0.6
        assert name == "NiS" or sample.max() < 0.3
    assert np.ptp(rises) < 1.1
    assert min(rises) > 8333
    assert max(rises) < 8335
