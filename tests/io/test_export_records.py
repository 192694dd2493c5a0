"""Records of cyclers as Battery Data Format: what is written is read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cathoscope.core.errors import CathoscopeError, MeasurementError
from cathoscope.io import open_raw
from cathoscope.io.export_records import export_record

_TEXT = """Test Time / s,Voltage / V,Current / A,Cycle Count / 1
0,3.0,0.001,1
10,3.1,0.001,1
20,3.2,-0.001,1
"""


def test_a_record_keeps_its_numbers(tmp_path: Path) -> None:
    (tmp_path / "cell 1.bdf.csv").write_text(_TEXT)
    (made,) = export_record(tmp_path / "cell 1.bdf.csv", tmp_path / "out", overwrite=False)
    before, after = open_raw(tmp_path / "cell 1.bdf.csv"), open_raw(made)
    for name in ("elapsed_time", "cell_voltage", "cell_current", "file_cycle"):
        np.testing.assert_array_equal(before[name], after[name])
    with pytest.raises(CathoscopeError, match="--overwrite"):
        export_record(tmp_path / "cell 1.bdf.csv", tmp_path / "out", overwrite=False)


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pattern.xye").write_text("".join(f"{10 + 0.1 * i:.1f} {100 + i} 10\n" for i in range(50)))
    with pytest.raises(MeasurementError, match="no record of a cycler"):
        export_record(tmp_path / "pattern.xye", tmp_path / "out", overwrite=False)
    assert not (tmp_path / "out").exists()
