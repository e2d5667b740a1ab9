"""What an audit found: plain data that a table, JSON or a test reads alike."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from builders.errors import printable


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: stable identifier, such as `glibc`.
        ok: whether the wheel has what it must have.
        detail: found and expected, in one line.
    """

    name: str
    ok: bool
    detail: str

    @classmethod
    def of(cls, name: str, faults: Iterable[str], found: str) -> Check:
        """A check that fails when there is a fault, and else says what was found."""
        listed = list(faults)
        return cls(name=name, ok=not listed, detail=printable("; ".join(listed) or found))


@dataclass(frozen=True, kw_only=True)
class RuntimeVerdict:
    """Whether the wheel installs and loads on one Lambda runtime, and why."""

    runtime: str
    os: str
    ok: bool
    reason: str

    def __str__(self) -> str:
        answer = "yes" if self.ok else "no"
        return f"installs and loads on {self.runtime} / {self.os}: {answer}, {self.reason}"


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """All that an audit found in one wheel.

    Attributes:
        file: the wheel's file name.
        sha256: of the file.
        size: of the file, in bytes.
        target: the matrix's identifier, or None if the name matches no target.
        glibc_floor: oldest glibc the extension loads with, such as `2.17`; None
            if there is no readable extension.
        checks: in the order they were made.
        runtimes: one verdict per Lambda runtime of the matrix.
    """

    file: str
    sha256: str
    size: int
    target: str | None
    glibc_floor: str | None
    checks: tuple[Check, ...]
    runtimes: tuple[RuntimeVerdict, ...]

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the checks that failed."""
        return tuple(check.name for check in self.checks if not check.ok)

    def check(self, name: str) -> Check:
        """The check of that name; raises KeyError if it was not made."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data, keys always in the same order."""
        return {"file": self.file, "ok": self.ok, **asdict(self)}

    def to_json(self) -> str:
        """The report as JSON, the same text for the same wheel."""
        return json.dumps(self.as_dict(), indent=2)
