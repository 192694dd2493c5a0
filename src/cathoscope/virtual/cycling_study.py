"""Virtual studies of cycled particles in a FIB/SEM: raw TIFF files, truth, and what a recipe needs.

Techniques (names for the recipe): ``fibsem-series``, one slice after every cycle, each deeper than the last;
``fibsem-stack``, all slices of a particle at one cycle. Measurements and recipes are written as here for
``sem-section`` and ``mosaic`` too, see `section_study`.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core import schema
from cathoscope.core.errors import CathoscopeError
from cathoscope.core.parallel import Progress, Resources, Silent, run_slabs
from cathoscope.core.study import Study
from cathoscope.virtual.cycling import H_CYCLING, L_CYCLING, CycledParticle, CyclingLaw, State, cycle_particle
from cathoscope.virtual.fibsem import Cut, FibSemOptions, Frame, draw_cuts, image_slice
from cathoscope.virtual.fibsem_files import Header, Truth, eight_bit, write_image, write_truth_file
from cathoscope.virtual.grains import draw_grains
from cathoscope.virtual.particle import H_NMC, L_NMC, ParticleDesign
from cathoscope.virtual.recipe_outline import StudyPlan
from cathoscope.virtual.recording import announce

T = TypeVar("T")

ANALYSED = ("fibsem-series", "sem-section", "mosaic")  # asked for; measurements of other techniques are remarks
_ASKED_CYCLE, _ASKED_POROSITY = 35.0, 0.22  # of Cadiou's comparison of the samples
_GRAINS, _SERIES, _STACK = range(3)
_MARGIN = 0.25  # um beside the particle, besides room for drift
_REMOUNTED = 3.0  # px by which the particle lies elsewhere after it was in the electrolyte
_ROOM = 6  # of drift, in pixels, that every image leaves on each side
_BYTES = 3  # per pixel: image, kind, share of oxide; before compression

_UNITS = {
    "cycle": ("1", "Number of cycles"),
    "porosity": ("1", "Share of the envelope's volume that is not oxide"),
    "open_share": ("1", "Share of the boundaries' area that has cracked"),
    "wetted_share": ("1", "Share of the area of open boundaries and pores that electrolyte reaches"),
    "wetted_area": ("um2", "Outer surface and all walls that electrolyte reaches"),
    "loose_grains": ("1", "Grains all of whose boundaries have cracked"),
    "attached_share": ("1", "Share of the oxide in the largest group of grains held together"),
}


@dataclass(frozen=True)
class CyclingSize:
    """How finely: pixel and slice thickness of the stacks (um), and slices of a stack; none: the whole particle."""

    pixel: float
    thickness: float
    stack_slices: int | None = None


@dataclass(frozen=True)
class CyclingPreset:
    """A virtual study of cycling: designs and laws by sample; ``stacks`` are the cycles at which a stack is cut.

    Stacks stand in the recipe as remarks unless they are to be analysed, too.
    """

    meaning: str
    samples: Mapping[str, tuple[ParticleDesign, CyclingLaw]]
    sizes: Mapping[str, CyclingSize]
    cycles: int = 45
    stacks: tuple[int, ...] = (0, 35)
    options: FibSemOptions = field(default_factory=FibSemOptions)
    analyse_stacks: bool = False


_SIZES: Mapping[str, CyclingSize] = MappingProxyType(
    {
        "small": CyclingSize(0.07, 0.076, 10),
        "medium": CyclingSize(0.027, 0.038, 64),
        "large": CyclingSize(0.0135, 0.019),
    }
)


def _preset(meaning: str, **samples: tuple[ParticleDesign, CyclingLaw]) -> CyclingPreset:
    named = {name.replace("_", "-"): pair for name, pair in samples.items()}
    return CyclingPreset(meaning, MappingProxyType(named), _SIZES)


CYCLING_PRESETS: Mapping[str, CyclingPreset] = MappingProxyType(
    {
        "cadiou-cycling": _preset(
            "low- and high-gradient particles through 45 cycles, FIB/SEM",
            L_NMC=(L_NMC, L_CYCLING),
            H_NMC=(H_NMC, H_CYCLING),
        ),
        "L-NMC-cycling": _preset("the low-gradient particle of cadiou-cycling alone", L_NMC=(L_NMC, L_CYCLING)),
        "H-NMC-cycling": _preset("the high-gradient particle of cadiou-cycling alone", H_NMC=(H_NMC, H_CYCLING)),
    }
)


def chosen_size(sizes: Mapping[str, T], name: str) -> T:
    """The size called ``name``.

    Raises
    ------
    CathoscopeError
        If there is none.
    """
    if name not in sizes:
        raise CathoscopeError(f"unknown size {name!r}", expected=" or ".join(sizes), cure=f"--size {next(iter(sizes))}")
    return sizes[name]


@dataclass(frozen=True)
class SlicedMeasurement:
    """One set of images: its name, sample, particle and technique, and the pattern of its files."""

    name: str
    sample: str
    particle: int
    technique: str
    pattern: str
    note: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class CyclingPlan(StudyPlan[CyclingPreset, CyclingSize]):
    """A study to be simulated: what, how finely, and with which random numbers."""

    @property
    def options(self) -> FibSemOptions:
        """The instrument at the pixels of this size; slices of the series are as thin as the preset says."""
        return replace(self.preset.options, pixel=self.size.pixel)

    def particle(self, job: tuple[str, int]) -> CycledParticle:
        """One particle and all it goes through."""
        design, law = self.preset.samples[job[0]]
        return cycle_particle(draw_grains(design, self.number(job, _GRAINS)), law, cycles=self.preset.cycles)

    def frame(self, particle: CycledParticle) -> Frame:
        """Size of the images of a particle."""
        half = (particle.grains.outer.highest + _MARGIN) / self.size.pixel + _ROOM
        return Frame(2 * int(np.ceil(half)), 2 * int(np.ceil(half)))

    def slices(self, diameter: float) -> int:
        """Slices of a stack of a particle of ``diameter`` (um)."""
        return self.size.stack_slices or int(np.ceil(1.05 * diameter / self.size.thickness))

    @property
    def bytes_on_disk(self) -> int:
        """Of all images and their truth, generously."""
        total = 0.0
        for sample, _ in self.jobs:
            diameter = self.preset.samples[sample][0].diameter
            pixels = (1.2 * diameter / self.size.pixel + 2 * _ROOM) ** 2
            total += pixels * (self.preset.cycles + 1 + len(self.preset.stacks) * self.slices(diameter)) * _BYTES
        return int(total)


def simulate_cycling(
    study: Study, plan: CyclingPlan, *, resources: Resources | None = None, progress: Progress | None = None
) -> list[SlicedMeasurement]:
    """Write images into ``raw`` and truth into ``truth`` beside a study; volumes and porosities also into its truth.

    The same plan makes the same bytes on any number of threads.

    Raises
    ------
    CathoscopeError
        If it does not fit on the disk or a number is impossible.
    StudyError
        If a place cannot be written.
    """
    resources, progress = resources or Resources(), progress or Silent()
    announce(study, plan.bytes_on_disk, progress)
    return [one for job in plan.jobs for one in _expose(study, plan, job, resources, progress)]


def _expose(
    study: Study, plan: CyclingPlan, job: tuple[str, int], resources: Resources, progress: Progress
) -> list[SlicedMeasurement]:
    """All images of one particle, and its truth."""
    name = f"{job[0]}-{job[1]}"
    particle, options = plan.particle(job), plan.options
    cycles = np.arange(plan.preset.cycles + 1, dtype=np.float64)
    cuts = draw_cuts(options, cycles, first_z=0.0, seed=plan.key(job, _SERIES), remounted=_REMOUNTED)
    truth = _truth_of_states([particle.state(cycle) for cycle in cycles])
    imaging = partial(_image_all, plan, job, particle, resources=resources, progress=progress)
    truth |= imaging("series", cuts, options, folder=study.path.parent)
    study.write("truth", f"{name}-series", _truth_of_series(truth))
    made = [replace(_measurement(job, "series", "fibsem-series", _words(cycles)), settings=_asked(cycles))]
    thick = replace(options, thickness=plan.size.thickness)
    count = plan.slices(particle.grains.design.diameter)
    for cycle in plan.preset.stacks:
        label = f"stack-{cycle:03d}"
        first = -thick.thickness * (count - 1) / 2
        seed = (*plan.key(job, _STACK), cycle)
        stack = draw_cuts(thick, np.full(count, float(cycle)), first_z=first, seed=seed)
        truth |= imaging(label, stack, thick, folder=study.path.parent)
        made.append(replace(_measurement(job, label, "fibsem-stack", f"cycle {cycle}"), settings=("morphology = {}",)))
        study.write("truth", f"{name}-{label}", _truth_of_stack(truth, label, plan.size.thickness))
    write_truth_file(
        study.path.parent / "truth" / f"{name}.h5", truth, sample=job[0], particle=job[1], load=particle.load
    )
    return made


def _words(cycles: NDArray[np.float64]) -> str:
    return f"cycle {cycles[0]:g} to {cycles[-1]:g}, one slice each"


def _asked(cycles: NDArray[np.float64]) -> tuple[str, ...]:
    """What the recipe of a series asks for: the porosity at a cycle, and the cycle of a porosity."""
    return (f"slices = {{ at_cycle = {min(_ASKED_CYCLE, float(cycles[-1])):g}, porosity = {_ASKED_POROSITY:g} }}",)


def _truth_of_series(truth: Mapping[str, Truth]) -> xr.Dataset:
    """What the analysis of a series is to find: porosity of particle and sections, area, and what the recipe asks."""
    cycle, porosity = (np.asarray(truth[f"particle/{name}"].values, dtype=np.float64) for name in ("cycle", "porosity"))
    along = {"porosity": porosity}
    along |= {name: np.asarray(truth[f"series/{key}"].values) for name, key in _OF_SECTIONS.items()}
    after = np.flatnonzero(porosity >= _ASKED_POROSITY)
    reached = float("nan")
    if after.size and after[0] > 0:
        pair = slice(int(after[0]) - 1, int(after[0]) + 1)
        reached = float(np.interp(_ASKED_POROSITY, porosity[pair], cycle[pair]))
    at = float(np.interp(min(_ASKED_CYCLE, float(cycle[-1])), cycle, porosity))
    coords = {"cycle": schema.label("cycle", cycle, ("cycle",))}
    arrays = [schema.label(name, values, ("cycle",), coords=coords) for name, values in along.items()]
    numbers = {"porosity_at_cycle": at, "cycle_of_porosity": reached}
    return schema.dataset([*arrays, *(schema.label(name, np.array(number), ()) for name, number in numbers.items())])


def _truth_of_stack(truth: Mapping[str, Truth], label: str, thickness: float) -> xr.Dataset:
    """Volume and porosity of the slab that a stack cuts out of the particle, or of all of it; thickness in um."""
    share, area = (
        np.asarray(truth[f"{label}/{name}"].values, dtype=np.float64) for name in ("porosity", "section_area")
    )
    numbers = {"porosity": np.average(share, weights=area), "envelope_volume": area.sum() * thickness}
    return schema.dataset([schema.label(key, np.array(value), ()) for key, value in numbers.items()])


_OF_SECTIONS = {"slice_porosity": "porosity", "section_area": "section_area"}


class _Kept(NamedTuple):
    """What is kept of the truth of a slice until all are made; shares of oxide in 1/255, curtains' deviation."""

    kind: NDArray[np.uint8]
    solid: NDArray[np.uint8]
    curtain: float
    porosity: float
    section_area: float


