"""Drawn particles measured by lines and points against the constants of the Poisson-Voronoi tessellation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cathoscope.virtual.grains import Grains, draw_grains
from cathoscope.virtual.particle import GRAVEL, H_NMC, ROD, ParticleDesign
from cathoscope.virtual.radial_span import _longest_run, radial_span
from tests.virtual.stereology import (
    Crossings,
    grain_volumes,
    isotropic_crossings,
    orientation_order,
    radial_crossings,
    tangential_crossings,
    volume_fractions,
)

SIZE = 0.35


@pytest.fixture(scope="module")
def voronoi() -> Grains:
    """Some 7000 equal cells; measured well inside, where no surface cuts them."""
    return draw_grains(ParticleDesign("gravel", diameter=8.0, grain_size=SIZE), 1)


@pytest.fixture(scope="module")
def rod() -> Grains:
    return draw_grains(ROD, 1)


@pytest.fixture(scope="module")
def gravel() -> Grains:
    return draw_grains(GRAVEL, 1)


def test_lines_find_the_constants_of_the_poisson_voronoi_tessellation(voronoi: Grains) -> None:
    # Meijering 1953, Gilbert 1962: S_V = 2.910 lambda^(1/3), mean intercept 0.6872 lambda^(-1/3)
    lines = isotropic_crossings(voronoi, lines=800, seed=2, within=3.4)
    assert lines.mean_intercept / SIZE == pytest.approx(0.6872, rel=0.015)
    assert lines.area_per_volume * SIZE == pytest.approx(2.910, rel=0.015)


def test_volumes_vary_as_in_the_poisson_voronoi_tessellation(voronoi: Grains) -> None:
    # Gilbert 1962: the second moment of the volume is 1.179 / lambda^2
    volumes = grain_volumes(voronoi, spacing=0.06)
    inner = np.linalg.norm(voronoi.positions, axis=1) < 3.2
    relative = volumes[inner] / SIZE**3
    assert inner.sum() > 2800
    assert relative.mean() == pytest.approx(1, abs=0.03)
    assert relative.var() / relative.mean() ** 2 == pytest.approx(0.179, rel=0.07)


def test_a_spread_of_weights_makes_volumes_vary_more() -> None:
    base = ParticleDesign("gravel", diameter=6.0, grain_size=0.5)
    variances = []
    for spread in (0.0, 0.15, 0.3):
        grains = draw_grains(replace(base, grain_spread=spread), 3)
        volumes = grain_volumes(grains, spacing=0.08)[np.linalg.norm(grains.positions, axis=1) < 2.2]
        volumes = volumes[volumes > 0]
        variances.append(volumes.var() / volumes.mean() ** 2)
    assert variances[0] < variances[1] < variances[2]


def test_volumes_add_up_to_the_particle(gravel: Grains) -> None:
    shell = GRAVEL.envelope_volume - 4 / 3 * np.pi * GRAVEL.core_radius**3
    assert grain_volumes(gravel, spacing=0.1).sum() == pytest.approx(shell, rel=0.005)


def test_rods_are_elongated_along_the_radius_and_gravel_is_not(rod: Grains, gravel: Grains) -> None:
    ratios = [
        radial_crossings(grains, lines=300, seed=1).mean_intercept
        / tangential_crossings(grains, lines=40, seed=1).mean_intercept
        for grains in (rod, gravel)
    ]
    assert ratios[0] > 5
    assert ratios[1] == pytest.approx(1, abs=0.06)


def test_long_rods_have_the_stated_width_and_aspect() -> None:
    # many rods along the radius: stationary in the embedding, where cells are Poisson-Voronoi
    design = ParticleDesign("rod", diameter=16.0, core_radius=2.0, grain_size=0.5, aspect=3.0)
    grains = draw_grains(design, 1)
    along = radial_crossings(grains, lines=500, seed=1).mean_intercept
    across = tangential_crossings(grains, lines=20, seed=1).mean_intercept
    assert across == pytest.approx(0.6872 * 0.5, rel=0.04)
    # seeds lie between core and surface only, so that the outermost rods are longer by up to half a length
    assert 0.6872 * 1.5 * 0.98 < along < 0.6872 * 1.5 * 1.35


def test_width_grows_in_proportion_to_the_radius(rod: Grains) -> None:
    widths = [tangential_crossings(rod, lines=40, seed=1, radius=r).mean_intercept for r in (2.6, 3.9)]
    assert widths[1] / widths[0] == pytest.approx(1.5, rel=0.08)


def test_rods_span_the_shell_and_gravel_does_not(rod: Grains, gravel: Grains) -> None:
    assert radial_span(rod) > 0.8
    assert radial_span(gravel) < 0.3
    longer = draw_grains(replace(ROD, aspect=60.0), 1)
    assert radial_span(longer) > 0.97


@pytest.mark.parametrize("alignment", [0.0, 0.5, 0.97])
def test_the_order_parameter_over_the_volume_is_the_alignment(alignment: float) -> None:
    grains = draw_grains(replace(ROD, alignment=alignment, grain_size=0.3), 2)
    # the radius turns across a rod: with independent turns the order parameters multiply
    radial = grains.positions / np.linalg.norm(grains.positions, axis=1, keepdims=True)
    own = 1.5 * np.sum(radial * grains.in_plane, axis=1) ** 2 - 0.5
    assert orientation_order(grains) == pytest.approx(own.mean(), abs=4 * own.std() / np.sqrt(grains.count) + 0.01)


@pytest.mark.parametrize("design", [ROD, H_NMC], ids=["rod", "H"])
def test_volume_fractions_are_those_of_the_design(design: ParticleDesign) -> None:
    shares = volume_fractions(draw_grains(design, 1), points=40_000)
    assert sum(shares.values()) == pytest.approx(1)
    error = 4 / np.sqrt(40_000)
    core = (design.core_radius / design.radius) ** 3
    assert shares["core"] == pytest.approx(core, abs=error * np.sqrt(core) + 1e-12)
    assert shares["pore"] == pytest.approx(design.porosity, abs=error * np.sqrt(design.porosity) + 1e-12)
    assert (shares["crack"] > 0) == (design.crack_share > 0)


def test_crack_area_is_the_open_share_of_the_boundary() -> None:
    grains = draw_grains(replace(GRAVEL, diameter=6.0, core_radius=0.0, crack_share=0.4, crack_share_surface=0.4), 1)
    lines = isotropic_crossings(grains, lines=800, seed=1)
    pairs = np.unique(np.sort(lines.pairs, axis=1), axis=0)
    share = lines.crack_area_per_volume(grains) / lines.area_per_volume
    assert share == pytest.approx(0.4, abs=4 * np.sqrt(0.24 / len(pairs)) * 1.5)
    mean_opening = 0.06 * np.exp(0.4**2 / 2)
    assert lines.crack_volume_fraction(grains) == pytest.approx(
        lines.crack_area_per_volume(grains) * mean_opening, rel=0.05
    )


def test_boundary_area_by_lines_is_that_of_faces_between_labels(voronoi: Grains) -> None:
    # on a cubic grid, faces between labels overestimate isotropic area by 3/2
    edge = 0.025
    axis = np.arange(-55, 55) * edge
    labels = voronoi.labels(np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1))
    faces = sum(np.count_nonzero(np.diff(labels, axis=direction)) for direction in range(3))
    by_faces = faces * edge**2 / (labels.size * edge**3) / 1.5
    lines = isotropic_crossings(voronoi, lines=400, seed=1, within=2.0)
    assert lines.area_per_volume == pytest.approx(by_faces, rel=0.04)


def test_crossings_of_nothing_have_an_infinite_intercept() -> None:
    none = Crossings(3.0, np.zeros((0, 3)), np.zeros((0, 2), dtype=np.int32))
    assert none.mean_intercept == np.inf
    assert none.area_per_volume == 0


def test_the_longest_run_is_found() -> None:
    assert _longest_run(np.array([1, 1, 2, 2, 2, 1], dtype=np.int32)) == 3
    assert _longest_run(np.array([4], dtype=np.int32)) == 1
    assert _longest_run(np.array([5, 5, 5, 7], dtype=np.int32)) == 3
