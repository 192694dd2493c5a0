"""Edge jump of every voxel, and the mask of those that belong to the particle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import SLAB_ROWS, row_slabs
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import NewArray
from cathoscope.flow.graph import Context, Step
from cathoscope.flow.raw import ScanIndex
from cathoscope.flow.steps.projections import blocks_of
from cathoscope.flow.steps.voxels import SPECTRA, Unit, Voxels
from cathoscope.physics.edges import k_edge_within
from cathoscope.xanes.absorbance import default_windows, edge_jump_from_spectra, least_edge_jump, significant_edge

Window = tuple[float, float]
_BYTES_OF_MASK = 64.0  # per voxel: edge jump and uncertainty in double precision, and what is made of them
_ROWS_OF_MASK = 4 * SLAB_ROWS  # more at a time is not faster


def edge_jump(context: Context) -> None:
    """Attenuation above minus below the edge, voxel by voxel."""
    voxels = Voxels(context)
    pre_edge, post_edge = edge_windows(context, voxels.energy)
    sparse = _too_sparse(context, voxels, (pre_edge, post_edge))
    definition = f"mean {post_edge[0]:g}-{post_edge[1]:g} eV minus mean {pre_edge[0]:g}-{pre_edge[1]:g} eV"
    context.work.prepare(
        [
            voxels.new(
                "edge_jump",
                definition=definition,
                ancillary_variables="edge_jump_std",
                remarks=[_named(context, condition, f"no edge jump: {why}") for condition, why in sparse.items()],
            ),
            voxels.new("edge_jump_std", std_source="half-set" if "attenuation_std" in context.data else "scatter"),
        ],
        voxels.source.coords,
    )

    def fill(unit: Unit) -> None:
        """Edge jump of the voxels of one slab."""
        condition, rows = unit
        if condition in sparse:
            return
        spectra, measured = voxels.spectra(condition, rows)
        if not measured.any():  # nothing of this slab was reconstructed
            return
        noise = voxels.noise(condition, "half_set_spread")
        jump, std = edge_jump_from_spectra(
            spectra=spectra[:, measured],
            energy=voxels.energy[measured],
            pre_edge=pre_edge,
            post_edge=post_edge,
            noise_std=None if noise is None else noise[measured],
        )
        shape = (rows.stop - rows.start, *voxels.shape[-2:])
        context.work.store("edge_jump", (*condition, rows), jump.reshape(shape).astype(np.float32))
        wide = np.broadcast_to(std, jump.shape).reshape(shape)
        context.work.store("edge_jump_std", (*condition, rows), wide.astype(np.float32))

    voxels.fill("edge jump", fill)


def _too_sparse(context: Context, voxels: Voxels, windows: tuple[Window, Window]) -> dict[ScanIndex, str]:
    """Temperatures of which too few energies were measured below or above the edge, and what is missing."""
    fewest = 2 if voxels.noise(voxels.conditions[0]) is not None else 3
    sparse: dict[ScanIndex, str] = {}
    for condition in voxels.conditions:
        noise = voxels.noise(condition)
        energy = voxels.energy if noise is None else voxels.energy[np.isfinite(noise)]
        found = [int(((energy >= low) & (energy <= high)).sum()) for low, high in windows]
        if not energy.size:
            sparse[condition] = "no scan of this temperature can be used"
        elif min(found) < fewest:
            sparse[condition] = (
                f"{found[0]} energies below the edge and {found[1]} above it, {fewest} of each are needed"
            )
    if len(sparse) == len(voxels.conditions):
        raise MeasurementError(
            "no temperature has energies on both sides of the edge",
            where=context.name,
            found="; ".join(dict.fromkeys(sparse.values())),
            cure="state edge.pre_edge and edge.post_edge, or measure more energies",
        )
    return sparse


def _named(context: Context, condition: ScanIndex, text: str) -> str:
    """A remark with the temperature that it is on."""
    if not condition:
        return text
    return f"{float(context.data['temperature'][condition[0]]):g} C: {text}"


def edge_windows(context: Context, energy: np.ndarray) -> tuple[Window, Window]:
    """Energies below and above the edge: the recipe's, else those that suit the measured ones."""
    section = context.section.edge
    if section.pre_edge is not None and section.post_edge is not None:
        return section.pre_edge, section.post_edge
    pre_edge, post_edge = default_windows(energy=energy, edge_energy=edge_energy(context, energy))
    return section.pre_edge or pre_edge, section.post_edge or post_edge


