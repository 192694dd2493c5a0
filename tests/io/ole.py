"""A small writer of OLE2 containers after [MS-CFB], independent of the package and of olefile."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_END, _FREE, _FAT_SECTOR, _NO_ENTRY = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD, 0xFFFFFFFF
_SIGNATURE, _CUTOFF, _MINI = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 4096, 64
_STORAGE, _STREAM, _ROOT = 1, 2, 5


def write_ole(
    path: Path, streams: Mapping[str, bytes], *, sector_size: int = 512, scatter: np.random.Generator | None = None
) -> Path:
    """Write ``streams``, each named "storage/stream"; with ``scatter`` the sectors lie in random order."""
    large = {name: content for name, content in streams.items() if len(content) >= _CUTOFF}
    starts, mini_stream, mini_table = _mini_stream({n: c for n, c in streams.items() if len(c) < _CUTOFF}, scatter)
    n_directory = 128 * (1 + len(streams) + len({name.split("/")[0] for name in streams if "/" in name}))
    parts = {**large, "": mini_stream, "mini table": mini_table, "directory": bytes(n_directory)}
    chains, n_sectors = _allocate({name: -(-len(content) // sector_size) for name, content in parts.items()}, scatter)
    starts |= {name: chain[0] if chain else _END for name, chain in chains.items()}
    parts["directory"] = _directory(streams, starts, len(mini_stream))
    table, table_sectors = _table(chains, n_sectors, sector_size // 4)
    version, shift = (4, 12) if sector_size == 4096 else (3, 9)
    n_listed = len(chains["directory"]) if version == 4 else 0
    header = struct.pack("<8s16s5H6x", _SIGNATURE, b"", 62, version, 0xFFFE, shift, 6)
    header += struct.pack("<5I", n_listed, len(table_sectors), starts["directory"], 0, _CUTOFF)
    header += struct.pack("<4I", starts["mini table"], len(chains["mini table"]), _END, 0)
    header += struct.pack("<109I", *table_sectors, *[_FREE] * (109 - len(table_sectors)))
    sectors = [bytes(sector_size)] * n_sectors
    for name, chain in chains.items():
        for k, sector in enumerate(chain):
            sectors[sector] = parts[name][k * sector_size : (k + 1) * sector_size].ljust(sector_size, b"\0")
    path.write_bytes(header.ljust(sector_size, b"\0") + b"".join(sectors) + table)
    return path


def _allocate(counts: Mapping[str, int], scatter: np.random.Generator | None) -> tuple[dict[str, list[int]], int]:
    """The sectors of each part, one part after the other or all in random order, and their number."""
    n_sectors = sum(counts.values())
    order: Any = np.arange(n_sectors) if scatter is None else scatter.permutation(n_sectors)
    ends = np.cumsum(list(counts.values()))
    return dict(zip(counts, [part.tolist() for part in np.split(order, ends[:-1])], strict=True)), n_sectors


def _table(chains: Mapping[str, list[int]], n_sectors: int, per_sector: int) -> tuple[bytes, list[int]]:
    """The file allocation table, and the sectors at the end of the file that it takes."""
    n_table = -(-n_sectors // (per_sector - 1))
    links = [_FREE] * n_sectors + [_FAT_SECTOR] * n_table
    _chain(links, chains.values())
    links += [_FREE] * (n_table * per_sector - len(links))
    return struct.pack(f"<{len(links)}I", *links), list(range(n_sectors, n_sectors + n_table))


def _chain(links: list[int], chains: Any) -> None:
    for chain in chains:
        for sector, following in zip(chain, [*chain[1:], _END][: len(chain)], strict=True):
            links[sector] = following


def _mini_stream(
    small: Mapping[str, bytes], scatter: np.random.Generator | None
) -> tuple[dict[str, int], bytes, bytes]:
    """First mini sector of each stream below the cutoff, the stream they share, and its table."""
    if not small:
        return {}, b"", b""
    chains, n_sectors = _allocate({name: -(-len(content) // _MINI) for name, content in small.items()}, scatter)
    links, sectors = [_FREE] * n_sectors, [b""] * n_sectors
    _chain(links, chains.values())
    for name, chain in chains.items():
        for k, sector in enumerate(chain):
            sectors[sector] = small[name][k * _MINI : (k + 1) * _MINI].ljust(_MINI, b"\0")
    starts = {name: chain[0] if chain else _END for name, chain in chains.items()}
    return starts, b"".join(sectors), struct.pack(f"<{n_sectors}I", *links)


def _directory(streams: Mapping[str, bytes], starts: Mapping[str, int], n_mini: int) -> bytes:
    """The root, then every storage and stream; siblings form a balanced tree ordered by (length, name)."""
    names = [*sorted({name.split("/")[0] for name in streams if "/" in name}), *streams]
    number = {name: k + 1 for k, name in enumerate(names)}
    left, right = dict.fromkeys(names, _NO_ENTRY), dict.fromkeys(names, _NO_ENTRY)

    def tree(siblings: list[str]) -> int:
        if not siblings:
            return _NO_ENTRY
        middle = len(siblings) // 2
        name = siblings[middle]
        left[name], right[name] = tree(siblings[:middle]), tree(siblings[middle + 1 :])
        return number[name]

    def children(storage: str) -> int:
        return tree(sorted((n for n in names if n.rpartition("/")[0] == storage), key=lambda n: (len(n), n.upper())))

    # Every call of children sets the places of its siblings, so all trees are built before an entry is written.
    child = {name: children(name) for name in ("", *names) if name not in streams}
    entries = [_entry("Root Entry", _ROOT, (_NO_ENTRY, _NO_ENTRY, child[""]), starts[""], n_mini)]
    for name in names:
        kind = _STREAM if name in streams else _STORAGE
        places = (left[name], right[name], child.get(name, _NO_ENTRY))
        entries.append(_entry(name.rpartition("/")[2], kind, places, starts.get(name, 0), len(streams.get(name, b""))))
    return b"".join(entries)


def _entry(name: str, kind: int, links: tuple[int, int, int], start: int, size: int) -> bytes:
    text = name.encode("utf-16-le") + b"\0\0"
    return struct.pack("<64sHBB3I16sIQQIQ", text, len(text), kind, 1, *links, b"", 0, 0, 0, start, size)
