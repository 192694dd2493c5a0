"""Absorption spectra of solutions: side by side, blank taken off, and the mean absorbance of a band."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import RAW, REFERENCES, Context, Step
from cathoscope.flow.steps.lab_records import known, open_beside
from cathoscope.lab.optical import SATURATED, band_absorbance

Floats = NDArray[np.float64]

_SPECTRA = ("wavelength", "absorbance")
_NM = 1000.0  # per um
_BAND = (400.0, 600.0)
_NUMBERS = ("band_absorbance", "band_saturated")


def spectra(context: Context) -> xr.Dataset:
    """The spectra of all files that belong to the sample, side by side; the blank among them is left out."""
    section = context.section.uv_vis
    found = [(name, x, y) for _, scan in sorted(context.raw.scans.items()) for name, x, y in _spectra_of(scan)]
    if section.blank is None and section.blank_spectrum is not None:
        found = [one for one in found if one[0] != section.blank_spectrum]
    found = [one for one in found if not section.spectra or one[0] in section.spectra]
    if not found:
        raise MeasurementError("there is no spectrum", where=context.name, found="nothing but the blank")
    longest = max(x.size for _, x, _ in found)
    table = np.full((2, len(found), longest), np.nan)
    for row, (_, x, y) in enumerate(found):
        table[:, row, : x.size] = x, y
    spectrum = label("spectrum", np.arange(1, len(found) + 1), ("spectrum",))
    spectrum.attrs["names"] = [name for name, _, _ in found]
    dims, coords = ("spectrum", "point"), {"spectrum": spectrum}
    return dataset([label(name, part, dims, coords=coords) for name, part in zip(_SPECTRA, table, strict=True)])


def _spectra_of(scan: xr.Dataset) -> list[tuple[str, Floats, Floats]]:
    """Name, wavelengths and absorbance of every spectrum of a file; one without a name has that of the file."""
    names = [str(name) for name in scan["spectrum"].attrs["names"]]
    curves = [known(scan["wavelength"].values[row], scan["absorbance"].values[row]) for row in range(len(names))]
    stem = Path(scan.attrs["source"]).stem
    return [(name or stem, x, y) for name, (x, y) in zip(names, curves, strict=True)]


def _blank(context: Context) -> tuple[Floats, Floats] | None:
    """Wavelengths and absorbance of the solvent, from a file of its own or among the spectra.

    Raises
    ------
    MeasurementError
        If the recipe names a blank that is not there.
    """
    section = context.section.uv_vis
    if section.blank is None and section.blank_spectrum is None:
        return None
    if section.blank is not None:
        there = _spectra_of(open_beside(context, section.blank, "uv_vis.blank", _SPECTRA))
        where, wanted = section.blank, section.blank_spectrum or there[0][0]
    else:
        there = [one for _, scan in sorted(context.raw.scans.items()) for one in _spectra_of(scan)]
        where, wanted = context.name, str(section.blank_spectrum)
    found = next(((x, y) for name, x, y in there if name == wanted), None)
    if found is None:
        raise MeasurementError(
            f"uv_vis.blank_spectrum: no spectrum is called {wanted!r}",
            where=where,
            expected=" or ".join(name for name, _, _ in there),
        )
    return found


def absorbance(context: Context) -> xr.Dataset:
    """Spectra less the blank, and the mean of the band; what is saturated, or does not span it, is told."""
    data, section = context.data, context.section.uv_vis
    band = _nanometres(section.band) or _BAND
    blank = _blank(context)
    names = [str(name) for name in data["spectrum"].attrs["names"]]
    remarks = [] if blank is not None else ["no blank is taken off: the solvent absorbs as well (uv_vis.blank)"]
    net = np.full(data["absorbance"].shape, np.nan)
    numbers = np.full((4, len(names)), np.nan)
    for row, name in enumerate(names):
        x, y = known(*(data[one].values[row] for one in _SPECTRA))
        net[row, : x.size] = y if blank is None else y - np.interp(x, *blank, left=np.nan, right=np.nan)
        try:
            found = band_absorbance(x, y, band=band, baseline=_nanometres(section.baseline), blank=blank)
        except MeasurementError as error:
            remarks.append(f"{name}: {error.problem} ({error.found}; expected {error.expected})")
            continue
        numbers[:, row] = found.mean.value, found.mean.total, found.mean.systematic, found.saturated
        if found.saturated:
            remarks.append(
                f"{name}: {found.saturated:.0%} of the band is above an absorbance of {SATURATED:g}, where next to no "
                "light comes through: its mean is a lower bound; dilute the solution or use a shorter path"
            )
    coords = {"spectrum": data["spectrum"]}
    arrays = [label("net_absorbance", net, ("spectrum", "point"), coords=coords)]
    arrays[0].attrs |= {"remarks": remarks, "band": list(band), "saturated": SATURATED}
    of = ("spectrum",)
    arrays.append(label("band_absorbance", numbers[0], of, coords=coords))
    arrays.append(label("band_absorbance_std", numbers[1], of, coords=coords, std_source="scatter"))
    arrays.append(label("band_absorbance_systematic", numbers[2], of, coords=coords))
    arrays.append(label("band_saturated", numbers[3], of, coords=coords))
    return dataset(arrays)


def _nanometres(limits: Sequence[float] | None) -> tuple[float, float] | None:
    return None if limits is None else (_NM * limits[0], _NM * limits[1])


STEPS = (
    Step("spectra", spectra, needs=(RAW,), makes=_SPECTRA, choices=("uv_vis",)),
    Step(
        "absorbance",
        absorbance,
        needs=(RAW, *_SPECTRA),
        optional=(REFERENCES,),
        makes=("net_absorbance", "band_absorbance", "band_absorbance_std", "band_absorbance_systematic", _NUMBERS[1]),
        choices=("uv_vis",),
    ),
)
TARGETS = ("band_absorbance",)
