"""Valence from the energy of an edge: the straight line through standards, and its inverse."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import chdtrc, ndtri, stdtrit

from cathoscope.core.errors import MeasurementError

Array = NDArray[np.float64]

_SCATTER_PROBABILITY = 0.05
"""Misfits of the standards that chance gives less often than this are taken as scatter of the standards."""


@dataclass(frozen=True)
class LeftOut:
    """Every standard predicted by the line through the others.

    Attributes
    ----------
    edge_energy
        What the others predict, eV, [standard]; NaN where the others do not define a line.
    lower, upper
        95 % interval in which the edge of the standard is expected, eV, [standard]. It holds the uncertainty of the
        standard, of the line through the others and their scatter.
    outside
        Whether the edge lies outside this interval, [standard].
    valence_error
        Valence that the line through the others gives the standard, minus its stated valence, [standard].
    """

    edge_energy: Array
    lower: Array
    upper: Array
    outside: NDArray[np.bool_]
    valence_error: Array


@dataclass(frozen=True)
class ValenceLine:
    """Edge energy as a straight line of valence.

    Attributes
    ----------
    intercept, slope
        eV at valence 0, and eV per valence.
    covariance
        Of intercept and slope, [2, 2].
    scatter
        Standard deviation of the standards about the line beyond their own uncertainty, eV; 0 if not demanded.
    degrees_of_freedom
        Of the scatter: number of standards minus 2 if there is one, infinite if the stated uncertainties suffice.
    chi2, chi2_probability
        Sum of squared deviations over stated variances, and how often chance alone exceeds it; NaN if no
        uncertainties were stated or there are only two standards.
    valence_range
        Lowest and highest valence of the standards.
    residual
        Edge energy of the standards minus the line, eV, [standard].
    left_out
        Every standard predicted from the others.
    remarks
        Sentences on what limits the line; empty if nothing does.
    """

    intercept: float
    slope: float
    covariance: Array
    scatter: float
    degrees_of_freedom: float
    chi2: float
    chi2_probability: float
    valence_range: tuple[float, float]
    residual: Array
    left_out: LeftOut
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Valence:
    """Valence read off a line, [spectrum] each.

    Attributes
    ----------
    valence, valence_std
        Value, and standard uncertainty from the first-order propagation of edge, line and scatter.
    lower, upper
        Exact interval (Fieller); infinite where the slope of the line is not significant at this level.
    extrapolated
        Whether the value lies outside the standards.
    """

    valence: Array
    valence_std: Array
    lower: Array
    upper: Array
    extrapolated: NDArray[np.bool_]


@dataclass(frozen=True)
class _Line:
    coefficients: Array
    covariance: Array
    scatter: float
    degrees_of_freedom: float
    chi2: float
    probability: float


def valence_line_from_standards(
    *, edge_energy: ArrayLike, valence: ArrayLike, edge_std: ArrayLike | None = None
) -> ValenceLine:
    """Straight line ``edge = intercept + slope * valence`` through standards.

    Weighted least squares. If chi squared exceeds what chance gives in one of 20 cases, the standards scatter about the
    line by more than they are uncertain, and a scatter common to all is added in quadrature such that chi squared
    equals its expectation, number of standards minus 2 [1]_. Without stated uncertainties all deviation is scatter.

    Parameters
    ----------
    edge_energy
        eV, [standard], from one definition of the edge for all.
    valence
        Of the absorbing element, [standard].
    edge_std
        Standard uncertainty of each edge, eV, [standard]: measurement and calibration of its energy axis.

    Raises
    ------
    MeasurementError
        If shapes differ, values are not finite, uncertainties are not positive, all valences are equal, or there
        are fewer than two standards (three without uncertainties).

    References
    ----------
    .. [1] R. C. Paule, J. Mandel, J. Res. Natl. Bur. Stand. 87 (1982) 377.
    """
    edge, number, std = _checked_standards(edge_energy, valence, edge_std)
    line = _line(edge, number, std)
    left_out = _left_out(edge, number, std)
    return ValenceLine(
        intercept=float(line.coefficients[0]),
        slope=float(line.coefficients[1]),
        covariance=line.covariance,
        scatter=line.scatter,
        degrees_of_freedom=line.degrees_of_freedom,
        chi2=line.chi2,
        chi2_probability=line.probability,
        valence_range=(float(number.min()), float(number.max())),
        residual=edge - line.coefficients[0] - line.coefficients[1] * number,
        left_out=left_out,
        remarks=_remarks(edge, number, std, line, left_out),
    )


def valence_from_edge(
    *, edge_energy: ArrayLike, edge_std: ArrayLike, line: ValenceLine, level: float = 0.95
) -> Valence:
    """Valence ``v = (edge - intercept) / slope`` with its uncertainty.

    The interval holds all v with ``(edge - intercept - slope v)^2 <= q^2 [edge_std^2 + scatter^2 + var_line(v)]``,
    a quadratic inequality [2]_: exact for normal errors, asymmetric, and open if the slope is not significant.
    The scatter enters because a sample is as much an individual as a standard is.

    Parameters
    ----------
    edge_energy, edge_std
        eV, [spectrum] or scalar. The uncertainty holds measurement and calibration of the energy axis.
    line
        From `valence_line_from_standards`, same definition of the edge.
    level
        Of the interval.

    Raises
    ------
    MeasurementError
        If an uncertainty is negative, the level is not between 0 and 1, or the line is level.

    References
    ----------
    .. [2] E. C. Fieller, J. R. Stat. Soc. B 16 (1954) 175.
    """
    edge, std = np.broadcast_arrays(
        np.atleast_1d(np.asarray(edge_energy, np.float64)), np.atleast_1d(np.asarray(edge_std, np.float64))
    )
    if np.any(std < 0):
        raise MeasurementError("an edge has a negative uncertainty", found=f"{std.min():g} eV")
    if line.slope == 0:
        raise MeasurementError(
            "no valence can be read off a level line",
            expected="standards whose edge changes with valence",
            found="a slope of 0 eV per valence",
            cure="use another definition of the edge",
        )
    valence = (edge - line.intercept) / line.slope
    own = std**2 + line.scatter**2
    lower, upper = _fieller(edge, own, line, _quantile(level, line.degrees_of_freedom))
    low, high = line.valence_range
    return Valence(
        valence=valence,
        valence_std=np.sqrt(own + _variance(line.covariance, valence)) / abs(line.slope),
        lower=lower,
        upper=upper,
        extrapolated=(valence < low) | (valence > high),
    )


def _fieller(edge: Array, own_variance: Array, line: ValenceLine, quantile: float) -> tuple[Array, Array]:
    """Both ends of the set of valences that the edge does not contradict; infinite if it has no ends."""
    squared = quantile**2
    (v_aa, v_ab), (_, v_bb) = line.covariance
    above = edge - line.intercept
    # A v^2 - 2 B v + C <= 0
    a = line.slope**2 - squared * v_bb
    b = line.slope * above + squared * v_ab
    c = above**2 - squared * (own_variance + v_aa)
    if a <= 0:
        return np.full_like(edge, -np.inf), np.full_like(edge, np.inf)
    half = np.sqrt(np.maximum(b**2 - a * c, 0.0))
    return (b - half) / a, (b + half) / a


def _checked_standards(
    edge_energy: ArrayLike, valence: ArrayLike, edge_std: ArrayLike | None
) -> tuple[Array, Array, Array | None]:
    edge, number = np.asarray(edge_energy, dtype=np.float64), np.asarray(valence, dtype=np.float64)
    std = None if edge_std is None else np.asarray(edge_std, dtype=np.float64)
    if edge.ndim != 1 or number.shape != edge.shape or (std is not None and std.shape != edge.shape):
        raise MeasurementError(
            "edges, uncertainties and valences of the standards do not match",
            expected="one of each per standard",
            found=f"shapes {edge.shape}, {None if std is None else std.shape} and {number.shape}",
        )
    if not (np.isfinite(edge).all() and np.isfinite(number).all()):
        raise MeasurementError("an edge or valence of a standard is NaN or infinite", cure="leave this standard out")
    if std is not None and not np.all(np.isfinite(std) & (std > 0)):
        raise MeasurementError("an uncertainty of a standard is not above zero", expected="eV above zero for each")
    needed = 3 if std is None else 2
    if edge.size < needed or np.unique(number).size < 2:
        raise MeasurementError(
            "too few standards for a line",
            expected=f"{needed} standards, of two different valences at least",
            found=f"{edge.size} standards of {np.unique(number).size} valences",
        )
    if np.ptp(edge) == 0:
        raise MeasurementError("the edges of all standards are the same", found=f"{edge[0]:.2f} eV for each")
    return edge, number, std


def _line(edge: Array, valence: Array, std: Array | None) -> _Line:
    """Line through checked standards, with scatter where the misfit demands one."""
    degrees = edge.size - 2
    stated = np.zeros_like(edge) if std is None else std
    if std is None:
        scatter, chi2, probability = _scatter(edge, valence, stated, degrees), np.nan, np.nan
    elif degrees == 0:
        scatter, chi2, probability = 0.0, np.nan, np.nan
    else:
        chi2 = _weighted_line(edge, valence, std)[2]
        probability = float(chdtrc(degrees, chi2))
        demanded = probability < _SCATTER_PROBABILITY
        scatter = _scatter(edge, valence, std, degrees) if demanded else 0.0
    total = np.hypot(stated, scatter)
    # standards exactly on a line, of no stated uncertainty, all weigh alike
    exact = not np.all(total > 0)
    coefficients, covariance, _ = _weighted_line(edge, valence, np.ones_like(edge) if exact else total)
    limited = std is None or scatter > 0
    return _Line(
        coefficients, covariance * (0.0 if exact else 1.0), scatter, degrees if limited else np.inf, chi2, probability
    )


def _weighted_line(edge: Array, valence: Array, std: Array) -> tuple[Array, Array, float]:
    """Coefficients, covariance and chi squared of weighted least squares."""
    weight = std**-2.0
    # sums about the means keep the digits that edge energies of thousands of eV would cost
    total = weight.sum()
    mean_valence, mean_edge = weight @ valence / total, weight @ edge / total
    from_mean = valence - mean_valence
    spread = weight @ from_mean**2
    slope = weight @ (from_mean * (edge - mean_edge)) / spread
    misfit = edge - mean_edge - slope * from_mean
    covariance = np.array(
        [[1 / total + mean_valence**2 / spread, -mean_valence / spread], [-mean_valence / spread, 1 / spread]]
    )
    return np.array([mean_edge - slope * mean_valence, slope]), covariance, float(weight @ misfit**2)


def _scatter(edge: Array, valence: Array, std: Array, degrees: int) -> float:
    """Scatter that brings chi squared down to its expectation (Paule and Mandel)."""
    unweighted = _weighted_line(edge, valence, np.ones_like(edge))[2]
    largest = float(np.sqrt(unweighted / degrees))
    if largest == 0.0 or not np.any(std):
        return largest

    def excess(scatter: float) -> float:
        """Chi-square beyond its expectation if standards scatter that much more."""
        return _weighted_line(edge, valence, np.hypot(std, scatter))[2] - degrees

    # the unweighted line with the largest scatter gives exactly the expectation, the weighted one never more
    return float(brentq(excess, 0.0, largest * (1 + 1e-9), xtol=1e-9 * largest))


def _left_out(edge: Array, valence: Array, std: Array | None) -> LeftOut:
    """Each standard against the line through the others."""
    predicted, half, read = (np.full_like(edge, np.nan) for _ in range(3))
    for i in range(edge.size):
        others = np.arange(edge.size) != i
        if np.unique(valence[others]).size < 2 or (std is None and others.sum() < 3):
            continue
        line = _line(edge[others], valence[others], None if std is None else std[others])
        own = 0.0 if std is None else std[i] ** 2
        variance = own + line.scatter**2 + _variance(line.covariance, valence[i])
        predicted[i] = line.coefficients @ (1.0, valence[i])
        half[i] = _quantile(0.95, line.degrees_of_freedom) * np.sqrt(variance)
        read[i] = (edge[i] - line.coefficients[0]) / line.coefficients[1] if line.coefficients[1] else np.nan
    return LeftOut(predicted, predicted - half, predicted + half, np.abs(edge - predicted) > half, read - valence)


def _variance(covariance: Array, valence: ArrayLike) -> Array:
    """Variance of a line at some valences, eV^2."""
    number = np.asarray(valence, dtype=np.float64)
    variance = covariance[0, 0] + 2 * covariance[0, 1] * number + covariance[1, 1] * number**2
    # rounding can take a variance of zero below it
    return np.asarray(np.maximum(variance, 0.0))


def _quantile(level: float, degrees_of_freedom: float) -> float:
    """Half width of a two-sided interval in standard deviations."""
    if not 0 < level < 1:
        raise MeasurementError("the level of an interval is a probability", expected="0 < level < 1", found=str(level))
    upper = 0.5 * (1 + level)
    return float(stdtrit(degrees_of_freedom, upper) if np.isfinite(degrees_of_freedom) else ndtri(upper))


def _share(probability: float) -> str:
    return f"{probability:.1g} of cases" if probability > 1e-6 else "less than one in a million cases"


def _remarks(edge: Array, valence: Array, std: Array | None, line: _Line, left_out: LeftOut) -> tuple[str, ...]:
    texts = list(_remarks_on_order(edge, valence))
    if std is None:
        texts.append(
            f"No uncertainties of the edges were stated; they scatter by {line.scatter:.2f} eV about the line."
        )
    elif line.scatter > 0:
        texts.append(
            f"The standards scatter by {line.scatter:.2f} eV about the line, more than their stated uncertainty "
            f"(chance gives this in {_share(line.probability)}); the scatter is part of every valence."
        )
    slope_std = float(np.sqrt(line.covariance[1, 1]))
    if abs(line.coefficients[1]) <= _quantile(0.95, line.degrees_of_freedom) * slope_std:
        texts.append(
            f"The slope, {line.coefficients[1]:.2f} eV per valence with an uncertainty of {slope_std:.2f}, is not "
            "significant: these standards do not give a valence."
        )
    if edge.size == 2:
        texts.append("Two standards always lie on a line: whether it is straight has not been tested.")
    texts.extend(
        f"Standard {i + 1} (valence {valence[i]:.3g}) lies at {edge[i]:.2f} eV, outside {left_out.lower[i]:.2f} "
        f"to {left_out.upper[i]:.2f} eV that the others predict."
        for i in np.flatnonzero(left_out.outside)
    )
    return tuple(texts)


def _remarks_on_order(edge: Array, valence: Array) -> list[str]:
    """Where a higher valence has the lower edge, from one valence to the next."""
    # standards of the same valence are one step of the ladder, at their mean
    steps = np.unique(valence)
    means = [float(edge[valence == step].mean()) for step in steps]
    direction = np.sign(means[-1] - means[0]) or 1.0
    return [
        f"The edge is not monotonic with valence: {low:.2f} eV at valence {a:.3g}, {high:.2f} eV at valence {b:.3g}. "
        "This definition of the edge does not order the standards; another one may."
        for (a, low), (b, high) in pairwise(zip(steps, means, strict=True))
        if (high - low) * direction <= 0
    ]
