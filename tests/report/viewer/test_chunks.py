"""Parts of chunks against the whole of them as Blosc decodes it, and damaged chunks."""

from __future__ import annotations

import contextlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import blosc

from cathoscope.core.errors import StudyError
from cathoscope.core.study import Study
from cathoscope.report.viewer.chunk_files import read_chunk
from cathoscope.report.viewer.chunks import Blocks, read_layout
from tests.report.viewer.conftest import DIMS, N, white_lines


def content_of(kind: str, n: int, seed: int) -> bytes:
    """Bytes that compress not at all, well, or as measured values do."""
    rng = np.random.default_rng(seed)
    values = {
        "noise": rng.integers(0, 256, n, dtype=np.uint8),
        "runs": np.repeat(rng.integers(0, 4, -(-n // 50), dtype=np.uint8), 50)[:n],
        "measured": (np.round(rng.normal(0, 1, -(-n // 4)) * 64) / 64).astype(np.float32).view(np.uint8)[:n],
    }
    return values[kind].tobytes()


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(["noise", "runs", "measured"]),
    st.integers(1, 60_000),
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([0, 4096, 65536]),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.integers(0, 99),
)
def test_a_part_of_a_chunk_is_what_the_whole_holds(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    units: int,
    element: int,
    block: int,
    ends: tuple[float, float],
    seed: int,
) -> None:
    content = content_of(kind, 8 * units, seed)
    first, last = sorted(8 * round(end * units) for end in ends)
    folder = tmp_path_factory.getbasetemp()
    (folder / "chunk").write_bytes(blosc.compress(content, b"lz4", 5, 1, block, element))
    found = read_chunk(str(folder / "chunk"), len(content), first, last)
    assert found is not None
    assert found.tobytes() == content[first:last]


def test_of_a_large_chunk_only_a_part_is_read_wherever_its_blocks_lie(tmp_path: Path) -> None:
    content = content_of("measured", 600_000, 5)
    packed = blosc.compress(content, b"lz4", 5, 1, 4096, 4)
    block = struct.unpack_from("<I", packed, 8)[0]
    count = -(-len(content) // block)
    end = struct.unpack_from(f"<{count}I", packed, 16)[5]
    spoiled = packed[:end] + bytes(len(packed) - end)  # behind the blocks that hold the part
    for name, stored in (("spoiled", spoiled), ("shuffled", shuffled(packed, count))):
        (tmp_path / name).write_bytes(stored)
        found = read_chunk(str(tmp_path / name), len(content), 3 * block + 8, 5 * block)
        assert found is not None
        assert found.tobytes() == content[3 * block + 8 : 5 * block]
    with pytest.raises(StudyError, match="damaged"):
        read_chunk(str(tmp_path / "spoiled"), len(content))


def shuffled(packed: bytes, count: int) -> bytes:
    """The same chunk with its blocks in another order, as several threads write them."""
    starts = [*struct.unpack_from(f"<{count}I", packed, 16), len(packed)]
    order, place, found = np.random.default_rng(2).permutation(count), starts[0], dict[int, int]()
    for number in order:
        found[int(number)], place = place, place + starts[number + 1] - starts[number]
    blocks = b"".join(packed[starts[number] : starts[number + 1]] for number in order)
    return packed[:16] + struct.pack(f"<{count}I", *(found[number] for number in range(count))) + blocks


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 40))
def test_a_damaged_chunk_is_an_error_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, seed: int, changes: int
) -> None:
    rng = np.random.default_rng(seed)
    content = content_of("measured", 40_000, 3)
    packed = np.frombuffer(blosc.compress(content, b"lz4", 5, 1, 4096, 4), np.uint8).copy()
    packed[rng.integers(0, packed.size, changes)] = rng.integers(0, 256, changes)
    folder = tmp_path_factory.getbasetemp()
    (folder / "damaged").write_bytes(packed[: rng.integers(1, packed.size + 1)].tobytes())
    for first, last in ((1000, 30_000), (0, 40_000), (39_000, 40_000)):
        with contextlib.suppress(StudyError):  # and no other error, nor a crash
            found = read_chunk(str(folder / "damaged"), len(content), first, last)
            assert found is not None
            assert found.size == last - first


def test_a_region_is_what_zarr_reads_and_the_cache_stays_small(study: Study) -> None:
    blocks = Blocks(most_bytes=200_000)
    folder = study.path / "result" / "rod" / "attenuation"
    layout, whole = read_layout(folder), zarr.open_array(folder, mode="r")
    for place, box in (((0, 3), (0, 20, 0, 20, 7, 8)), ((1, 36), (5, 19, 3, 4, 0, 20)), ((1, 0), (8, 9, 0, 20, 0, 20))):
        parts = [slice(*box[i : i + 2]) for i in (0, 2, 4)]
        for _ in range(2):  # read, then kept
            np.testing.assert_array_equal(blocks.region(layout, place, parts), whole[(*place, *parts)])
        assert 0 < blocks.bytes_kept <= 200_000
    np.testing.assert_array_equal(blocks.everywhere(layout, (9, 8, 7)), whole[:, :, 9, 8, 7])
    np.testing.assert_array_equal(blocks.everywhere(layout, (9, 8, 7), 1), whole[1, :, 9, 8, 7])


def test_what_was_never_written_is_the_fill_value(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "s.zarr")
    array = zarr.create_array(
        study.path / "a",
        shape=(2, N, N, N),
        chunks=(1, 8, 8, 8),
        dtype="float32",
        fill_value=np.nan,
        compressors=zarr.codecs.BloscCodec(cname="lz4"),
        dimension_names=DIMS,
    )
    array[0, :8] = white_lines()[0, :8]
    layout, box = read_layout(study.path / "a"), [slice(0, N)] * 3
    found = Blocks().region(layout, (0,), box)
    np.testing.assert_array_equal(found[:8], white_lines()[0, :8])
    assert np.isnan(found[8:]).all()


@pytest.mark.parametrize(
    "change",
    [
        {"data_type": "object"},
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, 10**6, 10**6, 10**6]}}},
        {"codecs": [{"name": "bytes"}, {"name": "zstd"}]},
        {"chunk_key_encoding": {"name": "default", "configuration": {"separator": "/../"}}},
        {"shape": "many"},
    ],
)
def test_a_description_of_another_kind_is_refused(tmp_path: Path, study: Study, change: dict[str, object]) -> None:
    told = json.loads((study.path / "result" / "rod" / "white_line_energy" / "zarr.json").read_text())
    (tmp_path / "zarr.json").write_text(json.dumps({**told, **change}))
    with pytest.raises(StudyError, match="cannot be shown"):
        read_layout(tmp_path)
