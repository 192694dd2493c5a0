"""What a recipe may say about heating in the lab and about solutions: balance, calorimeter, spectra, contents."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from cathoscope.flow.section import Section, Temperature, as_list, ascending, named, quantity

_Time = Annotated[float, quantity("time")]
_Mass = Annotated[float, quantity("mass"), Field(gt=0)]
_Wavelength = Annotated[float, quantity("length"), Field(gt=0)]
_Temperatures = Annotated[tuple[Temperature, Temperature], AfterValidator(ascending)]
_Wavelengths = Annotated[tuple[_Wavelength, _Wavelength], AfterValidator(ascending)]
_Kelvins = Annotated[float, quantity("temperature difference"), Field(gt=0)]
_Rate = Annotated[float, quantity("heating rate"), Field(gt=0)]
_Rates = Annotated[tuple[_Rate, ...], BeforeValidator(as_list)]
_Names = Annotated[tuple[str, ...], BeforeValidator(as_list)]


class MassLossSection(Section):
    """Records of a balance: what is taken off, what a step is, and what the mass is turned into."""

    blank: str | None = Field(default=None, description="record of the empty crucible with the same programme")
    gas: str | None = Field(default=None, description="record of a mass spectrometer in the gas")
    gas_delay: _Time | None = Field(default=None, ge=0, description="of the gas behind the balance")
    programme: Literal["ramp", "hold"] = "ramp"
    whole_loss: float | None = Field(default=None, gt=0, le=100, description="per cent, of a complete reaction")
    range: _Temperatures | None = None
    formula: str | None = Field(default=None, description="of what is heated; that of the sample if not given")
    dry: Temperature | None = Field(default=None, description="where the mass is that of the dry oxide")
    baseline: _Temperatures | None = None
    rapid_above: Temperature | None = None
    smoothing: _Kelvins = Field(default=6.0, description="half-width of the windows")
    quiet: _Kelvins = Field(default=25.0, description="length of the stretch before a step")
    smallest_step: float = Field(default=0.3, gt=0, description="per cent of the mass")
    rates: _Rates = Field(default=(), description="of the files in order, if they have no times")


class CalorimetrySection(Section):
    """Records of a calorimeter: heat effects, each between two temperatures at which there is none."""

    effects: dict[Annotated[str, AfterValidator(named)], _Temperatures] = Field(default_factory=dict)
    baseline: Literal["linear", "sigmoid"] = "linear"
    mass: _Mass | None = Field(default=None, description="of the sample; as the files say if not given")
    blank: str | None = Field(default=None, description="record of empty crucibles with the same programme")
    inverted: bool = Field(default=False, description="files call up what they draw down")
    rates: _Rates = Field(default=(), description="of the files in order, if they have no times")


class UvVisSection(Section):
    """Absorption spectra of solutions: blank, band, and where nothing absorbs."""

    blank: str | None = Field(default=None, description="spectrum of the solvent")
    blank_spectrum: str | None = Field(default=None, description="its name, where a file holds several")
    spectra: _Names = Field(default=(), description="names of those to be used; all if none are given")
    band: _Wavelengths | None = None
    baseline: _Wavelengths | None = None


class ElementsSection(Section):
    """Elemental analysis: which of the analysed solutions belong to this sample, and what they are."""

    specimens: _Names = Field(default=(), description="names of those to be used; all if none are given")
    before: str | None = Field(default=None, description="the material from which lithium was removed")
    after: str | None = Field(default=None, description="the same without it")
    dissolved: _Names = Field(default=(), description="solutions of what has been dissolved of the sample")
    relative_to: str = "Mn"


LAB_KEYS = {"mass_loss": "mass-loss", "calorimetry": "calorimetry", "uv_vis": "uv-vis", "elements": "elements"}
"""Keys of a measurement that only one technique has, and that technique."""


def require_own_tables(technique: str, stated: set[str]) -> None:
    """Refuse a table of another technique.

    Raises
    ------
    ValueError
        Naming it.
    """
    for key, owner in LAB_KEYS.items():
        if key in stated and technique != owner:
            raise ValueError(f'{key} belongs to technique = "{owner}", not "{technique}"')
