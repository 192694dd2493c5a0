"""Virtual studies of coin cells: three replicates of rod and gravel at two temperatures, rates, and impedance."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from cathoscope.core import schema
from cathoscope.core.errors import CathoscopeError
from cathoscope.core.parallel import Progress, Silent
from cathoscope.core.study import Study
from cathoscope.virtual.boundaries import boundary_network
from cathoscope.virtual.cell_files import impedance_text, land_text, write_land_workbook
from cathoscope.virtual.cell_health import Wear, misfit, wear_of
from cathoscope.virtual.cell_record import Recorder, Sweep
from cathoscope.virtual.cell_truth import cycle_numbers, impedance_truth, labelled_cycles, truth_of_cycles
from cathoscope.virtual.coin_cells import (
    NEW,
    ONE_C,
    CoinLaw,
    Programme,
    Replicate,
    Turn,
    coin_cell,
    filling_when_charged,
    rate_capability,
    steady,
    theoretical_capacity,
    turns,
)
from cathoscope.virtual.cycling import CyclingLaw
from cathoscope.virtual.diffraction_files import write_text
from cathoscope.virtual.electrode_xas import ELEMENTS, STATES, scan_text, spectra_truth, spectrum_of
from cathoscope.virtual.fibsem_files import Truth, write_truth_file
from cathoscope.virtual.grains import draw_grains
from cathoscope.virtual.particle import GRAVEL, ROD, ParticleDesign
from cathoscope.virtual.recipe_outline import StudyPlan
from cathoscope.virtual.recording import require_space

CIRCUIT_KEYS = 'circuit = "R0-p(R1-W1,CPE1)"\ncompare = "R0-p(R1,CPE1)"\nrange = ["0.2 Hz", "100 kHz"]\n'
"""Diffusion follows the arc of charge transfer; below 0.2 Hz it feels how small grains are."""
REFERENCE = 2  # cycle that retention is told against
_GRAINS = 0  # as in the other studies: one seed, one particle
_SPECTRA = (2, 50, 100, 150)
_COARSE = 0.25  # of the grain size: spacing of the network's grid
_EVEN_MISFIT = 0.8  # at which boundaries live as long as the law says
_BYTES_PER_ROW = 90


@dataclass(frozen=True)
class Scatter:
    """From cell to cell: standard deviations of mass (mg), and of the logarithm of load, layer, resistance, oxidation.

    ``weighing`` (mg) is that of the balance.
    """

    mass: float = 0.05
    load: float = 0.008
    layer: float = 0.01
    resistance: float = 0.1
    oxidation: float = 0.1
    weighing: float = 0.01


@dataclass(frozen=True)
class CoinSample:
    """A material: its particle, and which part of its lithium moves at all (fitted to its capacity)."""

    design: ParticleDesign
    mobile: float

    @property
    def specific(self) -> float:
        """Charge of the lithium that moves, mAh/g."""
        return self.mobile * theoretical_capacity(composition=self.design.core_composition)


@dataclass(frozen=True)
class CoinSize:
    """How finely: rows by time (share of an hour at 1C) and by voltage (V), frequencies of a spectrum."""

    interval: float
    step: float
    frequencies: int


_SIZES: Mapping[str, CoinSize] = MappingProxyType(
    {"small": CoinSize(0.1, 0.05, 40), "medium": CoinSize(0.02, 0.01, 60)}
)
_PROGRAMMES: Mapping[str, Programme] = MappingProxyType(
    {
        "25C": steady(0.2, 150, formation=0.1, temperature=25.0),
        "40C": steady(1.0, 300, formation=0.2, temperature=40.0),
        "rate": rate_capability((0.1, 0.2, 0.5, 1.0, 2.0, 0.2), each=5),
    }
)


@dataclass(frozen=True)
class CoinPreset:
    """A virtual study of coin cells; ``mass`` of oxide in mg, ``cells`` of each kind."""

    meaning: str
    samples: Mapping[str, CoinSample]
    programmes: Mapping[str, Programme] = field(default_factory=lambda: _PROGRAMMES)
    cells: int = 3
    mass: float = 3.18
    law: CoinLaw = field(default_factory=CoinLaw)
    cracking: CyclingLaw = field(default_factory=lambda: CyclingLaw(life=10.0, modulus=2.0, opening=0.04))
    fatigue: float = 4.0
    ages: int = 24
    scatter: Scatter = field(default_factory=Scatter)
    sweep: Sweep = field(default_factory=lambda: Sweep(1e5, 0.02, 60))
    sizes: Mapping[str, CoinSize] = field(default_factory=lambda: _SIZES)


_ROD, _GRAVEL = CoinSample(ROD, 0.97004), CoinSample(GRAVEL, 0.92221)
_SAMPLES = {"hou-cells": {"rod": _ROD, "gravel": _GRAVEL}, "rod-cells": {"rod": _ROD}}
_SAMPLES |= {"gravel-cells": {"gravel": _GRAVEL}}

COIN_PRESETS: Mapping[str, CoinPreset] = MappingProxyType(
    {
        name: CoinPreset(f"coin cells of {' and '.join(samples)} at 25 and 40 C", MappingProxyType(samples))
        for name, samples in _SAMPLES.items()
    }
)


@dataclass(frozen=True)
class CoinPlan(StudyPlan[CoinPreset, CoinSize]):
    """A study to be simulated."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.particles != 1:
            raise CathoscopeError(
                "a coin cell holds many particles, of which one stands for all",
                expected="--particles 1; the number of cells is that of the preset",
                found=f"--particles {self.particles}",
            )

    @property
    def bytes_on_disk(self) -> int:
        """Of all files, generously."""
        rows = 3.0 / self.size.step + 2.0 / self.size.interval + 20
        cycles = sum(len(one.charge) for one in self.preset.programmes.values())
        return int(len(self.preset.samples) * self.preset.cells * cycles * 2 * rows * _BYTES_PER_ROW)

    def wear(self, name: str) -> Wear:
        """What cycles do to the particle that stands for a sample: the better its grains fit, the longer they hold."""
        design = self.preset.samples[name].design
        key = (self.seed, zlib.crc32(name.encode()), 1, _GRAINS)
        grains = draw_grains(design, int(np.random.SeedSequence(key).generate_state(1)[0]))
        network = boundary_network(grains, spacing=_COARSE * design.grain_size)
        longer = (_EVEN_MISFIT / misfit(grains, network)) ** self.preset.fatigue
        law = replace(self.preset.cracking, life=self.preset.cracking.life * longer)
        hairline = self.preset.law.ageing.hairline
        return wear_of(grains, law, hairline, cycles=self.preset.ages, electrode=True, network=network)

    def replicate(self, name: str, kind: str, number: int) -> tuple[Replicate, float]:
        """A cell, and its mass as the balance shows it, mg."""
        scatter, z = self.preset.scatter, np.clip(self.rng(name, kind, f"{number}").standard_normal(6), -2.5, 2.5)
        spreads = (scatter.load, scatter.layer, scatter.resistance, scatter.oxidation)
        factors = (float(np.exp(spread * one)) for spread, one in zip(spreads, z[1:5], strict=True))
        mass = self.preset.mass + scatter.mass * float(z[0])
        return Replicate(mass, *factors), mass + scatter.weighing * float(z[5])


