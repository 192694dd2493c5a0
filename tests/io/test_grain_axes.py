"""Maps of grains: what was written is read, and every mistake is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from cathoscope.core.errors import MeasurementError
from cathoscope.io.grain_axes import read_grains
from cathoscope.virtual.grain_files import grain_files, write_grain_files

LABELS = np.array([[[0, 1], [2, 2]], [[0, 3], [3, 1]]], np.int32)
AXES = np.array([[1.0, 0.0, 0.0], [0.0, 0.6, -0.8], [0.0, 0.0, 1.0]])


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    write_grain_files(tmp_path, "rod-1", LABELS, AXES)
    return grain_files(tmp_path, "rod-1")


def test_what_a_virtual_particle_has_is_read(files: tuple[Path, Path]) -> None:
    found = read_grains(*files)
    np.testing.assert_array_equal(found["grain_label"], LABELS)
    np.testing.assert_allclose(found["grain_c_axis"], AXES, atol=1e-6)
    assert found["grain"].values.tolist() == [1, 2, 3]


def test_lengths_and_order_of_the_lines_do_not_matter(files: tuple[Path, Path]) -> None:
    files[1].write_text("Grain, X, Y, Z\n3,0,0,5\n\n1,2,0,0\n2,0,3,-4\n7,1,1,1\n")
    found = read_grains(*files)["grain_c_axis"].values
    np.testing.assert_allclose(found[:3], AXES)
    assert np.isnan(found[3:6]).all()


@pytest.mark.parametrize(
    ("text", "problem", "where"),
    [
        ("number,a,b,c\n", "does not tell directions", ""),
        ("grain,x,y,z\n1,1,0,0\n2,0,1\n", "a grain needs its number", "row 3"),
        ("grain,x,y,z\n1,0,0,0\n", "a grain needs its number", "row 2"),
        ("grain,x,y,z\n0,1,0,0\n", "a grain needs its number", "row 2"),
        ("grain,x,y,z\n1,nan,0,0\n", "a grain needs its number", "row 2"),
        ("grain,x,y,z\n99999999999,1,0,0\n", "a grain needs its number", "row 2"),
        ("grain,x,y,z\n1,1,0,0\n1,0,1,0\n", "grain 1 is there twice", "row 3"),
        ("grain,x,y,z\n1,1,0,0\n3,0,1,0\n", "1 of 3 grains have no direction", ""),
        ("grain,x,y,z\n", "3 of 3 grains have no direction", ""),
    ],
)
def test_mistakes_in_the_table(files: tuple[Path, Path], text: str, problem: str, where: str) -> None:
    files[1].write_text(text)
    with pytest.raises(MeasurementError, match=problem) as error:
        read_grains(*files)
    assert where in str(error.value.where)


def test_grey_values_are_no_labels(files: tuple[Path, Path]) -> None:
    tifffile.imwrite(files[0], LABELS.astype(np.float32), photometric="minisblack")
    with pytest.raises(MeasurementError, match="whole numbers"):
        read_grains(*files)
