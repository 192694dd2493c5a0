"""Tiles of one scene: places, brightness and seams against the truth they were cut from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cathoscope.core.errors import MeasurementError
from cathoscope.volume.mosaic import Placement, place_tiles, stated_in_pixels
from cathoscope.volume.mosaic_image import Shading, blended, mosaic_shape, shading_of

SHAPE, STEP = (72, 88), (46, 60)


class Field:
    """Tiles of a smooth random scene, true places and gains known; noise is the tile's own."""

    def __init__(self, seed: int, *, noise: float = 3.0, blank: tuple[int, ...] = (), bend: float = 0.1) -> None:
        rng = np.random.default_rng(seed)
        scene = 100 + 250 * ndimage.gaussian_filter(rng.standard_normal((220, 260)), 2.5)
        self.scene = ndimage.spline_filter(scene, order=3)
        self.nominal = np.array([(r * STEP[0], c * STEP[1]) for r in range(2) for c in range(2)], dtype=float)
        self.true = self.nominal + rng.normal(0, 2.0, self.nominal.shape)
        self.gain = np.exp(rng.normal(0, 0.03, 4))
        r, c = (np.linspace(-1, 1, n) for n in SHAPE)
        self.bend = np.exp(-bend * (r[:, None] ** 2 + c**2) / 2)
        self.tiles = []
        for number, (y, x) in enumerate(self.true):
            grid = np.mgrid[: SHAPE[0], : SHAPE[1]] + np.array([y + 30, x + 30])[:, None, None]
            clean = ndimage.map_coordinates(self.scene, grid, order=3, prefilter=False)
            if number in blank:
                clean = np.full(SHAPE, 100.0)
            self.tiles.append((clean * self.bend * self.gain[number] + rng.normal(0, noise, SHAPE)).astype(np.float32))

    def place(self) -> Placement:
        return place_tiles(self.tiles.__getitem__, self.nominal, shape=SHAPE, stage_std=2.0)

    def errors(self, found: Placement) -> np.ndarray:
        wrong = found.position - self.true
        return np.asarray(wrong - wrong.mean(axis=0))


def test_places_are_unbiased_and_their_uncertainty_is_honest() -> None:
    errors, pulls = [], []
    for seed in range(6):
        field = Field(seed)
        found = field.place()
        errors.append(field.errors(found))
        pulls.append(errors[-1] / found.std)
    assert np.sqrt(np.mean(np.square(errors))) < 0.05  # of 2 px of the stage
    # four places of which one is given by the others
    assert 0.4 < np.std(pulls) < 1.6
    assert abs(np.mean(errors)) < 1e-9


def test_stage_error_and_links_are_told() -> None:
    field = Field(1)
    found = field.place()
    assert {(link.first, link.second) for link in found.links} == {(0, 1), (0, 2), (1, 3), (2, 3)}
    apart = field.true - field.nominal
    assert found.stage_error == pytest.approx(np.sqrt(((apart - apart.mean(axis=0)) ** 2).mean()), abs=0.05)
    np.testing.assert_allclose(found.position.mean(axis=0), field.nominal.mean(axis=0), atol=1e-9)


def test_a_featureless_tile_stays_where_the_stage_was_told() -> None:
    field = Field(2, blank=(3,))
    found = field.place()
    assert np.abs(field.errors(found)[:3] - field.errors(found)[:3].mean(axis=0)).max() < 0.15
    assert np.abs(found.position[3] - field.nominal[3]).max() < 6.0
    assert found.std[3].min() > 5 * found.std[0].max() or found.std[3].min() > 0.5


def test_gains_and_falling_off_are_found() -> None:
    gains, bends = [], []
    for seed in range(3):
        field = Field(seed)
        shading = shading_of(field.tiles.__getitem__, field.place(), shape=SHAPE)
        gains.append(shading.gain / (field.gain / field.gain.mean()) - 1)
        bends.append(shading.field() / (field.bend / field.bend.mean()) - 1)
    assert np.std(gains) < 0.006  # of 0.03
    assert np.std(bends) < 0.015  # of 0.04


def test_the_mosaic_is_the_scene_without_seams_and_in_bands_the_same() -> None:
    field = Field(3, noise=0.5)
    found = field.place()
    shading = shading_of(field.tiles.__getitem__, found, shape=SHAPE)
    parts = [list(blended(field.tiles.__getitem__, found, shading, shape=SHAPE, band=band)) for band in (17, 999)]
    bands, whole = (np.concatenate([rows for _, rows in part]) for part in parts)
    np.testing.assert_array_equal(bands, whole)
    (rows, columns), first = mosaic_shape(found, SHAPE)
    assert whole.shape == (rows, columns)
    shift = (field.true - found.position).mean(axis=0) + np.array(first) + 30
    grid = np.mgrid[:rows, :columns] + shift[:, None, None]
    truth = ndimage.map_coordinates(field.scene, grid, order=3, prefilter=False)
    inner = np.isfinite(whole)
    inner[:8] = inner[-8:] = inner[:, :8] = inner[:, -8:] = False
    scale = np.median(whole[inner] / truth[inner])  # one grey scale is as good as another
    assert np.std(whole[inner] / scale - truth[inner]) < 1.0
    assert np.std(truth[inner]) > 20


def test_one_tile_is_where_it_is() -> None:
    field = Field(1)
    found = place_tiles(field.tiles.__getitem__, [[3.0, 4.0]], shape=SHAPE)
    np.testing.assert_array_equal(found.position, [[3.0, 4.0]])
    flat = Shading(np.ones(1), np.zeros(5), SHAPE)
    ((rows, image),) = blended(field.tiles.__getitem__, found, flat, shape=SHAPE)
    assert rows == slice(0, SHAPE[0])
    np.testing.assert_allclose(image, field.tiles[0], rtol=1e-5)


def test_tiles_without_overlap_or_likeness_are_refused() -> None:
    field = Field(1)
    with pytest.raises(MeasurementError, match="do not overlap") as caught:
        place_tiles(field.tiles.__getitem__, field.nominal * 3, shape=SHAPE)
    assert caught.value.cure
    noise = np.random.default_rng(0).normal(100, 10, (4, *SHAPE)).astype(np.float32)
    with pytest.raises(MeasurementError, match="no overlap shows the same"):
        place_tiles(noise.__getitem__, field.nominal, shape=SHAPE, stage_std=1.0)
    with pytest.raises(MeasurementError, match="places of the tiles"):
        place_tiles(field.tiles.__getitem__, [[0.0, np.nan]], shape=SHAPE)
    with pytest.raises(MeasurementError, match="size of the pixels"):
        stated_in_pixels([[0, 0]], pixel=0.0)
