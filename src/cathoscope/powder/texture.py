"""Preferred orientation in a powder: how many grains there are in reflecting position, over those without texture.

Both laws are one in the mean over all directions. A cylinder (capillary, can) or a flat plate that spins is meant: the
distribution has the sample's axis as axis of symmetry.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import eval_legendre, gammaln, lpmv

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import Dual, Graded, mapped
from cathoscope.powder.structure import reciprocal_matrix
from cathoscope.powder.symmetry import Symmetry, images
from cathoscope.powder.width import cosine2_to_axis

Array = NDArray[np.float64]

_HIGHEST = 20  # degree of harmonics beyond which a powder pattern tells nothing


@dataclass(frozen=True, eq=False)
class HarmonicBasis:
    """Spherical harmonics that the Laue class leaves unchanged, orthonormal on the sphere.

    Attributes
    ----------
    names
        "C2,1": degree, and number among those of this degree.
    degree
        [k], even, from 2 on.
    weights
        Of each on the real spherical harmonics of its degree, m = 0, 1 cos, 1 sin, 2 cos, ..., k arrays [2 degree + 1].
    axes
        Rows are a*, b*, c* in the frame with x along a and z along c*.
    """

    names: tuple[str, ...]
    degree: NDArray[np.int64]
    weights: tuple[Array, ...]
    axes: Array


def march_dollase(
    symmetry: Symmetry, hkl: ArrayLike, *, axis: ArrayLike, ratio: float | Graded, metric: ArrayLike | Dual
) -> Graded:
    """Texture of plates or needles, (n,): mean over the equivalents of (r^2 cos^2 phi + sin^2 phi / r)^-3/2.

    Dollase, J. Appl. Cryst. 19, 267 (1986), eq. 4. phi is the angle between reflection and ``axis``.

    Parameters
    ----------
    hkl
        Indices, [n, 3].
    axis
        Normal of the plates or along the needles, as indices hkl.
    ratio
        r: 1 is no texture; below 1 the axes point along the scattering vector more often.
    metric
        Reciprocal metric of the cell, [6].

    Raises
    ------
    MeasurementError
        If the axis is no direction.
    """
    if not np.any(np.asarray(axis)):
        raise MeasurementError("an axis of texture without direction", expected="hkl, such as 0 0 1", found="0 0 0")
    square = cosine2_to_axis(hkl=images(symmetry, hkl), axis=axis, metric=metric)
    total = (ratio * ratio) * square + (1.0 - square) * (1.0 / ratio)
    density: Graded = total**-1.5
    return _mean_of_rows(density)


def harmonic_basis(symmetry: Symmetry, metric: ArrayLike | Dual, order: int) -> HarmonicBasis:
    """The harmonics of even degree up to ``order`` that the Laue class of a crystal leaves unchanged.

    The mean of all rotated harmonics of one degree projects onto them; Gram-Schmidt from m = 0 on makes them
    orthonormal (Bunge, *Texture Analysis in Materials Science* (1982), section 14.2). The number of them and what they
    span is that of GSAS-II; signs, and mixtures within one degree, need not be.

    Raises
    ------
    MeasurementError
        If the order is odd, below 2 or above 20.
    """
    if order % 2 or not 2 <= order <= _HIGHEST:
        raise MeasurementError(
            "not an order of harmonics", expected=f"an even number from 2 to {_HIGHEST}", found=str(order)
        )
    axes = _axes(metric)
    names, degrees, weights = [], [], []
    for degree in range(2, order + 1, 2):
        for number, weight in enumerate(_invariant(symmetry, axes, degree), start=1):
            names.append(f"C{degree},{number}")
            degrees.append(degree)
            weights.append(weight)
    return HarmonicBasis(tuple(names), np.array(degrees, dtype=np.int64), tuple(weights), axes)


def harmonic_terms(basis: HarmonicBasis, hkl: ArrayLike, psi: float) -> Array:
    """What a unit of each coefficient adds to the texture of reflections, (n, k).

    4 pi / (2 L + 1) k_L(h) k_L(y) with orthonormal k, that of the sample being P_L(cos psi) ((2 L + 1) / 4 pi)^1/2.

    Parameters
    ----------
    psi
        Angle between the scattering vector and the axis of the sample, deg: 90 for a capillary across the plane of
        scattering, 0 for a flat plate in reflection.
    """
    values = basis_values(basis, np.asarray(hkl, dtype=np.float64) @ basis.axes)
    legendre = eval_legendre(basis.degree, np.cos(np.radians(psi)))
    terms: Array = values * legendre * np.sqrt(4 * np.pi / (2 * basis.degree + 1))
    return terms


def texture_from_harmonics(*, terms: ArrayLike, coefficients: ArrayLike | Dual) -> Graded:
    """Texture of reflections, (n,): 1 + sum of coefficients (k,) times ``terms`` of `harmonic_terms`."""
    return mapped(terms, coefficients) + 1.0


def basis_values(basis: HarmonicBasis, directions: ArrayLike) -> Array:
    """The harmonics in directions (n, 3) of the frame of the basis, of any length, (n, k)."""
    vectors = np.asarray(directions, dtype=np.float64)
    out = np.empty((len(vectors), len(basis.degree)))
    for degree in np.unique(basis.degree):
        of_degree = np.flatnonzero(basis.degree == degree)
        out[:, of_degree] = _harmonics(int(degree), vectors) @ np.array([basis.weights[one] for one in of_degree]).T
    return out


def _invariant(symmetry: Symmetry, axes: Array, degree: int) -> list[Array]:
    """Orthonormal invariant combinations of the 2 degree + 1 real harmonics."""
    golden = np.pi * (3 - np.sqrt(5)) * np.arange(8 * degree + 20)  # directions spread over the sphere
    height = 1 - 2 * (np.arange(golden.size) + 0.5) / golden.size
    ring = np.sqrt(1 - height**2)
    spread = np.column_stack([ring * np.cos(golden), ring * np.sin(golden), height])
    indices = np.linalg.solve(axes.T, spread.T).T
    turned = np.einsum("ni,gij,jk->gnk", indices, symmetry.laue_rotations.astype(np.float64), axes)
    mean = np.mean([_harmonics(degree, one) for one in turned], axis=0)
    projector = np.linalg.lstsq(_harmonics(degree, spread), mean, rcond=None)[0]
    found: list[Array] = []
    for column in projector.T:
        rest = column - sum((one * (one @ column) for one in found), np.zeros_like(column))
        if np.linalg.norm(rest) > 1e-6:
            found.append(rest / np.linalg.norm(rest))
    return found


def _harmonics(degree: int, vectors: Array) -> Array:
    """Real orthonormal spherical harmonics m = 0, 1 cos, 1 sin, ... in directions (n, 3), (n, 2 degree + 1)."""
    cosine = vectors[:, 2] / np.linalg.norm(vectors, axis=1)
    azimuth = np.arctan2(vectors[:, 1], vectors[:, 0])
    out = np.empty((len(vectors), 2 * degree + 1))
    for m in range(degree + 1):
        norm = np.sqrt((2 * degree + 1) / (4 * np.pi) * np.exp(gammaln(degree - m + 1) - gammaln(degree + m + 1)))
        polar = norm * lpmv(m, degree, np.clip(cosine, -1, 1))
        if not m:
            out[:, 0] = polar
            continue
        out[:, 2 * m - 1] = np.sqrt(2) * polar * np.cos(m * azimuth)
        out[:, 2 * m] = np.sqrt(2) * polar * np.sin(m * azimuth)
    return out


def _axes(metric: ArrayLike | Dual) -> Array:
    """Rows a*, b*, c* in the frame with x along a and z along c*."""
    direct = np.linalg.cholesky(np.linalg.inv(reciprocal_matrix(metric))).T  # columns a, b, c
    return np.linalg.inv(direct)


def _mean_of_rows(x: Graded) -> Graded:
    """Mean over axis 1."""
    if isinstance(x, Dual):
        return Dual(x.value.mean(axis=1), x.slope.mean(axis=1))
    mean: Array = x.mean(axis=1)
    return mean