@dataclass(frozen=True)
class CoinMeasurement:
    """What the recipe needs of one condition: masses that were weighed (mg) by the stem of the file."""

    name: str
    sample: str
    kind: str
    masses: Mapping[str, float]


def simulate_coins(study: Study, plan: CoinPlan, *, progress: Progress | None = None) -> list[CoinMeasurement]:
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
    progress.start("coin cells", len(plan.preset.samples) * len(plan.preset.programmes), "condition")
    made = []
    for name in plan.preset.samples:
        wear = plan.wear(name)
        for kind in plan.preset.programmes:
            made.append(_condition(study, plan, wear, name, kind))
            progress.advance(1)
        _electrode(study, plan, wear, name)
    progress.finish()
    return made


def _electrode(study: Study, plan: CoinPlan, wear: Wear, name: str) -> None:
    """Spectra of the electrode's metals before the first charge and after it."""
    preset, sample = plan.preset, plan.preset.samples[name]
    first = next(iter(preset.programmes.values()))
    filling = filling_when_charged(wear, preset.law, Replicate(preset.mass), first, sample.specific)
    composition = sample.design.core_composition
    lithium = (1.0, 1.0 - sample.mobile * (NEW - filling))
    for element in ELEMENTS:
        label = _xas_name(name, element)
        spectra = [spectrum_of(element, lithium=one, composition=composition) for one in lithium]
        for state, spectrum in zip(STATES, spectra, strict=True):
            rng = plan.rng(name, label.removeprefix(f"{name}-"), state)
            offset = float(0.6 * rng.standard_normal())
            text = scan_text(spectrum, name=f"{name} {state}", offset=offset, rng=rng, element=element)
            write_text(study.path.parent / "raw" / label / f"{state}.xdi", text)
        study.write("truth", label, spectra_truth(spectra, STATES, element=element))


