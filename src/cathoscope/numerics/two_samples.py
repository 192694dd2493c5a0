"""Two samples of few units compared: how well their scatter is known, and the size of an effect set right for it.

References
----------
.. [1] B. L. Welch, Biometrika 34 (1947) 28; F. E. Satterthwaite, Biometrics Bull. 2 (1946) 110.
.. [2] L. V. Hedges, J. Educ. Stat. 6 (1981) 107.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special


def welch_freedom(variances: ArrayLike, freedoms: ArrayLike) -> NDArray[np.float64]:
    """Degrees of freedom of a sum of ``variances`` (part, ...), each known with its ``freedoms`` (part, ...) [1]_.

    f = (sum V)² / sum (V² / f). NaN where nothing varies.
    """
    parts, known = np.asarray(variances, dtype=np.float64), np.asarray(freedoms, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(parts.sum(axis=0) ** 2 / (parts**2 / known).sum(axis=0))


def hedges_factor(freedom: float) -> float:
    """Hedges' J: makes a difference over an estimated spread unbiased [2]_; NaN for one degree of freedom.

    J(f) = Gamma(f/2) / (sqrt(f/2) Gamma((f - 1)/2)).
    """
    if freedom < 2:
        return float("nan")
    log = special.gammaln(freedom / 2) - special.gammaln((freedom - 1) / 2)
    return float(np.exp(log) / np.sqrt(freedom / 2))
