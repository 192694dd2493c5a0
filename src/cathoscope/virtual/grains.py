"""Grains of a secondary particle: an anisotropic Laguerre tessellation known at every point, without a grid.

A point x belongs to the seed i that minimises the power |e(x) - e_i|^2 - w_i, where e embeds the particle in four
dimensions. Gravel: e(x) = (x, 0). Rod: e(x) = (l x/rho, rho/aspect) with rho = sqrt(|x|^2 + s^2), s the design's
isotropic_radius, l = sqrt(r_ref^2 + s^2) and r_ref = 0.7 R. This stretches lengths across the radius by l/rho, which is
1 at r_ref, and along it by sqrt((l s^2/rho^3)^2 + (|x|/(rho aspect))^2): cells have equal width in angle and are longer
along the radius, but those at the centre are equiaxed and s/l as wide as those at r_ref, if s > 0. Space is cut into
coarse cells, and each keeps the seeds that can be nearest to some point of it or within ``reach`` of it. A seed i is
left out only if another, k, has the smaller power everywhere in the ball that holds the cell: powers differ by a linear
function of e, so this is (P_i - P_k)(centre) > 2 (radius |e_i - e_k|). The lists therefore change no label.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, pi
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.particle import (
    ParticleDesign,
    Surface,
    draw_surface,
    radius_towards,
    surface_radius,
    watson_cosines,
    widest_crack,
)

FloatArray = NDArray[np.float64]

REFERENCE = 0.7  # of the radius: where rods have their stated width
LARGEST_VOXEL = 0.6  # of the grain size
LARGEST_SHEET = 0.3  # of the grain size: widest sheet-like pore
_RADII = 2049  # from core to surface at which the embedded volume is tabulated
_BLOCK = 8  # cells along each axis of a block, whose shortlist is the pool of its cells
_NEEDLES = 2.5  # times narrower than at the reference radius, rods keep neighbours only in reach of their own width
_OUTER_WAVES, _CORE_WAVES = (8.0, 20.0), (3.0, 8.0)  # per radian
# Kinds of random numbers; each has its own stream.
_SEEDS, _WEIGHTS, _AXES, _OUTER, _CORE = range(5)


class Lookup(NamedTuple):
    """What a kernel needs to find the grain of a point.

    ``rod`` says which embedding, with l = ``reference_radius``; ``seeds`` (n, 4) and ``weights`` (n,) are those of the
    tessellation. Coarse cells: ``shape`` of them, the first one at ``origin`` (um, three numbers; for rods the third is
    a radius), ``edge`` (um; for rods along the radius). Cell c shortlists ``ids[starts[c]:starts[c + 1]]``, which is
    ``longest`` at most.
    """

    rod: bool
    reference_radius: float
    aspect: float
    seeds: FloatArray
    weights: FloatArray
    shape: tuple[int, int, int]
    origin: tuple[float, float, float]
    edge: float
    starts: NDArray[np.int64]
    ids: NDArray[np.int32]
    longest: int
    isotropic_radius: float


@njit(cache=True, nogil=True)
def embed(lookup, x, y, z):  # type: ignore[no-untyped-def]
    """The four coordinates of a point (um) in which cells are compared."""
    if not lookup.rod:
        return x, y, z, 0.0
    rho = np.sqrt(x * x + y * y + z * z + lookup.isotropic_radius**2)
    if rho == 0.0:
        return 0.0, 0.0, lookup.reference_radius, 0.0
    scale = lookup.reference_radius / rho
    return x * scale, y * scale, z * scale, rho / lookup.aspect


@njit(cache=True, nogil=True)
def _face_of(x, y, z):  # type: ignore[no-untyped-def]
    """Face of the cube around the origin that a direction meets, and where on it, both coordinates -1 to 1."""
    ax, ay, az = abs(x), abs(y), abs(z)
    if ax >= ay and ax >= az:
        return (0 if x > 0.0 else 1), y / ax, z / ax
    if ay >= az:
        return (2 if y > 0.0 else 3), x / ay, z / ay
    return (4 if z > 0.0 else 5), x / az, y / az


@njit(cache=True, nogil=True)
def cell_of(lookup, x, y, z):  # type: ignore[no-untyped-def]
    """Number of the coarse cell that holds a point (um), or the nearest one."""
    n0, n1, n2 = lookup.shape
    if lookup.rod:
        r = np.sqrt(x * x + y * y + z * z)
        face, u, v = _face_of(x, y, z if r > 0.0 else 1.0)
        i = face * n1 + min(int(0.5 * (u + 1.0) * n1), n1 - 1)
        j = min(int(0.5 * (v + 1.0) * n1), n1 - 1)
        k = int((r - lookup.origin[2]) / lookup.edge) if r > lookup.origin[2] else 0
        return (i * n1 + j) * n2 + min(k, n2 - 1)
    i = min(max(int((x - lookup.origin[0]) / lookup.edge), 0), n0 - 1)
    j = min(max(int((y - lookup.origin[1]) / lookup.edge), 0), n1 - 1)
    k = min(max(int((z - lookup.origin[2]) / lookup.edge), 0), n2 - 1)
    return (i * n1 + j) * n2 + k


@njit(cache=True, nogil=True)
def power(lookup, i, e):  # type: ignore[no-untyped-def]
    """|e - e_i|^2 - w_i of seed ``i`` at the embedded point ``e``, um²."""
    s = lookup.seeds[i]
    a, b, c, d = e[0] - s[0], e[1] - s[1], e[2] - s[2], e[3] - s[3]
    return a * a + b * b + c * c + d * d - lookup.weights[i]


@njit(cache=True, nogil=True)
def nearest_grain(lookup, x, y, z):  # type: ignore[no-untyped-def]
    """Seed of least power at a point (um); -1 where no cell lists any."""
    e = embed(lookup, x, y, z)
    cell = cell_of(lookup, x, y, z)
    best, least = -1, np.inf
    for n in range(lookup.starts[cell], lookup.starts[cell + 1]):
        i = lookup.ids[n]
        value = power(lookup, i, e)
        if value < least:
            best, least = i, value
    return best


@njit(cache=True, nogil=True)
def _label(labels, points, lookup, outer, core):  # type: ignore[no-untyped-def]
    """Fill ``labels`` with the grain at each of ``points`` (n, 3); -1 outside the particle or in its hollow core."""
    for p in range(labels.size):
        x, y, z = points[p]
        labels[p] = -1
        r = np.sqrt(x * x + y * y + z * z)
        if r >= outer.highest or r < core.lowest:
            continue
        if r > outer.lowest and r >= surface_radius(outer, x / r, y / r, z / r):
            continue
        if r < core.highest and r > 0.0 and r < surface_radius(core, x / r, y / r, z / r):
            continue
        labels[p] = nearest_grain(lookup, x, y, z)


@njit(cache=True, nogil=True)
def _beaten(ball, sites, i, k, difference):  # type: ignore[no-untyped-def]
    """Whether seed k has a smaller power than i all over a ball, given the ``difference`` i - k at its centre."""
    a, b = sites[0][i], sites[0][k]
    across = np.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2)
    return difference > 2.0 * (ball[4] * across + ball[5] * abs(a[3] - b[3])) * (1.0 + 1e-9) + 1e-12


@njit(cache=True, nogil=True)
def _shortlist(ball, sites, pool, kept, powers):  # type: ignore[no-untyped-def]
    """Write to ``kept`` the seeds of ``pool`` that can be nearest within ``ball``; return how many."""
    seeds, weights = sites
    best, least = -1, np.inf
    for n in range(pool.size):
        value = -weights[pool[n]]
        for axis in range(4):
            value += (ball[axis] - seeds[pool[n], axis]) ** 2
        powers[n] = value
        if value < least:
            best, least = pool[n], value
    found = 0
    for n in range(pool.size):
        if not _beaten(ball, sites, pool[n], best, powers[n] - least):
            kept[found], powers[found] = pool[n], powers[n]
            found += 1
    count = 0
    # A seed beaten by one that is itself beaten is also beaten by a seed that stays: compaction in place loses none.
    for n in range(found):
        beaten = False
        for m in range(found):
            if (m < count or m > n) and _beaten(ball, sites, kept[n], kept[m], powers[n] - powers[m]):
                beaten = True
                break
        if not beaten:
            kept[count], powers[count] = kept[n], powers[n]
            count += 1
    return count


@njit(cache=True, nogil=True)
def _shortlists(balls, sites, pool_of, pools):  # type: ignore[no-untyped-def]
    """Shortlists of all ``balls`` (n, 6): where each starts (n + 1,), and the seeds.

    Ball b chooses among pool ``pool_of[b]`` of ``pools`` (starts, ids). A ball of negative radius gets no seed.
    """
    pool_starts, pool_ids = pools
    starts = np.zeros(balls.shape[0] + 1, dtype=np.int64)
    ids = np.empty(32 * balls.shape[0] + 1024, dtype=np.int32)
    kept = np.empty(sites[1].size, dtype=np.int32)
    powers = np.empty(sites[1].size)
    used = 0
    for b in range(balls.shape[0]):
        if balls[b, 4] >= 0.0:
            pool = pool_ids[pool_starts[pool_of[b]] : pool_starts[pool_of[b] + 1]]
            count = _shortlist(balls[b], sites, pool, kept, powers)
            if used + count > ids.size:
                longer = np.empty(2 * (used + count), dtype=np.int32)
                longer[:used] = ids[:used]
                ids = longer
            ids[used : used + count] = kept[:count]
            used += count
        starts[b + 1] = used
    return starts, ids[:used].copy()


@dataclass(frozen=True, eq=False)
class Grains:
    """A drawn particle; two of the same design and seed are the same.

    Attributes
    ----------
    design, seed
        What it was drawn from.
    positions
        Seed points of the grains, (grain, 3), um.
    in_plane, c_axis
        Unit vectors along [110] and along c of each grain, perpendicular to each other, (grain, 3).
    outer, core
        Surfaces of the particle and of its hollow core.
    reach
        Distance (um) from a point within which all its grain's neighbours are on its shortlist; for rods it
        shrinks in proportion to rho where that is less than l/2.5.
    lookup
        For kernels.
    """

    design: ParticleDesign
    seed: int
    positions: FloatArray
    in_plane: FloatArray
    c_axis: FloatArray
    outer: Surface
    core: Surface
    reach: float
    lookup: Lookup

    @property
    def count(self) -> int:
        """Number of seeds; labels lie below it. Few seeds at the rim, or of small weight, own no volume."""
        return self.lookup.weights.size

    @property
    def embedded_seeds(self) -> FloatArray:
        """Seeds in the four coordinates of the tessellation, (grain, 4), um."""
        return self.lookup.seeds

    @property
    def weights(self) -> FloatArray:
        """Laguerre weights, (grain,), um²."""
        return self.lookup.weights

    def outer_radius(self, directions: FloatArray) -> FloatArray:
        """Distance (um) of the surface from the centre along ``directions`` (..., 3) of any length."""
        return radius_towards(self.outer, directions)

    def core_radius(self, directions: FloatArray) -> FloatArray:
        """Distance (um) of the hollow core's surface from the centre along ``directions`` (..., 3)."""
        return radius_towards(self.core, directions)

    def labels(self, points: FloatArray, *, kernel: Any = _label) -> NDArray[np.int32]:
        """Grain at each of ``points`` (..., 3), um; -1 outside the particle or in the hollow core.

        ``kernel`` is the compiled loop, or ``_label.py_func``.
        """
        flat = np.ascontiguousarray(points, dtype=np.float64).reshape(-1, 3)
        labels = np.empty(flat.shape[0], dtype=np.int32)
        kernel(labels, flat, self.lookup, self.outer, self.core)
        return labels.reshape(np.shape(points)[:-1])


