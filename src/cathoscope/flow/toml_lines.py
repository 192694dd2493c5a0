"""Which line of a TOML file holds which key; the standard parser does not tell."""

from __future__ import annotations

import re
from collections.abc import Iterator

KeyPath = tuple[str | int, ...]

_KEY_PART = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*(\.|=|\]|$)""")
_STRING = re.compile(r'"""(?:[^\\]|\\.)*?"""|\'\'\'.*?\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL)


def lines_of_keys(text: str) -> dict[KeyPath, int]:
    """Line number (from 1) of every table and key, addressed as pydantic addresses values.

    Entries of arrays of tables carry their index: ``("measurement", "rod", "series", 0, "files")``.
    Keys inside an inline table stand on the line of the key that holds it.
    """
    found: dict[KeyPath, int] = {}
    counts: dict[KeyPath, int] = {}
    table: KeyPath = ()
    for number, statement in _statements(text):
        if statement.startswith("[["):
            path = _resolve(_key_parts(statement[2:]), counts)
            counts[path] = counts.get(path, -1) + 1
            table = (*path, counts[path])
            found.setdefault(path, number)
            found[table] = number
        elif statement.startswith("["):
            table = _resolve(_key_parts(statement[1:]), counts)
            found.setdefault(table, number)
        else:
            found.setdefault((*table, *_key_parts(statement)), number)
    return found


def line_of(found: dict[KeyPath, int], path: KeyPath) -> int | None:
    """Line of the key, or of the first one inside it, or of the nearest table that would hold it."""
    inside = [line for key, line in found.items() if key[: len(path)] == path]
    if path and inside:
        return min(inside)
    for length in range(len(path), 0, -1):
        if path[:length] in found:
            return found[path[:length]]
    return None


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Line number and text of each statement; strings are blanked so that their content cannot mislead."""
    blanked = _STRING.sub(_blank, _without_comments(text))
    depth = 0
    for number, (line, shadow) in enumerate(zip(text.splitlines(), blanked.splitlines(), strict=False), start=1):
        is_start = depth == 0 and bool(shadow.strip())
        is_table = is_start and shadow.lstrip().startswith("[")
        if not is_table:
            depth += sum(shadow.count(c) for c in "[{") - sum(shadow.count(c) for c in "]}")
        if is_start and (is_table or "=" in shadow):
            yield number, line.strip()


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", "_", match.group())


def _without_comments(text: str) -> str:
    """The text with comments blanked; a # inside a string is not a comment."""
    pieces, position = [], 0
    token = re.compile(_STRING.pattern + r"|#[^\n]*", re.DOTALL)
    for match in token.finditer(text):
        pieces.append(text[position : match.start()])
        pieces.append(_blank_comment(match.group()))
        position = match.end()
    return "".join([*pieces, text[position:]])


def _blank_comment(piece: str) -> str:
    return " " * len(piece) if piece.startswith("#") else piece


def _key_parts(statement: str) -> KeyPath:
    parts: list[str] = []
    position = 0
    while match := _KEY_PART.match(statement, position):
        parts.append(next(group for group in match.groups()[:3] if group is not None))
        position = match.end()
        if match.group(4) != ".":
            break
    return tuple(parts)


def _resolve(parts: KeyPath, counts: dict[KeyPath, int]) -> KeyPath:
    """The table path with the current index behind every array of tables on the way."""
    path: KeyPath = ()
    for position, part in enumerate(parts):
        path = (*path, part)
        if path in counts and position < len(parts) - 1:
            path = (*path, counts[path])
    return path
