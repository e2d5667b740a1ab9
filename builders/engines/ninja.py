"""CMake's own engine: Ninja, on this machine."""

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
    """Reads Ninja's output, line by line, and tells the job how far it is."""

    def read(line: str) -> None:
        if match := _PROGRESS.match(line):
            job.progress(int(match[1]), int(match[2]))

    return read


@dataclass(frozen=True)
class Ninja:
    """See Engine."""

    @property
    def identity(self) -> str:
        """Such as `ninja 1.13.2`."""
        return f"ninja {metadata.version('ninja')}"

    def compile(self, job: Job) -> None:
        """See Engine; Ninja knows itself what is done."""
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
        """It keeps everything in the build folder."""


NINJA = Ninja()
