"""What is known of one voxel: value, uncertainty, flag, its spectrum with fit and residual, its course."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError
from cathoscope.report.viewer.chunks import Combination
from cathoscope.report.viewer.library import Library, NotThere, Volume
from cathoscope.report.viewer.quantities import words_of
from cathoscope.report.viewer.slices import Slices

Floats = NDArray[np.float64]
Fit = Callable[[Floats, Floats, Floats | None, float], tuple[Floats, Floats] | None]
"""Energies, spectrum, its sigma and about where the white line is -> energies and curve of a fit, None without one."""

_SPECTRA = ("attenuation", "optical_depth")
_COURSES = ("temperature", "cycle", "step")


def voxel_facts(
    slices: Slices, volume: Volume, place: Sequence[int], at: Sequence[int], fit: Fit | None
) -> dict[str, Any]:
    """Everything about the voxel ``at`` (z, y, x or y, x) of a volume at one place of the axes in front.

    Raises
    ------
    NotThere
        If there is no such voxel.
    """
    if len(at) != len(volume.space) or not all(0 <= i < n for i, n in zip(at, volume.space, strict=True)):
        raise NotThere("there is no such voxel", expected=f"within {volume.space}", found=str(tuple(at)))
    box = [slice(index, index + 1) for index in at]
    value, inside = slices.values(volume, place, box)
    where = dict(zip(volume.lead, (int(index) for index in place), strict=True))
    library = slices.library
    facts: dict[str, Any] = {
        "value": float(value.ravel()[0]),
        "inside": bool(inside.ravel()[0]),
        "std": _single(library, volume, f"{volume.name}_std", where, at),
        "flag": _flag(library, volume, where, at),
        "course": _course(library, volume, where, at),
        "spectrum": spectrum_of(library, volume, where, at, fit),
    }
    return facts


def _single(library: Library, like: Volume, name: str, where: dict[str, int], at: Sequence[int]) -> float | None:
    """Value of another array of the measurement at the same voxel and conditions."""
    try:
        other = library.volume(like.measurement, name)
        if other.space != like.space or not set(other.lead) <= set(like.lead):
            return None
        box = [slice(index, index + 1) for index in at]
        return float(library.blocks.region(other.array, other.place(where), box).ravel()[0])
    except CathoscopeError:
        return None


def _flag(library: Library, volume: Volume, where: dict[str, int], at: Sequence[int]) -> str:
    """Why there is no value, in words; nothing if there is nothing to say."""
    if not volume.name.startswith("white_line"):
        return ""
    value = _single(library, volume, "white_line_flag", where, at)
    if not value or not np.isfinite(value):
        return ""
    attributes = library.layout(volume.measurement, "white_line_flag").attributes
    words = str(attributes.get("flag_meanings", "")).split()
    known = dict(zip(attributes.get("flag_values", []), words, strict=False))
    return str(known.get(int(value), f"flag {int(value)}")).replace("_", " ")


def _course(library: Library, volume: Volume, where: dict[str, int], at: Sequence[int]) -> dict[str, Any] | None:
    """The voxel's value along temperature, cycle or step, with its uncertainty."""
    dim = next((dim for dim in volume.lead if dim in _COURSES and volume.lead_shape[volume.lead.index(dim)] > 1), None)
    if dim is None:
        return None
    n = volume.lead_shape[volume.lead.index(dim)]
    values = [_single(library, volume, volume.name, {**where, dim: index}, at) for index in range(n)]
    stds = [_single(library, volume, f"{volume.name}_std", {**where, dim: index}, at) for index in range(n)]
    return {
        "dim": dim,
        "x": library.coordinate(volume.measurement, dim, n).tolist(),
        "names": library.names_along(volume.measurement, dim, n),
        "y": values,
        "std": stds if any(std is not None for std in stds) else None,
    }


def spectrum_of(
    library: Library, volume: Volume, where: dict[str, int], at: Sequence[int], fit: Fit | None
) -> dict[str, Any] | None:
    """The voxel's spectrum, its sigma, a fit and what the fit leaves; None where no energies were scanned."""
    source = _with_energies(library, volume)
    if source is None:
        return None
    along = source.lead.index("energy")
    place = source.place(
        {**where, "energy": 0, "temperature": min(where.get("temperature", where.get("step", 0)), _last(source))}
    )
    spectrum = _read_spectrum(library, source, place, along, at)
    energy = library.coordinate(source.measurement, "energy", source.lead_shape[along]).astype(np.float64)
    std = _noise(library, source, place, along)
    line, line_std, offset = _white_line(library, volume, where, at)
    curve = None
    if fit is not None and np.isfinite(spectrum).all():
        curve = fit(energy, spectrum, std, line - offset if line is not None else float("nan"))
    found: dict[str, Any] = {
        "x": energy.tolist(),
        "y": spectrum.tolist(),
        "std": None if std is None else std.tolist(),
        "unit": source.quantity.unit,
        "words": words_of(source.name),
        "combined": isinstance(source.array, Combination),
        "line": line,
        "line_std": line_std,
        "offset": offset,
        "fit": None,
    }
    if curve is not None:
        fine, fitted = curve
        at_points = np.interp(energy, fine, fitted, left=np.nan, right=np.nan)
        found["fit"] = {"x": fine.tolist(), "y": fitted.tolist()}
        found["residual"] = (spectrum - at_points).tolist()
    return found


def _last(source: Volume) -> int:
    return source.lead_shape[source.lead.index("temperature")] - 1 if "temperature" in source.lead else 0


def _with_energies(library: Library, volume: Volume) -> Volume | None:
    for name in _SPECTRA:
        try:
            source = library.volume(volume.measurement, name)
        except CathoscopeError:
            continue
        if "energy" in source.lead and source.space == volume.space:
            return source
    return None


def _read_spectrum(library: Library, source: Volume, place: tuple[int, ...], along: int, at: Sequence[int]) -> Floats:
    first = place[0] if source.layout.n_lead == 2 else None
    values = library.blocks.everywhere(source.layout, at, first)
    if isinstance(source.array, Combination):
        return np.asarray(source.array.weights[place[0]] @ values, np.float64)
    where: list[Any] = [*place]
    where[along] = slice(None)
    return np.asarray(values[tuple(where if first is None else where[1:])], np.float64)


def _noise(library: Library, source: Volume, place: tuple[int, ...], along: int) -> Floats | None:
    """Sigma of every energy, where one is known for the scan."""
    found = library.sized(source.measurement, f"{source.name}_std")
    if found is None or found[1] not in (("energy",), ("temperature", "energy")):
        return None
    values, dims = found
    std = values if len(dims) == 1 else values[min(place[source.lead.index("temperature")], len(values) - 1)]
    good = std.shape == (source.lead_shape[along],) and bool(np.all(np.isfinite(std) & (std > 0)))
    return np.asarray(std, np.float64) if good else None


def _white_line(
    library: Library, volume: Volume, where: dict[str, int], at: Sequence[int]
) -> tuple[float | None, float | None, float]:
    """White-line energy of the voxel, its sigma, and what was added to it to correct recorded energies."""
    like = Volume(volume.measurement, volume.name, volume.array, ("temperature",), (1,), volume.space)
    line, std = (_single(library, like, name, where, at) for name in ("white_line_energy", "white_line_energy_std"))
    if line is None or not np.isfinite(line):
        return None, None, 0.0
    offsets = library.values(volume.measurement, "energy_offset")
    offset = (
        0.0 if offsets is None else float(np.atleast_1d(offsets)[min(where.get("temperature", 0), offsets.size - 1)])
    )
    return line, std, offset if np.isfinite(offset) else 0.0
