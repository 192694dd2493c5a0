"""Broken texts for the parsers, for as long as wanted: python -m benchmarks.fuzz --minutes 10.

Recipes, circuits, structures (CIF) and instruments are changed at random, by bytes, words and lines, and by pieces of
each other, and parsed. Only errors of our own may come, and none may take longer than ten seconds. Readers of raw files
have a harness of their own in ``tests/io``, which ``--readers`` runs on further seeds: all readers in turn, for so many
minutes together.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from cathoscope.core.errors import CathoscopeError
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.starter import STARTER_RECIPE
from cathoscope.io.crystal_cif import read_cif
from cathoscope.io.instrument import read_banks
from cathoscope.lab.circuit_text import parse_circuit

_LONGEST = 10  # seconds
_CASES = 400  # damaged files of a reader before it is the turn of the next
_MOST_MEMORY = 4 << 30
_WORDS = (
    *(
        "",
        "nan",
        "inf",
        "-1",
        "0",
        "1e999",
        "1e-320",
        "9" * 400,
        "true",
        "[]",
        "{}",
        "[[",
        "((((",
        "}",
        "]",
        '"',
        "'''",
    ),
    *(
        "\\",
        "\x00",
        "\u00b5",
        "\ud7ff",
        "\n",
        "\r",
        "\t",
        "=",
        ".",
        ",",
        "#",
        ";",
        "loop_",
        "data_",
        "_atom_site_label",
    ),
    *(
        "[measurement.x]",
        "[[measurement.x.series]]",
        "files = 1",
        '"../../x"',
        "sample = 3",
        "= {",
        "p(",
        "-",
        "R0",
        "?",
    ),
)
_CIRCUITS = "R0-p(R1,CPE1)\nR0-p(R1-W1,CPE1)-C2\nL1-R0-p(R1,C1)-p(R2-Wo2,CPE2)-G3\np(p(p(R1,R2),C1),L1)"


def _of_data(folder: Path, pattern: str) -> list[str]:
    """Measured files, where they are; texts of the project alone do otherwise."""
    return [path.read_text(encoding="utf-8", errors="replace") for path in sorted(folder.rglob(pattern))[:20]]


def _targets(folder: Path, data: Path) -> dict[str, tuple[list[str], Callable[[str], object]]]:
    """By name: texts that are whole, and what parses one that is not."""

    def written(name: str, text: str) -> Path:
        path = folder / name
        path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
        return path

    recipes = [STARTER_RECIPE, *(path.read_text(encoding="utf-8") for path in Path("recipes").rglob("*.toml"))]
    cifs = _of_data(data, "*.cif") or ["data_a\n_cell_length_a 3\nloop_\n_atom_site_label\n_atom_site_fract_x\nNi 0\n"]
    instruments = _of_data(data, "*.instprm") or ["#GSAS-II instrument parameter file\nType:PNT\ndifC:5000\n"]
    return {
        "recipe": (recipes, lambda text: load_recipe(written("study.toml", text))),
        "circuit": (_CIRCUITS.split("\n"), parse_circuit),
        "structure": (cifs, lambda text: read_cif(written("phase.cif", text))),
        "instrument": (instruments, lambda text: read_banks(written("bank.instprm", text))),
    }


def _broken(rng: np.random.Generator, texts: list[str]) -> str:
    """A whole text with one to four changes."""
    text = str(rng.choice(np.array(texts, dtype=object)))
    for _ in range(rng.integers(1, 5)):
        text = _CHANGES[rng.integers(len(_CHANGES))](rng, text, texts)
    return text[:200_000]


def _place(rng: np.random.Generator, text: str) -> int:
    return int(rng.integers(len(text) + 1))


def _insert(rng: np.random.Generator, text: str, texts: list[str]) -> str:
    at = _place(rng, text)
    return text[:at] + _WORDS[rng.integers(len(_WORDS))] + text[at:]


def _delete(rng: np.random.Generator, text: str, texts: list[str]) -> str:
    at = _place(rng, text)
    return text[:at] + text[at + int(rng.integers(1, 30)) :]


def _replace_word(rng: np.random.Generator, text: str, texts: list[str]) -> str:
    words = text.split(" ")
    words[rng.integers(len(words))] = _WORDS[rng.integers(len(_WORDS))]
    return " ".join(words)


def _repeat(rng: np.random.Generator, text: str, texts: list[str]) -> str:
    lines = text.splitlines(keepends=True) or [""]
    at = int(rng.integers(len(lines)))
    return "".join([*lines[:at], *([lines[at]] * int(rng.integers(2, 200))), *lines[at:]])


def _splice(rng: np.random.Generator, text: str, texts: list[str]) -> str:
    other = str(rng.choice(np.array(texts, dtype=object)))
    return text[: _place(rng, text)] + other[_place(rng, other) :]


def _character(rng: np.random.Generator, text: str, texts: list[str]) -> str:
    at = _place(rng, text)
    return text[:at] + chr(int(rng.integers(1, 0xD7FF))) + text[at + 1 :]


_CHANGES = (_insert, _delete, _replace_word, _repeat, _splice, _character)


def _too_long(number: int, frame: object) -> None:
    raise TimeoutError(f"more than {_LONGEST} s")


def main(arguments: list[str] | None = None) -> int:
    """Parse broken texts; 1 if one ended otherwise than with an error of ours."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0, help="for each parser")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of measured files")
    parser.add_argument(
        "--readers", action="store_true", help="the readers of raw files, from this seed on, and nothing else"
    )
    options = parser.parse_args(arguments)
    if options.readers:
        return 1 if _fuzz_readers(options.seed, options.minutes * 60) else 0
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    signal.signal(signal.SIGALRM, _too_long)
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, (texts, parse) in _targets(Path(folder), options.data).items():
            if not options.only or name in options.only:
                wrong += _fuzz(name, texts, parse, options.minutes * 60, np.random.default_rng(options.seed))
    return 1 if wrong else 0


