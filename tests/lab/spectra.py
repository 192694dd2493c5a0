"""Impedance spectra from their closed forms, independent of the package."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

FREQUENCY = np.logspace(5, -2, 60)


def arc(frequency: Array, resistance: float, tau: float, alpha: float = 1.0) -> ComplexArray:
    """A resistor beside a constant-phase element with the time constant tau."""
    return np.asarray(resistance / (1.0 + (2j * np.pi * frequency * tau) ** alpha))


def noisy(impedance: ComplexArray, level: float, seed: int) -> ComplexArray:
    """Noise of ``level`` of the modulus on both parts."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=impedance.size) + 1j * rng.normal(size=impedance.size)
    return np.asarray(impedance + level * np.abs(impedance) * noise)
