"""Statistics of the white line at every temperature: mean, spread, histogram, domains, profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import Context, Step
from cathoscope.flow.raw import ScanIndex
from cathoscope.flow.steps.voxels import OUTSIDE
from cathoscope.xanes.density import Shape, shape_of_map
from cathoscope.xanes.distribution import Distribution, Systematic, distribution_of_map
from cathoscope.xanes.heterogeneity import (
    CorrelationLength,
    NoiseCorrelation,
    RadialProfile,
    StoredMap,
    correlation_length,
    depth_of_rows,
    noise_correlation,
    radial_profile,
    stored_map,
)
from cathoscope.xanes.rows import Derived, Rowed, covariance_in, slabs_of, values_in
from cathoscope.xanes.whiteline import WhiteLineFlag

Floats = NDArray[np.float64]

_SHELLS = 12
_BINS = 120
_WORKING = 12.0  # bytes per voxel, measured, without the maps themselves
_SPECTRA = 4e8  # bytes


@dataclass(frozen=True)
class Temperature:
    """What is known of the white line at one temperature."""

    distribution: Distribution
    shape: Shape
    length: CorrelationLength | None
    profile: RadialProfile
    untrusted: float


def map_at(data: xr.Dataset, condition: ScanIndex, memory: float = 0.0, *, beside: float = 0.0) -> StoredMap:
    """White-line map of one temperature with its halves, cut to the particle.

    Its arrays are kept in ``memory``, bytes, if they fit there with what is ``beside`` them, bytes per voxel; else they
    are read from the study as often as they are used.

    Raises
    ------
    MeasurementError
        If too few voxels have a trusted value.
    """
    flag = np.asarray(data["white_line_flag"][condition].values)
    box = box_of(flag != OUTSIDE)
    good = np.ascontiguousarray(flag[box] == WhiteLineFlag.GOOD)
    del flag
    halved = "white_line_half" in data
    kept = good.size * ((16.0 if halved else 8.0) + beside) <= memory

    def cut(name: str, *before: int, without: float | None = None) -> Rowed:
        """The part of an array that holds the particle."""
        array = data[name][(*before, *condition, *box)]

        def rows_of(rows: slice) -> NDArray[np.floating]:
            """Some rows of it."""
            values = np.asarray(array[rows].values)
            return values if without is None else np.sqrt(values**2 - without**2)

        return rows_of(slice(None)) if kept else Derived(rows_of)

    return stored_map(
        value=cut("white_line_energy"),
        # no noise: it does not average out, nor does it differ between the halves
        std=cut("white_line_energy_std", without=unresolved_std(data, condition)),
        good=good,
        halves=(cut("white_line_half", 0), cut("white_line_half", 1)) if halved else None,
    )


def unresolved_std(data: xr.Dataset, condition: ScanIndex) -> float:
    """Part of the uncertainty of every voxel that comes from states that differ within it, eV."""
    return _stated_with(data["white_line_energy_std"], "resolution_std", condition)


def calibration_std_of(data: xr.Dataset, condition: ScanIndex) -> float:
    """Uncertainty of the energy scale that the fit of the white line was given, eV."""
    return _stated_with(data["white_line_energy"], "systematic_std", condition)


def _stated_with(map_: xr.DataArray, name: str, condition: ScanIndex) -> float:
    """Attribute of a map that has one number for every temperature; zero without it."""
    stated = map_.attrs.get(name)
    return 0.0 if stated is None else float(np.reshape(stated, map_.shape[:-3])[condition])


# A reconstruction lacks more of what differs between neighbouring voxels (the corners beyond the Nyquist circle) than
# comes back as another pattern: its variance is smaller than that of means over voxels, by 0.55 to 0.75 of its mean
# squared error for grains of one to four voxels and for fields rough at every scale (tests/flow/test_estimators.py).
_LOST = 0.6


def _with_what_is_lost(found: Distribution, unresolved: float) -> Distribution:
    """The spread with what a reconstruction lacks of states that differ within a voxel, known to half of it."""
    lost = _LOST * unresolved**2
    uncertain = 0.5 * lost
    return replace(
        found,
        variance=found.variance + lost,
        variance_std=float(np.hypot(found.variance_std, uncertain)),
        variance_from_noise=found.variance_from_noise + lost,
        variance_from_noise_std=float(np.hypot(found.variance_from_noise_std, uncertain)),
        variance_material=found.variance_material + lost,
        variance_material_std=float(np.hypot(found.variance_material_std, uncertain)),
    )


def _without_what_halves_share(found: Distribution, measured: StoredMap, share: float) -> Distribution:
    """The spread without errors that both halves share, known to half of them.

    ``share`` is their variance over that of the noise of the map, which the difference of its halves tells.
    """
    if measured.halves is None or share == 0.0:
        return found
    odd, even = measured.halves
    difference = Derived(lambda rows: np.subtract(odd[rows], even[rows], dtype=np.float64))
    shared = share * covariance_in(difference, difference, measured.good) / 4.0
    return replace(
        found,
        variance=found.variance - shared,
        variance_std=float(np.hypot(found.variance_std, 0.5 * shared)),
        variance_material=found.variance_material - shared,
        variance_material_std=float(np.hypot(found.variance_material_std, 0.5 * shared)),
    )


def _with_scale(found: Distribution, calibration_std: float) -> Distribution:
    """The spread with the uncertainty of the energy scale.

    The error of the calibration is a curve over the states. Which part of it goes along with the state, and stretches
    or narrows the spread, is not known: with any correlation from -1 to 1 alike, a third of its variance.
    """
    along = 2.0 * found.width * calibration_std / np.sqrt(3.0)
    return replace(
        found,
        variance_std=float(np.hypot(found.variance_std, along)),
        variance_from_noise_std=float(np.hypot(found.variance_from_noise_std, along)),
        variance_material_std=float(np.hypot(found.variance_material_std, along)),
    )


def box_of(inside: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Smallest box around the particle, one voxel wider; everything if there is none."""
    if not inside.any():
        return (slice(None),) * inside.ndim
    box = []
    for axis in range(inside.ndim):
        along = np.flatnonzero(inside.any(axis=tuple(other for other in range(inside.ndim) if other != axis)))
        box.append(slice(max(int(along[0]) - 1, 0), int(along[-1]) + 2))
    return tuple(box)


