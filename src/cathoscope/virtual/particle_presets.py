"""Ready-made virtual studies of polycrystalline particles: which samples, how heated, how large."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.particle import GRAVEL, H_NMC, L_NMC, ROD, ParticleDesign
from cathoscope.virtual.specimen import Grid


@dataclass(frozen=True)
class Size:
    """How finely a study is sampled.

    Attributes
    ----------
    columns, rows, projections
        Of the detector, and of each scan.
    energies
        Scans at each temperature.
    cells
        Cells along each edge of the grid on which oxygen and lithium move.
    """

    columns: int
    rows: int
    projections: int
    energies: int = 1
    cells: int = 0

    def grid(self, field_of_view: float) -> Grid:
        """The detector's grid over ``field_of_view`` (um)."""
        return Grid(self.columns, self.rows, field_of_view / self.columns)


@dataclass(frozen=True)
class ParticlePreset:
    """A virtual study of particles.

    ``samples`` are by name; ``temperatures`` (degC) of the heating series, none for a nano-CT at room temperature;
    ``field_of_view`` is the width of the detector at the specimen, um.
    """

    meaning: str
    samples: Mapping[str, ParticleDesign]
    sizes: Mapping[str, Size]
    field_of_view: float
    temperatures: tuple[float, ...] = ()


_HEATING_SIZES: Mapping[str, Size] = MappingProxyType(
    {
        "small": Size(64, 64, 120, energies=30, cells=56),
        "medium": Size(256, 256, 360, energies=60, cells=96),
        "large": Size(512, 512, 720, energies=80, cells=128),
    }
)
_NANO_CT_SIZES: Mapping[str, Size] = MappingProxyType(
    {"small": Size(128, 128, 178), "medium": Size(256, 256, 355), "large": Size(512, 512, 710)}
)
_HEATING_VIEW, _NANO_CT_VIEW = 12.0, 10.24  # um
_TEMPERATURES = (25.0, 150.0, 200.0, 250.0)


def _heating(meaning: str, **samples: ParticleDesign) -> ParticlePreset:
    return ParticlePreset(meaning, MappingProxyType(samples), _HEATING_SIZES, _HEATING_VIEW, _TEMPERATURES)


def _nano_ct(meaning: str, samples: Mapping[str, ParticleDesign]) -> ParticlePreset:
    return ParticlePreset(meaning, MappingProxyType(dict(samples)), _NANO_CT_SIZES, _NANO_CT_VIEW)


PARTICLE_PRESETS: Mapping[str, ParticlePreset] = MappingProxyType(
    {
        "hou": _heating(
            "rod- and gravel-grained particles heated from 25 to 250 C, XANES tomography", rod=ROD, gravel=GRAVEL
        ),
        "rod": _heating("rod-grained particles alone, as in hou", rod=ROD),
        "gravel": _heating("gravel-grained particles alone, as in hou", gravel=GRAVEL),
        "cadiou": _nano_ct(
            "low- and high-gradient particles before cycling, nano-CT", {"L-NMC": L_NMC, "H-NMC": H_NMC}
        ),
        "L-NMC": _nano_ct("low-gradient particles alone, as in cadiou", {"L-NMC": L_NMC}),
        "H-NMC": _nano_ct("high-gradient particles alone, as in cadiou", {"H-NMC": H_NMC}),
    }
)


def size_of(preset: ParticlePreset, name: str) -> Size:
    """The size called ``name``.

    Raises
    ------
    CathoscopeError
        If there is none, or its voxels are too coarse for the cracks of a sample.
    """
    if name not in preset.sizes:
        raise CathoscopeError(
            f"unknown size {name!r}", expected=" or ".join(preset.sizes), cure=f"--size {next(iter(preset.sizes))}"
        )
    return preset.sizes[name]
