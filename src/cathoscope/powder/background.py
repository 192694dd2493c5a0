"""What lies under the peaks: functions of the point, with coefficients that a refinement finds.

Backgrounds are matrices [point, coefficient]: a background is the matrix times its coefficients, and the matrix is its
derivative.

Scales: on which measure of x functions are even, x itself (us or deg), log x, or 1/x. Peaks of time of flight crowd at
short times, where the inverse scale gives a background more freedom.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError

Array = NDArray[np.float64]
Scale = Literal["linear", "log", "inverse"]


def chebyshev_basis(
    *, x: ArrayLike, count: int, span: tuple[float, float] | None = None, scale: Scale = "linear"
) -> Array:
    """Chebyshev polynomials of the first kind T_0 ... T_(count - 1) at ``x`` (m,): [m, count].

    T_k(u) = cos(k arccos u), u in -1 to 1 from the first to the last value of ``span``, by default of x. Outside of the
    span, where polynomials run away, they are those of the nearest end.
    """
    points = _scaled(np.asarray(x, dtype=np.float64), scale)
    low, high = (points[0], points[-1]) if span is None else _scaled(np.array(span, dtype=np.float64), scale)
    if count < 1 or low == high:
        raise MeasurementError(
            "no background can be made",
            expected="one coefficient or more, and points at two places or more",
            found=f"{count} coefficients from {low:g} to {high:g}",
        )
    u = np.clip((2 * points - low - high) / (high - low), -1, 1)
    return np.asarray(np.cos(np.arange(count) * np.arccos(u)[:, None]))


def _scaled(x: Array, scale: Scale) -> Array:
    if scale == "linear":
        return x
    if np.any(x <= 0):
        raise MeasurementError(
            f"a background on the {scale} scale needs points above zero",
            expected="x above 0",
            found=f"x down to {x.min():g}",
            cure='use the scale "linear", or leave the points out',
        )
    return np.asarray(np.log(x) if scale == "log" else 1 / x)
