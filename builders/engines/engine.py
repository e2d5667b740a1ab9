"""The engine's interface: an engine makes the objects and archives of a CMake build folder.

Every engine makes the same bytes at the same places. So every later step is the same, and no
cache key depends on the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from builders.engines.graph import Graph, read_graph
from builders.errors import CompileError

MOST_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Job:
    """The input of an engine: the target to compile, and the settings for it.

    Attributes:
        build: the build folder, which CMake has configured for Ninja.
        target: the target in the build files.
        folders: every folder that compilers may read, by the name that `-ffile-prefix-map` gives
            it; `core` is the build folder itself.
        compiler: the program of every command that compiles or archives.
        environment: the variables for programs that run on this machine.
        jobs: the number of compilers to run at once.
        log: the file to which commands and their output are appended.
        progress: a function to call with the number of finished steps and that of all steps.
        keep_open: the file descriptors of locks, which started programs inherit.
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

    @cached_property
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
        """The engine's name and, if known, its version, for records."""

    def compile(self, job: Job) -> None:
        """Make the objects and archives of the target, each where CMake puts it.

        If a run is killed, the next one goes on from there.

        Raises:
            CompileError: a compiler or the engine failed.
        """

    def forget(self, build: Path) -> None:
        """Delete the files that the engine keeps beside the build folder."""


def compile_with(engine: Engine, job: Job) -> None:
    """Have an engine make a target, and check that all objects and archives are there.

    Raises:
        CompileError: a compiler or the engine failed; or an object or archive is missing.
    """
    engine.compile(job)
    graph = job.graph
    wanted = [made.output for made in graph.objects] + [made.output for made in graph.archives]
    missing = [name for name in wanted if not (job.build / name).is_file()]
    if missing or not graph.archives:
        listed = ", ".join(missing[:MOST_NAMED]) or "any archive"
        raise CompileError(
            f"{engine.identity} did not make {listed}"
            + (f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""),
            remedy=f"the whole log is {job.log}",
        )
