"""The viewer's pages and answers: Starlette routes over a study, which they never change."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, get_args

import numpy as np
from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cathoscope.core.errors import CathoscopeError
from cathoscope.core.study import Study
from cathoscope.report.viewer.curves import curves_of
from cathoscope.report.viewer.library import Library, NotThere, Volume
from cathoscope.report.viewer.picture import CutKind, Look, Pictures
from cathoscope.report.viewer.quantities import MAP_WORDS, MAPS, colour_table
from cathoscope.report.viewer.slices import Slices, encoded, indices_of, whole_number
from cathoscope.report.viewer.voxel import Fit, voxel_facts

Answer = Callable[[Mapping[str, str]], Response]

_MOST_PIXELS = 900
_ANSWERS_AT_ONCE = 6
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


class Viewer:
    """Answers what the page asks about one study."""

    def __init__(self, study: Study, fit: Fit | None = None) -> None:
        self._study = study
        self._library = Library(study)
        self._slices = Slices(self._library)
        self._pictures = Pictures(self._slices)
        self._fit = fit

    def app(self) -> Starlette:
        """The routes. Answers run in threads, so a slow one does not hold up the next."""
        answers: dict[str, Answer] = {
            "study": self.study,
            "slice": self.slice,
            "spread": self.spread,
            "voxel": self.voxel,
            "picture": self.picture,
            "curves": self.curves,
        }
        routes = [Route(f"/api/{name}", _endpoint(answer)) for name, answer in answers.items()]
        routes += [Route("/" if name == "index.html" else f"/{name}", _page(name)) for name in page_files()]
        return Starlette(routes=routes, lifespan=_few_threads)

    def study(self, _asked: Mapping[str, str]) -> Response:
        """Everything there is to choose from."""
        listed = [self._measurement(name) for name in self._library.measurements()]
        # what has neither voxels nor a measured curve has nothing to show: summaries, and truths of curves
        found = [one for one in listed if one["volumes"] or (one["technique"] and one["name"].startswith("result/"))]
        failed = self._failures()
        return json_response(
            {
                "title": self._study.title,
                "folder": self._study.path.name,
                "measurements": found,
                "failed": failed,
                "maps": [
                    {"name": name, "words": MAP_WORDS[name], "colours": colour_table(name).ravel().tolist()}
                    for name in MAPS
                ],
            }
        )

    def _measurement(self, name: str) -> dict[str, Any]:
        group, _, short = name.partition("/")
        raw = self._study.attributes("raw", short)
        volumes = self._library.volumes(name)
        return {
            "name": name,
            "words": short if group == "result" else f"{short}, truth",
            "sample": str(raw.get("sample") or short),
            "technique": str(raw.get("technique") or ""),
            "volumes": [self._volume_facts(volume) for volume in volumes],
            "conditions": [] if volumes else self._library.conditions(name),
        }

    def _volume_facts(self, volume: Volume) -> dict[str, Any]:
        quantity = volume.quantity
        space, unit = self._library.space_of(volume)
        return {
            "name": volume.name,
            "words": quantity.words,
            "meaning": quantity.meaning,
            "unit": quantity.unit,
            "kind": quantity.kind,
            "map": quantity.colours,
            "lead": self._library.axes_of(volume),
            "shape": volume.space,
            "space": space,
            "space_unit": unit,
        }

    def _failures(self) -> list[dict[str, str]]:
        """Measurements of the last run that failed, with the reason."""
        log = self._study.log()
        runs = log[-1].get("measurements", []) if log else []
        return [
            {"name": str(run.get("name")), "reason": str(run["failure"])}
            for run in runs
            if isinstance(run, dict) and run.get("failure")
        ]

    def slice(self, asked: Mapping[str, str]) -> Response:
        """One plane as 16-bit numbers; see `encoded`."""
        volume = self._volume(asked)
        index = whole_number(asked.get("index", "0"), "index")
        values, inside = self._slices.slice(volume, indices_of(asked, volume), asked.get("axis", "z"), index)
        return Response(encoded(values, inside), media_type="application/octet-stream")

    def spread(self, asked: Mapping[str, str]) -> Response:
        """Range and histogram."""
        volume = self._volume(asked)
        found = self._slices.spread(volume, indices_of(asked, volume))
        return json_response(
            {**vars(found), "edges": found.edges.tolist(), "counts": found.counts.tolist()},
        )

    def voxel(self, asked: Mapping[str, str]) -> Response:
        """Everything about one voxel."""
        volume = self._volume(asked)
        at = tuple(whole_number(asked.get(dim, "0"), dim) for dim in volume.space_dims)
        return json_response(voxel_facts(self._slices, volume, indices_of(asked, volume), at, self._fit))

    def picture(self, asked: Mapping[str, str]) -> Response:
        """A picture in space: length of a pixel's side (float64), rows, columns (int32), then RGBA bytes."""
        volume = self._volume(asked)
        if len(volume.space) != 3:
            raise NotThere("an image has no picture in space", cure="choose a quantity with z, y and x")
        place = indices_of(asked, volume)
        space, _ = self._library.space_of(volume)
        pixels, size = self._pictures.draw(volume, place, look_of(asked), abs(space[2][1]) or 1.0)
        head = np.array([size], "<f8").tobytes() + np.array(pixels.shape[:2], "<i4").tobytes()
        return Response(head + pixels.tobytes(), media_type="application/octet-stream")

    def curves(self, asked: Mapping[str, str]) -> Response:
        """Curves of all measurements of a sample near the conditions."""
        sample = asked.get("sample", "")
        named = [name for name in self._library.measurements() if name.startswith("result/")]
        chosen = [name for name in named if self._sample_of(name) == sample]
        conditions = {dim: number(asked[dim], dim) for dim in ("temperature", "cycle", "energy") if dim in asked}
        return json_response(curves_of(self._library, chosen, conditions))

    def _sample_of(self, measurement: str) -> str:
        short = measurement.partition("/")[2]
        return str(self._study.attributes("raw", short).get("sample") or short)

    def _volume(self, asked: Mapping[str, str]) -> Volume:
        return self._library.volume(asked.get("measurement", ""), asked.get("array", ""))