def edge_energy(context: Context, energy: np.ndarray) -> float:
    """Tabulated energy of the edge, eV.

    Raises
    ------
    MeasurementError
        If none lies within the energies and the recipe states none.
    """
    edge = context.section.edge.edge_energy or k_edge_within(lowest=float(energy.min()), highest=float(energy.max()))
    if edge is None:
        raise MeasurementError(
            "no tabulated K edge lies within the energies",
            expected="an edge between the first and the last energy",
            found=f"{energy.min():g} to {energy.max():g} eV",
            cure='state it: [measurement.NAME.edge] edge_energy = "8333 eV"',
        )
    return edge


def particle_mask(context: Context) -> None:
    """Voxels whose edge jump is above Otsu's threshold and above the noise."""
    jump = context.data["edge_jump"]
    dims, conditions = tuple(map(str, jump.dims)), list(np.ndindex(jump.shape[:-3]))
    per_row = _BYTES_OF_MASK * jump.sizes["y"] * jump.sizes["x"]
    slabs = row_slabs(jump.sizes["z"], bytes_per_row=per_row, resources=context.resources, most_rows=_ROWS_OF_MASK)
    choices = context.section.edge
    context.progress.start(f"{context.name}: particle mask", len(conditions), "temperatures")
    parts = {condition: partial(_parts, context.data, condition, slabs) for condition in conditions}
    least, remarks = {}, []
    for condition in conditions:
        least[condition] = least_edge_jump(
            parts[condition], minimum_sigma=choices.minimum_sigma, threshold=choices.threshold
        )
        if np.isinf(least[condition]) and any(np.isfinite(jumps).any() for jumps, _ in parts[condition]()):
            remarks.append(
                _named(context, condition, "no voxel has an edge above the noise: there is no particle to map")
            )
    context.work.prepare([NewArray("particle_mask", dims, jump.shape, "bool", {"remarks": remarks})], jump.coords)
    for condition in conditions:
        for rows, (jumps, std) in zip(slabs, parts[condition](), strict=True):
            mask = significant_edge(jumps, std, choices.minimum_sigma) & (jumps > least[condition])
            context.work.store("particle_mask", (*condition, rows), mask)
        context.progress.advance()
    context.progress.finish()


def _parts(
    data: xr.Dataset, condition: ScanIndex, slabs: Sequence[slice]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Edge jump and its uncertainty, slab by slab."""
    jump, std = data["edge_jump"][condition], data["edge_jump_std"][condition]
    for rows in slabs:
        yield jump[rows].values.astype(np.float64), std[rows].values.astype(np.float64)


def particle_spectrum(context: Context) -> xr.Dataset:
    """Mean attenuation of the particle at every energy, from sums over slabs."""
    voxels = Voxels(context)
    conditions = voxels.shape[:-3]
    sums, counts = np.zeros((*conditions, voxels.energy.size)), np.zeros(conditions)
    measured = np.zeros((*conditions, voxels.energy.size), dtype=bool)
    # blocks of fixed size: the order of summation must not depend on the memory allowed
    blocks = list(blocks_of(slice(0, voxels.shape[-3]), SLAB_ROWS))
    units = [(condition, rows) for condition in voxels.conditions for rows in blocks]
    context.progress.start(f"{context.name}: mean spectrum", len(units), "slabs")
    for condition, rows in units:
        inside = np.asarray(context.data["particle_mask"][condition].isel(z=rows).values).ravel()
        if inside.any():
            total, there = voxels.sum_over(condition, rows, inside)
            sums[condition] += total
            measured[condition] |= there
            counts[condition] += inside.sum()
        context.progress.advance()
    context.progress.finish()
    known = measured & (counts[..., None] > 0)
    mean = np.divide(sums, counts[..., None], out=np.full(sums.shape, np.nan), where=known)
    dims = (*voxels.dims[:-3], "energy")
    array = label("particle_spectrum", mean, dims, coords=context.data.coords)
    array.attrs["voxels"] = counts.ravel().astype(int).tolist()
    return dataset([array])


STEPS = (
    Step(
        "edge jump",
        edge_jump,
        needs=(SPECTRA,),
        optional=("half_set_spread",),
        makes=("edge_jump", "edge_jump_std"),
        choices=("edge",),
    ),
    Step(
        "particle mask",
        particle_mask,
        needs=("edge_jump", "edge_jump_std"),
        makes=("particle_mask",),
        choices=("edge",),
    ),
    Step(
        "mean spectrum",
        particle_spectrum,
        needs=(SPECTRA, "particle_mask"),
        makes=("particle_spectrum",),
    ),
)
