"""Regions of interest: boxes and balls, as in Cadiou's Figure 5. Positions are um from the corner of the field."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.volume.checks import checked_voxel

BoolArray = NDArray[np.bool_]
Triple = tuple[float, float, float]


def box_region(shape: tuple[int, int, int], *, voxel_size: Triple, low: Triple, high: Triple) -> BoolArray:
    """Voxels whose centres lie in a box from ``low`` up to ``high`` (um; z, y, x), bool [z, y, x].

    Raises
    ------
    MeasurementError
        If the box reaches beyond the field or holds no voxel.
    """
    voxel = checked_voxel(voxel_size)
    field = tuple(n * edge for n, edge in zip(shape, voxel, strict=True))
    sides = [
        (middle >= start) & (middle < end) for middle, start, end in zip(_middles(shape, voxel), low, high, strict=True)
    ]
    beyond = any(not 0 <= a < b <= n * (1 + 1e-9) for a, b, n in zip(low, high, field, strict=True))
    if beyond or not all(side.any() for side in sides):
        raise MeasurementError(
            "the box is not in the volume",
            expected=f"low < high, within {', '.join(f'{n:g}' for n in field)} um",
            found=f"{low} to {high} um",
        )
    return np.asarray(sides[0][:, None, None] & sides[1][:, None] & sides[2], dtype=np.bool_)


def ball_region(shape: tuple[int, int, int], *, voxel_size: Triple, centre: Triple, radius: float) -> BoolArray:
    """Voxels whose centres lie within ``radius`` (um) of ``centre`` (um; z, y, x), bool [z, y, x].

    Raises
    ------
    MeasurementError
        If the ball holds no voxel.
    """
    voxel = checked_voxel(voxel_size)
    z, y, x = np.ix_(*[middle - c for middle, c in zip(_middles(shape, voxel), centre, strict=True)])
    region = np.asarray(z**2 + y**2 + x**2 <= radius**2)
    if not region.any():
        raise MeasurementError(
            "the ball holds no voxel", expected="a centre in the volume", found=f"{centre} um, radius {radius:g} um"
        )
    return region


def _middles(shape: tuple[int, int, int], voxel: Triple) -> list[NDArray[np.float64]]:
    """Centres (um) of the voxels along each axis."""
    return [np.asarray((np.arange(n) + 0.5) * edge) for n, edge in zip(shape, voxel, strict=True)]
