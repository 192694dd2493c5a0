from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.tomography.series import SeriesOptions, solve_series
from cathoscope.tomography.series_levels import binned_depth, level_of
from cathoscope.tomography.series_scans import common_angles
from cathoscope.tomography.series_split import Shifts, linear_law, split_shifts, wiener_share

# (x, y, z, width, optical depth, share of the chemistry) of Gaussian blobs, px
BLOBS = (
    (5.0, -4.0, 2.0, 1.6, 0.6, 0.0),
    (-7.0, 3.0, -5.0, 1.4, 0.7, 0.3),
    (1.0, 7.0, 6.0, 1.8, 0.5, -0.2),
    (-3.0, -6.0, 1.0, 1.3, 0.6, 0.0),
    (2.0, 1.0, -2.0, 5.0, 0.4, 0.2),
)
SIZE, N_PROJECTIONS, N_ENERGIES = 40, 48, 5
MIDDLE = 0.5 * (SIZE - 1)


@dataclass
class Truth:
    """Motion of a series, drawn; lengths in px."""

    angle_deg: np.ndarray
    axis: np.ndarray
    jitter: np.ndarray
    vertical: np.ndarray
    shift: np.ndarray
    magnification: np.ndarray
    strength: np.ndarray
    chemistry: np.ndarray


def draw(seed=0, arc=177.0, jitter=0.3, count=N_ENERGIES):
    rng = np.random.default_rng(seed)
    angle = np.sort(np.linspace(0, arc, N_PROJECTIONS) + rng.uniform(-0.3, 0.3, N_PROJECTIONS))
    theta = np.deg2rad(angle)
    modes = np.stack([np.ones_like(theta), np.cos(theta), np.sin(theta)], axis=1)
    moves = jitter * rng.standard_normal((2, count, N_PROJECTIONS))
    moves[0] -= moves[0] @ modes @ np.linalg.pinv(modes)
    shift = rng.uniform(-2, 2, (count, 3))
    return Truth(
        angle,
        MIDDLE + 1.0 + 0.3 * rng.standard_normal(count),
        moves[0],
        moves[1] - moves[1].mean(axis=1, keepdims=True),
        shift - shift.mean(axis=0),
        1.0 + 1e-3 * np.linspace(-1, 1, count),
        np.linspace(0.6, 1.4, count),
        np.sin(3.0 * np.arange(count)),
    )


def scan(truth, energy, *, noise=0.0, size=SIZE):
    """Optical depth [projection, row, column] in closed form, the noise that of few photons where it is dark."""
    theta = np.deg2rad(truth.angle_deg)[:, None, None]
    m, (dx, dy, dz) = truth.magnification[energy], truth.shift[energy]
    offset = truth.axis[energy] - MIDDLE + truth.jitter[energy]
    across = (np.arange(size)[None, None, :] - 0.5 * (size - 1) - offset[:, None, None]) / m
    up = (np.arange(size)[None, :, None] - 0.5 * (size - 1) - truth.vertical[energy][:, None, None]) / m
    total = np.zeros((theta.size, size, size))
    for x, y, z, width, depth, share in BLOBS:
        amount = depth * (truth.strength[energy] + share * truth.chemistry[energy])
        distance = (across - (x + dx) * np.cos(theta) - (y + dy) * np.sin(theta)) ** 2 + (up - z - dz) ** 2
        total += amount * np.exp(-distance / (2 * width**2))
    rng = np.random.default_rng(100 + energy)
    return (total + noise * np.exp(0.5 * total) * rng.standard_normal(total.shape)).astype(np.float32)


def solve(truth, scans, **options):
    return solve_series(
        lambda energy: scans[energy],
        angle_deg=truth.angle_deg,
        n_energies=len(scans),
        axis=MIDDLE,
        magnification=truth.magnification,
        options=SeriesOptions(**options),
    )


@pytest.fixture(scope="module")
def truth():
    return draw()


@pytest.fixture(scope="module")
def noisy(truth):
    return [scan(truth, energy, noise=0.01) for energy in range(N_ENERGIES)]


@pytest.fixture(scope="module")
def solved(truth, noisy):
    return solve(truth, noisy)


def test_the_geometry_of_a_series_is_found_over_177_degrees(truth, solved):
    assert solved.reason == (None,) * N_ENERGIES
    assert solved.rejected.max() <= 1
    np.testing.assert_allclose(solved.rotation_axis, truth.axis, atol=0.05)
    assert np.sqrt(np.mean((solved.specimen_shift - truth.shift) ** 2)) < 0.03
    assert np.sqrt(np.mean((solved.projection_shift - truth.jitter) ** 2)) < 0.05
    assert np.sqrt(np.mean((solved.vertical_shift - truth.vertical) ** 2)) < 0.05
    np.testing.assert_allclose(solved.magnification, truth.magnification, rtol=1e-12)
    assert not solved.magnification_std.any()
    assert not solved.angle_offset.any()
    np.testing.assert_allclose(solved.residual, 1.0, atol=0.25)


