"""Files of cyclers and of impedance: LAND tables and workbooks, EC-Lab text exports, plain tables."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.study import write_failure

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

REST, CHARGE, DISCHARGE = 0, 1, 2
_STEP_NAMES = ("rest", "CC charge", "CC discharge")
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # of a file in an archive, so that one seed makes the same bytes


class Rows(NamedTuple):
    """A record of a cycler, (point,): s, V, A, Ah since the step began, cycle from 1, step from 1, and its kind."""

    time: Array
    voltage: Array
    current: Array
    charge: Array
    cycle: Integers
    step: Integers
    kind: Integers


class Spectrum(NamedTuple):
    """Impedance (ohm, complex) at frequencies (Hz), (point,)."""

    frequency: Array
    impedance: NDArray[np.complex128]


def land_text(rows: Rows, *, capacity: float, temperature: float, channel: int = 1) -> str:
    """A table as LAND's program exports it; ``capacity`` (Ah) is that of 1C."""
    lines = ["cell model:,,,,,,,,,,", "cell id: ,,,,,,,,,,"]
    lines.append(f"Nominal capacity used to define the C rate: {capacity:.6g} Ah,,,,,,,,,,")
    lines.append(
        "channel_index,cycle_index,step_index,test_time_s,current_A,voltage_V,discharge_capacity_Ah,"
        "charge_capacity_Ah,temperature_1_C,step_name"
    )
    charged = np.where(rows.kind == CHARGE, rows.charge, 0.0)
    discharged = np.where(rows.kind == DISCHARGE, rows.charge, 0.0)
    pattern = f"{channel},%d,%d,%.3f,%.7f,%.4f,%.9f,%.9f,{temperature:.1f},%s,"
    columns = (rows.cycle, rows.step, rows.time, rows.current, rows.voltage, discharged, charged)
    names = [_STEP_NAMES[kind] for kind in rows.kind]
    table = zip(*(column.tolist() for column in columns), names, strict=True)
    return "\n".join([*lines, *(pattern % row for row in table), ""])


def write_land_workbook(path: Path, rows: Rows) -> None:
    """The same record as a workbook of LAND; the same rows make the same bytes.

    Raises
    ------
    StudyError
        If it cannot be written.
    """
    names = ("Record", "TestTime/Sec", "Cycle-Index", "Step-Index", "Capacity/mAh", "Voltage/V", "Current/mA")
    number = np.arange(1, rows.time.size + 1)
    columns = (number, rows.time, rows.cycle, rows.step, 1e3 * rows.charge, rows.voltage, 1e3 * rows.current)
    patterns = ("%d", "%.3f", "%d", "%d", "%.7f", "%.4f", "%.5f")
    cells = "".join(f'<c r="{chr(65 + k)}{{0}}"><v>{pattern}</v></c>' for k, pattern in enumerate(patterns))
    head = "".join(f'<c r="{chr(65 + k)}1" t="inlineStr"><is><t>{name}</t></is></c>' for k, name in enumerate(names))
    parts = [f'<row r="1">{head}</row>']
    for line, row in enumerate(zip(*(column.tolist() for column in columns), strict=True), start=2):
        parts.append(f'<row r="{line}">{cells.replace("{0}", str(line)) % row}</row>')
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(part, "w") as archive:
            for name, content in {**_WORKBOOK, "xl/worksheets/sheet1.xml": _sheet("".join(parts))}.items():
                archive.writestr(zipfile.ZipInfo(name, _EARLIEST), content, zipfile.ZIP_DEFLATED)
        os.replace(part, path)
    except OSError as error:
        raise write_failure(path, error) from error
    finally:
        part.unlink(missing_ok=True)


_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_WORKBOOK = {
    "[Content_Types].xml": f'{_XML}<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_KIND}.sheet.main+xml"/>'
    f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_KIND}.worksheet+xml"/></Types>',
    "_rels/.rels": f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'{_XML}<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}">'
    '<sheets><sheet name="Record" sheetId="1" r:id="rId1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
}


