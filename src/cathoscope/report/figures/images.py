"""Images with what an image needs: its extent, a scale bar, one colour bar, limits that ignore outliers."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from cathoscope.report.figures.reading import coordinate
from cathoscope.report.style import add_scale_bar, axis_label

_MOST_PIXELS = 1024  # more than any figure of journal width shows at 300 dpi


def robust_limits(values: NDArray[Any], lower: float = 0.5, upper: float = 99.5) -> tuple[float, float]:
    """Percentiles ``lower`` and ``upper`` of the finite values; never empty."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = (float(limit) for limit in np.percentile(finite, [lower, upper]))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def symmetric_limits(values: NDArray[Any]) -> tuple[float, float]:
    """Limits around zero: the percentile 99.5 of the sizes of the finite values; never empty."""
    finite = np.abs(values[np.isfinite(values)])
    reach = float(np.percentile(finite, 99.5)) if finite.size else 0.0
    return (-reach, reach) if reach > 0 else (-1.0, 1.0)


def extent_of(image: xr.DataArray) -> tuple[tuple[float, float, float, float], str]:
    """Outer edges (left, right, bottom, top) of an image [row dim, column dim] and their unit (px if unlabelled)."""
    sides: list[float] = []
    unit = "um"
    for dim in reversed(image.dims):
        values = coordinate(image, str(dim))
        if values is None or values.dtype.kind not in "fiu":
            unit = "px"
    for dim in reversed(image.dims):
        n = image.sizes[dim]
        values = np.arange(n, dtype=np.float64) if unit == "px" else np.asarray(image[dim].values, np.float64)
        half = 0.5 * (values[-1] - values[0]) / (n - 1) if n > 1 else 0.5
        sides += [float(values[0] - half), float(values[-1] + half)]
    return (sides[0], sides[1], sides[2], sides[3]), unit


def shown_pixels(values: NDArray[Any]) -> NDArray[np.float64]:
    """The image, averaged over blocks if it has more pixels than print shows."""
    values = np.asarray(values, np.float64)
    factor = -(-max(values.shape) // _MOST_PIXELS)
    if factor == 1:
        return values
    rows, columns = (n // factor * factor for n in values.shape)
    blocks = values[:rows, :columns].reshape(rows // factor, factor, columns // factor, factor)
    return np.asarray(blocks.mean(axis=(1, 3)))


def draw_image(
    axes: Axes,
    image: xr.DataArray,
    *,
    colours: Colormap,
    limits: tuple[float, float],
    ticks: bool = True,
    light_bar: bool = False,
) -> AxesImage:
    """Draw an image [row dim, column dim] true to scale with a scale bar; axis labels only with ``ticks``."""
    extent, unit = extent_of(image)
    shown = axes.imshow(
        np.ma.masked_invalid(shown_pixels(image.values)),
        cmap=colours,
        vmin=limits[0],
        vmax=limits[1],
        origin="lower",
        extent=extent,
        aspect="equal",
    )
    vertical, horizontal = map(str, image.dims)
    if ticks:
        axes.set_xlabel(axis_label(horizontal, unit))
        axes.set_ylabel(axis_label(vertical, unit))
    else:
        axes.set_xticks([])
        axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(ticks)
    add_scale_bar(axes, unit=unit, light=light_bar)
    return shown
