"""Designs that cannot be are refused with a cure; rough surfaces keep the volume of their sphere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.particle import (
    GRAVEL,
    H_NMC,
    L_NMC,
    ROD,
    ParticleDesign,
    Surface,
    _surface_radii,
    draw_surface,
    radius_towards,
)

BAD: list[tuple[dict[str, Any], str]] = [
    ({"diameter": -9.0}, "diameter"),
    ({"diameter": float("nan")}, "diameter"),
    ({"core_radius": 5.0}, "core_radius"),
    ({"core_radius": -0.1}, "core_radius"),
    ({"grain_size": 20.0}, "grain_size"),
    ({"grain_size": 0.0}, "grain_size"),
    ({"grain_spread": -0.1}, "grain_spread"),
    ({"roughness": 0.5}, "roughness"),
    ({"asphericity": 0.5}, "asphericity"),
    ({"alignment": 1.2}, "alignment"),
    ({"alignment": -0.2}, "alignment"),
    ({"aspect": 0.5}, "aspect"),
    ({"isotropic_radius": -0.1}, "isotropic_radius"),
    ({"isotropic_radius": 5.0}, "isotropic_radius"),
    ({"crack_share": 1.5}, "crack_share"),
    ({"crack_share_surface": -0.5}, "crack_share_surface"),
    ({"crack_opening": 0.4}, "crack_opening"),
    ({"crack_spread": -1.0}, "crack_spread"),
    ({"porosity": 1.2, "pore_shape": "bulky", "pore_radius": 3.0}, "porosity"),
    ({"porosity": 0.2, "pore_shape": "bulky", "pore_radius": 3.0}, "no room"),
    ({"porosity": 0.02}, "pore_shape"),
    ({"pore_shape": "bulky"}, "porosity"),
    ({"porosity": 0.02, "pore_shape": "foam", "pore_radius": 3.0}, "pore_shape"),
    ({"porosity": 0.02, "pore_shape": "bulky", "pore_radius": 1.0}, "pore_radius"),
    ({"porosity": 0.02, "pore_shape": "bulky", "pore_radius": 4.4}, "pore_radius"),
    ({"arrangement": "sand"}, "arrangement"),
    ({"core_composition": {"Ni": 0.8, "Fe": 0.2}}, "core_composition"),
    ({"shell_composition": {"Ni": -0.8, "Mn": 2.0}}, "shell_composition"),
    ({"core_composition": {}}, "core_composition"),
    ({"shell_start": 1.4}, "shell_start"),
]


@pytest.mark.parametrize(("change", "name"), BAD, ids=[str(change) for change, _ in BAD])
def test_an_impossible_design_is_refused_with_a_cure(change: dict[str, Any], name: str) -> None:
    with pytest.raises(CathoscopeError, match=name) as caught:
        replace(ROD, **change)
    assert caught.value.cure
    assert caught.value.found


def test_gravel_has_no_aspect() -> None:
    with pytest.raises(CathoscopeError, match="equiaxed"):
        replace(GRAVEL, aspect=2.0)
    with pytest.raises(CathoscopeError, match="equiaxed"):
        replace(GRAVEL, isotropic_radius=1.0)


def test_compositions_are_normalised() -> None:
    # Cadiou's L-NMC as printed sums to 1.04
    design = ParticleDesign("gravel", core_composition={"Ni": 0.68, "Mn": 0.18, "Co": 0.18})
    assert sum(design.core_composition.values()) == pytest.approx(1)
    assert design.core_composition["Ni"] == pytest.approx(0.68 / 1.04)
    assert design.shell_composition == design.core_composition


@pytest.mark.parametrize(("design", "nickel", "manganese"), [(L_NMC, 0.68, 0.18), (H_NMC, 0.75, 0.15)])
def test_core_and_shell_average_to_the_printed_composition(
    design: ParticleDesign, nickel: float, manganese: float
) -> None:
    edges = np.linspace(0, 1, 4001)
    shares = design.composition((edges[1:] + edges[:-1]) / 2)
    volumes = np.diff(edges**3)
    assert volumes @ shares["Ni"] == pytest.approx(nickel, abs=0.01)
    assert volumes @ shares["Mn"] == pytest.approx(manganese, abs=0.01)
    np.testing.assert_allclose(sum(shares.values()), 1)


def test_composition_goes_smoothly_from_core_to_shell() -> None:
    share = L_NMC.composition(np.linspace(0, 1, 200))["Ni"]
    assert share[0] == pytest.approx(0.80, abs=1e-3)
    assert share[-1] == pytest.approx(0.46, abs=0.01)
    assert (np.diff(share) <= 0).all()
    middle = L_NMC.composition(L_NMC.shell_start)["Ni"]
    assert middle == pytest.approx((0.80 + 0.46) / 2)
    np.testing.assert_allclose(ROD.composition([0.0, 0.5, 1.0])["Mn"], 0.06)


def fibonacci(count: int) -> np.ndarray:
    """Directions of equal solid angle on a golden spiral."""
    z = 1 - (2 * np.arange(count) + 1) / count
    azimuth = np.pi * (1 + 5**0.5) * np.arange(count)
    return np.stack([np.sqrt(1 - z * z) * np.cos(azimuth), np.sqrt(1 - z * z) * np.sin(azimuth), z], axis=1)


def surface(seed: int, *, roughness: float = 0.0, asphericity: float = 0.0) -> Surface:
    return draw_surface(
        4.5,
        roughness=roughness,
        asphericity=asphericity,
        wave_numbers=(8.0, 20.0),
        rng=np.random.default_rng(seed),
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_rough_surface_holds_the_volume_of_its_sphere(seed: int) -> None:
    rough = surface(seed, roughness=0.03, asphericity=0.05)
    radii = radius_towards(rough, fibonacci(40_000))
    assert np.mean(radii**3) == pytest.approx(4.5**3, rel=1e-4)
    assert radii.std() / radii.mean() == pytest.approx(np.hypot(0.03, 0.05), rel=0.15)
    assert rough.lowest < radii.min() < radii.max() < rough.highest


def test_roughness_and_asphericity_are_standard_deviations() -> None:
    directions = fibonacci(40_000)
    for options in ({"roughness": 0.02}, {"asphericity": 0.02}):
        radii = radius_towards(surface(5, **options), directions)
        assert radii.std() / radii.mean() == pytest.approx(0.02, rel=0.01)
    # the l = 2 shape is the same on opposite sides and has no odd part
    long = surface(5, asphericity=0.02)
    np.testing.assert_allclose(radius_towards(long, directions), radius_towards(long, -3 * directions))


def test_a_smooth_round_surface_is_a_sphere() -> None:
    round_one = surface(1)
    np.testing.assert_allclose(radius_towards(round_one, fibonacci(100)), 4.5, rtol=1e-12)
    assert round_one.lowest == pytest.approx(4.5)
    assert round_one.highest == pytest.approx(4.5)


def test_the_kernel_runs_as_python() -> None:
    rough, directions = surface(1, roughness=0.02, asphericity=0.02), np.vstack([fibonacci(5), np.zeros((1, 3))])
    radii = np.empty(6)
    _surface_radii.py_func(radii, rough, directions)
    np.testing.assert_allclose(radii, radius_towards(rough, directions), rtol=1e-14)
