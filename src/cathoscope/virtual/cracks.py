"""How much of a voxel is oxide, crack or pore: rough surface, hollow core, cracks between grains, pores.

Every boundary between two grains i and j is a sheet that is open or closed, and has an opening, by a hash of the two
numbers and the particle's seed. A point of grain i lies at the distance d = (P_j - P_i) / |grad(P_j - P_i)| from the
sheet, P being the powers of the tessellation and grad P_j - grad P_i = -2 J^T (e_j - e_i), J the Jacobian of the
embedding. A voxel of edge h holds the share |[d - h/2, d + h/2] intersected with [-w/2, w/2]| / h of a sheet of opening
w: averaged over voxels this is the volume of the sheet, thicker or thinner than a voxel as it may be. Of several sheets
in a voxel, with shares c_k, 1 - prod(1 - c_k) is open: where sheets cross at right angles, their common volume counts
once, and at other angles nearly so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.grains import (
    LARGEST_SHEET,
    LARGEST_VOXEL,
    Grains,
    cell_of,
    embed,
    power,
)
from cathoscope.virtual.particle import LARGEST_CRACK, surface_radius, widest_crack

FloatArray = NDArray[np.float64]

_HOLES = 24  # ellipsoids of a bulky pore space
_HOLE_REACH = 0.75  # centres of the holes lie within this part of pore_radius
_PORE_POINTS = 96  # points across pore_radius's ball from which the size of the pores is found
_VOLUMES = np.linspace(0, 1, 33)  # of the pores, relative, at which their sizes are tabulated
_PORES = 5  # kind of random numbers, beside those of `grains`


class CrackLaw(NamedTuple):
    """Which boundaries are open and how far; radii and openings in um."""

    key: np.uint64
    share_at_core: float
    share_at_surface: float
    opening: float
    spread: float
    widest: float
    core_radius: float
    outer_radius: float


class PoreLaw(NamedTuple):
    """Where pores are: a row of ``holes`` is centre and a 3 x 3 matrix A: inside where |A (x - c)| < 1.

    ``sheet`` is the opening (um) that all boundaries have at the centre; it falls to 0 at ``radius``. No pore lies
    beyond ``radius``. ``shrinkage`` says how sheets' openings, or cubes of holes' sizes, fall with the volume: relative
    to those of the full volume, at equal steps of volume from 0 to 1.
    """

    holes: FloatArray
    sheet: float
    radius: float
    shrinkage: FloatArray


@dataclass(frozen=True)
class Solid:
    """What voxels contain, one value each.

    Attributes
    ----------
    label
        Grain, also where only a part of the voxel lies inside the particle; -1 where no part does.
    fraction
        Share of the voxel that is oxide.
    crack
        Share of the voxel that is open crack.
    """

    label: NDArray[np.int32]
    fraction: NDArray[np.float32]
    crack: NDArray[np.float32]


@njit(cache=True, nogil=True)
def _mixed(value):  # type: ignore[no-untyped-def]
    """One step of the generator splitmix64 (Steele, Lea and Flood, OOPSLA 2014): 64 well-mixed bits."""
    value = np.uint64(value) + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@njit(cache=True, nogil=True)
def _uniform(bits):  # type: ignore[no-untyped-def]
    """A number between 0 and 1, both excluded, from 64 bits."""
    return (float(bits >> np.uint64(11)) + 0.5) / 9007199254740992.0


@njit(cache=True, nogil=True)
def _opening_of_pair(law, i, j, r):  # type: ignore[no-untyped-def]
    """Opening (um) of the boundary between grains i and j where it is ``r`` (um) from the centre; 0 if closed."""
    low, high = (i, j) if i < j else (j, i)
    bits = _mixed(law.key ^ _mixed(np.uint64(low) * np.uint64(4294967296) + np.uint64(high)))
    depth = min(max((r - law.core_radius) / (law.outer_radius - law.core_radius), 0.0), 1.0)
    if _uniform(bits) >= law.share_at_core + (law.share_at_surface - law.share_at_core) * depth:
        return 0.0
    second = _mixed(bits)
    normal = np.sqrt(-2.0 * np.log(_uniform(second))) * np.cos(2.0 * np.pi * _uniform(_mixed(second)))
    return law.opening * np.exp(law.spread * min(max(normal, -LARGEST_CRACK), LARGEST_CRACK))


@njit(cache=True, nogil=True)
def _overlap(d, w, h):  # type: ignore[no-untyped-def]
    """Share of the interval d +- h/2 that lies within +- w/2."""
    return max(min(d + 0.5 * h, 0.5 * w) - max(d - 0.5 * h, -0.5 * w), 0.0) / h


@njit(cache=True, nogil=True)
def _gradient(lookup, i, j, x, y, z):  # type: ignore[no-untyped-def]
    """Gradient of P_j - P_i at a point: -2 J^T (e_j - e_i), um."""
    a, b = lookup.seeds[i], lookup.seeds[j]
    vx, vy, vz, vr = a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3]
    if not lookup.rod:
        return 2.0 * vx, 2.0 * vy, 2.0 * vz
    rho = max(np.sqrt(x * x + y * y + z * z + lookup.isotropic_radius**2), 1e-9)
    nx, ny, nz = x / rho, y / rho, z / rho
    stretch = lookup.reference_radius / rho
    along = vr / lookup.aspect - stretch * (nx * vx + ny * vy + nz * vz)
    return 2.0 * (stretch * vx + along * nx), 2.0 * (stretch * vy + along * ny), 2.0 * (stretch * vz + along * nz)


@njit(cache=True, nogil=True)
def _nearest_in_list(lookup, cell, e, powers):  # type: ignore[no-untyped-def]
    """Position in the cell's shortlist of the seed of least power; fills ``powers`` of the whole list."""
    first = lookup.starts[cell]
    best = -1
    for n in range(lookup.starts[cell + 1] - first):
        powers[n] = power(lookup, lookup.ids[first + n], e)
        if best < 0 or powers[n] < powers[best]:
            best = n
    return best


