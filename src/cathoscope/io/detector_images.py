"""Images of a flat detector behind a powder, made into patterns by pyFAI, which the extra ``images2d`` brings.

    image = read_image("ceo2.tif")
    geometry = geometry_from_rings(image, "CeO2", start)        # start: distance, centre, pixel, wavelength about right
    pattern = pattern_from_image(read_image("sample.tif"), geometry)
    text = written_xye(pattern)                                 # a file that a recipe can name

Schema
------
A `PowderPattern` at a constant wavelength: mean counts of the pixels at each two theta (deg).

Uncertainties
-------------
Counting noise of the pixels (Poisson) carried through the mean. A pixel that is split between two points counts in
both, so noise of neighbouring points is a little alike.

Metadata
--------
`DetectorGeometry`, which is pyFAI's: distances from the sample to the point of normal incidence, and three rotations.
Kieffer and Karkoulis, J. Phys. Conf. Ser. 425, 202012 (2013).

File structure
--------------
Any image that fabio opens: TIFF, CBF, EDF, HDF5 and others.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.io.powder import PowderPattern

Array = NDArray[np.float64]

_ANGSTROM, _MM, _UM = 1e-10, 1e-3, 1e-6  # m
_RINGS = (3, 6, 12)  # innermost ones of each round: the first alone are near enough to a rough start
_POINTS_PER_DEG = 1.0
_METHOD = ("bbox", "csr", "cython")
_FEWEST = 50  # points on rings
_ROUNDS = 6  # of leaving out points
_OUTSIDE = 4.0  # median spreads: a point that far from its ring is on another


@dataclass(frozen=True)
class DetectorGeometry:
    """Where a flat detector is.

    Attributes
    ----------
    distance
        Sample to the plane of the detector, mm.
    normal
        Where the plane is nearest to the sample, from the first pixel along rows and along columns (y, x), mm.
    rotations
        About the vertical axis, the horizontal axis and the beam, deg.
    pixel
        Height and width of a pixel, um.
    wavelength
        A.
    """

    distance: float
    normal: tuple[float, float]
    rotations: tuple[float, float, float]
    pixel: tuple[float, float]
    wavelength: float


@dataclass(frozen=True)
class Rings:
    """What rings of a standard say.

    Attributes
    ----------
    geometry
        Of the detector.
    points
        On rings that were used.
    spread
        Root mean square distance of these from their rings, deg of two theta.
    """

    geometry: DetectorGeometry
    points: int
    spread: float


def read_image(path: Path) -> Array:
    """Counts of the pixels, [row, column].

    Raises
    ------
    MeasurementError
        If pyFAI is not installed, or the file is no image.
    """
    fabio = _module("fabio")
    try:
        return np.asarray(fabio.open(str(path)).data, dtype=np.float64)
    except Exception as error:  # readers of many formats fail in many ways
        raise MeasurementError(
            "not an image of a detector", where=path, expected="a file that fabio opens", found=str(error)[:120]
        ) from None


def geometry_from_rings(image: Array, standard: str, start: DetectorGeometry) -> Rings:
    """Distance, centre and tilt from the rings of a standard; wavelength and rotation about the beam are held.

    Parameters
    ----------
    image
        Counts, [row, column].
    standard
        Of pyFAI's names: ``CeO2``, ``LaB6``, ``Si`` and others.
    start
        Near enough that the three innermost rings are told apart.

    Raises
    ------
    MeasurementError
        If pyFAI is not installed, does not know the standard, or finds too few points on rings.
    """
    calibrant = _calibrant(standard, start.wavelength)
    goniometer = _module("pyFAI.goniometer")
    current, points, spread = _integrator(start, image.shape), 0, 0.0
    for rings in _RINGS:
        single = goniometer.SingleGeometry(
            "rings", image, calibrant=calibrant, detector=current.detector, geometry=current
        )
        single.extract_cp(max_rings=rings, pts_per_deg=_POINTS_PER_DEG)
        found = single.geometry_refinement
        points = len(found.data)
        if points < _FEWEST:
            raise MeasurementError(
                f"too few points on the rings of {standard}",
                expected=f"{_FEWEST} or more",
                found=str(points),
                cure="check the distance, the centre (normal), the pixels and the wavelength of the start",
            )
        held = ("rot3", "wavelength") if rings > _RINGS[0] else ("rot1", "rot2", "rot3", "wavelength")
        points, spread = _refined(found, np.degrees(np.asarray(calibrant.get_2th())), held)
        current = found
    return Rings(_geometry(current, start), points, spread)


def _refined(found: Any, rings: Array, held: tuple[str, ...]) -> tuple[int, float]:
    """Refine a geometry, leaving out points that lie on other rings; how many are left, and their spread, deg."""
    for _ in range(_ROUNDS):
        found.refine3(fix=list(held))
        data = np.asarray(found.data)
        off = np.degrees(found.tth(data[:, 0], data[:, 1])) - rings[data[:, 2].astype(int)]
        spread = 1.4826 * float(np.median(np.abs(off)))
        found.data = data[np.abs(off) < _OUTSIDE * spread]
    return len(found.data), float(np.sqrt(np.mean(off[np.abs(off) < _OUTSIDE * spread] ** 2)))


def pattern_from_image(
    image: Array,
    geometry: DetectorGeometry,
    *,
    points: int | None = None,
    mask: NDArray[np.bool_] | None = None,
    polarisation: float | None = None,
) -> PowderPattern:
    """The pattern of an image, with its uncertainty by counting.

    Parameters
    ----------
    image
        Counts, [row, column].
    points
        Of the pattern; as many as there are pixels from the centre to the farthest corner if not given.
    mask
        Pixels that are not used, [row, column].
    polarisation
        pyFAI's factor, 1 for a beam polarised in the horizontal plane, by which pixels are corrected. Not given: no
        correction; then the polarisation stays in the pattern, where a bank's ``polarisation`` accounts for it.
    """
    integrator = _integrator(geometry, image.shape)
    found = integrator.integrate1d_ng(
        image,
        points or int(np.hypot(*image.shape)) // 2,
        unit="2th_deg",
        error_model="poisson",
        correctSolidAngle=True,
        polarization_factor=polarisation,
        mask=mask,
        method=_METHOD,
    )
    x, y, std = (np.asarray(one, dtype=np.float64) for one in (found.radial, found.intensity, found.sigma))
    seen = np.asarray(found.count, dtype=np.float64) > 0
    y, std = (np.where(seen & (std > 0), one, np.nan) for one in (y, std))
    return PowderPattern(1, "image", "cw", x, y, std)


def _integrator(geometry: DetectorGeometry, shape: tuple[int, ...]) -> Any:
    """pyFAI's description of a geometry."""
    detectors, integrators = _module("pyFAI.detectors"), _module("pyFAI.integrator.azimuthal")
    height, width = (one * _UM for one in geometry.pixel)
    rotations = (float(one) for one in np.radians(geometry.rotations))
    return integrators.AzimuthalIntegrator(
        geometry.distance * _MM,
        *(one * _MM for one in geometry.normal),
        *rotations,
        detector=detectors.Detector(pixel1=height, pixel2=width, max_shape=shape),
        wavelength=geometry.wavelength * _ANGSTROM,
    )


def _geometry(found: Any, start: DetectorGeometry) -> DetectorGeometry:
    """What pyFAI found, in the units of a `DetectorGeometry`."""
    return DetectorGeometry(
        float(found.dist) / _MM,
        (float(found.poni1) / _MM, float(found.poni2) / _MM),
        (float(np.degrees(found.rot1)), float(np.degrees(found.rot2)), float(np.degrees(found.rot3))),
        start.pixel,
        start.wavelength,
    )


def _calibrant(standard: str, wavelength: float) -> Any:
    calibrants = _module("pyFAI.calibrant")
    try:
        found = calibrants.get_calibrant(standard)
    except KeyError:
        known = ", ".join(sorted(calibrants.CALIBRANT_FACTORY.keys()))
        raise MeasurementError(f"{standard} is no standard that pyFAI knows", expected=known, found=standard) from None
    found.wavelength = wavelength * _ANGSTROM
    return found


def _module(name: str) -> Any:
    """A module of the extra."""
    try:
        return import_module(name)
    except ImportError:
        raise MeasurementError(
            "images of detectors need pyFAI, which is not installed", cure="pip install 'cathoscope[images2d]'"
        ) from None
