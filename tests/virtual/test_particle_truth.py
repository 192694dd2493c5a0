"""The truth on disk is the particle: voxel by voxel, blurred as the instrument blurs, whatever the threads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.study import Study
from cathoscope.virtual import particle_truth
from cathoscope.virtual.cracks import crack_opening
from cathoscope.virtual.heated import HeatedParticle
from cathoscope.virtual.heating import HeatingLaw
from cathoscope.virtual.nickel import HIGHEST_WHITE_LINE, LOWEST_WHITE_LINE, valence_from_white_line, xanes_energies
from cathoscope.virtual.particle import ParticleDesign
from cathoscope.virtual.particle_presets import Experiment, ParticlePreset, Size
from cathoscope.virtual.particle_study import WINDOWS, Plan, heated_particle
from cathoscope.virtual.particle_truth import (
    AT_INSTRUMENT,
    Seen,
    binned,
    bytes_of_truth,
    write_truth,
)
from cathoscope.virtual.txm import TxmOptions

LAW = HeatingLaw()
DESIGN = ParticleDesign(
    "gravel", diameter=3.0, core_radius=0.6, crack_share=0.3, crack_share_surface=0.1, crack_opening=0.06
)
TINY = Size(24, 24, 12, energies=30, cells=20)
PLAN = Plan(
    ParticlePreset(
        "for tests",
        {"gravel": DESIGN},
        {"tiny": TINY},
        5.6,
        (25.0, 150.0),
        Experiment(options=TxmOptions(axis_offset=0.4)),
    ),
    TINY,
    5,
)
SEEN = Seen(PLAN.grid, 0.15, xanes_energies(30), WINDOWS, keep_attenuation=True)


@pytest.fixture(scope="module")
def particle() -> HeatedParticle:
    return heated_particle(PLAN, ("gravel", 1))


Writer = Callable[..., Study]


@pytest.fixture(scope="module")
def written(particle: HeatedParticle, tmp_path_factory: pytest.TempPathFactory) -> Writer:
    """Writes the truth of the particle into a new study."""

    def write(seen: Seen = SEEN, threads: int = 1) -> Study:
        study = Study.create(tmp_path_factory.mktemp("truth") / "study.zarr")
        write_truth(study, "gravel-1", particle, LAW, seen, threads=threads)
        return study

    return write


@pytest.fixture(scope="module")
def study(written: Writer) -> Study:
    return written()


@pytest.fixture(scope="module")
def material(study: Study) -> xr.Dataset:
    return study.read("truth", "gravel-1").load()


@pytest.fixture(scope="module")
def seen(study: Study) -> xr.Dataset:
    return study.read(AT_INSTRUMENT, "gravel-1").load()


def fingerprints(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# -- the files -----------------------------------------------------------------------------------


def test_slabs_are_parts_of_the_evaluation_at_once(
    written: Writer, material: xr.Dataset, seen: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(particle_truth, "SLAB_ROWS", 24)
    whole = written()
    for group, data in (("truth", material), (AT_INSTRUMENT, seen)):
        at_once = whole.read(group, "gravel-1").load()
        assert set(at_once) == set(data)
        for name in data:
            np.testing.assert_allclose(data[name], at_once[name], rtol=1e-5, atol=1e-7, err_msg=str(name))


def test_threads_write_the_same_files(written: Writer, study: Study) -> None:
    other = written(threads=2)
    assert fingerprints(study.path / "truth") == fingerprints(other.path / "truth")


def test_the_grid_and_the_conditions_are_those_of_the_measurement(material: xr.Dataset, seen: xr.Dataset) -> None:
    for data in (material, seen):
        np.testing.assert_allclose(data["temperature"], [25, 150])
        for axis in ("z", "y", "x"):
            np.testing.assert_allclose(data[axis], PLAN.grid.positions(24))
    np.testing.assert_allclose(seen["energy"], SEEN.energies)
    assert seen["attenuation"].dims == ("temperature", "energy", "z", "y", "x")


def test_attenuation_is_kept_only_when_asked(written: Writer) -> None:
    small = written(replace(SEEN, keep_attenuation=False))
    assert "attenuation" not in small.arrays(AT_INSTRUMENT, "gravel-1")


def test_the_announced_size_is_that_of_the_maps(material: xr.Dataset, seen: xr.Dataset) -> None:
    maps = [one for data in (material, seen) for one in data.data_vars.values() if {"z", "y", "x"} <= set(one.dims)]
    assert bytes_of_truth(SEEN, 2) == sum(one.nbytes for one in maps)
    without = bytes_of_truth(replace(SEEN, keep_attenuation=False), 2)
    assert bytes_of_truth(SEEN, 2) - without == seen["attenuation"].nbytes


# -- material ------------------------------------------------------------------------------------


def test_masks_say_where_oxide_is(material: xr.Dataset) -> None:
    solid = material["solid_fraction"].values
    assert solid.min() >= 0
    assert solid.max() <= 1
    np.testing.assert_array_equal(material["particle_mask"], solid >= 0.5)
    np.testing.assert_array_equal(np.isfinite(material["white_line_energy"]), solid >= 0.5)
    labelled = material["grain_label"].values > 0
    assert not (labelled & (solid == 0)).any()
    assert labelled[solid > 0.2].all()
    assert not material["oxygen_loss"].values[solid == 0].any()
    assert (solid + material["crack_fraction"].values).max() <= 1 + 1e-6
    inside = material["envelope_mask"].values
    assert (material["particle_mask"].values & ~inside).mean() < 0.03  # voxels that the surface cuts


def test_grain_labels_are_those_of_the_grains(particle: HeatedParticle, material: xr.Dataset) -> None:
    axis = PLAN.grid.positions(24)
    index = np.argwhere(material["solid_fraction"][0].values > 0.99)[::7]
    points = np.stack([axis[index[:, 2]], axis[index[:, 1]], axis[index[:, 0]]], axis=1)
    found = material["grain_label"][0].values[tuple(index.T)]
    np.testing.assert_array_equal(found, particle.grains.labels(points) + 1)
    openings = material["crack_opening"][0].values[tuple(index.T)]
    np.testing.assert_allclose(openings, crack_opening(particle.grains, points), rtol=1e-5, atol=1e-7)
    assert (openings > 0).any()


def test_porosity_and_volumes_are_those_of_the_maps(material: xr.Dataset) -> None:
    solid = material["solid_fraction"].values.astype(np.float64).sum(axis=(1, 2, 3))
    inside = material["envelope_mask"].values.sum(axis=(1, 2, 3))
    np.testing.assert_allclose(material["porosity"], 1 - solid / inside, rtol=1e-12)
    volumes = inside * PLAN.grid.pixel_size**3
    np.testing.assert_allclose(material["envelope_volume"], volumes, rtol=1e-12)
    assert volumes[0] == pytest.approx(DESIGN.envelope_volume, rel=0.03)


def test_white_lines_lie_within_the_spectra_and_name_the_valence(material: xr.Dataset, seen: xr.Dataset) -> None:
    for data in (material, seen):
        white_line = data["white_line_energy"].values
        finite = np.isfinite(white_line)
        assert white_line[finite].min() > LOWEST_WHITE_LINE - 0.1
        assert white_line[finite].max() < HIGHEST_WHITE_LINE + 0.1
        np.testing.assert_allclose(
            data["valence"].values[finite], valence_from_white_line(white_line[finite]), rtol=1e-6
        )
        assert np.isnan(data["valence"].values[~finite]).all()
        for t in range(2):
            inside = white_line[t][finite[t]].astype(np.float64)
            assert float(data["white_line_mean"][t]) == pytest.approx(inside.mean(), abs=1e-6)
            assert float(data["white_line_width"][t]) == pytest.approx(inside.std(), rel=1e-6)


def test_heating_shows_in_every_map(material: xr.Dataset) -> None:
    cold, hot = material.isel(temperature=0), material.isel(temperature=1)
    assert not cold["spinel_fraction"].values.any()
    assert not cold["oxygen_loss"].values.any()
    inside = hot["particle_mask"].values
    assert hot["spinel_fraction"].values[inside].mean() > 0.5
    assert hot["oxygen_loss"].values[inside].mean() > 0.5
    assert float(hot["white_line_mean"]) < float(cold["white_line_mean"]) - 0.5
    assert float(hot["envelope_volume"]) < float(cold["envelope_volume"])


# -- what the instrument sees --------------------------------------------------------------------


@pytest.fixture(scope="module")
def sharp(written: Writer) -> xr.Dataset:
    return written(replace(SEEN, resolution=0.0)).read(AT_INSTRUMENT, "gravel-1").load()


def test_a_perfect_microscope_sees_the_material(sharp: xr.Dataset, material: xr.Dataset) -> None:
    both = sharp["particle_mask"].values & material["particle_mask"].values
    assert both.sum() > 0.95 * material["particle_mask"].values.sum()
    np.testing.assert_allclose(
        sharp["white_line_energy"].values[both], material["white_line_energy"].values[both], atol=2e-3
    )


def test_a_perfect_edge_jump_is_the_oxides(particle: HeatedParticle, sharp: xr.Dataset, material: xr.Dataset) -> None:
    """Across the windows the spectra of all states rise alike, within some percent."""
    for t, instant in enumerate(particle.instants):
        oxide = material["solid_fraction"][t].values * particle.jump * instant.density
        full = oxide > 0.9 * particle.jump * instant.density
        ratio = sharp["edge_jump"][t].values[full] / oxide[full]
        assert ratio.std() < 0.05 * ratio.mean()
        assert not sharp["edge_jump"][t].values[oxide == 0].any()


def test_edge_jumps_are_the_difference_of_the_windows(seen: xr.Dataset) -> None:
    energy, attenuation = seen["energy"].values, seen["attenuation"].values.astype(np.float64)
    above = (energy >= WINDOWS.above[0]) & (energy <= WINDOWS.above[1])
    below = (energy >= WINDOWS.below[0]) & (energy <= WINDOWS.below[1])
    jump = attenuation[:, above].mean(axis=1) - attenuation[:, below].mean(axis=1)
    np.testing.assert_allclose(seen["edge_jump"], jump, atol=1e-6)


def test_blur_conserves_the_sum(seen: xr.Dataset, sharp: xr.Dataset) -> None:
    for name in ("edge_jump", "attenuation"):
        blurred, unblurred = (data[name].values.sum(axis=(-3, -2, -1), dtype=np.float64) for data in (seen, sharp))
        np.testing.assert_allclose(blurred, unblurred, rtol=1e-4)
    variance = [float(data["edge_jump"][0].values.var()) for data in (seen, sharp)]
    assert variance[0] < variance[1]


def test_the_attenuation_peaks_at_the_white_line(seen: xr.Dataset) -> None:
    """The largest of the measured energies is the one nearest to the white line, or its neighbour."""
    energy = seen["energy"].values
    for t in range(2):
        inside = seen["particle_mask"][t].values
        top = seen["attenuation"][t].values[:, inside].argmax(axis=0)
        nearest = np.abs(energy[:, None] - seen["white_line_energy"][t].values[inside]).argmin(axis=0)
        assert np.abs(top - nearest).max() <= 1


def test_binning_takes_means_of_eight() -> None:
    fine = np.random.default_rng(0).normal(size=(4, 6, 8, 2)).astype(np.float32)
    coarse = binned(fine)
    assert coarse.shape == (2, 3, 4, 2)
    np.testing.assert_allclose(coarse[1, 2, 3], fine[2:4, 4:6, 6:8].mean(axis=(0, 1, 2)), rtol=1e-6)