@asynccontextmanager
async def _few_threads(_app: Starlette) -> AsyncIterator[None]:
    """As many answers at once as there is memory for; a page asks for five."""
    to_thread.current_default_thread_limiter().total_tokens = _ANSWERS_AT_ONCE
    yield


def look_of(asked: Mapping[str, str]) -> Look:
    """How a picture is asked for.

    Raises
    ------
    NotThere
        If a choice is none of those there are.
    """
    cut, colours = asked.get("cut", "octant"), asked.get("map", "viridis")
    if cut not in get_args(CutKind) or colours not in MAPS:
        raise NotThere("there is no such cut or map", found=f"{cut}, {colours}"[:80])
    pixels = min(max(whole_number(asked.get("pixels", "300"), "pixels"), 16), _MOST_PIXELS)
    limits = number(asked.get("low", "0"), "low"), number(asked.get("high", "1"), "high")
    if not limits[1] > limits[0]:
        raise NotThere("the range is empty", expected="low below high", found=f"{limits[0]:g}, {limits[1]:g}")
    shown = None
    if "from" in asked and "to" in asked:
        shown = number(asked["from"], "from"), number(asked["to"], "to")
    return Look(
        azimuth=number(asked.get("azimuth", "30"), "azimuth") % 360,
        elevation=min(max(number(asked.get("elevation", "28"), "elevation"), -90.0), 90.0),
        pixels=pixels,
        fine=asked.get("fine", "1") == "1",
        cut=cut,  # type: ignore[arg-type]  # one of them, as was checked
        colours=colours,
        limits=limits,
        shown=shown,
    )


def number(text: str, name: str) -> float:
    """A finite number from text.

    Raises
    ------
    NotThere
        If it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise NotThere(f"{name} is not a number", found=repr(text)[:40])
    return value


def json_response(content: object, status: int = 200) -> Response:
    """``content`` as JSON; what is not finite is null."""
    text = json.dumps(_plain(content), allow_nan=False, separators=(",", ":"))
    return Response(text, status, media_type="application/json")


def _plain(content: object) -> object:
    if isinstance(content, float):
        return float(f"{content:.9g}") if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_plain(value) for value in content]
    return content


def _endpoint(answer: Answer) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        """The answer, or our own errors in words."""
        try:
            return answer(dict(request.query_params))
        except CathoscopeError as error:
            told = {"problem": error.problem, "expected": error.expected, "found": error.found, "cure": error.cure}
            return json_response(told, 404 if isinstance(error, NotThere) else 422)

    return endpoint


def page_files() -> tuple[str, ...]:
    """Names of the files of the page."""
    folder = files("cathoscope.report.viewer") / "page"
    return tuple(sorted(entry.name for entry in folder.iterdir() if entry.name.rpartition(".")[2] in _TYPES))


def _page(name: str) -> Callable[[Request], Response]:
    content = (files("cathoscope.report.viewer") / "page" / name).read_bytes()

    def page(_request: Request) -> Response:
        """One file of the page."""
        return Response(content, media_type=_TYPES[name.rpartition(".")[2]])

    return page
