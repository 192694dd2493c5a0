"""Etched sections and mosaics show what their truth says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError
from cathoscope.core.study import Study
from cathoscope.virtual import sections
from cathoscope.virtual.fibsem_files import Header, eight_bit, write_image
from cathoscope.virtual.grains import draw_grains
from cathoscope.virtual.mosaic import MosaicOptions, Scene, draw_scene, draw_tiles, measured, true_field
from cathoscope.virtual.particle import GRAVEL, ROD, ParticleDesign
from cathoscope.virtual.section_study import SECTION_PRESETS, SectionPlan, SectionSize, simulate_sections
from cathoscope.virtual.sections import SectionOptions, etched_section, with_scale_bar

CLEAN = SectionOptions(pixel=0.03, electrons=1e9, blur=0.0, grain_contrast=0.0, groove=0.4)
SMALL_ROD = replace(ROD, diameter=5.0, core_radius=1.0, aspect=3.0, crack_share=0.0, crack_share_surface=0.0)
MOSAIC = MosaicOptions(tiles=(2, 2), tile=(128, 128), stage_error=0.0, gain_spread=0.0, vignetting=0.0, overlap=0.25)


def ball(diameter: float, *, core: float = 0.0, cracks: float = 0.0) -> ParticleDesign:
    shares = {"crack_share": cracks, "crack_share_surface": cracks, "crack_opening": 0.15 if cracks else 0.0}
    return replace(GRAVEL, diameter=diameter, core_radius=core, grain_size=1.0, **shares)


# -- etched sections ------------------------------------------------------------------------------


def test_boundaries_are_dark_grooves_of_the_stated_depth() -> None:
    grains = draw_grains(SMALL_ROD, 1)
    made = etched_section(grains, CLEAN, seed=1)
    image = made.image[: made.solid.shape[0]] / CLEAN.white
    oxide = made.solid > 0.999
    known = oxide & np.isfinite(made.distance)
    expected = 1 - 0.4 * np.exp(-0.5 * (made.distance / CLEAN.groove_width) ** 2)
    np.testing.assert_allclose(image[known], expected[known], atol=0.6 / CLEAN.white)
    assert np.median(image[known & (made.distance < 0.005)]) < 0.65
    assert np.median(image[known & (made.distance > 0.1)]) > 0.99


def test_labels_are_the_grains_and_the_hollow_is_empty() -> None:
    grains = draw_grains(SMALL_ROD, 1)
    made = etched_section(grains, CLEAN, seed=1)
    middle = made.labels.shape[0] // 2
    assert made.labels[middle, middle] == 0
    assert made.solid[middle, middle] == 0
    area = (made.labels > 0).sum() * CLEAN.pixel**2
    assert area == pytest.approx(np.pi * (2.5**2 - 1.0**2), rel=0.06)  # rough and aspherical


def test_grains_differ_by_the_stated_contrast_and_noise_by_the_electrons() -> None:
    grains = draw_grains(replace(SMALL_ROD, grain_size=0.4), 1)
    made = etched_section(grains, replace(CLEAN, groove=0.0, grain_contrast=0.05), seed=1)
    image = made.image[: made.solid.shape[0]] / CLEAN.white
    inner = (made.distance > 0.06) & (made.solid > 0.999)
    means = [image[inner & (made.labels == label)].mean() for label in np.unique(made.labels[inner])]
    assert np.std(means) == pytest.approx(0.05, rel=0.3)
    noisy = etched_section(grains, replace(CLEAN, groove=0.0, electrons=100.0), seed=1)
    grey = noisy.image[: made.solid.shape[0]][inner] / CLEAN.white
    assert grey.std() == pytest.approx(0.1, rel=0.05)


def letters_of(strip: NDArray[np.uint8], dots: int) -> str:
    """Text of a strip, by matching the matrix of each letter."""
    rows = (strip[dots : 8 * dots : dots, 2 * dots :: dots] > 0).astype(int)
    known = {tuple(glyph): letter for letter, glyph in sections._GLYPHS.items()}
    text = ""
    for start in range(0, rows.shape[1] - 5, 6):
        glyph = tuple(int("".join(map(str, row)), 2) for row in rows[:, start : start + 5])
        text += known.get(glyph, "?")
    return text.strip()


@pytest.mark.parametrize(
    ("columns", "pixel", "length", "text"),
    [(600, 0.0135, 1.0, "1 µm"), (600, 0.03, 2.0, "2 µm"), (500, 0.1, 10.0, "10 µm"), (400, 0.004, 0.2, "200 nm")],
)
def test_the_scale_bar_has_the_length_that_its_text_states(
    columns: int, pixel: float, length: float, text: str
) -> None:
    image = np.full((columns, columns), 90, dtype=np.uint8)
    labelled, bar = with_scale_bar(image, pixel)
    assert (bar.length, bar.text) == (length, text)
    np.testing.assert_array_equal(labelled[:columns], image)
    row = labelled[bar.row + bar.thickness // 2]
    lit = np.flatnonzero(row == 255)
    assert (lit[0], lit.size) == (bar.column, bar.length_px)
    assert lit.size == lit[-1] - lit[0] + 1
    assert abs(bar.length_px * pixel - length) <= pixel / 2
    assert letters_of(labelled[columns:], bar.column // 2) == text


def test_impossible_sections_are_refused() -> None:
    grains = draw_grains(SMALL_ROD, 1)
    with pytest.raises(CathoscopeError, match="misses the particle"):
        etched_section(grains, CLEAN, seed=1, z=3.0)
    with pytest.raises(CathoscopeError, match="pixel") as caught:
        SectionOptions(pixel=0.0)
    assert caught.value.cure
    with pytest.raises(CathoscopeError, match="too small"):
        with_scale_bar(np.zeros((10, 10), dtype=np.uint8), 0.1)


# -- mosaics --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scene() -> Scene:
    population = (ball(4.0), ball(5.0, cracks=0.4), ball(6.0, core=1.8))
    return draw_scene(replace(MOSAIC, tiles=(3, 3)), seed=3, population=population)


def test_overlapping_tiles_show_the_same(scene: Scene) -> None:
    options = replace(MOSAIC, electrons=1e9, blur=0.0)
    tiles = {tile.place: tile for tile in draw_tiles(scene, options, seed=1)}
    step = round(options.steps[0] / options.pixel)
    left, right, below = tiles[0, 0].image, tiles[0, 1].image, tiles[1, 0].image
    np.testing.assert_allclose(left[:, step:].astype(int), right[:, : 128 - step], atol=1)
    np.testing.assert_allclose(left[step:].astype(int), below[: 128 - step], atol=1)


def test_tiles_are_the_field_at_their_true_place(scene: Scene) -> None:
    options = replace(MOSAIC, electrons=1e9, blur=0.0, texture=0.0, stage_error=0.4)
    fine = replace(options, pixel=options.pixel / 4, tile=(512, 512))
    _, oxide = true_field(scene, fine)
    tile = draw_tiles(scene, options, seed=1)[3]
    assert np.abs(np.subtract(tile.true, tile.nominal)).max() > 0.05
    rows, columns = (np.rint((start + np.arange(128) * options.pixel) / fine.pixel).astype(int) for start in tile.true)
    inside = (rows >= 0) & (rows < oxide.shape[0])
    across = (columns >= 0) & (columns < oxide.shape[1])
    seen = tile.image[np.ix_(inside, across)] / options.white > 0.65
    truth = oxide[np.ix_(rows[inside], columns[across])] > 0.5
    assert (seen == truth).mean() > 0.985  # a field displaced by 0.4 um would agree far less
    shifted = oxide[np.ix_(rows[inside][:-8], columns[across])] > 0.5
    assert (seen[8:] == shifted).mean() < 0.97


def test_stage_errors_and_gains_have_the_stated_size(scene: Scene) -> None:
    empty = replace(MOSAIC, tiles=(12, 12), tile=(4, 4), stage_error=0.3, gain_spread=0.05)
    tiles = draw_tiles(Scene((), scene.waves), empty, seed=1)
    errors = np.array([np.subtract(tile.true, tile.nominal) for tile in tiles])
    assert errors.std() == pytest.approx(0.3, rel=0.1)
    assert np.std([tile.gain for tile in tiles]) == pytest.approx(0.05, rel=0.2)


def test_truth_of_the_particles_is_that_of_the_field(scene: Scene) -> None:
    options = replace(MOSAIC, tiles=(3, 3))
    labels, oxide = true_field(scene, options)
    table = measured(scene, options)
    whole = [row for row in table if row.whole]
    assert len(whole) > 10
    for row in whole:
        mine = labels == row.number
        assert mine.sum() * options.pixel**2 == pytest.approx(np.pi / 4 * row.section_diameter**2, rel=0.06, abs=0.2)
        assert oxide[mine].mean() == pytest.approx(1 - row.porosity, abs=0.03)
        assert row.section_diameter < 1.08 * row.diameter
    assert {row.cracked for row in table} == {True, False}
    assert {row.hollow for row in table} == {True, False}
    assert all(row.diameter == 6.0 for row in table if row.hollow)
    assert all(row.diameter == 5.0 for row in table if row.cracked)
    hollow = next(row for row in whole if row.hollow)
    assert oxide[round(hollow.y / options.pixel), round(hollow.x / options.pixel)] == 0


def test_particles_do_not_overlap_and_cover_what_is_asked(scene: Scene) -> None:
    options = replace(MOSAIC, tiles=(3, 3))
    labels, _ = true_field(scene, options)
    assert (labels > 0).mean() == pytest.approx(options.coverage, abs=0.12)
    members = scene.members
    for one in range(len(members)):
        for other in range(one):
            gap = np.hypot(*np.subtract(members[one].centre, members[other].centre))
            sizes = [np.sqrt(m.grains.outer.mean_radius**2 - m.height**2) for m in (members[one], members[other])]
            assert gap > sum(sizes)


@pytest.mark.parametrize("wrong", [{"pixel": 0.0}, {"overlap": 0.7}, {"coverage": 0.9}, {"tiles": (0, 1)}])
def test_impossible_mosaics_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(CathoscopeError, match=next(iter(wrong))) as caught:
        replace(MOSAIC, **wrong)
    assert caught.value.cure


# -- files ----------------------------------------------------------------------------------------


def test_files_say_what_a_microscope_says(tmp_path: Path) -> None:
    image = np.arange(200, dtype=np.uint8).reshape(10, 20)
    header = Header(
        0.0135, "mine", slice_number=3, slice_z=0.057, thickness=0.019, cycle=3, stage=(1.5, -2.0), note="x"
    )
    write_image(tmp_path / "a" / "one.tif", image, header)
    write_image(tmp_path / "a" / "stack.tif", np.stack([image, image + 1]), header)
    with tifffile.TiffFile(tmp_path / "a" / "one.tif") as file:
        page = file.pages[0]
        np.testing.assert_array_equal(page.asarray(), image)
        top, bottom = page.tags["XResolution"].value
        assert bottom / top * 1e4 == pytest.approx(0.0135)
        assert page.tags["ResolutionUnit"].value == 3
        description = page.tags["ImageDescription"].value
        assert "Image Pixel Size = 13.5 nm\n" in description
        assert "Slice Position = 57 nm\n" in description
        assert "cycle 3" in description
        block = str(file.pages[0].tags[34118].value)
    for word in ("mine", "Stage", "cycle 3"):
        assert word in block
    assert tifffile.imread(tmp_path / "a" / "stack.tif").shape == (2, 10, 20)
    assert not list(tmp_path.rglob("*.part"))


def test_grey_values_are_cut_at_the_ends_of_the_scale() -> None:
    np.testing.assert_array_equal(eight_bit(np.array([-0.1, 0.0, 1.0, 3.0]), 170.0), [0, 0, 170, 255])


def test_a_study_of_sections_leaves_images_and_truth(tmp_path: Path) -> None:
    preset = replace(
        SECTION_PRESETS["sections"],
        samples={"rod": SMALL_ROD},
        population=(ball(4.0), ball(5.0, core=1.2)),
        mosaic=replace(MOSAIC, tile=(96, 96)),
    )
    plan = SectionPlan(preset, SectionSize(0.05, 0.1, (2, 1)), seed=1)
    made = simulate_sections(Study.create(tmp_path / "study.zarr"), plan)
    assert [one.technique for one in made] == ["sem-section", "mosaic"]
    for one in made:
        assert list(tmp_path.glob(one.pattern))
    with h5py.File(tmp_path / "truth" / "rod-1-section.h5") as file:
        assert file.attrs["scale_bar_text"] == "1 µm"
        rows = tifffile.imread(tmp_path / "raw" / "rod-1" / "section.tif").shape[0]
        assert file["grain_label"].shape[0] < rows
        assert file["scale_bar_length"].attrs["units"] == "um"
    with h5py.File(tmp_path / "truth" / "mosaic.h5") as file:
        assert file["tile_true"].shape == (2, 2)
        assert file["particle/y"].shape[0] == file["particle_label"][:].max()
