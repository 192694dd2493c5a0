"""A small virtual stack from raw slices to porosity, and every kind of bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.virtual.cycling import H_CYCLING, cycle_particle
from cathoscope.virtual.fibsem import FibSemOptions, Frame, draw_cuts, image_slice
from cathoscope.virtual.grains import draw_grains
from cathoscope.virtual.particle import H_NMC
from cathoscope.volume.fibsem import PreparedStack, StackChoices, prepare_stack
from cathoscope.volume.fibsem_outline import find_outline
from cathoscope.volume.phases import OUTSIDE, OXIDE

PIXEL, THICKNESS, COUNT, EDGE = 0.0225, 0.032, 38, 72
VOXEL = (THICKNESS, PIXEL, PIXEL)


@pytest.fixture(scope="module")
def made() -> tuple[np.ndarray, float, np.ndarray]:
    """Raw 8-bit slices of a whole cracked particle, its porosity by sections, and the drift."""
    design = replace(H_NMC, diameter=1.15, pore_radius=0.3, isotropic_radius=0.2, grain_size=0.45)
    particle = cycle_particle(draw_grains(design, 3), replace(H_CYCLING, outer_layer=0.005), cycles=35)
    options = FibSemOptions(pixel=PIXEL, thickness=THICKNESS, drift=0.5)
    cuts = draw_cuts(options, np.full(COUNT, 35.0), first_z=-THICKNESS * (COUNT - 1) / 2, seed=(3,))
    slices = [image_slice(particle, cut, Frame(EDGE, EDGE), options, seed=(3,)) for cut in cuts]
    raw = np.stack([np.clip(np.rint(one.image * options.white), 0, 255).astype(np.uint8) for one in slices])
    area = np.array([one.section_area for one in slices])
    porosity = np.nansum(np.array([one.porosity for one in slices]) * area) / area.sum()
    return raw, float(porosity), np.array([cut.shift for cut in cuts])


@pytest.fixture(scope="module")
def prepared(made: tuple[np.ndarray, float, np.ndarray]) -> PreparedStack:
    return prepare_stack(made[0], voxel_size=VOXEL)


def test_the_porosity_is_within_its_uncertainty_and_better_than_by_a_threshold(
    made: tuple[np.ndarray, float, np.ndarray], prepared: PreparedStack
) -> None:
    true, found = made[1], prepared.porosity
    assert abs(found.value - true) < 2 * found.total
    assert found.total < 0.25 * true
    outlines = [find_outline(image, 0.5) for image in prepared.grey]
    inside = np.stack([one.whole * (one.depth(EDGE, EDGE) > 0) for one in outlines]).astype(bool)
    threshold = np.mean(prepared.grey[inside] < 0.5)
    assert abs(found.value - true) < abs(threshold - true)


def test_the_stack_is_still(made: tuple[np.ndarray, float, np.ndarray], prepared: PreparedStack) -> None:
    assert prepared.drift is not None
    used = prepared.drift.marked
    true = made[2][used]
    left = prepared.drift.shift[used] - true
    place = np.arange(len(left)) - (len(left) - 1) / 2
    slope = place @ left / (place @ place)
    left = left - left.mean(axis=0) - np.outer(place, slope)
    assert np.sqrt(np.mean(left**2)) < 0.5
    assert (np.abs(slope) < 3 * np.array(prepared.drift.tilt)).all()


def test_grey_values_are_those_of_the_phases(prepared: PreparedStack) -> None:
    assert np.median(prepared.grey[prepared.kind == OXIDE]) == pytest.approx(1, abs=0.05)  # blurred cracks count
    assert np.median(prepared.grey[prepared.kind == OUTSIDE]) == pytest.approx(0, abs=0.02)
    names = [one.name for one in prepared.corrections]
    assert names == ["solid level", "charging", "curtains", "shine-through", "layer", "drift"]
    assert prepared.voxel_size == VOXEL
    assert prepared.grey.shape == prepared.solid.shape == prepared.kind.shape == (COUNT, EDGE, EDGE)


def test_a_repeated_file_is_left_out(made: tuple[np.ndarray, float, np.ndarray]) -> None:
    raw = np.insert(made[0][16:23], 5, made[0][20], axis=0)
    choices = StackChoices(drift="none", charging=False, curtains=False, resample="never")
    found = prepare_stack(raw, voxel_size=VOXEL, choices=choices)
    assert len(found.grey) == 7
    assert "repeated slice" in found.flags
    assert "slice 5" in found.remarks[0]
    assert found.drift is None
    assert found.curtains.spread == 0


def test_bad_stacks_are_answered(made: tuple[np.ndarray, float, np.ndarray]) -> None:
    raw = made[0]
    wrong: list[tuple[object, str]] = [
        (raw[:0], "empty"),
        (np.full((5, 40, 40), 7, np.uint8), "constant"),
        (255 - raw, "inverted"),
        (np.minimum(raw, 120), "saturated"),
        ([raw[20], raw[21, :-1]], "differ in size"),
        (raw[20], "no images"),
        (np.where(raw[20:24] > 200, np.nan, raw[20:24].astype(float)), "no numbers"),
    ]
    for frames, words in wrong:
        with pytest.raises(MeasurementError, match=words) as caught:
            prepare_stack(frames, voxel_size=VOXEL)  # type: ignore[arg-type]
        assert caught.value.cure
    with pytest.raises(MeasurementError, match="another order") as caught:
        prepare_stack(raw, voxel_size=(PIXEL, PIXEL, THICKNESS))
    assert "0.032, 0.0225, 0.0225" in caught.value.cure
    with pytest.raises(MeasurementError, match="cannot be"):
        prepare_stack(raw, voxel_size=(0.02, 0.0, 0.02))
    for name in ("drift", "resample"):
        with pytest.raises(MeasurementError, match=name):
            StackChoices(**{name: "magic"})
    with pytest.raises(MeasurementError, match="outline"):
        StackChoices(outline=2.0)
