"""Reflections and structure factors of structures whose closed forms are known."""

from __future__ import annotations

import gemmi
import numpy as np
import pytest

from cathoscope.core.crystal import Phase, Site
from cathoscope.core.errors import CathoscopeError
from cathoscope.physics.neutron import scattering_length
from cathoscope.virtual.diffraction_structure import (
    Sums,
    axis_cosines,
    cell_volume,
    contents,
    families,
    form_factor,
    geometric_sums,
    spacings,
    squared_structure_factors,
)

CUBE = (90.0, 90.0, 90.0)
U = 0.01
SALT = Phase(
    "salt",
    "F m -3 m",
    (5.64, 5.64, 5.64, *CUBE),
    (Site("Na", "Na", (0.0, 0.0, 0.0), 1.0, U), Site("Cl", "Cl", (0.5, 0.5, 0.5), 1.0, U)),
)
CAESIUM = Phase(
    "CsCl",
    "P m -3 m",
    (4.12, 4.12, 4.12, *CUBE),
    (Site("Cs", "Cs", (0.0, 0.0, 0.0), 0.9, U), Site("Cl", "Cl", (0.5, 0.5, 0.5), 1.0, U)),
)
BLENDE = Phase(
    "ZnS",
    "F -4 3 m",
    (5.41, 5.41, 5.41, *CUBE),
    (Site("Zn", "Zn", (0.0, 0.0, 0.0), 1.0, 0.0), Site("S", "S", (0.25, 0.25, 0.25), 1.0, 0.0)),
)
LAYERED_CELL = (2.83, 2.83, 14.4, 90.0, 90.0, 120.0)


def sums_of(phase: Phase, shortest: float = 0.7) -> Sums:
    within = families(phase.space_group, phase.cell, shortest=shortest, longest=20.0)
    return geometric_sums(phase, within)


def lengths(*names: str) -> list[float]:
    return [0.1 * scattering_length(name) for name in names]


def test_rock_salt_is_sum_or_difference() -> None:
    sums = sums_of(SALT)
    hkl = sums.families.hkl
    assert np.all((hkl % 2 == hkl[:, :1] % 2).all(axis=1))  # mixed indices are extinct: they are not even there
    sodium, chlorine = lengths("Na", "Cl")
    even = hkl[:, 0] % 2 == 0
    damping = np.exp(-2 * np.pi**2 * U / spacings(hkl, SALT.cell) ** 2)
    expected = (4 * np.where(even, sodium + chlorine, sodium - chlorine) * damping) ** 2
    np.testing.assert_allclose(squared_structure_factors(SALT, sums, radiation="neutron"), expected, rtol=1e-12)


def test_caesium_chloride_is_sum_or_difference_by_parity() -> None:
    sums = sums_of(CAESIUM)
    hkl = sums.families.hkl
    caesium, chlorine = lengths("Cs", "Cl")
    sign = np.where(hkl.sum(axis=1) % 2 == 0, 1, -1)
    damping = np.exp(-2 * np.pi**2 * U / spacings(hkl, CAESIUM.cell) ** 2)
    expected = ((0.9 * caesium + sign * chlorine) * damping) ** 2
    np.testing.assert_allclose(squared_structure_factors(CAESIUM, sums, radiation="neutron"), expected, rtol=1e-12)


def test_without_a_centre_x_rays_see_the_mean_of_friedels_mates() -> None:
    sums = sums_of(BLENDE)
    hkl, wavelength = sums.families.hkl, 1.25
    zinc, sulphur = (form_factor(name, spacings(hkl, BLENDE.cell), wavelength) for name in ("Zn", "S"))
    quarter = 1j ** np.mod(hkl.sum(axis=1), 4)
    expected = 8 * (np.abs(zinc + sulphur * quarter) ** 2 + np.abs(zinc + sulphur / quarter) ** 2)
    found = squared_structure_factors(BLENDE, sums, radiation="xray", wavelength=wavelength)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert np.abs(zinc.imag).min() > 0.5  # or the mean would be trivial