def _measurement(job: tuple[str, int], label: str, technique: str, note: str) -> SlicedMeasurement:
    name = f"{job[0]}-{job[1]}"
    return SlicedMeasurement(f"{name}-{label}", job[0], job[1], technique, f"raw/{name}/{label}/*.tif", note)


def _image_all(
    plan: CyclingPlan,
    job: tuple[str, int],
    particle: CycledParticle,
    label: str,
    cuts: tuple[Cut, ...],
    options: FibSemOptions,
    **how: Any,
) -> dict[str, Truth]:
    """Write the images of a series or a stack; their truth, by name."""
    frame, resources, progress = plan.frame(particle), how["resources"], how["progress"]
    place: Path = how["folder"] / "raw" / f"{job[0]}-{job[1]}" / label
    kept: dict[int, _Kept] = {}
    word = "cycle" if label == "series" else "slice"

    def work(cut: Cut) -> None:
        """One image."""
        made = image_slice(particle, cut, frame, options, seed=plan.key(job, zlib.crc32(label.encode())))
        header = Header(
            options.pixel,
            f"{job[0]}-{job[1]} {label}",
            slice_number=cut.number,
            slice_z=cut.number * options.thickness,
            thickness=options.thickness,
            cycle=cut.cycle,
            note=f"virtual experiment, seed {plan.seed}",
        )
        write_image(place / f"{word}_{cut.number:04d}.tif", eight_bit(made.image, options.white), header)
        share = np.rint(255 * made.solid).astype(np.uint8)
        kept[cut.number] = _Kept(made.kind, share, float(made.curtain.std()), made.porosity, made.section_area)
        progress.advance(1)

    progress.start(f"{job[0]}-{job[1]} {label}", len(cuts), "slice")
    run_slabs(work, list(cuts), threads=resources.threads)
    progress.finish()
    return _truth_of_slices(label, cuts, [kept[cut.number] for cut in cuts])


