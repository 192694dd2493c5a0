"""Bulk spectra: what every reader of them promises, and columns become absorption."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cathoscope.core.errors import MeasurementError, RecipeError
from cathoscope.core.schema import require
from cathoscope.io.spectra import ColumnMap, Spectrum, bulk_dataset, energies_in_ev, unit_in_name

ENERGIES = np.array([8300.0, 8310.0, 8333.0, 8340.5, 8360.0, 8400.0])
ABSORPTION = np.array([0.1, 0.125, 0.7, 1.3, 1.0, 1.05])
FILE = Path("scan.txt")


def test_spectra_of_different_length_are_filled_with_nan() -> None:
    foil = ABSORPTION + 1
    spectra = [
        Spectrum("long", ENERGIES, ABSORPTION, labels={"voltage": 4.3}),
        Spectrum("short", ENERGIES[:5], ABSORPTION[:5], foil[:5], {"voltage": "N/A", "cycle": 2}),
    ]
    data = bulk_dataset(spectra, FILE, ["first"], format="table", element="Ni")
    require(data, "scan_energy", "absorption", "reference_absorption", "spectrum")
    assert data["spectrum"].values.tolist() == [1, 2]
    assert data["spectrum"].attrs["names"] == ["long", "short"]
    np.testing.assert_array_equal(data["scan_energy"].values, [ENERGIES, [*ENERGIES[:5], np.nan]])
    np.testing.assert_array_equal(data["absorption"].values, [ABSORPTION, [*ABSORPTION[:5], np.nan]])
    np.testing.assert_array_equal(data["reference_absorption"].values, [[np.nan] * 6, [*foil[:5], np.nan]])
    assert data.attrs["labels"] == {"voltage": [4.3, "N/A"], "cycle": [None, 2]}
    assert data.attrs["remarks"] == ["first"]
    assert data.attrs["element"] == "Ni"


@settings(max_examples=50, deadline=None)
@given(order=st.permutations(range(6)), repeats=st.integers(1, 4), n_bad=st.integers(0, 3))
def test_any_order_repeats_and_gaps_give_the_same_spectrum(order: list[int], repeats: int, n_bad: int) -> None:
    """Points repeated with deviations that cancel, in any order, among points that are no numbers."""
    index = [k for k in order for _ in range(repeats)]
    deviation = np.tile(np.arange(repeats) - (repeats - 1) / 2, 6)
    energies = np.concatenate([ENERGIES[index], [np.nan, 8350.0, np.inf][:n_bad]])
    absorption = np.concatenate([ABSORPTION[index] + deviation, [1.0, np.nan, 1.0][:n_bad]])
    data = bulk_dataset([Spectrum("a", energies, absorption)], FILE, [], format="table")
    np.testing.assert_array_equal(data["scan_energy"].values[0], ENERGIES)
    np.testing.assert_allclose(data["absorption"].values[0], ABSORPTION, rtol=0, atol=1e-12)
    remarks = " / ".join(data.attrs["remarks"])
    assert (f"{n_bad} of {6 * repeats + n_bad} points" in remarks) == (n_bad > 0)
    assert ("6 energies occur more than once" in remarks) == (repeats > 1)
    assert ("sorted" in remarks) == (order != sorted(order))
    assert ("descending" in remarks) == (order == sorted(order)[::-1])


def test_a_gap_of_the_foil_stays_a_gap() -> None:
    foil = np.where(np.arange(6) == 2, np.nan, ABSORPTION)
    data = bulk_dataset([Spectrum("a", ENERGIES[::-1], ABSORPTION[::-1], foil[::-1])], FILE, [], format="table")
    np.testing.assert_array_equal(data["reference_absorption"].values[0], foil)
    assert data.attrs["remarks"] == ["the energies were descending and have been sorted"]


def test_repeated_energies_average_the_finite_values_of_the_foil() -> None:
    energies = np.concatenate([ENERGIES, ENERGIES])
    foil = np.concatenate([ABSORPTION, np.where(np.arange(6) == 2, np.nan, ABSORPTION + 2)])
    data = bulk_dataset([Spectrum("a", energies, foil, foil)], FILE, [], format="table")
    assert data["reference_absorption"].values[0][2] == ABSORPTION[2]
    np.testing.assert_allclose(data["reference_absorption"].values[0][3:], ABSORPTION[3:] + 1, rtol=1e-15)


def test_remarks_name_the_spectra_they_are_about() -> None:
    down = Spectrum("down", ENERGIES[::-1], ABSORPTION)
    data = bulk_dataset([down, Spectrum("up", ENERGIES, ABSORPTION)], FILE, [], format="table")
    assert data.attrs["remarks"] == ["down: the energies were descending and have been sorted"]
    data = bulk_dataset([down, down], FILE, [], format="table")
    assert data.attrs["remarks"] == ["all spectra: the energies were descending and have been sorted"]


def test_a_spectrum_of_too_few_points_is_set_aside_with_its_labels() -> None:
    spectra = [
        Spectrum("few", ENERGIES[:4], ABSORPTION[:4], labels={"voltage": 3.0}),
        Spectrum("enough", ENERGIES, ABSORPTION, labels={"voltage": 4.3}),
    ]
    data = bulk_dataset(spectra, FILE, [], format="table")
    assert data["spectrum"].attrs["names"] == ["enough"]
    assert data.attrs["labels"] == {"voltage": [4.3]}
    assert data.attrs["remarks"] == ["few: only 4 points: set aside"]
    with pytest.raises(MeasurementError, match="no spectrum is left"):
        bulk_dataset(spectra[:1], FILE, [], format="table")


def test_spectra_whose_table_would_not_fit_are_refused() -> None:
    """A hundred short spectra and a long one: the padded table is a hundred times the file."""
    energies = np.linspace(8000, 9000, 50_000)
    spectra = [Spectrum("long", energies, energies), *[Spectrum("short", ENERGIES, ABSORPTION)] * 99]
    with pytest.raises(MeasurementError, match="more than a set of spectra can have"):
        bulk_dataset(spectra, FILE, [], format="table")


@given(hnp.arrays(np.float64, st.integers(1, 20), elements=st.floats(1.0, 99.0)))
def test_energies_in_kev_and_ev_are_the_same(kev: np.ndarray) -> None:
    ev, remarks = energies_in_ev(kev * 1e3, "eV", "energy", FILE)
    same, more = energies_in_ev(kev, "keV", "energy", FILE)
    np.testing.assert_array_equal(ev, same)
    assert remarks == more == []
    guessed, remarks = energies_in_ev(kev, None, "energy", FILE)
    np.testing.assert_array_equal(guessed, ev)
    assert "read as keV (the file gives no unit)" in remarks[0]


def test_a_wrong_unit_is_seen() -> None:
    values, remarks = energies_in_ev(np.array([8333.0]), "keV", "energy", FILE)
    assert values[0] == 8333
    assert "read as eV (the file says keV)" in remarks[0]
    with pytest.raises(MeasurementError, match="no energies"):
        energies_in_ev(np.array([-1.0, np.nan, 0]), None, "energy", FILE)


@pytest.mark.parametrize(
    ("name", "unit"), [("Energy (keV)", "keV"), ("e/eV", "eV"), ("energy_ev", "eV"), ("level", None), ("energy", None)]
)
def test_unit_in_the_name_of_a_column(name: str, unit: str | None) -> None:
    assert unit_in_name(name) == unit


def test_even_axis_is_first_energy_and_step() -> None:
    axis = ColumnMap(even_energy=(8330, 0.4, 100), energy_unit="keV").even_axis(100, FILE)
    np.testing.assert_allclose(axis, 8330 + 0.4 * np.arange(100), rtol=1e-12)
    with pytest.raises(MeasurementError, match="do not belong"):
        ColumnMap(even_energy=(8330, 0.4, 10**9)).even_axis(100, FILE)


@pytest.mark.parametrize(
    "options",
    [
        {"energy": "e", "even_energy": (8330, 0.4, 100)},
        {"even_energy": (8330, 0, 100)},
        {"even_energy": (-1, 0.4, 100)},
        {"even_energy": (8330, 0.4, 1)},
        {"even_energy": (float("nan"), 0.4, 100)},
        {"energy_unit": "nm"},
    ],
)
def test_an_impossible_map_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(RecipeError):
        ColumnMap(**options)  # type: ignore[arg-type]
