"""A charged particle on the grid where oxygen and lithium move, coarser than that of the images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.grains import Grains
from cathoscope.virtual.heating import Charged, HeatingLaw
from cathoscope.virtual.specimen import Grid
from cathoscope.virtual.transport import polycrystal

Cells = NDArray[np.float64]

_SHARE_OF_GRAINS = 0.8  # of the nanodomains' amplitude; the rest varies within grains
_DOMAIN_SIZE = 0.25  # um; standard deviation of the smoothing that makes the domains within grains
_CELLS_PER_GRAIN = 2.5
_BLOCK = 1 << 18  # points at a time


@dataclass(frozen=True)
class TransportGrid:
    """Cubic grid around a particle before heating, and what lies where.

    ``labels`` (z, y, x) holds the number of the grain of each cell, -1 in gas. Only these cells are in a `State`.
    """

    grid: Grid
    labels: NDArray[np.int32]
    grains: int

    def spread(self, cells: Cells) -> NDArray[np.float32]:
        """Values per cell on the whole grid; gas takes the value of the nearest cell."""
        volume = np.zeros(self.labels.shape, dtype=np.float32)
        inside = self.labels >= 0
        volume[inside] = cells
        nearest = distance_transform_edt(~inside, return_distances=False, return_indices=True)
        return np.asarray(volume[tuple(nearest)])

    def sampler(self, *fields: Cells) -> Sampler:
        """What evaluates ``fields`` (each one value per cell) at any points."""
        volume = np.stack([self.spread(cells) for cells in fields], axis=-1)
        sums = np.zeros((self.grains, len(fields)))
        counts = np.bincount(self.labels[self.labels >= 0], minlength=self.grains)
        for index, cells in enumerate(fields):
            sums[:, index] = np.bincount(self.labels[self.labels >= 0], weights=cells, minlength=self.grains)
        overall = np.array([cells.mean() for cells in fields])
        means = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], overall)
        return Sampler(self.grid, self.labels, volume, means.astype(np.float32))


@dataclass(frozen=True)
class Sampler:
    """Fields (z, y, x, field) on a transport grid, and their means per grain (grain, field)."""

    grid: Grid
    labels: NDArray[np.int32]
    volume: NDArray[np.float32]
    means: NDArray[np.float32]

    def at(self, points: Cells, labels: NDArray[np.int32]) -> NDArray[np.float32]:
        """Values at ``points`` (n, 3; um) that lie in the grains ``labels`` (n,), shape (n, fields).

        Trilinear among the neighbouring cells of the same grain, since fields jump across boundaries; the grain's
        mean where none of the eight belongs to it. Points with the label -1 take all eight.
        """
        out = np.empty((len(points), self.volume.shape[-1]), dtype=np.float32)
        position = points / self.grid.pixel_size + (self.grid.columns - 1) / 2
        _sample(out, np.ascontiguousarray(position), labels, self.labels, self.volume, self.means)
        return out


@njit(cache=True, nogil=True)
def _sample(out, position, label, labels, volume, means):  # type: ignore[no-untyped-def]
    """Fill ``out`` (n, fields) from the eight neighbours of each ``position`` (n, 3: x, y, z in cells)."""
    size = volume.shape[0]
    fields = volume.shape[3]
    for n in range(position.shape[0]):
        x, y, z = position[n, 0], position[n, 1], position[n, 2]
        x0 = min(max(int(np.floor(x)), 0), size - 2)
        y0 = min(max(int(np.floor(y)), 0), size - 2)
        z0 = min(max(int(np.floor(z)), 0), size - 2)
        fx, fy, fz = min(max(x - x0, 0.0), 1.0), min(max(y - y0, 0.0), 1.0), min(max(z - z0, 0.0), 1.0)
        total = 0.0
        for f in range(fields):
            out[n, f] = 0.0
        for corner in range(8):
            i, j, k = corner & 1, (corner >> 1) & 1, corner >> 2
            if label[n] >= 0 and labels[z0 + k, y0 + j, x0 + i] != label[n]:
                continue
            weight = (fx if i else 1.0 - fx) * (fy if j else 1.0 - fy) * (fz if k else 1.0 - fz)
            total += weight
            for f in range(fields):
                out[n, f] += weight * volume[z0 + k, y0 + j, x0 + i, f]
        if total > 1e-3:
            for f in range(fields):
                out[n, f] /= total
        else:
            for f in range(fields):
                out[n, f] = means[label[n], f]


def transport_grid(grains: Grains, *, cells: int) -> TransportGrid:
    """Grid of ``cells``³ cells that holds the particle.

    Raises
    ------
    CathoscopeError
        If a grain would be thinner than 2.5 cells.
    """
    voxel = 2 * grains.outer.highest / (cells - 2)
    if grains.design.grain_size < _CELLS_PER_GRAIN * voxel:
        raise CathoscopeError(
            "the transport grid is too coarse for these grains",
            expected=f"cells of at most {grains.design.grain_size / _CELLS_PER_GRAIN:.3f} um",
            found=f"{voxel:.3f} um",
            cure=f"use {int(np.ceil(cells * _CELLS_PER_GRAIN * voxel / grains.design.grain_size))} cells, "
            "or larger grains",
        )
    grid = Grid(cells, cells, voxel)
    axis = grid.positions(cells)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    points = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)
    blocks = [grains.labels(points[start : start + _BLOCK]) for start in range(0, len(points), _BLOCK)]
    return TransportGrid(grid, np.concatenate(blocks).reshape(grid.shape), len(grains.c_axis))


def charged_particle(
    grains: Grains, where: TransportGrid, law: HeatingLaw, *, seed: tuple[int, ...], closed_core: bool = False
) -> Charged:
    """The particle before heating: who neighbours whom, and the nanodomains of its state of charge.

    ``closed_core`` keeps oxygen from leaving through the hollow core (ablation).
    """
    medium = polycrystal(
        where.labels,
        grains.c_axis,
        where.grid.pixel_size,
        law.slow_ratio,
        law.aligned_resistance,
        closed=_core(grains, where) if closed_core else None,
    )
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    inside = where.labels >= 0
    smooth = gaussian_filter(rng.standard_normal(where.labels.shape), _DOMAIN_SIZE / where.grid.pixel_size)[inside]
    of_grain = rng.standard_normal(where.grains)[where.labels[inside]]
    mixed = _SHARE_OF_GRAINS * _standardised(of_grain)
    mixed = _standardised(mixed + np.sqrt(1 - _SHARE_OF_GRAINS**2) * _standardised(smooth))
    return Charged(medium, grains.design.core_composition["Ni"], law.line_spread * mixed)


def _standardised(values: Cells) -> Cells:
    return np.asarray((values - values.mean()) / values.std())


def _core(grains: Grains, where: TransportGrid) -> NDArray[np.bool_]:
    """Gas cells inside the hollow core."""
    axis = where.grid.positions(where.grid.columns)
    squared = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
    halfway = (grains.design.core_radius + grains.design.diameter / 2) / 2
    return np.asarray((where.labels < 0) & (squared < halfway**2))
