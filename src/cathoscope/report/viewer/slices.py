"""Slices of a volume, what may be trusted of them, and the spread of its values."""

from __future__ import annotations

import itertools
import math
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError
from cathoscope.report.viewer.library import Library, NotThere, Volume

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

OUTSIDE, UNTRUSTED, FIRST = 0, 1, 2  # what a pixel of a slice may say instead of a value
_LEVELS = 65535 - FIRST
_SAMPLE = 1_000_000  # voxels of which a range and a histogram are made
_BINS = 96
_TAIL = 0.5  # percent of the values beyond either end of the range
_OUTSIDE_FLAG = 100
_KEPT_SPREADS = 256


@dataclass(frozen=True)
class Spread:
    """Range and histogram of the values of a volume; ``voxels`` of ``of`` were looked at."""

    low: float
    high: float
    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    mean: float
    width: float
    voxels: int
    of: int


class Slices:
    """Values of volumes as they are shown: NaN where nothing can be trusted."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self._spreads: OrderedDict[tuple[Any, ...], Spread] = OrderedDict()
        self._lock = threading.Lock()

    def values(
        self, volume: Volume, place: Sequence[int], box: Sequence[slice], *, keep: bool = True
    ) -> tuple[Floats, Mask]:
        """Values in a box, NaN where there is none to be trusted, and where the particle is."""
        kind = volume.quantity.kind
        raw = self.library.blocks.region(volume.array, place, box, keep=keep)
        values = raw.astype(np.float32)
        flags = self._flags(volume, place, box, keep)
        if flags is not None:  # they say what lies outside too
            there, values[flags != 0] = flags != _OUTSIDE_FLAG, np.nan
        elif kind == "label":
            there = raw != 0
        elif kind == "flag":
            there = raw != _OUTSIDE_FLAG
        elif kind == "mask":
            there = raw.astype(np.bool_)
        else:
            inside = None if kind == "grey" else self.particle(volume, place, box, keep=keep)
            there = np.isfinite(values)
            there = there if inside is None else inside | there if volume.name.startswith("edge_jump") else inside
        values[~there] = np.nan
        return values, there

    def _companion(self, volume: Volume, name: str, place: Sequence[int]) -> tuple[Volume, tuple[int, ...]] | None:
        """Another volume of the measurement with the same voxels, and its place at the same conditions."""
        try:
            other = self.library.volume(volume.measurement, name)
        except CathoscopeError:
            return None
        where = dict(zip(volume.lead, place, strict=True))
        if other.space != volume.space or not set(other.lead) <= set(volume.lead):
            return None
        try:
            return other, other.place(where)
        except NotThere:
            return None

    def particle(self, volume: Volume, place: Sequence[int], box: Sequence[slice], *, keep: bool = True) -> Mask | None:
        """Where the particle is at the same conditions; None where no mask says so."""
        found = self._companion(volume, "particle_mask", place)
        if found is None:
            return None
        return self.library.blocks.region(found[0].array, found[1], box, keep=keep).astype(np.bool_)

    def _flags(self, volume: Volume, place: Sequence[int], box: Sequence[slice], keep: bool) -> NDArray[Any] | None:
        if volume.name not in ("white_line_energy", "white_line_energy_std"):
            return None
        found = self._companion(volume, "white_line_flag", place)
        return None if found is None else self.library.blocks.region(found[0].array, found[1], box, keep=keep)

    def slice(self, volume: Volume, place: Sequence[int], axis: str, index: int) -> tuple[Floats, Mask]:
        """The plane across ``axis`` at ``index``: rows and columns in the order of the axes left.

        Raises
        ------
        NotThere
            If there is no such axis or index.
        """
        box = [slice(0, n) for n in volume.space]
        if axis in volume.space_dims:
            across = volume.space_dims.index(axis)
            if not 0 <= index < volume.space[across]:
                raise NotThere(
                    f"there is no such {axis}", expected=f"0 to {volume.space[across] - 1}", found=str(index)
                )
            box[across] = slice(index, index + 1)
        elif len(volume.space) == 3 or axis != "z":
            raise NotThere("there is no such plane", expected=" or ".join(volume.space_dims), found=axis[:20])
        values, inside = self.values(volume, place, box)
        if len(volume.space) == 3:
            across = volume.space_dims.index(axis)
            values, inside = np.take(values, 0, across), np.take(inside, 0, across)
        return values, inside

    def spread(self, volume: Volume, place: Sequence[int]) -> Spread:
        """Range and histogram at one place of the axes in front; kept, for it does not change."""
        key = (volume.layout.folder, volume.layout.version, volume.name, tuple(place))
        with self._lock:
            found = self._spreads.get(key)
        if found is None:
            found = self._measured(volume, place)
            with self._lock:
                self._spreads[key] = found
                while len(self._spreads) > _KEPT_SPREADS:
                    self._spreads.popitem(last=False)
        return found

    def _measured(self, volume: Volume, place: Sequence[int]) -> Spread:
        boxes = sample_boxes(volume.space, volume.layout.block_shape)
        pieces = [self.values(volume, place, box, keep=False)[0] for box in boxes]
        values = np.concatenate([piece[np.isfinite(piece)] for piece in pieces]) if pieces else np.empty(0, np.float32)
        looked = sum(piece.size for piece in pieces)
        return spread_of(values, volume, looked)


def sample_boxes(space: Sequence[int], block: Sequence[int]) -> list[list[slice]]:
    """Blocks evenly over the volume that together hold about `_SAMPLE` voxels; all of a small one."""
    counts = [-(-n // size) for n, size in zip(space, block, strict=True)]
    every = 1
    while math.prod(-(-count // every) for count in counts) * math.prod(block) > _SAMPLE and every < max(counts):
        every += 1
    starts = [range(min(every // 2, count - 1), count, every) for count in counts]
    return [
        [slice(i * size, min((i + 1) * size, n)) for i, size, n in zip(place, block, space, strict=True)]
        for place in itertools.product(*starts)
    ]


def spread_of(values: NDArray[np.float32], volume: Volume, looked: int) -> Spread:
    """Range, histogram and moments of finite values."""
    quantity, whole = volume.quantity, math.prod(volume.space)
    if values.size == 0:
        return Spread(0.0, 1.0, np.array([0.0, 1.0]), np.zeros(1, np.int64), math.nan, math.nan, looked, whole)
    exact = values.astype(np.float64)
    if quantity.kind in ("mask", "label", "flag"):
        low, high = float(exact.min()), float(exact.max())
        low, high = (0.0, 1.0) if quantity.kind == "mask" else (low, max(high, low + 1))
        edges = np.arange(low - 0.5, high + 1.0) if high - low < 200 else np.linspace(low, high, _BINS + 1)
    else:
        low, high = (float(limit) for limit in np.percentile(exact, [_TAIL, 100 - _TAIL]))
        if quantity.middle:
            high = float(np.percentile(np.abs(exact), 100 - _TAIL))
            low = -high
        if not high > low:  # nearly all voxels have one value
            low, high = float(exact.min()), float(exact.max())
        if not high > low:
            low, high = low - 0.5 * (abs(low) or 1.0), low + 0.5 * (abs(low) or 1.0)
        margin = 0.08 * (high - low)
        edges = np.linspace(low - margin, high + margin, _BINS + 1)
    counts = np.histogram(exact, edges)[0]
    return Spread(low, high, edges, counts, float(exact.mean()), float(exact.std()), looked, whole)


def encoded(values: Floats, inside: Mask) -> bytes:
    """A slice for the browser: lowest and highest value (float64), rows and columns (int32), then 16 bits a pixel.

    A pixel is 0 outside, 1 where nothing can be trusted, else 2 to 65535 from the lowest to the highest value.
    """
    good = np.isfinite(values)
    low, high = (float(values[good].min()), float(values[good].max())) if good.any() else (0.0, 1.0)
    scale = _LEVELS / (high - low) if high > low else 0.0
    pixels = np.where(inside, UNTRUSTED, OUTSIDE).astype("<u2")
    pixels[good] = (FIRST + np.round((values[good].astype(np.float64) - low) * scale)).astype("<u2")
    head = np.array([low, high], "<f8").tobytes() + np.array(values.shape, "<i4").tobytes()
    return head + pixels.tobytes()


def indices_of(asked: Mapping[str, str], volume: Volume) -> tuple[int, ...]:
    """Place on the axes in front from what a browser asks for.

    Raises
    ------
    NotThere
        If it is not a number, or beyond the end.
    """
    return volume.place({dim: whole_number(asked[dim], dim) for dim in volume.lead if dim in asked})


def whole_number(text: str, name: str) -> int:
    """A whole number from text of at most nine digits.

    Raises
    ------
    NotThere
        If it is none.
    """
    if len(text) > 9 or not text.lstrip("-").isdecimal():
        raise NotThere(f"{name} is not a whole number", found=repr(text)[:40])
    return int(text)
