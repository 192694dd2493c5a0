"""Kernels of `motion`: images read through a motion, band-passed, and summed to normal equations.

Images are ``[row, column]`` float32. Maps of rows and of columns are whole numbers and four weights for each pixel,
so that reading an image is two passes of one dimension.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_LEAST_TRANSMISSION = np.float32(0.02)  # as a weight
_MARGIN = 2  # px of the rim that are not looked at


@njit(cache=True, nogil=True)
def _empty_map(size):  # type: ignore[no-untyped-def]
    """Room for a map of rows or of columns: first of the four nodes, and their weights."""
    return np.empty(size, dtype=np.int64), np.empty((4, size), dtype=np.float32)


@njit(cache=True, nogil=True)
def _spline_map(middle, shift, scale, out):  # type: ignore[no-untyped-def]
    """Where sample i of the output looks: ``middle + (i - middle - shift) * scale``, and four spline weights."""
    base, weights = out
    for i in range(base.size):
        position = middle + (i - middle - shift) * scale
        node = np.floor(position)
        t = position - node
        base[i] = int(node) - 1
        s = 1.0 - t
        weights[0, i] = s * s * s / 6.0
        weights[1, i] = 2.0 / 3.0 - 0.5 * t * t * (2.0 - t)
        weights[2, i] = 2.0 / 3.0 - 0.5 * s * s * (2.0 - s)
        weights[3, i] = t * t * t / 6.0


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _warp(coefficient, row_map, column_map, line, out):  # type: ignore[no-untyped-def]
    """Read an image from its spline coefficients at the rows and columns of two maps; the rim is continued."""
    (row_base, row_weights), (column_base, column_weights) = row_map, column_map
    n_rows, n_columns = coefficient.shape
    last = n_columns - 1
    for r in range(out.shape[0]):
        line[:] = np.float32(0.0)
        for tap in range(4):
            source = coefficient[min(max(row_base[r] + tap, 0), n_rows - 1)]
            weight = row_weights[tap, r]
            for c in range(n_columns):
                line[c] += weight * source[c]
        for c in range(out.shape[1]):
            b = column_base[c]
            if b >= 0 and b + 3 <= last:
                out[r, c] = (column_weights[0, c] * line[b] + column_weights[1, c] * line[b + 1]) + (
                    column_weights[2, c] * line[b + 2] + column_weights[3, c] * line[b + 3]
                )
            else:
                total = np.float32(0.0)
                for tap in range(4):
                    total += column_weights[tap, c] * line[min(max(b + tap, 0), last)]
                out[r, c] = total


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _blur(image, taps, work, padded, sign, out):  # type: ignore[no-untyped-def]
    """Add ``sign`` times the image convolved along both axes with ``taps``; the rim is continued."""
    n_rows, n_columns = image.shape
    half = taps.size // 2
    for r in range(n_rows):
        work[:] = np.float32(0.0)
        for t in range(taps.size):
            source = image[min(max(r + t - half, 0), n_rows - 1)]
            weight = taps[t] * sign
            for c in range(n_columns):
                work[c] += weight * source[c]
        for c in range(half):
            padded[c] = work[0]
            padded[n_columns + half + c] = work[n_columns - 1]
        for c in range(n_columns):
            padded[half + c] = work[c]
        for t in range(taps.size):
            weight = taps[t]
            for c in range(n_columns):
                out[r, c] += weight * padded[c + t]


@njit(cache=True, nogil=True)
def _band_pass(image, filters, out):  # type: ignore[no-untyped-def]
    narrow, wide = filters
    work = np.empty(image.shape[1], dtype=np.float32)
    padded = np.empty(image.shape[1] + 2 * (wide.size // 2), dtype=np.float32)
    out[:] = np.float32(0.0)
    _blur(image, narrow, work, padded, np.float32(1.0), out)
    _blur(image, wide, work, padded, np.float32(-1.0), out)


@njit(cache=True, nogil=True)
def filter_all(images, usable, narrow, wide, out):  # type: ignore[no-untyped-def]
    """Band-pass ``images`` (projection, row, column) into ``out``; those that are not usable become zero."""
    for p in range(images.shape[0]):
        if usable[p]:
            _band_pass(images[p], (narrow, wide), out[p])
        else:
            out[p] = np.float32(0.0)


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _sum_rows(seen, filtered, weight_image, frame, shared_weight, sums):  # type: ignore[no-untyped-def]
    """Normal equations of one projection from its filtered images ``[component + 1 + total, row, column]``.

    The last of ``filtered`` is the whole model, the one before it the change with the angle.
    """
    middle_row, middle_column, column_shift, row_shift, margin = frame
    normal, gradient, totals = sums
    total_image = filtered[-1]
    n_rows, n_columns = seen.shape
    n_components = filtered.shape[0] - 2
    size = 4 + n_components
    slope = np.empty((size, n_columns), dtype=np.float32)
    left = np.empty(n_columns, dtype=np.float32)
    rest = np.empty(n_columns, dtype=np.float32)
    for r in range(margin, n_rows - margin):
        above = np.float32(r - middle_row - row_shift)
        for c in range(margin, n_columns - margin):
            along = np.float32(-0.5) * (total_image[r, c + 1] - total_image[r, c - 1])
            across = np.float32(-0.5) * (total_image[r + 1, c] - total_image[r - 1, c])
            slope[0, c] = along
            slope[1, c] = across
            slope[2, c] = along * np.float32(c - middle_column - column_shift) + across * above
            slope[3, c] = filtered[n_components, r, c] * shared_weight
            rest[c] = seen[r, c] - total_image[r, c]
        for k in range(n_components):
            for c in range(margin, n_columns - margin):
                slope[4 + k, c] = filtered[k, r, c]
        square = np.float32(0.0)
        for c in range(margin, n_columns - margin):
            square += weight_image[r, c] * rest[c] * rest[c]
        totals[0] += square
        totals[1] += n_columns - 2 * margin
        for i in range(size):
            for c in range(margin, n_columns - margin):
                left[c] = weight_image[r, c] * slope[i, c]
            product = np.float32(0.0)
            for c in range(margin, n_columns - margin):
                product += left[c] * rest[c]
            gradient[i] += product
            for j in range(i + 1):
                product = np.float32(0.0)
                for c in range(margin, n_columns - margin):
                    product += left[c] * slope[j, c]
                normal[i, j] += product


@njit(cache=True, nogil=True)
def _weigh(depth, row_shift, column_shift, out):  # type: ignore[no-untyped-def]
    """Transmission of an image moved by whole pixels; the rim is continued."""
    n_rows, n_columns = depth.shape
    for r in range(n_rows):
        source = depth[min(max(r - row_shift, 0), n_rows - 1)]
        for c in range(n_columns):
            value = source[min(max(c - column_shift, 0), n_columns - 1)]
            out[r, c] = max(np.exp(-max(value, np.float32(0.0))), _LEAST_TRANSMISSION)


@njit(cache=True, nogil=True)
def sum_all(seen, model, optics, place, shared, sums):  # type: ignore[no-untyped-def]
    """Normal equations of all projections of a scan; ``model`` is its coefficients and the plain first component."""
    coefficient, plain = model
    weight, usable = shared
    middle_row, middle_column, magnification = optics
    normal, gradient, square, count = sums
    n_images, _, n_rows, n_columns = coefficient.shape
    filtered = np.empty((n_images + 1, n_rows, n_columns), dtype=np.float32)
    transmission = np.empty((n_rows, n_columns), dtype=np.float32)
    line = np.empty(n_columns, dtype=np.float32)
    row_map, column_map = _empty_map(n_rows), _empty_map(n_columns)
    for p in range(seen.shape[0]):
        if not usable[p]:
            continue
        column_shift, row_shift, turn = place[p]
        _spline_map(middle_column, column_shift, 1.0 / magnification, column_map)
        _spline_map(middle_row, row_shift, 1.0 / magnification, row_map)
        filtered[n_images] = np.float32(0.0)
        for k in range(n_images):
            _warp(coefficient[k, p], row_map, column_map, line, filtered[k])
            factor = np.float32(weight[k] if k < n_images - 1 else turn * weight[0])
            filtered[n_images] += factor * filtered[k]
        _weigh(plain[p], int(np.rint(row_shift)), int(np.rint(column_shift)), transmission)
        frame = (middle_row, middle_column, column_shift, row_shift, _MARGIN)
        totals = np.zeros(2)
        _sum_rows(seen[p], filtered, transmission, frame, np.float32(weight[0]), (normal[p], gradient[p], totals))
        square[p], count[p] = totals[0], totals[1]
        for i in range(normal.shape[1]):
            for j in range(i):
                normal[p, j, i] = normal[p, i, j]


@njit(cache=True, nogil=True)
def accumulate(coefficient, optics, place, weight, usable, total):  # type: ignore[no-untyped-def]
    """Add a scan, put back to where the model is, times its weights, to ``total`` (component, projection, row, column).

    ``coefficient`` are the scan's spline coefficients, ``place`` its column and row shifts (projection, 2).
    """
    middle_row, middle_column, magnification = optics
    _, n_rows, n_columns = coefficient.shape
    image = np.empty((n_rows, n_columns), dtype=np.float32)
    line = np.empty(n_columns, dtype=np.float32)
    row_map, column_map = _empty_map(n_rows), _empty_map(n_columns)
    for p in range(coefficient.shape[0]):
        if not usable[p]:
            continue
        # the inverse of the map of a projection: middle + (i - middle) M + shift
        back = -1.0 / magnification
        _spline_map(middle_column, place[p, 0] * back, magnification, column_map)
        _spline_map(middle_row, place[p, 1] * back, magnification, row_map)
        _warp(coefficient[p], row_map, column_map, line, image)
        for k in range(weight.size):
            total[k, p] += np.float32(weight[k]) * image
