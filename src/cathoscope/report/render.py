"""Pictures of a particle in space: an opaque, shaded surface with a piece cut away, drawn by marching along rays.

The outer surface is where the smoothed mask passes one half. It is shaded by the slope of the smoothed mask
(Lambert's law) and darkened with distance. On cut faces every voxel has exactly the colour of its value, neither shaded
nor interpolated, so that they read as the cross-sections do. The projection is orthographic: one scale holds for the
whole picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from matplotlib.colors import Colormap
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_cdt, gaussian_filter

from cathoscope.core.errors import MeasurementError
from cathoscope.report.memory import bytes_for_drawing
from cathoscope.report.render_kernels import BLOCK, NOTHING, Scene, march

Mask = NDArray[np.bool_]
Vector = tuple[float, float, float]  # along z, y, x

MOST_VOXELS = 256**3  # larger volumes are sampled, for more would only cost time in a picture of journal width
_PER_VOXEL = 40.0  # bytes while a picture is made, measured: values, masks, and what the rays need
FLAGGED_GREY = 0.62
_SMOOTHING = 1.0  # voxels, standard deviation: wide enough that the surface shows no steps of voxels
_BORDER = 4  # voxels of nothing around the particle, so that the smoothed mask falls to zero
_LINE = 0.35  # brightness of the lines along the edges of the cut
_LIGHT = (-0.45, 0.55, 1.0)  # towards the lamp: along the right, the top and the viewer of the picture


@dataclass(frozen=True)
class View:
    """Where the viewer stands and how large the picture is.

    Attributes
    ----------
    azimuth_deg, elevation_deg
        Direction of the viewer, in deg: from +x towards +y, and from the plane of x and y towards +z. The picture has
        +z upwards.
    width
        Width and height of the square picture in the unit of the voxel size; None for what the particle needs.
    pixels
        Pixels along one side.
    centre
        Voxel (z, y, x) in the middle of the picture; None for the middle of the particle.
    supersampling
        Rays along one side of a pixel; the mean of their colours smooths edges.
    """

    azimuth_deg: float = 30.0
    elevation_deg: float = 28.0
    width: float | None = None
    pixels: int = 600
    centre: Vector | None = None
    supersampling: int = 2

    @property
    def towards(self) -> Vector:
        """Unit vector (z, y, x) towards the viewer."""
        azimuth, elevation = math.radians(self.azimuth_deg), math.radians(self.elevation_deg)
        flat = math.cos(elevation)
        return math.sin(elevation), flat * math.sin(azimuth), flat * math.cos(azimuth)

    @property
    def right(self) -> Vector:
        """Unit vector (z, y, x) to the right of the picture."""
        azimuth = math.radians(self.azimuth_deg)
        return 0.0, math.cos(azimuth), -math.sin(azimuth)

    @property
    def up(self) -> Vector:
        """Unit vector (z, y, x) to the top of the picture."""
        azimuth, elevation = math.radians(self.azimuth_deg), math.radians(self.elevation_deg)
        fall = -math.sin(elevation)
        return math.cos(elevation), fall * math.sin(azimuth), fall * math.cos(azimuth)


@dataclass(frozen=True)
class Cut:
    """What is taken away on the viewer's side: nothing, an octant, a quadrant (through the whole height) or a half.

    ``at`` is the voxel (z, y, x) through whose centre the cut faces go; None for the middle of the particle.
    """

    kind: Literal["nothing", "octant", "quadrant", "half"] = "octant"
    at: Vector | None = None

    def sides(self, view: View) -> Vector:
        """Side (+1 or -1) that is taken away along z, y, x; 0 where the cut does not depend on it."""
        towards = view.towards
        signs = [1.0 if part >= 0 else -1.0 for part in towards]
        if self.kind == "half":
            chosen = int(np.argmax(np.abs(towards)))
            signs = [sign if axis == chosen else 0.0 for axis, sign in enumerate(signs)]
        elif self.kind == "quadrant":
            signs[0] = 0.0
        elif self.kind == "nothing":
            signs = [0.0, 0.0, 0.0]
        return signs[0], signs[1], signs[2]


@dataclass(frozen=True)
class Picture:
    """A rendering: ``pixels`` [row, column, red green blue alpha] from 0 to 1, the first row on top.

    ``pixel_size`` is the length of a pixel's side in the unit of the voxel size, the same everywhere in the picture.
    ``stride`` says that only every so many voxels were drawn along each direction (1: all of them).
    """

    pixels: NDArray[np.float32]
    pixel_size: float
    stride: int

    @property
    def width(self) -> float:
        """Width of the picture in the unit of the voxel size."""
        return float(self.pixel_size * self.pixels.shape[1])


def stride_of(shape: tuple[int, ...]) -> int:
    """Smallest step between voxels with which a volume of this shape has at most `MOST_VOXELS`, and fits the memory."""
    stride, most = 1, min(MOST_VOXELS, bytes_for_drawing() / _PER_VOXEL)
    while math.prod(-(-n // stride) for n in shape) > most:
        stride += 1
    return stride


def middle_of(mask: Mask) -> tuple[int, int, int]:
    """Voxel (z, y, x) nearest to the centre of mass of ``mask``.

    Raises
    ------
    MeasurementError
        If the mask is empty.
    """
    total = int(np.count_nonzero(mask))
    if total == 0:
        raise MeasurementError("there is no particle to draw", expected="at least one voxel in the mask", found="none")
    places = []
    for axis in range(3):
        counts = np.count_nonzero(mask, axis=tuple(other for other in range(3) if other != axis))
        places.append(round(float(np.arange(counts.size) @ counts) / total))
    return places[0], places[1], places[2]


def width_needed(mask: Mask, voxel_size: float, view: View, centre: Vector | None = None) -> float:
    """Width of a square picture that shows all of ``mask`` with a narrow margin, in the unit of ``voxel_size``.

    The middle of the picture is the voxel ``centre`` (z, y, x), by default the middle of the particle.
    """
    centre = centre or middle_of(mask)
    step = max(1, max(mask.shape) // 64)  # the extent of a particle shows in a coarse sample of its voxels
    places = [
        step * found - middle for found, middle in zip(np.nonzero(mask[::step, ::step, ::step]), centre, strict=True)
    ]
    if places[0].size == 0:
        return float(max(mask.shape)) * voxel_size
    reach = max(
        float(np.abs(sum(part * place for part, place in zip(side, places, strict=True))).max())
        for side in (view.right, view.up)
    )
    return float(2.06 * (reach + step) * voxel_size)


def render(
    volume: NDArray[Any],
    mask: Mask,
    voxel_size: float,
    *,
    colours: Colormap,
    limits: tuple[float, float],
    view: View | None = None,
    cut: Cut | None = None,
) -> Picture:
    """Picture of a particle with a piece cut away.

    On the cut faces a voxel of value v has the colour ``colours((v - low) / (high - low))``. The outer surface has the
    colour of the first voxel with a value 1.5 to 3 voxels below it (nearer ones are mixed with the outside), times its
    shade. What has no value is grey, and
    pores that the cut opens are looked into. Outside the particle the picture is transparent.

    Parameters
    ----------
    volume
        Values, ``[z, y, x]``; NaN where there is none that can be trusted.
    mask
        Voxels of the particle, ``[z, y, x]``.
    voxel_size
        Edge of a cubic voxel, in the unit in which the picture's scale is wanted (um).
    colours, limits
        Colour map and the values at its two ends.
    view, cut
        The viewer and what is taken away; by default an octant seen from 28 deg above.

    Raises
    ------
    MeasurementError
        If volume and mask differ in shape, are not 3D, or the mask is empty.
    """
    view, cut = view or View(), cut or Cut()
    if volume.ndim != 3 or volume.shape != mask.shape:
        raise MeasurementError(
            "the particle cannot be drawn",
            expected="a volume and a mask of one shape (z, y, x)",
            found=f"shapes {volume.shape} and {mask.shape}",
        )
    stride = stride_of(volume.shape)
    middle = middle_of(mask)
    centre = view.centre or middle
    sampled = (slice(None, None, stride),) * 3
    seen = replace(
        view,
        width=view.width or width_needed(mask, voxel_size, view, centre),
        centre=_vector([part / stride for part in centre]),
    )
    at = _vector([place / stride for place in (cut.at or middle)])
    body = body_of(volume[sampled], mask[sampled])
    picture = render_body(body, seen, Cut(cut.kind, at), voxel_size * stride, colours=colours, limits=limits)
    return replace(picture, stride=stride)


@dataclass(frozen=True)
class Body:
    """What all views of a particle have in common: the box around it, and its first voxel (z, y, x) in the volume."""

    field: NDArray[np.float32]
    clear: NDArray[np.uint8]
    crowding: NDArray[np.float32]
    solid: Mask
    value: NDArray[np.float32]
    origin: tuple[int, ...]


def render_body(
    body: Body, view: View, cut: Cut, voxel_size: float, *, colours: Colormap, limits: tuple[float, float]
) -> Picture:
    """As `render`, of what `body_of` has prepared: many views of one particle cost the preparation once.

    ``view.width``, ``view.centre`` and ``cut.at`` must be stated.

    Raises
    ------
    MeasurementError
        If one of them is not.
    """
    if view.width is None or view.centre is None or cut.at is None:
        raise MeasurementError("the view is not complete", expected="width, centre and place of the cut")
    step = view.width / (voxel_size * view.pixels * view.supersampling)  # voxels between rays
    first, right, down = _rays(view, tuple(np.subtract(view.centre, body.origin)), step)
    size = (view.pixels * view.supersampling,) * 2
    kind, value, shade = np.zeros(size, np.int8), np.full(size, np.nan, np.float32), np.ones(size, np.float32)
    march(_scene(body, view, cut.sides(view), cut.at), first, right, down, kind, value, shade)
    pixels = _pixels(kind, colours((value - limits[0]) / (limits[1] - limits[0])), value, shade)
    return Picture(_averaged(pixels, view.supersampling), view.width / view.pixels, 1)


def body_of(volume: NDArray[Any], mask: Mask) -> Body:
    """What all views of a particle have in common, ``volume`` and ``mask`` as `render` takes them."""
    box = []
    for axis in range(3):
        found = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    solid = np.pad(mask[tuple(box)], _BORDER)
    value = np.pad(volume[tuple(box)].astype(np.float32), _BORDER, constant_values=np.nan)
    origin = tuple(side.start - _BORDER for side in box)
    field = gaussian_filter(solid.astype(np.float32), _SMOOTHING, truncate=3.0)
    crowding = _blocks(solid).mean(axis=(1, 3, 5), dtype=np.float32)
    return Body(field, _clearance(field), crowding, solid, value, origin)


def _scene(body: Body, view: View, sides: Vector, at: Vector) -> Scene:
    """What the rays of a view meet."""
    towards_light = np.array([np.dot(_LIGHT, parts) for parts in zip(view.right, view.up, view.towards, strict=True)])
    return Scene(
        body.field,
        body.clear,
        body.crowding,
        body.solid,
        body.value,
        _vector(-np.array(view.towards)),
        _vector(towards_light / np.linalg.norm(towards_light)),
        _vector(np.round(np.subtract(at, body.origin))),
        sides,
        float(0.5 * np.linalg.norm(body.solid.shape)),
    )


def _blocks(mask: Mask) -> Mask:
    """The mask in blocks, ``[block, voxel, block, voxel, block, voxel]`` along z, y, x."""
    padded = np.pad(mask, [(0, -n % BLOCK) for n in mask.shape])
    return padded.reshape([length for n in padded.shape for length in (n // BLOCK, BLOCK)])


def _clearance(field: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Voxels that a ray may go in any direction from anywhere in a block without meeting the surface."""
    distance = distance_transform_cdt(~_blocks(field >= 0.5).any(axis=(1, 3, 5)), "chessboard")
    # a block off by one may touch, and the surface reaches up to one voxel beyond the voxels of the particle
    return np.asarray(np.clip(BLOCK * (distance - 1) - 1, 0, 255), np.uint8)


