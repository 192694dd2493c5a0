r"""What becomes of a capacity with cycles and rates: retention, cycles to a share, rate capability, slippage.

    retention      R_n = Q_n / Q_r,   (std R)² = (std Q_n / Q_r)² + (Q_n std Q_r / Q_r²)²,   R_r = 1 exactly
    end of charge  C_n = sum_{k<=n} Qc_k - sum_{k<n} Qd_k      charge that has gone in when cycle n is charged
    end of discharge D_n = sum_{k<=n} (Qc_k - Qd_k)            and what is left when it is discharged

An end point that wanders to larger charge tells of current that does not stay in the electrodes (oxidation of the
electrolyte, leakage, an offset of the instrument); the wandering per cycle is the slippage.

References
----------
.. [1] A. J. Smith, J. C. Burns, D. Xiong, J. R. Dahn, J. Electrochem. Soc. 158 (2011) A1136 (slippage of end points).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.lab.record import Array
from cathoscope.numerics.estimate import Estimate

_SAME_RATE = 0.05  # of the current: cycles within it have one rate


@dataclass(frozen=True, eq=False)
class Retention:
    """Shares of a capacity, ``[cycle]``.

    Attributes
    ----------
    cycle, value, std
        Number of the cycle, share and its standard uncertainty.
    reference
        Cycle whose share is 1.
    capacity
        Capacity of the reference with its uncertainty, Ah.
    """

    cycle: Array
    value: Array
    std: Array
    reference: float
    capacity: Estimate


def retention_of(cycle: ArrayLike, capacity: ArrayLike, std: ArrayLike = 0.0, *, reference: float) -> Retention:
    """Capacity as a share of that of the cycle ``reference``.

    Parameters
    ----------
    cycle, capacity, std
        Number, capacity (any unit) and its standard uncertainty, ``[cycle]``.
    reference
        Number of the cycle that is 1; state it, as first cycles hold formation.

    Raises
    ------
    MeasurementError
        If the reference is not there or has no capacity above zero.
    """
    n, q, s = (np.atleast_1d(np.asarray(one, dtype=np.float64)) for one in np.broadcast_arrays(cycle, capacity, std))
    at = np.flatnonzero(n == reference)
    if at.size != 1 or not q[at[0]] > 0:
        raise MeasurementError(
            f"cycle {reference:g} cannot be the reference of a retention",
            expected="one cycle of this number with a capacity above zero",
            found=f"{at.size} of this number" if at.size != 1 else f"the capacity {q[at[0]]:g}",
            cure="state another reference cycle",
        )
    q0, s0 = float(q[at[0]]), float(s[at[0]])
    spread = np.sqrt((s / q0) ** 2 + (q * s0 / q0**2) ** 2)
    spread[at[0]] = 0.0
    return Retention(n, q / q0, spread, float(reference), Estimate(q0, s0))


def cycle_at(retention: Retention, share: float = 0.8) -> Estimate | None:
    """Cycle at which the retention first falls to ``share``, on a line between two cycles; None if it does not.

    The uncertainty is that of the two values over their slope.
    """
    good = np.isfinite(retention.value)
    n, r, s = retention.cycle[good], retention.value[good], retention.std[good]
    below = np.flatnonzero((r[1:] <= share) & (r[:-1] > share))
    if not below.size:
        return None
    i = int(below[0])
    part = (r[i] - share) / (r[i] - r[i + 1])
    slope = (r[i + 1] - r[i]) / (n[i + 1] - n[i])
    spread = np.hypot((1 - part) * s[i], part * s[i + 1]) / abs(slope)
    return Estimate(float(n[i] + part * (n[i + 1] - n[i])), float(spread))


class Rate(NamedTuple):
    """Cycles in a row at one current.

    ``current`` in A, ``rate`` as multiple of the stated 1C current (NaN without), first and last cycle, how many they
    are, mean capacity, standard deviation between them, and the mean as a share of the first group's.
    """

    current: float
    rate: float
    first: int
    last: int
    cycles: int
    capacity: float
    spread: float
    share: float


def rates_of(
    cycle: ArrayLike, current: ArrayLike, capacity: ArrayLike, *, one_c: float | None = None
) -> tuple[Rate, ...]:
    """Groups of cycles in a row with one current (within 5 %), in order; NaN capacities are left out.

    A return to an earlier current is a group of its own: its share tells what is recovered. Cycles of a group are not
    replicates: their spread holds fade as well as scatter.

    Parameters
    ----------
    cycle, current, capacity
        Number, current in A above zero, capacity in Ah, ``[cycle]``.
    one_c
        Current of 1C, A.
    """
    n, i, q = (np.asarray(one, dtype=np.float64) for one in (cycle, current, capacity))
    good = np.isfinite(i) & np.isfinite(q)
    n, i, q = n[good], i[good], q[good]
    groups: list[list[int]] = []
    for place in range(n.size):
        if groups and abs(i[place] / i[groups[-1][0]] - 1) <= _SAME_RATE:
            groups[-1].append(place)
        else:
            groups.append([place])
    start = float(q[groups[0]].mean()) if groups else np.nan
    return tuple(_rate(n, i, q, group, (start, one_c or np.nan)) for group in groups)


def _rate(n: Array, i: Array, q: Array, group: Sequence[int], scale: tuple[float, float]) -> Rate:
    current, capacity = float(i[group].mean()), float(q[group].mean())
    spread = float(q[group].std(ddof=1)) if len(group) > 1 else np.nan
    ends = int(n[group[0]]), int(n[group[-1]])
    return Rate(current, current / scale[1], *ends, len(group), capacity, spread, capacity / scale[0])


@dataclass(frozen=True, eq=False)
class Slippage:
    """End points of cycles and how they wander.

    Attributes
    ----------
    charge_end, discharge_end
        Charge at the ends of charge and discharge since the first cycle began, Ah, ``[cycle]``.
    charge_slip, discharge_slip
        Change per cycle with its standard uncertainty, Ah.
    """

    charge_end: Array
    discharge_end: Array
    charge_slip: Estimate
    discharge_slip: Estimate


def slippage_of(charge: ArrayLike, discharge: ArrayLike, *, skip: int = 0) -> Slippage:
    """End points from charges and discharges of cycles in a row, Ah; slopes without the first ``skip`` cycles.

    The steps of end points are independent where their values are not: the slope is the mean step.

    Raises
    ------
    MeasurementError
        If a charge or discharge is not known, or fewer than 3 cycles are left.
    """
    c, d = np.asarray(charge, dtype=np.float64), np.asarray(discharge, dtype=np.float64)
    known: NDArray[np.bool_] = np.isfinite(c) & np.isfinite(d)
    if not known.all() or c.size - skip < 3:
        raise MeasurementError(
            "end points need every charge and discharge of cycles in a row",
            expected="3 complete cycles or more",
            found=f"{int(known.sum())} complete of {c.size}, the first {skip} of them skipped",
            cure="leave out the incomplete first or last cycle",
        )
    left = np.cumsum(c - d)
    end = left + d
    return Slippage(end, left, *(_mean_step(points[skip:]) for points in (end, left)))


def _mean_step(points: Array) -> Estimate:
    step = np.diff(points)
    return Estimate(float(step.mean()), float(step.std(ddof=1) / np.sqrt(step.size)))
