"""Pictures of a volume in space: block means of it, kept, and drawn from where the mouse has turned it."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.report.render import Cut, View, body_of, middle_of, render_body, width_needed
from cathoscope.report.viewer.library import Volume
from cathoscope.report.viewer.quantities import colour_map
from cathoscope.report.viewer.slices import Slices

FINE, COARSE = 128, 56  # voxels along the longest side
_SLAB = 8  # slices at a time, the study's chunk along z
_KEPT = 4
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


class Pictures:
    """Pictures of volumes; what is common to all views of one is made once and kept."""

    def __init__(self, slices: Slices) -> None:
        self._slices = slices
        self._kept: OrderedDict[tuple[Any, ...], tuple[Block, Block, float]] = OrderedDict()
        self._bodies: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
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
            fine, coarse, width = self._blocks(volume, place, look)
            block = fine if look.fine else coarse
            if not block.mask.any():
                raise MeasurementError(
                    "nothing to draw here", expected="voxels with a value", cure="choose another quantity or range"
                )
            size, middle = step * block.factor, middle_of(block.mask)
            rays = 2 if look.fine else 1
            view = View(look.azimuth, look.elevation, step * width, look.pixels, middle, rays)
            picture = render_body(
                self._body(volume, place, block, look),
                view,
                Cut(look.cut, middle),
                size,
                colours=colour_map(look.colours),
                limits=look.limits,
            )
        return np.asarray(np.round(255 * picture.pixels), np.uint8), picture.pixel_size

    def _body(self, volume: Volume, place: Sequence[int], block: Block, look: Look) -> Any:
        key = (*_key(volume, place, look), block.factor, look.shown)
        if key not in self._bodies:
            value = block.value
            if look.shown is not None:
                value = np.where((value >= look.shown[0]) & (value <= look.shown[1]), value, np.float32(np.nan))
            self._bodies[key] = body_of(value, block.mask)
        self._bodies.move_to_end(key)
        while len(self._bodies) > _KEPT:
            self._bodies.popitem(last=False)
        return self._bodies[key]

    def _blocks(self, volume: Volume, place: Sequence[int], look: Look) -> tuple[Block, Block, float]:
        """Fine and coarse block means, and the width of a picture that holds every view, in voxels."""
        key = _key(volume, place, look)
        if key not in self._kept:
            made = self._reduced(volume, place, look.limits)
            coarse = coarser(made)
            self._kept[key] = (made, coarse, _width(coarse))
        self._kept.move_to_end(key)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]

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
    starts = [np.arange(0, n, factor) for n in value.shape]

    def total(array: NDArray[Any]) -> NDArray[np.float32]:
        """Sum over blocks; the last along an axis may be smaller."""
        for axis, first in enumerate(starts):
            array = np.add.reduceat(array, first, axis=axis, dtype=np.float32)
        return array

    good = np.isfinite(value)
    count, size = total(good), total(np.ones(value.shape, np.bool_))
    sums = total(np.where(good, value, np.float32(0.0)))
    mean = np.divide(sums, count, out=np.full(sums.shape, np.nan, np.float32), where=count > 0)
    return mean, total(inside) / size


def coarser(block: Block) -> Block:
    """Block means of block means, for pictures while the mouse turns them."""
    factor = max(1, math.ceil(max(block.mask.shape) / COARSE))
    value, share = block_means(block.value, block.mask, factor, nearest=False)
    mask = share >= 0.5
    return Block(value, mask if mask.any() else share > 0, block.factor * factor)
