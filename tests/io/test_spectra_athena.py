"""Athena projects: written here as Perl does, read back exactly; real projects of beamlines."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import require
from cathoscope.io.spectra_athena import open_athena, recognise_athena
from cathoscope.io.spectra_columns import recognise_columns

ENERGIES = np.linspace(8300.25, 8400.25, 9)
MU = np.linspace(0.2, 1.4, 9)
HEADER = "# Athena project file -- Demeter version 0.9.26\n# This file created at 2024-03-18T02:15:41\n\n"


def perl(values: Any) -> str:
    return "(" + ",".join(f"'{float(value)!r}'" for value in values) + ")"


def group(name: str, x: Any = ENERGIES, y: Any = MU, **args: str) -> str:
    """A record as Demeter writes it; values of ``args`` are Perl source."""
    known = {"label": f"'{name} at 4.3 V'", "is_xmu": "1", "bkg_e0": "'8333.5'", "importance": "1", "bkg_eshift": "0"}
    items = ",".join(f"'{key}',{value}" for key, value in (known | args).items())
    arrays = f"@x = {perl(x)};\n@y = {perl(y)};\n@i0 = {perl(x)};\n@stddev = {perl(y)};\n"
    return f"$old_group = '{name}';\n@args = ({items});\n{arrays}[record]   # create object\n\n"


def write_project(folder: Path, *groups: str, compress: bool = False) -> Path:
    path = folder / "study.prj"
    content = (HEADER + "".join(groups) + "@journal = ();\n\n1;\n\n# Local Variables:\n# End:\n").encode()
    path.write_bytes(gzip.compress(content) if compress else content)
    return path


@pytest.mark.parametrize("compress", [False, True])
def test_groups_are_read_back(tmp_path: Path, compress: bool) -> None:
    first = group("abcd", bkg_z="'Ni'", fft_edge="'k'", bkg_eshift="'1.252'")
    second = group("efgh", ENERGIES[:7], MU[:7] * 2, bkg_z="'Ni'", fft_edge="'K'", is_nor="1", importance="'2'")
    path = write_project(tmp_path, first, second, compress=compress)
    assert recognise_athena(path) is None
    assert recognise_columns(path) is not None
    data = open_athena([path])
    require(data, "scan_energy", "absorption", "spectrum")
    assert data["spectrum"].attrs["names"] == ["abcd at 4.3 V", "efgh at 4.3 V"]
    np.testing.assert_array_equal(data["scan_energy"].values[0], ENERGIES)
    np.testing.assert_array_equal(data["absorption"].values[0], MU)
    np.testing.assert_array_equal(data["absorption"].values[1], [*MU[:7] * 2, np.nan, np.nan])
    assert (data.attrs["format"], data.attrs["element"], data.attrs["edge"]) == ("athena", "Ni", "K")
    assert data.attrs["labels"] == {
        "group": ["abcd", "efgh"],
        "e0": [8333.5, 8333.5],
        "energy_shift": [1.252, 0.0],
        "importance": [1.0, 2.0],
        "normalised": [False, True],
    }
    assert data.attrs["remarks"] == [
        "Athena shifted 1 of 2 groups by 1.252 eV; the energies are those recorded, without that shift"
    ]


@pytest.mark.parametrize(
    ("source", "label"),
    [
        (r"'it\'s 5 \\ 3'", r"it's 5 \ 3"),
        ('"Ni\\x{b2}\\x{207a}"', "Ni²⁺"),
        ("'a, (b) [c] => d; $x = 3'", "a, (b) [c] => d; $x = 3"),
        ("''", "abcd"),
        ("undef", "undef"),
    ],
)
def test_texts_of_perl(tmp_path: Path, source: str, label: str) -> None:
    strange = {"marked": "!!0", "titles": "['one, two','a],b']", "h": "{'k' => [1,'}']}", "file": "'@&^^null^^&@'"}
    data = open_athena([write_project(tmp_path, group("abcd", **strange, label=source))])
    assert data["spectrum"].attrs["names"] == [label]
    assert data.attrs["labels"]["e0"] == [8333.5]


def test_values_after_lists_and_flags_keep_their_keys(tmp_path: Path) -> None:
    """A flag that Perl writes as !!0 or undef, or a list, must not shift keys against values."""
    strange = {"label": "'a'", "marked": "!!0", "titles": "[]", "none": "undef", "last": "-3", "bkg_z": "'Mn'"}
    data = open_athena([write_project(tmp_path, group("abcd", **strange))])
    assert data.attrs["element"] == "Mn"


@pytest.mark.parametrize("flags", [{"is_xmu": "0", "is_chi": "1"}, {"datatype": "'chi'"}, {"is_xmu": "!!0"}])
def test_groups_of_chi_are_set_aside(tmp_path: Path, flags: dict[str, str]) -> None:
    data = open_athena([write_project(tmp_path, group("chik", **flags), group("abcd"))])
    assert data["spectrum"].attrs["names"] == ["abcd at 4.3 V"]
    assert data.attrs["remarks"] == ["group chik at 4.3 V is no mu(E) (it may be chi(k)) and is set aside"]
    with pytest.raises(MeasurementError, match=r"no group of mu\(E\)"):
        open_athena([write_project(tmp_path, group("chik", **flags))])


def test_a_group_whose_arrays_differ_is_set_aside(tmp_path: Path) -> None:
    data = open_athena([write_project(tmp_path, group("bad", ENERGIES[:6]), group("abcd"))])
    assert data["spectrum"].attrs["names"] == ["abcd at 4.3 V"]
    assert data.attrs["remarks"] == ["group bad at 4.3 V has 6 energies and 9 values and is set aside"]


def test_a_tied_reference_is_the_foil_of_its_sample(tmp_path: Path) -> None:
    sample = group("smpl", label="'NiO'", referencegroup="'foil'")
    foil = group("foil", y=2 * MU, label="'  Ref NiO'", referencegroup="'smpl'")
    lone = group("lone", label="'Ref of nothing'", referencegroup="'none'")
    other = group("othr", ENERGIES + 1, label="'  Ref NiO'", referencegroup="'smpl'")
    data = open_athena([write_project(tmp_path, sample, foil, lone, other)])
    assert data["spectrum"].attrs["names"] == ["NiO", "Ref of nothing", "Ref NiO"]
    np.testing.assert_array_equal(data["reference_absorption"].values[0], 2 * MU)
    assert np.isnan(data["reference_absorption"].values[1:]).all()
    assert "1 groups named Ref" in data.attrs["remarks"][0]


def test_numbers_that_perl_has_not_are_left_out(tmp_path: Path) -> None:
    text = group("abcd").replace("@y = ('0.2'", "@y = (undef").replace("'0.35'", "'nan'")
    data = open_athena([write_project(tmp_path, text)])
    np.testing.assert_array_equal(data["absorption"].values[0], MU[2:])
    assert "2 of 9 points" in data.attrs["remarks"][0]


@pytest.mark.parametrize("end", ["@args", "@x =", "@y =", "'0.35", "[record]"])
def test_a_project_that_ends_early_is_refused(tmp_path: Path, end: str) -> None:
    content = write_project(tmp_path, group("abcd"), group("efgh")).read_text()
    path = tmp_path / "short.prj"
    path.write_text(content[: content.rindex(end) + (len(end) - 1 if end != "[record]" else 0)])
    with pytest.raises(MeasurementError, match="ends inside") as error:
        open_athena([path])
    assert str(path) in str(error.value)


def test_a_compressed_project_of_absurd_size_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.prj"
    path.write_bytes(gzip.compress(HEADER.encode() + b" " * 40_000_000))
    with pytest.raises(MeasurementError, match="more than"):
        open_athena([path])


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 300), at=st.integers(0, 2000), byte=st.integers(0, 255), compress=st.booleans())
def test_damage_is_an_error_that_names_the_file(tmp_path: Path, cut: int, at: int, byte: int, compress: bool) -> None:
    content = bytearray(write_project(tmp_path, group("abcd"), compress=compress).read_bytes())
    content[at % len(content)] = byte
    path = tmp_path / "damaged.prj"
    path.write_bytes(content[: len(content) - cut])
    recognise_athena(path)
    try:
        data = open_athena([path])
    except MeasurementError as error:
        refusal = str(error)
    else:
        assert data.sizes["spectrum"] == 1
        return
    assert str(path) in refusal


@pytest.mark.parametrize(
    "content", [b"", b"\x1f\x8b", b"\x1f\x8b\x08\0garbage", b"\0\0", b'{"_____header1": "# Athena']
)
def test_other_content_is_not_claimed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    assert isinstance(recognise_athena(path), str)


@pytest.mark.parametrize(("name", "edge"), [("Mn", 6539.0), ("Co", 7709.0), ("Ni", 8333.0)])
def test_real_foils_have_their_edge_where_athena_says(data_folder: Path, name: str, edge: float) -> None:
    """Recorded inflection plus Athena's shift is the tabulated edge, within the step of the scan."""
    data = open_athena([data_folder / f"xas/xas-nifoil-nsls/{name}foil_QAS.prj"])
    energies, absorption = data["scan_energy"].values[0], data["absorption"].values[0]
    steepest = energies[np.argmax(np.gradient(absorption, energies))]
    labels = data.attrs["labels"]
    assert labels["e0"] == [edge]
    assert steepest + labels["energy_shift"][0] == pytest.approx(edge, abs=0.2)
    assert data["spectrum"].attrs["names"] == [f"{name} foil"]
    assert data.attrs["element"] == name


def test_real_project_of_samples_with_foils(data_folder: Path) -> None:
    """The foils drift by 5.5 eV from scan to scan; Athena's shifts, found from them, undo it to 1.2 eV."""
    data = open_athena([data_folder / "xas/xas-larch/NiO.prj"])
    assert dict(data.sizes) == {"spectrum": 12, "point": 522}
    edges = []
    for energies, foil in zip(data["scan_energy"].values, data["reference_absorption"].values, strict=True):
        edges.append(energies[np.nanargmax(np.gradient(foil, energies))])
    aligned = np.array(edges) + data.attrs["labels"]["energy_shift"]
    assert np.ptp(edges) > 5
    np.testing.assert_allclose(aligned, 8333, atol=0.6)


def test_real_project_of_old_athena(data_folder: Path) -> None:
    data = open_athena([data_folder / "xas/xas-larch/cu.prj"])
    assert data["spectrum"].attrs["names"] == ["cu010k.dat", "cu050k.dat", "cu150k.dat"]
    assert data.attrs["labels"]["e0"] == [8977.58, 8977.58, 8977.97]
    assert np.isfinite(data["absorption"].values).sum(axis=1).tolist() == [612, 620, 618]
