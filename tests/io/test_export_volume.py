from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import CathoscopeError, StudyError
from cathoscope.core.parallel import SLAB_ROWS, Resources
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study
from cathoscope.io.export_volume import Block, Volume, blocks_of, bytes_per_row, channel_names, volumes_of
from tests.io.export_studies import (
    ENERGIES,
    PIXEL,
    SHAPE,
    TEMPERATURES,
    coefficient_arrays,
    every_kind,
    study_of,
    tomography_arrays,
    xanes_arrays,
)

ALL = slice(None)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return every_kind(tmp_path_factory.mktemp("volumes") / "study.zarr")


def one(study: Study, measurement: str, name: str) -> Volume:
    (volume,) = volumes_of(study, measurement, [name])
    return volume


def test_arrays_without_a_name_are_the_usual_ones(study: Study) -> None:
    names = [volume.name for volume in volumes_of(study, "rod")]
    assert names == ["white_line_energy", "white_line_energy_std", "particle_mask", "attenuation"]
    assert [volume.name for volume in volumes_of(study, "tomo")] == ["attenuation"]


def test_a_block_is_the_array_with_its_axes_in_order(study: Study) -> None:
    data = xanes_arrays()
    block = Block(1, slice(0, 2), slice(8, 16))
    expected = data["attenuation"].values[1, 0:2, 8:16]
    np.testing.assert_array_equal(one(study, "rod", "attenuation").read(block), expected)
    # on disk the half comes before the temperature
    halves = one(study, "rod", "white_line_half")
    assert halves.dims == ("temperature", "half", "z", "y", "x")
    np.testing.assert_array_equal(halves.read(block), data["white_line_half"].values[0:2, 1, 8:16])
    step = one(study, "rod", "white_line_difference")
    assert step.dims == ("step", "z", "y", "x")
    plain = one(study, "tomo", "attenuation")
    np.testing.assert_array_equal(plain.read(Block(0, ALL, ALL))[0], tomography_arrays()["attenuation"].values)


def test_a_volume_knows_where_its_voxels_lie(study: Study) -> None:
    volume = one(study, "rod", "attenuation")
    assert volume.voxel_size == pytest.approx((PIXEL,) * 3)
    assert volume.full_shape == (2, len(ENERGIES), *SHAPE)
    np.testing.assert_array_equal(volume.temperatures, TEMPERATURES)
    assert channel_names(volume)[2] == "8349.125 eV"
    assert channel_names(one(study, "rod", "white_line_half")) == ["half 0", "half 1"]
    assert channel_names(one(study, "tomo", "attenuation")) == ["attenuation"]


def test_a_single_layer_is_as_thick_as_voxels_are_wide(tmp_path: Path) -> None:
    volume = one(study_of(tmp_path / "s.zarr", flat=tomography_arrays(shape=(1, 8, 8))), "flat", "attenuation")
    assert volume.voxel_size == pytest.approx((PIXEL,) * 3)


