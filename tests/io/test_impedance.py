"""Impedance as text: the same spectrum out of every layout, damage told, measured files read or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import require
from cathoscope.io import open_raw
from cathoscope.io.impedance_names import meaning_of
from cathoscope.io.impedance_text import recognise_impedance
from tests.io.specimens_impedance import FREQUENCY, IMPEDANCE, IMPEDANCES, gamry_eis, parstat_eis

WRITERS = IMPEDANCES["impedance"]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_every_layout_gives_the_same_spectrum(write: Callable[[Path], list[Path]], tmp_path: Path) -> None:
    data = open_raw(write(tmp_path)[0])
    assert data.attrs["format"] == "impedance"
    require(data, "frequency", "impedance_real", "impedance_imaginary", "sweep")
    order = np.argsort(-data["frequency"].values[:5])
    np.testing.assert_allclose(data["frequency"].values[:5][order], FREQUENCY)
    found = data["impedance_real"].values + 1j * data["impedance_imaginary"].values
    np.testing.assert_allclose(found[:5][order], IMPEDANCE, rtol=1e-9)


def test_sweeps_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    rows = [f"{f},{z.real},{z.imag}" for _ in range(2) for f, z in zip(FREQUENCY, IMPEDANCE, strict=True)]
    path.write_text("\n".join(["Frequency (kHz),Z' (kohm),-Z'' (kohm)", *rows]))
    data = open_raw(path)
    assert data["sweep"].values.tolist() == [1] * 5 + [2] * 5
    np.testing.assert_allclose(data["frequency"].values[:5], 1e3 * FREQUENCY)
    np.testing.assert_allclose(data["impedance_imaginary"].values[:5], -1e3 * IMPEDANCE.imag)
    assert "some programs write -Im(Z)" in " ".join(data.attrs["remarks"])


def test_several_tables_of_gamry_are_sweeps(tmp_path: Path) -> None:
    path = gamry_eis(tmp_path)[0]
    text = path.read_bytes().decode("latin-1")
    path.write_bytes((text + text[text.index("ZCURVE") :].replace("ZCURVE", "ZCURVE1")).encode("latin-1"))
    data = open_raw(path)
    assert data["sweep"].values.tolist() == [1] * 5 + [2] * 5
    assert "elapsed_time" not in data
    assert "time of the file" in data["other"].attrs["names"]
    assert "TAG\tEISPOT" in data.attrs["metadata"]["lines"]


def test_direct_current_is_left_out_and_told(tmp_path: Path) -> None:
    data = open_raw(parstat_eis(tmp_path)[0])
    assert data.attrs["remarks"] == ["3 of 8 rows have no frequency above zero and are left out"]
    assert data["cell_voltage"].values.tolist() == [3.5] * 5


def test_decimal_commas_are_read(tmp_path: Path) -> None:
    path = tmp_path / "comma.txt"
    rows = [f"{f:.6g}\t{z.real:.6f}\t{z.imag:.6f}".replace(".", ",") for f, z in zip(FREQUENCY, IMPEDANCE, strict=True)]
    path.write_text("\n".join(["Freq/Hz\tRe(Z)/Ohm\tIm(Z)/Ohm", *rows]))
    np.testing.assert_allclose(open_raw(path)["impedance_real"].values, IMPEDANCE.real, atol=1e-6)


def test_a_cut_file_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = gamry_eis(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:-45])
    data = open_raw(path)
    assert data.sizes["point"] == 4
    assert "incomplete" in data.attrs["remarks"][0]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "damaged.csv"
    path.write_text("freq/Hz,Z'/ohm,Z''/ohm\n100,1,-1\n10,x,-1\n1,1,-1\n0.1,1,-1\n")
    with pytest.raises(MeasurementError, match="line 3"):
        open_raw(path, reader="impedance")


def test_negative_frequencies_are_answered(tmp_path: Path) -> None:
    path = tmp_path / "negative.csv"
    path.write_text("freq/Hz,Z'/ohm,Z''/ohm\n-100,1,-1\n-10,2,-1\n-1,3,-1\n")
    with pytest.raises(MeasurementError, match="no point of the spectrum is at a frequency above zero"):
        open_raw(path)


@pytest.mark.parametrize(
    ("heading", "role", "factor"),
    [
        ("freq/Hz", "frequency", 1.0),
        ("Frequency (kHz)", "frequency", 1e3),
        ("Zre (ohms)", "impedance_real", 1.0),
        ("Z'(a)", "impedance_real", 1.0),
        ("Z''(b)", "impedance_imaginary", 1.0),
        ("-Im(Z)/Ohm", "impedance_imaginary", -1.0),
        ("-Z'' (mOhm)", "impedance_imaginary", -1e-3),
        ("Z Imag", "impedance_imaginary", 1.0),
        ("|Z|/Ohm", "modulus", 1.0),
        ("Phase(Z)/deg", "phase", 1.0),
        ("phase (rad)", "phase", 180 / np.pi),
        ("Elapsed Time(s)", "elapsed_time", 1.0),
        ("<I>/mA", "cell_current", 1e-3),
    ],
)
def test_headings_have_their_meaning(heading: str, role: str, factor: float) -> None:
    meaning = meaning_of(heading)
    assert meaning is not None
    assert (meaning.role, meaning.factor) == (role, pytest.approx(factor))


@pytest.mark.parametrize("heading", ["Z2 Real", "Energy (eV)", "freq (m)", "|Iac| (A)", "", "Status", "dBZ/dB"])
def test_other_headings_have_none(heading: str) -> None:
    assert meaning_of(heading) is None


def test_other_texts_are_no_impedance(tmp_path: Path) -> None:
    for name, text in {
        "time.csv": "".join(f"{t},{3 + t / 1e3},0.001\n" for t in range(1, 1000)),
        "mpt.txt": "EC-Lab ASCII FILE\nfreq/Hz\tRe(Z)/Ohm\t-Im(Z)/Ohm\n1\t2\t3\n",
        "gamry.dta": "EXPLAIN\nTAG\tCV\nCURVE\tTABLE\n",
        "versa.par": "<Application>\n<Segment1>\nDefinition=E(V), I(A)\n1,2\n",
        "prose.txt": "A cell was measured.\n",
        "empty.txt": "\n",
    }.items():
        (tmp_path / name).write_text(text)
        reason = recognise_impedance(tmp_path / name)
        assert reason is not None, name
        assert "no impedance over frequency" in reason
    assert "No such file" in str(recognise_impedance(tmp_path / "absent"))


# File: points, sweeps, first frequency (Hz) and impedance (ohm), as the files print them.
MEASURED = {
    "eis-impedancepy/exampleData.csv": (66, 1, 3.1623e-3, 4.949989776405060e-2 - 2.043869854441892e-2j),
    "eis-impedancepy/exampleDataAutolab.txt": (41, 1, 1e4, 0.013785863964281 + 0.007191946305823j),
    "eis-impedancepy/exampleDataCHInstruments.txt": (73, 1, 9.961e4, 98.91 - 2.748j),
    "eis-impedancepy/exampleDataGamry.DTA": (72, 1, 200015.6, 825.8584 - 1367.239j),
    "eis-impedancepy/exampleDataParstat.txt": (31, 1, 1e4, -0.00049816280376104 + 0.0175143479976367j),
    "eis-impedancepy/exampleDataPowersuite.txt": (30, 1, 0.1, 423929.46 - 49014.063j),
    "eis-impedancepy/exampleDataVersaStudio.par": (61, 1, 1e5, 55.31571 + 4.575431j),
    "eis-impedancepy/exampleDataZPlot.z": (21, 1, 3e5, 147.77 - 11.335j),
    "eis-impedancepy/Circuit1_EIS_1.z": (48, 1, 5e4, 29.036 + 0.63662j),
    "eis-impedancepy/Circuit2_EIS_1.z": (56, 1, 3e5, 147.77 - 11.335j),
    "eis-impedancepy/Circuit3_EIS_1.z": (53, 1, 1.5e5, 1493.7 + 10.377j),
    "eis-ncm-ssb/EISGALV_EISTest3.DTA": (71, 1, 1000078.0, 0.04711733 + 0.1695821j),
    "eis-ncm-ssb/Sample2_PEIS_AtRest.csv": (890, 10, 7000018.5, 50.752583 * np.exp(-1j * np.radians(20.75998))),
    "eis-drt-synthetic/1ZARC.csv": (81, 1, 0.01, 59.20397431908595 + 0.5913301898954791j),
    "eis-drt-synthetic/2ZARC5.csv": (81, 1, 0.01, 258.4454218137864 - 3.311084271317045j),
}


@pytest.mark.parametrize("name", list(MEASURED))
def test_measured_files_are_read(name: str, data_folder: Path) -> None:
    data = open_raw(data_folder / "lab" / name)
    points, sweeps, frequency, impedance = MEASURED[name]
    assert data.attrs["format"] == "impedance"
    assert (data.sizes["point"], int(data["sweep"].max())) == (points, sweeps)
    assert float(data["frequency"][0]) == pytest.approx(frequency, rel=1e-12)
    first = complex(data["impedance_real"][0].item(), data["impedance_imaginary"][0].item())
    assert first == pytest.approx(impedance, rel=1e-12)


def test_every_other_file_of_the_folders_is_refused_with_its_reason(data_folder: Path) -> None:
    lab = data_folder / "lab"
    for name in (
        "eis-drt-synthetic/gamma_data1.csv",
        "eis-drt-synthetic/1ZARC_DRT-RR.csv",
        "eis-ncm-ssb/sample_info.txt",
    ):
        with pytest.raises(MeasurementError, match="no names of frequency and impedance"):
            open_raw(lab / name)
