"""State of charge or valence of every voxel from its white-line energy, and groups of voxels of like state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.density import Binned, binned_map
from cathoscope.xanes.heterogeneity import MapOfRows, MeasuredMap
from cathoscope.xanes.state import ValenceLine

Array = NDArray[np.float64]

_LEAST_SLOPE_SIGNIFICANCE = 5.0
"""Below this, first-order propagation through a division by the slope no longer holds."""
_SIGNIFICANTLY_OUTSIDE = 3.0
_MOST_ITERATIONS = 500


@dataclass(frozen=True)
class StateScale:
    """Energy as a straight line of the state: ``energy = zero + slope * state``.

    Attributes
    ----------
    quantity
        ``valence`` or ``state_of_charge`` (0 discharged, 1 charged).
    zero, slope
        eV, and eV per unit of the state.
    covariance
        Of zero and slope, ``[2, 2]``, eV^2: an error common to all voxels.
    scatter
        How far single materials lie off the line, eV: common to all voxels of one material.
    limits
        Least and greatest state that has a meaning.
    """

    quantity: str
    zero: float
    slope: float
    covariance: Array
    scatter: float
    limits: tuple[float, float]


def scale_from_standards(line: ValenceLine) -> StateScale:
    """Valence scale from the line through standards; its limits are the standards' lowest and highest valence.

    The standards' energies must be of one definition with the map's (the white-line maximum).

    Raises
    ------
    MeasurementError
        If the slope is below five times its uncertainty.
    """
    return _checked(
        StateScale("valence", line.intercept, line.slope, line.covariance, line.scatter, line.valence_range)
    )


def scale_from_end_points(
    *, discharged: float, charged: float, discharged_std: float, charged_std: float, covariance: float = 0.0
) -> StateScale:
    """State of charge from the energies at 0 and at 1 (100 %).

    Parameters
    ----------
    discharged, charged
        White-line energy of the fully discharged and the fully charged material, eV.
    discharged_std, charged_std
        Their standard uncertainties, eV.
    covariance
        Of the two, eV^2; the squared calibration error if both come from one calibrated scan.

    Raises
    ------
    MeasurementError
        If the distance of the two is below five times its uncertainty, or an uncertainty is negative.
    """
    if discharged_std < 0 or charged_std < 0 or abs(covariance) > discharged_std * charged_std:
        raise MeasurementError(
            "the uncertainties of the end points are no covariance",
            expected="stds not below zero, and a covariance not beyond their product",
            found=f"{discharged_std:g}, {charged_std:g} eV and {covariance:g} eV^2",
        )
    at_zero = discharged_std**2
    matrix = np.array(
        [[at_zero, covariance - at_zero], [covariance - at_zero, at_zero + charged_std**2 - 2.0 * covariance]]
    )
    return _checked(StateScale("state_of_charge", discharged, charged - discharged, matrix, 0.0, (0.0, 1.0)))


def _checked(scale: StateScale) -> StateScale:
    std = float(np.sqrt(scale.covariance[1, 1]))
    if not abs(scale.slope) > _LEAST_SLOPE_SIGNIFICANCE * std:
        raise MeasurementError(
            f"the energy hardly depends on the {scale.quantity.replace('_', ' ')}",
            expected=f"a slope above {_LEAST_SLOPE_SIGNIFICANCE:g} times its uncertainty",
            found=f"{scale.slope:.3g} eV with an uncertainty of {std:.2g}",
            cure="use standards farther apart or better known",
        )
    return scale


def _scale_std(scale: StateScale, state: Array) -> Array:
    """What the line's error makes of a state: ``sqrt(var(zero) + 2 s cov + s^2 var(slope) + scatter^2) / |slope|``."""
    (zero, both), (_, slope) = scale.covariance
    variance = zero + 2.0 * state * both + state**2 * slope + scale.scatter**2
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)) / abs(scale.slope))


@dataclass(frozen=True)
class Outside:
    """Voxels whose state lies beyond the limits of its scale.

    ``below`` and ``above`` count all, ``significantly_below`` and ``significantly_above`` those beyond by more than
    three times their whole uncertainty, which noise and calibration do not explain.
    """

    below: int
    above: int
    significantly_below: int
    significantly_above: int
    count: int

    @property
    def remark(self) -> str | None:
        """A sentence for the report; None if all voxels lie inside."""
        outside, significant = self.below + self.above, self.significantly_below + self.significantly_above
        if not outside:
            return None
        return (
            f"{self.below} voxels lie below and {self.above} above the limits of the scale "
            f"({100 * outside / self.count:.2g} % of {self.count}); {significant} of them significantly."
        )


