"""What the optics of a transmission X-ray microscope make of a turning specimen: Beer-Lambert, motion, blur.

The specimen is known on a fine grid, two pixels to a pixel of the detector along each axis, as a short sum
mu(x, E) = sum_k a_k(x) s_k(E). Its line integrals are taken once for all energies (`projector`). An image is then

    depth(u, v)        = sum_k s_k(E) * line integral of a_k, read at the place that (u, v) shows
    transmission(u, v) = mean over the pixel of (Gaussian * exp(-depth))(u, v)

and a point (x, y, z) of the specimen, displaced by (dx, dy, dz) um, is seen at

    column = axis + horizontal jitter + M ((x + dx) cos(theta) + (y + dy) sin(theta)) / pixel size
    row    = middle + vertical jitter + M (z + dz) / pixel size

with the magnification M relative to the nominal one. The fine pixel itself is a box of half a detector pixel over
which depths are averaged, before the exponential; everything coarser is averaged as intensity.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.special import ive

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.specimen import Grid
from cathoscope.virtual.txm import Scan, TxmOptions, draw_angles, draw_scan

FINE = 2  # pixels of the specimen's grid to one of the detector, along each axis
_FWHM_PER_SIGMA = 2 * np.sqrt(2 * np.log(2))
_SQUARINGS = 5
_OPAQUE = np.float32(60.0)  # optical depth beyond which nothing is computed: 1e-26 of the beam


class Object(Protocol):
    """What the microscope needs of a specimen; its methods are called from several threads."""

    @property
    def components(self) -> int:
        """Number of components K."""
        ...

    def slices(self, temperature: int, rows: slice) -> NDArray[np.float32]:
        """Components a_k (1/um) on the fine grid, shape (z, y, x, component)."""
        ...

    def weights(self, temperature: int, energies: ArrayLike) -> NDArray[np.float64]:
        """Spectra s_k at true energies (eV), shape (energy, component)."""
        ...


@dataclass(frozen=True)
class Optics:
    """What the microscope does besides what `TxmOptions` says; a zero switches that effect off.

    Attributes
    ----------
    resolution
        Full width at half maximum of the Gaussian blur of the image, um at the specimen.
    magnification_slope
        Relative change of the magnification per eV, from the middle of the series of energies on.
    drift
        Standard deviation of the specimen's step from one energy to the next, um, each along x, y and z:
        a random walk whose mean over the energies of one temperature is taken off.
    energy_offset
        The monochromator's true energy minus the recorded one, eV.
    energy_drift
        Standard deviation of that offset from temperature to temperature, eV.
    magnification_reported
        Whether files state the magnification and pixel size of their energy, or the nominal ones.
    """

    resolution: float = 0.03
    magnification_slope: float = 2e-5
    drift: float = 0.01
    energy_offset: float = 0.0
    energy_drift: float = 0.0
    magnification_reported: bool = True

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            signed = field.name in {"magnification_slope", "energy_offset"}
            if not (np.isfinite(value) and (signed or value >= 0)):
                raise CathoscopeError(
                    f"the option {field.name} is out of range",
                    expected="a number" if signed else "0 or more",
                    found=str(value),
                    cure=f"{field.name}={field.default}",
                )

    @classmethod
    def ideal(cls) -> Optics:
        """No blur, no motion, exact energies."""
        return cls(0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class View:
    """How one scan saw the specimen.

    ``scan`` is in pixels of the detector and in the stage's degrees, ``recorded_energy`` and ``energy`` (the true one)
    are eV, ``magnification`` is relative to the nominal one, ``displacement`` is (x, y, z) in um in the stage's frame.
    """

    scan: Scan
    recorded_energy: float
    energy: float
    magnification: float
    displacement: tuple[float, float, float]

    def shifts(self, grid: Grid) -> NDArray[np.float64]:
        """Columns and rows of the detector at magnification 1 by which projections are moved, (projection, 2)."""
        dx, dy, dz = self.displacement
        theta = np.radians(self.scan.angles)
        on_detector = self.scan.rotation_axis - (grid.columns - 1) / 2 + self.scan.projection_shift
        sideways = on_detector / self.magnification + (dx * np.cos(theta) + dy * np.sin(theta)) / grid.pixel_size
        upwards = self.scan.row_shift / self.magnification + dz / grid.pixel_size
        return np.stack([sideways, upwards], axis=1)


@dataclass(frozen=True)
class Series:
    """What is measured: recorded energies (eV) at each of so many temperatures, projections per scan."""

    energies: tuple[float, ...]
    temperatures: int
    projections: int

    def __post_init__(self) -> None:
        if not self.energies or not all(np.isfinite(energy) and energy > 0 for energy in self.energies):
            raise CathoscopeError("a series needs energies above zero, in eV", found=str(self.energies))
        for name, least in (("temperatures", 1), ("projections", 2)):
            if getattr(self, name) < least:
                raise CathoscopeError(
                    f"a series has too few {name}", expected=f"{least} or more", found=str(getattr(self, name))
                )


def draw_views(
    grid: Grid, series: Series, optics: Optics, options: TxmOptions, *, rng: np.random.Generator
) -> tuple[tuple[View, ...], ...]:
    """Views by temperature and energy; all energies of one temperature share the angles of the stage."""
    return tuple(
        _views_of_temperature(grid, series, optics, options, rng=stream) for stream in rng.spawn(series.temperatures)
    )


def _views_of_temperature(
    grid: Grid, series: Series, optics: Optics, options: TxmOptions, *, rng: np.random.Generator
) -> tuple[View, ...]:
    energies = np.array(series.energies)
    angles = draw_angles(series.projections, options, rng)
    true = energies + optics.energy_offset + optics.energy_drift * float(rng.standard_normal())
    magnification = 1 + optics.magnification_slope * (true - (energies.min() + energies.max()) / 2)
    walk = optics.drift * np.cumsum(rng.standard_normal((energies.size, 3)), axis=0)
    walk -= walk.mean(axis=0)
    views = []
    for index, stream in enumerate(rng.spawn(energies.size)):
        scan = draw_scan(grid, series.projections, options, stream, angles=angles)
        scan = _magnified_axis(scan, grid, float(magnification[index]))
        x, y, z = map(float, walk[index])
        energy = float(true[index])
        views.append(View(scan, float(energies[index]), energy, float(magnification[index]), (x, y, z)))
    return tuple(views)


def _magnified_axis(scan: Scan, grid: Grid, magnification: float) -> Scan:
    """The scan with the image of its axis as far from the optical axis, the detector's middle, as magnified."""
    middle = (grid.columns - 1) / 2
    axis = middle + magnification * (scan.rotation_axis - middle)
    return Scan(scan.angles, axis, scan.projection_shift, scan.row_shift, scan.beam, scan.flat_beam)


