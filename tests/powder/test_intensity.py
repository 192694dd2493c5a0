"""Corrections of intensities against integrals and limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ive

from cathoscope.numerics.dual import Dual, seeded, value_of
from cathoscope.powder.intensity import (
    extinction_from_strength,
    extinction_strength,
    lorentz_from_angle,
    lorentz_from_spacing,
    mass_shares,
    polarisation_from_angle,
    transmission_of_cylinder,
)


def transmission_by_integration(absorption: float, theta: float) -> float:
    """Mean over the cross section of a cylinder of exp(-mu path), by quadrature in radius and angle."""
    node, weight = np.polynomial.legendre.leggauss(60)
    radius, angle = np.meshgrid((node + 1) / 2, 2 * np.pi * (np.arange(180) + 0.5) / 180, indexing="ij")
    x, y = radius * np.cos(angle), radius * np.sin(angle)

    def path(dx: float, dy: float) -> np.ndarray:
        along = x * dx + y * dy
        return np.sqrt(along**2 + 1 - radius**2) - along

    lengths = path(-1.0, 0.0) + path(np.cos(2 * theta), np.sin(2 * theta))
    return float(np.sum(np.exp(-absorption * lengths) * radius * weight[:, None] / 2) * 2 / 180)


@pytest.mark.parametrize("absorption", [0.05, 0.3, 1.0, 2.0, 2.9, 3.1, 5.0, 10.0])
def test_absorption_is_that_of_the_integral(absorption: float) -> None:
    theta = np.radians([1.0, 10.0, 25.0, 45.0, 65.0, 85.0])
    expected = [transmission_by_integration(absorption, one) for one in theta]

    assert np.allclose(transmission_of_cylinder(theta=theta, absorption=absorption), expected, rtol=0.012)


def test_thin_cylinders_lose_the_mean_path() -> None:
    small = 1e-6
    # Mean path in and out of a cylinder is 16 / (3 pi) radii.
    assert (1 - transmission_of_cylinder(theta=0.7, absorption=small)) / small == pytest.approx(
        16 / (3 * np.pi), rel=1e-4
    )
    assert transmission_of_cylinder(theta=0.7, absorption=0.0) == 1.0


def test_absorption_of_time_of_flight_has_one_branch_for_each_reflection() -> None:
    wavelength = np.array([1.0, 3.0, 5.0])
    together = transmission_of_cylinder(theta=np.pi / 4, absorption=0.9 * wavelength)
    alone = [transmission_of_cylinder(theta=np.pi / 4, absorption=0.9 * one) for one in wavelength]

    assert np.allclose(value_of(together), np.ravel(alone))
    assert np.all(np.diff(value_of(together)) < 0)


@given(st.floats(0.02, 9.0), st.floats(0.05, 1.5))
@settings(max_examples=30, deadline=None)
def test_absorption_has_exact_derivatives(absorption: float, theta: float) -> None:
    graded = transmission_of_cylinder(
        theta=seeded([theta, absorption])[0:1], absorption=seeded([theta, absorption])[1:2]
    )
    step = 1e-6
    if abs(absorption - 3) < 1e-4:
        return
    for number, change in enumerate(np.eye(2) * step):
        above, below = (
            transmission_of_cylinder(theta=theta + sign * change[0], absorption=absorption + sign * change[1])
            for sign in (1, -1)
        )
        assert graded.slope[0, number] == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-8)


def test_lorentz_factors() -> None:
    assert lorentz_from_spacing(d=2.0, two_theta=90.0) == pytest.approx(16 * np.sqrt(0.5))
    theta = np.radians([10.0, 45.0])
    # The same as 1 / (sin 2theta sin theta), the form of single crystals times that of rings.
    assert np.allclose(lorentz_from_angle(theta=theta), 1 / (np.sin(2 * theta) * np.sin(theta)))


def test_polarisation() -> None:
    two_theta = np.radians([0.0, 60.0, 90.0])

    assert np.allclose(polarisation_from_angle(two_theta=two_theta, polarisation=0.5), (1 + np.cos(two_theta) ** 2) / 2)
    assert np.allclose(polarisation_from_angle(two_theta=two_theta, polarisation=1.0), 1.0)
    across = polarisation_from_angle(two_theta=two_theta, polarisation=1.0, azimuth=90.0)
    assert np.allclose(across, np.cos(two_theta) ** 2)


@given(st.floats(0.0, 1.0), st.floats(0.0, 3.0))
@settings(max_examples=20, deadline=None)
def test_over_a_ring_the_beam_is_as_if_unpolarised(share: float, two_theta: float) -> None:
    ring = [
        polarisation_from_angle(two_theta=two_theta, polarisation=share, azimuth=azimuth)
        for azimuth in range(0, 360, 15)
    ]
    assert np.mean(ring) == pytest.approx((1 + np.cos(two_theta) ** 2) / 2)


def test_extinction_follows_sabines_series() -> None:
    theta = np.array([0.0])
    low, high = 0.1, 8.0
    # Sabine (1988), eqs 4 and 5.
    series = 1 - low / 2 + low**2 / 4 - 5 * low**3 / 48 + 7 * low**4 / 192
    asymptote = np.sqrt(2 / (np.pi * high)) * (1 - 1 / (8 * high) - 3 / (128 * high**2) - 15 / (1024 * high**3))

    assert extinction_from_strength(strength=np.array([low]), theta=theta) == pytest.approx(series, abs=2e-6)
    assert extinction_from_strength(strength=np.array([high]), theta=theta) == pytest.approx(asymptote, rel=1e-5)
    backwards = extinction_from_strength(strength=np.array([high]), theta=np.array([np.pi / 2]))
    assert backwards == pytest.approx(1 / 3.0)
    assert extinction_from_strength(strength=np.zeros(1), theta=np.array([0.4])) == pytest.approx(1.0)


@pytest.mark.parametrize("x", [0.0, 1e-12, 0.3, 2.0, 50.0])
def test_extinction_has_exact_derivatives(x: float) -> None:
    graded = extinction_from_strength(strength=seeded([x]), theta=np.array([0.5]))
    exact = -0.5 * np.sin(0.5) ** 2 * (1 + x) ** -1.5
    exact -= np.cos(0.5) ** 2 * (0.5 if x < 1e-9 else ive(1, x) / x)

    assert graded.slope[0, 0] == pytest.approx(exact, rel=1e-9)


def test_strength_of_extinction() -> None:
    # F = 1e-12 cm per A^3 and 1 A: (1e-4 / A)^2 x 1 um^2 = 1.
    assert extinction_strength(extinction=1.0, squared_factor=1.0, wavelength=1.0, volume=1.0) == pytest.approx(1.0)
    xray = extinction_strength(extinction=2.0, squared_factor=9.0, wavelength=1.5, volume=10.0, two_theta=np.pi / 2)
    assert xray == pytest.approx(2.0 * 9.0 * 0.15**2 * 0.0794 / 2)  # squared radius of the electron 0.0794 barn


def test_shares_of_the_mass_and_their_errors() -> None:
    scales = seeded([0.7, 0.02])
    masses = [281.4468, 1501.0496]
    shares = mass_shares(scales=[scales[0], scales[1]], masses=masses)
    expected = 0.7 * masses[0] / (0.7 * masses[0] + 0.02 * masses[1])

    assert isinstance(shares, Dual)
    assert shares.value == pytest.approx([expected, 1 - expected])
    assert np.allclose(shares.slope.sum(axis=0), 0.0, atol=1e-14)
    assert shares.slope[0, 0] == pytest.approx(expected * (1 - expected) / 0.7)
