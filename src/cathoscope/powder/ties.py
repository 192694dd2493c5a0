"""Numbers that follow from others: written as text, for atoms that share a place, and for an exchange of two species.

    "0.8 - NMC.Ni2.occupancy"     numbers and names joined by + and -, a name times a number

Names may hold a minus sign, so a minus sign that is none of a name stands apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cathoscope.core.crystal import Phase, Site
from cathoscope.core.errors import MeasurementError
from cathoscope.physics.species import species_of
from cathoscope.powder.structure import canonical_position, shared_positions
from cathoscope.powder.symmetry import site_multiplicity, symmetry_of

Ties = dict[str, tuple[float, Mapping[str, float]]]
"""By the name of what follows: constant, and factors by the names of what it follows from."""

_WORD = re.compile(r"[^\s*+]+|[*+]")
_SAME_PLACE = 1e-4  # fractional coordinates


def tie_of_text(text: str) -> tuple[float, dict[str, float]]:
    """Constant and factors by name of a sum such as ``0.8 - 0.5 * NMC.Ni2.occupancy``.

    Raises
    ------
    MeasurementError
        If it is no such sum; the message says where.
    """
    constant, factors = 0.0, dict[str, float]()
    for sign, term in _terms(text):
        factor, name = _product(term, text)
        if name is None:
            constant += sign * factor
        else:
            factors[name] = factors.get(name, 0.0) + sign * factor
    return constant, factors


def _terms(text: str) -> list[tuple[float, list[str]]]:
    """The terms of a sum with their signs, each as a list of factors and stars."""
    terms: list[tuple[float, list[str]]] = []
    for word in _words(text):
        if word in ("+", "-"):
            if terms and not terms[-1][1]:
                raise _mistake(text, f"{word} follows + or -")
            terms.append((1.0 if word == "+" else -1.0, []))
        else:
            if not terms:
                terms.append((1.0, []))
            terms[-1][1].append(word)
    if not terms or not terms[-1][1]:
        raise _mistake(text, "the sum ends before its last term" if terms else "nothing")
    return terms


def _words(text: str) -> list[str]:
    found: list[str] = []
    for word in _WORD.findall(text):
        # -x and -0.5 * x begin with a sign
        found += ["-", word[1:]] if word[0] == "-" and len(word) > 1 else [word]
    return found


def _product(term: list[str], text: str) -> tuple[float, str | None]:
    """Factor and name of a term."""
    if len(term) % 2 == 0 or any((word == "*") != bool(place % 2) for place, word in enumerate(term)):
        raise _mistake(text, " ".join(term))
    factor, name = 1.0, None
    for word in term[::2]:
        try:
            factor *= float(word)
        except ValueError:
            if name is not None:
                raise _mistake(text, f"{name} * {word}, two names in one term") from None
            name = word
    return factor, name


def _mistake(text: str, found: str) -> MeasurementError:
    return MeasurementError(
        f"{text!r} is no sum of numbers",
        expected='such as "0.8 - 0.5 * NMC.Ni2.occupancy", with blanks around - and one name in each term',
        found=found,
    )


def resolved_ties(ties: Ties) -> Ties:
    """The same ties, of which none follows from another: what they follow from is put in its place.

    Raises
    ------
    MeasurementError
        If a number follows from itself.
    """
    return {name: _resolved(name, ties, ()) for name in ties}


def _resolved(name: str, ties: Ties, above: tuple[str, ...]) -> tuple[float, dict[str, float]]:
    if name in above:
        raise MeasurementError(
            f"{name} follows from itself", expected="ties without a circle", found=" <- ".join((*above, name))
        )
    constant, factors = ties[name]
    found: dict[str, float] = {}
    for other, factor in factors.items():
        more, parts = _resolved(other, ties, (*above, name)) if other in ties else (0.0, {other: 1.0})
        constant += factor * more
        for part, share in parts.items():
            found[part] = found.get(part, 0.0) + factor * share
    return constant, found


def shared_ties(phase: Phase) -> Ties:
    """Atoms on one and the same place move together: places and displacements of the others are those of the first."""
    ties: Ties = {}
    for first, *others in shared_positions(symmetry_of(phase.space_group), phase.sites):
        one = phase.sites[first]
        for site in (phase.sites[number] for number in others):
            pairs = [("u", "u")] if one.u_aniso is None and site.u_aniso is None else []
            if _away(one, site) < _SAME_PLACE:
                pairs += [(axis, axis) for axis in "xyz"]
            ties |= {
                f"{phase.name}.{site.label}.{name}": (0.0, {f"{phase.name}.{one.label}.{other}": 1.0})
                for name, other in pairs
            }
    return ties


def _away(one: Site, other: Site) -> float:
    offset = np.subtract(one.position, other.position)
    return float(np.abs(offset - np.round(offset)).max())


def with_exchange(phase: Phase, first: str, second: str) -> tuple[Phase, Ties, str]:
    """A phase in which atoms of two sites change places: with all sites that takes, ties, and the one free number.

    The share x of the ``first`` site that holds the species of the ``second`` is free; as many atoms as come there
    leave, and go where those came from:

        second on first: x      first on first: stated - (x - stated x)      and the other way round on the second site

    Parameters
    ----------
    first, second
        Labels of the two sites, each with the species that belongs there: of a layered oxide "Li1" and "Ni1".

    Raises
    ------
    MeasurementError
        If a label is unknown, both sites hold one species, or lie on one place.
    """
    home = {label: _site(phase, label) for label in (first, second)}
    symmetry = symmetry_of(phase.space_group)
    places = {label: canonical_position(symmetry, site.position) for label, site in home.items()}
    same = species_of(home[first].species).element == species_of(home[second].species).element
    if same or np.allclose(places[first], places[second], atol=_SAME_PLACE):
        raise MeasurementError(
            f"{first} and {second} of {phase.name} cannot change places",
            expected="sites of two elements on two places",
            found=f"{home[first].species} at {home[first].position}, {home[second].species} at {home[second].position}",
        )
    phase, guest = _with_guest(phase, home[second], home[first])
    phase, other = _with_guest(phase, home[first], home[second])
    count = {label: site_multiplicity(symmetry, site.position) for label, site in home.items()}
    ratio = count[first] / count[second]
    x = f"{phase.name}.{guest.label}.occupancy"
    ties: Ties = {
        f"{phase.name}.{site.label}.occupancy": (site.occupancy - factor * guest.occupancy, {x: factor})
        for site, factor in ((home[first], -1.0), (home[second], -ratio), (other, ratio))
    }
    return phase, ties, x


def _site(phase: Phase, label: str) -> Site:
    for site in phase.sites:
        if site.label == label:
            return site
    raise MeasurementError(
        f"{phase.name} has no site {label}", expected=", ".join(site.label for site in phase.sites), found=label
    )


def _with_guest(phase: Phase, atom: Site, place: Site) -> tuple[Phase, Site]:
    """The site with the species of ``atom`` at the position of ``place``; made empty where there is none."""
    symmetry = symmetry_of(phase.space_group)
    wanted, element = canonical_position(symmetry, place.position), species_of(atom.species).element
    for site in phase.sites:
        here = np.allclose(canonical_position(symmetry, site.position), wanted, atol=_SAME_PLACE)
        if here and species_of(site.species).element == element:
            return phase, site
    made = replace(place, label=f"{atom.label}_{place.label}", species=atom.species, occupancy=0.0)
    return replace(phase, sites=(*phase.sites, made)), made
