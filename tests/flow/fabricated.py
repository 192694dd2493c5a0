"""Scans of a ball in memory, with all that comes before reconstruction stated: steps can be called one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study, Work
from cathoscope.flow.graph import Context
from cathoscope.flow.raw import RawMeasurement
from cathoscope.flow.sections import MeasurementSection

PIXEL, RADIUS, FLATS = 0.1, 9.0, 10


class Listening(Silent):
    """A Progress that keeps the remarks."""

    def __init__(self) -> None:
        self.remarks: list[str] = []

    def remark(self, text: str) -> None:
        self.remarks.append(text)


@dataclass(frozen=True)
class Ball:
    """A homogeneous ball before a detector; lengths in px, one scan for every entry of ``attenuation`` (1/um)."""

    n_rows: int = 24
    n_columns: int = 32
    n_projections: int = 40
    attenuation: tuple[float, ...] = (0.5, 0.5, 0.6, 1.0, 0.9, 0.8, 0.85, 0.8, 0.82, 0.8)
    photons: float = 20000.0
    gain: float = 1.0
    drift: tuple[tuple[float, float, float], ...] = ()
    magnification: tuple[float, ...] = ()
    offset: float = 0.0
    jitter: float = 0.3

    @property
    def angle(self) -> np.ndarray:
        return np.arange(self.n_projections) * 180.0 / self.n_projections

    @property
    def energy(self) -> np.ndarray:
        return 8300.0 + 10.0 * np.arange(len(self.attenuation))

    def motion(self, e: int) -> tuple[float, tuple[float, float, float], np.ndarray]:
        """Magnification, drift and jitter [horizontal or vertical, projection] of a scan."""
        jitter = self.jitter * np.random.default_rng(100 + e).standard_normal((2, self.n_projections))
        drift = self.drift[e] if self.drift else (0.2 * np.sin(e), 0.1 * e - 0.4, 0.3 * np.cos(e))
        return (self.magnification[e] if self.magnification else 1.0), drift, jitter

    def depth(self, e: int) -> np.ndarray:
        """Optical depth [projection, row, column] by the closed form of a chord."""
        magnification, (dx, dy, dz), jitter = self.motion(e)
        theta = np.deg2rad(self.angle)
        swing = (3.0 + dx) * np.cos(theta) + (dy - 2.0) * np.sin(theta)
        column = np.arange(self.n_columns) - (0.5 * (self.n_columns - 1) + jitter[0] + magnification * swing)[:, None]
        row = np.arange(self.n_rows) - (0.5 * (self.n_rows - 1) + jitter[1] + magnification * dz)[:, None]
        distance = (row[:, :, None] ** 2 + column[:, None, :] ** 2) / magnification**2
        return 2.0 * np.sqrt(np.maximum(RADIUS**2 - distance, 0.0)) * self.attenuation[e] * PIXEL

    def inside(self) -> np.ndarray:
        """Whether a voxel [z, y, x] of the aligned volume lies in the ball."""
        z = np.arange(self.n_rows) - 0.5 * (self.n_rows - 1)
        y = np.arange(self.n_columns) - 0.5 * (self.n_columns - 1)
        return z[:, None, None] ** 2 + (y[:, None] + 2.0) ** 2 + (y - 3.0) ** 2 < RADIUS**2

    def scan(self, e: int) -> xr.Dataset:
        """Counts of one energy as a reader opens them; each flat and dark is exact."""
        light = self.photons * np.exp(-self.depth(e) - self.offset)
        counts = self.gain * np.random.default_rng(e).poisson(light).astype(np.float32)
        shape = (self.n_rows, self.n_columns)
        flat = np.broadcast_to(np.float32(self.gain * self.photons), (FLATS, *shape))
        frames = {"counts": counts, "flat": flat, "dark": np.zeros((1, *shape), np.float32)}
        arrays = [
            label("counts", frames["counts"], ("projection", "row", "column")),
            label("flat_counts", frames["flat"], ("flat", "row", "column")),
            label("dark_counts", frames["dark"], ("dark", "row", "column")),
            label("angle", self.angle, ("projection",)),
        ]
        scan = dataset(arrays, source=f"/beamline/scan_{e}.h5", digest=str(e), pixel_size=PIXEL)
        return scan.assign_coords(energy=label("energy", self.energy[e], ()))

    def geometry(self) -> xr.Dataset:
        """What the steps before reconstruction would have found."""
        motions = [self.motion(e) for e in range(len(self.attenuation))]
        coords = {"temperature": label("temperature", np.array([25.0]), ("temperature",))}
        coords["energy"] = label("energy", self.energy, ("energy",))
        condition, count = ("temperature", "energy"), len(motions)
        detector = ("temperature", "row", "column")
        values: dict[str, tuple[Any, tuple[str, ...]]] = {
            "bad_pixel_mask": (np.zeros((1, self.n_rows, self.n_columns), bool), detector),
            "stripe_offset": (np.full((1, self.n_rows, self.n_columns), self.offset, np.float32), detector),
            "beam_intensity": (np.ones((1, count, self.n_projections)), (*condition, "projection")),
            "rotation_axis": (np.full((1, count), 0.5 * (self.n_columns - 1)), condition),
            "magnification": (np.array([[one[0] for one in motions]]), condition),
            "specimen_shift": (PIXEL * np.array([[one[1] for one in motions]]), (*condition, "axis")),
            "projection_shift": (np.array([[one[2][0] for one in motions]]), (*condition, "projection")),
            "vertical_shift": (np.array([[one[2][1] for one in motions]]), (*condition, "projection")),
        }
        return dataset([label(name, array, dims, coords=coords) for name, (array, dims) in values.items()])

    def context(self, study: Study, *, threads: int = 1, memory: float = 2e9, **tomography: Any) -> Context:
        """All scans at one temperature, and the recipe's choices in ``tomography``."""
        section = MeasurementSection(
            sample="ball", technique="xanes-tomography", files=["x"], pixel_size="100 nm", tomography=tomography
        )
        data = self.geometry()
        raw = RawMeasurement(
            "ball",
            section,
            ("temperature", "energy"),
            {name: data[name] for name in ("temperature", "energy")},
            {(0, e): self.scan(e) for e in range(len(self.attenuation))},
        )
        resources = Resources(threads=threads, memory=memory)
        work = Work(study, "result", "ball", "address")
        return Context("ball", raw, data, section, study.path, (), work, resources, Listening())


def knowing(context: Context, data: xr.Dataset) -> Context:
    """The same after a step has made ``data``."""
    return replace(context, data=xr.merge([context.data, data], compat="override", join="left"))


def result(context: Context, study: Study, names: Sequence[str]) -> xr.Dataset:
    """What a step filled slab by slab, in memory."""
    context.work.commit()
    return study.read("result", "ball", names).load()
