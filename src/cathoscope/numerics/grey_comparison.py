"""How the grey values of two volumes compare: gain, offset, robust scatter, weights and correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cathoscope.numerics.spread import robust_std

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
        good = np.isfinite(moved)
        first, second = fixed[good].astype(np.float64), moved[good].astype(np.float64)
        weight = self.weights(first - self.gain * second - self.offset, huber)
        weight /= weight.sum()
        mean_first, mean_second = float(weight @ first), float(weight @ second)
        variances = float(weight @ (first - mean_first) ** 2), float(weight @ (second - mean_second) ** 2)
        gain = float(np.sqrt(variances[0] / max(variances[1], 1e-300)))
        offset = mean_first - gain * mean_second
        spread = robust_std(first - gain * second - offset)
        return Grey(gain, offset, max(spread, 1e-7 * float(np.abs(fixed).max())))


def correlation(first: Float32Array, second: Float32Array) -> float:
    """Pearson's, where both are finite; 0 where fewer than 10 are."""
    good = np.isfinite(first) & np.isfinite(second)
    if good.sum() < 10:
        return 0.0
    a, b = (values[good] - values[good].mean(dtype=np.float64) for values in (first, second))
    return float(a @ b / max(float(np.sqrt((a @ a) * (b @ b))), 1e-300))
