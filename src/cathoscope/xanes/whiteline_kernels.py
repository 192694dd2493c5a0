"""Compiled white-line fit: one spectrum after the other, no state between spectra.

Sums over energies may be reassociated (``fastmath``) so that they use vector registers; this changes rounding only,
in the same way for every spectrum, and leaves NaN and infinity alone.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

GOOD, NO_EDGE, NO_MAXIMUM, NO_CONVERGENCE, AT_LIMIT, NON_FINITE = range(6)

LINEAR = 4  # offset, slope, jump, amplitude
COUNT = 7  # and edge energy, line centre, line width
NEGLIGIBLE = 1e-6  # eV: a shape parameter that moves less has stopped

Array = NDArray[np.float64]


class Settings(NamedTuple):
    """What all spectra share; energies in eV relative to the middle of the energies."""

    edge_width: float
    start_edge_distance: float
    start_line_width: float
    centre_limits: tuple[float, float]
    distance_limits: tuple[float, float]
    width_limits: tuple[float, float]
    significance: float
    tolerance: float
    iterations: int
    noise_is_known: bool


class Work(NamedTuple):
    """Arrays reused from spectrum to spectrum."""

    energy: Array  # [energy]
    weight: Array  # [energy]
    data: Array  # weighted spectrum minus its mean, [energy]
    columns: Array  # weighted derivatives of the model, [parameter, energy]
    factor: Array  # lower Cholesky factor of the normal matrix, [parameter, parameter]
    projection: Array  # data on the orthonormalised columns, [parameter]
    linear: Array  # offset, slope, jump, amplitude, [4]
    dependent: NDArray[np.bool_]  # whether the columns are linearly dependent, [1]


@njit(cache=True, nogil=True)
def new_work(energy: Array) -> Any:
    """Empty work arrays for spectra at ``energy``."""
    n = energy.size
    return Work(
        energy,
        np.ones(n),
        np.zeros(n),
        np.zeros((COUNT, n)),
        np.zeros((COUNT, COUNT)),
        np.zeros(COUNT),
        np.zeros(LINEAR),
        np.zeros(1, dtype=np.bool_),
    )


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def dot(a: Array, b: Array) -> float:
    """Sum of products."""
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def bell_from_square(y: float) -> float:
    """exp(-y) for y >= 0 as the 256th power of a Taylor polynomial; absolute error below 1e-10, without branches."""
    x = -min(y, 80.0) / 256.0
    value = 1.0 + x * (1.0 + x * (0.5 + x * (1.0 / 6.0 + x / 24.0)))
    for _ in range(8):
        value *= value
    return value


@njit(cache=True, nogil=True, error_model="numpy")
def arctangent(x: float) -> float:
    """arctan(x), absolute error below 3e-8, without branches.

    Abramowitz and Stegun, Handbook of Mathematical Functions, 4.4.49, with arctan(x) = pi/2 - arctan(1/x) beyond 1.
    """
    size = abs(x)
    t = min(size, 1.0) / max(size, 1.0)
    q = t * t
    series = -0.0752896400 + q * (0.0429096138 + q * (-0.0161657367 + q * 0.0028662257))
    series = -0.3333314528 + q * (0.1999355085 + q * (-0.1420889944 + q * (0.1065626393 + q * series)))
    angle = t * (1.0 + q * series)
    angle = angle if size <= 1.0 else 0.5 * math.pi - angle
    return math.copysign(angle, x)


@njit(cache=True, nogil=True, error_model="numpy")
def fill_columns(work: Any, shape: Any, edge_width: float) -> None:
    """Weighted derivatives of the model at ``shape`` = (edge energy, line centre, line width).

    The last three columns lack their amplitude (jump, A, A), so that they do not depend on the linear parameters.
    """
    edge, centre, width = shape
    by_edge_width, by_width, by_pi = 1.0 / edge_width, 1.0 / width, 1.0 / math.pi
    columns = work.columns
    for i in range(work.energy.size):
        x = (work.energy[i] - edge) * by_edge_width
        u = (work.energy[i] - centre) * by_width
        weight = work.weight[i]
        line = weight * bell_from_square(0.5 * u * u)
        columns[0, i] = weight
        columns[1, i] = weight * work.energy[i]
        columns[2, i] = weight * (0.5 + arctangent(x) * by_pi)
        columns[3, i] = line
        columns[4, i] = -weight * by_pi * by_edge_width / (1.0 + x * x)
        columns[5, i] = line * u * by_width
        columns[6, i] = line * u * u * by_width


@njit(cache=True, nogil=True)
def factorise(work: Any) -> bool:
    """Cholesky factor of the normal matrix and the data's projection; False if columns are dependent."""
    factor, columns = work.factor, work.columns
    for k in range(COUNT):
        for j in range(k):
            total = dot(columns[k], columns[j])
            for i in range(j):
                total -= factor[k, i] * factor[j, i]
            factor[k, j] = total / factor[j, j]
        norm = dot(columns[k], columns[k])
        rest = norm
        for i in range(k):
            rest -= factor[k, i] * factor[k, i]
        if not rest > 1e-13 * norm:
            return False
        factor[k, k] = math.sqrt(rest)
        total = dot(columns[k], work.data)
        for i in range(k):
            total -= factor[k, i] * work.projection[i]
        work.projection[k] = total / factor[k, k]
    return True


