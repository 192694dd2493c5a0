"""What heating does to a charged particle: it loses oxygen, turns to spinel, and its lithium spreads.

Fields live on the cells of a `Polycrystal`, the transport grid. With A = I - (1 - r) c c^T of each grain:

    layered to spinel   dx1/dt = div(D1 A grad x1),  gas: k1 (X1(T) - x1),  X1 = 1 / (1 + exp(-(T - T1) / w1))
    later oxygen loss   dx2/dt = div(D2 A grad x2),  gas: k2 (x1 X2(T) - x2)
    spinel's vacancies  dv/dt = div(D1 A grad v),    gas: k1 (V(T) - v),
                                                     V = b max(T - 150, 0) / 50 + p ((T - 100) / 50)
    white line          dW = -s1 dx1 - s2 dx2 - dv + div(D_Li A grad W) dt,  no lithium leaves
    oxygen lost, wt%    m1 x1 + m2 x2 + mp ((T - 100) / 100)

where ((y)) is y cut to 0..1; a boundary between grains resists with g / kappa. T1 and T2 depend on the nickel
content and on the oxygen outside. Everything is driven by one set of parameters, whatever the arrangement of grains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import CathoscopeError
from cathoscope.core.parallel import Progress, Silent
from cathoscope.physics.kinetics import arrhenius_from_temperature, transition_temperature_from_pressure
from cathoscope.virtual.programme import Programme
from cathoscope.virtual.transport import Polycrystal, Rates, step

VACUUM = 1e-5  # bar of oxygen left in vacuum, or in argon
OXYGEN_FLOW = 1.0  # bar

Cells = NDArray[np.float64]


@dataclass(frozen=True)
class Process:
    """Transport of one kind of defect at ``reference`` degC and its activation energies (eV).

    ``diffusivity`` in um²/s; ``boundary`` and ``surface`` in um/s: a grain boundary with the largest misorientation,
    and exchange with the gas.
    """

    reference: float
    diffusivity: float
    boundary: float
    surface: float
    activation_energy: float

    def __post_init__(self) -> None:
        for name in ("diffusivity", "boundary", "surface", "activation_energy"):
            least = "above 0" if name == "diffusivity" else "0 or more"
            value = getattr(self, name)
            if not (0 <= value < np.inf) or (value == 0 and least == "above 0"):
                raise CathoscopeError(
                    f"the {name} of a process is out of range", expected=least, found=f"{value:g}", cure=f"{name}=1e-3"
                )

    def rates(self, temperature: float) -> Rates:
        """Rates at ``temperature`` (degC)."""
        scale = float(
            arrhenius_from_temperature(
                temperature=temperature, value=1.0, reference=self.reference, activation_energy=self.activation_energy
            )
        )
        return Rates(self.diffusivity * scale, self.boundary * scale, self.surface * scale)


@dataclass(frozen=True)
class Transition:
    """When the gas can take up a loss: half at ``middle`` (degC), over ``width`` (K), see `occupancy`.

    ``middle`` holds for `VACUUM` and the nickel share ``reference_nickel``; more nickel moves it by ``per_nickel``
    (K per unit of the share), oxygen outside moves it by the van 't Hoff equation with ``enthalpy`` (eV per O2).
    """

    middle: float
    width: float
    per_nickel: float = 0.0
    reference_nickel: float = 0.81
    enthalpy: float = 10.0

    def __post_init__(self) -> None:
        for name in ("width", "enthalpy"):
            if not 0 < getattr(self, name) < np.inf:
                raise CathoscopeError(
                    f"the {name} of a transition is out of range",
                    expected="above 0",
                    found=f"{getattr(self, name):g}",
                    cure=f"{name}=1",
                )

    def occupancy(self, temperature: float, *, nickel: float, oxygen: float) -> float:
        """Share of the loss that is in equilibrium with ``oxygen`` (bar) at ``temperature`` (degC)."""
        middle = float(
            transition_temperature_from_pressure(
                pressure=oxygen, temperature=self.middle, reference=VACUUM, enthalpy=self.enthalpy
            )
        )
        middle += self.per_nickel * (nickel - self.reference_nickel)
        return float(1.0 / (1.0 + np.exp(-np.clip((temperature - middle) / self.width, -500, 500))))


@dataclass(frozen=True)
class HeatingLaw:
    """All parameters, the same for every arrangement of grains; symbols as in the module's first lines.

    Attributes
    ----------
    spinel, later, lithium
        Transport of the oxygen of the layered-to-spinel transition, of the later loss, and of lithium.
    spinel_transition, later_transition
        When gas takes them up.
    slow_ratio, aligned_resistance
        Diffusivity along c over that in the plane; resistance of a boundary between parallel grains over the largest.
    line_of_spinel, line_of_later, line_of_vacancies, line_of_warming
        Drop of the white line, eV: s1, s2, b, p.
    mass_of_spinel, mass_of_later, mass_of_warming
        Mass lost, wt%: m1, m2, mp.
    charged_line, line_spread, frozen_share
        White line of the charged particle, eV; standard deviation of its nanodomains, eV; the share of it that lithium
        does not level.
    """

    spinel: Process = Process(150.0, 0.0208, 1.9e-5, 0.0208, 2.0)
    later: Process = Process(217.0, 0.0036, 0.0036 / 120, 0.0036 / 0.3, 2.5)
    lithium: Process = Process(150.0, 1e-3, 1e-3 / 5, 0.0, 0.6)
    spinel_transition: Transition = Transition(140.6, 0.3, per_nickel=-250.0)
    later_transition: Transition = Transition(160.0, 4.0, per_nickel=-250.0)
    slow_ratio: float = 0.05
    aligned_resistance: float = 0.1
    line_of_spinel: float = 1.87
    line_of_later: float = 0.22
    line_of_vacancies: float = 0.25
    line_of_warming: float = 0.02
    mass_of_spinel: float = 1.6
    mass_of_later: float = 7.0
    mass_of_warming: float = 0.5
    charged_line: float = 8350.45
    line_spread: float = 0.8
    frozen_share: float = 0.3

    def __post_init__(self) -> None:
        shares = ("slow_ratio", "aligned_resistance", "frozen_share")
        for name in (*shares, "line_spread"):
            highest = 1.0 if name in shares else np.inf
            if not 0 <= getattr(self, name) <= highest or (name == "slow_ratio" and self.slow_ratio == 0):
                raise CathoscopeError(
                    f"the {name} of the law is out of range",
                    expected="0 to 1" if name in shares else "0 or more",
                    found=f"{getattr(self, name):g}",
                    cure=f"{name}=0.3",
                )

    def vacancies(self, temperature: float) -> float:
        """V(T): drop of the white line by vacancies of the spinel in equilibrium with the gas, eV."""
        warm = self.line_of_warming * float(np.clip((temperature - 100) / 50, 0, 1))
        return warm + self.line_of_vacancies * max(temperature - 150, 0) / 50

    def mass_loss(self, spinel: ArrayLike, later: ArrayLike, temperature: float) -> NDArray[np.float64]:
        """Mass lost, wt%, where x1 and x2 are ``spinel`` and ``later``."""
        warm = self.mass_of_warming * float(np.clip((temperature - 100) / 100, 0, 1))
        return np.asarray(self.mass_of_spinel * np.asarray(spinel) + self.mass_of_later * np.asarray(later) + warm)


@dataclass(frozen=True)
class State:
    """The cells of a particle at one moment.

    ``spinel`` x1 and ``later`` x2 are 0 to 1, ``vacancies`` v and ``white_line`` W are eV; shape (cells,).
    W includes the nanodomains.
    """

    time: float
    temperature: float
    spinel: Cells
    later: Cells
    vacancies: Cells
    white_line: Cells


@dataclass(frozen=True)
class Track:
    """Means over the particle along a programme, one entry per time step; mass loss in wt%.

    ``oxygen_out`` is the spinel's oxygen that has passed the surface, in units of the particle's content: the
    balance demands that it equals ``spinel``.
    """

    time: Cells
    temperature: Cells
    spinel: Cells
    later: Cells
    white_line: Cells
    mass_loss: Cells
    oxygen_out: Cells


@dataclass(frozen=True)
class Charged:
    """A particle before heating: its cells, nickel share of the metals, and nanodomains (eV, mean 0, per cell)."""

    medium: Polycrystal
    nickel: float
    nanodomains: Cells


@dataclass
class _Fields:
    spinel: Cells
    later: Cells
    vacancies: Cells
    levelled: Cells  # white line without the frozen part of the nanodomains
    out: float = 0.0
    rows: list[tuple[float, ...]] = field(default_factory=list)


def heat(
    particle: Charged,
    law: HeatingLaw,
    programme: Programme,
    *,
    moments: Sequence[float] = (),
    oxygen: float = VACUUM,
    kelvin: float = 4.0,
    progress: Progress | None = None,
) -> tuple[Track, list[State]]:
    """Follow a particle through ``programme``.

    Parameters
    ----------
    particle, law, programme
        What is heated, how it reacts, and how.
    moments
        Times (s) at which the state of all cells is kept, ascending.
    oxygen
        Pressure of O2 outside, bar.
    kelvin
        Largest step of temperature, K.
    progress
        Advanced by one for every time step.

    Raises
    ------
    CathoscopeError
        If a moment lies outside the programme, or the pressure or the step is not positive.
    """
    _check(programme, moments, oxygen=oxygen, kelvin=kelvin)
    ends = programme.steps(kelvin=kelvin, must_hold=moments)
    wanted, states = set(moments), []
    progress = progress or Silent()
    progress.start("heating", ends.size - 1, "step")
    for moment in _walk(particle, law, programme, ends, oxygen):
        _note(moment, particle, law)
        if moment.time in wanted:
            states.append(_state(moment, particle, law))
        if moment.time > 0:
            progress.advance(1)
    progress.finish()
    return Track(*np.array(moment.fields.rows).T), states


def heated_states(
    particle: Charged, law: HeatingLaw, programme: Programme, *, moments: Sequence[float], kelvin: float = 4.0
) -> Iterator[State]:
    """The states that `heat` keeps in vacuum, one after the other: for more of them than memory holds.

    Raises
    ------
    CathoscopeError
        As `heat`.
    """
    _check(programme, moments, oxygen=VACUUM, kelvin=kelvin)
    wanted = set(moments)
    for moment in _walk(particle, law, programme, programme.steps(kelvin=kelvin, must_hold=moments), VACUUM):
        if moment.time in wanted:
            yield _state(moment, particle, law)


class _Moment(NamedTuple):
    """The fields at one time (s) and temperature (degC)."""

    time: float
    temperature: float
    fields: _Fields


def _walk(particle: Charged, law: HeatingLaw, programme: Programme, ends: Cells, oxygen: float) -> Iterator[_Moment]:
    """The beginning and the end of every time step."""
    fields = _charged_fields(particle, law)
    yield _Moment(0.0, float(programme.temperature(0.0)), fields)
    for start, end in pairwise(ends.tolist()):
        middle, temperature = (float(programme.temperature(time)) for time in ((start + end) / 2, end))
        _advance(fields, particle, law, duration=end - start, temperature=middle, oxygen=oxygen)
        yield _Moment(end, temperature, fields)


def _check(programme: Programme, moments: Sequence[float], *, oxygen: float, kelvin: float) -> None:
    if not (oxygen > 0 and kelvin > 0):
        raise CathoscopeError("heating needs a positive pressure and step", found=f"{oxygen:g} bar, {kelvin:g} K")
    if len(moments) and not 0 <= min(moments) <= max(moments) <= programme.times[-1]:
        raise CathoscopeError(
            "a moment lies outside the programme",
            expected=f"0 to {programme.times[-1]:g} s",
            found=f"{min(moments):g} to {max(moments):g} s",
        )


def _charged_fields(particle: Charged, law: HeatingLaw) -> _Fields:
    zeros = np.zeros(particle.medium.n_cells)
    levelled = law.charged_line + (1 - law.frozen_share) * particle.nanodomains
    return _Fields(zeros, zeros.copy(), zeros.copy(), levelled)


def _advance(
    fields: _Fields, particle: Charged, law: HeatingLaw, *, duration: float, temperature: float, oxygen: float
) -> None:
    """One time step at constant ``temperature``."""
    medium, conditions = particle.medium, {"nickel": particle.nickel, "oxygen": oxygen}
    oxygen_rates, later_rates = law.spinel.rates(temperature), law.later.rates(temperature)
    first = law.spinel_transition.occupancy(temperature, **conditions)
    second = law.later_transition.occupancy(temperature, **conditions)
    vacancies = law.vacancies(temperature)
    before = law.line_of_spinel * fields.spinel + law.line_of_later * fields.later + fields.vacancies
    if first > _NEGLIGIBLE and fields.spinel.min() < first - _NEGLIGIBLE:
        done = step(medium, fields.spinel, oxygen_rates, first, duration, _TOLERANCE)
        fields.spinel = done.field
        # x1 is the share of oxygen that is missing: it flows in as oxygen flows out.
        fields.out -= done.outflow / (medium.n_cells * medium.cell_volume)
    if vacancies > 0:
        fields.vacancies = step(medium, fields.vacancies, oxygen_rates, vacancies, duration, _TOLERANCE).field
    if second > _NEGLIGIBLE:
        fields.later = step(medium, fields.later, later_rates, fields.spinel * second, duration, _TOLERANCE).field
    after = law.line_of_spinel * fields.spinel + law.line_of_later * fields.later + fields.vacancies
    line, lithium = fields.levelled - (after - before), law.lithium.rates(temperature)
    fields.levelled = step(medium, line, lithium, 0.0, duration, _TOLERANCE).field


_NEGLIGIBLE = 1e-9
_TOLERANCE = 1e-5  # of every cell; the balance holds to rounding whatever it is


def _state(moment: _Moment, particle: Charged, law: HeatingLaw) -> State:
    time, temperature, fields = moment
    white_line = fields.levelled + law.frozen_share * particle.nanodomains
    return State(time, temperature, fields.spinel, fields.later, fields.vacancies, white_line)


def _note(moment: _Moment, particle: Charged, law: HeatingLaw) -> None:
    time, temperature, fields = moment
    spinel, later = float(fields.spinel.mean()), float(fields.later.mean())
    line = float(fields.levelled.mean() + law.frozen_share * particle.nanodomains.mean())
    loss = float(law.mass_loss(spinel, later, temperature))
    fields.rows.append((time, temperature, spinel, later, line, loss, fields.out))


def without_boundaries(law: HeatingLaw) -> HeatingLaw:
    """The same law with grain boundaries that do not resist (ablation)."""

    def free(process: Process) -> Process:
        """The process with boundaries that hold nothing up."""
        return replace(process, boundary=1e6 * process.diffusivity)

    return replace(law, spinel=free(law.spinel), later=free(law.later), lithium=free(law.lithium))
