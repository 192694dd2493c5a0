r"""Regularised iterative reconstruction with the Fourier transform of the normal equations.

Forward and back projection of parallel beams together are a convolution, for any set of angles:

.. math:: (A^T W A)(\Delta x, \Delta y) = \sum_p w_p \, h(\Delta x \cos\theta_p + \Delta y \sin\theta_p)

with h = sinc for equal weights, and the ramp filter's impulse response for weights of |frequency|. It does not
depend on rotation axis or jitter, which enter through the back-projected data only. An iteration is two transforms
on a doubled grid for two slices at a time and never touches the projections (Delaney and Bresler, IEEE Trans. Image
Process. 5, 740, 1996; Fessler et al., IEEE Trans. Nucl. Sci. 52, 1399, 2005).

As in `reconstruct` the optical depth outside the detector is taken as zero, all columns weigh the same, and
rows are treated ``BATCH`` at a time, so a slice has the same bits in every slab that starts at a multiple of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.tomography.project import back_project, project
from cathoscope.tomography.reconstruct import BATCH, Plan, noise_std_of_rows, reconstruct

FloatArray = NDArray[np.floating]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

_POWER_ITERATIONS = 25
_DUAL_ITERATIONS = 8
_LARGEST_DIVERGENCE = 8.0  # norm squared of the gradient by differences in two dimensions


@dataclass(frozen=True)
class NormalPlan:
    """Projection followed by back-projection for one set of angles, as a multiplication in Fourier space.

    Attributes
    ----------
    plan
        The reconstruction plan it was made from.
    even, ramp
        Transfer on the doubled grid, ``[line, column]``, with the same weight for every sample, and with the
        weights of filtered back-projection; divided by the number of grid points.
    even_weight
        Angle in rad that every projection stands for in ``even``: the mean of the angular weights.
    largest
        The largest eigenvalue with the weights of filtered back-projection; above 1 where
        angles are few or missing.
    """

    plan: Plan
    even: Float32Array
    ramp: Float32Array
    even_weight: float
    largest: float


@dataclass(frozen=True)
class TotalVariation:
    """Choices of `reconstruct_tv`.

    Attributes
    ----------
    strength
        Weight of the total variation in units of the noise of the filtered back-projection. At 1 the residual
        of the projections is about their noise (the discrepancy principle); the error is least near 0.7, whatever
        the exposure and the missing angles (benchmarks/iterative.py).
    iterations
        Steps of the descent. More change little: the result at 30 is within a tenth of its noise of the limit.
    non_negative
        Whether attenuation below zero is excluded. Noise about zero then becomes a positive mean, so not for air
        at strengths far below the default.
    """

    strength: float = 0.7
    iterations: int = 30
    non_negative: bool = False

    def __post_init__(self) -> None:
        if not (np.isfinite(self.strength) and self.strength >= 0 and self.iterations >= 1):
            raise MeasurementError(
                "the total variation cannot be minimised",
                expected="strength zero or above and at least 1 iteration",
                found=f"strength {self.strength}, {self.iterations} iterations",
            )


def plan_normal(plan: Plan) -> NormalPlan:
    """The convolution that projects and back-projects at the angles of ``plan``.

    It takes about 32 bytes per image pixel, and as long as the reconstruction of some ten slices.
    """
    n = plan.n_columns
    angle = np.deg2rad(plan.angle_deg)
    even_weight = float(np.mean(plan.angle_weight))
    kernels = np.zeros((2, n, 2 * n - 1))
    _sum_over_angles(np.cos(angle), np.sin(angle), plan.angle_weight / even_weight, kernels)
    size = int(scipy.fft.next_fast_len(2 * n - 1))
    even, ramp = (_transfer(even_weight / size**2 * kernel, size) for kernel in kernels)
    return NormalPlan(plan=plan, even=even, ramp=ramp, even_weight=even_weight, largest=_largest_eigenvalue(ramp, n))


def reconstruct_cgls(
    normal: NormalPlan,
    sinogram: FloatArray,
    rotation_axis: float,
    projection_shift: FloatArray | None,
    pixel_size: float,
    *,
    iterations: int = 20,
    noise_std: FloatArray | float | None = None,
) -> Float32Array:
    """Attenuation in 1/um, ``[row, y, x]`` float32, by conjugate gradients on the least-squares problem.

    Every sample has the same weight. Stopping early is the regularisation: fine detail, where noise is, comes
    last (Hansen, *Discrete Inverse Problems*, 2010, ch. 6).

    Parameters
    ----------
    normal
        From `plan_normal`.
    sinogram, rotation_axis, projection_shift, pixel_size
        As in `reconstruct`.
    iterations
        The most steps.
    noise_std
        Root mean square noise of the optical depth over all samples, one value or ``[row]``. A slice is finished where
        its residual has fallen to it (Morozov's discrepancy principle), in the middle of a step; this takes a
        projection per step. None: all steps are taken.

    Raises
    ------
    MeasurementError
        As `reconstruct`, or if there is no iteration to take or ``noise_std`` does not fit the rows.
    """
    if iterations < 1:
        raise MeasurementError("no iteration to take", expected="at least 1", found=str(iterations))
    n_rows, n_columns = sinogram.shape[0], normal.plan.n_columns
    noise = None if noise_std is None else _per_row(noise_std, n_rows)
    volume = np.empty((n_rows, n_columns, n_columns), dtype=np.float32)
    for start in range(0, n_rows, BATCH):
        rows = slice(start, min(start + BATCH, n_rows))
        data = back_project(normal.plan, sinogram[rows], rotation_axis, projection_shift, 1.0)
        stop = None
        if noise is not None:
            allowed = sinogram[0].size * noise[rows] ** 2
            left = np.array(sinogram[rows], dtype=np.float32)
            stop = _Discrepancy(normal.plan, left, allowed, rotation_axis, projection_shift)
        volume[rows] = _conjugate_gradients(normal, data, iterations, stop) / np.float32(pixel_size)
    return volume


def reconstruct_tv(
    normal: NormalPlan,
    sinogram: FloatArray,
    rotation_axis: float,
    projection_shift: FloatArray | None,
    pixel_size: float,
    *,
    choices: TotalVariation | None = None,
    noise_std: FloatArray | float | None = None,
) -> Float32Array:
    r"""Attenuation in 1/um, ``[row, y, x]`` float32, with few and sharp edges in every slice.

    .. math:: \min_\mu \; \tfrac12 \lVert A \mu - p \rVert_W^2 + s \, \sigma \sum_{x, y} \lvert \nabla \mu \rvert

    W holds the weights of filtered back-projection, so that the first term measures the distance to it and
    few steps suffice; s is the strength and :math:`\sigma` the noise of filtered back-projection, so that a
    strength means the same at another exposure. Accelerated proximal descent with restart (Beck and Teboulle,
    IEEE Trans. Image Process. 18, 2419, 2009; O'Donoghue and Candes, Found. Comput. Math. 15, 715, 2015).

    Parameters
    ----------
    normal
        From `plan_normal`.
    sinogram, rotation_axis, projection_shift, pixel_size
        As in `reconstruct`.
    choices
        Strength, number of iterations and sign.
    noise_std
        Noise of the filtered back-projection in 1/um, one value or ``[row]``. None: from `alternating_noise_std`.

    Raises
    ------
    MeasurementError
        As `reconstruct`, or if ``noise_std`` does not fit the rows.
    """
    choices = TotalVariation() if choices is None else choices
    geometry = (rotation_axis, projection_shift, pixel_size)
    n_rows = sinogram.shape[0]
    noise = (
        alternating_noise_std(normal.plan, sinogram, *geometry) if noise_std is None else _per_row(noise_std, n_rows)
    )
    volume = reconstruct(normal.plan, sinogram, *geometry)
    for start in range(0, n_rows, BATCH):
        rows = slice(start, min(start + BATCH, n_rows))
        volume[rows] = _descend(normal, volume[rows], noise[rows], choices)
    return volume


def alternating_noise_std(
    plan: Plan, sinogram: FloatArray, rotation_axis: float, projection_shift: FloatArray | None, pixel_size: float
) -> Float64Array:
    """Noise of the filtered back-projection in 1/um, ``[row]``, with the sign of every other angle turned.

    This is half the difference of the reconstructions from odd and even projections, with the weights of the full
    set: the object cancels, the noise stays. Streaks of too few angles are included; see `noise_std_of_rows`.

    Raises
    ------
    MeasurementError
        As `reconstruct`.
    """
    order = np.argsort(np.mod(plan.angle_deg, 180.0), kind="stable")
    sign = np.empty(order.size, dtype=np.float32)
    sign[order] = 1.0 - 2.0 * (np.arange(order.size) % 2)
    alternating = replace(plan, transfer=sign[:, None] * plan.transfer)
    return noise_std_of_rows(difference=reconstruct(alternating, sinogram, rotation_axis, projection_shift, pixel_size))


def apply_normal(transfer: Float32Array, volume: Float32Array) -> Float32Array:
    """Convolve slices ``[row, y, x]`` with ``even`` or ``ramp`` of a `NormalPlan`, two at a time."""
    n_rows, n, _ = volume.shape
    size = transfer.shape[0]
    result = np.empty_like(volume)
    for row in range(0, n_rows, 2):
        grid = np.zeros((size, size), dtype=np.complex64)
        grid[:n, :n].real = volume[row]
        if row + 1 < n_rows:
            grid[:n, :n].imag = volume[row + 1]
        # lines that are zero, or not looked at, are not transformed
        grid[:n] = scipy.fft.fft(grid[:n], axis=1, workers=1)
        grid = scipy.fft.fft(grid, axis=0, overwrite_x=True, workers=1)
        grid *= transfer
        grid = scipy.fft.ifft(grid, axis=0, norm="forward", overwrite_x=True, workers=1)[:n]
        pair = scipy.fft.ifft(grid, axis=1, norm="forward", overwrite_x=True, workers=1)[:, :n]
        result[row] = pair.real
        result[row + 1 : row + 2] = pair.imag
    return result


def _per_row(noise_std: FloatArray | float, n_rows: int) -> Float64Array:
    noise = np.asarray(noise_std, dtype=np.float64)
    if noise.shape not in ((), (n_rows,)) or not (np.isfinite(noise) & (noise >= 0)).all():
        raise MeasurementError(
            "the noise does not fit the rows",
            expected=f"one value or {n_rows} values, finite and not below zero",
            found=f"shape {noise.shape}, from {np.min(noise):g} to {np.max(noise):g}",
        )
    return np.array(np.broadcast_to(noise, (n_rows,)))


def _largest_eigenvalue(transfer: Float32Array, n_columns: int) -> float:
    """By power iteration; a few per cent above, because the iteration ends a little below."""
    vector = np.random.default_rng(0).standard_normal((1, n_columns, n_columns)).astype(np.float32)
    norm = 1.0
    for _ in range(_POWER_ITERATIONS):
        vector = apply_normal(transfer, vector / np.float32(norm))
        norm = float(np.sqrt(_products(vector, vector)[0]))
    return 1.05 * norm


@dataclass(frozen=True)
class _Discrepancy:
    """What the solution of a batch leaves of its optical depth, and the sum of squares that noise leaves."""

    plan: Plan
    left: Float32Array
    allowed: Float64Array
    rotation_axis: float
    projection_shift: FloatArray | None

    def share(self, direction: Float32Array, step: Float64Array) -> Float64Array:
        """Share 0 to 1 of each slice's step that ends at the noise; the step is then taken off what is left."""
        seen = project(self.plan, direction, self.rotation_axis, self.projection_shift, 1.0)
        excess = _products(self.left, self.left) - self.allowed
        slope = step * _products(self.left, seen)
        curvature = step**2 * _products(seen, seen)
        root = np.sqrt(np.maximum(slope**2 - curvature * excess, 0.0))
        # the smaller root of curvature t**2 - 2 slope t + excess, in the form without cancellation
        ends = excess / np.where(slope > 0, slope + root, np.inf)
        reached = (slope > 0) & (slope**2 >= curvature * excess) & (ends < 1.0)
        share = np.where(excess <= 0, 0.0, np.where(reached, ends, 1.0))
        self.left[...] -= (share * step).astype(np.float32)[:, None, None] * seen
        return np.asarray(share)


def _conjugate_gradients(
    normal: NormalPlan, data: Float32Array, iterations: int, stop: _Discrepancy | None
) -> Float32Array:
    """Least-squares solution from back-projected ``data``."""
    solution = np.zeros_like(data)
    residual = np.float32(normal.even_weight) * data
    direction = residual.copy()
    power = _products(residual, residual)
    going = power > 0
    for _ in range(iterations):
        image = apply_normal(normal.even, direction)
        curvature = _products(direction, image)
        going &= (power > 0) & (curvature > 0)
        if not going.any():
            break
        step = np.where(going, power / np.where(going, curvature, 1.0), 0.0)
        if stop is not None:
            share = stop.share(direction, step)
            step *= share
            going &= share == 1.0
        solution += step.astype(np.float32)[:, None, None] * direction
        residual -= step.astype(np.float32)[:, None, None] * image
        previous, power = power, _products(residual, residual)
        ratio = np.where(going, power / np.where(going, previous, 1.0), 0.0)
        direction = residual + ratio.astype(np.float32)[:, None, None] * direction
    return solution


def _descend(normal: NormalPlan, filtered: Float32Array, noise: Float64Array, choices: TotalVariation) -> Float32Array:
    """FISTA from the filtered back-projections of one batch."""
    n_rows = filtered.shape[0]
    bound = np.asarray(choices.strength * noise / normal.largest, dtype=np.float32)
    lower = np.float32(0.0 if choices.non_negative else -np.inf)
    dual = np.zeros((n_rows, 2, *filtered.shape[1:]), dtype=np.float32)
    momentum = np.ones(n_rows)
    solution = filtered.copy()
    ahead = filtered.copy()
    for _ in range(choices.iterations):
        target = ahead - (apply_normal(normal.ramp, ahead) - filtered) / np.float32(normal.largest)
        previous, solution = solution, np.empty_like(solution)
        for row in range(n_rows):
            _denoise(target[row], dual[row], bound[row], lower, _DUAL_ITERATIONS, solution[row])
        # a step against the direction of travel starts the acceleration afresh
        momentum[_products(ahead - solution, solution - previous) > 0] = 1.0
        following = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum**2))
        carried = ((momentum - 1.0) / following).astype(np.float32)
        ahead = solution + carried[:, None, None] * (solution - previous)
        momentum = following
    return solution


