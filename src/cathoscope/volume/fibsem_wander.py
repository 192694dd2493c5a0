"""How far the centre of a rough body's section wanders, told from the shape of its sections.

The surface is r = R (1 + h), h a random function on the sphere that is alike in all directions. Its parts of degree l
and order m are independent of each other, with a variance v_l / (2 l + 1) for each. In a section at the height x R the
radius is r = s R + h R / s with s² = 1 - x², so that its harmonic m has the covariance (cosine and sine alike)

    K_m(x, x') = 2 R² sum over l of v_l (l - m)! / (l + m)! P_lm(x) P_lm(x') / (s s')

m = 1 is the centre, to which drift adds; m = 2 to 6 are free of drift, and tell v. Of v a family is tried:
v_l / (2 l + 1) = exp(-(l / L)^q) or a power law (1 + (l / L)²)^-q, each with its amplitude, beside noise of the
outline. K_1 is the mean over the family, every member weighted by its likelihood in all harmonics together. l = 2, the
ellipsoid, is left out of the family: along the stack it is a parabola at most in m = 2, which is taken off, and a line
in m = 1, which is stated apart.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, lpmv

Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_DEGREES = np.arange(3, 81)
_LENGTHS = np.geomspace(4, 45, 10)  # L
_FALLS, _POWER = (2.0, 4.0, 8.0), 2.5  # q of the exponential, and of the power law
_AMPLITUDES = np.geomspace(3e-4, 0.06, 24)  # standard deviation of h
_NOISE = np.array([0.03, 0.06, 0.1, 0.16, 0.25])  # px, of a harmonic
_FARTHEST = 0.95  # of R: sections nearer to the pole are as those there
_MOST = 120  # sections from which the family is weighed


def places_in_ball(index: NDArray[np.int64], radius: Float64Array, depth: float | None) -> tuple[Float64Array, float]:
    """Heights of sections over the middle in units of R [section], and R (px), of the ball that fits their radii (px).

    ``depth`` (px) is that of a slice; without it, the ball tells it.
    """
    square = radius**2
    if depth is None:
        bend = float(np.polyfit(index, square, 2)[0])
        depth = float(np.sqrt(-bend)) if bend < 0 else 1.0
    slope, constant = np.polyfit(index, square + (depth * index) ** 2, 1)
    middle = slope / (2 * depth**2)
    ball = float(np.sqrt(max(constant + (depth * middle) ** 2, square.max())))
    return np.clip((index - middle) * depth / ball, -_FARTHEST, _FARTHEST), ball


def harmonics_of_degrees(x: Float64Array, order: int) -> Float64Array:
    """What a degree of unit variance contributes to the harmonic ``order`` of sections at ``x``, [section, degree]."""
    degree = np.maximum(_DEGREES, order)
    scale = np.exp(0.5 * (gammaln(degree - order + 1) - gammaln(degree + order + 1)))
    scale = np.where(order <= _DEGREES, scale, 0.0)
    return np.asarray(np.sqrt(2 / (1 - x**2))[:, None] * lpmv(order, degree, x[:, None]) * scale)


def centre_wander(x: Float64Array, ball: float, shape: Float64Array, sound: BoolArray) -> Float64Array:
    """Covariance of the centres of sections, px², [section, section].

    Parameters
    ----------
    x
        Heights in units of the radius, [section].
    ball
        Radius, px.
    shape
        Cosine and sine parts of m = 2, 3, ... of the sections' outlines, px, [section, 2 (M - 1)].
    sound
        Sections whose outline is not odd.
    """
    rows = np.flatnonzero(sound)
    rows = rows[:: max(1, int(np.ceil(rows.size / _MOST)))]
    free = np.linalg.svd(np.polynomial.legendre.legvander(x[rows], 2))[0][:, 3:]
    seen = free.T @ shape[rows]
    parts = [ball * free.T @ harmonics_of_degrees(x[rows], m) for m in range(2, 2 + shape.shape[1] // 2)]
    family = list(_family())
    likelihood = np.stack([_likelihood(spectrum, parts, seen) for spectrum in family])
    weight = np.exp(likelihood - likelihood.max())
    variance = (weight / weight.sum()) @ _AMPLITUDES**2 @ np.stack(family)
    centre = ball * harmonics_of_degrees(x, 1)
    return np.asarray((centre * variance) @ centre.T)


def _family() -> Iterator[Float64Array]:
    """Spectra v_l of sum 1, [degree]."""
    for length in _LENGTHS:
        for fall in _FALLS:
            yield _of_unit_sum(np.exp(-((_DEGREES / length) ** fall)))
        yield _of_unit_sum((1 + (_DEGREES / length) ** 2) ** -_POWER)


def _of_unit_sum(single: Float64Array) -> Float64Array:
    """v_l from what each order has."""
    spectrum = (2 * _DEGREES + 1) * single
    return np.asarray(spectrum / spectrum.sum())


def _likelihood(spectrum: Float64Array, parts: list[Float64Array], seen: Float64Array) -> Float64Array:
    """Logarithm of the likelihood of harmonics ``seen`` for every amplitude; each has the noise that suits it."""
    result = np.zeros(_AMPLITUDES.size)
    for number, part in enumerate(parts):
        value, vector = np.linalg.eigh((part * spectrum) @ part.T)
        square = np.sum((vector.T @ seen[:, 2 * number : 2 * number + 2]) ** 2, axis=1)
        variance = (_AMPLITUDES**2)[:, None, None] * np.maximum(value, 0.0) + (_NOISE**2)[:, None]
        result += np.logaddexp.reduce(-np.sum(np.log(variance) + 0.5 * square / variance, axis=2), axis=1)
    return result
