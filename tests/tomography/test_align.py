from __future__ import annotations

import h5py
import numpy as np
import pytest
import tifffile

from cathoscope.core.errors import MeasurementError
from cathoscope.tomography.align import rotation_axis_from_centre_of_mass, rotation_axis_from_mirror
from cathoscope.tomography.correct import optical_depth_from_transmission, transmission_from_counts

ELLIPSES = ((5.0, -8.0, 14.0, 9.0, 0.4), (-10.0, 6.0, 7.0, 10.0, 1.1), (2.0, 12.0, 5.0, 5.0, 0.0))
N_COLUMNS = 88
AXIS = 42.37


def ellipse_sinogram(angle_deg, *, shift=0.0, background=0.0, n_columns=N_COLUMNS, axis=AXIS):
    """Exact mean optical depth over unit pixels of ellipses (x, y, half axes, turn), lengths in px."""
    angle = np.deg2rad(angle_deg)[:, None]
    edges = np.arange(n_columns + 1) - 0.5 - axis - np.reshape(shift, (-1, 1))
    total = np.full((len(angle_deg), n_columns), background)
    for x, y, a, b, turn in ELLIPSES:
        half_width = np.hypot(a * np.cos(angle - turn), b * np.sin(angle - turn))
        edge = np.clip((edges - x * np.cos(angle) - y * np.sin(angle)) / half_width, -1, 1)
        total += 0.02 * a * b * np.diff(edge * np.sqrt(1 - edge**2) + np.arcsin(edge), axis=1)
    return total


def pulls_of(estimate, angle_deg, n_seeds, **options):
    clean = ellipse_sinogram(angle_deg, **options)
    found = []
    for seed in range(n_seeds):
        noisy = clean + np.random.default_rng(seed).normal(0, 0.02, clean.shape)
        result = estimate(noisy)
        found.append((result.axis - AXIS) / result.std)
    return np.array(found)


@pytest.mark.parametrize("last", [180.0, 177.0])
def test_centre_of_mass_is_calibrated(last):
    angle = np.linspace(0, last, 121)
    pull = pulls_of(lambda s: rotation_axis_from_centre_of_mass(column_sum=s, angle_deg=angle), angle, 300)
    assert abs(pull.mean()) < 0.2
    assert pull.std() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("n_projections", [61, 181])
def test_mirror_is_calibrated(n_projections):
    angle = np.linspace(0, 180, n_projections)

    def estimate(sinogram):
        return rotation_axis_from_mirror(sinogram=sinogram, angle_deg=angle)

    pull = pulls_of(estimate, angle, 200, background=0.3)
    assert abs(pull.mean()) < 0.2
    assert pull.std() == pytest.approx(1.0, abs=0.1)


def test_noise_free_sinusoid_and_jitter_are_exact():
    angle = np.linspace(0, 180, 91)
    design = np.stack([np.ones(91), np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))], axis=1)
    shift = np.random.default_rng(0).uniform(-2, 2, 91)
    shift -= design @ np.linalg.lstsq(design, shift, rcond=None)[0]
    # binning into pixels keeps the centre of mass but for the aliasing of the sharp rims
    still = rotation_axis_from_centre_of_mass(column_sum=ellipse_sinogram(angle), angle_deg=angle)
    assert still.axis == pytest.approx(AXIS, abs=1e-3)
    assert still.reason is None
    jittering = rotation_axis_from_centre_of_mass(column_sum=ellipse_sinogram(angle, shift=shift), angle_deg=angle)
    assert np.std(jittering.jitter - shift) < 3 * jittering.std
    assert jittering.rms == pytest.approx(1.4826 * np.median(np.abs(jittering.jitter)), rel=0.05)


def test_one_lost_projection_does_not_move_the_axis():
    angle = np.linspace(0, 180, 91)
    sums = ellipse_sinogram(angle)
    sums[30] = np.roll(sums[30], 12)
    found = rotation_axis_from_centre_of_mass(column_sum=sums, angle_deg=angle)
    assert found.axis == pytest.approx(AXIS, abs=0.01)
    assert found.jitter[30] == pytest.approx(12.0, abs=0.05)


