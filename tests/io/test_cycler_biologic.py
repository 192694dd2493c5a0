"""Bio-Logic's records: binary and text hold the same, what is no column is told from others."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.io import open_raw
from cathoscope.io.cycler import sweeps_of
from cathoscope.io.cycler_eclab import current_from_charge_steps, eclab_columns
from cathoscope.io.cycler_mpr import read_mpr
from cathoscope.io.cycler_mpt import read_mpt
from tests.io import specimens_cycler as made

# Records and their text exports, of several versions of EC-Lab. Columns in which the export of two of them has -1 or 0
# for "not recorded" where the record holds numbers are the indicators of impedance and the harmonics.
PAIRS = [
    *(f"biologic-pairs-yadg/{name}" for name in ("coc.issue_185", "gcpl.issue_149", "gcpl.issue_226.CxN")),
    *(f"biologic-pairs-yadg/{name}" for name in ("geis.issue_149", "peis.issue_149", "peis", "zir")),
    "biologic-pairs-yadg/mb.issue_95:mb.issue_95.de",
    "eis-ncm-ssb/PEIS_LPSCl_IonBlocking_-25C:PEIS_LPSCl_IonBlocking_-25C.txt",
]
NOT_PRINTED = ("THD", "NSD", "NSR", "|Ewe h", "|I h")


def pair_of(folder: Path, name: str) -> tuple[Path, Path]:
    binary, _, text = (folder / "lab" / name).name.partition(":")
    place = (folder / "lab" / name).parent
    return place / f"{binary}.mpr", place / (text if text.endswith(".txt") else f"{text or binary}.mpt")


@pytest.mark.parametrize("name", PAIRS)
def test_a_record_and_its_export_hold_the_same_columns(data_folder: Path, name: str) -> None:
    paths = pair_of(data_folder, name)
    binary, text = read_mpr(paths[0]), read_mpt(paths[1])
    both = [column for column in binary if column in text and not column.startswith(NOT_PRINTED)]
    assert len(both) >= min(10, len(text))
    for column in both:
        np.testing.assert_allclose(binary[column], text[column], rtol=1e-7, atol=0, err_msg=column)


@pytest.mark.parametrize("name", PAIRS)
def test_a_record_and_its_export_give_the_same_arrays(data_folder: Path, name: str) -> None:
    binary, text = map(open_raw, pair_of(data_folder, name))
    for array in sorted({*binary.data_vars} & {*text.data_vars} - {"other_column"}):
        scale = np.abs(text[array].values).max()
        np.testing.assert_allclose(
            binary[array].values, text[array].values, rtol=1e-7, atol=2e-7 * scale, err_msg=array
        )
    assert {*text.data_vars} - {*binary.data_vars} <= {"cell_energy"}  # which the export computes
    told = [data.attrs["metadata"] for data in (binary, text)]
    assert told[0]["technique"] == told[1]["technique"]
    if "149" not in name:  # whose exports tell the start of the technique, too
        assert told[0]["started"][10:] == told[1]["started"][10:]


@pytest.mark.parametrize("write", [made.mpr, made.mpt])
def test_both_forms_tell_the_cell(write: Callable[[Path], list[Path]], tmp_path: Path) -> None:
    data = open_raw(write(tmp_path))
    np.testing.assert_array_equal(data["elapsed_time"].values, made.TIME)
    np.testing.assert_allclose(data["cell_voltage"].values, made.VOLTAGE, rtol=1e-7)
    np.testing.assert_allclose(data["cell_current"].values[1:], made.CURRENT[1:], rtol=1e-12)
    np.testing.assert_allclose(data["cell_charge"].values, made.CHARGE, rtol=1e-8, atol=1e-20)
    np.testing.assert_array_equal(data["file_step"].values, made.STEP)
    np.testing.assert_array_equal(data["file_cycle"].values, 0)


@pytest.mark.parametrize("write", [made.mpr_impedance, made.mpt_impedance])
def test_impedance_has_its_sign_and_its_sweeps(write: Callable[[Path], list[Path]], tmp_path: Path) -> None:
    data = open_raw(write(tmp_path))
    np.testing.assert_array_equal(data["frequency"].values, made.FREQUENCIES)
    np.testing.assert_allclose(data["impedance_real"].values, made.REAL, rtol=1e-7)
    np.testing.assert_allclose(data["impedance_imaginary"].values, made.IMAGINARY, rtol=1e-7)
    np.testing.assert_array_equal(data["sweep"].values, [1, 1, 1, 2, 2, 2])


def test_a_column_nobody_knows_is_kept_under_its_number(tmp_path: Path) -> None:
    data = open_raw(made.mpr(tmp_path))
    names = data["other"].attrs["names"]
    np.testing.assert_array_equal(data["other_column"].values[names.index("column 999")], 7.0)
    assert any("column 999 is not known" in remark for remark in data.attrs["remarks"])


@pytest.mark.parametrize(
    ("widths", "values"), [(("<f4", "<f8"), (1.5, 2.5)), (("<f8", "<f4"), (1.5, 2.5)), (("<u2", "<f8"), (300, 2.5))]
)
def test_widths_of_unknown_columns_are_those_with_which_the_others_make_sense(
    widths: tuple[str, str], values: tuple[float, float], tmp_path: Path
) -> None:
    # The time stands between two unknown columns, and only the right widths put it in its place.
    names = {"flags": "u1", "a": widths[0], "time": "<f8", "b": widths[1], "ewe": "<f4", "i": "<f4"}
    rows = np.zeros(6, list(names.items()))
    rows["a"], rows["b"], rows["time"], rows["ewe"], rows["i"] = *values, made.TIME, made.VOLTAGE, made.CURRENT * 1e3
    path = tmp_path / "a.mpr"
    path.write_bytes(made.mpr_bytes([1, 2, 3, 900, 4, 901, 6, 8], rows))
    data = open_raw(path)
    np.testing.assert_array_equal(data["elapsed_time"].values, made.TIME)
    np.testing.assert_allclose(data["cell_voltage"].values, made.VOLTAGE, rtol=1e-7)
    there = data["other"].attrs["names"]
    found = [data["other_column"].values[there.index(f"column {number}")][0] for number in (900, 901)]
    assert found == list(values)


def test_the_flags_are_bits_of_one_byte(tmp_path: Path) -> None:
    rows = made.cycling_rows()
    rows["flags"] = [0b1, 0b101, 0b1011, 0b10001, 0b100001, 0b10000011]
    path = tmp_path / "a.mpr"
    path.write_bytes(made.mpr_bytes(made.CYCLING_NUMBERS, rows))
    raw = read_mpr(path)
    np.testing.assert_array_equal(raw["mode"], [1, 1, 3, 1, 1, 3])
    for name, row in (("ox/red", 1), ("error", 2), ("control changes", 3), ("Ns changes", 4), ("counter inc.", 5)):
        np.testing.assert_array_equal(np.flatnonzero(raw[name]), [row], err_msg=name)


def test_a_cut_record_is_read_to_its_last_whole_row(tmp_path: Path) -> None:
    path = made.mpr(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:-100])
    data = open_raw(path)
    assert 0 < data.sizes["point"] < 6
    assert f"the file is cut: {data.sizes['point']} of 6 rows are there" in data.attrs["remarks"]


def test_a_record_cut_before_its_rows_is_refused(tmp_path: Path) -> None:
    path = made.mpr(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(MeasurementError, match=r"cycling\.mpr: the record is truncated or damaged"):
        open_raw(path)


def test_records_without_a_known_column_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mpr"
    path.write_bytes(made.mpr_bytes([900], np.zeros(6, [("a", "V3")])))
    with pytest.raises(MeasurementError, match=r"a\.mpr: the record is truncated or damaged") as caught:
        open_raw(path)
    assert caught.value.found == "no column that is known in records of 3 bytes"


def test_a_new_version_of_the_module_is_read_by_the_widths_of_its_columns(tmp_path: Path) -> None:
    content = made.mpr_bytes(made.CYCLING_NUMBERS, made.cycling_rows())
    path = tmp_path / "a.mpr"
    at = content.index(b"VMP data") - 6
    path.write_bytes(content[: at + 53] + struct.pack("<I", 12) + content[at + 57 :])
    data = open_raw(path)
    np.testing.assert_array_equal(data["elapsed_time"].values, made.TIME)
    assert any("version 12" in remark for remark in data.attrs["remarks"])


def test_the_log_tells_when_the_acquisition_began(tmp_path: Path) -> None:
    path = made.mpr(tmp_path)[0]
    path.write_bytes(path.read_bytes() + made.mpr_log(45000.5, new=False))
    metadata = open_raw(path).attrs["metadata"]
    technique = "Galvanostatic Cycling with Potential Limitation"
    assert metadata == {"technique": technique, "comment": "rod", "started": "2023-03-15 12:00:00.000"}


def test_the_mean_current_is_the_charge_over_the_time_of_each_step() -> None:
    time = np.array([0.0, 10.0, 10.0, 30.0])
    current = current_from_charge_steps(steps=np.array([0.0, 2.0, 0.0, -1.0]) / 3600, time=time)
    np.testing.assert_allclose(current, [0.0, 0.2, 0.2, -0.05])


def columns_of(**raw: list[float]) -> tuple[dict[str, list[float]], list[str]]:
    """Arrays of columns by their names in EC-Lab, in which a line stands for a slash, and the remarks."""
    remarks: list[str] = []
    named = {name.replace("__", "/"): np.array(values, dtype=float) for name, values in raw.items()}
    columns = eclab_columns(named, np.arange(1, 5), "row", remarks)
    return {name: values.tolist() for name, values in columns.named.items()}, remarks


def test_without_charge_the_current_is_what_was_asked_for() -> None:
    found, remarks = columns_of(mode=[3, 1, 1, 3], control__mA=[5, 5, -5, -5])
    assert found["cell_current"] == [0, 5e-3, -5e-3, 0]
    assert "asked for" in remarks[0]


def test_at_rest_no_current_flows_and_a_held_voltage_tells_none() -> None:
    assert columns_of(mode=[3, 3, 3, 3])[0]["cell_current"] == [0, 0, 0, 0]
    found, remarks = columns_of(mode=[2, 2, 2, 2], control__mA=[0, 0, 0, 0])
    assert "cell_current" not in found
    assert remarks == ["the file has no current, and nothing that tells it"]


def test_cycles_begin_with_their_charge() -> None:
    assert columns_of(**{"half cycle": [0, 1, 2, 3]})[0]["file_cycle"] == [0, 0, 1, 1]
    assert columns_of(mode=[1, 1, 3, 1], ox__red=[1, 0, 1, 1])[0]["file_cycle"] == [0, 0, 0, 1]


def test_with_a_reference_electrode_the_voltage_is_that_between_the_electrodes() -> None:
    found, remarks = columns_of(Ewe__V=[4, 4, 4, 4], Ece__V=[0.1, 0.1, 0.2, 0.2])
    assert found["cell_voltage"] == [3.9, 3.9, 3.8, 3.8]
    assert "reference electrode" in remarks[0]


def test_an_export_of_impedance_without_frequencies_is_refused(tmp_path: Path) -> None:
    path = made.mpt_impedance(tmp_path)[0]
    lines = path.read_text("latin-1").splitlines()
    path.write_text("\n".join(line.split("\t", 1)[-1] for line in lines) + "\n", encoding="latin-1")
    with pytest.raises(MeasurementError, match=r"impedance\.mpt, line 6: impedance without its frequencies"):
        open_raw(path)


def test_an_export_with_a_wrong_count_of_lines_is_refused(tmp_path: Path) -> None:
    path = made.mpt(tmp_path)[0]
    path.write_bytes(path.read_bytes().replace(b"lines : 6", b"lines : 4"))
    with pytest.raises(MeasurementError, match="a header as long as its second line says"):
        open_raw(path)


def test_sweeps_up_and_down_are_told_apart() -> None:
    assert sweeps_of(np.array([1.0, 2.0, 3.0, 2.0, 1.0, 3.0])).tolist() == [1, 1, 1, 2, 2, 3]
