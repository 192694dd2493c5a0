"""The methods paragraph of a report, written from the recipe of the last run and from what the files hold."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cathoscope.core.relations import place_of
from cathoscope.core.study import Study
from cathoscope.report.citations import REFERENCES, Reference
from cathoscope.report.comparisons import joined
from cathoscope.report.method_words import CHOICES, SENTENCES, TITLES
from cathoscope.report.numbers import count_text
from cathoscope.report.summary import measurement_names

_CITED = re.compile(r"\[@([^\]]+)\]")
_PROGRAMS = ("numpy", "scipy", "numba", "xarray", "scikit-image", "algotom")
_MOST_VALUES = 6
_FILES = (".blank",)  # choices that are files, of which each measurement has its own


@dataclass(frozen=True)
class Paragraph:
    """What was done with the measurements of one technique; numbers in brackets stand in the list of references."""

    title: str
    text: str


@dataclass(frozen=True)
class Methods:
    """Paragraphs in the order of the recipe, and the references in the order of their numbers."""

    paragraphs: tuple[Paragraph, ...]
    references: tuple[Reference, ...]


def methods_of(study: Study) -> Methods:
    """What was measured and how it was analysed; empty if nothing has run."""
    log = study.log()
    if not log:
        return Methods((), ())
    stated = _recipe(log[-1], "measurement")
    groups: dict[tuple[Any, ...], list[str]] = {}
    for name in measurement_names(study):
        section = stated.get(name, {})
        technique = str(study.attributes("raw", name).get("technique") or section.get("technique", ""))
        if technique in SENTENCES:
            choices = [_chosen(section, key, default) for key, default in CHOICES[technique].items()]
            groups.setdefault((technique, repr(choices)), []).append(name)
    paragraphs = _of_samples(_recipe(log[-1], "sample"))
    paragraphs += [_paragraph(study, technique, names, stated) for (technique, _), names in groups.items()]
    paragraphs += _of_comparison(study)
    paragraphs.append(Paragraph("Programs", _programs(log[-1])))
    return _numbered(paragraphs)


def _recipe(record: Mapping[str, Any], table: str) -> Mapping[str, Any]:
    """A table of the recipe of a run, by name."""
    try:
        stated = tomllib.loads(str(record.get("recipe", ""))).get(table, {})
    except tomllib.TOMLDecodeError:
        return {}
    return stated if isinstance(stated, Mapping) else {}


def _of_samples(samples: Mapping[str, Any]) -> list[Paragraph]:
    """What the recipe says of each sample in words."""
    told = []
    for name, section in samples.items():
        words = [str(section.get(key) or "") for key in ("composition", "particle", "treatment")]
        words.insert(1, joined([str(phase) for phase in section.get("phases") or ()]))
        if any(words):
            told.append(f"{name}: {'; '.join(word for word in words if word)}.")
    return [Paragraph("Samples", " ".join(told))] if told else []


def _chosen(section: Mapping[str, Any], key: str, default: Any) -> Any:
    """A choice such as ``tomography.method``, as stated or by default; of files only whether there is one."""
    found: Any = section
    for part in key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return default
        found = found[part]
    return bool(found) if key.endswith(_FILES) else found


def _paragraph(study: Study, technique: str, names: Sequence[str], stated: Mapping[str, Any]) -> Paragraph:
    section = stated.get(names[0], {})
    choices = {key: _chosen(section, key, default) for key, default in CHOICES[technique].items()}
    write: Callable[[Mapping[str, Any], frozenset[str]], Iterator[str]] = SENTENCES[technique]
    arrays = frozenset(name for one in names for name in study.arrays("result", one))
    return Paragraph(TITLES[technique], " ".join([_measured(study, names, stated), *write(choices, arrays)]))


def _measured(study: Study, names: Sequence[str], stated: Mapping[str, Any]) -> str:
    """Samples, files and conditions."""
    raws = [study.attributes("raw", name) for name in names]
    samples = list(dict.fromkeys(str(raw.get("sample") or name) for raw, name in zip(raws, names, strict=True)))
    particles = {(raw.get("sample"), raw.get("particle")) for raw in raws if raw.get("particle")}
    of = f"{count_text(len(particles), 'particle')} of {joined(samples)}" if particles else joined(samples)
    files = sum(len(raw.get("files") or ()) for raw in raws)
    formats = list(dict.fromkeys(one for raw in raws for one in _listed(raw.get("format"))))
    text = f"{of[:1].upper()}{of[1:]}: {count_text(files, 'file')}"
    text += f" ({', '.join(formats)})" if formats else ""
    return f"{text}{''.join(_shape_words(raws))}."


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(one) for one in value or ()]


def _shape_words(raws: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Temperatures, energies, projections; those that differ between measurements as a range."""
    for name, noun, unit in (("temperature", "temperature", "°C"), ("energy", "energy", "eV")):
        series = [tuple((raw.get("scans") or {}).get(name) or ()) for raw in raws]
        values = sorted({float(value) for one in series for value in one})
        if values:
            most = max(map(len, series))
            plural = "energies" if noun == "energy" else f"{noun}s"
            shown = (
                ", ".join(f"{value:g}" for value in values)
                if len(values) <= _MOST_VALUES
                else f"{values[0]:g} to {values[-1]:g}"
            )
            yield f", {most} {noun if most == 1 else plural} ({shown} {unit})"
    shape = raws[0].get("shape") or {}
    if "projection" in shape:
        yield f", {shape['projection']} projections of {shape.get('column', '?')} × {shape.get('row', '?')} pixels each"


def _of_comparison(study: Study) -> list[Paragraph]:
    if not study.arrays("result", place_of("samples")):
        return []
    return [
        Paragraph(
            "Comparison of samples",
            "Every quantity that two samples share at the same conditions was compared. Where several particles or "
            "cells were measured, means were compared by Welch's test [@welch], particles and cells being the units, "
            "and the effect is Hedges' g [@hedges]; where there is one of each, by their own uncertainties. What both "
            "samples share, such as a foil, cancels. Probabilities were corrected for the number of comparisons by "
            "Holm's rule [@holm]; shares of false discoveries are those of Benjamini and Hochberg [@discovery].",
        )
    ]


def _programs(record: Mapping[str, Any]) -> str:
    packages = record.get("packages") or {}
    named = [
        f"{name} {packages[name]}" + f" [@{name}]" * (name in REFERENCES) for name in _PROGRAMS if name in packages
    ]
    return (
        f"The analysis was made with cathoscope {record.get('cathoscope', '')} on Python {record.get('python', '')}, "
        f"with {joined(named)}. Every choice is in the recipe under Settings; the address of every result stands in "
        "numbers.csv."
    )


def _numbered(paragraphs: Sequence[Paragraph]) -> Methods:
    """Citations become numbers in the order of their first use."""
    order: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        """``[1, 2]`` for the keys of one citation."""
        keys = [key.strip() for key in match.group(1).split(";")]
        return f"[{', '.join(str(order.setdefault(key, len(order) + 1)) for key in keys)}]"

    done = tuple(Paragraph(one.title, _CITED.sub(number, one.text)) for one in paragraphs)
    return Methods(done, tuple(REFERENCES[key] for key in order))
