"""Spectral coefficients against every energy, on one core, in one run.

One slab of 8 rows of a specimen of three kinds of matter is measured at 61 energies with noise. Once every energy is
reconstructed; once the sinograms are summed up to 12 spectra and these are reconstructed. Both see the same aligned
sinograms; alignment, which both need, is timed apart. CPU is per slice and covers all energies. The coefficients of
the reconstructed energies must be the reconstructed coefficients. ASTRA, which reconstructs every energy, is timed
on one slice at one energy; the fit of spectra that follows in any case is taken at `FITS_PER_SECOND`.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cathoscope.numerics.spectral import weights_of
from cathoscope.tomography.coefficients import accumulate, basis_from_samples
from cathoscope.tomography.reconstruct import Plan, plan_reconstruction, reconstruct, reconstruct_halves
from cathoscope.tomography.resample import ScanMotion, aligned_sinogram, rows_needed

Float32Array = NDArray[np.float32]

N_ROWS = 8
N_ENERGIES = 61
N_COEFFICIENTS = 12
ENERGIES_PER_PASS = 8
CASES = ((256, 360), (512, 720))  # columns and projections
NOISE = 0.05
FITS_PER_SECOND = 1.5e6  # assumed here
LEAST_GAIN = 0.6 * N_ENERGIES / N_COEFFICIENTS
LEAST_RATIO = 30.0
LARGEST_DEVIATION = 1e-4


@dataclass(frozen=True)
class Times:
    """CPU seconds per slice, for all energies, and the deviation of both paths relative to the largest coefficient."""

    alignment: float
    per_energy: float
    summation: float
    reconstruction: float
    halves: float
    deviation: float


def spectra() -> NDArray[np.float64]:
    """Spectra of three kinds of matter, ``[kind, energy]``: white lines in different places, and none."""
    energy = np.linspace(8320.0, 8380.0, N_ENERGIES)
    step = 0.5 + np.arctan((energy - 8345.0) / 2.0) / np.pi
    lines = [step + 1.2 * np.exp(-(((energy - place) / 3.0) ** 2)) for place in (8350.0, 8352.0)]
    return np.stack([*lines, 0.3 * (energy / 8345.0) ** -3])


def sinograms(plan: Plan, rng: np.random.Generator) -> Iterator[Float32Array]:
    """Noisy sinograms ``[energy, row, projection, column]``, some energies at a time."""
    radius, angle = 0.4 * plan.n_columns, np.deg2rad(plan.angle_deg)[:, None]
    column = np.arange(plan.n_columns) - 0.5 * (plan.n_columns - 1)
    parts = []
    for k in range(3):
        offset = 0.15 * plan.n_columns * np.cos(angle - 2.0 * k)
        chord = 2 * np.sqrt(np.maximum((0.5 * radius) ** 2 - (column - offset) ** 2, 0)) / radius
        parts.append(chord.astype(np.float32))
    kinds = np.stack(parts)
    for start in range(0, N_ENERGIES, ENERGIES_PER_PASS):
        clean = np.tensordot(spectra()[:, start : start + ENERGIES_PER_PASS].T.astype(np.float32), kinds, axes=1)
        noise = rng.standard_normal((clean.shape[0], N_ROWS, *clean.shape[1:]), dtype=np.float32)
        yield clean[:, None] + np.float32(NOISE) * noise


def weights() -> Float32Array:
    """Weights of the 12 spectra: those that rise above the noise, and smooth ones to make up the number."""
    rng = np.random.default_rng(5)
    samples = rng.uniform(0, 1, (400, 3)) @ spectra() + NOISE / 8 * rng.standard_normal((400, N_ENERGIES))
    basis = basis_from_samples(
        samples,
        energy=np.arange(N_ENERGIES),
        noise_std=np.full(N_ENERGIES, NOISE),
        sample_noise=np.full(N_ENERGIES, NOISE / 8),
        always=np.polynomial.chebyshev.chebvander(np.linspace(-1, 1, N_ENERGIES), N_COEFFICIENTS - 4),
    )
    return weights_of(basis.vectors.T, basis.noise_std).astype(np.float32)


def cpu_seconds(work: Callable[[], object]) -> float:
    # process_time counts every thread, so a path gains nothing by using several
    start = time.process_time()
    work()
    return time.process_time() - start


def measured(n_columns: int, n_projections: int) -> Times:
    plan = plan_reconstruction(np.arange(n_projections) * 180.0 / n_projections, n_columns)
    axis, factor = 0.5 * (n_columns - 1), weights()
    reconstruct(plan, np.zeros((1, n_projections, n_columns), dtype=np.float32), axis, None, 1.0)
    reconstruct_halves(plan, np.zeros((1, n_projections, n_columns), dtype=np.float32), axis, None, 1.0)
    accumulate(np.zeros((1, 1, 1, 1), np.float32), np.zeros((1, 1, 1), np.float32), np.ones(1))
    total = np.zeros((factor.shape[0], N_ROWS, n_projections, n_columns), dtype=np.float32)
    expected = np.zeros((factor.shape[0], N_ROWS, n_columns, n_columns), dtype=np.float32)
    per_energy, summation, at = 0.0, 0.0, 0
    for block in sinograms(plan, np.random.default_rng(7)):
        chosen = factor[:, at : at + block.shape[0]]
        summation += cpu_seconds(lambda block=block, chosen=chosen: accumulate(total, block, chosen))
        for sinogram, column in zip(block, chosen.T, strict=True):
            volumes: list[Float32Array] = []
            per_energy += cpu_seconds(
                lambda sinogram=sinogram, volumes=volumes: volumes.append(reconstruct(plan, sinogram, axis, None, 1.0))
            )
            accumulate(expected, volumes[0], column)
        at += block.shape[0]
    found: list[Float32Array] = []
    reconstruction = cpu_seconds(lambda: found.extend(reconstruct(plan, part, axis, None, 1.0) for part in total))
    halves = cpu_seconds(lambda: [reconstruct_halves(plan, part, axis, None, 1.0) for part in total])
    return Times(
        alignment=alignment_seconds(plan) / N_ROWS,
        per_energy=per_energy / N_ROWS,
        summation=summation / N_ROWS,
        reconstruction=reconstruction / N_ROWS,
        halves=halves / N_ROWS,
        deviation=float(np.abs(np.stack(found) - expected).max() / np.abs(expected).max()),
    )


def alignment_seconds(plan: Plan) -> float:
    """CPU for all energies of a slab, from the median of some."""
    rng, n_rows, rows = np.random.default_rng(9), 64, slice(24, 24 + N_ROWS)
    jitter = rng.standard_normal((2, plan.angle_deg.size))
    motion = ScanMotion(0.5 * plan.n_columns + 3.3, 1.001, (0.7, -0.4, 0.3), *jitter)
    needed = rows_needed(motion, plan.angle_deg, rows, n_rows)
    shape = (plan.angle_deg.size, needed.stop - needed.start, plan.n_columns)
    depth = rng.standard_normal(shape, dtype=np.float32)

    def align() -> None:
        aligned_sinogram(depth, motion, plan.angle_deg, first_row=needed.start, rows=rows, n_rows=n_rows)

    align()
    return N_ENERGIES * float(np.median([cpu_seconds(align) for _ in range(5)]))


def astra_seconds(n_columns: int, n_projections: int) -> float | None:
    """CPU of ASTRA's filtered back-projection of one slice at one energy; None where it is not installed."""
    if importlib.util.find_spec("astra") is None:
        return None
    import astra

    volume = astra.create_vol_geom(n_columns, n_columns)
    angle = -np.arange(n_projections) * np.pi / n_projections
    geometry = astra.create_proj_geom("parallel", 1.0, n_columns, angle)
    projector = astra.create_projector("linear", geometry, volume)
    sinogram = astra.data2d.create("-sino", geometry, np.ones((n_projections, n_columns), dtype=np.float32))
    image = astra.data2d.create("-vol", volume)
    config = astra.astra_dict("FBP")
    config.update(ProjectorId=projector, ProjectionDataId=sinogram, ReconstructionDataId=image)
    config["option"] = {"FilterType": "ram-lak"}
    algorithm = astra.algorithm.create(config)
    seconds = float(np.median([cpu_seconds(lambda: astra.algorithm.run(algorithm)) for _ in range(3)]))
    astra.algorithm.delete(algorithm)
    astra.data2d.delete([sinogram, image])
    astra.projector.delete(projector)
    return seconds


