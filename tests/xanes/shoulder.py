"""Spectra whose white line has a shape that the model of the fit does not have."""

from __future__ import annotations

import numpy as np

NOISE = 0.01


def shoulder_spectra(truth, centre, height=0.25):
    """Spectra whose line has a shoulder that grows with energy, and the energies of their maxima."""
    centre = np.atleast_1d(np.asarray(centre, dtype=float))

    def at(axis):
        plain = truth.curve(axis, np.stack([truth.parameters_of(8349.0, 0.7)] * centre.size) + _moved(centre))
        growing = height * (0.8 + 0.4 * (centre - 8349.0))[:, None]
        return plain + 0.63 * growing * np.exp(-0.5 * ((axis - centre[:, None] - 3.2) / 2.2) ** 2)

    fine = np.arange(8343.0, 8356.0, 0.01)
    curve = at(fine)
    k = np.argmax(curve, axis=1)
    low, top, high = (curve[np.arange(centre.size), k + j] for j in (-1, 0, 1))
    return at(truth.energies()), fine[k] + 0.005 * (low - high) / (low - 2 * top + high)


def _moved(centre):
    move = np.zeros((centre.size, 7))
    move[:, 4] = move[:, 5] = centre - 8349.0
    return move
