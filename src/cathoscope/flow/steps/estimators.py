"""Ways to the white-line energies of one temperature: compressed spectra, or spectra as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.parallel import SLAB_ROWS
from cathoscope.flow.raw import ScanIndex
from cathoscope.flow.steps.mask import edge_energy
from cathoscope.flow.steps.projections import blocks_of
from cathoscope.flow.steps.voxels import Voxels
from cathoscope.xanes.line_calibration import LineCalibration, calibrate
from cathoscope.xanes.line_combination import calibrated_fit, with_joint_errors
from cathoscope.xanes.line_methods import METHODS, estimate
from cathoscope.xanes.line_response import (
    LineResponse,
    response_of_fit,
    shared_over_noise,
    with_artefacts,
)
from cathoscope.xanes.line_steps import fit_compressed
from cathoscope.xanes.line_tables import FitPlan, LineGrid, plan_fit
from cathoscope.xanes.whiteline import WhiteLineFit, WhiteLineOptions, fit_white_line

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

# The direct fit sees the edge and the white line: the pre-edge peak lies below this window and the fine
# structure above it, and neither is in the model. Without a window they move the maximum by 20 meV.
WINDOW_ABOVE_EDGE = 30.0  # eV
_FEWEST_ENERGIES = 12
AROUND_LINE = (11.0, 21.0)  # eV above the edge: the usual window of polynomials
_BIN = 4  # voxels along each edge of a bin on which the fit is calibrated
_FEWEST_IN_BIN = 0.6  # share of the voxels of a bin in the particle


@dataclass(frozen=True)
class Lines:
    """White lines of the voxels of a mask, ``[voxel]``: energies and standard uncertainties in eV."""

    energy: Floats
    std: Floats
    flag: NDArray[np.int8]


class Estimator(Protocol):
    """White lines of one temperature."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person should know of it."""

    @property
    def systematic_std(self) -> float:
        """Uncertainty common to all voxels, eV."""

    @property
    def resolution_std(self) -> float:
        """Part of the uncertainty of every voxel that is no noise, eV."""

    @property
    def shared_noise(self) -> float:
        """Variance of errors that both halves of the projections share, over that of the noise."""

    def all_projections(self, rows: slice, mask: Bools) -> Lines:
        """White lines of the voxels of ``mask`` [row, y, x]."""

    def halves(self, rows: slice, mask: Bools) -> Floats:
        """Energies from odd and from even projections, ``[half, voxel]``."""


def estimator_of(voxels: Voxels, condition: ScanIndex) -> Estimator | None:
    """The estimator that the recipe asks for; None where nothing was measured."""
    section = voxels.context.section.white_line
    if voxels.has_basis and section.method in ("auto", "compressed model"):
        return _compressed(voxels, condition)
    if section.method == "compressed model":
        raise MeasurementError(
            "the compressed model needs the noise of the spectra, which is not known",
            where=voxels.context.name,
            cure='white_line.method = "model", or start from projections',
        )
    return FromSpectra(voxels, condition)


