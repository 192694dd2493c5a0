"""What a raw file can be used for: the line of a recipe that takes it, and what it lacks for more."""

from __future__ import annotations

import numpy as np
import xarray as xr

from cathoscope.core.lab_arrays import LAB_ARRAYS

_LAB = {spec.name for spec in LAB_ARRAYS}
_USES = {
    "frequency": 'technique = "impedance"',
    "cell_voltage": 'technique = "cycling", or "particle-cell" for a single particle',
    "sample_mass": 'technique = "mass-loss"',
    "heat_flow": 'technique = "calorimetry"',
    "ion_signal": 'mass_loss.gas = "THIS FILE", of a measurement with technique = "mass-loss"',
    "absorbance": 'technique = "uv-vis"',
    "element_content": 'technique = "elements"',
}
"""What takes a record of the lab that holds an array; of the first two that it holds."""
_FEWEST_SHARE = 0.1
_STATE_TEMPERATURE = "a place in a series by itself: the header has no temperature; state it in the recipe"
_STATE_PIXEL_SIZE = 'lengths in um: the file has no pixel size; state it, such as  pixel_size = "20 nm"'


def use_of(data: xr.Dataset) -> str:
    """The line of a recipe for a Dataset as a reader gives it; empty where none is known."""
    form = str(data.attrs.get("format"))
    if "scan_energy" in data.variables:
        return 'technique = "xas"'
    if "diffraction_counts" in data.variables:
        return 'technique = "diffraction", with a file of the instrument and structures of the phases'
    if (lab := _use_of_lab(set(map(str, data.data_vars)))) is not None:
        return lab
    if "voxels" in data.variables:
        return 'start = { attenuation = "THIS FILE" }, for a volume that is reconstructed already'
    if "pages" in data.variables:
        return 'technique = "tomography" with angle_range, if the pages are projections'
    if "image_counts" in data.variables:
        return 'technique = "spectromicroscopy"' if form == "stxm" else "images of one view at many energies"
    if form == "xradia" and data.sizes["projection"] == 1:
        return 'technique = "xanes-imaging", with the images of the other energies and the references'
    return 'technique = "tomography", or "xanes-tomography" with one such file for each energy'


def _use_of_lab(names: set[str]) -> str | None:
    """The line for records of the lab; None if they are none."""
    found = [line for name, line in _USES.items() if name in names]
    return " and ".join(found[:2]) if found else "" if _LAB & names else None


def lacks_of(data: xr.Dataset) -> list[str]:
    """What a Dataset as a reader gives it cannot be used for, each with the reason and what to do."""
    if "diffraction_counts" in data.variables:
        return [] if "temperature" in data.coords else [_STATE_TEMPERATURE]
    if "scan_energy" in data.variables or _LAB & set(map(str, data.data_vars)):
        return []
    lacks = [] if "pixel_size" in data.attrs else [_STATE_PIXEL_SIZE]
    if "pages" in data.variables:
        lacks.append("physical units: what the values of the pages are, the file does not say")
    if "counts" in data.variables:
        lacks += _lacks_of_counts(data)
    return lacks


def _lacks_of_counts(data: xr.Dataset) -> list[str]:
    lacks = []
    if "energy" not in data.coords:
        lacks.append("a place in a XANES series: the file does not tell the energy")
    absent = [kind for kind in ("flat", "dark") if f"{kind}_counts" not in data.variables]
    if absent and data.attrs.get("frame_kind") != "reference":
        lacks.append(f"attenuation by itself: the file has no {' and no '.join(absent)} images")
    n_projections, n_columns = data.sizes["projection"], data.sizes["column"]
    if 1 < n_projections < _FEWEST_SHARE * n_columns:
        span = float(np.ptp(data["angle"].values))
        lacks.append(
            f"a volume: {n_projections} projections over {span:.4g} deg; {n_columns} columns need about "
            f"{round(np.pi / 2 * n_columns)} (Crowther's criterion) over 180 deg"
        )
    return lacks
