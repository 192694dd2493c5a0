"""From what a recipe says of powder diffraction to patterns, phases and a plan of refinement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr

from cathoscope.core.bank import Bank
from cathoscope.core.crystal import Phase
from cathoscope.core.errors import CathoscopeError, MeasurementError
from cathoscope.flow.diffraction_sections import PowderPhaseSection
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps.diffraction_files import PLACES, PlacedError, banks_of_rows, instrument_remarks
from cathoscope.io.crystal_cif import read_cif
from cathoscope.powder.calibration import calibration_stages
from cathoscope.powder.crystallite import Crystallite, CrystalliteChoices, crystallite_of
from cathoscope.powder.curves import reflections_in
from cathoscope.powder.model import Model, Pattern, model_of, spacing_range
from cathoscope.powder.peaks import Group, cut_of
from cathoscope.powder.priors import usual_priors
from cathoscope.powder.sequence import SequenceChoices
from cathoscope.powder.start import stated_parameters
from cathoscope.powder.strategy import Plan, names_of, prepared, with_own, with_ties
from cathoscope.powder.structure import require_cell
from cathoscope.powder.symmetry import symmetry_of
from cathoscope.powder.ties import Ties, tie_of_text, with_exchange
from cathoscope.powder.usual import USUAL_STAGES, PatternChoices, Range, more_numbers, pattern_of, usual_ties

_SHORT = 1.0  # A; patterns of powders reach further


@dataclass(frozen=True)
class Powder:
    """Everything that is refined, and how.

    Attributes
    ----------
    banks, choices
        Of every row of the patterns.
    phases, plan, sequence
        Of the refinement.
    remarks
        Of the files of the phases.
    """

    banks: tuple[Bank, ...]
    choices: tuple[PatternChoices, ...]
    phases: tuple[Crystallite, ...]
    plan: Plan
    sequence: SequenceChoices
    remarks: tuple[str, ...]


@contextmanager
def _at(*key: str | int) -> Iterator[None]:
    """Mistakes made here stand at a key of the measurement's table."""
    try:
        yield
    except PlacedError:
        raise
    except CathoscopeError as error:
        words = {"expected": error.expected, "found": error.found, "cure": error.cure}
        raise PlacedError(MeasurementError(error.problem, where=error.where, **words), *key) from None


def powder_of(section: MeasurementSection, folder: Path, scan: xr.Dataset) -> Powder:
    """Banks, phases and plan of a measurement; ``scan`` are the patterns of any temperature.

    Raises
    ------
    PlacedError
        With the key of the recipe that is wrong.
    """
    banks = banks_of_rows(section, folder, scan)
    choices = _pattern_choices(section)
    phases, ties, exchanged, remarks = _phases(section, folder)
    _require_known_units(section, banks)
    plan = _plan(section, phases, ties, exchanged)
    if section.calibration is not None:
        with _at("calibration", "free"):
            plan = _calibration(plan, section, banks)
    several = len(section.phases) > 1
    optional = tuple(
        name
        for name, one in section.phases.items()
        if one.intensities == "structure" and (several if one.optional is None else one.optional)
    )
    return Powder(
        tuple(banks), tuple(choices), phases, plan, SequenceChoices(optional, section.diffraction.direction), remarks
    )


def _pattern_choices(section: MeasurementSection) -> list[PatternChoices]:
    """Of the banks of ``files``, all alike, and of every further bank."""
    stated = section.diffraction
    common = PatternChoices(
        _range(stated.range),
        tuple(_known_range(one) for one in stated.excluded),
        stated.background,
        stated.background_scale,
        stated.profile,
        stated.scattering,
        stated.effects,
    )
    further = [
        replace(
            common,
            range=_range(bank.range) if bank.range is not None else common.range,
            excluded=common.excluded if bank.excluded is None else tuple(_known_range(one) for one in bank.excluded),
            background=common.background if bank.background is None else bank.background,
        )
        for bank in section.banks
    ]
    return [common, *further]


def _range(value: tuple[tuple[float, str], tuple[float, str]] | None) -> Range | None:
    return None if value is None else _known_range(value)


def _known_range(value: tuple[tuple[float, str], tuple[float, str]]) -> Range:
    return value[0][0], value[1][0], value[0][1]


