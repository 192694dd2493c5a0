"""What files get wrong about angles and energies, put right, each repair said in a remark.

Every function takes bare numbers as a file holds them and gives numbers in the schema's units with
the remarks a person should read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cathoscope.core.errors import CathoscopeError, MeasurementError
from cathoscope.core.units import convert

STATE_ANGLES = 'state the first and last angle in the recipe, in degrees: "angle_range = [0, 180]"'

# A stack whose angles all lie within one turn in radians needs this many projections before a file
# without units is taken to be in radians: an aborted scan in degrees has fewer.
_RADIANS_NEED_PROJECTIONS = 60
_FULL_TURN_RADIANS = 2.02 * np.pi
# Angles and projections are saved by two devices in chunks; what is lost is a chunk at the end.
_LARGEST_LOST_SHARE = 0.1
_STOPPED_STEP = 0.01
_ANGLE_UNITS = {"degrees": "deg", "degree": "deg", "deg": "deg", "radians": "rad", "radian": "rad", "rad": "rad"}
_KEV_BELOW = 100.0

Angles = npt.NDArray[np.float64]


def angles_in_degrees(values: Angles, unit: str | None, where: Path) -> tuple[Angles, list[str]]:
    """Angles of a file in degrees.

    Parameters
    ----------
    values
        Angles as stored, shape (n,).
    unit
        What the file says the unit is. Without it the angles are in degrees, unless there are at least 60
        and all fit into one turn in radians.
    where
        The file, for messages.

    Raises
    ------
    MeasurementError
        If an angle is not finite or the unit is not known.
    """
    if not np.isfinite(values).all():
        raise MeasurementError(
            f"{int((~np.isfinite(values)).sum())} of {values.size} angles are not numbers",
            where=where,
            expected="finite angles",
            found="NaN or infinity",
            cure=STATE_ANGLES,
        )
    span = float(np.ptp(values)) if values.size else 0.0
    if unit is not None:
        known = _ANGLE_UNITS.get(unit.strip().lower())
        if known is None:
            raise MeasurementError(
                "unknown unit of the angles", where=where, expected="degrees or radians", found=unit, cure=STATE_ANGLES
            )
        remarks = [f"angles were in {unit}, converted to degrees"] if known == "rad" else []
        return values * convert(1.0, known, "angle"), remarks
    if values.size >= _RADIANS_NEED_PROJECTIONS and 0 < span <= _FULL_TURN_RADIANS:
        remark = f"angles were in radians ({values.size} angles span {span:.4g}), converted to degrees"
        return np.rad2deg(values), [remark]
    return values, []


def angles_of_projections(values: Angles, n_projections: int, where: Path) -> tuple[Angles, list[str]]:
    """Angles of the projections that can be used: the first ``len(result)`` projections.

    Angles beyond the last projection, projections beyond the last angle, and projections taken after the
    stage had stopped (steps of at most 0.01 deg, and a tenth of the usual step, at the end) are left out.

    Raises
    ------
    MeasurementError
        If the numbers differ by more than a tenth of the projections, or the stage never moved.
    """
    difference = values.size - n_projections
    if abs(difference) > _LARGEST_LOST_SHARE * n_projections:
        raise MeasurementError(
            "the angles do not belong to these projections",
            where=where,
            expected=f"{n_projections} angles, one for each projection",
            found=f"{values.size} angles",
            cure=f"if the stage turned evenly, {STATE_ANGLES}",
        )
    remarks = []
    if difference > 0:
        remarks.append(
            f"angle had {difference} entries more than there are projections; the first {n_projections} are used"
        )
    elif difference < 0:
        remarks.append(f"the last {-difference} of {n_projections} projections have no angle and are left out")
    values = values[:n_projections]
    n_stopped = _count_stopped(values, where)
    if n_stopped:
        remarks.append(f"the last {n_stopped} projections were taken after the stage had stopped and are left out")
    return values[: values.size - n_stopped], remarks


def _count_stopped(values: Angles, where: Path) -> int:
    steps = np.abs(np.diff(values))
    if steps.size and steps.max() == 0:
        raise MeasurementError(
            f"all {values.size} angles are {values[0]:.4g} deg: the stage did not turn",
            where=where,
            expected="angles that change from projection to projection",
            found=f"{values.size} equal angles",
            cure=f"if the stage did turn, {STATE_ANGLES}",
        )
    if not steps.size:
        return 0
    moving = np.flatnonzero(steps > min(_STOPPED_STEP, 0.1 * float(np.median(steps[steps > 0]))))
    return int(steps.size - 1 - moving[-1])


def even_angles(angle_range: tuple[float, float], n_projections: int) -> Angles:
    """``n_projections`` angles from the first to the last of ``angle_range`` (deg), both included."""
    return np.linspace(*angle_range, n_projections)


def energy_in_ev(value: float, unit: str | None, name: str) -> tuple[float | None, list[str]]:
    """Energy in eV, or None where the file's number cannot be an energy.

    Parameters
    ----------
    value
        Energy as stored.
    unit
        What the file, or its layout, says the unit is. A number above 100 is never keV and
        one up to 100 is never eV: hard X-rays and the soft X-rays of transmission microscopes lie between.
    name
        What the file calls it, for remarks.
    """
    if not np.isfinite(value) or value <= 0:
        return None, [f"{name} is {value:g}, which is no energy; none is taken from the file"]
    likely = "keV" if value <= _KEV_BELOW else "eV"
    if unit == likely:
        return convert(value, likely, "energy"), []
    said = "gives no unit" if unit is None else f"says {unit}"
    return convert(value, likely, "energy"), [f"{name} {value:g} read as {likely} (the file {said})"]


def length_in_um(value: float, unit: str) -> float | None:
    """Length in um, or None if it is not positive or its unit is unknown."""
    try:
        length = convert(float(value), {"micron": "um", "microns": "um", "pixel": ""}.get(unit, unit), "length")
    except CathoscopeError:
        return None
    return length if np.isfinite(length) and length > 0 else None


def plain(value: Any) -> str | int | float | bool | list[Any]:
    """A number or text of a file as an attribute that JSON can hold."""
    if isinstance(value, np.ndarray):
        return plain(value.item()) if value.size == 1 else [plain(item) for item in value.ravel()]
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace").strip()
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, str):  # bytes that were no text have no place in a report
        return value.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="replace")
    return value if isinstance(value, (str, int, float, bool)) else str(value)