def test_stated_noise_explains_the_scatter():
    angle = np.linspace(0, 180, 181)
    clean = ellipse_sinogram(angle)
    noisy = clean + np.random.default_rng(1).normal(0, 0.02, clean.shape)
    found = rotation_axis_from_centre_of_mass(column_sum=noisy, angle_deg=angle, std=np.full(clean.shape, 0.02))
    assert found.noise_rms == pytest.approx(float(np.std(found.jitter)), rel=0.15)


def test_object_leaving_the_field_is_told_and_mirror_still_finds_the_axis():
    angle = np.linspace(0, 180, 181)
    cut = ellipse_sinogram(angle)[:, 24:62]
    assert rotation_axis_from_centre_of_mass(column_sum=cut, angle_deg=angle).reason is not None
    assert rotation_axis_from_mirror(sinogram=cut, angle_deg=angle).axis == pytest.approx(AXIS - 24, abs=0.1)


@pytest.mark.parametrize(("last", "n"), [(179.0, 180), (177.0, 178), (360.0, 121)])
def test_mirror_follows_the_gap_to_half_a_turn(last, n):
    angle = np.linspace(0, last, n)
    rows = np.stack([ellipse_sinogram(angle), 0.5 * ellipse_sinogram(angle)])
    assert rotation_axis_from_mirror(sinogram=rows, angle_deg=angle).axis == pytest.approx(AXIS, abs=0.05)


def test_what_cannot_be_aligned_is_refused():
    angle = np.linspace(0, 180, 30)
    sums = ellipse_sinogram(angle)
    with pytest.raises(MeasurementError, match="do not fit"):
        rotation_axis_from_centre_of_mass(column_sum=sums, angle_deg=angle[:-1])
    with pytest.raises(MeasurementError, match="undefined"):
        rotation_axis_from_centre_of_mass(column_sum=0 * sums, angle_deg=angle)
    with pytest.raises(MeasurementError, match="half a turn"):
        rotation_axis_from_mirror(sinogram=sums, angle_deg=0.5 * angle)
    sums[3, 4] = np.nan
    with pytest.raises(MeasurementError, match="not finite"):
        rotation_axis_from_mirror(sinogram=sums, angle_deg=angle)


def test_tooth_axis_is_where_others_find_it(data_folder):
    with h5py.File(data_folder / "imaging/tooth-dxchange/tooth.h5") as file:
        counts, flat, dark = (file[f"exchange/{name}"][:] for name in ("data", "data_white", "data_dark"))
        angle = file["exchange/theta"][:]
    transmission = transmission_from_counts(counts=counts, flat=flat, dark=dark)
    depth, _ = optical_depth_from_transmission(transmission=transmission, open_counts=flat.mean() - dark.mean())
    mass = rotation_axis_from_centre_of_mass(column_sum=depth.sum(axis=1), angle_deg=angle)
    mirror = rotation_axis_from_mirror(sinogram=depth.transpose(1, 0, 2), angle_deg=angle)
    # tomopy.find_center ends between 295.9 and 296.3, in the same count of columns
    assert 295.8 < mirror.axis < 296.4
    assert 295.8 < mass.axis < 296.4
    assert mass.reason is None


def test_gold_pillar_beyond_the_view_is_told_and_mirrored(data_folder):
    files = sorted((data_folder / "imaging/npg-nanotomo-tomo77/tiff_sequence").glob("*.tiff"))
    depth = np.stack([tifffile.imread(file) for file in files])
    angle = np.linspace(0, 180, len(files))
    mass = rotation_axis_from_centre_of_mass(column_sum=depth.sum(axis=1), angle_deg=angle)
    assert mass.reason is not None
    mirror = rotation_axis_from_mirror(sinogram=depth.transpose(1, 0, 2), angle_deg=angle)
    # the projections at 0 and 180 deg, registered by others, put the axis at about 39.0
    assert mirror.axis == pytest.approx(39.0, abs=0.2)