def gaussian(resolution: float, pixel: float) -> NDArray[np.float64]:
    """Discrete Gaussian exp(-s²) I_n(s²), whose sum is 1 and whose variance s² exactly, whatever the width.

    ``resolution`` is the full width at half maximum, ``pixel`` the sampling, in the same unit. (Lindeberg, IEEE Trans.
    Pattern Anal. Mach. Intell. 12, 234, 1990; a sampled Gaussian of half a pixel would be too narrow by a tenth.)
    """
    variance = (resolution / _FWHM_PER_SIGMA / pixel) ** 2
    reach = int(np.ceil(4.5 * np.sqrt(variance) + (1 if variance else 0)))
    kernel = ive(np.abs(np.arange(-reach, reach + 1)), variance)
    return np.asarray(kernel / kernel.sum(), dtype=np.float64)


@njit(cache=True, nogil=True)
def _cubic(fraction, weights):  # type: ignore[no-untyped-def]
    """Weights of the samples at -1, 0, 1, 2 for a value at ``fraction`` of the way from 0 to 1.

    Cubic convolution with a = -1/2: Keys, IEEE Trans. Acoust. 29, 1153 (1981).
    """
    t = fraction
    weights[0] = ((-0.5 * t + 1.0) * t - 0.5) * t
    weights[1] = (1.5 * t - 2.5) * t * t + 1.0
    weights[2] = ((-1.5 * t + 2.0) * t + 0.5) * t
    weights[3] = (0.5 * t - 0.5) * t * t


@njit(cache=True, nogil=True)
def _map(first, scale, origin, skipped, base, weights):  # type: ignore[no-untyped-def]
    """Output sample i shows the place origin + (first + i) / scale: sample ``skipped`` + ``base``, and four weights.

    ``skipped`` is a whole number and left out of the sum, so that no bit depends on where the stored samples begin.
    """
    for i in range(base.size):
        position = origin + (first + i) / scale
        sample = int(np.floor(position))
        _cubic(position - sample, weights[:, i])
        base[i] = sample - skipped


@njit(cache=True, nogil=True)
def _transmit(depth, intensity):  # type: ignore[no-untyped-def]
    """exp(-depth) = exp(-depth / 32)**32, the first by its Taylor series: free of branches, so it runs on vectors."""
    for i in range(depth.size):
        x = min(max(depth[i], -_OPAQUE), _OPAQUE) * np.float32(-1.0 / 2**_SQUARINGS)
        y = np.float32(1 / 5040) * x + np.float32(1 / 720)
        y = y * x + np.float32(1 / 120)
        y = y * x + np.float32(1 / 24)
        y = y * x + np.float32(1 / 6)
        y = y * x + np.float32(1 / 2)
        y = y * x + np.float32(1.0)
        y = y * x + np.float32(1.0)
        for _ in range(_SQUARINGS):
            y = y * y
        intensity[i] = y


