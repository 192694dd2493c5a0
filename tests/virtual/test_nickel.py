"""Ni K-edge node spectra: exact maxima, linear mixtures, conserved means, against brute force and measured data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual import nickel
from cathoscope.virtual.nickel import (
    LINIO2_WHITE_LINE,
    NIO_WHITE_LINE,
    NODE_ENERGIES,
    REFERENCES,
    attenuation_of_nodes,
    edge_scale,
    mixed,
    nickel_nodes,
    node_weights,
    two_phase_weights,
    valence_from_white_line,
    white_line_grid,
    white_line_of_weights,
    xanes_energies,
)
from cathoscope.virtual.spectra import Spectrum, nickel_spectrum

Array = NDArray[np.float64]

LOW, HIGH = NODE_ENERGIES[0], NODE_ENERGIES[-1]
GRID = white_line_grid()


def spectra_of_nodes(energies: ArrayLike) -> Array:
    """Normalised absorption of the nodes at ``energies`` (eV), [energy, node]."""
    return np.stack([node.absorption(energies) for node in nickel_nodes()], axis=-1)


BASIS = spectra_of_nodes(GRID)
FINE = np.arange(8345.0, 8354.0, 1e-3)
NMC811 = {"Li": 1.0, "Ni": 0.8, "Mn": 0.1, "Co": 0.1, "O": 2.0}


def found(weights: Array, **options: object) -> Array:
    return white_line_of_weights(weights, basis=BASIS, energies=GRID, **options)  # type: ignore[arg-type]


def mean_energy_of_rise(energy: Array, absorption: Array) -> float:
    """Mean over the levels 0.15 to 1 of the energy at which the absorption first reaches them."""
    levels = np.linspace(0.15, 1.0, 500)
    first = np.argmax(absorption >= levels[:, None], axis=1)
    return float(energy[first].mean())


def test_every_node_has_its_maximum_where_it_says() -> None:
    for node, energy in zip(nickel_nodes(), NODE_ENERGIES, strict=True):
        assert node.white_line_energy() == pytest.approx(energy, abs=1e-6)
        assert node.slope(energy - 1e-4) > 0 > node.slope(energy + 1e-4)
        everywhere = np.arange(8200.0, 8600.0, 0.05)
        assert node.absorption(energy) > node.absorption(everywhere).max() - 1e-12
    np.testing.assert_allclose(np.diff(NODE_ENERGIES), 0.9)


def test_every_node_rises_from_nothing_to_one() -> None:
    spectra = spectra_of_nodes([8000.0, 8212.0, 8600.0, 9000.0])
    assert spectra.shape == (4, 8)
    assert np.abs(spectra[:2]).max() < 5e-3
    np.testing.assert_allclose(spectra[2:], 1.0, atol=5e-3)
    assert spectra_of_nodes(np.arange(8212.0, 8550.0, 0.1)).min() > 0
    assert spectra_of_nodes(np.zeros((2, 3)) + 8340.0).shape == (2, 3, 8)


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_slope_is_the_derivative(name: str) -> None:
    energy = np.arange(8320.0, 8420.0, 0.37)
    shape = REFERENCES[name]
    numerical = (shape.absorption(energy + 1e-4) - shape.absorption(energy - 1e-4)) / 2e-4
    np.testing.assert_allclose(shape.slope(energy), numerical, atol=1e-8)


def test_a_mixture_of_shapes_is_the_sum_of_its_parts() -> None:
    energy = np.arange(8300.0, 8450.0, 0.5)
    one, other = REFERENCES["NiO"], REFERENCES["LiNiO2"]
    mixture = mixed(one, other, fraction=0.3).absorption(energy)
    np.testing.assert_allclose(mixture, 0.7 * one.absorption(energy) + 0.3 * other.absorption(energy), atol=1e-14)
    np.testing.assert_allclose(one.moved(1.25).absorption(energy + 1.25), one.absorption(energy), atol=1e-12)


def test_beyond_the_references_the_shape_only_moves() -> None:
    energy = np.arange(8300.0, 8450.0, 0.5)
    nodes = nickel_nodes()
    for one, other in ((0, 1), (4, 5), (5, 6), (6, 7)):
        by = NODE_ENERGIES[other] - NODE_ENERGIES[one]
        np.testing.assert_allclose(nodes[other].absorption(energy + by), nodes[one].absorption(energy), atol=1e-9)
    by = NODE_ENERGIES[3] - NODE_ENERGIES[1]
    assert np.abs(nodes[3].absorption(energy + by) - nodes[1].absorption(energy)).max() > 0.05


@pytest.mark.parametrize(
    ("name", "at", "inside"), [("NiO", NIO_WHITE_LINE, 0.0065), ("LiNiO2", LINIO2_WHITE_LINE, 0.0068)]
)
def test_shapes_are_those_measured(data_folder: Path, name: str, at: float, inside: float) -> None:
    energy, measured = np.loadtxt(data_folder / f"xas/xas-lno-nio-fxi/ref_{name}.txt").T
    near = (energy >= 8.3) & (energy <= 8.45)
    energy, measured = 1e3 * energy[near], measured[near]
    shape = REFERENCES[name]
    assert np.std(shape.absorption(energy) - measured) < inside
    assert shape.white_line_energy() == pytest.approx(at, abs=0.1)
    state = node_weights(shape.white_line_energy()) @ spectra_of_nodes(energy).T
    assert np.std(state - measured) < 2 * inside


@pytest.mark.parametrize(("name", "entry", "inside"), [("NMC discharged", "0", 0.0078), ("NMC charged", "1", 0.0063)])
def test_shapes_of_the_cathode_are_those_measured(data_folder: Path, name: str, entry: str, inside: float) -> None:
    table = json.loads((data_folder / "xas/xas-nmc-voltage/nmc_exp_xas.json").read_text())
    measured = np.array(table["intensity"][entry])
    energy = 8330.0 + 0.4 * np.arange(measured.size)
    expected = REFERENCES[name].absorption(energy)
    scale = expected @ measured / (measured @ measured)
    assert np.sqrt(np.mean((expected - scale * measured) ** 2)) < inside
    top = int(np.argmax(measured))
    assert REFERENCES[name].white_line_energy() == pytest.approx(energy[top], abs=0.4)


def test_no_material_has_no_weight() -> None:
    weights = two_phase_weights([np.nan, 8349.0], [np.nan, 0.5], [np.nan, 1.0])
    np.testing.assert_allclose(weights.sum(axis=1), [0.0, 1.0], atol=1e-12)


@given(st.lists(st.floats(LOW, HIGH), min_size=1, max_size=20))
def test_hat_functions_add_up_to_one_and_keep_the_mean(white_lines: list[float]) -> None:
    weights = node_weights(white_lines)
    assert weights.min() >= 0
    assert ((weights > 0).sum(axis=-1) <= 2).all()
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, atol=1e-12)
    np.testing.assert_allclose(weights @ NODE_ENERGIES, white_lines, atol=1e-8)


def test_a_node_is_itself() -> None:
    np.testing.assert_allclose(node_weights(NODE_ENERGIES), np.eye(8), atol=1e-10)
    assert node_weights(8349.0).shape == (8,)
    np.testing.assert_array_equal(node_weights([np.nan, 8350.0]).sum(axis=1), [0.0, 1.0])


@given(st.floats(8348.5, 8350.5), st.floats(0.0, 1.0), st.floats(-2.0, 2.0))
def test_two_phases_keep_the_mean_white_line(mean: float, fraction: float, contrast: float) -> None:
    weights = two_phase_weights(mean, fraction, contrast)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert weights @ NODE_ENERGIES == pytest.approx(mean, abs=1e-8)
    energy = np.arange(8330.0, 8370.0, 2.0)
    layered, spinel = (
        node_weights(state) @ spectra_of_nodes(energy).T
        for state in (mean + fraction * contrast, mean - (1 - fraction) * contrast)
    )
    expected = (1 - fraction) * layered + fraction * spinel
    np.testing.assert_allclose(weights @ spectra_of_nodes(energy).T, expected, atol=1e-8)


def test_one_phase_alone_has_no_contrast() -> None:
    for fraction in (0.0, 1.0):
        np.testing.assert_array_equal(two_phase_weights(HIGH, fraction, 5.0), node_weights(HIGH))
    fields = two_phase_weights(np.full((3, 1), 8349.0), np.array([0.2, 0.4]), 1.0)
    assert fields.shape == (3, 2, 8)


def test_white_line_follows_the_state() -> None:
    """The maximum is no linear function of a mixture: it leaves the state by 25 meV between nodes."""
    state = np.linspace(LOW, HIGH, 631)
    white_line = found(node_weights(state))
    assert (np.diff(white_line) > 0).all()
    assert np.polyfit(state, white_line, 1)[0] == pytest.approx(1.0, abs=0.02)
    assert 0.01 < np.abs(white_line - state).max() < 0.03
    np.testing.assert_allclose(found(node_weights(NODE_ENERGIES)), NODE_ENERGIES, atol=1e-5)


def test_white_line_is_that_of_brute_force_and_of_the_closed_form() -> None:
    rng = np.random.default_rng(5)
    pairs = two_phase_weights(rng.uniform(8348, 8351, 300), rng.uniform(0, 1, 300), rng.uniform(0, 1.6, 300))
    weights = np.concatenate([pairs, rng.dirichlet(np.full(8, 0.3), 300)])
    white_line = found(7.3 * weights)
    brute = FINE[np.argmax(weights @ spectra_of_nodes(FINE).T, axis=1)]
    assert np.abs(white_line - brute).max() < 5.5e-4
    nodes = nickel_nodes()
    for share, energy in list(zip(weights, white_line, strict=True))[::60]:

        def slope(at: float, share: Array = share) -> float:
            return float(sum(w * float(node.slope(at)) for w, node in zip(share, nodes, strict=True)))

        assert energy == pytest.approx(brentq(slope, energy - 0.1, energy + 0.1, xtol=1e-9), abs=1e-4)


def test_any_basis_will_do() -> None:
    """Sixteen components, and spectra of another closed form that knows its own white line."""
    spectra: list[Spectrum] = [
        nickel_spectrum(jump=0.1, background=0.05, line_energy=energy, asymmetry=asymmetry)
        for energy in np.linspace(8347.0, 8351.0, 8)
        for asymmetry in (0.0, 0.3)
    ]
    basis = np.stack([spectrum.attenuation(GRID) for spectrum in spectra], axis=1)
    white_line = white_line_of_weights(np.eye(16), basis=basis, energies=GRID)
    np.testing.assert_allclose(white_line, [spectrum.white_line_energy() for spectrum in spectra], atol=1e-4)


def test_without_material_or_maximum_there_is_no_white_line() -> None:
    weights = np.array([np.zeros(8), np.full(8, np.nan), np.full(8, -1.0), np.eye(8)[2]])
    np.testing.assert_array_equal(np.isfinite(found(weights)), [False, False, False, True])
    rising = white_line_of_weights([[1.0]], basis=np.arange(20.0)[:, None], energies=np.arange(20.0))
    assert np.isnan(rising).all()
    assert found(np.zeros((2, 3, 8))).shape == (2, 3)


def test_compiled_and_plain_loops_agree() -> None:
    weights = np.concatenate([node_weights([8347.1, 8350.63]), np.zeros((1, 8))])
    np.testing.assert_array_equal(found(weights), found(weights, kernel=nickel._maxima.py_func))


def test_the_top_of_a_parabola_is_exact() -> None:
    """Between knots, on either side of the highest one, and on it."""
    energies = np.arange(12.0)
    for top in (5.0, 5.2, 5.49, 5.51, 5.9):
        basis = -((energies - top) ** 2)[:, None] + 200.0
        assert white_line_of_weights([2.0], basis=basis, energies=energies) == pytest.approx(top, abs=1e-9)


def test_integral_edge_rises_with_valence() -> None:
    energy = np.arange(8325.0, 8356.0, 0.01)
    valences = np.linspace(1.3, 4.6, 34)
    white_lines = LINIO2_WHITE_LINE + (valences - 3.0) * (LINIO2_WHITE_LINE - NIO_WHITE_LINE)
    spectra = node_weights(white_lines) @ spectra_of_nodes(energy).T
    edges = np.array([mean_energy_of_rise(energy, spectrum) for spectrum in spectra])
    assert (np.diff(edges) > 0).all()
    assert 1.0 < np.polyfit(valences, edges, 1)[0] < 2.5


def test_valence_is_a_line_through_two_references() -> None:
    middle = (NIO_WHITE_LINE + LINIO2_WHITE_LINE) / 2
    np.testing.assert_allclose(valence_from_white_line([NIO_WHITE_LINE, middle, LINIO2_WHITE_LINE]), [2.0, 2.5, 3.0])


def test_attenuation_is_background_and_jump_times_the_normalised_spectrum() -> None:
    background, jump = edge_scale(NMC811, 4.7)
    assert 0.01 < background < jump < 0.2
    energy = np.array([8212.0, 8300.0, 8349.0, 8450.0, 8550.0])
    attenuation = jump * attenuation_of_nodes(energy, background_per_jump=background / jump)
    decay = (energy / 8332.8)[:, None] ** -3
    # the lines alone do not decay, which is 1 % of the fine structure
    np.testing.assert_allclose(attenuation, decay * (background + jump * spectra_of_nodes(energy)), rtol=0.01)
    assert (attenuation[0] - decay[0] * background < 0.004 * jump).all()
    shift = white_line_of_weights(
        np.eye(8), basis=attenuation_of_nodes(GRID, background_per_jump=background / jump), energies=GRID
    )
    assert ((NODE_ENERGIES - shift > 0.002) & (NODE_ENERGIES - shift < 0.008)).all()


def test_porosity_scales_the_attenuation() -> None:
    basis = attenuation_of_nodes(GRID, background_per_jump=0.6)
    dense = 0.08 * node_weights([8348.0, 8350.3])
    np.testing.assert_allclose((0.4 * dense) @ basis.T, 0.4 * (dense @ basis.T))
    white_line = (white_line_of_weights(scale * dense, basis=basis, energies=GRID) for scale in (1.0, 0.4))
    np.testing.assert_allclose(*white_line, atol=1e-9)


@pytest.mark.parametrize("count", [30, 60, 80])
def test_scan_energies_cover_what_an_analysis_needs(count: int) -> None:
    energies = xanes_energies(count)
    steps = np.diff(energies)
    assert energies.size == count
    assert steps.min() >= 0.5
    assert energies[0] <= 8250 < 8450 <= energies[-1] <= 8550
    for low, high in ((8250, 8320), (8375, 8450)):
        assert ((energies >= low) & (energies <= high)).sum() >= 3
    inside = (energies[:-1] >= 8345) & (energies[1:] <= 8353)
    assert steps[inside].max() == (1.0 if count == 30 else 0.5)
    assert steps[(energies[:-1] >= 8342) & (energies[1:] <= 8357)].max() <= 1.0


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(CathoscopeError, match="outside the node spectra"):
        node_weights([8349.0, 8353.0])
    with pytest.raises(CathoscopeError, match="outside the node spectra"):
        two_phase_weights(8352.0, 0.5, 3.0)
    with pytest.raises(CathoscopeError, match="outside 0 to 1"):
        two_phase_weights(8350.0, 1.2, 0.5)
    with pytest.raises(CathoscopeError, match="30, 60 or 80"):
        xanes_energies(40)
    with pytest.raises(CathoscopeError, match="without nickel"):
        edge_scale({"Li": 1.0, "Co": 1.0, "O": 2.0}, 5.0)
    with pytest.raises(CathoscopeError, match="negative"):
        attenuation_of_nodes(GRID, background_per_jump=-0.1)
    with pytest.raises(CathoscopeError, match="evenly spaced"):
        white_line_of_weights(np.ones(8), basis=BASIS, energies=GRID**2)
    with pytest.raises(CathoscopeError, match="do not match"):
        white_line_of_weights(np.ones(7), basis=BASIS, energies=GRID)
