"""Special functions of the peak shapes against values of 40 digits, scipy and their own equations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erfcx, exp1

from cathoscope.powder.special_kernels import BLOCK, fill_erfcx, fill_exponential, fill_exponential_integral

# e^z E1(z), from above the cut; mpmath 1.4.1 with 40 digits.
DIGITS = {
    1e-06 + 0.001j: 6.332112326985888 - 1.5624665664424815j,
    0.5 + 0.1j: 0.9086321657672927 - 0.10558487368410721j,
    -0.7 + 0.01j: -0.5133638497987704 - 1.5509946595917359j,
    -0.999 + 1e-09j: -0.6968714049980004 - 1.1568836548929273j,
    1 + 1e-09j: 0.5963473623231941 - 4.0365263767680594e-10j,
    0.3 + 1.2j: 0.34290793656361385 - 0.4692116579413803j,
    -4 + 0.05j: -0.3566173756436857 - 0.06294563731990668j,
    -4 + 3j: -0.15358495070254458 - 0.16964755266714482j,
    -12.5 + 0.04j: -0.08781741683135913 - 0.0003244548563583951j,
    -17.7 + 5e-05j: -0.060131034394320645 - 2.462788370608308e-07j,
    4.7 + 1e-09j: 0.1797910574053859 - 3.29749000414226e-11j,
    30 + 2j: 0.03215526989111601 - 0.0020784823538868326j,
    -45 + 0.001j: -0.022739607242749343 - 5.17385032037814e-07j,
    -300 + 8j: -0.0033421265868437775 - 8.94234665913542e-05j,
    2000 + 60j: 0.0004993013269067369 - 1.4971561490609353e-05j,
    1j: 0.343377961556427 - 0.6214496242358134j,
    50j: 0.0003990475545378196 - 0.01998407589833729j,
}


def exponential_integral(z: np.ndarray, kernel=fill_exponential_integral) -> np.ndarray:
    """e^z E1(z) one by one, as the kernel wants equal imaginary parts."""
    real, imaginary = np.empty((2, z.size, 1))
    for k, one in enumerate(z):
        kernel(np.array([one.real]), one.imag, real[k], imaginary[k])
    return (real + 1j * imaginary)[:, 0]


@pytest.mark.parametrize("kernel", [fill_exponential_integral, fill_exponential_integral.py_func])
def test_exponential_integral_has_twelve_digits(kernel) -> None:
    z, expected = np.array(list(DIGITS)), np.array(list(DIGITS.values()))
    np.testing.assert_array_less(np.abs(exponential_integral(z, kernel) / expected - 1), 3e-13)


def test_exponential_integral_over_the_half_plane() -> None:
    radius = np.geomspace(1e-3, 500, 60)
    angle = np.concatenate([np.linspace(1e-6, np.pi - 1e-6, 40), np.pi - np.geomspace(1e-9, 0.1, 10)])
    z = (radius[:, None] * np.exp(1j * angle)).ravel()
    with np.errstate(all="ignore"):
        expected = np.exp(z) * exp1(z)
    good = np.isfinite(expected)  # scipy's own factors overflow below -700
    assert good.mean() > 0.95
    # Near the positive axis around 4.7 scipy itself is wrong by 9e-13, see DIGITS.
    np.testing.assert_array_less(np.abs(exponential_integral(z) / expected - 1)[good], 1.5e-12)


@given(x=st.floats(-200, 200), y=st.floats(1e-3, 100))
def test_exponential_integral_fulfils_its_equation(x: float, y: float) -> None:
    """F' = F - 1/z, by differences; F is smooth from the series to the rational function."""
    if abs(complex(x, y)) < 0.1:
        return
    h = 1e-4 * abs(complex(x, y))
    before, here, after = exponential_integral(np.array([x - h, x, x + h]) + 1j * y)
    z = complex(x, y)
    third = abs((after - before) / (2 * h)) * 1e-7 * max(1, abs(z)) + 1e-8 * abs(here)
    assert abs((after - before) / (2 * h) - (here - 1 / z)) < third + 1e-7 * abs(1 / z)


@pytest.mark.parametrize("kernel", [fill_erfcx, fill_erfcx.py_func])
def test_erfcx(kernel) -> None:
    y = np.concatenate([[0.0], np.geomspace(1e-8, 1e8, BLOCK + 44)])
    out = np.empty_like(y)
    kernel(y, y.size, out)
    np.testing.assert_allclose(out, erfcx(y), rtol=2e-14)


@pytest.mark.parametrize("kernel", [fill_exponential, fill_exponential.py_func])
def test_exponential(kernel) -> None:
    x = -np.concatenate([[0.0], np.geomspace(1e-12, 705, BLOCK + 44), [800.0, 1e6]])
    out = np.empty_like(x)
    kernel(x, x.size, out)
    np.testing.assert_allclose(out[:-2], np.exp(x[:-2]), rtol=5e-16)
    assert np.all(out[-2:] < 1e-307)


def test_only_the_first_arguments_are_taken() -> None:
    for kernel, x in ((fill_erfcx, np.ones(3)), (fill_exponential, -np.ones(3))):
        out = np.zeros(3)
        kernel(x, 2, out)
        assert np.all(out[:2] > 0)
        assert out[2] == 0
