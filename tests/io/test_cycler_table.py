"""Tables of cyclers: every layout tells the same cell, and what is wrong in one is said with file and line."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError, MeasurementError, RecipeError, SchemaError
from cathoscope.io import open_raw
from cathoscope.io.bdf_write import written_bdf
from cathoscope.io.cycler_columns import CyclerColumns, open_cycler_columns
from cathoscope.io.cycler_kernels import parse_fields as compiled
from cathoscope.io.cycler_names import meaning_of, meanings_of
from cathoscope.io.cycler_parse import CLOCK, EMPTY, NOT_FINITE, NUMBER, TEXT, parse_fields
from cathoscope.io.inspect import describe
from tests.io import specimens_cycler as made

NAMES = "Test_Time(s),Cycle_Index,Current(A),Voltage(V)"


def table(tmp_path: Path, *rows: str, names: str = NAMES, end: str = "\n") -> Path:
    path = tmp_path / "cell.csv"
    path.write_text("\n".join([names, *rows]) + end, encoding="utf-8")
    return path


def good_rows(n: int = 300) -> list[str]:
    return [f"{10 * k},1,{0.001},{3 + k / 1000:.4f}" for k in range(n)]


# -- every layout -----------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [*made.CYCLERS["cycler_table"], made.workbook], ids=lambda write: write.__name__)
def test_every_layout_tells_the_same_cell(write: Callable[[Path], list[Path]], tmp_path: Path) -> None:
    data = open_raw(write(tmp_path))
    np.testing.assert_allclose(data["elapsed_time"].values, made.TIME, rtol=1e-12)
    np.testing.assert_allclose(data["cell_voltage"].values, made.VOLTAGE, rtol=1e-12)
    np.testing.assert_allclose(data["cell_current"].values, made.CURRENT, rtol=1e-12)
    if "cell_charge" in data:
        np.testing.assert_allclose(data["cell_charge"].values, made.CHARGE, rtol=1e-12, atol=1e-20)
    if "file_step" in data:
        np.testing.assert_array_equal(data["file_step"].values, made.STEP)


@pytest.mark.parametrize(
    ("write", "instrument"),
    [
        (made.land, "LAND"),
        (made.workbook, "LAND"),
        (made.neware_csv, "Neware"),
        (made.arbin, "Arbin"),
        (made.maccor, "Maccor"),
        (made.bdf, "Battery Data Format"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_names_tell_the_instrument(write: Callable[[Path], list[Path]], instrument: str, tmp_path: Path) -> None:
    assert open_raw(write(tmp_path)).attrs["metadata"]["instrument"] == instrument


def test_signs_that_the_table_lacks_are_told(tmp_path: Path) -> None:
    remarks = open_raw(made.maccor(tmp_path)).attrs["remarks"]
    assert "the current has no sign: it is negative where State says so" in remarks
    assert "cell_charge of the file has no sign: it has that of the current" in remarks


def test_a_counter_that_falls_on_discharge_keeps_its_sign(tmp_path: Path) -> None:
    # Charged less discharged, never below zero: it must not be turned over where the current is negative.
    rows = ["0,3,1,0", "10,3.5,1,1", "20,4,1,2", "30,3.9,-1,2", "40,3.4,-1,1", "50,3,-1,0.5"]
    data = open_raw(table(tmp_path, *rows, names="Time (s),Voltage (V),Current (mA),Capacity (uAh)"))
    np.testing.assert_allclose(data["cell_charge"].values, [0, 1e-6, 2e-6, 2e-6, 1e-6, 0.5e-6], rtol=1e-12)


def test_times_of_steps_are_put_one_after_another(tmp_path: Path) -> None:
    rows = [f"{time},{step},0.001,3.{time}" for step in (1, 2) for time in (0, 10, 20)]
    data = open_raw(table(tmp_path, *rows, names="Time (s),Step ID,Current (A),Voltage (V)"))
    np.testing.assert_array_equal(data["elapsed_time"].values, [0, 10, 20, 20, 30, 40])
    assert any("begins anew 1 times" in remark for remark in data.attrs["remarks"])


def test_units_may_stand_in_a_row_of_their_own(tmp_path: Path) -> None:
    data = open_raw(table(tmp_path, "h,mA,mV", "0,2,3500", "1,2,3600", "2,2,3700", names="time,current,voltage"))
    np.testing.assert_allclose(data["elapsed_time"].values, [0, 3600, 7200])
    np.testing.assert_allclose(data["cell_current"].values, 2e-3)
    np.testing.assert_allclose(data["cell_voltage"].values, [3.5, 3.6, 3.7])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_any_encoding_is_read(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Time (s),I (µA),U (V)\n0,1,3\n1,1,3.1\n2,1,3.2\n", encoding=encoding)
    np.testing.assert_allclose(open_raw(path)["cell_current"].values, 1e-6)


@pytest.mark.parametrize(
    ("heading", "role", "factor"),
    [
        ("mAmp-hr", "cell_charge", 1e-3),
        ("Chg. Cap.(mAh)", "charging", 1e-3),
        ("Capacitance_DChg(mAh)", "discharging", 1e-3),
        ("TestTime/Sec", "elapsed_time", 1.0),
        ("Time(h:min:s.ms)", "elapsed_time", 1.0),
        ("current_ampere", "cell_current", 1.0),
        ("Current (nA)", "cell_current", 1e-9),
        ("Energy(mWs)", "cell_energy", 1 / 3.6e6),
        ("net_capacity_ah", "cell_charge", 1.0),
        ("Surface Temperature T1 / degC", "cell_temperature", 1.0),
        ("Cyc#", "file_cycle", 1.0),
    ],
)
def test_a_heading_tells_quantity_and_unit(heading: str, role: str, factor: float) -> None:
    meaning = meaning_of(heading)
    assert meaning is not None
    assert (meaning.role, meaning.factor) == (role, pytest.approx(factor, rel=1e-12))


@pytest.mark.parametrize(
    "heading",
    [
        "Spec. Cap.(mAh/g)",
        "Step_Time(s)",
        "dQ/dV(mAh/V)",
        "Date",
        "Current density (mA/cm2)",
        "Internal_Resistance(Ohm)",
    ],
)
def test_what_is_another_quantity_is_not_taken(heading: str) -> None:
    assert meaning_of(heading) is None


def test_kelvin_become_degrees(tmp_path: Path) -> None:
    data = open_raw(table(tmp_path, "0,1,3,298.15", "1,1,3,298.15", names="Time (s),I (A),U (V),Temperature (K)"))
    np.testing.assert_allclose(data["cell_temperature"].values, 25.0)


# -- bad input --------------------------------------------------------------------------------------


def test_a_cut_table_loses_its_last_line(tmp_path: Path) -> None:
    rows = good_rows()
    data = open_raw(table(tmp_path, *rows, "3000,1,0.0", end=""))
    assert data.sizes["point"] == 300
    assert data.attrs["remarks"] == ["the last line, 302, is incomplete and is left out: the file may have been cut"]


def test_a_table_cut_inside_its_last_number_loses_that_line(tmp_path: Path) -> None:
    data = open_raw(table(tmp_path, *good_rows(), "3000,1,0.001,3.", end=""))
    assert data.sizes["point"] == 300


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True), write=st.sampled_from([made.neware_csv, made.mpr, made.ndax, made.mpt]))
def test_a_file_cut_anywhere_never_gives_other_values(
    tmp_path_factory: pytest.TempPathFactory, share: float, write: Callable[[Path], list[Path]]
) -> None:
    path = write(tmp_path_factory.mktemp("cut"))[0]
    whole = open_raw(path).load()
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with suppress(MeasurementError):
        data = open_raw(path)
        for name in ("elapsed_time", "cell_voltage", "cell_current"):
            kept = whole[name].values[: data.sizes["point"]]
            np.testing.assert_array_equal(data[name].values, kept, err_msg=name)


def test_many_values_that_are_none_are_no_damage(tmp_path: Path) -> None:
    rows = [row.rpartition(",")[0] + ",NaN" if k % 2 else row for k, row in enumerate(good_rows(900))]
    assert np.isnan(open_raw(table(tmp_path, *rows))["cell_voltage"].values).sum() == 450


def test_decimal_commas_between_commas_are_refused(tmp_path: Path) -> None:
    rows = [row.replace(".", ",") for row in good_rows()]
    with pytest.raises(MeasurementError, match=r"cell\.csv, line 2: the rows have more fields") as caught:
        open_raw(table(tmp_path, *rows))
    assert "semicolons" in str(caught.value.cure)


def test_two_units_in_a_column_are_refused(tmp_path: Path) -> None:
    rows = [*good_rows(20), *(f"{10 * k},1,500 uA,3.5" for k in range(20, 40))]
    with pytest.raises(MeasurementError, match=r"cell\.csv, line 22: a column holds what is no number") as caught:
        open_raw(table(tmp_path, *rows))
    assert "'500 uA'" in str(caught.value.found)


def test_units_that_change_below_are_refused_with_the_line(tmp_path: Path) -> None:
    rows = [*good_rows(20), NAMES.replace("(A)", "(mA)"), *good_rows(20)]
    with pytest.raises(MeasurementError, match=r"cell\.csv, line 22: names or units change"):
        open_raw(table(tmp_path, *rows))


def test_the_same_names_again_are_left_out(tmp_path: Path) -> None:
    rows = good_rows()
    data = open_raw(table(tmp_path, *rows[:150], NAMES, *rows[150:]))
    assert data.sizes["point"] == 300
    assert data.attrs["remarks"] == ["the names stand again in line 152"]


def test_a_charge_of_another_unit_than_the_current_is_told(tmp_path: Path) -> None:
    rows = [f"{row},{k * 0.01 / 3600 * 1e3:.9f}" for k, row in enumerate(good_rows())]
    data = open_raw(table(tmp_path, *rows, names=NAMES + ",Capacity(Ah)"))
    assert data.attrs["remarks"] == [
        "the charge of the file is 1e+03 times the integral of its current: the unit of one of them is wrong"
    ]


def test_a_second_record_below_the_first_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=r"cell\.csv, line 302: the time runs back") as caught:
        open_raw(table(tmp_path, *good_rows(), *good_rows()))
    assert "0 s after 2990 s" in str(caught.value.found)


def test_one_row_out_of_order_is_left_out(tmp_path: Path) -> None:
    rows = good_rows()
    rows[200] = rows[100]
    data = open_raw(table(tmp_path, *rows))
    assert data.sizes["point"] == 299
    assert data.attrs["remarks"] == ["the time runs back: 1000 s after 1990 s at line 202; 1 rows are left out"]


def test_a_table_without_a_current_is_refused_with_its_names(tmp_path: Path) -> None:
    rows = [f"{k},{3 + k / 100}" for k in range(30)]
    with pytest.raises(MeasurementError, match=r"cell\.csv, line 1: the table has no cell current"):
        open_raw(table(tmp_path, *rows, names="Time (s),Voltage (V)"))


def test_values_that_are_none_are_told_with_the_first_line(tmp_path: Path) -> None:
    rows = good_rows()
    rows[4], rows[7], rows[9] = "40,1,0.001,nan", "70,1,0.001,-inf", "90,1,0.001,"
    data = open_raw(table(tmp_path, *rows))
    assert np.flatnonzero(np.isnan(data["cell_voltage"].values)).tolist() == [4, 7, 9]
    assert data.attrs["remarks"] == ["cell_voltage: 3 of 300 values are not numbers, first at line 6"]


def test_a_cycle_that_is_missing_is_told(tmp_path: Path) -> None:
    rows = [row.replace(",1,", ",3,", 1) if k >= 150 else row for k, row in enumerate(good_rows())]
    assert open_raw(table(tmp_path, *rows)).attrs["remarks"] == ["the number of the cycle goes from 1 to 3 at line 152"]


def test_a_swapped_sign_of_the_current_is_told(tmp_path: Path) -> None:
    rows = [row.replace("0.001", "-0.001") for row in good_rows()]
    remarks = open_raw(table(tmp_path, *rows)).attrs["remarks"]
    assert remarks == ["the voltage falls while the current is positive: charge and discharge may be swapped"]


def test_a_held_voltage_says_nothing_about_the_sign(tmp_path: Path) -> None:
    rows = [f"{10 * k},1,{1e-3 / (k + 1)},{4.2 - 1e-5 * k}" for k in range(300)]
    assert open_raw(table(tmp_path, *rows)).attrs["remarks"] == []


def test_millivolts_under_a_heading_of_volts_are_told(tmp_path: Path) -> None:
    rows = [f"{k},1,0.001,{3000 + k}" for k in range(30)]
    data = open_raw(table(tmp_path, *rows))
    assert data["cell_voltage"].values[0] == 3.0
    assert data.attrs["remarks"] == ["voltages up to 3029 V cannot be: they are read as mV"]


def test_damaged_lines_in_the_middle_are_left_out_or_refused(tmp_path: Path) -> None:
    rows = good_rows()
    rows[100] = "damaged"
    data = open_raw(table(tmp_path, *rows))
    assert data.attrs["remarks"] == ["1 damaged lines are left out, first line 102"]
    rows[100:110] = ["damaged"] * 10
    with pytest.raises(MeasurementError, match=r"cell\.csv, line 102: lines of the table are damaged"):
        open_raw(table(tmp_path, *rows))


def test_cells_of_any_form_are_read(tmp_path: Path) -> None:
    plain = made.workbook(tmp_path)[0]
    path = tmp_path / "odd.xlsx"
    with zipfile.ZipFile(plain) as archive, zipfile.ZipFile(path, "w") as other:
        for name in archive.namelist():
            text = archive.read(name).decode()
            if "worksheets" in name:
                # Without places, with a style and an empty cell behind, and texts in pieces.
                text = re.sub(r'<c r="[A-Z]+\d+"', '<c s="3"', text).replace("</row>", '<c s="2"/></row>')
                text = re.sub(r"<t>([^<])([^<]*)</t>", r'<r><t xml:space="preserve">\1</t></r><r><t>\2</t></r>', text)
            other.writestr(name, text)
    one, two = open_raw(plain), open_raw(path)
    for name in one.data_vars:
        np.testing.assert_array_equal(one[name].values, two[name].values, err_msg=str(name))


def test_a_damaged_workbook_is_refused(tmp_path: Path) -> None:
    path = made.workbook(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(MeasurementError, match=r"land\.xlsx: no reader recognises the file"):
        open_raw(path)


def test_a_place_beyond_the_list_of_texts_is_an_empty_cell(tmp_path: Path) -> None:
    path = tmp_path / "odd.xlsx"
    with zipfile.ZipFile(made.workbook(tmp_path)[0]) as archive, zipfile.ZipFile(path, "w") as other:
        for name in archive.namelist():
            other.writestr(name, archive.read(name).replace(b't="s"><v>0<', b't="s"><v>00000000001<'))
    np.testing.assert_array_equal(open_raw(path)["cell_voltage"].values, made.VOLTAGE)


# -- stated columns ---------------------------------------------------------------------------------


def test_columns_that_nobody_can_guess_are_stated(tmp_path: Path) -> None:
    path = table(tmp_path, "0,5,-2,0", "60,5.5,-2,1", "120,6,-2,2", names="a,b,c,d")
    units = {"time": "min", "current": "nA", "charge": "nAh"}
    columns = CyclerColumns(time="a", voltage="B", current="3", charge="d", units=units, positive="discharge")
    data = open_cycler_columns(path, columns)
    np.testing.assert_array_equal(data["elapsed_time"].values, [0, 3600, 7200])
    np.testing.assert_array_equal(data["cell_voltage"].values, [5, 5.5, 6])
    np.testing.assert_allclose(data["cell_current"].values, 2e-9)
    np.testing.assert_allclose(data["cell_charge"].values, [0, -1e-9, -2e-9])


def test_a_table_without_names_is_told_by_numbers(tmp_path: Path) -> None:
    path = tmp_path / "bare.txt"
    path.write_text("some words\n0\t3.0\t1\n1\t3.1\t1\n2\t3.2\t1\n")
    data = open_cycler_columns(path, CyclerColumns(time="1", voltage="2", current="3", units={"current": "mA"}))
    np.testing.assert_array_equal(data["cell_voltage"].values, [3.0, 3.1, 3.2])
    np.testing.assert_allclose(data["cell_current"].values, 1e-3)


def test_columns_of_a_workbook_are_stated_too(tmp_path: Path) -> None:
    data = open_cycler_columns(made.workbook(tmp_path)[0], CyclerColumns(time="TestTime/Sec", temperature="Record"))
    np.testing.assert_array_equal(data["cell_temperature"].values, np.arange(1, 7))


def test_a_stated_column_or_unit_that_cannot_be_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path, *good_rows(5))
    with pytest.raises(MeasurementError, match="the table has no such column"):
        open_cycler_columns(path, CyclerColumns(time="Test_Time(s)", voltage="9"))
    with pytest.raises(RecipeError, match="unknown unit of cell current"):
        open_cycler_columns(path, CyclerColumns(current="Current(A)", units={"current": "mV"}))
    with pytest.raises(RecipeError, match="what is no column"):
        CyclerColumns(units={"amps": "mA"})
    with pytest.raises(CathoscopeError, match="no column is stated"):
        open_cycler_columns(path, CyclerColumns())


# -- Battery Data Format ----------------------------------------------------------------------------


@pytest.mark.parametrize("write", [made.land, made.mpr, made.ndax], ids=lambda write: write.__name__)
def test_what_is_written_as_bdf_is_read_again(write: Callable[[Path], list[Path]], tmp_path: Path) -> None:
    data = open_raw(write(tmp_path))
    path = tmp_path / "cell.bdf.csv"
    path.write_text(written_bdf(data), encoding="utf-8")
    again = open_raw(path)
    for name in sorted({*data.data_vars} - {"other_column"}):
        np.testing.assert_allclose(again[name].values, data[name].values, rtol=1e-14, atol=0, err_msg=str(name))


def test_a_record_without_current_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="cell_current is missing"):
        written_bdf(open_raw(made.land(tmp_path)).drop_vars("cell_current"))
    assert isinstance(open_raw(made.land(tmp_path)), xr.Dataset)


# -- numbers of fields ------------------------------------------------------------------------------

Parse = Callable[..., None]


def parsed(parse: Parse, fields: list[str], decimal: str = ".") -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    content = ";".join(fields).encode()
    stops = np.cumsum([len(field.encode()) + 1 for field in fields]) - 1
    starts = np.append(0, stops[:-1] + 1)
    values, states = np.empty(len(fields)), np.empty(len(fields), np.uint8)
    if parse is compiled:
        parse(np.frombuffer(content, np.uint8), np.int32(starts), np.int32(stops), ord(decimal), values, states)
    else:
        parse(content, starts.tolist(), stops.tolist(), ord(decimal), values, states)
    return values, states


@pytest.mark.parametrize("parse", [compiled, parse_fields], ids=["compiled", "python"])
def test_fields_become_numbers(parse: Parse) -> None:
    wanted = {
        "1.5": (1.5, NUMBER),
        ' "-2e-3" ': (-2e-3, NUMBER),
        "": (np.nan, EMPTY),
        "01:02:03.5": (3723.5, CLOCK),
        "  3d 18:47:22.59": (326842.59, CLOCK),
        "2-01:00:00": (176400.0, CLOCK),
        "1e999": (np.nan, NOT_FINITE),
        "1e-999": (0.0, NUMBER),
        "9" * 30: (1e30, NUMBER),
        **dict.fromkeys(
            ("12:30", "2d", "1:2:3:4", "1.2mA", ".", "-", "1_0", "1e", "2022-05-18", "1.2.3"), (np.nan, TEXT)
        ),
    }
    values, states = parsed(parse, list(wanted))
    np.testing.assert_allclose(values, [value for value, _ in wanted.values()], rtol=1e-15)
    assert states.tolist() == [state for _, state in wanted.values()]


@given(numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8), comma=st.booleans())
@example(numbers=[2.3060456771972102e-294, 5e-324], comma=False)
def test_every_number_is_read_as_it_was_written(numbers: list[float], comma: bool) -> None:
    sign = "," if comma else "."
    fields = [repr(number).replace(".", sign) for number in numbers]
    one, two = parsed(compiled, fields, sign), parsed(parse_fields, fields, sign)
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_allclose(one[0], numbers, rtol=1e-15, atol=1e-300)


@given(st.integers(0, 10**15), st.integers(0, 22))
def test_numbers_of_up_to_fifteen_digits_are_exact(digits: int, places: int) -> None:
    text = f"{digits}e-{places}"
    assert parsed(compiled, [text])[0][0] == float(text)


def test_of_two_headings_with_one_meaning_the_surer_is_taken() -> None:
    found = meanings_of(["Time", "Cumulative Time", "Voltage(V)", "Ewe/V"])
    assert found["elapsed_time"][0] == 1
    assert found["cell_voltage"][0] == 2


# -- inspection -------------------------------------------------------------------------------------


def test_inspection_names_the_further_columns(tmp_path: Path) -> None:
    description = describe(made.arbin(tmp_path)[0])
    rows = dict(description.rows)
    assert description.title == "table of a battery cycler"
    assert rows["other"] == "Data_Point, Step_Time(s), Charge_Capacity(Ah), Discharge_Capacity(Ah)"
    assert rows["instrument"] == "Arbin"
    assert rows["use"].startswith('technique = "cycling"')
    assert description.lacks == ()
