"""Crystal structures in CIF: read as a phase.

Schema
------
A `Phase`: cell (A, deg), space group with its setting, sites with species, fractional coordinates, occupancy and
displacement U (A^2), isotropic or anisotropic. Not an array: a phase is what a pattern is compared with.

Uncertainties
-------------
Those in brackets, ``2.8400(3)``, are left out: a structure from a file is a starting point.

Metadata
--------
``name`` is that of the caller, else ``_pd_phase_name``, else the name of the block; ``source`` is the file.

File structure
--------------
CIF 1.1: Hall, Allen & Brown, Acta Cryst. A47, 655 (1991). A file of several structures has several blocks, one of which
the caller names. B of ``_atom_site_B_iso_or_equiv`` and ``_atom_site_aniso_B_11`` is U = B / (8 pi^2).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import gemmi

from cathoscope.core.crystal import Phase, Site
from cathoscope.core.errors import MeasurementError
from cathoscope.io.crystal_group import space_group_of, text_of

_CELL = tuple(
    f"_cell_{name}" for name in ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
)
_PAIRS = ("11", "22", "33", "12", "13", "23")
_FRACTIONS = ("fract_x", "fract_y", "fract_z")
_OTHERS = ("label", "type_symbol", "occupancy", "U_iso_or_equiv", "B_iso_or_equiv", "adp_type", "thermal_displace_type")
_TYPE = re.compile(r"(\d{1,3})?([A-Za-z]{1,2}?)(?:([+-])(\d)|(\d)?([+-]))?(?![A-Za-z])")
_B = 8 * math.pi**2  # B / U
_LARGEST = 20_000_000  # bytes
_FARTHEST = 5.0  # cells from the origin: beyond, coordinates are no fractions
_USUAL_U = Site("", "", (0, 0, 0)).u_iso
_NOTHING = ("", "?", ".")


def read_cif(path: Path, *, block: str | None = None, name: str | None = None) -> tuple[Phase, tuple[str, ...]]:
    """The crystal structure in a CIF, and remarks: what it leaves out and what was made of that.

    Parameters
    ----------
    block
        Name of the block, without ``data_``, where several hold a structure.
    name
        Name of the phase.

    Raises
    ------
    MeasurementError
        If the file cannot be read, holds no structure or several, or one with a cell that its space group forbids, an
        unknown element, an occupancy outside of 0 to 1, or a coordinate that is no fraction.
    """
    found = _block(path, _document(path), block)
    cell = _cell(path, found)
    group, remarks = space_group_of(found, cell, path)
    if not gemmi.UnitCell(*cell).is_compatible_with_spacegroup(group, 0.02):
        raise MeasurementError(
            f"the cell contradicts the space group {group.xhm()}",
            where=path,
            expected=f"a {group.crystal_system_str()} cell",
            found=", ".join(f"{value:g}" for value in cell),
            cure="check the cell, the symbol and its setting (:H or :R)",
        )
    sites = _sites(path, found, remarks)
    remarks += _crowded(sites)
    title = name or text_of(found, ("_pd_phase_name",)) or found.name
    return Phase(title, group.xhm(), cell, sites, source=str(path)), tuple(remarks)


def _document(path: Path) -> gemmi.cif.Document:
    """The parsed file; letters outside of ASCII may be UTF-8 or Latin-1."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MeasurementError(
            "the file cannot be read", where=path, found=str(error), cure="check the name"
        ) from error
    if not content.strip() or len(content) > _LARGEST:
        raise MeasurementError(
            "the file is empty" if not content.strip() else "the file is too large for a crystal structure",
            where=path,
            expected=f"a CIF of at most {_LARGEST // 1_000_000} MB",
            found=f"{len(content)} bytes",
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    try:
        return gemmi.cif.read_string(text)
    except (ValueError, RuntimeError) as error:
        raise MeasurementError(
            "the file is no CIF, or is damaged",
            where=path,
            expected="CIF 1.1",
            found=str(error).splitlines()[0] if str(error) else "nothing to parse",
            cure="open it in an editor at this line; every value with a blank needs quotes",
        ) from error


def _block(path: Path, document: gemmi.cif.Document, name: str | None) -> gemmi.cif.Block:
    """The block that holds the structure."""
    with_atoms = [one for one in document if one.find_values("_atom_site_fract_x")]
    if name is not None:
        with_atoms = [one for one in with_atoms if one.name == name]
    if len(with_atoms) == 1:
        return with_atoms[0]
    names = ", ".join(one.name for one in document) or "none"
    if with_atoms:
        raise MeasurementError(
            f"{len(with_atoms)} structures are in the file",
            where=path,
            expected="one, or the name of its block",
            found=f"blocks {names}",
            cure="name the block",
        )
    raise MeasurementError(
        "no atoms are in the file" if name is None else f"no block {name} with atoms is in the file",
        where=path,
        expected="a loop with _atom_site_label and _atom_site_fract_x",
        found=f"blocks {names}",
        cure="export the structure with its atoms; a pattern or a list of reflections is no structure",
    )


def _cell(path: Path, block: gemmi.cif.Block) -> tuple[float, float, float, float, float, float]:
    """Lengths and angles without their errors."""
    values = [gemmi.cif.as_number(block.find_value(tag) or "?") for tag in _CELL]
    right = all(math.isfinite(value) and 0 < value < 1000 for value in values)
    if not right or max(values[3:]) >= 180 or gemmi.UnitCell(*values).volume < 1e-3:
        raise MeasurementError(
            "the cell is not whole",
            where=path,
            expected="six numbers, A and deg, that enclose a volume",
            found=", ".join(f"{tag} {block.find_value(tag) or 'missing'}" for tag in _CELL),
        )
    a, b, c, alpha, beta, gamma = values
    return a, b, c, alpha, beta, gamma


def _sites(path: Path, block: gemmi.cif.Block, remarks: list[str]) -> tuple[Site, ...]:
    """The atoms of the asymmetric unit."""
    tags = (*_FRACTIONS, *_OTHERS)  # gemmi wants a first column that is there
    table = block.find("_atom_site_", [tags[0], *(f"?{tag}" for tag in tags[1:])])
    columns = {tag for number, tag in enumerate(tags) if table.has_column(number)}
    if not columns.issuperset(_FRACTIONS) or not columns & {"label", "type_symbol"}:
        raise MeasurementError(
            "the atoms have no coordinates or no names",
            where=path,
            expected="_atom_site_label, _atom_site_fract_x, _y and _z",
            found=", ".join(f"_atom_site_{tag}" for tag in sorted(columns)) or "none",
        )
    tensors = _tensors(block)
    counter: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    sites = []
    for row in table:
        atom = {tag: _text(row[n]) if row.has(n) else "" for n, tag in enumerate(tags)}
        site = _site(path, atom, tensors, notes)
        counter[site.label] += 1
        if counter[site.label] > 1:
            renamed = f"{site.label}_{counter[site.label]}"
            notes[f"the label {site.label} occurs more than once; the later one is called {renamed}"] += 1
            site = Site(renamed, site.species, site.position, site.occupancy, site.u_iso, site.u_aniso)
        sites.append(site)
    whole = len(sites)
    remarks += [note if count == 1 or count == whole else f"{note} ({count} atoms)" for note, count in notes.items()]
    return tuple(sites)


def _text(raw: str) -> str:
    """A value without quotes; "?" is unknown and "." is the usual."""
    return raw if gemmi.cif.is_null(raw) else str(gemmi.cif.as_string(raw))


def _site(path: Path, atom: dict[str, str], tensors: dict[str, tuple[float, ...]], notes: Counter[str]) -> Site:
    """One atom; what its row leaves out is noted."""
    label = atom["label"] if atom["label"] not in _NOTHING else atom["type_symbol"]
    where = f"{path}, atom {label}"
    x, y, z = (_number(where, atom, tag, _is_fraction) for tag in _FRACTIONS)
    occupancy = 1.0
    if atom["occupancy"] in ("", "?"):
        notes["the file states no occupancy; all sites are taken as full"] += 1
    elif atom["occupancy"] != ".":
        occupancy = min(_number(where, atom, "occupancy", lambda value: 0 <= value <= 1.001), 1.0)
    tensor = tensors.get(label)
    u_aniso = None
    if tensor is not None and all(map(math.isfinite, tensor)):
        u11, u22, u33, u12, u13, u23 = tensor
        u_aniso = (u11, u22, u33, u12, u13, u23)
    elif "ani" in (atom["adp_type"] + atom["thermal_displace_type"]).lower():
        notes["a displacement is called anisotropic without a tensor; the isotropic one is taken"] += 1
    u_iso = _u_iso(atom, notes, wanted=u_aniso is None)
    return Site(label, _species(where, atom), (x, y, z), occupancy, u_iso, u_aniso)


def _u_iso(atom: dict[str, str], notes: Counter[str], *, wanted: bool) -> float:
    """Isotropic displacement, A^2, from U or B; the usual one, with a note, where neither is stated."""
    for tag, per_u in (("U_iso_or_equiv", 1.0), ("B_iso_or_equiv", _B)):
        value = gemmi.cif.as_number(atom[tag] or "?") / per_u
        if math.isfinite(value):
            if value < 0:
                notes[f"the displacement of {atom['label']} is below zero"] += 1
            return value
    if wanted:
        notes[f"the file states no displacement; U is taken as {_USUAL_U} A^2"] += 1
    return _USUAL_U


def _number(where: str, atom: dict[str, str], tag: str, allowed: Callable[[float], bool]) -> float:
    """A number of an atom, without its error."""
    value = gemmi.cif.as_number(atom[tag] or "?")
    if math.isfinite(value) and allowed(value):
        return value
    expected = "a number from 0 to 1" if tag == "occupancy" else f"a fraction of the cell, within {_FARTHEST:g} cells"
    raise MeasurementError(
        f"_atom_site_{tag} cannot be used", where=where, expected=expected, found=atom[tag] or "nothing"
    )


def _is_fraction(value: float) -> bool:
    return abs(value) <= _FARTHEST


def _species(where: str, atom: dict[str, str]) -> str:
    """Element, isotope or ion, "O2-", of a type symbol "O2-", "O-2" or "O", or of a label "O1"."""
    for text in (atom["type_symbol"], atom["label"]):
        if text in _NOTHING:
            continue
        found = _TYPE.match(text)
        if found is None:
            break
        isotope, letters, sign_first, after, before, sign = found.groups()
        element = letters.capitalize()
        if gemmi.Element(element).atomic_number < 1:
            break
        size, direction = before or after or "1", sign or sign_first
        charged = direction and size != "0" and text == atom["type_symbol"]
        return (
            f"{isotope or ''}{element}{size if size != '1' else ''}{direction}"
            if charged
            else f"{isotope or ''}{element}"
        )
    raise MeasurementError(
        "an atom is of no known element",
        where=where,
        expected="_atom_site_type_symbol such as Ni, O2- or 7Li",
        found=atom["type_symbol"] or atom["label"] or "nothing",
        cure="write the element into the column; leave out vacancies",
    )


def _tensors(block: gemmi.cif.Block) -> dict[str, tuple[float, ...]]:
    """U11, U22, U33, U12, U13, U23 by label; NaN where one is missing."""
    found: dict[str, tuple[float, ...]] = {}
    for letter, per_u in (("B", _B), ("U", 1.0)):
        table = block.find("_atom_site_aniso_", ["label", *(f"{letter}_{pair}" for pair in _PAIRS)])
        for row in table:
            values = tuple(gemmi.cif.as_number(row[number]) / per_u for number in range(1, 7))
            found[gemmi.cif.as_string(row[0])] = values
    return found


def _crowded(sites: Sequence[Site]) -> list[str]:
    """Remarks on positions that are filled more than once."""
    totals: dict[tuple[float, ...], float] = {}
    labels: dict[tuple[float, ...], list[str]] = {}
    for site in sites:
        place = tuple(round(x % 1.0, 4) % 1.0 for x in site.position)
        totals[place] = totals.get(place, 0.0) + site.occupancy
        labels.setdefault(place, []).append(site.label)
    return [
        f"{', '.join(labels[place])} fill one site {total:.3g} times"
        for place, total in totals.items()
        if total > 1.005
    ]
