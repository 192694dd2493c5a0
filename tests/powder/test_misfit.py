"""Covariances that allow for local misfit, against closed forms and against pure counting noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.numerics.dual import Dual
from cathoscope.powder.crystallite import CrystalliteChoices, crystallite_of
from cathoscope.powder.member import Member, member_of_text, text_of_member
from cathoscope.powder.misfit import BLOCK, block_starts, misfit_of, with_misfit
from cathoscope.powder.model import model_of
from cathoscope.powder.refine import Residual
from cathoscope.powder.start import stated_parameters
from cathoscope.powder.strategy import Plan, refine
from tests.powder.crystals import NMC
from tests.powder.patterns import POWGEN, pattern_on, recorded

X = np.geomspace(22600 * 1.2, 22600 * 2.6, 500)
LAYERED = crystallite_of(NMC, CrystalliteChoices(size="isotropic"))
PLAN = Plan(stages=(("*.scale", "*.background.*"), ("cells", "NMC.size")))
TRUTH = {"NMC.size": 0.05, "powgen.NMC.scale": 2.0e4, "powgen.background.0": 200.0}


def problem(seed: int, points: int, numbers: int) -> tuple[np.ndarray, np.ndarray]:
    """A Jacobian, and the inverse of its normal matrix."""
    jacobian = np.random.default_rng(seed).standard_normal((points, numbers))
    return jacobian, np.linalg.inv(jacobian.T @ jacobian)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), every=st.integers(5, 20))
def test_noise_alone_gives_the_covariance_of_counting(seed: int, every: int) -> None:
    """V is quadratic in the residual; summed over the columns of its covariance 1 - J C J^T it is what is expected."""
    jacobian, covariance = problem(seed, 60, 4)
    starts = [np.arange(0, 60, every)]
    expected = sum(
        misfit_of(covariance, [Residual(column, jacobian)], starts).covariance
        for column in np.eye(60) - jacobian @ covariance @ jacobian.T
    )
    assert expected == pytest.approx(covariance, rel=1e-9, abs=1e-12)


def test_blocks_of_one_point_are_whites_covariance() -> None:
    """HC2 of MacKinnon and White (1985): C J^T diag(r^2 / (1 - h)) J C."""
    jacobian, covariance = problem(1, 40, 3)
    rng = np.random.default_rng(2)
    left = rng.standard_normal(40)
    left -= jacobian @ covariance @ jacobian.T @ left
    leverage = np.einsum("np,pq,nq->n", jacobian, covariance, jacobian)
    bread = covariance @ jacobian.T
    wanted = bread @ np.diag(left**2 / (1 - leverage)) @ bread.T
    found = misfit_of(covariance, [Residual(left, jacobian)], [np.arange(40)])
    assert found.covariance == pytest.approx(wanted, rel=1e-9)
    share = (jacobian @ covariance) ** 2 / np.diag(covariance)
    assert found.blocks == pytest.approx(1 / np.sum(share**2, axis=0))


def test_the_mean_of_blocks_has_the_error_of_a_mean_of_blocks() -> None:
    """However alike the points of a block are: sum (mean of block - mean)^2 / (B (B - 1))."""
    means = np.array([1.0, -2.0, 4.0, 0.5, -3.5])
    found = misfit_of(np.array([[1 / 50]]), [Residual(np.repeat(means, 10), np.ones((50, 1)))], [np.arange(0, 50, 10)])
    assert found.covariance[0, 0] == pytest.approx(np.sum(means**2) / (5 * 4))
    assert found.blocks == pytest.approx([5.0])


def test_what_was_known_before_and_what_one_block_decides_count_as_they_do() -> None:
    """One block alone tells the first number, only a prior the second: no residual can say how well."""
    jacobian = np.zeros((20, 2))
    jacobian[:5, 0] = 1.0
    known = Residual(np.zeros(1), np.array([[0.0, 2.0]]))
    covariance = np.diag([1 / 5, 1 / 4])
    found = misfit_of(covariance, [Residual(np.zeros(20), jacobian), known], [np.arange(0, 20, 5)])
    assert found.covariance == pytest.approx(covariance)
    assert found.blocks[0] == pytest.approx(1.0)


def test_what_is_not_determined_stays_so() -> None:
    jacobian, covariance = problem(3, 30, 3)
    covariance[2, 2] = np.inf
    found = misfit_of(covariance, [Residual(np.ones(30), jacobian)], [np.arange(0, 30, 5)])
    assert np.isinf(found.covariance[2, 2])
    assert np.isfinite(found.covariance[:2, :2]).all()


def test_blocks_are_a_few_widths_long() -> None:
    """Twice the size, half the width of size, and about twice the blocks where size decides the width."""
    model = model_of([pattern_on(POWGEN, X)], [LAYERED])
    values = {name: one.value for name, one in stated_parameters(model).numbers.items()}
    few, many = (block_starts(model, 0, values | {"NMC.size": size}) for size in (0.02, 0.04))
    assert few[0] == many[0] == 0
    assert np.all(np.diff(few) >= 3)
    assert many.size / few.size == pytest.approx(2, rel=0.25)
    places = X[few[1:]]
    size_width = (places / 22600) ** 2 / 200 * 22600
    assert np.median(np.diff(places) / size_width[:-1]) == pytest.approx(BLOCK, rel=0.4)


def mixed(spread: float, seed: int | None) -> np.ndarray:
    """Counts of a powder half of which has a cell larger by a share ``spread``, and half smaller."""
    empty = pattern_on(POWGEN, X)
    halves = [
        recorded(empty, [LAYERED], TRUTH | {"NMC.a": 2.84 * (1 + s), "NMC.c": 14.3 * (1 - 2 * s)}, seed=None).y
        for s in (-spread, spread)
    ]
    mean = 0.5 * (halves[0] + halves[1])
    return mean if seed is None else np.random.default_rng(seed).poisson(mean).astype(float)


@pytest.fixture(scope="module")
def fits() -> tuple:
    """Of one cell, and of a phase with two."""
    found = []
    for spread in (0.0, 0.0025):
        y = mixed(spread, 5)
        pattern = replace(pattern_on(POWGEN, X), y=y, std=np.sqrt(np.maximum(y, 1)))
        found.append(refine([pattern], [LAYERED], PLAN))
    return tuple(found)


def test_one_cell_has_the_uncertainties_of_counting(fits: tuple) -> None:
    fit = fits[0].fit
    for name in ("NMC.a", "NMC.c", "NMC.size", "powgen.NMC.scale"):
        assert 1 <= fit.std(name) / fit.std(name, widened=False) < 1.4


def test_noise_alone_widens_nothing() -> None:
    """Only what is beyond the scatter of V widens, so that the mean over patterns stays within 5 % of counting."""
    wider = []
    for seed in range(8):
        y = mixed(0.0, seed)
        fit = refine([replace(pattern_on(POWGEN, X), y=y, std=np.sqrt(np.maximum(y, 1)))], [LAYERED], PLAN).fit
        quiet = replace(fit, chi2=float(fit.points - len(fit.search.free)))  # a goodness of fit of 1
        wider += [quiet.std(name) / quiet.std(name, widened=False) for name in ("NMC.a", "NMC.c", "NMC.size")]
    assert 1 <= np.mean(wider) < 1.05


def test_widths_that_peaks_disagree_about_are_less_sure(fits: tuple) -> None:
    """With a and c the other way round some peaks are doubled and others not: one size is not what they have."""
    fit = fits[1].fit
    wider = {name: fit.std(name) / fit.std(name, widened=False) for name in ("NMC.size", "NMC.a", "NMC.c")}
    assert wider["NMC.size"] > 1.5 * fit.gof
    # they move to both sides alike, which pulls at no cell
    assert max(wider["NMC.a"], wider["NMC.c"]) < 1.5 * fit.gof


def test_uncertainties_are_never_below_those_of_counting(fits: tuple) -> None:
    fit = fits[0].fit
    rng = np.random.default_rng(0)
    for slope in rng.standard_normal((50, len(fit.search.free))) / np.sqrt(np.diag(fit.covariance)):
        quantity = Dual(np.float64(0), slope)
        assert fit.std_of(quantity) >= fit.std_of(quantity, widened=False)


def test_a_killed_run_remembers_it(fits: tuple) -> None:
    fit = replace(fits[1].fit, residuals=())
    back = member_of_text(text_of_member(Member(fit, ("NMC",)))).fit
    assert back is not None
    assert back.std("NMC.size") == fit.std("NMC.size")
    assert back.std("NMC.size", widened=False) == fit.std("NMC.size", widened=False)


def test_without_residuals_there_is_nothing_to_look_at(fits: tuple) -> None:
    fit = replace(fits[0].fit, residuals=(), misfit=None)
    assert with_misfit(fit, fits[0].model).misfit is None
    assert fit.std("NMC.a") == pytest.approx(fit.std("NMC.a", widened=False) * max(fit.gof, 1.0))
