"""What a refined series of patterns says, as named arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.schema import label, spec_of
from cathoscope.core.study import NewArray, Work
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps.diffraction_plan import Powder
from cathoscope.powder.crystallite import Crystallite
from cathoscope.powder.curves import apparent_spacings, curves_of, reflections_in
from cathoscope.powder.extracted import Extracted, extracted_of
from cathoscope.powder.member import Member
from cathoscope.powder.model import Model, Pattern, model_of
from cathoscope.powder.quantities import Found, bank_fractions, phase_quantities, refined_numbers, weight_fractions
from cathoscope.powder.refine import Fit

Values = dict[str, NDArray[Any]]

OUTCOMES = ("converged", "bound", "stalled", "singular", "diverged", "failed")
"""How a refinement ended, by its flag."""

_CELL = ("lattice_a", "lattice_b", "lattice_c", "lattice_angle", "cell_volume")
_SITES = ("site_occupancy", "site_position", "site_displacement", "site_tensor")
_SHARES = ("antisite", "oxygen_occupancy", "lithium_occupancy")
_CURVES = ("diffraction_fit", "diffraction_background", "diffraction_difference", "diffraction_part")
_WIDENED = "counting, widened by the goodness of fit or by local misfit, whichever is more"
_UNITS = {"a": "A", "b": "A", "c": "A", "alpha": "deg", "beta": "deg", "gamma": "deg"}
_UNITS |= {"size": "um", "size_axial": "um", "strain": "1e-6", "strain_axial": "1e-6"}


def makes_of(section: MeasurementSection) -> tuple[str, ...]:
    """Arrays of a refinement, by what the recipe asks for."""
    phases = section.phases.values()
    numbers = [*_CELL, "weight_fraction", "bank_weight_fraction", "refined_number"]
    structures = [phase.intensities == "structure" for phase in phases]
    numbers += _SITES if any(structures) else ()
    numbers += () if all(structures) else ["extracted_intensity"]
    names = [one for phase in phases for one in phase.free]
    names += [one for stage in (*section.diffraction.stages, section.diffraction.free) for one in stage]
    if any(phase.exchange for phase in phases) or any("occupancy" in name for name in names):
        numbers += _SHARES
    numbers += ["domain_size"] if any(phase.size != "none" for phase in phases) else []
    numbers += ["domain_aspect"] if any(phase.size == "uniaxial" for phase in phases) else []
    numbers += ["microstrain"] if any(phase.strain in ("isotropic", "uniaxial") for phase in phases) else []
    plain = (
        "phase_present",
        "misfit_widening",
        "rwp",
        "goodness_of_fit",
        "refinement_flag",
        "reflection_spacing",
        "miller_index",
    )
    return (*(name + end for name in numbers for end in ("", "_std")), *plain, *_CURVES)


@dataclass(frozen=True)
class Shape:
    """What all temperatures share: coordinates, number of points, names of numbers, reflections by bank and phase."""

    temperature: xr.DataArray | None
    bank: xr.DataArray
    points: int
    names: tuple[str, ...]
    hkl: Mapping[tuple[int, int], NDArray[np.int64]]
    powder: Powder

    @property
    def sizes(self) -> dict[str, int]:
        """Length of every dim."""
        sites = max(1, *(len(phase.phase.sites) for phase in self.powder.phases))
        fixed = {"bank": len(self.powder.banks), "point": self.points, "phase": len(self.powder.phases)}
        many = {"reflection": max((len(one) for one in self.hkl.values()), default=0), "number": len(self.names)}
        first = {} if self.temperature is None else {"temperature": self.temperature.size}
        return first | fixed | many | {"site": sites, "edge": 3, "tensor": 6}

    def coords(self) -> dict[str, xr.DataArray]:
        """Coordinates with the names of what they number."""
        sizes = self.sizes
        out = {dim: label(dim, np.arange(1, sizes[dim] + 1), (dim,)) for dim in ("phase", "site", "number")}
        out |= {dim: label(dim, np.arange(sizes[dim]), (dim,)) for dim in ("edge", "tensor")}
        if self.temperature is not None:
            out["temperature"] = self.temperature
        phases = [phase.phase for phase in self.powder.phases]
        out["bank"] = self.bank
        out["phase"].attrs |= {
            "names": [phase.name for phase in phases],
            "space_groups": [phase.space_group for phase in phases],
        }
        out["site"].attrs |= {
            "labels": [[site.label for site in phase.sites] for phase in phases],
            "species": [[site.species for site in phase.sites] for phase in phases],
        }
        out["number"].attrs |= {"names": list(self.names), "units_of": [_unit_of(name) for name in self.names]}
        return out


def shape_of(
    powder: Powder, patterns: Iterable[Sequence[Pattern]], data: xr.Dataset, members: Sequence[Member]
) -> Shape:
    """What the arrays of a series need: reflections in the widest range of each bank, all numbers that were refined."""
    names = dict.fromkeys(name for one in members if one.fit is not None for name in one.fit.search.free)
    widest: dict[str, Pattern] = {}
    for one in (one for each in patterns for one in each):
        if one.name not in widest or _extent(one) > _extent(widest[one.name]):
            widest[one.name] = one
    hkl = {
        (row, number): reflections_in(phase, widest[bank.name]).hkl
        for row, bank in enumerate(powder.banks)
        for number, phase in enumerate(powder.phases)
        if bank.name in widest
    }
    temperature = data["temperature"] if "temperature" in data["diffraction_counts"].dims else None
    return Shape(temperature, data["bank"], data.sizes["point"], tuple(names), hkl, powder)


def _extent(pattern: Pattern) -> float:
    return float(np.ptp(pattern.x[pattern.used][[0, -1]]))


def prepare_arrays(work: Work, makes: Sequence[str], shape: Shape, attrs: Mapping[str, Mapping[str, Any]]) -> None:
    """Room for all arrays of the refinement."""
    sizes, new = shape.sizes, []
    for name in makes:
        spec = spec_of(name)
        dims = tuple(dim for dim in spec.dims if dim in sizes)
        kinds = {"b": "bool", "i": "int16"}
        dtype = kinds.get(spec.kind, "float32" if name in _CURVES else "float64")
        own: dict[str, Any] = dict(attrs.get(name, {}))
        own |= {"std_source": "fit covariance", "std_widened": _WIDENED} if name.endswith("_std") else {}
        own |= {"ancillary_variables": f"{name}_std"} if f"{name}_std" in makes else {}
        if name == "refinement_flag":
            own |= {"flag_values": list(range(len(OUTCOMES))), "flag_meanings": " ".join(OUTCOMES)}
        new.append(NewArray(name, dims, tuple(sizes[dim] for dim in dims), dtype, own))
    work.prepare(new, shape.coords())


def store_shared(work: Work, makes: Sequence[str], shape: Shape) -> None:
    """What is the same at all temperatures: indices of the reflections."""
    if "miller_index" not in makes:
        return
    sizes = shape.sizes
    index = np.zeros((sizes["bank"], sizes["phase"], sizes["reflection"], 3), dtype=np.int16)
    for (row, number), hkl in shape.hkl.items():
        index[row, number, : len(hkl)] = hkl
    work.store("miller_index", (), index)


def values_of(makes: Sequence[str], shape: Shape, member: Member, patterns: Sequence[Pattern]) -> Values:
    """All arrays of one temperature; NaN where there is nothing."""
    values = _empty(makes, shape)
    values["refinement_flag"] = np.asarray(len(OUTCOMES) - 1)
    if member.fit is not None:
        phases = [phase for phase in shape.powder.phases if phase.phase.name in member.present]
        model = model_of(patterns, phases)
        values["refinement_flag"] = np.asarray(OUTCOMES.index(member.fit.outcome))
        values["goodness_of_fit"] = np.asarray(member.fit.gof)
        _fill_numbers(values, shape, member.fit)
        _fill_phases(values, shape, model, member)
        _fill_banks(values, shape, model, member)
    return values


def _empty(makes: Sequence[str], shape: Shape) -> Values:
    """Arrays of one temperature with nothing in them."""
    sizes = shape.sizes
    out: Values = {}
    for name in (one for one in makes if one != "miller_index"):
        spec = spec_of(name)
        own = tuple(sizes[dim] for dim in spec.dims if dim in sizes and dim != "temperature")
        dtype = {"i": np.int16, "b": np.bool_, "f": np.float64}[spec.kind]
        out[name] = np.full(own, np.nan if spec.kind == "f" else 0, dtype=dtype)
    return out


def _put(values: Values, name: str, place: tuple[Any, ...], found: Found) -> None:
    """A quantity and its uncertainty into the arrays, if they are made."""
    if name in values:
        values[name][place], values[f"{name}_std"][place] = found.value, found.std


def _fill_numbers(values: Values, shape: Shape, fit: Fit) -> None:
    whole = fit.values()
    for name, (value, std) in refined_numbers(fit).items():
        _put(values, "refined_number", (shape.names.index(name),), Found(np.asarray(value), np.asarray(std)))
        values["misfit_widening"][shape.names.index(name)] = np.sqrt(fit.widening(whole[name]))


def _fill_phases(values: Values, shape: Shape, model: Model, member: Member) -> None:
    """Shares of all phases, and cells, sites and domains of those of which more than the amount was refined."""
    if member.fit is None:
        return
    shares, values["weight_fraction"][:] = weight_fractions(model, member.fit), 0.0
    names = [phase.phase.name for phase in model.phases]
    for number, phase in enumerate(shape.powder.phases):
        name = phase.phase.name
        if name not in names:
            continue
        values["phase_present"][number] = True
        at = names.index(name)
        _put(values, "weight_fraction", (number,), Found(shares.value[at], shares.std[at]))
        if name not in member.weak and any(one.startswith(f"{name}.") for one in member.fit.search.free):
            for quantity, found in phase_quantities(member.fit, phase).items():
                sited = (number, slice(len(phase.phase.sites))) if quantity in _SITES else (number,)
                _put(values, quantity, sited, found)


def _fill_banks(values: Values, shape: Shape, model: Model, member: Member) -> None:
    """Curves, residuals and shares of every bank, and where reflections lie in it."""
    if member.fit is None:
        return
    numbers, fractions = member.fit.numbers(), bank_fractions(model, member.fit)
    order = [phase.phase.name for phase in shape.powder.phases]
    for row, bank in enumerate(shape.powder.banks):
        here = [place for place, pattern in enumerate(model.patterns) if pattern.name == bank.name]
        if not here:
            continue
        place, pattern = here[0], model.patterns[here[0]]
        values["rwp"][row] = member.rwp[place]
        curves, points = curves_of(model, place, numbers), pattern.x.size
        values["diffraction_fit"][row, :points] = curves.fit
        values["diffraction_background"][row, :points] = curves.background
        values["diffraction_difference"][row, :points] = curves.difference
        for at, phase in enumerate(model.phases):
            number = order.index(phase.phase.name)
            values["diffraction_part"][row, number, :points] = curves.parts[phase.phase.name]
            _put(
                values,
                "bank_weight_fraction",
                (row, number),
                Found(fractions.value[place, at], fractions.std[place, at]),
            )
            _fill_reflections(values, (row, number), phase, pattern, shape, numbers)
            if phase.choices.intensities != "structure":
                _fill_extracted(values, (row, number), extracted_of(model, member.fit, phase.phase.name, place), shape)


def _fill_reflections(
    values: Values,
    place: tuple[int, int],
    phase: Crystallite,
    pattern: Pattern,
    shape: Shape,
    numbers: Mapping[str, float],
) -> None:
    hkl = shape.hkl[place]
    if len(hkl):
        values["reflection_spacing"][(*place, slice(len(hkl)))] = apparent_spacings(phase, pattern, hkl, numbers)


def _fill_extracted(values: Values, place: tuple[int, int], found: Extracted, shape: Shape) -> None:
    """Intensities of reflections where there is no structure, each at the place of its indices."""
    columns = {tuple(one): number for number, one in enumerate(shape.hkl[place].tolist())}
    for one, value, std in zip(found.hkl.tolist(), found.squared, found.std, strict=True):
        column = columns.get(tuple(one))
        if column is not None:
            _put(values, "extracted_intensity", (*place, column), Found(value, std))


def _unit_of(name: str) -> str:
    """Unit of a refined number."""
    last = name.rsplit(".", 1)[-1]
    if last in _UNITS:
        return _UNITS[last]
    if last == "u" or (last[0] == "U" and last[1:].isdigit()):
        return "A2"
    return "1"
