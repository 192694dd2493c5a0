"""How well two volumes are registered: what is left of them, and the covariance of the motion."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, minimum_filter

from cathoscope.numerics.blocks import Blocks, BlockSums, blocks_of, share_within_blocks
from cathoscope.numerics.grey_comparison import Grey, Moments
from cathoscope.numerics.pyramid import box_of, rows_of, slabs_of, spread_places
from cathoscope.numerics.register_kernels import moved_values
from cathoscope.numerics.spline_pair import Pose, SplinePair
from cathoscope.numerics.warp import SPLINE_REACH, Lazy, into_coefficients

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_INNER = 3  # voxels below the surface from which on the inside is compared
_RAW_ROWS = 32  # of the unsmoothed volumes, compared at a time
_TRUNCATED = 4.0  # standard deviations at which the Gaussian ends


@dataclass(frozen=True)
class Fit:
    """State of Gauss-Newton: ``free`` parameters, and how far the last ``step`` moved any voxel."""

    pose: Pose
    free: int
    grey: Grey = field(default_factory=Grey)
    step: float = np.inf

    def law(self, huber: float) -> tuple[float, float, float]:
        """Gain, offset, and the residual from which on Huber's weights fall."""
        return self.grey.gain, self.grey.offset, huber * self.grey.spread


@dataclass(frozen=True)
class Volumes:
    """Both volumes as they are, the particle in the fixed one, and the noise of a voxel of each."""

    fixed: Lazy
    moving: Lazy
    particle: BoolArray
    noise: tuple[float, float] | None


@dataclass(frozen=True)
class SmoothFigures:
    """Figures of what is left of the smoothed volumes; `Registration` says what they are."""

    correlation: float
    inner_correlation: float
    misfit: float
    independent: float
    overlap: float


def smooth_figures(pair: SplinePair, fit: Fit, volumes: Volumes, huber: float) -> SmoothFigures:
    """Compare the smoothed volumes, a few rows at a time."""
    inner = minimum_filter(volumes.particle.view(np.uint8), 2 * _INNER + 1, mode="constant").view(np.bool_)
    blocks = blocks_of(pair.mask)
    whole, inside = Moments(), Moments()
    left = BlockSums(np.zeros((3, blocks.count)))
    squares, weights, met = 0.0, 0.0, 0
    for rows in pair.parts():
        fixed, moved = pair.values(fit.pose, rows)
        mask = pair.mask[rows]
        deep = inner[rows][mask]
        whole += Moments.of(fixed, moved)
        inside += Moments.of(fixed[deep], moved[deep])
        residual = fit.grey.residual(fixed, moved)
        weight = fit.grey.weights(residual, huber) * np.isfinite(moved)
        squares, weights = squares + float(weight @ residual**2), weights + float(weight.sum())
        met += int(np.count_nonzero(np.isfinite(moved)))
        left += BlockSums.of(residual, blocks.numbers(mask, (rows.start, 0, 0)), blocks.count)
    return SmoothFigures(
        correlation=whole.correlation,
        inner_correlation=inside.correlation,
        misfit=squares / max(weights, 1e-300),
        independent=left.independent,
        overlap=met / np.count_nonzero(pair.mask),
    )


def raw_residual(pair: SplinePair, fit: Fit, volumes: Volumes) -> tuple[Float32Array, float]:
    """What is left of the unsmoothed volumes and its root mean square; zero off the mask and off the moving volume."""
    raw = np.zeros(pair.mask.shape, np.float32)
    squares, count = 0.0, 0
    for rows in slabs_of(len(raw), _RAW_ROWS):
        mask = pair.mask[rows]
        if not mask.any():
            continue
        moved = _moved_raw(pair, fit.pose, volumes.moving, rows)
        residual = fit.grey.residual(rows_of(volumes.fixed, rows)[mask], moved)
        raw[rows][mask] = residual
        squares, count = squares + float(residual @ residual), count + int(np.count_nonzero(np.isfinite(moved)))
    return raw, float(np.sqrt(squares / count)) if count else float("nan")


def _moved_raw(pair: SplinePair, pose: Pose, moving: Lazy, rows: slice) -> Float32Array:
    """Unsmoothed values where the material of some rows lies, from those rows of the moving volume that are needed."""
    matrix, origin, centre, pulling = pose.motion(pair.centre)
    size = np.array(pair.mask.shape)
    corners = np.array([[rows.start, rows.stop - 1], [0, size[1] - 1], [0, size[2] - 1]])
    reached = (matrix[0][:, None] * corners) + origin[0] / 3
    low, high = float(reached.min(axis=1).sum()), float(reached.max(axis=1).sum())
    begin = min(max(int(np.floor(low)) - SPLINE_REACH, 0), int(size[0]) - 2)
    end = max(min(int(np.ceil(high)) + SPLINE_REACH + 1, int(size[0])), begin + 2)
    spline = into_coefficients(rows_of(moving, slice(begin, end)))
    values = np.empty(np.count_nonzero(pair.mask[rows]), np.float32)
    inside_block = matrix, origin - [begin, 0, 0], centre, pulling
    moved_values(spline, pair.mask, rows.start, rows.stop, inside_block, values)
    return values


