"""Values and slopes of a noisy curve by polynomials fitted in a window around each place.

The estimate at a place is linear in the data, so its weights are made once for a grid of places: noise then goes
through them as the data do. The windows have the weights (1 - u^2)^2 of their distance u in half-widths, and are
one-sided at the ends.

References
----------
.. [1] J. Fan, I. Gijbels, Local Polynomial Modelling and Its Applications (1996), sections 3.1 and 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.spread import robust_std_about_median

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LocalPolynomial:
    """Weights of the data in values and slopes at places.

    Attributes
    ----------
    places
        (place,), ascending.
    value, slope
        Sparse, [place, datum]; slope is per unit of x.
    """

    places: Floats
    value: csr_matrix
    slope: csr_matrix


def local_polynomial(x: Floats, places: Floats, half_width: float, *, order: int = 3) -> LocalPolynomial:
    """Weights for data at ``x``, ascending, (datum,); ``half_width`` of the window in units of x.

    Raises
    ------
    MeasurementError
        If a window holds too few data for the order, or x does not ascend.
    """
    if x.size < order + 2 or not (np.diff(x) >= 0).all() or not half_width > 0:
        raise MeasurementError(
            "no curve to be smoothed",
            expected=f"{order + 2} points or more of ascending place, a positive width",
            found=f"{x.size} points, width {half_width:g}",
        )
    first = np.searchsorted(x, places - half_width, side="left")
    last = np.searchsorted(x, places + half_width, side="right")
    few = np.flatnonzero(last - first < order + 2)
    if few.size:
        raise MeasurementError(
            "too few points in a window",
            expected=f"{order + 2} points within {half_width:g} of {places[few[0]]:g}",
            found=str(int((last - first)[few[0]])),
            cure="widen the smoothing",
        )
    value, slope = [], []
    for place, a, b in zip(places, first, last, strict=True):
        u = (x[a:b] - place) / half_width
        weight = (1.0 - u * u) ** 2 + 1e-9
        powers = u[:, None] ** np.arange(order + 1)
        normal = powers.T @ (weight[:, None] * powers)
        solved = np.linalg.solve(normal, (weight[:, None] * powers).T)
        value.append(solved[0])
        slope.append(solved[1] / half_width)
    ends = np.concatenate([[0], np.cumsum(last - first)])
    columns = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
    made = [csr_matrix((np.concatenate(part), columns, ends), shape=(places.size, x.size)) for part in (value, slope)]
    return LocalPolynomial(places, *made)


@dataclass(frozen=True)
class Noise:
    """Noise of evenly taken data: standard deviation, and correlation of neighbours (autoregressive, first order)."""

    std: float
    correlation: float

    def drawn(self, size: int, count: int, rng: np.random.Generator) -> Floats:
        """Noise [datum, repetition]."""
        white = rng.standard_normal((size, count))
        rho = self.correlation
        if rho == 0.0:
            return np.asarray(self.std * white)
        from scipy.signal import lfilter

        white[1:] *= np.sqrt(1.0 - rho**2)
        return np.asarray(self.std * lfilter([1.0], [1.0, -rho], white, axis=0))


def noise_of(residual: Floats) -> Noise:
    """Noise from what smoothing leaves, robustly: deviations and those of differences by their medians.

    A correlation of neighbours rho makes the variance of differences 2 (1 - rho) times that of values.
    """
    spread = robust_std_about_median(residual)
    steps = np.diff(residual)
    jump = robust_std_about_median(steps) if steps.size else 0.0
    if spread == 0.0:
        return Noise(0.0, 0.0)
    return Noise(spread, float(np.clip(1.0 - 0.5 * (jump / spread) ** 2, 0.0, 0.98)))
