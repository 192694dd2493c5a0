"""Compiled sums over the atoms of a cell: geometric structure factors and their derivatives."""

from __future__ import annotations

import numpy as np
from numba import njit

_TURN = 2.0 * np.pi


@njit(cache=True, nogil=True)
def geometric_sums(hkl, terms, positions, beta, real, graded, out):  # type: ignore[no-untyped-def]
    """Sums of exp(2 pi i h (R x + t)) exp(-beta(hR)) over the atoms of every site, for every reflection.

    Parameters
    ----------
    hkl
        Indices [n, 3].
    terms
        Operations that make one atom each: rotations [t, 3, 3], shifts [t, 3], their site [t], how often [t].
    positions, beta
        Of the sites: [s, 3], and [s, 6] the exponents of h^2, k^2, l^2, 2hk, 2hl, 2kl; [0, 6] if there are none.
    real
        Whether the sums are real, so that cosines are enough.
    graded
        Whether derivatives are wanted.
    out
        Receives the sums [n, s, 2], their derivatives to positions [n, s, 3, 2] and to exponents [n, s, 6, 2], real
        and imaginary part last; zero on entry.
    """
    rotations, shifts, site, count = terms
    sums, by_position, by_beta = out
    damped = beta.shape[0] > 0
    for r in range(hkl.shape[0]):
        for t in range(site.size):
            h = hkl[r, 0] * rotations[t, 0, 0] + hkl[r, 1] * rotations[t, 1, 0] + hkl[r, 2] * rotations[t, 2, 0]
            k = hkl[r, 0] * rotations[t, 0, 1] + hkl[r, 1] * rotations[t, 1, 1] + hkl[r, 2] * rotations[t, 2, 1]
            m = hkl[r, 0] * rotations[t, 0, 2] + hkl[r, 1] * rotations[t, 1, 2] + hkl[r, 2] * rotations[t, 2, 2]
            s = site[t]
            angle = h * positions[s, 0] + k * positions[s, 1] + m * positions[s, 2]
            angle += hkl[r, 0] * shifts[t, 0] + hkl[r, 1] * shifts[t, 1] + hkl[r, 2] * shifts[t, 2]
            angle *= _TURN
            square = (h * h, k * k, m * m, 2.0 * h * k, 2.0 * h * m, 2.0 * k * m)
            factor = count[t]
            if damped:
                exponent = 0.0
                for q in range(6):
                    exponent += beta[s, q] * square[q]
                factor *= np.exp(-exponent)
            cosine = factor * np.cos(angle)
            sums[r, s, 0] += cosine
            sine = factor * np.sin(angle) if graded or not real else 0.0
            if not real:
                sums[r, s, 1] += sine
            if not graded:
                continue
            for part, first, second in ((0, -sine, cosine), (1, cosine, sine)):
                if part == 1 and real:
                    continue
                by_position[r, s, 0, part] += _TURN * h * first
                by_position[r, s, 1, part] += _TURN * k * first
                by_position[r, s, 2, part] += _TURN * m * first
                if damped:
                    for q in range(6):
                        by_beta[r, s, q, part] -= square[q] * second
