from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.tomography.correct import (
    bad_pixels_from_flats,
    beam_intensity_from_open_columns,
    fill_bad_pixels,
    open_columns_from_transmission,
    optical_depth_from_transmission,
    stripe_offsets_from_sinogram,
    stripes_removed,
    transmission_from_counts,
    zingers_removed,
)

SHAPE = (24, 32)


def frames(seed=0, n_flats=12):
    """Flats with uneven illumination and fixed pattern, darks with read-out noise."""
    rng = np.random.default_rng(seed)
    level = 4000.0 * (1 + 0.2 * np.linspace(-1, 1, SHAPE[1])) * rng.uniform(0.97, 1.03, SHAPE)
    offset = rng.uniform(95, 105, SHAPE)
    flat = rng.poisson(level, (n_flats, *SHAPE)) + offset
    dark = offset + rng.normal(0, 2, (n_flats, *SHAPE))
    return level, offset, flat, dark


def test_correction_inverts_the_detector():
    level, offset, _, _ = frames()
    truth = np.random.default_rng(1).uniform(0.1, 1.0, (3, *SHAPE))
    result = transmission_from_counts(counts=truth * level + offset, flat=(level + offset)[None], dark=offset[None])
    np.testing.assert_allclose(result, truth, rtol=2e-5)


def test_flats_without_beam_are_refused():
    zero = np.zeros((2, *SHAPE))
    with pytest.raises(MeasurementError, match="no beam"):
        transmission_from_counts(counts=zero + 5, flat=zero, dark=zero)
    with pytest.raises(MeasurementError, match="flat frames"):
        transmission_from_counts(counts=zero, flat=zero[:, :-1], dark=zero)


def test_beam_drift_is_found_in_the_open_columns():
    rng = np.random.default_rng(2)
    beam = rng.uniform(0.8, 1.2, 30)
    transmission = rng.normal(1.0, 0.01, (30, *SHAPE))
    transmission[:, :, 9:25] *= 0.5
    transmission *= beam[:, None, None]
    columns = open_columns_from_transmission(transmission=transmission)
    # 9 and 7 columns are open; the outer half of each run is used
    np.testing.assert_array_equal(np.flatnonzero(columns), np.r_[0:4, 28:32])
    found = beam_intensity_from_open_columns(transmission=transmission, open_columns=columns)
    # the median of n normal values scatters by sqrt(pi / 2) sigma / sqrt(n)
    expected = 0.01 * np.sqrt(np.pi / 2 / (SHAPE[0] * 16))
    assert np.sqrt(np.mean((found / beam - 1) ** 2)) < 2 * expected


def test_a_sample_that_fills_the_view_leaves_no_open_column():
    angle = np.linspace(0, np.pi, 40)[:, None, None]
    column = np.linspace(-1, 1, SHAPE[1])
    transmission = np.exp(-1 - 0.5 * np.cos(angle + 2 * column)) * np.ones((1, SHAPE[0], 1))
    assert open_columns_from_transmission(transmission=transmission) is None
    with pytest.raises(MeasurementError, match="open beam"):
        beam_intensity_from_open_columns(transmission=transmission, open_columns=np.zeros(SHAPE[1], dtype=bool))
    transmission[4] = 0.0
    with pytest.raises(MeasurementError, match="without beam"):
        beam_intensity_from_open_columns(transmission=transmission, open_columns=np.ones(SHAPE[1], dtype=bool))


def test_bad_pixels_are_those_that_were_spoilt():
    _, _, flat, dark = frames(n_flats=20)
    assert not bad_pixels_from_flats(flat=flat, dark=dark).any()
    expected = np.zeros(SHAPE, dtype=bool)
    flat[:, 3, 4] = dark[:, 3, 4]
    dark[:, 10, 20] += 900
    flat[:, 10, 20] += 900
    flat[:, 17, 8] += np.random.default_rng(3).normal(0, 400, 20)
    flat[0, 20, 30] = np.nan
    for pixel in ((3, 4), (10, 20), (17, 8), (20, 30)):
        expected[pixel] = True
    np.testing.assert_array_equal(bad_pixels_from_flats(flat=flat, dark=dark), expected)


def test_filled_pixels_come_from_good_neighbours():
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    stack = np.stack([row, column + 5])
    mask = np.zeros(SHAPE, dtype=bool)
    mask[5, 6] = mask[0, 0] = True
    mask[10:15, 10:15] = True
    broken = stack.copy()
    broken[:, mask] = 1e9
    broken[1, 20, 20] = np.nan
    filled = fill_bad_pixels(broken, mask)
    good = ~mask
    np.testing.assert_array_equal(filled[0][good], stack[0][good])
    assert filled[0, 5, 6] == 5
    assert filled[1, 20, 20] == 25
    # the middle of a 5 x 5 hole takes a pixel at its rim, three pixels away
    assert abs(filled[0, 12, 12] - 12) <= 3
    with pytest.raises(MeasurementError, match="no good pixel"):
        fill_bad_pixels(stack, np.ones(SHAPE, dtype=bool))
    with pytest.raises(MeasurementError, match="does not fit"):
        fill_bad_pixels(stack, mask[1:])


def test_zingers_go_and_everything_else_stays():
    rng = np.random.default_rng(4)
    counts = rng.poisson(1000 * (1 + 0.5 * (np.arange(SHAPE[1]) > 15)), (4, *SHAPE)).astype(float)
    hit = counts.copy()
    places = [(0, 5, 6), (1, 0, 0), (3, 20, 28)]
    for place in places:
        hit[place] += 5000
    cleaned, n_replaced = zingers_removed(counts=hit)
    changed = np.argwhere(cleaned != hit)
    assert n_replaced == len(places)
    np.testing.assert_array_equal(changed, places)
    assert all(abs(cleaned[place] - counts[place]) < 200 for place in places)


