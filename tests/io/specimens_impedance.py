"""Tiny impedance spectra, in the layout of each instrument, independent of the package.

All hold the same cell at five frequencies: 10 ohm before 20 ohm beside 1 mF.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

FREQUENCY = 10.0 ** np.arange(3, -2, -1)
IMPEDANCE = 10.0 + 20.0 / (1.0 + 2j * np.pi * FREQUENCY * 0.02)
_REAL, _IMAGINARY = IMPEDANCE.real, IMPEDANCE.imag


def _text(path: Path, lines: list[str], end: str = "\n", encoding: str = "utf-8") -> list[Path]:
    path.write_bytes((end.join(lines) + end).encode(encoding))
    return [path]


def _rows(*columns: object, separator: str = "\t", begin: str = "") -> list[str]:
    return [begin + separator.join(map(str, row)) for row in zip(*columns, strict=True)]  # type: ignore[call-overload]


def gamry_eis(folder: Path) -> list[Path]:
    """Gamry: a table of the open circuit, then the spectrum, with text columns and units."""
    head = ["EXPLAIN", "TAG\tEISPOT", "NOTES\tNOTES\t1\t&Notes...", "\t50°C", "OCVCURVE\tTABLE\t1"]
    head += ["\tPt\tT\tVf\tOver", "\t#\ts\tV\tbits", "\t0\t0.25\t3.9\t..........a", "AREA\tQUANT\t1\tArea"]
    names = ["ZCURVE\tTABLE", "\tPt\tTime\tFreq\tZreal\tZimag\tZphz\tIdc\tVdc", "\t#\ts\tHz\tohm\tohm\t°\tA\tV"]
    count = np.arange(5)
    rows = _rows(
        count, count + 0.5, FREQUENCY, _REAL, _IMAGINARY, -count, 1e-6 + 0 * count, 3.9 + 0 * count, begin="\t"
    )
    return _text(folder / "eis.DTA", [*head, *names, *rows], "\r\n", "latin-1")


def zplot_eis(folder: Path) -> list[Path]:
    """ZPlot: names before the end of the comments."""
    head = ["ZPLOT2 ASCII", "  Date:  10-12-2018", "  Freq(Hz)\tAmpl\tBias\tTime(Sec)\tZ'(a)\tZ''(b)\tGD\tErr\tRange"]
    rows = _rows(FREQUENCY, [0.01] * 5, [0.0] * 5, range(5), _REAL, _IMAGINARY, [0] * 5, [0] * 5, [3] * 5)
    return _text(folder / "eis.z", [*head, "End Comments", *rows])


def autolab_eis(folder: Path) -> list[Path]:
    """Autolab: names in quotes, separated by blanks; a sign of the encoding before all."""
    head = ['\ufeff"Z60W Data File: Version 1.1"', '""', "0,2,0,1,0.1,10000", "5"]
    head += ["\"  Freq (Hz)    Ampl     Bias   Time(Sec)   Z'(a)    Z''(b)    GD   Err   Range\""]
    rows = _rows(FREQUENCY, *[[0] * 5] * 3, _REAL, _IMAGINARY, *[[0] * 5] * 3, separator=",")
    return _text(folder / "autolab.txt", head + rows)


def chi_eis(folder: Path) -> list[Path]:
    """CH Instruments: a line of names, an empty line, numbers."""
    head = [
        "Feb. 20, 2020   15:55:08",
        "A.C. Impedance",
        "Init E (V) = 0",
        "",
        "Freq/Hz, Z'/ohm, Z\"/ohm, Z/ohm, Phase/deg",
        "",
    ]
    rows = _rows(FREQUENCY, _REAL, _IMAGINARY, abs(IMPEDANCE), np.degrees(np.angle(IMPEDANCE)), separator=", ")
    return _text(folder / "chi.txt", head + rows)


def versastudio_eis(folder: Path) -> list[Path]:
    """VersaStudio: a segment with more names than numbers."""
    head = ["<Application>", "Name=VersaStudio", "</Application>", "<Segment1>", "Type=2"]
    names = "Definition=Segment #, Point #, E(V), I(A), Elapsed Time(s), Frequency(Hz), Z Real, Z Imag, ActionId, 0"
    rows = _rows(
        [0] * 5, range(5), [0.1] * 5, [1e-6] * 5, range(5), FREQUENCY, _REAL, _IMAGINARY, [21] * 5, separator=","
    )
    return _text(folder / "eis.par", [*head, names, *rows, "</Segment1>", "<Graph1>", "Top=1,2,3", "</Graph1>"])


def parstat_eis(folder: Path) -> list[Path]:
    """Parstat: direct current before the spectrum; each line ends in a tab."""
    names = "Potential (V)\tCurrent (A)\tElapsed Time (s)\tFrequency (Hz)\tZre (ohms)\tZim (ohms)\t"
    direct = _rows([3.49] * 3, [-0.15] * 3, [10, 20, 30], *[[0] * 3] * 3)
    rows = _rows([3.5] * 5, [0.02] * 5, range(40, 45), FREQUENCY, _REAL, _IMAGINARY)
    return _text(folder / "parstat.txt", [names, *(f"{row}\t" for row in direct + rows)])


def columns_eis(folder: Path) -> list[Path]:
    """Modulus and phase of two sweeps, as a table with names."""
    twice = np.tile(IMPEDANCE, 2)
    rows = _rows(np.tile(FREQUENCY, 2), abs(twice), np.degrees(np.angle(twice)), np.repeat([0, 1], 5), separator=",")
    return _text(folder / "sweeps.csv", ["freq/Hz,|Z|/Ohm,Phase(Z)/deg,loop_index", *rows])


def bare_eis(folder: Path) -> list[Path]:
    """Three columns without names."""
    return _text(folder / "bare.csv", _rows(FREQUENCY[::-1], _REAL[::-1], _IMAGINARY[::-1], separator=","))


IMPEDANCES = {
    "impedance": (
        gamry_eis,
        zplot_eis,
        autolab_eis,
        chi_eis,
        versastudio_eis,
        parstat_eis,
        columns_eis,
        bare_eis,
    ),
}
