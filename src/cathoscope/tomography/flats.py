"""Flats of many energies together: what is the same in all of them is known better than from one energy's few frames.

Noise of the flats is in all projections of a scan alike and becomes rings, other ones at every energy. Odd and even
projections agree on them, so they look like the particle's own differences. But a detector and its beam change little
from energy to energy. With m the mean of all flats, the flat F of an energy of level l and n frames is

.. math:: F_e = l_e m + \\sqrt{l_e m / n_e}\\, x_e

where the x are noise of one variance at all energies and pixels, and whatever else has changed. Changes are the
principal directions among energies that rise above the noise of single frames (compare V. Van Nieuwenhove et al., Opt.
Express 23, 2015, 27975, where these are of frames); what is left is noise, and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.noise_floor import singular_value_floor

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

FEWEST_ENERGIES = 6
# Mean square along a direction over that of noise. Neighbouring pixels may share noise, which spreads what noise makes
# of many directions; one too many costs little, one too few leaves at most a fifth of the noise of one flat.
_LEAST_RATIO = 1.2
_OWN_VALUE = 5.0  # standard deviations from which a pixel has changed at one energy alone, as dust does
_STRUCK = 8.0  # standard deviations by which a frame is brighter than the others where a stray photon struck


@dataclass(frozen=True)
class OpenBeam:
    """Flats of one scan above dark, [row, column]: their mean, and that without what struck single frames.

    ``frames`` is their number, ``noise`` the variance of a count over its mean.
    """

    mean: Float32Array
    unstruck: Float32Array
    frames: int
    noise: float


@dataclass(frozen=True)
class FlatSeries:
    """What the flats of all energies have in common.

    Attributes
    ----------
    level, frames
        Mean counts of the flats and number of frames, ``[energy]``.
    noise
        Variance of a count over its mean in single frames: 1 for photons counted one by one.
    projector
        Onto what changes from energy to energy, ``[energy, energy]``.
    """

    level: Float64Array
    frames: Float64Array
    noise: float
    projector: Float64Array

    @property
    def changes(self) -> int:
        """Number of patterns that change from energy to energy."""
        return round(float(np.trace(self.projector)))

    @property
    def noise_share(self) -> float:
        """Variance of the noise that is left in a flat over that of its own."""
        return min((1 + self.changes) / self.level.size, 1.0)


def open_beam_from_flats(*, flat: Floats, dark: Floats, good: Bools) -> OpenBeam:
    """Mean of some rows of a scan's flats, and the noise of single frames, once they are scaled to one level.

    ``flat`` and ``dark`` are ``[frame, row, column]``, ``good`` ``[row, column]`` the pixels that count for the noise,
    which is nan of a single frame or without such a pixel.

    Raises
    ------
    MeasurementError
        If shapes differ.
    """
    if flat.ndim != 3 or dark.shape[1:] != flat.shape[1:] or good.shape != flat.shape[1:]:
        raise MeasurementError(
            "flats, darks and good pixels do not fit",
            expected="[frame, row, column], [frame, row, column] and [row, column]",
            found=f"{flat.shape}, {dark.shape} and {good.shape}",
        )
    above = np.asarray(flat, dtype=np.float64) - np.asarray(dark, dtype=np.float64).mean(axis=0)
    mean, count = above.mean(axis=0), flat.shape[0]
    used = good & (mean > 0)
    if count < 2 or not used.any():
        return OpenBeam(mean.astype(np.float32), mean.astype(np.float32), count, np.nan)
    level = above[:, used].mean(axis=1) / mean[used].mean()
    # The median pixel is one that nothing struck; that of chi-squared by Wilson and Hilferty, PNAS 17 (1931) 684.
    of_chi_squared = (1.0 - 2.0 / (9.0 * (count - 1))) ** 3
    noise = float(np.median(_variance(above[:, used], level, mean[used]) / mean[used])) / of_chi_squared
    unstruck = _unstruck(above, level, noise) if count > 2 else mean
    return OpenBeam(mean.astype(np.float32), unstruck.astype(np.float32), count, noise)


def _variance(frames: Float64Array, level: Float64Array, mean: Float64Array) -> Float64Array:
    """Of the counts of each pixel, ``frames`` being [frame, pixel]."""
    return np.asarray(np.sum((frames - level[:, None] * mean) ** 2, axis=0) / (level.size - 1))


def _unstruck(above: Float64Array, level: Float64Array, noise: float) -> Float64Array:
    """Mean of frames [frame, row, column], the brightest left out where it is too bright for noise."""
    scaled = above / level[:, None, None]
    brightest = scaled.max(axis=0)
    others = (scaled.sum(axis=0) - brightest) / (level.size - 1)
    struck = brightest - others > _STRUCK * np.sqrt(noise * np.maximum(others, 1.0))
    return np.asarray(np.where(struck, others, above.mean(axis=0)))


def deviation_of_flats(open_beam: Floats, level: Float64Array, frames: Float64Array, good: Bools) -> Float64Array:
    """The x of the module's equation, ``[energy, row, column]``; zero at pixels that are not ``good`` [row, column].

    ``open_beam`` is ``[energy, row, column]``, all above zero at good pixels.
    """
    expected, std = _expected(open_beam, level, frames)
    found = np.zeros(expected.shape)
    np.divide(open_beam - expected, std, out=found, where=good & (std > 0))
    return found


def _expected(open_beam: Floats, level: Float64Array, frames: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Flats if nothing changed but their level, and their standard deviation for noise of one."""
    mean = np.tensordot(frames, open_beam, axes=1) / float(frames @ level)
    expected = level[:, None, None] * mean
    return expected, np.sqrt(np.maximum(expected, 0.0) / frames[:, None, None])


