"""Named arrays: one meaning per name."""

from __future__ import annotations

import re

import numpy as np
import pytest
import xarray as xr

from cathoscope.core.errors import SchemaError
from cathoscope.core.schema import SCHEMA, STD_SOURCES, dataset, label, require, spec_of


@pytest.mark.parametrize("spec", SCHEMA.values(), ids=list(SCHEMA))
def test_every_entry_is_complete(spec: object) -> None:
    name, dims = spec.name, spec.dims  # type: ignore[attr-defined]
    assert SCHEMA[name] is spec
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)
    assert not name.endswith("_std")
    assert len(set(dims)) == len(dims)
    assert spec.kind in "fib"  # type: ignore[attr-defined]
    assert spec.unit  # type: ignore[attr-defined]
    assert spec.meaning[0].isupper()  # type: ignore[attr-defined]
    assert not spec.meaning.endswith(".")  # type: ignore[attr-defined]


def test_dims_that_are_arrays_are_coordinates_along_themselves() -> None:
    dims = {dim for spec in SCHEMA.values() for dim in spec.dims}
    for name in dims & set(SCHEMA):
        assert SCHEMA[name].dims == (name,)


def test_an_uncertainty_has_the_dims_and_the_unit_of_its_value() -> None:
    value, std = spec_of("attenuation"), spec_of("attenuation_std")
    assert (std.dims, std.unit, std.kind) == (value.dims, value.unit, "f")
    assert value.meaning in std.meaning


@pytest.mark.parametrize("name", ["colour", "colour_std", "particle_mask_std", "white_line_flag_std", "energy_std_std"])
def test_names_that_nobody_knows(name: str) -> None:
    with pytest.raises(SchemaError, match=name):
        spec_of(name)


def test_a_label_states_unit_and_meaning_and_keeps_the_coordinates_of_its_dims() -> None:
    array = label("edge_jump", np.zeros((2, 3, 4)), ("z", "y", "x"), coords={"z": [0.0, 1.0], "energy": [1.0]})
    assert array.attrs == {"units": "1/um", "long_name": SCHEMA["edge_jump"].meaning}
    assert list(array.coords) == ["z"]


def test_lists_and_scalars_are_arrays_too() -> None:
    assert label("rotation_axis", [1.0, 2.0], ("energy",)).shape == (2,)
    assert label("rotation_axis", 3.5, ()).item() == 3.5


def test_whole_numbers_are_welcome_where_real_ones_are_meant() -> None:
    assert label("counts", np.zeros((1, 2, 3), np.uint16), ("projection", "row", "column")).dtype == np.uint16


@pytest.mark.parametrize(
    ("name", "shape", "dims", "dtype", "words"),
    [
        ("attenuation", (2, 2), ("x", "z"), "f4", "wrong dims"),  # order
        ("attenuation", (2, 2), ("z", "row"), "f4", "wrong dims"),  # a dim it never has
        ("attenuation", (2, 2), ("z",), "f4", "wrong number of dims"),
        ("attenuation", (2,), ("z",), "bool", "wrong kind"),
        ("particle_mask", (2,), ("z",), "i4", "wrong kind"),
        ("white_line_flag", (2,), ("z",), "f4", "wrong kind"),
        ("attenuation", (2,), ("z",), "c8", "wrong kind"),
    ],
)
def test_a_label_refuses_what_the_schema_does_not_state(
    name: str, shape: tuple[int, ...], dims: tuple[str, ...], dtype: str, words: str
) -> None:
    with pytest.raises(SchemaError, match=words):
        label(name, np.zeros(shape, dtype), dims)


@pytest.mark.parametrize("source", STD_SOURCES)
def test_an_uncertainty_says_where_it_comes_from(source: str) -> None:
    assert label("rotation_axis_std", np.ones(2), ("energy",), std_source=source).attrs["std_source"] == source


@pytest.mark.parametrize("source", [None, "guess"])
def test_an_uncertainty_without_a_known_source_is_refused(source: str | None) -> None:
    with pytest.raises(SchemaError, match="where it comes from") as caught:
        label("rotation_axis_std", np.ones(2), ("energy",), std_source=source)
    assert caught.value.found == str(source)


def test_a_dataset_links_values_to_their_uncertainties_and_masks() -> None:
    axis = label("rotation_axis", np.ones(2), ("energy",))
    std = label("rotation_axis_std", np.ones(2), ("energy",), std_source="stated")
    check = label("rotation_axis_check", np.ones(2), ("energy",))
    data = dataset([axis, std, check], source="scan.h5")
    assert data["rotation_axis"].attrs["ancillary_variables"] == "rotation_axis_std"
    assert "ancillary_variables" not in data["rotation_axis_check"].attrs
    assert data.attrs == {"source": "scan.h5"}


def test_what_label_makes_satisfies_require() -> None:
    require(dataset([label("edge_jump", np.zeros((2, 2, 2)), ("z", "y", "x"))]), "edge_jump")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (xr.Dataset(), "is missing"),
        (xr.Dataset({"edge_jump": (("x", "z"), np.zeros((2, 2)), {"units": "1/um"})}), "wrong dims"),
        (xr.Dataset({"edge_jump": (("z",), np.zeros(2), {"units": "1/cm"})}), "wrong unit"),
        (xr.Dataset({"edge_jump": (("z",), np.zeros(2))}), "wrong unit"),
        (xr.Dataset({"edge_jump": (("z",), np.zeros(2, bool), {"units": "1/um"})}), "wrong kind"),
    ],
)
def test_require_names_what_differs(data: xr.Dataset, words: str) -> None:
    with pytest.raises(SchemaError, match=f"edge_jump .*{words}|edge_jump {words}"):
        require(data, "edge_jump")
