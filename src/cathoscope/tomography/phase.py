r"""Phase retrieval from one distance, for samples of one material, in physical units.

Behind a sample of one material the transmitted intensity at a short distance z is

.. math:: I / I_0 = \Bigl(1 - \frac{z \delta}{\mu} \nabla^2\Bigr) e^{-\mu T}

(Paganin, Mayo, Gureyev, Miller and Wilkins, J. Microsc. 206, 33, 2002, eq. 7; parallel beam). It is inverted with a
low-pass filter, which also lowers the noise; detail finer than ``sqrt(z delta / mu)`` is only as real as the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError

FloatArray = NDArray[np.floating]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

_PLANCK_TIMES_LIGHT = 1.239841984  # eV um (CODATA 2018)


@dataclass(frozen=True)
class Propagation:
    """How the beam travels from the sample to the detector.

    Attributes
    ----------
    delta_over_beta
        Decrement of the refractive index over its absorption index; 0 switches the retrieval off.
    distance_mm
        From the sample to the detector, or to the plane that the lens images, in mm; divided by the
        magnification of a divergent beam.
    pixel_size
        Edge of a detector pixel at the sample in um.
    energy
        Photon energy in eV.
    discrete
        Whether the Laplacian is the five-point difference of the pixels instead of the derivative: sharper at the
        finest detail (Paganin, Favre-Nicolin, Mirone, Rack, Villanova, Olbinado, Fernandez, da Silva and Pelliccia,
        J. Opt. 22, 115607, 2020).
    """

    delta_over_beta: float
    distance_mm: float
    pixel_size: float
    energy: float
    discrete: bool = False

    def __post_init__(self) -> None:
        values = (self.delta_over_beta, self.distance_mm, self.pixel_size, self.energy)
        usable = all(np.isfinite(value) for value in values) and min(values) >= 0
        if not (usable and self.pixel_size > 0 and self.energy > 0):
            raise MeasurementError(
                "the propagation of the beam is not usable",
                expected="delta / beta and distance zero or above, pixel size and energy above zero",
                found=f"delta / beta {values[0]}, {values[1]} mm, pixel {values[2]} um, {values[3]} eV",
            )


def blur_length_from_propagation(*, propagation: Propagation) -> float:
    r"""Length in um below which the retrieval smooths.

    .. math:: \sqrt{z \delta / \mu}, \qquad \mu = 4 \pi \beta / \lambda
    """
    wavelength = _PLANCK_TIMES_LIGHT / propagation.energy
    delta_over_attenuation = propagation.delta_over_beta * wavelength / (4.0 * np.pi)
    return float(np.sqrt(1e3 * propagation.distance_mm * delta_over_attenuation))


def optical_depth_from_transmission(*, transmission: FloatArray, propagation: Propagation) -> Float32Array:
    r"""Optical depth ``[projection, row, column]`` float32 of a sample of one material.

    .. math:: \mu T = -\ln F^{-1} \Bigl\{ \frac{F\{I / I_0\}}{1 + (z \delta / \mu) k^2} \Bigr\}

    with the angular spatial frequency k. Every projection is continued beyond its rim by its mirror image, by a
    cosine transform, so that nothing wraps around to the other side. Rows are not independent: whole projections are
    needed, never slabs of rows. Without distance or with ``delta_over_beta`` zero it is minus the logarithm.

    Parameters
    ----------
    transmission
        Intensity over the intensity without sample, ``[projection, row, column]``.
    propagation
        Material, distance, pixel size and energy.

    Raises
    ------
    MeasurementError
        If the shape is wrong, or a value is not finite, or the smoothed transmission is not above zero.
    """
    if transmission.ndim != 3 or min(transmission.shape[1:]) < 2 or not np.isfinite(transmission).all():
        raise MeasurementError(
            "the transmission is not usable",
            expected="finite values, [projection, row, column]",
            found=f"shape {transmission.shape}, {int(np.sum(~np.isfinite(transmission)))} values not finite",
        )
    length = blur_length_from_propagation(propagation=propagation) / propagation.pixel_size
    divisor = _divisor(transmission.shape[1], transmission.shape[2], length, propagation.discrete)
    depth = np.empty(transmission.shape, dtype=np.float32)
    for p, image in enumerate(transmission):
        smooth = image.astype(np.float64)
        if length > 0:
            # the cosine transform is the Fourier transform of the image continued by its mirror images
            smooth = scipy.fft.idctn(scipy.fft.dctn(smooth, workers=1) / divisor, workers=1)
        depth[p] = _minus_logarithm(smooth)
    return depth


def _divisor(n_rows: int, n_columns: int, length: float, discrete: bool) -> Float64Array:
    """``1 + length**2 k**2`` for the waves of the cosine transform, lengths in px."""
    k_y = np.pi * np.arange(n_rows)[:, None] / n_rows
    k_x = np.pi * np.arange(n_columns) / n_columns
    laplacian = 4.0 - 2.0 * np.cos(k_y) - 2.0 * np.cos(k_x) if discrete else k_y**2 + k_x**2
    return np.asarray(1.0 + length**2 * laplacian)


def _minus_logarithm(transmission: Float64Array) -> Float64Array:
    if not (transmission > 0).all():
        raise MeasurementError(
            "the transmission is not above zero everywhere, so it has no logarithm",
            found=f"{int(np.sum(transmission <= 0))} pixels at or below zero",
            cure="limit the transmission before the phase retrieval",
        )
    return np.asarray(-np.log(transmission))
