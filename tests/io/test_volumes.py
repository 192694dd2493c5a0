from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import require
from cathoscope.io import open_raw
from cathoscope.io.txm import recognise_data_exchange, recognise_fxi
from cathoscope.io.volumes import (
    open_hdf5_volume,
    open_sandbox_cube,
    recognise_hdf5_volume,
    recognise_sandbox_cube,
    slice_numbers,
    voxels_of_pages,
)

Writer = Callable[..., Path]
CUBE = np.random.default_rng(5).normal(size=(4, 9, 10, 11)).astype(np.float32)
ENERGIES = np.array([8.33, 8.34, 8.35, 8.36])
REGISTERED = "registration_results/reg_results/registered_xanes3D"
ENERGY_LIST = "registration_results/reg_results/eng_list"
TRIAL_LIST = "trial_registration/trial_reg_parameters/eng_list"


@pytest.fixture
def write_cube(tmp_path: Path) -> Writer:
    def write(energies: Any = ENERGIES, cube: Any = CUBE, **others: Any) -> Path:
        path = tmp_path / "3D_trial_reg_scan_id_1-4.h5"
        with h5py.File(path, "w") as file:
            for name, values in {REGISTERED: cube, ENERGY_LIST: energies, **others}.items():
                if values is not None:
                    file[name] = values
        return path

    return write


# -- the aligned cube of TXM-Sandbox ----------------------------------------------------------------


@pytest.mark.parametrize("unit", [1.0, 1e3])
def test_the_cube_comes_lazily_with_energies_in_ev(write_cube: Writer, unit: float) -> None:
    path = write_cube(ENERGIES * unit)
    assert recognise_sandbox_cube(path) is None
    data = open_sandbox_cube([path])
    require(data, "voxels", "energy")
    assert data["voxels"].dims == ("energy", "z", "y", "x")
    np.testing.assert_allclose(data["energy"].values, 1e3 * ENERGIES, rtol=1e-12)
    np.testing.assert_array_equal(data["voxels"][1:, 3, 2:7:2].values, CUBE[1:, 3, 2:7:2])
    assert data.attrs["format"] == "sandbox_cube"
    assert data.attrs["remarks"] == []


def test_energies_out_of_order_are_sorted_with_their_volumes(write_cube: Writer) -> None:
    order = [2, 0, 3, 1]
    data = open_sandbox_cube([write_cube(ENERGIES[order], CUBE[order])])
    np.testing.assert_allclose(data["energy"].values, 1e3 * ENERGIES, rtol=1e-12)
    np.testing.assert_array_equal(data["voxels"][:, 4].values, CUBE[:, 4])
    assert data.attrs["remarks"] == ["energies were not ascending and have been sorted"]


def test_a_list_that_was_never_filled_gives_way_to_the_trial_list(write_cube: Writer) -> None:
    data = open_sandbox_cube([write_cube(np.zeros(4), **{TRIAL_LIST: ENERGIES})])
    np.testing.assert_allclose(data["energy"].values, 1e3 * ENERGIES, rtol=1e-12)
    assert "never filled" in data.attrs["remarks"][0]


def test_volumes_that_were_never_filled_are_named(write_cube: Writer) -> None:
    cube = CUBE.copy()
    cube[1], cube[3] = 0, np.nan
    remark = open_sandbox_cube([write_cube(cube=cube)]).attrs["remarks"]
    assert remark == ["2 of 4 volumes are empty in their middle row: 8340, 8360 eV"]


@pytest.mark.parametrize(
    ("energies", "cube", "words"),
    [
        (None, CUBE, "energies of the cube are missing"),
        (ENERGIES[:3], CUBE, r"4 energies, one for each volume[\s\S]*\(3,\)"),
        (ENERGIES * [1, 0, 1, -1], CUBE, "2 of 4 numbers"),
        (np.zeros(4), CUBE, "4 of 4 numbers"),
        (ENERGIES[[0, 1, 1, 3]], CUBE, "8340 eV more than once"),
        (ENERGIES, CUBE[0], "no stack of volumes"),
        (ENERGIES, CUBE.astype("S4"), "no stack of volumes"),
    ],
)
def test_a_cube_that_cannot_be_used(write_cube: Writer, energies: Any, cube: Any, words: str) -> None:
    path = write_cube(energies, cube)
    with pytest.raises(MeasurementError, match=rf"{path.name}[\s\S]*{words}"):
        open_sandbox_cube([path])


