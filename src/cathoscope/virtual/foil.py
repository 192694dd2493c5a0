"""A scan of a nickel foil beside the measurement: the same monochromator, the same miscalibration."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from cathoscope.core.errors import CathoscopeError
from cathoscope.physics.edges import FOIL_ENERGY
from cathoscope.virtual.bulk import BulkSpectrum, bulk_energies, bulk_truth, foil_spectrum
from cathoscope.virtual.spectra import Line

_COLUMNS = ("energy eV", "i0 counts", "itrans counts", "mutrans")


@cache
def calibrated_foil(element: str = "Ni") -> BulkSpectrum:
    """A foil of a metal whose first derivative maximum is at the tabulated energy.

    The maximum depends on the width at which it is looked for: 0.06 eV between the bare closed form and the 0.9 eV of
    `bulk_truth`, in which the table is meant here.
    """
    raw = foil_spectrum(element=element)
    known = FOIL_ENERGY[element]
    by = known - bulk_truth(spectrum=raw, lowest=known - 150.0, highest=known + 300.0).derivative_edge
    lines = tuple(Line(line.height, line.energy + by, line.width) for line in raw.lines)
    return replace(raw, edge_energy=raw.edge_energy + by, lines=lines)


def write_foil_scan(
    path: Path,
    *,
    energy_offset: float,
    seed: int,
    photons: float = 1e6,
    energies: ArrayLike | None = None,
) -> Path:
    """Write a transmission scan of a nickel foil as an XDI file, and return its path.

    Both intensities are Poisson distributed. The bytes depend on the arguments only.

    Parameters
    ----------
    path
        File to write.
    energy_offset
        True less recorded energy, eV: what a calibration has to add.
    seed
        Of the photon noise.
    photons
        Mean incident photons per point.
    energies
        True energies, eV, ascending; without them 8183 to 8633 eV, 0.4 eV apart over the edge.

    Raises
    ------
    CathoscopeError
        If the numbers cannot be, or no photons are left behind the foil.
    """
    true = bulk_energies(edge_energy=FOIL_ENERGY["Ni"]) if energies is None else np.asarray(energies, dtype=np.float64)
    if not (photons >= 1 and np.isfinite(energy_offset) and true.ndim == 1 and (np.diff(true) > 0).all()):
        raise CathoscopeError(
            "a scan of a foil needs photons, a finite offset and ascending energies",
            expected="photons of at least 1, an offset in eV, energies in eV",
            found=f"photons={photons}, energy_offset={energy_offset}, {true.size} energies",
        )
    rng = np.random.default_rng(seed)
    before = rng.poisson(photons, true.size)
    behind = rng.poisson(photons * np.exp(-calibrated_foil().absorption(true)))
    if min(before.min(), behind.min()) < 1:
        raise CathoscopeError("no photons are left behind the foil", found=f"photons={photons}", cure="photons=1e6")
    rows = zip(true - energy_offset, before, behind, np.log(before / behind), strict=True)
    path.write_text("\n".join(_header() + [_row(*row) for row in rows]) + "\n", encoding="utf-8", newline="\n")
    return path


def _header() -> list[str]:
    columns = [f"# Column.{number}: {name}" for number, name in enumerate(_COLUMNS, start=1)]
    fields = ["# Element.symbol: Ni", "# Element.edge: K", "# Sample.name: Ni foil"]
    names = "# " + " ".join(name.split()[0] for name in _COLUMNS)
    return ["# XDI/1.0", *columns, *fields, "# ///", "# simulated", "# ---", names]


def _row(energy: float, before: int, behind: int, depth: float) -> str:
    return f"{energy:.5f} {before:d} {behind:d} {depth:.9f}"
