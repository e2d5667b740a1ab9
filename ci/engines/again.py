"""Make a core again from nothing, in a folder of its own, and measure the time."""

from __future__ import annotations

import json
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from builders.cache import Cache, sha256_of
from builders.core import Core, make_core
from builders.engines.engine import Engine, Job
from builders.engines.graph import Compilation
from builders.engines.ninja import NINJA
from builders.matrix import TensorFlow
from builders.native import NativeRunner
from builders.progress import describe
from builders.toolchain import Toolchain
from ci.engines.simulation import Task

RECORD = "core.json"
# Ninja's own log; a line has `start end mtime output hash`, with start and end in milliseconds.
NINJA_LOG = ".ninja_log"


@dataclass
class Watched:
    """An engine, and the time that its compiling took.

    Attributes:
        seconds: the time on the clock.
        processor_seconds: the processor time, summed over all processors of this machine.
        tasks: the commands with their times; empty if the engine is not Ninja, since only Ninja
            logs the time of each.
    """

    engine: Engine
    seconds: float = 0.0
    processor_seconds: float = 0.0
    tasks: list[Task] = field(default_factory=list)

    @property
    def identity(self) -> str:
        """See Engine."""
        return self.engine.identity

    def compile(self, job: Job) -> None:
        """See Engine."""
        clock, processors = time.monotonic(), _processor_seconds()
        self.engine.compile(job)
        self.seconds = time.monotonic() - clock
        self.processor_seconds = _processor_seconds() - processors
        if self.engine is NINJA:
            self.tasks = ninja_tasks(job)

    def forget(self, build: Path) -> None:
        """See Engine."""
        self.engine.forget(build)


@dataclass(frozen=True, kw_only=True)
class Made:
    """A core that was made again.

    Attributes:
        core: the core.
        seconds: the time on the clock from the unpacked sources to the checked core.
        watched: the engine, with the part of the time that was compiling.
    """

    core: Core
    seconds: float
    watched: Watched


def made_again(
    title: str,
    engine: Engine,
    tensorflow: TensorFlow,
    arch: str,
    runner: NativeRunner,
    folder: Path,
    on_progress: Callable[[int, int | None], None] = lambda _done, _total: None,
) -> Made:
    """Make a core in an empty folder, from the sources in the runner's cache.

    Args:
        title: the name of the step and of its log.
        folder: the folder; if it exists, it is deleted first.
        on_progress: a function to call with the number of finished commands and of all commands.

    Raises:
        UserError: make_core raised it.
    """
    sources, trees = runner.sources(tensorflow), runner.trees(tensorflow)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # zig keeps the libc++ that it links with in this folder. The libc++ is shared, since nothing
    # that is compared or timed here depends on it.
    zig = runner.cache.root / "zig"
    zig.mkdir(exist_ok=True)
    (folder / "zig").symlink_to(zig)
    cache = Cache(folder)
    watched = Watched(engine)
    with runner.reporter.step(title) as step:

        def progress(done: int, total: int | None) -> None:
            runner.reporter.show(step, describe(done, total, "objects", step.seconds))
            on_progress(done, total)

        clock = time.monotonic()
        core = make_core(
            tensorflow,
            arch,
            sources,
            lambda: trees,
            cache=cache,
            toolchain=Toolchain(cache),
            jobs=runner.jobs,
            log=runner.log(title),
            progress=progress,
            engine=watched,
        )
        return Made(core=core, seconds=time.monotonic() - clock, watched=watched)


def differences(one: Core, other: Core) -> list[str]:
    """Return the files that differ between two cores, sorted.

    The engine's name in the record may differ.
    """
    first, second = (dict(_digests(core.path)) for core in (one, other))
    found = {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}
    if _told(one) != _told(other):
        found.add(RECORD)
    return sorted(found)


def ninja_tasks(job: Job) -> list[Task]:
    """Return the commands of a Ninja build with the time of each, in the order of the graph."""
    graph = job.graph
    seconds = dict(_logged(job.build / NINJA_LOG))
    headers = {str(job.build / header.output): header.output for header in graph.headers}

    def task(each: Compilation) -> Task:
        after = tuple(headers[word] for word in each.words if word in headers)
        own = tuple(name for name in after if name != each.output)
        return Task(name=each.output, seconds=seconds[each.output], after=own)

    # COMPILER ar OPERATION ARCHIVE OBJECT...
    archives = [
        Task(name=each.output, seconds=seconds[each.output], after=each.words[4:])
        for each in graph.archives
    ]
    return [*map(task, graph.headers), *map(task, graph.objects), *archives]


def _logged(log: Path) -> Iterator[tuple[str, float]]:
    """Yield each file that Ninja made, and the seconds that it took."""
    for line in log.read_text().splitlines():
        if not line.startswith("#"):
            begun, ended, _time, output, _hash = line.split("\t")
            yield output, (int(ended) - int(begun)) / 1000


def _digests(folder: Path) -> Iterator[tuple[str, str]]:
    for path in folder.rglob("*"):
        if path.is_file() and path.name != RECORD:
            yield path.relative_to(folder).as_posix(), sha256_of(path)


def _told(core: Core) -> str:
    return json.dumps({key: value for key, value in core.record.items() if key != "engine"})


def _processor_seconds() -> float:
    """Return the processor time, in seconds, of all ended programs that this process started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
