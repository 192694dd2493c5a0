"""The page that holds what the papers print, what is true of the virtual particles, and what we find of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

_PAPERS = {
    "hou": ("Hou et al.", "recipes/hou-grain-arrangement.toml"),
    "cadiou": ("Cadiou et al.", "recipes/cadiou-single-particle.toml"),
}
_LARGEST_PULL = 1.96


def page_of(panels: Mapping[str, Any], kept: Mapping[str, Any]) -> str:
    """The page, markdown: the whole of both papers of size small, the numbers of the studies alone of another."""
    whole = kept["size"] == "small"
    numbers = [one for one in panels["number"] if "find" in one and (whole or one["key"] in kept["numbers"])]
    verdicts = {entry["key"]: verdict_of(entry, kept["numbers"].get(entry["key"], {})) for entry in numbers}
    parts = [_head(kept, numbers, verdicts, _WHOLE if whole else _OF_SIZE)]
    for paper, (name, recipe) in _PAPERS.items():
        own = [entry for entry in numbers if entry["paper"] == paper]
        if own:
            parts += [f"## Numbers of {name}\n\nRecipe: `{recipe}`.\n", _numbers(own, kept["numbers"], verdicts)]
        if whole:
            parts += [f"## Panels of {name}\n", _panels([one for one in panels["panel"] if one["paper"] == paper])]
    if whole:
        parts += ["## Numbers that studies are given\n", _settings([e for e in panels["number"] if "setting" in e])]
    return "\n".join(parts)


def verdict_of(entry: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[str, str]:
    """Whether the analysis finds what is true, and whether what is true is what the paper prints."""
    return _analysis(entry, row), _specimen(entry, row)


def _analysis(entry: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    if row.get("ours") is None:
        return "**not measured**"
    if row.get("truth") is None:
        return "no interval"
    if row.get("pull") is None:
        return "no interval"
    return "holds" if abs(row["pull"]) <= _LARGEST_PULL else "**fails**"


def _specimen(entry: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    truth = row.get("truth")
    if truth is None:
        return "not known"
    if "expect" in entry:
        right = truth > 0 if entry["expect"] == "> 0" else truth < 0
        return "holds" if right and _is_told(entry, row) else "**fails**" if not right else "**not told**"
    return "holds" if abs(truth - entry["value"]) <= entry["tolerance"] + 1e-9 else "**fails**"


def _is_told(entry: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Whether our interval lies wholly on the side of the paper."""
    end = row.get("low") if entry["expect"] == "> 0" else row.get("high")
    return end is not None and (end > 0 if entry["expect"] == "> 0" else end < 0)


def _head(
    kept: Mapping[str, Any], numbers: Sequence[Mapping[str, Any]], verdicts: Mapping[str, Any], words: str
) -> str:
    analysis = [verdicts[entry["key"]][0] for entry in numbers]
    specimen = [verdicts[entry["key"]][1] for entry in numbers]
    studies = "\n".join(f"- {title}" for title in kept["studies"])
    counts = f"""\
| | holds | fails | direction not told | no interval or truth | not measured |
|---|---|---|---|---|---|
| analysis | {_count(analysis, "holds", "**fails**", "**not told**", "no interval", "**not measured**")} |
| specimen | {_count(specimen, "holds", "**fails**", "**not told**", "not known", "**not measured**")} |
"""
    return words.format(studies=studies, version=kept["version"], size=kept["size"], n=len(numbers), counts=counts)


def _count(verdicts: Sequence[str], *words: str) -> str:
    """How often each verdict was given."""
    return " | ".join(str(verdicts.count(word)) for word in words)


