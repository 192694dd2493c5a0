"""What atoms scatter: limits, another table, dispersion far from and near edges."""

from __future__ import annotations

import gemmi
import numpy as np
import pytest

from cathoscope.core.errors import CathoscopeError, MeasurementError
from cathoscope.powder.scattering import dispersion_of, neutron_scatterers, xray_scatterers


@pytest.mark.parametrize(
    ("species", "electrons"), [("Ni", 28), ("Ni2+", 26), ("O2-", 10), ("Li+", 2), ("Pb2+", 80), ("Mn4+", 21)]
)
def test_forwards_all_electrons_scatter(species: str, electrons: int) -> None:
    scatterers = xray_scatterers([species], 1.0, {species: (0.0, 0.0)})

    assert scatterers.real(np.array([1e3]))[0][0, 0] == pytest.approx(electrons, abs=0.04)


def test_an_ion_without_a_table_has_the_form_of_the_atom() -> None:
    ion, atom = xray_scatterers(["Ni4+"], 1.0), xray_scatterers(["Ni"], 1.0)

    assert np.array_equal(ion.height, atom.height)
    assert gemmi.IT92_get_ignore_charge()  # the library is left as it was


def test_real_amplitudes_and_their_slopes() -> None:
    d = np.array([0.8, 1.5, 4.0])
    scatterers = xray_scatterers(["O2-", "Ni"], 1.5406)
    value, slope = scatterers.real(d)
    nickel = [gemmi.Element("Ni").it92.calculate_sf(0.25 / x**2) for x in d]
    step = 1e-6

    assert np.allclose(value[:, 1] - dispersion_of("Ni", 1.5406)[0], nickel, rtol=1e-6)
    assert np.allclose(
        slope, (scatterers.real(d + step)[0] - scatterers.real(d - step)[0]) / (2 * step), rtol=1e-7, atol=1e-8
    )


def test_nuclei_are_points_without_phase() -> None:
    scatterers = neutron_scatterers(["Li", "O2-"], "gsas2", {"O": 6.0})
    value, slope = scatterers.real(np.array([0.5, 5.0]))

    assert np.allclose(value, [[-0.193, 0.6]] * 2)
    assert not slope.any()
    assert not scatterers.imaginary.any()


# International Tables C (2004), table 4.2.6.8, Cu K-alpha 1.5418 A.
@pytest.mark.parametrize(
    ("species", "real", "imaginary"), [("O", 0.049, 0.032), ("Si", 0.254, 0.330), ("Pb", -4.1, 8.5)]
)
def test_dispersion_is_that_of_the_tables(species: str, real: float, imaginary: float) -> None:
    found = dispersion_of(species, 1.5418)

    assert found == pytest.approx((real, imaginary), abs=0.02 if real > 0 else 0.3)


def test_dispersion_can_be_stated_and_hydrogen_has_none() -> None:
    assert dispersion_of("Ni2+", 1.488, {"Ni": (-7.5, 2.0)}) == (-7.5, 2.0)
    assert dispersion_of("H", 1.0) == (0.0, 0.0)
    assert dispersion_of("Ni", 1.480)[1] > 3 > 1 > dispersion_of("Ni", 1.495)[1]  # above and below the K edge


def test_what_is_no_wavelength_and_no_atom_is_refused() -> None:
    with pytest.raises(MeasurementError, match="wavelength"):
        xray_scatterers(["Ni"], 0.00011)
    with pytest.raises(CathoscopeError, match="atom"):
        xray_scatterers(["Qq"], 1.0)
