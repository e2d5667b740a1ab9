"""What an engine is: it makes the objects and archives of a build folder that CMake configured.

Whatever engine made them, they are the same bytes at the same places, so that every later step
is the same and no key depends on the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from builders.engines.graph import Graph, read_graph
from builders.errors import CompileError

MOST_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be compiled, and how it is told.

    Attributes:
        build: a folder that CMake has configured for Ninja.
        target: of its build files.
        folders: all that compilers may read, by the names that `-ffile-prefix-map` gives them;
            `core` is the build folder itself.
        compiler: the program of every command that compiles or archives.
        environment: variables for programs that run on this machine.
        jobs: compilers at once.
        log: the file that commands and their output are appended to.
        progress: is called with the number of finished steps, and of all.
        keep_open: descriptors of locks, which what is started inherits.
    """

    build: Path
    target: str
    folders: Mapping[str, Path]
    compiler: Path
    environment: Mapping[str, str]
    jobs: int
    log: Path
    progress: Callable[[int, int | None], None]
    keep_open: Sequence[int] = ()

    def graph(self) -> Graph:
        """The commands that make the target.

        Raises:
            CompileError: Ninja cannot read the build files.
        """
        return read_graph(
            self.build, self.target, compiler=self.compiler, environment=self.environment
        )


class Engine(Protocol):
    """Makes objects and archives."""

    @property
    def identity(self) -> str:
        """Its name and, where it is known, its version, for records."""

    def compile(self, job: Job) -> None:
        """Make all that the target needs, each where CMake puts it.

        A killed one goes on where it was.

        Raises:
            CompileError: a compiler failed, or the engine did.
        """

    def forget(self, build: Path) -> None:
        """Delete what it keeps of a build beside the build folder."""


def compile_with(engine: Engine, job: Job) -> None:
    """Have an engine make a target, and check that it did.

    Raises:
        CompileError: as for `Engine.compile`; or an object or archive is missing.
    """
    engine.compile(job)
    graph = job.graph()
    wanted = [made.output for made in graph.objects] + [made.output for made in graph.archives]
    missing = [name for name in wanted if not (job.build / name).is_file()]
    if missing or not graph.archives:
        listed = ", ".join(missing[:MOST_NAMED]) or "any archive"
        raise CompileError(
            f"{engine.identity} did not make {listed}"
            + (f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""),
            remedy=f"the whole log is {job.log}",
        )
