"""Edge and white line fitted to the spectrum of one voxel, for the viewer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.whiteline import WhiteLineOptions, fit_white_line, white_line_curve

Floats = NDArray[np.float64]

_BELOW, _ABOVE = 17.0, 13.0  # eV around a white line: from the edge to 30 eV above it, as maps are fitted
_POINTS = 200


def fitted_curve(
    energy: Floats, spectrum: Floats, noise_std: Floats | None, line: float
) -> tuple[Floats, Floats] | None:
    """Energies and values of the model of edge and white line around ``line`` (eV), fitted to one spectrum.

    None where fewer than nine energies lie there, or the fit finds no line. It ends at the first and last energy used.

    Parameters
    ----------
    energy, spectrum, noise_std
        Photon energies in eV, ascending; values and their sigma in one unit, [energy].
    line
        Where the white line is, about; NaN for the highest value of the spectrum.
    """
    if not np.isfinite(line):
        line = float(energy[np.argmax(spectrum)])
    window = line - _BELOW, line + _ABOVE
    try:
        fit = fit_white_line(
            spectra=spectrum[np.newaxis],
            energy=energy,
            noise_std=None if noise_std is None else noise_std,
            window=window,
        )
    except MeasurementError:
        return None
    if not np.isfinite(fit.parameters).all() or not fit.good[0]:
        return None
    used = energy[(energy >= window[0]) & (energy <= window[1])]
    fine = np.linspace(used[0], used[-1], _POINTS)
    curve = white_line_curve(fit.parameters, fine, WhiteLineOptions().edge_width)[0]
    # the slope of the curve counts from the mean of the energies that were fitted
    slope = float(fit.parameters[0, 1])
    return fine, curve + slope * (fine.mean() - used.mean())
