"""Texture: one in the mean over the sphere, harmonics orthonormal and invariant."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import seeded, value_of
from cathoscope.powder.structure import metric_from_cell
from cathoscope.powder.symmetry import images, symmetry_of
from cathoscope.powder.texture import (
    basis_values,
    harmonic_basis,
    harmonic_terms,
    march_dollase,
    texture_from_harmonics,
)

CELLS = {
    "P 1 21/c 1": (5.0, 6.0, 7.0, 90.0, 103.0, 90.0),
    "P n m a": (8.482, 5.398, 6.959, 90.0, 90.0, 90.0),
    "R -3 m:H": (2.84, 2.84, 14.3, 90.0, 90.0, 120.0),
    "I a -3": (10.0, 10.0, 10.0, 90.0, 90.0, 90.0),
    "F d -3 m:2": (8.12, 8.12, 8.12, 90.0, 90.0, 90.0),
}


def sphere(degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions and weights that integrate polynomials up to 2 degree + 1 exactly."""
    height, weight = np.polynomial.legendre.leggauss(degree + 1)
    turn = 2 * np.pi * np.arange(2 * degree + 2) / (2 * degree + 2)
    ring = np.sqrt(1 - height**2)
    vectors = np.stack(
        np.broadcast_arrays(ring[:, None] * np.cos(turn), ring[:, None] * np.sin(turn), height[:, None]), -1
    )
    return vectors.reshape(-1, 3), np.repeat(weight, turn.size) * 2 * np.pi / turn.size


@pytest.mark.parametrize("ratio", [0.4, 0.9, 1.0, 1.7])
def test_march_dollase_is_one_in_the_mean_over_the_sphere(ratio: float) -> None:
    # A tetragonal crystal without equivalents of its axis: the mean over equivalents changes nothing.
    symmetry, metric = symmetry_of("P 4/m m m"), metric_from_cell(cell=(4.0, 4.0, 4.0, 90, 90, 90))

    def ring(cosine: float) -> float:
        hkl = [[round(1e6 * np.sqrt(1 - cosine**2)), 0, round(1e6 * cosine)]]
        return float(value_of(march_dollase(symmetry, hkl, axis=(0, 0, 1), ratio=ratio, metric=metric))[0])

    assert quad(ring, 0, 1, epsabs=1e-4)[0] == pytest.approx(1.0, abs=1e-4)


def test_march_dollase_of_plates() -> None:
    symmetry, metric = symmetry_of("R -3 m:H"), metric_from_cell(cell=CELLS["R -3 m:H"])
    hkl = [[0, 0, 3], [1, 1, 0], [1, 0, 4]]
    graded = march_dollase(symmetry, hkl, axis=(0, 0, 1), ratio=seeded([0.8])[0], metric=metric)
    above, below = (march_dollase(symmetry, hkl, axis=(0, 0, 1), ratio=0.8 + x, metric=metric) for x in (1e-6, -1e-6))

    assert graded.value[:2] == pytest.approx([0.8**-3, 0.8**1.5])
    assert np.allclose(graded.slope[:, 0], (above - below) / 2e-6, rtol=1e-7)
    assert np.allclose(march_dollase(symmetry, hkl, axis=(1, 1, 0), ratio=1.0, metric=metric), 1.0)
    # 110 about [110]: two of six equivalents along it, four at 60 deg.
    along, across = 0.8**-3, (0.64 / 4 + 0.75 / 0.8) ** -1.5
    mean = march_dollase(symmetry, [[1, 1, 0]], axis=(1, 1, 0), ratio=0.8, metric=metric)
    assert mean == pytest.approx((along + 2 * across) / 3)


@pytest.mark.parametrize("name", CELLS)
def test_harmonics_are_orthonormal(name: str) -> None:
    basis = harmonic_basis(symmetry_of(name), metric_from_cell(cell=CELLS[name]), 8)
    directions, weights = sphere(9)
    values = basis_values(basis, directions)

    assert np.allclose(values.T @ (weights[:, None] * values), np.eye(len(basis.degree)), atol=1e-10)
    assert np.allclose(weights @ values, 0.0, atol=1e-12)


