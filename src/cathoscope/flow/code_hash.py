"""A hash of exactly the code that can change a step's result.

It covers the step's function, the functions, classes and constants of its own file that it uses, and the
modules those come from with everything they import, `core` aside. Comments, docstrings and layout
do not count, so an unrelated commit invalidates nothing.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import symtable
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

_PACKAGE = "cathoscope."
_VOCABULARY = "cathoscope.core"
_STEPS = "cathoscope.flow.steps."


def digest_of_code(function: Callable[..., Any]) -> str:
    """Hash of a function and of all the package's code it can reach."""
    local: dict[str, str] = {}
    modules: set[str] = set()
    _collect(function, local, modules)
    digest = hashlib.sha256(repr(sorted(local.items())).encode())
    for module in sorted({reached for name in modules for reached in _imports(name)}):
        digest.update(_digest_of_module(module).encode())
    return digest.hexdigest()


def _collect(piece: Callable[..., Any] | type, local: dict[str, str], modules: set[str]) -> None:
    """Gather what a function or class uses: pieces of `flow/steps` into ``local``, other files into ``modules``."""
    name = f"{piece.__module__}.{piece.__qualname__}"
    if name in local:
        return
    local[name], used = _read(piece)
    words = vars(sys.modules[piece.__module__])
    for word in used:
        value = words.get(word)
        home = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if isinstance(value, int | float | str | tuple):
            local[f"{piece.__module__}.{word}"] = repr(value)
        elif not isinstance(home, str):
            continue
        elif home == piece.__module__ or home.startswith(_STEPS):
            if inspect.isfunction(value) or inspect.isclass(value):
                _collect(value, local, modules)
        elif _counts(home):
            modules.add(home)


@cache  # to find a piece in its file takes long, and many steps share it
def _read(piece: Callable[..., Any] | type) -> tuple[str, tuple[str, ...]]:
    """What of the text of a function or class counts, and the names it takes from its module, in order."""
    source = inspect.cleandoc("\n" + inspect.getsource(piece))
    return _dump(ast.parse(source)), tuple(sorted(_global_words(source)))


def _global_words(source: str) -> set[str]:
    """Names that a function or class takes from its module; a local variable of the same name is another thing."""
    words: set[str] = set()
    tables = [symtable.symtable(source, "step", "exec")]
    while tables:
        table = tables.pop()
        tables.extend(table.get_children())
        is_outermost = table.get_type() == "module"
        words |= {
            word.get_name()
            for word in table.get_symbols()
            if word.is_referenced() and (is_outermost or word.is_global())
        }
    return words


def _counts(module: str) -> bool:
    return module.startswith(_PACKAGE) and not module.startswith((_VOCABULARY, "cathoscope.flow"))


@cache
def _imports(name: str) -> frozenset[str]:
    """The module and every module of the package it imports, directly or not."""
    reached: set[str] = set()
    waiting = [name]
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting.extend(other for other in _contents(_source(module))[0] if _counts(other))
    return frozenset(reached)


# Texts are remembered, not names: many modules are reached from many steps, and reading them is what costs.
@cache
def _contents(source: str) -> tuple[tuple[str, ...], str]:
    """Modules of the package that a text imports, and the hash of what of it counts."""
    tree = ast.parse(source)
    found = []
    for node in _statements(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(_PACKAGE):
            found.append(node.module)
            found += [full for alias in node.names if _is_module(full := f"{node.module}.{alias.name}")]
    return tuple(found), hashlib.sha256(_dump(tree).encode()).hexdigest()


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """The tree and all statements in it, without the expressions they are made of."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            waiting.extend(getattr(node, block, ()))


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


@cache
def _digest_of_module(name: str) -> str:
    return _contents(_source(name))[1]


def _source(name: str) -> str:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(name)
    return Path(spec.origin).read_text(encoding="utf-8")


def _dump(tree: ast.Module) -> str:
    for node in _statements(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)
