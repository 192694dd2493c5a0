"""Series of slices with known sectors: what leaving sectors out finds, the curve, and where two samples meet."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.volume.slice_series import SliceSeries, SliceTable, compare_curves, fit_series, slice_series
from cathoscope.volume.slices import SECTORS

CYCLE = np.arange(0.0, 46.0, 3.0)
PIXELS = 1000.0


def table(
    porosity: NDArray[np.float64],
    *,
    spread: float = 0.0,
    shared: bool = True,
    noise: float = 0.0,
    systematic: float = 0.0,
    seed: int = 0,
) -> SliceTable:
    """Sectors whose porosities scatter by ``spread``, the same in all slices or anew in each."""
    rng = np.random.default_rng(seed)
    deviation = spread * rng.standard_normal((1 if shared else porosity.size, SECTORS))
    value = porosity + noise * rng.standard_normal(porosity.size)
    pore = PIXELS * (value[:, None] + deviation)
    sums = np.stack([pore, np.full_like(pore, PIXELS)], axis=-1)
    ones = np.ones((2, porosity.size))
    few = np.zeros(porosity.size)
    return SliceTable(np.stack([sums, sums], axis=1), noise * ones, systematic * ones, few, few + 55.0)


def series_of(porosity: NDArray[np.float64], **how: float) -> SliceSeries:
    return slice_series(CYCLE, table(porosity, **how), depth=0.019 * CYCLE)  # type: ignore[arg-type]


def test_slices_are_ordered_by_cycle_and_keep_their_values() -> None:
    porosity = 0.03 + 0.005 * CYCLE
    order = np.random.default_rng(1).permutation(CYCLE.size)
    found = slice_series(CYCLE[order], table(porosity[order], systematic=0.002))
    np.testing.assert_allclose(found.particle, porosity)
    np.testing.assert_allclose(found.section, porosity)
    np.testing.assert_allclose(found.total("section"), 0.002)
    assert found.left_out.shape == (2, SECTORS, CYCLE.size)


def test_sampling_errors_are_as_large_as_porosities_of_other_sections_differ() -> None:
    """Sectors drawn independently with the standard deviation s: the mean of K of them has s / sqrt(K)."""
    spread, count = 0.04, 200
    found = [series_of(np.full(CYCLE.size, 0.2), spread=spread, seed=seed) for seed in range(count)]
    values = np.array([one.particle[0] for one in found])
    variance = np.mean([one.sampling[0] ** 2 for one in found])
    assert np.sqrt(variance) == pytest.approx(spread / np.sqrt(SECTORS), rel=0.08)
    assert np.std(values) == pytest.approx(np.sqrt(variance), rel=0.15)


def test_slices_that_see_the_same_cracks_are_one_slice() -> None:
    porosity = np.full(CYCLE.size, 0.2)
    same, new = (series_of(porosity, spread=0.03, shared=shared) for shared in (True, False))
    assert same.independent_slices == pytest.approx(1, abs=1e-6)
    assert new.independent_slices > 6
    _, correlation = same.depth_correlation()
    np.testing.assert_allclose(correlation, 1)
    apart, correlation = new.depth_correlation()
    assert apart[1] == pytest.approx(3 * 0.019)
    assert correlation[0] == pytest.approx(1)
    assert abs(correlation[1]) < 0.3
    off = same.covariance[0, 1:]
    np.testing.assert_allclose(off, same.covariance[0, 0], rtol=1e-6)


def test_few_wide_pores_are_the_least_sampling_error() -> None:
    numbers = table(np.full(CYCLE.size, 0.05), spread=0.001)._replace(rare=np.full(CYCLE.size, 0.02))
    found = slice_series(CYCLE, numbers)
    np.testing.assert_allclose(found.sampling, 0.02)
    np.testing.assert_allclose(np.diagonal(found.covariance), 0.02**2)
    assert fit_series(found).at(20.0).std > 0.01


def test_what_is_left_out_scatters_as_the_sampling_error_says() -> None:
    """So a number that is computed from all sectors but one knows of few wide pores, in the slices that have them."""
    rare = np.where(np.arange(CYCLE.size) < CYCLE.size // 2, 0.02, 0.0)
    found = slice_series(CYCLE, table(0.05 + 0.001 * CYCLE, spread=0.02, shared=False)._replace(rare=rare))
    deviation = found.left_out[1] - found.left_out[1].mean(axis=0)
    jackknife = np.sqrt((SECTORS - 1) / SECTORS * np.sum(deviation**2, axis=0))
    np.testing.assert_allclose(jackknife, found.sampling)
    assert found.sampling.min() < 0.01 < 0.02 <= found.sampling[: CYCLE.size // 2].min()


def test_the_height_of_the_cut_follows_from_how_the_sections_shrink() -> None:
    depth, radius, height = 0.019 * CYCLE, 4.2, 0.3
    area = np.pi * (radius**2 - (height + depth) ** 2)
    found = slice_series(CYCLE, table(np.full(CYCLE.size, 0.1))._replace(area=area), depth=depth)
    (h, h_std), (r, _) = (one[:2] for one in found.cut_height())
    assert (h, r) == pytest.approx((height, radius), abs=1e-6)
    assert h_std < 1e-6
    with pytest.raises(MeasurementError, match="same depth"):
        slice_series(CYCLE, table(np.full(CYCLE.size, 0.1))).cut_height()


def test_a_straight_line_is_found_and_where_it_reaches_a_level() -> None:
    curve = fit_series(series_of(0.02 + 0.005 * CYCLE))
    assert curve.at(20.0).value == pytest.approx(0.12, abs=1e-3)
    value, low, high = curve.reaches(0.12)  # type: ignore[misc]
    assert value == pytest.approx(20, abs=0.3)
    assert low <= value <= high
    assert curve.reaches(0.9) is None


def test_a_level_just_beyond_the_last_cycle_is_found_and_one_that_is_open_has_its_early_end() -> None:
    last = CYCLE[-1]
    slope = fit_series(series_of(0.02 + 0.005 * CYCLE, systematic=0.02))
    value, low, high = slope.reaches(0.02 + 0.005 * (last + 2))  # type: ignore[misc]
    assert value == pytest.approx(last + 2, abs=0.5)
    assert low == pytest.approx(last + 2 - 4, abs=1.0)  # 0.02 of the method is four cycles
    assert high == np.inf
    value, low, high = slope.reaches(0.02 + 0.005 * (last + 7))  # type: ignore[misc]
    assert value == high == np.inf
    assert low == pytest.approx(last + 7 - 4, abs=1.0)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """An accelerating curve whose sectors scatter in common: 10 particles, 99 % binomial range of 68 %."""
    truth, hits = 0.03 + 0.0119 * np.expm1(0.06 * CYCLE), 0
    for seed in range(10):
        curve = fit_series(series_of(truth, spread=0.05, noise=0.003, seed=seed))
        at = curve.at(36.0)
        hits += abs(at.value - (0.03 + 0.0119 * np.expm1(0.06 * 36))) < at.total
    assert 3 <= hits <= 9


def test_systematic_parts_stay_apart() -> None:
    found = fit_series(series_of(0.02 + 0.005 * CYCLE, systematic=0.01)).at(30.0)
    assert found.systematic == pytest.approx(0.01)
    assert found.std < 0.002


def test_two_samples_are_told_apart_and_their_cycle_of_equal_porosity_is_found() -> None:
    fast = fit_series(series_of(0.03 + 0.2 * (1 - np.exp(-CYCLE / 8)), spread=0.02, seed=1))
    slow = fit_series(series_of(0.03 + 0.0119 * np.expm1(0.065 * CYCLE), spread=0.02, seed=2))
    found = compare_curves(fast, slow, 35.0)
    assert found.apart
    assert found.difference.value == pytest.approx(0.0934, abs=3 * found.difference.total)
    assert found.equal is not None
    assert 35 < found.equal.value <= 45 or np.isinf(found.equal.high)
    same = compare_curves(slow, slow, 35.0)
    assert not same.apart
    assert same.difference.value == 0
    with pytest.raises(MeasurementError, match="not followed"):
        compare_curves(fast, slow, 60.0)


def test_several_particles_of_a_sample_share_a_curve() -> None:
    several = [series_of(0.02 + 0.005 * CYCLE, spread=0.03, seed=seed) for seed in range(3)]
    curve = fit_series(several)
    assert curve.at(20.0).value == pytest.approx(0.12, abs=3 * curve.at(20.0).total)
    assert curve.trend.particle_std > 0


@pytest.mark.parametrize(
    ("cycles", "words"),
    [([0, 1, 2], "no series"), ([0, 1, 1, 2], "cycle 1: 2 slices"), ([0, 1, np.nan, 2], "no series")],
)
def test_what_is_no_series_is_refused(cycles: list[float], words: str) -> None:
    with pytest.raises(MeasurementError, match=words):
        slice_series(cycles, table(np.full(len(cycles), 0.1)))
    with pytest.raises(MeasurementError, match="no series"):
        slice_series([0, 1, 2, 3, 4], table(np.full(4, 0.1)))
