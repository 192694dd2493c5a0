"""The shape of the code in numbers, beside those of the field's best codebases: python -m benchmarks.house [--write].

With --write the table of docs/house.md is replaced. Lengths are in lines without docstrings; a function inside of
another counts on its own, and with the other.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "house.md"
_BEGIN, _END = "<!-- numbers -->\n", "<!-- end of numbers -->\n"
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_HEAD = """\
| | lines of code | test / code | function median / p90 / p99 / longest | public: typed / documented | longest file |
|---|---|---|---|---|---|
"""
# Read in their repositories in November 2026, with the same rules of counting.
_OTHERS = """\
| sciline 2025-11 | 2.8k | 1.24 | 6 / 21 / 55 / 67 | 100 % / 60 % | |
| scippneutron 2026-06 | 13.9k | 0.77 | 7 / 25 / 59 / 154 | 82 % / 55 % | |
| esssans 2026-03 | 4.9k | 0.34 | 7 / 24 / 78 / 125 | 92 % / 60 % | |
| tomosipo 2024-10 | 9.0k | 0.36 | 4 / 21 / 60 / 110 | 2 % / 42 % | |
| httomo 2026-08 | 10.2k | 1.62 | 3 / 28 / 106 / 148 | 78 % / 45 % | |
| orix 2026-03 | 21.4k | 0.80 | 7 / 34 / 97 / 147 | 91 % / 91 % | 1 628 |
| abTEM 2026-05 | 47.0k | 0.13 | 5 / 33 / 109 / 232 | 56 % / 45 % | 4 979 |
| GSAS-II 2026-08 | 177k | 0.01 | 13 / 80 / 452 / 12 281 | 0 % / 52 % | 14 274 |
| TXM_Sandbox 2024-02 | 33.1k | 0 | 8 / 83 / 949 / 1 785 | 0 % / 16 % | 4 640 |
"""


class Function(NamedTuple):
    """Length without docstring, parameters, and whether it is public, wholly typed, compiled by numba, documented."""

    length: int
    parameters: int
    public: bool
    typed: bool
    compiled: bool
    documented: bool


@dataclass(frozen=True)
class Shape:
    """What is counted in a folder of Python files: dataclasses (whether they are frozen), ``smells`` by name."""

    lines: int
    files: list[int]
    functions: list[Function]
    records: list[bool]
    smells: dict[str, int]


def shape_of(folder: Path) -> Shape:
    lines, files, functions, records, smells = 0, [], [], [], dict.fromkeys(_SMELLS, 0)
    for file in sorted(folder.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        lines += sum(1 for line in text.splitlines() if line.strip())
        files.append(text.count("\n"))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, _FUNCTIONS):
                functions.append(_function(node))
            if isinstance(node, ast.ClassDef):
                marks = " ".join(ast.unparse(one) for one in node.decorator_list)
                records += ["frozen=True" in marks] if "dataclass" in marks else []
            for name, is_one in _SMELLS.items():
                smells[name] += is_one(node)
    return Shape(lines, sorted(files), functions, records, smells)


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Function:
    docstring = ast.get_docstring(node, clean=False)
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    own = [one for one in arguments if one.arg not in ("self", "cls")]
    compiled = any("njit" in ast.unparse(one) or "overload" in ast.unparse(one) for one in node.decorator_list)
    return Function(
        length=(node.end_lineno or 0) - node.lineno + 1 - (docstring or "").count("\n"),
        parameters=len(arguments),
        public=not node.name.startswith("_"),
        typed=node.returns is not None and all(one.annotation is not None for one in own),
        compiled=compiled,
        documented=docstring is not None,
    )


def _calls(*names: str):  # type: ignore[no-untyped-def]
    return lambda node: isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names


_SMELLS = {
    "print": _calls("print"),
    "bare except": lambda node: isinstance(node, ast.ExceptHandler) and node.type is None,
    "global": lambda node: isinstance(node, ast.Global),
    "eval, exec": _calls("eval", "exec"),
    "star import": lambda node: isinstance(node, ast.ImportFrom) and any(one.name == "*" for one in node.names),
    "assert": lambda node: isinstance(node, ast.Assert),
}


def table_of(code: Shape, tests: Shape) -> str:
    """The rows of the page, ours first."""
    lengths = sorted(one.length for one in code.functions)
    median, p90, p99 = (lengths[int(share * len(lengths))] for share in (0.5, 0.9, 0.99))
    public = [one for one in code.functions if one.public]
    typed = 100 * sum(one.typed for one in public) / len(public)
    documented = 100 * sum(one.documented for one in public) / len(public)
    kernels = sum(one.compiled and not one.typed for one in public)
    bare = sum(not one.compiled and not one.typed for one in public)
    ours = (
        f"| **cathoscope** | {code.lines / 1000:.0f}k | {tests.lines / code.lines:.2f} "
        f"| {median} / {p90} / {p99} / {lengths[-1]} | {typed:.0f} % / {documented:.0f} % | {code.files[-1]} |\n"
    )
    most = max(one.parameters for one in code.functions)
    smells = ", ".join(f"{name} {count}" for name, count in code.smells.items())
    files = code.files
    said = (
        f"\n{len(code.functions)} functions in {len(files)} files (median {files[len(files) // 2]} lines),\n"
        f"at most {most} parameters; {sum(code.records)} of {len(code.records)} dataclasses are frozen.\n"
        f"Public functions without types: {kernels} kernels, which numba"
        f" compiles for what they are given; others: {bare}.\n"
        f"{smells[0].upper()}{smells[1:]}.\n"
    )
    return _HEAD + ours + _OTHERS + said


def main() -> None:
    table = table_of(shape_of(ROOT / "src"), shape_of(ROOT / "tests"))
    print(table, end="")
    if "--write" in sys.argv:
        before, rest = PAGE.read_text(encoding="utf-8").split(_BEGIN)
        after = rest.split(_END)[1]
        PAGE.write_text(before + _BEGIN + "\n" + table + "\n" + _END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
