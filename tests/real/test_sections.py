"""Particles of a measured slice of an electrode, and scale bars of a table-top microscope."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cathoscope.core.errors import MeasurementError
from cathoscope.io.scale_bar import caption_rows, read_scale_bar
from cathoscope.volume.particles_2d import ParticleMap, find_particles
from cathoscope.volume.particles_2d_table import SectionedParticles, measure_particles, section_population

PIXEL = 0.1  # um; the file does not say it, the papers 0.05 or 0.1
# Rows and columns of particles that a person finds in the slice, and what they show.
HOLLOW = [(115, 165), (100, 310), (100, 925), (110, 1255), (198, 1060), (120, 1558), (300, 1895), (320, 857)]
DENSE = [(116, 1805), (365, 1340), (450, 1615), (372, 1165), (525, 640)]
BROKEN = [(445, 340), (515, 200)]


@pytest.fixture(scope="module")
def slice_of_cathode(data_folder: Path) -> np.ndarray:
    return np.asarray(Image.open(data_folder / "imaging" / "nmc811-nanoholo-slice" / "example_xy.tif"))


@pytest.fixture(scope="module")
def particles(slice_of_cathode: np.ndarray) -> tuple[ParticleMap, SectionedParticles]:
    found = find_particles(slice_of_cathode, pixel=PIXEL, smallest_diameter=2.0)
    return found, measure_particles(slice_of_cathode, found, pixel=PIXEL)


def at(found: ParticleMap, row: int, column: int) -> int:
    return int(found.labels[row, column]) - 1


def test_particles_are_those_that_a_person_sees(particles: tuple[ParticleMap, SectionedParticles]) -> None:
    found, measured = particles
    assert 55 <= found.count <= 75
    # the corners beyond the reconstruction are no field
    assert not found.field[5, 5]
    assert not found.field[-5, -5]
    named = [at(found, *place) for place in HOLLOW + DENSE + BROKEN]
    assert min(named) >= 0
    assert len(set(named)) == len(named)
    assert np.median(measured.diameter) == pytest.approx(10, abs=2.5)
    whole = measured.diameter[~measured.cut]
    assert whole.max() < 21  # neighbours that touch are apart


def test_hollow_cracked_and_dense_ones_are_told(particles: tuple[ParticleMap, SectionedParticles]) -> None:
    found, measured = particles
    assert sum(measured.hollow[at(found, *place)] for place in HOLLOW) >= len(HOLLOW) - 1
    dense = [at(found, *place) for place in DENSE]
    assert not measured.hollow[dense].any()
    assert measured.porosity[dense].max() < 0.06
    broken = [at(found, *place) for place in BROKEN]
    assert measured.cracked[broken].all()
    assert measured.porosity[broken].min() > measured.porosity[dense].max()


def test_particles_differ_by_more_than_they_are_uncertain(particles: tuple[ParticleMap, SectionedParticles]) -> None:
    of_all = section_population(particles[1])
    assert of_all.porosity_spread.value > 3 * of_all.porosity_spread.std
    assert 0.04 < of_all.porosity.value < 0.13


def test_scale_bars_of_the_microscope_are_read(data_folder: Path) -> None:
    files = sorted((data_folder / "imaging" / "sem-ncm-electrodes").glob("*.jpg"))
    assert len(files) == 18
    for file in files[::6]:
        image = np.asarray(Image.open(file).convert("L"))
        found = read_scale_bar(image)
        assert found.length == 100.0
        assert found.text == "100 um"
        assert found.length_px == pytest.approx(377, abs=1.5)
        assert found.caption == (896, 960)
        assert caption_rows(image[:896]) is None


def test_the_surface_of_an_electrode_is_no_section(data_folder: Path) -> None:
    # rims are bright and faces as grey as the gaps: no level parts oxide from the rest, and that is said
    file = data_folder / "imaging" / "sem-ncm-electrodes" / "523_cycled__ETRI_ 20 kV_SE_x500 __25.jpg"
    image = np.asarray(Image.open(file).convert("L"))[:448, :640]
    with pytest.raises(MeasurementError, match="cannot be told apart"):
        find_particles(image, pixel=0.265, smallest_diameter=4.0)
