"""Activation energy, path and end state of the release of oxygen, from the white line by depth through temperature.

The white line of sample j at a hold of temperature T, in a shell at depth d, is

    W = W_j - [s r_1 + b r_2 + c r_3](d, T; E, tau_j, skin_j, levelling_j)

with the responses of `release`: r_1 to a gas that takes up the whole loss, r_2 to one that takes up T - T_ref of it,
r_3 to one that takes up the square. s (eV) is the drop of what has turned completely at T_ref, b (eV/K) what a kelvin
more adds, and c (eV/K²) its bend: the end state. E, s, b and c are chemistry and shared; the charged line W_j and the
path are the sample's own. Paths are told by the mean release
time tau_j at T_ref: where diffusion or rows of boundaries limit, time goes with the square of the path, so sqrt(tau_i /
tau_j) is the ratio of two paths. The diffusivity itself, hence a path in micrometres, cannot be told from such maps.

What a radial model leaves out is a discrepancy: independent errors of all means with a common standard deviation, found
along with the rest (half-normal before, `Choices.discrepancy`), and of the shells with a fixed one.

W_j, s, b and c enter linearly and are integrated exactly. The others may be known from one side only, with plateaus
where a sample has turned completely; there neither a covariance matrix nor a random walk is to be trusted. So a cloud
of points is led from the prior (uniform in E, log tau, skin, levelling; times what `Choices.expected` says of E) to the
posterior in steps of a rising exponent, resampled and moved by differences of its own points (Del Moral, Doucet &
Jasra, J. R. Stat. Soc. B 68, 411 (2006); ter Braak, Stat. Comput. 16, 239 (2006)): what is not identified keeps its
prior width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from cathoscope.relate.release import POWERS, Programme
from cathoscope.relate.release_table import Ranges, Table, release_table

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

SHELLS_LEFT_OUT = 0.03
"""Standard deviation (eV) of what a radial model leaves out of the differences between shells."""

OWN = 3  # unknowns of a sample that enter non-linearly: release time, skin, levelling
_SHARED = 2  # activation energy, discrepancy
_PRIOR_OF_END = np.array([[1.5, 1.5], [0.0, 0.01], [0.0, 1e-5]])  # mean, standard deviation: s, b, c in eV and K
_PRIOR_OF_LINE = 5.0  # eV, standard deviation of the charged line about the first mean


@dataclass(frozen=True)
class Heated:
    """The white line of one sample at all holds.

    Attributes
    ----------
    name
        Of the sample.
    mean, mean_std
        Mean over the particle (hold,) and the uncertainty that its shells have in common, eV.
    depth, volume
        Depth (um) and volume (any unit) of the shells, (shell,).
    profile, profile_std
        Means of the shells (hold, shell) and what is their own uncertainty, noise and sampling of domains; NaN if none.
    correlation_length
        1/e distance (um) over which errors of shells are alike.
    radius, core
        Of the particle and its hollow, open core, um; 0 for none.
    """

    name: str
    mean: Floats
    mean_std: Floats
    depth: Floats
    volume: Floats
    profile: Floats
    profile_std: Floats
    correlation_length: float
    radius: float
    core: float = 0.0


@dataclass(frozen=True)
class Choices:
    """What a fit takes for granted: reference (degC), what is looked at, discrepancy (eV), size of the cloud, seed.

    ``expected`` is what is known beforehand of the activation energy (eV), mean and standard deviation; None: nothing.
    """

    reference: float = 150.0
    ranges: Ranges = field(default_factory=Ranges)
    discrepancy: float = 0.03
    points: int = 1000
    seed: int = 0
    expected: tuple[float, float] | None = None


@dataclass(frozen=True)
class Contrasts:
    """Independent combinations (hold, combination, shell) of shells without their mean, values, variances."""

    basis: Floats
    value: Floats
    variance: Floats


@dataclass(frozen=True)
class Problem:
    """Samples with their tables; ``used`` holds are fitted; ``one_path`` gives all samples the own unknowns of one."""

    samples: tuple[Heated, ...]
    tables: tuple[Table, ...]
    contrasts: tuple[Contrasts, ...]
    used: Indices
    choices: Choices
    one_path: bool = False

    @property
    def size(self) -> int:
        """Number of unknowns that enter non-linearly."""
        return _SHARED + OWN * len(self.samples)

    @property
    def free(self) -> int:
        """Number of all unknowns."""
        return self.size + len(self.samples) + POWERS - (OWN * (len(self.samples) - 1) if self.one_path else 0)

    def data(self) -> int:
        """Number of measured values that are fitted."""
        return sum(self.used.size + int(np.isfinite(each.variance[self.used]).sum()) for each in self.contrasts)

    def own(self, cube: Floats, sample: int) -> Floats:
        """Activation energy and the three of a sample, (n, 4), as its table wants them."""
        start = _SHARED + (0 if self.one_path else OWN * sample)
        return cube[:, [0, start, start + 1, start + 2]]

    def activation_energy(self, cube: Floats) -> Floats:
        """eV, (n,)."""
        low, high = self.choices.ranges.activation_energy
        return np.asarray(low + cube[:, 0] * (high - low))

    def discrepancy(self, cube: Floats) -> Floats:
        """Standard deviation (n,) of what the model leaves out, eV."""
        return np.asarray(self.choices.discrepancy * ndtri(0.5 + 0.5 * np.clip(cube[:, 1], 0.0, 1 - 1e-6)))


def problem_of(samples: Sequence[Heated], programme: Programme, choices: Choices) -> Problem:
    """Tabulate the releases of all samples; samples of one shape share a table."""
    tables: dict[tuple[object, ...], Table] = {}
    found = []
    for sample in samples:
        key = (sample.radius, sample.core, tuple(sample.depth))
        if key not in tables:
            tables[key] = release_table(
                sample.radius,
                sample.core,
                list(sample.depth),
                programme,
                reference=choices.reference,
                ranges=choices.ranges,
            )
        found.append(tables[key])
    holds = np.arange(len(samples[0].mean))
    return Problem(tuple(samples), tuple(found), tuple(map(contrasts_of, samples)), holds, choices)


def contrasts_of(sample: Heated) -> Contrasts:
    """Combinations of the shells with independent errors, orthogonal to the mean over the particle."""
    holds, shells = sample.profile.shape
    basis = np.zeros((holds, shells, shells))
    value, variance = np.zeros((holds, shells)), np.full((holds, shells), np.inf)
    apart = np.abs(sample.depth[:, None] - sample.depth)
    alike = np.exp(-apart / max(sample.correlation_length, 1e-9))
    for hold in range(holds):
        known = np.flatnonzero(np.isfinite(sample.profile[hold]) & np.isfinite(sample.profile_std[hold]))
        if known.size < 2:
            continue
        share = sample.volume[known] / sample.volume[known].sum()
        without_mean = np.eye(known.size) - share
        std = sample.profile_std[hold, known]
        spread = without_mean @ (alike[np.ix_(known, known)] * std[:, None] * std) @ without_mean.T
        plane = np.linalg.svd(without_mean)[0][:, : known.size - 1]
        values, vectors = np.linalg.eigh(plane.T @ spread @ plane)
        rows = (plane @ vectors).T @ without_mean
        basis[hold, : known.size - 1][:, known] = rows
        value[hold, : known.size - 1] = rows @ sample.profile[hold, known]
        variance[hold, : known.size - 1] = np.maximum(values, 0.0)
    return Contrasts(basis, value, variance)


@dataclass(frozen=True)
class Linear:
    """Charged lines and end state given the rest: precision (n, m, m), its product with the mean, log likelihood.

    ``marginal`` is integrated over them, ``best`` at their least-squares values.
    """

    precision: Floats
    moment: Floats
    marginal: Floats
    best: Floats


def linear_part(problem: Problem, cube: Floats) -> Linear:
    """Solve for what enters linearly at points (n, unknown) of the unit cube."""
    count, samples = len(cube), len(problem.samples)
    size = samples + POWERS
    noise = problem.discrepancy(cube) ** 2
    precision, moment = np.zeros((count, size, size)), np.zeros((count, size))
    square, logs = np.zeros(count), np.zeros(count)
    for index, sample in enumerate(problem.samples):
        rows, value, variance = _rows(problem, index, cube)
        left_out = np.full((count, variance.size), SHELLS_LEFT_OUT**2)
        left_out[:, : problem.used.size] = noise[:, None]
        weight = 1.0 / (variance + left_out)
        shift = float(sample.mean[0])  # of the charged line, for rounding
        value = value - np.where(rows[0, :, index] != 0, shift, 0.0)
        precision += np.einsum("nki,nk,nkj->nij", rows, weight, rows, optimize=True)
        moment += np.einsum("nki,nk,k->ni", rows, weight, value, optimize=True)
        square += weight @ (value**2)
        logs -= np.log(weight).sum(axis=1)
    return _solved(precision, moment, square + logs)


def _rows(problem: Problem, index: int, cube: Floats) -> tuple[Floats, Floats, Floats]:
    """Design (n, data, linear unknown), values and variances (data,) of one sample's fitted holds."""
    sample, contrasts, used = problem.samples[index], problem.contrasts[index], problem.used
    mean, shells = problem.tables[index].at(problem.own(cube, index))
    known = np.isfinite(contrasts.variance[used])
    combined = -np.einsum("hcd,nhdb->nhcb", contrasts.basis[used], shells[:, used], optimize=True)[:, known]
    rows = np.zeros((len(cube), used.size + combined.shape[1], len(problem.samples) + POWERS))
    rows[:, : used.size, index] = 1.0
    rows[:, : used.size, -POWERS:] = -mean[:, used]
    rows[:, used.size :, -POWERS:] = combined
    value = np.concatenate([sample.mean[used], contrasts.value[used][known]])
    variance = np.concatenate([sample.mean_std[used] ** 2, contrasts.variance[used][known]])
    return rows, value, variance


