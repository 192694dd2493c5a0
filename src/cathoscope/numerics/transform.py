"""Turn, scale and shift between two volumes of one particle, in voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Similarity:
    """A turn, an isotropic scale and a shift; `register` states the convention.

    Attributes
    ----------
    shift
        (z, y, x), voxel.
    rotation_vector
        About (z, y, x), deg.
    scale
        Lengths in the moving volume over those in the fixed one; its cube is the ratio of volumes.
    centre
        Voxel (z, y, x) about which is turned.
    """

    shift: Float64Array
    rotation_vector: Float64Array
    scale: float
    centre: Float64Array

    @property
    def matrix(self) -> Float64Array:
        """Turn and scale, (3, 3), for vectors (z, y, x)."""
        return self.scale * turn_matrix(self.rotation_vector)

    def to_moving(self, points: Float64Array) -> Float64Array:
        """Voxel positions (..., 3) of the moving volume for those of the fixed one."""
        return np.asarray((points - self.centre) @ self.matrix.T + (self.centre + self.shift))

    def inverse(self) -> Similarity:
        """The map from the moving volume to the fixed one, about the same centre."""
        back = np.linalg.inv(self.matrix)
        return Similarity(-back @ self.shift, -self.rotation_vector, 1 / self.scale, self.centre)

    def after(self, first: Similarity) -> Similarity:
        """First ``first``, then this one, as one map about the centre of the first."""
        matrix = self.matrix @ first.matrix
        scale = self.scale * first.scale
        shift = self.to_moving(first.to_moving(first.centre)) - first.centre
        return Similarity(np.asarray(shift), rotation_vector_of(matrix / scale), scale, first.centre)


def rigid_part(points: Float64Array, displacement: Float64Array) -> Float64Array:
    """Shift (z, y, x) and small turn about (z, y, x) in deg of displacements (n, 3) at voxels (n, 3), least squares.

    The shift is that of the middle of the voxels; both are linear in the displacements.
    """
    lever = points - points.mean(axis=0)
    inertia = np.sum(lever**2) * np.eye(3) - lever.T @ lever
    # reversed to (x, y, z), where a cross product is right-handed
    moment = np.cross(lever[:, ::-1], displacement[:, ::-1]).sum(axis=0)[::-1]
    return np.concatenate([displacement.mean(axis=0), np.rad2deg(np.linalg.solve(inertia, moment))])


def turn_matrix(rotation_vector: ArrayLike) -> Float64Array:
    """Matrix for vectors (z, y, x) of a rotation vector about (z, y, x) in deg, right-handed in (x, y, z)."""
    vector = np.asarray(rotation_vector, dtype=np.float64)
    return np.ascontiguousarray(Rotation.from_rotvec(vector[::-1], degrees=True).as_matrix()[::-1, ::-1])


def rotation_vector_of(turn: Float64Array) -> Float64Array:
    """Rotation vector about (z, y, x), deg, of a matrix for vectors (z, y, x)."""
    return np.array(Rotation.from_matrix(turn[::-1, ::-1]).as_rotvec(degrees=True)[::-1])
