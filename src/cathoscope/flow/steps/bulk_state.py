"""Bulk spectra: valence from edges, means of groups, linear combinations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import REFERENCES, Context, Step
from cathoscope.flow.sections import MeasurementSection
from cathoscope.flow.steps.bulk import EDGES, counted, names_of
from cathoscope.io import open_raw
from cathoscope.xanes.combination import CombinationFit, CombinationOptions, fit_combination
from cathoscope.xanes.groups import GroupMeans, means_of_groups
from cathoscope.xanes.state import ValenceLine, valence_from_edge, valence_line_from_standards

Floats = NDArray[np.float64]
_EDGE_OF_CHOICE = {"half height": "half_height_edge", "derivative": "derivative_edge", "integral": "integral_edge"}


def valence(context: Context) -> xr.Dataset:
    """Valence of every spectrum from the line through the standards that the recipe names.

    The line is made with each definition of the edge, and what speaks against it is remarked; the recipe's is used.
    """
    data, section = context.data, context.section.xas
    names = names_of(data)
    unknown = [name for name in section.valence if name not in names]
    if unknown:
        raise MeasurementError(
            f"no spectrum is called {unknown[0]!r}",
            where=context.name,
            expected=" or ".join(names),
            found=unknown[0],
            cure="correct the name in  xas.valence",
        )
    standards = [names.index(name) for name in section.valence]
    chosen = _EDGE_OF_CHOICE[section.edge]
    remarks = []
    for name in EDGES:
        line = _line(data, name, standards, list(section.valence.values()))
        words = f"{name.replace('_', ' ')}{'' if name == chosen else ' (not used)'}"
        remarks += [f"{words}: {remark}" for remark in line.remarks]
        remarks += [] if name == chosen else [f"{words}: {line.slope:.2f} eV per valence"]
    line = _line(data, chosen, standards, list(section.valence.values()))
    found = valence_from_edge(edge_energy=data[chosen].values, edge_std=edge_std_of(data, chosen), line=line)
    coords = {"spectrum": data["spectrum"]}
    values = label("valence", found.valence, ("spectrum",), coords=coords)
    values.attrs |= {
        "remarks": remarks,
        "edge": chosen,
        "intercept": line.intercept,
        "slope": line.slope,
        "slope_std": float(np.sqrt(line.covariance[1, 1])),
        "covariance": line.covariance.tolist(),
        "scatter": line.scatter,
        "standards": [index + 1 for index in standards],
        "standard_valences": list(section.valence.values()),
        "lower": found.lower.tolist(),
        "upper": found.upper.tolist(),
        "extrapolated": found.extrapolated.tolist(),
        "left_out_error": line.left_out.valence_error.tolist(),
    }
    std = label("valence_std", found.valence_std, ("spectrum",), coords=coords, std_source="fit covariance")
    return dataset([values, std])


def edge_std_of(data: xr.Dataset, name: str) -> Floats:
    """Uncertainty of the edge, with that of the calibration where there is one."""
    shift = np.nan_to_num(data["energy_shift_std"].values)
    return np.asarray(np.hypot(data[f"{name}_std"].values, shift))


def _line(data: xr.Dataset, name: str, standards: Sequence[int], valences: Sequence[float]) -> ValenceLine:
    index = list(standards)
    return valence_line_from_standards(
        edge_energy=data[name].values[index], edge_std=edge_std_of(data, name)[index], valence=valences
    )


def groups(context: Context) -> xr.Dataset:
    """Mean edge of the spectra that share labels, and its rise against a reference group."""
    data, section = context.data, context.section.xas
    name = _EDGE_OF_CHOICE[section.edge]
    keys = _keys_of_groups(context, data)
    found = means_of_groups(values=data[name].values, std=edge_std_of(data, name), keys=keys)
    group = label("group", np.arange(1, len(found.keys) + 1), ("group",))
    group.attrs |= {
        "names": [" ".join(key) for key in found.keys],
        "labels": {title: [key[i] for key in found.keys] for i, title in enumerate(section.group_by)},
        "count": found.count.tolist(),
        "scatter": found.scatter,
    }
    coords = {"group": group}
    rise, rise_std = _rises(context, found)
    values = {"group_edge": (found.mean, found.mean_std), "group_edge_rise": (rise, rise_std)}
    arrays = []
    for key, (value, std) in values.items():
        arrays.append(label(key, value, ("group",), coords=coords))
        arrays.append(label(f"{key}_std", std, ("group",), coords=coords, std_source="scatter"))
    arrays[0].attrs["edge"] = name
    arrays[2].attrs["against"] = dict(section.against)
    return dataset(arrays)


def _keys_of_groups(context: Context, data: xr.Dataset) -> list[tuple[str, ...]]:
    labels = data["spectrum"].attrs.get("labels", {})
    unknown = [key for key in context.section.xas.group_by if key not in labels]
    if unknown:
        raise MeasurementError(
            f"no spectrum has a label {unknown[0]!r}",
            where=context.name,
            expected=" or ".join(labels) or "spectra with labels",
            found=unknown[0],
            cure="correct xas.group_by, or name the labels in columns.labels",
        )
    columns = [[str(value) for value in labels[key]] for key in context.section.xas.group_by]
    return list(zip(*columns, strict=True))


def _rises(context: Context, found: GroupMeans[tuple[str, ...]]) -> tuple[Floats, Floats]:
    """Edge of each group minus that of the group with the reference's labels; NaN where there is no such group."""
    section = context.section.xas
    pairs = []
    for key in found.keys:
        named = dict(zip(section.group_by, key, strict=True)) | section.against
        reference = tuple(named[title] for title in section.group_by)
        known = section.against and reference in found.keys
        pairs.append(found.difference(key, reference) if known else (np.nan, np.nan))
    if section.against and not np.isfinite([rise for rise, _ in pairs]).any():
        raise MeasurementError(
            "no group has the labels of the reference",
            where=context.name,
            expected="labels such as " + "; ".join(" ".join(key) for key in found.keys[:6]),
            found=", ".join(f"{key} = {value}" for key, value in section.against.items()),
            cure="correct xas.against",
        )
    values = np.array(pairs, dtype=np.float64)
    return values[:, 0], values[:, 1]


