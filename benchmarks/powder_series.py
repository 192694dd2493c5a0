"""What a series of virtual powder patterns tells, against the truth that made it, and CPU seconds.

    python -m benchmarks.powder_series                   # rod and gravel, 452 patterns: some minutes
    python -m benchmarks.powder_series --patterns 60
    python -m benchmarks.powder_series --specimen        # with the distribution of the particles' own states
    python -m benchmarks.powder_series --starts          # twenty bad starts of one pattern alone

Powders heated from 25 to 250 C on one bank of NOMAD, 2372 points, recorded by the virtual experiment, which shares
nothing with the refinement, and refined as recipes are: cells, sizes, strain, displacements, positions, mixing and
occupancies of the layered oxide and of the spinel. Pulls are (found - true) / sigma; those of sizes and of the aspect
are of their inverse, which is what widths tell. Sigma is that with local misfit, and beside it that of counting. With
``--specimen`` no homogeneous phase is true: errors are told against the mean weighted by volume, and against where the
same refinement ends without noise. Exit code 1 if means of the pulls are beyond 0.15 and two of their own errors,
widths beyond 1 +- 0.1 and two of theirs, transitions begin or end 3 C off, 2 % of the patterns of one phase get a
second one, 226 patterns take over 90 CPU s, or a bad start ends elsewhere and does not say so.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.powder_starts import bad_starts
from cathoscope.powder.crystallite import Crystallite, CrystalliteChoices, crystallite_of
from cathoscope.powder.member import Member
from cathoscope.powder.model import Pattern, model_of
from cathoscope.powder.priors import usual_priors
from cathoscope.powder.quantities import phase_quantities, weight_fractions
from cathoscope.powder.sequence import SequenceChoices, follow
from cathoscope.powder.strategy import Plan, refine
from cathoscope.powder.ties import with_exchange
from cathoscope.powder.transition import step_of
from cathoscope.powder.usual import USUAL_STAGES, PatternChoices, pattern_of, usual_ties
from cathoscope.virtual.diffraction_banks import DIFFRACTOMETERS
from cathoscope.virtual.diffraction_pattern import background, bragg, counted, sums_for
from cathoscope.virtual.diffraction_powder import starting_phases
from cathoscope.virtual.diffraction_study import DIFFRACTION_PRESETS, DiffractionPlan, heated_powder

BANK, SECONDS, PATTERNS = "nomad-122", 90.0, 226
MEAN, WIDTH, PLACE, FALSE = 0.15, 0.1, 3.0, 0.02
NAMES = ("layered", "spinel")
JUDGED = {
    "lattice_a": NAMES,
    "lattice_c": NAMES[:1],
    "weight_fraction": NAMES[:1],
    "antisite": NAMES,
    "oxygen_occupancy": NAMES,
    "domain_size": NAMES,
    "domain_aspect": NAMES[:1],
    "microstrain": NAMES,
}
_INVERSE = ("domain_size", "domain_aspect")


@dataclass
class Series:
    """One sample: what its crystals are at every temperature, and its patterns."""

    sample: str
    specimen: bool
    step: int
    seed: int = 1
    patterns: list[list[Pattern]] = field(default_factory=list)
    clean: list[Pattern] = field(default_factory=list)

    def __post_init__(self) -> None:
        preset = DIFFRACTION_PRESETS[f"{self.sample}-diffraction{'-specimen' * self.specimen}"]
        plan = DiffractionPlan(preset, preset.sizes["medium"], self.seed)
        bank, self.start = DIFFRACTOMETERS[BANK], starting_phases(preset.samples[self.sample][0].core_composition)
        everything = heated_powder(plan, self.sample)
        share = [one.found["weight_fraction"][1] for one in everything]
        self.places = np.interp((0.05, 0.95), share, [one.temperature for one in everything])
        self.powder = everything[:: self.step]
        sums, true = [sums_for(bank, phase) for phase in self.start], bank.true(plan.zero_offset(self.sample, BANK))
        edges = bank.grid()
        for one in self.powder:
            pairs = [(portion, each) for portion, each in zip(one.portions, sums, strict=True) if portion]
            expected = background(bank) + bragg(bank, true, pairs, apart=self.specimen)
            rng = plan.rng(self.sample, BANK, round(1000 * one.temperature))
            y, sigma = counted(expected, bank.gain(), rng)
            width, middle = np.diff(edges), 0.5 * (edges[1:] + edges[:-1])
            made = pattern_of(bank.stated, middle, y / width, sigma / width, PatternChoices(background=10))
            self.patterns.append([made])
            noise = np.sqrt(expected * np.median(sigma[y > 0] ** 2 / y[y > 0]))
            self.clean.append(replace(made, y=expected / width, std=noise / width))

    @property
    def temperature(self) -> np.ndarray:
        """degC."""
        return np.array([one.temperature for one in self.powder])

    def truth(self, name: str, phase: str) -> np.ndarray:
        """Of a quantity at every temperature."""
        return np.array([one.found[name][NAMES.index(phase)] for one in self.powder])


def phases_and_plan(series: Series) -> tuple[tuple[Crystallite, Crystallite], Plan]:
    """What the recipe of the virtual study says."""
    layered, ties, exchanged = with_exchange(series.start[0], "Li1", "Ni1")
    across = {"size": "uniaxial", "size_axis": (1, 1, 0)} if series.sample == "rod" else {"size": "isotropic"}
    phases = (
        crystallite_of(layered, CrystalliteChoices(**across, strain="isotropic")),
        crystallite_of(series.start[1], CrystalliteChoices(size="isotropic", strain="isotropic")),
    )
    free = (exchanged, "layered.O1.occupancy", "spinel.Ni2.occupancy", "spinel.O1.occupancy")
    stages = (*USUAL_STAGES[:-1], (*USUAL_STAGES[-1], *free))
    return phases, Plan(stages=stages, ties=usual_ties(phases, ties), priors=usual_priors(phases))


def refined_series(series: Series) -> tuple[list[Member], float]:
    """The series as recipes refine it, and CPU seconds."""
    phases, plan = phases_and_plan(series)
    began = time.process_time()
    choices = SequenceChoices(optional=NAMES)
    members = follow(lambda number: series.patterns[number], len(series.patterns), phases, plan, choices)
    return members, time.process_time() - began


Told = tuple[int, str, str, float, float, float]
"""Number of the pattern, phase, name, value, uncertainty and truth."""


def quantities(series: Series, members: Sequence[Member]) -> Iterator[Told]:
    """All that is told."""
    phases, _ = phases_and_plan(series)
    for number, member in enumerate(members):
        if member.fit is None:
            continue
        here = [phase for phase in phases if phase.phase.name in member.present]
        shares = weight_fractions(model_of(series.patterns[number], here), member.fit)
        for k, phase in enumerate(here):
            name = phase.phase.name
            told = {} if name in member.weak else dict(phase_quantities(member.fit, phase))
            for quantity, one in {**told, "weight_fraction": None}.items():
                if name in JUDGED.get(quantity, ()):
                    value, std = (shares.value[k], shares.std[k]) if one is None else (one.value, one.std)
                    yield number, name, quantity, float(value), float(std), series.truth(quantity, name)[number]


def by_counting(members: Sequence[Member]) -> list[Member]:
    """The same with the uncertainties of counting and the goodness of fit alone."""
    return [one if one.fit is None else replace(one, fit=replace(one.fit, misfit=None)) for one in members]


def without_noise(series: Series, members: Sequence[Member]) -> list[Member]:
    """Where the same refinements end on patterns without noise; none of those with weak phases."""
    phases, plan = phases_and_plan(series)
    out = []
    for pattern, member in zip(series.clean, members, strict=True):
        if member.fit is None or member.weak:
            out.append(Member(None, ()))
            continue
        here = [phase for phase in phases if phase.phase.name in member.present]
        ties = {name: tie for name, tie in plan.ties.items() if name.partition(".")[0] in member.present}
        alone = replace(plan, stages=(member.fit.search.free,), ties=ties, start=member.fit.numbers())
        out.append(replace(member, fit=refine([pattern], here, alone).fit))
    return out


def pull(name: str, value: float, std: float, true: float) -> float:
    """(found - true) / sigma, of the inverse where that is what a pattern tells."""
    return (1 / true - 1 / value) * value**2 / std if name in _INVERSE else (value - true) / std


def statistics(all_series: Sequence[Series], all_members: Sequence[Sequence[Member]], judged: bool) -> bool:
    """Means and widths of the pulls of every quantity; whether they hold."""
    found, counting = (
        table_of_pulls(quantities(*each) for each in zip(all_series, members, strict=True))
        for members in (all_members, [by_counting(one) for one in all_members])
    )
    held = True
    for (phase, name), rows in sorted(found.items()):
        pulls, alone = np.array([one for one, _ in rows]), np.array([one for one, _ in counting[phase, name]])
        error = 1 / np.sqrt(pulls.size)
        good = abs(pulls.mean()) <= MEAN + 2 * error and abs(pulls.std() - 1) <= WIDTH + 2 * error / np.sqrt(2)
        held &= good or not judged
        print(
            f"{phase:8} {name:17} {pulls.size:4} values: pulls {pulls.mean():+.2f} +- {error:.2f}, width "
            f"{pulls.std():.2f} ({alone.std():.2f} by counting), largest {np.abs(pulls).max():.1f}; "
            f"off by {np.mean([off for _, off in rows]):+.2g}{'' if good or not judged else '  MISSED'}"
        )
    return held


def table_of_pulls(everything: Iterable[Iterable[Told]]) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Pulls and errors by phase and name."""
    table: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _, phase, name, value, std, true in (one for told in everything for one in told):
        # of a phase that is not there nothing is true, and alone it has all the mass
        if np.isfinite(true) and std > 0 and true > 0 and not (name == "weight_fraction" and true == 1):
            table.setdefault((phase, name), []).append((pull(name, value, std, true), value - true))
    return table


