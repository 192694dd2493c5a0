"""Optical depth from counts, height of the absorption edge, and the mask of voxels that have one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, pdtrc
from skimage.filters import threshold_otsu

from cathoscope.core.errors import MeasurementError

Window = tuple[float, float]

_CHANCE_OF_NOISE = 1e-3
"""A mask whose size noise alone reaches this often is taken for noise."""
_OTSU_BINS = 256

Blocks = Callable[[], Iterable[tuple[NDArray[np.float64], NDArray[np.float64]]]]


def optical_depth_from_counts(
    *, counts: ArrayLike, incident: ArrayLike, incident_std: ArrayLike | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Optical depth ``-ln(counts / incident)`` and its standard deviation.

    ``std^2 = 1 / counts + (incident_std / incident)^2``, to first order, counts being Poisson distributed; at 30 counts
    the first order is 3 % off.

    Parameters
    ----------
    counts
        Transmitted counts, any shape, or [energy, ...] where ``incident`` is [energy].
    incident
        Counts without the sample, shaped like ``counts`` (or broadcasting to it), or [energy].
    incident_std
        Its standard deviation; without it that of a Poisson variable.

    Returns
    -------
    tuple
        Optical depth and standard deviation, shaped like ``counts``; NaN where a count is not positive.

    Raises
    ------
    MeasurementError
        If the shapes do not fit.
    """
    transmitted = np.asarray(counts, dtype=np.float64)
    open_beam = _along_first(np.asarray(incident, dtype=np.float64), transmitted)
    if incident_std is None:
        open_variance = open_beam
    else:
        open_variance = _along_first(np.asarray(incident_std, dtype=np.float64), transmitted) ** 2
    valid = (transmitted > 0) & (open_beam > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(valid, -np.log(transmitted / open_beam), np.nan)
        std = np.where(valid, np.sqrt(1.0 / transmitted + open_variance / open_beam**2), np.nan)
    return depth, std


def default_windows(*, energy: ArrayLike, edge_energy: float) -> tuple[Window, Window]:
    """Energy windows below and above an absorption edge, from the energies measured.

    Below: from the first energy to 30 % of the way back from the edge, so that pre-edge peaks and the onset stay out.
    Above: the last 40 % of the range beyond the edge, so that the white line stays out.

    Parameters
    ----------
    energy
        eV, [energy].
    edge_energy
        Tabulated energy of the edge, eV.

    Returns
    -------
    tuple
        (low, high) below and (low, high) above the edge, eV.

    Raises
    ------
    MeasurementError
        If a window holds fewer than 2 energies.
    """
    axis = np.asarray(energy, dtype=np.float64)
    low, high = float(axis.min()), float(axis.max())
    pre_edge = (low, edge_energy - 0.3 * (edge_energy - low))
    post_edge = (edge_energy + 0.6 * (high - edge_energy), high)
    for name, window in (("below", pre_edge), ("above", post_edge)):
        _window_indices(axis, window, name)
    return pre_edge, post_edge


def edge_jump_from_spectra(
    *,
    spectra: ArrayLike,
    energy: ArrayLike,
    pre_edge: Window,
    post_edge: Window,
    noise_std: ArrayLike | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean above the edge minus mean below it, and its standard uncertainty.

    This is the difference of two means, not the extrapolated edge step: a sloping background adds its slope times the
    distance of the windows' centres.

    Parameters
    ----------
    spectra
        [..., energy], any unit.
    energy
        eV, [energy].
    pre_edge, post_edge
        (low, high) in eV.
    noise_std
        Standard deviation of the noise, [energy], in the unit of ``spectra``. Without it the scatter about a straight
        line in each window is used, which takes 3 energies or more in each.

    Returns
    -------
    tuple
        Edge jump and standard uncertainty, [...]; NaN where a spectrum is NaN.

    Raises
    ------
    MeasurementError
        If shapes do not fit or a window holds too few energies.
    """
    values = np.asarray(spectra)
    axis = np.asarray(energy, dtype=np.float64)
    if values.ndim < 1 or values.shape[-1] != axis.size:
        raise MeasurementError(
            "spectra do not match the energies", expected=f"[..., {axis.size}]", found=f"shape {values.shape}"
        )
    means: list[NDArray[np.float64]] = []
    variances: list[NDArray[np.float64]] = []
    for name, window in (("below", pre_edge), ("above", post_edge)):
        inside = _window_indices(axis, window, name, minimum=2 if noise_std is not None else 3)
        part = values[..., inside].astype(np.float64)
        means.append(part.mean(axis=-1))
        if noise_std is None:
            variances.append(_scatter_about_line(part, axis[inside]) / inside.size)
        else:
            noise = np.asarray(noise_std, dtype=np.float64)[inside]
            variances.append(np.asarray(noise @ noise / inside.size**2))
    jump = np.asarray(means[1] - means[0])
    std = np.where(np.isfinite(jump), np.sqrt(variances[0] + variances[1]), np.nan)
    return jump, std


def particle_mask_from_edge_jump(
    *,
    edge_jump: ArrayLike,
    edge_jump_std: ArrayLike,
    minimum_sigma: float = 5.0,
    threshold: float | None = None,
) -> NDArray[np.bool_]:
    """Voxels with an edge jump above ``threshold`` and above ``minimum_sigma`` times its uncertainty.

    Without a threshold Otsu's is used [1]_, which assumes that both particle and background are in view. A mask no
    larger than Gaussian noise of the stated uncertainty would give (more often than once in a thousand maps) is
    emptied, so a map without any edge gives no particle.

    Parameters
    ----------
    edge_jump, edge_jump_std
        Same shape, same unit; NaN is outside.
    minimum_sigma
        Least edge jump in units of its uncertainty.
    threshold
        Least edge jump in its own unit.

    References
    ----------
    .. [1] N. Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62.
    """
    jump = np.asarray(edge_jump, dtype=np.float64)
    std = np.broadcast_to(np.asarray(edge_jump_std, dtype=np.float64), jump.shape)
    least = least_edge_jump(lambda: [(jump, std)], minimum_sigma=minimum_sigma, threshold=threshold)
    chosen: NDArray[np.bool_] = significant_edge(jump, std, minimum_sigma) & (jump > least)
    return chosen


def least_edge_jump(blocks: Blocks, *, minimum_sigma: float = 5.0, threshold: float | None = None) -> float:
    """Edge jump above which the significant voxels of a volume belong to the particle; infinite if none do.

    As ``particle_mask_from_edge_jump``, which it serves, for a volume that is read part by part: ``blocks`` gives all
    parts, each as its edge jumps and their uncertainties, as often as it is called.
    """
    finite, significant, lowest, highest, top = 0, 0, np.inf, -np.inf, -np.inf
    for jump, std in blocks():
        known = _finite(jump, std)
        finite += int(known.sum())
        chosen = significant_edge(jump, std, minimum_sigma)
        significant += int(chosen.sum())
        top = max(top, float(jump.max(where=chosen, initial=-np.inf)))
        lowest = min(lowest, float(jump.min(where=known, initial=np.inf)))
        highest = max(highest, float(jump.max(where=known, initial=-np.inf)))
    # As many by chance, or more: Poisson's distribution.
    by_chance = finite * ndtr(-minimum_sigma)
    if not significant or pdtrc(significant - 1, by_chance) > _CHANCE_OF_NOISE:
        return np.inf
    if threshold is None:
        threshold = _otsu(blocks, lowest, highest) if highest > lowest else 0.0
    return threshold if top > threshold else np.inf


def _otsu(blocks: Blocks, lowest: float, highest: float) -> float:
    """Otsu's threshold of all known edge jumps."""
    counts = np.zeros(_OTSU_BINS, dtype=np.intp)
    for jump, std in blocks():
        counts += np.histogram(jump[_finite(jump, std)], _OTSU_BINS, (lowest, highest))[0]
    edges = np.histogram_bin_edges(np.empty(0), _OTSU_BINS, (lowest, highest))
    return float(cast(Any, threshold_otsu)(hist=(counts, 0.5 * (edges[:-1] + edges[1:]))))


def _finite(jump: NDArray[np.floating], std: NDArray[np.floating]) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(jump) & np.isfinite(std))


def significant_edge(
    jump: NDArray[np.floating], std: NDArray[np.floating], minimum_sigma: float = 5.0
) -> NDArray[np.bool_]:
    """Voxels with an edge jump above zero and above ``minimum_sigma`` times its uncertainty, both known."""
    known = _finite(jump, std)
    chosen: NDArray[np.bool_] = known & (jump > minimum_sigma * np.where(known, std, 0.0)) & (jump > 0)
    return chosen


def _along_first(values: NDArray[np.float64], like: NDArray[np.float64]) -> NDArray[np.float64]:
    """``values`` [energy] laid along the first axis of ``like``; anything else must broadcast."""
    if values.ndim == 1 and like.ndim > 1 and values.size == like.shape[0]:
        return values.reshape(-1, *(1,) * (like.ndim - 1))
    try:
        np.broadcast_shapes(values.shape, like.shape)
    except ValueError as error:
        raise MeasurementError(
            "incident counts do not match the counts", expected=f"shape {like.shape}", found=f"shape {values.shape}"
        ) from error
    return values


def _window_indices(axis: NDArray[np.float64], window: Window, name: str, minimum: int = 2) -> NDArray[np.intp]:
    inside = np.flatnonzero((axis >= window[0]) & (axis <= window[1]))
    if inside.size < minimum:
        raise MeasurementError(
            f"too few energies {name} the edge",
            expected=f"at least {minimum} between {window[0]:g} and {window[1]:g} eV",
            found=f"{inside.size}; the energies run from {axis.min():g} to {axis.max():g} eV",
            cure="widen the window, or check the energy of the edge and its unit",
        )
    return inside


def _scatter_about_line(part: NDArray[np.float64], axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance of the residuals of a straight line through each spectrum, [...]."""
    t = axis - axis.mean()
    centred = part - part.mean(axis=-1, keepdims=True)
    slope = np.sum(centred * t, axis=-1, keepdims=True) / np.sum(t**2)
    result: NDArray[np.float64] = np.sum((centred - slope * t) ** 2, axis=-1) / (axis.size - 2)
    return result
