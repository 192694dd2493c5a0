"""Groups of spectra as the figure, the table and the first numbers show them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.report.names import names_along
from cathoscope.report.numbers import Row, count_text, format_value, plain_number

_MOST_ROWS = 12
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Groups:
    """Mean edge of every group and its rise against the reference, eV, [group]; NaN where there is none.

    ``labels`` holds what the members of each group share, ``against`` the labels of the reference; ``count`` is 0 where
    it is not known, and ``scatter`` is that of single spectra about the mean of their group.
    """

    names: list[str]
    labels: dict[str, list[str]]
    count: list[int]
    scatter: float
    edge: str
    against: dict[str, str]
    mean: Floats
    mean_std: Floats
    rise: Floats
    rise_std: Floats

    def is_reference(self, index: int) -> bool:
        """Whether a group is one that others are held against: it rises by exactly nothing."""
        return bool(self.rise[index] == 0 and self.rise_std[index] == 0)

    @property
    def against_words(self) -> str:
        """Labels of the reference."""
        return ", ".join(f"{title} {value}" for title, value in self.against.items()) or "the reference's labels"

    @property
    def single_std(self) -> float:
        """Standard uncertainty of one spectrum, from which those of the means are made; NaN if not known."""
        known = self.mean_std * np.sqrt(np.asarray(self.count, np.float64))
        known = known[np.isfinite(known) & (known > 0)]
        return float(np.median(known)) if known.size else float("nan")

    @property
    def sigma_words(self) -> str:
        """Where the uncertainties come from, as a sentence."""
        if not np.isfinite(self.single_std):
            return ""
        rises = "; that of a rise holds the reference's too" if np.isfinite(self.rise).any() else ""
        size = f"{plain_number(float(f'{self.single_std:.2g}'))} eV"
        if np.isfinite(self.scatter) and self.single_std <= self.scatter * (1 + 1e-6):
            source = f"the scatter of single spectra about the mean of their group, {size} with all groups pooled,"
        else:
            lack = ", which scatter less" if np.isfinite(self.scatter) else "; no group has two to tell their scatter"
            source = f"the uncertainty of single spectra ({size}{lack})"
        return f"One σ is {source} over the square root of their number{rises}."

    def members(self, data: xr.Dataset) -> list[list[int]]:
        """Places of the spectra of each group; empty if the labels do not tell."""
        if self.edge not in data or data[self.edge].dims != ("spectrum",) or not self.labels:
            return []
        stated = data["spectrum"].attrs.get("labels", {}) if "spectrum" in data.coords else {}
        n = data.sizes["spectrum"]
        if any(len(stated.get(title, [])) != n for title in self.labels):
            return []
        spectra = list(zip(*([str(value) for value in stated[title]] for title in self.labels), strict=True))
        keys = list(zip(*self.labels.values(), strict=True))
        return [[place for place, spectrum in enumerate(spectra) if spectrum == key] for key in keys]


def groups_of(data: xr.Dataset) -> Groups:
    """The groups of a measurement that has ``group_edge``."""
    edge = data["group_edge"]
    attrs = data["group"].attrs if "group" in data.coords else {}
    n = edge.sizes["group"]
    count = [int(each) for each in np.atleast_1d(attrs.get("count", []))]
    scatter = attrs.get("scatter")
    labels = {str(title): [str(value) for value in values] for title, values in attrs.get("labels", {}).items()}
    rise_attrs = data["group_edge_rise"].attrs if "group_edge_rise" in data else {}
    return Groups(
        names_along(edge, "group"),
        {title: values for title, values in labels.items() if len(values) == n},
        count if len(count) == n else [0] * n,
        float("nan") if scatter is None else float(scatter),
        str(edge.attrs.get("edge", "")),
        {str(title): str(value) for title, value in (rise_attrs.get("against") or {}).items()},
        *(_along_groups(data, name, n) for name in ("group_edge", "group_edge_std")),
        *(_along_groups(data, name, n) for name in ("group_edge_rise", "group_edge_rise_std")),
    )


def _along_groups(data: xr.Dataset, name: str, n: int) -> Floats:
    if name not in data or data[name].dims != ("group",):
        return np.full(n, np.nan)
    return np.asarray(data[name].values, np.float64)


def group_numbers(data: xr.Dataset) -> list[Row]:
    """Rise of every group against its reference, or its mean edge; how many there are if that is too much."""
    if "group_edge" not in data or data["group_edge"].dims != ("group",):
        return []
    groups = groups_of(data)
    rises = bool(np.isfinite(groups.rise).any())
    value, std = (groups.rise, groups.rise_std) if rises else (groups.mean, groups.mean_std)
    against = f" against {', '.join(groups.against.values()) or 'the reference'}" if rises else ""
    what = "rise at" if rises else "mean edge of"
    shown = [row for row in range(len(groups.names)) if np.isfinite(value[row]) and not groups.is_reference(row)]
    if len(shown) > _MOST_ROWS:
        ends = f"{value[shown].min():.2f} to {value[shown].max():.2f} eV".replace("-", "−")
        return [Row(f"{what} {count_text(len(shown), 'group')}{against}", ends)]
    return [
        Row(f"{what} {groups.names[row]}{against}", format_value(float(value[row]), float(std[row]), "eV", digits=2))
        for row in shown
    ]