@dataclass(frozen=True)
class StateMap:
    """State of every voxel, NaN where the map does not count.

    Attributes
    ----------
    quantity
        ``valence`` or ``state_of_charge``.
    value
        The state; cut at the limits only if asked for, ``outside`` is counted before.
    statistical_std
        From the voxel's own noise.
    systematic_std
        From the scale and the calibration of the map's energies: moves all voxels together.
    outside
        How many voxels lie beyond the limits.
    clipped
        Whether values were cut at the limits.
    """

    quantity: str
    value: Array
    statistical_std: Array
    systematic_std: Array
    outside: Outside
    clipped: bool

    @property
    def std(self) -> Array:
        """Statistical and systematic uncertainty in quadrature."""
        return np.asarray(np.hypot(self.statistical_std, self.systematic_std))


def state_of_map(
    measured: MeasuredMap, scale: StateScale, *, calibration_std: float = 0.0, clip: bool = False
) -> StateMap:
    """State ``(energy - zero) / slope`` of every voxel.

    Parameters
    ----------
    measured
        White-line energy, eV.
    scale
        From standards or end points.
    calibration_std
        Error of the map's energies against those of the scale, common to all voxels, eV; 0 if one calibration served
        both.
    clip
        Cut values at the limits of the scale. The mean and width of a cut map are biased: take them before.
    """
    state = np.where(measured.good, (measured.value - scale.zero) / scale.slope, np.nan)
    statistical = np.where(measured.good, measured.std / abs(scale.slope), np.nan)
    systematic = np.hypot(_scale_std(scale, state), calibration_std / abs(scale.slope))
    low, high = scale.limits
    reach = _SIGNIFICANTLY_OUTSIDE * np.hypot(statistical, systematic)
    outside = Outside(
        below=int(np.sum(state < low)),
        above=int(np.sum(state > high)),
        significantly_below=int(np.sum(state + reach < low)),
        significantly_above=int(np.sum(state - reach > high)),
        count=measured.count,
    )
    value = np.clip(state, low, high) if clip else state
    return StateMap(scale.quantity, value, statistical, systematic, outside, clip)


@dataclass(frozen=True)
class Clusters:
    """Groups of voxels of like value, lowest first.

    Attributes
    ----------
    share, share_std, mean, mean_std, width, width_std
        Of each group, ``[group]``; widths are those of the true values, noise removed. Uncertainties from the Fisher
        information of the independent voxels.
    information
        Bayesian information criterion for 1, 2, ... groups; the lowest decides.
    """

    share: Array
    share_std: Array
    mean: Array
    mean_std: Array
    width: Array
    width_std: Array
    information: Array


def clusters_of_map(measured: MapOfRows, *, independent: float, noise_scale: float = 1.0, most: int = 5) -> Clusters:
    """Groups of voxels by a mixture of normal distributions, each voxel blurred by its own known noise.

    ``p(x_i) = sum_k share_k N(x_i; mean_k, width_k^2 + std_i^2)``, by expectation maximisation [1]_ on values counted
    in bins. The number of groups minimises ``-2 ln L + (3 k - 1) ln n`` with n the independent voxels and ln L the
    mean log likelihood times n: correlated voxels would otherwise make every bump a group.

    Parameters
    ----------
    measured
        From ``measured_map``.
    independent, noise_scale
        As ``Distribution`` has them.
    most
        Largest number of groups tried.

    Notes
    -----
    A skew distribution also needs two normal ones. Groups tell of phases only where they are apart by more than their
    widths.

    References
    ----------
    .. [1] J. Bovy, D. W. Hogg, S. T. Roweis, Ann. Appl. Stat. 5 (2011) 1657, in one dimension.
    """
    cells = _cells(binned_map(measured, scale=noise_scale))
    fits = [_mixture(cells, count) for count in range(1, most + 1)]
    information = np.array(
        [-2 * independent * fit.log_likelihood + (3 * fit.mean.size - 1) * np.log(independent) for fit in fits]
    )
    best = fits[int(np.argmin(information))]
    errors = _mixture_std(cells, best, independent)
    width = np.sqrt(best.variance)
    upper = np.sqrt(best.variance + errors[2])
    lower = np.sqrt(np.maximum(best.variance - errors[2], 0.0))
    width_std = np.maximum(upper - width, width - lower)
    return Clusters(best.share, errors[0], best.mean, errors[1], width, width_std, information)