def _xas_name(name: str, element: str) -> str:
    """Of a measurement; nickel, whose edge moves, is what is meant if no metal is named."""
    return f"{name}-xas" if element == "Ni" else f"{name}-xas-{element}"


def _condition(study: Study, plan: CoinPlan, wear: Wear, name: str, kind: str) -> CoinMeasurement:
    """All cells of one sample and condition."""
    preset, programme = plan.preset, plan.preset.programmes[kind]
    specific, folder = preset.samples[name].specific, study.path.parent
    label, end = f"{name}-{kind}", "xlsx" if kind == "rate" else "csv"
    cells, masses = [], {}
    for number in range(1, preset.cells + 1):
        replicate, weighed = plan.replicate(name, kind, number)
        done = turns(wear, preset.law, replicate, programme, specific)
        stem = f"{name}_{kind}_{number}"
        recorder = Recorder(plan.size.interval * 3600.0 / _middle_rate(programme), plan.size.step, 2e-4, 1e-7)
        halves = [(one.number, half) for one in done for half in (one.charge, one.discharge)]
        rows = recorder.record(halves, plan.rng(name, kind, f"{number}", "record"))
        place = folder / "raw" / label / f"{stem}.{end}"
        if end == "xlsx":
            write_land_workbook(place, rows)
        else:
            capacity = 1e-6 * ONE_C * weighed
            text = land_text(rows, capacity=capacity, temperature=programme.temperature, channel=number)
            write_text(place, text)
        if kind == "25C":
            _spectra(study, plan, wear, (name, number), replicate, done)
        cells.append((replicate, done))
        masses[stem] = weighed
    nominal = turns(wear, preset.law, Replicate(preset.mass), programme, specific)
    _write_truth(study, label, cells, (Replicate(preset.mass), nominal))
    return CoinMeasurement(label, name, kind, masses)


def _middle_rate(programme: Programme) -> float:
    return float(np.median(programme.discharge))


def _spectra(
    study: Study, plan: CoinPlan, wear: Wear, which: tuple[str, int], replicate: Replicate, done: Sequence[Turn]
) -> None:
    """Impedance of one cell in some cycles, with its truth."""
    preset, (name, number) = plan.preset, which
    label = f"{name}-25C-{number}-impedance"
    cell = coin_cell(wear, preset.law, replicate, preset.programmes["25C"], preset.samples[name].specific)
    sweep = replace(preset.sweep, points=plan.size.frequencies)
    looked = [one for one in done if one.number in _SPECTRA]
    for one in looked:
        spectrum = sweep.spectrum(cell, one.health, plan.rng(label, f"{one.number}"))
        write_text(study.path.parent / "raw" / label / f"cycle_{one.number:04d}.csv", impedance_text(spectrum))
    if looked:
        study.write("truth", label, impedance_truth(cell, [(one.number, one.health) for one in looked]))


