"""Uncertainties evened over neighbours: errors of a product of two numbers are told without a side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cathoscope.powder.evened import REACH, evened
from cathoscope.powder.member import Member
from cathoscope.powder.parameters import Parameter, Parameters, search_of
from cathoscope.powder.priors import Prior, known_of
from cathoscope.powder.refine import Fit, Misfit, Residual, refined

FREE = ("bank.background.0", "site.occupancy", "site.u")
TRUE = {"site.occupancy": 2.0, "site.u": 1.0, "bank.background.0": 20.0}
Q = np.linspace(0.0, 2.0, 24)


def site_refined(noise: np.ndarray) -> Fit:
    """What a site scatters, occupancy x exp(-u q), over a background, with what is known of u; noise is one."""
    start = Parameters({name: Parameter(value) for name, value in TRUE.items()})
    known = known_of({"site.u": Prior(1.0, 1.0)}, FREE)
    y = TRUE["site.occupancy"] * np.exp(-TRUE["site.u"] * Q) + TRUE["bank.background.0"] + noise[: Q.size]

    def compare(values: dict) -> list[Residual]:
        made = values["site.occupancy"] * np.exp(-1.0 * values["site.u"] * Q)
        floor = values["bank.background.0"]
        far = Residual(np.array([20.0 + 0.1 * noise[-1] - floor.value]) / 0.1, floor.slope[None] / 0.1)
        return [Residual(y - made.value - floor.value, made.slope + floor.slope), far, known.residual(values)]

    return refined(search_of(start, FREE), compare)


def made(log_std: np.ndarray, free: tuple[str, ...] = FREE) -> Member:
    """A member with these logarithms of uncertainties and correlations of a third."""
    std = np.exp(log_std)
    covariance = np.outer(std, std) * (np.full((3, 3), 1 / 3) + np.eye(3) * 2 / 3)
    search = search_of(Parameters({name: Parameter(1.0) for name in free}), free)
    misfit = Misfit(2 * covariance, np.full(3, 9.0))
    return Member(Fit(search, np.ones(3), covariance, 1.0, 9, "converged", (), 1, misfit=misfit), ())


def log_std(member: Member) -> np.ndarray:
    assert member.fit is not None
    return 0.5 * np.log(np.diag(member.fit.covariance))


def side(members: list[Member]) -> float:
    """Mean error of the occupancy over its uncertainty, less that over the mean uncertainty."""
    fits = [one.fit for one in members if one.fit is not None]
    error = np.array([fit.numbers()["site.occupancy"] for fit in fits]) - TRUE["site.occupancy"]
    std = np.array([fit.std("site.occupancy", widened=False) for fit in fits])
    return float(np.mean(error / std) - error.mean() / std.mean())


def test_pulls_of_a_product_have_no_side() -> None:
    """Where the occupancy is found small, it is found with a small uncertainty: not so where neighbours tell it."""
    rng = np.random.default_rng(4)
    members = [Member(site_refined(rng.standard_normal(Q.size + 1)), ()) for _ in range(150)]
    assert side(members) < -0.05
    assert abs(side(evened(members))) < 0.25 * abs(side(members))


def test_a_smooth_course_stays_and_noise_does_not() -> None:
    """A parabola is itself; one pattern's excess is spread over its neighbours; correlations and the rest stay."""
    place = np.arange(30.0)[:, None] / 30
    course = np.concatenate([0 * place, -2 + 2 * place - place**2, -4 - place + 3 * place**2], axis=1)
    for before, after in zip(course, evened([made(one) for one in course]), strict=True):
        assert log_std(after) == pytest.approx(before, abs=1e-12)
    course[15, 1:] += 0.5
    found = evened([made(one) for one in course])[15]
    assert log_std(found)[0] == course[15, 0]
    # the weight of the middle of 2 m + 1 points (Savitzky and Golay), m = 6
    share = 3 * (3 * REACH**2 + 3 * REACH - 1) / ((2 * REACH - 1) * (2 * REACH + 1) * (2 * REACH + 3))
    assert log_std(found)[1:] == pytest.approx(course[15, 1:] - 0.5 * (1 - share), abs=1e-12)
    assert found.fit is not None
    assert found.fit.misfit is not None
    assert found.fit.correlations()[0, 1] == pytest.approx(1 / 3)
    assert found.fit.misfit.covariance == pytest.approx(2 * found.fit.covariance)


def test_only_what_is_alike_is_a_neighbour() -> None:
    """Another exposure, other free numbers, other weak phases, no fit, and too few: every pattern keeps its own."""
    rng = np.random.default_rng(1)
    course = np.stack([np.zeros(20), *rng.normal(0, 0.2, (2, 20))], axis=1)
    longer = course.copy()
    longer[7] -= np.log(2)
    other = (FREE[0], "site.occupancy", "other.u")
    members = [made(one) for one in longer]
    members[3] = made(course[3], other)
    members[5] = replace(members[5], weak=("spinel",))
    members[9] = Member(None, ())
    found = evened(members)
    for number in (3, 5, 7, 9):
        assert found[number] is members[number]
    without = [one for number, one in enumerate(members) if number not in (3, 5, 7, 9)]
    assert log_std(found[0])[1] != longer[0, 1]
    assert all(one is same for one, same in zip(evened(without[:6]), without, strict=False))
