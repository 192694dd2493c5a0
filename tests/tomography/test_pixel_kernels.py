"""The compiled pixel filters against scipy, numpy and themselves as Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import median_filter

from cathoscope.tomography import pixel_kernels
from cathoscope.tomography.pixel_kernels import (
    deviation_from_neighbours,
    fill_from_neighbours,
    fill_stack,
    neighbourhood_median,
    remove_zingers,
)

IMAGES = arrays(np.float32, st.tuples(st.integers(2, 9), st.integers(2, 9)), elements=st.floats(-1e3, 1e3, width=32))
NEIGHBOURS = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]


@settings(max_examples=60, deadline=None)
@given(image=IMAGES)
def test_neighbourhood_median_is_that_of_scipy(image: np.ndarray) -> None:
    found = np.empty_like(image)
    neighbourhood_median(image, found)
    np.testing.assert_array_equal(found, median_filter(image, size=3, mode="mirror"))


@settings(max_examples=30, deadline=None)
@given(image=IMAGES, seed=st.integers(0, 1000))
def test_filled_pixels_are_the_median_of_their_good_neighbours(image: np.ndarray, seed: int) -> None:
    bad = np.random.default_rng(seed).random(image.shape) < 0.4
    filled, alone = image.copy(), np.zeros(image.shape, dtype=bool)
    fill_from_neighbours(filled, bad, alone)
    for row, column in np.argwhere(bad):
        window = np.s_[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        good = image[window][~bad[window]]
        assert alone[row, column] == (good.size == 0)
        if good.size:
            assert filled[row, column] == pytest.approx(np.median(good), rel=1e-6, abs=1e-6)
    np.testing.assert_array_equal(filled[~bad], image[~bad])


def filled_by_definition(images, mask):
    """Each image on its own, pixel by pixel with numpy's median, and what is said of it."""
    filled, lost = images.copy(), np.zeros(len(images), dtype=np.int8)
    for index, image in enumerate(images):
        bad = mask | ~np.isfinite(image)
        good = np.pad(np.where(bad, np.nan, image), 1, constant_values=np.nan)
        around = [good[1 + i : 1 + i + mask.shape[0], 1 + j : 1 + j + mask.shape[1]] for i, j in NEIGHBOURS]
        known = np.isfinite(around).any(axis=0)
        if bad.all():
            lost[index] = 2
        elif (bad & ~known).any():
            lost[index] = 1
        else:
            for row, column in np.argwhere(bad):
                filled[index, row, column] = np.nanmedian([one[row, column] for one in around])
    return filled, lost


@settings(max_examples=40, deadline=None)
@given(
    images=arrays(
        np.float32,
        st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(1, 5)),
        # whole numbers: halves of their sums are exact in single precision
        elements=st.integers(-1000, 1000).map(float) | st.sampled_from([np.nan, np.inf, -np.inf]),
    ),
    data=st.data(),
)
def test_a_stack_is_filled_image_by_image_or_told_to_be_lost(images: np.ndarray, data: st.DataObject) -> None:
    mask = data.draw(arrays(bool, images.shape[1:]))
    filled, lost = images.copy(), np.zeros(len(images), dtype=np.int8)
    fill_stack(filled, mask, lost)
    expected, told = filled_by_definition(images, mask)
    np.testing.assert_array_equal(lost, told)
    np.testing.assert_array_equal(filled, expected)


def test_of_a_stack_only_images_that_can_be_filled_are_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(5).integers(0, 1000, (5, 6, 7)).astype(np.float32)
    mask = np.zeros(images.shape[1:], dtype=bool)
    mask[0, 0] = mask[3, 3] = True
    images[1, 3, 4] = np.nan
    images[2, :3, :3] = np.inf  # its corner has no good neighbour
    images[3] = np.nan
    results = []
    for kernel in (fill_stack, fill_stack.py_func):
        filled, lost = images.copy(), np.zeros(len(images), dtype=np.int8)
        kernel(filled, mask, lost)
        results.append(filled)
        assert lost.tolist() == [0, 0, 1, 2, 0]
        np.testing.assert_array_equal(filled[2:4], images[2:4])
        assert np.isfinite(filled[[0, 1, 4]]).all()
        monkeypatch.setattr(pixel_kernels, "fill_from_neighbours", fill_from_neighbours.py_func)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], filled_by_definition(images, mask)[0])


def test_a_stack_without_bad_pixels_stays_as_it_is() -> None:
    images = np.random.default_rng(6).normal(size=(2, 4, 5)).astype(np.float32)
    filled, lost = images.copy(), np.zeros(2, dtype=np.int8)
    fill_stack(filled, np.zeros((4, 5), dtype=bool), lost)
    np.testing.assert_array_equal(filled, images)
    assert not lost.any()


def cleaned_by_definition(frames, threshold, gain):
    """Pixels above the median around them by more than the larger of counting noise and the frame's scatter."""
    local = np.stack([median_filter(frame, size=3, mode="mirror") for frame in frames]).astype(float)
    excess = frames - local
    scatter = 1.4826 * np.median(np.abs(excess), axis=(1, 2), keepdims=True)
    zinger = excess > threshold * np.maximum(np.sqrt(gain * np.maximum(local, 1.0)), scatter)
    return np.where(zinger, local, frames).astype(np.float32), int(zinger.sum())


def frames_with_zingers(seed: int, level: float, texture: float):
    """Poisson counts over a smooth or a rough object, with single pixels and pairs from faint to blinding."""
    rng = np.random.default_rng(seed)
    frames = rng.poisson(level * np.exp(texture * rng.normal(size=(3, 12, 11)))).astype(np.float32)
    at = tuple(rng.integers(0, size, 12) for size in frames.shape)
    frames[at] += (np.sqrt(level + 1.0) * rng.uniform(3.0, 40.0, 12)).astype(np.float32)
    return frames


