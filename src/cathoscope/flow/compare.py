"""Join ``result/`` with ``truth/``: bias, error and pull of every array that is in both."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from cathoscope.core.errors import StudyError
from cathoscope.core.schema import spec_of
from cathoscope.core.study import Study, chunk_shape

Values = npt.NDArray[Any]


@dataclass(frozen=True)
class Comparison:
    """One array against its truth.

    ``bias`` is the mean of result minus truth, ``rmse`` its root mean square, both in ``unit``. The
    pull is (result - truth) / sigma: an honest sigma gives mean 0 and width 1. For a mask, ``bias``
    is the relative error of its volume and ``rmse`` the share of voxels that differ.
    """

    measurement: str
    array: str
    unit: str
    n: int
    bias: float
    rmse: float
    pull_mean: float | None
    pull_width: float | None
    note: str

    def record(self) -> dict[str, Any]:
        """The row as JSON-ready values."""
        return asdict(self)


@dataclass
class _Sums:
    n: int = 0
    error: float = 0.0
    square: float = 0.0
    pulls: int = 0
    pull: float = 0.0
    pull_square: float = 0.0

    def add(self, error: Values, std: Values | None) -> None:
        """Count errors, and their pulls where sigma is known and positive."""
        self.n += error.size
        self.error += float(error.sum())
        self.square += float((error**2).sum())
        if std is not None:
            usable = std > 0
            pull = error[usable] / std[usable]
            self.pulls += pull.size
            self.pull += float(pull.sum())
            self.pull_square += float((pull**2).sum())


def compare(study: Study) -> list[Comparison]:
    """Every array of ``truth/`` that ``result/`` has too.

    Raises
    ------
    StudyError
        If the study has no truth, or none of it has a result yet.
    """
    rows = []
    for measurement in study.measurements("truth"):
        truth = study.truth(measurement)
        if measurement in study.measurements("result"):
            result = study.read("result", measurement)
            truth = _at_scans_of(result, truth, measurement)
            both = sorted(set(map(str, truth.data_vars)) & set(map(str, result.data_vars)))
            rows += [_compare_array(measurement, name, result, truth) for name in both if name not in _LABELS]
    if not rows:
        has_truth = bool(study.measurements("truth"))
        raise StudyError(
            "nothing to compare",
            where=study.path,
            found="no results yet" if has_truth else "no truth: this study was measured, not simulated",
            cure="run the recipe first: cathoscope run RECIPE" if has_truth else None,
        )
    return rows


# Simulated scans are further apart than this, and estimated energies closer.
_SAME_SCAN = 0.5  # eV, degC or cycles


def _at_scans_of(result: xr.Dataset, truth: xr.Dataset, measurement: str) -> xr.Dataset:
    """The truth at the temperatures and energies that were used; scans may have been set aside."""
    for dim in ("temperature", "energy", "cycle", "record"):
        if dim in result.indexes and dim in truth.indexes:
            try:
                truth = truth.sel({dim: result[dim].values}, method="nearest", tolerance=_SAME_SCAN)
            except KeyError:
                raise StudyError(
                    f"{measurement}: the truth does not hold every {dim} of the results",
                    expected=f"{dim} among {truth[dim].values.tolist()}",
                    found=f"{result[dim].values.tolist()}",
                    cure="run the recipe that the simulation wrote",
                ) from None
            truth = truth.assign_coords({dim: result[dim]})
    return truth


# Arrays that name things rather than measure them.
_LABELS = ("angle", "white_line_flag", "particle", "grain_label")


def _compare_array(measurement: str, name: str, result: xr.Dataset, truth: xr.Dataset) -> Comparison:
    spec = spec_of(name)
    if result.get(f"{name}_std", result[name]).attrs.get("std_source") == "stated":
        # One number in the recipe holds for every projection.
        result = result.assign({name: result[name].broadcast_like(truth[name]).transpose(*truth[name].dims)})
    if result[name].dims != truth[name].dims or result[name].shape != truth[name].shape:
        raise StudyError(
            f"{measurement}: {name} and its truth have different shapes",
            expected=f"{truth[name].dims} {truth[name].shape}",
            found=f"{result[name].dims} {result[name].shape}",
            cure="run the recipe that the simulation wrote",
        )
    if spec.kind == "b":
        return _compare_mask(measurement, name, result, truth)
    sums, share = _Sums(), _Sums()
    for estimate, true, std, good in _pieces(name, result, truth):
        usable = np.isfinite(estimate) & np.isfinite(true)
        share.add(usable[np.isfinite(true)] & good[np.isfinite(true)], None)
        usable &= good
        sums.add((estimate - true)[usable].astype(np.float64), None if std is None else std[usable].astype(np.float64))
    note = "" if share.n == sums.n else f"{100 * (1 - sums.n / max(share.n, 1)):.1f} % without a trusted value"
    note = _UNOBSERVABLE.get(name, note)
    return _row(measurement, name, sums, note)


def _row(measurement: str, name: str, sums: _Sums, note: str) -> Comparison:
    if sums.n == 0:
        return Comparison(measurement, name, spec_of(name).unit, 0, np.nan, np.nan, None, None, "no value in common")
    pull_mean = sums.pull / sums.pulls if sums.pulls else None
    pull_width = None
    if sums.pulls > 1 and pull_mean is not None:
        pull_width = float(np.sqrt(max(sums.pull_square / sums.pulls - pull_mean**2, 0.0)))
    bias, rmse = sums.error / sums.n, float(np.sqrt(sums.square / sums.n))
    return Comparison(measurement, name, spec_of(name).unit, sums.n, bias, rmse, pull_mean, pull_width, note)


def _pieces(name: str, result: xr.Dataset, truth: xr.Dataset) -> Iterator[tuple[Values, Values, Values | None, Values]]:
    """Result, truth, sigma and trust, one leading index after the other so that memory stays small."""
    std = std_of(result, name)
    flag = result.get("white_line_flag") if name == "white_line_energy" else None
    # what is compared without a mean is small, and its mean is taken over all of it
    whole = (tuple(slice(None) for _ in result[name].dims),)
    for block in whole if name in _UNOBSERVABLE else _blocks(result[name]):
        estimate, true = np.atleast_1d(result[name][block].values), np.atleast_1d(truth[name][block].values)
        if name in ("specimen_shift", "vertical_shift"):
            estimate, true = _without_mean(name, estimate), _without_mean(name, true)
        if name == "projection_shift":
            angle = np.deg2rad(result["angle"][block].values)
            estimate, true = _without_object_motion(estimate, angle), _without_object_motion(true, angle)
        good = np.ones(estimate.shape, bool) if flag is None else np.atleast_1d(flag[block].values) == 0
        sigma = np.atleast_1d(std[block].values) if std is not None and std.dims == result[name].dims else None
        yield estimate, true, sigma, good


def std_of(result: xr.Dataset, name: str) -> xr.DataArray | None:
    """The standard uncertainty of an array; of energies of bulk spectra with that of their calibration, kept apart."""
    std = result.get(f"{name}_std")
    shift = result.get("energy_shift_std")
    if std is None or shift is None or name == "energy_shift" or spec_of(name).unit != "eV" or std.dims != shift.dims:
        return std
    return std.copy(data=np.hypot(std.values, np.nan_to_num(shift.values)))


def _without_mean(name: str, values: Values) -> Values:
    """Without the mean over projections, or over the energies of a temperature: it moves the object."""
    axis = -1 if name == "vertical_shift" else -2
    return np.asarray(values - np.nanmean(values, axis=axis, keepdims=True))


def _blocks(array: xr.DataArray) -> Iterator[tuple[slice, ...]]:
    """Parts of an array that read each stored chunk once: whole rows of chunks, so that size hardly matters."""
    dims = tuple(map(str, array.dims))
    chunks = chunk_shape(dims, array.shape)
    steps = [size if dim in _WHOLE else chunk for dim, size, chunk in zip(dims, array.shape, chunks, strict=True)]
    starts = [range(0, size, step) for size, step in zip(array.shape, steps, strict=True)]
    for corner in itertools.product(*starts):
        yield tuple(slice(start, start + step) for start, step in zip(corner, steps, strict=True))


_UNOBSERVABLE = {
    "projection_shift": "mean, cosine and sine of the angle removed: they move the object, not the projections",
    "vertical_shift": "mean removed: it moves the object, not the projections",
    "specimen_shift": "mean over the energies removed: where the object lies is a convention",
}
_WHOLE = ("x", "row", "column", "projection")


def _without_object_motion(shift: Values, angle: Values) -> Values:
    """The jitter without what a displaced object or axis would do as well (constant, cosine, sine)."""
    out = np.full(shift.shape, np.nan)
    for scan in np.ndindex(shift.shape[:-1]):
        there = np.isfinite(shift[scan]) & np.isfinite(angle[scan])
        theta, values = angle[scan][there], shift[scan][there]
        basis = np.stack([np.ones(theta.size), np.cos(theta), np.sin(theta)], axis=1)
        coefficients, *_ = np.linalg.lstsq(basis, values, rcond=None)
        out[scan][there] = values - basis @ coefficients
    return out


def _compare_mask(measurement: str, name: str, result: xr.Dataset, truth: xr.Dataset) -> Comparison:
    there, true, both = 0, 0, 0
    n = int(np.prod(result[name].shape))
    for block in _blocks(result[name]):
        found, expected = result[name][block].values, truth[name][block].values
        there, true, both = there + found.sum(), true + expected.sum(), both + (found & expected).sum()
    volume_error = float(there / true - 1) if true else np.nan
    dice = 2 * both / max(there + true, 1)
    differing = float((there + true - 2 * both) / n)
    return Comparison(measurement, name, "1", n, volume_error, differing, None, None, f"Dice overlap {dice:.3f}")
