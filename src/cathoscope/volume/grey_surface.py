"""Surface from the grey values: for flat sheets, which thirteen directions and a threshold measure less well.

The integral of the slope of the grey value across a flat face is the step between pore and solid, however blurred the
face is. So the area is the integral of the slope along the normal over the volume, over the step (the coarea formula).
The normal is that of a smoother volume, which keeps the sum linear in the grey values: noise adds scatter and no area.
"""

from __future__ import annotations

from math import isfinite

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.volume.checks import checked_mask, checked_voxel

_SMOOTHING = 2.0  # sigma for the normals, in longest edges of a voxel
_FLATTEST = 0.02  # slope of the smoother volume, steps per longest edge, below which there is no face
_NOISE_PER_FACE, _NOISE_PER_BALL = 1.0, 500.0  # variance over that of the noise: per voxel face of area, and per ball
_BIAS = 0.01  # of a flat face, relative: what noise leaves, and the ends of the volume


@njit(cache=True, nogil=True)
def _gradient(values, place, edges):  # type: ignore[no-untyped-def]
    """Gradient by differences of both neighbours; of one and the voxel itself at the end of the volume."""
    z, y, x = place
    nz, ny, nx = values.shape
    z0, z1 = max(z - 1, 0), min(z + 1, nz - 1)
    y0, y1 = max(y - 1, 0), min(y + 1, ny - 1)
    x0, x1 = max(x - 1, 0), min(x + 1, nx - 1)
    return (
        (values[z1, y, x] - values[z0, y, x]) / ((z1 - z0) * edges[0]),
        (values[z, y1, x] - values[z, y0, x]) / ((y1 - y0) * edges[1]),
        (values[z, y, x1] - values[z, y, x0]) / ((x1 - x0) * edges[2]),
    )


@njit(cache=True, nogil=True)
def sum_slopes(grey, smooth, region, edges, flattest):  # type: ignore[no-untyped-def]
    """Sum over the voxels of ``region`` of the slope of ``grey`` along the gradient of ``smooth`` if that is steep."""
    nz, ny, nx = grey.shape
    total = 0.0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if region[z, y, x] == 0:
                    continue
                a = _gradient(smooth, (z, y, x), edges)
                steep = np.sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2])
                if steep > flattest:
                    b = _gradient(grey, (z, y, x), edges)
                    total += (a[0] * b[0] + a[1] * b[1] + a[2] * b[2]) / steep
    return total


def grey_surface(
    grey: NDArray[np.floating],
    *,
    contrast: Estimate,
    voxel_size: tuple[float, float, float],
    region: NDArray[np.bool_] | None = None,
    noise_std: float = 0.0,
) -> Estimate:
    """Area (um2) of the faces between two grey levels, of any orientation, from the partial volumes at them.

    A surface of principal radii r1, r2 reads low by sigma^2 (1 / r1^2 + 1 / r2^2) / 2 of itself, sigma being the blur
    of the volume; a sheet thinner than about three times the blur reads low as it is shallow (its volume over its width
    is better). Take `functionals` for bodies of a few voxels.

    Parameters
    ----------
    grey
        Grey volume [z, y, x], not clipped.
    contrast
        Solid minus pore level, with its uncertainties.
    voxel_size
        Edges of a voxel (um; z, y, x).
    region
        Where to look, bool [z, y, x].
    noise_std
        Standard deviation of the (white) noise of a voxel, unit of the grey.

    Raises
    ------
    MeasurementError
        If the grey holds NaN or is no volume, the contrast is not positive, or the region does not fit.
    """
    voxel, values = checked_voxel(voxel_size), np.asarray(grey, dtype=np.float32)
    if values.ndim != 3 or min(values.shape, default=0) < 2 or not np.isfinite(values).all():
        raise MeasurementError(
            "the grey volume cannot be used",
            expected="finite numbers [z, y, x], two voxels or more each way",
            found=f"shape {values.shape}" if np.isfinite(values).all() else "NaN or infinite voxels",
            cure="replace them with the level of the pore",
        )
    if not (isfinite(contrast.value) and contrast.value > 0):
        raise MeasurementError(
            "the contrast must be positive", expected="solid minus pore level", found=f"{contrast.value:g}",
            cure="if the solid is dark, give the negative of the grey volume",
        )  # fmt: skip
    looked = np.ones(values.shape, dtype=bool) if region is None else checked_mask("region", region, like=values)
    longest = max(voxel)
    smooth = gaussian_filter(values, [_SMOOTHING * longest / edge for edge in voxel], mode="nearest", truncate=3.0)
    slopes = sum_slopes(values, smooth, looked.view(np.uint8), voxel, _FLATTEST * contrast.value / longest)
    cell = float(np.prod(voxel))
    area, face = float(slopes) * cell / contrast.value, cell ** (2 / 3)
    variance = (_NOISE_PER_FACE * abs(area) / face + _NOISE_PER_BALL) * (noise_std / contrast.value) ** 2
    return Estimate(
        area,
        float(np.hypot(face * variance**0.5, area * contrast.std / contrast.value)),
        abs(area) * float(np.hypot(_BIAS, contrast.systematic / contrast.value)),
    )
