"""The record of what was measured."""

from __future__ import annotations

import dataclasses

import pytest

from cathoscope.core.sample import Sample


def test_a_sample_is_frozen_and_compares_by_content() -> None:
    rod = Sample("rod", composition="LiNiO2", phases=("layered",))
    assert rod == Sample("rod", "LiNiO2", ("layered",))
    assert len({rod, Sample("rod", "LiNiO2", ("layered",)), Sample("gravel")}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        rod.name = "gravel"  # type: ignore[misc]
