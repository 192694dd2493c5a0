"""Ni K-edge spectra of a cathode between reduced and oxidised, as weights of eight fixed spectra.

Every voxel's spectrum is a sum of the same few node spectra, so that a projector only needs the projections of the
weights, whatever the number of energies. Node k has its white line at ``NODE_ENERGIES[k]``; a voxel between two nodes
is their mixture by definition.

The shapes are line lists fitted to measured spectra. NiO and LiNiO2 carry the nodes. The two NMC spectra have a higher
energy resolution, hence white lines of more than twice the edge jump; they are kept for comparison and are in no node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq

from cathoscope.core.errors import CathoscopeError
from cathoscope.physics.xray import (
    NICKEL_K_EDGE,
    attenuation_ratio_from_energy,
    nickel_edge_attenuation_from_formula,
)
from cathoscope.virtual.spectra import Line

Array = NDArray[np.float64]

LOWEST_WHITE_LINE, HIGHEST_WHITE_LINE, NODES = 8346.4, 8352.7, 8
NODE_SPACING = (HIGHEST_WHITE_LINE - LOWEST_WHITE_LINE) / (NODES - 1)
"""Distance of neighbouring nodes, eV."""
NODE_ENERGIES = LOWEST_WHITE_LINE + NODE_SPACING * np.arange(NODES)
"""White-line energy of every node, eV."""

NIO_WHITE_LINE, LINIO2_WHITE_LINE = 8347.87, 8349.64
"""White lines, eV, that stand for the valences 2 and 3."""

_SEARCH = np.arange(8343.0, 8356.0, 0.02)  # eV; holds the white line of every spectrum here


@dataclass(frozen=True)
class Shape:
    """Normalised absorption of edge jump 1: 0 far below the edge, 1 far above.

    s(E) = sum_i a_i [1/2 + arctan((E - energy_i) / width_i) / pi]
    + sum_j height_j exp(-(E - energy_j)² / (2 width_j²));
    ``edges`` hold a_i as heights, which add up to 1. Energies and widths in eV.
    """

    edges: tuple[Line, ...]
    lines: tuple[Line, ...]

    def edge(self, energy: ArrayLike) -> Array:
        """The arctangents alone, at ``energy`` (eV) of any shape."""
        energy = np.asarray(energy, dtype=np.float64)
        rises = (edge.height * (0.5 + np.arctan((energy - edge.energy) / edge.width) / np.pi) for edge in self.edges)
        return np.asarray(sum(rises))

    def fine_structure(self, energy: ArrayLike) -> Array:
        """The lines alone, at ``energy`` (eV) of any shape."""
        energy = np.asarray(energy, dtype=np.float64)
        lines = (line.height * np.exp(-0.5 * ((energy - line.energy) / line.width) ** 2) for line in self.lines)
        return np.asarray(sum(lines))

    def absorption(self, energy: ArrayLike) -> Array:
        """Normalised absorption s at ``energy`` (eV), any shape."""
        return self.edge(energy) + self.fine_structure(energy)

    def slope(self, energy: ArrayLike) -> Array:
        """Derivative of `absorption`, 1/eV."""
        energy = np.asarray(energy, dtype=np.float64)
        result = np.zeros_like(energy)
        for edge in self.edges:
            result += edge.height / (np.pi * edge.width * (1.0 + ((energy - edge.energy) / edge.width) ** 2))
        for line in self.lines:
            offset = (energy - line.energy) / line.width
            result -= line.height * offset / line.width * np.exp(-0.5 * offset**2)
        return np.asarray(result)

    def white_line_energy(self) -> float:
        """Energy (eV) of the largest absorption between 8343 and 8356 eV, to 1e-9 eV."""
        top = int(np.argmax(self.absorption(_SEARCH)))
        return float(brentq(lambda energy: float(self.slope(energy)), _SEARCH[top - 1], _SEARCH[top + 1], xtol=1e-9))

    def moved(self, by: float) -> Shape:
        """The same shape ``by`` eV higher in energy."""
        edges, lines = (
            tuple(replace(one, energy=one.energy + by) for one in many) for many in (self.edges, self.lines)
        )
        return Shape(edges, lines)


def mixed(reduced: Shape, oxidised: Shape, *, fraction: float) -> Shape:
    """Sum of (1 - ``fraction``) of one shape and ``fraction`` of another."""
    parts = ((1.0 - fraction, reduced), (fraction, oxidised))
    edges, lines = (
        tuple(
            replace(one, height=share * one.height) for share, shape in parts if share for one in getattr(shape, name)
        )
        for name in ("edges", "lines")
    )
    return Shape(edges, lines)


def _shape(edge: tuple[float, float], *lines: tuple[float, float, float]) -> Shape:
    return Shape((Line(1.0, *edge),), tuple(Line(*line) for line in lines))


# Edge: energy, width. Lines: height, energy, width; a line need not mean a transition by itself.
REFERENCES: Mapping[str, Shape] = MappingProxyType(
    {
        # Fitted by us, 8300 to 8450 eV, rms 0.0065, to the NiO of pyxas (gmysage/pyxas, 88984ee, example/ref_NiO.txt).
        "NiO": _shape(
            (8342.565, 1.043),
            *((0.6976, 8347.797, 2.046), (0.1673, 8352.445, 2.043), (0.0117, 8333.883, 2.0)),
            *((0.4335, 8341.391, 2.808), (-0.2082, 8358.829, 2.286), (0.1694, 8362.743, 5.503)),
            *((-0.209, 8370.0, 10.369), (0.2148, 8396.689, 6.375), (-0.0933, 8418.358, 6.651)),
            (0.0758, 8447.998, 3.864),
        ),
        # The same, rms 0.0067, to its LiNiO2 (example/ref_LiNiO2.txt).
        "LiNiO2": _shape(
            (8342.971, 1.389),
            *((0.8015, 8349.181, 2.61), (0.6184, 8354.799, 4.313), (0.0461, 8334.297, 2.0)),
            *((0.3851, 8341.107, 2.201), (-0.5998, 8358.002, 10.314), (0.518, 8365.351, 5.145)),
            *((-0.0936, 8380.284, 14.0), (0.1471, 8403.931, 6.991)),
        ),
        # 8330 to 8369.6 eV, rms 0.0076, to pristine NMC622 (MaterialEyes/FeatureXAS, b15af0a, nmc_exp_xas.json, 0);
        # that file is scaled to its maximum: the edge jump, and all above 8370 eV, are those of LiNiO2.
        "NMC discharged": _shape(
            (8340.1, 3.5),
            *((1.3635, 8349.53, 2.485), (0.4819, 8348.407, 1.313), (0.0325, 8334.001, 1.699)),
            *((-0.3538, 8340.853, 7.288), (-0.3238, 8360.35, 2.836), (0.4348, 8362.1, 14.0)),
            *((-0.445, 8374.1, 8.746), (0.1342, 8405.055, 6.129)),
        ),
        # The same, rms 0.0061, to NMC622 at 4.3 V (entry 1).
        "NMC charged": _shape(
            (8347.845, 1.504),
            *((0.9152, 8351.911, 1.533), (0.3983, 8353.731, 1.905), (0.518, 8347.12, 3.095)),
            *((0.0981, 8359.12, 2.944), (0.164, 8367.617, 2.756), (-0.1456, 8377.12, 14.0)),
            (0.141, 8406.333, 7.098),
        ),
    }
)
"""Shapes of measured spectra by name, on the energy scales of their sources."""


@cache
def nickel_nodes() -> tuple[Shape, ...]:
    """The eight node spectra, in the order of `NODE_ENERGIES`.

    The node of white line W is (1 - x) NiO + x LiNiO2, x = (W - W_NiO) / (W_LiNiO2 - W_NiO) cut to 0..1, both moved so
    that their maxima are at W; then so is that of their sum. Beyond the two references the shape only moves. W_NiO and
    W_LiNiO2 are the maxima of the fitted shapes.
    """
    reduced, oxidised = REFERENCES["NiO"], REFERENCES["LiNiO2"]
    low, high = reduced.white_line_energy(), oxidised.white_line_energy()
    nodes = []
    for energy in NODE_ENERGIES.tolist():
        fraction = float(np.clip((energy - low) / (high - low), 0.0, 1.0))
        node = mixed(reduced.moved(energy - low), oxidised.moved(energy - high), fraction=fraction)
        nodes.append(node.moved(energy - node.white_line_energy()))
    return tuple(nodes)


def attenuation_of_nodes(energies: ArrayLike, *, background_per_jump: float) -> Array:
    """Linear attenuation of the nodes per 1/um of edge jump, shape (energy, 8), at ``energies`` (eV).

    (E / E_K)^-3 [background / jump + edges(E)] + lines(E). In one composition the background is proportional to the
    jump, so it is part of each node: the attenuation (1/um) of a voxel is the sum over nodes of
    jump * solid fraction * node weight times this, with ``edge_scale`` for jump and background. The decay lowers the
    energy of the maximum by some meV against that of the normalised spectrum.
    """
    if not background_per_jump >= 0:
        raise CathoscopeError("attenuation cannot be negative", found=f"background_per_jump={background_per_jump}")
    decay = attenuation_ratio_from_energy(energy=energies, reference=NICKEL_K_EDGE)
    nodes = [
        decay * (background_per_jump + node.edge(energies)) + node.fine_structure(energies) for node in nickel_nodes()
    ]
    return np.stack(nodes, axis=-1)


def edge_scale(composition: Mapping[str, float], density: float) -> tuple[float, float]:
    """Attenuation just below the Ni K edge, and its jump, both 1/um, of the dense solid.

    ``composition`` holds atoms per formula unit, ``density`` is in g/cm³; errors as
    `nickel_edge_attenuation_from_formula`, and for a composition without nickel.
    """
    background, jump = nickel_edge_attenuation_from_formula(formula=composition, density=density)
    if not jump > 0:
        raise CathoscopeError("a composition without nickel has no Ni K edge", found=str(dict(composition)))
    return background, jump


def node_weights(white_line: ArrayLike) -> Array:
    """Share of every node in a spectrum whose state is ``white_line`` (eV, any shape), shape (..., 8).

    Hat functions: linear between neighbouring nodes, so the weights add up to 1 and sum_k w_k W_k = W. All are 0 where
    ``white_line`` is NaN (no material).

    Raises
    ------
    CathoscopeError
        If a white line lies outside the nodes.
    """
    energy = np.asarray(white_line, dtype=np.float64)
    if (energy < NODE_ENERGIES[0] - 1e-9).any() or (energy > NODE_ENERGIES[-1] + 1e-9).any():
        raise CathoscopeError(
            "a white line lies outside the node spectra",
            expected=f"{LOWEST_WHITE_LINE} to {HIGHEST_WHITE_LINE} eV",
            found=f"{np.nanmin(energy):.2f} to {np.nanmax(energy):.2f} eV",
            cure="check the law of the white line, or the contrast of the two phases",
        )
    material = np.isfinite(energy)
    place = np.clip((np.where(material, energy, NODE_ENERGIES[0]) - NODE_ENERGIES[0]) / NODE_SPACING, 0.0, NODES - 1.0)
    distance = np.abs(place[..., None] - np.arange(NODES))
    return np.asarray(np.clip(1.0 - distance, 0.0, None) * material[..., None])


def two_phase_weights(white_line: ArrayLike, spinel_fraction: ArrayLike, contrast: ArrayLike) -> Array:
    """Weights of a voxel of layered and spinel parts: (1 - f) S(W + f g) + f S(W - (1 - f) g), shape (..., 8).

    Parameters
    ----------
    white_line
        W, eV: the mean over both parts, which the weights conserve; NaN where there is no material.
    spinel_fraction
        f, 0 to 1.
    contrast
        g, eV: white line of the layered part less that of the spinel part.

    Raises
    ------
    CathoscopeError
        As `node_weights`, and for a fraction outside 0 to 1.
    """
    mean, fraction, gap = (np.asarray(one, dtype=np.float64) for one in (white_line, spinel_fraction, contrast))
    if (fraction < 0).any() or (fraction > 1).any():
        raise CathoscopeError(
            "a fraction of spinel lies outside 0 to 1", found=f"{np.nanmin(fraction):g} to {np.nanmax(fraction):g}"
        )
    # A part of share 0 may lie anywhere; it is put at the mean, so that it cannot leave the nodes.
    layered = mean + np.where(fraction < 1, fraction * gap, 0.0)
    spinel = mean - np.where(fraction > 0, (1.0 - fraction) * gap, 0.0)
    share = np.where(np.isnan(mean), 0.0, fraction)[..., None]
    return (1.0 - share) * node_weights(layered) + share * node_weights(spinel)


def white_line_grid() -> Array:
    """Energies (eV) fine and wide enough to tabulate a basis of nodes for `white_line_of_weights`."""
    return np.linspace(8344.5, 8354.5, 101)


@njit(cache=True, nogil=True)
def _maxima(result, weights, values, cubic, start, step):  # type: ignore[no-untyped-def]
    """Maximum of the sum of cubic splines: the highest knot, then the root of the derivative beside it.

    ``values`` is (component, knot), ``cubic`` (interval, 3, component) the coefficients of t^3, t^2, t.
    """
    components, knots = values.shape
    total = np.empty(knots)
    for voxel in range(weights.shape[0]):
        result[voxel] = np.nan
        norm = 0.0
        total[:] = 0.0
        for k in range(components):
            weight = weights[voxel, k]
            norm += weight
            if weight != 0.0:
                for i in range(knots):
                    total[i] += weight * values[k, i]
        if not norm > 0.0:
            continue
        top = 0
        for i in range(1, knots):
            if total[i] > total[top]:
                top = i
        if top == 0 or top == knots - 1:
            continue
        rise = 0.0
        for k in range(components):
            rise += weights[voxel, k] * cubic[top, 2, k]
        interval = top if rise > 0.0 else top - 1
        a, b, c = 0.0, 0.0, 0.0
        for k in range(components):
            a += 3.0 * weights[voxel, k] * cubic[interval, 0, k]
            b += 2.0 * weights[voxel, k] * cubic[interval, 1, k]
            c += weights[voxel, k] * cubic[interval, 2, k]
        # of both roots of a t² + b t + c, the one at which the derivative falls
        under = -b + np.sqrt(max(b * b - 4.0 * a * c, 0.0))
        at = 2.0 * c / under if under > 0.0 else (top - interval) * step
        result[voxel] = start + interval * step + min(max(at, 0.0), step)


def white_line_of_weights(weights: ArrayLike, *, basis: ArrayLike, energies: ArrayLike, kernel: Any = _maxima) -> Array:
    """Energy (eV) of the maximum of sum_k w_k basis_k(E) for many voxels.

    Exact for the cubic splines through the tabulated basis; with steps of 0.1 eV that is 1e-5 eV for any spectrum
    here. Of several maxima the highest counts.

    Parameters
    ----------
    weights
        Shape (..., component); any scale.
    basis
        Spectra at ``energies``, shape (energy, component), any number of components.
    energies
        Evenly spaced, ascending, eV; at least 8. They should reach 2 eV beyond every white line.
    kernel
        The compiled loop, or ``_maxima.py_func``.

    Returns
    -------
    Array of the leading shape of ``weights``; NaN where the weights do not add up to more than zero, are NaN, or where
    the largest value lies at either end of ``energies``.
    """
    share, table, grid = (np.asarray(one, dtype=np.float64) for one in (weights, basis, energies))
    if grid.size < 8 or not np.allclose(np.diff(grid), grid[1] - grid[0], rtol=1e-6) or not grid[1] > grid[0]:
        raise CathoscopeError(
            "the basis needs at least 8 evenly spaced, ascending energies", found=f"{grid.size} energies"
        )
    if table.shape != (grid.size, share.shape[-1]):
        raise CathoscopeError(
            "basis and weights do not match",
            expected=f"a basis of {(grid.size, share.shape[-1])}",
            found=str(table.shape),
        )
    cubic = np.ascontiguousarray(np.moveaxis(CubicSpline(grid, table).c[:3], 0, 1))
    flat = np.ascontiguousarray(share.reshape(-1, share.shape[-1]))
    result = np.empty(flat.shape[0])
    kernel(result, flat, np.ascontiguousarray(table.T), cubic, grid[0], (grid[-1] - grid[0]) / (grid.size - 1))
    return result.reshape(share.shape[:-1])


def valence_from_white_line(white_line: ArrayLike) -> Array:
    """Mean Ni valence from the white line (eV): 3 + (W - 8349.64) / 1.77, 3 at LiNiO2 and 2 at NiO.

    A calibration on two references, not a law. It breaks down where coordination or covalency change and not the
    charge alone (holes on oxygen in charged cathodes, octahedral against tetrahedral Ni), where a spectrum is a mixture
    whose maximum does not follow the mean, and between energy scales of different instruments: a measured charged NMC
    at 8352.1 eV would give 4.4.
    """
    per_valence = LINIO2_WHITE_LINE - NIO_WHITE_LINE
    return np.asarray(3.0 + (np.asarray(white_line, dtype=np.float64) - LINIO2_WHITE_LINE) / per_valence)


# First and last energy and step, eV.
_ENERGIES: Mapping[int, tuple[tuple[float, float, float], ...]] = MappingProxyType(
    {
        30: ((8250, 8320, 35), (8330, 8336, 6), (8340, 8357, 1), (8360, 8366, 6), (8376, 8390, 14), (8405, 8450, 22.5)),
        60: (
            *((8212, 8312, 20), (8320, 8332, 4), (8334, 8342, 2), (8343, 8345, 1), (8345.5, 8353, 0.5)),
            *((8354, 8360, 1), (8362, 8370, 2), (8375, 8395, 5), (8405, 8455, 10), (8480, 8540, 30)),
        ),
        80: (
            *((8212, 8312, 10), (8318, 8330, 3), (8332, 8344, 1), (8345, 8354, 0.5), (8355, 8363, 1)),
            *((8365, 8371, 2), (8375, 8395, 4), (8400, 8450, 10), (8460, 8550, 15)),
        ),
    }
)


def xanes_energies(count: int) -> Array:
    """Energies (eV) of a full-field Ni K-edge scan of ``count`` = 30, 60 or 80 points, ascending.

    Far apart before and after the edge, 1 eV over the rise and 0.5 eV over the white line (1 eV for 30 points), in the
    manner of a recorded list of 80 energies at a full-field microscope.

    Raises
    ------
    CathoscopeError
        For another ``count``.
    """
    if count not in _ENERGIES:
        raise CathoscopeError(
            "no list of so many energies", expected="30, 60 or 80", found=str(count), cure="energies=60"
        )
    runs = _ENERGIES[count]
    return np.concatenate([np.linspace(low, high, round((high - low) / step) + 1) for low, high, step in runs])
