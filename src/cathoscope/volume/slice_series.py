r"""One slice after every cycle: porosity against cycle, with what a single section leaves unknown.

Every value has three errors, kept apart: of the measurement (independent from slice to slice), of sampling (one section
stands for a particle), and the systematic one of grey levels. Neighbouring slices are 19 nm apart and see nearly the
same cracks, so their sampling errors are almost the same: 46 slices are about as many independent ones as the particle
has crack spacings over their depth. Therefore the error is followed through everything that is computed by leaving out
one of 8 sectors of all slices at a time (jackknife):

    var(x) = (K - 1) / K sum_k (x_k - mean(x))²,        x_k from all sectors but k

A curve of `numerics.trend` (the family of the lowest AICc) is fitted with the scatter of the values about it; where it
reaches a level, the level has the sampling and systematic errors of the curve. Depth is not cycle: a slice deeper in
the particle is cut from a smaller circle, A = pi (R² - (h + d)²), which gives the height h of the first cut.

References
----------
.. [1] J. W. Tukey, Ann. Math. Stat. 29 (1958) 614 (jackknife).
.. [2] L. M. Cruz-Orive, J. Microsc. 160 (1990) 89 (sections along an axis are not independent).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.numerics.trend import FAMILIES, Interval, Trend, place_of_equal, points_of, trends
from cathoscope.volume.slices import SECTORS, Slice

Array = NDArray[np.float64]
Which = Literal["particle", "section"]
KINDS: tuple[Which, Which] = ("section", "particle")

_FEWEST = 4  # slices of a series
_TOLD_APART = 2.0  # standard deviations
_FLOOR = 1e-4  # porosity: no scatter is smaller
_DRAWN_ON = 0.1  # of the series: so far beyond its last cycle a level is looked for


@dataclass(frozen=True)
class SliceSeries:
    """Slices of one particle by rising cycle.

    Attributes
    ----------
    cycle, depth
        Number of cycles, and nominal depth below the first slice (um), [slice].
    section, particle
        Porosity of the sections, and of the particle from each, [slice].
    noise, systematic
        Uncertainties of the measurement, [kind, slice]; kinds as in `KINDS`.
    sampling
        Standard uncertainty of ``particle`` because one section is seen, [slice].
    left_out
        Both porosities from all sectors but one, [kind, sector, slice]; of the particle as far from their mean as
        ``sampling`` says, so that what is computed from them knows of few wide pores, too.
    covariance
        Of ``particle`` by sampling and measurement, without the systematic part, [slice, slice].
    area
        Of the sections, um², [slice].
    """

    cycle: Array
    depth: Array
    section: Array
    particle: Array
    noise: Array
    systematic: Array
    sampling: Array
    left_out: Array
    covariance: Array
    area: Array

    def values(self, which: Which) -> Array:
        """Porosities, [slice]."""
        return self.particle if which == "particle" else self.section

    def total(self, which: Which) -> Array:
        """Half of the 68 % interval of each value: measurement, sampling (of the particle) and systematic, [slice]."""
        kind = KINDS.index(which)
        sampling = self.sampling if which == "particle" else 0.0
        return np.asarray(np.sqrt(self.noise[kind] ** 2 + sampling**2 + self.systematic[kind] ** 2))

    def depth_correlation(self) -> tuple[Array, Array]:
        """Separations in depth (um) and the mean correlation of the sampling errors of slices so far apart."""
        deviation = self.left_out[1] - self.left_out[1].mean(axis=0)
        size = np.sqrt(np.sum(deviation**2, axis=0))
        relative = (deviation.T @ deviation) / np.maximum(size[:, None] * size, 1e-30)
        lags = range(self.cycle.size)
        apart = [float(np.mean(np.abs(self.depth[lag:] - self.depth[: self.depth.size - lag]))) for lag in lags]
        return np.array(apart), np.array([float(np.mean(np.diagonal(relative, lag))) for lag in lags])

    @property
    def independent_slices(self) -> float:
        """Number of slices that would say as much if they were independent: n² / sum of all correlations."""
        deviation = self.left_out[1] - self.left_out[1].mean(axis=0)
        size = np.sqrt(np.sum(deviation**2, axis=0))
        relative = (deviation.T @ deviation) / np.maximum(size[:, None] * size, 1e-30)
        return float(np.clip(self.cycle.size**2 / max(relative.sum(), 1e-9), 1.0, self.cycle.size))

    def cut_height(self) -> tuple[Estimate, Estimate]:
        """Height of the first cut beyond the middle of the particle, and the radius of the particle, um.

        From how the sections shrink, as those of a sphere: A / pi + d² = R² - h² - 2 h d, a straight line in d.
        """
        if np.ptp(self.depth) <= 0:
            raise MeasurementError(
                "all slices have the same depth", expected="slices at different depths", found=f"{self.depth[0]:g} um"
            )
        y, basis = self.area / np.pi + self.depth**2, np.stack([np.ones_like(self.depth), self.depth], axis=1)
        (level, slope), *_ = np.linalg.lstsq(basis, y, rcond=None)
        scatter = float(np.var(y - basis @ [level, slope], ddof=2)) if y.size > 2 else 0.0
        errors = np.sqrt(np.diag(np.linalg.inv(basis.T @ basis)) * scatter)
        height, radius = -0.5 * float(slope), float(np.sqrt(max(level + 0.25 * slope**2, 0.0)))
        return Estimate(height, 0.5 * float(errors[1])), Estimate(radius, 0.5 * float(errors[0]) / max(radius, 1e-9))


class SliceTable(NamedTuple):
    """Numbers of slices, in any order.

    Attributes
    ----------
    sums
        Pore and total by kind and sector, [slice, kind, sector, 2]; see `slices.Slice`.
    noise, systematic
        Uncertainties of the measurement, [kind, slice].
    rare
        Sampling error because wide pores are few, [slice].
    area
        Of the sections, um², [slice].
    """

    sums: Array
    noise: Array
    systematic: Array
    rare: Array
    area: Array


def table_of(slices: Sequence[Slice]) -> SliceTable:
    """The numbers of slices that a series is made from."""
    parts = [[one.section, one.particle] for one in slices]
    return SliceTable(
        np.stack([one.sums for one in slices]),
        np.array([[part.std for part in pair] for pair in parts]).T,
        np.array([[part.systematic for part in pair] for pair in parts]).T,
        np.array([one.rare for one in slices]),
        np.array([one.area.value for one in slices]),
    )


def slice_series(
    cycle: ArrayLike, slices: Sequence[Slice] | SliceTable, *, depth: ArrayLike | None = None
) -> SliceSeries:
    """The slices of one particle as a series over ``cycle`` [slice]; ``depth`` (um) is nominal, 0 if not known.

    Raises
    ------
    MeasurementError
        If there are fewer than 4, a cycle is there twice, or cycles and slices differ in number.
    """
    number = np.atleast_1d(np.asarray(cycle, dtype=np.float64))
    below = np.zeros(number.size) if depth is None else np.atleast_1d(np.asarray(depth, dtype=np.float64))
    _require_series(number, below, len(slices.rare) if isinstance(slices, SliceTable) else len(slices))
    table = slices if isinstance(slices, SliceTable) else table_of(slices)
    order = np.argsort(number)
    sums, noise = table.sums[order], table.noise[:, order]
    whole = sums.sum(axis=2)
    left = whole[:, :, None, :] - sums
    left_out = np.moveaxis(left[..., 0] / left[..., 1], 0, -1)
    deviation = left_out[1] - left_out[1].mean(axis=0)
    covariance = (SECTORS - 1) / SECTORS * deviation.T @ deviation
    by_sector = np.sqrt(np.diagonal(covariance))
    sampling = np.maximum(by_sector, table.rare[order])
    scale = sampling / np.maximum(by_sector, 1e-12)
    left_out[1] += deviation * (scale - 1.0)
    return SliceSeries(
        number[order],
        below[order] - below[order][0],
        whole[:, 0, 0] / whole[:, 0, 1],
        whole[:, 1, 0] / whole[:, 1, 1],
        noise,
        table.systematic[:, order],
        sampling,
        left_out,
        covariance * scale[:, None] * scale + np.diag(noise[1] ** 2),
        table.area[order],
    )


def _require_series(cycle: Array, depth: Array, count: int) -> None:
    values, times = np.unique(cycle, return_counts=True)
    if cycle.size != count or depth.size != count or count < _FEWEST or not np.isfinite([cycle, depth]).all():
        raise MeasurementError(
            "these slices make no series",
            expected=f"{_FEWEST} slices or more, each with its cycle and depth",
            found=f"{count} slices, {cycle.size} cycles, {depth.size} depths",
        )
    if times.max() > 1:
        raise MeasurementError(
            "a cycle is there twice",
            expected="one slice after every cycle",
            found=", ".join(f"cycle {value:g}: {n} slices" for value, n in zip(values, times, strict=True) if n > 1),
            cure="leave one of them out; several slices at one cycle are a stack",
        )


@dataclass(frozen=True)
class SliceCurve:
    """A curve through the porosities of one particle, or of several of a sample.

    Attributes
    ----------
    trend
        The fitted family; its own intervals know of scatter only.
    left_out
        The same family fitted without each of the sectors.
    series, which
        What was fitted.
    scatter
        Standard deviation of the values about the curve.
    """

    trend: Trend
    left_out: tuple[Trend, ...]
    series: tuple[SliceSeries, ...]
    which: Which
    scatter: float

    @property
    def family(self) -> str:
        """Name of the family."""
        return self.trend.family.name

    def at(self, cycle: float) -> Estimate:
        """Porosity after ``cycle`` cycles; measurement and sampling are statistical."""
        found = self.trend.at(cycle)
        fit = 0.5 * (found.high - found.low)
        sampling = self._sampling(np.array([float(cycle)]))[0] if self.which == "particle" else 0.0
        return Estimate(found.value, float(np.hypot(fit, sampling)), self._systematic(cycle))

    def curve(self, cycle: ArrayLike) -> tuple[Array, Array]:
        """Porosity and its total standard uncertainty at ``cycle``, [place]."""
        places = np.atleast_1d(np.asarray(cycle, dtype=np.float64))
        found = [self.at(float(place)) for place in places]
        return np.array([one.value for one in found]), np.array([one.total for one in found])

    def reaches(self, level: float | Estimate) -> Interval | None:
        """Cycle at which a porosity is reached, with its 68 % interval; None if it is not.

        It is looked for up to a tenth of the series beyond the last cycle, where the curve is drawn on. An end is
        infinite where the curve has not left the interval of the level there, and so is a cycle that lies beyond.
        """
        target = level if isinstance(level, Estimate) else Estimate(float(level))
        start, end = float(self.trend.points.x.min()), float(self.trend.points.x.max())
        within = start, end + _DRAWN_ON * (end - start)
        first = place_of_equal(self.trend, target, within=within)
        # a curve that its own noise keeps from the level may still be near enough for all that is not known of it
        place = first.value if first is not None and np.isfinite(first.value) else end
        own = self.at(place)
        sampling = self._sampling(np.array([place]))[0] if self.which == "particle" else 0.0
        wide = Estimate(target.value, float(np.hypot(target.std, sampling)), float(np.hypot(target.systematic, own[2])))
        return place_of_equal(self.trend, wide, within=within)

    def _sampling(self, cycle: Array) -> Array:
        """Standard uncertainty because sections are seen, [place]: by leaving out sectors, or by few wide pores."""
        curves = np.stack([one.curve(cycle) for one in self.left_out])
        count = len(curves)
        by_sector = np.sqrt((count - 1) / count * np.sum((curves - curves.mean(axis=0)) ** 2, axis=0))
        few = np.mean([np.interp(cycle, one.cycle, one.sampling) for one in self.series], axis=0)
        # sampling errors of neighbouring slices are the same: a fit does not average them out
        least = few / np.sqrt(len(self.series) * np.mean([one.independent_slices for one in self.series]))
        return np.asarray(np.maximum(by_sector, least))

    def _systematic(self, cycle: float) -> float:
        kind = KINDS.index(self.which)
        return float(np.mean([np.interp(cycle, one.cycle, one.systematic[kind]) for one in self.series]))


def fit_series(series: SliceSeries | Sequence[SliceSeries], which: Which = "particle") -> SliceCurve:
    """The curve of the lowest AICc through one particle, or through several of a sample.

    Raises
    ------
    MeasurementError
        If there are fewer than 4 different cycles.
    """
    several = (series,) if isinstance(series, SliceSeries) else tuple(series)
    cycle = np.concatenate([one.cycle for one in several])
    value = np.concatenate([one.values(which) for one in several])
    particle = np.repeat(np.arange(len(several)), [one.cycle.size for one in several])
    names = [str(n) for n in particle]
    scatter = max(_roughness(several, which), _FLOOR)
    best = trends(points_of(cycle, value, scatter, names))[0]
    # what is left about the best curve is the scatter that its interval has to know of
    left = value - best.curve(cycle)
    freedom = max(value.size - 3 - len(best.family.axes), 1)
    scatter = max(scatter, float(np.sqrt(np.sum(left**2) / freedom)) if len(several) == 1 else scatter)
    again = trends(points_of(cycle, value, scatter, names))[0]
    family = next(one for one in FAMILIES if one.name == again.family.name)
    kind = KINDS.index(which)
    left_out = tuple(
        trends(points_of(cycle, np.concatenate([one.left_out[kind, k] for one in several]), scatter, names), (family,))[
            0
        ]
        for k in range(SECTORS)
    )
    return SliceCurve(again, left_out, several, which, scatter)


def _roughness(series: Sequence[SliceSeries], which: Which) -> float:
    """Scatter from slice to slice: second differences, which a smooth curve hardly has."""
    squares = [
        np.mean((one.values(which)[1:-1] - 0.5 * (one.values(which)[2:] + one.values(which)[:-2])) ** 2) / 1.5
        for one in series
    ]
    return float(np.sqrt(np.mean(squares)))


class Comparison(NamedTuple):
    """Two samples after the same number of cycles.

    ``difference`` is the first's porosity minus the second's; ``apart`` says whether it is more than two standard
    uncertainties; ``equal`` is the cycle at which the second reaches what the first has at ``cycle``, None if never.
    """

    cycle: float
    difference: Estimate
    apart: bool
    equal: Interval | None


def compare_curves(first: SliceCurve, second: SliceCurve, cycle: float) -> Comparison:
    """The difference of two samples after ``cycle`` cycles; systematic parts are taken as independent, the worse case.

    Raises
    ------
    MeasurementError
        If one of them was not followed that far.
    """
    for curve in (first, second):
        low, high = float(curve.trend.points.x.min()), float(curve.trend.points.x.max())
        if not low <= cycle <= high:
            raise MeasurementError(
                "a sample was not followed to this cycle", expected=f"{low:g} to {high:g}", found=f"{cycle:g}"
            )
    one, other = first.at(cycle), second.at(cycle)
    difference = Estimate(
        one.value - other.value,
        float(np.hypot(one.std, other.std)),
        float(np.hypot(one.systematic, other.systematic)),
    )
    return Comparison(
        float(cycle), difference, abs(difference.value) > _TOLD_APART * difference.total, second.reaches(one)
    )
