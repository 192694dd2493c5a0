"""Distribution of the white-line energy over a particle: mean and spread, the noise removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cathoscope.xanes.heterogeneity import (
    MapOfRows,
    NoiseCorrelation,
    mean_noise_variance,
    noise_correlation,
    product_variance,
    squared_noise_trace,
    width_with_std,
)
from cathoscope.xanes.lags import lag_covariance, mean_variance
from cathoscope.xanes.rows import Array, Derived, covariance_in, laid_out, mean_in, mean_square_in, values_in


@dataclass(frozen=True)
class Systematic:
    """An error that all voxels of a map have in common.

    ``shared`` errors of the same name move every map that lists them the same way (one energy calibration for all
    temperatures) and cancel in a difference; the others are drawn anew for every map (drift between calibrations).
    """

    name: str
    std: float
    shared: bool = True


@dataclass(frozen=True)
class Distribution:
    """Mean and spread of a quantity over a particle, in the unit of the map (eV).

    ``*_std`` is the uncertainty for the very particle measured, whose voxels are all there: noise alone.
    ``*_material_std`` is for the material of which this particle is one sample: it adds that a particle holds few
    independent domains. Below about 30 of them it is too small itself (by a third with 13).

    Attributes
    ----------
    count
        Voxels.
    mean, mean_std, mean_material_std
        Plain mean; statistical uncertainties, without ``systematic``.
    systematic
        Errors common to all voxels.
    observed_width
        Standard deviation of the values as measured, noise included.
    variance, variance_std
        Of the true values in this particle; from the halves where there are any, else from the stated noise. May be
        below zero.
    variance_material, variance_material_std
        Of the true values in the material: more by the variance of a particle's mean.
    variance_from_noise, variance_from_noise_std
        Observed variance minus mean squared uncertainty.
    discrepancy
        Difference of the two variances in units of its uncertainty; NaN without halves. Beyond 3 the
        stated uncertainties are wrong.
    noise_scale
        Actual noise (from the halves) over stated uncertainty; 1 without halves.
    halves_difference
        Difference of the halves' means in units of its uncertainty; NaN without halves.
    independent_noise, independent_values, independent
        Effective number of voxels for the noise, for the true values (NaN if these have no spread or there are no
        halves), and for the values as measured.
    """

    count: int
    mean: float
    mean_std: float
    mean_material_std: float
    systematic: tuple[Systematic, ...]
    observed_width: float
    variance: float
    variance_std: float
    variance_material: float
    variance_material_std: float
    variance_from_noise: float
    variance_from_noise_std: float
    discrepancy: float
    noise_scale: float
    halves_difference: float
    independent_noise: float
    independent_values: float
    independent: float

    @property
    def width(self) -> float:
        """Standard deviation of the true values, not below zero."""
        return float(np.sqrt(max(self.variance, 0.0)))

    @property
    def width_std(self) -> float:
        """Longer of the two ways to the width one standard uncertainty of the variance away."""
        return width_with_std(self.variance, self.variance_std)[1]

    @property
    def systematic_std(self) -> float:
        """Common errors of the mean in quadrature."""
        return float(np.sqrt(sum(term.std**2 for term in self.systematic)))

    @property
    def mean_total_std(self) -> float:
        """Noise and common errors of this particle's mean together."""
        return float(np.hypot(self.mean_std, self.systematic_std))


