"""Virtual studies of powders heated in a diffractometer: raw files, truth, and the recipe.

Measurements: neutron time of flight through the ramp of 1 degC/min in vacuum; synchrotron patterns before heating, each
alone, and together with the neutrons of that temperature.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core import schema
from cathoscope.core.parallel import Progress, Resources, Silent, run_slabs
from cathoscope.core.study import Study
from cathoscope.virtual.charged import charged_particle, transport_grid
from cathoscope.virtual.diffraction_banks import DIFFRACTOMETERS, Diffractometer
from cathoscope.virtual.diffraction_files import Recorded, cif_text, gsas_text, instrument_text, write_text, xye_text
from cathoscope.virtual.diffraction_pattern import background, bragg, counted, sums_for
from cathoscope.virtual.diffraction_powder import (
    GRAVEL_CRYSTAL,
    PHASES,
    ROD_CRYSTAL,
    CrystalLaw,
    Crystals,
    crystals,
    local_states,
    scatter_of,
    starting_phases,
)
from cathoscope.virtual.diffraction_structure import Sums
from cathoscope.virtual.fibsem_files import Truth, write_truth_file
from cathoscope.virtual.grains import draw_grains
from cathoscope.virtual.heating import HeatingLaw, heated_states
from cathoscope.virtual.particle import GRAVEL, ROD, ParticleDesign
from cathoscope.virtual.programme import MINUTE, ROOM, ramp_programme
from cathoscope.virtual.recipe_outline import StudyPlan
from cathoscope.virtual.recording import announce

RATE = 1.0  # degC/min, in vacuum
_GRAINS, _DOMAINS = 0, 1  # kinds of random numbers, as in the studies of single particles: one seed, one particle
_ZERO = 2
_BACKGROUND = {True: 10, False: 16}  # polynomials that hold it to less than the noise: neutrons, X-rays
_BYTES_PER_ROW = 40
_MANY_CLASSES = 24
_MEANINGS = {
    "metal_share": ("1", "Share of the metal atoms that a phase holds"),
    "spread_a": ("A", "Standard deviation of a over the material of a phase"),
    "spread_c": ("A", "Standard deviation of c over the material of a phase"),
}


@dataclass(frozen=True)
class DiffractionSize:
    """How much: temperatures (degC, ascending from 25), banks by the name of their measurement, and the transport grid.

    ``cells`` along an edge of that grid; ``kelvin``, the largest step of temperature.
    """

    temperatures: tuple[float, ...]
    neutrons: Mapping[str, tuple[str, ...]]
    xrays: tuple[str, ...]
    cells: int
    kelvin: float


_FEW = (25.0, 80.0, 120.0, 138.0, 141.0, 144.0, 148.0, 153.0, 160.0, 175.0, 190.0, 250.0)
_NOMAD = ("nomad-67", "nomad-122", "nomad-154")
_XRAYS = ("11-ID-C", "11-3")
_SIZES: Mapping[str, DiffractionSize] = MappingProxyType(
    {
        "small": DiffractionSize(_FEW, MappingProxyType({"nomad": _NOMAD[1:2]}), _XRAYS, cells=52, kelvin=4.0),
        "medium": DiffractionSize(
            tuple(float(degree) for degree in range(25, 251)),
            MappingProxyType({"nomad": _NOMAD, "powgen": ("powgen",)}),
            _XRAYS,
            cells=56,
            kelvin=1.0,
        ),
    }
)


@dataclass(frozen=True)
class DiffractionPreset:
    """A virtual study of powders.

    ``samples`` by name: the particle and the law of its crystals. ``classes``: 1 for homogeneous phases, more for the
    distribution of the particles' own states; then equivalent reflections of different width stand apart, too.
    """

    meaning: str
    samples: Mapping[str, tuple[ParticleDesign, CrystalLaw]]
    classes: int = 1
    sizes: Mapping[str, DiffractionSize] = field(default_factory=lambda: _SIZES)
    heating: HeatingLaw = field(default_factory=HeatingLaw)


def _presets() -> dict[str, DiffractionPreset]:
    rod, gravel = {"rod": (ROD, ROD_CRYSTAL)}, {"gravel": (GRAVEL, GRAVEL_CRYSTAL)}
    found = {}
    for name, samples in {"hou": rod | gravel, "rod": rod, "gravel": gravel}.items():
        words = f"{' and '.join(samples)} powder heated from 25 to 250 C in neutron and X-ray diffractometers"
        chosen = MappingProxyType(samples)
        found[f"{name}-diffraction"] = DiffractionPreset(f"{words}, homogeneous phases", chosen)
        found[f"{name}-diffraction-specimen"] = DiffractionPreset(
            f"{words}, with the distribution of the particles' states", chosen, _MANY_CLASSES
        )
    return found


DIFFRACTION_PRESETS: Mapping[str, DiffractionPreset] = MappingProxyType(_presets())


@dataclass(frozen=True)
class DiffractionPlan(StudyPlan[DiffractionPreset, DiffractionSize]):
    """A study to be simulated; ``particles`` of each sample make up its powder."""

    @property
    def instruments(self) -> list[Diffractometer]:
        """All banks."""
        names = [name for banks in self.size.neutrons.values() for name in banks]
        return [DIFFRACTOMETERS[name] for name in (*names, *self.size.xrays)]

    def zero_offset(self, sample: str, bank: str) -> float:
        """True less stated zero of a bank, us or deg."""
        return float(DIFFRACTOMETERS[bank].zero_error * self.rng(sample, bank, _ZERO).standard_normal())

    @property
    def bytes_on_disk(self) -> int:
        """Of all files, generously."""
        rows = [instrument.grid().size for instrument in self.instruments]
        return _BYTES_PER_ROW * sum(rows) * len(self.size.temperatures) * len(self.preset.samples)


@dataclass(frozen=True)
class Patterns:
    """Files of patterns, relative to the folder of the study, and the diffractometers of their banks."""

    files: str
    banks: tuple[str, ...]

    @property
    def is_tof(self) -> bool:
        """Whether they are of neutrons."""
        return DIFFRACTOMETERS[self.banks[0]].is_tof


@dataclass(frozen=True)
class PowderMeasurement:
    """One measurement as the recipe needs it: its patterns, and those that are refined together with them."""

    name: str
    sample: str
    patterns: Patterns
    note: str
    beside: tuple[Patterns, ...] = ()


def simulate_diffraction(
    study: Study, plan: DiffractionPlan, *, resources: Resources | None = None, progress: Progress | None = None
) -> list[PowderMeasurement]:
    """Write patterns, instrument parameters and starting phases into ``raw`` beside a study, and the truth into it.

    The same plan makes the same bytes on any number of threads.

    Raises
    ------
    CathoscopeError
        If it does not fit on the disk or a number is impossible.
    StudyError
        If a place cannot be written.
    """
    resources, progress = resources or Resources(), progress or Silent()
    folder = study.path.parent
    announce(study, plan.bytes_on_disk, progress)
    for instrument in plan.instruments:
        write_text(folder / "raw" / f"{instrument.name}.instprm", instrument_text(instrument.stated))
    return [one for sample in plan.preset.samples for one in _expose(study, plan, sample, resources, progress)]


def heated_powder(plan: DiffractionPlan, sample: str, progress: Progress | None = None) -> list[Crystals]:
    """The crystals of a sample at every temperature of the ramp."""
    design, law = plan.preset.samples[sample]
    progress, heating = progress or Silent(), plan.preset.heating
    temperatures = plan.size.temperatures
    programme = ramp_programme(rate=RATE, end=temperatures[-1])
    moments = [(temperature - ROOM) / RATE * MINUTE for temperature in temperatures]
    states = []
    for number in range(1, plan.particles + 1):
        key = (plan.seed, zlib.crc32(sample.encode()), number)
        grains = draw_grains(design, int(np.random.SeedSequence((*key, _GRAINS)).generate_state(1)[0]))
        where = transport_grid(grains, cells=plan.size.cells)
        particle = charged_particle(grains, where, heating, seed=(*key, _DOMAINS))
        states.append(heated_states(particle, heating, programme, moments=moments, kelvin=plan.size.kelvin))
    found: list[Crystals] = []
    progress.start(f"heating {sample}", len(temperatures), "temperature")
    for local in local_states(states, heating):
        found.append(crystals(local, law, heating, design.core_composition, classes=plan.preset.classes))
        progress.advance(1)
    progress.finish()
    return found


def _expose(
    study: Study, plan: DiffractionPlan, sample: str, resources: Resources, progress: Progress
) -> list[PowderMeasurement]:
    """All patterns of one sample, and its truth."""
    folder, powder = study.path.parent, heated_powder(plan, sample, progress)
    for phase in starting_phases(plan.preset.samples[sample][0].core_composition):
        write_text(folder / _structure(sample, phase.name), cif_text(phase))
    made = []
    groups = {name: (banks, powder) for name, banks in plan.size.neutrons.items()}
    groups |= {name: ((name,), powder[:1]) for name in plan.size.xrays}
    for label, (banks, states) in groups.items():
        name = f"{sample}-{label}"
        camera = Camera(plan, sample, label, tuple(DIFFRACTOMETERS[bank] for bank in banks))
        files = camera.record(folder / "raw" / name, states, resources, progress)
        study.write("truth", name, truth_of(states))
        many = f"{len(states)} temperatures, {RATE:g} C/min in vacuum" if len(states) > 1 else "1 temperature"
        made.append(PowderMeasurement(name, sample, Patterns(f"raw/{name}/{files}", banks), many))
    if plan.size.neutrons and plan.size.xrays:
        made.append(_together(plan, sample, powder[0], made))
        study.write("truth", made[-1].name, truth_of(powder[:1]))
    _write_beside(folder / "truth" / f"{sample}-diffraction.h5", plan, sample, powder)
    return made


def _structure(sample: str, phase: str) -> str:
    """Place of a starting structure."""
    return f"raw/{sample}-{phase}.cif"


def _together(
    plan: DiffractionPlan, sample: str, powder: Crystals, made: Sequence[PowderMeasurement]
) -> PowderMeasurement:
    """Neutrons and X-rays before heating: they tell lithium, nickel and oxygen apart."""
    label, banks = next(iter(plan.size.neutrons.items()))
    first = f"raw/{sample}-{label}/{file_name(sample, label, powder.temperature)}"
    beside = tuple(one.patterns for one in made if not one.patterns.is_tof)
    note = "neutrons and X-rays together, before heating"
    return PowderMeasurement(f"{sample}-joint", sample, Patterns(first, banks), note, beside)


def file_name(sample: str, label: str, temperature: float) -> str:
    """Name of the file of one temperature (degC)."""
    ending = "xye" if label == _XRAYS[1] else "fxye" if label in _XRAYS else "gsa"
    return f"{sample}_{label}_{temperature:05.1f}C.{ending}"


@dataclass(frozen=True)
class Camera:
    """What records one measurement of one sample."""

    plan: DiffractionPlan
    sample: str
    label: str
    banks: tuple[Diffractometer, ...]

    def record(self, folder: Path, powder: Sequence[Crystals], resources: Resources, progress: Progress) -> str:
        """Write one file for each temperature and a table of the temperatures; returns the pattern of their names."""
        starting = starting_phases(self.plan.preset.samples[self.sample][0].core_composition)
        sums = {bank.name: [sums_for(bank, phase) for phase in starting] for bank in self.banks}
        names = {one.temperature: file_name(self.sample, self.label, one.temperature) for one in powder}
        ending = next(iter(names.values())).rsplit(".", 1)[-1]
        for stale in set(folder.glob(f"*.{ending}")) - {folder / name for name in names.values()}:
            stale.unlink()

        def work(one: Crystals) -> None:
            """One temperature."""
            seen = [self.pattern(bank, one, sums[bank.name]) for bank in self.banks]
            title = f"{self.sample} powder, {self.label}, {one.temperature:g} C, seed {self.plan.seed}"
            text = xye_text(title, one.temperature, seen[0]) if ending == "xye" else None
            write_text(folder / names[one.temperature], text or gsas_text(title, one.temperature, seen))
            progress.advance(1)

        progress.start(f"{self.sample}-{self.label}", len(powder), "pattern")
        run_slabs(work, list(powder), threads=resources.threads)
        progress.finish()
        rows = [f"{name},{temperature:g}\n" for temperature, name in names.items()]
        write_text(folder / "temperatures.csv", "".join(["file,temperature (C)\n", *rows]))
        return f"*.{ending}"

    def pattern(self, bank: Diffractometer, powder: Crystals, sums: Sequence[Sums]) -> Recorded:
        """The pattern of one bank at one temperature, with the noise of counting."""
        rng = self.plan.rng(self.sample, bank.name, round(1000 * powder.temperature))
        return Recorded(bank, *counted(self.expected(bank, powder, sums), bank.gain(), rng))

    def expected(self, bank: Diffractometer, powder: Crystals, sums: Sequence[Sums]) -> NDArray[np.float64]:
        """The same without noise."""
        true = bank.true(self.plan.zero_offset(self.sample, bank.name))
        pairs = [(portion, one) for portion, one in zip(powder.portions, sums, strict=True) if portion]
        return background(bank) + bragg(bank, true, pairs, apart=self.plan.preset.classes > 1)


def truth_of(powder: Sequence[Crystals]) -> xr.Dataset:
    """What the analysis of a series is to find, (temperature, phase)."""
    coords = {
        "temperature": schema.label("temperature", np.array([one.temperature for one in powder]), ("temperature",)),
        "phase": schema.label("phase", np.arange(1, len(PHASES) + 1), ("phase",)),
    }
    coords["phase"].attrs["names"] = list(PHASES)
    dims = ("temperature", "phase")
    return schema.dataset(
        [
            schema.label(name, np.stack([one.found[name] for one in powder]), dims, coords=coords)
            for name in powder[0].found
        ]
    )


def _write_beside(path: Path, plan: DiffractionPlan, sample: str, powder: Sequence[Crystals]) -> None:
    """What no refinement finds: how the zeros are off, how cells scatter, and how the metal is shared."""
    rows = np.array([[scatter_of(portion) for portion in one.portions] for one in powder])
    arrays = {name: Truth(rows[..., i], *_MEANINGS[name]) for i, name in enumerate(_MEANINGS)}
    arrays["temperature"] = Truth(np.array([one.temperature for one in powder]), "degC", "Sample temperature")
    for instrument in plan.instruments:
        offset, unit = plan.zero_offset(sample, instrument.name), "us" if instrument.is_tof else "deg"
        arrays[f"zero_offset/{instrument.name}"] = Truth(offset, unit, "True zero less that of the parameter file")
    write_truth_file(path, arrays, sample=sample, phases=", ".join(PHASES), classes=plan.preset.classes)


def diffraction_recipe(preset: str, seed: int, plan: DiffractionPlan, measurements: Sequence[PowderMeasurement]) -> str:
    """The recipe of the study."""
    parts = [
        f"# Written by: cathoscope simulate {preset}; seed {seed}.\n",
        f'[study]\ntitle = "Virtual experiment: {preset}, seed {seed}"\n',
    ]
    for name, (design, law) in plan.preset.samples.items():
        metals = "".join(f"{metal}{share:.2g}" for metal, share in design.core_composition.items())
        parts.append(f'[sample.{name}]\ncomposition = "Li{law.lithium:g}{metals}O2"\nparticle = "virtual"\n')
    parts += ["\n".join(_lines(plan, one)) + "\n" for one in measurements]
    return "\n".join(parts)


def _lines(plan: DiffractionPlan, one: PowderMeasurement) -> list[str]:
    """A measurement in the recipe."""
    head = f"measurement.{one.name}"
    lines = [f"[{head}]", f'sample = "{one.sample}"', 'technique = "diffraction"', f'note = "{one.note}"']
    lines += [*_pattern_lines(one.patterns), f"diffraction.background = {_BACKGROUND[one.patterns.is_tof]}"]
    lines += ["diffraction.compare_sizes = true"] if one.beside else []
    for phase in PHASES:
        lines += ["", f"[{head}.phases.{phase}]", f'file = "{_structure(one.sample, phase)}"']
        lines += _phase_lines(plan.preset.samples[one.sample][1], one, phase)
    for patterns in one.beside:
        lines += ["", f"[[{head}.banks]]", *_pattern_lines(patterns), f"background = {_BACKGROUND[patterns.is_tof]}"]
    return lines


def _pattern_lines(patterns: Patterns) -> list[str]:
    """Files and their instruments."""
    instruments = ", ".join(f'"raw/{bank}.instprm"' for bank in patterns.banks)
    return [
        f'files = "{patterns.files}"',
        f"instrument = {instruments if len(patterns.banks) == 1 else f'[{instruments}]'}",
    ]


def _phase_lines(law: CrystalLaw, one: PowderMeasurement, phase: str) -> list[str]:
    """What of a phase is refined: what the radiation tells, and the shape of the sample's domains."""
    if phase == PHASES[1]:
        return ['free = ["Ni2.occupancy", "O1.occupancy"]'] if one.patterns.is_tof else []
    lines = ['exchange = ["Li1", "Ni1"]']
    if one.patterns.is_tof:
        lines.append('free = ["Li1.occupancy", "O1.occupancy"]' if one.beside else 'free = ["O1.occupancy"]')
    return lines if law.aspect(ROOM) == 1 else [*lines, 'size = "uniaxial"', "size_axis = [1, 1, 0]"]
