"""Compiled loops of the crack widths: bundles of rays across a sheet, their noise, and means over the sheet around.

Rays are seven: one through the point and six around it, at ``spread`` (um) within the sheet. All lengths are um.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cathoscope.volume.sheetness_kernels import FAST

HEXAGON = np.array([(0.0, 0.0)] + [(np.cos(a), np.sin(a)) for a in np.arange(6) * np.pi / 3])
# differences between two of the seven rays, in spreads, and how many ordered pairs have each
_FAR = [(np.sqrt(3.0) * np.cos(a), np.sqrt(3.0) * np.sin(a)) for a in (np.arange(6) + 0.5) * np.pi / 3]
PAIRS = np.array(
    [(0.0, 0.0, 7.0)]
    + [(u, v, 4.0) for u, v in HEXAGON[1:]]
    + [(u, v, 2.0) for u, v in _FAR]
    + [(2 * u, 2 * v, 1.0) for u, v in HEXAGON[1:]]
)


@njit(cache=True, nogil=True, fastmath=FAST)
def _sample(grey, z, y, x):  # type: ignore[no-untyped-def]
    """Trilinear value at a place (voxel); outside, that of the nearest place inside."""
    nz, ny, nx = grey.shape
    z, y, x = (min(max(z, 0.0), nz - 1.0), min(max(y, 0.0), ny - 1.0), min(max(x, 0.0), nx - 1.0))
    i, j, k = min(int(z), nz - 2), min(int(y), ny - 2), min(int(x), nx - 2)
    c, b, a = z - i, y - j, x - k
    low = (1.0 - b) * ((1.0 - a) * grey[i, j, k] + a * grey[i, j, k + 1])
    low += b * ((1.0 - a) * grey[i, j + 1, k] + a * grey[i, j + 1, k + 1])
    high = (1.0 - b) * ((1.0 - a) * grey[i + 1, j, k] + a * grey[i + 1, j, k + 1])
    high += b * ((1.0 - a) * grey[i + 1, j + 1, k] + a * grey[i + 1, j + 1, k + 1])
    return (1.0 - c) * low + c * high


@njit(cache=True, nogil=True)
def _tangents(normal):  # type: ignore[no-untyped-def]
    """Two unit vectors that with ``normal`` make a right-angled trihedron."""
    a, b, c = abs(normal[0]), abs(normal[1]), abs(normal[2])
    if a <= b and a <= c:
        first = (0.0, normal[2], -normal[1])
    elif b <= c:
        first = (-normal[2], 0.0, normal[0])
    else:
        first = (normal[1], -normal[0], 0.0)
    length = np.sqrt(first[0] ** 2 + first[1] ** 2 + first[2] ** 2)
    u = (first[0] / length, first[1] / length, first[2] / length)
    v = (
        normal[1] * u[2] - normal[2] * u[1],
        normal[2] * u[0] - normal[0] * u[2],
        normal[0] * u[1] - normal[1] * u[0],
    )
    return u, v


@njit(cache=True, nogil=True)
def _is_barrier(barrier, z, y, x):  # type: ignore[no-untyped-def]
    """Whether the nearest voxel is barred or lies outside the volume."""
    i, j, k = int(np.floor(z + 0.5)), int(np.floor(y + 0.5)), int(np.floor(x + 0.5))
    nz, ny, nx = barrier.shape
    if i < 0 or j < 0 or k < 0 or i >= nz or j >= ny or k >= nx:
        return True
    return barrier[i, j, k]


@njit(cache=True, nogil=True, fastmath=FAST)
def _read(grey, edges, point, normal, rays, profile):  # type: ignore[no-untyped-def]
    """Mean grey value of the bundle at equal steps along the normal, to ``profile`` [2 m + 1]."""
    step, spread, hexagon = rays
    middle = profile.size // 2
    u, v = _tangents(normal)
    profile[:] = 0.0
    for ray in range(hexagon.shape[0]):
        p, q = spread * hexagon[ray, 0], spread * hexagon[ray, 1]
        z = (point[0] + p * u[0] + q * v[0]) / edges[0]
        y = (point[1] + p * u[1] + q * v[1]) / edges[1]
        x = (point[2] + p * u[2] + q * v[2]) / edges[2]
        dz, dy, dx = step * normal[0] / edges[0], step * normal[1] / edges[1], step * normal[2] / edges[2]
        for n in range(profile.size):
            t = n - middle
            profile[n] += _sample(grey, z + t * dz, y + t * dy, x + t * dx)
    for n in range(profile.size):
        profile[n] /= hexagon.shape[0]


@njit(cache=True, nogil=True)
def _obstacle(barrier, edges, point, normal, walk):  # type: ignore[no-untyped-def]
    """Steps from a point to the first barrier beyond ``own`` steps along ``normal``; ``last`` + 1 if there is none."""
    step, own, last = walk
    for t in range(1, last + 1):
        z = (point[0] + t * step * normal[0]) / edges[0]
        y = (point[1] + t * step * normal[1]) / edges[1]
        x = (point[2] + t * step * normal[2]) / edges[2]
        if _is_barrier(barrier, z, y, x) and (t > own):
            return t
    return last + 1


@njit(cache=True, nogil=True)
def _brightest(profile, side, until):  # type: ignore[no-untyped-def]
    """Steps from the middle to where three neighbouring values are brightest, between 1 and ``until``."""
    middle, best, most = profile.size // 2, 1, -np.inf
    for t in range(1, until + 1):
        n = middle + side * t
        value = 2.0 * profile[n] + profile[n - 1] + (profile[n + 1] if n + 1 < profile.size else profile[n])
        if n - 1 >= 0 and value > most:
            best, most = t, value
    return best


@njit(cache=True, nogil=True)
def _integral(profile, solid, left, right):  # type: ignore[no-untyped-def]
    """Sum of solid - profile from ``left`` steps below the middle to ``right`` above it; ends may lie between steps."""
    middle = profile.size // 2
    total = 0.5 * (solid - profile[middle]) * 2.0
    for side, length in ((-1, left), (1, right)):
        whole = int(length)
        for t in range(1, whole + 1):
            total += solid - profile[middle + side * t]
        # the trapezia end half a step before the last value, and the rest of the way goes on
        last = middle + side * whole
        beyond = min(max(last + side, 0), profile.size - 1)
        rest = length - whole
        end = (1.0 - rest) * profile[last] + rest * profile[beyond]
        total += 0.5 * rest * (2.0 * solid - profile[last] - end) - 0.5 * (solid - profile[last])
    return total


@njit(cache=True, nogil=True)
def widths(volumes, sheet, levels, rays, found):  # type: ignore[no-untyped-def]
    """Width and window (um) of every point, and whether the profile is bright at both ends; to ``found`` [n, 3].

    ``volumes`` = grey, barrier; ``sheet`` = edges [3], points and normals [n, 3]; ``levels`` = solid, contrast;
    ``rays`` = step, spread, hexagon, tail (um that the window reaches beyond half the width), steps to the end of the
    profile, steps within which a barrier is the sheet itself. A window ends at the brightest place before the next
    sheet or larger pore, so that no deficit is counted twice.
    """
    grey, barrier = volumes
    edges, points, normals = sheet
    solid, contrast = levels
    step, spread, hexagon, tail, last, own = rays
    profile = np.empty(2 * last + 1)
    for n in range(points.shape[0]):
        normal = (normals[n, 0], normals[n, 1], normals[n, 2])
        back = (-normal[0], -normal[1], -normal[2])
        _read(grey, edges, points[n], normal, (step, spread, hexagon), profile)
        stops = (
            _obstacle(barrier, edges, points[n], back, (step, own, last)),
            _obstacle(barrier, edges, points[n], normal, (step, own, last)),
        )
        cuts = (
            float(_brightest(profile, -1, stops[0]) if stops[0] <= last else last),
            float(_brightest(profile, 1, stops[1]) if stops[1] <= last else last),
        )
        width = max(_integral(profile, solid, cuts[0], cuts[1]) / contrast, 0.0)
        left, right = cuts
        for _ in range(3):
            reach = min(0.5 * width + tail / step, float(last))
            # a barrier well beyond the window does not matter: the brightest place before it is anywhere
            left = min(cuts[0], reach) if stops[0] < reach + tail / step else reach
            right = min(cuts[1], reach) if stops[1] < reach + tail / step else reach
            width = _integral(profile, solid, left, right) / contrast
        middle = last
        darkest = solid - 0.5 * contrast
        bright = profile[middle - int(left)] > darkest and profile[middle + int(right)] > darkest
        found[n, 0], found[n, 1] = width * step, (left + right) * step
        found[n, 2] = 1.0 if bright else 0.0


@njit(cache=True, nogil=True)
def _spline(t):  # type: ignore[no-untyped-def]
    """Autocorrelation of the linear interpolation's hat: the cubic B-spline."""
    t = abs(t)
    if t >= 2.0:
        return 0.0
    return (2.0 - t) ** 3 / 6.0 if t >= 1.0 else 2.0 / 3.0 - t * t + 0.5 * t * t * t


