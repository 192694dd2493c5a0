"""Small patterns of the tests of powder diffraction, made by the model itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.bank import CW_VALUES, TOF_VALUES, Bank
from cathoscope.numerics.dual import value_of
from cathoscope.powder.background import chebyshev_basis
from cathoscope.powder.crystallite import Crystallite
from cathoscope.powder.model import Pattern, calculated, model_of
from cathoscope.powder.start import parameters_of

Array = NDArray[np.float64]

POWGEN = Bank(
    "powgen",
    "tof",
    "neutron",
    dict.fromkeys(TOF_VALUES, 0.0)
    | {"difC": 22600.0, "difA": -0.9, "difB": 2.6, "zero": -8.5, "two_theta": 90.0, "flight_path": 63.2}
    | {"alpha": 0.1325, "beta0": 0.1116, "beta1": 0.00273, "sig0": 56.0, "sig1": -167.0, "sig2": 281.0},
    "rounded values of POWGEN",
)
COPPER = Bank(
    "lab",
    "cw",
    "xray",
    dict.fromkeys(CW_VALUES, 0.0)
    | {"wavelength": 1.5405, "wavelength2": 1.5443, "ratio": 0.5, "polarisation": 0.6, "radius": 200.0}
    | {"U": 20.0, "V": -10.0, "W": 40.0, "X": 5.0, "axial": 0.03},
    "a diffractometer with a copper tube",
)


def pattern_on(bank: Bank, x: Array, *, terms: int = 3, effects: tuple[str, ...] = ()) -> Pattern:
    """Nothing but noise-free intensity one on the points ``x``."""
    ones = np.ones(x.size)
    return Pattern(
        bank.name, bank, x, ones, ones, np.ones(x.size, bool), chebyshev_basis(x=x, count=terms), effects=effects
    )


def recorded(
    empty: Pattern,
    phases: Sequence[Crystallite],
    numbers: Mapping[str, float],
    *,
    seed: int | None = 0,
    counts: float = 1.0,
) -> Pattern:
    """The pattern of these numbers, with the noise of counting if there is a seed; one unit is ``counts`` counts."""
    model = model_of([empty], phases)
    values = {name: one.value for name, one in parameters_of(model).numbers.items()} | dict(numbers)
    mean = value_of(calculated(model, 0, values))
    if seed is None:
        return replace(empty, y=mean, std=np.sqrt(mean / counts))
    y = np.random.default_rng(seed).poisson(mean * counts) / counts
    return replace(empty, y=y, std=np.sqrt(np.maximum(y, 1 / counts) / counts))
