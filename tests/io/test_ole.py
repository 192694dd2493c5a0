from __future__ import annotations

import io
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.io.ole import Container, Extents, begins_as_container, open_container
from tests.io.ole import write_ole

RNG = np.random.default_rng(5)
STREAMS = {
    "Version": struct.pack("<i", 3),
    "Data/Small": RNG.bytes(300),
    "Data/Long name of a stream": RNG.bytes(70),
    "Data/Empty": b"",
    "Data/Large": RNG.bytes(20_001),
    "Info/Limit": RNG.bytes(4096),
    "Info/Below": RNG.bytes(4095),
    "Info/Text": b" 11/08/15 11:58\x07:08\0\x01garbage\xf1",
    "Info/Numbers": struct.pack("<4f", 1.5, -2, 0.25, 3e8) + b"\1\2",
}


def located(path: Path, container: Container, name: str) -> bytes:
    with path.open("rb") as file:
        return bytes(container.extents(container.entry(name)).read(file))


@pytest.mark.parametrize("sector_size", [512, 4096])
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_streams_are_where_the_container_says(tmp_path: Path, sector_size: int, seed: int | None) -> None:
    scatter = None if seed is None else np.random.default_rng(seed)
    path = write_ole(tmp_path / "a.ole", STREAMS, sector_size=sector_size, scatter=scatter)
    assert begins_as_container(path)
    with open_container(path) as container:
        for name, content in STREAMS.items():
            assert container.content(name) == content
            assert located(path, container, name) == content
            assert container.entry(name.upper()).size == len(content)
        assert container.integer("version") == 3
        assert container.text("Info/Text") == "11/08/15 11:58:08"
        np.testing.assert_array_equal(container.numbers("Info/Numbers", "<f4"), np.float32([1.5, -2, 0.25, 3e8]))
        for nowhere in ("Data", "Data/None", "None/Small", "Version/Small"):
            assert container.entry(nowhere) is None
            assert container.content(nowhere) == b""
            assert container.integer(nowhere) is None


@given(lengths=st.lists(st.integers(1, 9), max_size=6), ends=st.tuples(st.integers(0, 40), st.integers(0, 40)))
@settings(max_examples=60, deadline=None)
def test_part_of_the_extents_is_the_part_of_the_stream(lengths: list[int], ends: tuple[int, int]) -> None:
    file = np.random.default_rng(0).bytes(100)
    offsets = 10 * np.random.default_rng(1).permutation(10)[: len(lengths)]
    extents = Extents(offsets.astype(np.int64), np.array(lengths, dtype=np.int64))
    stream = extents.read(io.BytesIO(file))
    start, stop = min(ends), max(ends)
    assert stream == b"".join(file[o : o + n] for o, n in zip(offsets, lengths, strict=True))
    assert extents.part(start, stop).read(io.BytesIO(file)) == stream[start:stop]
    assert extents.within(start).size == len(extents.read(io.BytesIO(file[:start])))


def test_a_cut_file_says_how_much_of_a_stream_it_holds(tmp_path: Path) -> None:
    names = {"Data/First": RNG.bytes(8192), "Data/Second": RNG.bytes(8192)}
    path = write_ole(tmp_path / "a.ole", names)
    with open_container(path) as container:
        last = container.extents(container.entry("Data/Second"))
        # Table and directory stay where they are, as in a file whose disk was full while images were written.
        container._filesize = int(last.offsets[-1]) + 5000
        assert container.extents(container.entry("Data/First")).size == 8192
        assert container.extents(container.entry("Data/Second")).size == 5000


@pytest.mark.parametrize(
    ("position", "value", "found"),
    [
        (0, b"\0", "begins with"),
        (30, b"\x1f", "sectors of"),
        (32, b"\x20", "sectors of"),
        (44, b"\xff\xff\xff\xff", "sectors of allocation table"),
    ],
)
def test_a_header_that_leads_nowhere_is_refused(tmp_path: Path, position: int, value: bytes, found: str) -> None:
    path = write_ole(tmp_path / "a.ole", STREAMS)
    content = bytearray(path.read_bytes())
    content[position : position + len(value)] = value
    path.write_bytes(content)
    with pytest.raises(MeasurementError, match=rf"a\.ole[\s\S]*{found}"), open_container(path):
        pass


def test_a_directory_in_a_circle_takes_no_memory(tmp_path: Path) -> None:
    path = write_ole(tmp_path / "a.ole", {"Data/Large": bytes(20_000_000)}, sector_size=4096)
    content = bytearray(path.read_bytes())
    (directory,), (table,) = struct.unpack_from("<I", content, 48), struct.unpack_from("<I", content, 76)
    place = (table + 1 + directory // 1024) * 4096 + 4 * (directory % 1024)
    assert struct.unpack_from("<I", content, place) == (0xFFFFFFFE,)
    struct.pack_into("<I", content, place, directory)
    path.write_bytes(content)
    del content
    tracemalloc.start()
    with pytest.raises(MeasurementError, match="does not end"), open_container(path):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_a_large_stream_is_no_header_value(tmp_path: Path) -> None:
    path = write_ole(tmp_path / "a.ole", {"Info/Energy": bytes(1_100_000)})
    with pytest.raises(MeasurementError, match="Info/Energy has 1100000 bytes"), open_container(path) as container:
        container.numbers("Info/Energy", "<f4")


def read_all(path: Path) -> None:
    with open_container(path) as container:
        for parts in container.listdir():
            entry = container.entry("/".join(parts))
            if entry is not None:
                container.content("/".join(parts))
                assert container.extents(entry).size <= min(entry.size, path.stat().st_size)


def test_damage_is_reported_as_such(tmp_path: Path) -> None:
    path = write_ole(tmp_path / "a.ole", STREAMS)
    whole = path.read_bytes()
    for length in range(0, len(whole), 511):
        path.write_bytes(whole[:length])
        with pytest.raises(MeasurementError, match=r"a\.ole"):
            read_all(path)
    rng = np.random.default_rng(7)
    (directory,) = struct.unpack_from("<I", whole, 48)
    # Where damage matters: the header, the directory, and the allocation table at the end of the file.
    described = [*range(80), *range((directory + 1) * 512, (directory + 5) * 512), *range(len(whole) - 512, len(whole))]
    refused = []
    for _ in range(300):
        content = np.frombuffer(whole, np.uint8).copy()
        content[rng.choice(described, 5)] ^= rng.integers(1, 256, 5, dtype=np.uint8)
        path.write_bytes(content.tobytes())
        try:
            read_all(path)
        except MeasurementError as error:
            refused.append(str(error.where))
    assert set(refused) == {str(path)}
