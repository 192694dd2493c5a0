"""Peaks at a constant wavelength: axial divergence, area, derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.powder.profile_cw import cw_profile
from cathoscope.powder.profile_cw_kernels import fill_cw, reach_cw
from tests.powder.shapes import differences, folded_with_axial, mixed, pseudo_voigt, stretched

NAMES = ("position", "sigma2", "gamma", "axial")
SHAPES = {
    "synchrotron": (5.0, 2e-6, 0.002, 0.0022),
    "synchrotron, lowest angle": (1.5, 2e-6, 0.002, 0.0022),
    "laboratory": (15.0, 6e-4, 0.05, 0.06),
    "sharp, low angle": (8.0, 4e-4, 0.03, 0.06),
    "very sharp, low angle": (5.0, 1e-5, 0.002, 0.04),
    "Gaussian": (20.0, 2e-3, 0.0, 0.04),
    "high angle": (60.0, 1e-3, 0.05, 0.03),
    "backwards": (150.0, 1e-3, 0.05, 0.06),
}


def shape_of(name: str) -> dict[str, float]:
    return dict(zip(NAMES, SHAPES[name], strict=True))


def around(shape: dict[str, float], points: int = 81) -> np.ndarray:
    """Angles from below the asymmetric wing to above the peak."""
    left, right, _, _ = reach_cw(shape["position"], (shape["sigma2"], shape["gamma"], shape["axial"]))
    return shape["position"] + np.linspace(-left, right, points)


@pytest.mark.parametrize("name", SHAPES)
def test_axial_divergence_is_the_convolution(name: str) -> None:
    shape = shape_of(name)
    x = around(shape)
    expected = folded_with_axial(x, **shape)
    np.testing.assert_allclose(cw_profile(two_theta=x, **shape)[0], expected, rtol=0, atol=1e-6 * expected.max())


def test_without_divergence_the_peak_is_a_pseudo_voigt() -> None:
    x = np.linspace(29, 31, 41)
    for axial in (0.0, 1e-9):
        rows = cw_profile(two_theta=x, position=30.0, sigma2=1e-3, gamma=0.04, axial=axial)
        np.testing.assert_allclose(rows[0], pseudo_voigt(x - 30, 1e-3, 0.04), rtol=1e-9)
        np.testing.assert_allclose(rows[4], 0, atol=1e-3)


def test_wings_point_away_from_ninety_degrees() -> None:
    for position, side in ((20.0, -1), (90.0, 0), (160.0, 1)):
        x, weight = stretched(position, 0.05)
        near = np.abs(x - position) < 20  # the mean of a Lorentzian does not exist
        rows = cw_profile(two_theta=x[near], position=position, sigma2=1e-3, gamma=0.0, axial=0.06)
        mean = rows[0] @ (weight * (x - position))[near]
        assert np.sign(np.round(mean, 6)) == side


@given(
    position=st.floats(10, 170), sigma=st.floats(0.01, 0.2), gamma=st.floats(0, 0.2), axial=st.floats(0, 0.04)
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_area_is_one_and_no_parameter_changes_it(position: float, sigma: float, gamma: float, axial: float) -> None:
    left, right, _, _ = reach_cw(position, (sigma**2, gamma, axial))
    x, weight = stretched(position, (left + right) / 40, ends=16)
    area = cw_profile(two_theta=x, position=position, sigma2=sigma**2, gamma=gamma, axial=axial) @ weight
    assert area[0] == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_less(np.abs(area[1:]), 1e-5 / np.array([sigma, sigma**2, sigma, 1e-2]))


@pytest.mark.parametrize("name", SHAPES)
def test_derivatives(name: str) -> None:
    shape = shape_of(name)
    x = around(shape)
    rows = cw_profile(two_theta=x, **shape)

    def value(**at: float) -> np.ndarray:
        return cw_profile(two_theta=x, **at)[0]

    width, (_, _, left, right) = mixed(*SHAPES[name][1:3])[0], reach_cw(shape["position"], SHAPES[name][1:])
    steps = {"position": 1e-3 * width, "axial": 1e-3 * shape["axial"] * min(1, width / (left + right))}
    for k, one in enumerate(NAMES, start=1):
        step = steps.get(one, 1e-3 * shape[one])
        if step == 0:
            continue
        expected = differences(value, shape, one, step)
        # The number of points of the integral may change within a step, by 3e-7 of the peak.
        noise = 3e-10 * rows[0].max() / step
        np.testing.assert_allclose(rows[k], expected, rtol=0, atol=1e-6 * np.abs(expected).max() + noise, err_msg=one)


def test_very_low_angles_are_defined() -> None:
    """Where the cone lies inside of the detector the peak stays finite and keeps its area."""
    x, weight = stretched(1.0, 0.2, 20001, ends=16)
    area = cw_profile(two_theta=x, position=1.0, sigma2=1e-5, gamma=0.003, axial=0.06) @ weight
    assert area[0] == pytest.approx(1, abs=1e-6)
    assert np.all(np.isfinite(area))


def largest_shift(position: float, axial: float) -> float:
    """To the ray that leaves the plane of scattering farthest, deg."""
    return position - np.degrees(np.arccos(np.cos(np.radians(position)) * np.sqrt(1 + axial**2)))


@pytest.mark.parametrize("name", ["synchrotron", "high angle"])
def test_where_the_shift_is_small_gsas2_has_one_symmetric_peak(name: str) -> None:
    position, sigma2, gamma, axial = SHAPES[name]
    away = (1 - 1 / np.sqrt(3)) * largest_shift(position, axial)
    x = position + np.linspace(-0.1, 0.1, 41)
    found = cw_profile(two_theta=x, **shape_of(name), law="gsas2")[0]
    np.testing.assert_allclose(found, pseudo_voigt(x - position + away, sigma2, gamma), rtol=1e-9)


def test_where_the_shift_is_large_gsas2_has_the_integral() -> None:
    """Within 1.5 % of its height: the sum has 200 points at most, and the integral ends with a root."""
    shape = {"position": 5.0, "sigma2": 1e-4, "gamma": 2e-3, "axial": 0.06}
    assert largest_shift(5.0, 0.06) / shape["gamma"] > 400
    x = 5.0 + np.linspace(-1.0, 0.1, 201)
    exact, found = (cw_profile(two_theta=x, **shape, law=law)[0] for law in ("exact", "gsas2"))
    np.testing.assert_allclose(found, exact, rtol=0, atol=0.015 * exact.max())


@pytest.mark.parametrize("gamma", [0.0, 0.002, 0.02, 0.3])
def test_derivatives_of_gsas2(gamma: float) -> None:
    shape = {"position": 17.0, "sigma2": 4e-4, "gamma": gamma, "axial": 0.06}
    x = 17.0 + np.linspace(-0.4, 0.2, 41)
    rows = cw_profile(two_theta=x, **shape, law="gsas2")

    def value(**at: float) -> np.ndarray:
        return cw_profile(two_theta=x, **at, law="gsas2")[0]

    for k, (one, step) in enumerate({"position": 1e-5, "sigma2": 1e-8, "gamma": 1e-8, "axial": 1e-7}.items(), start=1):
        if shape[one] > 0:
            expected = differences(value, shape, one, step)
            np.testing.assert_allclose(rows[k], expected, rtol=0, atol=2e-5 * np.abs(expected).max(), err_msg=one)


def test_kernel_as_python() -> None:
    t, shape = np.array([-0.4, 0.0, 0.03, 9.0]), (1e-3, 0.05, 0.03)
    compiled, plain = np.full((2, 2, 6, 4), np.nan)
    for law, gsas2 in enumerate((False, True)):
        fill_cw(t, 3, 25.0, shape, gsas2, compiled[law])
        fill_cw.py_func(t, 3, 25.0, shape, gsas2, plain[law])
    assert np.all(np.isfinite(compiled))
    np.testing.assert_allclose(plain, compiled, rtol=1e-12)
    assert np.all(compiled[0, :5] != compiled[1, :5])
    assert reach_cw.py_func(25.0, shape) == pytest.approx(reach_cw(25.0, shape))
