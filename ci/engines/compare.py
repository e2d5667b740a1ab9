"""Compare Bazel with CMake's own engine: the bytes of a core, and the time that each takes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from builders.engines.bazel import Bazel
from builders.engines.engine import Engine
from builders.engines.ninja import NINJA
from builders.errors import CompileError
from builders.matrix import TensorFlow
from builders.native import NativeRunner
from builders.progress import duration
from ci.engines.again import Made, differences, made_again
from ci.engines.simulation import Task, critical_path, makespan, scaled
from ci.pages.marked import between

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/building.md"
BEGIN = "<!-- engines: written by ./scripts/core compare --document -->\n"
END = "<!-- /engines -->"

WORKERS = (1, 2, 4, 8, 16, 32, 64, 100, 200)
MOST_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The measurements of one core.

    Attributes:
        name: the core's name, such as `tf2.14.1-x86_64`.
        made: the made cores by title. The first is CMake's; the last is Bazel's with everything in
            its cache.
        tasks: the commands with the processor time of each.
    """

    name: str
    made: dict[str, Made]
    tasks: Sequence[Task]

    @property
    def rest(self) -> float:
        """The seconds of a core that workers cannot shorten.

        This is the time of Bazel with everything in its cache.
        """
        return list(self.made.values())[-1].seconds


def compare_engines(
    tensorflow: TensorFlow, arch: str, runner: NativeRunner, bazel: Bazel
) -> Comparison:
    """Make a core with CMake, with Bazel, and with Bazel again from its cache.

    Each core is made in a folder of its own. The last one also gets a new output base, so the
    cached results must fit another folder, as they would fit another machine. If two comparisons
    start at once, the second waits for the first.

    Args:
        bazel: the engine. If it has neither a cache nor an executor, a folder keeps its results.

    Raises:
        CompileError: the cores differ.
    """
    name = f"tf{tensorflow.version}-{arch}"
    runner.trees(tensorflow)
    with runner.cache.lock("compare-engines"), runner.cache.scratch("compare-engines") as folder:
        if not bazel.cache and not bazel.executor:
            bazel = replace(bazel, disk=folder / "results")
        by = "workers" if bazel.executor else "this machine"
        engines: dict[str, Engine] = {
            f"CMake, {NINJA.identity}": NINJA,
            f"{bazel.identity.capitalize()}, {by}": bazel,
            f"{bazel.identity.capitalize()}, all in its cache": bazel,
        }
        made: dict[str, Made] = {}
        for number, (title, engine) in enumerate(engines.items()):
            # The folders' names have different lengths, so that a name in the bytes shows.
            place = folder / ("made-again" * (number + 1))
            made[title] = made_again(title, engine, tensorflow, arch, runner, place)
            _check(name, title, next(iter(made.values())), made[title])
    watched = next(iter(made.values())).watched
    tasks = scaled(watched.tasks, watched.processor_seconds)
    return Comparison(name=name, made=made, tasks=tasks)


def _check(name: str, title: str, one: Made, other: Made) -> None:
    if different := differences(one.core, other.core):
        listed = ", ".join(different[:MOST_NAMED])
        raise CompileError(
            f"{title} made another {name} than CMake: {len(different)} files differ ({listed})",
            remedy="tell us; what CMake makes is right",
        )


def page(found: Comparison) -> str:
    """Return the measurements as Markdown."""
    return "\n".join([*_times(found), "", *_simulated(found), ""])


def write_document(found: Comparison, document: Path = DOCUMENT) -> None:
    """Write the measurements into the page about building."""
    text = document.read_text(encoding="utf-8")
    document.write_text(between(text, BEGIN, END, f"\n{page(found)}\n"), encoding="utf-8")


def _times(found: Comparison) -> Iterator[str]:
    processors = len(os.sched_getaffinity(0))
    yield f"The core of `{found.name}` on a machine with {processors} processors, the same bytes"
    yield "each time; from unpacked sources, in a new folder:"
    yield ""
    yield "| engine | whole core | of that compiling | processor time of compiling |"
    yield "| --- | --- | --- | --- |"
    for title, made in found.made.items():
        watched = made.watched
        times = (made.seconds, watched.seconds, watched.processor_seconds)
        yield f"| {title} | {' | '.join(map(duration, times))} |"


def _simulated(found: Comparison) -> Iterator[str]:
    path = critical_path(found.tasks)
    yield f"What workers would make of it, by a simulation: the {len(found.tasks)} commands in the"
    yield "order of the build graph, each as long as its processor time, and what the core takes"
    yield "with all in its cache. What an executor takes for itself is not in it."
    yield ""
    yield "| workers | compiling | whole core |"
    yield "| --- | --- | --- |"
    for workers in WORKERS:
        compiling = makespan(found.tasks, workers)
        yield f"| {workers} | {duration(compiling)} | {duration(compiling + found.rest)} |"
    yield ""
    chain = ", then ".join(f"`{Path(t.name).name}` ({duration(t.seconds)})" for t in path)
    yield f"More workers do not help beyond the longest chain of commands: {chain}."
