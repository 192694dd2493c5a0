"""A bank of detectors of a diffractometer: what turns a lattice spacing into a place and a width."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

TOF_VALUES = {
    "difC": ("us/A", "time of flight per lattice spacing"),
    "difA": ("us/A^2", "time of flight per squared lattice spacing"),
    "difB": ("us A", "time of flight times lattice spacing"),
    "zero": ("us", "time of flight at no lattice spacing"),
    "alpha": ("A/us", "rise of a pulse times lattice spacing"),
    "beta0": ("1/us", "decay of a pulse"),
    "beta1": ("A^4/us", "decay times the fourth power of the lattice spacing"),
    "betaq": ("A^2/us", "decay times the squared lattice spacing"),
    "sig0": ("us^2", "variance of the Gaussian part"),
    "sig1": ("us^2/A^2", "the same per squared lattice spacing"),
    "sig2": ("us^2/A^4", "the same per fourth power of the lattice spacing"),
    "sigq": ("us^2/A", "the same per lattice spacing"),
    "X": ("us/A", "full width of the Lorentzian part per lattice spacing"),
    "Y": ("us/A^2", "the same per squared lattice spacing"),
    "Z": ("us", "the same at no lattice spacing"),
    "two_theta": ("deg", "scattering angle of the bank"),
    "flight_path": ("m", "moderator to sample to detector"),
}
"""What a bank of a time-of-flight diffractometer has: unit and meaning."""

CW_VALUES = {
    "wavelength": ("A", "wavelength; of K-alpha 1 where there are two"),
    "wavelength2": ("A", "wavelength of K-alpha 2, 0 if there is one only"),
    "ratio": ("1", "intensity of K-alpha 2 over K-alpha 1"),
    "zero": ("deg", "two theta at no scattering"),
    "polarisation": (
        "1",
        "share of the beam polarised across the plane of scattering at azimuth 0; 0.5 is unpolarised",
    ),
    "azimuth": ("deg", "angle of the detector around the beam"),
    "U": ("cdeg^2", "variance of the Gaussian part per squared tangent of theta"),
    "V": ("cdeg^2", "the same per tangent"),
    "W": ("cdeg^2", "the same"),
    "X": ("cdeg", "full width of the Lorentzian part per secant of theta"),
    "Y": ("cdeg", "the same per tangent"),
    "Z": ("cdeg", "the same"),
    "axial": ("1", "(sample + detector height) / distance: axial divergence, SH/L"),
    "radius": ("mm", "radius of the goniometer, for displacements of the sample"),
}
"""What a diffractometer of constant wavelength has: unit and meaning."""


@dataclass(frozen=True)
class Bank:
    """A bank of detectors.

    Attributes
    ----------
    name
        Name in the recipe, unlike all others.
    kind
        Time of flight, or constant wavelength.
    radiation
        Neutrons or X-rays.
    values
        Its numbers by the names of `TOF_VALUES` or `CW_VALUES`; all of them are there.
    source
        The file it was read from, or where its numbers come from.
    """

    name: str
    kind: Literal["tof", "cw"]
    radiation: Literal["neutron", "xray"]
    values: Mapping[str, float]
    source: str = ""