def flat_series(
    *, products: Float64Array, n_pixels: int, level: Float64Array, frames: Float64Array, noise: float
) -> FlatSeries:
    """What changes from energy to energy beyond noise.

    Parameters
    ----------
    products
        Sum over good pixels of the products of `deviation_of_flats`, ``[energy, energy]``.
    n_pixels
        Number of good pixels.
    level, frames, noise
        As in `FlatSeries`. Where the deviations of most energies scatter less than ``noise`` says, that is taken:
        flats that several energies share have no noise of their own.
    """
    values, vectors = np.linalg.eigh(products / n_pixels)
    # along one direction, that of the mean, there is nothing
    noise = min(noise, float(np.median(values[1:])))
    of_noise = float(singular_value_floor(n_pixels, level.size, 1)[0]) ** 2 / n_pixels
    changed = vectors[:, values > max(_LEAST_RATIO, of_noise) * noise]
    return FlatSeries(level, frames, noise, np.asarray(changed @ changed.T))


def flat_offset_from_series(series: FlatSeries, beams: Sequence[OpenBeam], good: Bools) -> Float32Array:
    """What noise of the flats adds to the optical depth, ``[energy, row, column]``; zero at pixels that are not good.

    A pixel that deviates by five standard deviations at an energy, in all frames, keeps the value it has there: it
    has changed.
    """
    mean, unstruck = (np.stack([getattr(beam, name) for beam in beams]) for name in ("mean", "unstruck"))
    deviation = deviation_of_flats(unstruck, series.level, series.frames, good)
    expected, std = _expected(unstruck, series.level, series.frames)
    change = np.tensordot(series.projector, deviation, axes=1)
    better = expected + std * change
    changed = (np.abs(deviation - change) > _OWN_VALUE * np.sqrt(series.noise)) | (better <= 0)
    ratio = np.ones(better.shape)
    np.divide(mean, np.where(changed, unstruck, better), out=ratio, where=good & (mean > 0) & (unstruck > 0))
    return np.asarray(np.log(ratio), dtype=np.float32)
