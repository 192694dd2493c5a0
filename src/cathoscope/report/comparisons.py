"""Comparisons of two samples in words: what differs by how much, for what it holds, in which conditions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from cathoscope.report.numbers import plain_number, significant_decimals
from cathoscope.report.style import unit_text

NOTHING, SAMPLES_DIFFER, UNITS_DIFFER = 0, 1, 2
SINGLE = 2
# shares that read better in per cent
_SHARES = ("share", "porosity", "retention", "fraction", "antisite", "occupancy")
_CYCLES = ("regime_change", "cycle_of_porosity")
_PLURALS = {"particle": "particles", "cell": "cells", "powder": "powders", "solution": "solutions"}
_LEAST_CHANCE = 1e-6
_LARGE_OHM = 1e5
_LIKELY = 0.05
_MOST_CONDITIONS = 4


@dataclass(frozen=True)
class Compared:
    """One quantity of two samples at the same conditions; ``value`` is that of the first minus that of the second."""

    array: str
    words: str
    place: str
    unit: str
    samples: tuple[str, str]
    topic: str
    lower: str
    higher: str
    safer: str
    kind: str
    doubts: tuple[str, ...]
    value: float
    ends: tuple[float, float]  # of the 95 % interval
    corrected: float
    discovery: float
    counts: tuple[int, int]
    scope: int
    verdict: int

    @property
    def said(self) -> str:
        """What the first sample is or does beside the second."""
        return f"{self.samples[0]} {self.lower if self.value < 0 else self.higher}"

    @property
    def safe_sample(self) -> str:
        """The sample that stands heat better by this quantity; empty if it tells nothing of that."""
        if not self.safer:
            return ""
        return self.samples[0] if (self.value > 0) == (self.safer == "higher") else self.samples[1]

    @property
    def is_likely(self) -> bool:
        """Whether samples are likely to differ, though not beyond doubt: among such, 5 % are false."""
        return self.verdict == NOTHING and self.scope != SINGLE and self.discovery < _LIKELY

    @property
    def stands_on(self) -> str:
        """``3 particles of each``, ``one powder of each``, ``3 and 4 cells``."""
        plural = _PLURALS.get(self.kind, f"{self.kind}s")
        first, second = self.counts
        if first == second:
            return f"one {self.kind} of each" if first == 1 else f"{first} {plural} of each"
        return f"{first} and {second} {plural}"


def comparisons_of(data: xr.Dataset) -> list[Compared]:
    """Every comparison, in the order of the list of quantities."""
    about = data["comparison"].attrs
    names = (
        "difference",
        "wide_low",
        "wide_high",
        "corrected",
        "discovery",
        "first_count",
        "second_count",
        "scope",
        "verdict",
    )
    columns = {name: np.asarray(data[f"comparison_{name}"].values, np.float64) for name in names}
    found = []
    for row in range(data.sizes["comparison"]):
        at = {name: column[row] for name, column in columns.items()}
        found.append(
            Compared(
                array=about["arrays"][row],
                words=about["quantities"][row],
                place=about["places"][row],
                unit=about["units_of"][row],
                samples=(about["first"][row], about["second"][row]),
                topic=about["topics"][row],
                lower=about["lower"][row],
                higher=about["higher"][row],
                safer=about["safer"][row],
                kind=about["kinds"][row],
                doubts=tuple(about["doubts"][row]),
                value=float(at["difference"]),
                ends=(float(at["wide_low"]), float(at["wide_high"])),
                corrected=float(at["corrected"]),
                discovery=float(at["discovery"]),
                counts=(int(at["first_count"]), int(at["second_count"])),
                scope=int(at["scope"]),
                verdict=int(at["verdict"]),
            )
        )
    return found


def amount(one: Compared) -> str:
    """``by 13.3 K at 5 K/min; 95 %: 12.8 to 13.9``; the sign is in the words around it."""
    scale, unit = scale_of(one)
    sign = -1 if one.value < 0 else 1
    ends = sorted(sign * scale * end for end in one.ends)
    text = [number(end, ends[1] - ends[0]) for end in (sign * scale * one.value, *ends)]
    return f"by {text[0]}{unit}{placed(one.place)}; 95 %: {text[1]} to {text[2]}"


def placed(place: str) -> str:
    """The conditions as they stand in a sentence."""
    if not place:
        return ""
    return f" for {place}" if " : " in place else f" from {place}" if " to " in place else f" at {place}"


def number(value: float, width: float) -> str:
    """A value with the decimals that an interval of this width allows."""
    if not np.isfinite(value):
        return "unbounded"
    if not (np.isfinite(width) and width > 0):
        return plain_number(value).replace("-", "−")
    decimals = significant_decimals(float(width) / 4)
    if abs(value) >= 1e5 or decimals > 6:
        return plain_number(float(f"{value:.3g}")).replace("-", "−")
    return f"{round(value, decimals) + 0.0:.{max(decimals, 0)}f}".replace("-", "−")


def scale_of(one: Compared) -> tuple[float, str]:
    """What differences are multiplied by, and the unit they then have, with a blank before it."""
    if one.array in _CYCLES:
        return 1.0, " cycles"
    if one.unit == "1" and any(word in one.array for word in _SHARES):
        return 100.0, " percentage points"
    if one.unit == "degC":
        return 1.0, " K"
    if one.unit == "ohm" and max(map(abs, (one.value, *one.ends))) >= _LARGE_OHM:
        return 1e-6, " MΩ"
    unit = "Ω" if one.unit == "ohm" else unit_text(one.unit)
    return 1.0, f" {unit}" if unit else ""


def chance(probability: float) -> str:
    """``0.3 %``, ``less than 0.0001 %``: of all studies of samples that are alike."""
    if probability < _LEAST_CHANCE:
        return "less than 0.0001 %"
    return f"{plain_number(float(f'{100 * probability:.1g}'))} %"


def grouped(rows: Iterable[Compared]) -> list[list[Compared]]:
    """Rows of one quantity, pair and finding together, the clearest group first."""
    groups: dict[tuple[object, ...], list[Compared]] = {}
    for one in rows:
        told = one.verdict != NOTHING or one.is_likely
        groups.setdefault((one.array, one.samples, told and one.value < 0), []).append(one)
    return sorted(groups.values(), key=lambda group: min(one.corrected for one in group))


def quantity(group: Sequence[Compared]) -> str:
    """``mean white line (200 and 250 °C)``: a quantity with all its conditions."""
    places = conditions([one.place for one in group])
    return group[0].words + (f" ({places})" if places else "")


def conditions(places: Sequence[str]) -> str:
    """Conditions in one line, what they have in common said once; of many the first, and how many more."""
    known = _shortened(list(filter(None, places))) if any(places) else []
    left = len(known) - _MOST_CONDITIONS
    shown = known if left <= 1 else [*known[:_MOST_CONDITIONS], f"{left} more"]
    if any("," in one for one in shown[1:]):  # commas within: semicolons between
        return " and ".join(filter(None, ("; ".join(shown[:-1]), *shown[-1:])))
    return joined(shown)


def _shortened(places: Sequence[str]) -> list[str]:
    """``40 °C, cycle 100``, ``150``, ``300``: what all have in common is said once."""
    unit = " °C"
    places = list(dict.fromkeys(places))
    if len(places) > 1 and all(place.endswith(unit) and "," not in place and " to " not in place for place in places):
        return [place.removesuffix(unit) for place in places[:-1]] + [places[-1]]
    head = places[0].rpartition(" ")[0] + " "
    if all(place.startswith(head) and " " not in place[len(head) :] for place in places):
        return [places[0]] + [place[len(head) :] for place in places[1:]]
    return places


def joined(words: Sequence[str]) -> str:
    """``a, b and c``; nothing of nothing."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
