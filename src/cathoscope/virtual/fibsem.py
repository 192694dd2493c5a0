"""A focused ion beam that cuts a particle slice by slice, and the electron microscope that images every cut.

The particle lies still; slice n uncovers the plane z_n, and the electrons look along +z, so that smaller z is gone. A
pixel (row, column) shows the point

    x = (column - (columns - 1)/2 - shift_x) pixel,      y = (row - (rows - 1)/2 - shift_y) pixel

and its grey value, 1 being oxide, is built up as

    scene   = oxide + layer level * layer + void level * void + outside level * outside + shine-through + charging
    image   = ((Gaussian * [scene (1 + curtains)]) gain (1 + background) + offset), then Poisson of the electrons.

The planes are evaluated at the displaced points themselves: nothing is interpolated. Shine-through: where the cut meets
a void, the back of it is seen at the depth d, shine_through exp(-d / shine_depth) bright. Curtains: stripes along
the rows' direction (down the image, as the ion beam runs) that begin where the beam leaves a void and fade with
curtain_length. Charging: oxide beside voids is brighter, with a tail along the scan line; its strength changes slowly
from slice to slice.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.cycling import CycledParticle, section_points
from cathoscope.virtual.near import Shares, near_voxels

FloatArray = NDArray[np.float64]
Image = NDArray[np.float32]

OUTSIDE, OXIDE, CRACK, PORE, LAYER = range(5)
"""What a pixel of the truth is, by the largest share."""

_STEPS = 8  # depths at which the back of a void is looked for
_FARTHEST = 3.0  # e-folds of the shine-through to which it is looked for
_SEEN = 0.15  # share of void in a pixel from which its back counts
_CHARGE_MEMORY, _CHARGE_SPREAD = 0.8, 0.3  # from slice to slice
_TURNING = 0.1  # radians by which the background's direction changes from slice to slice
_WALKS, _IMAGE = range(2)  # kinds of random numbers
_UPPER = {"thickness_spread": 0.3, "gain_spread": 0.3, "background": 1.0, "curtains": 1.0, "charging": 2.0}


@dataclass(frozen=True)
class FibSemOptions:
    """The instrument; lengths are um, grey levels relative to that of the oxide. 0 switches an effect off.

    Attributes
    ----------
    pixel, thickness
        Of the images, and nominal, of the slices.
    thickness_spread
        Relative standard deviation of the thickness from slice to slice.
    drift
        Standard deviation (px) of the displacement from slice to slice along each axis: a random walk.
    gain_spread, offset_spread
        Standard deviations of gain and offset from slice to slice.
    background
        Relative change of brightness across the whole image, in a direction that turns slowly.
    curtains, curtain_length, curtain_width
        Standard deviation of a curtain's brightness where it begins, its length, and its width.
    shine_through, shine_depth
        Brightness of the back of a void at no depth, and depth at which it has fallen to 1/e.
    charging, charge_width, charge_tail
        Brightness added to oxide beside a wide void, its reach, and that of its tail along the scan line.
    electrons
        Counted per pixel of oxide; infinite: no noise.
    blur
        Standard deviation of the Gaussian of the detector and the beam, px.
    void_level, layer_level, outside_level
        Grey values.
    white
        Grey value of the oxide in the 8-bit files.
    """

    pixel: float = 0.0135
    thickness: float = 0.019
    thickness_spread: float = 0.1
    drift: float = 0.8
    gain_spread: float = 0.03
    offset_spread: float = 0.01
    background: float = 0.1
    curtains: float = 0.05
    curtain_length: float = 1.5
    curtain_width: float = 0.03
    shine_through: float = 0.5
    shine_depth: float = 0.15
    charging: float = 0.15
    charge_width: float = 0.04
    charge_tail: float = 0.3
    electrons: float = 250.0
    blur: float = 0.7
    void_level: float = 0.15
    layer_level: float = 0.45
    outside_level: float = 0.1
    white: float = 170.0

    def __post_init__(self) -> None:
        positive = ("pixel", "thickness", "curtain_length", "shine_depth", "charge_tail", "electrons", "white")
        for entry in fields(self):
            value, above = getattr(self, entry.name), entry.name in positive
            upper = _UPPER.get(entry.name, inf)
            fits = value > 0 if above else value >= 0
            if not fits or not value <= upper or (value == inf and entry.name != "electrons"):
                least = "more than 0" if above else "0 or more"
                raise CathoscopeError(
                    f"the microscope's {entry.name} is out of range",
                    expected=least if upper == inf else f"0 to {upper:g}",
                    found=str(value),
                    cure=f"{entry.name}={entry.default}",
                )


class Frame(NamedTuple):
    """Size of the images, pixels."""

    rows: int
    columns: int


class Cut(NamedTuple):
    """What the instrument does to one slice: height (um), displacement (row, column; px), gain and so on."""

    number: int
    cycle: float
    z: float
    shift: tuple[float, float]
    gain: float
    offset: float
    background: tuple[float, float]
    charge: float


class Slice(NamedTuple):
    """One image and its truth.

    Attributes
    ----------
    image
        Grey values, 1 being oxide, (row, column).
    kind
        `OUTSIDE`, `OXIDE`, `CRACK`, `PORE` or `LAYER` of each pixel, (row, column).
    solid
        Share of each pixel that is oxide, (row, column).
    curtain
        Relative brightness that curtains add, (row, column).
    depth
        Depth (um) of the back of the void at each pixel; NaN where none is seen, (row, column).
    porosity
        Share of the section inside the outer surface that is not oxide; NaN where the section misses the particle.
    section_area
        Of the section inside the outer surface, um².
    """

    image: Image
    kind: NDArray[np.uint8]
    solid: Image
    curtain: Image
    depth: Image
    porosity: float
    section_area: float


def draw_cuts(
    options: FibSemOptions, cycles: FloatArray, *, first_z: float, seed: tuple[int, ...], remounted: float = 0.0
) -> tuple[Cut, ...]:
    """What happens to every slice, one for each of ``cycles`` (the same number for a stack).

    ``first_z`` (um) is the height of the first; if the particle is taken out between slices, ``remounted`` (px) is the
    standard deviation of where it is put back, along each axis.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_WALKS,)))
    count = len(cycles)
    steps = options.thickness * np.maximum(1 + options.thickness_spread * rng.standard_normal(count), 0.1)
    z = first_z + np.concatenate([[0.0], np.cumsum(steps[1:])]) if count else np.empty(0)
    walk = options.drift * rng.standard_normal((count, 2))
    if count:
        walk[0] = 0.0
    shift = np.cumsum(walk, axis=0) + remounted * rng.standard_normal((count, 2))
    gain = 1 + options.gain_spread * np.clip(rng.standard_normal(count), -3, 3)
    offset = options.offset_spread * rng.standard_normal(count)
    direction = rng.uniform(0, 2 * np.pi) + np.cumsum(_TURNING * rng.standard_normal(count))
    charge = np.maximum(1 + _CHARGE_SPREAD * _slow(rng.standard_normal(count)), 0.0)
    return tuple(
        Cut(
            number=n,
            cycle=float(cycles[n]),
            z=float(z[n]),
            shift=(float(shift[n, 0]), float(shift[n, 1])),
            gain=float(gain[n]),
            offset=float(offset[n]),
            background=(
                float(options.background * np.sin(direction[n])),
                float(options.background * np.cos(direction[n])),
            ),
            charge=float(charge[n]),
        )
        for n in range(count)
    )


