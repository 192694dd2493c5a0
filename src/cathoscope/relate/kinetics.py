"""What the white line through temperature tells of the release of oxygen: energy, paths, and a left-out temperature.

The model and how it is fitted stand in `release_fit`, its equations and their solution in `release`.

The samples are fitted together (one chemistry, a path for each), each alone (a chemistry of its own), and together with
one path; Akaike's criterion says which description the data ask for. Every hold after the first is left out once: the
particle went through it, but the fit does not see it. What the predictions of these holds lack beyond their own
intervals is the discrepancy of the model; where it exceeds the one that was expected, the final fit expects it.
A prediction may use what is known of the activation energy beforehand (`Choices.expected`); what is found of energies,
times and paths does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.parallel import Progress, Silent
from cathoscope.relate.left_out import (
    LEVELS,
    Bounds,
    bounds_of,
    central,
    discrepancy_from_residuals,
    normal_interval,
    straight_line,
)
from cathoscope.relate.release import Programme
from cathoscope.relate.release_fit import (
    SHELLS_LEFT_OUT,
    Choices,
    Cloud,
    Heated,
    Problem,
    aicc_of,
    alone,
    contrasts_of,
    fitted,
    linear_part,
    problem_of,
    without,
)

Floats = NDArray[np.float64]

MODELS = ("one chemistry, a path for each sample", "each sample alone", "one chemistry and one path")
_SHELL_LEVEL = LEVELS[0]
_FINAL = 4  # times as many points as where something is left out: limits are read off a histogram


@dataclass(frozen=True)
class Prediction:
    """One sample at a hold that was left out; eV.

    ``interval`` and ``straight`` (level, 2) are central intervals of the measured mean by the model and by a straight
    line between the neighbours (NaN at the last hold); ``profile`` (2, shell) is the 68 % interval of the shells.
    """

    sample: int
    hold: int
    median: float
    std: float
    interval: Floats
    straight_value: float
    straight: Floats
    profile: Floats


@dataclass(frozen=True)
class Kinetics:
    """What was found; see the head of the module.

    Attributes
    ----------
    cloud
        The fit of all samples together.
    energy, energy_alone
        Activation energy, eV, of all samples and of each alone.
    energy_shift
        What the median of the energy adds to the truth, eV, see `shift_of_energy`; NaN unless bounded on both sides.
    log_time
        Natural logarithm of each sample's mean release time (s) at the reference temperature.
    log_path
        Natural logarithm of each sample's path over that of the first.
    criterion
        Akaike's, of `MODELS`.
    predictions
        Of all samples at all holds but the first.
    discrepancy
        What predictions of left-out holds lacked, eV.
    """

    cloud: Cloud
    energy: Bounds
    energy_alone: tuple[Bounds, ...]
    energy_shift: float
    log_time: tuple[Bounds, ...]
    log_path: tuple[Bounds, ...]
    criterion: Floats
    predictions: tuple[Prediction, ...]
    discrepancy: float


def kinetics(
    samples: Sequence[Heated],
    temperature: Sequence[float],
    programme: Programme,
    choices: Choices,
    *,
    progress: Progress | None = None,
) -> Kinetics:
    """Fit ``samples`` that went through the same holds at ``temperature`` (degC), and predict what is left out."""
    progress = progress or Silent()
    progress.start("kinetics", len(temperature) + len(samples) + 2, "fit")
    problem = problem_of(samples, programme, choices)
    predictions: list[Prediction] = []
    for hold in range(1, len(temperature)):
        predictions += predicted(problem, hold, temperature)
        progress.advance()
    lacking = _lacking(samples, predictions)
    told = replace(choices, discrepancy=max(lacking, choices.discrepancy), expected=None)
    problem = replace(problem, choices=told)
    cloud = fitted(replace(problem, choices=replace(told, points=_FINAL * choices.points)))
    progress.advance()
    single = []
    for index in range(len(samples)):
        single.append(fitted(alone(problem, index)))
        progress.advance()
    together = fitted(replace(problem, one_path=True))
    progress.advance()
    energy = _energy(cloud)
    shift = shift_of_energy(cloud, choices.points) if all(energy.bounded) else float("nan")
    progress.finish()
    return Kinetics(
        cloud=cloud,
        energy=energy,
        energy_alone=tuple(map(_energy, single)),
        energy_shift=shift,
        log_time=tuple(_log_time(cloud, index) for index in range(len(samples))),
        log_path=tuple(_log_path(cloud, index) for index in range(len(samples))),
        criterion=np.array([aicc_of([cloud]), aicc_of(single), aicc_of([together])]),
        predictions=tuple(predictions),
        discrepancy=lacking,
    )


def _energy(cloud: Cloud) -> Bounds:
    return bounds_of(cloud.activation_energy, *cloud.problem.choices.ranges.activation_energy)


def shift_of_energy(cloud: Cloud, points: int) -> float:
    """By how much the median of the energy exceeds the truth, eV, where the truth is one of the ``cloud``.

    What the likeliest point of the middle half of the energies shows without any error of measurement is fitted by a
    cloud of ``points``. Skins trade with the energy and are not negative: their mean over all that is possible lies
    above what made the data, and takes the energy along.
    """
    energy = cloud.activation_energy
    low, high = np.quantile(energy, [0.25, 0.75])
    near = np.flatnonzero((energy >= low) & (energy <= high))
    best = near[int(np.argmax(linear_part(cloud.problem, cloud.cube[near]).marginal))]
    one = replace(cloud, cube=cloud.cube[[best]], linear=cloud.linear[[best]])
    problem = cloud.problem
    made = []
    for index, sample in enumerate(problem.samples):
        (mean,), (profile,) = one.predicted(index)
        made.append(replace(sample, mean=mean, profile=np.where(np.isfinite(sample.profile), profile, np.nan)))
    again = fitted(
        replace(
            problem,
            samples=tuple(made),
            contrasts=tuple(map(contrasts_of, made)),
            choices=replace(problem.choices, points=points),
        )
    )
    return float(np.median(again.activation_energy) - one.activation_energy[0])


def _log_time(cloud: Cloud, sample: int) -> Bounds:
    low, high = np.log(cloud.problem.choices.ranges.release_time)
    return bounds_of(cloud.log_release_time(sample), low, high)


def _log_path(cloud: Cloud, sample: int) -> Bounds:
    """The path over that of the first sample.

    Where one of the two times is known, the ratio was looked for as far as the range of the other goes, evenly; where
    none is, the difference of two even priors is a triangle.
    """
    low, high = np.log(cloud.problem.choices.ranges.release_time)
    own, first = cloud.log_release_time(sample), cloud.log_release_time(0)
    if sample == 0:
        return bounds_of(np.zeros(1), (low - high) / 2, (high - low) / 2)
    own_known, first_known = (all(_log_time(cloud, each).bounded) for each in (sample, 0))
    if own_known and not first_known:
        return bounds_of((own - first) / 2, (np.median(own) - high) / 2, (np.median(own) - low) / 2)
    if first_known and not own_known:
        return bounds_of((own - first) / 2, (low - np.median(first)) / 2, (high - np.median(first)) / 2)
    prior = np.maximum(high - low - np.abs(own - first), 0.02 * (high - low))
    return bounds_of((own - first) / 2, (low - high) / 2, (high - low) / 2, prior)


def predicted(problem: Problem, hold: int, temperature: Sequence[float]) -> list[Prediction]:
    """All samples at a ``hold`` that none of them shows to the fit."""
    cloud = fitted(without(problem, hold))
    rng = np.random.default_rng(np.random.SeedSequence([problem.choices.seed, 21, hold]))
    left_out = problem.discrepancy(cloud.cube) * rng.standard_normal(len(cloud.cube))
    found = []
    for index, sample in enumerate(problem.samples):
        mean, shells = cloud.predicted(index)
        draws = mean[:, hold] + left_out
        own = np.hypot(np.where(np.isfinite(sample.profile_std[hold]), sample.profile_std[hold], 0.0), SHELLS_LEFT_OUT)
        noise = float(sample.mean_std[hold]) * rng.standard_normal(len(draws))
        seen = shells[:, hold] + (left_out + noise)[:, None] + own * rng.standard_normal(shells[:, hold].shape)
        edges = np.quantile(seen, [(1 - _SHELL_LEVEL) / 2, (1 + _SHELL_LEVEL) / 2], axis=0)
        line, std = np.nan, np.nan
        if hold < len(temperature) - 1:
            line, std = straight_line(temperature, sample.mean, sample.mean_std, hold)
            std = float(np.hypot(std, sample.mean_std[hold]))
        found.append(
            Prediction(
                sample=index,
                hold=hold,
                median=float(np.median(draws)),
                std=float(np.hypot(np.std(draws), sample.mean_std[hold])),
                interval=np.array([central(draws, float(sample.mean_std[hold]), level, rng) for level in LEVELS]),
                straight_value=line,
                straight=np.array([normal_interval(line, std, level) for level in LEVELS]),
                profile=edges,
            )
        )
    return found


def _lacking(samples: Sequence[Heated], predictions: Sequence[Prediction]) -> float:
    residuals = [float(samples[each.sample].mean[each.hold]) - each.median for each in predictions]
    return discrepancy_from_residuals(residuals, [each.std for each in predictions])
