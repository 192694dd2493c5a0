"""Share of the metals in every phase and oxygen per metal of each, from refined patterns along temperature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cathoscope.flow.relations import Member
from cathoscope.lab.particle_cell import Oxide
from cathoscope.physics.species import atomic_mass
from cathoscope.relate.oxygen import Course, oxygen_per_metal

Floats = NDArray[np.float64]

_STRUCTURES = {"R -3 m": "layered", "F d -3 m": "spinel"}
_FEWEST = 3  # temperatures


@dataclass(frozen=True, eq=False)
class Phases:
    """Of a powder along temperature (degC): metals in each phase (sum 1) and oxygen per metal, [temperature, phase]."""

    temperature: Floats
    structures: tuple[str, ...]
    metals: Floats
    metals_std: Floats
    oxygen: Floats
    oxygen_std: Floats

    def course(self, name: str) -> Course:
        """Oxygen lost by occupancies since the first temperature."""
        held = np.sum(self.metals * self.oxygen, axis=1)
        # shares add up to 1: what one gains another loses, so that only differences of their oxygen count
        contrast = self.oxygen - held[:, None]
        variance = np.sum((self.metals * self.oxygen_std) ** 2 + (self.metals_std * contrast) ** 2, axis=1)
        std = np.sqrt(variance)
        common = np.full((1, held.size - 1), std[0])
        return Course(name, self.temperature[1:], (held[0] - held)[1:], std[1:], common)

    def spinel_course(self, name: str, loss: float) -> Course:
        """Oxygen lost if all spinel lacks ``loss`` per metal and nothing else lacks any."""
        column = self.structures.index("spinel")
        share, std = self.metals[1:, column], self.metals_std[1:, column]
        return Course(name, self.temperature[1:], share * loss, std * abs(loss), np.zeros((0, share.size)))


def metals_of_phases(member: Member, oxide: Oxide) -> Phases | None:
    """Metals and oxygen of layered and spinel; None where occupancies of oxygen were not refined along temperature."""
    data, names = member.data, ("weight_fraction", "oxygen_occupancy", "oxygen_occupancy_std", "antisite")
    if any(name not in data for name in names) or member.section is None:
        return None
    if data["weight_fraction"].dims != ("temperature", "phase") or data.sizes["temperature"] < _FEWEST:
        return None
    groups = [str(one).split(":")[0].strip() for one in data["phase"].attrs.get("space_groups", ())]
    structures = tuple(_STRUCTURES.get(one, "") for one in groups)
    if sorted(structures) != ["layered", "spinel"] or not np.isfinite(data["oxygen_occupancy_std"].values).any():
        return None
    labels = [str(one) for one in data["phase"].attrs["names"]]
    oxygen, oxygen_std = np.empty((2, *data["weight_fraction"].shape))
    for column, structure in enumerate(structures):
        exchanged = bool(member.section.phases[labels[column]].exchange)
        oxygen[:, column], oxygen_std[:, column] = _oxygen(member, column, structure, exchanged)
    metals, metals_std = _metals(member, oxide, oxygen)
    temperature = np.asarray(data["temperature"].values, np.float64)
    return Phases(temperature, structures, metals, metals_std, oxygen, oxygen_std)


def _oxygen(member: Member, column: int, structure: str, exchanged: bool) -> tuple[Floats, Floats]:
    """Oxygen per metal of one phase and its uncertainty; where there is too little of it, as at the nearest."""
    data = member.data
    occupancy, std = (np.asarray(data[f"oxygen_occupancy{end}"].values[:, column], float) for end in ("", "_std"))
    antisite = np.nan_to_num(np.asarray(data["antisite"].values[:, column], float))
    found = oxygen_per_metal(structure=structure, occupancy=occupancy, antisite=antisite, exchanged=exchanged)
    share = np.zeros_like(antisite)
    if not exchanged and "antisite_std" in data:
        spread = np.nan_to_num(np.asarray(data["antisite_std"].values[:, column], float))
        share = spread / ((2.0 if structure == "spinel" else 1.0) + antisite)
    total = found * np.hypot(std / occupancy, share)
    known = np.isfinite(found) & np.isfinite(total) & (total > 0)
    if not known.any():
        return np.full(found.shape, 2.0), np.zeros(found.shape)
    place = np.arange(found.size)
    filled = np.interp(place, place[known], found[known])
    return filled, np.where(known, np.where(known, total, 0.0), total[known].max())


def _metals(member: Member, oxide: Oxide, oxygen: Floats) -> tuple[Floats, Floats]:
    """Metals in each phase from weight fractions: a metal weighs with it its lithium and its oxygen."""
    weight, std = (np.asarray(member.data[f"weight_fraction{end}"].values, float) for end in ("", "_std"))
    weight, std = np.nan_to_num(weight), np.nan_to_num(std)
    rest = sum(amount * atomic_mass(species=name) for name, amount in oxide.amount.items() if name != "O")
    per_mass = 1.0 / (rest + oxygen * atomic_mass(species="O"))
    total = np.sum(weight * per_mass, axis=1, keepdims=True)
    return weight * per_mass / total, std * per_mass / total
