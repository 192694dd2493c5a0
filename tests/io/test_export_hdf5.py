"""Plain HDF5 and the layout of TXM-Sandbox."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cathoscope.core.errors import CathoscopeError
from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import Study
from cathoscope.io import open_raw
from cathoscope.io.export_study import Choice, export_study
from tests.io.export_studies import (
    ENERGIES,
    PIXEL,
    SHAPE,
    TEMPERATURES,
    coefficient_arrays,
    every_kind,
    xanes_arrays,
)

DATA = xanes_arrays()
SPECTRA = "processed_XANES3D/proc_spectrum"
CUBE = "registration_results/reg_results"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    path = tmp_path_factory.mktemp("hdf5") / "study.zarr"
    return every_kind(path, single=DATA[["attenuation"]].isel(temperature=[1]))


def export(study: Study, folder: Path, choice: Choice) -> list[Path]:
    return export_study(
        study, folder, choice, overwrite=False, resources=Resources(threads=2, memory=1e8), progress=Silent()
    )


@pytest.fixture(scope="module")
def plain(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    arrays = ("attenuation", "particle_mask", "white_line_half", "white_line_flag")
    (path,) = export(study, tmp_path_factory.mktemp("plain"), Choice("hdf5", ("rod",), arrays))
    return path


@pytest.fixture(scope="module")
def sandbox(study: Study, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return export(study, tmp_path_factory.mktemp("sandbox"), Choice("txm-sandbox", ("rod",)))


def test_hdf5_holds_the_arrays_bit_for_bit(plain: Path) -> None:
    with h5py.File(plain) as file:
        assert file["attenuation"][()].tobytes() == DATA["attenuation"].values.tobytes()
        np.testing.assert_array_equal(file["white_line_flag"][()], DATA["white_line_flag"].values)
        np.testing.assert_array_equal(file["white_line_half"][()], DATA["white_line_half"].values.swapaxes(0, 1))
        assert file["particle_mask"].dtype == np.uint8
        np.testing.assert_array_equal(file["particle_mask"][()], DATA["particle_mask"].values)


def test_hdf5_arrays_have_units_and_coordinates(plain: Path) -> None:
    with h5py.File(plain) as file:
        stored = file["attenuation"]
        assert (stored.attrs["units"], stored.attrs["long_name"]) == ("1/um", "Linear attenuation coefficient")
        np.testing.assert_allclose(stored.attrs["voxel_size_um"], [PIXEL] * 3)
        assert [dim.label for dim in stored.dims] == ["temperature", "energy", "z", "y", "x"]
        scales: dict[str, Any] = {dim.label: dim[0] for dim in stored.dims}
        np.testing.assert_array_equal(scales["temperature"][()], TEMPERATURES)
        np.testing.assert_array_equal(scales["energy"][()], ENERGIES)
        assert (scales["energy"].attrs["units"], scales["x"].attrs["units"]) == ("eV", "um")
        np.testing.assert_allclose(np.diff(scales["z"][()]), PIXEL)
        # arrays share their coordinates
        assert file["particle_mask"].dims[1][0] == scales["z"]
        assert [dim.label for dim in file["white_line_half"].dims][1] == "half"


def test_nexus_finds_signal_and_axes_without_a_copy(plain: Path) -> None:
    """As https://manual.nexusformat.org asks of NXdata: the default plot is reached from the root."""
    with h5py.File(plain) as file:
        assert file.attrs["NX_class"] == "NXroot"
        entry = file[file.attrs["default"]]
        assert entry.attrs["NX_class"] == "NXentry"
        data = entry["attenuation"]
        assert data.attrs["NX_class"] == "NXdata"
        assert data[data.attrs["signal"]] == file["attenuation"]
        assert list(data.attrs["axes"]) == ["temperature", "energy", "z", "y", "x"]
        for number, axis in enumerate(data.attrs["axes"]):
            assert data[axis] == file[axis]
            assert data.attrs[f"{axis}_indices"] == number
        assert entry["particle_mask"]["z"] == data["z"]


