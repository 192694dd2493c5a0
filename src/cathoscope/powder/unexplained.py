"""Peaks that no phase explains: what is left of a pattern, looked through with the width of the instrument.

At every point the residual is fitted by a peak of the width that the bank alone would give, and of two and four times
that. Where its area is more than 5 standard uncertainties, it is listed, unless it is the misfit of a peak nearby that
is explained: residuals that are small against such a peak are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.bank import Bank
from cathoscope.powder.model import Pattern, spacings_of
from cathoscope.powder.resolution import full_width
from cathoscope.powder.width import EIGHT_LN2

Array = NDArray[np.float64]

_SIGMAS = 5.0
_WIDTHS = (1.0, 2.0, 4.0)
_MISFIT = 0.12  # of an explained peak nearby: what its misfit may be
_REACH = 3.0  # full widths to either side in which a peak is nearby
_MOST = 20  # peaks of one pattern
_SAME = 0.004  # of the spacing: peaks of different temperatures that are one


@dataclass(frozen=True)
class Unexplained:
    """A peak: its spacing (A, by the file of the bank), and its area over the uncertainty of that."""

    spacing: float
    strength: float


def full_widths(bank: Bank, x: Array) -> Array:
    """Full widths at half maximum (us or deg) that peaks of the bank alone have at points x (m,), about."""
    step = np.gradient(x) if x.size > 1 else np.ones(x.size)
    low = 0.1 + bank.values["zero"] if bank.kind == "cw" else -np.inf
    return np.asarray(np.maximum(full_width(bank, spacings_of(bank, np.maximum(x, low))), 2 * step))


def unexplained_peaks(pattern: Pattern, difference: Array, peaks: Array, std: Array) -> list[Unexplained]:
    """Peaks in what is left of a pattern, the strongest first.

    Parameters
    ----------
    pattern
        The pattern.
    difference, peaks, std
        Observed minus calculated, calculated without background, and standard uncertainty, at the used points.
    """
    x = pattern.x[pattern.used]
    width = full_widths(pattern.bank, x)
    strength, height = _best_match(x, difference, std, width)
    around = _largest_around(x, peaks, _REACH * width)
    listed = (strength > _SIGMAS) & (height > _MISFIT * around)
    found: list[Unexplained] = []
    taken = np.zeros(x.size, dtype=np.bool_)
    for place in np.argsort(-strength):
        if not listed[place] or len(found) == _MOST:
            break
        if not taken[place]:
            found.append(Unexplained(float(spacings_of(pattern.bank, x[place : place + 1])[0]), float(strength[place])))
            taken |= np.abs(x - x[place]) < 2 * _REACH * width[place]
    return found


def _best_match(x: Array, difference: Array, std: Array, width: Array) -> tuple[Array, Array]:
    """Area over its uncertainty, and height, of the best of the peaks at every point."""
    strength, height = np.zeros(x.size), np.zeros(x.size)
    for factor in _WIDTHS:
        sigma = factor * width / np.sqrt(EIGHT_LN2)
        first, last = np.searchsorted(x, x - 3 * sigma), np.searchsorted(x, x + 3 * sigma)
        reach = int((last - first).max())
        index = np.minimum(first[:, None] + np.arange(reach), x.size - 1)
        inside = first[:, None] + np.arange(reach) < last[:, None]
        shape = np.where(inside, np.exp(-0.5 * ((x[index] - x[:, None]) / sigma[:, None]) ** 2), 0.0) / std[index]
        norm = np.sqrt(np.sum(shape**2, axis=1))
        match = np.sum(shape * (difference / std)[index], axis=1) / np.maximum(norm, 1e-300)
        better = match > strength
        strength = np.where(better, match, strength)
        height = np.where(better, match / np.maximum(norm, 1e-300), height)
    return strength, height


def _largest_around(x: Array, values: Array, reach: Array) -> Array:
    """The largest of the values within ``reach`` of every point."""
    first, last = np.searchsorted(x, x - reach), np.searchsorted(x, x + reach, side="right")
    return np.array([values[a:b].max() for a, b in zip(first, last, strict=True)])


@dataclass(frozen=True)
class Series:
    """One unexplained peak through a series.

    Attributes
    ----------
    spacing, strength
        Where it is strongest.
    where
        Number of that temperature.
    bank
        Number of the bank.
    count
        Temperatures at which it is seen.
    """

    spacing: float
    strength: float
    where: int
    bank: int
    count: int


def through_series(peaks: Sequence[Sequence[Sequence[Unexplained]]]) -> list[Series]:
    """Peaks [temperature][bank] of like spacing in one bank taken as one, the strongest first."""
    flat = [(one, where, bank) for where, row in enumerate(peaks) for bank, found in enumerate(row) for one in found]
    flat.sort(key=lambda each: -each[0].strength)
    series: list[Series] = []
    seen: dict[int, set[int]] = {}
    for one, where, bank in flat:
        for number, other in enumerate(series):
            if other.bank == bank and abs(one.spacing / other.spacing - 1) < _SAME:
                seen[number].add(where)
                break
        else:
            seen[len(series)] = {where}
            series.append(Series(one.spacing, one.strength, where, bank, 0))
    return [
        Series(one.spacing, one.strength, one.where, one.bank, len(seen[number])) for number, one in enumerate(series)
    ]
