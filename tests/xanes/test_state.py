"""The line through standards and its inverse, against closed forms, refits by a general solver, and Monte Carlo."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, norm, t

from cathoscope.core.errors import MeasurementError
from cathoscope.xanes.state import valence_from_edge, valence_line_from_standards

VALENCE = np.array([2.0, 2.6667, 3.0, 4.0])
EDGE = np.array([6544.1, 6546.3, 6547.9, 6551.4])
STD = np.array([0.1, 0.2, 0.15, 0.3])


def refit(edge: np.ndarray, valence: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intercept and slope with their covariance, from the design matrix by singular values."""
    design = np.stack([np.ones_like(valence), valence], axis=1) / std[:, np.newaxis]
    inverse = np.linalg.pinv(design)
    return inverse @ (edge / std), inverse @ inverse.T


@settings(max_examples=30, deadline=None)
@given(intercept=st.floats(5000, 10000), slope=st.floats(0.1, 5) | st.floats(-5, -0.1), sample=st.floats(-1, 8))
def test_exact_line_is_recovered_and_inverted(intercept: float, slope: float, sample: float) -> None:
    line = valence_line_from_standards(edge_energy=intercept + slope * VALENCE, valence=VALENCE, edge_std=STD)
    assert line.slope == pytest.approx(slope, abs=1e-9)
    assert line.intercept == pytest.approx(intercept, abs=1e-8)
    assert line.scatter == 0.0
    assert np.abs(line.left_out.valence_error * slope).max() < 1e-8
    found = valence_from_edge(edge_energy=intercept + slope * sample, edge_std=0.1, line=line)
    assert found.valence[0] * slope == pytest.approx(sample * slope, abs=1e-7)
    assert bool(found.extrapolated[0]) == (not 2.0 - 1e-7 < sample < 4.0 + 1e-7)


def test_weighted_line_agrees_with_a_general_solver() -> None:
    line = valence_line_from_standards(edge_energy=EDGE, valence=VALENCE, edge_std=STD)
    coefficients, covariance = refit(EDGE, VALENCE, STD)
    np.testing.assert_allclose([line.intercept, line.slope], coefficients, rtol=1e-11)
    np.testing.assert_allclose(line.covariance, covariance, rtol=1e-9)
    misfit = EDGE - coefficients[0] - coefficients[1] * VALENCE
    assert line.chi2 == pytest.approx(np.sum((misfit / STD) ** 2), rel=1e-6)
    assert line.chi2_probability == pytest.approx(chi2.sf(line.chi2, 2))
    np.testing.assert_allclose(line.residual, misfit, atol=1e-9)


def test_scatter_brings_chi_squared_to_its_expectation() -> None:
    edge = EDGE + np.array([0.9, -1.1, 0.4, -0.6])
    line = valence_line_from_standards(edge_energy=edge, valence=VALENCE, edge_std=STD)
    assert line.scatter > 0
    total = np.hypot(STD, line.scatter)
    coefficients, covariance = refit(edge, VALENCE, total)
    assert np.sum(((edge - coefficients[0] - coefficients[1] * VALENCE) / total) ** 2) == pytest.approx(2.0, rel=1e-6)
    np.testing.assert_allclose(line.covariance, covariance, rtol=1e-9)
    assert any("scatter by" in remark for remark in line.remarks)


def test_without_uncertainties_the_scatter_is_the_residual_standard_deviation() -> None:
    line = valence_line_from_standards(edge_energy=EDGE, valence=VALENCE)
    slope, intercept = np.polyfit(VALENCE, EDGE, 1)
    expected = np.sqrt(np.sum((EDGE - intercept - slope * VALENCE) ** 2) / 2)
    assert line.scatter == pytest.approx(expected, rel=1e-9)
    _, covariance = np.polyfit(VALENCE, EDGE, 1, cov=True)
    np.testing.assert_allclose(line.covariance, covariance[::-1, ::-1], rtol=1e-6)
    assert line.degrees_of_freedom == 2


@pytest.mark.parametrize("uncertain", [True, False])
def test_leaving_one_out_is_refitting_the_others(uncertain: bool) -> None:
    line = valence_line_from_standards(edge_energy=EDGE, valence=VALENCE, edge_std=STD if uncertain else None)
    for i in range(VALENCE.size):
        others = np.delete(np.arange(VALENCE.size), i)
        std = STD if uncertain else np.ones(4)
        (intercept, slope), covariance = refit(EDGE[others], VALENCE[others], std[others])
        at = np.array([1.0, VALENCE[i]])
        variance = at @ covariance @ at + std[i] ** 2
        misfit = (EDGE[others] - intercept - slope * VALENCE[others]) / std[others]
        if not uncertain:
            # two degrees less: one is left
            variance *= misfit @ misfit
        elif chi2.sf(misfit @ misfit, 1) < 0.05:
            continue
        half = (norm.ppf(0.975) if uncertain else t.ppf(0.975, 1)) * np.sqrt(variance)
        assert line.left_out.edge_energy[i] == pytest.approx(intercept + slope * VALENCE[i], abs=1e-8)
        assert line.left_out.upper[i] - line.left_out.lower[i] == pytest.approx(2 * half, rel=1e-6)
        assert line.left_out.valence_error[i] == pytest.approx((EDGE[i] - intercept) / slope - VALENCE[i], abs=1e-8)
        assert bool(line.left_out.outside[i]) == (abs(EDGE[i] - intercept - slope * VALENCE[i]) > half)


