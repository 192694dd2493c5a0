"""Kernels of `tortuosity`: a resistor network on the voxels of a volume, and sweeps over it.

A network is ``(gz, gy, gx, diagonal)``, float32 [z, y, x]: conductances from each voxel to the next along an axis, and
their sum over all faces, with those to the two electrodes at the ends of z. Voxels that conduct nothing have diagonal 1
and no conductances, so their potential stays 0. Sums over a row are float32, all others float64.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_FAST = {"contract", "reassoc"}


@njit(cache=True, nogil=True, fastmath=_FAST)
def _between(first, second, factor):  # type: ignore[no-untyped-def]
    """Conductance of two half voxels in series, times ``factor``; 0 if one does not conduct."""
    total = first + second
    return factor * np.float32(2.0) * first * second / total if total > 0 else np.float32(0.0)


@njit(cache=True, nogil=True, fastmath=_FAST)
def network_of(conductivity, factor, gz, gy, gx, diagonal):  # type: ignore[no-untyped-def]
    """Fill a network; ``factor`` is area over distance of faces across z, y, x. Electrodes are half a voxel away."""
    depth, height, width = conductivity.shape
    fz, fy, fx = factor
    gz[depth - 1] = np.float32(0.0)
    for z in range(depth):
        for y in range(height):
            here = conductivity[z, y]
            for x in range(width):
                gx[z, y, x] = _between(here[x], here[x + 1], fx) if x + 1 < width else np.float32(0.0)
            for x in range(width):
                gy[z, y, x] = _between(here[x], conductivity[z, y + 1, x], fy) if y + 1 < height else np.float32(0.0)
            if z + 1 < depth:
                for x in range(width):
                    gz[z, y, x] = _between(here[x], conductivity[z + 1, y, x], fz)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                total = gz[z, y, x] + gy[z, y, x] + gx[z, y, x]
                if z > 0:
                    total += gz[z - 1, y, x]
                if y > 0:
                    total += gy[z, y - 1, x]
                if x > 0:
                    total += gx[z, y, x - 1]
                if z == 0:
                    total += np.float32(2.0) * fz * conductivity[z, y, x]
                if z == depth - 1:
                    total += np.float32(2.0) * fz * conductivity[z, y, x]
                diagonal[z, y, x] = total if total > 0 else np.float32(1.0)


@njit(cache=True, nogil=True, fastmath=_FAST)
def sweep_down(network, right, out):  # type: ignore[no-untyped-def]
    """Gauss-Seidel through the voxels in order, from potential 0: ``out`` solves the lower triangle."""
    gz, gy, gx, diagonal = network
    depth, height, width = diagonal.shape
    line = np.empty(width, dtype=np.float32)
    inverse = np.empty(width, dtype=np.float32)
    for z in range(depth):
        for y in range(height):
            here, row, along = right[z, y], out[z, y], gx[z, y]
            for x in range(width):
                inverse[x] = np.float32(1.0) / diagonal[z, y, x]
                line[x] = here[x]
            if z > 0:
                for x in range(width):
                    line[x] += gz[z - 1, y, x] * out[z - 1, y, x]
            if y > 0:
                for x in range(width):
                    line[x] += gy[z, y - 1, x] * out[z, y - 1, x]
            last = line[0] * inverse[0]
            row[0] = last
            for x in range(1, width):
                last = line[x] * inverse[x] + (along[x - 1] * inverse[x]) * last
                row[x] = last


@njit(cache=True, nogil=True, fastmath=_FAST)
def remainder(network, potential, group, coarse):  # type: ignore[no-untyped-def]
    """What `sweep_down` left unsolved, the upper triangle times the potential, summed over groups of voxels."""
    gz, gy, gx, diagonal = network
    depth, height, width = diagonal.shape
    coarse[:] = np.float32(0.0)
    line = np.zeros(width, dtype=np.float32)
    for z in range(depth):
        for y in range(height):
            here = potential[z, y]
            for x in range(width - 1):
                line[x] = gx[z, y, x] * here[x + 1]
            line[width - 1] = np.float32(0.0)
            if y + 1 < height:
                for x in range(width):
                    line[x] += gy[z, y, x] * potential[z, y + 1, x]
            if z + 1 < depth:
                for x in range(width):
                    line[x] += gz[z, y, x] * potential[z + 1, y, x]
            for x in range(width):
                if group[z, y, x] >= 0:
                    coarse[group[z, y, x]] += line[x]


@njit(cache=True, nogil=True)
def correct(group, correction, potential):  # type: ignore[no-untyped-def]
    """Add to every voxel what was found for its group."""
    flat, groups = potential.ravel(), group.ravel()
    for i in range(flat.size):
        if groups[i] >= 0:
            flat[i] += correction[groups[i]]


@njit(cache=True, nogil=True, fastmath=_FAST)
def sweep_up(network, right, potential):  # type: ignore[no-untyped-def]
    """Gauss-Seidel through the voxels in reverse order."""
    gz, gy, gx, diagonal = network
    depth, height, width = diagonal.shape
    line = np.empty(width, dtype=np.float32)
    inverse = np.empty(width, dtype=np.float32)
    for z in range(depth - 1, -1, -1):
        for y in range(height - 1, -1, -1):
            row, along = potential[z, y], gx[z, y]
            for x in range(width):
                inverse[x] = np.float32(1.0) / diagonal[z, y, x]
                line[x] = right[z, y, x] + gz[z, y, x] * potential[min(z + 1, depth - 1), y, x]
            for x in range(width):
                line[x] += gy[z, y, x] * potential[z, min(y + 1, height - 1), x]
            for x in range(1, width):
                line[x] += along[x - 1] * row[x - 1]
            if z > 0:
                for x in range(width):
                    line[x] += gz[z - 1, y, x] * potential[z - 1, y, x]
            if y > 0:
                for x in range(width):
                    line[x] += gy[z, y - 1, x] * potential[z, y - 1, x]
            last = np.float32(0.0)
            for x in range(width - 1, -1, -1):
                last = line[x] * inverse[x] + (along[x] * inverse[x]) * last
                row[x] = last


@njit(cache=True, nogil=True, fastmath=_FAST)
def currents(network, potential, out):  # type: ignore[no-untyped-def]
    """``out`` becomes the matrix times the potential; returns potential . out."""
    gz, gy, gx, diagonal = network
    depth, height, width = diagonal.shape
    product = 0.0
    for z in range(depth):
        for y in range(height):
            here, line = potential[z, y], out[z, y]
            for x in range(width):
                line[x] = diagonal[z, y, x] * here[x] - gz[z, y, x] * potential[min(z + 1, depth - 1), y, x]
            for x in range(width):
                line[x] -= gy[z, y, x] * potential[z, min(y + 1, height - 1), x]
            for x in range(width - 1):
                line[x] -= gx[z, y, x] * here[x + 1]
            for x in range(1, width):
                line[x] -= gx[z, y, x - 1] * here[x - 1]
            if y > 0:
                for x in range(width):
                    line[x] -= gy[z, y - 1, x] * potential[z, y - 1, x]
            if z > 0:
                for x in range(width):
                    line[x] -= gz[z - 1, y, x] * potential[z - 1, y, x]
            total = np.float32(0.0)
            for x in range(width):
                total += here[x] * line[x]
            product += float(total)
    return product


@njit(cache=True, nogil=True)
def fluxes(network, conductivity, per_face, potential):  # type: ignore[no-untyped-def]
    """Current through every plane of faces across z, from the electrode at potential 1 to that at 0."""
    gz = network[0]
    depth, height, width = gz.shape
    out = np.zeros(depth + 1)
    for y in range(height):
        for x in range(width):
            out[0] += per_face * conductivity[0, y, x] * (1.0 - potential[0, y, x])
            out[depth] += per_face * conductivity[depth - 1, y, x] * potential[depth - 1, y, x]
    for z in range(depth - 1):
        for y in range(height):
            for x in range(width):
                out[z + 1] += gz[z, y, x] * (np.float64(potential[z, y, x]) - potential[z + 1, y, x])
    return out
