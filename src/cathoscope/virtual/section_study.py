"""Virtual studies of sections: etched single particles with a scale bar, and a mosaic of many; files and truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import xarray as xr
from skimage.measure import regionprops_table

from cathoscope.core import schema
from cathoscope.core.parallel import Progress, Resources, Silent, run_slabs
from cathoscope.core.study import Study
from cathoscope.virtual.cycling_study import SlicedMeasurement, recipe_with_remarks
from cathoscope.virtual.fibsem_files import Header, Truth, write_image, write_truth_file
from cathoscope.virtual.grains import draw_grains
from cathoscope.virtual.mosaic import (
    POPULATION,
    Measured,
    MosaicOptions,
    Scene,
    Tile,
    draw_scene,
    draw_tiles,
    measured,
    true_field,
)
from cathoscope.virtual.particle import GRAVEL, H_NMC, L_NMC, ROD, ParticleDesign
from cathoscope.virtual.recipe_outline import StudyPlan
from cathoscope.virtual.recording import announce
from cathoscope.virtual.sections import EtchedSection, SectionOptions, etched_section

_GRAINS, _IMAGE, _MOSAIC = range(3)
_FEWEST_PIXELS = 30  # of a grain whose shape counts
_BYTES = 14  # of image and truth per pixel
_MEANINGS = {
    "number": ("1", "Label of the particle"),
    "y": ("um", "Centre of the section down the field"),
    "x": ("um", "Centre of the section across the field"),
    "diameter": ("um", "Diameter of the whole particle"),
    "section_diameter": ("um", "Diameter of the disk of the section's area"),
    "porosity": ("1", "Share of the section that is not oxide"),
    "crack_share": ("1", "Share of the section that is crack"),
    "hollow": ("1", "Whether the plane cuts the hollow core"),
    "cracked": ("1", "Whether cracks take more than 0.5 % of the section"),
    "whole": ("1", "Whether the section lies wholly within the field"),
}


@dataclass(frozen=True)
class SectionSize:
    """Pixel (um) of the single sections, and the mosaic's pixel (um) and tiles (down, across)."""

    pixel: float
    mosaic_pixel: float
    tiles: tuple[int, int]


@dataclass(frozen=True)
class SectionPreset:
    """A virtual study of sections: designs by sample, and the mosaic's population."""

    meaning: str
    samples: Mapping[str, ParticleDesign]
    sizes: Mapping[str, SectionSize]
    population: Sequence[ParticleDesign] = POPULATION
    section: SectionOptions = field(default_factory=SectionOptions)
    mosaic: MosaicOptions = field(default_factory=MosaicOptions)


_SIZES: Mapping[str, SectionSize] = MappingProxyType(
    {
        "small": SectionSize(0.03, 0.1, (2, 2)),
        "medium": SectionSize(0.015, 0.05, (4, 4)),
        "large": SectionSize(0.01, 0.05, (10, 10)),
    }
)


def _preset(words: str, samples: Mapping[str, ParticleDesign]) -> SectionPreset:
    meaning = f"etched sections of {words} particles, and a mosaic of many particles, SEM"
    return SectionPreset(meaning, MappingProxyType(dict(samples)), _SIZES)


SECTION_PRESETS: Mapping[str, SectionPreset] = MappingProxyType(
    {
        "sections": _preset("rod- and gravel-grained", {"rod": replace(ROD, isotropic_radius=0.0), "gravel": GRAVEL}),
        "cadiou-sections": _preset("low- and high-gradient", {"L-NMC": L_NMC, "H-NMC": H_NMC}),
    }
)


@dataclass(frozen=True)
class SectionPlan(StudyPlan[SectionPreset, SectionSize]):
    """A study to be simulated; ``particles`` of each sample are sectioned."""

    @property
    def mosaic(self) -> MosaicOptions:
        """Of this size."""
        return replace(self.preset.mosaic, pixel=self.size.mosaic_pixel, tiles=self.size.tiles)

    @property
    def bytes_on_disk(self) -> int:
        """Of all images and their truth, generously."""
        sections = sum((1.2 * self.preset.samples[name].diameter / self.size.pixel) ** 2 for name, _ in self.jobs)
        tiles = np.prod(self.mosaic.tiles) * np.prod(self.mosaic.tile)
        return int(_BYTES * (sections + tiles))


