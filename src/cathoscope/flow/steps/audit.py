"""How far every way to find a white line can be trusted on these energies, this noise and these shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import Context, Step
from cathoscope.flow.steps.estimators import AROUND_LINE, WINDOW_ABOVE_EDGE, bins_of
from cathoscope.flow.steps.mask import edge_energy
from cathoscope.flow.steps.voxels import SPECTRA, Voxels
from cathoscope.xanes.audit import AuditOptions, AuditResult, audit
from cathoscope.xanes.line_calibration import calibrate
from cathoscope.xanes.line_combination import calibrated_fit, with_joint_errors
from cathoscope.xanes.line_methods import METHODS, estimate
from cathoscope.xanes.line_steps import compress, fit_compressed
from cathoscope.xanes.line_tables import LineGrid, basis_with_data, plan_fit
from cathoscope.xanes.whiteline import WhiteLineFit, fit_white_line

Floats = NDArray[np.float64]
Method = Callable[[NDArray[np.float32]], WhiteLineFit]

_GROUPS = 10
_FEWEST_BINS = 30
_LARGEST_BASIS = 20
_NUMBERS: Mapping[str, Callable[[AuditResult], float]] = {
    "audit_bias": lambda result: result.bias,
    "audit_slope": lambda result: result.slope,
    "audit_rmse": lambda result: result.rmse,
    "audit_bound": lambda result: result.bound,
    "audit_pull_mean": lambda result: result.pull_mean,
    "audit_pull_width": lambda result: result.pull_width,
    "audit_failed": lambda result: result.failed_share,
}


@dataclass(frozen=True)
class Samples:
    """Spectra of bins of all temperatures [bin, energy], at the energies that all have, and the noise of one voxel."""

    energy: Floats
    spectra: Floats
    noise: Floats
    noise_of_bins: float


def audit_methods(context: Context) -> xr.Dataset:
    """Bias, slope, error and pull of every method on simulated spectra like those of this measurement."""
    voxels = Voxels(context)
    samples = _samples(voxels)
    names: list[str] = []
    found: list[AuditResult] = []
    if samples is not None:
        try:
            methods, shapes = _methods(voxels, samples), _shapes(samples)
        except MeasurementError as error:  # too few energies to simulate anything with
            return _dataset(context, [], [], [f"the methods are not audited: {error.problem}"])
        context.progress.start(f"{context.name}: audit", len(methods), "methods")
        for name, method in methods.items():
            at_maximum = name not in METHODS or METHODS[name].measures == "maximum"
            options = AuditOptions(measures_maximum=at_maximum)
            found.append(
                audit(
                    name=name,
                    method=method,
                    energy=samples.energy,
                    noise_std=samples.noise,
                    shapes=shapes,
                    options=options,
                )
            )
            names.append(name)
            context.progress.advance()
        context.progress.finish()
    return _dataset(context, names, found, [])


def _samples(voxels: Voxels) -> Samples | None:
    spectra, noises, of_bins, there = [], [], [], np.ones(voxels.energy.size, dtype=bool)
    for condition in voxels.conditions:
        std = voxels.noise(condition)
        vectors = np.nan_to_num(np.asarray(voxels.context.data["spectral_vector"][condition].values, dtype=np.float64))
        keep = (vectors != 0).any(axis=1)
        if std is None or not keep.any():
            continue
        bins = bins_of(voxels, condition, keep)
        if len(bins.z):
            there &= (vectors[keep] != 0).any(axis=0)
            spectra.append(bins.z @ (vectors[keep] * np.nan_to_num(std)))
            noises.append(std * np.sqrt(bins.voxel_noise))
            of_bins.append(bins.noise)
    if sum(map(len, spectra)) < _FEWEST_BINS:
        return None
    noise = np.sqrt(np.mean(np.square(noises), axis=0))[there]
    return Samples(voxels.energy[there], np.concatenate(spectra)[:, there], noise, float(np.mean(of_bins)))


def _shapes(samples: Samples) -> Floats:
    """Mean spectra of bins sorted by their white line, nearly free of noise, [shape, energy]."""
    plan = plan_fit(energy=samples.energy, noise_std=samples.noise)
    fit = fit_compressed(plan, compress(plan, samples.spectra), noise_scale=samples.noise_of_bins)
    order = np.argsort(np.where(fit.good, fit.white_line_energy, np.inf), kind="stable")[: int(fit.good.sum())]
    return np.stack([samples.spectra[group].mean(axis=0) for group in np.array_split(order, _GROUPS)])


def _methods(voxels: Voxels, samples: Samples) -> dict[str, Method]:
    """Every method by its name, the one that the recipe asks for among them."""
    section = voxels.context.section.white_line
    edge = edge_energy(voxels.context, samples.energy)
    narrow = section.window or (edge + AROUND_LINE[0], edge + AROUND_LINE[1])
    wide = section.window or (edge, edge + WINDOW_ABOVE_EDGE)
    energy, noise = samples.energy, samples.noise

    def simple(name: str) -> Method:
        """One of the simple methods in its narrow window."""
        return lambda spectra: estimate(
            name, spectra=spectra, energy=energy, noise_std=noise, window=narrow, order=section.order
        )

    methods: dict[str, Method] = {
        "compressed model": _compressed(voxels, samples, edge),
        "model": lambda spectra: fit_white_line(spectra=spectra, energy=energy, noise_std=noise, window=wide),
    }
    return methods | {name: simple(name) for name in METHODS}


def _compressed(voxels: Voxels, samples: Samples, edge: float) -> Method:
    grid = LineGrid(edge_energy=edge, edge_width=voxels.context.section.white_line.edge_width)
    basis = basis_with_data(
        energy=samples.energy,
        noise_std=samples.noise,
        spectra=samples.spectra,
        n_components=min(_LARGEST_BASIS, samples.energy.size),
        grid=grid,
    )
    plan = plan_fit(energy=samples.energy, noise_std=samples.noise, basis=basis, grid=grid)
    calibration = None
    if voxels.context.section.white_line.self_calibration:
        bins = compress(plan, samples.spectra)
        calibration = calibrate(plan, bins, noise_scale=samples.noise_of_bins)
        calibration = with_joint_errors(plan, calibration, bins)

    def fit(spectra: NDArray[np.float32]) -> WhiteLineFit:
        """Compressed fit of spectra, calibrated where there are bins."""
        z = compress(plan, spectra)
        raw = fit_compressed(plan, z)
        if calibration is None:
            return raw
        lines, flag = calibrated_fit(plan, calibration, z)
        return WhiteLineFit(lines.energy, lines.std, flag, raw.reduced_chi2, raw.parameters, raw.parameter_names)

    return fit


def _dataset(context: Context, names: list[str], found: list[AuditResult], remarks: list[str]) -> xr.Dataset:
    method = label("method", np.arange(1, len(names) + 1), ("method",))
    method.attrs["names"] = names
    chosen = {"auto": "compressed model"}.get(context.section.white_line.method, context.section.white_line.method)
    arrays = [
        label(name, np.array([number(result) for result in found]), ("method",), coords={"method": method})
        for name, number in _NUMBERS.items()
    ]
    used = [result for name, result in zip(names, found, strict=True) if name == chosen]
    arrays[0].attrs |= {
        "chosen": chosen,
        "remarks": remarks + [warning for result in used for warning in result.warnings],
        "warnings": [list(result.warnings) for result in found],
    }
    return dataset(arrays)


STEP = Step(
    "audit",
    audit_methods,
    needs=(SPECTRA, "particle_mask"),
    makes=tuple(_NUMBERS),
    choices=("white_line", "edge"),
)