def against_no_noise(all_series: Sequence[Series], all_members: Sequence[Sequence[Member]]) -> None:
    """Errors against where refinements end without noise."""
    moved: list[list[Told]] = [[], []]
    for series, members in zip(all_series, all_members, strict=True):
        ends = {one[:3]: one[3] for one in quantities(series, without_noise(series, members))}
        for kind, told in zip(moved, (members, by_counting(members)), strict=True):
            for number, phase, name, value, std, true in quantities(series, told):
                if 0 < true < 1 or name != "weight_fraction":
                    kind += [(number, phase, name, value, std, ends.get((number, phase, name), np.nan))]
    local, counting = (table_of_pulls([one]) for one in moved)
    print("against the same refinements without noise:")
    for (phase, name), rows in sorted(local.items()):
        pulls, alone = (np.array([one for one, _ in each]) for each in (rows, counting[phase, name]))
        print(
            f"{phase:8} {name:17} {pulls.size:4} values: pulls {pulls.mean():+.2f}, width {pulls.std():.2f} "
            f"({alone.std():.2f} by counting)"
        )


def presence(all_series: Sequence[Series], all_members: Sequence[Sequence[Member]]) -> bool:
    """How often a phase is told that is not there, and the least share that is told; whether it holds."""
    false, single, missed = 0, 0, 0.0
    for series, members in zip(all_series, all_members, strict=True):
        share = np.stack([series.truth("weight_fraction", name) for name in NAMES], axis=1)
        for number, member in enumerate(members):
            there = share[number] > 0
            single += not there.all()
            false += any(name in member.present and not there[k] for k, name in enumerate(NAMES))
            lost = [share[number, k] for k, name in enumerate(NAMES) if there[k] and name not in member.present]
            missed = max([missed, *lost])
    print(f"false second phase: {false} of {single} patterns of one phase; largest share that was missed {missed:.4f}")
    return false <= FALSE * max(single, 1)


