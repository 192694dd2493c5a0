"""Smooth deformation between two volumes of one particle, on top of a rigid or similarity registration.

The material that the fixed volume shows at the voxel r lies in the moving volume at y(r) = T(r) + u(r): T is the
registration and u, in voxels, a cubic B-spline on a coarse lattice of control points (Rueckert et al., IEEE Trans. Med.
Imaging 18, 712, 1999). The lattice minimises

    sum w (fixed - gain moving(y) - offset)² / (2 spread² v) + sum (second differences of the control points)² / (2 b²)

with Huber's weights w, v the smoothed voxels that share one independent datum, and b the ``bending``: the standard
deviation, in voxels, that second differences of neighbouring control points are expected to have. All six second
differences are taken, mixed ones twice, so the sum is the bending energy of a thin plate and a linear deformation costs
nothing. Gauss-Newton steps, each solved by conjugate gradients, coarse to fine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import BSpline

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.bending import stiffness, stiffness_draw
from cathoscope.numerics.grey_comparison import Grey, correlation
from cathoscope.numerics.pyramid import (
    Level,
    binned,
    lazy_pair,
    particle_voxels,
    smoothed_level,
    spread_places,
    with_rim,
)
from cathoscope.numerics.transform import Similarity, rigid_part, rotation_vector_of
from cathoscope.numerics.warp import Lazy, sample

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_COARSEST_EDGE = 24  # voxels; no level is coarser
_LARGEST_STEP = 1.5  # voxels of the level, of one Gauss-Newton step
_LARGEST_DISPLACEMENT = 20.0  # voxels; expected at most, keeps control points far from the particle in place
_CHUNK = 1 << 18
_SEED = 5  # of the random numbers of the error estimate


@dataclass(frozen=True)
class DeformOptions:
    """How finely and how stiffly volumes are deformed.

    Attributes
    ----------
    spacing
        Of the control points, voxel; None for 1/8 of the longest edge.
    bending
        Expected second difference of neighbouring control points, voxel: larger is softer.
    smoothing
        Standard deviation (voxel) of the Gaussian applied at every level.
    huber
        Residuals beyond this many standard deviations lose weight.
    finest_voxels
        Levels with more voxels than this are left out: the deformation is much smoother than they are.
    steps, solver_steps
        Gauss-Newton steps at every level, and conjugate-gradient steps in each of these.
    tolerance
        Steps end when no material moves by more than this, voxel.
    draws
        Random deformations from which the uncertainty is estimated.
    minimum_correlation
        Below this the deformation gets a reason.
    """

    spacing: float | None = None
    bending: float = 0.5
    smoothing: float = 1.0
    huber: float = 2.0
    finest_voxels: float = 3e6
    steps: int = 8
    solver_steps: int = 20
    tolerance: float = 0.03
    draws: int = 4
    minimum_correlation: float = 0.5


@dataclass(frozen=True)
class Bent:
    """A similarity and a smooth displacement.

    Attributes
    ----------
    base
        The registration that is refined.
    control
        Displacement (z, y, x; voxel) at the control points, ``[axis, k, l, m]``; point k along an axis lies at the
        voxel (k - 1) ``spacing``.
    spacing
        Voxel.
    shape
        Of the fixed volume.
    """

    base: Similarity
    control: Float64Array
    spacing: float
    shape: tuple[int, int, int]

    def displacement(self, points: Float64Array) -> Float64Array:
        """Displacement beyond ``base`` (z, y, x; voxel) at positions (..., 3) of the fixed volume."""
        flat = np.clip(np.reshape(points, (-1, 3)), 0, np.array(self.shape) - 1.0) / self.spacing + 1.0
        control = [np.ascontiguousarray(part, dtype=np.float32) for part in self.control]
        found = np.empty(flat.shape)
        for start in range(0, len(flat), _CHUNK):
            part = slice(start, start + _CHUNK)
            for axis in range(3):
                found[part, axis] = sample(control[axis], flat[part])
        return found.reshape(np.shape(points))

    def to_moving(self, points: Float64Array) -> Float64Array:
        """Voxel positions (..., 3) of the moving volume for those of the fixed one."""
        return self.base.to_moving(points) + self.displacement(points)


@dataclass(frozen=True)
class Deformation(Bent):
    """A `Bent` map as it was measured.

    Attributes
    ----------
    rigid
        The similarity nearest to the whole map over the particle: where material that also moved within the particle
        would pull a registration without deformation, this is the better turn.
    rigid_std
        Standard uncertainty of the shift (z, y, x; voxel) and turn (z, y, x; deg) of ``rigid``, (6,).
    displacement_std
        The same of the place along (z, y, x), voxel, rms over the compared voxels: noise and what the
        stiffness leaves open. Motion too sudden for the control points, such as that of the wall of a collapsing core,
        and grey values that changed are not in it.
    correlation_before, correlation
        Of the smoothed volumes over the mask with ``base`` alone and deformed.
    misfit_before, misfit
        The weighted mean squares that belong to these.
    smallest_jacobian
        Least ratio of volumes, moving over fixed, of a bit of the particle; at or below zero it is folded.
    volume_ratio
        Its mean over the particle.
    reason
        Why the deformation must not be used, or None.
    """

    rigid: Similarity
    rigid_std: Float64Array
    displacement_std: Float64Array
    correlation_before: float
    correlation: float
    misfit_before: float
    misfit: float
    smallest_jacobian: float
    volume_ratio: float
    reason: str | None


def deform(
    fixed: ArrayLike | Lazy,
    moving: ArrayLike | Lazy,
    registration: Similarity,
    *,
    mask: BoolArray | None = None,
    options: DeformOptions | None = None,
) -> Deformation:
    """Refine a registration by a smooth displacement.

    The uncertainty is the spread of draws from the posterior of the linearised problem (perturb and optimise: Orieux,
    Feron and Giovannelli, IEEE Signal Process. Lett. 19, 83, 2012), with fixed random numbers.

    Parameters
    ----------
    fixed, moving
        ``[z, y, x]``, equal shapes; arrays of the study on the disk are read a few rows at a time.
    registration
        Where to start: a `Registration` or another similarity.
    mask
        Voxels of ``fixed`` that are compared; None for the particle and a rim around it.

    Raises
    ------
    MeasurementError
        If the volumes differ in shape, or the mask is empty.
    """
    options = options or DeformOptions()
    first, second = lazy_pair(fixed, moving)
    if len(first.shape) != 3 or first.shape != second.shape:
        raise MeasurementError("the volumes differ", expected="equal shapes", found=f"{first.shape}, {second.shape}")
    particle = particle_voxels(first, options.smoothing)
    chosen = with_rim(particle) if mask is None else np.asarray(mask, dtype=np.bool_)
    if chosen.shape != first.shape or not chosen.any():
        raise MeasurementError("the mask leaves nothing to deform", expected=f"some voxels of {first.shape}")
    spacing = float(options.spacing or max(first.shape) / 8)
    lattice = tuple(int(np.ceil((size - 1) / spacing)) + 3 for size in first.shape)
    state = _State(registration, np.zeros((3, *lattice)), Grey())
    for level in _levels(first, second, chosen, options):
        problem = _problem(level, first.shape, spacing, options)
        before = replace(state, control=np.zeros_like(state.control))
        state, step = _refined(problem, state, options)
    return _result(problem, before, state, (particle, step, spacing), options)


# -- the lattice ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _State:
    base: Similarity
    control: Float64Array
    grey: Grey


@dataclass(frozen=True)
class _Problem:
    """One level: its voxels within a box, and the B-splines of the lattice at the voxels of the box along each axis."""

    level: Level
    points: Float64Array
    inside: tuple[NDArray[np.int64], ...]
    box: tuple[int, int, int]
    basis: tuple[Float32Array, Float32Array, Float32Array]
    bending: float
    shared: float

    def expanded(self, control: NDArray[np.floating]) -> Float32Array:
        """Displacement ``[axis, z, y, x]`` in the box of control points ``[axis, k, l, m]``."""
        z, y, x = self.basis
        along = y @ (control.astype(np.float32) @ x.T)
        return np.asarray((z @ along.reshape(3, z.shape[1], -1)).reshape(3, *self.box))

    def gathered(self, field: Float32Array) -> Float64Array:
        """The transpose of `expanded`."""
        z, y, x = self.basis
        along = (z.T @ field.reshape(3, z.shape[0], -1)).reshape(3, z.shape[1], *self.box[1:])
        return np.asarray(y.T @ (along @ x), dtype=np.float64)

    def at_voxels(self, control: Float64Array) -> Float64Array:
        """Displacement (n, 3) of the masked voxels."""
        z, y, x = self.inside
        return np.asarray(self.expanded(control)[:, z, y, x].T, dtype=np.float64)


def _levels(fixed: Lazy, moving: Lazy, mask: BoolArray, options: DeformOptions) -> list[Level]:
    """Coarse to fine."""
    levels: list[Level] = []
    factor, pair, chosen = 1, (fixed, moving), mask
    middle = (np.array(mask.shape) - 1) / 2
    while True:
        smaller = max(pair[0].shape) // 2 >= _COARSEST_EDGE
        if np.prod(pair[0].shape) <= options.finest_voxels or not smaller:
            levels.insert(0, smoothed_level(pair, chosen, factor, middle, options.smoothing))
        if not smaller:
            return levels
        factor, pair = 2 * factor, (binned(pair[0]), binned(pair[1]))
        chosen = binned(chosen) > 0.25


def _problem(level: Level, shape: tuple[int, ...], spacing: float, options: DeformOptions) -> _Problem:
    low, high = level.places.min(axis=0), level.places.max(axis=0) + 1
    middle = (np.array(shape) - 1) / 2
    axes = []
    for axis, size in enumerate(shape):
        positions = (np.arange(low[axis], high[axis]) - level.centre[axis]) * level.factor + middle[axis]
        axes.append(_basis(np.clip(positions, 0, size - 1), spacing, int(np.ceil((size - 1) / spacing)) + 3))
    return _Problem(
        level=level,
        points=(level.places - level.centre) * level.factor + middle,
        inside=tuple((level.places - low).T.astype(np.int64)),
        box=tuple(high - low),
        basis=(axes[0], axes[1], axes[2]),
        bending=options.bending,
        shared=float((2 * np.sqrt(np.pi) * max(options.smoothing, 0.3)) ** 3),
    )


def _basis(positions: Float64Array, spacing: float, count: int) -> Float32Array:
    """Cubic B-splines of all control points at ``positions`` (voxel), [position, control point]."""
    knots = np.arange(-3.0, count + 1.0)
    return np.asarray(BSpline(knots, np.eye(count), 3)(positions / spacing), dtype=np.float32)


# -- Gauss-Newton --------------------------------------------------------------------------------


def _refined(problem: _Problem, state: _State, options: DeformOptions) -> tuple[_State, float]:
    """The state after the steps of one level, and how far the last one moved the material, voxel."""
    largest = np.inf
    for _ in range(options.steps):
        residual, weight, gradient, state = _linearised(problem, state, options)
        field = _scattered(problem, gradient * (weight * residual)[:, None])
        right = problem.gathered(field) - _prior(problem, state.control)
        change = _solved(_curvature(problem, gradient, weight), right, options.solver_steps)
        moved = problem.at_voxels(change)
        largest = float(np.sqrt(np.max(np.sum(moved**2, axis=1))))
        shorter = min(1.0, _LARGEST_STEP * problem.level.factor / max(largest, 1e-300))
        state = replace(state, control=state.control + shorter * change)
        if largest < options.tolerance:
            break
    return state, largest


def _linearised(
    problem: _Problem, state: _State, options: DeformOptions
) -> tuple[Float64Array, Float64Array, Float64Array, _State]:
    """Residual, weight over its variance, derivative to a displacement in voxels of the volume; grey values matched."""
    moved, slope = _moved(problem, state)
    level = problem.level
    grey = state.grey.matched(level.fixed, moved, options.huber)
    residual = grey.residual(level.fixed, moved)
    weight = grey.weights(residual, options.huber) / (grey.spread**2 * problem.shared) * np.isfinite(moved)
    turn = state.base.matrix / state.base.scale
    # the mean of both volumes' gradients, as in the registration
    mean = 0.5 * (grey.gain * slope + level.fixed_gradient @ (turn.T / state.base.scale)) / level.factor
    return residual, weight, np.asarray(mean, dtype=np.float64), replace(state, grey=grey)


def _moved(problem: _Problem, state: _State) -> tuple[Float32Array, Float32Array]:
    level = problem.level
    middle = state.base.centre
    there = state.base.to_moving(problem.points) + problem.at_voxels(state.control)
    value, slope = np.empty(len(there), np.float32), np.empty((len(there), 3), np.float32)
    places = (there - middle) / level.factor + level.centre
    for start in range(0, len(there), _CHUNK):
        part = slice(start, start + _CHUNK)
        value[part] = sample(level.coefficients, places[part], slope[part])
    return value, slope


def _scattered(problem: _Problem, values: Float64Array) -> Float32Array:
    """Vectors (n, 3) of the masked voxels as a field ``[axis, z, y, x]`` in the box."""
    field = np.zeros((3, *problem.box), np.float32)
    z, y, x = problem.inside
    field[:, z, y, x] = values.T
    return field


def _prior(problem: _Problem, control: Float64Array) -> Float64Array:
    return stiffness(control) / problem.bending**2 + control / _LARGEST_DISPLACEMENT**2


def _curvature(
    problem: _Problem, gradient: Float64Array, weight: Float64Array
) -> tuple[Callable[[Float64Array], Float64Array], Float64Array]:
    """The matrix of the normal equations as a function, and about its diagonal."""
    slope = _scattered(problem, gradient * np.sqrt(weight)[:, None])

    def apply(control: Float64Array) -> Float64Array:
        """Product of the curvature with displacements of the control points."""
        along = np.einsum("azyx,azyx->zyx", slope, problem.expanded(control))
        return problem.gathered(slope * along) + _prior(problem, control)

    z, y, x = (part**2 for part in problem.basis)
    squared = replace(problem, basis=(z, y, x))
    # the stencils (1, -2, 1) along three axes, and (1, -1) x (1, -1), twice, along three pairs
    stiff = 3 * 6.0 + 3 * 2 * 4.0
    return apply, squared.gathered(slope**2) + stiff / problem.bending**2 + 1 / _LARGEST_DISPLACEMENT**2


def _solved(
    curvature: tuple[Callable[[Float64Array], Float64Array], Float64Array], right: Float64Array, steps: int
) -> Float64Array:
    """Preconditioned conjugate gradients."""
    apply, diagonal = curvature
    solution, residual = np.zeros_like(right), right.copy()
    scaled = residual / diagonal
    direction, size = scaled.copy(), float(np.sum(residual * scaled))
    target = 1e-6 * size
    for _ in range(steps):
        if not size > target:
            break
        image = apply(direction)
        length = size / float(np.sum(direction * image))
        solution += length * direction
        residual -= length * image
        scaled = residual / diagonal
        size, old = float(np.sum(residual * scaled)), size
        direction = scaled + size / old * direction
    return solution


# -- figures of quality --------------------------------------------------------------------------


def _result(
    problem: _Problem,
    before: _State,
    state: _State,
    how: tuple[BoolArray, float, float],
    options: DeformOptions,
) -> Deformation:
    particle, step, spacing = how
    residual, weight, gradient, state = _linearised(problem, state, options)
    still, _ = _moved(problem, replace(before, grey=state.grey))
    now, _ = _moved(problem, state)
    fixed = problem.level.fixed
    old = _linearised(problem, replace(before, grey=state.grey), options)
    jacobian = _jacobian(problem, state, spacing, particle)
    rigid_std, displacement_std = _uncertainty(problem, gradient, weight, (particle, options))
    found = Deformation(
        base=state.base,
        rigid=state.base,
        rigid_std=rigid_std,
        control=state.control,
        spacing=spacing,
        shape=(particle.shape[0], particle.shape[1], particle.shape[2]),
        displacement_std=displacement_std,
        correlation_before=correlation(fixed, still),
        correlation=correlation(fixed, now),
        misfit_before=float(np.sum(old[1] * old[0] ** 2) / max(np.sum(old[1]), 1e-300)),
        misfit=float(np.sum(weight * residual**2) / max(np.sum(weight), 1e-300)),
        smallest_jacobian=float(jacobian.min()),
        volume_ratio=float(jacobian.mean()),
        reason=None,
    )
    return replace(found, rigid=_nearest(found, spread_places(particle, 50000)), reason=_reason(found, step, options))


def _nearest(found: Deformation, places: NDArray[np.int64]) -> Similarity:
    """Least-squares similarity of a map (Umeyama, IEEE Trans. Pattern Anal. Mach. Intell. 13, 376, 1991)."""
    before = places.astype(np.float64)
    after = found.to_moving(before)
    middle, there = before.mean(axis=0), after.mean(axis=0)
    left, size, right = np.linalg.svd((after - there).T @ (before - middle))
    turn = left @ right
    scale = float(size.sum() / np.sum((before - middle) ** 2))
    centre = found.base.centre
    shift = there - scale * turn @ (middle - centre) - centre
    return Similarity(np.asarray(shift), rotation_vector_of(turn), scale, centre)


def _uncertainty(
    problem: _Problem, gradient: Float64Array, weight: Float64Array, how: tuple[BoolArray, DeformOptions]
) -> tuple[Float64Array, Float64Array]:
    """Of the rigid part (6,), its mean over the axes, and of the place (3,): rms of draws from the posterior."""
    particle, options = how
    rng = np.random.default_rng(_SEED)
    curvature = _curvature(problem, gradient, weight)
    here = particle[tuple(np.rint(problem.points).astype(int).T)]
    place, rigid = np.zeros(3), np.zeros(6)
    for _ in range(options.draws):
        noise = gradient * (np.sqrt(weight) * rng.standard_normal(weight.size))[:, None]
        right = problem.gathered(_scattered(problem, noise)) + _prior_draw(problem, curvature[1].shape, rng)
        drawn = problem.at_voxels(_solved(curvature, right, 2 * options.solver_steps))
        place += np.mean(drawn**2, axis=0) / options.draws
        rigid += rigid_part(problem.points[here], drawn[here]) ** 2 / options.draws
    return np.sqrt(np.repeat(rigid.reshape(2, 3).mean(axis=1), 3)), np.sqrt(place)


def _prior_draw(problem: _Problem, shape: tuple[int, ...], rng: np.random.Generator) -> Float64Array:
    """A random vector whose covariance is the matrix of the prior."""
    return rng.standard_normal(shape) / _LARGEST_DISPLACEMENT + stiffness_draw(shape, rng) / problem.bending


def _jacobian(problem: _Problem, state: _State, spacing: float, particle: BoolArray) -> Float64Array:
    """Determinant of dy/dr at voxels of the particle."""
    places = spread_places(particle, 20000) / spacing + 1.0
    slopes = np.empty((len(places), 3, 3))
    for axis in range(3):
        slope = np.empty((len(places), 3), np.float32)
        sample(np.ascontiguousarray(state.control[axis], dtype=np.float32), places, slope)
        slopes[:, axis] = slope / spacing
    return np.asarray(np.linalg.det(slopes + state.base.matrix))


def _reason(found: Deformation, step: float, options: DeformOptions) -> str | None:
    """Why a deformation must not be used, or None."""
    if not found.smallest_jacobian > 0:
        return f"the deformation folds: the smallest ratio of volumes is {found.smallest_jacobian:.2g}"
    if not found.correlation >= options.minimum_correlation:
        return f"the volumes do not resemble each other: correlation {found.correlation:.2f}"
    if not found.misfit <= found.misfit_before:
        return "the deformation does not lower the misfit"
    return None if step < 0.5 else f"no convergence: the last step moved the material by {step:.2g} voxels"
