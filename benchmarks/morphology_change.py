"""Changes of virtual particles between two states, over many seeds: bias, scatter, pull, how often the interval holds.

    python -m benchmarks.morphology_change                  # 50 particles of each kind, seeds 9000 to 9049
    python -m benchmarks.morphology_change --seeds 3000:3004 --kinds rod

A particle of 64 voxels of 60 nm with a hollow core and cracks, and the same one after heating: 3 % shorter in all
directions, the core's volume down to half, cracks half as wide. Blur 1 voxel, noise 0.08 of the oxide, new noise and
another place between voxels in the second state. The magnification is known. Exit code 1 if a 68 % interval holds the
truth less or more often than a true one would in 99 % of all cases, or the volume is off by 0.3 %.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from benchmarks.kinds import least_and_most_held, run_kinds
from cathoscope.numerics.estimate import Estimate
from cathoscope.virtual.cracks import solid
from cathoscope.virtual.grains import draw_grains
from cathoscope.virtual.particle import GRAVEL, ROD, ParticleDesign
from cathoscope.volume.change import VolumeState, core_collapse, porosity_change, relative_volume_change, state_of
from cathoscope.volume.quantify import numbers_of, quantify

EDGE = 0.06  # um
VOXELS, FIELD = 64, 78
NOISE = 0.08
SHRINKAGE, COLLAPSE, CLOSING = 0.97, 0.5, 0.5
LARGEST_VOLUME_BIAS = 0.003
_CRACKED = {"crack_share": 0.3, "crack_share_surface": 0.1, "crack_opening": 0.08}
_DIAMETER, _CORE = VOXELS * EDGE, 0.3 * VOXELS * EDGE / 2
KINDS = {
    "rod": replace(ROD, diameter=_DIAMETER, core_radius=_CORE, **_CRACKED),
    "gravel": replace(GRAVEL, diameter=_DIAMETER, core_radius=_CORE, **_CRACKED),
}
NAMES = ("relative volume", "change of porosity", "relative core")


def heated(design: ParticleDesign) -> ParticleDesign:
    """The particle after it."""
    return replace(
        design,
        diameter=SHRINKAGE * design.diameter,
        grain_size=SHRINKAGE * design.grain_size,
        core_radius=COLLAPSE ** (1 / 3) * design.core_radius,
        crack_opening=CLOSING * design.crack_opening,
    )


def _state(
    design: ParticleDesign, seed: int, number: int
) -> tuple[NDArray[np.float64], VolumeState, dict[str, Estimate]]:
    """True volume (um³), porosity and volume of the core (um³); what is measured of them."""
    axis = (np.arange(FIELD) - (FIELD - 1) / 2) * EDGE
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij")[::-1], axis=-1)
    rng = np.random.default_rng((seed, number))
    points += rng.uniform(-0.5, 0.5, 3) * EDGE
    grains = draw_grains(design, seed)
    found = solid(grains, points, EDGE)
    core = 4 / 3 * np.pi * design.core_radius**3
    volume = EDGE**3 * (found.fraction + found.crack).sum(dtype=float) + core
    truth = np.array([volume, 1 - EDGE**3 * found.fraction.sum(dtype=float) / volume, core])
    noise = NOISE * rng.standard_normal(found.fraction.shape, dtype=np.float32)
    grey = gaussian_filter(found.fraction, 1.0) + noise
    voxel = (EDGE, EDGE, EDGE)
    whole = quantify(grey, voxel_size=voxel)
    numbers = numbers_of(whole)
    radius = whole.outer.closing_radius
    return truth, state_of(grey, numbers["envelope_volume"], voxel_size=voxel, closing_radius=radius), numbers


def measured(kind: str, seed: int) -> NDArray[np.float64]:
    """True value, error, standard uncertainty and its systematic part of each of `NAMES`, [name, 4]."""
    (first, before, old), (last, after, new) = (
        _state(design, seed, number) for number, design in enumerate((KINDS[kind], heated(KINDS[kind])))
    )
    change = relative_volume_change(before, after, magnification_std=0.0).change
    porosity = porosity_change(old["porosity"], new["porosity"])
    core = core_collapse(old["core_volume"], new["core_volume"], magnification_std=0.0)
    truths = last[0] / first[0], last[1] - first[1], last[2] / first[2]
    found = (Estimate(1 + change.value, change.std, change.systematic), porosity, core)
    return np.array([(t, one.value - t, one.total, one.systematic) for t, one in zip(truths, found, strict=True)])


def _told(kind: str, rows: NDArray[np.float64]) -> bool:
    """Print one kind, [seed, name, 4]; whether it holds what it must."""
    least, most = least_and_most_held(len(rows))
    right = True
    for name, (truth, error, sigma, systematic) in zip(NAMES, rows.transpose(1, 2, 0), strict=True):
        pull = error / sigma
        held = int(np.count_nonzero(np.abs(pull) < 1))
        right &= least <= held <= most
        print(
            f"{kind:7} {name:19} {truth.mean():+.4f}  bias {error.mean():+.5f} +- {error.std() / len(rows) ** 0.5:.5f}"
            f"  rms {np.sqrt(np.mean(error**2)):.5f}  stated {sigma.mean():.5f} (systematic {systematic.mean():.5f})"
            f"  pull {pull.mean():+.1f} +- {pull.std():.1f}  held {held} of {len(rows)} (99 %: {least} to {most})",
            flush=True,
        )
    return right and abs(rows[:, 0, 1].mean()) < LARGEST_VOLUME_BIAS


def main(arguments: list[str] | None = None) -> int:
    """Run it; 1 if a kind misses what it must hold."""
    return run_kinds(__doc__, list(KINDS), "9000:9050", measured, _told, arguments)


if __name__ == "__main__":
    sys.exit(main())