@njit(cache=True, nogil=True)
def _faces(lookup, i, j, first, last, foot):  # type: ignore[no-untyped-def]
    """Whether the point ``foot``, halfway between i and j, is on their common face: no third grain is nearer."""
    e = embed(lookup, foot[0], foot[1], foot[2])
    least = min(power(lookup, i, e), power(lookup, j, e)) - 1e-9
    for n in range(first, last):
        k = lookup.ids[n]
        if k != i and k != j and power(lookup, k, e) < least:
            return False
    return True


@njit(cache=True, nogil=True)
def _sheets(lookup, laws, cell, powers, best, point, h):  # type: ignore[no-untyped-def]
    """Shares of a voxel of edge ``h`` that are sheet-like pore, and crack, by all boundaries of its grain."""
    cracks, pores, narrowing = laws
    first, last = lookup.starts[cell], lookup.starts[cell + 1]
    i = lookup.ids[first + best]
    x, y, z = point
    r = np.sqrt(x * x + y * y + z * z)
    pore_opening = 0.0
    if pores.sheet > 0.0:
        pore_opening = pores.sheet * _shrunk(pores, narrowing) * max(1.0 - (r / pores.radius) ** 2, 0.0)
    widest = max(cracks.widest * narrowing, pore_opening)
    # what sheets leave of the voxel: their shares multiply, as they do where sheets cross at right angles
    past_pores, past_all = 1.0, 1.0
    for n in range(last - first):
        j = lookup.ids[first + n]
        if j == i:
            continue
        gx, gy, gz = _gradient(lookup, i, j, x, y, z)
        squared = gx * gx + gy * gy + gz * gz
        difference = powers[n] - powers[best]
        if difference * difference >= 0.25 * (h + widest) ** 2 * squared:
            continue
        opening = max(_opening_of_pair(cracks, i, j, r) * narrowing, pore_opening)
        d = difference / np.sqrt(squared)
        if opening == 0.0 or d >= 0.5 * (h + opening):
            continue
        step = difference / squared
        if _faces(lookup, i, j, first, last, (x - step * gx, y - step * gy, z - step * gz)):
            past_pores *= 1.0 - min(_overlap(d, pore_opening, h), 1.0)
            past_all *= 1.0 - min(_overlap(d, opening, h), 1.0)
    return 1.0 - past_pores, past_pores - past_all


