"""Spectra of voxels, from volumes of every energy or from volumes of spectral coefficients, slab by slab."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.parallel import SLAB_ROWS, row_slabs, run_slabs
from cathoscope.core.study import NewArray
from cathoscope.flow.graph import Context, Step
from cathoscope.flow.raw import ScanIndex
from cathoscope.flow.steps.projections import blocks_of
from cathoscope.numerics.spectral import expansion_of, measured_energies, weights_of

Unit = tuple[ScanIndex, slice]

# What a step says it needs that works on the spectra of voxels; `on` replaces it by the volumes that hold them.
SPECTRA = "spectra of voxels"


@dataclass(frozen=True)
class Volumes:
    """Arrays that hold the spectra of voxels: those that must be there, and those used where they are."""

    needs: tuple[str, ...]
    optional: tuple[str, ...] = ()


OF_ENERGIES = Volumes(("attenuation",), ("attenuation_std", "spectral_vector", "spectral_rank"))
OF_COEFFICIENTS = Volumes(
    ("spectral_coefficient", "half_difference", "attenuation_std", "spectral_vector", "spectral_rank")
)


def on(volumes: Volumes, *steps: Step) -> tuple[Step, ...]:
    """The steps, with the volumes they work on in the place of `SPECTRA`."""
    return tuple(
        replace(
            step,
            needs=tuple(n for need in step.needs for n in (volumes.needs if need == SPECTRA else (need,))),
            optional=(*step.optional, *(volumes.optional if SPECTRA in step.needs else ())),
        )
        for step in steps
    )


# White-line flag of a voxel that is not fitted at all.
OUTSIDE = 100


def weights_at(data: xr.Dataset, condition: ScanIndex) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Weights [coefficient, energy] that make coefficients of a spectrum, and which energies were measured.

    Coefficients and energies that are not there have the weight zero.
    """
    basis = _basis_at(data, condition)
    return weights_of(*basis).astype(np.float32), measured_energies(*basis)


