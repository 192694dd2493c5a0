"""The model of a pattern: its derivatives, its parts, and what is asked of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from cathoscope.core.bank import CW_VALUES, TOF_VALUES
from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import Dual, value_of
from cathoscope.powder.crystallite import CrystalliteChoices, crystallite_of
from cathoscope.powder.model import Model, background_of, calculated, model_of, peaks_of, residuals_of, spacings_of
from cathoscope.powder.parameters import Parameters, search_of
from cathoscope.powder.start import parameters_of
from tests.powder.crystals import ANGLESITE, NMC, SPINEL
from tests.powder.patterns import COPPER, POWGEN, pattern_on

Array = NDArray[np.float64]

TOF = np.geomspace(22600 * 1.0, 22600 * 2.2, 150)
ANGLES = np.linspace(15.0, 60.0, 250)


def numbers_of(model: Model, **changed: float) -> dict[str, float]:
    values = {name: one.value for name, one in parameters_of(model).numbers.items()}
    return values | {name: 50.0 for name in values if name.endswith(".scale")} | changed


def central_differences(model: Model, values: dict[str, float], name: str, slope: float) -> Array:
    """Of fourth order; a step changes the highest peak by 1e-4, and what must be above zero by at most a hundredth."""
    step = 1e-4 * float(value_of(calculated(model, 0, values)).max()) / slope
    step = min(step, 0.01 * values[name]) if values[name] > 1e-6 else step
    at = [value_of(calculated(model, 0, values | {name: values[name] + k * step})) for k in (-2, -1, 1, 2)]
    return np.asarray((8 * (at[2] - at[1]) - (at[3] - at[0])) / (12 * step))


def assert_derivatives(model: Model, values: dict[str, float], names: list[str]) -> None:
    search = search_of(Parameters(parameters_of(model).numbers).starting(values), names)
    made = calculated(model, 0, search.values(search.start))
    assert isinstance(made, Dual)
    per_u = search.numbers(search.start)[1]
    for column, name in enumerate(names):
        exact = made.slope[:, column] / per_u[column]
        largest = float(np.abs(exact).max())
        assert largest > 0, name
        differences = central_differences(model, values, name, largest)
        assert np.abs(differences - exact).max() < 1e-6 * largest, name


def free_of(model: Model, *without: str) -> list[str]:
    return [name for name in parameters_of(model).numbers if name.rsplit(".", 1)[-1] not in without]


def test_derivatives_of_every_number_of_time_of_flight() -> None:
    """Cells, sites, uniaxial size, Stephens' strain, texture, extinction, absorption, bank, background, scales."""
    phases = [
        crystallite_of(
            NMC,
            CrystalliteChoices(
                size="uniaxial", size_axis=(1, 1, 0), strain="stephens", march_axis=(0, 0, 1), extinction=True
            ),
        ),
        crystallite_of(
            SPINEL, CrystalliteChoices(size="isotropic", strain="uniaxial", strain_axis=(1, 1, 1), harmonics=4)
        ),
    ]
    model = model_of([pattern_on(POWGEN, TOF, effects=("absorption",))], phases)
    values = numbers_of(
        model,
        **{
            "powgen.absorption": 0.4,
            "NMC.size": 0.08,
            "NMC.size_axial": 0.15,
            "NMC.size_lorentz": 0.7,
            "NMC.strain_lorentz": 0.6,
            "NMC.march": 0.8,
            "spinel.C4,1": 0.3,
            "spinel.strain_axial": 1800.0,
            "powgen.X": 0.3,
            "powgen.Y": 0.1,
            "powgen.Z": 2.0,
        },
    )
    assert_derivatives(model, values, free_of(model, "two_theta", "flight_path"))


