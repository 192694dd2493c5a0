"""A full-field transmission X-ray microscope: its beam, its rotation stage and its detector.

Counts of a pixel: Poisson(photons * illumination * gain * beam * transmission) + dark level + read noise,
one count per photon, 16 bit. The exposure is short: no blur by rotation, optics or scintillator.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.chords import projected_centres, transmission
from cathoscope.virtual.specimen import Grid, SpheresSpecimen

FULL_COUNT = 65535
_BLOCK = 32  # projections at a time; part of what a seed means, since noise is drawn block by block
_STRIPE_FREE_MARGIN = 2  # columns


_LEAST = {"photons": 1, "exposures": 1, "flats": 1, "darks": 1, "sub_pixels": 1, "axis_offset": -np.inf, "arc": 1}


@dataclass(frozen=True)
class TxmOptions:
    """What the instrument does to an ideal measurement; a zero switches that effect off.

    Attributes
    ----------
    photons
        Mean counts of the open beam.
    exposures
        Exposures whose mean is written as one image: more photons than one exposure can hold.
    flats, darks
        Images of each kind per scan.
    counting_noise
        Photon noise; without it, and with ``read_noise`` zero, counts are rounded means.
    read_noise, dark_level, dark_pattern
        Standard deviation, mean and fixed-pattern standard deviation of the dark image, counts.
    illumination
        Peak-to-peak structure of the beam profile, relative.
    pixel_gain
        Standard deviation of the pixels' sensitivity, relative.
    beam_drift
        Amplitude of the beam's drift during a scan, relative.
    dead_fraction, hot_fraction
        Pixels stuck at the dark level, and near full count, as a part of all.
    zinger_fraction
        Pixels per image struck by a stray photon that adds 3000 to 20000 counts.
    stripes_in_flats, stripes_beside_flats
        Pixel columns of deviating sensitivity that flats share, or do not share.
    stripe_gain
        Their deviation, relative.
    axis_offset, axis_run_out
        Rotation axis from the detector's middle, and its standard deviation from scan to scan, pixels.
    horizontal_jitter, vertical_jitter
        Standard deviation of the specimen's displacement from projection to projection, pixels.
    angle_jitter
        Standard deviation of the steps' irregularity, degrees; the recorded angles are exact.
    arc
        Rotation during a scan, degrees; below 180 a wedge of directions is missing.
    sub_pixels
        Rays per pixel along each axis.
    saturate
        Let the open beam exceed 65535 counts and be clipped, instead of refusing.
    """

    photons: float = 40_000.0
    exposures: int = 1
    flats: int = 10
    darks: int = 10
    counting_noise: bool = True
    read_noise: float = 3.0
    dark_level: float = 100.0
    dark_pattern: float = 4.0
    illumination: float = 0.3
    pixel_gain: float = 0.01
    beam_drift: float = 0.02
    dead_fraction: float = 1e-3
    hot_fraction: float = 5e-4
    zinger_fraction: float = 2e-5
    stripes_in_flats: int = 3
    stripes_beside_flats: int = 2
    stripe_gain: float = 0.02
    axis_offset: float = 1.6
    axis_run_out: float = 0.2
    horizontal_jitter: float = 0.1
    vertical_jitter: float = 0.0
    angle_jitter: float = 0.01
    arc: float = 180.0
    sub_pixels: int = 2
    saturate: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            least = _LEAST.get(field.name, 0)
            value = getattr(self, field.name)
            if not value >= least:
                raise CathoscopeError(
                    f"the option {field.name} is out of range",
                    expected=f"{least} or more",
                    found=str(value),
                    cure=f"{field.name}={field.default}",
                )

    @classmethod
    def ideal(cls, *, photons: float = 40_000.0, sub_pixels: int = 2) -> TxmOptions:
        """Nothing but Beer-Lambert: no noise, a flat beam, a perfect detector, the axis in the middle."""
        off = {name: type(value)(0) for name, value in asdict(cls()).items()}
        ones = {"exposures": 1, "flats": 1, "darks": 1}
        return cls(**{**off, **ones, "photons": photons, "sub_pixels": sub_pixels, "arc": cls.arc})

    @property
    def largest_axis_offset(self) -> float:
        """Columns by which the projected axis may be away from the detector's middle, five standard deviations."""
        return abs(self.axis_offset) + 5 * float(np.hypot(self.axis_run_out, self.horizontal_jitter))


