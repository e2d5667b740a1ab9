"""What makes wheels: this machine (builders.native), or images (builders.docker)."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from builders.cache import Cache
from builders.matrix import Target
from builders.progress import Reporter


class Runner(Protocol):
    """Makes wheels, each step's product coming from the cache where it is there.

    Attributes:
        jobs: compilers, and later smoke tests, at once.
        logs: the folder of the steps' log files.
    """

    cache: Cache
    reporter: Reporter
    logs: Path
    jobs: int

    def wheel(self, target: Target) -> Path:
        """The wheel of a target; raises the UserError of the step that fails."""

    def is_cached(self, kind: str, target: Target) -> bool:
        """Whether `fetch`, `sources`, `core` or `wheel` of a target has nothing to do."""

    def log(self, step: str) -> Path:
        """The log file of a step."""
