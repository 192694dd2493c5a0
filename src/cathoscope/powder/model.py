"""The calculated patterns of a refinement: phases in banks, from named numbers to peaks on a background.

Names of numbers:

    NMC.a, NMC.c                        free edges and angles of the cell
    NMC.Ni1.occupancy .u .x .U11        of a site: what symmetry leaves free
    NMC.size .size_axial .size_lorentz  column length (um), along the axis of a uniaxial model, Lorentzian share
    NMC.strain .strain_axial ...        full width of delta d / d, 1e-6; NMC.S400 ... of Stephens' model
    NMC.march, NMC.C2,1, NMC.extinction texture and extinction
    bank1.NMC.scale                     proportional to the number of unit cells in the beam
    bank1.NMC.F2.1,0,4                  scale x |F|^2, where intensities do not follow from a structure
    bank1.difC, bank1.zero, ...         of the bank, see `cathoscope.core.bank`
    bank1.background.0, ...             Chebyshev coefficients
    bank1.absorption                    muR, at 1 A for time of flight
    bank1.across .along .height .depth  displacement of the sample, um

A number of a phase may be one bank's own: where bank1.NMC.a is among the numbers, it stands for NMC.a in that bank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.bank import Bank
from cathoscope.numerics.dual import Dual, Graded, mapped, stacked, value_of
from cathoscope.powder.crystallite import Crystallite, broadenings_of, texture_of
from cathoscope.powder.extraction import Extraction, extraction_of
from cathoscope.powder.grid import Grid, grid_of
from cathoscope.powder.intensity import (
    extinction_from_strength,
    extinction_strength,
    lorentz_from_angle,
    lorentz_from_spacing,
    polarisation_from_angle,
    transmission_of_cylinder,
)
from cathoscope.powder.parameters import Values
from cathoscope.powder.pattern import CwReflections, TofReflections, summed
from cathoscope.powder.position import (
    Displacement,
    spacing_from_tof,
    spacing_from_two_theta,
    tof_from_spacing,
    two_theta_from_spacing,
)
from cathoscope.powder.profile_cw import GSAS2_LEAST_AXIAL
from cathoscope.powder.profile_tof import LorentzPart
from cathoscope.powder.refine import Residual
from cathoscope.powder.scattering import Scatterers, neutron_scatterers, xray_scatterers
from cathoscope.powder.structure import (
    Reflections,
    metric_from_cell,
    reflections_between,
    spacing_from_metric,
    volume_from_cell,
)
from cathoscope.powder.structure_factor import SumPlan, squared_structure_factor, sum_plan
from cathoscope.powder.width import Broadening, cw_shape, tof_shape

Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

EFFECTS = ("absorption", "across", "along", "height", "depth")
"""What the place and the size of a sample do to a pattern; see the names above."""

_BEYOND = 1.03  # spacings beyond the ends of a pattern whose wings reach into it
_DISPLACEMENTS = EFFECTS[1:]


@dataclass(frozen=True, eq=False)
class Pattern:
    """One measured pattern and its bank.

    Attributes
    ----------
    name
        Of the bank in the names of numbers.
    bank
        What the diffractometer is.
    x
        Time of flight (us) or two theta (deg), increasing, [m].
    y, std
        Intensity and its standard uncertainty, [m].
    used
        Points that count, [m].
    background
        Functions of the background [m, b] whose coefficients are ``name.background.0`` and so on.
    lorentz
        Peaks as the laws have them, or as GSAS-II computes them: the Lorentz part of time of flight, axial divergence.
    table
        Of the scattering lengths, see `cathoscope.physics.neutron`.
    effects
        Those of `EFFECTS` that have a number in the refinement, which starts at zero.
    """

    name: str
    bank: Bank
    x: Array
    y: Array
    std: Array
    used: BoolArray
    background: Array
    lorentz: LorentzPart = "exact"
    table: str = "sears1992"
    effects: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Structure:
    """How to sum structure factors, and what scatters."""

    plan: SumPlan
    scatterers: Scatterers


@dataclass(frozen=True, eq=False)
class _Seen:
    """One phase in one pattern: its reflections, and how strong they are."""

    phase: Crystallite
    pattern: Pattern
    reflections: Reflections
    strength: _Structure | Extraction


@dataclass(frozen=True, eq=False)
class Model:
    """Patterns and phases, with all that stays the same during a refinement."""

    patterns: tuple[Pattern, ...]
    phases: tuple[Crystallite, ...]
    grids: tuple[Grid, ...]
    seen: tuple[tuple[_Seen, ...], ...]


def model_of(patterns: Sequence[Pattern], phases: Sequence[Crystallite]) -> Model:
    """A model of patterns and phases: reflections in the range of each pattern, made once.

    Raises
    ------
    MeasurementError
        If a phase has no reflection in the range of a pattern, or a structure cannot be.
    """
    grids = tuple(grid_of(one.x[one.used]) for one in patterns)
    seen = tuple(tuple(_seen(phase, pattern) for phase in phases) for pattern in patterns)
    return Model(tuple(patterns), tuple(phases), grids, seen)


def part_of(model: Model, names: Sequence[str]) -> Model:
    """The same patterns with the phases of these names only."""
    kept = [number for number, phase in enumerate(model.phases) if phase.phase.name in names]
    seen = tuple(tuple(one[number] for number in kept) for one in model.seen)
    return Model(model.patterns, tuple(model.phases[number] for number in kept), model.grids, seen)


def spacing_range(pattern: Pattern) -> tuple[float, float]:
    """Smallest and largest spacing (A) of the points that are used."""
    ends = pattern.x[pattern.used][[0, -1]]
    return _spacings_of(pattern.bank, ends)


def spacings_of(bank: Bank, x: Array) -> Array:
    """Spacings (A) at points of a pattern (us or deg)."""
    if bank.kind == "tof":
        return value_of(spacing_from_tof(tof=x, values=bank.values))
    return value_of(spacing_from_two_theta(two_theta=x, wavelength=bank.values["wavelength"], zero=bank.values["zero"]))


def _spacings_of(bank: Bank, ends: Array) -> tuple[float, float]:
    if bank.kind == "cw":
        ends = np.maximum(ends, 0.1 + bank.values["zero"])
    found = np.sort(spacings_of(bank, ends))
    return float(found[0]), float(found[1])


def _seen(phase: Crystallite, pattern: Pattern) -> _Seen:
    """What of a phase a pattern sees."""
    low, high = spacing_range(pattern)
    bank, species = pattern.bank, [site.species for site in phase.phase.sites]
    if bank.kind == "cw":
        low = max(low / _BEYOND, 0.5001 * max(bank.values["wavelength"], bank.values["wavelength2"]))
    else:
        low /= _BEYOND
    reflections = reflections_between(phase.symmetry, phase.phase.cell, low, high * _BEYOND)
    way = phase.choices.intensities
    if way != "structure":
        d = value_of(spacing_from_metric(hkl=reflections.hkl, metric=metric_from_cell(cell=phase.phase.cell)))
        return _Seen(phase, pattern, *extraction_of(way, bank, pattern.x[pattern.used], reflections, d))
    if bank.radiation == "neutron":
        scatterers = neutron_scatterers(species, pattern.table)
    else:
        scatterers = xray_scatterers(species, bank.values["wavelength"])
    plan = sum_plan(phase.symmetry, phase.phase.sites, reflections.hkl)
    return _Seen(phase, pattern, reflections, _Structure(plan, scatterers))


def extractions_of(model: Model, number: int) -> dict[str, Extraction]:
    """Phases of pattern ``number`` whose intensities do not follow from a structure, by name."""
    return {one.phase.phase.name: one.strength for one in model.seen[number] if isinstance(one.strength, Extraction)}


def reflections_seen(model: Model, number: int, phase: str) -> Reflections:
    """Reflections of a phase that pattern ``number`` is computed with."""
    return next(one.reflections for one in model.seen[number] if one.phase.phase.name == phase)


def calculated(model: Model, number: int, values: Values) -> Graded:
    """Pattern ``number`` at its used points, [m]: background and all phases."""
    return background_of(model, number, values) + peaks_of(model, number, values)


def background_of(model: Model, number: int, values: Values) -> Graded:
    """Background of pattern ``number`` at its used points, [m]."""
    pattern = model.patterns[number]
    count = pattern.background.shape[1]
    if not count:
        return np.zeros(int(pattern.used.sum()))
    coefficients = stacked([values[f"{pattern.name}.background.{k}"] for k in range(count)])
    return mapped(pattern.background[pattern.used], coefficients)


def peaks_of(model: Model, number: int, values: Values, phase: str | None = None) -> Graded:
    """Peaks of all phases, or of one, in pattern ``number`` at its used points, [m]."""
    tables = [
        table
        for seen in model.seen[number]
        if phase is None or seen.phase.phase.name == phase
        for table in reflections_of(seen, values)
    ]
    return summed(grid=model.grids[number], reflections=tables)


def residuals_of(model: Model, values: Values, std: Sequence[Array] | None = None) -> list[Residual]:
    """All patterns against their calculation; ``std`` [m] of the used points instead of the patterns' own."""
    out = []
    for number, pattern in enumerate(model.patterns):
        made, used = calculated(model, number, values), pattern.used
        weight = 1 / (pattern.std[used] if std is None else std[number])
        slope = made.slope * weight[:, None] if isinstance(made, Dual) else np.zeros((made.size, 0))
        out.append(Residual((pattern.y[used] - value_of(made)) * weight, slope))
    return out