@njit(cache=True, nogil=True)
def misfit(work: Any, shape: Any, edge_width: float) -> float:
    """Solve for the linear parameters at ``shape``; the part of the data's square sum they explain, or -1.

    The largest explained square sum is the smallest chi squared.
    """
    fill_columns(work, shape, edge_width)
    work.dependent[0] = not factorise(work)
    if work.dependent[0]:
        return -1.0
    explained = 0.0
    for k in range(LINEAR - 1, -1, -1):
        total = work.projection[k]
        explained += total * total
        for i in range(k + 1, LINEAR):
            total -= work.factor[i, k] * work.linear[i]
        work.linear[k] = total / work.factor[k, k]
    return explained


@njit(cache=True, nogil=True)
def shape_step(work: Any, damping: float) -> tuple[float, float, float]:
    """Levenberg-Marquardt step of (edge energy, line centre, line width), linear parameters eliminated.

    With S = L L' the normal matrix left after elimination, solves (S + damping diag(S)) d = L z.
    """
    m = np.empty((3, 3))
    right = np.zeros(3)
    for i in range(3):
        for j in range(i + 1):
            m[i, j] = 0.0
            for k in range(j + 1):
                m[i, j] += work.factor[LINEAR + i, LINEAR + k] * work.factor[LINEAR + j, LINEAR + k]
            right[i] += work.factor[LINEAR + i, LINEAR + j] * work.projection[LINEAR + j]
    for i in range(3):
        m[i, i] *= 1.0 + damping
    l00 = math.sqrt(m[0, 0])
    l10, l20 = m[1, 0] / l00, m[2, 0] / l00
    l11 = math.sqrt(m[1, 1] - l10 * l10)
    l21 = (m[2, 1] - l20 * l10) / l11
    l22 = math.sqrt(m[2, 2] - l20 * l20 - l21 * l21)
    z0 = right[0] / l00
    z1 = (right[1] - l10 * z0) / l11
    width = (right[2] - l20 * z0 - l21 * z1) / (l22 * l22)
    centre = (z1 - l21 * width) / l11
    edge = (z0 - l10 * centre - l20 * width) / l00
    return edge, centre, width


@njit(cache=True, nogil=True)
def limited(value: float, limits: tuple[float, float]) -> float:
    """``value`` inside ``limits``."""
    return min(max(value, limits[0]), limits[1])


@njit(cache=True, nogil=True)
def moved(shape: Any, step: Any, linear: Array, settings: Any) -> tuple[float, float, float]:
    """Shape after a step, kept inside its limits; steps are cut to 3, 2 and 1 eV."""
    jump = linear[2] if linear[2] != 0.0 else 1e-300
    amplitude = linear[3] if linear[3] != 0.0 else 1e-300
    edge = shape[0] + limited(step[0] / jump, (-3.0, 3.0))
    centre = limited(shape[1] + limited(step[1] / amplitude, (-2.0, 2.0)), settings.centre_limits)
    width = limited(shape[2] + limited(step[2] / amplitude, (-1.0, 1.0)), settings.width_limits)
    return centre - limited(centre - edge, settings.distance_limits), centre, width


@njit(cache=True, nogil=True)
def remaining_gain(work: Any) -> float:
    """Chi squared that the next undamped step would remove if the model were linear."""
    left = work.projection[LINEAR:]
    return dot(left, left)


@njit(cache=True, nogil=True)
def noise_variance(work: Any, explained: float, settings: Any) -> float:
    """Variance of the weighted noise: 1 where it is known, else from the misfit at the present shape."""
    if settings.noise_is_known:
        return 1.0
    return float(max(dot(work.data, work.data) - explained, 0.0) / (work.data.size - COUNT))


