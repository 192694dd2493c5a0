"""Transmission of spheres onto a detector, ray by ray, from their chords."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cathoscope.virtual.specimen import Grid, SpheresSpecimen


@njit(cache=True, nogil=True)
def _add_optical_depth(  # type: ignore[no-untyped-def]
    optical_depth, sub_pixels, centre, radii, depth_per_pixel
):
    """Add the optical depth of one sphere, all lengths in pixels, to rays ``sub_pixels`` to a pixel and axis."""
    outer = radii[0] * radii[0]
    inner = radii[1] * radii[1]
    n_rows, n_columns = optical_depth.shape
    first_row = max(0, int(np.floor((centre[1] - radii[0] + 0.5) * sub_pixels - 0.5)))
    last_row = min(n_rows, int(np.ceil((centre[1] + radii[0] + 0.5) * sub_pixels - 0.5)) + 1)
    first_column = max(0, int(np.floor((centre[0] - radii[0] + 0.5) * sub_pixels - 0.5)))
    last_column = min(n_columns, int(np.ceil((centre[0] + radii[0] + 0.5) * sub_pixels - 0.5)) + 1)
    for row in range(first_row, last_row):
        up = (row + 0.5) / sub_pixels - 0.5 - centre[1]
        for column in range(first_column, last_column):
            aside = (column + 0.5) / sub_pixels - 0.5 - centre[0]
            squared = up * up + aside * aside
            if squared < outer:
                half_chord = np.sqrt(outer - squared)
                if squared < inner:
                    half_chord -= np.sqrt(inner - squared)
                optical_depth[row, column] += 2.0 * half_chord * depth_per_pixel


@njit(cache=True, nogil=True)
def _transmit(transmission, sub_pixels, centres, radii, depth_per_pixel):  # type: ignore[no-untyped-def]
    """Fill ``transmission`` (projection, row, column) with pixel means of exp(-optical depth)."""
    n_projections, n_rows, n_columns = transmission.shape
    optical_depth = np.empty((n_rows * sub_pixels, n_columns * sub_pixels))
    for projection in range(n_projections):
        optical_depth[:] = 0.0
        for sphere in range(radii.shape[0]):
            _add_optical_depth(
                optical_depth, sub_pixels, centres[projection, sphere], radii[sphere], depth_per_pixel[sphere]
            )
        for row in range(n_rows):
            for column in range(n_columns):
                total = 0.0
                for i in range(row * sub_pixels, (row + 1) * sub_pixels):
                    for j in range(column * sub_pixels, (column + 1) * sub_pixels):
                        depth = optical_depth[i, j]
                        total += np.exp(-depth) if depth > 0.0 else 1.0
                transmission[projection, row, column] = total / (sub_pixels * sub_pixels)


def projected_centres(
    specimen: SpheresSpecimen,
    grid: Grid,
    *,
    angles: NDArray[np.float64],
    axis_column: NDArray[np.float64],
    row_shift: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Where the centres of the spheres fall on the detector, shape (projection, sphere, 2): column and row.

    column = axis_column + (x cos(theta) + y sin(theta)) / pixel_size; rows grow with z.

    Parameters
    ----------
    specimen, grid
        What is projected, and onto what.
    angles
        Rotation angle of every projection, degrees.
    axis_column
        Column of the rotation axis in every projection, jitter included.
    row_shift
        Rows by which every projection is displaced.
    """
    x, y, z = np.array([sphere.centre for sphere in specimen.spheres]).T / grid.pixel_size
    theta = np.radians(angles)[:, None]
    columns = axis_column[:, None] + x * np.cos(theta) + y * np.sin(theta)
    rows = row_shift[:, None] + (grid.rows - 1) / 2 + z
    return np.stack(np.broadcast_arrays(columns, rows), axis=-1)


def transmission(
    specimen: SpheresSpecimen,
    grid: Grid,
    *,
    attenuation: NDArray[np.float64],
    centres: NDArray[np.float64],
    sub_pixels: int,
    kernel: Any = _transmit,
) -> NDArray[np.float64]:
    """Transmitted over incident intensity, averaged over the area of each pixel.

    Parameters
    ----------
    specimen, grid
        What is projected, and onto what.
    attenuation
        One value (1/um) per sphere.
    centres
        As `projected_centres` returns them.
    sub_pixels
        Rays per pixel along each axis; their intensities, not their optical depths, are averaged.
    kernel
        The compiled loop, or ``_transmit.py_func``.

    Returns
    -------
    Array of shape (projection, row, column).
    """
    radii = np.array([(sphere.radius, sphere.inner_radius) for sphere in specimen.spheres]) / grid.pixel_size
    result = np.empty((centres.shape[0], grid.rows, grid.columns))
    kernel(result, sub_pixels, np.ascontiguousarray(centres), radii, attenuation * grid.pixel_size)
    return result
