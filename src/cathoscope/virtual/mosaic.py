"""A field of many sectioned particles, imaged tile by tile with a stage that does not quite go where it is told.

Spheres cut by a plane: one of radius R is hit with a probability proportional to R, at a height uniform in -R to R.
Every tile is the scene at its true place: pixel (row, column) shows y = y_tile + row pixel, x = x_tile + column pixel,
so overlapping tiles agree to the noise and nothing is interpolated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.cracks import solid
from cathoscope.virtual.grains import Grains, draw_grains
from cathoscope.virtual.particle import GRAVEL, ParticleDesign

FloatArray = NDArray[np.float64]

_TRIES = 400  # places tried for each particle
_GAP = 0.3  # um between particles, at least
_SMALLEST = 3.0  # pixels: smaller sections are not placed
_WAVES = 40  # plane waves of the binder's texture
_GRAINS, _SCENE, _STAGE, _NOISE, _TEXTURE = range(5)
_CRACKED = 0.005  # share of a section that is crack, from which it counts as cracked


def _of(diameter: float, *, core: float = 0.0, cracks: float = 0.0) -> ParticleDesign:
    return replace(
        GRAVEL,
        diameter=diameter,
        core_radius=core,
        grain_size=1.0,
        crack_opening=0.15,
        crack_share=cracks,
        crack_share_surface=cracks,
    )


POPULATION = (
    _of(4.0),
    _of(6.0),
    _of(8.0),
    _of(10.0),
    _of(6.0, cracks=0.35),
    _of(10.0, cracks=0.35),
    _of(8.0, core=1.8),
    _of(10.0, core=2.4, cracks=0.25),
)
"""Dense, cracked and hollow particles of several diameters."""


@dataclass(frozen=True)
class MosaicOptions:
    """The scene and the microscope; lengths um, grey levels relative to that of the oxide.

    ``tiles`` (down, across) of ``tile`` (rows, columns) pixels, of which ``overlap`` is shared with the neighbour;
    ``stage_error`` is the standard deviation of a tile's place along each axis; ``coverage`` the share of the field
    that sections are to cover; ``vignetting`` how much darker the corners are; ``gain_spread`` that of the tiles'
    brightness; ``binder`` and ``texture`` level and standard deviation of what is between the particles.
    """

    pixel: float = 0.1
    tiles: tuple[int, int] = (3, 3)
    tile: tuple[int, int] = (192, 256)
    overlap: float = 0.15
    stage_error: float = 0.3
    coverage: float = 0.4
    vignetting: float = 0.1
    gain_spread: float = 0.03
    binder: float = 0.3
    texture: float = 0.04
    void: float = 0.12
    blur: float = 0.7
    electrons: float = 100.0
    white: float = 170.0

    def __post_init__(self) -> None:
        ranges = {"pixel": (1e-3, 10.0), "overlap": (0.0, 0.5), "coverage": (0.0, 0.5), "vignetting": (0.0, 0.9)}
        for entry in fields(self):
            value = getattr(self, entry.name)
            least, most = ranges.get(entry.name, (0.0, np.inf))
            values = value if isinstance(value, tuple) else (value,)
            least = 1 if isinstance(value, tuple) else least
            if not all(least <= one <= most and np.isfinite(one) for one in values):
                raise CathoscopeError(
                    f"the mosaic's {entry.name} is out of range",
                    expected=f"{least:g} to {most:g}" if most < np.inf else f"{least:g} or more",
                    found=str(value),
                    cure=f"{entry.name}={entry.default}",
                )

    @property
    def steps(self) -> tuple[float, float]:
        """Nominal distance of neighbouring tiles down and across, um."""
        down, across = (n * self.pixel * (1 - self.overlap) for n in self.tile)
        return down, across

    @property
    def extent(self) -> tuple[float, float]:
        """Height and width of the field that the tiles nominally cover, um."""
        down, across = ((n - 1) * s + p * self.pixel for n, s, p in zip(self.tiles, self.steps, self.tile, strict=True))
        return down, across


class Member(NamedTuple):
    """One sectioned particle: what it is, where its centre is (y, x; um), at which height it is cut, and its turn."""

    grains: Grains
    centre: tuple[float, float]
    height: float
    rotation: FloatArray


class Tile(NamedTuple):
    """One image; number down and across; nominal and true places (y, x; um) of its first pixel."""

    image: NDArray[np.uint8]
    place: tuple[int, int]
    nominal: tuple[float, float]
    true: tuple[float, float]
    gain: float


class Scene(NamedTuple):
    """Everything in the field."""

    members: tuple[Member, ...]
    waves: FloatArray


class Measured(NamedTuple):
    """Truth of a particle's section: areas um², diameters um.

    ``diameter`` is that of the sphere, ``section_diameter`` that of the disk of the section's area.
    """

    number: int
    y: float
    x: float
    diameter: float
    section_diameter: float
    porosity: float
    crack_share: float
    hollow: bool
    cracked: bool
    whole: bool


def draw_scene(options: MosaicOptions, *, seed: int, population: Sequence[ParticleDesign] = POPULATION) -> Scene:
    """Sections of random particles of a ``population`` that do not overlap, until the coverage or the room is reached.

    Particles that stick out of the field are cut by its border, as in life.
    """
    pool = [draw_grains(design, seed * 1000 + n) for n, design in enumerate(population)]
    rng = _stream(seed, _SCENE)
    chance = np.array([grains.outer.mean_radius for grains in pool])
    chance /= chance.sum()
    height, width = options.extent
    members: list[Member] = []
    places: list[tuple[float, float, float]] = []
    covered, misses = 0.0, 0
    while covered < options.coverage * height * width and misses < _TRIES:
        grains = pool[int(rng.choice(len(pool), p=chance))]
        cut = float(rng.uniform(-1, 1)) * grains.outer.mean_radius
        radius = float(np.sqrt(max(grains.outer.mean_radius**2 - cut**2, 0)))
        y, x = float(rng.uniform(0, height)), float(rng.uniform(0, width))
        room = radius * 1.1 + _GAP
        crowded = any(np.hypot(y - a, x - b) < room + c for a, b, c in places)
        member = Member(grains, (y, x), cut, Rotation.random(rng=rng).as_matrix())
        # near its poles a plane may miss the particle, which is not quite a sphere
        missed = not _within(member, _points(member, np.array([y]), np.array([x]))).all()
        if radius < _SMALLEST * options.pixel or crowded or missed:
            misses += 1
            continue
        misses = 0
        members.append(member)
        places.append((y, x, radius * 1.1))
        covered += np.pi * radius**2
    waves = _stream(seed, _TEXTURE)
    angle, length = waves.uniform(0, 2 * np.pi, _WAVES), waves.uniform(0.5, 3.0, _WAVES)
    vectors = 2 * np.pi / length * np.stack([np.cos(angle), np.sin(angle)])
    return Scene(tuple(members), np.vstack([vectors, waves.uniform(0, 2 * np.pi, _WAVES)]))


def draw_tiles(scene: Scene, options: MosaicOptions, *, seed: int) -> list[Tile]:
    """All tiles, row by row.

    Raises
    ------
    CathoscopeError
        If the pixels are too coarse for the grains.
    """
    rng, tiles = _stream(seed, _STAGE), []
    for down in range(options.tiles[0]):
        for across in range(options.tiles[1]):
            nominal = (down * options.steps[0], across * options.steps[1])
            error = options.stage_error * np.clip(rng.standard_normal(2), -3, 3)
            gain = 1 + options.gain_spread * float(np.clip(rng.standard_normal(), -3, 3))
            true = (nominal[0] + float(error[0]), nominal[1] + float(error[1]))
            noise = _stream(seed, _NOISE, down, across)
            image = _exposed(_rendered(scene, options, true, options.tile)[0], gain, options, noise)
            tiles.append(Tile(image, (down, across), nominal, true, gain))
    return tiles


def true_field(scene: Scene, options: MosaicOptions) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Number of the particle (from 1) and share of oxide at every pixel of the whole field, (row, column).

    Pixel (0, 0) lies at y = x = 0, the nominal place of the first pixel of the first tile.
    """
    rows, columns = (round(size / options.pixel) for size in options.extent)
    _, labels, oxide = _rendered(scene, options, (0.0, 0.0), (rows, columns))
    return labels, oxide