def _require_known_units(section: MeasurementSection, banks: Sequence[Bank]) -> None:
    """Refuse a range in us where all banks have a constant wavelength, and in deg where none has."""
    stated = section.diffraction
    units = {"us": "tof", "deg": "cw"}
    for key, one in (("range", stated.range), *(("excluded", each) for each in stated.excluded)):
        kind = None if one is None else units.get(one[0][1])
        if kind is not None and kind not in {bank.kind for bank in banks}:
            error = MeasurementError(
                f"no bank has places in {one[0][1] if one else ''}",
                expected='a lattice spacing such as "1.2 A", or '
                + ("two theta, deg" if kind == "tof" else "a time, us"),
            )
            raise PlacedError(error, "diffraction", key)


def _phases(
    section: MeasurementSection, folder: Path
) -> tuple[tuple[Crystallite, ...], Ties, tuple[str, ...], tuple[str, ...]]:
    """Phases, ties of their exchanges, what of these is free, and remarks."""
    found, ties, free, remarks = [], Ties(), [], []
    for name, stated in section.phases.items():
        phase, said = _phase(name, stated, folder)
        remarks += [f"{name}: {one}" for one in said]
        if stated.exchange is not None:
            with _at("phases", name, "exchange"):
                phase, more, x = with_exchange(phase, *stated.exchange)
            ties |= more
            free.append(x)
        with _at("phases", name):
            found.append(crystallite_of(phase, _choices(stated, standard=section.calibration is not None)))
    return tuple(found), ties, tuple(free), tuple(remarks)


def _calibration(plan: Plan, section: MeasurementSection, banks: Sequence[Bank]) -> Plan:
    """The same with the stages of a standard, unless the recipe states its own."""
    asked = () if section.calibration is None else section.calibration.free
    stages = calibration_stages(banks, asked)
    more = (*(f"*.{one}" for one in section.diffraction.effects), *section.diffraction.free)
    return plan if section.diffraction.stages else replace(plan, stages=(*stages[:-1], (*stages[-1], *more)))


def _phase(name: str, stated: PowderPhaseSection, folder: Path) -> tuple[Phase, tuple[str, ...]]:
    """A phase from its file, or from its cell alone, and remarks."""
    if stated.file is not None:
        with _at("phases", name, "file"):
            return read_cif(folder / stated.file, block=stated.block, name=name)
    phase = Phase(name, stated.space_group or "", stated.cell or (0.0,) * 6, (), source="the recipe")
    with _at("phases", name, "space_group"):
        symmetry = symmetry_of(phase.space_group)
    with _at("phases", name, "cell"):
        require_cell(symmetry, phase.cell)
    return phase, ()


def _choices(stated: PowderPhaseSection, *, standard: bool) -> CrystalliteChoices:
    """What a recipe says of a phase; a standard is as sharp as the instrument, unless the recipe says otherwise."""
    wide = stated.model_fields_set if standard else {"size", "strain"}
    return CrystalliteChoices(
        stated.size if "size" in wide else "none",
        stated.size_axis,
        stated.strain if "strain" in wide else "none",
        stated.strain_axis,
        stated.equivalents,
        stated.march_axis,
        stated.harmonics,
        stated.harmonics_psi,
        stated.extinction,
        stated.intensities,
    )


def _plan(
    section: MeasurementSection, phases: Sequence[Crystallite], exchanges: Ties, exchanged: tuple[str, ...]
) -> Plan:
    """Stages, ties and starts; what the recipe frees or fixes goes before what it only implies."""
    stated = section.diffraction
    asked = tuple(f"{name}.{one}" for name, phase in section.phases.items() for one in phase.free) + stated.free
    more = tuple(name for phase in phases for name in more_numbers(phase))
    effects = tuple(f"*.{one}" for one in stated.effects)
    last = (*USUAL_STAGES[-1], *exchanged, *more, *effects, *asked)
    stages = stated.stages or (*USUAL_STAGES[:-1], last)
    written: Ties = {}
    for name, text in stated.ties.items():
        with _at("diffraction", "ties", name):
            written[name] = tie_of_text(text)
    written |= {name: (value, {}) for name, value in stated.fixed.items()}
    freed = {name for stage in (*stages, asked) for name in stage if name not in written and name not in exchanged}
    implied = {name: tie for name, tie in exchanges.items() if name not in freed}
    with _at("diffraction", "ties"):
        ties = usual_ties(phases, implied | written)
    ties = {name: tie for name, tie in ties.items() if name in written or name not in freed}
    priors = usual_priors(phases, stated.start, stated.own) if stated.priors == "usual" else None
    start = stated.start or None
    return Plan(stages=stages, ties=ties, start=start, own=stated.own, weights=stated.weights, priors=priors)


