"""The hash of a step's code: what can change a result changes it, nothing else does."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cathoscope.flow import code_hash
from cathoscope.flow.code_hash import digest_of_code
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps import TECHNIQUES

BASE = '''\
"""A module of steps."""
from cathoscope.xanes.absorbance import default_windows
from cathoscope.xanes import mixture
from cathoscope.core.units import parse

LIMIT = 3.0
OTHER = 1


class Options:
    """Choices of the step."""

    width = 2.0


def helper(x):
    """Help."""
    return x + LIMIT


def unrelated(x):
    return x


def width(x):
    return x * x


def step(context):
    """Do the work."""
    parse("1 eV", "energy")
    width = Options.width
    return helper(width), default_windows
'''
_NUMBERS = itertools.count()


@pytest.fixture
def digest(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Hash of ``step`` in a module with the given text."""

    def digest(text: str) -> str:
        file = tmp_path / str(next(_NUMBERS)) / "steps_under_test.py"
        file.parent.mkdir()
        file.write_text(text)
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[file.stem] = module
        spec.loader.exec_module(module)
        return digest_of_code(module.step)

    yield digest
    del sys.modules["steps_under_test"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Do the work."""', '"""Do the work well."""'),
        ('    """Help."""\n', ""),
        ('"""Choices of the step."""', '"""Other words."""'),
        ("return x + LIMIT", "return x + LIMIT  # a comment"),
        ("def unrelated(x)", "def local_variable(x)"),
        ("return x + LIMIT", "return (\n        x\n        + LIMIT\n    )"),
        ("OTHER = 1", "OTHER = 2"),
        ("    return x * x", "    return x * x * x"),
        ('"""A module of steps."""', '"""Steps."""\n\nimport math'),
    ],
)
def test_an_edit_that_cannot_change_the_result(digest: Callable[[str], str], old: str, new: str) -> None:
    assert old in BASE
    assert digest(BASE.replace(old, new)) == digest(BASE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3.0", "LIMIT = 3.5"),
        ("x + LIMIT", "x - LIMIT"),
        ("width = 2.0", "width = 2.5"),
        ("helper(width), default_windows", "helper(width), mixture"),
        ("helper(width)", "helper(1.0)"),
    ],
)
def test_an_edit_that_can(digest: Callable[[str], str], old: str, new: str) -> None:
    assert old in BASE
    assert digest(BASE.replace(old, new)) != digest(BASE)


def test_a_function_that_calls_itself_ends(digest: Callable[[str], str]) -> None:
    assert digest("def step(x):\n    return step(x - 1) if x else 0\n")


@pytest.fixture
def edit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Adds text to the source of a module of the package, in the eyes of the hash."""
    read, caches = code_hash._source, (code_hash._digest_of_module, code_hash._imports)

    def edit(module: str, text: str) -> None:
        monkeypatch.setattr(code_hash, "_source", lambda name: read(name) + (text if name == module else ""))
        for cache in caches:
            cache.cache_clear()

    yield edit
    monkeypatch.undo()
    for cache in caches:
        cache.cache_clear()


def hashes() -> dict[str, str]:
    section = MeasurementSection(sample="rod", technique="xanes-tomography", files=["*.h5"])
    return {step.name: digest_of_code(step.function) for step in TECHNIQUES["xanes-tomography"].steps_for(section)}


@pytest.mark.parametrize(
    ("module", "steps"),
    [
        ("cathoscope.xanes.line_steps", {"white line", "audit"}),
        ("cathoscope.xanes.distribution", {"white-line statistics", "differences", "clusters"}),
        ("cathoscope.tomography.reconstruct", {"series geometry", "spectral survey", "spectral coefficients"}),
        ("cathoscope.tomography.series", {"series geometry"}),
        ("cathoscope.numerics.register", {"registration"}),
        ("cathoscope.core.units", set()),
        ("cathoscope.flow.run", set()),
        ("cathoscope.virtual.presets", set()),
        ("cathoscope.report.style", set()),
    ],
)
def test_a_module_counts_for_the_steps_that_reach_it(
    edit: Callable[[str, str], None], module: str, steps: set[str]
) -> None:
    before = hashes()
    edit(module, "\n# a comment\n")
    assert hashes() == before
    edit(module, "\nNEW = 1\n")
    assert {name for name, value in hashes().items() if value != before[name]} == steps


def test_a_module_that_is_not_there() -> None:
    with pytest.raises(ModuleNotFoundError):
        code_hash._source("cathoscope.alchemy")
    assert not code_hash._is_module("cathoscope.alchemy.gold")
