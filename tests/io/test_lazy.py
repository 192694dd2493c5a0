from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.io import lazy as lazy_module
from cathoscope.io import open_raw
from cathoscope.io.lazy import ConvertedArray, HDF5Array, JoinedFrames, PageStack, hdf5_file, hdf5_kept_open, lazy

SHAPE = (7, 5, 6)
VALUES = np.arange(np.prod(SHAPE), dtype=np.int32).reshape(SHAPE)


class CountingPages(PageStack):
    """Pages in memory that remember what was asked of them."""

    def __init__(self, values: Any = VALUES) -> None:
        self.values, self.shape, self.dtype = values, values.shape, values.dtype
        self.asked: list[tuple[int, slice]] = []

    def read_pages(self, numbers: Sequence[int], rows: slice) -> Iterator[Any]:
        for number in numbers:
            self.asked.append((number, rows))
            yield self.values[number, rows]


@pytest.fixture(scope="module")
def hdf5_array(tmp_path_factory: pytest.TempPathFactory) -> HDF5Array:
    path = tmp_path_factory.mktemp("lazy") / "values.h5"
    with h5py.File(path, "w") as file:
        file["values"] = VALUES.astype(">i4")
    return HDF5Array(path, "values", SHAPE, np.dtype(">i4"))


def array_of(source: Any) -> xr.DataArray:
    return xr.DataArray(lazy(source), dims=("a", "b", "c"))


def one_index(size: int) -> st.SearchStrategy[Any]:
    position = st.integers(-size, size - 1)
    bound = st.none() | st.integers(-size - 1, size + 1)
    # xarray itself misreads empty slices of negative step, so of these only whole reversals are drawn.
    forward = st.builds(slice, bound, bound, st.sampled_from([None, 1, 2, 3]))
    reverse = st.builds(slice, st.none(), st.none(), st.sampled_from([-1, -2, -3]))
    return position | forward | reverse | st.lists(position, max_size=4)


@settings(max_examples=60, deadline=None)
@given(key=st.tuples(*[one_index(size) for size in SHAPE]))
def test_every_orthogonal_index_gives_what_numpy_gives(hdf5_array: HDF5Array, key: tuple[Any, ...]) -> None:
    expected = xr.DataArray(VALUES, dims=("a", "b", "c"))[key]
    np.testing.assert_array_equal(array_of(hdf5_array)[key].values, expected.values)
    np.testing.assert_array_equal(array_of(CountingPages())[key].values, expected.values)


def test_only_the_pages_and_rows_asked_for_are_read() -> None:
    pages = CountingPages()
    part = array_of(pages)[2:6][::2, 1:4]
    assert pages.asked == []
    np.testing.assert_array_equal(part.values, VALUES[2:6:2, 1:4])
    assert pages.asked == [(2, slice(1, 4)), (4, slice(1, 4))]


def counting_stacks(*lengths: int) -> tuple[list[CountingPages], list[xr.DataArray]]:
    """Stacks of so many frames that together are VALUES."""
    starts = np.cumsum([0, *lengths])
    pages = [CountingPages(VALUES[start:stop]) for start, stop in pairwise(starts)]
    return pages, [array_of(one) for one in pages]


@settings(max_examples=60, deadline=None)
@given(key=st.tuples(*[one_index(size) for size in SHAPE]), first=st.integers(1, 5))
def test_stacks_one_after_the_other_are_as_one(key: tuple[Any, ...], first: int) -> None:
    _, stacks = counting_stacks(first, 1, SHAPE[0] - first - 1)
    expected = xr.DataArray(VALUES, dims=("a", "b", "c"))[key]
    np.testing.assert_array_equal(array_of(JoinedFrames(stacks))[key].values, expected.values)


def test_of_joined_stacks_only_the_frames_and_rows_asked_for_are_read() -> None:
    pages, stacks = counting_stacks(2, 3, 2)
    part = array_of(JoinedFrames(stacks))[1:4, 2:4]
    assert [one.asked for one in pages] == [[], [], []]
    np.testing.assert_array_equal(part.values, VALUES[1:4, 2:4])
    rows = slice(2, 4)
    assert [one.asked for one in pages] == [[(1, rows)], [(0, rows), (1, rows)], []]


def test_joined_stacks_have_a_type_that_holds_the_numbers_of_all() -> None:
    counts = xr.DataArray(np.full((1, 2, 3), 60_000, np.uint16))
    depth = xr.DataArray(np.full((1, 2, 3), -0.5, np.float32))
    joined = array_of(JoinedFrames([counts, depth]))
    assert joined.dtype == np.float32
    np.testing.assert_array_equal(joined[:, 0, 0], [60_000.0, -0.5])


