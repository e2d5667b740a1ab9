"""The result of an audit: plain data for tables, JSON and tests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from builders.errors import printable


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check's result.

    Attributes:
        name: the stable identifier of the check, such as `glibc`.
        ok: True if the wheel passed the check.
        detail: one line: the faults if the check failed, else the things that it found.
    """

    name: str
    ok: bool
    detail: str

    @classmethod
    def of(cls, name: str, faults: Iterable[str], found: str) -> Check:
        """Make a check that fails if there is a fault, and that otherwise reports `found`."""
        listed = list(faults)
        return cls(name=name, ok=not listed, detail=printable("; ".join(listed) or found))


@dataclass(frozen=True, kw_only=True)
class RuntimeVerdict:
    """The answer, with its reason, if the wheel installs and loads on one Lambda runtime."""

    runtime: str
    os: str
    ok: bool
    reason: str

    def __str__(self) -> str:
        answer = "yes" if self.ok else "no"
        return f"installs and loads on {self.runtime} / {self.os}: {answer}, {self.reason}"


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """The results of the audit of one wheel.

    Attributes:
        file: the wheel's file name.
        sha256: the SHA-256 of the file.
        size: the size of the file in bytes.
        target: the target's identifier in the matrix; None if the name matches no target.
        glibc_floor: the oldest glibc that can load the extension, such as `2.17`; None if there
            is no readable extension.
        checks: the results of the checks, in the order in which they ran.
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
        """True if every check passed."""
        return all(check.ok for check in self.checks)

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the checks that failed."""
        return tuple(check.name for check in self.checks if not check.ok)

    def check(self, name: str) -> Check:
        """Return the check with that name.

        Raises:
            KeyError: no check of that name ran.
        """
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data; the keys are always in the same order."""
        return {"file": self.file, "ok": self.ok, **asdict(self)}

    def to_json(self) -> str:
        """Return the report as JSON; the same wheel gives the same text."""
        return json.dumps(self.as_dict(), indent=2)
