"""XANES volumes: edge jump, particle mask, white-line energy per voxel, and their statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import row_slabs, run_slabs
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import NewArray
from cathoscope.flow.graph import Context, Step
from cathoscope.physics.edges import k_edge_within
from cathoscope.xanes.absorbance import default_windows, edge_jump_from_spectra, particle_mask_from_edge_jump
from cathoscope.xanes.whiteline import WhiteLineFlag, WhiteLineOptions, fit_white_line, white_line_statistics

Unit = tuple[tuple[int, ...], slice]


def _volume_units(context: Context, dims: tuple[str, ...]) -> Iterator[Unit]:
    """Every temperature and slab of z, sized so that its spectra fit the memory budget."""
    attenuation = context.data["attenuation"]
    n_rows = attenuation.sizes["z"]
    bytes_per_row = 4.0 * 4 * attenuation.sizes["energy"] * attenuation.sizes["y"] * attenuation.sizes["x"]
    slabs = row_slabs(n_rows, bytes_per_row=bytes_per_row, resources=context.resources)
    conditions = np.ndindex(*(attenuation.sizes[dim] for dim in dims[:-3]))
    return ((condition, rows) for condition in conditions for rows in slabs)


def _dims(array: xr.DataArray) -> tuple[str, ...]:
    return tuple(str(dim) for dim in array.dims if dim != "energy")


def _new(context: Context, name: str, dtype: str = "float32", **attrs: object) -> NewArray:
    attenuation = context.data["attenuation"]
    dims = _dims(attenuation)
    return NewArray(name, dims, tuple(attenuation.sizes[dim] for dim in dims), dtype, attrs)


def _spectra(context: Context, condition: tuple[int, ...], rows: slice) -> tuple[np.ndarray, np.ndarray]:
    """Spectra [voxel, energy] of a slab, and which energies were measured there."""
    slab = context.data["attenuation"][condition].isel(z=rows).values
    measured = np.isfinite(slab).any(axis=(1, 2, 3))
    return slab.reshape(slab.shape[0], -1).T, measured


def _noise(context: Context, condition: tuple[int, ...]) -> np.ndarray | None:
    std = context.data.get("attenuation_std")
    return None if std is None else np.asarray(std[condition].values, dtype=np.float64)


def edge_jump(context: Context) -> None:
    """Attenuation above minus below the edge, voxel by voxel."""
    work, energy = context.work, context.data["energy"].values
    pre_edge, post_edge = _windows(context, energy)
    definition = f"mean {post_edge[0]:g}-{post_edge[1]:g} eV minus mean {pre_edge[0]:g}-{pre_edge[1]:g} eV"
    work.prepare(
        [
            _new(context, "edge_jump", definition=definition, ancillary_variables="edge_jump_std"),
            _new(context, "edge_jump_std", std_source="half-set" if "attenuation_std" in context.data else "scatter"),
        ],
        context.data["attenuation"].coords,
    )

    def fill(unit: Unit) -> None:
        condition, rows = unit
        spectra, measured = _spectra(context, condition, rows)
        if not measured.any():  # every scan of this temperature was set aside
            return
        noise = _noise(context, condition)
        jump, std = edge_jump_from_spectra(
            spectra=spectra[:, measured],
            energy=energy[measured],
            pre_edge=pre_edge,
            post_edge=post_edge,
            noise_std=None if noise is None else noise[measured],
        )
        shape = context.data["attenuation"].isel(energy=0)[condition].isel(z=rows).shape
        work.store("edge_jump", (*condition, rows), jump.reshape(shape).astype(np.float32))
        work.store("edge_jump_std", (*condition, rows), np.broadcast_to(std, jump.shape).reshape(shape).astype("f4"))

    _run(context, "edge jump", fill)


Window = tuple[float, float]


def _windows(context: Context, energy: np.ndarray) -> tuple[Window, Window]:
    section = context.section.edge
    if section.pre_edge is not None and section.post_edge is not None:
        return section.pre_edge, section.post_edge
    pre_edge, post_edge = default_windows(energy=energy, edge_energy=_edge_energy(context, energy))
    return section.pre_edge or pre_edge, section.post_edge or post_edge


def _edge_energy(context: Context, energy: np.ndarray) -> float:
    edge = context.section.edge.edge_energy or k_edge_within(lowest=float(energy.min()), highest=float(energy.max()))
    if edge is None:
        raise MeasurementError(
            "no tabulated K edge lies within the energies",
            expected="an edge between the first and the last energy",
            found=f"{energy.min():g} to {energy.max():g} eV",
            cure='state it: [measurement.NAME.edge] edge_energy = "8333 eV"',
        )
    return edge


# The fit sees the edge and the white line: the pre-edge peak lies below this window and the fine
# structure above it, and neither is in the model. Without a window they move the maximum by 20 meV.
_WINDOW_ABOVE_EDGE = 30.0  # eV
_FEWEST_ENERGIES = 12


def _fit_window(context: Context, energy: np.ndarray) -> Window | None:
    """The recipe's window, else from the edge to 30 eV above it; all energies where those are too few."""
    if context.section.white_line.window is not None:
        return context.section.white_line.window
    edge = _edge_energy(context, energy)
    window = (edge, edge + _WINDOW_ABOVE_EDGE)
    inside = (energy >= window[0]) & (energy <= window[1])
    return window if inside.sum() >= _FEWEST_ENERGIES else None


