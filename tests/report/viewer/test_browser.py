"""The page in a headless Chromium: what is on the screen, and what clicks and keys do to it."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.image import imread

from cathoscope.core.study import Study
from cathoscope.report.viewer.serve import Served
from tests.report.viewer.chromium import Page
from tests.report.viewer.conftest import ENERGY, N, serving, white_lines

XY, XZ, YZ, SPACE = (
    ".a canvas[data-across=z]",
    ".a canvas[data-across=y]",
    ".a canvas[data-across=x]",
    ".a canvas.space",
)
FILL = 0.96  # of a panel that the volume takes


def share(index: int) -> float:
    """Where the middle of a voxel is in a panel, from the left."""
    return 0.5 + FILL * ((index + 0.5) / N - 0.5)


def colour_of(value: float, low: float, high: float, name: str = "RdYlBu_r") -> tuple[int, ...]:
    """Colour of a value as the report has it."""
    return tuple(round(255 * part) for part in mpl.colormaps[name]((value - low) / (high - low))[:3])


def limits(page: Page) -> tuple[float, float]:
    low, high = page.ask("[Number(low.value), Number(high.value)]")
    return low, high


def start(
    page: Page, server: Served, fragment: str = "a=result/rod&at=10,10,5", *, size: tuple[int, int] = (1160, 640)
) -> None:
    """The page with a voxel chosen and everything drawn."""
    page.events.clear()
    page.size(*size)
    page.scheme("light")
    page.open(f"{server.address}#{fragment}")
    page.wait("document.body.dataset.voxel && document.querySelector('.space').dataset.fine === '1'")


def test_a_slice_shows_the_values_in_the_colours_of_the_report(page: Page, server: Served) -> None:
    start(page, server)
    low, high = limits(page)
    for x, y in ((6, 12), (14, 8), (9, 3)):
        seen = page.pixel(XY, share(x), 1 - share(y))
        value = float(white_lines()[0, 10, y, x])
        assert max(abs(a - b) for a, b in zip(seen, colour_of(value, low, high), strict=False)) < 12
        assert seen[3] == 255
    assert page.pixel(XY, share(0), 1 - share(1))[3] == 0  # outside the particle
    assert page.pixel(XY, share(N // 2 + 3), 1 - share(N // 2) + 0.01)[:3] == (158, 158, 158)  # no trusted value
    assert page.complaints() == []


def test_a_click_chooses_the_voxel_and_its_spectrum_fit_and_place_appear(page: Page, server: Served) -> None:
    start(page, server)
    page.click(XY, (share(13), 1 - share(7)))
    page.wait("document.body.dataset.voxel === '10,7,13'")
    page.wait(f"document.querySelectorAll('#spectrum circle[cx]').length >= {ENERGY.size // 2}")
    facts = page.ask("values.innerText")
    assert f"{white_lines()[0, 10, 7, 13]:.3f}" in facts
    assert page.ask("document.querySelectorAll('#spectrum path').length") == 1
    assert page.ask("document.querySelectorAll('#residual circle[cx]').length") > 15
    # The other slices went along, and the mark in the histogram stands at the value.
    page.wait("document.querySelector('.a canvas[data-across=x]').dataset.index === '13'")
    page.wait("document.querySelector('.a canvas[data-across=y]').dataset.index === '7'")
    low, high, mark = page.ask(
        "(() => { const s = document.querySelector('#histogram svg'); const b = s.viewBox.baseVal.width - 8;"
        " const m = Number(s.querySelector('.mark').getAttribute('x1'));"
        " const [l, h] = [Number(s.dataset.low), Number(s.dataset.high)];"
        " return [l, h, l + (m - 8) / (b - 8) * (h - l)]; })()"
    )
    assert low < mark < high
    assert mark == pytest.approx(float(white_lines()[0, 10, 7, 13]), abs=0.01)


def test_keys_move_slices_and_show_where_the_focus_is(page: Page, server: Served) -> None:
    start(page, server)
    page.ask(f"document.querySelector({XY!r}).focus()")
    before = page.pixel(XY, share(4), 1 - share(10))
    for key, voxel in (
        ("PageUp", "11,10,5"),
        ("ArrowRight", "11,10,6"),
        ("ArrowUp", "11,11,6"),
        ("End", "19,11,6"),
        ("Home", "0,11,6"),
    ):
        page.key(key)
        page.wait(f"document.body.dataset.voxel === '{voxel}'")
    assert before[3] == 255
    page.wait("document.querySelector('.a canvas[data-across=z]').dataset.index === '0'")
    assert page.pixel(XY, share(4), 1 - share(10))[3] == 0  # the lowest slice lies outside
    assert page.ask("said.textContent").startswith("z 1, y 12, x 7: no value")
    page.key("Tab")
    assert page.ask("document.activeElement.dataset.across") == "y"
    assert page.ask("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.key("]")
    page.wait("document.querySelector('#a-temperature').value === '1'")
    page.wait("location.hash.includes('a.temperature=1')")


def test_a_brushed_range_lights_up_its_voxels(page: Page, server: Served) -> None:
    start(page, server)
    page.drag("#histogram svg", (0.05, 0.4), (0.5, 0.4))
    page.wait("location.hash.includes('lit=')")
    first, last = page.ask("cathoscope.state.brush")
    line = white_lines()[0, 10, 12]
    lit, dark = page.pixel(XY, share(4), 1 - share(12)), page.pixel(XY, share(15), 1 - share(12))
    assert first < line[4] < last < line[15]
    assert lit[3] == 255
    assert 20 < dark[3] < 80
    page.click("#unbrush")
    page.wait("!location.hash.includes('lit=')")
    assert page.pixel(XY, share(15), 1 - share(12))[3] == 255


def test_a_brush_survives_what_arrives_meanwhile_and_selects_no_text(page: Page, server: Served) -> None:
    start(page, server)
    box = page.box("#histogram svg")
    places = [(box["x"] + part * box["width"], box["y"] + 0.4 * box["height"]) for part in (0.1, 0.3, 0.5)]
    page.mouse("Pressed", *places[0], buttons=1)
    page.mouse("Moved", *places[1], buttons=1)
    page.ask(f"document.querySelector({XY!r}).focus()")
    page.key("PageUp")  # another voxel: its place in the histogram is drawn when it is known
    page.wait("document.body.dataset.voxel === '11,10,5'")
    page.mouse("Moved", *places[2], buttons=1)
    page.mouse("Released", *places[2])
    page.wait("location.hash.includes('lit=')")
    first, last = page.ask("cathoscope.state.brush")
    low, high = page.ask(
        "(() => { const d = document.querySelector('#histogram svg').dataset; return [+d.low, +d.high]; })()"
    )
    assert last - first == pytest.approx(0.4 * box["width"] / (box["width"] * 232 / 248) * (high - low), rel=0.02)
    assert page.ask("String(getSelection())") == ""


def test_a_link_brings_everything_back(page: Page, server: Served) -> None:
    fragment = (
        "a=result/gravel&a.show=attenuation&a.temperature=1&a.energy=20&at=9,8,7"
        "&map=magma&range=0.01,0.1&view=75,-10&cut=half"
    )
    start(page, server, fragment)
    chosen = page.ask(
        "['a-measurement', 'a-quantity', 'a-temperature', 'a-energy', 'map', 'low', 'high', 'cut']"
        ".map((i) => document.getElementById(i).value)"
    )
    assert chosen == ["result/gravel", "attenuation", "1", "20", "magma", "0.01", "0.1", "half"]
    assert page.ask("document.body.dataset.voxel") == "9,8,7"
    assert page.ask(f"document.querySelector({SPACE!r}).dataset.view") == "75,-10"
    assert dict(part.split("=") for part in page.ask("location.hash.slice(1)").split("&")) == dict(
        part.split("=") for part in fragment.split("&")
    )
    page.ask("location.hash = 'a=result/rod&at=1,2,3'")
    page.wait(
        "document.querySelector('#a-measurement').value === 'result/rod' && document.body.dataset.voxel === '1,2,3'"
    )


def test_of_a_link_to_another_study_what_is_not_there_is_left_out(page: Page, server: Served) -> None:
    start(page, server, "a=result/nowhere&a.show=nothing&a.temperature=99&at=900,1,1&range=5,1&map=none&b=result/cell")
    assert page.ask("cathoscope.state.b") is None
    chosen = page.ask("['a-measurement', 'a-temperature', 'map'].map((i) => document.getElementById(i).value)")
    assert chosen == ["result/gravel", "1", "RdYlBu_r"]
    assert page.ask("document.body.dataset.voxel") == f"{N - 1},1,1"
    assert page.complaints() == []


def test_two_sides_have_linked_cursors_and_one_range(page: Page, server: Served) -> None:
    start(page, server)
    page.click("#compare")
    page.wait(
        "document.querySelector('.b canvas[data-across=z]') && document.querySelector('#b-temperature').value === '1'"
    )
    right = ".b canvas[data-across=z]"
    page.wait(f"document.querySelector({right!r}).dataset.index === '10'")
    page.click(right, (share(6), 1 - share(13)))
    page.wait("document.body.dataset.voxel === '10,13,6'")
    page.wait("values.innerText.includes('right')")
    assert "−1.000" in page.ask("values.innerText")  # the second temperature is 1 eV lower
    low, high = limits(page)
    page.wait(f"document.querySelector({right!r}).dataset.index === '10'")
    for selector, line in ((XY, white_lines()[0]), (right, white_lines()[1])):
        seen = page.pixel(selector, share(12), 1 - share(9))
        assert max(abs(a - b) for a, b in zip(seen, colour_of(float(line[10, 9, 12]), low, high), strict=False)) < 12
    assert page.complaints() == []


def test_the_picture_in_space_is_turned_by_the_mouse(page: Page, server: Served) -> None:
    start(page, server)
    assert page.pixel(SPACE, 0.5, 0.5)[3] == 255
    assert page.pixel(SPACE, 0.02, 0.02)[3] == 0
    picture = f"document.querySelector({SPACE!r}).toDataURL()"
    before = page.ask(picture)
    page.drag(SPACE, (0.5, 0.5), (0.3, 0.6))
    page.wait(
        f"(() => {{ const told = document.querySelector({SPACE!r}).dataset;"
        " return told.view !== '30,28' && told.fine === '1'; })()"
    )
    azimuth, elevation = page.ask("[cathoscope.state.azimuth, cathoscope.state.elevation]")
    assert azimuth == pytest.approx(70, abs=3)
    assert elevation == pytest.approx(48, abs=3)
    assert page.ask(picture) != before


def saved(page: Page) -> tuple[str, np.ndarray]:
    """Name and pixels of the figure that the button saves."""
    # A headless browser downloads nowhere: what would be is kept instead.
    page.ask(
        "HTMLCanvasElement.prototype.toBlob = function (then)"
        " { window.figure = this.toDataURL(); then(new Blob(['x'])); };"
        " HTMLAnchorElement.prototype.click = function () { window.kept = this.download; };"
    )
    page.click("#save")
    name = page.wait("window.kept")
    content = base64.b64decode(page.ask("window.figure").partition(",")[2])
    return name, np.asarray(imread(io.BytesIO(content), format="png"))


def test_the_saved_figure_has_slices_and_a_colour_bar_on_white(page: Page, server: Served) -> None:
    start(page, server)
    name, pixels = saved(page)
    assert name.endswith(".png")
    assert "rod" in name
    assert pixels.shape[1] > 1200
    np.testing.assert_allclose(pixels[5, 5, :3], 1.0)
    # The colour bar goes through all colours of the map, from left to right.
    wanted = mpl.colormaps["RdYlBu_r"](np.linspace(0.02, 0.98, 25))[:, :3]
    rows = pixels[-130:, :, :3]
    close = [np.abs(rows - colour).max(axis=2).min() for colour in wanted]
    assert max(close) < 0.02
    value = float(white_lines()[0, 10, 12, 5])
    first = pixels[:760, :660, :3]
    assert np.abs(first - np.array(colour_of(value, *limits(page))) / 255).max(axis=2).min() < 0.03


@pytest.mark.parametrize(("width", "height"), [(400, 800), (1600, 1000)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_window_and_follows_the_scheme(
    page: Page, server: Served, width: int, height: int, scheme: str
) -> None:
    start(page, server, size=(width, height))
    page.scheme(scheme)
    page.wait(f"matchMedia('(prefers-color-scheme: {scheme})').matches")
    assert page.ask("document.documentElement.scrollWidth") <= width
    shown = imread(io.BytesIO(page.picture()), format="png")[3:, :, :3]  # below the line along the top
    assert (np.median(shown) > 0.85) == (scheme == "light")
    small = page.ask(
        "[...document.querySelectorAll('canvas.panel')].every((c) => c.getBoundingClientRect().width > 150)"
    )
    assert small


def test_a_study_without_results_says_what_to_type(page: Page, tmp_path: Path) -> None:
    study = Study.create(tmp_path / "new.zarr")
    study.append_log({"measurements": [{"name": "rod", "failure": "<b>a.h5</b>: cut short"}]})
    with serving(study) as server:
        page.events.clear()
        page.open(server.address)
        text = page.ask("document.body.innerText")
    assert "This study has no results yet" in text
    assert "cathoscope run RECIPE" in text
    assert "<b>a.h5</b>: cut short" in text  # as text, not as a page
    assert page.complaints() == []


def test_curves_alone_are_shown_without_slices(page: Page, server: Served) -> None:
    page.open(f"{server.address}#a=result/cell")
    page.wait("document.querySelectorAll('#curves svg circle[cx]').length >= 12")
    assert page.ask("getComputedStyle(document.getElementById('views')).display") == "none"


def test_a_damaged_array_is_told_and_the_page_goes_on(page: Page, study: Study, tmp_path: Path) -> None:
    copy = shutil.copytree(study.path, tmp_path / "copy.zarr")
    for chunk in (copy / "result/rod/white_line_energy/c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"damaged")
    with serving(Study.open(copy)) as server:
        page.open(f"{server.address}#a=result/rod&at=10,10,5")
        page.wait("!problem.hidden && problem.textContent.includes('damaged')")
        page.ask(
            "(() => { const s = document.getElementById('a-measurement'); s.value = 'result/gravel';"
            " s.dispatchEvent(new Event('change')); })()"
        )
        page.wait("problem.hidden && document.querySelector('.a canvas[data-across=z]').dataset.index === '10'")


def test_the_token_leaves_the_address_and_stays_with_the_browser(page: Page, study: Study) -> None:
    with serving(study, with_token=True) as server:
        page.open(server.address)
        assert page.ask("location.search") == ""
        assert page.ask("document.cookie") == ""  # not for scripts
        page.open(server.address.split("?")[0])
        assert json.loads(page.ask("fetch('api/study').then((answer) => answer.text())"))["title"] == "balls"


def test_times_of_slices_are_measured(page: Page, server: Served) -> None:
    start(page, server)
    page.ask(f"document.querySelector({XY!r}).focus()")
    times: Any = page.ask("cathoscope.times.length")
    page.key("PageUp")
    page.wait(f"cathoscope.times.length > {times}")
    assert page.ask("cathoscope.times.at(-1)") > 0