def main() -> int:
    held = True
    for n_columns, n_projections in CASES:
        times = measured(n_columns, n_projections)
        compressed = times.summation + times.reconstruction
        gain = times.per_energy / compressed
        fit = n_columns**2 / FITS_PER_SECOND
        print(f"{n_columns} x {n_columns} from {n_projections} angles, {N_ENERGIES} energies, CPU s per slice:")
        print(f"  alignment of all energies (both paths)       {times.alignment:8.3f}")
        print(f"  every energy reconstructed                   {times.per_energy:8.3f}")
        print(f"  summed up to {N_COEFFICIENTS} spectra                       {times.summation:8.3f}")
        print(f"  coefficients reconstructed                   {times.reconstruction:8.3f}")
        print(f"  the same as odd and even projections         {times.halves:8.3f}")
        print(f"  fit of all spectra, {FITS_PER_SECOND:.3g} per second assumed {fit:6.3f}")
        print(f"  both paths differ by at most {times.deviation:.1e} of the largest coefficient")
        good = gain >= LEAST_GAIN and times.deviation < LARGEST_DEVIATION
        print(f"  coefficients: {gain:.2f} times less CPU, at least {LEAST_GAIN:.2f}: {'held' if good else 'FAILED'}")
        held &= good
        astra = astra_seconds(n_columns, n_projections)
        if astra is None:
            print("  ASTRA is not installed")
            continue
        ratio = (N_ENERGIES * astra + fit) / (compressed + fit)
        good = ratio >= LEAST_RATIO
        print(f"  ASTRA, every energy                          {N_ENERGIES * astra:8.3f}")
        print(f"  with the fit: {ratio:.1f} times less CPU, at least {LEAST_RATIO:g}: {'held' if good else 'FAILED'}")
        held &= good
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
