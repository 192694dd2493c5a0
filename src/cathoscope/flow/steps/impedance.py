"""Impedance spectra along cycles: the gate, circuits compared, relaxation times, the interface."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import CathoscopeError, MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.beside import BESIDE
from cathoscope.flow.cell_sections import ImpedanceSection
from cathoscope.flow.graph import RAW, Context, Step
from cathoscope.flow.raw import RawMeasurement, in_one_line
from cathoscope.flow.sections import MeasurementSection
from cathoscope.lab.circuit_text import parse_circuit
from cathoscope.lab.impedance_fit import CircuitFit, Constraints, fit_circuit
from cathoscope.lab.interface import (
    Arc,
    Interface,
    exchange_current_density_from_resistance,
    interface_of,
    specific_resistance_from_area,
)
from cathoscope.lab.kramers_kronig import KramersKronig, kramers_kronig
from cathoscope.lab.relaxation import Relaxation, relaxation_times
from cathoscope.numerics.estimate import Estimate

Floats = NDArray[np.float64]
Spectra = list[tuple[Floats, NDArray[np.complex128]] | None]

SPECTRA = ("frequency", "impedance_real", "impedance_imaginary")
GATE = (
    *("gate_passed", "gate_noise", "spectrum_drift", "spectrum_drift_std"),
    *("gate_residual_real", "gate_residual_imaginary"),
)
CIRCUIT = (
    *("circuit_value", "circuit_value_std", "circuit_criterion", "circuit_outcome", "circuit_misfit"),
    *("impedance_fit_real", "impedance_fit_imaginary"),
)
_OF_ARC = ("transfer_resistance", "layer_capacitance", "layer_capacitance_brug", "layer_exponent")
INTERFACE = (*(f"{name}{end}" for name in _OF_ARC for end in ("", "_std")), "impedance_used")
RELAXATION = ("relaxation_time", "relaxation_density", "relaxation_density_std")
PROCESSES = ("process_time", "process_resistance", "process_resistance_std", "process_resistance_systematic")
SURFACE = tuple(
    f"{name}{end}"
    for name in ("electrode_area", "specific_resistance", "exchange_current_density")
    for end in ("", "_std", "_systematic")
    if (name, end) != ("electrode_area", "_systematic")
)
OUTCOMES = ("good", "systematic residuals", "not determined", "not at rest", "failed")
_BETTER = 10.0  # of Akaike's criterion, by which another circuit is surely better
_SQUARE_MICROMETRES = 1e8  # in a cm2


def spectra(context: Context) -> xr.Dataset:
    """All spectra by falling frequency, [cycle, point]; shorter ones end in NaN."""
    raw = context.raw
    longest = max(scan.sizes["point"] for scan in raw.scans.values())
    values = np.full((3, raw.coords["cycle"].size, longest), np.nan)
    for (place,), scan in raw.scans.items():
        order = np.argsort(-scan["frequency"].values, kind="stable")
        for row, name in enumerate(SPECTRA):
            values[row, place, : order.size] = scan[name].values[order]
    arrays = [
        label(name, one, ("cycle", "point"), coords=raw.coords) for name, one in zip(SPECTRA, values, strict=True)
    ]
    arrays[0].attrs["names"] = _names(raw)
    return dataset(arrays)


def _names(raw: RawMeasurement) -> list[str]:
    """Files of the spectra, in order."""
    return [str(raw.scans[(place,)].attrs["source"]).rsplit("/", 1)[-1] for place in range(raw.coords["cycle"].size)]


def of_data(data: xr.Dataset) -> Spectra:
    """Frequency and impedance of every spectrum; None where there is none."""
    frequency, real, imaginary = (np.asarray(data[name].values, np.float64) for name in SPECTRA)
    found: Spectra = []
    for row in range(frequency.shape[0]):
        good = np.isfinite(frequency[row])
        found.append((frequency[row][good], (real[row] + 1j * imaginary[row])[good]) if good.any() else None)
    return found


def gate(context: Context) -> xr.Dataset:
    """Whether every spectrum obeys the Kramers-Kronig relations, and what is left of it."""
    section, data = context.section.impedance, context.data
    found: list[KramersKronig | None] = []
    remarks = []
    for cycle, one in zip(data["cycle"].values, of_data(data), strict=True):
        try:
            found.append(None if one is None else _gate_of(section, one))
        except MeasurementError as error:
            remarks.append(f"cycle {cycle:g}: no Kramers-Kronig test: {error.problem} ({error.found})")
            found.append(None)
    shape = data["frequency"].shape
    residual = np.full((2, *shape), np.nan)
    for row, test in enumerate(found):
        if test is not None:
            residual[0, row, : test.residual.size] = test.residual.real
            residual[1, row, : test.residual.size] = test.residual.imag
            remarks += [f"cycle {data['cycle'].values[row]:g}: {reason}" for reason in test.reasons]
    passed = np.array([test is not None and test.passes for test in found])
    numbers = {
        "gate_noise": [np.nan if test is None else test.noise for test in found],
        "spectrum_drift": [np.nan if test is None else test.drift.value for test in found],
        "spectrum_drift_std": [np.nan if test is None else test.drift.std for test in found],
    }
    arrays = [label("gate_passed", passed, ("cycle",), coords=data.coords)]
    arrays[0].attrs |= {"remarks": remarks, "tolerance": section.tolerance}
    arrays += _along(numbers, data)
    arrays += [
        label(name, one, ("cycle", "point"), coords=data.coords) for name, one in zip(GATE[4:], residual, strict=True)
    ]
    return dataset(arrays)


def _gate_of(section: ImpedanceSection, one: tuple[Floats, NDArray[np.complex128]]) -> KramersKronig:
    return kramers_kronig(frequency=one[0], impedance=one[1], rising=section.rising, tolerance=section.tolerance)


def _along(numbers: dict[str, list[float]], data: xr.Dataset) -> list[xr.DataArray]:
    """Numbers of every cycle as arrays."""
    return [
        label(
            name,
            np.array(values, dtype=np.float64),
            ("cycle",),
            coords=data.coords,
            std_source="fit covariance" if name.endswith("_std") else None,
        )
        for name, values in numbers.items()
    ]


def circuits(context: Context) -> xr.Dataset:
    """The circuit fitted to every spectrum, from it and from the fit before, and others beside it."""
    section, data = context.section.impedance, context.data
    texts = list(dict.fromkeys([section.circuit, *section.compare]))
    chosen = of_data(data)
    context.progress.start(f"{context.name}: circuits", len(chosen), "spectra")
    fits: list[list[CircuitFit | None]] = []
    remarks: list[str] = []
    for row, one in enumerate(chosen):
        before = next((each[0] for each in reversed(fits) if each[0] is not None and each[0].outcome == "good"), None)
        tried = [_fitted(section, text, one, before if text == section.circuit else None) for text in texts]
        fits.append([fit if isinstance(fit, CircuitFit) else None for fit in tried])
        told = [f"{text}: {why}" for text, why in zip(texts, tried, strict=True) if isinstance(why, str)]
        told += [] if fits[-1][0] is None else fits[-1][0].remarks
        remarks += [f"cycle {data['cycle'].values[row]:g}: {remark}" for remark in told]
        context.progress.advance()
    context.progress.finish()
    if all(each[0] is None for each in fits):
        raise MeasurementError(
            f"impedance.circuit: {section.circuit} fits none of {len(fits)} spectra",
            where=context.name,
            found="; ".join(remarks[:3]),
        )
    return _circuit_arrays(data, texts, fits, remarks)


def _fitted(
    section: ImpedanceSection,
    text: str,
    one: tuple[Floats, NDArray[np.complex128]] | None,
    before: CircuitFit | None,
) -> CircuitFit | str:
    """A circuit fitted from the data, or from the fit before if that is better; why not if it cannot be."""
    if one is None:
        return "there is no spectrum"
    own = text == section.circuit
    known = Constraints(section.start, section.fixed, section.bounds) if own else Constraints()
    starts = [known]
    if before is not None:
        values = dict(zip(before.circuit.names, before.values.tolist(), strict=True))
        free = {name: value for name, value in values.items() if name not in section.fixed}
        starts.append(Constraints(free, section.fixed, section.bounds))
    found: list[CircuitFit] = []
    reasons: list[str] = []
    for start in starts:
        try:
            found.append(
                fit_circuit(text, frequency=one[0], impedance=one[1], weighting=section.weighting, constraints=start)
            )
        except CathoscopeError as error:
            reasons.append(f"{error.problem} ({error.found})" if error.found else error.problem)
    return min(found, key=lambda fit: fit.sum_of_squares) if found else f"it could not be fitted: {reasons[0]}"


def _circuit_arrays(
    data: xr.Dataset, texts: Sequence[str], fits: Sequence[Sequence[CircuitFit | None]], remarks: Sequence[str]
) -> xr.Dataset:
    parameters = parse_circuit(texts[0]).parameters
    number = label("number", np.arange(1, len(parameters) + 1), ("number",))
    number.attrs |= {"names": [one.name for one in parameters], "units_of": [one.unit for one in parameters]}
    circuit = label("circuit", np.arange(1, len(texts) + 1), ("circuit",))
    circuit.attrs["names"] = list(texts)
    coords = {"cycle": data["cycle"], "number": number, "circuit": circuit}
    values = np.full((2, len(fits), len(parameters)), np.nan)
    curve = np.full((2, *data["frequency"].shape), np.nan)
    told = np.full((3, len(fits), len(texts)), np.nan)
    told[1] = OUTCOMES.index("failed")
    for row, each in enumerate(fits):
        best = min((fit.criterion() for fit in each if fit is not None), default=np.nan)
        for column, fit in enumerate(each):
            if fit is not None:
                told[:, row, column] = (
                    fit.criterion() - best,
                    OUTCOMES.index(fit.outcome),
                    float(np.median(np.abs(fit.residual))),
                )
        if (own := each[0]) is not None:
            values[0, row], values[1, row] = own.values, own.std
            curve[0, row, : own.fitted.size], curve[1, row, : own.fitted.size] = own.fitted.real, own.fitted.imag
    dims = ("cycle", "number")
    arrays = [
        label(CIRCUIT[0], values[0], dims, coords=coords),
        label(CIRCUIT[1], values[1], dims, coords=coords, std_source="fit covariance"),
        label(CIRCUIT[2], told[0], ("cycle", "circuit"), coords=coords),
        label(CIRCUIT[3], told[1].astype(np.int64), ("cycle", "circuit"), coords=coords),
        label(CIRCUIT[4], told[2], ("cycle", "circuit"), coords=coords),
        *(label(name, one, ("cycle", "point"), coords=coords) for name, one in zip(CIRCUIT[5:], curve, strict=True)),
    ]
    arrays[0].attrs["remarks"] = [*remarks, *_better_words(texts, told[0])]
    arrays[3].attrs |= {
        "flag_values": list(range(len(OUTCOMES))),
        "flag_meanings": " ".join(one.replace(" ", "_") for one in OUTCOMES),
    }
    return dataset(arrays)


def _better_words(texts: Sequence[str], criterion: Floats) -> list[str]:
    """That another circuit describes the spectra better, if one does."""
    said = []
    for column, text in enumerate(texts[1:], start=1):
        better = int((criterion[:, 0] - criterion[:, column] > _BETTER).sum())
        if 2 * better > criterion.shape[0]:
            which = "the spectrum" if criterion.shape[0] == 1 else f"{better} of {criterion.shape[0]} spectra"
            said.append(f'{text} describes {which} better than {texts[0]}: impedance.circuit = "{text}"')
    return said


def interface(context: Context) -> xr.Dataset:
    """Charge-transfer resistance and capacitance against cycle; what is not to be used keeps its place."""
    section, data = context.section.impedance, context.data
    arc = Arc(section.arc.series, section.arc.transfer, section.arc.layer)
    values = np.asarray(data["circuit_value"].values)
    outcome = data["circuit_outcome"].values[:, 0]
    passed = data["gate_passed"].values
    found: list[Interface | None] = []
    reasons: list[list[float | str]] = []
    for row, one in enumerate(of_data(data)):
        own = None
        if one is not None and np.isfinite(values[row]).all():
            own = interface_of(_refitted(section, one, values[row]), cycle=float(data["cycle"].values[row]), arc=arc)
        why = [] if passed[row] else ["not by Kramers and Kronig"]
        why += [] if outcome[row] in (0, 1) else [OUTCOMES[int(outcome[row])]]
        if own is None or why:
            reasons.append([float(data["cycle"].values[row]), ", ".join(why) or "no fit"])
        found.append(own)
    nothing = Estimate(float("nan"), float("nan"))
    columns = {
        "transfer_resistance": [nothing if one is None else one.resistance for one in found],
        "layer_capacitance": [nothing if one is None else one.capacitance_hsu_mansfeld for one in found],
        "layer_capacitance_brug": [nothing if one is None else one.capacitance_brug for one in found],
        "layer_exponent": [nothing if one is None else one.alpha for one in found],
    }
    numbers = {name: [one.value for one in each] for name, each in columns.items()}
    numbers |= {f"{name}_std": [one.std for one in each] for name, each in columns.items()}
    arrays = _along(numbers, data)
    left_out = [one[0] for one in reasons]
    used = np.array([float(cycle) not in left_out for cycle in data["cycle"].values])
    arrays.append(label("impedance_used", used, ("cycle",), coords=data.coords))
    arrays[-1].attrs |= {"reasons": reasons, "arc": [arc.series, arc.transfer, arc.layer]}
    return dataset(arrays)


def _refitted(section: ImpedanceSection, one: tuple[Floats, NDArray[np.complex128]], values: Floats) -> CircuitFit:
    """The fit of which only values are kept, with its covariance: it starts where it ended."""
    names = parse_circuit(section.circuit).names
    start = {name: float(value) for name, value in zip(names, values, strict=True) if name not in section.fixed}
    known = Constraints(start, section.fixed, section.bounds)
    return fit_circuit(
        section.circuit, frequency=one[0], impedance=one[1], weighting=section.weighting, constraints=known
    )


def relaxation(context: Context) -> xr.Dataset:
    """Distributions of relaxation times of all spectra on one grid of times."""
    data, remarks = context.data, []
    found: list[Relaxation | None] = []
    for cycle, one in zip(data["cycle"].values, of_data(data), strict=True):
        try:
            weighting = context.section.impedance.weighting
            found.append(
                None if one is None else relaxation_times(frequency=one[0], impedance=one[1], weighting=weighting)
            )
        except MeasurementError as error:
            remarks.append(f"cycle {cycle:g}: no relaxation times: {error.problem}")
            found.append(None)
    known = [one for one in found if one is not None]
    if known:
        low, high = min(one.time_constant[0] for one in known), max(one.time_constant[-1] for one in known)
        times = np.geomspace(low, high, max(one.time_constant.size for one in known))
    else:
        times = np.array([1.0])
    density = np.full((2, len(found), times.size), np.nan)
    for row, result in enumerate(found):
        if result is not None:
            at = np.log(times), np.log(result.time_constant)
            density[0, row] = np.interp(*at, result.density, left=np.nan, right=np.nan)
            density[1, row] = np.interp(*at, result.density_std, left=np.nan, right=np.nan)
    coords = {
        "cycle": data["cycle"],
        "relaxation_bin": label("relaxation_bin", np.arange(times.size), ("relaxation_bin",)),
    }
    dims = ("cycle", "relaxation_bin")
    arrays = [
        label(RELAXATION[0], times, dims[1:], coords=coords),
        label(RELAXATION[1], density[0], dims, coords=coords),
        label(RELAXATION[2], density[1], dims, coords=coords, std_source="fit covariance"),
    ]
    arrays[0].attrs["remarks"] = remarks
    return dataset([*arrays, *_processes(found, data)])


def _processes(found: Sequence[Relaxation | None], data: xr.Dataset) -> list[xr.DataArray]:
    """Peaks of the distributions, by rising time constant."""
    most = max((len(one.peaks) for one in found if one is not None), default=0)
    table = np.full((4, len(found), max(most, 1)), np.nan)
    for row, one in enumerate(found):
        for column, peak in enumerate(() if one is None else one.peaks):
            table[:, row, column] = peak.time_constant, *peak.resistance
    coords = {"cycle": data["cycle"], "process": label("process", np.arange(1, table.shape[2] + 1), ("process",))}
    sources = (None, None, "fit covariance", None)
    return [
        label(name, values, ("cycle", "process"), coords=coords, std_source=source)
        for name, values, source in zip(PROCESSES, table, sources, strict=True)
    ]


def on_surface(context: Context) -> xr.Dataset:
    """Resistance and exchange current related to the surface that electrolyte wets."""
    section, data = context.section.impedance, context.data
    area, source, remarks = _area(context)
    wetted = Estimate(area.value / _SQUARE_MICROMETRES, 0.0, area.total / _SQUARE_MICROMETRES)
    rows = []
    for cycle, resistance, std in zip(
        *(data[name].values for name in ("cycle", "transfer_resistance", "transfer_resistance_std")), strict=True
    ):
        try:
            own = Estimate(float(resistance), float(std))
            both = (
                specific_resistance_from_area(resistance=own, area=wetted),
                exchange_current_density_from_resistance(resistance=own, area=wetted, temperature=section.temperature),
            )
        except MeasurementError as error:
            both = (Estimate(np.nan, np.nan, np.nan), Estimate(np.nan, np.nan, np.nan))
            remarks.append(f"cycle {cycle:g}: not related to the surface: {in_one_line(error)}")
        rows.append([area.value, area.total, *both[0], *both[1]])
    table = np.array(rows, dtype=np.float64).T
    sources = {"electrode_area_std": source}
    arrays = [
        label(
            name,
            values,
            ("cycle",),
            coords={"cycle": data["cycle"]},
            std_source=sources.get(name, "fit covariance") if name.endswith("_std") else None,
        )
        for name, values in zip(SURFACE, table, strict=True)
    ]
    arrays[0].attrs["remarks"] = remarks
    return dataset(arrays)


def _area(context: Context) -> tuple[Estimate, str, list[str]]:
    """Wetted surface, um2, where its uncertainty comes from, and what is to be said of it."""
    section = context.section.impedance
    if section.surface is not None:
        return Estimate(section.surface, 0.0, section.surface_std), "stated", []
    values = np.atleast_1d(np.asarray(context.beside["wetted_surface"].values, np.float64))
    good = np.isfinite(values)
    if not good.any():
        raise MeasurementError(
            f"impedance.surface_of: {section.surface_of} found no wetted surface", where=context.name
        )
    # of several temperatures the first is the state in which cells are cycled
    surface = float(values[good][0])
    if "wetted_surface_std" not in context.beside:
        told = [f"{section.surface_of} does not say how sure its surface is: nor are numbers related to it"]
        return Estimate(surface, 0.0, float("nan")), "stated", told
    std = context.beside["wetted_surface_std"]
    spread = float(np.atleast_1d(np.asarray(std.values, np.float64))[good][0])
    return Estimate(surface, 0.0, spread), str(std.attrs.get("std_source", "stated")), []


def steps(section: MeasurementSection) -> tuple[Step, ...]:
    """The steps of a measurement of impedance."""
    beside = () if section.impedance.surface_of is None else (BESIDE,)
    fitted = ("circuit_value", "circuit_outcome", "gate_passed")
    found = [
        Step("spectra", spectra, needs=(RAW,), makes=SPECTRA, choices=("impedance",)),  # range and cycles
        Step("gate", gate, needs=SPECTRA, makes=GATE, choices=("impedance",)),
        Step("circuits", circuits, needs=SPECTRA, makes=CIRCUIT, choices=("impedance",)),
        Step("interface", interface, needs=(*SPECTRA, *fitted), makes=INTERFACE, choices=("impedance",)),
        Step("relaxation times", relaxation, needs=SPECTRA, makes=(*RELAXATION, *PROCESSES), choices=("impedance",)),
        Step(
            "surface",
            on_surface,
            needs=("transfer_resistance", "transfer_resistance_std", *beside),
            makes=SURFACE,
            choices=("impedance",),
        ),
    ]
    return tuple(found)


TARGETS = ("frequency", "gate_passed", "circuit_value", "transfer_resistance")


def asked_for(section: MeasurementSection) -> tuple[str, ...]:
    """Relaxation times, and what is related to the surface."""
    chosen = section.impedance
    surface = chosen.surface is not None or chosen.surface_of is not None
    return (*(("relaxation_density",) if chosen.relaxation else ()), *(("specific_resistance",) if surface else ()))
