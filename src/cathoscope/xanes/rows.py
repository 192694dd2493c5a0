"""Maps taken a few rows at a time, so that what is made of them on the way never fills memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_VOXELS = 1 << 21  # at a time


class Rowed(Protocol):
    """A map whose rows can be had: an array, a stored one that is read then, or one that is worked out then."""

    def __getitem__(self, rows: slice, /) -> Any:
        """Rows along the first axis."""


@dataclass(frozen=True)
class Derived:
    """A map that is worked out, row by row, when it is asked for."""

    rows_of: Callable[[slice], NDArray[np.floating]]

    def __getitem__(self, rows: slice, /) -> NDArray[np.floating]:
        """Rows along the first axis."""
        return self.rows_of(rows)


def slabs_of(inside: Mask) -> Iterator[slice]:
    """Rows in parts of one size, whatever the memory; those without any voxel are left out."""
    each = max(1, _VOXELS // max(1, inside[:1].size))
    for start in range(0, len(inside), each):
        rows = slice(start, min(start + each, len(inside)))
        if inside[rows].any():
            yield rows


def values_in(field: Rowed, inside: Mask, rows: slice) -> Array:
    """Values of the voxels of some rows that count, one after the other."""
    return np.asarray(field[rows], dtype=np.float64)[inside[rows]]


def laid_out(values: Array, inside: Mask) -> Array:
    """Rows of a map with these values where voxels count, and zero elsewhere."""
    dense = np.zeros(inside.shape)
    dense[inside] = values
    return dense


def mean_in(field: Rowed, inside: Mask) -> float:
    """Mean over the voxels that count."""
    return _sum(lambda rows: values_in(field, inside, rows), inside) / int(inside.sum())


def covariance_in(first: Rowed, second: Rowed, inside: Mask) -> float:
    """Mean product of the deviations of two maps from their means."""
    one, other = mean_in(first, inside), mean_in(second, inside)

    def products(rows: slice) -> Array:
        """Of the voxels of some rows."""
        return (values_in(first, inside, rows) - one) * (values_in(second, inside, rows) - other)

    return _sum(products, inside) / int(inside.sum())


def mean_square_in(field: Rowed, inside: Mask) -> float:
    """Mean of the squares over the voxels that count."""
    return _sum(lambda rows: values_in(field, inside, rows) ** 2, inside) / int(inside.sum())


def _sum(values_of: Callable[[slice], Array], inside: Mask) -> float:
    return sum((float(values_of(rows).sum()) for rows in slabs_of(inside)), start=0.0)


def stored_values(field: Rowed, inside: Mask) -> NDArray[np.floating]:
    """Values of all voxels that count, one after the other, in the type of the map."""
    parts = [np.asarray(field[rows])[inside[rows]] for rows in slabs_of(inside)]
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


def quantiles_of(values: NDArray[np.floating], shares: Array) -> Array:
    """Quantiles as numpy's, of values that are put in another order: nothing is copied."""
    place = np.asarray(shares, dtype=np.float64) * (values.size - 1)
    below = np.floor(place).astype(np.intp)
    above = np.minimum(below + 1, values.size - 1)
    values.partition(np.unique([below, above]))
    low, high = values[below].astype(np.float64), values[above].astype(np.float64)
    part, step = place - below, high - low
    # from the nearer end, as numpy does
    return np.asarray(np.where(part >= 0.5, high - step * (1 - part), low + step * part))
