"""Compiled filters over the 3 x 3 neighbourhood of every pixel."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def neighbourhood_median(image, median):  # type: ignore[no-untyped-def]
    """Median of each pixel's 3 x 3 neighbourhood, mirrored at the rim: ``image`` to ``median``, both [row, column]."""
    n_rows, n_columns = image.shape
    window = np.empty(9, image.dtype)
    for row in range(n_rows):
        above, below = abs(row - 1), n_rows - 1 - abs(n_rows - 2 - row)
        for column in range(n_columns):
            left, right = abs(column - 1), n_columns - 1 - abs(n_columns - 2 - column)
            window[0], window[1], window[2] = image[above, left], image[above, column], image[above, right]
            window[3], window[4], window[5] = image[row, left], image[row, column], image[row, right]
            window[6], window[7], window[8] = image[below, left], image[below, column], image[below, right]
            median[row, column] = _median_of_nine(window)


@njit(cache=True, nogil=True)
def _order(values, low, high):  # type: ignore[no-untyped-def]
    if values[low] > values[high]:
        values[low], values[high] = values[high], values[low]


@njit(cache=True, nogil=True)
def _median_of_nine(values):  # type: ignore[no-untyped-def]
    """Median by the 19 exchanges of Smith (*Implementing median filters in XC4000E FPGAs*, XCell 23, 1996)."""
    for low, high in (
        *((1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 3)),
        *((5, 8), (4, 7), (3, 6), (1, 4), (2, 5), (4, 7), (4, 2), (6, 4), (4, 2)),
    ):
        _order(values, low, high)
    return values[4]


@njit(cache=True, nogil=True)
def fill_from_neighbours(image, bad, alone):  # type: ignore[no-untyped-def]
    """Replace bad pixels by the median of their good neighbours; mark in ``alone`` those without any."""
    n_rows, n_columns = image.shape
    good = np.empty(8, image.dtype)
    for row in range(n_rows):
        for column in range(n_columns):
            if not bad[row, column]:
                continue
            count = 0
            for i in range(max(row - 1, 0), min(row + 2, n_rows)):
                for j in range(max(column - 1, 0), min(column + 2, n_columns)):
                    if not bad[i, j]:
                        good[count] = image[i, j]
                        count += 1
            if count == 0:
                alone[row, column] = True
            else:
                chosen = np.sort(good[:count])
                image[row, column] = 0.5 * (chosen[(count - 1) // 2] + chosen[count // 2])


@njit(cache=True, nogil=True)
def deviation_from_neighbours(sinogram, reach, deviation):  # type: ignore[no-untyped-def]
    """Each value minus the median of up to ``reach`` values on either side in its projection, itself left out.

    ``sinogram`` to ``deviation``, both [projection, column]. Leaving the value itself out keeps the median of an
    even number, which on a slope lies on the slope.
    """
    n_projections, n_columns = sinogram.shape
    for projection in range(n_projections):
        values = sinogram[projection]
        for column in range(n_columns):
            near = min(reach, column, n_columns - 1 - column)
            window = np.empty(2 * near, values.dtype)
            window[:near] = values[column - near : column]
            window[near:] = values[column + 1 : column + near + 1]
            window.sort()
            middle = 0.5 * (window[near - 1] + window[near]) if near else values[column]
            deviation[projection, column] = values[column] - middle
