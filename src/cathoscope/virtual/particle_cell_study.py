"""Virtual studies of single particles as cells: cycles of nA, impedance after every one, and what may go wrong.

The particles are those of the studies in a FIB/SEM: one seed, one particle. Cracks let electrolyte in, so that the
resistance of charge transfer falls and the capacity rises; then pieces lose contact, layers grow, and it fades.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import pi
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from cathoscope.core import schema
from cathoscope.core.parallel import Progress, Silent
from cathoscope.core.study import Study
from cathoscope.virtual.boundaries import boundary_network
from cathoscope.virtual.cell import Cell, Cycler, Health, Points, Protocol, Side
from cathoscope.virtual.cell_files import eclab_cycling_text, eclab_impedance_text
from cathoscope.virtual.cell_health import Ageing, Course, Wear, course_of, wear_of
from cathoscope.virtual.cell_record import Recorder, Sweep
from cathoscope.virtual.cell_truth import cycle_numbers, impedance_truth, labelled_cycles, truth_of_cycles
from cathoscope.virtual.coin_cells import DENSITY, ONE_C, Turn, theoretical_capacity
from cathoscope.virtual.coin_study import CIRCUIT_KEYS
from cathoscope.virtual.cycling import H_CYCLING, L_CYCLING, CyclingLaw
from cathoscope.virtual.diffraction_files import write_text
from cathoscope.virtual.fibsem_files import Truth, write_truth_file
from cathoscope.virtual.grains import draw_grains
from cathoscope.virtual.particle import H_NMC, L_NMC, ParticleDesign
from cathoscope.virtual.recipe_outline import StudyPlan
from cathoscope.virtual.recording import require_space

_GRAINS = 0  # as in the other studies: one seed, one particle
_COARSE = 0.25  # of the grain size: spacing of the network's grid
_NEW = 0.97  # filling of a particle that was never charged
_STEPS = 250.0  # of a half cycle, at least
_FINE = 16  # times finer steps while a dendrite shorts the cell
_BYTES_PER_ROW = 170


@dataclass(frozen=True)
class ParticleLaw:
    """What all particles have in common.

    ``diffusivity`` in um2/s along the planes, ``exchange`` in A/m2, ``resistance`` (ohm) of tip and electrolyte, which
    grows by the part ``growth`` per cycle; ``leak`` in S.
    """

    ageing: Ageing = field(
        default_factory=lambda: Ageing(hairline=0.2, entering=4.0, layer=3e-3, film=0.5, oxygen=5e-5)
    )
    diffusivity: float = 4e-3
    exchange: float = 1.0
    resistance: float = 4e6
    growth: float = 0.6
    leak: float = 5e-14


@dataclass(frozen=True)
class Trouble:
    """What goes wrong, each in one cycle (from 1) or several.

    ``beam``: in the discharge of this cycle the electron beam is on for ``beam_seconds``, which lifts the voltage by
    ``beam_step`` (V) that relaxes. ``short``: half-way through its charge a dendrite shorts the cell, which passes
    ``short_current`` times the current, until the charge is ended by the limit of its time. ``leaky``: first and last
    cycle in which the leakage is ``leak_factor`` times as large.
    """

    beam: int = 6
    beam_seconds: float = 240.0
    beam_step: float = 0.015
    short: int = 12
    short_current: float = 6.0
    leaky: tuple[int, int] = (18, 21)
    leak_factor: float = 30.0


@dataclass(frozen=True)
class ParticleCellSize:
    """How finely: seconds between rows, cycles, frequencies; spectra every so many cycles after the fifth."""

    interval: float
    cycles: int
    frequencies: int
    every: int


_SIZES: Mapping[str, ParticleCellSize] = MappingProxyType(
    {"small": ParticleCellSize(20.0, 45, 45, 5), "medium": ParticleCellSize(5.0, 45, 60, 1)}
)


@dataclass(frozen=True)
class ParticleCellPreset:
    """A virtual study of single particles: designs and laws of cracking by sample, rate (C), window (V)."""

    meaning: str
    samples: Mapping[str, tuple[ParticleDesign, CyclingLaw]]
    trouble: Trouble | None = None
    rate: float = 1.0
    window: tuple[float, float] = (2.0, 4.8)
    rest: float = 300.0
    law: ParticleLaw = field(default_factory=ParticleLaw)
    diameter_error: float = 0.012  # of its estimate from an image, relative
    offset: float = 4e-13  # A, standard deviation between instruments
    current_noise: float = 3e-13  # A
    voltage_noise: float = 3e-4  # V
    sweep: Sweep = field(default_factory=lambda: Sweep(1e5, 0.05, 60, 0.006))
    sizes: Mapping[str, ParticleCellSize] = field(default_factory=lambda: _SIZES)


_L, _H = (L_NMC, L_CYCLING), (H_NMC, H_CYCLING)
_BOTH = MappingProxyType({"L-NMC": _L, "H-NMC": _H})

PARTICLE_CELL_PRESETS: Mapping[str, ParticleCellPreset] = MappingProxyType(
    {
        "cadiou-cells": ParticleCellPreset("low- and high-gradient particles as cells through 45 cycles", _BOTH),
        "cadiou-cells-disturbed": ParticleCellPreset("the same, with beam, dendrite and leakage", _BOTH, Trouble()),
        "L-NMC-cells": ParticleCellPreset("the low-gradient particle alone", MappingProxyType({"L-NMC": _L})),
        "H-NMC-cells": ParticleCellPreset("the high-gradient particle alone", MappingProxyType({"H-NMC": _H})),
    }
)


@dataclass(frozen=True)
class ParticleCellPlan(StudyPlan[ParticleCellPreset, ParticleCellSize]):
    """A study to be simulated; ``particles`` of each sample."""

    @property
    def bytes_on_disk(self) -> int:
        """Of all files, generously."""
        seconds = 2 * (3600.0 / self.preset.rate * 1.3 + self.preset.rest)
        rows = self.size.cycles * (seconds / self.size.interval + 20)
        return int(len(self.jobs) * rows * _BYTES_PER_ROW)

    @property
    def looked(self) -> list[int]:
        """Numbers of cycles after which a spectrum is taken."""
        return [n for n in range(self.size.cycles + 1) if n <= 5 or n % self.size.every == 0]

    def wear(self, job: tuple[str, int]) -> Wear:
        """What cycles do to one particle."""
        design, law = self.preset.samples[job[0]]
        grains = draw_grains(design, self.number(job, _GRAINS))
        network = boundary_network(grains, spacing=_COARSE * design.grain_size)
        hairline = self.preset.law.ageing.hairline
        return wear_of(grains, law, hairline, cycles=self.size.cycles, electrode=False, network=network)


class Event(NamedTuple):
    """Something that went wrong: its kind, cycle, and when it began and ended, s since the start of the record."""

    kind: str
    cycle: int
    begin: float
    end: float


@dataclass(frozen=True)
class CycledCell:
    """One particle through all cycles: ``halves`` as they are recorded, and what disturbed them."""

    cell: Cell
    mass: float
    current: float
    course: Course
    done: Sequence[Turn]
    events: Sequence[Event]


def particle_health(course: Course, law: ParticleLaw, number: int) -> Health:
    """State after ``number`` cycles."""
    area = 1e-12 * course.area[number]
    series = law.resistance * (1.0 + law.growth * number) + law.ageing.film * course.layer[number] / area
    return Health(
        contact=float(course.contact[number]),
        area=float(area * course.held[number]),
        length=float(course.length[number]),
        resistance=float(series),
    )


def cycled_cell(plan: ParticleCellPlan, job: tuple[str, int], wear: Wear, estimated: float) -> CycledCell:
    """A particle through all cycles at the current that an ``estimated`` diameter (um) asks for."""
    preset, law = plan.preset, plan.preset.law
    design = preset.samples[job[0]][0]
    mass = 1e-9 * DENSITY * wear.volume  # mg
    specific = theoretical_capacity(composition=design.core_composition)
    cell = Cell(1e-6 * mass * specific, law.diffusivity * wear.openness, law.exchange)
    current = preset.rate * 1e-15 * ONE_C * DENSITY * pi / 6 * estimated**3 * (1.0 - design.porosity)
    course = course_of(wear, law.ageing, cycles=plan.size.cycles, hours=2.0 / preset.rate, temperature=25.0)
    interval = plan.size.interval / np.ceil(plan.size.interval * preset.rate * _STEPS / 3600.0)
    protocol = Protocol(current, *preset.window, float(interval), rest=preset.rest)
    done: list[Turn] = []
    events: list[Event] = []
    cycler, clock = Cycler.fresh(cell, protocol, _NEW), 0.0
    for number in range(1, plan.size.cycles + 1):
        health, side = particle_health(course, law, number - 1), Side(leak=law.leak)
        charge, discharge = _one_cycle(cycler, health, side, (preset.trouble, number, clock, events))
        done.append(Turn(number, charge, discharge, health, side, cycler.filling.copy()))
        clock += float(charge.time[-1] + discharge.time[-1]) + 2.0
    return CycledCell(cell, mass, current, course, done, events)


_Told = tuple[Trouble | None, int, float, list[Event]]


def _one_cycle(cycler: Cycler, health: Health, side: Side, told: _Told) -> tuple[Points, Points]:
    """Charge and discharge with what goes wrong in this cycle; events are appended."""
    trouble, number, clock, events = told
    if trouble is None:
        return cycler.cycle(health, side)
    if trouble.leaky[0] <= number <= trouble.leaky[1]:
        side = replace(side, leak=side.leak * trouble.leak_factor)
    charge = _shorted(cycler, health, side, (trouble, number, clock, events)) if number == trouble.short else None
    charge = charge or cycler.half(health, charge=True, side=side)
    discharge = cycler.half(health, charge=False, side=side)
    begun = clock + float(charge.time[-1]) + 1.0
    if trouble.leaky[0] <= number <= trouble.leaky[1]:
        events.append(Event("leakage", number, clock, begun + float(discharge.time[-1])))
    if number == trouble.beam:
        on = 0.4 * float(discharge.time[discharge.current != 0][-1])
        events.append(Event("jump", number, begun + on, begun + on + trouble.beam_seconds))
        discharge = _lit(discharge, on, trouble)
    return charge, discharge


def _lit(points: Points, on: float, trouble: Trouble) -> Points:
    """A half cycle with the beam on from ``on`` s: the voltage jumps up, relaxes, and jumps back."""
    since, tau = points.time - on, trouble.beam_seconds
    lifted = np.where((since >= 0) & (since < tau), trouble.beam_step * np.exp(-np.maximum(since, 0.0) / tau), 0.0)
    return points._replace(voltage=points.voltage + lifted)


def _shorted(cycler: Cycler, health: Health, side: Side, told: tuple[Trouble, int, float, list[Event]]) -> Points:
    """A charge in which a dendrite forms half-way; the cell runs down through it until the time is up."""
    trouble, number, clock, events = told
    protocol = cycler.protocol
    half = 0.5 * 3600.0 * cycler.cell.sites * health.contact / protocol.current * 0.6
    before = cycler.flow(health, protocol.current, protocol.high, longest=half, side=side)
    conductance = trouble.short_current * protocol.current / float(before.voltage[-1])
    shorted = replace(side, leak=side.leak + conductance)
    cycler.protocol = replace(protocol, interval=protocol.interval / _FINE)
    after = cycler.flow(health, protocol.current, np.inf, longest=1.5 * half, side=shorted)
    cycler.protocol = protocol
    rest = cycler.flow(health, 0.0, np.inf, longest=protocol.rest, side=side)
    start, passed = float(before.time[-1]), float(before.charge[-1])
    events.append(Event("short", number, clock + start, clock + start + float(after.time[-1])))
    stop, whole = start + float(after.time[-1]), passed + float(after.charge[-1])
    parts = (
        before,
        Points(after.time[1:] + start, after.voltage[1:], after.current[1:], after.charge[1:] + passed),
        Points(rest.time[1:] + stop, rest.voltage[1:], rest.current[1:], rest.charge[1:] + whole),
    )
    return Points(*(np.concatenate(one) for one in zip(*parts, strict=True)))


@dataclass(frozen=True)
class ParticleMeasurement:
    """What the recipe needs of one particle: diameter as it was estimated (um), and times of the beam (s)."""

    sample: str
    particle: int
    diameter: float
    area: float
    beam: tuple[tuple[float, float], ...]


def simulate_particle_cells(
    study: Study, plan: ParticleCellPlan, *, progress: Progress | None = None
) -> list[ParticleMeasurement]:
    """Write records and spectra into ``raw`` beside a study, and truth into ``truth`` and the study.

    Raises
    ------
    CathoscopeError
        If it does not fit on the disk or a number is impossible.
    StudyError
        If a place cannot be written.
    """
    progress = progress or Silent()
    require_space(study.path.parent, plan.bytes_on_disk)
    progress.start("single particles", len(plan.jobs), "particle")
    made = []
    for job in plan.jobs:
        made.append(_particle(study, plan, job))
        progress.advance(1)
    progress.finish()
    return made


def _particle(study: Study, plan: ParticleCellPlan, job: tuple[str, int]) -> ParticleMeasurement:
    """Record, spectra and truth of one particle."""
    preset, name, folder = plan.preset, f"{job[0]}-{job[1]}", study.path.parent
    rng, wear = plan.rng(name, "cell"), plan.wear(job)
    design = preset.samples[job[0]][0]
    diameter = design.diameter * (1.0 + preset.diameter_error * float(np.clip(rng.standard_normal(), -2.0, 2.0)))
    offset = preset.offset * float(np.clip(rng.standard_normal(), -2.0, 2.0))
    cycled = cycled_cell(plan, job, wear, diameter)
    recorder = Recorder(plan.size.interval, np.inf, preset.voltage_noise, preset.current_noise, offset)
    rows = recorder.record([(one.number, half) for one in cycled.done for half in (one.charge, one.discharge)], rng)
    note = f"virtual experiment, seed {plan.seed}, {name}"
    text = eclab_cycling_text(rows, current=cycled.current, window=preset.window, note=note)
    write_text(folder / "raw" / f"{name}-cell" / "cycling.mpt", text, "latin-1")
    _spectra(study, plan, name, cycled)
    _write_truth(study, plan, name, cycled, offset)
    beam = tuple((event.begin, event.end) for event in cycled.events if event.kind == "jump")
    return ParticleMeasurement(*job, diameter, float(cycled.course.area[0]), beam)


def _spectra(study: Study, plan: ParticleCellPlan, name: str, cycled: CycledCell) -> None:
    """Impedance before the first and after further cycles, with its truth."""
    looked = [(number, particle_health(cycled.course, plan.preset.law, number)) for number in plan.looked]
    sweep = replace(plan.preset.sweep, points=plan.size.frequencies)
    for number, health in looked:
        spectrum = sweep.spectrum(cycled.cell, health, plan.rng(name, "impedance", f"{number}"))
        text = eclab_impedance_text(spectrum, voltage=3.9, note=f"{name}, after cycle {number}")
        write_text(study.path.parent / "raw" / f"{name}-impedance" / f"cycle_{number:03d}.mpt", text, "latin-1")
    study.write("truth", f"{name}-impedance", impedance_truth(cycled.cell, looked))


def _write_truth(study: Study, plan: ParticleCellPlan, name: str, cycled: CycledCell, offset: float) -> None:
    values = truth_of_cycles([cycle_numbers(cycled.done)], [cycled.mass], reference=1)
    arrays = labelled_cycles(values, [cycled.mass])
    used = np.ones((1, len(cycled.done)), dtype=np.bool_)
    used[0, [event.cycle - 1 for event in cycled.events if event.kind != "leakage"]] = False
    whole = dict(arrays[0].coords)
    record = {"record": whole["record"]}
    largest = float(np.argmax(np.where(used[0], values["discharge_capacity"][0], 0.0)) + 1)
    arrays += [
        schema.label("cycle_used", used, ("record", "cycle"), coords=whole),
        schema.label("regime_change", np.array([largest]), ("record",), coords=record),
        schema.label("current_offset", np.array([offset]), ("record",), coords=record),
        schema.label("particle_mass", np.array(cycled.mass), ()),
    ]
    study.write("truth", f"{name}-cell", schema.dataset(arrays))
    course, number = cycled.course, np.arange(plan.size.cycles + 1)
    health = [particle_health(course, plan.preset.law, int(n)) for n in number]
    file = {
        "cycle": Truth(number, "1", "Number of cycles"),
        "area": Truth(course.area, "um2", "Surface that electrolyte reaches"),
        "held": Truth(course.held, "1", "Share of the oxide in the largest piece"),
        "contact": Truth(course.contact, "1", "Share of the oxide that takes part"),
        "length": Truth(course.length, "um", "Radius of a grain as electrolyte reaches it"),
        "layer": Truth(course.layer, "um", "Mean thickness of the layer on wetted surface"),
        "transfer_resistance": Truth([cycled.cell.charge_transfer(one) for one in health], "ohm", "R T / (F i0 A)"),
        "series_resistance": Truth([one.resistance for one in health], "ohm", "Of tip, electrolyte and layers"),
        "current": Truth(cycled.current, "A", "That flowed"),
        "leak": Truth(plan.preset.law.leak, "S", "Leakage of the undisturbed cell"),
        "event_kind": Truth([event.kind.encode() for event in cycled.events], "1", "What went wrong"),
        "event_cycle": Truth([event.cycle for event in cycled.events], "1", "In which cycle"),
        "event_time": Truth([[event.begin, event.end] for event in cycled.events], "s", "From when to when"),
    }
    write_truth_file(study.path.parent / "truth" / f"{name}-cell.h5", file, particle=name)


def particle_cell_recipe(
    preset: str, seed: int, plan: ParticleCellPlan, measurements: Sequence[ParticleMeasurement]
) -> str:
    """The recipe of the study."""
    parts = [f"# Written by: cathoscope simulate {preset}; seed {seed}.\n"]
    parts.append(f'[study]\ntitle = "Virtual experiment: {preset}, seed {seed}"\n')
    for name, (design, _) in plan.preset.samples.items():
        formula = "Li" + "".join(f"{metal}{share:.2g}" for metal, share in design.core_composition.items()) + "O2"
        parts.append(f'[sample.{name}]\ncomposition = "{formula}"\nparticle = "virtual"\n')
    for one in measurements:
        parts += [_of_cell(one, plan), _of_spectra(one, plan)]
    return "\n".join(parts)


def _of_cell(one: ParticleMeasurement, plan: ParticleCellPlan) -> str:
    preset, name = plan.preset, f"{one.sample}-{one.particle}-cell"
    porosity = preset.samples[one.sample][0].porosity
    head = f'[measurement.{name}]\nsample = "{one.sample}"\ntechnique = "particle-cell"\nparticle = {one.particle}\n'
    head += f'files = "raw/{name}/cycling.mpt"\n\n[measurement.{name}.particle_cell]\n'
    keys = [
        f'diameter = "{one.diameter:.2f} um"',
        f'diameter_std = "{preset.diameter_error * one.diameter:.2f} um"',
        f"porosity = {porosity:g}",
        "porosity_std = 0.01",
        f'specific = "{ONE_C:g} mAh/g"',
        f"rate = {preset.rate:g}",
        f'window = ["{preset.window[0]:g} V", "{preset.window[1]:g} V"]',
        'offset = "rests"',
    ]
    if one.beam:
        times = ", ".join(f'["{begin:.1f} s", "{end:.1f} s"]' for begin, end in one.beam)
        keys.append(f"beam = [{times}]")
    return head + "\n".join([*keys, ""])


def _of_spectra(one: ParticleMeasurement, plan: ParticleCellPlan) -> str:
    name = f"{one.sample}-{one.particle}-impedance"
    head = f'[measurement.{name}]\nsample = "{one.sample}"\ntechnique = "impedance"\nparticle = {one.particle}\n'
    head += f'files = "raw/{name}/*.mpt"\n\n[measurement.{name}.impedance]\n'
    return head + f"cycles = [{', '.join(map(str, plan.looked))}]\n{CIRCUIT_KEYS}"
