"""Files of sections and mosaics: which images they hold, how large a pixel is, where the stage was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import label
from cathoscope.flow.graph import Context
from cathoscope.flow.raw import RawMeasurement, SetAside
from cathoscope.flow.sections import MeasurementSection, MicrographSection
from cathoscope.flow.steps.pixels import pixel_size_of
from cathoscope.io.scale_bar import ScaleBar, caption_rows, read_scale_bar

Floats = NDArray[np.float64]

TECHNIQUES = ("sem-section", "mosaic")
_DIFFERENT = 0.02  # relative, from which scale bar and file contradict each other


def choices_of(section: MeasurementSection) -> MicrographSection:
    """What the recipe says about micrographs, or the defaults."""
    return section.micrograph or MicrographSection()


def arrange_sections(raw: RawMeasurement, opened: Sequence[xr.Dataset]) -> None:
    """One image, or the tiles of a mosaic in the order of their names; the pixel size from the scale bar where neither
    recipe nor file says it.

    Raises
    ------
    MeasurementError
        If a section has several images, or there is neither a pixel size nor a scale bar.
    """
    for scan in opened:
        if raw.section.pixel_size is None and "pixel_size" not in scan.attrs:
            bar = read_scale_bar(page_of(scan), length=choices_of(raw.section).scale_bar)
            scan.attrs["pixel_size"] = bar.pixel
            raw.remarks.append(f"{_name(scan)}: {_words(bar)}")
        raw.remarks.extend(f"{_name(scan)}: {remark}" for remark in scan.attrs.get("remarks", ()))
    if raw.section.technique == "sem-section":
        for scan in opened[1:]:
            raw.set_aside.append(SetAside(_name(scan), f"a section is one image; {_name(opened[0])} is used"))
        raw.scans[()] = opened[0]
        return
    shape = (opened[0].sizes["row"], opened[0].sizes["column"])
    tiles = []
    for scan in opened:
        own = (scan.sizes["row"], scan.sizes["column"])
        if own == shape:
            tiles.append(scan)
        else:
            raw.set_aside.append(SetAside(_name(scan), f"its image is {own} pixels, those of the others {shape}"))
    raw.dims = ("tile",)
    raw.coords["tile"] = label("tile", np.arange(1, len(tiles) + 1), ("tile",))
    raw.scans |= {(index,): scan for index, scan in enumerate(tiles)}


def _name(scan: xr.Dataset) -> str:
    return Path(scan.attrs["source"]).name


def page_of(scan: xr.Dataset) -> NDArray[Any]:
    """The image of a file; of several pages the first."""
    return np.asarray(scan["pages"][0].values)


def _words(bar: ScaleBar) -> str:
    size = f"{1e3 * bar.pixel:.4g} ± {1e3 * bar.pixel_std:.2g} nm"
    return f"pixels of {size} from {bar.found_by}: {bar.text} on {bar.length_px:.1f} pixels"


def stage_of(context: Context, scans: Sequence[xr.Dataset], shape: tuple[int, int], pixel: float) -> Floats:
    """Stated places (y, x; um) of the tiles: the recipe's grid, else the stage's in the files."""
    choices, count = choices_of(context.section), len(scans)
    if count == 1:
        return np.zeros((1, 2))
    if choices.columns is not None:
        if count % choices.columns:
            raise MeasurementError(
                "the tiles do not fill the rows",
                where=context.name,
                expected=f"rows of {choices.columns} tiles",
                found=f"{count} tiles",
            )
        step = np.array(shape) * pixel * (1 - choices.overlap)
        return np.stack(np.divmod(np.arange(count), choices.columns), axis=1) * step
    stated = [scan.attrs.get("stage") for scan in scans]
    if any(one is None for one in stated):
        raise MeasurementError(
            "it is not known where the tiles lie",
            where=context.name,
            expected="places of the stage in the files, or a grid in the recipe",
            found=f"no place in {_name(scans[next(i for i, one in enumerate(stated) if one is None)])}",
            cure="micrograph = { columns = 4, overlap = 0.1 }",
        )
    return np.array([(one[1], one[0]) for one in stated if one is not None], dtype=np.float64)


def pixel_of(context: Context, image: NDArray[Any]) -> tuple[float, float, list[str]]:
    """Size of a pixel, its uncertainty, and what the scale bar says about it."""
    stated = pixel_size_of(context.raw)
    try:
        bar = read_scale_bar(image, length=choices_of(context.section).scale_bar)
    except MeasurementError:
        return stated, 0.0, []
    if abs(bar.pixel / stated - 1) > _DIFFERENT + 3 * bar.pixel_std / bar.pixel:
        return stated, 0.0, [f"the scale bar contradicts the stated {1e3 * stated:.4g} nm: {_words(bar)}"]
    return stated, bar.pixel_std if stated == bar.pixel else 0.0, [f"the scale bar agrees: {_words(bar)}"]


def without_caption(image: NDArray[Any]) -> NDArray[Any]:
    """The image without the strip of text below or above it."""
    caption = caption_rows(image)
    if caption is None:
        return image
    return image[: caption[0]] if caption[1] == image.shape[0] else image[caption[1] :]
