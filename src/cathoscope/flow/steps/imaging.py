"""Images at several energies: optical depth, alignment, edge jump, particles and their table."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import RAW, Context, Step
from cathoscope.flow.steps.pixels import pixel_size_of
from cathoscope.physics.edges import elements_with_edge_within, k_edge_within
from cathoscope.xanes.absorbance import particle_mask_from_edge_jump
from cathoscope.xanes.frames import (
    empty_field,
    image_shift,
    jump_from_images,
    moved_image,
    optical_depth_from_frames,
    particles_from_mask,
    variance_per_count,
)

Floats = NDArray[np.float64]
_IMAGE = ("y", "x")
_SURFACE_DEGREE = 2


def optical_depth(context: Context) -> xr.Dataset:
    """Optical depth of every energy with its noise, all energies laid on the highest."""
    raw, section = context.raw, context.section.imaging
    energies = raw.coords["energy"].values
    frames = [_depth_of_scan(raw.scans[index]) for index in sorted(raw.scans)]
    shape = frames[0][0].shape
    depth, std = np.empty((len(frames), *shape), np.float32), np.empty((len(frames), *shape), np.float32)
    remarks = []
    fixed = frames[-1][0]
    for index, (image, noise, gains) in enumerate(frames):
        # The pixel at the sample grows with the energy: in pixels, the image of a lower energy is the larger one.
        scale = float(energies[index] / energies[-1]) if section.magnification == "proportional to energy" else 1.0
        shift = (0.0, 0.0)
        if section.align and index < len(frames) - 1:
            found = image_shift(fixed=fixed, moving=moved_image(image=image, scale=scale))
            shift = found.shift
            remarks.append(
                f"{energies[index]:.2f} eV: moved by {shift[0]:.2f} ± {found.std[0]:.2f} rows and "
                f"{shift[1]:.2f} ± {found.std[1]:.2f} columns"
            )
        depth[index] = moved_image(image=image, shift=shift, scale=scale)
        std[index] = moved_image(image=noise, shift=shift, scale=scale)
        remarks.append(
            f"{energies[index]:.2f} eV: variance per count {gains[0]:.2g} with sample, {gains[1]:.2g} without"
        )
    coords = {"energy": raw.coords["energy"], **_pixel_coords(context, shape)}
    values = label("optical_depth", depth, ("energy", *_IMAGE), coords=coords)
    values.attrs["remarks"] = remarks
    uncertainty = label("optical_depth_std", std, ("energy", *_IMAGE), coords=coords, std_source="counting")
    return dataset([values, uncertainty])


def _depth_of_scan(scan: xr.Dataset) -> tuple[Floats, Floats, tuple[float, float]]:
    """Optical depth, its noise, and the variance per count of sample and reference frames."""
    sample, reference = (np.asarray(scan[name].values, np.float64) for name in ("counts", "flat_counts"))
    gains = [variance_per_count(frames=frames) if len(frames) > 1 else np.nan for frames in (sample, reference)]
    # One frame, or frames that are copies of each other, say nothing of noise: then single photons are assumed.
    known = [gain for gain in gains if gain > 0] or [1.0]
    stated = [gain if gain > 0 else known[0] for gain in gains]
    exposure, flat_exposure = (float(scan.attrs.get(name) or np.nan) for name in ("exposure_s", "flat_exposure_s"))
    ratio = exposure / flat_exposure if np.isfinite(exposure / flat_exposure) else 1.0
    depth, std = optical_depth_from_frames(
        sample=sample, reference=reference, exposure_ratio=ratio, gains=(stated[0], stated[1])
    )
    return depth, std, (stated[0], stated[1])


def _pixel_coords(context: Context, shape: tuple[int, ...]) -> dict[str, xr.DataArray]:
    size = pixel_size_of(context.raw)
    return {dim: label(dim, (np.arange(n) - (n - 1) / 2) * size, (dim,)) for dim, n in zip(_IMAGE, shape, strict=True)}


def jump(context: Context) -> xr.Dataset:
    """Jump of the optical depth at the edge, and the mask of what has one."""
    depth, noise = context.data["optical_depth"], context.data["optical_depth_std"]
    energy, section = depth["energy"].values, context.section.edge
    below, above = _sides(context, energy)
    values, std = jump_from_images(optical_depth=depth.values, std=noise.values, below=below, above=above)
    field = np.zeros_like(values)
    background = context.section.imaging.background
    for _ in range(1 if background == "none" else 3):  # without its background a particle is told better
        mask = particle_mask_from_edge_jump(
            edge_jump=values - field,
            edge_jump_std=std,
            minimum_sigma=section.minimum_sigma,
            threshold=section.threshold,
        )
        if background != "none":
            field = empty_field(jump=values, mask=mask, degree=_SURFACE_DEGREE if background == "surface" else 0)
    coords = {dim: depth[dim] for dim in _IMAGE}
    image = label("optical_depth_jump", (values - field).astype(np.float32), _IMAGE, coords=coords)
    image.attrs["definition"] = f"mean of {_energies(energy[above])} minus mean of {_energies(energy[below])}"
    elements = elements_with_edge_within(lowest=float(energy.min()), highest=float(energy.max()))
    image.attrs["element"] = elements[0] if len(elements) == 1 else ""
    image.attrs["remarks"] = [] if background == "none" else [_words_on_field(field)]
    std_image = label("optical_depth_jump_std", std.astype(np.float32), _IMAGE, coords=coords, std_source="counting")
    return dataset([image, std_image, label("particle_mask", mask, _IMAGE, coords=coords)])


def _words_on_field(field: Floats) -> str:
    low, high = float(field.min()), float(field.max())
    size = f"{low:+.3f}" if high - low < 5e-4 else f"{low:+.3f} to {high:+.3f}"
    return f"{size} optical depth of the empty field taken from the edge jump"


def _energies(energies: Floats) -> str:
    return " and ".join(f"{energy:.2f} eV" for energy in energies) if energies.size < 4 else f"{energies.size} energies"


def _sides(context: Context, energy: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Images below and above the edge: those in the recipe's windows, else all on either side."""
    section = context.section.edge
    edge = section.edge_energy or k_edge_within(lowest=float(energy.min()), highest=float(energy.max()))
    low = section.pre_edge or (-np.inf, edge or -np.inf)
    high = section.post_edge or (edge or np.inf, np.inf)
    sides = [np.flatnonzero((energy >= start) & (energy <= stop)) for start, stop in (low, high)]
    if not all(side.size for side in sides):
        raise MeasurementError(
            "there is no image on both sides of an edge",
            where=context.name,
            expected="one energy or more below and above a K edge, or in edge.pre_edge and edge.post_edge",
            found=", ".join(f"{value:g} eV" for value in energy[:8]),
        )
    return sides[0], sides[1]


