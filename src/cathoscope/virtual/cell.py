"""Cells of one cathode particle, or of many: voltage and charge in galvanostatic cycles, and impedance.

Grains are spheres that lithium diffuses through, wetted by electrolyte where cracks let it in; at their surface runs
the reaction of Butler and Volmer. With the filling x of lithium sites, the current I and the wetted area A,

    dx/dt = D / L^2 laplace x,      V = U(x at the surface) + 2 R T / F asinh(I / (2 i0 A)) + I R

L, the radius of a grain as electrolyte reaches it, shrinks, and A grows, as cracks open; grains that lose contact take
no part. So the capacity first rises and then fades, while the charge-transfer resistance R T / (F i0 A) falls.

References
----------
.. [1] C.-H. Chen et al., J. Electrochem. Soc. 167 (2020) 080534 (equilibrium voltage of NMC811).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.physics.kinetics import FARADAY, GAS_CONSTANT, ZERO_CELSIUS
from cathoscope.virtual.cell_kernels import galvanostatic, open_circuit

Array = NDArray[np.float64]

_SHELLS = 24
_LEAST_CURRENT = 1e-18  # A
_LONGEST = 4.0  # a half cycle ends after so many times its nominal duration


def equilibrium_voltage(filling: ArrayLike) -> Array:
    """U(x) of NMC811 against lithium, V; [1], with its steep ends continued."""
    return np.asarray(open_circuit(np.asarray(filling, dtype=np.float64)))


@dataclass(frozen=True)
class Health:
    """A cell in one cycle.

    Attributes
    ----------
    contact
        Share of the grains that take part.
    area
        Wetted surface of all grains that take part, m2.
    length
        Radius of a grain as electrolyte reaches it, um.
    resistance
        Of contacts and electrolyte, ohm.
    """

    contact: float
    area: float
    length: float
    resistance: float


@dataclass(frozen=True)
class Cell:
    """What does not change with cycles.

    Attributes
    ----------
    sites
        Charge of all lithium sites, Ah.
    diffusivity
        um2/s at 25 degC.
    exchange
        Exchange current density at half filling, A/m2 at 25 degC.
    activation
        Of both, kJ/mol.
    temperature
        degC.
    capacitance
        Of the double layer, F/m2, with the exponent ``dispersion`` of its constant-phase element.
    """

    sites: float
    diffusivity: float = 1.5e-3
    exchange: float = 1.0
    activation: float = 45.0
    temperature: float = 25.0
    capacitance: float = 0.2
    dispersion: float = 0.9

    @property
    def warmer(self) -> float:
        """Factor of diffusivity and exchange current over 25 degC."""
        inverse = 1.0 / 298.15 - 1.0 / (self.temperature + ZERO_CELSIUS)
        return float(np.exp(1e3 * self.activation / GAS_CONSTANT * inverse))

    def charge_transfer(self, health: Health) -> float:
        """R T / (F i0 A), ohm, at half filling."""
        thermal = GAS_CONSTANT * (self.temperature + ZERO_CELSIUS) / FARADAY
        return thermal / (self.exchange * self.warmer * health.area)

    def overvoltage(self, current: float, surface: float, health: Health) -> float:
        """Of reaction and resistance, V; positive current charges."""
        thermal = 2.0 * GAS_CONSTANT * (self.temperature + ZERO_CELSIUS) / FARADAY
        x = min(max(surface, 1e-3), 1.0 - 1e-3)
        exchange = self.exchange * self.warmer * 2.0 * np.sqrt(x * (1.0 - x)) * health.area
        return float(thermal * np.arcsinh(current / (2.0 * exchange)) + current * health.resistance)

    def impedance(self, frequency: ArrayLike, filling: float, health: Health) -> Array:
        """R + (R_ct + Z_D) parallel to the constant-phase element, ohm, at frequencies (Hz) and half a grain's filling.

        Z_D = -(dU/dx) L^2 / (3 Q D) tanh(s) / (s - tanh(s)) with s = sqrt(i w L^2 / D): diffusion in a sphere.
        """
        omega = 2.0 * np.pi * np.asarray(frequency, dtype=np.float64)
        diffusivity = self.diffusivity * self.warmer
        s = np.sqrt(1j * omega * health.length**2 / diffusivity)
        # tanh of large arguments is 1; cosh would overflow
        tanh = np.where(s.real > 20, 1.0, np.tanh(np.where(s.real > 20, 1.0, s)))
        slope = float(np.diff(equilibrium_voltage([filling - 5e-4, filling + 5e-4]))[0]) / 1e-3
        charge = 3600.0 * self.sites * health.contact
        diffusion = -slope * health.length**2 / (3.0 * charge * diffusivity) * tanh / (s - tanh)
        capacitance = self.capacitance * health.area
        rate = self.charge_transfer(health)
        # Brug's relation without the series resistance: C = (Q R)^(1/n) / R
        element = (capacitance * rate) ** self.dispersion / rate * (1j * omega) ** self.dispersion
        return np.asarray(health.resistance + 1.0 / (1.0 / (rate + diffusion) + element))


class Points(NamedTuple):
    """A piece of a record: s, V, A, Ah, (point,)."""

    time: Array
    voltage: Array
    current: Array
    charge: Array


@dataclass(frozen=True)
class Protocol:
    """Galvanostatic cycling between two voltages: ``current`` in A, points every ``interval`` s, ``rest`` in s."""

    current: float
    low: float
    high: float
    interval: float
    rest: float = 0.0


@dataclass(frozen=True)
class Side:
    """What flows beside the reaction of lithium: a leakage, S, and the oxidation of electrolyte.

    ``oxidation`` is a current in A at ``at`` V, which grows e-fold in ``steepness`` V. Both take charge that is counted
    but moves no lithium.
    """

    leak: float = 0.0
    oxidation: float = 0.0
    at: float = 4.5
    steepness: float = 0.08


NOTHING_BESIDE = Side()


@dataclass
class Cycler:
    """A cell under a protocol: its lithium follows from half cycle to half cycle."""

    cell: Cell
    protocol: Protocol
    filling: Array

    @classmethod
    def fresh(cls, cell: Cell, protocol: Protocol, filling: float = 0.95) -> Cycler:
        """A discharged cell at rest."""
        return cls(cell, protocol, np.full(_SHELLS, filling))

    @property
    def mean_filling(self) -> float:
        """Mean over the volume of the grains."""
        edges = np.linspace(0.0, 1.0, self.filling.size + 1)
        return float(np.diff(edges**3) @ self.filling)

    def cycle(self, health: Health, side: Side = NOTHING_BESIDE) -> tuple[Points, Points]:
        """Charge and discharge in one state of health."""
        return self.half(health, charge=True, side=side), self.half(health, charge=False, side=side)

    def half(self, health: Health, *, charge: bool, side: Side = NOTHING_BESIDE) -> Points:
        """To the upper or lower voltage; current is positive on charge. A rest follows at no current."""
        current = self.protocol.current if charge else -self.protocol.current
        points = self.flow(health, current, self.protocol.high if charge else self.protocol.low, side=side)
        if self.protocol.rest <= 0:
            return points
        rest = self.flow(health, 0.0, np.inf, longest=self.protocol.rest, side=side)
        time, passed = points.time[-1], points.charge[-1]
        parts = zip(points, (rest.time + time, rest.voltage, rest.current, rest.charge + passed), strict=True)
        return Points(*(np.concatenate([one, other[1:]]) for one, other in parts))

    def flow(
        self, health: Health, current: float, end: float, *, longest: float | None = None, side: Side = NOTHING_BESIDE
    ) -> Points:
        """A constant current (A) until the voltage ``end`` is reached, or ``longest`` s have passed.

        Charge is what the current has passed, Ah, above zero; the part that moved lithium is less by what flows beside.
        """
        cell, sites = self.cell, 3600.0 * self.cell.sites * health.contact
        warmer = cell.warmer
        electrode = (
            sites,
            cell.diffusivity * warmer / health.length**2,
            2.0 * GAS_CONSTANT * (cell.temperature + ZERO_CELSIUS) / FARADAY,
            cell.exchange * warmer * health.area,
            health.resistance,
        )
        if longest is None:
            longest = _LONGEST * sites / max(abs(current), _LEAST_CURRENT)
        drive = (float(current), float(end), self.protocol.interval, float(longest))
        beside = (side.leak, side.oxidation, side.at, side.steepness)
        time, voltage, _ = galvanostatic(self.filling, electrode, beside, drive).T
        return Points(time, voltage, np.full(time.size, current), abs(current) * time / 3600.0)
