"""The errors a user can meet, each with an exit code of its own and a remedy.

Functions raise them; only a command's `main` catches them (see builders.cli).
"""

from __future__ import annotations

# A line of text; what is longer was made by a stranger.
LONGEST = 1_000


def printable(text: str, most: int = LONGEST) -> str:
    """Text of a stranger for a terminal: one line, without escape sequences, not too long."""
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: most + 1]
    )
    return shown if len(shown) <= most else f"{shown[:most]}…"


class UserError(Exception):
    """What happened, in one line, and what to do about it.

    Args:
        what: one sentence: what happened, what was expected.
        remedy: what the user can do; printed on the same line.
    """

    exit_code = 1

    def __init__(self, what: str, *, remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}" if self.remedy else self.what


class UsageError(UserError):
    """An unknown target, version, Python or option value; or a malformed data file."""

    exit_code = 2


class FetchError(UserError):
    """A source could not be had: no network, no such file, a broken transfer."""

    exit_code = 3


class UnreachableError(FetchError):
    """The host itself did not answer: another origin may."""


class PieceError(FetchError):
    """A server has the file, and gives it as a whole only."""


class ChecksumError(UserError):
    """Bytes that are not the ones the lock names."""

    exit_code = 4


class ArchiveError(UserError):
    """An archive that is damaged, or that would write outside its folder."""

    exit_code = 4


class DiskFullError(UserError):
    """No space left where we must write."""

    exit_code = 5


class ToolchainError(UserError):
    """The locked compiler environment is missing or broken."""

    exit_code = 6


class HeadersError(UserError):
    """The headers of a target's Python or NumPy cannot be had here."""

    exit_code = 7


class CompileError(UserError):
    """A compiler or linker failed, or its product lacks what it must have."""

    exit_code = 8


class AuditError(UserError):
    """A wheel failed its audit."""

    exit_code = 9


class SmokeError(UserError):
    """A wheel failed its smoke test, or the smoke test could not be run."""

    exit_code = 10


class EngineError(UserError):
    """There is no Docker engine to be used, or it could not do what was asked of it.

    Attributes:
        status: of the program that failed in a build, where one did.
    """

    exit_code = 11
    status: int | None = None


class PublishError(UserError):
    """A wheel may not be published, or what is published is not what it should be."""

    exit_code = 12


class ConformError(UserError):
    """A wheel computes something else than TensorFlow, or it could not be compared."""

    exit_code = 13


class BenchError(UserError):
    """A wheel is slower than its bar."""

    exit_code = 14