_WHOLE = """\
# Reproduction

What both papers print, what is true of the virtual particles, and what the analysis finds in their raw files. Written
by `python -m benchmarks.reproduction SIZE HOU/study.zarr CADIOU/study.zarr` from `docs/panels.toml`, which lists every
panel and number, and from the studies; not by hand. The numbers are kept in `docs/reproduction.json`: version
{version}, size {size}, of the studies

{studies}

Two questions, two answers. *Analysis*: does our 95 % interval hold the truth (|pull| at most 1.96)? *Specimen*: is the
truth what the paper prints, within what its wording allows; or, where it tells a direction, is that direction true,
and told by our interval? Of the {n} numbers:

{counts}
One interval of twenty misses by chance; n is the number of particles or powders that a number is the mean of. The
specimen was calibrated against some of these numbers ([which](virtual-experiment.md#the-papers-numbers)), so its column
says how well that went, and is no prediction. What finer pixels and more energies change is told
[beside](reproduction-medium.md).
"""

_OF_SIZE = """\
# Reproduction, size {size}

The numbers of [reproduction](reproduction.md), which tells what the columns mean, from studies of size {size}: version
{version}, kept in `docs/reproduction-{size}.json`, written by `python -m benchmarks.reproduction {size} STUDY ...`.

{studies}

What they take is told [here](running.md#time). Numbers that the studies do not measure are left out: of Hou's, one rod
particle's XANES and the rod's neutrons were analysed. Of the {n} others:

{counts}"""


def _numbers(
    entries: Sequence[Mapping[str, Any]], found: Mapping[str, Any], verdicts: Mapping[str, tuple[str, str]]
) -> str:
    lines = [
        "| number | where | paper | truth | ours, 95 % | pull | n | analysis | specimen |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    remarks: list[str] = []
    for entry in entries:
        row = found.get(entry["key"], {})
        mark = ""
        if "remark" in entry:
            remarks += [entry["remark"]] if entry["remark"] not in remarks else []
            mark = f" [{1 + remarks.index(entry['remark'])}]"
        analysis, specimen = verdicts[entry["key"]]
        cells = [
            f"{entry['what']}, {_UNITS.get(entry['unit'], entry['unit'])}".removesuffix(", ") + mark,
            entry["place"],
            entry["printed"],
            _value(row.get("truth"), row),
            _interval(row),
            "" if row.get("pull") is None else f"{row['pull']:+.1f}".replace("-", "−"),
            str(row.get("particles") or ""),
            analysis,
            specimen,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    notes = [f"{place}. {remark}" for place, remark in enumerate(remarks, start=1)]
    return "\n".join([*lines, "", *notes, ""])


_UNITS = {"1": "", "degC": "°C", "um": "µm", "A": "Å", "MOhm": "MΩ"}


def _digits(row: Mapping[str, Any]) -> int:
    """Decimal places that the interval deserves."""
    low, high = row.get("low"), row.get("high")
    width = (high - low) / 4 if low is not None and high is not None else 0.0
    return int(min(max(1 - math.floor(math.log10(width)), 0), 5)) if width > 0 else 3


def _value(value: float | None, row: Mapping[str, Any]) -> str:
    return "" if value is None else f"{value:.{_digits(row)}f}".replace("-", "−")


def _interval(row: Mapping[str, Any]) -> str:
    if row.get("ours") is None:
        return ""
    text = _value(row["ours"], row)
    low, high = (_value(row.get(end), row) or "open" for end in ("low", "high"))
    return text if low == high == "open" else f"{text} ({low} to {high})"


def _panels(entries: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| panel | kind | what | our figures | remark |", "|---|---|---|---|---|"]
    for entry in entries:
        figures = ", ".join(f"`{key}`" for key in entry.get("figures", ())) or (
            "**none**" if entry["kind"] == "data" else ""
        )
        remark = entry.get("missing", entry.get("remark", ""))
        lines.append(f"| {entry['panel']} | {entry['kind']} | {entry['what']} | {figures} | {remark} |")
    return "\n".join([*lines, ""])


def _settings(entries: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| paper | what | printed | where it is set |", "|---|---|---|---|"]
    for entry in entries:
        name = _PAPERS[entry["paper"]][0]
        lines.append(f"| {name}, {entry['place']} | {entry['what']} | {entry['printed']} | {entry['setting']} |")
    return "\n".join([*lines, ""])
