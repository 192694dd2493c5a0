"""Edges and white line of one spectrum and of many: closed forms, invariances, exact propagation, refusals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.bulk import (
    EdgeEnergy,
    bulk_edges,
    derivative_edge,
    half_height_edge,
    integral_edge,
    normalise,
    white_line,
)
from cathoscope.xanes.normalise import NormalisedSpectrum

Array = NDArray[np.float64]
Law = Callable[..., EdgeEnergy]

EDGE = 8340.0
ENERGY = np.concatenate(
    [np.arange(8190.0, 8315.0, 5.0), np.arange(8315.0, 8385.0, 0.4), np.arange(8385.0, 8640.0, 4.0)]
)
LAWS: tuple[Law, ...] = (half_height_edge, derivative_edge, integral_edge, white_line)
NAMES = ("half_height_edge", "derivative_edge", "integral_edge", "white_line")


def logistic(energy: Array, width: float = 2.0) -> Array:
    return 1.0 / (1.0 + np.exp(-(energy - EDGE) / width))


def line(energy: Array, distance: float = 7.0, width: float = 2.6) -> Array:
    return np.exp(-0.5 * ((energy - EDGE - distance) / width) ** 2)


def oxide(energy: Array) -> Array:
    """One edge step with a white line; both levels are reached to 1e-6, so that no line bends the normalisation."""
    return logistic(energy) + 0.7 * line(energy)


def normalised(absorption: Array, noise: float = 1e-3, energy: Array = ENERGY) -> NormalisedSpectrum:
    return normalise(energy=energy, absorption=absorption, noise_std=noise)


def test_an_edge_without_line_has_all_energies_in_closed_form() -> None:
    """Half height and steepest rise in the middle; int E dmu between levels a and b of the logistic known."""
    one = normalised(logistic(ENERGY))
    a, b = 0.15, 0.9
    # E(mu) = EDGE + 2 ln(mu / (1 - mu)), whose integral is 2 (mu ln mu + (1 - mu) ln(1 - mu))
    entropy = [2.0 * (mu * np.log(mu) + (1 - mu) * np.log(1 - mu)) for mu in (a, b)]
    assert half_height_edge(normalised=one).energy == pytest.approx(EDGE, abs=2e-3)
    assert derivative_edge(normalised=one).energy == pytest.approx(EDGE, abs=2e-3)
    expected = EDGE + (entropy[1] - entropy[0]) / (b - a)
    assert integral_edge(normalised=one, levels=(a, b)).energy == pytest.approx(expected, abs=5e-3)


def test_edge_and_gaussian_have_the_half_height_and_maximum_of_their_sum() -> None:
    one = normalised(oxide(ENERGY))
    half = brentq(lambda energy: oxide(energy) - 0.5, EDGE - 5, EDGE + 5)
    top = minimize_scalar(lambda energy: -oxide(energy), bounds=(EDGE + 4, EDGE + 10), method="bounded").x
    assert half_height_edge(normalised=one).energy == pytest.approx(half, abs=5e-3)
    assert white_line(normalised=one).energy == pytest.approx(top, abs=0.02)


@pytest.mark.parametrize("height", [0.3, 0.8])
def test_another_height_is_crossed_where_the_convolved_edge_crosses_it(height: float) -> None:
    z = np.arange(-9.0, 9.0, 0.01)
    kernel = 0.5 * (3.0 - z**2) * np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)

    def convolved(energy: float) -> float:
        return float(0.01 * np.sum(kernel * logistic(energy - 0.9 * z))) - height

    found = half_height_edge(normalised=normalised(logistic(ENERGY)), height=height)
    assert found.energy == pytest.approx(brentq(convolved, EDGE - 9, EDGE + 9), abs=1e-3)


@pytest.mark.parametrize("law", LAWS)
def test_energies_move_with_the_axis_and_ignore_scale_and_background(law: Law) -> None:
    values = oxide(ENERGY) + np.random.default_rng(4).normal(0.0, 1e-3, ENERGY.size)
    plain = law(normalised=normalised(values))
    changed = 5.0 * values + 3.0 - 2e-3 * (ENERGY - EDGE)
    moved = law(normalised=normalised(changed, 5e-3, ENERGY + 11.7))
    assert moved.energy - plain.energy == pytest.approx(11.7, abs=2e-4)
    assert moved.std == pytest.approx(plain.std, rel=1e-3)


def test_uncertainties_are_those_of_numerical_derivatives_to_every_point() -> None:
    """Normalisation, windows and smoothing included, every point moved one by one."""
    values, noise, step = oxide(ENERGY), 3e-4, 2e-4
    moved = np.concatenate([values + step * np.eye(ENERGY.size), values - step * np.eye(ENERGY.size)])
    axes = np.broadcast_to(ENERGY, moved.shape)
    found = bulk_edges(energy=axes, absorption=moved, noise_std=noise)
    stated = bulk_edges(energy=ENERGY[None], absorption=values[None], noise_std=noise)
    for name in ("edge_step", *NAMES):
        upper, lower = getattr(found, name).reshape(2, -1)
        std = noise * np.linalg.norm((upper - lower) / (2 * step))
        assert getattr(stated, f"{name}_std")[0] == pytest.approx(std, rel=0.02), name


def test_spectra_scaled_to_their_maximum_have_a_half_height_and_no_integral_edge() -> None:
    axis = EDGE + np.arange(-16.0, 24.0, 0.4)
    values = oxide(axis) / oxide(axis).max()
    one = normalised(values, energy=axis)
    half = brentq(lambda energy: oxide(energy) - 0.5 * oxide(axis).max(), EDGE - 5, EDGE + 5)
    assert half_height_edge(normalised=one).energy == pytest.approx(half, abs=0.01)
    nothing = integral_edge(normalised=one)
    assert np.isnan(nothing.energy)
    assert "scaled to its maximum" in nothing.remarks[0]


def test_levels_that_are_not_reached_give_nan_and_say_so() -> None:
    found = integral_edge(normalised=normalised(logistic(ENERGY)), levels=(0.15, 1.2))
    assert np.isnan(found.energy)
    assert "does not reach 1.2" in found.remarks[0]
    assert "does not reach 1.5" in half_height_edge(normalised=normalised(logistic(ENERGY)), height=1.5).remarks[0]


def test_no_white_line_is_invented() -> None:
    found = white_line(normalised=normalised(logistic(ENERGY, 3.0)))
    assert np.isnan(found.energy)
    assert found.remarks


def test_a_bad_spectrum_does_not_touch_the_others() -> None:
    good = oxide(ENERGY) + np.random.default_rng(6).normal(0.0, 1e-3, (2, ENERGY.size))
    alone = bulk_edges(energy=np.tile(ENERGY, (2, 1)), absorption=good)
    descending, empty = ENERGY[::-1], np.full(ENERGY.size, np.nan)
    axes = np.stack([ENERGY, descending, ENERGY, ENERGY, ENERGY])
    table = np.stack([good[0], good[0], empty, np.ones(ENERGY.size), good[1]])
    found = bulk_edges(energy=axes, absorption=table)
    for name in ("edge_step", *NAMES):
        for end in ("", "_std"):
            values = getattr(found, name + end)
            np.testing.assert_array_equal(values[[0, 4]], getattr(alone, name + end))
            assert np.isnan(values[1:4]).all()
    texts = ("do not ascend", "too few points", "no edge was found")
    for remarks, text in zip(found.remarks[1:4], texts, strict=True):
        assert text in remarks[0]
    assert np.isnan(found.normalised[1:4]).all()


def test_padding_changes_nothing() -> None:
    values = oxide(ENERGY) + np.random.default_rng(8).normal(0.0, 1e-3, ENERGY.size)
    plain = bulk_edges(energy=ENERGY[None], absorption=values[None])
    padded = [np.concatenate([one, np.full(7, np.nan)])[None] for one in (ENERGY, values)]
    found = bulk_edges(energy=padded[0], absorption=padded[1])
    for name in ("edge_step", *NAMES):
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))
    np.testing.assert_array_equal(found.normalised[0, :-7], plain.normalised[0])
    assert np.isnan(found.normalised[0, -7:]).all()


@pytest.mark.parametrize(
    ("absorption", "noise", "text"),
    [(np.ones(5), None, "do not match"), (np.ones((2, 5)), None, "do not match"), (None, np.ones(3), "noise")],
)
def test_arrays_of_other_shapes_are_refused(absorption: Array | None, noise: Array | None, text: str) -> None:
    values = oxide(ENERGY)[None] if absorption is None else absorption
    with pytest.raises(MeasurementError, match=text):
        bulk_edges(energy=ENERGY[None], absorption=values, noise_std=noise)
