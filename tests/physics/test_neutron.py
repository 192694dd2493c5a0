"""Scattering lengths: another table, sum rules of isotopes, names of atoms."""

from __future__ import annotations

import gemmi
import pytest

from cathoscope.core.errors import CathoscopeError
from cathoscope.physics.neutron import (
    SCATTERING_LENGTHS,
    SEARS_1992,
    scattering_length,
)
from cathoscope.physics.species import Species, atomic_mass, species_of


@pytest.mark.parametrize("name", [name for name in SEARS_1992 if not name[0].isdigit()])
def test_natural_elements_are_those_of_gemmi(name: str) -> None:
    # gemmi: Neutron News 3(3), 29 (1992), typed in independently. It has the complex elements' real part.
    assert SEARS_1992[name].length == pytest.approx(gemmi.Element(name).neutron92.calculate_sf(0), abs=1e-9)


# Shares of the isotopes, IUPAC 2021.
@pytest.mark.parametrize(
    ("element", "shares", "within"),
    [
        ("Li", {"6Li": 0.0759, "7Li": 0.9241}, 0.01),
        ("B", {"10B": 0.199, "11B": 0.801}, 0.01),
        ("Ti", {"46Ti": 0.0825, "47Ti": 0.0744, "48Ti": 0.7372, "49Ti": 0.0541, "50Ti": 0.0518}, 0.02),
        ("Cr", {"50Cr": 0.0435, "52Cr": 0.8379, "53Cr": 0.0950, "54Cr": 0.0237}, 0.02),
        ("Ni", {"58Ni": 0.6808, "60Ni": 0.2622, "61Ni": 0.0114, "62Ni": 0.0363, "64Ni": 0.0093}, 0.01),
        ("Mg", {"24Mg": 0.7899, "25Mg": 0.10, "26Mg": 0.1101}, 0.02),
        ("Cl", {"35Cl": 0.7576, "37Cl": 0.2424}, 0.01),
        ("Zr", {"90Zr": 0.5145, "91Zr": 0.1122, "92Zr": 0.1715, "94Zr": 0.1738}, 0.04),
        ("Pb", {"204Pb": 0.014, "206Pb": 0.241, "207Pb": 0.221, "208Pb": 0.524}, 0.01),
    ],
)
def test_an_element_is_the_mean_of_its_isotopes(element: str, shares: dict[str, float], within: float) -> None:
    lengths = sum(share * SEARS_1992[name].length for name, share in shares.items()) / sum(shares.values())
    absorption = sum(share * SEARS_1992[name].absorption for name, share in shares.items()) / sum(shares.values())

    assert lengths == pytest.approx(SEARS_1992[element].length, rel=within)
    assert absorption == pytest.approx(SEARS_1992[element].absorption, rel=0.05, abs=0.03)


def test_gsas2_differs_where_it_is_known_to() -> None:
    table = SCATTERING_LENGTHS["gsas2"]

    assert (table["Li"], table["Mn"], table["O"]) == (-1.93, -3.75, 5.8037)
    assert table["Ni"] == SEARS_1992["Ni"].length
    assert all(length == pytest.approx(SEARS_1992[name].length, rel=0.2, abs=0.2) for name, length in table.items())


def test_neutrons_do_not_see_charges_but_isotopes() -> None:
    assert scattering_length("O2-") == scattering_length("O") == 5.803
    assert scattering_length("7Li") == scattering_length("7Li+") == -2.22
    assert scattering_length("D") == scattering_length("2H") == 6.671


def test_own_lengths_go_before_the_table() -> None:
    assert scattering_length("Li", overrides={"Li": -2.1}) == -2.1
    assert scattering_length("Li+", overrides={"Li": -2.1}) == -2.1
    assert scattering_length("Li+", overrides={"Li+": -2.0, "Li": -2.1}) == -2.0
    assert scattering_length("O", overrides={"Li": -2.1}) == 5.803


@pytest.mark.parametrize(
    ("text", "species"),
    [
        ("Ni", Species("Ni")),
        ("7Li", Species("Li", 7)),
        ("O2-", Species("O", 0, -2)),
        ("Na+", Species("Na", 0, 1)),
        ("6Li1+", Species("Li", 6, 1)),
        ("D", Species("H", 2)),
    ],
)
def test_names_of_atoms(text: str, species: Species) -> None:
    assert species_of(text) == species


def test_ions_and_nuclei_have_names() -> None:
    assert species_of("6Li+").nucleus == "6Li"
    assert species_of("6Li+").ion == "Li1+"
    assert species_of("O2-").ion == "O2-"
    assert species_of("D").ion == "H"


def test_masses() -> None:
    assert atomic_mass(species="Ni2+") == pytest.approx(58.693, abs=1e-3)
    assert atomic_mass(species="7Li") == pytest.approx(7.016, abs=1e-4)
    assert atomic_mass(species="91Zr") == 91.0


@pytest.mark.parametrize("text", ["", "Xx", "li", "O2", "7", "Li7+x", "nickel"])
def test_what_is_no_atom_is_refused(text: str) -> None:
    with pytest.raises(CathoscopeError, match="not the name of an atom"):
        species_of(text)


def test_an_unknown_nucleus_names_the_cure() -> None:
    with pytest.raises(CathoscopeError, match="among the overrides"):
        scattering_length("9Li")
    with pytest.raises(CathoscopeError, match="sears1992 or gsas2"):
        scattering_length("Li", table="nist")
