"""Optical depth, its noise, shifts and particles from frames whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import fourier_shift, gaussian_filter

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.frames import (
    Particles,
    empty_field,
    image_shift,
    jump_from_images,
    moved_image,
    optical_depth_from_frames,
    particles_from_mask,
    variance_per_count,
)


@pytest.mark.parametrize("gain", [1.0, 0.3, 4.0])
def test_gain_is_found_from_flats_of_a_changing_and_uneven_beam(gain: float) -> None:
    random = np.random.default_rng(1)
    beam = 2000.0 * np.linspace(0.5, 1.5, 160)[:, np.newaxis] * np.ones(160)
    frames = np.stack([gain * random.poisson(beam * level / gain) for level in (1.0, 1.1, 0.9, 1.05)])
    frames[2, 10:12, 20:40] = 60_000.0
    # three pairs of 25600 px, of which each frame but two is in two
    assert variance_per_count(frames=frames) == pytest.approx(gain, rel=0.02)


@pytest.mark.parametrize("exposure_ratio", [1.0, 5 / 3, 0.2])
def test_optical_depth_and_its_noise_with_uneven_exposure(exposure_ratio: float) -> None:
    random = np.random.default_rng(2)
    true = np.linspace(0.0, 2.0, 200)[:, np.newaxis] * np.ones(200)
    rate, gain = 3000.0, 0.5
    sample = gain * random.poisson(rate * exposure_ratio * np.exp(-true) / gain, (3, 200, 200))
    reference = gain * random.poisson(rate / gain, (5, 200, 200))
    depth, std = optical_depth_from_frames(
        sample=sample, reference=reference, exposure_ratio=exposure_ratio, gains=(gain, gain)
    )
    expected = np.sqrt(gain / (3 * rate * exposure_ratio * np.exp(-true)) + gain / (5 * rate))
    np.testing.assert_allclose(std.mean(axis=1), expected[:, 0], rtol=0.02)
    pull = (depth - true) / std
    assert abs(pull.mean()) < 0.05
    assert pull.std() == pytest.approx(1.0, abs=0.02)


def test_optical_depth_of_noise_free_frames_is_exact_and_nan_without_counts() -> None:
    reference = np.full((2, 1, 3), 100.0)
    sample = np.array([[[50.0, 0.0, 200.0]]])
    depth, std = optical_depth_from_frames(sample=sample, reference=reference, exposure_ratio=2.0)
    np.testing.assert_allclose(depth, [[np.log(4.0), np.nan, 0.0]])
    np.testing.assert_allclose(std, [[np.sqrt(1 / 50 + 1 / 200), np.nan, np.sqrt(1 / 200 + 1 / 200)]])


def texture(seed: int = 4, shape: tuple[int, int] = (256, 320)) -> np.ndarray:
    """Periodic blobs, so that a Fourier shift is exact."""
    return 20 * gaussian_filter(np.random.default_rng(seed).normal(size=shape), 6.0, mode="wrap")


@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.0, -7.0), (2.35, -4.6), (-10.25, 8.4)])
def test_shift_of_an_image_is_found_below_a_pixel(shift: tuple[float, float]) -> None:
    moving = texture()
    fixed = np.real(np.fft.ifft2(fourier_shift(np.fft.fft2(moving), shift)))
    noise = np.random.default_rng(5).normal(0, 0.1, (2, *moving.shape))
    found = image_shift(fixed=fixed + noise[0], moving=moving + noise[1])
    np.testing.assert_allclose(found.shift, shift, atol=0.15)
    assert max(found.std) < 0.3


def test_moving_by_the_found_shift_lays_the_image_on_the_other() -> None:
    moving = texture()
    fixed = np.real(np.fft.ifft2(fourier_shift(np.fft.fft2(moving), (4.5, -2.0))))
    moved = moved_image(image=moving, shift=(4.5, -2.0))
    inside = np.isfinite(moved)
    # rows 0 to 4 and the last two columns come from beyond the border
    assert np.array_equal(inside, np.outer(np.arange(256) > 4, np.arange(320) < 318))
    assert np.sqrt(np.mean((moved - fixed)[inside] ** 2)) < 0.01 * fixed.std()


def test_a_rotation_shows_in_the_uncertainty_of_the_shift() -> None:
    moving = texture(shape=(256, 256))
    turned = np.rot90(moving)
    assert max(image_shift(fixed=turned, moving=moving).std) > 1.0


@pytest.mark.parametrize("scale", [0.5, 1.25])
def test_scaling_is_about_the_middle(scale: float) -> None:
    row, column = np.mgrid[:41, :61].astype(float)
    moved = moved_image(image=2 * (row - 20) + 3 * (column - 30) + 7, scale=scale)
    inside = np.isfinite(moved)
    np.testing.assert_allclose(moved[inside], ((2 * (row - 20) + 3 * (column - 30)) / scale + 7)[inside])
    assert inside.sum() == (41 * 61 if scale > 1 else 21 * 31)


def test_jump_is_the_difference_of_means_with_its_noise() -> None:
    depth = np.arange(5.0)[:, np.newaxis, np.newaxis] ** 2 * np.ones((5, 2, 3))
    jump, std = jump_from_images(optical_depth=depth, std=np.full_like(depth, 0.3), below=[0, 1], above=[2, 3, 4])
    np.testing.assert_allclose(jump, (4 + 9 + 16) / 3 - 0.5)
    np.testing.assert_allclose(std, 0.3 * np.sqrt(1 / 2 + 1 / 3))


def disks(*places: tuple[float, float, float]) -> np.ndarray:
    """Disks (row, column, radius) in px."""
    row, column = np.mgrid[:120, :160]
    return np.any([(row - r) ** 2 + (column - c) ** 2 < radius**2 for r, c, radius in places], axis=0)


def test_particles_are_counted_measured_and_ordered_by_size() -> None:
    mask = disks((30, 40, 10.0), (80, 100, 20.0), (60, 0, 8.0), (10, 120, 1.5))
    random = np.random.default_rng(6)
    jump, std = np.where(mask, 0.5 + random.normal(0, 0.1, mask.shape), 0.0), np.full(mask.shape, 0.1)
    found = particles_from_mask(mask=mask, jump=jump, jump_std=std, pixel_size=0.05, smallest_diameter=0.2)
    pixels = [disks(one).sum() for one in ((80, 100, 20.0), (30, 40, 10.0), (60, 0, 8.0))]
    np.testing.assert_allclose(found.area, np.array(pixels) * 0.05**2)
    np.testing.assert_allclose(np.pi / 4 * found.diameter**2, found.area)
    np.testing.assert_allclose(found.diameter[:2], [2.0, 1.0], rtol=0.02)
    np.testing.assert_allclose([found.row[:2], found.column[:2]], [[80, 30], [100, 40]], atol=1e-9)
    assert found.at_border.tolist() == [False, False, True]
    assert [np.sum(found.labels == number) for number in range(1, 4)] == pixels
    assert not found.labels[disks((10, 120, 1.5))].any()
    np.testing.assert_allclose(found.jump_std, 0.1 / np.sqrt(pixels))
    assert np.abs((found.jump - 0.5) / found.jump_std).max() < 4


def test_particles_that_overlap_or_touch_by_a_corner_are_one() -> None:
    mask = disks((40, 40, 10.0), (40, 55, 10.0))
    mask[100, 100] = mask[101, 101] = True
    ones = np.ones(mask.shape)
    found = particles_from_mask(mask=mask, jump=ones, jump_std=ones, pixel_size=1.0, smallest_diameter=0.0)
    assert found.area.tolist() == [mask.sum() - 2, 2]


def test_an_empty_mask_has_no_particles() -> None:
    ones = np.ones((20, 30))
    found = particles_from_mask(mask=ones < 0, jump=ones, jump_std=ones, pixel_size=1.0, smallest_diameter=1.0)
    assert found.area.size == found.jump.size == found.jump_std.size == found.at_border.size == 0
    assert not found.labels.any()


def table_of(jump: np.ndarray, mask: np.ndarray, counting: float = 1e-4) -> Particles:
    return particles_from_mask(
        mask=mask, jump=jump, jump_std=np.full(mask.shape, counting), pixel_size=1.0, smallest_diameter=0.0
    )


def test_uncertainty_of_a_mean_holds_how_much_such_means_vary_in_the_empty_field() -> None:
    """Structure as wide as the particle does not average out over it; the pull of many fields shows that."""
    mask = disks((60, 80, 10.0))
    pulls = []
    for seed in range(60):
        field = np.random.default_rng(seed).normal(size=mask.shape)
        field = 0.02 * gaussian_filter(field, 6.0, mode="wrap") / 0.047  # unit variance before the factor
        found = table_of(0.5 * mask + field, mask)
        assert found.jump_std[0] > 20 * 1e-4 / np.sqrt(mask.sum())
        pulls.append(float((found.jump[0] - 0.5) / found.jump_std[0]))
    assert abs(np.mean(pulls)) < 3 / np.sqrt(len(pulls))
    assert np.std(pulls) == pytest.approx(1.0, abs=0.3)


def test_noise_is_not_counted_twice_for_being_in_the_empty_field_too() -> None:
    mask, noise = disks((60, 80, 10.0)), 0.1
    pulls, stated = [], []
    for seed in range(100):
        jump = 0.5 * mask + np.random.default_rng(seed).normal(0.0, noise, mask.shape)
        found = table_of(jump, mask, noise)
        stated.append(found.jump_std[0] * np.sqrt(mask.sum()) / noise)
        pulls.append((found.jump[0] - 0.5) / found.jump_std[0])
    # what chance takes for structure of the field can only add
    assert min(stated) >= 1.0 - 1e-12
    assert np.mean(stated) < 1.15
    assert np.std(pulls) == pytest.approx(1.0, abs=0.2)


def test_a_level_field_adds_nothing() -> None:
    mask = disks((60, 80, 10.0), (30, 30, 5.0))
    found = table_of(0.5 * mask, mask)
    np.testing.assert_allclose(found.jump_std, 1e-4 / np.sqrt(found.area), rtol=1e-12)
    full = table_of(np.ones(mask.shape), np.ones(mask.shape, bool))  # no empty field at all
    np.testing.assert_allclose(full.jump_std, 1e-4 / np.sqrt(mask.size), rtol=1e-12)


def test_a_particle_next_to_pixels_without_a_jump_is_at_the_border() -> None:
    """Where frames were moved, the border of what is known runs through the image."""
    mask = disks((30, 40, 10.0), (80, 100, 10.0))
    jump = 0.5 * mask
    jump[:, 51:] = np.nan  # one column is left between the first particle and what is not known
    second = disks((80, 100, 10.0))
    assert table_of(jump, mask & ~second).at_border.tolist() == [False]
    jump[:, 50:] = np.nan
    assert table_of(jump, mask & ~second).at_border.tolist() == [True]
    jump = 0.5 * mask
    jump[89, 104] = np.nan  # one dead pixel at its rim
    assert table_of(jump, mask & np.isfinite(jump)).at_border.tolist() == [False, True]


ROWS, COLUMNS = np.mgrid[-1:1:120j, -1:1:160j]
SURFACES = {
    0: 0.3 * np.ones((120, 160)),
    1: 0.1 - 0.2 * ROWS + 0.05 * COLUMNS,
    2: 0.1 + 0.3 * ROWS - 0.1 * COLUMNS + 0.07 * ROWS * COLUMNS - 0.2 * COLUMNS**2 + 0.02 * ROWS**2,
}


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_the_empty_field_is_found_below_the_particles_too(degree: int) -> None:
    mask = disks((30, 40, 20.0), (80, 100, 30.0))
    field = SURFACES[degree]
    jump = np.where(mask, np.nan, field)
    jump[mask] = field[mask] + 0.6
    jump[:3] = np.nan
    for higher in range(degree, 3):
        np.testing.assert_allclose(empty_field(jump=jump, mask=mask, degree=higher), field, atol=1e-9)


def test_particles_that_the_mask_misses_move_the_empty_field_by_less_than_noise_however_strong_they_are() -> None:
    """A tenth of the pixels is particle and not masked. Huber's weights bound what each of them can do."""
    field, missed, std = SURFACES[2], disks((60, 80, 24.0)), 0.01
    noise = np.random.default_rng(8).normal(0.0, std, field.shape)
    nothing = np.zeros(field.shape, dtype=bool)
    found = [empty_field(jump=field + noise + height * missed, mask=nothing) for height in (0.5, 5.0)]
    assert np.sqrt(np.mean((found[0] - field) ** 2)) < std < 0.3 * 0.5 * missed.mean()
    np.testing.assert_allclose(found[1], found[0], atol=0.05 * std)