def _solved(precision: Floats, moment: Floats, rest: Floats) -> Linear:
    """Marginal and best log likelihood from the normal equations; ``rest`` is y'y/s² + sum of log s²."""
    size = moment.shape[1]
    prior = np.full(size, _PRIOR_OF_LINE**-2.0)
    prior[-POWERS:] = _PRIOR_OF_END[:, 1] ** -2.0
    centre = np.zeros(size)
    centre[-POWERS:] = _PRIOR_OF_END[:, 0]
    faint = precision + np.diag(1e-9 * prior)
    best = -0.5 * (rest - np.einsum("ni,ni->n", moment, np.linalg.solve(faint, moment[..., None])[..., 0]))
    precision = precision + np.diag(prior)
    moment = moment + prior * centre
    inside = np.einsum("ni,ni->n", moment, np.linalg.solve(precision, moment[..., None])[..., 0])
    marginal = -0.5 * (rest - inside + np.linalg.slogdet(precision)[1])
    return Linear(precision, moment, marginal, best)


@dataclass(frozen=True)
class Cloud:
    """Equally likely points (n, unknown) of the unit cube, and draws (n, linear unknown) of what enters linearly."""

    problem: Problem
    cube: Floats
    linear: Floats

    @property
    def activation_energy(self) -> Floats:
        """eV, (n,)."""
        return self.problem.activation_energy(self.cube)

    def log_release_time(self, sample: int) -> Floats:
        """Natural logarithm of tau in s, (n,)."""
        low, high = np.log(self.problem.choices.ranges.release_time)
        return np.asarray(low + self.problem.own(self.cube, sample)[:, 1] * (high - low))

    def predicted(self, sample: int) -> tuple[Floats, Floats]:
        """White line of the mean (n, hold) and of the shells (n, hold, shell), eV, without errors of measurement."""
        mean, shells = self.problem.tables[sample].at(self.problem.own(self.cube, sample))
        volume = self.problem.samples[sample].volume
        share = volume / volume.sum()
        drop = self.linear[:, -POWERS:]
        line = self.linear[:, sample, None] - np.einsum("nhb,nb->nh", mean, drop)
        field = -np.einsum("nhdb,nb->nhd", shells, drop)
        return line, line[..., None] + field - (field @ share)[..., None]


