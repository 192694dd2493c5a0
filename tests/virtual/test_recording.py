from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

from cathoscope.core.errors import CathoscopeError, StudyError
from cathoscope.core.parallel import Resources
from cathoscope.io.registry import open_raw
from cathoscope.virtual import recording as module
from cathoscope.virtual.data_exchange import DataExchangeLayout, ExchangeHeader
from cathoscope.virtual.fxi import FxiLayout, draw_headers
from cathoscope.virtual.microscope import Optics, Series
from cathoscope.virtual.recording import Recording, record, require_space
from cathoscope.virtual.specimen import Grid
from cathoscope.virtual.txm import TxmOptions

GRID = Grid(columns=24, rows=20, pixel_size=0.1)
SERIES = Series((8300.0, 8350.0, 8352.0), 2, 30)
OPTICS = Optics(resolution=0.1, drift=0.05, magnification_slope=2e-4)
OPTIONS = TxmOptions(vertical_jitter=0.2)


@dataclass(frozen=True)
class Ball:
    """A ball of two components, one of them with an edge between the first two energies."""

    grid: Grid = GRID
    components: int = 2
    radius: float = 0.7  # um

    def slices(self, temperature: int, rows: slice) -> NDArray[np.float32]:
        edge = self.grid.pixel_size / 2
        across = (np.arange(2 * self.grid.columns) - (2 * self.grid.columns - 1) / 2) * edge
        up = ((np.arange(2 * self.grid.rows) - (2 * self.grid.rows - 1) / 2) * edge)[rows]
        distance = np.sqrt(up[:, None, None] ** 2 + across[:, None] ** 2 + across**2)
        filled = np.clip((self.radius - distance) / edge + 0.5, 0, 1)
        share = np.linspace(0.3, 0.6, self.components) * (1 + temperature)
        return (filled[..., None] * share).astype(np.float32)

    def weights(self, temperature: int, energies: ArrayLike) -> NDArray[np.float64]:
        edge = (np.asarray(energies) > 8340).astype(float)
        return np.stack([np.ones_like(edge), *[edge] * (self.components - 1)], axis=1)


def draw(seed: int = 3, optics: Optics = OPTICS, options: TxmOptions = OPTIONS) -> Recording:
    return Recording.draw(GRID, SERIES, optics=optics, options=options, seed=(seed, 0))


def layout_of(folder: Path, recording: Recording) -> FxiLayout:
    headers = draw_headers(
        recording.stated_energies, recording.stated_pixel_sizes, ["at 25 C", "at 150 C"], recording.identities
    )
    return FxiLayout((folder / "a_025C", folder / "a_150C"), headers)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def made(folder: Path, recording: Recording, threads: int = 1) -> dict[str, bytes]:
    record(Ball(), recording, layout_of(folder, recording), resources=Resources(threads))
    return files_of(folder)


def test_a_seed_makes_the_same_bytes_on_one_and_two_threads_and_in_any_slabs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made(tmp_path / "first", draw())
    assert len(first) == 6
    assert made(tmp_path / "threads", draw(), threads=2) == first
    assert made(tmp_path / "other", draw(seed=4)) != first
    thin: Callable[..., list[slice]] = lambda *_: [slice(0, 8), slice(8, 16), slice(16, 20)]  # noqa: E731
    monkeypatch.setattr(module, "_slabs", thin)
    assert made(tmp_path / "slabs", draw(), threads=2) == first


def test_the_files_are_read_as_the_beamline_s(tmp_path: Path) -> None:
    recording = draw()
    layout = layout_of(tmp_path, recording)
    record(Ball(), recording, layout)
    for t, row in enumerate(recording.views):
        for e, view in enumerate(row):
            scan = open_raw([layout.path(t, e)])
            assert scan.attrs["format"] == "fxi"
            assert scan.attrs["remarks"] == []
            assert float(scan.energy) == pytest.approx(SERIES.energies[e])
            assert scan.attrs["pixel_size"] == pytest.approx(0.1 / view.magnification, rel=1e-5)
            np.testing.assert_array_equal(scan.angle, view.scan.angles)
            assert scan.counts.shape == (30, 20, 24)
            assert scan.flat_counts.shape == (OPTIONS.flats, 20, 24)
            assert scan.dark_counts.shape == (OPTIONS.darks, 20, 24)


