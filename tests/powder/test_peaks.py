"""Single peaks: what made them comes back with honest uncertainties, alone and along a series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from cathoscope.core.bank import Bank
from cathoscope.powder.crystallite import CrystalliteChoices, crystallite_of
from cathoscope.powder.peak_tracks import follow_peaks
from cathoscope.powder.peaks import Cut, Group, Shape, _bell, _problem, cut_of, fit_peaks, start_shape
from cathoscope.powder.position import tof_from_spacing, two_theta_from_spacing
from cathoscope.powder.profile_cw import cw_profile
from cathoscope.powder.profile_tof import tof_profile
from cathoscope.powder.width import cw_shape, tof_shape
from tests.powder.crystals import NMC
from tests.powder.patterns import COPPER, POWGEN, pattern_on, recorded
from tests.powder.shapes import differences

TOF = 22600 * np.geomspace(1.405, 1.475, 90)
ANGLE = np.linspace(35.5, 40.5, 120)
NAMES = ("d", "area", "blur", "asymmetry", "line.0", "line.1")


def window(bank: Bank, x: np.ndarray, group: Group, made: np.ndarray, seed: int) -> Cut:
    """Counts of an expected pattern."""
    y = np.random.default_rng(seed).poisson(made).astype(float)
    return Cut(bank, "exact", group, x, y, np.sqrt(np.maximum(y, 1)))


def tof_peak(d: float, area: float, blur: float = 0.0) -> np.ndarray:
    """A peak of the bank's shape with a Lorentzian of this width (us) in it, written without the code under test."""
    alpha, beta, sigma2, gamma = (float(one) for one in tof_shape(values=POWGEN.values, d=d))
    t = TOF - float(tof_from_spacing(d=d, values=POWGEN.values))
    return area * tof_profile(t=t, alpha=alpha, beta=beta, sigma2=sigma2, gamma=gamma + blur)[0]


def cw_peak(d: float, area: float) -> np.ndarray:
    made = np.zeros(ANGLE.size)
    for wavelength, share in (("wavelength", 1.0), ("wavelength2", COPPER.values["ratio"])):
        at = float(two_theta_from_spacing(d=d, wavelength=COPPER.values[wavelength]))
        sigma2, gamma = (float(one) for one in cw_shape(values=COPPER.values, two_theta=at))
        axial = COPPER.values["axial"]
        made += share * area * cw_profile(two_theta=ANGLE, position=at, sigma2=sigma2, gamma=gamma, axial=axial)[0]
    return made


@pytest.mark.parametrize("asymmetry", [False, True])
def test_pulls_of_a_peak_of_time_of_flight(asymmetry: bool) -> None:
    d, area, blur = 1.438, 2.5e4, 60.0
    group, made = Group((1.4365,), asymmetry=asymmetry), tof_peak(d, area, blur) + 80 + 0.002 * (TOF - TOF[0])
    pulls = []
    for seed in range(30):
        fit = fit_peaks(window(POWGEN, TOF, group, made, seed), Shape((1.4365,), (1.3,), (0.0,)))
        pulls.append(
            [
                (fit.spacing[0, 0] - d) / fit.spacing[0, 1],
                (fit.area[0, 0] - area) / fit.area[0, 1],
                (fit.width[0, 0] / width_of(d, blur) - 1) * fit.width[0, 0] / fit.width[0, 1],
                fit.asymmetry[0, 0] / fit.asymmetry[0, 1] if asymmetry else np.nan,
            ]
        )
    columns = np.array(pulls)[:, : 4 if asymmetry else 3]
    assert np.abs(columns.mean(axis=0)).max() < 0.5
    np.testing.assert_allclose(columns.std(axis=0), 1.0, atol=0.3)


def width_of(d: float, blur: float) -> float:
    """Full width at half maximum in A, read off the peak on a fine grid."""
    alpha, beta, sigma2, gamma = (float(one) for one in tof_shape(values=POWGEN.values, d=d))
    t = np.linspace(-200, 200, 40001)
    value = tof_profile(t=t, alpha=alpha, beta=beta, sigma2=sigma2, gamma=gamma + blur)[0]
    return np.ptp(t[value > 0.5 * value.max()]) / POWGEN.values["difC"]