def _sheet(rows: str) -> str:
    return f'{_XML}<worksheet xmlns="{_MAIN}"><sheetData>{rows}</sheetData></worksheet>'


def _eclab(technique: str, settings: tuple[str, ...], names: tuple[str, ...], rows: list[str]) -> str:
    """An export of EC-Lab: its header, names and rows."""
    head = ["", technique, "", "Run on channel : 1", "Ewe ctrl range : min = 0.00 V, max = 5.00 V"]
    head += ["Device : SP-200", "Electrode connection : two points", *settings, "", "\t".join((*names, ""))]
    count = f"Nb header lines : {len(head) + 2:<20d}"
    return "\r\n".join(["EC-Lab ASCII FILE", count, *head, *rows, ""])


def eclab_cycling_text(rows: Rows, *, current: float, window: tuple[float, float], note: str) -> str:
    """Galvanostatic cycling as EC-Lab exports it: cycles count from 0; ``current`` in A is the one that was set."""
    mode = np.where(rows.kind == REST, 3, 1)
    oxidation = rows.kind == CHARGE
    sign = np.where(rows.kind == DISCHARGE, -1.0, 1.0)
    control = np.where(rows.kind == REST, 0.0, 1e3 * sign * current)
    half = 2 * (rows.cycle - 1) + np.where(rows.step % 4 >= 2, 1, 0)
    names = (
        *("mode", "ox/red", "error", "Ns", "time/s", "control/mA", "Ewe/V", "<I>/mA"),
        *("Q charge/discharge/mA.h", "half cycle", "cycle number"),
    )
    pattern = "%d\t%d\t0\t%d\t%.15E\t%.7E\t%.7E\t%.15E\t%.15E\t%d\t%.7E"
    columns = (
        *(mode, oxidation, rows.step % 4, rows.time, control, rows.voltage, 1e3 * rows.current),
        *(1e3 * sign * rows.charge, half, (rows.cycle - 1).astype(np.float64)),
    )
    table = [pattern % row for row in zip(*(column.tolist() for column in columns), strict=True)]
    settings = (f"Comments : {note}", f"Is : {1e9 * current:.5g} nA", f"EM (V) : {window[1]:.3f} {window[0]:.3f}")
    return _eclab("Galvanostatic Cycling with Potential Limitation", settings, names, table)


def eclab_impedance_text(spectrum: Spectrum, *, voltage: float, note: str, seconds: float = 2.0) -> str:
    """A sweep of impedance as EC-Lab exports it, at ``voltage`` (V); every frequency takes ``seconds`` at least."""
    z = spectrum.impedance
    time = np.cumsum(np.maximum(seconds, 2.0 / spectrum.frequency))
    names = (
        "freq/Hz",
        "Re(Z)/Ohm",
        "-Im(Z)/Ohm",
        "|Z|/Ohm",
        "Phase(Z)/deg",
        "time/s",
        "<Ewe>/V",
        "<I>/mA",
        "cycle number",
    )
    columns = (spectrum.frequency, z.real, -z.imag, np.abs(z), np.degrees(np.angle(z)), time)
    pattern = "%.7E\t%.7E\t%.7E\t%.7E\t%.7E\t%.15E" + f"\t{voltage:.7E}\t{0.0:.7E}\t{1.0:.7E}"
    table = [pattern % row for row in zip(*(column.tolist() for column in columns), strict=True)]
    settings = (f"Comments : {note}", "Va (mV) : 10.0")
    return _eclab("Potentio Electrochemical Impedance Spectroscopy", settings, names, table)


def impedance_text(spectrum: Spectrum) -> str:
    """A spectrum as a plain table."""
    columns = (spectrum.frequency, spectrum.impedance.real, spectrum.impedance.imag)
    table = (f"{f:.7g},{real:.7g},{imaginary:.7g}" for f, real, imaginary in zip(*columns, strict=True))
    return "\n".join(["Frequency (Hz),Z' (ohm),Z'' (ohm)", *table, ""])
