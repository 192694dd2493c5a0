"""Patterns of banks: where reflections are, how wide, how strong, and what counting does to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cathoscope.virtual.diffraction_banks import (
    DIFFRACTOMETERS,
    US_PER_METRE_ANGSTROM,
    Background,
    Diffractometer,
    cw_bank,
    moderator_flux,
    tof_bank,
)
from cathoscope.virtual.diffraction_pattern import (
    Lines,
    Portion,
    add_bragg,
    background,
    bragg,
    column_lengths,
    counted,
    cw_shapes,
    lines_of,
    lorentz_polarisation,
    position,
    sums_for,
    tof_shapes,
)
from cathoscope.virtual.diffraction_powder import starting_phases
from cathoscope.virtual.diffraction_structure import spacings
from cathoscope.virtual.particle import ROD

LAYERED, SPINEL = starting_phases(ROD.core_composition)
NEUTRONS = [one for one in DIFFRACTOMETERS.values() if one.is_tof]
NOMAD = [one for one in NEUTRONS if one.name.startswith("nomad")]
POWGEN = DIFFRACTOMETERS["powgen"]


def portion(phase=LAYERED, aspect=2.0, strain=2500.0, classes=None):  # type: ignore[no-untyped-def]
    lattice = np.array([[phase.cell[0], phase.cell[2]]]) if classes is None else classes
    shares = np.full(len(lattice), 1 / len(lattice))
    return Portion(phase, 1 / 3, 0.08, aspect, strain, shares, lattice)


def test_neutrons_see_q_from_2_to_25_and_neither_003_nor_the_spinels_111() -> None:
    ranges = [one.spacing_range() for one in NOMAD]
    assert 2 * np.pi / max(high for _, high in ranges) == pytest.approx(2.0, abs=0.05)
    assert 2 * np.pi / min(low for low, _ in ranges) == pytest.approx(25.0, abs=0.05)
    for phase, hidden in ((LAYERED, [0, 0, 3]), (SPINEL, [1, 1, 1])):
        (spacing,) = spacings([hidden], phase.cell)
        for one in NEUTRONS:
            assert spacings(sums_for(one, phase).families.hkl, phase.cell).max() < 0.7 * spacing
        for name in ("11-ID-C", "11-3"):
            first = sums_for(DIFFRACTOMETERS[name], phase).families.hkl[0]
            assert np.abs(first).tolist() == hidden


@pytest.mark.parametrize("one", NEUTRONS, ids=lambda one: one.name)
def test_neutrons_arrive_when_their_speed_says(one: Diffractometer) -> None:
    values = one.stated.values
    time = US_PER_METRE_ANGSTROM * values["flight_path"] * 2 * np.sin(np.deg2rad(values["two_theta"] / 2))
    assert values["difC"] == pytest.approx(time, rel=1e-3)
    own = replace(one.stated, values=dict(values) | {"difA": 0.0, "difB": 0.0, "zero": 3.0})
    assert position(own, np.array([1.5]))[0] == pytest.approx(1.5 * values["difC"] + 3.0, rel=1e-12)


def test_bragg_positions() -> None:
    bank = cw_bank("x", source="", wavelength=0.9762, zero=0.01)
    d = np.array([2.0, 0.7])
    np.testing.assert_allclose(position(bank, d), 2 * np.degrees(np.arcsin(0.9762 / 2 / d)) + 0.01, rtol=1e-14)
    tof = tof_bank("t", source="", difC=22600.0, difA=-0.9, difB=2.6, zero=-8.5)
    assert position(tof, np.array([2.0]))[0] == pytest.approx(45200 - 3.6 + 1.3 - 8.5, rel=1e-14)


def test_the_better_banks_are_those_at_larger_angles() -> None:
    widths = []
    for one in NOMAD:
        row = tof_shapes(one.stated.values, Lines(np.zeros((1, 3)), np.ones(1), np.ones(1), np.zeros(1)), 0.0)[0]
        variance = row[2] + 1 / row[0] ** 2 + 1 / row[1] ** 2
        widths.append(np.sqrt(8 * np.log(2) * variance) / one.stated.values["difC"])
    assert widths == sorted(widths, reverse=True)
    assert 0.003 < widths[-1] < widths[0] < 0.02


def test_size_and_strain_mean_the_same_at_any_diffractometer() -> None:
    d, size_width, strain = np.array([2.4, 1.4, 0.8]), np.array([3e-3, 2e-3, 1e-3]), 2500.0
    lines = Lines(np.zeros((3, 3)), d, np.ones(3), size_width)
    tof = tof_bank("t", source="", difC=1e4, alpha=1.0, beta0=1.0)
    cw = cw_bank("x", source="", wavelength=0.5)
    from_time = tof_shapes(tof.values, lines, strain)[:, 3] / 1e4
    theta = np.arcsin(0.5 / (2 * d))
    from_angle = np.deg2rad(cw_shapes(cw.values, lines, strain)[:, 1]) / (2 * np.tan(theta)) * d
    np.testing.assert_allclose(from_time, size_width + 2.5e-3 * d, rtol=1e-12)
    np.testing.assert_allclose(from_angle, from_time, rtol=1e-12)


def test_scherrer_in_degrees() -> None:
    """Full width lambda / (p cos theta), p = 0.1 um."""
    d, wavelength = np.array([1.5]), 1.2
    cw = cw_bank("x", source="", wavelength=wavelength)
    width = cw_shapes(cw.values, Lines(np.zeros((1, 3)), d, d, d**2 / 1000.0), 0.0)[0, 1]
    assert np.deg2rad(width) == pytest.approx(wavelength / 1000.0 / np.cos(np.arcsin(wavelength / 2 / 1.5)), rel=1e-12)


def test_columns_of_a_uniaxial_domain() -> None:
    rod = portion(aspect=1.9)
    hkl = np.array([[1, 1, 0], [2, -1, 0], [0, 0, 3], [1, -1, 0]])
    found = column_lengths(hkl, rod)
    assert found[0] == pytest.approx(0.08 * 1.9)
    assert found[2] == found[3] == pytest.approx(0.08)
    sixty = 0.08 * 1.9 / np.sqrt(0.25 + 0.75 * 1.9**2)
    assert found[1] == pytest.approx(sixty)
    np.testing.assert_allclose(column_lengths(hkl, portion(aspect=1.0)), 0.08)


def test_equivalents_apart_or_together_have_one_area_and_one_mean_width() -> None:
    one, sums = POWGEN, sums_for(POWGEN, LAYERED)
    together, apart = (lines_of(one, portion(), sums, apart=apart) for apart in (False, True))
    assert len(apart.area) > 1.5 * len(together.area)
    assert apart.area.sum() == pytest.approx(together.area.sum(), rel=1e-12)
    for i in np.flatnonzero((together.hkl == [1, 1, 0]).all(axis=1) | (together.hkl == [0, 0, 6]).all(axis=1)):
        mine = (apart.hkl == together.hkl[i]).all(axis=1)
        mean = np.average(apart.size_width[mine], weights=apart.area[mine])
        assert mean == pytest.approx(together.size_width[i], rel=1e-7)


def test_intensity_of_one_reflection_written_out() -> None:
    sums = sums_for(POWGEN, SPINEL)
    lines = lines_of(POWGEN, portion(SPINEL, aspect=1.0), sums, apart=False)
    i = int(np.flatnonzero((np.sort(np.abs(lines.hkl), axis=1) == [0, 0, 4]).all(axis=1))[0])
    d = 8.10 / 4
    li, ni, mn, co, o = (0.1 * b for b in (-1.90, 10.3, -3.73, 2.49, 5.803))
    x = 0.2625
    metals = ROD.core_composition
    sixteen = metals["Ni"] * ni + metals["Mn"] * mn + metals["Co"] * co
    # 8a adds with -1, 16d with +1, 32e with cos^3 of 8 pi x, all relative to the centre of inversion
    factor = -8 * (0.6 * li + 0.05 * ni) + 16 * sixteen + 32 * o * np.cos(8 * np.pi * x)
    factor *= np.exp(-2 * np.pi**2 * 0.008 / d**2)
    area = POWGEN.scale / 3 * 6 * factor**2 / 8.10**3 * np.sin(np.pi / 4) * d**4
    assert lines.area[i] == pytest.approx(area, rel=1e-10)


def test_lorentz_and_polarisation() -> None:
    d = np.array([1.7])
    tof = tof_bank("t", source="", two_theta=60.0)
    assert lorentz_polarisation(tof, d)[0] == pytest.approx(0.5 * 1.7**4)
    theta = np.arcsin(1.0 / (2 * 1.7))
    for polarised, factor in ((0.5, (1 + np.cos(2 * theta) ** 2) / 2), (1.0, 1.0)):
        bank = cw_bank("x", source="", wavelength=1.0, polarisation=polarised)
        expected = factor / (2 * np.sin(theta) ** 2 * np.cos(theta))
        assert lorentz_polarisation(bank, d)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["nomad-122", "powgen"])
def test_a_file_that_was_calibrated_in_the_same_bins_describes_them(name: str) -> None:
    """Densities amid bins, with the widths of the file, against integrals over bins: far less than the noise."""
    one = DIFFRACTOMETERS[name]
    part, sums = portion(), sums_for(one, LAYERED)
    edges = one.grid()
    middle, width = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
    integrated = bragg(one, one.true(0.0), [(part, sums)])
    density = np.zeros(middle.size)
    add_bragg(density, middle, one.stated, part, lines_of(one, part, sums, apart=False), by_bin=False)
    expected = integrated + background(one)
    sigma = np.sqrt(expected / one.gain())
    assert (((density * width - integrated) / sigma) ** 2).sum() < 0.02


def test_classes_keep_the_counts_and_move_the_peaks() -> None:
    one, sums = DIFFRACTOMETERS["nomad-67"], sums_for(DIFFRACTOMETERS["nomad-67"], SPINEL)
    spread = 8.10 + np.array([[-0.03], [0.0], [0.03]]) * np.ones(2)
    sharp, wide = (bragg(one, one.stated, [(portion(SPINEL, 1.0, 800.0, classes), sums)]) for classes in (None, spread))
    assert wide.sum() == pytest.approx(sharp.sum(), rel=1e-3)  # but for what passes the ends of the range
    assert wide.max() < 0.97 * sharp.max()


def test_counting() -> None:
    one = DIFFRACTOMETERS["nomad-122"]
    expected, gain = background(one), one.gain()
    assert (expected * gain).sum() == pytest.approx(one.counts, rel=1e-12)
    y, sigma = counted(expected, gain, np.random.default_rng(5))
    pulls = (y - expected) / np.sqrt(expected / gain)
    assert abs(pulls.mean()) < 4 / np.sqrt(pulls.size)
    assert abs(pulls.std() - 1) < 4 / np.sqrt(2 * pulls.size)
    np.testing.assert_allclose(sigma, np.sqrt(np.maximum(y * gain, 1)) / gain, rtol=1e-12)
    nothing, sigma = counted(np.zeros(4), np.full(4, 2.0), np.random.default_rng(5))
    assert nothing.tolist() == [0.0] * 4
    assert sigma.tolist() == [0.5] * 4


def test_background_and_spectrum_are_smooth_and_positive() -> None:
    q = np.linspace(0.1, 30, 3000)
    plain = Background(2.0, fall=0.0, glass=0.0)
    np.testing.assert_allclose(plain.at(q), 2.0)
    for one in DIFFRACTOMETERS.values():
        values = one.background.at(q)
        assert values.min() > 0.5
        assert np.abs(np.diff(values)).max() < 0.1
        assert one.gain().min() > 0
    assert moderator_flux(1.0) > moderator_flux(3.5) > 0


@pytest.mark.parametrize("one", list(DIFFRACTOMETERS.values()), ids=lambda one: one.name)
def test_chebyshev_polynomials_hold_the_background(one: Diffractometer) -> None:
    """Or a refinement would find the background in everything else."""
    x, expected = one.grid(), background(one)
    width = np.diff(x) if one.is_tof else np.ones(x.size)
    middle = 0.5 * (x[1:] + x[:-1]) if one.is_tof else x
    density, sigma = expected / width, np.sqrt(expected / one.gain()) / width
    terms = 10 if one.is_tof else 16
    fit = np.polynomial.Chebyshev.fit(middle, density, terms - 1, w=1 / sigma)
    assert (((fit(middle) - density) / sigma) ** 2).sum() < 2
    assert density.max() > 1.05 * density.min()


def test_true_numbers_differ_from_those_of_the_file() -> None:
    true = POWGEN.true(1.5)
    assert true.values["zero"] == POWGEN.stated.values["zero"] + 1.5
    assert POWGEN.stated.values["sig1"] - true.values["sig1"] == pytest.approx((4e-4 * 22600) ** 2 / 12)
    xray = DIFFRACTOMETERS["11-3"]
    assert xray.true(0.0).values == dict(xray.stated.values)
