"""Peaks followed along a series without a phase: each temperature starts where its neighbour ended.

A track begins where the peaks stand out most and goes to both ends from there. Where a peak no longer stands out, its
area is measured where the last one was, so that of a peak that is not there it is zero within its uncertainty.
"""

from __future__ import annotations

from collections.abc import Sequence

from cathoscope.powder.peaks import Cut, Group, PeakFit, Shape, fit_peaks, start_shape


def follow_peaks(cuts: Sequence[Cut | None]) -> list[PeakFit | None]:
    """Peaks of one group in the windows of a series; None where there is no window."""
    windows = {number: cut for number, cut in enumerate(cuts) if cut is not None}
    starts = {number: start_shape(cut) for number, cut in windows.items()}
    known, found = list(windows), list[PeakFit | None]([None] * len(cuts))
    if not known:
        return found
    first = max(known, key=lambda number: starts[number][0])
    begun = _fitted(windows[first], None, starts[first][1])
    for way in (known[known.index(first) :], known[: known.index(first)][::-1]):
        near = begun.shape
        for number in way:
            one = begun if number == first else _fitted(windows[number], near, starts[number][1])
            found[number], near = one, one.shape or near
    return found


def _fitted(cut: Cut, near: Shape | None, start: Shape) -> PeakFit:
    """From the neighbour's shape, else from the window's own; as listed where no peak has stood out so far."""
    fit = fit_peaks(cut, near or start)
    return fit_peaks(cut, listed(cut.group)) if near is None and fit.shape is None else fit


def listed(group: Group) -> Shape:
    """Peaks where they are listed, as wide as the instrument."""
    count = len(group.spacings)
    return Shape(group.spacings, (1.0,) * count, (0.0,) * count)
