"""Heating conserves what it must, converges, and separates rod from gravel with one law, as the measurements do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad

from cathoscope.core.errors import CathoscopeError
from cathoscope.physics.kinetics import BOLTZMANN, ZERO_CELSIUS, transition_temperature_from_pressure
from cathoscope.virtual.charged import charged_particle, transport_grid
from cathoscope.virtual.grains import Grains, draw_grains
from cathoscope.virtual.heating import (
    OXYGEN_FLOW,
    VACUUM,
    Charged,
    HeatingLaw,
    Process,
    State,
    Track,
    Transition,
    heat,
    without_boundaries,
)
from cathoscope.virtual.particle import GRAVEL, ROD, ParticleDesign
from cathoscope.virtual.programme import Programme, ramp_programme, tomography_programme
from cathoscope.virtual.radial_span import radial_span
from cathoscope.virtual.transport import polycrystal

LAW = HeatingLaw()
SOLVED = 1e-5  # the error that the transport allows each cell in a step
SERIES = tomography_programme((25.0, 150.0, 200.0, 250.0), hold=20.0)
SLOW_RAMP = ramp_programme(rate=1.0, end=230.0)
SMALL_GRAVEL = ParticleDesign("gravel", diameter=3.0, core_radius=0.6)
SMALL_ROD = ParticleDesign("rod", diameter=3.0, core_radius=0.6, aspect=4.0, alignment=0.97)


def drawn(design: ParticleDesign, cells: int, seed: int = 3) -> tuple[Grains, Charged]:
    grains = draw_grains(design, seed)
    return grains, charged_particle(grains, transport_grid(grains, cells=cells), LAW, seed=(seed,))


@pytest.fixture(scope="module")
def gravel() -> Charged:
    return drawn(SMALL_GRAVEL, 20)[1]


@pytest.fixture(scope="module")
def rod() -> Charged:
    return drawn(SMALL_ROD, 20)[1]


@pytest.fixture(scope="module")
def bead() -> Charged:
    """One isotropic grain, a ball of some hundred cells."""
    z, y, x = np.indices((10, 10, 10)) - 4.5
    labels = np.where(x**2 + y**2 + z**2 < 4.3**2, 0, -1)
    medium = polycrystal(labels, np.array([[0.0, 0.0, 1.0]]), 0.1, 1.0, 0.1)
    return Charged(medium, 0.8, np.zeros(medium.n_cells))


@pytest.fixture(scope="module", params=["rod", "gravel"])
def small(request: pytest.FixtureRequest) -> Charged:
    found: Charged = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def heated(small: Charged) -> tuple[Track, list[State]]:
    return heat(small, LAW, SERIES, moments=[time for pair in SERIES.holds for time in pair])


def temperature_of(track: Track, share: float) -> float:
    """Where a share of the particle is spinel, degC."""
    return float(np.interp(share, track.spinel, track.temperature))


# -- balances ------------------------------------------------------------------------------------


def test_the_oxygen_that_a_particle_lacks_has_passed_its_surface(heated: tuple[Track, list[State]]) -> None:
    track, _ = heated
    assert track.spinel[-1] > 0.99
    np.testing.assert_allclose(track.oxygen_out, track.spinel, atol=1e-6)


def test_the_mean_white_line_falls_by_what_was_lost_whatever_lithium_does(
    small: Charged, heated: tuple[Track, list[State]]
) -> None:
    track, states = heated
    for state in states:
        lost = LAW.line_of_spinel * state.spinel + LAW.line_of_later * state.later + state.vacancies
        assert state.white_line.mean() == pytest.approx(LAW.charged_line - lost.mean(), abs=1e-8)
        at = np.searchsorted(track.time, state.time)
        assert track.time[at] == state.time
        assert track.white_line[at] == pytest.approx(state.white_line.mean(), abs=1e-8)
        loss = LAW.mass_loss(state.spinel, state.later, state.temperature).mean()
        assert track.mass_loss[at] == pytest.approx(loss, abs=1e-12)


def test_heating_is_a_one_way_street(heated: tuple[Track, list[State]]) -> None:
    track, states = heated
    for name in ("spinel", "later", "mass_loss"):
        assert (np.diff(getattr(track, name)) >= -SOLVED).all(), name
    assert (np.diff(track.white_line) <= SOLVED).all()
    for before, after in pairwise(states):
        assert (after.spinel >= before.spinel - 10 * SOLVED).all()
        assert (after.later >= before.later - 10 * SOLVED).all()


def test_fields_stay_within_their_bounds(heated: tuple[Track, list[State]]) -> None:
    for state in heated[1]:
        for field in (state.spinel, state.later):
            assert field.min() >= -1e-4
            assert field.max() <= 1 + 1e-4
        assert state.vacancies.max() <= LAW.vacancies(state.temperature) + 1e-4


def test_a_particle_that_is_done_sits_where_the_law_says(heated: tuple[Track, list[State]]) -> None:
    track, states = heated
    end = LAW.charged_line - LAW.line_of_spinel - LAW.line_of_later - LAW.vacancies(250.0)
    assert track.white_line[-1] == pytest.approx(end, abs=0.005)
    assert track.mass_loss[-1] == pytest.approx(LAW.mass_of_spinel + LAW.mass_of_later + LAW.mass_of_warming, abs=0.02)
    frozen = LAW.frozen_share * LAW.line_spread
    assert states[-1].white_line.std() == pytest.approx(frozen, rel=0.05)


def test_moments_are_kept_at_their_times_and_temperatures(heated: tuple[Track, list[State]], small: Charged) -> None:
    _, states = heated
    assert [state.time for state in states] == [time for pair in SERIES.holds for time in pair]
    assert [state.temperature for state in states] == [25.0, 25.0, 150.0, 150.0, 200.0, 200.0, 250.0, 250.0]
    np.testing.assert_allclose(states[0].white_line, LAW.charged_line + small.nanodomains, atol=1e-12)
    assert np.unique(states[0].spinel).tolist() == [0.0]


def test_moments_do_not_disturb_the_rest(gravel: Charged) -> None:
    ramp = ramp_programme(rate=5.0, end=180.0)
    kept = ramp.steps(kelvin=4.0)[[3, 20, -1]].tolist()
    alone, with_moments = heat(gravel, LAW, ramp)[0], heat(gravel, LAW, ramp, moments=kept)[0]
    np.testing.assert_array_equal(alone.spinel, with_moments.spinel)
    np.testing.assert_array_equal(alone.white_line, with_moments.white_line)


# -- below the onset -----------------------------------------------------------------------------


def test_below_the_onset_nothing_is_lost_and_lithium_levels_the_white_line(small: Charged) -> None:
    hold = Programme((0.0, 60.0, 40_000.0), (25.0, 100.0, 100.0))
    moments = [60.0, 1_000.0, 5_000.0, 40_000.0]
    track, states = heat(small, LAW, hold, moments=moments)
    assert np.ptp(track.spinel) == np.ptp(track.oxygen_out) == 0
    assert track.later.max() < 1e-5
    np.testing.assert_allclose(track.white_line, LAW.charged_line, atol=1e-5)
    widths = [state.white_line.std() for state in states]
    assert (np.diff(widths) < 0).all()
    assert widths[0] < LAW.line_spread + 1e-9
    assert widths[-1] > LAW.frozen_share * LAW.line_spread - 1e-9


def test_without_lithium_the_nanodomains_stay(gravel: Charged) -> None:
    still = replace(LAW, lithium=replace(LAW.lithium, diffusivity=1e-30, boundary=0.0))
    hold = Programme((0.0, 60.0, 4_000.0), (25.0, 100.0, 100.0))
    _, states = heat(gravel, still, hold, moments=[4_000.0])
    np.testing.assert_allclose(states[0].white_line, LAW.charged_line + gravel.nanodomains, atol=1e-9)


def test_nothing_converts_below_the_transition(small: Charged) -> None:
    track, _ = heat(small, LAW, ramp_programme(rate=0.5, end=130.0))
    assert track.spinel.max() == 0
    assert track.later.max() < 1e-4


# -- exact cases ---------------------------------------------------------------------------------


def surface_limited(rate: float, energy: float) -> HeatingLaw:
    """Exchange so slow, against diffusion, that the particle stays uniform; the gas takes up everything at once."""
    process = Process(150.0, 1e4 * rate, 1e6 * rate, rate, energy)
    return replace(LAW, spinel=process, spinel_transition=Transition(-200.0, 1.0, enthalpy=1e9))


def uniform_conversion(medium_ratio: float, rate: float, energy: float, ramp: Programme, end: float) -> float:
    """1 - exp(-S/V integral k dt), by quadrature."""

    def speed(temperature: float) -> float:
        inverse = 1 / (temperature + ZERO_CELSIUS) - 1 / (150 + ZERO_CELSIUS)
        return rate * medium_ratio * float(np.exp(-energy / BOLTZMANN * inverse))

    seconds_per_kelvin = ramp.times[-1] / (ramp.temperatures[-1] - ramp.temperatures[0])
    return 1 - float(np.exp(-seconds_per_kelvin * quad(speed, ramp.temperatures[0], end)[0]))


def surface_to_volume(particle: Charged) -> float:
    return particle.medium.surface_area / (particle.medium.n_cells * particle.medium.cell_volume)


def test_a_surface_limited_particle_follows_the_integral_of_its_rate(bead: Charged) -> None:
    ramp, ratio = ramp_programme(rate=5.0, end=220.0), surface_to_volume(bead)
    errors = []
    for kelvin in (2.0, 1.0):
        track, _ = heat(bead, surface_limited(2e-4, 1.2), ramp, kelvin=kelvin)
        exact = [uniform_conversion(ratio, 2e-4, 1.2, ramp, end) for end in track.temperature[::8]]
        assert 0.9 < exact[-1] < 1
        errors.append(np.abs(track.spinel[::8] - exact).max())
    assert errors[1] < 0.012
    assert errors[1] == pytest.approx(errors[0] / 2, rel=0.2)  # the steps are of first order


def test_the_fields_of_a_surface_limited_particle_are_uniform(bead: Charged) -> None:
    ramp = ramp_programme(rate=5.0, end=180.0)
    _, states = heat(bead, surface_limited(2e-4, 1.2), ramp, moments=[ramp.times[-1]])
    assert 0.1 < states[0].spinel.mean() < 0.9
    assert np.ptp(states[0].spinel) < 1e-3


@pytest.mark.parametrize("energy", [1.0, 2.0])
def test_faster_heating_shifts_an_event_by_the_amount_of_kissinger(bead: Charged, energy: float) -> None:
    law, half = surface_limited(2e-4, energy), {}
    for rate in (1.0, 8.0):
        track, _ = heat(bead, law, ramp_programme(rate=rate, end=230.0), kelvin=1.0)
        half[rate] = temperature_of(track, 0.5) + ZERO_CELSIUS
    assert half[8.0] > half[1.0] + 5
    # Kissinger: ln(rate / T²) + E / (k T) is the same for the same conversion
    shift = energy / BOLTZMANN * (1 / half[1.0] - 1 / half[8.0])
    assert shift == pytest.approx(np.log(8.0) - 2 * np.log(half[8.0] / half[1.0]), abs=0.03)


def test_steps_of_temperature_converge(small: Charged) -> None:
    ramp = ramp_programme(rate=1.0, end=180.0)
    tracks = [heat(small, LAW, ramp, kelvin=kelvin)[0] for kelvin in (8.0, 4.0, 2.0, 1.0)]
    at = np.arange(135, 180, 1.0)
    courses = [np.interp(at, track.temperature, track.spinel) for track in tracks]
    differences = [float(np.abs(one - two).mean()) for one, two in pairwise(courses)]
    assert differences[0] > differences[1] > differences[2]
    ends = [temperature_of(track, 0.95) for track in tracks]
    assert abs(ends[3] - ends[2]) < 0.6 * abs(ends[2] - ends[1])  # of first order


# -- what enters the law -------------------------------------------------------------------------


def test_oxygen_outside_delays(small: Charged) -> None:
    fast = without_boundaries(LAW)
    vacuum, oxygen = (heat(small, fast, SLOW_RAMP, oxygen=pressure)[0] for pressure in (VACUUM, OXYGEN_FLOW))
    assert (oxygen.spinel <= vacuum.spinel + 1e-6).all()
    assert (oxygen.mass_loss <= vacuum.mass_loss + 1e-6).all()
    transition = LAW.spinel_transition
    middle = transition.middle + transition.per_nickel * (small.nickel - transition.reference_nickel)
    moved = float(
        transition_temperature_from_pressure(
            pressure=OXYGEN_FLOW, temperature=middle, reference=VACUUM, enthalpy=transition.enthalpy
        )
    )
    assert temperature_of(vacuum, 0.02) == pytest.approx(middle, abs=4.5)  # a step is 4 K
    assert temperature_of(oxygen, 0.02) == pytest.approx(moved, abs=4.5)


def test_more_nickel_advances_the_transition_by_what_the_law_says(gravel: Charged) -> None:
    fast = without_boundaries(LAW)
    ramp = ramp_programme(rate=1.0, end=155.0)
    half = [
        temperature_of(heat(replace(gravel, nickel=nickel), fast, ramp, kelvin=1.0)[0], 0.05)
        for nickel in (0.78, 0.80, 0.84)
    ]
    shift = LAW.spinel_transition.per_nickel
    assert half[1] - half[0] == pytest.approx(0.02 * shift, abs=1.5)
    assert half[2] - half[1] == pytest.approx(0.04 * shift, abs=1.5)


def test_half_of_a_loss_is_in_equilibrium_at_the_middle_of_its_transition() -> None:
    transition = Transition(140.0, 2.0, per_nickel=-200.0, reference_nickel=0.8)
    at = {"nickel": 0.8, "oxygen": VACUUM}
    assert transition.occupancy(140.0, **at) == pytest.approx(0.5)
    assert transition.occupancy(130.0, nickel=0.85, oxygen=VACUUM) == pytest.approx(0.5)
    shares = [transition.occupancy(temperature, **at) for temperature in (-200, 130, 139, 141, 150, 2000)]
    assert shares == sorted(shares)
    assert shares[2] + shares[3] == pytest.approx(1)
    assert transition.occupancy(140.0, nickel=0.8, oxygen=1.0) < 0.5


def test_rates_of_a_process_share_one_activation_energy() -> None:
    process = Process(150.0, 0.02, 2e-5, 0.03, 1.7)
    cold, hot = process.rates(150.0), process.rates(220.0)
    assert (cold.diffusivity, cold.boundary, cold.surface) == (0.02, 2e-5, 0.03)
    growth = hot.diffusivity / cold.diffusivity
    assert growth == pytest.approx(np.exp(-1.7 / BOLTZMANN * (1 / 493.15 - 1 / 423.15)))
    assert hot.boundary / cold.boundary == pytest.approx(growth)
    assert hot.surface / cold.surface == pytest.approx(growth)


def test_vacancies_and_mass_follow_their_lines() -> None:
    assert LAW.vacancies(100.0) == LAW.vacancies(25.0) == 0
    assert LAW.vacancies(150.0) == pytest.approx(LAW.line_of_warming)
    assert LAW.vacancies(250.0) == pytest.approx(LAW.line_of_warming + 2 * LAW.line_of_vacancies)
    assert float(LAW.mass_loss(0.0, 0.0, 100.0)) == 0
    assert float(LAW.mass_loss(0.5, 0.25, 150.0)) == pytest.approx(
        0.5 * LAW.mass_of_spinel + 0.25 * LAW.mass_of_later + 0.5 * LAW.mass_of_warming
    )


# -- ablations -----------------------------------------------------------------------------------


def test_without_boundaries_gravel_is_as_fast_as_one_piece_of_its_size(gravel: Charged) -> None:
    """Isotropic grains, so that a polycrystal without boundaries and one grain are the same body."""
    medium = gravel.medium
    labels = medium.on_grid(medium.grain, -1).astype(int)
    isotropic = replace(gravel, medium=polycrystal(labels, medium.c_axis, medium.voxel, 1.0, medium.aligned_resistance))
    whole = replace(gravel, medium=polycrystal(np.minimum(labels, 0), medium.c_axis[:1], medium.voxel, 1.0, 0.1))
    free, piece, bound = (
        heat(particle, law, SLOW_RAMP)[0]
        for particle, law in ((isotropic, without_boundaries(LAW)), (whole, LAW), (isotropic, LAW))
    )
    np.testing.assert_allclose(free.spinel, piece.spinel, atol=1e-3)
    np.testing.assert_allclose(free.mass_loss, piece.mass_loss, atol=5e-3)
    assert temperature_of(bound, 0.9) > temperature_of(free, 0.9) + 3


def test_boundaries_only_ever_delay(small: Charged) -> None:
    free, bound = (heat(small, law, SLOW_RAMP)[0] for law in (without_boundaries(LAW), LAW))
    assert (free.spinel >= bound.spinel - 1e-6).all()


# -- one law, two arrangements -------------------------------------------------------------------

Course = tuple[Track, list[State]]


@pytest.fixture(scope="module")
def particles() -> dict[str, tuple[Grains, Charged]]:
    """Hou's two particles at half their diameter."""
    designs = {"rod": ROD, "gravel": GRAVEL}
    return {
        name: drawn(replace(design, diameter=5.0, core_radius=1.0, crack_share=0.0, crack_share_surface=0.0), 30)
        for name, design in designs.items()
    }


