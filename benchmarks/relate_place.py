"""Whether intervals of chemistry against place hold, and how often chance is called a dependence.

Random fields of known correlation, with noise of voxels, in a ball of 44 voxels across with four open cracks and a
hollow core. They depend on no place: the slope of a line through all variables must have 0 in its intervals as often as
they say, and a field must be called dependent (on any variable, after Holm) in at most 5 %. A block bootstrap of the
same fields, blocks of three correlation lengths, is printed beside.

Run with: python -m benchmarks.relate_place [SEEDS, 200 if not given [FIRST WORD OF FIELDS]]
"""

from __future__ import annotations

import sys
import time

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfftn, rfftn
from scipy.special import stdtr, stdtrit
from scipy.stats import binom

from cathoscope.relate.distances import CORE, CRACK, MIDDLE, PORE_CRACK, SURFACE, away_from_edges, distances
from cathoscope.relate.place import Places, places_of, relations

Array = NDArray[np.float64]

RADIUS, HOLLOW, VOXEL, NOISE = 22.0, 6.0, 0.2, 0.4
SIZE = 2 * int(RADIUS) + 4
FIELDS = {"exponential, 0.6 um": ("exponential", 3.0), "exponential, 1.2 um": ("exponential", 6.0)}
FIELDS |= {"Gaussian, 0.8 um": ("Gaussian", 4.0)}
SLOPES = (SURFACE, PORE_CRACK)
_GRID = np.indices((SIZE,) * 3) - (SIZE - 1) / 2


def random_field(rng: np.random.Generator, kind: str, length: float) -> Array:
    """A field of variance 1 by its spectrum, on a periodic box twice as long."""
    size = 2 * SIZE
    lag = np.minimum(np.arange(size), size - np.arange(size)).astype(float)
    distance = np.sqrt(lag[:, None, None] ** 2 + lag[None, :, None] ** 2 + lag[None, None, :] ** 2)
    covariance = np.exp(-distance / length) if kind == "exponential" else np.exp(-((distance / length) ** 2))
    spectrum = np.maximum(rfftn(covariance).real, 0.0)
    field = irfftn(rfftn(rng.standard_normal((size,) * 3)) * np.sqrt(spectrum), (size,) * 3)
    return np.asarray(field[:SIZE, :SIZE, :SIZE])


def particle(rng: np.random.Generator) -> tuple[Places, float]:
    """Where the voxels of a cracked ball lie; the share of voxels that count."""
    radius = np.linalg.norm(_GRID, axis=0)
    inside = radius < RADIUS
    kind = np.where(radius < HOLLOW, CORE, 0)
    for _ in range(4):
        normal = rng.standard_normal(3)
        normal /= np.linalg.norm(normal)
        across = np.abs(np.tensordot(normal, _GRID, 1) - rng.uniform(0, 12)) < 0.8
        kind[across & inside & (radius > RADIUS * rng.uniform(0.4, 0.8))] = CRACK
    good = inside & (kind == 0) & away_from_edges(inside, kind)
    known = {name: one[good] for name, one in distances(inside, voxel=VOXEL, pore_kind=kind)}
    return places_of(good, known), float(good.mean())


def by_blocks(places: Places, values: Array, edge: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Slopes and the standard deviation of 200 block bootstraps, [variable]."""
    at = np.argwhere(places.good) // edge
    block = np.unique(at @ np.array([10**6, 10**3, 1]), return_inverse=True)[1].ravel()
    names = [name for name in places.variables if name != MIDDLE]
    columns = np.column_stack([np.ones(values.size), *(places.variables[name] for name in names)])
    count = block.max() + 1
    square = np.zeros((count, columns.shape[1], columns.shape[1]))
    cross = np.zeros((count, columns.shape[1]))
    np.add.at(square, block, columns[:, :, None] * columns[:, None, :])
    np.add.at(cross, block, columns * values[:, None])
    draws = rng.multinomial(count, np.full(count, 1 / count), size=200).astype(float)
    found = np.linalg.solve(np.einsum("kb,bij->kij", draws, square), (draws @ cross)[:, :, None])[:, :, 0]
    return np.linalg.solve(square.sum(0), cross.sum(0))[1:], found.std(axis=0)[1:]


def one_seed(kind: str, length: float, seed: int) -> tuple[list[float], list[float], list[bool], float]:
    """Pulls and Student quantile of 68 and 95 % as booleans, pulls of blocks, false alarms, seconds."""
    rng = np.random.default_rng(seed)
    places, _ = particle(rng)
    field = random_field(rng, kind, length)[places.good]
    noise = NOISE * rng.standard_normal(field.size)
    began = time.process_time()
    nothing = relations(places, field + noise, np.full(field.size, NOISE))
    seconds = time.process_time() - began
    # a line that is added moves its slope and leaves the residual: pulls are those of the field without it
    pulls = []
    for name in SLOPES:
        row = nothing.names.index(name)
        pull = abs(nothing.partial_effect[row] / nothing.partial_effect_std[row])
        pulls.append(2 * (1 - float(stdtr(nothing.partial_freedom, pull))))
    slopes, std = by_blocks(places, field + noise, max(int(3 * length), 4), rng)
    block = [abs(one) / each for one, each in zip(slopes[:2], std[:2], strict=True)]
    alarms = [bool(np.nanmin(p) < 0.05) for p in (nothing.probability, nothing.partial_probability)]
    alarms.append(bool(np.nanmin(nothing.rank_probability) < 0.05))
    return pulls, block, alarms, seconds


def main() -> int:
    """Print all fields; 1 if a coverage leaves its 99 % binomial range, or false alarms are surely above 5 %."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    chosen = [name for name in FIELDS if len(sys.argv) < 3 or name.startswith(sys.argv[2])]
    held = True
    for words in chosen:
        kind, length = FIELDS[words]
        rows = [one_seed(kind, length, seed) for seed in range(seeds)]
        chance = np.array([row[0] for row in rows])
        blocks = np.array([row[1] for row in rows])
        alarms = np.array([row[2] for row in rows])
        for column, name in enumerate(SLOPES):
            told = []
            for level in (0.6827, 0.95):
                inside = float((chance[:, column] > 1 - level).mean())
                low, high = (x / seeds for x in binom.interval(0.99, seeds, level))
                held &= low <= inside <= high
                told.append(f"{100 * level:.0f} %: {100 * inside:.1f} ({100 * low:.0f} to {100 * high:.0f})")
            wide = float((blocks[:, column] < stdtrit(1e6, 0.975)).mean())
            print(f"{words}, {name}: {', '.join(told)}; 95 % by blocks {100 * wide:.1f}", flush=True)
        rates = alarms.mean(axis=0)
        limit = binom.ppf(0.995, seeds, 0.05) / seeds
        held &= bool((rates <= limit).all())
        parts = ", ".join(f"{100 * rate:.1f} %" for rate in rates)
        print(
            f"{words}: called a dependence by chance (alone, others held, ranks): {parts}, at most {100 * limit:.1f} %"
        )
        print(f"{words}: {np.mean([row[3] for row in rows]):.2f} s of CPU for a map", flush=True)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
