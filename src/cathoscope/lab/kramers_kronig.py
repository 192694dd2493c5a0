r"""Whether a spectrum obeys the Kramers-Kronig relations: a linear, causal and stable cell that did not change.

A chain of resistor-capacitor pairs obeys them whatever its resistances, negative ones included:

.. math:: \hat Z(w) = R_0 + \sum_{k=1}^{M} \frac{R_k}{1 + jw\tau_k} + jwL + \frac{1}{jwC}

with :math:`\tau_k` evenly spaced in the logarithm. It is linear, so that least squares of (Z - Z^)/|Z| need no search.
M is where the corrected Akaike criterion stops to fall (the elbow of chi square), or where
:math:`\mu = 1 - \sum_{R_k<0}|R_k| / \sum_{R_k \ge 0}|R_k|` falls to a limit [2], half the points at most.

The gate has two tests of what is left over, since the size of residuals alone misses a slow drift: the likeness of
neighbours (`residual_tests`), and a drift of the whole impedance, :math:`Z (1 + d x)` with x from 0 to 1 along the
sweep, fitted beside the chain and compared with its uncertainty. The point that is farthest off is told as well, and
the chance of it; it does not count, since noise of real spectra is seldom the same at all frequencies.

References
----------
.. [1] B. A. Boukamp, J. Electrochem. Soc. 142 (1995) 1885.
.. [2] M. Schoenleber, D. Klotz, E. Ivers-Tiffee, Electrochim. Acta 131 (2014) 20.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr

from cathoscope.core.errors import MeasurementError
from cathoscope.lab.impedance_spectrum import Array, ComplexArray, Spectrum, checked_spectrum
from cathoscope.lab.residual_tests import Runs, chance_of_neighbours, runs_of_signs
from cathoscope.numerics.estimate import Estimate

Choice = Literal["elbow", "mu"]

_FEWEST = 10  # points
_SHARE = {"elbow": 0.9, "mu": 0.5}  # of the points, that the chain has at most
_MOST = 40  # pairs
_EXACT = 1e-9  # residual that is none
_SINGULAR = 1e-10  # smallest singular value, relative
_REACH = 1.0  # by which, in the logarithm, time constants go beyond the frequencies, for the elbow
_CHANCE = 0.01  # of each test, below which the spectrum does not pass


@dataclass(frozen=True)
class KramersKronig:
    """A spectrum against the chain that obeys the relations.

    Attributes
    ----------
    spectrum
        By falling frequency.
    fitted
        Impedance of the chain, ohm, [point].
    pairs
        M.
    mu
        1 where no resistance is negative.
    noise
        Standard deviation of the real and of the imaginary residuals, over the modulus.
    drift
        d, positive where the impedance grows from the first point of the sweep to the last.
    runs
        Of the signs of the real and of the imaginary residuals.
    chance_of_neighbours, chance_of_drift, chance_of_point
        That a spectrum which obeys gives such residuals.
    farthest
        Number of the point with the largest residual against the noise of all others.
    tolerance
        Deviations, over the modulus, that do not count even if they are sure.
    """

    spectrum: Spectrum
    fitted: ComplexArray
    pairs: int
    mu: float
    noise: float
    drift: Estimate
    runs: tuple[Runs, Runs]
    chance_of_neighbours: float
    chance_of_drift: float
    chance_of_point: float
    farthest: int
    tolerance: float = 0.0

    @property
    def residual(self) -> ComplexArray:
        """Measured less fitted, over the measured modulus, [point]."""
        return (self.spectrum.impedance - self.fitted) / np.abs(self.spectrum.impedance)

    @property
    def largest_residual(self) -> float:
        """Of both parts, over the modulus."""
        return float(max(np.abs(self.residual.real).max(), np.abs(self.residual.imag).max()))

    @property
    def passes(self) -> bool:
        """Whether nothing speaks against the relations."""
        return not self.reasons

    @property
    def reasons(self) -> tuple[str, ...]:
        """What speaks against them."""
        reasons = []
        if self.chance_of_drift < _CHANCE and abs(self.drift.value) > self.tolerance:
            value, error = 100.0 * self.drift.value, 100.0 * self.drift.std
            reasons.append(f"the impedance drifted by {value:+.1f} +- {error:.1f} % during the sweep")
        if self.chance_of_neighbours < _CHANCE and self.noise > self.tolerance:
            size = f"{100.0 * self.noise:.2g} % of the modulus"
            reasons.append(f"residuals of {size} are not random (chance {self.chance_of_neighbours:.1g})")
        return tuple(reasons)


def kramers_kronig(
    *,
    frequency: ArrayLike,
    impedance: ArrayLike,
    choice: Choice | int = "elbow",
    limit: float = 0.85,
    rising: bool = False,
    tolerance: float = 0.0,
) -> KramersKronig:
    """The linear Kramers-Kronig test of a spectrum.

    Parameters
    ----------
    frequency, impedance
        Hz and ohm (complex), [point].
    choice
        How the number of pairs is found: ``elbow``, ``mu``, or the number.
    limit
        Of mu.
    rising
        Whether the sweep went from low to high frequencies; it tells the sign of the drift.
    tolerance
        Deviations, over the modulus, that do not count: very precise spectra of real cells deviate by 0.1 to 0.5 %.

    Raises
    ------
    MeasurementError
        If there are fewer than 10 points, or the spectrum cannot be one.
    """
    spectrum = checked_spectrum(frequency, impedance, fewest=_FEWEST)
    if spectrum.frequency[0] <= spectrum.frequency[-1]:
        raise MeasurementError("the spectrum has a single frequency", found=f"{spectrum.frequency[0]:g} Hz")
    chain = _chosen(spectrum, choice, limit)
    drift, chance = _drift(spectrum, chain, rising)
    free = chain.residual.size - chain.basis.shape[1]
    farthest, chance_of_point = _farthest(chain)
    both = chain.residual.reshape(2, -1)
    return KramersKronig(
        spectrum,
        chain.fitted,
        chain.pairs,
        chain.mu,
        float(np.sqrt(chain.residual @ chain.residual / free)),
        drift,
        (runs_of_signs(both[0]), runs_of_signs(both[1])),
        chance_of_neighbours(chain.residual, chain.basis),
        chance,
        chance_of_point,
        farthest,
        tolerance,
    )


class _Chain(NamedTuple):
    """A fitted chain: pairs, mu, its impedance, weighted residuals [2 x point], orthonormal columns of the fit."""

    pairs: int
    mu: float
    fitted: ComplexArray
    residual: Array
    basis: Array


def _chosen(spectrum: Spectrum, choice: Choice | int, limit: float) -> _Chain:
    if isinstance(choice, int):
        return _chain(spectrum, choice, 0.0)
    most = min(_MOST, int(_SHARE[choice] * spectrum.frequency.size))
    if choice == "mu":
        for pairs in range(2, most + 1):
            chain = _chain(spectrum, pairs, 0.0)
            if chain.mu <= limit:
                break
        return chain
    return min((_chain(spectrum, pairs, _REACH) for pairs in range(3, most + 1, 2)), key=_akaike)


def _akaike(chain: _Chain) -> float:
    total, count = chain.residual.size, chain.basis.shape[1] + 1
    square = max(float(chain.residual @ chain.residual), 1e-30)
    rest = total - count - 1
    return total * np.log(square / total) + 2.0 * count * (1.0 + (count + 1) / rest) if rest > 0 else np.inf


def _chain(spectrum: Spectrum, pairs: int, reach: float) -> _Chain:
    """The chain of so many pairs that fits best; time constants ``reach`` beyond the frequencies."""
    omega, size = spectrum.omega, np.abs(spectrum.impedance)
    tau = np.exp(np.linspace(-np.log(omega[0]) - reach, -np.log(omega[-1]) + reach, pairs))
    columns = np.empty((omega.size, pairs + 3), np.complex128)
    columns[:, :pairs] = 1.0 / (1.0 + 1j * omega[:, None] * tau)
    columns[:, pairs], columns[:, pairs + 1], columns[:, pairs + 2] = 1.0, 1j * omega, -1j / omega
    weighted = _parts(columns / size[:, None])
    length = np.linalg.norm(weighted, axis=0)
    basis, singular, back = np.linalg.svd(weighted / length, full_matrices=False)
    known = singular > _SINGULAR * singular[0]
    basis = basis[:, known]
    measured = _parts(spectrum.impedance / size)
    along = basis.T @ measured
    values = (back[known].T @ (along / singular[known])) / length
    negative = -values[:pairs][values[:pairs] < 0].sum()
    positive = values[:pairs][values[:pairs] >= 0].sum()
    mu = 1.0 - negative / positive if positive > 0 else 0.0
    return _Chain(pairs, float(mu), columns @ values, measured - basis @ along, basis)


def _drift(spectrum: Spectrum, chain: _Chain, rising: bool) -> tuple[Estimate, float]:
    """Growth of the impedance along the sweep, fitted beside the chain, and the chance of one as large."""
    along = np.linspace(1.0, 0.0, spectrum.frequency.size) if rising else np.linspace(0.0, 1.0, spectrum.frequency.size)
    column = _parts(along * chain.fitted / np.abs(spectrum.impedance))
    column -= chain.basis @ (chain.basis.T @ column)
    square, free = float(column @ column), chain.residual.size - chain.basis.shape[1] - 1
    if square <= 0.0 or free < 1:
        return Estimate(float("nan"), float("inf")), 1.0
    value = float(column @ chain.residual) / square
    left = max(float(chain.residual @ chain.residual) - value**2 * square, 0.0)
    std = float(np.sqrt(left / free / square))
    return Estimate(value, std), float(2.0 * stdtr(free, -abs(value) / std)) if std > 0 else 0.0


def _farthest(chain: _Chain) -> tuple[int, float]:
    """The point whose residual is farthest from zero for its noise, and the chance of one as far among all."""
    free = chain.residual.size - chain.basis.shape[1]
    left = np.maximum(1.0 - np.sum(chain.basis**2, axis=1), 1e-9)
    square = chain.residual**2 / left
    rest = np.maximum(float(chain.residual @ chain.residual) - square, 1e-300) / (free - 1)
    far = np.sqrt(square / rest)
    place = int(np.argmax(far))
    chance = float(min(1.0, far.size * 2.0 * stdtr(free - 1, -far[place])))
    return place % (far.size // 2), chance if float(np.abs(chain.residual).max()) > _EXACT else 1.0


def _parts(values: ComplexArray) -> Array:
    """Real, then imaginary parts, along the first axis."""
    return np.concatenate([values.real, values.imag])
