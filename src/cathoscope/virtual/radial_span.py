"""How far grains of a drawn particle reach along its radius, by lines through it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cathoscope.virtual.grains import Grains

_STEP = 0.01  # along lines, of the grain size


def radial_span(grains: Grains, *, lines: int = 400, seed: int = 0) -> float:
    """Mean over radii of the longest run of one grain, relative to the thickness between core and surface."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, 3)))
    direction = rng.standard_normal((lines, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    inner, outer = grains.core_radius(direction), grains.outer_radius(direction)
    count = int(np.ceil((grains.design.radius - grains.design.core_radius) / (_STEP * grains.design.grain_size)))
    share = (np.arange(count) + 0.5) / count
    radii = inner[:, None] + (outer - inner)[:, None] * share
    labels = grains.labels(radii[..., None] * direction[:, None, :])
    return float(np.mean([_longest_run(row) for row in labels]) / count)


def _longest_run(labels: NDArray[np.int32]) -> int:
    """Length of the longest sequence of equal labels."""
    ends = np.flatnonzero(np.diff(labels)) + 1
    return int(np.diff(np.concatenate([[0], ends, [labels.size]])).max())
