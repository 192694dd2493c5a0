from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import require
from cathoscope.io.lazy import lazy
from cathoscope.io.nexus import FrameStack, open_nxtomo, recognise_nxtomo

Content = dict[str, Any]
Writer = Callable[..., Path]
SHAPE = (3, 4)
DETECTOR = "instrument/detector"
# Darks, flats, projections with flats and invalid frames between them, darks: what an interrupted scan looks like.
KEY = np.array([2, 2, 1, 1, 1, 0, 0, 0, 1, 0, 0, 3, 0, 1, 2])
ANGLE = np.where(KEY == 0, 10.0 + 12.0 * np.cumsum(KEY == 0), 10.0)
FRAMES = np.random.default_rng(5).integers(0, 60_000, (KEY.size, *SHAPE)).astype(np.uint16)


def nxtomo(**changes: Any) -> Content:
    """Content of an entry, by path; an entry of ``changes`` that is None is left out ("/" is written "__")."""
    content: Content = {
        "definition": "NXtomo",
        f"{DETECTOR}/data": FRAMES,
        f"{DETECTOR}/image_key": KEY,
        "sample/rotation_angle": ANGLE,
    }
    content |= {name.replace("__", "/"): value for name, value in changes.items()}
    return {name: value for name, value in content.items() if value is not None}


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    """Writes an entry; a value may be a tuple (value, unit) or a link."""

    def writer(content: Content, name: str = "scan.nxs", entry: str = "entry", **options: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "a") as file:
            for key, stored in content.items():
                value, unit = stored if isinstance(stored, tuple) else (stored, None)
                if isinstance(value, (h5py.ExternalLink, h5py.SoftLink)):
                    file.require_group(f"{entry}/{key}".rpartition("/")[0])
                    file[f"{entry}/{key}"] = value
                    continue
                made = file.create_dataset(f"{entry}/{key}", data=value, **(options if np.ndim(value) == 3 else {}))
                if unit is not None:
                    made.attrs["units"] = unit
        return path

    return writer


def remarks_of(data: xr.Dataset, *words: str) -> list[str]:
    return [remark for remark in data.attrs["remarks"] if all(word in remark for word in words)]


@pytest.mark.parametrize("entry", ["entry", "entry1/tomo_entry", "entry0000"])
def test_every_kind_of_frame_comes_back_in_its_order(write: Writer, entry: str) -> None:
    path = write(nxtomo(), entry=entry)
    assert recognise_nxtomo(path) is None
    data = open_nxtomo([path])
    require(data, "counts", "flat_counts", "dark_counts", "angle")
    for name, value in (("counts", 0), ("flat_counts", 1), ("dark_counts", 2)):
        np.testing.assert_array_equal(data[name].values, FRAMES[value == KEY])
        assert data[name].dtype == np.uint16
    np.testing.assert_array_equal(data["angle"].values, ANGLE[KEY == 0])
    assert data.attrs["format"] == "nxtomo"
    assert data.attrs["source"] == str(path)
    assert data.attrs["linked_files"] == []
    assert remarks_of(data, "1 of 15 frames", "invalid")
    assert remarks_of(data, "first projection is at 22 deg")
    assert len(data.attrs["remarks"]) == 2
    assert "energy" not in data
    assert "pixel_size" not in data.attrs


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.lists(st.integers(0, 4), min_size=0, max_size=20))
def test_the_frames_of_all_kinds_together_are_the_stack(tmp_path_factory: Any, key: list[int]) -> None:
    full = np.array([0, 1, *key, 2, 0])
    path = tmp_path_factory.mktemp("key") / "scan.nxs"
    frames = np.arange(full.size * 4, dtype=np.float32).reshape(-1, 2, 2)
    with h5py.File(path, "w") as file:
        file.update({"e/instrument/d/data": frames, "e/instrument/d/image_key": full})
        file["e/sample/rotation_angle"] = np.arange(full.size) * 1.5
    data = open_nxtomo([path])
    parts = [data[name].values for name in ("counts", "flat_counts", "dark_counts")]
    together = np.concatenate(parts)
    assert sorted(together[:, 0, 0]) == sorted(frames[full < 3, 0, 0])
    for value, part in enumerate(parts):
        np.testing.assert_array_equal(part, frames[full == value])
    np.testing.assert_array_equal(data["angle"].values, np.flatnonzero(full == 0) * 1.5)
    set_aside = sum(int(remark.split()[0]) for remark in remarks_of(data, "set aside"))
    assert set_aside + len(together) == full.size