def _likelihood(problem: Problem, cube: Floats) -> Floats:
    """Its logarithm at points of the unit cube, with what is known beforehand of the activation energy."""
    found = linear_part(problem, cube).marginal
    if problem.choices.expected is None:
        return found
    mean, std = problem.choices.expected
    return found - 0.5 * ((problem.activation_energy(cube) - mean) / std) ** 2


def fitted(problem: Problem) -> Cloud:
    """Lead a cloud of points from the prior to the posterior; see the head of the module."""
    rng = np.random.default_rng(np.random.SeedSequence([problem.choices.seed, 20]))
    cube = rng.random((problem.choices.points, problem.size))
    found = _likelihood(problem, cube)
    exponent = 0.0
    while exponent < 1.0:
        rise = _rise(found, 1.0 - exponent)
        exponent += rise
        chosen = _resampled(rise * found, rng)
        cube, found = cube[chosen], found[chosen]
        for _ in range(_MOVES if exponent < 1 else 2 * _MOVES):
            cube, found = _moved(problem, cube, found, exponent, rng)
    part = linear_part(problem, cube)
    covariance = np.linalg.inv(part.precision)
    centre = np.einsum("nij,nj->ni", covariance, part.moment)
    roots = np.linalg.cholesky(covariance)
    drawn = centre + np.einsum("nij,nj->ni", roots, rng.standard_normal(centre.shape))
    drawn[:, : len(problem.samples)] += [sample.mean[0] for sample in problem.samples]
    return Cloud(problem, cube, drawn)


