"""Parallel-beam projection of a pixelated object, every pixel's shadow spread by exact areas.

A unit square seen at the angle theta throws a trapezoidal shadow: the convolution of two boxes of the widths
|cos(theta)| and |sin(theta)|. Its area, 1, is divided exactly among the detector bins it falls on, so the sum
over all bins is the sum over all pixels at every angle. A shadow is at most sqrt(2) wide and therefore never
reaches beyond the bin it is centred in and that bin's two neighbours.

Many slices and components share one geometry. They are the innermost index of the loops: the weights are
computed once for all of them, and the additions run on vector registers. Squares of ``_TILE`` pixels are
projected into a small buffer that stays in the cache, and added to the sinogram from there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError

_TILE = 48  # pixels
_MARGIN = 2  # columns at either side of a tile's shadow


@njit(cache=True, nogil=True)
def _tail(distance, wide, narrow):  # type: ignore[no-untyped-def]
    """Part of a shadow beyond ``distance`` from its middle, on one side; ``wide`` and ``narrow`` are its two boxes.

    Over the plateau 1/2 - distance / wide, over the ramp (reach - distance)**2 / (2 wide narrow).
    """
    reach = 0.5 * (wide + narrow)
    if distance >= reach:
        return 0.0
    if distance <= 0.5 * (wide - narrow):
        return 0.5 - distance / wide
    return (reach - distance) ** 2 / (2.0 * wide * narrow)


@njit(cache=True, nogil=True)
def _gather(slices, corner, pixels, places):  # type: ignore[no-untyped-def]
    """Copy the pixels of a tile that are not empty to (pixel, row * component), note their x and y; their number."""
    n_rows, n_y, n_x, n_components = slices.shape
    count = 0
    for y in range(corner[0], min(corner[0] + _TILE, n_y)):
        for x in range(corner[1], min(corner[1] + _TILE, n_x)):
            filled = False
            for row in range(n_rows):
                for component in range(n_components):
                    filled |= slices[row, y, x, component] != 0.0
            if filled:
                for row in range(n_rows):
                    for component in range(n_components):
                        pixels[count, row * n_components + component] = slices[row, y, x, component]
                places[count, 0] = x - 0.5 * (n_x - 1)
                places[count, 1] = y - 0.5 * (n_y - 1)
                count += 1
    return count


@njit(cache=True, nogil=True)
def _add(target, source, weight):  # type: ignore[no-untyped-def]
    """Add ``weight`` times ``source``; a loop over whole rows, which the compiler puts on vector registers."""
    for batch in range(target.size):
        target[batch] += weight * source[batch]


@njit(cache=True, nogil=True)
def _spread(shadow, first, pixels, columns, wide, narrow):  # type: ignore[no-untyped-def]
    """Add the shadows of ``pixels``, centred at ``columns``, to ``shadow`` (column, batch), whose first is ``first``.

    Places are rounded before ``first`` is taken off, so that no bit depends on which other pixels are filled.
    """
    for pixel in range(pixels.shape[0]):
        middle = int(np.floor(columns[pixel] + 0.5))
        from_left = _tail(columns[pixel] - middle + 0.5, wide, narrow)
        from_right = _tail(middle + 0.5 - columns[pixel], wide, narrow)
        _add(shadow[middle - first], pixels[pixel], np.float32(1.0 - from_left - from_right))
        if from_left > 0.0:
            _add(shadow[middle - first - 1], pixels[pixel], np.float32(from_left))
        if from_right > 0.0:
            _add(shadow[middle - first + 1], pixels[pixel], np.float32(from_right))


@njit(cache=True, nogil=True)
def _collect(image, shadow, first):  # type: ignore[no-untyped-def]
    """Add ``shadow`` (column, row * component) to ``image`` (row, component, column) from its column ``first`` on."""
    n_rows, n_components, n_columns = image.shape
    start, stop = max(0, -first), min(shadow.shape[0], n_columns - first)
    for row in range(n_rows):
        for component in range(n_components):
            batch = row * n_components + component
            for column in range(start, stop):
                image[row, component, first + column] += shadow[column, batch]


@njit(cache=True, nogil=True)
def _project(sinogram, first_row, slices, cosines, sines):  # type: ignore[no-untyped-def]
    """Add projections of ``slices`` (row, y, x, component) to ``sinogram`` (angle, row, component, column)."""
    n_rows, n_y, n_x, n_components = slices.shape
    pixels = np.empty((_TILE * _TILE, n_rows * n_components), dtype=np.float32)
    places = np.empty((_TILE * _TILE, 2))
    columns = np.empty(_TILE * _TILE)
    shadow = np.empty((int(np.ceil(_TILE * np.sqrt(2.0))) + 2 * _MARGIN + 1, n_rows * n_components), dtype=np.float32)
    for y in range(0, n_y, _TILE):
        for x in range(0, n_x, _TILE):
            count = _gather(slices, (y, x), pixels, places)
            if count == 0:
                continue
            for angle in range(cosines.size):
                wide = max(abs(cosines[angle]), abs(sines[angle]))
                narrow = min(abs(cosines[angle]), abs(sines[angle]))
                leftmost = np.inf
                for pixel in range(count):
                    columns[pixel] = 0.5 * (sinogram.shape[3] - 1)
                    columns[pixel] += places[pixel, 0] * cosines[angle] + places[pixel, 1] * sines[angle]
                    leftmost = min(leftmost, columns[pixel])
                first = int(np.floor(leftmost)) - _MARGIN
                shadow[:] = np.float32(0.0)
                _spread(shadow, first, pixels[:count], columns[:count], wide, narrow)
                _collect(sinogram[angle, first_row : first_row + n_rows], shadow, first)


def project_rows(
    slices: NDArray[np.float32],
    angles: NDArray[np.float64],
    sinogram: NDArray[np.float32],
    first_row: int = 0,
    kernel: Any = _project,
) -> None:
    """Add the projections of some slices to a sinogram; what falls beside its columns is lost.

    column = (columns - 1) / 2 + x cos(theta) + y sin(theta), with x and y from the middle of a slice.
    A row does not depend on the rows it is projected together with.

    Parameters
    ----------
    slices
        Density per pixel, shape (row, y, x, component).
    angles
        Degrees.
    sinogram
        Line integrals in units of a pixel's edge, shape (angle, row, component, column); bins are as wide as pixels.
    first_row
        Row of the sinogram that the first slice belongs to.
    kernel
        The compiled loop, or ``_project.py_func``.

    Raises
    ------
    CathoscopeError
        If the shapes do not belong together.
    """
    rows = range(first_row, first_row + slices.shape[0])
    fits = rows.start >= 0 and rows.stop <= sinogram.shape[1]
    if not fits or (angles.size, slices.shape[3]) != (sinogram.shape[0], sinogram.shape[2]):
        raise CathoscopeError(
            "the sinogram does not belong to these slices",
            expected=f"{angles.size} angles, rows {rows.start} to {rows.stop}, {slices.shape[3]} components",
            found=f"(angle, row, component, column) = {sinogram.shape}",
        )
    theta = np.radians(angles)
    kernel(sinogram, first_row, np.ascontiguousarray(slices, dtype=np.float32), np.cos(theta), np.sin(theta))


def project(volume: NDArray[np.float32], angles: NDArray[np.float64], columns: int) -> NDArray[np.float32]:
    """Projections (angle, column, batch) of ``volume`` (y, x, batch); see `project_rows`."""
    batch = volume.shape[-1]
    sinogram = np.zeros((angles.size, 1, batch, columns), dtype=np.float32)
    project_rows(volume[None], angles, sinogram)
    return np.ascontiguousarray(sinogram[:, 0].transpose(0, 2, 1))