def systematic_errors(data: xr.Dataset, condition: ScanIndex) -> tuple[Systematic, ...]:
    """Errors that all voxels of a temperature have in common."""
    errors = []
    if "energy_offset_std" in data:
        std = float(data["energy_offset_std"][condition])
        errors.append(Systematic("foil", std if np.isfinite(std) else 0.0, shared=False))
    if "systematic_std" in data["white_line_energy"].attrs:
        errors.append(Systematic("calibration of the fit", calibration_std_of(data, condition), shared=False))
    return tuple(errors)


def statistics(context: Context) -> xr.Dataset:
    """Mean, spread, histogram, domain size and radial profile of every temperature that has trusted voxels."""
    data = context.data
    line = data["white_line_energy"]
    found: dict[ScanIndex, Temperature] = {}
    remarks = []
    conditions = list(np.ndindex(line.shape[:-3]))
    context.progress.start(f"{context.name}: statistics", len(conditions), "temperatures")
    for condition in conditions:
        try:
            found[condition] = _temperature(data, condition, context.resources.memory)
        except MeasurementError as error:
            name = f"{float(data['temperature'][condition[0]]):g} C" if condition else "the map"
            remarks.append(f"{name} has no statistics: {error.problem}")
        context.progress.advance()
    context.progress.finish()
    return _dataset(data, found, remarks)


def _temperature(data: xr.Dataset, condition: ScanIndex, memory: float = 0.0) -> Temperature:
    measured = map_at(data, condition, memory - _SPECTRA, beside=_WORKING)
    inside = _inside(data, condition)
    untrusted = 1.0 - measured.count / max(int(inside.sum()), 1)
    # voxels without a trusted value may differ from the others by as much as those do among themselves
    spread = np.sqrt(covariance_in(measured.value, measured.value, measured.good))
    rest = Systematic("untrusted voxels", untrusted * float(spread), shared=False)
    noise = noise_correlation(measured)
    distribution = distribution_of_map(measured, systematic=(*systematic_errors(data, condition), rest), noise=noise)
    distribution = _with_what_is_lost(distribution, unresolved_std(data, condition))
    share = _stated_with(data["white_line_energy_std"], "shared_noise", condition)
    distribution = _without_what_halves_share(distribution, measured, share)
    size = float(np.mean(np.diff(data["x"].values)))
    length = None if measured.halves is None else correlation_length(measured, voxel_size=size, noise=noise)
    return Temperature(
        distribution=_with_scale(distribution, calibration_std_of(data, condition)),
        shape=shape_of_map(measured, distribution),
        length=length,
        profile=_profile(measured, inside, size, noise),
        untrusted=untrusted,
    )


def _inside(data: xr.Dataset, condition: ScanIndex) -> NDArray[np.bool_]:
    """The particle, cut to its box."""
    inside = np.asarray(data["white_line_flag"][condition].values) != OUTSIDE
    return np.ascontiguousarray(inside[box_of(inside)])


def _profile(measured: StoredMap, inside: NDArray[np.bool_], size: float, noise: NoiseCorrelation) -> RadialProfile:
    """Profile below the surface in shells of one thickness."""
    depth = depth_of_rows(inside, voxel_size=size)
    deepest = max((float(depth[rows].max()) for rows in slabs_of(inside)), default=0.0)
    edges = np.linspace(0.0, deepest * (1 + 1e-9), _SHELLS + 1)
    return radial_profile(measured, distance=depth, edges=edges, noise=noise)


