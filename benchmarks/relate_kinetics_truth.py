"""Virtual particles for `relate_kinetics`: heated without images, what a perfect map of them would show by depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, distance_transform_edt

from cathoscope.virtual.charged import charged_particle, transport_grid
from cathoscope.virtual.grains import draw_grains
from cathoscope.virtual.heating import Charged, HeatingLaw, heat
from cathoscope.virtual.particle import GRAVEL, ROD
from cathoscope.virtual.programme import tomography_programme
from cathoscope.virtual.transport import step

Floats = NDArray[np.float64]

DESIGNS = {"rod": ROD, "gravel": GRAVEL}
DIAMETER, CORE = 6.0, 1.3  # um; small particles of the same grains
SCANS = 1 / 3  # of a hold that passes before the scans begin
SHELLS = 9
_CELLS = 38


@dataclass(frozen=True)
class Seen:
    """Shell means (temperature, shell; eV) of one particle, volumes (um³) and depths (um) of the shells, means, spread.

    ``mean_time`` (s) is the mean time in which the first loss gets out at 150 degC; ``radii`` (um) are outer and core.
    """

    depth: Floats
    volume: Floats
    profile: Floats
    mean: Floats
    width: Floats
    mean_time: float
    radii: tuple[float, float]


def mean_time_of(charged: Charged, law: HeatingLaw, temperature: float = 150.0) -> float:
    """Mean time (s) that the first loss takes to get out at a constant temperature, from the steady state.

    With u(t) from 0 to 1, the time integral of 1 - u solves div(D A grad w) + 1 = 0, which one endless step gives.
    """
    rates = law.spinel.rates(temperature)
    return float(step(charged.medium, np.zeros(charged.medium.n_cells), rates, 0.0, 1e9, 1e-1, 1.0).field.mean())


def drawn_law(seed: int, decades: float) -> HeatingLaw:
    """A law whose release has an energy, a speed and boundaries of its own, the same for both samples of a ``seed``.

    The energy is even from 1.0 to 2.6 eV, the speed at 150 degC up to ``decades`` powers of ten from the usual, the
    resistance of boundaries up to one.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 31]))
    law = HeatingLaw()
    energy, speed, boundary = rng.uniform(1.0, 2.6), 10 ** rng.uniform(-decades, decades), 10 ** rng.uniform(-1, 1)
    spinel = replace(
        law.spinel,
        activation_energy=float(energy),
        diffusivity=law.spinel.diffusivity * speed,
        surface=law.spinel.surface * speed,
        boundary=law.spinel.boundary * speed * boundary,
    )
    return replace(law, spinel=spinel)


def seen(kind: str, seed: int, temperatures: Sequence[float], hold: float, law: HeatingLaw) -> Seen:
    """One particle of a ``kind`` through a series of ``temperatures`` (degC) held for ``hold`` (min)."""
    design = replace(DESIGNS[kind], diameter=DIAMETER, core_radius=CORE)
    grains = draw_grains(design, seed)
    where = transport_grid(grains, cells=_CELLS)
    charged = charged_particle(grains, where, law, seed=(seed, 7))
    programme = tomography_programme(temperatures, hold=hold)
    windows = [np.linspace(begin + SCANS * (end - begin), end, 3) for begin, end in programme.holds]
    _, states = heat(charged, law, programme, moments=[float(time) for window in windows for time in window])
    lines = np.array([state.white_line for state in states]).reshape(len(windows), 3, -1)
    line = (lines * np.array([1, 4, 1])[:, None] / 6).sum(axis=1)
    inside = where.labels >= 0
    voxel = where.grid.pixel_size
    depth = (distance_transform_edt(binary_fill_holes(inside))[inside] - 0.5) * voxel
    shell = np.minimum((depth / (depth.max() * (1 + 1e-9)) * SHELLS).astype(int), SHELLS - 1)
    count = np.bincount(shell, minlength=SHELLS)
    middle = np.bincount(shell, depth, SHELLS) / count
    profile = np.array([np.bincount(shell, row, SHELLS) / count for row in line])
    return Seen(
        middle,
        count * voxel**3,
        profile,
        line.mean(axis=1),
        line.std(axis=1),
        mean_time_of(charged, law),
        (DIAMETER / 2, CORE),
    )


def kept(
    folder: Path, kind: str, seed: int, temperatures: Sequence[float], *, hold: float, decades: float | None = None
) -> Seen:
    """`seen` by the usual law, or by one that is drawn within ``decades``, kept in a file of ``folder``."""
    label = "-".join(f"{temperature:g}" for temperature in temperatures)
    drawn = "" if decades is None else f"_{decades:g}"
    path = folder / f"{kind}_{seed}_{label}_{hold:g}{drawn}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        law = HeatingLaw() if decades is None else drawn_law(seed, decades)
        np.savez(path, **vars(seen(kind, seed, temperatures, hold, law)))
    with np.load(path) as data:
        values = {name: data[name] for name in data.files}
    values["mean_time"], values["radii"] = float(values["mean_time"]), tuple(map(float, values["radii"]))
    return Seen(**values)
