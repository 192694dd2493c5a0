"""Frames of a full-field microscope from file to particle table, made from disks of known thickness and jump."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift

from cathoscope.core.parallel import Resources, Silent
from cathoscope.core.study import Study
from cathoscope.flow.recipe import load_recipe
from cathoscope.flow.run import RunOutcome, run
from tests.io.ole import write_ole

Runner = Callable[..., tuple[RunOutcome, xr.Dataset]]
Floats = NDArray[np.float64]

SIZE, PIXEL = 160, 0.05  # px, um
BELOW, ABOVE = 8320.0, 8360.0
DISKS = ((50, 60, 22.0, 0.5), (110, 95, 15.0, 0.3), (60, 125, 9.0, 0.4))  # row, column, radius, jump
FLUX = 2e5
ROW, COLUMN = np.mgrid[:SIZE, :SIZE].astype(float)


def disk(row: float, column: float, radius: float) -> Floats:
    return np.hypot(ROW - row, COLUMN - column) < radius


def jump_image() -> Floats:
    """Jump of optical depth: disks, with nothing outside."""
    return np.sum([jump * disk(row, column, radius) for row, column, radius, jump in DISKS], axis=0)


def depth_image(energy: float, jump: Floats) -> Floats:
    """Optical depth: matter that does not change with energy, and the jump above the edge."""
    return 0.8 * jump + (jump if energy > 8333.0 else 0.0)


BEAM = 1.0 + 0.3 * gaussian_filter(np.random.default_rng(1).normal(size=(SIZE, SIZE)), 20.0) * 20.0


class Microscope:
    """Writes frames as SSRL names them; ``rng`` adds photon noise."""

    def __init__(self, folder: Path, seed: int | None = None, flux: float = FLUX) -> None:
        self.folder, self.flux = folder, flux
        self.rng = None if seed is None else np.random.default_rng(seed)

    def frame(
        self, energy: float, number: int, counts: Floats, *, reference: bool = False, exposure: float = 1.0
    ) -> str:
        """One image, in floats so that noise-free counts are exact to 1e-7."""
        expected = self.flux * BEAM[: len(counts), : counts.shape[1]] * counts * exposure
        values = expected if self.rng is None else self.rng.poisson(expected)
        kind = "000051_ref_" if reference else ""
        name = f"rep01_{kind}20161456_disks_{energy:07.1f}_eV_{number:03d}of002.xrm"
        info = {"ImageHeight": values.shape[0], "ImageWidth": values.shape[1], "DataType": 10, "NoOfImages": 1}
        floats = {"Energy": energy, "ExpTimes": exposure, "PixelSize": PIXEL, "Angles": 0.0}
        streams = {f"ImageInfo/{key}": struct.pack("<i", value) for key, value in info.items()}
        streams |= {f"ImageInfo/{key}": struct.pack("<f", value) for key, value in floats.items()}
        write_ole(self.folder / name, streams | {"ImageData1/Image1": values.astype("<f4").tobytes()})
        return name

    def energy(self, energy: float, depth: Floats, exposures: tuple[float, float] = (1.0, 1.0)) -> None:
        """Two sample frames and two reference frames."""
        for number in (1, 2):
            self.frame(energy, number, np.exp(-depth), exposure=exposures[0])
            self.frame(energy, number, np.ones((SIZE, SIZE)), reference=True, exposure=exposures[1])


@pytest.fixture
def result_of(tmp_path: Path) -> Runner:
    """Runs the measurement of all frames in the test's folder, which must not fail, and reads its result."""

    def result(choices: str = "") -> tuple[RunOutcome, xr.Dataset]:
        path = tmp_path / "study.toml"
        path.write_text(f"""
[sample.disks]
[measurement.disks]
sample = "disks"
technique = "xanes-imaging"
files = "*.xrm"
{choices}
""")
        outcome = run(
            load_recipe(path, data=tmp_path), tmp_path / "study.zarr", resources=Resources(), progress=Silent()
        )
        assert outcome.failed == []
        return outcome, Study.open(outcome.study).read("result", "disks").load()

    return result


def remarks(outcome: RunOutcome) -> str:
    return "\n".join(Study.open(outcome.study).attributes("raw", "disks")["remarks"])


STILL = "imaging = { align = false }"


# -- from frames to energies -------------------------------------------------------------------------


def test_frames_are_grouped_by_energy_and_counts_become_optical_depth(result_of: Runner, tmp_path: Path) -> None:
    """Exposures of sample and reference differ, and so does the beam from place to place: neither matters."""
    microscope, jump = Microscope(tmp_path), jump_image()
    for energy, exposures in ((ABOVE, (0.5, 0.3)), (BELOW, (1.0, 2.0))):
        microscope.energy(energy, depth_image(energy, jump), exposures)
    outcome, found = result_of(STILL)
    assert found["energy"].values.tolist() == [BELOW, ABOVE]
    for index, energy in enumerate((BELOW, ABOVE)):
        np.testing.assert_allclose(found["optical_depth"][index], depth_image(energy, jump), atol=1e-6)
    np.testing.assert_allclose(np.diff(found["x"]), PIXEL, rtol=1e-6)
    np.testing.assert_allclose(found["x"], -found["x"][::-1], atol=1e-9)
    assert outcome.measurements[0].set_aside == []


