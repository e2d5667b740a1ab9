"""The interface of runners, which make wheels: builders.native and builders.docker (in images)."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from builders.cache import Cache
from builders.matrix import Target
from builders.progress import Reporter


class Runner(Protocol):
    """Makes wheels; a step's product comes from the cache if it is there.

    Attributes:
        jobs: the number of compilers, and later of smoke tests, at once.
        logs: the folder of the steps' log files.
    """

    cache: Cache
    reporter: Reporter
    logs: Path
    jobs: int

    @property
    def wheels_at_once(self) -> int:
        """The number of wheels to make at once."""

    def prepare(self, target: Target) -> None:
        """Make what a wheel needs and others share: the core, and all that is downloaded."""

    def wheel(self, target: Target) -> Path:
        """Return the wheel of a target; raise the UserError of the step that fails.

        May be called from several threads for targets that are prepared.
        """

    def is_cached(self, kind: str, target: Target) -> bool:
        """True if the step `fetch`, `sources`, `core` or `wheel` of a target has nothing to do."""

    def log(self, step: str) -> Path:
        """The log file of a step."""