@pytest.fixture(scope="module")
def tomography(particles: dict[str, tuple[Grains, Charged]]) -> dict[str, Course]:
    programme = tomography_programme((25.0, 150.0, 200.0, 250.0))
    middles = [(begin + end) / 2 for begin, end in programme.holds]
    return {name: heat(one, LAW, programme, moments=middles) for name, (_, one) in particles.items()}


@pytest.fixture(scope="module")
def of_one_composition(particles: dict[str, tuple[Grains, Charged]]) -> Callable[[Programme], dict[str, Track]]:
    """Tracks of both arrangements with the same nickel: only the grains differ."""

    def run(programme: Programme) -> dict[str, Track]:
        return {
            name: heat(replace(one, nickel=0.81), LAW, programme, kelvin=4.0)[0] for name, (_, one) in particles.items()
        }

    return run


def steps_of(course: Course) -> NDArray[np.float64]:
    return np.diff([float(state.white_line.mean()) for state in course[1]])


def test_the_rods_white_line_falls_first_and_gravels_catches_up(tomography: dict[str, Course]) -> None:
    rod, gravel = (steps_of(tomography[name]) for name in ("rod", "gravel"))
    assert (rod < 0).all()
    assert (gravel < 0).all()
    assert rod[0] < gravel[0] - 0.2  # 25 to 150: the rod falls further
    assert gravel[1] < rod[1] - 0.2  # 150 to 200: gravel does
    assert abs(rod[0]) > 3 * abs(rod[1])
    ends = [tomography[name][1][-1].white_line.mean() for name in ("rod", "gravel")]
    assert abs(ends[0] - ends[1]) < 0.1
    assert ends[0] == pytest.approx(8347.8, abs=0.1)


