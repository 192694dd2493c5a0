"""Small records of cells and spectra as files, from equations and without the code under test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CURRENT = 1e-3  # A
STEP = 36.0  # s
REST = 5
# shares of the capacity that the cells keep per cycle: three of each sample, by temperature
FADES = {
    ("rod", 25): (0.9980, 0.9981, 0.9979),
    ("gravel", 25): (0.9970, 0.9972, 0.9968),
    ("rod", 40): (0.9930, 0.9933, 0.9927),
    ("gravel", 40): (0.9960, 0.9961, 0.9959),
}
CYCLES = 7
RESISTANCES = {0: 8e6, 5: 6e6, 10: 5e6, 20: 4.5e6}


def cell_text(capacities: Sequence[float], *, unit: float = 1.0, jump: int | None = None) -> str:
    """A record of a cell, 1 mA per ``unit``: rows every 36 s; capacities in units of 1 mAh; a jump in one cycle."""
    rows, now = ["time/s,voltage/V,current/A"], 0.0
    for cycle, capacity in enumerate(capacities):
        for way in (1.0, -1.0):
            points = 40
            step = capacity * 3600.0 / points
            for k in range(points):
                share = (k + 0.5) / points
                volts = (
                    3.9 + way * (0.5 * (share - 0.5) + 0.05) + (0.03 if jump == cycle and way < 0 and k > 20 else 0.0)
                )
                now += step
                rows.append(f"{now:.6f},{volts + 2e-4 * ((7 * k) % 5 - 2):.5f},{way * CURRENT * unit:.6e}")
            for _ in range(REST):
                now += step
                rows.append(f"{now:.6f},{3.9 + way * 0.2:.5f},0")
    return "\n".join(rows) + "\n"


def write_cells(folder: Path) -> None:
    """Three cells of two samples at two temperatures."""
    for (sample, temperature), fades in FADES.items():
        place = folder / f"{sample}-{temperature}"
        place.mkdir(parents=True)
        for number, fade in enumerate(fades, start=1):
            capacities = [1.03, *(fade**n for n in range(CYCLES - 1))]
            (place / f"{sample}_{temperature}_{number}.csv").write_text(cell_text(capacities))


def impedance(frequency: Floats, transfer: float) -> NDArray[np.complex128]:
    """0.2 Mohm and an arc with 0.2 nF, alpha 0.9."""
    tau = transfer * 2e-10
    return np.asarray(2e5 + transfer / (1 + (2j * np.pi * frequency * tau) ** 0.9))


def spectrum_text(transfer: float, *, seed: int, drift: float = 0.0) -> str:
    """A spectrum with 0.3 % noise."""
    frequency = np.logspace(5, -1, 40)
    rng = np.random.default_rng(seed)
    noise = 1 + 0.003 * (rng.normal(size=40) + 1j * rng.normal(size=40))
    z = impedance(frequency, transfer) * noise * (1 + drift * np.linspace(0, 1, 40))
    lines = [f"{f:.8e},{one.real:.8e},{-one.imag:.8e}" for f, one in zip(frequency, z, strict=True)]
    return "\n".join(["freq/Hz,Re(Z)/Ohm,-Im(Z)/Ohm", *lines]) + "\n"


def write_spectra(folder: Path) -> None:
    """Spectra after some cycles; that of cycle 10 drifts."""
    folder.mkdir()
    for cycle, transfer in RESISTANCES.items():
        text = spectrum_text(transfer, seed=cycle, drift=0.1 if cycle == 10 else 0.0)
        (folder / f"cycle_{cycle:03d}.csv").write_text(text)