def test_a_misassigned_standard_is_named() -> None:
    valence = np.array([2.0, 2.5, 3.0, 3.5, 4.0, 4.5])
    edge = 6540.0 + 3.0 * valence + np.array([0.02, -0.03, 2.0, 0.01, -0.02, 0.02])
    line = valence_line_from_standards(edge_energy=edge, valence=valence, edge_std=np.full(6, 0.05))
    assert line.left_out.outside.tolist() == [False, False, True, False, False, False]
    assert any(remark.startswith("Standard 3 (valence 3) lies at") for remark in line.remarks)


def test_covariance_is_that_of_lines_refitted_to_noisy_standards() -> None:
    line = valence_line_from_standards(edge_energy=EDGE, valence=VALENCE, edge_std=STD)
    noisy = line.intercept + line.slope * VALENCE + np.random.default_rng(5).normal(0, STD, (20_000, 4))
    found = np.polynomial.polynomial.polyfit(VALENCE, noisy.T, 1, w=1 / STD)  # intercepts, slopes
    np.testing.assert_allclose(np.cov(found), line.covariance, rtol=0.05)


def test_interval_ends_where_the_edge_is_just_contradicted() -> None:
    line = valence_line_from_standards(edge_energy=EDGE, valence=VALENCE, edge_std=STD)
    found = valence_from_edge(edge_energy=[6546.0, 6553.0], edge_std=0.4, line=line, level=0.9)
    for end in (found.lower, found.upper):
        variance = 0.4**2 + line.covariance[0, 0] + 2 * line.covariance[0, 1] * end + line.covariance[1, 1] * end**2
        deviation = np.abs(np.array([6546.0, 6553.0]) - line.intercept - line.slope * end)
        np.testing.assert_allclose(deviation, norm.ppf(0.95) * np.sqrt(variance), rtol=1e-6)
    assert np.all((found.lower < found.valence) & (found.valence < found.upper))


def test_no_interval_where_the_slope_is_not_significant() -> None:
    line = valence_line_from_standards(edge_energy=[10.0, 10.1, 10.0], valence=[2, 3, 4.1], edge_std=[0.5, 0.5, 0.5])
    found = valence_from_edge(edge_energy=10.0, edge_std=0.1, line=line)
    assert (found.lower[0], found.upper[0]) == (-np.inf, np.inf)
    assert any("do not give a valence" in remark for remark in line.remarks)


def test_an_order_that_the_edges_do_not_follow_is_remarked() -> None:
    rising = valence_line_from_standards(edge_energy=[1, 2, 3, 4.0], valence=[2, 3, 4, 5], edge_std=np.full(4, 0.1))
    falling = valence_line_from_standards(edge_energy=[4, 3, 2, 1.0], valence=[2, 3, 4, 5], edge_std=np.full(4, 0.1))
    tangled = valence_line_from_standards(edge_energy=[1, 3, 2.5, 4], valence=[2, 3, 4, 5], edge_std=np.full(4, 1.0))
    assert [any("not monotonic" in remark for remark in line.remarks) for line in (rising, falling, tangled)] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"edge_energy": [1.0, 2.0]}, "do not match"),
        ({"edge_std": [0.1]}, "do not match"),
        ({"edge_energy": [1.0, np.nan, 3.0, 4.0]}, "NaN or infinite"),
        ({"edge_std": [0.1, 0.0, 0.1, 0.1]}, "not above zero"),
        ({"edge_std": [0.1, np.nan, 0.1, 0.1]}, "not above zero"),
        ({"valence": [3.0] * 4}, "too few standards"),
        ({"edge_energy": [5.0] * 4}, "are the same"),
    ],
)
def test_standards_without_a_line_are_refused(changed: dict[str, list[float]], words: str) -> None:
    with pytest.raises(MeasurementError, match=words):
        valence_line_from_standards(**({"edge_energy": EDGE, "valence": VALENCE, "edge_std": STD} | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(("count", "std"), [(2, None), (1, [0.1])])
def test_too_few_standards_are_refused(count: int, std: list[float] | None) -> None:
    with pytest.raises(MeasurementError, match="too few standards"):
        valence_line_from_standards(edge_energy=EDGE[:count], valence=VALENCE[:count], edge_std=std)


def test_what_cannot_be_read_off_is_refused() -> None:
    line = valence_line_from_standards(edge_energy=EDGE, valence=VALENCE, edge_std=STD)
    level = valence_line_from_standards(edge_energy=[1, 2, 1.0], valence=[2, 3, 4], edge_std=[1, 1, 1])
    with pytest.raises(MeasurementError, match="negative uncertainty"):
        valence_from_edge(edge_energy=6546.0, edge_std=-0.1, line=line)
    with pytest.raises(MeasurementError, match="is a probability"):
        valence_from_edge(edge_energy=6546.0, edge_std=0.1, line=line, level=1.0)
    with pytest.raises(MeasurementError, match="level line"):
        valence_from_edge(edge_energy=1.5, edge_std=0.1, line=level)
