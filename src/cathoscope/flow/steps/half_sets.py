"""Noise from half-sets: odd against even projections of the voxels of matter, beside what all energies share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cathoscope.flow.steps.projections import Floats
from cathoscope.numerics.noise_floor import noise_apart_from_shared
from cathoscope.numerics.spread import MAD_TO_STD

_FEWEST_VOXELS = 200
_SAMPLES = 20_000  # voxels, in matter or not, whose half-sets are compared over all energies of a condition


def matter_in(volume: Floats) -> NDArray[np.bool_]:
    """Voxels of matter: noise is larger behind it, and it is the noise of the matter that counts."""
    inside = np.asarray(volume > 0.5 * np.percentile(volume, 99.5))
    return inside if inside.sum() >= _FEWEST_VOXELS else np.ones_like(inside)


def spread_of(values: Floats) -> float:
    """Standard deviation about zero from the median of the absolute values."""
    return float(MAD_TO_STD * np.median(np.abs(values)))


def some_in_matter(difference: Floats, inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Differences of voxels that lie apart, nan outside matter, ``[sample]``: few, and hardly of shared noise."""
    apart = slice(None, None, max(difference.size // _SAMPLES, 1))
    return np.where(inside.ravel()[apart], difference.ravel()[apart], np.float32(np.nan)).astype(np.float32)


def share_not_shared(differences: list[NDArray[np.float32]]) -> list[float]:
    """Noise of every energy over the spread of its half-sets, from `some_in_matter` of all energies of a condition.

    Volumes of half the projections have streaks that those of all of them have not. Streaks are the same at all
    energies, noise is not.
    """
    if not differences:
        return []
    table = np.stack(differences, axis=1)
    table = table[np.isfinite(table).all(axis=1)]
    if table.shape[0] < _FEWEST_VOXELS:
        return [1.0] * len(differences)
    spread = np.array([spread_of(of_energy) for of_energy in table.T])
    return [float(share) for share in noise_apart_from_shared(table) / spread]
