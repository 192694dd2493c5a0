"""The spread of a map with two halves, whose noise and shared errors are known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from cathoscope.flow.steps.statistics import _temperature
from cathoscope.xanes.distribution import Distribution

SIZE, WIDTH, NOISE = 20, 0.3, 0.2
RNG = np.random.default_rng(7)
TRUE = 8350.0 + WIDTH * RNG.standard_normal((SIZE, SIZE, SIZE))
HALVES = np.stack([TRUE, TRUE]) + np.sqrt(2.0) * NOISE * RNG.standard_normal((2, *TRUE.shape))
CONDITION = ("temperature", "z", "y", "x")


def spread(*, resolution: float = 0.0, calibration: float | None = None, shared: float = 0.0) -> Distribution:
    """Of a map whose stated uncertainties hold ``resolution`` and whose scale is known to ``calibration``, eV.

    Its halves share errors of ``shared`` times the variance of the noise.
    """
    halves = HALVES + np.sqrt(shared) * NOISE * np.random.default_rng(8).standard_normal(TRUE.shape)
    of_line = {} if calibration is None else {"systematic_std": [calibration]}
    std = np.full((1, *TRUE.shape), np.hypot(NOISE, resolution))
    place = {name: 0.1 * np.arange(SIZE) for name in "zyx"}
    data = xr.Dataset(
        {
            "white_line_energy": (CONDITION, halves.mean(axis=0)[None], of_line),
            "white_line_energy_std": (CONDITION, std, {"resolution_std": [resolution], "shared_noise": [shared]}),
            "white_line_flag": (CONDITION, np.zeros((1, *TRUE.shape), np.int8)),
            "white_line_half": (("half", *CONDITION), halves[:, None]),
        },
        coords=place,
    )
    return _temperature(data, (0,)).distribution


def test_what_a_reconstruction_lacks_is_added_and_known_to_half() -> None:
    plain, found = spread(), spread(resolution=0.1)
    assert plain.width == pytest.approx(np.std(TRUE), rel=0.02)
    assert found.variance - plain.variance == pytest.approx(0.6 * 0.1**2)
    assert found.variance_from_noise - plain.variance_from_noise == pytest.approx(0.6 * 0.1**2)
    assert found.variance_std == pytest.approx(np.hypot(plain.variance_std, 0.3 * 0.1**2))
    assert found.discrepancy == pytest.approx(plain.discrepancy, abs=0.1)  # both ways to the spread lack the same


def test_an_uncertain_scale_makes_the_spread_uncertain_and_leaves_it() -> None:
    plain, found = spread(), spread(calibration=0.02)
    assert found.width == plain.width
    assert found.width_std == pytest.approx(np.hypot(plain.width_std, 0.02 / np.sqrt(3.0)), rel=0.03)
    assert [term.std for term in found.systematic if term.name == "calibration of the fit"] == [0.02]


def test_errors_that_both_halves_share_are_no_spread_of_states() -> None:
    plain, found = spread(), spread(shared=1.0)
    assert found.width == pytest.approx(plain.width, rel=0.02)
    assert found.variance_std == pytest.approx(np.hypot(plain.variance_std, 0.5 * NOISE**2), rel=0.03)
