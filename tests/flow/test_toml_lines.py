"""Which line of a TOML file holds which key."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.flow.toml_lines import KeyPath, line_of, lines_of_keys

TEXT = '''\
# a comment with a = 1
title = "x" # [not.a.table]
multi = """
fake = 1
[fake]
"""
numbers = [
  1, # one
  2,
]
inline = { a = 1, b = "}" }
dotted.key = 1
"quoted key" = 1
'single "quoted"' = 2

[sample."my rod"]
name = 'it is # not a comment'

[[measurement.rod.series]]
files = [
  "a.h5",
  "[b].h5",
]
[[measurement.rod.series]]
files = "c = d"
[measurement.rod.series.deeper]
key = 1
[measurement.rod.edge]
post_edge = ["8380 eV", "8420 eV"]
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("multi",), 3),
        (("numbers",), 7),
        (("inline",), 11),
        (("dotted", "key"), 12),
        (("quoted key",), 13),
        (('single "quoted"',), 14),
        (("sample", "my rod"), 16),
        (("sample", "my rod", "name"), 17),
        (("measurement", "rod", "series"), 19),
        (("measurement", "rod", "series", 0), 19),
        (("measurement", "rod", "series", 0, "files"), 20),
        (("measurement", "rod", "series", 1), 24),
        (("measurement", "rod", "series", 1, "files"), 25),
        (("measurement", "rod", "series", 1, "deeper", "key"), 27),
        (("measurement", "rod", "edge", "post_edge"), 29),
    ],
)
def test_every_key_has_its_line(path: KeyPath, line: int) -> None:
    assert lines_of_keys(TEXT)[path] == line


def test_nothing_else_is_taken_for_a_key() -> None:
    assert len(lines_of_keys(TEXT)) == 18
    assert tomllib.loads(TEXT)["multi"] == "fake = 1\n[fake]\n"


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("inline", "b"), 11),  # inside an inline table
        (("measurement", "rod", "edge", "pre_edge"), 28),  # missing from its table
        (("sample",), 16),  # the table is written only as part of longer names
        (("measurement", "rod"), 19),
        (("measurement", "rod", "series", 1, "temperature"), 24),
        (("nothing", "like", "it"), None),
        ((), None),
    ],
)
def test_a_key_that_is_not_written_has_the_line_of_what_is_nearest(path: KeyPath, line: int | None) -> None:
    assert line_of(lines_of_keys(TEXT), path) == line


NAMES = st.text("abcdefgh_-", min_size=1, max_size=6)
VALUES = st.sampled_from(["1", '"text # = ["', "[1, 2]", "{ a = 1 }", "'''\nlines = 1\n'''", "true"])


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, VALUES, min_size=1, max_size=4), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_every_key_that_the_standard_parser_finds_stands_on_its_line(tables: dict[str, dict[str, str]]) -> None:
    text = "".join(
        f"\n[{table}]  # comment\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
        for table, keys in tables.items()
    )
    found, lines = lines_of_keys(text), text.splitlines()
    parsed = tomllib.loads(text)
    assert set(found) == {(table,) for table in parsed} | {(table, key) for table in parsed for key in parsed[table]}
    for path, number in found.items():
        assert lines[number - 1].startswith(f"[{path[0]}]" if len(path) == 1 else f"{path[-1]} =")
