"""Domains of the solid that cracks bound: their shapes, their contacts and how they lie in the particle.

X-ray absorption does not show grain boundaries that are closed, so these are not the grains: a domain is what cracks
and necks set apart. It is a basin of the distance to the nearest pore whose maximum stands at least one voxel above
the neck to the next (watershed of the h-maxima; Meyer, Signal Processing 38, 113, 1994).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.volume.checks import checked_mask, checked_voxel
from cathoscope.volume.distance import distance_within
from cathoscope.volume.domains_kernels import common_faces, moments, sorted_down, watershed

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
LabelArray = NDArray[np.int32]
BoolArray = NDArray[np.bool_]
VoxelSize = tuple[float, float, float]

MAXIMA_DEPTH = 1.0  # edges of a voxel
_STEPS = 64  # of the distance per edge of a voxel, by which voxels are sorted
_FEWEST = 3  # axes of which a mean and its scatter are taken


@dataclass(frozen=True)
class Domains:
    """Domains of a solid; rows of all arrays are labels 1, 2, ...

    Attributes
    ----------
    labels
        int32 [z, y, x], 0 where there is no solid.
    voxel_size
        Edges z, y, x of a voxel, um.
    volume
        um3, [domain].
    centroid
        um from the middle of the first voxel, [domain, 3] in z, y, x.
    half_axes
        Of the ellipsoid with the same moments of inertia, um, the longest first, [domain, 3].
    axes
        Their directions, unit vectors in z, y, x: ``axes[domain, 0]`` is the longest, [domain, 3, 3].
    on_rim
        Whether the end of the volume cuts the domain, [domain].
    pairs
        Labels of two domains that share faces, the smaller first, [contact, 2].
    area
        Of their contact, um2: the length of the sum of its faces' vectors, right for plane contacts of any direction
        but for a rim of 0.2 voxels that is lost, [contact].
    """

    labels: LabelArray
    voxel_size: VoxelSize
    volume: FloatArray
    centroid: FloatArray
    half_axes: FloatArray
    axes: FloatArray
    on_rim: BoolArray
    pairs: IntArray
    area: FloatArray

    @cached_property
    def coordination(self) -> IntArray:
        """Number of contacts of every domain."""
        return np.bincount(self.pairs.ravel() - 1, minlength=self.volume.size)

    @cached_property
    def isolated(self) -> BoolArray:
        """Domains without contact, that the end of the volume does not cut."""
        alone: BoolArray = (self.coordination == 0) & ~self.on_rim
        return alone

    @cached_property
    def contact_area(self) -> FloatArray:
        """Sum of the areas of its contacts, um2, of every domain."""
        total = np.bincount(self.pairs.ravel() - 1, np.repeat(self.area, 2), minlength=self.volume.size)
        return total.astype(np.float64)

    @cached_property
    def clusters(self) -> int:
        """Number of groups of domains that contacts join."""
        n = self.volume.size
        graph = coo_array((np.ones(len(self.pairs)), (self.pairs - 1).T), shape=(n, n))
        return int(connected_components(graph, directed=False, return_labels=False))


@dataclass(frozen=True)
class Alignment:
    """How long axes lie to the radius.

    Attributes
    ----------
    p2
        Mean of (3 cos^2 - 1) / 2 of the angle between long axis and radius: 1 radial, 0 random, -1/2 tangential. Its
        standard uncertainty is the scatter over the domains by the root of their number.
    number
        Domains that are long enough and whole.
    """

    p2: Estimate
    number: int


def crack_bounded_domains(
    solid: NDArray[np.bool_],
    *,
    voxel_size: VoxelSize,
    cracks: NDArray[np.bool_] | None = None,
    depth: float = MAXIMA_DEPTH,
    smallest: int = 27,
) -> Domains:
    """Divide the solid at cracks and necks.

    Parameters
    ----------
    solid
        bool [z, y, x].
    voxel_size
        Edges z, y, x of a voxel, um.
    cracks
        Voxels on crack sheets too fine for the threshold, bool [z, y, x]: they are taken off the solid.
    depth
        How far a maximum of the distance must stand above the neck to the next, in edges of a voxel (geometric mean).
    smallest
        Domains of fewer voxels are left out (label 0).

    Raises
    ------
    MeasurementError
        If the solid is empty or fills the volume, shapes differ, the depth is not positive, or no domain is left.
    """
    mask, edges = checked_mask("solid", solid), checked_voxel(voxel_size)
    if cracks is not None:
        mask = checked_mask("solid without cracks", mask & ~checked_mask("cracks", cracks, mask))
    if mask.all():
        raise MeasurementError("the solid fills the volume", expected="pores, cracks or an outside", found="none")
    if not depth > 0:
        raise MeasurementError("no such depth of maxima", expected="above 0 voxels", found=str(depth))
    if mask.size > np.iinfo(np.int32).max:
        raise MeasurementError("the volume is too large", expected="below 2^31 voxels", found=str(mask.shape))
    edge = float(np.prod(edges)) ** (1 / 3)
    distance = distance_within(mask, edges)
    labels = np.empty(mask.shape, dtype=np.int32)
    order = sorted_down(distance, _STEPS / edge, int(distance.max() * _STEPS / edge) + 1)
    number = watershed(distance, order, np.float32(depth * edge), labels)
    labels = _without_small(labels, number, smallest)
    return domains_of_labels(labels, voxel_size=edges)


def domains_of_labels(labels: NDArray[np.integer], *, voxel_size: VoxelSize) -> Domains:
    """Shapes and contacts of domains that are labelled 1, 2, ... already.

    Raises
    ------
    MeasurementError
        If labels are negative or leave one out, or there is none.
    """
    edges = checked_voxel(voxel_size)
    array = np.ascontiguousarray(labels, dtype=np.int32)
    if array.ndim != 3 or array.size == 0 or array.min() < 0 or array.max() == 0:
        raise MeasurementError("labels cannot be used", expected="0, 1, 2, ... [z, y, x]", found=f"shape {array.shape}")
    number = int(array.max())
    sums = moments(array, number)[1:]
    if not sums[:, 0].all():
        raise MeasurementError("a label has no voxel", expected=f"1 to {number}, all of them", found="gaps")
    half_axes, axes = _ellipsoids(sums, np.array(edges))
    pairs, area = _contacts(array, number, edges)
    return Domains(
        labels=array,
        voxel_size=edges,
        volume=sums[:, 0] * np.prod(edges),
        centroid=sums[:, 1:4] / sums[:, :1] * edges,
        half_axes=half_axes,
        axes=axes,
        on_rim=sums[:, 10] > 0,
        pairs=pairs,
        area=area,
    )


def alignment_with_radius(domains: Domains, centre: ArrayLike | None = None, *, least_aspect: float = 1.2) -> Alignment:
    """Whether the domains' long axes point along the radius of the particle.

    Domains count the same whatever their size; those that the end of the volume cuts, or whose longest half-axis is
    less than ``least_aspect`` of the next, have no long axis and are left out. ``centre`` (um, z, y, x) is that of
    gravity of all domains if not given.

    Raises
    ------
    MeasurementError
        If fewer than three domains are left.
    """
    weights = domains.volume / domains.volume.sum()
    middle = weights @ domains.centroid if centre is None else np.asarray(centre, dtype=np.float64)
    radius = domains.centroid - middle
    length = np.linalg.norm(radius, axis=1)
    chosen = ~domains.on_rim & (domains.half_axes[:, 0] >= least_aspect * domains.half_axes[:, 1]) & (length > 0)
    count = int(chosen.sum())
    if count < _FEWEST:
        raise MeasurementError(
            "too few domains have a long axis", expected=f"at least {_FEWEST}", found=f"{count} of {chosen.size}"
        )
    cosine = np.einsum("ij,ij->i", domains.axes[chosen, 0], radius[chosen]) / length[chosen]
    p2 = 1.5 * cosine**2 - 0.5
    return Alignment(Estimate(float(p2.mean()), float(p2.std(ddof=1) / np.sqrt(count))), count)


def _without_small(labels: LabelArray, number: int, smallest: int) -> LabelArray:
    """Labels of the domains that are large enough, numbered anew in place."""
    # plane by plane: counting all labels at once takes a copy of them with 64 bits
    counts = np.zeros(number + 1, dtype=np.int64)
    for plane in labels:
        counts += np.bincount(plane.ravel(), minlength=number + 1)
    keep = counts >= max(smallest, 1)
    keep[0] = False
    if not keep.any():
        raise MeasurementError(
            "no domain is large enough", expected=f"one of {smallest} voxels", found=f"{number} smaller ones"
        )
    renamed = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    for plane in labels:
        plane[:] = renamed[plane]
    return labels


def _ellipsoids(sums: FloatArray, edges: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Half-axes (um) and directions of the ellipsoids with the same second moments, the longest first."""
    count = sums[:, :1]
    mean = sums[:, 1:4] / count
    second = np.empty((sums.shape[0], 3, 3))
    for column, (i, j) in enumerate(((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)), start=4):
        value = (sums[:, column] / count[:, 0] - mean[:, i] * mean[:, j] + (i == j) / 12) * edges[i] * edges[j]
        second[:, i, j] = second[:, j, i] = value
    variance, vectors = np.linalg.eigh(second)
    return np.sqrt(5 * variance[:, ::-1]), np.ascontiguousarray(np.swapaxes(vectors, 1, 2)[:, ::-1])


def _contacts(labels: LabelArray, number: int, edges: VoxelSize) -> tuple[IntArray, FloatArray]:
    """Pairs of labels that share faces, and the area (um2) of their contacts."""
    keys, sides = common_faces(labels, number)
    found, which = np.unique(keys, return_inverse=True)
    faces = np.array([edges[1] * edges[2], edges[0] * edges[2], edges[0] * edges[1]])
    axis = np.abs(sides).astype(np.int64) - 1
    vectors = np.bincount(3 * which + axis, np.sign(sides) * faces[axis], minlength=3 * found.size).reshape(-1, 3)
    pairs = np.stack([found // (number + 1), found % (number + 1)], axis=1)
    return pairs, np.linalg.norm(vectors, axis=1)
