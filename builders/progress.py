"""The progress of a build for people: a live line per step, or a plain log in CI."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table

PLAIN_INTERVAL_SECONDS = 10.0
TABLE_WIDTH = 165
MEGABYTE = 1_000_000


@dataclass
class Step:
    """A step that is running."""

    title: str
    started: float = field(default_factory=time.monotonic)
    detail: str = ""
    shown: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """The time that the step has taken so far, in seconds."""
        return time.monotonic() - self.started


class Reporter:
    """Shows steps on a console, and records how long each step took.

    Args:
        interval: the seconds between two lines of one step if there is no terminal.
    """

    def __init__(self, console: Console, *, interval: float = PLAIN_INTERVAL_SECONDS) -> None:
        self.console = console
        self.interval = interval
        self.seconds: dict[str, float] = {}
        self._steps: list[Step] = []
        self._lock = threading.Lock()
        self._live: Live | None = None

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show live lines while the block lasts, if there is a terminal."""
        if not self.console.is_terminal:
            yield
            return
        with Live(
            console=self.console,
            get_renderable=self._render,
            refresh_per_second=8,
            transient=True,
        ) as self._live:
            yield

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show a step until it ends, and then print a line that says how it ended."""
        step = Step(title)
        with self._lock:
            self._steps.append(step)
        if not self.console.is_terminal:
            self.say(f"… {title}")
        mark, style = "✗", "red"
        try:
            yield step
            mark, style = "✓", "green"
        finally:
            with self._lock:
                self._steps.remove(step)
                self.seconds[title] = step.seconds
            self.say(f"[{style}]{mark}[/] {title}  [dim]{duration(step.seconds)}[/]")

    def show(self, step: Step, detail: str) -> None:
        """Show how far a step is; in a plain log, at most once per interval."""
        step.detail = detail
        now = time.monotonic()
        if not self.console.is_terminal and now - step.shown >= self.interval:
            step.shown = now
            self.say(f"  {step.title}: {detail}")

    def say(self, line: str) -> None:
        """Print a line above the live ones."""
        self.console.print(line, soft_wrap=True, highlight=False)

    def _render(self) -> Table:
        table = Table.grid(padding=(0, 1))
        with self._lock:
            for step in self._steps:
                table.add_row(Spinner("dots"), step.title, f"[dim]{step.detail}[/]")
        return table


def table_console() -> Console:
    """Return a console for standard output; if that is no terminal, it is as wide as our tables."""
    return Console() if sys.stdout.isatty() else Console(width=TABLE_WIDTH)


def describe(done: int, total: int | None, unit: str, seconds: float) -> str:
    """Return text such as `312/941 MB, 45 MB/s, 14s left` or `120/588 objects, 1:10 left`.

    Args:
        done: bytes or build steps so far.
        total: the number of all of them; None if it is unknown.
        unit: `bytes`, else the word for what is counted.
        seconds: the time since the step began.
    """
    if unit == "bytes":
        parts = [f"{done / MEGABYTE:.0f}{f'/{total / MEGABYTE:.0f}' if total else ''} MB"]
        if seconds > 1:
            parts.append(f"{done / MEGABYTE / seconds:.0f} MB/s")
    else:
        parts = [f"{done}{f'/{total}' if total else ''} {unit}"]
    if total and done and seconds > 1:
        parts.append(f"{duration(seconds * (total - done) / done)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return seconds as `0.4s`, `42s` or `2:05`."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    if seconds < 60:
        return f"{seconds:.0f}s"
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
