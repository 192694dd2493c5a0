"""Sections and mosaics from files: what a recipe gives, what the files say, and what is answered where they do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from cathoscope.core.errors import CathoscopeError
from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import Study
from cathoscope.flow.compare import compare
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.run import RunOutcome, run
from cathoscope.virtual.fibsem_files import Header, write_image
from cathoscope.virtual.sections import with_scale_bar

SIDE, RADIUS = 200, 85


def sectors(seed: int = 1) -> np.ndarray:
    """A disk of 24 sectors with grooves between them, 8 bit."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2.0
    radius, turn = np.hypot(y, x), (np.arctan2(y, x) / (2 * np.pi) + 0.5) * 24
    aside = np.abs(turn - np.rint(turn)) / 24 * 2 * np.pi * radius  # px from the nearest border
    solid = (radius < RADIUS) & (radius > 28)
    grey = np.where(solid, 1 - 0.4 * np.exp(-0.5 * (aside / 1.2) ** 2), 0.25)
    return np.clip(170 * (grey + 0.05 * rng.standard_normal(grey.shape)), 0, 255).astype(np.uint8)


def analysed(folder: Path, table: str) -> tuple[Study, RunOutcome]:
    path = folder / "study.toml"
    path.write_text(f'[sample.a]\ncomposition = "LiNiO2"\n[measurement.m]\nsample = "a"\n{table}\n')
    outcome = run(load_recipe(path), folder / "study.zarr", resources=Resources(threads=1), progress=Silent())
    return Study(folder / "study.zarr"), outcome


def test_a_section_with_a_scale_bar_needs_no_size_of_pixels(tmp_path: Path) -> None:
    labelled, bar = with_scale_bar(sectors(), 0.05)
    tifffile.imwrite(tmp_path / "one.tif", labelled)
    study, outcome = analysed(tmp_path, 'technique = "sem-section"\nfiles = "one.tif"')
    assert not outcome.failed
    data = study.read("result", "m")
    assert data["section_image"].shape == (SIDE, SIDE)  # without the caption
    assert float(data["x"][1] - data["x"][0]) == pytest.approx(bar.length / bar.length_px)
    assert data["grain_area"].size == 24
    assert int(data["grain_label"].max()) == 24
    assert float(data["grain_alignment"]) == pytest.approx(1.0, abs=0.01)
    assert data["grain_arrangement"].attrs["flag_meanings"].split()[int(data["grain_arrangement"])] == "rod"
    assert np.abs(data["grain_angle"].values).max() < 10
    centre = np.hypot(data["grain_y"].values, data["grain_x"].values)
    assert np.ptp(centre) < 0.3
    (remark,) = [text for text in study.attributes("raw", "m")["remarks"] if "scale bar" in text or "bar in" in text][
        :1
    ]
    assert "µm" in remark


def test_a_section_without_any_scale_is_answered(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "one.tif", sectors())
    _, outcome = analysed(tmp_path, 'technique = "sem-section"\nfiles = "one.tif"')
    assert "no scale bar" in str(outcome.failed[0].failure)
    assert "pixel_size" in str(outcome.failed[0].failure)


def test_a_scale_bar_that_contradicts_the_recipe_is_told(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "one.tif", with_scale_bar(sectors(), 0.05)[0])
    study, _ = analysed(tmp_path, 'technique = "sem-section"\nfiles = "one.tif"\npixel_size = "70 nm"')
    assert any("contradicts" in text for text in study.attributes("raw", "m")["remarks"])


def tiles_of(folder: Path, *, stage: bool) -> np.ndarray:
    """Four tiles of a field of disks, one of them hollow; true places (px)."""
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:230, :260].astype(float)
    field = 0.3 + 0.25 * ndimage.gaussian_filter(rng.standard_normal(y.shape), 2.0)
    for row, column, radius in ((50, 60, 30), (60, 170, 35), (150, 70, 34), (165, 185, 28)):
        field[np.hypot(y - row, x - column) < radius] = 1
    field[np.hypot(y - 60, x - 170) < 12] = 0.1
    nominal = np.array([(r * 90, c * 100) for r in range(2) for c in range(2)], dtype=float)
    true = nominal + np.rint(rng.normal(0, 2, nominal.shape)) + 6
    for number, (row, column) in enumerate(true.astype(int)):
        image = field[row : row + 120, column : column + 130]
        grey = np.clip(170 * (image + 0.05 * rng.standard_normal(image.shape)), 0, 255).astype(np.uint8)
        place = (nominal[number][1] * 0.1, nominal[number][0] * 0.1)
        path = folder / f"tile_{number}.tif"
        if stage:
            write_image(path, grey, Header(0.1, "field", stage=place))
        else:
            tifffile.imwrite(path, grey)
    return true


@pytest.mark.parametrize("stage", [True, False])
def test_a_mosaic_is_put_together_and_its_particles_measured(tmp_path: Path, stage: bool) -> None:
    true = tiles_of(tmp_path, stage=stage)
    more = "" if stage else '\npixel_size = "100 nm"\nmicrograph = { columns = 2, overlap = 0.24 }'
    study, outcome = analysed(tmp_path, f'technique = "mosaic"\nfiles = "tile_*.tif"{more}')
    assert not outcome.failed
    data = study.read("result", "m")
    place = np.stack([data["tile_y"].values, data["tile_x"].values], axis=1) / 0.1
    np.testing.assert_allclose(place - place.mean(axis=0), true - true.mean(axis=0), atol=0.15)
    assert data["particle_area"].size == 4
    np.testing.assert_allclose(sorted(data["particle_diameter"].values), [5.6, 6.0, 6.8, 7.0], rtol=0.02)
    (hollow,) = np.flatnonzero(data["particle_hollow"].values)
    assert data["particle_diameter"].values[hollow] == pytest.approx(7.0, rel=0.02)
    assert data["particle_porosity"].values[hollow] == pytest.approx(12**2 / 35**2, rel=0.1)
    assert float(data["hollow_share"]) == pytest.approx(0.25)
    study.write("truth", "m", data[["hollow_share", "tile_y", "tile_x"]].drop_attrs(deep=False))
    assert {row.array for row in compare(study)} == {"hollow_share", "tile_y", "tile_x"}


def test_tiles_of_unknown_place_are_answered(tmp_path: Path) -> None:
    tiles_of(tmp_path, stage=False)
    _, outcome = analysed(tmp_path, 'technique = "mosaic"\nfiles = "tile_*.tif"\npixel_size = "100 nm"')
    assert "where the tiles lie" in str(outcome.failed[0].failure)
    assert "columns" in str(outcome.failed[0].failure)


def test_an_unknown_key_is_a_mistake(tmp_path: Path) -> None:
    tiles_of(tmp_path, stage=True)
    with pytest.raises(CathoscopeError, match="micrograph"):
        analysed(tmp_path, 'technique = "mosaic"\nfiles = "tile_*.tif"\nmicrograph = { colums = 2 }')