@njit(cache=True, nogil=True)
def optimise(work: Any, start: Any, settings: Any) -> tuple[tuple[float, float, float], bool]:
    """Best shape from ``start``, and whether it converged; leaves the work arrays at that shape.

    Converged when the next step would be shorter than ``tolerance`` standard uncertainties in every direction,
    or when the limits or rounding allow no further one.
    """
    shape = start
    explained = misfit(work, shape, settings.edge_width)
    # a change this small in the explained square sum is rounding
    rounding = 1e-11 * dot(work.data, work.data)
    damping = 0.0
    for _ in range(settings.iterations):
        if explained < 0.0:
            return shape, False
        enough = settings.tolerance**2 * noise_variance(work, explained, settings) + rounding
        trial = moved(shape, shape_step(work, damping), work.linear, settings)
        change = max(abs(trial[0] - shape[0]), abs(trial[1] - shape[1]), abs(trial[2] - shape[2]))
        if remaining_gain(work) < enough or change < NEGLIGIBLE:
            return shape, True
        trial_explained = misfit(work, trial, settings.edge_width)
        if trial_explained >= explained:
            shape, explained = trial, trial_explained
            damping = damping * 0.1 if damping > 1e-3 else 0.0
        else:
            explained = misfit(work, shape, settings.edge_width)
            damping = max(10.0 * damping, 1e-2)
    return shape, False


@njit(cache=True, nogil=True)
def maximum_position(work: Any, shape: Any, edge_width: float) -> tuple[float, float]:
    """Energy and curvature of the fitted curve's maximum near the line centre; NaN if there is none.

    Newton steps on the derivative, from the centre of the line.
    """
    edge, centre, width = shape
    _, slope, jump, amplitude = work.linear
    position = centre
    for _ in range(30):
        x = (position - edge) / edge_width
        u = (position - centre) / width
        line = amplitude * math.exp(-0.5 * u * u)
        step_slope = jump / (math.pi * edge_width * (1.0 + x * x))
        first = slope + step_slope - line * u / width
        second = -2.0 * step_slope * x / (edge_width * (1.0 + x * x)) - line * (1.0 - u * u) / (width * width)
        if not second < 0.0 or abs(u) > 1.5:
            return math.nan, math.nan
        step = -first / second
        position += step
        if abs(step) < 1e-7:
            return position, second
    return math.nan, math.nan


@njit(cache=True, nogil=True)
def maximum_std(work: Any, shape: Any, edge_width: float, position: float, curvature: float) -> float:
    """Uncertainty of the maximum for unit noise: the length of L^-1 G, G its derivative to the parameters."""
    edge, centre, width = shape
    x = (position - edge) / edge_width
    u = (position - centre) / width
    line = math.exp(-0.5 * u * u)
    bell = 1.0 / (math.pi * edge_width * (1.0 + x * x))
    gradient = np.empty(COUNT)
    gradient[0] = 0.0
    gradient[1] = 1.0
    gradient[2] = bell
    gradient[3] = -line * u / width
    gradient[4] = 2.0 * bell * x / (edge_width * (1.0 + x * x))
    gradient[5] = line * (1.0 - u * u) / (width * width)
    gradient[6] = line * u * (2.0 - u * u) / (width * width)
    total = 0.0
    for k in range(COUNT):
        value = gradient[k]
        for i in range(k):
            value -= work.factor[k, i] * gradient[i]
        gradient[k] = value / work.factor[k, k]
        total += gradient[k] * gradient[k]
    return math.sqrt(total) / abs(curvature)


@njit(cache=True, nogil=True)
def smoothed_argmax(data: Array, weight: Array, reach: int) -> int:
    """Index of the highest running mean over ``2 reach + 1`` energies."""
    best, best_mean = 0, -math.inf
    for i in range(data.size):
        low, high = max(i - reach, 0), min(i + reach + 1, data.size)
        total = 0.0
        for j in range(low, high):
            total += data[j] / weight[j]
        if total / (high - low) > best_mean:
            best, best_mean = i, total / (high - low)
    return best


@njit(cache=True, nogil=True)
def load(work: Any, spectrum: Any, weight: Array) -> bool:
    """Weighted spectrum minus its mean into the work arrays; False if anything is not finite."""
    total = 0.0
    for i in range(spectrum.size):
        total += spectrum[i]
        if not (math.isfinite(spectrum[i]) and math.isfinite(weight[i])):
            return False
    for i in range(spectrum.size):
        work.weight[i] = weight[i]
        work.data[i] = weight[i] * (spectrum[i] - total / spectrum.size)
    return True


