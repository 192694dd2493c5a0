from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import require
from cathoscope.io.xradia import (
    FrameName,
    energy_from_file_name,
    frame_of_file_name,
    open_xradia,
    recognise_xradia,
)
from tests.io.ole import write_ole

Content = dict[str, bytes | None]
Writer = Callable[..., Path]
RNG = np.random.default_rng(11)
# 48 x 45 pixels of 16 bits are more than the 4096 bytes below which a stream lies in the mini stream.
IMAGES = RNG.integers(0, 60_000, (7, 48, 45)).astype("<u2")
FLAT = RNG.integers(0, 60_000, (48, 45)).astype("<u2")
ANGLES = (-45.018, -30.014, -15.014, -0.014, 14.986, 29.986, 44.986)


def integer(value: int) -> bytes:
    return struct.pack("<i", value)


def floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def content(images: Any = IMAGES, *, code: int = 5, **info: bytes | None) -> Content:
    """Streams of a scan of ``images``; ``info`` changes streams of ImageInfo, None removes one."""
    known: Content = {
        "ImageHeight": integer(images.shape[1]),
        "ImageWidth": integer(images.shape[2]),
        "DataType": integer(code),
        "NoOfImages": integer(len(images)),
        "ImagesTaken": integer(len(images)),
        "PixelSize": floats(0.0312),
        "Angles": floats(*ANGLES[: len(images)]),
        "Energy": floats(*[9200.017] * len(images)),
        "ExpTimes": floats(*[5.0] * len(images)),
        "Date": b"11/09/15 18:19:21\0\x51\xbe".ljust(40, b"\0"),
        "HorizontalBin": integer(8),
        "ObjectiveName": b"Imaging\0\xa0\x1a",
        **info,
    }
    streams: Content = {f"ImageInfo/{name}": value for name, value in known.items()}
    return streams | {f"ImageData1/Image{k + 1}": image.tobytes() for k, image in enumerate(images)}


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    def write(streams: Content, name: str = "scan.txrm", **options: Any) -> Path:
        return write_ole(tmp_path / name, {k: v for k, v in streams.items() if v is not None}, **options)

    return write


def opened(path: Path, angle_range: tuple[float, float] | None = None) -> xr.Dataset:
    assert recognise_xradia(path) is None
    return open_xradia([path], angle_range)


@pytest.mark.parametrize("sector_size", [512, 4096])
@pytest.mark.parametrize("scatter", [None, 3])
def test_scan_gives_back_what_was_written(write: Writer, sector_size: int, scatter: int | None) -> None:
    rng = None if scatter is None else np.random.default_rng(scatter)
    path = write(content(), sector_size=sector_size, scatter=rng)
    data = opened(path)
    require(data, "counts", "angle", "energy")
    assert data["counts"].dtype == np.uint16
    np.testing.assert_array_equal(data["counts"].values, IMAGES)
    np.testing.assert_array_equal(data["angle"].values, ANGLES)
    assert float(data["energy"]) == 9200.017
    assert data.attrs == {
        "format": "xradia",
        "source": str(path),
        "frame_kind": "sample",
        "planned_projections": 7,
        "pixel_size": 0.0312,
        "exposure_s": 5.0,
        "scan_time": "2015-11-09 18:19:21",
        "binning": 8,
        "objective": "Imaging",
        "remarks": ["the energy 9200.017 eV is from ImageInfo/Energy"],
    }


@pytest.mark.parametrize(
    "key",
    [
        np.s_[3],
        np.s_[:, 10:30],
        np.s_[::-2, 47, 5:9],
        np.s_[[6, 0, 3], [40, 2], :],
        np.s_[2:2],
        np.s_[-1, -1, -1],
        np.s_[:, ::7, [44, 0]],
    ],
)
def test_parts_of_a_scattered_scan_are_parts_of_the_images(write: Writer, key: Any) -> None:
    data = opened(write(content(), scatter=np.random.default_rng(1)))
    expected = xr.DataArray(IMAGES, dims=("projection", "row", "column"))[key]
    np.testing.assert_array_equal(data["counts"][key].values, expected.values)


def test_only_the_rows_asked_for_are_read(write: Writer) -> None:
    path = write(content())
    data = opened(path)
    whole = path.read_bytes()
    place = whole.index(IMAGES[2].tobytes())
    zeroed = place + IMAGES[2][:20].nbytes
    path.write_bytes(whole[:zeroed])
    np.testing.assert_array_equal(data["counts"][2, 5:20].values, IMAGES[2, 5:20])
    with pytest.raises(MeasurementError, match=r"scan\.txrm[\s\S]*image 3 of 7"):
        data["counts"][2, 5:21].load()
    path.unlink()
    with pytest.raises(MeasurementError, match=r"scan\.txrm"):
        data["counts"][0].load()


