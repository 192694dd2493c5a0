"""Slow neutrons and nuclei: bound scattering lengths and cross sections.

Table ``sears1992``: V. F. Sears, *Neutron scattering lengths and cross sections*, Neutron News 3(3), 26 (1992), as NIST
keeps it. Table ``gsas2``: the same with the lengths in which GSAS-II differs, most of them from Rauch & Waschkowski,
*Neutron Data Booklet* (2003), and Snow et al., Phys. Rev. D 101, 062004 (2020); use it to compare with GSAS-II.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cathoscope.core.errors import CathoscopeError
from cathoscope.physics.species import species_of


@dataclass(frozen=True)
class Nucleus:
    """Bound coherent scattering length (fm), incoherent and absorption cross section (barn, absorption at 1.798 A)."""

    length: float
    incoherent: float
    absorption: float


# nucleus, coherent length (fm), incoherent cross section (barn), absorption cross section at 1.798 A (barn)
_SEARS_1992 = """
H -3.7390 80.26 0.3326 | 1H -3.7406 80.27 0.3326 | 2H 6.671 2.05 0.000519 | 3H 4.792 0.14 0 | He 3.26 0 0.00747
Li -1.90 0.92 70.5 | 6Li 2.00 0.46 940 | 7Li -2.22 0.78 0.0454 | Be 7.79 0.0018 0.0076
B 5.30 1.7 767 | 10B -0.1 3.0 3835 | 11B 6.65 0.21 0.0055
C 6.6460 0.001 0.0035 | 12C 6.6511 0 0.00353 | 13C 6.19 0.034 0.00137
N 9.36 0.5 1.9 | 14N 9.37 0.5 1.91 | 15N 6.44 0.00005 0.000024
O 5.803 0.0008 0.00019 | 16O 5.803 0 0.0001 | 17O 5.78 0.004 0.236 | 18O 5.84 0 0.00016
F 5.654 0.0008 0.0096 | Ne 4.566 0.008 0.039 | Na 3.63 1.62 0.530
Mg 5.375 0.08 0.063 | 24Mg 5.66 0 0.05 | 25Mg 3.62 0.28 0.19 | 26Mg 4.89 0 0.0382
Al 3.449 0.0082 0.231 | Si 4.1491 0.004 0.171 | 28Si 4.107 0 0.177 | 29Si 4.70 0.001 0.101 | 30Si 4.58 0 0.107
P 5.13 0.005 0.172 | S 2.847 0.007 0.53 | 32S 2.804 0 0.54 | 33S 4.74 0.3 0.54 | 34S 3.48 0 0.227
Cl 9.5770 5.3 33.5 | 35Cl 11.65 4.7 44.1 | 37Cl 3.08 0.001 0.433 | Ar 1.909 0.225 0.675
K 3.67 0.27 2.1 | 39K 3.74 0.25 2.1 | 41K 2.69 0.3 1.46 | Ca 4.70 0.05 0.43 | 40Ca 4.80 0 0.41 | 44Ca 1.42 0 0.88
Sc 12.29 4.5 27.5 | Ti -3.438 2.87 6.09 | 46Ti 4.93 0 0.59 | 47Ti 3.63 1.5 1.7 | 48Ti -6.08 0 7.84
49Ti 1.04 3.3 2.2 | 50Ti 6.18 0 0.179 | V -0.3824 5.08 5.08 | 51V -0.402 5.07 4.9
Cr 3.635 1.83 3.05 | 50Cr -4.50 0 15.8 | 52Cr 4.920 0 0.76 | 53Cr -4.20 5.93 18.1 | 54Cr 4.55 0 0.36
Mn -3.73 0.4 13.3 | Fe 9.45 0.4 2.56 | 54Fe 4.2 0 2.25 | 56Fe 9.94 0 2.59 | 57Fe 2.3 0.3 2.48 | 58Fe 15 0 1.28
Co 2.49 4.8 37.18 | Ni 10.3 5.2 4.49 | 58Ni 14.4 0 4.6 | 60Ni 2.8 0 2.9 | 61Ni 7.60 1.9 2.5
62Ni -8.7 0 14.5 | 64Ni -0.37 0 1.52 | Cu 7.718 0.55 3.78 | 63Cu 6.43 0.006 4.5 | 65Cu 10.61 0.4 2.17
Zn 5.680 0.077 1.11 | 64Zn 5.22 0 0.93 | 66Zn 5.97 0 0.62 | 67Zn 7.56 0.28 6.8 | 68Zn 6.03 0 1.1
Ga 7.288 0.16 2.75 | 69Ga 7.88 0.091 2.18 | 71Ga 6.40 0.084 3.61
Ge 8.185 0.18 2.2 | 70Ge 10.0 0 3.0 | 72Ge 8.51 0 0.8 | 73Ge 5.02 1.5 15.1 | 74Ge 7.58 0 0.4 | 76Ge 8.2 0 0.16
As 6.58 0.06 4.5 | Se 7.970 0.32 11.7 | Br 6.795 0.1 6.9 | Kr 7.81 0.01 25 | Rb 7.09 0.5 0.38 | Sr 7.02 0.06 1.28
Y 7.75 0.15 1.28 | Zr 7.16 0.02 0.185 | 90Zr 6.4 0 0.011 | 91Zr 8.7 0.15 1.17 | 92Zr 7.4 0 0.22 | 94Zr 8.2 0 0.0499
Nb 7.054 0.0024 1.15 | Mo 6.715 0.04 2.48 | 92Mo 6.91 0 0.019 | 95Mo 6.91 0.5 13.1 | 98Mo 6.58 0 0.127
Tc 6.8 0.5 20 | Ru 7.03 0.4 2.56 | Rh 5.88 0.3 144.8 | Pd 5.91 0.093 6.9 | Ag 5.922 0.58 63.3 | Cd 4.87 3.46 2520
In 4.065 0.54 193.8 | Sn 6.225 0.022 0.626 | Sb 5.57 0.007 4.91 | Te 5.80 0.09 4.7 | I 5.28 0.31 6.15
Xe 4.92 0 23.9 | Cs 5.42 0.21 29.0 | Ba 5.07 0.15 1.1 | La 8.24 1.13 8.97 | Ce 4.84 0.001 0.63 | Pr 4.58 0.015 11.5
Nd 7.69 9.2 50.5 | Sm 0.80 39 5922 | Eu 7.22 2.5 4530 | Gd 6.5 151 49700 | Tb 7.38 0.004 23.4 | Dy 16.9 54.4 994
Ho 8.01 0.36 64.7 | Er 7.79 1.1 159 | Tm 7.07 0.1 100 | Yb 12.43 4.0 34.8 | Lu 7.21 0.7 74 | Hf 7.7 2.6 104.1
Ta 6.91 0.01 20.6 | W 4.86 1.63 18.3 | 182W 6.97 0 20.7 | 183W 6.53 0.3 10.1 | 184W 7.48 0 1.7 | 186W -0.72 0 37.9
Re 9.2 0.9 89.7 | Os 10.7 0.3 16 | Ir 10.6 0 425 | Pt 9.60 0.13 10.3 | Au 7.63 0.43 98.65 | Hg 12.692 6.6 372.3
Tl 8.776 0.21 3.43 | Pb 9.405 0.003 0.171 | 204Pb 9.90 0 0.65 | 206Pb 9.22 0 0.03 | 207Pb 9.28 0.002 0.699
208Pb 9.50 0 0.00048 | Bi 8.532 0.0084 0.0338 | Th 10.31 0 7.37 | U 8.417 0.005 7.57
"""

_GSAS2_LENGTHS = """
H -3.7395 | 1H -3.7395 | 2H 6.681 | Li -1.93 | 10B -0.2 | C 6.6472 | 12C 6.654 | O 5.8037 | 16O 5.8037
17O 5.867 | 18O 6.009 | Ne 4.60 | 24Mg 5.49 | Si 4.1507 | Cl 9.579 | 35Cl 11.7 | 39K 3.79 | 40Ca 4.78 | Sc 12.1
Ti -3.370 | 46Ti 4.72 | 47Ti 3.53 | 48Ti -5.86 | 49Ti 0.98 | 50Ti 5.88 | V -0.443 | 52Cr 4.914 | Mn -3.75 | 56Fe 10.1
63Cu 6.477 | 65Cu 10.20 | 64Zn 5.23 | 66Zn 5.98 | 67Zn 7.58 | 68Zn 6.04 | Br 6.79 | Rb 7.08 | Ru 7.02 | Sn 6.239
Te 5.68 | Xe 4.69 | Ho 8.44 | Hf 7.77 | W 4.755 | Au 7.90 | Hg 12.66 | Pb 9.4024 | Bi 8.5242
"""


def _rows(text: str) -> dict[str, list[float]]:
    """Name and numbers of each entry of a table."""
    entries = (entry.split() for line in text.strip().splitlines() for entry in line.split("|"))
    return {name: [float(number) for number in numbers] for name, *numbers in entries}


SEARS_1992: Mapping[str, Nucleus] = MappingProxyType({name: Nucleus(*row) for name, row in _rows(_SEARS_1992).items()})
"""Elements of natural composition and isotopes."""

SCATTERING_LENGTHS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "sears1992": MappingProxyType({name: nucleus.length for name, nucleus in SEARS_1992.items()}),
        "gsas2": MappingProxyType(
            {name: nucleus.length for name, nucleus in SEARS_1992.items()}
            | {name: row[0] for name, row in _rows(_GSAS2_LENGTHS).items()}
        ),
    }
)
"""Bound coherent scattering lengths, fm, by table and nucleus."""


def scattering_length(species: str, table: str = "sears1992", overrides: Mapping[str, float] | None = None) -> float:
    """Bound coherent scattering length of an element, an isotope or an ion, fm.

    Neutrons do not see the charge: "O2-" is "O". A nucleus with a resonance below 1 eV (Cd, Sm, Eu, Gd, ...) has the
    length of thermal neutrons here.

    Parameters
    ----------
    species
        Name as in a crystal: "Ni", "7Li", "D", "O2-".
    table
        "sears1992" or "gsas2".
    overrides
        Lengths, fm, that go before the table, by species as they are written or by nucleus.

    Raises
    ------
    CathoscopeError
        If the table, the species or its length is unknown.
    """
    if table not in SCATTERING_LENGTHS:
        raise CathoscopeError("not a table of scattering lengths", expected="sears1992 or gsas2", found=table)
    own = overrides or {}
    if species in own:
        return float(own[species])
    nucleus = species_of(species).nucleus
    if nucleus in own:
        return float(own[nucleus])
    if nucleus not in SCATTERING_LENGTHS[table]:
        raise _unknown(species, nucleus)
    return SCATTERING_LENGTHS[table][nucleus]


def _unknown(species: str, nucleus: str) -> CathoscopeError:
    """No length for this nucleus."""
    return CathoscopeError(
        f"no neutron scattering length is known for {species}",
        expected="an element or a common isotope, such as Ni, 7Li, 62Ni or D",
        found=nucleus,
        cure="state the length yourself, in fm, among the overrides",
    )
