"""Structure factors: closed forms, another program, a plain sum over atoms, sum rules, derivatives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.crystal import Phase, Site
from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import Dual, seeded, value_of
from cathoscope.powder.scattering import Scatterers, neutron_scatterers, xray_scatterers
from cathoscope.powder.structure import metric_from_cell, spacing_from_metric
from cathoscope.powder.structure_factor import SiteValues, squared_structure_factor, sum_plan
from cathoscope.powder.structure_factor_kernels import geometric_sums
from cathoscope.powder.symmetry import Symmetry, displacement_rule, images, position_rule, snapped, symmetry_of
from tests.powder.crystals import ANGLESITE, NMC, SPINEL

BLENDE = Phase(  # no centre; f'' matters
    "ZnS",
    "F -4 3 m",
    (5.4102,) * 3 + (90,) * 3,
    (Site("Zn", "Zn", (0, 0, 0), 1.0, 0.008), Site("S", "S", (0.25,) * 3, 1.0, 0.007)),
)
POLAR = Phase(  # no centre, every coordinate free somewhere, anisotropic, centring, a mixed site
    "polar",
    "C 1 c 1",
    (6.1, 7.2, 5.3, 90, 103, 90),
    (
        Site("Ni", "Ni", (0.12, 0.23, 0.31), 0.7, u_aniso=(0.012, 0.008, 0.02, 0.002, -0.003, 0.001)),
        Site("Mn", "Mn4+", (0.12, 0.23, 0.31), 0.3, 0.006),
        Site("O", "O2-", (0.4, 0.05, 0.77), 0.9, u_aniso=(0.02, 0.01, 0.015, -0.004, 0.005, 0.002)),
    ),
)


def site_values(symmetry: Symmetry, phase: Phase) -> SiteValues:
    """The numbers of the sites as the phase states them; rounded positions are moved onto their special position."""
    tensors = [site.u_aniso for site in phase.sites]
    return SiteValues(
        np.array([site.occupancy for site in phase.sites]),
        np.array([snapped(symmetry, site.position) for site in phase.sites]),
        np.array([site.u_iso if site.u_aniso is None else 0.0 for site in phase.sites]),
        np.array([tensor or (0.0,) * 6 for tensor in tensors]) if any(tensors) else None,
    )


def factors(phase: Phase, hkl: np.ndarray, scatterers: Scatterers) -> np.ndarray:
    symmetry, metric = symmetry_of(phase.space_group), metric_from_cell(cell=phase.cell)
    plan = sum_plan(symmetry, phase.sites, hkl)
    d = spacing_from_metric(hkl=hkl, metric=metric)
    return value_of(squared_structure_factor(plan, site_values(symmetry, phase), scatterers, d, metric))


def neutrons(phase: Phase, hkl: list[list[int]], table: str = "sears1992") -> np.ndarray:
    return factors(phase, np.array(hkl), neutron_scatterers([site.species for site in phase.sites], table))


def plain_sum(phase: Phase, hkl: np.ndarray, scatterers: Scatterers) -> np.ndarray:
    """Mean of |F|^2 of h and -h over all operations, displacement by the mean square along h in Cartesian axes."""
    cell, operations = gemmi.UnitCell(*phase.cell), list(gemmi.find_spacegroup_by_name(phase.space_group).operations())
    fractional = np.array(cell.frac.mat.tolist())  # rows a*, b*, c*
    frame = np.linalg.inv(fractional / np.linalg.norm(fractional, axis=1)[:, None])
    rotations = np.array([one.rot for one in operations]) / 24
    turns = np.linalg.inv(fractional) @ rotations @ fractional
    out = []
    for index in hkl:
        vector = index @ fractional
        amplitudes = scatterers.real(np.array([cell.calculate_d(index.tolist())]))[0][0] + 1j * scatterers.imaginary
        total = np.zeros(2, dtype=complex)
        for site, amplitude in zip(phase.sites, amplitudes, strict=True):
            images = rotations @ site.position + np.array([one.tran for one in operations]) / 24
            offset = images - site.position
            same = np.count_nonzero(np.abs(offset - np.round(offset)).max(axis=1) < 1e-6)
            u = np.eye(3) * site.u_iso
            if site.u_aniso is not None:  # on unit vectors along the reciprocal axes
                a, b, c, ab, ac, bc = site.u_aniso
                u = frame @ np.array([[a, ab, ac], [ab, b, bc], [ac, bc, c]]) @ frame.T
            damping = np.exp(-2 * np.pi**2 * np.einsum("i,gij,jk,glk,l->g", vector, turns, u, turns, vector))
            waves = damping * np.exp(2j * np.pi * images @ index)
            total += site.occupancy * amplitude / same * np.array([waves.sum(), waves.conj().sum()])
        out.append(np.mean(np.abs(total) ** 2))
    return np.array(out)


def test_squared_factors_and_intensities_are_those_of_gsas2(data_folder: Path) -> None:
    stored = np.load(data_folder / "diffraction" / "sim-nmc-spinel" / "gsas2_clean_pattern.npz")
    for phase, name, scale in ((NMC, "R_NMC", 0.7), (SPINEL, "R_spinel", 0.02)):
        table = stored[name]
        hkl, d = table[:, :3].astype(int), table[:, 4]
        squared = neutrons(phase, hkl, "gsas2")
        volume = gemmi.UnitCell(*phase.cell).volume
        # Column 11 is all but |F|^2: histogram scale 8000, phase scale, multiplicity, 1 / V, sin(theta) d^4.
        rest = 8000 * scale * table[:, 3] / volume * np.sin(np.radians(45)) * d**4

        assert np.allclose(squared, table[:, 9], rtol=1e-10, atol=1e-11)
        assert np.allclose(rest, table[:, 11], rtol=1e-10)


def salt(a: str, b: str, group: str, second: tuple[float, ...]) -> Phase:
    return Phase("", group, (4, 4, 4, 90, 90, 90), (Site("A", a, (0, 0, 0), 1, 0), Site("B", b, second, 1, 0)))


def test_rock_salt_and_caesium_chloride() -> None:
    na, cl, cs = 0.363, 0.9577, 0.542

    rock = neutrons(salt("Na", "Cl", "F m -3 m", (0.5,) * 3), [[1, 1, 1], [2, 0, 0], [3, 1, 1], [1, 0, 0], [2, 1, 1]])
    assert rock == pytest.approx([16 * (na - cl) ** 2, 16 * (na + cl) ** 2, 16 * (na - cl) ** 2, 0, 0], abs=1e-12)
    simple = neutrons(salt("Cs", "Cl", "P m -3 m", (0.5,) * 3), [[1, 0, 0], [1, 1, 0], [1, 1, 1]])
    assert simple == pytest.approx([(cs - cl) ** 2, (cs + cl) ** 2, (cs - cl) ** 2])


@pytest.mark.parametrize(("origin", "x"), [("1", 0.0), ("2", 0.125)])
def test_diamond(origin: str, x: float) -> None:
    diamond = Phase("", f"F d -3 m:{origin}", (3.567,) * 3 + (90,) * 3, (Site("C", "C", (x, x, x), 1, 0),))

    squared = neutrons(diamond, [[1, 1, 1], [2, 2, 0], [2, 2, 2], [4, 0, 0], [3, 3, 1]])
    assert squared == pytest.approx(np.array([32, 64, 0, 64, 32]) * 0.66460**2, abs=1e-9)


def test_perovskite() -> None:
    sites = (
        Site("A", "Ba", (0, 0, 0), 1, 0),
        Site("B", "Ti", (0.5,) * 3, 1, 0),
        Site("O", "O", (0.5, 0.5, 0), 1, 0),
    )
    a, b, o = 0.507, -0.3438, 0.5803
    squared = neutrons(
        Phase("", "P m -3 m", (4, 4, 4, 90, 90, 90), sites), [[1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 0, 0]]
    )

    assert squared == pytest.approx([(a - b - o) ** 2, (a + b - o) ** 2, (a - b + 3 * o) ** 2, (a + b + 3 * o) ** 2])


@pytest.mark.parametrize("phase", [NMC, SPINEL, ANGLESITE, BLENDE, POLAR])
def test_the_sum_over_all_atoms_gives_the_same(phase: Phase) -> None:
    hkl = np.array([[1, 1, 1], [2, 0, 0], [2, 0, 2], [3, 1, 1], [1, 1, 3], [-1, 1, 1], [4, 2, 0], [0, 0, 6]])
    for scatterers in (
        neutron_scatterers([site.species for site in phase.sites]),
        xray_scatterers([site.species for site in phase.sites], 1.5406),
    ):
        assert np.allclose(factors(phase, hkl, scatterers), plain_sum(phase, hkl, scatterers), rtol=1e-9, atol=1e-9)


def test_dispersion_tells_h_from_minus_h_only_in_the_mean() -> None:
    # h, k, l odd: F = 4 (f_Zn -+ i f_S), whose squares differ by +-32 (f'_Zn f''_S - f''_Zn f'_S) between h and -h.
    zinc, sulphur = 22.0 + 1.5j, 11.0 + 0.6j
    nothing = np.zeros((2, 4))
    scatterers = Scatterers(nothing, nothing, np.array([22.0, 11.0]), np.array([1.5, 0.6]))
    still = replace(BLENDE, sites=tuple(replace(site, u_iso=0.0) for site in BLENDE.sites))

    pair = [16 * abs(zinc - 1j * sulphur) ** 2, 16 * abs(zinc + 1j * sulphur) ** 2]
    assert pair[0] != pytest.approx(pair[1], rel=1e-3)
    squared = factors(still, np.array([[1, 1, 1], [-1, -1, -1]]), scatterers)
    assert squared == pytest.approx([np.mean(pair)] * 2)


def test_parseval_and_fourier_transform_of_a_grid() -> None:
    rng = np.random.default_rng(1)
    density = np.zeros((6, 6, 6))
    places = rng.integers(0, 6, (5, 3))
    sites = []
    for number, (place, share) in enumerate(zip(places, rng.uniform(0.2, 1, 5), strict=True)):
        density[tuple(place)] += 0.5803 * share
        sites.append(Site(f"O{number}", "O", tuple(place / 6), float(share), 0.0))
    hkl = np.array(list(np.ndindex(6, 6, 6)))[1:]
    squared = neutrons(Phase("", "P 1", (5, 6, 7, 80, 95, 100), tuple(sites)), hkl)

    assert np.allclose(squared, np.abs(np.fft.fftn(density)).ravel()[1:] ** 2, atol=1e-10)
    assert (squared.sum() + density.sum() ** 2) / 216 == pytest.approx(np.sum(density**2))


@given(st.integers(0, 2**31), st.sampled_from([NMC, SPINEL, ANGLESITE, POLAR]))
@settings(max_examples=15, deadline=None)
def test_equivalent_reflections_have_equal_factors(seed: int, phase: Phase) -> None:
    hkl = np.random.default_rng(seed).integers(-6, 7, 3)
    equivalent = images(symmetry_of(phase.space_group), [hkl])[0]
    equivalent = equivalent[np.any(equivalent, axis=1)]
    if len(equivalent):
        squared = neutrons(phase, equivalent)
        assert np.allclose(squared, squared[0], rtol=1e-9, atol=1e-10)


@given(st.tuples(*[st.floats(-0.5, 0.5)] * 3))
@settings(max_examples=10, deadline=None)
def test_the_origin_does_not_matter(shift: tuple[float, float, float]) -> None:
    sites = tuple(replace(site, position=tuple(np.add(site.position, shift))) for site in POLAR.sites)
    hkl = np.array([[1, 2, 3], [0, 1, 1], [-2, 1, 0], [4, 0, 1]])
    cell = (5.0, 6.0, 7.0, 80.0, 95.0, 100.0)
    first = Phase("", "P 1", cell, POLAR.sites)

    assert np.allclose(neutrons(first, hkl), neutrons(replace(first, sites=sites), hkl), rtol=1e-9, atol=1e-10)


def test_both_origins_of_the_spinel_agree() -> None:
    moved = tuple(replace(site, position=tuple(np.add(site.position, 0.125))) for site in SPINEL.sites)
    hkl = [[1, 1, 1], [2, 2, 0], [3, 1, 1], [2, 2, 2], [4, 0, 0], [5, 3, 1]]

    assert np.allclose(neutrons(SPINEL, hkl), neutrons(Phase("", "F d -3 m:1", SPINEL.cell, moved), hkl), rtol=1e-9)


@pytest.mark.parametrize("name", ["P 1 21/c 1", "I 41/a m d:2", "F d -3 m:1", "R -3 c:H", "P 21 21 21", "I a -3 d"])
def test_extinct_is_what_symmetry_extinguishes(name: str) -> None:
    group = gemmi.find_spacegroup_by_name(name)
    cell = {"P": (5, 6, 7, 90, 90, 90), "I": (8, 8, 8, 90, 90, 90), "F": (8, 8, 8, 90, 90, 90)}
    cell = cell.get(name[0], (5, 5, 14, 90, 90, 120))
    sites = (Site("A", "Ni", (0.113, 0.237, 0.371), 1.0, 0.0), Site("B", "O", (0.291, 0.173, 0.049), 1.0, 0.0))
    hkl = np.array(list(np.ndindex(5, 5, 5)), dtype=np.int32)[1:]
    squared = neutrons(Phase("", name, cell, sites), hkl)

    assert np.array_equal(squared < 1e-12, group.operations().systematic_absences(hkl))


def graded_sites(phase: Phase) -> tuple[SiteValues, np.ndarray]:
    """Every free number of the sites of a phase, as duals, with the numbers behind them."""
    symmetry, metric = symmetry_of(phase.space_group), metric_from_cell(cell=phase.cell)
    plain = site_values(symmetry, phase)
    stars = np.sqrt(metric[:3])
    points, blocks = [], []
    for number, site in enumerate(phase.sites):
        place = position_rule(symmetry, site.position)
        tensor = displacement_rule(symmetry, site.position, stars)
        points += [[site.occupancy], place.free(plain.position[number])]
        blocks += [("occupancy", number, np.eye(1)), ("position", number, place.matrix)]
        if site.u_aniso is None:
            points.append([site.u_iso])
            blocks.append(("u_iso", number, np.eye(1)))
        else:
            points.append(tensor.free(site.u_aniso))
            blocks.append(("u_aniso", number, tensor.matrix))
    return _spread(plain, blocks, sum(len(one) for one in points)), np.concatenate(points)


def _spread(plain: SiteValues, blocks: list[tuple[str, int, np.ndarray]], size: int) -> SiteValues:
    names = ("occupancy", "position", "u_iso", "u_aniso")
    values = {name: getattr(plain, name) for name in names if getattr(plain, name) is not None}
    slopes = {name: np.zeros((*np.shape(value), size)) for name, value in values.items()}
    column = 0
    for name, number, matrix in blocks:
        slopes[name][number, ..., column : column + matrix.shape[1]] = matrix
        column += matrix.shape[1]
    return SiteValues(**{name: Dual(value, slopes[name]) for name, value in values.items()})


@pytest.mark.parametrize("phase", [NMC, SPINEL, ANGLESITE, POLAR])
@pytest.mark.parametrize("radiation", ["neutron", "xray"])
def test_derivatives_to_the_structure(phase: Phase, radiation: str) -> None:
    species = [site.species for site in phase.sites]
    scatterers = neutron_scatterers(species) if radiation == "neutron" else xray_scatterers(species, 0.7)
    symmetry, metric = symmetry_of(phase.space_group), metric_from_cell(cell=phase.cell)
    hkl = np.array([[1, 1, 1], [2, 0, 2], [3, 1, 1], [0, 0, 6], [-1, 1, 5]])
    plan, d = sum_plan(symmetry, phase.sites, hkl), spacing_from_metric(hkl=hkl, metric=metric)
    sites, point = graded_sites(phase)
    graded = squared_structure_factor(plan, sites, scatterers, d, metric)
    names = [name for name in ("occupancy", "position", "u_iso", "u_aniso") if getattr(sites, name) is not None]

    def moved(number: int, step: float) -> np.ndarray:
        shifted = {name: getattr(sites, name).value + step * getattr(sites, name).slope[..., number] for name in names}
        return value_of(squared_structure_factor(plan, SiteValues(**shifted), scatterers, d, metric))

    assert isinstance(graded, Dual)
    for number in range(point.size):
        difference = (moved(number, 1e-5) - moved(number, -1e-5)) / 2e-5
        assert np.allclose(graded.slope[:, number], difference, rtol=1e-6, atol=1e-6 * np.abs(graded.value).max())


@pytest.mark.parametrize("phase", [NMC, POLAR])
def test_derivatives_to_the_cell(phase: Phase) -> None:
    species = [site.species for site in phase.sites]
    scatterers = xray_scatterers(species, 0.7)
    symmetry = symmetry_of(phase.space_group)
    hkl = np.array([[1, 1, 1], [2, 0, 2], [3, 1, 1]])
    plan, sites = sum_plan(symmetry, phase.sites, hkl), site_values(symmetry, phase)

    def squared(metric: object) -> object:
        return squared_structure_factor(plan, sites, scatterers, spacing_from_metric(hkl=hkl, metric=metric), metric)

    metric = value_of(metric_from_cell(cell=phase.cell))
    graded = squared(seeded(metric))
    for number in range(6):
        step = 1e-7 * np.eye(6)[number]
        difference = (squared(metric + step) - squared(metric - step)) / 2e-7
        assert np.allclose(graded.slope[:, number], difference, rtol=1e-6, atol=1e-6 * np.abs(graded.slope).max())


def test_anisotropic_displacement_needs_the_metric() -> None:
    symmetry = symmetry_of(POLAR.space_group)
    plan = sum_plan(symmetry, POLAR.sites, [[1, 1, 1]])
    scatterers = neutron_scatterers([site.species for site in POLAR.sites])
    with pytest.raises(MeasurementError, match="reciprocal metric"):
        squared_structure_factor(plan, site_values(symmetry, POLAR), scatterers, np.array([2.0]))


def test_an_isotropic_tensor_is_the_isotropic_displacement() -> None:
    symmetry, metric = symmetry_of(NMC.space_group), metric_from_cell(cell=NMC.cell)
    tensors = tuple(replace(site, u_aniso=(*[site.u_iso] * 3, site.u_iso / 2, 0, 0)) for site in NMC.sites)
    hkl = np.array([[1, 0, 1], [1, 0, 4], [1, 1, 3]])

    assert np.allclose(neutrons(NMC, hkl), neutrons(replace(NMC, sites=tensors), hkl), rtol=1e-12)
    assert site_values(symmetry, NMC).u_aniso is None
    assert metric[0] == metric[1]


@pytest.mark.parametrize("phase", [NMC, POLAR])
def test_the_kernel_compiled_and_as_python(phase: Phase) -> None:
    symmetry = symmetry_of(phase.space_group)
    plan = sum_plan(symmetry, phase.sites, [[1, 1, 1], [2, 0, 2]])
    count = len(phase.sites)
    beta = 0.01 * np.arange(6 * count).reshape(count, 6) if phase is POLAR else np.zeros((0, 6))
    results = []
    for kernel in (geometric_sums, geometric_sums.py_func):
        out = (np.zeros((2, count, 2)), np.zeros((2, count, 3, 2)), np.zeros((2, count, 6, 2)))
        kernel(plan.hkl, plan.terms, site_values(symmetry, phase).position, beta, plan.real, True, out)
        results.append(out)

    for compiled, python in zip(*results, strict=True):
        assert np.allclose(compiled, python, rtol=1e-13, atol=1e-13)
