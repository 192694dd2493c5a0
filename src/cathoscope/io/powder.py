"""Powder patterns as files have them, and what is common to their readers: units, checks, the labelled Dataset.

Intensities of time of flight become those per us: GSAS files hold them times the width of their bins, with the left
edge of each bin; the place becomes the middle. Intensities at a constant wavelength stay those of each point.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError, MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.core.units import convert
from cathoscope.io.lazy import COPY_AGAIN

Array = NDArray[np.float64]
Kind = Literal["tof", "cw"]

FEWEST_POINTS = 5
NO_UNCERTAINTIES = "the file states no uncertainties: the square roots of the counts are taken"
_PLACE = {"tof": "tof", "cw": "two_theta"}
_NUMBER = r"([-+]?\d+\.?\d*(?:[eE][-+]?\d+)?)"
_TEMPERATURE = (
    re.compile(rf"\btemp[^=:]*\(\s*(?:deg\s*)?([KC])\s*\)\s*[=:]\s*{_NUMBER}", re.IGNORECASE),
    re.compile(rf"\btemp\w*\s*[=:]\s*{_NUMBER}\s*(?:deg\s*)?([KC])\b", re.IGNORECASE),
)
_BARE_TEMPERATURE = re.compile(rf"\btemp\w*\s*[=:]\s*{_NUMBER}", re.IGNORECASE)
_MOST_VALUES = 5_000_000
_PLACES: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("cw", re.compile(r"2[\s_-]?theta|two[\s_-]?theta|2θ|\btth\b|2th\b|scattering angle", re.IGNORECASE)),
    ("tof", re.compile(r"\btof\b|time[\s_-]of[\s_-]flight|microsec|\busec\b|\bus\b|μs|µs", re.IGNORECASE)),
)


@dataclass(frozen=True, eq=False)
class PowderPattern:
    """One pattern of a file.

    Attributes
    ----------
    number
        Of its bank, as the file counts.
    name
        What the file calls it.
    kind
        Time of flight or constant wavelength.
    x
        Middles of the bins (us), or points (deg), increasing, (n,).
    y, std
        Intensity per us, or at each point, and its standard uncertainty, (n,); NaN where there is none.
    width
        Of the bins, us, (n,); None at a constant wavelength.
    """

    number: int
    name: str
    kind: Kind
    x: Array
    y: Array
    std: Array
    width: Array | None = None


@dataclass(frozen=True, eq=False)
class PowderFile:
    """All patterns of a file.

    Attributes
    ----------
    patterns
        By bank.
    comments
        Lines of the header.
    temperature
        Of the sample, degC; None where the header has none with a unit.
    remarks
        What was noticed and repaired.
    """

    patterns: tuple[PowderPattern, ...]
    comments: tuple[str, ...] = ()
    temperature: float | None = None
    remarks: tuple[str, ...] = ()


def kinds_stated(header: str) -> list[Kind]:
    """What the words of a header say the places of points are: two theta, time of flight, both or neither."""
    return [kind for kind, pattern in _PLACES if pattern.search(header)]


def binned(x: Array) -> tuple[Array, Array]:
    """Middles and widths of bins with the left edges ``x``; the last is wider than the one before as that was."""
    steps = np.diff(x)
    last = steps[-1] * (steps[-1] / steps[-2] if steps.size > 1 else 1.0)
    width = np.append(steps, last)
    return x + 0.5 * width, width


def std_of_counts(counts: Array) -> Array:
    """Square roots of counts, Poisson; of no counts that of one."""
    return np.sqrt(np.maximum(counts, 1.0))


def without_valueless(y: Array, std: Array, remarks: list[str]) -> tuple[Array, Array]:
    """NaN where the uncertainty is zero, with a remark: programs write so where they have no value."""
    none = std == 0
    if not none.any():
        return y, std
    remarks.append(f"{np.count_nonzero(none)} of {y.size} points have no uncertainty and are left out")
    return np.where(none, np.nan, y), np.where(none, np.nan, std)


def temperature_in(comments: Sequence[str], remarks: list[str]) -> float | None:
    """The temperature (degC) that a header states with its unit."""
    for line in comments:
        for pattern in _TEMPERATURE:
            match = pattern.search(line)
            if match is None:
                continue
            unit, value = sorted(match.groups(), key=lambda text: text not in "KCkc")
            try:
                found = convert(float(value), unit.upper(), "temperature")
            except CathoscopeError:  # pragma: no cover - the pattern has known units only
                continue
            if -274 < found < 4000:
                return found
            remarks.append(f"the header's temperature cannot be: {line.strip()[:80]}")
    if any(_BARE_TEMPERATURE.search(line) for line in comments):
        remarks.append("the header has a temperature without a unit, which is not used")
    return None


def check_increasing(x: Array, where: str) -> None:
    """Refuse places that are not in order.

    Raises
    ------
    MeasurementError
        Naming the first that is not above the one before.
    """
    wrong = np.flatnonzero(~(np.diff(x) > 0))
    if wrong.size:
        k = int(wrong[0])
        raise MeasurementError(
            "the points of a pattern do not increase",
            where=where,
            expected=f"point {k + 2} above {x[k]:g}",
            found=f"{x[k + 1]:g}",
            cure="two patterns may have been written one after the other; separate them, or " + COPY_AGAIN,
        )


def powder_dataset(file: PowderFile, path: Path, form: str) -> xr.Dataset:
    """The patterns of a file side by side; shorter ones end in NaN.

    Raises
    ------
    MeasurementError
        If the file mixes time of flight and constant wavelength, or has more values than can be.
    """
    kinds = {one.kind for one in file.patterns}
    longest = max(one.x.size for one in file.patterns)
    if len(kinds) > 1 or longest * len(file.patterns) > _MOST_VALUES:
        raise MeasurementError(
            "the patterns of the file do not belong together",
            where=path,
            expected=f"banks of one kind with at most {_MOST_VALUES} values",
            found=f"{len(file.patterns)} banks of up to {longest} points: {' and '.join(sorted(kinds))}",
            cure="split the file",
        )
    bank = label("bank", np.array([one.number for one in file.patterns]), ("bank",))
    bank.attrs["names"] = [one.name for one in file.patterns]
    table = np.full((3, len(file.patterns), longest), np.nan)
    for k, one in enumerate(file.patterns):
        table[:, k, : one.x.size] = one.x, one.y, one.std
    dims, coords = ("bank", "point"), {"bank": bank}
    arrays = [
        label(_PLACE[kinds.pop()], table[0], dims, coords=coords),
        label("diffraction_counts", table[1], dims, coords=coords),
        label("diffraction_counts_std", table[2], dims, coords=coords, std_source="counting"),
    ]
    metadata = {"metadata": {"comments": list(file.comments)}} if file.comments else {}
    data = dataset(arrays, source=str(path.absolute()), format=form, remarks=list(file.remarks), **metadata)
    if file.temperature is None:
        return data
    return data.assign_coords(temperature=label("temperature", np.float64(file.temperature), ()))
