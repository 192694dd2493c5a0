"""Tiny files of balances, calorimeters, spectrophotometers and elemental analysis, in the layout of each program."""

from __future__ import annotations

from pathlib import Path

TEMPERATURES = [25.0 + 5 * k for k in range(8)]
MASSES = [12.0, 11.99, 11.98, 11.9, 11.5, 11.2, 11.1, 11.09]


def _text(path: Path, lines: list[str], encoding: str = "utf-8", end: str = "\n") -> list[Path]:
    path.write_bytes((end.join(lines) + end).encode(encoding))
    return [path]


def ta(folder: Path) -> list[Path]:
    """TA Instruments: a balance, UTF-16, a row that marks a segment."""
    lines = ["CLOSED", "Version\t2.0", "Instrument\tTGA Q50", "Size\t12.0000\tmg", "Nsig\t3"]
    lines += ["Sig1\tTime (min)", "Sig2\tTemperature (°C)", "Sig3\tWeight (mg)", "StartOfData", "-3.0\t1.0\t0.0"]
    lines += [f"{k:.5f}\t{t:.3f}\t{m:.4f}" for k, (t, m) in enumerate(zip(TEMPERATURES, MASSES, strict=True))]
    return _text(folder / "tga.txt", lines, "utf-16", "\r\n")


def ta_calorimeter(folder: Path) -> list[Path]:
    """TA Instruments: a calorimeter, an old code page, exothermic up."""
    lines = ["CLOSED", "Instrument\t2920 MDSC", "Size\t9.0\tmg", "Exotherm\tUp", "Nsig\t3"]
    lines += ["Sig1\tTime (min)", "Sig2\tTemperature (øC)", "Sig3\tHeat Flow (mW)", "StartOfData"]
    lines += [f"{k:.5f}\t{t:.3f}\t{-10 - k:.4f}" for k, t in enumerate(TEMPERATURES)]
    return _text(folder / "dsc.txt", lines, "cp1252")


def mettler(folder: Path) -> list[Path]:
    """Mettler-Toledo: times in seconds, temperatures of sample and reference."""
    lines = [
        "Title      09.08.2018 14:55",
        "_" * 40,
        "",
        "Curve Name:",
        "  =TEST TGA",
        "  Sample Weight",
        "Curve Values:",
    ]
    lines += ["   Index   t   Ts   Tr   Value", "           [s]   [°C]   [°C]   [mg]"]
    lines += [f" {k} {60 * k} {t} {t + 1} {m}" for k, (t, m) in enumerate(zip(TEMPERATURES, MASSES, strict=True))]
    return _text(folder / "mettler.txt", [*lines, "", "Not signed"], "cp1252", "\r\n")


def netzsch(folder: Path) -> list[Path]:
    """Netzsch: per cent, decimal comma."""
    lines = ["#EXPORTTYPE:DATA SINGLE", "#FORMAT:NETZSCH5", "#DECIMAL:COMMA", "#SEPARATOR:SEMICOLON"]
    lines += ["#SAMPLE MASS /mg:12,0", "", "##Temp./°C;Time/min;Mass/%"]
    lines += [
        f" {t:.3f};{k:.5f};{m / 0.12:.5f}".replace(".", ",")
        for k, (t, m) in enumerate(zip(TEMPERATURES, MASSES, strict=True))
    ]
    return _text(folder / "netzsch.txt", lines, "cp1252")


def perkin(folder: Path) -> list[Path]:
    """PerkinElmer: two segments, of which the first has the names."""
    rows = [f"\t{k:.6f}\t{m:.6f}\t{t:.6f}" for k, (t, m) in enumerate(zip(TEMPERATURES, MASSES, strict=True))]
    lines = ["Filename:\tTEST", "Sample Weight:\t12.0 mg", "1) TGA Isothermal"]
    lines += ["\tTime     \tUnsubtracted\tSample     ", "\t          \tWeight     \tTemperature"]
    return _text(folder / "perkin.txt", [*lines, *rows, "2) TGA Temperature Scan", *rows], "cp1252", "\r\n")


def heating_columns(folder: Path) -> list[Path]:
    """A table with names and units."""
    lines = ["t (min),T (C),m (mg)"]
    lines += [f"{k},{t},{m}" for k, (t, m) in enumerate(zip(TEMPERATURES, MASSES, strict=True))]
    return _text(folder / "tga.csv", lines)


def quadera(folder: Path) -> list[Path]:
    """A mass spectrometer that looks at two gases in turn."""
    lines = ["Sourcefile\trun.qmp", "", "\t\tWater\t\t\tOxygen\t"]
    lines += ["\t".join(["Time", "Time Relative [s]", "Partial Pressure [mbar]"] * 2) + "\t"]
    lines += [f"10:00\t{4.0 * k:.3f}\t1.5e-011\t10:00\t{4.0 * k + 2:.3f}\t{k + 1}e-013" for k in range(8)]
    return _text(folder / "gas.asc", lines)


def cary(folder: Path) -> list[Path]:
    """Cary: downward wavelengths, and a log below."""
    lines = ["sample1\t\t", "Wavelength (nm)\tAbs\t"]
    lines += [f"{800 - 50 * k:.4f}\t{0.05 * k:.5f}\t" for k in range(8)]
    return _text(folder / "uv.txt", [*lines, "\t\t", "sample1\t\t", "Instrument  Cary 60\t\t"])


def cary_pairs(folder: Path) -> list[Path]:
    """Cary: two samples in pairs of columns."""
    lines = ["rod,,gravel,,", "Wavelength (nm),Abs,Wavelength (nm),Abs,"]
    lines += [f"{400 + 50 * k},{0.5 - 0.05 * k:.3f},{400 + 50 * k},{0.3 - 0.03 * k:.3f}," for k in range(8)]
    return _text(folder / "pairs.csv", lines)


def lambda_transmission(folder: Path) -> list[Path]:
    """PerkinElmer Lambda: per cent of transmission, a mark of the encoding first."""
    lines = [
        "\ufeffCreated as New Dataset,",
        "nm,%T",
        *(f"{800.0 - 50 * k},{100 / 10 ** (0.1 * k):.4f}" for k in range(8)),
    ]
    return _text(folder / "lambda.csv", lines)


def avantes(folder: Path) -> list[Path]:
    """Avantes: counts of sample, dark and reference."""
    lines = ["Integration time [ms]:   1.500", "Wave   ;Sample   ;Dark     ;Reference;Scope", "[nm]   ;[counts]"]
    lines += ["", *(f"{400 + 50 * k}.0;  {110 + 10 * k}.0;  10.0;  1010.0" for k in range(8))]
    return _text(folder / "raw8.txt", lines)


def icp(folder: Path) -> list[Path]:
    """Contents with uncertainties, another unit, and one below the limit of detection."""
    lines = ["sample,Ni (mg/L),Ni std (mg/L),Co (ppb),Co RSD (%),Mn (mg/L)"]
    return _text(folder / "icp.csv", [*lines, "gravel,48.7,0.5,6120,1.0,5.4", "rod,76.4,0.8,10850,2.0,<0.01"])


LAB = {
    "thermal": (ta, ta_calorimeter, mettler, netzsch, perkin, heating_columns),
    "gas": (quadera,),
    "uv_vis": (cary, cary_pairs, lambda_transmission, avantes),
    "icp": (icp,),
}
