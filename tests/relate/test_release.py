"""Release of oxygen from shells: closed forms, conservation, order of convergence, and time without time steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.physics.kinetics import arrhenius_from_temperature
from cathoscope.relate.release import Programme, levelling, modes_of_particle, responses, stepped_programme
from cathoscope.relate.release_table import Ranges, _multilinear, release_table


def _crank_sphere(time: np.ndarray) -> np.ndarray:
    """Mean of a sphere of radius 1, D = 1, surface at 1 from 0 on; Crank, The Mathematics of Diffusion, eq. 6.20."""
    n = np.arange(1, 400)
    return 1 - 6 / np.pi**2 * (np.exp(-np.outer(time, (n * np.pi) ** 2)) / n**2).sum(axis=1)


def test_a_sphere_releases_as_crank_has_it() -> None:
    time = np.array([0.01, 0.03, 0.1, 0.2])
    modes = modes_of_particle(radius=1.0, shells=160)
    mean = 1 - np.exp(-np.outer(time, modes.rate) / modes.release_time) @ modes.weight
    np.testing.assert_allclose(mean, _crank_sphere(time), atol=3e-4)
    assert modes.release_time == pytest.approx(1 / 15, rel=2e-4)


def test_the_error_falls_with_the_square_of_the_shells() -> None:
    errors = [modes_of_particle(radius=2.0, shells=n).release_time - 4 / 15 for n in (10, 20, 40)]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(orders, 2.0, atol=0.02)


def test_a_resisting_surface_makes_it_a_first_order_reaction() -> None:
    modes = modes_of_particle(radius=3.0, exchange=1e-5)
    assert modes.weight[0] == pytest.approx(1.0, abs=1e-6)
    assert modes.release_time == pytest.approx(3.0 / (3 * 1e-5), rel=1e-4)


def test_a_thin_wall_between_core_and_outside_is_a_slab() -> None:
    # slab of thickness L open on both sides: mean time L²/12, slowest rate pi²/L²
    modes = modes_of_particle(radius=100.0, core=99.0, shells=120)
    assert modes.release_time == pytest.approx(1 / 12, rel=1e-3)
    assert modes.rate[0] / modes.release_time == pytest.approx(np.pi**2, rel=1e-3)


def test_grains_that_touch_gas_cost_the_others_little_time() -> None:
    radius, core, skin = 3.0, 1.0, 0.4
    whole = modes_of_particle(radius=radius, core=core, skin=skin, shells=120)
    inner = modes_of_particle(radius=radius - skin, core=core + skin, shells=120)
    slow_share = inner.volume.sum() / whole.volume.sum()
    assert slow_share * inner.release_time < whole.release_time < 1.06 * slow_share * inner.release_time
    early = whole.release_time / 40  # the skin is through, the rest has hardly begun
    turned = 1 - np.exp(-whole.rate * early / whole.release_time) @ whole.weight
    assert turned == pytest.approx(1 - slow_share, abs=0.06)
    without = modes_of_particle(radius=radius, core=core)
    assert 1 - np.exp(-without.rate / 40) @ without.weight < 0.2


@settings(max_examples=25, deadline=None)
@given(
    radius=st.floats(0.5, 10.0),
    hollow=st.floats(0.0, 0.9),
    skin=st.floats(0.0, 1.0),
    length=st.floats(0.0, 3.0),
)
def test_nothing_is_lost_and_nothing_leaves_its_bounds(
    radius: float, hollow: float, skin: float, length: float
) -> None:
    modes = modes_of_particle(radius=radius, core=hollow * radius, skin=skin, shells=25)
    volume = 4 / 3 * np.pi * radius**3 * (1 - hollow**3)
    assert modes.volume.sum() == pytest.approx(volume)
    assert modes.weight.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(modes.shape.sum(axis=0), 1.0, atol=1e-8)
    np.testing.assert_allclose(modes.shape @ modes.volume / volume, modes.weight, atol=1e-9)
    assert (modes.weight / modes.rate).sum() == pytest.approx(1.0)  # the mean time is tau
    spread = levelling(modes, length)
    np.testing.assert_allclose(spread.sum(axis=1), 1.0, atol=1e-8)
    np.testing.assert_allclose(modes.volume @ spread, modes.volume, rtol=1e-7)
    for time in (0.01, 0.3, 2.0):
        field = 1 - np.exp(-modes.rate * time) @ modes.shape
        assert field.min() > -1e-7
        assert field.max() < 1 + 1e-7


def test_without_heating_a_response_is_the_exponential() -> None:
    programme = Programme(np.array([100.0, 50.0, 50.0]), np.array([158.0] * 3), np.array([[0, 1, 2]]))
    found = responses([1.0, 5.0], programme, activation_energy=1.7, release_time=[80.0, 900.0], reference=150.0)
    times = np.array([100.0, 150.0, 200.0])[:, None, None]
    times *= arrhenius_from_temperature(temperature=158.0, value=1.0, reference=150.0, activation_energy=1.7)
    exact = 1 - np.exp(-times * np.array([1.0, 5.0]) / np.array([80.0, 900.0])[:, None])
    for power in range(3):
        taken_up = 8.0**power * (exact[0] + 4 * exact[1] + exact[2]) / 6
        np.testing.assert_allclose(found[0, power], taken_up, rtol=1e-12)


def test_pieces_of_a_ramp_converge_with_their_square_to_an_integral() -> None:
    temperature, rate, energy, tau = 190.0, 10.0, 1.6, 600.0
    fine = np.linspace(25.0, temperature, 200_001)
    speed = arrhenius_from_temperature(temperature=fine, value=1 / tau, reference=150.0, activation_energy=energy)
    exact = 1 - np.exp(-np.trapezoid(speed, fine) / (rate / 60))
    errors = []
    for kelvin in (8.0, 4.0, 2.0):
        # the scan of a hold that takes no time is the state at the end of the ramp
        programme = stepped_programme([temperature], rate=rate, hold=1e-6, scans=0.0, kelvin=kelvin)
        found = responses([1.0], programme, activation_energy=energy, release_time=[tau], reference=150.0)
        errors.append(abs(float(found[0, 0, 0, 0]) - exact))
    assert errors[-1] < 2e-3
    np.testing.assert_allclose(np.log2(np.array(errors[:-1]) / errors[1:]), 2.0, atol=0.15)


def test_a_programme_takes_the_time_of_its_ramps_and_holds() -> None:
    programme = stepped_programme([25.0, 150.0, 200.0], rate=5.0, hold=600.0, scans=0.25)
    assert programme.duration.sum() == pytest.approx(3 * 600.0 + 175 / 5 * 60)
    np.testing.assert_array_equal(programme.temperature[programme.scans[:, 2]], [25.0, 150.0, 200.0])
    with pytest.raises(MeasurementError, match="ascending"):
        stepped_programme([150.0, 25.0], rate=5.0, hold=600.0, scans=0.25)


@pytest.mark.parametrize("shape", [{"radius": 1.0, "core": 1.0}, {"radius": 1.0, "skin": -0.1}, {"radius": -1.0}])
def test_impossible_particles_are_refused(shape: dict[str, float]) -> None:
    with pytest.raises(MeasurementError, match="impossible shape"):
        modes_of_particle(**shape)


def test_interpolation_is_exact_for_what_is_linear_along_each_axis() -> None:
    axes = [np.linspace(0, 1, n) for n in (3, 4, 2)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    table = np.stack([x * y + 2 * z, x * y * z], axis=-1)
    points = np.random.default_rng(3).random((50, 3))
    found = _multilinear(table, points)
    a, b, c = points.T
    np.testing.assert_allclose(found, np.stack([a * b + 2 * c, a * b * c], axis=-1), atol=1e-12)


def test_a_table_holds_what_the_modes_give() -> None:
    programme = stepped_programme([25.0, 150.0], rate=10.0, hold=600.0, scans=0.5, kelvin=10.0)
    ranges = Ranges((1.0, 2.0), (10.0, 1e4), 1.0)
    table = release_table(2.0, 0.5, [0.2, 0.9], programme, reference=150.0, ranges=ranges)
    mean, shells = table.at(np.array([[1.0, 0.5, 0.0, 0.0]]))
    modes = modes_of_particle(radius=2.0, core=0.5)
    # halfway between two times of the table, in their logarithm
    both = responses(
        modes.rate,
        programme,
        activation_energy=2.0,
        release_time=np.geomspace(10.0, 1e4, 60)[29:31],
        reference=150.0,
    ).mean(axis=2)
    np.testing.assert_allclose(mean[0], both @ modes.weight, atol=4e-3)
    fields = np.array([np.interp(2.0 - np.array([0.2, 0.9]), modes.radius, row) for row in modes.shape])
    np.testing.assert_allclose(shells[0, :, :, 0], both[:, 0] @ fields, atol=2e-2)
