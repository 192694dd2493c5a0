"""Powder patterns in files: what is read, what is refused and why, what is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import CathoscopeError, MeasurementError
from cathoscope.io import open_raw
from cathoscope.io.inspect import describe
from cathoscope.io.powder import PowderFile, PowderPattern, binned, temperature_in
from cathoscope.io.powder_columns import read_powder_columns, recognise_powder_columns
from cathoscope.io.powder_gsas import read_gsas
from cathoscope.io.powder_write import written_fxye, written_xye
from cathoscope.io.spectra_columns import recognise_columns

HEAD = "title\n# Temp (K) = 300.0\nBANK 1 6 6 {} FXYE\n"
TOF = "SLOG 1000 1006 0.001 0"
ROWS = "1000 20 4\n1001 22 4.5\n1002.001 24 5\n1003.003 0 0\n1004.006 21 4\n1005.01 19 4\n"


def write(folder: Path, text: str, name: str = "pattern.gsa") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


# -- GSAS data --------------------------------------------------------------------------------------


def test_time_of_flight_becomes_a_density_at_the_middle_of_bins(tmp_path: Path) -> None:
    data = open_raw(write(tmp_path, HEAD.format(TOF) + ROWS))
    one = data.isel(bank=0)
    edges = np.array([1000, 1001, 1002.001, 1003.003, 1004.006, 1005.01])
    width = np.append(np.diff(edges), (1005.01 - 1004.006) ** 2 / (1004.006 - 1003.003))
    np.testing.assert_allclose(one["tof"], edges + width / 2)
    good = [0, 1, 2, 4, 5]
    np.testing.assert_allclose(one["diffraction_counts"][good] * width[good], [20, 22, 24, 21, 19])
    np.testing.assert_allclose(one["diffraction_counts_std"][good] * width[good], [4, 4.5, 5, 4, 4])
    assert np.isnan(one["diffraction_counts"][3])
    assert "1 of 6 points have no uncertainty and are left out" in data.attrs["remarks"]
    assert float(data["temperature"]) == pytest.approx(26.85)
    assert data["diffraction_counts_std"].attrs["std_source"] == "counting"


def test_centidegrees_become_degrees_and_stay_counts(tmp_path: Path) -> None:
    rows = "".join(f"{1000 + 2 * k} {50 + k} {7}\n" for k in range(6))
    data = open_raw(write(tmp_path, HEAD.format("CONS 1000 2 0 0") + rows))
    np.testing.assert_allclose(data["two_theta"][0], 10 + 0.02 * np.arange(6))
    np.testing.assert_allclose(data["diffraction_counts"][0], 50 + np.arange(6))


def test_equal_steps_beyond_half_a_turn_are_time_of_flight(tmp_path: Path) -> None:
    rows = "".join(f"{20000 + 10 * k} 50 7\n" for k in range(6))
    data = open_raw(write(tmp_path, HEAD.format("CONS 20000 10 0 0") + rows))
    np.testing.assert_allclose(data["diffraction_counts"], 5)
    assert any("taken as time of flight" in remark for remark in data.attrs["remarks"])


def test_every_type_of_record_tells_the_same(tmp_path: Path) -> None:
    """The same twelve points as FXYE, FXY, ESD and STD at a constant wavelength, and as ALT in time of flight."""
    y = np.arange(101, 113)
    x = 1000 + 5.0 * np.arange(12)
    records = {
        "FXYE": [f"{a} {b} {np.sqrt(b):.6f}" for a, b in zip(x, y, strict=True)],
        "FXY": [f"{a} {b}" for a, b in zip(x, y, strict=True)],
        "ESD": ["".join(f"{b:8.1f}{np.sqrt(b):8.4f}" for b in part) for part in np.array_split(y, [5, 10])],
        "STD": ["".join(f"  {b:6d}" for b in part) for part in np.array_split(y, [10])],
    }
    for form, lines in records.items():
        text = "\n".join(["title", f"BANK 1 12 {len(lines)} CONST 1000.0 5.0 0 0 {form}", *lines, ""])
        one = read_gsas(write(tmp_path, text)).patterns[0]
        np.testing.assert_allclose(one.x, x / 100, err_msg=form)
        np.testing.assert_allclose(one.y, y, err_msg=form)
        np.testing.assert_allclose(one.std, np.sqrt(y), rtol=1e-5, err_msg=form)
    times = 1500 + 2.0 * np.arange(12)
    cells = [f"{32 * t:8.0f}{1000 * b:7.0f}{100 * b:5.0f}" for t, b in zip(times, y, strict=True)]
    lines = ["".join(cells[k : k + 4]) for k in (0, 4, 8)]
    one = read_gsas(
        write(tmp_path, "\n".join(["title", "BANK 1 12 3 RALF 48000 64 64331 0.001 ALT", *lines]))
    ).patterns[0]
    np.testing.assert_allclose(one.x, times + 1)
    np.testing.assert_allclose(one.y, y / 2)
    np.testing.assert_allclose(one.std, y / 20)


def test_counters_share_the_uncertainty(tmp_path: Path) -> None:
    lines = ["title", "BANK 1 5 1 CONS 1000 5 0 0", "".join(f"{n:2d}{400:6d}" for n in (1, 2, 4, 8, 16))]
    file = read_gsas(write(tmp_path, "\n".join(lines)))
    np.testing.assert_allclose(file.patterns[0].std, 20 / np.sqrt([1, 2, 4, 8, 16]))
    assert any("square roots of the counts" in remark for remark in file.remarks)


def test_stepped_bins_of_equal_ratio(tmp_path: Path) -> None:
    lines = ["title", "BANK 1 5 1 SLOG 1000 1050 0.01 0 ESD", "".join(f"{90:8d}{9:8d}" for _ in range(5))]
    one = read_gsas(write(tmp_path, "\n".join(lines))).patterns[0]
    edges = 1000 * 1.01 ** np.arange(6)
    np.testing.assert_allclose(one.x, (edges[1:] + edges[:-1]) / 2)
    np.testing.assert_allclose(one.y, 90 / np.diff(edges))


def test_no_counts_have_the_uncertainty_of_one(tmp_path: Path) -> None:
    lines = ["title", "BANK 1 5 1 CONS 1000 5 0 0", "".join(f"{n:8d}" for n in (0, 1, 4, 0, 9))]
    np.testing.assert_allclose(read_gsas(write(tmp_path, "\n".join(lines))).patterns[0].std, [1, 1, 2, 1, 3])


def test_several_banks_stand_side_by_side(tmp_path: Path) -> None:
    rows = [f"{x} 5 1" for x in range(2000, 2008)]
    text = HEAD.format(TOF) + ROWS + "# backward\n" + "\n".join(["BANK 4 8 8 SLOG 2000 2008 0.0005 0 FXYE", *rows])
    data = open_raw(write(tmp_path, text))
    assert list(data["bank"].values) == [1, 4]
    assert data["bank"].attrs["names"] == ["bank 1", "backward"]
    assert data.sizes == {"bank": 2, "point": 8}
    assert np.isnan(data["tof"][0, 6:]).all()
    assert np.isfinite(data["diffraction_counts"][1]).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[: text.rindex("1005")], ["fewer points", "line 8", "6 points", "5", "copy"]),
        (lambda text: text.replace("22 4.5", "22"), ["record of the file is damaged", "line 5", "3 numbers"]),
        (lambda text: text.replace("22 4.5", "22 -4.5"), ["line 5", "uncertainty above zero", "-4.5"]),
        (lambda text: text.replace("22 4.5", "nan 4.5"), ["line 5", "finite numbers"]),
        (lambda text: text.replace("1002.001", "1001"), ["do not increase", "bank 1", "point 3"]),
        (lambda text: text.replace("SLOG", "LPSD"), ["BANK line cannot be followed", "line 3", "LPSD"]),
        (lambda text: text.replace("BANK 1 6", "BANK 1 0"), ["BANK line cannot be followed"]),
        (lambda text: text + text[text.index("BANK") :], ["bank 1 stands twice", "line 10", "line 3"]),
    ],
)
def test_bad_data_is_named_with_file_and_line(tmp_path: Path, change, words: list[str]) -> None:
    with pytest.raises(MeasurementError) as error:
        open_raw(write(tmp_path, change(HEAD.format(TOF) + ROWS)))
    assert all(word in str(error.value) for word in ["pattern.gsa", *words])


def test_counts_below_zero_need_uncertainties(tmp_path: Path) -> None:
    text = "title\nBANK 1 5 5 CONS 1000 5 0 0 FXY\n" + "".join(f"{1000 + 5 * k} {4 - k}\n" for k in range(6))
    with pytest.raises(MeasurementError, match=r"(?s)line 8.*counts of zero or more"):
        read_gsas(write(tmp_path, text.replace("BANK 1 5 5", "BANK 1 6 6")))
    assert read_gsas(write(tmp_path, text)).remarks[0].startswith("1 points more than")


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("Temp (K) =              6.778", -266.372),
        ("Sample temperature (C): 150", 150),
        ("Temperature: 423.15 K", 150),
        ("Temp (K) = -40", None),
        ("Sample Temperature: 295 Freq: 60 Hz", None),
        ("Sample Temperature: UNKNOWN", None),
    ],
)
def test_temperatures_need_a_unit(line: str, value: float | None) -> None:
    remarks: list[str] = []
    assert temperature_in(["a title", line], remarks) == (None if value is None else pytest.approx(value))
    assert len(remarks) == (value is None and "UNKNOWN" not in line)


# -- columns ----------------------------------------------------------------------------------------


def column_file(folder: Path, header: str, first: float, step: float, columns: int = 3) -> Path:
    rows = [f"{first + step * k:.4f} {100 + k} 10.{k}"[: None if columns == 3 else -5] for k in range(30)]
    return write(folder, "\n".join([*([header] if header else []), *rows, ""]), "pattern.xye")


@pytest.mark.parametrize(
    ("header", "first", "step", "kind"),
    [
        ("", 10.0, 0.2, "cw"),
        ("", 11_500.0, 4.6, "tof"),
        ("# 2theta counts sigma", 10.0, 0.02, "cw"),
        ("# TOF (us)", 150.0, 0.5, "tof"),
        ("a powder", 10.0, 0.2, "cw"),
    ],
)
def test_places_are_told_by_words_or_size(tmp_path: Path, header: str, first: float, step: float, kind: str) -> None:
    path = column_file(tmp_path, header, first, step)
    assert recognise_powder_columns(path) is None
    assert recognise_columns(path) is not None
    one = read_powder_columns(path).patterns[0]
    assert one.kind == kind
    assert (one.x[0], one.y[0], one.std[0]) == (first, 100, 10)


def test_without_uncertainties_those_of_counts_are_taken(tmp_path: Path) -> None:
    data = open_raw(column_file(tmp_path, "# two theta, counts", 10.0, 1.0, columns=2))
    np.testing.assert_allclose(data["diffraction_counts_std"] ** 2, data["diffraction_counts"])
    assert any("no uncertainties" in remark for remark in data.attrs["remarks"])


@pytest.mark.parametrize(
    ("header", "first", "step", "words"),
    [
        ("# d-spacing (A)", 0.5, 0.1, ["lattice spacings or Q"]),
        ("# Q (1/A)", 2.0, 0.5, ["lattice spacings or Q"]),
        ("# 2theta", 11_500.0, 4.0, ["beyond 180 deg"]),
        ("# a powder", 0.5, 0.01, ["0.5 to 0.79, which may be two theta, d or Q", "# 2theta (deg)"]),
    ],
)
def test_unclear_places_are_refused(tmp_path: Path, header: str, first: float, step: float, words: list[str]) -> None:
    path = column_file(tmp_path, header, first, step)
    assert recognise_powder_columns(path) is not None
    with pytest.raises(MeasurementError) as error:
        read_powder_columns(path)
    assert all(word in str(error.value) for word in ["pattern.xye", *words])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("105 10.5", "105 -1"), ["row 6 of the numbers", "uncertainties of zero or more"]),
        (lambda text: text.replace("12.0000", "11.0000"), ["do not increase", "point 3"]),
        (lambda text: text.replace("105 10.5", "105 ten"), ["line 7", "damaged"]),
        (lambda text: "\n".join(line + " 4" for line in text.splitlines()), ["columns are no pattern", "4 numbers"]),
    ],
)
def test_bad_columns_are_named(tmp_path: Path, change, words: list[str]) -> None:
    path = column_file(tmp_path, "# 2theta", 10.0, 1.0)
    path.write_text(change(path.read_text()))
    with pytest.raises(MeasurementError) as error:
        read_powder_columns(path)
    assert all(word in str(error.value) for word in ["pattern.xye", *words])


def test_a_truncated_file_says_so(tmp_path: Path) -> None:
    path = column_file(tmp_path, "# 2theta", 10.0, 1.0)
    path.write_bytes(path.read_bytes()[:-4])
    assert any("ends inside its last line" in remark for remark in read_powder_columns(path).remarks)


def test_tables_of_other_things_are_no_patterns(tmp_path: Path) -> None:
    heating = "".join(f"{k * 0.5:.2f},{30 + 5 * k},{20 - 0.01 * k:.3f}\n" for k in range(40))
    assert recognise_powder_columns(write(tmp_path, "t (min),T (C),m (mg)\n" + heating, "tga.csv")) is not None
    spectrum = "".join(f"{8300 + 5 * k} {0.1 * k}\n" for k in range(40))
    path = write(tmp_path, spectrum, "nickel.dat")
    assert recognise_columns(path) is None
    assert recognise_powder_columns(path) is not None


# -- writers ----------------------------------------------------------------------------------------


@given(
    kinds=st.lists(st.sampled_from(["tof", "tof", "cw"]), min_size=1, max_size=3),
    temperature=st.one_of(st.none(), st.floats(-200, 1000)),
    seed=st.integers(0, 999),
)
@example(kinds=["tof", "tof", "tof"], temperature=None, seed=65)  # bins of 0.1 us
@settings(max_examples=20, deadline=None)
def test_what_is_written_reads_back(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str], temperature: float | None, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("written")
    patterns = [pattern(rng, number, kinds[0]) for number in range(1, len(kinds) + 1)]
    text = written_fxye(patterns, title="a powder", comments=["made up"], temperature=temperature)
    back = read_gsas(write(folder, text))
    assert_same(back, patterns, temperature)
    columns = written_xye(patterns[0], temperature=temperature)
    path = write(folder, columns, "pattern.xye")
    assert recognise_powder_columns(path) is None
    assert_same(read_powder_columns(path), patterns[:1], temperature)


def pattern(rng: np.random.Generator, number: int, kind: str) -> PowderPattern:
    size = int(rng.integers(6, 40))
    if kind == "cw":
        x, width = 5 + np.cumsum(rng.uniform(0.01, 0.5, size)), None
    else:
        step = rng.uniform(1e-4, 1e-2)
        x, width = binned(rng.uniform(1000, 20_000) * (1 + step) ** np.arange(size))
    y = rng.poisson(50, size).astype(float)
    std = np.sqrt(y + 1)
    y[2], std[2] = np.nan, np.nan
    return PowderPattern(number, f"bank {number}", kind, x, y, std, width)


def assert_same(back: PowderFile, patterns: list[PowderPattern], temperature: float | None) -> None:
    assert back.temperature == (None if temperature is None else pytest.approx(temperature, abs=1e-6))
    assert len(back.patterns) == len(patterns)
    for got, one in zip(back.patterns, patterns, strict=True):
        assert (got.number, got.kind) == (one.number, one.kind)
        np.testing.assert_allclose(got.x, one.x, rtol=2e-9)
        np.testing.assert_allclose(got.y, one.y, rtol=1e-5)
        np.testing.assert_allclose(got.std, one.std, rtol=1e-5)


def test_what_cannot_be_written() -> None:
    one = PowderPattern(1, "a", "tof", np.arange(5.0), np.ones(5), np.ones(5))
    for patterns in ([], [one], [pattern(np.random.default_rng(1), 2, "cw")] * 2):
        with pytest.raises(CathoscopeError, match="cannot stand in one file"):
            written_fxye(patterns)


# -- measured files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "bank", "points", "first", "last"),
    [
        ("nac-joint/11BM_NAC.fxye", 1, 59_497, 0.5, 59.9883),
        ("nac-joint/PG3_22048.gsa", 2, 6825, 6778.437, 103_837.8),
        ("nac-joint/PG3_22049.gsa", 4, 5199, 25_984.008, 207_704.2),
        ("cucr2o4-sequence/OH_00.fxye", 1, 12_799, 0.5, 26.096),
        ("pbso4-xn/PBSO4.CWN", 1, 2919, 10.0, 155.9),
        ("pbso4-xn/PBSO4.XRA", 1, 6001, 10.0, 160.0),
        ("sim-nmc-spinel/sim_obs.xye", 1, 4442, 11_502.3005, 67_961.8865),
    ],
)
def test_measured_patterns(data_folder: Path, name: str, bank: int, points: int, first: float, last: float) -> None:
    data = open_raw(data_folder / "diffraction" / name)
    place = data["tof" if "tof" in data.variables else "two_theta"].values[0]
    assert (int(data["bank"].item()), place.size) == (bank, points)
    assert (place[0], place[-1]) == (pytest.approx(first, rel=1e-6), pytest.approx(last, rel=1e-6))
    good = np.isfinite(data["diffraction_counts"].values)
    assert good.mean() > 0.99
    assert np.all(data["diffraction_counts_std"].values[good] > 0)


def test_temperatures_of_the_measured_series(data_folder: Path) -> None:
    files = sorted((data_folder / "diffraction" / "cucr2o4-sequence").glob("*.fxye"))
    kelvin = [read_gsas(file).temperature + 273.15 for file in files[::4]]
    np.testing.assert_allclose(kelvin, [6.778, 98.89, 145.47, 203.0, 288.7], rtol=1e-12)


def test_inspection_tells_the_technique(tmp_path: Path) -> None:
    lines = describe(write(tmp_path, HEAD.format(TOF) + ROWS)).lines()
    assert any('technique = "diffraction"' in line for line in lines)
    lines = describe(column_file(tmp_path, "# 2theta", 10.0, 1.0)).lines()
    assert any('technique = "diffraction"' in line for line in lines)
    assert any("no temperature; state it in the recipe" in line for line in lines)
