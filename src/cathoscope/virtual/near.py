"""Which grain boundaries, pores and surfaces lie near a voxel: geometry alone, whatever the cycle.

Cracks of a cycled particle change from cycle to cycle, the grains do not. So the distances from a voxel to the
boundaries of its grain are found once, and what the voxel contains follows for any openings: a sheet of opening w at
the distance d from a voxel of edge h takes the share |[d - h/2, d + h/2] intersected with [-w/2, w/2]| / h of it, as in
`cracks`; of several sheets the shares left over multiply.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.cracks import _faces, _gradient, _nearest_in_list, _overlap, pore_law
from cathoscope.virtual.grains import LARGEST_SHEET, Grains, cell_of, embed
from cathoscope.virtual.particle import surface_radius

FloatArray = NDArray[np.float64]

_FAR = 0.5  # um beyond the surface: heights of farther points, where no layer reaches, are lower bounds


class Near(NamedTuple):
    """What lies near each of n voxels of edge ``voxel`` (um).

    Attributes
    ----------
    voxel
        Edge, um.
    label
        Grain, -1 outside of the particle, (n,).
    envelope
        Share of the voxel inside the outer surface and outside the hollow core, (n,).
    height
        Distance beyond the outer surface along the radius, um; negative inside, a lower bound far outside, (n,).
    hole_depth, hole
        Depth (um) inside the deepest round pore, negative outside, and its number, -1 where there is none, (n,).
    web
        Opening (um) that all boundaries have here as spider-web pores, (n,).
    starts, neighbour, distance
        Voxel v is near the boundaries towards the grains ``neighbour[starts[v]:starts[v + 1]]``, at ``distance`` um.
    """

    voxel: float
    label: NDArray[np.int32]
    envelope: NDArray[np.float32]
    height: NDArray[np.float32]
    hole_depth: NDArray[np.float32]
    hole: NDArray[np.int32]
    web: NDArray[np.float32]
    starts: NDArray[np.int64]
    neighbour: NDArray[np.int32]
    distance: NDArray[np.float32]


class Shares(NamedTuple):
    """Shares of each voxel, (n,): oxide, open crack or web, round pore, layer on wetted walls; the rest is outside.

    ``crack`` and ``pore`` include the layer inside them; ``layer`` also counts that on the outer surface.
    """

    solid: NDArray[np.float32]
    crack: NDArray[np.float32]
    pore: NDArray[np.float32]
    layer: NDArray[np.float32]


@njit(cache=True, nogil=True)
def _hole_depth(holes, reach, point):  # type: ignore[no-untyped-def]
    """Depth (um) of a point inside the deepest of ``holes``, to first order, and its number."""
    x, y, z = point
    deepest, which = -np.inf, -1
    if holes.shape[0] == 0 or x * x + y * y + z * z >= reach * reach:
        return deepest, which
    for n in range(holes.shape[0]):
        a = holes[n]
        dx, dy, dz = x - a[0], y - a[1], z - a[2]
        u = a[3] * dx + a[4] * dy + a[5] * dz
        v = a[6] * dx + a[7] * dy + a[8] * dz
        w = a[9] * dx + a[10] * dy + a[11] * dz
        q = np.sqrt(u * u + v * v + w * w)
        gx = a[3] * u + a[6] * v + a[9] * w
        gy = a[4] * u + a[7] * v + a[10] * w
        gz = a[5] * u + a[8] * v + a[11] * w
        steepness = np.sqrt(gx * gx + gy * gy + gz * gz) / max(q, 1e-12)
        depth = (1.0 - q) / max(steepness, 1e-12) if q > 1e-9 else 1e3
        if depth > deepest:
            deepest, which = depth, n
    return deepest, which


@njit(cache=True, nogil=True)
def _between(outer, core, point, h):  # type: ignore[no-untyped-def]
    """Share of a voxel between core and surface, and its height (um) above the surface, both along the radius."""
    x, y, z = point
    r = np.sqrt(x * x + y * y + z * z)
    scale = 1.0 / max(r, 1e-9)
    if r > outer.highest + 0.5 * h + _FAR:
        return 0.0, r - outer.highest
    height = r - outer.lowest
    if r + 0.5 * h > outer.lowest:
        height = r - surface_radius(outer, x * scale, y * scale, z * scale)
    share = min(max(0.5 - height / h, 0.0), 1.0)
    if core.mean_radius > 0.0 and r - 0.5 * h < core.highest:
        share -= min(max((surface_radius(core, x * scale, y * scale, z * scale) - r) / h + 0.5, 0.0), 1.0)
    return max(share, 0.0), height


@njit(cache=True, nogil=True)
def _near(points, h, widest, body, pores):  # type: ignore[no-untyped-def]
    """Everything `Near` holds but the voxel's edge, for voxels at ``points`` (n, 3) and sheets up to ``widest``."""
    lookup, outer, core = body
    n_points = points.shape[0]
    label, hole = np.full(n_points, -1, np.int32), np.full(n_points, -1, np.int32)
    envelope, height = np.zeros(n_points, np.float32), np.zeros(n_points, np.float32)
    hole_depth, web = np.zeros(n_points, np.float32), np.zeros(n_points, np.float32)
    starts = np.zeros(n_points + 1, np.int64)
    neighbour, distance = np.empty(n_points + 1024, np.int32), np.empty(n_points + 1024, np.float32)
    powers = np.empty(lookup.longest)
    for p in range(n_points):
        used = starts[p]
        starts[p + 1] = used
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        envelope[p], height[p] = _between(outer, core, (x, y, z), h)
        hole_depth[p], hole[p] = _hole_depth(pores.holes, pores.radius, (x, y, z))
        if envelope[p] <= 0.0:
            continue
        if pores.sheet > 0.0:
            web[p] = pores.sheet * max(1.0 - (x * x + y * y + z * z) / pores.radius**2, 0.0)
        cell = cell_of(lookup, x, y, z)
        first, last = lookup.starts[cell], lookup.starts[cell + 1]
        best = _nearest_in_list(lookup, cell, embed(lookup, x, y, z), powers)
        i = lookup.ids[first + best]
        label[p] = i
        if used + last - first > neighbour.size:
            longer, farther = np.empty(2 * neighbour.size, np.int32), np.empty(2 * neighbour.size, np.float32)
            longer[:used], farther[:used] = neighbour[:used], distance[:used]
            neighbour, distance = longer, farther
        for n in range(last - first):
            j = lookup.ids[first + n]
            if j == i:
                continue
            gx, gy, gz = _gradient(lookup, i, j, x, y, z)
            squared = gx * gx + gy * gy + gz * gz
            difference = powers[n] - powers[best]
            if difference * difference >= 0.25 * (h + widest) ** 2 * squared:
                continue
            step = difference / squared
            if _faces(lookup, i, j, first, last, (x - step * gx, y - step * gy, z - step * gz)):
                neighbour[used], distance[used] = j, difference / np.sqrt(squared)
                used += 1
        starts[p + 1] = used
    used = starts[n_points]
    return label, envelope, height, hole_depth, hole, web, starts, neighbour[:used].copy(), distance[:used].copy()


