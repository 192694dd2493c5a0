"""How a quantity is shown: its words, its unit, its colours, and whether zero is their middle."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Colormap, ListedColormap, to_rgb
from numpy.typing import NDArray

from cathoscope.core.errors import SchemaError
from cathoscope.core.schema import spec_of
from cathoscope.report.style import COLOURS, sequential_colours, unit_text, white_line_colours

Kind = Literal["state", "change", "grey", "amount", "sigma", "mask", "label", "flag"]

_STATES = ("white_line_energy", "white_line_half", "valence", "state_of_charge", "half_height_edge")
_CHANGES = ("white_line_difference", "white_line_significance", "solid_change", "half_difference")
_GREYS = ("attenuation", "optical_depth", "voxels", "oxide_share", "solid_fraction", "spectral_coefficient")
_MAP_OF: dict[Kind, str] = {
    "state": "RdYlBu_r",
    "change": "PuOr_r",
    "grey": "gray",
    "amount": "cividis",
    "sigma": "viridis",
    "mask": "cividis",  # its bright end is seen on light and dark ground
    "label": "labels",
    "flag": "labels",
}
MAPS = ("RdYlBu_r", "viridis", "cividis", "magma", "gray", "PuOr_r", "labels")
"""Maps that a person may choose. All but the labels are even or readable with every common kind of colour blindness."""
MAP_WORDS = {
    "RdYlBu_r": "blue to red",
    "viridis": "viridis",
    "cividis": "cividis",
    "magma": "magma",
    "gray": "grey",
    "PuOr_r": "purple to orange",
    "labels": "labels",
}
# What a person looks for first.
_FIRST = ("white_line_energy", "valence", "state_of_charge", "edge_jump", "attenuation", "optical_depth")
_WORDS = {
    "white_line_energy": "White-line energy",
    "white_line_half": "White line, half sets",
    "white_line_flag": "Why there is no white line",
    "white_line_difference": "Change of the white line",
    "white_line_significance": "Significance of the change",
    "particle_mask": "Particle",
    "half_difference": "Odd minus even projections",
}


@dataclass(frozen=True)
class Quantity:
    """How one array is shown; ``middle`` says that zero has the middle colour."""

    name: str
    words: str
    meaning: str
    unit: str
    kind: Kind
    colours: str
    middle: bool


def quantity_of(name: str, dtype: np.dtype[Any], attributes: dict[str, Any]) -> Quantity:
    """How an array of this name is shown."""
    kind = kind_of(name, dtype, attributes)
    try:
        spec = spec_of(name)
        meaning, unit = spec.meaning, spec.unit
    except SchemaError:
        meaning, unit = str(attributes.get("long_name", name)), str(attributes.get("units", ""))
    middle = kind == "change" or name == "spectral_coefficient"
    return Quantity(name, words_of(name), meaning, unit_text(unit), kind, _MAP_OF[kind], middle)


def kind_of(name: str, dtype: np.dtype[Any], attributes: dict[str, Any]) -> Kind:
    """What kind of quantity an array holds."""
    if dtype.kind == "b":
        return "mask"
    if dtype.kind in "iu":
        return "flag" if "flag_meanings" in attributes and not name.endswith("_kind") else "label"
    if name.endswith(("_std", "_systematic")) or name == "mixture_residual":
        return "sigma"
    if name in _STATES:
        return "state"
    if name in _CHANGES:
        return "change"
    return "grey" if name in _GREYS else "amount"


def words_of(name: str) -> str:
    """The name of an array in words."""
    if name.endswith("_std"):
        return f"{words_of(name.removesuffix('_std'))}, σ"
    return _WORDS.get(name, name.replace("_", " ").capitalize())


def order_of(name: str) -> tuple[int, str]:
    """Sorts arrays: what a person looks for first comes first, uncertainties and masks last."""
    late = 2 if name.endswith(("_std", "_systematic")) else 1 if re.search("mask|flag|half|coefficient", name) else 0
    return (_FIRST.index(name) if name in _FIRST else len(_FIRST) + late), name


def colour_map(name: str) -> Colormap:
    """A map of `MAPS`."""
    if name == "RdYlBu_r":
        return white_line_colours()
    if name == "labels":
        return ListedColormap([to_rgb(COLOURS[index % 6]) for index in range(256)]).with_extremes(bad=(0, 0, 0, 0))
    return sequential_colours(name)


def colour_table(name: str) -> NDArray[np.uint8]:
    """The 256 colours of a map, [colour, red green blue]."""
    if name == "labels":
        return np.array([[round(255 * part) for part in to_rgb(COLOURS[index % 6])] for index in range(256)], np.uint8)
    return np.asarray(np.round(255 * mpl.colormaps[name](np.arange(256))[:, :3]), np.uint8)
