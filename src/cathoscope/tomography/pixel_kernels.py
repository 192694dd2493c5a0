"""Compiled filters over the 3 x 3 neighbourhood of every pixel."""

from __future__ import annotations

import numpy as np
from numba import njit

from cathoscope.numerics.spread import MAD_TO_STD

_BINS = 1024  # that magnitudes are sorted into on the way to their median


@njit(cache=True, nogil=True)
def neighbourhood_median(image, median):  # type: ignore[no-untyped-def]
    """Median of each pixel's 3 x 3 neighbourhood, mirrored at the rim: ``image`` to ``median``, both [row, column].

    Every column of three is sorted once; the median of nine is the median of the largest of the three lows, the
    median of the three middles and the smallest of the three highs (Paeth, *Graphics Gems*, 1990, p. 171).
    """
    n_rows, n_columns = image.shape
    low, middle, high = np.empty_like(image[0]), np.empty_like(image[0]), np.empty_like(image[0])
    for row in range(n_rows):
        above, centre, below = image[abs(row - 1)], image[row], image[n_rows - 1 - abs(n_rows - 2 - row)]
        for column in range(n_columns):
            a, b, c = above[column], centre[column], below[column]
            least, most = min(a, b), max(a, b)
            low[column] = min(least, c)
            high[column] = max(most, c)
            middle[column] = max(least, min(most, c))
        for column in range(n_columns):
            left, right = abs(column - 1), n_columns - 1 - abs(n_columns - 2 - column)
            lows = max(low[left], max(low[column], low[right]))
            highs = min(high[left], min(high[column], high[right]))
            middles = _middle(middle[left], middle[column], middle[right])
            median[row, column] = _middle(lows, middles, highs)


@njit(cache=True, nogil=True)
def _middle(a, b, c):  # type: ignore[no-untyped-def]
    return max(min(a, b), min(max(a, b), c))


@njit(cache=True, nogil=True)
def remove_zingers(frames, threshold, gain):  # type: ignore[no-untyped-def]
    """Replace bright pixels of ``frames`` [frame, row, column] by the median around them; returns how many.

    ``threshold`` is in standard deviations, the larger of counting noise (``gain`` counts per photon) and 1.4826
    times the median absolute excess of the frame.
    """
    local, away = np.empty_like(frames[0]), np.empty_like(frames[0])
    n_replaced = 0
    for frame in frames:
        neighbourhood_median(frame, local)
        # the scatter takes longer than the rest, and many frames have no pixel that counting noise does not explain
        if not _any_above(frame, local, threshold * threshold * gain):
            continue
        for row in range(frame.shape[0]):
            for column in range(frame.shape[1]):
                away[row, column] = abs(frame[row, column] - local[row, column])
        scatter = MAD_TO_STD * _median_of_magnitudes(away.ravel())
        for row in range(frame.shape[0]):
            for column in range(frame.shape[1]):
                excess = frame[row, column] - local[row, column]
                if excess <= threshold * scatter:
                    continue
                if excess > threshold * np.sqrt(gain * max(local[row, column], 1.0)):
                    frame[row, column] = local[row, column]
                    n_replaced += 1
    return n_replaced


@njit(cache=True, nogil=True)
def _median_of_magnitudes(values):  # type: ignore[no-untyped-def]
    """Median of values that are not negative, as `numpy.median` has it, by sorting the few beside it alone."""
    middle = (values.size - 1) // 2, values.size // 2
    mean = values.mean()
    if not 0.0 < mean < np.inf:
        return np.median(values)
    # by Markov's inequality a median is at most twice the mean: what is above shares the last bin
    scale = np.float32(0.5 * _BINS / mean)
    count = np.zeros(_BINS + 1, np.int64)
    last = np.float32(_BINS)
    for value in values:
        count[int(min(value * scale, last))] += 1
    upto = np.cumsum(count)
    first, final = np.searchsorted(upto, middle[0], "right"), np.searchsorted(upto, middle[1], "right")
    beside = np.empty(count[first : final + 1].sum(), values.dtype)
    n_beside = 0
    for value in values:
        if first <= int(min(value * scale, last)) <= final:
            beside[n_beside] = value
            n_beside += 1
    beside.sort()
    before = upto[first] - count[first]
    return 0.5 * (beside[middle[0] - before] + beside[middle[1] - before])


@njit(cache=True, nogil=True)
def _any_above(frame, local, square):  # type: ignore[no-untyped-def]
    """Whether any pixel is above its local median by about ``sqrt(square * median)`` or more."""
    found = False
    for row in range(frame.shape[0]):
        for column in range(frame.shape[1]):
            excess = max(frame[row, column] - local[row, column], 0.0)
            found |= excess * excess > 0.999 * square * max(local[row, column], 1.0)
    return found


@njit(cache=True, nogil=True)
def fill_stack(images, mask, lost):  # type: ignore[no-untyped-def]
    """Fill pixels of ``mask`` and those that are not finite in every image, as `fill_from_neighbours`.

    ``lost`` [image] tells where that is not enough: 1 where bad pixels have no good neighbour, 2 where all are bad.
    Such images are left as they are.
    """
    bad, alone = np.empty(mask.shape, np.bool_), np.empty(mask.shape, np.bool_)
    filled = np.empty_like(images[0])
    for index in range(images.shape[0]):
        image = images[index]
        n_bad = 0
        for row in range(mask.shape[0]):
            for column in range(mask.shape[1]):
                bad[row, column] = mask[row, column] or not np.isfinite(image[row, column])
                n_bad += bad[row, column]
        if n_bad == 0:
            continue
        if n_bad == mask.size:
            lost[index] = 2
            continue
        filled[:] = image
        alone[:] = False
        fill_from_neighbours(filled, bad, alone)
        if alone.any():
            lost[index] = 1
        else:
            image[:] = filled


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
    n_columns = sinogram.shape[1]
    inner = max(n_columns - 2 * reach, 0)
    near = np.empty((2 * reach, inner), sinogram.dtype)
    for projection in range(len(sinogram)):
        values, result = sinogram[projection], deviation[projection]
        if inner and np.isfinite(values.sum()):
            for k in range(reach):
                near[k] = values[k : k + inner]
                near[reach + k] = values[reach + 1 + k : reach + 1 + k + inner]
            _rise_to_the_middle(near)
            result[reach : reach + inner] = values[reach : reach + inner] - 0.5 * (near[reach - 1] + near[reach])
            rim = reach
        else:
            rim = n_columns
        for column in range(n_columns):
            if min(column, n_columns - 1 - column) < rim:
                result[column] = _deviation_near_rim(values, column, reach)


@njit(cache=True, nogil=True)
def _rise_to_the_middle(near):  # type: ignore[no-untyped-def]
    """Sort each column of ``near`` [neighbour, column] from its end down to the two in the middle, all at once."""
    size = len(near)
    for last in range(size - 1, size // 2 - 2, -1):
        for k in range(last):
            below, above = near[k], near[k + 1]
            for column in range(below.size):
                a, b = below[column], above[column]
                below[column], above[column] = min(a, b), max(a, b)


@njit(cache=True, nogil=True)
def _deviation_near_rim(values, column, reach):  # type: ignore[no-untyped-def]
    near = min(reach, column, values.size - 1 - column)
    if not near:
        return values[column] - values[column]
    window = np.concatenate((values[column - near : column], values[column + 1 : column + near + 1]))
    window.sort()
    return values[column] - 0.5 * (window[near - 1] + window[near])