def _slow(noise: FloatArray) -> FloatArray:
    """Standard normal numbers that remember: x_n = m x_(n-1) + sqrt(1 - m²) noise_n."""
    result = noise.copy()
    for n in range(1, noise.size):
        result[n] = _CHARGE_MEMORY * result[n - 1] + np.sqrt(1 - _CHARGE_MEMORY**2) * noise[n]
    return result


def image_slice(
    particle: CycledParticle, cut: Cut, frame: Frame, options: FibSemOptions, *, seed: tuple[int, ...]
) -> Slice:
    """The image of one cut; the same arguments make the same image.

    Raises
    ------
    CathoscopeError
        If the pixels are too coarse for the cracks, or the particle was not followed to the cycle.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_IMAGE, cut.number)))
    rows, columns = (_axis(n, s, options.pixel) for n, s in zip(frame, cut.shift, strict=True))
    points = section_points(cut.z, columns, rows).reshape(-1, 3)
    near = near_voxels(particle.grains, points, options.pixel)
    shares = particle.shares(near, cut.cycle, layers=True)
    envelope = near.envelope
    outside = np.clip(1 - envelope - shares.layer * (envelope < 1), 0, 1) * (near.height > -options.pixel)
    void = np.clip(1 - shares.solid - shares.layer - outside, 0, 1)
    depth = _depths(particle, cut, points, void, options)
    scene = shares.solid + options.layer_level * shares.layer + options.void_level * void
    scene += options.outside_level * outside
    if options.shine_through > 0:
        scene += void * options.shine_through * np.nan_to_num(np.exp(-depth / options.shine_depth))
    open_to_beam = (void + outside).reshape(frame)
    scene = scene.reshape(frame) + shares.solid.reshape(frame) * _charging(open_to_beam, cut, options)
    curtain = _curtains(open_to_beam, options, rng)
    inside = float(envelope.sum(dtype=np.float64))
    return Slice(
        image=_detected(scene * (1 + curtain), cut, options, rng),
        kind=_kinds(shares, outside).reshape(frame),
        solid=shares.solid.reshape(frame),
        curtain=curtain.astype(np.float32),
        depth=depth.reshape(frame).astype(np.float32),
        porosity=1 - float(shares.solid.sum(dtype=np.float64)) / inside if inside > 0 else np.nan,
        section_area=inside * options.pixel**2,
    )


def _axis(count: int, shift: float, pixel: float) -> FloatArray:
    """Positions (um) of ``count`` pixels whose image is displaced by ``shift`` pixels."""
    return np.asarray((np.arange(count) - (count - 1) / 2 - shift) * pixel, dtype=np.float64)


def _kinds(shares: Shares, outside: Image) -> NDArray[np.uint8]:
    """Of each pixel, that of the largest share; what is neither of them is a pore's or a crack's."""
    inner = np.clip(shares.layer, 0, shares.crack + shares.pore)
    total = np.maximum(shares.crack + shares.pore, 1e-9)
    left = 1 - inner / total
    stack = np.stack([outside, shares.solid, shares.crack * left, shares.pore * left, shares.layer])
    return np.asarray(stack.argmax(axis=0), dtype=np.uint8)


def _depths(
    particle: CycledParticle, cut: Cut, points: FloatArray, void: Image, options: FibSemOptions
) -> NDArray[np.float64]:
    """Depth (um) below the cut at which each void ends in oxide, NaN where it is farther or there is no void."""
    depth = np.full(len(points), np.nan)
    if options.shine_through == 0:
        return depth
    left = np.flatnonzero(void > _SEEN)
    step = max(_FARTHEST * options.shine_depth / _STEPS, options.pixel / 2)
    for number in range(1, _STEPS + 1):
        if left.size == 0:
            break
        below = points[left] + np.array([0.0, 0.0, number * step])
        solid = particle.shares(near_voxels(particle.grains, below, options.pixel), cut.cycle).solid
        found = solid >= 0.5
        depth[left[found]] = (number - 0.5) * step
        left = left[~found]
    return depth


def _charging(open_to_beam: Image, cut: Cut, options: FibSemOptions) -> FloatArray:
    """Brightness added to oxide: the blurred void beside it, and its tail towards later pixels of the line."""
    if options.charging == 0:
        return np.zeros(open_to_beam.shape)
    # a straight edge of a wide void has the value 1/2 on both sides
    edge = 2 * ndimage.gaussian_filter(open_to_beam.astype(np.float64), options.charge_width / options.pixel)
    memory = np.exp(-options.pixel / options.charge_tail)
    tail = signal.lfilter([1 - memory], [1, -memory], edge, axis=1)
    return np.asarray(options.charging * cut.charge * (edge + tail) / 2)


def _curtains(open_to_beam: Image, options: FibSemOptions, rng: np.random.Generator) -> FloatArray:
    """Relative brightness of the stripes: each begins at the lower rim of a void and fades."""
    rows, columns = open_to_beam.shape
    curtain = np.zeros((rows, columns))
    if options.curtains == 0:
        return curtain
    width = options.curtain_width / options.pixel
    noise = ndimage.gaussian_filter(rng.standard_normal((rows, columns)), (0, width), mode="wrap")
    noise *= np.sqrt(2 * np.sqrt(np.pi) * width) if width > 0.3 else 1 / max(noise.std(), 1e-12)
    fade, now = np.exp(-options.pixel / options.curtain_length), np.zeros(columns)
    for row in range(1, rows):
        left = np.maximum(open_to_beam[row - 1] - open_to_beam[row], 0)
        now = now * fade * (1 - left) + options.curtains * left * noise[row]
        curtain[row] = now * (1 - open_to_beam[row])
    return curtain


def _detected(scene: FloatArray, cut: Cut, options: FibSemOptions, rng: np.random.Generator) -> Image:
    """What the detector makes of a scene: blur, gain, background, offset and counting noise."""
    rows, columns = scene.shape
    seen = ndimage.gaussian_filter(scene, options.blur) if options.blur > 0 else scene
    down, across = (np.linspace(-0.5, 0.5, n)[:, None] for n in (rows, columns))
    field = 1 + cut.background[0] * down + cut.background[1] * across.T
    grey = np.maximum(seen * cut.gain * field + cut.offset, 0.0)
    if np.isfinite(options.electrons):
        grey = rng.poisson(grey * options.electrons) / options.electrons
    return grey.astype(np.float32)
