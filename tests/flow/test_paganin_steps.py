"""Phase retrieval in the flow: rows at a time, as good as whole projections."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
from pydantic import ValidationError

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import SLAB_ROWS
from cathoscope.core.study import Study
from cathoscope.flow.sections import TomographySection
from cathoscope.flow.steps.aligned import ScanInputs, reach_of, rows_around, scan_inputs, sinogram_of_rows
from cathoscope.tomography.phase import (
    Propagation,
    blur_length_from_propagation,
    optical_depth_from_transmission,
)
from tests.flow.fabricated import PIXEL, Ball

TALL = Ball(n_rows=136, n_columns=24, n_projections=3, attenuation=(1.0,), photons=1e9)


def phase(pixels: float, **more: Any) -> dict[str, Any]:
    """Choices for a blur length in px at 8300 eV."""
    one = Propagation(delta_over_beta=100.0, distance_mm=1.0, pixel_size=PIXEL, energy=8300.0)
    distance = (pixels * PIXEL / blur_length_from_propagation(propagation=one)) ** 2
    return {"phase": {"delta_over_beta": 100.0, "distance": f"{distance:.6f} mm", **more}}


def inputs_of(study: Study, ball: Ball, **tomography: Any) -> tuple[ScanInputs, TomographySection]:
    context = ball.context(study, **tomography)
    inputs = scan_inputs(context, (0, 0))
    assert inputs is not None
    return inputs, context.section.tomography


def with_counts(inputs: ScanInputs, transmission: np.ndarray) -> ScanInputs:
    counts = inputs.scan["counts"].copy(data=(1e9 * transmission).astype(np.float32))
    return replace(inputs, scan=inputs.scan.assign(counts=counts))


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("pixels", [0.4, 2.0, 4.5])
def test_rows_with_their_surroundings_are_as_good_as_whole_projections(
    study: Study, pixels: float, discrete: bool
) -> None:
    """Also where matter ends at a block's border: the error is below 1e-3 of the depth."""
    inputs, section = inputs_of(study, TALL, zinger_sigma=0.0, **phase(pixels, discrete=discrete))
    assert inputs.propagation is not None
    reach = reach_of(inputs.propagation)
    depth = np.zeros((3, 136, 24))
    depth[0, : 2 * reach + 3] = 1.0
    depth[1, reach:] = 1.0
    depth[2] = np.random.default_rng(1).uniform(0.0, 1.0, (136, 1))
    found = sinogram_of_rows(with_counts(inputs, np.exp(-depth)), slice(0, 136), section).transpose(1, 0, 2)
    expected = optical_depth_from_transmission(transmission=np.exp(-depth), propagation=inputs.propagation)
    assert np.abs(found - expected).max() < 1e-3
    assert reach < 136 // 2


def test_what_is_asked_for_together_changes_no_bit(study: Study) -> None:
    inputs, section = inputs_of(study, TALL, **phase(1.5))
    whole = sinogram_of_rows(inputs, slice(0, 136), section)
    assert whole.shape == (136, 3, 24)
    for rows in (slice(0, 8), slice(16, 40), slice(64, 128), slice(128, 136)):
        assert rows.start % SLAB_ROWS == 0
        np.testing.assert_array_equal(sinogram_of_rows(inputs, rows, section), whole[rows])


def test_fringes_of_a_ball_become_its_depth_again(study: Study) -> None:
    """The transport of intensity, (1 - length^2 Laplacian) exp(-depth), by a cosine transform, is undone."""
    inputs, section = inputs_of(study, TALL, zinger_sigma=0.0, **phase(2.0))
    depth = scipy.ndimage.gaussian_filter(TALL.depth(0), (0, 3, 3))
    k = np.pi * np.arange(136)[:, None] / 136, np.pi * np.arange(24) / 24
    waves = scipy.fft.dctn(np.exp(-depth), axes=(1, 2)) * (1.0 + 4.0 * (k[0] ** 2 + k[1] ** 2))
    fringes = scipy.fft.idctn(waves, axes=(1, 2))
    assert fringes.max() > 1.02  # brighter than the open beam
    assert fringes.min() > 0
    found = sinogram_of_rows(with_counts(inputs, fringes), slice(0, 136), section).transpose(1, 0, 2)
    assert np.abs(found - depth).max() < 0.01 * depth.max()
    without = sinogram_of_rows(with_counts(replace(inputs, propagation=None), fringes), slice(0, 136), section)
    assert np.abs(without.transpose(1, 0, 2) - depth).max() > 0.1 * depth.max()


def test_gains_are_taken_out_before_the_phase_is_retrieved(study: Study) -> None:
    plain, section = inputs_of(study, TALL, zinger_sigma=0.0, **phase(2.0))
    rows, transmission = slice(0, 48), np.exp(-TALL.depth(0))
    gain = 0.3 * np.random.default_rng(2).standard_normal((136, 24)).astype(np.float32)
    striped = replace(plain, offset=plain.offset.copy(data=gain))
    found = sinogram_of_rows(with_counts(striped, transmission * np.exp(-gain)), rows, section)
    np.testing.assert_allclose(found, sinogram_of_rows(with_counts(plain, transmission), rows, section), atol=1e-5)


def test_it_is_off_unless_a_distance_is_given(study: Study) -> None:
    inputs, _ = inputs_of(study, TALL)
    assert inputs.propagation is None
    assert TomographySection().phase.distance is None


def test_pixel_and_energy_come_from_the_measurement(study: Study) -> None:
    larger = replace(TALL, magnification=(1.25,))
    inputs, _ = inputs_of(study, larger, **phase(2.0, discrete=True))
    assert inputs.propagation is not None
    assert inputs.propagation.pixel_size == pytest.approx(PIXEL / 1.25)
    assert inputs.propagation.energy == 8300.0
    assert inputs.propagation.discrete
    context = larger.context(study, **phase(2.0))
    assert rows_around(context) > 2 * reach_of(inputs.propagation)


def test_an_energy_that_nobody_says(study: Study) -> None:
    context = TALL.context(study, **phase(2.0))
    context.raw.scans[0, 0] = context.raw.scans[0, 0].drop_vars("energy")
    with pytest.raises(MeasurementError, match=r'energy = "8\.35 keV"'):
        scan_inputs(context, (0, 0))
    context = TALL.context(study, **phase(2.0, energy="9 keV"))
    context.raw.scans[0, 0] = context.raw.scans[0, 0].drop_vars("energy")
    inputs = scan_inputs(context, (0, 0))
    assert inputs is not None
    assert inputs.propagation is not None
    assert inputs.propagation.energy == 9000.0


def test_a_distance_that_smooths_everything_away(study: Study) -> None:
    with pytest.raises(MeasurementError, match="check distance and delta_over_beta"):
        inputs_of(study, TALL, **phase(7.0))


@pytest.mark.parametrize(
    "table", [{"distance": "1 mm"}, {"delta_over_beta": 100.0}, {"discrete": True}, {"energy": "8 keV"}]
)
def test_half_a_table_is_a_mistake(table: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="10 mm"):
        TomographySection.model_validate({"phase": table})
