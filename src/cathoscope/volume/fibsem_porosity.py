"""Porosity of a prepared FIB/SEM stack by its sections, and what every correction may leave in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cathoscope.numerics.estimate import Estimate
from cathoscope.volume.fibsem_alignment import StackDrift
from cathoscope.volume.fibsem_correction import Curtains, SliceLevels
from cathoscope.volume.fibsem_outline import Outline
from cathoscope.volume.phases import OUTSIDE, OXIDE, PORE, Phases

Float64Array = NDArray[np.float64]

_LAYER_LEFT = 0.1  # of the outer layer's thickness: what may cover the walls within, unseen


class Correction(NamedTuple):
    """What one correction did: its name, a number that says how much, its unit, and by how much the mean share of
    oxide within the particle may be wrong because of it (standard uncertainty).
    """

    name: str
    size: float
    unit: str
    uncertainty: float


def corrections_left(
    found: Phases, levels: Sequence[SliceLevels], charge: Float64Array, curtains: Curtains, drift: StackDrift | None
) -> list[Correction]:
    """What each correction may leave in the mean share of oxide."""
    seen = [one for one in levels if one.seen]
    inside = float(np.count_nonzero(found.kind != OUTSIDE)) or 1.0
    near = np.count_nonzero((found.solid < 0.8) & (found.kind != OUTSIDE)) / inside
    gain = float(np.sqrt(np.mean([one.std**2 for one in seen]) / max(len(seen), 1)))
    strength = float(charge[charge > 0].mean()) if np.any(charge > 0) else 0.0
    tilt = 0.0 if drift is None else float(np.hypot(*drift.tilt))
    # d f / d V = -(1 - f) / (1 - V): of what is pore
    contrast = max(1 - found.shine.pore.value - 0.5 * found.shine.shine.value, 0.2)
    return [
        Correction("solid level", float(np.std([one.solid[0] for one in seen])), "grey", gain),
        Correction("charging", strength, "of the oxide", 0.1 * strength),
        Correction("curtains", curtains.spread, "of the oxide", 0.1 * curtains.spread),
        Correction("shine-through", found.shine.shine.value, "of the contrast", near * found.shine.typical / contrast),
        Correction("layer", found.layer.thickness, "px", _wall_layer(found)),
        Correction("drift", tilt, "px per slice", 0.0),
    ]


def _wall_layer(found: Phases) -> float:
    """What a layer on inner walls, a tenth as thick as that outside, takes from the pores it is taken for oxide in."""
    if found.layer.thickness == 0:
        return 0.0
    middle = found.kind[len(found.kind) // 4 : 3 * len(found.kind) // 4 + 1]
    walls = sum(
        np.count_nonzero((np.diff((middle == OXIDE).astype(np.int8), axis=axis) != 0) & _inner(middle, axis))
        for axis in (1, 2)
    )
    # faces of pixels: 4 / pi times the length of walls that run anywhere
    length = walls * np.pi / 4
    return float(
        length * _LAYER_LEFT * found.layer.thickness * found.layer.level / max(int(np.count_nonzero(middle)), 1)
    )


def _inner(kind: NDArray[np.uint8], axis: int) -> NDArray[np.bool_]:
    """Pairs of neighbours along an axis of which one is pore."""
    first, second = np.delete(kind, -1, axis), np.delete(kind, 0, axis)
    return np.asarray((first == PORE) | (second == PORE))


def section_porosity(found: Phases, outlines: Sequence[Outline], *, systematic: float = 0.0) -> Estimate:
    """Share of the sections within the oxide's outline that is not oxide, over all slices with a whole outline.

    The outline is moved to where the oxide begins, below the layer if there is one. Statistical part: from the
    scatter of sections about a smooth curve along the stack.
    """
    area, oxide = np.zeros(len(outlines)), np.zeros(len(outlines))
    largest = max((float(one.radius.mean()) for one in outlines if one.whole), default=1.0)
    for n, one in enumerate(outlines):
        if not one.whole:
            continue
        slant = min(3.0, largest / max(float(one.radius.mean()), 1.0))
        radius = np.maximum(one.radius - found.layer.place - found.layer.thickness * slant, 0.0)
        area[n] = np.pi * float(np.mean(radius**2))
        oxide[n] = float(found.solid[n].sum(dtype=np.float64))
    if not area.sum() > 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    value = 1 - oxide.sum() / area.sum()
    rest = np.diff(oxide - (1 - value) * area)
    std = float(np.sqrt(np.sum(rest**2) / 2)) / float(area.sum())
    return Estimate(float(value), std, systematic)
