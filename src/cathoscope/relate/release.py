"""How a particle lets go of oxygen: shells around a hollow core, solved by their eigenmodes, exactly in time.

The drop y of the white line follows what the gas can take up, through shells of a sphere:

    dy/dt = div(D grad y),    open surfaces: D dy/dn = k (Y(T) - y),    D(T) = D(T_ref) exp[-E/k_B (1/T - 1/T_ref)]

Grains that touch gas need cross no boundary: in a layer below each surface, the skin, diffusion is `FAST` times that of
the rest. Finite volumes in the radius give V dy/dt = -K y + K 1 Y; the modes of the symmetric V^-1/2 K V^-1/2 turn
that into scalar equations, dh_n/ds = m_n (Y - h_n), with the time s = ∫ exp[...] dt / tau counted in mean release
times. Between two moments of constant temperature that is an exponential: no time step limits it however stiff the
skin is, and one solution of the shells serves every activation energy, release time and programme. Few shells suffice,
since the resistances between them are integrated exactly.

tau, the mean release time, is the mean over the particle and over all that is let go of the time that takes at T_ref:
with Y = 1 from 0 on, tau = ∫ (1 - mean y) dt = 1ᵀ V K⁻¹ V 1 / 1ᵀ V 1. For a full sphere without skin and resistance
it is R² / (15 D); where the surface alone resists, R / (3 k).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.physics.kinetics import BOLTZMANN, ZERO_CELSIUS

Floats = NDArray[np.float64]

FAST = 1e4
"""Diffusion in the skin over that in the rest: what touches gas is through before boundaries let anything out."""

POWERS = 3
"""Responses to a gas that takes up 1, the kelvins above the reference, and their square."""

_SHELLS = 40
_POINT = 1e-6  # of the radius: a core below that is none
_ROOM = 25.0  # degC


@dataclass(frozen=True)
class Programme:
    """Moments of constant temperature between which a series of holds is cut.

    ``duration`` (s) and ``temperature`` (degC) of each; ``scans`` (hold, 3) are numbers of moments at whose ends the
    scans of a hold begin, are half through, and end.
    """

    duration: Floats
    temperature: Floats
    scans: NDArray[np.intp]


def stepped_programme(
    temperatures: Sequence[float], *, rate: float, hold: float, scans: float, kelvin: float = 2.0
) -> Programme:
    """Ramps of ``rate`` (K/min) between holds of ``hold`` (s) at ascending ``temperatures`` (degC), from 25 degC.

    ``scans`` is the share of a hold after which the scans begin; they last until its end. Ramps are cut into pieces of
    at most ``kelvin``, each at the temperature of its middle.

    Raises
    ------
    MeasurementError
        If the temperatures do not ascend, or rate or hold are not positive, or the scans not within the hold.
    """
    if not (np.all(np.diff(temperatures) > 0) and rate > 0 and hold > 0 and 0 <= scans < 1 and kelvin > 0):
        raise MeasurementError(
            "this is no series of holds",
            expected="ascending temperatures, a positive rate and hold, scans that begin within the hold",
            found=f"{list(temperatures)} degC, {rate:g} K/min, {hold:g} s, scans after {scans:g} of it",
        )
    durations, path, marks = [], [], []
    now = min(_ROOM, temperatures[0])
    for temperature in temperatures:
        pieces = int(np.ceil((temperature - now) / kelvin))
        for piece in range(pieces):
            durations.append((temperature - now) / pieces / rate * 60.0)
            path.append(now + (piece + 0.5) * (temperature - now) / pieces)
        scanned = hold * (1 - scans) / 2
        durations += [hold * scans, scanned, scanned]
        path += [temperature] * 3
        marks.append([len(path) - 3, len(path) - 2, len(path) - 1])
        now = temperature
    return Programme(np.array(durations), np.array(path, dtype=np.float64), np.array(marks, dtype=np.intp))


@dataclass(frozen=True)
class Modes:
    """Eigenmodes of a particle's release.

    Attributes
    ----------
    rate
        m_n, in units of 1 / tau, ascending.
    weight
        Share of each in the mean over the particle; they sum to 1.
    shape
        What each adds to the shells (mode, shell); over all modes they sum to 1 in every shell.
    radius, volume
        Middle (um) and volume (um³) of the shells.
    release_time
        tau for D = 1 um²/s, s.
    """

    rate: Floats
    weight: Floats
    shape: Floats
    radius: Floats
    volume: Floats
    release_time: float


def modes_of_particle(
    *, radius: float, core: float = 0.0, skin: float = 0.0, exchange: float = np.inf, shells: int = _SHELLS
) -> Modes:
    """Eigenmodes of a sphere of ``radius`` with a hollow, open ``core`` (um; 0 for none), D = 1 um²/s inside.

    ``skin`` (um) is the depth of the fast layers, ``exchange`` k over D (1/um) of the surfaces.

    Raises
    ------
    MeasurementError
        If the core is not within the particle, or skin or exchange are not possible.
    """
    if not (0 <= core < radius and skin >= 0 and exchange > 0 and shells > 1):
        raise MeasurementError(
            "this particle has an impossible shape",
            expected="0 <= core < radius, skin 0 or more, exchange above 0",
            found=f"radius {radius:g} um, core {core:g} um, skin {skin:g} um, exchange {exchange:g} / um",
        )
    core = core if core > _POINT * radius else 0.0
    edges = np.linspace(core, radius, shells + 1)
    middle = 0.5 * (edges[1:] + edges[:-1])
    volume = 4 / 3 * np.pi * np.diff(edges**3)
    stiffness = _stiffness(edges, middle, _skin_edges(radius, core, skin), exchange)
    root = np.sqrt(volume)
    values, vectors = np.linalg.eigh(stiffness / root[:, None] / root)
    along = vectors.T @ root  # of the field that is 1 everywhere
    weight = along**2 / volume.sum()
    time = float((weight / values).sum())
    return Modes(values * time, weight, (along[:, None] * vectors.T) / root, middle, volume, time)


def _skin_edges(radius: float, core: float, skin: float) -> tuple[float, float]:
    """Radii between which diffusion is slow."""
    inner = core + skin if core > 0 else 0.0
    outer = radius - skin
    middle = 0.5 * (inner + outer)
    return (inner, outer) if inner < outer else (middle, middle)


def _resistance(low: Floats, high: Floats, slow: tuple[float, float]) -> Floats:
    """∫ dr / (4 pi r² D) from ``low`` to ``high``."""

    def plain(a: Floats, b: Floats) -> Floats:
        """The same with D = 1."""
        return np.asarray((1 / a - 1 / b) / (4 * np.pi))

    begin, end = np.clip(low, *slow), np.clip(high, *slow)
    within = np.where(end > begin, plain(np.maximum(begin, 1e-12), np.maximum(end, 1e-12)), 0.0)
    return np.asarray(within + (plain(low, high) - within) / FAST)


def _stiffness(edges: Floats, middle: Floats, slow: tuple[float, float], exchange: float) -> Floats:
    """K of the shells: symmetric, with positive row sums where a shell touches gas."""
    between = 1 / _resistance(middle[:-1], middle[1:], slow)
    matrix = np.diag(np.append(between, 0.0) + np.insert(between, 0, 0.0))
    matrix -= np.diag(between, 1) + np.diag(between, -1)
    outer = _resistance(middle[-1:], edges[-1:], slow)[0] + 1 / (exchange * 4 * np.pi * edges[-1] ** 2)
    matrix[-1, -1] += 1 / outer
    if edges[0] > 0:
        inner = _resistance(edges[:1], middle[:1], slow)[0] + 1 / (exchange * 4 * np.pi * edges[0] ** 2)
        matrix[0, 0] += 1 / inner
    return matrix


def levelling(modes: Modes, length: float) -> Floats:
    """Matrix (shell, shell) that spreads a field over ``length`` (um) and keeps its content: exp(-length²/2 L).

    L is the Laplacian of the shells with closed surfaces. Lithium that spreads carries charge with it, so a map of the
    white line is evened out although its mean tells all that was let go.
    """
    edges = np.cbrt(np.cumsum(np.append(0.0, modes.volume)) * 3 / (4 * np.pi) + _core_cube(modes))
    between = 1 / _resistance(modes.radius[:-1], modes.radius[1:], (0.0, float(edges[-1])))
    matrix = np.diag(np.append(between, 0.0) + np.insert(between, 0, 0.0))
    matrix -= np.diag(between, 1) + np.diag(between, -1)
    root = np.sqrt(modes.volume)
    values, vectors = np.linalg.eigh(matrix / root[:, None] / root)
    decay = np.exp(-0.5 * length**2 * values)
    return np.asarray((vectors * decay) @ vectors.T * root / root[:, None])


def _core_cube(modes: Modes) -> float:
    """Cube of the core's radius: shells are equally thick."""
    thickness = float(modes.radius[1] - modes.radius[0])
    return float(max(modes.radius[0] - thickness / 2, 0.0)) ** 3


