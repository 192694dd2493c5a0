"""Widths of reflections: one definition at every instrument, directions, derivatives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cathoscope.core.bank import TOF_VALUES
from cathoscope.numerics.dual import seeded, value_of
from cathoscope.powder.position import tof_from_spacing, two_theta_from_spacing
from cathoscope.powder.structure import metric_from_cell
from cathoscope.powder.symmetry import images, symmetry_of
from cathoscope.powder.width import (
    EIGHT_LN2,
    STEPHENS_TERMS,
    Broadening,
    cosine2_to_axis,
    cw_shape,
    tof_shape,
    uniaxial,
    width_from_size,
    width_from_stephens,
    width_from_strain,
    width_from_uniaxial_size,
    width_from_uniaxial_strain,
)

NO_TOF = dict.fromkeys(TOF_VALUES, 0.0) | {"difC": 22600.0, "alpha": 0.1, "beta0": 0.1, "sig0": 1.0}
NO_CW = dict.fromkeys("UVWXYZ", 0.0)
NMC = metric_from_cell(cell=(2.84, 2.84, 14.3, 90, 90, 120))


@given(d=st.floats(0.5, 5), strain=st.floats(1, 1e4), size=st.floats(1e-3, 10), wavelength=st.floats(0.1, 0.9))
def test_one_width_of_the_spacing_at_every_instrument(d: float, strain: float, size: float, wavelength: float) -> None:
    """Both instruments give the width that the spread of spacings gives, by differences of their places."""
    for width in (width_from_strain(strain=strain), width_from_size(d=d, size=size)):
        ends = d * (1 + np.array([-1, 1]) * 1e-6)
        _, _, _, gamma = tof_shape(values=NO_TOF, d=d, broadenings=[Broadening(width)])
        assert gamma == pytest.approx(np.diff(tof_from_spacing(d=ends, values=NO_TOF))[0] / 2e-6 * width, rel=1e-8)
        two_theta = two_theta_from_spacing(d=d, wavelength=wavelength)
        _, gamma = cw_shape(values=NO_CW, two_theta=two_theta, broadenings=[Broadening(width)])
        places = two_theta_from_spacing(d=ends, wavelength=wavelength)
        assert gamma == pytest.approx(-np.diff(places)[0] / 2e-6 * width, rel=1e-6)


def test_scherrer_and_stokes_wilson() -> None:
    """Textbook: beta = lambda / (L cos theta) rad, and eta = beta cot theta = 2 (delta d / d)."""
    two_theta, wavelength = 44.0, 1.54
    theta = np.radians(two_theta / 2)
    d = wavelength / 2 / np.sin(theta)
    size = Broadening(width_from_size(d=d, size=0.03))
    _, gamma = cw_shape(values=NO_CW, two_theta=two_theta, broadenings=[size])
    assert np.radians(gamma) == pytest.approx(wavelength / (300 * np.cos(theta)))
    _, gamma = cw_shape(values=NO_CW, two_theta=two_theta, broadenings=[Broadening(width_from_strain(strain=2000.0))])
    assert np.radians(gamma) / np.tan(theta) == pytest.approx(2 * 2000e-6)


def test_units_are_those_of_gsas2() -> None:
    """GSAS-II 2.0.0, centidegrees: 1.8 lambda / (pi p cos), 0.018 S tan / pi with S twice this strain."""
    two_theta, wavelength = 31.0, 0.7
    theta = np.radians(two_theta / 2)
    d = wavelength / 2 / np.sin(theta)
    reasons = [Broadening(width_from_size(d=d, size=0.2)), Broadening(width_from_strain(strain=700.0))]
    _, gamma = cw_shape(values=NO_CW | {"X": 0.3, "Y": 0.2, "Z": 0.1}, two_theta=two_theta, broadenings=reasons)
    theirs = 1.8 * wavelength / (np.pi * 0.2 * np.cos(theta)) + 0.018 * 1400 * np.tan(theta) / np.pi
    theirs += 0.3 / np.cos(theta) + 0.2 * np.tan(theta) + 0.1
    assert gamma == pytest.approx(theirs / 100)
    sigma2, _ = cw_shape(values=NO_CW | {"U": 3.0, "V": -1.0, "W": 5.0}, two_theta=two_theta)
    assert sigma2 == pytest.approx((3 * np.tan(theta) ** 2 - np.tan(theta) + 5) / 1e4)


def test_gaussian_share_adds_squares() -> None:
    width = Broadening(np.array([2e-3]), lorentz=0.25)
    _, _, sigma2, gamma = tof_shape(values=NO_TOF, d=np.array([1.5]), broadenings=[width, width])
    full = 2e-3 * 22600 * 1.5
    assert gamma == pytest.approx(2 * 0.25 * full)
    assert sigma2 == pytest.approx(1 + 2 * (0.75 * full) ** 2 / EIGHT_LN2)


@given(e=st.floats(0.01, 1), a=st.floats(0.01, 1), angle=st.floats(0, np.pi))
def test_uniaxial_is_an_ellipse(e: float, a: float, angle: float) -> None:
    r = uniaxial(equatorial=e, axial=a, cosine2=np.cos(angle) ** 2)
    across, along = r * np.sin(angle), r * np.cos(angle)
    assert (across / e) ** 2 + (along / a) ** 2 == pytest.approx(1)


def test_mean_over_equivalents_and_the_one_that_gsas2_lists(data_folder: Path) -> None:
    """Column lengths of GSAS-II 2.0.0 for 0.08 and 0.15 um along [110] of R-3m, and the means over equivalents."""
    stored = json.loads((data_folder / "diffraction" / "quirks.json").read_text(encoding="utf-8"))["uniaxial"]
    hkl = np.array([row[0] for row in stored])
    everyone = cosine2_to_axis(hkl=images(symmetry_of("R -3 m:H"), hkl), axis=(1, 1, 0), metric=NMC)
    listed = cosine2_to_axis(hkl=hkl[:, None], axis=(1, 1, 0), metric=NMC)
    gsas2, lowest, highest, _, mean_width = np.array([row[1:] for row in stored]).T
    sizes = uniaxial(equatorial=0.08, axial=0.15, cosine2=everyone)
    np.testing.assert_allclose(uniaxial(equatorial=0.08, axial=0.15, cosine2=listed)[:, 0], gsas2, rtol=1e-10)
    np.testing.assert_allclose([sizes.min(axis=1), sizes.max(axis=1)], [lowest, highest], rtol=1e-10)
    width = width_from_uniaxial_size(d=1.0, equatorial=0.08, axial=0.15, cosine2=everyone)
    np.testing.assert_allclose(1e-4 / width, mean_width, rtol=1e-10)
    strain = width_from_uniaxial_strain(equatorial=0.08, axial=0.15, cosine2=everyone)
    np.testing.assert_allclose(strain * 1e6, sizes.mean(axis=1), rtol=1e-10)


def test_equal_axes_are_isotropic() -> None:
    cosine2 = np.random.default_rng(1).uniform(size=(5, 6))
    d = np.linspace(1, 2, 5)
    got = width_from_uniaxial_size(d=d, equatorial=0.07, axial=0.07, cosine2=cosine2)
    np.testing.assert_allclose(got, width_from_size(d=d, size=0.07))


def test_angles_between_planes_and_directions() -> None:
    """Cartesian vectors of a triclinic cell tell the same angles as the metric."""
    cell = np.array([5.1, 6.2, 7.3, 80.0, 101.0, 94.0])
    metric = value_of(metric_from_cell(cell=cell))
    ca, cb, cg = np.cos(np.radians(cell[3:]))
    sg = np.sin(np.radians(cell[5]))
    height = np.sqrt(1 - cb**2 - ((ca - cb * cg) / sg) ** 2)
    edges = cell[:3, None] * np.array([[1, 0, 0], [cg, sg, 0], [cb, (ca - cb * cg) / sg, height]])
    stars = np.linalg.inv(edges).T
    hkl, axis = np.array([[1, 2, -3], [0, 0, 4]]), np.array([1, -1, 2])

    def cosine2(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        return (p @ q) ** 2 / (p * p).sum(axis=-1) / (q @ q)

    np.testing.assert_allclose(cosine2_to_axis(hkl=hkl, axis=axis, metric=metric), cosine2(hkl @ stars, axis @ stars))


def test_stephens_of_a_sphere_is_isotropic_strain() -> None:
    """Coefficients of (1/d^2)^2 times strain^2 give that strain in all directions."""
    cell = (5.1, 6.2, 7.3, 90.0, 90.0, 90.0)
    a, b, c = value_of(metric_from_cell(cell=cell))[:3]
    square = {(4, 0, 0): a * a, (0, 4, 0): b * b, (0, 0, 4): c * c}
    square |= {(2, 2, 0): 2 * a * b, (2, 0, 2): 2 * a * c, (0, 2, 2): 2 * b * c}
    coefficients = 800.0**2 * np.array([square.get(powers, 0.0) for powers in STEPHENS_TERMS])
    hkl = np.array([[1, 2, 3], [0, 0, 2], [4, 0, 1], [1, 1, 0]])
    d = 1 / np.sqrt((hkl**2) @ [a, b, c])
    got = width_from_stephens(d=d, hkl=hkl, coefficients=coefficients)
    np.testing.assert_allclose(got, 800e-6, rtol=1e-12)
    assert np.all(width_from_stephens(d=d, hkl=hkl, coefficients=-coefficients) < 1e-9)


def test_derivatives() -> None:
    d, hkl = np.array([1.1, 1.9, 0.7]), np.array([[1, 0, 1], [0, 0, 3], [1, 1, -3]])
    start = np.array([0.08, 0.15, 900.0, 500.0, 0.6, 2.84, 14.3, 1.1, 300.0, 3.0])

    def shapes(p: object) -> list[object]:
        metric = metric_from_cell(cell=np.array([2.84, 2.84, 14.3, 90, 90, 120.0]))
        metric = metric * (p[5] / 2.84)
        cosine2 = cosine2_to_axis(hkl=images(symmetry_of("R -3 m:H"), hkl), axis=(1, 1, 0), metric=metric)
        scaled = d * p[7]
        reasons = [
            Broadening(width_from_uniaxial_size(d=scaled, equatorial=p[0], axial=p[1], cosine2=cosine2), p[4]),
            Broadening(width_from_uniaxial_strain(equatorial=p[2], axial=p[3], cosine2=cosine2)),
            Broadening(width_from_size(d=scaled, size=p[6] / 100), 0.3),
            Broadening(width_from_strain(strain=p[8])),
        ]
        bank = NO_TOF | {"sig1": p[9], "beta1": p[9], "Y": p[9], "alpha": p[9]}
        tof = tof_shape(values=bank, d=scaled, broadenings=reasons)
        return [*tof, *cw_shape(values=NO_CW | {"U": p[9], "Y": p[9]}, two_theta=scaled * 40, broadenings=reasons)]

    got, plain = shapes(seeded(start)), shapes(start)
    for one, value in zip(got, plain, strict=True):
        np.testing.assert_allclose(one.value, value, rtol=1e-14)
    for k, step in enumerate(1e-4 * start):
        h = step * np.eye(start.size)[k]
        values = [shapes(start + j * h) for j in (1, -1, 2, -2)]
        for one, up, down, far_up, far_down in zip(got, *values, strict=True):
            expected = (8 * (up - down) - (far_up - far_down)) / (12 * step)
            np.testing.assert_allclose(one.slope[:, k], expected, rtol=1e-8, atol=1e-12 * np.abs(up).max() / step)
