"""The network of grain boundaries of a particle: faces, where they meet, and which open ones electrolyte reaches.

All is read from one grid of points. Face f between the grains i and j has the area sum |n_a| s² over the crossings of
grid lines of spacing s along the axes a, n being its normal: without bias for any orientation. Faces meet where a cube
of eight neighbouring points holds the grains of both (a junction), faces touch the outside, a round pore or the hollow
core where such a cube holds a point of it. So two boundaries are connected if they come within about s of each other:
s should be near the opening of a crack.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import pi
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.cracks import _gradient, pore_law
from cathoscope.virtual.grains import Grains
from cathoscope.virtual.near import Near, near_voxels

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_SPACING = 1 / 5  # of the grain size: of the grid, if none is asked for
_COARSEST = 0.25
_ISOTROPIC = 1.5  # mean of |n_x| + |n_y| + |n_z| over directions
_NONE, _OUTSIDE = -1, -2  # grains of points in a void inside, and outside
_QUADRATURE = 32


@dataclass(frozen=True, eq=False)
class Network:
    """Faces between grains and how they hang together.

    Attributes
    ----------
    pairs
        The two grains of each face, the lower first, (face, 2), in rising order.
    area, radius, nearest
        Area (um²), mean and least distance from the centre (um) of each face.
    web_area
        Part of the area (um²) that spider-web pores have opened before any cycle.
    normal
        Unit normals, (face, 3).
    contacts
        Rows (face, junction), sorted by junction.
    junction_radius
        Distance (um) of each junction from the centre.
    at_surface
        Faces that reach the outer surface.
    hole_contacts
        Rows (face, void) of faces that reach a void: a group of overlapping round pores, or the hollow core.
    void_of_hole, void_area
        Group of each round pore, -1 for one without volume, and the groups' areas, um².
    outer_area
        Of the outer surface, um².
    grain_volume
        Outside of round pores, um³, (grain,).
    web_radius
        Radius (um) within which spider-web pores open all boundaries; 0: there are none.
    near
        Of the grid's voxels, for volumes, with ``faces`` (the number of the face of each entry).
    """

    pairs: IntArray
    area: FloatArray
    radius: FloatArray
    nearest: FloatArray
    web_area: FloatArray
    normal: FloatArray
    contacts: IntArray
    junction_radius: FloatArray
    at_surface: BoolArray
    hole_contacts: IntArray
    void_of_hole: IntArray
    void_area: FloatArray
    outer_area: float
    grain_volume: FloatArray
    web_radius: float
    near: Near
    faces: NDArray[np.int32]

    @property
    def count(self) -> int:
        """Number of faces."""
        return len(self.pairs)

    def faces_of(self, near: Near) -> NDArray[np.int32]:
        """Number of the face of every entry of ``near.neighbour``; -1 for faces too small for the grid."""
        return _faces_of(near, self.pairs, len(self.grain_volume))


@dataclass(frozen=True)
class Wetted:
    """What electrolyte reaches from outside: faces (face,) and voids (void,)."""

    faces: BoolArray
    voids: BoolArray


def wetted(network: Network, opened: BoolArray) -> Wetted:
    """What is connected with the outside through cracks that are ``opened`` (face,) and pores."""
    faces, junctions, voids = network.count, len(network.junction_radius), len(network.void_area)
    face, junction = network.contacts.T
    in_web = (network.junction_radius[junction] < network.web_radius) & (network.nearest[face] < network.web_radius)
    by_junction = opened[face] | in_web
    by_void = opened[network.hole_contacts[:, 0]]
    at_surface = np.flatnonzero(network.at_surface & opened)
    outside = faces + junctions + voids
    starts = [face[by_junction], network.hole_contacts[by_void, 0], at_surface]
    ends = [
        faces + junction[by_junction],
        faces + junctions + network.hole_contacts[by_void, 1],
        np.full(at_surface.size, outside),
    ]
    start, end = np.concatenate(starts), np.concatenate(ends)
    links = sparse.coo_array((np.ones(start.size, bool), (start, end)), shape=(outside + 1, outside + 1))
    component = csgraph.connected_components(links, directed=False)[1]
    reached = component == component[outside]
    return Wetted(reached[:faces], reached[faces + junctions : outside])


def boundary_network(grains: Grains, *, spacing: float | None = None) -> Network:
    """The network of a particle from a grid of ``spacing`` (um; a fifth of the grain size).

    Raises
    ------
    CathoscopeError
        If the spacing is too coarse for the grains.
    """
    size = grains.design.grain_size
    spacing = _SPACING * size if spacing is None else spacing
    if not 0 < spacing <= _COARSEST * size:
        raise CathoscopeError(
            "the grid is too coarse for the boundaries of the grains",
            expected=f"at most {_COARSEST:g} of the grain size: {_COARSEST * size:.3g} um",
            found=f"{spacing:g} um",
            cure=f"spacing={_SPACING * size:.2g}",
        )
    axis = _axis(grains, spacing)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    near = near_voxels(grains, points, spacing)
    labels, holes = _labels(near, points, grains)
    crossings = _crossings(grains, near, holes, points)
    pairs, measures = _faces(crossings, grains)
    return _assembled(grains, (labels, holes, points, spacing), pairs, measures, near)


def _axis(grains: Grains, spacing: float) -> FloatArray:
    """Positions (um) of the grid's points along each axis, one or more beyond the surface."""
    half = int(np.ceil(grains.outer.highest / spacing)) + 1
    return np.asarray((np.arange(2 * half) - half + 0.5) * spacing, dtype=np.float64)


