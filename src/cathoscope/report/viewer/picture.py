"""Pictures of a volume in space: block means of it, kept, and drawn from where the mouse has turned it."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numcodecs import blosc  # type: ignore[import-untyped]  # it is told of no types
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.report.render import Body, Cut, View, body_of, middle_of, render_body, width_needed
from cathoscope.report.viewer.library import Volume
from cathoscope.report.viewer.quantities import colour_map
from cathoscope.report.viewer.slices import Slices

FINE, COARSE = 128, 56  # voxels along the longest side
_SLAB = 8  # slices at a time, the study's chunk along z
_KEPT_READY = 2  # volumes that can be turned at once: both sides; 22 MB each
_KEPT_MEANS = 6  # volumes that need not be read again; a few MB each
_MARGIN = 1.08

CutKind = Literal["nothing", "octant", "quadrant", "half"]


@dataclass(frozen=True)
class Block:
    """Block means of a volume, ``[z, y, x]``: values (NaN where there are none), the particle, voxels per side."""

    value: NDArray[np.float32]
    mask: NDArray[np.bool_]
    factor: int


@dataclass(frozen=True)
class Look:
    """How a picture is asked for."""

    azimuth: float
    elevation: float
    pixels: int
    fine: bool
    cut: CutKind
    colours: str
    limits: tuple[float, float]
    shown: tuple[float, float] | None = None


@dataclass(frozen=True)
class Drawable:
    """What all views of a volume have in common, from its block means: ``middle`` of the particle in blocks."""

    body: Body
    middle: tuple[float, float, float]
    factor: int


class Pictures:
    """Pictures of volumes; what is common to all views of one is made once, and kept of those looked at last."""

    def __init__(self, slices: Slices) -> None:
        self._slices = slices
        self._means: OrderedDict[tuple[Any, ...], _Packed] = OrderedDict()
        self._ready: OrderedDict[tuple[Any, ...], tuple[Drawable, Drawable, float]] = OrderedDict()
        self._lock = threading.Lock()  # one at a time: memory is bounded by that, and drawing uses one core

    def draw(self, volume: Volume, place: Sequence[int], look: Look, step: float) -> tuple[NDArray[np.uint8], float]:
        """Pixels ``[row, column, red green blue alpha]`` and the length of a pixel's side in the unit of ``step``.

        Parameters
        ----------
        step
            Distance of voxels.

        Raises
        ------
        MeasurementError
            If there is nothing to draw.
        """
        with self._lock:
            fine, coarse, width = self._drawables(volume, place, look)
            drawn = fine if look.fine else coarse
            size, rays = step * drawn.factor, 2 if look.fine else 1
            picture = render_body(
                _lit(drawn.body, look.shown),
                View(look.azimuth, look.elevation, step * width, look.pixels, drawn.middle, rays),
                Cut(look.cut, drawn.middle),
                size,
                colours=colour_map(look.colours),
                limits=look.limits,
            )
        return np.asarray(np.round(255 * picture.pixels), np.uint8), picture.pixel_size

    def _drawables(self, volume: Volume, place: Sequence[int], look: Look) -> tuple[Drawable, Drawable, float]:
        """Fine and coarse, and the width of a picture that holds every view, in voxels."""
        key = _key(volume, place, look)
        if key not in self._ready:
            _make_room(self._ready, _KEPT_READY - 1)
            fine = self._block(key, volume, place, look)
            coarse = coarser(fine)
            self._ready[key] = _drawable(fine), _drawable(coarse), _width(coarse)
        self._ready.move_to_end(key)
        return self._ready[key]

    def _block(self, key: tuple[Any, ...], volume: Volume, place: Sequence[int], look: Look) -> Block:
        """Block means of a volume."""
        if key in self._means:
            self._means.move_to_end(key)
            return self._means[key].block()
        block = self._reduced(volume, place, look.limits)
        self._means[key] = _Packed.of(block)
        _make_room(self._means, _KEPT_MEANS)
        return block

    def _reduced(self, volume: Volume, place: Sequence[int], limits: tuple[float, float]) -> Block:
        """Block means of a volume, a few slices at a time."""
        factor = max(1, math.ceil(max(volume.space) / FINE))
        nearest = volume.quantity.kind in ("label", "flag", "mask")
        slab = _SLAB * factor // math.gcd(_SLAB, factor)
        values, masks = [], []
        for start in range(0, volume.space[0], slab):
            stop = min(start + slab, volume.space[0])
            box = [slice(start, stop), *(slice(0, n) for n in volume.space[1:])]
            value, inside = self._slices.values(volume, place, box, keep=False)
            if volume.quantity.kind == "grey" or volume.name.startswith("edge_jump"):
                particle = self._slices.particle(volume, place, box, keep=False)
                inside = value > 0.5 * (limits[0] + limits[1]) if particle is None else particle
            mean, share = block_means(np.where(inside, value, np.float32(np.nan)), inside, factor, nearest)
            values.append(mean)
            masks.append(share >= 0.5)
        return Block(np.concatenate(values), np.concatenate(masks), factor)


@dataclass(frozen=True)
class _Packed:
    """A `Block` that waits: compressed, for it is wanted again when somebody goes back to it, and may never be."""

    value: bytes
    mask: bytes
    shape: tuple[int, ...]
    factor: int

    @classmethod
    def of(cls, block: Block) -> _Packed:
        """The block, compressed."""
        value, mask = (np.ascontiguousarray(array) for array in (block.value, block.mask))
        return cls(blosc.compress(value, b"lz4", 5), blosc.compress(mask, b"lz4", 5), value.shape, block.factor)

    def block(self) -> Block:
        """The block as it was."""
        value, mask = blosc.decompress(self.value), blosc.decompress(self.mask)
        return Block(
            np.frombuffer(value, np.float32).reshape(self.shape),
            np.frombuffer(mask, np.bool_).reshape(self.shape),
            self.factor,
        )


def _make_room(kept: OrderedDict[Any, Any], most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)


def _drawable(block: Block) -> Drawable:
    if not block.mask.any():
        raise MeasurementError(
            "nothing to draw here", expected="voxels with a value", cure="choose another quantity or range"
        )
    return Drawable(body_of(block.value, block.mask), middle_of(block.mask), block.factor)


def _lit(body: Body, shown: tuple[float, float] | None) -> Body:
    """The body with values within a range alone; all others are drawn grey."""
    if shown is None:
        return body
    lit = (body.value >= shown[0]) & (body.value <= shown[1])
    return replace(body, value=np.where(lit, body.value, np.float32(np.nan)))


def _width(block: Block) -> float:
    """Width in voxels that holds the particle from wherever it is seen."""
    if not block.mask.any():
        return 1.0
    middle = middle_of(block.mask)
    views = (View(azimuth, elevation) for azimuth in (0.0, 45.0, 90.0, 135.0) for elevation in (0.0, 40.0, 90.0))
    return _MARGIN * max(width_needed(block.mask, float(block.factor), view, middle) for view in views)


def _key(volume: Volume, place: Sequence[int], look: Look) -> tuple[Any, ...]:
    middle = round(sum(look.limits), 9) if volume.quantity.kind == "grey" else 0.0
    return volume.layout.folder, volume.layout.version, volume.name, tuple(place), middle


def block_means(
    value: NDArray[np.float32], inside: NDArray[np.bool_], factor: int, nearest: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean of the finite values of every block of ``factor`` voxels a side, and the share of it that is inside.

    With ``nearest`` one voxel stands for its block: the mean of two labels is no label.
    """
    if factor == 1:
        return value, inside.astype(np.float32)
    if nearest:
        every = (slice(factor // 2, None, factor) if min(value.shape) > factor // 2 else slice(None, None, factor),) * 3
        shape = tuple(-(-n // factor) for n in value.shape)
        fill = [(0, n - m) for n, m in zip(shape, value[every].shape, strict=True)]
        return np.pad(value[every], fill, constant_values=np.nan), np.pad(inside[every], fill).astype(np.float32)
    good = np.isfinite(value)
    count, sums = _block_sums(good, factor), _block_sums(np.where(good, value, np.float32(0.0)), factor)
    mean = np.divide(sums, count, out=np.full(sums.shape, np.nan, np.float32), where=count > 0)
    sides = [np.minimum(factor, n - np.arange(0, n, factor)) for n in value.shape]  # the last may be smaller
    size = sides[0][:, None, None] * sides[1][:, None] * sides[2]
    return mean, np.asarray(_block_sums(inside, factor) / size, np.float32)


def _block_sums(array: NDArray[Any], factor: int) -> NDArray[np.float32]:
    """Sum over blocks of ``factor`` voxels a side, one axis after the other."""
    for axis in range(3):
        turned = np.moveaxis(array, axis, 0)
        found = turned[::factor].astype(np.float32)
        for k in range(1, factor):
            part = turned[k::factor]
            found[: len(part)] += part
        array = np.moveaxis(found, 0, axis)
    return array


def coarser(block: Block) -> Block:
    """Block means of block means, for pictures while the mouse turns them."""
    factor = max(1, math.ceil(max(block.mask.shape) / COARSE))
    value, share = block_means(block.value, block.mask, factor, nearest=False)
    mask = share >= 0.5
    return Block(value, mask if mask.any() else share > 0, block.factor * factor)