def distribution_of_map(
    measured: MapOfRows, *, systematic: Sequence[Systematic] = (), noise: NoiseCorrelation | None = None
) -> Distribution:
    """Mean and noise-free spread of a map with uncertainties that know how many voxels are independent.

    True variance: the covariance of the two half-set maps, in which noise has no part on average. With C the
    covariance of the noise of the whole map, m its deviation from the mean and n the number of voxels, noise gives this
    covariance the variance ``4 m' C m / n^2`` (halves alike: noise covariance 2 C each; the noise in m makes up exactly
    for the product of the two noises). Second estimate: observed variance minus mean squared uncertainty plus variance
    of the mean, of variance ``(4 m' C m - 2 tr C^2) / n^2``. Their difference holds noise only, of variance
    ``2 tr C^2 / n^2``.

    For the material, the variance of a mean is the sum of its lag covariances (``mean_variance``): of the covariance of
    the halves for the mean, and of the field ``(a - mean a)(b - mean b)`` for the variance, which assumes no normal
    distribution.

    Parameters
    ----------
    measured
        From ``measured_map``.
    systematic
        Errors common to all voxels, unit of the map.
    noise
        From ``noise_correlation``, which is called without it.

    Notes
    -----
    Voxels that fit badly but count as good have heavy tails, which enter the variance in full: flag them first.
    Where the halves' fits are biased by their noise, that bias is part of the mean and width.
    """
    noise = noise or noise_correlation(measured)
    good, count = measured.good, measured.count
    mean, observed = mean_in(measured.value, good), covariance_in(measured.value, measured.value, good)
    squared_std = mean_square_in(measured.std, good)
    of_mean = mean_noise_variance(measured, good, noise)
    of_product = product_variance(measured, good, noise)
    of_noise = 2.0 * squared_noise_trace(measured, noise) / count**2
    from_noise = observed - squared_std + of_mean
    from_noise_std = float(np.sqrt(max(of_product - of_noise, 0.5 * of_noise)))
    material = _material(measured, of_mean)
    noise_variance = noise.scale**2 * squared_std
    halved = measured.halves is not None
    variance = material.variance if halved else from_noise
    variance_std = float(np.sqrt(of_product)) if halved else from_noise_std
    return Distribution(
        count=count,
        mean=mean,
        mean_std=float(np.sqrt(of_mean)),
        mean_material_std=float(np.sqrt(material.of_mean)),
        systematic=tuple(systematic),
        observed_width=float(np.sqrt(observed)),
        variance=variance,
        variance_std=variance_std,
        variance_material=variance + material.of_values,
        variance_material_std=max(variance_std, float(np.sqrt(material.of_variance))),
        variance_from_noise=from_noise,
        variance_from_noise_std=from_noise_std,
        discrepancy=_pull(variance - from_noise, of_noise) if halved else np.nan,
        noise_scale=noise.scale,
        halves_difference=_pull(material.halves_difference, 4.0 * of_mean) if halved else np.nan,
        independent_noise=min(noise_variance / of_mean, float(count)) if of_mean > 0 else float(count),
        independent_values=material.independent,
        independent=min(observed / material.of_mean, float(count)) if material.of_mean > 0 else float(count),
    )


def _pull(difference: float, variance: float) -> float:
    """A difference in units of its uncertainty; NaN where that is zero."""
    return difference / float(np.sqrt(variance)) if variance > 0 else np.nan


@dataclass(frozen=True)
class _Material:
    of_mean: float
    of_values: float
    of_variance: float
    variance: float
    independent: float
    halves_difference: float


def _material(measured: MapOfRows, noise_of_mean: float) -> _Material:
    """Variances of mean and variance when domains, too, are drawn by chance; and the covariance of the halves."""
    good, count = measured.good, measured.count
    first, second = measured.halves or (measured.value, measured.value)
    of_values = mean_variance(lag_covariance(first=first, second=second, inside=good), count)[0]
    means = mean_in(first, good), mean_in(second, good)

    def product(rows: slice) -> Array:
        """Product of the deviations of the halves in some rows."""
        deviations = (values_in(half, good, rows) - mean for half, mean in zip((first, second), means, strict=True))
        return laid_out(np.multiply(*deviations), good[rows])

    products = Derived(product)
    of_variance = mean_variance(lag_covariance(first=products, second=products, inside=good), count)[0]
    variance = mean_in(products, good)
    halved = measured.halves is not None
    spread = halved and variance > 0 and of_values > 0
    return _Material(
        of_mean=of_values + (noise_of_mean if halved else 0.0),
        of_values=of_values if halved else max(of_values - noise_of_mean, 0.0),
        of_variance=of_variance,
        variance=variance,
        independent=min(variance / of_values, float(count)) if spread else np.nan,
        halves_difference=means[0] - means[1],
    )
