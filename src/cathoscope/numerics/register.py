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
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter, minimum_filter

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.blocks import blocks_of, independent_count, share_within_blocks
from cathoscope.numerics.grey_comparison import Grey, correlation
from cathoscope.numerics.pyramid import (
    Level,
    binned,
    centre_of_mass,
    particle_voxels,
    sampled,
    smoothed_level,
    with_rim,
)
from cathoscope.numerics.register_kernels import accumulate, weighted_derivatives
from cathoscope.numerics.transform import Similarity, rotation_vector_of, turn_matrix
from cathoscope.numerics.warp import sample, spline_coefficients

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Model = Literal["rigid", "similarity"]

_SEARCH_EDGE = 48  # voxels; the turn is searched on a volume binned to at most this
_INNER = 3  # voxels below the surface from which on the inside is compared
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
    fixed: ArrayLike,
    moving: ArrayLike,
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

    Parameters
    ----------
    fixed, moving
        ``[z, y, x]``, equal shapes, equal voxels; a quantity that the particle keeps, such as the edge jump.
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
    if chosen.shape != first.shape or not chosen.any():
        raise MeasurementError("the mask leaves nothing to register", expected=f"some voxels of {first.shape}")
    pose, levels = _start(first, second, chosen, options)
    converged = False
    for level in levels:
        fit = _Fit(pose.at(level.factor), 7 if model == "similarity" else 6)
        fit, converged = _gauss_newton(level, fit, options, options.iterations)
        pose = fit.pose.at(1 / level.factor)
    if not np.isfinite(fit.step):
        raise MeasurementError("the particle does not lie in the moving volume", cure="look at its edge jump")
    return _result(level, fit, _Volumes(first, second, chosen, particle, noise), options, converged)


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


@dataclass(frozen=True)
class _Pose:
    """Turn matrix for (z, y, x), shift in voxels of some level, scale."""

    turn: Float64Array
    shift: Float64Array
    scale: float = 1.0

    def at(self, factor: float) -> _Pose:
        """The pose in voxels of a level that is coarser by ``factor``."""
        return replace(self, shift=self.shift / factor)


@dataclass(frozen=True)
class _Fit:
    """State of Gauss-Newton."""

    pose: _Pose
    free: int
    grey: Grey = field(default_factory=Grey)
    step: float = np.inf


@dataclass(frozen=True)
class _Volumes:
    fixed: Float32Array
    moving: Float32Array
    mask: BoolArray
    particle: BoolArray
    noise: tuple[float, float] | None


def _checked(fixed: ArrayLike, moving: ArrayLike) -> tuple[Float32Array, Float32Array]:
    first, second = (np.asarray(volume, dtype=np.float32) for volume in (fixed, moving))
    if first.ndim != 3 or first.shape != second.shape or min(first.shape) < 8:
        raise MeasurementError(
            "these volumes cannot be registered",
            expected="two of equal shape [z, y, x] with at least 8 voxels along each edge",
            found=f"{first.shape} and {second.shape}",
        )
    return np.nan_to_num(first, posinf=0, neginf=0), np.nan_to_num(second, posinf=0, neginf=0)


def _start(
    fixed: Float32Array, moving: Float32Array, mask: BoolArray, options: RegisterOptions
) -> tuple[_Pose, Iterator[Level]]:
    """The pose after the search at the coarsest level, and the levels from there to the finest."""
    pyramid = [(fixed, moving, mask)]
    while max(pyramid[-1][0].shape) > _SEARCH_EDGE:
        first, second, chosen = pyramid[-1]
        pyramid.append((binned(first), binned(second), binned(chosen.astype(np.float32)) > 0.25))
    factor = 1 << (len(pyramid) - 1)
    first, second, chosen = pyramid[-1]
    middle = (np.array(fixed.shape) - 1) / 2
    coarse = smoothed_level((first, second), chosen, factor, middle, options.smoothing)
    pose = _searched(
        coarse, centre_of_mass(first, options.smoothing), centre_of_mass(second, options.smoothing), options
    )

    def levels() -> Iterator[Level]:
        """Volumes from coarse to fine."""
        yield coarse
        for depth in range(len(pyramid) - 2, -1, -1):
            yield smoothed_level(pyramid[depth][:2], pyramid[depth][2], 1 << depth, middle, options.smoothing)

    return pose.at(1 / factor), levels()