def test_attenuation_is_summed_up_from_coefficients(study: Study) -> None:
    _, attenuation = coefficient_arrays()
    volume = one(study, "sums", "attenuation")
    assert volume.dims == ("temperature", "energy", "z", "y", "x")
    for at in range(2):
        found = volume.read(Block(at, slice(0, 5), ALL))
        np.testing.assert_allclose(found, attenuation[at], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(volume.measured(at), np.isfinite(attenuation[at]).all(axis=(1, 2, 3)))
        # a part is the part of the whole, bit for bit
        np.testing.assert_array_equal(volume.read(Block(at, slice(1, 3), slice(0, 8))), found[1:3])


def test_attenuation_is_summed_up_only_if_asked_for(study: Study) -> None:
    assert [volume.name for volume in volumes_of(study, "sums", expand=True)] == ["attenuation"]
    with pytest.raises(CathoscopeError, match="none of the arrays that are exported") as raised:
        volumes_of(study, "sums")
    assert "spectral_coefficient, attenuation" in str(raised.value)


def test_an_unknown_array_lists_those_that_are_there(study: Study) -> None:
    with pytest.raises(CathoscopeError, match="rod has no array atenuation") as raised:
        volumes_of(study, "rod", ["atenuation"])
    assert "grain_label, particle_mask, white_line_difference" in str(raised.value)
    assert raised.value.exit_code == 2


def test_an_array_without_voxels_is_refused_and_said_so(study: Study) -> None:
    with pytest.raises(CathoscopeError, match=r"white_line_mean of rod has no voxels \(z, y, x\)"):
        volumes_of(study, "rod", ["white_line_mean"])


def test_a_measurement_without_volumes_is_refused(tmp_path: Path) -> None:
    flat = study_of(tmp_path / "s.zarr", bulk=dataset([label("edge_step", np.ones(3), ("spectrum",))]))
    with pytest.raises(StudyError, match="bulk holds no array with voxels") as raised:
        volumes_of(flat, "bulk")
    assert "found:    edge_step" in str(raised.value)


def test_an_array_of_two_more_dims_is_refused(tmp_path: Path) -> None:
    arrays = xanes_arrays()[["white_line_half"]].expand_dims(step=[1]).rename(white_line_half="voxels")
    path = tmp_path / "s.zarr"
    with pytest.raises(CathoscopeError, match="more dims than an export takes") as raised:
        volumes_of(study_of(path, odd=arrays), "odd", ["voxels"])
    assert "step, half, temperature, z, y, x" in str(raised.value)


def test_a_volume_without_coordinates_has_no_voxel_size(tmp_path: Path) -> None:
    bare = tomography_arrays().drop_vars(["z", "y", "x"])
    volume = one(study_of(tmp_path / "s.zarr", bare=bare), "bare", "attenuation")
    assert volume.voxel_size is None
    assert volume.position == {}


def test_energies_that_were_not_measured_are_known_by_their_noise(tmp_path: Path) -> None:
    std = np.full((2, len(ENERGIES)), 0.1)
    std[1, 3] = np.nan
    coords = {"temperature": TEMPERATURES, "energy": ENERGIES}
    noise = label("attenuation_std", std, ("temperature", "energy"), coords=coords, std_source="half-set")
    volume = one(study_of(tmp_path / "s.zarr", rod=xanes_arrays().assign(attenuation_std=noise)), "rod", "attenuation")
    assert volume.measured(0).all()
    assert volume.measured(1).tolist() == [True, True, True, False, True]


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 70), st.integers(1, 60), st.integers(1, 60)),
    n_channels=st.integers(1, 70),
    besides=st.integers(0, 10),
    megabytes=st.integers(100, 400),
    threads=st.integers(1, 30),
)
def test_blocks_cover_every_value_once_within_the_memory(
    shape: tuple[int, int, int], n_channels: int, besides: int, megabytes: int, threads: int
) -> None:
    volume = Volume(
        measurement="rod",
        name="attenuation",
        dtype=np.dtype(np.float64),
        shape=shape,
        temperatures=TEMPERATURES,
        channel="energy",
        channels=np.arange(n_channels),
        position={},
        attrs={},
        read=lambda block: np.empty(0),
        measured=lambda at: np.ones(n_channels, dtype=bool),
        besides=besides,
    )
    resources = Resources(threads=threads, memory=megabytes * 1e6)
    seen = np.zeros((2, n_channels, shape[0]), dtype=int)
    for block in blocks_of(volume, temperature=None, resources=resources):
        seen[block.temperature, block.channels, block.rows] += 1
        assert block.rows.start % SLAB_ROWS == 0
        count, rows = block.channels.stop - block.channels.start, block.rows.stop - block.rows.start
        thinnest = count == 1 and rows <= SLAB_ROWS
        assert thinnest or rows * bytes_per_row(volume, count) <= resources.memory / threads
    assert (seen == 1).all()
    first = blocks_of(volume, temperature=1, resources=resources)
    assert {block.temperature for block in first} == {1}
