"""What a study has to show, found by its listing: no path is ever made from what a browser sends."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError, StudyError
from cathoscope.core.study import Study
from cathoscope.report.style import unit_text
from cathoscope.report.viewer.chunks import Blocks, Combination, Layout, Stored, layout_of, read_layout
from cathoscope.report.viewer.quantities import Quantity, order_of, quantity_of

Array = NDArray[Any]

GROUPS = ("result", "truth")
_MOST_SMALL_BYTES = 64 << 20
_MOST_CONDITIONS = 2000
_FRESH = 1.0  # s that a listing of a folder holds


class NotThere(CathoscopeError):
    """Something was asked for that the study does not have."""


@dataclass(frozen=True)
class Volume:
    """An array with voxels: ``dims`` and ``shape`` as the viewer sees them, ``lead`` those in front of z, y, x."""

    measurement: str
    name: str
    array: Stored
    lead: tuple[str, ...]
    lead_shape: tuple[int, ...]
    space: tuple[int, ...]

    @property
    def layout(self) -> Layout:
        """The layout of what is on disk."""
        return layout_of(self.array)

    @property
    def quantity(self) -> Quantity:
        """How it is shown."""
        return quantity_of(self.name, self.layout.dtype, self.attributes)

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the array; those of another one do not hold for a combination."""
        return {} if isinstance(self.array, Combination) else dict(self.layout.attributes)

    @property
    def space_dims(self) -> tuple[str, ...]:
        """``z, y, x`` or ``y, x``."""
        return ("z", "y", "x")[-len(self.space) :]

    def place(self, indices: Mapping[str, int]) -> tuple[int, ...]:
        """Index along every axis in front; what is not said is the first.

        Raises
        ------
        NotThere
            If an index is beyond the end.
        """
        found = tuple(int(indices.get(dim, 0)) for dim in self.lead)
        for dim, index, n in zip(self.lead, found, self.lead_shape, strict=True):
            if not 0 <= index < n:
                raise NotThere(f"there is no such {dim}", expected=f"an index from 0 to {n - 1}", found=str(index))
        return found