def _write_truth(
    study: Study,
    label: str,
    cells: Sequence[tuple[Replicate, Sequence[Turn]]],
    nominal: tuple[Replicate, Sequence[Turn]],
) -> None:
    """Numbers of every cell and of the one in the middle, and what went on in them."""
    masses = [one.mass for one, _ in cells]
    values = truth_of_cycles([cycle_numbers(done) for _, done in cells], masses, REFERENCE)
    arrays = labelled_cycles(values, masses)
    condition = schema.label("condition", np.array([1]), ("condition",))
    coords = {"condition": condition, "cycle": arrays[0].coords["cycle"]}
    middle = truth_of_cycles([cycle_numbers(nominal[1])], [nominal[0].mass], REFERENCE)
    for name, source in (("retention_mean", "capacity_retention"), ("capacity_mean", "specific_capacity")):
        arrays.append(schema.label(name, values[source].mean(axis=0)[None], ("condition", "cycle"), coords=coords))
    study.write("truth", label, schema.dataset(arrays))
    states = {name: [getattr(one.health, name) for one in nominal[1]] for name in ("contact", "length")}
    file = {
        "cycle": Truth([one.number for one in nominal[1]], "1", "Number of a cycle"),
        "contact": Truth(states["contact"], "1", "Share of the oxide that takes part, of the cell in the middle"),
        "length": Truth(states["length"], "um", "Radius of a grain as electrolyte reaches it"),
        "area": Truth([one.health.area for one in nominal[1]], "m2", "Wetted surface of all grains"),
        "resistance": Truth([one.health.resistance for one in nominal[1]], "ohm", "Of contacts, lithium and layers"),
        "filling": Truth([one.filling for one in nominal[1]], "1", "Lithium per site by shell after the discharge"),
        "specific_capacity": Truth(
            middle["specific_capacity"][0], "mAh/g", "Discharge capacity of the cell in the middle"
        ),
        "capacity_retention": Truth(middle["capacity_retention"][0], "1", f"The same over that of cycle {REFERENCE}"),
    }
    write_truth_file(study.path.parent / "truth" / f"{label}.h5", file, condition=label)


def coin_recipe(preset: str, seed: int, plan: CoinPlan, measurements: Sequence[CoinMeasurement]) -> str:
    """The recipe of the study."""
    parts = [f"# Written by: cathoscope simulate {preset}; seed {seed}.\n"]
    parts.append(f'[study]\ntitle = "Virtual experiment: {preset}, seed {seed}"\n')
    for name, sample in plan.preset.samples.items():
        metals = "".join(f"{metal}{share:.2g}" for metal, share in sample.design.core_composition.items())
        parts.append(f'[sample.{name}]\ncomposition = "Li{metals}O2"\nparticle = "virtual"\n')
    parts += [_of_electrode(name) for name in plan.preset.samples]
    for one in measurements:
        parts.append(_of_cells(one, plan))
        if one.kind == "25C":
            parts += [_of_impedance(one, number) for number in range(1, plan.preset.cells + 1)]
    return "\n".join(parts)


def _of_cells(one: CoinMeasurement, plan: CoinPlan) -> str:
    programme = plan.preset.programmes[one.kind]
    masses = ", ".join(f'{stem} = "{mass:.3f} mg"' for stem, mass in one.masses.items())
    end = "xlsx" if one.kind == "rate" else "csv"
    head = f'[measurement.{one.name}]\nsample = "{one.sample}"\ntechnique = "cycling"\n\n'
    head += f'[[measurement.{one.name}.series]]\ntemperature = "{programme.temperature:g} C"\n'
    head += f'files = "raw/{one.name}/*.{end}"\n\n[measurement.{one.name}.cycling]\n'
    keys = [f"mass = {{ {masses} }}", f'mass_std = "{plan.preset.scatter.weighing:g} mg"', f'one_c = "{ONE_C:g} mAh/g"']
    if one.kind != "rate":
        count = len(programme.charge)
        keys += ["formation = 1", f"reference = {REFERENCE}", f"at = [{', '.join(f'{n}' for n in _told(count))}]"]
        if one.sample == "rod" and "gravel" in plan.preset.samples:
            keys.append(f'against = "gravel-{one.kind}"')
    return head + "\n".join([*keys, ""])


def _of_electrode(name: str) -> str:
    return "\n".join(_of_spectra(name, _xas_name(name, element)) for element in ELEMENTS)


def _of_spectra(name: str, label: str) -> str:
    files = ", ".join(f'"raw/{label}/{state}.xdi"' for state in STATES)
    head = f'[measurement.{label}]\nsample = "{name}"\ntechnique = "xas"\nfiles = [{files}]\n\n'
    return head + f'[measurement.{label}.xas]\ncalibration = "reference"\n'


def _told(count: int) -> list[int]:
    """Cycles at which cells are compared."""
    return sorted({number for number in (100, 150, count) if number <= count})


def _of_impedance(one: CoinMeasurement, number: int) -> str:
    name = f"{one.sample}-25C-{number}-impedance"
    head = f'[measurement.{name}]\nsample = "{one.sample}"\ntechnique = "impedance"\nfiles = "raw/{name}/*.csv"\n\n'
    return head + f"[measurement.{name}.impedance]\ncycles = [{', '.join(map(str, _SPECTRA))}]\n{CIRCUIT_KEYS}"
