"""Instrument parameters of diffractometers: read as banks, written, refused with the reason."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.bank import CW_VALUES, TOF_VALUES, Bank
from cathoscope.core.errors import CathoscopeError, MeasurementError
from cathoscope.io.instrument import read_banks, recognise_instrument
from cathoscope.io.instrument_cards import written_prm
from cathoscope.io.instrument_gsas2 import written_instprm

POWGEN = """#GSAS-II instrument parameter file; do not add/delete items!
Type:PNT
fltPath:63.183
2-theta:90.0
difC:22600.25
difA:-0.9
Zero:-8.5
alpha:0.1325
beta-0:0.1116
beta-1:0.0027
sig-0:56.0
sig-1:-167.4
sig-2:281.4
"""
TUBE = """            123456789012345678901234567890123456789012345678901234567890
INS   BANK      1
INS   HTYPE   PXCR
INS  1 ICONS  1.540500  1.544300       2.0         0       0.7    0       0.5
INS  1PRCF1     3    8      0.01
INS  1PRCF11   2.000000E+00  -2.000000E+00   5.000000E+00   0.100000E+00
INS  1PRCF12   0.300000E+00   0.400000E+00   0.150000E-01   0.170000E-01
"""
SEPD = """INS   BANK      2
INS   HTYPE   PNTR
INS   FPATH1     14.000000
INS  1 ICONS   7476.91     -1.55     -4.18
INS  1BNKPAR    1.5000   144.850    0.0000    .00000     .3000    1    1
INS  1PRCF1     1   12   0.00100
INS  1PRCF11   0.000000E+00   0.193000E+01   0.329000E-01   0.474000E-01
INS  1PRCF12   0.000000E+00   0.134200E+03   0.190000E+01   0.000000E+00
INS  1PRCF13   0.000000E+00   0.000000E+00   0.000000E+00   0.000000E+00
INS  2 ICONS   5001.00      0.00      1.00
INS  2BNKPAR    1.5000    90.000    0.0000    .00000     .3000    1    1
INS  2PRCF1     3   21   0.00100
INS  2PRCF11   0.193000E+01   0.329000E-01   0.474000E-01   0.500000E+01
INS  2PRCF12   0.134200E+03   0.190000E+01   0.600000E+01   0.700000E+01
INS  2PRCF13   0.800000E+01   0.000000E+00
"""


def write(folder: Path, text: str, name: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def only(path: Path) -> Bank:
    (bank,) = read_banks(path)[0].values()
    return bank


def test_gsas2_parameters(tmp_path: Path) -> None:
    banks, remarks = read_banks(write(tmp_path, POWGEN, "powgen.instprm"))
    bank = banks[1]
    assert (bank.name, bank.kind, bank.radiation) == ("powgen", "tof", "neutron")
    assert set(bank.values) == set(TOF_VALUES)
    assert bank.values["beta1"] == 0.0027
    assert remarks == ("not stated and taken as: difB 0, betaq 0, sigq 0, X 0, Y 0, Z 0",)


def test_several_banks_of_gsas2(tmp_path: Path) -> None:
    text = f"#Bank 1: {POWGEN[1:]}#Bank 3: {POWGEN[1:].replace('22600.25', '11000')}"
    banks, _ = read_banks(write(tmp_path, text, "nomad.instprm"))
    assert {number: (bank.name, bank.values["difC"]) for number, bank in banks.items()} == {
        1: ("nomad-1", 22600.25),
        3: ("nomad-3", 11000.0),
    }


def test_cards_of_a_tube(tmp_path: Path) -> None:
    banks, remarks = read_banks(write(tmp_path, TUBE, "tube.prm"))
    values = banks[1].values
    assert (banks[1].kind, banks[1].radiation) == ("cw", "xray")
    assert (values["wavelength"], values["wavelength2"], values["ratio"]) == (1.5405, 1.5443, 0.5)
    assert (values["polarisation"], values["zero"]) == (0.7, 0.02)
    assert [values[name] for name in "UVWXYZ"] == [2, -2, 5, 0.3, 0.4, 0]
    assert values["axial"] == pytest.approx(0.032)
    assert remarks[0] == "GP 0.1 of function 3 is left out"


def test_cards_of_time_of_flight(tmp_path: Path) -> None:
    """Function 1 has constant and falling parts, function 3 the widths of a Lorentzian."""
    banks, _ = read_banks(write(tmp_path, SEPD, "sepd.prm"))
    first, second = banks[1].values, banks[2].values
    assert (first["difC"], first["difA"], first["zero"]) == (7476.91, -1.55, -4.18)
    assert (first["flight_path"], first["two_theta"]) == (15.5, 144.85)
    assert [first[name] for name in ("alpha", "beta0", "beta1", "sig0", "sig1", "sig2")] == [
        1.93, 0.0329, 0.0474, 0, 134.2, 1.9,
    ]  # fmt: skip
    assert [second[name] for name in ("alpha", "sig0", "sig1", "sig2", "Z", "X", "Y")] == [1.93, 5, 134.2, 1.9, 6, 7, 8]


def test_the_richest_function_is_taken(tmp_path: Path) -> None:
    second = TUBE.splitlines()[-3:]
    text = TUBE.replace("INS  1PRCF1     3    8", "INS  1PRCF1     1    6")
    text += "\n".join(line.replace("PRCF1", "PRCF2", 1) for line in second)
    values = only(write(tmp_path, text, "two.prm")).values
    assert values["axial"] == pytest.approx(0.032)
    single = TUBE.replace("INS  1PRCF1     3    8", "INS  1PRCF1     1    6")
    assert only(write(tmp_path, single, "one.prm")).values["axial"] == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (POWGEN.replace("difC:22600.25\n", ""), ["no difC", "time of flight per lattice spacing, us/A"]),
        (POWGEN.replace("alpha:0.1325\nbeta-0:0.1116\n", ""), ["no alpha and no beta0"]),
        (POWGEN.replace("22600.25", "fast"), ["line 5", "difC of bank 1 is no number", "fast"]),
        (POWGEN.replace("22600.25", "-5"), ["line 5", "difC of bank 1 cannot be", "above 0"]),
        (POWGEN.replace("90.0", "190"), ["line 4", "two_theta", "0 to 180"]),
        (POWGEN.replace("PNT", "PNB"), ["line 2", "no type that can be used", "PNB"]),
        (POWGEN + "nonsense\n", ["line 14", "no key and value"]),
        (f"#Bank 1: a\n{POWGEN}#Bank 1: b\n{POWGEN}", ["bank 1 stands twice"]),
        (TUBE.replace("PXCR", "PXER"), ["line 3", "no type that can be used", "PXE"]),
        (TUBE.replace("INS  1PRCF1     3", "INS  1PRCF1     7"), ["no profile function", "1, 2, 3, 4", "7"]),
        (TUBE.replace("INS  1 ICONS", "INS  1 XXXXX"), ["the file has no bank"]),
        (SEPD.replace("7476.91     -1.55     -4.18", ""), ["line 4", "too few numbers"]),
        ("Type of things\n", ["not a file of instrument parameters"]),
    ],
)
def test_bad_parameters_are_named(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(MeasurementError) as error:
        read_banks(write(tmp_path, text, "bad.instprm"))
    assert all(word in str(error.value) for word in ["bad.instprm", *words]), str(error.value)


@pytest.mark.parametrize(
    ("kind", "wavelength", "words"),
    [
        ("PXC", 0.15406, ["K-alpha of Cu in nm", "write 1.5406"]),
        ("PXC", 0.0709317, ["K-alpha of Mo in nm", "write 0.709317"]),
        ("PXC", 0.0117, ["as if in nm"]),
        ("PXC", 154.06, ["as if in pm", "write 1.5406"]),
        ("PNC", 0.1909, ["for neutrons", "write 1.909"]),
        ("PNC", 190.9, ["as if in pm"]),
        ("PXC", -1.0, ["wrong unit"]),
    ],
)
def test_a_wavelength_in_another_unit_is_refused(
    tmp_path: Path, kind: str, wavelength: float, words: list[str]
) -> None:
    text = f"Type:{kind}\nLam:{wavelength}\nU:1\nV:-1\nW:1\n"
    with pytest.raises(MeasurementError) as error:
        read_banks(write(tmp_path, text, "x.instprm"))
    assert all(word in str(error.value) for word in ["line 2", "Angstrom", *words])


@pytest.mark.parametrize("wavelength", [0.1173, 0.413909, 0.9762, 1.54056, 2.2897])
def test_wavelengths_in_use_are_read(tmp_path: Path, wavelength: float) -> None:
    assert only(write(tmp_path, f"Type:PXC\nLam:{wavelength}\nU:1\nV:-1\nW:1\n", "x.instprm")).values[
        "wavelength"
    ] == pytest.approx(wavelength)


def bank(kind: str, rng: np.random.Generator, number: int = 1) -> Bank:
    names = TOF_VALUES if kind == "tof" else CW_VALUES
    values = {name: float(rng.normal()) for name in names}
    if kind == "tof":
        values |= {"difC": rng.uniform(500, 30_000), "alpha": rng.uniform(0.01, 2), "beta0": rng.uniform(0.01, 1)}
        values |= {"two_theta": rng.uniform(5, 175), "flight_path": rng.uniform(5, 90), "zero": rng.normal(0, 50)}
    else:
        values |= {"wavelength": 1.5406, "wavelength2": 1.5444, "ratio": 0.5, "polarisation": rng.uniform(0, 1)}
        values |= {"axial": rng.uniform(0, 0.1), "radius": rng.uniform(100, 400), "zero": rng.normal(0, 0.1)}
    return Bank(f"bank{number}", kind, "neutron" if kind == "tof" else "xray", MappingProxyType(values))


@given(kind=st.sampled_from(["tof", "cw"]), count=st.integers(1, 3), seed=st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_what_is_written_reads_back(tmp_path_factory: pytest.TempPathFactory, kind: str, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("banks")
    banks = [bank(kind, rng, number) for number in range(1, count + 1)]
    back, remarks = read_banks(write(folder, written_instprm(banks), "a.instprm"))
    assert [dict(one.values) for one in back.values()] == [dict(one.values) for one in banks]
    assert remarks == ()
    text, lost = written_prm(banks)
    assert all(len(line) == 80 for line in text.splitlines())
    back, _ = read_banks(write(folder, text, "a.prm"))
    missing = {"tof": {"difB", "betaq", "sigq"}, "cw": {"Z", "radius"}}[kind]
    assert len(lost) == count
    for got, one in zip(back.values(), banks, strict=True):
        for name in set(one.values) - missing:
            assert got.values[name] == pytest.approx(one.values[name], rel=1e-6, abs=1e-6), name


def test_what_cannot_be_written() -> None:
    with pytest.raises(CathoscopeError, match="no bank is given"):
        written_instprm([])
    rng = np.random.default_rng(1)
    with pytest.raises(CathoscopeError, match="cannot stand in one file"):
        written_prm([bank("tof", rng), bank("cw", rng)])


@pytest.mark.parametrize("content", [b"", b"\0\1\2", b"x" * 2_000_000, "Größe: 1\n".encode("latin-1")])
def test_other_files_are_no_instruments(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    assert recognise_instrument(path) is not None
    assert recognise_instrument(tmp_path / "absent") is not None


@pytest.mark.parametrize("whole", [POWGEN, TUBE, SEPD], ids=["instprm", "tube", "sepd"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_damaged_files_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, whole: str, data) -> None:
    place = data.draw(st.integers(0, len(whole) - 1))
    length = data.draw(st.integers(0, 12))
    word = data.draw(st.sampled_from(["", "nan", "1e999", "\n", "INS", ":", "#Bank 2:", "9" * 30, "é", "PRCF", "-"]))
    path = write(tmp_path_factory.getbasetemp(), whole[:place] + word + whole[place + length :], "damaged.prm")
    banks: dict[int, Bank] = {}
    with suppress(MeasurementError):
        banks, _ = read_banks(path)
    assert all(np.isfinite(list(one.values.values())).all() for one in banks.values())


@pytest.mark.parametrize(
    ("name", "what", "stated"),
    [
        ("nac-joint/POWGEN_1066.instprm", ("tof", "neutron"), {"difC": 22600.2479192, "sigq": -3.72970085651}),
        ("nac-joint/POWGEN_2665.instprm", ("tof", "neutron"), {"difB": 43.7163363246, "flight_path": 63.183}),
        ("nac-joint/11bm_gsas.prm", ("cw", "xray"), {"wavelength": 0.413909, "X": 0.173, "axial": 0.0022, "U": 1.163}),
        ("pbso4-xn/INST_XRY.PRM", ("cw", "xray"), {"wavelength2": 1.5443, "ratio": 0.5, "polarisation": 0.7}),
        ("pbso4-xn/inst_d1a.prm", ("cw", "neutron"), {"wavelength": 1.909, "zero": -0.001, "V": -760.404}),
    ],
)
def test_instruments_in_use(data_folder: Path, name: str, what: tuple[str, str], stated: dict[str, float]) -> None:
    one = only(data_folder / "diffraction" / name)
    assert (one.kind, one.radiation) == what
    assert {key: one.values[key] for key in stated} == pytest.approx(stated, rel=1e-9)
    assert not one.source.startswith("virtual")
