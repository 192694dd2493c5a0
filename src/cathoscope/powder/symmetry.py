"""Symmetry of a crystal: operations, equivalent reflections, and what a site leaves free.

Operations act on fractional coordinates, x' = R x + t, and on indices from the right, h' = h R. What a site leaves free
is derived from the operations that keep its position: the mean of their actions projects onto what they do not change
(International Tables for Crystallography A (2016), section 1.4; Peterse & Palm, Acta Cryst. 20, 147 (1966) for
displacements), and the reduced echelon form of the projector names the free numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import gemmi
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import Dual, Graded, mapped

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

POSITION_NAMES = ("x", "y", "z")
DISPLACEMENT_NAMES = ("U11", "U22", "U33", "U12", "U13", "U23")
PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
"""Axes of the six numbers of a symmetric tensor."""

_NEAR = 2.5e-3  # rounded thirds of a file are this near, in fractions of the cell; split atoms are not
_EXACT = 1e-8


@dataclass(frozen=True, eq=False)
class Symmetry:
    """A space group in one setting.

    Attributes
    ----------
    name
        Hermann-Mauguin symbol with its setting.
    system
        Crystal system.
    rotations, translations
        Of the operations, [m, 3, 3] and [m, 3], without centring.
    centring
        Centring vectors, [c, 3], the zero vector first.
    """

    name: str
    system: str
    rotations: IntArray
    translations: Array
    centring: Array

    @property
    def order(self) -> int:
        """Operations in the cell, with centring: multiplicity of a general position."""
        return len(self.rotations) * len(self.centring)

    @cached_property
    def half(self) -> IntArray:
        """Numbers of operations with one rotation of each pair R, -R."""
        kept: dict[bytes, int] = {}
        for number, rotation in enumerate(self.rotations):
            if (-rotation).tobytes() not in kept:
                kept.setdefault(rotation.tobytes(), number)
        return np.array(list(kept.values()))

    @property
    def laue_rotations(self) -> IntArray:
        """Rotations of the Laue class, one of each pair R, -R, [g, 3, 3]."""
        return self.rotations[self.half]

    @cached_property
    def centred_at_origin(self) -> bool:
        """Whether an inversion lies at the origin."""
        inverted = np.all(self.rotations == -np.eye(3, dtype=np.int64), axis=(1, 2))
        shifts = self.translations[inverted][:, None] + self.centring
        return bool(np.any(np.all(np.abs(shifts - np.round(shifts)) < _EXACT, axis=-1)))


@dataclass(frozen=True, eq=False)
class LinearRule:
    """Numbers that symmetry ties: ``matrix`` (n, k) times the k free ones plus ``constant`` (n,).

    ``names`` are those of the free numbers, ``leads`` where these stand among the n.
    """

    names: tuple[str, ...]
    matrix: Array
    constant: Array
    leads: tuple[int, ...]

    def values(self, free: ArrayLike | Dual) -> Graded:
        """All n numbers from the free ones."""
        return mapped(self.matrix, free) + self.constant

    def free(self, values: ArrayLike) -> Array:
        """The free ones of n numbers."""
        return np.asarray(values, dtype=np.float64)[list(self.leads)]


@lru_cache(maxsize=256)
def symmetry_of(space_group: str) -> Symmetry:
    """The operations of a space group.

    Parameters
    ----------
    space_group
        Hermann-Mauguin symbol with its setting where there are two: "P n m a", "R -3 m:H", "F d -3 m:2".

    Raises
    ------
    MeasurementError
        If there is no such space group, or two settings of it and none is chosen.
    """
    group = gemmi.find_spacegroup_by_name(space_group)
    if group is None:
        raise MeasurementError(
            "not a space group",
            expected="a Hermann-Mauguin symbol, such as R -3 m:H, F d -3 m:2 or P n m a",
            found=space_group or "nothing",
        )
    if group.ext in ("1", "2", "H", "R") and ":" not in space_group:
        other = {"1": "2", "2": "1", "H": "R", "R": "H"}[group.ext]
        raise MeasurementError(
            f"the space group {group.hm} has two settings",
            expected=f"{group.xhm()} or {group.hm}:{other}",
            found=space_group,
            cure="add the origin, 1 or 2, or the axes, H or R, after a colon",
        )
    return symmetry_of_operations(group.xhm(), group.crystal_system_str(), group.operations())


def symmetry_of_operations(name: str, system: str, operations: gemmi.GroupOps) -> Symmetry:
    """The same from operations of gemmi."""
    unit = gemmi.Op.DEN
    return Symmetry(
        name,
        system,
        np.array([one.rot for one in operations.sym_ops], dtype=np.int64) // unit,
        np.array([one.tran for one in operations.sym_ops], dtype=np.float64) / unit,
        np.array(list(operations.cen_ops), dtype=np.float64) / unit,
    )


def images(symmetry: Symmetry, hkl: ArrayLike) -> IntArray:
    """Symmetry equivalents of reflections (n, 3), those of Friedel left out, (n, g, 3).

    Each equivalent occurs equally often, g being half the order of the Laue class: a mean over axis 1 is the mean over
    the equivalents, for whatever does not tell h from -h.
    """
    out: IntArray = np.einsum("ni,gij->ngj", np.asarray(hkl, dtype=np.int64), symmetry.laue_rotations)
    return out


def multiplicities(symmetry: Symmetry, hkl: ArrayLike) -> IntArray:
    """How many reflections of a powder fall together by symmetry, those of Friedel included, (n,)."""
    half = images(symmetry, hkl)
    both = np.concatenate([half, -half], axis=1)
    codes = (both * (1 << np.array([42, 21, 0]))).sum(axis=2)
    codes.sort(axis=1)
    count: IntArray = 1 + np.count_nonzero(np.diff(codes, axis=1), axis=1)
    return count


def representatives(symmetry: Symmetry, hkl: ArrayLike) -> IntArray:
    """The largest of the equivalents of each reflection, by h, then k, then l: equal for equivalent ones, (n, 3)."""
    half = images(symmetry, hkl)
    both = np.concatenate([half, -half], axis=1)
    codes = (both * (1 << np.array([42, 21, 0]))).sum(axis=2)
    chosen: IntArray = np.take_along_axis(both, codes.argmax(axis=1)[:, None, None], axis=1)[:, 0]
    return chosen


def orbit(symmetry: Symmetry, position: ArrayLike) -> Array:
    """All positions of a site within the cell, (multiplicity, 3), each once."""
    x = snapped(symmetry, position)
    everywhere = (symmetry.rotations @ x + symmetry.translations)[:, None] + symmetry.centring
    wrapped = np.round(everywhere.reshape(-1, 3) % 1.0, 6) % 1.0
    return np.unique(wrapped, axis=0)


def site_multiplicity(symmetry: Symmetry, position: ArrayLike) -> int:
    """How many atoms a site has in the cell."""
    rotations, _ = _keepers(symmetry, snapped(symmetry, position), _EXACT)
    return symmetry.order // len(rotations)


def snapped(symmetry: Symmetry, position: ArrayLike) -> Array:
    """A position moved onto the special position from which it differs by no more than rounding, (3,).

    "0.3333" becomes 1/3 where symmetry asks for it; others stay as they are.
    """
    x = np.asarray(position, dtype=np.float64)
    rotations, shifts = _keepers(symmetry, x, _NEAR)
    x = np.mean(rotations @ x + shifts, axis=0)
    rotations, shifts = _keepers(symmetry, x, _NEAR)
    return np.asarray(np.mean(rotations @ x + shifts, axis=0))


def position_rule(symmetry: Symmetry, position: ArrayLike) -> LinearRule:
    """Which coordinates of a site are free and how the others follow: "x", "z" for x, x, z."""
    x = snapped(symmetry, position)
    rotations, _ = _keepers(symmetry, x, _EXACT)
    return rule_of(np.mean(rotations, axis=0), x, POSITION_NAMES)


def displacement_rule(symmetry: Symmetry, position: ArrayLike, reciprocal_lengths: ArrayLike) -> LinearRule:
    """Which of U11, U22, U33, U12, U13, U23 of a site are free and how the others follow.

    Parameters
    ----------
    reciprocal_lengths
        a*, b*, c*, any unit; U is on unit vectors along the reciprocal axes.
    """
    rotations, _ = _keepers(symmetry, snapped(symmetry, position), _EXACT)
    stars = np.asarray(reciprocal_lengths, dtype=np.float64)
    scaled = rotations * stars[None, :] / stars[:, None]  # as operations act on vectors in units of 1/a*, 1/b*, 1/c*
    projector = np.zeros((6, 6))
    for column, (i, j) in enumerate(PAIRS):
        tensor = np.zeros((3, 3))
        tensor[i, j] = tensor[j, i] = 1.0
        mean = np.mean(scaled @ tensor @ scaled.transpose(0, 2, 1), axis=0)
        projector[:, column] = [mean[pair] for pair in PAIRS]
    return rule_of(projector, np.zeros(6), DISPLACEMENT_NAMES)


def rule_of(projector: Array, start: Array, names: tuple[str, ...]) -> LinearRule:
    """The rule of numbers that may move from ``start`` within the range of a projector."""
    basis, leads = _echelon(projector.T)
    matrix = basis.T
    constant = start - matrix @ start[leads]
    constant[np.abs(constant) < _EXACT] = 0.0
    return LinearRule(tuple(names[lead] for lead in leads), matrix, constant, tuple(leads))


def _keepers(symmetry: Symmetry, x: Array, within: float) -> tuple[Array, Array]:
    """Rotations and shifts of the operations that bring x back to itself, lattice vectors included in the shifts."""
    shifts = symmetry.translations[:, None] + symmetry.centring
    offset = (symmetry.rotations @ x - x)[:, None] + shifts
    kept = np.all(np.abs(offset - np.round(offset)) < within, axis=-1)
    rotations = np.broadcast_to(symmetry.rotations[:, None], (*kept.shape, 3, 3))
    return rotations[kept].astype(np.float64), (shifts - np.round(offset))[kept]


def _echelon(rows: Array) -> tuple[Array, list[int]]:
    """Reduced echelon form: a basis of the row space, (k, n), and the column where each of its rows has its one."""
    left = rows.copy()
    basis: list[Array] = []
    leads: list[int] = []
    for column in range(left.shape[1]):
        pivot = int(np.abs(left[:, column]).argmax())
        if abs(left[pivot, column]) < 1e-6:
            continue
        row = left[pivot] / left[pivot, column]
        left = left - np.outer(left[:, column], row)
        basis = [one - one[column] * row for one in basis] + [row]
        leads.append(column)
    out = np.array(basis).reshape(len(basis), left.shape[1])
    twelfths = np.round(out * 12) / 12
    return np.where(np.abs(out - twelfths) < 1e-9, twelfths, out) + 0.0, leads
