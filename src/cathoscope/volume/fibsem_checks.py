"""What raw FIB/SEM slices must be before anything is corrected in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError

Frames = NDArray[Any] | Sequence[NDArray[Any]]

_LEAST_EDGE = 32  # px
_SATURATED = 0.02
_CHECKED = 12  # slices that are looked at for saturation and contrast


def checked_frames(frames: Frames, voxel_size: tuple[float, float, float]) -> tuple[int, int]:
    """Rows and columns of the slices of a stack.

    Raises
    ------
    MeasurementError
        If there are no slices, they differ in size, are too small, not finite, constant, saturated, or show dark
        particles in a bright field; if the voxel's edges seem to be in another order than slice, row, column.
    """
    if len(frames) == 0:
        raise MeasurementError("the stack is empty", expected="slices", found="none", cure="check the list of files")
    first = np.asarray(frames[0])
    if first.ndim != 2 or min(first.shape) < _LEAST_EDGE:
        raise MeasurementError(
            "the slices are no images",
            expected=f"[row, column] of {_LEAST_EDGE} px or more along each edge",
            found=f"shape {first.shape}",
            cure="frames[slice, row, column]; a colour image has to be made grey first",
        )
    _require_order(voxel_size)
    _require_one_size(frames, first.shape)
    _require_contrast(frames)
    return int(first.shape[0]), int(first.shape[1])


def _require_order(voxel_size: tuple[float, float, float]) -> None:
    """Pixels are square: of edges (slice, row, column) the last two are alike."""
    z, y, x = voxel_size
    if abs(y / x - 1) > 0.05 and (abs(z / y - 1) < 0.05 or abs(z / x - 1) < 0.05):
        other = x if abs(z / y - 1) < 0.05 else y
        raise MeasurementError(
            "the edges of the voxel seem to be in another order",
            expected="(slice thickness, row, column), pixels being square",
            found=str(tuple(voxel_size)),
            cure=f"voxel_size=({other:g}, {z:g}, {z:g})",
        )


def _require_one_size(frames: Frames, shape: tuple[int, ...]) -> None:
    """All slices as the first."""
    if isinstance(frames, np.ndarray):
        return
    for n, frame in enumerate(frames):
        if np.shape(frame) != shape:
            raise MeasurementError(
                "slices of one stack differ in size",
                expected=f"{shape[0]} x {shape[1]} px as the first",
                found=f"slice {n} of {' x '.join(str(k) for k in np.shape(frame))}",
                cure="leave out what belongs to another stack, or crop all slices alike",
            )


def _require_contrast(frames: Frames) -> None:
    """Finite, not constant, not cut off, and solid bright."""
    saturated, inverted, seen = [], [], 0
    for n in np.unique(np.linspace(0, len(frames) - 1, _CHECKED).astype(int)):
        frame = np.asarray(frames[int(n)])
        if not np.all(np.isfinite(frame)):
            raise MeasurementError(
                f"slice {n} has values that are no numbers",
                expected="finite grey values",
                found=f"{np.count_nonzero(~np.isfinite(frame))} pixels",
                cure="fill them, or leave the slice out",
            )
        low, high = float(frame.min()), float(frame.max())
        if high <= low:
            continue
        seen += 1
        grey = frame.astype(np.float32)
        smooth = (grey[:-1, :-1] + grey[1:, :-1] + grey[:-1, 1:] + grey[1:, 1:]) * np.float32(0.25)
        bright = smooth > 0.5 * (float(smooth.min()) + float(smooth.max()))
        saturated.append(int(np.count_nonzero(frame == high)) / max(int(np.count_nonzero(bright)), 1))
        rim = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
        inverted.append(rim.mean() > 0.9 and bright.mean() < 0.9 * rim.mean())
    if not seen:
        raise MeasurementError(
            "all slices are constant",
            expected="a bright particle in dark surroundings",
            found=f"{len(frames)} slices of one grey value each",
            cure="look at the raw files: the detector may have been off",
        )
    if np.median(saturated) > _SATURATED:
        raise MeasurementError(
            "the slices are saturated",
            expected="fewer than 2 % of the solid at the largest grey value",
            found=f"{100 * float(np.median(saturated)):.0f} %",
            cure="record with less contrast, or export the raw files with a wider range of grey values",
        )
    if np.mean(inverted) > 0.5:
        raise MeasurementError(
            "the contrast is inverted: the field around the particle is bright",
            expected="bright solid in dark surroundings",
            found="bright faces of the field around a dark middle",
            cure="frames = 255 - frames",
        )


def repeated_frames(frames: Frames, remarks: list[str], flags: list[str]) -> list[int]:
    """Numbers of the slices without those that equal the one before to the last bit."""
    kept = [0]
    for n in range(1, len(frames)):
        if np.array_equal(np.asarray(frames[n]), np.asarray(frames[n - 1])):
            flags.append("repeated slice")
            remarks.append(f"slice {n} is the same image as the one before: it is left out")
        else:
            kept.append(n)
    return kept
