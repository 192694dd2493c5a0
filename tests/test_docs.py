"""The documentation is true: its code runs, its output is what it says, its links lead somewhere."""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import cathoscope
from cathoscope.core import errors
from cathoscope.core.schema import SCHEMA, STD_SOURCES
from cathoscope.flow import cell_sections, diffraction_sections, lab_sections, recipe, relate_sections, sections
from cathoscope.io import READERS

matplotlib.use("Agg")

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Figures are written by the code of their page; set this variable to renew the ones that are kept.
RENEW_FIGURES = "CATHOSCOPE_RENEW_FIGURES"
LARGEST_FIGURE = 100_000  # bytes
LONGEST_DECISION = 40  # lines
# What the continuous integration types itself, in a fresh clone.
TYPED_BY_CI = {"./run demo", "./run test"}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; ``expected`` is what a ``text`` block right after it says it prints."""

    language: str
    text: str
    line: int
    expected: str | None = None


def blocks_of(page: Path) -> list[Block]:
    lines = page.read_text(encoding="utf-8").splitlines()
    found: list[tuple[Block, int]] = []
    start: int | None = None
    for number, line in enumerate(lines, start=1):
        if start is None and line.startswith("```"):
            start = number
        elif start is not None and line.startswith("```"):
            block = Block(lines[start - 1][3:].strip(), "\n".join(lines[start : number - 1]) + "\n", start + 1)
            follows = bool(found) and not "".join(lines[found[-1][1] : start - 1]).strip()
            if block.language == "text" and follows and found[-1][0].language in ("python", "bash"):
                before = found.pop()[0]
                block = Block(before.language, before.text, before.line, block.text)
            found.append((block, number))
            start = None
    assert start is None, f"{page.name}: the block that begins on line {start} does not end"
    return [block for block, _ in found]


def is_typed_by_ci(block: Block) -> bool:
    return block.language in ("", "bash") and block.text.strip() in TYPED_BY_CI


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


RUNNING = [
    page
    for page in PAGES
    if any(block.language in ("python", "bash") and not is_typed_by_ci(block) for block in blocks_of(page))
]


# -- code runs -----------------------------------------------------------------------------------


@dataclass
class Shell:
    """Runs commands in a folder. Commands that pages share from their first line on are run once a session.

    The commands are deterministic, so what they leave in an empty folder is kept and copied.
    """

    kept: dict[tuple[str, ...], tuple[Path, str]] = field(default_factory=dict)

    def run(self, commands: tuple[str, ...], folder: Path, keep_in: Callable[[], Path]) -> str:
        if commands not in self.kept:
            environment = os.environ | {
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "MPLBACKEND": "Agg",
                "COLUMNS": "120",
            }
            done = subprocess.run(
                ["bash", "-e", "-c", commands[-1]],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{commands[-1]}\n{done.stdout}\n{done.stderr}"
            place = keep_in()
            shutil.copytree(folder, place, dirs_exist_ok=True)
            self.kept[commands] = (place, done.stdout)
        place, output = self.kept[commands]
        shutil.copytree(place, folder, dirs_exist_ok=True)
        return output


@pytest.fixture(scope="session")
def shell() -> Shell:
    return Shell()


def run_python(block: Block, namespace: dict[str, Any], page: Path) -> str:
    output = io.StringIO()
    # line numbers of a traceback are those of the page
    code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
    with contextlib.redirect_stdout(output):
        exec(code, namespace)
    return output.getvalue()


def assert_prints(block: Block, output: str, page: Path) -> None:
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    same = doctest.OutputChecker().check_output(block.expected or "", output, options)
    assert same, f"{page.name}, line {block.line}\nthe page says:\n{block.expected}\nit prints:\n{output}"


@pytest.mark.parametrize("page", RUNNING, ids=name_of)
def test_code_of_page_runs(
    page: Path,
    shell: Shell,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(recipe.DATA_VARIABLE, raising=False)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    history: tuple[str, ...] = ()
    for block in blocks_of(page):
        if block.language == "python":
            output = run_python(block, namespace, page)
            if any(tmp_path.iterdir()):  # it may have left something there
                history += (f"{page}: {block.text}",)
        elif block.language == "bash" and not is_typed_by_ci(block):
            history += (block.text,)
            output = shell.run(history, tmp_path, lambda: tmp_path_factory.mktemp("kept"))
        else:
            continue
        if block.expected is not None:
            assert_prints(block, output, page)
    pyplot.close("all")
    assert_figures_are_those_of_the_code(page, tmp_path)


def assert_figures_are_those_of_the_code(page: Path, folder: Path) -> None:
    written = sorted((folder / "figures").glob("*.png"))
    shown = {Path(target).name for target in links_of(page) if target.endswith(".png")}
    assert {figure.name for figure in written} == shown
    for new in written:
        old = page.parent / "figures" / new.name
        if os.environ.get(RENEW_FIGURES):
            shutil.copyfile(new, old)
        ours, kept = (pyplot.imread(path).astype(float)[..., :3] for path in (new, old))
        assert ours.shape == kept.shape
        # rounding and fonts may move single pixels; another curve moves many
        assert np.mean(np.abs(ours - kept)) < 0.01, f"renew it: {RENEW_FIGURES}=1 ./run docs"


def test_expected_output_is_compared(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n", encoding="utf-8")
    (block,) = blocks_of(page)
    with pytest.raises(AssertionError, match="the page says"):
        assert_prints(block, run_python(block, {}, page), page)


# -- pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_have_a_known_language(page: Path) -> None:
    """A block in another language would escape the tests above."""
    for block in blocks_of(page):
        known = {"python", "bash", "text", "toml"}
        assert block.language in known or is_typed_by_ci(block), f"line {block.line}: {block.language!r}"


def test_ci_types_what_the_readme_says() -> None:
    said = {block.text.strip() for block in blocks_of(ROOT / "README.md") if is_typed_by_ci(block)}
    typed = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert said == TYPED_BY_CI
    assert said <= set(typed)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_lines_fit(page: Path) -> None:
    long = [line for line in page.read_text(encoding="utf-8").splitlines() if len(line) > 120]
    assert not [line for line in long if not line.startswith("|")]


def prose_of(page: Path) -> str:
    """The page without its fenced and indented blocks."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^    .*$", "", text, flags=re.MULTILINE)


