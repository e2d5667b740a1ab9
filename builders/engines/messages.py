"""Reads Bazel's output: the progress, and the reason of a failure."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from pathlib import Path

from builders.errors import CompileError, FetchError, ToolchainError, UserError

_PROGRESS = re.compile(r"\[([\d,]+) / ([\d,]+)\]")
# Matches `[7 / 9] Making core/a.o; 276s linux-sandbox ... (2 actions running)`, which names the
# oldest running action. For an action that waits for a worker, `[Sched]` is in its place.
_RUNNING = re.compile(r"\] (?!\[)(.+?); (\d+)s (?:remote|[\w-]*sandbox)")
_CACHE_WARNING = re.compile(r"WARNING: (?:(?:Reading from|Writing to) )?Remote Cache:?\s*(.*)")


class Trouble(enum.Enum):
    """The reason why Bazel fails, if no compiler failed."""

    UNREACHABLE = enum.auto()
    REFUSED = enum.auto()
    REGISTRY = enum.auto()
    NO_SANDBOX = enum.auto()
    HUNG = enum.auto()
    EVICTED = enum.auto()


# The first pattern that matches a line tells the trouble.
SIGNS = (
    (Trouble.REFUSED, re.compile(r"ERROR:.*(?:UNAUTHENTICATED|PERMISSION_DENIED|\b40[13]\b)")),
    (
        Trouble.UNREACHABLE,
        re.compile(
            r"ERROR:.*(?:remote execution capabilities|UNAVAILABLE|Unable to resolve host|"
            r"Connection refused|Remote Execution Failure|Failed to init)"
        ),
    ),
    (Trouble.EVICTED, re.compile(r"ERROR:.*(?:Lost inputs|Missing digest|evicted)")),
    (Trouble.REGISTRY, re.compile(r"ERROR:.*(?:registry|registries|module extension|bcr\.)")),
    (Trouble.NO_SANDBOX, re.compile(r"ERROR:.*no usable spawn strategy|sandboxed.*was requested")),
    (Trouble.HUNG, re.compile(r"ERROR:.*(?:Timeout|DEADLINE_EXCEEDED|timed out)")),
)


class Messages:
    """Reads Bazel's output, line by line.

    Args:
        progress: a function to call with the number of finished actions and of known actions.
        say: prints a line that is not an error.
        most_seconds: the time limit of a running command in seconds. Bazel itself has such a limit
            for tests alone.

    Attributes:
        trouble: the reason why Bazel fails; None if no line told one.
        line: the line that told the reason, without `ERROR: `; empty if there is none.
    """

    def __init__(
        self,
        progress: Callable[[int, int | None], None],
        say: Callable[[str], None],
        most_seconds: int,
    ) -> None:
        self.trouble: Trouble | None = None
        self.line = ""
        self._progress = progress
        self._say = say
        self._most_seconds = most_seconds
        self._reason: str | None = None

    def read(self, line: str) -> None:
        """Read one line.

        Raises:
            CompileError: a compiler runs longer than the limit.
        """
        if match := _PROGRESS.match(line):
            done, total = (int(number.replace(",", "")) for number in match.groups())
            self._progress(done, total)
            running = _RUNNING.search(line)
            if running and int(running[2]) > self._most_seconds:
                raise CompileError(
                    f"a compiler did not end in {self._most_seconds} seconds: {running[1]}",
                    remedy="run the same command again; if it happens again, tell us",
                )
        elif match := _CACHE_WARNING.search(line):
            # Some Bazel versions tell the reason in the next line.
            self._warn(match[1])
        elif self._reason == "":
            self._warn(line.strip())
        elif self.trouble is None:
            for trouble, sign in SIGNS:
                if sign.search(line):
                    self.trouble, self.line = trouble, line.removeprefix("ERROR: ").strip()
                    return

    def _warn(self, reason: str) -> None:
        """Say once why Bazel does not use the cache."""
        if not self._reason and reason:
            self._say(f"the cache does not take part: {reason}; compiling here")
        self._reason = self._reason or reason

    def explained(self, error: CompileError, server: str, log: Path) -> UserError:
        """Return the error to raise when Bazel has failed.

        Args:
            error: the error of the failed run; returned as it is if no trouble is known.
            server: the URL of the executor or the cache.
            log: the log of the run.
        """
        whole = f"the whole log is {log}"
        match self.trouble:
            case Trouble.UNREACHABLE if server:
                return FetchError(
                    f"{server} does not answer: {self.line}",
                    remedy=f"check the URL, and what runs there; {whole}",
                )
            case Trouble.REFUSED if server:
                return FetchError(
                    f"{server} refuses us: {self.line}",
                    remedy="put what it asks for into ~/.bazelrc (build --google_credentials, "
                    "--remote_header, --tls_client_certificate)",
                )
            case Trouble.EVICTED:
                return FetchError(
                    f"{server} lost what it had: {self.line}", remedy="run the same command again"
                )
            case Trouble.REGISTRY:
                return ToolchainError(
                    f"this Bazel asks a registry of modules that it cannot reach: {self.line}",
                    remedy="take Bazel 8 or older, or name a registry in ~/.bazelrc "
                    "(common --registry=URL)",
                )
            case Trouble.NO_SANDBOX:
                return ToolchainError(
                    f"Bazel has no sandbox here: {self.line}",
                    remedy="allow user namespaces (sysctl kernel.unprivileged_userns_clone=1), or "
                    "leave out --engine bazel",
                )
            case Trouble.HUNG:
                return CompileError(f"a compiler did not end: {self.line}", remedy=whole)
        return error
