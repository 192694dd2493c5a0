"""Scans in order, and those that are set aside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.core.links import FileLink
from cathoscope.flow.raw import RawMeasurement, arrange, files_of, find_files, missing_scans
from cathoscope.flow.recipe import MeasurementSection, load_recipe

MakeScan = Callable[..., xr.Dataset]
RecipeWriter = Callable[..., Path]
KEY = ("measurement", "spheres", "files")


def measurement(technique: str = "xanes-tomography", **words: object) -> RawMeasurement:
    section = MeasurementSection(sample="rod", technique=technique, files=["a"], **words)  # type: ignore[arg-type]
    return RawMeasurement("rod", section)


# -- files ---------------------------------------------------------------------------------------


def test_patterns_are_relative_to_the_data_or_absolute(
    write_recipe: RecipeWriter, spheres: Path, tmp_path: Path
) -> None:
    recipe = load_recipe(write_recipe(), data=spheres)
    folder = spheres / "raw" / "spheres_025C"
    everything = sorted(folder.iterdir())
    assert find_files(recipe, "raw/*_025C/*.h5", KEY) == everything
    assert find_files(recipe, f"{folder}/*.h5", KEY) == everything
    assert find_files(recipe, str(everything[3]), KEY) == [everything[3]]
    assert find_files(recipe, "raw/spheres_025C/*_10010[1-3].h5", KEY) == everything[:3]


def test_a_file_whose_name_looks_like_a_pattern_is_found_by_its_name(
    write_recipe: RecipeWriter, tmp_path: Path
) -> None:
    (tmp_path / "scan[1].h5").touch()
    recipe = load_recipe(write_recipe(), data=tmp_path)
    assert find_files(recipe, "scan[1].h5", KEY) == [tmp_path / "scan[1].h5"]


def test_files_keep_the_order_of_the_recipe(write_recipe: RecipeWriter, spheres: Path) -> None:
    recipe = load_recipe(write_recipe(scans=(5, 0, 2)), data=spheres)
    ((entry, paths),) = files_of(recipe, "spheres")
    assert entry.temperature == 25.0
    assert [path.name[-6:-3] for path in paths] == ["106", "101", "103"]


# -- order ---------------------------------------------------------------------------------------


@given(st.permutations(range(6)))
@settings(max_examples=20, deadline=None)
def test_scans_are_ordered_by_temperature_and_energy_however_they_come(order: list[int]) -> None:
    def scan(source: str, energy: float) -> xr.Dataset:
        return xr.Dataset(attrs={"source": source}).assign_coords(energy=energy)

    conditions = [(t, e) for t in (25.0, 150.0) for e in (8300.0, 8333.0, 8350.0)]
    opened = [(conditions[k][0], scan(f"{k}.h5", conditions[k][1])) for k in order]
    raw = measurement()
    arrange(raw, opened)
    assert raw.dims == ("temperature", "energy")
    assert raw.shape == (2, 3)
    assert [raw.scans[index].attrs["source"] for index in np.ndindex(2, 3)] == [f"{k}.h5" for k in range(6)]
    assert raw.coords["energy"].values.tolist() == [8300.0, 8333.0, 8350.0]
    assert raw.set_aside == []
    assert raw.first.attrs["source"] == "0.h5"


def test_energies_that_differ_by_less_than_the_monochromator_reproduces_are_one(make_scan: MakeScan) -> None:
    raw = measurement()
    opened = [(25.0, make_scan("a", 8333.0)), (150.0, make_scan("b", 8333.02)), (150.0, make_scan("c", 8333.5))]
    arrange(raw, opened)
    np.testing.assert_allclose(raw.coords["energy"].values, [8333.01, 8333.5])
    assert set(raw.scans) == {(0, 0), (1, 0), (1, 1)}


def test_a_single_scan_has_no_dims(make_scan: MakeScan) -> None:
    raw = measurement("tomography")
    arrange(raw, [(None, make_scan("a", 8333.0, remarks=("flat 1 is zero",)))])
    assert (raw.dims, raw.shape, set(raw.scans)) == ((), (), {()})
    assert raw.remarks == ["a: flat 1 is zero"]
    assert list(missing_scans(raw)) == []


def test_nothing_opened_is_nothing_to_order() -> None:
    raw = measurement()
    arrange(raw, [])
    assert (raw.dims, raw.coords, raw.scans) == ((), {}, {})


def test_a_second_scan_of_one_energy_is_set_aside(make_scan: MakeScan) -> None:
    raw = measurement()
    arrange(raw, [(25.0, make_scan("a.h5", 8333.0)), (25.0, make_scan("b.h5", 8333.0))])
    ((file, reason),) = [(item.file, item.reason) for item in raw.set_aside]
    assert file == "b.h5"
    assert "8333.00 eV" in reason
    assert "a.h5 is used" in reason


def test_a_second_scan_of_one_temperature_is_set_aside(make_scan: MakeScan) -> None:
    raw = measurement("tomography")
    arrange(raw, [(25.0, make_scan("a.h5")), (25.0, make_scan("b.h5"))])
    assert [item.file for item in raw.set_aside] == ["b.h5"]


def test_images_of_another_size_are_set_aside_and_their_place_stays_empty(make_scan: MakeScan) -> None:
    raw = measurement()
    arrange(raw, [(None, make_scan("a.h5", 8300.0)), (None, make_scan("b.h5", 8333.0, size=9))])
    assert [item.file for item in raw.set_aside] == ["b.h5"]
    assert "'row': 9" in raw.set_aside[0].reason
    assert list(missing_scans(raw)) == ["no usable scan at energy 8333 eV"]


def test_a_scan_without_energy_is_set_aside(make_scan: MakeScan) -> None:
    raw = measurement()
    arrange(raw, [(25.0, make_scan("a.h5")), (25.0, make_scan("b.h5", 8333.0))])
    assert [item.file for item in raw.set_aside] == ["a.h5"]
    assert raw.coords["energy"].values.tolist() == [8333.0]


def test_no_scan_with_an_energy_is_a_mistake_of_the_technique(make_scan: MakeScan) -> None:
    with pytest.raises(MeasurementError, match="no scan says its photon energy") as caught:
        arrange(measurement(), [(25.0, make_scan("a.h5"))])
    assert '"tomography"' in str(caught.value.cure)


def test_missing_scans_are_named_by_temperature_and_energy(make_scan: MakeScan) -> None:
    raw = measurement()
    arrange(raw, [(25.0, make_scan("a", 8300.0)), (150.0, make_scan("b", 8333.0))])
    assert list(missing_scans(raw)) == [
        "no usable scan at temperature 25 degC, energy 8333 eV",
        "no usable scan at temperature 150 degC, energy 8300 eV",
    ]


def test_a_condition_of_which_nothing_is_there_takes_one_line(make_scan: MakeScan) -> None:
    raw = measurement()
    scans = [(t, make_scan(f"{t:g}-{e:g}", e)) for t in (25.0, 150.0) for e in (8300.0, 8333.0, 8350.0)]
    arrange(raw, scans)
    for energy in range(3):
        raw.put_aside((1, energy), "flats of another day")
    assert list(missing_scans(raw)) == ["no usable scan at temperature 150 degC, at none of 3 values of energy"]


def test_a_scan_found_bad_later_leaves_its_place_empty(make_scan: MakeScan) -> None:
    raw = measurement()
    arrange(raw, [(25.0, make_scan("a.h5", 8300.0)), (25.0, make_scan("b.h5", 8333.0))])
    assert raw.put_aside((0, 0), "no rotation axis") == ["a.h5", "no rotation axis", "a.h5"]
    assert raw.first.attrs["source"] == "/beamline/b.h5"
    assert list(missing_scans(raw)) == ["no usable scan at temperature 25 degC, energy 8300 eV"]


# -- identity ------------------------------------------------------------------------------------


def filled(make_scan: MakeScan, **words: object) -> RawMeasurement:
    raw = measurement(**words)  # type: ignore[arg-type]
    raw.links.append(FileLink("raw/a.h5", 10, 123, "h1"))
    arrange(raw, [(25.0, make_scan("a.h5", 8300.0))])
    return raw


def test_the_fingerprint_is_of_content_and_reading_not_of_place_and_time(make_scan: MakeScan) -> None:
    one, two = filled(make_scan), filled(make_scan, note="another note")
    two.links[0] = FileLink("elsewhere/a.h5", 10, 456, "h1")
    two.scans[0, 0].attrs["source"] = "/other/disk/a.h5"
    assert one.fingerprint == two.fingerprint
    two.scans[0, 0].attrs["digest"] = "other content"
    assert one.fingerprint != two.fingerprint
    for words in ({"rows": (0, 4)}, {"pixel_size": "20 nm"}, {"angle_range": (0, 180)}, {"reader": "fxi"}):
        assert filled(make_scan, **words).fingerprint != one.fingerprint


def test_the_record_is_json_and_says_what_was_used(make_scan: MakeScan) -> None:
    raw = filled(make_scan)
    raw.references.append(FileLink("oxidised.txt", 5, 9, "h3"))
    raw.put_aside((0, 0), "no beam")
    raw.scans[0, 0] = make_scan("a.h5", 8300.0)
    record = json.loads(json.dumps(raw.record()))
    assert record["sample"] == "rod"
    assert record["format"] == ["fxi"]
    assert record["scans"] == {"temperature": [25.0], "energy": [8300.0]}
    assert [file["path"] for file in record["files"]] == ["raw/a.h5", "oxidised.txt"]
    assert record["set_aside"] == [["a.h5", "no beam"]]
    assert record["shape"] == {"projection": 3, "row": 8, "column": 8}


def test_the_record_of_a_measurement_without_files() -> None:
    assert measurement().record()["shape"] == {}
