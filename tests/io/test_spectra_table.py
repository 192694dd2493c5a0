"""Columns become absorption: by laws, by a map, and by their names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.io.spectra import ColumnMap
from cathoscope.io.spectra_table import (
    Table,
    absorption_from_fluorescence,
    absorption_from_transmission,
    guess_energy,
    guess_signals,
    spectra_of_table,
)

ENERGIES = np.linspace(8300, 8400, 11)
MU = np.linspace(0.2, 1.4, 11)
FOIL = np.linspace(0.5, 2.5, 11)
I0 = np.linspace(1e5, 9e4, 11)
COLUMNS = {
    "energy": ENERGIES,
    "i0": I0,
    "itrans": I0 * np.exp(-MU),
    "irefer": I0 * np.exp(-MU - FOIL),
    "ifluor": 0.1 * I0 * MU,
    "dead": np.tile([-0.8, 1.2, -1.0], 4)[:11],
    "clock": np.ones(11),
    "mu": MU,
}


def table(*names: str, titles: tuple[str, ...] | None = None, named: bool = True) -> Table:
    values = np.column_stack([COLUMNS[name] for name in names])
    return Table(Path("scan.txt"), titles or names, values, named=named)


@given(st.floats(1, 1e9), st.floats(-5, 20))
def test_transmission_inverts_the_law_of_lambert_and_beer(incident: float, depth: float) -> None:
    transmitted = np.array([incident * np.exp(-depth)])
    result = absorption_from_transmission(incident=np.array([incident]), transmitted=transmitted)
    np.testing.assert_allclose(result, [depth], rtol=1e-9, atol=1e-9)


def test_intensities_without_a_logarithm_are_nan() -> None:
    counts = np.array([0.0, -1.0, np.nan, np.inf, 5e-324])
    assert np.isnan(absorption_from_transmission(incident=np.ones(5), transmitted=counts)).all()
    assert np.isnan(absorption_from_fluorescence(incident=np.zeros(3), fluorescence=np.array([0.0, 1, -1]))).all()


def test_detectors_give_the_absorption_they_were_made_from() -> None:
    remarks: list[str] = []
    (spectrum,) = spectra_of_table(
        table("energy", "clock", "i0", "itrans", "irefer", "ifluor"), ColumnMap(), "a", remarks
    )
    np.testing.assert_array_equal(spectrum.energy, ENERGIES)
    np.testing.assert_allclose(spectrum.absorption, MU, rtol=1e-12)
    np.testing.assert_allclose(spectrum.reference, FOIL, rtol=1e-12)
    assert remarks[-1] == (
        "absorption is ln(i0 / itrans), that of the foil ln(itrans / irefer); the file also has clock, ifluor"
    )


def test_a_dead_transmission_detector_gives_way_to_fluorescence() -> None:
    found = table("energy", "i0", "dead", "ifluor", titles=("Energy", "I0", "It", "If"))
    (spectrum,) = spectra_of_table(found, ColumnMap(), "a", [])
    np.testing.assert_allclose(spectrum.absorption, 0.1 * MU, rtol=1e-12)
    assert spectrum.reference is None


def test_of_several_lines_that_with_most_counts_and_the_i0_of_its_device() -> None:
    values = np.column_stack([ENERGIES, I0, 2 * I0, 1e-3 * MU * I0, MU * I0])
    names = ("Energy", "I0", "MCA:Corr I0", "MCA:FeKa_Sum", "MCA:NiKa_Sum")
    (signal,) = guess_signals(Table(Path("a"), names, values, named=True), "Energy")
    assert (signal.fluorescence, signal.i0) == ("MCA:NiKa_Sum", "MCA:Corr I0")


@pytest.mark.parametrize(
    ("titles", "wanted"),
    [
        (("energy", "mutrans", "i0", "murefer"), ColumnMap(absorption="mutrans", reference="murefer")),
        (("energy", "xmu", "i0", "norm"), ColumnMap(absorption="xmu")),
        (("energy", "i0", "I1", "I2"), ColumnMap(i0="i0", transmitted="I1", reference="I2")),
        (("Mono Energy", "I0-32", "It-32", "Iref-32"), ColumnMap(i0="I0-32", transmitted="It-32", reference="Iref-32")),
        (("energy", "mufluor", "i0", "ifluor"), ColumnMap(absorption="mufluor")),
        (("energy", "i0", "ifluor", "temperature"), ColumnMap(i0="i0", fluorescence="ifluor")),
    ],
)
def test_names_of_columns_are_known(titles: tuple[str, ...], wanted: ColumnMap) -> None:
    found = table("energy", "i0", "itrans", "irefer", titles=titles)
    assert guess_signals(found, titles[0]) == [wanted]


def test_columns_without_known_names_are_a_spectrum_each() -> None:
    remarks: list[str] = []
    found = table("energy", "mu", "irefer", titles=("E", "LiNiO2", "NiO"))
    first, second = spectra_of_table(found, ColumnMap(), "a", remarks)
    assert (first.name, second.name) == ("LiNiO2", "NiO")
    np.testing.assert_array_equal(first.absorption, MU)
    np.testing.assert_array_equal(second.absorption, COLUMNS["irefer"])
    assert "each of 2 columns is taken as a spectrum: LiNiO2, NiO" in remarks


def test_a_map_wins_over_names() -> None:
    found = table("energy", "mu", "i0", "ifluor", "itrans", "irefer")
    stated = ColumnMap(fluorescence="4", i0="3", transmitted="itrans", reference="IREFER")
    (spectrum,) = spectra_of_table(found, stated, "a", [])
    np.testing.assert_allclose(spectrum.absorption, 0.1 * MU, rtol=1e-12)
    np.testing.assert_allclose(spectrum.reference, FOIL, rtol=1e-12)
    (spectrum,) = spectra_of_table(found, ColumnMap(absorption="ifluor", reference="mu"), "a", [])
    np.testing.assert_array_equal(spectrum.reference, MU)
    (spectrum,) = spectra_of_table(found, ColumnMap(absorption="mu", even_energy=(7000, 2, 11)), "a", [])
    np.testing.assert_array_equal(spectrum.energy, 7000 + 2.0 * np.arange(11))


@pytest.mark.parametrize("key", ["none", "0", "9", "٣", "1" * 5000])
def test_a_column_that_is_not_there(key: str) -> None:
    with pytest.raises(MeasurementError, match="no such column"):
        spectra_of_table(table("energy", "mu"), ColumnMap(absorption=key), "a", [])


@pytest.mark.parametrize(
    ("columns", "titles", "problem"),
    [
        (("energy",), ("energy",), "no absorption"),
        (("energy", "i0", "clock"), ("energy", "i0", "clock"), "no pair of detectors"),
        (("clock", "mu"), ("clock", "mu"), "no energies"),
        (("energy", "dead", "itrans"), ("energy", "i0", "it"), "no pair of detectors"),
    ],
)
def test_what_makes_no_absorption_is_refused(columns: tuple[str, ...], titles: tuple[str, ...], problem: str) -> None:
    with pytest.raises(MeasurementError, match=problem):
        spectra_of_table(table(*columns, titles=titles), ColumnMap(), "a", [])


def test_more_columns_without_names_need_a_map() -> None:
    found = table("energy", "i0", "itrans", titles=("1", "2", "3"), named=False)
    with pytest.raises(MeasurementError, match="not clear what the columns are"):
        spectra_of_table(found, ColumnMap(), "a", [])
    (spectrum,) = spectra_of_table(found, ColumnMap(i0="2", transmitted="3"), "a", [])
    np.testing.assert_allclose(spectrum.absorption, MU, rtol=1e-12)
    with pytest.raises(MeasurementError, match="before the sample"):
        spectra_of_table(found, ColumnMap(transmitted="3"), "a", [])


@pytest.mark.parametrize(
    ("values", "name", "is_energy"),
    [
        (np.linspace(8200, 9000, 20), "1", True),
        (np.linspace(9.0, 8.2, 20), "1", True),
        (np.linspace(700, 730, 20), "1", False),
        (np.linspace(700, 730, 20), "energy (eV)", True),
        (np.linspace(10, 90, 20), "two theta", False),
        (np.linspace(8200, 9000, 20)[np.arange(20) * 7 % 20], "1", False),
        (np.linspace(0, 1e4, 20), "time", False),
        (np.linspace(0.1, 90, 20), "Energy/Wh", False),
    ],
)
def test_only_a_scan_of_photon_energies_is_taken_for_one(values: np.ndarray, name: str, is_energy: bool) -> None:
    found = Table(Path("a"), (name, "b"), np.column_stack([values, np.ones(20)]), named=True)
    assert (guess_energy(found)[0] == name) == is_energy
