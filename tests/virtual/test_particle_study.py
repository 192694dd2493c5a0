"""One plan makes one study, byte for byte; it fits where it was announced, and impossible plans are refused."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cathoscope.core.errors import CathoscopeError
from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import Study
from cathoscope.io import open_raw
from cathoscope.physics.edges import FOIL_ENERGY
from cathoscope.virtual.nickel import xanes_energies
from cathoscope.virtual.particle import ParticleDesign
from cathoscope.virtual.particle_presets import PARTICLE_PRESETS, Experiment, ParticlePreset, Size, size_of
from cathoscope.virtual.particle_study import (
    Plan,
    draw_placements,
    heated_particle,
    require_within,
    simulate_heating,
)
from cathoscope.virtual.particle_truth import AT_INSTRUMENT
from cathoscope.virtual.recipe_outline import Simulated
from cathoscope.virtual.txm import TxmOptions

CRACKED = {"crack_share": 0.2, "crack_share_surface": 0.06, "crack_opening": 0.06}
ROD = ParticleDesign("rod", diameter=3.0, core_radius=0.6, aspect=4.0, alignment=0.97, **CRACKED)
GRAVEL = ParticleDesign("gravel", diameter=3.0, core_radius=0.6, **CRACKED)
TINY = Size(24, 24, 12, energies=30, cells=20)
EXPERIMENT = Experiment(options=TxmOptions(axis_offset=0.4))


def plan_of(temperatures: tuple[float, ...] = (25.0, 150.0), seed: int = 5, **samples: ParticleDesign) -> Plan:
    preset = ParticlePreset("for tests", samples or {"rod": ROD, "gravel": GRAVEL}, {"tiny": TINY}, 5.6, temperatures)
    return Plan(replace(preset, experiment=EXPERIMENT), TINY, seed)


class Listener(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.remarks: list[str] = []

    def remark(self, text: str) -> None:
        self.remarks.append(text)


Made = tuple[Study, list[Simulated]]
Maker = Callable[..., Made]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    def simulate(plan: Plan, resources: Resources | None = None, progress: Silent | None = None) -> Made:
        study = Study.create(tmp_path_factory.mktemp("made") / "study.zarr")
        return study, simulate_heating(study, plan, resources=resources, progress=progress)

    return simulate


@pytest.fixture(scope="module")
def listener() -> Listener:
    return Listener()


@pytest.fixture(scope="module")
def made(make: Maker, listener: Listener) -> Made:
    return make(plan_of(), progress=listener)


@pytest.fixture(scope="module")
def gravel_at_25(make: Maker) -> Study:
    return make(plan_of((25.0,), gravel=GRAVEL))[0]


def fingerprints(study: Study, of: str = "") -> dict[str, str]:
    """Hashes of raw files and truth, by path, of one measurement or all."""
    folder = study.path.parent
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and of in path.as_posix()]
    kept = [path for path in files if "raw" in path.parts or "truth" in path.parts]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


def of_particles(simulated: list[Simulated]) -> list[Simulated]:
    """All measurements but the foil."""
    return [one for one in simulated if one.particle is not None]


def raw_files(study: Study, one: Simulated, temperature: float) -> list[Path]:
    assert not isinstance(one.patterns, str)
    return sorted(study.path.parent.glob(one.patterns[temperature]))


# -- one plan, one study -------------------------------------------------------------------------


def test_threads_and_memory_change_no_byte(make: Maker, made: Made) -> None:
    tight = Resources(threads=2)
    object.__setattr__(tight, "memory", 1e6)  # so little that every slab is as thin as can be
    other = make(plan_of(), resources=tight)
    assert len(fingerprints(made[0])) > 200
    assert fingerprints(other[0]) == fingerprints(made[0])
    assert other[1] == made[1]


class Stopper(Silent):
    """Stops the simulation at a step of a stage."""

    def __init__(self, stage: str, step: int) -> None:
        self.stage, self.left, self.now = stage, step, ""

    def start(self, label: str, total: int, unit: str) -> None:
        self.now = label

    def advance(self, units: int = 1) -> None:
        self.left -= units * (self.now == self.stage)
        if self.left < 0:
            raise KeyboardInterrupt


# The scans of two particles at two temperatures are some 70 steps for each; the true maps 6 slabs.
@pytest.mark.parametrize(("stage", "step"), [("exposing", 55), ("exposing", 90), ("true maps", 4)])
def test_a_stopped_simulation_goes_on_and_ends_the_same(made: Made, tmp_path: Path, stage: str, step: int) -> None:
    study = Study.create(tmp_path / "study.zarr")
    with pytest.raises(KeyboardInterrupt):
        simulate_heating(study, plan_of(), progress=Stopper(stage, step))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("raw/*/*.h5")}
    assert not list(tmp_path.glob("raw/*/*.part"))
    assert simulate_heating(study, plan_of()) == made[1]
    assert fingerprints(study) == fingerprints(made[0])
    assert len(before) in (30, 60, 90)
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize("stage", ["true maps", "never"])
def test_nothing_of_another_plan_is_kept(gravel_at_25: Study, tmp_path: Path, stage: str) -> None:
    study = Study.create(tmp_path / "study.zarr")
    with pytest.raises(KeyboardInterrupt) if stage != "never" else nullcontext():
        simulate_heating(study, plan_of((25.0,), seed=6, gravel=GRAVEL), progress=Stopper(stage, 2))
    simulate_heating(study, plan_of((25.0,), gravel=GRAVEL))
    assert fingerprints(study) == fingerprints(gravel_at_25)


def test_scans_of_another_plan_do_not_stay_beside_the_new_ones(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study.zarr")
    simulate_heating(study, plan_of((25.0,), rod=ROD, gravel=GRAVEL))
    (one, _) = simulate_heating(study, plan_of((25.0,), gravel=GRAVEL))
    assert len(raw_files(study, one, 25.0)) == 30


def test_temperatures_that_would_share_a_folder_are_refused() -> None:
    with pytest.raises(CathoscopeError, match="differ by 1 degC"):
        plan_of((25.2, 25.4))


def test_a_sample_is_the_same_alone_as_in_company(make: Maker, made: Made) -> None:
    alone, _ = make(plan_of(rod=ROD))
    assert fingerprints(alone, "rod-1") == fingerprints(made[0], "rod-1")
    assert not fingerprints(alone, "gravel-1")


def test_another_seed_makes_other_counts_but_the_same_files(make: Maker, gravel_at_25: Study) -> None:
    one, two = fingerprints(gravel_at_25), fingerprints(make(plan_of((25.0,), seed=6, gravel=GRAVEL))[0])
    scans = [name for name in one if name.endswith(".h5")]
    assert one.keys() - two.keys() == set()
    assert len(scans) == 30
    assert all(one[name] != two[name] for name in scans)


def test_particles_of_one_sample_differ_and_are_numbered(make: Maker) -> None:
    study, simulated = make(replace(plan_of((25.0,), gravel=GRAVEL), particles=2), resources=Resources(threads=2))
    assert [(one.name, one.sample, one.particle) for one in of_particles(simulated)] == [
        ("gravel-1", "gravel", 1),
        ("gravel-2", "gravel", 2),
    ]
    maps = []
    for one in of_particles(simulated):
        for group in ("truth", AT_INSTRUMENT):
            assert int(study.read(group, one.name)["particle"]) == one.particle
        maps.append(study.read("truth", one.name))
    assert maps[0].sizes["grain"] != maps[1].sizes["grain"] or not np.array_equal(
        maps[0]["grain_c_axis"], maps[1]["grain_c_axis"]
    )
    assert not np.array_equal(maps[0]["solid_fraction"], maps[1]["solid_fraction"])


def test_scans_of_all_measurements_have_numbers_of_their_own(made: Made) -> None:
    study, simulated = made
    names = [path.name for one in of_particles(simulated) for t in (25.0, 150.0) for path in raw_files(study, one, t)]
    assert len(set(names)) == len(names) == 2 * 2 * 30


# -- what is on disk -----------------------------------------------------------------------------


def test_raw_files_read_as_what_was_scanned(made: Made) -> None:
    study, simulated = made
    for one in of_particles(simulated):
        files = raw_files(study, one, 150.0)
        found = [open_raw(path) for path in files]
        energies = [float(data["energy"]) for data in found]
        np.testing.assert_allclose(sorted(energies), xanes_energies(30), atol=1e-6)
        truth = study.read("truth", one.name)
        for data, energy in zip(found, energies, strict=True):
            assert data["counts"].sizes == {"projection": 12, "row": 24, "column": 24}
            scale = float(truth["magnification"].sel(temperature=150.0, energy=energy))
            assert data.attrs["pixel_size"] == pytest.approx(5.6 / 24 / scale, rel=1e-5)
            angles = truth["angle"].sel(temperature=150.0, energy=energy).values
            np.testing.assert_allclose(data["angle"].values, angles, atol=0.1)
            assert data["angle"].values[0] == pytest.approx(0, abs=0.1)


def test_the_particle_dims_the_beam_where_it_is(made: Made) -> None:
    study, simulated = made
    data = open_raw(raw_files(study, simulated[0], 25.0)[-1])
    flat, dark = (data[name].mean(axis=0).values for name in ("flat_counts", "dark_counts"))
    passed = (data["counts"].values - dark) / np.maximum(flat - dark, 1)
    middle, rim = passed[:, 9:15, 9:15], passed[:, :, :2]
    assert np.median(middle) < 0.95
    assert np.median(rim) == pytest.approx(1, abs=0.05)


def test_a_foil_lies_beside_every_temperature(made: Made) -> None:
    study, simulated = made
    foil = simulated[-1]
    assert (foil.technique, foil.particle) == ("xas", None)
    assert isinstance(foil.patterns, tuple)
    files = [study.path.parent / path for path in foil.patterns]
    assert files == sorted(study.path.parent.glob("raw/*/foil.xdi"))
    beside = {raw_files(study, one, t)[0].parent for one in of_particles(simulated) for t in (25.0, 150.0)}
    assert {path.parent for path in files} == beside
    assert len({path.read_bytes() for path in files}) == len(files) == 4
    shifts = study.read("truth", foil.name)["energy_shift"].values
    for path, shift in zip(files, shifts, strict=True):
        data = open_raw(path)
        slope = np.gradient(data["absorption"].values[0], data["scan_energy"].values[0])
        steepest = float(data["scan_energy"].values[0][slope.argmax()])
        assert steepest + shift == pytest.approx(FOIL_ENERGY["Ni"], abs=1.5)  # points are 0.4 eV apart


def test_no_more_is_written_than_was_announced(made: Made, listener: Listener) -> None:
    study, _ = made
    announced = [re.fullmatch(r"up to (\S+) GB will be written to (.*)", remark) for remark in listener.remarks]
    assert len(announced) == 1
    assert announced[0] is not None
    assert announced[0][2] == str(study.path.parent)
    scans = sum(path.stat().st_size for path in (study.path.parent / "raw").rglob("*.h5"))
    truth = sum(path.stat().st_size for path in (study.path / "truth").rglob("*") if path.is_file())
    assert 0.3 < (scans + truth) / (float(announced[0][1]) * 1e9) <= 1


def test_measurements_are_described_for_the_recipe(made: Made) -> None:
    rod, gravel = of_particles(made[1])
    assert (rod.name, rod.sample, rod.particle, rod.technique) == ("rod-1", "rod", 1, "xanes-tomography")
    assert gravel.composition == "Li0.3Ni0.8Mn0.1Co0.1O2"
    for one in (rod, gravel):
        assert not isinstance(one.patterns, str)
        assert list(one.patterns) == [25.0, 150.0]
        for temperature in one.patterns:
            assert len(raw_files(made[0], one, temperature)) == 30


def test_truth_has_what_the_instrument_did(made: Made) -> None:
    study, simulated = made
    plan = plan_of()
    for one in of_particles(simulated):
        truth = study.read("truth", one.name)
        placements = draw_placements(plan, (one.sample, 1))
        np.testing.assert_allclose(truth["placement_shift"], [placement.shift for placement in placements])
        np.testing.assert_allclose(truth["placement_rotation"], [placement.rotation for placement in placements])
        grains = plan.grains((one.sample, 1))
        np.testing.assert_allclose(truth["grain_c_axis"], grains.c_axis)
        assert truth["grain"].values[0] == 1
        assert int(truth["grain_label"].max()) <= grains.count
        assert truth["specimen_shift"].shape == (2, 30, 3)


# -- plans ---------------------------------------------------------------------------------------


def test_a_particle_depends_on_its_sample_number_and_seed_only() -> None:
    plan = plan_of()
    alone = plan_of(rod=ROD)
    np.testing.assert_array_equal(plan.grains(("rod", 1)).positions, alone.grains(("rod", 1)).positions)
    keys = {plan.key((sample, number), kind) for sample in ("rod", "gravel") for number in (1, 2) for kind in range(5)}
    assert len(keys) == 20
    assert draw_placements(plan, ("rod", 1)) == draw_placements(alone, ("rod", 1))
    assert draw_placements(plan, ("rod", 1)) != draw_placements(plan, ("rod", 2))


def test_jobs_are_all_particles_of_all_samples() -> None:
    plan = replace(plan_of(), particles=3)
    assert plan.jobs == [(sample, number) for sample in ("rod", "gravel") for number in (1, 2, 3)]
    assert plan.fine.columns == 2 * plan.grid.columns
    assert plan.fine.columns * plan.fine.pixel_size == pytest.approx(plan.grid.columns * plan.grid.pixel_size)


@pytest.mark.parametrize(("change", "word"), [({"seed": -1}, "seed"), ({"particles": 0}, "number of particles")])
def test_impossible_plans_are_refused(change: dict[str, int], word: str) -> None:
    with pytest.raises(CathoscopeError, match=word):
        replace(plan_of(), **change)


@pytest.mark.parametrize("scans", [-0.1, 1.0, float("nan")])
def test_scans_begin_within_the_hold(scans: float) -> None:
    with pytest.raises(CathoscopeError, match="within the hold"):
        Experiment(scans=scans)


def test_a_particle_outside_the_field_of_view_is_refused_with_a_diameter_that_fits() -> None:
    plan = plan_of(gravel=replace(GRAVEL, diameter=4.6))
    with pytest.raises(CathoscopeError, match="field of view") as caught:
        heated_particle(plan, ("gravel", 1))
    proposed = re.match(r"diameter=([\d.]+)", str(caught.value.cure))
    assert proposed is not None
    smaller = plan_of(gravel=replace(GRAVEL, diameter=float(proposed[1])))
    moved = max(np.linalg.norm(placement.shift) for placement in draw_placements(smaller, ("gravel", 1)))
    require_within(smaller, smaller.grains(("gravel", 1)), float(moved), EXPERIMENT.options)


def test_a_study_without_room_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study.create(tmp_path / "study.zarr")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(total=1e12, used=0, free=1_000_000))
    with pytest.raises(CathoscopeError, match="do not fit on the disk") as caught:
        simulate_heating(study, plan_of())
    assert "--size" in str(caught.value.cure)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_transport_grid_too_coarse_is_refused() -> None:
    coarse = replace(TINY, cells=12)
    plan = replace(plan_of(), size=coarse)
    with pytest.raises(CathoscopeError, match="transport grid is too coarse") as caught:
        heated_particle(plan, ("rod", 1))
    assert "cells" in str(caught.value.cure)


def test_an_unknown_size_is_refused_with_those_that_are() -> None:
    with pytest.raises(CathoscopeError, match="unknown size 'huge'") as caught:
        size_of(PARTICLE_PRESETS["hou"], "huge")
    assert caught.value.expected == "small or medium or large"
    assert size_of(PARTICLE_PRESETS["hou"], "small").energies == 30


@pytest.mark.parametrize("name", sorted(PARTICLE_PRESETS))
def test_voxels_and_cells_of_every_preset_are_fine_enough(name: str) -> None:
    preset = PARTICLE_PRESETS[name]
    for size in preset.sizes.values():
        for design in preset.samples.values():
            assert size.grid(preset.field_of_view).pixel_size <= 0.6 * design.grain_size
            if preset.temperatures:
                assert design.grain_size >= 2.5 * design.diameter * 1.05 / (size.cells - 2)
