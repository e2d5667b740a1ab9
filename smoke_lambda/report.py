"""What a smoke test found, as data: for the summary, for --json and for the tests."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str = ""
    """Of a failed check: what was expected and what was found."""


@dataclass(frozen=True, kw_only=True)
class SmokeRun:
    """A wheel in one environment, with one NumPy."""

    numpy: str
    checks: tuple[Check, ...]
    xnnpack: dict[str, float] = field(default_factory=dict)
    """By model, the share of its operators that the delegate took, 0 to 1."""
    init_ms: dict[str, float] = field(default_factory=dict)
    """By model, the emulator's duration of the function's init, in milliseconds."""
    import_ms: float | None = None
    """Importing the runtime, NumPy with it, in a fresh process."""
    first_inference_ms: float | None = None
    """From there to the first answer of the float32 model."""
    measures: dict[str, Any] = field(default_factory=dict)
    """What an image's limits let one measure; see smoke_lambda/measure.py."""

    @property
    def ok(self) -> bool:
        """Whether something was checked and all of it was right."""
        return bool(self.checks) and all(check.ok for check in self.checks)


@dataclass(frozen=True, kw_only=True)
class SmokeReport:
    """A wheel in all its environments."""

    wheel: str
    sha256: str
    python: str
    place: str
    runs: tuple[SmokeRun, ...]
    log: str

    @property
    def ok(self) -> bool:
        """Whether every run was right, and there was one."""
        return bool(self.runs) and all(run.ok for run in self.runs)

    @property
    def failures(self) -> tuple[str, ...]:
        """One line for each failed check: NumPy, check, expected and found, log."""
        return tuple(
            f"{self.wheel} with NumPy {run.numpy}: {check.name}: {check.detail} (see {self.log})"
            for run in self.runs
            for check in run.checks
            if not check.ok
        )

    def as_json(self) -> dict[str, Any]:
        """The report in types that JSON knows, with the verdicts."""
        data = dataclasses.asdict(self) | {"ok": self.ok}
        data["runs"] = [
            dict(found, ok=run.ok) for found, run in zip(data["runs"], self.runs, strict=True)
        ]
        return data
