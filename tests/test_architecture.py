"""The import table of the design, and the shape of the code."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
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
    "doctor": {"core", "flow", "virtual"},
    "cli": {
        "core",
        "flow",
        "io",
        "report",
        "virtual",
        "terminal",
        "doctor",
        "xanes",
    },  # xanes: what fits a voxel in the viewer
    "__main__": {"cli"},
    "notebook": {"core", "flow", "report"},
    "__init__": {"notebook"},
}
# flow/steps alone imports techniques and readers.
STEPS_ALSO = {"io", "numerics", "relate", *TECHNIQUES}
FOREIGN = {"matplotlib": ("report",), "starlette": ("report",), "uvicorn": ("report",), "h5py": ("io", "virtual")}


def room_of(file: Path) -> str:
    """The first folder below the package, or the module's own name."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


@dataclass(frozen=True)
class Function:
    """A function, a method or an inner one; its length is in lines without the docstring."""

    name: str
    length: int
    parameters: int


@dataclass(frozen=True)
class Facts:
    """What the tests ask of a file; ``bare`` are the public functions and classes in it without a docstring."""

    imports: set[str]
    functions: list[Function]
    bare: list[str]


@cache
def facts_of(file: Path) -> Facts:
    """A file is read once; its tree, which takes a lot of memory, is not kept."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [function_of(node) for node in nodes if isinstance(node, kinds)]
    public = [node for node in nodes if isinstance(node, (*kinds, ast.ClassDef)) and not node.name.startswith("_")]
    return Facts(imports_of(file, nodes), functions, [node.name for node in public if not ast.get_docstring(node)])


def function_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Function:
    docstring = ast.get_docstring(node, clean=False) or ""
    assert node.end_lineno is not None
    arguments = [*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs]
    return Function(node.name, node.end_lineno - node.lineno + 1 - docstring.count("\n"), len(arguments))


def imports_of(file: Path, nodes: list[ast.AST]) -> set[str]:
    """Full names of the modules a file imports, wherever in the file."""
    found = set()
    for node in nodes:
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
    rooms = {name.split(".")[1] for name in facts_of(file).imports if name.startswith("cathoscope.") and "." in name}
    assert rooms - {"__version__"} <= allowed


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_heavy_libraries_stay_in_their_rooms(file: Path) -> None:
    libraries = {name.split(".")[0] for name in facts_of(file).imports}
    for library, rooms in FOREIGN.items():
        assert library not in libraries or room_of(file) in rooms


def test_functions_are_short_and_take_few_parameters() -> None:
    functions = [(f"{file.name}:{function.name}", function) for file in FILES for function in facts_of(file).functions]
    lengths = sorted(function.length for _, function in functions)
    assert lengths[int(0.9 * len(lengths))] <= 30
    assert [name for name, function in functions if function.length > 80] == []
    assert [name for name, function in functions if function.parameters > 7] == []


def test_everything_public_is_described() -> None:
    """Functions inside of functions too, which the linter passes over."""
    assert [f"{file.name}:{name}" for file in FILES for name in facts_of(file).bare] == []


def test_files_are_short() -> None:
    assert [file.name for file in FILES if file.read_text(encoding="utf-8").count("\n") > 500] == []
