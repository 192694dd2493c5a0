"""What chemistry feigns of motion, estimated and taken off.

A scan is ``w (C1 + r C2)``: the mean image and, times the strength r of the chemistry at its energy, another. Where C2
resembles the change of C1 with a motion, a share of C2 is a motion as well as a chemistry, and no fit of both can tell
how much of it is which: a shift by ``beta r`` in every scan changes C2 and nothing else. What differs is sharpness:
the rims and cracks of C1 move as a whole, while chemistry varies smoothly. A registration by the mean image alone is
off by ``beta r`` too, with a beta that falls with the width of the band-pass, about in proportion. So the shifts of two
such registrations, at a width and twice the width, are extrapolated to none, and regressed on r over all energies,
which leaves little noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cathoscope.tomography.motion import WIDE, Motion, Registration, model_of, register_scan
from cathoscope.tomography.series_levels import Level, Passed, Scan

Float64Array = NDArray[np.float64]

_UNCERTAIN = 0.5  # share of the extrapolation that is counted as an uncertainty


@dataclass(frozen=True)
class ChemistryFree:
    """Corrections of a series in px: of the axis and of the displacements along x, y, z, ``[energy, 4]``.

    ``std`` is the uncertainty that the extrapolation adds; both are nan for scans that are not used.
    """

    correction: Float64Array
    std: Float64Array


def chemistry_free(
    scans: Callable[[int], Scan | None], passed: Passed, angle: Float64Array, level: Level
) -> ChemistryFree | None:
    """Corrections of the modes of motion of a series, from two registrations of each scan by the mean image alone.

    None where there are no more scans than components. Angles in rad.
    """
    models = [model_of(passed.components[:1], angle, level.middle, width) for width in (WIDE, 2.0 * WIDE)]
    count = len(passed.found)
    strength, extrapolated, spread = (
        np.full((count, 0), np.nan),
        np.full((count, 4), np.nan),
        np.full((count, 4), np.nan),
    )
    for energy, one in enumerate(passed.found):
        scan = None if one is None else scans(energy)
        if one is None or scan is None:
            continue
        if strength.shape[1] == 0:
            strength = np.full((count, one.motion.weight.size - 1), np.nan)
        strength[energy] = one.motion.weight[1:] / one.motion.weight[0]
        alone = replace(one.motion, weight=one.motion.weight[:1])
        narrow, wide = (
            register_scan(scan.depth, model, alone, scan.difference, free=(False, False), steps=1) for model in models
        )
        theta = angle + scan.difference
        spread[energy] = _modes(narrow, theta) - _modes(wide, theta)
        extrapolated[energy] = spread[energy] + _modes(narrow, theta) - _modes(one, theta)
    used = np.isfinite(spread[:, 0])
    if used.sum() <= strength.shape[1] + 1 or strength.shape[1] == 0:
        return None
    # a mode whose extrapolation happens to be short is not better known than the others
    typical = np.sqrt(np.mean(_explained(spread, strength, used) ** 2, axis=1, keepdims=True))
    std = np.broadcast_to(_UNCERTAIN * typical, spread.shape)
    return ChemistryFree(_explained(extrapolated, strength, used), np.array(std))


def _modes(found: Registration, angle: Float64Array) -> Float64Array:
    """Constant, cosine and sine of the column shift, and the mean row shift, over usable projections, px."""
    motion: Motion = found.motion
    usable = motion.usable
    design = np.stack([np.ones_like(angle), np.cos(angle), np.sin(angle)], axis=1)[usable]
    modes = np.linalg.lstsq(design, motion.column_shift[usable], rcond=None)[0]
    return np.array([*modes, motion.row_shift[usable].mean()])


def _explained(values: Float64Array, strength: Float64Array, used: NDArray[np.bool_]) -> Float64Array:
    """The part of values ``[energy, mode]`` that goes with the strengths ``[energy, pattern]``, of mean zero."""
    pattern = strength[used] - strength[used].mean(axis=0)
    result = np.full(values.shape, np.nan)
    share = np.linalg.lstsq(pattern, values[used] - values[used].mean(axis=0), rcond=None)[0]
    result[used] = pattern @ share
    return result
