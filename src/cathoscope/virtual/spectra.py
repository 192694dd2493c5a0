"""Absorption spectra in closed form, and the exact energy of their white line.

A spectrum is an arctangent edge, Gaussian lines and a power law. That family is also what analyses like to
fit, which flatters them; `nickel_spectrum` with ``asymmetry`` adds a shoulder that a single Gaussian cannot follow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from cathoscope.core.errors import CathoscopeError
from cathoscope.physics.xray import NICKEL_K_EDGE, attenuation_ratio_from_energy

_SEARCH_HALF_WIDTH = 8.0  # eV to both sides of the first line
_SEARCH_STEP = 0.02  # eV; far below any line width, so that the bracket holds one maximum


@dataclass(frozen=True)
class Line:
    """A Gaussian: ``height`` relative to the edge jump, ``energy`` and standard deviation ``width`` in eV."""

    height: float
    energy: float
    width: float


@dataclass(frozen=True)
class Spectrum:
    """Linear attenuation of a homogeneous material across one edge.

    mu(E) = (E/E_K)^-3 [background + jump (1/2 + arctan((E - edge_energy)/edge_width)/pi)]
    + jump sum_i height_i exp(-(E - energy_i)² / (2 width_i²)).

    E_K is the tabulated energy of the Ni K edge. ``jump`` and ``background`` are in 1/um, energies in eV.
    The first line is the white line; the energy at which the sum of all terms is largest is
    `white_line_energy` and is not a parameter.
    """

    jump: float
    background: float
    edge_energy: float
    edge_width: float
    lines: tuple[Line, ...]

    def __post_init__(self) -> None:
        if not (self.jump > 0 and self.background >= 0):
            raise CathoscopeError(
                "attenuation cannot be negative",
                expected="jump > 0 and background >= 0, in 1/um",
                found=f"jump {self.jump}, background {self.background}",
            )
        if not self.lines or min(self.edge_width, *(line.width for line in self.lines)) <= 0:
            raise CathoscopeError("a spectrum needs a line, and widths above zero", found=str(self.lines))

    def attenuation(self, energy: ArrayLike) -> NDArray[np.float64]:
        """Linear attenuation (1/um) at ``energy`` (eV), any shape."""
        energy = np.asarray(energy, dtype=np.float64)
        edge = 0.5 + np.arctan((energy - self.edge_energy) / self.edge_width) / np.pi
        smooth = attenuation_ratio_from_energy(energy=energy, reference=NICKEL_K_EDGE)
        lines = sum(line.height * np.exp(-0.5 * ((energy - line.energy) / line.width) ** 2) for line in self.lines)
        return np.asarray(smooth * (self.background + self.jump * edge) + self.jump * lines)

    def slope(self, energy: ArrayLike) -> NDArray[np.float64]:
        """Derivative of `attenuation` with respect to energy, 1/(um eV)."""
        energy = np.asarray(energy, dtype=np.float64)
        reduced = (energy - self.edge_energy) / self.edge_width
        smooth = attenuation_ratio_from_energy(energy=energy, reference=NICKEL_K_EDGE)
        below_lines = self.background + self.jump * (0.5 + np.arctan(reduced) / np.pi)
        of_edge = self.jump / (np.pi * self.edge_width * (1.0 + reduced**2))
        of_lines = np.zeros_like(energy)
        for line in self.lines:
            offset = (energy - line.energy) / line.width
            of_lines -= line.height * offset / line.width * np.exp(-0.5 * offset**2)
        return np.asarray(smooth * (of_edge - 3.0 * below_lines / energy) + self.jump * of_lines)

    def white_line_energy(self) -> float:
        """Energy (eV) of the largest attenuation within 8 eV of the first line, to 1e-9 eV.

        Raises
        ------
        CathoscopeError
            If the attenuation has no maximum there.
        """
        grid = self.lines[0].energy + np.arange(-_SEARCH_HALF_WIDTH, _SEARCH_HALF_WIDTH, _SEARCH_STEP)
        top = int(np.argmax(self.attenuation(grid)))
        if top in (0, grid.size - 1):
            raise CathoscopeError(
                "this spectrum has no white line",
                expected=f"a maximum within {_SEARCH_HALF_WIDTH} eV of {self.lines[0].energy} eV",
                cure="make the first line higher",
            )
        return float(brentq(lambda energy: float(self.slope(energy)), grid[top - 1], grid[top + 1], xtol=1e-9))

    def moved(self, by: float) -> Spectrum:
        """The same spectrum with edge and all lines moved by ``by`` eV, as a change of valence does to first order."""
        lines = tuple(replace(line, energy=line.energy + by) for line in self.lines)
        return replace(self, edge_energy=self.edge_energy + by, lines=lines)


def nickel_spectrum(
    *, jump: float, background: float, line_energy: float, line_height: float = 0.85, asymmetry: float = 0.0
) -> Spectrum:
    """Nickel K edge as in a layered oxide, 30 to 70 eV of it.

    The edge lies 6 eV below the white line; widths include the core hole (1.4 eV) and a Si(111) monochromator.
    A weak pre-edge peak, a dip and a broad hump after the white line stand for the fine structure.

    Parameters
    ----------
    jump, background
        Edge jump and attenuation below the edge, 1/um.
    line_energy
        Centre of the white line's Gaussian, eV.
    line_height
        Height of the white line over the edge jump.
    asymmetry
        Height of a shoulder 3.2 eV above the white line, relative to the white line.
    """
    lines = [
        Line(line_height, line_energy, 2.6),
        Line(0.03, line_energy - 16.5, 1.2),
        Line(-0.06, line_energy + 16.0, 5.0),
        Line(0.05, line_energy + 33.0, 9.0),
    ]
    if asymmetry:
        lines.append(Line(asymmetry * line_height, line_energy + 3.2, 2.2))
    return Spectrum(jump, background, line_energy - 6.0, 1.8, tuple(lines))
