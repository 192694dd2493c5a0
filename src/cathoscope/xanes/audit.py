"""What a way of finding the white line does to spectra of these very shapes, energies and noise.

Every method is tried on simulated voxels whose truth is known: shapes measured in this study, moved continuously from
the lowest to the highest white line, with noise added. A fixed window that cannot follow the line shows here, and so
does an uncertainty that is too small, before anyone reads a histogram.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.whiteline import WhiteLineFit, WhiteLineOptions, fit_white_line, white_line_curve

Array = NDArray[np.float64]

_LARGEST_SLOPE_ERROR = 0.03
_LARGEST_FAILED_SHARE = 0.05
_LARGEST_PULL_WIDTH = 1.3
_SHORTEST_RANGE = 0.2  # eV of white lines, below which the energy scale cannot be audited


@dataclass(frozen=True)
class AuditOptions:
    """How much is simulated, and what to advise.

    ``states`` are evenly spaced white-line energies with ``spectra`` noisy spectra each. ``alternative`` is the method
    that warnings name. ``measures_maximum`` is False for methods that measure another energy, such as half the height
    of the edge: their mean distance from the maximum is no fault, and is taken off before errors are counted.
    """

    states: int = 12
    spectra: int = 300
    seed: int = 2026
    alternative: str = "compressed model"
    measures_maximum: bool = True


@dataclass(frozen=True)
class MixtureAudit:
    """What a method makes of a voxel that holds the two extreme shapes in equal parts; energies in eV.

    Attributes
    ----------
    maximum
        Of the noise-free mixture.
    halfway
        Mean of what the method reads on the two shapes alone.
    reading, reading_std
        Mean over noisy mixtures, and median of the stated uncertainties.
    failed_share
        Part of the mixtures that the method flags.
    misfit_ratio
        Median reduced chi squared over that of the unmixed states: well above 1, mixtures can be told from it.
    """

    maximum: float
    halfway: float
    reading: float
    reading_std: float
    failed_share: float
    misfit_ratio: float


@dataclass(frozen=True)
class AuditResult:
    """How a method did; energies in eV, errors are estimate minus truth and count good spectra only.

    Attributes
    ----------
    name
        Of the method.
    truth
        Maximum of the noise-free cubic spline of each state, [state].
    state_bias, state_spread, state_std
        Mean error, standard deviation of the estimates, and median stated uncertainty, [state]; NaN where all failed.
    offset
        Taken off all errors; 0 for methods that measure the maximum.
    bias, rmse
        Mean and root mean square of all errors.
    slope, slope_std
        Of estimate against truth by least squares: 1.14 stretches all differences by 14 %. NaN for a single state.
    bound
        Cramer-Rao bound, root mean square over the states.
    pull_mean, pull_width
        Mean and standard deviation of error over stated uncertainty; 0 and 1 if the uncertainty says all.
    failed_share
        Part of the spectra that the method flags.
    mixture
        Even mixture of the two extreme shapes.
    warnings
        Sentences for the report.
    """

    name: str
    truth: Array
    state_bias: Array
    state_spread: Array
    state_std: Array
    offset: float
    bias: float
    rmse: float
    slope: float
    slope_std: float
    bound: float
    pull_mean: float
    pull_width: float
    failed_share: float
    mixture: MixtureAudit
    warnings: tuple[str, ...]


def audit(
    *,
    name: str,
    method: Callable[[NDArray[np.float32]], WhiteLineFit],
    energy: ArrayLike,
    noise_std: ArrayLike,
    shapes: ArrayLike,
    options: AuditOptions | None = None,
) -> AuditResult:
    """Try a method on simulated spectra of these shapes, energies and noise.

    Parameters
    ----------
    name
        Of the method, for the sentences.
    method
        Takes spectra [spectrum, energy] float32 to a fit.
    energy
        Photon energies in eV, ascending, [energy].
    noise_std
        Standard deviation of the noise, [energy].
    shapes
        Representative spectra practically free of noise, such as means over voxels alike, [shape, energy], in any
        order. Neighbours in white-line energy are aligned at their maxima and blended, so that the white line moves
        evenly from the lowest to the highest (``states_from_shapes``).
    options
        Amount and seed of the simulation.

    Raises
    ------
    MeasurementError
        If shapes, energies and noise do not fit together, or no shape has a maximum.
    """
    options = options or AuditOptions()
    axis, noise = np.asarray(energy, dtype=np.float64), np.asarray(noise_std, dtype=np.float64)
    known = _sorted_shapes(axis, noise, np.asarray(shapes, dtype=np.float64))
    states = states_from_shapes(energy=axis, shapes=known, count=options.states)
    truth = np.array([spline_maximum(axis, state) for state in states])
    rng = np.random.default_rng(options.seed)
    noisy = [
        method((shape + noise * rng.normal(size=(options.spectra, axis.size))).astype(np.float32))
        for shape in (*states, 0.5 * (known[0] + known[-1]))
    ]
    mixture = _mixture(spline_maximum(axis, 0.5 * (known[0] + known[-1])), noisy)
    bound = cramer_rao_bound(spectra=states, energy=axis, noise_std=noise)
    result = _result(name, truth, noisy[:-1], bound, mixture, measures_maximum=options.measures_maximum)
    return replace(result, warnings=tuple(_warnings(result, options)))


def states_from_shapes(*, energy: Array, shapes: Array, count: int) -> Array:
    """``count`` noise-free spectra [state, energy] whose maximum moves evenly between those of the sorted shapes.

    A state at x between the maxima p_i <= x <= p_j of two neighbouring shapes is
    ``(1 - f) S_i(E - (x - p_i)) + f S_j(E + (p_j - x))``, f = (x - p_i) / (p_j - p_i), S cubic splines, held constant
    beyond the ends. Both have their maximum at x, so that their blend has, too. A single shape, or shapes of one
    white-line energy, make a single state.
    """
    peaks = np.array([spline_maximum(energy, shape) for shape in shapes])
    splines = [CubicSpline(energy, shape) for shape in shapes]

    def moved(index: int, by: float) -> Array:
        """A spectrum of the data moved by some eV."""
        spectrum: Array = splines[index](np.clip(energy - by, energy[0], energy[-1]))
        return spectrum

    if peaks[-1] - peaks[0] < 1e-3:
        return shapes[:1]
    states = []
    for x in np.linspace(peaks[0], peaks[-1], count):
        upper = int(np.clip(np.searchsorted(peaks, x), 1, peaks.size - 1))
        gap = peaks[upper] - peaks[upper - 1]
        share = (x - peaks[upper - 1]) / gap if gap > 0 else 0.0
        states.append((1 - share) * moved(upper - 1, x - peaks[upper - 1]) + share * moved(upper, x - peaks[upper]))
    return np.array(states)


def spline_maximum(energy: Array, spectrum: Array) -> float:
    """Energy of the highest maximum of the cubic spline through a spectrum, eV; NaN if it has none inside."""
    spline = CubicSpline(energy, spectrum)
    flat = np.asarray(spline.derivative().roots(extrapolate=False), dtype=np.float64)
    tops = flat[np.isfinite(flat) & (spline(flat, 2) < 0)]
    return float(tops[np.argmax(spline(tops))]) if tops.size else float("nan")


def cramer_rao_bound(*, spectra: ArrayLike, energy: ArrayLike, noise_std: ArrayLike) -> Array:
    """Least standard uncertainty of an unbiased estimate of the maximum of each noise-free spectrum, [spectrum], eV.

    For the edge + white-line model of ``fit_white_line`` fitted to the spectrum, all seven parameters p unknown:
    ``bound^2 = g' I^-1 g`` with ``I = sum_E (d mu/d p)(d mu/d p)' / noise^2`` and ``g = -(d mu'/d p) / mu''`` at the
    maximum, mu' the slope; derivatives numerical. A method that knows less than the model cannot reach it; one
    that knows more (the edge tied to the line, say) can fall below. NaN where the model does not fit.
    """
    axis, noise = np.asarray(energy, dtype=np.float64), np.asarray(noise_std, dtype=np.float64)
    fit = fit_white_line(spectra=spectra, energy=axis, noise_std=noise)
    bounds = np.full(fit.flag.size, np.nan)
    for index in np.flatnonzero(np.isfinite(fit.white_line_energy_std)):
        bounds[index] = _bound_of(fit.parameters[index], float(fit.white_line_energy[index]), axis, noise)
    return bounds


def _bound_of(parameters: Array, maximum: float, axis: Array, noise: Array) -> float:
    width = WhiteLineOptions().edge_width
    steps = np.array([*4 * [1e-3 * max(abs(parameters[2]), abs(parameters[3]))], 1e-3, 1e-3, 1e-3])
    varied = np.concatenate([parameters + np.diag(steps), parameters - np.diag(steps), parameters[np.newaxis]])
    jacobian = white_line_curve(varied[:7], axis, width) - white_line_curve(varied[7:14], axis, width)
    jacobian /= 2 * steps[:, np.newaxis] * noise
    # the curve counts its slope from the mean of the energies it is given; that of the five points is the maximum
    reach = 0.02
    near = white_line_curve(varied, maximum + reach * np.arange(-2.0, 3.0), width)
    slope = near @ np.array([1.0, -8.0, 0.0, 8.0, -1.0]) / (12 * reach)
    curvature = near[-1] @ np.array([-1.0, 16.0, -30.0, 16.0, -1.0]) / (12 * reach**2)
    gradient = -(slope[:7] - slope[7:14]) / (2 * steps) / curvature
    # with orthonormal columns the information needs no inverse of badly scaled numbers
    triangle = np.linalg.qr(jacobian.T)[1]
    if not np.all(np.abs(np.diag(triangle)) > 1e-12 * np.abs(triangle).max()):
        return float("nan")
    return float(np.linalg.norm(np.linalg.solve(triangle.T, gradient)))


def _sorted_shapes(axis: Array, noise: Array, shapes: Array) -> Array:
    """Shapes that have a maximum, by its energy."""
    if shapes.ndim != 2 or axis.ndim != 1 or shapes.shape[1] != axis.size or noise.shape != axis.shape:
        raise MeasurementError(
            "the shapes do not match the energies",
            expected=f"shapes [shape, {axis.size}] and noise [{axis.size}]",
            found=f"{shapes.shape} and {noise.shape}",
        )
    finite = shapes[np.isfinite(shapes).all(axis=1)]
    peaks = np.array([spline_maximum(axis, shape) for shape in finite])
    if not np.isfinite(peaks).any():
        raise MeasurementError(
            "no shape has a white line", expected="spectra with a maximum inside their energies", found=str(len(shapes))
        )
    return finite[np.argsort(peaks)[: int(np.isfinite(peaks).sum())]]


def _mixture(maximum: float, fits: list[WhiteLineFit]) -> MixtureAudit:
    """The last of ``fits`` is of mixtures, the first and the one before the last of the extreme shapes alone."""
    *pure, mixed = fits
    first, last = pure[0], pure[-1]
    return MixtureAudit(
        maximum=maximum,
        halfway=0.5 * (_mean(first.white_line_energy[first.good]) + _mean(last.white_line_energy[last.good])),
        reading=_mean(mixed.white_line_energy[mixed.good]),
        reading_std=_median(mixed.white_line_energy_std[mixed.good]),
        failed_share=float(np.mean(~mixed.good)),
        misfit_ratio=_median(mixed.reduced_chi2) / _median(np.concatenate([fit.reduced_chi2 for fit in pure])),
    )


def _result(
    name: str, truth: Array, fits: list[WhiteLineFit], bound: Array, mixture: MixtureAudit, *, measures_maximum: bool
) -> AuditResult:
    errors = [fit.white_line_energy[fit.good] - x for fit, x in zip(fits, truth, strict=True)]
    stds = [fit.white_line_energy_std[fit.good] for fit in fits]
    every = np.concatenate(errors)
    offset = 0.0 if measures_maximum else _mean(every)
    slope, slope_std = _line(np.repeat(truth, [error.size for error in errors]), every)
    pull = (every - offset) / np.concatenate(stds)
    return AuditResult(
        name=name,
        truth=truth,
        state_bias=np.array([_mean(error) - offset for error in errors]),
        state_spread=np.array([_spread(error) for error in errors]),
        state_std=np.array([_median(std) for std in stds]),
        offset=offset,
        bias=_mean(every - offset),
        rmse=float(np.sqrt(_mean((every - offset) ** 2))),
        slope=slope,
        slope_std=slope_std,
        bound=float(np.sqrt(_mean(bound[np.isfinite(bound)] ** 2))),
        pull_mean=_mean(pull),
        pull_width=_spread(pull),
        failed_share=1.0 - every.size / sum(fit.flag.size for fit in fits),
        mixture=mixture,
        warnings=(),
    )


def _line(truth: Array, errors: Array) -> tuple[float, float]:
    """Slope of estimate against truth and its standard uncertainty, from errors = estimate - truth."""
    if truth.size < 3 or np.ptp(truth) < _SHORTEST_RANGE:
        return float("nan"), float("nan")
    away = truth - truth.mean()
    square = float(away @ away)
    excess = float(away @ errors) / square
    rest = errors - errors.mean() - excess * away
    return 1.0 + excess, float(np.sqrt(rest @ rest / (truth.size - 2) / square))


def _mean(values: Array) -> float:
    return float(values.mean()) if values.size else float("nan")


def _median(values: Array) -> float:
    return float(np.median(values)) if values.size else float("nan")


def _spread(values: Array) -> float:
    return float(values.std(ddof=1)) if values.size > 1 else float("nan")


def _warnings(result: AuditResult, options: AuditOptions) -> Iterator[str]:
    method = f'"{result.name}"'
    other = "another method" if options.alternative == result.name else f'method = "{options.alternative}"'
    if result.failed_share > _LARGEST_FAILED_SHARE:
        yield (
            f"{method} finds no white line in {100 * result.failed_share:.0f} % of spectra simulated at this noise; "
            f"widen the window or use {other}"
        )
    if not np.isfinite(result.slope):
        yield (
            f"the white lines of these shapes differ by {np.ptp(result.truth):.2f} eV only, "
            f"which is too little to see whether {method} stretches the energy scale"
        )
    excess = result.slope - 1.0
    if abs(excess) > max(_LARGEST_SLOPE_ERROR, 2 * result.slope_std):
        verb, size = ("stretches", "large") if excess > 0 else ("compresses", "small")
        yield (
            f"{method} {verb} the energy scale by {100 * abs(excess):.0f} %: differences are too {size} by as much; "
            f"widen the window or use {other}"
        )
    yield from _bias_warnings(result, method, other)
    yield from _mixture_warnings(result, method)


def _bias_warnings(result: AuditResult, method: str, other: str) -> Iterator[str]:
    known = np.flatnonzero(np.isfinite(result.state_bias))
    if known.size:
        worst = known[np.argmax(np.abs(result.state_bias[known]))]
        bias, std = result.state_bias[worst], result.state_std[worst]
        if abs(bias) > std:
            yield (
                f"{method} is off by up to {bias:+.2f} eV, for white lines at {result.truth[worst]:.1f} eV, "
                f"more than the uncertainty of {std:.2f} eV of a single spectrum; use {other}"
            )
    if result.pull_width > _LARGEST_PULL_WIDTH:
        yield (
            f"the uncertainties of {method} are too small: errors scatter {result.pull_width:.1f} times as much, "
            f"because the shape of the spectra misleads it or because the noise is too large for it"
        )


def _mixture_warnings(result: AuditResult, method: str) -> Iterator[str]:
    mixture = result.mixture
    away = mixture.reading - mixture.halfway
    if abs(away) > mixture.reading_std:
        side = "above" if away > 0 else "below"
        yield (
            f"a voxel that holds the two extreme states half and half is read by {method} at {mixture.reading:.2f} eV, "
            f"{abs(away):.2f} eV {side} the middle of the two: no composition can be read from mixed voxels"
        )
    if mixture.failed_share > 0.5:
        yield f"{method} flags {100 * mixture.failed_share:.0f} % of even mixtures of the two extreme states"
