"""Checks of a scan on its way to a volume: noise against the photons counted, and what the detector did not see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cathoscope.flow.graph import Context
from cathoscope.flow.steps.aligned import ScanInputs, scan_inputs
from cathoscope.flow.steps.projections import Floats, n_columns_of, n_rows_of, with_halo
from cathoscope.numerics.spread import MAD_TO_STD
from cathoscope.tomography.correct import fill_bad_pixels
from cathoscope.tomography.noise import (
    NoiseMap,
    depth_variance_from_counts,
    noise_std_from_variance,
    noise_std_of_aligned,
)
from cathoscope.tomography.reconstruct import Plan
from cathoscope.tomography.resample import ScanMotion, rows_needed, share_outside

_PHOTONS_ALONE = (0.8, 1.25)  # noise over that of photons which needs no remark
_LARGEST_UNSEEN = 0.01
_MOST_FILES = 5  # named in a remark


def noise_over_photon_noise(
    plan: Plan, inputs: ScanInputs, rows: slice, difference: Floats, inside: NDArray[np.bool_]
) -> float:
    """Noise of the voxels ``inside`` over that of counted photons, nan where that is not known.

    ``difference`` ``[row, y, x]`` is odd minus even projections of the filtered back-projection of ``rows``. One
    count is taken as one photon. With the phase retrieved noise is filtered, and not compared.
    """
    if not noise_is_of_photons(inputs) or not inside.any():
        return float("nan")
    photons = photon_noise_of_rows(plan, inputs, rows).full(difference.shape)[inside]
    return float(MAD_TO_STD * np.median(np.abs(difference[inside])) / np.median(photons))


def noise_is_of_photons(inputs: ScanInputs) -> bool:
    """Whether counts are known, and the noise of their logarithm is not filtered by phase retrieval."""
    return "counts" in inputs.scan.variables and inputs.propagation is None


def photon_noise_of_rows(plan: Plan, inputs: ScanInputs, rows: slice) -> NoiseMap:
    """Noise in 1/um of the reconstruction of a block of rows, from the counts of every pixel."""
    n_rows, motion = n_rows_of(inputs.scan), inputs.motion
    if motion is None:
        variance = _depth_variance(inputs, rows).transpose(1, 0, 2)
        return noise_std_from_variance(plan, variance, inputs.axis, inputs.shift, inputs.pixel_size)
    seen = rows_needed(motion, inputs.angle, rows, n_rows)
    variance = _depth_variance(inputs, seen)
    return noise_std_of_aligned(
        plan, variance, motion, inputs.pixel_size, first_row=seen.start, rows=rows, n_rows=n_rows
    )


def _depth_variance(inputs: ScanInputs, rows: slice) -> Floats:
    """Variance [projection, row, column] of the measured optical depth; bad pixels are as their neighbours."""
    scan = inputs.scan
    wide, inner = with_halo(rows, n_rows_of(scan), 2)
    bad = np.asarray(inputs.bad[wide].values)
    counts, flat, dark = (
        np.asarray(scan[name][:, wide].values, dtype=np.float32) for name in ("counts", "flat_counts", "dark_counts")
    )
    without_light = dark.mean(axis=0)
    counts = fill_bad_pixels(counts - without_light, bad)[:, inner]
    open_beam = fill_bad_pixels((flat.mean(axis=0) - without_light)[None], bad)[0, inner]
    return depth_variance_from_counts(counts=counts, flat=np.maximum(open_beam, 1.0), n_flats=flat.shape[0])


def noise_remarks(ratios: NDArray[np.float64]) -> list[str]:
    """What a person should know of the noise of all scans over that of photons."""
    known = ratios[np.isfinite(ratios)]
    if known.size == 0 or _PHOTONS_ALONE[0] <= np.median(known) <= _PHOTONS_ALONE[1]:
        return []
    return [
        f"noise is not that of photons alone: {np.median(known):.2f} times what the counts say, from {known.min():.2f} "
        f"to {known.max():.2f} over the scans (angles may be few, or a count no photon); the half-sets' noise is used"
    ]


def unseen_share_of(inputs: ScanInputs) -> float:
    """Share of the aligned projections of a scan that lies beyond its detector."""
    return 0.0 if inputs.motion is None else _share(inputs.motion, inputs)


def _share(motion: ScanMotion, inputs: ScanInputs) -> float:
    n_rows, n_columns = n_rows_of(inputs.scan), n_columns_of(inputs.scan)
    return share_outside(motion, inputs.angle, rows=slice(0, n_rows), n_rows=n_rows, n_columns=n_columns)


def unseen_remarks(context: Context, unseen: NDArray[np.float64]) -> list[str]:
    """Names of the files whose specimen drifted so far that a part of the volume's projections was not seen.

    A higher magnification, or an axis that is off the middle at all scans, also brings the rim of the field of view
    beyond the detector, and is no drift.
    """
    drifted: dict[str, float] = {}
    axis = float(np.nanmedian(context.data["rotation_axis"].values))
    for index in sorted(context.raw.scans):
        inputs = scan_inputs(context, index) if unseen[index] > _LARGEST_UNSEEN else None
        if inputs is None or inputs.motion is None:
            continue
        still = np.zeros(inputs.angle.size)
        magnified = ScanMotion(axis, inputs.motion.magnification, (0.0, 0.0, 0.0), still, still)
        share = float(unseen[index]) - _share(magnified, inputs)
        if share > _LARGEST_UNSEEN:
            drifted[Path(inputs.scan.attrs["source"]).name] = share
    worst = sorted(drifted, key=lambda name: -drifted[name])
    if not worst:
        return []
    named = ", ".join(f"{name} ({100 * drifted[name]:.1f} %)" for name in worst[:_MOST_FILES])
    more = f" and {len(worst) - _MOST_FILES} more" if len(worst) > _MOST_FILES else ""
    return [f"drift out of the field of view: of the aligned projections the detector did not see {named}{more}"]
