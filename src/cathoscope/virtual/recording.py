"""A whole series of scans, from the specimen to the files on disk, within bounded memory.

Temperatures come one after another. For each, slabs of detector rows: the line integrals of the rows that the slab
shows are taken once, then every energy is detected, exposed and written to its own file. Neither the number of
threads nor the memory setting changes a byte: noise has a stream of its own for every scan and ``SLAB_ROWS`` rows.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError
from cathoscope.core.parallel import SLAB_ROWS, Progress, Resources, Silent, run_slabs
from cathoscope.core.study import Study, write_failure
from cathoscope.virtual.microscope import (
    FINE,
    Object,
    Optics,
    Series,
    View,
    Window,
    blur_of,
    detect_together,
    draw_views,
    rows_needed,
)
from cathoscope.virtual.projector import project_rows
from cathoscope.virtual.specimen import Grid
from cathoscope.virtual.txm import Detector, Frames, TxmOptions, dark_counts, draw_detector, expose, flat_counts

_BATCH = 8  # rows of the fine grid that are projected together
_TOGETHER = 4  # energies for which the line integrals are fetched from memory once
# Memory of a batch while it is made, in units of its slices (their materials, places and copies), and of the program.
_IN_WORK, _PROGRAM = 3.0, 3.7e8
_HEADER_BYTES = 16_384  # names and small values of one file, generously
# Kinds of random numbers; each has its own stream, so that one does not depend on how many another took.
_DETECTOR, _VIEWS, _FRAMES, _COUNTS, _IDENTITY = range(5)


class Layout(Protocol):
    """A file format: where the scans of a series go, and what is in a file besides the projections."""

    def path(self, temperature: int, energy: int) -> Path:
        """File of one scan."""
        ...

    def begin(self, file: h5py.File, temperature: int, energy: int, frames: Frames) -> h5py.Dataset:
        """Write all of a scan but its projections; the array (projection, row, column) that they go into."""
        ...

    def finished(self, temperature: int) -> bool:
        """Whether an earlier run that was stopped has left all files of a temperature, made the same way."""
        ...


@dataclass(frozen=True)
class Recording:
    """An instrument and everything it will do during a series; ``views`` are by temperature and energy.

    ``seed`` is a key of one or more numbers: give samples and particles numbers of their own.
    """

    grid: Grid
    series: Series
    optics: Optics
    options: TxmOptions
    seed: tuple[int, ...]
    detector: Detector
    views: tuple[tuple[View, ...], ...]

    @classmethod
    def draw(
        cls, grid: Grid, series: Series, *, optics: Optics, options: TxmOptions, seed: tuple[int, ...]
    ) -> Recording:
        """Draw the detector and all motions.

        Raises
        ------
        CathoscopeError
            If the beam would saturate the detector.
        """
        detector = draw_detector(grid, options, _stream(seed, _DETECTOR))
        views = draw_views(grid, series, optics, options, rng=_stream(seed, _VIEWS))
        return cls(grid, series, optics, options, seed, detector, views)

    @property
    def stated_energies(self) -> NDArray[np.float64]:
        """Energies (eV) that the files state, shape (temperature, energy)."""
        return np.array([[view.recorded_energy for view in row] for row in self.views])

    @property
    def stated_pixel_sizes(self) -> NDArray[np.float64]:
        """Sizes of a pixel at the specimen (um) that the files state, shape (temperature, energy)."""
        true = np.array([[view.magnification for view in row] for row in self.views])
        return self.grid.pixel_size / (true if self.optics.magnification_reported else np.ones_like(true))

    @property
    def identities(self) -> np.random.Generator:
        """Random numbers for the files' identifiers."""
        return _stream(self.seed, _IDENTITY)

    @property
    def sideways(self) -> float:
        """Largest distance (pixels) of the specimen's own axis from the detector's middle in any projection."""
        return max(float(np.abs(view.shifts(self.grid)[:, 0]).max()) for row in self.views for view in row)

    @property
    def bytes_on_disk(self) -> int:
        """Size of all files, never less than what they will take."""
        pixels = self.grid.rows * self.grid.columns
        images = self.series.projections + self.options.flats + self.options.darks
        scan = 2 * images * pixels + 2 * 4 * pixels + 8 * self.series.projections + _HEADER_BYTES
        return scan * len(self.series.energies) * self.series.temperatures


def announce(study: Study, needed: int, progress: Progress) -> None:
    """Say how large a study will be, and refuse it if there is no room."""
    progress.remark(f"up to {needed / 1e9:.3g} GB will be written to {study.path.parent}")
    require_space(study.path.parent, needed)


