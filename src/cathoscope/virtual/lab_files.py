"""Files of lab instruments: thermal records as TA Instruments writes them, Cary spectra, tables of contents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def thermal_text(
    *, sample: str, method: str, mass: float, signal: str, columns: tuple[Array, Array, Array], exotherm: bool = False
) -> str:
    """A record with times (min), temperatures (degC) and a signal such as ``Weight (mg)``; ``mass`` in mg."""
    kind = "DSC" if exotherm else "TGA"
    lines = [
        "CLOSED",
        "Version\t2.0",
        "Language\tEnglish",
        f"Instrument\t{kind} Q50 V20.13 Build 39",
        f"Module\t{kind}",
    ]
    lines += [f"Sample\t{sample}", f"Size\t{mass:.4f}\tmg", f"Method\t{method}"]
    lines += ["Exotherm\tUp"] if exotherm else []
    lines += ["Nsig\t3", "Sig1\tTime (min)", "Sig2\tTemperature (°C)", f"Sig3\t{signal}", "StartOfData"]
    lines += [f"{time:.6f}\t{temperature:.5f}\t{value:.7g}" for time, temperature, value in zip(*columns, strict=True)]
    return "\r\n".join([*lines, ""])


def spectrum_text(sample: str, wavelength: Array, absorbance: Array) -> str:
    """A spectrum of a Cary, from long wavelengths to short ones, and its log."""
    order = np.argsort(-wavelength)
    lines = [f"{sample}\t\t", "Wavelength (nm)\tAbs\t"]
    lines += [f"{wavelength[k]:.7g}\t{absorbance[k]:.10g}\t" for k in order]
    return "\r\n".join([*lines, "\t\t", f"{sample}\t\t", "Instrument  Cary 60\t\t", ""])


def contents_text(rows: Mapping[str, Mapping[str, tuple[float, float]]], elements: Sequence[str]) -> str:
    """A table of contents (mg/L) with their standard deviations, one row for each solution."""
    head = ",".join(f"{name} (mg/L),{name} std (mg/L)" for name in elements)
    lines = [f"sample,{head}"]
    for name, found in rows.items():
        lines.append(",".join([name, *(f"{found[one][0]:.4f},{found[one][1]:.4f}" for one in elements)]))
    return "\n".join([*lines, ""])
