"""Rigid and similarity registration of two volumes of one particle, with covariance.

The convention of every map here: the material that the fixed volume shows at the voxel r lies in the moving volume at

    y(r) = c + t + s R (r - c),    fixed(r) = gain moving(y(r)) + offset,

with r, c, t in voxels in the order (z, y, x), c = (n - 1) / 2 the middle of the volume, t the shift, s the scale and R
a right-handed turn: the rotation vector (deg) has its components about z, y, x in this order, and a positive one about
z turns x towards y. A particle that lay straight in the middle and is then placed by a turn and a shift has just that
turn and shift.

Both volumes are smoothed by a Gaussian, so that cubic interpolation of their noise loses nothing that depends on the
position between voxels. The sum of squares is minimised by Gauss-Newton steps with the mean of the gradients of both
volumes (Benhimane and Malis, IROS 2004), coarse to fine, with Huber's weights for places that have changed. The gain is
the ratio of standard deviations, since a regression of one noisy volume on the other is attenuated and pulls the scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.pyramid import (
    binned,
    centre_of_mass,
    lazy_pair,
    middle_of_level,
    particle_voxels,
    rows_of,
    smoothed_spline,
    with_rim,
)
from cathoscope.numerics.register_quality import (
    Fit,
    Volumes,
    covariance_of,
    displacement_std,
    raw_residual,
    smooth_figures,
)
from cathoscope.numerics.spline_pair import STILL, Pose, SplinePair
from cathoscope.numerics.transform import Similarity, rotation_vector_of, turn_matrix
from cathoscope.numerics.warp import Lazy

Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Model = Literal["rigid", "similarity"]

_SEARCH_EDGE = 48  # voxels; the turn is searched on a volume binned to at most this
_SEARCH_STEPS = 4


@dataclass(frozen=True)
class RegisterOptions:
    """How volumes are registered, and when a registration is not to be used.

    Attributes
    ----------
    smoothing
        Standard deviation (voxel) of the Gaussian applied at every level.
    huber
        Residuals beyond this many standard deviations lose weight.
    largest_turn, turn_step
        Turns about z (deg) tried at the start: up to the one, by steps of the other.
    minimum_correlation, minimum_overlap
        Least correlation, and least share of the mask that lies in the moving volume.
    largest_rotation_std
        Largest standard uncertainty of the turn about any axis, deg: a round particle without structure has none.
    tolerance, iterations
        Gauss-Newton ends when no voxel moves by more than ``tolerance`` voxels, at the latest after ``iterations``.
    """

    smoothing: float = 1.0
    huber: float = 2.0
    largest_turn: float = 10.0
    turn_step: float = 2.5
    minimum_correlation: float = 0.5
    minimum_overlap: float = 0.8
    largest_rotation_std: float = 3.0
    tolerance: float = 3e-3
    iterations: int = 40


@dataclass(frozen=True)
class Registration(Similarity):
    """A `Similarity` as it was measured.

    Attributes
    ----------
    model
        What was free.
    covariance
        Of the shift (z, y, x; voxel), of a small further turn about (z, y, x; deg) and, for a similarity, of the
        scale: [6, 6] or [7, 7].
    displacement_std
        Standard uncertainty along (z, y, x) in voxels of where the material lies, rms over the particle.
    gain, offset
        fixed = gain moving + offset.
    correlation_before, correlation
        Normalised correlation of the smoothed volumes over the mask, as they lie and registered.
    inner_correlation
        The same more than 3 voxels below the surface: low for a particle without structure, or for another particle.
    residual_rms, residual_over_noise
        Root mean square of what is left of the unsmoothed volumes, and that over the stated noise (nan without).
    misfit, independent_voxels
        Weighted mean square of what is left of the smoothed volumes, and how many of these are independent.
    overlap
        Share of the mask that lies in the moving volume.
    reason
        Why the registration must not be used, or None.
    """

    model: Model
    covariance: Float64Array
    displacement_std: Float64Array
    gain: float
    offset: float
    correlation_before: float
    correlation: float
    inner_correlation: float
    residual_rms: float
    residual_over_noise: float
    misfit: float
    independent_voxels: float
    overlap: float
    reason: str | None


def register(
    fixed: ArrayLike | Lazy,
    moving: ArrayLike | Lazy,
    *,
    mask: BoolArray | None = None,
    noise: tuple[float, float] | None = None,
    model: Model = "rigid",
    options: RegisterOptions | None = None,
) -> Registration:
    """Find where the material of ``fixed`` lies in ``moving``.

    Starts from the centres of mass and the best of some turns about z. The covariance is that of White's sandwich
    (Econometrica 48, 817, 1980): the curvature from the product of both volumes' gradients, which their noise does not
    inflate, and the scores of the unsmoothed residual summed over blocks of 1/8 of the particle, so that noise that is
    correlated and changes that are local count for what they are.

    At most three arrays of the size of a volume are held in single precision, and three masks.

    Parameters
    ----------
    fixed, moving
        ``[z, y, x]``, equal shapes, equal voxels; a quantity that the particle keeps, such as the edge jump. Arrays of
        the study on the disk are read a few rows at a time.
    mask
        Voxels of ``fixed`` that are compared; None for the particle (Otsu) and a rim around it.
    noise
        Standard deviations of the noise of a voxel of ``fixed`` and of ``moving``, only for ``residual_over_noise``.
    model
        ``rigid`` (6 parameters) or ``similarity`` (and a scale).

    Raises
    ------
    MeasurementError
        If the volumes have different or too small shapes, or too few voxels are left to compare. A registration that
        fails otherwise comes back with its ``reason``.
    """
    options = options or RegisterOptions()
    first, second = _checked(fixed, moving)
    particle = particle_voxels(first, options.smoothing)
    chosen = with_rim(particle) if mask is None else np.asarray(mask, dtype=np.bool_)
    if chosen.shape != particle.shape or not chosen.any():
        raise MeasurementError("the mask leaves nothing to register", expected=f"some voxels of {particle.shape}")
    pose, levels = _start(first, second, chosen, options)
    converged = False
    for pair in levels:
        fit = Fit(pose.at(pair.factor), 7 if model == "similarity" else 6)
        fit, converged = _gauss_newton(pair, fit, options, options.iterations)
        pose = fit.pose.at(1 / pair.factor)
    if not np.isfinite(fit.step):
        raise MeasurementError("the particle does not lie in the moving volume", cure="look at its edge jump")
    return _result(pair, fit, Volumes(first, second, particle, noise), options, converged)


def select_model(rigid: Registration, similarity: Registration) -> Registration:
    """The similarity if it lowers the misfit by more than its scale costs, else the rigid registration.

    Schwarz's criterion (Ann. Stat. 6, 461, 1978) with as many data as there are independent voxels.
    """
    if similarity.reason is not None or rigid.reason is not None:
        return rigid if rigid.reason is None else similarity
    count = min(rigid.independent_voxels, similarity.independent_voxels)
    gained = count * np.log(rigid.misfit / similarity.misfit)
    return similarity if gained > np.log(count) else rigid


# -- pyramid -------------------------------------------------------------------------------------


def _checked(fixed: ArrayLike | Lazy, moving: ArrayLike | Lazy) -> tuple[Lazy, Lazy]:
    first, second = lazy_pair(fixed, moving)
    shapes = tuple(first.shape), tuple(second.shape)
    if len(shapes[0]) != 3 or shapes[0] != shapes[1] or min(shapes[0]) < 8:
        raise MeasurementError(
            "these volumes cannot be registered",
            expected="two of equal shape [z, y, x] with at least 8 voxels along each edge",
            found=f"{shapes[0]} and {shapes[1]}",
        )
    return first, second


def _start(fixed: Lazy, moving: Lazy, mask: BoolArray, options: RegisterOptions) -> tuple[Pose, Iterator[SplinePair]]:
    """The pose after the search at the coarsest level, and the levels from there to the finest."""
    pyramid: list[tuple[Lazy, Lazy, BoolArray]] = [(fixed, moving, mask)]
    while max(pyramid[-1][0].shape) > _SEARCH_EDGE:
        first, second, chosen = pyramid[-1]
        pyramid.append((binned(first), binned(second), binned(chosen) > 0.25))
    factor = 1 << (len(pyramid) - 1)
    first, second, _ = pyramid[-1]
    middle = (np.array(mask.shape) - 1) / 2
    here, there = (centre_of_mass(rows_of(volume, slice(None)), options.smoothing) for volume in (first, second))
    coarse = _level(pyramid.pop(), factor, middle, options.smoothing)
    pose = _searched(coarse, here, there, options)

    def levels() -> Iterator[SplinePair]:
        """Volumes from coarse to fine; what is coarser is not kept."""
        yield coarse
        while pyramid:
            yield _level(pyramid.pop(), 1 << len(pyramid), middle, options.smoothing)

    return pose.at(1 / factor), levels()


def _level(volumes: tuple[Lazy, Lazy, BoolArray], factor: int, middle: Float64Array, smoothing: float) -> SplinePair:
    fixed, moving, mask = volumes
    splines = (smoothed_spline(volume, smoothing) for volume in (fixed, moving))
    return SplinePair(factor, middle_of_level(middle, factor), mask, *splines)


def _searched(pair: SplinePair, here: Float64Array, there: Float64Array, options: RegisterOptions) -> Pose:
    """The best of some turns about z after a few steps from each."""
    count = int(options.largest_turn / options.turn_step + 1e-9)
    found = []
    for angle in sorted(options.turn_step * np.arange(-count, count + 1), key=abs):
        turn = turn_matrix(np.array([angle, 0.0, 0.0]))
        shift = there - pair.centre - turn @ (here - pair.centre)
        fit, _ = _gauss_newton(pair, Fit(Pose(turn, shift), 6), options, _SEARCH_STEPS)
        found.append((pair.correlation(fit.pose), fit.pose))
    return max(found, key=lambda one: one[0])[1]


# -- Gauss-Newton --------------------------------------------------------------------------------


def _gauss_newton(pair: SplinePair, fit: Fit, options: RegisterOptions, steps: int) -> tuple[Fit, bool]:
    for _ in range(steps):
        fit = _improved(pair, fit, options)
        if fit.step < options.tolerance:
            return fit, True
    return fit, False


def _improved(pair: SplinePair, fit: Fit, options: RegisterOptions) -> Fit:
    """One step of the motion at the present gain, offset and weights, which are brought up to date before it."""
    grey = pair.matched(fit.pose, fit.grey, options.huber)
    if grey is None:
        return replace(fit, step=np.inf)
    fit = replace(fit, grey=grey)
    sums, score = pair.normal_equations(fit.pose, fit.law(options.huber), fit.free + 2)
    # gain and offset are solved by other equations; here they only share the curvature
    score[fit.free :] = 0.0
    delta = np.linalg.lstsq(sums[0], score, rcond=1e-10)[0][: fit.free]
    length = float(np.sqrt(np.sum(delta[:3] ** 2) + pair.reach**2 * np.sum(delta[3:] ** 2)))
    delta *= min(1.0, 2.0 / max(length, 1e-300))
    pose = Pose(
        turn_matrix(np.rad2deg(delta[3:6])) @ fit.pose.turn,
        fit.pose.shift + delta[:3],
        fit.pose.scale * float(np.exp(delta[6])) if fit.free == 7 else 1.0,
    )
    return replace(fit, pose=pose, step=length)


# -- figures of quality --------------------------------------------------------------------------


def _result(pair: SplinePair, fit: Fit, volumes: Volumes, options: RegisterOptions, converged: bool) -> Registration:
    smooth = smooth_figures(pair, fit, volumes, options.huber)
    raw, rms = raw_residual(pair, fit, volumes)
    covariance = covariance_of(pair, fit, raw, options.smoothing, options.huber)
    found = Registration(
        shift=fit.pose.shift,
        rotation_vector=rotation_vector_of(fit.pose.turn),
        scale=fit.pose.scale,
        centre=pair.centre,
        model="similarity" if fit.free == 7 else "rigid",
        covariance=covariance,
        displacement_std=displacement_std(covariance, pair.centre, fit.pose, volumes.particle),
        gain=fit.grey.gain,
        offset=fit.grey.offset,
        correlation_before=pair.correlation(STILL),
        correlation=smooth.correlation,
        inner_correlation=smooth.inner_correlation,
        residual_rms=rms,
        residual_over_noise=_over_noise(rms, fit.grey.gain, volumes.noise),
        misfit=smooth.misfit,
        independent_voxels=smooth.independent,
        overlap=smooth.overlap,
        reason=None,
    )
    return replace(found, reason=_reason(found, options, converged))


def _over_noise(rms: float, gain: float, noise: tuple[float, float] | None) -> float:
    return float("nan") if noise is None else rms / max(float(np.hypot(noise[0], gain * noise[1])), 1e-300)


def _reason(found: Registration, options: RegisterOptions, converged: bool) -> str | None:
    """Why a registration must not be used, or None."""
    if not found.overlap >= options.minimum_overlap:
        return f"only {100 * found.overlap:.0f} % of the particle and its rim lie in the moving volume"
    if not found.correlation >= options.minimum_correlation:
        return f"the volumes do not resemble each other: correlation {found.correlation:.2f}"
    worst = float(np.sqrt(np.diag(found.covariance)[3:6].max()))
    if not worst <= options.largest_rotation_std:
        return f"the turn is not determined: standard uncertainty {worst:.2g} deg"
    return None if converged else f"no convergence within {options.iterations} steps"