@settings(max_examples=60, deadline=None)
@given(
    values=arrays(np.float32, st.integers(1, 40), elements=st.sampled_from([0.0, 1e-30, 0.3, 1.0, 7.0, 1e4, 3e30])),
    tail=st.integers(0, 300),
)
def test_median_of_magnitudes_is_that_of_numpy(values: np.ndarray, tail: int) -> None:
    drawn = np.abs(np.random.default_rng(tail).standard_cauchy(tail)).astype(np.float32)
    both = np.concatenate([values, drawn])
    for median in (pixel_kernels._median_of_magnitudes, pixel_kernels._median_of_magnitudes.py_func):
        assert median(both) == pytest.approx(float(np.median(both)), rel=2e-7)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    level=st.sampled_from([0.0, 0.5, 20.0, 1000.0]),
    texture=st.sampled_from([0.0, 0.5]),
    threshold=st.sampled_from([4.3, 8.0]),
    gain=st.sampled_from([0.37, 1.0, 5.3]),
)
def test_zingers_are_what_rises_above_noise_and_scatter(seed, level, texture, threshold, gain) -> None:
    frames = frames_with_zingers(seed, level, texture)
    expected, count = cleaned_by_definition(frames, threshold, gain)
    found = frames.copy()
    assert remove_zingers(found, threshold, gain) == count
    np.testing.assert_array_equal(found, expected)


def test_zingers_are_found_in_python_as_compiled_and_are_few_in_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.concatenate([frames_with_zingers(7, 100.0, texture) for texture in (0.0, 0.5)])
    expected, count = cleaned_by_definition(frames, 8.0, 1.0)
    compiled, plain = frames.copy(), frames.copy()
    assert remove_zingers(compiled, 8.0, 1.0) == count
    assert 5 < count < 24  # some of the 24 are too faint
    for name in ("neighbourhood_median", "_middle", "_any_above", "_median_of_magnitudes"):
        monkeypatch.setattr(pixel_kernels, name, getattr(pixel_kernels, name).py_func)
    assert remove_zingers.py_func(plain, 8.0, 1.0) == count
    np.testing.assert_array_equal(compiled, expected)
    np.testing.assert_array_equal(plain, expected)
    noise = np.random.default_rng(8).poisson(100.0, (4, 40, 40)).astype(np.float32)
    assert remove_zingers(noise.copy(), 8.0, 1.0) == cleaned_by_definition(noise, 8.0, 1.0)[1] == 0


@settings(max_examples=30, deadline=None)
@given(image=IMAGES)
def test_deviation_is_from_the_median_of_the_neighbours(image: np.ndarray) -> None:
    found = np.empty_like(image)
    deviation_from_neighbours(image, 4, found)
    for row, column in np.ndindex(image.shape):
        near = min(4, column, image.shape[1] - 1 - column)
        around = np.r_[image[row, column - near : column], image[row, column + 1 : column + near + 1]]
        expected = image[row, column] - np.median(around) if near else 0.0
        assert found[row, column] == pytest.approx(expected, rel=1e-5, abs=1e-3)


def test_a_missing_value_is_no_neighbour_of_others_far_away() -> None:
    image = np.random.default_rng(4).normal(size=(2, 30)).astype(np.float32)
    whole, holed = np.empty_like(image), np.empty_like(image)
    deviation_from_neighbours(image, 4, whole)
    image[1, 12] = np.nan
    deviation_from_neighbours(image, 4, holed)
    np.testing.assert_array_equal(holed[0], whole[0])
    np.testing.assert_array_equal(np.delete(holed[1], np.s_[8:17]), np.delete(whole[1], np.s_[8:17]))
    assert np.isfinite(np.delete(holed[1], 12)).all()


def test_a_slope_deviates_nowhere_and_a_wrong_gain_by_itself() -> None:
    slope = np.tile(np.arange(20, dtype=np.float32), (3, 1))
    deviation = np.empty_like(slope)
    deviation_from_neighbours(slope, 4, deviation)
    np.testing.assert_array_equal(deviation, 0.0)
    slope[:, 9] += 0.25
    deviation_from_neighbours(slope, 4, deviation)
    np.testing.assert_array_equal(deviation[:, 9], 0.25)


def test_compiled_and_python_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    image = rng.normal(size=(6, 7)).astype(np.float32)
    frames = [rng.poisson(100.0, (3, 6, 7)).astype(np.float32) for _ in range(2)]
    frames[0][1, 2, 3] = 4000.0
    frames[1][...] = frames[0]
    assert remove_zingers(frames[0], 8.0, 1.0) == remove_zingers.py_func(frames[1], 8.0, 1.0) == 1
    np.testing.assert_array_equal(*frames)
    image = rng.normal(size=(6, 17)).astype(np.float32)
    deviations = [np.empty_like(image), np.empty_like(image)]
    deviation_from_neighbours(image, 4, deviations[0])
    for name in ("_rise_to_the_middle", "_deviation_near_rim"):
        monkeypatch.setattr(pixel_kernels, name, getattr(pixel_kernels, name).py_func)
    deviation_from_neighbours.py_func(image, 4, deviations[1])
    np.testing.assert_array_equal(*deviations)
    compiled, python = np.empty_like(image), np.empty_like(image)
    neighbourhood_median(image, compiled)
    neighbourhood_median.py_func(image, python)
    np.testing.assert_array_equal(compiled, python)

    bad = rng.random(image.shape) < 0.5
    results = []
    for kernel in (fill_from_neighbours, fill_from_neighbours.py_func):
        filled, alone = image.copy(), np.zeros(image.shape, dtype=bool)
        kernel(filled, bad, alone)
        results.append((filled, alone))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
