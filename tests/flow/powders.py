"""Small powder patterns as files, made by the model of the refinement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from cathoscope.core.bank import Bank
from cathoscope.core.crystal import Phase
from cathoscope.io.crystal_cif_write import written_cif
from cathoscope.io.instrument_gsas2 import written_instprm
from cathoscope.io.powder import PowderPattern
from cathoscope.io.powder_write import written_xye
from cathoscope.powder.crystallite import CrystalliteChoices, crystallite_of
from tests.powder.crystals import NMC, SPINEL
from tests.powder.patterns import POWGEN, pattern_on, recorded

X = np.geomspace(22600 * 1.35, 22600 * 2.6, 170)
CHOICES = CrystalliteChoices(size="isotropic")
TRUTH = {
    "NMC.a": 2.842,
    "NMC.c": 14.29,
    "NMC.size": 0.08,
    "spinel.a": 8.12,
    "spinel.size": 0.05,
    "powgen.background.0": 120.0,
}
SPINEL_SHARE = {25.0: 0.0, 60.0: 0.0, 100.0: 0.0, 140.0: 0.25, 160.0: 0.7, 180.0: 0.9}


def write_pattern(
    path: Path, temperature: float | None, numbers: Mapping[str, float], bank: Bank = POWGEN, seed: int = 0
) -> None:
    """One pattern of both phases in columns; its header has the temperature."""
    phases = [crystallite_of(one, CHOICES) for one in (NMC, SPINEL)]
    made = recorded(pattern_on(bank, X), phases, TRUTH | dict(numbers), seed=seed, counts=20.0)
    pattern = PowderPattern(1, bank.name, bank.kind, made.x, made.y, made.std)
    path.write_text(written_xye(pattern, temperature=temperature), encoding="utf-8")


def write_beside(folder: Path, bank: Bank = POWGEN) -> None:
    """Instrument and structures."""
    (folder / f"{bank.name}.instprm").write_text(written_instprm([bank]), encoding="utf-8")
    for phase in (NMC, SPINEL):
        (folder / f"{phase.name}.cif").write_text(written_cif(rounded(phase)), encoding="utf-8")


def rounded(phase: Phase) -> Phase:
    """What a person knows before: a cell that is off by a thousandth."""
    return replace(phase, cell=(*(edge * 1.001 for edge in phase.cell[:3]), *phase.cell[3:]))  # type: ignore[arg-type]


def write_series(folder: Path, *, zero: float = 0.0, shares: Mapping[float, float] = SPINEL_SHARE) -> None:
    """Temperatures, six by default, in which spinel appears and the cells grow."""
    write_beside(folder)
    for number, (temperature, share) in enumerate(shares.items()):
        grown = 1 + 1.5e-5 * (temperature - 25)
        numbers = {
            "NMC.a": TRUTH["NMC.a"] * grown,
            "NMC.c": TRUTH["NMC.c"] * grown,
            "spinel.a": TRUTH["spinel.a"] * grown,
            "powgen.zero": POWGEN.values["zero"] + zero,
            "powgen.NMC.scale": 4000.0 * (1 - share),
            "powgen.spinel.scale": 500.0 * share,
        }
        write_pattern(folder / f"run_{number}.xye", temperature, numbers, seed=number)


RECIPE = """\
[sample.rod]
[measurement.rod]
sample = "rod"
technique = "diffraction"
files = "run_*.xye"
instrument = "powgen.instprm"
phases = { NMC = "NMC.cif", spinel = "spinel.cif" }
"""

FEW = {25.0: 0.0, 140.0: 0.4, 180.0: 0.9}
CHEAP = """\
[sample.rod]
[measurement.rod]
sample = "rod"
technique = "diffraction"
files = "run_*.xye"
instrument = "powgen.instprm"
[measurement.rod.phases]
NMC = { file = "NMC.cif", strain = "none" }
spinel = { file = "spinel.cif", strain = "none" }
[measurement.rod.diffraction]
background = 2
stages = [["*.scale", "*.background.*"], ["NMC.a", "NMC.c", "spinel.a", "powgen.zero"], ["*.size"]]
"""