@dataclass(frozen=True)
class Compressed:
    """Stored steps on spectral coefficients, calibrated on the shapes of the data."""

    voxels: Voxels
    condition: ScanIndex
    plan: FitPlan
    keep: Bools
    noise_scale: float
    calibration: LineCalibration | None
    response: LineResponse | None
    resolution_std: float = 0.0
    calibration_std: float = 0.0
    response_of_halves: LineResponse | None = None
    shared_noise: float = 0.0

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the calibration says."""
        if self.calibration is None:
            return ("the fit of the white line is not calibrated on the shapes of the data",)
        return tuple(self.calibration.remarks)

    @property
    def systematic_std(self) -> float:
        """Uncertainty of the calibration, eV."""
        return (
            self.calibration_std
            if self.response is None
            else float(np.hypot(self.calibration_std, np.mean(self.response.bias_std)))
        )

    def all_projections(self, rows: slice, mask: Bools) -> Lines:
        """White lines of the voxels of ``mask``; mixed states are flagged."""
        z = self.voxels.coefficients(self.condition, rows)[mask.ravel()][:, self.keep]
        lines = self._lines(z, 1.0)
        return replace(lines, std=np.hypot(lines.std, self.resolution_std))

    def halves(self, rows: slice, mask: Bools) -> Floats:
        """Energies from odd and from even projections."""
        of_halves = replace(self, response=self.response_of_halves)
        return np.stack([of_halves._lines(one, 2.0).energy for one in self.half_coefficients(rows, mask)])

    def half_coefficients(self, rows: slice, mask: Bools) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Coefficients ``[voxel, coefficient]`` from odd and from even projections."""
        z = self.voxels.coefficients(self.condition, rows)[mask.ravel()][:, self.keep]
        half = self.voxels.half_difference(self.condition, rows)[mask.ravel()][:, self.keep]
        return z + half, z - half

    def _lines(self, z: NDArray[np.float32], noise: float) -> Lines:
        scale = (noise + self.shared_noise) * self.noise_scale
        if self.calibration is None:
            fit = fit_compressed(self.plan, z, noise_scale=scale)
            return Lines(fit.white_line_energy, fit.white_line_energy_std, fit.flag)
        lines, flag = calibrated_fit(self.plan, self.calibration, z, noise_scale=scale)
        energy, std = np.asarray(lines.energy), np.hypot(lines.std, np.nan_to_num(lines.systematic_std))
        if self.response is not None:
            energy = self.response.corrected(energy)
        return Lines(energy, std, flag)


def _compressed(voxels: Voxels, condition: ScanIndex) -> Compressed | None:
    data, section = voxels.context.data, voxels.context.section.white_line
    vectors = np.nan_to_num(np.asarray(data["spectral_vector"][condition].values, dtype=np.float64))
    std = voxels.noise(condition)
    keep = (vectors != 0).any(axis=1)
    if std is None or not keep.any():
        return None
    measured = (vectors[keep] != 0).any(axis=0)
    plan = plan_fit(
        energy=voxels.energy[measured],
        noise_std=std[measured],
        basis=vectors[keep][:, measured].T,
        grid=LineGrid(edge_energy=edge_energy(voxels.context, voxels.energy), edge_width=section.edge_width),
    )
    bins = bins_of(voxels, condition, keep)
    noise_scale = bins.voxel_noise
    bare = Compressed(voxels, condition, plan, keep, noise_scale, None, None)
    if not section.self_calibration or len(bins.z) == 0:
        return bare
    try:
        calibration = calibrate(plan, bins.z, noise_scale=bins.noise)
    except MeasurementError:  # too few energies around the line to look for the highest
        return bare
    calibration = with_joint_errors(plan, calibration, bins.z, noise_scale=noise_scale)
    of_halves = None
    if voxels.has_halves:
        calibration = _with_artefacts(bare, calibration)
        # twice the noise is no less biased, and what halves agree on is the spread
        of_halves = response_of_fit(plan, calibration, bins.z, noise_scale=2 * noise_scale)
    response = response_of_fit(plan, calibration, bins.z, noise_scale=noise_scale)
    common = np.asarray(calibrated_fit(plan, calibration, bins.z, noise_scale=bins.noise)[0].systematic_std)
    known = common[np.isfinite(common)]
    fitted = Compressed(voxels, condition, plan, keep, noise_scale, calibration, response)
    common_std = float(np.median(known)) if known.size else 0.0
    fitted = replace(fitted, calibration_std=common_std, response_of_halves=of_halves)
    if not voxels.has_halves:
        return fitted
    fitted = replace(fitted, shared_noise=_shared_noise(fitted, calibration))
    return replace(fitted, resolution_std=_resolution_std(fitted))


# A reconstruction is not the mean over a voxel: it has sinc(f) within the circle of the Nyquist frequency instead of
# sinc(fx) sinc(fy), and what lies beyond comes back as another pattern. Its mean squared error over the mean squared
# difference of neighbours is 0.13 for a field as rough in every octave (power f^-2), 0.06 for sharp grains of two
# voxels and 0.16 for those of one (measured in tests/flow/test_estimators.py).
_UNRESOLVED = 0.13


