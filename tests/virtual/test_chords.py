from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cathoscope.virtual import chords
from cathoscope.virtual.chords import projected_centres, transmission
from cathoscope.virtual.specimen import Grid, Sphere, SpheresSpecimen
from cathoscope.virtual.spectra import nickel_spectrum

SPECTRUM = nickel_spectrum(jump=0.06, background=0.03, line_energy=8350.0)
BALL = Sphere("ball", (2.3, -1.1, 0.4), 2.4, (SPECTRUM,))
HOLLOW = Sphere("hollow", (-2.9, 1.7, -0.3), 2.2, (SPECTRUM,), 1.3)
PAIR = SpheresSpecimen((BALL, HOLLOW), (25.0,))
GRID = Grid(columns=48, rows=26, pixel_size=0.3)
ANGLES = np.array([0.0, 33.0, 90.0, 151.5, 180.0])
AXIS = 24.7


def centres_of(specimen: SpheresSpecimen, grid: Grid = GRID, axis: float = AXIS) -> NDArray[np.float64]:
    still = np.zeros(ANGLES.size)
    return projected_centres(specimen, grid, angles=ANGLES, axis_column=still + axis, row_shift=still)


def project(specimen: SpheresSpecimen, attenuation: list[float], sub_pixels: int) -> NDArray[np.float64]:
    return transmission(
        specimen, GRID, attenuation=np.array(attenuation), centres=centres_of(specimen), sub_pixels=sub_pixels
    )


def test_compiled_and_interpreted_loops_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = project(PAIR, [0.1, 0.2], 2)
    monkeypatch.setattr(chords, "_add_optical_depth", chords._add_optical_depth.py_func)
    interpreted = transmission(
        PAIR,
        GRID,
        attenuation=np.array([0.1, 0.2]),
        centres=centres_of(PAIR),
        sub_pixels=2,
        kernel=chords._transmit.py_func,
    )
    np.testing.assert_allclose(interpreted, compiled, rtol=1e-13)


def test_a_single_ray_per_pixel_obeys_beer_and_lambert() -> None:
    attenuation = [0.1, 0.2]
    rows, columns = np.meshgrid(np.arange(GRID.rows), np.arange(GRID.columns), indexing="ij")
    theta = np.radians(ANGLES)
    depth = np.zeros((ANGLES.size, GRID.rows, GRID.columns))
    for sphere, mu in zip(PAIR.spheres, attenuation, strict=True):
        x, y, z = sphere.centre
        aside = (columns - AXIS) * GRID.pixel_size - (x * np.cos(theta) + y * np.sin(theta))[:, None, None]
        up = (rows - (GRID.rows - 1) / 2) * GRID.pixel_size - z
        depth += mu * sphere.chord(np.hypot(aside, up))
    passed = project(PAIR, attenuation, 1)
    np.testing.assert_allclose(passed, np.exp(-depth), rtol=1e-12)
    np.testing.assert_allclose(-np.log(passed), depth, atol=1e-12)


@pytest.mark.parametrize("sphere", [BALL, HOLLOW])
def test_every_projection_holds_the_whole_volume(sphere: Sphere) -> None:
    thin = 1e-5  # 1/um, so thin that intensity is linear in path to 1e-5
    passed = project(SpheresSpecimen((sphere,), (25.0,)), [thin], 4)
    volumes = -np.log(passed).sum(axis=(1, 2)) / thin * GRID.pixel_size**2
    np.testing.assert_allclose(volumes, sphere.volume, rtol=1e-3)


def test_the_centre_of_mass_traces_the_sinusoid_of_the_conventions() -> None:
    path = -np.log(project(SpheresSpecimen((BALL,), (25.0,)), [1e-5], 4))
    theta = np.radians(ANGLES)
    column = (path.sum(axis=1) * np.arange(GRID.columns)).sum(axis=1) / path.sum(axis=(1, 2))
    row = (path.sum(axis=2) * np.arange(GRID.rows)).sum(axis=1) / path.sum(axis=(1, 2))
    x, y, z = BALL.centre
    np.testing.assert_allclose(column, AXIS + (x * np.cos(theta) + y * np.sin(theta)) / GRID.pixel_size, atol=5e-3)
    np.testing.assert_allclose(row, (GRID.rows - 1) / 2 + z / GRID.pixel_size, atol=5e-3)


def test_half_a_turn_mirrors_the_projection() -> None:
    middle = (GRID.columns - 1) / 2
    first, *_, last = transmission(
        PAIR, GRID, attenuation=np.array([0.1, 0.2]), centres=centres_of(PAIR, axis=middle), sub_pixels=2
    )
    np.testing.assert_allclose(last, first[:, ::-1], rtol=1e-9)


def test_a_pixel_is_the_mean_intensity_of_finer_pixels() -> None:
    factor = 3
    fine = Grid(GRID.columns * factor, GRID.rows * factor, GRID.pixel_size / factor)
    # pixel c covers the finer pixels 3c, 3c+1, 3c+2: their middle is at 3c+1
    fine_centres = centres_of(PAIR, fine, axis=factor * AXIS + 1)
    attenuation = np.array([0.3, 0.4])
    single = transmission(PAIR, fine, attenuation=attenuation, centres=fine_centres, sub_pixels=1)
    means = single.reshape(ANGLES.size, GRID.rows, factor, GRID.columns, factor).mean(axis=(2, 4))
    np.testing.assert_allclose(project(PAIR, [0.3, 0.4], factor), means, rtol=1e-9)


def test_displacements_move_the_image_by_whole_pixels() -> None:
    still = np.zeros(ANGLES.size)
    moved = projected_centres(PAIR, GRID, angles=ANGLES, axis_column=still + AXIS - 2, row_shift=still + 1)
    passed = transmission(PAIR, GRID, attenuation=np.array([0.1, 0.2]), centres=moved, sub_pixels=2)
    np.testing.assert_allclose(passed, np.roll(project(PAIR, [0.1, 0.2], 2), (1, -2), axis=(1, 2)), rtol=1e-9)