def embedded(grains: Grains, points: FloatArray) -> FloatArray:
    """The four coordinates e (um) of ``points`` (n, 3), um, in which grains are compared, shape (n, 4)."""
    return _embedding(grains.design, points)


def _embedding(design: ParticleDesign, points: FloatArray) -> FloatArray:
    """The same for a design."""
    if design.arrangement == "gravel":
        return np.hstack([points, np.zeros((len(points), 1))])
    rho = np.hypot(np.linalg.norm(points, axis=1, keepdims=True), design.isotropic_radius)
    return np.hstack([_stretched_radius(design) * points / rho, rho / design.aspect])


def _stretched_radius(design: ParticleDesign) -> float:
    """Length l (um) of the embedding of rods: widths are the stated ones at the reference radius."""
    return hypot(REFERENCE * design.radius, design.isotropic_radius)


def draw_grains(design: ParticleDesign, seed: int) -> Grains:
    """Draw the particle that ``seed`` makes of a design.

    Seeds are as many as the mean grain volume asks for, uniform in a ball somewhat larger than the particle (gravel)
    or in the volume of the embedded shell between core and surface (rod), which without an isotropic_radius is in solid
    angle and in radius. Laguerre weights are squares of log-normal radii of median ``grain_size`` / 2.

    Raises
    ------
    CathoscopeError
        If the design makes too few grains.
    """

    def stream(kind: int) -> np.random.Generator:
        """Random numbers of their own for each kind of draw."""
        return np.random.default_rng(np.random.SeedSequence((seed, kind)))

    rough = {"roughness": design.roughness, "asphericity": design.asphericity}
    outer = draw_surface(design.radius, **rough, wave_numbers=_OUTER_WAVES, rng=stream(_OUTER))
    core = draw_surface(design.core_radius, **rough, wave_numbers=_CORE_WAVES, rng=stream(_CORE))
    draw = _rod_seeds if design.arrangement == "rod" else _gravel_seeds
    positions = draw(design, outer.highest, stream(_SEEDS))
    spread = design.grain_spread * stream(_WEIGHTS).standard_normal(len(positions))
    weights = (design.grain_size / 2 * np.exp(np.clip(spread, -1.0, 1.0))) ** 2
    sheet = LARGEST_SHEET * design.grain_size if design.pore_shape == "spider-web" else 0.0
    reach = (LARGEST_VOXEL * design.grain_size + max(widest_crack(design), sheet)) / 2
    in_plane, c_axis = _axes(positions, design.alignment, stream(_AXES))
    lookup = _lookup(design, (positions, weights), (core.lowest - reach, outer.highest + reach), reach)
    return Grains(design, seed, positions, in_plane, c_axis, outer, core, reach, lookup)


