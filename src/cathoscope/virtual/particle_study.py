"""Virtual studies of polycrystalline particles: draw, heat, expose, and write raw files and truth."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

import cathoscope
from cathoscope.core import schema
from cathoscope.core.errors import CathoscopeError
from cathoscope.core.parallel import Progress, Resources, Silent, run_slabs
from cathoscope.core.study import AT_INSTRUMENT, Study
from cathoscope.virtual.charged import charged_particle, transport_grid
from cathoscope.virtual.foil import write_foil_scan
from cathoscope.virtual.fxi import FIRST_SCAN_ID, FxiLayout, draw_headers
from cathoscope.virtual.grain_files import grain_files, write_grain_files
from cathoscope.virtual.grains import LARGEST_VOXEL, Grains, draw_grains
from cathoscope.virtual.heated import HeatedParticle, Placement, instants_of
from cathoscope.virtual.heating import heat
from cathoscope.virtual.microscope import FINE, Series
from cathoscope.virtual.nickel import edge_scale, xanes_energies
from cathoscope.virtual.particle_presets import Experiment, ParticlePreset, Size
from cathoscope.virtual.particle_truth import (
    Seen,
    bytes_of_truth,
    instrument_arrays,
    write_truth,
)
from cathoscope.virtual.programme import tomography_programme
from cathoscope.virtual.radial_span import radial_span
from cathoscope.virtual.recipe_outline import Simulated, StudyPlan
from cathoscope.virtual.recording import Recording, announce, record
from cathoscope.virtual.specimen import Grid
from cathoscope.virtual.truth import Windows
from cathoscope.virtual.txm import TxmOptions

WINDOWS = Windows(below=(8245.0, 8325.0), above=(8375.0, 8455.0))
DENSITY = 4.5  # g/cm³ of the charged oxide
LITHIUM = 0.3  # per formula unit: 70 % are taken out
_LARGEST_ATTENUATION = 5e8  # bytes worth keeping
_LARGEST_PIXEL_PER_OPENING = 8.0  # of the detector; beyond, a crack is lost in the noise
_MARGIN = 1.5  # pixels of empty detector beside the particle
_FOIL_FILE = "foil.xdi"
_GRAINS, _DOMAINS, _PLACES, _INSTRUMENT, _FOIL = range(5)


@dataclass(frozen=True)
class Plan(StudyPlan[ParticlePreset, Size]):
    """A study to be simulated: what, how finely, how, and with which random numbers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        labels = [f"{temperature:03.0f}" for temperature in self.preset.temperatures]
        if len(set(labels)) < len(labels):
            raise CathoscopeError(
                "two temperatures would share a folder",
                expected="temperatures that differ by 1 degC or more",
                found=", ".join(f"{temperature:g}" for temperature in self.preset.temperatures),
            )

    @property
    def experiment(self) -> Experiment:
        """Laws, instrument and times."""
        return self.preset.experiment

    @property
    def grid(self) -> Grid:
        """Of the detector."""
        return self.size.grid(self.preset.field_of_view)

    @property
    def fine(self) -> Grid:
        """Of the specimen: twice as fine."""
        return Grid(FINE * self.grid.columns, FINE * self.grid.rows, self.grid.pixel_size / FINE)

    @property
    def energies(self) -> NDArray[np.float64]:
        """That the scans state, eV."""
        return xanes_energies(self.size.energies)

    @property
    def bytes_beside_maps(self) -> int:
        """Of what is kept of the scans of one temperature: foil, angles, jitter, beam, bad pixels."""
        return 8 * self.size.energies * (4 * self.size.projections + 8) + int(np.prod(self.grid.shape[:2])) + 100_000

    @property
    def seen(self) -> Seen:
        """How the truth is taken."""
        wanted = 4 * len(self.preset.temperatures) * self.size.energies * int(np.prod(self.grid.shape))
        keep = wanted <= _LARGEST_ATTENUATION
        return Seen(self.grid, self.experiment.optics.resolution, self.energies, WINDOWS, keep)

    def digest(self, job: tuple[str, int]) -> str:
        """Different for plans that make different scans of a particle."""
        preset = self.preset
        sample = preset.samples[job[0]], preset.experiment, preset.temperatures, preset.field_of_view
        return hashlib.sha256(repr((cathoscope.__version__, sample, self.size, self.seed)).encode()).hexdigest()[:12]

    def folders(self, job: tuple[str, int]) -> list[Path]:
        """Of the raw files of one particle at each temperature, relative to that of the study."""
        return [Path("raw") / f"{job[0]}-{job[1]}_{temperature:03.0f}C" for temperature in self.preset.temperatures]

    def grains(self, job: tuple[str, int]) -> Grains:
        """The particle."""
        return draw_grains(self.preset.samples[job[0]], self.number(job, _GRAINS))


