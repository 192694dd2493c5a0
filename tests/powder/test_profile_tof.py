"""Peaks of time of flight: convolution, area, derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.powder.profile_tof import tof_profile
from cathoscope.powder.profile_tof_kernels import fill_tof, reach_tof
from tests.powder.shapes import differences, folded_with_pulse, mixed, stretched

NAMES = ("alpha", "beta", "sigma2", "gamma")
SHAPES = {
    "sharp": (0.25, 0.15, 29.0, 34.0),
    "wide": (0.055, 0.11, 8776.0, 250.0),
    "Gaussian": (0.13, 0.11, 56.0, 0.0),
    "slow decay": (0.5, 0.02, 400.0, 1.0),
    "Lorentzian": (0.13, 0.11, 1.0, 80.0),
    "narrow pulse": (2.0, 1.5, 3000.0, 20.0),
}


def shape_of(name: str) -> dict[str, float]:
    return dict(zip(NAMES, SHAPES[name], strict=True))


@pytest.mark.parametrize("name", SHAPES)
def test_exact_peak_is_the_convolution(name: str) -> None:
    shape = shape_of(name)
    t = np.linspace(-300, 700, 61)
    expected = folded_with_pulse(t, **shape)
    np.testing.assert_allclose(tof_profile(t=t, **shape)[0], expected, rtol=0, atol=1e-10 * expected.max())


def test_gsas2_peak_has_the_other_sign() -> None:
    """The Lorentz parts of both are mirror images of their first terms; the Gaussian parts are the same."""
    shape = shape_of("sharp") | {"beta": 1e6}  # no decay: what is left is the rise
    t = np.linspace(-200, 200, 41)
    exact, other = tof_profile(t=t, **shape)[0], tof_profile(t=-t, **shape, lorentz="gsas2")[0]
    width, share = mixed(shape["sigma2"], shape["gamma"])
    pure = {"sigma2": (width**2) / (8 * np.log(2)), "gamma": 0.0}
    gauss, mirrored = tof_profile(t=t, **shape | pure)[0], tof_profile(t=-t, **shape | pure)[0]
    np.testing.assert_allclose(exact - (1 - share) * gauss, other - (1 - share) * mirrored, atol=1e-9)
    far = tof_profile(t=t, **shape_of("sharp"))[0] - tof_profile(t=t, **shape_of("sharp"), lorentz="gsas2")[0]
    assert np.abs(far).max() > 0.04 * exact.max()


@given(
    alpha=st.floats(0.02, 2), beta=st.floats(0.02, 2), sigma2=st.floats(1, 1e4), gamma=st.floats(0, 300),
    lorentz=st.sampled_from(["exact", "gsas2"]),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_area_is_one_and_no_parameter_changes_it(
    alpha: float, beta: float, sigma2: float, gamma: float, lorentz: str
) -> None:
    t, weight = stretched(0.0, mixed(sigma2, gamma)[0] + 1 / alpha + 1 / beta)
    rows = tof_profile(t=t, alpha=alpha, beta=beta, sigma2=sigma2, gamma=gamma, lorentz=lorentz)
    area = rows @ weight
    assert area[0] == pytest.approx(1, abs=1e-6)
    scale = np.array([1, 1 / mixed(sigma2, gamma)[0], 1 / alpha, 1 / beta, 1 / sigma2, 1 / np.sqrt(sigma2)])
    np.testing.assert_array_less(np.abs(area[1:]), 2e-6 * scale[1:])


@pytest.mark.parametrize("lorentz", ["exact", "gsas2"])
@pytest.mark.parametrize("name", SHAPES)
def test_derivatives(name: str, lorentz: str) -> None:
    t = np.linspace(-300, 700, 101)
    rows = tof_profile(t=t, **shape_of(name), lorentz=lorentz)

    def value(position: float = 0.0, **shape: float) -> np.ndarray:
        return tof_profile(t=t - position, **shape, lorentz=lorentz)[0]

    at = {"position": 0.0} | shape_of(name)
    for k, one in enumerate(("position", *NAMES), start=1):
        step = 1e-3 * (at[one] or mixed(at["sigma2"], at["gamma"])[0])
        if at[one] - 2 * step < 0 and one == "gamma":
            continue  # a width below zero has no meaning
        expected = differences(value, at, one, step)
        np.testing.assert_allclose(rows[k], expected, rtol=0, atol=1e-8 * np.abs(expected).max(), err_msg=one)


def test_derivative_to_a_lorentzian_width_of_nothing() -> None:
    t, shape = np.linspace(-50, 80, 51), shape_of("Gaussian")
    step = 1e-4
    one, two = (tof_profile(t=t, **shape | {"gamma": k * step})[0] for k in (1, 2))
    rows = tof_profile(t=t, **shape)
    forward = (4 * one - two - 3 * rows[0]) / (2 * step)
    np.testing.assert_allclose(rows[4 + 1], forward, atol=1e-6 * np.abs(forward).max())


def test_far_points_have_no_gaussian_part() -> None:
    """Beyond its reach a peak is its Lorentzian part to 1e-8 of the maximum: the kernel may leave the rest out."""
    for name in SHAPES:
        shape = (*SHAPES[name], 1.0)
        left, right = reach_tof(shape)
        t = np.array([-2 * left, -left, right, 2 * right])
        whole, cut = np.empty((2, 6, 4))
        fill_tof(t, 4, shape, whole)
        fill_tof(t, 0, shape, cut)
        peak = tof_profile(t=np.linspace(-left, right, 999), **shape_of(name))[0].max()
        np.testing.assert_allclose(cut[0], whole[0], rtol=0, atol=1e-8 * peak)


def test_kernel_as_python() -> None:
    t, shape = np.array([-40.0, 0.0, 7.0, 900.0]), (*SHAPES["sharp"], 1.0)
    compiled, plain = np.empty((2, 6, 4))
    fill_tof(t, 3, shape, compiled)
    fill_tof.py_func(t, 3, shape, plain)
    np.testing.assert_allclose(plain, compiled, rtol=1e-12)
    assert reach_tof.py_func(shape) == pytest.approx(reach_tof(shape))
