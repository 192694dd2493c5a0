"""Ready-made virtual studies: `simulate` writes the raw files of one and returns its truth."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core import schema
from cathoscope.core.errors import CathoscopeError
from cathoscope.core.parallel import Progress, Silent, run_slabs
from cathoscope.virtual.fxi import FIRST_SCAN_ID, FIRST_SCAN_TIME, SECONDS_PER_SCAN, ScanHeader, ScanImages, write_scan
from cathoscope.virtual.specimen import Grid, SpheresSpecimen
from cathoscope.virtual.spheres import spheres
from cathoscope.virtual.truth import Windows, instrument_truth, volume_truth
from cathoscope.virtual.txm import (
    Detector,
    Scan,
    TxmOptions,
    dark_counts,
    draw_detector,
    draw_scan,
    flat_counts,
    projection_counts,
)

T = TypeVar("T")

_FIELD_OF_VIEW = 32.0  # um
_LARGEST_TRUTH = 2e8  # bytes of attenuation worth keeping; beyond, the maps of the specimen suffice
# Kinds of random numbers; each has its own stream, so that one does not depend on how many another took.
_DETECTOR, _MOTION, _COUNTS, _IDENTITY = range(4)


@dataclass(frozen=True)
class Size:
    """Pixels of the detector and projections per scan."""

    columns: int
    rows: int
    projections: int

    @property
    def grid(self) -> Grid:
        """The detector's grid; the field of view stays the same."""
        return Grid(self.columns, self.rows, _FIELD_OF_VIEW / self.columns)


SIZES: Mapping[str, Size] = MappingProxyType(
    {"tiny": Size(40, 20, 60), "small": Size(80, 40, 120), "medium": Size(256, 128, 360), "large": Size(512, 256, 720)}
)


@dataclass(frozen=True)
class Preset:
    """A virtual study: what is measured, at which energies (eV), and how its edge jump is defined."""

    meaning: str
    build: Callable[[], SpheresSpecimen]
    energies: tuple[float, ...]
    windows: Windows


_ENERGIES = (
    *(8300.0, 8310.0, 8320.0, 8328.0, 8333.0, 8336.0, 8338.0),
    *(float(energy) for energy in range(8340, 8357)),
    *(8359.0, 8363.0, 8370.0, 8380.0, 8390.0, 8400.0),
)
_WINDOWS = Windows(below=(8295.0, 8330.0), above=(8375.0, 8405.0))

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "spheres": Preset(
            "five oxide spheres at two temperatures; spectra are an arctangent edge and Gaussian lines",
            spheres,
            _ENERGIES,
            _WINDOWS,
        ),
        "spheres-asymmetric": Preset(
            "the same with a shoulder on the white line, which no single Gaussian can follow",
            partial(spheres, asymmetry=0.5),
            _ENERGIES,
            _WINDOWS,
        ),
    }
)


@dataclass(frozen=True)
class SimulatedStudy:
    """Raw files of a virtual study and what an analysis should find in them.

    Attributes
    ----------
    measurement
        Name of the one measurement.
    files
        Raw files, absolute, per temperature (degC) in the order of ``energies``.
    patterns
        The same as one glob per temperature, relative to the folder of the study.
    pixel_size
        Detector pixel and voxel, um.
    energies
        eV.
    windows
        Definition of the true edge jump.
    truth
        Per measurement a Dataset with names, dims and units of the results.
    """

    measurement: str
    files: Mapping[float, tuple[Path, ...]]
    patterns: Mapping[float, str]
    pixel_size: float
    energies: tuple[float, ...]
    windows: Windows
    truth: Mapping[str, xr.Dataset]


def simulate(
    preset: str,
    *,
    size: str,
    seed: int,
    folder: Path,
    progress: Progress | None = None,
    overrides: TxmOptions | None = None,
    threads: int = 1,
) -> SimulatedStudy:
    """Write the raw files of a virtual study below ``folder/raw`` and return its truth.

    Files of an earlier simulation are overwritten; the same preset, size, seed and options give the same bytes,
    whatever the number of threads.

    Parameters
    ----------
    preset, size
        Keys of `PRESETS` and `SIZES`.
    seed
        Not negative.
    folder
        Folder of the study, made if it is not there.
    progress
        Told about every scan.
    overrides
        The instrument, if not the default one.
    threads
        Scans that are made at the same time.

    Raises
    ------
    CathoscopeError
        If the preset, the size or the seed is not known or the specimen leaves the field of view.
    StudyError
        If the folder cannot be written.
    """
    plan = _Plan.make(preset, size=size, seed=seed, options=overrides or TxmOptions())
    jobs = [(t, e) for t in range(len(plan.specimen.temperatures)) for e in range(len(plan.energies))]
    progress = progress or Silent()
    progress.start(f"simulating {preset}", len(jobs), "scan")

    def work(job: tuple[int, int]) -> None:
        """Write one scan."""
        _write_one(plan, folder, *job)
        progress.advance(1)

    run_slabs(work, jobs, threads=threads)
    progress.finish()
    return _summary(plan, folder)