def combination(context: Context) -> xr.Dataset:
    """Every spectrum as a combination of spectra of the library."""
    data, section = context.data, context.section.combination
    energy, library = _library(context)
    options = CombinationOptions(
        non_negative=section.non_negative,
        sum_to_one=section.sum_to_one,
        max_energy_shift=section.max_energy_shift,
        window=section.window,
    )
    fitted = "normalised_absorption" if section.of == "normalised" else "absorption"
    axes = data["scan_energy"].values
    fits = [
        fit_combination(
            spectrum=curve[np.isfinite(axis)],
            energy=axis[np.isfinite(axis)],
            references=library,
            reference_energy=energy,
            names=section.components,
            options=options,
        )
        for axis, curve in zip(axes, data[fitted].values, strict=True)
    ]
    component = label("component", np.arange(1, len(library) + 1), ("component",))
    component.attrs["names"] = list(section.components)
    return _combinations(fits, axes, fitted, {"spectrum": data["spectrum"], "component": component})


def _combinations(
    fits: Sequence[CombinationFit], axes: Floats, fitted: str, coords: dict[str, xr.DataArray]
) -> xr.Dataset:
    dims = ("spectrum", "component")
    weight, std = (np.stack([getattr(fit, name) for fit in fits]) for name in ("weight", "weight_std"))
    r_factor = label("r_factor", np.array([fit.r_factor for fit in fits]), ("spectrum",), coords=coords)
    names = [str(name) for name in coords["spectrum"].attrs["names"]]
    r_factor.attrs["remarks"] = counted([fit.remarks for fit in fits], names)
    curves = np.full((len(fits), weight.shape[1], axes.shape[1]), np.nan)
    for curve, fit, axis in zip(curves, fits, axes, strict=True):
        curve[:, np.isfinite(axis)] = fit.components
    total = label("combination_fit", curves.sum(axis=1), ("spectrum", "point"), coords=coords)
    total.attrs["of"] = fitted
    return dataset(
        [
            label("component_fraction", weight, dims, coords=coords),
            label("component_fraction_std", std, dims, coords=coords, std_source="fit covariance"),
            r_factor,
            total,
            label("component_curve", curves, ("spectrum", "component", "point"), coords=coords),
        ]
    )


def _library(context: Context) -> tuple[Floats, Floats]:
    """Energies [point] and spectra [component, point] of the components."""
    section = context.section.combination
    library = open_raw(context.data_folder / str(section.library))
    if "scan_energy" not in library.variables:
        raise MeasurementError("the library holds no spectra", where=str(section.library))
    names = names_of(library)
    missing = [name for name in section.components if name not in names]
    if missing:
        raise MeasurementError(
            f"the library has no spectrum {missing[0]!r}",
            where=str(section.library),
            expected=" or ".join(names),
            found=missing[0],
        )
    rows = [names.index(name) for name in section.components]
    axes, curves = library["scan_energy"].values[rows], library["absorption"].values[rows]
    axis = axes[0][np.isfinite(axes[0])]
    spectra = [
        np.interp(axis, one[np.isfinite(one)], curve[np.isfinite(one)]) for one, curve in zip(axes, curves, strict=True)
    ]
    return axis, np.stack(spectra)


STEPS = (
    Step(
        "valence",
        valence,
        needs=("energy_shift_std", *(f"{name}{end}" for name in EDGES for end in ("", "_std"))),
        makes=("valence", "valence_std"),
        choices=("xas",),
    ),
    Step(
        "groups",
        groups,
        needs=("energy_shift_std", *(f"{name}{end}" for name in EDGES for end in ("", "_std"))),
        makes=("group_edge", "group_edge_std", "group_edge_rise", "group_edge_rise_std"),
        choices=("xas",),
    ),
    Step(
        "combination",
        combination,
        needs=("scan_energy", "absorption", "normalised_absorption", REFERENCES),
        makes=("component_fraction", "component_fraction_std", "r_factor", "combination_fit", "component_curve"),
        choices=("combination",),
    ),
)


def asked_for(section: MeasurementSection) -> tuple[str, ...]:
    """Valence, if the recipe names standards; groups, if it names labels; a combination, if it names components."""
    wanted = {
        "valence": section.xas.valence,
        "group_edge": section.xas.group_by,
        "r_factor": section.combination.components,
    }
    return tuple(name for name, choice in wanted.items() if choice)
