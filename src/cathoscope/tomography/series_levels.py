"""A series of scans at one resolution: binning, the first guess of its motion, and the model it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cathoscope.tomography.motion import (
    Model,
    Motion,
    Registration,
    band_passed,
    model_of,
    register_scan,
    spline_coefficients,
)
from cathoscope.tomography.series_kernels import accumulate

FloatArray = NDArray[np.floating]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

Scans = Callable[[int], "Scan | None"]

_STRAY = 2.5  # px; a first guess further from the others' smooth course is replaced by it
_MEMBERS = 4  # every so manieth projection shows the components of the chemistry


@dataclass(frozen=True)
class Level:
    """A binned detector: pixel (r, c) is the mean of ``binning`` x ``binning`` pixels from ``origin`` on.

    ``middle`` is the optical axis (row, column) in binned px.
    """

    binning: int
    shape: tuple[int, int]
    origin: tuple[int, int]
    middle: tuple[float, float]


@dataclass(frozen=True)
class Scan:
    """Optical depth ``[projection, row, column]`` of one scan at a level.

    ``difference`` is the angle of each projection minus the series' common one, rad; projections that are not
    ``usable`` hold zeros.
    """

    depth: Float32Array
    difference: Float64Array
    usable: BoolArray


def level_of(shape: tuple[int, int], binning: int) -> Level:
    """Level of a detector of ``shape`` (rows, columns); what does not fill a bin is left out on both sides."""
    binned = (shape[0] // binning, shape[1] // binning)
    origin = ((shape[0] % binning) // 2, (shape[1] % binning) // 2)
    row, column = (
        (0.5 * (size - 1) - start - 0.5 * (binning - 1)) / binning for size, start in zip(shape, origin, strict=True)
    )
    return Level(binning, binned, origin, (row, column))


def binned_depth(depth: FloatArray, level: Level) -> Float32Array:
    """Mean optical depth of bins, ``[projection, row, column]`` float32."""
    (rows, columns), size = level.shape, level.binning
    inside = depth[
        :,
        level.origin[0] : level.origin[0] + rows * size,
        level.origin[1] : level.origin[1] + columns * size,
    ]
    if size == 1:
        return np.ascontiguousarray(inside, dtype=np.float32)
    parts = inside.reshape(len(depth), rows, size, columns, size)
    return np.asarray(parts.mean(axis=(2, 4), dtype=np.float32))


def finer(motion: Motion, factor: float) -> Motion:
    """The same motion in pixels ``factor`` times smaller."""
    return replace(motion, column_shift=motion.column_shift * factor, row_shift=motion.row_shift * factor)


def first_motions(scans: Scans, magnification: Float64Array, angle: Float64Array) -> list[Motion | None]:
    """How all scans lie against the one that shows most, to a pixel, by cross-correlation.

    ``angle`` are the common angles in rad.
    """
    mass = np.array([_mass(scans(energy)) for energy in range(magnification.size)])
    reference = int(np.argmax(mass))
    spectrum = None
    motions: list[Motion | None] = []
    for energy in range(magnification.size):
        scan = scans(energy)
        fixed = scans(reference)
        if scan is None or fixed is None or mass[energy] <= 0:
            motions.append(None)
            continue
        if spectrum is None:
            spectrum = scipy.fft.rfft2(band_passed(fixed.depth, fixed.usable), workers=1)
        column, row = _correlated(scan, spectrum)
        both = scan.usable & fixed.usable
        column, row = _without_strays(column, angle, both), _without_strays(row, angle, both)
        ratio = float(magnification[energy] / magnification[reference])
        weight = np.array([mass[energy] / mass[reference]])
        motions.append(Motion(column, row, ratio, 0.0, weight, scan.usable))
    return motions


def _mass(scan: Scan | None) -> float:
    """Mean optical depth of the usable projections; 0 without any."""
    if scan is None or not scan.usable.any():
        return 0.0
    return float(scan.depth[scan.usable].mean(dtype=np.float64))


def _correlated(scan: Scan, spectrum: NDArray[np.complex64]) -> tuple[Float64Array, Float64Array]:
    own = scipy.fft.rfft2(band_passed(scan.depth, scan.usable), workers=1)
    shape = scan.depth.shape[1:]
    likeness = scipy.fft.irfft2(own * np.conj(spectrum), s=shape, workers=1)
    place = likeness.reshape(len(likeness), -1).argmax(axis=1)
    row, column = (axis.astype(np.float64) for axis in np.unravel_index(place, shape))
    row[row > shape[0] / 2] -= shape[0]
    column[column > shape[1] / 2] -= shape[1]
    return column, row


def _without_strays(shift: Float64Array, angle: Float64Array, usable: BoolArray) -> Float64Array:
    """Shifts with those far off their sinusoid put on it; the sinusoid is fitted to absolute deviations."""
    design = np.stack([np.ones_like(angle), np.cos(angle), np.sin(angle)], axis=1)
    weight = usable.astype(np.float64)
    smooth = np.zeros_like(shift)
    for _ in range(20):
        root = np.sqrt(weight)
        smooth = design @ np.linalg.lstsq(design * root[:, None], shift * root, rcond=None)[0]
        weight = usable / np.maximum(np.abs(shift - smooth), 0.3)
    return np.where(usable & (np.abs(shift - smooth) <= _STRAY), shift, smooth)


@dataclass(frozen=True)
class Passed:
    """What one pass over the energies leaves: registrations, motions, and the components seen from them."""

    found: list[Registration | None]
    motions: list[Motion | None]
    components: Float32Array


def pass_over(
    scans: Scans,
    motions: list[Motion | None],
    angle: Float64Array,
    level: Level,
    components: Float32Array | None,
    free: tuple[bool, bool],
) -> Passed:
    """Register every scan against the components, if there are any, and make the components anew.

    The components ``[component, projection, row, column]`` are the least-squares solution of the scans, each put
    back to where the model is, as sums with their weights.
    """
    model = None if components is None else model_of(components, angle, level.middle)
    count = next(motion.weight.size for motion in motions if motion is not None)
    total = np.zeros((count, angle.size, *level.shape), dtype=np.float32)
    products = np.zeros((angle.size, count, count))
    found: list[Registration | None] = []
    moved: list[Motion | None] = []
    for energy, motion in enumerate(motions):
        one, motion = _one_scan(scans, energy, motion, (model, level, free), (total, products))
        found.append(one)
        moved.append(motion)
    return Passed(found, moved, _solved(total, products, components))


def _one_scan(
    scans: Scans,
    energy: int,
    motion: Motion | None,
    against: tuple[Model | None, Level, tuple[bool, bool]],
    sums: tuple[Float32Array, Float64Array],
) -> tuple[Registration | None, Motion | None]:
    """One scan registered and added to the sums; it is gone from memory when the next one is read."""
    model, level, free = against
    total, products = sums
    scan = None if motion is None else scans(energy)
    if motion is None or scan is None:
        return None, None
    one = None
    if model is not None:
        one = register_scan(scan.depth, model, replace(motion, usable=scan.usable), scan.difference, free=free)
        motion = one.motion
    if motion.usable.any():
        _add(scan, motion, level, total)
        products[motion.usable] += np.outer(motion.weight, motion.weight)
    return one, motion


def _add(scan: Scan, motion: Motion, level: Level, total: Float32Array) -> None:
    place = np.stack([motion.column_shift, motion.row_shift], axis=1)
    optics = (level.middle[0], level.middle[1], motion.magnification)
    accumulate(spline_coefficients(scan.depth), optics, place, motion.weight, motion.usable, total)


def _solved(total: Float32Array, products: Float64Array, before: Float32Array | None) -> Float32Array:
    """Components of every projection; those of projections that no scan shows are kept, or zero."""
    typical = np.trace(products.mean(axis=0)) + 1e-30
    inverse = np.linalg.pinv(products, rcond=1e-6, hermitian=True)
    result = np.einsum("pkj,jprc->kprc", inverse.astype(np.float32), total)
    unseen = np.trace(products, axis1=1, axis2=2) < 1e-3 * typical
    if before is not None and before.shape == result.shape:
        result[:, unseen] = before[:, unseen]
    return np.asarray(result, dtype=np.float32)


def component_weights(
    scans: Scans, motions: list[Motion | None], component: Float32Array, level: Level, count: int
) -> list[Motion | None]:
    """Motions with the weights of ``count`` components: the first as it is, and those of what it does not explain.

    The others are the largest eigenvectors of the scans' products with each other after the first is taken off.
    """
    part = slice(None, None, _MEMBERS)
    rest: dict[int, Float32Array] = {}
    for energy, motion in enumerate(motions):
        scan = None if motion is None else scans(energy)
        if motion is None or scan is None:
            continue
        usable = motion.usable[part]
        aligned = np.zeros((1, *component[part].shape), dtype=np.float32)
        place = np.stack([motion.column_shift, motion.row_shift], axis=1)[part]
        optics = (level.middle[0], level.middle[1], motion.magnification)
        accumulate(spline_coefficients(scan.depth[part]), optics, place, np.ones(1), usable, aligned)
        explained = np.float32(motion.weight[0]) * component[part]
        rest[energy] = np.where(usable[:, None, None], aligned[0] - explained, np.float32(0.0)).ravel()
    stack = np.stack(list(rest.values()))
    _, vectors = np.linalg.eigh((stack @ stack.T).astype(np.float64))
    others = vectors[:, ::-1][:, : min(count - 1, len(rest) - 1)]
    first = np.array([motion.weight[0] for motion in motions if motion is not None])
    # at right angles to the first, so that the first component stays the mean of the scans
    others = others - np.outer(first, first @ others) / (first @ first)
    result = list(motions)
    for row, energy in enumerate(rest):
        motion = motions[energy]
        if motion is not None:
            result[energy] = replace(motion, weight=np.concatenate([motion.weight[:1], others[row]]))
    return result