@settings(max_examples=60, deadline=None)
@given(key=st.tuples(*[one_index(size) for size in SHAPE]))
def test_a_converted_array_is_what_numpy_converts(key: tuple[Any, ...]) -> None:
    expected = xr.DataArray(VALUES.astype(np.float32), dims=("a", "b", "c"))[key]
    found = array_of(ConvertedArray(array_of(CountingPages()), np.float32))[key]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.values, expected.values)


def test_of_a_converted_array_only_the_part_asked_for_is_read() -> None:
    pages = CountingPages()
    part = array_of(ConvertedArray(array_of(pages), np.float64))[3, 1:4]
    assert pages.asked == []
    np.testing.assert_array_equal(part.values, VALUES[3, 1:4])
    assert pages.asked == [(3, slice(1, 4))]


def test_values_have_the_byte_order_of_this_machine(hdf5_array: HDF5Array) -> None:
    assert array_of(hdf5_array).values.dtype.isnative


def test_a_lazy_array_can_be_pickled_and_read_from_threads(hdf5_array: HDF5Array) -> None:
    array = pickle.loads(pickle.dumps(array_of(hdf5_array)))
    with ThreadPoolExecutor(2) as pool:
        rows = list(pool.map(lambda k: array[:, k].values, range(SHAPE[1])))
    np.testing.assert_array_equal(np.stack(rows, axis=1), VALUES)


@pytest.mark.parametrize("chunks", [None, (1, 1000, 1000)])
def test_twenty_rows_of_a_large_scan_cost_their_own_memory(tmp_path: Path, chunks: tuple[int, ...] | None) -> None:
    path = tmp_path / "large.h5"
    shape = (720, 1000, 1000)  # 1.44 GB; frames are never written, so the file stays small
    with h5py.File(path, "w") as file:
        file.create_dataset("img_tomo", shape, "u2", chunks=chunks, fillvalue=7)
        for name in ("img_bkg", "img_dark"):
            file.create_dataset(name, (20, *shape[1:]), "u2")
        file["angle"] = np.linspace(0, 180, shape[0])
    tracemalloc.start()
    try:
        data = open_raw(path)
        _, to_open = tracemalloc.get_traced_memory()
        values = data["counts"][:, 10:30].values
        _, to_read = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert values.shape == (720, 20, 1000)
    assert (values == 7).all()
    assert to_open < 2e6
    assert values.nbytes < to_read < 1.5 * values.nbytes < 100e6


def test_a_vanished_file_is_named(write_hdf5: Callable[..., Path], fxi_content: dict[str, Any]) -> None:
    path = write_hdf5(fxi_content)
    data = open_raw(path)
    path.unlink()
    with pytest.raises(MeasurementError, match=r"scan\.h5"):
        data["counts"][0].load()


def test_an_error_without_words_is_named_by_its_kind(write_hdf5: Callable[..., Path]) -> None:
    path = write_hdf5({"a": 1})
    with pytest.raises(MeasurementError, match="RuntimeError"), hdf5_file(path):
        raise RuntimeError


@pytest.mark.parametrize("lengths", [[1], [7, 8, 9], [5000], list(range(1, 200))])
def test_texts_of_any_length_are_whole(tmp_path: Path, lengths: list[int]) -> None:
    path = tmp_path / "texts.h5"
    with h5py.File(path, "w") as file:
        for length in lengths:
            file[f"t{length}"] = "x" * length
    with hdf5_file(path) as file:
        assert [len(file[f"t{length}"][()]) for length in lengths] == lengths


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (8, 0x10D0),  # the size of the heap: HDF5 would go on through what lies behind it
        (24, 2**64 - 16),  # the size of the first text: HDF5 would stay where it is
        (24, 2**40),
    ],
)
def test_a_heap_without_end_is_refused_before_hdf5_follows_it(tmp_path: Path, place: int, value: int) -> None:
    path = tmp_path / "damaged.h5"
    with h5py.File(path, "w") as file:
        file["note"] = "rod"
        file["numbers"] = np.full(1000, -1)
    content = bytearray(path.read_bytes())
    start = content.index(b"GCOL") + place
    content[start : start + 8] = value.to_bytes(8, "little")
    path.write_bytes(bytes(content))
    with pytest.raises(MeasurementError, match=r"damaged\.h5[\s\S]*heap of texts"), hdf5_file(path) as file:
        file["numbers"][0]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[h5py.File]:
    """Every file that is opened from here on, in order; a closed one is False."""
    files: list[h5py.File] = []

    class Counting(h5py.File):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            files.append(self)

    monkeypatch.setattr(lazy_module.h5py, "File", Counting)
    return files


