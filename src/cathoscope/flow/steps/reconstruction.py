"""The recipe's way from an aligned sinogram to a volume, and what it takes of the memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.parallel import SLAB_ROWS, row_slabs, shortage
from cathoscope.flow.graph import Context
from cathoscope.flow.sections import TomographySection
from cathoscope.flow.steps.aligned import PlacedSinogram, ScanInputs, rows_around
from cathoscope.flow.steps.projections import Floats, n_columns_of, n_rows_of
from cathoscope.tomography.iterative import (
    NormalPlan,
    TotalVariation,
    alternating_noise_std,
    plan_normal,
    reconstruct_cgls,
    reconstruct_tv,
)
from cathoscope.tomography.reconstruct import (
    BATCH,
    Plan,
    noise_std_of_rows,
    plan_reconstruction,
    reconstruct,
    reconstruct_halves,
)

_TV, _CGLS = TotalVariation(), 20  # choices where the recipe leaves them open
_NAMES = {"fbp": "filtered back-projection", "cgls": "conjugate gradients", "tv": "total variation"}

# Arrays of the size of one scan's rows that are alive at once between reading and the aligned sinogram.
_COPIES = 6
# The interpreter, the libraries, compiled code and buffers of the study, bytes: measured 0.37 GB.
_PROGRAM = 4.6e8


@dataclass(frozen=True)
class Reconstruction:
    """The method of the recipe with its plans by the bytes of their angles; a few are kept for scans that share them.

    Results of a row are the same whichever slab it is in, as long as slabs start at multiples of ``SLAB_ROWS``.
    """

    section: TomographySection
    plan_of: Callable[[bytes], Plan]
    normal_of: Callable[[bytes], NormalPlan]

    def volume(self, inputs: ScanInputs, placed: PlacedSinogram, difference: Floats | None = None) -> Floats:
        """Attenuation ``[row, y, x]`` by the recipe's method; ``difference`` of `halves`, if it is known already."""
        key, section = inputs.angle.tobytes(), self.section
        geometry = (placed.values, placed.axis, placed.shift, inputs.pixel_size)
        plan = self.plan_of(key)
        if section.method == "fbp":
            return reconstruct(plan, *geometry)
        if difference is None:
            noise = alternating_noise_std(plan, *geometry)
        else:
            noise = noise_std_of_rows(difference=difference)
        if section.method == "cgls":
            of_depth = depth_noise_from_volume_noise(plan=plan, noise_std=noise, pixel_size=inputs.pixel_size)
            return reconstruct_cgls(
                self.normal_of(key), *geometry, iterations=section.iterations or _CGLS, noise_std=of_depth
            )
        choices = TotalVariation(
            strength=_TV.strength if section.tv_strength is None else section.tv_strength,
            iterations=section.iterations or _TV.iterations,
            non_negative=section.non_negative,
        )
        return reconstruct_tv(self.normal_of(key), *geometry, choices=choices, noise_std=noise)

    def halves(self, inputs: ScanInputs, placed: PlacedSinogram) -> tuple[Floats, Floats]:
        """What odd and even projections contribute to the filtered back-projection, each ``[row, y, x]``."""
        plan = self.plan_of(inputs.angle.tobytes())
        return reconstruct_halves(plan, placed.values, placed.axis, placed.shift, inputs.pixel_size)

    @property
    def is_linear(self) -> bool:
        """Whether volumes are filtered back-projections, whose noise the half-sets tell."""
        return self.section.method == "fbp"

    def attributes(self) -> dict[str, object]:
        """What arrays of volumes say about how they were made."""
        if self.is_linear:
            return {}
        name = _NAMES[self.section.method]
        remark = f"volumes are by {name}, but the stated noise is that of {_NAMES['fbp']}, which is larger"
        return {"reconstruction": name, "remarks": [remark]}


def reconstruction_of(context: Context) -> Reconstruction:
    """The method that the recipe asks for."""
    n_columns = n_columns_of(context.raw.first)
    kept = max(2, context.resources.threads)

    @lru_cache(maxsize=kept)
    def plan_of(angles: bytes) -> Plan:
        """Plan for angles given as bytes, which can be remembered."""
        return plan_reconstruction(np.frombuffer(angles, dtype=np.float64), n_columns)

    @lru_cache(maxsize=kept)
    def normal_of(angles: bytes) -> NormalPlan:
        """As `plan_of`, for iterations."""
        return plan_normal(plan_of(angles))

    return Reconstruction(context.section.tomography, plan_of, normal_of)


def depth_noise_from_volume_noise(
    *, plan: Plan, noise_std: NDArray[np.float64], pixel_size: float
) -> NDArray[np.float64]:
    r"""Noise of the optical depth that gives ``noise_std`` in 1/um after filtered back-projection.

    .. math:: \sigma_p = \sigma_\mu \, a \sqrt{12 / \sum_p w_p^2}

    with the pixel size a and the angular weights, for noise that is the same everywhere (see `tomography.noise`).
    """
    return np.asarray(noise_std * pixel_size * np.sqrt(12.0 / np.sum(plan.angle_weight**2)))


def slabs_within_memory(context: Context, method: Reconstruction, *, bytes_per_row: float) -> list[slice]:
    """Slabs of rows for every scan, such that reading, aligning and reconstructing them fits the memory budget.

    ``bytes_per_row`` is what the caller holds beside the scan at hand. A shortage is told to who watches.
    """
    resources, fixed = context.resources, _fixed_bytes(context, method)
    each = bytes_per_row + _COPIES * bytes_of_row(context) + _bytes_of_flats(context)
    once = fixed + _PROGRAM / resources.threads
    warning = shortage(bytes_per_row=each + once / SLAB_ROWS, resources=resources)
    if warning:
        context.progress.remark(f"{context.name}: {warning}")
    # what is left for slabs, as if a row took more: `row_slabs` knows no fixed part
    left = max(resources.memory - _PROGRAM, 0.1 * resources.memory) - resources.threads * fixed
    share = resources.memory / left if left > 0 else np.inf
    return row_slabs(n_rows_of(context.raw.first), bytes_per_row=each * share, resources=resources)


def bytes_of_row(context: Context) -> float:
    """One row of all projections of the longest scan, as float32."""
    raw = context.raw
    return 4.0 * max(scan.sizes["projection"] for scan in raw.scans.values()) * n_columns_of(raw.first)


def _bytes_of_flats(context: Context) -> float:
    """One row of the frames without sample that are read with a scan, as float32."""
    raw = context.raw
    frames = max(scan.sizes.get("flat", 0) + scan.sizes.get("dark", 0) for scan in raw.scans.values())
    return 4.0 * frames * n_columns_of(raw.first)


def _fixed_bytes(context: Context, method: Reconstruction) -> float:
    """Plan, transforms of a batch, and rows read beyond a slab: what a thread takes however thin its slabs are."""
    raw = context.raw
    scan = raw.first
    plan = method.plan_of(np.asarray(scan["angle"].values, dtype=np.float64).tobytes())
    planned = float(sum(np.asarray(getattr(plan, field.name)).nbytes for field in fields(plan)))
    batch = 4.0 * BATCH * (3 * plan.grid**2 + 4 * plan.angle_deg.size * plan.padded)
    if not method.is_linear:
        # transfers, a pair of slices on the doubled grid, and the volumes of an iteration
        planned += 32.0 * plan.n_columns**2
        batch += 4.0 * plan.n_columns**2 * (8 * 4 + 12 * BATCH)
    around = rows_around(context) * (_COPIES * bytes_of_row(context) + _bytes_of_flats(context))
    return planned + batch + around