@njit(cache=True, nogil=True)
def _combine(depth, components, weights, low, high, margin):  # type: ignore[no-untyped-def]
    """Sum components (row, component, column) to optical depths (view, row, margin + column + margin), some rows.

    Components are the bulk of the data: each is fetched from memory once for all views.
    """
    for row in range(low, high):
        for view in range(depth.shape[0]):
            depth[view, row, :] = np.float32(0.0)
        for component in range(components.shape[1]):
            source = components[row, component]
            for view in range(depth.shape[0]):
                weight, line = weights[view, component], depth[view, row, margin : margin + source.size]
                for column in range(source.size):
                    line[column] += weight * source[column]


@njit(cache=True, nogil=True)
def _read_row(line, depth, base, weights):  # type: ignore[no-untyped-def]
    """Interpolate between rows ``base`` - 1 and ``base`` + 2 of ``depth``; beyond the stored ones is nothing."""
    if base >= 1 and base + 2 < depth.shape[0]:
        below, here, above, over = depth[base - 1], depth[base], depth[base + 1], depth[base + 2]
        a, b, c, d = weights[0], weights[1], weights[2], weights[3]
        for column in range(line.size):
            line[column] = a * below[column] + b * here[column] + c * above[column] + d * over[column]
        return
    line[:] = np.float32(0.0)
    for tap in range(4):
        if 0 <= base - 1 + tap < depth.shape[0]:
            source, weight = depth[base - 1 + tap], weights[tap]
            for column in range(line.size):
                line[column] += weight * source[column]


@njit(cache=True, nogil=True)
def _read_columns(result, line, base, weights):  # type: ignore[no-untyped-def]
    """Interpolate ``line`` at all places of a map, in runs over which neighbours are read from neighbours."""
    start = 0
    while start < base.size:
        stop = start + 1
        while stop < base.size and base[stop] - base[start] == stop - start:
            stop += 1
        before, here, after, over = (
            line[base[start] - 1 :],
            line[base[start] :],
            line[base[start] + 1 :],
            line[base[start] + 2 :],
        )
        a, b, c, d = weights[0, start:stop], weights[1, start:stop], weights[2, start:stop], weights[3, start:stop]
        target = result[start:stop]
        for i in range(target.size):
            target[i] = a[i] * before[i] + b[i] * here[i] + c[i] * after[i] + d[i] * over[i]
        start = stop


@njit(cache=True, nogil=True)
def _bin(result, intensity, blur):  # type: ignore[no-untyped-def]
    """Blur and average 2 x 2: pixel (i, j) is the sum of blur[a] blur[b] intensity[2 i + a, 2 j + b]."""
    line = np.empty(intensity.shape[1], dtype=np.float32)
    for row in range(result.shape[0]):
        line[:] = np.float32(0.0)
        for tap in range(blur.size):
            source, weight = intensity[2 * row + tap], blur[tap]
            for column in range(line.size):
                line[column] += weight * source[column]
        for column in range(result.shape[1]):
            total = np.float32(0.0)
            for tap in range(blur.size):
                total += blur[tap] * line[2 * column + tap]
            result[row, column] = total


@njit(cache=True, nogil=True)
def _show(transmission, depth, row_map, column_map, blur, intensity):  # type: ignore[no-untyped-def]
    """One projection of one view: place the optical depth, attenuate, blur and average."""
    (row_base, row_weights), (column_base, column_weights) = row_map, column_map
    line = np.empty(depth.shape[1], dtype=np.float32)
    resampled = np.empty(column_base.size, dtype=np.float32)
    for row in range(row_base.size):
        _read_row(line, depth, row_base[row], row_weights[:, row])
        _read_columns(resampled, line, column_base, column_weights)
        _transmit(resampled, intensity[row])
    _bin(transmission, intensity, blur)


