"""Ready-made virtual studies of polycrystalline particles: which samples, how heated, how large."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from cathoscope.core.errors import CathoscopeError
from cathoscope.virtual.collapse import MechanicalLaw
from cathoscope.virtual.cycling import H_CYCLING, L_CYCLING, CyclingLaw
from cathoscope.virtual.data_exchange import NANO_CT_ARC, NANO_CT_PIXEL, NANO_CT_PROJECTIONS
from cathoscope.virtual.heating import HeatingLaw
from cathoscope.virtual.microscope import Optics
from cathoscope.virtual.particle import GRAVEL, H_NMC, L_NMC, ROD, ParticleDesign
from cathoscope.virtual.specimen import Grid
from cathoscope.virtual.txm import TxmOptions


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
class Experiment:
    """Everything that is the same for all samples: laws, instrument, and when the scans are made.

    ``rate`` (degC/min) of the ramps, ``hold`` (min) at each temperature, of which the scans take the part from
    ``scans`` on to the end, energy after energy. From temperature to temperature the particle is displaced along each
    axis by ``moved`` (um), turned about z by ``turned`` and about x and y by ``tilted`` (degrees): standard deviations.
    """

    law: HeatingLaw = field(default_factory=HeatingLaw)
    mechanics: MechanicalLaw = field(default_factory=MechanicalLaw)
    optics: Optics = field(default_factory=Optics)
    options: TxmOptions = field(default_factory=TxmOptions)
    rate: float = 10.0
    hold: float = 60.0
    scans: float = 1 / 3
    moved: float = 0.1
    turned: float = 0.5
    tilted: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.scans < 1:
            raise CathoscopeError(
                "the scans must begin within the hold", expected="a part of it, 0 to 1", found=f"{self.scans:g}"
            )
        for name in ("moved", "turned", "tilted"):
            if not 0 <= getattr(self, name) < np.inf:
                raise CathoscopeError(
                    f"the particle's displacement {name} is out of range",
                    expected="0 or more",
                    found=f"{getattr(self, name):g}",
                    cure=f"{name}=0",
                )


@dataclass(frozen=True)
class ParticlePreset:
    """A virtual study of particles.

    ``samples`` are by name; ``temperatures`` (degC) of the heating series, none for a nano-CT at room temperature;
    ``field_of_view`` is the width of the detector at the specimen, um. ``grain_map``: the grains of the particles are
    mapped, too, before heating and without an error. A nano-CT is made after ``cycle`` cycles by the sample's law of
    ``cycling``.
    """

    meaning: str
    samples: Mapping[str, ParticleDesign]
    sizes: Mapping[str, Size]
    field_of_view: float
    temperatures: tuple[float, ...] = ()
    experiment: Experiment = field(default_factory=Experiment)
    grain_map: bool = False
    cycle: int = 0
    cycling: Mapping[str, CyclingLaw] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.cycle < 0 or (self.cycle and not set(self.samples) <= set(self.cycling)):
            raise CathoscopeError(
                "these particles are not cycled" if self.cycle > 0 else "a particle cannot be cycled backwards",
                expected="cycle = 0" if self.cycle > 0 else "0 or more",
                found=f"cycle = {self.cycle}",
                cure='preset = "cadiou"' if self.cycle > 0 else "cycle = 35",
            )


_HEATING_SIZES: Mapping[str, Size] = MappingProxyType(
    {
        "small": Size(64, 64, 120, energies=30, cells=56),
        "medium": Size(256, 256, 360, energies=60, cells=96),
        "large": Size(512, 512, 720, energies=80, cells=128),
    }
)
_NANO_CT_SIZES: Mapping[str, Size] = MappingProxyType(
    {"small": Size(128, 128, 178), "medium": Size(256, 256, 355), "large": Size(512, 512, NANO_CT_PROJECTIONS)}
)
_HEATING_VIEW, _NANO_CT_VIEW = 13.0, 512 * NANO_CT_PIXEL  # um
_NANO_CT = Experiment(
    optics=Optics(resolution=0.06, magnification_slope=0.0, drift=0.0),
    options=TxmOptions(arc=NANO_CT_ARC),
)
_TEMPERATURES = (25.0, 150.0, 200.0, 250.0)


def _heating(meaning: str, **samples: ParticleDesign) -> ParticlePreset:
    return ParticlePreset(meaning, MappingProxyType(samples), _HEATING_SIZES, _HEATING_VIEW, _TEMPERATURES)


def _nano_ct(meaning: str, samples: Mapping[str, ParticleDesign]) -> ParticlePreset:
    return ParticlePreset(
        meaning,
        MappingProxyType(dict(samples)),
        _NANO_CT_SIZES,
        _NANO_CT_VIEW,
        experiment=_NANO_CT,
        cycling=MappingProxyType({"L-NMC": L_CYCLING, "H-NMC": H_CYCLING}),
    )


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
        If there is none.
    """
    if name not in preset.sizes:
        raise CathoscopeError(
            f"unknown size {name!r}", expected=" or ".join(preset.sizes), cure=f"--size {next(iter(preset.sizes))}"
        )
    return preset.sizes[name]
