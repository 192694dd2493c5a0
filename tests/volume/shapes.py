"""Analytic bodies as partial-volume grids, with their true volume, surface, mean curvature and Euler number.

Every function takes lengths in um, the voxel size (um; z, y, x) and a seed from which a sub-voxel offset and a rotation
are drawn. The share of a voxel inside the body is exact for planes, and from sub-boxes of a fifth of a voxel else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from math import pi, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

FloatArray = NDArray[np.float64]
Triple = tuple[float, float, float]

UNIT: Triple = (1.0, 1.0, 1.0)
FIBSEM: Triple = (0.019, 0.0135, 0.0135)
MARGIN = 4  # voxels around a body
_FLAT = 1e-4  # smallest extent of a box across a plane, relative to the largest: keeps the closed form finite


@dataclass(frozen=True)
class Shape:
    """A body on a grid, and the truth about it.

    ``body`` [z, y, x] is the share of each voxel inside the body. The numbers ``volume`` (um3), ``surface`` (um2),
    ``mean_curvature`` (um, integral over the surface, 4 pi R of a sphere) and ``euler`` are those of the body, NaN or
    None if not known. ``centre`` (um, from the middle of the first voxel) and ``axis`` (unit vector) are in the order
    z, y, x. ``empty`` says that the body is a void in a solid.
    """

    body: NDArray[np.float32]
    voxel_size: Triple
    centre: FloatArray
    axis: FloatArray
    volume: float
    surface: float = np.nan
    mean_curvature: float = np.nan
    euler: int | None = None
    empty: bool = False

    @property
    def fraction(self) -> NDArray[np.float32]:
        """Share of each voxel that is solid: a grey volume without blur and noise."""
        return 1 - self.body if self.empty else self.body

    @property
    def solid(self) -> NDArray[np.bool_]:
        """Voxels at least half solid."""
        return self.fraction >= 0.5

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Voxels at least half inside the body."""
        return self.body >= 0.5

    def as_void(self) -> Shape:
        """The same body, empty in a solid."""
        return replace(self, empty=True)

    def grey(self, *, blur: float = 1.0, noise: float = 0.08, seed: int = 0) -> NDArray[np.float32]:
        """The solid share blurred with a Gaussian of ``blur`` voxels and with white noise."""
        rng = np.random.default_rng(seed)
        return add_noise(gaussian_filter(self.fraction, blur, mode="nearest"), noise, rng)


