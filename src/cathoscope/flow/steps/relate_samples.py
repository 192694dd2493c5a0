"""Sample against sample: every quantity that both have at the same conditions, with a correction for their number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import xarray as xr

from cathoscope.core.schema import dataset, label
from cathoscope.flow.relations import Gathered, Relation
from cathoscope.flow.steps.relate_equal import USES as EQUAL_USES
from cathoscope.flow.steps.relate_equal import equal_arrays
from cathoscope.flow.steps.relate_readings import BESIDE, Found, readings_of
from cathoscope.relate.multiple_tests import false_discovery, holm
from cathoscope.relate.sample_metrics import METRICS, Metric
from cathoscope.relate.samples import (
    REPLICATED,
    SINGLE,
    Difference,
    difference_of,
)

LEVEL = 0.05  # of any false alarm among all comparisons
SCOPES = ("replicated", "one_spread", "single")
VERDICTS = ("not_distinguishable", "samples_differ", "units_differ")
USES = tuple(dict.fromkeys([*(metric.array for metric in METRICS), *BESIDE, *EQUAL_USES]))
_MOST_SYSTEMATIC = 0.7  # of the uncertainty, from which on repeating does not help
_DIM = ("comparison",)


@dataclass(frozen=True)
class _Row:
    """One comparison."""

    metric: Metric
    unit: str
    place: str
    samples: tuple[str, str]
    kinds: str
    counts: tuple[int, int]
    told: Difference
    doubts: tuple[str, ...]


def relate_samples(gathered: Gathered) -> xr.Dataset | None:
    """Compare the samples in every quantity of the list, in pairs as the recipe chooses."""
    rows = [row for metric in METRICS for row in _rows_of(gathered, metric)]
    if not rows:
        return None
    _remark(gathered, rows)
    return _dataset(rows, equal_arrays(gathered))


def _rows_of(gathered: Gathered, metric: Metric) -> Iterator[_Row]:
    found: dict[str, list[Found]] = {}
    units, beyond = set(), Counter[str]()  # a mean of those that reach something is early where others do not
    for member in gathered.having(metric.array):
        readings = list(readings_of(member, metric))
        beyond[member.sample] += member.data[metric.array].size == 1 and bool(np.isinf(member.data[metric.array]).all())
        if readings:
            found.setdefault(member.sample, []).extend(readings)
            units.add(str(member.data[metric.array].attrs.get("units", "1")))
    names = [name for name in gathered.samples if name in found]
    pairs = combinations(names, 2) if gathered.choices.pairs == "all" else ((names[0], name) for name in names[1:])
    for first, second in pairs:
        if beyond[first] + beyond[second]:
            missing = " and ".join(f"{beyond[name]} of {name}" for name in (first, second) if beyond[name])
            gathered.remark(
                f"{metric.words}: {missing} do not reach it in the series: the samples are not compared in it"
            )
            continue
        for place, a, b in _matched(found[first], found[second]):
            told = difference_of([one.reading for one in a], [one.reading for one in b])
            if told is not None and np.isfinite(told.probability):
                doubts = tuple(dict.fromkeys(_doubts(metric, told, [*a, *b])))
                counts = (len({one.reading.unit for one in a}), len({one.reading.unit for one in b}))
                yield _Row(metric, units.copy().pop(), place, (first, second), a[0].kind, counts, told, doubts)


def _matched(first: Sequence[Found], second: Sequence[Found]) -> Iterator[tuple[str, list[Found], list[Found]]]:
    """Readings at the same conditions; where a sample has several series, those of the same name."""
    several = max(len({one.series for one in side}) for side in (first, second)) > 1
    of: dict[tuple[str, str], tuple[list[Found], list[Found]]] = {}
    for side, readings in enumerate((first, second)):
        for one in readings:
            of.setdefault((one.series if several else "", one.place), ([], []))[side].append(one)
    shared = [(series, place) for (series, place), (a, b) in of.items() if a and b]
    places = [place for _, place in shared]
    for series, place in shared:
        told = [place] + ([series] if places.count(place) > 1 else [])
        yield ", ".join(filter(None, told)), *of[series, place]


def _doubts(metric: Metric, told: Difference, readings: Sequence[Found]) -> Iterator[str]:
    yield from (doubt for one in readings for doubt in one.doubts)
    if metric.lacks and told.scope == SINGLE:
        yield f"the uncertainty holds the noise of the records alone, not the {metric.lacks}"
    if told.systematic > _MOST_SYSTEMATIC * told.std:
        yield "most of the uncertainty is systematic: repeating the measurement would not reduce it"


def _remark(gathered: Gathered, rows: Sequence[_Row]) -> None:
    single = sum(row.told.scope == SINGLE for row in rows)
    if single:
        kinds = " or ".join(sorted({row.kinds for row in rows if row.told.scope == SINGLE}))
        gathered.remark(
            f"{single} of {len(rows)} comparisons rest on one {kinds} of each sample: they hold for these, and say "
            "nothing of how much others of the same sample differ"
        )
    if any(row.told.scope not in (SINGLE, REPLICATED) for row in rows):
        gathered.remark("a sample with one particle or cell is taken to scatter as the other sample's do")


def _dataset(rows: Sequence[_Row], more: Sequence[xr.DataArray]) -> xr.Dataset:
    coords = {"comparison": _coordinate(rows)}
    corrected = holm([row.told.probability for row in rows])
    verdicts = [_verdict(row.told.scope, p) for row, p in zip(rows, corrected, strict=True)]
    columns = {
        "comparison_first": [row.told.first for row in rows],
        "comparison_first_std": [row.told.first_std for row in rows],
        "comparison_second": [row.told.second for row in rows],
        "comparison_second_std": [row.told.second_std for row in rows],
        "comparison_difference": [row.told.value for row in rows],
        "comparison_difference_std": [row.told.std for row in rows],
        "comparison_difference_systematic": [row.told.systematic for row in rows],
        "comparison_low": [row.told.interval[0] for row in rows],
        "comparison_high": [row.told.interval[1] for row in rows],
        "comparison_wide_low": [row.told.wide_interval[0] for row in rows],
        "comparison_wide_high": [row.told.wide_interval[1] for row in rows],
        "comparison_effect": [row.told.effect for row in rows],
        "comparison_freedom": [row.told.freedom for row in rows],
        "comparison_probability": [row.told.probability for row in rows],
        "comparison_corrected": corrected,
        "comparison_discovery": false_discovery([row.told.probability for row in rows]),
    }
    counted = {
        "comparison_first_count": [row.counts[0] for row in rows],
        "comparison_second_count": [row.counts[1] for row in rows],
        "comparison_scope": [row.told.scope for row in rows],
        "comparison_verdict": verdicts,
    }
    arrays = [
        label(name, np.array(values, np.float64), _DIM, coords=coords, std_source=_source(name))
        for name, values in columns.items()
    ]
    arrays += [label(name, np.array(values, np.int64), _DIM, coords=coords) for name, values in counted.items()]
    for array, meanings in ((arrays[-2], SCOPES), (arrays[-1], VERDICTS)):
        array.attrs |= {"flag_values": list(range(len(meanings))), "flag_meanings": " ".join(meanings)}
    return dataset([*arrays, *more])


def _source(name: str) -> str | None:
    return "scatter" if name.endswith("_std") else None


def _verdict(scope: int, corrected: float) -> int:
    """Samples are called different only if more than one particle, cell or powder of them was measured."""
    if not corrected < LEVEL:
        return 0
    return 2 if scope == SINGLE else 1


def _coordinate(rows: Sequence[_Row]) -> xr.DataArray:
    """Numbers of the comparisons; what each is of stands in attributes, so that the results describe themselves."""
    coordinate = label("comparison", np.arange(1, len(rows) + 1), _DIM)
    coordinate.attrs |= {
        "names": [_name(row) for row in rows],
        "arrays": [row.metric.array for row in rows],
        "quantities": [row.metric.words for row in rows],
        "places": [row.place for row in rows],
        "units_of": [row.unit for row in rows],
        "first": [row.samples[0] for row in rows],
        "second": [row.samples[1] for row in rows],
        "topics": [row.metric.topic for row in rows],
        "lower": [row.metric.lower for row in rows],
        "higher": [row.metric.higher for row in rows],
        "safer": [row.metric.safer for row in rows],
        "kinds": [row.kinds for row in rows],
        "effect_in": ["spread" if row.told.effect_in_spread else "sigma" for row in rows],
        "doubts": [list(row.doubts) for row in rows],
        "level": LEVEL,
    }
    return coordinate


def _name(row: _Row) -> str:
    return ", ".join(filter(None, (row.metric.words, row.place))) + f": {row.samples[0]} − {row.samples[1]}"


SAMPLES = Relation("samples", "Sample against sample", relate_samples, USES, ("pairs",))