def simulate_sections(
    study: Study, plan: SectionPlan, *, resources: Resources | None = None, progress: Progress | None = None
) -> list[SlicedMeasurement]:
    """Write images into ``raw`` and truth into ``truth`` beside a study.

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

    def work(job: tuple[str, int]) -> None:
        """One section."""
        study.write("truth", f"{job[0]}-{job[1]}-section", _write_section(folder, plan, job))
        progress.advance(1)

    progress.start("sections", len(plan.jobs), "section")
    run_slabs(work, plan.jobs, threads=resources.threads)
    progress.finish()
    study.write("truth", "mosaic", _write_mosaic(folder, plan))
    made = [
        SlicedMeasurement(f"{name}-{n}-section", name, n, "sem-section", f"raw/{name}-{n}/section.tif", "etched")
        for name, n in plan.jobs
    ]
    first = next(iter(plan.preset.samples))
    return [*made, SlicedMeasurement("mosaic", first, 1, "mosaic", "raw/mosaic/tile_*.tif", "many particles")]


def section_recipe(preset: str, seed: int, plan: SectionPlan, measurements: list[SlicedMeasurement]) -> str:
    """The recipe of the study, see `recipe_with_remarks`."""
    return recipe_with_remarks(preset, seed, plan.preset.samples, measurements)


def _write_section(folder: Path, plan: SectionPlan, job: tuple[str, int]) -> xr.Dataset:
    """Image and truth of one particle; returns what the analysis of the image is to find."""
    name, options = f"{job[0]}-{job[1]}", replace(plan.preset.section, pixel=plan.size.pixel)
    grains = draw_grains(plan.preset.samples[job[0]], plan.number(job, _GRAINS))
    made: EtchedSection = etched_section(grains, options, seed=plan.number(job, _IMAGE))
    header = Header(options.pixel, f"{name} section", note=f"virtual experiment, seed {plan.seed}")
    write_image(folder / "raw" / name / "section.tif", made.image, header)
    truth = {
        "grain_label": Truth(made.labels, "1", "Grain + 1 of each pixel above the strip, 0 outside"),
        "boundary_distance": Truth(made.distance.astype(np.float32), "um", "Distance from the nearest grain boundary"),
        "solid_fraction": Truth(made.solid, "1", "Share of each pixel that is oxide"),
        "grain_in_plane_axis": Truth(grains.in_plane, "1", "Unit vector along [110] of each grain"),
        "scale_bar_length": Truth(made.bar.length, "um", "Length that the text states"),
        "scale_bar_px": Truth(made.bar.length_px, "px", "Length of the bar"),
    }
    design = grains.design
    write_truth_file(
        folder / "truth" / f"{name}-section.h5",
        truth,
        sample=job[0],
        particle=job[1],
        pixel=options.pixel,
        scale_bar_text=made.bar.text,
        aspect=design.aspect,
        alignment=design.alignment,
        grain_size=design.grain_size,
    )
    return _grains_in_section(made, options.pixel)


def _grains_in_section(made: EtchedSection, pixel: float) -> xr.Dataset:
    """Alignment, aspect and size of the grains of a section, from their true labels."""
    labels = np.where(made.solid > 0.5, made.labels, 0)
    wanted = ("area", "centroid", "orientation", "axis_major_length", "axis_minor_length")
    table = regionprops_table(labels, properties=wanted)  # type: ignore[no-untyped-call]
    keep = table["area"] >= _FEWEST_PIXELS
    area, row, column, turn, long, short = (np.asarray(values)[keep] for values in table.values())
    middle = (labels.shape[0] - 1) / 2
    # scikit-image counts the orientation from the rows towards the columns
    angle = turn - np.arctan2(column - middle, row - middle)
    numbers = {
        "grain_alignment": np.average(np.cos(2 * angle), weights=area),
        "grain_mean_aspect": np.average(long / short, weights=area),
        "grain_mean_diameter": np.sqrt(4 * area / np.pi).mean() * pixel,
    }
    return schema.dataset([schema.label(name, np.array(value), ()) for name, value in numbers.items()])


def _write_mosaic(folder: Path, plan: SectionPlan) -> xr.Dataset:
    """Tiles and truth of the mosaic; returns what the analysis of the tiles is to find."""
    options = plan.mosaic
    seed = plan.number(("mosaic", 1), _MOSAIC)
    scene = draw_scene(options, seed=seed, population=plan.preset.population)
    tiles = draw_tiles(scene, options, seed=seed)
    for tile in tiles:
        header = Header(options.pixel, "mosaic", stage=tile.nominal[::-1], note=f"virtual experiment, seed {plan.seed}")
        write_image(folder / "raw" / "mosaic" / f"tile_{tile.place[0]:02d}_{tile.place[1]:02d}.tif", tile.image, header)
    labels, oxide = true_field(scene, options)
    table = measured(scene, options)
    truth = {
        f"particle/{name}": Truth(np.array([getattr(row, name) for row in table]), *_MEANINGS[name])
        for name in Measured._fields
    }
    truth |= {
        "particle_label": Truth(labels, "1", "Number of the particle at each pixel of the whole field, 0 between"),
        "solid_fraction": Truth(np.rint(255 * oxide).astype(np.uint8), "1/255", "Share of each pixel that is oxide"),
        "tile_nominal": Truth(np.array([tile.nominal for tile in tiles]), "um", "Stated place (y, x) of each tile"),
        "tile_true": Truth(np.array([tile.true for tile in tiles]), "um", "True place (y, x) of each tile"),
        "tile_index": Truth(np.array([tile.place for tile in tiles]), "1", "Number of each tile down and across"),
        "tile_gain": Truth(np.array([tile.gain for tile in tiles]), "1", "Gain of each tile"),
    }
    write_truth_file(folder / "truth" / "mosaic.h5", truth, pixel=options.pixel)
    return _of_the_field(scene, options, tiles)


def _of_the_field(scene: Scene, options: MosaicOptions, tiles: Sequence[Tile]) -> xr.Dataset:
    """Places and gains of the tiles, and numbers of all particles.

    Images tell where tiles lie to each other, not where all of them lie: the mean is that of the stated places. At a
    particle's outline the pixels of its disk are partly outside; as that falls with the size of the pixels, finer ones
    tell how much it is.
    """
    fine = replace(options, pixel=options.pixel / 2, tile=(2 * options.tile[0], 2 * options.tile[1]))
    pairs = [(a, b) for a, b in zip(measured(scene, options), measured(scene, fine), strict=True) if a.whole]
    porosity = np.array([2 * finer.porosity - coarse.porosity for coarse, finer in pairs])
    nominal, true = (np.array([getattr(tile, name) for tile in tiles]) for name in ("nominal", "true"))
    place = true - true.mean(axis=0) + nominal.mean(axis=0)
    gain = np.array([tile.gain for tile in tiles])
    coords = {"tile": schema.label("tile", np.arange(1, len(tiles) + 1), ("tile",))}
    along = {"tile_y": place[:, 0], "tile_x": place[:, 1], "tile_gain": gain / gain.mean()}
    arrays = [schema.label(name, values, ("tile",), coords=coords) for name, values in along.items()]
    numbers = {
        "mean_porosity": porosity.mean(),
        "porosity_spread": porosity.std(ddof=1) if len(pairs) > 1 else np.nan,
        "cracked_share": np.mean([row.cracked for row, _ in pairs]),
        "hollow_share": np.mean([row.hollow for row, _ in pairs]),
    }
    return schema.dataset([*arrays, *(schema.label(name, np.array(value), ()) for name, value in numbers.items())])