def links_of(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", prose_of(page))


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", prose_of(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [page for page in PAGES if links_of(page)], ids=name_of)
def test_links_resolve(page: Path) -> None:
    for link in links_of(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


def test_index_names_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in links_of(index)}
    assert set((ROOT / "docs").rglob("*.md")) - {index} <= linked


def test_figures_are_small_and_shown() -> None:
    figures = set((ROOT / "docs" / "figures").iterdir())
    shown = {(page.parent / link).resolve() for page in PAGES for link in links_of(page) if link.endswith(".png")}
    assert figures == shown
    assert all(figure.stat().st_size < LARGEST_FIGURE for figure in figures)


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "decisions").glob("*.md")), ids=name_of)
def test_decisions_have_one_form(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", page.name)
    assert re.findall(r"^## (.*)$", text, flags=re.MULTILINE) == ["Context", "Decision", "Consequences"]
    assert len(text.splitlines()) < LONGEST_DECISION


# -- the recipe page -----------------------------------------------------------------------------

HOMES = (sections, diffraction_sections, cell_sections, lab_sections, relate_sections)
SECTIONS: dict[str, type[BaseModel]] = {
    "[study]": sections.StudySection,
    "[sample.NAME]": sections.SampleSection,
    "[measurement.NAME]": sections.MeasurementSection,
    "[[measurement.NAME.series]]": sections.SeriesEntry,
    "[measurement.NAME.tomography]": sections.TomographySection,
    "[measurement.NAME.tomography.phase]": sections.PhaseSection,
    "[measurement.NAME.edge]": sections.EdgeSection,
    "[measurement.NAME.white_line]": sections.WhiteLineSection,
    "[measurement.NAME.state]": sections.StateSection,
    "[measurement.NAME.registration]": sections.RegistrationSection,
    "[measurement.NAME.grains]": sections.GrainsSection,
    "[measurement.NAME.mixture]": sections.MixtureSection,
    "[measurement.NAME.columns]": sections.ColumnsSection,
    "[measurement.NAME.xas]": sections.XasSection,
    "[measurement.NAME.regions]": sections.RegionsSection,
    "[measurement.NAME.combination]": sections.CombinationSection,
    "[measurement.NAME.imaging]": sections.ImagingSection,
    "[measurement.NAME.morphology]": sections.MorphologySection,
    "[measurement.NAME.slices]": sections.SlicesSection,
    "[measurement.NAME.micrograph]": sections.MicrographSection,
    "[measurement.NAME.phases.PHASE]": diffraction_sections.PowderPhaseSection,
    "[[measurement.NAME.banks]]": diffraction_sections.BankSection,
    "[measurement.NAME.diffraction]": diffraction_sections.DiffractionSection,
    "[measurement.NAME.peaks]": diffraction_sections.PeaksSection,
    "[measurement.NAME.calibration]": diffraction_sections.CalibrationSection,
    "[measurement.NAME.cycling]": cell_sections.CyclingSection,
    "[measurement.NAME.cycling.columns]": cell_sections.CellColumnsSection,
    "[measurement.NAME.particle_cell]": cell_sections.ParticleCellSection,
    "[measurement.NAME.impedance]": cell_sections.ImpedanceSection,
    "[measurement.NAME.impedance.arc]": cell_sections.ArcSection,
    "[measurement.NAME.mass_loss]": lab_sections.MassLossSection,
    "[measurement.NAME.calorimetry]": lab_sections.CalorimetrySection,
    "[measurement.NAME.uv_vis]": lab_sections.UvVisSection,
    "[measurement.NAME.elements]": lab_sections.ElementsSection,
    "[relate]": relate_sections.RelateSection,
    "[relate.conditions.NAME]": relate_sections.ConditionsSection,
    "[relate.kinetics]": relate_sections.KineticsSection,
}


def rows_of_recipe_page() -> dict[str, dict[str, str]]:
    """Heading -> key -> default, as the tables of the page say."""
    rows: dict[str, dict[str, str]] = {}
    for line in prose_of(ROOT / "docs" / "recipe.md").splitlines():
        if heading := re.match(r"#+ `(.*)`$", line):
            rows[heading[1]] = current = {}
        elif row := re.match(r"\| `(\w+)` \|[^|]*\| ([^|]*) \|", line):
            current[row[1]] = row[2].strip("` ")
    return rows


def default_in_toml(model: type[BaseModel], key: str) -> str:
    info = model.model_fields[key]
    default = info.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, bool):
        return str(default).lower()
    if default in (None, (), {}) or isinstance(default, BaseModel):
        return "-"
    if isinstance(default, tuple):
        return str(list(default))
    return f'"{default}"' if isinstance(default, str) else str(default)


