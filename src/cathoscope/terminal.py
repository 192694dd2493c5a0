"""Progress on a terminal: what is being done, how fast, how long still; plain lines in a log file."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

_LOG_INTERVAL = 10.0  # seconds between lines where nobody watches a bar


class TerminalProgress:
    """A `cathoscope.core.parallel.Progress` that a person sees."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}  {task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._label, self._unit, self._total, self._done = "", "", 0, 0
        self._began = self._spoke = 0.0
        self._lock = threading.Lock()

    def __enter__(self) -> TerminalProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def start(self, label: str, total: int, unit: str) -> None:
        """Begin a task."""
        self._label, self._unit, self._total, self._done = label, unit, total, 0
        self._began = self._spoke = time.monotonic()
        self._task = self._bar.add_task(label, total=total, unit=unit, rate="")

    def advance(self, units: int = 1) -> None:
        """Count units as done, and speak now and then if there is no bar."""
        with self._lock:
            self._done += units
        elapsed = time.monotonic() - self._began
        rate = self._done / elapsed if elapsed > 0 else 0.0
        if self._task is not None:
            self._bar.update(self._task, advance=units, rate=f"{rate:.1f}/s")
        if not self._console.is_terminal and time.monotonic() - self._spoke > _LOG_INTERVAL:
            self._spoke = time.monotonic()
            left = f", {(self._total - self._done) / rate:.0f} s left" if rate else ""
            self._say(f"{self._label}: {self._done}/{self._total} {self._unit}, {rate:.1f}/s{left}")

    def finish(self) -> None:
        """End the task."""
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
        seconds = time.monotonic() - self._began
        self._say(f"{self._label}: {self._done} {self._unit} in {seconds:.1f} s")

    def remark(self, text: str) -> None:
        """Print a line above the bar."""
        self._say(text)

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)
