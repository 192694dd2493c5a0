"""Shine-through, layers and shares of oxide against stacks that are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cathoscope.core.errors import MeasurementError
from cathoscope.volume.fibsem_outline import find_outline
from cathoscope.volume.phases import LAYER, OUTSIDE, OXIDE, PORE, outer_layer, phases

SLICES, SIZE = 26, 96
VOID, SHINE, DECAY = 0.06, 0.5, 7.0


def bored(*, layer: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Grey values and share of oxide of a cylinder with round bores that end at different depths."""
    rng = np.random.default_rng(4)
    y, x = np.arange(SIZE)[:, None] - 47.3, np.arange(SIZE) - 48.1
    radius = np.hypot(y, x)
    oxide = np.broadcast_to(np.clip(38 - layer - radius + 0.5, 0, 1), (SLICES, SIZE, SIZE)).copy()
    grey = oxide + 0.4 * (np.clip(38 - radius + 0.5, 0, 1) - oxide[0])
    places = [(a, b) for a in (-18, 0, 18) for b in (-18, 0, 18)]
    for (a, b), end in zip(places, (4, 7, 10, 13, 16, 19, 22, 24, 20), strict=True):
        bore = np.clip(6.5 - np.hypot(y - a, x - b), 0, 1)
        for n in range(end):
            # voxels that are more than half oxide have it right behind them
            below = np.where(bore > 0.5, end - n - 0.5, 0.5)
            seen = VOID + SHINE * np.exp(-below / DECAY)
            grey[n] += bore * (seen - grey[n])
            oxide[n] *= 1 - bore
    blurred = np.stack([gaussian_filter(image, 0.7) for image in grey])
    return (blurred + 0.06 * rng.standard_normal(grey.shape)).astype(np.float32), oxide


def test_the_law_of_shine_through_and_the_porosity_are_those_of_the_stack() -> None:
    grey, oxide = bored()
    outlines = [find_outline(image, 0.25) for image in grey]
    found = phases(grey, outlines)
    assert found.shine.pore.value == pytest.approx(VOID, abs=0.05)
    assert found.shine.shine.value == pytest.approx(SHINE, abs=0.05)
    assert found.shine.decay.value == pytest.approx(DECAY, rel=0.2)
    assert found.layer.thickness == 0
    inside = np.hypot(*(np.indices((SIZE, SIZE)) - 47.5)) < 30
    true = 1 - oxide[:, inside].mean()
    assert 1 - found.solid[:, inside].mean() == pytest.approx(true, rel=0.04)
    # a threshold takes the backs of the pores for oxide
    assert np.mean(grey[:, inside] < 0.5) < 0.9 * true
    clear = (oxide > 0.999) | (oxide < 0.001)
    right = np.where(oxide > 0.5, found.kind == OXIDE, (found.kind == PORE) | (found.kind == OUTSIDE))
    assert right[clear].mean() > 0.99


def test_a_layer_on_the_outside_is_told_from_oxide_and_from_blur() -> None:
    grey, oxide = bored(layer=4.0)
    outlines = [find_outline(image, 0.2) for image in grey]
    layer = outer_layer(grey, outlines, level=0.2)
    assert layer.level == pytest.approx(0.4, abs=0.03)
    assert layer.thickness == pytest.approx(4.0, abs=0.4)
    found = phases(grey, outlines, level=0.2)
    radius = np.hypot(*(np.indices((SIZE, SIZE)) - np.array([47.3, 48.1])[:, None, None]))
    ring = (radius > 35.5) & (radius < 36.5)
    assert (found.kind[:, ring] == LAYER).mean() > 0.9
    assert abs(found.solid[:, ring].mean()) < 0.05
    assert found.solid.sum() == pytest.approx(oxide.sum(), rel=0.02)


def test_a_rim_nearly_as_bright_as_oxide_is_no_layer() -> None:
    """As a rough surface has, or oxide that is charged below it: taken for a layer, 2 px would go all around."""
    radius = np.hypot(*(np.indices((SIZE, SIZE)) - 47.4))
    body = 0.85 * np.clip(42.5 - radius, 0, 1) + 0.15 * np.clip(40.5 - radius, 0, 1)
    noise = 0.06 * np.random.default_rng(3).standard_normal((6, SIZE, SIZE))
    grey = (gaussian_filter(body, 0.7) + noise).astype(np.float32)
    assert outer_layer(grey, [find_outline(image, 0.25) for image in grey], level=0.25).thickness == 0


def test_outlines_of_another_stack_are_refused() -> None:
    with pytest.raises(MeasurementError, match="outlines"):
        phases(np.zeros((4, 40, 40), np.float32), [])
