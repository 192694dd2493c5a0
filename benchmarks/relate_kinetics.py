"""Activation energy, paths and left-out temperatures from maps of virtual particles: coverage, scores, time.

Rod- and gravel-grained particles are heated without images; what maps of them would show by depth gets the errors of
measured maps: one that a whole temperature has in common, and correlated ones of the shells. The truth of the
activation energy is that of the transport law; that of a path is the mean time in which the loss gets out of the very
particle at 150 degC, from the steady state of its voxels: sqrt(time / time) is the ratio of two paths.

`python -m benchmarks.relate_kinetics --seeds 1 20 --keep FOLDER`; seeds 1 to 20 were fixed beforehand, 201 to 204 are
for development. With `--drawn` every seed has a law of its own (energy, speed, resistance of boundaries): what a
prediction is worth on average, not for the one law of the virtual particles.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.relate_kinetics_truth import SCANS, Seen, drawn_law, kept
from cathoscope.relate.kinetics import Kinetics, kinetics
from cathoscope.relate.left_out import LEVELS, Bounds, interval_score
from cathoscope.relate.release import stepped_programme
from cathoscope.relate.release_fit import Choices, Heated
from cathoscope.virtual.heating import HeatingLaw

Floats = NDArray[np.float64]

SERIES = {
    "paper": ((25.0, 150.0, 200.0, 250.0), 60.0),
    "fine": ((25.0, 150.0, 157.0, 164.0, 171.0, 178.0, 250.0), 20.0),
}
DECADES = {"paper": 2.0, "fine": 0.5}  # within which the speed of a drawn law lies
EXPECTED = (175 / 96.485, 75 / 1.96 / 96.485)  # eV: 95 % within 100 to 250 kJ/mol, as without a recipe
COMMON = 0.025  # eV, of a whole temperature
NOISE = 0.003  # eV, of a shell
DOMAIN = 0.5  # um, 1/e distance of like white line


@dataclass(frozen=True)
class Outcome:
    """One seed: what was found, truths (``energy`` in eV), and the samples as measured."""

    found: Kinetics
    energy: float
    samples: tuple[Heated, ...]
    truths: tuple[Seen, ...]
    seconds: float


def measured(name: str, truth: Seen, rng: np.random.Generator) -> Heated:
    """A map of the particle by depth, with errors."""
    holds, shells = truth.profile.shape
    common = COMMON * rng.standard_normal(holds)
    alike = np.exp(-np.abs(truth.depth[:, None] - truth.depth) / DOMAIN)
    own = NOISE * rng.standard_normal((holds, shells)) @ np.linalg.cholesky(alike).T
    independent = np.maximum(truth.volume / (8 * DOMAIN**3), 1.0)
    return Heated(
        name=name,
        mean=truth.mean + common,
        mean_std=np.full(holds, COMMON),
        depth=truth.depth,
        volume=truth.volume,
        profile=truth.profile + common[:, None] + own,
        profile_std=np.hypot(NOISE, truth.width[:, None] / np.sqrt(independent)),
        correlation_length=DOMAIN,
        radius=truth.radii[0],
        core=truth.radii[1],
    )


def outcome(series: str, seed: int, folder: Path, *, drawn: bool, points: int) -> Outcome:
    """Simulate (or read), measure and fit one seed."""
    temperatures, hold = SERIES[series]
    law = drawn_law(seed, DECADES[series]) if drawn else HeatingLaw()
    decades = DECADES[series] if drawn else None
    truths = tuple(kept(folder, kind, seed, temperatures, hold=hold, decades=decades) for kind in ("rod", "gravel"))
    rng = np.random.default_rng(np.random.SeedSequence([seed, 9]))
    samples = tuple(measured(name, truth, rng) for name, truth in zip(("rod", "gravel"), truths, strict=True))
    began = time.process_time()
    programme = stepped_programme(temperatures, rate=10.0, hold=60.0 * hold, scans=SCANS)
    found = kinetics(samples, temperatures, programme, Choices(seed=seed, points=points, expected=EXPECTED))
    return Outcome(found, law.spinel.activation_energy, samples, truths, time.process_time() - began)


def _covered(bounds: Sequence[Bounds], truths: Sequence[float]) -> str:
    """How often truths lie within, apart for numbers bounded on both sides and on one."""
    words = []
    pairs = list(zip(bounds, truths, strict=True))
    for title, chosen in (
        ("both sides", [pair for pair in pairs if all(pair[0].bounded)]),
        ("one side", [pair for pair in pairs if not all(pair[0].bounded)]),
    ):
        if not chosen:
            continue
        shares = [
            f"{level:.0%}: {sum(b.interval[i, 0] <= t <= b.interval[i, 1] for b, t in chosen)}/{len(chosen)}"
            for i, level in enumerate(LEVELS)
        ]
        ends = np.array([b.interval for b, _ in chosen])
        errors = np.array([b.median - truth for b, truth in chosen])
        text = f"known from {title}: {', '.join(shares)}"
        if title == "both sides":
            text += f", median - truth {errors.mean():+.2f} ± {errors.std():.2f}"
            text += f", half-width {np.mean(np.ptp(ends[:, 0], axis=1)) / 2:.2f}"
        else:
            limits = np.where(np.isfinite(ends[:, 1, 0]), ends[:, 1, 0], ends[:, 1, 1])
            text += f", limit at 95 % {limits.mean():.2f}, truth {np.mean([truth for _, truth in chosen]):.2f}"
        words.append(text)
    return "; ".join(words)


def coverage_lines(outcomes: Sequence[Outcome]) -> list[str]:
    """How often truths lie in their intervals."""
    lines = ["activation energy (eV): " + _covered([o.found.energy for o in outcomes], [o.energy for o in outcomes])]
    known = [o for o in outcomes if np.isfinite(o.found.energy_shift)]
    if known:
        shift = np.array([o.found.energy_shift for o in known])
        left = np.array([o.found.energy.median - o.energy for o in known]) - shift
        lines.append(
            f"shift of the energy (eV), told by the fit of its own answer: {shift.mean():+.2f} ± {shift.std():.2f}, "
            f"median - shift - truth {left.mean():+.2f} ± {left.std():.2f}"
        )
    for index, name in enumerate(("rod", "gravel")):
        truths = [float(np.log(o.truths[index].mean_time)) for o in outcomes]
        lines.append(f"ln release time, {name}: " + _covered([o.found.log_time[index] for o in outcomes], truths))
    ratios = [0.5 * float(np.log(o.truths[1].mean_time / o.truths[0].mean_time)) for o in outcomes]
    lines.append("ln path gravel / rod: " + _covered([o.found.log_path[1] for o in outcomes], ratios))
    lines.append(f"true path ratios {np.exp(ratios).min():.1f} to {np.exp(ratios).max():.1f}")
    won = np.array([int(np.argmin(o.found.criterion)) for o in outcomes])
    lines.append(
        f"Akaike's choice: one chemistry {np.sum(won == 0)}, each alone {np.sum(won == 1)}, one path {np.sum(won == 2)}"
    )
    lines.append(f"discrepancy found: {np.mean([o.found.discrepancy for o in outcomes]):.3f} eV")
    return lines


def _hindsight(errors: Floats, level: float) -> float:
    """Mean score of the straight line with the constant interval that would have been best for these very errors."""
    halves = np.append(np.abs(errors), 0.0)
    return float(min(interval_score(low=-half, high=half, value=errors, level=level).mean() for half in halves))


def score_lines(series: str, outcomes: Sequence[Outcome]) -> list[str]:
    """Interval scores of left-out temperatures, model against straight line."""
    temperatures = SERIES[series][0]
    lines = ["| left out, C | sample | level | inside | score | line: inside | line: score | line, best in hindsight |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    rows: dict[tuple[str, str, int], list[tuple[float, ...]]] = {}
    for one in outcomes:
        for each in one.found.predictions:
            if each.hold == len(temperatures) - 1:
                continue
            sample = one.samples[each.sample]
            value = float(sample.mean[each.hold])
            for level in range(len(LEVELS)):
                ours, line = each.interval[level], each.straight[level]
                numbers = (*ours, *line, value, value - each.straight_value)
                for key in ((f"{temperatures[each.hold]:g}", sample.name), ("all", "both")):
                    rows.setdefault((*key, level), []).append(numbers)
    for (temperature, name, level), numbers in rows.items():
        a, b, c, d, value, error = np.array(numbers).T
        share = LEVELS[level]
        ours = interval_score(low=a, high=b, value=value, level=share).mean()
        theirs = interval_score(low=c, high=d, value=value, level=share).mean()
        inside, line_inside = (np.sum((low <= value) & (value <= high)) for low, high in ((a, b), (c, d)))
        lines.append(
            f"| {temperature} | {name} | {share:.0%} | {inside}/{value.size} | {ours:.3f} | "
            f"{line_inside}/{value.size} | {theirs:.3f} | {_hindsight(error, share):.3f} |"
        )
    lines.append(_profiles(temperatures, outcomes))
    return lines


def _profiles(temperatures: Sequence[float], outcomes: Sequence[Outcome]) -> str:
    inside, total = 0, 0
    for one in outcomes:
        for each in one.found.predictions:
            if each.hold < len(temperatures) - 1:
                profile = one.samples[each.sample].profile[each.hold]
                inside += int(((each.profile[0] <= profile) & (profile <= each.profile[1])).sum())
                total += profile.size
    return f"shells of left-out profiles within 68 %: {inside}/{total}"


def main() -> None:
    """Run the seeds of both series and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs=2, type=int, default=(1, 20), metavar=("FIRST", "LAST"))
    parser.add_argument("--keep", type=Path, default=Path("kinetics-truth"), help="folder of the simulated particles")
    parser.add_argument("--series", nargs="+", choices=list(SERIES), default=list(SERIES))
    parser.add_argument("--drawn", action="store_true", help="a law of its own for every seed")
    parser.add_argument("--points", type=int, default=Choices.points, help="of a cloud")
    options = parser.parse_args()
    first, last = options.seeds
    for series in options.series:
        outcomes = []
        for seed in range(first, last + 1):
            one = outcome(series, seed, options.keep, drawn=options.drawn, points=options.points)
            outcomes.append(one)
            energy = one.found.energy
            print(f"{series}, seed {seed}: E {energy.median:.2f} eV, 95 % {energy.interval[1].round(2)}", flush=True)
        print(f"\n{series}: {', '.join(f'{each:g}' for each in SERIES[series][0])} C, seeds {first} to {last}")
        print("\n".join(coverage_lines(outcomes)))
        print("\n".join(score_lines(series, outcomes)))
        print(f"CPU per study: {np.mean([one.seconds for one in outcomes]):.1f} s")


if __name__ == "__main__":
    main()