def _truth_of_states(states: list[State]) -> dict[str, Truth]:
    """Numbers of the whole particle against the cycle."""
    return {
        f"particle/{name}": Truth(np.array([getattr(state, name) for state in states]), *_UNITS[name])
        for name in State._fields
    }


def _truth_of_slices(label: str, cuts: tuple[Cut, ...], slices: list[_Kept]) -> dict[str, Truth]:
    """What the instrument did to each slice and what each section is."""
    kinds: NDArray[np.uint8] = np.stack([one.kind for one in slices])
    solid = np.stack([one.solid for one in slices])
    values: dict[str, tuple[Any, str, str]] = {
        "cycle": ([cut.cycle for cut in cuts], "1", "Number of cycles"),
        "z": ([cut.z for cut in cuts], "um", "True height of each cut"),
        "drift": ([cut.shift for cut in cuts], "px", "Displacement (row, column) of each image"),
        "gain": ([cut.gain for cut in cuts], "1", "Gain of each image"),
        "offset": ([cut.offset for cut in cuts], "1", "Offset of each image, relative to the oxide"),
        "background": ([cut.background for cut in cuts], "1", "Relative change of brightness down and across"),
        "charge": ([cut.charge for cut in cuts], "1", "Strength of the charging relative to its mean"),
        "porosity": ([one.porosity for one in slices], "1", "Share of the very section that is not oxide"),
        "section_area": ([one.section_area for one in slices], "um2", "Area of the section inside the outer surface"),
        "curtain": ([one.curtain for one in slices], "1", "Standard deviation of the curtains"),
        "kind": (kinds, "1", "0 outside, 1 oxide, 2 crack, 3 pore, 4 layer: the largest share of each pixel"),
        "solid_fraction": (solid, "1/255", "Share of each pixel that is oxide"),
    }
    return {f"{label}/{name}": Truth(np.asarray(array), unit, words) for name, (array, unit, words) in values.items()}


