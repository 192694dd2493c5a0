"""Kinetics of the release of oxygen: maps of all particles through temperature, fitted and foretold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes

from cathoscope.core.schema import dataset, label
from cathoscope.flow.relate_sections import ConditionsSection
from cathoscope.flow.relations import Gathered, Member, Relation
from cathoscope.flow.steps.statistics import box_of
from cathoscope.physics.kinetics import BOLTZMANN, GAS_CONSTANT
from cathoscope.relate.kinetics import MODELS, Kinetics, kinetics
from cathoscope.relate.left_out import LEVELS, Bounds, interval_score
from cathoscope.relate.release import POWERS, stepped_programme
from cathoscope.relate.release_fit import Choices, Heated
from cathoscope.relate.release_table import Ranges
from cathoscope.xanes.heterogeneity import depth_below_surface

Floats = NDArray[np.float64]

_PER_MOL = GAS_CONSTANT / BOLTZMANN / 1000.0  # kJ/mol per eV
_FEWEST = 3  # holds
_DRAWS = 400
_DOMAIN = 0.5  # um, 1/e distance of like white line where none is measured
_ENOUGH = 128  # voxels across, for volumes of shells
_LEAST_CORE = 0.1  # of the radius: smaller hollows count as pores


@dataclass(frozen=True)
class Programme:
    """How particles were heated: K/min, s, and the share of a hold before the scans."""

    rate: float
    hold: float
    scans: float


def release_kinetics(gathered: Gathered) -> xr.Dataset | None:
    """Activation energy, paths and left-out temperatures of all samples that were heated alike."""
    members = [one for one in gathered.having("white_line_mean", "white_line_profile", "particle_mask") if _is_map(one)]
    temperatures = _common_temperatures(members)
    alike = [one for one in members if temperatures is not None and _same(one, temperatures)]
    if temperatures is None or not alike:
        return None
    programme = _programme(gathered, alike)
    alike = [one for one in alike if _own_programme(gathered, one) == programme]
    for left in (one.name for one in members if one not in alike):
        gathered.remark(f"{left} was heated otherwise than {alike[0].name} and is left out of the kinetics")
    samples = [
        heated_sample(name, [one for one in alike if one.sample == name])
        for name in dict.fromkeys(one.sample for one in alike)
    ]
    section = gathered.choices.kinetics
    reference = float(temperatures[1]) if section.reference is None else section.reference
    low, high = section.activation_energy
    choices = Choices(
        reference=reference,
        ranges=Ranges(activation_energy=(low / _PER_MOL, high / _PER_MOL), levelling=section.levelling),
        discrepancy=section.discrepancy,
        expected=_expected(gathered.choices.activation_energy),
    )
    course = stepped_programme(temperatures, rate=programme.rate, hold=programme.hold, scans=programme.scans)
    found = kinetics(samples, temperatures, course, choices, progress=gathered.progress)
    _remark(gathered, alike, programme)
    return dataset(_arrays(found, samples, temperatures, reference))


def _expected(possible: tuple[float, float]) -> tuple[float, float]:
    """Mean and standard deviation, eV, of the normal law that has 95 % within the ``possible`` energies, kJ/mol."""
    low, high = possible
    return (low + high) / 2 / _PER_MOL, (high - low) / (2 * 1.96) / _PER_MOL


def _is_map(member: Member) -> bool:
    mean = member.data["white_line_mean"]
    return mean.dims == ("temperature",) and mean.sizes["temperature"] >= _FEWEST and bool(np.isfinite(mean).all())


def _common_temperatures(members: Sequence[Member]) -> list[float] | None:
    """The series that most particles went through, the longer one of two."""
    series = [[float(each) for each in one.data["temperature"].values] for one in members]
    rising = [one for one in series if all(before < after for before, after in pairwise(one))]
    return max(rising, key=lambda one: (rising.count(one), len(one))) if rising else None


def _same(member: Member, temperatures: Sequence[float]) -> bool:
    return [float(each) for each in member.data["temperature"].values] == list(temperatures)


def _own_programme(gathered: Gathered, member: Member) -> Programme:
    stated = gathered.choices.conditions.get(member.name, ConditionsSection())
    usual = gathered.choices.kinetics
    return Programme(stated.rate or usual.rate, stated.hold or usual.hold, usual.scans)


def _programme(gathered: Gathered, members: Sequence[Member]) -> Programme:
    """That of the most members."""
    every = [_own_programme(gathered, one) for one in members]
    return max(every, key=every.count)


def _remark(gathered: Gathered, members: Sequence[Member], programme: Programme) -> None:
    said = gathered.choices.conditions
    stated = all(said.get(one.name, ConditionsSection()).hold is not None for one in members)
    words = (
        f"heated by {programme.rate:g} K/min between holds of {programme.hold / 60:g} min, "
        f"scanned from {programme.scans:.0%} of a hold to its end"
    )
    chosen = "kinetics" in gathered.choices.model_fields_set
    gathered.remark(words if stated or chosen else f"{words}: assumed, files and recipe do not say")


def heated_sample(name: str, members: Sequence[Member]) -> Heated:
    """The particles of a sample as one: means of means and of shells at the depths of the first.

    The uncertainty that a temperature has in common is not reduced by the number of particles, since they share its
    scale of energy; the scatter of the particles comes on top. Shells add what the sampling of domains makes of them:
    the spread of the map over the square root of the domains in a shell, which are 8 times the cube of the correlation
    length each (the integral of an exponential correlation is 8 pi times it; that of a measured one less).
    """
    shapes = [_shape(one) for one in members]
    depth = np.asarray(members[0].data["depth"].values, np.float64)
    means = np.array([_values(one, "white_line_mean") for one in members])
    stds = np.array([_values(one, "white_line_mean_std") for one in members])
    volumes = np.mean([shape.volume for shape in shapes], axis=0)
    profiles = np.array([_on_depths(one, "white_line_profile", depth) for one in members])
    own = np.array([_own_std(one, shape.volume, depth) for one, shape in zip(members, shapes, strict=True)])
    scatter = means.std(axis=0, ddof=1) / np.sqrt(len(members)) if len(members) > 1 else 0.0
    lengths = [_length(one) for one in members]
    known = volumes > 0
    return Heated(
        name=name,
        mean=means.mean(axis=0),
        mean_std=np.hypot(np.sqrt((stds**2).mean(axis=0)), scatter),
        depth=depth[known],
        volume=volumes[known],
        profile=profiles.mean(axis=0)[:, known],
        profile_std=np.sqrt((own**2).mean(axis=0) / len(members))[:, known],
        correlation_length=float(np.mean(lengths)),
        radius=float(np.mean([shape.radius for shape in shapes])),
        core=float(np.mean([shape.core for shape in shapes])),
    )


@dataclass(frozen=True)
class Shape:
    """Radii (um) of the spheres with the volumes of a particle and its hollow core, volumes (um³) of its shells."""

    radius: float
    core: float
    volume: Floats


def _shape(member: Member) -> Shape:
    """Of the particle at the first temperature, of large volumes at every few voxels."""
    inside = np.asarray(member.data["particle_mask"][0].values, dtype=bool)
    every = max(1, max(inside.shape) // _ENOUGH)
    inside = inside[box_of(inside)][::every, ::every, ::every]
    voxel = every * float(np.mean(np.diff(member.data["x"].values)))
    below = depth_below_surface(inside, voxel_size=voxel)
    depth = np.asarray(member.data["depth"].values, np.float64)
    edges = np.append(np.maximum(depth - depth[0], 0.0), depth[-1] + depth[0])
    edges[-1] = np.inf
    counts = np.histogram(below[inside], edges)[0]
    whole = np.asarray(binary_fill_holes(inside))
    hollow = float((whole & ~inside).sum()) * voxel**3
    radius, core = (float(np.cbrt(3 * volume / (4 * np.pi))) for volume in (whole.sum() * voxel**3, hollow))
    return Shape(radius, core if core > _LEAST_CORE * radius else 0.0, counts * voxel**3)


def _values(member: Member, name: str) -> Floats:
    return np.asarray(member.data[name].values, dtype=np.float64)


def _on_depths(member: Member, name: str, depth: Floats) -> Floats:
    """Profiles (temperature, depth) at the depths of another particle; NaN where this one has none."""
    own, rows = _values(member, "depth"), _values(member, name)
    return np.array([np.interp(depth, own, row, left=row[0], right=np.nan) for row in rows])


def _length(member: Member) -> float:
    if "correlation_length" not in member.data:
        return _DOMAIN
    values = _values(member, "correlation_length")
    known = values[np.isfinite(values) & (values > 0)]
    return float(np.median(known)) if known.size else _DOMAIN


def _own_std(member: Member, volume: Floats, depth: Floats) -> Floats:
    """Noise of shells, and what the sampling of domains makes of them, (temperature, depth)."""
    noise = _on_depths(member, "white_line_profile_std", depth)
    domains = np.maximum(volume / (8 * _length(member) ** 3), 1.0)
    spread = _values(member, "white_line_width") if "white_line_width" in member.data else np.zeros(len(noise))
    return np.hypot(noise, np.nan_to_num(spread)[:, None] / np.sqrt(domains))


def _arrays(
    found: Kinetics, samples: Sequence[Heated], temperatures: Sequence[float], reference: float
) -> list[xr.DataArray]:
    of_sample = np.arange(1, len(samples) + 1)
    sample = label("kinetic_sample", of_sample, ("kinetic_sample",))
    sample.attrs["names"] = [one.name for one in samples]
    model = label("kinetic_model", np.arange(1, len(MODELS) + 1), ("kinetic_model",))
    model.attrs["names"] = list(MODELS)
    shells = np.arange(1, max(one.depth.size for one in samples) + 1)
    coords = {
        "kinetic_sample": sample,
        "kinetic_model": model,
        "kinetic_shell": label("kinetic_shell", shells, ("kinetic_shell",)),
        "kinetic_draw": label("kinetic_draw", np.arange(1, _DRAWS + 1), ("kinetic_draw",)),
        "temperature": label("temperature", np.asarray(temperatures, np.float64), ("temperature",)),
    }
    arrays = [
        *_parameters(found, coords, reference),
        *_courses(found, samples, coords),
        *_left_out(found, samples, coords),
    ]
    for array in arrays:
        if array.name == "release_time":
            array.attrs["reference"] = reference
    return arrays


def _label(name: str, values: Floats, dims: tuple[str, ...], coords: dict[str, xr.DataArray]) -> xr.DataArray:
    source = "fit covariance" if name.endswith("_std") else None
    return label(name, values, dims, coords={dim: coords[dim] for dim in dims}, std_source=source)


def _known(
    name: str, bounds: Bounds | Sequence[Bounds], coords: dict[str, xr.DataArray], scale: float = 0.0
) -> list[xr.DataArray]:
    """A number with its intervals; times ``scale``, or the exponential if that is 0."""

    def shown(value: Floats | float) -> Floats:
        """In the unit of the array; a ratio or time that is not bounded from below is above zero."""
        return np.asarray(np.exp(value) if scale == 0 else scale * np.asarray(value))

    single = isinstance(bounds, Bounds)
    every = [bounds] if isinstance(bounds, Bounds) else list(bounds)
    dims: tuple[str, ...] = () if single else ("kinetic_sample",)

    def column(values: Sequence[float]) -> Floats:
        """One value, or one for each sample."""
        return shown(values[0]) if single else shown(np.asarray(values, np.float64))

    arrays = [_label(name, column([one.median for one in every]), dims, coords)]
    for level, prefix in enumerate(("", "wide_")):
        for side, end in enumerate(("low", "high")):
            values = column([float(one.interval[level, side]) for one in every])
            arrays.append(_label(f"{name}_{prefix}{end}", values, dims, coords))
    return arrays


def _parameters(found: Kinetics, coords: dict[str, xr.DataArray], reference: float) -> list[xr.DataArray]:
    linear = found.cloud.linear[:, -POWERS:][:, :2]
    drop, slope = linear.mean(axis=0)
    drop_std, slope_std = linear.std(axis=0)
    chosen = np.linspace(0, len(found.cloud.cube) - 1, _DRAWS).astype(int)
    times = [np.exp(found.cloud.log_release_time(index)[chosen]) for index in range(len(found.log_time))]
    return [
        *_known("release_energy", found.energy, coords, _PER_MOL),
        _label("release_energy_shift", np.asarray(found.energy_shift * _PER_MOL), (), coords),
        *_known("release_energy_alone", found.energy_alone, coords, _PER_MOL),
        *_known("release_time", found.log_time, coords),
        *_known("path_ratio", found.log_path, coords),
        _label("release_drop", np.asarray(drop), (), coords),
        _label("release_drop_std", np.asarray(drop_std), (), coords),
        _label("release_slope", np.asarray(slope), (), coords),
        _label("release_slope_std", np.asarray(slope_std), (), coords),
        _label("release_criterion", found.criterion, ("kinetic_model",), coords),
        _label("release_discrepancy", np.asarray(found.discrepancy), (), coords),
        _label("energy_draw", found.cloud.activation_energy[chosen] * _PER_MOL, ("kinetic_draw",), coords),
        _label("time_draw", np.array(times), ("kinetic_sample", "kinetic_draw"), coords),
    ]


def _padded(rows: Floats, count: int) -> Floats:
    """With NaN up to ``count`` shells."""
    return np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, count - rows.shape[-1])], constant_values=np.nan)


def _courses(found: Kinetics, samples: Sequence[Heated], coords: dict[str, xr.DataArray]) -> list[xr.DataArray]:
    """White line as measured and as fitted."""
    hold, shell = ("kinetic_sample", "temperature"), ("kinetic_sample", "temperature", "kinetic_shell")
    count = coords["kinetic_shell"].size
    models = [found.cloud.predicted(index) for index in range(len(samples))]
    quantiles = [0.5, *(value for level in LEVELS for value in ((1 - level) / 2, (1 + level) / 2))]
    means = np.array([np.quantile(mean, quantiles, axis=0) for mean, _ in models])
    names = ("", "_low", "_high", "_wide_low", "_wide_high")
    return [
        _label("release_line", np.array([one.mean for one in samples]), hold, coords),
        _label("release_line_std", np.array([one.mean_std for one in samples]), hold, coords),
        *(_label(f"release_line_model{name}", means[:, row], hold, coords) for row, name in enumerate(names)),
        _label(
            "release_depth",
            np.array([_padded(one.depth, count) for one in samples]),
            ("kinetic_sample", "kinetic_shell"),
            coords,
        ),
        _label("release_profile", np.array([_padded(one.profile, count) for one in samples]), shell, coords),
        _label("release_profile_std", np.array([_padded(one.profile_std, count) for one in samples]), shell, coords),
        _label(
            "release_profile_model",
            np.array([_padded(np.median(shells, axis=0), count) for _, shells in models]),
            shell,
            coords,
        ),
    ]


def _left_out(found: Kinetics, samples: Sequence[Heated], coords: dict[str, xr.DataArray]) -> list[xr.DataArray]:
    """Predictions of left-out temperatures, the straight line's, and both scores; NaN where nothing was left out."""
    hold, shell = ("kinetic_sample", "temperature"), ("kinetic_sample", "temperature", "kinetic_shell")
    empty = np.full((len(samples), coords["temperature"].size), np.nan)
    count = coords["kinetic_shell"].size
    rows: dict[str, Floats] = {}
    shells = np.full((2, *empty.shape, count), np.nan)
    for one in found.predictions:
        place = one.sample, one.hold
        value = float(samples[one.sample].mean[one.hold])
        sources = (
            ("left_out_line", "left_out_score", one.median, one.interval),
            ("straight_line", "straight_score", one.straight_value, one.straight),
        )
        for line, score, middle, interval in sources:
            rows.setdefault(line, empty.copy())[place] = middle
            for level, (prefix, width) in enumerate((("", "narrow"), ("wide_", "wide"))):
                low, high = interval[level]
                rows.setdefault(f"{line}_{prefix}low", empty.copy())[place] = low
                rows.setdefault(f"{line}_{prefix}high", empty.copy())[place] = high
                scored = interval_score(low=low, high=high, value=value, level=LEVELS[level])
                rows.setdefault(f"{score}_{width}", empty.copy())[place] = scored
        shells[:, one.sample, one.hold] = _padded(one.profile, count)
    return [
        *(_label(name, values, hold, coords) for name, values in rows.items()),
        _label("left_out_profile_low", shells[0], shell, coords),
        _label("left_out_profile_high", shells[1], shell, coords),
    ]


KINETICS = Relation(
    "kinetics",
    "Kinetics of oxygen release",
    release_kinetics,
    (
        "white_line_mean",
        "white_line_profile",
        "white_line_width",
        "correlation_length",
        "particle_mask",
    ),
    ("conditions", "kinetics", "activation_energy"),
)
