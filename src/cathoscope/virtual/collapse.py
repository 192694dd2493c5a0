"""How a particle changes shape when it is heated: one mechanical law for every arrangement of grains.

The oxide becomes spinel and gives way. A column of material between the hollow core and the surface can slide
inwards as a whole if no grain lies across it; grains that lie across interlock it. So the share of the core's volume
that closes is

    closed = mean conversion x radial span,

where the radial span, a number of the arrangement alone, is the mean over all directions of the longest run of one
grain between core and surface over the thickness of the shell. The shell keeps its volume in every direction, so
that a point at the radius r comes to lie at

    r' = (1 + strain) (r³ - closed core(n)³)^(1/3),

with n its direction and core(n) the radius of the core there. Besides, strain = expansion (T - 25) + swelling x mean
conversion, and cracks narrow where oxide has become porous spinel: opening = (1 - filling x conversion there) opening
at 25 degC. The law was written down before it was compared with any measured shrinkage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.grains import Grains
from cathoscope.virtual.programme import ROOM

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MechanicalLaw:
    """Parameters of the law.

    ``expansion`` is the linear coefficient of thermal expansion, 1/K; ``swelling`` the linear strain of full
    conversion to porous spinel; ``filling`` the share of a crack's opening that full conversion fills.
    """

    expansion: float = 1.3e-5
    swelling: float = 2e-3
    filling: float = 0.8

    def __post_init__(self) -> None:
        if not 0 <= self.filling <= 1:
            raise CathoscopeError("cracks cannot close more than wholly", expected="0 to 1", found=f"{self.filling:g}")

    def deformation(self, *, conversion: float, radial_span: float, temperature: float) -> Deformation:
        """Shape at a mean ``conversion`` (0 to 1) and ``temperature`` (degC)."""
        strain = self.expansion * (temperature - ROOM) + self.swelling * conversion
        return Deformation(conversion * radial_span, strain)


@dataclass(frozen=True)
class Deformation:
    """Share of the core that has closed, and the linear strain of all lengths."""

    closed: float = 0.0
    strain: float = 0.0

    def to_reference(self, points: Array, grains: Grains) -> Array:
        """Where the material at ``points`` (n, 3; um) was before heating."""
        return self._moved(points / (1 + self.strain), grains, self.closed)

    def from_reference(self, points: Array, grains: Grains) -> Array:
        """Where the material that was at ``points`` (n, 3; um) is now."""
        return self._moved(points, grains, -self.closed) * (1 + self.strain)

    def volume_ratio(self, *, core_share: float) -> float:
        """Volume of the particle over that before heating; ``core_share`` is the core's share of it then."""
        return float((1 + self.strain) ** 3 * (1 - self.closed * core_share))

    @staticmethod
    def _moved(points: Array, grains: Grains, closed: float) -> Array:
        if closed == 0 or grains.design.core_radius == 0:
            return points
        radius = np.linalg.norm(points, axis=-1)
        directions = points / np.maximum(radius, 1e-12)[:, None]
        cubed = np.maximum(radius**3 + closed * grains.core_radius(directions) ** 3, 0.0)
        return np.asarray(directions * np.cbrt(cubed)[:, None])
