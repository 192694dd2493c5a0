"""What chemistry feigns of motion, estimated in the volume and taken off.

A scan is ``w (C1 + r C2)``: the mean image and, times the strength r of the chemistry at its energy, another. Where C2
resembles the change of C1 with a motion, a share of C2 is a motion as well as a chemistry, and no fit of both can tell
how much of it is which: a shift by ``beta r`` in every scan changes C2 and nothing else. In space they differ. The
chemistry of a voxel is an amount times what the voxel absorbs, ``c(x) C1(x)``, a motion is a slope of C1. So the volume
of C2 is regressed on the slopes of that of C1, on what a moved axis makes of it, and on C1 times all polynomials up to
the third degree, which slow changes of the chemistry are; a band-pass keeps to sharp structure, which the rest of the
chemistry has less of. The rest, from grain to grain, is like noise: what it may feign is measured by the sandwich of
White (Econometrica 48, 817, 1980), with the scores summed over blocks of an eighth of the particle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.blocks import Blocks, blocks_of, share_within_blocks
from cathoscope.numerics.pyramid import box_of, particle_voxels, with_rim
from cathoscope.tomography.motion import WIDE, band_passed
from cathoscope.tomography.project import project
from cathoscope.tomography.reconstruct import Plan, plan_reconstruction, reconstruct
from cathoscope.tomography.series_common import CommonMotion, moved_back

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_NARROW = 0.7  # standard deviation in voxels of the narrower Gaussian of the band-pass; `WIDE` is the other
_REACH = 4.0  # standard deviations at which a Gaussian is cut off
_DEGREE = 3  # of the polynomials
_MODES = 4  # axis and displacement along x, y, z
_SLAB = 32  # rows of voxels that are band-passed together
_MARGIN = int(np.ceil(_REACH * WIDE)) + 1  # voxels that the band-pass and a slope reach
_FEWEST_BLOCKS = 16
_TELLING = 64  # projections that tell what one feigns by itself


@dataclass(frozen=True)
class ChemistryFree:
    """Corrections of a series in px: of the axis and of the displacements along x, y, z, ``[energy, 4]``.

    ``std`` is what the chemistry may still feign of them; ``projection_variance`` the same of the column and row shift
    of one projection, px², ``[energy, 2]``. All are nan for scans that are not used.
    """

    correction: Float64Array
    std: Float64Array
    projection_variance: Float64Array


def chemistry_free(
    components: Float32Array,
    strength: Float64Array,
    angle: Float64Array,
    middle: tuple[float, float],
    common: CommonMotion,
) -> ChemistryFree | None:
    """Corrections of the modes of motion of a series.

    Parameters
    ----------
    components
        Mean image and those of the chemistry, ``[component, projection, row, column]``, moved by ``common``.
    strength
        Of the chemistry in every scan, over that of the mean image, ``[energy, component - 1]``, nan without a scan.
    angle, middle
        Of the projections in rad, and the optical axis (row, column) in px.

    Returns
    -------
        None where there are no more scans than components, or too little of a particle.
    """
    used = np.isfinite(strength).all(axis=1)
    if strength.shape[1] == 0 or used.sum() <= strength.shape[1] + 1:
        return None
    still = np.stack([moved_back(image, common.column, common.row, middle) for image in components])
    plan = plan_reconstruction(np.rad2deg(angle), still.shape[3])
    volumes = _volumes(still, plan, middle[1])
    try:
        share, share_std = _feigned(volumes)
    except MeasurementError:
        return None
    pattern = strength - strength[used].mean(axis=0)
    again = (project(plan, one, middle[1], None, 1.0).transpose(1, 0, 2) for one in volumes.chemistry)
    alone = np.stack([_of_projections(still[0], np.ascontiguousarray(one), angle) for one in again])
    return ChemistryFree(pattern @ share, np.sqrt(pattern**2 @ share_std**2), pattern**2 @ alone)


@dataclass(frozen=True)
class _Volumes:
    """Mean, chemistry ``[component - 1]``, and what a shift of all columns by one pixel adds to the mean."""

    mean: Float32Array
    chemistry: Float32Array
    moved_axis: Float32Array


def _volumes(still: Float32Array, plan: Plan, axis: float) -> _Volumes:
    def volume(images: Float32Array) -> Float32Array:
        """Volume of images ``[projection, row, column]``."""
        sinogram = np.ascontiguousarray(images.transpose(1, 0, 2), dtype=np.float32)
        return np.asarray(reconstruct(plan, sinogram, axis, None, 1.0), dtype=np.float32)

    chemistry = np.stack([volume(one) for one in still[1:]])
    return _Volumes(volume(still[0]), chemistry, volume(-np.gradient(still[0], axis=2)))


def _feigned(volumes: _Volumes) -> tuple[Float64Array, Float64Array]:
    """Motion of axis, x, y, z (px) in one unit of each chemistry, ``[component - 1, 4]``, and its uncertainty.

    Raises
    ------
    MeasurementError
        If there is no particle, or one of few blocks.
    """
    volumes, mask = _cut(volumes, with_rim(particle_voxels(volumes.mean, 1.0)))
    blocks = blocks_of(mask)
    block = np.unique(blocks.numbers(mask), return_inverse=True)[1]
    if block.max() + 1 < _FEWEST_BLOCKS:
        raise MeasurementError("too little of a particle", found=f"{block.max() + 1} blocks")
    slabs = list(_slabs(volumes, mask))  # in single precision, some four scans for a particle that fills the view
    wide = ((columns.astype(np.float64), seen) for columns, seen, _ in slabs)
    sums = [(columns.T @ columns, columns.T @ seen) for columns, seen in wide]
    normal, right = (np.sum(part, axis=0) for part in zip(*sums, strict=True))
    unit = np.sqrt(np.maximum(np.diag(normal), 1e-300))
    inverse = np.linalg.pinv(normal / np.outer(unit, unit), rcond=1e-10, hermitian=True) / np.outer(unit, unit)
    solution = inverse @ right
    rest = np.empty((len(block), right.shape[1]))
    totals = np.zeros((right.shape[1], int(block.max()) + 1, _MODES))
    for columns, seen, part in slabs:
        rest[part] = seen - columns @ solution
        influence = columns @ inverse[:, :_MODES]
        for one, left in zip(totals, rest[part].T, strict=True):
            for mode in range(_MODES):
                one[:, mode] += np.bincount(block[part], weights=influence[:, mode] * left, minlength=len(one))
    count = totals.shape[1]
    lost = np.array([_share_within(left, mask, blocks) for left in rest.T])
    few = count / max(count - _MODES, 1)
    variance = np.sum((totals - totals.mean(axis=1, keepdims=True)) ** 2, axis=1) * few / lost[:, None]
    return solution[:_MODES].T, np.sqrt(variance)


def _share_within(left: Float64Array, mask: BoolArray, blocks: Blocks) -> float:
    """`share_within_blocks` of what is left in the voxels of a mask."""
    volume = np.zeros(mask.shape, np.float32)
    volume[mask] = left - left.mean()
    return share_within_blocks(volume, mask, blocks.edges)


def _cut(volumes: _Volumes, mask: BoolArray) -> tuple[_Volumes, BoolArray]:
    """The box of the mask, with what the band-pass reaches around it."""
    z, y, x = box_of(mask, _MARGIN)
    return _Volumes(volumes.mean[z, y, x], volumes.chemistry[:, z, y, x], volumes.moved_axis[z, y, x]), mask[z, y, x]


def _slabs(volumes: _Volumes, mask: BoolArray) -> Iterator[tuple[Float32Array, Float32Array, slice]]:
    """Regressors ``[voxel, mode and polynomial]`` and the chemistry ``[voxel, component - 1]`` of the mask, by rows."""
    done = 0
    for start in range(0, len(mask), _SLAB):
        here = mask[start : start + _SLAB]
        count = int(np.count_nonzero(here))
        if not count:
            continue
        rows = slice(max(start - _MARGIN, 0), start + _SLAB + _MARGIN)
        inner = slice(start - rows.start, start - rows.start + len(here))
        columns = [column[inner][here] for column in _regressors(volumes, rows)]
        seen = [_sharp(one[rows])[inner][here] for one in volumes.chemistry]
        yield np.stack(columns, axis=1), np.stack(seen, axis=1), slice(done, done + count)
        done += count


def _regressors(volumes: _Volumes, rows: slice) -> Iterator[Float32Array]:
    """What axis, x, y and z change, and the mean times the polynomials, all band-passed."""
    mean = volumes.mean[rows]
    yield _sharp(volumes.moved_axis[rows])
    along_z, along_y, along_x = np.gradient(_sharp(mean))
    yield from (np.asarray(-slope, dtype=np.float32) for slope in (along_x, along_y, along_z))
    z, y, x = (2.0 * np.arange(size) / (size - 1) - 1.0 for size in volumes.mean.shape)
    for i, j, k in product(range(_DEGREE + 1), repeat=3):
        if i + j + k <= _DEGREE:
            polynomial = (z[rows] ** i)[:, None, None] * (y**j)[:, None] * x**k
            yield _sharp((mean * polynomial).astype(np.float32))


def _sharp(volume: Float32Array) -> Float32Array:
    """Band-passed."""
    narrow, wide = (gaussian_filter(volume, std, truncate=_REACH) for std in (_NARROW, WIDE))
    return np.asarray(narrow - wide, dtype=np.float32)


def _of_projections(mean: Float32Array, chemistry: Float32Array, angle: Float64Array) -> Float64Array:
    """Mean variance of column and row shift that one unit of a chemistry makes of single projections, px², ``[2]``.

    ``chemistry`` are projections of its volume, not those that the registration has left: in these no projection shows
    what was taken for its motion. Constant, cosine and sine are no jitter.
    """
    some = np.linspace(0, len(mean) - 1, min(len(mean), _TELLING)).astype(int)
    everywhere = np.ones(some.size, dtype=bool)
    image, seen = (band_passed(images[some], everywhere) for images in (mean, chemistry))
    modes = np.stack([np.ones(some.size), np.cos(angle[some]), np.sin(angle[some])], axis=1)
    variance = []
    for axis, known in ((2, modes), (1, modes[:, :1])):
        slope = np.gradient(image, axis=axis)
        square = np.maximum(np.sum(slope**2, axis=(1, 2), dtype=np.float64), 1e-300)
        shift = np.sum(slope * seen, axis=(1, 2), dtype=np.float64) / square
        left = shift - known @ np.linalg.lstsq(known, shift, rcond=None)[0]
        variance.append(np.sum(left**2) / max(some.size - known.shape[1], 1))
    return np.array(variance)