def simulate_heating(
    study: Study, plan: Plan, *, resources: Resources | None = None, progress: Progress | None = None
) -> list[Simulated]:
    """Write raw files into ``raw`` beside a study, and the truth into it.

    The same plan makes the same bytes, whatever the resources. A simulation that was stopped goes on with the
    temperature, or the slab of the truth, where it was.

    Raises
    ------
    CathoscopeError
        If the study does not fit on the disk, a particle leaves the field of view, or voxels are too coarse for it.
    StudyError
        If a place cannot be written.
    """
    resources, progress = resources or Resources(), progress or Silent()
    temperatures = len(plan.preset.temperatures)
    series = Series(tuple(map(float, plan.energies)), temperatures, plan.size.projections)
    recordings = draw_recordings(plan, series)
    announce(
        study,
        sum(recording.bytes_on_disk for recording in recordings.values())
        + len(plan.jobs) * (bytes_of_truth(plan.seen, temperatures) + temperatures * plan.bytes_beside_maps),
        progress,
    )
    left = [job for job in plan.jobs if not _is_whole(study, plan, job)]
    specimens: dict[tuple[str, int], HeatedParticle] = {}

    def work(job: tuple[str, int]) -> None:
        """Heat one particle."""
        specimens[job] = heated_particle(plan, job)
        progress.advance(1)

    progress.start("heating particles", len(left), "particle")
    run_slabs(work, left, threads=resources.threads)
    progress.finish()
    for job in left:
        _expose(study, plan, job, specimens.pop(job), recordings[job], resources, progress)
    foils = _expose_foils(study, plan, recordings)
    study.clear_work()
    return [*(_outline(plan, job) for job in plan.jobs), foils]


def _is_whole(study: Study, plan: Plan, job: tuple[str, int]) -> bool:
    """Whether an earlier run of the same plan has finished a particle, and its files are still there."""
    name = f"{job[0]}-{job[1]}"
    scans = [len(list((study.path.parent / folder).glob("fly_scan_id_*.h5"))) for folder in plan.folders(job)]
    told = study.attributes("truth", name).get("plan") if name in study.measurements("truth") else None
    beside = grain_files(study.path.parent / "raw", name) if plan.preset.grain_map else ()
    return told == plan.digest(job) and set(scans) == {plan.energies.size} and all(file.is_file() for file in beside)


def draw_recordings(plan: Plan, series: Series) -> dict[tuple[str, int], Recording]:
    """What the instrument does to each particle."""
    optics, options = plan.experiment.optics, plan.experiment.options
    return {
        job: Recording.draw(plan.grid, series, optics=optics, options=options, seed=plan.key(job, _INSTRUMENT))
        for job in plan.jobs
    }


def oxide_formula(plan: Plan, sample: str, lithium: float) -> str:
    """Formula of the oxide in the middle of a particle, for the recipe."""
    shares = plan.preset.samples[sample].core_composition
    amount = "" if lithium == 1 else f"{lithium:g}"
    return f"Li{amount}" + "".join(f"{metal}{share:.2g}" for metal, share in shares.items()) + "O2"


