"""What each of the 256 neighbourhoods of 2 x 2 x 2 voxels adds to surface, mean curvature and Euler number."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import SphericalVoronoi

FloatArray = NDArray[np.float64]

# the 13 directions between neighbours, as steps (z, y, x); read as Miller indices, the 13 families of planes
STEPS = np.array(
    [step for step in product((0, 1, -1), repeat=3) if step > (0, 0, 0) and step > tuple(-i for i in step)]
)
CORNERS = np.array(list(product((0, 1), repeat=3)))  # corner 4 z + 2 y + x of a neighbourhood
SET = (np.arange(256)[:, None] >> np.arange(8)) & 1  # [neighbourhood, corner]
_NORMALS = 1500  # on half a sphere


class Lattice(NamedTuple):
    """Lines and planes of a grid, and the part of all directions that each stands for.

    ``line_length`` [13] is the distance of neighbours on a line (um), ``plane_spacing`` [13] that of neighbouring
    planes (um); the weights [13] add up to 1. ``normals`` [n, 3] cover half a sphere evenly; ``response`` [13, n] is
    the number of crossings per length of each line with a surface of unit area per volume of each normal.
    """

    line_length: FloatArray
    line_weight: FloatArray
    plane_spacing: FloatArray
    plane_weight: FloatArray
    normals: FloatArray
    response: FloatArray


@lru_cache(maxsize=16)
def lattice(voxel_size: tuple[float, float, float]) -> Lattice:
    """Lines and planes of a grid of ``voxel_size`` (um; z, y, x)."""
    lines = STEPS * np.asarray(voxel_size)
    planes = STEPS / np.asarray(voxel_size)
    length, inverse = np.linalg.norm(lines, axis=1), np.linalg.norm(planes, axis=1)
    normals = half_sphere(_NORMALS)
    response = np.abs(lines / length[:, None] @ normals.T)
    return Lattice(length, _voronoi(lines), 1 / inverse, _voronoi(planes), normals, response)


def half_sphere(count: int) -> FloatArray:
    """Unit vectors that cover half a sphere evenly: a Fibonacci lattice."""
    k = np.arange(count) + 0.5
    z, turn = k / count, np.pi * (1 + np.sqrt(5)) * k
    rho = np.sqrt(1 - z**2)
    return np.stack([z, rho * np.cos(turn), rho * np.sin(turn)], axis=1)


def _voronoi(vectors: FloatArray) -> FloatArray:
    """Share of the sphere nearer to a direction or its opposite than to any other."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    areas = SphericalVoronoi(np.concatenate([unit, -unit])).calculate_areas()
    return np.asarray((areas[:13] + areas[13:]) / areas.sum())


def _corner(place: FloatArray) -> int:
    return int(place @ (4, 2, 1))


@lru_cache(maxsize=1)
def crossings() -> FloatArray:
    """Mean number of changes between neighbours of each of the 13 directions, [13, 256]."""
    table = np.zeros((13, 256))
    for k, step in enumerate(STEPS):
        starts = [corner for corner in CORNERS if ((corner + step >= 0) & (corner + step <= 1)).all()]
        for start in starts:
            table[k] += SET[:, _corner(start)] != SET[:, _corner(start + step)]
        table[k] /= len(starts)
    return table


@lru_cache(maxsize=1)
def plane_euler() -> FloatArray:
    """Euler number in the 13 families of lattice planes, [13, 256]; of a set minus that of the rest, halved.

    A face of the plane's own lattice adds a share of its corners, minus a share of its edges, plus itself where they
    are set. Counting the rest in the same way and taking half the difference makes it the opposite of that of the rest.
    """
    table = np.zeros((13, 256))
    for k, index in enumerate(STEPS):
        height = CORNERS @ index
        faces = [np.flatnonzero(height == level) for level in np.unique(height)]
        faces = [face for face in faces if len(face) >= 3]
        for face in faces:
            share = 0.5 if np.abs(index).sum() == 1 else 1.0
            table[k] += share * (_face_euler(SET, face) - _face_euler(1 - SET, face)) / 2
    return table


def _face_euler(on: NDArray[np.int_], face: NDArray[np.int_]) -> FloatArray:
    """Corners, edges and itself of a square (4 corners) or triangle (3), each shared with its neighbours."""
    values = on[:, face]
    if len(face) == 3:
        pairs = values[:, 0] * values[:, 1] + values[:, 1] * values[:, 2] + values[:, 2] * values[:, 0]
        return np.asarray(values.sum(axis=1) / 6 - pairs / 2 + values.prod(axis=1))
    # in rising order of corners, 0-1, 0-2, 1-3 and 2-3 are the edges of the square
    pairs = sum(values[:, i] * values[:, j] for i, j in ((0, 1), (0, 2), (1, 3), (2, 3)))
    return np.asarray(values.sum(axis=1) / 4 - pairs / 2 + values.prod(axis=1))


@lru_cache(maxsize=2)
def euler(connectivity: int) -> FloatArray:
    """Euler number of the set that each neighbourhood stands for, [256], its parts being 6- or 26-connected.

    26: voxels are closed cubes; corners - edges + faces - cubes of their union. 6: the voxels' middles are corners, and
    neighbours that are both set are joined.
    """
    edges, faces = _pairs(), _squares()
    if connectivity == 6:
        joined = np.array([SET[:, pair].all(axis=1) for pair in edges]).sum(axis=0)
        filled = np.array([SET[:, face].all(axis=1) for face in faces]).sum(axis=0)
        return np.asarray(SET.sum(axis=1) / 8 - joined / 4 + filled / 2 - SET.all(axis=1))
    # around the middle of the neighbourhood: an edge is in four voxels (a face), a face in two (a pair)
    on_edges = np.array([SET[:, face].any(axis=1) for face in faces]).sum(axis=0)
    on_faces = np.array([SET[:, pair].any(axis=1) for pair in edges]).sum(axis=0)
    return np.asarray(SET.any(axis=1) - on_edges / 2 + on_faces / 4 - SET.sum(axis=1) / 8)


def _pairs() -> list[list[int]]:
    return [[i, j] for i in range(8) for j in range(i) if np.abs(CORNERS[i] - CORNERS[j]).sum() == 1]


def _squares() -> list[NDArray[np.int_]]:
    return [np.flatnonzero(CORNERS[:, axis] == end) for axis in range(3) for end in (0, 1)]
