"""Masks and voxels that can be used, and those that cannot."""

from __future__ import annotations

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.volume.checks import checked_mask, checked_voxel


@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.int64, np.float32])
def test_a_mask_of_zero_and_one_is_taken_whatever_its_type(kind: type) -> None:
    values = np.zeros((3, 4, 5), dtype=kind)
    values[1, 2, 3] = 1
    found = checked_mask("solid", values[:, ::-1])
    assert found.dtype == np.bool_
    assert found.flags.c_contiguous
    assert np.argwhere(found).tolist() == [[1, 1, 3]]


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((3, 3, 3), dtype=bool), "'pore' is empty"),
        (np.ones((3, 3), dtype=bool), "is no volume"),
        (np.ones((0, 3, 3), dtype=bool), "is no volume"),
        (np.full((3, 3, 3), 255, dtype=np.uint8), "not made of 0 and 1"),
        (np.full((3, 3, 3), np.nan), "not made of 0 and 1"),
    ],
)
def test_what_is_no_mask_is_named(mask: np.ndarray, words: str) -> None:
    with pytest.raises(MeasurementError, match=words):
        checked_mask("pore", mask)


def test_masks_of_one_measurement_have_one_shape() -> None:
    with pytest.raises(MeasurementError, match=r"expected: +shape \(3, 3, 4\)"):
        checked_mask("pore", np.ones((3, 3, 3)), np.ones((3, 3, 4)))


def test_edges_are_plain_numbers() -> None:
    assert checked_voxel((np.float32(0.5), 1, 2.0)) == (0.5, 1.0, 2.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("edges", [(1.0, 1.0), (1.0, 1.0, 0.0), (1.0, -1.0, 1.0), (1e-6, 1.0, 1.0), (1.0, np.inf, 1.0)])
def test_edges_that_cannot_be_are_refused(edges: tuple[float, ...]) -> None:
    with pytest.raises(MeasurementError, match="size of the voxels"):
        checked_voxel(edges)  # type: ignore[arg-type]