def test_a_cube_that_was_made_but_never_written(tmp_path: Path) -> None:
    path = tmp_path / "aborted.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset(REGISTERED, (4, 100, 100, 100), "f4")
        file[ENERGY_LIST] = ENERGIES
    with pytest.raises(MeasurementError, match=r"aborted.h5[\s\S]*never written"):
        open_sandbox_cube([path])


# -- a plain volume ---------------------------------------------------------------------------------


def test_the_only_volume_is_found_wherever_it_is(write_hdf5: Writer) -> None:
    path = write_hdf5({"a/b/rec": CUBE[0], "table": np.ones((500, 7)), "colour": np.ones((30, 40, 3)), "n": 3})
    assert recognise_hdf5_volume(path) is None
    data = open_hdf5_volume([path])
    require(data, "voxels")
    np.testing.assert_array_equal(data["voxels"][2:5, :, 3].values, CUBE[0, 2:5, :, 3])
    assert "energy" not in data.coords
    assert data.attrs["dataset"] == "/a/b/rec"


def test_of_several_the_one_with_a_usual_name(write_hdf5: Writer) -> None:
    data = open_hdf5_volume([write_hdf5({"entry/data": CUBE[1], "entry/weights": CUBE[0]})])
    np.testing.assert_array_equal(data["voxels"].values, CUBE[1])
    assert data.attrs["remarks"] == ["/entry/data is taken as the volume; also there: /entry/weights"]


@pytest.mark.parametrize("names", [("one", "two"), ("recon", "volume")])
def test_several_candidates_are_listed(write_hdf5: Writer, names: tuple[str, str]) -> None:
    path = write_hdf5(dict.fromkeys(names, CUBE[0]))
    assert recognise_hdf5_volume(path) is None
    with pytest.raises(MeasurementError, match=rf"2 arrays[\s\S]*/{names[0]} \(9, 10, 11\)[\s\S]*/{names[1]}"):
        open_hdf5_volume([path])


def test_energy_of_a_volume_and_of_a_stack(write_hdf5: Writer) -> None:
    one = open_hdf5_volume([write_hdf5({"img": CUBE[0], "X_eng": 8.35, "rot_cen": 5.0}, "one.h5")])  # as pyxas writes
    assert one["energy"].item() == pytest.approx(8350.0)
    stack = open_hdf5_volume([write_hdf5({"g/data": CUBE[::-1], "g/energy": 1e3 * ENERGIES[::-1]}, "stack.h5")])
    np.testing.assert_array_equal(stack["voxels"].sel(energy=8340.0).values, CUBE[1])
    unknown = open_hdf5_volume([write_hdf5({"data": CUBE, "energy": ENERGIES[:2]}, "unknown.h5")])
    assert "energy" not in unknown.coords
    assert "does not give its values" in unknown.attrs["remarks"][0]


@pytest.mark.parametrize(
    ("attributes", "size", "remark"),
    [
        ({"pixel_size": "20 nm"}, 0.02, ""),
        ({"voxel_size_nm": [50.0, 50.0, 50.0]}, 0.05, ""),
        ({"element_size_um": [0.03, 0.03, 0.03]}, 0.03, ""),
        ({"pixel_size": 31.2, "units": "nm"}, 0.0312, ""),
        ({"pixel_size": 31.2}, None, "no unit"),
        ({"voxel_size_um": [0.1, 0.02, 0.02]}, None, "differs between the axes"),
        ({"pixel_size": "-"}, None, "no unit"),
    ],
)
def test_pixel_size(tmp_path: Path, attributes: dict[str, Any], size: float | None, remark: str) -> None:
    path = tmp_path / "volume.h5"
    with h5py.File(path, "w") as file:
        file["volume"] = CUBE[0]
        file["volume"].attrs.update(attributes)
    data = open_hdf5_volume([path])
    assert data.attrs.get("pixel_size") == (None if size is None else pytest.approx(size))
    assert all(remark in text for text in data.attrs["remarks"])
    assert len(data.attrs["remarks"]) == (size is None)


