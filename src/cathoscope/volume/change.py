"""How much a particle, or its hollow core, has grown or shrunk between two states, and what of the error cancels.

A closing ball that is too large makes both volumes too large: of the ratio of two volumes found in the same way only
the difference of such errors remains. A threshold is where the fit of the surface starts, and 1 % of what it does to
the volume of the mask is left in that of the surface. The magnification of the microscope does not cancel: dV / V =
3 dM / M, and 0.3 % of magnification are 1 % of volume. So

    u(V' / V)^2 = threshold^2 + plateau^2 + surface^2 + (3 dM / M)^2

with the first from both ends of the band of the threshold, and the second from the ratio at both ends of that of the
closing radius.
The surface bridges the cracks of both states in the same way, so that of its two errors the difference remains.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import hypot
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.volume.particle import OuterMask, outer_mask, signed_depth
from cathoscope.volume.porosity import SolidShare, porosity
from cathoscope.volume.reach import opened_with_ball, within_reach
from cathoscope.volume.segment import GreyLevels, grey_levels

Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
VoxelSize = tuple[float, float, float]

_SMOOTHING = 1.0  # voxels, before the threshold
# Of the change of the mask's volume over the band of the threshold, what is left in the volume within the surface that
# is fitted to grey values: 0.004 in a virtual rod, 0.02 in gravel (seeds 5000 and 5001, both states).
_LEFT = 0.01
_MARGINS = (3.0, 4.5, 6.0, 7.5)  # voxels that the blur of a core's wall reaches; outer ends of three shells around
_ROUND = 0.7  # of the radius of the largest ball in a core: what smaller balls fill are mouths of cracks
_MIDDLES = (1.7, 3.75, 5.25)  # distance from the wall of what is within the first margin, and of two shells


class VolumeState(NamedTuple):
    """Volume within the outer surface of one particle in one state, um³, and what it would be if found otherwise.

    ``volume`` is the best value, from the grey values of the surface, with its errors. ``by_threshold`` are the volumes
    of the closed mask at the lower limit of the threshold, at it, and at the upper limit; ``by_radius`` those at
    1 / 1.5, 1 and 1.5 times the closing radius (um), ``closing_radius``.
    """

    volume: Estimate
    by_threshold: tuple[float, float, float]
    by_radius: tuple[float, float, float]
    closing_radius: float


class VolumeChange(NamedTuple):
    """V' / V - 1 and where its uncertainty comes from; all relative to the first volume.

    ``change`` has the scatter of both surfaces as statistical part, and ``threshold``, ``plateau``, ``surface`` and
    ``magnification`` in quadrature as systematic part. ``cancelled`` is what the first three would have contributed
    had both states been found independently, and do not because both were found in the same way.
    """

    change: Estimate
    threshold: float
    plateau: float
    surface: float
    magnification: float
    cancelled: float


def state_of(
    volume: Float32Array, best: Estimate, *, voxel_size: VoxelSize, closing_radius: float | None = None
) -> VolumeState:
    """Of a grey volume [z, y, x] whose volume within the outer surface is known, ``best`` (um³).

    Give all states of a series the same closing radius (um).
    """
    return _state(best, *_masks(volume, grey_levels(volume), voxel_size, closing_radius))


def _masks(
    volume: Float32Array, levels: GreyLevels, voxel_size: VoxelSize, closing_radius: float | None
) -> tuple[OuterMask, tuple[float, float]]:
    """Closed mask at the threshold, and the volumes (um³) of those at its limits."""
    smooth = gaussian_filter(np.asarray(volume, dtype=np.float32), _SMOOTHING)
    mask = outer_mask(smooth > levels.threshold, voxel_size=voxel_size, closing_radius=closing_radius)
    low, high = (
        outer_mask(smooth > limit, voxel_size=voxel_size, closing_radius=mask.closing_radius).volume.value
        for limit in (levels.low, levels.high)
    )
    return mask, (low, high)


def _state(best: Estimate, mask: OuterMask, ends: tuple[float, float]) -> VolumeState:
    return VolumeState(best, (ends[0], mask.volume.value, ends[1]), mask.plateau, mask.closing_radius)


def relative_volume_change(
    before: VolumeState, after: VolumeState, *, magnification_std: float, same_method: bool = True
) -> VolumeChange:
    """V' / V - 1 of two states of one particle.

    Parameters
    ----------
    magnification_std
        Standard uncertainty of the ratio of the two magnifications (or voxel sizes), relative: dM / M.
    same_method
        Whether threshold rule and closing radius were the same; if not, nothing cancels.

    Raises
    ------
    MeasurementError
        If a volume or the uncertainty of the magnification is impossible.
    """
    _require_states(before, after, magnification_std)
    ratio = after.volume.value / before.volume.value
    apart = [_half_range(state.by_threshold) for state in (before, after)]
    apart_plateau = [_half_range(state.by_radius) / np.sqrt(3) for state in (before, after)]
    apart_surface = [state.volume.systematic / state.volume.value for state in (before, after)]
    alone = hypot(*apart), hypot(*apart_plateau), hypot(*apart_surface)
    threshold, plateau, surface = alone
    if same_method:
        threshold *= _LEFT
        plateau = _half_range(_ratios(before.by_radius, after.by_radius)) / np.sqrt(3)
        surface = abs(apart_surface[1] - apart_surface[0])
    cancelled = np.sqrt(max(hypot(*alone) ** 2 - hypot(threshold, plateau, surface) ** 2, 0.0))
    std = hypot(*(state.volume.std / state.volume.value for state in (before, after)))
    parts = [float(ratio * part) for part in (threshold, plateau, surface, 3 * magnification_std)]
    change = Estimate(ratio - 1, ratio * std, float(np.sqrt(np.sum(np.square(parts)))))
    return VolumeChange(change, parts[0], parts[1], parts[2], parts[3], float(ratio * cancelled))


def _require_states(before: VolumeState, after: VolumeState, magnification_std: float) -> None:
    """Refuse volumes that are none, and an impossible uncertainty."""
    least = min(before.volume.value, after.volume.value, *before.by_threshold, *after.by_threshold)
    if not least > 0 or not 0 <= magnification_std < 0.5:
        raise MeasurementError(
            "these two states cannot be compared",
            expected="two positive volumes, and dM/M between 0 and 0.5 (0.003 is usual in a heated microscope)",
            found=f"smallest volume {least:g} um³, dM/M {magnification_std:g}",
            cure="magnification_std=0.003",
        )


def _half_range(values: tuple[float, ...]) -> float:
    """Half the range of positive values, relative to the middle one."""
    return (max(values) - min(values)) / (2 * values[1])


def _ratios(before: tuple[float, float, float], after: tuple[float, float, float]) -> tuple[float, ...]:
    """Ratios of the volumes found in the same way."""
    return tuple(second / first for first, second in zip(before, after, strict=True))


def porosity_change(before: Estimate, after: Estimate) -> Estimate:
    """Difference of two porosities found in the same way: of their systematic parts the difference remains."""
    return Estimate(after.value - before.value, hypot(before.std, after.std), abs(after.systematic - before.systematic))


def core_volume(share: SolidShare, core: BoolArray) -> Estimate:
    """Volume (um³) of a hollow core, by the grey deficit in and around its mask.

    The mask is opened with a ball of 0.7 of the largest that fits in: without that, mouths of cracks make it bulge
    along the cracks, and more of these lie beside it than elsewhere. The deficit is summed over the opened mask grown
    by three voxels, which holds the blurred wall. What cracks contribute there is told from two shells of 1.5 voxels
    around: with the porosity p that they are continued to (cracks between radial grains are denser at the core),
    V_core = (deficit - p V) / (1 - p). Half of what the continuation adds is a systematic part, and so is what the
    opening leaves of the mask beyond the three voxels. Few cracks make p: how wrong it is to continue to a shell that
    is known, octant by octant, says how uncertain it is.

    Parameters
    ----------
    core
        Mask of the core by a threshold, [z, y, x].

    Raises
    ------
    MeasurementError
        If the mask is empty.
    """
    if core.shape != share.solid.shape or core.dtype != np.bool_ or not core.any():
        raise MeasurementError(
            "there is no hollow core in the mask",
            expected=f"bool of shape {share.solid.shape}, True in the core",
            found=f"{core.dtype} of shape {core.shape}, {np.count_nonzero(core)} voxels True",
            cure="a core that has collapsed altogether has the volume 0",
        )
    unit = float(np.prod(share.voxel_size)) ** (1 / 3)
    share, core = _around(share, core)
    inscribed = float(signed_depth(core, share.voxel_size).max())
    rounded = opened_with_ball(core, _ROUND * inscribed, share.voxel_size)
    # reach counts from the middle of the core's last voxels, half a voxel below its wall
    grown = [within_reach(rounded, (margin + 0.5) * unit, share.voxel_size) for margin in _MARGINS]
    near = porosity(share, grown[0])
    first, second = (porosity(share, outer & ~inner).grey for inner, outer in pairwise(grown[:3]))
    further = (_MIDDLES[1] - _MIDDLES[0]) / (_MIDDLES[2] - _MIDDLES[1])
    rise = max(further * (first.value - second.value), 0.0)
    p = first.value + rise
    value = (near.pore_volume.value - p * near.envelope_volume.value) / (1 - p)
    slope = (near.pore_volume.value - near.envelope_volume.value) / (1 - p) ** 2
    uneven = _unevenness(share, grown, rounded, further)
    left = unit**3 * float(np.count_nonzero(core & ~grown[0]))
    # all porosities rest on the same solid level: an error of it moves them together, and leaves the difference
    level = near.pore_volume.systematic / (1 - p) + slope * first.systematic
    std = hypot(near.pore_volume.std / (1 - p), slope * uneven)
    return Estimate(value, std, hypot(level, slope * rise / 2, left))


def _around(share: SolidShare, core: BoolArray) -> tuple[SolidShare, BoolArray]:
    """The part of both that a core's shells lie in."""
    unit = float(np.prod(share.voxel_size)) ** (1 / 3)
    box = []
    for axis, edge in enumerate(share.voxel_size):
        used = np.flatnonzero(core.any(axis=tuple({0, 1, 2} - {axis})))
        room = int(np.ceil((_MARGINS[-1] + 0.5) * unit / edge)) + 1
        box.append(slice(max(int(used[0]) - room, 0), int(used[-1]) + room + 1))
    at = (box[0], box[1], box[2])
    part = replace(
        share,
        solid=share.solid[at].copy(),
        surface=share.surface._replace(box=at),
        radius=share.radius[at].copy(),
        within=share.within[at].copy(),
        above=share.above[at].copy(),
    )
    return part, core[at].copy()


