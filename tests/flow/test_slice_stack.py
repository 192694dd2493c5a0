"""What a FIB/SEM stack without pores that stand out says of those it cannot see."""

from __future__ import annotations

from cathoscope.flow.steps.slice_stack import finer_pores
from cathoscope.numerics.estimate import Estimate


def test_pores_finer_than_a_pixel_are_told_of_where_none_stand_out() -> None:
    (told,) = finer_pores(Estimate(0.004, 0.003, 0.004), 0.07)
    assert "finer than a pixel (70 nm)" in told


def test_nothing_is_told_where_pores_stand_out() -> None:
    assert finer_pores(Estimate(0.06, 0.005, 0.007), 0.0135) == []
