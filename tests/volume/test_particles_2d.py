"""Particles of drawn sections: found, separated, closed, and measured, against what was drawn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.estimate import Estimate
from cathoscope.numerics.random_effects import population_of
from cathoscope.volume.particles_2d import field_of, find_particles
from cathoscope.volume.particles_2d_table import _left_out, _Marks, measure_particles, section_population
from cathoscope.volume.parts_2d import divided

PIXEL, FINE = 0.1, 4


def disk(shape: tuple[int, int], y: float, x: float, radius: float) -> np.ndarray:
    """Share of every pixel inside a disk (px)."""
    rows, columns = ((np.arange(n * FINE) + 0.5) / FINE - 0.5 for n in shape)
    inside = (rows[:, None] - y) ** 2 + (columns - x) ** 2 < radius**2
    return np.asarray(inside.reshape(shape[0], FINE, shape[1], FINE).mean(axis=(1, 3)))


def crack(shape: tuple[int, int], start: tuple[float, float], end: tuple[float, float], width: float) -> np.ndarray:
    """Share of every pixel inside a straight crack of a ``width`` (px)."""
    rows, columns = ((np.arange(n * FINE) + 0.5) / FINE - 0.5 for n in shape)
    along = np.subtract(end, start)
    length = float(np.hypot(*along))
    r, c = rows[:, None] - start[0], columns - start[1]
    forward = (r * along[0] + c * along[1]) / length
    aside = np.abs(r * along[1] - c * along[0]) / length
    inside = (aside < width / 2) & (forward > 0) & (forward < length)
    return np.asarray(inside.reshape(shape[0], FINE, shape[1], FINE).mean(axis=(1, 3)))


def imaged(solid: np.ndarray, inside: np.ndarray, *, noise: float = 0.06, seed: int = 0) -> np.ndarray:
    """Grey image of oxide 170, void 20, binder 55; blurred and noisy."""
    rng = np.random.default_rng(seed)
    scene = solid + (inside - solid) * 0.12 + (1 - inside) * 0.32
    seen = ndimage.gaussian_filter(scene, 0.7) + noise * rng.standard_normal(scene.shape)
    return np.clip(np.rint(170 * seen), 0, 255).astype(np.uint8)


SHAPE = (170, 260)
PLACES = {
    "dense": (45, 45, 32),
    "hollow": (45, 130, 34),
    "cracked": (45, 212, 34),
    "small": (125, 35, 14),
    "a": (120, 120, 30),
}


def scene(seed: int = 0, width: float = 1.5) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Image, share inside, and porosity of each particle; "b" touches "a", "cut" the border."""
    places = PLACES | {"b": (120, 179, 29.5), "cut": (150, 258, 25)}
    disks = {name: disk(SHAPE, *place) for name, place in places.items()}
    inside = np.minimum(sum(disks.values()), 1)
    hollow = disk(SHAPE, 46.3, 128.6, 11.0)
    y, x, _ = PLACES["cracked"]
    ends = [(y - 26, x - 14), (y + 24, x + 9), (y - 8, x + 27)]
    cracks = np.max([crack(SHAPE, (y + 2, x - 3), end, width) for end in ends], axis=0)
    solid = np.maximum(inside - hollow - np.minimum(cracks, inside), 0)
    porosity = dict.fromkeys(places, 0.0)
    porosity["hollow"] = hollow.sum() / disks["hollow"].sum()
    porosity["cracked"] = cracks.sum() / disks["cracked"].sum()
    return imaged(solid, inside, seed=seed), inside, porosity


@pytest.fixture(scope="module")
def table():  # type: ignore[no-untyped-def]
    rows = []
    for seed in range(5):
        image, _, truth = scene(seed)
        found = find_particles(image, pixel=PIXEL, smallest_diameter=1.5)
        rows.append((found, measure_particles(image, found, pixel=PIXEL), truth))
    return rows


def number_of(found, name: str) -> int:  # type: ignore[no-untyped-def]
    places = PLACES | {"b": (120, 179, 29.5), "cut": (150, 255, 25)}
    y, x, _ = places[name]
    return int(found.labels[int(y), int(x)]) - 1


def test_every_particle_is_found_once_and_touching_ones_apart(table) -> None:  # type: ignore[no-untyped-def]
    for found, measured, _ in table:
        assert found.count == 7
        numbers = {name: number_of(found, name) for name in (*PLACES, "b", "cut")}
        assert sorted(numbers.values()) == list(range(7))
        assert np.flatnonzero(found.cut).tolist() == [numbers["cut"]]
        for name, (y, x, radius) in PLACES.items():
            i = numbers[name]
            assert measured.diameter[i] == pytest.approx(2 * radius * PIXEL, rel=0.015)
            assert (measured.y[i], measured.x[i]) == pytest.approx((y * PIXEL, x * PIXEL), abs=0.06)
            assert measured.circularity[i] == pytest.approx(1.0, abs=0.08)
        assert np.all(np.diff(np.bincount(found.labels.ravel())[1:]) <= 0)


def test_cracked_and_hollow_are_told(table) -> None:  # type: ignore[no-untyped-def]
    for found, measured, _ in table:
        assert np.flatnonzero(measured.hollow).tolist() == [number_of(found, "hollow")]
        assert np.flatnonzero(measured.cracked).tolist() == [number_of(found, "cracked")]
        assert measured.pore[46, 129] == 2
        assert measured.core_share[number_of(found, "hollow")] == pytest.approx(11**2 / 34**2, rel=0.06)