@njit(cache=True, nogil=True)
def _shrunk(pores, narrowing):  # type: ignore[no-untyped-def]
    """Value of ``pores.shrinkage`` for pores of ``narrowing`` times the volume, 0 to 1."""
    at = narrowing * (pores.shrinkage.size - 1)
    step = min(int(at), pores.shrinkage.size - 2)
    return pores.shrinkage[step] + (at - step) * (pores.shrinkage[step + 1] - pores.shrinkage[step])


@njit(cache=True, nogil=True)
def _hole_share(pores, point, h, narrowing):  # type: ignore[no-untyped-def]
    """Share of a voxel of edge ``h`` that lies in one of the holes, whose volumes are ``narrowing`` times the drawn."""
    r = np.sqrt(point[0] ** 2 + point[1] ** 2 + point[2] ** 2)
    if pores.holes.shape[0] == 0 or r >= pores.radius or narrowing <= 0.0:
        return 0.0
    scale = _shrunk(pores, narrowing) ** (-1.0 / 3.0)
    share = 0.0
    for a in pores.holes:
        x, y, z = scale * (point[0] - a[0]), scale * (point[1] - a[1]), scale * (point[2] - a[2])
        u = a[3] * x + a[4] * y + a[5] * z
        v = a[6] * x + a[7] * y + a[8] * z
        w = a[9] * x + a[10] * y + a[11] * z
        q = np.sqrt(u * u + v * v + w * w)
        # distance to the ellipsoid's surface to first order: (1 - q) / |grad q|
        gx = a[3] * u + a[6] * v + a[9] * w
        gy = a[4] * u + a[7] * v + a[10] * w
        gz = a[5] * u + a[8] * v + a[11] * w
        steepness = scale * np.sqrt(gx * gx + gy * gy + gz * gz) / max(q, 1e-12)
        inside = (1.0 - q) / max(steepness, 1e-12) if q > 1e-9 else np.inf
        share = max(share, min(max(inside / h + 0.5, 0.0), 1.0))
    return share


@njit(cache=True, nogil=True)
def _envelope_share(outer, core, point, h):  # type: ignore[no-untyped-def]
    """Share of a voxel of edge ``h`` between core and surface: overlap along the radius, which keeps the volume."""
    x, y, z = point
    r = np.sqrt(x * x + y * y + z * z)
    if r - 0.5 * h >= outer.highest or r + 0.5 * h <= core.lowest:
        return 0.0
    share = 1.0
    scale = 1.0 / max(r, 1e-9)
    if r + 0.5 * h > outer.lowest:
        share = (surface_radius(outer, x * scale, y * scale, z * scale) - r) / h + 0.5
    if core.mean_radius > 0.0 and r - 0.5 * h < core.highest:
        share = min(share, 1.0) - min((surface_radius(core, x * scale, y * scale, z * scale) - r) / h + 0.5, 1.0)
    return min(max(share, 0.0), 1.0)