def test_scans_are_no_volumes(write_hdf5: Writer, fxi_content: Any, exchange_content: Any, write_cube: Writer) -> None:
    fxi, exchange = write_hdf5(fxi_content, "fxi.h5"), write_hdf5(exchange_content, "exchange.h5")
    image = np.ones((20, 30, 40), np.uint16)
    assert "Data Exchange" in (recognise_hdf5_volume(exchange) or "")
    assert "aligned cube" in (recognise_hdf5_volume(write_cube()) or "")
    assert recognise_hdf5_volume(fxi) is not None
    for name in ("img_tomo", "img_xanes", "entry/detector/detector"):
        assert f"/{name}" in (recognise_hdf5_volume(write_hdf5({name: image}, "scan.h5")) or "")
    assert "NXtomo" in (recognise_hdf5_volume(write_hdf5({"e/data": image, "e/image_key": [0]}, "nx.h5")) or "")
    assert "/t (5,)" in (recognise_hdf5_volume(write_hdf5({"t": np.ones(5)}, "t.h5")) or "")


def test_volumes_are_no_scans(write_hdf5: Writer, write_cube: Writer, tmp_path: Path) -> None:
    plain = write_hdf5({"img": CUBE[0], "X_eng": 8.35})
    for path in (plain, write_cube()):
        assert recognise_fxi(path) is not None
        assert recognise_data_exchange(path) is not None
    assert recognise_sandbox_cube(plain) is not None
    text = tmp_path / "text"
    text.write_text("volume")
    assert recognise_hdf5_volume(text) == recognise_sandbox_cube(text) == "not an HDF5 file"


def test_links_are_not_followed_and_a_group_may_contain_itself(tmp_path: Path) -> None:
    path = tmp_path / "circle.h5"
    with h5py.File(path, "w") as file:
        file["g/volume"] = CUBE[0]
        file["g/self"] = file["g"]
        file["soft"] = h5py.SoftLink("/g/volume")
        file["broken"] = h5py.ExternalLink("absent.h5", "/data")
    np.testing.assert_array_equal(open_hdf5_volume([path])["voxels"].values, CUBE[0])


def test_a_volume_as_large_as_a_disk_is_opened_and_a_corner_of_it_read(tmp_path: Path) -> None:
    path = tmp_path / "large.h5"
    with h5py.File(path, "w") as file:
        large = file.create_dataset("volume", (40_000, 40_000, 40_000), "f4", chunks=(8, 8, 8), fillvalue=0)
        large[:8, :8, :8] = CUBE[0, :8, :8, :8]
    data = open_hdf5_volume([path])
    assert data.nbytes > 1e14
    np.testing.assert_array_equal(data["voxels"][:8, :8, 7].values, CUBE[0, :8, :8, 7])


# The HDF5 library follows a damaged heap's list of free blocks in circles, allocating as it goes, until the
# system stops it; then it reports an error as for any other damage.
DAMAGE = """
import resource
import sys
from pathlib import Path
import numpy as np
from cathoscope.core.errors import MeasurementError
from cathoscope.io import volumes
resource.setrlimit(resource.RLIMIT_AS, (10**9, 10**9))
path, name, begin = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
whole = np.frombuffer(path.read_bytes(), np.uint8)
refused = 0
for seed in range(begin, begin + 300):
    rng = np.random.default_rng(seed)
    damaged = whole[: rng.integers(1, whole.size + 1)].copy() if seed % 3 == 0 else whole.copy()
    places = rng.integers(0, min(damaged.size, 6000), rng.integers(1, 12))
    damaged[places] = rng.integers(0, 256, places.size)
    target = path.with_name(f"damaged_{seed}.h5")
    target.write_bytes(damaged.tobytes())
    try:
        if getattr(volumes, f"recognise_{name}")(target) is None:
            getattr(volumes, f"open_{name}")([target])["voxels"][..., 0, 0, :5].load()
        else:
            refused += 1
    except MeasurementError as error:
        assert target.name in str(error), error
        refused += 1
    target.unlink()
assert refused > 100, refused
"""


