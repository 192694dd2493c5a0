"""Compiled sums over neighbouring voxels."""

from __future__ import annotations

from numba import njit


@njit(cache=True, nogil=True)
def add_steps(volume, every, ends, square, number):  # type: ignore[no-untyped-def]
    """Add squares and number of the steps between neighbours to classes of their mean grey value between ``ends``.

    Of every so many planes; along all three axes.
    """
    n_z, n_y, n_x = volume.shape
    low, scale = ends[0], square.size / (ends[1] - ends[0])
    for z in range(0, n_z, every):
        for y in range(n_y):
            for x in range(n_x):
                here = volume[z, y, x]
                for axis in range(3):
                    a, b, c = z + (axis == 0), y + (axis == 1), x + (axis == 2)
                    if a == n_z or b == n_y or c == n_x:
                        continue
                    there = volume[a, b, c]
                    place = (0.5 * (here + there) - low) * scale
                    if 0 <= place < square.size:
                        k = int(place)
                        square[k] += (there - here) ** 2
                        number[k] += 1.0