def test_porosity_from_grey_is_unbiased_where_a_threshold_is_blind(table) -> None:  # type: ignore[no-untyped-def]
    names = ("dense", "hollow", "cracked", "a", "b", "small")
    errors = {name: [] for name in names}
    pulls = []
    for found, measured, truth in table:
        for name in names:
            i = number_of(found, name)
            errors[name].append(measured.porosity[i] - truth[name])
            pulls.append(errors[name][-1] / np.hypot(measured.porosity_std[i], measured.porosity_systematic[i]))
    assert abs(np.mean(errors["dense"])) < 0.004
    assert abs(np.mean(errors["cracked"])) < 0.1 * table[0][2]["cracked"] + 0.002
    assert abs(np.mean(errors["hollow"])) < 0.05 * table[0][2]["hollow"]
    assert 0.4 < np.sqrt(np.mean(np.square(pulls))) < 1.8


@pytest.mark.parametrize(("radius", "porosity"), [(15.0, 0.0), (15.0, 0.2), (34.0, 0.2), (34.0, 0.3)])
def test_an_outline_is_left_out_as_far_as_a_blurred_porous_disk_shows_it(radius: float, porosity: float) -> None:
    solid, around, void, blur = 170.0, 55.0, 20.0, 1.3
    fine = 8
    y, x = np.indices((80 * fine, 80 * fine)) / fine - 40.0
    grey = np.where(np.hypot(y, x) < radius, solid - porosity * (solid - void), around)
    inside = ndimage.gaussian_filter(grey, blur * fine) > (solid + around) / 2
    found = np.sqrt(np.count_nonzero(inside) / np.pi) / fine
    marks = _Marks(Estimate(void), (solid + around) / 2, around, blur)
    assert radius - found == pytest.approx(_left_out(porosity, solid, radius, marks), abs=0.015)


def test_numbers_of_all_leave_out_what_is_cut(table) -> None:  # type: ignore[no-untyped-def]
    _, measured, truth = table[0]
    of_all = section_population(measured)
    whole = [value for name, value in truth.items() if name != "cut"]
    assert of_all.members.count == 6
    assert of_all.porosity.value == pytest.approx(np.mean(whole), abs=0.01)
    assert of_all.porosity_spread.value == pytest.approx(np.std(whole, ddof=1), abs=0.01)
    assert of_all.cracked_share.value == of_all.hollow_share.value == pytest.approx(1 / 6)


def test_a_gap_between_touching_disks_is_no_hollow() -> None:
    shape, radius = (130, 140), 28.0
    middles = [(35.0, 40.0), (35.0, 40 + 2 * radius - 1), (35 + np.sqrt(3) * radius - 1, 40 + radius - 0.5)]
    mask = np.max([disk(shape, *middle, radius) for middle in middles], axis=0) > 0.5
    labels = divided(mask)
    assert sorted(np.unique(labels)) == [0, 1, 2, 3]
    assert labels[int(35 + radius / np.sqrt(3)), int(40 + radius)] == 0
    ring = mask.copy()
    ring &= disk(shape, *middles[0], 12.0) < 0.5
    filled = divided(ring)
    assert filled[35, 40] > 0
    assert len(np.unique(filled)) == 4


def test_a_field_without_corners_is_recognised() -> None:
    image = scene()[0].astype(np.float32)
    image[:40, :30] = 99
    field = field_of(image)
    assert not field[5:35, 5:25].any()
    assert field[60:].all()


def test_population_is_that_of_a_simulation() -> None:
    rng = np.random.default_rng(4)
    means, spreads, inside, covered = [], [], 0, 0
    for _ in range(300):
        std = rng.uniform(0.5, 2.0, 12)
        values = 3.0 + rng.normal(0, 1.5, 12) + rng.normal(0, std)
        found = population_of(values, std)
        means.append(found.mean)
        spreads.append(found.spread**2)
        inside += found.interval[0] < 3.0 < found.interval[1]
        covered += found.spread_interval[0] <= 1.5 <= found.spread_interval[1]
    assert np.mean(means) == pytest.approx(3.0, abs=4 * 0.55 / np.sqrt(300))
    assert np.mean(spreads) == pytest.approx(1.5**2, rel=0.12)
    # 99 % binomial range of 68.3 % of 300
    assert 184 < inside < 226
    assert 184 < covered < 226


def test_a_population_without_spread_and_impossible_ones() -> None:
    same = population_of([1.0, 1.0, 1.0], 0.1)
    assert (same.spread, same.mean, same.mean_std) == pytest.approx((0.0, 1.0, 0.1 / np.sqrt(3)))
    with pytest.raises(MeasurementError, match="several members"):
        population_of([1.0, np.nan], 0.1)
    with pytest.raises(MeasurementError, match="not positive"):
        population_of([1.0, 2.0], 0.0)


@pytest.mark.parametrize(
    ("image", "pixel", "smallest", "problem"),
    [
        (np.full((64, 64), 5), 0.1, 1.0, "blank"),
        (255 - 0.9 * imaged(*[disk((64, 64), 32, 32, 20)] * 2), 0.1, 1.0, "inverted"),
        (imaged(*[disk((64, 64), 32, 32, 20)] * 2), 0.1, 5.0, "no particle"),
        (imaged(*[disk((64, 64), 32, 32, 20)] * 2), 0.1, 0.1, "smallest particle"),
        (imaged(*[disk((64, 64), 32, 32, 20)] * 2), 1e9, 1.0, "size of the pixels"),
    ],
)
def test_bad_input_is_refused(image: np.ndarray, pixel: float, smallest: float, problem: str) -> None:
    with pytest.raises(MeasurementError, match=problem) as caught:
        find_particles(image, pixel=pixel, smallest_diameter=smallest)
    assert caught.value.expected