def _rays(view: View, centre: tuple[float, ...], step: float) -> tuple[Vector, Vector, Vector]:
    """Where the ray of the first pixel starts, and the steps to the next column and row, in voxels (z, y, x)."""
    right, down = step * np.array(view.right), -step * np.array(view.up)
    half = 0.5 * (view.pixels * view.supersampling - 1)
    return _vector(np.array(centre) - half * (right + down)), _vector(right), _vector(down)


def _vector(values: Sequence[float] | NDArray[Any]) -> Vector:
    return float(values[0]), float(values[1]), float(values[2])


def _pixels(
    kind: NDArray[np.int8], colour: NDArray[Any], value: NDArray[np.float32], shade: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Colours times opacity of every ray, ``[row, column, 4]``."""
    pixels = np.asarray(colour, np.float32)
    hit = kind != NOTHING
    pixels[hit & np.isnan(value)] = (FLAGGED_GREY, FLAGGED_GREY, FLAGGED_GREY, 1.0)
    pixels[..., :3] *= np.where(_edges(kind), np.minimum(shade, _LINE), shade)[..., None]
    pixels[~hit] = 0.0
    pixels[hit, 3] = 1.0
    return pixels


def _edges(kind: NDArray[np.int8]) -> Mask:
    """Rays on the viewer's side of an edge between two cut faces, or between a cut face and the surface."""
    edge = np.zeros(kind.shape, np.bool_)
    for axis in (0, 1):
        one, other = np.moveaxis(kind, axis, 0)[:-1], np.moveaxis(kind, axis, 0)[1:]
        differs = (one != other) & (one != NOTHING) & (other != NOTHING)
        np.moveaxis(edge, axis, 0)[:-1] |= differs
        np.moveaxis(edge, axis, 0)[1:] |= differs
    return edge


def _averaged(pixels: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Mean over the rays of each pixel; colours are those of what is there, without the background."""
    rows, columns = pixels.shape[0] // factor, pixels.shape[1] // factor
    mean = pixels.reshape(rows, factor, columns, factor, 4).mean(axis=(1, 3))
    opacity = mean[..., 3:]
    mean[..., :3] = np.divide(mean[..., :3], opacity, out=np.zeros_like(mean[..., :3]), where=opacity > 0)
    return np.asarray(mean, np.float32)
