"""Virtual studies in the lab: oxides heated in a balance and a calorimeter, and what an oxidant has dissolved of them.

The same particles as in the other studies, heated by 5 degC/min in flowing oxygen (balance) and at three rates
(calorimeter). What is dissolved is stated per sample: its ratios are those of Hou et al., not of the transport.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np

from cathoscope.core.parallel import Progress, Resources, Silent
from cathoscope.core.study import Study
from cathoscope.physics.species import atomic_mass
from cathoscope.virtual.balance import Balance, Calorimeter, rapid_loss_onset, smoothed_mass
from cathoscope.virtual.charged import charged_particle, transport_grid
from cathoscope.virtual.diffraction_files import write_text
from cathoscope.virtual.fibsem_files import Truth, write_truth_file
from cathoscope.virtual.grains import draw_grains
from cathoscope.virtual.heating import OXYGEN_FLOW, HeatingLaw, Track, heat
from cathoscope.virtual.lab_files import contents_text, spectrum_text, thermal_text
from cathoscope.virtual.lab_truth import content_truth, formula_mass, heat_truth, light_truth, mass_truth
from cathoscope.virtual.particle import GRAVEL, ROD, ParticleDesign
from cathoscope.virtual.programme import MINUTE, ROOM, ramp_programme
from cathoscope.virtual.recipe_outline import StudyPlan
from cathoscope.virtual.recording import require_space
from cathoscope.virtual.solutions import Analyser, Dissolved, Spectrophotometer

TGA_RATE, TGA_END = 5.0, 320.0  # degC/min, degC
_GRAINS, _DOMAINS = 0, 1  # as in the studies of single particles: one seed, one particle
_FINE = 0.05  # K, of the truth
BASELINE = (150.0, 190.0)  # degC; stages overlap, so the stretch is stated
_RAPID = 200.0  # degC, above which the rapid loss is
_ELEMENTS = ("Li", "Ni", "Co", "Mn")
_BAND = (400.0, 600.0)  # nm
_WAVELENGTH = np.arange(300.0, 800.5, 1.0)
EFFECTS: Mapping[str, tuple[float, float]] = MappingProxyType({"first": (120.0, 183.0), "whole": (120.0, 290.0)})
"""Limits of heat effects, degC: the first transition, as far as the next leaves it alone, and all that happens."""
_BYTES = 12_000_000


@dataclass(frozen=True)
class LabSample:
    """A material: its particle, lithium per metal before and after chemical delithiation, what the solution holds."""

    design: ParticleDesign
    dissolved: Dissolved
    pristine: float = 1.00
    charged: float = 0.30


def _dissolved(nickel: float, cobalt: float, manganese: float, *, scattering: float) -> Dissolved:
    """Amounts in mmol/L, with what is left of the oxidant."""
    amounts = {"Ni": nickel, "Co": cobalt, "Mn": manganese, "oxidant": 12.0}
    return Dissolved(MappingProxyType(amounts), scattering)


@dataclass(frozen=True)
class LabSize:
    """Points per minute of the balance and calorimeter, cells along the transport grid, largest step of temperature."""

    points: float
    cells: int
    kelvin: float
    rates: tuple[float, ...]


_SIZES: Mapping[str, LabSize] = MappingProxyType(
    {"small": LabSize(30.0, 52, 4.0, (5.0,)), "medium": LabSize(60.0, 56, 1.0, (2.5, 5.0, 10.0))}
)


@dataclass(frozen=True)
class LabPreset:
    """A virtual study in the lab; ``mass`` of powder in mg."""

    meaning: str
    samples: Mapping[str, LabSample]
    mass: float = 12.0
    balance: Balance = field(default_factory=Balance)
    calorimeter: Calorimeter = field(default_factory=Calorimeter)
    spectrophotometer: Spectrophotometer = field(default_factory=Spectrophotometer)
    analyser: Analyser = field(default_factory=Analyser)
    heating: HeatingLaw = field(default_factory=HeatingLaw)
    sizes: Mapping[str, LabSize] = field(default_factory=lambda: _SIZES)


_ROD = LabSample(ROD, _dissolved(15.28, 2.17, 1.00, scattering=0.05))
_GRAVEL = LabSample(GRAVEL, _dissolved(8.30, 1.04, 1.00, scattering=0.02))
_SAMPLES = {"hou-lab": {"rod": _ROD, "gravel": _GRAVEL}, "rod-lab": {"rod": _ROD}, "gravel-lab": {"gravel": _GRAVEL}}

LAB_PRESETS: Mapping[str, LabPreset] = MappingProxyType(
    {
        name: LabPreset(f"{' and '.join(samples)} powder in balance, calorimeter and solution", samples)
        for name, samples in _SAMPLES.items()
    }
)


@dataclass(frozen=True)
class LabPlan(StudyPlan[LabPreset, LabSize]):
    """A study to be simulated; the powder is that of ``particles`` of each sample."""

    @property
    def bytes_on_disk(self) -> int:
        """Of all files, generously."""
        return _BYTES * len(self.preset.samples)


def simulate_lab(
    study: Study, plan: LabPlan, *, resources: Resources | None = None, progress: Progress | None = None
) -> None:
    """Write records, spectra and tables into ``raw`` beside a study, and truth into ``truth``.

    Raises
    ------
    CathoscopeError
        If it does not fit on the disk or a number is impossible.
    StudyError
        If a place cannot be written.
    """
    folder, progress = study.path.parent, progress or Silent()
    require_space(folder, plan.bytes_on_disk)
    contents, formulas = {}, {}
    progress.start("lab records", len(plan.preset.samples), "sample")
    for name, sample in plan.preset.samples.items():
        _heated(study, plan, name, sample)
        _solution(study, plan, name, sample)
        rng = plan.rng(name, "icp")
        true = {f"{name} solution": _of_solution(sample)}
        contents[f"{name} solution"] = plan.preset.analyser.found(true[f"{name} solution"], rng)
        for state, lithium in (("pristine", sample.pristine), ("charged", sample.charged)):
            true[f"{name} {state}"] = _of_powder(sample, lithium)
            formulas[f"{name} {state}"] = plan.preset.analyser.found(true[f"{name} {state}"], rng)
        removed = sample.pristine - sample.charged
        study.write("truth", f"{name}-icp", content_truth(true, _ELEMENTS, removed))
        progress.advance(1)
    progress.finish()
    write_text(folder / "raw" / "icp.csv", contents_text({**contents, **formulas}, _ELEMENTS))


def oxide_track(plan: LabPlan, name: str, rate: float, oxygen: float) -> Track:
    """Means over the particles of a sample along a ramp of ``rate`` (degC/min)."""
    design, law = plan.preset.samples[name].design, plan.preset.heating
    tracks = []
    for number in range(1, plan.particles + 1):
        key = (plan.seed, zlib.crc32(name.encode()), number)
        grains = draw_grains(design, int(np.random.SeedSequence((*key, _GRAINS)).generate_state(1)[0]))
        particle = charged_particle(grains, transport_grid(grains, cells=plan.size.cells), law, seed=(*key, _DOMAINS))
        programme = ramp_programme(rate=rate, end=TGA_END)
        tracks.append(heat(particle, law, programme, oxygen=oxygen, kelvin=plan.size.kelvin)[0])
    first = tracks[0]
    mean = {one: np.mean([getattr(track, one) for track in tracks], axis=0) for one in ("spinel", "later", "mass_loss")}
    return Track(
        first.time,
        first.temperature,
        mean["spinel"],
        mean["later"],
        first.white_line,
        mean["mass_loss"],
        first.oxygen_out,
    )


def _heated(study: Study, plan: LabPlan, name: str, sample: LabSample) -> None:
    """Balance with its blank, calorimeter with its own, and the truth of both."""
    preset, folder = plan.preset, study.path.parent
    track = oxide_track(plan, name, TGA_RATE, OXYGEN_FLOW)
    time = np.arange(0.0, track.time[-1], 60.0 / plan.size.points)
    temperature = np.interp(time, track.time, track.temperature)
    left = smoothed_mass(track, time)
    method = f"Ramp {TGA_RATE:.2f} °C/min to {TGA_END:.2f} °C, oxygen"
    for what, true, mass in ((name, preset.mass * left / 100, preset.mass), ("blank", 0.0 * left, 0.0)):
        shown = preset.balance.weight(true, time, temperature, plan.rng(name, "balance", what))
        text = thermal_text(
            sample=what, method=method, mass=mass, signal="Weight (mg)", columns=(time / 60, temperature, shown)
        )
        write_text(folder / "raw" / f"{name}-tga" / f"{what}.txt", text, "utf-16")
    heat = {}
    for rate in plan.size.rates:
        own = track if rate == TGA_RATE else oxide_track(plan, name, rate, OXYGEN_FLOW)
        file = _calorimetry(folder, plan, name, (rate, preset.mass / 3), own)
        heat[file] = preset.calorimeter.spinel * own.spinel[-1] + preset.calorimeter.later * own.later[-1]
    _calorimetry(folder, plan, name, (TGA_RATE, 0.0), track)
    in_order = [float(heat[file]) for file in sorted(heat)]
    study.write("truth", f"{name}-dsc", heat_truth(in_order, EFFECTS, "whole"))
    _write_truth(study, plan, name, track)


def _calorimetry(folder: Path, plan: LabPlan, name: str, what: tuple[float, float], track: Track) -> str:
    """A record at a rate (degC/min) of a mass (mg), or of empty crucibles; the name of its file."""
    rate, mass = what
    label = f"{rate:g}_K_per_min" if mass else "blank"
    seconds = np.arange(0.0, track.time[-1], 60.0 / plan.size.points)
    key = f"{rate:g}" if mass else "blank"
    flow = plan.preset.calorimeter.heat_flow(track, seconds, mass, plan.rng(name, "calorimeter", key))
    columns = (seconds / 60, np.interp(seconds, track.time, track.temperature), -flow)
    text = thermal_text(
        sample=name if mass else "blank",
        method=f"Ramp {rate:.2f} °C/min to {TGA_END:.2f} °C, oxygen",
        mass=mass,
        signal="Heat Flow (mW)",
        columns=columns,
        exotherm=True,
    )
    write_text(folder / "raw" / f"{name}-dsc" / f"{label}.txt", text, "cp1252")
    return f"{label}.txt"


def _write_truth(study: Study, plan: LabPlan, name: str, track: Track) -> None:
    temperature = np.arange(ROOM, TGA_END - 1.0, _FINE)
    left = smoothed_mass(track, (temperature - ROOM) / TGA_RATE * MINUTE)
    onset = rapid_loss_onset(temperature, left, after=_RAPID, baseline=BASELINE)
    calorimeter = plan.preset.calorimeter
    arrays = {
        "temperature": Truth(temperature[::20], "degC", "Sample temperature"),
        "mass_left": Truth(left[::20], "wt%", "Mass that is left, of the starting mass"),
        "rapid_loss_onset": Truth(onset, "degC", "Extrapolated onset of the rapid loss, baseline from 150 to 190 degC"),
        "enthalpy_spinel": Truth(calorimeter.spinel * float(track.spinel[-1]), "J/g", "Heat of the first transition"),
        "enthalpy_later": Truth(calorimeter.later * float(track.later[-1]), "J/g", "Heat of the later loss"),
    }
    write_truth_file(study.path.parent / "truth" / f"{name}-lab.h5", arrays, sample=name)
    whole = np.arange(np.ceil(ROOM), TGA_END + 0.5)
    shown = smoothed_mass(track, np.minimum((whole - ROOM) / TGA_RATE * MINUTE, track.time[-1]))
    sample = plan.preset.samples[name]
    mass = formula_mass(sample.design.core_composition, sample.charged)
    study.write("truth", f"{name}-tga", mass_truth(whole, shown, onset, mass))


def _solution(study: Study, plan: LabPlan, name: str, sample: LabSample) -> None:
    """Spectrum of the solution, of the solvent as its blank, and the truth of its band."""
    nothing = Dissolved(MappingProxyType({}), 0.0)
    for what, solution in ((name, sample.dissolved), ("acetonitrile", nothing)):
        shown = plan.preset.spectrophotometer.shown(solution.absorbance(_WAVELENGTH), plan.rng(name, "uv", what))
        text = spectrum_text(what, _WAVELENGTH, shown)
        write_text(study.path.parent / "raw" / f"{name}-uv" / f"{what}.txt", text)
    study.write("truth", f"{name}-uv", light_truth(sample.dissolved, _WAVELENGTH, _BAND))


def _of_solution(sample: LabSample) -> dict[str, float]:
    """Contents of the solution, mg/L; lithium is that which has been removed, much diluted."""
    return {"Li": 40.0 * (sample.pristine - sample.charged), **sample.dissolved.contents()}


def _of_powder(sample: LabSample, lithium: float) -> dict[str, float]:
    """Contents of 1 mmol/L of the metals of a powder, and its lithium, mg/L."""
    shares = sample.design.core_composition
    return {
        "Li": lithium * atomic_mass(species="Li"),
        **{one: shares[one] * atomic_mass(species=one) for one in ("Ni", "Co", "Mn")},
    }


def lab_recipe(preset: str, seed: int, plan: LabPlan) -> str:
    """The recipe of the study."""
    parts = [f"# Written by: cathoscope simulate {preset}; seed {seed}.\n"]
    parts.append(f'[study]\ntitle = "Virtual experiment: {preset}, seed {seed}"\n')
    for name, sample in plan.preset.samples.items():
        metals = "".join(f"{metal}{share:.2g}" for metal, share in sample.design.core_composition.items())
        parts.append(f'[sample.{name}]\ncomposition = "Li{sample.charged:g}{metals}O2"\nparticle = "virtual"\n')
    return "\n".join([*parts, *(_MEASUREMENTS.replace("SAMPLE", name) for name in plan.preset.samples)])


_MEASUREMENTS = f"""\
[measurement.SAMPLE-tga]
sample = "SAMPLE"
technique = "mass-loss"
files = "raw/SAMPLE-tga/SAMPLE.txt"
note = "{TGA_RATE:g} C/min in oxygen"

