"""Instrument parameters of GSAS (``.prm``, ``.iparm``, ``.inst``): cards of 80 columns, read and written.

Larson and Von Dreele, GSAS manual, LAUR 86-748 (2004). A card is ``INS``, the number of the bank (columns 4 to 6,
blank: all banks), a name (7 to 12) and its values. ``HTYPE`` PNTR, PNCR, PXCR; ``ICONS`` of time of flight difC, difA,
zero (us), of a constant wavelength lambda 1, lambda 2, zero (centideg), polarisation, ratio of intensities in columns
1, 11, 21, 41 and 56 of the values; ``BNKPAR`` secondary flight path and two theta; ``FPATH1`` primary flight path;
``PRCFn`` the type of the n-th profile function and how many coefficients it has, ``PRCFn1`` and so on four of them.

Profile functions that are what a `Bank` has, of time of flight: 1 (alp-0 alp-1 bet-0 bet-1 sig-0 sig-1 sig-2), 3 (alp
bet-0 bet-1 sig-0 sig-1 sig-2 gam-0 gam-1 gam-2), 4 (alp bet-0 bet-1 sig-1 sig-2 gam-2). Of a constant wavelength: 1 (GU
GV GW, a Gaussian), 2 (GU GV GW LX LY), 3 (GU GV GW GP LX LY S/L H/L), 4 (GU GV GW GP LX, and S/L H/L in places 10 and
11). Of several the richest is taken. GSAS-II reads the first, and leaves out LX, LY, S/L and H/L.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from cathoscope.core.bank import Bank
from cathoscope.core.errors import CathoscopeError, MeasurementError
from cathoscope.io.instrument_stated import Kind, Radiation, Stated
from cathoscope.io.spectra_text import numbers_of

_TYPES: Mapping[str, tuple[Kind, Radiation]] = MappingProxyType(
    {"PNT": ("tof", "neutron"), "PNC": ("cw", "neutron"), "PXC": ("cw", "xray")}
)
# Names of coefficients by kind and function; "-" has no place in a bank, "+axial" is added to it.
_FUNCTIONS: Mapping[Kind, Mapping[int, str]] = MappingProxyType(
    {
        "tof": {
            3: "alpha beta0 beta1 sig0 sig1 sig2 Z X Y",
            4: "alpha beta0 beta1 sig1 sig2 Y",
            1: "-alp-0 alpha beta0 beta1 sig0 sig1 sig2",
        },
        "cw": {
            3: "U V W -GP X Y +axial +axial",
            4: "U V W -GP X -ptec -trns -shft -sfec +axial +axial",
            2: "U V W X Y",
            1: "U V W",
        },
    }
)
_PER_CARD, _WIDTH = 4, 15  # coefficients of a card, columns of each
_MOST_BANKS, _MOST_FUNCTIONS = 999, 9
_RULER = 12 * " " + 6 * "1234567890"
_CONSTANTS = (
    ("wavelength", 0, 10),
    ("wavelength2", 10, 20),
    ("zero", 20, 30),
    ("polarisation", 40, 50),
    ("ratio", 55, 65),
)


@dataclass(frozen=True)
class _Card:
    line: int
    text: str


def recognise_cards(text: str) -> bool:
    """Whether a text has the card HTYPE."""
    return any(line.startswith("INS   HTYPE") for line in text.splitlines())


def stated_in_cards(text: str, path: Path) -> list[Stated]:
    """The banks of a text.

    Raises
    ------
    MeasurementError
        If a card that is needed is missing, its values are no numbers, or no profile function can be used.
    """
    cards: dict[tuple[int, str], _Card] = {}
    for line, raw in enumerate(text.splitlines(), start=1):
        if raw.startswith("INS"):
            where = raw[3:6].strip()
            cards[int(where) if where.isdecimal() else 0, raw[6:12].strip()] = _Card(line, raw[12:].split("\r")[0])
    kind_card = cards.get((0, "HTYPE"))
    code = kind_card.text.strip()[:3] if kind_card else "nothing"
    if kind_card is None or code not in _TYPES:
        raise _wrong(path, kind_card, "the file is of no type that can be used", "HTYPE " + " or ".join(_TYPES), code)
    kind, radiation = _TYPES[code]
    numbers = sorted({number for number, name in cards if number and name == "ICONS"})
    if not numbers:
        raise _wrong(path, None, "the file has no bank", "a card INS  1 ICONS", f"{len(cards)} other cards")
    return [_stated(path, cards, number, (kind, radiation)) for number in numbers]


def _stated(path: Path, cards: Mapping[tuple[int, str], _Card], number: int, what: tuple[Kind, Radiation]) -> Stated:
    kind, radiation = what
    values: dict[str, float] = {}
    lines: dict[str, int] = {}
    constants = cards[number, "ICONS"]
    found = _tof_constants(path, cards, number) if kind == "tof" else _cw_constants(path, constants)
    for name, (card, value) in found.items():
        values[name], lines[name] = value, card.line
    azimuth = cards.get((number, "DETAZM"))
    if azimuth is not None and kind == "cw":
        values["azimuth"], lines["azimuth"] = _row(path, azimuth, 1)[0], azimuth.line
    remarks = _profile(path, cards, number, kind, values, lines)
    return Stated(number, kind, radiation, values, lines, tuple(remarks))


def _tof_constants(path: Path, cards: Mapping[tuple[int, str], _Card], number: int) -> dict[str, tuple[_Card, float]]:
    """difC, difA, zero, angle and flight path."""
    constants = cards[number, "ICONS"]
    found = {
        name: (constants, value)
        for name, value in zip(("difC", "difA", "zero"), _row(path, constants, 1), strict=False)
    }
    primary, bank = cards.get((0, "FPATH1")), cards.get((number, "BNKPAR"))
    if bank is not None:
        secondary, angle = _row(path, bank, 2)[:2]
        found["two_theta"] = bank, angle
        found["flight_path"] = bank, secondary + (_row(path, primary, 1)[0] if primary is not None else 0.0)
    return found


def _cw_constants(path: Path, card: _Card) -> dict[str, tuple[_Card, float]]:
    """Wavelengths, zero, polarisation and ratio: in their columns, or, where these do not fit, in their order."""
    fields = [card.text[start:stop] for _, start, stop in _CONSTANTS]
    rows = [numbers_of(field, None, decimal_comma=False) if field.strip() else [0.0] for field in fields]
    if any(row is None or len(row) != 1 for row in rows):
        row = _row(path, card, 3)
        rows = [[row[0]], [row[1]], [row[2]], [row[4] if len(row) > 6 else 0.0], [row[6] if len(row) > 6 else 0.0]]
    found = {name: row[0] for (name, _, _), row in zip(_CONSTANTS, rows, strict=True) if row}
    found["zero"] /= 100
    if not found["wavelength2"]:
        del found["ratio"]
    return {name: (card, value) for name, value in found.items()}


def _profile(
    path: Path,
    cards: Mapping[tuple[int, str], _Card],
    number: int,
    kind: Kind,
    values: dict[str, float],
    lines: dict[str, int],
) -> list[str]:
    """Put the coefficients of the richest profile function into ``values``; remarks on what a bank does not have."""
    functions: dict[int, tuple[str, _Card]] = {}
    for n in ("", *map(str, range(1, _MOST_FUNCTIONS + 1))):
        card = cards.get((number, f"PRCF{n}"))
        row = None if card is None else _row(path, card, 1)
        if card is not None and row is not None and abs(row[0]) < 100:
            functions.setdefault(abs(int(row[0])), (n, card))
    chosen = next((one for one in _FUNCTIONS[kind] if one in functions), None)
    if chosen is None:
        known = ", ".join(map(str, sorted(_FUNCTIONS[kind])))
        raise _wrong(
            path, None, f"bank {number} has no profile function that can be used", f"one of {known}",
            ", ".join(map(str, functions)) or "none",
        )  # fmt: skip
    n, _ = functions[chosen]
    remarks = []
    for name, (card, value) in zip(
        _FUNCTIONS[kind][chosen].split(), _coefficients(path, cards, number, n), strict=False
    ):
        if name.startswith("-"):
            remarks += [f"{name[1:]} {value:g} of function {chosen} is left out"] if value else []
        else:
            plain = name.removeprefix("+")
            values[plain], lines[plain] = (values.get(plain, 0.0) if plain != name else 0.0) + value, card.line
    return remarks


def _coefficients(
    path: Path, cards: Mapping[tuple[int, str], _Card], number: int, function: str
) -> list[tuple[_Card, float]]:
    """All coefficients of a function, in order."""
    found = []
    for k in range(1, _MOST_FUNCTIONS + 1):
        card = cards.get((number, f"PRCF{function or ' '}{k}"))
        if card is None:
            break
        found += [(card, value) for value in _row(path, card, 1)]
    return found


def _row(path: Path, card: _Card, least: int) -> list[float]:
    """The numbers of a card."""
    row: list[float] = []
    for word in card.text.split():
        one = numbers_of(word, None, decimal_comma=False)
        if one is None:
            break
        row += one
    if len(row) < least:
        raise _wrong(path, card, "a card has too few numbers", f"{least} or more", card.text)
    return row


def written_prm(banks: Sequence[Bank]) -> tuple[str, tuple[str, ...]]:
    """The text of a ``.prm`` file with profile function 3, and remarks on what these cards cannot hold.

    Raises
    ------
    CathoscopeError
        If there is no bank, or banks of different kinds.
    """
    kinds = {(bank.kind, bank.radiation) for bank in banks}
    if len(kinds) != 1 or len(banks) > _MOST_BANKS:
        raise CathoscopeError(
            "the banks cannot stand in one file",
            expected=f"1 to {_MOST_BANKS} banks of one kind and radiation",
            found=", ".join(f"{bank.name}: {bank.kind}, {bank.radiation}" for bank in banks) or "none",
        )
    kind = banks[0].kind
    code = next(code for code, what in _TYPES.items() if what in kinds)
    lines = [_RULER, f"INS   BANK  {len(banks):5d}", f"INS   HTYPE   {code}R"]
    if kind == "tof":
        lines.append(_card("FPATH1", _fit(0.0, 15), None))
    remarks = []
    for number, bank in enumerate(banks, start=1):
        lines += _tof_cards(number, bank.values) if kind == "tof" else _cw_cards(number, bank.values)
        lost = {"tof": ("difB", "betaq", "sigq"), "cw": ("Z",)}[kind]
        told = ", ".join(f"{name} {bank.values[name]:g}" for name in lost if bank.values[name])
        remarks += [f"{bank.name}: these cards have no place for {told}"] if told else []
    return "\n".join([*(line.ljust(80) for line in lines), ""]), tuple(remarks)


def _tof_cards(number: int, values: Mapping[str, float]) -> list[str]:
    constants = "".join(_fit(values[name], 10) for name in ("difC", "difA", "zero"))
    bank = _fit(values["flight_path"], 10) + _fit(values["two_theta"], 10)
    names = _FUNCTIONS["tof"][3].split()
    return [_card(" ICONS", constants, number), _card("BNKPAR", bank, number), *_function(number, names, values)]


def _cw_cards(number: int, values: Mapping[str, float]) -> list[str]:
    constants = "".join(_fit(values[name], 10) for name in ("wavelength", "wavelength2"))
    constants += _fit(100 * values["zero"], 10) + 10 * " " + _fit(values["polarisation"], 10)
    constants += "    0" + _fit(values["ratio"], 10)
    halves = {**values, "half": values["axial"] / 2, "none": 0.0}
    names = ["U", "V", "W", "none", "X", "Y", "half", "half"]
    return [
        _card(" ICONS", constants, number),
        _card("I ITYP", f"    0{_fit(0.0, 10)}{_fit(180.0, 10)}         1", number),
        *([_card("DETAZM", _fit(values["azimuth"], 10), number)] if values["azimuth"] else []),
        *_function(number, names, halves),
    ]


def _function(number: int, names: Sequence[str], values: Mapping[str, float]) -> list[str]:
    """The cards of profile function 3."""
    cards = [_card("PRCF1", f"    3{len(names):5d}   0.00100", number)]
    for k in range(0, len(names), _PER_CARD):
        row = "".join(f"{float(values[name]):{_WIDTH}.8g}" for name in names[k : k + _PER_CARD])
        cards.append(_card(f"PRCF1{k // _PER_CARD + 1}", row, number))
    return cards


def _card(name: str, values: str, number: int | None) -> str:
    bank = "   " if number is None else f"{number:3d}"
    return f"INS{bank}{name:<6}{values}"


def _fit(value: float, width: int) -> str:
    """A number with as many digits as fit, and a blank before it."""
    texts = [f"{float(value):.{digits}f}" for digits in range(12, -1, -1)]
    texts += [f"{float(value):.{digits}g}" for digits in range(12, 0, -1)]
    return next((text for text in texts if len(text) < width), texts[-1]).rjust(width)


def _wrong(path: Path, card: _Card | None, problem: str, expected: str, found: str) -> MeasurementError:
    return MeasurementError(
        problem,
        where=str(path) if card is None else f"{path}, line {card.line}",
        expected=expected,
        found=found.strip()[:80] or "nothing",
        cure="check the columns of the card; the bank stands in columns 4 to 6, the name in 7 to 12",
    )
