from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from cathoscope.core import schema
from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.specimen import Grid, Sphere, SpheresSpecimen
from cathoscope.virtual.spectra import nickel_spectrum
from cathoscope.virtual.truth import Windows, instrument_truth, volume_truth
from cathoscope.virtual.txm import TxmOptions, draw_detector, draw_scan

GRID = Grid(columns=40, rows=24, pixel_size=0.4)
ENERGIES = np.array([8310.0, 8325.0, 8345.0, 8350.0, 8380.0, 8400.0])
WINDOWS = Windows(below=(8300.0, 8325.0), above=(8380.0, 8400.0))
COLD = nickel_spectrum(jump=0.065, background=0.026, line_energy=8350.0)
OTHER = nickel_spectrum(jump=0.041, background=0.044, line_energy=8351.0)
SPECIMEN = SpheresSpecimen(
    (
        Sphere("first", (-3.0, 1.0, 0.3), 2.5, (COLD, COLD.moved(-1.9))),
        Sphere("second", (3.0, -1.5, -0.4), 2.7, (OTHER, OTHER.moved(-0.9)), 1.2),
    ),
    (25.0, 150.0),
)


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    arrays = volume_truth(SPECIMEN, GRID, energies=ENERGIES, windows=WINDOWS, with_attenuation=True)
    return schema.dataset(arrays)


def test_truth_has_the_names_dims_and_units_of_results(truth: xr.Dataset) -> None:
    schema.require(truth, "attenuation", "edge_jump", "particle_mask", "white_line_energy")
    schema.require(truth, "white_line_mean", "white_line_width")
    np.testing.assert_allclose(truth.x, (np.arange(40) - 19.5) * 0.4)
    np.testing.assert_allclose(truth.z, (np.arange(24) - 11.5) * 0.4)


def test_attenuation_adds_up_to_the_closed_form(truth: xr.Dataset) -> None:
    total = truth.attenuation.astype(float).sum(("z", "y", "x")) * GRID.pixel_size**3
    volumes = np.array([sphere.volume for sphere in SPECIMEN.spheres])
    expected = [volumes @ SPECIMEN.attenuation(condition, ENERGIES) for condition in range(2)]
    np.testing.assert_allclose(total, expected, rtol=1e-3)


def test_voxels_inside_have_the_attenuation_of_their_sphere(truth: xr.Dataset) -> None:
    for condition in range(2):
        inside = truth.attenuation[condition].sel(x=-3.0, y=1.0, z=0.2, method="nearest")
        np.testing.assert_allclose(inside, SPECIMEN.spheres[0].spectra[condition].attenuation(ENERGIES), rtol=1e-6)
    assert truth.attenuation.sel(x=3.0, y=-1.5, z=-0.4, method="nearest").max() == 0  # the hollow
    assert truth.attenuation.min() == 0


def test_edge_jump_is_the_difference_of_window_means(truth: xr.Dataset) -> None:
    above = truth.attenuation.sel(energy=[8380.0, 8400.0]).mean("energy")
    below = truth.attenuation.sel(energy=[8310.0, 8325.0]).mean("energy")
    np.testing.assert_allclose(truth.edge_jump, above - below, atol=1e-7)


def test_mask_holds_the_volume_and_the_white_line_is_known_inside(truth: xr.Dataset) -> None:
    volume = truth.particle_mask.sum(("z", "y", "x")) * GRID.pixel_size**3
    np.testing.assert_allclose(volume, sum(sphere.volume for sphere in SPECIMEN.spheres), rtol=0.03)
    np.testing.assert_array_equal(np.isfinite(truth.white_line_energy), truth.particle_mask)
    for condition in range(2):
        found = np.unique(truth.white_line_energy[condition].values[truth.particle_mask[condition].values])
        expected = sorted(sphere.spectra[condition].white_line_energy() for sphere in SPECIMEN.spheres)
        np.testing.assert_allclose(found, expected, atol=1e-3)  # stored in single precision


def test_statistics_weigh_spheres_by_their_voxels(truth: xr.Dataset) -> None:
    left = truth.particle_mask.sel(x=slice(None, 0)).sum(("z", "y", "x")).values
    right = truth.particle_mask.sel(x=slice(0, None)).sum(("z", "y", "x")).values
    part = left / (left + right)
    lines = np.array([[s.spectra[condition].white_line_energy() for s in SPECIMEN.spheres] for condition in range(2)])
    mean = part * lines[:, 0] + (1 - part) * lines[:, 1]
    np.testing.assert_allclose(truth.white_line_mean, mean, atol=1e-3)
    width = np.sqrt(part * (1 - part)) * np.abs(lines[:, 1] - lines[:, 0])
    np.testing.assert_allclose(truth.white_line_width, width, atol=1e-3)


def test_large_volumes_may_leave_out_the_attenuation(truth: xr.Dataset) -> None:
    arrays = volume_truth(SPECIMEN, GRID, energies=ENERGIES, windows=WINDOWS, with_attenuation=False)
    without = schema.dataset(arrays)
    assert "attenuation" not in without
    xr.testing.assert_identical(without, truth[list(without)])


def test_a_window_without_energies_is_refused() -> None:
    with pytest.raises(CathoscopeError, match="no energy"):
        Windows(below=(8000.0, 8100.0), above=(8380.0, 8400.0)).weights(ENERGIES)


def test_the_instrument_is_recorded_as_it_was() -> None:
    options = TxmOptions()
    rng = np.random.default_rng(2)
    detector = draw_detector(GRID, options, rng)
    scans = [[draw_scan(GRID, 9, options, rng) for _ in ENERGIES] for _ in range(2)]
    truth = schema.dataset(instrument_truth(scans, detector, temperatures=(25.0, 150.0), energies=ENERGIES))
    schema.require(truth, "rotation_axis", "projection_shift", "beam_intensity", "bad_pixel_mask", "angle")
    one = truth.sel(temperature=150.0, energy=8350.0)
    assert one.rotation_axis == scans[1][3].rotation_axis
    np.testing.assert_array_equal(one.projection_shift, scans[1][3].projection_shift)
    np.testing.assert_array_equal(one.beam_intensity, scans[1][3].beam)
    np.testing.assert_array_equal(one.angle, scans[1][3].angles)
    np.testing.assert_array_equal(one.bad_pixel_mask, detector.dead | detector.hot)