def _searched(level: Level, here: Float64Array, there: Float64Array, options: RegisterOptions) -> _Pose:
    """The best of some turns about z after a few steps from each."""
    count = int(options.largest_turn / options.turn_step + 1e-9)
    found = []
    for angle in sorted(options.turn_step * np.arange(-count, count + 1), key=abs):
        turn = turn_matrix(np.array([angle, 0.0, 0.0]))
        shift = there - level.centre - turn @ (here - level.centre)
        fit, _ = _gauss_newton(level, _Fit(_Pose(turn, shift), 6), options, _SEARCH_STEPS)
        moved, _ = _moved(level, fit.pose)
        found.append((correlation(level.fixed, moved), fit.pose))
    return max(found, key=lambda pair: pair[0])[1]


# -- Gauss-Newton --------------------------------------------------------------------------------


def _gauss_newton(level: Level, fit: _Fit, options: RegisterOptions, steps: int) -> tuple[_Fit, bool]:
    for _ in range(steps):
        fit = _improved(level, fit, options)
        if fit.step < options.tolerance:
            return fit, True
    return fit, False


def _improved(level: Level, fit: _Fit, options: RegisterOptions) -> _Fit:
    """One step of the motion at the present gain, offset and weights, which are brought up to date before it."""
    moved, gradient = _moved(level, fit.pose)
    if np.isfinite(moved).sum() < 100:
        return replace(fit, step=np.inf)
    fit = replace(fit, grey=fit.grey.matched(level.fixed, moved, options.huber))
    size = fit.free + 2
    sums, score = np.zeros((2, size, size)), np.zeros(size)
    law = fit.grey.gain, fit.grey.offset, options.huber * fit.grey.spread
    accumulate(*_terms(level, fit, moved, gradient), law, sums, score)
    # gain and offset are solved by other equations; here they only share the curvature
    score[fit.free :] = 0.0
    delta = np.linalg.lstsq(sums[0], score, rcond=1e-10)[0][: fit.free]
    reach = float(np.abs(level.places - level.centre).max())
    length = float(np.sqrt(np.sum(delta[:3] ** 2) + reach**2 * np.sum(delta[3:] ** 2)))
    delta *= min(1.0, 2.0 / max(length, 1e-300))
    pose = _Pose(
        turn_matrix(np.rad2deg(delta[3:6])) @ fit.pose.turn,
        fit.pose.shift + delta[:3],
        fit.pose.scale * float(np.exp(delta[6])) if fit.free == 7 else 1.0,
    )
    return replace(fit, pose=pose, step=length)


