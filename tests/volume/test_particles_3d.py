"""Particles of a field are told apart and measured: balls and ellipsoids whose sizes and places are known."""

from __future__ import annotations

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.schema import dataset, label
from cathoscope.core.study import Study, Work
from cathoscope.flow.graph import Context
from cathoscope.flow.raw import RawMeasurement
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps.particles_3d import asked_for, particles
from cathoscope.volume.particles_3d import particle_table, separated
from tests.volume.test_particle import BALLS, UM, balls, points


def test_particles_are_told_apart_and_measured():
    labels = separated(balls(), voxel_size=UM, closing_radius=0.1)
    table = particle_table(labels, voxel_size=UM)
    assert table.volume.size == 4
    order = [0, 2, 1, 3]
    for row, number in enumerate(order):
        centre, radius = BALLS[number]
        assert bool(table.cut[row]) == (number == 3)
        if number == 3:
            assert set(table.faces[row]) == {"z low"}
            continue
        assert table.equivalent_diameter[row] == pytest.approx(2 * radius, rel=0.02)
        assert table.position[row] == pytest.approx(np.array(centre), abs=0.03)
        assert table.sphericity[row] == pytest.approx(1.0, abs=0.01)
        assert table.elongation[row] == pytest.approx(1.0, abs=0.06)


def test_ellipsoid_has_its_axes():
    where = points((64, 40, 40), UM, (1.6, 1.0, 1.0))
    labels = (np.sum((where / (1.4, 0.7, 0.7)) ** 2, axis=-1) < 1).astype(np.int32)
    table = particle_table(labels, voxel_size=UM)
    assert table.elongation[0] == pytest.approx(2.0, rel=0.01)
    # prolate spheroid 2:1, S = 2 pi a^2 (1 + c / (a e) asin e)
    e = np.sqrt(0.75)
    surface = 2 * np.pi * (1 + 2 / e * np.arcsin(e))
    assert table.sphericity[0] == pytest.approx(4 * np.pi * 2 ** (2 / 3) / surface, rel=0.01)


def test_small_pieces_can_be_dropped():
    labels = separated(balls(), voxel_size=UM, closing_radius=0.1, least_diameter=1.1)
    assert labels.max() == 2
    with pytest.raises(MeasurementError, match="large enough"):
        separated(balls(), voxel_size=UM, closing_radius=0.1, least_diameter=9.0)


def test_no_label_is_no_table():
    with pytest.raises(MeasurementError, match="no particle in the labels"):
        particle_table(np.zeros((4, 4, 4), np.int32), voxel_size=UM)


def test_the_step_tells_all_particles_of_a_field(tmp_path):
    """With places as the volume has them, whose middle is 0."""
    grey = balls() + 0.05 * np.random.default_rng(1).standard_normal((64, 64, 64))
    axis = (np.arange(64) - 31.5) * UM[0]
    volume = label("attenuation", grey.astype(np.float32), ("z", "y", "x"), coords=dict.fromkeys("zyx", axis))
    stated = {"sample": "rod", "technique": "tomography", "files": ["x"]}
    section = MeasurementSection(**stated, morphology={"all_particles": True, "closing_radius": "0.1 um"})
    work = Work(Study.create(tmp_path / "study.zarr"), "result", "rod", "address")
    raw = RawMeasurement("rod", section)
    context = Context("rod", raw, dataset([volume]), section, tmp_path, (), work, Resources(), Silent())
    found = particles(context)
    assert found["particle_at_border"].values.tolist() == [False, False, False, True]
    (z, y, x), radius = BALLS[0]
    first = found.isel(particle=0)
    assert float(first["particle_envelope_volume"]) == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.05)
    place = [float(first[f"particle_{dim}"]) for dim in "zyx"]
    assert place == pytest.approx([one - 1.6 for one in (z, y, x)], abs=0.03)
    assert int(found["particle_number"].values[20, 22, 20]) == 1
    assert asked_for(section) == ("particle_envelope_volume",)
    assert asked_for(MeasurementSection(**stated)) == ()
    with pytest.raises(ValueError, match="all_particles is for"):
        MeasurementSection(sample="rod", technique="sem-section", files=["x"], morphology={"all_particles": True})
