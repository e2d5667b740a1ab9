"""The code that all commands share: how they start, fail and are interrupted."""

from __future__ import annotations

import argparse
import datetime
import errno
import os
import re
import select
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Protocol

from rich.console import Console

from builders.cache import Cache, default_root
from builders.errors import DiskFullError, UsageError, UserError, printable
from builders.fetch import Fetcher
from builders.matrix import Matrix, load_matrix
from builders.process import stopping_programs
from builders.progress import Reporter

# A shell's exit codes for a program ended by a signal: 128 plus the number of SIGINT or SIGPIPE.
INTERRUPTED = 130
UNREAD = 141
# The system's errors for a path that the user chose badly: these are not bugs of ours.
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP)

KEPT_LOGS = 10
OWN_LOGS = re.compile(r"\d{8}T\d{6}-\d+")
"""The name of a run's log folder: the time of its start and its process id."""

EXIT_CODES = """\
exit codes: 0 done, 2 unknown target or wrong usage, 3 a source cannot be had,
  4 a wrong checksum or damaged archive, 5 disk full, 6 no compiler environment,
  7 no headers of that Python, 8 a compiler failed, 9 audit failed,
  10 smoke test failed, 11 no Docker engine or it failed,
  12 may not be published, or is not what was published,
  13 computes something else than TensorFlow, 14 slower than its bar,
  130 interrupted (the same command goes on where it was)
"""


class Run(Protocol):
    """A command: takes its arguments, by default the process's own, and returns an exit code."""

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Run the command."""


def main_of(run: Run) -> Run:
    """Return a command's `main`: `run`, with an error turned into one line and an exit code."""

    def main(argv: Sequence[str] | None = None) -> int:
        return guarded(lambda: run(argv))

    return main


class Session:
    """The reporter, cache and folders that a command works with.

    Attributes:
        reporter: shows steps on standard error.
        cache: the cache; it also says on standard error when it waits for another process.
        logs: the folder of log files.
    """

    def __init__(self) -> None:
        self.reporter = Reporter(Console(stderr=True))
        self.cache = Cache(default_root(), on_wait=self.warn)
        self.logs = self.cache.root / "logs"

    @property
    def matrix(self) -> Matrix:
        """The matrix of targets; see load_matrix."""
        return load_matrix()

    @property
    def fetcher(self) -> Fetcher:
        """A new fetcher for this cache."""
        return Fetcher(self.cache)

    def warn(self, line: str) -> None:
        """Print a warning."""
        self.reporter.say(f"[yellow]![/] {line}")

    def own_logs(self) -> Path:
        """Return the folder for this run's logs; delete the oldest ones of runs that have ended."""
        self.logs.mkdir(parents=True, exist_ok=True)
        folders = sorted(path for path in self.logs.iterdir() if OWN_LOGS.fullmatch(path.name))
        for old in folders[: -KEPT_LOGS + 1]:
            if not _runs(int(old.name.rpartition("-")[2])):
                shutil.rmtree(old, ignore_errors=True)
        now = datetime.datetime.now(tz=datetime.UTC)
        return self.logs / f"{now:%Y%m%dT%H%M%S}-{os.getpid()}"


def _runs(process: int) -> bool:
    """True if a process with that id exists: its logs may still be written."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def guarded(body: Callable[[], int]) -> int:
    """Run a command's body; turn an error into one line and an exit code.

    Args:
        body: does the work and returns the exit code.
    """
    try:
        with stopping_programs() as stop:
            _interrupt_by_signals(stop)
            code = body()
        # Write our buffer now: if Python wrote it at its end, a failure could not be reported.
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it was", file=sys.stderr)
        return INTERRUPTED
    except UserError as error:
        return fail(error)
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        _write_nowhere()
        return UNREAD
    except OSError as error:
        where = f" at {error.filename}" if error.filename else ""
        if error.errno in REFUSED and error.filename:
            what = f"{printable(str(error.filename))}: {error.strerror}"
            return fail(UsageError(what, remedy="name a path that you may use"))
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return fail(
            DiskFullError(f"no space left{where}", remedy="free some and run the same command")
        )
    return code


def _nobody_reads() -> bool:
    """True if the reader of our output has gone, as `head` does; poll(2) then reports POLLERR."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _write_nowhere() -> None:
    """Redirect standard output to /dev/null, so that Python's last flush does no harm.

    Source: https://docs.python.org/3/library/signal.html#note-on-sigpipe
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def positive(text: str) -> int:
    """Return the number in an argument's text; raise ValueError if it is less than one."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def command_parser(prog: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """Return a parser whose help keeps the line breaks of its description and examples."""
    return argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def wheels_parser(prog: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """Return the parser of a command about wheels: `PROG WHEEL... [--json]`."""
    parser = command_parser(prog, description, epilog)
    parser.add_argument("wheels", metavar="WHEEL", nargs="+", type=Path, help="a wheel file")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser


def fail(error: UserError) -> int:
    """Print an error; return its exit code."""
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code


def _interrupt_by_signals(stop: Callable[[], None]) -> None:
    """Have SIGTERM, and SIGINT unless it is ignored, raise KeyboardInterrupt after `stop`."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        stop()
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupt)
