"""Spectra of voxels as coefficients of a few spectra, as a study keeps them.

A study holds, for a temperature, ``vectors`` ``[coefficient, energy]`` that are orthonormal in units of ``noise_std``
``[energy]``, the noise of a voxel in 1/um. The noise is nan, and every vector nan or zero, at an energy that was not
measured; a vector that is not there is nan or zero everywhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def measured_energies(vectors: ArrayLike, noise_std: ArrayLike) -> NDArray[np.bool_]:
    """Whether an energy was measured, ``[energy]``: its noise is known and some vector is not zero there."""
    return np.asarray(np.isfinite(noise_std) & (np.nan_to_num(vectors) != 0).any(axis=0))


def weights_of(vectors: ArrayLike, noise_std: ArrayLike) -> Floats:
    """Weights ``[coefficient, energy]`` that make coefficients of a spectrum: ``coefficients = weights @ spectrum``.

    They are zero at energies that were not measured. Coefficients of a spectrum whose noise is ``noise_std`` have
    independent noise of standard deviation 1.
    """
    measured = measured_energies(vectors, noise_std)
    return np.asarray(np.where(measured, np.nan_to_num(vectors) / np.where(measured, noise_std, 1.0), 0.0))


def expansion_of(vectors: ArrayLike, noise_std: ArrayLike) -> Floats:
    """What one unit of a coefficient stands for, ``[coefficient, energy]`` in 1/um: ``spectrum = coefficients @ it``.

    It is zero at energies that were not measured.
    """
    return np.asarray(np.nan_to_num(vectors) * np.nan_to_num(noise_std) * measured_energies(vectors, noise_std))