@njit(cache=True, nogil=True)
def _fill(result, points, narrowing, h, body, laws):  # type: ignore[no-untyped-def]
    """Fill ``result`` = (label, fraction, crack, pore) for voxels of edge ``h`` at ``points`` (n, 3)."""
    label, fraction, crack, pore = result
    lookup, outer, core = body
    cracks, pores = laws
    powers = np.empty(lookup.longest)
    broken = cracks.widest > 0.0 or pores.sheet > 0.0
    for p in range(label.size):
        point = (points[p, 0], points[p, 1], points[p, 2])
        label[p], fraction[p], crack[p], pore[p] = -1, 0.0, 0.0, 0.0
        envelope = _envelope_share(outer, core, point, h)
        if envelope <= 0.0:
            continue
        cell = cell_of(lookup, point[0], point[1], point[2])
        best = _nearest_in_list(lookup, cell, embed(lookup, point[0], point[1], point[2]), powers)
        label[p] = lookup.ids[lookup.starts[cell] + best]
        near = narrowing[p if narrowing.size > 1 else 0]
        hole, sheet, open_crack = _hole_share(pores, point, h, near), 0.0, 0.0
        if broken and near > 0.0:
            sheet, open_crack = _sheets(lookup, (cracks, pores, near), cell, powers, best, point, h)
        crack[p] = envelope * (1.0 - hole) * open_crack
        pore[p] = envelope * (hole + (1.0 - hole) * sheet)
        fraction[p] = envelope * (1.0 - hole) * (1.0 - sheet - open_crack)


@njit(cache=True, nogil=True)
def _boundaries(result, points, lookup):  # type: ignore[no-untyped-def]
    """Fill ``result`` = (distance, grain, neighbour) with the nearest boundary of the grain at each of ``points``."""
    distance, grain, neighbour = result
    powers = np.empty(lookup.longest)
    for p in range(distance.size):
        x, y, z = points[p]
        cell = cell_of(lookup, x, y, z)
        best = _nearest_in_list(lookup, cell, embed(lookup, x, y, z), powers)
        first = lookup.starts[cell]
        distance[p], grain[p], neighbour[p] = np.inf, -1, -1
        if best < 0:
            continue
        grain[p] = lookup.ids[first + best]
        for n in range(lookup.starts[cell + 1] - first):
            if n != best:
                gx, gy, gz = _gradient(lookup, grain[p], lookup.ids[first + n], x, y, z)
                d = (powers[n] - powers[best]) / np.sqrt(gx * gx + gy * gy + gz * gz)
                if d < distance[p]:
                    distance[p], neighbour[p] = d, lookup.ids[first + n]


@njit(cache=True, nogil=True)
def _pair_openings(openings, law, pairs, radii):  # type: ignore[no-untyped-def]
    """Fill ``openings`` for ``pairs`` (n, 2) of grains at ``radii`` (n,); 0 where a grain is negative."""
    for p in range(openings.size):
        i, j = pairs[p, 0], pairs[p, 1]
        openings[p] = _opening_of_pair(law, i, j, radii[p]) if i >= 0 and j >= 0 and i != j else 0.0


def solid(
    grains: Grains, points: FloatArray, voxel: float, narrowing: ArrayLike = 1.0, *, kernel: Any = _fill
) -> Solid:
    """What voxels of edge ``voxel`` (um) around ``points`` (..., 3), um, contain.

    Parameters
    ----------
    grains
        The particle.
    points
        Centres of the voxels; results have their shape without the last axis.
    narrowing
        Scalar, or one value per point: opening of cracks and volume of pores there, relative to those drawn; 0 to 1.
    kernel
        The compiled loop, or ``_fill.py_func``.

    Raises
    ------
    CathoscopeError
        If the voxel is not positive, or too coarse for the grains; if narrowing is outside 0 to 1.
    """
    return _contents(grains, points, voxel, narrowing, kernel)[0]


def pore_share(grains: Grains, points: FloatArray, voxel: float, narrowing: ArrayLike = 1.0) -> NDArray[np.float32]:
    """Share of each voxel that is pore, hollow core and cracks excluded; arguments as for `solid`."""
    return _contents(grains, points, voxel, narrowing, _fill)[1]


