"""Sections in a scanning electron microscope: grains of an etched particle; a mosaic of many particles."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import RAW, Context, Step
from cathoscope.flow.raw import RawMeasurement
from cathoscope.flow.steps.pixels import pixel_size_of
from cathoscope.flow.steps.section_files import choices_of, page_of, pixel_of, stage_of, without_caption
from cathoscope.numerics.estimate import Estimate
from cathoscope.volume.grain_shape import GrainTable, arrange_grains
from cathoscope.volume.grains import find_grains
from cathoscope.volume.mosaic import Placement, place_tiles, stated_in_pixels
from cathoscope.volume.mosaic_image import blended, mosaic_shape, shading_of
from cathoscope.volume.particles_2d import ParticleMap, find_particles
from cathoscope.volume.particles_2d_table import SectionedParticles, measure_particles, section_population

ARRANGEMENTS = ("gravel", "undecided", "rod")
_IMAGE = ("y", "x")
_STAGE = 0.5  # um, of the stage's places, unless the recipe says more


def grains(context: Context) -> xr.Dataset:
    """Grains of the particle, their shapes and how they lie."""
    choices, scan = choices_of(context.section), context.raw.first
    whole = page_of(scan)
    pixel, pixel_std, remarks = pixel_of(context, whole)
    image = without_caption(whole)
    found = find_grains(image, pixel=pixel, groove_width=choices.groove_width)
    lie = arrange_grains(found, pixel=pixel)
    if found.cut:
        remarks.append("the border of the image cuts the particle: its centre and the angles to it are uncertain")
    remarks.append(
        f"{lie.table.number.size} grains of 30 pixels or more; arrangement: {lie.kind}. A section shows the aspect of "
        "grains that lie in its plane; of grains that stand at random it shows 2 at most, however long they are"
    )
    coords = _coords(image.shape, pixel) | {
        "grain": label("grain", np.arange(1, lie.table.number.size + 1), ("grain",))
    }
    position = np.zeros(int(found.labels.max()) + 1, dtype=np.int32)
    position[lie.table.number] = np.arange(1, lie.table.number.size + 1)
    arrays = [
        _with_remarks(label("section_image", image.astype(np.float32), _IMAGE, coords=coords), remarks),
        label("grain_label", position[found.labels], _IMAGE, coords=coords),
        label("envelope_mask", found.particle, _IMAGE, coords=coords),
        *_grain_columns(lie.table, coords, (image.shape, pixel)),
        *_number("grain_alignment", lie.alignment),
        *_number("grain_mean_aspect", lie.aspect),
        *_number("grain_mean_diameter", _scaled(lie.diameter, pixel_std / pixel)),
        label("grain_arrangement", np.array(ARRANGEMENTS.index(lie.kind)), ()),
    ]
    arrays[-1].attrs |= {"flag_values": [0, 1, 2], "flag_meanings": " ".join(ARRANGEMENTS)}
    return dataset(arrays)


def _grain_columns(
    table: GrainTable, coords: dict[str, xr.DataArray], frame: tuple[tuple[int, ...], float]
) -> list[xr.DataArray]:
    """The rows of the table of grains; centres in the image's coordinates."""
    (rows, columns), pixel = frame
    values = {
        "grain_area": table.area,
        "grain_aspect": table.aspect,
        "grain_angle": np.rad2deg(table.angle),
        "grain_direction": np.rad2deg(table.direction),
        "grain_y": table.y - (rows - 1) / 2 * pixel,
        "grain_x": table.x - (columns - 1) / 2 * pixel,
    }
    return [label(name, column, ("grain",), coords=coords) for name, column in values.items()]


