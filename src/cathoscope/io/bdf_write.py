"""Records of cyclers as Battery Data Format, the table of the Battery Data Alliance.

Columns have the preferred labels and the fixed units of that format: Test Time / s, Voltage / V and Current / A, and
where the record has them Net Capacity / Ah (charged less discharged), Net Energy / Wh, Surface Temperature T1 / degC,
Cycle Count / 1 and Step Index / 1. A positive current charges.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr

from cathoscope.core.schema import require

_LABELS = (
    ("elapsed_time", "Test Time / s"),
    ("cell_voltage", "Voltage / V"),
    ("cell_current", "Current / A"),
    ("cell_charge", "Net Capacity / Ah"),
    ("cell_energy", "Net Energy / Wh"),
    ("cell_temperature", "Surface Temperature T1 / degC"),
    ("file_cycle", "Cycle Count / 1"),
    ("file_step", "Step Index / 1"),
)
_NEEDED = 3


def written_bdf(data: xr.Dataset) -> str:
    """A record of a cycler as the text of a ``.bdf.csv`` file; columns that the format does not know are left out.

    Parameters
    ----------
    data
        As a reader of cyclers gives it.

    Raises
    ------
    SchemaError
        If time, voltage or current are missing, or have other units.
    """
    require(data, *(name for name, _ in _LABELS[:_NEEDED]))
    present = [(name, heading) for name, heading in _LABELS if name in data.variables]
    columns = [_texts(data[name].values) for name, _ in present]
    lines = [",".join(heading for _, heading in present)]
    lines += [",".join(row) for row in zip(*columns, strict=True)]
    return "\n".join([*lines, ""])


def _texts(values: np.ndarray[tuple[int], np.dtype[np.generic]]) -> Iterable[str]:
    """Numbers with fifteen digits, all a number of eight bytes holds for sure; nothing where there is no value."""
    if values.dtype.kind in "iu":
        return ["" if value < 0 else str(value) for value in values.tolist()]
    return ["" if not np.isfinite(value) else f"{value:.15g}" for value in values.tolist()]
