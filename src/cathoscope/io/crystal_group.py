"""Which space group, in which setting, a CIF means: by operations, Hall symbol, Hermann-Mauguin symbol or number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gemmi

from cathoscope.core.errors import MeasurementError

_OPERATIONS = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz", "_space_group_symop.operation_xyz")
_HERMANN_MAUGUIN = (
    "_space_group_name_H-M_alt",
    "_symmetry_space_group_name_H-M",
    "_space_group_name_H-M_full",
    "_space_group.name_H-M_alt",
)
_HALL = ("_space_group_name_Hall", "_symmetry_space_group_name_Hall", "_space_group.name_Hall")
_NUMBER = ("_space_group_IT_number", "_symmetry_Int_Tables_number", "_space_group.IT_number")
_ADVICE = "write the operations of the group, or its symbol with the setting such as 'F d -3 m:2', into the file"


def space_group_of(
    block: gemmi.cif.Block, cell: Sequence[float], where: str | Path
) -> tuple[gemmi.SpaceGroup, list[str]]:
    """The space group of a block of a CIF in the setting of its coordinates, and remarks.

    Operations go before the Hall symbol, that before the Hermann-Mauguin symbol, that before the number.

    Raises
    ------
    MeasurementError
        If the block states no group, one that does not exist, or operations that contradict the symbol.
    """
    named = _by_name(block, cell)
    listed = _by_operations(block, where)
    if listed is None:
        listed = _by_hall(block, where)
    remarks: list[str] = []
    symbol = text_of(block, _HERMANN_MAUGUIN)
    if listed is not None:
        if symbol and named is None:
            remarks.append(f"the symbol {symbol} is not known; the operations are those of {listed.xhm()}")
        elif named is not None and named.number != listed.number:
            raise MeasurementError(
                "the operations contradict the symbol of the space group",
                where=where,
                expected=f"the operations of {named.xhm()}",
                found=f"those of {listed.xhm()}",
                cure="delete the one that is wrong from the file",
            )
        elif named is not None and named.hm != listed.hm:
            remarks.append(f"the symbol says {named.hm}, the operations are those of {listed.xhm()}, which are used")
        return listed, remarks
    if named is not None:
        return named, _origin_remark(named, symbol)
    return _by_number(block, symbol, where)


def text_of(block: gemmi.cif.Block, tags: Sequence[str]) -> str:
    """The first of some tags that the block states, without quotes; "" if there is none."""
    for tag in tags:
        raw = block.find_value(tag)
        text = gemmi.cif.as_string(raw).strip() if raw else ""
        if text not in ("", "?", "."):
            return text
    return ""


def _by_name(block: gemmi.cif.Block, cell: Sequence[float]) -> gemmi.SpaceGroup | None:
    """By the Hermann-Mauguin symbol; angles tell hexagonal from rhombohedral axes; origin 2 where none is stated."""
    symbol = text_of(block, _HERMANN_MAUGUIN)
    for ending, setting in ((" S", ":1"), (" Z", ":2"), ("S", ":1"), ("Z", ":2")):  # of GSAS and ICSD
        if symbol.endswith(ending) and gemmi.find_spacegroup_by_name(symbol.removesuffix(ending).strip() + setting):
            symbol = symbol.removesuffix(ending).strip() + setting
            break
    return gemmi.find_spacegroup_by_name(symbol, cell[3], cell[5], "2") if symbol else None


def _by_operations(block: gemmi.cif.Block, where: str | Path) -> gemmi.SpaceGroup | None:
    """By the list of operations, which may be generators."""
    triplets: list[str] = []
    for tag in _OPERATIONS:
        triplets = [gemmi.cif.as_string(one) for one in block.find_values(tag)]
        if triplets:
            break
    if not triplets:
        return None
    if len(triplets) > 192:
        raise MeasurementError(
            "too many symmetry operations", where=where, expected="at most 192", found=str(len(triplets)), cure=_ADVICE
        )
    try:
        group = gemmi.GroupOps([gemmi.Op(one) for one in triplets])
        group.add_missing_elements()
    except (RuntimeError, ValueError) as error:
        raise MeasurementError(
            "the symmetry operations cannot be read", where=where, expected="x,y,z", found=str(error), cure=_ADVICE
        ) from error
    return _known(group, f"{len(triplets)} operations, from {triplets[0]} to {triplets[-1]}", where)


def _by_hall(block: gemmi.cif.Block, where: str | Path) -> gemmi.SpaceGroup | None:
    """By the Hall symbol, which states the setting."""
    symbol = text_of(block, _HALL)
    if not symbol:
        return None
    try:
        group = gemmi.symops_from_hall(symbol)
    except (RuntimeError, ValueError) as error:
        raise MeasurementError(
            "the Hall symbol cannot be read", where=where, expected='such as -R 3 2"', found=symbol, cure=_ADVICE
        ) from error
    return _known(group, symbol, where)


def _known(group: gemmi.GroupOps, found: str, where: str | Path) -> gemmi.SpaceGroup:
    """The group of operations, in one of the settings that have a symbol."""
    known = gemmi.find_spacegroup_by_ops(group)
    if known is None:
        raise MeasurementError(
            "the symmetry operations are those of no known setting of a space group",
            where=where,
            expected="one of the 560 settings of International Tables",
            found=found,
            cure="transform the structure to a standard setting",
        )
    return known


def _by_number(block: gemmi.cif.Block, symbol: str, where: str | Path) -> tuple[gemmi.SpaceGroup, list[str]]:
    """By the number in International Tables, which leaves the setting open."""
    text = text_of(block, _NUMBER)
    group = gemmi.find_spacegroup_by_number(int(text)) if text.isdecimal() and len(text) < 4 else None
    if symbol or group is None:
        raise MeasurementError(
            "the file states no space group that is known",
            where=where,
            expected="operations, or a symbol such as R -3 m:H",
            found=symbol or text or "nothing",
            cure=_ADVICE,
        )
    return group, [f"only the number {group.number} of the space group is stated; its setting {group.xhm()} is taken"]


def _origin_remark(group: gemmi.SpaceGroup, symbol: str) -> list[str]:
    """That the origin was not stated, where there are two."""
    if group.ext not in ("1", "2") or symbol.endswith((":1", ":2", "S", "Z")):
        return []
    return [f"{symbol} has two origins and there are no operations; {group.xhm()} is taken: look at the bond lengths"]