def stitched(context: Context) -> xr.Dataset:
    """Tiles put in their places and made one image."""
    raw, choices = context.raw, choices_of(context.section)
    scans = [raw.scans[index] for index in sorted(raw.scans)]
    pixel = pixel_size_of(raw)
    first_tile, remarks = page_of(scans[0]), list[str]()
    if len(scans) == 1:
        _, _, remarks = pixel_of(context, first_tile)
        first_tile = without_caption(first_tile)

    def tile(number: int) -> NDArray[Any]:
        """One tile, read when it is needed: a mosaic's tiles need not fit in memory."""
        return first_tile if number == 0 else page_of(scans[number])

    shape = (int(first_tile.shape[0]), int(first_tile.shape[1]))
    stage = stage_of(context, scans, shape, pixel)
    origin = stage.min(axis=0)
    place = place_tiles(
        tile,
        stated_in_pixels(stage, pixel=pixel),
        shape=shape,
        stage_std=(choices.stage_error or _STAGE) / pixel,
    )
    shading = shading_of(tile, place, shape=shape)
    (rows, columns), first = mosaic_shape(place, shape)
    whole = np.empty((rows, columns), dtype=np.float32)
    context.progress.start(f"{context.name}: mosaic", rows, "rows")
    for band, part in blended(tile, place, shading, shape=shape):
        whole[band] = part
        context.progress.advance(band.stop - band.start)
    context.progress.finish()
    remarks += _words_on_tiles(place, len(scans), pixel)
    y, x = ((np.arange(n) + start) * pixel + zero for n, start, zero in zip(whole.shape, first, origin, strict=True))
    coords = {"y": label("y", y, ("y",)), "x": label("x", x, ("x",)), "tile": _tile_numbers(raw)}
    arrays = [_with_remarks(label("section_image", whole, _IMAGE, coords=coords), remarks)]
    for axis, name in enumerate(("tile_y", "tile_x")):
        arrays.append(label(name, place.position[:, axis] * pixel + origin[axis], ("tile",), coords=coords))
        std = place.std[:, axis] * pixel
        arrays.append(label(f"{name}_std", std, ("tile",), coords=coords, std_source="fit covariance"))
    arrays.append(label("tile_gain", shading.gain, ("tile",), coords=coords))
    return dataset(arrays)


def _tile_numbers(raw: RawMeasurement) -> xr.DataArray:
    return label("tile", np.array([index[0] + 1 for index in sorted(raw.scans)]), ("tile",))


def _words_on_tiles(place: Placement, count: int, pixel: float) -> list[str]:
    if count == 1:
        return []
    weak = [link for link in place.links if link.weight < 0.1]
    error = f"{place.stage_error * pixel:.3g} um"
    words = f"{count} tiles from {len(place.links)} overlaps; the stage was off by {error} rms"
    linked = {number for link in place.links for number in (link.first, link.second)}
    words += f"; {len(weak)} overlaps do not fit the others" if weak else ""
    return [words + (f"; {count - len(linked)} tiles stay where the stage was" if len(linked) < count else "")]


def particles(context: Context) -> xr.Dataset:
    """Every particle of the image, and what they say of all."""
    data, choices, pixel = context.data["section_image"], choices_of(context.section), pixel_size_of(context.raw)
    image = np.asarray(data.values, dtype=np.float32)
    shown = np.isfinite(image)
    level = float(np.median(image[shown]))
    image = np.where(shown, image, level).astype(np.float32)
    found = find_particles(
        image,
        pixel=pixel,
        smallest_diameter=choices.smallest_particle,
        crack_width=choices.crack_width,
        field=None if shown.all() else shown,
    )
    table = measure_particles(image, found, pixel=pixel, void=choices.void)
    coords = {dim: data[dim] for dim in _IMAGE}
    coords["particle"] = label("particle", np.arange(1, found.count + 1), ("particle",))
    void = f"{table.void.value:.4g} ± {table.void.total:.2g}"
    remarks = [f"{found.count} particles, {int(found.cut.sum())} cut by the border; grey level of a void: {void}"]
    arrays = [
        _with_remarks(label("particle_label", found.labels, _IMAGE, coords=coords), remarks),
        label("pore_kind", np.choose(table.pore, (0, 1, 3)).astype(np.uint8), _IMAGE, coords=coords),
        *_particle_columns(table, found, data, coords),
        *_of_all(table, remarks),
    ]
    arrays[1].attrs |= {"flag_values": [0, 1, 2, 3], "flag_meanings": "no_pore crack void hollow_core"}
    return dataset(arrays)