def reflections_of(seen: _Seen, values: Values) -> list[TofReflections | CwReflections]:
    """The peaks of a phase in a pattern; two lists where the radiation has two wavelengths."""
    own = numbers_in(seen.pattern.name, seen.phase.phase.name, values)
    bank = bank_values(seen.pattern, values)
    cell = seen.phase.cell_from(own)
    metric = metric_from_cell(cell=cell)
    d = spacing_from_metric(hkl=seen.reflections.hkl, metric=metric)
    strength = _strength(seen, own, bank, (cell, metric, d), values.get(f"{seen.pattern.name}.absorption"))
    broadenings = broadenings_of(seen.phase, seen.reflections.hkl, own, d=d, metric=metric)
    if seen.pattern.bank.kind == "tof":
        position = tof_from_spacing(d=d, values=bank)
        return [
            TofReflections(
                strength, position, *tof_shape(values=bank, d=d, broadenings=broadenings), seen.pattern.lorentz
            )
        ]
    tables: list[TofReflections | CwReflections] = []
    for wavelength, share in _wavelengths(bank):
        kept = value_of(d) > 0.5 * float(value_of(wavelength))
        spacing, height = (d, strength) if kept.all() else (d[kept], strength[kept])
        position = two_theta_from_spacing(
            d=spacing,
            wavelength=wavelength,
            zero=bank["zero"],
            displacement=displacement_of(seen.pattern, bank, values),
        )
        bragg = two_theta_from_spacing(d=spacing, wavelength=wavelength)
        chosen = broadenings if kept.all() else [Broadening(one.width[kept], one.lorentz) for one in broadenings]
        shape = cw_shape(values=bank, two_theta=bragg, broadenings=chosen)
        axial = _axial_of(seen.pattern, bank)
        tables.append(CwReflections(height * share, position, *shape, axial, seen.pattern.lorentz))
    return tables


