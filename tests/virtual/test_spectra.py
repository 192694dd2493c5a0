from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from cathoscope.core.errors import CathoscopeError
from cathoscope.physics.xray import NICKEL_K_EDGE
from cathoscope.virtual.spectra import Line, Spectrum, nickel_spectrum

SPECTRA = st.builds(
    nickel_spectrum,
    jump=st.floats(0.01, 0.1),
    background=st.floats(0.0, 0.05),
    line_energy=st.floats(8346, 8353),
    line_height=st.floats(0.4, 1.5),
    asymmetry=st.floats(0.0, 0.6),
)


@settings(max_examples=30, deadline=None)
@given(SPECTRA, st.floats(8300, 8420))
def test_slope_is_the_derivative(spectrum: Spectrum, energy: float) -> None:
    step = 1e-3
    difference = spectrum.attenuation(energy + step) - spectrum.attenuation(energy - step)
    assert spectrum.slope(energy) == pytest.approx(difference / (2 * step), abs=1e-7)


@settings(max_examples=30, deadline=None)
@given(SPECTRA)
def test_white_line_is_the_highest_point(spectrum: Spectrum) -> None:
    energy = spectrum.white_line_energy()
    assert abs(spectrum.slope(energy)) < 1e-9
    neighbours = energy + np.array([-1e-3, 1e-3])
    assert (spectrum.attenuation(neighbours) < spectrum.attenuation(energy)).all()
    everywhere = np.linspace(8200, 8500, 30001)
    assert spectrum.attenuation(everywhere).max() <= spectrum.attenuation(energy)


@settings(max_examples=20, deadline=None)
@given(SPECTRA)
def test_white_line_agrees_with_a_search_without_derivatives(spectrum: Spectrum) -> None:
    energy = spectrum.white_line_energy()
    found = minimize_scalar(
        lambda e: -float(spectrum.attenuation(e)), bounds=(energy - 0.5, energy + 0.5), method="bounded"
    )
    assert energy == pytest.approx(found.x, abs=1e-3)


def test_white_line_is_not_the_centre_of_its_gaussian() -> None:
    assert abs(nickel_spectrum(jump=0.06, background=0.03, line_energy=8350.0).white_line_energy() - 8350.0) > 0.05


def test_without_lines_nearby_the_edge_joins_background_and_jump() -> None:
    spectrum = Spectrum(0.06, 0.03, 8343.0, 1e-9, (Line(0.5, 8350.0, 0.1),))
    power = (np.array([8333.0, 8345.0]) / NICKEL_K_EDGE) ** -3
    np.testing.assert_allclose(spectrum.attenuation([8333.0, 8345.0]), power * [0.03, 0.09], rtol=1e-6)
    assert spectrum.attenuation(8350.0) == pytest.approx(0.09 * (8350 / NICKEL_K_EDGE) ** -3 + 0.03)


@settings(max_examples=20, deadline=None)
@given(SPECTRA, st.floats(-3, 3))
def test_moving_a_spectrum_moves_its_white_line(spectrum: Spectrum, by: float) -> None:
    # the power law stays where it is, so the maximum moves by a hair more or less
    assert spectrum.moved(by).white_line_energy() - spectrum.white_line_energy() == pytest.approx(by, abs=1e-3)


@pytest.mark.parametrize(
    ("jump", "background", "width", "lines"),
    [
        (-0.1, 0.03, 1.8, (Line(1.0, 8350.0, 2.0),)),
        (0.1, -0.03, 1.8, (Line(1.0, 8350.0, 2.0),)),
        (0.1, 0.03, 0.0, (Line(1.0, 8350.0, 2.0),)),
        (0.1, 0.03, 1.8, (Line(1.0, 8350.0, 0.0),)),
        (0.1, 0.03, 1.8, ()),
    ],
)
def test_impossible_spectra_are_refused(jump: float, background: float, width: float, lines: tuple[Line, ...]) -> None:
    with pytest.raises(CathoscopeError):
        Spectrum(jump, background, 8343.0, width, lines)


def test_a_spectrum_without_a_maximum_says_so() -> None:
    with pytest.raises(CathoscopeError, match="no white line"):
        Spectrum(0.1, 0.0, 8350.0, 5.0, (Line(0.0, 8350.0, 2.0),)).white_line_energy()
