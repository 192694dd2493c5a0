from __future__ import annotations

from dataclasses import replace
from math import pi

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.specimen import Grid, Sphere, SpheresSpecimen
from cathoscope.virtual.spectra import nickel_spectrum

SPECTRUM = nickel_spectrum(jump=0.06, background=0.03, line_energy=8350.0)
BALL = Sphere("ball", (1.3, -2.1, 0.4), 3.0, (SPECTRUM,))
HOLLOW = Sphere("hollow", (-2.2, 1.7, -0.3), 3.4, (SPECTRUM,), 1.9)
GRID = Grid(columns=40, rows=30, pixel_size=0.4)


def test_grids_are_centred_on_the_rotation_axis() -> None:
    for count in (7, 8):
        positions = GRID.positions(count)
        assert positions.sum() == pytest.approx(0)
        np.testing.assert_allclose(np.diff(positions), GRID.pixel_size)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.5, 8), st.floats(0, 0.95))
def test_chords_add_up_to_the_volume(radius: float, hollow: float) -> None:
    sphere = Sphere("any", (0.0, 0.0, 0.0), radius, (SPECTRUM,), hollow * radius)
    volume, _ = quad(
        lambda d: 2 * pi * d * float(sphere.chord(d)), 0, radius, points=[hollow * radius], limit=200, epsrel=1e-10
    )
    assert volume == pytest.approx(sphere.volume, rel=1e-6)


def test_the_longest_chord_is_the_diameter_less_that_of_the_hollow() -> None:
    np.testing.assert_allclose(HOLLOW.chord([0.0, 3.4, 10.0]), [2 * (3.4 - 1.9), 0, 0])
    # just outside the hollow the ray crosses the most material
    assert HOLLOW.chord(1.9) == pytest.approx(2 * np.sqrt(3.4**2 - 1.9**2))


@pytest.mark.parametrize("sphere", [BALL, HOLLOW])
def test_voxels_hold_the_volume_and_its_centre(sphere: Sphere) -> None:
    (block, filled), *_ = SpheresSpecimen((sphere,), (25.0,)).fractions(GRID)
    assert filled.min() == 0
    assert filled.max() == pytest.approx(1)
    assert filled.sum() * GRID.pixel_size**3 == pytest.approx(sphere.volume, rel=1e-3)
    axes = [GRID.positions(count)[part] for count, part in zip(GRID.shape, block, strict=True)]
    for axis, positions, centre in zip(range(3), axes, sphere.centre[::-1], strict=True):
        profile = filled.sum(axis=tuple({0, 1, 2} - {axis}))
        assert (profile * positions).sum() / profile.sum() == pytest.approx(centre, abs=2e-3)


def test_finer_probing_converges_to_the_volume() -> None:
    errors = []
    for sub_voxels in (1, 8):
        (_, filled), *_ = SpheresSpecimen((replace(BALL, radius=1.0),), (25.0,)).fractions(GRID, sub_voxels)
        errors.append(abs(filled.sum() * GRID.pixel_size**3 / replace(BALL, radius=1.0).volume - 1))
    assert errors[1] < errors[0]
    assert errors[1] < 2e-3


def test_attenuation_is_by_sphere_and_energy() -> None:
    other = replace(HOLLOW, centre=(-4.0, 4.0, 0.0), spectra=(SPECTRUM, SPECTRUM.moved(-2.0)))
    specimen = SpheresSpecimen((replace(BALL, spectra=(SPECTRUM, SPECTRUM)), other), (25.0, 150.0))
    energies = np.array([8340.0, 8350.0])
    np.testing.assert_array_equal(
        specimen.attenuation(1, energies), [SPECTRUM.attenuation(energies), SPECTRUM.moved(-2.0).attenuation(energies)]
    )


@pytest.mark.parametrize(("radius", "inner"), [(-1.0, 0.0), (0.0, 0.0), (1.0, 1.0), (1.0, -0.1)])
def test_impossible_radii_are_refused(radius: float, inner: float) -> None:
    with pytest.raises(CathoscopeError, match="radius"):
        Sphere("odd", (0.0, 0.0, 0.0), radius, (SPECTRUM,), inner)


def test_spheres_may_nest_but_not_overlap() -> None:
    core = Sphere("core", HOLLOW.centre, 1.0, (SPECTRUM,))
    for order in ((HOLLOW, core), (core, HOLLOW)):
        assert SpheresSpecimen(order, (25.0,)).spheres == order
    with pytest.raises(CathoscopeError, match="overlap"):
        SpheresSpecimen((HOLLOW, replace(core, radius=2.0)), (25.0,))


def test_a_spectrum_per_temperature_is_needed() -> None:
    with pytest.raises(CathoscopeError, match="one spectrum per temperature"):
        SpheresSpecimen((BALL,), (25.0, 150.0))


@pytest.mark.parametrize("centre", [(5.0, 0.0, 0.0), (0.0, -5.0, 0.0), (0.0, 0.0, 3.5), (0.0, 0.0, -3.5)])
def test_a_sphere_that_leaves_the_detector_is_refused(centre: tuple[float, float, float]) -> None:
    inside = SpheresSpecimen((replace(BALL, centre=(0.0, 0.0, 0.0)),), (25.0,))
    inside.require_within(GRID, sideways=2.0)
    with pytest.raises(CathoscopeError, match="leaves the field of view"):
        SpheresSpecimen((replace(BALL, centre=centre),), (25.0,)).require_within(GRID, sideways=2.0)


@pytest.mark.parametrize(("columns", "rows", "pixel_size"), [(3, 10, 0.4), (10, 3, 0.4), (10, 10, 0.0)])
def test_impossible_detectors_are_refused(columns: int, rows: int, pixel_size: float) -> None:
    with pytest.raises(CathoscopeError, match="pixels"):
        Grid(columns, rows, pixel_size)