def _unevenness(share: SolidShare, grown: list[BoolArray], core: BoolArray, further: float) -> float:
    """Standard uncertainty of a porosity continued by ``further`` shells, from how wrong that is where it is known.

    The innermost of three shells, which ``grown`` end, is continued to from the two around it, in each octant about the
    core; the error grows with the way. Noise is in it.
    """
    places = np.nonzero(grown[-1] & ~grown[0])
    octant = 8 * (2 - grown[1][places].astype(np.int64) - grown[2][places])
    for axis, place in enumerate(places):
        counts = np.count_nonzero(core, axis=tuple({0, 1, 2} - {axis}))
        octant += (place > np.average(np.arange(counts.size), weights=counts)).astype(np.int64) << axis
    parts = (np.bincount(octant, field[places], minlength=24) for field in (share.envelope, share.solid))
    envelope, solid = (part.reshape(3, 8) for part in parts)
    used = (envelope > 0).all(axis=0)
    if np.count_nonzero(used) < 2:
        return 0.0
    first, second, third = 1 - solid[:, used] / envelope[:, used]
    return float(further * np.std(first - 2 * second + third, ddof=1) / np.sqrt(first.size))


def core_collapse(before: Estimate, after: Estimate, *, magnification_std: float) -> Estimate:
    """V_core' / V_core with its uncertainty; 1: unchanged, 0: collapsed altogether.

    Systematic parts of the two volumes, relative, are those of one method: their difference remains, and the
    magnification's 3 dM / M.
    """
    if not before.value > 0:
        raise MeasurementError(
            "there was no hollow core before",
            expected="a positive volume of the core in the first state",
            found=f"{before.value:g} um³",
            cure="compare states of which the first has a core",
        )
    ratio = after.value / before.value
    std = hypot(after.std / before.value, ratio * before.std / before.value)
    kept = (after.systematic - ratio * before.systematic) / before.value
    return Estimate(ratio, std, hypot(kept, ratio * 3 * magnification_std))