def measured(scene: Scene, options: MosaicOptions) -> list[Measured]:
    """Truth of every particle, from its own section on pixels of the images' size; ``number`` is its label."""
    height, width = options.extent
    rows = []
    for number, member in enumerate(scene.members, start=1):
        reach = member.grains.outer.highest
        count = 2 * int(np.ceil(reach / options.pixel)) + 2
        at = np.asarray((np.arange(count) - (count - 1) / 2) * options.pixel, dtype=np.float64)
        points = _points(member, member.centre[0] + at, member.centre[1] + at)
        filled, inside = solid(member.grains, points, options.pixel), _within(member, points)
        area = float(inside.sum()) * options.pixel**2
        crack = float(filled.crack[inside].mean()) if inside.any() else 0.0
        y, x = member.centre
        size = float(np.sqrt(4 * area / np.pi))
        rows.append(
            Measured(
                number=number,
                y=y,
                x=x,
                diameter=member.grains.design.diameter,
                section_diameter=size,
                porosity=1 - float(filled.fraction[inside].mean()) if inside.any() else np.nan,
                crack_share=crack,
                hollow=abs(member.height) < member.grains.design.core_radius,
                cracked=crack > _CRACKED,
                whole=min(y, x, height - y, width - x) > size / 2 * 1.1,
            )
        )
    return rows