def heated_particle(plan: Plan, job: tuple[str, int]) -> HeatedParticle:
    """Draw one particle and heat it.

    Raises
    ------
    CathoscopeError
        If it leaves the field of view, or its grains or cracks are too fine for the voxels.
    """
    require_resolution(plan, job[0])
    grains, experiment = plan.grains(job), plan.experiment
    placements = draw_placements(plan, job)
    moved = max(float(np.linalg.norm(placement.shift)) for placement in placements)
    require_within(plan, grains, moved, experiment.options)
    where = transport_grid(grains, cells=plan.size.cells)
    charged = charged_particle(grains, where, experiment.law, seed=plan.key(job, _DOMAINS))
    programme = tomography_programme(plan.preset.temperatures, rate=experiment.rate, hold=experiment.hold)
    moments = [(begin + experiment.scans * (end - begin), end) for begin, end in programme.holds]
    _, states = heat(charged, experiment.law, programme, moments=[time for pair in moments for time in pair])
    pairs = list(zip(states[::2], states[1::2], strict=True))
    span = radial_span(grains)
    instants = instants_of(grains, where, pairs, placements, experiment.mechanics, radial_span=span)
    formula = {"Li": LITHIUM, **grains.design.core_composition, "O": 2.0}
    times = plan.energies, np.linspace(0, 1, plan.energies.size)
    return HeatedParticle(
        grains, plan.fine, instants, *edge_scale(formula, DENSITY), scan_times=(times,) * len(instants)
    )


def draw_placements(plan: Plan, job: tuple[str, int]) -> tuple[Placement, ...]:
    """How the particle lies at each temperature; the first time it lies straight in the middle."""
    rng = np.random.default_rng(np.random.SeedSequence(plan.key(job, _PLACES)))
    how, placements = plan.experiment, [Placement()]
    spread = np.array([how.tilted, how.tilted, how.turned])
    for _ in plan.preset.temperatures[1:]:
        shift, turn = how.moved * rng.standard_normal(3), spread * rng.standard_normal(3)
        placements.append(Placement(tuple(map(float, shift)), tuple(map(float, turn))))  # type: ignore[arg-type]
    return tuple(placements)


def require_resolution(plan: Plan, sample: str) -> None:
    """Check that voxels show the grains and the cracks of a sample.

    Raises
    ------
    CathoscopeError
        If they are too coarse.
    """
    design, pixel = plan.preset.samples[sample], plan.grid.pixel_size
    limits = {"grains": LARGEST_VOXEL * design.grain_size}
    if max(design.crack_share, design.crack_share_surface) > 0:
        limits["cracks"] = _LARGEST_PIXEL_PER_OPENING * design.crack_opening
    for what, largest in limits.items():
        if pixel > largest:
            columns = int(np.ceil(plan.preset.field_of_view / largest))
            raise CathoscopeError(
                f"the voxels are too coarse for the {what} of {sample}",
                expected=f"pixels of at most {largest:.3g} um",
                found=f"{pixel:.3g} um",
                cure=f"a larger --size: at least {columns} columns, or larger {what}",
            )


def require_within(plan: Plan, grains: Grains, moved: float, options: TxmOptions) -> None:
    """Check that a particle, displaced by up to ``moved`` (um), stays on the detector while it turns.

    Raises
    ------
    CathoscopeError
        If it would leave.
    """
    pixels = options.largest_axis_offset + 5 * options.vertical_jitter + _MARGIN
    reach = grains.outer.highest + moved + pixels * plan.grid.pixel_size
    half = min(plan.grid.columns, plan.grid.rows) * plan.grid.pixel_size / 2
    if reach > half:
        room = half - (reach - grains.outer.highest)
        raise CathoscopeError(
            "the particle leaves the field of view",
            expected=f"at most {half:.2f} um from its middle",
            found=f"up to {reach:.2f} um, displacements included",
            cure=f"diameter={0.98 * grains.design.diameter * room / grains.outer.highest:.2g}, "
            "or a larger field_of_view",
        )