def responses(
    rate: ArrayLike, programme: Programme, *, activation_energy: float, release_time: ArrayLike, reference: float
) -> Floats:
    """h_n at the scans: (hold, 3, release time, mode); for Y = 1, T - ``reference`` (K) and its square.

    Mean of begin, middle and end of the scans of each hold by Simpson's rule. ``activation_energy`` in eV,
    ``release_time`` tau in s at ``reference`` degC, ``rate`` as in `Modes`.
    """
    kelvin = programme.temperature + ZERO_CELSIUS
    relative = np.exp(-activation_energy / BOLTZMANN * (1 / kelvin - 1 / (reference + ZERO_CELSIUS)))
    per_mode = np.asarray(rate, dtype=np.float64) / np.asarray(release_time, dtype=np.float64)[:, None]
    state, powers = np.zeros((POWERS, *per_mode.shape)), np.arange(POWERS)[:, None, None]
    found = np.zeros((len(programme.scans), *state.shape))
    begins, middles, ends = programme.scans.T
    for index, (duration, warm) in enumerate(zip(programme.duration * relative, programme.temperature, strict=True)):
        kept = np.exp(-per_mode * duration)
        target = (warm - reference) ** powers
        state = target + (state - target) * kept
        share = (index == begins) / 6 + (index == middles) * 4 / 6 + (index == ends) / 6
        for hold in np.flatnonzero(share):
            found[hold] += share[hold] * state
    return found