def particle_mask(context: Context) -> xr.Dataset:
    """Voxels whose edge jump is above Otsu's threshold and above the noise."""
    jump, std = context.data["edge_jump"], context.data["edge_jump_std"]
    mask = np.zeros(jump.shape, dtype=bool)
    for condition in np.ndindex(jump.shape[:-3]):
        mask[condition] = particle_mask_from_edge_jump(
            edge_jump=jump[condition].values,
            edge_jump_std=std[condition].values,
            minimum_sigma=context.section.edge.minimum_sigma,
            threshold=context.section.edge.threshold,
        )
    return dataset([label("particle_mask", mask, _dims(jump), coords=jump.coords)])


def white_line(context: Context) -> None:
    """Edge and white-line model in every voxel of the particle."""
    work, energy = context.work, context.data["energy"].values
    options = WhiteLineOptions(edge_width=context.section.white_line.edge_width)
    window = _fit_window(context, energy)
    work.prepare(
        [
            _new(
                context, "white_line_energy", ancillary_variables="white_line_energy_std white_line_flag", window=window
            ),
            _new(context, "white_line_energy_std", std_source="fit covariance"),
            _new(
                context,
                "white_line_flag",
                "int8",
                flag_values=[int(flag) for flag in WhiteLineFlag] + [OUTSIDE],
                flag_meanings=" ".join([*(flag.name.lower() for flag in WhiteLineFlag), "outside_particle"]),
            ),
        ],
        context.data["attenuation"].coords,
    )

    def fill(unit: Unit) -> None:
        condition, rows = unit
        mask = context.data["particle_mask"][condition].isel(z=rows).values
        line = np.full(mask.shape, np.nan, dtype=np.float32)
        std, flag = line.copy(), np.full(mask.shape, OUTSIDE, dtype=np.int8)
        if mask.any():
            spectra, measured = _spectra(context, condition, rows)
            noise = _noise(context, condition)
            fit = fit_white_line(
                spectra=np.ascontiguousarray(spectra[mask.ravel()][:, measured]),
                energy=energy[measured],
                noise_std=None if noise is None else noise[measured],
                window=window,
                options=options,
            )
            line[mask], std[mask], flag[mask] = fit.white_line_energy, fit.white_line_energy_std, fit.flag
        for name, values in (
            ("white_line_energy", line),
            ("white_line_energy_std", std),
            ("white_line_flag", flag),
        ):
            work.store(name, (*condition, rows), values)

    _run(context, "white line", fill)


# White-line flag of a voxel that is not fitted at all.
OUTSIDE = 100


def _run(context: Context, title: str, fill: Callable[[Unit], None]) -> None:
    """Fill every unit that a killed run has not finished."""
    work = context.work
    dims = _dims(context.data["attenuation"])
    units = list(_volume_units(context, dims))
    context.progress.start(f"{context.name}: {title}", len(units), "slabs")

    def one(unit: Unit) -> None:
        condition, rows = unit
        key = "-".join(map(str, (*condition, rows.start, rows.stop)))
        if not work.is_done(key):
            fill(unit)
            work.mark_done(key)
        context.progress.advance()

    run_slabs(one, units, threads=context.resources.threads)
    context.progress.finish()


def statistics(context: Context) -> xr.Dataset:
    """Mean and noise-free width of the white-line energy over the good voxels of every temperature.

    Particle voxels without a trusted value may differ from the others by as much as those do among themselves;
    their share times the observed width is part of the mean's uncertainty.
    """
    line, std = context.data["white_line_energy"], context.data["white_line_energy_std"]
    dims = _dims(line)[:-3]
    values = np.full((4, *line.shape[:-3]), np.nan)
    for condition in np.ndindex(line.shape[:-3]):
        flag = context.data["white_line_flag"][condition].values
        good, particle = flag == WhiteLineFlag.GOOD, flag != OUTSIDE
        if good.sum() * INDEPENDENT_FRACTION >= 2:  # fewer say nothing about a spread
            found = white_line_statistics(
                white_line_energy=line[condition].values,
                white_line_energy_std=std[condition].values,
                good=good,
                independent_fraction=INDEPENDENT_FRACTION,
            )
            unknown = (1.0 - good.sum() / particle.sum()) * found.observed_width
            mean_std = np.hypot(found.mean_std, unknown)
            values[(slice(None), *condition)] = found.mean, mean_std, found.width, found.width_std
    names = ("white_line_mean", "white_line_mean_std", "white_line_width", "white_line_width_std")
    return dataset(
        label(
            name,
            array,
            dims,
            coords=line.coords,
            std_source="scatter" if name.endswith("_std") else None,
        )
        for name, array in zip(names, values, strict=True)
    )


# The resolution of a reconstruction is about two voxels, so eight voxels carry one independent value.
INDEPENDENT_FRACTION = 1 / 8

MASK_STEPS = (
    Step(
        "edge jump",
        edge_jump,
        needs=("attenuation",),
        optional=("attenuation_std",),
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
)
STEPS = (
    *MASK_STEPS,
    Step(
        "white line",
        white_line,
        needs=("attenuation", "particle_mask"),
        optional=("attenuation_std",),
        makes=("white_line_energy", "white_line_energy_std", "white_line_flag"),
        choices=("white_line", "edge"),
    ),
    Step(
        "white-line statistics",
        statistics,
        needs=("white_line_energy", "white_line_energy_std", "white_line_flag"),
        makes=("white_line_mean", "white_line_mean_std", "white_line_width", "white_line_width_std"),
    ),
)
TARGETS = ("white_line_mean",)