def test_the_noise_of_the_empty_field_is_that_of_its_few_coefficients() -> None:
    mask = disks((60, 80, 20.0))
    errors = []
    for seed in range(12):
        noise = np.random.default_rng(seed).normal(0.0, 0.1, mask.shape)
        errors.append(empty_field(jump=noise, mask=mask)[mask].mean())
    # six coefficients from 18000 pixels; Huber's weights cost little
    assert np.std(errors) < 3 * 0.1 / np.sqrt((~mask).sum())


IMAGE = np.random.default_rng(0).normal(size=(40, 40))


@pytest.mark.parametrize(
    ("function", "arguments", "words"),
    [
        (empty_field, {"jump": IMAGE, "mask": np.arange(1600).reshape(40, 40) >= 99}, "particles fill the image"),
        (empty_field, {"jump": np.full((40, 40), np.nan), "mask": IMAGE > 9}, "particles fill the image"),
        (variance_per_count, {"frames": IMAGE}, "repeated frames"),
        (variance_per_count, {"frames": IMAGE[np.newaxis]}, "repeated frames"),
        (variance_per_count, {"frames": np.full((2, 3, 3), np.nan)}, "NaN or infinity"),
        (optical_depth_from_frames, {"sample": IMAGE, "reference": IMAGE}, "do not match"),
        (optical_depth_from_frames, {"sample": IMAGE[None], "reference": IMAGE[None, 1:]}, "do not match"),
        (optical_depth_from_frames, {"sample": IMAGE[None], "reference": np.empty((0, 40, 40))}, "do not match"),
        (
            optical_depth_from_frames,
            {"sample": IMAGE[None], "reference": IMAGE[None], "exposure_ratio": 0.0},
            "positive",
        ),
        (image_shift, {"fixed": IMAGE, "moving": IMAGE[1:]}, "cannot be registered"),
        (image_shift, {"fixed": IMAGE[:20], "moving": IMAGE[:20]}, "cannot be registered"),
        (image_shift, {"fixed": IMAGE, "moving": np.ones((40, 40))}, "nothing to register"),
        (image_shift, {"fixed": np.full((40, 40), np.nan), "moving": IMAGE}, "nothing to register"),
        (moved_image, {"image": IMAGE, "scale": 0.0}, "positive number"),
        (jump_from_images, {"optical_depth": IMAGE, "std": IMAGE, "below": 0, "above": 1}, "do not match"),
        (
            jump_from_images,
            {"optical_depth": IMAGE[None], "std": IMAGE[None], "below": 0, "above": 1},
            "below and above the edge",
        ),
        (
            jump_from_images,
            {"optical_depth": IMAGE[None], "std": IMAGE[None], "below": [], "above": 0},
            "below and above the edge",
        ),
        (
            particles_from_mask,
            {"mask": IMAGE > 0, "jump": IMAGE, "jump_std": IMAGE[1:], "pixel_size": 1.0, "smallest_diameter": 0.0},
            "do not match",
        ),
        (
            particles_from_mask,
            {"mask": IMAGE > 0, "jump": IMAGE, "jump_std": IMAGE, "pixel_size": 0.0, "smallest_diameter": 0.0},
            "positive size",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(function, arguments: dict[str, object], words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(MeasurementError, match=words):
        function(**arguments)
