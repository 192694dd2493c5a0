"""Kernels that other kernels call do the same compiled and as Python."""

from __future__ import annotations

import numpy as np
import pytest

from cathoscope.powder import profile_gsas2_kernels
from cathoscope.powder.profile_gsas2_kernels import rings_gsas2
from cathoscope.powder.voigt_kernels import mixed_width


def test_width_of_a_pseudo_voigt() -> None:
    assert mixed_width.py_func(0.02, 0.3) == pytest.approx(mixed_width(0.02, 0.3), rel=1e-13)
    # a Gaussian alone, and a Lorentzian next to alone
    assert mixed_width.py_func(0.02, 0.0)[:2] == pytest.approx((np.sqrt(8 * np.log(2) * 0.02), 0.0))
    assert mixed_width.py_func(1e-12, 0.3)[:2] == pytest.approx((0.3, 1.0), abs=1e-4)


def test_rings_of_axial_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = rings_gsas2(20.0, 0.01, 0.02, 0.02)
    monkeypatch.setattr(profile_gsas2_kernels, "_weigh", profile_gsas2_kernels._weigh.py_func)
    # slopes are sums that cancel to a millionth of their terms, and compilers order them in their own way
    np.testing.assert_allclose(rings_gsas2.py_func(20.0, 0.01, 0.02, 0.02), compiled, rtol=1e-12, atol=1e-10)
    assert compiled[1].sum() == pytest.approx(1.0)
