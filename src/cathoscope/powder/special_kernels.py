"""Functions that profiles of peaks need, for many arguments at once: e^z E1(z), e^(y^2) erfc(y) and e^x."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.polynomial import Chebyshev, Polynomial
from scipy.special import erfcx

BLOCK = 256  # arguments at once: what is computed of them stays in the nearest cache
_EULER = float(np.euler_gamma)
_TERMS = 20  # of the series below |z| = 1
_MIDDLE = 3.75  # y that the expansion of erfc has in its middle

# e^x = 2^n e^r: n to the nearest integer by adding a number whose last digit is 1, ln 2 in two parts.
_SHIFTER, _BIAS, _DIGITS = 1.5 * 2.0**52, 1023, 52
_LN2_HIGH, _LN2_LOW = float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33")
_LEAST = -708.0
_TAYLOR = np.array([1 / math.factorial(k) for k in range(13, -1, -1)])

# z e^z E1(z) = sum ABOVE w^k / sum BELOW w^k, w = 1/z, highest power first. Rational function of degree 18 through
# values of 40 digits on the rim of the half disc |w| < 1, Im w < 0 (AAA algorithm: Nakatsukasa, Sete and Trefethen,
# SIAM J. Sci. Comput. 40, A1494, 2018). It has no poles there, so the largest error, 1e-13, is on the rim. The
# poles stand in for the cut, and lie below the negative axis: from above that axis the function is smooth.
_ABOVE = np.array(
    [
        -12976.359308103863 - 2289.3578005187287j,
        -64601.280334970754 + 5122908.982608864j,
        146418141.82208684 + 9248195.014053235j,
        223096638.6580362 - 1425518521.032927j,
        -6537306853.508961 - 1896128730.4261074j,
        -7739489057.98768 + 16234643674.81345j,
        23253440500.65758 + 17502353483.17117j,
        23664869887.367397 - 19327646754.921562j,
        -8462346998.61294 - 19924803638.638687j,
        -10609442396.602535 + 793261165.8188581j,
        -1079363848.6274598 + 3533981809.507631j,
        694711866.4035438 + 598289353.0984006j,
        149989669.48156455 - 63942321.20816122j,
        1956150.2193946436 - 20592101.071631443j,
        -1488367.5603750318 - 1088987.2195573098j,
        -104828.63404320054 + 39996.258953994926j,
        -1075.2668952183678 + 4276.592035325609j,
        63.03128977781787 + 78.11754630327947j,
        0.9999999999999868 + 1.7027567784429808e-14j,
    ]
)
_BELOW = np.array(
    [
        -399632.95053572947 + 1124850.6953944515j,
        44498459.28732174 + 25713763.6101526j,
        459928976.6752552 - 518991955.01569134j,
        -2544302995.185586 - 3537994921.582279j,
        -14106603014.066963 + 5599060997.4834795j,
        3436531405.159414 + 32110527897.4603j,
        43817458894.92803 + 8527929001.1492195j,
        20769247638.040657 - 36237972196.97107j,
        -17348790011.14247 - 20964617659.074318j,
        -12021594206.211823 + 3721536397.998792j,
        -516183381.20874846 + 4149731504.0183754j,
        839541101.0736004 + 551419845.8730416j,
        153137694.0464665 - 83375495.62822793j,
        568637.0854763946 - 21709270.30225597j,
        -1591944.8336510956 - 1053033.2000024405j,
        -105963.93222814967 + 44194.733443059034j,
        -1013.235605441009 + 4354.709581629568j,
        64.03128977781192 + 78.1175463032779j,
        1.0 + 0.0j,
    ]
)
_ABOVE_RE, _ABOVE_IM = _ABOVE.real.copy(), _ABOVE.imag.copy()
_BELOW_RE, _BELOW_IM = _BELOW.real.copy(), _BELOW.imag.copy()


def _expansion_of_erfcx() -> np.ndarray:
    """Coefficients of (1 + y/K) erfcx(y) as a polynomial in (K - y)/(K + y), highest power first.

    Shepherd and Laframboise, Math. Comput. 36, 249 (1981); with 20 terms the error is 6e-15.
    """

    def stretched(x: np.ndarray) -> np.ndarray:
        """What is expanded, (1 + y/K) erfcx(y), at x = (K - y)/(K + y)."""
        y = _MIDDLE * (1 - x) / (1 + x)
        return np.asarray(2 / (1 + x) * erfcx(y))

    return np.array(Chebyshev.interpolate(stretched, 19).convert(kind=Polynomial).coef[::-1])


_ERFCX = _expansion_of_erfcx()


@njit(cache=True, nogil=True)
def _near_zero(x, y):  # type: ignore[no-untyped-def]
    """e^z E1(z) by the series of E1 for |z| < 1 (Abramowitz and Stegun 5.1.11)."""
    z = complex(x, y)
    total = -_EULER - np.log(z)
    term = -1.0 + 0.0j
    for k in range(1, _TERMS):
        term *= -z / k
        total += term / k
    return np.exp(z) * total


@njit(cache=True, nogil=True, fastmath={"contract"})
def _ratio(wr, wi, nr, ni, dr, di, m):  # type: ignore[no-untyped-def]
    """Numerator ``n`` and denominator ``d`` of the rational function at ``w``, Horner's rule for all arguments."""
    for i in range(m):
        nr[i], ni[i] = _ABOVE_RE[0], _ABOVE_IM[0]
        dr[i], di[i] = _BELOW_RE[0], _BELOW_IM[0]
    for k in range(1, _ABOVE_RE.size):
        a, b, c, d = _ABOVE_RE[k], _ABOVE_IM[k], _BELOW_RE[k], _BELOW_IM[k]
        for i in range(m):
            p = nr[i] * wr[i] - ni[i] * wi[i] + a
            q = nr[i] * wi[i] + ni[i] * wr[i] + b
            r = dr[i] * wr[i] - di[i] * wi[i] + c
            s = dr[i] * wi[i] + di[i] * wr[i] + d
            nr[i], ni[i], dr[i], di[i] = p, q, r, s


