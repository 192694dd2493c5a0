"""How well drift can be known in a cracked stack: the bound from its true walls, and what `stack_drift` leaves.

    python -m benchmarks.fibsem_walls             # three virtual stacks of 151 slices: two CPU minutes
    python -m benchmarks.fibsem_walls H-NMC:11 L-NMC:11 ...   # drift of these stacks alone, every effect at its default

The walls are the open boundaries between grains, followed in the truth: f is at s_f(n) along its normal e_f in slice n,

    u_f(n) = s_f(n) + e_f . x(n) + noise,      s_f = place + speed z_n + bend

with x the drift (a random walk of known size) and z_n the height of the cut, uneven by a tenth of a slice. Place and
speed of every wall are unknown; of its bend everything is known but the factor, normal with a standard deviation of 1,
so that a straight wall is known to be straight. The noise is that of counting electrons along the wall. The outline
adds its centre, whose wander has a known covariance. All of it is Gaussian and linear: no method that is told less
can have a smaller mean square error (van Trees).

Walls are more than is counted here (junctions, round pores), and images have more against them (charging, curtains,
shine-through, two walls in one window). The bound with an error of 0.1 px per wall and slice, which is what windows
leave, is printed beside it.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

from benchmarks.fibsem_drift import BODIES, DIAMETER, PIXEL, STEP, THICKNESS, centre_covariance
from cathoscope.virtual.cracks import nearest_boundary
from cathoscope.virtual.cycling import H_CYCLING, L_CYCLING, CycledParticle, cycle_particle
from cathoscope.virtual.fibsem import Cut, FibSemOptions, Frame, draw_cuts, image_slice
from cathoscope.virtual.grains import draw_grains, embedded
from cathoscope.virtual.particle import H_NMC, L_NMC
from cathoscope.volume.fibsem import stack_levels
from cathoscope.volume.fibsem_alignment import stack_drift
from cathoscope.volume.fibsem_correction import normalised

Float64Array = NDArray[np.float64]

STACKS = (("H-NMC", 1), ("H-NMC", 3), ("L-NMC", 3))
CYCLE, COUNT, FIELD = 35.0, 151, 244
MUST = 0.2  # px rms beside the line
_KINDS = {"H-NMC": (H_NMC, H_CYCLING), "L-NMC": (L_NMC, L_CYCLING)}
_GRID, _NEAR = 2.0, 1.2  # px: points of a section; how far from a boundary they belong to it
_STEEPEST, _FASTEST, _FEWEST = 0.3, 4.0, 5  # share of the normal in the section; px per slice; slices
_CONTRAST, _GREY = 0.6, 0.7  # of a crack's face, and mean
_REACH = 0.87  # of the radius: smaller sections are no marks
_PERIODS = (np.inf, 80.0, 40.0, 20.0, 0.0)  # slices, between which what is left is told apart


class Wall(NamedTuple):
    """A boundary in the slices that cut it [slice]: numbers, place along its normal (px), length (px); the normal
    (row, column), and the opening, px.
    """

    slices: NDArray[np.int64]
    place: Float64Array
    length: Float64Array
    normal: Float64Array
    opening: float


def particle_of(kind: str, seed: int) -> CycledParticle:
    """A small particle after 35 cycles."""
    design, law = _KINDS[kind]
    small = replace(design, diameter=DIAMETER, pore_radius=0.9, isotropic_radius=0.45)
    return cycle_particle(draw_grains(small, seed), law, cycles=int(CYCLE))


def walls_of(particle: CycledParticle, heights: Float64Array) -> list[Wall]:
    """All open boundaries that stand in five or more of the sections at ``heights`` (um)."""
    number, face, points = _on_faces(particle, heights)
    opening = particle.openings(CYCLE) / PIXEL
    walls = []
    for one in np.flatnonzero(opening > 0):
        mine = face == one
        count = np.bincount(number[mine], minlength=heights.size)
        live = np.flatnonzero(count > 2)
        if live.size >= _FEWEST:
            found = _path(particle, int(one), points[mine].mean(axis=0), heights[live])
            if found is not None:
                place, normal = found
                walls.append(Wall(live, place, count[live] * _GRID**2 / (2 * _NEAR), normal, float(opening[one])))
    return walls


def _on_faces(particle: CycledParticle, heights: Float64Array) -> tuple[NDArray[np.int64], ...]:
    """Number of the section, of the boundary, and place (um) of points near boundaries."""
    network, grains = particle.network, particle.grains
    keys = network.pairs[:, 0].astype(np.int64) * len(network.grain_volume) + network.pairs[:, 1]
    axis = np.arange(-0.55 * DIAMETER, 0.55 * DIAMETER, _GRID * PIXEL)
    y, x = (part.ravel() for part in np.meshgrid(axis, axis, indexing="ij"))
    found = []
    for n, height in enumerate(heights):
        points = np.stack([x, y, np.full(x.size, height)], axis=1)
        points = points[grains.labels(points) >= 0]
        distance, pairs = nearest_boundary(grains, points)
        near = (distance < _NEAR * PIXEL) & (pairs[:, 1] >= 0)
        low, high = pairs[near].min(axis=1), pairs[near].max(axis=1)
        wanted = low.astype(np.int64) * len(network.grain_volume) + high
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        known = keys[at] == wanted
        found.append((np.full(np.count_nonzero(known), n), at[known], points[near][known]))
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def _path(
    particle: CycledParticle, face: int, start: Float64Array, heights: Float64Array
) -> tuple[Float64Array, Float64Array] | None:
    """Place (px) of a boundary along its normal in sections, and that normal (row, column); None if it lies in them."""
    lookup, (i, j) = particle.grains.lookup, particle.network.pairs[face]

    def beyond(points: Float64Array) -> Float64Array:
        """0 on the boundary: the difference of the powers of both grains."""
        e = embedded(particle.grains, points)
        first, second = (((e - lookup.seeds[k]) ** 2).sum(axis=1) - lookup.weights[k] for k in (i, j))
        return np.asarray(first - second)

    small = 1e-4 * np.eye(3)
    slope = np.array([beyond((start + step)[None])[0] - beyond((start - step)[None])[0] for step in small]) / 2e-4
    across = float(np.hypot(slope[0], slope[1]))
    if across < _STEEPEST * float(np.linalg.norm(slope)):
        return None
    normal = np.array([slope[0], slope[1], 0.0]) / across
    place = np.zeros(heights.size)
    for _ in range(12):
        points = np.stack([start[0] + place * normal[0], start[1] + place * normal[1], heights], axis=1)
        rise = (beyond(points + 1e-4 * normal) - beyond(points - 1e-4 * normal)) / 2e-4
        place -= np.clip(beyond(points) / rise, -0.1, 0.1)
    return place / PIXEL, normal[[1, 0]]


def drift_bound(walls: list[Wall], heights: Float64Array, options: FibSemOptions, *, floor: float = 0.0) -> float:
    """Least rms (px) beside the line over the slices whose outline counts; ``floor`` (px) of each wall and slice."""
    count, z = heights.size, heights / THICKNESS
    known = np.zeros((3 * count, 3 * count))  # row, column, height of every slice
    for wall in walls:
        _add(known, wall, z, options, floor)
    steps = np.diff(np.eye(count), axis=0)
    walk = steps.T @ steps
    known[2::3, 2::3] += walk / options.thickness_spread**2 + 1e-4 * np.eye(count)
    used = np.flatnonzero(np.abs(heights) < _REACH * DIAMETER / 2)
    outline = np.linalg.inv(centre_covariance(range(BODIES), (used - used.mean()) * THICKNESS))
    for axis in range(2):
        known[axis::3, axis::3] += walk / STEP**2 + 1e-6 * np.eye(count)
        known[np.ix_(3 * used + axis, 3 * used + axis)] += outline
    covariance = np.linalg.inv(known)
    beside = _beside(used)
    left = [np.trace(beside @ covariance[np.ix_(3 * used + a, 3 * used + a)] @ beside.T) for a in range(2)]
    return float(np.sqrt(np.mean(left) / used.size))


def _add(known: Float64Array, wall: Wall, z: Float64Array, options: FibSemOptions, floor: float) -> None:
    """What one wall says, its place, speed and the factor of its bend eliminated."""
    line = np.stack([np.ones(wall.slices.size), z[wall.slices] - z[wall.slices].mean()], axis=1)
    own = np.linalg.lstsq(line, wall.place, rcond=None)[0]
    if abs(own[1]) > _FASTEST:
        return
    bend = wall.place - line @ own
    faces = 2 * _CONTRAST**2 / (2 * np.sqrt(np.pi) * options.blur) * options.electrons / _GREY
    noise = 1 / (faces * wall.length * min(1.0, wall.opening / 2) ** 2) + floor**2
    inverse = np.linalg.inv(np.diag(noise) + np.outer(bend, bend))
    within = inverse @ line
    says = inverse - within @ np.linalg.solve(line.T @ within, within.T)
    design = np.array([*wall.normal, own[1]])
    at = (3 * wall.slices[:, None] + np.arange(3)).ravel()
    known[np.ix_(at, at)] += np.kron(says, np.outer(design, design))


def _beside(slices: NDArray[np.int64]) -> Float64Array:
    """Takes constant and trend off, [slice, slice]."""
    line = np.stack([np.ones(slices.size), slices - slices.mean()], axis=1)
    return np.asarray(np.eye(slices.size) - line @ np.linalg.pinv(line))


def drift_left(particle: CycledParticle, cuts: tuple[Cut, ...], options: FibSemOptions, seed: int) -> float:
    """What `stack_drift` leaves beside the line, px rms, in images that lack gain and background only."""
    images = []
    for cut in cuts:
        flat = cut._replace(gain=1.0, offset=0.0, background=(0.0, 0.0))
        image = image_slice(particle, flat, Frame(FIELD, FIELD), options, seed=(seed,)).image
        images.append(((image - options.outside_level) / (1 - options.outside_level)).astype(np.float32))
    found = stack_drift(images, len(images), depth=THICKNESS / PIXEL)
    used = np.flatnonzero(found.marked)
    error = (found.shift - np.array([cut.shift for cut in cuts]))[used]
    return float(np.sqrt(np.mean((_beside(used) @ error) ** 2)))


class Left(NamedTuple):
    """What `stack_drift` leaves of one stack: px rms beside the line, the same by period, the same as stated, its trend
    and the stated one (px per slice, row and column), the error of relative thickness, the same as stated, and the true
    unevenness.
    """

    drift: float
    periods: Float64Array
    stated: float
    trend: Float64Array
    tilt: Float64Array
    thickness: float
    thickness_stated: float
    uneven: float


def by_period(error: Float64Array) -> Float64Array:
    """px rms of errors [slice, axis] between `_PERIODS`, by half waves over the stack."""
    power = np.mean(dct(error, axis=0, norm="ortho") ** 2, axis=1) / len(error)
    period = 2 * len(error) / np.maximum(np.arange(len(error)), 1e-6)
    bands = [power[(period <= most) & (period > least)].sum() for most, least in pairwise(_PERIODS)]
    return np.asarray(np.sqrt(bands), dtype=np.float64)


def raw_drift(kind: str, seed: int) -> Left:
    """Of a stack as `prepare_stack` gets it."""
    options, particle = FibSemOptions(), particle_of(kind, seed)
    cuts = draw_cuts(options, np.full(COUNT, CYCLE), first_z=-(COUNT - 1) / 2 * THICKNESS, seed=(seed,))
    raw = [
        np.round(image_slice(particle, cut, Frame(FIELD, FIELD), options, seed=(seed,)).image * options.white)
        for cut in cuts
    ]
    levels = stack_levels(lambda n: raw[n], COUNT)
    found = stack_drift(lambda n: normalised(raw[n], levels[n]), COUNT, depth=THICKNESS / PIXEL)
    used = np.flatnonzero(found.marked)
    error = (found.shift - np.array([cut.shift for cut in cuts]))[used]
    beside = _beside(used)
    known = [np.trace(beside @ one[np.ix_(used, used)] @ beside.T) / used.size for one in found.covariance]
    thickness = np.diff([cut.z for cut in cuts]) / THICKNESS
    told = np.isfinite(found.thickness)
    return Left(
        drift=float(np.sqrt(np.mean((beside @ error) ** 2))),
        periods=by_period(beside @ error),
        stated=float(np.sqrt(np.mean(known))),
        trend=np.polyfit(used, error, 1)[0],
        tilt=np.array(found.tilt),
        thickness=float(np.std((found.thickness - thickness)[told])),
        thickness_stated=float(np.sqrt(np.mean(found.thickness_std[told] ** 2))),
        uneven=float(np.std(thickness[told])),
    )


def _words(values: Float64Array) -> str:
    """Numbers beside each other."""
    return ", ".join(f"{value:.3f}" for value in values)


def table(stacks: list[str]) -> int:
    """Print what is left of stacks "KIND:SEED"; 1 if more is left, rms over all, than must be."""
    found = []
    print(
        "stack | px rms beside the line (stated) | periods above 80, 40, 20 slices, below"
        " | trend, px per slice (stated) | thickness (stated; uneven)"
    )
    for stack in stacks:
        kind, seed = stack.split(":")
        one = raw_drift(kind, int(seed))
        found.append(one)
        trend = ", ".join(f"{value:+.3f}" for value in one.trend)
        print(
            f"{stack} | {one.drift:.3f} ({one.stated:.3f}) | {_words(one.periods)} | {trend} ({one.tilt[0]:.3f}) | "
            f"{one.thickness:.3f} ({one.thickness_stated:.3f}; {one.uneven:.3f})",
            flush=True,
        )
    left, stated = (np.array([getattr(one, name) for one in found]) for name in ("drift", "stated"))
    pulls = np.concatenate([one.trend / one.tilt for one in found])
    all_left, all_stated, pull = (float(np.sqrt(np.mean(values**2))) for values in (left, stated, pulls))
    print(
        f"{np.count_nonzero(left < MUST)} of {left.size} below {MUST} px; rms {all_left:.3f}, stated {all_stated:.3f}"
    )
    periods = np.sqrt(np.mean([one.periods**2 for one in found], axis=0))
    print(f"by period, rms: {_words(periods)}; pulls of trends {pull:.2f} rms")
    return 0 if all_left < MUST else 1


def main() -> int:
    """Run it; 1 if more is left than must be."""
    if sys.argv[1:]:
        return table(sys.argv[1:])
    options, held = FibSemOptions(), True
    for kind, seed in STACKS:
        particle = particle_of(kind, seed)
        first = -(COUNT - 1) / 2 * THICKNESS
        cuts = draw_cuts(options, np.full(COUNT, CYCLE), first_z=first, seed=(seed,))
        heights = np.array([cut.z for cut in cuts])
        walls = walls_of(particle, heights)
        bounds = [drift_bound(walls, heights, options, floor=floor) for floor in (0.0, 0.1)]
        left = drift_left(particle, cuts, options, seed)
        held &= left < MUST
        print(
            f"{kind} seed {seed}, {len(walls)} walls: bound {bounds[0]:.3f}, with 0.1 px per wall and slice"
            f" {bounds[1]:.3f}, left {left:.3f} px rms beside the line"
        )
    print("holds" if held else f"MISSED: more than {MUST} px")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
