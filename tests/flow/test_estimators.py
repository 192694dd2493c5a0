"""What differs within a voxel, measured: specimens known on a grid finer than the detector's are reconstructed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cathoscope.flow.steps.estimators import _UNRESOLVED
from cathoscope.flow.steps.statistics import _LOST
from cathoscope.tomography.reconstruct import plan_reconstruction, reconstruct

Floats = NDArray[np.float64]

SIZE, FINE, FIELDS = 48, 4, 8  # voxels across, points along a voxel, specimens
ANGLE = np.arange(120) * 1.5
PLACE = (np.arange(SIZE * FINE) + 0.5) / FINE - 0.5 * SIZE
Y, X = np.meshgrid(PLACE, PLACE, indexing="ij")


def voxels_of(states: Floats) -> tuple[Floats, Floats]:
    """Voxels reconstructed, and the means of their points, [specimen, y, x] in the middle, without their means.

    ``states`` [specimen, y, x] of points of unit mass, which the pixels of the detector add up without noise.
    """
    round_ = np.hypot(X, Y) < 0.5 * SIZE - 1
    sinogram = np.empty((FIELDS, ANGLE.size, SIZE), dtype=np.float32)
    for a, theta in enumerate(np.deg2rad(ANGLE)):
        pixel = np.floor((X * np.cos(theta) + Y * np.sin(theta))[round_] + 0.5 * SIZE).astype(int)
        for k, state in enumerate(states):
            sinogram[k, a] = np.bincount(pixel, weights=state[round_], minlength=SIZE) / FINE**2
    found = reconstruct(plan_reconstruction(ANGLE, SIZE), sinogram, 0.5 * (SIZE - 1), None, 1.0)
    truth = np.where(round_, states, 0.0).reshape(FIELDS, SIZE, FINE, SIZE, FINE).mean(axis=(2, 4))
    middle = slice(SIZE // 4, -SIZE // 4)
    found, truth = (volume[:, middle, middle] for volume in (found, truth))
    return tuple(volume - volume.mean(axis=(1, 2), keepdims=True) for volume in (found, truth))


def share_within_a_voxel(states: Floats) -> float:
    """Mean squared error of a reconstructed voxel as the mean of its points, over the difference of neighbours."""
    found, truth = voxels_of(states)
    neighbours = np.mean([np.mean(np.diff(found, axis=axis) ** 2) for axis in (1, 2)])
    return float(np.mean((found - truth) ** 2) / neighbours)


def grains(width: float, seed: int) -> Floats:
    """States of grains with sharp boundaries, ``width`` voxels wide."""
    rng = np.random.default_rng(seed)
    points, count = np.stack([Y.ravel(), X.ravel()], axis=1), int((SIZE / width) ** 2)
    nearest = [cKDTree(SIZE * (rng.random((count, 2)) - 0.5)).query(points)[1] for _ in range(FIELDS)]
    return np.stack([rng.standard_normal(count)[at].reshape(X.shape) for at in nearest])


def rough(seed: int) -> Floats:
    """States whose power falls with the square of the frequency: as much in every octave."""
    white = np.random.default_rng(seed).standard_normal((FIELDS, *X.shape))
    frequency = np.fft.fftfreq(X.shape[0], 1 / FINE)
    radius = np.hypot(frequency[:, None], frequency)
    radius[0, 0] = 1.0
    return np.asarray(np.fft.ifft2(np.fft.fft2(white) / radius).real)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_share_is_that_of_states_as_rough_at_every_scale(seed: int) -> None:
    assert share_within_a_voxel(rough(seed)) == pytest.approx(_UNRESOLVED, rel=0.1)


def test_the_share_lies_between_grains_of_one_and_of_two_voxels() -> None:
    """Wider grains differ less within a voxel than is said, and smaller ones more."""
    of_two, of_one = (share_within_a_voxel(grains(width, 3)) for width in (2.0, 1.0))
    assert 0.05 < of_two < 0.75 * _UNRESOLVED
    assert _UNRESOLVED < of_one < 0.2


@pytest.mark.parametrize(("width", "share"), [(0.0, _LOST), (1.0, _LOST), (2.0, _LOST), (4.0, 1.2 * _LOST)])
def test_a_reconstruction_has_less_variance_than_its_voxels(width: float, share: float) -> None:
    """By a share of its mean squared error: of grains of some voxels, and of a field rough at every scale."""
    found, truth = voxels_of(grains(width, 3) if width else rough(1))
    lost = np.mean(truth**2) - np.mean(found**2)
    assert lost == pytest.approx(share * np.mean((found - truth) ** 2), rel=0.15)