@njit(cache=True, nogil=True, fastmath={"contract"})
def fill_exponential_integral(x, y, real, imaginary):  # type: ignore[no-untyped-def]
    """e^z E1(z) at z = x[i] + i y, y >= 0, z not 0; below the cut of E1 nothing is wanted. Relative error 3e-13."""
    wr, wi = np.empty(BLOCK), np.empty(BLOCK)
    nr, ni, dr, di = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    for start in range(0, x.size, BLOCK):
        m = min(BLOCK, x.size - start)
        for i in range(m):
            one = x[start + i]
            q = 1.0 / max(one * one + y * y, 1.0)
            wr[i], wi[i] = one * q, -y * q
        _ratio(wr, wi, nr, ni, dr, di, m)
        for i in range(m):
            q = 1.0 / (dr[i] * dr[i] + di[i] * di[i])
            u = (nr[i] * dr[i] + ni[i] * di[i]) * q
            v = (ni[i] * dr[i] - nr[i] * di[i]) * q
            real[start + i] = u * wr[i] - v * wi[i]
            imaginary[start + i] = u * wi[i] + v * wr[i]
    if y < 1.0:
        for i in range(x.size):
            if x[i] * x[i] + y * y < 1.0:
                f = _near_zero(x[i], y)
                real[i], imaginary[i] = f.real, f.imag


@njit(cache=True, nogil=True, fastmath={"contract"})
def fill_erfcx(y, n, out):  # type: ignore[no-untyped-def]
    """e^(y^2) erfc(y) of the first ``n`` arguments, all y >= 0. Relative error 1e-14."""
    x, h = np.empty(BLOCK), np.empty(BLOCK)
    for start in range(0, n, BLOCK):
        m = min(BLOCK, n - start)
        for i in range(m):
            x[i] = _MIDDLE / (_MIDDLE + y[start + i])
            h[i] = _ERFCX[0]
        for k in range(1, _ERFCX.size):
            c = _ERFCX[k]
            for i in range(m):
                h[i] = h[i] * (2.0 * x[i] - 1.0) + c
        for i in range(m):
            out[start + i] = h[i] * x[i]


@njit(cache=True, nogil=True, fastmath={"contract"})
def fill_exponential(x, n, out):  # type: ignore[no-untyped-def]
    """e^x of the first ``n`` arguments, all x <= 0, to rounding; `math.exp` one by one takes twice the time."""
    shifted, rest, h = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    bits, power_bits = shifted.view(np.int64), np.empty(BLOCK, dtype=np.int64)
    power = power_bits.view(np.float64)
    for start in range(0, n, BLOCK):
        m = min(BLOCK, n - start)
        for i in range(m):
            one = max(x[start + i], _LEAST)
            shifted[i] = one * (1.0 / math.log(2.0)) + _SHIFTER
            whole = shifted[i] - _SHIFTER
            rest[i] = (one - whole * _LN2_HIGH) - whole * _LN2_LOW
            h[i] = _TAYLOR[0]
        for i in range(m):
            power_bits[i] = (bits[i] + _BIAS) << _DIGITS
        for k in range(1, _TAYLOR.size):
            c = _TAYLOR[k]
            for i in range(m):
                h[i] = h[i] * rest[i] + c
        for i in range(m):
            out[start + i] = h[i] * power[i]
