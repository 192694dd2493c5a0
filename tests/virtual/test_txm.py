from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2, poisson

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.chords import projected_centres, transmission
from cathoscope.virtual.specimen import Grid, Sphere, SpheresSpecimen
from cathoscope.virtual.spectra import nickel_spectrum
from cathoscope.virtual.txm import (
    Scan,
    TxmOptions,
    dark_counts,
    draw_angles,
    draw_detector,
    draw_scan,
    flat_counts,
    projection_counts,
)

GRID = Grid(columns=64, rows=32, pixel_size=0.4)
IDEAL = TxmOptions.ideal()
NOT_A_LOWER_BOUND = {"counting_noise", "saturate", "axis_offset"}
SPECTRUM = nickel_spectrum(jump=0.06, background=0.03, line_energy=8350.0)
BALL = SpheresSpecimen((Sphere("ball", (2.0, -1.0, 0.5), 4.0, (SPECTRUM,)),), (25.0,))
MU = np.array([0.12])


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def projections_of(options: TxmOptions, scan: Scan, seed: int = 1) -> NDArray[np.float64]:
    detector = draw_detector(GRID, options, rng_of(11))
    blocks = projection_counts(BALL, GRID, scan, detector, attenuation=MU, options=options, rng=rng_of(seed))
    return np.concatenate([counts for _, counts in blocks]).astype(np.float64)


def test_an_ideal_instrument_measures_beer_and_lambert() -> None:
    scan = draw_scan(GRID, 40, IDEAL, rng_of(3))
    centres = projected_centres(
        BALL, GRID, angles=np.linspace(0, 180, 40), axis_column=np.full(40, 31.5), row_shift=np.zeros(40)
    )
    passed = transmission(BALL, GRID, attenuation=MU, centres=centres, sub_pixels=IDEAL.sub_pixels)
    np.testing.assert_allclose(projections_of(IDEAL, scan), IDEAL.photons * passed, atol=0.5)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_counts_are_poisson_distributed(seed: int) -> None:
    options = replace(IDEAL, counting_noise=True, flats=20, photons=900.0)
    detector = draw_detector(GRID, options, rng_of(seed))
    scan = draw_scan(GRID, 20, options, rng_of(seed))
    counts = flat_counts(scan, detector, options, rng_of(seed)).astype(np.float64)
    n = counts.size
    assert abs(counts.mean() - 900) < 4 * np.sqrt(900 / n)
    index_of_dispersion = ((counts - 900) ** 2).sum() / 900
    assert 1e-4 < chi2.cdf(index_of_dispersion, n) < 1 - 1e-4
    # the same, pixel by pixel: the variance over images spreads around the mean as it must
    per_pixel = counts.var(axis=0, ddof=1) / 900
    assert per_pixel.std() == pytest.approx(np.sqrt(2 / 19), rel=0.1)


@pytest.mark.parametrize("photons", [2.0, 30.0, 40_000.0])
def test_counts_follow_the_poisson_law_and_not_only_its_variance(photons: float) -> None:
    options = replace(IDEAL, counting_noise=True, flats=200, photons=photons)
    detector, scan = draw_detector(GRID, options, rng_of(1)), draw_scan(GRID, 20, options, rng_of(1))
    counts = flat_counts(scan, detector, options, rng_of(4)).ravel()
    law = poisson(photons)
    edges = np.unique(law.ppf(np.linspace(0, 1, 41)[1:-1]))  # bins of like probability, (-1, edge], ..., (edge, inf)
    expected = counts.size * np.diff(np.concatenate([[0], law.cdf(edges), [1]]))
    found = np.bincount(np.searchsorted(edges, counts), minlength=expected.size)
    statistic = float(((found - expected) ** 2 / expected).sum())
    assert 1e-4 < chi2.cdf(statistic, expected.size - 1) < 1 - 1e-4


@pytest.mark.parametrize("exposures", [1, 4])
def test_variance_of_counts_grows_with_their_mean_as_photons_and_read_noise_say(exposures: int) -> None:
    options = replace(IDEAL, counting_noise=True, read_noise=5.0, dark_level=80.0, illumination=0.9, photons=3000.0)
    options = replace(options, flats=4000, exposures=exposures)
    grid = Grid(16, 8, 0.4)
    detector, scan = draw_detector(grid, options, rng_of(1)), draw_scan(grid, 20, options, rng_of(1))
    counts = flat_counts(scan, detector, options, rng_of(2)).astype(np.float64)
    mean, variance = counts.mean(axis=0).ravel() - 80, counts.var(axis=0, ddof=1).ravel()
    assert np.ptp(mean) > 2000
    slope, offset = np.polyfit(mean, variance, 1, w=1 / variance)
    error = np.sqrt(2 / 4000)
    assert slope * exposures == pytest.approx(1, abs=4 * error / np.sqrt(mean.size) * mean.mean() / mean.std())
    pull = (variance / ((mean + 25) / exposures + 1 / 12) - 1) / error
    assert pull.std() == pytest.approx(1, abs=4 / np.sqrt(2 * pull.size))
    assert abs(pull.mean()) < 4 / np.sqrt(pull.size)
    assert np.isfinite(offset)