def test_images_of_floats_and_images_in_the_mini_stream(write: Writer) -> None:
    small = RNG.normal(size=(3, 6, 8)).astype("<f4")
    data = opened(write(content(small, code=10), scatter=np.random.default_rng(2)))
    assert data["counts"].dtype == np.float32
    np.testing.assert_array_equal(data["counts"].values, small)


def test_hundred_images_to_a_storage(write: Writer) -> None:
    images = np.arange(103, dtype="<u2")[:, None, None] * np.ones((1, 2, 3), "<u2")
    streams = content(images, Angles=floats(*np.arange(103)))
    for k in (101, 102, 103):
        streams[f"ImageData2/Image{k}"] = streams.pop(f"ImageData1/Image{k}")
    data = opened(write(streams))
    np.testing.assert_array_equal(data["counts"].values, images)


def test_an_interrupted_scan_gives_the_images_that_exist(write: Writer) -> None:
    planned = np.linspace(-45, 45, 61)
    energies = np.where(np.arange(61) % 10 == 0, 9200.017, 0)
    info = {"NoOfImages": integer(61), "Angles": floats(*planned), "Energy": floats(*energies)}
    data = opened(write(content(**info)))
    np.testing.assert_array_equal(data["counts"].values, IMAGES)
    np.testing.assert_allclose(data["angle"].values, planned[:7], rtol=1e-7)
    assert float(data["energy"]) == 9200.017
    assert data.attrs["planned_projections"] == 61
    assert sum("7 of 61 images" in remark for remark in data.attrs["remarks"]) == 1


def test_a_missing_image_takes_its_angle_with_it(write: Writer) -> None:
    data = opened(write(content() | {"ImageData1/Image3": None}))
    kept = [0, 1, 3, 4, 5, 6]
    np.testing.assert_array_equal(data["counts"].values, IMAGES[kept])
    np.testing.assert_array_equal(data["angle"].values, np.array(ANGLES)[kept])
    assert any("Image3" in remark for remark in data.attrs["remarks"])


def test_angle_range_replaces_the_angles(write: Writer) -> None:
    path = write(content(Angles=None))
    np.testing.assert_array_equal(opened(path, (0, 90))["angle"].values, np.arange(0, 91, 15))
    with pytest.raises(MeasurementError, match=r"Angles is missing[\s\S]*angle_range"):
        opened(path)
    single = write(content(IMAGES[:1], Angles=None), "one.xrm")
    assert "angle" not in opened(single).coords


def test_the_embedded_reference_is_the_flat(write: Writer) -> None:
    reference: Content = {
        "ReferenceData/Image": FLAT.astype("<f4").tobytes(),
        "ReferenceData/DataType": integer(10),
        "ReferenceData/ExpTime": floats(0.3),
    }
    data = opened(write(content(IMAGES[:1], ExpTimes=floats(0.5)) | reference))
    require(data, "flat_counts")
    np.testing.assert_array_equal(data["flat_counts"].values, FLAT[None])
    assert (data.attrs["exposure_s"], data.attrs["flat_exposure_s"]) == (0.5, 0.3)
    assert data.attrs["remarks"][-1] == "exposure times differ, from 0.3 to 0.5 s"
    other = reference | {"ReferenceData/Image": FLAT[:-1].astype("<f4").tobytes()}
    data = opened(write(content() | other))
    assert "flat_counts" not in data
    assert any("ReferenceData/Image" in remark for remark in data.attrs["remarks"])


@pytest.mark.parametrize(
    ("stored", "name", "energy", "remark"),
    [
        ((8354.5,), "a.xrm", 8354.5, "8354.5 eV is from ImageInfo/Energy"),
        ((8.3545,), "a.xrm", 8354.5, "8354.5 eV is from ImageInfo/Energy"),
        ((0.0,), "rep01_s_08324.0_eV_001of003.xrm", 8324.0, "8324 eV is from the file name"),
        ((float("nan"),), "s_08324.5_eV.xrm", 8324.5, "8324.5 eV is from the file name"),
        ((8354.5,), "s_08324.0_eV.xrm", 8354.5, "the file name says another energy, 8324 eV"),
        ((), "a.xrm", None, "unknown"),
        ((8320.0, 8330.0), "a_08324.0_eV.xrm", None, "varies from 8320 to 8330"),
    ],
)
def test_the_energy_says_where_it_is_from(
    write: Writer, stored: tuple[float, ...], name: str, energy: float | None, remark: str
) -> None:
    data = opened(write(content(Energy=floats(*stored)), name))
    assert ("energy" in data.coords) == (energy is not None)
    if energy is not None:
        assert float(data["energy"]) == pytest.approx(energy, rel=1e-12)
    assert any(remark in text for text in data.attrs["remarks"])