def _products(first: Float32Array, second: Float32Array) -> Float64Array:
    """Scalar product of each slice of two volumes ``[row, y, x]``."""
    total = np.empty(first.shape[0])
    _sum_products(first.reshape(first.shape[0], -1), second.reshape(second.shape[0], -1), total)
    return total


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _sum_over_angles(cosine, sine, relative_weight, lag_kernels):  # type: ignore[no-untyped-def]
    """Kernels ``[even or ramp, y lag from 0, x lag from -(n - 1)]``; the other half is point-symmetric."""
    _, n, width = lag_kernels.shape
    along_x = np.empty(width)
    wave = np.empty((2, width))
    for p in range(cosine.size):
        for x in range(width):
            along_x[x] = np.pi * cosine[p] * (x - (n - 1))
            wave[0, x], wave[1, x] = np.cos(along_x[x]), np.sin(along_x[x])
        for y in range(n):
            along_y = np.pi * sine[p] * y
            cos_y, sin_y = np.cos(along_y), np.sin(along_y)
            for x in range(width):
                phase = along_x[x] + along_y
                near = abs(phase) < 1e-4
                inverse = 1.0 / (1.0 if near else phase)
                sinc = 1.0 if near else (sin_y * wave[0, x] + cos_y * wave[1, x]) * inverse
                # (1 - cos(phase)) / 2 = sin(phase / 2)**2
                versed = 0.25 if near else 0.5 * (1.0 - cos_y * wave[0, x] + sin_y * wave[1, x]) * inverse * inverse
                lag_kernels[0, y, x] += sinc
                lag_kernels[1, y, x] += relative_weight[p] * (0.5 * sinc - versed)


