"""A tiny series of slices through the whole flow, and the mistakes that series have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cathoscope.core.errors import Interrupted, RecipeError
from cathoscope.core.parallel import Resources
from cathoscope.core.study import Study
from cathoscope.flow.check import check_recipe
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.run import run
from cathoscope.numerics.estimate import Estimate
from cathoscope.virtual.fibsem_files import Header, eight_bit, write_image
from cathoscope.volume.slices import Slice, analyse_slice
from tests.flow.fabricated import Listening

SIZE, RADIUS, PIXEL = 90, 36.0, 0.1
CYCLES = (0, 5, 10, 15, 20, 25)


def hole_of(cycle: float) -> float:
    """Radius of the hole over that of the disk: the section's porosity is its square, the ball's its cube."""
    return 0.25 + 0.012 * cycle


def grey(cycle: float) -> NDArray[np.float64]:
    y, x = (np.arange(SIZE) - c for c in (44.2, 45.1))
    r = np.hypot(y[:, None], x[None, :])
    disk, hole = (np.clip(edge - r + 0.5, 0, 1) for edge in (RADIUS, hole_of(cycle) * RADIUS))
    noise = 0.03 * np.random.default_rng(int(cycle)).standard_normal(r.shape)
    return np.asarray(gaussian_filter(0.1 + 0.9 * disk - 0.85 * hole, 0.7) + noise)


def write_slice(
    folder: Path,
    cycle: int,
    image: NDArray[np.float64] | None = None,
    pixel: float = PIXEL,
    stated: float | None = None,
) -> None:
    name = f"cycle_{cycle:04d}.tif"
    said = cycle if stated is None else stated
    header = Header(pixel, "series", slice_number=cycle, slice_z=0.019 * cycle, thickness=0.019, cycle=said)
    write_image(folder / name, eight_bit(grey(cycle) if image is None else image, 170), header)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for cycle in CYCLES:
        write_slice(tmp_path, cycle)
    return tmp_path


def recipe_in(folder: Path, slices: str = "at_cycle = 12, porosity = 0.08") -> Path:
    text = (
        '[sample.L]\n[measurement.a]\nsample = "L"\ntechnique = "fibsem-series"\nfiles = "*.tif"\n'
        f"slices = {{ {slices} }}\n"
    )
    (folder / "study.toml").write_text(text)
    return folder / "study.toml"


def results(folder: Path, slices: str = "at_cycle = 12, porosity = 0.08"):
    recipe = load_recipe(recipe_in(folder, slices))
    progress = Listening()
    outcome = run(recipe, folder / "study.zarr", resources=Resources(threads=2), progress=progress)
    (measurement,) = outcome.measurements
    study = Study.open(folder / "study.zarr")
    data = study.read("result", "a") if "a" in study.measurements("result") else None
    return measurement, data, progress


def test_a_series_runs_from_files_to_the_cycle_of_a_porosity(folder: Path) -> None:
    measurement, data, _ = results(
        folder, 'at_cycle = 12, porosity = 0.08, region = ["-0.5 um", "0.5 um", "-0.5 um", "0.5 um"]'
    )
    assert measurement.failure is None
    hole = np.array([hole_of(cycle) for cycle in CYCLES])
    np.testing.assert_allclose(data["slice_porosity"], hole**2, atol=0.01)
    np.testing.assert_allclose(data["porosity"], hole**3, atol=0.015)
    for name in ("porosity", "slice_porosity"):
        std, systematic = (data[f"{name}_{part}"].values for part in ("std", "systematic"))
        assert (std >= systematic).all()
        assert (systematic > 0).all()
    assert (data["sampling_error"] >= data["few_pores_error"] - 1e-12).all()
    assert data["slice_outline"].dims == ("cycle", "y", "x")
    assert float(data["slice_outline"][0].sum()) == pytest.approx(np.pi * RADIUS**2, rel=0.03)
    np.testing.assert_allclose(data["region_porosity"], 1.0, atol=0.4)
    assert float(data["asked_cycle"]) == 12
    assert float(data["porosity_at_cycle"]) == pytest.approx(hole_of(12) ** 3, abs=0.015)
    assert float(data["cycle_of_porosity"]) == pytest.approx((0.08 ** (1 / 3) - 0.25) / 0.012, abs=2)
    assert float(data["cycle_of_porosity_low"]) < float(data["cycle_of_porosity"])
    assert data["porosity_trend"].attrs["family"] in ("linear", "exponential", "power", "sigmoid")
    again, _, _ = results(folder, 'at_cycle = 20, porosity = 0.08, region = ["-0.5 um", "0.5 um", "-0.5 um", "0.5 um"]')
    assert again.computed


def test_missing_doubled_damaged_and_foreign_slices_are_told(folder: Path) -> None:
    (folder / "cycle_0010.tif").unlink()
    write_slice(folder, 30, np.zeros((SIZE, SIZE)))
    write_slice(folder, 7, -grey(7) + 1.1)
    write_slice(folder, 8, grey(8)[:-5])
    write_slice(folder, 9, pixel=0.2)
    write_slice(folder, 11, stated=5)
    whole = (folder / "cycle_0005.tif").read_bytes()
    (folder / "cycle_0040.tif").write_bytes(whole[: len(whole) // 2])
    measurement, data, progress = results(folder, "at_cycle = 12")
    assert measurement.failure is None
    aside = dict(measurement.set_aside)
    assert "pixels, those of the others 90 x 90" in aside["cycle_0008.tif"]
    assert "its pixels are 200 nm" in aside["cycle_0009.tif"]
    assert "a second slice of cycle 5; cycle_0005.tif is used" in aside["cycle_0011.tif"]
    assert "cycle_0040.tif" in aside
    told = "\n".join(progress.remarks)
    assert "cycle 7: no porosity: the contrast is inverted" in told
    assert "cycle 30: no porosity: the slice is blank" in told
    assert np.isnan(data["porosity"].sel(cycle=30))
    assert np.isfinite(data["porosity_trend"]).all()
    raw = Study.open(folder / "study.zarr").attributes("raw", "a")
    assert any("there is no slice of cycles 1, 2" in remark for remark in raw["remarks"])


def test_cycles_can_be_the_recipes_word(folder: Path) -> None:
    words = "cycles = [0, 1, 2, 3, 4, 9]"
    (finding,) = check_recipe(load_recipe(recipe_in(folder, words)))
    assert not finding.unusable
    assert finding.scans == "6 (6 cycle)"
    (finding,) = check_recipe(load_recipe(recipe_in(folder, "cycles = [0, 1]")))
    assert "expected: 6 cycles" in " ".join(finding.problems[0].split())
    for wrong, said in (
        ("cycles = [0, 0]", "a cycle is given twice"),
        ('region = ["1 um", "0 um", "0 um", "1 um"]', "top < bottom"),
    ):
        with pytest.raises(RecipeError, match=said):
            load_recipe(recipe_in(folder, wrong))


def test_too_few_slices_and_a_cycle_beyond_the_series_are_refused(folder: Path) -> None:
    measurement, _, _ = results(folder, "at_cycle = 99")
    assert "not within the series" in str(measurement.failure)
    for cycle in CYCLES[3:]:
        (folder / f"cycle_{cycle:04d}.tif").unlink()
    (finding,) = check_recipe(load_recipe(recipe_in(folder)))
    assert finding.unusable
    assert "too few slices" in finding.problems[0]


def test_slices_without_a_cycle_say_what_to_type(tmp_path: Path) -> None:
    for number in range(5):
        header = Header(PIXEL, "no word of it", slice_number=number)
        write_image(tmp_path / f"image_{number}.tif", eight_bit(grey(0), 170), header)
    (finding,) = check_recipe(load_recipe(recipe_in(tmp_path)))
    assert finding.unusable
    assert "slices.cycles = [0, 1, 2, ...]" in finding.problems[0]


def test_a_killed_run_goes_on_with_the_slices_that_are_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def counted(image: NDArray[np.uint8], **how: object) -> Slice:
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(float(image.sum()))
        return analyse_slice(image, **how)  # type: ignore[arg-type]

    recipe = load_recipe(recipe_in(folder))
    where = "cathoscope.flow.steps.slice_morphology.analyse_slice"
    with monkeypatch.context() as patch:
        patch.setattr(where, counted)
        with pytest.raises(Interrupted):
            run(recipe, folder / "study.zarr", resources=Resources(threads=1), progress=Listening())
        seen.clear()
        patch.setattr(where, lambda image, **how: seen.append(float(image.sum())) or analyse_slice(image, **how))
        outcome = run(recipe, folder / "study.zarr", resources=Resources(threads=1), progress=Listening())
    assert not outcome.failed
    assert len(seen) == len(CYCLES) - 3


def test_a_stack_becomes_a_volume_of_oxide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        header = Header(PIXEL, "stack", slice_number=number, thickness=0.12, cycle=35)
        write_image(tmp_path / f"slice_{number:04d}.tif", eight_bit(grey(0), 170), header)

    def prepared(frames: Sequence[NDArray[np.uint8]], *, voxel_size: object, progress: object) -> SimpleNamespace:
        solid = np.stack([np.asarray(frames[n]) / np.float32(170) for n in range(len(frames))])
        return SimpleNamespace(
            solid=solid, voxel_size=voxel_size, remarks=("told",), porosity=Estimate(0.2, 0.01, 0.02)
        )

    monkeypatch.setattr("cathoscope.flow.steps.slice_stack.prepare_stack", prepared)
    text = '[sample.L]\n[measurement.a]\nsample = "L"\ntechnique = "fibsem-stack"\nfiles = "*.tif"\n'
    (tmp_path / "study.toml").write_text(text)
    outcome = run(
        load_recipe(tmp_path / "study.toml"), tmp_path / "study.zarr", resources=Resources(), progress=Listening()
    )
    assert not outcome.failed
    data = Study.open(tmp_path / "study.zarr").read("result", "a")
    assert data["oxide_share"].dims == ("z", "y", "x")
    np.testing.assert_allclose(np.diff(data["z"]), 0.12)
    assert float(data["slice_porosity_std"]) == pytest.approx(np.hypot(0.01, 0.02))
    listening = Listening()
    small = Resources(memory=1e8)
    run(load_recipe(tmp_path / "study.toml"), tmp_path / "small.zarr", resources=small, progress=listening)
    assert any("more than the 0.1 GB allowed" in words for words in listening.remarks)