@pytest.mark.parametrize(
    ("name", "energy"),
    [
        ("rep01_20161456_ssrl-test-data_08324.0_eV_001of003.xrm", 8324.0),
        ("rep01_000051_ref_20161456_x_12000.25_eV_001of010.xrm", 12000.25),
        ("sample_08324.0_eV.xrm", 8324.0),
        ("fov03_8353_0eV.xrm", None),
        ("sample_08324.0_eVe.xrm", None),
        ("sample_00000.0_eV_1.xrm", None),
        ("20161456_sample.xrm", None),
    ],
)
def test_energy_from_file_name(name: str, energy: float | None) -> None:
    assert energy_from_file_name(name) == energy


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("rep01_20161456_ssrl-test-data_08324.0_eV_001of003.xrm", FrameName("sample", 1, 1, 3)),
        ("rep12_000051_ref_20161456_x_08324.0_eV_002of010.xrm", FrameName("reference", 12, 2, 10)),
        ("test_chip00.xrm", FrameName("sample", None, None, None)),
    ],
)
def test_frame_of_file_name(name: str, frame: FrameName) -> None:
    assert frame_of_file_name(name) == frame


@pytest.mark.parametrize(
    ("info", "attribute", "value"),
    [
        ({"ExpTimes": floats(1, 1, 2, 1, 1, 1, 1)}, "exposure_s", [1.0, 1, 2, 1, 1, 1, 1]),
        ({"ExpTimes": floats(1, float("inf"))}, "exposure_s", None),
        ({"ExpTimes": None}, "exposure_s", None),
        ({"PixelSize": floats(0)}, "pixel_size", None),
        ({"PixelSize": floats(float("nan"))}, "pixel_size", None),
        ({"Date": b"29.05.16 at noon\0"}, "scan_time", "29.05.16 at noon"),
        ({"Date": b"29/05/16 18:19:21\0"}, "scan_time", "29/05/16 18:19:21"),
        ({"Date": b"05/29/2016 18:19:21.25"}, "scan_time", "2016-05-29 18:19:21"),
        ({"Date": b"\0"}, "scan_time", None),
    ],
)
def test_header_values_that_are_odd_or_absent(write: Writer, info: Content, attribute: str, value: Any) -> None:
    assert opened(write(content(**info))).attrs.get(attribute) == value


def test_images_that_are_corrected_already_are_said_to_be(write: Writer) -> None:
    data = opened(write(content(OriginalDataRefCorrected=integer(1))))
    assert any("divided by the reference" in remark for remark in data.attrs["remarks"])


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"ImageInfo/DataType": integer(3)}, r"DataType is not known[\s\S]*5 \(uint16\) or 10 \(float32\)[\s\S]*3"),
        ({"ImageInfo/DataType": None}, "DataType is not known"),
        ({"ImageInfo/ImageWidth": integer(-45)}, "size of the images"),
        ({"ImageInfo/ImageHeight": b"\1"}, "size of the images"),
        ({"ImageInfo/ImageHeight": integer(2**31 - 1)}, "Image1 has another size"),
        ({"ImageData1/Image4": IMAGES[3, 1:].tobytes()}, r"Image4 has another size[\s\S]*4320 bytes[\s\S]*4230 bytes"),
        ({"ImageInfo/Angles": floats(0, float("nan"), *ANGLES[2:])}, "1 of 7 angles are not numbers"),
        ({"ImageInfo/Angles": floats(1, 2)}, "angles do not belong"),
        ({f"ImageData1/Image{k}": None for k in range(1, 8)}, "holds no image"),
    ],
)
def test_files_that_cannot_be_used_say_why(write: Writer, changes: Content, problem: str) -> None:
    path = write(content() | changes)
    with pytest.raises(MeasurementError, match=rf"scan\.txrm[\s\S]*{problem}"):
        opened(path)


def test_other_files_are_not_recognised(write: Writer, tmp_path: Path) -> None:
    other = tmp_path / "text.xrm"
    other.write_text("energy 8324\n")
    assert recognise_xradia(other) == "does not begin as an OLE2 container"
    document = write({"WordDocument": bytes(5000), "Data/x": b"1"}, "thesis.doc")
    reason = recognise_xradia(document)
    assert reason is not None
    assert "'worddocument'" in reason
    cut = write(content())
    cut.write_bytes(cut.read_bytes()[:9000])
    assert recognise_xradia(cut) is None
    with pytest.raises(MeasurementError, match=r"scan\.txrm[\s\S]*truncated or damaged"):
        open_xradia([cut])


