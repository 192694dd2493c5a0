"""Measured oxides: what the edges and white lines of nickel and manganese compounds say about their valence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cathoscope.io import open_raw
from cathoscope.xanes.bulk import BulkEdges, bulk_edges, half_height_edge, normalise, white_line
from cathoscope.xanes.edge import calibration_shift_from_foil

MANGANESE = {"MnO_rt_01": 2.0, "Mn3O4_rt_01": 8.0 / 3.0, "Mn2O3_rt_01": 3.0, "MnO2_rt_01": 4.0}
NICKEL_AXIS = 8330.0 + 0.4 * np.arange(100)


def first_crossing(energy: np.ndarray, absorption: np.ndarray, level: float) -> float:
    after = int(np.argmax(absorption >= level))
    return float(np.interp(level, absorption[after - 1 : after + 1], energy[after - 1 : after + 1]))


@pytest.fixture(scope="module")
def nickel_references(data_folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    spectra = {}
    for name in ("LiNiO2", "NiO"):
        data = open_raw(data_folder / "xas/xas-lno-nio-fxi" / f"ref_{name}.txt")
        spectra[name] = data["scan_energy"].values[0], data["absorption"].values[0]
    return spectra


def test_nickel_references_cross_the_half_of_their_own_scale_where_their_points_do(
    nickel_references: dict[str, tuple[np.ndarray, np.ndarray]],
) -> None:
    """The files have a normalisation of their own, whose one half is not ours; the energy of that level is the same."""
    for energy, absorption in nickel_references.values():
        one = normalise(energy=energy, absorption=absorption)
        found = half_height_edge(normalised=one, height=0.5 / one.edge_step)
        assert found.energy == pytest.approx(first_crossing(energy, absorption, 0.5), abs=0.05)


def test_trivalent_nickel_absorbs_above_divalent(
    nickel_references: dict[str, tuple[np.ndarray, np.ndarray]],
) -> None:
    spectra = {name: normalise(energy=e, absorption=mu) for name, (e, mu) in nickel_references.items()}
    edges = {name: half_height_edge(normalised=one).energy for name, one in spectra.items()}
    lines = {name: white_line(normalised=one).energy for name, one in spectra.items()}
    assert edges["LiNiO2"] - edges["NiO"] == pytest.approx(1.8, abs=0.2)
    assert lines["LiNiO2"] > lines["NiO"] + 1.0
    for name, (energy, absorption) in nickel_references.items():
        assert lines[name] == pytest.approx(energy[np.argmax(absorption)], abs=0.5)  # one step of the file


@pytest.fixture(scope="module")
def manganese(data_folder: Path) -> tuple[BulkEdges, np.ndarray]:
    """Edges as recorded, and the shifts of the foils in the same scans."""
    rows, shifts = [], []
    for name in MANGANESE:
        data = open_raw(data_folder / "xas/xas-xaslib" / f"{name}.xdi")
        energy, absorption, foil = (
            data[key].values[0] for key in ("scan_energy", "absorption", "reference_absorption")
        )
        rows.append((energy, absorption))
        shifts.append(calibration_shift_from_foil(energy=energy, absorption=foil, element="Mn").shift)
    longest = max(energy.size for energy, _ in rows)
    table = np.full((2, len(rows), longest), np.nan)
    for number, (energy, absorption) in enumerate(rows):
        table[:, number, : energy.size] = energy, absorption
    return bulk_edges(energy=table[0], absorption=table[1]), np.array(shifts)


def test_the_integral_edge_of_manganese_oxides_rises_with_valence_and_the_derivative_does_not(
    manganese: tuple[BulkEdges, np.ndarray],
) -> None:
    edges, _ = manganese
    assert (np.diff(edges.integral_edge) > 0).all()
    assert not (np.diff(edges.derivative_edge) > 0).all()
    slope = np.polyfit(list(MANGANESE.values()), edges.integral_edge, 1)[0]
    assert slope == pytest.approx(3.6, abs=0.2)


def test_the_foils_of_the_manganese_scans_change_neither_order_nor_slope_by_much(
    manganese: tuple[BulkEdges, np.ndarray],
) -> None:
    edges, shifts = manganese
    assert np.abs(shifts).max() < 0.5
    calibrated = edges.integral_edge + shifts
    assert (np.diff(calibrated) > 0).all()
    assert np.polyfit(list(MANGANESE.values()), calibrated, 1)[0] == pytest.approx(3.6, abs=0.2)


@pytest.fixture(scope="module")
def charged(data_folder: Path) -> dict[str, np.ndarray]:
    content = json.loads((data_folder / "xas/xas-nmc-voltage/nmc_exp_xas.json").read_text())
    numbers = list(content["intensity"])
    absorption = np.array([content["intensity"][number] for number in numbers])
    found = bulk_edges(energy=np.tile(NICKEL_AXIS, (len(numbers), 1)), absorption=absorption)
    return {
        "composition": np.array([content["composition"][number] for number in numbers]),
        "voltage": np.array([str(content["voltage"][number]) for number in numbers]),
        "half_height": found.half_height_edge,
        "crossing": np.array([first_crossing(NICKEL_AXIS, mu, 0.5) for mu in absorption]),
        "integral": found.integral_edge,
    }


def rise(charged: dict[str, np.ndarray], composition: str, voltage: str) -> np.ndarray:
    of = charged["composition"] == composition
    pristine = charged["half_height"][of & (charged["voltage"] == "N/A")]
    return charged["half_height"][of & (charged["voltage"] == voltage)] - pristine.mean()


@pytest.mark.parametrize(("composition", "expected"), [("NMC622", 2.3), ("NMC721", 2.0)])
def test_the_nickel_edge_rises_on_charge_and_returns_on_discharge(
    composition: str, expected: float, charged: dict[str, np.ndarray]
) -> None:
    assert rise(charged, composition, "4.3").mean() == pytest.approx(expected, abs=0.2)
    assert np.abs(rise(charged, composition, "3.0")).max() < 0.5


def test_half_heights_of_scaled_spectra_are_those_of_their_points(charged: dict[str, np.ndarray]) -> None:
    np.testing.assert_allclose(charged["half_height"], charged["crossing"], atol=0.1)
    assert np.isnan(charged["integral"]).all()
