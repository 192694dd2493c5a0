"""Coin cells of one material against lithium: protocols of Hou et al., and what each cell does in every cycle.

A cell holds so many grains of the particle whose `Course` is known. Its replicates differ in mass, load, growth of the
layer, and resistance. Resistance grows with the layer and with the time that lithium metal was plated:

    R(n) = R(0) (1 + growth t / 100 h) + film δ(n) / A(n)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cathoscope.physics.kinetics import FARADAY
from cathoscope.physics.species import atomic_mass
from cathoscope.virtual.cell import Cell, Cycler, Health, Points, Protocol, Side
from cathoscope.virtual.cell_health import Ageing, Course, Wear, course_of

Array = NDArray[np.float64]

DENSITY = 4.7  # g/cm3 of dense oxide
ONE_C = 200.0  # mAh/g
COIN_AGEING = Ageing(
    hairline=0.5,
    entering=1.0,
    layer=8.3117e-4,
    oxygen=5.8214e-5,
    oxygen_activation=140.0,
    film=1.0,
    spread=0.5,
)
"""Layer and oxygen are such that rod keeps 85.0 % and gravel 82.4 % of their second capacity after 150 cycles."""

NEW = 0.99  # filling of a cell that was never charged
_HUNDRED_HOURS = 100.0
_STEPS = 150.0  # of a half cycle at the nominal rate


@dataclass(frozen=True)
class CoinLaw:
    """What all coin cells have in common.

    Attributes
    ----------
    ageing
        Of their particles.
    pace
        Age of a particle per cycle (`Wear.age`).
    diffusivity, exchange
        um2/s along the planes and A/m2, at 25 degC.
    resistance
        Of lithium, electrolyte and contacts, ohm, when new.
    growth
        By which part of that it grows in 100 h.
    oxidation
        Of electrolyte, A/m2 of oxide at 4.5 V and 25 degC; ``forming`` times as much is added in the first cycle.
    """

    ageing: Ageing = COIN_AGEING
    pace: float = 0.03
    diffusivity: float = 1.5e-2
    exchange: float = 1.0
    resistance: float = 40.0
    growth: float = 0.4
    oxidation: float = 1.5e-3
    forming: float = 12.0


@dataclass(frozen=True)
class Replicate:
    """One cell: mass of oxide (mg), and factors of load, layer, resistance and oxidation."""

    mass: float
    load: float = 1.0
    layer: float = 1.0
    resistance: float = 1.0
    oxidation: float = 1.0


@dataclass(frozen=True)
class Programme:
    """What a cycler does: rates (C) of charge and discharge of every cycle, window (V), temperature (degC)."""

    charge: tuple[float, ...]
    discharge: tuple[float, ...]
    temperature: float = 25.0
    low: float = 2.5
    high: float = 4.5
    rest: float = 120.0

    @property
    def hours(self) -> float:
        """Of a cycle in the middle of the programme, at 1C = 200 mAh/g."""
        return float(np.median(1.0 / np.array(self.charge) + 1.0 / np.array(self.discharge)))


def steady(rate: float, cycles: int, *, formation: float, temperature: float) -> Programme:
    """One cycle at the rate ``formation``, and the others at ``rate``."""
    rates = (formation, *(rate for _ in range(cycles - 1)))
    return Programme(rates, rates, temperature)


def rate_capability(rates: Sequence[float], *, each: int, slowest_charge: float = 0.5) -> Programme:
    """``each`` cycles of discharge at each of ``rates``; charged as fast, but at ``slowest_charge`` at most."""
    discharge = tuple(rate for rate in rates for _ in range(each))
    return Programme(tuple(min(rate, slowest_charge) for rate in discharge), discharge)


class Turn(NamedTuple):
    """One cycle of one cell."""

    number: int
    charge: Points
    discharge: Points
    health: Health
    side: Side
    filling: Array


def theoretical_capacity(*, composition: Mapping[str, float]) -> float:
    """F / (3.6 M), mAh/g, of LiMO2 with shares of metals ``composition``."""
    mass = sum(share * atomic_mass(species=metal) for metal, share in composition.items())
    return FARADAY / (3.6 * (mass + atomic_mass(species="Li") + 2.0 * atomic_mass(species="O")))


def course_of_cell(wear: Wear, law: CoinLaw, cell: Replicate, programme: Programme) -> Course:
    """What its particles go through in the programme."""
    ageing = replace(law.ageing, layer=law.ageing.layer * cell.layer)
    return course_of(
        wear,
        ageing,
        cycles=len(programme.charge),
        hours=programme.hours,
        temperature=programme.temperature,
        load=law.pace * cell.load,
    )


def coin_cell(wear: Wear, law: CoinLaw, cell: Replicate, programme: Programme, specific: float) -> Cell:
    """The cell; ``specific`` is the charge of all lithium, mAh/g."""
    return Cell(
        sites=1e-6 * cell.mass * specific,
        diffusivity=law.diffusivity * wear.openness,
        exchange=law.exchange,
        temperature=programme.temperature,
    )


def health_in(
    number: int, course: Course, cell: Cell, law: CoinLaw, replicate: Replicate, programme: Programme
) -> tuple[Health, Side]:
    """State of a cell in cycle ``number``, from 1, and what flows beside its lithium."""
    n = number - 1
    particles = 1e9 * replicate.mass / (DENSITY * course.length[n] * course.area[n] / 3.0)  # 1 mg/(g/cm3) is 1e9 um3
    area = 1e-12 * particles * course.area[n]
    hours = n * programme.hours
    series = law.resistance * replicate.resistance * (1.0 + law.growth * hours / _HUNDRED_HOURS)
    health = Health(
        contact=float(course.contact[n]),
        area=area * float(course.held[n]),
        length=float(course.length[n]),
        resistance=float(series + law.ageing.film * course.layer[n] / area),
    )
    more = 1.0 + (law.forming if number == 1 else 0.0)
    return health, Side(oxidation=law.oxidation * replicate.oxidation * more * cell.warmer * health.area)


def filling_when_charged(
    wear: Wear, law: CoinLaw, replicate: Replicate, programme: Programme, specific: float
) -> float:
    """Mean lithium per site at the end of the first charge."""
    course = course_of_cell(wear, law, replicate, programme)
    cell = coin_cell(wear, law, replicate, programme, specific)
    health, side = health_in(1, course, cell, law, replicate, programme)
    rate = programme.charge[0]
    current = 1e-6 * rate * replicate.mass * ONE_C
    cycler = Cycler.fresh(cell, Protocol(current, programme.low, programme.high, 3600.0 / rate / _STEPS), NEW)
    cycler.half(health, charge=True, side=side)
    return cycler.mean_filling


def turns(wear: Wear, law: CoinLaw, replicate: Replicate, programme: Programme, specific: float) -> list[Turn]:
    """All cycles of a cell, from the first charge on."""
    course = course_of_cell(wear, law, replicate, programme)
    cell = coin_cell(wear, law, replicate, programme, specific)
    one_c = 1e-6 * replicate.mass * ONE_C
    cycler = Cycler.fresh(cell, Protocol(one_c, programme.low, programme.high, 1.0), NEW)
    done = []
    for number, rates in enumerate(zip(programme.charge, programme.discharge, strict=True), start=1):
        health, side = health_in(number, course, cell, law, replicate, programme)
        halves = []
        for rate, charge in zip(rates, (True, False), strict=True):
            cycler.protocol = Protocol(
                rate * one_c, programme.low, programme.high, 3600.0 / rate / _STEPS, rest=programme.rest
            )
            halves.append(cycler.half(health, charge=charge, side=side))
        done.append(Turn(number, halves[0], halves[1], health, side, cycler.filling.copy()))
    return done