@settings(max_examples=20, deadline=None)
@given(depth=st.floats(0.0, 6.0))
def test_optical_depth_inverts_the_exponential(depth):
    found, n_clipped = optical_depth_from_transmission(transmission=np.full(3, np.exp(-depth)), open_counts=1000.0)
    np.testing.assert_allclose(found, depth, atol=1e-5)
    assert n_clipped == 0


def test_transmission_below_one_photon_is_clipped_and_counted():
    transmission = np.array([-0.1, 0.0, 1e-4, 0.5, np.nan])
    depth, n_clipped = optical_depth_from_transmission(transmission=transmission, open_counts=2000.0, gain=2.0)
    assert n_clipped == 3
    np.testing.assert_allclose(depth[:4], [np.log(1000)] * 3 + [np.log(2)], rtol=1e-5)
    assert np.isnan(depth[4])


@pytest.mark.parametrize("method", ["sorting", "all"])
def test_stripes_go(method):
    rng = np.random.default_rng(6)
    angle = np.linspace(0, np.pi, 181)[:, None]
    distance = np.arange(160) - 80 - 20 * np.cos(angle) - 11 * np.sin(angle)
    clean = 0.03 * np.sqrt(np.maximum(0, 35.0**2 - distance**2)) + rng.normal(0, 0.01, distance.shape)
    striped = clean.copy()
    striped[:, [20, 70, 95, 120]] += [0.3, -0.3, 0.4, 0.3]
    result = stripes_removed(striped[None], method, width=15)[0]
    assert np.std(result - clean) < 0.5 * np.std(striped - clean)


def test_no_stripe_removal_changes_nothing_and_unknown_is_refused():
    rows = np.random.default_rng(7).normal(size=(2, 10, 20)).astype(np.float32)
    result = stripes_removed(rows, "none")
    np.testing.assert_array_equal(result, rows)
    assert result is not rows
    with pytest.raises(MeasurementError, match="unknown"):
        stripes_removed(rows, "wavelet")


def sinogram_of_balls(rng, n_projections=120, n_columns=80):
    """Chords of a few disks, [projection, column], with noise."""
    angle = np.linspace(0.0, np.pi, n_projections)
    column = np.arange(n_columns)
    sinogram = rng.normal(0.0, 0.01, (n_projections, n_columns))
    for x, y, radius in ((-14.0, 9.0, 10.0), (16.0, 8.0, 8.0), (3.0, -18.0, 7.0)):
        centre = 0.5 * (n_columns - 1) + x * np.cos(angle) + y * np.sin(angle)
        chord = np.sqrt(np.maximum(radius**2 - (column - centre[:, None]) ** 2, 0.0))
        sinogram += 0.08 * chord
    return sinogram.astype(np.float32)


def test_gain_errors_are_found_and_little_else_is_touched():
    rng = np.random.default_rng(11)
    halved, left, right = [], [], []
    for _ in range(30):
        clean = sinogram_of_balls(rng)
        columns = rng.choice(np.arange(8, 72, 3), size=3, replace=False)
        offset = np.zeros(clean.shape[1])
        offset[columns] = rng.choice([-0.15, 0.15], size=3)
        remaining = offset - stripe_offsets_from_sinogram(sinogram=clean + offset.astype(np.float32))
        halved.extend(np.abs(remaining[columns]) < 0.5 * 0.15)
        left.append(np.mean(remaining**2))
        right.append(np.mean(offset**2))
    # a stripe can hide at the rim of the sample, or by chance opposite another one
    assert np.mean(halved) > 0.75
    assert np.sqrt(np.mean(left)) < 0.5 * np.sqrt(np.mean(right))


def sinogram_of_centred_body(rng, *, bore=0.0, wobble=0.0, halo=0.0):
    """Disk or tube that turns about its own axis, averaged over pixels, [projection, column], with noise 0.01."""
    angle, column = np.linspace(0.0, np.pi, 180, endpoint=False), np.arange(200)
    axis, radius = rng.uniform(90.0, 110.0), rng.uniform(25.0, 70.0)
    position = column[:, None] + (np.arange(8) - 3.5) / 8 - axis - wobble * np.sin(2 * angle)[:, None, None]

    def chord(size):
        return 2.0 * np.sqrt(np.maximum(size**2 - position**2, 0.0)).mean(axis=2)

    depth = chord(radius) - chord(bore * radius) + 0.3 * (chord(radius + halo) - chord(radius))
    return (0.02 * depth + rng.normal(0.0, 0.01, depth.shape)).astype(np.float32)


@pytest.mark.parametrize(
    "body", [{}, {"wobble": 1.0}, {"wobble": 4.0}, {"halo": 6.0}, {"bore": 0.9, "wobble": 1.0}, {"bore": 0.5}]
)
def test_the_rim_of_a_centred_body_is_no_stripe(body):
    rng = np.random.default_rng(13)
    offsets = [stripe_offsets_from_sinogram(sinogram=sinogram_of_centred_body(rng, **body)) for _ in range(12)]
    assert np.count_nonzero(offsets) == 0
    sinogram = sinogram_of_centred_body(rng, **body)
    sinogram[:, 5] += 0.05  # in the open beam, so that this test can fail
    assert stripe_offsets_from_sinogram(sinogram=sinogram)[5] == pytest.approx(0.05, abs=0.005)


def test_gain_removal_harms_a_clean_sinogram_less_than_the_noise():
    rng = np.random.default_rng(12)
    clean = sinogram_of_balls(rng)
    change = stripes_removed(clean[None], "gain")[0] - clean
    assert np.sqrt(np.mean(change**2)) < 0.2 * 0.01