def test_noise_behind_the_specimen_follows_the_transmitted_photons() -> None:
    options = replace(IDEAL, counting_noise=True)
    still = replace(draw_scan(GRID, 64, IDEAL, rng_of(1)), angles=np.zeros(64))
    counts = projections_of(options, still)
    expected = projections_of(IDEAL, still)[0]
    dark_side, bright_side = expected < 0.6 * options.photons, expected == options.photons
    assert dark_side.sum() > 50
    for part in (dark_side, bright_side):
        fano = counts[:, part].var(axis=0, ddof=1) / expected[part]
        assert fano.mean() == pytest.approx(1, abs=4 * np.sqrt(2 / 63 / part.sum()))


def test_darks_have_the_level_pattern_and_noise_asked_for() -> None:
    options = replace(IDEAL, darks=400, dark_level=100.0, dark_pattern=4.0, read_noise=3.0)
    detector = draw_detector(GRID, options, rng_of(5))
    counts = dark_counts(detector, options, rng_of(6)).astype(np.float64)
    pixels = GRID.rows * GRID.columns
    assert counts.mean() == pytest.approx(100, abs=4 * 4 / np.sqrt(pixels))
    assert detector.dark.std() == pytest.approx(4, rel=0.1)
    rounding = 1 / 12
    assert counts.var(axis=0, ddof=1).mean() == pytest.approx(9 + rounding, rel=0.02)
    pull = (counts.mean(axis=0) - detector.dark) / np.sqrt((9 + rounding) / 400)
    assert pull.std() == pytest.approx(1, abs=0.1)


def test_flats_average_to_the_response_of_the_detector() -> None:
    options = replace(TxmOptions(), flats=50, zinger_fraction=0.0)
    detector = draw_detector(GRID, options, rng_of(5))
    scan = draw_scan(GRID, 20, options, rng_of(5))
    assert scan.flat_beam.mean() == pytest.approx(1)
    good = ~(detector.dead | detector.hot)
    expected = options.photons * detector.flat_response + detector.dark
    measured = flat_counts(scan, detector, options, rng_of(6)).mean(axis=0)
    pull = ((measured - expected) / np.sqrt((expected + options.read_noise**2) / 50))[good]
    assert pull.mean() == pytest.approx(0, abs=4 / np.sqrt(good.sum()))
    assert pull.std() == pytest.approx(1, abs=0.1)
    assert np.ptp(expected[good]) > 0.2 * options.photons


def test_dead_and_hot_pixels_see_no_beam() -> None:
    options = TxmOptions()
    detector = draw_detector(GRID, options, rng_of(5))
    assert detector.dead.sum() == round(options.dead_fraction * 2048)
    assert detector.hot.sum() == round(options.hot_fraction * 2048)
    assert not (detector.dead & detector.hot).any()
    scan = draw_scan(GRID, 20, options, rng_of(5))
    beam = np.median(flat_counts(scan, detector, options, rng_of(6)), axis=0)
    without = np.median(dark_counts(detector, options, rng_of(7)), axis=0)
    blind = detector.dead | detector.hot
    assert np.abs(beam - without)[blind].max() < 10 * options.read_noise
    assert (beam - without)[~blind].min() > 0.5 * options.photons


def test_stripes_are_columns_of_deviating_response() -> None:
    options = replace(IDEAL, stripes_in_flats=3, stripes_beside_flats=2, stripe_gain=0.05)
    detector = draw_detector(GRID, options, rng_of(5))
    assert detector.flat_response.std(axis=0).max() < 1e-12
    in_flats = np.abs(detector.flat_response[0] - 1) > 1e-9
    beside = np.abs(detector.projection_response[0] / detector.flat_response[0] - 1) > 1e-9
    assert in_flats.sum() == 3
    assert beside.sum() == 2
    assert not (in_flats & beside).any()
    np.testing.assert_allclose(np.abs(detector.flat_response[0, in_flats] - 1), 0.05)


def test_zingers_strike_as_often_as_asked_and_only_add() -> None:
    options = replace(IDEAL, darks=200, zinger_fraction=1e-4, dark_level=50.0)
    counts = dark_counts(draw_detector(GRID, options, rng_of(5)), options, rng_of(6))
    expected = 1e-4 * counts.size
    struck = counts > 50
    assert struck.sum() == pytest.approx(expected, abs=4 * np.sqrt(expected))
    assert counts[struck].min() >= 3050
    assert counts.min() == 50


def test_angles_cover_half_a_turn_in_uneven_steps() -> None:
    scan = draw_scan(GRID, 181, TxmOptions(), rng_of(9))
    steps = np.diff(scan.angles)
    assert (steps > 0.9).all()
    assert steps.std() > 0.005
    assert scan.angles[[0, -1]] == pytest.approx([0, 180], abs=0.1)


