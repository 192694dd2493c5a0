"""NCA particles at two energies around the Ni edge: optical depth, edge jump and particles of measured frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.io import open_raw
from cathoscope.xanes.absorbance import particle_mask_from_edge_jump
from cathoscope.xanes.frames import (
    empty_field,
    image_shift,
    jump_from_images,
    moved_image,
    optical_depth_from_frames,
    particles_from_mask,
    variance_per_count,
)

PIXEL = 0.0312  # um, as the files state


@dataclass(frozen=True)
class Images:
    """Optical depth and noise at 8324 and 8354 eV, [energy, row, column], and variances per count."""

    depth: np.ndarray
    std: np.ndarray
    gains: np.ndarray


def frames(folder: Path, pattern: str) -> tuple[np.ndarray, float]:
    """Counts [frame, row, column] and the exposure in s that all of them state."""
    opened = [open_raw(file) for file in sorted(folder.glob(pattern))]
    (exposure,) = {one.attrs["exposure_s"] for one in opened}
    return np.concatenate([one["counts"].values for one in opened]), float(exposure)


@pytest.fixture(scope="module")
def folder(data_folder: Path) -> Path:
    return data_folder / "imaging" / "xanespy-ssrl-nca"


@pytest.fixture(scope="module")
def images(folder: Path) -> Images:
    found = []
    for energy in ("08324.0", "08354.0"):
        sample, exposure = frames(folder, f"rep01_2016*_{energy}_eV_*.xrm")
        reference, flat_exposure = frames(folder, f"rep01_*_ref_*_{energy}_eV_*.xrm")
        assert (len(sample), len(reference), exposure, flat_exposure) == (3, 5, 0.5, 0.3)
        gains = variance_per_count(frames=sample), variance_per_count(frames=reference)
        depth, std = optical_depth_from_frames(
            sample=sample, reference=reference, exposure_ratio=exposure / flat_exposure, gains=gains
        )
        found.append((depth, std, gains))
    return Images(*(np.stack(column) for column in zip(*found, strict=True)))


def test_pixels_with_an_edge_and_their_optical_depth_are_those_of_the_provenance(images: Images) -> None:
    jump, _ = jump_from_images(optical_depth=images.depth, std=images.std, below=0, above=1)
    particles = jump > 0.3
    assert particles.sum() == 164_956
    assert images.depth[0][particles].mean() == pytest.approx(1.197, abs=5e-4)
    assert images.depth[1][particles].mean() == pytest.approx(1.686, abs=5e-4)


def test_camera_needs_about_three_photons_per_count_at_both_energies(images: Images) -> None:
    # with and without the sample, at half the counts, the camera is the same
    assert np.all((images.gains > 0.2) & (images.gains < 0.4))


def best_coarse_shift(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Shift of the largest Pearson correlation, tried one by one on images of 4 by 4 px per pixel."""
    first, second = (one.reshape(256, 4, 256, 4).mean(axis=(1, 3)) for one in (fixed, moving))
    reach = 10
    inner = first[reach:-reach, reach:-reach].ravel()
    tried = [(row, column) for row in range(-reach, reach + 1) for column in range(-reach, reach + 1)]
    size = 256 - 2 * reach
    correlations = [
        np.corrcoef(inner, second[reach - row :, reach - column :][:size, :size].ravel())[0, 1] for row, column in tried
    ]
    return 4.0 * np.array(tried[int(np.argmax(correlations))])


def test_shift_between_the_energies_is_that_of_a_search_through_all_shifts(images: Images) -> None:
    found = image_shift(fixed=images.depth[1], moving=images.depth[0])
    np.testing.assert_allclose(found.shift, best_coarse_shift(images.depth[1], images.depth[0]), atol=4.0)
    moved = moved_image(image=images.depth[0], shift=found.shift)
    again = image_shift(fixed=images.depth[1], moving=moved)
    assert np.abs(again.shift).max() < 0.5


def test_every_particle_holds_nickel(images: Images) -> None:
    found = image_shift(fixed=images.depth[1], moving=images.depth[0])
    below, noise = (moved_image(image=one[0], shift=found.shift) for one in (images.depth, images.std))
    jump, std = jump_from_images(
        optical_depth=np.stack([below, images.depth[1]]), std=np.stack([noise, images.std[1]]), below=0, above=1
    )
    mask = particle_mask_from_edge_jump(edge_jump=jump, edge_jump_std=std)
    jump -= empty_field(jump=jump, mask=mask)
    table = particles_from_mask(mask=mask, jump=jump, jump_std=std, pixel_size=PIXEL, smallest_diameter=2.0)
    assert table.area.size >= 5
    assert np.all(np.diff(table.area) <= 0)
    # Beer-Lambert: a thicker particle of one material has the larger jump
    assert table.jump[:2].min() > table.jump[2:].max()
    assert np.all(table.jump > 5 * table.jump_std)


@pytest.mark.parametrize("name", ["rep02_000072_ref_*.xrm", "rep02_000182_ref_*.xrm"])
def test_truncated_frames_are_refused_by_name(folder: Path, name: str) -> None:
    (file,) = folder.glob(name)
    with pytest.raises(MeasurementError, match=file.name):
        open_raw(file)["counts"].values  # noqa: B018
