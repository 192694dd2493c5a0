"""The page: complete, self-contained, safe, small, reproducible, and written whole or not at all."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path

import pytest
import xarray as xr

from cathoscope.core.errors import StudyError
from cathoscope.core.study import Study
from cathoscope.report import page
from cathoscope.report.page import ReportFiles, file_stem, write_report


class Reader(HTMLParser):
    """Tags with their attributes, headings and the text of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.headings: list[tuple[str, str]] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)
        if tag in ("h1", "h2", "h3"):
            self.headings.append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.words += data
        if any(tag in self.open for tag in ("h1", "h2", "h3")):
            tag, text = self.headings.pop()
            self.headings.append((tag, text + data))


@pytest.fixture(scope="module")
def written(
    study: Study, comparison: list[Mapping[str, object]], tmp_path_factory: pytest.TempPathFactory
) -> ReportFiles:
    """The page of the whole study, with its figures as vectors only: each further format takes as long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "FILE_FORMATS", ("svg",))
        return write_report(study, tmp_path_factory.mktemp("out") / "spheres.html", comparison=comparison)


@pytest.fixture(scope="module")
def reader(written: ReportFiles) -> Reader:
    return Reader(written.page.read_text(encoding="utf-8"))


def test_order_of_the_sections(reader: Reader) -> None:
    assert reader.open == []
    assert reader.headings[0] == ("h1", "spheres")
    second = [text.split(" ")[0] for tag, text in reader.headings if tag == "h2"]
    measurements = ["heating", "ball", "toner", "broken"]
    told = ["Comparison", "Methods", "Settings", "Warnings", "Versions", "Provenance"]
    assert second == ["What", "Summary", *measurements, *told]


def test_summary_states_numbers_with_sigma_and_the_fate_of_each_measurement(reader: Reader) -> None:
    summary = reader.words[: reader.words.index("What was measured")]
    assert re.search(r"mean white line, 25 °C\s*8348\.\d{3} ± 0\.012 eV", summary)
    assert re.search(r"rotation axis\s*31\.\d\d ± 0\.04 px", summary)
    assert re.search(r"components above the noise\s*2", summary)
    assert [status for status in ("1 set aside", "failed") if status in summary] == ["1 set aside", "failed"]


def test_every_image_is_inline_and_described(reader: Reader, written: ReportFiles) -> None:
    images = [attrs for tag, attrs in reader.tags if tag == "img"]
    assert len(images) == len(written.figures)
    assert all(attrs["alt"] for attrs in images)
    assert all(re.match(r"data:image/(webp|svg\+xml);base64,", attrs["src"] or "") for attrs in images)


def test_nothing_is_fetched_and_nothing_runs(reader: Reader, written: ReportFiles) -> None:
    text = re.sub(r'src="data:[^"]*"', "", written.page.read_text(encoding="utf-8"))
    assert not re.search(r"https?://|//[a-z]|url\(|@import", text)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in reader.tags}
    targets = {attrs["id"] for _, attrs in reader.tags if "id" in attrs}
    links = [attrs["href"] or "" for tag, attrs in reader.tags if tag == "a"]
    assert links
    assert all(link.removeprefix("#") in targets for link in links)


def test_contents_lead_to_what_was_found(reader: Reader) -> None:
    contents = reader.tags[[tag for tag, _ in reader.tags].index("nav") + 1 :][:2]
    assert [attrs.get("href") for _, attrs in contents] == ["#found", "#summary"]


def test_text_of_the_user_stays_text(reader: Reader) -> None:
    for text in ("<script>alert(1)</script>", "<script>alert(2)</script>", "NMC-811 <charged>", "Fe(III) & <oxide>"):
        assert text in reader.words


def test_what_was_set_aside_and_why_what_failed_and_how_it_ran(reader: Reader) -> None:
    for text in (
        "scan_3.h5", "all flats are zero", "the file is cut short", "copy it again", "angles were given in radians",
        "1 file, 1.4 GB", "2.4.6", "12.50 s", "4 GB", "Dice overlap 1.000", "−0.0123 eV", "+0.01 ± 1.02",
    ):  # fmt: skip
        assert text in reader.words, text


def test_page_is_small(written: ReportFiles) -> None:
    assert written.page.stat().st_size < 5_000_000


def test_pictures_become_coarser_until_the_page_fits(
    stack: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study.create(tmp_path / "s.zarr")
    study.write("result", "toner", stack[["component_weight", "optical_depth"]], address="a")
    limit = write_report(study, tmp_path / "large.html").page.stat().st_size * 2 // 3
    monkeypatch.setattr(page, "MOST_BYTES", limit)
    monkeypatch.setattr(page, "FILE_FORMATS", ())
    assert write_report(study, tmp_path / "small.html").page.stat().st_size < limit


def test_every_figure_comes_in_every_format(stack: xr.Dataset, tmp_path: Path) -> None:
    study = Study.create(tmp_path / "s.zarr")
    study.write("result", "toner", stack[["singular_value", "noise_floor"]], address="a")
    figures = write_report(study, tmp_path / "r.html").figures
    assert [file.name for file in figures] == [f"toner-singular-values.{ending}" for ending in ("svg", "pdf", "png")]
    begins = [file.read_bytes()[:5] for file in figures]
    assert begins == [b"<?xml", b"%PDF-", b"\x89PNG\r"]


def test_written_twice_is_the_same_bytes_and_leaves_nothing_else(
    study: Study,
    comparison: list[Mapping[str, object]],
    tmp_path: Path,
    written: ReportFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(page, "FILE_FORMATS", ("svg",))
    again = write_report(study, tmp_path / "spheres.html", comparison=comparison)
    assert again.page.read_bytes() == written.page.read_bytes()
    for first, second in zip([*written.figures, *written.numbers], [*again.figures, *again.numbers], strict=True):
        assert first.read_bytes() == second.read_bytes(), first.name
    assert {entry.name for entry in tmp_path.iterdir()} == {"spheres.html", "spheres_files"}
    assert {file.name for file in again.folder.iterdir()} == {file.name for file in (*again.figures, *again.numbers)}


def test_empty_study_gives_a_page(tmp_path: Path) -> None:
    files = write_report(Study.create(tmp_path / "empty.zarr"), tmp_path / "empty.html")
    text = Reader(files.page.read_text(encoding="utf-8")).words
    assert "no measurements yet" in text
    assert files.figures == ()


def test_a_second_report_replaces_the_first(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "s.zarr")
    (write_report(study, tmp_path / "r.html").folder / "left-over.svg").write_text("old")
    files = write_report(study, tmp_path / "r.html")
    assert sorted(file.name for file in files.folder.iterdir()) == ["numbers.csv", "numbers.json"]


def test_a_folder_of_the_user_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "r_files").mkdir()
    (tmp_path / "r_files" / "thesis.txt").write_text("mine")
    with pytest.raises(StudyError, match="not written by a report"):
        write_report(Study.create(tmp_path / "s.zarr"), tmp_path / "r.html")
    assert (tmp_path / "r_files" / "thesis.txt").read_text() == "mine"
    assert not (tmp_path / "r.html").exists()


def test_failed_now_but_measured_before_says_so(tmp_path: Path, stack: xr.Dataset) -> None:
    study = Study.create(tmp_path / "s.zarr")
    study.write("result", "toner", stack[["singular_value", "noise_floor"]], address="a")
    study.append_log({"measurements": [{"name": "toner", "failure": "the disk is gone"}]})
    text = Reader(write_report(study, tmp_path / "r.html").page.read_text(encoding="utf-8")).words
    assert "the disk is gone" in text
    assert "from an earlier one" in text


def test_file_names_are_safe_and_different() -> None:
    assert file_stem("heating-25") == "heating-25"
    stems = {file_stem(name) for name in ("a b", "a/b", "a_b", "../a")}
    assert len(stems) == 4
    assert all(re.fullmatch(r"[\w.-]+", stem) for stem in stems)


def test_a_full_disk_keeps_the_report_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, html = Study.create(tmp_path / "empty.zarr"), tmp_path / "r.html"
    write_report(study, html)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}

    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(StudyError, match="the disk is full"):
        write_report(study, html)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
