"""The measured powder patterns as refinements: what is read, what is free, where it starts.

What GSAS-II did differently from the instrument files, found from its stored results:

- It read the 11-BM files without their X (0.173 cdeg) and with a goniometer of 1 m: with X the crystallites of CuCr2O4
  grow beyond any bound, without they have GSAS-II's size and strain.
- Its axial divergence is that of ``profile = "gsas2"``: cells from the exact law are smaller by 1.1e-5, of CuCr2O4 and
  of NAC alike.
"""

from __future__ import annotations

import json
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Literal

import numpy as np

from cathoscope.io.crystal_cif import read_cif
from cathoscope.io.instrument import read_banks
from cathoscope.io.powder_gsas import read_gsas
from cathoscope.powder.background import chebyshev_basis
from cathoscope.powder.crystallite import Crystallite, CrystalliteChoices, crystallite_of
from cathoscope.powder.model import Pattern
from cathoscope.powder.profile_tof import LorentzPart
from cathoscope.powder.strategy import Plan, Refinement, refine
from tests.powder.crystals import ANGLESITE

SCALES = ("*.scale", "*.background.*")


def measured(
    files: tuple[Path, Path],
    name: str,
    between: tuple[float, float],
    terms: int,
    bank: dict[str, float] | None = None,
    effects: tuple[str, ...] = (),
) -> Pattern:
    """The pattern of a file with the bank of another, some numbers of it changed, and a Chebyshev background."""
    found = next(iter(read_banks(files[1])[0].values()))
    one = read_gsas(files[0]).patterns[0]
    kept = np.isfinite(one.y) & (one.std > 0) & (one.x >= between[0]) & (one.x <= between[1])
    x = one.x[kept]
    return Pattern(
        name,
        replace(found, name=name, values={**found.values, **(bank or {})}),
        x,
        one.y[kept],
        one.std[kept],
        np.ones(x.size, bool),
        chebyshev_basis(x=x, count=terms),
        table="gsas2",
        effects=effects,
    )


def joint_rwp(found: Refinement) -> float:
    """Weighted profile residual of all patterns together, %."""
    total = sum(float(np.sum((one.y / one.std)[one.used] ** 2)) for one in found.model.patterns)
    return 100 * sqrt(found.fit.chi2 / total)


# CuCr2O4 and CuO on 11-BM, 7 to 290 K


def chromite_rows(folder: Path) -> list[dict]:
    """What GSAS-II found, by rising temperature."""
    return json.loads((folder / "seq_cucr2o4.json").read_text(encoding="utf-8"))["final_rows"]


def chromite(folder: Path) -> tuple[Crystallite, Crystallite]:
    """Spinel, distorted to Fddd, with strain about b; and the oxide that it holds 1 % of."""
    files = folder / "cucr2o4-sequence"
    widths = CrystalliteChoices(size="isotropic", strain="uniaxial", strain_axis=(0, 1, 0))
    return (
        crystallite_of(read_cif(files / "CuCr2O4.cif", name="CuCr2O4")[0], widths),
        crystallite_of(read_cif(files / "CuO.cif", name="CuO")[0], CrystalliteChoices(strain="isotropic")),
    )


def chromite_pattern(folder: Path, row: dict, profile: LorentzPart = "gsas2") -> Pattern:
    """From 4.5 deg, which leaves the 10799 points of the stored run."""
    files = folder / "cucr2o4-sequence"
    names = files / row["hist"].split()[1], files / "OH_00.prm"
    bank = {"X": 0.0, "axial": 0.002, "radius": 1000.0}
    return replace(measured(names, "OH", (4.499, 30.0), 10, bank, ("across",)), lorentz=profile)


def chromite_refined(
    pattern: Pattern, phases: tuple[Crystallite, Crystallite], before: Refinement | None
) -> Refinement:
    """38 numbers; started from the pattern before, as a series is."""
    cells = ("CuCr2O4.[abc]", "CuO.[abc]", "CuO.beta", "OH.across")
    rest = ("CuCr2O4.size", "*.strain", "*.strain_axial", "CuCr2O4.O.[xyz]", "CuCr2O4.*.u")
    start = {"CuCr2O4.size": 2.0, "CuCr2O4.strain": 900.0, "CuCr2O4.strain_axial": 500.0, "CuO.strain": 3000.0}
    if before is not None:
        numbers = before.fit.numbers()
        start = {name: numbers[name] for name in before.fit.search.free if not name.startswith("OH.background")}
    return refine([pattern], phases, Plan(stages=(SCALES, cells, rest), start=start, weights="stated"))


