"""Compile with Ninja, CMake's own engine, on this machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from builders.engines.engine import Job
from builders.errors import CompileError
from builders.process import run

_PROGRESS = re.compile(r"\[(\d+)/(\d+)\]")


def progress_of(job: Job) -> Callable[[str], None]:
    """Return a function that reads a line of Ninja's output and reports the job's progress."""

    def read(line: str) -> None:
        if match := _PROGRESS.match(line):
            job.progress(int(match[1]), int(match[2]))

    return read


@dataclass(frozen=True)
class Ninja:
    """The engine that runs Ninja; see Engine."""

    @property
    def identity(self) -> str:
        """The name and version, such as `ninja 1.13.2`."""
        return f"ninja {metadata.version('ninja')}"

    def compile(self, job: Job) -> None:
        """Make the job's target; see Engine. Ninja itself knows which files are already made."""
        run(
            ["ninja", "-j", str(job.jobs), job.target],
            cwd=job.build,
            log=job.log,
            failure=CompileError,
            what="compiling the core",
            env=job.environment,
            on_line=progress_of(job),
            keep_open=job.keep_open,
        )

    def forget(self, build: Path) -> None:
        """Do nothing: Ninja keeps all its files in the build folder."""


NINJA = Ninja()
