"""Nano-CT of particles with a core and a shell: readable files, attenuation by composition, porosity as designed."""

from __future__ import annotations

import hashlib
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cathoscope.core.errors import CathoscopeError
from cathoscope.core.parallel import Resources
from cathoscope.core.study import Study
from cathoscope.io import open_raw
from cathoscope.virtual.cycling import H_CYCLING, cycle_particle
from cathoscope.virtual.particle import H_NMC, L_NMC, ParticleDesign
from cathoscope.virtual.particle_presets import PARTICLE_PRESETS, ParticlePreset, Size
from cathoscope.virtual.particle_study import Plan
from cathoscope.virtual.particle_truth import AT_INSTRUMENT
from cathoscope.virtual.pristine_study import ENERGY, PristineParticle, oxide_attenuation, simulate_nano_ct
from cathoscope.virtual.recipe_outline import Simulated
from cathoscope.virtual.specimen import Grid
from tests.virtual.stereology import volume_fractions

SMALL = Size(40, 40, 16)
ROD = ParticleDesign("rod", diameter=3.6, aspect=2.5, alignment=0.5, pore_radius=1.6)
DESIGNS = {
    "L-NMC": replace(
        ROD,
        porosity=0.12,
        pore_shape="bulky",
        core_composition=L_NMC.core_composition,
        shell_composition=L_NMC.shell_composition,
        shell_start=L_NMC.shell_start,
    ),
    "H-NMC": replace(
        ROD,
        porosity=0.05,
        pore_shape="spider-web",
        core_composition=H_NMC.core_composition,
        shell_composition=H_NMC.shell_composition,
        shell_start=H_NMC.shell_start,
    ),
}
COMPACT = ParticleDesign("gravel", diameter=3.0)


def plan_of(seed: int = 3, particles: int = 1, size: Size = SMALL, **designs: ParticleDesign) -> Plan:
    preset = ParticlePreset(
        "for tests",
        designs or {"L-NMC": DESIGNS["L-NMC"]},
        {"small": size},
        5.6,
        experiment=PARTICLE_PRESETS["cadiou"].experiment,
    )
    return Plan(preset, size, seed, particles)


Made = tuple[Study, list[Simulated]]
Maker = Callable[..., Made]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    def simulate(plan: Plan, threads: int = 1) -> Made:
        study = Study.create(tmp_path_factory.mktemp("made") / "study.zarr")
        return study, simulate_nano_ct(study, plan, resources=Resources(threads=threads))

    return simulate


@pytest.fixture(scope="module")
def made(make: Maker) -> Made:
    return make(plan_of(**DESIGNS))


def raw_file(study: Study, one: Simulated) -> Path:
    assert isinstance(one.patterns, str)
    (path,) = study.path.parent.glob(one.patterns)
    return path


def fingerprints(study: Study) -> dict[str, str]:
    folder = study.path.parent
    kept = [path for path in sorted(folder.rglob("*")) if path.is_file() and {"raw", "truth"} & set(path.parts)]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


# -- composition ---------------------------------------------------------------------------------


def test_more_nickel_absorbs_more_above_its_edge() -> None:
    nickel = [0.4, 0.6, 0.8, 1.0]
    values = [oxide_attenuation({"Ni": share, "Mn": (1 - share) / 2, "Co": (1 - share) / 2}) for share in nickel]
    assert (np.diff(values) > 0).all()


@pytest.mark.parametrize("name", ["L-NMC", "H-NMC"])
def test_the_core_absorbs_as_its_composition_and_more_than_the_shell(name: str) -> None:
    design = replace(DESIGNS[name], porosity=0.0, pore_shape="none")
    plan = plan_of(**{name: design})
    particle = PristineParticle(plan.grains((name, 1)), plan.fine)
    volume = particle.slices(0, slice(0, 80))[..., 0]
    points, filled = particle.voxels(slice(0, 80))
    relative = np.linalg.norm(points, axis=-1) / particle.grains.outer_radius(points)
    full = filled.fraction == 1
    inner, outer = volume[full & (relative < design.shell_start - 0.15)], volume[full & (relative > 0.96)]
    if design.shell_start < 0.9:
        assert inner.mean() == pytest.approx(oxide_attenuation(dict(design.core_composition)), rel=1e-3)
    assert design.shell_composition is not None
    if design.shell_start < 0.8:
        assert outer.mean() == pytest.approx(oxide_attenuation(dict(design.shell_composition)), rel=1e-3)
    assert outer.max() < inner.min()
    assert not volume[relative > 1.1].any()


