"""Every record of a cycler among the measured files opens, or is refused for the reason that is true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.io import open_raw
from cathoscope.io.inspect import describe

RECORDS = {
    "mpr": (
        "biologic-gcpl-naxcoo2/jdb11-1_c3_gcpl_5cycles_2V-3p8V_C-24_data_C09.mpr",
        *(f"biologic-mixed-bdf/{name}.mpr" for name in ("GCPL-0", "MB-0", "MB-1", "PEIS-0")),
        *(f"biologic-pairs-yadg/{name}.mpr" for name in ("coc.issue_185", "gcpl.issue_149", "gcpl.issue_226.CxN")),
        *(f"biologic-pairs-yadg/{name}.mpr" for name in ("geis.issue_149", "mb.issue_95", "peis", "zir")),
        *(f"eis-ncm-ssb/{name}.mpr" for name in ("PEIS_SSB", "Sample1_PEIS_EndOfDischarge")),
        "eis-ncm-ssb/PEIS_LPSCl_IonBlocking_-25C.mpr",
        "biologic-pairs-yadg/peis.issue_149.mpr",
    ),
    "mpt": (
        *(f"biologic-pairs-yadg/{name}.mpt" for name in ("coc.issue_185", "gcpl.issue_149", "gcpl.issue_226.CxN")),
        *(f"biologic-pairs-yadg/{name}.mpt" for name in ("geis.issue_149", "mb.issue_95.de", "peis", "zir")),
        "biologic-pairs-yadg/peis.issue_149.mpt",
        "eis-ncm-ssb/PEIS_LPSCl_IonBlocking_-25C.txt",
        "eis-impedancepy/exampleDataBioLogic.mpt",
    ),
    "neware": (
        "neware-nmc811-m50t/TESTCELL0001-B2-2025-M50T_NewareNDA_Investigation.ndax",
        *("neware-nmc811-m50t/test_2.ndax", "neware-nmc811-m50t/TestFile.nda"),
    ),
    "cycler_table": (
        *(f"generic-csv-cellpy/{name}" for name in ("custom_data_001.csv", "neware_uio.csv", "maccor_three.txt")),
        *(f"generic-csv-cellpy/custom_{name}.csv" for name in ("missing_cycle", "nan_inf", "truncated")),
        *(f"landt-ligr-r2032/SINTEF__LiGrR2032__2024-04-30__25degC__Landt.{end}" for end in ("csv", "bdf.csv")),
        *(f"nmc-ocp-ampworks/{name}.csv" for name in ("cell1_rough", "cell2_rough", "gr_smooth", "nmc_smooth")),
        "nmc-ocp-ampworks/ici_charge.csv",
    ),
}
REFUSED = {
    "eis-impedancepy/exampleDataBioLogic_MissingFreq.mpt": "line 62: the rows have more fields than there are names",
    "biologic-gcpl-naxcoo2/jdb11-1_c3_gcpl_5cycles_2V-3p8V_C-24_data.mps": "the settings of EC-Lab",
    "neware-nmc811-m50t/TestFile.parquet": "a Parquet table",
    "fade-48-cells-nmc/baumhofer.mat": "a MATLAB file",
}
# What must be said of a file that is broken.
SAID = {
    "generic-csv-cellpy/custom_missing_cycle.csv": "the number of the cycle goes from 1 to 3 at line",
    "generic-csv-cellpy/custom_nan_inf.csv": "cell_voltage: 3 of 60 values are not numbers, first at line 24",
    "generic-csv-cellpy/custom_truncated.csv": "the last line, 80, is incomplete and is left out",
    "generic-csv-cellpy/maccor_three.txt": "voltages up to 3801.94 V cannot be: they are read as mV",
}


@pytest.mark.parametrize(("reader", "name"), [(reader, name) for reader, names in RECORDS.items() for name in names])
def test_every_record_opens(data_folder: Path, reader: str, name: str) -> None:
    data = open_raw(data_folder / "lab" / name)
    assert data.attrs["format"] == reader
    assert np.isfinite(data["elapsed_time"].values).all()
    assert (np.diff(data["elapsed_time"].values) >= 0).all()
    assert any(SAID.get(name, "") in remark for remark in ["", *data.attrs["remarks"]])


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_record_is_refused_for_what_it_is(data_folder: Path, name: str) -> None:
    path = data_folder / "lab" / name
    with pytest.raises(MeasurementError):
        open_raw(path)
    assert REFUSED[name] in str(describe(path).refused)


def test_no_record_is_forgotten(data_folder: Path) -> None:
    listed = {*REFUSED, *(name for names in RECORDS.values() for name in names)}
    found = {
        f"{path.parent.name}/{path.name}"
        for ending in ("mpr", "mpt", "nda", "ndax", "mps")
        for path in (data_folder / "lab").rglob(f"*.{ending}")
    }
    assert found <= listed


def test_the_current_of_a_record_without_one_gives_its_charge(data_folder: Path) -> None:
    data = open_raw(data_folder / "lab" / RECORDS["mpr"][0])
    time, current = data["elapsed_time"].values, data["cell_current"].values
    passed = np.cumsum(np.append(0.0, np.diff(time) * current[1:])) / 3600
    net = data["other_column"].values[data["other"].attrs["names"].index("(Q-Qo)/mA.h")] * 1e-3
    # The two counters of the instrument, dq and Q - Qo, part by 3e-10 Ah.
    np.testing.assert_allclose(passed, net - net[0], rtol=0, atol=5e-7 * np.abs(net).max())
    assert np.unique(data["file_cycle"].values).tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_an_export_and_its_conversion_hold_the_same_record(data_folder: Path) -> None:
    raw, converted = (open_raw(data_folder / "lab" / name) for name in RECORDS["cycler_table"][6:8])
    for name in ("elapsed_time", "cell_voltage", "cell_current", "cell_charge", "file_step"):
        np.testing.assert_array_equal(raw[name].values, converted[name].values, err_msg=name)


def test_counters_of_tables_agree_with_the_integral_of_the_current(data_folder: Path) -> None:
    """LAND prints 0.1 mA only; of the others the counter within a step is the current times the time."""
    for name in ("generic-csv-cellpy/maccor_three.txt", "nmc-ocp-ampworks/cell1_rough.csv"):
        data = open_raw(data_folder / "lab" / name)
        time, current, charge = (data[each].values for each in ("elapsed_time", "cell_current", "cell_charge"))
        steps, summed = np.diff(charge), (current[1:] + current[:-1]) / 2 * np.diff(time) / 3600
        flows = (current[1:] * current[:-1] > 0) & (steps * summed > 0) & (np.diff(time) > 5)
        assert flows.sum() > 100
        assert np.median(steps[flows] / summed[flows]) == pytest.approx(1.0, abs=2e-3)