def _terms(
    level: Level, fit: _Fit, moved: Float32Array, gradient: Float32Array
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Levers, gradients in the moving frame and values of both volumes, as `accumulate` takes them."""
    lever = ((level.places - level.centre) @ (fit.pose.scale * fit.pose.turn).T).astype(np.float32)
    # d fixed / d y takes the inverse transpose of the matrix, which is the turn over the scale
    pulled = level.fixed_gradient @ (fit.pose.turn.T / fit.pose.scale)
    gradients = np.stack([pulled, fit.grey.gain * gradient]).astype(np.float32)
    return lever, gradients, np.stack([level.fixed, moved])


def _moved(level: Level, pose: _Pose) -> tuple[Float32Array, Float32Array]:
    """The moving volume and its gradient where the masked voxels lie; NaN and zero outside it."""
    matrix = pose.scale * pose.turn
    return sampled(level.coefficients, level.places, matrix, level.centre + pose.shift - matrix @ level.centre)


# -- figures of quality --------------------------------------------------------------------------


def _result(level: Level, fit: _Fit, volumes: _Volumes, options: RegisterOptions, converged: bool) -> Registration:
    moved, gradient = _moved(level, fit.pose)
    inside = np.isfinite(moved)
    residual = fit.grey.residual(level.fixed, moved)
    weight = fit.grey.weights(residual, options.huber) * inside
    misfit = float(np.sum(weight * residual**2) / max(weight.sum(), 1e-300))
    raw = _raw_residual(level, fit, volumes)
    rms = float(np.sqrt(np.mean(raw[inside] ** 2))) if inside.any() else float("nan")
    covariance, independent = _covariance(level, fit, (moved, gradient), raw, options)
    inner = minimum_filter(volumes.particle.view(np.uint8), 2 * _INNER + 1, mode="constant")[volumes.mask] > 0
    still = sample(level.coefficients, level.places.astype(np.float64))
    found = Registration(
        shift=fit.pose.shift,
        rotation_vector=rotation_vector_of(fit.pose.turn),
        scale=fit.pose.scale,
        centre=level.centre,
        model="similarity" if fit.free == 7 else "rigid",
        covariance=covariance,
        displacement_std=_displacement_std(covariance, level, fit.pose, volumes),
        gain=fit.grey.gain,
        offset=fit.grey.offset,
        correlation_before=correlation(level.fixed, still),
        correlation=correlation(level.fixed, moved),
        inner_correlation=correlation(level.fixed[inner], moved[inner]),
        residual_rms=rms,
        residual_over_noise=_over_noise(rms, fit.grey.gain, volumes.noise),
        misfit=misfit,
        independent_voxels=independent,
        overlap=float(np.mean(inside)),
        reason=None,
    )
    return replace(found, reason=_reason(found, options, converged))


def _raw_residual(level: Level, fit: _Fit, volumes: _Volumes) -> Float64Array:
    """What is left of the unsmoothed volumes at every masked voxel; zero outside the moving volume."""
    raw, _ = _moved(replace(level, coefficients=spline_coefficients(volumes.moving)), fit.pose)
    return fit.grey.residual(volumes.fixed[volumes.mask], raw)


def _covariance(
    level: Level,
    fit: _Fit,
    at: tuple[Float32Array, Float32Array],
    raw: Float64Array,
    options: RegisterOptions,
) -> tuple[Float64Array, float]:
    """Covariance of shift (voxel), turn (deg) and scale, and how many smoothed residuals are independent.

    The score of the smoothed residual equals that of the raw residual with the smoothed derivatives; the products of
    these are summed over blocks, so that the smoothing itself needs no correction; what is correlated across the faces
    of the blocks does.
    """
    size = fit.free + 2
    sums, score = np.zeros((2, size, size)), np.zeros(size)
    terms = (*_terms(level, fit, *at), (fit.grey.gain, fit.grey.offset, options.huber * fit.grey.spread))
    accumulate(*terms, sums, score)
    columns = np.empty((size, len(raw)), np.float32)
    weighted_derivatives(*terms, columns)
    block, edges = blocks_of(level.places)
    places, shape = tuple(level.places.T), tuple((2 * level.centre + 1).astype(int))
    totals = np.empty((int(block.max()) + 1, size))
    for k in range(size):
        volume = np.zeros(shape, np.float32)
        volume[places] = columns[k]
        smooth = gaussian_filter(volume, options.smoothing, mode="nearest")[places]
        totals[:, k] = np.bincount(block, weights=smooth * raw)
    totals -= totals.mean(axis=0)
    few = len(totals) / max(len(totals) - size, 1)
    few /= share_within_blocks(raw, level.places, edges)
    inverse = _inverse(sums[1])
    covariance = (inverse @ (totals.T @ totals * few) @ inverse)[: fit.free, : fit.free]
    unit = np.ones(fit.free)
    unit[3:6] = np.rad2deg(1.0)
    unit[6:] = fit.pose.scale
    residual = fit.grey.residual(level.fixed, at[0])
    return covariance * np.outer(unit, unit), independent_count(residual, block)


def _inverse(matrix: Float64Array) -> Float64Array:
    """Inverse of a curvature; where that is not positive, the parameter is not determined and gets a large variance."""
    unit = np.sqrt(np.maximum(np.abs(np.diag(matrix)), 1e-300))
    value, vector = np.linalg.eigh(matrix / np.outer(unit, unit))
    return np.asarray((vector / np.maximum(value, 1e-4)) @ vector.T / np.outer(unit, unit))


def _displacement_std(covariance: Float64Array, level: Level, pose: _Pose, volumes: _Volumes) -> Float64Array:
    places = np.argwhere(volumes.particle)
    lever = (places[:: max(len(places) // 5000, 1)] - level.centre) @ (pose.scale * pose.turn).T
    z, y, x = lever.T
    nought = np.zeros_like(z)
    turns = np.deg2rad(np.array([[nought, x, -y], [-x, nought, z], [y, -z, nought]]))  # [axis, component, place]
    shifts = np.repeat(np.eye(3)[:, :, None], z.size, axis=2)
    design = np.concatenate([shifts, turns, lever.T[None] / pose.scale])[: len(covariance)]
    variance = np.einsum("kin,kl,lin->i", design, covariance, design) / z.size
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))


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
