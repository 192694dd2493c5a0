"""The import table of the design, and the shape of the code."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import cathoscope
from cathoscope.io import READERS

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
    """What the tests ask of a file.

    ``bare`` are the public functions and classes in it without a docstring, ``refused`` what no file may hold,
    ``offered`` its functions, classes and constants that no decorator registers, ``used`` all names that it reads.
    """

    imports: set[str]
    functions: list[Function]
    bare: list[str]
    refused: list[str]
    offered: set[str]
    used: set[str]


@cache
def facts_of(file: Path) -> Facts:
    """A file is read once; its tree, which takes a lot of memory, is not kept."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [function_of(node) for node in nodes if isinstance(node, kinds)]
    public = [node for node in nodes if isinstance(node, (*kinds, ast.ClassDef)) and not node.name.startswith("_")]
    return Facts(
        imports=imports_of(file, nodes),
        functions=functions,
        bare=[node.name for node in public if not ast.get_docstring(node)],
        refused=[f"{file.name}:{node.lineno} {type(node).__name__}" for node in nodes if is_refused(node)],
        offered={name for node in tree.body for name in names_offered(node)},
        used=names_used(nodes),
    )


def is_refused(node: ast.AST) -> bool:
    """State that functions change behind the back of others, code in strings, errors of any kind taken for expected."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in ("eval", "exec", "print")
    if isinstance(node, ast.ImportFrom):
        return any(alias.name == "*" for alias in node.names)
    return isinstance(node, (ast.Global, ast.Assert)) or (isinstance(node, ast.ExceptHandler) and node.type is None)


def names_offered(node: ast.stmt) -> list[str]:
    """Names that a statement of a module makes; what a decorator registers is used by who registers it."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        marks = " ".join(ast.unparse(one) for one in node.decorator_list)
        registered = any(word in marks for word in (".command(", ".callback(", "overload("))
        names = [] if registered else [node.name]
    elif isinstance(node, ast.Assign):
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
    else:
        names = [node.target.id] if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else []
    return [name for name in names if not name.startswith("__")]


def names_used(nodes: list[ast.AST]) -> set[str]:
    """Names that are read, as such or as attributes, or imported under another name."""
    names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    names |= {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names if alias.asname}
    return names | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


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


def test_nothing_is_refused() -> None:
    assert [one for file in FILES for one in facts_of(file).refused] == []


def test_nothing_private_is_unused() -> None:
    unused = {
        file.name: {name for name in facts_of(file).offered - facts_of(file).used if name[0] == "_"} for file in FILES
    }
    assert {name: names for name, names in unused.items() if names} == {}


def test_nothing_public_is_there_for_its_tests_only() -> None:
    """What the package does not use itself stands in the documentation, or a benchmark measures it."""
    used = set().union(*(facts_of(file).used for file in FILES))
    root = Path(__file__).resolve().parents[1]
    if not (root / "docs").is_dir():
        pytest.skip("the documentation is not here")
    pages = [root / "README.md", *(root / "docs").glob("*.md"), *(root / "benchmarks").glob("*.py")]
    told = set(re.findall(r"\w+", " ".join(page.read_text(encoding="utf-8") for page in pages)))
    unused = {file.name: {name for name in facts_of(file).offered - used - told if name[0] != "_"} for file in FILES}
    assert {name: names for name, names in unused.items() if names} == {}


@pytest.mark.parametrize("file", sorted((PACKAGE / "physics").glob("*.py")), ids=lambda file: file.name)
def test_laws_take_their_arguments_by_name(file: Path) -> None:
    laws = [node for node in ast.parse(file.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)]
    by_place = {law.name: law.args.args for law in laws if "_from_" in law.name and not law.name.startswith("_")}
    assert [name for name, arguments in by_place.items() if arguments] == []


def test_readers_say_what_they_give_and_how_the_file_is_made() -> None:
    headings = ("Schema", "Uncertainties", "Metadata", "File structure")
    for reader in READERS:
        said = sys.modules[reader.open.__module__].__doc__ or ""
        missing = [heading for heading in headings if f"\n{heading}\n{'-' * len(heading)}\n" not in said]
        assert missing == [], reader.open.__module__
