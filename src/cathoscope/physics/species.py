"""Names of atoms as crystals state them: elements, isotopes and ions."""

from __future__ import annotations

import re
from dataclasses import dataclass

import gemmi

from cathoscope.core.errors import CathoscopeError

_FORM = re.compile(r"(?P<isotope>\d{1,3})?(?P<element>[A-Z][a-z]?)(?:(?P<size>\d)?(?P<sign>[+-]))?")
_HYDROGEN = {"D": 2, "T": 3}

_ISOTOPE_MASS = {
    **{"1H": 1.007825, "2H": 2.014102, "3H": 3.016049, "6Li": 6.015123, "7Li": 7.016003, "10B": 10.012937},
    **{"11B": 11.009305, "12C": 12.0, "13C": 13.003355, "14N": 14.003074, "15N": 15.000109, "16O": 15.994915},
    **{"17O": 16.999132, "18O": 17.999160, "24Mg": 23.985042, "25Mg": 24.985837, "26Mg": 25.982593},
    **{"46Ti": 45.952628, "47Ti": 46.951759, "48Ti": 47.947942, "49Ti": 48.947866, "50Ti": 49.944787},
    **{"50Cr": 49.946042, "52Cr": 51.940506, "53Cr": 52.940648, "54Cr": 53.938879},
    **{"54Fe": 53.939609, "56Fe": 55.934936, "57Fe": 56.935393, "58Fe": 57.933274},
    **{"58Ni": 57.935342, "60Ni": 59.930785, "61Ni": 60.931055, "62Ni": 61.928345, "64Ni": 63.927967},
    **{"63Cu": 62.929598, "65Cu": 64.927790},
}
"""Masses of nuclides, u, to 1e-6: Wang et al., Chin. Phys. C 45, 030003 (2021), AME2020."""


@dataclass(frozen=True)
class Species:
    """One kind of atom: element, mass number (0 is the natural mixture) and charge in elementary charges."""

    element: str
    isotope: int = 0
    charge: int = 0

    @property
    def nucleus(self) -> str:
        """What neutrons see: "Li", "7Li"."""
        return f"{self.isotope or ''}{self.element}"

    @property
    def ion(self) -> str:
        """What X-rays see: "Li", "O2-", "Na1+"."""
        return f"{self.element}{abs(self.charge)}{'+' if self.charge > 0 else '-'}" if self.charge else self.element


def species_of(text: str) -> Species:
    """An element "Ni", an isotope "7Li" or an ion "O2-"; "D" and "T" are hydrogen.

    Raises
    ------
    CathoscopeError
        If it is none of these.
    """
    found = _FORM.fullmatch(text.strip())
    if found is not None:
        element, isotope = found["element"], int(found["isotope"] or 0)
        if element in _HYDROGEN:
            element, isotope = "H", isotope or _HYDROGEN[element]
        if 1 <= gemmi.Element(element).atomic_number <= 98:
            size = int(found["size"] or 1) if found["sign"] else 0
            return Species(element, isotope, -size if found["sign"] == "-" else size)
    raise CathoscopeError(
        "not the name of an atom",
        expected="an element, an isotope or an ion, such as Ni, 7Li or O2-",
        found=text,
    )


def atomic_mass(*, species: str) -> float:
    """Mass of an atom, u: of an element its standard atomic weight, of an isotope that of the nuclide.

    Raises
    ------
    CathoscopeError
        If the species is unknown. An isotope without a tabulated mass has its mass number, right within 0.1 u.
    """
    one = species_of(species)
    if not one.isotope:
        return float(gemmi.Element(one.element).weight)
    return _ISOTOPE_MASS.get(one.nucleus, float(one.isotope))
