"""What a drawn particle measures, by lines and points through it: independent of the formulas that drew it.

Crossings per length of isotropic lines give boundary area per volume, S_V = 2 P_L, and their spacing the mean
intercept, 1 / P_L (Saltykov; Underwood, *Quantitative Stereology*, 1970). Points give volume fractions.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import numpy as np
from numpy.typing import NDArray

from cathoscope.virtual.cracks import pair_openings, pore_share, solid
from cathoscope.virtual.grains import REFERENCE, Grains

FloatArray = NDArray[np.float64]

_STEP = 0.01  # along lines, of the grain size: crossings closer to each other are seen as one
_POINT = 1e-5  # um: a voxel so small that it lies in one material
_BATCH = 64  # lines at a time


@dataclass(frozen=True)
class Crossings:
    """Where lines cross grain boundaries.

    Attributes
    ----------
    length
        Length of the lines inside grains, um.
    points
        Crossings, (crossing, 3), um.
    pairs
        The two grains, (crossing, 2).
    """

    length: float
    points: FloatArray
    pairs: NDArray[np.int32]

    @property
    def mean_intercept(self) -> float:
        """Length of the lines per crossing, um."""
        return self.length / len(self.points) if len(self.points) else np.inf

    @property
    def area_per_volume(self) -> float:
        """Area of boundary per volume, 1/um, if the lines are isotropic."""
        return 2 * len(self.points) / self.length

    def openings(self, grains: Grains) -> FloatArray:
        """Opening (um) of the boundary at each crossing; 0 where closed."""
        return pair_openings(grains, self.pairs, np.linalg.norm(self.points, axis=1))

    def crack_area_per_volume(self, grains: Grains) -> float:
        """Area of open boundary per volume, 1/um, if the lines are isotropic."""
        return 2 * int(np.count_nonzero(self.openings(grains))) / self.length

    def crack_volume_fraction(self, grains: Grains) -> float:
        """Area times opening of the open boundaries per volume, if the lines are isotropic."""
        return 2 * float(self.openings(grains).sum()) / self.length


def isotropic_crossings(grains: Grains, *, lines: int, seed: int, within: float | None = None) -> Crossings:
    """Crossings of uniform isotropic random lines through the ball of radius ``within`` (um; the whole particle)."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, 0)))
    ball = grains.outer.highest if within is None else within
    direction = _directions(lines, rng)
    first, second = _normal_plane(direction)
    distance, azimuth = ball * np.sqrt(rng.uniform(size=lines)), rng.uniform(0, 2 * pi, lines)
    foot = distance[:, None] * (np.cos(azimuth)[:, None] * first + np.sin(azimuth)[:, None] * second)
    half = np.sqrt(ball**2 - distance**2)
    count = max(int(np.ceil(2 * ball / (_STEP * grains.design.grain_size))), 2)
    at = np.linspace(-1, 1, count)
    return _crossings(grains, [foot, half[:, None] * direction], np.stack([np.ones(count), at]))


def radial_crossings(grains: Grains, *, lines: int, seed: int) -> Crossings:
    """Crossings of radii in uniform random directions, from the centre to the surface."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, 1)))
    count = int(np.ceil(grains.outer.highest / (_STEP * grains.design.grain_size)))
    return _crossings(grains, [_directions(lines, rng)], np.linspace(0, grains.outer.highest, count)[None])


def tangential_crossings(grains: Grains, *, lines: int, seed: int, radius: float | None = None) -> Crossings:
    """Crossings of great circles, of ``radius`` um (0.7 of the particle's), in random planes through the centre."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, 2)))
    radius = REFERENCE * grains.design.radius if radius is None else radius
    first, second = _normal_plane(_directions(lines, rng))
    angle = np.linspace(0, 2 * pi, int(np.ceil(2 * pi * radius / (_STEP * grains.design.grain_size))))
    return _crossings(grains, [radius * first, radius * second], np.stack([np.cos(angle), np.sin(angle)]))


def _crossings(grains: Grains, vectors: list[FloatArray], factors: FloatArray) -> Crossings:
    """Crossings of the paths sum over k of ``vectors[k]`` (line, 3) times ``factors[k]`` (step,)."""
    length, points, pairs = 0.0, [], []
    for start in range(0, len(vectors[0]), _BATCH):
        parts = [vector[start : start + _BATCH] for vector in vectors]
        paths = sum(part[:, None, :] * factor[None, :, None] for part, factor in zip(parts, factors, strict=True))
        labels = grains.labels(np.asarray(paths))
        before, after = labels[:, :-1], labels[:, 1:]
        steps = np.linalg.norm(np.diff(paths, axis=1), axis=2)
        inside = (before >= 0) & (after >= 0)
        crossed = inside & (before != after)
        length += float(steps[inside].sum())
        points.append((paths[:, :-1][crossed] + paths[:, 1:][crossed]) / 2)
        pairs.append(np.stack([before[crossed], after[crossed]], axis=1))
    return Crossings(length, np.concatenate(points), np.concatenate(pairs))


def orientation_order(grains: Grains, *, points: int = 100_000, seed: int = 0) -> float:
    """P2 = <3 cos^2 - 1>/2 of the in-plane axis [110] against the local radius, averaged over the grains' volume."""
    where = _points_in_envelope(grains, points, seed)
    labels = grains.labels(where)
    where, labels = where[labels >= 0], labels[labels >= 0]
    radial = where / np.linalg.norm(where, axis=1, keepdims=True)
    cosine = np.sum(radial * grains.in_plane[labels], axis=1)
    return float(np.mean(1.5 * cosine**2 - 0.5))


def volume_fractions(grains: Grains, *, points: int = 100_000, seed: int = 0) -> dict[str, float]:
    """Shares of the envelope's volume that are hollow core, crack, pore and oxide, by random points; they sum to 1."""
    where = _points_in_envelope(grains, points, seed)
    crack = float(solid(grains, where, _POINT).crack.mean())
    pore = float(pore_share(grains, where, _POINT).mean())
    core = float(np.mean(grains.labels(where) < 0))
    return {"core": core, "crack": crack, "pore": pore, "oxide": 1 - core - crack - pore}


def grain_volumes(grains: Grains, *, spacing: float) -> FloatArray:
    """Volume (um³) of every grain, (grain,), by counting points of a cubic grid of ``spacing`` um."""
    half = int(np.ceil(grains.outer.highest / spacing))
    axis = np.arange(-half, half + 1) * spacing
    counts = np.zeros(grains.count, dtype=np.int64)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    for z in axis:
        labels = grains.labels(np.stack([x, y, np.full_like(x, z)], axis=-1))
        counts += np.bincount(labels[labels >= 0], minlength=grains.count)
    return np.asarray(counts * spacing**3)


def _points_in_envelope(grains: Grains, count: int, seed: int) -> FloatArray:
    """Uniform random points inside the outer surface, out of ``count`` in the ball around it, (n, 3), um."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, 4)))
    points = _directions(count, rng) * (grains.outer.highest * np.cbrt(rng.uniform(size=(count, 1))))
    inside = np.linalg.norm(points, axis=1) < grains.outer_radius(points)
    return np.asarray(points[inside])


def _directions(count: int, rng: np.random.Generator) -> FloatArray:
    """Uniform unit vectors, (count, 3)."""
    vectors = rng.standard_normal((count, 3))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _normal_plane(axis: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Two unit vectors perpendicular to each unit vector of ``axis`` (n, 3), and to each other."""
    smallest = np.eye(3)[np.argmin(np.abs(axis), axis=1)]
    first = np.cross(axis, smallest)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return first, np.cross(axis, first)
