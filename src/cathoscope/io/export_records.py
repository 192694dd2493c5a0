"""Records of cyclers, of any format that is read, as Battery Data Format: one ``NAME.bdf.csv`` for each file."""

from __future__ import annotations

from pathlib import Path

from cathoscope.core.errors import MeasurementError
from cathoscope.io.bdf_write import written_bdf
from cathoscope.io.export_target import refuse_existing, whole
from cathoscope.io.registry import open_raw

FORM = "bdf"


def export_record(file: Path, folder: Path, *, overwrite: bool) -> list[Path]:
    """Write the record of a cycler in ``file`` into ``folder``; the file made.

    Raises
    ------
    MeasurementError
        If the file cannot be read, or holds no record of time, voltage and current.
    CathoscopeError
        If the target is there and ``overwrite`` is false.
    """
    data = open_raw(file)
    missing = [name for name in ("elapsed_time", "cell_voltage", "cell_current") if name not in data]
    if missing:
        raise MeasurementError(
            "this is no record of a cycler",
            where=file,
            expected="time, voltage and current",
            found=", ".join(map(str, data.data_vars)) or "nothing",
            cure="--as bdf writes records of cyclers; see: cathoscope inspect FILE",
        )
    target = folder / f"{file.name.removesuffix(file.suffix)}.bdf.csv"
    if not overwrite:
        refuse_existing([target])
    text = written_bdf(data.load())
    with whole(target) as part:
        part.write_text(text, encoding="utf-8")
    return [target]