def _contents(
    grains: Grains, points: FloatArray, voxel: float, narrowing: ArrayLike, kernel: Any
) -> tuple[Solid, NDArray[np.float32]]:
    """What `solid` and `pore_share` return."""
    _require_voxel(grains, voxel)
    shape = np.shape(points)[:-1]
    flat = np.ascontiguousarray(points, dtype=np.float64).reshape(-1, 3)
    near = np.asarray(narrowing, dtype=np.float64)
    near = np.ascontiguousarray(near if near.ndim == 0 else np.broadcast_to(near, shape)).reshape(-1)
    if near.size and not (near.min() >= 0 and near.max() <= 1):
        raise CathoscopeError(
            "cracks can be narrowed, not widened",
            expected="narrowing between 0 and 1",
            found=f"{near.min():g} to {near.max():g}",
            cure="np.clip(narrowing, 0, 1)",
        )
    label = np.empty(len(flat), dtype=np.int32)
    fraction, crack, pore = (np.empty(len(flat), dtype=np.float32) for _ in range(3))
    body = (grains.lookup, grains.outer, grains.core)
    kernel((label, fraction, crack, pore), flat, near, float(voxel), body, (crack_law(grains), pore_law(grains)))
    return Solid(label.reshape(shape), fraction.reshape(shape), crack.reshape(shape)), pore.reshape(shape)


def _require_voxel(grains: Grains, voxel: float) -> None:
    """Refuse voxels that are no length, or too large to know the boundaries they contain."""
    largest = LARGEST_VOXEL * grains.design.grain_size
    if not 0 < voxel <= largest:
        raise CathoscopeError(
            "the voxel is too coarse for the grains" if voxel > 0 else "a voxel needs a positive edge",
            expected=f"at most {LARGEST_VOXEL:g} of the grain size: {largest:.3g} um",
            found=f"{voxel:g} um",
            cure=f"a voxel of {largest / 2:.2g} um, or grain_size={2 * voxel / LARGEST_VOXEL:.2g}",
        )


def crack_law(grains: Grains) -> CrackLaw:
    """The cracks of a particle, for kernels and for `pair_openings`."""
    design = grains.design
    return CrackLaw(
        np.uint64(grains.seed),
        design.crack_share,
        design.crack_share_surface,
        design.crack_opening,
        design.crack_spread,
        widest_crack(design),
        design.core_radius,
        design.radius,
    )


def pair_openings(grains: Grains, pairs: NDArray[np.int32], radii: FloatArray) -> FloatArray:
    """Opening (um) of the boundaries between ``pairs`` (n, 2) of grains, ``radii`` (n,), um, from the centre; or 0."""
    openings = np.empty(len(pairs))
    _pair_openings(openings, crack_law(grains), np.ascontiguousarray(pairs, dtype=np.int64), radii)
    return openings


def nearest_boundary(grains: Grains, points: FloatArray) -> tuple[FloatArray, NDArray[np.int32]]:
    """Distance (um) of ``points`` (n, 3), um, from the nearest boundary within `Grains.reach`, and its two grains.

    Returns
    -------
    Distances (n,), infinite where there is none; grain of the point and neighbour (n, 2), -1 where there is none.
    """
    flat = np.ascontiguousarray(points, dtype=np.float64).reshape(-1, 3)
    distance = np.empty(len(flat))
    pairs = np.empty((len(flat), 2), dtype=np.int32)
    _boundaries((distance, pairs[:, 0], pairs[:, 1]), flat, grains.lookup)
    far = distance > grains.reach
    distance[far], pairs[far, 1] = np.inf, -1
    return distance, pairs