def patterns_of(powder: Powder, data: xr.Dataset) -> list[Pattern]:
    """The patterns of one temperature, [bank, point], ready for refinement; banks without a pattern are left out.

    Raises
    ------
    MeasurementError
        If a pattern has too few points, or there is none.
    """
    counts, std = (np.asarray(data[name].values) for name in ("diffraction_counts", "diffraction_counts_std"))
    main = len(powder.banks) - (len(powder.choices) - 1)
    patterns = []
    for row, bank in enumerate(powder.banks):
        if np.isfinite(counts[row]).any():
            choices = powder.choices[max(0, row - main + 1)]
            x = np.asarray(data[PLACES[bank.kind]].values[row])
            patterns.append(pattern_of(bank, x, counts[row], std[row], choices))
    if not patterns:
        raise MeasurementError("no point of its patterns has both a value and an uncertainty")
    return patterns


def check_powder(section: MeasurementSection, folder: Path, scan: xr.Dataset) -> Powder:
    """Everything that can be wrong before anything is refined, tried with one scan.

    Raises
    ------
    PlacedError
        With the key of the recipe that is wrong.
    """
    powder = powder_of(section, folder, scan)
    with _at("diffraction"):
        patterns = patterns_of(powder, scan)
    for phase in powder.phases:
        with _at("phases", phase.phase.name):
            for pattern in patterns:
                model_of([pattern], [phase])
            _require_reflections(phase, patterns)
    _check_peaks(section, patterns)
    _check_names(section, powder, model_of(patterns, powder.phases))
    remarks = (*instrument_remarks(section, folder), *_short_waves(patterns), *powder.remarks)
    return replace(powder, remarks=remarks)


def _require_reflections(phase: Crystallite, patterns: Sequence[Pattern]) -> None:
    """Refuse a phase of which no pattern can show anything."""
    if not any(len(reflections_in(phase, pattern)) for pattern in patterns):
        ranges = " and ".join(f"{low:.4g} to {high:.4g} A" for low, high in map(spacing_range, patterns))
        raise MeasurementError(
            f"no reflection of {phase.phase.name} lies in the patterns",
            expected=f"one at a spacing of {ranges}",
            found="none with the cell of its file",
            cure="widen the range, correct the cell, or leave the phase out",
        )


def _short_waves(patterns: Sequence[Pattern]) -> list[str]:
    """Banks whose longest spacing is so short that their wavelength is likely in another unit."""
    found = []
    for pattern in patterns:
        low, high = spacing_range(pattern)
        if pattern.bank.kind == "cw" and high < _SHORT:
            found.append(
                f"the points of {pattern.name} lie at spacings of {low:.3g} to {high:.3g} A only; is its wavelength, "
                f"{pattern.bank.values['wavelength']:.5g}, in Angstrom, and the scattering angle two theta in deg?"
            )
    return found


def groups_of(section: MeasurementSection) -> tuple[Group, ...]:
    """Groups of peaks of a recipe."""
    stated = section.peaks
    return () if stated is None else tuple(Group(one, stated.window, stated.asymmetry) for one in stated.at)


def _check_peaks(section: MeasurementSection, patterns: Sequence[Pattern]) -> None:
    """Refuse single peaks that no bank shows."""
    for number, group in enumerate(groups_of(section)):
        if all(cut_of(pattern, group) is None for pattern in patterns):
            error = MeasurementError(
                "no bank shows the peak",
                expected="a spacing in the range of a bank, with twelve points or more around it",
                found=", ".join(f"{one:g} A" for one in group.spacings),
                cure="check the spacing, or widen  peaks.window",
            )
            raise PlacedError(error, "peaks", "at", number)


def _check_names(section: MeasurementSection, powder: Powder, model: Model) -> None:
    """Refuse names of numbers that there are not, each at its key."""
    stated, plan = section.diffraction, powder.plan
    with _at("diffraction", "own"):
        parameters = with_own(stated_parameters(model), plan)
    for table in ("fixed", "ties", "start"):
        for name in getattr(stated, table):
            with _at("diffraction", table, name):
                parameters.named([name])
    for name, phase in section.phases.items():
        with _at("phases", name, "free"):
            parameters.named([f"{name}.{one}" for one in phase.free])
    with _at("diffraction", "free"):
        parameters.named(stated.free)
    with _at("diffraction", "ties"):
        tied = with_ties(parameters, plan)
    for stage in plan.stages:
        with _at("diffraction", "stages"):
            names_of(model, tied, stage)
    with _at("diffraction"):
        prepared(model, plan)
