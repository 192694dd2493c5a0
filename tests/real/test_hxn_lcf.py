"""The mixture of known iron phases against the fit that its authors publish with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cathoscope.io import open_raw
from cathoscope.xanes.combination import CombinationOptions, fit_combination

NAMES = ("LiFe(II)PO4", "Pyrite", "StainlessSteelNP", "Hematite_NP")
FREE = CombinationOptions(non_negative=False)


@pytest.fixture(scope="module")
def folder(data_folder: Path) -> Path:
    return data_folder / "imaging" / "hxn-fe-xanes-lcf"


@pytest.fixture(scope="module")
def table(folder: Path) -> np.ndarray:
    """Energy, spectrum, the authors' fit and its four components, [column, point]."""
    return np.loadtxt(folder / "xanes_fit_plot.csv", delimiter=",", skiprows=1).T


@pytest.fixture(scope="module")
def library(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Energies [point] and the four spectra [component, point]."""
    spectra = open_raw(folder / "FeLibNov2021.nor")
    rows = [spectra["spectrum"].attrs["names"].index(name) for name in NAMES]
    return spectra["scan_energy"].values[rows[0]], spectra["absorption"].values[rows]


def test_components_and_r_factor_are_the_published_ones(
    table: np.ndarray, library: tuple[np.ndarray, np.ndarray]
) -> None:
    energy, spectrum, published, components = table[0], table[1], table[2], table[3:]
    # as the authors did: linear interpolation, constant beyond the library
    references = np.stack([np.interp(energy, library[0], one) for one in library[1]])
    fit = fit_combination(spectrum=spectrum, energy=energy, references=references, names=NAMES, options=FREE)
    np.testing.assert_allclose(fit.weight[:, np.newaxis] * references, components, atol=2e-4)
    np.testing.assert_allclose(fit.fit, published, atol=2e-4)
    assert f"{fit.r_factor:.3e}" == "1.993e-04"
    assert fit.weight.min() > 0


def test_fit_within_the_library_agrees_with_the_published_one_within_its_uncertainty(
    table: np.ndarray, library: tuple[np.ndarray, np.ndarray]
) -> None:
    energy, spectrum, published, components = table[0], table[1], table[2], table[3:]
    fit = fit_combination(
        spectrum=spectrum, energy=energy, references=library[1], reference_energy=library[0], names=NAMES, options=FREE
    )
    inside = energy >= library[0][0]
    assert fit.point_count == inside.sum() == 70
    weight = components[:, 20] / np.array([np.interp(energy[20], library[0], one) for one in library[1]])
    assert np.abs((fit.weight - weight) / fit.weight_std).max() < 0.1
    # the same points, the same number of parameters: no fit is better than the smallest sum of squares by much
    of_published = np.sum((spectrum - published)[inside] ** 2) / np.sum(spectrum[inside] ** 2)
    assert fit.r_factor == pytest.approx(of_published, rel=2e-3)
    assert fit.remarks == ()
