"""Bulk nickel spectra of a coin cell's electrode before and after its first charge, with a foil in the same scan.

What the charge has taken tells the valence of nickel: lithium, Mn(IV) and Co(III) being what they are,

    valence = (4 - x - 4 Mn - 3 Co) / Ni

with x lithium per metal. The edge moves with it, 1.6 eV per valence (assumed; bulk oxides move by 1 to 2 eV).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core import schema
from cathoscope.core.errors import CathoscopeError
from cathoscope.physics.edges import FOIL_ENERGY
from cathoscope.virtual.bulk import BulkSpectrum, bulk_energies, bulk_truth, oxide_spectrum
from cathoscope.virtual.foil import calibrated_foil

Array = NDArray[np.float64]

STATES = ("pristine", "charged")
_PER_VALENCE = 1.6  # eV
_COLUMNS = ("energy eV", "i0", "itrans", "irefer")
_PHOTONS = 1e7


def nickel_valence(*, lithium: float, composition: Mapping[str, float]) -> float:
    """(4 - x - 4 Mn - 3 Co) / Ni of Li(x)MO2 with shares of metals ``composition``."""
    rest = 4.0 * composition.get("Mn", 0.0) + 3.0 * composition.get("Co", 0.0)
    return (4.0 - lithium - rest) / composition["Ni"]


def electrode_spectrum(valence: float) -> BulkSpectrum:
    """Spectrum of an electrode whose nickel has a mean ``valence``; at 3 it is `oxide_spectrum`."""
    return oxide_spectrum(element="Ni", edge_shift=_PER_VALENCE * (valence - 3.0))


def scan_text(spectrum: BulkSpectrum, *, name: str, offset: float, rng: np.random.Generator) -> str:
    """A transmission scan with a nickel foil behind the sample, XDI; ``offset`` (eV) is true less recorded energy.

    Raises
    ------
    CathoscopeError
        If no photons are left behind sample and foil.
    """
    energy = bulk_energies(edge_energy=FOIL_ENERGY["Ni"])
    depth, foil = spectrum.absorption(energy), calibrated_foil().absorption(energy)
    before, behind, last = (rng.poisson(_PHOTONS * np.exp(-one)) for one in (0.0 * depth, depth, depth + foil))
    if min(behind.min(), last.min()) < 1:
        raise CathoscopeError("no photons are left behind sample and foil", cure="a thinner electrode")
    head = ["# XDI/1.0", *(f"# Column.{k}: {one}" for k, one in enumerate(_COLUMNS, start=1))]
    head += ["# Element.symbol: Ni", "# Element.edge: K", f"# Sample.name: {name}", "# Sample.reference: Ni foil"]
    head += ["# ///", "# simulated", "# ---", "# energy i0 itrans irefer"]
    rows = zip(energy - offset, before, behind, last, strict=True)
    return "\n".join([*head, *(f"{e:.5f} {a:d} {b:d} {c:d}" for e, a, b, c in rows), ""])


def spectra_truth(spectra: Sequence[BulkSpectrum], names: Sequence[str]) -> xr.Dataset:
    """Edges of the spectra without noise, by their definitions."""
    energy = bulk_energies(edge_energy=FOIL_ENERGY["Ni"])
    found = [bulk_truth(spectrum=one, lowest=energy[0], highest=energy[-1]) for one in spectra]
    number = schema.label("spectrum", np.arange(1, len(names) + 1), ("spectrum",))
    number.attrs["names"] = list(names)
    kinds = ("edge_step", "half_height_edge", "derivative_edge", "integral_edge")
    values = {kind: np.array([getattr(one, kind) for one in found]) for kind in kinds}
    coords = {"spectrum": number}
    return schema.dataset([schema.label(kind, one, ("spectrum",), coords=coords) for kind, one in values.items()])
