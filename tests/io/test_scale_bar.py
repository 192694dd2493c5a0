"""Scale bars: found and read in drawn captions, at several sizes and types, and refused where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cathoscope.core.errors import MeasurementError
from cathoscope.io.scale_bar import caption_rows, read_scale_bar
from cathoscope.virtual.sections import with_scale_bar


def noisy(rows: int = 300, columns: int = 400) -> np.ndarray:
    return np.clip(np.random.default_rng(1).normal(110, 30, (rows, columns)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("pixel", [0.0007, 0.002, 0.0135, 0.03, 0.07, 0.11, 0.35, 0.9])
def test_bars_of_a_virtual_microscope_are_read(pixel: float) -> None:
    image, truth = with_scale_bar(noisy(), pixel)
    found = read_scale_bar(image)
    assert found.length == pytest.approx(truth.length)
    assert (found.row, found.column, found.length_px) == (truth.row, truth.column, truth.length_px)
    assert found.caption == (300, image.shape[0])
    assert abs(found.pixel - pixel) < 2 * found.pixel_std
    assert found.pixel_std < 0.02 * pixel


def typeset(
    text: str, *, bar: tuple[int, int], dark: bool = True, size: float = 14.0, ticks: bool = False
) -> np.ndarray:
    """An image with a caption in outlined type, drawn by matplotlib: bar from and to a column."""
    figure = Figure(figsize=(6.4, 0.6), dpi=100, facecolor="black" if dark else "white")
    ink = "white" if dark else "black"
    figure.text(0.05, 0.4, "WD 5 mm   20 kV   x500", color=ink, size=12)
    figure.text(bar[1] / 640 + 0.03, 0.35, text, color=ink, size=size)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    caption = np.asarray(canvas.buffer_rgba())[..., :3].mean(axis=-1)
    level = 255 if dark else 0
    caption[28:32, bar[0] : bar[1]] = level
    if ticks:
        caption[20:40, bar[0] : bar[0] + 3] = caption[20:40, bar[1] - 3 : bar[1]] = level
    return np.vstack([noisy(400, 640), caption.astype(np.uint8)])


@pytest.mark.parametrize(
    ("text", "length"), [("5 µm", 5.0), ("200 nm", 0.2), ("100 um", 100.0), ("10.0 µm", 10.0), ("1 mm", 1000.0)]
)
@pytest.mark.parametrize("dark", [True, False])
def test_outlined_type_is_read(text: str, length: float, dark: bool) -> None:
    found = read_scale_bar(typeset(text, bar=(300, 450), dark=dark))
    assert found.length == pytest.approx(length)
    assert found.length_px == pytest.approx(150, abs=0.5)


def test_every_digit_is_read() -> None:
    for digits in ("123", "456", "789"):
        assert read_scale_bar(typeset(f"{digits} nm", bar=(300, 450))).length == pytest.approx(int(digits) * 1e-3)


def test_ticks_leave_the_length_less_certain() -> None:
    plain, ticked = (read_scale_bar(typeset("5 µm", bar=(300, 450), ticks=ticks)) for ticks in (False, True))
    assert ticked.length_px == pytest.approx(150, abs=0.5)
    assert ticked.pixel_std > 1.5 * plain.pixel_std


def test_a_bar_drawn_into_the_image_is_found_with_its_length_given() -> None:
    image = np.minimum(noisy(), 200)
    image[270:275, 250:350] = 255
    found = read_scale_bar(image, length=2.0)
    assert found.caption is None
    assert found.pixel == pytest.approx(0.02, rel=0.01)
    with pytest.raises(MeasurementError, match="cannot be read") as caught:
        read_scale_bar(image)
    assert "scale_bar" in str(caught.value.cure)


def test_captions_are_told_from_images() -> None:
    assert caption_rows(noisy()) is None
    image = noisy()
    image[:30] = 0
    assert caption_rows(image) == (0, 30)


@pytest.mark.parametrize(
    ("image", "length", "problem"),
    [
        (noisy(), None, "no scale bar"),
        (np.vstack([noisy(), np.zeros((30, 400), np.uint8)]), None, "no scale bar"),
        (np.full((100, 100), 3), None, "no scale bar"),
        (np.zeros(5), None, "no grey image"),
        (noisy(), -1.0, "length cannot be"),
    ],
)
def test_without_a_bar_the_answer_is_clear(image: np.ndarray, length: float | None, problem: str) -> None:
    with pytest.raises(MeasurementError, match=problem) as caught:
        read_scale_bar(image, length=length)
    assert caught.value.expected