def transition(series: Series, members: Sequence[Member]) -> bool:
    """Onset and end of the spinel against where 5 and 95 % of its true rise are done; whether they hold."""
    share, std = np.full((2, len(members)), np.nan)
    phases, _ = phases_and_plan(series)
    for number, member in enumerate(members):
        if member.fit is not None:
            here = [phase for phase in phases if phase.phase.name in member.present]
            found = weight_fractions(model_of(series.patterns[number], here), member.fit)
            both = dict(zip(member.present, zip(found.value, found.std, strict=True), strict=True))
            share[number], std[number] = both.get("spinel", (0.0, 0.0))
    step = step_of(series.temperature, share, std)
    if step is None:
        print(f"{series.sample}: no transition found")
        return False
    wanted = [float(one) for one in series.places]
    found = [step.onset, step.end]
    text = [
        f"{name} {one.value:.1f} ({one.low:.1f} to {one.high:.1f}), true {goal:.1f} C"
        for name, one, goal in zip(("onset", "end"), found, wanted, strict=True)
    ]
    print(f"{series.sample}: spinel's {', '.join(text)}; {step.family}")
    return all(abs(one.value - goal) <= PLACE for one, goal in zip(found, wanted, strict=True))


def main(arguments: list[str] | None = None) -> int:
    """Run it; 1 if it misses what it must hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patterns", type=int, default=2 * PATTERNS)
    parser.add_argument("--specimen", action="store_true")
    parser.add_argument("--starts", action="store_true")
    chosen = parser.parse_args(arguments)
    step = max(1, round(2 * PATTERNS / chosen.patterns))
    if chosen.starts:
        return 0 if bad_starts(Series("rod", False, 59), phases_and_plan) else 1
    all_series = [Series(sample, chosen.specimen, step) for sample in ("rod", "gravel")]
    all_members, held = [], True
    for series in all_series:
        members, seconds = refined_series(series)
        count = len(members)
        gof = np.mean([one.fit.gof for one in members if one.fit is not None])
        arrived = sum(one.fit is not None and one.fit.outcome == "converged" for one in members)
        print(f"{series.sample}: {count} patterns, {arrived} converged, {seconds:.1f} CPU s, mean GOF {gof:.3f}")
        held &= seconds <= SECONDS * count / PATTERNS or step > 1
        held &= transition(series, members) or step > 3
        all_members.append(members)
    held &= presence(all_series, all_members)
    held &= statistics(all_series, all_members, judged=not chosen.specimen)
    if chosen.specimen:
        against_no_noise(all_series, all_members)
    print("holds" if held else "MISSED")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