def test_pulls_of_two_lines_of_copper() -> None:
    """K-alpha 2 belongs to the peak; its place is that of Bragg's law, where axial divergence and all make it."""
    d, area = 2.365, 80.0
    pulls = []
    for seed in range(18):
        cut = window(COPPER, ANGLE, Group((2.36,)), cw_peak(d, area) + 60, seed)
        fit = fit_peaks(cut, start_shape(cut)[1])
        pulls.append([(fit.spacing[0, 0] - d) / fit.spacing[0, 1], (fit.area[0, 0] - area) / fit.area[0, 1]])
    assert np.abs(np.mean(pulls, axis=0)).max() < 0.6
    np.testing.assert_allclose(np.std(pulls, axis=0), 1.0, atol=0.4)


def test_two_peaks_of_a_group_are_told_apart() -> None:
    truth = ((1.431, 2e4), (1.441, 1.2e4))
    made = sum(tof_peak(d, area) for d, area in truth) + 60
    cut = window(POWGEN, TOF, Group((1.430, 1.4415)), made, 3)
    fit = fit_peaks(cut, Shape((1.430, 1.4415), (0.1, 0.1), (0.0, 0.0)))
    for k, (d, area) in enumerate(truth):
        assert abs(fit.spacing[k, 0] - d) < 4 * fit.spacing[k, 1]
        assert abs(fit.area[k, 0] - area) < 4 * fit.area[k, 1]


@pytest.mark.parametrize("bank", [POWGEN, COPPER])
def test_derivatives_and_area(bank: Bank) -> None:
    from cathoscope.numerics.dual import seeded, value_of

    x, d = (TOF, 1.438) if bank is POWGEN else (ANGLE, 2.365)
    problem = _problem(Cut(bank, "exact", Group((d,)), x, x, x))
    point = dict(zip(NAMES, (d, 50.0, 1.6, 0.2, 3.0, 1.0), strict=True))

    def value(**at: float) -> np.ndarray:
        named = {name if name.startswith("line") else f"0.{name}": one for name, one in at.items()}
        return value_of(problem.calculated(named))

    parameters = seeded(list(point.values()))
    named = {name if name.startswith("line") else f"0.{name}": parameters[k] for k, name in enumerate(NAMES)}
    made = problem.calculated(named)
    for k, name in enumerate(NAMES):
        expected = differences(lambda **at: value(**at), point, name, 1e-6 * max(abs(point[name]), 0.1))
        within = 1e-5 if bank is POWGEN else 0.03  # of axial divergence, what changes with the angle counts for place
        np.testing.assert_allclose(made.slope[:, k], expected, rtol=0, atol=within * np.abs(expected).max())
    # area one for every blur and asymmetry, but for the lean of the blur
    wide = np.linspace(x.mean() - 40 * np.ptp(x), x.mean() + 40 * np.ptp(x), 200001) if bank is POWGEN else None
    if wide is not None:
        far = replace(problem.cut, x=wide)
        lean = replace(problem, cut=far, line=np.zeros((wide.size, 2)), bells=(_bell(far, d),))
        for asymmetry, within in ((0.0, 2e-3), (0.2, 1e-2)):
            total = value_of(lean.calculated({**named, "0.asymmetry": asymmetry})).sum() * (wide[1] - wide[0])
            assert total == pytest.approx(50.0, rel=within)


def test_the_centre_needs_no_shape() -> None:
    """It goes with what is there, here two peaks fitted as one; its uncertainty is what noise does to it."""

    def fitted(by: float, seed: int) -> np.ndarray:
        made = tof_peak(1.436 + by, 2e4, 20.0) + tof_peak(1.439 + by, 1.2e4, 20.0) + 60
        cut = window(POWGEN, TOF, Group((1.437 + by,), asymmetry=True), made, seed)
        return fit_peaks(cut, Shape((1.437 + by,), (1.0,), (0.0,))).centre

    centres = np.array([fitted(0.0, seed) for seed in range(24)])
    moved = np.array([fitted(0.002, seed) for seed in range(24, 32)])
    error = centres[:, 0].std() * np.sqrt(1 / 24 + 1 / 8)
    assert moved[:, 0].mean() - centres[:, 0].mean() == pytest.approx(0.002, abs=4 * error)
    assert np.mean(centres[:, 1]) == pytest.approx(centres[:, 0].std(), rel=0.4)


