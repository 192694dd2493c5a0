"""The kernels compiled and as Python, and their shortcuts against the functions they stand for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.xanes import whiteline_kernels as kernels

KERNELS = [
    name
    for name, value in vars(kernels).items()
    if hasattr(value, "py_func") and value.py_func.__module__ == kernels.__name__
]


def fit_settings(known: bool) -> kernels.Settings:
    return kernels.Settings(
        2.0, 6.5, 2.6, (-30.0, 30.0), (0.0, 20.0), (0.5, 8.0), 6.0, tolerance=0.03, iterations=30, noise_is_known=known
    )


@pytest.mark.parametrize("known", [True, False])
def test_compiled_and_python_kernels_agree(monkeypatch, high_noise, known):
    values = high_noise.values[:6].copy()
    values[2] = np.random.default_rng(31).normal(size=values.shape[1])  # exercises restarts
    values[4, 5] = np.nan
    middle = high_noise.energy.mean()
    weight = 1.0 / high_noise.noise_std[np.newaxis] if known else np.ones((1, 61))
    arguments = (values, high_noise.energy - middle, weight, fit_settings(known))
    compiled = kernels.fit_spectra(*arguments)
    for name in KERNELS:
        monkeypatch.setattr(kernels, name, getattr(kernels, name).py_func)
    python = kernels.fit_spectra(*arguments)
    good = compiled[2] == kernels.GOOD
    assert good.sum() == 4
    np.testing.assert_array_equal(python[2], compiled[2])
    for slow, fast in zip(python, compiled, strict=True):
        np.testing.assert_allclose(slow[good], fast[good], rtol=1e-7, atol=1e-7)


@given(st.floats(0.0, 1e6))
@settings(max_examples=200, deadline=None)
def test_bell_is_the_exponential(y):
    for bell in (kernels.bell_from_square, kernels.bell_from_square.py_func):
        assert bell(y) == pytest.approx(math.exp(-y), abs=1e-10)


@given(st.floats(-1e9, 1e9))
@settings(max_examples=200, deadline=None)
def test_arctangent_is_the_arctangent(x):
    for arctangent in (kernels.arctangent, kernels.arctangent.py_func):
        assert arctangent(x) == pytest.approx(math.atan(x), abs=3e-8)


def test_columns_are_the_derivatives_of_the_curve(truth):
    energy = np.linspace(-30.0, 30.0, 61)
    parameters = np.array([0.1, -5e-4, 0.7, 0.6, -9.0, -2.5, 2.6])
    work = kernels.new_work(energy)
    kernels.fill_columns(work, tuple(parameters[4:]), truth.edge_width)
    amplitude = np.array([1, 1, 1, 1, parameters[2], parameters[3], parameters[3]])
    for k in range(7):
        step = np.zeros(7)
        step[k] = 1e-5
        # the curve's slope counts from another energy than the kernel's
        difference = truth.curve(energy, parameters + step) - truth.curve(energy, parameters - step)
        numerical = difference / 2e-5 + (truth.middle if k == 1 else 0.0)
        np.testing.assert_allclose(amplitude[k] * work.columns[k], numerical, atol=1e-6)


def test_dependent_columns_are_noticed():
    work = kernels.new_work(np.linspace(-30.0, 30.0, 61))
    # a line narrower than the grid between two energies leaves no trace
    assert kernels.misfit(work, (0.0, 0.5, 0.01), 2.0) == -1.0
    assert work.dependent[0]
