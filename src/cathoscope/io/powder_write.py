"""Powder patterns written as GSAS data of the type FXYE, and as columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cathoscope.core.errors import CathoscopeError
from cathoscope.core.units import ZERO_CELSIUS
from cathoscope.io.powder import Array, PowderPattern

_TITLE = 80  # characters


def written_fxye(
    patterns: Sequence[PowderPattern],
    *,
    title: str = "",
    comments: Sequence[str] = (),
    temperature: float | None = None,
) -> str:
    """The text of a GSAS file with one bank for each pattern.

    Of time of flight the left edge of each bin and the intensity times its width are written, of a constant wavelength
    centidegrees and the intensity as it is. Points without a value are written with the uncertainty 0, which readers
    leave out.

    Parameters
    ----------
    patterns
        Of one kind, with numbers that differ.
    title
        First line.
    comments
        Lines of the header.
    temperature
        Of the sample, degC.

    Raises
    ------
    CathoscopeError
        If there is no pattern, two have one number, or one of time of flight has no widths of bins.
    """
    numbers = [one.number for one in patterns]
    if (
        not patterns
        or len(set(numbers)) < len(numbers)
        or any(one.kind == "tof" and one.width is None for one in patterns)
    ):
        raise CathoscopeError(
            "the patterns cannot stand in one file",
            expected="one pattern or more, each with a number of its own, those of time of flight with their bins",
            found=", ".join(f"bank {one.number}, {one.kind}" for one in patterns) or "none",
        )
    parts = [_line(title)[:_TITLE] or "powder pattern", *(f"# {_line(comment)}" for comment in comments)]
    if temperature is not None:
        parts.append(f"# Temp (K) = {temperature + ZERO_CELSIUS:.10g}")
    for one in patterns:
        parts += [f"# {_line(one.name)}", *_bank(one)]
    return "\n".join([*parts, ""])


def written_xye(pattern: PowderPattern, *, comments: Sequence[str] = (), temperature: float | None = None) -> str:
    """The text of three columns: place, intensity, uncertainty, below comments that say what they are."""
    place = "TOF (us)" if pattern.kind == "tof" else "2theta (deg)"
    parts = [f"# {_line(comment)}" for comment in comments]
    if temperature is not None:
        parts.append(f"# Temp (K) = {temperature + ZERO_CELSIUS:.10g}")
    return "\n".join([*parts, f"# {place}, intensity, uncertainty", *_rows(pattern.x, pattern.y, pattern.std), ""])


def _bank(one: PowderPattern) -> list[str]:
    """The BANK line and its records."""
    if one.width is None:
        place, scale = 100 * one.x, np.ones(one.x.size)
        step = (place[-1] - place[0]) / max(place.size - 1, 1)
        binning = f"CONS {place[0]:.6f} {step:.6f} 0 0"
    else:
        place, scale = one.x - 0.5 * one.width, one.width
        binning = f"SLOG {place[0]:.4f} {place[-1] + scale[-1]:.4f} {np.median(scale / place):.7f} 0"
    return [
        f"BANK {one.number} {one.x.size} {one.x.size} {binning} FXYE",
        *_rows(place, one.y * scale, one.std * scale),
    ]


def _rows(x: Array, y: Array, std: Array) -> list[str]:
    """Lines of three numbers that read back as they were."""
    known = np.isfinite(y) & np.isfinite(std)
    table = np.stack([x, np.where(known, y, 0.0), np.where(known, std, 0.0)], axis=1)
    return [f"{place:.12g} {value:.10g} {error:.8g}" for place, value, error in table.tolist()]


def _line(text: str) -> str:
    return " ".join(text.split())
