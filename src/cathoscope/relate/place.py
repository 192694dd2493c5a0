"""Chemistry against place: how a map depends on the distance to surface, cracks and voids, and how surely.

Distances are those of the voxels' middles. A line through a map and each variable alone, and one through all variables
together ("the others held"), on cells of several voxels; the uncertainty of both by `cathoscope.relate.field`, in
which neighbouring cells are not independent. Correlations r are those of the single voxels:

    r = cov(x, y) / (s_x s_y),     r without noise = r / sqrt(1 - <sigma^2> / s_y^2)     (Spearman 1904)

The rank correlation is the same of the ranks, the partial one -P_xy / sqrt(P_xx P_yy) with the inverse P of the matrix
of correlations. Probabilities are of Student's t, corrected for the number of variables by Holm.

References
----------
.. [1] C. Spearman, Am. J. Psychol. 15 (1904) 72 (attenuation by errors of measurement).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr
from scipy.stats import rankdata

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.random_effects import population_of
from cathoscope.relate.field import Array, Cells, Design, Line, Mask, through_design
from cathoscope.relate.multiple_tests import holm

BINS = 10
_ACROSS = 32  # cells
_MOST_VOXELS = 3_000_000
_INFLATION = 10.0  # of a variance by other variables, above which two cannot be told apart
_LEAST_RELIABILITY = 0.05


@dataclass(frozen=True, eq=False)
class Places:
    """Where the voxels of a particle lie.

    Attributes
    ----------
    good
        Voxels that count, [z, y, x].
    variables
        Name to the values of the good voxels.
    cells
        Cells of several voxels of which half or more count.
    cell_of
        Number of the cell of every good voxel, -1 if fewer than half count.
    edge
        Of a cell, voxels.
    """

    good: Mask
    variables: Mapping[str, Array]
    cells: Cells
    cell_of: NDArray[np.intp]
    edge: int

    def averaged(self, values: Array) -> Array:
        """Means of the cells of values of the good voxels."""
        chosen = self.cell_of >= 0
        return np.bincount(self.cell_of[chosen], values[chosen]) / self.voxels_of_cells

    @property
    def voxels_of_cells(self) -> NDArray[np.intp]:
        """Good voxels in every cell."""
        return np.bincount(self.cell_of[self.cell_of >= 0], minlength=self.cells.count)


def places_of(good: ArrayLike, variables: Mapping[str, ArrayLike], *, across: int = _ACROSS) -> Places:
    """Good voxels with what is known of where they are, put into at most ``across`` cells along the particle.

    ``variables`` hold values of the good voxels. Those that are not known at nine tenths of them, or the same
    everywhere, are left out; where one that is kept is not known a voxel does not count. Of more than three million
    voxels every second, third ... along each axis is taken.

    Raises
    ------
    MeasurementError
        If no voxel counts.
    """
    chosen = np.array(good, dtype=bool)
    at = np.argwhere(chosen)
    known = {name: np.asarray(values, np.float64) for name, values in variables.items()}
    finite = {name: np.isfinite(values) for name, values in known.items()}
    known = {n: v for n, v in known.items() if len(at) and finite[n].mean() >= 0.9 and np.ptp(v[finite[n]]) > 0}
    stride = int(np.ceil((len(at) / _MOST_VOXELS) ** (1 / 3))) if len(at) else 1
    counts = np.logical_and.reduce([(at % stride == 0).all(axis=1), *(finite[name] for name in known)])
    if not counts.any():
        raise MeasurementError("no voxel of the particle counts", found="none with a trusted value and a place")
    at = at[counts]
    chosen[:] = False
    chosen[tuple(at.T)] = True
    low = at.min(axis=0)
    edge = max(int(-(-(at.max(axis=0) - low + 1).max() // across)), 1)
    edge = -(-edge // stride) * stride
    cell = (at - low) // edge
    shape = tuple(cell.max(axis=0) + 1)
    flat = np.ravel_multi_index(tuple(cell.T), shape)
    inside = np.bincount(flat, minlength=int(np.prod(shape))) >= max((edge / stride) ** 3 / 2, 1)
    number = np.where(inside, np.cumsum(inside) - 1, -1)
    of_places = {name: values[counts] for name, values in known.items()}
    return Places(chosen, of_places, Cells(inside.reshape(shape)), number[flat], edge)


@dataclass(frozen=True, eq=False)
class Relations:
    """How a map depends on every variable, [variable], alone and with the others held (``partial``).

    Effects are in the unit of the map: what the line rises by from the lower to the upper ``span`` (10th and 90th
    percentile) of the variable. Variables that cannot be told from those before have no partial values.
    """

    names: tuple[str, ...]
    span: Array  # [variable, 2]
    effect: Array
    effect_std: Array
    freedom: Array
    correlation: Array
    correlation_std: Array
    true_correlation: Array
    rank_correlation: Array
    probability: Array
    rank_probability: Array
    partial_effect: Array
    partial_effect_std: Array
    partial_freedom: float
    partial_correlation: Array
    partial_true: Array
    partial_rank: Array
    partial_probability: Array
    reliability: float
    length: float  # voxels
    curve: Array  # [variable, bin]
    curve_std: Array
    curve_at: Array


def relations(places: Places, values: ArrayLike, std: ArrayLike | None) -> Relations:
    """Lines, correlations and curves of a map [voxel] with its noise ``std`` [voxel] at the good voxels of ``places``.

    Without ``std`` correlations without noise are nan.

    Raises
    ------
    MeasurementError
        If too few cells are there, or nothing is known of the places.
    """
    y = np.asarray(values, np.float64)
    names = tuple(places.variables)
    if not names:
        raise MeasurementError("nothing is known of where the voxels are")
    x = np.column_stack([places.variables[name] for name in names])
    variance = float(y.var())
    reliability = np.nan if std is None else 1.0 - float(np.mean(np.asarray(std, np.float64) ** 2)) / variance
    ranks = np.column_stack([rankdata(column) for column in x.T])
    alone = _Alone.of(places, x, y)
    ranked = _Alone.of(places, ranks, rankdata(y))
    told = _told_apart(x)
    together = _together(places, x[:, told], y)
    partial = _partial_correlations(x[:, told], y, reliability)
    lines = {
        "effect": alone.slope * alone.reach,
        "effect_std": alone.std * alone.reach,
        "freedom": alone.freedom,
        "correlation": alone.correlation,
        "correlation_std": alone.std * x.std(axis=0) / y.std(),
        "true_correlation": _noise_free(alone.correlation, reliability),
        "rank_correlation": ranked.correlation,
        "probability": holm(alone.probability),
        "rank_probability": holm(ranked.probability),
    }
    held = {
        "partial_effect": together.value[1:] * alone.reach[told],
        "partial_effect_std": together.std[1:] * alone.reach[told],
        "partial_correlation": partial[0],
        "partial_true": partial[1],
        "partial_rank": _partial_correlations(ranks[:, told], rankdata(y), 1.0)[0],
        "partial_probability": holm(_chance(together.value[1:], together.std[1:], together.freedom)),
    }
    curves = [_curve(places, places.variables[name], y, line) for name, line in zip(names, alone.lines, strict=True)]
    return Relations(
        names=names,
        span=np.percentile(x, (10, 90), axis=0).T,
        **lines,
        **{name: _filled(one, told, len(names)) for name, one in held.items()},
        partial_freedom=together.freedom,
        reliability=reliability,
        length=together.length * places.edge,
        curve=np.array([one[1] for one in curves]),
        curve_std=np.array([one[2] for one in curves]),
        curve_at=np.array([one[0] for one in curves]),
    )


def of_particles(effect: Array, std: Array, freedom: Array) -> tuple[Array, Array, Array]:
    """Mean effect [variable] of particles [particle, variable], its uncertainty, and probability corrected by Holm.

    Several particles are a sample of all: their own differences count (`cathoscope.numerics.random_effects`). A single
    one speaks for itself alone.
    """
    found = np.full((3, effect.shape[1]), np.nan)
    for column in range(effect.shape[1]):
        known = np.isfinite(effect[:, column]) & np.isfinite(std[:, column])
        values, errors = effect[known, column], std[known, column]
        if values.size == 1:
            found[:, column] = values[0], errors[0], freedom[known, column][0]
        elif values.size > 1:
            one = population_of(values, errors)
            found[:, column] = one.mean, one.mean_std, values.size - 1.0
    return found[0], found[1], holm(_chance(found[0], found[1], found[2]))


@dataclass(frozen=True, eq=False)
class _Alone:
    """Lines through each variable alone."""

    lines: tuple[Line, ...]
    reach: Array
    correlation: Array

    @classmethod
    def of(cls, places: Places, x: Array, y: Array) -> _Alone:
        """Of y on every column of x."""
        of_cells = places.averaged(y)
        lines = tuple(_line(places, column[:, None], of_cells) for column in x.T)
        reach = np.ptp(np.percentile(x, (10, 90), axis=0), axis=0)
        return cls(lines, reach, np.array([np.corrcoef(column, y)[0, 1] for column in x.T]))

    @property
    def slope(self) -> Array:
        """Of every line."""
        return np.array([line.value[1] for line in self.lines])

    @property
    def std(self) -> Array:
        """Uncertainty of every slope."""
        return np.array([line.std[1] for line in self.lines])

    @property
    def freedom(self) -> Array:
        """Independent cells less two."""
        return np.array([line.freedom for line in self.lines])

    @property
    def probability(self) -> Array:
        """How often chance makes as steep a line."""
        return _chance(self.slope, self.std, self.freedom)


def _line(places: Places, x: Array, of_cells: Array) -> Line:
    columns = np.column_stack([np.ones(places.cells.count), *(places.averaged(column) for column in x.T)])
    return through_design(Design.of(places.cells, columns), of_cells)


def _together(places: Places, x: Array, y: Array) -> Line:
    return _line(places, x, places.averaged(y))


def _chance(value: Array, std: Array, freedom: ArrayLike) -> Array:
    return np.asarray(2.0 * stdtr(freedom, -np.abs(value) / std))


def _told_apart(x: Array) -> list[int]:
    """Variables, each of whose variance in a regression those before inflate less than tenfold (Marquardt's limit)."""
    kept: list[int] = []
    for column in range(x.shape[1]):
        tried = np.corrcoef(x[:, [*kept, column]].T).reshape(len(kept) + 1, -1)
        if not kept or (np.linalg.cond(tried) < 1e12 and np.linalg.inv(tried).diagonal().max() < _INFLATION):
            kept.append(column)
    return kept


def _partial_correlations(x: Array, y: Array, reliability: float) -> tuple[Array, Array]:
    """Of every column with y, the others held: as measured, and without the noise of y."""
    matrix = np.corrcoef(np.column_stack([y, x]).T)
    found = []
    for share in (1.0, reliability):
        if not share >= _LEAST_RELIABILITY:
            found.append(np.full(x.shape[1], np.nan))
            continue
        free = np.array(matrix, np.float64, ndmin=2)
        free[0, 1:] /= np.sqrt(share)
        free[1:, 0] /= np.sqrt(share)
        inverse = np.linalg.inv(free)
        sure = inverse[0, 0] > 0  # else more is explained than there is
        found.append(
            -inverse[0, 1:] / np.sqrt(inverse[0, 0] * inverse.diagonal()[1:]) if sure else np.full(x.shape[1], np.nan)
        )
    return found[0], found[1]


def _noise_free(correlation: Array, reliability: float) -> Array:
    """Correlation without the noise of one of the two; none where noise is nearly all there is."""
    if not reliability >= _LEAST_RELIABILITY:
        return np.full_like(correlation, np.nan)
    return np.asarray(np.clip(correlation / np.sqrt(reliability), -1.0, 1.0))


def _filled(values: Array, at: list[int], count: int) -> Array:
    full = np.full(count, np.nan)
    full[at] = values
    return full


def _curve(places: Places, x: Array, y: Array, line: Line) -> tuple[Array, Array, Array]:
    """Mean place, mean of the map and its standard uncertainty, in bins of equally many voxels."""
    limits = np.unique(np.quantile(x, np.linspace(0, 1, BINS + 1)))
    number = np.clip(np.searchsorted(limits, x, side="right") - 1, 0, max(limits.size - 2, 0))
    found = np.full((3, BINS), np.nan)
    for one in range(limits.size - 1):
        chosen = number == one
        within = chosen & (places.cell_of >= 0)
        if not within.any():
            continue
        share = np.bincount(places.cell_of[within], minlength=places.cells.count) / within.sum()
        variance = float(places.cells.quadratic(share) @ line.weights)
        found[:, one] = x[chosen].mean(), y[chosen].mean(), np.sqrt(variance)
    return found[0], found[1], found[2]
