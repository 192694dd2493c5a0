"""Symmetry: groups, multiplicities, what sites leave free."""

from __future__ import annotations

import gemmi
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import value_of
from cathoscope.powder.symmetry import (
    PAIRS,
    displacement_rule,
    images,
    multiplicities,
    orbit,
    position_rule,
    representatives,
    site_multiplicity,
    snapped,
    symmetry_of,
)

HEXAGONAL, CUBIC = "R -3 m:H", "F d -3 m:2"
STARS = {HEXAGONAL: (0.4066, 0.4066, 0.0699), CUBIC: (0.1232,) * 3}
SETTINGS = [one.xhm() for one in gemmi.spacegroup_table()]


@pytest.mark.parametrize("name", SETTINGS[::7])
def test_order_and_multiplicities_are_those_of_the_group(name: str) -> None:
    symmetry = symmetry_of(name)
    group = gemmi.find_spacegroup_by_name(name).operations()
    hkl = np.array([[1, 2, 3], [0, 0, 2], [1, 1, 0], [2, 0, 0], [1, -1, 4]])

    assert symmetry.order == len(group)
    group.add_inversion()
    laue = len(group.sym_ops)
    expected = [laue // group.epsilon_factor_without_centering(one.tolist()) for one in hkl]
    assert multiplicities(symmetry, hkl).tolist() == expected
    assert 2 * symmetry.laue_rotations.shape[0] == laue


def test_centres_at_the_origin_are_found() -> None:
    assert symmetry_of("F d -3 m:2").centred_at_origin
    assert not symmetry_of("F d -3 m:1").centred_at_origin
    assert not symmetry_of("P 21 21 21").centred_at_origin


@given(st.lists(st.integers(-9, 9), min_size=3, max_size=3), st.sampled_from([HEXAGONAL, CUBIC, "P 3", "C 1 2/c 1"]))
@settings(max_examples=50, deadline=None)
def test_equivalent_reflections_have_one_representative(hkl: list[int], name: str) -> None:
    symmetry = symmetry_of(name)
    equivalent = images(symmetry, [hkl])[0]

    assert len({tuple(one) for one in representatives(symmetry, np.concatenate([equivalent, -equivalent]))}) == 1
    assert len({tuple(one) for one in np.concatenate([equivalent, -equivalent])}) == multiplicities(symmetry, [hkl])[0]


# Wyckoff letters of International Tables A.
@pytest.mark.parametrize(
    ("name", "position", "multiplicity", "free", "matrix"),
    [
        (HEXAGONAL, (0, 0, 0), 3, (), np.zeros((3, 0))),  # a
        (HEXAGONAL, (0, 0, 0.236), 6, ("z",), [[0], [0], [1]]),  # c
        (HEXAGONAL, (0.1, -0.1, 0.3), 18, ("x", "z"), [[1, 0], [-1, 0], [0, 1]]),  # h
        (HEXAGONAL, (0.11, 0.23, 0.37), 36, ("x", "y", "z"), np.eye(3)),  # i
        (CUBIC, (0.125, 0.125, 0.125), 8, (), np.zeros((3, 0))),  # a
        (CUBIC, (0.5, 0.5, 0.5), 16, (), np.zeros((3, 0))),  # d
        (CUBIC, (0.263, 0.263, 0.263), 32, ("x",), [[1], [1], [1]]),  # e
        (CUBIC, (0.3, 0.125, 0.125), 48, ("x",), [[1], [0], [0]]),  # f
        ("P n m a", (0.1879, 0.25, 0.1667), 4, ("x", "z"), [[1, 0], [0, 0], [0, 1]]),  # c
        ("P 63/m m c", (0.2, 0.4, 0.1), 12, ("x", "z"), [[1, 0], [2, 0], [0, 1]]),  # k: x, 2x, z
    ],
)
def test_free_coordinates_of_known_sites(
    name: str, position: tuple[float, ...], multiplicity: int, free: tuple[str, ...], matrix: list[list[float]]
) -> None:
    symmetry = symmetry_of(name)
    rule = position_rule(symmetry, position)

    assert site_multiplicity(symmetry, position) == len(orbit(symmetry, position)) == multiplicity
    assert rule.names == free
    assert np.allclose(rule.matrix, matrix, atol=1e-12)
    assert np.allclose(value_of(rule.values(rule.free(position))), position, atol=1e-12)


# Peterse & Palm (1966).
@pytest.mark.parametrize(
    ("name", "position", "free", "rows"),
    [
        (HEXAGONAL, (0, 0, 0), ("U11", "U33"), [[1, 1, 0, 0.5, 0, 0], [0, 0, 1, 0, 0, 0]]),
        (HEXAGONAL, (0, 0, 0.236), ("U11", "U33"), [[1, 1, 0, 0.5, 0, 0], [0, 0, 1, 0, 0, 0]]),
        (CUBIC, (0.125, 0.125, 0.125), ("U11",), [[1, 1, 1, 0, 0, 0]]),
        (CUBIC, (0.263, 0.263, 0.263), ("U11", "U12"), [[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]),
        (
            HEXAGONAL,
            (0.1, -0.1, 0.3),  # x, -x, z: U22 = U11, U23 = -U13
            ("U11", "U33", "U12", "U13"),
            [[1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 1, -1]],
        ),
    ],
)
def test_free_displacements_of_known_sites(
    name: str, position: tuple[float, ...], free: tuple[str, ...], rows: list[list[float]]
) -> None:
    rule = displacement_rule(symmetry_of(name), position, STARS[name])

    assert rule.names == free
    assert np.allclose(rule.matrix.T, rows, atol=1e-12)


def test_displacements_keep_their_symmetry_on_oblique_axes() -> None:
    # P m -3 m on the axes a, a + b, a + b + c: reciprocal lengths differ and operations mix axes.
    from cathoscope.powder.symmetry import symmetry_of_operations

    operations = gemmi.find_spacegroup_by_name("P m -3 m").operations()
    operations.change_basis_forward(gemmi.Op("x-y,y-z,z"))
    symmetry = symmetry_of_operations("oblique", "cubic", operations)
    direct = np.array([[1.0, 1, 1], [0, 1, 1], [0, 0, 1]])  # columns a, a + b, a + b + c
    stars = np.linalg.norm(np.linalg.inv(direct), axis=1)
    rule = displacement_rule(symmetry, (0, 0, 0), stars)
    u = np.zeros((3, 3))
    for (i, j), value in zip(PAIRS, rule.matrix[:, 0], strict=True):
        u[i, j] = u[j, i] = value
    cartesian = direct @ (u * np.outer(stars, stars)) @ direct.T

    assert rule.names == ("U11",)
    assert np.allclose(cartesian, cartesian[0, 0] * np.eye(3), atol=1e-12)


def test_rounded_positions_are_moved_onto_special_ones_and_others_are_not() -> None:
    symmetry = symmetry_of("P 63/m m c")

    assert np.allclose(snapped(symmetry, (0.3333, 0.6667, 0.2500)), (1 / 3, 2 / 3, 0.25), atol=1e-12)
    assert site_multiplicity(symmetry, (0.333, 0.667, 0.25)) == 2
    assert np.allclose(snapped(symmetry, (0.31, 0.64, 0.23)), (0.31, 0.64, 0.23), atol=1e-12)


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=3), st.sampled_from([HEXAGONAL, CUBIC, "P n m a"]))
@settings(max_examples=30, deadline=None)
def test_an_orbit_is_closed_and_its_size_divides_the_order(position: list[float], name: str) -> None:
    symmetry = symmetry_of(name)
    atoms = orbit(symmetry, position)
    turned = (atoms @ symmetry.rotations[-1].T + symmetry.translations[-1]) % 1.0
    offset = turned[:, None] - atoms
    distance = np.abs(offset - np.round(offset)).max(axis=2)

    assert symmetry.order % len(atoms) == 0
    assert np.all(distance.min(axis=1) < 1e-5)
    assert len(atoms) == site_multiplicity(symmetry, position)


@pytest.mark.parametrize("name", ["", "R -9 m", "Ni", "F d -3 m", "R -3 m"])
def test_what_is_no_group_or_no_setting_is_refused(name: str) -> None:
    with pytest.raises(MeasurementError, match="space group"):
        symmetry_of(name)


def test_an_undecided_setting_names_both() -> None:
    with pytest.raises(MeasurementError, match="F d -3 m:1 or F d -3 m:2"):
        symmetry_of("F d -3 m")
