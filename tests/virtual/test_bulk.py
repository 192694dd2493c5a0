"""Virtual bulk spectra: closed form, photon statistics, disturbances, and truth against independent evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.bulk import (
    BulkSpectrum,
    Disturbance,
    FineStructure,
    bulk_energies,
    bulk_truth,
    foil_spectrum,
    oxide_spectrum,
    record,
)
from cathoscope.virtual.spectra import Line

ENERGY = bulk_energies(edge_energy=8344.0)
SILENT = FineStructure(amplitude=0.0)


def test_slope_is_the_derivative() -> None:
    for spectrum in (oxide_spectrum(), foil_spectrum()):
        at = ENERGY[np.abs(ENERGY - spectrum.edge_energy) > 0.1]
        numerical = (spectrum.absorption(at + 1e-4) - spectrum.absorption(at - 1e-4)) / 2e-4
        np.testing.assert_allclose(spectrum.slope(at), numerical, atol=1e-8)


@pytest.mark.parametrize("error_function", [False, True])
def test_the_edge_is_half_way_at_its_energy(error_function: bool) -> None:
    spectrum = BulkSpectrum(1.3, 0.4, 8340.0, 2.0, (), SILENT, error_function)
    assert spectrum.absorption(8340.0) == pytest.approx(0.4 + 0.65)


def test_the_power_law_holds_far_below_the_edge() -> None:
    spectrum = BulkSpectrum(1.0, 0.5, 8340.0, 1.0, (), SILENT, error_function=True)
    ratio = spectrum.absorption(8200.0) / spectrum.absorption(8100.0)
    assert ratio == pytest.approx((8200.0 / 8100.0) ** -2.8)


def test_energies_ascend_in_the_stated_steps() -> None:
    steps = np.diff(ENERGY)
    assert (steps > 0).all()
    near = np.abs(ENERGY[:-1] - 8344.0) < 20
    np.testing.assert_allclose(steps[near], 0.4)


def test_recorded_noise_is_that_of_photons() -> None:
    spectrum = oxide_spectrum()
    scans = [record(spectrum=spectrum, energy=ENERGY, incident=1e5, rng=np.random.default_rng(k)) for k in range(300)]
    recorded = np.stack([scan.absorption for scan in scans])
    spread = recorded.std(axis=0) / scans[0].absorption_std
    assert spread.mean() == pytest.approx(1.0, abs=0.01)
    bias = (recorded.mean(axis=0) - spectrum.absorption(ENERGY)) / scans[0].absorption_std
    assert abs(bias.mean()) < 4 / np.sqrt(300 * ENERGY.size)


def test_disturbances_are_those_stated() -> None:
    spectrum = oxide_spectrum()
    disturbance = Disturbance(energy_shift=1.5, glitch=0.3, glitch_energy=8330.1, drift=0.2)
    plain, disturbed = (
        record(spectrum=spectrum, energy=ENERGY, incident=1e6, rng=np.random.default_rng(1), disturbance=one)
        for one in (None, disturbance)
    )
    np.testing.assert_allclose(disturbed.energy - plain.energy, 1.5)
    expected = np.linspace(0.0, 0.2, ENERGY.size)
    expected[np.argmin(np.abs(ENERGY - 8330.1))] += 0.3
    np.testing.assert_allclose(disturbed.absorption - plain.absorption, expected, atol=1e-12)


def test_the_foil_behind_the_sample_has_its_own_absorption() -> None:
    foil = foil_spectrum()
    scan = record(spectrum=oxide_spectrum(), energy=ENERGY, incident=1e9, rng=np.random.default_rng(2), foil=foil)
    assert scan.reference_absorption is not None
    np.testing.assert_allclose(scan.reference_absorption, foil.absorption(ENERGY), atol=2e-3)


def test_truth_of_a_symmetric_edge_is_known() -> None:
    """Without line, background and decay: half height and steepest rise in the middle, the step as stated."""
    spectrum = BulkSpectrum(0.9, 0.0, 8340.0, 2.0, (Line(1.5, 8348.0, 2.0),), SILENT, True, decay=0.0)
    plain = BulkSpectrum(0.9, 0.0, 8340.0, 2.0, (Line(0.4, 8360.0, 2.0),), SILENT, True, decay=0.0)
    found = bulk_truth(spectrum=plain, lowest=8190.0, highest=8640.0)
    assert found.edge_step == pytest.approx(0.9, abs=1e-6)
    assert found.half_height_edge == pytest.approx(8340.0, abs=2e-3)
    assert found.derivative_edge == pytest.approx(8340.0, abs=2e-3)
    # where the slope of a Gaussian line on a flat top vanishes
    top = bulk_truth(spectrum=spectrum, lowest=8190.0, highest=8640.0).white_line
    assert spectrum.slope(top) == pytest.approx(0.0, abs=1e-8)
    assert spectrum.absorption(top) == pytest.approx(spectrum.absorption(np.arange(8330, 8370, 0.01)).max())


def test_truth_moves_with_the_spectrum() -> None:
    one, other = (
        bulk_truth(spectrum=oxide_spectrum(edge_shift=shift), lowest=8194.0 + shift, highest=8644.0 + shift)
        for shift in (0.0, 1.0)
    )
    for name in ("half_height_edge", "derivative_edge", "integral_edge", "white_line"):
        assert getattr(other, name) - getattr(one, name) == pytest.approx(1.0, abs=1e-3)


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(CathoscopeError, match="positive step"):
        BulkSpectrum(0.0, 0.1, 8340.0, 2.0)
    with pytest.raises(CathoscopeError, match="no photons"):
        record(spectrum=oxide_spectrum(step=9.0), energy=ENERGY, incident=10.0, rng=np.random.default_rng(0))
    flat = BulkSpectrum(1.0, 0.1, 8340.0, 2.0, (), SILENT, error_function=True, decay=0.0)
    with pytest.raises(CathoscopeError, match=r"upper level|white line"):
        bulk_truth(spectrum=flat, lowest=8190.0, highest=8640.0)
