"""Instrument parameters of GSAS-II (``.instprm``): lines of ``key:value``, read and written.

A comment ``#Bank 2: ...`` begins a bank; a file without has one. ``Type`` is PNT (neutrons, time of flight), PNC
(neutrons) or PXC (X-rays) of constant wavelength. U, V, W, X, Y, Z of a constant wavelength are centidegrees, as in a
`Bank`; Zero is degrees or us. Keys of other things (Source, Bank) are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from cathoscope.core.bank import Bank
from cathoscope.core.errors import CathoscopeError, MeasurementError
from cathoscope.io.instrument_stated import Kind, Radiation, Stated
from cathoscope.io.spectra_text import numbers_of

TYPES: Mapping[str, tuple[Kind, Radiation]] = MappingProxyType(
    {"PNT": ("tof", "neutron"), "PNC": ("cw", "neutron"), "PXC": ("cw", "xray")}
)
_KEYS: Mapping[Kind, Mapping[str, str]] = MappingProxyType(
    {
        "tof": {
            "fltPath": "flight_path", "2-theta": "two_theta", "difC": "difC", "difA": "difA", "difB": "difB",
            "Zero": "zero", "alpha": "alpha", "beta-0": "beta0", "beta-1": "beta1", "beta-q": "betaq",
            "sig-0": "sig0", "sig-1": "sig1", "sig-2": "sig2", "sig-q": "sigq", "X": "X", "Y": "Y", "Z": "Z",
        },
        "cw": {
            "Lam": "wavelength", "Lam1": "wavelength", "Lam2": "wavelength2", "I(L2)/I(L1)": "ratio", "Zero": "zero",
            "Polariz.": "polarisation", "U": "U", "V": "V", "W": "W", "X": "X", "Y": "Y", "Z": "Z",
            "SH/L": "axial", "Azimuth": "azimuth", "Gonio. radius": "radius",
        },
    }
)  # fmt: skip
_BANK = re.compile(r"#\s*Bank\s+(\d{1,6})\s*:", re.IGNORECASE)
_FIRST = "#GSAS-II instrument parameter file; do not add/delete items!"


def recognise_instprm(text: str) -> bool:
    """Whether a text holds a type of GSAS-II among lines of key:value."""
    return re.search(r"^\s*Type\s*:\s*[PS][NX]\w", text, re.MULTILINE) is not None


def stated_in_instprm(text: str, path: Path) -> list[Stated]:
    """The banks of a text.

    Raises
    ------
    MeasurementError
        If a line is no key:value, a value no number, or a type none of powders with one wavelength or time of flight.
    """
    sections: dict[int, list[tuple[int, str, str]]] = {}
    number = 1
    for line, raw in enumerate(text.splitlines(), start=1):
        match = _BANK.match(raw.strip())
        if match is not None:
            number = int(match.group(1))
            if number in sections:
                raise _wrong(path, line, f"bank {number} stands twice in the file", "every bank once", raw)
            sections[number] = []
        if not raw.strip() or raw.lstrip().startswith("#"):
            continue
        for part in raw.split(";"):
            key, colon, value = part.partition(":")
            if not colon:
                raise _wrong(path, line, "the line has no key and value", "key:value", raw)
            sections.setdefault(number, []).append((line, key.strip(), value.strip()))
    return [_stated(number, entries, path) for number, entries in sections.items() if entries]


def _stated(number: int, entries: Sequence[tuple[int, str, str]], path: Path) -> Stated:
    stated_type = next(((line, value) for line, key, value in entries if key == "Type"), None)
    if stated_type is None or stated_type[1][:3] not in TYPES:
        line, found = stated_type or (entries[0][0], "no Type")
        raise _wrong(path, line, f"bank {number} is of no type that can be used", " or ".join(TYPES), found)
    kind, radiation = TYPES[stated_type[1][:3]]
    values: dict[str, float] = {}
    lines: dict[str, int] = {}
    for line, key, text in entries:
        name = _KEYS[kind].get(key)
        if name is None:
            continue
        row = numbers_of(text.split()[0] if text else "", None, decimal_comma=False)
        if row is None or len(row) != 1:
            raise _wrong(path, line, f"{key} of bank {number} is no number", "a number", text)
        values[name], lines[name] = row[0], line
    return Stated(number, kind, radiation, values, lines)


def written_instprm(banks: Sequence[Bank], *, remarks: Sequence[str] = ()) -> str:
    """The text of an ``.instprm`` file; several banks are numbered from 1. ``remarks`` become comments at its top.

    Raises
    ------
    CathoscopeError
        If there is no bank.
    """
    if not banks:
        raise CathoscopeError("no bank is given", expected="one bank or more", found="none")
    comments = [f"# {' '.join(one.split())}" for one in remarks]
    if len(banks) == 1:
        return "\n".join([_FIRST, *comments, *_lines(banks[0], 1), ""])
    parts = comments
    for number, bank in enumerate(banks, start=1):
        parts += [f"#Bank {number}: {_FIRST[1:]}", *_lines(bank, number)]
    return "\n".join([*parts, ""])


def _lines(bank: Bank, number: int) -> list[str]:
    code = next(code for code, what in TYPES.items() if what == (bank.kind, bank.radiation))
    two = bank.kind == "cw" and bank.values["wavelength2"] > 0
    left_out = {"Lam"} if two else {"Lam1", "Lam2", "I(L2)/I(L1)"}
    keys = {key: name for key, name in _KEYS[bank.kind].items() if key not in left_out}
    values = [f"{key}:{float(bank.values[name])!r}" for key, name in keys.items()]
    return [f"Type:{code}", f"Bank:{number}", *values]


def _wrong(path: Path, line: int, problem: str, expected: str, found: str) -> MeasurementError:
    return MeasurementError(
        problem,
        where=f"{path}, line {line}",
        expected=expected,
        found=found.strip()[:80] or "nothing",
        cure="check the line; GSAS-II writes one key:value each",
    )
