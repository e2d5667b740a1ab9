"""What an engine is: it makes the objects and archives of a build folder that CMake configured.

Whatever engine made them, they are the same bytes at the same places, so that every later step
is the same and no key depends on the engine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from builders.engines.graph import read_graph
from builders.engines.job import Job
from builders.errors import CompileError

MOST_NAMED = 3


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
    graph = read_graph(job)
    wanted = [made.output for made in graph.objects] + [made.output for made in graph.archives]
    missing = [name for name in wanted if not (job.build / name).is_file()]
    if missing or not graph.archives:
        listed = ", ".join(missing[:MOST_NAMED]) or "any archive"
        raise CompileError(
            f"{engine.identity} did not make {listed}"
            + (f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""),
            remedy=f"the whole log is {job.log}",
        )