def test_noise_is_that_of_the_photons(result_of: Runner, tmp_path: Path) -> None:
    microscope, jump = Microscope(tmp_path, seed=2, flux=2e3), jump_image()
    for energy in (BELOW, ABOVE):
        microscope.energy(energy, depth_image(energy, jump))
    _, found = result_of(STILL)
    truth = np.stack([depth_image(energy, jump) for energy in (BELOW, ABOVE)])
    pull = (found["optical_depth"] - truth) / found["optical_depth_std"]
    assert abs(float(pull.mean())) < 0.05
    assert float(pull.std()) == pytest.approx(1.0, abs=0.03)


def test_an_energy_without_reference_is_set_aside_with_its_reason(result_of: Runner, tmp_path: Path) -> None:
    microscope, jump = Microscope(tmp_path), jump_image()
    for energy in (BELOW, ABOVE):
        microscope.energy(energy, depth_image(energy, jump))
    lonely = microscope.frame(8348.0, 1, np.exp(-depth_image(8348.0, jump)))
    empty = microscope.frame(8400.0, 1, np.ones((SIZE, SIZE)), reference=True)
    outcome, found = result_of(STILL)
    assert found["energy"].values.tolist() == [BELOW, ABOVE]
    assert sorted(outcome.measurements[0].set_aside) == sorted(
        [(lonely, "there is no reference frame at 8348 eV"), (empty, "there is no sample frame at 8400 eV")]
    )