def numbers_in(pattern: str, phase: str, values: Values) -> dict[str, float | Dual]:
    """Numbers of a phase without its name, as they are in one pattern."""
    own, there = f"{phase}.", f"{pattern}.{phase}."
    found = {name.removeprefix(own): one for name, one in values.items() if name.startswith(own)}
    return found | {name.removeprefix(there): one for name, one in values.items() if name.startswith(there)}


def bank_values(pattern: Pattern, values: Values) -> dict[str, float | Dual]:
    """Numbers of the bank, those of the refinement before those of its file."""
    return {name: values.get(f"{pattern.name}.{name}", value) for name, value in pattern.bank.values.items()}


def _strength(
    seen: _Seen,
    own: Values,
    bank: Values,
    place: tuple[Graded, Graded, Graded],
    absorption: float | Dual | None,
) -> Graded:
    """Areas of the reflections: scale x multiplicity x |F|^2 / V x Lorentz x polarisation x texture x losses."""
    cell, metric, d = place
    pattern = seen.pattern
    if isinstance(seen.strength, Extraction):
        squared = seen.strength.squared(own)
    else:
        sums = seen.strength
        squared = squared_structure_factor(sums.plan, seen.phase.sites_from(own), sums.scatterers, d, metric)
    volume = volume_from_cell(cell=cell)
    area = own["scale"] * (squared * seen.reflections.multiplicity / volume)
    tof = pattern.bank.kind == "tof"
    two_theta: Graded
    wavelength: Graded | float
    if tof:
        two_theta = np.radians(np.asarray(value_of(bank["two_theta"])))
        wavelength = d * float(2 * np.sin(two_theta / 2))
        area = area * lorentz_from_spacing(d=d, two_theta=float(value_of(bank["two_theta"])))
    else:
        wavelength = bank["wavelength"]
        two_theta = np.radians(two_theta_from_spacing(d=d, wavelength=bank["wavelength"]))
        area = area * lorentz_from_angle(theta=two_theta * 0.5)
    if pattern.bank.radiation == "xray":
        area = area * polarisation_from_angle(
            two_theta=two_theta, polarisation=bank["polarisation"], azimuth=float(value_of(bank["azimuth"]))
        )
    texture = texture_of(seen.phase, seen.reflections.hkl, own, metric=metric)
    area = area if texture is None else area * texture
    if absorption is not None:
        # of a cylinder; for time of flight in proportion to the wavelength
        depth = absorption * wavelength if tof else absorption
        area = area * transmission_of_cylinder(theta=two_theta * 0.5, absorption=depth)
    if "extinction" in own:
        strength = extinction_strength(
            extinction=own["extinction"],
            squared_factor=squared,
            wavelength=wavelength,
            volume=float(volume) if not isinstance(volume, Dual) else volume,
            two_theta=two_theta if pattern.bank.radiation == "xray" else None,
        )
        area = area * extinction_from_strength(strength=strength, theta=two_theta * 0.5)
    return area


def _wavelengths(bank: Values) -> list[tuple[float | Dual, float | Dual]]:
    """Wavelengths and their shares of the intensity."""
    found: list[tuple[float | Dual, float | Dual]] = [(bank["wavelength"], 1.0)]
    if float(value_of(bank["wavelength2"])) > 0 and float(value_of(bank["ratio"])) > 0:
        found.append((bank["wavelength2"], bank["ratio"]))
    return found


def _axial_of(pattern: Pattern, bank: Values) -> float | Dual:
    """Axial divergence of a bank, which GSAS-II never takes as less than 0.002."""
    axial = bank["axial"]
    return max(axial, GSAS2_LEAST_AXIAL) if pattern.lorentz == "gsas2" else axial


def displacement_of(pattern: Pattern, bank: Values, values: Values) -> Displacement | None:
    """How the sample is displaced, where the refinement has a number for it."""
    found = {name: values[f"{pattern.name}.{name}"] for name in _DISPLACEMENTS if f"{pattern.name}.{name}" in values}
    return Displacement(float(value_of(bank["radius"])), **found) if found else None