def models_below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for info in model.model_fields.values():
        for match in re.findall(r"sections\.(\w+Section|SeriesEntry)", repr(info.annotation)):
            yield from models_below(next(getattr(home, match) for home in HOMES if hasattr(home, match)))


def test_recipe_page_covers_every_table() -> None:
    assert set(models_below(sections.RecipeModel)) - {sections.RecipeModel} == set(SECTIONS.values())
    assert set(rows_of_recipe_page()) == set(SECTIONS)


@pytest.mark.parametrize("heading", SECTIONS)
def test_recipe_page_states_every_key_and_default(heading: str) -> None:
    model = SECTIONS[heading]
    said = rows_of_recipe_page()[heading]
    # a quantity carries its unit on the page: "2.0 eV"
    stated = {key: re.sub(r'^"([\d.]+) \S+"$', r"\1", default) for key, default in said.items()}
    assert stated == {key: default_in_toml(model, key) for key in model.model_fields}


def merged(base: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    both = dict(base)
    for key, value in extra.items():
        both[key] = merged(both[key], value) if isinstance(both.get(key), dict) and isinstance(value, dict) else value
    return both


@pytest.mark.parametrize("page", [page for page in PAGES if "```toml" in page.read_text("utf-8")], ids=name_of)
def test_toml_blocks_are_valid_recipes(page: Path) -> None:
    """A block is a recipe, or a part of one that is valid when laid over the smallest recipe there is."""
    for block in blocks_of(page):
        if block.language == "toml":
            smallest = {"sample": {"rod": {}}, "measurement": {"rod": {"sample": "rod", "technique": "tomography"}}}
            values = merged(smallest, tomllib.loads(block.text))
            for section in values["measurement"].values():
                if not section.keys() & {"sample", "technique"}:  # a part, to be added to a measurement of that name
                    section |= {"sample": "rod", "technique": "tomography"}
                if not section.keys() & {"files", "series", "start"}:
                    section["files"] = "scan.h5"
            sections.RecipeModel.model_validate(values)


def test_recipe_page_names_every_technique_and_other_choice() -> None:
    page = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|(.*)$", page, flags=re.MULTILINE)
    for model in SECTIONS.values():
        for key, info in model.model_fields.items():
            choices = re.findall(r"Literal\[([^\]]*)\]", str(info.annotation))
            for choice in re.findall(r"'([^']*)'", " ".join(choices)):
                assert any(name == key and f'`"{choice}"`' in row for name, row in rows), f"{key} = {choice!r}"


# -- the formats page ----------------------------------------------------------------------------


def rows_of_formats_page() -> list[list[str]]:
    """Cells of every row that begins with the name of a reader, in the order of the page."""
    names = {reader.name for reader in READERS}
    lines = prose_of(ROOT / "docs" / "formats.md").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return [row for row in rows if row[0].strip("`") in names]


def test_formats_page_states_every_reader_as_it_is() -> None:
    stated = [
        [
            f"`{reader.name}`",
            reader.title,
            *(f"`{part}`" for part in reader.suffixes),
            *(f"`{part}`" for part in reader.gives),
        ]
        for reader in READERS
    ]
    table = [row for row in rows_of_formats_page() if len(row) == 4]
    assert [[name, title, *endings.split(), *gives.split(", ")] for name, title, endings, gives in table] == stated


def test_formats_page_says_of_every_reader_what_it_leaves_out() -> None:
    table = [row for row in rows_of_formats_page() if len(row) == 3]
    assert [row[0] for row in table] == [f"`{reader.name}`" for reader in READERS]
    assert all(cell for row in table for cell in row)


def test_arrays_that_pages_put_in_tables_are_arrays_of_the_schema() -> None:
    """First cell of the tables of arrays, and what readers give."""
    for name in ("bulk-xas.md", "xanes-imaging.md"):
        rows = re.findall(r"^\| (`\w+`[^|]*) \|", prose_of(ROOT / "docs" / name), flags=re.MULTILINE)
        arrays = {array for row in rows for array in re.findall(r"`(\w+)`", row)}
        assert arrays
        assert arrays <= set(SCHEMA), name
    assert {array.removesuffix("_std") for reader in READERS for array in reader.gives} <= set(SCHEMA)


# -- the conventions page ------------------------------------------------------------------------


def conventions() -> str:
    return (ROOT / "docs" / "conventions.md").read_text(encoding="utf-8")


def test_conventions_state_every_exit_code() -> None:
    known = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    kinds = [kind for kind in known if issubclass(kind, errors.CathoscopeError)]
    stated = {int(code) for code in re.findall(r"^\| (\d+) \|", conventions(), flags=re.MULTILINE)}
    assert stated == {0, *(kind.exit_code for kind in kinds)}


def test_conventions_state_every_unit_and_source_of_uncertainty() -> None:
    table = conventions()
    units = re.findall(r"^\|[^|]+\| `([^`|\[]+)` \|$", table, re.MULTILINE)
    assert {spec.unit for spec in SCHEMA.values()} == set(units)
    assert all(f"`{source}`" in table for source in STD_SOURCES)


# -- beside the documentation --------------------------------------------------------------------


def test_change_fragments_have_a_number_and_a_kind() -> None:
    fragments = [file for file in (ROOT / "changes").iterdir() if file.name != "README.md"]
    assert fragments
    for file in fragments:
        assert re.fullmatch(r"\d{4}\.(added|changed|fixed|removed)\.md", file.name), file.name
        assert file.read_text(encoding="utf-8").strip()


def test_citation_agrees_with_the_package() -> None:
    lines = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    said = {key: value.strip().strip('"') for key, _, value in (line.partition(":") for line in lines)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert said["title"] == project["name"]
    assert said["version"] == cathoscope.__version__
    assert said["license"] == project["license"]


def test_the_pages_become_a_site_whose_links_lead_somewhere(tmp_path: Path) -> None:
    """Without the reference of the functions, which takes a minute and is made by ./run docs."""
    words = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "-d", str(tmp_path / "trees")]
    done = subprocess.run([*words, str(ROOT / "docs"), str(tmp_path / "site")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = {page.relative_to(tmp_path / "site").with_suffix("").as_posix() for page in tmp_path.rglob("*.html")}
    assert {page.relative_to(ROOT / "docs").with_suffix("").as_posix() for page in PAGES[1:]} <= pages
