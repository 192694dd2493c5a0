"""Squared structure factors of powder reflections, with derivatives with respect to everything in the structure.

F(h) = sum over sites of occupancy x (multiplicity / operations) x (f + f' + i f'') x sum over operations of
exp(-2 pi^2 u) exp(2 pi i h (R x + t)), with u = U / d^2, or h_i h_j a*_i a*_j U_ij of the rotated indices. A powder
reflection holds h and -h, which anomalous dispersion tells apart where there is no centre; the mean of their squares is
|sum of the parts with f + f'|^2 + |sum of the parts with f''|^2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.crystal import Site
from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import Dual, Graded, slope_of, value_of
from cathoscope.powder.scattering import Scatterers
from cathoscope.powder.structure_factor_kernels import geometric_sums
from cathoscope.powder.symmetry import Symmetry, site_multiplicity, snapped

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]

_FIRST, _SECOND = [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]


@dataclass(frozen=True, eq=False)
class SumPlan:
    """What the sums over the atoms need beside the structure's numbers: made once per phase and list of reflections.

    Attributes
    ----------
    hkl
        Indices, [n, 3].
    terms
        The atoms to sum over: rotation [t, 3, 3] and shift [t, 3] that make one of the atom of its site [t], and how
        many operations make that one, [t].
    weight
        One over the number of operations that leave a site where it is, [s].
    lattice
        Sum of the phases of the centring vectors, twice that if ``real``, [n]; zero for what centring extinguishes.
    real
        Whether a centre lies at the origin, so that geometric sums are real.
    """

    hkl: Array
    terms: tuple[Array, Array, IntArray, Array]
    weight: Array
    lattice: Array
    real: bool


@dataclass(frozen=True, eq=False)
class SiteValues:
    """Numbers of the sites of a phase, each an array or a dual.

    Attributes
    ----------
    occupancy
        [s].
    position
        Fractional, [s, 3].
    u_iso
        A^2, [s]; zero where the displacement is anisotropic.
    u_aniso
        U11, U22, U33, U12, U13, U23, A^2, [s, 6], zero where it is isotropic; None if it is isotropic everywhere.
    """

    occupancy: Graded
    position: Graded
    u_iso: Graded
    u_aniso: Graded | None = None


def sum_plan(symmetry: Symmetry, sites: Sequence[Site], hkl: ArrayLike) -> SumPlan:
    """The plan of the sums for reflections (n, 3) of a phase.

    Sites keep their symmetry from then on: on a special position only one operation of those that make the same atom
    is summed, so coordinates may move as `position_rule` lets them and tensors as `displacement_rule`.
    """
    indices = np.asarray(hkl, dtype=np.float64)
    real = symmetry.centred_at_origin
    lattice = np.cos(2 * np.pi * indices @ symmetry.centring.T).sum(axis=1)
    lattice[np.abs(lattice) < 1e-9] = 0.0
    made = [_atoms(symmetry, snapped(symmetry, site.position), real=real) for site in sites]
    number = np.repeat(np.arange(len(sites)), [len(count) for _, count in made])
    chosen = np.concatenate([operations for operations, _ in made])
    terms = (
        symmetry.rotations[chosen].astype(np.float64),
        symmetry.translations[chosen],
        number,
        np.concatenate([count for _, count in made]).astype(np.float64),
    )
    weight = np.array([site_multiplicity(symmetry, site.position) for site in sites]) / symmetry.order
    return SumPlan(indices, terms, weight, lattice * (2.0 if real else 1.0), real)


def _atoms(symmetry: Symmetry, x: Array, *, real: bool) -> tuple[IntArray, IntArray]:
    """One operation for each atom that a site has in a primitive cell, and how many operations make it.

    Where sums are ``real``, half of the operations do, and an atom and its inverse are one.
    """
    operations = symmetry.half if real else np.arange(len(symmetry.rotations))
    places = symmetry.rotations[operations] @ x + symmetry.translations[operations]
    signs = (1.0, -1.0) if real else (1.0,)
    everywhere = np.array([sign * places[:, None] + symmetry.centring for sign in signs])  # [sign, g, c, 3]
    micro = np.round(everywhere * 1e6).astype(np.int64) % 1_000_000
    keys = micro @ np.array([10**12, 10**6, 1])
    _, first, count = np.unique(keys.min(axis=(0, 2)), return_index=True, return_counts=True)
    return operations[first], count


def squared_structure_factor(
    plan: SumPlan,
    sites: SiteValues,
    scatterers: Scatterers,
    d: ArrayLike | Dual,
    metric: ArrayLike | Dual | None = None,
) -> Graded:
    """|F|^2 of powder reflections, mean over h and -h, (n,): barn per cell for neutrons, electrons^2 for X-rays.

    With duals among the arguments the result is a dual: its derivatives are exact, by partial derivatives with respect
    to occupancies, positions, displacements, spacings (form factor, displacement) and the reciprocal metric.

    Parameters
    ----------
    d
        Spacings, A, [n].
    metric
        Reciprocal metric of `metric_from_cell`, [6]; needed where a displacement is anisotropic.

    Raises
    ------
    MeasurementError
        If a displacement is anisotropic and no metric is given.
    """
    beta = _exponents(sites, metric)
    given = (sites.occupancy, sites.position, sites.u_iso, beta, d)
    parameters = max((one.parameters for one in given if isinstance(one, Dual)), default=0)
    sums, by_position, by_beta = _geometry(plan, value_of(sites.position), value_of(beta), graded=parameters > 0)
    spacing = value_of(d)
    amplitude, by_spacing = scatterers.real(spacing)
    inverse = 1.0 / (spacing * spacing)
    damping = np.exp(-2 * np.pi**2 * inverse[:, None] * value_of(sites.u_iso)) * plan.weight * plan.lattice[:, None]
    occupied = damping * value_of(sites.occupancy)
    content = occupied * sums
    main = np.sum(amplitude * content, axis=1)
    other = content @ scatterers.imaginary
    value: Array = np.abs(main) ** 2 + np.abs(other) ** 2
    if not parameters:
        return value
    weight = 2 * (main.conj()[:, None] * amplitude + other.conj()[:, None] * scatterers.imaginary)
    share = (weight * content).real
    slope = _contracted((weight * damping * sums).real, sites.occupancy, parameters)
    slope += _contracted(-2 * np.pi**2 * inverse[:, None] * share, sites.u_iso, parameters)
    slope += _contracted(((weight * occupied)[..., None] * by_position).real, sites.position, parameters)
    if by_beta.size:
        slope += _contracted(((weight * occupied)[..., None] * by_beta).real, beta, parameters)
    if isinstance(d, Dual):
        partial = 4 * np.pi**2 * inverse / spacing * (share @ value_of(sites.u_iso))
        partial += 2 * np.sum((main.conj()[:, None] * content).real * by_spacing, axis=1)
        slope += partial[:, None] * d.slope
    return Dual(value, slope)


def _exponents(sites: SiteValues, metric: ArrayLike | Dual | None) -> Graded:
    """2 pi^2 a*_i a*_j U_ij of every site, [s, 6]."""
    if sites.u_aniso is None:
        return np.zeros((0, 6))
    if metric is None:
        raise MeasurementError("anisotropic displacements need the reciprocal metric", cure="pass metric")
    squares = metric if isinstance(metric, Dual) else np.asarray(metric, dtype=np.float64)
    stars = np.sqrt(squares[:3])
    exponents: Graded = 2 * np.pi**2 * sites.u_aniso * (stars[_FIRST] * stars[_SECOND])
    return exponents


def _geometry(
    plan: SumPlan, positions: Array, beta: Array, *, graded: bool
) -> tuple[ComplexArray, ComplexArray, ComplexArray]:
    """Sums over the atoms of each site, [n, s], and their derivatives to positions and exponents, if wanted."""
    shape = (len(plan.hkl), len(positions))
    sums = np.zeros((*shape, 2))
    by_position = np.zeros((*(shape if graded else (0, 0)), 3, 2))
    by_beta = np.zeros((*(shape if graded and beta.size else (0, 0)), 6, 2))
    geometric_sums(plan.hkl, plan.terms, positions, beta, plan.real, graded, (sums, by_position, by_beta))
    joined = [one.view(np.complex128)[..., 0] for one in (sums, by_position, by_beta)]
    return joined[0], joined[1], joined[2]


def _contracted(partial: Array, argument: ArrayLike | Dual, parameters: int) -> Array:
    """Derivatives (n, P) by the chain rule: partial derivatives (n, ...) times the derivatives of the argument."""
    if not isinstance(argument, Dual):
        return np.zeros((len(partial), parameters))
    flat: Array = partial.reshape(len(partial), -1) @ slope_of(argument, parameters).reshape(-1, parameters)
    return flat