def _stream(seed: int, *key: int) -> np.random.Generator:
    """Random numbers of their own for every key."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _points(member: Member, rows: FloatArray, columns: FloatArray) -> FloatArray:
    """Places (n, 3; um) in the frame of a particle of pixels at ``rows`` (y) and ``columns`` (x) of the scene."""
    y, x = np.meshgrid(rows - member.centre[0], columns - member.centre[1], indexing="ij")
    plane = np.stack([x, y, np.full_like(x, member.height)], axis=-1).reshape(-1, 3)
    return np.asarray(plane @ member.rotation)


def _within(member: Member, points: FloatArray) -> NDArray[np.bool_]:
    """Whether points in a particle's frame lie inside its outer surface."""
    return np.asarray(np.linalg.norm(points, axis=1) < member.grains.outer_radius(points))


def _rendered(
    scene: Scene, options: MosaicOptions, first: tuple[float, float], shape: tuple[int, int]
) -> tuple[FloatArray, NDArray[np.int32], NDArray[np.float32]]:
    """Grey values, particle numbers and shares of oxide of a rectangle of pixels whose first is at ``first`` (um)."""
    rows, columns = (
        np.asarray(start + np.arange(n) * options.pixel, dtype=np.float64)
        for start, n in zip(first, shape, strict=True)
    )
    grey = options.binder + options.texture * _texture(scene.waves, rows, columns)
    labels, oxide = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.float32)
    for number, member in enumerate(scene.members, start=1):
        reach = member.grains.outer.highest + options.pixel
        window = tuple(
            slice(*np.searchsorted(axis, (centre - reach, centre + reach)))
            for axis, centre in zip((rows, columns), member.centre, strict=True)
        )
        if any(part.stop <= part.start for part in window):
            continue
        points = _points(member, rows[window[0]], columns[window[1]])
        inside = _within(member, points).reshape(grey[window].shape)
        share = solid(member.grains, points, options.pixel).fraction.reshape(inside.shape)
        beyond = np.where(inside, options.void, grey[window])
        grey[window] = share + (1 - share) * beyond
        labels[window] = np.where(inside, number, labels[window])
        oxide[window] = np.maximum(share, oxide[window])
    return grey, labels, oxide


def _texture(waves: FloatArray, rows: FloatArray, columns: FloatArray) -> FloatArray:
    """A smooth random function of the place, mean 0 and standard deviation 1."""
    total = np.zeros((rows.size, columns.size))
    for ky, kx, phase in waves.T:
        down, across = ky * rows, kx * columns + phase
        total += np.cos(down)[:, None] * np.cos(across) - np.sin(down)[:, None] * np.sin(across)
    return np.asarray(total * np.sqrt(2 / _WAVES))


def _exposed(grey: FloatArray, gain: float, options: MosaicOptions, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blur, vignetting, gain and counting noise, as 8-bit numbers."""
    seen = ndimage.gaussian_filter(grey, options.blur) * gain
    down, across = (np.linspace(-1, 1, n) for n in grey.shape)
    seen *= 1 - options.vignetting * (down[:, None] ** 2 + across**2) / 2
    counted = rng.poisson(np.maximum(seen, 0) * options.electrons) / options.electrons
    return np.asarray(np.clip(np.rint(counted * options.white), 0, 255), dtype=np.uint8)