def _middle_of(fitted: Compressed) -> tuple[slice, Bools]:
    """A slab of rows in the middle of the field of view, and which of its voxels are in the particle."""
    mask = fitted.voxels.context.data["particle_mask"][fitted.condition]
    middle = mask.sizes["z"] // 2 // SLAB_ROWS * SLAB_ROWS
    rows = slice(middle, min(middle + SLAB_ROWS, mask.sizes["z"]))
    return rows, np.asarray(mask.isel(z=rows).values)


def _with_artefacts(bare: Compressed, calibration: LineCalibration) -> LineCalibration:
    rows, inside = _middle_of(bare)
    return with_artefacts(
        bare.plan, calibration, bare.half_coefficients(rows, inside), noise_scale=2 * bare.noise_scale
    )


def _shared_noise(fitted: Compressed, calibration: LineCalibration) -> float:
    """Variance that odd and even projections share where spectra of the particle have nothing, over that of noise.

    Rings and streaks have no spectrum of their own: in units of the noise they are about as large in the directions
    that the spectra fill as in the others, where nothing hides them.
    """
    rows, inside = _middle_of(fitted)
    odd, even = fitted.half_coefficients(rows, inside)
    return shared_over_noise(odd, even, calibration.maximum.components)


def _resolution_std(fitted: Compressed) -> float:
    """Uncertainty of a voxel from states that differ within it, from how much neighbours differ beyond noise."""
    rows, inside = _middle_of(fitted)
    if not inside.any():
        return 0.0
    maps = np.full((2, *inside.shape), np.nan)
    maps[:, inside] = fitted.halves(rows, inside)
    squares = []
    for axis in (2, 3):
        odd, even = np.diff(maps, axis=axis)
        product = (odd * even)[np.isfinite(odd * even)]
        # failed fits lie far off: the middle of the distribution is what most voxels have
        squares.append(np.mean(np.clip(product, *np.quantile(product, [0.005, 0.995]))) if product.size else 0.0)
    return float(np.sqrt(_UNRESOLVED * max(float(np.mean(squares)), 0.0)))


@dataclass(frozen=True)
class Bins:
    """Means of cubes of voxels inside the particle: coefficients, their noise, and that of voxels (variances)."""

    z: NDArray[np.float32]
    noise: float
    voxel_noise: float


def bins_of(voxels: Voxels, condition: ScanIndex, keep: Bools) -> Bins:
    """Binned coefficients of one temperature, read in slabs of whole bins."""
    mask = voxels.context.data["particle_mask"][condition]
    rank = int(voxels.context.data["spectral_rank"][condition])
    sums, noises = [], []
    squares, count = 0.0, 0
    # blocks of fixed size: what the fit is calibrated on must not depend on the memory allowed
    for rows in blocks_of(slice(0, mask.sizes["z"]), SLAB_ROWS):
        inside = np.asarray(mask.isel(z=rows).values)
        if not inside.any():
            continue
        z = voxels.coefficients(condition, rows)[:, keep]
        squares += float(np.sum(z[inside.ravel()][:, rank:].astype(np.float64) ** 2))
        count += int(inside.sum()) * max(z.shape[1] - rank, 0)
        full, mean = _binned(z, inside)
        sums.append(mean[full])
        if voxels.has_halves:
            _, noise = _binned(voxels.half_difference(condition, rows)[:, keep], inside)
            noises.append(noise[full])
    z = np.concatenate(sums) if sums else np.empty((0, int(keep.sum())), np.float32)
    of_bins = float(np.mean(np.concatenate(noises) ** 2)) if noises and len(z) else 1.0 / _BIN**3
    # what lies beyond the spectra that rise above the noise should be noise of unit variance
    excess = squares / count if count and int(keep.sum()) - rank >= 4 else 1.0
    return Bins(z, of_bins, max(excess, 1.0))