def test_a_nano_ct_series_is_written_and_read_as_data_exchange(tmp_path: Path) -> None:
    options = replace(TxmOptions.ideal(photons=50_000), arc=177.0)
    recording = Recording.draw(GRID, Series((8000.0,), 2, 40), optics=Optics.ideal(), options=options, seed=(1,))
    headers = tuple((ExchangeHeader("ct.h5", 8000.0, 0.1, "ball", f"temperature {t}"),) for t in range(2))
    layout = DataExchangeLayout((tmp_path / "cold", tmp_path / "hot"), headers)
    record(Ball(), recording, layout, resources=Resources(2))
    cold, hot = (open_raw(layout.path(t, 0)) for t in range(2))
    for scan, mu in ((cold, 0.3), (hot, 0.6)):
        assert scan.attrs["format"] == "data_exchange"
        np.testing.assert_allclose(scan.angle, np.linspace(0, 177, 40))
        middle = scan.counts[:, 9:11, 11:13].values / 50_000
        assert middle == pytest.approx(np.exp(-mu * 1.4), rel=0.01)


def test_how_far_the_specimen_s_axis_strays_is_known() -> None:
    still = draw(optics=Optics.ideal(), options=replace(TxmOptions.ideal(), axis_offset=-1.5))
    assert still.sideways == pytest.approx(1.5)
    moved = draw(optics=replace(Optics.ideal(), drift=0.1), options=TxmOptions.ideal())
    largest = max(np.hypot(*view.displacement[:2]) for row in moved.views for view in row)
    assert 0.9 * largest / 0.1 < moved.sideways <= largest / 0.1


def test_the_magnification_is_kept_quiet_if_the_files_do_not_report_it(tmp_path: Path) -> None:
    recording = draw(optics=replace(OPTICS, magnification_reported=False))
    assert {view.magnification for row in recording.views for view in row} != {1.0}
    np.testing.assert_array_equal(recording.stated_pixel_sizes, GRID.pixel_size)


def read(folder: Path, recording: Recording, name: str = "img_tomo") -> NDArray[np.float64]:
    """All images of a kind, (temperature, energy, image, row, column)."""
    layout = layout_of(folder, recording)
    images = []
    for t in range(2):
        for e in range(3):
            with h5py.File(layout.path(t, e)) as file:
                images.append(file[name][:].astype(np.float64))
    return np.array(images).reshape(2, 3, *images[0].shape)


def test_an_ideal_instrument_counts_beer_and_lambert_and_the_edge(tmp_path: Path) -> None:
    options = TxmOptions.ideal(photons=60_000)
    recording = draw(optics=Optics.ideal(), options=options)
    made(tmp_path, recording)
    transmission = read(tmp_path, recording) / 60_000
    columns, rows = ((np.arange(n) - (n - 1) / 2) * 0.1 for n in (24, 20))
    squared = columns**2 + rows[:, None] ** 2
    chord = 2 * np.sqrt(np.clip(0.7**2 - squared, 0, None))
    clear = squared < 0.5**2
    for t, e, mu in ((0, 0, 0.3), (0, 1, 0.9), (1, 0, 0.6), (1, 2, 1.8)):
        exact = np.exp(-mu * chord)
        found = transmission[t, e].mean(axis=0)
        assert np.abs(found - exact)[clear].max() < 0.01
        assert (found[squared > 0.85**2] == 1).all()
    assert transmission[1, 1].min() < 0.1


def test_noise_of_projections_is_that_of_the_photons_that_arrive(tmp_path: Path) -> None:
    quiet = replace(TxmOptions.ideal(photons=5_000), illumination=0.3, pixel_gain=0.01)
    noisy = replace(quiet, counting_noise=True)
    expected = draw(options=quiet)
    made(tmp_path / "quiet", expected)
    made(tmp_path / "noisy", draw(options=noisy))
    mean, counts = (read(tmp_path / name, expected) for name in ("quiet", "noisy"))
    dispersion = (counts - mean) ** 2 / mean
    # A rounded mean adds 1/12 of a count to a variance of some thousand: far below what can be seen.
    assert 1e-4 < chi2.cdf(dispersion.sum(), dispersion.size) < 1 - 1e-4
    dark_side = mean < 2_000
    assert dark_side.sum() > 2_000
    assert 1e-4 < chi2.cdf(dispersion[dark_side].sum(), dark_side.sum()) < 1 - 1e-4
    pull = (counts - mean) / np.sqrt(mean)
    for axis in (1, 2, 3, 4):  # energies, projections, rows and columns share no noise
        left, right = (np.take(pull, range(a, pull.shape[axis] - 1 + a), axis=axis).ravel() for a in (0, 1))
        assert abs(np.mean(left * right)) < 4.5 / np.sqrt(left.size)