def test_a_missing_wedge_ends_the_rotation_early() -> None:
    angles = draw_angles(710, TxmOptions(arc=177.0), rng_of(9))
    assert angles[[0, -1]] == pytest.approx([0, 177], abs=0.1)
    assert (np.diff(angles) >= 0).all()
    np.testing.assert_allclose(draw_angles(60, replace(IDEAL, arc=177.0), rng_of(9)), np.arange(60) * 3.0)


def test_a_scan_at_given_angles_has_its_own_motions() -> None:
    options = TxmOptions(vertical_jitter=0.4)
    angles = draw_angles(300, options, rng_of(9))
    first, second = (draw_scan(GRID, 300, options, rng_of(seed), angles=angles) for seed in (1, 2))
    assert first.angles is angles is second.angles
    for name in ("projection_shift", "row_shift", "beam", "flat_beam"):
        assert (getattr(first, name) != getattr(second, name)).all()
    assert first.rotation_axis != second.rotation_axis
    assert first.row_shift.std() == pytest.approx(0.4, rel=4 / np.sqrt(600))


def test_a_part_of_the_detector_is_its_rows() -> None:
    detector = draw_detector(GRID, TxmOptions(), rng_of(5))
    part = detector.part(slice(8, 20))
    for field in fields(detector):
        np.testing.assert_array_equal(getattr(part, field.name), getattr(detector, field.name)[8:20])


def test_jitter_is_what_no_rigid_motion_can_explain() -> None:
    scan = draw_scan(GRID, 400, TxmOptions(horizontal_jitter=0.3), rng_of(9))
    theta = np.radians(scan.angles)
    for motion in (np.ones(400), np.cos(theta), np.sin(theta)):
        assert abs(scan.projection_shift @ motion) < 1e-9
    assert scan.projection_shift.std() == pytest.approx(0.3, rel=4 / np.sqrt(800))
    np.testing.assert_array_equal(scan.row_shift, 0)


def test_the_axis_scatters_about_its_offset() -> None:
    options = TxmOptions(axis_offset=-2.0, axis_run_out=0.2)
    axes = np.array([draw_scan(GRID, 4, options, rng_of(seed)).rotation_axis for seed in range(400)])
    assert axes.mean() == pytest.approx(31.5 - 2.0, abs=4 * 0.2 / 20)
    assert axes.std() == pytest.approx(0.2, rel=4 / np.sqrt(800))
    assert np.abs(axes - 31.5).max() < options.largest_axis_offset


def test_the_beam_drifts_by_no_more_than_stated() -> None:
    for seed in range(20):
        beam = draw_scan(GRID, 200, TxmOptions(beam_drift=0.03), rng_of(seed)).beam
        assert 0.005 < np.ptp(beam) < 0.09
    np.testing.assert_array_equal(draw_scan(GRID, 200, IDEAL, rng_of(1)).beam, 1)


def test_the_recorded_beam_scales_the_projections() -> None:
    options = replace(IDEAL, beam_drift=0.05, photons=30_000.0)
    scan = draw_scan(GRID, 40, options, rng_of(3))
    corner = projections_of(options, scan)[:, :3, :3].mean(axis=(1, 2))
    np.testing.assert_allclose(corner, 30_000 * scan.beam, atol=0.51)


def test_everything_is_reproducible_and_depends_on_the_seed() -> None:
    options = TxmOptions()
    scan = draw_scan(GRID, 40, options, rng_of(3))
    first, again, other = (projections_of(options, scan, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.9


@pytest.mark.parametrize("name", [field.name for field in fields(TxmOptions) if field.name not in NOT_A_LOWER_BOUND])
def test_options_below_their_range_are_refused(name: str) -> None:
    with pytest.raises(CathoscopeError, match=name):
        replace(TxmOptions(), **{name: -1})


@pytest.mark.parametrize("name", ["photons", "flats", "darks", "sub_pixels", "arc"])
def test_none_of_what_cannot_be_missing_is_refused(name: str) -> None:
    with pytest.raises(CathoscopeError, match=f"{name}="):
        replace(TxmOptions(), **{name: 0})
    with pytest.raises(CathoscopeError, match=name):
        replace(TxmOptions(), **{name: float("nan")})


def test_a_saturating_beam_is_refused_with_one_that_is_not_or_clipped() -> None:
    with pytest.raises(CathoscopeError, match="saturate") as caught:
        draw_detector(GRID, TxmOptions(photons=70_000), rng_of(1))
    assert caught.value.cure is not None
    cured = float(caught.value.cure.split("=")[1].split(",")[0])
    draw_detector(GRID, TxmOptions(photons=cured), rng_of(1))
    options = TxmOptions(photons=70_000, saturate=True)
    detector = draw_detector(GRID, options, rng_of(1))
    counts = flat_counts(draw_scan(GRID, 4, options, rng_of(1)), detector, options, rng_of(1))
    bright = options.photons * detector.flat_response > 68_000
    assert bright.any()
    assert (counts[:, bright & ~detector.dead & ~detector.hot] == 65_535).all()
