"""What the atoms of a phase scatter: lengths for neutrons, form factors with anomalous dispersion for X-rays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import gemmi
import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.units import HC
from cathoscope.physics.neutron import scattering_length
from cathoscope.physics.species import Species, species_of

Array = NDArray[np.float64]

_FM = 0.1  # 1e-12 cm
_WAVELENGTHS = (0.05, 10.0)  # A, range of the calculation of dispersion: 1.2 to 250 keV


@dataclass(frozen=True, eq=False)
class Scatterers:
    """Amplitudes of s atoms against s = 1 / (2 d): sum of height exp(-decay s^2) + constant, plus i imaginary.

    Neutrons: 1e-12 cm, so |F|^2 is in barn. X-rays: electrons.

    Attributes
    ----------
    height, decay
        [s, 4]; decay in A^2. Zero for neutrons, whose nuclei are points.
    constant, imaginary
        [s]; the real part of the anomalous dispersion is in ``constant``.
    """

    height: Array
    decay: Array
    constant: Array
    imaginary: Array

    def real(self, d: Array) -> tuple[Array, Array]:
        """Real amplitudes at spacings d (n,), A, and their derivatives with respect to d, both (n, s)."""
        if not self.height.any():
            return np.broadcast_to(self.constant, (d.size, self.constant.size)), np.zeros((d.size, 1))
        square = 0.25 / (d * d)
        terms = self.height * np.exp(-self.decay * square[:, None, None])
        slope = np.sum(terms * self.decay, axis=-1) * (2.0 * square / d)[:, None]
        return terms.sum(axis=-1) + self.constant, slope


def neutron_scatterers(
    species: Sequence[str], table: str = "sears1992", overrides: Mapping[str, float] | None = None
) -> Scatterers:
    """Bound coherent scattering lengths of atoms; ``overrides`` are in fm.

    Raises
    ------
    CathoscopeError
        If a length is unknown.
    """
    lengths = np.array([scattering_length(one, table, overrides) for one in species]) * _FM
    nothing = np.zeros((len(species), 4))
    return Scatterers(nothing, nothing, lengths, np.zeros(len(species)))


def xray_scatterers(
    species: Sequence[str], wavelength: float, dispersion: Mapping[str, tuple[float, float]] | None = None
) -> Scatterers:
    """Form factors of atoms and ions with anomalous dispersion.

    Form factors: International Tables for Crystallography C (1992), table 6.1.1.4, and O2- of Hovestreydt, Acta Cryst.
    A39, 268 (1983), up to s = 2 1/A; an ion that is in neither has the form factor of the neutral atom. Dispersion:
    Cromer & Liberman, Acta Cryst. A37, 267 (1981), for free atoms, so it is wrong within some 50 eV of an edge.

    Parameters
    ----------
    wavelength
        A.
    dispersion
        f' and f'' by species or element that go before those calculated.

    Raises
    ------
    MeasurementError
        If the wavelength is none of X-rays in A, or an atom is unknown.
    """
    low, high = _WAVELENGTHS
    if not low <= wavelength <= high:
        raise MeasurementError(
            "not a wavelength of X-rays", expected=f"{low} to {high} A", found=f"{wavelength}", cure="state it in A"
        )
    forms = np.array([_form_factor(species_of(one)) for one in species])
    anomalous = np.array([dispersion_of(one, wavelength, dispersion) for one in species])
    return Scatterers(forms[:, :4], forms[:, 4:8], forms[:, 8] + anomalous[:, 0], anomalous[:, 1])


def dispersion_of(
    species: str, wavelength: float, overrides: Mapping[str, tuple[float, float]] | None = None
) -> tuple[float, float]:
    """f' and f'' of an atom at a wavelength (A), electrons."""
    own = overrides or {}
    element = species_of(species).element
    for name in (species, element):
        if name in own:
            real, imaginary = own[name]
            return float(real), float(imaginary)
    number = gemmi.Element(element).atomic_number
    if number < 3:  # hydrogen and helium have none
        return 0.0, 0.0
    real, imaginary = gemmi.cromer_liberman(z=number, energy=HC / wavelength)
    return float(real), float(imaginary)


def _form_factor(species: Species) -> list[float]:
    """Four heights, four decays and a constant of an ion, or of the atom where there is no such ion in the table."""
    element = gemmi.Element(species.element)
    ignored = gemmi.IT92_get_ignore_charge()
    gemmi.IT92_set_ignore_charge(False)  # a switch of the whole library: set back at once
    try:
        found = gemmi.IT92_get_exact(element, species.charge) or gemmi.IT92_get_exact(element, 0)
        numbers = None if found is None else found.get_coefs()
    finally:
        gemmi.IT92_set_ignore_charge(ignored)
    if numbers is None:
        raise MeasurementError(f"no X-ray form factor is known for {species.element}", expected="hydrogen to Cf")
    return [float(f"{number:.7g}") for number in numbers]  # stored in single precision
