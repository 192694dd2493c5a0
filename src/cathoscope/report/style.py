"""How every figure looks: journal widths, fonts, colours, scale bars, colour bars, and reproducible files."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

MILLIMETRE = 1 / 25.4  # inch
SINGLE_COLUMN = 85.0  # mm
DOUBLE_COLUMN = 178.0  # mm

# Okabe and Ito's palette, told apart with every common kind of colour blindness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_COLD_TO_HOT = LinearSegmentedColormap.from_list("cold_to_hot", ["#0072B2", "#56B4E9", "#E69F00", "#D55E00"])

_RC: Any = {
    "font.family": "DejaVu Sans",  # shipped with matplotlib, so the same everywhere
    "font.size": 7.5,
    "axes.labelsize": 7.5,
    "axes.titlesize": 7.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "errorbar.capsize": 1.8,
    "savefig.facecolor": "white",
    "figure.facecolor": "white",
    "svg.hashsalt": "cathoscope",
    "svg.fonttype": "path",
}
FILE_FORMATS = ("svg", "pdf", "png")
_FILE_DPI = 300
_METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": "cathoscope"},
    "pdf": {"CreationDate": None, "Creator": "cathoscope"},
    "png": {"Software": "cathoscope"},
}

_UNIT_TEXT = {
    "degC": "°C",
    "um": "µm",
    "1/um": "µm⁻¹",
    "um2": "µm²",
    "um3": "µm³",
    "A": "Å",
    "A2": "Å²",
    "A3": "Å³",
    "ampere": "A",
    "1/K": "K⁻¹",
    "deg": "°",
    "count": "counts",
    "1": "",
}


@dataclass(frozen=True)
class Panel:
    """A figure with what a reader needs to understand it.

    ``key`` names its files; ``caption`` says in plain words what was done, with the numbers.
    """

    key: str
    title: str
    caption: str
    figure: Figure

    def _repr_html_(self) -> str:
        """The figure with its caption, for notebooks."""
        pixels = base64.b64encode(figure_bytes(self.figure, "png", dpi=110)).decode()
        words = f"<strong>{escape(self.title)}.</strong> {escape(self.caption)}"
        return f'<figure><img src="data:image/png;base64,{pixels}"><figcaption>{words}</figcaption></figure>'


@contextmanager
def journal_style() -> Iterator[None]:
    """Settings of all figures, for as long as one is made or saved."""
    with mpl.rc_context():  # puts everything back, so a notebook keeps its own settings
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def new_figure(*, width: float = SINGLE_COLUMN, height: float = 60.0) -> Figure:
    """An empty figure of ``width`` by ``height`` mm; call it within `journal_style`."""
    figure = Figure(figsize=(width * MILLIMETRE, height * MILLIMETRE), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def figure_bytes(figure: Figure, file_format: str, *, dpi: int = _FILE_DPI) -> bytes:
    """The figure as a file; the same figure gives the same bytes, whatever the clock says."""
    buffer = io.BytesIO()
    options: dict[str, Any] = {"metadata": _METADATA[file_format]} if file_format in _METADATA else {}
    if file_format == "webp":
        options["pil_kwargs"] = {"quality": 88, "method": 4}
    if file_format == "png":
        options["pil_kwargs"] = {"compress_level": 4}
    with journal_style():
        figure.savefig(buffer, format=file_format, dpi=dpi, **options)
    return buffer.getvalue()


def freeze_layout(figure: Figure) -> None:
    """Lay the figure out once and keep it so: all its files look the same, and saving is faster."""
    with journal_style():
        figure.draw_without_rendering()
        figure.set_layout_engine(None)


def unit_text(unit: str) -> str:
    """A unit of the schema as print has it (``um`` is µm, ``degC`` is °C, ``1`` is nothing)."""
    return _UNIT_TEXT.get(unit, unit)


def axis_label(quantity: str, unit: str) -> str:
    """``quantity (unit)``, or the bare quantity if it has no unit."""
    text = unit_text(unit)
    return f"{quantity} ({text})" if text else quantity


def series_colours(n: int) -> list[Any]:
    """Colours of ``n`` conditions in order, cold (blue) to hot (red)."""
    return [_COLD_TO_HOT(0.0 if n < 2 else index / (n - 1)) for index in range(n)]


def ordered_colours() -> Colormap:
    """Cold (blue) to hot (red), for a quantity by which spectra are ordered."""
    return _COLD_TO_HOT


def white_line_colours() -> Colormap:
    """Blue for low, red for high white-line energy; nothing where there is none."""
    return mpl.colormaps["RdYlBu_r"].with_extremes(bad=(0.0, 0.0, 0.0, 0.0))


def sequential_colours(name: str = "viridis") -> Colormap:
    """A perceptually even colour map; nothing where there is no value."""
    return mpl.colormaps[name].with_extremes(bad=(0.0, 0.0, 0.0, 0.0))


def round_length(limit: float) -> float:
    """The longest of 1, 2, 5 times a power of ten that is at most ``limit`` (> 0)."""
    power = 10.0 ** math.floor(math.log10(limit))
    return max(step * power for step in (1.0, 2.0, 5.0) if step * power <= limit * (1 + 1e-9))


def add_scale_bar(axes: Axes, *, unit: str, light: bool = False) -> None:
    """Draw a scale bar of a round length, at most 30 % of the width, at the lower left of an image."""
    left, right = sorted(axes.get_xlim())
    low, high = sorted(axes.get_ylim())
    length = round_length(0.3 * (right - left))
    colour, edge = ("white", "black") if light else ("black", "white")
    stroke = [withStroke(linewidth=1.6, foreground=edge, alpha=0.7)]
    start, base, thick = left + 0.05 * (right - left), low + 0.05 * (high - low), 0.018 * (high - low)
    bar = Rectangle((start, base), length, thick, facecolor=colour, edgecolor="none", path_effects=stroke)
    axes.add_patch(bar)
    axes.text(
        start + length / 2,
        base + 1.6 * thick,
        f"{length:g} {unit_text(unit)}",
        color=colour,
        ha="center",
        va="bottom",
        fontsize=7,
        path_effects=stroke,
    )


def add_colour_bar(mappable: ScalarMappable, axes: Any, label: str, **options: Any) -> None:
    """One colour bar for one axes or several, labelled with its unit."""
    figure = (axes[0] if isinstance(axes, list) else axes).figure
    bar = figure.colorbar(mappable, ax=axes, **{"shrink": 0.9, "aspect": 22, "pad": 0.02, **options})
    bar.set_label(label)
    bar.outline.set_linewidth(0.4)


def add_legend(axes: Axes, **options: Any) -> None:
    """A legend, if there is more than one thing to tell apart."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        axes.legend(handles, labels, **{"loc": "best", "handlelength": 1.6, **options})


def add_legend_above(axes: Axes) -> None:
    """A legend in one line above the axes, where it hides nothing."""
    add_legend(axes, loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0.2, columnspacing=1.2)


def add_figure_legend(figure: Figure, axes: Axes) -> None:
    """A legend in rows of three above everything, where it hides nothing and fits a column of text."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        columns = min(len(labels), 4 if max(map(len, labels)) < 8 else 3)
        options = {"ncols": columns, "handlelength": 1.2, "columnspacing": 1.0, "borderaxespad": 0.2}
        figure.legend(handles, labels, loc="outside upper center", **options)


def mean_line(axes: Axes, value: float, colour: Any) -> Line2D:
    """A dashed vertical line."""
    return axes.axvline(value, color=colour, linestyle=(0, (4, 2)), linewidth=0.9)