@njit(cache=True, nogil=True)
def residual_square_sum(work: Any) -> float:
    """Chi squared at the fitted parameters."""
    total = 0.0
    for i in range(work.data.size):
        rest = work.data[i]
        for k in range(LINEAR):
            rest -= work.linear[k] * work.columns[k, i]
        total += rest * rest
    return total


@njit(cache=True, nogil=True)
def edge_gain(work: Any) -> float:
    """Chi squared that edge and white line remove beyond a straight line."""
    edge_and_line = work.projection[2:LINEAR]
    return dot(edge_and_line, edge_and_line)


@njit(cache=True, nogil=True)
def verdict(work: Any, shape: Any, settings: Any, converged: bool, scale: float) -> int:
    """Flag of a fit; ``scale`` is the variance of the weighted noise."""
    if not (work.linear[2] > 0.0 and edge_gain(work) >= settings.significance**2 * scale):
        return NO_EDGE
    if not work.linear[3] > 0.0:
        return NO_MAXIMUM
    distance = shape[1] - shape[0]
    for value, limits in (
        (shape[1], settings.centre_limits),
        (distance, settings.distance_limits),
        (shape[2], settings.width_limits),
    ):
        if min(value - limits[0], limits[1] - value) < NEGLIGIBLE:
            return AT_LIMIT
    return GOOD if converged else NO_CONVERGENCE


@njit(cache=True, nogil=True)
def hopeless(work: Any, settings: Any, reduced: float) -> bool:
    """Whether so little of the misfit is removed that another start is not worth while."""
    scale = 1.0 if settings.noise_is_known else reduced
    return bool(4.0 * edge_gain(work) < settings.significance**2 * scale)


@njit(cache=True, nogil=True)
def fit_loaded(work: Any, settings: Any, restart: int) -> tuple[int, float, float, float, Any]:
    """Flag, energy, its uncertainty, reduced chi squared and shape of the spectrum in the work arrays.

    Restarts smooth more to find the line and begin with a narrower, then a wider one.
    """
    factor = (1.0, 0.6, 1.5)[restart]
    centre = work.energy[smoothed_argmax(work.data, work.weight, 1 + restart)]
    start = (
        centre - limited(factor * settings.start_edge_distance, settings.distance_limits),
        centre,
        limited(factor * settings.start_line_width, settings.width_limits),
    )
    shape, converged = optimise(work, start, settings)
    if work.dependent[0]:
        return NO_CONVERGENCE, math.nan, math.nan, math.nan, shape
    reduced = residual_square_sum(work) / (work.data.size - COUNT)
    scale = 1.0 if settings.noise_is_known else reduced
    flag = verdict(work, shape, settings, converged, scale)
    position, curvature = maximum_position(work, shape, settings.edge_width)
    std = maximum_std(work, shape, settings.edge_width, position, curvature) * math.sqrt(scale)
    if flag == GOOD and not math.isfinite(position):
        flag = NO_MAXIMUM
    elif flag == GOOD and not settings.centre_limits[0] < position < settings.centre_limits[1]:
        flag = AT_LIMIT
    return flag, position, std, reduced, shape


@njit(cache=True, nogil=True)
def store(parameters: Array, work: Any, shape: Any, mean: float) -> None:
    """Parameters of one spectrum, the subtracted mean put back into the offset."""
    parameters[0] = work.linear[0] + mean
    for k in range(1, LINEAR):
        parameters[k] = work.linear[k]
    for k in range(3):
        parameters[LINEAR + k] = shape[k]


@njit(cache=True, nogil=True)
def fit_spectra(spectra: Any, energy: Array, weight: Array, settings: Any) -> Any:
    """Fit every spectrum.

    Parameters
    ----------
    spectra
        [spectrum, energy].
    energy
        Relative to its mean, eV, [energy].
    weight
        One over the noise, [1, energy] or [spectrum, energy].
    settings
        What all spectra share.

    Returns
    -------
    tuple
        Energy of the maximum, its uncertainty, flag, reduced chi squared, parameters.
    """
    n = spectra.shape[0]
    position, std, chi2 = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    flag = np.full(n, NON_FINITE, dtype=np.int8)
    parameters = np.full((n, COUNT), np.nan)
    work = new_work(energy)
    for i in range(n):
        if not load(work, spectra[i], weight[i if weight.shape[0] > 1 else 0]):
            continue
        for restart in range(3):
            flag[i], position[i], std[i], chi2[i], shape = fit_loaded(work, settings, restart)
            if flag[i] == GOOD or hopeless(work, settings, chi2[i]):
                break
        if math.isfinite(chi2[i]):
            store(parameters[i], work, shape, np.mean(spectra[i]))
    return position, std, flag, chi2, parameters
