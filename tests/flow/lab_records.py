"""Small records of lab instruments as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cathoscope.virtual.lab_files import contents_text, spectrum_text, thermal_text

Floats = NDArray[np.float64]

RATE = 5.0  # K/min
TEMPERATURE = np.arange(25.0, 285.0, 0.8)
LIFT = 0.06 * (1 - 298.15 / (TEMPERATURE + 273.15))  # mg
WAVELENGTH = np.arange(350.0, 700.5, 2.0)
CONTENTS = {
    "rod solution": {"Li": (36.8, 0.5), "Ni": (896.9, 9.0), "Co": (127.9, 1.3), "Mn": (54.938, 0.5)},
    "rod pristine": {"Li": (6.94, 0.1), "Ni": (46.95, 0.5), "Co": (5.893, 0.06), "Mn": (5.494, 0.05)},
    "rod charged": {"Li": (0.694, 0.01), "Ni": (46.95, 0.5), "Co": (5.893, 0.06), "Mn": (5.494, 0.05)},
    "gravel pristine": {"Li": (6.94, 0.1), "Ni": (46.95, 0.5), "Co": (5.893, 0.06), "Mn": (5.494, 0.05)},
}


def mass_left(middle: float = 240.0) -> Floats:
    """Per cent: 6 % in one step."""
    return 100.0 - 6.0 / (1 + np.exp(-(TEMPERATURE - middle) / 5))


def balance_text(true: Floats, *, seed: int, rate: float = RATE, lift: Floats = LIFT) -> str:
    """A record of masses (mg) with buoyancy and noise."""
    noise = 0.002 * np.random.default_rng(seed).standard_normal(true.size)
    columns = (TEMPERATURE - 25) / rate, TEMPERATURE, true + lift + noise
    return thermal_text(sample="rod", method="Ramp", mass=12.0, signal="Weight (mg)", columns=columns)


def write_balance(folder: Path) -> None:
    """A sample and its blank."""
    (folder / "rod.txt").write_text(balance_text(0.12 * mass_left(), seed=1), encoding="utf-16")
    (folder / "blank.txt").write_text(balance_text(0 * TEMPERATURE, seed=2), encoding="utf-16")


def write_gas(path: Path, middle: float) -> None:
    """Oxygen that is seen about a temperature (C) while the sample is heated."""
    seconds = (TEMPERATURE - 25) / RATE * 60
    signal = 1e-9 + 1e-8 * np.exp(-0.5 * ((TEMPERATURE - middle) / 8) ** 2)
    rows = "".join(f"{0}\t{t:.3f}\t{value:.5e}\n" for t, value in zip(seconds, signal, strict=True))
    path.write_text(f"32\nTime\tTime Relative [s]\tIon Current [A]\n{rows}")


def reaction(rate: float, energy: float = 150.0) -> Floats:
    """Conversion of a first-order reaction along a ramp (K/min); energy in kJ/mol, ln(A min) 38."""
    k = np.exp(38.0 - 1e3 * energy / (8.314462618 * (TEMPERATURE + 273.15)))
    rates = np.concatenate([[0.0], np.cumsum(0.5 * (k[1:] + k[:-1]) * np.diff(TEMPERATURE))])
    return 1 - np.exp(-rates / rate)


def write_calorimeter(folder: Path, rates: tuple[float, ...] = (2.5, 5.0, 10.0)) -> None:
    """4 mg that give off 120 J/g at several heating rates, over a level of 0.2 mW."""
    for rate in rates:
        time = (TEMPERATURE - 25) / rate * 60
        noise = 0.003 * np.random.default_rng(round(10 * rate)).standard_normal(time.size)
        flow = 0.2 - 120 * 4 * np.gradient(reaction(rate), time) + noise
        text = thermal_text(
            sample="rod",
            method="Ramp",
            mass=4.0,
            signal="Heat Flow (mW)",
            columns=(time / 60, TEMPERATURE, -flow),
            exotherm=True,
        )
        (folder / f"dsc_{rate:g}.txt").write_text(text, encoding="cp1252")


HOLDS = (190.0, 205.0, 215.0)


def hold_rate(temperature: float, energy: float = 150.0) -> float:
    """1/s at a temperature, degC."""
    return float(np.exp(30.0 - 1e3 * energy / (8.314462618 * (temperature + 273.15))))


def write_holds(folder: Path) -> None:
    """Two hours at three temperatures, 5 % lost by Avrami's law with n = 1.5; the first ends too early."""
    t = np.arange(0.0, 7200.0, 12.0)
    for seed, held in enumerate(HOLDS):
        done = 1 - np.exp(-((hold_rate(held) * t) ** 1.5))
        temperature = np.concatenate([np.linspace(25, held - 5, 50), held + 0.05 * np.sin(t)])
        time = np.concatenate([np.linspace(-600, -12, 50), t]) + 600
        mass = np.concatenate([np.full(50, 12.0), 12 * (1 - 0.05 * done)])
        mass += 0.002 * np.random.default_rng(seed).standard_normal(mass.size)
        columns = time / 60, temperature, mass
        text = thermal_text(sample="rod", method="Hold", mass=12.0, signal="Weight (mg)", columns=columns)
        (folder / f"hold_{held:g}.txt").write_text(text, encoding="utf-16")


def write_light(folder: Path, height: float = 0.2) -> None:
    """A solution with a flat absorbance, and its solvent; both read 0.01 too much."""
    for name, true in (("rod", height), ("solvent", 0.0)):
        noise = 4e-4 * np.random.default_rng(len(name)).standard_normal(WAVELENGTH.size)
        (folder / f"{name}-uv.txt").write_text(spectrum_text(name, WAVELENGTH, true + 0.01 + noise))


def write_contents(folder: Path) -> None:
    """Contents of two samples in one table."""
    (folder / "icp.csv").write_text(contents_text(CONTENTS, ["Li", "Ni", "Co", "Mn"]))