[measurement.SAMPLE-tga.mass_loss]
blank = "raw/SAMPLE-tga/blank.txt"
baseline = ["{BASELINE[0]:g} C", "{BASELINE[1]:g} C"]
rapid_above = "{_RAPID:g} C"

[measurement.SAMPLE-dsc]
sample = "SAMPLE"
technique = "calorimetry"
files = "raw/SAMPLE-dsc/*_K_per_min.txt"
note = "in oxygen"

[measurement.SAMPLE-dsc.calorimetry]
blank = "raw/SAMPLE-dsc/blank.txt"

[measurement.SAMPLE-dsc.calorimetry.effects]
{"".join(f'{name} = ["{low:g} C", "{high:g} C"]{chr(10)}' for name, (low, high) in EFFECTS.items())}
[measurement.SAMPLE-uv]
sample = "SAMPLE"
technique = "uv-vis"
files = "raw/SAMPLE-uv/SAMPLE.txt"
note = "solution after chemical delithiation, oxide removed"
uv_vis = {{ blank = "raw/SAMPLE-uv/acetonitrile.txt" }}

[measurement.SAMPLE-icp]
sample = "SAMPLE"
technique = "elements"
files = "raw/icp.csv"

[measurement.SAMPLE-icp.elements]
specimens = ["SAMPLE solution", "SAMPLE pristine", "SAMPLE charged"]
dissolved = "SAMPLE solution"
before = "SAMPLE pristine"
after = "SAMPLE charged"
"""
