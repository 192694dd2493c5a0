from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import h5py
import numpy as np
import pytest

from cathoscope.core import schema
from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual import presets
from cathoscope.virtual.presets import PRESETS, SIZES, SimulatedStudy, Size, simulate
from cathoscope.virtual.spheres import spheres
from cathoscope.virtual.txm import TxmOptions


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(presets, "SIZES", MappingProxyType({"tiny": Size(40, 20, 6)}))
    return "tiny"


class Counter:
    """A Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.done = 0

    def start(self, label: str, total: int, unit: str) -> None:
        self.told += [label, total, unit]

    def advance(self, units: int = 1) -> None:
        self.done += units

    def finish(self) -> None:
        self.told.append("finished")

    def remark(self, text: str) -> None:
        self.told.append(text)


def digests(study: SimulatedStudy) -> list[str]:
    return [hashlib.sha256(file.read_bytes()).hexdigest() for files in study.files.values() for file in files]


def test_one_seed_makes_the_same_bytes_on_any_number_of_threads(tmp_path: Path, tiny: str) -> None:
    first, again = (
        simulate("spheres", size=tiny, seed=5, folder=tmp_path / str(threads), threads=threads) for threads in (1, 2)
    )
    assert digests(first) == digests(again)
    assert len(set(digests(first))) == 60
    for name in first.truth["spheres"]:
        np.testing.assert_array_equal(first.truth["spheres"][name], again.truth["spheres"][name])


def test_another_seed_makes_other_files_and_replaces_the_old_ones(tmp_path: Path, tiny: str) -> None:
    first = digests(simulate("spheres", size=tiny, seed=5, folder=tmp_path))
    second = digests(simulate("spheres", size=tiny, seed=6, folder=tmp_path))
    assert not set(first) & set(second)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 60


def test_files_are_where_the_patterns_say_in_the_order_of_energy(tmp_path: Path, tiny: str) -> None:
    counter = Counter()
    study = simulate("spheres", size=tiny, seed=5, folder=tmp_path, progress=counter)
    assert counter.told == ["simulating spheres", 60, "scan", "finished"]
    assert counter.done == 60
    assert list(study.files) == list(study.patterns) == [25.0, 150.0]
    truth = study.truth[study.measurement]
    for temperature, files in study.files.items():
        assert tuple(sorted(path.resolve() for path in tmp_path.glob(study.patterns[temperature]))) == files
        for energy, path in zip(study.energies, files, strict=True):
            with h5py.File(path) as file:
                assert file["X_eng"][()] * 1e3 == pytest.approx(energy)
                assert file["Pixel Size"].asstr()[()] == f"{study.pixel_size * 1e3:g}nm"
                recorded = truth.angle.sel(temperature=temperature, energy=energy)
                np.testing.assert_array_equal(file["angle"], recorded)


def test_truth_is_complete(tmp_path: Path, tiny: str) -> None:
    truth = simulate("spheres", size=tiny, seed=5, folder=tmp_path).truth["spheres"]
    schema.require(truth, "attenuation", "edge_jump", "particle_mask", "white_line_energy", "white_line_mean")
    schema.require(truth, "white_line_width", "rotation_axis", "projection_shift", "beam_intensity", "bad_pixel_mask")
    # every scan moves by itself
    assert np.unique(truth.rotation_axis).size == truth.rotation_axis.size


def test_an_ideal_file_holds_attenuation_times_chord_where_the_truth_says(tmp_path: Path, tiny: str) -> None:
    options = replace(TxmOptions.ideal(sub_pixels=1), axis_offset=1.3, axis_run_out=0.4, horizontal_jitter=0.3)
    study = simulate("spheres", size=tiny, seed=5, folder=tmp_path, overrides=options)
    rows, columns = np.meshgrid(np.arange(20), np.arange(40), indexing="ij")
    for t, (temperature, files) in enumerate(study.files.items()):
        for energy, path in list(zip(study.energies, files, strict=True))[::4]:
            with h5py.File(path) as file:
                measured = -np.log(file["img_tomo"][2] / file["img_bkg"][0].astype(float))
            truth = study.truth["spheres"].sel(temperature=temperature, energy=energy).isel(projection=2)
            theta = np.radians(truth.angle.item())
            middle = (truth.rotation_axis + truth.projection_shift).item()
            depth = np.zeros(rows.shape)
            for sphere in spheres().spheres:
                x, y, z = sphere.centre
                aside = (columns - middle) * study.pixel_size - (x * np.cos(theta) + y * np.sin(theta))
                up = (rows - 9.5) * study.pixel_size - z
                depth += sphere.spectra[t].attenuation(energy) * sphere.chord(np.hypot(aside, up))
            # half a count of rounding, through at most two optical depths
            np.testing.assert_allclose(measured, depth, atol=0.5 / options.photons * np.exp(2.0))


def test_sizes_keep_the_field_of_view() -> None:
    assert list(SIZES) == ["tiny", "small", "medium", "large"]
    assert len({size.columns * size.grid.pixel_size for size in SIZES.values()}) == 1


@pytest.mark.parametrize("name", PRESETS)
def test_presets_measure_thirty_energies_across_the_edge(name: str) -> None:
    energies = np.array(PRESETS[name].energies)
    assert energies.size == 30
    assert (np.diff(energies) > 0).all()
    assert (np.diff(energies)[(energies[:-1] >= 8340) & (energies[1:] <= 8356)] <= 1).all()
    assert PRESETS[name].windows.weights(energies).sum() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("preset", "size", "seed", "cure"),
    [("sphere", "small", 1, "simulate spheres"), ("spheres", "huge", 1, "--size small"), ("spheres", "small", -1, "1")],
)
def test_what_is_not_known_is_refused_with_what_to_type(
    tmp_path: Path, preset: str, size: str, seed: int, cure: str
) -> None:
    with pytest.raises(CathoscopeError) as caught:
        simulate(preset, size=size, seed=seed, folder=tmp_path)
    assert caught.value.cure is not None
    assert caught.value.cure.endswith(cure)
    assert not list(tmp_path.iterdir())


def test_an_axis_far_off_the_middle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CathoscopeError, match="field of view"):
        simulate("spheres", size="small", seed=1, folder=tmp_path, overrides=TxmOptions(axis_offset=15.0))
