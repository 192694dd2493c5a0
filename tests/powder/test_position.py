"""Places of reflections: forth and back, displaced samples, derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import seeded
from cathoscope.powder.position import (
    Displacement,
    spacing_from_tof,
    spacing_from_two_theta,
    tof_from_spacing,
    two_theta_from_displacement,
    two_theta_from_spacing,
)

NAMES = ("difC", "difA", "difB", "zero")
banks = st.fixed_dictionaries(
    {
        "difC": st.floats(500, 30_000),
        "difA": st.floats(-5, 5),
        "difB": st.floats(-2, 50),
        "zero": st.floats(-50, 50),
    }
)
displacements = st.builds(
    Displacement,
    radius=st.floats(100, 1000),
    across=st.floats(-500, 500),
    along=st.floats(-500, 500),
    height=st.floats(-200, 200),
    depth=st.floats(0, 300),
)


@given(values=banks, d=st.floats(0.25, 20))
def test_time_of_flight_back_to_spacing(values: dict[str, float], d: float) -> None:
    if values["difB"] > 0 and d < 2 * np.sqrt(values["difB"] / values["difC"]):  # time no longer grows with d
        return
    tof = tof_from_spacing(d=d, values=values)
    assert tof == pytest.approx(values["difC"] * d + values["difA"] * d**2 + values["difB"] / d + values["zero"])
    assert spacing_from_tof(tof=tof, values=values) == pytest.approx(d, rel=1e-14)


@given(d=st.floats(0.3, 30), wavelength=st.floats(0.1, 2.5), zero=st.floats(-0.2, 0.2), displacement=displacements)
def test_two_theta_back_to_spacing(d: float, wavelength: float, zero: float, displacement: Displacement) -> None:
    if wavelength > 1.9 * d:  # nearer to 180 deg the displaced angle turns back
        return
    options = {"wavelength": wavelength, "zero": zero, "displacement": displacement}
    angle = two_theta_from_spacing(d=d, **options)
    if not 0 < angle - zero <= 180:
        return
    assert spacing_from_two_theta(two_theta=angle, **options) == pytest.approx(d, rel=1e-12)


def test_bragg() -> None:
    assert two_theta_from_spacing(d=1.0, wavelength=1.0) == pytest.approx(60)
    assert two_theta_from_spacing(d=1.0, wavelength=np.sqrt(2), zero=0.5) == pytest.approx(90.5)
    np.testing.assert_allclose(spacing_from_two_theta(two_theta=[60.0, 180.0], wavelength=1.0), [1.0, 0.5])


def test_a_displaced_sample_by_geometry() -> None:
    """Angles on a circle of the radius R seen from the axis, of rays from a sample that is elsewhere."""
    radius, across, along = 300.0, 40.0, 25.0  # mm, um, um
    for two_theta in (10.0, 60.0, 120.0):
        # The ray leaves the sample at the angle 2 theta and meets the circle; small displacements.
        sample = np.array([along, -across]) / 1000  # along the beam, and across it away from the detector
        direction = np.array([np.cos(np.radians(two_theta)), np.sin(np.radians(two_theta))])
        b = sample @ direction
        hit = sample + direction * (-b + np.sqrt(b * b - sample @ sample + radius**2))
        seen = np.degrees(np.arctan2(hit[1], hit[0]))
        shift = two_theta_from_displacement(
            two_theta=two_theta, displacement=Displacement(radius=radius, across=across, along=along)
        )
        assert shift == pytest.approx(seen - two_theta, rel=1e-3)


def test_a_low_and_transparent_flat_sample() -> None:
    low = two_theta_from_displacement(two_theta=30.0, displacement=Displacement(radius=200.0, height=100.0))
    assert low == pytest.approx(np.degrees(-2 * 0.1 * np.cos(np.radians(15)) / 200))
    deep = two_theta_from_displacement(two_theta=30.0, displacement=Displacement(radius=200.0, depth=100.0))
    assert deep == pytest.approx(np.degrees(-0.1 * np.sin(np.radians(30)) / (2 * 200)))


def test_units_are_those_of_gsas2() -> None:
    """k = 0.09 / (pi R) deg per um: the formulas of GSAS-II 2.0.0 in its own units (R mm, displacement um)."""
    k = 0.09 / (np.pi * 250.0)
    angle = np.radians(50.0)
    moved = Displacement(radius=250.0, across=30.0, along=-20.0)
    got = two_theta_from_displacement(two_theta=50.0, displacement=moved)
    assert got == pytest.approx(-2 * k * (30 * np.cos(angle) - 20 * np.sin(angle)), rel=1e-12)
    low = Displacement(radius=250.0, height=30.0, depth=100 * 0.7)
    got = two_theta_from_displacement(two_theta=50.0, displacement=low)
    assert got == pytest.approx(-k * (4 * 30 * np.cos(angle / 2) + 100 * 0.7 * np.sin(angle)), rel=1e-12)


def test_derivatives() -> None:
    """Inverse laws by the rule of implicit functions against central differences."""
    start = np.array([22600.0, -0.9, 2.6, -8.5, 1.5])

    def forth_and_back(p: object) -> object:
        values = dict(zip(NAMES, (p[k] for k in range(4)), strict=True))
        tof = tof_from_spacing(d=p[4] * np.array([0.7, 1.9]), values=values | {"difA": 0.3, "zero": 0.0})
        return spacing_from_tof(tof=tof, values=values)

    def angles(p: object) -> object:
        moved = Displacement(radius=p[4] * 100, across=p[1], along=p[2] * 10, height=p[3], depth=p[2])
        angle = two_theta_from_spacing(d=p[4] * np.array([0.7, 1.9]), wavelength=p[0] / 20000, zero=0.1)
        return spacing_from_two_theta(two_theta=angle, wavelength=1.0, zero=p[2] / 100, displacement=moved)

    for function in (forth_and_back, angles):
        got = function(seeded(start))
        np.testing.assert_allclose(got.value, function(start), rtol=1e-14)
        for k, step in enumerate(1e-4 * np.abs(start)):
            h = step * np.eye(start.size)[k]
            near, far = (function(start + j * h) - function(start - j * h) for j in (1, 2))
            np.testing.assert_allclose(got.slope[:, k], (8 * near - far) / (12 * step), rtol=1e-7, atol=1e-10)


def test_what_cannot_be_is_named() -> None:
    values = {"difC": 20_000.0, "difA": 0.0, "difB": 0.0, "zero": 10.0}
    with pytest.raises(MeasurementError, match="time of flight belongs to no reflection"):
        spacing_from_tof(tof=[5000.0, 5.0], values=values)
    with pytest.raises(MeasurementError, match="lattice spacing belongs to no reflection"):
        two_theta_from_spacing(d=[2.0, 0.6], wavelength=1.54)
    with pytest.raises(MeasurementError, match="angle belongs to no reflection"):
        spacing_from_two_theta(two_theta=[20.0, -1.0], wavelength=1.54)
