"""Images of rings: where the detector is, and the pattern with its counting noise; with pyFAI where it is installed."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cathoscope.core.errors import MeasurementError
from cathoscope.io.detector_images import (
    DetectorGeometry,
    geometry_from_rings,
    pattern_from_image,
    read_image,
)
from cathoscope.io.powder_write import written_xye

needs_pyfai = pytest.mark.skipif(
    importlib.util.find_spec("pyFAI") is None, reason="pyFAI, the extra images2d, is not installed"
)
TRUE = DetectorGeometry(300.0, (50.0, 52.0), (0.23, -0.34, 0.0), (200.0, 200.0), 0.2)
SHAPE = (512, 512)
A = 5.4115  # edge of CeO2, A (SRM 674b and pyFAI's calibrant agree to 1e-4)
# h^2 + k^2 + l^2 of a face-centred cell, and how many reflections have it
LINES = {3: 8, 4: 6, 8: 12, 11: 24, 12: 8, 16: 6, 19: 24, 20: 24, 24: 24, 27: 32, 32: 12, 35: 48, 36: 30, 40: 24}


def two_theta(geometry: DetectorGeometry) -> np.ndarray:
    """Of the middle of every pixel, deg, by vectors: written from the definition of the geometry."""
    rows, columns = np.indices(SHAPE)
    at_1 = (rows + 0.5) * geometry.pixel[0] * 1e-3 - geometry.normal[0]
    at_2 = (columns + 0.5) * geometry.pixel[1] * 1e-3 - geometry.normal[1]
    rot_1, rot_2, _ = np.radians(geometry.rotations)
    x1, x2, x3 = at_1, at_2, np.full(SHAPE, geometry.distance)
    # left-handed about axis 1, then right-handed about axis 2: pyFAI's page on geometry
    x2, x3 = x2 * np.cos(rot_1) + x3 * np.sin(rot_1), x3 * np.cos(rot_1) - x2 * np.sin(rot_1)
    x1, x3 = x1 * np.cos(rot_2) - x3 * np.sin(rot_2), x3 * np.cos(rot_2) + x1 * np.sin(rot_2)
    return np.degrees(np.arctan2(np.hypot(x1, x2), x3))


def places() -> np.ndarray:
    return np.array([2 * np.degrees(np.arcsin(TRUE.wavelength * np.sqrt(n) / (2 * A))) for n in LINES])


def expected(angle: np.ndarray) -> np.ndarray:
    rings = zip(places(), LINES.values(), strict=True)
    return 30 + sum(150 * m * np.exp(-0.5 * ((angle - at) / 0.05) ** 2) for at, m in rings)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(1).poisson(expected(two_theta(TRUE))).astype(float)


@needs_pyfai
def test_a_detector_is_found_by_its_rings(image: np.ndarray) -> None:
    start = replace(TRUE, distance=302.0, normal=(50.4, 51.6), rotations=(0.0, 0.0, 0.0))
    found = geometry_from_rings(image, "CeO2", start)
    assert found.geometry.distance == pytest.approx(TRUE.distance, rel=2e-4)
    assert found.spread < 0.005
    np.testing.assert_allclose(two_theta(found.geometry), two_theta(TRUE), atol=0.004)


@needs_pyfai
def test_a_pattern_has_the_rings_and_their_noise(image: np.ndarray) -> None:
    pattern = pattern_from_image(image, TRUE, points=300)
    without_noise = pattern_from_image(expected(two_theta(TRUE)), TRUE, points=300)
    good = np.isfinite(pattern.y) & (pattern.x > 1)
    pulls = (pattern.y - without_noise.y)[good] / pattern.std[good]
    assert abs(pulls.mean()) < 0.25
    assert pulls.std() == pytest.approx(1.0, abs=0.15)
    for at in places()[:4]:
        near = np.abs(pattern.x - at) < 0.15
        above = pattern.y[near] - pattern.y[near].min()
        assert above @ pattern.x[near] / above.sum() == pytest.approx(at, abs=0.01)
    assert len(written_xye(pattern).splitlines()) == 301


@needs_pyfai
def test_masked_pixels_do_not_count(image: np.ndarray) -> None:
    hot, mask = image.copy(), np.zeros(SHAPE, dtype=bool)
    hot[100:140, 200:260], mask[100:140, 200:260] = 1e6, True
    with_mask, without = (pattern_from_image(hot, TRUE, points=200, mask=one) for one in (mask, None))
    assert np.nanmax(with_mask.y) < 0.1 * np.nanmax(without.y)


@needs_pyfai
def test_images_are_read_and_mistakes_told(tmp_path: Path, image: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "image.tif", image.astype(np.uint16))
    np.testing.assert_array_equal(read_image(tmp_path / "image.tif"), image)
    (tmp_path / "image.cbf").write_text("nothing")
    with pytest.raises(MeasurementError, match="not an image of a detector"):
        read_image(tmp_path / "image.cbf")
    with pytest.raises(MeasurementError, match="no standard that pyFAI knows"):
        geometry_from_rings(image, "Unobtainium", TRUE)
    with pytest.raises(MeasurementError, match="too few points"):
        geometry_from_rings(np.ones(SHAPE), "CeO2", TRUE)


def test_without_pyfai_it_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("cathoscope.io.detector_images.import_module", missing)
    with pytest.raises(MeasurementError, match="need pyFAI") as error:
        pattern_from_image(np.ones(SHAPE), TRUE)
    assert "cathoscope[images2d]" in str(error.value)
