"""Flats of all energies of a temperature together, so that their noise does not become rings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.parallel import run_slabs
from cathoscope.core.study import NewArray
from cathoscope.flow.graph import RAW, Context, Step
from cathoscope.flow.raw import ScanIndex
from cathoscope.flow.steps.projections import at_temperature, blocks_of, n_columns_of, n_rows_of
from cathoscope.tomography.flats import (
    FEWEST_ENERGIES,
    FlatSeries,
    OpenBeam,
    deviation_of_flats,
    flat_offset_from_series,
    flat_series,
    open_beam_from_flats,
)

_ROWS = 64  # of the detector that are read at once
_LEAST_BEAM = 0.05  # of the median: with less a pixel tells nothing
Floats64 = NDArray[np.float64]


def flat_offsets(context: Context) -> None:
    """What noise of the flats adds to the optical depth of every scan, from the flats of its temperature."""
    raw, work = context.raw, context.work
    shape = (*raw.shape, n_rows_of(raw.first), n_columns_of(raw.first))
    work.prepare([NewArray("flat_offset", (*raw.dims, "row", "column"), shape)], raw.coords)
    conditions = list(np.ndindex(raw.shape[:-1]))
    context.progress.start(f"{context.name}: flats", len(conditions), "temperatures")

    def one(condition: ScanIndex) -> None:
        """Offsets of one temperature, unless a killed run has made them."""
        key = "-".join(map(str, ("flats", *condition)))
        if not work.is_done(key):
            for rows, offset in _offsets(_Flats(context, condition)):
                work.store("flat_offset", (*condition, slice(None), rows), offset)
            work.mark_done(key)
        context.progress.advance()

    run_slabs(one, conditions, threads=context.resources.threads)
    context.progress.finish()


@dataclass(frozen=True)
class _Flats:
    """The flats of one temperature."""

    context: Context
    condition: ScanIndex

    @property
    def energies(self) -> list[int]:
        """Those that have flats and darks of their own."""
        scans = self.context.raw.scans
        there = (e for e in range(self.context.raw.shape[-1]) if (*self.condition, e) in scans)
        return [e for e in there if {"flat_counts", "dark_counts"} <= set(scans[(*self.condition, e)].variables)]

    @property
    def can_be_shared(self) -> bool:
        """Whether the recipe wants it and there are enough."""
        return self.context.section.tomography.flats == "shared" and len(self.energies) >= FEWEST_ENERGIES

    def read(self, rows: slice) -> list[OpenBeam]:
        """Some rows of the flats of all energies."""
        bad = at_temperature(self.context, "bad_pixel_mask", (*self.condition, 0))[rows]
        found = []
        for e in self.energies:
            scan = self.context.raw.scans[(*self.condition, e)]
            flat, dark = (np.asarray(scan[name][:, rows].values) for name in ("flat_counts", "dark_counts"))
            found.append(open_beam_from_flats(flat=flat, dark=dark, good=~bad))
        return found

    def good(self, rows: slice, beams: list[OpenBeam], level: Floats64) -> NDArray[np.bool_]:
        """Pixels that see the beam at all energies."""
        bad = at_temperature(self.context, "bad_pixel_mask", (*self.condition, 0))[rows]
        dark = [beam.unstruck <= _LEAST_BEAM * one for beam, one in zip(beams, level, strict=True)]
        return np.asarray(~bad & ~np.any(dark, axis=0))


def _offsets(flats: _Flats) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Offsets [energy, row, column] of block after block of rows, zero where there is nothing to share."""
    raw = flats.context.raw
    n_rows = n_rows_of(raw.first)
    series = _series(flats, n_rows) if flats.can_be_shared else None
    for rows in blocks_of(slice(0, n_rows), _ROWS):
        offset = np.zeros((raw.shape[-1], rows.stop - rows.start, n_columns_of(raw.first)), dtype=np.float32)
        if series is not None:
            beams = flats.read(rows)
            offset[flats.energies] = flat_offset_from_series(series, beams, flats.good(rows, beams, series.level))
        yield rows, offset


def _series(flats: _Flats, n_rows: int) -> FlatSeries | None:
    """What the flats have in common; None where their noise is not known, or no pixel sees the beam."""
    start = max((n_rows - _ROWS) // 2, 0)
    middle = flats.read(slice(start, min(start + _ROWS, n_rows)))
    level = np.array([max(float(np.median(beam.mean)), 0.0) for beam in middle])
    frames = np.array([float(beam.frames) for beam in middle])
    noise = np.array([beam.noise for beam in middle])
    if not (np.isfinite(noise).all() and (level > 0).all()):
        return None
    products, count = np.zeros((level.size, level.size)), 0
    for rows in blocks_of(slice(0, n_rows), _ROWS):
        beams = flats.read(rows)
        good = flats.good(rows, beams, level)
        deviation = deviation_of_flats(np.stack([beam.unstruck for beam in beams]), level, frames, good)[:, good]
        products += deviation @ deviation.T
        count += int(good.sum())
    if count < level.size:
        return None
    return flat_series(products=products, n_pixels=count, level=level, frames=frames, noise=float(np.median(noise)))


STEP = Step(
    "flats",
    flat_offsets,
    needs=(RAW, "bad_pixel_mask"),
    makes=("flat_offset",),
    choices=("tomography",),
)
