"""What a recipe may say about cells: cycles, single particles, impedance."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt, model_validator

from cathoscope.flow.section import Section, Temperature, as_list, ascending, quantity

_Current = Annotated[float, quantity("current")]
_Voltage = Annotated[float, quantity("voltage")]
_Mass = Annotated[float, quantity("mass"), Field(gt=0)]
_Length = Annotated[float, quantity("length"), Field(ge=0)]
_Area = Annotated[float, quantity("area"), Field(gt=0)]
_Volume = Annotated[float, quantity("volume"), Field(gt=0)]
_Density = Annotated[float, quantity("density"), Field(ge=0)]
_Specific = Annotated[float, quantity("specific charge"), Field(ge=0)]
_Time = Annotated[float, quantity("time"), Field(ge=0)]
_Window = Annotated[tuple[_Voltage, _Voltage], AfterValidator(ascending)]
_Positive = Annotated[float, Field(gt=0)]
_Texts = Annotated[tuple[str, ...], BeforeValidator(as_list)]


_Frequency = Annotated[float, quantity("frequency"), Field(gt=0)]


def _masses(value: Any) -> Any:
    """One mass for all cells as a table with the name ``*``."""
    if isinstance(value, str):
        return {"*": value}
    if isinstance(value, dict):
        return value
    raise ValueError('a mass is a text with its unit, such as "5 mg", or a table by file: { cell_1 = "5 mg" }')


_Masses = Annotated[dict[str, _Mass], BeforeValidator(_masses)]


class CellColumnsSection(Section):
    """Which columns of a table of a cycler hold what, by name or number; see `cathoscope.io.cycler_columns`."""

    time: str | None = None
    voltage: str | None = None
    current: str | None = None
    charge: str | None = None
    charged: str | None = None
    discharged: str | None = None
    energy: str | None = None
    temperature: str | None = None
    cycle: str | None = None
    step: str | None = None
    units: dict[str, str] = Field(default_factory=dict, description="of columns by their name here")
    positive: Literal["charge", "discharge"] = Field(default="charge", description="what a positive current does")


class CyclingSection(Section):
    """Records of cells: what is a cycle, which cycle is the reference, and what cells are held against."""

    electrode: Literal["cathode", "anode"] = "cathode"
    charge_from: Literal["auto", "current", "counter"] = Field(
        default="auto", description="the counter of the instrument where there is one that agrees with the current"
    )
    columns: CellColumnsSection = CellColumnsSection()
    rest_level: _Current | None = Field(default=None, gt=0, description="largest current that counts as rest")
    exchanged: bool | None = Field(default=None, description="charge and discharge; by the voltage if not given")
    formation: int | None = Field(default=None, ge=0, description="first cycles that tell no course")
    reference: PositiveInt | None = Field(default=None, description="cycle whose capacity is 1; the first after them")
    at: tuple[PositiveInt, ...] = Field(default=(), description="cycles at which cells are compared; the last")
    mass: _Masses = Field(default_factory=dict, description="of active material, of all cells or by name of the file")
    mass_std: _Mass | None = None
    one_c: _Specific | None = Field(default=None, description="charge that 1C moves in an hour")
    smoothing: _Voltage = Field(default=0.005, gt=0, description="standard deviation, of dQ/dV")
    curves: tuple[PositiveInt, ...] = Field(default=(), description="cycles whose curves are kept; six if not given")
    level: float = Field(default=0.95, gt=0.5, lt=1, description="of all intervals")
    against: str | None = Field(default=None, description="measurement of the cells of another sample")


class ParticleCellSection(Section):
    """A single particle as a cell: size, what it is made of, how it is cycled; enough for a plan before it is."""

    diameter: _Length | None = Field(default=None, gt=0)
    diameter_std: _Length = 0.0
    volume: _Volume | None = Field(default=None, description="of a segmentation, pores included")
    volume_std: Annotated[float, quantity("volume"), Field(ge=0)] = 0.0
    porosity: float = Field(default=0.0, ge=0, lt=1)
    porosity_std: float = Field(default=0.0, ge=0)
    density: _Density = Field(default=4.7, gt=0, description="of the solid")
    density_std: _Density = 0.05
    composition: str | None = Field(default=None, description="that of the sample if not given")
    specific: _Specific = Field(default=200.0, gt=0, description="charge expected in the window; it is that of 1C")
    specific_std: _Specific = 0.0
    rate: _Positive = 1.0
    window: _Window | None = Field(default=None, description="of the voltage; 2.8 to 4.4 V")
    beam: tuple[tuple[_Time, _Time], ...] = Field(default=(), description="times between which a beam was on")
    offset: Literal["rests"] | _Current | None = Field(
        default=None, description="of the instrument; what rests show, or stated; it is subtracted"
    )

    @model_validator(mode="after")
    def _one_size(self) -> ParticleCellSection:
        if (self.diameter is None) == (self.volume is None):
            raise ValueError('a particle needs its diameter or its volume, such as diameter = "8.5 um"')
        return self


class ArcSection(Section):
    """Which elements of the circuit are the interface."""

    series: str = "R0"
    transfer: str = "R1"
    layer: str = "CPE1"


class ImpedanceSection(Section):
    """Impedance spectra: circuit, weights, what is known of its parameters, and the surface it belongs to."""

    circuit: str = "R0-p(R1,CPE1)"
    compare: _Texts = Field(default=("R0-p(R1-W1,CPE1)",), description="further circuits, fitted to the same points")
    arc: ArcSection = ArcSection()
    weighting: Literal["modulus", "unit"] = "modulus"
    start: dict[str, _Positive] = Field(default_factory=dict)
    fixed: dict[str, _Positive] = Field(default_factory=dict)
    bounds: dict[str, Annotated[tuple[_Positive, _Positive], AfterValidator(ascending)]] = Field(default_factory=dict)
    range: Annotated[tuple[_Frequency, _Frequency], AfterValidator(ascending)] | None = Field(
        default=None, description="frequencies that are used"
    )
    cycles: tuple[float, ...] = Field(default=(), description="of the spectra in order")
    rising: bool = Field(default=False, description="sweeps went from low to high frequencies")
    tolerance: float = Field(default=0.005, ge=0, lt=1, description="deviations from Kramers-Kronig that do not count")
    relaxation: bool = Field(default=True, description="distribution of relaxation times")
    surface: _Area | None = Field(default=None, description="wetted by electrolyte")
    surface_std: Annotated[float, quantity("area"), Field(ge=0)] = 0.0
    surface_of: str | None = Field(default=None, description="measurement that found the wetted surface")
    temperature: Temperature = 25.0

    @model_validator(mode="after")
    def _sensible(self) -> ImpedanceSection:
        if self.surface is not None and self.surface_of is not None:
            raise ValueError("surface states the wetted surface, surface_of says what measured it: leave one out")
        if len(set(self.cycles)) != len(self.cycles):
            raise ValueError("a cycle is given twice; every spectrum is that of another one")
        twice = set(self.fixed) & (set(self.start) | set(self.bounds))
        if twice:
            raise ValueError(f"{', '.join(sorted(twice))} is fixed: leave it out of start and bounds")
        return self


CELL_TECHNIQUES = ("cycling", "particle-cell", "impedance")
_OWNERS = {"cycling": ("cycling", "particle-cell"), "particle_cell": ("particle-cell",), "impedance": ("impedance",)}


def require_own_cell_tables(technique: str, stated: set[str]) -> None:
    """Refuse a table of cells of another technique, and a single particle of which nothing is known.

    Raises
    ------
    ValueError
        Saying what to type.
    """
    for key, owners in _OWNERS.items():
        if key in stated and technique not in owners:
            raise ValueError(f'{key} belongs to technique = "{owners[0]}", not "{technique}"')
    if technique == "particle-cell" and "particle_cell" not in stated:
        raise ValueError('a particle needs its size, such as  particle_cell.diameter = "8.5 um"')


def with_compositions(values: Any) -> Any:
    """A recipe whose single particles have the composition of their samples, where nothing else is stated."""
    if not isinstance(values, dict) or not isinstance(values.get("measurement"), dict):
        return values
    samples = values.get("sample") if isinstance(values.get("sample"), dict) else {}
    filled = {name: _with_composition(one, samples) for name, one in values["measurement"].items()}
    return {**values, "measurement": filled}


def _with_composition(section: Any, samples: Any) -> Any:
    if not isinstance(section, dict) or not isinstance(section.get("particle_cell"), dict):
        return section
    sample = samples.get(str(section.get("sample")))
    stated = sample.get("composition") if isinstance(sample, dict) else None
    if not stated or "composition" in section["particle_cell"]:
        return section
    return {**section, "particle_cell": {**section["particle_cell"], "composition": stated}}
