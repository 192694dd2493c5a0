"""Scans that do not fit the others of a series: cut short, with flats of another day, at another energy than stated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.flow.raw import RawMeasurement, ScanIndex
from cathoscope.numerics.spread import robust_std
from cathoscope.tomography.series import SeriesGeometry

Floats = NDArray[np.float64]

_FEWEST_SHARE = 0.5  # of the projections of the other scans
_LEAST_ARC = 150.0  # deg; less smears a voxel over many
_SAME_ARC = 0.95  # of that of the other scans
_FLAT_FACTOR = 1.2  # flats and open beam of one scan differ by a few per cent where they were taken together
_SIGMAS = 6.0
_DARKEST_OPEN_BEAM = -0.2  # optical depth
# Of the edge jump. Compared with other temperatures the shape of the edge drops out, and what is left is its shift:
# 0.15 for 1 eV on a coarse grid. A temperature by itself has its white line between two energies: 0.25.
_JUMP_SHARE, _JUMP_SHARE_ALONE = 0.25, 0.5
_MOST_OUT_OF_PLACE = 3  # more say that it is the check that fails
_LARGEST_MISFIT = 4.0  # over that of the other scans
_NAMED = 3


def cut_short(raw: RawMeasurement) -> tuple[dict[ScanIndex, str], list[str]]:
    """Scans that cannot be used because too much of them is missing, with the reason; and remarks on the others."""
    reasons: dict[ScanIndex, str] = {}
    remarks: list[str] = []
    for condition in np.ndindex(raw.shape[:-1]):
        scans = {index: raw.scans[index] for index in sorted(raw.scans) if index[:-1] == condition}
        counts = {index: scan.sizes["projection"] for index, scan in scans.items()}
        arcs = {index: _arc(np.asarray(scan["angle"].values, dtype=np.float64)) for index, scan in scans.items()}
        count, arc = (float(np.median(list(of.values()))) if of else 0.0 for of in (counts, arcs))
        for index in scans:
            if counts[index] < _FEWEST_SHARE * count:
                reasons[index] = f"it has {counts[index]} projections, the other scans {count:g}: it was cut short"
            elif arcs[index] < min(_LEAST_ARC, _SAME_ARC * arc):
                reasons[index] = f"it covers {arcs[index]:.0f} deg, the other scans {arc:.0f} deg: it was cut short"
            elif counts[index] < count:
                remarks.append(
                    f"{file_of(raw, index)}: {counts[index]} projections over {arcs[index]:.0f} deg, "
                    f"the other scans have {count:g} over {arc:.0f} deg; it is used"
                )
    return reasons, remarks


def _arc(angle: Floats) -> float:
    """Degrees that the projections stand for."""
    ordered = np.sort(angle)
    return float(ordered[-1] - ordered[0] + np.median(np.diff(ordered))) if angle.size > 1 else 0.0


def file_of(raw: RawMeasurement, index: ScanIndex) -> str:
    """Name of the file of a scan."""
    return Path(raw.scans[index].attrs["source"]).name


def flats_of_another_day(raw: RawMeasurement, beam: xr.DataArray) -> list[str]:
    """Remarks on scans whose flats do not have the intensity of the beam that their own projections were taken in.

    ``beam`` is the intensity of the open beam beside the specimen relative to the flats, for every projection.
    """
    if "projection" not in beam.dims:  # fixed in the recipe
        return []
    level = {index: float(np.nanmean(beam[index].values)) for index in sorted(raw.scans)}
    known = {index: np.log(value) for index, value in level.items() if np.isfinite(value) and value > 0}
    if len(known) < 3:
        return []
    values = np.array(list(known.values()))
    off = values - np.median(values)
    allowed = max(np.log(_FLAT_FACTOR), _SIGMAS * robust_std(off))
    remarks = []
    for condition in np.ndindex(raw.shape[:-1]):
        far = {
            index: one for index, one in zip(known, off, strict=True) if abs(one) > allowed and index[:-1] == condition
        }
        if far:
            factor = float(np.exp(np.median(np.abs(list(far.values())))))
            files = [file_of(raw, index) for index in far]
            more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
            remarks.append(
                f"{', '.join(files[:_NAMED])}{more}: the flats differ from the open beam of the projections by a "
                f"factor {factor:.2g}, those of the other scans do not: flats of another day?"
            )
    return remarks


def require_open_beam(depth: NDArray[np.floating]) -> None:
    """Check the optical depth [projection, row, column] beside the specimen.

    Raises
    ------
    MeasurementError
        If somewhere it is far below zero in most projections: what was divided by is not the beam.
    """
    some = depth[:: max(len(depth) // 8, 1), :: max(depth.shape[1] // 32, 1)]
    lowest = float(np.median(some, axis=(0, 1)).min())
    if lowest < _DARKEST_OPEN_BEAM:
        raise MeasurementError(
            f"the optical depth beside the specimen is {lowest:.2f}: flats of another day",
            expected=f"about 0, not below {_DARKEST_OPEN_BEAM:g}",
            cure="leave the file out, or let  normalise_beam = true  in [measurement.NAME.tomography]",
        )


def unlike_the_others(geometry: SeriesGeometry) -> dict[int, str]:
    """Scans of a solved series that were suspected of something and turn out not to fit, with the suspicion."""
    misfit = geometry.residual / np.nanmedian(geometry.residual)
    return {
        scan: reason
        for scan, reason in enumerate(geometry.reason)
        if reason is not None and np.isfinite(misfit[scan]) and misfit[scan] > _LARGEST_MISFIT
    }


def absorption_of(depth: NDArray[np.floating]) -> float:
    """Optical depth [projection, row, column] summed over a projection, mean of the projections."""
    return float(depth.sum(axis=(1, 2), dtype=np.float64).mean())


def energies_out_of_place(raw: RawMeasurement, absorption: Mapping[ScanIndex, float], energy: Floats) -> list[str]:
    """Remarks on scans that absorb as no scan between their neighbours in energy should.

    Every scan is compared with a straight line between its neighbours of the same temperature, and this with what
    the other temperatures have there. What is said is a suspicion: the scan is used.
    """
    conditions = list(np.ndindex(raw.shape[:-1]))
    table = np.full((len(conditions), energy.size), np.nan)
    for row, condition in enumerate(conditions):
        for e in range(energy.size):
            if (*condition, e) in raw.scans:
                table[row, e] = absorption.get((*condition, e), np.nan)
    found: list[tuple[tuple[int, int], float]] = []
    for _ in range(_MOST_OUT_OF_PLACE + 1):
        worst = _worst(table, energy)
        if worst is None:
            return [_words(raw, conditions, at, off) for at, off in found]
        found.append(worst)
        table[worst[0]] = np.nan
    return []


def _worst(table: Floats, energy: Floats) -> tuple[tuple[int, int], float] | None:
    """Row and column of a scan that does not fit, and by how many edge jumps; None if all fit.

    A wrong value makes its neighbours look wrong too, some more than itself: it is the one without which the others
    fit best.
    """
    score, bent = _scores(table, energy)
    too_far = np.pad(score > 1.0, ((0, 0), (1, 1)))
    beside = too_far[:, :-2] | too_far[:, 1:-1] | too_far[:, 2:]
    suspects = [(int(row), int(column)) for row, column in np.argwhere(beside & np.isfinite(score))]
    if not suspects:
        return None

    def left_over(place: tuple[int, int]) -> tuple[float, float]:
        """How badly the rest fits without a scan, and how far off that scan is."""
        without = table.copy()
        without[place] = np.nan
        return float(np.nanmax(_scores(without, energy)[0], initial=0.0)), -float(score[place])

    worst = min(suspects, key=left_over)
    return worst, float(bent[worst])


def _scores(table: Floats, energy: Floats) -> tuple[Floats, Floats]:
    """How far every scan is off, 1 being too far, and off its neighbours alone in edge jumps."""
    bent = np.stack([_off_neighbours(row, energy) for row in table])
    score = np.full(bent.shape, np.nan)
    for at, row in enumerate(table):
        apart = [_off_together(row, other, energy) for other in np.delete(table, at, axis=0)]
        known = np.isfinite(apart).any(axis=0) if apart else np.zeros(energy.size, dtype=bool)
        off = np.abs(bent[at]) / _JUMP_SHARE_ALONE
        if known.any():
            off[known] = np.abs(np.nanmedian(np.stack(apart)[:, known], axis=0)) / _JUMP_SHARE
        # of two temperatures that differ, that one is wrong whose scan is farther off its own neighbours
        score[at] = np.where(off > 1.0, off + np.abs(bent[at]), off)
    return score, bent


def _off_together(row: Floats, other: Floats, energy: Floats) -> Floats:
    """How much farther off its neighbours a temperature is than another, at the energies that both have."""
    both = np.isfinite(row) & np.isfinite(other)
    one, two = (_off_neighbours(np.where(both, values, np.nan), energy) for values in (row, other))
    return one - two


def _off_neighbours(values: Floats, energy: Floats) -> Floats:
    """Distance of every value from a straight line between its neighbours, in units of the edge jump."""
    off = np.full(values.size, np.nan)
    known = np.flatnonzero(np.isfinite(values))
    if known.size < 5:
        return off
    chosen, at = values[known], energy[known]
    jump = float(np.ptp(np.quantile(chosen, [0.1, 0.9])))
    share = (at[1:-1] - at[:-2]) / (at[2:] - at[:-2])
    off[known[1:-1]] = (chosen[1:-1] - (1 - share) * chosen[:-2] - share * chosen[2:]) / jump
    return off


def _words(raw: RawMeasurement, conditions: Sequence[ScanIndex], at: tuple[int, int], off: float) -> str:
    index = (*conditions[at[0]], at[1])
    return (
        f"{file_of(raw, index)}: it absorbs {'more' if off > 0 else 'less'} than scans beside its recorded energy, "
        f"by {abs(off):.1f} edge jumps: an energy out of place?"
    )
