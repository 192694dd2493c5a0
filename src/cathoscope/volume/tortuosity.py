"""How much harder transport through a phase is than through free space: Laplace's equation on the voxels.

The potential is 1 at one face of the box and 0 at the opposite one, half a voxel beyond the outermost voxel centres;
no current crosses the four other faces. D_eff = flux * length / (area * drop), and the tortuosity factor of one phase
of volume share eps and conductivity D is tau = eps D / D_eff (Cooper et al., SoftwareX 5, 203, 2016): 1 for straight
channels. Between voxels of conductivities a and b the face conducts 2 a b / (a + b).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.volume import tortuosity_kernels as grid
from cathoscope.volume.checks import checked_mask, checked_voxel
from cathoscope.volume.connection import through
from cathoscope.volume.multigrid import Network, levels_of, solve

Float32Array = NDArray[np.float32]
FloatArray = NDArray[np.float64]

TOLERANCE = 1e-3  # spread of the flux over the planes, relative, at which the solution is good enough
_MOST_STEPS = 100


@dataclass(frozen=True)
class Transport:
    """Transport along one axis, and how well the equation was solved.

    Attributes
    ----------
    relative_conductivity
        D_eff in the unit of the conductivities given (1 for that of the phase). Its systematic uncertainty is half the
        spread of the flux over the planes; that of the voxels' size is not in it.
    tortuosity
        eps D / D_eff for one phase (`tortuosity`); with several conductivities, their mean over D_eff.
    share
        Volume share of all voxels that conduct.
    percolating
        Share of those that belong to paths from face to face.
    flux_in, flux_out
        Flux through the first and the last face over the mean of all planes; equal when solved.
    spread
        Largest minus smallest flux of all planes over their mean.
    steps
        Number of steps of the solver.
    """

    relative_conductivity: Estimate
    tortuosity: Estimate
    share: float
    percolating: float
    flux_in: float
    flux_out: float
    spread: float
    steps: int


def tortuosity(
    phase: NDArray[np.bool_],
    *,
    voxel_size: tuple[float, float, float],
    axis: int = 0,
    tolerance: float = TOLERANCE,
) -> Transport:
    """Tortuosity factor of one phase, bool [z, y, x], along an axis (0 is z); the rest does not conduct.

    Raises
    ------
    MeasurementError
        If the mask is empty, the phase does not lead from face to face, or the equation could not be solved.
    """
    return effective_conductivity(
        checked_mask("phase", phase).astype(np.float32), voxel_size=voxel_size, axis=axis, tolerance=tolerance
    )


def effective_conductivity(
    conductivity: NDArray[np.floating],
    *,
    voxel_size: tuple[float, float, float],
    axis: int = 0,
    tolerance: float = TOLERANCE,
) -> Transport:
    """Effective conductivity (or diffusivity) along an axis, for voxels that each have their own.

    Parameters
    ----------
    conductivity
        Of each voxel, any unit, [z, y, x]; 0 where nothing is conducted.
    voxel_size
        Edges z, y, x of a voxel, um.
    axis
        0, 1 or 2: z, y or x.
    tolerance
        Largest spread of the flux over the planes, relative.

    Raises
    ------
    MeasurementError
        If a conductivity is negative or not finite, no path of conducting voxels (sharing faces) leads from face to
        face, or the flux of the planes differs by more than the tolerance after 100 steps.
    """
    edges = checked_voxel(voxel_size)
    if axis not in (0, 1, 2):
        raise MeasurementError("no such axis", expected="0 (z), 1 (y) or 2 (x)", found=str(axis))
    field = _checked_field(conductivity)
    conducting = field > 0
    paths = through(checked_mask("conducting voxels", conducting), axis=axis)
    if not paths.any():
        raise MeasurementError(
            f"no path of conducting voxels leads from face to face along axis {axis}",
            expected="voxels that share faces, all the way",
            found=f"{conducting.mean():.4f} of the volume conducts",
            cure="nothing passes: the effective conductivity is 0; `connection.percolation` tells which parts connect",
        )
    share, percolating = float(conducting.mean()), float(paths.sum() / conducting.sum())
    mean = float(field.mean(dtype=np.float64))
    scale = float(field.max())
    turned = np.ascontiguousarray(np.moveaxis(np.where(paths, field / np.float32(scale), np.float32(0)), axis, 0))
    second, third = (edges[k] for k in range(3) if k != axis)
    flux, steps = _fluxes(turned, (edges[axis], second, third), tolerance)
    through_planes = float(flux.mean())
    spread = float(np.ptp(flux)) / through_planes
    value = through_planes * scale
    half = 0.5 * spread
    return Transport(
        relative_conductivity=Estimate(value, 0.0, half * value),
        tortuosity=Estimate(mean / value, 0.0, half * mean / value),
        share=share,
        percolating=percolating,
        flux_in=float(flux[0]) / through_planes,
        flux_out=float(flux[-1]) / through_planes,
        spread=spread,
        steps=steps,
    )


def _checked_field(conductivity: NDArray[np.floating]) -> Float32Array:
    """Conductivities as float32 [z, y, x], none negative."""
    field = np.asarray(conductivity, dtype=np.float32)
    if field.ndim != 3 or field.size == 0:
        raise MeasurementError("conductivities are no volume", expected="axes z, y, x", found=f"shape {field.shape}")
    if not np.isfinite(field).all() or field.min() < 0:
        raise MeasurementError(
            "a conductivity cannot be",
            expected="finite numbers, 0 or more",
            found=f"from {field.min()} to {field.max()}",
        )
    return field


def _fluxes(field: Float32Array, edges: tuple[float, float, float], tolerance: float) -> tuple[FloatArray, int]:
    """Flux through every plane across the first axis times length over area, and steps of the solver."""
    hz, hy, hx = edges
    # lengths in units of the first edge: all numbers are near 1
    factor = (np.float32(hy * hx / hz**2), np.float32(hx / hy), np.float32(hy / hx))
    network: Network = tuple(np.empty_like(field) for _ in range(4))  # type: ignore[assignment]
    grid.network_of(field, factor, *network)
    right, electrodes = np.zeros_like(field), np.zeros_like(field)
    right[0] = 2 * factor[0] * field[0]
    electrodes[0] = right[0]
    electrodes[-1] += 2 * factor[0] * field[-1]
    levels = levels_of(network, field, electrodes)
    depth = field.shape[0]
    ramp = 1 - (np.arange(depth, dtype=np.float32) + 0.5) / depth
    potential = np.ascontiguousarray(ramp[:, None, None] * (field > 0), dtype=np.float32)
    normal = depth / (field.shape[1] * field.shape[2] * float(factor[0]))

    def flux() -> FloatArray:
        """Flux through every plane times length over area."""
        found: FloatArray = grid.fluxes(network, field, 2 * float(factor[0]), potential) * normal
        return found

    def done() -> bool:
        """Whether the flux is the same through all planes."""
        now = flux()
        return bool(np.ptp(now) <= tolerance * now.mean())

    steps = solve(network, levels, right, potential, done, _MOST_STEPS)
    found = flux()
    if np.ptp(found) > tolerance * found.mean():
        raise MeasurementError(
            "the flux differs from plane to plane: the equation is not solved",
            expected=f"a spread of at most {tolerance:.1e} of the mean",
            found=f"{np.ptp(found) / found.mean():.1e} after {steps} steps",
            cure="a larger tolerance",
        )
    return found, steps
