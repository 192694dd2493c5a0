"""Diffractometers of the virtual experiment: their numbers, where they look, what they see beside the sample.

Time of flight (T in us, d in A): T = difC d + difA d^2 + difB / d + zero, difC = 505.557 L sin(theta) with the flight
path L in m. NOMAD: primary path and bank angles as its public reduction scripts have them (19.5 m; 31, 67, 122, 154
deg), bins of 8e-4 and the ranges of time of flight too; secondary paths and spreads of angle are assumed. Moderator
pulses depend on the wavelength alone, so those of NOMAD are POWGEN's at the same wavelength: both look at decoupled,
poisoned hydrogen. Of POWGEN's Gaussian part that grows with d^4 a tenth is taken for the pulse, the rest for its
geometry (assumed). POWGEN: numbers of its published 1.066 A frame, rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.bank import CW_VALUES, TOF_VALUES, Bank

Array = NDArray[np.float64]

US_PER_METRE_ANGSTROM = 252.7784
"""Time of flight of a neutron of 1 A over 1 m, us: m_n / h."""

_POWGEN_ANGLE = 90.0
_POWGEN = {"alpha": 0.1325, "beta0": 0.1116, "beta1": 0.00273, "sig0": 56.0, "sig1": -167.4, "sig2": 281.4}


@dataclass(frozen=True)
class Background:
    """Smooth intensity beside the Bragg peaks: furnace and can, incoherent scattering, glass.

    level [1 + fall exp(-Q / 3) + glass sum_j sin(Q r_j) / (Q r_j) exp(-(blur Q)^2 / 2)], Q in 1/A, r = ``distances``
    in A: the Debye terms of a glass, by default Si-O and O-O of silica (Warren, J. Appl. Phys. 8, 645 (1937)).
    """

    level: float
    fall: float = 0.3
    glass: float = 0.25
    distances: tuple[float, ...] = (1.62, 2.65)
    blur: float = 0.5

    def at(self, q: ArrayLike) -> Array:
        """Intensity at ``q`` (1/A)."""
        wave = np.asarray(q, dtype=np.float64)
        rings = sum(np.sinc(wave * r / np.pi) for r in self.distances) * np.exp(-0.5 * (self.blur * wave) ** 2)
        return np.asarray(self.level * (1.0 + self.fall * np.exp(-wave / 3.0) + self.glass * rings))


@dataclass(frozen=True)
class Diffractometer:
    """One bank in use.

    Attributes
    ----------
    stated
        What its parameter file says.
    first, last
        Range: lattice spacings (A) of time of flight, two theta (deg) of constant wavelength.
    step
        Width of a bin: of T, relative; or deg.
    scale
        Intensity of the Bragg peaks.
    background
        What else is seen.
    counts
        Counts of the background in one pattern.
    zero_error
        Standard deviation of what the file's ``zero`` is wrong by, us or deg.
    flux
        Of time of flight: counts per unit of normalised intensity follow the spectrum `moderator_flux`.
    """

    stated: Bank
    first: float
    last: float
    step: float
    scale: float
    background: Background
    counts: float
    zero_error: float

    @property
    def name(self) -> str:
        """Of the bank."""
        return self.stated.name

    @property
    def is_tof(self) -> bool:
        """Whether it sorts neutrons by their time of flight."""
        return self.stated.kind == "tof"

    def grid(self) -> Array:
        """Edges of the bins (us; T_i+1 = (1 + step) T_i), or points (deg)."""
        if not self.is_tof:
            return np.asarray(self.first + self.step * np.arange(round((self.last - self.first) / self.step) + 1))
        low, high = (self.stated.values["difC"] * d for d in (self.first, self.last))
        count = int(np.log(high / low) / np.log1p(self.step))
        return np.asarray(low * (1.0 + self.step) ** np.arange(count + 1))

    def true(self, zero_offset: float) -> Bank:
        """The bank as it is: its zero is off, and what its bins add to the width is not in it yet.

        A parameter file comes from a standard in the same bins, whose width adds (step T)^2 / 12 to the variance.
        """
        values = dict(self.stated.values)
        values["zero"] += zero_offset
        if self.is_tof:
            values["sig1"] -= (self.step * values["difC"]) ** 2 / 12
        return replace(self.stated, values=values)

    def spacing_range(self) -> tuple[float, float]:
        """Shortest and longest lattice spacing in the range, A."""
        if self.is_tof:
            return self.first, self.last
        low, high = (
            self.stated.values["wavelength"] / (2 * np.sin(np.deg2rad(angle / 2))) for angle in (self.last, self.first)
        )
        return float(low), float(high)

    def momentum(self, x: ArrayLike) -> Array:
        """Q (1/A) at times of flight (us) or two theta (deg)."""
        place = np.asarray(x, dtype=np.float64)
        if self.is_tof:
            return np.asarray(2 * np.pi * self.stated.values["difC"] / place)
        return np.asarray(4 * np.pi * np.sin(np.deg2rad(place / 2)) / self.stated.values["wavelength"])

    def gain(self) -> Array:
        """Counts per unit of intensity: in each bin, where the intensity is integrated over us, or at each point."""
        if not self.is_tof:
            points = self.grid()
            return np.full(points.size, self.counts / self.background.at(self.momentum(points)).sum())
        edges = self.grid()
        middle = 0.5 * (edges[1:] + edges[:-1])
        wavelength = 2 * np.sin(np.deg2rad(self.stated.values["two_theta"] / 2)) * middle / self.stated.values["difC"]
        flux = moderator_flux(wavelength)
        total = (flux * self.background.at(self.momentum(middle)) * np.diff(edges)).sum()
        return np.asarray(flux * self.counts / total)


def moderator_flux(wavelength: ArrayLike) -> Array:
    """Neutrons per us against wavelength (A), arbitrary unit: a Maxwellian and an epithermal 1/wavelength.

    The usual shape of a moderator; its two parts and their join are assumed.
    """
    length = np.asarray(wavelength, dtype=np.float64)
    warm = 2.0 * 1.9**4 / length**5 * np.exp(-((1.9 / length) ** 2))
    return np.asarray(warm + 0.25 / (length * (1.0 + (length / 0.6) ** 4)))


def tof_bank(name: str, *, source: str, **values: float) -> Bank:
    """A bank of a time-of-flight diffractometer; what is not given is 0."""
    return Bank(name, "tof", "neutron", MappingProxyType(dict.fromkeys(TOF_VALUES, 0.0) | values), source)


def cw_bank(name: str, *, source: str, **values: float) -> Bank:
    """A diffractometer at a synchrotron; what is not given is 0, the polarisation 0.5: whole rings are summed."""
    start = dict.fromkeys(CW_VALUES, 0.0) | {"polarisation": 0.5, "radius": 1000.0}
    return Bank(name, "cw", "xray", MappingProxyType(start | values), source)


def _nomad_bank(name: str, angle: float, secondary: float, spread: float) -> Bank:
    """NOMAD at the scattering angle ``angle`` (deg); ``secondary`` path in m, ``spread`` of theta in rad (full width).

    Spread: delta d / d = cot(theta) ``spread``, at least 0.2 % for path and size of the sample.
    """
    path, half = 19.5 + secondary, np.deg2rad(angle / 2)
    difc = 2 * US_PER_METRE_ANGSTROM * path * np.sin(half)
    # The same pulse at the same wavelength: d sin(theta) is what counts.
    same = np.sin(half) / np.sin(np.deg2rad(_POWGEN_ANGLE / 2))
    relative = float(np.hypot(spread / np.tan(half), 0.002))
    values = {
        "difC": difc,
        "alpha": _POWGEN["alpha"] / same,
        "beta0": _POWGEN["beta0"],
        "beta1": _POWGEN["beta1"] / same**4,
        "sig1": (relative * difc) ** 2 / (8 * np.log(2)),
        "sig2": 0.1 * _POWGEN["sig2"] * same**4,
        "two_theta": angle,
        "flight_path": path,
    }
    rounded = {key: float(f"{value:.6g}") for key, value in values.items()}
    return tof_bank(name, source="virtual, after NOMAD", **rounded)


_CAN = Background(1.0)
_KAPTON = Background(1.0, fall=1.5, glass=0.2, distances=(1.5, 2.5), blur=0.6)


def _diffractometers() -> list[Diffractometer]:
    powgen = tof_bank(
        "powgen",
        source="virtual, after POWGEN",
        difC=22600.0,
        difA=-0.9,
        difB=2.6,
        zero=-8.5,
        sigq=-3.73,
        two_theta=_POWGEN_ANGLE,
        flight_path=63.18,
        **_POWGEN,
    )
    tof = [
        Diffractometer(_nomad_bank("nomad-67", 67.0, 1.1, 0.008), 0.42, 3.1, 8e-4, 300.0, _CAN, 6e6, 1.0),
        Diffractometer(_nomad_bank("nomad-122", 122.0, 0.9, 0.008), 0.30, 2.0, 8e-4, 300.0, _CAN, 6e6, 1.0),
        Diffractometer(_nomad_bank("nomad-154", 154.0, 0.8, 0.008), 0.2514, 1.67, 8e-4, 300.0, _CAN, 6e6, 1.0),
        Diffractometer(powgen, 0.5, 3.0, 4e-4, 300.0, _CAN, 4e6, 2.0),
    ]
    hard = cw_bank("11-ID-C", source="virtual, after 11-ID-C", wavelength=0.1173, W=1.0, X=0.3, axial=0.002)
    soft = cw_bank("11-3", source="virtual, after SSRL 11-3", wavelength=0.9762, U=8.0, W=10.0, X=1.0, axial=0.004)
    return [
        *tof,
        Diffractometer(hard, 1.0, 16.0, 0.005, 1e-5, _KAPTON, 1e7, 0.002),
        Diffractometer(soft, 8.0, 70.0, 0.02, 3e-3, _KAPTON, 1e7, 0.005),
    ]


DIFFRACTOMETERS: Mapping[str, Diffractometer] = MappingProxyType({one.name: one for one in _diffractometers()})
"""By the names of their banks."""
