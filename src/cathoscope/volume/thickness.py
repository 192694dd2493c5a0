"""Local thickness: at every point of a set the diameter of the largest ball that covers it and lies inside.

The centres of the balls are the ridge of the distance map (Hildebrand and Ruegsegger, J. Microsc. 185 (1997) 67). The
distance is to the centre of the nearest voxel outside, which lies behind the surface: by half a voxel for a sheet along
the grid, by less the more of the surface a ball touches, and by next to nothing for a ball in a ball. What is taken off
a diameter follows from how the distance falls off the ridge there; it was calibrated on digital sheets and balls.

Remove a hollow core first if cracks are meant: it is no crack, and the cost grows with the cube of the radius.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.volume.checks import checked_mask, checked_voxel
from cathoscope.volume.distance import distance_within
from cathoscope.volume.minkowski_tables import STEPS
from cathoscope.volume.thickness_kernels import describe_ridge, mark_ridge, paint

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
VoxelSize = tuple[float, float, float]

# In edges of a voxel (the cube of the same volume): what a sheet of random orientation reads too thick is the first
# number plus the second over the radius; measured on digital sheets and hollow balls, walls of 1.5 to 8.
_OBLIQUE, _OBLIQUE_OVER_RADIUS = 0.75, 2.31
# Of a ball nothing is taken off. Slopes off the ridge between these are between the two.
_FALL_OF_SHEET, _FALL_OF_BALL = 0.5, 0.9
_TOLERANCE = 0.5  # edges: balls that stick out of a neighbour's by less are left out
_THINNEST = 0.5  # edges
_SCATTER, _BIAS = 0.2, 0.4  # edges: of one sheet of random orientation and place, and what a mean may be off


class Thickness(NamedTuple):
    """How thick a set is, each voxel counting the same.

    Attributes
    ----------
    mean
        Mean local thickness, um.
    quantiles
        Thickness (um) below which 10, 50 and 90 % of the volume lie.
    gini
        Gini coefficient: half the mean difference of two voxels over the mean; 0 if all is equally thick.
    edges
        Ends of the classes of the distribution, um, [n + 1].
    share
        Share of the volume in each class, [n].
    """

    mean: Estimate
    quantiles: tuple[float, float, float]
    gini: float
    edges: FloatArray
    share: FloatArray


def local_thickness(mask: BoolArray, *, voxel_size: VoxelSize) -> Float32Array:
    """Diameter (um) of the largest inscribed ball at every voxel of a mask, 0 outside it.

    Parameters
    ----------
    mask
        The set, bool [z, y, x]. Where it meets the end of the volume it is taken to go on.
    voxel_size
        Edges of a voxel (um; z, y, x).

    Raises
    ------
    MeasurementError
        If the mask is empty or fills the volume.
    """
    voxel, mask = checked_voxel(voxel_size), checked_mask("mask", mask)
    if mask.all():
        raise MeasurementError(
            "nothing lies outside the mask, so it has no thickness",
            expected="voxels outside",
            found=f"all {mask.size} voxels set",
            cure="check the threshold",
        )
    distance = distance_within(mask, voxel)
    lengths = np.linalg.norm(STEPS * np.asarray(voxel), axis=1)
    edge = float(np.prod(voxel) ** (1 / 3))
    mark = np.empty(mask.shape, dtype=np.uint8)
    mark_ridge(distance, STEPS, lengths, _TOLERANCE * edge, mark)
    places = np.argwhere(mark).astype(np.int32)
    del mark
    found = np.empty((len(places), 3), dtype=np.float32)
    describe_ridge(distance, places, STEPS, lengths, found)
    values = _diameters(found, voxel, edge).astype(np.float32)
    del distance
    order = np.argsort(-values, kind="stable")
    thickness = np.where(mask, np.float32(0), np.float32(np.nan))
    paint(places[order], found[order, 0], values[order], voxel, thickness)
    left = thickness == 0
    if left.any():  # seldom: a chain of tolerances
        thickness[left] = np.maximum(2 * distance_within(mask, voxel)[left] - edge, _THINNEST * edge)
    thickness[~mask] = 0
    return thickness


def _diameters(found: Float32Array, voxel: VoxelSize, edge: float) -> FloatArray:
    """Diameters (um) of balls from radius to the voxels outside, fall and level plane."""
    radius, fall, level = found.T
    sheet = np.clip((_FALL_OF_BALL - fall) / (_FALL_OF_BALL - _FALL_OF_SHEET), 0, 1)
    oblique = sheet * edge * (_OBLIQUE + _OBLIQUE_OVER_RADIUS * edge / radius)
    across = np.asarray(voxel)[np.maximum(level, 0).astype(int)]
    return np.asarray(np.maximum(2 * radius - np.where(level >= 0, across, oblique), _THINNEST * edge))


def thickness_statistics(
    thickness: NDArray[np.floating], *, voxel_size: VoxelSize, edges: ArrayLike | None = None
) -> Thickness:
    """Mean, quantiles, distribution and unevenness of a local thickness, by volume.

    Parameters
    ----------
    thickness
        Local thickness (um) [z, y, x]; voxels of 0 do not count.
    voxel_size
        Edges of a voxel (um; z, y, x).
    edges
        Ends of the classes (um), rising; one voxel edge wide up to the largest thickness if not given.

    Raises
    ------
    MeasurementError
        If no voxel has a thickness, one is negative or not finite, or the edges do not rise.
    """
    voxel, found = checked_voxel(voxel_size), np.asarray(thickness)
    values = np.sort(found[found != 0].astype(np.float64), axis=None)
    if values.size == 0 or not (values[0] > 0 and np.isfinite(values[-1])):
        raise MeasurementError(
            "there is no thickness to take the mean of",
            expected="0 outside the set and positive lengths in it",
            found="zeros only" if values.size == 0 else f"{values[0]:g} to {values[-1]:g}",
            cure="give what local_thickness returns",
        )
    edge = float(np.prod(voxel) ** (1 / 3))
    ends = np.arange(np.ceil(values[-1] / edge) + 1) * edge if edges is None else np.asarray(edges, dtype=float)
    if ends.ndim != 1 or ends.size < 2 or np.any(np.diff(ends) <= 0):
        raise MeasurementError("the edges of the classes cannot be", expected="rising lengths", found=str(edges))
    n, mean = values.size, float(values.mean())
    low, median, high = np.quantile(values, (0.1, 0.5, 0.9))
    ranks = 2 * np.arange(1, n + 1) - n - 1
    patches = max(1.0, n * edge**3 / mean**3)  # pieces as long as thick: each lies in its own way on the grid
    return Thickness(
        Estimate(mean, _SCATTER * edge / patches**0.5, _BIAS * edge),
        (float(low), float(median), float(high)),
        float(ranks @ values / (n**2 * mean)),
        ends,
        np.histogram(values, ends)[0] / n,
    )
