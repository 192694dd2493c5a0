"""Loops of `fibsem_tracks`: windows followed from slice to slice, and the normal equations of what they say."""

from __future__ import annotations

import numpy as np
from numba import njit

STEEP = 0.05
"""Least gradient of a wall, of the contrast per px: noise and curtains have gradients too."""
LEAST_EDGE = 0.05
"""Least sum of squared gradients in a window."""
ALIKE = 0.7
"""Least share of a window's variance that is found again."""
FASTEST = 4.0
"""px per slice."""
_RIDGE = 0.03  # of the squared gradients: holds a window along its wall, where it knows nothing
_FALL = 1.5  # the window's weight falls as exp(-1.5 (r / half)²)
_ITERATIONS, _SMALL = 5, 0.01  # of Gauss and Newton; px
_LEAST_FOLLOWED = 5  # slices


@njit(cache=True, nogil=True)
def follow(stack, middle, places, half, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` = (moved, information, seen) for windows around ``places`` (row, column) of slice ``middle``.

    ``stack`` [slice, row, column] holds the slices around; ``moved`` [window, slice, 2] is how far each window's
    content lies from its place, ``information`` [window, 2, 2] the sum of its squared gradients, ``seen`` [window,
    slice] whether it is found there. A window is given up in the first slice where it is not.
    """
    moved, information, seen = out
    count, rows, columns = stack.shape
    width = 2 * half + 1
    work = np.zeros((4, width, width))
    for p in range(places.shape[0]):
        row, column = places[p, 0], places[p, 1]
        if row <= half or column <= half or row >= rows - half - 1 or column >= columns - half - 1:
            continue
        variance = _template(stack[middle], row, column, half, work, information[p])
        if variance <= 0.0:
            continue
        seen[p, middle] = True
        for sign in (-1, 1):
            y, x, speed_y, speed_x = 0.0, 0.0, 0.0, 0.0
            n = middle + sign
            while 0 <= n < count:
                found, new_y, new_x, rest = _matched(
                    stack[n], (row, column, y + speed_y, x + speed_x), half, work, information[p]
                )
                speed_y, speed_x = new_y - y, new_x - x
                if not found or rest > (1 - ALIKE) * variance or speed_y**2 + speed_x**2 > FASTEST**2:
                    break
                y, x = new_y, new_x
                moved[p, n, 0], moved[p, n, 1], seen[p, n] = y, x, True
                n += sign


@njit(cache=True, nogil=True)
def _template(image, row, column, half, work, information):  # type: ignore[no-untyped-def]
    """Fill ``work`` (grey value, both gradients, weight) and ``information``; variance, 0 where there is no wall."""
    total, mean, square = 0.0, 0.0, 0.0
    information[:] = 0.0
    for i in range(2 * half + 1):
        for j in range(2 * half + 1):
            y, x = row + i - half, column + j - half
            g = 0.5 * (image[y + 1, x] - image[y - 1, x])
            h = 0.5 * (image[y, x + 1] - image[y, x - 1])
            far = ((i - half) ** 2 + (j - half) ** 2) / half**2
            weight = np.exp(-_FALL * far) if g * g + h * h > STEEP**2 else 0.0
            work[0, i, j], work[1, i, j], work[2, i, j], work[3, i, j] = image[y, x], g, h, weight
            information[0, 0] += weight * g * g
            information[0, 1] += weight * g * h
            information[1, 1] += weight * h * h
            total += weight
            mean += weight * image[y, x]
            square += weight * image[y, x] ** 2
    information[1, 0] = information[0, 1]
    if information[0, 0] + information[1, 1] < LEAST_EDGE:
        return 0.0
    return square / total - (mean / total) ** 2


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
                upper = image[k, m] * (1 - fx) + image[k, m + 1] * fx
                lower = image[k + 1, m] * (1 - fx) + image[k + 1, m + 1] * fx
                rest = work[0, i, j] - upper * (1 - fy) - lower * fy
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


@njit(cache=True, nogil=True)
def add_windows(normal, right, windows, weight, group):  # type: ignore[no-untyped-def]
    """Add to ``normal`` (2 slices, 2 slices) and ``right`` (group, 2 slices) what windows say of all positions.

    ``windows`` = (first, along, direction, seen): number of the slice of each window's first entry, displacement
    [window, slice] along its ``direction`` [window, 2], and whether it was seen. A place and a speed of the window's
    own are eliminated. ``weight`` [window, slice]; ``group`` [window].
    """
    first, along, direction, seen = windows
    slices = along.shape[1]
    place, kept = np.empty(slices, np.int64), np.empty(slices)
    for p in range(along.shape[0]):
        used, middle, total = 0, 0.0, 0.0
        for k in range(slices):
            if seen[p, k]:
                place[used], kept[used] = k, weight[p, k]
                total += weight[p, k]
                middle += k * weight[p, k]
                used += 1
        if used < _LEAST_FOLLOWED:
            continue
        middle /= total
        spread = 0.0
        for i in range(used):
            spread += kept[i] * (place[i] - middle) ** 2
        for i in range(used):
            n = 2 * (first[p] + place[i])
            for j in range(used):
                m = 2 * (first[p] + place[j])
                share = -kept[i] * kept[j] * (1 / total + (place[i] - middle) * (place[j] - middle) / spread)
                if i == j:
                    share += kept[i]
                for a in range(2):
                    right[group[p], n + a] += direction[p, a] * share * along[p, place[j]]
                    for b in range(2):
                        normal[n + a, m + b] += direction[p, a] * direction[p, b] * share