@pytest.fixture
def chip(data_folder: Path) -> Path:
    return data_folder / "imaging/chip-txrm-dxchange"


@pytest.fixture
def nca(data_folder: Path) -> Path:
    return data_folder / "imaging/xanespy-ssrl-nca"


def test_chip_tomography(chip: Path) -> None:
    data = opened(chip / "txrm_test_chip_tomo.txrm")
    require(data, "counts", "angle", "energy")
    assert data["counts"].shape == (7, 256, 256)
    assert data["counts"].dtype == np.uint16
    np.testing.assert_allclose(data["angle"].values[[0, -1]], [-45.018, 44.986], atol=5e-4)
    np.testing.assert_allclose(np.diff(data["angle"].values), 15, atol=0.005)
    assert float(data["energy"]) == pytest.approx(9200, abs=0.05)
    assert data.attrs["pixel_size"] == pytest.approx(0.1558, abs=5e-5)
    assert data.attrs["planned_projections"] == 61
    assert any("7 of 61 images" in remark for remark in data.attrs["remarks"])
    whole = (chip / "txrm_test_chip_tomo.txrm").read_bytes()
    # Of this file image 7 lies in one piece from byte 242 x 4096.
    expected = np.frombuffer(whole, "<u2", count=256 * 256, offset=242 * 4096).reshape(256, 256)
    np.testing.assert_array_equal(data["counts"][6].values, expected)


@pytest.mark.parametrize("name", ["test_chip00.xrm", "test_chip01.xrm"])
def test_chip_image_with_its_reference(chip: Path, name: str) -> None:
    data = opened(chip / name)
    assert data["counts"].shape == data["flat_counts"].shape == (1, 512, 512)
    assert float(data["energy"]) == pytest.approx(7191.046, abs=5e-4)
    assert data.attrs["pixel_size"] == pytest.approx(0.0779, abs=5e-5)
    assert data.attrs["flat_exposure_s"] == 40.0
    assert data.attrs["scan_time"] == "2015-11-08 11:58:08"


def mean_rate(folder: Path, pattern: str, n_frames: int) -> Any:
    """Mean counts per second of the frames of one energy."""
    frames = [opened(path) for path in sorted(folder.glob(pattern))]
    assert len(frames) == n_frames
    kinds = {frame.attrs["frame_kind"] for frame in frames}
    assert kinds == {"reference" if "ref" in pattern else "sample"}
    rates = [frame["counts"][0].values / frame.attrs["exposure_s"] for frame in frames]
    return np.mean(rates, axis=0)


def test_edge_jump_of_nca_particles(nca: Path) -> None:
    depth = {
        energy: -np.log(
            mean_rate(nca, f"rep01_2*_{energy}_eV_*.xrm", 3) / mean_rate(nca, f"rep01_*_ref_*_{energy}_eV_*.xrm", 5)
        )
        for energy in ("08324.0", "08354.0")
    }
    particle = depth["08354.0"] - depth["08324.0"] > 0.3
    assert particle.sum() == 164_956
    assert depth["08324.0"][particle].mean() == pytest.approx(1.197, abs=5e-4)
    assert depth["08354.0"][particle].mean() == pytest.approx(1.686, abs=5e-4)


def test_an_ssrl_frame_is_described(nca: Path) -> None:
    path = nca / "rep01_000352_ref_20161456_ssrl-test-data_08354.0_eV_002of010.xrm"
    data = opened(path)
    assert float(data["energy"]) == 8354.0
    assert "8354 eV is from the file name" in data.attrs["remarks"][0]
    known = {"exposure_s": 0.3, "pixel_size": 0.0312, "frame_kind": "reference", "repetition": 1, "binning": 2}
    known |= {"frame": 2, "n_frames": 10, "planned_projections": 1}
    assert {name: data.attrs[name] for name in known} == known
    assert data.attrs["scan_time"].startswith("2016-05-29 ")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("rep02_000072_ref_20161456_ssrl-test-data_08348.0_eV_002of010.xrm", r"holds no image[\s\S]*ImagesTaken 0"),
        ("rep02_000182_ref_20161456_ssrl-test-data_08400.0_eV_002of010.xrm", "12288 of 2097152 bytes"),
    ],
)
def test_interrupted_ssrl_frames_say_what_is_lost(nca: Path, name: str, reason: str) -> None:
    with pytest.raises(MeasurementError, match=reason):
        opened(nca / name)
