"""Every effect of the FIB/SEM has the size stated, and sections belong to the volume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import h5py
import numpy as np
import pytest
import tifffile
from scipy import ndimage

from cathoscope.core.errors import CathoscopeError
from cathoscope.core.study import Study
from cathoscope.virtual import cycling_study, families, study
from cathoscope.virtual.cycling import H_CYCLING, L_CYCLING, CycledParticle, cycle_particle
from cathoscope.virtual.cycling_study import CyclingPreset, CyclingSize
from cathoscope.virtual.fibsem import (
    CRACK,
    LAYER,
    OUTSIDE,
    OXIDE,
    PORE,
    Cut,
    FibSemOptions,
    Frame,
    _charging,
    _curtains,
    draw_cuts,
    image_slice,
)
from cathoscope.virtual.grains import draw_grains
from cathoscope.virtual.near import near_voxels
from cathoscope.virtual.particle import H_NMC, L_NMC

L_SMALL = replace(L_NMC, diameter=3.0, pore_radius=1.0, isotropic_radius=0.6)
H_SMALL = replace(H_NMC, diameter=3.0, pore_radius=1.1, isotropic_radius=0.6)
PERFECT = FibSemOptions(
    pixel=0.03,
    thickness_spread=0.0,
    drift=0.0,
    gain_spread=0.0,
    offset_spread=0.0,
    background=0.0,
    curtains=0.0,
    shine_through=0.0,
    charging=0.0,
    electrons=np.inf,
    blur=0.0,
)
FRAME = Frame(116, 112)
STILL = Cut(0, 40.0, 0.1, (0.0, 0.0), 1.0, 0.0, (0.0, 0.0), 1.0)


@pytest.fixture(scope="module")
def bulky() -> CycledParticle:
    return cycle_particle(draw_grains(L_SMALL, 2), L_CYCLING, cycles=45)


@pytest.fixture(scope="module")
def web() -> CycledParticle:
    return cycle_particle(draw_grains(H_SMALL, 2), replace(H_CYCLING, opening=0.09, layer=0.003), cycles=45)


# -- sections and volumes -------------------------------------------------------------------------


def test_sections_together_have_the_porosity_of_the_volume(web: CycledParticle) -> None:
    options = replace(PERFECT, pixel=0.05, thickness=0.05)
    cuts = draw_cuts(options, np.full(64, 40.0), first_z=-1.6, seed=(1,))
    slices = [image_slice(web, cut, Frame(68, 68), options, seed=(1,)) for cut in cuts]
    area = np.array([one.section_area for one in slices])
    porosity = np.nan_to_num([one.porosity for one in slices])
    assert np.average(porosity, weights=area) == pytest.approx(web.porosity(40.0), rel=0.02)
    assert area.sum() * options.thickness == pytest.approx(H_SMALL.envelope_volume, rel=0.01)
    # a section is not the volume: the middle is more porous than the rim
    assert porosity[area > 0].std() > 0.01


def test_a_perfect_image_shows_the_levels_of_what_is_there(web: CycledParticle) -> None:
    made = image_slice(web, STILL, FRAME, PERFECT, seed=(1,))
    assert set(np.unique(made.kind)) >= {OUTSIDE, OXIDE, CRACK, LAYER}
    np.testing.assert_allclose(made.image[made.solid > 0.9999], 1, atol=1e-3)
    rows, columns = (np.arange(n) - (n - 1) / 2 for n in FRAME)
    far = np.hypot(rows[:, None], columns) * PERFECT.pixel > 1.05 * 1.5 + 0.1
    np.testing.assert_allclose(made.image[far], PERFECT.outside_level, atol=1e-3)
    assert (made.kind[far] == OUTSIDE).all()
    assert made.porosity == pytest.approx(
        1 - made.solid.sum(dtype=float) * PERFECT.pixel**2 / made.section_area, rel=1e-5
    )


def test_before_cycling_there_are_pores_and_no_cracks(bulky: CycledParticle) -> None:
    fresh = image_slice(bulky, STILL._replace(cycle=0.0), FRAME, PERFECT, seed=(1,))
    assert set(np.unique(fresh.kind)) == {OUTSIDE, OXIDE, PORE}
    later = image_slice(bulky, STILL._replace(cycle=45.0), FRAME, PERFECT, seed=(1,))
    assert (later.kind == CRACK).sum() > 100
    assert later.porosity > fresh.porosity


def test_the_layer_has_the_thickness_of_the_law(web: CycledParticle) -> None:
    spacing = 0.04
    axis = np.arange(-1.7, 1.7, spacing)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    near = near_voxels(web.grains, points, spacing)
    shares = web.shares(near, 40.0, layers=True)
    on_faces, _, on_surface = web.layers(40.0)
    assert on_surface == pytest.approx(0.01 * np.sqrt(40))
    assert on_faces.max() == pytest.approx(0.003 * np.sqrt(40), rel=0.02)
    # a layer along the radius is as thick everywhere
    outer = shares.layer[near.envelope <= 0].sum(dtype=float) + 0.5 * shares.layer[
        (near.envelope > 0) & (near.height > 0)
    ].sum(dtype=float)
    expected = web.network.outer_area * on_surface * (1 + on_surface / 1.5)
    assert outer * spacing**3 == pytest.approx(expected, rel=0.35)
    inner = shares.layer[near.height < -spacing].sum(dtype=float) * spacing**3
    opening = web.openings(40.0)
    walls = float(np.sum(web.network.area * np.minimum(2 * on_faces, opening)))
    # the web's own walls add to it, crossings and the rim take from it
    assert inner == pytest.approx(walls, rel=0.25)


# -- what the instrument does -----------------------------------------------------------------------


def test_walks_have_the_stated_steps() -> None:
    options = FibSemOptions(thickness_spread=0.1, drift=0.8, gain_spread=0.03, offset_spread=0.01, background=0.2)
    cuts = draw_cuts(options, np.zeros(4000), first_z=-2.0, seed=(3,))
    shift, z = np.array([cut.shift for cut in cuts]), np.array([cut.z for cut in cuts])
    steps = np.diff(shift, axis=0)
    assert shift[0] == pytest.approx((0, 0))
    assert steps.std(axis=0) == pytest.approx((0.8, 0.8), rel=0.04)
    assert abs(np.corrcoef(steps[:-1, 0], steps[1:, 0])[0, 1]) < 0.05  # a walk: steps do not remember
    assert (z[0], np.diff(z).min() > 0) == (-2.0, True)
    assert np.diff(z).mean() == pytest.approx(0.019, rel=0.01)
    assert np.diff(z).std() == pytest.approx(0.0019, rel=0.05)
    assert np.std([cut.gain for cut in cuts]) == pytest.approx(0.03, rel=0.06)
    assert np.std([cut.offset for cut in cuts]) == pytest.approx(0.01, rel=0.06)
    np.testing.assert_allclose(np.hypot(*np.array([cut.background for cut in cuts]).T), 0.2)
    charge = np.array([cut.charge for cut in cuts])
    assert np.corrcoef(charge[:-1], charge[1:])[0, 1] == pytest.approx(0.8, abs=0.04)  # slow
    again = draw_cuts(options, np.zeros(4000), first_z=-2.0, seed=(3,), remounted=3.0)
    put_back = np.diff(np.array([cut.shift for cut in again]), axis=0)
    assert put_back.std() == pytest.approx(np.sqrt(0.8**2 + 2 * 3.0**2), rel=0.05)


def test_drift_moves_the_image_by_whole_and_part_pixels(web: CycledParticle, bulky: CycledParticle) -> None:
    there = image_slice(web, STILL, FRAME, PERFECT, seed=(1,)).image
    moved = image_slice(web, STILL._replace(shift=(3.0, -2.0)), FRAME, PERFECT, seed=(1,)).image
    np.testing.assert_allclose(moved[3:, :-2], there[:-3, 2:], atol=1e-5)
    fresh = STILL._replace(cycle=0.0)
    before, after = (
        ndimage.center_of_mass(image_slice(bulky, cut, FRAME, PERFECT, seed=(1,)).image - PERFECT.outside_level)
        for cut in (fresh, fresh._replace(shift=(0.5, -0.25)))
    )
    assert np.subtract(after, before) == pytest.approx((0.5, -0.25), abs=0.01)


def test_gain_offset_and_background_are_a_factor_and_a_sum(web: CycledParticle) -> None:
    clean = image_slice(web, STILL, FRAME, PERFECT, seed=(1,)).image
    cut = STILL._replace(gain=1.1, offset=0.05, background=(0.2, -0.1))
    made = image_slice(web, cut, FRAME, PERFECT, seed=(1,)).image
    down, across = np.linspace(-0.5, 0.5, FRAME.rows)[:, None], np.linspace(-0.5, 0.5, FRAME.columns)
    np.testing.assert_allclose(made, clean * 1.1 * (1 + 0.2 * down - 0.1 * across) + 0.05, rtol=1e-5)


def test_noise_is_that_of_counted_electrons(web: CycledParticle) -> None:
    clean = image_slice(web, STILL, FRAME, PERFECT, seed=(1,)).image
    noisy = image_slice(web, STILL, FRAME, replace(PERFECT, electrons=100.0), seed=(1,)).image
    pull = (noisy - clean) / np.sqrt(clean / 100.0)
    assert pull.mean() == pytest.approx(0, abs=0.03)
    assert pull.std() == pytest.approx(1, abs=0.03)
    assert abs(np.corrcoef(pull[:, 1:].ravel(), pull[:, :-1].ravel())[0, 1]) < 0.03


def test_blur_widens_an_edge_by_its_variance(bulky: CycledParticle) -> None:
    cut = STILL._replace(cycle=0.0)

    def variance(blur: float) -> float:
        """Of the derivative of the image across the left edge of the particle."""
        image = image_slice(bulky, cut, FRAME, replace(PERFECT, blur=blur), seed=(1,)).image
        rise = np.diff(image[FRAME.rows // 2, : FRAME.columns // 4].astype(float))
        at = np.arange(rise.size)
        middle = np.average(at, weights=rise)
        return float(np.average((at - middle) ** 2, weights=rise))

    assert variance(2.0) - variance(0.0) == pytest.approx(4.0, rel=0.1)


def test_curtains_begin_below_voids_and_fade() -> None:
    options = replace(PERFECT, curtains=0.08, curtain_length=0.9, curtain_width=0.06)
    void = np.zeros((80, 4000), dtype=np.float32)
    void[10:20] = 1
    curtain = _curtains(void, options, np.random.default_rng(1))
    assert (curtain[:20] == 0).all()
    assert curtain[20].std() == pytest.approx(0.08, rel=0.06)
    np.testing.assert_allclose(curtain[50], curtain[20] * np.exp(-30 * 0.03 / 0.9), atol=1e-6)
    spectrum = np.corrcoef(curtain[20][2:], curtain[20][:-2])[0, 1]
    assert spectrum == pytest.approx(np.exp(-(2**2) / (4 * 2**2)), abs=0.08)  # stripes 2 px wide


def test_shine_through_is_the_back_of_the_void(bulky: CycledParticle) -> None:
    options = replace(PERFECT, shine_through=0.6, shine_depth=0.3)
    cut = STILL._replace(cycle=0.0, z=0.0)
    made = image_slice(bulky, cut, FRAME, options, seed=(1,))
    clean = image_slice(bulky, cut, FRAME, PERFECT, seed=(1,))
    seen = np.isfinite(made.depth)
    assert seen.sum() > 50
    whole = seen & (clean.solid == 0) & (clean.kind == PORE)
    added = (made.image - clean.image)[whole]
    np.testing.assert_allclose(added, 0.6 * np.exp(-made.depth[whole] / 0.3), rtol=1e-4)
    # the back is oxide and what is before it is not
    step = 3 * 0.3 / 8
    rows, columns = np.nonzero(whole)
    place = np.stack([columns - (FRAME.columns - 1) / 2, rows - (FRAME.rows - 1) / 2], axis=1) * options.pixel
    for shift, is_oxide in ((step / 2, True), (-step / 2, False)):
        points = np.column_stack([place, made.depth[whole] + shift])
        solid = bulky.shares(near_voxels(bulky.grains, points, options.pixel), 0.0).solid
        assert ((solid >= 0.5) == is_oxide).mean() > 0.97
    assert (np.isnan(made.depth) | (made.depth < 3 * 0.3)).all()


def test_charging_brightens_oxide_beside_voids() -> None:
    options = replace(PERFECT, charging=0.2, charge_width=0.06, charge_tail=1e-4)
    void = np.zeros((40, 101))
    void[:, 50:] = 1
    charge = _charging(void, STILL._replace(charge=1.5), options)
    edge = (charge[20, 49] + charge[20, 50]) / 2
    assert edge == pytest.approx(0.2 * 1.5, rel=0.01)
    assert charge[20, :40].max() < 1e-3
    tail = _charging(void[:, ::-1], STILL, replace(options, charge_tail=0.3))
    # after the void the scan line keeps half of its charge, which falls to 1/e in the length stated
    assert tail[20, 75] / tail[20, 65] == pytest.approx(np.exp(-10 * 0.03 / 0.3), rel=0.02)


def test_the_same_slice_is_the_same_whenever_it_is_made(web: CycledParticle) -> None:
    options = FibSemOptions(pixel=0.05)
    cuts = draw_cuts(options, np.arange(3.0), first_z=0.0, seed=(4,))
    frame = Frame(70, 70)
    forward = [image_slice(web, cut, frame, options, seed=(4,)).image for cut in cuts]
    backward = [image_slice(web, cut, frame, options, seed=(4,)).image for cut in cuts[::-1]]
    for one, other in zip(forward, backward[::-1], strict=True):
        np.testing.assert_array_equal(one, other)
    assert (image_slice(web, cuts[0], frame, options, seed=(5,)).image != forward[0]).any()


@pytest.mark.parametrize(
    "wrong", [{"pixel": 0.0}, {"drift": -1.0}, {"electrons": np.nan}, {"background": 2.0}, {"blur": np.inf}]
)
def test_impossible_instruments_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(CathoscopeError, match=next(iter(wrong))) as caught:
        FibSemOptions(**wrong)
    assert caught.value.cure


# -- a whole study --------------------------------------------------------------------------------

TINY = CyclingPreset(
    "tiny",
    MappingProxyType({"H-NMC": (H_SMALL, replace(H_CYCLING, opening=0.09))}),
    MappingProxyType({"tiny": CyclingSize(0.06, 0.08, 3)}),
    cycles=4,
    stacks=(0, 4),
)


def test_a_study_leaves_images_truth_and_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cycled = families.family_of("cadiou-cycling")
    assert cycled is not None
    monkeypatch.setattr(families, "FAMILIES", (cycled._replace(presets={"tiny": TINY}),))
    recipe = study.simulate_study("tiny", size="tiny", seed=1, folder=tmp_path)
    files = sorted(path.relative_to(tmp_path / "raw").as_posix() for path in tmp_path.glob("raw/**/*.tif"))
    assert len(files) == 5 + 2 * 3
    assert files[0] == "H-NMC-1/series/cycle_0000.tif"
    with tifffile.TiffFile(tmp_path / "raw" / files[4]) as file:
        description = file.pages[0].tags["ImageDescription"].value
        shape = file.pages[0].shape
    assert "Slice Position = 76 nm" in description
    assert "User Text = cycle 4" in description
    with h5py.File(tmp_path / "truth" / "H-NMC-1.h5") as file:
        assert file["series/kind"].shape == (5, *shape)
        porosity = file["particle/porosity"][:]
        assert (np.diff(porosity) > 0).all()
        assert file["series/drift"].attrs["units"] == "px"
        assert file["stack-004/z"].shape == (3,)
        np.testing.assert_allclose(file["stack-004/z"][:].mean(), 0, atol=0.03)
        share, area = file["stack-004/porosity"][:], file["stack-004/section_area"][:]
    truth = Study(tmp_path / "study.zarr").read("truth", "H-NMC-1-stack-004")
    assert float(truth["porosity"]) == pytest.approx((share * area).sum() / area.sum())
    assert float(truth["envelope_volume"]) == pytest.approx(0.08 * area.sum())
    text = recipe.read_text()
    assert '[sample.H-NMC]\ncomposition = "LiNi0.86Mn0.04Co0.1O2"' in text
    assert '\ntechnique = "fibsem-series"' in text
    assert '# technique = "fibsem-stack"' in text


def test_threads_do_not_change_a_byte(tmp_path: Path) -> None:
    plan = cycling_study.CyclingPlan(replace(TINY, cycles=2, stacks=()), CyclingSize(0.08, 0.08, 2), seed=3)
    for threads in (1, 2):
        made = Study.create(tmp_path / str(threads) / "study.zarr")
        cycling_study.simulate_cycling(made, plan, resources=cycling_study.Resources(threads=threads))
    one, two = ([path.read_bytes() for path in sorted((tmp_path / name / "raw").rglob("*.tif"))] for name in ("1", "2"))
    assert one == two
    assert len(one) == 3


def test_impossible_studies_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CathoscopeError, match="unknown size 'huge'"):
        study.simulate_study("cadiou-cycling", size="huge", seed=1, folder=tmp_path / "new")
    with pytest.raises(CathoscopeError, match="particles"):
        study.simulate_study("cadiou-cycling", size="small", seed=1, folder=tmp_path / "new", particles=0)
    assert not (tmp_path / "new").exists()
