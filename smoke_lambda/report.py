"""The results of a smoke test, as data for the summary, for --json and for the tests."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check's result."""

    name: str
    ok: bool
    detail: str = ""
    """What was expected and what was found; empty if the check passed."""


@dataclass(frozen=True, kw_only=True)
class SmokeRun:
    """The results of a wheel in one environment, with one NumPy version."""

    numpy: str
    checks: tuple[Check, ...]
    xnnpack: dict[str, float] = field(default_factory=dict)
    """The share of operators that the delegate took, 0 to 1, by model."""
    init_ms: dict[str, float] = field(default_factory=dict)
    """The duration of the function's init in the emulator's report, in milliseconds, by model."""
    import_ms: float | None = None
    """The time to import the runtime, including NumPy, in a fresh process, in milliseconds."""
    first_inference_ms: float | None = None
    """The time from the import to the first answer of the float32 model, in milliseconds."""
    measures: dict[str, Any] = field(default_factory=dict)
    """The measurements under an image's limits; see smoke_lambda/measure.py."""

    @property
    def ok(self) -> bool:
        """True if there was a check, and every check passed."""
        return bool(self.checks) and all(check.ok for check in self.checks)


@dataclass(frozen=True, kw_only=True)
class SmokeReport:
    """The results of a wheel in all its environments."""

    wheel: str
    sha256: str
    python: str
    place: str
    runs: tuple[SmokeRun, ...]
    log: str

    @property
    def ok(self) -> bool:
        """True if there was a run, and every run passed."""
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
        """Return the report in types that JSON knows, with the verdicts."""
        data = dataclasses.asdict(self) | {"ok": self.ok}
        data["runs"] = [
            dict(found, ok=run.ok) for found, run in zip(data["runs"], self.runs, strict=True)
        ]
        return data