@njit(cache=True, nogil=True)
def noise_lengths(edges, normals, spread, step, pairs, lengths):  # type: ignore[no-untyped-def]
    """Length over which noise of the bundle's mean is correlated: its variance over length, for unit white noise."""
    reach = int(np.ceil(2.0 * np.sqrt(3.0) * edges.max() / step))
    count = pairs[:, 2].sum()
    for n in range(lengths.size):
        normal = (normals[n, 0], normals[n, 1], normals[n, 2])
        u, v = _tangents(normal)
        total = 0.0
        for p in range(pairs.shape[0]):
            a, b = spread * pairs[p, 0], spread * pairs[p, 1]
            for i in range(-reach, reach + 1):
                t = i * step
                term = pairs[p, 2]
                for axis in range(3):
                    term *= _spline((t * normal[axis] + a * u[axis] + b * v[axis]) / edges[axis])
                    if term == 0.0:
                        break
                total += term
        lengths[n] = total * step / count


@njit(cache=True, nogil=True)
def link(voxels, head, after):  # type: ignore[no-untyped-def]
    """Lists of the points in every voxel: the first in ``head`` [z, y, x], the next in ``after`` [n]; -1 ends."""
    head[:] = -1
    for n in range(after.size):
        z, y, x = voxels[n]
        after[n] = head[z, y, x]
        head[z, y, x] = n


