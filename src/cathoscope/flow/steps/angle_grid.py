"""One grid of angles for scans of which some have fewer projections than others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cathoscope.tomography.series import SeriesGeometry

Floats = NDArray[np.float32]
Floats64 = NDArray[np.float64]

_T = TypeVar("_T", bound=np.generic)

_NONE = -1


@dataclass(frozen=True)
class AngleGrid:
    """Places on the grid of the scan with the most projections.

    ``angle`` [scan, place] in deg is nan where a scan has no projection; ``place`` [scan][projection] is -1 for a
    projection that lies between the places or beyond them.
    """

    angle: Floats64
    place: tuple[NDArray[np.int64], ...]

    def laid_on(self, scan: int, depth: Floats) -> Floats:
        """Projections [projection, row, column] of a scan in their places, nan where it has none."""
        place = self.place[scan]
        if np.array_equal(place, np.arange(self.angle.shape[1])):
            return depth
        laid = np.full((self.angle.shape[1], *depth.shape[1:]), np.nan, dtype=depth.dtype)
        laid[place[place != _NONE]] = depth[place != _NONE]
        return laid

    def taken_off(self, geometry: SeriesGeometry) -> SeriesGeometry:
        """What was found for every place, for the projections of every scan as it recorded them; zero without one."""
        return replace(
            geometry,
            projection_shift=self._taken_off(geometry.projection_shift),
            vertical_shift=self._taken_off(geometry.vertical_shift),
            projection_shift_std=self._taken_off(geometry.projection_shift_std),
            vertical_shift_std=self._taken_off(geometry.vertical_shift_std),
            usable=self._taken_off(geometry.usable),
        )

    def _taken_off(self, of_place: NDArray[_T]) -> NDArray[_T]:
        own = np.zeros_like(of_place)
        for row, place, values in zip(own, self.place, of_place, strict=True):
            row[: place.size] = np.where(place == _NONE, row[: place.size], values[place])
        return own


def grid_of(angles: Sequence[Floats64]) -> AngleGrid:
    """The grid of scans whose projections were taken at ``angles`` [scan][projection], deg.

    A scan with as many projections as the longest keeps its own angles, one after the other.
    """
    longest = max(angles, key=len)
    half = 0.5 * float(np.median(np.diff(np.sort(longest)))) if longest.size > 1 else 0.0
    grid = np.full((len(angles), longest.size), np.nan)
    places = []
    for row, angle in zip(grid, angles, strict=True):
        place = np.arange(angle.size) if angle.size == longest.size else _nearest(longest, angle, half)
        row[place[place != _NONE]] = angle[place != _NONE]
        places.append(place.astype(np.int64))
    return AngleGrid(grid, tuple(places))


def _nearest(grid: Floats64, angle: Floats64, allowed: float) -> NDArray[np.int64]:
    """Place of every angle, -1 where none is within ``allowed`` or an earlier projection has it already."""
    off = np.abs(angle[:, None] - grid)
    place = np.where(off.min(axis=1) <= allowed, off.argmin(axis=1), _NONE)
    _, first = np.unique(place, return_index=True)
    kept = np.isin(np.arange(place.size), first)
    return np.where(kept, place, _NONE).astype(np.int64)
