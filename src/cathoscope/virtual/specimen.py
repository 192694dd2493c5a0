"""Specimens whose path lengths and volumes are known exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import dist, hypot, pi

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.spectra import Spectrum

_MARGIN = 1.5  # pixels of empty detector that must remain beside the specimen


@dataclass(frozen=True)
class Grid:
    """Columns, rows and edge length (um) of the detector's pixels and, the same, of the volume's voxels.

    Voxel i of n along an axis has its centre at (i - (n - 1) / 2) * pixel_size; x and y have ``columns`` voxels.
    """

    columns: int
    rows: int
    pixel_size: float

    def __post_init__(self) -> None:
        if min(self.columns, self.rows) < 4 or not self.pixel_size > 0:
            raise CathoscopeError("a detector needs 4 x 4 pixels of positive size", found=str(self))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along z, y, x."""
        return self.rows, self.columns, self.columns

    def positions(self, count: int) -> NDArray[np.float64]:
        """Centres (um) of ``count`` voxels along one axis."""
        return np.asarray((np.arange(count) - (count - 1) / 2) * self.pixel_size, dtype=np.float64)


@dataclass(frozen=True)
class Sphere:
    """A homogeneous ball, or with ``inner_radius`` a hollow one: the difference of two concentric balls.

    ``centre`` is (x, y, z) and all lengths are um; ``spectra`` holds one spectrum per temperature of the specimen.
    """

    name: str
    centre: tuple[float, float, float]
    radius: float
    spectra: tuple[Spectrum, ...]
    inner_radius: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.inner_radius < self.radius:
            raise CathoscopeError(
                f"sphere {self.name!r} has an impossible radius",
                expected="0 <= inner_radius < radius, in um",
                found=f"radius {self.radius}, inner_radius {self.inner_radius}",
            )

    @property
    def volume(self) -> float:
        """Volume of the material, um³."""
        return 4 / 3 * pi * (self.radius**3 - self.inner_radius**3)

    def chord(self, distance: ArrayLike) -> NDArray[np.float64]:
        """Length (um) of the material on a straight ray that passes the centre at ``distance`` (um)."""
        squared = np.asarray(distance, dtype=np.float64) ** 2
        outer = np.sqrt(np.clip(self.radius**2 - squared, 0, None))
        inner = np.sqrt(np.clip(self.inner_radius**2 - squared, 0, None))
        return np.asarray(2 * (outer - inner))

    def clears(self, other: Sphere) -> bool:
        """Whether the two bodies have no point in common; one may sit inside the hollow of the other."""
        between = dist(self.centre, other.centre)
        if between > self.radius + other.radius:
            return True
        return between + other.radius < self.inner_radius or between + self.radius < other.inner_radius


@dataclass(frozen=True)
class SpheresSpecimen:
    """Spheres that do not touch, in vacuum, at several temperatures (degC)."""

    spheres: tuple[Sphere, ...]
    temperatures: tuple[float, ...]

    def __post_init__(self) -> None:
        for sphere in self.spheres:
            if len(sphere.spectra) != len(self.temperatures):
                raise CathoscopeError(
                    f"sphere {sphere.name!r} needs one spectrum per temperature",
                    expected=str(len(self.temperatures)),
                    found=str(len(sphere.spectra)),
                )
        for first, second in combinations(self.spheres, 2):
            if not first.clears(second):
                raise CathoscopeError(
                    f"spheres {first.name!r} and {second.name!r} overlap", cure="move one, or make it smaller"
                )

    def require_within(self, grid: Grid, *, sideways: float) -> None:
        """Check that every sphere stays on the detector while it turns.

        Parameters
        ----------
        grid
            The detector.
        sideways
            Largest distance (pixels) of the projected rotation axis from the detector's middle, jitter included.

        Raises
        ------
        CathoscopeError
            Naming the first sphere that would leave.
        """
        half_width = (grid.columns / 2 - _MARGIN - sideways) * grid.pixel_size
        half_height = (grid.rows / 2 - _MARGIN) * grid.pixel_size
        for sphere in self.spheres:
            x, y, z = sphere.centre
            if hypot(x, y) + sphere.radius > half_width or abs(z) + sphere.radius > half_height:
                raise CathoscopeError(
                    f"sphere {sphere.name!r} leaves the field of view",
                    expected=f"within {half_width:.2f} um of the rotation axis and {half_height:.2f} um of mid-height",
                    found=f"up to {hypot(x, y) + sphere.radius:.2f} um and {abs(z) + sphere.radius:.2f} um",
                    cure="move it inwards, or use more columns and rows",
                )

    def attenuation(self, temperature_index: int, energies: ArrayLike) -> NDArray[np.float64]:
        """Attenuation (1/um) of every sphere at one temperature, shape (spheres, energies)."""
        return np.stack([sphere.spectra[temperature_index].attenuation(energies) for sphere in self.spheres])

    def fractions(
        self, grid: Grid, sub_voxels: int = 4
    ) -> Iterator[tuple[tuple[slice, slice, slice], NDArray[np.float32]]]:
        """For each sphere, a block of voxels (z, y, x slices) and the part of each voxel that it fills.

        Exact along z; along x and y a voxel is probed at ``sub_voxels``² regularly spaced points.
        """
        for sphere in self.spheres:
            yield _fractions(sphere, grid, sub_voxels)


def _fractions(sphere: Sphere, grid: Grid, sub_voxels: int) -> tuple[tuple[slice, slice, slice], NDArray[np.float32]]:
    """Block of voxels around a sphere and its fill fractions."""
    middles = [
        centre / grid.pixel_size + (count - 1) / 2
        for count, centre in zip(grid.shape, sphere.centre[::-1], strict=True)
    ]
    reach = sphere.radius / grid.pixel_size + 0.5
    z, y, x = (
        slice(max(int(np.floor(middle - reach)), 0), min(int(np.ceil(middle + reach)) + 1, count))
        for middle, count in zip(middles, grid.shape, strict=True)
    )
    along_y, along_x = (
        (part.start - 0.5 + (np.arange((part.stop - part.start) * sub_voxels) + 0.5) / sub_voxels - middle) ** 2
        for part, middle in zip((y, x), middles[1:], strict=True)
    )
    squared = along_y[:, None] + along_x[None, :]
    outer, inner = (
        np.sqrt(np.clip((radius / grid.pixel_size) ** 2 - squared, 0, None))
        for radius in (sphere.radius, sphere.inner_radius)
    )
    filled = np.empty((z.stop - z.start, y.stop - y.start, x.stop - x.start), dtype=np.float32)
    for layer in range(filled.shape[0]):
        bottom = z.start + layer - 0.5 - middles[0]
        length = _overlap(bottom, outer) - _overlap(bottom, inner)
        filled[layer] = length.reshape(filled.shape[1], sub_voxels, filled.shape[2], sub_voxels).mean(axis=(1, 3))
    return (z, y, x), filled


def _overlap(bottom: float, half_chord: NDArray[np.float64]) -> NDArray[np.float64]:
    """Length that the interval from ``bottom`` to ``bottom + 1`` shares with -half_chord to half_chord."""
    shared = np.minimum(bottom + 1, half_chord) - np.maximum(bottom, -half_chord)
    return np.asarray(np.clip(shared, 0, None))
