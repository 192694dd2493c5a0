"""Bulk spectra of a coin cell's electrode before and after its first charge, with a foil of the metal in each scan.

What the charge has taken tells the valence of nickel: lithium, Mn(IV) and Co(III) being what they are,

    valence = (4 - x - 4 Mn - 3 Co) / Ni

with x lithium per metal. Its edge moves with it, 1.6 eV per valence (assumed; bulk oxides move by 1 to 2 eV). Cobalt
and manganese keep their valence: their edges stay, and only their shape changes (Hou et al., p. 6), since the metals
around them move off the centres of their octahedra: a lower white line of the same area that is wider
above the edge, and a higher peak before it, by as much as was assumed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from cathoscope.core import schema
from cathoscope.core.errors import CathoscopeError
from cathoscope.physics.edges import FOIL_ENERGY
from cathoscope.virtual.bulk import BulkSpectrum, bulk_energies, bulk_truth, oxide_spectrum
from cathoscope.virtual.foil import calibrated_foil
from cathoscope.virtual.spectra import Line

STATES = ("pristine", "charged")
ELEMENTS = ("Ni", "Co", "Mn")
_PER_VALENCE = 1.6  # eV
_SPECTATORS = {"Co": 1.2, "Mn": 3.0}  # eV further above the foil's edge than that of Ni(III): Co(III), Mn(IV)
_FLANK = 1.5  # standard deviations below the middle of the white line: where its flank stays
_WIDER, _HIGHER = 0.3, 1.0  # of white line and of the peak before the edge, per lithium taken out
_COLUMNS = ("energy eV", "i0", "itrans", "irefer")
_PHOTONS = 1e7


def nickel_valence(*, lithium: float, composition: Mapping[str, float]) -> float:
    """(4 - x - 4 Mn - 3 Co) / Ni of Li(x)MO2 with shares of metals ``composition``."""
    rest = 4.0 * composition.get("Mn", 0.0) + 3.0 * composition.get("Co", 0.0)
    return (4.0 - lithium - rest) / composition["Ni"]


def electrode_spectrum(valence: float) -> BulkSpectrum:
    """Spectrum of an electrode whose nickel has a mean ``valence``; at 3 it is `oxide_spectrum`."""
    return oxide_spectrum(element="Ni", edge_shift=_PER_VALENCE * (valence - 3.0))


def spectator_spectrum(element: str, *, taken: float) -> BulkSpectrum:
    """Spectrum of cobalt or manganese, which keep their valence while ``taken`` lithium per metal is taken out."""
    new = oxide_spectrum(element=element, edge_shift=_SPECTATORS[element])
    white, before, *rest = new.lines
    wider = 1.0 + _WIDER * taken
    shaped = (
        Line(white.height / wider, white.energy + _FLANK * white.width * (wider - 1.0), white.width * wider),
        Line(before.height * (1.0 + _HIGHER * taken), before.energy, before.width),
    )
    return replace(new, lines=(*shaped, *rest))


def spectrum_of(element: str, *, lithium: float, composition: Mapping[str, float]) -> BulkSpectrum:
    """Spectrum of one metal of Li(x)MO2, ``lithium`` x per metal, with shares of metals ``composition``."""
    if element == "Ni":
        return electrode_spectrum(nickel_valence(lithium=lithium, composition=composition))
    return spectator_spectrum(element, taken=1.0 - lithium)


def scan_text(
    spectrum: BulkSpectrum, *, name: str, offset: float, rng: np.random.Generator, element: str = "Ni"
) -> str:
    """A transmission scan, XDI, with a foil of the metal behind the sample; ``offset`` (eV): true less recorded energy.

    Raises
    ------
    CathoscopeError
        If no photons are left behind sample and foil.
    """
    energy = bulk_energies(edge_energy=FOIL_ENERGY[element])
    depth, foil = spectrum.absorption(energy), calibrated_foil(element).absorption(energy)
    before, behind, last = (rng.poisson(_PHOTONS * np.exp(-one)) for one in (0.0 * depth, depth, depth + foil))
    if min(behind.min(), last.min()) < 1:
        raise CathoscopeError("no photons are left behind sample and foil", cure="a thinner electrode")
    head = ["# XDI/1.0", *(f"# Column.{k}: {one}" for k, one in enumerate(_COLUMNS, start=1))]
    head += [f"# Element.symbol: {element}", "# Element.edge: K"]
    head += [f"# Sample.name: {name}", f"# Sample.reference: {element} foil"]
    head += ["# ///", "# simulated", "# ---", "# energy i0 itrans irefer"]
    rows = zip(energy - offset, before, behind, last, strict=True)
    return "\n".join([*head, *(f"{e:.5f} {a:d} {b:d} {c:d}" for e, a, b, c in rows), ""])


def spectra_truth(spectra: Sequence[BulkSpectrum], names: Sequence[str], *, element: str = "Ni") -> xr.Dataset:
    """Edges of the spectra without noise, by their definitions."""
    energy = bulk_energies(edge_energy=FOIL_ENERGY[element])
    found = [bulk_truth(spectrum=one, lowest=energy[0], highest=energy[-1]) for one in spectra]
    number = schema.label("spectrum", np.arange(1, len(names) + 1), ("spectrum",))
    number.attrs["names"] = list(names)
    kinds = ("edge_step", "half_height_edge", "derivative_edge", "integral_edge")
    values = {kind: np.array([getattr(one, kind) for one in found]) for kind in kinds}
    coords = {"spectrum": number}
    return schema.dataset([schema.label(kind, one, ("spectrum",), coords=coords) for kind, one in values.items()])
