"""Compiled loops of the sheet filter: smoothing by planes, eigenvalues of the Hessian, crossings of the medial sheet.

Planes of the smoothed volume carry a rim of one voxel that repeats their edge, so that no difference needs a special
case. ``law`` are the factors of the differences zz, yy, xx, zy, zx, yx that make them sigma^2 times derivatives.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cathoscope.volume.union_kernels import root_of

FAST = {"contract", "reassoc"}


@njit(cache=True, nogil=True)
def mirrored(i, n):  # type: ignore[no-untyped-def]
    """Index inside 0 ... n - 1 of a line continued by its mirror image about its outer faces."""
    period = 2 * n
    i %= period
    return i if i < n else period - 1 - i


@njit(cache=True, nogil=True, fastmath=FAST)
def weigh(centre, weight, target):  # type: ignore[no-untyped-def]
    """target = weight centre."""
    for x in range(target.size):
        target[x] = weight * centre[x]


@njit(cache=True, nogil=True, fastmath=FAST)
def add_pair(below, above, weight, target):  # type: ignore[no-untyped-def]
    """target += weight (below + above)."""
    for x in range(target.size):
        target[x] += weight * (below[x] + above[x])


@njit(cache=True, nogil=True)
def smooth_rows(grey, z, rows, kernels, work, smooth):  # type: ignore[no-untyped-def]
    """Write the ``rows`` (first, end) of plane ``z`` of ``grey`` [z, y, x], smoothed, to ``smooth`` as `smooth_plane`.

    ``work`` [y, x] is written there and as far beyond as the filter reaches.
    """
    nz, ny, nx = grey.shape
    kz, ky, kx = kernels
    reach, rim = kx.size - 1, (smooth.shape[0] - ny) // 2
    for y in range(max(rows[0] - ky.size + 1, 0), min(rows[1] + ky.size - 1, ny)):
        weigh(grey[z, y], kz[0], work[y])
        for t in range(1, kz.size):
            add_pair(grey[mirrored(z - t, nz), y], grey[mirrored(z + t, nz), y], kz[t], work[y])
    row = np.empty(nx + 2 * reach, dtype=smooth.dtype)
    for y in range(rows[0], rows[1]):
        middle = row[reach : reach + nx]
        weigh(work[y], ky[0], middle)
        for t in range(1, ky.size):
            add_pair(work[mirrored(y - t, ny)], work[mirrored(y + t, ny)], ky[t], middle)
        for x in range(reach):
            row[x] = middle[mirrored(x - reach, nx)]
            row[nx + reach + x] = middle[mirrored(nx + x, nx)]
        target = smooth[y + rim, rim : nx + rim]
        weigh(middle, kx[0], target)
        for t in range(1, kx.size):
            add_pair(row[reach - t : reach - t + nx], row[reach + t : reach + t + nx], kx[t], target)


@njit(cache=True, nogil=True)
def smooth_plane(grey, z, kernels, work, smooth):  # type: ignore[no-untyped-def]
    """Write plane ``z`` of ``grey`` [z, y, x], smoothed, to ``smooth`` [y, x], or [y + 2, x + 2] with a rim.

    ``kernels`` are the halves of three symmetric filters (z, y, x), from their centre outwards; ``work`` [y, x].
    """
    ny, nx = work.shape
    smooth_rows(grey, z, (0, ny), kernels, work, smooth)
    if smooth.shape[0] > ny:
        smooth[:, 0], smooth[:, nx + 1] = smooth[:, 1], smooth[:, nx]
        smooth[0], smooth[ny + 1] = smooth[1], smooth[ny]


@njit(cache=True, nogil=True)
def smooth_planes(grey, every, rows, kernels, work, smooth):  # type: ignore[no-untyped-def]
    """Write every ``every``-th plane of ``grey``, smoothed, to ``smooth`` [plane, y, x]; see `smooth_plane`.

    A band of ``rows`` rows is taken through all planes before the next: so much of the planes that the filter reaches
    stays at hand that each is fetched from memory once.
    """
    ny = grey.shape[1]
    rows = rows if ny > 2 * rows else ny  # what the filter mirrors lies in the same band
    for first in range(0, ny, rows):
        for number in range(smooth.shape[0]):
            smooth_rows(grey, number * every, (first, min(first + rows, ny)), kernels, work, smooth[number])


@njit(cache=True, nogil=True, fastmath=FAST, inline="always")
def _third_of_angle(r):  # type: ignore[no-untyped-def]
    """cos(arccos(r) / 3) for r between -1 and 1: a polynomial in cos(arccos(r) / 2), right to 2e-7."""
    u = np.sqrt(np.float32(0.5) * max(np.float32(1.0) + r, np.float32(0.0)))
    value = np.float32(0.01050175359) - np.float32(0.00210349101) * u
    value = np.float32(-0.02639974935) + value * u
    value = np.float32(0.05147476335) + value * u
    value = np.float32(-0.1108054709) + value * u
    value = np.float32(0.5773319021) + value * u
    return min(np.float32(0.500000186) + value * u, np.float32(1.0))


# Voxels at a time: with a fixed count and fixed places in one array the compiler sees that nothing overlaps, and takes
# several voxels at once, if a division need not be watched either (error_model).
CHUNK = 64


@njit(cache=True, nogil=True, fastmath=FAST)
def _second(below, here, above, weight, part, target):  # type: ignore[no-untyped-def]
    """Second differences along one axis, to part ``part`` of ``target``."""
    for x in range(here.size):
        target[part * CHUNK + x] = weight * (below[x] + above[x] - np.float32(2.0) * here[x])


@njit(cache=True, nogil=True, fastmath=FAST)
def _mixed(after, before, weight, part, target):  # type: ignore[no-untyped-def]
    """Mixed differences of ``after`` = (above, below) along one axis less those ``before``, to part ``part``."""
    first, second = after
    third, fourth = before
    for x in range(first.size):
        target[part * CHUNK + x] = weight * (first[x] - second[x] - third[x] + fourth[x])


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def _eigenvalues(s):  # type: ignore[no-untyped-def]
    """From six parts (zz, yy, xx, zy, zx, yx) of ``s``, overwrite the first three by mean, spread and angle."""
    third, sixth, half, two = np.float32(1 / 3), np.float32(1 / 6), np.float32(0.5), np.float32(2.0)
    for x in range(CHUNK):
        zz, yy, xx = s[x], s[CHUNK + x], s[2 * CHUNK + x]
        zy, zx, yx = s[3 * CHUNK + x], s[4 * CHUNK + x], s[5 * CHUNK + x]
        m = third * (zz + yy + xx)
        zz, yy, xx = zz - m, yy - m, xx - m
        p = np.sqrt(sixth * (zz * zz + yy * yy + xx * xx + two * (zy * zy + zx * zx + yx * yx)))
        one = np.float32(1.0) / (p + np.float32(1e-30))
        zz, yy, xx, zy, zx, yx = zz * one, yy * one, xx * one, zy * one, zx * one, yx * one
        determinant = zz * (yy * xx - yx * yx) - zy * (zy * xx - yx * zx) + zx * (zy * yx - yy * zx)
        s[x], s[CHUNK + x], s[2 * CHUNK + x] = m, p, _third_of_angle(half * determinant)


@njit(cache=True, nogil=True)
def eigen_plane(planes, law, values):  # type: ignore[no-untyped-def]
    """Mean, spread and angle of the Hessian's eigenvalues in one plane, to ``values`` [3, y, x].

    ``planes`` [3, y + 2, x + 2] are the smoothed planes below, at and above. With mean m, spread p and y = cos(angle)
    the eigenvalues are m + 2 p y and m + p (-y -+ sqrt(3 (1 - y^2))) (Smith, Commun. ACM 4, 168, 1961).
    """
    b, h, a = planes[0], planes[1], planes[2]
    ny, nx = values.shape[1:]
    s = np.zeros(6 * CHUNK, dtype=np.float32)
    for row in range(ny):
        y = row + 1
        for start in range(0, nx, CHUNK):
            stop = min(start + CHUNK, nx)
            # ends of the voxel's own column, and of the columns before and after it
            i, j, k, m, n = start, stop, start + 1, stop + 1, start + 2
            o = stop + 2
            here = h[y, k:m]
            _second(b[y, k:m], here, a[y, k:m], law[0], 0, s)
            _second(h[y - 1, k:m], here, h[y + 1, k:m], law[1], 1, s)
            _second(h[y, i:j], here, h[y, n:o], law[2], 2, s)
            _mixed((a[y + 1, k:m], a[y - 1, k:m]), (b[y + 1, k:m], b[y - 1, k:m]), law[3], 3, s)
            _mixed((a[y, n:o], a[y, i:j]), (b[y, n:o], b[y, i:j]), law[4], 4, s)
            _mixed((h[y + 1, n:o], h[y + 1, i:j]), (h[y - 1, n:o], h[y - 1, i:j]), law[5], 5, s)
            _eigenvalues(s)
            for part in range(3):
                values[part, row, start:stop] = s[part * CHUNK : part * CHUNK + stop - start]


@njit(cache=True, nogil=True, fastmath=FAST)
def strongest_plane(values, scale, strength, which):  # type: ignore[no-untyped-def]
    """Keep in ``strength`` and ``which`` [y, x] the largest of the greatest eigenvalues over the scales so far."""
    mean, spread, angle = values[0], values[1], values[2]
    ny, nx = strength.shape
    for y in range(ny):
        for x in range(nx):
            largest = mean[y, x] + np.float32(2.0) * spread[y, x] * angle[y, x]
            if scale == 0 or largest > strength[y, x]:
                strength[y, x] = largest
                which[y, x] = scale


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def sheetness_plane(values, alpha, contrast, sheetness):  # type: ignore[no-untyped-def]
    """Raise ``sheetness`` [y, x] to the measure of Frangi and Descoteaux for dark sheets at this scale."""
    mean, spread, angle = values[0], values[1], values[2]
    ny, nx = sheetness.shape
    ratio_law = np.float32(-0.5 / (alpha * alpha))
    norm_law = np.float32(-0.5 / (contrast * contrast))
    root = np.float32(np.sqrt(3.0))
    for y in range(ny):
        for x in range(nx):
            m, p, c = mean[y, x], spread[y, x], angle[y, x]
            third = m + np.float32(2.0) * p * c
            half = root * np.sqrt(max(np.float32(1.0) - c * c, np.float32(0.0)))
            low, middle = m - p * (c + half), m - p * (c - half)
            second = max(abs(low), abs(middle))
            # what is weaker than a quarter of the contrast cannot reach 0.1
            if third <= second or third < np.float32(0.25) * contrast:
                continue
            norm = low * low + middle * middle + third * third
            measure = np.exp(ratio_law * (second / third) ** 2) * (np.float32(1.0) - np.exp(norm_law * norm))
            sheetness[y, x] = max(sheetness[y, x], measure)


@njit(cache=True, nogil=True)
def mixed_differences(planes, law, rows, columns, found):  # type: ignore[no-untyped-def]
    """Write mixed differences zy, zx and yx at ``rows`` and ``columns`` of a plane to ``found`` [3, n]."""
    below, here, above = planes
    n = 0
    for row in rows:
        for column in columns:
            y, x = row + 1, column + 1
            found[0, n] = law[3] * (above[y + 1, x] - above[y - 1, x] - below[y + 1, x] + below[y - 1, x])
            found[1, n] = law[4] * (above[y, x + 1] - above[y, x - 1] - below[y, x + 1] + below[y, x - 1])
            found[2, n] = law[5] * (here[y + 1, x + 1] - here[y + 1, x - 1] - here[y - 1, x + 1] + here[y - 1, x - 1])
            n += 1


@njit(cache=True, nogil=True)
def _eigenvector(h, value):  # type: ignore[no-untyped-def]
    """Unit eigenvector (z, y, x) of the symmetric matrix ``h`` = (zz, yy, xx, zy, zx, yx) for a single eigenvalue."""
    a, b, c = h[0] - value, h[1] - value, h[2] - value
    d, e, f = h[3], h[4], h[5]
    best, squared = (1.0, 0.0, 0.0), 0.0
    for v in (
        (d * f - e * b, e * d - a * f, a * b - d * d),
        (d * c - e * f, e * e - a * c, a * f - d * e),
        (b * c - f * f, f * e - d * c, d * f - b * e),
    ):
        length = v[0] * v[0] + v[1] * v[1] + v[2] * v[2]
        if length > squared:
            best, squared = v, length
    if squared == 0.0:
        return 1.0, 0.0, 0.0
    norm = 1.0 / np.sqrt(squared)
    return best[0] * norm, best[1] * norm, best[2] * norm


@njit(cache=True, nogil=True)
def _derivatives(planes, law, slope_law, y, x):  # type: ignore[no-untyped-def]
    """Hessian and gradient of one voxel from three planes with rims; ``y`` and ``x`` count the rim."""
    b, h, a = planes
    centre = 2.0 * h[y, x]
    hessian = (
        law[0] * (b[y, x] + a[y, x] - centre),
        law[1] * (h[y - 1, x] + h[y + 1, x] - centre),
        law[2] * (h[y, x - 1] + h[y, x + 1] - centre),
        law[3] * (a[y + 1, x] - a[y - 1, x] - b[y + 1, x] + b[y - 1, x]),
        law[4] * (a[y, x + 1] - a[y, x - 1] - b[y, x + 1] + b[y, x - 1]),
        law[5] * (h[y + 1, x + 1] - h[y + 1, x - 1] - h[y - 1, x + 1] + h[y - 1, x - 1]),
    )
    gradient = (
        slope_law[0] * (a[y, x] - b[y, x]),
        slope_law[1] * (h[y + 1, x] - h[y - 1, x]),
        slope_law[2] * (h[y, x + 1] - h[y, x - 1]),
    )
    return hessian, gradient


@njit(cache=True, nogil=True)
def candidates_plane(stacks, laws, choice, limits, found):  # type: ignore[no-untyped-def]
    """Collect the voxels of a plane that look like a part of a dark sheet; returns how many.

    Parameters: ``stacks`` [scale, 3, y + 2, x + 2]; ``laws`` = factors of Hessian [scale, 6] and gradient [scale, 3];
    ``choice`` = strength, scale [y, x] and where to look (bool); ``limits`` = least strength of each scale [scale] and
    the largest share of the strength that the least eigenvalue may have (a blob has equal ones). ``found`` = index in
    the plane [n], record [n, 6]: normal (z, y, x), slope along it over the strength, strength over its limit,
    middle over greatest eigenvalue.
    """
    law, slope_law = laws
    strength, which, inside = choice
    least, blob = limits
    index, record = found
    n = 0
    for y in range(strength.shape[0]):
        for x in range(strength.shape[1]):
            scale = which[y, x]
            value = strength[y, x]
            if value < least[scale] or not inside[y, x]:
                continue
            h, g = _derivatives(stacks[scale], law[scale], slope_law[scale], y + 1, x + 1)
            normal = _eigenvector(h, value)
            trace, squares = h[0] + h[1] + h[2] - value, 0.0
            squares = h[0] ** 2 + h[1] ** 2 + h[2] ** 2 + 2.0 * (h[3] ** 2 + h[4] ** 2 + h[5] ** 2) - value * value
            half = np.sqrt(max(0.5 * squares - 0.25 * trace * trace, 0.0))
            lowest, middle = 0.5 * trace - half, 0.5 * trace + half
            if lowest > blob * value or lowest < -value:
                continue
            index[n] = y * strength.shape[1] + x
            record[n, 0], record[n, 1], record[n, 2] = normal
            record[n, 3] = (g[0] * normal[0] + g[1] * normal[1] + g[2] * normal[2]) / value
            record[n, 4] = value / least[scale]
            record[n, 5] = middle / value
            n += 1
    return n


@njit(cache=True, nogil=True)
def crossings(index, record, shape, axis, found):  # type: ignore[no-untyped-def]
    """Where the medial sheet cuts the grid lines along ``axis``; returns how many points.

    Neighbours along the axis, among candidates ``index`` (in raster order of ``shape``), whose slopes along their
    common normal change from falling to rising have the sheet's centre between them. Kept where the normal is closest
    to this axis. ``found`` [n, 9]: place (z, y, x, voxel), normal, strength, number of the candidate nearest to it.
    """
    stride = (shape[1] * shape[2], shape[2], 1)[axis]
    second, n = 0, 0
    for first in range(index.size):
        wanted = index[first] + stride
        while second < index.size and index[second] < wanted:
            second += 1
        if second == index.size:
            break
        along = (index[first] // stride) % shape[axis]
        if index[second] != wanted or along == shape[axis] - 1:
            continue
        a, b = record[first], record[second]
        dot = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
        if abs(dot) < 0.5:
            continue
        turn_a = 1.0 if a[axis] >= 0.0 else -1.0
        turn_b = turn_a if dot > 0.0 else -turn_a
        fall, rise = turn_a * a[3], turn_b * b[3]
        if not fall <= 0.0 < rise:
            continue
        share = fall / (fall - rise)
        keep_a, keep_b = turn_a * (1.0 - share), turn_b * share
        n0, n1, n2 = (keep_a * a[0] + keep_b * b[0], keep_a * a[1] + keep_b * b[1], keep_a * a[2] + keep_b * b[2])
        norm = np.sqrt(n0 * n0 + n1 * n1 + n2 * n2)
        normal = (n0 / norm, n1 / norm, n2 / norm)
        if abs(normal[axis]) < max(abs(n0), max(abs(n1), abs(n2))) / norm or normal[axis] <= 0.0:
            continue
        place = index[first]
        found[n, 0] = place // (shape[1] * shape[2]) + (share if axis == 0 else 0.0)
        found[n, 1] = (place // shape[2]) % shape[1] + (share if axis == 1 else 0.0)
        found[n, 2] = place % shape[2] + (share if axis == 2 else 0.0)
        found[n, 3], found[n, 4], found[n, 5] = normal
        found[n, 6] = (1.0 - share) * a[4] + share * b[4]
        found[n, 7] = (1.0 - share) * a[5] + share * b[5]
        found[n, 8] = first if share < 0.5 else second
        n += 1
    return n


@njit(cache=True, nogil=True)
def connect(index, shape, parent):  # type: ignore[no-untyped-def]
    """Give all voxels ``index`` (raster order in ``shape``) that touch, also at corners, one number in ``parent``."""
    ny, nx = shape[1], shape[2]
    for i in range(index.size):
        parent[i] = i
    for dz, dy, dx in (
        (0, 0, 1), (0, 1, -1), (0, 1, 0), (0, 1, 1), (1, -1, -1), (1, -1, 0), (1, -1, 1),
        (1, 0, -1), (1, 0, 0), (1, 0, 1), (1, 1, -1), (1, 1, 0), (1, 1, 1),
    ):  # fmt: skip
        second = 0
        for first in range(index.size):
            place = index[first]
            x, y = place % nx + dx, (place // nx) % ny + dy
            if x < 0 or x >= nx or y < 0 or y >= ny:
                continue
            wanted = place + (dz * ny + dy) * nx + dx
            while second < index.size and index[second] < wanted:
                second += 1
            if second == index.size:
                break
            if index[second] == wanted:
                a, b = root_of(parent, first), root_of(parent, second)
                if a != b:
                    parent[max(a, b)] = min(a, b)
    for i in range(index.size):
        parent[i] = root_of(parent, i)