# -- truth ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["L-NMC", "H-NMC"])
def test_the_porosity_is_the_designed_one(name: str, tmp_path: Path) -> None:
    """On a grid fine enough that counting the voxels of the envelope does not matter."""
    design = DESIGNS[name]
    plan = plan_of(size=Size(72, 72, 4), **{name: design})
    particle = PristineParticle(plan.grains((name, 1)), plan.grid)
    points, filled = particle.voxels(slice(0, 72))
    inside = np.linalg.norm(points, axis=-1) < particle.grains.outer_radius(points)
    rim = filled.fraction[~inside].sum(dtype=float) + (1 - filled.fraction[inside]).sum(dtype=float)
    assert rim > 0
    found = 1 - filled.fraction.sum(dtype=float) * plan.grid.pixel_size**3 / design.envelope_volume
    assert found == pytest.approx(design.porosity, rel=0.05)
    assert volume_fractions(particle.grains)["pore"] == pytest.approx(design.porosity, rel=0.05)


def test_the_stated_porosity_and_volume_are_those_of_the_maps(made: Made) -> None:
    study, simulated = made
    for one in simulated:
        truth = study.read("truth", one.name)
        solid, inside = truth["solid_fraction"].values.sum(dtype=float), int(truth["envelope_mask"].values.sum())
        assert float(truth["porosity"]) == pytest.approx(1 - solid / inside)
        assert float(truth["envelope_volume"]) == pytest.approx(inside * (5.6 / 40) ** 3)
        assert float(truth["porosity"]) == pytest.approx(DESIGNS[one.sample].porosity, abs=0.02)
        np.testing.assert_array_equal(truth["particle_mask"], truth["solid_fraction"].values >= 0.5)
        assert int(truth["particle"]) == 1


def test_after_cycles_the_voxels_are_those_of_the_cycled_particle() -> None:
    """The grid of the network, which counts the porosity of a cycled particle, is another one."""
    plan = plan_of(size=Size(64, 64, 4), **{"H-NMC": DESIGNS["H-NMC"]})
    grains = plan.grains(("H-NMC", 1))
    cycled = cycle_particle(grains, H_CYCLING, cycles=35)
    new, aged = PristineParticle(grains, plan.grid), PristineParticle(grains, plan.grid, cycled, 35)
    points, filled = aged.voxels(slice(0, 64))
    inside = np.linalg.norm(points, axis=-1) < grains.outer_radius(points)
    found = 1 - filled.fraction.sum(dtype=float) / inside.sum()
    assert found == pytest.approx(cycled.porosity(35), abs=0.004)
    assert found > 1.5 * (1 - new.voxels(slice(0, 64))[1].fraction.sum(dtype=float) / inside.sum())
    assert (filled.crack[~inside] < 0.5).all()


def test_the_recipe_states_the_attenuation_that_the_composition_has() -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "cadiou-single-particle.toml"
    tables = tomllib.loads(recipe.read_text("utf-8"))["analysis"]["tomography H-NMC"]
    stated = np.array(tables["morphology"]["composition"])
    radii = np.linspace(0, 1, 51)
    shares = H_NMC.composition(radii)
    true = [oxide_attenuation({metal: float(one[i]) for metal, one in shares.items()}) for i in range(radii.size)]
    found = np.interp(radii, *stated.T)
    np.testing.assert_allclose(found, np.array(true) / true[-1], atol=0.0015)  # of a step of 0.045


