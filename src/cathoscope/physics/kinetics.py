"""Scalar laws of thermally activated processes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core import units

BOLTZMANN = 8.617333262e-5
"""Boltzmann constant, eV/K; CODATA 2018."""

GAS_CONSTANT = 8.314462618
"""Molar gas constant, J/(mol K); exact in the SI of 2019, to its digits here."""

FARADAY = 96485.33212
"""Charge of a mole of electrons, C/mol; exact in the SI of 2019, to its digits here."""

ZERO_CELSIUS = units.ZERO_CELSIUS
"""0 degC in K."""


def arrhenius_from_temperature(
    *, temperature: ArrayLike, value: float, reference: float, activation_energy: float
) -> NDArray[np.float64]:
    """A rate or diffusivity at ``temperature``, which is ``value`` at ``reference`` (both degC).

    value exp[-E/k (1/T - 1/T_ref)]; ``activation_energy`` E in eV. The unit is that of ``value``.
    Arrhenius, Z. Phys. Chem. 4, 226 (1889); valid while one process limits the rate.
    """
    inverse = 1.0 / (np.asarray(temperature, dtype=np.float64) + ZERO_CELSIUS) - 1.0 / (reference + ZERO_CELSIUS)
    return np.asarray(value * np.exp(-activation_energy / BOLTZMANN * inverse))


def transition_temperature_from_pressure(
    *, pressure: ArrayLike, temperature: float, reference: float, enthalpy: float
) -> NDArray[np.float64]:
    """Temperature (degC) at which an oxide gives off oxygen under ``pressure`` of O2 (bar).

    1/T = 1/T_ref - k ln(p / p_ref) / H, the van 't Hoff equation: more oxygen outside asks for more heat.
    ``temperature`` is that under ``reference`` (bar), ``enthalpy`` H in eV per molecule of O2.
    """
    relative = np.log(np.asarray(pressure, dtype=np.float64) / reference)
    return np.asarray(1.0 / (1.0 / (temperature + ZERO_CELSIUS) - BOLTZMANN * relative / enthalpy) - ZERO_CELSIUS)
