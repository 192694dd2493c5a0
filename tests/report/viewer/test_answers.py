"""What the server answers, against the arrays themselves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study
from cathoscope.report.viewer.picture import Block, _Packed, block_means
from cathoscope.report.viewer.serve import Served
from tests.report.viewer.conftest import (
    DIMS,
    ENERGY,
    PLACES,
    STEP,
    TEMPERATURE,
    N,
    get,
    particle,
    serving,
    spectra,
    white_lines,
)


def told(server: Served, path: str) -> Any:
    status, content, _ = get(server.address, path)
    assert status == 200, content
    return json.loads(content)


def plane(server: Served, query: str) -> tuple[np.ndarray, np.ndarray]:
    """Values of a slice, NaN without one, and the pixels as sent."""
    status, content, _ = get(server.address, f"api/slice?{query}")
    assert status == 200, content
    low, high = np.frombuffer(content, "<f8", 2)
    rows, columns = np.frombuffer(content, "<i4", 2, 16)
    pixels = np.frombuffer(content, "<u2", offset=24).reshape(rows, columns)
    return np.where(pixels >= 2, low + (pixels.astype(float) - 2) / 65533 * (high - low), np.nan), pixels


@pytest.mark.parametrize(("axis", "along"), [("z", 0), ("y", 1), ("x", 2)])
def test_slices_are_those_of_the_array(server: Served, axis: str, along: int) -> None:
    truth = white_lines()[1].take(9, along)
    found, pixels = plane(server, f"measurement=result/rod&array=white_line_energy&temperature=1&axis={axis}&index=9")
    np.testing.assert_allclose(found, truth, atol=2e-5 * np.nanmax(truth) / 8350 * 2)
    np.testing.assert_array_equal(pixels == 0, ~particle().take(9, along))


def test_a_voxel_without_a_trusted_white_line_is_inside_and_has_no_value(server: Served) -> None:
    _, pixels = plane(server, f"measurement=result/rod&array=white_line_energy&axis=z&index={N // 2}")
    assert pixels[N // 2, N // 2 + 3] == 1
    assert np.count_nonzero(pixels == 1) == 1


def test_what_there_is_to_choose(server: Served) -> None:
    study = told(server, "api/study")
    found = {one["name"]: one for one in study["measurements"]}
    assert set(found) == {"result/rod", "result/gravel", "result/cell"}
    first = found["result/rod"]["volumes"][0]
    assert (first["name"], first["unit"], first["shape"], first["space_unit"]) == (
        "white_line_energy",
        "eV",
        [N] * 3,
        "µm",
    )
    assert first["lead"][0]["values"] == TEMPERATURE.tolist()
    np.testing.assert_allclose(first["space"], [[PLACES[0], STEP]] * 3)
    assert all(len(one["colours"]) == 3 * 256 for one in study["maps"])


def test_range_and_histogram_are_those_of_the_trusted_voxels(server: Served) -> None:
    values = white_lines()[0]
    trusted = np.delete(values[np.isfinite(values)], 0)  # all but one, wherever it lies
    found = told(server, "api/spread?measurement=result/rod&array=white_line_energy")
    assert sum(found["counts"]) == pytest.approx(trusted.size, rel=0.02)
    assert (found["low"], found["high"]) == pytest.approx(np.percentile(trusted, [0.5, 99.5]), abs=0.02)
    assert (found["mean"], found["width"]) == pytest.approx((trusted.mean(), trusted.std()), abs=0.002)
    assert found["voxels"] == found["of"] == N**3


def test_a_voxel_with_spectrum_fit_and_residual(server: Served) -> None:
    z, y, x = 10, 9, 6
    found = told(server, f"api/voxel?measurement=result/rod&array=white_line_energy&temperature=1&z={z}&y={y}&x={x}")
    line = float(white_lines()[1, z, y, x])
    assert found["value"] == pytest.approx(line, abs=1e-3)
    assert found["std"] == pytest.approx(0.05)
    spectrum = found["spectrum"]
    np.testing.assert_allclose(spectrum["x"], ENERGY)
    np.testing.assert_allclose(spectrum["y"], spectra(white_lines())[1, :, z, y, x], rtol=1e-6)
    assert spectrum["std"] == pytest.approx([0.0005] * ENERGY.size)
    # The spectrum is one of the model itself, so the fit leaves nothing, and the stored line marks its middle.
    left = np.array(spectrum["residual"], float)
    assert np.count_nonzero(np.isfinite(left)) > 20
    assert np.nanmax(np.abs(left)) < 1e-4
    assert found["course"]["y"] == pytest.approx([line + 1, line], abs=1e-3)


def test_attenuation_from_spectral_coefficients(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    weights = rng.normal(size=(2, 3, 9, 10, 11)).astype(np.float32)
    vectors, noise = rng.normal(size=(2, 3, 12)), rng.uniform(0.5, 1.5, (2, 12))
    coords = {"temperature": TEMPERATURE, "energy": np.arange(12.0), "coefficient": np.arange(1, 4)}
    dims = ("temperature", "coefficient", "z", "y", "x")
    study = Study.create(tmp_path / "s.zarr")
    arrays = [
        label("spectral_coefficient", weights, dims, coords=coords),
        label("spectral_vector", vectors, ("temperature", "coefficient", "energy"), coords=coords),
        label("attenuation_std", noise, ("temperature", "energy"), coords=coords, std_source="half-set"),
    ]
    study.write("result", "ball", dataset(arrays))
    truth = np.einsum("tkzyx,tke,te->tezyx", weights, vectors, noise)
    with serving(study) as server:
        query = "measurement=result/ball&array=attenuation&temperature=1&energy=7"
        found, _ = plane(server, f"{query}&axis=x&index=4")
        np.testing.assert_allclose(found, truth[1, 7, :, :, 4], atol=1e-3)
        voxel = told(server, f"api/voxel?{query}&z=8&y=2&x=10")
        np.testing.assert_allclose(voxel["spectrum"]["y"], truth[1, :, 8, 2, 10], atol=1e-4)
        assert voxel["value"] == pytest.approx(truth[1, 7, 8, 2, 10], abs=1e-4)


def test_curves_are_those_of_the_sample_alone(server: Served) -> None:
    plots = told(server, "api/curves?sample=rod&temperature=150")
    assert {(plot["measurement"], plot["title"]) for plot in plots} == {("result/cell", "Impedance, cycle 2")}
    line = plots[0]["lines"][0]
    np.testing.assert_allclose(np.hypot(np.array(line["x"]) - 100, line["y"]), 50, rtol=1e-6)
    assert told(server, "api/curves?sample=gravel") == []


def test_all_charges_have_one_colour_and_truths_of_curves_are_not_listed(tmp_path: Path) -> None:
    dims, coords = ("record", "curve", "direction", "point"), {"curve": np.array([3]), "record": np.arange(2)}
    charge = np.broadcast_to(np.linspace(0, 2e-3, 5), (2, 1, 2, 5))
    curves = dataset(
        [
            label("curve_charge", charge, dims, coords=coords),
            label("curve_voltage", 3.0 + 400 * charge, dims, coords=coords),
        ]
    )
    study = Study.create(tmp_path / "s.zarr")
    study.write_raw("cell", {"sample": "rod", "technique": "cycling"})
    for group in ("result", "truth"):
        study.write(group, "cell", curves, address="a")
    with serving(study) as server:
        plot = next(one for one in told(server, "api/curves?sample=rod") if one["title"] == "Voltage, cycle 3")
        listed = told(server, "api/study")["measurements"]
    assert [(line["name"], line["series"]) for line in plot["lines"]] == [("charge", 0), ("discharge", 1)] * 2
    assert plot["x"] == ["charge passed", "mAh"]
    assert [one["name"] for one in listed] == ["result/cell"]


def test_block_means_that_wait_come_back_as_they_were() -> None:
    value = np.random.default_rng(3).normal(size=(4, 5, 6)).astype(np.float32)
    value[0] = np.nan
    found = _Packed.of(Block(value, np.isfinite(value), 3)).block()
    np.testing.assert_array_equal(found.value, value)
    np.testing.assert_array_equal(found.mask, np.isfinite(value))
    assert found.factor == 3


def test_a_picture_in_space_shows_the_particle(server: Served) -> None:
    query = "measurement=result/rod&array=white_line_energy&low=8349&high=8351&map=RdYlBu_r&pixels=60&cut=nothing"
    for fine in (0, 1):
        status, content, _ = get(server.address, f"api/picture?{query}&fine={fine}")
        assert status == 200, content
        size = np.frombuffer(content, "<f8", 1)[0]
        pixels = np.frombuffer(content, np.uint8, offset=16).reshape(60, 60, 4)
        shown = np.count_nonzero(pixels[..., 3] > 127) * size**2
        assert shown == pytest.approx(np.pi * (0.42 * N * STEP) ** 2, rel=0.12)  # the disk that a ball shows


def test_block_means_are_means_of_blocks() -> None:
    rng = np.random.default_rng(2)
    value = rng.normal(size=(5, 7, 8)).astype(np.float32)
    inside = rng.random(value.shape) > 0.3
    value[~inside] = np.nan
    mean, share = block_means(value, inside, 3, nearest=False)
    for place in np.ndindex(2, 3, 3):
        part = tuple(slice(3 * i, 3 * i + 3) for i in place)
        assert mean[place] == pytest.approx(np.nanmean(value[part]), abs=1e-5)
        assert share[place] == pytest.approx(inside[part].mean())
    nearest, _ = block_means(value, inside, 3, nearest=True)
    assert nearest.shape == mean.shape
    assert np.isin(nearest[np.isfinite(nearest)], value[np.isfinite(value)]).all()


@pytest.mark.parametrize(
    "query",
    [
        "slice?measurement=result/rod&array=white_line_energy&axis=z&index=99",
        "slice?measurement=result/rod&array=white_line_energy&axis=z&index=-1",
        "slice?measurement=result/rod&array=white_line_energy&axis=w&index=1",
        "slice?measurement=result/rod&array=white_line_energy&axis=z&index=1e400",
        "slice?measurement=result/rod&array=white_line_energy&temperature=2",
        "slice?measurement=result/rod&array=energy_offset",
        "slice?measurement=result/rod&array=nothing",
        "slice?measurement=result/nothing&array=attenuation",
        "slice",
        "voxel?measurement=result/rod&array=white_line_energy&z=0&y=0&x=20",
        "picture?measurement=result/rod&array=white_line_energy&low=2&high=1",
        "picture?measurement=result/rod&array=white_line_energy&map=__import__",
        "picture?measurement=result/rod&array=white_line_energy&azimuth=nan",
        "curves?sample=rod&temperature=inf",
    ],
)
def test_what_is_not_there_is_said_in_words(server: Served, query: str) -> None:
    status, content, _ = get(server.address, f"api/{query}")
    assert status == 404
    assert json.loads(content)["problem"]


def test_a_damaged_chunk_is_said_in_words(study: Study, tmp_path: Path) -> None:
    copy = shutil.copytree(study.path, tmp_path / "copy.zarr")
    for chunk in (copy / "result/rod/white_line_energy/c").rglob("0"):
        if chunk.is_file():
            chunk.write_bytes(chunk.read_bytes()[:40])
    with serving(Study.open(copy)) as server:
        path = "api/slice?measurement=result/rod&array=white_line_energy&axis=z&index=9"
        status, content, _ = get(server.address, path)
    assert status == 422
    assert "damaged" in json.loads(content)["problem"]


def test_looking_changes_nothing(
    study: Study, tmp_path: Path, folder_bytes: Callable[[Path], dict[str, bytes]]
) -> None:
    copy = shutil.copytree(study.path, tmp_path / "copy.zarr")
    before = folder_bytes(copy)
    with serving(Study.open(copy)) as server:
        for name in ("study", "slice", "spread", "voxel", "picture", "curves"):
            get(
                server.address,
                f"api/{name}?measurement=result/rod&array=white_line_energy&sample=rod&low=1&high=2&pixels=20&fine=0",
            )
    assert folder_bytes(copy) == before


def test_an_array_that_is_computed_again_is_read_again(study: Study, tmp_path: Path) -> None:
    copy = Study.open(shutil.copytree(study.path, tmp_path / "copy.zarr"))
    query = "measurement=result/rod&array=white_line_energy&axis=z&index=9"
    with serving(copy) as server:
        before, _ = plane(server, query)
        coords = {"temperature": TEMPERATURE, "z": PLACES, "y": PLACES, "x": PLACES}
        moved = label("white_line_energy", white_lines() + np.float32(3), DIMS, coords=coords)
        copy.write("result", "rod", dataset([moved]), address="c")
        after, _ = plane(server, query)
    np.testing.assert_allclose(after - before, np.where(np.isfinite(before), 3.0, np.nan), atol=1e-3)
    assert zarr.open_array(copy.path / "result/rod/white_line_energy", mode="r").attrs["address"] == "c"