@dataclass(frozen=True)
class _Cells:
    """Values in bins with the noise variance of their class, and the share of voxels, ``[cell]``."""

    value: Array
    noise: Array
    weight: Array


@dataclass(frozen=True)
class _Mixture:
    share: Array
    mean: Array
    variance: Array
    log_likelihood: float = -np.inf


def _cells(binned: Binned) -> _Cells:
    counts = binned.counts
    value = np.broadcast_to(binned.middle, counts.shape)
    bin_variance = (binned.middle[1] - binned.middle[0]) ** 2 / 12
    noise = np.broadcast_to((binned.std**2 + bin_variance)[:, np.newaxis], counts.shape)
    filled = counts > 0
    return _Cells(value[filled], noise[filled], counts[filled] / counts.sum())


def _membership(mixture: _Mixture, value: Array, noise: Array) -> tuple[Array, Array]:
    """Probability of each group, ``[group, value]``, and log likelihood, ``[value]``."""
    variance = mixture.variance[:, np.newaxis] + noise
    distance = (value - mixture.mean[:, np.newaxis]) ** 2 / variance
    log = np.log(np.maximum(mixture.share, 1e-300))[:, np.newaxis] - 0.5 * (distance + np.log(2 * np.pi * variance))
    highest = log.max(axis=0)
    relative = np.exp(log - highest)
    total = relative.sum(axis=0)
    return relative / total, highest + np.log(total)


def _mixture(cells: _Cells, count: int) -> _Mixture:
    """Most likely mixture of a number of groups, from groups of equal share along the values."""
    order = np.argsort(cells.value, kind="stable")
    part = np.empty(order.size, dtype=np.intp)
    part[order] = np.minimum(np.cumsum(cells.weight[order]) * count, count - 1e-9).astype(np.intp)
    member = (part == np.arange(count)[:, np.newaxis]) * cells.weight
    share = np.maximum(member.sum(axis=1), 1e-12)
    mean = member @ cells.value / share
    spread = np.sum(member * (cells.value - mean[:, np.newaxis]) ** 2, axis=1) / share
    mixture = _Mixture(share / share.sum(), mean, spread)
    for _ in range(_MOST_ITERATIONS):
        membership, log = _membership(mixture, cells.value, cells.noise)
        likelihood = float(log @ cells.weight)
        gained = likelihood - mixture.log_likelihood
        mixture = _maximised(mixture, cells, membership * cells.weight, likelihood)
        if gained < 1e-8:
            break
    sort = np.argsort(mixture.mean)
    return _Mixture(mixture.share[sort], mixture.mean[sort], mixture.variance[sort], mixture.log_likelihood)


def _maximised(mixture: _Mixture, cells: _Cells, member: Array, likelihood: float) -> _Mixture:
    """Next shares, means and variances from the expected true values of the members."""
    variance = mixture.variance[:, np.newaxis]
    known = variance / (variance + cells.noise)
    expected = mixture.mean[:, np.newaxis] + known * (cells.value - mixture.mean[:, np.newaxis])
    share = np.maximum(member.sum(axis=1), 1e-12)
    mean = np.sum(member * expected, axis=1) / share
    square = (expected - mean[:, np.newaxis]) ** 2 + known * cells.noise
    return _Mixture(share / share.sum(), mean, np.sum(member * square, axis=1) / share, likelihood)


def _mixture_std(cells: _Cells, mixture: _Mixture, independent: float) -> Array:
    """Standard uncertainties of share, mean and variance, ``[3, group]``, from the mean outer product of scores."""
    member = _membership(mixture, cells.value, cells.noise)[0]
    total = mixture.variance[:, np.newaxis] + cells.noise
    deviation = cells.value - mixture.mean[:, np.newaxis]
    of_share = member / np.maximum(mixture.share, 1e-12)[:, np.newaxis]
    of_variance = 0.5 * member * (deviation**2 / total**2 - 1.0 / total)
    scores = np.concatenate([of_share[:-1] - of_share[-1], member * deviation / total, of_variance])
    covariance = np.linalg.pinv(independent * (scores * cells.weight) @ scores.T)
    count = mixture.mean.size
    # the last share is one minus the others
    shares = covariance[: count - 1, : count - 1]
    variance = np.diag(covariance)
    last = float(shares.sum()) if count > 1 else 0.0
    stds = np.sqrt(np.concatenate([variance[: count - 1], [max(last, 0.0)], variance[count - 1 :]]))
    return np.asarray(stds.reshape(3, count))