def _binned(z: NDArray[np.float32], inside: Bools) -> tuple[Bools, NDArray[np.float32]]:
    """Which bins lie in the particle, and the means of all, ``[bin, coefficient]``, over their voxels in it."""
    shape = tuple(size // _BIN for size in inside.shape)
    cut = tuple(slice(0, size * _BIN) for size in shape)
    if 0 in shape:  # fewer rows than a bin has
        return np.zeros(0, dtype=bool), np.empty((0, z.shape[1]), dtype=np.float32)
    split = tuple(n for size in shape for n in (size, _BIN))
    weight = inside[cut].reshape(split)
    volume = z.reshape(*inside.shape, -1)[cut].reshape(*split, -1)
    count = weight.sum(axis=(1, 3, 5))
    total = np.einsum("aibjckn,aibjck->abcn", volume, weight.astype(np.float32))
    mean = total / np.maximum(count, 1)[..., None].astype(np.float32)
    return (count >= _FEWEST_IN_BIN * _BIN**3).ravel(), mean.reshape(-1, mean.shape[-1])


@dataclass(frozen=True)
class FromSpectra:
    """A fit of every spectrum as it is: the direct model, or one of the simple methods."""

    voxels: Voxels
    condition: ScanIndex

    @property
    def remarks(self) -> tuple[str, ...]:
        """Nothing is known of it before it is audited."""
        return ()

    @property
    def systematic_std(self) -> float:
        """Not known."""
        return 0.0

    @property
    def resolution_std(self) -> float:
        """Not known."""
        return 0.0

    @property
    def shared_noise(self) -> float:
        """Not known."""
        return 0.0

    def all_projections(self, rows: slice, mask: Bools) -> Lines:
        """White lines of the voxels of ``mask``."""
        return self._lines(rows, mask, None)

    def halves(self, rows: slice, mask: Bools) -> Floats:
        """Energies from odd and from even projections."""
        expansion, _ = self.voxels.expansion(self.condition)
        half = self.voxels.half_difference(self.condition, rows)[mask.ravel()] @ expansion
        return np.stack([self._lines(rows, mask, sign * half).energy for sign in (1.0, -1.0)])

    def _lines(self, rows: slice, mask: Bools, more: NDArray[Any] | None) -> Lines:
        spectra, measured = self.voxels.spectra(self.condition, rows)
        chosen = spectra[mask.ravel()] if more is None else spectra[mask.ravel()] + more
        noise = self.voxels.noise(self.condition)
        if noise is not None and more is not None:
            noise = noise * np.sqrt(2.0)
        fit = self._method()(
            np.ascontiguousarray(chosen[:, measured], dtype=np.float32),
            self.voxels.energy[measured],
            None if noise is None else noise[measured],
        )
        return Lines(fit.white_line_energy, fit.white_line_energy_std, fit.flag)

    def _method(self) -> Callable[[NDArray[np.float32], Floats, Floats | None], WhiteLineFit]:
        section = self.voxels.context.section.white_line
        if section.method in METHODS:
            return self._simple_method()
        window = fit_window(self.voxels)
        options = WhiteLineOptions(edge_width=section.edge_width)
        return lambda spectra, energy, noise: fit_white_line(
            spectra=spectra, energy=energy, noise_std=noise, window=window, options=options
        )

    def _simple_method(self) -> Callable[[NDArray[np.float32], Floats, Floats | None], WhiteLineFit]:
        section, edge = self.voxels.context.section.white_line, edge_energy(self.voxels.context, self.voxels.energy)
        window = section.window or (edge + AROUND_LINE[0], edge + AROUND_LINE[1])

        def fit(spectra: NDArray[np.float32], energy: Floats, noise: Floats | None) -> WhiteLineFit:
            """White lines of spectra [spectrum, energy] with the noise of every energy."""
            if noise is None:
                raise MeasurementError(
                    f"the method {section.method!r} needs the noise of the spectra, which is not known",
                    where=self.voxels.context.name,
                    cure='white_line.method = "model", or start from projections',
                )
            return estimate(
                section.method, spectra=spectra, energy=energy, noise_std=noise, window=window, order=section.order
            )

        return fit


def fit_window(voxels: Voxels) -> tuple[float, float] | None:
    """The recipe's window, else from the edge to 30 eV above it; all energies where those are too few."""
    if voxels.context.section.white_line.window is not None:
        return voxels.context.section.white_line.window
    edge = edge_energy(voxels.context, voxels.energy)
    window = (edge, edge + WINDOW_ABOVE_EDGE)
    inside = (voxels.energy >= window[0]) & (voxels.energy <= window[1])
    return window if inside.sum() >= _FEWEST_ENERGIES else None
