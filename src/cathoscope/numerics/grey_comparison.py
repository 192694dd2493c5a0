"""How the grey values of two volumes compare: gain, offset, robust scatter, weights and correlation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cathoscope.numerics.spread import MAD_TO_STD

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Grey:
    """fixed = gain moved + offset, with residuals of the robust standard deviation ``spread`` (0: not known yet)."""

    gain: float = 1.0
    offset: float = 0.0
    spread: float = 0.0

    def residual(self, fixed: Float32Array, moved: Float32Array) -> Float64Array:
        """What is left; zero where ``moved`` is NaN."""
        return np.nan_to_num(fixed.astype(np.float64) - self.gain * moved - self.offset)

    def weights(self, residual: Float64Array, huber: float) -> Float64Array:
        """Huber's weights of residuals; ``huber`` in standard deviations."""
        if self.spread <= 0:
            return np.ones_like(residual)
        return np.minimum(1.0, huber * self.spread / np.maximum(np.abs(residual), 1e-300))

    def matched(self, fixed: Float32Array, moved: Float32Array, huber: float) -> Grey:
        """Gain, offset and spread from moments weighted as the present ones say.

        The gain is the ratio of the standard deviations: with equal noise in both it is not attenuated, as a
        regression would be.
        """
        found = Moments.of(fixed, moved, self.weights(self.residual(fixed, moved), huber)).matched()
        good = np.isfinite(moved)
        left = np.abs(fixed[good].astype(np.float64) - found.gain * moved[good] - found.offset)
        return found.with_spread(left, float(np.abs(fixed).max()))

    def with_spread(self, left: NDArray[np.floating], largest: float) -> Grey:
        """The same with the spread of what is ``left`` (absolute values, put into another order; NaN does not count).

        It is not taken below 1e-7 of the ``largest`` value, which is where rounding begins.
        """
        count = left.size - int(np.count_nonzero(np.isnan(left)))
        middle = [(count - 1) // 2, count // 2]
        left.partition(middle)  # NaN comes last
        spread = MAD_TO_STD * float(left[middle].mean(dtype=np.float64))
        return replace(self, spread=max(spread, 1e-7 * largest))


@dataclass(frozen=True)
class Moments:
    """Sum of weights, means of two values, and sums of their squared deviations and of the product of these."""

    weight: float = 0.0
    means: Float64Array = field(default_factory=lambda: np.zeros(2))
    products: Float64Array = field(default_factory=lambda: np.zeros((2, 2)))

    @classmethod
    def of(cls, first: Float32Array, second: Float32Array, weight: Float64Array | None = None) -> Moments:
        """Of values where both are finite, all of one weight without ``weight``."""
        good = np.isfinite(first) & np.isfinite(second)
        values = np.stack([first[good], second[good]]).astype(np.float64)
        weights = np.ones(values.shape[1]) if weight is None else weight[good]
        total = float(weights.sum())
        means = values @ weights / max(total, 1e-300)
        values -= means[:, None]
        return cls(total, means, (values * weights) @ values.T)

    def __add__(self, other: Moments) -> Moments:
        """Of both sets of values together."""
        total = self.weight + other.weight
        apart, share = other.means - self.means, other.weight / max(total, 1e-300)
        between = self.weight * share * np.outer(apart, apart)
        return Moments(total, self.means + share * apart, self.products + other.products + between)

    def matched(self) -> Grey:
        """Gain and offset that give the second values the mean and the standard deviation of the first."""
        gain = float(np.sqrt(self.products[0, 0] / max(self.products[1, 1], 1e-300)))
        return Grey(gain, float(self.means[0] - gain * self.means[1]))

    @property
    def correlation(self) -> float:
        """Pearson's; 0 for fewer than 10 values."""
        if self.weight < 10:
            return 0.0
        sizes = float(self.products[0, 0] * self.products[1, 1])
        return float(self.products[0, 1] / max(np.sqrt(sizes), 1e-300))


def correlation(first: Float32Array, second: Float32Array) -> float:
    """Pearson's, where both are finite; 0 where fewer than 10 are."""
    return Moments.of(first, second).correlation
