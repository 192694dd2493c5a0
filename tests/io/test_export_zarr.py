"""OME-Zarr: the rules of the specification 0.5 as assertions, and what the levels are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import Study
from cathoscope.io.export_study import Choice, export_study
from cathoscope.io.export_zarr import coarsened, levels_of
from tests.io.export_studies import ENERGIES, PIXEL, SHAPE, TEMPERATURES, study_of, tomography_arrays, xanes_arrays

SPACE_UNITS = {"angstrom", "nanometer", "micrometer", "millimeter", "meter"}
RANKS = {"time": 0, "channel": 1, "space": 2}


def export(study: Study, folder: Path, *arrays: str, measurement: str = "rod", **resources: Any) -> list[Path]:
    return export_study(
        study,
        folder,
        Choice("ome-zarr", (measurement,), arrays),
        overwrite=False,
        resources=Resources(**resources),
        progress=Silent(),
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    path = tmp_path_factory.mktemp("ome") / "study.zarr"
    return study_of(path, rod=xanes_arrays(), tomo=tomography_arrays())


@pytest.fixture(scope="module")
def images(study: Study, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("exported")
    names = ["attenuation", "particle_mask", "white_line_energy", "white_line_flag", "white_line_half"]
    found = {path.name.removesuffix(".ome.zarr"): path for path in export(study, folder, *names)}
    (plain,) = export(study, folder, measurement="tomo")
    return {**found, "plain": plain}


def assert_obeys_the_specification(path: Path) -> None:
    """The requirements of OME-Zarr 0.5 on a multiscale image."""
    metadata = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
    assert metadata["zarr_format"] == 3
    assert metadata["node_type"] == "group"
    ome = metadata["attributes"]["ome"]
    assert ome["version"] == "0.5"
    (image,) = ome["multiscales"]
    assert_axes_are_right(image["axes"])
    arrays = [json.loads((path / entry["path"] / "zarr.json").read_text()) for entry in image["datasets"]]
    assert all(array["node_type"] == "array" and array["zarr_format"] == 3 for array in arrays)
    names = [axis["name"] for axis in image["axes"]]
    assert all(array["dimension_names"] == names for array in arrays)
    assert len({array["data_type"] for array in arrays}) == 1
    sizes = [np.prod(array["shape"]) for array in arrays]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)
    for entry in image["datasets"]:
        assert_transforms_are_right(entry["coordinateTransformations"], len(names))
    for channel in ome["omero"]["channels"]:
        assert len(bytes.fromhex(channel["color"])) == 3
        window = channel["window"]
        assert window["min"] <= window["start"] < window["end"] <= window["max"]
    n_channels = arrays[0]["shape"][names.index("c")] if "c" in names else 1
    assert len(ome["omero"]["channels"]) == n_channels


def assert_axes_are_right(axes: list[dict[str, str]]) -> None:
    kinds = [axis["type"] for axis in axes]
    assert 2 <= len(axes) <= 5
    assert len({axis["name"] for axis in axes}) == len(axes)
    assert kinds.count("space") in (2, 3)
    assert kinds.count("time") <= 1
    assert kinds.count("channel") <= 1
    assert [RANKS[kind] for kind in kinds] == sorted(RANKS[kind] for kind in kinds)
    assert [axis["name"] for axis in axes][-3:] == ["z", "y", "x"]
    assert all(axis["unit"] in SPACE_UNITS for axis in axes if axis["type"] == "space")
    # a temperature is no time: the axis must not claim seconds
    assert all("unit" not in axis for axis in axes if axis["type"] != "space")


def assert_transforms_are_right(transforms: list[dict[str, Any]], n_axes: int) -> None:
    assert [transform["type"] for transform in transforms] == ["scale", "translation"]
    assert len(transforms[0]["scale"]) == len(transforms[1]["translation"]) == n_axes
    assert all(step > 0 for step in transforms[0]["scale"])


@pytest.mark.parametrize("name", ["attenuation", "particle_mask", "white_line_energy", "white_line_half", "plain"])
def test_an_image_obeys_the_specification(images: dict[str, Path], name: str) -> None:
    assert_obeys_the_specification(images[name])


def test_axes_are_those_the_array_has(images: dict[str, Path]) -> None:
    def names(name: str) -> str:
        image = zarr.open_group(images[name], mode="r").attrs["ome"]["multiscales"][0]  # type: ignore[index]
        return "".join(axis["name"] for axis in image["axes"])

    assert [names(name) for name in ("attenuation", "white_line_half", "particle_mask", "plain")] == [
        "tczyx",
        "tczyx",
        "tzyx",
        "zyx",
    ]


def test_level_0_is_the_array_bit_for_bit(images: dict[str, Path]) -> None:
    data = xanes_arrays()
    for name in ("attenuation", "white_line_energy", "white_line_flag"):
        level = zarr.open_array(images[name] / "0", mode="r")
        assert level.dtype == data[name].dtype
        assert np.asarray(level[...]).tobytes() == data[name].values.tobytes()
    mask = zarr.open_array(images["particle_mask"] / "0", mode="r")
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask[...], data["particle_mask"].values)
    half = zarr.open_array(images["white_line_half"] / "0", mode="r")
    np.testing.assert_array_equal(half[...], data["white_line_half"].values.swapaxes(0, 1))


def test_levels_cover_the_same_space(images: dict[str, Path]) -> None:
    image = zarr.open_group(images["attenuation"], mode="r").attrs["ome"]["multiscales"][0]  # type: ignore[index]
    for entry in image["datasets"]:
        scale, shift = (transform for transform in entry["coordinateTransformations"])
        step = np.array(scale["scale"][-3:])
        shape = np.array(zarr.open_array(images["attenuation"] / entry["path"], mode="r").shape[-3:])
        extent, full = step * shape, PIXEL * np.array(SHAPE)
        assert (extent >= full - 1e-9).all()
        assert (extent < full + step).all()
        # the near face of the first voxel does not move
        near = np.array(shift["translation"][-3:]) - step / 2
        np.testing.assert_allclose(near, -full / 2, atol=1e-12)


def test_what_the_format_has_no_place_for_is_kept(images: dict[str, Path]) -> None:
    attributes = dict(zarr.open_group(images["attenuation"], mode="r").attrs)
    words: Any = attributes["cathoscope"]
    assert words["temperature"] == TEMPERATURES.tolist()
    assert (words["measurement"], words["array"], words["units"]) == ("rod", "attenuation", "1/um")
    assert words["channel_values"] == ENERGIES.tolist()
    ome: Any = attributes["ome"]
    assert [channel["label"] for channel in ome["omero"]["channels"]][:2] == ["8320 eV", "8340 eV"]
    window, values = ome["omero"]["channels"][0]["window"], xanes_arrays()["attenuation"].values
    assert (window["min"], window["max"]) == (values.min(), values.max())


def test_threads_do_not_change_a_byte(study: Study, tmp_path: Path) -> None:
    def content(path: Path) -> dict[str, bytes]:
        return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}

    (one,) = export(study, tmp_path / "one", "white_line_energy")
    (two,) = export(study, tmp_path / "two", "white_line_energy", threads=2)
    assert content(one) == content(two)


@settings(max_examples=30, deadline=None)
@given(shape=st.tuples(st.integers(1, 300), st.integers(1, 300), st.integers(1, 300)))
def test_levels_shrink_until_they_are_small(shape: tuple[int, int, int]) -> None:
    levels = levels_of(shape)
    assert len(levels) in ((3, 4) if max(shape) > 2 else (1, 2))
    assert levels[0].factors == (1, 1, 1)
    for level in levels:
        assert level.shape == tuple(-(-n // factor) for n, factor in zip(shape, level.factors, strict=True))
    assert [max(level.factors) for level in levels] == [2**number for number in range(len(levels))]


def test_a_level_is_the_mean_of_the_finite_voxels_it_covers() -> None:
    values = np.random.default_rng(5).standard_normal((2, 8, 13, 6)).astype(np.float32)
    values[values > 1.2] = np.nan
    values[0, :4, :4, :4] = np.nan
    levels = levels_of((8, 13, 6))
    for level, found in zip(levels, coarsened(values, levels, "f"), strict=True):
        step = level.factors
        for index in np.ndindex(found.shape[1:]):
            part = tuple(slice(i * f, (i + 1) * f) for i, f in zip(index, step, strict=True))
            for channel in range(2):
                covered = values[(channel, *part)]
                there = covered[np.isfinite(covered)]
                expected = np.mean(there, dtype=np.float64) if there.size else np.nan
                np.testing.assert_allclose(found[(channel, *index)], expected, rtol=1e-6, atol=1e-7)


def test_levels_conserve_the_mean() -> None:
    values = np.random.default_rng(6).standard_normal((1, 16, 24, 32)) + 5
    levels = levels_of((16, 24, 32))
    for found in coarsened(values, levels, "f"):
        assert found.mean() == pytest.approx(values.mean(), rel=1e-12)


def test_a_mask_is_set_where_half_of_it_is_and_labels_are_never_mixed() -> None:
    mask = np.zeros((1, 8, 8, 8), np.uint8)
    mask[0, :4] = 1
    mask[0, 4:6, :2, :2] = [[1, 0], [0, 0]]
    levels = levels_of((8, 8, 8))
    half = coarsened(mask, levels, "b")[1]
    assert half.dtype == np.uint8
    assert half[0, :2].all()
    assert half[0, 2, 0, 0] == 0
    assert half.sum() == 2 * 16
    labels = np.random.default_rng(7).choice([3, 700], (1, 8, 8, 8)).astype(np.int32)
    for level, found in zip(levels, coarsened(labels, levels, "i"), strict=True):
        assert set(np.unique(found)) <= {3, 700}
        assert found.shape == (1, *level.shape)
        assert found[0, 0, 0, 0] == labels[0, 0, 0, 0]
