"""A field that hangs together in space: how far, and how well a line through it is known.

Neighbouring voxels tell nearly the same, so that n voxels are worth far fewer. What a regression leaves of the field,

    e = y - X b,      E[e e'] = M S M,      M = 1 - X (X'X)^-1 X',

is correlated less and over shorter distances than the field itself, because X has taken its long waves. The covariance
S is therefore not read off the residuals: it is the sum of given functions of distance (uncorrelated noise,
exponentials and Gaussians of several lengths) whose weights, none below zero, make the *expected* covariance of the
residuals, M S M averaged over directions, that of the residuals found. Then the covariance of b is exact for this grid:

    cov(b) = (X'X)^-1 X' S X (X'X)^-1

All sums over pairs of cells are products of Fourier transforms, padded with zeros.

References
----------
.. [1] P. J. Diggle, P. J. Ribeiro, Model-based Geostatistics, Springer 2007 (bias of residual variograms).
.. [2] F. E. Satterthwaite, Biometrics Bull. 2 (1946) 110 (degrees of freedom of an estimated variance).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfftn, next_fast_len, rfftn
from scipy.optimize import nnls

from cathoscope.core.errors import MeasurementError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_EXPONENTIAL = (1.0, 2.0, 4.0, 8.0)  # cells, to exp(-1)
_GAUSSIAN = (1.5, 3.0, 6.0)


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells of a particle on a cubic lattice, ``inside`` [z, y, x]; values are in the order of ``inside``."""

    inside: Mask

    @property
    def count(self) -> int:
        """Number of cells."""
        return int(self.inside.sum())

    @cached_property
    def _padded(self) -> tuple[int, ...]:
        return tuple(next_fast_len(2 * size - 1, real=True) for size in self.inside.shape)

    def transform(self, values: ArrayLike) -> NDArray[np.complexfloating]:
        """Fourier transform of values of the cells, zero elsewhere."""
        volume = np.zeros(self.inside.shape)
        volume[self.inside] = values
        return np.asarray(rfftn(volume, self._padded))

    def back(self, transformed: NDArray[np.complexfloating]) -> Array:
        """The field of a transform, with room for all lags."""
        return np.asarray(irfftn(transformed, self._padded))

    def at_cells(self, transformed: NDArray[np.complexfloating]) -> Array:
        """The field of a transform at the cells."""
        return np.asarray(self.back(transformed)[tuple(slice(0, size) for size in self.inside.shape)][self.inside])

    @cached_property
    def lag(self) -> Array:
        """Length of every lag, in cells."""
        axes = [np.minimum(np.arange(size), size - np.arange(size)).astype(np.float64) for size in self._padded]
        return np.sqrt(axes[0][:, None, None] ** 2 + axes[1][None, :, None] ** 2 + axes[2][None, None, :] ** 2)

    @cached_property
    def shell(self) -> NDArray[np.intp]:
        """Lag of every place in whole cells; what is longer than half of the particle is not looked at: -1."""
        longest = max(min(self.inside.shape) // 2, 2)
        whole = np.rint(self.lag).astype(np.intp)
        return np.where(whole <= longest, whole, -1)

    def over_shells(self, lagged: Array) -> Array:
        """Sums over all lags of a length."""
        chosen = self.shell >= 0
        return np.asarray(np.bincount(self.shell[chosen], lagged[chosen]), np.float64)

    @cached_property
    def pairs(self) -> Array:
        """Pairs of cells at every length."""
        return self.over_shells(self.back(np.abs(self.transform(np.ones(self.count))) ** 2))

    @cached_property
    def functions(self) -> list[tuple[Array, Array]]:
        """The functions of distance a covariance is made of, on all lags, and their transforms."""
        found = [(self.lag == 0).astype(np.float64)]
        found += [np.exp(-self.lag / length) for length in _EXPONENTIAL]
        found += [np.exp(-((self.lag / length) ** 2)) for length in _GAUSSIAN]
        return [(one, np.asarray(rfftn(one).real)) for one in found]

    def quadratic(self, values: Array) -> Array:
        """``a' S_k a`` for every function k of the covariance."""
        power = np.abs(self.transform(values)) ** 2
        twice = np.full(power.shape[-1], 2.0)  # the half that a real transform leaves out
        twice[0] = 1.0
        if self._padded[-1] % 2 == 0:
            twice[-1] = 1.0
        weighted = power * twice / float(np.prod(self._padded))
        return np.array([float(np.sum(weighted * spectrum)) for _, spectrum in self.functions])


@dataclass(frozen=True, eq=False)
class Line:
    """A regression with what is known of it.

    Attributes
    ----------
    value, std
        Coefficients and their standard uncertainties, the constant first.
    freedom
        Degrees of freedom of the uncertainties: independent cells less coefficients, 1 at least.
    weights
        Of the functions that the covariance is made of.
    length
        Distance, in cells, at which the correlation of the field without its uncorrelated part is 1/e.
    """

    value: Array
    std: Array
    freedom: float
    weights: Array
    length: float


@dataclass(frozen=True, eq=False)
class Design:
    """Variables on cells, with what their residuals' covariance is expected to be for every function."""

    cells: Cells
    columns: Array
    inverse: Array
    expected: Array  # [shell, function]
    spread: Array  # [coefficient, function]: variance of a coefficient

    @classmethod
    def of(cls, cells: Cells, columns: Array) -> Design:
        """Of columns (cell, coefficient) of full rank, the constant among them."""
        q, r = np.linalg.qr(columns)
        inverse = np.linalg.inv(r)
        spread = np.array([cells.quadratic(q @ row) for row in inverse])
        return cls(cells, columns, inverse @ q.T, _expected(cells, q), spread)


def _expected(cells: Cells, q: Array) -> Array:
    """Sums of ``M S_k M`` over pairs of every length, over the pairs; q spans the variables, orthonormal."""
    transforms = [cells.transform(column) for column in q.T]
    inside = cells.back(np.abs(cells.transform(np.ones(cells.count))) ** 2)
    found = []
    for function, spectrum in cells.functions:
        spread = np.column_stack([cells.at_cells(one * spectrum) for one in transforms])
        between = q.T @ spread
        # -P S - S P + P S P = -Q (S Q - Q Q'SQ / 2)' - transpose
        halves = spread - 0.5 * q @ between
        crossed = sum(
            (np.conj(one) * cells.transform(half)).real for one, half in zip(transforms, halves.T, strict=True)
        )
        lagged = inside * function - 2.0 * cells.back(np.asarray(crossed))
        found.append(cells.over_shells(lagged) / cells.pairs)
    return np.array(found).T


def through_design(design: Design, values: Array) -> Line:
    """Least squares of values on a design that may serve several values."""
    cells = design.cells
    coefficients = design.inverse @ values
    residual = values - design.columns @ coefficients
    found = cells.over_shells(cells.back(np.abs(cells.transform(residual)) ** 2)) / cells.pairs
    scale = float(found[0])
    if scale <= 1e-20 * float(np.mean(values**2)):
        raise MeasurementError("the values lie on a line exactly", found="no residual")
    weight = np.sqrt(cells.pairs)
    weights = nnls(design.expected * weight[:, None], found / scale * weight)[0] * scale
    std = np.sqrt(design.spread @ weights)
    freedom = _independent(cells, weights) - design.columns.shape[1]
    return Line(coefficients, std, max(freedom, 1.0), weights, _length(cells, weights))


def _independent(cells: Cells, weights: Array) -> float:
    """(tr S)^2 / tr S^2: independent cells of the same variance [2]."""
    covariance = sum(weight * function for weight, (function, _) in zip(weights, cells.functions, strict=True))
    inside = cells.back(np.abs(cells.transform(np.ones(cells.count))) ** 2)
    trace = cells.count * float(weights.sum())
    return trace**2 / float(np.sum(np.asarray(covariance) ** 2 * inside))


def _length(cells: Cells, weights: Array) -> float:
    """Where the correlated part has fallen to 1/e; 0 without one."""
    if weights[1:].sum() <= 0:
        return 0.0
    r = np.linspace(0.0, 40.0, 4001)
    curves = [np.exp(-r / one) for one in _EXPONENTIAL] + [np.exp(-((r / one) ** 2)) for one in _GAUSSIAN]
    curve = np.asarray(sum(w * one for w, one in zip(weights[1:], curves, strict=True)))
    return float(r[np.argmax(curve <= curve[0] / np.e)])
