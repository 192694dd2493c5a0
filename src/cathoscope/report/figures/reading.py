"""Read what a figure needs and no more: slices, slabs and histograms of arrays that may not fit in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.report.memory import bytes_for_drawing

_SLAB = 8  # slices; the study's chunk along z
_MOST_BINS = 1 << 20
_PER_VOXEL = 100.0  # bytes of a slab while it is looked at, measured: a few arrays, in double precision, and their like


def at(array: xr.DataArray, **place: Any) -> xr.DataArray:
    """``array`` at some indices; dims it lacks are ignored, so that 2D and 5D data share one code."""
    return array.isel({dim: index for dim, index in place.items() if dim in array.dims})


def draws(data: xr.Dataset, name: str, *dims: str) -> bool:
    """Whether ``data`` has the array ``name`` along ``dims``, and along nothing but conditions and z besides.

    What has a value per spectrum has no conditions besides.
    """
    if name not in data:
        return False
    besides = set() if "spectrum" in dims else {"temperature", "energy", "z"}
    return set(dims) <= set(data[name].dims) <= {*dims, *besides}


def sizes(array: xr.DataArray, *dims: str) -> tuple[int, ...]:
    """Lengths along ``dims``, 1 where the array lacks one."""
    return tuple(array.sizes.get(dim, 1) for dim in dims)


def coordinate(array: xr.DataArray, dim: str) -> NDArray[Any] | None:
    """Coordinate values along ``dim``, None if the array has none."""
    return np.atleast_1d(array[dim].values) if dim in array.coords else None


def temperatures(array: xr.DataArray) -> list[float | None]:
    """Temperatures in C; one None if the measurement has a single, unnamed condition."""
    values = coordinate(array, "temperature") if "temperature" in array.dims else None
    if values is None:
        return [None] * array.sizes.get("temperature", 1)
    return [float(value) for value in values]


def temperature_name(temperature: float | None) -> str:
    """``150 °C``, or nothing."""
    return "" if temperature is None else f"{temperature:g} °C"


def slabs(arrays: Sequence[xr.DataArray], **place: int) -> Iterator[list[NDArray[Any]]]:
    """Values of several arrays of one shape, a few slices at a time."""
    cut = [at(array, **place) for array in arrays]
    depth = cut[0].sizes.get("z", 1)
    thin = int(bytes_for_drawing() / _PER_VOXEL / max(cut[0].size // max(depth, 1), 1))
    thickness = min(max(thin, 1), _SLAB)
    for start in range(0, depth, thickness):
        yield [np.asarray(at(array, z=slice(start, start + thickness)).values) for array in cut]


def white_line_slabs(data: xr.Dataset, temperature: int, *more: str) -> Iterator[list[NDArray[Any]]]:
    """White-line energies that can be trusted, NaN elsewhere, and the values of ``more`` arrays, by slabs."""
    trust = "white_line_flag" if "white_line_flag" in data else "particle_mask" if "particle_mask" in data else ""
    names = ["white_line_energy", *([trust] if trust else []), *more]
    for values in slabs([data[name] for name in names], temperature=temperature):
        line = values.pop(0).astype(np.float64)
        if trust:
            flags = values.pop(0)
            line[~flags if flags.dtype == bool else flags != 0] = np.nan
        yield [line, *values]


def busiest_slice(data: xr.Dataset) -> int:
    """Index along z with the most trusted voxels at the first temperature; the middle one if there are none."""
    n_slices = data["white_line_energy"].sizes.get("z", 1)
    counts = np.concatenate(
        [
            np.isfinite(line).reshape(line.shape[0] if line.ndim == 3 else 1, -1).sum(axis=1)
            for (line,) in white_line_slabs(data, 0)
        ]
    )
    return int(np.argmax(counts)) if counts.any() else n_slices // 2


@dataclass(frozen=True)
class Histogram:
    """Counts in equal bins: ``edges`` [bin + 1] and ``counts`` [bin], with the moments of the values themselves."""

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    mean: float
    width: float

    @property
    def total(self) -> int:
        """Number of values."""
        return int(self.counts.sum())

    def quantile(self, share: float) -> float:
        """Value below which ``share`` of the values lie, to a bin width."""
        if self.total == 0:
            return float("nan")
        return float(self.edges[1:][np.searchsorted(np.cumsum(self.counts), share * self.total)])

    def coarser(self, factor: int) -> Histogram:
        """``factor`` neighbouring bins taken together, starting at a multiple of the new width."""
        step = self.edges[1] - self.edges[0]
        skipped = round(float(self.edges[0] / step)) % factor
        padded = np.pad(self.counts, (skipped, -(len(self.counts) + skipped) % factor))
        edges = self.edges[0] + step * (factor * np.arange(len(padded) // factor + 1) - skipped)
        return Histogram(edges, padded.reshape(-1, factor).sum(axis=1), self.mean, self.width)


def histogram(pieces: Iterable[NDArray[Any]], *, step: float) -> Histogram:
    """Histogram of the finite values of ``pieces`` in bins of ``step``, in one pass and little memory."""
    counts: dict[int, int] = {}
    total, origin, first, second = 0, 0.0, 0.0, 0.0
    for piece in pieces:
        values = piece[np.isfinite(piece)].astype(np.float64)
        if values.size == 0:
            continue
        origin = origin if total else float(values[0])  # sums of small numbers keep their digits
        total += values.size
        first += float((values - origin).sum())
        second += float(((values - origin) ** 2).sum())
        for index, n in _counted(np.floor(values / step).astype(np.int64)):
            counts[index] = counts.get(index, 0) + n
    if not total:
        return Histogram(np.array([0.0, step]), np.zeros(1, np.int64), float("nan"), float("nan"))
    low, high = min(counts), max(counts)
    filled = np.zeros(high - low + 1, np.int64)
    filled[np.array(list(counts)) - low] = list(counts.values())
    mean = first / total
    edges = np.asarray(step * np.arange(low, high + 2), np.float64)
    return Histogram(edges, filled, origin + mean, float(np.sqrt(max(second / total - mean**2, 0.0))))


def _counted(bins: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """The numbers of bins that are there, and how often each."""
    low, high = int(bins.min()), int(bins.max())
    if high - low > _MOST_BINS:  # hardly any is there twice
        yield from ((int(index), int(n)) for index, n in zip(*np.unique(bins, return_counts=True), strict=True))
        return
    counts = np.bincount(bins - low)  # ten times faster, as nothing is sorted
    yield from ((low + int(index), int(counts[index])) for index in np.flatnonzero(counts))


def bins_of_width(found: Sequence[Histogram], n_bins: int = 50) -> list[Histogram]:
    """Histograms over common bins, about ``n_bins`` between the 0.5 and 99.5 percentiles of them all."""
    low, high = common_range(found)
    step = found[0].edges[1] - found[0].edges[0]
    factor = max(1, round(float((high - low) / step) / n_bins))
    return [each.coarser(factor) for each in found]


def common_range(found: Sequence[Histogram], tail: float = 0.005) -> tuple[float, float]:
    """From the lowest to the highest ``tail`` percentile of several histograms; never empty."""
    filled = [each for each in found if each.total]
    if not filled:
        return 0.0, 1.0
    low = min(each.quantile(tail) for each in filled)
    high = max(each.quantile(1 - tail) for each in filled)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
