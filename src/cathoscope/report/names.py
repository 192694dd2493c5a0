"""Names of the spectra and components of an array."""

from __future__ import annotations

from collections import Counter

import numpy as np
import xarray as xr


def names_along(array: xr.DataArray, dim: str) -> list[str]:
    """Names along ``dim`` from the attribute ``names`` of its coordinate or of the array, each of them once.

    Where names repeat, their place is added; where there are none, they are ``spectrum 1``, ``spectrum 2``.
    """
    n = array.sizes[dim]
    values = np.atleast_1d(array[dim].values) if dim in array.coords else np.arange(1, n + 1)
    for labelled in (array, *([array[dim]] if dim in array.coords else [])):
        names = [str(name) for name in np.atleast_1d(labelled.attrs.get("names", []))]
        if len(names) == n:
            counts = Counter(names)
            return [name if counts[name] == 1 else f"{name} #{place}" for place, name in enumerate(names, start=1)]
    return [f"{dim} {value}" if np.asarray(value).dtype.kind in "iuf" else str(value) for value in values]


def remarks_of(data: xr.Dataset) -> list[str]:
    """What the steps remarked on any array, each remark once."""
    said = [str(remark) for array in data.variables.values() for remark in array.attrs.get("remarks", ())]
    return list(dict.fromkeys(said))
