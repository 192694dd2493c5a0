from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.line_tables import LineGrid, basis_with_data, model_basis, plan_fit
from cathoscope.xanes.line_tiles import LANES, tile_product, tiled

FULL = LineGrid(with_slope=True)


@pytest.fixture(scope="module")
def energy(truth):
    return truth.energies()


@pytest.fixture(scope="module")
def plan(energy):
    return plan_fit(energy=energy, noise_std=np.linspace(0.01, 0.02, energy.size))


def correlated(n, rho=0.6):
    return rho ** np.abs(np.subtract.outer(np.arange(n), np.arange(n)))


def stored_step(plan, node):
    k = plan.n_components
    return plan.tables.steps.reshape(-1, k, LANES)[node].T


def middle_node(plan):
    """Index of a node in the middle, and its (edge energy, centre, width) in eV."""
    axes = plan.tables.axes
    c, d, s = (count // 2 for count in axes.count)
    centre = plan.edge_energy + axes.first[0] + c * axes.step[0]
    distance, width = axes.first[1] + d * axes.step[1], axes.first[2] + s * axes.step[2]
    return (c * axes.count[1] + d) * axes.count[2] + s, (centre - distance, centre, width)


def test_tiles_multiply_like_matrices_compiled_and_not():
    rng = np.random.default_rng(1)
    matrix, vector = rng.normal(size=(16, 24)).astype(np.float32), rng.normal(size=30).astype(np.float32)
    tiles = tiled(matrix)

    @njit
    def compiled(tiles, begin, vector, start, out):
        tile_product(tiles, begin, vector, start, 24, out)

    for group in range(2):
        expected = matrix[8 * group : 8 * group + 8] @ vector[3:27]
        for product in (compiled, compiled.py_func):
            out = np.zeros(8, dtype=np.float32)
            product(tiles, group * 24 * LANES, vector, 3, out)
            np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


def test_the_stored_step_returns_the_parameters_of_a_curve_at_its_node(truth, plan, energy):
    node, (edge, centre, width) = middle_node(plan)
    curve = truth.curve(energy, np.array([0.3, 0.0, 0.7, 0.6, edge, centre, width]))
    p = stored_step(plan, node) @ (curve @ plan.projector)
    np.testing.assert_allclose(p[[0, 2, 3]], [0.3, 0.7, 0.6], atol=1e-4)
    np.testing.assert_allclose(p[[1, 4, 5, 6]], 0.0, atol=1e-4)


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_what_the_second_order_leaves_shrinks_with_the_cube_of_the_distance(truth, plan, energy, moved):
    node, shape = middle_node(plan)
    second = plan.tables.second_order.reshape(-1, 4, LANES)[node].astype(float)
    left = []
    for distance in (0.4, 0.2):
        at = np.array(shape)
        at[moved] += distance
        curve = truth.curve(energy, np.array([0.3, 0.0, 0.7, 0.6, *at]))
        p = stored_step(plan, node).astype(float) @ (curve @ plan.projector)
        by_edge, by_centre, by_width = at - shape
        h = np.array([0.7 * by_edge**2 / 2, 0.6 * by_centre**2 / 2, 0.6 * by_centre * by_width, 0.6 * by_width**2 / 2])
        expected = np.array([0.3, 0.0, 0.7, 0.6, 0.7 * by_edge, 0.6 * by_centre, 0.6 * by_width])
        left.append(np.abs((p - h @ second)[:7] - expected).max())
    assert left[0] > 1e-3
    assert left[1] < left[0] / 5


def test_the_stored_covariance_is_that_of_the_stored_step(plan):
    node, _ = middle_node(plan)
    step = stored_step(plan, node)
    covariance = plan.tables.covariance.reshape(-1, LANES, LANES)[node]
    np.testing.assert_allclose(covariance, step @ step.T, rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("coloured", [False, True])
def test_coefficients_have_unit_noise_and_return_what_the_basis_holds(energy, coloured):
    noise = np.linspace(0.01, 0.02, energy.size)
    covariance = np.outer(noise, noise) * (correlated(energy.size) if coloured else np.eye(energy.size))
    stated = {"covariance": covariance} if coloured else {"noise_std": noise}
    plan = plan_fit(energy=energy, **stated)
    np.testing.assert_allclose(plan.projector.T @ covariance @ plan.projector, np.eye(16), atol=1e-8)
    straight = 0.4 - 0.003 * (energy - 8340)
    np.testing.assert_allclose(plan.expansion @ (straight @ plan.projector), straight, atol=1e-8)


def test_the_model_basis_holds_the_model_to_a_small_part_of_the_noise(truth, energy):
    noise = np.full(energy.size, 0.01)
    basis = model_basis(energy=energy, noise_std=noise, n_components=24)
    curve = truth.curve(energy, np.array([truth.parameters_of(m, 0.7) for m in (8347.0, 8349.3, 8351.0)])) / 0.01
    rest = curve - curve @ basis @ basis.T
    assert np.abs(rest).max() < 1.0  # standard deviations of the noise


def test_directions_of_the_data_are_added(energy):
    noise = np.full(energy.size, 0.01)
    wiggle = np.sin((energy - 8350) / 1.5) * np.exp(-(((energy - 8365) / 6) ** 2))
    spectra = np.random.default_rng(2).normal(size=(40, 1)) * wiggle
    spectra[3, 5] = np.nan
    basis = basis_with_data(energy=energy, noise_std=noise, spectra=spectra, n_model=10, n_components=12)
    np.testing.assert_allclose(basis.T @ basis, np.eye(12), atol=1e-10)
    np.testing.assert_allclose(basis @ (basis.T @ wiggle), wiggle, atol=1e-8)
    with pytest.raises(MeasurementError, match="spectra"):
        basis_with_data(energy=energy, noise_std=noise, spectra=spectra[:, 1:])


def test_a_plan_is_small_and_counts_from_the_one_edge_within_the_energies(plan):
    assert plan.edge_energy == pytest.approx(8332.8)
    assert sum(table.nbytes for table in plan.tables if isinstance(table, np.ndarray)) < 4e6
    assert plan.centre_range == pytest.approx((8344.0, 8355.5))


def test_centres_that_the_energies_do_not_determine_are_left_out(energy):
    cut = energy[energy < 8352]
    low, high = plan_fit(energy=cut, noise_std=np.full(cut.size, 0.01)).centre_range
    assert low == pytest.approx(8344.0)
    assert 8348 < high < 8352


def test_what_cannot_be_planned_is_refused(energy):
    noise = np.full(energy.size, 0.01)
    for text, arguments in {
        "do not make a spectrum": {"energy": energy[::-1], "noise_std": noise},
        "not stated once": {"energy": energy},
        "does not fit the energies": {"energy": energy, "noise_std": -noise},
        "covariance of the noise": {"energy": energy, "covariance": -np.eye(energy.size)},
        "no single K edge": {"energy": energy + 20000, "noise_std": noise},
        "number of components": {"energy": energy, "noise_std": noise, "n_components": 5},
        "the basis does not fit": {"energy": energy, "noise_std": noise, "basis": np.ones((energy.size, 16))},
        "do not determine": {"energy": np.linspace(8300, 8343, 61), "noise_std": noise},
    }.items():
        with pytest.raises(MeasurementError, match=text):
            plan_fit(**arguments)
