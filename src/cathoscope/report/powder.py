"""Results of powder diffraction as figures and tables need them: curves against temperature, names, the transition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.report.names import names_along

Floats = NDArray[np.float64]

_ALWAYS = "weight_fraction"  # zero where a phase is not there, which is known
_FAR = 8.0  # times the median uncertainty, beyond which a value is hardly determined
_LABELS = {
    "lattice_a": ("a", "A"),
    "lattice_b": ("b", "A"),
    "lattice_c": ("c", "A"),
    "cell_volume": ("volume", "A3"),
    "weight_fraction": ("weight fraction", "1"),
    "antisite": ("Ni on the Li site", "1"),
    "lithium_occupancy": ("Li on the Li site", "1"),
    "oxygen_occupancy": ("occupancy of O", "1"),
    "domain_size": ("size of domains", "um"),
    "domain_aspect": ("aspect, along / across", "1"),
    "microstrain": ("strain (10⁻⁶)", "1"),
}


def title_of(name: str) -> tuple[str, str]:
    """Words and unit of a quantity of phases."""
    return _LABELS[name]


QUANTITIES = tuple(_LABELS)


def is_powder(data: xr.Dataset) -> bool:
    """Whether these are results of a refinement of powder patterns."""
    return "diffraction_fit" in data and "weight_fraction" in data


def kind_of(data: xr.Dataset) -> str:
    """Rietveld refinement, or one without structures."""
    if "site_position" not in data:
        return "Refinement without structures (intensities from the pattern alone)"
    return "Rietveld refinement" if "extracted_intensity" not in data else "Refinement, in part without a structure,"


def along_temperature(data: xr.Dataset) -> xr.Dataset:
    """The same with a temperature: one that is not known is NaN."""
    if "temperature" in data["weight_fraction"].dims:
        return data
    per = [name for name in data.data_vars if name in _PER_TEMPERATURE or str(name).removesuffix("_std") in _LABELS]
    return data.assign({name: data[name].expand_dims(temperature=[np.nan]) for name in per})


_PER_TEMPERATURE = {
    *(f"diffraction_{part}" for part in ("counts", "counts_std", "fit", "background", "difference", "part")),
    *(f"site_{part}{end}" for part in ("occupancy", "position", "displacement") for end in ("", "_std")),
    *(
        "bank_weight_fraction",
        "bank_weight_fraction_std",
        "weight_fraction_trend",
        "phase_present",
        "reflection_spacing",
    ),
    *("extracted_intensity", "extracted_intensity_std"),
    *("refined_number", "refined_number_std", "misfit_widening", "rwp", "goodness_of_fit", "refinement_flag"),
}


@dataclass(frozen=True)
class Curve:
    """One quantity of one phase against temperature (degC): values and standard uncertainties, [temperature]."""

    quantity: str
    phase: str
    number: int
    temperature: Floats
    values: Floats
    std: Floats

    @property
    def there(self) -> NDArray[np.bool_]:
        """Where there is a value."""
        return np.isfinite(self.values)

    @property
    def determined(self) -> NDArray[np.bool_]:
        """Where the value tells something: its uncertainty is not far above the usual one, nor as large as itself."""
        if self.quantity.startswith(_ALWAYS) or not np.isfinite(self.std).any():
            return self.there
        refined = self.there & np.isfinite(self.std) & (self.std > 0)
        usual = float(np.median(self.std[refined])) if refined.any() else 0.0
        near = np.nan_to_num(self.std, nan=np.inf) <= np.minimum(_FAR * usual, np.abs(self.values))
        return np.asarray(self.there & (near | (self.std == 0)))


def phase_names(data: xr.Dataset) -> list[str]:
    """Names of the phases."""
    return names_along(data["weight_fraction"], "phase")


def bank_names(data: xr.Dataset) -> list[str]:
    """Names of the banks."""
    return names_along(data["rwp"], "bank")


def curve_of(data: xr.Dataset, quantity: str, phase: int) -> Curve | None:
    """A quantity of a phase; None if it has no value. A share of a phase that is not there is none."""
    if quantity not in data or "phase" not in data[quantity].dims:
        return None
    data = along_temperature(data)
    values = np.asarray(data[quantity].values[:, phase], np.float64)
    std = np.full(values.shape, np.nan)
    if f"{quantity}_std" in data:
        std = np.asarray(data[f"{quantity}_std"].values[:, phase], np.float64)
    temperature = np.asarray(data["temperature"].values, np.float64)
    if not np.isfinite(values).any():
        return None
    return Curve(quantity, phase_names(data)[phase], phase, temperature, values, std)


def edges_of(data: xr.Dataset, phase: int) -> list[str]:
    """Edges of the cell of a phase that differ from those before: of a cubic one a, of a hexagonal one a and c."""
    found: list[tuple[str, Floats]] = []
    for name in ("lattice_a", "lattice_b", "lattice_c"):
        curve = curve_of(data, name, phase)
        if curve is not None and not any(np.allclose(curve.values, one, equal_nan=True) for _, one in found):
            found.append((name, curve.values))
    return [name for name, _ in found]


def curves_of(data: xr.Dataset, quantity: str) -> list[Curve]:
    """A quantity of all phases that have a value."""
    found = [curve_of(data, quantity, number) for number in range(data.sizes["phase"])]
    return [one for one in found if one is not None]


@dataclass(frozen=True)
class Place:
    """A temperature (degC) with the ends of its 68 % interval; infinite where the series does not reach it."""

    value: float
    low: float
    high: float

    @property
    def words(self) -> str:
        """``139.0 °C (138.8 to 139.2)``."""
        if not np.isfinite(self.value):
            return "beyond the series"
        digits = _digits(self.high - self.low)
        ends = [f"{one:.{digits}f}" if np.isfinite(one) else "beyond the series" for one in (self.low, self.high)]
        return f"{self.value:.{digits}f} °C ({ends[0]} to {ends[1]})"


def _digits(width: float) -> int:
    """Decimal places that a number with an interval of this width deserves."""
    return int(np.clip(1 - np.floor(np.log10(width)), 0, 3)) if np.isfinite(width) and width > 0 else 1


def transitions(data: xr.Dataset) -> list[tuple[list[str], Place, Place]]:
    """Changes of the phases: names of those that take part, onset, end; phases that change together stand together."""
    if "transition_onset" not in data:
        return []
    found: list[tuple[list[str], Place, Place]] = []
    for number, name in enumerate(phase_names(data)):
        onset, end = (_place(data, which, number) for which in ("onset", "end"))
        if np.isnan(onset.value) and np.isnan(end.value):
            continue
        for names, other, _ in found:
            if np.isclose(other.value, onset.value, rtol=0, atol=1e-6):
                names.append(name)
                break
        else:
            found.append(([name], onset, end))
    return found


def _place(data: xr.Dataset, which: str, number: int) -> Place:
    return Place(*(float(data[f"transition_{which}{part}"].values[number]) for part in ("", "_low", "_high")))


def refined(data: xr.Dataset) -> NDArray[np.int64]:
    """Places of the temperatures that were refined."""
    gof = np.atleast_1d(np.asarray(data["goodness_of_fit"].values, np.float64))
    return np.flatnonzero(np.isfinite(gof))


def telling_places(data: xr.Dataset) -> list[int]:
    """The first and the last temperature, and the one between at which the phases are most mixed."""
    good = refined(data)
    if good.size == 0:
        return []
    share = np.nan_to_num(along_temperature(data)["weight_fraction"].values[good])
    mixed = good[int(np.argmin((share**2).sum(axis=1)))]
    return sorted({int(good[0]), int(mixed), int(good[-1])})


def at_place(data: xr.Dataset, name: str, place: int) -> Floats:
    """Values of an array at one temperature."""
    array = data[name]
    here = array.isel(temperature=place) if "temperature" in array.dims else array
    return np.asarray(here.values, np.float64)


def clearest_bank(data: xr.Dataset) -> int:
    """The bank whose peaks rise highest above the noise."""
    good = refined(data)
    place = int(good[0]) if good.size else 0
    signal = at_place(data, "diffraction_fit", place) - at_place(data, "diffraction_background", place)
    with np.errstate(invalid="ignore", divide="ignore"):
        clear = np.nansum(np.square(signal / at_place(data, "diffraction_counts_std", place)), axis=1)
    return int(np.argmax(np.nan_to_num(clear)))


def evenly(n: int, most: int) -> list[int]:
    """At most ``most`` of ``n`` places, from the first to the last."""
    return [int(one) for one in np.unique(np.linspace(0, n - 1, min(most, n)).round().astype(int))]


def percent_words(names: Sequence[str], values: Floats) -> str:
    """``layered 44.6 %, spinel 55.4 %`` of what is there."""
    there = [(name, value) for name, value in zip(names, values, strict=True) if np.isfinite(value) and value > 0]
    return ", ".join(f"{name} {100 * value:.3g} wt%" if value < 0.9995 else name for name, value in there)
