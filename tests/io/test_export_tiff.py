from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import Study
from cathoscope.io import export_tiff, open_raw
from cathoscope.io.export_study import Choice, export_study
from cathoscope.io.export_volume import blocks_of, volumes_of
from cathoscope.io.volumes import voxels_of_pages
from tests.io.export_studies import PIXEL, SHAPE, study_of, tomography_arrays, xanes_arrays

DATA = xanes_arrays()
ARRAYS = ("attenuation", "particle_mask", "white_line_flag", "grain_label", "white_line_difference")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    path = tmp_path_factory.mktemp("tiff") / "study.zarr"
    return study_of(path, rod=DATA, tomo=tomography_arrays())


def export(study: Study, folder: Path, measurement: str, *arrays: str) -> list[Path]:
    return export_study(
        study,
        folder,
        Choice("tiff", (measurement,), arrays),
        overwrite=False,
        resources=Resources(threads=2),
        progress=Silent(),
    )


@pytest.fixture(scope="module")
def files(study: Study, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    written = export(study, tmp_path_factory.mktemp("out"), "rod", *ARRAYS)
    return {path.name: path for path in written}


def read(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Pages as [z, channel, y, x], and ImageJ's metadata."""
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        size = dict(zip(series.axes, series.shape, strict=True))
        values = series.asarray().reshape(size["Z"], size.get("C", 1), size["Y"], size["X"])
        return values, dict(file.imagej_metadata or {})


def test_there_is_one_file_for_each_temperature(files: dict[str, Path]) -> None:
    assert sorted(files) == [
        "attenuation_01_25C.tif",
        "attenuation_02_180C.tif",
        "grain_label_01_25C.tif",
        "grain_label_02_180C.tif",
        "particle_mask_01_25C.tif",
        "particle_mask_02_180C.tif",
        "white_line_difference.tif",
        "white_line_flag_01_25C.tif",
        "white_line_flag_02_180C.tif",
    ]


def test_pages_are_the_voxels_bit_for_bit(files: dict[str, Path]) -> None:
    for at, name in enumerate(("01_25C", "02_180C")):
        values, _ = read(files[f"attenuation_{name}.tif"])
        assert values.dtype.newbyteorder("=") == np.float32
        np.testing.assert_array_equal(values, DATA["attenuation"].values[at].swapaxes(0, 1))


@pytest.mark.parametrize(
    ("name", "dtype"), [("particle_mask", np.uint8), ("white_line_flag", np.uint8), ("grain_label", np.uint16)]
)
def test_masks_flags_and_labels_take_the_smallest_type_that_holds_them(
    files: dict[str, Path], name: str, dtype: type
) -> None:
    values, _ = read(files[f"{name}_02_180C.tif"])
    assert values.dtype.newbyteorder("=") == dtype
    np.testing.assert_array_equal(values[:, 0], DATA[name].values[1])


def test_integers_that_no_small_type_holds_become_real(study: Study, tmp_path: Path) -> None:
    data = xanes_arrays()[["grain_label"]]
    data["grain_label"].values[1, 3, 2, 1] = -70_000
    (volume,) = volumes_of(study_of(tmp_path / "s.zarr", odd=data), "odd", ["grain_label"])
    assert export_tiff.stored_type(volume, 0, Resources()) == np.uint16
    assert export_tiff.stored_type(volume, 1, Resources()) == np.float32


def test_imagej_is_told_the_voxel_size_and_what_was_measured(files: dict[str, Path]) -> None:
    path = files["attenuation_02_180C.tif"]
    _, words = read(path)
    assert (words["unit"], words["spacing"]) == ("um", PIXEL)
    assert (words["slices"], words["channels"], words["hyperstack"]) == (SHAPE[0], 5, True)
    with tifffile.TiffFile(path) as file:
        assert file.is_imagej
        assert file.pages[0].resolution == pytest.approx((1 / PIXEL, 1 / PIXEL))  # type: ignore[union-attr]
    assert "temperature: 180 degC" in words["Info"]
    assert "units: 1/um" in words["Info"]
    assert "8349.125 eV" in words["Info"]


def test_a_volume_can_be_opened_again(study: Study, tmp_path: Path) -> None:
    (path,) = export(study, tmp_path, "tomo")
    assert path.name == "attenuation.tif"
    opened = voxels_of_pages(open_raw([path]))
    np.testing.assert_array_equal(opened["voxels"].values, tomography_arrays()["attenuation"].values)


def test_a_stack_too_large_for_imagej_is_an_ome_tiff(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_tiff, "_LARGEST_CLASSIC", 1000)
    paths = export(study, tmp_path, "rod", "attenuation")
    with tifffile.TiffFile(paths[1]) as file:
        assert file.is_ome
        assert file.is_bigtiff
        assert f'PhysicalSizeX="{PIXEL}"' in str(file.ome_metadata)
        assert 'PhysicalSizeZUnit="µm"' in str(file.ome_metadata)
        assert 'Name="8349.125 eV"' in str(file.ome_metadata)
    np.testing.assert_array_equal(tifffile.imread(paths[1]), DATA["attenuation"].values[1].swapaxes(0, 1))


def test_pages_written_in_any_order_are_the_same(study: Study, tmp_path: Path) -> None:
    (volume,) = volumes_of(study, "rod", ["attenuation"])
    blocks = blocks_of(volume, temperature=0, resources=Resources(threads=2))
    assert len(blocks) == 2
    contents = []
    for order in (1, -1):
        (output, _) = export_tiff.outputs([volume], tmp_path, Resources())
        path = tmp_path / f"{order}.tif"
        with output.opened(path) as store:
            for block in blocks[::order]:
                store(volume, block, volume.read(block))
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