def require_space(folder: Path, needed: int) -> None:
    """Check that ``needed`` bytes fit on the disk of ``folder``, which need not exist yet.

    Raises
    ------
    CathoscopeError
        Saying how much is needed, how much is free and what to type instead.
    """
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise CathoscopeError(
            "the raw files do not fit on the disk",
            where=folder,
            expected=f"{needed / 1e9:.3g} GB free",
            found=f"{free / 1e9:.3g} GB free",
            cure="a smaller --size, fewer --particles, or -o with a folder on another disk",
        )


def record(
    specimen: Object,
    recording: Recording,
    layout: Layout,
    *,
    resources: Resources | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the files of a whole series; each gets its name when it is whole. Temperatures that are finished stay.

    Parameters
    ----------
    specimen
        On the fine grid: twice as many columns and rows as the detector.
    recording
        The instrument.
    layout
        The file format, with the places and headers of all scans.
    resources
        Threads, and bytes for the line integrals and slices in flight; a slab has at least 8 rows whatever this is.
    progress
        Told about every batch of line integrals and every slab of every scan.

    Raises
    ------
    StudyError
        If a file cannot be written.
    """
    resources, progress = resources or Resources(), progress or Silent()
    slabs = _slabs(recording, specimen.components, resources)
    plans = [_plan(recording, temperature, slabs) for temperature in range(recording.series.temperatures)]
    scans = len(recording.series.energies)
    progress.start("exposing", sum(len(slab.new) + scans for plan in plans for slab in plan), "step")
    for temperature, plan in enumerate(plans):
        if layout.finished(temperature):
            progress.advance(sum(len(slab.new) + scans for slab in plan))
            continue
        with _open_scans(recording, layout, temperature) as write:
            _expose_temperature(_Exposure(specimen, recording, temperature, write, resources.threads, progress), plan)
    progress.finish()


def _slabs(recording: Recording, components: int, resources: Resources) -> list[slice]:
    """Rows of the detector in slabs of equal thickness, a multiple of ``SLAB_ROWS``, that fit into memory."""
    columns = FINE * recording.grid.columns
    batch = _IN_WORK * 4 * _BATCH * columns * columns * components
    row = 4 * FINE * recording.series.projections * columns * components
    blur = blur_of(recording.optics, recording.grid)
    middle = slice(recording.grid.rows // 2, recording.grid.rows // 2 + 1)
    halo = max(_height(rows_needed(views, recording.grid, middle, blur)) / FINE for views in recording.views)
    shown = 4 * _TOGETHER * resources.threads * recording.series.projections * recording.grid.columns
    affordable = (resources.memory - _PROGRAM - resources.threads * batch - row * halo) / (row + shown)
    most = max(int(affordable) // SLAB_ROWS, 1)
    blocks = -(-recording.grid.rows // SLAB_ROWS)
    thick = SLAB_ROWS * -(-blocks // -(-blocks // most))
    return [slice(start, min(start + thick, recording.grid.rows)) for start in range(0, recording.grid.rows, thick)]


def _height(rows: slice) -> int:
    return int(rows.stop - rows.start)


@dataclass(frozen=True)
class _Slab:
    """Rows of the detector, the rows of the fine grid that they show, and which of those are new, in batches."""

    rows: slice
    stored: slice
    new: tuple[slice, ...]


def _plan(recording: Recording, temperature: int, slabs: list[slice]) -> list[_Slab]:
    """What to project for every slab; line integrals that the slab before had too are kept."""
    blur, last, plan = blur_of(recording.optics, recording.grid), 0, []
    for rows in slabs:
        stored = rows_needed(recording.views[temperature], recording.grid, rows, blur)
        starts = range(max(last, stored.start), stored.stop, _BATCH)
        new = tuple(slice(start, min(start + _BATCH, stored.stop)) for start in starts)
        plan.append(_Slab(rows, stored, new))
        last = stored.stop
    return plan


@dataclass(frozen=True)
class _Exposure:
    """One temperature's scans while they are made; ``write`` takes (energy, rows, counts)."""

    specimen: Object
    recording: Recording
    temperature: int
    write: Callable[[int, slice, NDArray[np.uint16]], None]
    threads: int
    progress: Progress

    @property
    def views(self) -> tuple[View, ...]:
        """The scans of this temperature."""
        return self.recording.views[self.temperature]


def _expose_temperature(exposure: _Exposure, plan: list[_Slab]) -> None:
    """All slabs from bottom to top."""
    recording, count = exposure.recording, len(exposure.views)
    blur = blur_of(recording.optics, recording.grid)
    shape = (recording.series.projections, max(_height(slab.stored) for slab in plan))
    components = np.zeros((*shape, exposure.specimen.components, FINE * recording.grid.columns), dtype=np.float32)
    weights = exposure.specimen.weights(exposure.temperature, np.array([view.energy for view in exposure.views]))
    groups = [slice(start, min(start + _TOGETHER, count)) for start in range(0, count, _TOGETHER)]
    before = slice(0, 0)
    for slab in plan:
        kept = max(before.stop - slab.stored.start, 0)
        components[:, :kept] = components[:, slab.stored.start - before.start : before.stop - before.start]
        components[:, kept:] = 0
        project = partial(_add_line_integrals, exposure, components, slab.stored.start)
        run_slabs(project, slab.new, threads=exposure.threads)
        window = Window(recording.grid, slab.rows, slice(slab.stored.start, slab.stored.start + shape[1]))
        expose_group = partial(_expose_slab, exposure, components, weights, window, blur)
        run_slabs(expose_group, groups, threads=exposure.threads)
        before = slab.stored


def _add_line_integrals(exposure: _Exposure, components: NDArray[np.float32], first_stored: int, batch: slice) -> None:
    """Project some rows of the fine grid into ``components``, whose first row is ``first_stored``."""
    slices = exposure.specimen.slices(exposure.temperature, batch)
    project_rows(slices, exposure.views[0].scan.angles, components, batch.start - first_stored)
    exposure.progress.advance(1)


def _expose_slab(
    exposure: _Exposure,
    components: NDArray[np.float32],
    weights: NDArray[np.float64],
    window: Window,
    blur: NDArray[np.float64],
    energies: slice,
) -> None:
    """Detect, expose and write some rows of some scans."""
    transmitted = detect_together(components, weights[energies], exposure.views[energies], window, blur)
    for energy, passed in zip(range(energies.start, energies.stop), transmitted, strict=True):
        exposure.write(energy, window.rows, _counts(exposure, energy, window.rows, passed))
        exposure.progress.advance(1)


def _counts(exposure: _Exposure, energy: int, rows: slice, passed: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Counts of some rows of one scan."""
    recording, beam = exposure.recording, exposure.views[energy].scan.beam
    counts = np.empty(passed.shape, dtype=np.uint16)
    for start in range(rows.start, rows.stop, SLAB_ROWS):
        block = slice(start, min(start + SLAB_ROWS, rows.stop))
        local = slice(block.start - rows.start, block.stop - rows.start)
        detector = recording.detector.part(block)
        rng = _stream(recording.seed, _COUNTS, exposure.temperature, energy, start)
        response = detector.projection_response * passed[:, local]
        counts[:, local] = expose(response, beam, detector, recording.options, rng)
    return counts


@contextmanager
def _open_scans(
    recording: Recording, layout: Layout, temperature: int
) -> Iterator[Callable[[int, slice, NDArray[np.uint16]], None]]:
    """Open all files of one temperature; they get their names at the end if nothing failed, and vanish otherwise.

    The file library is not made for several threads, hence the lock.
    """
    lock = threading.Lock()
    paths = [layout.path(temperature, energy) for energy in range(len(recording.series.energies))]
    unfinished: list[Path] = []
    path = paths[0]
    try:
        with ExitStack() as files:
            arrays = []
            for energy, path in enumerate(paths):
                path.parent.mkdir(parents=True, exist_ok=True)
                unfinished.append(path.with_name(path.name + ".part"))
                file = files.enter_context(h5py.File(unfinished[-1], "w"))
                arrays.append(layout.begin(file, temperature, energy, _frames(recording, temperature, energy)))

            def write(energy: int, rows: slice, counts: NDArray[np.uint16]) -> None:
                """Counts of some rows of one energy; files are written by one thread at a time."""
                with lock:
                    arrays[energy][:, rows] = counts

            yield write
        for part, path in zip(unfinished, paths, strict=True):
            os.replace(part, path)
    except OSError as error:
        raise write_failure(path, error) from error
    finally:
        for part in unfinished:
            part.unlink(missing_ok=True)


def _frames(recording: Recording, temperature: int, energy: int) -> Frames:
    """Angles, flats and darks of one scan."""
    scan, rng = recording.views[temperature][energy].scan, _stream(recording.seed, _FRAMES, temperature, energy)
    flats = flat_counts(scan, recording.detector, recording.options, rng)
    return Frames(scan.angles, flats, dark_counts(recording.detector, recording.options, rng))


def _stream(seed: tuple[int, ...], *key: int) -> np.random.Generator:
    """Random numbers of their own for every key."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
