"""Which numbers of a study are not to be trusted, and why, most serious first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import xarray as xr

from cathoscope.report.comparisons import SINGLE, Compared, grouped, joined, quantity
from cathoscope.report.names import names_along
from cathoscope.report.summary import MeasurementSummary

_MANY_UNTRUSTED = 0.05
_MOST = 9
_MOST_REMARKS = 3
_LONGEST = 150
# words of remarks that put a number in doubt, not merely explain it
_ALARMS = ("not checked", "did not converge", "no convergence", "doubt", "at the limit", "outside", "beyond", "is open")
_MOST_QUANTITIES = 3
_MOST_NAMES = 4
_DIGITS = re.compile(r"\d+(?:\.\d+)?")  # remarks that differ in numbers alone are told once
_NAME = re.compile(r"^(?:[^:]{1,30}: )+")  # of a file or spectrum before a remark


def doubts_of(
    summaries: Sequence[MeasurementSummary], results: dict[str, xr.Dataset], rows: Sequence[Compared]
) -> list[str]:
    """Clauses ``what, because why``."""
    found = [*_of_failures(summaries), *_of_results(results), *_of_single(rows), *_of_comparisons(rows)]
    found += _of_remarks(summaries)
    found = list(dict.fromkeys(found))
    left = len(found) - _MOST
    return found[:_MOST] + ([f"{left} further points, in the sections of the measurements"] if left > 0 else [])


def _of_failures(summaries: Sequence[MeasurementSummary]) -> Iterator[str]:
    failed = [one.name for one in summaries if one.state == "failed"]
    if failed:
        yield f"anything of {joined(failed[:6])}, because the analysis failed"
    for one in summaries:
        if one.set_aside:
            n = len(one.set_aside)
            yield f"{one.name} as if it were whole, because {n} of its files {'was' if n == 1 else 'were'} set aside"


def _of_results(results: dict[str, xr.Dataset]) -> Iterator[str]:
    for check in _CHECKS:
        told: dict[str, list[str]] = {}
        for name, data in results.items():
            for what, why in check(data):
                told.setdefault(f"{what}@{why}", []).append(name)
        for text, names in told.items():
            what, why = text.split("@")
            yield f"{what} of {joined(_few(names))}, because {why}"


def _untrusted(data: xr.Dataset) -> Iterator[tuple[str, str]]:
    share = float(np.nanmax(data["untrusted_share"].values, initial=0.0)) if "untrusted_share" in data else 0.0
    if share > _MANY_UNTRUSTED:
        yield "the white line", f"up to {100 * share:.0f} % of the voxels have no trusted value"


def _unused_spectra(data: xr.Dataset) -> Iterator[tuple[str, str]]:
    if "impedance_used" in data and not data["impedance_used"].values.all():
        used = data["impedance_used"].values
        yield (
            "the resistances",
            f"{int((~used).sum())} of {used.size} spectra fail the Kramers-Kronig test or do not determine the circuit",
        )


def _unlevel(data: xr.Dataset) -> Iterator[tuple[str, str]]:
    if "effect_unlevel" in data:
        names = names_along(data["effect_unlevel"], "effect")
        for column in np.flatnonzero(data["effect_unlevel"].values.any(axis=0)):
            yield f"the enthalpy of {names[column]!r}", "heat still flows at a limit of the integral"


def _refined(data: xr.Dataset) -> Iterator[tuple[str, str]]:
    flags = data["refinement_flag"].values if "refinement_flag" in data else np.zeros(0)
    if flags.any():
        yield "the refinement", f"{int((flags != 0).sum())} of {flags.size} patterns did not end in a trusted minimum"


_CHECKS: tuple[Callable[[xr.Dataset], Iterator[tuple[str, str]]], ...] = (
    _untrusted,
    _refined,
    _unused_spectra,
    _unlevel,
)


def _of_comparisons(rows: Sequence[Compared]) -> Iterator[str]:
    """Doubts of comparisons, each with the quantities that it is about."""
    told: dict[str, list[Compared]] = {}
    for one in rows:
        for doubt in one.doubts:
            told.setdefault(doubt, []).append(one)
    for doubt, about in told.items():
        names = list(dict.fromkeys(one.words for one in about))
        shown = names[:_MOST_QUANTITIES] + (["others"] if len(names) > _MOST_QUANTITIES else [])
        what = quantity(about) if len(names) == 1 else joined(shown)
        yield f"the differences in {what}, because {doubt}"


def _of_single(rows: Sequence[Compared]) -> Iterator[str]:
    kinds: dict[str, list[Compared]] = {}
    for one in rows:
        if one.scope == SINGLE:
            kinds.setdefault(one.kind, []).append(one)
    for kind, about in kinds.items():
        names = list(dict.fromkeys(group[0].words for group in grouped(about)))
        shown = names[:_MOST_QUANTITIES] + (["others"] if len(names) > _MOST_QUANTITIES else [])
        yield (
            f"{joined(shown)} as {'a' if len(shown) == 1 else ''} difference{'' if len(shown) == 1 else 's'} of the "
            f"samples, because one {kind} of each was measured"
        ).replace("as  ", "as ")


def _of_remarks(summaries: Sequence[MeasurementSummary]) -> Iterator[str]:
    """Remarks of measurements that raise an alarm; alike ones once."""
    told: dict[str, list[tuple[str, str]]] = {}
    for one in summaries:
        for remark in one.remarks:
            text = _NAME.sub("", remark).strip().rstrip(".")
            if any(word in text.lower() for word in _ALARMS) and len(text) <= _LONGEST:
                told.setdefault(_DIGITS.sub("#", text), []).append((one.name, text))
    for found in sorted(told.values(), key=lambda found: -len({name for name, _ in found}))[:_MOST_REMARKS]:
        names, text = [name for name, _ in found], found[0][1]
        yield f"{joined(_few(names))} where this matters: {text}"


def _few(names: Sequence[str]) -> list[str]:
    """The first names, and how many more."""
    once = list(dict.fromkeys(names))
    left = len(once) - _MOST_NAMES
    return once if left <= 1 else [*once[:_MOST_NAMES], f"{left} more"]