_MOVES = 6


def _rise(found: Floats, most: float) -> float:
    """The rise of the exponent that leaves half of the cloud effective."""

    def effective(rise: float) -> float:
        """Share of the points that count."""
        weight = np.exp(rise * (found - found.max()))
        return float(weight.sum() ** 2 / (weight**2).sum() / found.size)

    if effective(most) >= 0.5:
        return most
    low, high = 0.0, most
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if effective(middle) >= 0.5 else (low, middle)
    return max(low, 1e-9)


def _resampled(logs: Floats, rng: np.random.Generator) -> Indices:
    """Systematic resampling."""
    weight = np.exp(logs - logs.max())
    places = (np.arange(logs.size) + rng.random()) / logs.size
    return np.asarray(np.minimum(np.searchsorted(np.cumsum(weight) / weight.sum(), places), logs.size - 1))


def _moved(
    problem: Problem, cube: Floats, found: Floats, exponent: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """One Metropolis step of every point along the difference of two others, reflected at the walls of the cube."""
    count, size = cube.shape
    first, second = (rng.integers(0, count, count) for _ in range(2))
    some = rng.random((count, size)) < rng.choice([0.3, 1.0], count)[:, None]
    length = rng.choice([1.0, 0.5, 0.15], count)[:, None] * 2.38 / np.sqrt(2 * size)
    step = length * (cube[first] - cube[second]) + 1e-3 * rng.standard_normal(cube.shape)
    tried = np.abs(np.where(some, cube + step, cube)) % 2.0
    tried = np.where(tried > 1.0, 2.0 - tried, tried)
    new = _likelihood(problem, tried)
    taken = np.log(rng.random(count)) < exponent * (new - found)
    return np.where(taken[:, None], tried, cube), np.where(taken, new, found)


def highest(cloud: Cloud) -> float:
    """Largest log likelihood with all unknowns free, up to a constant: the cloud drawn together around its best."""
    problem, cube = cloud.problem, cloud.cube
    found = linear_part(problem, cube).best
    best, value = cube[int(np.argmax(found))], float(found.max())
    for share in (0.5, 0.5, 0.25, 0.12, 0.06, 0.03):
        tried = np.clip(best + share * (cube - best), 0.0, 1.0)
        found = linear_part(problem, tried).best
        if found.max() > value:
            best, value = tried[int(np.argmax(found))], float(found.max())
    return value


def aicc_of(clouds: Sequence[Cloud]) -> float:
    """Akaike's criterion for few data, of fits that together describe all data.

    -2 ln L + 2 k n / (n - k - 1); Hurvich & Tsai, Biometrika 76, 297 (1989). Infinite if n does not exceed k + 1.
    """
    data = sum(cloud.problem.data() for cloud in clouds)
    free = sum(cloud.problem.free for cloud in clouds)
    if data <= free + 1:
        return float("inf")
    return -2 * sum(map(highest, clouds)) + 2 * free * data / (data - free - 1)


def without(problem: Problem, hold: int) -> Problem:
    """The same problem with one hold left out of all samples: they went through it, but nobody looked."""
    return replace(problem, used=problem.used[problem.used != hold])


def alone(problem: Problem, sample: int) -> Problem:
    """The same problem of one sample, with a chemistry of its own."""
    return replace(
        problem,
        samples=(problem.samples[sample],),
        tables=(problem.tables[sample],),
        contrasts=(problem.contrasts[sample],),
        one_path=False,
    )
