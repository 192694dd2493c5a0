"""Grey levels of the oxide of every particle and of emptiness, from which porosity follows."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import edt  # type: ignore[import-not-found]
import numpy as np
from scipy import ndimage

from cathoscope.numerics.estimate import Estimate
from cathoscope.numerics.random_effects import population_of
from cathoscope.volume.particles_2d import ParticleMap
from cathoscope.volume.section_image import BoolArray, Float32Array, FloatArray, LabelArray

RIM = 3.0
"""Depth below the outer surface that its blur reaches, px."""

_AWAY = 3.0  # px from pores at which the level is that of oxide
_FEWEST = 150  # pixels of a particle's own level
_BLOCK = 8  # px, of blocks whose scatter is the level's error, whatever the noise is correlated over
_VOID_DEPTH = 2.5  # px from the oxide at which a pore is empty for certain
_CONTAMINATION, _UNSURE = 0.1, 0.02  # error of a level, of the share that is crack; and where it is not known


@dataclass(frozen=True)
class View:
    """The surroundings of one particle."""

    labels: LabelArray
    grey: Float32Array
    depth: Float32Array
    dark: BoolArray
    line: BoolArray
    wider: BoolArray
    number: int


def void_level(grey: Float32Array, found: ParticleMap) -> Estimate:
    """Level of wide pores inside particles; without any that of the darkest surroundings, less certain."""
    inner = found.labels > 0
    smooth = ndimage.gaussian_filter(grey, 1.0)
    pore = inner & (smooth < found.levels.threshold)
    wide = np.asarray(edt.edt(pore, black_border=False)) > _VOID_DEPTH + 0.5 * found.smoothing
    around = smooth[found.field & ~inner]
    dark = found.levels.dark if around.size == 0 else float(np.percentile(around, 1))
    contrast = found.levels.solid - found.levels.dark
    if wide.sum() < 12:
        value = 0.5 * (dark + found.levels.dark)
        return Estimate(value, 0.0, max(abs(found.levels.dark - dark) / sqrt(12), 0.05 * contrast))
    values = grey[wide]
    scatter = found.levels.noise / sqrt(values.size)
    return Estimate(float(values.mean()), scatter, 0.02 * contrast)


def _own_level(view: View) -> tuple[float, float]:
    """Mean grey of a particle far from pores and from the surface, and its error; not known where there is too little.

    Cracks too fine to be detected leave the grey somewhat low, the more the more cracks there are.
    """
    mine = view.labels == view.number
    away = np.asarray(edt.edt(~(view.dark | view.line), black_border=False)) > _AWAY
    calm = mine & away & (view.depth > RIM)
    if calm.sum() < _FEWEST:
        return np.nan, np.inf
    values = view.grey[calm].astype(np.float64)
    rows, columns = (at // _BLOCK for at in np.nonzero(calm))
    _, place = np.unique(rows * mine.shape[1] + columns, return_inverse=True)
    n = np.bincount(place)
    residual = np.bincount(place, values - values.mean())
    scatter = sqrt(float((residual**2).sum()) * n.size / max(n.size - 1, 1)) / values.size
    lost = _CONTAMINATION * float(values.mean()) * float(((view.dark | view.line) & mine).sum()) / float(mine.sum())
    return float(values.mean()), sqrt(scatter**2 + lost**2)


def solid_levels(views: list[View], common: float) -> tuple[FloatArray, FloatArray]:
    """Level of the oxide of every particle and its error: its own, drawn to that of all as far as they agree."""
    own, std = np.array([_own_level(view) for view in views]).T
    sure = np.isfinite(own)
    if sure.sum() < 3:
        std = np.where(sure, std, _UNSURE * abs(common))
        return np.where(sure, own, common), std
    members = population_of(own[sure], std[sure])
    between, error = members.spread**2, members.mean_std**2
    weight = np.where(sure, between / (between + std**2), 0.0) if between > 0 else np.zeros(own.size)
    level = weight * np.where(sure, own, 0.0) + (1 - weight) * members.mean
    own_part = np.where(sure, weight * np.where(sure, std, 0.0) ** 2, between) if between > 0 else np.zeros(own.size)
    return level, np.sqrt(own_part + (1 - weight) ** 2 * error)
