"""A number with what is not known of it: scatter and possible bias, kept apart."""

from __future__ import annotations

from math import hypot
from typing import NamedTuple


class Estimate(NamedTuple):
    """A value, its statistical standard uncertainty and its systematic one, all in the unit of the value.

    The statistical part would differ in another measurement of the same object; the systematic part (a mask, a grey
    reference, a voxel size) would not, and may cancel in differences.
    """

    value: float
    std: float = 0.0
    systematic: float = 0.0

    @property
    def total(self) -> float:
        """Both parts in quadrature: the half-width of a 68 % interval."""
        return hypot(self.std, self.systematic)
