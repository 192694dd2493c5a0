"""Shared fixtures: where the measured data are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA_VARIABLE = "CATHOSCOPE_DATA"
_BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of measured data; a test that needs it is skipped where it is absent."""
    folder = Path(os.environ.get(DATA_VARIABLE, _BESIDE_THE_CHECKOUT))
    if not folder.is_dir():
        pytest.skip(f"measured data are not at {folder}; set {DATA_VARIABLE} to the folder that holds them")
    return folder
