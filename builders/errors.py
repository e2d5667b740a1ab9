"""The errors that a user can meet, each with an exit code and a remedy.

Functions raise them; only a command's `main` catches them (see builders.cli).
"""

from __future__ import annotations

# The longest line of text, in characters; a longer one comes from an untrusted source.
LONGEST = 1_000


def printable(text: str, most: int = LONGEST) -> str:
    """Return untrusted text for a terminal: one line, without escape sequences, not too long."""
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: most + 1]
    )
    return shown if len(shown) <= most else f"{shown[:most]}…"


class UserError(Exception):
    """An error for the user: what happened, in one line, and what to do about it.

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
    """A source could not be downloaded: no network, no such file, a broken transfer."""

    exit_code = 3


class UnreachableError(FetchError):
    """The host did not answer; the host of another origin may."""


class PieceError(FetchError):
    """A server has the file, but sends it only as a whole."""


class ChecksumError(UserError):
    """The bytes of a file do not have the expected checksum."""

    exit_code = 4


class ArchiveError(UserError):
    """An archive that is damaged, or that would write outside its folder."""

    exit_code = 4


class DiskFullError(UserError):
    """There is no space left where we must write."""

    exit_code = 5


class ToolchainError(UserError):
    """The locked compiler environment is missing or broken."""

    exit_code = 6


class HeadersError(UserError):
    """The headers of a target's Python or NumPy are not available here."""

    exit_code = 7


class CompileError(UserError):
    """A compiler or linker failed, or its product lacks something that it must have."""

    exit_code = 8


class AuditError(UserError):
    """A wheel failed its audit."""

    exit_code = 9


class SmokeError(UserError):
    """A wheel failed its smoke test, or the smoke test could not be run."""

    exit_code = 10


class EngineError(UserError):
    """No Docker engine can be used, or the engine failed to do what it was asked to do.

    Attributes:
        status: the exit status of the program that failed in a build, if one did.
    """

    exit_code = 11
    status: int | None = None


class PublishError(UserError):
    """A wheel may not be published, or something published is not as it should be."""

    exit_code = 12


class ConformError(UserError):
    """A wheel's results differ from TensorFlow's, or they could not be compared."""

    exit_code = 13


class BenchError(UserError):
    """A wheel is slower than its bar."""

    exit_code = 14
