"""Particles of a volume told apart, and a table of them: size, place, shape, and whether the field cuts them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import cc3d
import numpy as np
from numpy.typing import NDArray
from skimage.measure import block_reduce
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

from cathoscope.core.errors import MeasurementError
from cathoscope.volume.closing import closed_with_ball
from cathoscope.volume.particle import FACES, filled_voids, inner_distance, require_mask

Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
LabelArray = NDArray[np.int32]
VoxelSize = tuple[float, float, float]

_COARSE = 96  # voxels along the longest edge of the grid on which particles are told apart


@dataclass(frozen=True)
class ParticleTable:
    """One row per particle, ordered as the labels 1, 2, ... are.

    Attributes
    ----------
    volume
        Within the outer surface, um³, [particle].
    equivalent_diameter
        Of the sphere of the same volume, um, [particle].
    position
        Centre of volume, um from the corner of the field, (z, y, x), [particle, 3].
    sphericity
        Surface of the sphere of the same volume over the surface of the ellipsoid of the same second moments, 1 for a
        sphere, [particle]. Roughness does not count.
    elongation
        Longest over shortest axis of that ellipsoid, [particle].
    faces
        Faces of the field that each touches, of "z low", "z high", "y low", ...
    cut
        Whether the field cuts the particle, [particle].
    """

    volume: Float64Array
    equivalent_diameter: Float64Array
    position: Float64Array
    sphericity: Float64Array
    elongation: Float64Array
    faces: tuple[tuple[str, ...], ...]
    cut: BoolArray


def separated(
    solid: BoolArray, *, voxel_size: VoxelSize, closing_radius: float, least_diameter: float = 0.0
) -> LabelArray:
    """Labels 1, 2, ... of particles, largest first, each closed on its own and filled; 0 outside, [z, y, x].

    Particles are the basins of a watershed on the distance from the outside of the closed mask, on a grid of about a
    hundred voxels along the longest edge; two are one if the neck between them is wider than 0.8 of the smaller.

    Parameters
    ----------
    closing_radius
        As for `outer_mask`, um; gaps between neighbours up to twice as wide are cut between them.
    least_diameter
        Equivalent diameter (um) below which pieces are dropped.
    """
    require_mask(solid, voxel_size)
    basins = _basins(filled_voids(closed_with_ball(solid, closing_radius, voxel_size)), voxel_size)
    voxel = float(np.prod(voxel_size))
    least = max(np.pi / 6 * least_diameter**3, 8 * voxel)
    found = [(voxel * float(np.count_nonzero(basins == label)), label) for label in range(1, int(basins.max()) + 1)]
    labels = np.zeros(solid.shape, dtype=np.int32)
    number = 0
    for size, label in sorted(found, key=lambda entry: (-entry[0], entry[1])):
        if size >= least:
            number += 1
            labels[basins == label] = number
    if number == 0:
        raise MeasurementError(
            "no particle is large enough",
            expected=f"an equivalent diameter of {max(least_diameter, 0.0):g} um or more",
            found=f"{len(found)} smaller pieces",
            cure="a smaller least_diameter",
        )
    return labels


def _basins(mask: BoolArray, voxel_size: VoxelSize) -> LabelArray:
    """Watershed of the depth below the surface, on a coarse grid, grown to the fine one."""
    factor = max(1, round(max(mask.shape) / _COARSE))
    reduce, maxima, flood = (cast(Any, function) for function in (block_reduce, h_maxima, watershed))
    coarse = np.asarray(reduce(mask, (factor,) * 3, np.max) if factor > 1 else mask, dtype=np.bool_)
    depth = inner_distance(coarse, (factor * voxel_size[0], factor * voxel_size[1], factor * voxel_size[2]))
    # a basin is a particle of its own if the neck is a fifth less deep than it is: maxima of the logarithm
    logarithm = np.where(coarse, np.log(np.maximum(depth, 1e-6)), np.log(1e-6)).astype(np.float64)
    peaks = maxima(logarithm, -np.log(0.8))
    pieces = cc3d.connected_components(coarse, connectivity=6)
    markers = cc3d.connected_components(peaks.astype(bool) & coarse, connectivity=26)
    basins = flood(-depth, markers.astype(np.int32), mask=coarse)
    lost = coarse & (basins == 0)
    basins = (basins + np.where(lost, pieces.astype(np.int64) + int(basins.max()), 0)).astype(np.int32)
    if factor > 1:
        for axis in range(3):
            basins = np.repeat(basins, factor, axis=axis)
        basins = np.ascontiguousarray(basins[tuple(slice(0, n) for n in mask.shape)])
    basins *= mask
    return np.asarray(basins, dtype=np.int32)


def particle_table(labels: LabelArray, *, voxel_size: VoxelSize) -> ParticleTable:
    """Size, place, shape and cut of every particle of a label volume [z, y, x].

    Raises
    ------
    MeasurementError
        If there is no label.
    """
    number = int(labels.max(initial=0))
    if number < 1:
        raise MeasurementError(
            "there is no particle in the labels",
            expected="labels 1, 2, ...",
            found="zeros only",
            cure="labels = separated(solid, voxel_size=..., closing_radius=...)",
        )
    voxel, edges = float(np.prod(voxel_size)), np.asarray(voxel_size)
    statistics: Any = cc3d.statistics(np.ascontiguousarray(labels, dtype=np.uint32))
    count = np.asarray(statistics["voxel_counts"][1:], dtype=np.float64)
    volume = count * voxel
    shapes = [
        _ellipsoid(labels == label, box, edges) for label, box in enumerate(statistics["bounding_boxes"]) if label
    ]
    faces = tuple(_faces_of(box, labels.shape) for box in statistics["bounding_boxes"][1:])
    return ParticleTable(
        volume,
        np.cbrt(6 * volume / np.pi),
        (np.asarray(statistics["centroids"][1:]) + 0.5) * edges,
        np.array([shape[0] for shape in shapes]),
        np.array([shape[1] for shape in shapes]),
        faces,
        np.array([len(touched) > 0 for touched in faces]),
    )


def _faces_of(box: tuple[slice, slice, slice], shape: tuple[int, ...]) -> tuple[str, ...]:
    """Names of the faces of the field at which a bounding box ends."""
    touched = []
    for axis, (side, length) in enumerate(zip(box, shape, strict=True)):
        touched += [FACES[2 * axis]] * (side.start == 0) + [FACES[2 * axis + 1]] * (side.stop >= length)
    return tuple(touched)


def _ellipsoid(mask: BoolArray, box: tuple[slice, slice, slice], edges: Float64Array) -> tuple[float, float]:
    """Sphericity and elongation of the ellipsoid of a mask's second moments; surface by Thomsen's p = 1.6075."""
    points = np.argwhere(mask[box]) * edges
    # a voxel has second moments of its own: without them a thin piece has an axis of length 0
    moments = np.atleast_2d(np.cov(points.T, bias=True)) + np.diag(edges**2 / 12)
    a, b, c = np.sqrt(5 * np.linalg.eigvalsh(moments))
    power = 1.6075
    surface = 4 * np.pi * (((a * b) ** power + (a * c) ** power + (b * c) ** power) / 3) ** (1 / power)
    return float(4 * np.pi * (a * b * c) ** (2 / 3) / surface), float(c / a)
