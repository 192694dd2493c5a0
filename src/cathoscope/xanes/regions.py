"""Regions of a volume: shells of a mask by depth below its surface, and the sums of a volume over regions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from cathoscope.core.errors import MeasurementError

Floats = NDArray[np.float64]
Labels = NDArray[np.uint8]


def shells_of_mask(*, mask: NDArray[np.bool_], voxel_size: float, n_shells: int) -> tuple[Labels, Floats]:
    """Number of the shell of every voxel (1 the outermost, 0 outside), and the depths between them.

    The depth of a voxel is the distance from its centre to that of the nearest voxel outside the mask or the volume,
    less half a voxel. Shells hold equal numbers of voxels as nearly as ties allow, so that their mean spectra have
    equal noise.

    Parameters
    ----------
    mask
        [z, y, x].
    voxel_size
        um.
    n_shells
        1 to 255.

    Returns
    -------
    labels
        [z, y, x].
    depth
        um, [shell + 1]: from 0 to the largest depth.

    Raises
    ------
    MeasurementError
        If the mask is empty or has fewer voxels than shells.
    """
    count = int(np.count_nonzero(mask))
    if count < n_shells:
        raise MeasurementError(
            "the mask holds no region",
            expected=f"{n_shells} voxels or more",
            found=f"{count}",
            cure="see edge.threshold",
        )
    labels = np.asarray(mask, dtype=np.uint8)
    if n_shells == 1:
        return labels, np.array([0.0, np.inf])
    distance = np.asarray(distance_transform_edt(np.pad(mask, 1)), dtype=np.float32)[1:-1, 1:-1, 1:-1]
    depth = (distance[mask] - 0.5) * voxel_size
    borders = np.quantile(depth, np.arange(1, n_shells) / n_shells, method="inverted_cdf")
    labels[mask] = 1 + np.searchsorted(borders, depth, side="left")
    return labels, np.array([0.0, *borders, depth.max()], dtype=np.float64)


def sums_over_regions(*, values: NDArray[Any], labels: Labels, n_regions: int) -> tuple[Floats, NDArray[np.int64]]:
    """Sum of the values of each region 1 to ``n_regions``, and their number; what is not finite does not count.

    Parameters
    ----------
    values, labels
        One shape.

    Raises
    ------
    MeasurementError
        If the shapes differ.
    """
    if values.shape != labels.shape:
        raise MeasurementError("regions do not fit the volume", expected=f"{values.shape}", found=f"{labels.shape}")
    flat, known = np.asarray(values, dtype=np.float64).ravel(), np.isfinite(values).ravel()
    of = np.where(known, labels.ravel(), 0).astype(np.int64)
    sums = np.bincount(of, np.where(known, flat, 0.0), n_regions + 1)[1 : n_regions + 1]
    return sums.astype(np.float64), np.bincount(of, minlength=n_regions + 1)[1 : n_regions + 1]
