r"""One particle as a cell: mass, capacity and current from its size, a plan, and what pA of offset do to its numbers.

    V = pi d^3 / 6, or the volume of a segmentation;    m = rho V (1 - porosity);    Q = q m;    I = rate Q / 1 h

A relative error of the diameter counts three times: dI/I = 3 dd/d. Uncertainties are carried over to first order, which
holds while they are below 10 % in diameter; scatter and systematic parts are kept apart.

    q_th = n F / (3.6 M) mAh/g,    n lithium per formula unit of the molar mass M

A current I0 that flows beside the reaction (leakage), or that the instrument adds (offset), makes

    efficiency measured = efficiency (I - I0) / (I + I0),    about efficiency - 2 I0 / I
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import hypot, pi

import numpy as np

from cathoscope.core.errors import CathoscopeError, MeasurementError
from cathoscope.lab.half_cycles import runs_of
from cathoscope.lab.record import SECONDS_PER_HOUR, Record, rest_level_of
from cathoscope.numerics.estimate import Estimate
from cathoscope.physics.kinetics import FARADAY
from cathoscope.physics.species import atomic_mass

_NO_METAL = frozenset({"Li", "Na", "K", "O", "F", "P", "S", "H", "N", "C"})
_PIECE = re.compile(r"([A-Z][a-z]?)(\d*\.?\d*)")
_GROUP = re.compile(r"\(([^()]*)\)(\d*\.?\d*)")
_WHOLE = 1e-3  # by which metals may miss 1 before they are normalised
_ROWS = 500  # of a record in one half cycle


@dataclass(frozen=True)
class Oxide:
    """Atoms per formula unit of a cathode, with metals of sum 1, and what was done to make it so."""

    amount: Mapping[str, float]
    remarks: tuple[str, ...] = ()

    @property
    def molar_mass(self) -> float:
        """g/mol."""
        return sum(number * atomic_mass(species=name) for name, number in self.amount.items())


def oxide_of(formula: str) -> Oxide:
    """A formula such as "LiNi0.8Mn0.1Co0.1O2" or "Li(Ni0.68Co0.18Mn0.18)O2"; metals are normalised to the sum 1.

    Raises
    ------
    MeasurementError
        If it is no formula of known elements with lithium and a metal.
    """
    text = formula.replace(" ", "")
    amount: dict[str, float] = {}
    outside = _GROUP.sub("", text)
    parts = [(inside, float(factor or 1)) for inside, factor in _GROUP.findall(text)]
    for part, factor in [(outside, 1.0), *parts]:
        if "".join(name + number for name, number in _PIECE.findall(part)) != part:
            raise _no_formula(formula)
        for name, number in _PIECE.findall(part):
            amount[name] = amount.get(name, 0.0) + factor * float(number or 1)
    metals = [name for name in amount if name not in _NO_METAL]
    total = sum(amount[name] for name in metals)
    try:
        known = all(atomic_mass(species=name) > 0 for name in amount)
    except CathoscopeError as error:
        raise _no_formula(formula) from error
    if not known or not total > 0 or not amount.get("Li", 0.0) > 0:
        raise _no_formula(formula)
    if abs(total - 1) <= _WHOLE:
        return Oxide(amount)
    amount |= {name: amount[name] / total for name in metals}
    return Oxide(amount, (f"the metals of {formula} sum to {total:.4g}: they were normalised to 1",))


def _no_formula(formula: str) -> MeasurementError:
    return MeasurementError(
        "not the formula of a cathode",
        expected="elements and numbers with lithium and a metal, such as LiNi0.8Mn0.1Co0.1O2",
        found=repr(formula),
    )


def theoretical_capacity_from_formula(*, oxide: Oxide, lithium: float | None = None) -> float:
    """q_th = n F / (3.6 M), mAh/g: all ``lithium`` per formula unit (that of the formula) taken out."""
    number = oxide.amount["Li"] if lithium is None else lithium
    return number * FARADAY / (3.6 * oxide.molar_mass)


def volume_from_diameter(*, diameter: Estimate) -> Estimate:
    """V = pi d^3 / 6 of a sphere, um³, from um; dV/V = 3 dd/d.

    Raises
    ------
    MeasurementError
        If the diameter is not positive.
    """
    return _powers(pi / 6.0, (_positive(diameter, "a diameter", "um"), 3.0))


def mass_from_volume(*, volume: Estimate, density: Estimate, porosity: Estimate) -> Estimate:
    """m = rho V (1 - porosity), mg, from um³, g/cm³ of the solid, and the share of pores.

    Raises
    ------
    MeasurementError
        If volume or density are not positive, or the porosity is not between 0 and 1.
    """
    solid = Estimate(1.0 - porosity.value, porosity.std, porosity.systematic)
    if not 0 <= porosity.value < 1:
        raise MeasurementError("a porosity is a share", expected="0 or more, below 1", found=f"{porosity.value:g}")
    return _powers(
        1e-9, (_positive(volume, "a volume", "um3"), 1.0), (_positive(density, "a density", "g/cm3"), 1.0), (solid, 1.0)
    )


def capacity_from_mass(*, mass: Estimate, specific: Estimate) -> Estimate:
    """Q = q m, Ah, from mg and mAh/g."""
    return _powers(1e-6, (mass, 1.0), (_positive(specific, "a specific capacity", "mAh/g"), 1.0))


def current_from_rate(*, capacity: Estimate, rate: float) -> Estimate:
    """I = rate Q / 1 h, A: at ``rate`` 1 the capacity, Ah, flows in an hour."""
    return _powers(rate, (capacity, 1.0))


def rate_from_current(*, capacity: Estimate, current: float) -> Estimate:
    """Rate (multiple of 1C) at which ``current``, A, moves the capacity, Ah."""
    return _powers(abs(current), (_positive(capacity, "a capacity", "Ah"), -1.0))


def _positive(value: Estimate, name: str, unit: str) -> Estimate:
    if not value.value > 0:
        raise MeasurementError(f"{name} must be above zero", expected=f"{unit} above 0", found=f"{value.value:g}")
    return value


def _powers(factor: float, *terms: tuple[Estimate, float]) -> Estimate:
    """factor x^p y^q ... with relative uncertainties p dx/x in quadrature, scatter and systematic apart."""
    value = factor * float(np.prod([one.value**power for one, power in terms]))
    parts = [hypot(*(power * one[part] / one.value for one, power in terms)) if value else 0.0 for part in (1, 2)]
    return Estimate(value, abs(value) * parts[0], abs(value) * parts[1])


@dataclass(frozen=True)
class Plan:
    """What to set for a particle, and what to expect.

    Attributes
    ----------
    mass, theoretical, capacity
        mg; charge of all its lithium and charge expected in the window, Ah.
    rate, current
        Multiple of 1C, and the current for it, A.
    duration
        Of one charge or discharge, s.
    window
        Limits of the voltage, V.
    charge_limit, time_limit
        Charge, Ah, and time, s, at which a half cycle is to be ended as shorted.
    row_time
        Between rows of the record, s.
    largest_offset
        Current, A, beside the reaction at which the Coulombic efficiency is 1 % off.
    remarks
        What was assumed.
    """

    mass: Estimate
    theoretical: Estimate
    capacity: Estimate
    rate: float
    current: Estimate
    duration: Estimate
    window: tuple[float, float]
    charge_limit: float
    time_limit: float
    row_time: float
    largest_offset: float
    remarks: tuple[str, ...]

    def lines(self) -> tuple[str, ...]:
        """The sheet, a line per number."""
        return (
            f"mass                {_said(self.mass, 1e6, 'ng')}",
            f"capacity, expected  {_said(self.capacity, 1e9, 'nAh')}",
            f"capacity, all Li    {_said(self.theoretical, 1e9, 'nAh')}",
            f"current at {self.rate:g}C".ljust(20) + _said(self.current, 1e12, "pA"),
            f"half cycle          {_said(self.duration, 1 / 60, 'min')}",
            f"window              {self.window[0]:g} to {self.window[1]:g} V",
            f"end as shorted at   {1e9 * self.charge_limit:.3g} nAh or {self.time_limit / 60:.3g} min",
            f"a row every         {self.row_time:.2g} s",
            f"1 % of efficiency   {1e12 * self.largest_offset:.2g} pA of offset or leakage",
            *(f"note: {remark}" for remark in self.remarks),
        )


def _said(value: Estimate, factor: float, unit: str) -> str:
    return f"{factor * value.value:.4g} +- {factor * value.total:.2g} {unit}"


def plan_of(
    *, mass: Estimate, oxide: Oxide, specific: Estimate, rate: float, window: tuple[float, float] = (2.8, 4.4)
) -> Plan:
    """The plan for a particle of ``mass`` mg at ``rate`` C, ``specific`` being mAh/g expected in the ``window``.

    1C is the current that moves the expected capacity in an hour. A half cycle that passes three standard uncertainties
    more than all lithium is shorted, as is one that lasts as long.

    Raises
    ------
    MeasurementError
        If the rate is not positive or the window no range.
    """
    if not rate > 0 or not window[0] < window[1]:
        raise MeasurementError(
            "this cannot be planned", expected="a rate above 0, a lower and an upper limit of the voltage",
            found=f"{rate:g}C, {window[0]:g} to {window[1]:g} V",
        )  # fmt: skip
    theoretical = capacity_from_mass(
        mass=mass, specific=Estimate(theoretical_capacity_from_formula(oxide=oxide), 0.0, 0.0)
    )
    capacity = capacity_from_mass(mass=mass, specific=specific)
    current = current_from_rate(capacity=capacity, rate=rate)
    hour = SECONDS_PER_HOUR / rate
    limit = theoretical.value + 3 * theoretical.total
    said = [f"1C is taken as {specific.value:.4g} mAh/g", *oxide.remarks]
    if specific.value > theoretical_capacity_from_formula(oxide=oxide):
        said.append("more is expected than all its lithium holds")
    # set to this current, the particle is emptied sooner or later by what its capacity is not known
    known = specific.std / specific.value, specific.systematic / specific.value
    spread = [hypot(mass[part] / mass.value, known[part - 1]) for part in (1, 2)]
    return Plan(
        mass=mass,
        theoretical=theoretical,
        capacity=capacity,
        rate=rate,
        current=current,
        duration=Estimate(hour, hour * spread[0], hour * spread[1]),
        window=window,
        charge_limit=limit,
        time_limit=limit / current.value * SECONDS_PER_HOUR,
        row_time=hour / _ROWS,
        largest_offset=0.005 * current.value,
        remarks=tuple(said),
    )


def offset_of(record: Record, *, rest_level: float | None = None) -> Estimate:
    """Current, A, that the instrument shows in rests, from the means of all rests but their first and last rows.

    With several rests its uncertainty is their scatter. Leakage within the cell does not show in it: that discharges
    the cell, and shows in the voltage of a rest.

    Raises
    ------
    MeasurementError
        If no rest has 5 rows.
    """
    level = rest_level_of(record) if rest_level is None else rest_level
    runs = runs_of(record.current, level)
    rests = [
        record.current[first + 1 : stop - 1]
        for first, stop, sign in zip(*runs, strict=True)
        if sign == 0 and stop - first >= 5
    ]
    if not rests:
        raise MeasurementError(
            "no rest tells the offset of the instrument",
            expected=f"5 rows or more with currents below {level:.2g} A",
            found="none",
        )
    every = np.concatenate(rests)
    within = float(every.std(ddof=1) / np.sqrt(every.size))
    if len(rests) < 2:
        return Estimate(float(every.mean()), within)
    means, rows = np.array([one.mean() for one in rests]), np.array([one.size for one in rests])
    share = rows / rows.sum()
    between = float(np.sqrt((share**2 * (means - every.mean()) ** 2).sum() * len(rests) / (len(rests) - 1)))
    return Estimate(float(every.mean()), max(within, between))


def efficiency_factor_from_leakage(*, current: float, leakage: float) -> float:
    """(I - I0) / (I + I0): what a current I0 beside the reaction, A, makes of a Coulombic efficiency.

    I0 is counted as it discharges the cell, or as the instrument adds it to what it shows.
    """
    return (abs(current) - leakage) / (abs(current) + leakage)


def efficiency_without_leakage(*, efficiency: Estimate, current: float, leakage: Estimate) -> Estimate:
    """Coulombic efficiency as it were without leakage and offset, A; the leakage's uncertainty counts as systematic.

    Raises
    ------
    MeasurementError
        If leakage is as large as the current.
    """
    size = abs(current)
    if abs(leakage.value) >= size:
        raise MeasurementError(
            "the leakage is as large as the current", expected=f"below {size:.3g} A", found=f"{leakage.value:.3g} A"
        )
    factor = efficiency_factor_from_leakage(current=size, leakage=leakage.value)
    value = efficiency.value / factor
    slope = 2.0 * size / (size**2 - leakage.value**2)  # of the logarithm of the factor with the leakage
    return Estimate(
        value, efficiency.std / factor, hypot(efficiency.systematic / factor, value * slope * leakage.total)
    )