def test_errors_are_as_large_as_stated(truth, solved):
    share = truth.jitter.std() / np.hypot(truth.jitter.std(), solved.projection_shift_std.mean())
    assert share > 0.99
    pull = (solved.projection_shift - truth.jitter) / solved.projection_shift_std
    assert abs(pull.mean()) < 0.2
    assert 0.7 < pull.std() < 1.4
    upward = (solved.vertical_shift - truth.vertical) / solved.vertical_shift_std
    assert 0.7 < upward.std() < 1.4
    axis = (solved.rotation_axis - truth.axis) / solved.rotation_axis_std
    assert np.sqrt(np.mean(axis**2)) < 3


def test_conventions_hold(truth, solved):
    theta = np.deg2rad(truth.angle_deg)
    modes = np.stack([np.ones_like(theta), np.cos(theta), np.sin(theta)])
    usable = solved.usable.all(axis=1)
    assert usable.any()
    np.testing.assert_allclose(solved.projection_shift[usable] @ modes.T, 0.0, atol=1e-8)
    np.testing.assert_allclose(solved.vertical_shift.sum(axis=1), 0.0, atol=1e-8)
    np.testing.assert_allclose(solved.specimen_shift.mean(axis=0), 0.0, atol=1e-10)


def test_magnification_is_found_where_it_is_not_given(truth, noisy):
    found = solve_series(
        lambda energy: noisy[energy],
        angle_deg=truth.angle_deg,
        n_energies=N_ENERGIES,
        axis=MIDDLE,
        options=SeriesOptions(magnification="estimate", components=1, energy=tuple(np.linspace(-1, 1, N_ENERGIES))),
    )
    expected = np.log(truth.magnification) - np.log(truth.magnification).mean()
    error = np.log(found.magnification) - expected
    assert np.abs(error).max() < 5 * found.magnification_std.max()
    assert np.abs(error).max() < 3e-4
    assert np.log(found.magnification).mean() == pytest.approx(0.0, abs=1e-12)


def test_order_of_projections_and_missing_ones_change_nothing_else(truth, noisy, solved):
    order = np.random.default_rng(1).permutation(N_PROJECTIONS)
    angle = np.tile(truth.angle_deg[order], (N_ENERGIES, 1))
    lost = 40
    angle[2, lost:] = np.nan
    scans = [each[order] for each in noisy]
    scans[2] = scans[2][:lost]
    found = solve_series(
        lambda energy: scans[energy],
        angle_deg=angle,
        n_energies=N_ENERGIES,
        axis=MIDDLE,
        magnification=truth.magnification,
    )
    assert found.reason == (None,) * N_ENERGIES
    assert not found.usable[2, lost:].any()
    # without lost projections the axis and the displacement share the arc differently, but not what they add up to
    others = [0, 1, 3, 4]
    np.testing.assert_allclose(found.rotation_axis[others], solved.rotation_axis[others], atol=0.02)
    np.testing.assert_allclose(found.projection_shift[others], solved.projection_shift[others][:, order], atol=0.05)


def test_what_cannot_be_registered_is_named_and_the_rest_goes_on(truth, noisy, solved):
    turned = np.roll(scan(draw(seed=9), 4, noise=0.01)[:, ::-1], 20, axis=0)
    scans = [*noisy, np.zeros_like(noisy[0]), turned, None]

    def read(energy):
        if scans[energy] is None:
            raise MeasurementError("the file is cut short")
        return scans[energy]

    found = solve_series(read, angle_deg=truth.angle_deg, n_energies=8, axis=MIDDLE, options=SeriesOptions())
    assert found.reason[:5] == (None,) * 5
    assert None not in found.reason[5:]
    assert found.reason[7] == "the file is cut short"
    assert np.isnan(found.rotation_axis[5:]).all()
    assert np.isnan(found.specimen_shift[5:]).all()
    np.testing.assert_allclose(found.rotation_axis[:5], solved.rotation_axis, atol=0.05)


def test_a_specimen_that_leaves_the_view_is_told(truth, noisy):
    moved = draw()
    moved.shift[3] += (0.0, 0.0, 20.0)
    scans = [*noisy[:3], scan(moved, 3, noise=0.01), noisy[4]]
    assert solve(truth, scans, iterations=1).reason[3] is not None


def test_binned_scans_tell_the_same_in_pixels_of_the_detector(truth, noisy, solved):
    found = solve(truth, noisy, binning=2, components=1)
    assert found.binning == 2
    np.testing.assert_allclose(found.rotation_axis, solved.rotation_axis, atol=0.1)
    np.testing.assert_allclose(found.specimen_shift, solved.specimen_shift, atol=0.1)


def test_one_scan_alone_is_a_series(truth):
    found = solve_series(
        lambda _: scan(truth, 0, noise=0.01), angle_deg=truth.angle_deg, n_energies=1, axis=MIDDLE, magnification=0.999
    )
    assert found.rotation_axis[0] == pytest.approx(truth.axis[0], abs=0.06)
    assert np.std(found.projection_shift[0] - truth.jitter[0]) < 0.1
    assert found.magnification[0] == pytest.approx(0.999, rel=1e-12)