def _gravel_seeds(design: ParticleDesign, highest: float, rng: np.random.Generator) -> FloatArray:
    """Uniform points in a ball one and a half grains larger than the particle, (n, 3), um."""
    ball = highest + 1.5 * design.grain_size
    count = _enough(round(4 / 3 * pi * ball**3 / design.grain_size**3), design)
    return _directions(count, rng) * (ball * np.cbrt(rng.uniform(size=(count, 1))))


def _rod_seeds(design: ParticleDesign, highest: float, rng: np.random.Generator) -> FloatArray:
    """Points uniform in the volume of the embedded shell between core and surface, (n, 3), um.

    sqrt(det(J^T J)) 4 pi r^2 dr = 4 pi l^2 (r/rho)^2 sqrt((l s^2/rho^3)^2 + (r/(rho aspect))^2) dr.
    """
    s, stretched = design.isotropic_radius, _stretched_radius(design)
    radii = np.linspace(design.core_radius, design.radius, _RADII)
    r = (radii[1:] + radii[:-1]) / 2
    rho = np.hypot(r, s)
    volumes = np.cumsum(
        (r / rho) ** 2 * np.hypot(stretched * s**2 / rho**3, r / (rho * design.aspect)) * np.diff(radii)
    )
    rods_along_radius = max(volumes[-1] / design.grain_size, 1.0)
    count = _enough(round(4 * pi * (stretched / design.grain_size) ** 2 * rods_along_radius), design)
    directions = _directions(count, rng)
    if s == 0:
        return directions * rng.uniform(design.core_radius, design.radius, (count, 1))
    return directions * np.interp(rng.uniform(size=(count, 1)), np.append(0.0, volumes) / volumes[-1], radii)


