"""Where a reflection lies: from lattice spacing to time of flight or two theta, and back.

Every law takes arrays or duals. Spacings are A, times us, angles deg, displacements um, radii mm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import Dual, Graded, graded, value_of

Array = NDArray[np.float64]
Number = float | Dual
Values = Mapping[str, Number]
"""Numbers of a bank by their names in `cathoscope.core.bank`, some of them with derivatives."""

_MOST_STEPS = 60
_EXACT = 4e-16  # relative step at which Newton's method has arrived


@dataclass(frozen=True)
class Displacement:
    """A sample that is not where the diffractometer takes it to be, um; 0 where it is.

    Attributes
    ----------
    radius
        Of the goniometer, mm.
    across, along
        Debye-Scherrer geometry: across the beam, in the plane of scattering, and along the beam.
    height
        Bragg-Brentano geometry: of the surface below the axis.
    depth
        Bragg-Brentano geometry: reach 1/mu of the X-rays in the sample. GSAS-II's transparency is depth / 100.
    """

    radius: Number
    across: Number = 0.0
    along: Number = 0.0
    height: Number = 0.0
    depth: Number = 0.0


def tof_from_spacing(*, d: ArrayLike | Dual, values: Values) -> Graded:
    """Time of flight T = difC d + difA d^2 + difB / d + zero, us, of lattice spacings ``d`` (A).

    Von Dreele, Jorgensen and Windsor, J. Appl. Cryst. 15, 581 (1982); difB as in GSAS-II.
    """
    spacing = graded(d)
    return _tof(spacing, values)


def spacing_from_tof(*, tof: ArrayLike | Dual, values: Values) -> Graded:
    """Lattice spacing, A, of times of flight ``tof`` (us): the inverse of `tof_from_spacing`, to rounding.

    It is the one from which on the time grows with the spacing: below sqrt(difB / difC) the law has no meaning.

    Raises
    ------
    MeasurementError
        If there is no such spacing.
    """
    time = graded(tof)
    plain = {name: float(value_of(values[name])) for name in ("difC", "difA", "difB", "zero")}
    with np.errstate(all="ignore"):
        start = (value_of(time) - plain["zero"]) / plain["difC"]
        found = _newton(start, lambda d: (value_of(_tof(d, plain) - time), _tof_slope(d, plain)))
    _require(np.isfinite(found) & (found > 0), value_of(time), "time of flight", "us")
    if not any(isinstance(one, Dual) for one in (time, *values.values())):
        return found
    step: Graded = (_tof(found, values) - time) / _tof_slope(found, plain)
    return found - step  # the step is zero, its derivatives are those of the solution


def two_theta_from_spacing(
    *, d: ArrayLike | Dual, wavelength: Number, zero: Number = 0.0, displacement: Displacement | None = None
) -> Graded:
    """Measured angle 2 theta, deg: Bragg's law, plus ``zero``, plus what a displaced sample adds.

    Raises
    ------
    MeasurementError
        If a spacing is below half the wavelength.
    """
    spacing = graded(d)
    _require(value_of(wavelength) < 2 * value_of(spacing), value_of(spacing), "lattice spacing", "A at this wavelength")
    bragg = np.degrees(2.0 * np.arcsin(wavelength / (2.0 * spacing)))
    out: Graded = bragg + zero + two_theta_from_displacement(two_theta=bragg, displacement=displacement)
    return out


def spacing_from_two_theta(
    *,
    two_theta: ArrayLike | Dual,
    wavelength: Number,
    zero: Number = 0.0,
    displacement: Displacement | None = None,
) -> Graded:
    """Lattice spacing, A, of measured angles (deg): the inverse of `two_theta_from_spacing`, to rounding.

    Raises
    ------
    MeasurementError
        If an angle is not above zero and at most 180 deg.
    """
    measured = graded(two_theta) - zero
    plain = value_of(measured)
    _require((plain > 0) & (plain <= 180), plain, "angle", "deg")
    bragg: Graded = measured
    if displacement is not None:
        found = _newton(plain, lambda angle: _off(angle, plain, displacement))
        bragg = measured - two_theta_from_displacement(two_theta=found, displacement=displacement)
        if isinstance(bragg, Dual):
            bragg = Dual(found, bragg.slope / _off(found, plain, displacement)[1][..., None])
    out: Graded = wavelength / (2.0 * np.sin(np.radians(bragg / 2.0)))
    return out


def two_theta_from_displacement(*, two_theta: ArrayLike | Dual, displacement: Displacement | None) -> Graded:
    """What a displaced sample adds to 2 theta, deg.

    Debye-Scherrer geometry: - (across cos 2 theta + along sin 2 theta) / R; Bragg-Brentano geometry:
    - (2 height cos theta + depth sin 2 theta / 2) / R. Valid for displacements small against R. Wilson, Elements of
    X-ray Crystallography (1970); GSAS-II has the same with R in mm and displacements in um.
    """
    angle = np.radians(graded(two_theta))
    if displacement is None:
        return np.zeros(angle.shape)
    one = displacement
    lateral = one.across * np.cos(angle) + one.along * np.sin(angle)
    raised = 2.0 * one.height * np.cos(angle / 2.0) + 0.5 * one.depth * np.sin(angle)
    out: Graded = np.degrees((lateral + raised) * (-1e-3 / one.radius))
    return out


def _tof(d: Graded, values: Values) -> Graded:
    out: Graded = values["difC"] * d + values["difA"] * d * d + values["difB"] / d + values["zero"]
    return out


def _tof_slope(d: Array, values: Mapping[str, float]) -> Array:
    return np.asarray(values["difC"] + 2 * values["difA"] * d - values["difB"] / (d * d))


def _off(angle: Array, measured: Array, displacement: Displacement) -> tuple[Array, Array]:
    """How far an angle of Bragg plus displacement is from the measured one, and the derivative of that."""
    seeded = Dual(angle, np.ones((*angle.shape, 1)))
    plain = Displacement(*(float(value_of(getattr(displacement, one.name))) for one in fields(displacement)))
    total = seeded + two_theta_from_displacement(two_theta=seeded, displacement=plain)
    return total.value - measured, total.slope[..., 0]


def _newton(start: Array, residual: Callable[[Array], tuple[Array, Array]]) -> Array:
    """The zero of a smooth function near ``start``, by Newton's method for all elements at once."""
    x = np.array(start, dtype=np.float64)
    for _ in range(_MOST_STEPS):
        value, slope = residual(x)
        step = value / slope
        x = x - step
        if np.all(np.abs(step) <= _EXACT * np.abs(x)):
            break
    return x


def _require(good: NDArray[np.bool_], x: Array, what: str, unit: str) -> None:
    if np.all(good):
        return
    bad = np.broadcast_to(x, np.shape(good))[~good]
    raise MeasurementError(
        f"a {what} belongs to no reflection",
        expected=f"a {what} that Bragg's law and the bank's numbers can give",
        found=f"{bad.flat[0]:g} {unit}",
        cure="check the range of the pattern, and the wavelength or difC, difA, difB and zero of the bank",
    )