def small_files(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{number}.h5" for number in range(count)]
    for number, path in enumerate(paths):
        with h5py.File(path, "w") as file:
            file["number"] = number
    return paths


def numbers_in(paths: Sequence[Path]) -> list[int]:
    found = []
    for path in paths:
        with hdf5_file(path) as file:
            found.append(int(file["number"][()]))
    return found


def test_a_file_is_opened_for_each_read_unless_it_is_kept_open(tmp_path: Path, opened: list[h5py.File]) -> None:
    paths = small_files(tmp_path, 2)
    opened.clear()
    assert numbers_in(paths * 3) == [0, 1] * 3
    assert len(opened) == 6
    assert not any(opened)
    opened.clear()
    with hdf5_kept_open():
        assert numbers_in(paths * 3) == [0, 1] * 3
        assert len(opened) == 2
        assert all(opened)
    assert not any(opened)
    # and afterwards nothing is kept: each file is opened anew
    assert numbers_in(paths) == [0, 1]
    assert len(opened) == 4
    assert not any(opened)


def test_only_the_outermost_block_closes_what_is_kept_open(tmp_path: Path, opened: list[h5py.File]) -> None:
    paths = small_files(tmp_path, 2)
    opened.clear()
    with hdf5_kept_open():
        numbers_in(paths[:1])
        with hdf5_kept_open():
            assert numbers_in(paths) == [0, 1]
        assert all(opened)
        with hdf5_file(paths[0]) as outer, hdf5_file(paths[0]) as inner:
            assert outer is inner
        assert numbers_in(paths) == [0, 1]
        assert len(opened) == 2
    assert not any(opened)


def test_no_more_files_stay_open_than_allowed_and_all_can_be_read(
    tmp_path: Path, opened: list[h5py.File], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lazy_module._MOST_KEPT == 16
    monkeypatch.setattr(lazy_module, "_MOST_KEPT", 3)
    paths = small_files(tmp_path, 5)
    opened.clear()
    with hdf5_kept_open():
        assert numbers_in(paths * 2) == [*range(5), *range(5)]
        assert [bool(file) for file in opened[:5]] == [True, True, True, False, False]
        assert len(opened) == 5 + 2
        assert sum(map(bool, opened)) == 3
    assert not any(opened)


@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt])
def test_an_error_closes_what_is_kept_open(tmp_path: Path, opened: list[h5py.File], kind: type[BaseException]) -> None:
    paths = small_files(tmp_path, 2)
    opened.clear()
    with pytest.raises(kind, match="halfway"), hdf5_kept_open(), hdf5_kept_open():
        raise kind(f"halfway after {numbers_in(paths)}")
    assert len(opened) == 2
    assert not any(opened)
    numbers_in(paths)
    assert len(opened) == 4


def test_a_file_that_cannot_be_opened_or_read_is_named_while_others_stay_open(
    tmp_path: Path, opened: list[h5py.File]
) -> None:
    (good,) = small_files(tmp_path, 1)
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(good.read_bytes()[:100])
    opened.clear()
    with hdf5_kept_open():
        numbers_in([good])
        for _ in range(2):
            with pytest.raises(MeasurementError, match=r"damaged\.h5"):
                numbers_in([damaged])
        with pytest.raises(MeasurementError, match=r"0\.h5"), hdf5_file(good) as file:
            file["of another name"]
        assert numbers_in([good]) == [0]
        assert len(opened) == 1
    assert not any(opened)


def test_each_thread_keeps_its_own_files_open(tmp_path: Path, opened: list[h5py.File]) -> None:
    paths = small_files(tmp_path, 1)
    opened.clear()
    with hdf5_kept_open(), ThreadPoolExecutor(1) as pool:
        numbers_in(paths)
        # another thread keeps nothing open and does not close what this one does
        assert pool.submit(numbers_in, paths * 2).result() == [0, 0]
        assert [bool(file) for file in opened] == [True, False, False]
        assert numbers_in(paths) == [0]
        assert len(opened) == 3
    assert not any(opened)


def test_a_scan_is_opened_once_to_be_looked_at_and_left_closed(
    write_hdf5: Callable[..., Path], fxi_content: dict[str, Any], opened: list[h5py.File]
) -> None:
    path = write_hdf5(fxi_content)
    opened.clear()
    data = open_raw(path)
    assert len(opened) == 1
    assert not any(opened)
    np.testing.assert_array_equal(data["counts"][0].values, fxi_content["img_tomo"][0])
    assert not any(opened)