def particles(context: Context) -> xr.Dataset:
    """Table of the particles: size, place, and mean jump with its uncertainty."""
    data = context.data
    found = particles_from_mask(
        mask=data["particle_mask"].values,
        jump=data["optical_depth_jump"].values,
        jump_std=data["optical_depth_jump_std"].values,
        pixel_size=pixel_size_of(context.raw),
        smallest_diameter=context.section.imaging.smallest_particle,
    )
    number = label("particle", np.arange(1, found.area.size + 1), ("particle",))
    coords = {"particle": number, **{dim: data["particle_mask"][dim] for dim in _IMAGE}}
    y, x = (data["particle_mask"][dim].values for dim in _IMAGE)
    columns = {
        "particle_area": found.area,
        "particle_diameter": found.diameter,
        "particle_y": np.interp(found.row, np.arange(y.size), y),
        "particle_x": np.interp(found.column, np.arange(x.size), x),
        "particle_jump": found.jump,
    }
    arrays = [label(name, values, ("particle",), coords=coords) for name, values in columns.items()]
    std = label("particle_jump_std", found.jump_std, ("particle",), coords=coords, std_source="scatter")
    border = label("particle_at_border", found.at_border, ("particle",), coords=coords)
    return dataset([label("particle_label", found.labels, _IMAGE, coords=coords), *arrays, std, border])


_DEPTH = ("optical_depth", "optical_depth_std")
_JUMP = ("optical_depth_jump", "optical_depth_jump_std", "particle_mask")
_TABLE = (
    "particle_label",
    "particle_area",
    "particle_diameter",
    "particle_y",
    "particle_x",
    "particle_jump",
    "particle_jump_std",
    "particle_at_border",
)
STEPS = (
    Step("optical depth", optical_depth, needs=(RAW,), makes=_DEPTH, choices=("imaging", "pixel_size")),
    Step("edge jump", jump, needs=_DEPTH, makes=_JUMP, choices=("edge", "imaging")),
    Step("particles", particles, needs=(RAW, *_JUMP), makes=_TABLE, choices=("imaging", "pixel_size")),
)
TARGETS = ("particle_area",)
