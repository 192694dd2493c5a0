from __future__ import annotations

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.tomography.phase import (
    Propagation,
    blur_length_from_propagation,
    optical_depth_from_transmission,
)

# z delta / mu = 0.02 mm * 400 * 0.1239841984 nm / 4 pi: 0.0789 um2, a length of 0.281 um
NEAR = Propagation(delta_over_beta=400.0, distance_mm=0.02, pixel_size=0.25, energy=10000.0)


def gaussian_behind_the_sample(shape, width, depth, length_squared):
    """Transmission exp(-mu T) = 1 - depth exp(-r2 / 2 w2), and (1 - length2 Laplacian) of it in closed form."""
    y, x = (np.arange(n) - 0.5 * (n - 1) for n in shape)
    r2 = y[:, None] ** 2 + x**2
    bump = depth * np.exp(-r2 / (2 * width**2))
    return 1.0 - bump, 1.0 - bump + length_squared * bump * (r2 / width**4 - 2 / width**2)


def test_length_in_physical_units():
    # delta / beta z lambda / 4 pi = 400 x 20 um x 1.239842e-4 um / 4 pi, um^2
    assert blur_length_from_propagation(propagation=NEAR) ** 2 == pytest.approx(0.0789308, rel=1e-5)


def test_inverts_the_transport_of_intensity():
    length2 = (blur_length_from_propagation(propagation=NEAR) / NEAR.pixel_size) ** 2
    contact, measured = gaussian_behind_the_sample((60, 71), 4.0, 0.6, length2)
    found = optical_depth_from_transmission(transmission=np.stack([measured, contact * 0 + 0.5]), propagation=NEAR)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], -np.log(contact), atol=2e-5)
    np.testing.assert_allclose(found[1], np.log(2.0), atol=1e-6)


def test_inverts_fresnel_propagation_close_to_the_sample():
    """Wave optics shares no formula with the filter; at a Fresnel number far above 1 both agree."""
    wavelength, beta, pixel, n = 1.239841984 / 10000.0, 1e-8, 0.5, 128
    material = Propagation(delta_over_beta=200.0, distance_mm=1.0, pixel_size=pixel, energy=10000.0)
    x = (np.arange(n) - 0.5 * (n - 1)) * pixel
    thickness = 150.0 * np.exp(-(x[:, None] ** 2 + x**2) / (2 * 5.0**2))
    wave = np.exp(-2 * np.pi / wavelength * (beta + 1j * 200.0 * beta) * thickness)
    f2 = np.fft.fftfreq(n, pixel)[:, None] ** 2 + np.fft.fftfreq(n, pixel) ** 2
    wave = np.fft.ifft2(np.fft.fft2(wave) * np.exp(-1j * np.pi * wavelength * 1000.0 * f2))
    measured = (np.abs(wave) ** 2)[None]
    truth = 4 * np.pi * beta / wavelength * thickness
    found = optical_depth_from_transmission(transmission=measured, propagation=material)[0]
    contrast = np.abs(-np.log(measured[0]) - truth).max()
    assert contrast > 0.1 * truth.max()
    assert np.abs(found - truth).max() < 0.02 * contrast


def test_discrete_laplacian_inverts_the_difference_of_the_pixels():
    rng = np.random.default_rng(1)
    contact = 0.5 + 0.3 * rng.uniform(size=(1, 24, 31))
    length2 = (blur_length_from_propagation(propagation=NEAR) / NEAR.pixel_size) ** 2
    mirrored = np.pad(contact[0], 1, mode="symmetric")
    around = mirrored[:-2, 1:-1] + mirrored[2:, 1:-1] + mirrored[1:-1, :-2] + mirrored[1:-1, 2:]
    measured = contact[0] - length2 * (around - 4 * contact[0])
    discrete = Propagation(400.0, 0.02, 0.25, 10000.0, discrete=True)
    found = optical_depth_from_transmission(transmission=measured[None], propagation=discrete)
    np.testing.assert_allclose(found, -np.log(contact), atol=1e-6)


@pytest.mark.parametrize(("ratio", "distance"), [(0.0, 20.0), (400.0, 0.0)])
def test_nothing_to_retrieve_is_the_logarithm(ratio, distance):
    transmission = np.random.default_rng(2).uniform(0.2, 1.1, (3, 8, 9))
    found = optical_depth_from_transmission(
        transmission=transmission, propagation=Propagation(ratio, distance, 0.25, 8350.0)
    )
    np.testing.assert_allclose(found, -np.log(transmission), atol=1e-6)


@pytest.mark.parametrize("distance", [0.02, 2.0])
def test_mean_transmission_is_kept_and_opposite_rims_stay_apart(distance):
    step = np.full((1, 16, 64), 1.0)
    step[..., 32:] = 0.5
    far = Propagation(400.0, distance, 0.25, 10000.0, discrete=True)
    smooth = np.exp(-optical_depth_from_transmission(transmission=step, propagation=far))
    assert smooth.mean() == pytest.approx(0.75, rel=1e-5)
    # a transform that wraps around would join the bright and the dark rim at their mean
    assert (np.diff(smooth, axis=2) < 1e-6).all()
    assert smooth[..., 0].min() > 0.76


def test_what_cannot_be_retrieved_is_refused():
    good = np.ones((1, 8, 8))
    for bad in (np.ones((8, 8)), np.where(np.arange(8) == 3, np.nan, good), -good):
        with pytest.raises(MeasurementError):
            optical_depth_from_transmission(transmission=bad, propagation=NEAR)
    for values in ((-1.0, 1.0, 1.0, 1.0), (1.0, np.nan, 1.0, 1.0), (1.0, 1.0, 0.0, 1.0)):
        with pytest.raises(MeasurementError):
            Propagation(*values)