@pytest.mark.parametrize("name", ["sandbox_cube", "hdf5_volume"])
def test_damaged_files_raise_only_our_error(write_cube: Writer, write_hdf5: Writer, name: str) -> None:
    path = write_cube() if name == "sandbox_cube" else write_hdf5({"g/data": CUBE[0], "g/energy": 8.3, "t": np.eye(5)})
    pytest.importorskip("resource", reason="memory is limited with the module resource of Unix")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", DAMAGE, path, name, "7"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


# -- slices as images -------------------------------------------------------------------------------


def write_slices(folder: Path, numbers: list[int]) -> list[Path]:
    paths = [folder / f"recon_fly_scan_id_20171_{number:05d}.tiff" for number in numbers]
    for path, number in zip(paths, numbers, strict=True):
        tifffile.imwrite(path, CUBE[0, number % 9])
    return paths


@pytest.mark.parametrize(
    ("numbers", "remark"),
    [
        ([3, 4, 5, 6], ""),
        ([9, 10, 11], ""),
        ([7], ""),
        ([1, 2, 4, 8, 9], "slices 1 to 9: 3, 5-7 missing; z counts the slices that are there"),
        ([2, 4, 6], "slices 2 to 6 go in steps of 2; z counts the slices that are there"),
    ],
)
def test_missing_slices_are_named(tmp_path: Path, numbers: list[int], remark: str) -> None:
    paths = write_slices(tmp_path, numbers)
    data = voxels_of_pages(open_raw(paths[::-1]), paths[::-1])
    require(data, "voxels")
    np.testing.assert_array_equal(data["voxels"].values, CUBE[0, [number % 9 for number in numbers]])
    assert data.attrs["remarks"] == ([remark] if remark else [])


def test_pages_of_one_file_are_slices(tmp_path: Path) -> None:
    path = tmp_path / "recon_7.tif"
    tifffile.imwrite(path, CUBE[0], photometric="minisblack")
    pages = open_raw(path)
    data = voxels_of_pages(pages, [path])
    np.testing.assert_array_equal(data["voxels"][4, :, 2].values, CUBE[0, 4, :, 2])
    assert data["voxels"].dims == ("z", "y", "x")
    assert pages["pages"].dims == ("page", "row", "column")


@settings(max_examples=50, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 99_999), min_size=2, max_size=30, unique=True),
    width=st.integers(1, 6),
    scan=st.integers(0, 99_999),
)
def test_slice_numbers_come_back_from_the_names(numbers: list[int], width: int, scan: int) -> None:
    names = [Path(f"/data/7/rec_{scan}_slice{number:0{width}d}.tif") for number in numbers]
    assert slice_numbers(names) == sorted(numbers)


def test_names_that_are_not_numbered_give_no_numbers() -> None:
    for names in (
        ["a_1.tif", "b_2.tif"],
        ["1_1.tif", "2_2.tif"],
        ["a.tif", "b.tif"],
        ["a_1.tif", "a_01.tif"],
        ["a_1.tif"],
    ):
        assert slice_numbers([Path(name) for name in names]) == []


def test_nanoporous_gold_is_numbered_without_gaps(data_folder: Path) -> None:
    paths = sorted((data_folder / "imaging/npg-nanotomo-tomo77/tiff_sequence").glob("*.tiff"))
    data: xr.Dataset = voxels_of_pages(open_raw(paths), paths)
    assert data["voxels"].shape == (451, 79, 83)
    assert data.attrs["remarks"] == []
    lost = [path for path in paths if path.stem != "tomo77_107"]
    assert "107 missing" in voxels_of_pages(open_raw(lost), lost).attrs["remarks"][0]


def test_frames_beside_a_scan_are_not_taken_for_a_volume(data_folder: Path) -> None:
    folder = data_folder / "imaging/diad-k11-nxtomo"
    assert ".nxs" in (recognise_hdf5_volume(folder / "k11-18014-imaging.h5") or "")
    assert "(3201,)" in (recognise_hdf5_volume(folder / "k11-18014-pcompPanda.h5") or "")
    assert recognise_hdf5_volume(folder / "k11-18014.nxs") is not None
