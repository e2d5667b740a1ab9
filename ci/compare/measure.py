"""Measures one model in all runtimes, in turns, so that the machine's other load meets them all."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from builders.errors import EngineError, SmokeError
from ci.bench.candidates import Worker, workers
from ci.bench.starts import start_once
from ci.compare.models import Subject, Variant
from ci.compare.places import Place, Timed
from ci.compare.settings import ONNX, Settings
from smoke_lambda import events
from smoke_lambda.limits import Limits
from smoke_lambda.measure import STEP_MB, least
from smoke_lambda.onnx.handler import OUTPUT, handler_of

THREADS = (1, 2)
"""The numbers of threads that are measured: one thread for each virtual CPU of the function."""
REQUESTS = 12
INIT_PARTS = ("numpy", "import", "create", "allocate")
"""The parts of a function's init; the interpreter's own start is the same for all."""
HEADROOM = 1.25
MEGABYTE = 1 << 20

Tell = Callable[[str], None]
"""A function that is told the present step."""


@dataclass(kw_only=True)
class Row:
    """The measurements of one runtime with one file of a model.

    Attributes:
        place: the installed runtime.
        cpu_ms: the median CPU time of an inference in each turn, by number of threads.
        wall_ms: the median wall time of an inference in each turn, by number of threads.
        nodes: the number of nodes that XNNPACK took, and of all nodes; (0, 0) if unknown.
        apart: the largest difference from the reference kernels' answers, divided by the largest
            of these.
        starts: the reports of new processes with the model; see smoke_lambda/inside/starting.py.
        function_ms: the times of requests to the function with the model; the first contains
            the init.
        least_mb: the least memory in which the runtime answers; None if memory is not limited.
        reply: the function's answer.
        error: why the rest is missing.
    """

    place: Place
    variant: Variant
    cpu_ms: dict[int, list[float]] = field(default_factory=dict)
    wall_ms: dict[int, list[float]] = field(default_factory=dict)
    nodes: tuple[int, int] = (0, 0)
    apart: float | None = None
    starts: list[dict[str, Any]] = field(default_factory=list)
    function_ms: list[float] = field(default_factory=list)
    least_mb: int | None = None
    reply: Any = None
    error: str = ""

    @property
    def init_ms(self) -> float | None:
        """The least CPU time to import and load, without the start of Python itself."""
        totals = [sum(each["cpu_parts"][part] for part in INIT_PARTS) for each in self.starts]
        return min(totals, default=None)

    @property
    def first_ms(self) -> float | None:
        """The least CPU time of the first inference."""
        return min((each["cpu_parts"]["first"] for each in self.starts), default=None)

    @property
    def peak_bytes(self) -> int | None:
        """The peak of resident memory up to the first answer; the least of several processes."""
        return min((each["peak_bytes"] for each in self.starts), default=None)

    @property
    def request_ms(self) -> float | None:
        """The median wall time of a request to the warm function; None if there is none."""
        return median(self.function_ms[1:]) if len(self.function_ms) > 1 else None

    def warm_ms(self, threads: int) -> float | None:
        """Return the median of the turns: of CPU time with one thread, of wall time with more."""
        times = (self.cpu_ms if threads == 1 else self.wall_ms).get(threads)
        return median(times) if times else None


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Measures the rows of a model.

    Attributes:
        cpus: the numbers of the processors to use.
        work: a folder for functions' code.
    """

    settings: Settings
    cpus: Sequence[int]
    work: Path
    log: Path
    tell: Tell

    def measure(self, subject: Subject, places: Sequence[Place]) -> list[Row]:
        """Measure a model in each runtime that can run it; the other rows have an error."""
        rows = [
            Row(place=place, variant=variant, error=variant.error)
            for place in places
            for variant in subject.of(place.contender.format)
        ]
        self._warm(subject, rows)
        self._starts(subject, rows)
        if subject.picture is not None:
            self._functions(subject, rows)
        self._least(subject, rows)
        return rows

    def _warm(self, subject: Subject, rows: Sequence[Row]) -> None:
        able = [row for row in rows if not row.error]
        with workers([row.place for row in able], self.log) as processes:
            for threads in THREADS:
                if threads > len(self.cpus):
                    continue
                pairs = list(zip(able, processes, strict=True))
                for row, worker in pairs:
                    self.tell(f"load in {row.place.name}")
                    self._load(subject, row, worker, threads)
                for turn in range(self.settings.turns):
                    self.tell(f"{threads} thread{'s' * (threads > 1)}, turn {turn + 1}")
                    for row, worker in pairs if turn % 2 == 0 else reversed(pairs):
                        self._turn(row, worker, threads)

    def _load(self, subject: Subject, row: Row, worker: Worker, threads: int) -> None:
        if row.error:
            return
        answer = worker.ask(
            "load",
            model=str(row.variant.model),
            cases=str(row.variant.cases),
            threads=threads,
            cpus=list(self.cpus)[:threads],
        )
        compared = answer if "error" in answer else worker.ask("compare", path=str(subject.answers))
        row.error = answer.get("error", compared.get("error", ""))
        if not row.error:
            taken, total = answer["nodes"]
            row.nodes, row.apart = (taken, total), max(row.apart or 0.0, compared["apart"])

    def _turn(self, row: Row, worker: Worker, threads: int) -> None:
        if row.error:
            return
        answer = worker.ask("time", seconds=self.settings.turn_seconds)
        row.error = answer.get("error", "")
        if not row.error:
            row.cpu_ms.setdefault(threads, []).append(median(answer["cpu_ms"]))
            row.wall_ms.setdefault(threads, []).append(median(answer["wall_ms"]))

    def _starts(self, subject: Subject, rows: Sequence[Row]) -> None:
        for turn in range(self.settings.starts + 1):
            self.tell(f"new processes, {turn + 1} of {self.settings.starts + 1}")
            for row in rows:
                if row.error:
                    continue
                try:
                    said = start_once(
                        row.place.limited(Limits(cpus=1, memory_mb=MOST_MB)),
                        row.variant.network(subject.name),
                        self.log,
                    )
                except SmokeError as error:
                    row.error = error.what
                    continue
                if turn > 0:  # the first turn fills the caches of files
                    row.starts.append(said)

    def _functions(self, subject: Subject, rows: Sequence[Row]) -> None:
        """Send the same picture to all functions, in turns."""
        self.tell("the same picture to each function")
        sample = subject.sample or events.IMAGES / events.SAMPLE
        event = {"image": events.encoded(sample.read_bytes())}
        with ExitStack() as stack:
            running: list[tuple[Row, Timed]] = []
            for number, row in enumerate(rows):
                if row.error:
                    continue
                task = self.work / f"task-{number}"
                lay_out(row, task)
                variables = {"MODEL_PATH": f"model.{row.variant.format}"}
                place = row.place.limited(Limits(cpus=1, memory_mb=MOST_MB))
                try:
                    function = stack.enter_context(place.function(task, variables))
                except (SmokeError, EngineError) as error:
                    row.error = error.what
                    continue
                running.append((row, function))
            for turn in range(REQUESTS):
                for row, function in running if turn % 2 == 0 else reversed(running):
                    try:
                        row.reply = function.invoke(event)
                    except (OSError, ValueError) as error:
                        row.error = f"its function does not answer: {error}"
            for row, function in running:
                row.function_ms = function.ms
                if not row.error and "class" not in row.reply:
                    row.error = f"its function answers {row.reply}"[:200]

    def _least(self, subject: Subject, rows: Sequence[Row]) -> None:
        for row in rows:
            if row.error or not row.place.is_limited:
                continue
            self.tell(f"the least memory in {row.place.name}")
            most = math.ceil(HEADROOM * (row.peak_bytes or 0) / MEGABYTE / STEP_MB) * STEP_MB
            row.least_mb = least(
                lambda mb, row=row: self._starts_with(subject, row, mb),  # type: ignore[misc]
                most_mb=min(MOST_MB, max(most, 2 * STEP_MB)),
            )

    def _starts_with(self, subject: Subject, row: Row, memory_mb: int) -> bool:
        place = row.place.limited(Limits(cpus=1, memory_mb=memory_mb))
        try:
            start_once(place, row.variant.network(subject.name), self.log)
        except SmokeError:
            return False
        return True


MOST_MB = 10_240


def lay_out(row: Row, task: Path) -> None:
    """Write a function's folder: the handler for the row's runtime, and the model."""
    shutil.rmtree(task, ignore_errors=True)
    task.mkdir(parents=True)
    handler = OUTPUT.read_text() if row.variant.format == ONNX else handler_of(row.place.module)
    (task / "app.py").write_text(handler)
    shutil.copyfile(row.variant.model, task / f"model.{row.variant.format}")


def processors() -> list[int]:
    """Return the numbers of the processors that this process may use."""
    return sorted(os.sched_getaffinity(0))


def works(place: Place, subject: Subject, variant: Variant, log: Path) -> str:
    """Return why a runtime does not run a model; an empty text if it does."""
    try:
        start_once(place, variant.network(subject.name), log)
    except SmokeError as error:
        return error.what
    return ""