def _enough(count: int, design: ParticleDesign) -> int:
    """``count``, if it makes a polycrystal."""
    if count < 8:
        raise CathoscopeError(
            "the grains are too large for a polycrystal",
            expected="8 grains or more",
            found=f"{count} grains of {design.grain_size:g} um",
            cure=f"grain_size={design.grain_size / 2:.2g}",
        )
    return count


def _directions(count: int, rng: np.random.Generator) -> FloatArray:
    """Uniform unit vectors, (count, 3)."""
    vectors = rng.standard_normal((count, 3))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _axes(positions: FloatArray, alignment: float, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Axis [110] around the radius of each seed with P2 = ``alignment``, and c at random in its normal plane."""
    radial = positions / np.linalg.norm(positions, axis=1, keepdims=True)
    cosine = watson_cosines(len(positions), alignment, rng)[:, None]
    aside = _perpendicular(radial, rng)
    sense = rng.choice([-1.0, 1.0], (len(positions), 1))
    in_plane = sense * (cosine * radial + np.sqrt(1 - cosine**2) * aside)
    return in_plane, _perpendicular(in_plane, rng)


def _perpendicular(axes: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A random unit vector perpendicular to each unit vector of ``axes`` (n, 3)."""
    vectors = rng.standard_normal(axes.shape)
    vectors -= axes * np.sum(axes * vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _lookup(
    design: ParticleDesign, sites: tuple[FloatArray, FloatArray], radii: tuple[float, float], reach: float
) -> Lookup:
    """Shortlists for all points whose distance from the centre lies between ``radii``, grown by ``reach``."""
    positions, weights = sites
    rod, reference = design.arrangement == "rod", _stretched_radius(design)
    seeds = _embedding(design, positions)
    if rod:
        shape, origin, edge, balls = _rod_cells(design, (max(radii[0], 0.0), radii[1]), reach)
    else:
        shape, origin, edge, balls = _gravel_cells(design, radii, reach)
    blocks, block_of = _blocks(balls.reshape(*shape, 6))
    everyone = (np.array([0, len(seeds)]), np.arange(len(seeds), dtype=np.int32))
    pools = _shortlists(blocks, (seeds, weights), np.zeros(len(blocks), dtype=np.int64), everyone)
    starts, ids = _shortlists(balls, (seeds, weights), block_of, pools)
    longest = int(np.diff(starts).max())
    softness = design.isotropic_radius
    return Lookup(rod, reference, design.aspect, seeds, weights, shape, origin, edge, starts, ids, longest, softness)


_Cells = tuple[tuple[int, int, int], tuple[float, float, float], float, FloatArray]


def _gravel_cells(design: ParticleDesign, radii: tuple[float, float], reach: float) -> _Cells:
    """Cubes of about half a grain: their shape, origin, edge and enclosing balls (n, 6)."""
    count = _BLOCK * int(np.ceil(2 * radii[1] / (design.grain_size / 2) / _BLOCK))
    edge = 2 * radii[1] / count
    middle = (np.arange(count) + 0.5) * edge - radii[1]
    x, y, z = np.meshgrid(middle, middle, middle, indexing="ij")
    r, half_diagonal = np.sqrt(x * x + y * y + z * z), edge * np.sqrt(3) / 2
    radius = np.full(r.shape, half_diagonal + reach)
    radius[(r - half_diagonal > radii[1]) | (r + half_diagonal < radii[0])] = -1.0
    balls = np.stack([x, y, z, 0 * x, radius, 0 * x], axis=-1).reshape(-1, 6)
    return (count, count, count), (-radii[1],) * 3, edge, balls


def _rod_cells(design: ParticleDesign, radii: tuple[float, float], reach: float) -> _Cells:
    """Pieces of solid angle and radius, six faces of a cube side by side; otherwise as `_gravel_cells`."""
    count = _BLOCK * int(np.ceil(4 * REFERENCE * design.radius / design.grain_size / _BLOCK))
    layers = 2 * _BLOCK
    edge = (radii[1] - radii[0]) / layers
    centre, half_angle = _face_pieces(count)
    inner = np.asarray(radii[0] + edge * np.arange(layers), dtype=np.float64)
    middle = inner + edge / 2
    balls = np.empty((len(centre), layers, 6))
    balls[..., :3] = _across(design, middle)[:, None] * centre[:, None, :]
    balls[..., 3] = np.hypot(middle, design.isotropic_radius) / design.aspect
    balls[..., 4] = _reach_across(design, inner, edge, half_angle, reach)
    balls[..., 5] = (edge / 2 + reach) / design.aspect
    return (6 * count, count, layers), (0.0, 0.0, radii[0]), edge, balls.reshape(-1, 6)


def _across(design: ParticleDesign, r: FloatArray) -> FloatArray:
    """l r/rho (um), length of the first three coordinates of the embedding of rods, at distances ``r`` (um)."""
    rho = np.hypot(r, design.isotropic_radius)
    return _stretched_radius(design) * np.divide(r, rho, out=np.ones_like(r), where=rho > 0)


def _farthest(
    design: ParticleDesign, middle: FloatArray, ends: tuple[FloatArray, FloatArray], angle: FloatArray
) -> FloatArray:
    """Farthest (um) that they get from those at ``middle``, at radii between ``ends`` and angles up to ``angle``."""
    q, turned = _across(design, middle), np.sin(np.minimum(angle, pi) / 2) ** 2
    squares = [(end - q) ** 2 + 4 * end * q * turned for end in (_across(design, r) for r in ends)]
    return np.asarray(np.sqrt(np.maximum(*squares)))


def _reach_across(
    design: ParticleDesign, inner: FloatArray, edge: float, angle: FloatArray, reach: float
) -> FloatArray:
    """Farthest (um) that they get from those of a cell's middle in the cell and within ``reach`` of it."""
    middle, near = inner + edge / 2, np.maximum(inner - reach, 0.0)
    # a shift by reach turns the direction by at most this much; towards the centre rods become needles, reach shrinks
    sine = reach / np.maximum(np.maximum(inner, _across(design, inner) / _NEEDLES), 1e-12)
    turn = np.where(sine < 1, np.arcsin(np.minimum(sine, 1.0)), pi)
    turned = _farthest(design, middle, (near, inner + edge + reach), angle[:, None] + turn)
    # near the centre it is better to say that a shift moves them by at most the largest stretch on its way
    stretch = _stretched_radius(design) / np.maximum(np.hypot(near, design.isotropic_radius), 1e-12)
    return np.minimum(turned, _farthest(design, middle, (inner, inner + edge), angle[:, None]) + reach * stretch)


def _face_pieces(count: int) -> tuple[FloatArray, FloatArray]:
    """Middle directions (6 count^2, 3) and half opening angles of the pieces of a cube's faces, as `_face_of` cuts."""
    node = np.linspace(-1, 1, count + 1)
    u, v = np.meshgrid(node, node, indexing="ij")
    one = np.ones_like(u)
    faces = [(one, u, v), (-one, u, v), (u, one, v), (u, -one, v), (u, v, one), (u, v, -one)]
    corner = np.stack([np.stack(face, axis=-1) for face in faces])
    corner /= np.linalg.norm(corner, axis=-1, keepdims=True)
    around = np.stack([corner[:, :-1, :-1], corner[:, 1:, :-1], corner[:, :-1, 1:], corner[:, 1:, 1:]])
    middle = around.mean(axis=0)
    middle /= np.linalg.norm(middle, axis=-1, keepdims=True)
    chord = np.linalg.norm(around - middle, axis=-1).max(axis=0)
    return middle.reshape(-1, 3), 2 * np.arcsin(chord / 2).reshape(-1)


def _blocks(balls: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """Balls (m, 6) around blocks of cells, and the block of each cell (n,)."""
    n0, n1, n2 = (size // _BLOCK for size in balls.shape[:3])
    parts = (
        balls.reshape(n0, _BLOCK, n1, _BLOCK, n2, _BLOCK, 6).transpose(0, 2, 4, 1, 3, 5, 6).reshape(-1, _BLOCK**3, 6)
    )
    centre = parts[..., :4].mean(axis=1)
    away = parts[..., :4] - centre[:, None]
    across = np.linalg.norm(away[..., :3], axis=-1) + parts[..., 4]
    along = np.abs(away[..., 3]) + parts[..., 5]
    used = parts[..., 4] >= 0
    radius = np.where(used.any(axis=1), np.where(used, across, 0.0).max(axis=1), -1.0)
    blocks = np.column_stack([centre, radius, along.max(axis=1)])
    i, j, k = np.indices(balls.shape[:3]) // _BLOCK
    return blocks, ((i * n1 + j) * n2 + k).reshape(-1)