@pytest.mark.parametrize(("measurement", "n_energies"), [("tomo", 0), ("single", 5)])
def test_hdf5_with_one_volume_can_be_opened_again(
    study: Study, tmp_path: Path, measurement: str, n_energies: int
) -> None:
    (path,) = export(study, tmp_path, Choice("hdf5", (measurement,), ("attenuation",)))
    opened = open_raw([path])
    assert opened.attrs["format"] == "hdf5_volume"
    assert opened.attrs["pixel_size"] == pytest.approx(PIXEL)
    expected = study.read("result", measurement, ["attenuation"])["attenuation"]
    np.testing.assert_array_equal(opened["voxels"].values, expected.values.reshape(opened["voxels"].shape))
    if n_energies:
        np.testing.assert_array_equal(opened["energy"].values, ENERGIES)
        with h5py.File(path) as file:
            assert file["attenuation"].attrs["temperature_degC"] == TEMPERATURES[1]


def test_sandbox_has_one_file_for_each_temperature_that_opens_again(sandbox: list[Path]) -> None:
    assert [path.name for path in sandbox] == ["rod_01_25C.h5", "rod_02_180C.h5"]
    for at, path in enumerate(sandbox):
        opened = open_raw([path])
        assert opened.attrs["format"] == "sandbox_cube"
        assert opened.attrs["pixel_size"] == pytest.approx(PIXEL)
        np.testing.assert_array_equal(opened["energy"].values, ENERGIES)
        np.testing.assert_array_equal(opened["voxels"].values, DATA["attenuation"].values[at])


def test_sandbox_finds_what_it_looks_for_where_it_looks(sandbox: list[Path]) -> None:
    with h5py.File(sandbox[1]) as file:
        cube = file[f"{CUBE}/registered_xanes3D"]
        assert (cube.dtype, cube.chunks, cube.shape) == (np.float32, None, (len(ENERGIES), *SHAPE))
        line = file[f"{SPECTRA}/wl_pos_fit"]
        assert (line.dtype, line.shape) == (np.float32, SHAPE)
        np.testing.assert_array_equal(line[()], DATA["white_line_energy"].values[1])
        # an uncertainty is not the misfit that TXM-Sandbox calls wl_fit_err
        assert "wl_fit_err" not in file[SPECTRA]
        np.testing.assert_array_equal(
            file[f"{SPECTRA}/white_line_energy_std"][()], DATA["white_line_energy_std"].values[1]
        )
        mask = file["processed_XANES3D/gen_masks/particle_mask/particle_mask"]
        assert mask.dtype == np.int8
        np.testing.assert_array_equal(mask[()], DATA["particle_mask"].values[1])
        for place in (CUBE, "trial_registration/trial_reg_parameters", "processed_XANES3D/proc_parameters"):
            np.testing.assert_array_equal(file[f"{place}/eng_list"][()], ENERGIES)


def test_sandbox_gets_the_sum_of_coefficients_without_energies_that_were_not_measured(
    study: Study, tmp_path: Path
) -> None:
    _, attenuation = coefficient_arrays()
    paths = export(study, tmp_path, Choice("txm-sandbox", ("sums",)))
    for at, path in enumerate(paths):
        measured = np.isfinite(attenuation[at]).all(axis=(1, 2, 3))
        opened = open_raw([path])
        np.testing.assert_array_equal(opened["energy"].values, ENERGIES[measured])
        np.testing.assert_allclose(opened["voxels"].values, attenuation[at, measured], rtol=1e-5, atol=1e-6)


def test_sandbox_writes_named_maps_beside_the_cube(study: Study, tmp_path: Path) -> None:
    paths = export(study, tmp_path, Choice("txm-sandbox", ("rod",), ("white_line_difference", "white_line_half")))
    with h5py.File(paths[1]) as file:
        assert set(file[SPECTRA]) == {"white_line_difference", "white_line_half"}
        np.testing.assert_array_equal(
            file[f"{SPECTRA}/white_line_difference"][()], DATA["white_line_difference"].values
        )
        np.testing.assert_array_equal(file[f"{SPECTRA}/white_line_half"][()], DATA["white_line_half"].values[:, 1])
        assert f"{CUBE}/registered_xanes3D" in file


def test_sandbox_is_refused_without_energies(study: Study, tmp_path: Path) -> None:
    with pytest.raises(CathoscopeError, match="tomo has no attenuation at several energies") as raised:
        export(study, tmp_path, Choice("txm-sandbox", ("tomo",)))
    assert "--as hdf5" in str(raised.value)
    assert list(tmp_path.iterdir()) == []