def _transfer(half: Float64Array, size: int) -> Float32Array:
    """Fourier transform of a point-symmetric kernel given for lags ``y >= 0``, real because of the symmetry."""
    n = half.shape[0]
    kernel = np.zeros((size, size))
    column = np.mod(np.arange(-(n - 1), n), size)
    kernel[:n, column] = half
    kernel[np.mod(-np.arange(1, n), size)[:, None], np.mod(-np.arange(-(n - 1), n), size)[None, :]] = half[1:]
    return np.asarray(np.fft.fft2(kernel).real, dtype=np.float32)


# Reassociation lets sums run in lanes; the order is fixed at compile time, the same for every thread.
@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _sum_products(first, second, total):  # type: ignore[no-untyped-def]
    for row in range(first.shape[0]):
        line = 0.0
        for k in range(first.shape[1]):
            line += np.float64(first[row, k]) * np.float64(second[row, k])
        total[row] = line


@njit(cache=True, nogil=True, fastmath={"contract"})
def _denoise(target, dual, bound, lower, iterations, image):  # type: ignore[no-untyped-def]
    """Image nearest to ``target`` with total variation weighed by ``bound``, from a dual field ``[2, y, x]``.

    Fast gradient projection on the dual field, which is left for the next call to start from. The last row of
    its first part and the last column of its second stay zero: there is no gradient across the rim.
    """
    n_y, n_x = target.shape
    ahead = dual.copy()
    slope_y, slope_x = np.zeros(n_x, dtype=np.float32), np.zeros(n_x, dtype=np.float32)
    momentum = 1.0
    step = np.float32(1.0 / _LARGEST_DIVERGENCE)
    tiny = np.float32(1e-30)
    for _ in range(iterations):
        _primal(target, ahead, lower, image)
        following = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum**2))
        carried = np.float32((momentum - 1.0) / following)
        momentum = following
        for y in range(n_y):
            here, below = image[y], image[min(y + 1, n_y - 1)]
            ahead_y, ahead_x, dual_y, dual_x = ahead[0, y], ahead[1, y], dual[0, y], dual[1, y]
            for x in range(n_x):
                slope_y[x] = below[x] - here[x]
            for x in range(n_x - 1):
                slope_x[x] = here[x + 1] - here[x]
            for x in range(n_x):
                along_y = ahead_y[x] + step * slope_y[x]
                along_x = ahead_x[x] + step * slope_x[x]
                length = np.sqrt(along_y * along_y + along_x * along_x)
                shrink = bound / max(length, bound + tiny)
                along_y, along_x = along_y * shrink, along_x * shrink
                ahead_y[x] = along_y + carried * (along_y - dual_y[x])
                ahead_x[x] = along_x + carried * (along_x - dual_x[x])
                dual_y[x], dual_x[x] = along_y, along_x
    _primal(target, dual, lower, image)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _primal(target, dual, lower, image):  # type: ignore[no-untyped-def]
    """``target`` plus the divergence of the dual field, cut at ``lower``."""
    n_y, n_x = target.shape
    for y in range(n_y):
        value, dual_y, dual_x = image[y], dual[0, y], dual[1, y]
        for x in range(n_x):
            value[x] = target[y, x] + dual_y[x] + dual_x[x]
        for x in range(1, n_x):
            value[x] -= dual_x[x - 1]
        if y > 0:
            above = dual[0, y - 1]
            for x in range(n_x):
                value[x] -= above[x]
        for x in range(n_x):
            value[x] = max(value[x], lower)