KEYS = [
    (slice(None), slice(1, 3), slice(None)),
    (slice(None, None, -1), slice(None), slice(None, None, 2)),
    (3, slice(None), slice(None)),
    (slice(2, 9, 3), 1, slice(None, None, -1)),
    (np.array([4, 0, 4]), slice(None), 2),
    (np.array([1, 2, 5]), np.array([2, 0]), np.array([3, 3, 1])),
    (slice(4, 4), slice(None), slice(None)),
    (slice(None), np.array([], dtype=int), slice(None)),
    (0, 0, 0),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_every_orthogonal_index_gives_what_numpy_gives(write: Writer, key: tuple[Any, ...]) -> None:
    frames = np.array([0, 1, 2, 5, 6, 4, 3, 14])
    path = write(nxtomo())
    stack = FrameStack(path, f"entry/{DETECTOR}/data", frames, SHAPE, FRAMES.dtype)
    dims = ("frame", "row", "column")
    found = xr.DataArray(lazy(stack), dims=dims)[key]
    np.testing.assert_array_equal(found.values, xr.DataArray(FRAMES[frames], dims=dims)[key].values)


class Reads:
    """Counts what is read of three-dimensional datasets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.selections: list[tuple[slice, ...]] = []
        original = h5py.Dataset.read_direct

        def counted(dataset: h5py.Dataset, dest: Any, source_sel: Any = None, dest_sel: Any = None) -> None:
            self.selections.append(source_sel)
            original(dataset, dest, source_sel, dest_sel)

        monkeypatch.setattr(h5py.Dataset, "read_direct", counted)

    @property
    def n_values(self) -> int:
        """Number of values read."""
        return sum(int(np.prod([part.stop - part.start for part in parts])) for parts in self.selections)


def test_only_what_is_asked_for_is_read_adjacent_frames_at_once(write: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(nxtomo())
    reads = Reads(monkeypatch)
    data = open_nxtomo([path])
    assert reads.selections == []
    values = data["counts"][:, 1:3].values
    frames = [(parts[0].start, parts[0].stop) for parts in reads.selections]
    assert frames == [(5, 8), (9, 11), (12, 13)]
    assert reads.n_values == values.size


@pytest.mark.parametrize("chunks", [None, (1, 700, 1000)])
def test_a_large_scan_costs_the_memory_of_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunks: tuple[int, ...] | None
) -> None:
    path = tmp_path / "large.nxs"
    key = np.zeros(1000, dtype=np.int32)
    key[::50], key[-20:] = 1, 2
    with h5py.File(path, "w") as file:
        file.create_dataset("e/instrument/detector/data", (1000, 700, 1000), "u2", chunks=chunks, fillvalue=7)  # 1.4 GB
        file["e/instrument/detector/image_key"] = key
        file["e/sample/rotation_angle"] = np.linspace(0, 180, 1000)
    assert path.stat().st_size < 1e6
    reads = Reads(monkeypatch)
    tracemalloc.start()
    try:
        data = open_nxtomo([path])
        _, to_open = tracemalloc.get_traced_memory()
        values = data["counts"][:, 10:20].values
        _, to_read = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert values.shape == (960, 10, 1000)
    assert (values == 7).all()
    assert reads.n_values == values.size
    assert len(reads.selections) == 20
    assert to_open < 2e6
    assert values.nbytes < to_read < 1.5 * values.nbytes


@pytest.mark.parametrize("unit", ["deg", "degrees", None, "rad"])
def test_angles_of_frames_or_of_projections_in_degrees(write: Writer, unit: str | None) -> None:
    factor = np.pi / 180 if unit == "rad" else 1.0
    for number, angle in enumerate((ANGLE, ANGLE[KEY == 0], ANGLE[:, None])):
        data = open_nxtomo([write(nxtomo(sample__rotation_angle=(angle * factor, unit)), f"{number}.nxs")])
        np.testing.assert_allclose(data["angle"].values, ANGLE[KEY == 0], rtol=1e-14)
        assert len(remarks_of(data, "were in rad")) == (unit == "rad")


def test_a_key_with_a_dimension_of_one_more_is_the_same_key(write: Writer) -> None:
    data = open_nxtomo([write(nxtomo(**{f"{DETECTOR}/image_key": KEY[:, None].astype(float)}))])
    np.testing.assert_array_equal(data["counts"].values, FRAMES[KEY == 0])


def test_angles_of_flats_need_not_be_numbers(write: Writer) -> None:
    angle = np.where(KEY == 0, ANGLE, np.nan)
    data = open_nxtomo([write(nxtomo(sample__rotation_angle=angle))])
    np.testing.assert_array_equal(data["angle"].values, ANGLE[KEY == 0])
    angle[6] = np.nan
    with pytest.raises(MeasurementError, match="1 of 6 angles are not numbers"):
        open_nxtomo([write(nxtomo(sample__rotation_angle=angle), "nan.nxs")])


def test_a_start_at_zero_needs_no_remark(write: Writer) -> None:
    data = open_nxtomo([write(nxtomo(sample__rotation_angle=ANGLE - 22.0))])
    assert data["angle"].values[0] == 0.0
    assert remarks_of(data, "first projection") == []


@pytest.mark.parametrize("n", [0, 1, 5, 7, 14, 16])
def test_another_number_of_angles_is_an_error_that_says_both(write: Writer, n: int) -> None:
    path = write(nxtomo(sample__rotation_angle=np.arange(float(n))))
    with pytest.raises(MeasurementError, match=rf"15 angles, one for each frame, or 6.*\n.*\({n},\)"):
        open_nxtomo([path])
    data = open_nxtomo([path], angle_range=(0, 100))
    np.testing.assert_allclose(data["angle"].values, np.arange(6) * 20.0, rtol=1e-15)
    assert len(remarks_of(data, "replaced by the recipe's angle_range")) == 1


def test_projections_after_the_stage_stopped_are_left_out(write: Writer) -> None:
    key = np.array([1, 2] + [0] * 30)
    angle = np.minimum(np.arange(32.0), 27.0)
    frames = np.arange(32 * 12, dtype=np.uint16).reshape(32, *SHAPE)
    data = open_nxtomo(
        [write(nxtomo(sample__rotation_angle=angle, **{f"{DETECTOR}/data": frames, f"{DETECTOR}/image_key": key}))]
    )
    np.testing.assert_array_equal(data["angle"].values, np.arange(2.0, 28.0))
    np.testing.assert_array_equal(data["counts"].values, frames[2:28])
    assert remarks_of(data, "the last 4 projections", "stopped")


def test_angles_on_the_axis_of_the_data_group(write: Writer) -> None:
    path = write(nxtomo(sample__rotation_angle=None, detector__theta_value=ANGLE, detector__theta_value_set=-ANGLE))
    with h5py.File(path, "a") as file:
        file["entry/detector"].attrs.update({"NX_class": b"NXdata", "axes": np.array([b"theta_value_set", b".", b"."])})
        file["entry/detector/temperature"] = ANGLE + 1
    data = open_nxtomo([path])
    np.testing.assert_array_equal(data["angle"].values, ANGLE[KEY == 0])
    assert remarks_of(data, "the angles are those of /entry/detector/theta_value")
    with h5py.File(path, "a") as file:
        del file["entry/detector/theta_value"]
    np.testing.assert_array_equal(open_nxtomo([path])["angle"].values, -ANGLE[KEY == 0])
    with h5py.File(path, "a") as file:
        file["entry/detector/rotation_angle"] = 2 * ANGLE
    np.testing.assert_array_equal(open_nxtomo([path])["angle"].values, 2 * ANGLE[KEY == 0])


def test_without_angles_there_is_an_error_and_a_cure(write: Writer) -> None:
    path = write(nxtomo(sample__rotation_angle=None))
    with pytest.raises(MeasurementError, match=r"angles of the projections are not known[\s\S]*angle_range"):
        open_nxtomo([path])
    assert open_nxtomo([path], angle_range=(0, 10)).sizes["projection"] == 6
    for wrong in (["a"] * 15, {}):
        with h5py.File(path, "a") as file:
            file.pop("entry/sample", None)
            if isinstance(wrong, list):
                file["entry/sample/rotation_angle"] = wrong
            else:
                file.create_group("entry/sample/rotation_angle")
        with pytest.raises(MeasurementError, match="angles of the projections are not known"):
            open_nxtomo([path])


@pytest.mark.parametrize(
    ("stored", "energy", "n_remarks"),
    [
        ((8.35, "keV"), 8350.0, 0),
        ((8350.0, "eV"), 8350.0, 0),
        ((8.35, "KeV"), 8350.0, 0),
        ((8.35, None), 8350.0, 1),
        ((8350.0, "keV"), 8350.0, 1),
        ((1.3e-15, "J"), None, 1),
        ((0.0, "keV"), None, 1),
        (("high", None), None, 0),
        ((np.array([8.3, 8.4]), "keV"), None, 0),
    ],
)
def test_energy(write: Writer, stored: Any, energy: float | None, n_remarks: int) -> None:
    for number, name in enumerate(("instrument/beam/incident_energy", "beam/incident_energy")):
        data = open_nxtomo([write(nxtomo() | {name: stored}, f"{number}.nxs")])
        found = float(data["energy"]) if "energy" in data else None
        assert found == (None if energy is None else pytest.approx(energy, rel=1e-12))
        assert len(remarks_of(data, "energy")) == n_remarks


def test_the_energy_of_the_ring_is_not_that_of_the_photons(write: Writer) -> None:
    path = write(nxtomo() | {"instrument/source/energy": (3.0, "GeV"), "instrument/dcm/energy": (8.35, "keV")})
    assert "energy" not in open_nxtomo([path])
    with h5py.File(path, "a") as file:
        file["entry/instrument/dcm"].attrs["NX_class"] = "NXmonochromator"
    assert float(open_nxtomo([path])["energy"]) == pytest.approx(8350.0, rel=1e-12)


@pytest.mark.parametrize(
    ("sizes", "pixel_size", "n_remarks"),
    [
        ({"x": (6.5, "um")}, 6.5, 1),
        ({"x": (6.5e-6, "m"), "magnification": 10.0}, 0.65, 0),
        ({"x": (0.0065, "mm"), "y": (0.0065, "mm"), "magnification": 10.0}, 0.65, 0),
        ({"x": (6.5, "um"), "y": (13.0, "um"), "magnification": 10.0}, 0.65, 1),
        ({"x": (6.5, "um"), "magnification": 0.0}, 6.5, 1),
        ({"x": (6.5, None)}, None, 1),
        ({"x": (-6.5, "um")}, None, 1),
        ({"x": (6.5, "um"), "magnification": 10.0, "sample": (640.0, "nm")}, 0.64, 0),
        ({}, None, 0),
    ],
)
def test_pixel_size(write: Writer, sizes: Content, pixel_size: float | None, n_remarks: int) -> None:
    places = {
        "x": f"{DETECTOR}/x_pixel_size",
        "y": f"{DETECTOR}/y_pixel_size",
        "magnification": f"{DETECTOR}/magnification",
        "sample": "sample/x_pixel_size",
    }
    data = open_nxtomo([write(nxtomo() | {places[name]: value for name, value in sizes.items()})])
    assert data.attrs.get("pixel_size") == (None if pixel_size is None else pytest.approx(pixel_size, rel=1e-12))
    assert len(remarks_of(data, "pixel")) == n_remarks


def test_metadata_of_the_entry_and_of_the_entry_around_it(write: Writer) -> None:
    path = write(nxtomo(title="rod", sample__name=b"NMC", **{f"{DETECTOR}/count_time": 0.5}), entry="entry1/tomo_entry")
    write({"start_time": "2026-02-01T10:00:00", "title": "outer", "entry_identifier": 77}, entry="entry1")
    attributes = open_nxtomo([path]).attrs
    assert {name: attributes[name] for name in ("title", "sample_name", "start_date", "scan_id", "exposure_s")} == {
        "title": "rod",
        "sample_name": "NMC",
        "start_date": "2026-02-01T10:00:00",
        "scan_id": 77,
        "exposure_s": 0.5,
    }


def test_images_for_alignment_are_set_aside(write: Writer) -> None:
    control = np.where(np.arange(KEY.size) == 12, -1, KEY)
    data = open_nxtomo([write(nxtomo(**{f"{DETECTOR}/image_key_control": control}))])
    np.testing.assert_array_equal(data["counts"].values, FRAMES[[5, 6, 7, 9, 10]])
    assert remarks_of(data, "1 of 15 frames", "alignment")


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("data", FRAMES[:, :, 0], r"uint16 of shape \(15, 3\)"),
        ("data", FRAMES[:14], r"image_key has shape \(15,\), data 14 frames"),
        ("data", FRAMES[:, :1, :1], r"shape \(15, 1, 1\)"),
        ("data", np.full((15, 2, 2), b"a"), r"\|S1 of shape"),
        ("data", FRAMES * 1j, "complex128"),
        ("image_key", KEY[:3], r"image_key has shape \(3,\), data 15 frames"),
        ("image_key", 0, r"image_key has shape \(\)"),
        ("image_key", KEY + 5, "holds none of 0"),
        ("image_key", KEY + 0.5, "holds none of 0"),
        ("image_key", ["a"] * 15, "no list of numbers"),
        ("image_key", None, "no detector with data and image_key"),
        ("data", None, "no detector with data and image_key"),
    ],
)
def test_wrong_shapes_and_types_are_named(write: Writer, name: str, value: Any, found: str) -> None:
    path = write(nxtomo(**{f"{DETECTOR}/{name}": value}))
    assert recognise_nxtomo(path) is None  # it says NXtomo
    with pytest.raises(MeasurementError, match=found) as caught:
        open_nxtomo([path])
    assert "scan.nxs" in str(caught.value)


@pytest.mark.parametrize("kind", ["projection", "flat", "dark"])
def test_a_missing_kind_of_frame_is_an_error(write: Writer, kind: str) -> None:
    value = {"projection": 0, "flat": 1, "dark": 2}[kind]
    path = write(nxtomo(**{f"{DETECTOR}/image_key": np.where(value == KEY, 3, KEY)}))
    with pytest.raises(MeasurementError, match=rf"the scan has no {kind} frames[\s\S]*0 {kind}"):
        open_nxtomo([path])


def test_of_two_detectors_the_one_with_images_is_used(write: Writer) -> None:
    path = write(nxtomo() | {"instrument/a_diode/data": np.ones(15), "instrument/a_diode/image_key": KEY})
    data = open_nxtomo([path])
    np.testing.assert_array_equal(data["counts"].values, FRAMES[KEY == 0])
    assert remarks_of(data, "those of /entry/instrument/detector; not used: /entry/instrument/a_diode")


def test_the_entry_that_says_nxtomo_goes_first(write: Writer) -> None:
    write(nxtomo(definition=None, **{f"{DETECTOR}/data": FRAMES + 1}), entry="a")
    path = write(nxtomo(), entry="b")
    np.testing.assert_array_equal(open_nxtomo([path])["counts"].values, FRAMES[KEY == 0])


def linked(folder: str) -> Content:
    """A scan whose images, angles and temperatures are in other files."""
    return nxtomo(
        instrument__detector__data=h5py.SoftLink("/entry/camera/data"),
        camera__data=h5py.ExternalLink(f"{folder}images.h5", "/entry/data"),
        sample__rotation_angle=h5py.ExternalLink(f"{folder}angles.h5", "/entry/theta"),
        heater__temperature=h5py.ExternalLink(f"{folder}heater.h5", "/entry/t"),
    )


@pytest.mark.parametrize(
    ("folder", "where", "n_moved"),
    [("", "", 0), ("raw/", "raw/", 0), ("raw/", "", 2), ("raw/", "copied/", 2), ("/away/x/", "", 2), ("", "raw/", 2)],
)
def test_linked_files_are_found_where_they_lie(write: Writer, folder: str, where: str, n_moved: int) -> None:
    path = write(linked(folder))
    images = write({"data": FRAMES}, f"{where}images.h5")
    angles = write({"theta": ANGLE}, f"{where}angles.h5")
    data = open_nxtomo([path])
    np.testing.assert_array_equal(data["counts"].values, FRAMES[KEY == 0])
    np.testing.assert_array_equal(data["angle"].values, ANGLE[KEY == 0])
    assert data.attrs["linked_files"] == [str(angles), str(images)]
    assert len(remarks_of(data, "is not where the link says")) == n_moved
    (missing,) = remarks_of(data, "is missing")
    assert f"{folder}heater.h5" in missing
    assert "/entry/heater/temperature" in missing


@pytest.mark.parametrize(("absent", "problem"), [("images.h5", "images are in a file"), ("angles.h5", "angles")])
def test_a_file_that_is_needed_and_missing_is_named(write: Writer, absent: str, problem: str) -> None:
    path = write(linked("raw/"))
    for name, content in (("images.h5", {"data": FRAMES}), ("angles.h5", {"theta": ANGLE})):
        if name != absent:
            write(content, name)
    assert recognise_nxtomo(path) is None
    with pytest.raises(MeasurementError, match=problem) as caught:
        open_nxtomo([path])
    assert f"raw/{absent}" in str(caught.value)
    assert "scan.nxs" in str(caught.value)


def test_a_linked_file_without_the_dataset_or_damaged_is_an_error(write: Writer, tmp_path: Path) -> None:
    path = write(linked(""))
    write({"theta": ANGLE}, "angles.h5")
    write({"other": FRAMES}, "images.h5")
    with pytest.raises(MeasurementError, match="data leads nowhere"):
        open_nxtomo([path])
    (tmp_path / "images.h5").write_bytes(b"not HDF5 at all")
    with pytest.raises(MeasurementError, match=r"images\.h5"):
        open_nxtomo([path])


@pytest.mark.parametrize("present", [True, False])
def test_a_virtual_stack_is_read_but_not_where_its_files_are_missing(write: Writer, present: bool) -> None:
    path = write(nxtomo(**{f"{DETECTOR}/data": None}))
    layout = h5py.VirtualLayout(FRAMES.shape, FRAMES.dtype)
    for part, frames in (("a", slice(0, 8)), ("b", slice(8, 15))):
        if present or part == "a":
            write({"data": FRAMES[frames]}, f"parts/{part}.h5")
        layout[frames] = h5py.VirtualSource(f"parts/{part}.h5", "entry/data", FRAMES[frames].shape, FRAMES.dtype)
    with h5py.File(path, "a") as file:
        file.create_virtual_dataset(f"entry/{DETECTOR}/data", layout, fillvalue=0)
    if present:
        np.testing.assert_array_equal(open_nxtomo([path])["counts"].values, FRAMES[KEY == 0])
        return
    with pytest.raises(MeasurementError, match=r"missing: parts/b\.h5"):
        open_nxtomo([path])


def test_foreign_files_are_not_recognised(write: Writer, write_hdf5: Writer, exchange_content: Content) -> None:
    text = write_hdf5({}).with_name("text.nxs")
    text.write_text("NXtomo")
    for path in (
        text,
        text.with_name("absent.nxs"),
        write_hdf5(exchange_content),
        write(nxtomo(definition="NXxas", **{f"{DETECTOR}/image_key": None}), "other.nxs"),
    ):
        assert isinstance(recognise_nxtomo(path), str)


@pytest.fixture(scope="module")
def whole_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "scan.nxs"
    with h5py.File(path, "w") as file:
        # Text of fixed length: HDF5 itself may not return from reading a damaged heap of variable-length text.
        for name, value in nxtomo(definition=np.bytes_("NXtomo")).items():
            file[f"entry/{name}"] = value
    return path.read_bytes()


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_damaged_file_raises_nothing_but_our_error(
    tmp_path_factory: pytest.TempPathFactory, whole_file: bytes, data: st.DataObject
) -> None:
    damaged = bytearray(whole_file)
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("damaged") / "scan.nxs"
    path.write_bytes(damaged[: data.draw(st.integers(len(damaged) // 2, len(damaged)))])
    reason = recognise_nxtomo(path)
    assert reason is None or reason
    error = error_of(path)
    assert error is None or "scan.nxs" in str(error)


def error_of(path: Path) -> MeasurementError | None:
    """Error of opening and reading everything; any other exception goes on."""
    try:
        open_nxtomo([path]).load()
    except MeasurementError as error:
        return error
    return None


def test_diad(data_folder: Path) -> None:
    folder = data_folder / "imaging/diad-k11-nxtomo"
    path = folder / "k11-18014.nxs"
    assert recognise_nxtomo(path) is None
    data = open_nxtomo([path])
    assert data["counts"].shape == (3001, 22, 26)
    assert data["flat_counts"].shape == data["dark_counts"].shape == (100, 22, 26)
    assert data["counts"].dtype == np.uint16
    angle = data["angle"].values
    np.testing.assert_allclose(angle[[0, -1]], [90.0, 270.0], atol=0.006)  # a tenth of a step
    np.testing.assert_allclose(np.diff(angle), 0.06, atol=0.003)
    with h5py.File(folder / "k11-18014-imaging.h5") as file, h5py.File(path) as master:
        key = master["entry/instrument/imaging/image_key"][()]
        frames = file["entry/detector/detector"]
        np.testing.assert_array_equal(data["counts"][40:44].values, frames[np.flatnonzero(key == 0)[40:44]])
        np.testing.assert_array_equal(data["flat_counts"].values, frames[np.flatnonzero(key == 1)])
        np.testing.assert_array_equal(data["dark_counts"].values, frames[np.flatnonzero(key == 2)])
    missing = remarks_of(data, "is missing")
    assert ["detectorPanda" in remark or "EtherCAT" in remark for remark in missing] == [True, True]
    moved = remarks_of(data, "not where the link says")
    assert ["imaging" in moved[0], "pcompPanda" in moved[1], len(moved)] == [True, True, 2]
    assert remarks_of(data, "the first projection is at 89.9951 deg")
    assert [Path(name).name for name in data.attrs["linked_files"]] == [
        "k11-18014-imaging.h5",
        "k11-18014-pcompPanda.h5",
    ]
