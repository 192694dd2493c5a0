"""An impedance spectrum as the analyses want it: checked, and in the order of falling frequency."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

_MOSTLY = 0.8  # share of points above zero that tells a wrong sign of the imaginary part


class Spectrum(NamedTuple):
    """Frequencies (Hz), falling, and impedances (ohm), both [point]."""

    frequency: Array
    impedance: ComplexArray

    @property
    def omega(self) -> Array:
        """Angular frequency, rad/s."""
        return 2.0 * np.pi * self.frequency


def checked_spectrum(frequency: ArrayLike, impedance: ArrayLike, *, fewest: int = 3) -> Spectrum:
    """The points of a spectrum by falling frequency, repeated ones kept.

    Parameters
    ----------
    frequency
        Hz, [point].
    impedance
        ohm, complex, [point]; the imaginary part of a capacitor is below zero.
    fewest
        Points that the analysis needs.

    Raises
    ------
    MeasurementError
        If there are too few points, values that are no numbers, frequencies of zero or below, or an imaginary part
        of the wrong sign.
    """
    hertz, ohm = np.asarray(frequency, dtype=np.float64), np.asarray(impedance, dtype=np.complex128)
    if hertz.ndim != 1 or hertz.shape != ohm.shape or hertz.size < fewest:
        raise MeasurementError(
            "too few points for an impedance spectrum" if hertz.shape == ohm.shape else "the spectrum has two lengths",
            expected=f"{fewest} frequencies or more, and as many impedances",
            found=f"{hertz.size} frequencies, {ohm.size} impedances",
        )
    if not np.isfinite(ohm).all() or not (hertz > 0).all() or not np.isfinite(hertz).all():
        raise _not_numbers(hertz, ohm)
    if np.any(hertz[1:] > hertz[:-1]):
        order = np.argsort(-hertz, kind="stable")
        hertz, ohm = hertz[order], ohm[order]
    above = ohm.imag > 0
    if np.count_nonzero(above) > _MOSTLY * hertz.size and above[hertz.size // 2 :].all():
        raise MeasurementError(
            "the imaginary part is above zero, as of an inductor, down to the lowest frequency",
            expected="the imaginary part of the impedance, below zero for a capacitor",
            found=f"{np.count_nonzero(above)} of {hertz.size} points above zero",
            cure="change its sign if the file holds -Im(Z)",
        )
    return Spectrum(hertz, ohm)


def _not_numbers(hertz: Array, ohm: ComplexArray) -> MeasurementError:
    bad = np.flatnonzero(~np.isfinite(ohm) | ~np.isfinite(hertz) | ~(hertz > 0))
    low = np.count_nonzero(hertz <= 0)
    return MeasurementError(
        f"{low} of {hertz.size} frequencies are zero or below" if low else "points of the spectrum are no numbers",
        expected="frequencies above zero in Hz, finite impedances in ohm",
        found=f"point {bad[0] + 1}: {hertz[bad[0]]:g} Hz, {ohm[bad[0]]:g} ohm",
        cure="leave these points out",
    )