def test_special_positions_extinguish_more_than_the_group_does() -> None:
    diamond = Phase("C", "F d -3 m:2", (3.567, 3.567, 3.567, *CUBE), (Site("C", "C", (0.125, 0.125, 0.125), 1.0, 0.0),))
    sums = sums_of(diamond, 0.4)
    found = dict(
        zip(
            map(tuple, np.sort(np.abs(sums.families.hkl), axis=1)[:, ::-1].tolist()),
            squared_structure_factors(diamond, sums, radiation="neutron"),
            strict=True,
        )
    )
    carbon = lengths("C")[0]
    assert (2, 0, 0) not in found  # glide plane
    assert found[2, 2, 2] == pytest.approx(0, abs=1e-24)
    assert found[4, 0, 0] == pytest.approx((8 * carbon) ** 2, rel=1e-12)
    assert found[1, 1, 1] == pytest.approx(32 * carbon**2, rel=1e-12)


@pytest.mark.parametrize(
    ("group", "cell", "known"),
    [
        ("P m -3 m", (4.0, 4.0, 4.0, *CUBE), {(1, 0, 0): 6, (1, 1, 0): 12, (1, 1, 1): 8, (2, 1, 0): 24, (3, 2, 1): 48}),
        ("R -3 m:H", LAYERED_CELL, {(0, 0, 3): 2, (1, 0, 1): 6, (1, 0, 4): 6, (1, 1, 0): 6, (1, 1, 3): 12}),
    ],
)
def test_multiplicities(group: str, cell: tuple[float, ...], known: dict[tuple[int, ...], int]) -> None:
    found = families(group, cell, shortest=0.8, longest=30.0)  # type: ignore[arg-type]
    spacing = spacings(found.hkl, cell)  # type: ignore[arg-type]
    assert np.all(np.diff(spacing) <= 1e-12)
    for hkl, multiplicity in known.items():
        members = [found.members[found.first[i] : found.first[i + 1]].tolist() for i in range(len(found.hkl))]
        family = next(i for i, of in enumerate(members) if list(hkl) in of)
        assert found.multiplicity[family] == multiplicity == len(members[family])
        np.testing.assert_allclose(spacings(members[family], cell), spacing[family], rtol=1e-12)  # type: ignore[arg-type]


@pytest.mark.parametrize("group", ["R -3 m:H", "F d -3 m:2", "P n m a", "I a -3"])
def test_as_many_families_as_gemmi_counts(group: str) -> None:
    cell = LAYERED_CELL if group.startswith("R") else (8.1, 8.1, 8.1, *CUBE)
    found = families(group, cell, shortest=0.95, longest=50.0)
    other = gemmi.make_miller_array(gemmi.UnitCell(*cell), gemmi.find_spacegroup_by_name(group), 0.95)
    assert len(found.hkl) == len(other)
    assert len(found.members) == found.multiplicity.sum() == found.first[-1]


def test_cells() -> None:
    assert cell_volume(LAYERED_CELL) == pytest.approx(np.sqrt(3) / 2 * 2.83**2 * 14.4, rel=1e-14)
    hkl = np.array([[1, 0, 4], [1, 1, 3], [0, 0, 3]])
    h, k, along = hkl.T
    inverse = 4 / 3 * (h * h + h * k + k * k) / 2.83**2 + along**2 / 14.4**2
    np.testing.assert_allclose(spacings(hkl, LAYERED_CELL), inverse**-0.5, rtol=1e-14)
    cosines = axis_cosines([[1, 1, 0], [-1, -1, 0], [0, 0, 3], [1, 0, 0]], (1, 1, 0), LAYERED_CELL)
    np.testing.assert_allclose(cosines, [1, -1, 0, np.cos(np.pi / 6)], atol=1e-14)


def test_contents_count_every_image_once() -> None:
    assert contents(SALT) == {"Na": 4.0, "Cl": 4.0}
    assert contents(CAESIUM) == {"Cs": 0.9, "Cl": 1.0}


def test_form_factors_begin_at_the_number_of_electrons() -> None:
    forward = form_factor("Ni", 1e6, 0.1173)
    assert forward.real == pytest.approx(28, abs=0.05)
    assert abs(form_factor("Ni", 0.5, 0.1173)) < 10


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(CathoscopeError, match="space group"):
        families("R -3 q", LAYERED_CELL, shortest=1.0, longest=2.0)
    with pytest.raises(CathoscopeError, match="impossible"):
        families("R -3 m:H", LAYERED_CELL, shortest=1e-3, longest=2.0)
    with pytest.raises(CathoscopeError, match="no reflection"):
        families("R -3 m:H", LAYERED_CELL, shortest=10.0, longest=20.0)
