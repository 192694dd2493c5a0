from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cathoscope.io import open_raw
from cathoscope.io.advice import lacks_of, use_of
from tests.io.specimens import SPECIMENS


@pytest.mark.parametrize(
    ("name", "use", "lacks"),
    [
        ("fxi", '"tomography", or "xanes-tomography"', []),
        ("nxtomo", '"tomography", or', ["does not tell the energy", "no pixel size"]),
        ("energy_scan", "one view at many energies", []),
        ("xradia_scan", '"tomography"', ["no flat and no dark images"]),
        ("xradia_image", '"xanes-imaging"', ["no dark images"]),
        ("stxm", '"spectromicroscopy"', []),
        ("xdi", '"xas"', []),
        ("columns", '"xas"', []),
        ("tiff", "angle_range, if the pages are projections", ["no pixel size", "what the values of the pages are"]),
        ("sandbox_cube", "reconstructed already", ["no pixel size"]),
        ("hdf5_volume", "reconstructed already", []),
    ],
)
def test_what_a_file_is_for_and_what_it_lacks(tmp_path: Path, name: str, use: str, lacks: list[str]) -> None:
    data = open_raw(SPECIMENS[name].write(tmp_path)[0])
    assert use in use_of(data)
    said = lacks_of(data)
    assert [any(text in each for each in said) for text in lacks] == [True] * len(lacks)
    assert len(said) == len(lacks)


def test_too_few_projections_by_crowther_s_criterion(tmp_path: Path) -> None:
    """N columns need pi N / 2 projections over 180 deg; a tenth of N is said to be too few."""
    data = open_raw(SPECIMENS["fxi"].write(tmp_path)[0])
    wide = data.isel(column=np.zeros(100, dtype=int))
    (text,) = lacks_of(wide)
    assert "7 projections over 180 deg; 100 columns need about 157" in text
    assert lacks_of(data.isel(column=np.zeros(70, dtype=int))) == []
