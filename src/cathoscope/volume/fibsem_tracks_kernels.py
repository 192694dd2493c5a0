"""Loops of `fibsem_tracks`: windows followed from slice to slice."""

from __future__ import annotations

import numpy as np
from numba import njit

STEEP = 0.05
"""Least gradient of a wall, of the contrast per px: noise and curtains have gradients too."""
LEAST_EDGE = 0.05
"""Least sum of squared gradients in a window."""
ALIKE = 0.97
"""Least share of a window's variance that is found again."""
FASTEST = 4.0
"""px per slice."""
_RIDGE = 0.03  # of the squared gradients: holds a window along its wall, where it knows nothing
_FALL = 1.5  # the window's weight falls as exp(-1.5 (r / half)²)
_ITERATIONS, _SMALL = 5, 0.01  # of Gauss and Newton; px


@njit(cache=True, nogil=True)
def follow(stack, middle, places, half, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` = (moved, information, seen) for windows around ``places`` (row, column) of slice ``middle``.

    ``stack`` [slice, row, column] holds the slices around; ``moved`` [window, slice, 2] is how far each window's
    content lies from its place, ``information`` [window, 2, 2] the sum of its squared gradients, ``seen`` [window,
    slice] whether it is found there. Where a window is not found again, it is looked for by what it had become in the
    slice before; where that is not found either, it is given up.
    """
    moved, information, seen = out
    count, rows, columns = stack.shape
    width = 2 * half + 1
    work = np.zeros((4, width, width))
    now = np.zeros((2, 2))
    for p in range(places.shape[0]):
        row, column = places[p, 0], places[p, 1]
        if row <= half or column <= half or row >= rows - half - 2 or column >= columns - half - 2:
            continue
        if _template(stack[middle], (row, column, 0.0, 0.0), half, work, information[p]) <= 0.0:
            continue
        seen[p, middle] = True
        for sign in (-1, 1):
            variance = _template(stack[middle], (row, column, 0.0, 0.0), half, work, now)
            taken = middle
            y, x, speed_y, speed_x = 0.0, 0.0, 0.0, 0.0
            n = middle + sign
            while 0 <= n < count:
                found, new_y, new_x, rest = _matched(stack[n], (row, column, y + speed_y, x + speed_x), half, work, now)
                alike = found and rest <= (1 - ALIKE) * variance
                if not alike:
                    if taken == n - sign:
                        break
                    taken = n - sign
                    variance = _template(stack[taken], (row, column, y, x), half, work, now)
                    if variance <= 0.0:
                        break
                    continue
                speed_y, speed_x = new_y - y, new_x - x
                if speed_y**2 + speed_x**2 > FASTEST**2:
                    break
                y, x = new_y, new_x
                moved[p, n, 0], moved[p, n, 1], seen[p, n] = y, x, True
                n += sign


@njit(cache=True, nogil=True)
def _template(image, place, half, work, information):  # type: ignore[no-untyped-def]
    """Fill ``work`` (grey value, both gradients, weight) and ``information``; variance, 0 where there is no wall."""
    row, column, y, x = place
    rows, columns = image.shape
    down, right = int(np.floor(y)), int(np.floor(x))
    fy, fx = y - down, x - right
    top, left = row + down - half, column + right - half
    information[:] = 0.0
    if top < 1 or left < 1 or top + 2 * half + 2 >= rows or left + 2 * half + 2 >= columns:
        return 0.0
    total, mean, square = 0.0, 0.0, 0.0
    for i in range(2 * half + 1):
        for j in range(2 * half + 1):
            k, m = top + i, left + j
            grey = _between(image, k, m, fy, fx)
            g = 0.5 * (_between(image, k + 1, m, fy, fx) - _between(image, k - 1, m, fy, fx))
            h = 0.5 * (_between(image, k, m + 1, fy, fx) - _between(image, k, m - 1, fy, fx))
            far = ((i - half) ** 2 + (j - half) ** 2) / half**2
            weight = np.exp(-_FALL * far) if g * g + h * h > STEEP**2 else 0.0
            work[0, i, j], work[1, i, j], work[2, i, j], work[3, i, j] = grey, g, h, weight
            information[0, 0] += weight * g * g
            information[0, 1] += weight * g * h
            information[1, 1] += weight * h * h
            total += weight
            mean += weight * grey
            square += weight * grey**2
    information[1, 0] = information[0, 1]
    if information[0, 0] + information[1, 1] < LEAST_EDGE:
        return 0.0
    return square / total - (mean / total) ** 2


@njit(cache=True, nogil=True)
def _between(image, k, m, fy, fx):  # type: ignore[no-untyped-def]
    """Grey value at (k + fy, m + fx), linear between pixels."""
    upper = image[k, m] * (1 - fx) + image[k, m + 1] * fx
    lower = image[k + 1, m] * (1 - fx) + image[k + 1, m + 1] * fx
    return upper * (1 - fy) + lower * fy


@njit(cache=True, nogil=True)
def _matched(image, start, half, work, information):  # type: ignore[no-untyped-def]
    """Whether the template stays within the image, its displacement (row, column), and the mean square it leaves."""
    row, column, y, x = start
    ridge = _RIDGE * (information[0, 0] + information[1, 1])
    a, b, c = information[0, 0] + ridge, information[0, 1], information[1, 1] + ridge
    rows, columns = image.shape
    left = 0.0
    for _ in range(_ITERATIONS):
        if not (half <= row + y < rows - half - 1 and half <= column + x < columns - half - 1):
            return False, y, x, 0.0
        down, right = int(np.floor(y)), int(np.floor(x))
        fy, fx = y - down, x - right
        sum_y, sum_x, square, total = 0.0, 0.0, 0.0, 0.0
        for i in range(2 * half + 1):
            k = row + down + i - half
            for j in range(2 * half + 1):
                weight = work[3, i, j]
                if weight == 0.0:
                    continue
                m = column + right + j - half
                rest = work[0, i, j] - _between(image, k, m, fy, fx)
                sum_y += weight * work[1, i, j] * rest
                sum_x += weight * work[2, i, j] * rest
                square += weight * rest * rest
                total += weight
        left = square / total
        step_y, step_x = (c * sum_y - b * sum_x) / (a * c - b * b), (a * sum_x - b * sum_y) / (a * c - b * b)
        y, x = y + step_y, x + step_x
        if abs(step_y) + abs(step_x) < _SMALL:
            break
    return True, y, x, left
