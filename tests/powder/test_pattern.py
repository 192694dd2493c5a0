"""Sums of peaks: wings, intensity, derivatives of the whole chain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import Dual, seeded, value_of
from cathoscope.powder.grid import NODES, grid_of
from cathoscope.powder.pattern import CwReflections, TofReflections, summed
from cathoscope.powder.pattern_kernels import _gather, add_cw, add_tof, sweep
from cathoscope.powder.position import tof_from_spacing, two_theta_from_spacing
from cathoscope.powder.profile_cw import cw_profile
from cathoscope.powder.profile_tof import tof_profile
from cathoscope.powder.profile_tof_kernels import reach_tof
from cathoscope.powder.width import Broadening, cw_shape, tof_shape, width_from_size, width_from_strain

TOF_BANK = {
    "difC": 22600.0, "difA": -0.9, "difB": 2.6, "zero": -8.5, "alpha": 0.13, "beta0": 0.11, "beta1": 0.0027,
    "betaq": 0.0, "sig0": 56.0, "sig1": -167.0, "sig2": 281.0, "sigq": -3.7, "X": 1.0, "Y": 0.5, "Z": 0.2,
}  # fmt: skip
_REST = ("position", "alpha", "beta", "sigma2", "gamma")
CW_BANK = {"U": 2.0, "V": -2.0, "W": 5.0, "X": 1.5, "Y": 3.0, "Z": 0.1}


def tof_phase(count: int = 40, lorentz: str = "exact") -> TofReflections:
    """Reflections as a phase has them, some on top of others."""
    d = np.geomspace(0.5, 2.9, count)
    area = 1 + np.sin(7 * d) ** 2
    sample = [Broadening(width_from_size(d=d, size=0.05)), Broadening(width_from_strain(strain=1500.0), 0.5)]
    shape = tof_shape(values=TOF_BANK, d=d, broadenings=sample)
    return TofReflections(area, tof_from_spacing(d=d, values=TOF_BANK), *shape, lorentz=lorentz)


def cw_phase(count: int = 30, axial: float = 0.04) -> CwReflections:
    d = np.geomspace(0.85, 4.0, count)
    angle = two_theta_from_spacing(d=d, wavelength=1.54)
    sigma2, gamma = cw_shape(values=CW_BANK, two_theta=angle)
    return CwReflections(1 + np.sin(7 * d) ** 2, angle, sigma2, gamma, np.array(axial))


def tof_sum(x: np.ndarray, one: TofReflections) -> np.ndarray:
    names = ("alpha", "beta", "sigma2", "gamma")
    rows = zip(value_of(one.area), value_of(one.position), *(value_of(getattr(one, n)) for n in names), strict=True)
    return sum(
        area * tof_profile(t=x - at, alpha=a, beta=b, sigma2=s, gamma=g, lorentz=one.lorentz)[0]
        for area, at, a, b, s, g in rows
    )


def cw_sum(x: np.ndarray, one: CwReflections) -> np.ndarray:
    rows = zip(*(value_of(c) for c in (one.area, one.position, one.sigma2, one.gamma)), strict=True)
    return sum(
        area * cw_profile(two_theta=x, position=at, sigma2=s, gamma=g, axial=float(value_of(one.axial)))[0]
        for area, at, s, g in rows
    )


@pytest.mark.parametrize("lorentz", ["exact", "gsas2"])
def test_sum_is_that_of_whole_peaks(lorentz: str) -> None:
    x = np.geomspace(11_000, 68_000, 1500)
    phase = tof_phase(lorentz=lorentz)
    expected = tof_sum(x, phase)
    np.testing.assert_allclose(summed(grid=grid_of(x), reflections=phase), expected, atol=1e-7 * expected.max())


@pytest.mark.parametrize("axial", [0.0, 0.04])
def test_sum_at_a_constant_wavelength(axial: float) -> None:
    x = np.arange(10, 140, 0.06)
    phase = cw_phase(axial=axial)
    expected = cw_sum(x, phase)
    np.testing.assert_allclose(summed(grid=grid_of(x), reflections=phase), expected, atol=1e-7 * expected.max())


@given(
    centre=st.floats(-50, 1050), width=st.floats(0.3, 100), decay=st.floats(0.02, 2), seed=st.integers(0, 999)
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_one_peak_on_any_points(centre: float, width: float, decay: float, seed: int) -> None:
    """Uneven points, with gaps, and peaks beyond the ends."""
    rng = np.random.default_rng(seed)
    x = np.unique(np.concatenate([rng.uniform(0, 400, 300), rng.uniform(600, 1000, 100)]))
    shape = {"alpha": 2 * decay, "beta": decay, "sigma2": width**2 / 6, "gamma": width}
    one = TofReflections(np.ones(1), np.array([centre]), *(np.array([value]) for value in shape.values()))
    expected = tof_profile(t=x - centre, **shape)[0]
    peak = tof_profile(t=np.linspace(-width, width + 3 / decay, 50), **shape)[0].max()
    np.testing.assert_allclose(summed(grid=grid_of(x), reflections=one), expected, rtol=1e-5, atol=1e-7 * peak)


def test_no_intensity_is_lost() -> None:
    """A reflection with wide wings: its sum over the pattern, and the rest of a Lorentzian beyond the ends."""
    x = np.arange(5000.0, 45_000.0, 2.0)
    one = TofReflections(*(np.array([v]) for v in (3.0, 25_000.0, 0.13, 0.11, 1.0, 40.0)))
    inside = summed(grid=grid_of(x), reflections=one).sum() * 2.0
    rest = 3.0 * 40.0 / np.pi / 20_000.0  # two tails of gamma / (2 pi t^2)
    assert inside + rest == pytest.approx(3.0, rel=1e-5)
    assert inside == pytest.approx(3.0, rel=1e-3)


def model_tof(p: object, x: np.ndarray, lorentz: str = "exact") -> object:
    """From a cell, a bank and a sample to a pattern; ``p`` an array or a dual (9,)."""
    d = np.geomspace(0.8, 2.5, 12) * p[0]
    bank = TOF_BANK | {"difC": p[1], "alpha": p[2], "beta0": p[3], "sig1": p[4], "X": p[5]}
    sample = [Broadening(width_from_size(d=d, size=p[6]), p[8]), Broadening(width_from_strain(strain=p[7]), 0.7)]
    shape = tof_shape(values=bank, d=d, broadenings=sample)
    position = tof_from_spacing(d=d, values=bank)
    one = TofReflections(100.0 * d * d, position, *shape, lorentz=lorentz)
    return summed(grid=grid_of(x), reflections=[one, tof_phase(5)])


def model_cw(p: object, x: np.ndarray) -> object:
    d = np.geomspace(1.0, 4.0, 9) * p[0]
    angle = two_theta_from_spacing(d=d, wavelength=1.54, zero=p[1])
    bank = CW_BANK | {"U": p[2], "X": p[3]}
    sample = [Broadening(width_from_size(d=d, size=p[4]), 0.8), Broadening(width_from_strain(strain=p[5]))]
    sigma2, gamma = cw_shape(values=bank, two_theta=angle, broadenings=sample)
    one = CwReflections(p[7] * d, angle, sigma2, gamma, p[6])
    return summed(grid=grid_of(x), reflections=one)


TOF_START = np.array([1.0, 22600.0, 0.13, 0.11, -167.0, 1.0, 0.06, 1500.0, 0.8])
CW_START = np.array([1.0, 0.02, 2.0, 1.5, 0.08, 1200.0, 0.03, 5.0])


@pytest.mark.parametrize(
    ("model", "start", "x"),
    [
        (model_tof, TOF_START, np.geomspace(16_000, 60_000, 500)),
        (lambda p, x: model_tof(p, x, "gsas2"), TOF_START, np.geomspace(16_000, 60_000, 500)),
        (model_cw, CW_START, np.arange(18, 110, 0.15)),
    ],
    ids=["tof", "tof gsas2", "cw"],
)
def test_derivatives_of_the_whole_chain(model, start: np.ndarray, x: np.ndarray) -> None:
    got = model(seeded(start), x)
    np.testing.assert_allclose(got.value, model(start, x), rtol=1e-13)
    steps = np.abs(start) * np.where(start == 1.0, 1e-6, np.where(start > 1e4, 1e-5, 1e-4))  # places move far
    for k, step in enumerate(steps):
        h = step * np.eye(start.size)[k]
        near, far = (model(start + j * h, x) - model(start - j * h, x) for j in (1, 2))
        expected = (8 * near - far) / (12 * step)
        np.testing.assert_allclose(got.slope[:, k], expected, atol=1e-6 * np.abs(expected).max(), err_msg=str(k))


def test_parameters_of_other_phases_cost_nothing_and_change_nothing() -> None:
    x = np.geomspace(12_000, 60_000, 300)
    first, second = tof_phase(6), tof_phase(4)
    slope = np.zeros((6, 3))
    slope[:, 1] = first.area
    scaled = TofReflections(Dual(first.area, slope), *(getattr(first, n) for n in _REST))
    got = summed(grid=grid_of(x), reflections=[scaled, second])
    alone = summed(grid=grid_of(x), reflections=first)
    np.testing.assert_allclose(got.value, alone + summed(grid=grid_of(x), reflections=second), rtol=1e-12)
    np.testing.assert_allclose(got.slope[:, 1], alone, rtol=1e-12)
    assert np.all(got.slope[:, [0, 2]] == 0)


def test_widths_below_the_least_count_as_the_least() -> None:
    x = np.linspace(900, 1100, 401)
    seeds = seeded([-3.0, -2.0])
    one = TofReflections(np.ones(1), np.array([1000.0]), np.ones(1), np.ones(1), seeds[:1], seeds[1:])
    got = summed(grid=grid_of(x), reflections=one)
    expected = tof_profile(t=x - 1000, alpha=1.0, beta=1.0, sigma2=1e-3, gamma=0.0)[0]
    np.testing.assert_allclose(got.value, expected, atol=1e-9)
    assert np.all(got.slope == 0)


def test_nothing_in_nothing_out() -> None:
    grid = grid_of([1.0, 2.0, 5.0])
    assert np.all(summed(grid=grid, reflections=[]) == 0)
    none = TofReflections(*(np.empty(0) for _ in range(6)))
    np.testing.assert_array_equal(summed(grid=grid, reflections=none), np.zeros(3))


@pytest.mark.parametrize(
    ("column", "value"), [("area", np.nan), ("position", np.inf), ("alpha", 0.0), ("beta", -1.0), ("gamma", np.nan)]
)
def test_values_out_of_range_are_named(column: str, value: float) -> None:
    columns = {name: np.ones(2) for name in ("area", *_REST)} | {column: np.array([1.0, value])}
    with pytest.raises(MeasurementError, match=f"the {column} of a reflection is out of range"):
        summed(grid=grid_of([1.0, 2.0]), reflections=TofReflections(**columns))


def test_angles_out_of_range_are_named() -> None:
    with pytest.raises(MeasurementError, match="between 0 and 180"):
        summed(grid=grid_of([1.0, 2.0]), reflections=CwReflections(*(np.array([v]) for v in (1.0, 181.0, 1, 1, 0))))


@pytest.mark.parametrize("x", [[], [1.0, 1.0], [2.0, 1.0], [1.0, np.nan], [[1.0, 2.0]]])
def test_points_must_increase(x: list[float]) -> None:
    with pytest.raises(MeasurementError, match="do not increase"):
        grid_of(x)


@given(size=st.integers(1, 400), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_intervals_hold_every_point_once(size: int, seed: int) -> None:
    x = np.cumsum(np.random.default_rng(seed).exponential(size=size))
    grid = grid_of(x)
    first, last, child = grid.intervals.first, grid.intervals.last, grid.intervals.child
    leaves = [range(first[k], last[k]) for k in np.flatnonzero(child == 0)]
    assert sorted(i for leaf in leaves for i in leaf) == list(range(size))
    assert all(first[grid.leaf[i]] <= i < last[grid.leaf[i]] for i in range(size))
    np.testing.assert_allclose(grid.spread.sum(axis=1), 1)
    np.testing.assert_allclose(grid.down.sum(axis=2), 1)


def test_kernels_as_python() -> None:
    grid = grid_of(np.linspace(100, 900, 60))
    table, slopes = np.array([[2.0, 450.0, 0.5, 0.3, 4.0, 3.0]]), np.arange(12.0).reshape(1, 6, 2)
    compiled, plain = np.zeros((2, grid.x.size + NODES * grid.parent.size, 3))
    for kernel, hand_down, sums in ((add_tof, sweep, compiled), (add_tof.py_func, sweep.py_func, plain)):
        kernel(grid.intervals, 1.0, table, slopes, sums)
        hand_down(grid.parent, grid.down, grid.leaf, grid.spread, sums)
    np.testing.assert_allclose(plain, compiled, rtol=1e-11)
    compiled[:], plain[:] = 0, 0
    angles = grid_of(np.linspace(20, 40, 60))
    for kernel, sums in ((add_cw, compiled), (add_cw.py_func, plain)):
        kernel(angles.intervals, False, np.array([[2.0, 30.0, 0.01, 0.1, 0.03]]), slopes, sums)
    np.testing.assert_allclose(plain, compiled, rtol=1e-11)
    reach = (*reach_tof((0.5, 0.3, 4.0, 3.0, 1.0)), 0.0, 0.0)
    rows, t = np.empty(compiled.shape[0], dtype=np.int64), np.empty(compiled.shape[0])
    again = rows.copy(), t.copy()
    got = _gather(grid.intervals, 450.0, reach, rows, t)
    assert got == _gather.py_func(grid.intervals, 450.0, reach, *again)
    np.testing.assert_array_equal(rows[: got[1]], again[0][: got[1]])
