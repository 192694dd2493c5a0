"""What a recipe may say about powder diffraction: phases, banks, and how they are refined."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from cathoscope.flow.section import Files, Section, Temperature, as_list, named

_PLACE = re.compile(r"^\s*(\d+\.?\d*(?:[eE][-+]?\d+)?)\s*(\S+)\s*$")
_PLACE_UNITS = {"A": ("A", 1.0), "Å": ("A", 1.0), "us": ("us", 1.0), "µs": ("us", 1.0), "ms": ("us", 1e3)}
_PLACE_UNITS |= {"deg": ("deg", 1.0), "°": ("deg", 1.0)}


def _place(value: Any) -> Any:
    """A text such as ``1.2 A`` as its value and unit."""
    match = _PLACE.match(value) if isinstance(value, str) else None
    if match is None or match[2] not in _PLACE_UNITS:
        raise ValueError('a place in a pattern needs a number and a unit: A, us, ms or deg, such as "1.2 A"')
    unit, factor = _PLACE_UNITS[match[2]]
    return float(match[1]) * factor, unit


def _range(value: tuple[tuple[float, str], tuple[float, str]]) -> tuple[tuple[float, str], tuple[float, str]]:
    (first, unit), (second, other) = value
    if unit != other or not first < second:
        raise ValueError(
            f"both ends need one unit, the first the smaller one: not {first:g} {unit}, {second:g} {other}"
        )
    return value


Intensities = Literal["structure", "le-bail", "pawley"]
Place = Annotated[tuple[float, str], BeforeValidator(_place)]
Range = Annotated[tuple[Place, Place], AfterValidator(_range)]
Axis = tuple[int, int, int]


def _as_table(value: Any) -> Any:
    return {"file": value} if isinstance(value, str) else value


class PowderPhaseSection(Section):
    """A crystalline phase: its structure, and how its crystallites broaden and weigh reflections."""

    file: str | None = None
    space_group: str | None = None
    cell: tuple[float, float, float, float, float, float] | None = None
    intensities: Intensities = "structure"
    block: str | None = Field(default=None, description="name of the structure, where the file has several")
    optional: bool | None = None
    exchange: tuple[str, str] | None = None
    free: tuple[str, ...] = ()
    size: Literal["none", "isotropic", "uniaxial"] = "isotropic"
    size_axis: Axis = (0, 0, 1)
    strain: Literal["none", "isotropic", "uniaxial", "stephens"] = "isotropic"
    strain_axis: Axis = (0, 0, 1)
    equivalents: Literal["average", "representative"] = "average"
    march_axis: Axis | None = None
    harmonics: int = Field(default=0, ge=0, le=20, multiple_of=2)
    harmonics_psi: float = Field(default=90.0, ge=0, le=180)
    extinction: bool = False

    @model_validator(mode="after")
    def _structure(self) -> PowderPhaseSection:
        stated = self.space_group is not None and self.cell is not None
        if (self.file is None) != stated or (self.file and (self.space_group or self.cell)):
            raise ValueError("a phase needs either the file of its structure, or space_group and cell")
        free = self.intensities != "structure"
        if stated and not free:
            raise ValueError(
                'a phase without a file has no structure: add  intensities = "pawley"  or  intensities = "le-bail"'
            )
        if free and (self.exchange or self.free or self.optional):
            raise ValueError(
                f'intensities = "{self.intensities}" takes a phase as present and knows no sites:'
                " leave out exchange, free and optional"
            )
        return self

    @model_validator(mode="after")
    def _directions(self) -> PowderPhaseSection:
        for name in ("size_axis", "strain_axis", "march_axis"):
            if getattr(self, name) == (0, 0, 0):
                raise ValueError(f"{name} is no direction: indices hkl such as [1, 1, 0] are needed")
        for kind in ("size", "strain"):
            if f"{kind}_axis" in self.model_fields_set and getattr(self, kind) != "uniaxial":
                raise ValueError(f'{kind}_axis belongs to {kind} = "uniaxial", not "{getattr(self, kind)}"')
        return self


class BankSection(Section):
    """Further patterns that are refined together with those of the measurement."""

    name: Annotated[str, AfterValidator(named)] | None = None
    files: Files
    instrument: str
    bank: int | None = Field(default=None, ge=1, description="its number, where a file has several")
    temperatures: tuple[Temperature, ...] = ()
    range: Range | None = None
    excluded: tuple[Range, ...] | None = None
    background: int | None = Field(default=None, ge=1, le=60)


class DiffractionSection(Section):
    """How patterns are refined."""

    range: Range | None = None
    excluded: tuple[Range, ...] = ()
    temperatures: tuple[Temperature, ...] = ()
    background: int = Field(default=12, ge=1, le=60)
    background_scale: Literal["linear", "log", "inverse"] = "linear"
    profile: Literal["exact", "gsas2"] = "exact"
    scattering: Literal["sears1992", "gsas2"] = "sears1992"
    weights: Literal["model", "stated"] = "model"
    priors: Literal["usual", "none"] = "usual"
    effects: tuple[Literal["absorption", "across", "along", "height", "depth"], ...] = ()
    stages: tuple[tuple[str, ...], ...] = ()
    free: tuple[str, ...] = ()
    start: dict[str, float] = Field(default_factory=dict)
    fixed: dict[str, float] = Field(default_factory=dict)
    ties: dict[str, str] = Field(default_factory=dict)
    own: tuple[str, ...] = ()
    direction: Literal["forward", "backward", "both"] = "both"
    compare_sizes: bool = False

    @model_validator(mode="after")
    def _one_word_for_each(self) -> DiffractionSection:
        twice = (set(self.fixed) & set(self.ties)) | (set(self.fixed) & set(self.start))
        if twice:
            raise ValueError(f"{', '.join(sorted(twice))} stands in fixed and in another table; leave it in one")
        if any(not stage for stage in self.stages):
            raise ValueError("a stage without names frees nothing")
        return self


def _spacing(value: tuple[float, str]) -> float:
    """A place that is a lattice spacing, A."""
    if value[1] != "A":
        raise ValueError(f'a lattice spacing is needed, such as "2.45 A", not {value[0]:g} {value[1]}')
    return value[0]


Spacing = Annotated[float, BeforeValidator(lambda value: _spacing(_place(value)))]
PeakGroup = Annotated[tuple[Spacing, ...], BeforeValidator(as_list)]


class PeaksSection(Section):
    """Single peaks that are followed without a phase."""

    at: Annotated[tuple[PeakGroup, ...], Field(min_length=1)]
    window: Spacing | None = None
    asymmetry: bool = False


def as_peaks(value: Any) -> Any:
    """A list of peaks is short for a table with nothing but them."""
    return {"at": value} if isinstance(value, list) else value


class CalibrationSection(Section):
    """The phases are standards, whose cells are held: numbers of the instrument are refined."""

    free: tuple[str, ...] = ()


def as_calibration(value: Any) -> Any:
    """A list of numbers is short for a table with nothing but them, ``true`` for an empty one."""
    if value is True:
        return {}
    return {"free": value} if isinstance(value, list) else value or None


Calibration = Annotated[CalibrationSection | None, BeforeValidator(as_calibration)]
Peaks = Annotated[PeaksSection | None, BeforeValidator(as_peaks)]
PowderPhases = dict[Annotated[str, AfterValidator(named)], Annotated[PowderPhaseSection, BeforeValidator(_as_table)]]
Instruments = Annotated[tuple[str, ...], BeforeValidator(as_list)]
POWDER_KEYS = ("instrument", "phases", "banks", "diffraction", "peaks", "calibration")
"""Keys of a measurement that only powder diffraction has."""


def require_powder(instrument: tuple[str, ...], phases: PowderPhases, banks: tuple[BankSection, ...]) -> None:
    """Refuse powder diffraction that lacks what it needs, or whose names are alike.

    Raises
    ------
    ValueError
        Saying what to type.
    """
    if not phases:
        raise ValueError('diffraction needs its phases, such as  phases = { NMC = "NMC.cif" }')
    if not instrument:
        raise ValueError('diffraction needs the file of its instrument, such as  instrument = "bank2.instprm"')
    both = set(phases) & {bank.name for bank in banks}
    if both:
        raise ValueError(f"{', '.join(map(str, both))} is the name of a phase and of a bank; rename one")
