"""Fabricated studies, and scans that need no file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study.create(tmp_path / "fabricated.zarr")


@pytest.fixture
def make_scan() -> Callable[..., xr.Dataset]:
    """A scan as a reader opens it, but in memory."""

    def make(source: str, energy: float | None = None, *, size: int = 8, remarks: tuple[str, ...] = ()) -> xr.Dataset:
        counts = label("counts", np.ones((3, size, size)), ("projection", "row", "column"))
        scan = dataset([counts], source=f"/beamline/{source}", digest=source, remarks=list(remarks), format="fxi")
        return scan if energy is None else scan.assign_coords(energy=label("energy", np.float64(energy), ()))

    return make