def crack_opening(grains: Grains, points: FloatArray, narrowing: ArrayLike = 1.0) -> FloatArray:
    """Opening (um) of the boundary nearest to each of ``points`` (..., 3), um; 0 where closed, out of reach or outside.

    ``narrowing`` multiplies the openings as in `solid`.
    """
    shape = np.shape(points)[:-1]
    flat = np.ascontiguousarray(points, dtype=np.float64).reshape(-1, 3)
    pairs = nearest_boundary(grains, flat)[1]
    openings = pair_openings(grains, pairs, np.linalg.norm(flat, axis=1))
    openings[grains.labels(flat) < 0] = 0.0
    return np.asarray(openings.reshape(shape) * np.asarray(narrowing, dtype=np.float64))


@lru_cache(maxsize=8)
def pore_law(grains: Grains) -> PoreLaw:
    """The pores of a particle, sized so that they take the stated share of its envelope.

    Raises
    ------
    CathoscopeError
        If sheets would have to be wider than grains allow.
    """
    design = grains.design
    radius = design.pore_radius
    if design.pore_shape == "none":
        return PoreLaw(np.zeros((0, 12)), 0.0, 0.0, np.array([0.0, 1.0]))
    edge = 2 * radius / _PORE_POINTS
    middle = (np.arange(_PORE_POINTS) + 0.5) * edge - radius
    points = np.stack(np.meshgrid(middle, middle, middle, indexing="ij"), axis=-1).reshape(-1, 3)
    points = points[np.sum(points**2, axis=1) < radius**2]
    points = points[grains.labels(points) >= 0]
    # the size at which each point becomes pore; the size sought is the quantile of the stated volume
    wanted = design.porosity * design.envelope_volume / (edge**3 * len(points))
    if design.pore_shape == "bulky":
        return _holes_of_share(grains, points, wanted)
    taper = 1 - np.sum(points**2, axis=1) / radius**2
    sheets = np.quantile(2 * nearest_boundary(grains, points)[0] / taper, wanted * _VOLUMES)
    sheet = float(sheets[-1])
    if not sheet <= LARGEST_SHEET * design.grain_size:
        raise CathoscopeError(
            "the web of pores would be wider than the grains",
            expected=f"sheets of at most {LARGEST_SHEET:g} of the grain size",
            found=f"{sheet:.3g} um at grain_size {design.grain_size:g} um",
            cure=f"porosity={design.porosity / 2:.2g}, or a larger pore_radius",
        )
    return PoreLaw(np.zeros((0, 12)), sheet, radius, sheets / sheet * (_VOLUMES > 0))


def _holes_of_share(grains: Grains, points: FloatArray, wanted: float) -> PoreLaw:
    """Overlapping ellipsoids that hold the share ``wanted`` of ``points`` (n, 3)."""
    design = grains.design
    rng = np.random.default_rng(np.random.SeedSequence((grains.seed, _PORES)))
    # uniform in the square of the distance: the density of centres falls as one over the distance
    nearest = (design.core_radius / design.pore_radius) ** 2
    far = np.sqrt(rng.uniform(nearest, 1, (_HOLES, 1))) * _HOLE_REACH * design.pore_radius
    towards = rng.standard_normal((_HOLES, 3))
    centres = far * towards / np.linalg.norm(towards, axis=1, keepdims=True)
    axes = np.linalg.qr(rng.standard_normal((_HOLES, 3, 3)))[0]
    semi_axes = np.exp(0.35 * rng.standard_normal((_HOLES, 1)) + 0.2 * rng.standard_normal((_HOLES, 3)))
    matrices = axes / semi_axes[..., None, :] @ axes.transpose(0, 2, 1)
    size = np.full(len(points), np.inf)
    for centre, matrix in zip(centres, matrices, strict=True):
        size = np.minimum(size, np.linalg.norm((points - centre) @ matrix, axis=1))
    sizes = np.quantile(size, wanted * _VOLUMES)
    holes = np.hstack([centres, matrices.reshape(_HOLES, 9) / sizes[-1]])
    return PoreLaw(holes, 0.0, design.pore_radius, (sizes / sizes[-1]) ** 3 * (_VOLUMES > 0))
