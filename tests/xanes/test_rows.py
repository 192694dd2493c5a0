"""Maps taken a few rows at a time give what they give at once."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from scipy.ndimage import binary_fill_holes, distance_transform_edt

from cathoscope.xanes import lags, rows
from cathoscope.xanes.absorbance import least_edge_jump, particle_mask_from_edge_jump, significant_edge
from cathoscope.xanes.density import binned_map, shape_of_map
from cathoscope.xanes.distribution import distribution_of_map
from cathoscope.xanes.heterogeneity import (
    _block_of_voxel,
    correlation_length,
    depth_below_surface,
    depth_of_rows,
    radial_profile,
    stored_map,
)
from cathoscope.xanes.lags import near_products
from cathoscope.xanes.rows import Derived, quantiles_of
from tests.xanes.test_distribution import INSIDE, SHAPE, coloured, noisy_map


@pytest.fixture
def in_thin_slabs(monkeypatch):
    """Two rows at a time, and spectra of three columns."""
    monkeypatch.setattr(rows, "_VOXELS", 2 * INSIDE[0].size)
    monkeypatch.setattr(lags, "_NEAR_VOXELS", 1)
    monkeypatch.setattr(lags, "_ROWS", 3)
    monkeypatch.setattr(lags, "_SPECTRA", 3 * 8.0 * SHAPE[0] * 1.5 * SHAPE[1])


def everything(measured):
    """All numbers that statistics make of a map."""
    found = distribution_of_map(measured)
    shape = shape_of_map(measured, found, replicates=5)
    length = correlation_length(measured)
    depth = depth_of_rows(INSIDE)
    profile = radial_profile(measured, distance=depth, edges=np.linspace(0, 8, 5))
    numbers = [value for value in astuple(found) if isinstance(value, float)]
    curves = [shape.measured, shape.density, shape.density_std, length.correlation, profile.mean, profile.mean_std]
    return np.concatenate([numbers, length.decay_length, profile.spread, *curves])


def test_a_stored_map_in_thin_slabs_has_the_statistics_of_the_whole(request):
    rng = np.random.default_rng(0)
    whole = noisy_map(rng, coloured(rng, SHAPE, 1.5))
    expected = everything(whole)
    request.getfixturevalue("in_thin_slabs")
    read = [Derived(field.__getitem__) for field in (whole.value, whole.std, *whole.halves)]
    stored = stored_map(value=read[0], std=read[1], good=INSIDE, halves=(read[2], read[3]))
    np.testing.assert_allclose(everything(stored), expected, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("shape", [(9, 6, 7), (11, 8)])
def test_near_products_are_sums_over_pairs(monkeypatch, shape):
    monkeypatch.setattr(lags, "_NEAR_VOXELS", 1)
    field = np.where(np.random.default_rng(1).random(shape) < 0.7, np.random.default_rng(2).normal(size=shape), 0.0)
    reach = (1, 2, 1)[: len(shape)]
    found = near_products(field, field != 0, [2 * lag + 1 for lag in reach])
    padded = np.pad(field, [(lag, lag) for lag in reach])
    for place in np.ndindex(found.shape):
        shifted = padded[tuple(slice(at, at + size) for at, size in zip(place, shape, strict=True))]
        assert found[place] == pytest.approx(np.sum(field * shifted), abs=1e-6 * np.sum(field**2))


@pytest.mark.parametrize("count", [1, 2, 5, 64, 1001])
def test_quantiles_are_those_of_numpy(count):
    values = np.random.default_rng(count).normal(8350, 1, count).astype(np.float32)
    shares = np.array([1e-4, 0.125, 0.5, 0.75, 1.0])
    expected = np.quantile(values.astype(np.float64), shares)
    np.testing.assert_array_equal(quantiles_of(values, shares), expected)


@pytest.mark.parametrize("shape", [(7, 6, 9), (14, 11)])
def test_blocks_are_cut_where_ranks_are_half(shape):
    """Blocks by rank along one axis after another, ties in the order of the voxels."""
    good = np.random.default_rng(3).random(shape) < 0.6
    place, pieces = np.argwhere(good), 2 if len(shape) == 3 else 3
    number = np.zeros(len(place), dtype=int)
    for axis in range(len(shape)):
        piece = np.zeros_like(number)
        for block in np.unique(number):
            chosen = number == block
            order = np.argsort(np.argsort(place[chosen, axis], kind="stable"))
            piece[chosen] = order * pieces // chosen.sum()
        number = number * pieces + piece
    found = _block_of_voxel(good)
    np.testing.assert_array_equal(found[good], number)
    assert (found[~good] == -1).all()


@pytest.mark.parametrize("shape", [(12, 9, 10), (13, 17)])
def test_depth_is_the_distance_to_the_nearest_voxel_outside(shape):
    mask = np.random.default_rng(4).random(shape) < 0.9
    filled = np.pad(binary_fill_holes(mask), 1)
    expected = np.maximum(distance_transform_edt(filled)[(slice(1, -1),) * len(shape)] - 0.5, 0.0) * 0.02
    np.testing.assert_array_equal(depth_below_surface(mask, voxel_size=0.02), expected)


def test_values_are_binned_alike_in_slabs(in_thin_slabs):
    rng = np.random.default_rng(5)
    measured = noisy_map(rng, coloured(rng, SHAPE, 1.5), halves=False)
    binned = binned_map(measured, scale=1.3)
    cells = binned.cells(measured.value[INSIDE], measured.std[INSIDE])
    np.testing.assert_array_equal(np.bincount(cells, minlength=binned.counts.size), binned.counts.ravel())
    group = cells // binned.middle.size
    expected = [1.3 * np.sqrt(np.mean(measured.std[INSIDE][group == one] ** 2)) for one in range(binned.std.size)]
    np.testing.assert_allclose(binned.std, expected, rtol=1e-12)


@pytest.mark.parametrize("threshold", [None, 0.4, 9.0])
def test_the_mask_of_parts_is_that_of_the_whole(threshold):
    rng = np.random.default_rng(6)
    jump = np.where(rng.random((12, 5, 5)) < 0.4, 1.0, 0.0) + 0.1 * rng.standard_normal((12, 5, 5))
    jump[2, 3], std = np.nan, np.full(jump.shape, 0.1)
    std[7] = np.nan
    whole = particle_mask_from_edge_jump(edge_jump=jump, edge_jump_std=std, threshold=threshold)
    parts = [(jump[at : at + 5], std[at : at + 5]) for at in (0, 5, 10)]
    least = least_edge_jump(lambda: parts, threshold=threshold)
    np.testing.assert_array_equal(
        np.concatenate([significant_edge(*part) & (part[0] > least) for part in parts]), whole
    )
    assert np.isinf(least) == (threshold == 9.0) == (not whole.any())