def chromite_without_structure(
    pattern: Pattern, phases: tuple[Crystallite, Crystallite], way: Literal["le-bail", "pawley"]
) -> Refinement:
    """The same with the intensities of the spinel free; the oxide keeps its structure."""
    spinel = crystallite_of(phases[0].phase, replace(phases[0].choices, intensities=way))
    start = {"CuCr2O4.size": 2.0, "CuCr2O4.strain": 900.0, "CuCr2O4.strain_axial": 500.0, "CuO.strain": 3000.0}
    cells = ("CuCr2O4.[abc]", "CuO.[abc]", "CuO.beta", "OH.across")
    stages = (SCALES, cells, ("CuCr2O4.size", "*.strain", "*.strain_axial"))
    return refine([pattern], [spinel, phases[1]], Plan(stages=stages, start=start, weights="stated"))


# PbSO4, laboratory X-rays and neutrons


def anglesite_refined(folder: Path) -> Refinement:
    """Cu K alpha in a flat plate and neutrons of 1.909 A in a cylinder; each pattern has its own cell.

    Peaks are free to be wider than the X-ray file, which has no Lorentzian width, and the neutron file say.
    """
    files = folder / "pbso4-xn"
    xray = files / "PBSO4.XRA", files / "INST_XRY.PRM"
    neutron = files / "PBSO4.CWN", files / "inst_d1a.prm"
    patterns = [
        measured(xray, "X", (16.0, 158.4), 6, effects=("height",)),
        measured(neutron, "N", (19.0, 153.0), 6),
    ]
    stages = (
        SCALES,
        ("cells", "X.height", "N.zero"),
        ("X.X", "X.Y", "N.[UVW]"),
        ("positions", "displacements"),
    )
    plan = Plan(stages=stages, own=("N.PbSO4.a", "N.PbSO4.b", "N.PbSO4.c"), weights="stated")
    return refine(patterns, [crystallite_of(ANGLESITE)], plan)


# NAC and CaF2, synchrotron and two frames of time of flight


def nac_patterns(folder: Path, lorentz: LorentzPart) -> list[Pattern]:
    """11-BM to d = 0.75 A, POWGEN from 0.52 A at 1.066 A, and at 2.665 A: GSAS-II's points."""
    files = folder / "nac-joint"
    bank = {"X": 0.0, "axial": 0.0022, "radius": 1000.0}
    xray = measured((files / "11BM_NAC.fxye", files / "11bm_gsas.prm"), "X", (2.5, 32.0035), 12, bank, ("across",))
    short = measured((files / "PG3_22048.gsa", files / "POWGEN_1066.instprm"), "S", (11756.0, 1e6), 6)
    long = measured((files / "PG3_22049.gsa", files / "POWGEN_2665.instprm"), "L", (0.0, 1e6), 6)
    return [replace(one, lorentz=lorentz) for one in (xray, short, long)]


def nac_by_le_bail(folder: Path) -> Refinement:
    """The X-ray pattern alone with the intensities of NAC free; fluorite keeps its structure."""
    phases = [
        crystallite_of(
            read_cif(folder / "nac-joint" / f"{name}.cif", name=name)[0],
            CrystalliteChoices(size="isotropic", strain="isotropic", intensities=way),
        )
        for name, way in (("NAC", "le-bail"), ("CaF2", "structure"))
    ]
    start = {"NAC.size": 1.0, "CaF2.size": 1.0, "NAC.strain": 50.0, "CaF2.strain": 500.0}
    stages = (SCALES, ("X.across",), ("NAC.a", "CaF2.a"), ("X.[UVW]", "NAC.strain", "CaF2.strain"))
    return refine(nac_patterns(folder, "gsas2")[:1], phases, Plan(stages=stages, start=start, weights="stated"))


def nac_refined(folder: Path, lorentz: LorentzPart = "gsas2") -> Refinement:
    """74 numbers: GSAS-II's, but the strains of NAC in the two frames in place of two elastic terms of its cell.

    Sizes, and strains that are not free, are those of the saved GSAS-II project.
    """
    phases = [
        crystallite_of(
            read_cif(folder / "nac-joint" / f"{name}.cif", name=name)[0],
            CrystalliteChoices(size="isotropic", strain="isotropic"),
        )
        for name in ("NAC", "CaF2")
    ]
    start = {"NAC.size": 1.0, "CaF2.size": 1.0, "X.NAC.strain": 50.0, "X.CaF2.strain": 500.0}
    start |= {"S.NAC.strain": 350.0, "L.NAC.strain": 57.0, "S.CaF2.strain": 500.0, "L.CaF2.strain": 50.0}
    own = (*(name for name in start if name.endswith("strain")), "S.NAC.a", "S.CaF2.a")
    stages = (
        SCALES,
        ("X.across",),
        ("NAC.a", "CaF2.a", "S.NAC.a", "S.CaF2.a"),
        ("X.[UVW]", "S.NAC.strain", "L.NAC.strain"),
        ("positions", "displacements"),
    )
    plan = Plan(stages=stages, own=own, start=start, weights="stated")
    return refine(nac_patterns(folder, lorentz), phases, plan)