def _particle_columns(
    table: SectionedParticles, found: ParticleMap, image: xr.DataArray, coords: dict[str, xr.DataArray]
) -> list[xr.DataArray]:
    """The rows of the table."""
    values: dict[str, NDArray[Any]] = {
        "particle_area": table.area,
        "particle_diameter": table.diameter,
        "particle_y": table.y + float(image["y"][0]),
        "particle_x": table.x + float(image["x"][0]),
        "particle_circularity": table.circularity,
        "particle_porosity": table.porosity,
        "particle_crack_share": table.crack_share,
        "particle_core_share": table.core_share,
        "particle_cracked": table.cracked,
        "particle_hollow": table.hollow,
        "particle_at_border": found.cut,
        "particle_porosity_systematic": table.porosity_systematic,
    }
    arrays = [label(name, column, ("particle",), coords=coords) for name, column in values.items()]
    std = np.hypot(table.porosity_std, table.porosity_systematic)
    return [*arrays, label("particle_porosity_std", std, ("particle",), coords=coords, std_source="scatter")]


def _of_all(table: SectionedParticles, remarks: list[str]) -> list[xr.DataArray]:
    """Mean, spread and shares; not known of fewer than two whole particles."""
    unknown = Estimate(np.nan, np.nan, np.nan)
    numbers = dict.fromkeys(("mean_porosity", "porosity_spread", "cracked_share", "hollow_share"), unknown)
    try:
        of_all = section_population(table)
        found = (of_all.porosity, of_all.porosity_spread, of_all.cracked_share, of_all.hollow_share)
        numbers = dict(zip(numbers, found, strict=True))
    except MeasurementError as error:
        remarks.append(f"no numbers of all particles: {error.problem} ({error.found})")
    return [array for name, value in numbers.items() for array in _number(name, value)]


def _coords(shape: tuple[int, ...], pixel: float) -> dict[str, xr.DataArray]:
    return {dim: label(dim, (np.arange(n) - (n - 1) / 2) * pixel, (dim,)) for dim, n in zip(_IMAGE, shape, strict=True)}


def _scaled(number: Estimate, relative: float) -> Estimate:
    """With the uncertainty of the size of the pixels."""
    return number._replace(systematic=float(np.hypot(number.systematic, number.value * relative)))


def _number(name: str, number: Estimate) -> list[xr.DataArray]:
    """Value, total uncertainty and its systematic part."""
    return [
        label(name, np.array(number.value), ()),
        label(f"{name}_std", np.array(number.total), (), std_source="scatter"),
        label(f"{name}_systematic", np.array(number.systematic), ()),
    ]


def _with_remarks(array: xr.DataArray, remarks: list[str]) -> xr.DataArray:
    array.attrs["remarks"] = remarks
    return array


def _three(*names: str) -> tuple[str, ...]:
    return tuple(name + end for name in names for end in ("", "_std", "_systematic"))


_GRAINS = ("grain_area", "grain_aspect", "grain_angle", "grain_direction", "grain_y", "grain_x")
_ALL_GRAINS = _three("grain_alignment", "grain_mean_aspect", "grain_mean_diameter")
_STITCHED = ("section_image", "tile_y", "tile_y_std", "tile_x", "tile_x_std", "tile_gain")
_PARTICLES = tuple(
    f"particle_{name}"
    for name in ("area", "diameter", "y", "x", "circularity", "crack_share", "core_share", "cracked", "hollow")
)
_MAPS = ("particle_label", "pore_kind", "particle_at_border")
_ALL = _three("particle_porosity", "mean_porosity", "porosity_spread", "cracked_share", "hollow_share")
SECTION_STEPS = (
    Step(
        "grains",
        grains,
        needs=(RAW,),
        makes=("section_image", "grain_label", "envelope_mask", *_GRAINS, *_ALL_GRAINS, "grain_arrangement"),
        choices=("micrograph", "pixel_size"),
    ),
)
MOSAIC_STEPS = (
    Step("stitching", stitched, needs=(RAW,), makes=_STITCHED, choices=("micrograph", "pixel_size")),
    Step(
        "particles",
        particles,
        needs=(RAW, "section_image"),
        makes=(*_MAPS, *_PARTICLES, *_ALL),
        choices=("micrograph", "pixel_size"),
    ),
)
SECTION_TARGETS = ("grain_alignment",)
MOSAIC_TARGETS = ("mean_porosity",)