def test_histograms_narrow_from_25_to_150_and_from_150_to_250(tomography: dict[str, Course]) -> None:
    for course in tomography.values():
        widths = [float(state.white_line.std()) for state in course[1]]
        assert widths[0] == pytest.approx(LAW.line_spread, rel=0.05)
        assert widths[1] < 0.7 * widths[0]
        assert widths[3] < widths[1]


def test_the_rod_turns_to_spinel_in_a_narrower_and_earlier_range(
    of_one_composition: Callable[[Programme], dict[str, Track]],
) -> None:
    tracks = of_one_composition(SLOW_RAMP)
    begin, middle, end = (
        {name: temperature_of(track, share) for name, track in tracks.items()} for share in (0.03, 0.5, 0.95)
    )
    assert end["rod"] + 10 < end["gravel"] < 200
    assert end["gravel"] - begin["gravel"] > 2 * (end["rod"] - begin["rod"])
    assert middle["rod"] < middle["gravel"]
    assert abs(begin["rod"] - begin["gravel"]) < 4  # both begin at the transition


def test_gravel_loses_mass_later_than_the_rod(of_one_composition: Callable[[Programme], dict[str, Track]]) -> None:
    tracks = of_one_composition(ramp_programme(rate=5.0, end=280.0))
    rod, gravel = tracks["rod"], tracks["gravel"]
    late = rod.temperature > 150
    assert (gravel.mass_loss[late] <= rod.mass_loss[late] + 1e-3).all()
    stages = LAW.mass_of_spinel + LAW.mass_of_warming + np.array([0.1, 0.3, 0.5]) * LAW.mass_of_later
    lag = np.interp(stages, gravel.mass_loss, gravel.temperature) - np.interp(stages, rod.mass_loss, rod.temperature)
    assert lag[0] > 0.3
    assert (np.diff(lag) > 0.5).all()


def test_the_rod_has_the_longer_runs_along_the_radius_by_which_it_shrinks(
    particles: dict[str, tuple[Grains, Charged]], tomography: dict[str, Course]
) -> None:
    span = {name: radial_span(grains) for name, (grains, _) in particles.items()}
    closed = {name: span[name] * float(tomography[name][1][1].spinel.mean()) for name in span}
    assert closed["rod"] > 1.5 * closed["gravel"]


# -- refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", [-1.0, SLOW_RAMP.times[-1] + 1, float("nan")])
def test_a_moment_outside_the_programme_is_refused(gravel: Charged, moment: float) -> None:
    with pytest.raises(CathoscopeError, match="outside the programme"):
        heat(gravel, LAW, SLOW_RAMP, moments=[moment])


@pytest.mark.parametrize("bad", [{"oxygen": 0.0}, {"oxygen": -1.0}, {"kelvin": 0.0}, {"kelvin": float("nan")}])
def test_pressure_and_step_must_be_positive(gravel: Charged, bad: dict[str, float]) -> None:
    with pytest.raises(CathoscopeError, match="positive pressure and step"):
        heat(gravel, LAW, SLOW_RAMP, **bad)  # type: ignore[arg-type]
