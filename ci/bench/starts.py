"""Times the parts of a start, with new processes, in turns."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from builders.errors import SmokeError
from builders.process import die_with_parent
from ci.bench.candidates import ANSWER_SECONDS, ROOT, Startable, environment
from ci.bench.measure import Network
from smoke_lambda.inside.probing import TIMING_MARK

STARTING = "smoke_lambda.inside.starting"
PARTS = ("start", "numpy", "import", "create", "allocate", "first")


@dataclass(kw_only=True)
class Start:
    """The times of new processes of one runtime, up to the first answer of a network.

    Attributes:
        parts: the wall time in milliseconds, by process and part.
        faults: the number of page faults, by process.
        peak_bytes: the peak of resident memory, by process.
    """

    parts: list[dict[str, float]] = field(default_factory=list)
    faults: list[int] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)

    def least(self, part: str) -> float:
        """Return the least time of a part, in milliseconds."""
        return min(parts[part] for parts in self.parts)

    @property
    def total(self) -> float:
        """The least time of all parts together, in milliseconds."""
        return min(sum(parts.values()) for parts in self.parts)

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "least_ms": {part: self.least(part) for part in PARTS} | {"total": self.total},
            "median_ms": {part: median(parts[part] for parts in self.parts) for part in PARTS},
            "page_faults": median(self.faults),
            "peak_bytes": median(self.peak_bytes),
            "processes": len(self.parts),
        }


def time_starts(
    network: Network, candidates: Sequence[Startable], processes: int, log: Path
) -> list[Start]:
    """Start each runtime as often as `processes` says, in turns.

    Raises:
        SmokeError: a runtime does not start.
    """
    found = [Start() for _ in candidates]
    for turn in range(processes + 1):
        for candidate, start in zip(candidates, found, strict=True):
            said = start_once(candidate, network, log)
            if turn > 0:  # the first turn fills the caches of files
                start.parts.append(said["parts"])
                start.faults.append(said["faults"])
                start.peak_bytes.append(said["peak_bytes"])
    return found


def bytecode(candidate: Startable) -> dict[str, str]:
    """Return variables with which the first process keeps its bytecode.

    A function has bytecode, too, from its layer or image. Without it, most of a start is the
    compilation of NumPy.
    """
    folder = candidate.bytecode
    if folder is None:
        return {}
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder)}


def start_once(candidate: Startable, network: Network, log: Path) -> dict[str, Any]:
    """Start a new process and return its report; see smoke_lambda/inside/starting.py.

    Raises:
        SmokeError: the process does not start, or does not answer in ANSWER_SECONDS.
    """
    arguments = (candidate.module, network.model, network.cases, str(time.monotonic_ns()))
    command = [*candidate.command(STARTING, *arguments)]
    with log.open("a") as errors:
        try:
            output = subprocess.run(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**environment(), **bytecode(candidate)},
                timeout=ANSWER_SECONDS,
                check=False,
                preexec_fn=die_with_parent,
            ).stdout
        except subprocess.TimeoutExpired:
            output = ""
    line = next((line for line in output.splitlines() if line.startswith(TIMING_MARK)), "")
    if not line:
        raise SmokeError(f"{candidate.name} does not start {network.name}", remedy=f"see {log}")
    said: dict[str, Any] = json.loads(line[len(TIMING_MARK) :])
    return said
