"""Columns of Bio-Logic's binary records: their numbers, names and types, and the type of a column nobody knows.

Found by comparing records with their text exports, byte by byte; nothing is taken from another program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

# Bits of the one byte that comes first if any of these columns is there: number -> name, lowest bit, mask.
FLAGS: dict[int, tuple[str, int, int]] = {
    1: ("mode", 0, 0b11),
    2: ("ox/red", 2, 1),
    3: ("error", 3, 1),
    21: ("control changes", 4, 1),
    31: ("Ns changes", 5, 1),
    65: ("counter inc.", 7, 1),
}
_F4, _F8, _U2, _U4 = "<f4", "<f8", "<u2", "<u4"
COLUMNS: dict[int, tuple[str, str]] = {
    4: ("time/s", _F8),
    5: ("control/V/mA", _F4),
    6: ("Ewe/V", _F4),
    7: ("dq/mA.h", _F8),
    8: ("I/mA", _F4),
    9: ("Ece/V", _F4),
    13: ("(Q-Qo)/mA.h", _F8),
    20: ("control/mA", _F4),
    23: ("dQ/mA.h", _F8),
    24: ("cycle number", _F8),
    32: ("freq/Hz", _F4),
    33: ("|Ewe|/V", _F4),
    34: ("|I|/A", _F4),
    35: ("Phase(Z)/deg", _F4),
    36: ("|Z|/Ohm", _F4),
    37: ("Re(Z)/Ohm", _F4),
    38: ("-Im(Z)/Ohm", _F4),
    39: ("I Range", _U2),
    70: ("P/W", _F4),
    74: ("|Energy|/W.h", _F8),
    76: ("<I>/mA", _F4),
    77: ("<Ewe>/V", _F4),
    96: ("|Ece|/V", _F4),
    98: ("Phase(Zce)/deg", _F4),
    99: ("|Zce|/Ohm", _F4),
    100: ("Re(Zce)/Ohm", _F4),
    101: ("-Im(Zce)/Ohm", _F4),
    123: ("Energy charge/W.h", _F8),
    124: ("Energy discharge/W.h", _F8),
    125: ("Capacitance charge/µF", _F8),
    126: ("Capacitance discharge/µF", _F8),
    131: ("Ns", _U2),
    169: ("Cs/µF", _F4),
    172: ("Cp/µF", _F4),
    174: ("<Ewe/V>", _F4),
    430: ("Phase(Zwe-ce)/deg", _F4),
    431: ("|Zwe-ce|/Ohm", _F4),
    432: ("Re(Zwe-ce)/Ohm", _F4),
    433: ("-Im(Zwe-ce)/Ohm", _F4),
    438: ("step time/s", _F8),
    467: ("Q charge/discharge/mA.h", _F8),
    468: ("half cycle", _U4),
    471: ("<Ece>/V", _F4),
    **{473 + k: (f"{name} {of}", _F4) for k, (name, of) in enumerate((("THD", "Ewe/%"), ("THD", "I/%")))},
    **{476 + k: (f"{name} {of}", _F4) for k, (name, of) in enumerate((("NSD", "Ewe/%"), ("NSD", "I/%")))},
    **{479 + k: (f"{name} {of}", _F4) for k, (name, of) in enumerate((("NSR", "Ewe/%"), ("NSR", "I/%")))},
    **{484 + harmonic: (f"|Ewe h{harmonic}|/V", _F4) for harmonic in range(2, 8)},
    **{490 + harmonic: (f"|I h{harmonic}|/A", _F4) for harmonic in range(2, 8)},
}
_TYPES = {0: None, 1: "u1", 2: _U2, 4: _F4, 8: _F8}
# Most columns are 4 bytes wide; of several ways to share bytes the first that makes sense is taken.
_WIDTHS = (4, 8, 2, 1)
_MOST_TRIED = 5
_LEAST, _MOST = 1e-25, 1e25
_BYTES = np.arange(256)


@dataclass(frozen=True)
class Place:
    """Where a column is in a record.

    Parameters
    ----------
    name
        EC-Lab's, or ``column N`` of one that is not known.
    offset
        Byte from the begin of the record.
    dtype
        None for a bit of the first byte.
    bit, mask
        Of a flag.
    """

    name: str
    offset: int
    dtype: str | None
    bit: int = 0
    mask: int = 0


def known_width(number: int) -> int | None:
    """Bytes of a column; 0 of a flag, None of an unknown one."""
    if number in FLAGS:
        return 0
    return np.dtype(COLUMNS[number][1]).itemsize if number in COLUMNS else None


def record_width(numbers: Sequence[int]) -> int | None:
    """Bytes of a record of these columns; None if one of them is not known."""
    widths = [known_width(number) for number in numbers]
    if any(width is None for width in widths):
        return None
    return sum(width for width in widths if width) + int(any(number in FLAGS for number in numbers))


def places_of(numbers: Sequence[int], records: NDArray[np.uint8], remarks: list[str]) -> list[Place]:
    """Where each column is, in the order of the file.

    The widths of unknown columns together are what the known ones leave of a record. If there is more than one way
    to share them, it is the first with which every later column holds numbers that can be.

    Parameters
    ----------
    numbers
        Of the columns.
    records
        Bytes, shape (n, width).
    remarks
        Is extended by what is not known.
    """
    unknown = [number for number in numbers if known_width(number) is None]
    flags = int(any(number in FLAGS for number in numbers))
    left = records.shape[1] - flags - sum(known_width(number) or 0 for number in numbers)
    if not unknown:
        return _laid(numbers, (), flags) if left == 0 else _as_far(numbers, (), flags, records.shape[1], remarks)
    ways = _ways(len(unknown), left)
    listed = ", ".join(str(number) for number in unknown)
    for widths in ways:
        places = _laid(numbers, widths, flags)
        if len(ways) == 1 or all(_can_be(place, records) for place in places):
            several = ", the first that makes sense" if len(ways) > 1 else ""
            remarks.append(f"column {listed} is not known: kept as it is, {list(widths)} bytes wide{several}")
            return places
    remarks.append(f"column {listed} is not known, nor how wide: columns after it are left out")
    return _as_far(numbers, (), flags, records.shape[1], remarks)


def _ways(count: int, width: int) -> list[tuple[int, ...]]:
    if count == 1:
        return [(width,)] if width in _TYPES else []
    if width in (4 * count, 8 * count) and count > _MOST_TRIED:
        return [(width // count,) * count]
    if count > _MOST_TRIED:
        return []
    return [widths for widths in product(_WIDTHS, repeat=count) if sum(widths) == width]


def _laid(numbers: Sequence[int], widths: Sequence[int], offset: int) -> list[Place]:
    """One column after another; unknown ones have the ``widths``."""
    rest = iter(widths)
    names: dict[str, int] = {}
    places = []
    for number in numbers:
        if number in FLAGS:
            places.append(Place(*(FLAGS[number][0], 0, None), *FLAGS[number][1:]))
            continue
        name, dtype = COLUMNS.get(number, (f"column {number}", None))
        if number not in COLUMNS:
            width = next(rest, None)
            if width is None:
                break
            dtype = _TYPES[width]
        names[name] = names.get(name, 0) + 1
        if dtype is not None:
            places.append(Place(name if names[name] == 1 else f"{name} ({names[name]})", offset, dtype))
            offset += np.dtype(dtype).itemsize
    return places


def _as_far(numbers: Sequence[int], widths: Sequence[int], offset: int, width: int, remarks: list[str]) -> list[Place]:
    """The columns before the first unknown one, as far as the record goes."""
    places = [
        place
        for place in _laid(numbers, widths, offset)
        if place.offset + (np.dtype(place.dtype).itemsize if place.dtype else 1) <= width
    ]
    remarks.append(f"of {len(numbers)} columns {len(places)} could be placed in records of {width} bytes")
    return places


def _can_be(place: Place, records: NDArray[np.uint8]) -> bool:
    if place.dtype not in (_F4, _F8):
        return True
    values = np.abs(column_of(place, records))
    return bool(((values == 0) | ((values > _LEAST) & (values < _MOST))).all())


def column_of(place: Place, records: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Values of a column, shape (n,), from records of bytes, shape (n, width)."""
    if place.dtype is None:
        return np.asarray(((_BYTES >> place.bit) & place.mask).astype(np.float64)[records[:, 0]])
    n_rows, width = records.shape
    view = np.ndarray((n_rows,), place.dtype, records.data, offset=place.offset, strides=(width,))
    with np.errstate(invalid="ignore"):  # a number that is none may be a signalling one
        return view.astype(np.float64)
