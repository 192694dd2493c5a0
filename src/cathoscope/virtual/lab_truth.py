"""What the analyses of a virtual study in the lab are to find, by the names of their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core import schema
from cathoscope.physics.species import atomic_mass
from cathoscope.virtual.solutions import Dissolved

Array = NDArray[np.float64]

_OXYGEN = 2.0  # per formula unit before
_METALS = ("Ni", "Co", "Mn")


def formula_mass(metals: Mapping[str, float], lithium: float) -> float:
    """Of Li_x M O2, g/mol."""
    return (
        lithium * atomic_mass(species="Li")
        + sum(share * atomic_mass(species=name) for name, share in metals.items())
        + _OXYGEN * atomic_mass(species="O")
    )


def _records(count: int) -> xr.DataArray:
    return schema.label("record", np.arange(1, count + 1), ("record",))


def mass_truth(temperature: Array, left: Array, onset: float, mass: float) -> xr.Dataset:
    """Of one ramp of the balance: mass left (wt%) at whole temperatures (degC), and oxygen at a formula mass."""
    coords = {"record": _records(1), "temperature": schema.label("temperature", temperature, ("temperature",))}
    atoms = (100.0 - left) / 100.0 * mass / atomic_mass(species="O")
    dims = ("record", "temperature")
    return schema.dataset(
        [
            schema.label("mass_left", left[None], dims, coords=coords),
            schema.label("oxygen_content", _OXYGEN - atoms[None], dims, coords=coords),
            schema.label("total_loss", 100.0 - left[-1:], ("record",), coords=coords),
            schema.label("total_oxygen", atoms[-1:], ("record",), coords=coords),
            schema.label("rapid_loss_onset", np.array([onset]), ("record",), coords=coords),
        ]
    )


def heat_truth(enthalpy: Sequence[float], effects: Mapping[str, tuple[float, float]], whole: str) -> xr.Dataset:
    """Of the calorimeter: heat (J/g) of all that happens, by record; single stages overlap, and have no truth."""
    names = list(effects)
    coords = {
        "record": _records(len(enthalpy)),
        "effect": schema.label("effect", np.arange(1, len(names) + 1), ("effect",)),
    }
    table = np.full((len(enthalpy), len(names)), np.nan)
    table[:, names.index(whole)] = enthalpy
    return schema.dataset([schema.label("effect_enthalpy", table, ("record", "effect"), coords=coords)])


def light_truth(solution: Dissolved, wavelength: Array, band: tuple[float, float]) -> xr.Dataset:
    """Mean absorbance of a solution over a band (nm)."""
    inside = (wavelength >= band[0]) & (wavelength <= band[1])
    mean = np.trapezoid(solution.absorbance(wavelength[inside]), wavelength[inside]) / (band[1] - band[0])
    coords = {"spectrum": schema.label("spectrum", np.array([1]), ("spectrum",))}
    return schema.dataset([schema.label("band_absorbance", np.array([mean]), ("spectrum",), coords=coords)])


def content_truth(contents: Mapping[str, Mapping[str, float]], elements: Sequence[str], removed: float) -> xr.Dataset:
    """Atoms per metal of specimens from their true contents (mg/L), ratios to Mn, and the lithium that was removed."""
    specimen = schema.label("specimen", np.arange(1, len(contents) + 1), ("specimen",))
    element = schema.label("element", np.arange(1, len(elements) + 1), ("element",))
    specimen.attrs["names"], element.attrs["names"] = list(contents), list(elements)
    amount = np.array([[row[one] / atomic_mass(species=one) for one in elements] for row in contents.values()])
    metal = np.array([name in _METALS for name in elements])
    total = amount[:, metal].sum(axis=1)
    lithium = amount[:, list(elements).index("Li")]
    manganese = amount[:, list(elements).index("Mn")]
    coords = {"specimen": specimen, "element": element}
    dims = ("specimen", "element")
    shares = {"metal_share": amount / total[:, None], "element_ratio": amount / manganese[:, None]}
    # a ratio to itself tells nothing
    shares["element_ratio"][:, list(elements).index("Mn")] = np.nan
    return schema.dataset(
        [
            *(schema.label(name, np.where(metal, one, np.nan), dims, coords=coords) for name, one in shares.items()),
            schema.label("lithium_per_metal", lithium / total, ("specimen",), coords=coords),
            schema.label("lithium_removed", np.float64(removed), ()),
        ]
    )