def test_frames_of_another_shape_and_damaged_ones_are_set_aside(result_of: Runner, tmp_path: Path) -> None:
    microscope, jump = Microscope(tmp_path), jump_image()
    for energy in (BELOW, ABOVE):
        microscope.energy(energy, depth_image(energy, jump))
    small = microscope.frame(8000.0, 1, np.ones((40, SIZE)))  # the first by name, but the only one of its shape
    damaged = microscope.frame(ABOVE, 3, np.exp(-jump))
    whole = (tmp_path / damaged).read_bytes()
    (tmp_path / damaged).write_bytes(whole[: len(whole) // 2])
    outcome, found = result_of(STILL)
    reasons = dict(outcome.measurements[0].set_aside)
    assert reasons[small] == "its image is (40, 160), that of the other frames (160, 160)"
    assert "truncated" in reasons[damaged]
    np.testing.assert_allclose(found["optical_depth"][1], depth_image(ABOVE, jump), atol=1e-6)


# -- alignment ---------------------------------------------------------------------------------------


def test_a_shift_between_the_energies_is_found_and_undone(result_of: Runner, tmp_path: Path) -> None:
    microscope, jump = Microscope(tmp_path, seed=3), gaussian_filter(jump_image(), 2.0)
    true = (3.4, -5.8)
    microscope.energy(ABOVE, depth_image(ABOVE, jump))
    microscope.energy(BELOW, shift(depth_image(BELOW, jump), (-true[0], -true[1]), order=3))
    outcome, found = result_of('imaging = { background = "none" }')
    said = re.search(r"8320.00 eV: moved by (\S+) ± \S+ rows and (\S+) ± \S+ columns", remarks(outcome))
    assert said is not None
    np.testing.assert_allclose([float(number) for number in said.groups()], true, atol=0.2)
    error = found["optical_depth_jump"] - jump
    inside = np.hypot(ROW - 80, COLUMN - 80) < 60
    still, unmoved = result_of('imaging = { background = "none", align = false }')
    assert "moved by" not in remarks(still)
    misfit = [float(np.sqrt((one.values[inside] ** 2).mean())) for one in (error, unmoved["optical_depth_jump"] - jump)]
    assert misfit[0] < 0.2 * misfit[1]


def test_the_magnification_is_undone_where_the_recipe_says_so(result_of: Runner, tmp_path: Path) -> None:
    """A zone plate: the pixel at the sample grows with energy, so lower energies show the sample larger."""
    low = 7500.0
    microscope = Microscope(tmp_path)
    jump = np.exp(-((ROW - 79.5) ** 2 + (COLUMN - 79.5) ** 2) / (2 * 25.0**2))
    scale = low / ABOVE
    wide = np.exp(-((ROW - 79.5) ** 2 + (COLUMN - 79.5) ** 2) * scale**2 / (2 * 25.0**2))
    microscope.energy(ABOVE, 0.8 * jump)
    microscope.energy(low, 0.8 * wide)
    imaging = 'imaging = { align = false, magnification = "proportional to energy", background = "none" }'
    _, found = result_of(f'{imaging}\nedge = {{ edge_energy = "8333 eV" }}')  # not that of Co, between them too
    seen = np.isfinite(found["optical_depth"][0].values)
    np.testing.assert_allclose(found["optical_depth"][0].values[seen], 0.8 * jump[seen], atol=1e-3)
    # what lies beyond the view of the lower energy is not known
    assert not seen[0].any()
    assert seen[80, 20:140].all()


# -- jump, mask, particles ---------------------------------------------------------------------------

TILT = 0.04 + 0.03 * (COLUMN - 80) / 80 - 0.02 * (ROW - 80) / 80 + 0.02 * ((ROW - 80) / 80) ** 2


@pytest.mark.parametrize(
    ("background", "field"),
    [("none", np.zeros((SIZE, SIZE))), ("constant", np.full((SIZE, SIZE), 0.04)), ("surface", TILT)],
)
def test_jump_mask_and_table_are_those_of_the_disks(
    result_of: Runner, tmp_path: Path, background: str, field: Floats
) -> None:
    """Each background is what its choice can take away, and then the table is that of the disks."""
    microscope, jump = Microscope(tmp_path, seed=4), jump_image()
    microscope.energy(BELOW, depth_image(BELOW, jump))
    microscope.energy(ABOVE, depth_image(ABOVE, jump) + field)
    choices = f'imaging = {{ align = false, background = "{background}", smallest_particle = "500 nm" }}'
    outcome, found = result_of(choices)
    np.testing.assert_array_equal(found["particle_mask"], jump > 0)
    assert found["optical_depth_jump"].attrs["element"] == "Ni"
    pixels = np.array([disk(row, column, radius).sum() for row, column, radius, _ in DISKS])
    np.testing.assert_allclose(found["particle_area"], pixels * PIXEL**2, rtol=1e-6)
    places = (np.array([(row, column) for row, column, *_ in DISKS]) - (SIZE - 1) / 2) * PIXEL
    np.testing.assert_allclose(np.stack([found["particle_y"], found["particle_x"]], axis=1), places, atol=1e-6)
    jumps = np.array([jump for *_, jump in DISKS])
    error = found["particle_jump"].values - jumps
    assert np.abs(error / found["particle_jump_std"].values).max() < 4.0
    assert np.abs(error).max() < 2e-3
    np.testing.assert_array_equal(np.unique(found["particle_label"]), [0, 1, 2, 3])
    assert not found["particle_at_border"].any()
    assert ("of the empty field taken from the edge jump" in remarks(outcome)) == (background != "none")


def test_a_tilted_background_that_is_left_shows_in_jump_and_uncertainty(result_of: Runner, tmp_path: Path) -> None:
    microscope, jump = Microscope(tmp_path, seed=5), jump_image()
    microscope.energy(BELOW, depth_image(BELOW, jump))
    microscope.energy(ABOVE, depth_image(ABOVE, jump) + TILT)
    tables = {}
    for background in ("none", "constant", "surface"):
        _, tables[background] = result_of(f'imaging = {{ align = false, background = "{background}" }}')
    none, constant, surface = tables.values()
    centre = np.array([TILT[disk(row, column, radius)].mean() for row, column, radius, _ in DISKS[:2]])
    np.testing.assert_allclose((none["particle_jump"] - surface["particle_jump"])[:2], centre, atol=2e-3)
    # the empty field is not flat: that is more uncertainty than photons make
    assert (constant["particle_jump_std"][:2] > 5 * surface["particle_jump_std"][:2]).all()


def test_small_particles_are_left_out_and_cut_ones_marked(result_of: Runner, tmp_path: Path) -> None:
    microscope = Microscope(tmp_path, seed=6)
    jump = 0.4 * (disk(60, 60, 20.0) | disk(120, 155, 12.0) | disk(120, 40, 5.0))
    for energy in (BELOW, ABOVE):
        microscope.energy(energy, depth_image(energy, jump))
    _, found = result_of('imaging = { align = false, smallest_particle = "600 nm" }')
    assert found["particle_at_border"].values.tolist() == [False, True]
    _, all_of_them = result_of('imaging = { align = false, smallest_particle = "400 nm" }')
    assert all_of_them.sizes["particle"] == 3


def test_only_what_a_choice_touches_is_computed_again(result_of: Runner, tmp_path: Path) -> None:
    microscope, jump = Microscope(tmp_path, seed=7), jump_image()
    for energy in (BELOW, ABOVE):
        microscope.energy(energy, depth_image(energy, jump))
    first, before = result_of(STILL)
    assert first.measurements[0].computed == ["optical depth", "edge jump", "particles"]
    assert before.sizes["particle"] == 2  # the third is smaller than 1 um
    again, found = result_of(f"{STILL}\nedge = {{ threshold = 0.35 }}")
    assert again.measurements[0].cached == ["optical depth"]
    assert found.sizes["particle"] == 1
