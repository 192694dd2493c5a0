"""One slice: closed forms for disks and holes, invariance to gain, and what is wrong with a slice."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from cathoscope.core.errors import MeasurementError
from cathoscope.volume.slices import SECTORS, SliceChoices, analyse_slice

SIZE, RADIUS, PIXEL = 180, 72.0, 0.05
VOID, CRACK = 0.15, 0.4
FINE = 3  # subpixels along each axis


def section(
    *, hole: float = 0.0, width: float = 0.0, cracks: int = 0, centre: tuple[float, float] = (90.3, 88.6), seed: int = 1
) -> NDArray[np.float64]:
    """Kind of every subpixel: 0 outside, 1 oxide, 2 void of a central hole, 3 crack; cracks are straight sheets."""
    rng = np.random.default_rng(seed)
    y, x = ((np.arange(SIZE * FINE) + 0.5) / FINE - 0.5 - c for c in centre)
    r = np.hypot(y[:, None], x[None, :])
    kind = (r < RADIUS).astype(np.float64)
    for _ in range(cracks):
        angle, place = rng.uniform(0, np.pi), RADIUS * rng.uniform(-0.75, 0.75)
        away = np.abs(np.cos(angle) * y[:, None] + np.sin(angle) * x[None, :] - place)
        kind[(away < width / 2) & (r < RADIUS)] = 3
    kind[r < hole] = 2
    return kind


def binned(fine: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(fine.reshape(SIZE, FINE, SIZE, FINE).mean(axis=(1, 3)))


def imaged(kind: NDArray[np.float64], *, noise: float = 0.05, seed: int = 3) -> NDArray[np.float64]:
    grey = binned(np.array([0.1, 1.0, VOID, CRACK])[kind.astype(int)])
    return gaussian_filter(grey, 0.7) + noise * np.random.default_rng(seed).standard_normal(grey.shape)


@lru_cache
def cracked() -> tuple[NDArray[np.float64], float]:
    """An image with sheets 4 pixels wide, and the share of the disk that they take."""
    kind = section(width=4.0, cracks=7)
    return imaged(kind), float(np.sum(kind == 3) / np.sum(kind > 0))


def test_a_section_without_pores_has_none() -> None:
    found = analyse_slice(imaged(section()), pixel_size=PIXEL)
    assert found.section.value == pytest.approx(0, abs=2e-3)
    assert found.threshold.value == pytest.approx(0, abs=1e-3)
    assert abs(found.area.value - np.pi * (RADIUS * PIXEL) ** 2) < 2 * found.area.total < 0.02 * found.area.value
    assert found.centre == pytest.approx((90.3, 88.6), abs=0.2)
    assert found.flags == ()


def test_a_hole_in_the_middle_counts_as_an_area_of_the_section_and_a_volume_of_the_particle() -> None:
    """A ball with a concentric hole of the radius a R: a² of the middle section, a³ of the ball."""
    share = 0.45
    found = analyse_slice(imaged(section(hole=share * RADIUS)), pixel_size=PIXEL)
    assert found.section.value == pytest.approx(share**2, abs=2 * found.section.total)
    assert found.section.total < 0.01
    assert found.particle.value == pytest.approx(share**3, abs=0.004)
    assert found.rare == pytest.approx(share**3, rel=0.15)


def test_a_cut_off_the_middle_stands_for_shells_farther_out() -> None:
    """Section of a ball at the height h: a pixel at rho is of the shell sqrt(rho² + h²)."""
    hole, height = 0.3 * RADIUS, 0.4 * RADIUS
    image = imaged(section(hole=hole))
    found = analyse_slice(image, pixel_size=PIXEL, choices=SliceChoices(height=height * PIXEL))
    shell, outer = np.hypot(hole, height), np.hypot(RADIUS, height)
    expected = (shell**3 - height**3) / (outer**3 - height**3)
    assert found.particle.value == pytest.approx(expected, abs=0.004)


def test_cracks_keep_their_area_where_a_threshold_loses_it() -> None:
    image, truth = cracked()
    found = analyse_slice(image, pixel_size=PIXEL)
    assert abs(found.section.value - truth) < 1.5 * found.section.total
    assert found.section.total < 0.15 * truth
    assert found.threshold.low <= found.threshold.value <= found.threshold.high < truth
    assert found.area.value == pytest.approx(np.pi * (RADIUS * PIXEL) ** 2, abs=3 * found.area.total)
    assert found.sums.shape == (2, SECTORS, 2)
    values = found.sums.sum(axis=1)
    np.testing.assert_allclose(values[:, 0] / values[:, 1], [found.section.value, found.particle.value])
    assert values[0, 1] * PIXEL**2 == pytest.approx(found.area.value)


def test_narrow_cracks_are_found_with_a_wider_interval() -> None:
    kind = section(width=1.4, cracks=12, seed=5)
    truth = float(np.sum(kind == 3) / np.sum(kind > 0))
    found = analyse_slice(imaged(kind, noise=0.03), pixel_size=PIXEL)
    assert found.unresolved > 0.5
    assert abs(found.section.value - truth) < 2.5 * found.section.total
    assert found.threshold.value < 0.3 * truth


def test_gain_and_background_change_nothing() -> None:
    image, _ = cracked()
    plane = 170 * (1 + 0.1 * np.linspace(-0.5, 0.5, SIZE)[:, None] - 0.06 * np.linspace(-0.5, 0.5, SIZE))
    plain, shaded = (
        analyse_slice(each, pixel_size=PIXEL) for each in (image, np.clip(image * plane, 0, 255).astype(np.uint8))
    )
    assert shaded.section.value == pytest.approx(plain.section.value, rel=0.03)
    assert shaded.oxide == pytest.approx(170, rel=0.02)


def test_a_region_of_interest_is_its_own_number() -> None:
    hole = 0.4 * RADIUS
    inner = 0.2 * RADIUS * PIXEL
    choices = SliceChoices(region=(-inner, inner, -inner, inner))
    found = analyse_slice(imaged(section(hole=hole)), pixel_size=PIXEL, choices=choices)
    assert found.region is not None
    assert found.region.value == pytest.approx(1.0, abs=0.02)
    with pytest.raises(MeasurementError, match="region of interest"):
        analyse_slice(imaged(section()), pixel_size=PIXEL, choices=SliceChoices(region=(9, 10, 9, 10)))


def test_a_particle_at_the_border_is_flagged() -> None:
    (flag,) = analyse_slice(imaged(section(centre=(55.0, 90.0))), pixel_size=PIXEL).flags
    assert "border" in flag
    assert "top" in flag


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda image: np.full_like(image, 7.0), "blank"),
        (lambda image: -image, "inverted"),
        (lambda image: np.clip(image, 0, 0.9), "saturated"),
        (lambda image: np.where(image > 0.99, np.nan, image), "no numbers"),
        (lambda image: image[0], "no slice"),
        (lambda image: image[:15, :15], "no slice"),
        (lambda image: np.where(np.indices(image.shape).max(axis=0) < 12, 1.0, 0.1 * image), "no particle"),
    ],
)
def test_what_is_no_slice_of_a_particle_is_refused(spoil, words: str) -> None:
    with pytest.raises(MeasurementError, match=words):
        analyse_slice(spoil(imaged(section())), pixel_size=PIXEL)


def test_an_absurd_pixel_is_refused() -> None:
    with pytest.raises(MeasurementError, match="size of the pixels"):
        analyse_slice(imaged(section()), pixel_size=1e-9)