@njit(cache=True, nogil=True)
def _detect(transmission, components, weights, origins, magnifications, frame, blur):  # type: ignore[no-untyped-def]
    """Fill ``transmission`` (view, projection, row, column); ``components`` are (projection, row, component, column).

    All in fine pixels: ``origins`` (view, projection, 2) are the column and the row of the specimen that the middle
    of the detector shows; ``frame`` is the first row to be seen, from the middle, and the first stored.
    """
    first_row, first_stored = frame
    n_views, n_columns, n_stored = weights.shape[0], components.shape[3], components.shape[1]
    reach = blur.size // 2 - 1
    rows, columns = 2 * transmission.shape[2] + 2 * reach, 2 * transmission.shape[3] + 2 * reach
    first_column = 0.5 - transmission.shape[3] - reach
    half = abs(first_column) / magnifications.min() + np.abs(origins[:, :, 0] - 0.5 * (n_columns - 1)).max()
    margin = max(0, int(np.ceil(half - 0.5 * (n_columns - 1)))) + 4
    depth = np.empty((n_views, n_stored, n_columns + 2 * margin), dtype=np.float32)
    intensity = np.empty((rows, columns), dtype=np.float32)
    row_base, row_weights = np.empty((n_views, rows), dtype=np.int64), np.empty((n_views, 4, rows), dtype=np.float32)
    column_base, column_weights = np.empty(columns, dtype=np.int64), np.empty((4, columns), dtype=np.float32)
    for projection in range(components.shape[0]):
        for view in range(n_views):
            origin = origins[view, projection, 1]
            _map(first_row, magnifications[view], origin, first_stored, row_base[view], row_weights[view])
        low, high = max(0, row_base.min() - 1), min(n_stored, row_base.max() + 3)
        _combine(depth, components[projection], weights, low, high, margin)
        for view in range(n_views):
            origin = origins[view, projection, 0]
            _map(first_column, magnifications[view], origin, -margin, column_base, column_weights)
            row_map, column_map = (row_base[view], row_weights[view]), (column_base, column_weights)
            _show(transmission[view, projection], depth[view], row_map, column_map, blur, intensity)


@dataclass(frozen=True)
class Window:
    """Rows of the detector that are looked at, and the rows of the fine grid whose line integrals are stored."""

    grid: Grid
    rows: slice
    stored: slice


def blur_of(optics: Optics, grid: Grid) -> NDArray[np.float64]:
    """Weights of fine pixels in a pixel of the detector along one axis: the Gaussian and the mean of two."""
    return np.convolve(gaussian(optics.resolution, grid.pixel_size / FINE), np.full(FINE, 1 / FINE))


def rows_needed(views: tuple[View, ...], grid: Grid, rows: slice, blur: NDArray[np.float64]) -> slice:
    """Rows of the fine grid that some of ``rows`` of the detector show in any of ``views``, within the grid."""
    middle = (FINE * grid.rows - 1) / 2
    reach = blur.size // 2 - 1
    lowest, highest = np.inf, -np.inf
    for view in views:
        shift = FINE * view.shifts(grid)[:, 1]
        lowest = min(lowest, (FINE * rows.start - reach - middle) / view.magnification - shift.max() + middle)
        highest = max(highest, (FINE * rows.stop - 1 + reach - middle) / view.magnification - shift.min() + middle)
    start, stop = int(np.floor(lowest)) - 1, int(np.floor(highest)) + 3
    return slice(*(min(max(row, 0), FINE * grid.rows) for row in (start, stop)))


def detect(
    components: NDArray[np.float32],
    weights: NDArray[np.float64],
    view: View,
    window: Window,
    blur: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Transmitted over incident intensity of one scan, (projection, row, column); see `detect_together`."""
    return np.asarray(detect_together(components, np.asarray(weights)[None], (view,), window, blur)[0])


def detect_together(
    components: NDArray[np.float32],
    weights: NDArray[np.float64],
    views: tuple[View, ...],
    window: Window,
    blur: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Transmitted over incident intensity of some scans of one temperature, shape (view, projection, row, column).

    Parameters
    ----------
    components
        Line integrals as `projector.project_rows` adds them up: units of a fine pixel's edge, (projection, row,
        component, column), the rows being ``window.stored``.
    weights
        Spectra s_k at the true energies of the views, shape (view, component).
    views
        Where and how large the specimen appears.
    window
        Rows of the detector to compute.
    blur
        As `blur_of` returns it.

    Raises
    ------
    CathoscopeError
        If a row that is seen is not stored.
    """
    grid, rows = window.grid, window.rows
    needed = rows_needed(views, grid, rows, blur)
    if needed.start < window.stored.start or needed.stop > window.stored.stop:
        raise CathoscopeError(
            "rows of the specimen that the detector sees are not stored", expected=str(needed), found=str(window.stored)
        )
    middle = (FINE * np.array([grid.columns, grid.rows]) - 1) / 2
    frame = (float(FINE * rows.start - (blur.size // 2 - 1) - middle[1]), int(window.stored.start))
    origins = np.stack([middle - FINE * view.shifts(grid) for view in views])
    magnifications = np.array([view.magnification for view in views])
    result = np.empty((len(views), components.shape[0], rows.stop - rows.start, grid.columns), dtype=np.float32)
    per_edge = np.asarray(weights * grid.pixel_size / FINE, dtype=np.float32)
    _detect(result, components, per_edge, origins, magnifications, frame, blur.astype(np.float32))
    return result