def add_noise(grey: NDArray[np.float32], noise: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """A grey volume with white noise of a standard deviation."""
    return (grey + noise * rng.standard_normal(grey.shape, dtype=np.float32)).astype(np.float32)


def random_axis(rng: np.random.Generator) -> FloatArray:
    """A unit vector, every direction equally likely."""
    vector = rng.standard_normal(3)
    return vector / np.linalg.norm(vector)


def below_plane(distance: ArrayLike, normal: ArrayLike, edges: ArrayLike) -> FloatArray:
    """Share of a box of ``edges`` (um) with n . x <= distance, x from its middle: exact.

    The distribution function of a sum of three uniform variables of the extents |n_i| edges_i:
    sum of sign * max(t - corner, 0)^3 over the eight corners, over six times the product of the extents.
    """
    extents = np.abs(np.asarray(normal, float) * np.asarray(edges, float))
    extents = np.maximum(extents, _FLAT * extents.max())
    t = np.clip(np.asarray(distance, float), -extents.sum() / 2, extents.sum() / 2)
    total = np.zeros_like(t)
    for signs in product((-1.0, 1.0), repeat=3):
        total -= np.prod(signs) * np.maximum(t - np.dot(signs, extents) / 2, 0) ** 3
    return np.clip(total / (6 * extents.prod()), 0, 1)


def cut_area(distance: float, normal: ArrayLike, edges: ArrayLike) -> float:
    """Area (um2) of the plane n . x = distance inside a box about the origin: exact."""
    extents = np.abs(np.asarray(normal, float) * np.asarray(edges, float))
    extents = np.maximum(extents, _FLAT * extents.max())
    total = 0.0
    for signs in product((-1.0, 1.0), repeat=3):
        total -= np.prod(signs) * max(distance - np.dot(signs, extents) / 2, 0) ** 2
    return total / (2 * extents.prod()) * float(np.prod(np.asarray(edges, float)))


def sphere(radius: float, *, voxel_size: Triple = UNIT, seed: int = 0) -> Shape:
    """A ball."""
    where = _Frame(2 * radius, voxel_size, seed)
    return Shape(
        *where.drawn(lambda p: np.linalg.norm(p, axis=-1) - radius),
        volume=4 / 3 * pi * radius**3,
        surface=4 * pi * radius**2,
        mean_curvature=4 * pi * radius,
        euler=1,
    )


def shell(radius: float, core: float, *, voxel_size: Triple = UNIT, seed: int = 0) -> Shape:
    """A ball with a concentric hollow core of radius ``core``."""
    where = _Frame(2 * radius, voxel_size, seed)

    def distance(p: FloatArray) -> FloatArray:
        r = np.linalg.norm(p, axis=-1)
        return np.maximum(r - radius, core - r)

    return Shape(
        *where.drawn(distance),
        volume=4 / 3 * pi * (radius**3 - core**3),
        surface=4 * pi * (radius**2 + core**2),
        mean_curvature=4 * pi * (radius - core),
        euler=2,
    )


def torus(ring: float, tube: float, *, voxel_size: Triple = UNIT, seed: int = 0) -> Shape:
    """A ring of radius ``ring`` with a round section of radius ``tube``."""
    where = _Frame(2 * (ring + tube), voxel_size, seed)

    def distance(p: FloatArray) -> FloatArray:
        along, across = where.split(p)
        return np.hypot(across - ring, along) - tube

    return Shape(
        *where.drawn(distance),
        volume=2 * pi**2 * ring * tube**2,
        surface=4 * pi**2 * ring * tube,
        mean_curvature=2 * pi**2 * ring,
        euler=0,
    )


def cylinder(
    radius: float, length: float, *, voxel_size: Triple = UNIT, axis: ArrayLike | None = None, seed: int = 0
) -> Shape:
    """A solid cylinder with flat ends; an axis at random if none is given."""
    where = _Frame(sqrt(4 * radius**2 + length**2), voxel_size, seed, axis)

    def distance(p: FloatArray) -> FloatArray:
        along, across = where.split(p)
        side, end = across - radius, np.abs(along) - length / 2
        return np.minimum(np.maximum(side, end), 0) + np.hypot(np.maximum(side, 0), np.maximum(end, 0))

    return Shape(
        *where.drawn(distance),
        volume=pi * radius**2 * length,
        surface=2 * pi * radius * (length + radius),
        mean_curvature=pi * length + pi**2 * radius,
        euler=1,
    )


def slab(
    width: float,
    *,
    shape: tuple[int, int, int] = (48, 48, 48),
    voxel_size: Triple = UNIT,
    normal: ArrayLike | None = None,
    seed: int = 0,
) -> Shape:
    """A plate, also far thinner than a voxel, through the whole grid: its volume and both faces inside the grid."""
    return laminate(width, np.inf, shape=shape, voxel_size=voxel_size, normal=normal, seed=seed)


def laminate(
    width: float,
    period: float,
    *,
    shape: tuple[int, int, int] = (48, 48, 48),
    voxel_size: Triple = UNIT,
    normal: ArrayLike | None = None,
    seed: int = 0,
) -> Shape:
    """Parallel plates of ``width`` at a ``period``; volume and surface are those inside the grid."""
    frame = _Frame(0.0, voxel_size, seed, normal, shape)
    points = np.stack(np.meshgrid(*frame.axes(), indexing="ij"), axis=-1)
    along, axis = points @ frame.axis, frame.axis
    box = np.array(shape) * voxel_size
    middle = float(((np.array(shape) - 1) / 2 * voxel_size - frame.centre) @ axis)
    reach = float(np.abs(axis) @ box) / 2 + width
    places = (
        [0.0] if np.isinf(period) else period * np.arange(-np.ceil(reach / period) - 1, np.ceil(reach / period) + 2)
    )
    body, volume, surface = np.zeros(shape), 0.0, 0.0
    for place in places:
        near = np.abs(along - place) < (width + np.linalg.norm(voxel_size)) / 2
        body[near] += _between(along[near] - place, width, axis, voxel_size)
        at = place - middle
        edges = at - width / 2, at + width / 2
        volume += float(np.diff(below_plane(edges, axis, box))[0] * box.prod())
        surface += sum(cut_area(edge, axis, box) for edge in edges)
    return Shape(body.astype(np.float32), voxel_size, frame.centre, axis, volume, surface, mean_curvature=0.0)


def penny_crack(
    radius: float,
    opening: float,
    *,
    voxel_size: Triple = UNIT,
    elliptic: bool = False,
    normal: ArrayLike | None = None,
    seed: int = 0,
) -> Shape:
    """A round crack in a solid, of constant opening (um), or elliptic: ``opening`` at the middle and zero at the rim.

    The opening may be far below a voxel. The surface is both faces and, of the flat one, its rim.
    """
    where = _Frame(2 * radius + opening, voxel_size, seed, normal)
    n_sub = 5
    edges = np.array(voxel_size) / n_sub

    def share(p: FloatArray) -> FloatArray:
        along, across = where.split(p)
        width = np.full_like(across, opening)
        rim = np.clip(0.5 + (radius - across) / edges.mean(), 0, 1)
        if elliptic:
            width *= np.sqrt(np.maximum(1 - (across / radius) ** 2, 0))
            rim = 1.0
        return rim * _between(along, width, where.axis, edges)

    body = where.averaged(share, lambda along, across: (np.abs(along) < opening / 2) & (across < radius), n_sub)
    volume, surface = pi * radius**2 * opening, 2 * pi * radius * (radius + opening)
    if elliptic:
        volume, surface = 2 / 3 * volume, _spheroid_surface(radius, opening / 2)
    return Shape(body, voxel_size, where.centre, where.axis, volume, surface, euler=1, empty=True)


def _spheroid_surface(a: float, c: float) -> float:
    """Surface of an oblate spheroid of half axes a, a, c (c < a)."""
    e = sqrt(1 - (c / a) ** 2)
    return 2 * pi * a**2 + pi * c**2 / e * np.log((1 + e) / (1 - e)) if e > 0 else 4 * pi * a**2


@dataclass(frozen=True)
class BooleanTruth:
    """Miles' densities of overlapping balls of one size: per um3, in the mean over realisations."""

    volume: float
    surface: float
    mean_curvature: float
    euler: float


def miles(intensity: float, radius: float) -> BooleanTruth:
    """Densities of the Boolean model of balls (Miles 1976): ``intensity`` centres per um3.

    With V, S, M of one ball and p = exp(-i V): V_V = 1 - p, S_V = i S p, M_V = i p (M - pi^2 i S^2 / 32) and
    chi_V = i p (1 - i M S / (4 pi) + pi i^2 S^3 / 384).
    """
    v, s, m, i = 4 / 3 * pi * radius**3, 4 * pi * radius**2, 4 * pi * radius, intensity
    free = np.exp(-i * v)
    return BooleanTruth(
        volume=1 - free,
        surface=i * s * free,
        mean_curvature=i * free * (m - pi**2 * i * s**2 / 32),
        euler=i * free * (1 - i * m * s / (4 * pi) + pi * i**2 * s**3 / 384),
    )


def boolean_spheres(
    intensity: float,
    radius: float,
    *,
    shape: tuple[int, int, int] = (64, 64, 64),
    voxel_size: Triple = UNIT,
    seed: int = 0,
) -> Shape:
    """Balls of one radius, centres thrown at random (also outside the grid); the numbers are Miles' times the grid."""
    rng = np.random.default_rng(seed)
    size = np.array(shape) * voxel_size
    reach = radius + 2 * max(voxel_size)
    count = rng.poisson(intensity * np.prod(size + 2 * reach))
    centres = rng.uniform(-reach, size + reach, (max(count, 1), 3)) - np.array(voxel_size) / 2
    tree, near = cKDTree(centres), min(4, len(centres))
    frame = _Frame(0.0, voxel_size, seed, None, shape)
    frame.centre[:] = 0
    distance = _painted(centres, reach, frame).ravel() - radius
    points = np.stack(np.meshgrid(*frame.axes(), indexing="ij"), axis=-1).reshape(-1, 3)
    body = (distance < 0).astype(np.float64)
    half = np.linalg.norm(voxel_size) / 2
    for rows in np.array_split(edge := np.flatnonzero(np.abs(distance) < half), len(edge) // 8192 + 1):
        which = tree.query(points[rows], k=near, workers=1)[1].reshape(len(rows), near)
        sub = points[rows, None] + _sub_points(voxel_size, 3)
        nearest = np.full(sub.shape[:2], np.inf)
        for k in range(near):
            nearest = np.minimum(nearest, np.linalg.norm(sub - centres[which[:, k], None], axis=-1))
        body[rows] = np.clip(0.5 - (nearest - radius) * 3 / np.mean(voxel_size), 0, 1).mean(axis=1)
    truth = miles(intensity, radius)
    numbers = (truth.volume, truth.surface, truth.mean_curvature)
    total = [float(density * size.prod()) for density in numbers]
    return Shape(body.reshape(shape).astype(np.float32), voxel_size, frame.centre, frame.axis, *total)


def _painted(centres: FloatArray, reach: float, frame: _Frame) -> FloatArray:
    """Distance of every voxel to the nearest centre, infinite where none is within ``reach``."""
    nearest, axes = np.full(frame.shape, np.inf), frame.axes()
    for centre in centres:
        ends = [np.searchsorted(axis, (c - reach, c + reach)) for axis, c in zip(axes, centre, strict=True)]
        box = tuple(slice(*end) for end in ends)
        z, y, x = np.ix_(*[axis[part] - c for axis, part, c in zip(axes, box, centre, strict=True)])
        nearest[box] = np.minimum(nearest[box], np.sqrt(z**2 + y**2 + x**2))
    return nearest


def _between(along: FloatArray, width: ArrayLike, axis: FloatArray, edges: ArrayLike) -> FloatArray:
    """Share of boxes, their middles at ``along`` from the mid-plane, that lies within +- width / 2."""
    half = np.asarray(width) / 2
    return below_plane(half - along, axis, edges) - below_plane(-half - along, axis, edges)


def _sub_points(voxel_size: Triple, n: int) -> FloatArray:
    """Middles of n^3 sub-boxes of a voxel, from its own middle."""
    steps = (np.arange(n) + 0.5) / n - 0.5
    return np.stack(np.meshgrid(*[steps * h for h in voxel_size], indexing="ij"), axis=-1).reshape(-1, 3)


class _Frame:
    """A grid with a body somewhere near its middle, turned: place and axis from a seed."""

    def __init__(
        self,
        extent: float,
        voxel_size: Triple,
        seed: int,
        axis: ArrayLike | None = None,
        shape: tuple[int, int, int] | None = None,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.voxel_size = voxel_size
        self.shape = shape or tuple(int(np.ceil(extent / h)) + 2 * MARGIN + 1 for h in voxel_size)
        vector = random_axis(rng) if axis is None else np.asarray(axis, float)
        self.axis: FloatArray = vector / np.linalg.norm(vector)
        offset = rng.uniform(-0.5, 0.5, 3)
        self.centre: FloatArray = ((np.array(self.shape) - 1) / 2 + offset) * voxel_size

    def axes(self) -> list[FloatArray]:
        """Middles of the voxels from the centre of the body, um, of each axis."""
        return [np.arange(n) * h - c for n, h, c in zip(self.shape, self.voxel_size, self.centre, strict=True)]

    def split(self, p: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Coordinate along the axis and distance from it."""
        along = p @ self.axis
        return along, np.sqrt(np.maximum((p**2).sum(axis=-1) - along**2, 0))

    def drawn(self, distance: Callable[[FloatArray], FloatArray]) -> tuple:
        """Share of each voxel where the signed distance (um, negative inside) is below 0; and the grid."""
        n_sub = 5
        width = np.mean(self.voxel_size) / n_sub
        points = np.stack(np.meshgrid(*self.axes(), indexing="ij"), axis=-1)
        centre = distance(points)
        body = (centre < 0).astype(np.float32)
        edge = np.abs(centre) < np.linalg.norm(self.voxel_size) / 2 + width
        sub = _sub_points(self.voxel_size, n_sub)
        body[edge] = np.concatenate(
            [
                np.clip(0.5 - distance(rows[:, None] + sub) / width, 0, 1).mean(axis=1)
                for rows in np.array_split(points[edge], edge.sum() // 8192 + 1)
            ]
        )
        return body, self.voxel_size, self.centre, self.axis

    def averaged(
        self, share: Callable[[FloatArray], FloatArray], reached: Callable[..., NDArray[np.bool_]], n_sub: int
    ) -> NDArray[np.float32]:
        """Mean of ``share`` over the sub-boxes of the voxels that come near to where ``reached`` may hold."""
        points = np.stack(np.meshgrid(*self.axes(), indexing="ij"), axis=-1)
        along, across = self.split(points)
        half = np.linalg.norm(self.voxel_size) / 2
        near = reached(np.maximum(np.abs(along) - half, 0), np.maximum(across - half, 0))
        sub = _sub_points(self.voxel_size, n_sub)
        body = np.zeros(self.shape, np.float32)
        body[near] = np.concatenate(
            [share(rows[:, None] + sub).mean(axis=1) for rows in np.array_split(points[near], near.sum() // 8192 + 1)]
        )
        return body
