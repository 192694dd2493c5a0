"""The import table of the design, and the shape of the code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import cathoscope

PACKAGE = Path(cathoscope.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# Room -> rooms it may import. A room always may import itself.
TECHNIQUES = ("tomography", "xanes", "volume", "powder", "lab")
ALLOWED = {
    "core": set(),
    "numerics": {"core"},
    "physics": {"core"},
    "io": {"core"},
    **{technique: {"core", "numerics", "physics"} for technique in TECHNIQUES},
    "relate": {"core", "numerics", "physics", *TECHNIQUES},
    "virtual": {"core", "physics"},
    "flow": {"core", "physics"},
    "report": {"core"},
    "terminal": {"core"},
    "cli": {"core", "flow", "io", "report", "virtual", "terminal"},
    "__main__": {"cli"},
    "__init__": set(),
}
# flow/steps alone imports techniques and readers.
STEPS_ALSO = {"io", "numerics", *TECHNIQUES}
FOREIGN = {"matplotlib": ("report",), "starlette": ("report",), "uvicorn": ("report",), "h5py": ("io", "virtual")}


def room_of(file: Path) -> str:
    """The first folder below the package, or the module's own name."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(file: Path) -> set[str]:
    """Full names of the modules a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_room_imports_only_what_the_table_allows(file: Path) -> None:
    room = room_of(file)
    allowed = ALLOWED[room] | {room}
    if file.is_relative_to(PACKAGE / "flow" / "steps"):
        allowed |= STEPS_ALSO
    rooms = {name.split(".")[1] for name in imports_of(file) if name.startswith("cathoscope.") and "." in name}
    assert rooms - {"__version__"} <= allowed


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_heavy_libraries_stay_in_their_rooms(file: Path) -> None:
    libraries = {name.split(".")[0] for name in imports_of(file)}
    for library, rooms in FOREIGN.items():
        assert library not in libraries or room_of(file) in rooms


def functions_of(file: Path) -> list[ast.FunctionDef]:
    """All functions of a file, methods and inner ones included."""
    return [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)]


def length_of(function: ast.FunctionDef) -> int:
    """Lines of a function without its docstring."""
    docstring = ast.get_docstring(function, clean=False) or ""
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1 - docstring.count("\n")


def test_functions_are_short_and_take_few_parameters() -> None:
    functions = [(file, function) for file in FILES for function in functions_of(file)]
    lengths = sorted(length_of(function) for _, function in functions)
    assert lengths[int(0.9 * len(lengths))] <= 30
    assert [f"{file.name}:{function.name}" for file, function in functions if length_of(function) > 80] == []
    wide = [
        f"{file.name}:{function.name}"
        for file, function in functions
        if len(function.args.args) + len(function.args.kwonlyargs) + len(function.args.posonlyargs) > 7
    ]
    assert wide == []


def test_everything_public_is_described() -> None:
    """Functions inside of functions too, which the linter passes over."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    bare = [
        f"{file.name}:{node.name}"
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, kinds) and not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert bare == []


def test_files_are_short() -> None:
    assert [file.name for file in FILES if file.read_text(encoding="utf-8").count("\n") > 500] == []