@dataclass(frozen=True)
class Detector:
    """What stays the same from scan to scan; arrays are (row, column).

    ``flat_response`` and ``projection_response`` multiply the photons (they differ where a stripe is not in
    the flats), ``dark`` is the mean dark image, ``dead`` and ``hot`` mark pixels that see no beam.
    """

    flat_response: NDArray[np.float64]
    projection_response: NDArray[np.float64]
    dark: NDArray[np.float64]
    dead: NDArray[np.bool_]
    hot: NDArray[np.bool_]

    def part(self, rows: slice) -> Detector:
        """Some rows of the detector."""
        return Detector(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


@dataclass(frozen=True)
class Scan:
    """What one scan did: an entry per projection, except ``rotation_axis`` and the entries per flat.

    ``beam`` is relative to the mean of the flats; ``flat_beam`` has mean 1. ``projection_shift`` contains no
    constant, cosine or sine of the angle: those would be a move of the axis or the specimen, not jitter.
    """

    angles: NDArray[np.float64]
    rotation_axis: float
    projection_shift: NDArray[np.float64]
    row_shift: NDArray[np.float64]
    beam: NDArray[np.float64]
    flat_beam: NDArray[np.float64]


@dataclass(frozen=True)
class Frames:
    """What a scan's file holds besides its projections: angles (deg), flats and darks (image, row, column)."""

    angles: NDArray[np.float64]
    flats: NDArray[np.uint16]
    darks: NDArray[np.uint16]


def draw_detector(grid: Grid, options: TxmOptions, rng: np.random.Generator) -> Detector:
    """A detector and its illumination.

    Raises
    ------
    CathoscopeError
        If the open beam would exceed 16 bits and ``options.saturate`` is off.
    """
    shape = (grid.rows, grid.columns)
    flat_response = _illumination(grid, options, rng) * (1 + options.pixel_gain * rng.standard_normal(shape))
    stripes = options.stripes_in_flats + options.stripes_beside_flats
    candidates = np.arange(_STRIPE_FREE_MARGIN, grid.columns - _STRIPE_FREE_MARGIN)
    columns = rng.permutation(candidates)[:stripes]
    gains = 1 + options.stripe_gain * rng.choice([-1.0, 1.0], size=columns.size)
    shared = options.stripes_in_flats
    flat_response[:, columns[:shared]] *= gains[:shared]
    projection_response = flat_response.copy()
    projection_response[:, columns[shared:]] *= gains[shared:]
    dark = np.clip(options.dark_level + options.dark_pattern * rng.standard_normal(shape), 0, None)
    dead, hot = _bad_pixels(shape, options, rng)
    brightest = options.photons * max(flat_response.max(), projection_response.max()) * (1 + 2 * options.beam_drift)
    if brightest + dark.max() > FULL_COUNT and not options.saturate:
        raise CathoscopeError(
            "the open beam would saturate the detector",
            expected=f"at most {FULL_COUNT} counts",
            found=f"{brightest + dark.max():.0f} counts in the brightest pixel",
            cure=f"photons={options.photons * FULL_COUNT / (brightest + dark.max()) * 0.98:.0f}, or saturate=True",
        )
    return Detector(flat_response, projection_response, dark, dead, hot)


def _illumination(grid: Grid, options: TxmOptions, rng: np.random.Generator) -> NDArray[np.float64]:
    """Beam profile of mean 1: a broad hump of the condenser and a few ripples."""
    row, column = np.meshgrid(np.linspace(-1, 1, grid.rows), np.linspace(-1, 1, grid.columns), indexing="ij")
    profile = -0.7 * (row**2 + column**2)
    for _ in range(5):
        frequency, phase = rng.uniform(2, 9, size=2), rng.uniform(0, 2 * np.pi)
        profile += 0.12 * np.cos(frequency[0] * row + frequency[1] * column + phase)
    profile = 1 + options.illumination * (profile - profile.mean()) / np.ptp(profile)
    return np.asarray(profile / profile.mean())


def _bad_pixels(
    shape: tuple[int, int], options: TxmOptions, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks of dead and of hot pixels, which share none."""
    pixels = shape[0] * shape[1]
    n_dead, n_hot = round(options.dead_fraction * pixels), round(options.hot_fraction * pixels)
    order = rng.permutation(pixels)
    dead, hot = np.zeros(pixels, dtype=bool), np.zeros(pixels, dtype=bool)
    dead[order[:n_dead]] = True
    hot[order[n_dead : n_dead + n_hot]] = True
    return dead.reshape(shape), hot.reshape(shape)


def draw_angles(projections: int, options: TxmOptions, rng: np.random.Generator) -> NDArray[np.float64]:
    """Angles (degrees, ascending) of a stage that turns by ``options.arc`` in steps that are not quite even."""
    nominal = np.linspace(0, options.arc, projections)
    ripple = 3 * options.angle_jitter * np.sin(np.radians(4 * nominal) + rng.uniform(0, 2 * np.pi))
    return np.asarray(np.sort(nominal + ripple + options.angle_jitter * rng.standard_normal(projections)))


def draw_scan(
    grid: Grid,
    projections: int,
    options: TxmOptions,
    rng: np.random.Generator,
    angles: NDArray[np.float64] | None = None,
) -> Scan:
    """Motions of stage and beam during one scan of ``projections``, at ``angles`` if they are given."""
    if angles is None:
        angles = draw_angles(projections, options, rng)
    axis = (grid.columns - 1) / 2 + options.axis_offset + options.axis_run_out * float(rng.standard_normal())
    theta = np.radians(angles)
    motion_of_rigid_body = np.stack([np.ones_like(theta), np.cos(theta), np.sin(theta)], axis=1)
    shift = options.horizontal_jitter * rng.standard_normal(projections)
    shift -= motion_of_rigid_body @ np.linalg.lstsq(motion_of_rigid_body, shift, rcond=None)[0]
    row_shift = options.vertical_jitter * rng.standard_normal(projections)
    time = np.linspace(0, 1, projections)
    wave = np.sin(2 * np.pi * (rng.uniform(0.5, 2.0) * time + rng.uniform()))
    beam = 1 + options.beam_drift * (0.6 * wave - 0.4 * time + 0.1 * rng.standard_normal(projections))
    flat_beam = 1 + 0.1 * options.beam_drift * rng.standard_normal(options.flats)
    level = flat_beam.mean()
    return Scan(angles, axis, shift, row_shift, beam / level, flat_beam / level)


def expose(
    response: NDArray[np.float64],
    beam: NDArray[np.float64],
    detector: Detector,
    options: TxmOptions,
    rng: np.random.Generator,
) -> NDArray[np.uint16]:
    """Counts (image, row, column) of exposures with relative ``beam`` and (image,) row, column ``response``."""
    mean = options.photons * response * beam[:, None, None]
    signal = rng.poisson(mean * options.exposures) / options.exposures if options.counting_noise else mean
    signal = np.where(detector.dead | detector.hot, 0.0, signal) + detector.dark
    if options.read_noise:
        read_noise = options.read_noise / np.sqrt(options.exposures)
        signal += read_noise * rng.standard_normal(signal.shape, dtype=np.float32)
    signal[:, detector.hot] = 0.95 * FULL_COUNT + signal[:, detector.hot]
    struck = rng.integers(0, signal.size, size=rng.poisson(options.zinger_fraction * signal.size))
    np.add.at(signal.reshape(-1), struck, rng.uniform(3e3, 2e4, size=struck.size))
    return np.clip(np.rint(signal), 0, FULL_COUNT).astype(np.uint16)


def flat_counts(scan: Scan, detector: Detector, options: TxmOptions, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Images of the open beam, (flat, row, column)."""
    return expose(detector.flat_response, scan.flat_beam, detector, options, rng)


def dark_counts(detector: Detector, options: TxmOptions, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Images without beam, (dark, row, column)."""
    return expose(detector.flat_response, np.zeros(options.darks), detector, options, rng)


def projection_counts(
    specimen: SpheresSpecimen,
    grid: Grid,
    scan: Scan,
    detector: Detector,
    *,
    attenuation: NDArray[np.float64],
    options: TxmOptions,
    rng: np.random.Generator,
) -> Iterator[tuple[slice, NDArray[np.uint16]]]:
    """Projections, a block at a time: which, and their counts (projection, row, column).

    ``attenuation`` holds one value (1/um) per sphere, at this scan's energy and temperature.
    """
    centres = projected_centres(
        specimen,
        grid,
        angles=scan.angles,
        axis_column=scan.rotation_axis + scan.projection_shift,
        row_shift=scan.row_shift,
    )
    for start in range(0, scan.angles.size, _BLOCK):
        block = slice(start, min(start + _BLOCK, scan.angles.size))
        passed = transmission(
            specimen, grid, attenuation=attenuation, centres=centres[block], sub_pixels=options.sub_pixels
        )
        yield block, expose(detector.projection_response * passed, scan.beam[block], detector, options, rng)