@njit(cache=True, nogil=True)
def around(sheet, links, values, radius, sums):  # type: ignore[no-untyped-def]
    """Sums over the points of the same sheet within ``radius`` (um) of each point, to ``sums`` [n, k].

    ``sheet`` = edges, points, normals; ``links`` as `link` makes; ``values`` [n, k]. Of the same sheet are
    points whose normals differ by less than 45 degrees and that lie within half the radius of the tangent plane.
    """
    edges, points, normals = sheet
    head, after = links
    shape = head.shape
    # a point may lie half a voxel from the middle of its own
    extra = 0.5 * np.sqrt(edges[0] ** 2 + edges[1] ** 2 + edges[2] ** 2)
    far, high = radius + extra, 0.5 * radius + extra
    for n in range(points.shape[0]):
        sums[n] = 0.0
        z, y, x = points[n]
        tilt = normals[n, 2]
        for i in range(max(int(np.ceil((z - far) / edges[0])), 0), min(int((z + far) / edges[0]) + 1, shape[0])):
            up = i * edges[0] - z
            for j in range(max(int(np.ceil((y - far) / edges[1])), 0), min(int((y + far) / edges[1]) + 1, shape[1])):
                aside = j * edges[1] - y
                rest = far * far - up * up - aside * aside
                if rest < 0.0:
                    continue
                # of this line, the part in the ball and near the tangent plane
                height = up * normals[n, 0] + aside * normals[n, 1]
                half = np.sqrt(rest)
                low, end = -half, half
                if abs(tilt) > 1e-6:
                    first, second = (-high - height) / tilt, (high - height) / tilt
                    low, end = max(low, min(first, second)), min(end, max(first, second))
                elif abs(height) > high:
                    continue
                start = max(int(np.ceil((x + low) / edges[2])), 0)
                for k in range(start, min(int(np.floor((x + end) / edges[2])) + 1, shape[2])):
                    m = head[i, j, k]
                    while m >= 0:
                        squared, height, cosine = 0.0, 0.0, 0.0
                        for axis in range(3):
                            apart = points[m, axis] - points[n, axis]
                            squared += apart * apart
                            height += apart * normals[n, axis]
                            cosine += normals[m, axis] * normals[n, axis]
                        if squared <= radius * radius and abs(height) <= 0.5 * radius and abs(cosine) >= 0.7071:
                            for column in range(values.shape[1]):
                                sums[n, column] += values[m, column]
                        m = after[m]


@njit(cache=True, nogil=True)
def sweep(barrier, edges, points, radii, swept):  # type: ignore[no-untyped-def]
    """Mark the voxels within ``radii`` (um) of the points in ``swept`` [z, y, x], but for barred ones."""
    shape = swept.shape
    for n in range(radii.size):
        radius, point = radii[n], points[n]
        low = (
            max(int(np.ceil((point[0] - radius) / edges[0])), 0),
            max(int(np.ceil((point[1] - radius) / edges[1])), 0),
            max(int(np.ceil((point[2] - radius) / edges[2])), 0),
        )
        for i in range(low[0], min(int((point[0] + radius) / edges[0]) + 1, shape[0])):
            for j in range(low[1], min(int((point[1] + radius) / edges[1]) + 1, shape[1])):
                rest = radius**2 - (i * edges[0] - point[0]) ** 2 - (j * edges[1] - point[1]) ** 2
                if rest < 0.0:
                    continue
                half = np.sqrt(rest)
                end = min(int((point[2] + half) / edges[2]) + 1, shape[2])
                for k in range(max(int(np.ceil((point[2] - half) / edges[2])), 0), end):
                    if not barrier[i, j, k]:
                        swept[i, j, k] = True