def _fuzz_readers(seed: int, seconds: float) -> int:
    """Damaged files of every format in turn, until the time is over; how many went wrong."""
    from tests.io.specimens import SPECIMENS
    from tests.io.test_fuzz import fuzz, reading_process

    readers = sorted({specimen.reader for specimen in SPECIMENS.values()})
    end, counts, wrong = time.monotonic() + seconds, Counter[str](), 0
    with tempfile.TemporaryDirectory() as folder, reading_process() as read:
        for number in itertools.count():
            reader, turn = readers[number % len(readers)], seed + number // len(readers)
            if time.monotonic() > end:
                break
            place = Path(folder) / str(number)
            place.mkdir()
            found = fuzz(reader, place, partial(_read_cases, read, turn))
            shutil.rmtree(place)
            counts += Counter(found.get("counts", {}))
            wrong += len(found["wrong"])
            for words in found["wrong"]:
                print(f"{reader}, seed {turn}: {words}", flush=True)
    told = f"{counts['read']} files read, {counts['refused']} refused, {wrong} wrong"
    print(f"{len(readers)} readers, {number} rounds: {told}", flush=True)
    return wrong


def _read_cases(read: Callable[..., int], seed: int, reader: str, first: int, folder: Path) -> int:
    return read(reader, (first, _CASES), seed, folder)


def _fuzz(name: str, texts: list[str], parse: Callable[[str], object], seconds: float, rng: np.random.Generator) -> int:
    end = time.monotonic() + seconds
    count = refused = 0
    wrong: dict[str, str] = {}
    while time.monotonic() < end:
        text = _broken(rng, texts)
        count += 1
        signal.alarm(_LONGEST)
        try:
            parse(text)
        except CathoscopeError:
            refused += 1
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            wrong.setdefault(f"{type(error).__name__} at {last.filename}:{last.lineno}: {str(error)[:100]}", text)
        finally:
            signal.alarm(0)
    print(f"{name}: {count} texts, {refused} refused, {len(wrong)} kinds of other errors", flush=True)
    for words, text in wrong.items():
        print(f"  {words}\n    {text[:300]!r}", flush=True)
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main())