def _dataset(data: xr.Dataset, found: Mapping[ScanIndex, Temperature], remarks: list[str]) -> xr.Dataset:
    line = data["white_line_energy"]
    dims, shape = tuple(map(str, line.dims[:-3])), line.shape[:-3]
    arrays = [*_numbers(found, dims, shape, line), *_curves(found, dims, shape, data)]
    arrays[0].attrs["remarks"] = remarks
    arrays[0].attrs["systematic_std"] = [
        [[term.name, term.std] for term in found[condition].distribution.systematic] if condition in found else []
        for condition in np.ndindex(shape)
    ]
    return dataset(arrays)


def _numbers(
    found: Mapping[ScanIndex, Temperature], dims: tuple[str, ...], shape: tuple[int, ...], line: xr.DataArray
) -> list[xr.DataArray]:
    of: dict[str, Callable[[Temperature], float]] = {
        "white_line_mean": lambda t: t.distribution.mean,
        "white_line_mean_std": lambda t: t.distribution.mean_total_std,
        "white_line_width": lambda t: t.distribution.width,
        "white_line_width_std": lambda t: t.distribution.width_std,
        "untrusted_share": lambda t: t.untrusted,
        "white_line_discrepancy": lambda t: t.distribution.discrepancy,
        "independent_voxels": lambda t: t.distribution.independent,
        "correlation_length": lambda t: np.nan if t.length is None else t.length.decay_length.value,
        "correlation_length_std": lambda t: np.nan if t.length is None else t.length.decay_length.std,
    }
    arrays = []
    for name, value_of in of.items():
        values = np.full(shape, np.nan)
        for condition, temperature in found.items():
            values[condition] = value_of(temperature)
        source = "scatter" if name.endswith("_std") else None
        arrays.append(label(name, values, dims, coords=line.coords, std_source=source))
    return arrays


def _histogram(data: xr.Dataset, condition: ScanIndex, middle: Floats) -> Floats:
    """Density of the values of one temperature in bins with these middles; those beyond count, and are left out."""
    half = 0.5 * (middle[1] - middle[0])
    edges = np.append(middle - half, middle[-1] + half)
    measured = map_at(data, condition)
    counts = np.zeros(middle.size)
    for rows in slabs_of(measured.good):
        counts += np.histogram(values_in(measured.value, measured.good, rows), edges)[0]
    return np.asarray(counts / (2 * half * measured.count), dtype=np.float64)


def _curves(
    found: Mapping[ScanIndex, Temperature], dims: tuple[str, ...], shape: tuple[int, ...], data: xr.Dataset
) -> list[xr.DataArray]:
    """Histograms on common bins and profiles on common depths."""
    ends = [(t.shape.value[0], t.shape.value[-1]) for t in found.values()]
    deepest = max((t.profile.edges[-1] for t in found.values()), default=1.0)
    bins = np.linspace(min((low for low, _ in ends), default=0.0), max((high for _, high in ends), default=1.0), _BINS)
    depth = (np.arange(_SHELLS) + 0.5) * deepest / _SHELLS
    measured = {id(one): _histogram(data, condition, bins) for condition, one in found.items()}
    curves: tuple[tuple[str, Floats, Callable[[Temperature], tuple[Floats, Floats]]], ...] = (
        ("white_line_density", bins, lambda t: (bins, measured[id(t)])),
        ("white_line_true_density", bins, lambda t: (t.shape.value, t.shape.density)),
        ("white_line_true_density_std", bins, lambda t: (t.shape.value, t.shape.density_std)),
        ("white_line_profile", depth, lambda t: (t.profile.distance, t.profile.mean)),
        ("white_line_profile_std", depth, lambda t: (t.profile.distance, t.profile.mean_std)),
    )
    arrays = []
    for name, axis, curve_of in curves:
        dim = "depth" if axis is depth else "energy_bin"
        values = np.full((*shape, axis.size), np.nan)
        for condition, temperature in found.items():
            at, curve = curve_of(temperature)
            known = np.isfinite(at) & np.isfinite(curve)
            if known.sum() > 1:
                beyond = np.nan if dim == "depth" else 0.0
                values[condition] = np.interp(axis, at[known], curve[known], left=beyond, right=beyond)
        coords = {**data["white_line_energy"].coords, dim: label(dim, axis, (dim,))}
        source = "scatter" if name.endswith("_std") else None
        arrays.append(label(name, values, (*dims, dim), coords=coords, std_source=source))
    return arrays


_MADE = (
    "white_line_mean",
    "white_line_mean_std",
    "white_line_width",
    "white_line_width_std",
    "untrusted_share",
    "white_line_discrepancy",
    "independent_voxels",
    "correlation_length",
    "correlation_length_std",
    "white_line_density",
    "white_line_true_density",
    "white_line_true_density_std",
    "white_line_profile",
    "white_line_profile_std",
)


def steps(*, with_halves: bool) -> tuple[Step, ...]:
    """Statistics, with the halves of the projections where these are there apart."""
    halves = ("white_line_half",) if with_halves else ()
    return (
        Step(
            "white-line statistics",
            statistics,
            needs=("white_line_energy", "white_line_energy_std", "white_line_flag", *halves),
            optional=("energy_offset", "energy_offset_std"),
            makes=_MADE,
            per_voxel=_WORKING,
        ),
    )


TARGETS = ("white_line_mean",)
