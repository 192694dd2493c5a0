"""Peaks followed along a series without a phase: each temperature starts where its neighbour ended.

A track begins where the peaks stand out most and goes to both ends from there; its window goes with it. Where a peak no
longer stands out, its area is measured where the last one was, so that of a peak that is not there it is zero within
its uncertainty.
"""

from __future__ import annotations

from collections.abc import Sequence

from cathoscope.powder.peaks import Cut, Group, PeakFit, Shape, fit_peaks, narrowed, start_shape

WIDER = 5.0
"""Times the window of a group: how far a series is cut, so that a window can go with its peaks."""


def follow_peaks(cuts: Sequence[Cut | None]) -> list[PeakFit | None]:
    """Peaks of one group along a series; None where there is no window around them.

    ``cuts`` of the same group, `WIDER` than its window.
    """
    found: list[PeakFit | None] = [None] * len(cuts)
    wide = {number: cut for number, cut in enumerate(cuts) if cut is not None}
    at_list = {number: narrowed(cut, cut.group.spacings) for number, cut in wide.items()}
    starts = {number: start_shape(cut) for number, cut in at_list.items() if cut is not None}
    if not starts:
        return found
    first = max(starts, key=lambda number: starts[number][0])
    begun = fit_peaks(at_list[first] or wide[first], starts[first][1])
    known = list(wide)
    for way in (known[known.index(first) :], known[: known.index(first)][::-1]):
        near = begun.shape
        for number in way:
            one = _fitted(wide[number], near)
            if one is not None:
                found[number], near = one, one.shape or near
    return found


def _fitted(cut: Cut, near: Shape | None) -> PeakFit | None:
    """From the neighbour's shape and in a window around it; as listed where no peak has stood out so far."""
    shape = near or listed(cut.group)
    window = narrowed(cut, shape.spacing)
    return None if window is None else fit_peaks(window, shape)


def listed(group: Group) -> Shape:
    """Peaks where they are listed, hardly wider than the instrument."""
    count = len(group.spacings)
    return Shape(group.spacings, (0.1,) * count, (0.0,) * count)
