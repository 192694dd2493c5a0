r"""Whether residuals are random: runs of signs, and likeness of neighbours with its exact first two moments.

Residuals r = M e of a linear fit to white noise e, M the projection that the fit leaves over, have the quotient
:math:`d = r' A r / r' r` with A the products of neighbours. Its mean and variance follow from traces of A M and its
square, whatever the noise is [1], so that a fit which has taken freedom from the residuals raises no false alarm. A
holds neighbours up to six places apart, :math:`\exp(-(k/3)^2)`: what is systematic spans several points.

References
----------
.. [1] J. Durbin, G. S. Watson, Biometrika 37 (1950) 409; 38 (1951) 159.
.. [2] A. Wald, J. Wolfowitz, Ann. Math. Stat. 11 (1940) 147 (runs).
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]

_WIDTH, _FARTHEST = 3.0, 6  # points


class Runs(NamedTuple):
    """Runs of equal signs: how many, how many random residuals would have, and the chance of so few."""

    number: int
    expected: float
    chance: float


def runs_of_signs(residual: Array) -> Runs:
    """Runs of equal signs among residuals in order, [point], by the normal approximation of Wald and Wolfowitz."""
    positive = residual > 0
    above, total = int(np.count_nonzero(positive)), residual.size
    below = total - above
    number = 1 + int(np.count_nonzero(positive[1:] != positive[:-1]))
    if not above or not below:
        return Runs(number, float("nan"), 2.0 ** (1 - total))
    expected = 1.0 + 2.0 * above * below / total
    variance = (expected - 1.0) * (expected - 2.0) / max(total - 1, 1)
    chance = float(ndtr((number + 0.5 - expected) / np.sqrt(variance))) if variance > 0 else 1.0
    return Runs(number, expected, chance)


def chance_of_neighbours(residual: Array, basis: Array) -> float:
    """The chance that neighbours of white noise are as alike as those of ``residual``, or more.

    Parameters
    ----------
    residual
        Of the real, then of the imaginary parts, in order, [2 x point].
    basis
        Orthonormal columns of the fit, [2 x point, column].
    """
    free = residual.size - basis.shape[1]
    square = float(residual @ residual)
    if free < 3 or square == 0.0:
        return 1.0
    products = _neighbours(residual.size // 2)
    projected = products - (products @ basis) @ basis.T
    trace, of_square = float(np.trace(projected)), float(np.sum(projected * projected.T))
    variance = 2.0 * (free * of_square - trace**2) / (free**2 * (free + 2))
    quotient = float(residual @ products @ residual) / square
    return float(ndtr(-(quotient - trace / free) / np.sqrt(variance))) if variance > 0 else 1.0


@cache
def _neighbours(points: int) -> Array:
    """A of the module's text, for real and imaginary parts, [2 x point, 2 x point]."""
    apart = np.abs(np.subtract.outer(np.arange(points), np.arange(points)))
    one = np.where((apart > 0) & (apart <= _FARTHEST), 0.5 * np.exp(-((apart / _WIDTH) ** 2)), 0.0)
    return np.asarray(np.kron(np.eye(2), one))
