"""Tiny records of battery cyclers, in the layout of each instrument, independent of the package.

All hold the same cell: charged for three rows and discharged for three, 10 s apart, with 1 mA.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np

TIME = 10.0 * np.arange(6)
VOLTAGE = np.array([3.0, 3.5, 4.0, 3.9, 3.4, 2.9])
CURRENT = np.array([1e-3, 1e-3, 1e-3, -1e-3, -1e-3, -1e-3])
CHARGED = np.array([0.0, 1.0, 2.0, 0.0, 0.0, 0.0]) * 1e-2 / 3600
DISCHARGED = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 2.0]) * 1e-2 / 3600
CHARGE = CHARGED - DISCHARGED
STEP = np.array([1, 1, 1, 2, 2, 2])
FREQUENCIES = np.array([1000.0, 100.0, 10.0, 1000.0, 100.0, 10.0])
REAL = np.array([10.0, 12.0, 15.0, 11.0, 13.0, 16.0])
IMAGINARY = np.array([-1.0, -2.0, -0.5, -1.5, -2.5, -0.6])


def _text(path: Path, lines: list[str], encoding: str = "utf-8", end: str = "\n") -> list[Path]:
    path.write_bytes((end.join(lines) + end).encode(encoding))
    return [path]


def _rows(*columns: object, separator: str = ",") -> list[str]:
    return [separator.join(map(str, row)) for row in zip(*columns, strict=True)]


# -- Bio-Logic --------------------------------------------------------------------------------------


def module(name: bytes, content: bytes, version: int, *, new: bool = True) -> bytes:
    """A part of a binary record, with the newer or the older header."""
    head = b"MODULE" + name.ljust(10) + name.ljust(25)
    if new:
        return head + struct.pack("<IIII", 2**32 - 1, len(content), 0, version) + b"10/09/24" + content
    return head + struct.pack("<II", len(content), version) + b"10/09/24" + content


def mpr_bytes(numbers: list[int], rows: np.ndarray, *, version: int = 11) -> bytes:  # type: ignore[type-arg]
    """A binary record of the columns ``numbers``; ``rows`` is a packed structured array."""
    new = version >= 10
    data = struct.pack("<IH" if new else "<IB", len(rows), len(numbers)) + struct.pack(f"<{len(numbers)}H", *numbers)
    data = data.ljust({2: 405, 3: 406, 11: 1007}[version], b"\0") + rows.tobytes()
    settings = bytes([4, 0, 8, 75, 3, 0, 0, 3]) + b"rod"
    parts = module(b"VMP Set", settings, 10, new=new) + module(b"VMP data", data, version, new=new)
    return b"BIO-LOGIC MODULAR FILE\x1a".ljust(48) + bytes(4) + parts


def mpr_log(days: float, *, new: bool) -> bytes:
    """The module that tells when the acquisition began, in days since the end of 1899."""
    return module(b"VMP LOG", bytes(585) + struct.pack("<d", days), 10, new=new)


CYCLING = {"flags": "u1", "time": "<f8", "dq": "<f8", "ewe": "<f4", "q": "<f8", "half": "<u4"}
CYCLING_NUMBERS = [1, 2, 3, 21, 31, 65, 4, 7, 6, 467, 468]


def cycling_rows(**more: str) -> np.ndarray:  # type: ignore[type-arg]
    """Rows of a binary record of cycling; further columns are empty."""
    rows = np.zeros(TIME.size, list((CYCLING | more).items()))
    rows["flags"] = 1 + 4 * (CURRENT > 0)
    rows["time"], rows["ewe"], rows["q"], rows["half"] = TIME, VOLTAGE, CHARGE * 1e3, STEP - 1
    rows["dq"] = np.append(0.0, np.diff(TIME)) * CURRENT / 3.6
    return rows


def mpr(folder: Path) -> list[Path]:
    """Bio-Logic, binary: cycling, with energies and a column nobody knows."""
    rows = cycling_rows(ns="<u2", energy_in="<f8", energy_out="<f8", unknown="<f4")
    rows["ns"], rows["unknown"] = STEP, 7.0
    path = folder / "cycling.mpr"
    path.write_bytes(mpr_bytes([*CYCLING_NUMBERS, 131, 123, 124, 999], rows, version=2))
    return [path]


def mpr_impedance(folder: Path) -> list[Path]:
    """Bio-Logic, binary, older header: impedance."""
    names = {"f": "<f4", "re": "<f4", "im": "<f4", "time": "<f8", "ewe": "<f4", "i": "<f4", "cycle": "<f8"}
    rows = np.zeros(FREQUENCIES.size, list(names.items()))
    rows["f"], rows["re"], rows["im"], rows["time"], rows["ewe"] = FREQUENCIES, REAL, -IMAGINARY, TIME, 3.7
    path = folder / "impedance.mpr"
    path.write_bytes(mpr_bytes([32, 37, 38, 4, 77, 76, 24], rows, version=3))
    return [path]


def _mpt(path: Path, names: str, rows: list[str]) -> list[Path]:
    head = [
        "EC-Lab ASCII FILE",
        "Nb header lines : 6",
        "",
        "A technique",
        "Acquisition started on : 01/10/2024 11:02:29",
    ]
    return _text(path, [*head, names + "\t", *rows], "latin-1", "\r\n")


def mpt(folder: Path) -> list[Path]:
    """Bio-Logic, text with a decimal comma: cycling."""
    names = "mode\tox/red\tNs\ttime/s\tEwe/V\tI/mA\tQ charge/discharge/mA.h\tEnergy charge/W.h\tEnergy discharge/W.h"
    names += "\tTemperature/°C\thalf cycle"
    zero = np.zeros(6)
    columns = (
        zero + 1,
        CURRENT > 0,
        STEP,
        TIME,
        VOLTAGE,
        CURRENT * 1e3,
        CHARGE * 1e3,
        zero,
        zero,
        zero + 25.5,
        STEP - 1,
    )
    rows = ["\t".join(f"{float(value):.9E}".replace(".", ",") for value in row) for row in zip(*columns, strict=True)]
    return _mpt(folder / "cycling.mpt", names, rows)


def mpt_impedance(folder: Path) -> list[Path]:
    """Bio-Logic, text: impedance."""
    names = "freq/Hz\tRe(Z)/Ohm\t-Im(Z)/Ohm\ttime/s\t<Ewe>/V\t<I>/mA\tCs/µF"
    zero = np.zeros(6)
    rows = _rows(FREQUENCIES, REAL, -IMAGINARY, TIME, zero + 3.7, zero, zero, separator="\t")
    return _mpt(folder / "impedance.mpt", names, rows)


# -- Neware -----------------------------------------------------------------------------------------


def pages(kind: int, records: np.ndarray) -> bytes:  # type: ignore[type-arg]
    """Pages of 4096 bytes: one of header, and those with the records, with bits that say which are valid."""
    head = bytes([kind, 0, 17]).ljust(4096, b"\0")
    each = (4096 - 132) // records.itemsize
    parts = [head]
    for first in range(0, len(records), each):
        some = records[first : first + each]
        bits = np.packbits(np.ones(len(some), np.uint8), bitorder="little").tobytes()
        parts.append(
            (struct.pack("<HH", kind + 1, len(some)) + bits).ljust(132, b"\0") + some.tobytes().ljust(3964, b"\0")
        )
    return b"".join(part.ljust(4096, b"\0")[:4096] for part in parts)


def _packed(itemsize: int, places: dict[str, tuple[str, int]], n: int) -> np.ndarray:  # type: ignore[type-arg]
    formats, offsets = zip(*places.values(), strict=True)
    spec = {"names": list(places), "formats": list(formats), "offsets": list(offsets), "itemsize": itemsize}
    return np.zeros(n, np.dtype(spec))  # type: ignore[call-overload, no-any-return]


def ndax(folder: Path) -> list[Path]:
    """Neware, archive: every third row has a record of its time; a probe of temperature, and one of something else."""
    values = np.zeros(6, [("voltage", "<f4"), ("current", "<f4")])
    values["voltage"], values["current"] = VOLTAGE, CURRENT
    runs = _packed(
        100,
        {"time": ("<u4", 0), "passed": ("<u4", 29), "date": ("<u4", 33), "count": ("<u4", 37), "row": ("<u4", 41)},
        4,
    )
    runs["time"], runs["passed"], runs["date"] = [0, 10_000, 10_000, 20_000], [0, 10_000, 10_000, 10_000], 1_700_000_000
    runs["count"], runs["row"] = [1, 1, 2, 2], [1, 2, 4, 5]
    steps = _packed(100, {"cycle": ("<u4", 0), "step": ("<u4", 4), "kind": ("u1", 24)}, 2)
    steps["step"], steps["kind"] = [1, 2], [1, 2]
    probe = np.full(6, 25.5, [("temperature", "<f4")])
    test = '<TestInfo StartTime="2025-09-25 13:18:44" Barcode="ROD"><Aux1 RealChlID="225" ChlType="103"/></TestInfo>'
    path = folder / "cell.ndax"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (
            ("data.ndc", pages(1, values)),
            ("data_runInfo.ndc", pages(18, runs)),
            ("data_step.ndc", pages(7, steps)),
            ("data_AUX_225_3_1.ndc", pages(5, probe)),
            ("data_AUX_226_3_1.ndc", pages(5, probe)),
            ("TestInfo.xml", test.encode()),
        ):
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return [path]


def nda(folder: Path) -> list[Path]:
    """Neware, one file."""
    places = {"mark": ("u1", 0), "step": ("u1", 2), "seconds": ("<u4", 12), "ns": ("<u4", 16), "current": ("<f4", 20)}
    places |= {"voltage": ("<f4", 24), "charge": ("<f4", 28), "energy": ("<f4", 32), "cycle": ("<u4", 36)}
    rows = _packed(56, places | {"date": ("<u4", 44), "probe": ("<f4", 52)}, 6)
    rows["mark"], rows["step"], rows["seconds"], rows["current"] = 0x55, STEP, TIME, CURRENT * 1e3
    rows["voltage"], rows["charge"], rows["date"], rows["probe"] = VOLTAGE, CHARGE * 3.6e6, 1_700_000_000, 25.5
    head = b"NEWARE20240403" + struct.pack("<HH", 130, 19) + bytes(64) + struct.pack("<QQ", 1024, rows.nbytes)
    path = folder / "cell.nda"
    path.write_bytes(head.ljust(1024, b"\0") + rows.tobytes())
    return [path]


# -- tables -----------------------------------------------------------------------------------------


def land(folder: Path) -> list[Path]:
    """LAND: lines above the names, a separator too many in the rows."""
    names = "channel_index,cycle_index,step_index,date_time_iso_string,test_time_s,current_A,voltage_V"
    names += ",discharge_capacity_Ah,charge_capacity_Ah,discharge_energy_Wh,charge_energy_Wh,temperature_1_C,step_name"
    zero = np.zeros(6, int)
    date = ["04/30/2024 14:33:19"] * 6
    columns = (zero + 1, zero + 1, STEP, date, TIME, CURRENT, VOLTAGE, DISCHARGED, CHARGED, zero, zero, zero + 25)
    rows = [f"{row},CC," for row in _rows(*columns)]
    above = ["cell model:,,,,,", "Nominal capacity used to define the C rate:Ah,,,,,"]
    return _text(folder / "land.csv", [*above, names, *rows])


def neware_csv(folder: Path) -> list[Path]:
    """Neware: times of a clock, of the step and since the start."""
    names = "DataPoint,Cycle Index,Step Index,Step Type,Time,Cumulative Time,Current(mA),Voltage(V),Capacity(Ah)"
    names += ",Spec. Cap.(mAh/g),Chg. Cap.(mAh),DChg. Cap.(mAh),Energy(Wh),Date"
    clock = [f"00:00:{second:02.0f}" for second in TIME]
    of_step = [f"00:00:{second:02.0f}" for second in (0, 10, 20, 0, 10, 20)]
    point, one, zero = np.arange(1, 7), np.ones(6, int), np.zeros(6)
    kind, date = ["CC Chg"] * 3 + ["CC DChg"] * 3, ["2022-05-18 16:27:52"] * 6
    columns = (point, one, STEP, kind, of_step, clock, CURRENT * 1e3, VOLTAGE, CHARGED + DISCHARGED, zero)
    return _text(folder / "neware.csv", [names, *_rows(*columns, CHARGED * 1e3, DISCHARGED * 1e3, zero, date)])


def arbin(folder: Path) -> list[Path]:
    """Arbin."""
    names = "Data_Point,Test_Time(s),Step_Time(s),Cycle_Index,Step_Index,Current(A),Voltage(V),Charge_Capacity(Ah)"
    names += ",Discharge_Capacity(Ah)"
    columns = (np.arange(1, 7), TIME, TIME, np.ones(6, int), STEP, CURRENT, VOLTAGE, CHARGED, DISCHARGED)
    return _text(folder / "arbin.csv", [names, *_rows(*columns)], end="\r\n")


def maccor(folder: Path) -> list[Path]:
    """Maccor: neither current nor capacity has a sign, the state of a row tells it."""
    names = "Rec#\tCyc#\tStep\tTestTime\tmAmp-hr\tmAmps\tVolts\tState\tDPt Time\t"
    clock = [f"  0d 00:00:{second:05.2f}" for second in TIME]
    columns = (
        np.arange(1, 7),
        np.zeros(6, int),
        STEP,
        clock,
        (CHARGED + DISCHARGED) * 1e3,
        abs(CURRENT) * 1e3,
        VOLTAGE,
    )
    rows = _rows(*columns, list("CCCDDD"), ["08/23/2021 6:04:18 PM"] * 6, [""] * 6, separator="\t")
    return _text(folder / "maccor.txt", ["Today's Date\t03/28/2022", "", names, *rows])


def bdf(folder: Path) -> list[Path]:
    """Battery Data Format, by its preferred labels."""
    names = "Test Time / s,Voltage / V,Current / A,Cycle Count / 1,Net Capacity / Ah"
    return _text(folder / "cell.bdf.csv", [names, *_rows(TIME, VOLTAGE, CURRENT, np.ones(6, int), CHARGE)])


def semicolons(folder: Path) -> list[Path]:
    """A table of some program, with decimal commas and a time in hours."""
    rows = [row.replace(".", ",") for row in _rows(TIME / 3600, VOLTAGE * 1e3, CURRENT * 1e9, separator=";")]
    return _text(folder / "cell.csv", ["Time (h);Potential (mV);Current (nA)", *rows])


# -- workbooks --------------------------------------------------------------------------------------

_SHEETS = (("Info", "rId1", "sheet1"), ("Record_1", "rId2", "sheet2"), ("Record_2", "rId3", "sheet3"))


def _cell(column: int, row: int, value: object) -> str:
    place = f"{chr(ord('A') + column)}{row}"
    if isinstance(value, str):
        return f'<c r="{place}" t="inlineStr"><is><t>{value}</t></is></c>'
    return f'<c r="{place}"><v>{value}</v></c>'


def _sheet(rows: list[list[object]]) -> str:
    inside = "".join(
        f'<row r="{k}">' + "".join(_cell(j, k, value) for j, value in enumerate(row)) + "</row>"
        for k, row in enumerate(rows, 1)
    )
    return f"<worksheet><sheetData>{inside}</sheetData></worksheet>"


def workbook(folder: Path) -> list[Path]:
    """LAND: one record in two sheets, behind one of notes; a name is in the list of texts."""
    names: list[object] = [
        "Record",
        "TestTime/Sec",
        "Cycle-Index",
        "Step-Index",
        "Capacity/mAh",
        "Voltage/V",
        "Current/mA",
    ]
    names += ["Energy/mWh", "Temperature(C)"]
    columns = (np.arange(1, 7), TIME, np.ones(6, int), STEP, (CHARGED + DISCHARGED) * 1e3, VOLTAGE, CURRENT * 1e3)
    rows: list[list[object]] = [[*(value.item() for value in row), 0, 25.5] for row in zip(*columns, strict=True)]
    sheets = [_sheet([["notes"]]), _sheet([["LANHE"], names, *rows[:3]]), _sheet([["LANHE"], names, *rows[3:]])]
    sheets = [sheet.replace('t="inlineStr"><is><t>Record</t></is>', 't="s"><v>0</v>') for sheet in sheets]
    listed = "".join(f'<sheet name="{name}" sheetId="1" r:id="{key}"/>' for name, key, _ in _SHEETS)
    targets = "".join(f'<Relationship Id="{key}" Target="worksheets/{file}.xml"/>' for _, key, file in _SHEETS)
    path = folder / "land.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (
            ("xl/workbook.xml", f"<workbook><sheets>{listed}</sheets></workbook>"),
            ("xl/_rels/workbook.xml.rels", f"<Relationships>{targets}</Relationships>"),
            ("xl/sharedStrings.xml", "<sst><si><t>Record</t></si></sst>"),
            *((f"xl/worksheets/{file}.xml", sheet) for (_, _, file), sheet in zip(_SHEETS, sheets, strict=True)),
        ):
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return [path]


CYCLERS = {
    "mpr": (mpr, mpr_impedance),
    "mpt": (mpt, mpt_impedance),
    "neware": (ndax, nda),
    "cycler_table": (land, neware_csv, arbin, maccor, bdf, semicolons),
    "cycler_xlsx": (workbook,),
}
