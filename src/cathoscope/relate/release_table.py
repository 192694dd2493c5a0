"""Releases of a particle for all activation energies, release times and skins that are looked at, tabulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from cathoscope.relate.release import POWERS, Programme, levelling, modes_of_particle, responses

Floats = NDArray[np.float64]

_MODES = 12  # those above count as one
_LONGEST_SKIN = 0.95  # of half of the wall


@dataclass(frozen=True)
class Ranges:
    """What is looked at: activation energies (eV), release times (s), and the longest levelling length (um).

    ``points`` are those of the table along energy, time, skin and levelling length; one along a length: there is none.
    """

    activation_energy: tuple[float, float] = (0.3, 3.5)
    release_time: tuple[float, float] = (1.0, 1e7)
    levelling: float = 2.0
    points: tuple[int, int, int, int] = (40, 60, 6, 6)


@dataclass(frozen=True)
class Table:
    """Releases on a regular grid of the unit cube (energy, log time, skin, levelling length).

    ``mean`` (energy, time, skin, hold, 3) is the mean over the particle, ``shells`` (energy, time, skin, length, hold,
    depth, 3) that at the depths, levelled; the last axis as in `responses`. ``ranges`` and ``wall`` (um) give the cube
    its scales.
    """

    mean: Floats
    shells: Floats
    ranges: Ranges
    wall: float

    def at(self, cube: Floats) -> tuple[Floats, Floats]:
        """Means (n, hold, 3) and shells (n, hold, depth, 3) at points ``cube`` (n, 4) of 0 to 1, interpolated."""
        return _multilinear(self.mean, cube[:, :3]), _multilinear(self.shells, cube)


def release_table(
    radius: float, core: float, depth: Sequence[float], programme: Programme, *, reference: float, ranges: Ranges
) -> Table:
    """Tabulate the release of a sphere of ``radius`` with a ``core`` (um) at ``depth`` (um) below its surface.

    ``reference`` (degC) is where the release times hold, and from where the responses count temperature.
    """
    energies = np.linspace(*ranges.activation_energy, ranges.points[0])
    times = np.geomspace(*ranges.release_time, ranges.points[1])
    lengths = np.linspace(0.0, ranges.levelling, ranges.points[3])
    holds, wall = len(programme.scans), radius - core
    mean = np.zeros((*ranges.points[:3], holds, POWERS))
    shells = np.zeros((*ranges.points, holds, len(depth), POWERS))
    for skin, share in enumerate(np.linspace(0.0, _LONGEST_SKIN, ranges.points[2])):
        modes = modes_of_particle(radius=radius, core=core, skin=share * wall / 2)
        rate, weight = _few(modes.rate, modes.weight, modes.weight)
        fields = np.array(
            [_at_depth(modes.shape @ levelling(modes, each).T, modes.radius, radius, depth) for each in lengths]
        )
        shapes = _few(modes.rate, modes.weight, np.moveaxis(fields, 1, 0))[1]
        for energy, value in enumerate(energies):
            found = responses(rate, programme, activation_energy=value, release_time=times, reference=reference)
            mean[energy, :, skin] = np.einsum("hbtm,m->thb", found, weight)
            shells[energy, :, skin] = np.einsum("hbtm,mld->tlhdb", found, shapes, optimize=True)
    return Table(mean, shells, ranges, wall)


def _few(rate: Floats, weight: Floats, what: Floats) -> tuple[Floats, Floats]:
    """The slowest modes, and all others as one of the same mean time; ``what`` has the mode first."""
    rest = weight[_MODES:].sum() / (weight[_MODES:] / rate[_MODES:]).sum()
    return np.append(rate[:_MODES], rest), np.concatenate([what[:_MODES], what[_MODES:].sum(axis=0, keepdims=True)])


def _at_depth(shape: Floats, radii: Floats, radius: float, depth: Sequence[float]) -> Floats:
    """Fields (mode, shell) at depths below the surface, (mode, depth)."""
    places = radius - np.asarray(depth, dtype=np.float64)
    return np.array([np.interp(places, radii, row) for row in shape])


def _multilinear(table: Floats, cube: ArrayLike) -> Floats:
    """Values (n, ...) of a table over a regular grid of the unit cube at points (n, d)."""
    points = np.asarray(cube, dtype=np.float64)
    count, dims = points.shape
    last = np.array(table.shape[:dims]) - 1
    place = np.clip(points, 0.0, 1.0) * last
    low = np.minimum(place.astype(np.intp), np.maximum(last - 1, 0))
    part = place - low
    index, weight = np.zeros((count, 1), dtype=np.intp), np.ones((count, 1))
    for axis in range(dims):
        ends = np.stack([low[:, axis], np.minimum(low[:, axis] + 1, last[axis])], axis=1)
        index = (index[:, :, None] * table.shape[axis] + ends[:, None]).reshape(count, -1)
        share = np.stack([1 - part[:, axis], part[:, axis]], axis=1)
        weight = (weight[:, :, None] * share[:, None]).reshape(count, -1)
    cells = int(np.prod(table.shape[:dims]))
    starts = np.arange(count + 1) * index.shape[1]
    corners = csr_array((weight.ravel(), index.ravel(), starts), shape=(count, cells))
    return np.asarray(corners @ table.reshape(cells, -1)).reshape(count, *table.shape[dims:])
