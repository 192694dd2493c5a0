"""Peak shapes computed another way: by folding and by differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Array = np.ndarray
FWHM = np.sqrt(8 * np.log(2))


def mixed(sigma2: float, gamma: float) -> tuple[float, float]:
    """Full width and Lorentz share of a pseudo-Voigt: Thompson, Cox and Hastings."""
    g, f = FWHM * np.sqrt(sigma2), gamma
    powers = g**5 + 2.69269 * g**4 * f + 2.42843 * g**3 * f**2 + 4.47163 * g**2 * f**3 + 0.07842 * g * f**4 + f**5
    width = powers**0.2
    r = f / width
    return width, 1.36603 * r - 0.47719 * r**2 + 0.11116 * r**3


def pseudo_voigt(x: Array, sigma2: float, gamma: float) -> Array:
    width, share = mixed(sigma2, gamma)
    s, h = width / FWHM, width / 2
    return (1 - share) * np.exp(-(x**2) / (2 * s**2)) / (s * np.sqrt(2 * np.pi)) + share * h / np.pi / (x**2 + h**2)


def panels(edges: Array, order: int = 20) -> tuple[Array, Array]:
    """Points and weights of Gauss-Legendre rules between edges."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (nodes + 1)).ravel(), (half * weights).ravel()


def folded_with_pulse(t: Array, alpha: float, beta: float, sigma2: float, gamma: float) -> Array:
    """Pseudo-Voigt folded with the pulse by a sum over both exponentials."""
    v, weight = panels(np.linspace(0, 40, 401))
    weight = weight * np.exp(-v) * alpha * beta / (alpha + beta)
    rise = pseudo_voigt(t[:, None] + v / alpha, sigma2, gamma) @ weight / alpha
    return rise + pseudo_voigt(t[:, None] - v / beta, sigma2, gamma) @ weight / beta


def folded_with_axial(x: Array, position: float, sigma2: float, gamma: float, axial: float) -> Array:
    """Pseudo-Voigt folded with the weights that Finger, Cox and Jephcoat state, over 2 phi."""
    two_theta = np.radians(position)
    v, weight = panels(np.linspace(0, 1, 101))
    off = (np.arccos(np.cos(two_theta) * np.sqrt(1 + axial**2)) - two_theta) * v**2  # fine where the weight is large
    # h = sqrt(cos^2 2phi / cos^2 2theta - 1), without the difference of nearly equal numbers
    h = np.sqrt(-np.sin(off) * np.sin(2 * two_theta + off)) / np.abs(np.cos(two_theta))
    weight = weight * v * (axial - h) / (h * np.abs(np.cos(two_theta + off)))
    return pseudo_voigt(x[:, None] - position - np.degrees(off), sigma2, gamma) @ weight / weight.sum()


def differences(function: Callable[..., Array], at: dict[str, float], name: str, step: float) -> Array:
    """Derivative of a function to one of its arguments by central differences of fourth order."""

    def value(offset: float) -> Array:
        return function(**(at | {name: at[name] + offset}))

    return (8 * (value(step) - value(-step)) - (value(2 * step) - value(-2 * step))) / (12 * step)


def stretched(centre: float, width: float, points: int = 8001, ends: float = 14.0) -> tuple[Array, Array]:
    """Points and weights of an integral of a peak with its wings, exp(ends) / 2 widths to either side."""
    u = np.linspace(-ends, ends, points)
    return centre + width * np.sinh(u), width * np.cosh(u) * (u[1] - u[0])
