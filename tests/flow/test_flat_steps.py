"""Noise of the flats through the flow's own steps: from the files of a series to its optical depth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cathoscope.core.study import Study
from cathoscope.flow.graph import Context
from cathoscope.flow.steps.aligned import scan_inputs, sinogram_of_rows
from cathoscope.flow.steps.flats import flat_offsets
from tests.flow.fabricated import FLATS, Ball, knowing, result

BALL = Ball(n_rows=80, n_projections=3)
SHAPE = (BALL.n_rows, BALL.n_columns)


def with_noisy_flats(context: Context, frames: int = FLATS) -> Context:
    """The scans with flats of counted photons in place of exact ones."""
    for (_, e), scan in list(context.raw.scans.items()):
        noisy = np.random.default_rng(50 + e).poisson(BALL.photons, (frames, *SHAPE)).astype(np.float32)
        context.raw.scans[(0, e)] = scan.drop_vars("flat_counts").assign(flat_counts=(("flat", "row", "column"), noisy))
    return context


def offsets(context: Context, study: Study) -> np.ndarray:
    flat_offsets(context)
    return result(context, study, ["flat_offset"])["flat_offset"].values


def depth_error(context: Context, e: int, exact: np.ndarray) -> float:
    """Scatter of the optical depth of a scan about the one with exact flats."""
    inputs = scan_inputs(context, (0, e))
    assert inputs is not None
    depth = sinogram_of_rows(inputs, slice(8, 72), context.section.tomography)
    return float((depth - exact).std())


def test_the_optical_depth_loses_the_noise_of_the_flats(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "s.zarr")
    without = BALL.context(study)
    inputs = scan_inputs(without, (0, 4))
    assert inputs is not None
    exact = sinogram_of_rows(inputs, slice(8, 72), without.section.tomography)
    context = with_noisy_flats(BALL.context(study))
    before = depth_error(context, 4, exact)
    flat_offsets(context)
    found = result(context, study, ["flat_offset"])
    assert found["flat_offset"].dims == ("temperature", "energy", "row", "column")
    after = depth_error(knowing(context, found), 4, exact)
    assert before == pytest.approx(1 / np.sqrt(FLATS * BALL.photons), rel=0.05)
    assert after == pytest.approx(before / np.sqrt(len(BALL.attenuation)), rel=0.1)


def test_threads_change_no_bit(tmp_path: Path) -> None:
    found = []
    for threads in (1, 2):
        study = Study.create(tmp_path / f"{threads}.zarr")
        found.append(offsets(with_noisy_flats(BALL.context(study, threads=threads)), study))
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize(("frames", "choices"), [(FLATS, {"flats": "own"}), (1, {})])
def test_own_flats_and_single_frames_are_left_alone(tmp_path: Path, frames: int, choices: dict[str, str]) -> None:
    study = Study.create(tmp_path / "s.zarr")
    assert (offsets(with_noisy_flats(BALL.context(study, **choices), frames), study) == 0).all()


def test_a_few_energies_share_nothing(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "s.zarr")
    context = with_noisy_flats(BALL.context(study))
    for e in range(5, 10):
        del context.raw.scans[(0, e)]
    assert (offsets(context, study) == 0).all()


def test_an_energy_without_a_scan_has_no_offset(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "s.zarr")
    context = with_noisy_flats(BALL.context(study))
    del context.raw.scans[(0, 3)]
    found = offsets(context, study)[0]
    assert (found[3] == 0).all()
    assert (found[[0, 1, 2, 4]] != 0).all()
