"""How the pages of this folder become a site: ./run docs, then docs/_site/README.html."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import cathoscope

project = "cathoscope"
author = "the developers of cathoscope"
version = release = cathoscope.__version__
copyright = author

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"
exclude_patterns = ["_site"]  # a test builds without the reference, which takes a minute
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]
html_theme = "furo"
html_title = "cathoscope"
html_copy_source = False
html_show_sphinx = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
napoleon_use_rtype = False
napoleon_use_ivar = True
suppress_warnings = ["ref.footnote", "ref.python"]  # sources that no sentence cites; names that two modules share

_DOCS = Path(__file__).parent
_PACKAGE = Path(cathoscope.__file__).parent
# What a script may build on; flow, report and virtual are reached by the command line and `cathoscope.notebook`.
_ROOMS = ("core", "numerics", "physics", "io", "tomography", "xanes", "volume", "powder", "lab", "relate")


def write_reference(app: Any) -> None:
    """A page per room of the package, and one per module with its functions; of no use to a test of the other pages."""
    if not app.tags.has("reference"):
        return
    folder = _DOCS / "reference"
    folder.mkdir(exist_ok=True)
    modules = {"notebook": ["cathoscope.notebook"]}
    for room in _ROOMS:
        files = sorted((_PACKAGE / room).glob("*.py"))
        modules[room] = [f"cathoscope.{room}.{file.stem}" for file in files if file.stem != "__init__"]
    for room, names in modules.items():
        for name in names:
            # Hundreds of modules in the contents of every page would be of no use, and make the site slow to build.
            _write(folder / f"{name}.rst", f":orphan:\n\n{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n")
        listed = "\n".join(f"* :doc:`{name}`: {_first_line(name)}" for name in names)
        _write(folder / f"{room}.rst", f"{room}\n{'=' * len(room)}\n\n{listed}\n")
    listed = "\n".join(f"   {room}" for room in modules)
    _write(folder / "index.rst", f"Reference\n=========\n\n.. toctree::\n   :maxdepth: 1\n\n{listed}\n")


def _first_line(module: str) -> str:
    """What lives in a module, in its own words."""
    file = _PACKAGE.parent / f"{module.replace('.', '/')}.py"
    words = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return words.splitlines()[0].replace("``", "")


def _write(file: Path, text: str) -> None:
    """Only what changed, so that only that is built again."""
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")


def add_contents(app: Any, name: str, source: list[str]) -> None:
    """The tables of the first page are its contents; here they become those of the site too."""
    if name == root_doc:
        pages = re.findall(r"\]\(([\w-]+)\.md\)", source[0])
        pages += ["reference/index"] if app.tags.has("reference") else []
        decisions = [f"decisions/{file.stem}" for file in sorted((_DOCS / "decisions").glob("*.md"))]
        for caption, names in (("Pages", pages), ("Decisions", decisions)):
            listed = "\n".join(entry for entry in names if entry != root_doc)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n"


def as_markup(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are written for people: bars are absolute values, and an indented block of a module is a formula."""
    made: list[str] = []
    literal = False
    for line in lines:
        starts = what == "module" and line.startswith("    ") and not literal and bool(made) and not made[-1].strip()
        if starts and not _last_words(made).startswith((" ", "..")):
            made += ["::", ""]
            literal = True
        elif line.strip() and not line.startswith(" "):
            literal = False
        made.append(line if literal else line.replace("|", r"\|"))
    lines[:] = made


def _last_words(lines: list[str]) -> str:
    return next((line for line in reversed(lines) if line.strip()), "")


def setup(app: Any) -> None:
    """Called by Sphinx."""
    if not app.tags.has("reference"):
        app.config.exclude_patterns.append("reference")
    app.connect("builder-inited", write_reference)
    app.connect("source-read", add_contents)
    app.connect("autodoc-process-docstring", as_markup)
