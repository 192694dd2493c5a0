"""Peak profiles against brute-force convolutions, and what their sums conserve."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import quad

from cathoscope.virtual import diffraction_kernels as kernels
from cathoscope.virtual.diffraction_pattern import axial_divergence

Array = NDArray[np.float64]
ONE, NOWHERE = np.ones(1), np.zeros((1, 1))
UNIT = np.array([[1.0, 0.0]])
TOF = np.array([0.15, 0.12, 30.0, 25.0])  # 1/us, 1/us, us^2, us


def voigt(v: Array | float, width: float, share: float) -> Any:
    """The pseudo-Voigt, written down once more."""
    gauss = np.exp(-4 * np.log(2) * v * v / width**2) * 2 / width * np.sqrt(np.log(2) / np.pi)
    return (1 - share) * gauss + share * 2 / np.pi / width / (1 + 4 * v * v / width**2)


def density(x: Array, shape: Array = TOF, offsets: Array = NOWHERE, weights: Array = ONE) -> Array:
    out = np.zeros(x.size)
    kernels.add_tof(out, x, False, UNIT, shape[None], offsets, weights)
    return out


def shares(edges: Array, shape: Array = TOF, offsets: Array = NOWHERE, weights: Array = ONE) -> Array:
    out = np.zeros(edges.size - 1)
    kernels.add_tof(out, edges, True, UNIT, shape[None], offsets, weights)
    return out


def brute_force(t: float, shape: Array) -> float:
    """Both exponentials times the pseudo-Voigt, by adaptive quadrature in pieces about its maximum."""
    alpha, beta, sigma2, gamma = shape
    width, share = kernels.pseudo_voigt_of(sigma2, gamma)
    total = 0.0
    for sign, rate in ((1.0, alpha), (-1.0, beta)):
        stops = np.clip(-sign * t * rate + np.arange(-8, 9) * width * rate, 0.0, 45.0)
        for low, high in zip([0.0, *stops], [*stops, 45.0], strict=True):
            if high > low:
                total += quad(
                    lambda y, s=sign, r=rate: np.exp(-y) * voigt(t + s * y / r, width, share) / r,
                    low,
                    high,
                    epsabs=1e-14,
                    epsrel=1e-11,
                )[0]
    return total * alpha * beta / (alpha + beta)


@pytest.mark.parametrize(
    "shape",
    [TOF, np.array([0.5, 0.05, 4.0, 0.5]), np.array([0.05, 0.5, 100.0, 60.0]), np.array([2.0, 0.3, 9.0, 0.0])],
    ids=["POWGEN", "slow decay", "slow rise", "no Lorentzian"],
)
def test_time_of_flight_profile_is_the_convolution(shape: Array) -> None:
    width, _ = kernels.pseudo_voigt_of(shape[2], shape[3])
    t = np.concatenate(
        [width * np.array([-40.0, -6.0, -1.0, -0.3, 0.0, 0.4, 1.0, 2.0, 7.0]), 5 / shape[1] * np.ones(1)]
    )
    expected = np.array([brute_force(one, shape) for one in t])
    np.testing.assert_allclose(density(t, shape), expected, atol=1e-8 * expected.max())


def test_the_compiled_and_the_written_kernel_are_one() -> None:
    edges, shape = np.linspace(-60.0, 90.0, 12), np.array([0.3, 0.2, 40.0, 3.0])
    offsets, weights = np.array([[-4.0, 6.0]]), np.array([0.4, 0.6])
    written = np.zeros(edges.size - 1)
    kernels.add_tof.py_func(written, edges, True, UNIT, shape[None], offsets, weights)
    np.testing.assert_allclose(written, shares(edges, shape, offsets, weights), rtol=1e-12)
    made = kernels.tof_table.py_func(shape)
    for one, other in zip(made, kernels.tof_table(shape), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-15)
    table = kernels.cw_table.py_func(np.array([1e-4, 0.01]), np.array([-0.01, 0.0]), np.array([0.5, 0.5]))[2]
    compiled = kernels.cw_table(np.array([1e-4, 0.01]), np.array([-0.01, 0.0]), np.array([0.5, 0.5]))[2]
    np.testing.assert_allclose(table, compiled, rtol=1e-9, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    rates=st.tuples(st.floats(0.02, 1.0), st.floats(0.02, 1.0)),
    sigma=st.floats(1.0, 40.0),
    gamma=st.floats(0.0, 60.0),
    spread=st.floats(0.0, 30.0),
)
def test_all_of_a_peak_is_somewhere(rates: tuple[float, float], sigma: float, gamma: float, spread: float) -> None:
    """The integral over everything is the area, whatever the widths and however many classes."""
    shape = np.array([*rates, sigma**2, gamma])
    far = np.geomspace(2000.0, 1e9, 4000)
    edges = np.concatenate([-far[::-1], np.arange(-1999.0, 2000.0, 5.0), far])
    offsets, weights = spread * np.array([[-1.0, 0.3, 0.7]]), np.array([0.4, 0.35, 0.25])
    assert shares(edges, shape, offsets, weights).sum() == pytest.approx(1.0, abs=2e-6)


def test_bins_integrate_the_density() -> None:
    edges = np.concatenate([np.linspace(-900.0, -100.0, 100), np.linspace(-99.0, 300.0, 400)])
    node, weight = np.polynomial.legendre.leggauss(8)
    middle, half = 0.5 * (edges[1:] + edges[:-1]), 0.5 * np.diff(edges)
    points = middle[:, None] + half[:, None] * node
    integral = (density(points.ravel()).reshape(points.shape) * weight).sum(axis=1) * half
    np.testing.assert_allclose(shares(edges), integral, atol=1e-7 * integral.max())


def test_classes_are_peaks_side_by_side() -> None:
    offsets = np.array([[-60.0, -5.0, 0.0, 8.0, 90.0]])
    weights = np.array([0.05, 0.3, 0.3, 0.25, 0.1])
    edges = np.linspace(-1500.0, 1500.0, 1501)
    apart = sum(
        share * shares(edges, offsets=np.array([[offset]])) for offset, share in zip(offsets[0], weights, strict=True)
    )
    together = shares(edges, offsets=offsets, weights=weights)
    np.testing.assert_allclose(together, apart, atol=1e-7 * apart.max())
    spread = density(edges, offsets=offsets, weights=weights)
    np.testing.assert_allclose(spread, sum(w * density(edges - o) for o, w in zip(offsets[0], weights, strict=True)),
                               atol=1e-7 * spread.max())  # fmt: skip


def test_the_cusp_is_where_the_reflection_is() -> None:
    """Without width the two exponentials meet at the position; the mean lies 1 / beta - 1 / alpha behind it."""
    shape = np.array([0.2, 0.1, 1.0, 0.0])
    t = np.arange(-100.0, 250.0, 0.25)
    found = density(t, shape)
    assert abs(t[np.argmax(found)]) < 1.5
    assert (t * found).sum() * 0.25 == pytest.approx(1 / 0.1 - 1 / 0.2, abs=1e-3)


def cw(x: Array, position: float, shape: tuple[float, float], axial: float) -> Array:
    width = np.array([np.sqrt(8 * np.log(2) * shape[0]) + shape[1]])
    divergence = axial_divergence(np.array([position]), axial, width)
    out = np.zeros(x.size)
    kernels.add_cw(out, x, np.array([[1.0, position]]), np.array([shape]), divergence, NOWHERE, ONE)
    return out


def finger_cox_jephcoat(x: float, position: float, shape: tuple[float, float], axial: float) -> float:
    """The profile averaged over 2phi with the weight [(S + H) / h - 1] / cos 2phi, in the root of 2theta - 2phi."""
    width, share = kernels.pseudo_voigt_of(*shape)
    centre = np.deg2rad(position)
    reach = centre - np.arccos(np.cos(centre) * np.sqrt(1 + axial**2))

    def weight(root: float) -> float:
        """Times 2 root, for d 2phi = 2 root d root."""
        angle = centre - np.sign(reach) * root**2
        height = np.sqrt(np.sin(centre - angle) * np.sin(centre + angle)) / abs(np.cos(centre))
        return float((axial / height - 1) / abs(np.cos(angle)) * 2 * root)

    def seen(root: float) -> float:
        return weight(root) * float(voigt(x - np.rad2deg(centre - np.sign(reach) * root**2), width, share))

    stops = np.sqrt(abs(reach)) * np.linspace(1e-9, 1.0, 25)
    pieces = list(pairwise(stops))
    profile, norm = (sum(quad(law, *piece, epsrel=1e-11)[0] for piece in pieces) for law in (seen, weight))
    return profile / norm


@pytest.mark.parametrize(
    ("position", "shape", "axial"),
    [(1.4, (1e-4, 0.01), 0.004), (12.0, (2e-5, 0.004), 0.02), (60.0, (1e-3, 0.02), 0.03), (140.0, (1e-3, 0.02), 0.06)],
)
def test_axial_divergence_is_the_convolution(position: float, shape: tuple[float, float], axial: float) -> None:
    width, _ = kernels.pseudo_voigt_of(*shape)
    x = position + width * np.array([-9.0, -3.0, -1.0, -0.2, 0.0, 0.5, 2.0])
    expected = np.array([finger_cox_jephcoat(one, position, shape, axial) for one in x])
    np.testing.assert_allclose(cw(x, position, shape, axial), expected, atol=1e-7 * expected.max())


def test_axial_divergence_leans_away_from_a_right_angle_and_keeps_the_area() -> None:
    shape, step = (1e-3, 0.0), 0.002
    for position, sign in ((10.0, -1), (170.0, 1)):
        x = position + np.arange(-3.0, 3.0, step)
        found = cw(x, position, shape, 0.06)
        assert found.sum() * step == pytest.approx(1.0, abs=1e-9)
        assert sign * ((x - position) * found).sum() * step > 1e-3
    x = np.linspace(39.0, 41.0, 101)
    np.testing.assert_allclose(cw(x, 40.0, (1e-3, 0.02), 1e-6), voigt(x - 40.0, *kernels.pseudo_voigt_of(1e-3, 0.02)),
                               rtol=1e-6)  # fmt: skip


def test_widths_of_a_pseudo_voigt() -> None:
    assert kernels.pseudo_voigt_of(4.0, 0.0) == pytest.approx((2 * np.sqrt(8 * np.log(2)), 0.0))
    assert kernels.pseudo_voigt_of(0.0, 3.0) == pytest.approx((3.0, 1.0), abs=1e-12)
