"""Noise of a reconstruction, propagated from the photons that were counted.

Filtered back-projection adds up the projections with angular weights :math:`w_p`, each filtered by the band-limited
ramp, whose squares add up to 1/12. Noise of the optical depth that is independent from pixel to pixel therefore gives

.. math:: \\sigma^2(x, y) = \\sum_p \\frac{w_p^2}{12\\,a^2}\\, v_p(u_p(x, y))

with the variance :math:`v_p` of the optical depth where projection p sees (x, y) and the pixel size a (Rose,
Anderson and Gerig, J. Nucl. Med. 24, 1983, and textbooks for uniform noise). Interpolated noise is smaller by known
factors. The result varies slowly over the volume, so it is computed on a coarse grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.tomography.reconstruct import Plan
from cathoscope.tomography.resample import (
    ScanMotion,
    column_noise_factor,
    column_origins,
    row_noise_factor,
    row_positions,
)

FloatArray = NDArray[np.floating]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

_RAMP_SQUARES = 1.0 / 12.0  # sum of squares of the band-limited ramp's values, per pixel squared
_FACTOR_STEPS = 256

BLOCK = 8  # voxels along every edge of a block; the noise of a voxel changes little over so many


@dataclass(frozen=True)
class NoiseMap:
    """Noise on a coarse grid: block (k, j, i) stands for ``rows``, ``columns`` and ``columns`` voxels each.

    Attributes
    ----------
    std
        Standard deviation in 1/um at the middle of each block, ``[block of rows, block of y, block of x]``.
    rows, columns
        Voxels along z and along y and x that a block covers.
    """

    std: Float32Array
    rows: int
    columns: int

    def full(self, shape: tuple[int, int, int]) -> Float32Array:
        """Noise of every voxel of a slab of ``shape`` [row, y, x]: constant along a block's rows, else linear."""
        std = np.repeat(self.std, self.rows, axis=0)[: shape[0]]
        for axis in (1, 2):
            place = np.clip((np.arange(shape[axis]) + 0.5) / self.columns - 0.5, 0, std.shape[axis] - 1)
            low = np.minimum(place.astype(np.int64), max(std.shape[axis] - 2, 0))
            high = np.minimum(low + 1, std.shape[axis] - 1)
            weight = np.expand_dims((place - low).astype(np.float32), tuple(k for k in range(3) if k != axis))
            std = std.take(low, axis=axis) * (1 - weight) + std.take(high, axis=axis) * weight
        return np.asarray(std, dtype=np.float32)


def depth_variance_from_counts(
    *, counts: FloatArray, flat: FloatArray, n_flats: int, gain: float = 1.0
) -> Float32Array:
    r"""Variance of the optical depth :math:`-\ln(C / F)` from counting noise, ``[projection, row, column]``.

    .. math:: v = g \left(\frac{1}{C} + \frac{1}{n F}\right)

    Noise of the flats is taken as independent between projections like that of the counts. In truth all projections
    share it, which makes weak rings; it is small for many flats and where drift and jitter spread the rings.

    Parameters
    ----------
    counts
        Counts above dark, ``[projection, row, column]``. Counts below one photon are taken as one.
    flat
        Mean of the flats above dark, scaled to the beam of the projections, ``[row, column]`` or as ``counts``.
    n_flats
        Number of flats the mean is of.
    gain
        Counts per photon.

    Raises
    ------
    MeasurementError
        If shapes do not fit, or flats are not above zero.
    """
    values = np.asarray(counts, dtype=np.float32)
    open_beam = np.asarray(flat, dtype=np.float32)
    if values.ndim != 3 or open_beam.shape not in (values.shape, values.shape[1:]) or n_flats < 1 or gain <= 0:
        raise MeasurementError(
            "the flats do not fit the counts",
            expected="counts [projection, row, column], flat [row, column], at least one flat, a gain above zero",
            found=f"{values.shape}, {open_beam.shape}, {n_flats} flats, gain {gain}",
        )
    if not (open_beam > 0).all():
        raise MeasurementError("flats without beam", cure="fill bad pixels of the flats before")
    return np.asarray(gain / np.maximum(values, gain) + gain / (n_flats * open_beam), dtype=np.float32)


def noise_std_from_variance(
    plan: Plan,
    variance: FloatArray,
    rotation_axis: float,
    projection_shift: FloatArray | None,
    pixel_size: float,
) -> NoiseMap:
    """Noise in 1/um of `reconstruct` with the same arguments, where ``variance`` is that of its sinogram.

    ``variance`` is ``[row, projection, column]``, of noise that is independent between pixels.

    Raises
    ------
    MeasurementError
        If shapes do not fit the plan.
    """
    _check_variance(plan, variance, variance.shape[1:])
    starts = np.arange(0, variance.shape[0], BLOCK)
    counts = np.diff(np.append(starts, variance.shape[0]))[:, None, None]
    of_blocks = np.add.reduceat(np.asarray(variance, dtype=np.float64), starts, axis=0) / counts
    shift = 0.0 if projection_shift is None else np.asarray(projection_shift, dtype=np.float64)
    origin = np.broadcast_to(rotation_axis + shift, plan.angle_deg.shape).astype(np.float64)
    return _noise_map(plan, of_blocks, origin, 1.0, np.ones(_FACTOR_STEPS + 1), pixel_size)