def _basis_at(data: xr.Dataset, condition: ScanIndex) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Vectors [coefficient, energy] and noise [energy] of one temperature, as `numerics.spectral` takes them."""
    vectors, std = (data[name][condition].values for name in ("spectral_vector", "attenuation_std"))
    return np.asarray(vectors, dtype=np.float64), np.asarray(std, dtype=np.float64)


@dataclass(frozen=True)
class Voxels:
    """Where the spectra of a measurement's voxels come from."""

    context: Context

    @cached_property
    def source(self) -> xr.DataArray:
        """The volumes that are there."""
        data = self.context.data
        return data["spectral_coefficient" if self.compressed else "attenuation"]

    @property
    def compressed(self) -> bool:
        """Whether volumes of coefficients are stored."""
        return "spectral_coefficient" in self.context.data

    @property
    def has_basis(self) -> bool:
        """Whether coefficients can be had, stored or not."""
        return "spectral_vector" in self.context.data

    @property
    def has_halves(self) -> bool:
        """Whether the two halves of the projections are there apart."""
        return "half_difference" in self.context.data

    @property
    def dims(self) -> tuple[str, ...]:
        """Dims of a map with one value for every voxel."""
        return tuple(str(dim) for dim in self.source.dims if dim not in ("energy", "coefficient"))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of such a map."""
        return tuple(self.source.sizes[dim] for dim in self.dims)

    @property
    def conditions(self) -> list[ScanIndex]:
        """Index of every temperature."""
        return list(np.ndindex(self.shape[:-3]))

    @cached_property
    def energy(self) -> NDArray[np.float64]:
        """Photon energies in eV as recorded."""
        return np.asarray(self.context.data["energy"].values, dtype=np.float64)

    def noise(self, condition: ScanIndex, name: str = "attenuation_std") -> NDArray[np.float64] | None:
        """Noise of every energy, 1/um, None if it is not known; ``name`` says whether streaks count."""
        std = self.context.data.get(name, self.context.data.get("attenuation_std"))
        return None if std is None else np.asarray(std[condition].values, dtype=np.float64)

    def coefficients(self, condition: ScanIndex, rows: slice) -> NDArray[np.float32]:
        """Spectral coefficients [voxel, coefficient] of a slab; those that are not there are zero."""
        if self.compressed:
            slab = np.asarray(self.source[condition].isel(z=rows).values)
            return np.ascontiguousarray(slab.reshape(slab.shape[0], -1).T)
        spectra, measured = self.spectra(condition, rows)
        weights, _ = weights_at(self.context.data, condition)
        return np.asarray(spectra[:, measured] @ weights[:, measured].T, dtype=np.float32)

    def half_difference(self, condition: ScanIndex, rows: slice) -> NDArray[np.float32]:
        """Coefficients [voxel, coefficient] of odd minus even projections."""
        slab = np.asarray(self.context.data["half_difference"][condition].isel(z=rows).values)
        return np.ascontiguousarray(slab.reshape(slab.shape[0], -1).T)

    def spectra(self, condition: ScanIndex, rows: slice) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Attenuation [voxel, energy] of a slab, and which energies were measured there."""
        if self.compressed:
            expansion, measured = self.expansion(condition)
            # products of one size: the bits of a library's product may depend on how many rows it gets
            blocks = blocks_of(rows, SLAB_ROWS)
            parts = [self.coefficients(condition, block) @ expansion for block in blocks]
            return np.concatenate(parts), measured
        slab = np.asarray(self.source[condition].isel(z=rows).values)
        measured = np.isfinite(slab).any(axis=(1, 2, 3))
        return np.ascontiguousarray(slab.reshape(slab.shape[0], -1).T), measured

    def sum_over(
        self, condition: ScanIndex, rows: slice, inside: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Sum of the spectra of some voxels [voxel] of a slab, [energy], and which energies were measured."""
        if self.compressed:
            expansion, measured = self.expansion(condition)
            return self.coefficients(condition, rows)[inside].sum(axis=0, dtype=np.float64) @ expansion, measured
        spectra, measured = self.spectra(condition, rows)
        return np.nan_to_num(spectra[inside].sum(axis=0, dtype=np.float64)), measured

    def expansion(self, condition: ScanIndex) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Attenuation [coefficient, energy] that one unit of a coefficient stands for, and the measured energies."""
        basis = _basis_at(self.context.data, condition)
        return expansion_of(*basis).astype(np.float32), measured_energies(*basis)

    def new(self, name: str, dtype: str = "float32", **attrs: object) -> NewArray:
        """A map with one value for every voxel."""
        return NewArray(name, self.dims, self.shape, dtype, attrs)

    def slabs(self) -> Iterator[Unit]:
        """Every temperature and slab of z, sized so that its spectra fit the memory budget."""
        per_voxel = 4 * max(self.source.sizes.get("energy", 0), 3 * self.source.sizes.get("coefficient", 0)) + 16
        bytes_per_row = 4.0 * per_voxel * self.source.sizes["y"] * self.source.sizes["x"]
        slabs = row_slabs(self.source.sizes["z"], bytes_per_row=bytes_per_row, resources=self.context.resources)
        return ((condition, rows) for condition in self.conditions for rows in slabs)

    def fill(self, title: str, one: Callable[[Unit], None]) -> None:
        """Fill every slab that a killed run has not finished."""
        context, units = self.context, list(self.slabs())
        context.progress.start(f"{context.name}: {title}", len(units), "slabs")

        def work(unit: Unit) -> None:
            """One slab, unless a killed run has filled it."""
            condition, rows = unit
            key = "-".join(map(str, (*condition, rows.start, rows.stop)))
            if not context.work.is_done(key):
                one(unit)
                context.work.mark_done(key)
            context.progress.advance()

        run_slabs(work, units, threads=context.resources.threads)
        context.progress.finish()