def series(areas: Sequence[float], first: float = 1.434, last: float = 1.440) -> list[Cut | None]:
    """A peak that moves along the series and has these areas."""
    group = Group((1.437,), window=0.02)
    places = np.linspace(first, last, len(areas))
    made = [tof_peak(d, area, 40.0) + 70 for d, area in zip(places, areas, strict=True)]
    return [window(POWGEN, TOF, group, one, seed) for seed, one in enumerate(made)]


def test_a_track_follows_a_peak_that_moves_and_ends_where_it_goes() -> None:
    areas = np.r_[np.full(6, 2e4), np.linspace(2e4, 0, 6), np.zeros(6)]
    cuts = series(areas)
    fits = follow_peaks([*cuts[:3], None, *cuts[4:]])
    assert fits[3] is None
    known = [k for k in range(18) if k != 3]
    there = [k for k in known if fits[k].shape is not None]
    assert set(range(10)) - {3} <= set(there) <= set(range(12))
    places = 1.434 + 0.006 * np.linspace(0, 1, 18)
    for k in there:
        assert abs(fits[k].spacing[0, 0] - places[k]) < 4 * fits[k].spacing[0, 1]
    pulls = np.array([(fits[k].area[0, 0] - areas[k]) / fits[k].area[0, 1] for k in known])
    assert np.abs(pulls).max() < 4
    assert np.isnan(fits[17].spacing).all()
    assert np.isfinite(fits[17].area).all()


def test_a_window_goes_with_its_peak() -> None:
    """From one end of the list's window to beyond the other."""
    wide = [
        replace(cut, group=Group((1.430,), window=0.012)) for cut in series(np.full(25, 2e4), first=1.425, last=1.455)
    ]
    fits = follow_peaks(wide)
    pulls = [
        (fit.spacing[0, 0] - d) / fit.spacing[0, 1] for fit, d in zip(fits, np.linspace(1.425, 1.455, 25), strict=True)
    ]
    assert np.isfinite(pulls).all()
    assert np.abs(pulls).max() < 4


def test_where_no_peak_ever_is_the_area_is_none() -> None:
    fits = follow_peaks(series(np.zeros(12)))
    pulls = np.array([fit.area[0, 0] / fit.area[0, 1] for fit in fits])
    assert all(fit.shape is None for fit in fits)
    assert abs(pulls.mean()) < 1.0
    assert pulls.std() == pytest.approx(1.0, abs=0.45)


def test_windows_of_a_pattern() -> None:
    x = np.geomspace(22600 * 1.2, 22600 * 2.6, 500)
    numbers = {"NMC.size": 0.08, "powgen.NMC.scale": 4000.0, "powgen.background.0": 120.0}
    phases = [crystallite_of(NMC, CrystalliteChoices(size="isotropic"))]
    pattern = recorded(pattern_on(POWGEN, x), phases, numbers, counts=20.0)
    cut = cut_of(pattern, Group((2.026,)))
    stands, start = start_shape(cut)
    fit = fit_peaks(cut, start)
    assert stands > 50
    true = 1 / np.sqrt(4 / 3 / 2.84**2 + 16 / 14.3**2)  # of 104
    assert abs(fit.spacing[0, 0] - true) < 4 * fit.spacing[0, 1] < 2e-3
    assert np.ptp(cut_of(pattern, Group((2.026,), window=0.05)).x) == pytest.approx(0.1 * 22600, rel=0.1)
    assert cut_of(pattern, Group((1.1,))) is None
    assert cut_of(replace(pattern, used=np.abs(x / 22600 - 2.026) > 0.02), Group((2.026,), window=0.015)) is None