@pytest.mark.parametrize("name", CELLS)
def test_harmonics_are_equal_for_equivalent_reflections(name: str) -> None:
    symmetry = symmetry_of(name)
    basis = harmonic_basis(symmetry, metric_from_cell(cell=CELLS[name]), 8)
    equivalent = images(symmetry, [[1, 2, 3], [3, -1, 2]])
    terms = np.array([harmonic_terms(basis, equivalent[:, g], 37.0) for g in range(equivalent.shape[1])])

    assert np.allclose(terms, terms[0], atol=1e-11)
    assert np.allclose(harmonic_terms(basis, -equivalent[:, 0], 37.0), terms[0], atol=1e-11)


# Bunge, Texture Analysis in Materials Science (1982), table 4.1: harmonics of each degree 2, 4, 6, 8, ...
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("P 1 21/c 1", [3, 5, 7, 9]),
        ("P n m a", [2, 3, 4, 5]),
        ("R -3 m:H", [1, 2, 3, 3]),
        ("I a -3", [0, 1, 2, 1]),
        ("F d -3 m:2", [0, 1, 1, 1]),
    ],
)
def test_there_are_as_many_harmonics_as_the_class_allows(name: str, counts: list[int]) -> None:
    basis = harmonic_basis(symmetry_of(name), metric_from_cell(cell=CELLS[name]), 8)

    assert [int(np.sum(basis.degree == degree)) for degree in (2, 4, 6, 8)] == counts
    assert basis.names[0] == f"C{basis.degree[0]},1"


def test_the_cubic_harmonic_of_degree_four_is_known() -> None:
    basis = harmonic_basis(symmetry_of("F d -3 m:2"), metric_from_cell(cell=CELLS["F d -3 m:2"]), 4)
    direction = np.array([[1.0, 2.0, 3.0]]) / np.sqrt(14)
    known = np.sqrt(21 / (16 * np.pi)) * 2.5 * (np.sum(direction**4) - 0.6)  # von der Lage & Bethe (1947)

    assert abs(basis_values(basis, direction)[0, 0]) == pytest.approx(abs(known))


def test_a_texture_of_degree_two_is_a_legendre_polynomial_of_both_angles() -> None:
    symmetry, metric = symmetry_of("R -3 m:H"), metric_from_cell(cell=CELLS["R -3 m:H"])
    basis = harmonic_basis(symmetry, metric, 2)
    hkl, psi = [[0, 0, 3], [1, 1, 0]], 90.0
    terms = harmonic_terms(basis, hkl, psi)
    # 4 pi / 5 x (5 / 4 pi) P2(cos phi) P2(cos psi)
    assert terms[:, 0] == pytest.approx([-0.5, 0.25])
    graded = texture_from_harmonics(terms=terms, coefficients=seeded([0.4]))
    assert graded.value == pytest.approx([0.8, 1.1])
    assert np.array_equal(graded.slope, terms)


@pytest.mark.parametrize("name", ["R -3 m:H", "F d -3 m:2"])
def test_the_mean_over_the_sample_and_over_the_crystal_is_one(name: str) -> None:
    basis = harmonic_basis(symmetry_of(name), metric_from_cell(cell=CELLS[name]), 6)
    coefficients = 0.3 * np.arange(1, len(basis.degree) + 1)
    hkl = [[1, 0, 4]]

    def at(cosine: float) -> float:
        terms = harmonic_terms(basis, hkl, np.degrees(np.arccos(cosine)))
        return float(value_of(texture_from_harmonics(terms=terms, coefficients=coefficients))[0])

    node, weight = np.polynomial.legendre.leggauss(8)
    assert sum(w * at(x) for x, w in zip(node, weight, strict=True)) / 2 == pytest.approx(1.0)


@pytest.mark.parametrize("order", [0, 3, 22])
def test_orders_without_harmonics_are_refused(order: int) -> None:
    with pytest.raises(MeasurementError, match="order of harmonics"):
        harmonic_basis(symmetry_of("P -1"), metric_from_cell(cell=(5, 6, 7, 80, 95, 100)), order)


def test_an_axis_without_direction_is_refused() -> None:
    metric = metric_from_cell(cell=CELLS["P n m a"])
    with pytest.raises(MeasurementError, match="without direction"):
        march_dollase(symmetry_of("P n m a"), [[1, 0, 0]], axis=(0, 0, 0), ratio=0.5, metric=metric)
