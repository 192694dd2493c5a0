"""How wide the peaks of a bank alone are, about: what tells which of them can be told apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.bank import Bank
from cathoscope.numerics.dual import value_of
from cathoscope.powder.position import tof_from_spacing, two_theta_from_spacing
from cathoscope.powder.width import EIGHT_LN2, cw_shape, tof_shape

Array = NDArray[np.float64]


def place_of_spacing(bank: Bank, d: Array) -> Array:
    """Time of flight (us) or two theta (deg) of spacings (A, n); NaN where the wavelength is too long."""
    values = {name: float(value) for name, value in bank.values.items()}
    if bank.kind == "tof":
        return value_of(tof_from_spacing(d=d, values=values))
    out = np.full(d.shape, np.nan)
    seen = 2 * d > values["wavelength"]
    out[seen] = value_of(two_theta_from_spacing(d=d[seen], wavelength=values["wavelength"], zero=values["zero"]))
    return out


def full_width(bank: Bank, d: Array) -> Array:
    """Full width at half maximum (us or deg) of peaks at spacings d (A, n): that of the bank alone, about."""
    values = {name: float(value) for name, value in bank.values.items()}
    if bank.kind == "tof":
        alpha, beta, sigma2, gamma = (value_of(one) for one in tof_shape(values=values, d=d))
        pulse = np.log(2.0) * (1 / np.maximum(alpha, 1e-9) + 1 / np.maximum(beta, 1e-9))
    else:
        two_theta = np.maximum(place_of_spacing(bank, d) - values["zero"], 0.1)
        sigma2, gamma = (value_of(one) for one in cw_shape(values=values, two_theta=two_theta))
        pulse = np.zeros(d.shape)
    gauss = np.sqrt(EIGHT_LN2 * np.maximum(sigma2, 0.0))
    return np.asarray(np.hypot(gauss, pulse) + np.maximum(gamma, 0.0))