def _labels(near: Near, points: FloatArray, grains: Grains) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Grain of each grid point, `_NONE` in the core and `_OUTSIDE`; and group of round pores (from 1), 0 elsewhere."""
    shape = points.shape[:-1]
    labels = near.label.copy()
    labels[near.envelope < 0.5] = _OUTSIDE
    labels[(near.envelope < 0.5) & (near.height < 0)] = _NONE
    void = (near.hole_depth > 0) & (near.hole >= 0) & (near.envelope >= 0.5)
    void |= labels == _NONE
    groups = ndimage.label(void.reshape(shape), structure=np.ones((3, 3, 3)))[0]
    return labels.reshape(shape), np.asarray(groups, dtype=np.int32)


@njit(cache=True, nogil=True)
def _normals(normals, points, pairs, lookup):  # type: ignore[no-untyped-def]
    """Fill ``normals`` (n, 3) with those of the boundaries between ``pairs`` (n, 2) at ``points`` (n, 3)."""
    for p in range(points.shape[0]):
        gx, gy, gz = _gradient(lookup, pairs[p, 0], pairs[p, 1], points[p, 0], points[p, 1], points[p, 2])
        length = np.sqrt(gx * gx + gy * gy + gz * gz)
        normals[p, 0], normals[p, 1], normals[p, 2] = gx / length, gy / length, gz / length


def _crossings(
    grains: Grains, near: Near, holes: NDArray[np.int32], points: FloatArray
) -> tuple[IntArray, FloatArray, FloatArray, FloatArray]:
    """Crossings of grid lines with boundaries: grains (n, 2), places (n, 3), normals (n, 3) and areas (n,), um².

    At the surface a crossing counts with the share of its two voxels that lies inside.
    """
    labels, envelope = near.label.reshape(holes.shape), near.envelope.reshape(holes.shape)
    pairs, places, axes, inside = [], [], [], []
    for axis in range(3):
        before = tuple(slice(0, -1) if a == axis else slice(None) for a in range(3))
        after = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        one, other = labels[before], labels[after]
        crossed = (one >= 0) & (other >= 0) & (one != other) & (holes[before] == 0) & (holes[after] == 0)
        pairs.append(np.sort(np.stack([one[crossed], other[crossed]], axis=1).astype(np.int64), axis=1))
        places.append((points[before][crossed] + points[after][crossed]) / 2)
        axes.append(np.full(len(pairs[-1]), axis))
        inside.append((envelope[before][crossed] + envelope[after][crossed]) / 2)
    pair, place, axis_of = np.concatenate(pairs), np.concatenate(places), np.concatenate(axes)
    normals = np.empty_like(place)
    _normals(normals, place, pair, grains.lookup)
    share = np.abs(normals[np.arange(len(pair)), axis_of]) * np.concatenate(inside)
    return pair, place, normals, share * near.voxel**2


def _faces(
    crossings: tuple[IntArray, FloatArray, FloatArray, FloatArray], grains: Grains
) -> tuple[IntArray, dict[str, Any]]:
    """Faces (face, 2), and area, radius, least radius, web area and normal of each."""
    pair, place, normals, area = crossings
    keys, face = np.unique(pair[:, 0] * grains.count + pair[:, 1], return_inverse=True)
    radius = np.linalg.norm(place, axis=1)
    web = pore_law(grains)
    total = np.bincount(face, area)
    nearest = np.full(keys.size, np.inf)
    np.minimum.at(nearest, face, radius)
    in_web = (web.sheet > 0) & (radius < web.radius)
    summed = np.stack([np.bincount(face, area * normals[:, axis]) for axis in range(3)], axis=1).astype(np.float64)
    normal = summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-12)
    return np.stack([keys // grains.count, keys % grains.count], axis=1), {
        "area": total,
        "radius": np.bincount(face, area * radius) / np.maximum(total, 1e-300),
        "nearest": nearest,
        "web_area": np.bincount(face, area * in_web),
        "normal": normal,
    }


def _assembled(
    grains: Grains,
    grid: tuple[NDArray[np.int32], NDArray[np.int32], FloatArray, float],
    pairs: IntArray,
    measures: dict[str, Any],
    near: Near,
) -> Network:
    """The network with its contacts."""
    labels, holes, points, spacing = grid
    web = pore_law(grains)
    contacts, radius, at_surface, in_holes = _contacts(labels, holes, points, pairs, grains.count)
    surface = np.zeros(len(pairs), dtype=bool)
    surface[at_surface] = True
    void_of_hole = np.full(max(len(web.holes), 1), -1)
    flat = holes.reshape(-1)
    owned = (flat > 0) & (near.hole >= 0) & (near.hole_depth > 0)
    void_of_hole[near.hole[owned]] = flat[owned] - 1
    return Network(
        pairs=pairs,
        **measures,
        contacts=contacts,
        junction_radius=radius,
        at_surface=surface,
        hole_contacts=in_holes,
        void_of_hole=void_of_hole,
        void_area=_void_areas(holes, spacing),
        outer_area=_outer_area(grains),
        grain_volume=_grain_volumes(labels[holes == 0], grains.count, spacing),
        web_radius=web.radius if web.sheet > 0 else 0.0,
        near=near,
        faces=_faces_of(near, pairs, grains.count),
    )


def _grain_volumes(labels: NDArray[np.int32], count: int, spacing: float) -> FloatArray:
    """Volume (um³) of every grain, from its number of grid points."""
    return np.asarray(np.bincount(labels[labels >= 0], minlength=count) * spacing**3, dtype=np.float64)


def _corners(values: NDArray[Any]) -> NDArray[Any]:
    """The eight values of every cube of neighbouring points, (cube, 8)."""
    n = values.shape[0] - 1
    parts = [values[i : n + i, j : n + j, k : n + k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    return np.stack([part.reshape(-1) for part in parts], axis=1)


def _contacts(
    labels: NDArray[np.int32], holes: NDArray[np.int32], points: FloatArray, pairs: IntArray, grains: int
) -> tuple[IntArray, FloatArray, IntArray, IntArray]:
    """Rows (face, junction), radii of junctions, faces at the surface, and rows (face, void)."""
    sides = [axis_labels != labels[:-1, :-1, :-1] for axis_labels in _shifted(labels)]
    candidates = np.flatnonzero(np.logical_or.reduce(sides).reshape(-1))
    corners = np.sort(_corners(labels)[candidates], axis=1)
    corners[:, 1:][np.diff(corners, axis=1) == 0] = _NONE
    distinct = (corners >= 0).sum(axis=1)
    void = _corners(holes)[candidates].max(axis=1)
    outside = corners[:, 0] == _OUTSIDE
    kept = (distinct >= 3) | ((distinct >= 2) & (outside | (void > 0)))
    corners, void, outside, candidates = corners[kept], void[kept], outside[kept], candidates[kept]
    middle = points[:-1, :-1, :-1].reshape(-1, 3)[candidates]
    which, face = _faces_in(corners, pairs, grains)
    at_surface = np.unique(face[outside[which]])
    touching = void[which] > 0
    in_holes = np.unique(np.stack([face[touching], void[which][touching] - 1], axis=1), axis=0)
    # cubes with the same grains are one junction, as near the centre as the nearest of them
    same = np.unique(_hashes(corners), return_inverse=True)[1]
    radius = np.full(int(same.max(initial=-1)) + 1, np.inf)
    np.minimum.at(radius, same, np.linalg.norm(middle, axis=1))
    rows = np.unique(same[which] * len(pairs) + face)
    contacts = np.stack([rows % len(pairs), rows // len(pairs)], axis=1)
    return contacts.astype(np.int64), radius, at_surface, in_holes.astype(np.int64)


def _shifted(labels: NDArray[np.int32]) -> list[NDArray[np.int32]]:
    """The other seven corners of every cube."""
    n = labels.shape[0] - 1
    steps = [(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1) if i + j + k]
    return [labels[i : n + i, j : n + j, k : n + k] for i, j, k in steps]


def _faces_in(corners: NDArray[np.int32], pairs: IntArray, grains: int) -> tuple[IntArray, IntArray]:
    """Cube and face of every face in a cube, whose distinct grains are the ``corners`` (cube, 8) that are not < 0."""
    keys = pairs[:, 0] * grains + pairs[:, 1]
    cubes, faces = [], []
    for a, b in combinations(range(8), 2):
        both = np.flatnonzero((corners[:, a] >= 0) & (corners[:, b] >= 0))
        key = corners[both, a].astype(np.int64) * grains + corners[both, b]
        at = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
        known = keys[at] == key
        cubes.append(both[known])
        faces.append(at[known])
    return np.concatenate(cubes), np.concatenate(faces)


def _hashes(corners: NDArray[np.int32]) -> NDArray[np.uint64]:
    """A number for the set of grains of every cube: a sum of well-mixed bits."""
    bits = (corners.astype(np.int64) + 3).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits = np.where(corners >= 0, bits ^ (bits >> np.uint64(31)), np.uint64(0))
    return np.asarray(bits.sum(axis=1, dtype=np.uint64))


def _faces_of(near: Near, pairs: IntArray, grains: int) -> NDArray[np.int32]:
    own = np.repeat(near.label, np.diff(near.starts)).astype(np.int64)
    low, high = np.minimum(own, near.neighbour), np.maximum(own, near.neighbour)
    keys, wanted = pairs[:, 0] * grains + pairs[:, 1], low * grains + high
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, at, -1).astype(np.int32)


def _void_areas(holes: NDArray[np.int32], spacing: float) -> FloatArray:
    """Area (um²) of each group of pores: crossings of grid lines, whose mean per area is 3/2 for round pores."""
    count = int(holes.max(initial=0)) + 1
    crossings = np.zeros(count)
    for axis in range(3):
        moved = np.moveaxis(holes, axis, 0)
        one, other = moved[:-1], moved[1:]
        for side in (one, other):
            crossings += np.bincount(side[one != other], minlength=count)
    return np.asarray(crossings[1:] * spacing**2 / _ISOTROPIC)


def _outer_area(grains: Grains) -> float:
    """Area (um²) of the rough outer surface: integral of r sqrt(r² + |grad r|²) over directions."""
    cosine, weight = np.polynomial.legendre.leggauss(_QUADRATURE)
    azimuth = np.arange(2 * _QUADRATURE) * pi / _QUADRATURE
    polar, around = (part.reshape(-1) for part in np.meshgrid(np.arccos(cosine), azimuth, indexing="ij"))
    step = 1e-4

    def radius(theta: FloatArray, phi: FloatArray) -> FloatArray:
        """Of the surface in directions of polar angle ``theta`` and azimuth ``phi``."""
        return grains.outer_radius(
            np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1)
        )

    r = radius(polar, around)
    along = (radius(polar + step, around) - radius(polar - step, around)) / (2 * step)
    across = (radius(polar, around + step) - radius(polar, around - step)) / (2 * step * np.sin(polar))
    solid_angle = np.repeat(weight, 2 * _QUADRATURE) * pi / _QUADRATURE
    return float(np.sum(solid_angle * r * np.sqrt(r**2 + along**2 + across**2)))