def cycling_recipe(preset: str, seed: int, plan: CyclingPlan, measurements: list[SlicedMeasurement]) -> str:
    """The recipe of the study, see `recipe_with_remarks`."""
    also = ("fibsem-stack",) if plan.preset.analyse_stacks else ()
    designs = {name: design for name, (design, _) in plan.preset.samples.items()}
    return recipe_with_remarks(preset, seed, designs, measurements, also)


def recipe_with_remarks(
    preset: str,
    seed: int,
    samples: Mapping[str, ParticleDesign],
    measurements: list[SlicedMeasurement],
    also: tuple[str, ...] = (),
) -> str:
    """A recipe of samples and measurements; stacks, which take minutes each, stand in it as remarks unless ``also``."""
    parts = [
        f"# Written by: cathoscope simulate {preset}; seed {seed}.\n",
        f'[study]\ntitle = "Virtual experiment: {preset}, seed {seed}"\n',
    ]
    for name, design in samples.items():
        formula = "Li" + "".join(f"{metal}{share:.2g}" for metal, share in design.core_composition.items()) + "O2"
        parts.append(f'[sample.{name}]\ncomposition = "{formula}"\nparticle = "virtual"\n')
    for one in measurements:
        lines = [
            f"[measurement.{one.name}]  # {one.note}",
            f'sample = "{one.sample}"',
            f'technique = "{one.technique}"',
            f"particle = {one.particle}",
            f'files = "{one.pattern}"',
            *one.settings,
        ]
        mark = "" if one.technique in (*ANALYSED, *also) else "# "
        parts.append("".join(f"{mark}{line}\n" for line in lines))
    return "\n".join(parts)
