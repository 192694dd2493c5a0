"""Progress that a person sees, on a terminal and in a log file."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from cathoscope import terminal
from cathoscope.core.parallel import run_slabs
from cathoscope.terminal import TerminalProgress


class Clock:
    """Time that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(terminal, "time", clock)
    return clock


def console(*, is_terminal: bool) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, force_terminal=is_terminal, width=40, color_system=None), text


def test_a_log_file_gets_whole_lines_and_no_control_characters(clock: Clock) -> None:
    where, text = console(is_terminal=False)
    with TerminalProgress(where) as progress:
        progress.start("reconstruction", 40, "slabs")
        clock.now += 2.0
        progress.advance(10)  # soon after the start: nothing to say yet
        clock.now += 8.5
        progress.advance(11)
        progress.remark("a remark of more than forty characters stays on one line")
        clock.now += 9.5
        progress.advance(19)
        progress.finish()
    assert text.getvalue().splitlines() == [
        # 21 slabs in 10.5 s are 2 per second, so 19 more take 9.5 s
        "reconstruction: 21/40 slabs, 2.0/s, 10 s left",
        "a remark of more than forty characters stays on one line",
        "reconstruction: 40 slabs in 20.0 s",
    ]


def test_what_was_skipped_by_a_resumed_run_needs_no_time(clock: Clock) -> None:
    where, text = console(is_terminal=False)
    with TerminalProgress(where) as progress:
        progress.start("reconstruction", 2, "slabs")
        progress.advance()
        progress.advance()
        progress.finish()
    assert text.getvalue() == "reconstruction: 2 slabs in 0.0 s\n"


def test_no_rate_yet_is_not_a_division_by_zero(clock: Clock) -> None:
    where, text = console(is_terminal=False)
    with TerminalProgress(where) as progress:
        progress.start("geometry", 3, "scans")
        clock.now += 11.0
        progress.advance(0)
    assert text.getvalue() == "geometry: 0/3 scans, 0.0/s\n"


def test_a_terminal_shows_a_bar_and_the_outcome_stays(clock: Clock) -> None:
    where, text = console(is_terminal=True)
    with TerminalProgress(where) as progress:
        progress.start("geometry", 3, "scans")
        clock.now += 20.0
        progress.advance(3)
        progress.finish()
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.getvalue()).replace("\r", "\n").splitlines()
    assert "geometry: 3 scans in 20.0 s" in [line.strip() for line in lines]
    assert not any("s left" in line for line in lines)


def test_names_in_brackets_are_not_taken_for_markup() -> None:
    where, text = console(is_terminal=False)
    with TerminalProgress(where) as progress:
        progress.remark("[measurement.rod] rotation axis [red]")
    assert text.getvalue() == "[measurement.rod] rotation axis [red]\n"


def test_two_tasks_one_after_the_other_are_counted_apart(clock: Clock) -> None:
    where, text = console(is_terminal=False)
    with TerminalProgress(where) as progress:
        for label in ("first", "second"):
            progress.start(label, 1, "slabs")
            progress.advance()
            progress.finish()
    assert text.getvalue().splitlines() == ["first: 1 slabs in 0.0 s", "second: 1 slabs in 0.0 s"]


def test_finishing_what_never_began_is_harmless(clock: Clock) -> None:
    where, _ = console(is_terminal=False)
    TerminalProgress(where).finish()


def test_no_unit_is_lost_between_threads() -> None:
    where, text = console(is_terminal=False)
    with TerminalProgress(where) as progress:
        progress.start("reconstruction", 200, "slabs")
        run_slabs(lambda _: progress.advance(), range(200), threads=4)
        progress.finish()
    assert text.getvalue().startswith("reconstruction: 200 slabs in")