def covariance_of(pair: SplinePair, fit: Fit, raw: Float32Array, smoothing: float, huber: float) -> Float64Array:
    """Covariance of shift (voxel), turn (deg) and scale; ``raw`` is shifted to the mean zero.

    The score of the smoothed residual equals that of the raw residual with the smoothed derivatives; the products of
    these are summed over blocks, so that the smoothing itself needs no correction; what is correlated across the faces
    of the blocks does.
    """
    size = fit.free + 2
    sums, _ = pair.normal_equations(fit.pose, fit.law(huber), size)
    blocks = blocks_of(pair.mask)
    totals = _scores(pair, fit, raw, blocks, (smoothing, huber))
    totals -= totals.mean(axis=0)
    few = len(totals) / max(len(totals) - size, 1)
    mean = raw.sum(dtype=np.float64) / np.count_nonzero(pair.mask)
    np.subtract(raw, np.float32(mean), out=raw, where=pair.mask)
    few /= share_within_blocks(raw, pair.mask, blocks.edges)
    inverse = _inverse(sums[1])
    covariance = (inverse @ (totals.T @ totals * few) @ inverse)[: fit.free, : fit.free]
    unit = np.ones(fit.free)
    unit[3:6] = np.rad2deg(1.0)
    unit[6:] = fit.pose.scale
    return np.asarray(covariance * np.outer(unit, unit))


def _scores(pair: SplinePair, fit: Fit, raw: Float32Array, blocks: Blocks, how: tuple[float, float]) -> Float64Array:
    """Sums of the smoothed derivatives times what is left, [block, parameter], of blocks that hold a voxel."""
    smoothing, huber = how
    size, halo = fit.free + 2, int(_TRUNCATED * smoothing + 0.5)
    totals, met = np.zeros((size, blocks.count)), np.zeros(blocks.count, bool)
    whole, inside = box_of(pair.mask, halo), box_of(pair.mask)
    for rows in slabs_of(len(raw)):
        here = (rows, *inside[1:])
        mask = pair.mask[here]
        if not mask.any():
            continue
        around = (slice(max(rows.start - halo, 0), min(rows.stop + halo, len(raw))), *whole[1:])
        inner = tuple(
            slice(part.start - wide.start, part.stop - wide.start) for part, wide in zip(here, around, strict=True)
        )
        block, left = blocks.numbers(mask, [part.start for part in here]), raw[here][mask]
        met[block] = True
        columns = pair.derivatives(fit.pose, fit.law(huber), around, size)
        for total, column in zip(totals, columns, strict=True):
            gaussian_filter(column, smoothing, mode="nearest", output=column, truncate=_TRUNCATED)
            total += np.bincount(block, weights=column[inner][mask] * left, minlength=blocks.count)
        del columns, column  # before room is made for the next
    return totals[:, met].T.copy()


def _inverse(matrix: Float64Array) -> Float64Array:
    """Inverse of a curvature; where that is not positive, the parameter is not determined and gets a large variance."""
    unit = np.sqrt(np.maximum(np.abs(np.diag(matrix)), 1e-300))
    value, vector = np.linalg.eigh(matrix / np.outer(unit, unit))
    return np.asarray((vector / np.maximum(value, 1e-4)) @ vector.T / np.outer(unit, unit))


def displacement_std(covariance: Float64Array, centre: Float64Array, pose: Pose, particle: BoolArray) -> Float64Array:
    """Standard uncertainty along (z, y, x) in voxels of where the material lies, rms over the particle."""
    lever = (spread_places(particle, 5000) - centre) @ (pose.scale * pose.turn).T
    z, y, x = lever.T
    nought = np.zeros_like(z)
    turns = np.deg2rad(np.array([[nought, x, -y], [-x, nought, z], [y, -z, nought]]))  # [axis, component, place]
    shifts = np.repeat(np.eye(3)[:, :, None], z.size, axis=2)
    design = np.concatenate([shifts, turns, lever.T[None] / pose.scale])[: len(covariance)]
    variance = np.einsum("kin,kl,lin->i", design, covariance, design) / z.size
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))
