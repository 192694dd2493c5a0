"""The numbers of Hou et al. against the virtual particles', and what happens when parts of the model are taken out."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.parallel import run_slabs
from cathoscope.virtual.charged import charged_particle, transport_grid
from cathoscope.virtual.collapse import MechanicalLaw
from cathoscope.virtual.grains import Grains, draw_grains
from cathoscope.virtual.heating import OXYGEN_FLOW, Charged, HeatingLaw, Track, heat, without_boundaries
from cathoscope.virtual.particle import GRAVEL, ROD, ParticleDesign
from cathoscope.virtual.programme import ramp_programme, tomography_programme
from cathoscope.virtual.radial_span import radial_span

TEMPERATURES = (25.0, 150.0, 200.0, 250.0)
BASELINE = (150.0, 190.0)  # degC; of the tangent construction


@dataclass(frozen=True)
class Outcome:
    """What one particle does: means at the middle of the scans of each temperature, and temperatures of events."""

    line: NDArray[np.float64]
    width: NDArray[np.float64]
    volume: NDArray[np.float64]
    start: float
    half: float
    end: float
    onset: float


def heated(grains: Grains, charged: Charged, law: HeatingLaw, *, weighed: bool) -> Outcome:
    """Heat one particle in the three programmes of the paper; in that of the TGA only if it is ``weighed``."""
    programme = tomography_programme(TEMPERATURES)
    moments = [begin + 2 / 3 * (end - begin) for begin, end in programme.holds]
    _, states = heat(charged, law, programme, moments=moments)
    diffraction, _ = heat(charged, law, ramp_programme(rate=1.0, end=215.0), kelvin=1.0)
    start, half, end = (
        float(np.interp(share, diffraction.spinel, diffraction.temperature)) for share in (0.03, 0.5, 0.95)
    )
    core = (grains.design.core_radius / grains.design.radius) ** 3
    shapes = [
        MechanicalLaw().deformation(
            conversion=float(state.spinel.mean()), radial_span=radial_span(grains), temperature=state.temperature
        )
        for state in states
    ]
    return Outcome(
        np.array([state.white_line.mean() for state in states]),
        np.array([state.white_line.std() for state in states]),
        np.array([shape.volume_ratio(core_share=core) for shape in shapes]),
        start,
        half,
        end,
        mass_loss_onset(charged, law) if weighed else np.nan,
    )


def mass_loss_onset(charged: Charged, law: HeatingLaw) -> float:
    """Where the tangent of the steepest mass loss above 200 degC meets the line through the baseline, degC."""
    track: Track = heat(charged, law, ramp_programme(rate=5.0, end=320.0), oxygen=OXYGEN_FLOW, kelvin=1.0)[0]
    slope = np.gradient(track.mass_loss, track.temperature)
    steepest = int(np.argmax(np.where(track.temperature > 200, slope, -np.inf)))
    base = (track.temperature >= BASELINE[0]) & (track.temperature <= BASELINE[1])
    line = np.polyfit(track.temperature[base], track.mass_loss[base], 1)
    intercept = track.mass_loss[steepest] - slope[steepest] * track.temperature[steepest]
    return float((line[1] - intercept) / (slope[steepest] - line[0]))


def outcome(case: str, design: ParticleDesign, *, cells: int, seed: int) -> Outcome:
    """Draw a particle and heat it, with what the ``case`` changes."""
    change, change_law, closed_core = CASES[case]
    law, grains = change_law(HeatingLaw()), draw_grains(change(design), seed)
    charged = charged_particle(grains, transport_grid(grains, cells=cells), law, seed=(seed,), closed_core=closed_core)
    return heated(grains, charged, law, weighed=case == AS_IT_IS)


def _line(label: str, paper: tuple[str, str], read: Callable[[Outcome], str], rod: Outcome, gravel: Outcome) -> str:
    return f"| {label} | {paper[0]} | {read(rod)} | {paper[1]} | {read(gravel)} |"


def table(rod: Outcome, gravel: Outcome) -> list[str]:
    """The paper's numbers against ours, Markdown."""

    def step(index: int) -> Callable[[Outcome], str]:
        return lambda one: f"{one.line[index + 1] - one.line[index]:+.2f}"

    def relative_volume(index: int) -> Callable[[Outcome], str]:
        return lambda one: f"{100 * (one.volume[index] - 1):+.1f}"

    rows = [
        ("white line 25 to 150 C, eV", ("-1.9", "-0.9"), step(0)),
        ("white line 150 to 200 C, eV", ("-0.4", "-1.3"), step(1)),
        ("white line 200 to 250 C, eV", ("similar", "similar"), step(2)),
        ("mean at 250 C, eV", ("8347.8", "8347.8"), lambda one: f"{one.line[3]:.2f}"),
        ("spinel begins (3 %), C", ("140", "140"), lambda one: f"{one.start:.1f}"),
        ("spinel half, C", ("", ""), lambda one: f"{one.half:.1f}"),
        ("spinel complete (95 %), C", ("155", "190"), lambda one: f"{one.end:.1f}"),
        ("rapid mass loss begins, C", ("217", "234"), lambda one: f"{one.onset:.1f}"),
        ("volume at 150 C, %", ("-10", "little"), relative_volume(1)),
        ("volume at 250 C, %", ("", "marginal expansion"), relative_volume(3)),
        *(
            (f"width of the histogram at {temperature:g} C, eV", ("", ""), lambda one, i=index: f"{one.width[i]:.2f}")
            for index, temperature in enumerate(TEMPERATURES)
        ),
    ]
    head = ["| quantity | rod, paper | rod, ours | gravel, paper | gravel, ours |", "|---|---|---|---|---|"]
    return head + [_line(label, paper, read, rod, gravel) for label, paper, read in rows]


AS_IT_IS = "as it is"
CASES: dict[str, tuple[Callable[[ParticleDesign], ParticleDesign], Callable[[HeatingLaw], HeatingLaw], bool]] = {
    AS_IT_IS: (lambda design: design, lambda law: law, False),
    "no resistance of boundaries": (lambda design: design, without_boundaries, False),
    "isotropic grains": (lambda design: design, lambda law: replace(law, slow_ratio=1.0), False),
    "random axes": (lambda design: replace(design, alignment=0.0), lambda law: law, False),
    "closed core": (lambda design: design, lambda law: law, True),
    "same composition": (
        lambda design: replace(design, core_composition={"Ni": 0.81, "Mn": 0.08, "Co": 0.11}),
        lambda law: law,
        False,
    ),
}


def main() -> None:
    """Print the table and the ablations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=56)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--table-only", action="store_true")
    options = parser.parse_args()
    cases = {AS_IT_IS: CASES[AS_IT_IS]} if options.table_only else CASES
    jobs = [(case, design) for case in cases for design in (ROD, GRAVEL)]
    found: dict[tuple[str, str], Outcome] = {}

    def work(job: tuple[str, ParticleDesign]) -> None:
        case, design = job
        found[case, design.arrangement] = outcome(case, design, cells=options.cells, seed=options.seed)

    run_slabs(work, jobs, threads=options.threads)
    print("\n".join(table(found[AS_IT_IS, "rod"], found[AS_IT_IS, "gravel"])))
    print("\n| case | rod: step to 150 C, complete | gravel: step to 150 C, complete |\n|---|---|---|")
    for case in cases:
        rod, gravel = found[case, "rod"], found[case, "gravel"]
        words = [f"{one.line[1] - one.line[0]:+.2f} eV, {one.end:.0f} C" for one in (rod, gravel)]
        print(f"| {case} | {words[0]} | {words[1]} |")


if __name__ == "__main__":
    main()