def noise_std_of_aligned(
    plan: Plan,
    variance: FloatArray,
    motion: ScanMotion,
    pixel_size: float,
    *,
    first_row: int,
    rows: slice,
    n_rows: int,
) -> NoiseMap:
    """Noise in 1/um of the reconstruction of `aligned_sinogram`, where ``variance`` is that of the measured depth.

    ``variance`` is ``[projection, row, column]`` of the detector rows from ``first_row`` on, as the optical depth
    is handed to `aligned_sinogram`. Interpolation lowers the noise by the factors of `resample`; it also correlates
    neighbouring voxels, along z above all. ``pixel_size`` is that at magnification 1.

    Raises
    ------
    MeasurementError
        If shapes do not fit the plan.
    """
    _check_variance(plan, variance, (variance.shape[0], variance.shape[2]))
    position = row_positions(motion, rows, n_rows)
    nearest = np.clip(np.rint(position), first_row, first_row + variance.shape[1] - 1).astype(np.int64) - first_row
    starts = np.arange(0, rows.stop - rows.start, BLOCK)
    of_blocks = np.empty((starts.size, variance.shape[0], variance.shape[2]))
    of_rows, of_columns = _factors()
    share = of_rows[np.rint((position - np.floor(position)) * _FACTOR_STEPS).astype(np.int64)]
    for k, start in enumerate(starts):
        of_blocks[k] = _mean_of_rows(
            np.asarray(variance), nearest[:, start : start + BLOCK], share[:, start : start + BLOCK]
        )
    origin = column_origins(motion, plan.angle_deg)
    return _noise_map(plan, of_blocks, origin, float(motion.magnification), of_columns, pixel_size)


@cache
def _factors() -> tuple[Float64Array, Float64Array]:
    """What interpolation along rows and along columns leaves of the variance, at fractions of a pixel, ``[step]``."""
    fraction = np.arange(_FACTOR_STEPS + 1) / _FACTOR_STEPS
    return row_noise_factor(fraction), column_noise_factor(fraction)


def _check_variance(plan: Plan, variance: FloatArray, found: tuple[int, ...]) -> None:
    expected = (plan.angle_deg.size, plan.n_columns)
    if variance.ndim != 3 or found != expected:
        raise MeasurementError(
            "the variance does not fit the planned angles and columns",
            expected=f"{expected[0]} projections and {expected[1]} columns",
            found=f"shape {variance.shape}",
        )


def _mean_of_rows(variance: FloatArray, row: NDArray[np.int64], share: Float64Array) -> Float64Array:
    """Mean over output rows of ``share`` times the variance of the detector row they show, [projection, column]."""
    weight = np.zeros(variance.shape[:2])
    np.add.at(weight, (np.arange(row.shape[0])[:, None], row), share / row.shape[1])
    return np.asarray(np.einsum("pr,prc->pc", weight, variance), dtype=np.float64)


def _noise_map(
    plan: Plan,
    variance: Float64Array,
    origin: Float64Array,
    magnification: float,
    factor: Float64Array,
    pixel_size: float,
) -> NoiseMap:
    """Back-project the variance [block, projection, column]; ``origin`` is the detector column of the axis."""
    half = 0.5 * (plan.n_columns - 1)
    column = origin[:, None] + magnification * (np.arange(plan.n_columns) - half)
    step = np.rint((column - np.floor(column)) * _FACTOR_STEPS).astype(np.int64)
    nearest = np.clip(np.rint(column), 0, plan.n_columns - 1).astype(np.int64)
    weight = _RAMP_SQUARES * (plan.angle_weight / pixel_size) ** 2
    # what every projection adds to a voxel that it sees at each column of the image
    added = np.take_along_axis(variance, nearest[None], axis=2) * (weight[:, None] * factor[step])
    starts = np.arange(0, plan.n_columns, BLOCK)
    middle = 0.5 * (starts + np.append(starts[1:], plan.n_columns) - 1) - half
    angle = np.deg2rad(plan.angle_deg)
    total = np.zeros((variance.shape[0], starts.size, starts.size))
    _back_project(added, np.cos(angle), np.sin(angle), middle, total)
    return NoiseMap(np.sqrt(total).astype(np.float32), BLOCK, BLOCK)


@njit(cache=True, nogil=True)
def _back_project(added, cosine, sine, middle, total):  # type: ignore[no-untyped-def]
    """Add up ``added`` [block of rows, projection, column] where each projection sees the middle of each block."""
    n_columns = added.shape[2]
    for k in range(added.shape[0]):
        for p in range(added.shape[1]):
            line = added[k, p]
            for j in range(middle.size):
                offset = middle[j] * sine[p] + 0.5 * (n_columns - 1) + 0.5
                for i in range(middle.size):
                    column = int(middle[i] * cosine[p] + offset + n_columns) - n_columns
                    total[k, j, i] += line[min(max(column, 0), n_columns - 1)]
