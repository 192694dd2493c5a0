"""Absorption of solutions: blank taken off, mean over a band with its uncertainty, and what is saturated.

Absorbance is decadic; noise of the detector grows as 10^A, so that what is above 2 to 3 tells little and is flagged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.numerics.spread import SECOND_DIFFERENCE, robust_std

Floats = NDArray[np.float64]

SATURATED = 2.5
"""Absorbance above which 0.3 % of the light comes through, less than stray light of many spectrophotometers."""
_FLAT = 3.0


@dataclass(frozen=True)
class BandAbsorbance:
    """Mean absorbance of a band of wavelengths.

    Attributes
    ----------
    mean
        Noise in ``std``; the level of the baseline in ``systematic``.
    saturated
        Share of the band that is saturated; a lower bound is all that ``mean`` is then.
    baseline
        What was taken off, from wavelengths at which nothing absorbs.
    """

    mean: Estimate
    saturated: float
    baseline: Estimate


def band_absorbance(
    wavelength: ArrayLike,
    absorbance: ArrayLike,
    *,
    band: tuple[float, float] = (400.0, 600.0),
    baseline: tuple[float, float] | None = None,
    blank: tuple[ArrayLike, ArrayLike] | None = None,
) -> BandAbsorbance:
    """Mean absorbance over ``band`` (nm) of a spectrum, (point,), ascending wavelengths.

    ``blank`` holds wavelength and absorbance of the solvent alone; ``baseline``, wavelengths of no absorption.

    Raises
    ------
    MeasurementError
        If the spectrum, or the blank, does not span the band.
    """
    x, y = _sound(wavelength, absorbance)
    inside = (x >= band[0]) & (x <= band[1])
    if np.count_nonzero(inside) < 5 or x[0] > band[0] or x[-1] < band[1]:
        raise MeasurementError(
            "the spectrum does not span the band",
            expected=f"{band[0]:g} to {band[1]:g} nm in 5 points or more",
            found=f"{x[0]:g} to {x[-1]:g} nm, {np.count_nonzero(inside)} points within",
        )
    saturated = float(np.mean(y[inside] > SATURATED))
    noise = _noise(y[inside])
    if blank is not None:
        bx, by = _sound(*blank)
        if bx[0] > band[0] or bx[-1] < band[1]:
            raise MeasurementError(
                "the blank does not span the band",
                expected=f"{band[0]:g} to {band[1]:g} nm",
                found=f"{bx[0]:g} to {bx[-1]:g} nm",
            )
        y = y - np.interp(x, bx, by)
        noise = float(np.hypot(noise, _noise(by[(bx >= band[0]) & (bx <= band[1])])))
    level = _level(x, y, baseline)
    mean = float(np.trapezoid(y[inside], x[inside]) / np.ptp(x[inside])) - level.value
    return BandAbsorbance(
        Estimate(mean, noise / float(np.sqrt(np.count_nonzero(inside))), level.total), saturated, level
    )


def _sound(wavelength: ArrayLike, absorbance: ArrayLike) -> tuple[Floats, Floats]:
    x, y = np.asarray(wavelength, dtype=np.float64), np.asarray(absorbance, dtype=np.float64)
    good = np.isfinite(x) & np.isfinite(y)
    order = np.argsort(x[good])
    return x[good][order], y[good][order]


def _noise(y: Floats) -> float:
    """From second differences, which a smooth spectrum has next to none of; their variance is 6 times that of y."""
    second = np.diff(y, 2)
    return robust_std(second) / SECOND_DIFFERENCE if second.size else 0.0


def _level(x: Floats, y: Floats, baseline: tuple[float, float] | None) -> Estimate:
    """Mean where nothing absorbs; its uncertainty holds what is not flat there."""
    if baseline is None:
        return Estimate(0.0)
    part = y[(x >= baseline[0]) & (x <= baseline[1])]
    if part.size < 3:
        raise MeasurementError(
            "no point lies in the baseline",
            expected=f"3 or more from {baseline[0]:g} to {baseline[1]:g} nm",
            found=str(part.size),
        )
    return Estimate(float(part.mean()), float(part.std(ddof=1) / np.sqrt(part.size)), float(np.ptp(part) / _FLAT))