def test_bins_keep_the_optical_axis():
    level = level_of((21, 20), 2)
    assert level.shape == (10, 10)
    row = np.arange(21.0)[None, :, None] * np.ones((1, 1, 20))
    column = np.arange(20.0)[None, None, :] * np.ones((1, 21, 1))
    for image, middle, full in ((row[0], level.middle[0], 10.0), (column[0], level.middle[1], 9.5)):
        binned = binned_depth(image[None], level)[0]
        line = binned[:, 0] if np.ptp(binned[:, 0]) else binned[0]
        assert np.interp(middle, np.arange(line.size), line) == pytest.approx(full)


def test_angles_further_off_than_half_a_step_are_not_used():
    angle = np.tile(np.arange(0.0, 20.0), (3, 1))
    angle[1, 4] += 0.7
    angle[2, 5] += 0.3
    angle[:, 9] = np.nan
    shared = common_angles(angle, 3)
    assert shared.common.size == 19
    assert not shared.usable[1, 4]
    assert shared.usable.sum() == 3 * 19 - 1
    assert shared.difference[2, 5] == pytest.approx(np.deg2rad(0.3))


def test_split_takes_the_modes_and_leaves_the_rest():
    rng = np.random.default_rng(3)
    angle = np.deg2rad(np.linspace(0, 177, 90))
    modes = np.stack([np.ones(90), np.cos(angle), np.sin(angle)], axis=1)
    jitter = rng.standard_normal(90)
    jitter -= modes @ (np.linalg.pinv(modes) @ jitter)
    pulls = []
    for _ in range(200):
        noise = 0.1 * rng.standard_normal((2, 90))
        column = 3.0 + 1.01 * (0.5 * np.cos(angle) - 2.0 * np.sin(angle)) + jitter + noise[0]
        variance = np.full(90, 0.01)
        shifts = Shifts(column, 1.01 * 4.0 + noise[1], variance, variance, np.ones(90, dtype=bool))
        part = split_shifts(shifts, angle, 1.01)
        pulls.append(
            [(part.offset - 3.0) / part.offset_std, *((part.displacement - (0.5, -2.0, 4.0)) / part.displacement_std)]
        )
        # what noise explains is not taken for a vertical motion
        assert np.std(part.vertical) < 0.06
    assert np.abs(np.mean(pulls, axis=0)).max() < 0.25
    np.testing.assert_allclose(np.std(pulls, axis=0), 1.0, atol=0.15)
    assert np.std(part.jitter - jitter) < 0.12
    assert not split_shifts(shifts, angle, 1.01, jitter=False).jitter.any()


def test_wiener_share_is_the_part_that_noise_does_not_explain():
    values = np.array([3.0, -3.0, 3.0, -3.0])
    assert wiener_share(values, np.full(4, 4.5)) == pytest.approx(0.5)
    assert wiener_share(values, np.full(4, 20.0)) == 0.0
    assert wiener_share(np.zeros(4), np.ones(4)) == 0.0


def test_a_law_in_energy_does_not_follow_the_chemistry():
    rng = np.random.default_rng(4)
    energy, pattern = np.linspace(8300, 8400, 30), rng.standard_normal((30, 1))
    pulls = []
    for _ in range(300):
        values = 2e-5 * (energy - 8350) + 3e-3 * pattern[:, 0] + 1e-4 * rng.standard_normal(30)
        line, std = linear_law(values, np.full(30, 1e-8), energy, pattern)
        pulls.append(((line - line.mean()) - 2e-5 * (energy - 8350))[-1] / np.sqrt(std[-1] ** 2 - std.min() ** 2))
    assert abs(np.mean(pulls)) < 0.2
    assert np.std(pulls) == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"angle_deg": np.arange(4.0)}, "angles"),
        ({"angle_deg": np.zeros((2, 48))}, "angles"),
        ({"axis": np.zeros(3)}, "axis"),
        ({"magnification": np.zeros(5)}, "magnification"),
        ({"options": SeriesOptions(energy=(1.0, 2.0))}, "energy"),
    ],
)
def test_what_does_not_fit_is_refused(truth, change, match):
    given = {"angle_deg": truth.angle_deg, "n_energies": N_ENERGIES, "axis": MIDDLE}
    with pytest.raises(MeasurementError, match=match):
        solve_series(lambda _: np.zeros((48, SIZE, SIZE)), **{**given, **change})


def test_a_series_without_any_scan_is_refused(truth):
    for values in (np.zeros((48, SIZE, SIZE)), np.zeros((49, SIZE, SIZE))):
        with pytest.raises(MeasurementError, match="no scan"):
            solve_series(lambda _, v=values: v, angle_deg=truth.angle_deg, n_energies=2, axis=MIDDLE)
    with pytest.raises(MeasurementError, match="iterations"):
        SeriesOptions(iterations=0)