def test_a_heated_particle_is_not_cycled() -> None:
    assert replace(PARTICLE_PRESETS["cadiou"], cycle=35).cycle == 35
    with pytest.raises(CathoscopeError, match="not cycled"):
        replace(PARTICLE_PRESETS["hou"], cycle=35)
    with pytest.raises(CathoscopeError, match="backwards"):
        replace(PARTICLE_PRESETS["cadiou"], cycle=-1)


def test_the_blurred_attenuation_keeps_the_sum_of_the_particle(made: Made) -> None:
    study, simulated = made
    plan = plan_of(**DESIGNS)
    for one in simulated:
        seen = study.read(AT_INSTRUMENT, one.name)["attenuation"].values
        sharp = PristineParticle(plan.grains((one.sample, 1)), plan.fine).slices(0, slice(0, 80))
        assert seen.sum(dtype=float) * 8 == pytest.approx(sharp.sum(dtype=float), rel=1e-4)
        assert seen.max() <= sharp.max() * (1 + 1e-6)


# -- files ---------------------------------------------------------------------------------------


def test_raw_files_read_as_data_exchange(made: Made) -> None:
    study, simulated = made
    assert [one.name for one in simulated] == ["L-NMC-1", "H-NMC-1"]
    for one in simulated:
        assert one.technique == "tomography"
        data = open_raw(raw_file(study, one))
        assert data.attrs["format"] == "data_exchange"
        assert data["counts"].sizes == {"projection": 16, "row": 40, "column": 40}
        assert float(data["energy"]) == pytest.approx(ENERGY)
        assert data.attrs["pixel_size"] == pytest.approx(5.6 / 40)
        angles = data["angle"].values
        np.testing.assert_allclose(angles, study.read("truth", one.name)["angle"], atol=0.1)
        assert angles[-1] - angles[0] == pytest.approx(177, abs=0.2)


def test_projections_show_the_line_integrals_of_the_particle(made: Made) -> None:
    """The sum of the optical depth is that of the attenuation, whatever the angle."""
    study, simulated = made
    for one in simulated:
        data = open_raw(raw_file(study, one))
        truth = study.read("truth", one.name)
        flat, dark = (data[name].mean(axis=0).values for name in ("flat_counts", "dark_counts"))
        good = ~truth["bad_pixel_mask"].values
        beam = truth["beam_intensity"].values[:, None, None]
        passed = (data["counts"].values - dark) / np.where(good, flat - dark, 1) / beam
        depth = np.where(good, -np.log(np.clip(passed, 0.05, 20)), 0).sum(axis=(1, 2))
        seen = study.read(AT_INSTRUMENT, one.name)["attenuation"].values
        assert np.median(depth) == pytest.approx(seen.sum(dtype=float) * 5.6 / 40, rel=0.05)


def test_threads_change_no_byte_and_seeds_do(make: Maker) -> None:
    plans = [plan_of(seed=seed, compact=COMPACT) for seed in (3, 3, 4)]
    one, two, other = (make(plan, threads)[0] for plan, threads in zip(plans, (1, 2, 1), strict=True))
    assert fingerprints(one) == fingerprints(two)
    scan = "raw/compact-1/compact-1.h5"
    assert fingerprints(one)[scan] != fingerprints(other)[scan]


# -- refused -------------------------------------------------------------------------------------


def test_a_study_without_room_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study.create(tmp_path / "study.zarr")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(total=1e12, used=0, free=10_000))
    with pytest.raises(CathoscopeError, match="do not fit on the disk"):
        simulate_nano_ct(study, plan_of(compact=COMPACT))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_particle_larger_than_the_detector_is_refused(make: Maker) -> None:
    with pytest.raises(CathoscopeError, match="field of view"):
        make(plan_of(large=replace(COMPACT, diameter=5.4)))


def test_voxels_too_coarse_for_the_grains_are_refused() -> None:
    particle = PristineParticle(plan_of(compact=COMPACT).grains(("compact", 1)), Grid(10, 10, 0.56))
    with pytest.raises(CathoscopeError, match="too coarse for the grains") as caught:
        particle.slices(0, slice(0, 10))
    assert caught.value.cure