@dataclass(frozen=True)
class _Plan:
    """Everything that is drawn before the first photon."""

    name: str
    specimen: SpheresSpecimen
    grid: Grid
    energies: NDArray[np.float64]
    windows: Windows
    options: TxmOptions
    seed: int
    detector: Detector
    scans: tuple[tuple[Scan, ...], ...]  # by temperature, then energy

    @classmethod
    def make(cls, name: str, *, size: str, seed: int, options: TxmOptions) -> _Plan:
        """A plan, with every word and number of the user checked."""
        preset, dimensions = (
            _choose("preset", name, PRESETS, "simulate spheres"),
            _choose("size", size, SIZES, "--size small"),
        )
        if seed < 0:
            raise CathoscopeError("a seed cannot be negative", found=str(seed), cure="--seed 1")
        specimen, grid = preset.build(), dimensions.grid
        specimen.require_within(grid, sideways=options.largest_axis_offset)
        detector = draw_detector(grid, options, _stream(seed, _DETECTOR))
        scans = tuple(
            tuple(
                draw_scan(grid, dimensions.projections, options, _stream(seed, _MOTION, t, e))
                for e in range(len(preset.energies))
            )
            for t in range(len(specimen.temperatures))
        )
        return cls(name, specimen, grid, np.array(preset.energies), preset.windows, options, seed, detector, scans)

    def header(self, t: int, e: int) -> ScanHeader:
        """Header of the scan of one temperature and energy index."""
        number = t * len(self.energies) + e
        identity = uuid.UUID(bytes=_stream(self.seed, _IDENTITY, t, e).bytes(16), version=4)
        return ScanHeader(
            scan_id=FIRST_SCAN_ID + number,
            energy=float(self.energies[e]),
            pixel_size=self.grid.pixel_size,
            uid=str(identity),
            time=FIRST_SCAN_TIME + SECONDS_PER_SCAN * number,
            note=f"virtual experiment {self.name}, seed {self.seed}, {self.specimen.temperatures[t]:g} C",
        )

    def folder(self, t: int) -> Path:
        """Folder of one temperature's files, relative to that of the study."""
        return Path("raw") / f"{self.name}_{self.specimen.temperatures[t]:03.0f}C"


def _choose(what: str, name: str, known: Mapping[str, T], cure: str) -> T:
    if name not in known:
        raise CathoscopeError(f"unknown {what} {name!r}", expected=" or ".join(known), cure=cure)
    return known[name]


def _stream(*key: int) -> np.random.Generator:
    """Random numbers of their own for every key."""
    return np.random.default_rng(np.random.SeedSequence(key))


def _write_one(plan: _Plan, folder: Path, t: int, e: int) -> None:
    """Make and write the scan of one temperature and energy index."""
    scan, rng = plan.scans[t][e], _stream(plan.seed, _COUNTS, t, e)
    flats = flat_counts(scan, plan.detector, plan.options, rng)
    darks = dark_counts(plan.detector, plan.options, rng)
    projections = projection_counts(
        plan.specimen,
        plan.grid,
        scan,
        plan.detector,
        attenuation=plan.specimen.attenuation(t, plan.energies[e]),
        options=plan.options,
        rng=rng,
    )
    write_scan(folder / plan.folder(t), plan.header(t, e), ScanImages(scan.angles, projections, flats, darks))


def _summary(plan: _Plan, folder: Path) -> SimulatedStudy:
    """Names of all files, and the truth."""
    temperatures, count = plan.specimen.temperatures, len(plan.energies)
    files = {
        temperature: tuple((folder / plan.folder(t) / plan.header(t, e).file_name).resolve() for e in range(count))
        for t, temperature in enumerate(temperatures)
    }
    size = 4.0 * len(temperatures) * count * np.prod(plan.grid.shape)
    arrays = volume_truth(
        plan.specimen,
        plan.grid,
        energies=plan.energies,
        windows=plan.windows,
        with_attenuation=bool(size <= _LARGEST_TRUTH),
    )
    arrays += instrument_truth(plan.scans, plan.detector, temperatures=temperatures, energies=plan.energies)
    return SimulatedStudy(
        measurement=plan.name,
        files=files,
        patterns={
            temperature: f"{plan.folder(t).as_posix()}/fly_scan_id_*.h5" for t, temperature in enumerate(temperatures)
        },
        pixel_size=plan.grid.pixel_size,
        energies=tuple(map(float, plan.energies)),
        windows=plan.windows,
        truth={plan.name: schema.dataset(arrays)},
    )
