from __future__ import annotations

import numpy as np
import pytest

from cathoscope.physics.edges import FOIL_ENERGY, K_EDGE, elements_with_edge_within, k_edge_within


def test_edges_follow_moseley() -> None:
    # the square root of the K edge grows linearly with the atomic number (Moseley 1913)
    numbers = np.array([22, 23, 24, 25, 26, 27, 28, 29, 30])
    roots = np.sqrt(list(K_EDGE.values()))
    assert np.abs(roots - np.polyval(np.polyfit(numbers, roots, 1), numbers)).max() < 2e-3 * roots.min()


@pytest.mark.parametrize(
    ("lowest", "highest", "edge"),
    [(8300.0, 8400.0, 8332.8), (8340.0, 8400.0, None), (7000.0, 9000.0, None), (6500.0, 6600.0, 6539.0)],
)
def test_only_a_single_edge_within_is_named(lowest: float, highest: float, edge: float | None) -> None:
    assert k_edge_within(lowest=lowest, highest=highest) == edge


@pytest.mark.parametrize(
    ("lowest", "highest", "elements"),
    [
        (8300.0, 8400.0, ("Ni",)),
        (7000.0, 9000.0, ("Fe", "Co", "Ni", "Cu")),
        (0.0, 1e5, tuple(K_EDGE)),
        (8340.0, 8400.0, ()),
        (8400.0, 8300.0, ()),
    ],
)
def test_elements_whose_edge_lies_within(lowest: float, highest: float, elements: tuple[str, ...]) -> None:
    assert elements_with_edge_within(lowest=lowest, highest=highest) == elements


def test_an_energy_at_an_edge_is_on_neither_side_of_it() -> None:
    edge = K_EDGE["Ni"]
    assert elements_with_edge_within(lowest=edge, highest=edge + 100) == ()
    assert elements_with_edge_within(lowest=edge - 100, highest=edge) == ()


def test_foils_are_assigned_the_edge_in_whole_electronvolts() -> None:
    assert FOIL_ENERGY.keys() == K_EDGE.keys()
    for element, energy in FOIL_ENERGY.items():
        assert energy == float(round(K_EDGE[element]))