class Library:
    """The arrays of one study by name; every name is looked up in the listing of its folder."""

    def __init__(self, study: Study, blocks: Blocks | None = None) -> None:
        self.study = study
        self.root = study.path.resolve()
        self.blocks = blocks or Blocks()
        self._combinations: dict[str, Combination] = {}
        self._listings: dict[Path, tuple[float, list[str]]] = {}

    # -- listing ---------------------------------------------------------------------------------

    def measurements(self) -> list[str]:
        """``result/NAME`` and ``truth/NAME`` of everything that has arrays."""
        listed = ((group, name) for group in GROUPS for name in self._listing(self.root / group))
        return [f"{group}/{name}" for group, name in listed if name != "at_instrument"]

    def arrays(self, measurement: str) -> list[str]:
        """Names of the arrays of a measurement.

        Raises
        ------
        NotThere
            If there is no such measurement.
        """
        return self._listing(self._folder(measurement))

    def _listing(self, folder: Path) -> list[str]:
        """Names in a folder that are arrays or groups and do not lead out of the study; looked at once a second."""
        now = time.monotonic()
        known = self._listings.get(folder)
        if known is None or now - known[0] > _FRESH:
            names = sorted(os.listdir(folder)) if folder.is_dir() else []
            known = self._listings[folder] = now, [name for name in names if self._is_ours(folder, name)]
        return known[1]

    def _is_ours(self, folder: Path, name: str) -> bool:
        entry = os.path.join(folder, name)
        described = os.path.join(entry, "zarr.json")
        if not os.path.isfile(described):
            return False
        if any(os.path.islink(part) for part in (folder, entry, described)):
            return Path(described).resolve().is_relative_to(self.root)
        return True

    def _folder(self, measurement: str) -> Path:
        group, _, name = measurement.partition("/")
        folder = self.root / group if group in GROUPS else None
        if folder is None or name not in self._listing(folder):
            raise NotThere(
                "this study has no such measurement",
                found=repr(measurement)[:80],
                expected=", ".join(self.measurements()) or "none is there yet",
            )
        return folder / name

    def layout(self, measurement: str, name: str) -> Layout:
        """Layout of one array.

        Raises
        ------
        NotThere
            If there is none.
        StudyError
            If it cannot be read.
        """
        folder = self._folder(measurement)
        if name not in self._listing(folder):
            raise NotThere(
                f"{measurement} has no such array", found=repr(name)[:80], cure="choose another quantity, or reload"
            )
        return read_layout(folder / name)

    # -- small arrays ----------------------------------------------------------------------------

    def values(self, measurement: str, name: str) -> Array | None:
        """All values of a small array, None if there is none.

        Raises
        ------
        StudyError
            If it is not small, or damaged.
        """
        if name not in self.arrays(measurement):
            return None
        layout = self.layout(measurement, name)
        if math.prod(layout.shape) * layout.dtype.itemsize > _MOST_SMALL_BYTES:
            raise StudyError("this array is too large to be drawn as a curve", where=layout.folder)
        flat = replace(layout, dims=tuple(f"_{dim}" for dim in layout.dims))
        return self.blocks.everywhere(flat, ())

    def sized(self, measurement: str, name: str) -> tuple[Array, tuple[str, ...]] | None:
        """The same with its axes."""
        values = self.values(measurement, name)
        return None if values is None else (values, self.layout(measurement, name).dims)

    def coordinate(self, measurement: str, dim: str, n: int) -> Array:
        """Values along an axis; the index where there are none."""
        try:
            values = self.values(measurement, dim)
        except CathoscopeError:
            values = None
        return np.arange(n) if values is None or values.shape != (n,) else values

    def names_along(self, measurement: str, dim: str, n: int) -> list[str]:
        """Names along an axis, from the attribute of its coordinate; empty if there are none."""
        if dim not in self.arrays(measurement):
            return []
        names = self.layout(measurement, dim).attributes.get("names", [])
        return [str(name) for name in names] if isinstance(names, list) and len(names) == n else []

    # -- volumes ---------------------------------------------------------------------------------

    def volume(self, measurement: str, name: str) -> Volume:
        """One array with voxels.

        Raises
        ------
        NotThere
            If there is none of this name, or it has no voxels.
        """
        if name == "attenuation" and name not in self.arrays(measurement):
            array: Stored | None = self._attenuation(measurement)
            if array is None:
                raise NotThere(f"{measurement} has no attenuation")
            return self._volume(measurement, name, array)
        layout = self.layout(measurement, name)
        if not layout.n_voxel_dims:
            raise NotThere(f"{name} has no voxels", expected="an array along y and x", found=", ".join(layout.dims))
        return self._volume(measurement, name, layout)

    def _volume(self, measurement: str, name: str, array: Stored) -> Volume:
        layout = layout_of(array)
        lead, lead_shape = layout.dims[: layout.n_lead], layout.shape[: layout.n_lead]
        if isinstance(array, Combination):
            lead, lead_shape = ("temperature", "energy"), array.lead_shape
        return Volume(measurement, name, array, lead, lead_shape, layout.shape[layout.n_lead :])

    def _attenuation(self, measurement: str) -> Combination | None:
        """Attenuation from spectral coefficients: sum over k of coefficient[k] vector[k, E] noise[E]."""
        there = self.arrays(measurement)
        if not {"spectral_coefficient", "spectral_vector", "attenuation_std"} <= set(there):
            return None
        layout = self.layout(measurement, "spectral_coefficient")
        kept = self._combinations.get(measurement)
        if kept is not None and kept.layout.version == layout.version:
            return kept
        vectors, noise = (self.values(measurement, name) for name in ("spectral_vector", "attenuation_std"))
        if vectors is None or noise is None or layout.n_voxel_dims != 3 or layout.n_lead not in (1, 2):
            return None
        if layout.n_lead == 1:
            vectors, noise = vectors[np.newaxis], noise[np.newaxis]
        weights = np.nan_to_num(vectors * noise[:, np.newaxis]).transpose(0, 2, 1)
        self._combinations[measurement] = Combination(layout, np.ascontiguousarray(weights, np.float32))
        return self._combinations[measurement]

    def volumes(self, measurement: str) -> list[Volume]:
        """Every array with voxels, what a person looks for first in front; damaged ones are left out."""
        found = []
        there = self.arrays(measurement)
        for name in sorted({*there, *(["attenuation"] if "spectral_coefficient" in there else [])}, key=order_of):
            try:
                found.append(self.volume(measurement, name))
            except CathoscopeError:
                continue
        return [volume for volume in found if min((*volume.space, *volume.lead_shape)) > 0]

    def axes_of(self, volume: Volume) -> list[dict[str, Any]]:
        """The axes in front, for the page: name, words, unit, values, names."""
        axes = []
        for dim, n in zip(volume.lead, volume.lead_shape, strict=True):
            values = self.coordinate(volume.measurement, dim, n)
            names = self.names_along(volume.measurement, dim, n)
            axes.append({"name": dim, "unit": unit_of(dim), "values": values.tolist(), "names": names})
        return axes

    def conditions(self, measurement: str) -> list[dict[str, Any]]:
        """Temperatures and cycles of a measurement of curves, as `axes_of` has them."""
        found = []
        for dim in ("temperature", "cycle"):
            values = self.values(measurement, dim)
            if values is not None and values.ndim == 1 and 1 < values.size <= _MOST_CONDITIONS:
                found.append({"name": dim, "unit": unit_of(dim), "values": values.tolist(), "names": []})
        return found

    def space_of(self, volume: Volume) -> tuple[list[list[float]], str]:
        """First place and step along z, y, x, and their unit (px where there are no coordinates)."""
        places, unit = [], "µm"
        for dim, n in zip(volume.space_dims, volume.space, strict=True):
            values = self.coordinate(volume.measurement, dim, n)
            if values.dtype.kind == "i":
                unit = "px"
            step = float(values[-1] - values[0]) / (n - 1) if n > 1 else 1.0
            places.append([float(values[0]), step])
        return ([[0.0, 1.0] for _ in places] if unit == "px" else places), unit


def unit_of(dim: str) -> str:
    """Unit of a condition, as print has it."""
    return {"temperature": unit_text("degC"), "energy": "eV"}.get(dim, "")
