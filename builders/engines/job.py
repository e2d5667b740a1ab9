"""What an engine is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


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