class Watcher:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.total = self.done = self.ended = 0

    def start(self, label: str, total: int, unit: str) -> None:
        self.total = total

    def advance(self, units: int = 1) -> None:
        self.done += units

    def finish(self) -> None:
        self.ended += 1

    def remark(self, text: str) -> None:
        raise AssertionError(text)


def test_progress_ends_at_its_total(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for thick in (4, 8, 20):
        slabs = [slice(start, min(start + thick, 20)) for start in range(0, 20, thick)]
        monkeypatch.setattr(module, "_slabs", lambda *_, slabs=slabs: slabs)
        recording, watcher = draw(), Watcher()
        record(Ball(), recording, layout_of(tmp_path, recording), progress=watcher)
        assert watcher.done == watcher.total > 6
        assert watcher.ended == 1


@dataclass(frozen=True)
class Breaking(Ball):
    """Fails at the second temperature, when a part has been written."""

    error: type[BaseException] = KeyboardInterrupt

    def slices(self, temperature: int, rows: slice) -> NDArray[np.float32]:
        if temperature == 1 and rows.start > 16:
            raise self.error
        return super().slices(temperature, rows)


@pytest.mark.parametrize(("error", "raised"), [(KeyboardInterrupt, KeyboardInterrupt), (OSError, StudyError)])
@pytest.mark.parametrize("threads", [1, 2])
def test_files_get_their_names_when_they_are_whole(
    tmp_path: Path, error: type[BaseException], raised: type[BaseException], threads: int
) -> None:
    recording = draw()
    with pytest.raises(raised):
        record(Breaking(error=error), recording, layout_of(tmp_path, recording), resources=Resources(threads))
    whole = made(tmp_path / "again", recording)
    found = files_of(tmp_path)
    assert {name: found[name] for name in found if not name.startswith("again")} == {
        name: content for name, content in whole.items() if name.startswith("a_025C")
    }


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "a_025C").write_text("a file where a folder should be")
    recording = draw()
    with pytest.raises(StudyError, match="a_025C"):
        record(Ball(), recording, layout_of(tmp_path, recording))


def test_the_size_on_disk_is_known_beforehand(tmp_path: Path) -> None:
    recording = draw()
    taken = sum(map(len, made(tmp_path, recording).values()))
    assert taken <= recording.bytes_on_disk < taken + 6 * 16_384
    wide = replace(recording, grid=Grid(256, 256, 0.05), series=Series((8300.0,) * 60, 4, 360))
    assert wide.bytes_on_disk == pytest.approx(240 * 256**2 * 2 * (380 + 4), rel=1e-3)


def test_a_disk_without_room_is_refused_with_what_to_do(tmp_path: Path) -> None:
    require_space(tmp_path / "not" / "yet" / "there", 1)
    with pytest.raises(CathoscopeError, match="1e\\+06 GB") as caught:
        require_space(tmp_path / "not" / "there", 10**15)
    assert "--size" in str(caught.value)
    assert "--particles" in str(caught.value)
    assert not (tmp_path / "not").exists()


def test_slabs_cover_all_rows_once_and_shrink_with_the_memory() -> None:
    recording = Recording.draw(
        Grid(128, 100, 0.05), Series((8300.0, 8400.0), 1, 180), optics=OPTICS, options=OPTIONS, seed=(1,)
    )
    thickness = []
    for memory in (1e8, 8e8, 1e10):
        slabs = module._slabs(recording, 16, Resources(2, memory))
        covered = [row for slab in slabs for row in range(slab.start, slab.stop)]
        assert covered == list(range(100))
        assert all(slab.start % 8 == 0 for slab in slabs)
        thickness.append(slabs[0].stop)
    assert thickness[0] == 8 < thickness[1] < thickness[2] == 104 - 4


def test_memory_in_flight_stays_within_the_setting(tmp_path: Path) -> None:
    grid, series = Grid(32, 96, 0.1), Series((8300.0, 8350.0), 1, 400)
    recording = Recording.draw(grid, series, optics=OPTICS, options=OPTIONS, seed=(1,))
    specimen = Ball(grid, components=12)
    layout = FxiLayout(
        (tmp_path,),
        draw_headers(recording.stated_energies, recording.stated_pixel_sizes, ["note"], recording.identities),
    )
    whole = 4 * 400 * 192 * 12 * 64
    assert whole > 2e8
    tracemalloc.start()
    record(specimen, recording, layout, resources=Resources(1, 1e8))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.3e8