@njit(cache=True, nogil=True)
def _fill(result, near, faces, openings, layers):  # type: ignore[no-untyped-def]
    """Fill ``result`` = (solid, crack, pore, layer); ``faces`` are those of ``near.neighbour``, -1 for none.

    ``layers`` are thicknesses (um) on both walls of each face, on each hole's wall, and on the outer surface.
    """
    solid, crack, pore, layer = result
    on_faces, on_holes, on_surface = layers
    h = near.voxel
    for p in range(solid.size):
        solid[p], crack[p], pore[p] = 0.0, 0.0, 0.0
        # along the radius, like the envelope's share
        layer[p] = max(min(near.height[p] / h + 0.5, 1.0) - max((near.height[p] - on_surface) / h + 0.5, 0.0), 0.0)
        inside = near.envelope[p]
        if inside <= 0.0:
            continue
        hole, hole_left = 0.0, 0.0  # the second without its layer
        if near.hole[p] >= 0:
            hole = min(max(near.hole_depth[p] / h + 0.5, 0.0), 1.0)
            hole_left = min(max((near.hole_depth[p] - on_holes[near.hole[p]]) / h + 0.5, 0.0), 1.0)
        past_all, past_void = 1.0, 1.0
        for n in range(near.starts[p], near.starts[p + 1]):
            face = faces[n]
            opening = max(openings[face], near.web[p]) if face >= 0 else near.web[p]
            if opening > 0.0:
                d = near.distance[n]
                coated = on_faces[face] if face >= 0 else 0.0
                past_all *= 1.0 - min(_overlap(d, opening, h), 1.0)
                past_void *= 1.0 - min(_overlap(d, max(opening - 2.0 * coated, 0.0), h), 1.0)
        solid[p] = inside * (1.0 - hole) * past_all
        crack[p] = inside * (1.0 - hole) * (1.0 - past_all)
        pore[p] = inside * hole
        layer[p] += inside * (hole - hole_left + (1.0 - hole) * (past_void - past_all))


def widest_opening(grains: Grains) -> float:
    """Largest opening (um) that a crack of a cycled particle may have: that of the widest sheet-like pore."""
    return LARGEST_SHEET * grains.design.grain_size


def near_voxels(grains: Grains, points: FloatArray, voxel: float, *, kernel: Any = _near) -> Near:
    """Boundaries, pores and surfaces near voxels of edge ``voxel`` (um) around ``points`` (n, 3), um.

    ``kernel`` is the compiled loop, or ``_near.py_func``.

    Raises
    ------
    CathoscopeError
        If voxels are too coarse for the boundaries within reach to be known.
    """
    largest = 2 * grains.reach - widest_opening(grains)
    if not 0 < voxel <= largest:
        raise CathoscopeError(
            "the voxel is too coarse for the cracks" if voxel > 0 else "a voxel needs a positive edge",
            expected=f"at most {largest:.3g} um",
            found=f"{voxel:g} um",
            cure=f"a voxel of {largest / 2:.2g} um, or larger grains",
        )
    flat = np.ascontiguousarray(points, dtype=np.float64).reshape(-1, 3)
    body = (grains.lookup, grains.outer, grains.core)
    return Near(float(voxel), *kernel(flat, float(voxel), widest_opening(grains), body, pore_law(grains)))


def shares_of(
    near: Near,
    faces: NDArray[np.int32],
    openings: FloatArray,
    layers: tuple[FloatArray, FloatArray, float] | None = None,
    *,
    kernel: Any = _fill,
) -> Shares:
    """What the voxels contain.

    Parameters
    ----------
    near
        Of the voxels.
    faces
        Number of the boundary of every entry of ``near.neighbour``, -1 for one that is not known and stays closed.
    openings
        Of every boundary, um.
    layers
        Thickness (um) of the layer on the walls of every boundary, of every round pore, and on the outer surface.
    kernel
        The compiled loop, or ``_fill.py_func``.
    """
    holes = int(near.hole.max(initial=-1)) + 1
    layers = layers or (np.zeros(len(openings)), np.zeros(holes), 0.0)
    result = tuple(np.empty(near.label.size, dtype=np.float32) for _ in range(4))
    kernel(result, near, faces, openings, layers)
    return Shares(*result)
