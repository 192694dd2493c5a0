"""Instrument parameters of powder diffractometers: read as banks.

Schema
------
`Bank` records (see `cathoscope.core.bank`): kind, radiation, and numbers under their names and in their units there.
Not arrays: a bank is what a pattern is computed with.

Uncertainties
-------------
None: the numbers are where a refinement starts.

Metadata
--------
``name`` is that of the file, with the number of the bank where there are several; ``source`` is the file.

File structure
--------------
GSAS-II ``.instprm``: see `cathoscope.io.instrument_gsas2`. GSAS ``.prm``, ``.iparm``: `cathoscope.io.instrument_cards`.
"""

from __future__ import annotations

from pathlib import Path

from cathoscope.core.bank import Bank
from cathoscope.core.errors import MeasurementError
from cathoscope.io.instrument_cards import recognise_cards, stated_in_cards
from cathoscope.io.instrument_gsas2 import recognise_instprm, stated_in_instprm
from cathoscope.io.instrument_stated import bank_of
from cathoscope.io.spectra_text import check_is_text

_MOST_BYTES = 2**20


def recognise_instrument(path: Path) -> str | None:
    """None if the file states instrument parameters, else the reason why not."""
    try:
        check_is_text(path, _MOST_BYTES)
        text = _text(path)
    except MeasurementError as error:
        return f"{error.problem} ({error.found})"
    except OSError as error:
        return str(error)
    if recognise_cards(text) or recognise_instprm(text):
        return None
    return "neither a card INS   HTYPE nor a line Type:PNT, PNC or PXC"


def read_banks(path: Path) -> tuple[dict[int, Bank], tuple[str, ...]]:
    """The banks of an instrument file by their numbers, and remarks: what it leaves out and what was made of that.

    Raises
    ------
    MeasurementError
        If it is no instrument file, lacks a number, or has one that cannot be, such as a wavelength in nm.
    """
    reason = recognise_instrument(path)
    if reason is not None:
        raise MeasurementError(
            "not a file of instrument parameters",
            where=path,
            expected="GSAS-II .instprm, or GSAS .prm",
            found=reason,
            cure="check the name of the file",
        )
    text = _text(path)
    stated = stated_in_cards(text, path) if recognise_cards(text) else stated_in_instprm(text, path)
    banks: dict[int, Bank] = {}
    remarks: list[str] = []
    for one in stated:
        name = path.stem if len(stated) == 1 else f"{path.stem}-{one.number}"
        banks[one.number], notes = bank_of(one, path, name)
        remarks += notes if len(stated) == 1 else [f"bank {one.number}: {note}" for note in notes]
    return banks, tuple(remarks)


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8-sig", errors="replace")