def test_derivatives_of_every_number_of_two_wavelengths() -> None:
    """Anisotropic displacements, positions, angles; displaced sample, polarisation, axial divergence, extinction."""
    aniso = (0.02, 0.015, 0.018, 0.0, 0.001, 0.0)
    sites = (replace(ANGLESITE.sites[0], u_aniso=aniso), *ANGLESITE.sites[1:])
    choices = CrystalliteChoices(size="isotropic", strain="isotropic", extinction=True)
    phases = [crystallite_of(replace(ANGLESITE, sites=sites), choices)]
    model = model_of([pattern_on(COPPER, ANGLES, effects=("absorption", "height", "depth"))], phases)
    values = numbers_of(
        model,
        **{
            "lab.absorption": 0.8,
            "PbSO4.extinction": 1e-4,  # all reflections on one side of the joint of its two series
            "lab.height": 40.0,
            "lab.depth": 200.0,
            "PbSO4.size_lorentz": 0.5,
            "PbSO4.strain_lorentz": 0.5,
            "lab.Y": 2.0,
            "lab.Z": 1.0,
        },
    )
    # axial divergence is a sum that is good to 1e-7 of the peak, too coarse for differences; see test_profile_cw
    assert_derivatives(model, values, free_of(model, "azimuth", "radius", "wavelength", "axial"))


def test_a_pattern_is_its_background_and_its_phases() -> None:
    model = model_of([pattern_on(POWGEN, TOF)], [crystallite_of(NMC), crystallite_of(SPINEL)])
    values = numbers_of(model, **{"powgen.background.0": 3.0, "powgen.background.1": -1.0})
    parts = [peaks_of(model, 0, values, name) for name in ("NMC", "spinel")]

    u = 2 * (TOF - TOF[0]) / (TOF[-1] - TOF[0]) - 1
    assert value_of(background_of(model, 0, values)) == pytest.approx(3.0 - u)
    assert value_of(calculated(model, 0, values)) == pytest.approx(3.0 - u + value_of(parts[0]) + value_of(parts[1]))
    assert all(value_of(part).max() > 0.5 for part in parts)


def test_a_number_may_be_one_banks_own() -> None:
    patterns = [pattern_on(POWGEN, TOF), replace(pattern_on(POWGEN, TOF), name="other")]
    model = model_of(patterns, [crystallite_of(NMC)])
    values = numbers_of(model) | {"other.NMC.a": 2.85}
    shared = model_of(patterns[:1], [crystallite_of(NMC)])

    first, second = (value_of(calculated(model, number, values)) for number in (0, 1))
    assert first == pytest.approx(value_of(calculated(shared, 0, values)))
    assert second == pytest.approx(value_of(calculated(shared, 0, values | {"NMC.a": 2.85})))
    assert np.abs(first - second).max() > 0.1


def test_points_that_are_left_out_do_not_count() -> None:
    pattern = pattern_on(POWGEN, TOF)
    used = (TOF < 30000) | (TOF > 36000)
    part = model_of([replace(pattern, used=used)], [crystallite_of(NMC)])
    whole = model_of([pattern], [crystallite_of(NMC)])
    values = numbers_of(whole)

    (residual,) = residuals_of(part, values)
    expected = 1.0 - value_of(calculated(whole, 0, values))[used]
    assert residual.difference == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert residual.jacobian.shape == (used.sum(), 0)


def test_a_phase_without_reflections_in_range_is_named() -> None:
    beyond = np.linspace(22600 * 5.0, 22600 * 5.2, 40)
    with pytest.raises(MeasurementError, match="no reflection"):
        model_of([pattern_on(POWGEN, beyond)], [crystallite_of(SPINEL)])


def test_spacings_are_those_of_the_bank() -> None:
    assert spacings_of(COPPER, np.array([60.0])) == pytest.approx([1.5405], rel=1e-9)
    tof = 22600 * 1.5 - 0.9 * 2.25 + 2.6 / 1.5 - 8.5
    assert spacings_of(POWGEN, np.array([tof])) == pytest.approx([1.5])


def test_banks_of_the_tests_have_all_numbers() -> None:
    assert set(POWGEN.values) == set(TOF_VALUES)
    assert set(COPPER.values) == set(CW_VALUES)