def _expose(
    study: Study,
    plan: Plan,
    job: tuple[str, int],
    specimen: HeatedParticle,
    recording: Recording,
    resources: Resources,
    progress: Progress,
) -> None:
    """Write the raw files and the truth of one particle."""
    name = f"{job[0]}-{job[1]}"
    layout = _layout(plan, job, recording, study.path.parent)
    _remove_others(layout)
    record(specimen, recording, layout, resources=resources, progress=progress)
    seen = replace(plan.seen, address=plan.digest(job))
    write_truth(study, name, specimen, plan.experiment.law, seen, threads=resources.threads, progress=progress)
    bad = recording.detector.dead | recording.detector.hot
    arrays = instrument_arrays(specimen, recording.views, bad, plan.energies.tolist())
    for group, also in (("truth", arrays), (AT_INSTRUMENT, [])):
        study.write(group, name, with_particle(schema.dataset(also), job[1]))
    if plan.preset.grain_map:
        labels = study.read("truth", name)["grain_label"][0].values
        write_grain_files(study.path.parent / "raw", name, labels, specimen.grains.c_axis)
    study.describe("truth", name, plan=plan.digest(job))


def _remove_others(layout: FxiLayout) -> None:
    """Remove the scans of another plan from the folders of a particle, or its recipe would mix them."""
    for folder, headers in zip(layout.folders, layout.headers, strict=True):
        own = {header.file_name for header in headers}
        for file in folder.glob("fly_scan_id_*.h5*"):
            if file.name not in own:
                file.unlink()


def _layout(plan: Plan, job: tuple[str, int], recording: Recording, folder: Path) -> FxiLayout:
    """Files of one particle; each says which plan it belongs to."""
    notes = [
        f"virtual experiment {job[0]}-{job[1]}, seed {plan.seed}, {temperature:g} C, plan {plan.digest(job)}"
        for temperature in plan.preset.temperatures
    ]
    headers = draw_headers(
        recording.stated_energies,
        recording.stated_pixel_sizes,
        notes,
        recording.identities,
        first_scan_id=FIRST_SCAN_ID + plan.jobs.index(job) * len(notes) * plan.energies.size,
    )
    return FxiLayout(tuple(folder / place for place in plan.folders(job)), headers)


def _outline(plan: Plan, job: tuple[str, int]) -> Simulated:
    """One particle as the recipe needs it."""
    places = dict(zip(plan.preset.temperatures, plan.folders(job), strict=True))
    patterns = {temperature: f"{place.as_posix()}/fly_scan_id_*.h5" for temperature, place in places.items()}
    foils = {temperature: f"{place.as_posix()}/{_FOIL_FILE}" for temperature, place in places.items()}
    formula = oxide_formula(plan, job[0], LITHIUM)
    name, kind = f"{job[0]}-{job[1]}", "xanes-tomography"
    note = f"holds of {plan.experiment.hold:g} min in argon" if len(places) > 1 else ""
    made = Simulated(name, job[0], formula, job[1], kind, patterns, WINDOWS, foils=foils, note=note)
    if not plan.preset.grain_map:
        return made
    labels, axes = (file.as_posix() for file in grain_files(Path("raw"), name))
    return replace(made, grains=(labels, axes))


def _expose_foils(study: Study, plan: Plan, recordings: Mapping[tuple[str, int], Recording]) -> Simulated:
    """A scan of a nickel foil beside the scans of every temperature, with the same error of energy."""
    offsets = {}
    for job, recording in recordings.items():
        for index, folder in enumerate(plan.folders(job)):
            view = recording.views[index][0]
            file = study.path.parent / folder / _FOIL_FILE
            offsets[file] = view.energy - view.recorded_energy
            seed = np.random.SeedSequence((*plan.key(job, _FOIL), index)).generate_state(1)[0]
            write_foil_scan(file, energy_offset=offsets[file], seed=int(seed))
    shifts = np.array([offsets[file] for file in sorted(offsets)])
    study.write("truth", "foil", schema.dataset([schema.label("energy_shift", shifts, ("spectrum",))]))
    patterns = tuple(file.relative_to(study.path.parent).as_posix() for file in sorted(offsets))
    return Simulated("foil", "foil", "Ni", None, "xas", patterns, calibration="self")


def with_particle(data: xr.Dataset, number: int) -> xr.Dataset:
    """The Dataset with the number of the particle as a scalar coordinate."""
    return data.assign_coords(particle=schema.label("particle", np.array(number), ()))
